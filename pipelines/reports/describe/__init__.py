"""Describe: the figures of a lake or a prepared dataset, in the terminal and as a page."""
