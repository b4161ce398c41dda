"""Describe: what a listening log is like, as figures of a lake or a prepared dataset, in the terminal and as a page."""
