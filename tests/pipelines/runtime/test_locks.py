"""Who uses a folder: nobody deletes it under them, and a killed user uses nothing."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from fsvae.storage import Folder
from pipelines.runtime.locks import held, in_use, is_held, unused


def test_a_folder_is_in_use_until_its_last_user_is_done(tmp_path: Path) -> None:
    folder = Folder.at(tmp_path)
    with in_use(folder):
        with in_use(folder), unused(folder) as free:
            assert not free
        with unused(folder) as free:
            assert not free
    with unused(folder) as free:
        assert free


def test_a_killed_user_uses_nothing(tmp_path: Path) -> None:
    folder = Folder.at(tmp_path)
    command = [sys.executable, "-c", _USER, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as user:
        assert user.stdout is not None and user.stdout.readline() == "in use\n"
        with unused(folder) as free:
            assert not free
        user.kill()
    with unused(folder) as free:
        assert free


_USER = """
import sys
from fsvae.storage import Folder
from pipelines.runtime.locks import in_use

with in_use(Folder.at(sys.argv[1])):
    print("in use", flush=True)
    sys.stdin.read()
"""


def test_a_folder_that_is_gone_is_used_without_a_word(tmp_path: Path) -> None:
    with in_use(Folder.at(tmp_path / "gone")):
        assert not (tmp_path / "gone").exists()


def test_a_folder_is_held_while_somebody_holds_it(tmp_path: Path) -> None:
    with held(tmp_path, "prepare"):
        assert is_held(tmp_path)
    assert not is_held(tmp_path)
