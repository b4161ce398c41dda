"""A matrix as tables: variants by metrics, variants by slices, and the effort."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl

from fsvae.evaluation.metric_names import COLUMNS, IN_CATALOGUE
from fsvae.evaluation.metrics_table import LIST_CAPTION, LIST_COLUMNS, PROBABILITY_CAPTION, PROBABILITY_COLUMNS
from fsvae.evaluation.result import SPACE_METRICS, TARGET_METRICS
from fsvae.evaluation.significance import BootstrapConfig
from fsvae.evaluation.slices import ALL, MEANINGS
from pipelines.ablation.matrix_results import MatrixResults
from pipelines.ablation.verdicts import LOWER_IS_BETTER, MARKS, verdict
from pipelines.runtime.table import Table

_HEADINGS = {**COLUMNS, **LIST_COLUMNS}
_MAIN = [metric for metric in COLUMNS if not metric.endswith(IN_CATALOGUE)]
_BESIDE = [metric for metric in _HEADINGS if metric not in _MAIN]
_BY_SLICE = ("l2", "recall@10")
_NOTE = (
    "± is the standard deviation over seeds. Below it: the difference from the reference and its 95 % interval by the "
    "paired bootstrap over users. n.s.: the interval holds zero; seeds: it would if what seeds differ by were in it; "
    "few users: too few for an interval."
)


@dataclass(frozen=True)
class Figure:
    """A figure of a variant and its comparison with the reference's."""

    value: str
    spread: str = ""
    difference: str = ""
    """Difference from the reference as text; empty where there is nothing to compare."""
    interval: str = ""
    best: bool = False
    mark: str = ""
    """Reason why the difference is not certain; empty: it is certain."""


@dataclass(frozen=True)
class FigureTable:
    """A table of variants and their figures."""

    title: str
    note: str
    headings: Sequence[str]
    rows: Sequence[tuple[str, Sequence[Figure]]]


def figure_tables(results: MatrixResults) -> list[FigureTable]:
    """Return variants by metrics (all targets; the catalogue's, and of lists; of probabilities) and by slices."""
    result = results.evaluations[results.reference][0]
    inside = int(result.in_catalogue.sum())
    return [
        _table(
            results,
            "All targets",
            f"{len(result.targets):,} targets, each ranked among all tracks heard before, at last "
            f"{result.n_candidates:,}; one heard for the first time is a miss. Distances: the {inside:,} targets in "
            f"the trained catalogue. {_NOTE}",
            [(_HEADINGS[metric], metric, ALL) for metric in _MAIN],
        ),
        _table(
            results,
            "Targets in the trained catalogue, and the lists",
            f"(catalogue): the {inside:,} targets in the trained catalogue, ranked as above. {LIST_CAPTION}",
            [(_HEADINGS[metric], metric, ALL) for metric in _BESIDE],
        ),
        *_of_probabilities(results),
        *(_of_slices(results, metric) for metric in _BY_SLICE),
    ]


def effort_table(results: MatrixResults) -> Table:
    """Return what each variant took: runs, epochs, seconds to fit and to evaluate."""
    rows = []
    for variant, trials in results.trials.items():
        summaries = [trial.summary() for trial in trials]
        names = ("epochs", "fit_seconds", "evaluate_seconds")
        epochs, *seconds = (sum(summary[name] for summary in summaries) / len(summaries) for name in names)
        rows.append((variant, f"{len(trials)}", f"{epochs:.1f}" if epochs else "", *(f"{m:.1f}" for m in seconds)))
    headings = ("variant", "seeds", "epochs", "fit [s]", "evaluate [s]")
    return Table("What it took", headings, rows, "Means over seeds, on one core each.")


def settings_table(results: MatrixResults) -> Table:
    """Return the settings in which the variants differ."""
    rows = [(variant["name"], " ".join(variant["settings"])) for variant in results.record["variants"]]
    return Table("What differs", ("", ""), rows, "Settings of each variant, beside those of the command.", texts=(1,))


