"""The lake: listening events as daily Parquet files, with metadata of tracks."""
