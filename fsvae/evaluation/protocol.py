"""The evaluation protocol: every listen of a period is a target, ranked among all tracks heard before it by anybody.

A track that is heard for the first time could not be recommended: such a target is a miss. Weights are frozen after
training; a user's own earlier listens are visible.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
from numpy.typing import NDArray

from fsvae.candidates import Candidates
from fsvae.data.dataset import Dataset
from fsvae.evaluation.lists import LIST_LENGTH, NO_TRACK, diversity, novelty, self_information, top_k
from fsvae.evaluation.metrics import MISS, cosine_distance, l2_distance, pessimistic_ranks
from fsvae.evaluation.probabilities import nats
from fsvae.evaluation.result import EvaluationResult, listens_checksum
from fsvae.predictions import Predictions, Predictor

_SCORES_AT_ONCE = 1 << 24  # 64 MiB of float32 scores


def evaluate_model(
    model: Predictor, dataset: Dataset, period: str, not_before_us: int = np.iinfo(np.int64).min
) -> EvaluationResult:
    """Evaluate a fitted model on every listen of a period, or on those from a time on.

    A model fitted on another dataset is evaluated on `dataset.in_space_of` its own track space: the positions are the
    same, and so are the candidates.
    """
    begin, end = dataset.period(period)
    begin = max(begin, not_before_us)
    targets = dataset.targets(period)
    targets = targets[dataset.listens.played_at[targets] >= begin]
    candidates, vectors = Candidates(dataset), dataset.vectors
    n, n_tracks, track, played_at = len(targets), dataset.n_tracks, dataset.listens.track, dataset.listens.played_at
    unit = np.zeros((n_tracks, vectors.shape[1]), dtype=np.float32)
    unit[: len(vectors)] = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
    information = self_information(dataset)

    ranks = np.full(n, MISS, dtype=np.int64)
    catalogue_ranks, in_catalogue = ranks.copy(), track[targets] < dataset.n_catalogue
    l2, cosine = np.full(n, np.nan), np.full(n, np.nan)
    lists = np.full((n, min(LIST_LENGTH, n_tracks)), NO_TRACK, dtype=np.int32)
    list_novelty, list_diversity = np.zeros(n), np.zeros(n)
    uncertainty: NDArray[np.float32] | None = None
    surprise, first_p, first_came = np.full(n, np.nan), np.zeros(n), np.zeros(n, dtype=np.bool_)
    normalised = False
    seen = np.zeros(n, dtype=np.bool_)
    rows_at_once = max(1, _SCORES_AT_ONCE // max(n_tracks, 1))
    for part in _of_equal_size(model.predict(dataset, begin, end), rows_at_once):
        row, at = np.searchsorted(targets, part.targets), played_at[part.targets]
        seen[row] = True
        scores = candidates.scores(part, at)
        best = top_k(scores, LIST_LENGTH)
        best[np.isneginf(np.take_along_axis(scores, best, axis=1))] = NO_TRACK
        lists[row] = best
        list_novelty[row] = novelty(best, information)
        list_diversity[row] = diversity(best, unit)
        if part.uncertainty is not None:
            uncertainty = np.full(n, np.nan, dtype=np.float32) if uncertainty is None else uncertainty
            uncertainty[row] = part.uncertainty

        actual = track[part.targets].astype(np.int64)
        # A score of NaN ranks the target behind all tracks, those that are no candidates included.
        rank = np.minimum(pessimistic_ranks(scores, actual), candidates.count(at))
        could_come = dataset.first_heard_at[actual] < at
        ranks[row] = np.where(could_come, rank, MISS)
        if part.normalised:
            normalised = True
            columns = np.stack([actual, best[:, 0]], axis=1)
            # what is no candidate, or has no score or NaN, has no probability
            p, first_p[row] = np.nan_to_num(np.take_along_axis(scores, columns, axis=1).clip(min=0)).T
            surprise[row[could_come]] = nats(p, candidates.count(at))[could_come]
            first_came[row] = best[:, 0] == actual
        inside = in_catalogue[row]
        of_catalogue = pessimistic_ranks(scores[:, : dataset.n_catalogue], np.where(inside, actual, 0))
        catalogue_ranks[row] = np.where(inside & (ranks[row] != MISS), of_catalogue, MISS)
        row, actual, predicted = row[inside], actual[inside], part.vectors[inside]
        l2[row] = l2_distance(predicted, vectors[actual])
        cosine[row] = cosine_distance(predicted, vectors[actual])
    assert seen.all(), f"{model.name} left targets without a prediction"
    return EvaluationResult(
        model=model.name,
        dataset=dataset.fingerprint,
        positions=listens_checksum(dataset, targets),
        n_candidates=int(candidates.count(played_at[targets]).max(initial=0)),
        targets=targets,
        ranks=ranks,
        catalogue_ranks=catalogue_ranks,
        in_catalogue=in_catalogue,
        l2=l2,
        cosine=cosine,
        recommended=lists,
        novelty=list_novelty,
        diversity=list_diversity,
        uncertainty=uncertainty,
        nats=surprise if normalised else None,
        first_p=first_p if normalised else None,
        first_came=first_came if normalised else None,
    )


def _of_equal_size(predictions: Iterable[Predictions], rows: int) -> Iterator[Predictions]:
    """Regroup predictions into parts of `rows` targets; small ones without scores are joined first.

    Searching the few queries of one user at a time would read all vectors for each user.
    """
    waiting: list[Predictions] = []
    n_waiting = 0
    for part in predictions:
        if part.scores is not None:
            for i in range(0, len(part.targets), rows):
                yield part.at(slice(i, i + rows))
            continue
        waiting.append(part)
        n_waiting += len(part.targets)
        if n_waiting >= rows:
            joined = _joined(waiting)
            n_whole = n_waiting // rows * rows
            for i in range(0, n_whole, rows):
                yield joined.at(slice(i, i + rows))
            waiting, n_waiting = [joined.at(slice(n_whole, None))], n_waiting - n_whole
    if n_waiting:
        yield _joined(waiting)


def _joined(parts: list[Predictions]) -> Predictions:
    """Return parts without scores as one; either all have queries, or an uncertainty, or none."""
    first = parts[0]
    return Predictions(
        np.concatenate([part.targets for part in parts]),
        np.concatenate([part.vectors for part in parts]),
        None if first.queries is None else np.concatenate([part.queries for part in parts if part.queries is not None]),
        uncertainty=None
        if first.uncertainty is None
        else np.concatenate([part.uncertainty for part in parts if part.uncertainty is not None]),
    )