def markdown(results: MatrixResults) -> str:
    """Return the tables of metrics as Markdown."""
    return "\n".join(_markdown(table) for table in figure_tables(results) if "by slice" not in table.title)


def slice_sizes(results: MatrixResults, metric: str) -> dict[str, int]:
    """Return slice → number of targets that a metric is over, for slices with targets."""
    of_reference = (pl.col("model") == results.reference) & (pl.col("metric") == metric) & (pl.col("targets") > 0)
    return dict(results.table.filter(of_reference).select("slice", "targets").iter_rows())


def _of_probabilities(results: MatrixResults) -> list[FigureTable]:
    variants = [variant for variant, evaluations in results.evaluations.items() if evaluations[0].nats is not None]
    columns = [(heading, metric, ALL) for metric, heading in PROBABILITY_COLUMNS.items()]
    return [_table(results, "Probabilities", PROBABILITY_CAPTION, columns, variants)] if variants else []


def _of_slices(results: MatrixResults, metric: str) -> FigureTable:
    sizes = slice_sizes(results, metric)
    columns = [(f"{name} ({size:,})", metric, name) for name, size in sizes.items()]
    note = f"In brackets: targets in the slice. {MEANINGS}"
    return _table(results, f"{_HEADINGS[metric]} by slice", note, columns)


def _table(
    results: MatrixResults,
    title: str,
    note: str,
    columns: Sequence[tuple[str, str, str]],
    variants: Sequence[str] | None = None,
) -> FigureTable:
    """Return a table with a column for each (heading, metric, slice), of some variants or all."""
    variants = list(results.evaluations) if variants is None else variants
    best = [_best_value(results, variants, metric, of) for _, metric, of in columns]
    rows = [
        (
            variant,
            [_figure(results, variant, metric, of, top) for (_, metric, of), top in zip(columns, best, strict=True)],
        )
        for variant in variants
    ]
    return FigureTable(title, note, [heading for heading, _, _ in columns], rows)


def _figure(results: MatrixResults, variant: str, metric: str, of: str, best: str) -> Figure:
    row = results.row(variant, metric, of)
    if row["value"] is None:
        return Figure("")
    value, spread = f"{row['value']:.3f}", "" if row["seed_spread"] is None else f"±{row['seed_spread']:.3f}"
    if row["difference"] is None:
        told = metric in TARGET_METRICS and (results.one_space or metric not in SPACE_METRICS)
        few = variant != results.reference and told and row["users"] < BootstrapConfig().least_users
        return Figure(value, spread, best=value == best, mark="few users" if few else "")
    difference, interval = f"{row['difference']:+.4f}", f"[{row['low']:+.4f}, {row['high']:+.4f}]"
    return Figure(value, spread, difference, interval, value == best, MARKS.get(verdict(metric, row), ""))


def _best_value(results: MatrixResults, variants: Sequence[str], metric: str, of: str) -> str:
    """Return the best value as printed; empty where none is best."""
    if metric in LIST_COLUMNS or (metric in SPACE_METRICS and not results.one_space):
        return ""
    values = [value for variant in variants if (value := results.row(variant, metric, of)["value"]) is not None]
    return f"{(min if metric in LOWER_IS_BETTER else max)(values):.3f}" if values else ""


def _markdown(table: FigureTable) -> str:
    lines = [f"**{table.title}.** {table.note}", ""]
    lines += ["| variant | " + " | ".join(table.headings) + " |", "|---|" + "---:|" * len(table.headings)]
    for variant, figures in table.rows:
        lines.append(f"| {variant} | " + " | ".join(map(_markdown_figure, figures)) + " |")
    return "\n".join([*lines, ""])


def _markdown_figure(figure: Figure) -> str:
    value = f"**{figure.value}**" if figure.best else figure.value
    if not figure.difference and not figure.mark:
        return f"{value} {figure.spread}".rstrip()
    compared = " ".join(filter(None, (figure.difference, figure.interval, figure.mark)))
    return f"{value} {figure.spread}".rstrip() + f"<br>{compared}"
