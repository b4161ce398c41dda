"""The simulated listening log: an invented catalogue, invented users, and their plays day by day."""
