"""Composing the configuration: Hydra reads the YAML of configs/, and `schema.Config` checks the result."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any, cast

import yaml
from hydra import compose, initialize_config_dir
from hydra.core.config_store import ConfigStore
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from fsvae.errors import UserError, nearest
from fsvae.limits import validated
from fsvae.logs.source_config import SOURCES
from pipelines.config.ablation_config import AblationConfig
from pipelines.config.schema import Config
from pipelines.config.tune_config import TuneConfig

_OPEN = ("source.columns=", "source.columns.", "source.kinds=", "source.kinds.")
"""Prefixes of overrides whose keys the user chooses; Hydra takes no new key, not even in a dict, without a ++."""

_OWN_FILES: dict[str, tuple[type, str]] = {
    "ablation": (AblationConfig, "a matrix has the keys title, base, reference and variants"),
    "tune": (TuneConfig, "a tuning has the keys title, base and space"),
}
"""Groups of which a user may have a file elsewhere (``ablation=mine.yaml``) → its type, and what is in it."""


def config_dir() -> Path:
    """Return the folder of YAML files: beside this package in a checkout, inside it in a wheel."""
    here = Path(__file__).resolve().parents[1]
    return next(path for path in (here / "configs", here.parent / "configs") if path.is_dir())


def load_config(overrides: Sequence[str] = ()) -> Config:
    """Compose the configuration with Hydra overrides such as ``model=paper`` or ``train.max_epochs=3``.

    Raises:
        UserError: an override cannot be read, names an unknown key, group or option, or gives a value of the wrong type
            or outside its range (the message names it and the nearest valid one), or a file of the user's own
            (``ablation=mine.yaml``) cannot be read.
    """
    _check_keys(overrides)
    own_files = [text.partition("=")[::2] for text in overrides if names_a_file(text)]
    overrides = [f"{text.partition('=')[0]}=[]" if names_a_file(text) else text for text in overrides]
    overrides = [f"++{text}" if text.startswith(_OPEN) else text for text in overrides]
    _register()
    try:
        with initialize_config_dir(str(config_dir()), version_base="1.3"):
            composed = compose("config", overrides=list(overrides))
        for group, path in own_files:
            empty = OmegaConf.create({group: OmegaConf.structured(_OWN_FILES[group][0])})
            composed[group] = OmegaConf.merge(empty, {group: _read_yaml(group, Path(path))})[group]
            for text in overrides:  # they override the user's file, as they do the project's files
                if key_of(text).startswith(f"{group}."):
                    OmegaConf.update(composed, key_of(text), _parsed(text).value())
        values = cast(dict[str, Any], OmegaConf.to_container(composed, resolve=True, throw_on_missing=True))
    except (OmegaConfBaseException, HydraException) as error:
        cause = next((e for e in _causes(error) if isinstance(e, OmegaConfBaseException) and e.full_key), None)
        if cause is None:
            raise UserError(f"config: {error}") from error
        key = str(cause.full_key)
        # a place in a list, a variant, a setting that is searched
        known = re.split(r"\[|\.variants\.|\.space\.", key)[0] in _keys() or key.startswith(_OPEN)
        hint = "" if known else nearest(key, _keys())
        what = str(cause.msg or cause).splitlines()[0].rstrip(".")
        what = "a list in brackets is expected, such as [1,2]" if "is not a ListConfig" in what else what
        raise UserError(f"config: {key}: {what}.{hint}") from error
    except ValueError as error:
        raise UserError(f"config: {error}") from error
    return validated(Config, values)


@cache
def _register() -> None:
    """Register with Hydra what has no file: the types, and an option of the group source for each source."""
    store = ConfigStore.instance()
    store.store("schema", Config)
    for source in SOURCES:
        store.store(source, {"reader": source}, group="source")


def key_of(text: str) -> str:
    """Return the key or the group that an override sets.

    Raises:
        UserError: the override cannot be read.
    """
    return str(_parsed(text).key_or_group)


def is_setting(text: str) -> bool:
    """Return whether a word of a command line sets a key or chooses a group's option."""
    key, equals, _ = text.partition("=")
    return bool(equals) and (key in _keys() | _groups() or text.startswith(_OPEN))


def key_like(option: str, command: str) -> str | None:
    """Return the key that an option such as ``--max-epochs`` of a command is meant for, if there is one."""
    name = option.strip("-").replace("-", "_")
    keys = [key for key in _keys() if key == name or key.endswith(f".{name}")]
    return min(keys, key=lambda key: (not key.startswith(command), key.count("."), key), default=None)


