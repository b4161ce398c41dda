"""Listening logs: formats, sources, and the checks that each row passes."""
