"""How well the served model does: the ranks of the tracks that users then really played."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence

from serving.messages import OnlineAccuracy
from serving.stores.store import Accuracy, Store

HOUR, DAY = 60, 24 * 60
"""Windows [minutes]."""
_FIRST = 10
"""Number of the first ranks that count for recall and NDCG."""


def minute_now() -> int:
    """Return the present minute [minutes since 1970 UTC]."""
    return int(time.time() // 60)


def accuracy_of(version: str, minute: int, ranks: Sequence[int]) -> Accuracy:
    """Return the sums over some ranks, from 1: each listen has one right track."""
    hits = [rank for rank in ranks if rank <= _FIRST]
    return Accuracy(
        version,
        minute,
        len(ranks),
        float(len(hits)),
        sum(1 / rank for rank in ranks),
        sum(1 / math.log2(rank + 1) for rank in hits),
    )


def means(found: Sequence[Accuracy], since_minute: int) -> list[OnlineAccuracy]:
    """Return the mean figures of each version from a minute on, in order of version."""
    sums: dict[str, list[float]] = {}
    for one in found:
        if one.minute >= since_minute:
            of_version = sums.setdefault(one.version, [0.0] * 4)
            for place, value in enumerate(one[2:]):
                of_version[place] += float(value)
    return [
        OnlineAccuracy(
            model_version=version,
            listens=int(listens),
            recall_at_10=recall / listens,
            mrr=reciprocal / listens,
            ndcg_at_10=ndcg / listens,
        )
        for version, (listens, recall, reciprocal, ndcg) in sorted(sums.items())
    ]


class Windows:
    """The accuracy over the last hour and the last day."""

    def __init__(self, store: Store) -> None:
        """Read it from a store."""
        now = minute_now()
        found = store.accuracy(now - DAY + 1)
        self.hour, self.day = means(found, now - HOUR + 1), means(found, now - DAY + 1)
