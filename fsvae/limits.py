"""Limits of configuration fields, written in the field's type (``Annotated[int, Ge(1)]``) and checked by pydantic."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

from annotated_types import Interval

from fsvae.errors import UserError, nearest

if TYPE_CHECKING:
    from pydantic import GetCoreSchemaHandler
    from pydantic_core import CoreSchema, ErrorDetails

T = TypeVar("T")

Size = Annotated[int, Interval(ge=1, le=1_000_000)]
"""Number of units, layers, neighbours, ..."""
Count = Annotated[int, Interval(ge=1, le=10**9)]
"""Number of things that may be many."""
Share = Annotated[float, Interval(ge=0.0, le=1.0)]
Weight = Annotated[float, Interval(ge=0.0, le=1e9)]
HalfLife = Annotated[float, Interval(ge=1e-6, le=1e9)]
Seed = Annotated[int, Interval(ge=0, le=2**31 - 1)]


@dataclass(frozen=True)
class OneOf:
    """The limit that a value is one of some words."""

    words: tuple[str, ...]

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """Return pydantic's check."""
        from pydantic_core import PydanticCustomError, core_schema

        def check(value: str) -> str:
            if "on" in self.words:  # bare on and off are booleans in YAML
                value = {"True": "on", "False": "off"}.get(value, value)
            if value not in self.words:
                hint = f"is not one of {', '.join(self.words)}.{nearest(value, self.words)}"
                raise PydanticCustomError("limit", "{hint}", {"hint": hint})
            return value

        return core_schema.no_info_after_validator_function(check, handler(source))


class Distinct:
    """The limit that a list has at least one value, and none twice."""

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """Return pydantic's check."""
        from pydantic_core import PydanticCustomError, core_schema

        def check(values: list[Any]) -> list[Any]:
            if not values or len(set(values)) < len(values):
                hint = "is not a list of different values, such as [1,2,3]."
                raise PydanticCustomError("limit", "{hint}", {"hint": hint})
            return values

        return core_schema.no_info_after_validator_function(check, handler(source))


def validated(kind: type[T], values: Mapping[str, Any], prefix: str = "") -> T:
    """Return a configuration dataclass made from plain values.

    Args:
        kind: the dataclass; nested ones come as mappings.
        values: a value for each field.
        prefix: prefix of a field's name in a message, such as ``model.``.

    Raises:
        UserError: a value has the wrong type or is outside the limits of its field, or fields do not fit together.
    """
    from pydantic import TypeAdapter, ValidationError

    try:
        return TypeAdapter(kind).validate_python(dict(values))
    except ValidationError as error:
        raise UserError(_message(error.errors(include_url=False)[0], prefix)) from error


def check(config: Any, prefix: str = "") -> None:
    """Check a configuration dataclass that was made in Python, where its fields' limits are not checked.

    Raises:
        UserError: as `validated`.
    """
    validated(type(config), asdict(config), prefix)


def _message(fault: ErrorDetails, prefix: str) -> str:
    key = prefix + ".".join(map(str, fault["loc"]))
    context = fault.get("ctx", {})
    if isinstance(cause := context.get("error"), UserError):
        return str(cause)
    if fault["type"] == "limit":
        return f"{key}={_plain(fault['input'])} {context['hint']}"
    for name, words in (("ge", "less than"), ("gt", "not above"), ("le", "more than"), ("lt", "not below")):
        if name in context:
            return f"{key}={fault['input']} is {words} {context[name]:,}."
    if fault["type"] == "finite_number":
        return f"{key}={fault['input']} is not a finite number."
    return f"config: {key}: {fault['msg']}."


def _plain(value: Any) -> str:
    return str(value).replace(" ", "") if isinstance(value, list) else str(value)
