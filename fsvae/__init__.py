"""FS-VAE: a sequential music recommender with a slow and a fast clock (Fazelnia et al., WSDM 2022).

This module holds the public names of notebooks. Each is imported on first use, as importing torch takes seconds.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fsvae import baselines as baselines
    from fsvae.data.dataset import Dataset as Dataset
    from fsvae.errors import UserError as UserError
    from fsvae.estimator import FSVAE as FSVAE
    from fsvae.estimator import load as load
    from fsvae.evaluation.evaluate import evaluate as evaluate
    from fsvae.evaluation.significance import BootstrapConfig as BootstrapConfig
    from fsvae.logs.read_listens import read_listens as read_listens
    from fsvae.logs.source_config import SourceConfig as SourceConfig
    from fsvae.models.model_config import ModelConfig as ModelConfig
    from fsvae.models.train_config import TrainConfig as TrainConfig
    from fsvae.prepare.dataset_config import DatasetConfig as DatasetConfig

_HOMES = {
    "BootstrapConfig": "fsvae.evaluation.significance",
    "Dataset": "fsvae.data.dataset",
    "DatasetConfig": "fsvae.prepare.dataset_config",
    "FSVAE": "fsvae.estimator",
    "ModelConfig": "fsvae.models.model_config",
    "SourceConfig": "fsvae.logs.source_config",
    "TrainConfig": "fsvae.models.train_config",
    "UserError": "fsvae.errors",
    "evaluate": "fsvae.evaluation.evaluate",
    "load": "fsvae.estimator",
    "read_listens": "fsvae.logs.read_listens",
}


def __getattr__(name: str) -> Any:
    """Import a public name."""
    if name == "baselines":
        return import_module("fsvae.baselines")
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    """Return the public names."""
    return sorted([*_HOMES, "baselines"])
