"""Tuning: a search for a model's best settings on the validation periods of one or more logs."""
