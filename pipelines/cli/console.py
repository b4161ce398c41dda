"""The verbs as a person sees them: each runs one with its progress and says what came of it."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from itertools import groupby
from pathlib import Path

from rich.box import SIMPLE_HEAD
from rich.columns import Columns
from rich.console import Console, Group
from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from fsvae.data.dataset import PreparedDataset, current_dataset, find_dataset
from fsvae.evaluation.metrics_table import COLUMNS, best_models, caption, over_all
from fsvae.evaluation.result import EvaluationResult
from fsvae.features.clock import utc_text
from fsvae.storage import Folder
from pipelines.ingest.ingest import ingest
from pipelines.lifecycle.evaluate import evaluate_run
from pipelines.lifecycle.promote import Verdict, promote
from pipelines.lifecycle.train import Run, is_trained, train
from pipelines.prepare.prepare import prepare
from pipelines.reports.describe.describe_dataset import describe_dataset
from pipelines.reports.describe.describe_lake import describe_lake
from pipelines.reports.describe.log_tables import tables
from pipelines.reports.page import Table as Figures
from pipelines.reports.words import count
from pipelines.runtime.engine import engine_of
from pipelines.simulation.simulate import simulate
from pipelines.workspace import Workspace

console = Console()
if not console.is_terminal:  # a log file has no width: keep tables and paths in one piece
    console = Console(width=160)


def _progress() -> Progress:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f} %"),
        TimeElapsedColumn(),
    )
    return Progress(*columns, console=console, transient=True, disable=not console.is_terminal)


def run_simulate(workspace: Workspace) -> None:
    """Write the simulated log to the folder that `fsvae ingest` reads by default."""
    summary = simulate(workspace.config.simulate, workspace.raw)
    console.print(
        f"[bold]simulate[/]  {count(summary.listens, 'listen')}, {count(summary.skips, 'skip')}, "
        f"{summary.likes + summary.saves:,} likes and saves on {count(summary.files, 'day')} → {workspace.raw}"
    )


def run_ingest(workspace: Workspace) -> None:
    """Take in the logs of the source and say where every row went."""
    began = time.perf_counter()
    lake = workspace.lake()
    with _progress() as bar:
        task = bar.add_task("ingest", total=None)
        summary = ingest(lake, workspace.config.source, lambda done, of: bar.update(task, completed=done, total=of))
    counts = summary.counts
    console.print(
        f"[bold]ingest[/]    {count(counts.rows_in, 'row')} in = {counts.taken:,} taken + "
        f"{counts.rejected:,} rejected + {count(counts.duplicates, 'duplicate')}, "
        f"{count(len(summary.days), 'day')} touched, "
        f"{time.perf_counter() - began:.1f} s → {lake.root}"
    )
    if summary.known_files:
        console.print(
            f"          {summary.known_files} of {count(summary.files, 'file')} had gone in before "
            "and were not read again"
        )
    today = datetime.now(UTC).strftime("%Y-%m-%d")
    if ahead := [day for day in summary.days if day > today]:
        console.print(
            f"          {count(len(ahead), 'day')} from {ahead[0]} to {ahead[-1]} lie in the future: are "
            "source.time_unit and source.origin right?"
        )
    for reason, rows in sorted(counts.reasons.items()):
        console.print(f"          rejected {count(rows, 'row')}, {reason} (kept in {lake.root / 'rejects'})")


def run_prepare(workspace: Workspace) -> Folder:
    """Make the prepared dataset and say what is in it, which its manifest tells: nothing else is read."""
    began = time.perf_counter()
    stages: set[str] = set()
    with _progress() as bar, engine_of(workspace.config.engine) as engine:
        task = bar.add_task("prepare", total=1.0)

        def progress(stage: str, share: float) -> None:
            stages.add(stage)
            bar.update(task, completed=share, description=f"prepare: {stage}")

        config = workspace.config
        folder = prepare(workspace.lake(), config.dataset, config.seed, workspace.datasets, progress, engine)
    manifest = folder.read_json("manifest.json")
    counts = manifest["counts"]
    cuts = [utc_text(manifest[key]) for key in ("train_until_us", "validation_until_us")]
    console.print(
        f"[bold]prepare[/]   {count(counts['listens'], 'listen')} of {count(counts['users'], 'user')}; "
        f"{counts['catalogue']:,} of {count(counts['tracks'], 'track')} in the catalogue; "
        f"{count(counts['snapshots'], 'slow snapshot')}, "
        + ("prepared before" if stages == {"done"} else f"{time.perf_counter() - began:.1f} s")
        + f" → {folder}"
    )
    console.print(f"          train until {cuts[0]}, validation until {cuts[1]}, test after (UTC)")
    space = manifest["track_space"]
    imputed = sum(number for origin, number in space["origins"].items() if origin not in ("trained", "none"))
    if imputed:
        console.print(
            f"          {imputed:,} tracks outside the catalogue have a vector imputed from album, artist or audio"
        )
    if drift := space["drift"]:
        console.print(
            f"          goes on from the track space of {manifest['continues']}: {drift['shared']:,} shared "
            f"tracks drifted by {drift['mean_after']:.3f} (cosine distance), {drift['neighbour_overlap']:.0%} of their "
            "nearest neighbours are the same"
        )
    return folder


def run_train(workspace: Workspace, dataset: PreparedDataset) -> Run:
    """Train, or go on with, the configured model and say how it went, epoch by epoch."""
    config = workspace.config
    began = time.perf_counter()

    def on_epoch(epoch: int, metrics: dict[str, float]) -> None:
        console.print(
            f"          epoch {epoch:>2}  val/l2 {metrics['val/l2']:.4f}  val/cosine {metrics['val/cosine']:.4f}  "
            f"KL {metrics['val/kl']:.1f} nats  {time.perf_counter() - began:.0f} s"
        )

    what = (dataset, config.model, config.train, config.seed, workspace.runs)
    console.print("[bold]train[/]" + ("     trained before" if is_trained(*what) else ""))
    run = train(
        *what,
        workspace.tracker,
        on_epoch,
        show_progress=console.is_terminal,
        on_resume=lambda epoch: console.print(f"          goes on from epoch {epoch}"),
    )
    console.print(
        f"          {count(run.epochs, 'epoch')}; registered as {config.tracking.model} version {run.version} "
        f"→ {run.bundle}"
    )
    return run


def say_what_serves(workspace: Workspace, run: Run) -> None:
    """Say which version is served, where it is not the one of a run, and how that comes to be."""
    champion = workspace.tracker.champion()
    if champion != run.version:
        here = workspace.override
        console.print(
            f"          version {run.version} is a challenger; version {champion} serves until: "
            f"fsvae evaluate{here} && fsvae promote{here}"
        )


def run_evaluate(workspace: Workspace, run: Run, dataset: PreparedDataset) -> list[EvaluationResult]:
    """Compare a run with the baselines and print the table."""
    out = run.folder / "evaluation" / workspace.config.evaluate.period
    again = (out / "metrics.json").exists()
    config = workspace.config
    results = evaluate_run(run, dataset, config.evaluate, workspace.tracker, config.baselines.aggregate_sequence)
    table = Table(title=f"next-track prediction, {workspace.config.evaluate.period} period", title_justify="left")
    table.add_column("model")
    for heading in COLUMNS.values():
        table.add_column(heading, justify="right")
    best = best_models(results)
    for result in results:
        metrics = result.metrics()
        cells = [
            f"[bold green]{metrics[name]:.3f}[/]" if result.model in best[name] else f"{metrics[name]:.3f}"
            for name in COLUMNS
        ]
        table.add_row(result.model, *cells)
    console.print(table)
    console.print(caption(results, dataset.manifest["config"]["min_count"]))
    console.print(
        f"[bold]evaluate[/]  table, picture and every position{', as evaluated before' if again else ''} → {out}"
    )
    return results


def run_promote(workspace: Workspace, version: int, dataset: PreparedDataset) -> Verdict:
    """Make a version the champion if it is better on the same positions."""
    config = workspace.config.promote
    verdict = promote(workspace.tracker, version, dataset, config)
    if verdict.challenger == verdict.champion:
        console.print(f"[bold]promote[/]   version {verdict.champion} is the champion already")
    else:
        console.print(
            f"[bold]promote[/]   {over_all(config.metric)}: challenger version {verdict.challenger} "
            f"{verdict.challenger_value:.4f}, "
            f"champion version {verdict.champion} {verdict.champion_value:.4f} → "
            + ("the challenger is the new champion" if verdict.promoted else "the champion stays")
        )
    return verdict


def list_runs(workspace: Workspace) -> None:
    """Print a table of all versions of the registered model."""
    metric = workspace.config.promote.metric
    table = Table(title=f"model {workspace.config.tracking.model}", title_justify="left")
    for heading in ("version", "alias", "run", "registered (UTC)", f"{over_all(metric)}, test", "val/l2 at the end"):
        table.add_column(heading)
    for version in workspace.tracker.versions():
        figures = [version.metrics.get(name) for name in (f"test/{metric}_all", "val/l2")]
        table.add_row(
            str(version.number),
            ", ".join(version.aliases),
            version.run,
            version.registered_at.strftime("%Y-%m-%d %H:%M"),
            *("" if figure is None else f"{figure:.4f}" for figure in figures),
        )
    console.print(table)


def run_describe(workspace: Workspace, what: str, out: Path | None) -> None:
    """Print what is in the lake or in the newest dataset, by default in both, and write it as an HTML page."""
    from pipelines.reports.describe.log_page import html  # matplotlib takes a second to import, and all verbs are here

    found = []
    with _progress() as bar:
        task = bar.add_task("describe", total=None)

        def done(done: int, of: int) -> None:
            bar.update(task, completed=done, total=of)

        if what != "dataset":
            found.append(describe_lake(workspace.lake(), done))
        if what == "dataset" or (not what and current_dataset(workspace.datasets)):
            found.append(describe_dataset(*find_dataset(workspace.datasets), done))
        page = html(found)
    out = out or workspace.root / "report" / f"{what or 'lake'}.html"
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(page, encoding="utf-8")
    for description in found:
        console.rule(f"[bold]{description.what}[/]  {escape(description.where)}", align="left")
        # Tables of a name and a figure are narrow and stand side by side.
        for narrow, group in groupby(tables(description), key=lambda figures: len(figures.headings) == 2):
            shown = [_rich(figures) for figures in group]
            console.print(Columns(shown, padding=(0, 4)) if narrow else Group(*shown))
    console.print(f"[bold]describe[/]  the same with plots → {out}")


def run_latent(workspace: Workspace, run: Run, dataset: PreparedDataset, user_ids: list[str], out: Path | None) -> None:
    """Look at the latent space of a run, say what is most important and write all of it as an HTML page."""
    from fsvae.bundle import load_bundle  # as above
    from pipelines.reports.latent.compute import latent_figures
    from pipelines.reports.latent.latent_page import html, summary

    with _progress() as bar:
        task = bar.add_task("latent", total=1.0)
        what = latent_figures(
            run.folder.name,
            load_bundle(run.bundle),
            dataset,
            user_ids,
            workspace.config.seed,
            lambda stage, share: bar.update(task, completed=share, description=f"latent: {stage}"),
        )
    out = out or workspace.root / "report" / "latent.html"
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(html(what), encoding="utf-8")
    first, *others = summary(what)
    console.print(f"[bold]latent[/]    {escape(first)}", highlight=False)
    for line in others:
        console.print(f"          {escape(line)}", highlight=False)
    console.print(f"          maps, drift, dimensions and surprises → {out}")


def _rich(figures: Figures) -> Table:
    table = Table(title=escape(figures.title), title_justify="left", box=SIMPLE_HEAD, show_header=any(figures.headings))
    table.caption, table.caption_justify = escape(figures.note), "left"
    for place, heading in enumerate(figures.headings):
        table.add_column(escape(heading), justify="right" if place else "left", overflow="fold")
    for row in figures.rows:
        table.add_row(*map(escape, row))
    return table
