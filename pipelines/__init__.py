"""Batch jobs, one verb a file: simulate, ingest, prepare, train, evaluate, promote, daily."""
