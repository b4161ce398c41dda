"""The store: what the endpoint was told since the model was trained, the truth that all replicas share.

It holds events of users (listens, skips, likes, dislikes), tracks that were added or hidden, which model is served, and
how well it did. What was acknowledged is durable.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future
from typing import NamedTuple, Protocol

from fsvae.live_tracks import TrackNotice
from fsvae.live_users import LiveEvent

PAGE = 10_000
"""Most events that `Store.since` returns at once."""


class StoreError(Exception):
    """The store does not answer: another process holds it, or the disk is full. What was asked may be asked again."""


class Posted(NamedTuple):
    """An event as it was posted."""

    event_id: str
    """Id of the event, given by who posts it: the same one of a user is stored once."""
    user_id: str
    track_id: str
    played_at: int
    """Time of the event [us since 1970 UTC]."""
    played_fraction: float
    kind: str = "listen"
    """One of `fsvae.kinds.KINDS`."""


class Stored(NamedTuple):
    """An event of any user, as it is stored."""

    user_id: str
    event: LiveEvent
    """The event; of the kind ERASED, everything of the user before it is to be forgotten."""


class Served(NamedTuple):
    """The model that is to be served."""

    version: str
    """Version that answers name."""
    bundle: str
    """Folder of its bundle."""


class Accuracy(NamedTuple):
    """How well a version of the model did in a minute: sums over the listens whose rank was taken."""

    version: str
    minute: int
    """Minute [minutes since 1970 UTC]."""
    listens: int
    recall: float
    """Sum of Recall@10."""
    reciprocal_rank: float
    ndcg: float
    """Sum of NDCG@10."""


class Store(Protocol):
    """A store that all replicas share. Every method raises StoreError, or its future does, where it does not answer."""

    def add(self, events: Sequence[Posted]) -> Future[list[int]]:
        """Store events, all or none.

        The future is done when they are durable. It gives the sequence number of each, 0 where it was known already.
        """
        ...

    def of_user(self, user_id: str, after: int) -> list[LiveEvent]:
        """Return a user's events with a sequence number above `after`, in the order in which they were stored."""
        ...

    def since(self, after: int) -> list[Stored]:
        """Return the first PAGE events of all users with a sequence number above `after`, in order of it."""
        ...

    def erase(self, user_id: str, until: int) -> Future[int]:
        """Delete all events of a user and leave one of the kind ERASED, at a time [us]; return its sequence number."""
        ...

    def put_track(self, notice: TrackNotice) -> Future[None]:
        """Add a track, or change its metadata; whether it is hidden stays as it is."""
        ...

    def hide(self, track_id: str, hidden: bool) -> Future[None]:
        """Hide a track from everybody, or show it again."""
        ...

    def tracks(self, after: int) -> list[TrackNotice]:
        """Return the tracks whose latest change has a number above `after`, in order of it."""
        ...

    def serve(self, endpoint: str, served: Served) -> Future[None]:
        """Say which model an endpoint is to serve; others on the same store have their own."""
        ...

    def served(self, endpoint: str) -> Served | None:
        """Return which model an endpoint is to serve; None: nobody has said yet."""
        ...

    def add_accuracy(self, accuracy: Accuracy) -> Future[None]:
        """Add to the sums of a version and minute."""
        ...

    def accuracy(self, since_minute: int) -> list[Accuracy]:
        """Return the sums of all minutes from one on, in order of version and minute."""
        ...

    def close(self) -> None:
        """Let go of files and connections; what was added stays."""
        ...
