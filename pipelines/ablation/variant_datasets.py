"""The datasets of a matrix: the current one, and those of variants with their own dataset settings."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from datetime import date
from functools import reduce
from typing import Any

from omegaconf import OmegaConf

from fsvae.errors import UserError
from fsvae.prepare.dataset_config import DatasetConfig
from fsvae.storage import Folder
from pipelines.ablation.matrix import Variant
from pipelines.lake.lake import Lake
from pipelines.prepare.datasets import dataset_in_use, delete_old
from pipelines.prepare.prepare import prepare
from pipelines.runtime.engine import Engine
from pipelines.runtime.locks import held

_ALL = 10**9
_EPOCH = date(1970, 1, 1).toordinal()


@contextmanager
def variant_datasets(
    variants: list[Variant], lake: Lake, datasets: Folder, engine: Engine, say: Callable[[str], None]
) -> Iterator[dict[str, Folder]]:
    """Yield the dataset of each variant, by its name, and keep them from being deleted while the context is open.

    A variant without a setting of `dataset` has the current dataset. Any other has one that differs from the current
    one in these settings, with a track space learned from the start, like those that it is compared with. It is
    prepared if it is missing. Datasets of variants are kept in a separate folder, where none is the current one.

    Args:
        variants: the variants.
        lake: lake to prepare.
        datasets: the folder of all datasets.
        engine: engine that runs the pieces of prepare.
        say: called with a line on what is being prepared.

    Raises:
        UserError: there is no current dataset, or the lake has changed since it was made.
    """
    with ExitStack() as uses:
        current, manifest = uses.enter_context(dataset_in_use(datasets))
        before = date.fromordinal(_EPOCH + manifest["as_of_day"]).isoformat()  # the lake may have grown since
        found = {}
        for variant in variants:
            config = _config(variant, manifest["config"] | {"before": before})
            if config is None:
                found[variant.name] = current
                continue
            say(f"dataset of '{variant.name}': {', '.join(_said(variant))}")
            made = prepare(lake, config, manifest["seed"], datasets / FOLDER, engine=engine).folder
            found[variant.name], mine = uses.enter_context(dataset_in_use(made))
            if mine["lake"] != manifest["lake"]:
                raise UserError(
                    f"{lake.root}: the lake is no more what the current dataset was made of, and the dataset of "
                    f"'{variant.name}' would hold other listens. Make it anew: fsvae prepare."
                )
        yield found


def delete_old_datasets(datasets: Folder, keep: int) -> None:
    """Delete the datasets of variants, except the `keep` that matrices used last, and any in use.

    Args:
        datasets: the folder of all datasets.
        keep: number of datasets that are kept.
    """
    mine = datasets / FOLDER
    if mine.folders():
        with suppress(UserError), held(mine, "clean-up"):  # while another matrix prepares, leave it to a later one
            delete_old(mine, keep)


FOLDER = ".variants"
"""Name of the folder of the datasets of variants, within that of all datasets."""


def _config(variant: Variant, current: dict[str, Any]) -> DatasetConfig | None:
    """Return the config of a variant's dataset; None: it has the current dataset."""
    here = OmegaConf.merge(OmegaConf.structured(DatasetConfig), current)
    wanted = here.copy()
    for key in variant.dataset_keys:
        OmegaConf.update(wanted, key.removeprefix("dataset."), _value(variant, key))
    if wanted == here and not (
        here.continue_space and variant.dataset_keys
    ):  # a continued space was trained for longer
        return None
    config: DatasetConfig = OmegaConf.to_object(wanted)
    return replace(config, continue_space=False, keep=_ALL)


def _said(variant: Variant) -> list[str]:
    return [f"{key}={_value(variant, key)}" for key in sorted(variant.dataset_keys)]


def _value(variant: Variant, key: str) -> Any:
    return reduce(getattr, key.split("."), variant.config)
