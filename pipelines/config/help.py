"""The configuration as YAML with the docstring of every dataclass field above its key."""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Collection
from dataclasses import fields, is_dataclass
from typing import Any

import yaml
from omegaconf import OmegaConf


def commented_yaml(config: Any, only: Collection[str] = ()) -> str:
    """Return a (nested) dataclass as YAML with a comment above each key; `only` names the fields, all by default."""
    lines: list[str] = []
    words = field_docstrings(type(config))
    for field in fields(config):
        if only and field.name not in only:
            continue
        value = getattr(config, field.name)
        if is_dataclass(value):
            lines += ["", *_comment(inspect.getdoc(type(value))), f"{field.name}:"]
            lines.append(textwrap.indent(commented_yaml(value).strip("\n"), "  "))
        else:
            lines += _comment(words.get(field.name))
            if isinstance(value, list):
                value = yaml.safe_dump(value, default_flow_style=True, allow_unicode=True)
                lines.append(f"{field.name}: {value}".rstrip("\n"))
            else:
                lines.append(OmegaConf.to_yaml(OmegaConf.create({field.name: value})).rstrip("\n"))
    return "\n".join(lines).lstrip("\n") + "\n"


def field_docstrings(of: type) -> dict[str, str]:
    """Return the docstring below each field of a class or its bases, from the source, as Python does not keep them."""
    words: dict[str, str] = {}
    for base in of.__bases__:
        words |= field_docstrings(base) if is_dataclass(base) else {}
    try:
        source = inspect.getsource(of)
    except OSError:  # made at run time: its fields are groups, described by their classes
        return words
    (body,) = ast.parse(textwrap.dedent(source)).body
    assert isinstance(body, ast.ClassDef)
    for statement, below in zip(body.body, body.body[1:], strict=False):
        if (
            isinstance(statement, ast.AnnAssign)
            and isinstance(statement.target, ast.Name)
            and isinstance(below, ast.Expr)
            and isinstance(below.value, ast.Constant)
        ):
            words[statement.target.id] = inspect.cleandoc(str(below.value.value))
    return words


def _comment(words: str | None) -> list[str]:
    return [f"# {line}" for line in (words or "").splitlines()]
