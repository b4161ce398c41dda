"""The simulated listening log: an invented catalogue, invented users, and what those users play day by day."""
