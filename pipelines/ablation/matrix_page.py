"""The report of a matrix: one HTML page, a Markdown table, and the whole comparison as Parquet."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from fsvae.evaluation.metrics_table import LIVE, learned_from
from fsvae.features.clock import utc_text
from fsvae.storage import Folder
from pipelines.ablation.findings import findings, latent_findings, notes
from pipelines.ablation.matrix_plots import plots
from pipelines.ablation.matrix_results import MatrixResults
from pipelines.ablation.matrix_tables import effort_table, figure_tables, markdown, settings_table
from pipelines.reports.page import page

REPORT = "report.html"


def write_report(results: MatrixResults) -> Path:
    """Write `report.html`, `report.md` and `comparison.parquet` into the folder of the matrix; return the page."""
    folder = Folder.at(results.folder)
    with folder.writing("comparison.parquet") as file:
        results.table.write_parquet(file)
    folder.write("report.md", _markdown(results).encode())
    folder.write(REPORT, _html(results).encode())
    return results.folder / REPORT


def _html(results: MatrixResults) -> str:
    return page(
        "ablation.html",
        results.record["title"] or f"Ablation {results.record['name']}",
        record=results.record,
        about=_about(results),
        headline=_headline(results),
        notes=notes(results),
        findings=[*findings(results), *latent_findings(results)],
        tables=figure_tables(results),
        plots=plots(results),
        below=[settings_table(results), effort_table(results)],
    )


def _markdown(results: MatrixResults) -> str:
    lines = [f"## {results.record['title'] or results.record['name']}", ""]
    lines += [f"`{results.record['command']}` (commit {results.record['git_commit'][:12]}, {results.record['at']})", ""]
    lines += [_about(results), ""]
    lines += [f"* {finding}" for finding in [*notes(results), *findings(results), *latent_findings(results)]]
    return "\n".join([*lines, "", markdown(results)])


def _about(results: MatrixResults) -> str:
    """Return the description of the targets and the dataset that the figures are over."""
    dataset, manifest = results.dataset, results.dataset.manifest
    period = results.record["period"]
    begin, end = dataset.period(period)
    last = int(dataset.listens.played_at.max())
    return (
        f"Dataset {dataset.fingerprint}: {len(dataset.listens):,} listens of {len(dataset.user_ids):,} users, a "
        f"catalogue of {dataset.n_catalogue:,} tracks (at least {manifest['config']['min_count']} training listens). "
        f"Every listen of the {period} period is a target, from {utc_text(begin)} to {utc_text(min(end, last))} (UTC). "
        + " ".join([_learned(results), *([f"Live: {LIVE}."] if len(results.evaluations) > len(results.trials) else [])])
    )


def _learned(results: MatrixResults) -> str:
    """Return what the models have learned from."""
    by = {
        refit: [variant["name"] for variant in results.record["variants"] if variant.get("refit", False) == refit]
        for refit in (True, False)
    }
    if by[True] and by[False]:
        told = [f"from {learned_from(refit)}: {', '.join(names)}" for refit, names in by.items()]
        return f"Learned {'; '.join(told)}."
    return f"All models have learned from {learned_from(bool(by[True]))}."


def _headline(results: MatrixResults) -> list[tuple[str, str]]:
    result = results.evaluations[results.reference][0]
    users = len(np.unique(results.dataset.listens.user[result.targets]))
    return [
        (f"{len(result.targets):,}", f"{results.record['period']} targets"),
        (f"{int(result.in_catalogue.sum()):,}", "of them in the catalogue"),
        (f"{users:,}", "users with a target"),
        (f"{result.n_candidates:,}", "tracks to choose from"),
        (f"{len(results.trials):,}", "variants"),
        (f"{len(results.trials[results.reference]):,}", "seeds of the reference"),
    ]
