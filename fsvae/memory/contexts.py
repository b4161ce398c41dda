"""The contexts of the memory: after what a track is counted, and how fast a count fades.

A context is a situation in which tracks follow: after this track, after these two, in this session. Its followers are
the tracks that were listened to in it. An expert is a context with a fading: its probability of a track is the track's
share of the faded counts of all followers.

Legend: X contexts, E experts.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

Clock = Literal["none", "occurrences", "listens", "days"]
"""What a half-life is counted in: nothing (counts do not fade), occurrences of the context, listens, or days."""
CLOCKS: tuple[Clock, ...] = ("none", "occurrences", "listens", "days")
"""All clocks; compiled code knows a clock by its index."""
OCCURRENCES, LISTENS, DAYS = 1, 2, 3
"""Indices of the clocks but none."""

Part = Literal["slow", "fast", "shared"]
"""Memory that an expert is part of: of the user's whole history, the user's latest listens, or everybody's listens."""


class Fading(NamedTuple):
    """How the counts of a context fade; each fading of a context makes an expert."""

    clock: Clock = "none"
    half_life: float = 0.0
    """After how much of the clock a count weighs half, in the clock's unit; 0 without a clock."""
    part: Part = "slow"


_RAW = Fading()


@dataclass(frozen=True)
class OwnContext:
    """A context of one user's own listens."""

    name: str
    lags: tuple[int, ...] = ()
    """Listens followed by the same tracks are in the same context: those that many listens back, 1 for the last one.
    (1, 2) is after the last two tracks; () is any listen."""
    fadings: tuple[Fading, ...] = (_RAW,)
    session: bool = False
    """Whether only listens of the present session count."""
    by_artist: bool = False
    """Whether the artist of that track must be the same, instead of the track; there is one lag."""
    by_pause: bool = False
    """Whether the pause before must be about as long, too: after a track that was skipped or the last one of a session
    come others than after one that was heard (`fsvae.features.sessions.pause_buckets`)."""
    same_artist: bool = False
    """Whether only listens to the artist of the last track count."""
    discounted: bool = False
    """Whether the counts without a fading are discounted: a part of each goes to the network (absolute discounting)."""


OWN = (
    OwnContext(
        "heard",
        fadings=(
            _RAW,
            Fading("listens", 10.0, "fast"),
            Fading("listens", 50.0, "fast"),
            Fading("listens", 400.0),
            Fading("days", 1.0, "fast"),
            Fading("days", 20.0),
        ),
    ),
    OwnContext("session", fadings=(Fading(part="fast"),), session=True),
    OwnContext("after 1", (1,), (_RAW, Fading("occurrences", 2.0), Fading("occurrences", 0.5)), discounted=True),
    OwnContext("after 2", (1, 2), (_RAW, Fading("occurrences", 1.0)), discounted=True),
    OwnContext("after 3", (1, 2, 3), (Fading("occurrences", 1.0),)),
    OwnContext("pause", fadings=(Fading("occurrences", 20.0),), by_pause=True),
    OwnContext("after 1 and pause", (1,), (Fading("occurrences", 20.0),), by_pause=True),
    OwnContext("2 back", (2,), (Fading("occurrences", 2.0),)),
    OwnContext("3 back", (3,), (Fading("occurrences", 2.0),)),
    OwnContext("4 back", (4,), (Fading("occurrences", 2.0),)),
    OwnContext("5 back", (5,), (Fading("occurrences", 2.0),)),
    OwnContext("after artist", (1,), (Fading("occurrences", 5.0),), by_artist=True),
    OwnContext("same artist", fadings=(_RAW, Fading("listens", 50.0, "fast")), same_artist=True),
)
"""Contexts of the user's own listens: all tracks heard, those of the session, what followed which tracks, pauses and
artists, and the tracks of the last artist."""

AGES = 14
"""Number of age buckets: tracks that the user heard last 1, 2 to 3, 4 to 7, ... listens ago; the last one is open."""
AGE_PARTS: tuple[Part, ...] = tuple("fast" if bucket < 6 else "slow" for bucket in range(AGES))
"""Memory that each age bucket is part of: tracks of the latest 63 listens belong to the fast one."""

NEAR = 5
"""Number of listens before and after a track within which others are near it."""


@dataclass(frozen=True)
class SharedContext:
    """A context of everybody's listens."""

    name: str
    table: str
    """Name of the table of counts that it reads (`fsvae.memory.shared`)."""
    lags: tuple[int, ...] = ()
    """How many listens back the tracks are whose followers are looked up, 1 for the last one."""
    by_artist: bool = False
    """Whether the followers of its artist are looked up, instead of the track's."""
    by_pause: bool = False
    """Whether only those after a pause that is about as long are looked up."""


