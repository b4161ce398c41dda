"""Memory: what followed before, for the user and for everybody, counted as of each listen."""
