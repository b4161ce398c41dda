"""A matrix's report, from evaluations that are written down in the test."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from matplotlib.figure import Figure
from whole_page import assert_whole

from fsvae.baselines import Popularity
from fsvae.baselines.settings import NoSettings
from fsvae.data.dataset import Dataset
from fsvae.errors import UserError
from fsvae.evaluation.comparison import comparison
from fsvae.evaluation.protocol import evaluate_model
from fsvae.evaluation.result import EvaluationResult
from fsvae.storage import Folder
from pipelines.ablation.findings import findings, latent_findings, notes
from pipelines.ablation.matrix_page import write_report
from pipelines.ablation.matrix_plots import _WORSE as WORSE_COLOUR
from pipelines.ablation.matrix_plots import plots
from pipelines.ablation.matrix_results import MatrixResults, find_matrix
from pipelines.ablation.matrix_tables import figure_tables, markdown
from pipelines.ablation.variant import StoredTrial
from pipelines.ablation.verdicts import verdict


@pytest.fixture(scope="module")
def result(small_dataset: Dataset) -> EvaluationResult:
    """An result of real targets, all of whose distances are 1 and 0.5."""
    popularity = Popularity(NoSettings())
    popularity.fit(small_dataset)
    found = evaluate_model(popularity, small_dataset, "test")
    ones = np.where(np.isnan(found.l2), np.nan, 1.0)
    return replace(found, l2=ones, cosine=ones / 2)


def worse(result: EvaluationResult, by: float) -> EvaluationResult:
    """The result with larger distances and the same ranks."""
    return replace(result, l2=result.l2 + by, cosine=result.cosine + by)


def trials_of(folder: Path, variant: str, kl: Sequence[Sequence[float] | None]) -> list[StoredTrial]:
    """Runs of a variant with the given KL per dimension, or without a latent; a dimension with any is active."""
    trials = []
    for seed, nats in enumerate(kl):
        trial = StoredTrial(folder / f"{variant}-{seed}", "test")
        trial.evaluation.write_json("metrics.json", {"epochs": 2, "fit_seconds": 3.0, "evaluate_seconds": 1.0})
        if nats is not None:
            use = {"kl": list(nats), "variance": [float(nat > 0) for nat in nats], "noise": [1.0] * len(nats)}
            trial.evaluation.write_json("latent.json", use)
        with Folder.at(trial.folder).writing("curves.parquet") as file:
            pl.DataFrame({"epoch": [1, 2], "val/l2": [1.0, 0.9]}).write_parquet(file)
        trials.append(trial)
    return trials


def results_of(
    folder: Path, dataset: Dataset, evaluations: dict[str, list[EvaluationResult]], **kl: list[list[float]]
) -> MatrixResults:
    kl_of: Mapping[str, Sequence[Sequence[float] | None]] = {"full": [[3.0, 0.0], [2.0, 0.0]], **kl}
    record = {
        "name": "mine",
        "title": "Mine & yours",
        "reference": "full",
        "period": "test",
        "command": "fsvae ablate ablation=mine",
        "git_commit": "c0ffee",
        "at": "2026-01-02T03:04:05+00:00",
        "variants": [
            {"name": name, "settings": ["model.beta=1"], "trials": [{"seed": 1, "folder": f"{name}-1"}]}
            for name in evaluations
        ],
    }
    trials = {name: trials_of(folder, name, kl_of.get(name, [None])) for name in evaluations}
    return MatrixResults(folder, record, dataset, trials, evaluations, comparison(evaluations, "full", dataset), [])


@pytest.fixture(scope="module")
def results(
    result: EvaluationResult, small_dataset: Dataset, tmp_path_factory: pytest.TempPathFactory
) -> MatrixResults:
    """The full model with seeds at 1.0 and 1.02; one that is 0.2 worse than that in each; one that is the same."""
    full = [result, worse(result, 0.02)]
    evaluations = {"full": full, "less": [worse(one, 0.2) for one in full], "equal": full}
    return results_of(tmp_path_factory.mktemp("matrix"), small_dataset, evaluations, equal=[[0.0, 0.0], [0.0, 0.02]])


def test_a_figure_has_its_spread_and_its_difference_from_the_reference(results: MatrixResults) -> None:
    table = figure_tables(results)[0]
    assert table.headings[:2] == ["L2 ↓", "cosine ↓"]
    (_, full), (_, less), (_, equal) = table.rows
    # seeds at 1.0 and 1.02: a mean of 1.01 and a deviation of .02 / √2; all users are 0.2 apart, whoever is drawn
    assert (full[0].value, full[0].spread, full[0].difference, full[0].best) == ("1.010", "±0.014", "", True)
    assert (less[0].value, less[0].difference, less[0].interval) == ("1.210", "+0.2000", "[+0.2000, +0.2000]")
    assert not less[0].mark and not less[0].best
    assert (equal[0].difference, equal[0].mark, equal[0].best) == ("+0.0000", "n.s.", True)


def test_markdown_has_the_best_in_bold_and_what_is_not_significant_marked(results: MatrixResults) -> None:
    lines = markdown(results).splitlines()
    first = [line for line in lines if line.startswith("| ")][:4]
    assert first[1].startswith("| full | **1.010** ±0.014 |")
    assert first[2].startswith("| less | 1.210 ±0.014<br>+0.2000 [+0.2000, +0.2000] |")
    assert first[3].startswith("| equal | **1.010** ±0.014<br>+0.0000 [+0.0000, +0.0000] n.s. |")


def test_each_variant_has_a_verdict_on_each_metric(
    results: MatrixResults, result: EvaluationResult, small_dataset: Dataset, tmp_path: Path
) -> None:
    recall = results.row("full", "recall@10")["value"]
    same = "Recall@10 not told apart (+0.0000)"
    assert findings(results) == [
        f"full (reference): L2 1.0100, cosine 0.5100, Recall@10 {recall:.4f}",
        f"less: L2 worse (+0.2000), cosine worse (+0.2000), {same}",
        f"equal: L2 not told apart (+0.0000), cosine not told apart (+0.0000), {same}",
    ]
    half = results_of(tmp_path, small_dataset, {"full": [result], "half": [replace(result, l2=result.l2 - 0.1)]})
    assert findings(half)[1] == f"half: L2 better (-0.1000), cosine not told apart (+0.0000), {same}"


def test_a_difference_that_another_seed_may_turn_is_no_verdict(
    result: EvaluationResult, small_dataset: Dataset, tmp_path: Path
) -> None:
    """Seeds at 1.0 and 1.1 beside 1.05 and 1.15: all users agree on +.05. Over seeds the standard error is
    √(.0025 + .0025) = .0707, and t with two degrees of freedom 4.303."""
    full = [result, worse(result, 0.1)]
    variants = {"full": full, "less": [worse(one, 0.05) for one in full]}
    found = results_of(tmp_path, small_dataset, variants, less=[[1.0, 0.0]] * 2)
    assert found.row("less", "l2")["seed_margin"] == pytest.approx(0.3042, abs=1e-4)
    assert findings(found)[1].startswith("less: L2 not sure, as seeds differ (+0.0500), cosine not sure, as seeds")
    assert not notes(found)
    assert figure_tables(found)[0].rows[1][1][0].mark == "seeds"
    assert "+0.0500 [+0.0500, +0.0500] seeds |" in markdown(found)
    drawn = plots(found)[0].svg
    assert "+0.0500 seeds" in drawn and WORSE_COLOUR not in drawn
    sure = plots(results_of(tmp_path, small_dataset, {"full": [result], "less": [worse(result, 0.05)]}))[0].svg
    assert WORSE_COLOUR in sure


@pytest.mark.parametrize(
    ("difference", "low", "high", "seeds", "said"),
    [
        (0.05, 0.01, 0.12, 0.0, "worse"),
        (0.05, 0.01, 0.12, 0.029, "worse"),  # towards zero .04 and .029: .0494
        (0.05, 0.01, 0.12, 0.031, "not sure, as seeds differ"),  # .0506
        (-0.05, -0.12, -0.01, 0.029, "better"),
        (-0.05, -0.12, -0.01, 0.031, "not sure, as seeds differ"),
        (0.05, -0.01, 0.12, 0.0, "not told apart"),
        (0.05, 0.01, 0.12, None, "worse"),
        (None, None, None, 0.1, "too few users for an interval"),
    ],
)
def test_what_users_and_seeds_leave_unsure_adds_up_as_squares(
    difference: float | None, low: float | None, high: float | None, seeds: float | None, said: str
) -> None:
    significant = None if low is None or high is None else low > 0 or high < 0
    row = {"difference": difference, "low": low, "high": high, "significant": significant, "seed_margin": seeds}
    assert verdict("l2", row) == said
    other = {"worse": "better", "better": "worse"}.get(said, said)
    assert verdict("mrr", row) == other


def test_what_is_not_done_and_what_has_one_seed_is_said(
    result: EvaluationResult, small_dataset: Dataset, tmp_path: Path
) -> None:
    variants = {"full": [result], "less": [worse(result, 0.1)]}
    whole = replace(results_of(tmp_path, small_dataset, variants, full=[[3.0, 0.0]]), missing=["more, seed 1"])
    unknown = "how far another seed would move these figures is not known."
    assert notes(whole) == ["Not done yet: more, seed 1.", f"One seed each: {unknown}"]
    two = results_of(tmp_path, small_dataset, {"full": [result] * 2, "less": [worse(result, 0.1)]})
    assert notes(two) == [f"One seed only: less: {unknown}"]
    assert "Not done yet: more, seed 1." in write_report(whole).read_text()


def test_variants_that_are_one_model_are_named(results: MatrixResults) -> None:
    variants = [
        {"name": name, "settings": [], "trials": [{"seed": 1, "folder": folder}]}
        for name, folder in (("full", "a"), ("less", "b"), ("equal", "a"))
    ]
    twice = replace(results, record={**results.record, "variants": variants})
    assert "'equal' and 'full' are one model: no setting differs that it reads." in notes(twice)
    assert results.twins == []


def test_too_few_users_for_an_interval_are_said_to_be_too_few(results: MatrixResults) -> None:
    unknown = {name: pl.lit(None, pl.Float64) for name in ("difference", "low", "high")}
    few = results.table.with_columns(users=pl.lit(3), **unknown)
    of_few = replace(results, table=few)
    assert [figures[0].mark for _, figures in figure_tables(of_few)[0].rows] == ["", "few users", "few users"]
    assert "| less | 1.210 ±0.014<br>few users |" in markdown(of_few)
    few_users = "too few users for an interval"
    assert findings(of_few)[1] == f"less: L2 {few_users}, cosine {few_users}, Recall@10 {few_users}"


def test_small_differences_are_seen_beside_large_ones(
    result: EvaluationResult, small_dataset: Dataset, tmp_path: Path
) -> None:
    def scale(*by: float) -> str:
        variants = {"full": [result], **{f"by {one}": [worse(result, one)] for one in by}}
        found = plots(results_of(tmp_path, small_dataset, variants))[0]
        panels = Figure().subplots(1, 3).tolist()
        found.draw(panels)
        return str(panels[0].get_xscale())

    assert (scale(0.01, 0.1), scale(0.01, 0.5)) == ("linear", "symlog")


def test_distances_in_different_track_spaces_are_not_compared(
    result: EvaluationResult, small_dataset: Dataset, tmp_path: Path
) -> None:
    other = replace(worse(result, 0.1), dataset="another")
    apart = results_of(tmp_path, small_dataset, {"full": [result], "other": [other]})
    assert any("not comparable" in note for note in notes(apart))
    assert all("Recall@10 " in line and "L2" not in line and "cosine" not in line for line in findings(apart))
    drawn = [plot.title for plot in plots(apart)]
    assert "Recall@10 by slice" in drawn
    assert not {"L2 distance by slice", "Learning curves"} & set(drawn) and not any("Calibration" in t for t in drawn)
    figures = [figures[0] for _, figures in figure_tables(apart)[0].rows]
    assert [(figure.value, figure.best, figure.difference) for figure in figures] == [
        ("1.000", False, ""),
        ("1.100", False, ""),
    ]


def test_the_dimensions_of_each_latent_are_counted_over_its_seeds(
    results: MatrixResults, result: EvaluationResult, small_dataset: Dataset, tmp_path: Path
) -> None:
    """A dimension without variance has collapsed where it has next to no KL, and is not used yet where it has more."""
    assert latent_findings(results) == [
        "full: of 2 dimensions 1 active, 1 collapsed, 0 not used yet; KL 2.50 nats",
        "equal: of 2 dimensions 0 to 1 active, 1 to 2 collapsed, 0 not used yet; KL 0.01 nats",
    ]
    found = results_of(tmp_path, small_dataset, {"full": [result, result, result]}, full=[[0.0, 0.0]] * 3)
    for trial, kl in zip(found.trials["full"], ([2.0, 2.0], [2.0, 0.05], [0.05, 0.05]), strict=True):
        trial.evaluation.write_json("latent.json", {"kl": kl, "variance": [0.0, 0.0], "noise": [0.1, 0.1]})
    assert latent_findings(found) == [
        "full: of 2 dimensions 0 active, 0 to 2 collapsed, 0 to 2 not used yet; KL 2.05 nats"
    ]


def test_a_variant_of_an_older_version_is_told(results: MatrixResults, tmp_path: Path) -> None:
    (trial,) = trials_of(tmp_path, "old", [None])
    trial.evaluation.write_json("latent.json", {"kl": [1.0], "variance": [1.0]})
    with pytest.raises(UserError, match=r"old-0: written by an older version\. Delete it"):
        latent_findings(replace(results, trials={"old": [trial]}))


def test_the_page_needs_nothing_else_and_says_what_it_is_of(results: MatrixResults, small_dataset: Dataset) -> None:
    page = write_report(results).read_text()
    assert "Mine &amp; yours" in page and "fsvae ablate ablation=mine" in page and "c0ffee" in page
    assert small_dataset.fingerprint in page and "at least 2 training listens" in page
    assert f"{len(results.evaluations['full'][0].targets):,}" in page
    assert_whole(page)
    assert page.count("<svg") == len(plots(results)) == 6  # no model here tells its uncertainty
    stored = pl.read_parquet(results.folder / "comparison.parquet")
    assert stored.equals(results.table)
    assert (results.folder / "report.md").read_text().count("**1.010**") == 2


def test_differences_are_drawn_with_their_verdicts(
    results: MatrixResults, result: EvaluationResult, small_dataset: Dataset, tmp_path: Path
) -> None:
    first = plots(results)[0]
    assert first.title == "Differences from the reference" and first.panels == 3
    assert first.svg.count("+0.2000") == 2 and first.svg.count("+0.0000 n.s.") == 4  # of 2 and 3 metrics, and a rank
    other = replace(worse(result, 0.1), dataset="another")
    assert plots(results_of(tmp_path, small_dataset, {"full": [result], "other": [other]}))[0].panels == 1
    assert plots(results_of(tmp_path, small_dataset, {"full": [result]}))[0].title == "L2 distance by slice"


def test_uncertainty_is_drawn_beside_the_errors(
    result: EvaluationResult, small_dataset: Dataset, tmp_path: Path
) -> None:
    """The error is what was predicted: the rank correlation is 1."""
    n = len(result.targets)
    rising = np.where(np.isnan(result.l2), np.nan, np.arange(n))
    sure = replace(result, l2=rising, uncertainty=np.arange(n, dtype=np.float32))
    last = plots(results_of(tmp_path, small_dataset, {"full": [sure]}))[-1]
    assert last.title == "Calibration of the predicted uncertainty" and "full, r = +1.00" in last.svg


def test_uncertainty_is_measured_seed_by_seed(result: EvaluationResult, small_dataset: Dataset, tmp_path: Path) -> None:
    """A seed that is surer of everything and yet errs more would turn the correlation of both together."""
    n = len(result.targets)
    order = np.arange(n, dtype=np.float32)
    seeds = [
        replace(result, l2=np.where(np.isnan(result.l2), np.nan, order + error), uncertainty=order + unsure)
        for error, unsure in ((0, 10 * n), (10 * n, 0))
    ]
    last = plots(results_of(tmp_path, small_dataset, {"full": seeds}))[-1]
    assert "full, r = +1.00" in last.svg


def test_a_period_without_a_target_in_the_catalogue_has_a_report(
    result: EvaluationResult, small_dataset: Dataset, tmp_path: Path
) -> None:
    none = np.full_like(result.l2, np.nan)
    outside = replace(result, l2=none, cosine=none, in_catalogue=np.zeros_like(result.in_catalogue))
    found = results_of(tmp_path, small_dataset, {"full": [outside], "less": [outside]})
    assert notes(found)[0] == "No target of the period is in the trained catalogue: there are no distances."
    assert findings(found)[0].startswith("full (reference): Recall@10 0.")
    assert "there are no distances" in write_report(found).read_text()


def test_the_latest_matrix_is_found_by_name(tmp_path: Path) -> None:
    for folder, name, at, period in (
        ("a-1", "a", "2026-01-01", "validation"),
        ("a-2", "a", "2026-01-03", "test"),
        ("b-1", "b", "2026-01-02", "test"),
    ):
        Folder.at(tmp_path / folder).write_json("matrix.json", {"name": name, "at": at, "period": period})
    assert [find_matrix(tmp_path, name).name for name in ("", "a", "b")] == ["a-2", "a-2", "b-1"]
    assert find_matrix(tmp_path, "a", "validation").name == find_matrix(tmp_path, "", "validation").name == "a-1"
    known = r"only a \(test\), a \(validation\), b \(test\)\."
    run = r"Run one: fsvae ablate ablation=b evaluate\.period=validation\.$"
    with pytest.raises(UserError, match=rf"no matrix b on the validation period there, {known} {run}"):
        find_matrix(tmp_path, "b", "validation")
    with pytest.raises(UserError, match=r"no matrix there\. Run one: fsvae ablate ablation=paper\."):
        find_matrix(tmp_path / "nothing", "")
    with pytest.raises(UserError, match=rf"no matrix bb there, {known} Did you mean 'b'\? Run one: fsvae ablate"):
        find_matrix(tmp_path, "bb")


def test_probabilities_have_a_table_of_the_models_that_give_them(
    result: EvaluationResult, small_dataset: Dataset, tmp_path: Path
) -> None:
    assert result.nats is not None
    sure = replace(result, nats=result.nats - 1)
    none = replace(result, nats=None, first_p=None, first_came=None)
    evaluations = {"full": [result], "sure": [sure], "none": [none]}
    results = results_of(tmp_path, small_dataset, evaluations)
    (table,) = [table for table in figure_tables(results) if table.title == "Probabilities"]
    assert [variant for variant, _ in table.rows] == ["full", "sure"]
    of_full, of_sure = (figures[0] for _, figures in table.rows)
    assert of_sure.best and not of_full.best and of_sure.difference == "-1.0000"
    assert "Probabilities" in markdown(results) and "Reliability" in write_report(results).read_text()
    without = results_of(tmp_path / "none", small_dataset, {"full": [none]})
    assert "Probabilities" not in [table.title for table in figure_tables(without)]
