"""Reconstruction errors, and who stands out by them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from tiny_dataset import (
    FIRST_DAY,
    HOUR_US,
    History,
    dataset_of,
    random_histories,
    random_model,
    small_config,
    unit_vectors,
)

from fsvae.data.chunks import Batcher, training_chunks
from fsvae.features.clock import DAY_US
from fsvae.latent.anomaly import anomalies, reconstruction_errors
from fsvae.models.losses import GaussianLikelihood
from fsvae.models.predict import NetworkPredictor

FOREVER = (np.iinfo(np.int64).min, np.iinfo(np.int64).max)


def test_the_error_is_the_likelihood_at_what_evaluation_predicts() -> None:
    """-log N(y; y_hat, s^2 I) = |y - y_hat|^2 / (2 s^2) + D / 2 log(2 pi s^2), with s = 1 and D = 4 here."""
    data = dataset_of(
        random_histories([5, 30], 10, seed=4), unit_vectors(8, 4), train_until=0, validation_until=1, outside=2
    )
    model = random_model(data, small_config())
    assert isinstance(model.likelihood, GaussianLikelihood)
    with torch.no_grad():
        model.likelihood.log_variance.zero_()
    found = reconstruction_errors(model, data, *FOREVER)
    assert np.array_equal(found.positions, np.flatnonzero(data.listens.track < 8))
    for part in NetworkPredictor(model).predict(data, *FOREVER):
        for target, y_hat in zip(part.targets, part.vectors, strict=True):
            if (track := data.listens.track[target]) < 8:
                squared = float(((data.vectors[track] - y_hat) ** 2).sum())
                error = found.nll[np.searchsorted(found.positions, target)]
                assert error == pytest.approx(squared / 2 + 2 * np.log(2 * np.pi), rel=1e-5)


@pytest.mark.parametrize("memory", [False, True])
def test_without_a_likelihood_of_vectors_the_error_is_the_softmax_over_the_tracks(memory: bool) -> None:
    """Even where training draws some of the tracks, and without what a memory adds: p = softmax(s * cos(q, track))."""
    data = dataset_of(
        random_histories([5, 30], 10, seed=4), unit_vectors(8, 4), train_until=0, validation_until=1, outside=2
    )
    sizes: dict[str, object] = {"softmax_weight": 0.0, "likelihood": "track_softmax", "softmax_tracks": 3}
    model = random_model(data, small_config(**sizes))
    remembering = random_model(data, small_config(**sizes, slow_memory=True))
    remembering.load_state_dict(model.state_dict(), strict=False)
    found = reconstruction_errors(remembering if memory else model, data, *FOREVER)
    assert model.softmax is not None
    scale = float(model.softmax.log_scale.detach().exp())
    for part in NetworkPredictor(model).predict(data, *FOREVER):
        for row, target in enumerate(part.targets):
            if (track := data.listens.track[target]) < 8:
                assert part.queries is not None
                log_p = scale * (data.vectors @ part.queries[row]) / np.linalg.norm(part.queries[row])
                log_p = log_p - np.log(np.exp(log_p).sum())
                error = found.nll[np.searchsorted(found.positions, target)]
                assert error == pytest.approx(-log_p[track], rel=1e-4)


def test_only_the_span_counts() -> None:
    data = dataset_of(random_histories([6, 9], 5, seed=5), unit_vectors(5, 4), train_until=0, validation_until=1)
    model = random_model(data, small_config())
    begin, end = np.sort(data.listens.played_at)[[4, 11]]
    found = reconstruction_errors(model, data, int(begin), int(end))
    inside = (data.listens.played_at >= begin) & (data.listens.played_at < end)
    assert np.array_equal(found.positions, np.flatnonzero(inside)) and 0 < inside.sum() < 15
    assert len(reconstruction_errors(model, data, int(end) + 10**15, int(end) + 10**15 + 1).nll) == 0


def test_a_planted_outlier_is_the_most_surprising_user() -> None:
    """All listen to two neighbouring tracks in turns, and the model learns it. From the test period on, one of them
    hears two tracks from the other side of the space."""
    vectors = np.float32([[1, 0, 0, 0], [0.8, 0.6, 0, 0], [-1, 0, 0, 0], [-0.8, 0, 0.6, 0]])
    start, test = FIRST_DAY * DAY_US, FIRST_DAY * DAY_US + 24 * HOUR_US
    histories: dict[str, History] = {
        f"u{user}": [
            ((n + user) % 2 + (2 if user == 5 and n >= 24 else 0), start + n * HOUR_US + user) for n in range(36)
        ]
        for user in range(9)
    }
    data = dataset_of(histories, vectors, train_until=test, validation_until=test)
    model = random_model(data, small_config()).train()
    batch = Batcher(data, chunks := training_chunks(data.listens, test, model.history), True)[np.arange(len(chunks))]
    optimiser = torch.optim.Adam(model.parameters(), lr=0.02)
    for _ in range(60):
        optimiser.zero_grad()
        model.loss(batch, 1.0)["loss"].backward()
        optimiser.step()
    found = reconstruction_errors(model.eval(), data, *data.period("test"))
    ranked = anomalies(data.listens.user[found.positions], found.nll, latest=10, least=5)
    assert data.user_ids[ranked.user[0]] == "u5" and sorted(ranked.user.tolist()) == list(range(9))
    assert ranked.nll[0] > ranked.nll[1] + 3 * (ranked.nll[1] - ranked.nll[-1])
    assert (ranked.listens == 10).all()


def test_scores_are_robust_deviations_from_the_median_user() -> None:
    """Only the latest two listens count, and user 3 has too few. Means: 2, 3, 9, so the median is 3, the deviations
    from it are 1, 0, 6 with the median 1, and a robust standard deviation is 1.4826."""
    user = np.array([0, 0, 0, 1, 1, 2, 2, 3])
    nll = np.array([99.0, 1.0, 3.0, 3.0, 3.0, 8.0, 10.0, 50.0])
    found = anomalies(user, nll, latest=2, least=2)
    assert found.user.tolist() == [2, 1, 0] and found.nll.tolist() == [9, 3, 2] and found.listens.tolist() == [2, 2, 2]
    assert found.score == pytest.approx(np.array([6, 0, -1]) / 1.4826)
    assert len(anomalies(user, nll, latest=2, least=9).user) == 0
