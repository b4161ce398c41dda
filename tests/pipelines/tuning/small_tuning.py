"""Small tunings: a space in a file, and settings that make a trial fast."""

from __future__ import annotations

from pathlib import Path

NETWORK = [
    "model=paper",
    "model.history=16",
    "model.fast_layers=1",
    *(f"model.{size}=8" for size in ("slow_hidden", "slow_dim", "fast_hidden", "latent_dim", "decoder_hidden")),
    "train.max_epochs=1",
    "train.batch_listens=2048",
]
OF_NETWORK = """
  model.beta: {low: 0.0001, high: 0.1, log: true}
  model.fast_hidden: {choices: [8, 16]}
  model.fast_layers: {low: 1, high: 2}
"""
OF_COUNTS = """
  baselines.markov.personal_weight: {low: 0, high: 20}
  baselines.markov.transition_half_life: {low: 0.5, high: 50, log: true}
"""
"""Space of a model that needs no training."""


def space_file(folder: Path, space: str, base: str = "", name: str = "mine") -> str:
    """Return the setting that names a file with a space, which is written."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.yaml"
    path.write_text(f"title: A small search\nbase: [{base}]\nspace: {space}\n")
    return f"tune={path}"
