"""The CSV format of the JODIE data sets (Kumar et al., KDD 2019; snap.stanford.edu/jodie).

``user_id,item_id,timestamp,state_label,comma_separated_list_of_features``: one listen a row, in order of time; the
timestamp is in seconds from the start of the log; the features fill several columns, so rows have more fields than the
header. Labels and features are not used.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from fsvae.errors import UserError
from fsvae.logs.formats.csv import fields_of, first_lines, read_csv
from fsvae.logs.source import Chunk
from fsvae.logs.source_config import SourceConfig

_FIELDS = ["user_id", "track_id", "played_at", "state_label"]


def read(path: Path, config: SourceConfig) -> Iterator[Chunk]:
    """Yield the rows of a JODIE file; see `fsvae.schema.RAW_EVENTS` for the fields.

    Raises:
        UserError: the first row has fewer than four fields.
    """
    lines = first_lines(path, 1_000)
    if not lines:
        raise UserError(f"{path}: line 1: expected a header and JODIE rows (user,item,timestamp,label,features).")
    first_row = next(filter(None, lines[1:]), None)
    if first_row is None:
        return
    n_fields = len(fields_of(first_row, ",", f"{path}: line 2: "))
    if n_fields < len(_FIELDS):
        raise UserError(
            f"{path}: line 2: expected at least {len(_FIELDS)} fields (user,item,timestamp,label), found {n_fields}."
        )
    header = [*_FIELDS, *(f"feature_{i}" for i in range(n_fields - len(_FIELDS)))]
    for chunk in read_csv(path, ",", header, keep=_FIELDS[:3]):
        yield Chunk(chunk.rows, chunk.malformed, time_unit="s")