def check_allowed_overrides(overrides: Sequence[str], allowed_overrides: Collection[str], why: str) -> None:
    """Refuse settings that have no effect on a command that reads a finished result.

    Args:
        overrides: settings as typed.
        allowed_overrides: keys and groups that may be set.
        why: a sentence with the reason.

    Raises:
        UserError: a setting has another key.
    """
    for text in overrides:
        key = key_of(text)
        if not any(key == allowed or key.startswith(f"{allowed}.") for allowed in allowed_overrides):
            raise UserError(f"{text}: {why} Here can be set: {', '.join(allowed_overrides)}.")


def names_a_file(text: str) -> bool:
    """Return whether an override names a file of the user's own, such as ``ablation=mine.yaml``."""
    return text.partition("=")[0] in _OWN_FILES and text.endswith(".yaml")


def group_option(group: str, overrides: Sequence[str]) -> str:
    """Return the option of a group that is chosen, without the folder and the ending of a user's own file; empty:
    none is."""
    named = [text.partition("=")[2] for text in overrides if key_of(text) == group]
    return Path(named[-1]).name.removesuffix(".yaml") if named else ""


def chosen_option(group: str, overrides: Sequence[str], example: str) -> str:
    """Return the option of a group that has to be chosen (`group_option`).

    Args:
        group: the group.
        overrides: settings as on a command line.
        example: beginning of the message where none is, up to the option, such as ``which matrix to run, such as …``.

    Raises:
        UserError: none is chosen; the message names all.
    """
    if name := group_option(group, overrides):
        return name
    files = sorted(path.stem for path in (config_dir() / group).glob("*.yaml"))
    raise UserError(f"Say {example} {group}={files[0]}: {', '.join(files)}.")


def without_group(group: str, overrides: Sequence[str]) -> list[str]:
    """Return the settings that are not of a group."""
    return [text for text in overrides if key_of(text).partition(".")[0] != group]


def _read_yaml(group: str, path: Path) -> DictConfig:
    try:
        found = OmegaConf.load(path)
    except OSError as error:
        raise UserError(f"{path}: not readable: {error.strerror}.") from error
    except yaml.YAMLError as error:
        raise UserError(f"{path}: no YAML: {' '.join(str(error).split())}.") from error
    if not isinstance(found, DictConfig):
        raise UserError(f"{path}: {_OWN_FILES[group][1]}.")
    return found


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _check_keys(overrides: Sequence[str]) -> None:
    parsed = [_parsed(text) for text in overrides]
    groups, keys = _groups(), _keys()
    for override in parsed:
        key = override.key_or_group
        if names_a_file(str(override.input_line)):
            continue
        if key in groups and not override.is_sweep_override() and override.value() is not None:
            files = {path.stem for path in (config_dir() / key).glob("*.yaml")}
            options = sorted(files | set(SOURCES) if key == "source" else files)
            if override.value() not in options:
                file = f"{override.value()}.yaml"
                hint = f" A file of your own: {key}={file}." if key in _OWN_FILES and Path(file).exists() else ""
                raise UserError(
                    f"{key}={override.value()}: {key} has no '{override.value()}', only {', '.join(options)}."
                    f"{hint or nearest(str(override.value()), options)}"
                )
        elif key not in keys and not key.startswith(_OPEN):
            raise UserError(f"There is no config key '{key}'.{nearest(key, keys | groups)} All keys: fsvae config.")
        elif override.is_sweep_override():
            raise UserError(f"{override.input_line}: {_one_value(key, str(override.input_line).partition('=')[2])}")


def _one_value(key: str, values: str) -> str:
    """Return several values, which Hydra would sweep over, written as one value."""
    if key in _keys() and OmegaConf.is_list(OmegaConf.select(OmegaConf.structured(Config), key)):
        return f"a list is written in brackets, such as '{key}=[2,3]'."
    return f"""one value is expected. With a comma in it, quote it: '{key}="{values}"'."""


def _parsed(text: str) -> Override:
    try:
        return OverridesParser.create().parse_override(text)
    except HydraException as error:
        key, equals, value = text.partition("=")
        if not equals:
            like = f"ablation={text}" if text.endswith(".yaml") else "train.max_epochs=3"
            raise UserError(f"{text}: settings are written key=value, for example {like}.") from error
        if value[:1] in ("{", "["):
            how = "Close its brackets and quote it: 'source.columns={user_id: user, track_id: song}'"
        else:
            how = f"""Quote it: '{key}="{value}"'"""
        raise UserError(f"{text}: the value cannot be read. {how}") from error


@cache
def _groups() -> set[str]:
    return {path.name for path in config_dir().iterdir() if path.is_dir()}


@cache
def _keys() -> set[str]:
    return set(_dotted(cast(dict[str, Any], OmegaConf.to_container(OmegaConf.structured(Config)))))


def _dotted(tree: dict[str, Any], prefix: str = "") -> list[str]:
    keys = []
    for name, value in tree.items():
        keys.append(f"{prefix}{name}")
        if isinstance(value, dict):
            keys += _dotted(value, f"{prefix}{name}.")
    return keys
