"""Lake and datasets on an object store: a real S3 server on loopback."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.fs as pafs
import pytest
from lakes import all_events, disk

from fsvae.data.dataset import open_dataset
from fsvae.errors import UserError
from fsvae.features.track2vec_config import Track2VecConfig
from fsvae.logs.source_config import SourceConfig
from fsvae.prepare.dataset_config import DatasetConfig
from fsvae.storage import Folder
from pipelines.ingest.ingest import ingest
from pipelines.lake.lake import Lake
from pipelines.prepare.prepare import prepare
from pipelines.runtime.locks import held, in_use, unused

DAY = 24 * 3600
CONFIG = DatasetConfig(min_count=2, keep=1, track2vec=Track2VecConfig(epochs=1))


@pytest.fixture(scope="module")
def bucket() -> Iterator[str]:
    """The start of URLs in a bucket, and their parameters behind {}."""
    server: Any = pytest.importorskip("moto.server").ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    server.start()
    _, port = server.get_host_and_port()
    url = f"s3://key:secret@music/{{}}?scheme=http&endpoint_override=127.0.0.1:{port}&region=us-east-1"
    try:
        Folder.at(url.format("") + "&allow_bucket_creation=true").fs.create_dir("music")
        yield url
    finally:
        server.stop()


def test_the_same_lake_and_dataset_as_on_disk(bucket: str, small_log: Path, small_lake: Lake, tmp_path: Path) -> None:
    lake = Lake(bucket.format("lake"))
    ingest(lake, SourceConfig(path=str(small_log)))
    assert lake.manifest == small_lake.manifest and all_events(lake).equals(all_events(small_lake))
    there = prepare(lake, CONFIG, 1, bucket.format("datasets")).folder
    here = prepare(small_lake, CONFIG, 1, tmp_path).folder
    files = here.files()
    assert {name: there.read(name) for name in there.files()} == {name: here.read(name) for name in files}
    assert open_dataset(bucket.format("datasets")).fingerprint == open_dataset(disk(here)).fingerprint

    ingest(lake, SourceConfig(path=str(small_log)))  # the same again changes nothing
    assert Lake(bucket.format("lake")).manifest == small_lake.manifest
    with in_use(there):
        later = prepare(lake, CONFIG, 2, bucket.format("datasets")).folder
        assert open_dataset(there).fingerprint == there.name  # keep=1, but it is in use
    prepare(lake, CONFIG, 2, bucket.format("datasets"))
    assert Folder.at(bucket.format("datasets")).folders() == [".cache", later.name]  # now it is gone


@pytest.mark.parametrize("size", [4, 11 << 20])  # a single request, and an upload in several parts
def test_a_file_that_was_not_written_to_its_end_takes_no_place(bucket: str, size: int, tmp_path: Path) -> None:
    (tmp_path / "whole").mkdir()
    mounted = Folder(pafs.SubTreeFileSystem(str(tmp_path), pafs.LocalFileSystem()), "whole")
    for folder in (mounted, Folder.at(bucket.format(f"whole-{size}"))):
        folder.write("old", b"good")
        for name in ("old", "new"):
            with pytest.raises(ZeroDivisionError), folder.writing(name) as file:
                file.write(bytes(size))
                raise ZeroDivisionError
            del file
        assert folder.files() == ["old"] and folder.read("old") == b"good"
        folder.write("old", bytes(size))
        folder.write("empty", b"")
        assert folder.read("old") == bytes(size) and folder.read("empty") == b""


def test_rejects_are_kept_there(bucket: str, tmp_path: Path) -> None:
    (tmp_path / "log.csv").write_text("user_id,track_id,played_at\nu,a,2026-01-01\nu,,2026-01-02\n")
    lake = Lake(bucket.format("odd"))
    with pytest.raises(UserError, match=r"1 of 2 rows rejected.*s3://music/odd/refused-log\.parquet"):
        ingest(lake, SourceConfig(path=str(tmp_path / "log.csv")))
    assert lake.root.exists("refused-log.parquet") and not lake.root.exists(".lock.json")
    ingest(lake, SourceConfig(path=str(tmp_path / "log.csv"), max_reject_share=0.5))
    (log,) = Lake(bucket.format("odd")).manifest.logs.values()
    assert lake.root.exists(log["rejects"])


def test_one_writer_at_a_time_says_who_it_is(bucket: str) -> None:
    folder = Folder.at(bucket.format("held"))
    with (
        held(folder, "prepare"),
        pytest.raises(UserError, match=r"another prepare is at work here, process \d+ on"),
        held(folder, "prepare"),
    ):
        pass
    folder.write_json(".lock.json", {"host": "elsewhere", "pid": 1, "since": 0.0, "id": "x"})
    with held(folder, "prepare"):  # days old: its holder is gone
        pass
    assert not folder.exists(".lock.json")


def test_what_somebody_uses_says_so(bucket: str) -> None:
    folder = Folder.at(bucket.format("used"))
    with in_use(folder), in_use(folder):
        assert len(folder.files()) == 2
        with unused(folder) as free:
            assert not free
    assert folder.files() == []
    now, here = time.time(), socket.gethostname()
    with subprocess.Popen([sys.executable, "-c", ""]) as ended:
        ended.wait()
    for host, pid, since, used in [
        ("elsewhere", 1, now - 6 * DAY, True),
        ("elsewhere", 1, now - 8 * DAY, False),
        (here, os.getpid(), now, True),
        (here, ended.pid, now, False),
    ]:
        folder.write_json(".uses/x.json", {"host": host, "pid": pid, "since": since, "id": "x"})
        with unused(folder) as free:
            assert free != used


def test_a_url_that_cannot_be_opened_is_told_without_its_secrets() -> None:
    with pytest.raises(UserError, match="not a path that can be opened") as error:
        Folder.at("s3://key:secret@bucket/lake?unknown=1")
    assert "secret" not in str(error.value)
    with pytest.raises(UserError, match="not a path that can be opened"):
        Folder.at("nosuch://bucket/lake")
