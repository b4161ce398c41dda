"""Ablations: a matrix of models and seeds, from one config file to a report."""
