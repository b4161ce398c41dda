"""Features of listens (fast) and of users (slow): pure functions of arrays, shared by batch jobs, training and serving."""
