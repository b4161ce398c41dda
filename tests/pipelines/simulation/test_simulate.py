"""The simulated log: its form, and each behaviour that a recommender is meant to find in it."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow.parquet as pq
import pytest
from omegaconf import OmegaConf

from fsvae.errors import UserError
from fsvae.schema import KINDS, RAW_EVENTS
from pipelines.simulation import simulate as simulation
from pipelines.simulation import writing
from pipelines.simulation.draws import Ints
from pipelines.simulation.library_config import LibraryConfig
from pipelines.simulation.simulate import SimulateConfig, SimulationSummary, simulate
from pipelines.simulation.users import draw_users
from pipelines.simulation.world import World, build_world

CONFIG = SimulateConfig(users=150, tracks=800, artists=90, genres=8, days=28, seed=11, sessions_per_day=1.5)
TINY = SimulateConfig(users=12, tracks=60, artists=12, genres=3, days=4, seed=3, sessions_per_day=2.0)
START = date.fromisoformat(CONFIG.start)


@pytest.fixture(scope="module")
def summary(folder: Path) -> SimulationSummary:
    return simulate(CONFIG, folder)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("log")


@pytest.fixture(scope="module")
def events(folder: Path, summary: SimulationSummary) -> pl.DataFrame:
    """All rows by user and time, with the day of the log (from 0)."""
    rows = pl.concat([pl.read_parquet(path) for path in sorted(folder.iterdir())])
    day = (pl.col("played_at").dt.date() - START).dt.total_days().alias("day")
    return rows.with_columns(day).sort("user_id", "played_at", maintain_order=True)


@pytest.fixture(scope="module")
def world() -> World:
    seed, _, _ = np.random.SeedSequence(CONFIG.seed).spawn(3)
    return build_world(seed, CONFIG)


@pytest.fixture(scope="module")
def plays(events: pl.DataFrame, world: World) -> pl.DataFrame:
    """Listens and skips, with the catalogue's index and genre of each and its session in the user's log."""
    index = pl.DataFrame(
        {
            "track_id": world.track_ids,
            "track": np.arange(CONFIG.tracks),
            "genre": world.track_genre.astype(np.int64),
            "release": world.track_release,
        }
    )
    rows = events.filter(pl.col("kind").is_in(["listen", "skip"])).join(index, on="track_id", maintain_order="left")
    end = pl.col("played_at") + pl.duration(milliseconds="ms_played")
    rows = rows.with_columns((pl.col("played_at") - end.shift(1)).over("user_id").alias("gap"))
    new = (pl.col("gap").is_null() | (pl.col("gap") > timedelta(minutes=30))).cum_sum()
    return rows.with_columns(new.alias("session"))


@pytest.fixture(scope="module")
def listens(plays: pl.DataFrame) -> pl.DataFrame:
    return plays.filter(pl.col("kind") == "listen")


def pairs(listens: pl.DataFrame) -> tuple[Ints, Ints]:
    """Rows of consecutive listens in one session: the earlier, the later."""
    session = listens["session"].to_numpy()
    before = np.flatnonzero(session[1:] == session[:-1])
    return before, before + 1


def shuffled_within_user(listens: pl.DataFrame, column: str) -> Ints:
    """The column with each user's listens in random order: same taste, no order."""
    return listens.select(pl.col(column).shuffle(seed=0).over("user_id")).to_series().to_numpy()


