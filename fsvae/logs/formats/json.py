"""Streaming JSON: one object a line, or the elements of one array."""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np

from fsvae.errors import UserError
from fsvae.logs.formats.streams import READ_ERRORS, check_text, open_bytes

Objects = list[tuple[int, bytes]]
"""(line, JSON text) of some objects; of an array, lines are elements."""

_BLOCK_BYTES = 4 << 20
_MAX_BYTES = 64 << 20
"""Longest line or element; a longer one is a file of another kind."""

_STRUCTURE = np.zeros(256, dtype=np.bool_)
_STRUCTURE[list(b'"{}[],')] = True
_STEP = np.zeros(256, dtype=np.int64)
_STEP[list(b"{[")] = 1
_STEP[list(b"}]")] = -1


def lines_of(stream: BinaryIO, where: str) -> Iterator[Objects]:
    """Yield the lines of a text that are not blank; `where` begins the message of an error.

    Raises:
        UserError: the text cannot be read or is none, or a line is longer than any listen.
    """
    number, rest = 1, b""
    try:
        while block := stream.read(_BLOCK_BYTES):
            if number == 1 and not rest:
                check_text(block, where)
            *whole, rest = (rest + block).split(b"\n")
            yield _filled(number, whole)
            number += len(whole)
            if len(rest) > _MAX_BYTES:
                raise UserError(f"{where}: line {number}: longer than {_MAX_BYTES >> 20} MiB: these are no JSON lines.")
        yield _filled(number, [rest])
    except READ_ERRORS as error:
        raise UserError(f"{where}: line {number} or after: not readable: {error}") from error


def _filled(first: int, lines: list[bytes]) -> Objects:
    if first == 1 and lines:
        lines[0] = lines[0].removeprefix(codecs.BOM_UTF8)
    return [(number, stripped) for number, line in enumerate(lines, first) if (stripped := line.strip())]


def elements_of(path: Path, key: str = "") -> Iterator[Objects]:
    """Yield the elements of the array that a file is, or that stands under a key of the object that it is.

    Raises:
        UserError: the file cannot be read, holds no such array, or ends inside it.
    """
    expected = f'{{"{key}": [...]}}' if key else "[...]"
    number, inside, rest = 1, False, b""
    begin = re.compile(rb'\s*\{.*?"' + key.encode() + rb'"\s*:\s*\[' if key else rb"(?:\xef\xbb\xbf)?\s*\[", re.DOTALL)
    try:
        with open_bytes(path) as stream:
            while block := stream.read(_BLOCK_BYTES):
                rest += block
                if not inside:
                    if (match := begin.match(rest)) is None:
                        if len(rest) < _BLOCK_BYTES:
                            continue
                        break
                    inside, rest = True, rest[match.end() :]
                found, rest, ended = _split(rest)
                yield [(line, text) for line, text in enumerate(found, number) if text]
                number += len(found)
                if ended:
                    return
                if len(rest) > _MAX_BYTES:
                    raise UserError(
                        f"{path}: element {number}: longer than {_MAX_BYTES >> 20} MiB, or a quote is not closed."
                    )
    except READ_ERRORS as error:
        raise UserError(f"{path}: element {number} or after: not readable: {error}") from error
    if inside:
        raise UserError(f"{path}: element {number}: the file ends inside the array; is it whole?")
    check_text(rest, str(path))
    raise UserError(f"{path}: line 1: expected a JSON file {expected}, found {rest[:40]!r}.")


def _split(data: bytes) -> tuple[list[bytes], bytes, bool]:
    """Return the whole elements at the beginning of the inside of an array, the rest, and whether the array ended."""
    content = np.frombuffer(data, dtype=np.uint8)
    at = np.flatnonzero(_STRUCTURE[content])
    kind = content[at]
    quote = kind == ord('"')
    for place in np.flatnonzero(quote & (content[at - 1] == ord("\\"))).tolist():
        quote[place] = not _is_escaped(data, int(at[place]))
    outside = (np.cumsum(quote) % 2 == 0) & (kind != ord('"'))
    at, kind = at[outside], kind[outside]
    depth = np.cumsum(_STEP[kind])
    ends = np.flatnonzero(depth < 0)
    if len(ends):
        at, kind, depth = at[: ends[0] + 1], kind[: ends[0] + 1], depth[: ends[0] + 1]
    cuts = at[(depth == 0) & (kind == ord(",")) | (depth < 0)]
    starts = np.append(0, cuts + 1)
    found = [data[a:b].strip() for a, b in zip(starts.tolist(), cuts.tolist(), strict=False)]
    return found, data[starts[-1] :], bool(len(ends))


def _is_escaped(data: bytes, at: int) -> bool:
    """Return whether an odd number of backslashes stands before a place."""
    before = data[max(0, at - 64) : at]
    run = len(before) - len(before.rstrip(b"\\"))
    if run == 64:
        run = at - len(data[:at].rstrip(b"\\"))
    return run % 2 == 1
