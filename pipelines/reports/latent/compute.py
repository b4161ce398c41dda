"""Latent: the figures of the latent space of a trained model on one dataset.

The work is bounded by the numbers in `figures`, except for the reconstruction errors, which cover every listen that is
new to the model, as its evaluation does.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl
from numpy.typing import NDArray

from fsvae.bundle import Bundle
from fsvae.data.dataset import Dataset
from fsvae.errors import UserError, nearest
from fsvae.features.clock import DAY_US, HOUR_US
from fsvae.latent.anomaly import ReconstructionErrors, anomalies, reconstruction_errors
from fsvae.latent.maps import NO_TASTE, Clusters, Space, agreement, neighbours, taste_clusters
from fsvae.latent.paths import cosine, decode, nearest_track, path
from fsvae.latent.states import States, encode, latest_days, mean_request, most_active, some_listens
from fsvae.latent.tastes import last_heard, slow_taste
from fsvae.models.fsvae import FSVAENetwork
from fsvae.progress import Done, Stage
from pipelines.reports.latent.figures import (
    ANOMALIES_SHOWN,
    CLUSTERS,
    DRIFT_DAYS,
    FOLLOWED_USERS,
    LATEST,
    LEAST,
    MAPPED_STATES,
    NEAREST_STATES,
    STEPS,
    AnomalousListen,
    FollowedUser,
    LatentFigures,
    Maps,
    Walk,
)
from pipelines.reports.words import TRACK_LABEL


def latent_figures(
    run: str,
    bundle: Bundle,
    dataset: Dataset,
    user_ids: Sequence[str],
    seed: int,
    done: Stage = lambda stage, share: None,
) -> LatentFigures:
    """Return the figures of the latent space of a trained model on a dataset, its own or another one.

    Args:
        run: the name of the run.
        bundle: the model.
        dataset: the listens.
        user_ids: ids of the users to follow; none: those with most active days.
        seed: seed of all random draws.
        done: called with the stage and the share of the whole that is done.

    Raises:
        UserError: there is no such user, or there are not enough listens that the model has not learned from.
    """
    model, data = bundle.model, bundle.view(dataset)
    chosen = users_of(dataset, user_ids)
    since = max(dataset.period("test")[0], bundle.learned_until("test"))
    labels = track_labels(bundle.tracks)
    positions = some_listens(data, since, MAPPED_STATES, seed)
    if len(np.unique(data.listens.user[positions])) < 2:
        raise UserError(
            "There are fewer than two users with listens that the model has not learned from: nothing to compare. "
            "Train on the present dataset: fsvae train."
        )

    def stage(name: str, begin: float, end: float) -> Done:
        done(name, begin)
        return lambda finished, of: done(name, begin + (end - begin) * finished / max(of, 1))

    states = encode(model, data, positions, done=stage("states", 0, 0.3))
    space = Space.of(states)
    stage("maps", 0.3, 0.5)
    maps = _maps(model, data, labels, states, space, seed)
    stage("drift", 0.5, 0.6)
    followed = [_follow(model, data, int(user)) for user in chosen]
    errors = reconstruction_errors(model, data, since, np.iinfo(np.int64).max, stage("errors", 0.6, 1.0))
    return LatentFigures(
        run=run,
        model=model.config,
        since_us=since,
        space=space,
        use=states.use,
        kl_of_mean_Z=states.kl_of_mean_NZ.mean(axis=0, dtype=np.float64),
        maps=maps,
        followed=followed,
        walk=_walk(model, data, labels, chosen),
        errors=errors,
        anomalies=anomalies(data.listens.user[errors.positions], errors.nll, LATEST, LEAST),
        anomalous=_anomalous(model, data, labels, errors),
        user_ids=dataset.user_ids,
    )


def users_of(dataset: Dataset, user_ids: Sequence[str]) -> NDArray[np.int64]:
    """Return the indices of users by their ids, in the order given; without ids, those with most active days."""
    if not user_ids:
        return most_active(dataset, DRIFT_DAYS, FOLLOWED_USERS)
    index_of = {user_id: index for index, user_id in enumerate(dataset.user_ids)}
    for user_id in user_ids:
        if user_id not in index_of:
            raise UserError(f"--users {user_id}: there is no such user in the dataset.{nearest(user_id, index_of)}")
    return np.array([index_of[user_id] for user_id in dict.fromkeys(user_ids)], dtype=np.int64)


def track_labels(tracks: pl.DataFrame) -> list[str]:
    """Return what to call each track."""
    return tracks.select(TRACK_LABEL).to_series().to_list()


def _maps(model: FSVAENetwork, dataset: Dataset, labels: list[str], states: States, space: Space, seed: int) -> Maps:
    played_at, user_N = dataset.listens.played_at[states.positions], dataset.listens.user[states.positions]
    hour_N = played_at % DAY_US // HOUR_US
    taste = taste_clusters(slow_taste(dataset, states.positions), CLUSTERS, seed)
    last = taste_clusters(last_heard(dataset, states.positions), CLUSTERS, seed)
    apart_NN = np.abs(hour_N[:, None] - hour_N[None, :])
    near = neighbours(states.mean_NZ, user_N, NEAREST_STATES)
    return Maps(
        user_N=user_N,
        hour_N=hour_N,
        principal_N2=space.project(states.mean_NZ),
        taste=taste,
        last=last,
        taste_tracks=_central(model, labels, taste),
        last_tracks=_central(model, labels, last),
        agreement={
            "taste": agreement(_same_cluster(taste), user_N, near),
            "last track": agreement(_same_cluster(last), user_N, near),
            "hour": agreement(np.minimum(apart_NN, 24 - apart_NN) <= 1, user_N, near),
        },
    )


def _same_cluster(clusters: Clusters) -> NDArray[np.bool_]:
    label_N = clusters.label_N
    return np.asarray((label_N[:, None] == label_N[None, :]) & (label_N != NO_TASTE))


def _central(model: FSVAENetwork, labels: list[str], clusters: Clusters) -> list[list[str]]:
    """Return the three tracks nearest to the centre of each cluster."""
    order = np.argsort(-(clusters.centres_CD @ model.catalogue.numpy().T), axis=1, kind="stable")
    return [[labels[track] for track in tracks] for tracks in order[:, :3]]


def _follow(model: FSVAENetwork, dataset: Dataset, user: int) -> FollowedUser:
    """Return a user's paths through the last days: from both sides, and from each alone where the model has two.

    All points share one request, so that a path shows the user and not the hours and weekdays of the listens.
    """
    recent = latest_days(dataset, np.array([user]), DRIFT_DAYS)
    known = recent[slow_taste(dataset, recent).any(axis=1)]  # a step from an unknown to a known taste is no drift
    sides = ("slow", "fast", "both") if model.config.slow and model.config.fast != "off" else ("both",)
    paths = {}
    for side in sides if len(known) else ():
        request_R = mean_request(dataset.listens, known)
        states = encode(model, dataset, known, slow=side != "fast", fast=side != "slow", request_R=request_R)
        paths[side] = path(dataset.listens, states)
    return FollowedUser(dataset.user_ids[user], len(recent), paths)


def _walk(model: FSVAENetwork, dataset: Dataset, labels: list[str], chosen: NDArray[np.int64]) -> Walk:
    """Walk from the first chosen user to the second, or to another one if only one is chosen."""
    begin, end = chosen[:2] if len(chosen) > 1 else (chosen[0], int(chosen[0] == 0))
    last = dataset.listens.offsets[1:] - 1
    ends = [encode(model, dataset, last[user : user + 1]).mean_NZ[0] for user in (begin, end)]
    directions = decode(model, np.linspace(ends[0], ends[1], STEPS + 1))
    return Walk(
        begin=dataset.user_ids[begin],
        end=dataset.user_ids[end],
        tracks=[labels[track] for track in nearest_track(model, directions)],
        to_begin=cosine(directions, directions[:1]),
        to_end=cosine(directions, directions[-1:]),
        to_next=cosine(directions[:-1], directions[1:]),
    )


def _anomalous(
    model: FSVAENetwork, dataset: Dataset, labels: list[str], found: ReconstructionErrors
) -> list[AnomalousListen]:
    rows = np.sort(np.argsort(-found.nll, kind="stable")[:ANOMALIES_SHOWN])
    positions, listens = found.positions[rows], dataset.listens
    expected = nearest_track(model, decode(model, encode(model, dataset, positions).mean_NZ))
    listed = []
    for row, position, track in zip(rows, positions, expected, strict=True):
        before = slice(listens.offsets[listens.user[position]], position)
        listed.append(
            AnomalousListen(
                user_id=dataset.user_ids[listens.user[position]],
                played_at=int(listens.played_at[position]),
                nll=float(found.nll[row]),
                track=labels[listens.track[position]],
                expected=labels[track],
                heard=int((listens.track[before] == listens.track[position]).sum()),
            )
        )
    return sorted(listed, key=lambda listen: -listen.nll)
