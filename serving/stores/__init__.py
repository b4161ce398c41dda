"""Stores of what the endpoint is told: the truth that all replicas share."""
