"""Describe: a lake and a dataset counted by hand, odd lakes, and a page that needs nothing else."""

from __future__ import annotations

import re
from datetime import date
from pathlib import Path

import numpy as np
import pyarrow.fs as pafs
import pytest
from lakes import disk
from typer.testing import CliRunner
from whole_page import assert_whole

import pipelines.reports.describe.describe_lake as describing
from fsvae.errors import UserError
from fsvae.features.track2vec_config import Track2VecConfig
from fsvae.logs.source_config import SourceConfig
from fsvae.prepare.dataset_config import DatasetConfig
from fsvae.prepare.dataset_files import find_dataset
from fsvae.storage import Folder
from pipelines.cli.main import app
from pipelines.ingest.ingest import ingest
from pipelines.lake.lake import Lake
from pipelines.prepare.prepare import prepare
from pipelines.reports.describe.describe_dataset import describe_dataset
from pipelines.reports.describe.describe_lake import describe_lake
from pipelines.reports.describe.description import Description
from pipelines.reports.describe.log_page import html
from pipelines.reports.describe.log_tables import LOGS_SHOWN, tables, top_share
from pipelines.reports.words import decimal, percent

HEADER = "user_id,track_id,played_at,kind,title\n"
LOG = """ann,a,2026-01-01T10:00:00Z,listen,Aye
ann,a,2026-01-01T10:10:00Z,listen,
ann,b,2026-01-01T11:00:00Z,listen,
bob,b,2026-01-01T12:00:00Z,like,
ann,a,2026-01-02T10:00:00Z,listen,
ann,a,2026-01-02T10:00:00Z,listen,
bob,,2026-01-02T10:00:00Z,listen,
bob,,2026-01-02T11:00:00Z,listen,
bob,b,never,listen,
bob,b,2026-01-05T10:00:00Z,listen,
bob,c,2026-01-05T10:20:00Z,listen,
cat,c,2026-01-08T23:00:00Z,listen,
cat,<b>&"$x^{2}$,2026-01-08T23:05:00Z,skip,
"""


def lake_of(root: Path, *logs: str) -> Lake:
    lake = Lake(root / "lake")
    for number, log in enumerate(logs):
        (root / f"log-{number}.csv").write_text(HEADER + log)
        ingest(lake, SourceConfig(path=str(root / f"log-{number}.csv"), max_reject_share=1.0))
    return lake


def figures(what: Description, title: str) -> dict[str, str]:
    """The table of a title, but for what stands behind a colon: its first column → its second."""
    (table,) = [table for table in tables(what) if table.title.split(":")[0] == title]
    return {row[0]: row[1] for row in table.rows}


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Lake:
    return lake_of(tmp_path_factory.mktemp("described"), LOG)


@pytest.fixture(scope="module")
def described(lake: Lake) -> Description:
    return describe_lake(lake)


def test_the_accounting(described: Description) -> None:
    (log,) = described.logs
    assert (log.name, log.rows_in, log.taken, log.rejected, log.duplicates) == ("log-0.csv", 13, 9, 3, 1)
    assert list(described.reasons.items()) == [
        ("track_id: missing", 2),
        ("played_at: not a time; source.time_unit says how times are written", 1),
    ]
    (rejects,) = [table for table in tables(described) if table.title == "Rejects by reason"]
    assert rejects.rows[0] == ("track_id: missing", "2", "15.4 %")
    assert rejects.bars == [1.0, 0.5]


def test_days_kinds_and_gaps(described: Description) -> None:
    assert described.days.select("day", "listen", "skip", "like", "users").rows() == [
        (date(2026, 1, 1), 3, 0, 1, 1),
        (date(2026, 1, 2), 1, 0, 0, 1),
        (date(2026, 1, 5), 2, 0, 0, 1),
        (date(2026, 1, 8), 1, 1, 0, 1),
    ]
    assert (described.events, described.listens) == (9, 7)
    assert described.gaps == [(date(2026, 1, 3), date(2026, 1, 4)), (date(2026, 1, 6), date(2026, 1, 7))]
    days = figures(described, "Days")
    assert days["days with events"] == "4 of 8"
    assert days["gaps"] == "2, 4 days in all"
    assert days["longest gap"] == "2026-01-03 to 2026-01-04, 2 days"


def test_users_tracks_repeats_and_sessions(described: Description) -> None:
    assert described.listens_U.tolist() == [4, 2, 1]
    assert described.listens_T.tolist() == [3, 2, 2]
    assert (described.known_tracks, described.side["title"], described.side["artist_id"]) == (4, 1, 0)
    assert figures(described, "Tracks")["with title"] == "25.0 %"
    assert figures(described, "Tracks")["with artist"] == "none"
    sample = described.sample
    assert sample is not None and sample.share == 1.0
    assert sample.statistics.repeat_share == 2 / 7  # ann's second and third a
    assert sorted(sample.session_lengths.tolist()) == [1, 1, 1, 2, 2]
    assert sorted(sample.positions[sample.repeats].tolist()) == [1, 3]


