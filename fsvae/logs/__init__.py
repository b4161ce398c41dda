"""Listening logs: formats, sources, and row checks."""
