"""The terms of the loss against torch's own distributions and against figures worked out by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.integrate import quad
from scipy.stats import vonmises_fisher
from torch.distributions import Independent, Normal, kl_divergence
from torch.nn.functional import cross_entropy, normalize

from fsvae.models.losses import CosineLikelihood, GaussianLikelihood, TrackSoftmax, kl_loss, kl_per_dimension
from fsvae.models.posterior import Latent, Posterior
from fsvae.models.prior import Prior


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_kl_is_that_of_torch_distributions() -> None:
    mean, log_variance = 2 * random(50, 6), 3 * random(50, 6, seed=1)
    expected = kl_divergence(Normal(mean, torch.exp(0.5 * log_variance)), Normal(0.0, 1.0))
    torch.testing.assert_close(kl_per_dimension(Posterior(mean, log_variance)), expected, rtol=1e-4, atol=1e-5)


def test_kl_by_hand() -> None:
    found = kl_per_dimension(Posterior(torch.tensor([[0.0, 1.0, 0.0]]), torch.tensor([[0.0, 0.0, math.log(4)]])))
    assert found[0].tolist() == pytest.approx([0, 0.5, 0.5 * (4 - 1 - math.log(4))])
    assert not kl_per_dimension(Posterior(random(4, 3), None)).any()


def test_kl_to_a_prior_is_that_of_torch_distributions() -> None:
    posterior = Posterior(2 * random(50, 6), 3 * random(50, 6, seed=1))
    prior = Prior(random(50, 6, seed=2), 2 * random(50, 6, seed=3))
    q, p = (Normal(each.mean, torch.exp(0.5 * each.log_variance)) for each in (posterior, prior))
    torch.testing.assert_close(kl_per_dimension(posterior, prior), kl_divergence(q, p), rtol=1e-4, atol=1e-5)


def test_kl_to_a_prior_by_hand() -> None:
    """q = p; means one prior deviation apart; q twice as wide as p: ((4 - 1) - log 4) / 2."""
    posterior = Posterior(torch.tensor([[1.0, 3.0, 0.0]]), torch.tensor([[0.3, math.log(4), math.log(4)]]))
    prior = Prior(torch.tensor([[1.0, 1.0, 0.0]]), torch.tensor([[0.3, math.log(4), 0.0]]))
    assert kl_per_dimension(posterior, prior)[0].tolist() == pytest.approx([0, 0.5, 0.5 * (3 - math.log(4))])
    assert not kl_per_dimension(Posterior(random(1, 3), None), prior).any()


def test_free_bits_are_per_dimension_of_the_mean_over_targets() -> None:
    kl = torch.tensor([[0.1, 2.0, 0.0], [0.5, 4.0, 0.2]])  # means 0.3, 3.0, 0.1
    assert kl_loss(kl, 0.0).item() == pytest.approx(3.4)
    assert kl_loss(kl, 0.25).item() == pytest.approx(0.3 + 3.0 + 0.25)
    assert kl_loss(kl, 5.0).item() == pytest.approx(15.0)


def test_no_gradient_pulls_at_a_dimension_below_its_free_bits() -> None:
    kl = torch.tensor([[0.1, 2.0]], requires_grad=True)
    kl_loss(kl, 0.5).backward()  # type: ignore[no-untyped-call]
    assert kl.grad is not None and kl.grad.tolist() == [[0.0, 1.0]]


@pytest.mark.parametrize("log_variance", [None, -3.0, 0.7])
def test_the_gaussian_likelihood_is_that_of_torch_distributions(log_variance: float | None) -> None:
    likelihood = GaussianLikelihood(8)
    assert likelihood.log_variance.item() == pytest.approx(math.log(1 / 8))
    if log_variance is not None:
        likelihood.log_variance.data.fill_(log_variance)
    y_hat, y = random(20, 8), random(20, 8, seed=1)
    sigma = math.exp(0.5 * likelihood.log_variance.item())
    expected = -Independent(Normal(y_hat, sigma), 1).log_prob(y)
    torch.testing.assert_close(likelihood(y_hat, y), expected, rtol=1e-4, atol=1e-4)


def test_the_best_sigma_is_the_root_mean_square_of_the_errors() -> None:
    likelihood = GaussianLikelihood(4)
    y_hat, y = torch.zeros(30, 4), 0.3 * random(30, 4)
    likelihood.log_variance.data.fill_(math.log((y**2).mean().item()))
    likelihood(y_hat, y).mean().backward()
    assert likelihood.log_variance.grad is not None
    assert likelihood.log_variance.grad.item() == pytest.approx(0, abs=1e-5)


@pytest.mark.parametrize(("dim", "kappa"), [(3, 0.5), (8, 40.0), (80, 42.0), (80, 400.0), (128, 5.0)])
def test_the_cosine_likelihood_is_that_of_scipy(dim: int, kappa: float) -> None:
    """scipy's density is over the area of the sphere, ours is relative to the uniform one, that of kappa = 0."""
    likelihood = CosineLikelihood(dim)
    assert likelihood.log_kappa.item() == pytest.approx(math.log(dim))
    likelihood.log_kappa.data.fill_(math.log(kappa))
    direction, y = normalize(random(1, dim), dim=-1), normalize(random(20, dim, seed=1), dim=-1)
    log_area = math.log(2) + dim / 2 * math.log(math.pi) - math.lgamma(dim / 2)
    expected = -vonmises_fisher(direction[0].double().numpy(), kappa).logpdf(y.double().numpy()) - log_area
    with torch.inference_mode():
        found = likelihood(7 * direction.expand(20, -1), y)
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-4, atol=1e-3)


