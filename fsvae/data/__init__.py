"""Prepared datasets in memory, and how training and evaluation cut them."""
