"""The lake: listening events as daily Parquet files, with what else is known of tracks."""