def test_the_expected_track_is_as_long_as_the_mean_cosine() -> None:
    """In three dimensions the cosine t has the density exp(kappa * t) up to a constant."""
    likelihood = CosineLikelihood(3)
    likelihood.log_kappa.data.fill_(math.log(2.0))
    weight = [quad(lambda t, power=power: t**power * math.exp(2 * t), -1, 1)[0] for power in (0, 1)]
    with torch.inference_mode():
        found = likelihood.expected(torch.tensor([[0.0, 3.0, 4.0]]))
    assert found[0].tolist() == pytest.approx([0, 0.6 * weight[1] / weight[0], 0.8 * weight[1] / weight[0]], rel=1e-5)


def test_the_best_kappa_is_where_the_mean_cosine_is_the_observed_one() -> None:
    likelihood = CosineLikelihood(4)
    y = normalize(torch.tensor([1.0, 0, 0, 0]) + 0.4 * random(200, 4), dim=-1)
    direction = normalize(y.mean(dim=0, keepdim=True), dim=-1)
    optimiser = torch.optim.LBFGS(likelihood.parameters(), lr=0.5, max_iter=50)

    def closure() -> torch.Tensor:
        optimiser.zero_grad()
        loss = likelihood(direction.expand(200, -1), y).mean()
        loss.backward()
        return loss

    optimiser.step(closure)
    with torch.inference_mode():
        length = likelihood.expected(direction).norm().item()
    assert length == pytest.approx((y @ direction[0]).mean().item(), abs=1e-4)


TRACKS = normalize(random(9, 5, seed=2), dim=-1)
QUERIES, TARGETS = 3 * random(6, 5, seed=3), torch.tensor([0, 8, 3, 3, 5, 1])


@pytest.mark.parametrize("max_tracks", [9, 500])
def test_the_softmax_of_a_small_catalogue_is_over_all_of_it(max_tracks: int) -> None:
    logits = 10 * torch.nn.functional.cosine_similarity(QUERIES[:, None], TRACKS[None], dim=-1)
    expected = cross_entropy(logits, TARGETS, reduction="none")
    torch.testing.assert_close(TrackSoftmax(max_tracks)(QUERIES, TARGETS, TRACKS), expected, rtol=1e-5, atol=1e-5)


def test_the_softmax_over_drawn_tracks_is_on_average_that_over_all() -> None:
    """exp(loss) is one over the probability of the target; drawing must not make targets look likelier."""
    full, drawn = TrackSoftmax(9), TrackSoftmax(6)
    for softmax in (full, drawn):
        softmax.log_scale.data.fill_(0.5)
    torch.manual_seed(0)
    with torch.inference_mode():
        mean = torch.stack([drawn(QUERIES, TARGETS, TRACKS).exp() for _ in range(4000)]).mean(dim=0)
        torch.testing.assert_close(mean, full(QUERIES, TARGETS, TRACKS).exp(), rtol=0.02, atol=0)


def test_a_drawn_target_is_not_counted_twice() -> None:
    """Two tracks, one drawn: it is either the target itself, which costs nothing, or the other for both."""
    tracks = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    softmax = TrackSoftmax(1)
    torch.manual_seed(0)
    found = {round(softmax(torch.tensor([[2.0, 0.0]]), torch.tensor([1]), tracks).item(), 4) for _ in range(20)}
    assert found == {0.0, round(math.log(1 + 2 * math.exp(10)), 4)}


def test_a_query_in_the_direction_of_the_target_costs_least() -> None:
    softmax = TrackSoftmax(100)
    aimed, missed = softmax(TRACKS[TARGETS], TARGETS, TRACKS), softmax(-TRACKS[TARGETS], TARGETS, TRACKS)
    assert (aimed < 1).all() and (missed > 10).all()
    torch.testing.assert_close(softmax(9 * TRACKS[TARGETS], TARGETS, TRACKS), aimed)  # its length does not count


def test_the_posterior_is_sampled_with_its_own_spread() -> None:
    mean, log_variance = torch.tensor([[1.0, -2.0]]), torch.tensor([[math.log(0.25), math.log(9.0)]])
    posterior = Posterior(mean.expand(40_000, 2), log_variance.expand(40_000, 2))
    torch.manual_seed(0)
    drawn = posterior.sample()
    torch.testing.assert_close(drawn.mean(dim=0), mean[0], rtol=0, atol=0.05)
    torch.testing.assert_close(drawn.std(dim=0), torch.tensor([0.5, 3.0]), rtol=0.03, atol=0)


def test_the_latent_starts_sharp_and_a_deterministic_one_is_a_point() -> None:
    start = Latent(4, 3, True, -5.0)(random(7, 4))
    assert start.log_variance is not None and (start.log_variance == -5.0).all()
    point = Latent(4, 3, False, -5.0)(random(7, 4))
    assert point.log_variance is None and torch.equal(point.sample(), point.mean)


def test_the_log_variance_is_bounded() -> None:
    latent = Latent(1, 1, True, 0.0)
    assert latent.log_variance is not None
    latent.log_variance.weight.data.fill_(1.0)
    found = latent(torch.tensor([[1e6], [-1e6], [3.0]])).log_variance
    assert found is not None and found[:, 0].tolist() == [12.0, -12.0, 3.0]