def bytes_of(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_same_seed_same_bytes_and_another_seed_other_bytes(tmp_path: Path) -> None:
    simulate(TINY, tmp_path / "a")
    simulate(TINY, tmp_path / "b")
    simulate(replace(TINY, seed=4), tmp_path / "c")
    first, other = bytes_of(tmp_path / "a"), bytes_of(tmp_path / "c")
    assert first == bytes_of(tmp_path / "b")
    assert first.keys() == other.keys() and all(first[name] != other[name] for name in first)
    (tmp_path / "b" / "events-2026-01-06.parquet").unlink()  # a run that was killed is made whole
    simulate(TINY, tmp_path / "b")
    assert bytes_of(tmp_path / "b") == first


def test_files_have_the_raw_schema_and_are_one_a_day_sorted_by_time(folder: Path, summary: SimulationSummary) -> None:
    days = [START + timedelta(days=day) for day in range(CONFIG.days)]
    assert sorted(path.name for path in folder.iterdir()) == [f"events-{day}.parquet" for day in days]
    for day in days:
        path = folder / f"events-{day}.parquet"
        assert pq.read_schema(path).equals(RAW_EVENTS)
        assert pq.ParquetFile(path).metadata.row_group(0).column(0).compression == "ZSTD"
        played_at = pl.read_parquet(path)["played_at"]
        assert played_at.is_sorted() and (played_at.dt.date() == day).all()


def test_summary_counts_the_rows(events: pl.DataFrame, summary: SimulationSummary) -> None:
    counts = dict(events["kind"].value_counts().iter_rows())
    kinds = (counts["listen"], counts["skip"], counts["like"], counts["save"])
    assert summary == SimulationSummary(summary.folder, CONFIG.days, len(events), *kinds)


def test_the_rows_say_what_happened(events: pl.DataFrame) -> None:
    assert set(events["kind"]) <= set(KINDS)
    played = events.filter(pl.col("kind").is_in(["listen", "skip"]))
    assert events.drop("ms_played").null_count().sum_horizontal().item() == 0
    assert (events.filter(~pl.col("kind").is_in(["listen", "skip"]))["ms_played"]).is_null().all()
    assert played.select((pl.col("ms_played").is_between(1, pl.col("duration_ms"))).all()).item()
    of_track = events.group_by("track_id").agg(pl.struct([*RAW_EVENTS.names[-4:], "duration_ms"]).n_unique().alias("n"))
    assert (of_track["n"] == 1).all()


def test_time_moves_on_for_every_user(events: pl.DataFrame, plays: pl.DataFrame) -> None:
    """Events are in order, and no play begins before the play before it ended."""
    assert events.select((pl.col("played_at").diff().over("user_id") <= timedelta(0)).any()).item() is False
    assert (plays["gap"].drop_nulls() > timedelta(0)).all()
    within = plays.filter(pl.col("session") == pl.col("session").shift(1))["gap"]
    assert (within < timedelta(seconds=5)).all()


def test_likes_and_saves_are_rare_and_follow_a_listen_of_the_track(events: pl.DataFrame) -> None:
    loves = pl.col("kind").is_in(["like", "save"])
    played = pl.when(~loves).then(pl.struct("track_id", "kind")).forward_fill().over("user_id")
    rows = events.with_columns(played.alias("play")).filter(loves)
    assert 0.002 < len(rows) / len(events) < 0.05
    assert (rows["play"].struct.field("track_id") == rows["track_id"]).all()
    assert (rows["play"].struct.field("kind") == "listen").all()


def test_nothing_is_played_before_its_release(plays: pl.DataFrame, world: World) -> None:
    late = world.track_release > 0
    assert 0.08 < late.mean() < 0.15
    played = plays.filter(pl.col("release") > 0)
    assert len(played) > 100
    assert (played["release"] <= played["day"]).all()


def test_nobody_is_active_before_joining(events: pl.DataFrame, world: World) -> None:
    _, seed, _ = np.random.SeedSequence(CONFIG.seed).spawn(3)
    users = draw_users(seed.spawn(1)[0], world, CONFIG, CONFIG.users)
    assert 0.08 < (users.joined > 0).mean() < 0.25
    first = events.group_by("user_id").agg(pl.col("day").min())
    joined = users.joined[first["user_id"].str.slice(1).cast(pl.Int64).to_numpy()]
    assert (first["day"].to_numpy() >= joined).all()
    assert (joined > 0).any()


def test_repeats_are_more_than_popularity_alone_would_give(listens: pl.DataFrame) -> None:
    """The share of repeats is that of music, and far above what the same tracks dealt to other users would give."""
    repeats = 1 - len(listens.unique(["user_id", "track_id"])) / len(listens)
    dealt = listens.with_columns(pl.col("track_id").shuffle(seed=0))
    assert 0.45 < repeats < 0.80
    assert repeats > 1.5 * (1 - len(dealt.unique(["user_id", "track_id"])) / len(dealt))


def test_popularity_has_a_long_tail(listens: pl.DataFrame) -> None:
    counts = listens["track_id"].value_counts()["count"].sort(descending=True)
    assert counts[: CONFIG.tracks // 10].sum() > 0.3 * len(listens)
    assert len(counts) > 0.9 * CONFIG.tracks


def test_activity_differs_between_users(listens: pl.DataFrame) -> None:
    counts = listens["user_id"].value_counts()["count"].sort(descending=True)
    assert counts[: len(counts) // 10].sum() > 0.2 * len(listens)


def test_albums_are_played_in_order(listens: pl.DataFrame, world: World) -> None:
    """The next track of the album follows far more often than the one before it does, and than chance would have it."""
    before, after = pairs(listens)
    track, mixed = listens["track"].to_numpy(), shuffled_within_user(listens, "track")
    onwards = (world.track_next[track[before]] == track[after]).mean()
    backwards = (world.track_next[track[after]] == track[before]).mean()
    assert onwards > 0.05
    assert onwards > 3 * backwards
    assert onwards > 10 * (world.track_next[mixed[before]] == mixed[after]).mean()


def test_moods_last_within_a_session_and_drift_to_neighbours(listens: pl.DataFrame) -> None:
    before, after = pairs(listens)
    genre, mixed = listens["genre"].to_numpy(), shuffled_within_user(listens, "genre")
    assert (genre[before] == genre[after]).mean() > 0.7
    assert (genre[before] == genre[after]).mean() > 1.5 * (mixed[before] == mixed[after]).mean()

    def next_door(genre: Ints) -> float:
        steps = np.abs(genre[before] - genre[after])
        changed = np.minimum(steps, CONFIG.genres - steps)[steps > 0]
        return float((changed == 1).mean())

    assert next_door(genre) > 0.6 > 1.2 * next_door(mixed)


def test_moods_follow_the_hour(listens: pl.DataFrame, world: World) -> None:
    """Genres that suit the hour are played more than the same users' listens at other hours would have it."""
    hour, mixed = listens["played_at"].dt.hour().to_numpy(), shuffled_within_user(listens, "genre")
    suits = world.hour_genre[hour, listens["genre"].to_numpy()].mean()
    assert suits > 1.06 * world.hour_genre[hour, mixed].mean()


def test_taste_is_personal_beyond_the_genre(listens: pl.DataFrame) -> None:
    """Given the genre, a user's artists of the first half return in the second more than other users' artists do."""
    rows = listens.with_columns((pl.col("day") < CONFIG.days // 2).alias("early"))
    known = rows.filter("early").group_by("user_id", "artist_id").len("before")

    def heard_before(late: pl.DataFrame) -> float:
        return float(late.join(known, on=["user_id", "artist_id"], how="left")["before"].sum()) / len(late)

    late = rows.filter(~pl.col("early"))
    swapped = late.with_columns(pl.col("artist_id").shuffle(seed=0).over("genre"))
    assert heard_before(late) > 1.5 * heard_before(swapped)


def test_users_return_to_genres_they_left_long_ago(listens: pl.DataFrame) -> None:
    returns, users = 0, 0
    for (_,), rows in listens.group_by("user_id", maintain_order=True):
        genre = rows["genre"].to_numpy()
        users += len(genre) > 200
        returns += sum(
            genre[at] in genre[: at - 100] and genre[at] not in genre[at - 100 : at] for at in range(101, len(genre))
        )
    assert users > 20 and returns > 2 * users


def test_a_leaning_lasts_for_days_and_passes(plays: pl.DataFrame) -> None:
    """Two sessions of a user begin in the same genre more often when they are days apart than when weeks apart."""
    starts = plays.group_by("session", maintain_order=True).first().select("user_id", "session", "day", "genre")
    both = starts.join(starts, on="user_id", suffix="_later").filter(pl.col("session") < pl.col("session_later"))
    apart = pl.col("day_later") - pl.col("day")
    same = both.select(apart.alias("apart"), (pl.col("genre") == pl.col("genre_later")).alias("same"))
    near, far = (same.filter(rows)["same"] for rows in (pl.col("apart") <= 2, pl.col("apart") >= 10))
    assert float(near.sum()) / len(near) > 1.15 * float(far.sum()) / len(far)


def test_session_starts_need_recent_listens_lasting_taste_and_the_hour(listens: pl.DataFrame, world: World) -> None:
    """Recent listens, all earlier ones and the hour each make the first genre of a session likelier than the others do.

    Mean log-likelihood of the genre of a session's first listen, from a user's 129th listen on, when it is drawn as the
    genres of the latest 32 listens, or of all before, or as half of each; and the latter by the hour.
    """
    starts = listens["session"].to_numpy() != listens["session"].shift(1, fill_value=-1).to_numpy()
    hour = listens["played_at"].dt.hour().to_numpy()
    scores = []
    for rows in listens.with_row_index("row").partition_by("user_id", maintain_order=True):
        at, genre = rows["row"].to_numpy(), rows["genre"].to_numpy()
        before = np.concatenate([np.zeros((1, CONFIG.genres)), np.cumsum(np.eye(CONFIG.genres)[genre], axis=0)])
        for place in np.flatnonzero(starts[at] & (np.arange(len(at)) >= 128)):
            recent, lasting = (
                (counts + 1) / (counts + 1).sum() for counts in (before[place] - before[place - 32], before[place])
            )
            both = (recent + lasting) / 2
            by_hour = both * world.hour_genre[hour[at[place]]]
            scores.append(
                [share[genre[place]] / share.sum() for share in (recent, lasting, both, by_hour)],
            )
    recent_score, lasting_score, both_score, hour_score = np.log(scores).mean(axis=0)
    assert len(scores) > 500
    assert both_score > max(recent_score, lasting_score) + 0.02
    assert hour_score > both_score + 0.03


def test_what_misses_the_mood_is_skipped_more(plays: pl.DataFrame) -> None:
    fits = (pl.col("genre") == pl.col("genre").shift(1)).alias("fits")
    rows = plays.with_columns(fits).filter(pl.col("session") == pl.col("session").shift(1))
    skipped = dict(rows.group_by("fits").agg((pl.col("kind") == "skip").mean()).iter_rows())
    skips = plays.filter(pl.col("kind") == "skip")
    assert 0.01 < len(skips) / len(plays) < 0.2
    assert skipped[False] > 1.5 * skipped[True]
    assert (skips["ms_played"] < 30_000).all()


def test_hour_habits_are_personal_and_stable(plays: pl.DataFrame) -> None:
    """A user's hours in one half of the log look like the same user's in the other half, not like another user's."""
    starts = plays.group_by("user_id", "session").first()
    halves = np.zeros((2, CONFIG.users, 24))
    user = starts["user_id"].str.slice(1).cast(pl.Int64).to_numpy()
    half = (starts["day"] >= CONFIG.days // 2).cast(pl.Int64).to_numpy()
    np.add.at(halves, (half, user, starts["played_at"].dt.hour().to_numpy()), 1)
    busy = halves.sum(axis=2).min(axis=0) >= 10
    assert busy.sum() > 40
    hours = halves[:, busy] / np.linalg.norm(halves[:, busy], axis=2, keepdims=True)
    alike = hours[0] @ hours[1].T
    own, other = np.diag(alike).mean(), alike[~np.eye(len(alike), dtype=bool)].mean()
    assert own > 1.3 * other
    assert len(set(halves[:, busy].sum(axis=0).argmax(axis=1).tolist())) >= 8


def test_a_session_may_cross_midnight(plays: pl.DataFrame) -> None:
    days = plays.group_by("session").agg(pl.col("day").n_unique())["day"]
    assert (days == 2).sum() > 5
    assert days.is_between(1, 2).all()


def test_blocks_of_users_and_pieces_of_a_day_make_one_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(simulation, "BLOCK", 5)
    simulate(TINY, tmp_path / "whole")
    monkeypatch.setattr(writing, "ROW_GROUP", 50)
    simulate(TINY, tmp_path / "pieces")
    simulate(TINY, tmp_path / "again")
    assert bytes_of(tmp_path / "pieces") == bytes_of(tmp_path / "again")
    users = set()
    for path in sorted((tmp_path / "whole").iterdir()):
        piece = tmp_path / "pieces" / path.name
        assert pq.read_table(piece).equals(pq.read_table(path))
        metadata = pq.ParquetFile(piece).metadata
        assert metadata.num_row_groups == max(-(-metadata.num_rows // 50), 1)
        users |= set(pq.read_table(path)["user_id"].to_pylist())
    # Each block has users of its own.
    assert {int(user[1:]) // 4 for user in users} == {0, 1, 2} and max(users) <= "u00011"


def test_a_day_that_breaks_off_is_absent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write, done = pq.ParquetWriter.write_table, []

    def fail_on_the_third(self: pq.ParquetWriter, *args: Any, **kwargs: Any) -> None:
        done.append(self)
        if len(done) == 3:
            raise OSError("no space left")
        write(self, *args, **kwargs)

    monkeypatch.setattr(pq.ParquetWriter, "write_table", fail_on_the_third)
    with pytest.raises(OSError, match="no space"):
        simulate(TINY, tmp_path)
    assert [path.name for path in sorted(tmp_path.glob("events-*"))] == [
        "events-2026-01-05.parquet",
        "events-2026-01-06.parquet",
    ]
    monkeypatch.undo()
    simulate(TINY, tmp_path)
    assert len(bytes_of(tmp_path)) == TINY.days


@pytest.mark.parametrize("config", [SimulateConfig(users=1, tracks=1, artists=1, genres=1, days=1), TINY])
def test_small_logs_are_written_too(config: SimulateConfig, tmp_path: Path) -> None:
    summary = simulate(config, tmp_path)
    files = [pq.read_table(path) for path in sorted(tmp_path.iterdir())]
    assert len(files) == config.days == summary.files
    assert sum(map(len, files)) == summary.events


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("users", 0),
        ("genres", 0),
        ("artists", TINY.genres - 1),
        ("tracks", TINY.artists - 1),
        ("days", 0),
        ("seed", -1),
        ("sessions_per_day", float("nan")),
        ("activity_spread", -0.1),
        ("plays_per_session", 0.5),
        ("session_spread", 3.5),
        ("drift", 1.5),
        ("fresh_starts", -0.5),
        ("exploration", 2.0),
        ("albums", 1.5),
        ("routine", 1.01),
        ("popularity", -1.0),
        ("replay", 0.6),
        ("new_tracks", 0.9),
        ("new_users", -0.1),
        ("start", "yesterday"),
    ],
)
def test_impossible_values_are_refused_by_name(key: str, value: float | str, tmp_path: Path) -> None:
    config = replace(TINY)
    setattr(config, key, value)
    with pytest.raises(UserError, match=rf"^simulate\.{key}[:=]"):
        simulate(config, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("key", "value"),
    [("returns", 1.1), ("size", 99), ("spells", 0), ("spell_days", 0.5), ("adoption", -0.1), ("breadth", 2.5)],
)
def test_impossible_libraries_are_refused_by_name(key: str, value: float, tmp_path: Path) -> None:
    config = replace(TINY, library=replace(LibraryConfig(), **{key: value}))
    with pytest.raises(UserError, match=rf"^simulate\.library\.{key}="):
        simulate(config, tmp_path / "out")


def test_a_log_without_libraries_is_what_it_was_before_there_were_any(tmp_path: Path) -> None:
    """A file names its settings, and a dataset is named by its content: a new setting must not change old logs."""

    def settings(config: SimulateConfig) -> dict[str, Any]:
        folder = tmp_path / str(config.library.returns)
        simulate(config, folder)
        return dict(json.loads(pq.read_schema(min(folder.iterdir())).metadata[b"fsvae.simulate"]))

    assert settings(TINY).keys() == vars(TINY).keys() - {"library"}
    assert settings(replace(TINY, library=LibraryConfig(returns=0.5)))["library"]["returns"] == 0.5


def test_days_of_another_log_are_not_mixed_in(tmp_path: Path) -> None:
    simulate(TINY, tmp_path)
    with pytest.raises(UserError, match="events-2026-01-08"):
        simulate(replace(TINY, days=3), tmp_path)


def test_the_config_is_fit_for_omegaconf() -> None:
    assert OmegaConf.to_object(OmegaConf.structured(SimulateConfig)) == SimulateConfig()


def test_another_world_never_mixes_with_one_that_is_there(tmp_path: Path) -> None:
    config = SimulateConfig(users=5, tracks=20, artists=4, genres=2, days=2)
    simulate(config, tmp_path)
    simulate(config, tmp_path)  # the same again is no other world
    with pytest.raises(UserError, match="other settings"):
        simulate(SimulateConfig(users=5, tracks=20, artists=4, genres=2, days=2, seed=8), tmp_path)
