"""Latent: the figures of a model on a small log, odd models and users, and a page that needs nothing else."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from plain_model import PLAIN
from typer.testing import CliRunner
from whole_page import assert_whole

from fsvae.bundle import Bundle, load_bundle, save_bundle
from fsvae.data.dataset import Dataset
from fsvae.errors import UserError
from fsvae.features.fast import REQUEST_FEATURES
from fsvae.models.fsvae import FSVAENetwork
from fsvae.models.model_config import ModelConfig
from pipelines.cli.main import app
from pipelines.reports.latent import compute
from pipelines.reports.latent.compute import latent_figures
from pipelines.reports.latent.figures import LatentFigures
from pipelines.reports.latent.latent_page import headline, html, sections, summary

SIZES = {
    "history": 8,
    "slow_hidden": 8,
    "slow_dim": 6,
    "fast_hidden": 8,
    "latent_dim": 5,
    "decoder_hidden": 12,
    "softmax_weight": 1.0,
}


@pytest.fixture(autouse=True, scope="module")
def few() -> Iterator[None]:
    """Look at fewer states than usual."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(compute, "MAPPED_STATES", 120)
        yield


def bundle_of(dataset: Dataset, folder: Path, **changes: object) -> Bundle:
    """The bundle of an untrained model whose latent depends on everything it sees."""
    torch.manual_seed(0)
    model = FSVAENetwork.for_dataset(dataset, ModelConfig(**{**PLAIN, **SIZES, **changes}))  # type: ignore[arg-type]
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(2)
    save_bundle(folder, model, dataset, {})
    return load_bundle(folder)


