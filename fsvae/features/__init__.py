"""Features of listens (fast) and of users (slow): pure functions that all parts share."""
