"""docs/extending.md: the examples are what they say, one file and one line each."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pandas as pd
import pytest

import fsvae
from fsvae.baselines.registry import MODELS, Entry
from fsvae.evaluation import metric_names, metrics
from fsvae.evaluation.metric_names import RANKING, RankingMetric
from fsvae.evaluation.metrics import MISS
from fsvae.evaluation.protocol import evaluate_model
from fsvae.logs import sources
from fsvae.logs.source_config import SourceConfig

PAGE = (Path(__file__).parents[1] / "docs" / "extending.md").read_text()
FILES = dict(re.findall(r'```python title="([^"]+)"\n(.*?)```', PAGE, re.DOTALL))
LINES = re.findall(r'```python\n("\w+": .*),\n```', PAGE)


def example(path: str, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """Return the module of an example, where an import of its path finds it."""
    name = path.removesuffix(".py").replace("/", ".")
    module = ModuleType(name)
    monkeypatch.setitem(sys.modules, name, module)
    exec(compile(FILES[path], path, "exec"), module.__dict__)
    return module


def entry(line: str, **names: Any) -> tuple[str, Any]:
    """Return the name and the value of a line of a registry."""
    ((name, value),) = eval(f"{{{line}}}", names).items()
    return name, value


def test_a_source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module = example("fsvae/logs/sources/scrobbles.py", monkeypatch)
    monkeypatch.setitem(sources._MODULES, "scrobbles", module)
    monkeypatch.setitem(sources.READERS, "scrobbles", module.read)
    log = tmp_path / "a.jsonl"
    rows = [{"who": "ann", "song": song, "when": "2026-01-01T10:00:00Z"} for song in ("t1", "")]
    log.write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "readme.txt").write_text("no log")
    with pytest.warns(UserWarning, match="line 2, track_id"):
        listens = fsvae.read_listens(tmp_path, source="scrobbles", config=SourceConfig(max_reject_share=0.5))
    assert listens[["user_id", "track_id"]].to_numpy().tolist() == [["ann", "t1"]]
    assert listens["played_at"][0] == pd.Timestamp("2026-01-01T10:00Z")


def test_a_baseline(monkeypatch: pytest.MonkeyPatch) -> None:
    module = example("fsvae/baselines/last_repeat.py", monkeypatch)
    name, found = entry(LINES[0], Entry=Entry, LastRepeatConfig=module.LastRepeatConfig)
    monkeypatch.setitem(MODELS, name, found)
    plays = pd.DataFrame({"user_id": "ann", "track_id": ["t1", "t2", "t3"] * 20})
    plays["played_at"] = pd.date_range("2026-01-01", periods=60, freq="1h")
    dataset = fsvae.Dataset.from_pandas(plays)
    model = MODELS["last_repeat"].load()(MODELS["last_repeat"].settings(half_life=1.0)).fit(dataset)
    assert model.recommend(["ann"], k=3)["track_id"].to_list() == ["t3", "t2", "t1"]
    assert evaluate_model(model, dataset, "test").metrics()["mrr"] == pytest.approx(1 / 3)


def test_a_ranking_metric(monkeypatch: pytest.MonkeyPatch) -> None:
    module = ModuleType("addition")
    exec(FILES["fsvae/evaluation/metrics.py"], module.__dict__)
    monkeypatch.setattr(metrics, "rank_biased_precision", module.rank_biased_precision, raising=False)
    name, found = entry(LINES[1], RankingMetric=RankingMetric)
    monkeypatch.setitem(RANKING, name, found)
    assert RANKING["rbp"].heading == "RBP"
    assert RANKING["rbp"].of_ranks(np.array([1, 3, MISS])) == pytest.approx([0.2, 0.2 * 0.64, 0.0])
    assert tuple(RANKING)[:-1] == metric_names.RANKING_METRICS and metrics.recall(np.array([3]), 3) == 1
