"""Latent: the figures of a model on a small log, odd models and users, and a page that needs nothing else."""

from __future__ import annotations

import dataclasses
import shutil
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from typer.testing import CliRunner
from whole_page import assert_whole

from fsvae.bundle import Bundle, load_bundle, save_bundle
from fsvae.data.dataset import PreparedDataset
from fsvae.errors import UserError
from fsvae.evaluation.latent_use import LatentUse
from fsvae.features.fast import REQUEST_FEATURES
from fsvae.features.taste import DaySums
from fsvae.latent.states import encode
from fsvae.models.fsvae import FSVAE
from fsvae.models.model_config import ModelConfig
from pipelines.cli.main import app
from pipelines.reports.latent import compute as gathering
from pipelines.reports.latent.compute import latent_figures
from pipelines.reports.latent.figures import LatentFigures
from pipelines.reports.latent.followed_users import follow, users_of
from pipelines.reports.latent.latent_page import html, sections, summary
from pipelines.reports.latent.latent_tables import neighbour_tables
from pipelines.reports.latent.sentences import collapse

SIZES = {
    "history": 8,
    "slow_hidden": 8,
    "slow_dim": 6,
    "fast_hidden": 8,
    "latent_dim": 5,
    "decoder_hidden": 12,
    "softmax_weight": 1.0,
}


look = partial(latent_figures, moments=120)


