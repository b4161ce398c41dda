"""The kinds of events."""

KINDS = ("listen", "skip", "like", "unlike", "save", "dislike", "undislike")
"""Kinds of events: only ``listen`` is part of a sequence; the others are, or may become, slow features."""
