"""A space is checked before anything runs: by the limits of its settings, and by what the model reads."""

from __future__ import annotations

from pathlib import Path

import pytest
from small_tuning import space_file

from fsvae.errors import UserError
from pipelines.config.compose import config_dir, load_config
from pipelines.tuning.study import check_installed
from pipelines.tuning.tuning import tuning_of

NAMES = sorted(path.stem for path in (config_dir() / "tune").glob("*.yaml"))


def refused(*overrides: str) -> str:
    with pytest.raises(UserError) as error:
        tuning_of(overrides)
    return str(error.value)


@pytest.mark.parametrize("name", NAMES)
def test_every_space_of_the_project_holds_the_defaults_of_the_model_that_it_is_named_after(name: str) -> None:
    tuning = tuning_of([f"tune={name}"])
    assert tuning.config.tune.title and len(tuning.space) >= 4 and tuning.config.recommender == name
    assert tuning.config.tune.trials == 30, "the same budget for all models"
    assert tuning.config.model == load_config().model and tuning.config.evaluate.period == "validation"


def test_values_have_the_type_of_their_setting(tmp_path: Path) -> None:
    space = """
  model.beta: {low: 0, high: 1}
  model.fast: {choices: [on, off]}
  model.slow: {choices: [true, false]}
  model.history: {low: 16, high: 256, log: true}
  model.softmax_weight: {choices: [1, 20]}
"""
    beta, fast, slow, history, weight = tuning_of([space_file(tmp_path, space), "model.beta=0.123456"]).space
    assert (beta.present, beta.said(), beta.whole) == (0.123456, "0.0 to 1.0", False)
    assert (fast.span.choices, slow.span.choices) == (["on", "off"], [True, False])
    assert (history.present, history.said(), history.whole) == (128, "16 to 256, by factors", True)
    assert weight.span.choices == [1.0, 20.0] and isinstance(weight.span.choices[0], float)
    assert [beta.tried(drawn) for drawn in (0.123456, 0.98765, 0.9999)] == [0.123456, 0.988, 1.0]
    assert history.tried(131) == 131


@pytest.mark.parametrize(
    ("key", "span", "says"),
    [
        ("model.slow_dropout", "{low: 0.1, high: 1.5}", "model.slow_dropout=1.5 is more than 1"),
        ("model.latent_dim", "{choices: [0, 64]}", "model.latent_dim=0 is less than 1"),
        ("model.latent_dim", "{low: 1.5, high: 100}", "config: model.latent_dim"),
        ("model.fast", "{choices: [on, of]}", "model.fast=of is not one of on, off, shuffled. Did you mean 'off'?"),
        ("model.betta", "{low: 0.1, high: 1}", "'model.betta'. Did you mean 'model.beta'?"),
        ("model.beta", "{low: 0.1}", "low and high are expected, or choices"),
        ("model.beta", "{low: 0.1, high: 1, choices: [1, 2]}", "low and high are expected, or choices"),
        ("model.beta", "{}", "low and high are expected, or choices"),
        ("model.beta", "{low: 0.5, high: 0.01}", "low=0.5 is not below high=0.01"),
        ("model.beta", "{low: 0, high: 1, log: true}", "log=true needs low above 0"),
        ("model.beta", "{low: 0.1, high: 1}", "the present settings, and 0.02 is not within 0.1 to 1.0. Widen it"),
        ("model.beta", "{choices: [0.02, 0.020]}", "choices=[0.02,0.02]: two or more different ones"),
        ("model.slow", "{low: 0, high: 1}", "it is not a number: choices are expected"),
        ("model", "{choices: [default, paper]}", "model is not one number or word"),
        ("baselines.sasrec.heads", "{choices: [1, 2]}", "recommender=fsvae does not read it"),
        ("seed", "{low: 0, high: 9}", "Here can be searched: model.…, train.…"),
        ("model.beta", "{low: 0.1, hihg: 1}", "tune.space.model.beta.hihg"),
    ],
)
def test_a_wrong_span_is_refused_by_its_setting(tmp_path: Path, key: str, span: str, says: str) -> None:
    message = refused(space_file(tmp_path, f"{{{key}: {span}}}"))
    assert says in message and key in message and "\n" not in message


def test_a_model_without_training_has_no_settings_of_it(tmp_path: Path) -> None:
    space = "{train.gradient_clip: {low: 0.5, high: 2}}"
    assert "recommender=markov does not read it" in refused(space_file(tmp_path, space), "recommender=markov")
    assert tuning_of([space_file(tmp_path, space), "recommender=gru4rec"]).config.recommender == "gru4rec"


def test_what_has_no_effect_on_a_tuning_is_refused(tmp_path: Path) -> None:
    assert "such as fsvae tune tune=fsvae: fsvae, gru4rec" in refused()
    assert "Did you mean 'fsvae'?" in refused("tune=fsvea")
    assert "reads the validation period only" in refused("tune=fsvae", "evaluate.period=test")
    small = space_file(tmp_path, "{model.beta: {low: 0, high: 1}}")
    assert tuning_of([small, "evaluate.period=validation"]).config.evaluate.period == "validation"
    assert "another one is made by fsvae prepare" in refused("tune=fsvae", "dataset.min_count=3")
    assert "with one seed" in refused("tune=fsvae", "seeds=[1,2]")
    assert "not a list of different folders" in refused("tune=fsvae", "tune.workdirs=[a,a/]")
    assert "needs a space" in refused(space_file(tmp_path, "{}"))
    assert "nothing.yaml: not readable" in refused("tune=nothing.yaml")
    assert "tune.trials=0 is less than 1" in refused("tune=fsvae", "tune.trials=0")


def test_without_optuna_one_line_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipelines.tuning.study.find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"pip install 'fsvae\[tune\]'\.$"):
        check_installed()
