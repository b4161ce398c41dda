"""Features of listens (fast) and of users (slow): pure functions shared by training, evaluation and serving."""
