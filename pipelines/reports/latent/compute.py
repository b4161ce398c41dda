"""Latent: what the latent space of a trained model looks like, as figures of one dataset.

The work is bounded by the numbers below, but for the reconstruction errors, which are of every listen that is new to
the model: as much as its evaluation.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import polars as pl
from numpy.typing import NDArray

from fsvae.bundle import Bundle
from fsvae.data.dataset import PreparedDataset
from fsvae.errors import UserError
from fsvae.features.slow import DAY_US
from fsvae.latent.anomaly import ReconstructionErrors, anomalies, reconstruction_errors
from fsvae.latent.maps import NO_TASTE, Clusters, Space, agreement, neighbours, taste_clusters, tsne
from fsvae.latent.paths import (
    cosine,
    decode,
    line,
    nearest_track,
    random_pairs,
    smoothness,
    traversal,
)
from fsvae.latent.states import States, encode, latest_listens, some_listens
from fsvae.latent.tastes import last_heard, slow_known, slow_taste
from fsvae.models.fsvae import FSVAE
from pipelines.reports.latent.figures import (
    ANOMALIES_SHOWN,
    CLUSTERS,
    LATEST,
    LEAST,
    MOMENTS,
    NEAREST_STATES,
    PAIRS,
    STEPS,
    USERS,
    AnomalousListen,
    LatentFigures,
    Maps,
    Traversal,
    Walk,
)
from pipelines.reports.latent.followed_users import follow, users_of

Done = Callable[[str, float], None]
"""Called with what is being done and the share of all that is done."""


def latent_figures(
    run: str,
    bundle: Bundle,
    dataset: PreparedDataset,
    user_ids: Sequence[str],
    seed: int,
    done: Done = lambda stage, share: None,
    moments: int = MOMENTS,
) -> LatentFigures:
    """Look at the latent space of a trained model through a dataset, which may be another than it was trained on.

    Args:
        run: the name of the run.
        bundle: the model.
        dataset: the listens.
        user_ids: whom to follow; none: those with most active days.
        seed: of everything drawn by chance.
        done: told of the progress.
        moments: so many states are on the maps; t-SNE takes most of the time.

    Raises:
        UserError: there is no such user, or there are not enough listens that the model has not learned from.
    """
    model, data = bundle.model, bundle.view(dataset)
    chosen = users_of(dataset, user_ids)
    since = max(dataset.period("test")[0], bundle.learned_until("test"))
    labels = track_labels(bundle.tracks)
    positions = some_listens(data, since, moments, seed)
    if len(np.unique(data.listens.user[positions])) < 2:
        raise UserError(
            "There are fewer than two users with listens that the model has not learned from: nothing to compare. "
            "Train on the present dataset: fsvae train."
        )

    def stage(name: str, begin: float, end: float) -> Callable[[int, int], None]:
        done(name, begin)
        return lambda finished, of: done(name, begin + (end - begin) * finished / max(of, 1))

    states = encode(model, data, positions, done=stage("states", 0, 0.2))
    space = Space.of(states)
    users, last = latest_listens(data, chosen, USERS, seed)
    latest = encode(model, data, last, done=stage("users", 0.2, 0.4))
    stage("maps", 0.4, 0.6)
    maps = _maps(model, data, labels, states, space, seed)
    followed = follow(model, data, chosen, users, latest, stage("drift", 0.6, 0.7))
    stage("walks", 0.7, 0.75)
    ends = np.searchsorted(users, chosen if len(chosen) > 1 else np.append(chosen, users[users != chosen[0]][:1]))
    walk = _walk(model, data, labels, users, latest, (int(ends[0]), int(ends[1])), seed)
    moved = _traversal(model, labels, space, states)
    errors = reconstruction_errors(model, data, since, np.iinfo(np.int64).max, stage("errors", 0.75, 1.0))
    return LatentFigures(
        run=run,
        model=model.config,
        since_us=since,
        space=space,
        use=states.use,
        kl_of_mean_Z=states.kl_of_mean_NZ.mean(axis=0, dtype=np.float64),
        maps=maps,
        chosen=followed,
        asked=len(users),
        unknown=int((~slow_known(data, last)).sum()),
        walk=walk,
        traversal=moved,
        errors=errors,
        anomalies=anomalies(data.listens.user[errors.positions], errors.nll, LATEST, LEAST),
        anomalous=_anomalous(model, data, labels, errors),
        user_ids=dataset.user_ids,
    )


def track_labels(tracks: pl.DataFrame) -> list[str]:
    """Return what to call each track: its title and artist, or its id where the title is not known."""
    label = pl.concat_str("title", "artist_name", separator=" · ")
    return tracks.select(pl.coalesce(label, "title", "track_id")).to_series().to_list()


def _maps(model: FSVAE, dataset: PreparedDataset, labels: list[str], states: States, space: Space, seed: int) -> Maps:
    played_at, user_N = dataset.listens.played_at[states.positions], dataset.listens.user[states.positions]
    hour_N = played_at % DAY_US * 24 // DAY_US
    taste = taste_clusters(slow_taste(dataset, states.positions), CLUSTERS, seed)
    last = taste_clusters(last_heard(dataset, states.positions), CLUSTERS, seed)
    apart_NN = np.abs(hour_N[:, None] - hour_N[None, :])
    near = neighbours(states.mean_NZ, user_N, NEAREST_STATES)
    return Maps(
        user_N=user_N,
        hour_N=hour_N,
        principal_N2=space.project(states.mean_NZ),
        tsne_N2=tsne(states.mean_NZ, seed),
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


def _central(model: FSVAE, labels: list[str], clusters: Clusters) -> list[list[str]]:
    """Return the three tracks nearest to the centre of each cluster."""
    order = np.argsort(-(clusters.centres_CD @ model.catalogue.numpy().T), axis=1, kind="stable")
    return [[labels[track] for track in tracks] for tracks in order[:, :3]]


def _walk(
    model: FSVAE,
    dataset: PreparedDataset,
    labels: list[str],
    users: NDArray[np.int64],
    latest: States,
    ends: tuple[int, int],
    seed: int,
) -> Walk:
    directions = decode(model, line(latest.mean_NZ[ends[0]], latest.mean_NZ[ends[1]], STEPS))
    a, b = random_pairs(users, PAIRS, seed)
    return Walk(
        begin=dataset.user_ids[users[ends[0]]],
        end=dataset.user_ids[users[ends[1]]],
        tracks=[labels[track] for track in nearest_track(model, directions)],
        to_begin=cosine(directions, directions[:1]),
        to_end=cosine(directions, directions[-1:]),
        to_next=cosine(directions[:-1], directions[1:]),
        smoothness=smoothness(model, latest.mean_NZ[a], latest.mean_NZ[b], STEPS),
    )


def _traversal(model: FSVAE, labels: list[str], space: Space, states: States) -> Traversal:
    use = states.use
    dimensions = use.by_kl[use.is_active[use.by_kl]]
    directions = decode(model, traversal(space.centre_Z, space.sigma_Z, dimensions))
    turn = np.degrees(np.arccos(cosine(directions[:, 0], directions[:, -1]).clip(-1, 1)))
    return Traversal(dimensions, [[labels[track] for track in row] for row in nearest_track(model, directions)], turn)


def _anomalous(
    model: FSVAE, dataset: PreparedDataset, labels: list[str], found: ReconstructionErrors
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
