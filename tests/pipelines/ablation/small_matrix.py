"""A configuration folder with small matrices, and settings that make them fast."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

import pipelines.config.compose
from pipelines.config.compose import config_dir

SMALL = [
    "model.history=16",
    "model.slow_hidden=8",
    "model.slow_dim=8",
    "model.fast_hidden=8",
    "model.latent_dim=4",
    "model.decoder_hidden=8",
    "train.max_epochs=2",
    "train.batch_listens=2048",
    "train.refit=false",
]


def with_matrix(folder: Path, monkeypatch: pytest.MonkeyPatch, **files: str) -> None:
    """Let the configuration be a copy of the project's, with the files of `configs/ablation/` that are given."""
    shutil.copytree(config_dir(), folder / "configs")
    for name, text in files.items():
        (folder / "configs" / "ablation" / f"{name}.yaml").write_text(text)
    monkeypatch.setattr(pipelines.config.compose, "config_dir", lambda: folder / "configs")
