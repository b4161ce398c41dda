"""Ingest: listening logs → the lake."""
