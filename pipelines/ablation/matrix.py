"""A matrix: its variants, each with its own configuration, which is checked like any other."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass, fields

from fsvae.errors import UserError, nearest
from pipelines.config.ablation_config import AblationConfig
from pipelines.config.compose import chosen_option, key_of, load_config, without_group
from pipelines.config.schema import Config

_OF_A_VARIANT = ("recommender", "model", "train", "dataset", "baselines")
"""Groups of settings in which variants may differ; all others are the same for the whole matrix."""


@dataclass(frozen=True)
class Variant:
    """One model of a matrix."""

    name: str
    settings: list[str]
    """Settings of the variant in the matrix."""
    config: Config
    dataset_keys: frozenset[str]
    """Keys of `dataset` that are set, by the matrix or on the command line."""


@dataclass(frozen=True)
class Matrix:
    """A set of models to be compared."""

    name: str
    """Name of its file in configs/ablation/, or of the user's own file."""
    command: str
    """Command line as it was typed."""
    config: Config
    """Configuration of the matrix as a whole."""
    variants: list[Variant]

    @property
    def reference(self) -> str:
        """Return the name of the variant that the others are compared with."""
        return self.config.ablation.reference


def matrix_of(overrides: Sequence[str]) -> Matrix:
    """Return the matrix of a command line such as ``ablation=paper seeds=[1,2,3]``, all of its variants checked.

    Raises:
        UserError: no matrix is named, it has no variants or no such reference, or a variant's settings are wrong; the
            message names the variant.
    """
    config = load_config(overrides)
    name = chosen_option("ablation", overrides, "which matrix to run, such as fsvae ablate")
    ablation = config.ablation
    if not ablation.variants or not ablation.reference:
        raise UserError(f"ablation={name}: a matrix needs variants, and a reference, which names one of them.")
    if ablation.reference not in ablation.variants:
        raise UserError(
            f"ablation={name}: the reference '{ablation.reference}' is not one of its variants: "
            f"{', '.join(ablation.variants)}.{nearest(ablation.reference, ablation.variants)}"
        )
    mine = without_group("ablation", overrides)
    variants = [
        _variant(name, variant, [*ablation.base, *mine], own, config) for variant, own in ablation.variants.items()
    ]
    return Matrix(name, shlex.join(["fsvae", "ablate", *overrides]), config, variants)


def _variant(matrix: str, name: str, shared: list[str], own: list[str], whole: Config) -> Variant:
    where = f"ablation={matrix}, variant '{name}'"
    shared = _without(shared, own)
    try:
        config = load_config([*shared, *own])
    except UserError as error:
        raise UserError(f"{where}: {error}") from error
    for field in fields(config):
        same = AblationConfig() if field.name == "ablation" else getattr(whole, field.name)
        if field.name not in _OF_A_VARIANT and getattr(config, field.name) != same:
            raise UserError(
                f"{where}: {field.name} is the same for the whole matrix; a variant can set {', '.join(_OF_A_VARIANT)}."
            )
    keys = (key_of(text) for text in [*shared, *own])
    return Variant(name, own, config, frozenset(key for key in keys if key.startswith("dataset.")))


def _without(shared: list[str], own: list[str]) -> list[str]:
    """Return the shared settings without those of groups that a variant chooses anew.

    Hydra applies values after groups, whatever their order.
    """
    chosen = {key for text in own if "." not in (key := key_of(text))}
    return [text for text in shared if key_of(text).partition(".")[0] not in chosen]