def test_drift_of_the_latest_days_against_those_before(described: Description) -> None:
    """Four days: two against two. ann heard a, b before; bob and cat are new, and so is c."""
    found = described.drift
    assert found is not None
    assert (found.previous.first, found.previous.last, found.previous.events) == (date(2026, 1, 1), date(2026, 1, 2), 5)
    assert (found.latest.first, found.latest.last, found.latest.listens) == (date(2026, 1, 5), date(2026, 1, 8), 3)
    assert (found.new_tracks, found.new_users) == (2 / 3, 1.0)
    assert found.events_change == pytest.approx(4 / 5 - 1)
    assert found.latest.hours[[10, 23]].tolist() == [2, 1]
    assert [described.labels[one.track] for one in found.movers] == ["c", "b", "Aye"]


def test_no_more_than_seven_days_are_compared(tmp_path: Path) -> None:
    log = "".join(f"u,a,2026-01-{day:02d}T10:00:00Z,listen,\n" for day in range(1, 19))
    found = describe_lake(lake_of(tmp_path, log)).drift
    assert found is not None
    assert (found.previous.first, found.latest.first, found.latest.days) == (date(2026, 1, 5), date(2026, 1, 12), 7)
    assert found.new_tracks == found.new_users == 0.0


def test_what_is_folded_in_between_is_the_same(
    lake: Lake, described: Description, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipelines.reports.describe.event_counts._FOLD_ROWS", 0)
    folded = describe_lake(lake)
    np.testing.assert_array_equal(folded.listens_T, described.listens_T)
    assert folded.drift is not None and described.drift is not None
    assert folded.drift.movers == described.drift.movers


def test_of_many_users_a_sample_is_looked_at_and_the_page_says_so(
    small_lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No more listens are held than the sample may have, or than one bucket has."""
    whole = describe_lake(small_lake)
    monkeypatch.setattr(describing, "SAMPLE_LISTENS", 2_000)
    held: list[int] = []
    make = describing.sample_of
    monkeypatch.setattr(describing, "sample_of", lambda rows, of: (held.append(len(rows)), make(rows, of))[1])
    some = describe_lake(small_lake)
    assert 0 < held[0] <= 2_000 < whole.listens == some.listens
    assert some.listens_U.tolist() == whole.listens_U.tolist()
    assert some.sample is not None and 0 < some.sample.share < 1
    (sessions,) = [table for table in tables(some) if table.title == "Sessions and repeats"]
    assert sessions.note.startswith(f"of {some.sample.statistics.users} users with ")


def test_a_lake_elsewhere_is_described_alike(lake: Lake, described: Description) -> None:
    there = Folder(pafs.SubTreeFileSystem(str(disk(lake).parent), pafs.LocalFileSystem()), "lake", "far")
    assert there.local is None
    far = describe_lake(Lake(there))
    assert far.where == "far://lake"
    assert [tables(far)[1:]] == [tables(described)[1:]] and far.days.equals(described.days)


def test_the_dataset_of_the_same_listens(small_lake: Lake, small_datasets: Path) -> None:
    """The lake's listens are all in the dataset, so what is of all of them is the same."""
    lake, dataset = describe_lake(small_lake), describe_dataset(*find_dataset(small_datasets))
    assert dataset.listens_U.tolist() == lake.listens_U.tolist()
    assert dataset.listens_T.tolist() == lake.listens_T.tolist()
    assert dataset.days.select("day", "listen", "users").equals(lake.days.select("day", "listen", "users"))
    here, there = (figures(what, "Sessions and repeats") for what in (lake, dataset))
    # Of followers equally frequent the first by number is taken, and a dataset numbers its tracks otherwise.
    differ = {name for name in here if here[name] != there[name]}
    assert differ <= {"next track guessed by the most frequent follower"}
    assert [period.name for period in dataset.periods] == ["train", "validation", "test"]
    assert sum(period.span.listens for period in dataset.periods) == lake.listens
    assert sorted(dataset.logs, key=str) == sorted(lake.logs, key=str)


def test_a_dataset_in_many_parts_is_described_as_in_one(
    small_lake: Lake, small_datasets: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = describe_dataset(*find_dataset(small_datasets))
    monkeypatch.setattr("fsvae.prepare.make_dataset._EVENTS_PER_SHARD", 2_000)
    config = DatasetConfig(min_count=2, track2vec=Track2VecConfig(epochs=2))  # as that of the small dataset
    cut = find_dataset(prepare(small_lake, config, seed=1, datasets=tmp_path).folder)
    assert cut[1]["parts"] > 4
    many = describe_dataset(*cut)
    assert tables(many) == tables(one)
    monkeypatch.setattr("pipelines.reports.describe.describe_dataset.SAMPLE_LISTENS", 4_000)
    some = describe_dataset(*cut)
    assert some.sample is not None and 0 < some.sample.share < 1 and len(some.sample.positions) <= 4_000
    assert some.drift is not None and many.drift is not None and some.drift.movers == many.drift.movers


def test_the_drift_of_a_dataset_is_that_of_test_against_training(lake: Lake, tmp_path: Path) -> None:
    cuts = DatasetConfig(
        min_count=2,
        train_until="2026-01-03",
        validation_until="2026-01-04",  # nobody listens on the validation day
        track2vec=Track2VecConfig(epochs=1),
    )
    what = describe_dataset(*find_dataset(prepare(lake, cuts, seed=1, datasets=tmp_path).folder))
    assert [(period.name, period.span.listens, period.in_catalogue) for period in what.periods] == [
        ("train", 4, 3),
        ("test", 3, 0),
    ]
    assert what.drift is not None
    assert (what.drift.new_tracks, what.drift.new_users) == (2 / 3, 1.0)
    assert figures(what, "Drift")["listens to tracks not heard in the train period"] == ""
    assert what.catalogue == 1


LIKES = "u,a,2026-01-01T10:00:00Z,like,\nu,b,2026-01-02T10:00:00Z,save,\n"
ONE = "u,a,2026-01-01T10:00:00Z,listen,\n"
BAD = "u,,2026-01-01T10:00:00Z,listen,\n"


@pytest.mark.parametrize(
    ("log", "listens", "titles"),
    [
        (LIKES, "0", ["Events per day"]),
        (ONE, "1", ["Events per day", "Users per day", "Popularity curve", "Listens per user", "Sessions", "Repeats"]),
        (BAD, "0", []),
    ],
)
def test_odd_lakes_have_a_page(tmp_path: Path, log: str, listens: str, titles: list[str]) -> None:
    what = describe_lake(lake_of(tmp_path, log))
    page = html([what])
    assert re.findall(r'figure aria-label="([^"]+)"', page) == titles
    assert f"<b>{listens}</b>" in page and "not there" in page


def test_an_empty_lake_says_how_to_fill_it(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="fsvae ingest"):
        describe_lake(Lake(tmp_path / "lake"))


def test_the_page_is_whole_and_loads_nothing(described: Description, lake: Lake, tmp_path: Path) -> None:
    dataset = describe_dataset(*find_dataset(prepare(lake, DatasetConfig(min_count=1), 1, tmp_path).folder))
    page = html([described, dataset])
    assert_whole(page)
    for what in (described, dataset):
        for table in tables(what):
            assert f"<h3>{table.title}</h3>" in page
    assert page.count("<svg") == 2 * 8
    assert "$x^{2}$" not in page.replace("&lt;b&gt;&amp;&#34;$x^{2}$", "")
    assert "currentColor" in page and "#010203" not in page


def test_only_some_of_many_logs_are_listed_and_all_are_summed(tmp_path: Path) -> None:
    logs = [f"u{number},a,2026-01-01T10:00:00Z,listen,\n" for number in range(LOGS_SHOWN + 1)]
    (accounts,) = [table for table in tables(describe_lake(lake_of(tmp_path, *logs))) if table.title == "Logs"]
    assert accounts.rows[0] == ("all", "11", "11", "0", "0")
    assert len(accounts.rows) == 1 + LOGS_SHOWN and "10 of 11 logs" in accounts.note


def test_numbers_as_text() -> None:
    assert [percent(share) for share in (None, 0.0, 0.00001, 0.00123, 0.1234, 0.9998, 0.99999, 1.0)] == [
        "-",
        "0.0 %",
        "< 0.01 %",
        "0.12 %",
        "12.3 %",
        "99.98 %",
        "> 99.99 %",
        "100.0 %",
    ]
    assert [decimal(value) for value in (None, float("inf"), 3.0, 1234.56)] == ["-", "-", "3", "1,234.6"]
    assert top_share(np.array([6, 2, 1, 1]), 10) == 0.6


def test_the_command_prints_the_page_and_writes_it(lake: Lake, tmp_path: Path) -> None:
    settings = [f"workdir={tmp_path}", f"lake={disk(lake)}"]
    answer = CliRunner().invoke(app, ["describe", *settings])
    assert answer.exit_code == 0, answer.output
    assert "log-0.csv" in answer.output and "Rejects by reason" in answer.output
    assert (tmp_path / "report" / "lake.html").read_text().count("<main>") == 1
    out = tmp_path / "elsewhere" / "page.html"
    assert CliRunner().invoke(app, ["describe", "--what", "lake", "--out", str(out), *settings]).exit_code == 0
    assert out.exists()
    none = CliRunner().invoke(app, ["describe", "--what", "dataset", *settings])
    assert isinstance(none.exception, UserError) and "no prepared dataset" in str(none.exception)
    assert CliRunner().invoke(app, ["describe", "--what", "lakes", *settings]).exit_code == 2
