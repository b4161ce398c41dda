"""JSON objects → columns of text, thousands at a time."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from typing import Any

import polars as pl
from polars.datatypes import DataType, DataTypeClass

from fsvae.logs.formats.json import Objects
from fsvae.logs.source import Malformed

_ONE_LINE = bytes.maketrans(b"\r\n", b"  ")


def rows_of(objects: Objects, paths: dict[str, str], each: str = "") -> tuple[pl.DataFrame, list[Malformed]]:
    """Return fields of objects as text with their `line`, and the malformed objects.

    Numbers, true and false become text; absent fields are null. An object is malformed if it is not JSON or not an
    object, or has an object or a list where a single value should be.

    Args:
        objects: JSON texts.
        paths: field → its path: keys joined by dots; with ``[0]`` at the end, the first of a list.
        each: key of a list of objects that are a row each; paths to their fields begin with it.
    """
    types = _types(paths, each)
    malformed: list[Malformed] = []
    frames = [_empty(paths)]
    for part, frame in _parsed(objects, pl.Schema(types), malformed):
        frame = frame.with_columns(pl.Series("line", [line for line, _ in part], dtype=pl.Int64), index=pl.row_index())
        # Polars gives null for anything but a list here.
        suspects = set(frame.filter(pl.col(each).is_null())["index"]) if each else set()
        rows = frame.filter(pl.col(each).list.len() > 0).explode(each) if each else frame
        rows = rows.select("line", *(_at(path).alias(field) for field, path in paths.items()), "index")
        suspects |= set(rows.filter(_suspect(list(paths)))["index"])
        wrong = {index: why for index in suspects if (why := _fault(part[index][1], types))}
        malformed += [_malformed(part[index], why) for index, why in wrong.items()]
        frames.append(rows.filter(~pl.col("index").is_in(list(wrong))).drop("index"))
    return pl.concat(frames), sorted(malformed)


def _types(paths: dict[str, str], each: str) -> dict[str, DataType | DataTypeClass]:
    tree: dict[str, Any] = {}
    for path in paths.values():
        *parents, last = path.split(".")
        node = tree
        for key in parents:
            node = node.setdefault(key, {})
        node[last.removesuffix("[0]")] = pl.List(pl.String()) if last.endswith("[0]") else pl.String()

    def typed(node: Any) -> DataType | DataTypeClass:
        return pl.Struct({key: typed(value) for key, value in node.items()}) if isinstance(node, dict) else node

    return {key: pl.List(typed(node)) if key == each else typed(node) for key, node in tree.items()}


def _empty(paths: dict[str, str]) -> pl.DataFrame:
    return pl.DataFrame(schema={"line": pl.Int64} | dict.fromkeys(paths, pl.String))


def _at(path: str) -> pl.Expr:
    first, *keys = path.removesuffix("[0]").split(".")
    value = pl.col(first)
    for key in keys:
        value = value.struct.field(key)
    return value.list.first() if path.endswith("[0]") else value


def _suspect(fields: list[str]) -> pl.Expr:
    """Return which rows may be malformed.

    Polars gives nested values as JSON text, half of a surrogate pair as NUL, and nulls for anything but an object.
    """
    odd = [pl.col(field).str.contains(r"^[\[{]|\x00").fill_null(False) for field in fields]
    return pl.any_horizontal(odd) | pl.all_horizontal(pl.col(field).is_null() for field in fields)


def _parsed(objects: Objects, schema: pl.Schema, malformed: list[Malformed]) -> Iterator[tuple[Objects, pl.DataFrame]]:
    """Yield (objects, their rows); objects that cannot be parsed are added to `malformed`."""
    if not objects:
        return
    text = b"\n".join(text.translate(_ONE_LINE) for _, text in objects)
    try:
        frame = pl.read_ndjson(io.BytesIO(text), schema=schema, ignore_errors=True)
    except pl.exceptions.PolarsError:  # a single bad object fails the whole call
        frame = None
    if frame is not None and len(frame) == len(objects):
        yield objects, frame
        return
    faults = [_fault(text, {}) for _, text in objects]
    malformed += [_malformed(one, why) for one, why in zip(objects, faults, strict=True) if why]
    rest = [one for one, why in zip(objects, faults, strict=True) if not why]
    if len(rest) < len(objects):
        yield from _parsed(rest, schema, malformed)
    elif len(rest) == 1:  # polars is more exact than Python's parser, for example with 1e999
        why = _fault(rest[0][1], dict(schema)) or "JSON with a number too big to be read, or too deep"
        malformed.append(_malformed(rest[0], why))
    else:
        for half in (rest[: len(rest) // 2], rest[len(rest) // 2 :]):
            yield from _parsed(half, schema, malformed)


def _malformed(one: tuple[int, bytes], why: str) -> Malformed:
    return Malformed(one[0], one[1].decode(errors="backslashreplace"), why)


def _fault(text: bytes, types: dict[str, DataType | DataTypeClass]) -> str:
    """Return what is wrong with an object, or an empty string."""
    try:
        value = json.loads(text, parse_constant=_no_constant)
    except (ValueError, RecursionError):
        return "not JSON"
    if not isinstance(value, dict):
        return "not a JSON object"
    return next((fault for key, kind in types.items() if (fault := _misfit(value.get(key), kind, key))), "")


def _misfit(value: Any, kind: DataType | DataTypeClass, key: str) -> str:
    if value is None:
        return ""
    if isinstance(kind, pl.Struct):
        if not isinstance(value, dict):
            return f"{key}: not an object"
        inner = ((value.get(field.name), field.dtype, f"{key}.{field.name}") for field in kind.fields)
        return next((fault for item, of, name in inner if (fault := _misfit(item, of, name))), "")
    if isinstance(kind, pl.List):
        if not isinstance(value, list):
            return f"{key}: not a list"
        return next((fault for item in value if (fault := _misfit(item, kind.inner, f"{key}[]"))), "")
    if isinstance(value, dict | list):
        return f"{key}: not a single value"
    if isinstance(value, str) and any("\ud800" <= character <= "\udfff" for character in value):
        return f"{key}: not valid Unicode text"
    return ""


def _no_constant(name: str) -> None:
    raise ValueError(name)
