"""Invented ids and names."""

from __future__ import annotations

import numpy as np

# fmt: off
_SYLLABLES = ["ba", "bre", "da", "do", "el", "fi", "ga", "hu", "ja", "ke", "lo", "mi", "na", "or", "pe", "qui", "ru",
              "sa", "ti", "ula", "vo", "wen", "xi", "yo", "ze", "tha", "sko", "lin"]
_ADJECTIVES = ["Amber", "Bitter", "Broken", "Distant", "Electric", "Empty", "Gentle", "Golden", "Hollow", "Idle",
               "Late", "Lost", "Paper", "Quiet", "Silver", "Wild"]
_NOUNS = ["Anchor", "Bridge", "Candle", "City", "Coast", "Engine", "Field", "Garden", "Harbour", "Letter", "Mirror",
          "Orchard", "River", "Signal", "Summer", "Window"]
# fmt: on


def draw_ids(rng: np.random.Generator, letter: str, width: int, count: int) -> list[str]:
    """Return ids in random order, so that an id says nothing of its neighbours in the catalogue."""
    width = max(width, len(str(count - 1)))
    return [f"{letter}{number:0{width}d}" for number in rng.permutation(count).tolist()]


def draw_artists(rng: np.random.Generator, count: int) -> list[str]:
    """Return names such as `Vofi Breyowen`."""
    return _joined(_words(rng, 2, count), _words(rng, 3, count))


def draw_albums(rng: np.random.Generator, count: int) -> list[str]:
    """Return titles such as `Mirror & Coast`; few enough that several artists have an album of one title."""
    return _joined(_picked(rng, _NOUNS, count), ["&"] * count, _picked(rng, _NOUNS, count))


def draw_titles(rng: np.random.Generator, count: int) -> list[str]:
    """Return titles such as `Paper Engine Fihu`."""
    return _joined(_picked(rng, _ADJECTIVES, count), _picked(rng, _NOUNS, count), _words(rng, 2, count))


def _joined(*columns: list[str]) -> list[str]:
    return [" ".join(words) for words in zip(*columns, strict=True)]


def _picked(rng: np.random.Generator, words: list[str], count: int) -> list[str]:
    return [words[index] for index in rng.integers(len(words), size=count).tolist()]


def _words(rng: np.random.Generator, syllables: int, count: int) -> list[str]:
    parts = [_picked(rng, _SYLLABLES, count) for _ in range(syllables)]
    return ["".join(word).capitalize() for word in zip(*parts, strict=True)]
