"""What an event can be."""

KINDS = ("listen", "skip", "like", "unlike", "save", "dislike", "undislike")
"""Only ``listen`` is a position in a sequence; the others are, or may become, slow features."""
