"""What the commands say and refuse, run in this process on a small workspace."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest
from typer.testing import CliRunner

from fsvae.bundle import load_bundle
from fsvae.data.dataset import Dataset
from fsvae.errors import UserError
from pipelines.cli.activate import activation
from pipelines.cli.main import app
from pipelines.config.compose import load_config
from pipelines.config.schema import Config
from pipelines.lake.lake import Lake
from pipelines.lifecycle.daily import daily
from pipelines.reports.words import count
from pipelines.runtime.watch import Summary, Watch
from pipelines.workspace import Workspace

SMALL = [
    "dataset.min_count=2",
    "dataset.track2vec.epochs=2",
    "engine.workers=1",
    "train.max_epochs=1",
    "train.batch_listens=2048",
    "model.history=16",
    "model.fast_hidden=16",
    "model.slow_hidden=16",
    "model.decoder_hidden=16",
]


def fsvae(*arguments: str, status: int = 0) -> str:
    done = CliRunner().invoke(app, list(arguments))
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    assert done.exit_code == status, done.output
    return done.output


@pytest.fixture(scope="module")
def settings(small_lake: Lake, small_datasets: Path, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """What to put behind each command to work in a folder of which the lake and the dataset are those of all tests."""
    workdir = tmp_path_factory.mktemp("cli")
    shutil.copytree(small_datasets, workdir / "datasets")
    return [*SMALL, f"workdir={workdir}", f"lake={small_lake.root.path}"]


@pytest.fixture(scope="module")
def first(settings: list[str]) -> str:
    """What the first training printed."""
    return fsvae("train", *settings)


@pytest.fixture(scope="module")
def second(first: str, settings: list[str]) -> str:
    """What the training of another model printed."""
    return fsvae("train", *settings, "seed=2")


def workspace(settings: list[str]) -> Workspace:
    return Workspace(load_config(settings))


def test_a_trained_model_that_is_not_served_says_how_it_would_be(first: str, second: str, settings: list[str]) -> None:
    assert (
        "now the gates and the ranker learn from the validation period" in first
        and "1 epoch; registered as version 1" in first
        and "challenger" not in first
    )
    here = f"workdir={workspace(settings).config.workdir}"
    assert (
        "version 2 is a challenger; version 1 serves until: "
        f"fsvae evaluate {here} && fsvae promote {here}" in " ".join(second.split())
    )


def test_what_was_done_before_is_called_so(second: str, settings: list[str]) -> None:
    assert "trained before" not in second
    assert "trained before" in fsvae("train", *settings, "seed=2")
    assert ", prepared before → " in fsvae("prepare", *settings)
    assert "prepared before" not in fsvae("prepare", *settings, "dataset.min_count=3")
    assert ", prepared before → " in fsvae("prepare", *settings)
    assert "as evaluated before" not in fsvae("evaluate", *settings)
    assert "as evaluated before" in fsvae("evaluate", *settings)
    assert "version 1, the first model, is the champion" in fsvae("promote", *settings, "--version", "1")


def test_promote_names_the_metric_as_the_table_does(second: str, settings: list[str]) -> None:
    assert "NDCG@10 (catalogue)" in fsvae("evaluate", *settings)
    said = fsvae("promote", *settings, "promote.metric=recall@1")
    assert re.search(
        r"promote   R@1: challenger version 2 0\.\d+, champion version 1 0\.\d+, [+-]0\.\d+ \[.*\]: .* → ", said
    )


def test_runs_are_listed_with_what_is_known_of_them(second: str, settings: list[str]) -> None:
    fsvae("evaluate", *settings)
    listed = fsvae("runs", *settings, "promote.metric=mrr")
    assert "MRR, test" in listed
    one, two = (line for line in listed.splitlines() if re.match(r"│ \d", line))
    run = workspace(settings).runs / json.loads((workspace(settings).runs / "latest.json").read_text())["run"]
    figures = json.loads((run / "evaluation" / "test" / "metrics.json").read_text())
    assert re.match(r"│ 1 +│ champion|│ 1 +│ +│", one)
    assert f"{figures['FS-VAE']['mrr']:.4f}" in two and run.name in two


def test_recommend_answers_as_of_a_time(first: str, settings: list[str], small_dataset: Dataset) -> None:
    user = small_dataset.user_ids[0]
    last = int(small_dataset.listens.played_at[small_dataset.listens.offsets[1] - 1])

    def at(seconds: float) -> str:
        return datetime.fromtimestamp(last / 1e6 + seconds, UTC).isoformat()

    then = datetime.fromtimestamp(last // 1_000_000, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    said = fsvae("recommend", user, *settings, "serve.version=1", "--at", at(0))
    assert f"next tracks for {user} at {then}, model version 1" in said and "last heard" not in said
    week = 7 * 86400
    assert "last heard" not in fsvae("recommend", user, *settings, "--at", at(week))
    assert f"last heard {user} 7 days before" in fsvae("recommend", user, *settings, "--at", at(week + 1))
    track = load_bundle(workspace(settings).tracker.bundle(1)).track_ids[0]
    assert "last heard" not in fsvae("recommend", user, *settings, "--at", at(week + 1), "--recent", track)
    with pytest.raises(UserError, match=f"before the last listen that the model knows of {user}"):
        fsvae("recommend", user, *settings, "--at", at(-1))


@pytest.mark.parametrize(
    ("at", "says"),
    [
        ("noon", "is not a time such as"),
        ("2026-02-01T20:00:00", "time zone"),
        ("1900-01-01T00:00:00Z", "1970 and 2100"),
    ],
)
def test_times_that_cannot_be_are_refused(first: str, settings: list[str], at: str, says: str) -> None:
    with pytest.raises(UserError, match=says):
        fsvae("recommend", "u1", *settings, "--at", at)


def test_k_is_bounded_as_at_the_endpoint() -> None:
    assert "500" in fsvae("recommend", "u1", "--k", "501", status=2)


@pytest.mark.parametrize("command", [["recommend", "u1"], ["serve"], ["evaluate"], ["promote"], ["runs"], ["latent"]])
def test_commands_that_only_read_make_nothing_where_nothing_is(tmp_path: Path, command: list[str]) -> None:
    with pytest.raises(UserError, match=r"no trained model there\. Train one: fsvae train workdir="):
        fsvae(*command, f"workdir={tmp_path / 'mistyped'}")
    assert list(tmp_path.iterdir()) == []


def test_a_model_in_another_folder_is_pointed_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "work" / "quickstart").mkdir(parents=True)
    (tmp_path / "work" / "quickstart" / "mlflow.db").touch()
    for here in ([], ["workdir=work/quikstart"]):
        with pytest.raises(UserError, match=r", or use the one of workdir=work/quickstart$"):
            fsvae("runs", *here)


def test_a_setting_in_the_place_of_the_user_or_of_an_option_is_told() -> None:
    for setting in ("workdir=work/quickstart", "model=paper", "source.columns.user_id=who"):
        with pytest.raises(UserError, match=f"^Say for which user, .*: fsvae recommend USER {setting}$"):
            fsvae("recommend", setting)
    for words, meant in (
        (["--max-epochs", "3"], "--max-epochs: settings are written key=value, here train.max_epochs=3."),
        (["--model=paper"], "--model: settings are written key=value, here model=paper."),
        (["seed=2", "--patience"], "--patience: settings are written key=value, here train.patience=VALUE."),
    ):
        with pytest.raises(UserError) as error:
            fsvae("train", *words)
        assert str(error.value) == meant
    assert "No such option: --sorce" in fsvae("ingest", "--sorce", "table", status=2)


def test_commands_are_listed_in_the_order_of_the_steps() -> None:
    listed = re.findall(r"^│ ([a-z]+) ", fsvae("--help"), re.MULTILINE)
    steps = ["quickstart", "simulate", "ingest", "prepare", "describe", "train", "evaluate", "promote", "serve"]
    assert listed == [*steps, "recommend", "rollback", "runs", "latent", "daily", "ablate", "report", "tune", "config"]


def test_a_section_of_the_configuration_is_printed_alone() -> None:
    printed = fsvae("config", "evaluate", "evaluate.period=validation")
    assert printed.startswith(
        "# Settings of the evaluation.\nevaluate:\n"
        "  # Period whose listens are the targets: validation or test.\n  period: validation\n"
    )
    assert printed.endswith("  live: false\n")


def test_ctrl_c_is_one_line_and_status_130(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object) -> None:
        signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr("pipelines.simulation.simulate.simulate", interrupted)
    assert fsvae("simulate", status=130) == "interrupted; run the same command again\n"

    def interrupted_in_training(*_: object) -> None:
        raise KeyboardInterrupt("interrupted after epoch 3 [/]")

    monkeypatch.setattr("pipelines.simulation.simulate.simulate", interrupted_in_training)
    assert fsvae("simulate", status=130) == "interrupted after epoch 3 [/]\n"


def test_the_version_is_told() -> None:
    assert re.fullmatch(r"fsvae \d+\.\d+\.\d+\n", fsvae("--version"))


class Heard(Watch):
    """What a chain of verbs tells."""

    def __init__(self) -> None:
        self.warnings: list[str] = []
        self.verbs: list[str] = []

    def warn(self, text: str) -> None:
        self.warnings.append(text)

    def show(self, summary: Summary) -> None:
        self.verbs.append(summary.verb)


def test_a_day_tells_of_each_step_and_of_listens_that_are_missing(
    small_log: Path, small_lake: Lake, tmp_path: Path
) -> None:
    here = workspace([*SMALL, f"workdir={tmp_path}", f"source.path={small_log}"])
    last = datetime.fromisoformat(max(small_lake.manifest.days)).date()
    heard = Heard()
    daily(here, last, heard)
    assert heard.verbs == ["ingest", "prepare", "train", "evaluate", "promote"] and heard.warnings == []
    daily(here, last, heard)  # again: there is a champion by now
    assert heard.verbs[5:] == ["ingest", "prepare", "measure", "train", "evaluate", "promote"]
    daily(here, last.replace(year=last.year + 1), heard)
    assert heard.warnings == [f"no listens on {last.year + 1}-{last:%m-%d} in the lake: did the logs arrive?"]


TITLES = ("Halo [feat. B]", "[/DC]", "[bold]loud[/]", "a \\[b]")


def test_what_comes_from_data_is_never_markup(tmp_path: Path) -> None:
    """Users, tracks and titles with brackets are printed as they are, and crash nothing."""
    times = [f"2026-01-{1 + n // 40:02d}T{n % 24:02d}:{n % 40:02d}:00" for n in range(400)]
    rows = [f"[u/{n % 3}],{TITLES[n % 4]} {n % 8},{time},{TITLES[n % 4]}" for n, time in enumerate(times)]
    log = tmp_path / "[log].csv"
    log.write_text("user_id,track_id,played_at,title\n" + "\n".join([*rows, "u,,2026-01-01,[/]"]) + "\n")
    here = [*SMALL, f"workdir={tmp_path}"]
    assert "400 taken + 1 rejected" in fsvae("ingest", "--source", "table", str(log), *here)
    fsvae("prepare", *here)
    assert "[log].csv" in fsvae("describe", *here)
    fsvae("train", *here)
    fsvae("evaluate", *here)
    said = fsvae("recommend", "[u/1]", *here)
    assert "next tracks for [u/1]" in said
    assert all(title in said for title in TITLES)


def test_the_activation_is_told_where_it_is_needed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("VIRTUAL_ENV", raising=False)
    monkeypatch.setattr(sys, "prefix", str(tmp_path / ".venv"))
    assert activation() == ". .venv/bin/activate"
    monkeypatch.setenv("VIRTUAL_ENV", str(tmp_path / "other"))
    assert activation() == ". .venv/bin/activate"
    monkeypatch.chdir(os.sep)
    monkeypatch.setenv("VIRTUAL_ENV", str(tmp_path / ".venv"))
    assert activation() is None
    monkeypatch.delenv("VIRTUAL_ENV")
    monkeypatch.setattr(sys, "prefix", sys.base_prefix)
    assert activation() is None


def test_other_folders_are_named_in_what_to_type_next() -> None:
    assert workspace([]).override == ""
    assert Workspace(Config(workdir="my work")).override == " 'workdir=my work'"


def test_numbers_agree_with_what_they_count() -> None:
    assert [count(n, "row") for n in (0, 1, 1200)] == ["0 rows", "1 row", "1,200 rows"]


def test_ingest_says_so_when_listens_lie_in_the_future(tmp_path: Path) -> None:
    log = tmp_path / "log.csv"
    log.write_text("user_id,track_id,played_at\nu,a,2026-01-01\nu,b,2098-05-01\nu,c,2099-01-31\n")
    said = fsvae("ingest", "--source", "table", str(log), f"workdir={tmp_path}")
    assert "2 days from 2098-05-01 to 2099-01-31 lie in the future" in said


def test_ingest_says_so_when_most_listens_lie_in_1970_but_for_a_log_with_a_clock_of_its_own(tmp_path: Path) -> None:
    table, jodie = tmp_path / "table.csv", tmp_path / "jodie.csv"
    seconds = (1_767_225_600, 1_767_229_200, 1_767_232_800)
    table.write_text("user_id,track_id,played_at\n" + "".join(f"u,a,{second}\n" for second in seconds))
    jodie.write_text("user_id,item_id,timestamp,state_label,x\nu,a,0,0,0\nu,b,60,0,0\n")
    read_as = {unit: f"workdir={tmp_path / unit}" for unit in ("ms", "s", "jodie")}
    said = fsvae("ingest", "--source", "table", str(table), "source.time_unit=ms", read_as["ms"])
    assert "3 of 3 rows taken lie in 1970: is source.time_unit right? (Seconds read as ms look so.)" in said
    assert "1970" not in fsvae("ingest", "--source", "table", str(table), "source.time_unit=s", read_as["s"])
    assert "1970" not in fsvae("ingest", "--source", "jodie", str(jodie), read_as["jodie"])
