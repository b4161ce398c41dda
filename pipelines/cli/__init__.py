"""The command line: its verbs and its output."""
