"""Outcomes that are written down, and the dataset that they are of."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from tiny_dataset import FIRST_DAY, HOUR_US, dataset_of

from fsvae.data.dataset import Dataset
from fsvae.evaluation.metrics import MISS
from fsvae.evaluation.result import EvaluationResult, listens_checksum
from fsvae.features.clock import DAY_US


def data() -> Dataset:
    """Two users; test positions 1, 2, 3 (outside the catalogue) of a, and 5 of b; only position 1 is a repeat."""
    day, later = FIRST_DAY * DAY_US, (FIRST_DAY + 3) * DAY_US
    histories = {
        "a": [(0, day), (0, later), (1, later + 2 * HOUR_US), (4, later + 2 * HOUR_US)],
        "b": [(0, day), (2, later)],
    }
    return dataset_of(histories, np.eye(4, dtype=np.float32), day + DAY_US, later, outside=1)


def outcome_of(
    model: str,
    targets: Sequence[int],
    ranks: Sequence[int],
    l2: Sequence[float] | None = None,
    recommended: Sequence[Sequence[int]] | None = None,
) -> EvaluationResult:
    """Return a result of these ranks, with misses outside the catalogue.

    The cosine distance is half the squared L2 distance (0 without).
    """
    n = len(targets)
    missed = np.array(ranks) == MISS
    distance = np.where(missed, np.nan, np.zeros(n) if l2 is None else np.array(l2, dtype=np.float64))
    lists = np.zeros((n, 1), dtype=np.int32) if recommended is None else np.array(recommended, dtype=np.int32)
    return EvaluationResult(
        model=model,
        dataset="tiny",
        positions=listens_checksum(data(), np.array(targets, dtype=np.int64)),
        n_candidates=4,
        targets=np.array(targets, dtype=np.int64),
        ranks=np.array(ranks, dtype=np.int64),
        catalogue_ranks=np.array(ranks, dtype=np.int64),
        in_catalogue=~missed,
        l2=distance,
        cosine=distance**2 / 2,
        recommended=lists,
        novelty=lists.mean(axis=1),
        diversity=lists.std(axis=1),
    )


TARGETS = [1, 2, 3, 5]
REFERENCE = outcome_of("plain", TARGETS, [2, 2, MISS, 1], l2=[1, 1, 0, 1], recommended=[[0], [0], [0], [0]])
BETTER = outcome_of("better", TARGETS, [1, 1, MISS, 2], l2=[0.5, 0.5, 0, 1], recommended=[[0], [1], [0], [3]])
