"""The datasets of a matrix: the current one, and those that variants with settings of their own need beside it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import reduce
from typing import Any

from omegaconf import OmegaConf

from fsvae.data.dataset import find_dataset
from fsvae.errors import UserError
from fsvae.storage import Folder
from pipelines.ablation.matrix import Variant
from pipelines.lake.lake import Lake
from pipelines.prepare.dataset_config import DatasetConfig
from pipelines.prepare.prepare import prepare
from pipelines.runtime.engine import Engine

_ALL = 10**9


def variant_datasets(
    variants: list[Variant], lake: Lake, datasets: Folder, engine: Engine, say: Callable[[str], None]
) -> dict[str, Folder]:
    """Return the dataset of each variant, by its name; what is not there yet is prepared.

    A variant without a setting of `dataset` has the current dataset. Any other has one that differs from the current
    one in what is set, and whose track space is made from the start, like those that it is compared with. Those lie
    beside the others in a folder of their own, where none is ever the current one.

    Args:
        variants: the variants.
        lake: what to prepare.
        datasets: the folder of all datasets.
        engine: where pieces of preparing run.
        say: told what is being prepared.

    Raises:
        UserError: there is no current dataset, or the lake is no more what it was made of.
    """
    current, manifest = find_dataset(datasets)
    found = {}
    for variant in variants:
        config = _config(variant, manifest["config"])
        if config is None:
            found[variant.name] = current
            continue
        say(f"dataset of '{variant.name}': {', '.join(_said(variant))}")
        folder = prepare(lake, config, manifest["seed"], datasets / FOLDER, engine=engine)
        if folder.read_json("manifest.json")["lake"] != manifest["lake"]:
            raise UserError(
                f"{lake.root}: the lake is no more what the current dataset was made of, and the dataset of "
                f"'{variant.name}' would hold other listens. Make it anew: fsvae prepare."
            )
        found[variant.name] = folder
    return found


FOLDER = ".variants"
"""Folder of the datasets of variants, within that of all datasets."""


def _config(variant: Variant, current: dict[str, Any]) -> DatasetConfig | None:
    """Return the config of a variant's dataset; None: that of the current one."""
    here = OmegaConf.merge(OmegaConf.structured(DatasetConfig), current)
    wanted = here.copy()
    for key in variant.dataset_keys:
        OmegaConf.update(wanted, key.removeprefix("dataset."), _value(variant, key))
    if wanted == here and not (
        here.continue_space and variant.dataset_keys
    ):  # a continued space has learned for longer
        return None
    config: DatasetConfig = OmegaConf.to_object(wanted)
    return replace(config, continue_space=False, keep=_ALL)


def _said(variant: Variant) -> list[str]:
    return [f"{key}={_value(variant, key)}" for key in sorted(variant.dataset_keys)]


def _value(variant: Variant, key: str) -> Any:
    return reduce(getattr, key.split("."), variant.config)
