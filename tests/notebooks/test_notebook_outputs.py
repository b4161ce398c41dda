"""What the notebooks put under their cells."""

from __future__ import annotations

from typing import Any

import notebook_helpers
import numpy as np
import pytest
from IPython.display import Image, Markdown
from notebook_helpers import heard_last, show

from fsvae.data.dataset import Dataset
from pipelines.reports.latent.latent_page import Section
from pipelines.reports.plot import Plot
from pipelines.runtime.table import Table


@pytest.fixture
def under(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What is put under the cell."""
    found: list[Any] = []
    monkeypatch.setattr(notebook_helpers, "display", lambda *parts: found.extend(parts))
    return found


def test_a_table_is_markdown_in_which_names_stay_as_they_are(under: list[Any]) -> None:
    rows = [("A|B", "1", "*x*"), ("$5", "2", "y_z")]
    show(Table("Tracks", ("track", "plays", "artist"), rows, note="of all", texts=(2,)))
    assert under[0].data.splitlines() == [
        "**Tracks.** Of all.",
        "",
        "| track | plays | artist |",
        "| :--- | ---: | :--- |",
        r"| A\|B | 1 | \*x\* |",
        r"| \$5 | 2 | y\_z |",
    ]


def test_a_section_is_its_text_its_plots_with_captions_and_its_tables(under: list[Any]) -> None:
    plot = Plot("A plot", "Of nothing.", lambda axes: None)
    show("# Words", Section("Left out", "A text.", [plot], [Table("T", ("a",), [])]))
    assert [type(part) for part in under] == [Markdown, Markdown, Markdown, Image, Markdown]
    assert [part.data for part in under[:3]] == ["# Words", "A text.", "**A plot.** Of nothing."]


def test_what_was_heard_last_is_in_order_of_time(small_dataset: Dataset) -> None:
    user = int(np.bincount(small_dataset.listens.user).argmax())
    table = heard_last(small_dataset, small_dataset.user_ids[user], 3)
    last = small_dataset.listens.offsets[user + 1] - 1
    title = small_dataset.tracks["title"][int(small_dataset.listens.track[last])]
    assert len(table.rows) == 3 and table.rows[-1][1].startswith(f"{title} · ")
    assert [row[0] for row in table.rows] == sorted(row[0] for row in table.rows)