SHARED = (
    SharedContext("all: after 1", "after 1", (1,)),
    SharedContext("all: after 2", "after 2", (1, 2)),
    SharedContext("all: after 3", "after 3", (1, 2, 3)),
    SharedContext("all: after 1 and pause", "after 1 and pause", (1,), by_pause=True),
    SharedContext("all: 2 back", "2 back", (2,)),
    SharedContext("all: 3 back", "3 back", (3,)),
    SharedContext("all: 4 back", "4 back", (4,)),
    SharedContext("all: before 1", "before 1", (1,)),
    SharedContext("all: near 1", "near", (1,)),
    SharedContext("all: near 2", "near", (2,)),
    SharedContext("all: near 3", "near", (3,)),
    SharedContext("all: after artist", "after artist", (1,), by_artist=True),
    SharedContext("all: same artist", "of artist", (1,), by_artist=True),
)
"""Contexts of everybody's listens: what followed, came before, or was near the user's latest tracks."""
NEIGHBOURS = ("all: near sessions", "all: nearest sessions")
"""Experts of earlier sessions that share tracks with the latest listens (`fsvae.memory.neighbours`): all of them by
their similarity, and the most similar ones above all."""
POPULARITY = ("all: heard", "all: heard lately", "all: any")
"""Experts of popularity: by all listens, by those with a half-life of `RECENT_DAYS`, and all tracks alike."""
RECENT_DAYS = 14.0
"""Half-life of "all: heard lately" [days]."""


class Expert(NamedTuple):
    """An expert of the memory."""

    name: str
    context: int
    """Index of its context among those of the user and of everybody, in order."""
    discounted: bool
    """Whether a part of each of its counts goes to the network."""
    part: Part
    """Memory that it is switched off with."""
    of_artists: bool = False
    """Whether it counts by artist."""


def _experts() -> tuple[Expert, ...]:
    own = [
        Expert(
            own.name if fading.clock == "none" else f"{own.name}, {fading.half_life:g} {fading.clock}",
            index,
            own.discounted and fading.clock == "none",
            fading.part,
            own.by_artist or own.same_artist,
        )
        for index, own in enumerate(OWN)
        for fading in own.fadings
    ]
    shared = [Expert(shared.name, len(OWN) + i, True, "shared", shared.by_artist) for i, shared in enumerate(SHARED)]
    first = len(OWN) + len(SHARED)
    others = [Expert(name, first + i, False, "shared") for i, name in enumerate((*NEIGHBOURS, *POPULARITY))]
    return (*own, *shared, *others)


EXPERTS = _experts()
"""All experts with counts: the user's own, everybody's, neighbours, popularity."""
N_OWN = sum(len(own.fadings) for own in OWN)
"""Number of the user's own experts, the first ones."""
N_CONTEXTS = len(OWN) + len(SHARED) + len(NEIGHBOURS) + len(POPULARITY)
"""Number of contexts, X: the user's own ones, everybody's, neighbours, popularity."""
CONTEXT_OF = np.array([expert.context for expert in EXPERTS])
"""[E] context of each expert."""
DISCOUNTED = np.array([expert.discounted for expert in EXPERTS])
"""[E] whether each expert is discounted."""


LEAST_TOTAL = 1e-4
"""Faded number of followers from which on an expert is asked."""

MOST_LAGS = max(lag for own in OWN for lag in own.lags)
"""How many listens back a context of the user's own listens looks at most."""


class OwnTable(NamedTuple):
    """The user's own contexts and experts as arrays, for compiled code."""

    lags: NDArray[np.int64]
    """[X, 3] lags of each context, 0 where there are fewer."""
    by_artist: NDArray[np.bool_]
    """[X] whether lags compare artists."""
    by_pause: NDArray[np.bool_]
    """[X] whether the pauses before must be in the same bucket."""
    same_artist: NDArray[np.bool_]
    """[X] whether only listens to the last artist count."""
    session: NDArray[np.bool_]
    """[X] whether only listens of the present session count."""
    context: NDArray[np.int64]
    """[E] context of each expert."""
    clock: NDArray[np.int64]
    """[E] index in CLOCKS of each expert."""
    half_life: NDArray[np.float64]
    """[E] half-life of each expert, in its clock's unit."""


OWN_TABLE = OwnTable(
    np.array([(*own.lags, 0, 0, 0)[:3] for own in OWN]),
    np.array([own.by_artist for own in OWN]),
    np.array([own.by_pause for own in OWN]),
    np.array([own.same_artist for own in OWN]),
    np.array([own.session for own in OWN]),
    CONTEXT_OF[:N_OWN],
    np.array([CLOCKS.index(fading.clock) for own in OWN for fading in own.fadings]),
    np.array([max(fading.half_life, 1e-9) for own in OWN for fading in own.fadings]),
)
