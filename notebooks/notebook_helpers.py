"""What the notebooks share: a small simulated log with a model of it, and reports as text and pictures under a cell."""

from __future__ import annotations

import re
import warnings

from IPython.display import Image, Markdown, display

from fsvae.data.dataset import Dataset
from fsvae.features.clock import utc_text
from pipelines.config.compose import load_config
from pipelines.ingest.ingest import ingest
from pipelines.lifecycle.train import Run, is_trained, open_run, run_name, train
from pipelines.prepare.datasets import open_in_use
from pipelines.prepare.prepare import prepare
from pipelines.reports.latent.compute import track_labels
from pipelines.reports.latent.latent_page import Section
from pipelines.reports.plot import Plot
from pipelines.reports.words import count
from pipelines.runtime.table import Table
from pipelines.runtime.watch import Summary
from pipelines.simulation.simulate import simulate
from pipelines.workspace import Workspace

# MLflow's progress bars would ask for the widgets of a notebook, which nothing here has a use for.
warnings.filterwarnings("ignore", message="IProgress not found")

SMALL = (
    "simulate.users=80",
    "simulate.tracks=280",
    "simulate.artists=40",
    "simulate.genres=6",
    "dataset.min_count=2",
    "dataset.track2vec.epochs=5",
    "model.history=16",
    "model.slow_hidden=64",
    "model.slow_dim=32",
    "model.fast_hidden=48",
    "model.fast_layers=1",
    "model.latent_dim=16",
    "model.decoder_hidden=64",
    "train.batch_listens=512",
    "train.max_epochs=3",
    "engine.workers=1",
)
"""Settings with which everything takes seconds; what the models learn is too little to judge them by."""


def small_workspace(workdir: str, *overrides: str) -> Workspace:
    """Return a working folder with SMALL settings, and others behind them."""
    return Workspace(load_config([*SMALL, f"workdir={workdir}", *overrides]))


def trained(workspace: Workspace) -> tuple[Run, Dataset]:
    """Simulate, ingest, prepare and train, as far as it is not done, and say what there is now."""
    config = workspace.config
    simulate(config.simulate, workspace.raw)
    ingest(workspace.lake(), config.source)
    dataset = open_in_use(prepare(workspace.lake(), config.dataset, config.seed, workspace.datasets).folder)
    what = (dataset, config.model, config.train, config.seed)
    if is_trained(*what, workspace.runs):  # without MLflow, which takes seconds to open
        run = open_run(workspace.runs, run_name(*what))
    else:
        run = train(*what, workspace.runs, workspace.tracker, lambda epoch, metrics: None, show_progress=False)
    counts = dataset.manifest["counts"]
    cuts = [utc_text(dataset.period(name)[0], "%d %b %H:%M") for name in ("validation", "test")]
    then = f", then {run.refit_epochs} on those before {cuts[1]}" if run.refit_epochs else ""
    show(
        f"{count(counts['listens'], 'listen')} of {count(counts['users'], 'user')}, {counts['catalogue']:,} of "
        f"{count(counts['tracks'], 'track')} in the catalogue; trained for {count(run.epochs, 'epoch')} on the listens "
        f"before {cuts[0]}{then}, tested on those from {cuts[1]} on (UTC)."
    )
    return run, dataset


def heard_last(dataset: Dataset, user_id: str, number: int) -> Table:
    """Return the last listens of a user, the latest one last."""
    end = dataset.listens.offsets[dataset.user_ids.index(user_id) + 1]
    labels = track_labels(dataset.tracks)
    rows = [
        (utc_text(played_at), labels[track])
        for track, played_at in zip(
            dataset.listens.track[end - number : end], dataset.listens.played_at[end - number : end], strict=True
        )
    ]
    return Table(f"What {user_id} heard last", ("when (UTC)", "track"), rows, texts=(1,))


def show(*parts: str | Plot | Table | Section | Summary) -> None:
    """Put text (Markdown), plots, tables, whole sections of reports and what a verb did under the cell."""
    for part in parts:
        match part:
            case Plot():
                display(Markdown(f"**{_plain(part.title)}.** {_plain(part.caption)}"), Image(part.png()))
            case Table():
                display(Markdown(_markdown(part)))
            case Section():
                show(_plain(part.text), *part.plots, *part.tables)
            case Summary():
                show(*part.tables(), *map(_plain, part.lines()))
            case _:
                display(Markdown(part))


def _markdown(table: Table) -> str:
    note = f" {_plain(_begun(table.note))}." if table.note else ""
    marks = [":---" if place == 0 or place in table.texts else "---:" for place in range(len(table.headings))]
    rows = [table.headings, marks, *([_plain(cell) for cell in row] for row in table.rows)]
    return "\n".join(
        [
            f"**{_plain(table.title[:1].upper() + table.title[1:])}.**{note}",
            "",
            *(f"| {' | '.join(row)} |" for row in rows),
        ]
    )


def _begun(text: str) -> str:
    """Return a text as a sentence begins."""
    return text[:1].upper() + text[1:]


def _plain(text: str) -> str:
    """Return a text with what Markdown would make something of escaped."""
    return re.sub(r"([\\`*_|<>$\[\]#])", r"\\\1", text)
