"""The online next-track endpoint."""
