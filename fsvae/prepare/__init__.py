"""Prepare: days of events → a dataset (tracks, vectors, sequences, slow snapshots)."""