@pytest.fixture(scope="module")
def bundle(small_dataset: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return bundle_of(small_dataset, tmp_path_factory.mktemp("bundle"))


@pytest.fixture(scope="module")
def figures(bundle: Bundle, small_dataset: Dataset) -> LatentFigures:
    return latent_figures("run", bundle, small_dataset, [], seed=1)


def test_all_that_is_shown_is_of_listens_that_the_model_has_not_learned_from(
    figures: LatentFigures, small_dataset: Dataset
) -> None:
    begin = small_dataset.period("test")[0]
    assert figures.since_us == begin
    assert (small_dataset.listens.played_at[figures.errors.positions] >= begin).all()
    assert len(figures.maps.user_N) == 120
    assert all(one.played_at >= begin for one in figures.anomalous)


def test_users_are_followed_from_both_sides_and_from_each(figures: LatentFigures) -> None:
    assert len(figures.followed) == 3
    for user in figures.followed:
        assert list(user.paths) == ["slow", "fast", "both"]
        assert 20 <= len(user.paths["both"].day_T) <= 28


def test_the_most_surprising_listens_come_first(figures: LatentFigures) -> None:
    errors = [one.nll for one in figures.anomalous]
    assert errors == sorted(errors, reverse=True) and errors[0] == figures.errors.nll.max()


def test_the_walk_begins_and_ends_at_the_chosen_users(figures: LatentFigures) -> None:
    walk = figures.walk
    assert (walk.begin, walk.end) == (figures.followed[0].user_id, figures.followed[1].user_id)
    assert len(walk.tracks) == len(walk.to_next) + 1 == 11
    assert walk.to_begin[0] == pytest.approx(1) and walk.to_end[-1] == pytest.approx(1)


def test_the_same_seed_gives_the_same_figures(figures: LatentFigures, bundle: Bundle, small_dataset: Dataset) -> None:
    again = latent_figures("run", bundle, small_dataset, [], seed=1)
    assert np.array_equal(again.maps.principal_N2, figures.maps.principal_N2)
    assert np.array_equal(again.maps.taste.label_N, figures.maps.taste.label_N)
    assert again.anomalous == figures.anomalous and again.walk.tracks == figures.walk.tracks
    other = latent_figures("run", bundle, small_dataset, [], seed=2)
    assert not np.array_equal(other.maps.principal_N2, figures.maps.principal_N2)


def test_the_page_is_whole_and_loads_nothing(figures: LatentFigures) -> None:
    page = html(figures)
    assert_whole(page)
    assert "currentColor" in page and "#010203" not in page
    parts = sections(figures)
    assert page.count("<svg") == sum(len(part.plots) for part in parts) == 3 + 1 + 3 + 1 + 1
    for part in parts:
        assert f"<h2>{part.title}</h2>" in page
        for table in part.tables:
            assert f"<h3>{table.title}</h3>" in page
            assert all(len(row) == len(table.headings) for row in table.rows)


def test_collapse_is_told_in_numbers(figures: LatentFigures, small_dataset: Dataset, tmp_path: Path) -> None:
    first = [("5 of 5", "dimensions active"), ("0", "collapsed onto the prior"), ("0", "not used yet")]
    assert headline(figures)[:3] == first
    bundle = bundle_of(small_dataset, tmp_path)
    with torch.no_grad():  # the posterior is the prior, but for one dimension
        assert bundle.model.latent.log_variance is not None
        bundle.model.latent.mean.weight[1:] = 0
        bundle.model.latent.mean.bias[1:] = 0
        bundle.model.latent.log_variance.weight.zero_()
        bundle.model.latent.log_variance.bias.zero_()
    found = latent_figures("run", bundle, small_dataset, [], seed=1)
    assert [value for value, _ in headline(found)[:3]] == ["1 of 5", "4", "0"]
    with torch.no_grad():
        bundle.model.latent.mean.weight.zero_()
    found = latent_figures("run", bundle, small_dataset, [], seed=1)
    assert [value for value, _ in headline(found)[:3]] == ["0 of 5", "5", "0"]
    assert html(found) and summary(found)[0] == "0 of 5 dimensions active"


@pytest.mark.parametrize("slow", [True, False])
def test_a_path_does_not_follow_the_calendar(small_dataset: Dataset, tmp_path: Path, slow: bool) -> None:
    """The latent sees nothing but the request, or the slow features beside it, which are one snapshot a day."""
    bundle = bundle_of(small_dataset, tmp_path)
    model = bundle.model
    with torch.no_grad():
        model.latent.mean.weight[:, : model.config.fast_hidden] = 0
        if not slow:
            model.latent.mean.weight[:, : -len(REQUEST_FEATURES)] = 0
    found = latent_figures("run", bundle, small_dataset, [], seed=1)
    assert found.space.unit > 0.01
    for user in found.followed:
        for side in ("slow", "both"):
            assert (user.paths[side].net > 0.01) == slow
        assert user.paths["fast"].net == pytest.approx(0, abs=1e-5)


@pytest.mark.parametrize(
    ("changes", "sides"),
    [
        ({"latent": "deterministic"}, ["slow", "fast", "both"]),
        ({"slow": False}, ["both"]),
        ({"fast": "off"}, ["both"]),
        ({"slow_memory": True, "prior": "slow", "track_table": "finetuned"}, ["slow", "fast", "both"]),
        ({"likelihood": "track_softmax", "softmax_weight": 0.0, "fast": "shuffled"}, ["slow", "fast", "both"]),
    ],
)
def test_other_models_have_a_page_too(
    small_dataset: Dataset, tmp_path: Path, changes: dict[str, object], sides: list[str]
) -> None:
    found = latent_figures("run", bundle_of(small_dataset, tmp_path, **changes), small_dataset, [], seed=1)
    assert list(found.followed[0].paths) == sides
    page = html(found)
    for told in ("KL per dimension", "nats of KL", "collapsed onto the prior"):
        assert (told in page) == (changes.get("latent") != "deterministic")


def test_users_can_be_named(bundle: Bundle, small_dataset: Dataset) -> None:
    one = small_dataset.user_ids[4]
    found = latent_figures("run", bundle, small_dataset, [one, one], seed=1)
    assert [user.user_id for user in found.followed] == [one]
    assert found.walk.begin == one != found.walk.end
    with pytest.raises(UserError, match=f"--users {one}x: there is no such user in the dataset. Did you mean"):
        latent_figures("run", bundle, small_dataset, [f"{one}x"], seed=1)


def test_a_model_that_has_seen_all_listens_is_refused(bundle: Bundle, small_dataset: Dataset) -> None:
    late = dataclasses.replace(bundle, info={**bundle.info, "validation_until_us": 1 << 60})
    with pytest.raises(UserError, match="has not learned from"):
        latent_figures("run", late, small_dataset, [], seed=1)


def test_names_are_drawn_as_they_are(figures: LatentFigures) -> None:
    """Dollars in names are no formula, and angle brackets no element."""
    walk = dataclasses.replace(figures.walk, begin="<b>$x^{2}$", end="$")
    page = html(dataclasses.replace(figures, walk=walk))
    assert "to &lt;b&gt;$x^{2}$" in page and "<b>$" not in page


def test_the_command_writes_the_page_and_says_what_matters(
    figures: LatentFigures,
    small_datasets: Path,
    small_dataset: Dataset,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    shutil.copytree(small_datasets, tmp_path / "datasets")
    settings = [f"workdir={tmp_path}", *(f"model.{name}={value}" for name, value in SIZES.items())]
    trained = CliRunner().invoke(app, ["train", "train.max_epochs=1", *settings])
    assert trained.exit_code == 0, trained.output
    users = small_dataset.user_ids[:2]
    here = f"workdir={tmp_path}"
    answer = CliRunner().invoke(app, ["latent", "--users", ",".join(users), here])
    assert answer.exit_code == 0, answer.output
    assert "nats of KL" in answer.output and f"{users[1]}, a day's step" in answer.output
    assert f"Drift of {users[0]}" in (tmp_path / "report" / "latent.html").read_text()

    monkeypatch.setattr("pipelines.reports.latent.compute.latent_figures", lambda *_: figures)
    monkeypatch.setattr("pipelines.reports.latent.latent_page.html", lambda what: "the page")
    out = tmp_path / "elsewhere" / "page.html"
    run = next(path.name for path in (tmp_path / "runs").iterdir() if path.is_dir())
    assert CliRunner().invoke(app, ["latent", "--run", run, "--out", str(out), here]).exit_code == 0
    assert out.read_text() == "the page"
    none = CliRunner().invoke(app, ["latent", "--run", "none", here])
    assert isinstance(none.exception, UserError) and "no run none there" in str(none.exception)
    assert f"the newest first: {run}. See also: fsvae runs" in str(none.exception)


@pytest.mark.parametrize("setting", ["model.slow=off", "model=paper", "train.max_epochs=3", "dataset.min_count=2"])
def test_settings_that_the_run_has_decided_are_refused(tmp_path: Path, setting: str) -> None:
    """With others the command goes on, and finds no run in this folder."""
    allowed = [f"workdir={tmp_path}", "seed=2", f"datasets={tmp_path / 'elsewhere'}", "tracking.model=mine"]
    refused = CliRunner().invoke(app, ["latent", *allowed, setting])
    assert isinstance(refused.exception, UserError)
    assert f"{setting}: the run decides, which is trained already; choose one with --run." in str(refused.exception)
    with pytest.raises(UserError, match="no trained model there"):
        CliRunner().invoke(app, ["latent", *allowed], catch_exceptions=False)
