"""Prepared datasets in memory, and the chunks that training and evaluation read."""
