"""JSON: one object a line, streamed, or the elements of one array in a file that is read as a whole."""

from __future__ import annotations

import codecs
import json
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from fsvae.errors import UserError
from fsvae.logs.formats.streams import READ_ERRORS, check_text, open_bytes

Objects = list[tuple[int, bytes]]
"""(line, JSON text) of some objects; in an array, the line is the number of the element."""

_BLOCK_BYTES = 4 << 20
_MAX_BYTES = 64 << 20
"""Size of the longest line [bytes]; a file with a longer one is of another format."""
_MAX_ARRAY_BYTES = 256 << 20
"""Size of the largest file that is one array and read as a whole [bytes]."""
_ELEMENTS_AT_ONCE = 10_000


def lines_of(stream: BinaryIO, where: str) -> Iterator[Objects]:
    """Yield the lines of a text that are not blank; `where` begins an error message.

    Raises:
        UserError: the file cannot be read or is not text, or a line is longer than any listen.
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
    """Yield the elements of a file that is an array, or that is an object with the array under a key.

    Raises:
        UserError: the file cannot be read, is larger than the limit, or holds no such array.
    """
    try:
        with open_bytes(path) as stream:
            data = stream.read(_MAX_ARRAY_BYTES + 1)
    except READ_ERRORS as error:
        raise UserError(f"{path}: line 1 or after: not readable: {error}") from error
    check_text(data, str(path))
    if len(data) > _MAX_ARRAY_BYTES:
        raise UserError(f"{path}: larger than {_MAX_ARRAY_BYTES >> 20} MiB: cut the array into several files.")
    try:  # bytes that are not UTF-8 become surrogates, which the row checks reject
        whole = json.loads(data.decode("utf-8-sig", errors="surrogateescape"))
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path}: line 1 or after: not readable as JSON, is it whole? {error}") from error
    elements = whole.get(key) if key and isinstance(whole, dict) else whole
    if not isinstance(elements, list):
        expected = f'{{"{key}": [...]}}' if key else "[...]"
        raise UserError(f"{path}: line 1: expected a JSON file {expected}, found {data[:40]!r}.")
    for begin in range(0, len(elements), _ELEMENTS_AT_ONCE):
        some = elements[begin : begin + _ELEMENTS_AT_ONCE]
        yield [(number, json.dumps(element).encode()) for number, element in enumerate(some, begin + 1)]