@pytest.fixture(autouse=True)
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Look at fewer states than usual, on the command line too."""
    monkeypatch.setattr(gathering, "latent_figures", look)


def bundle_of(dataset: PreparedDataset, folder: Path, **changes: object) -> Bundle:
    """The bundle of an untrained model whose latent depends on everything it sees."""
    torch.manual_seed(0)
    model = FSVAE.for_dataset(dataset, ModelConfig(**{**SIZES, **changes}))  # type: ignore[arg-type]
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(2)
    save_bundle(folder, model, dataset, {})
    return load_bundle(folder)


@pytest.fixture(scope="module")
def bundle(small_dataset: PreparedDataset, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return bundle_of(small_dataset, tmp_path_factory.mktemp("bundle"))


@pytest.fixture(scope="module")
def figures(bundle: Bundle, small_dataset: PreparedDataset) -> LatentFigures:
    return look("run", bundle, small_dataset, [], seed=1)


def test_all_that_is_shown_is_of_listens_that_the_model_has_not_learned_from(
    figures: LatentFigures, small_dataset: PreparedDataset
) -> None:
    begin = small_dataset.period("test")[0]
    assert figures.since_us == begin
    assert (small_dataset.listens.played_at[figures.errors.positions] >= begin).all()
    assert len(figures.maps.user_N) == 120
    assert all(one.played_at >= begin for one in figures.anomalous)


def test_users_are_followed_from_both_sides_and_from_each(figures: LatentFigures) -> None:
    assert len(figures.chosen) == 3
    for chosen in figures.chosen:
        assert list(chosen.paths) == ["slow", "fast", "both"] and list(chosen.neighbours) == ["both", "slow"]
        days = chosen.paths["both"].day_T
        assert 20 <= len(days) <= 28
        for near in chosen.neighbours.values():
            *named, mean = near
            assert len(named) == 5 and mean.user_id == "mean of all others"
            assert chosen.user_id not in {one.user_id for one in named}
            assert [one.distance for one in named] == sorted(one.distance for one in named)
            assert named[-1].distance < mean.distance


def test_the_most_surprising_listens_come_first(figures: LatentFigures) -> None:
    errors = [one.nll for one in figures.anomalous]
    assert errors == sorted(errors, reverse=True) and errors[0] == figures.errors.nll.max()


def test_the_walk_begins_and_ends_at_the_chosen_users(figures: LatentFigures) -> None:
    walk = figures.walk
    assert (walk.begin, walk.end) == (figures.chosen[0].user_id, figures.chosen[1].user_id)
    assert len(walk.tracks) == len(walk.to_next) + 1 == 11
    assert walk.to_begin[0] == pytest.approx(1) and walk.to_end[-1] == pytest.approx(1)


def test_the_same_seed_gives_the_same_figures(
    figures: LatentFigures, bundle: Bundle, small_dataset: PreparedDataset
) -> None:
    again = look("run", bundle, small_dataset, [], seed=1)
    assert figures.maps.tsne_N2 is not None and again.maps.tsne_N2 is not None
    assert np.array_equal(again.maps.tsne_N2, figures.maps.tsne_N2)
    assert np.array_equal(again.maps.taste.label_N, figures.maps.taste.label_N)
    assert np.array_equal(again.walk.smoothness.ends, figures.walk.smoothness.ends)
    assert again.anomalous == figures.anomalous and again.traversal.tracks == figures.traversal.tracks
    other = look("run", bundle, small_dataset, [], seed=2)
    assert not np.array_equal(other.maps.principal_N2, figures.maps.principal_N2)


def test_the_page_is_whole_and_loads_nothing(figures: LatentFigures) -> None:
    page = html(figures)
    assert_whole(page)
    assert "currentColor" in page and "#010203" not in page
    parts = sections(figures)
    assert page.count("<svg") == sum(len(part.plots) for part in parts) == 6 + 2 + 3 + 2 + 2
    for part in parts:
        assert f"<h2>{part.title}</h2>" in page
        for table in part.tables:
            assert f"<h3>{table.title}</h3>" in page
            assert all(len(row) == len(table.headings) for row in table.rows)


def test_collapse_is_named(figures: LatentFigures, small_dataset: PreparedDataset, tmp_path: Path) -> None:
    assert collapse(figures).startswith("No posterior collapse: all 5 dimensions are active")
    bundle = bundle_of(small_dataset, tmp_path)
    with torch.no_grad():  # the posterior is the prior, but for one dimension
        assert bundle.model.latent.log_variance is not None
        bundle.model.latent.mean.weight[1:] = 0
        bundle.model.latent.mean.bias[1:] = 0
        bundle.model.latent.log_variance.weight.zero_()
        bundle.model.latent.log_variance.bias.zero_()
    found = look("run", bundle, small_dataset, [], seed=1)
    assert collapse(found).startswith("Posterior collapse in part: 1 of 5 dimensions are active")
    assert "Collapsed onto the prior: 4 (" in collapse(found) and "Not used yet" not in collapse(found)
    assert found.traversal.dimensions.tolist() == [0]
    with torch.no_grad():
        bundle.model.latent.mean.weight.zero_()
    found = look("run", bundle, small_dataset, [], seed=1)
    assert collapse(found).startswith("Posterior collapse: all 5 dimensions are the same")
    assert "Traversal" not in html(found) and summary(found)


def test_a_dimension_that_pays_for_a_small_variance_has_not_collapsed(figures: LatentFigures) -> None:
    """2.0 nats is what a log variance of -5 costs, whatever is said with it."""

    def said(kl: list[float], variance: list[float]) -> str:
        use = LatentUse(np.array(kl), np.array(variance), np.ones(len(kl)))
        return collapse(dataclasses.replace(figures, use=use, kl_of_mean_Z=np.array([0.5, *np.zeros(len(kl) - 1)])))

    paid = (
        " Of 4.5 nats of KL, 0.5 are paid for the means of the states and 4 for their small variance, which by itself "
        "tells nothing of the users."
    )
    assert said([2.5, 2.0], [1.0, 0.0]) == (
        "No posterior collapse: 1 of 2 dimensions are active. "
        f"Not used yet: 1 (the same for every user, so that the KL there tells nothing).{paid}"
    )
    assert said([2.5, 2.0, 0.0], [1.0, 0.0, 0.0]) == (
        "Posterior collapse in part: 1 of 3 dimensions are active. "
        "Collapsed onto the prior: 1 (the same for every user, and nearly no KL). "
        f"Not used yet: 1 (the same for every user, so that the KL there tells nothing).{paid}"
    )
    assert said([2.0, 2.0], [0.0, 0.0]).startswith("Not used yet: 0 of 2 dimensions are active")


@pytest.mark.parametrize("slow", [True, False])
def test_a_path_and_the_slow_neighbours_do_not_follow_the_calendar(
    small_dataset: PreparedDataset, tmp_path: Path, slow: bool
) -> None:
    """The latent sees nothing but the request, or the slow features beside it, which are one snapshot a day."""
    model = bundle_of(small_dataset, tmp_path).model
    chosen = users_of(small_dataset, [])
    with torch.no_grad():
        model.latent.mean.weight[:, : model.config.fast_hidden] = 0
        if not slow:
            model.latent.mean.weight[:, : -len(REQUEST_FEATURES)] = 0
    latest = encode(model, small_dataset, small_dataset.listens.offsets[1:] - 1)
    assert (latest.mean_NZ.std(axis=0) > 0.01).all()
    users = np.arange(small_dataset.listens.n_users)
    for one in follow(model, small_dataset, chosen, users, latest, lambda done, of: None):
        for side in ("slow", "both"):
            assert (one.paths[side].net > 0.01) == slow
        assert one.paths["fast"].net == pytest.approx(0, abs=1e-5)
        assert (one.neighbours["slow"][-1].distance > 0.01) == slow


@pytest.mark.parametrize(
    ("changes", "sides", "says"),
    [
        ({"latent": "deterministic"}, ["slow", "fast", "both"], "there is no KL"),
        ({"slow": False}, ["both"], "active"),
        ({"fast": "off"}, ["both"], "active"),
        ({"repeat_head": True, "prior": "slow", "track_table": "finetuned"}, ["slow", "fast", "both"], "active"),
        (
            {"likelihood": "track_softmax", "softmax_weight": 0.0, "fast": "shuffled"},
            ["slow", "fast", "both"],
            "active",
        ),
        ({"fast_dropout": 0.0}, ["slow", "fast", "both"], "never left out the recent listens"),
    ],
)
def test_other_models_have_a_page_too(
    small_dataset: PreparedDataset, tmp_path: Path, changes: dict[str, object], sides: list[str], says: str
) -> None:
    found = look("run", bundle_of(small_dataset, tmp_path, **changes), small_dataset, [], seed=1)
    assert list(found.chosen[0].paths) == sides
    page = html(found)
    assert says in page
    assert ("KL per dimension" in page) == (changes.get("latent") != "deterministic")


def test_users_can_be_named(bundle: Bundle, small_dataset: PreparedDataset) -> None:
    one = small_dataset.user_ids[4]
    found = look("run", bundle, small_dataset, [one, one], seed=1)
    assert [chosen.user_id for chosen in found.chosen] == [one]
    assert found.walk.begin == one != found.walk.end
    with pytest.raises(UserError, match=f"--users {one}x: there is no such user in the dataset. Did you mean"):
        look("run", bundle, small_dataset, [f"{one}x"], seed=1)


def test_a_model_that_has_seen_all_listens_is_refused(bundle: Bundle, small_dataset: PreparedDataset) -> None:
    late = dataclasses.replace(bundle, info={**bundle.info, "validation_until_us": 1 << 60})
    with pytest.raises(UserError, match="has not learned from"):
        look("run", late, small_dataset, [], seed=1)


def test_names_are_drawn_as_they_are(figures: LatentFigures) -> None:
    """Dollars in names are no formula, and angle brackets no element."""
    walk = dataclasses.replace(figures.walk, begin="<b>$x^{2}$", end="$")
    page = html(dataclasses.replace(figures, walk=walk))
    assert "to &lt;b&gt;$x^{2}$" in page and "<b>$" not in page


def test_the_command_writes_the_page_and_says_what_matters(
    figures: LatentFigures,
    small_datasets: Path,
    small_dataset: PreparedDataset,
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
    assert "nats of KL" in answer.output and f"{users[1]} moves from day to day" in answer.output
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


@pytest.mark.parametrize("named", [0, 1])
def test_users_of_whom_the_slow_side_knows_nothing_are_nobodys_slow_neighbours(
    bundle: Bundle, small_dataset: PreparedDataset, named: int
) -> None:
    """Seven users whose snapshots are empty, of whom one may be asked for, beside one who is known."""
    blank, snapshots = np.arange(3, 10), small_dataset.snapshots
    habits = np.where(np.isin(snapshots.user, blank)[:, None], 0, snapshots.habits).astype(np.float32)
    data = dataclasses.replace(small_dataset, snapshots=dataclasses.replace(snapshots, habits=habits))
    last = small_dataset.slow_row[small_dataset.listens.offsets[1:] - 1]
    known = habits[last, 0] > 0
    assert not known[blank].any() and known.sum() > 40
    ids = np.array(data.user_ids)
    who = [int(np.flatnonzero(known)[0]), 3][: 1 + named]
    found = look("run", bundle, data, ids[who].tolist(), seed=1)
    assert (found.asked, found.unknown) == (len(known), (~known).sum())
    near = found.chosen[0].neighbours["slow"]
    assert len(near) == 6 and {one.user_id for one in near[:-1]} <= set(ids[known])
    assert len({one.distance for one in near}) == 6
    _, table = neighbour_tables(found)
    assert table.note.endswith(
        f"; left out: {(~known).sum()} of {len(known)} users, of whom the slow side knows nothing"
    )
    assert [row[1] for row in table.rows[6:]] == ["left out"] * named
    if named:
        assert found.chosen[1].neighbours["slow"] == [] and len(found.chosen[1].neighbours["both"]) == 6
    assert "left out" not in neighbour_tables(found)[0].note


def test_a_taste_that_is_not_known_is_like_no_other(bundle: Bundle, small_dataset: PreparedDataset) -> None:
    """The first user's listens have no vector: the others' tastes are compared without that of a stranger."""
    listens, snapshots = small_dataset.listens, small_dataset.snapshots
    track = np.where(listens.user == 0, len(small_dataset.vectors), listens.track).astype(np.int32)
    sums = DaySums.of(listens.user, track, listens.played_at, small_dataset.vectors)
    data = dataclasses.replace(small_dataset, snapshots=dataclasses.replace(snapshots, sums=sums))
    users = np.arange(listens.n_users)
    latest = encode(bundle.model, data, listens.offsets[1:] - 1)
    without, other = follow(bundle.model, data, np.array([0, 1]), users, latest, lambda done, of: None)
    assert all(np.isnan(one.taste) for near in without.neighbours.values() for one in near)
    means = [near[-1].taste for near in other.neighbours.values()]
    assert np.isfinite(means).all() and len(means) == 2
