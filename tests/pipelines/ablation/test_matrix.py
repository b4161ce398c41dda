"""A matrix is expanded into variants whose settings are checked before anything runs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from small_matrix import with_matrix

from fsvae.errors import UserError
from pipelines.ablation.matrix import matrix_of
from pipelines.config.compose import config_dir, load_config

NAMES = sorted(path.stem for path in (config_dir() / "ablation").glob("*.yaml"))
PROTOTYPES = Path(__file__).parents[3] / "benchmarks" / "prototypes.yaml"
MINE = """
title: Mine
base: [model=paper, model.beta=0.1, model.history=32]
reference: one
variants:
  one: []
  two: [model.beta=0.3, dataset.track2vec.dim=8]
"""


def refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *variant: str, reference: str = "one") -> str:
    text = f"reference: {reference}\nvariants:\n  one: []\n  two: [{', '.join(variant)}]\n"
    with_matrix(tmp_path, monkeypatch, mine=text)
    with pytest.raises(UserError) as error:
        matrix_of(["ablation=mine"])
    return str(error.value)


@pytest.mark.parametrize("name", [*NAMES, PROTOTYPES])
def test_every_matrix_of_the_project_has_a_title_a_reference_and_variants(name: str | Path) -> None:
    matrix = matrix_of([f"ablation={name}"])
    assert matrix.config.ablation.title and len(matrix.variants) >= 2
    assert matrix.reference in [variant.name for variant in matrix.variants]
    different = {repr(variant.config) for variant in matrix.variants}
    assert len(different) == len(matrix.variants), "two variants are the same"


def test_the_papers_matrix_is_the_papers_model_without_each_of_its_parts() -> None:
    matrix = matrix_of(["ablation=paper", "seeds=[4,5]"])
    assert matrix.command == "fsvae ablate ablation=paper 'seeds=[4,5]'" and matrix.config.seeds == [4, 5]
    models = {variant.name: variant.config.model for variant in matrix.variants}
    assert models["FS-VAE"].softmax_weight == 0 and not models["FS-VAE"].request_time
    assert models["deterministic latent"].latent == "deterministic" != models["FS-VAE"].latent
    assert len({repr(model) for model in models.values()}) == len(models)


def test_a_variant_wins_over_the_command_line_and_that_over_the_base(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_matrix(tmp_path, monkeypatch, mine=MINE)
    one, two = matrix_of(["ablation=mine", "model.beta=0.2", "train.max_epochs=7"]).variants
    assert (one.config.model.beta, two.config.model.beta) == (0.2, 0.3)
    assert one.config.model.history == two.config.model.history == 32
    assert one.config.train.max_epochs == two.config.train.max_epochs == 7
    assert (one.dataset_keys, two.dataset_keys) == (set(), {"dataset.track2vec.dim"})
    assert two.settings == ["model.beta=0.3", "dataset.track2vec.dim=8"]


def test_a_variant_that_chooses_a_group_wins_over_values_of_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with_matrix(tmp_path, monkeypatch, mine=MINE.replace("two: [", "two: [model=default, "))
    paper, default = load_config(["model=paper"]).model, load_config().model
    one, two = matrix_of(["ablation=mine", "model.latent_dim=7", "train.max_epochs=7"]).variants
    assert (one.config.model.history, one.config.model.latent_dim) == (32, 7)
    assert one.config.model.slow_memory == paper.slow_memory != default.slow_memory
    assert two.config.model == replace(default, beta=0.3) and two.config.train.max_epochs == 7


def test_a_wrong_setting_is_refused_with_the_variants_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    message = refused(tmp_path, monkeypatch, "model.betta=0.1")
    assert message.startswith("ablation=mine, variant 'two': ") and "Did you mean 'model.beta'?" in message


@pytest.mark.parametrize("setting", ["seed=2", "engine.workers=1", "evaluate.period=validation", "ablation=paper"])
def test_what_is_of_the_whole_matrix_is_not_of_a_variant(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, setting: str
) -> None:
    message = refused(tmp_path, monkeypatch, setting)
    key = setting.partition("=")[0].partition(".")[0]
    assert f"variant 'two': {key} is the same for the whole matrix; a variant can set recommender, " in message


def test_a_reference_that_is_no_variant_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    message = refused(tmp_path, monkeypatch, "model.beta=1", reference="oen")
    assert "the reference 'oen' is not one of its variants: one, two. Did you mean 'one'?" in message


def test_a_matrix_must_be_named() -> None:
    with pytest.raises(UserError, match=f"Say which matrix to run.*: {', '.join(NAMES)}"):
        matrix_of(["seed=2"])
    with pytest.raises(UserError, match=r"ablation has no 'papr', only .* Did you mean 'paper'\?"):
        matrix_of(["ablation=papr"])


def test_a_matrix_may_be_a_file_of_ones_own(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(MINE)
    matrix = matrix_of([f"ablation={file}", "model.beta=0.2"])
    assert (matrix.name, matrix.reference) == ("mine", "one") and matrix.command.startswith(
        f"fsvae ablate ablation={file}"
    )
    assert [variant.config.model.beta for variant in matrix.variants] == [0.2, 0.3]
    assert matrix.config.ablation.keep == 20
    file.write_text(f"keep: 5\n{MINE}")
    assert matrix_of([f"ablation={file}"]).config.ablation.keep == 5
    assert matrix_of([f"ablation={file}", "ablation.keep=3"]).config.ablation.keep == 3
    assert matrix_of(["ablation=paper", "ablation.keep=3"]).config.ablation.keep == 3
    with pytest.raises(UserError, match=r"ablation\.keep=0 is less than 1"):
        matrix_of([f"ablation={file}", "ablation.keep=0"])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, r"mine\.yaml: not readable: No such file"),
        ("[one, two]", r"mine\.yaml: a matrix has the keys title, base, reference and variants"),
        ("variants: [", r"mine\.yaml: no YAML: "),
        ("referense: one", r"Did you mean 'ablation\.reference'\?"),
        ("variants: {one: 5}", r"ablation\.variants\.one: "),
        ("", "a matrix needs variants, and a reference, which names one of them"),
        ("variants: {one: []}", "a matrix needs variants, and a reference"),
        (
            "{reference: one, variants: {one: [recommender=sasrec, baselines.sasrec.heads=3]}}",
            r"'one': baselines\.sasrec\.hidden=128 is not a m",
        ),
    ],
)
def test_a_file_that_is_no_matrix_is_refused(tmp_path: Path, text: str | None, message: str) -> None:
    if text is not None:
        (tmp_path / "mine.yaml").write_text(text)
    with pytest.raises(UserError, match=message):
        matrix_of([f"ablation={tmp_path / 'mine.yaml'}"])


def test_a_file_that_was_meant_is_pointed_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mine.yaml").write_text(MINE)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=r"A file of your own: ablation=mine\.yaml\."):
        matrix_of(["ablation=mine"])
    with pytest.raises(UserError, match=r"for example ablation=mine\.yaml\."):
        matrix_of(["mine.yaml"])


@pytest.mark.parametrize(
    ("seeds", "message"),
    [
        ("2,3", r"seeds=2,3: a list is written in brackets, such as 'seeds=\[2,3\]'\."),
        ("3", r"seeds: a list in brackets is expected, such as \[1,2\]\.$"),
        ("[a]", r"seeds\[0\]: Value 'a' of type 'str' could not be converted to Integer\.$"),
    ],
)
def test_what_is_no_list_of_seeds_is_refused(seeds: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        matrix_of(["ablation=paper", f"seeds={seeds}"])


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        (
            "source.path=/a,b.csv",
            r"""one value is expected\. With a comma in it, .* 'source\.path="/a,b\.csv"'""",
        ),
        ("model=paper,default", "model=paper,default: one value is expected"),
        ("model=[paper,default]", r"model has no '\['paper', 'default'\]'"),
        ("nokey=1,2", "There is no config key 'nokey'"),
    ],
)
def test_one_value_is_not_several(setting: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        load_config([setting])


def test_sizes_that_do_not_go_together_are_refused() -> None:
    assert load_config(["baselines.sasrec.heads=4"]).baselines.sasrec.heads == 4
    with pytest.raises(UserError, match="is not a multiple of heads=3"):
        load_config(["baselines.sasrec.heads=3"])


@pytest.mark.parametrize(
    ("seeds", "message"),
    [
        ("[]", r"seeds=\[\] is not a list of different values"),
        ("[1,1]", r"seeds=\[1,1\] is not a list of different values"),
        ("[-1]", r"seeds\.0=-1 is less than 0"),
    ],
)
def test_seeds_are_different_numbers(seeds: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        matrix_of(["ablation=paper", f"seeds={seeds}"])
