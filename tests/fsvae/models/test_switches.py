"""The switches: which words there are, and which go together."""

from __future__ import annotations

import pytest
import torch
from plain_model import PLAIN

from fsvae.errors import UserError
from fsvae.limits import check, validated
from fsvae.memory.contexts import EXPERTS
from fsvae.models.fsvae import FSVAENetwork
from fsvae.models.model_config import ModelConfig


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"latent": "gausian"}, "model.latent=gausian is not one of gaussian, deterministic. Did you mean 'gaussian'?"),
        ({"fast": "shufled"}, "model.fast=shufled is not one of on, off, shuffled. Did you mean 'shuffled'?"),
        ({"prior": "fast"}, "model.prior=fast is not one of standard, slow."),
        ({"likelihood": "cosin"}, "model.likelihood=cosin is not one of gaussian, cosine, track_softmax. Did you mean"),
        (
            {"track_table": "tuned"},
            "model.track_table=tuned is not one of frozen, finetuned. Did you mean 'finetuned'?",
        ),
        ({"slow": False, "fast": "off"}, "are both off: the model needs one of them, or a memory."),
        ({"prior": "slow", "slow": False}, "model.prior=slow needs model.slow=on and model.latent=gaussian."),
        (
            {"prior": "slow", "latent": "deterministic"},
            "model.prior=slow needs model.slow=on and model.latent=gaussian.",
        ),
        ({"likelihood": "track_softmax", "softmax_weight": 1.0}, "set model.softmax_weight=0."),
        ({"shared_memory": True}, "are mixed with the track softmax: set model.softmax_weight above 0"),
    ],
    ids=lambda value: "-".join(f"{k}={v}" for k, v in value.items()) if isinstance(value, dict) else "",
)
def test_what_cannot_be_is_refused(changes: dict[str, object], message: str) -> None:
    with pytest.raises(UserError) as error:
        FSVAENetwork(ModelConfig(**{**PLAIN, **changes}), torch.zeros(3, 2), torch.zeros(4), torch.ones(4))  # type: ignore[arg-type]
    assert message in str(error.value)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"fast": "shuffled", "prior": "slow", "likelihood": "cosine", "track_table": "finetuned"},
        {"fast": "off", "latent": "deterministic", "likelihood": "track_softmax"},
        {"slow_memory": True, "likelihood": "track_softmax"},
        {"slow": False, "fast": "off", "shared_memory": True, "softmax_weight": 3.0},
        {"fast_memory": True, "likelihood": "cosine", "softmax_weight": 3.0, "prior": "slow"},
    ],
    ids=["default", "shuffled", "off", "softmax", "memory alone", "memory"],
)
def test_what_goes_together_is_taken(changes: dict[str, object]) -> None:
    check(ModelConfig(**{**PLAIN, **changes}))  # type: ignore[arg-type]


def test_yaml_booleans_are_the_words_on_and_off() -> None:
    assert validated(ModelConfig, {"fast": "True", **PLAIN}).fast == "on"
    assert validated(ModelConfig, {"fast": "False", **PLAIN}).fast == "off"


def test_without_artists_the_experts_that_count_by_artist_are_off_and_no_others() -> None:
    enabled = ModelConfig(artist_memory=False).enabled_experts()
    assert {expert.name for expert, on in zip(EXPERTS, enabled, strict=False) if not on} == {
        "after artist, 5 occurrences",
        "same artist",
        "same artist, 50 listens",
        "all: after artist",
        "all: same artist",
    }
    assert all(enabled[len(EXPERTS) :]) and all(ModelConfig().enabled_experts())
