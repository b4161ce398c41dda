"""The result of one model on the targets of a period, target by target, and its means."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import xxhash
from numpy.typing import NDArray

from fsvae.data.dataset import Dataset
from fsvae.errors import UserError
from fsvae.evaluation.lists import LIST_LENGTH, coverage
from fsvae.evaluation.metric_names import IN_CATALOGUE, RANKING, RANKING_METRICS
from fsvae.evaluation.metrics import MISS
from fsvae.evaluation.probabilities import calibration_error

SPACE_METRICS = ("l2", "cosine", f"diversity@{LIST_LENGTH}")
"""Metrics measured in the track space: figures of different spaces are not comparable."""
COVERAGE = f"coverage@{LIST_LENGTH}"
TARGET_METRICS = (
    "l2",
    "cosine",
    *RANKING_METRICS,
    *(f"{name}{IN_CATALOGUE}" for name in RANKING_METRICS),
    f"novelty@{LIST_LENGTH}",
    f"diversity@{LIST_LENGTH}",
)
"""Metrics that are means over targets: all but coverage, which is over all lists together."""
PROBABILITY_METRICS = ("nats", "calibration_error")
"""Metrics of models whose scores are probabilities."""
INSIDE_METRICS = ("l2", "cosine", *(f"{name}{IN_CATALOGUE}" for name in RANKING_METRICS))
"""Metrics over the targets in the trained catalogue; the others are over all targets."""


@dataclass(frozen=True)
class EvaluationResult:
    """The result of one model on the targets of a period.

    Ranking metrics come twice: over all targets, ranked among all tracks heard before, and, as ``name_catalogue``, over
    those in the trained catalogue, ranked among its tracks only. Distances are over the latter, as the others have no
    vector of their own. The lists' metrics are over all targets.
    """

    model: str
    dataset: str
    """Fingerprint of the dataset in the track space of the model; it names the space too."""
    positions: str
    """`listens_checksum` of the targets of the whole period."""
    n_candidates: int
    """Number of tracks that could be recommended at the last target of the whole period."""
    targets: NDArray[np.int64]
    """[N] flat positions, ascending."""
    ranks: NDArray[np.int64]
    """[N] rank among all tracks heard before the target, or MISS where the target was not."""
    catalogue_ranks: NDArray[np.int64]
    """[N] rank among the trained catalogue; MISS outside it."""
    in_catalogue: NDArray[np.bool_]
    """[N] whether the target is in the trained catalogue."""
    l2: NDArray[np.float64]
    """[N] L2 distance of prediction and target; NaN where the target is outside the catalogue."""
    cosine: NDArray[np.float64]
    """[N] cosine distance of prediction and target; NaN where the target is outside the catalogue."""
    recommended: NDArray[np.int32]
    """[N, K] track indices of the recommended tracks, best first; `lists.NO_TRACK` where there are fewer."""
    novelty: NDArray[np.float64]
    """[N] novelty of each list in bits (`lists.novelty`)."""
    diversity: NDArray[np.float64]
    """[N] diversity of each list (`lists.diversity`)."""
    uncertainty: NDArray[np.float32] | None = None
    """[N] `Predictions.uncertainty`, where the model has one."""
    nats: NDArray[np.float64] | None = None
    """[N] surprise at each target (`probabilities.nats`), NaN at one heard for the first time; None: the model gives no
    probabilities."""
    first_p: NDArray[np.float64] | None = None
    """[N] probability of the first recommended track; None: the model gives no probabilities."""
    first_came: NDArray[np.bool_] | None = None
    """[N] whether that track came next; None: the model gives no probabilities."""

    @property
    def could_come(self) -> NDArray[np.bool_]:
        """Return whether each target had been heard before by anybody, [N]."""
        return np.asarray(self.ranks != MISS)

    def values(self, metric: str) -> NDArray[np.float64]:
        """Return one of TARGET_METRICS, or `nats`, of each target, [N].

        INSIDE_METRICS mean nothing outside the catalogue, and `nats` nothing at a miss.
        """
        if (ranking := RANKING.get(metric.removesuffix(IN_CATALOGUE))) is not None:
            return ranking.of_ranks(self.catalogue_ranks if metric in INSIDE_METRICS else self.ranks)
        values: NDArray[np.float64] = getattr(self, metric.split("@")[0])
        return values

    def metrics(self) -> dict[str, float]:
        """Return the mean of each of TARGET_METRICS, NaN over no target, and the coverage.

        A model with probabilities has `nats`, over the targets that were heard before by anybody, and the
        `calibration_error` of the first recommended track, too.
        """
        means = {
            metric: _mean(self.values(metric)[self.in_catalogue] if metric in INSIDE_METRICS else self.values(metric))
            for metric in TARGET_METRICS
        }
        means[COVERAGE] = coverage(self.recommended, self.n_candidates)
        if self.nats is None or self.first_p is None or self.first_came is None:
            return means
        of_probabilities = (_mean(self.nats[self.could_come]), calibration_error(self.first_p, self.first_came))
        return means | dict(zip(PROBABILITY_METRICS, of_probabilities, strict=True))

    def at(self, chosen: NDArray[np.bool_]) -> EvaluationResult:
        """Return the result over some of the targets; `chosen` [N] is true for those that stay."""
        arrays = (
            "targets",
            "ranks",
            "catalogue_ranks",
            "in_catalogue",
            "l2",
            "cosine",
            "recommended",
            "novelty",
            "diversity",
        )
        fewer = {name: getattr(self, name)[chosen] for name in arrays}
        for name in ("uncertainty", "nats", "first_p", "first_came"):
            given = getattr(self, name)
            fewer[name] = None if given is None else given[chosen]
        return replace(self, **fewer)


def listens_checksum(dataset: Dataset, targets: NDArray[np.int64]) -> str:
    """Return a checksum of the users and times of the listens at some flat positions; vectors do not change it."""
    users, counts = np.unique(dataset.listens.user[targets], return_counts=True)
    digest = xxhash.xxh3_64("\0".join(dataset.user_ids[user] for user in users).encode())
    digest.update(counts.astype(np.int64).tobytes())
    digest.update(dataset.listens.played_at[targets].astype(np.int64).tobytes())
    return digest.hexdigest()


def check_listens(result: EvaluationResult, dataset: Dataset) -> None:
    """Check that a result is over listens of a dataset.

    Raises:
        UserError: the dataset has other listens at its positions.
    """
    within = not len(result.targets) or result.targets[-1] < len(dataset.listens)
    if not within or listens_checksum(dataset, result.targets) != result.positions:
        raise UserError(
            f"{result.model} was evaluated on dataset {result.dataset}, and dataset {dataset.fingerprint} has other "
            "listens: open the dataset of the evaluation, or evaluate again."
        )


def check_comparable(results: Sequence[EvaluationResult]) -> None:
    """Check that results can be compared target by target.

    Raises:
        UserError: they are over different listens, or their catalogues hold different targets.
    """
    for result in results[1:]:
        first = results[0]
        if result.positions != first.positions or not np.array_equal(result.targets, first.targets):
            raise UserError(
                f"{result.model} (dataset {result.dataset}, {len(result.targets):,} targets) and {first.model} "
                f"(dataset {first.dataset}, {len(first.targets):,} targets) were evaluated on different listens: "
                "evaluate both on the same dataset and period."
            )
        if not np.array_equal(result.in_catalogue, first.in_catalogue):
            raise UserError(
                f"{result.model} (dataset {result.dataset}) and {first.model} (dataset {first.dataset}) have "
                "different catalogues: prepare both datasets with the same min_count."
            )


def _mean(values: NDArray[np.float64]) -> float:
    return float(values.mean()) if len(values) else float("nan")
