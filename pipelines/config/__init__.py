"""The configuration: its schema, how it is composed, and its help."""
