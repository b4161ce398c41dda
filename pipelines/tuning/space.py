"""The space of a tuning: its settings, each with the values that it may take, checked like any configuration."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import reduce
from typing import Any

from fsvae.baselines.registry import MODELS
from fsvae.errors import UserError
from pipelines.config.compose import load_config
from pipelines.config.schema import Config
from pipelines.config.tune_config import Span

_DIGITS = 3
"""Significant digits of a number that is tried, so that a command line with it can be read."""


@dataclass(frozen=True)
class Dimension:
    """A setting that is searched."""

    key: str
    span: Span
    """Its values; choices have the type of the setting."""
    present: Any
    """Its value in the first trial."""

    @property
    def whole(self) -> bool:
        """Return whether its values from low to high are whole numbers."""
        return type(self.present) is int

    def tried(self, drawn: Any) -> Any:
        """Return the value that is tried for a drawn one: a number is rounded, but for the present one."""
        if self.span.choices or self.whole or drawn == self.present:
            return drawn
        low, high = self.ends
        return min(max(float(f"{drawn:.{_DIGITS}g}"), low), high)

    @property
    def ends(self) -> tuple[float, float]:
        """Return its least and its greatest value, where it has no choices."""
        assert self.span.low is not None and self.span.high is not None, "checked by space_of"
        return self.span.low, self.span.high

    def said(self) -> str:
        """Return its values in words."""
        if self.span.choices:
            return ", ".join(map(text_of, self.span.choices))
        low, high = (text_of(int(end) if self.whole else end) for end in self.ends)
        return f"{low} to {high}{', by factors' if self.span.log else ''}"


def text_of(value: Any) -> str:
    """Return a value as it is typed behind a command."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def settings_of(values: dict[str, Any]) -> list[str]:
    """Return values by key as the settings behind a command."""
    return [f"{key}={text_of(value)}" for key, value in values.items()]


def space_of(config: Config, settings: Sequence[str], where: str) -> list[Dimension]:
    """Return the space of a configuration's tuning.

    Args:
        config: the configuration.
        settings: settings that it is made of, to which those of a trial are appended.
        where: beginning of a message, such as ``tune=fsvae``.

    Raises:
        UserError: there is no setting to search, a span is none, a value of it is refused, the model does not read the
            setting, or its present value is outside its span.
    """
    if not config.tune.space:
        raise UserError(f"{where}: a tuning needs a space: settings, each with low and high, or with choices.")
    return [
        _dimension(key, span, config, settings, f"{where}, space of {key}") for key, span in config.tune.space.items()
    ]


def _dimension(key: str, span: Span, config: Config, settings: Sequence[str], where: str) -> Dimension:
    if (span.low is None or span.high is None) != bool(span.choices) or (span.low is None) != (span.high is None):
        raise UserError(f"{where}: low and high are expected, or choices.")
    ends = [_whole(end) for end in (span.low, span.high) if end is not None]
    try:
        typed = [value_of(load_config([*settings, *settings_of({key: value})]), key) for value in span.choices or ends]
        present = value_of(config, key)
    except UserError as error:
        raise UserError(f"{where}: {error}") from error
    _check_read(key, config, where)
    if span.choices:
        if len(set(typed)) < max(len(typed), 2):
            raise UserError(f"{where}: choices={text_of_all(span.choices)}: two or more different ones are expected.")
        span = replace(span, choices=typed, log=False)
    else:
        _check_ends(span, present, where)
    found = Dimension(key, span, present)
    if present not in span.choices if span.choices else not found.ends[0] <= present <= found.ends[1]:
        raise UserError(
            f"{where}: the first trial is the present settings, and {text_of(present)} is not within {found.said()}. "
            f"Widen it, or set {key}."
        )
    return found


def value_of(config: Config, key: str) -> Any:
    """Return the value of a key.

    Raises:
        UserError: it is a group or a list, not one value.
    """
    value = reduce(getattr, key.split("."), config)
    if not isinstance(value, bool | int | float | str):
        raise UserError(f"{key} is not one number or word.")
    return value


def text_of_all(values: Sequence[Any]) -> str:
    """Return values as a list is typed."""
    return f"[{','.join(map(text_of, values))}]"


def _whole(end: float) -> float:
    return int(end) if end == int(end) else end


def _check_ends(span: Span, present: Any, where: str) -> None:
    assert span.low is not None and span.high is not None
    if isinstance(present, bool | str):
        raise UserError(f"{where}: it is not a number: choices are expected.")
    if span.low >= span.high:
        raise UserError(f"{where}: low={span.low:g} is not below high={span.high:g}.")
    if span.log and span.low <= 0:
        raise UserError(f"{where}: log=true needs low above 0, not {span.low:g}.")


def _check_read(key: str, config: Config, where: str) -> None:
    """Refuse a setting that the model does not read."""
    recommender = config.recommender
    read = ["model." if recommender == "fsvae" else f"baselines.{recommender}."]
    if MODELS[recommender].neural:
        read.append("train.")
    if not key.startswith(tuple(read)):
        raise UserError(
            f"{where}: recommender={recommender} does not read it, or it is none of a model. "
            f"Here can be searched: {', '.join(f'{group}…' for group in read)}"
        )
