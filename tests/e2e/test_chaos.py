"""What is killed loses nothing that was acknowledged: a short run of the harness."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.e2e.chaos import chaos

pytestmark = pytest.mark.e2e


def test_three_kills_lose_no_acknowledged_listen_and_double_none(tmp_path: Path) -> None:
    outcome = chaos(tmp_path, kills=3, seed=1, store="sqlite")
    print(*outcome.lines(), sep="\n")  # noqa: T201  # shown if it fails
    assert outcome.problems == []
