"""The command line: a verb each, and what a person sees of it."""
