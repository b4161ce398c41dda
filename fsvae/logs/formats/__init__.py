"""File formats: CSV, JSON and Parquet, plain, compressed or in a ZIP, streamed."""
