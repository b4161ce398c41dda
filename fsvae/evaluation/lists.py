"""Metrics of the lists that a model recommends, whatever the targets: coverage, novelty, diversity.

Shape suffixes: N lists, K tracks of a list, T tracks, D track space.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from fsvae.data.dataset import Dataset

LIST_LENGTH = 10
"""K: number of tracks in a list."""
NO_TRACK = -1
"""What a list holds where there are fewer candidates than places."""


def top_k(scores: NDArray[np.float32], k: int) -> NDArray[np.int32]:
    """Return the k columns of highest score in each row [N, T], best first, [N, min(k, T)].

    Ties are listed by column and NaN last, so that lists are the same on every machine. Ranks are not computed here:
    they count ties against the target.
    """
    n_columns = scores.shape[1]
    k = min(k, n_columns)
    highest = torch.topk(torch.from_numpy(np.require(scores, requirements=["C", "W"])), min(k + 1, n_columns), dim=1)
    values, columns = highest.values.numpy(), highest.indices.numpy()
    order = np.lexsort((columns[:, :k], -values[:, :k]), axis=1)
    best = np.take_along_axis(columns[:, :k], order, axis=1).astype(np.int32)
    has_nan = np.isnan(values).any(axis=1)  # NaN is the highest to topk
    if n_columns > k:  # topk takes any of the columns that tie for the last places
        for row in np.flatnonzero((values[:, k - 1] == values[:, k]) & ~has_nan):
            last = values[row, k - 1]
            above = (values[row, :k] > last).sum()
            best[row, above:] = np.flatnonzero(scores[row] == last)[: k - above]
    if has_nan.any():
        rows = scores[has_nan]
        best[has_nan] = top_k(np.where(np.isnan(rows), -np.inf, rows), k)
    return best


def train_counts(dataset: Dataset) -> NDArray[np.int64]:
    """Return the number of listens to each track in the training period, [T]."""
    return np.bincount(dataset.listens.track[dataset.targets("train")], minlength=dataset.n_tracks)


def self_information(dataset: Dataset) -> NDArray[np.float64]:
    """Return -log2 of each track's share of the training listens, in bits, [T].

    A track without a training listen counts as if it had one.
    """
    counts = np.maximum(train_counts(dataset), 1)
    return np.asarray(-np.log2(counts / counts.sum()))


def novelty(lists_NK: NDArray[np.int32], information_T: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the mean self-information of each list's tracks, in bits, [N]; 0 of none (Zhou et al., PNAS 2010)."""
    is_track_NK = lists_NK != NO_TRACK
    sum_N = (information_T[lists_NK] * is_track_NK).sum(axis=1)
    return np.asarray(sum_N / np.maximum(is_track_NK.sum(axis=1), 1))


def diversity(lists_NK: NDArray[np.int32], unit_TD: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return the mean cosine distance over the pairs of each list's tracks, [N] (Ziegler et al., WWW 2005).

    Args:
        lists_NK: track indices of the lists; a list of one track has no pairs and a diversity of 0.
        unit_TD: vectors of length 1, or zero: a zero vector is at distance 1 from everything.
    """
    is_track_NK = lists_NK != NO_TRACK
    pairs_N = is_track_NK.sum(axis=1) * (is_track_NK.sum(axis=1) - 1)
    vectors_NKD = unit_TD[lists_NK].astype(np.float64) * is_track_NK[:, :, None]
    sum_ND = vectors_NKD.sum(axis=1)
    similarity_of_pairs = (sum_ND**2).sum(axis=1) - (vectors_NKD**2).sum(axis=(1, 2))
    return np.where(pairs_N > 0, 1 - similarity_of_pairs / np.maximum(pairs_N, 1), 0.0)


def coverage(lists_NK: NDArray[np.int32], n_candidates: int) -> float:
    """Return the share of the candidates that is in at least one list; NaN of no lists."""
    return len(np.unique(lists_NK[lists_NK != NO_TRACK])) / max(n_candidates, 1) if len(lists_NK) else float("nan")
