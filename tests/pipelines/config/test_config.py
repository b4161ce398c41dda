"""The configuration: every YAML composes, and a slip of the hand is named with what was probably meant."""

from __future__ import annotations

import pickle
import shutil
from dataclasses import asdict, fields
from pathlib import Path

import pytest
from omegaconf import OmegaConf

import pipelines.config.compose
from fsvae.baselines.registry import MODELS
from fsvae.errors import UserError
from fsvae.logs.source_config import SOURCES
from fsvae.logs.sources import READERS
from pipelines.config.compose import config_dir, load_config
from pipelines.config.help import commented_yaml, field_docstrings
from pipelines.config.schema import Config

FILES = [f"{path.parent.name}={path.stem}" for path in sorted(config_dir().glob("*/*.yaml"))]
OPTIONS = [*FILES, *(f"source={reader}" for reader in READERS)]


def refused(*overrides: str) -> str:
    with pytest.raises(UserError) as error:
        load_config(overrides)
    return str(error.value)


@pytest.mark.parametrize("option", OPTIONS)
def test_every_option_composes(option: str) -> None:
    assert isinstance(load_config([option]), Config)


def test_options_are_what_their_files_say() -> None:
    assert len(FILES) >= 3
    config = load_config(["source=jodie", "model=paper"])
    assert (config.source.reader, config.source.path, config.source.delimiter) == ("jodie", "", ",")
    assert (config.model.softmax_weight, config.model.request_time) == (0.0, False)
    assert load_config().source.path == "work/raw"
    assert load_config(["workdir=elsewhere"]).source.path == "elsewhere/raw"


@pytest.mark.parametrize(
    "order", [["model=paper", "model.softmax_weight=3"], ["model.softmax_weight=3", "model=paper"]]
)
def test_single_keys_win_over_options(order: list[str]) -> None:
    config = load_config(order)
    assert (config.model.softmax_weight, config.model.request_time) == (3.0, False)


def test_values_are_typed() -> None:
    config = load_config(["source.columns={user_id: who}", "source.columns.track_id=song", "dataset.min_count=7"])
    assert config.source.columns == {"user_id": "who", "track_id": "song"}
    assert load_config(["+source.columns.user_id=who"]).source.columns == {"user_id": "who"}
    assert config.dataset.min_count == 7
    assert load_config(["dataset.before='2026-01-05'"]).dataset.before == "2026-01-05"


def test_words_for_kinds() -> None:
    config = load_config(["source.kinds={play: listen, thumbs up: like}", "source.kinds.1=skip"])
    assert config.source.kinds == {"play": "listen", "thumbs up": "like", "1": "skip"}
    assert refused("source.kinds.play=lissen") == (
        "source.kinds.play=lissen is not one of listen, skip, like, unlike, save, dislike, undislike. "
        "Did you mean 'listen'?"
    )
    assert refused("source.kinds={1: listen}") == "config: source.kinds.1: Key 1 (int) is incompatible with (str)."


def test_a_configuration_can_be_sent_to_other_processes() -> None:
    config = load_config(["baselines.sasrec.heads=4"])
    assert pickle.loads(pickle.dumps(config)) == config


def test_an_unknown_key_names_the_nearest() -> None:
    assert "'dataset.min_cout'. Did you mean 'dataset.min_count'?" in refused("dataset.min_cout=3")
    assert "'sed'. Did you mean 'seed'?" in refused("sed=3")
    assert "'model.softmax_wait'. Did you mean 'model.softmax_weight'?" in refused("+model.softmax_wait=3")
    assert "'modle'. Did you mean 'model'?" in refused("modle=paper")


def test_every_source_is_an_option_without_a_file_of_its_own() -> None:
    assert set(SOURCES) == set(READERS)
    assert "source.reader" not in refused("source=jody") and "Did you mean 'jodie'?" in refused("source=jody")
    for reader in READERS:
        assert load_config([f"source={reader}", "source.origin=2020-01-01"]).source.reader == reader


def test_an_unknown_option_names_the_nearest() -> None:
    message = refused("model=papr")
    assert "model has no 'papr', only default, paper." in message and "Did you mean 'paper'?" in message


@pytest.mark.parametrize(
    ("override", "key"),
    [
        ("dataset.min_count=many", "dataset.min_count"),
        ("dataset.min_count=1.5", "dataset.min_count"),
        ("seed=abc", "seed"),
        ("dataset.track2vec.epochs=[1]", "dataset.track2vec.epochs"),
        ("model.request_time=perhaps", "model.request_time"),
    ],
)
def test_a_value_of_the_wrong_type_is_refused_by_key(override: str, key: str) -> None:
    assert refused(override).startswith(f"config: {key}: ")


def test_what_is_no_override_is_refused() -> None:
    assert "key=value" in refused("paper")


def test_an_unknown_key_in_a_file_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(config_dir(), tmp_path / "configs")
    monkeypatch.setattr(pipelines.config.compose, "config_dir", lambda: tmp_path / "configs")
    (tmp_path / "configs" / "model" / "mine.yaml").write_text("softmax_wieght: 3.0\n")
    message = refused("model=mine")
    assert "softmax_wieght" in message and "Did you mean 'model.softmax_weight'?" in message


@pytest.mark.parametrize(
    "override",
    [
        "train.max_epochs=0",
        "train.batch_listens=0",
        "model.history=0",
        "model.softmax_weight=-1",
        "dataset.track2vec.window=0",
        "seed=-1",
        "serve.port=99999",
        "serve.replicas=0",
        "evaluate.period=foo",
        "train.precision=foo",
        "train.optimiser.learning_rate=nan",
        "model.latent=gausian",
        "model.fast=shufled",
        "model.prior=none",
        "model.likelihood=vmf",
        "model.track_table=free",
        "model.target_share=0",
        "model.gate_hidden=0",
        "dataset.track2vec.dim=0",
        "dataset.train_share=1.5",
        "dataset.validation_share=-0.1",
        "dataset.train_share=0.95",
        "promote.metric=l2",
        "source.time_unit=minutes",
        "engine.name=rey",
        "recommender=sasrek",
        "baselines.vsknn.neighbours=0",
        "baselines.gru4rec.dropout=1.5",
        "baselines.item_knn.together=day",
    ],
)
def test_impossible_values_are_refused_by_key(override: str) -> None:
    with pytest.raises(UserError, match=override.split("=")[0].replace(".", r"\.")):
        load_config([override])


def test_on_and_off_are_read_as_they_are_written() -> None:
    model = load_config(["model.slow=off", "model.request_time=off"]).model
    assert (model.slow, model.request_time, model.fast) == (False, False, "on")
    for off in ("off", "false"):
        assert load_config(["model=paper", f"model.fast={off}"]).model.fast == "off"
    assert load_config(["model=paper", "model.fast=shuffled"]).model.fast == "shuffled"


def test_on_and_off_in_a_file_are_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(config_dir(), tmp_path / "configs")
    monkeypatch.setattr(pipelines.config.compose, "config_dir", lambda: tmp_path / "configs")
    (tmp_path / "configs" / "model" / "mine.yaml").write_text("fast: off\nslow: on\n")
    model = load_config(["model=mine"]).model
    assert (model.fast, model.slow) == ("off", True)


def test_switches_that_do_not_go_together_are_refused_before_anything_is_done() -> None:
    assert refused("model=paper", "model.slow=off", "model.fast=off").startswith(
        "model.slow and model.fast are both off"
    )


def test_a_word_that_is_not_a_choice_names_the_nearest() -> None:
    message = refused("promote.metric=ndcg@1")
    assert message.startswith("promote.metric=ndcg@1 is not one of recall@1, ") and "Did you mean 'ndcg@10'?" in message


def test_own_cuts_are_instead_of_shares() -> None:
    load_config(["dataset.train_share=0.95", "dataset.train_until='2026-01-20'"])


@pytest.mark.parametrize(
    ("override", "how"),
    [
        ("source.delimiter=;", """Quote it: 'source.delimiter=";"'"""),
        (
            "source.columns={user_id: user",
            "Close its brackets and quote it: 'source.columns={user_id: user, track_id: ",
        ),
    ],
)
def test_a_value_that_cannot_be_read_is_shown_as_it_is_written(override: str, how: str) -> None:
    message = refused("seed=2", override)
    assert message.startswith(f"{override}: the value cannot be read. ") and how in message
    assert load_config(['source.delimiter=";"']).source.delimiter == ";"


def test_every_key_is_described_and_the_description_is_the_configuration() -> None:
    config = load_config(["source.columns={user_id: who, track_id: what}", "source.delimiter=';'", "seed=4"])
    text = commented_yaml(config)
    merged = OmegaConf.merge(OmegaConf.structured(Config), OmegaConf.create(text))
    assert OmegaConf.to_container(merged) == asdict(config)
    lines = text.splitlines()
    assert (
        lines[lines.index("seed: 4") - 1]
        == "# Seed of everything that is random, but the simulated log, which has its own."
    )
    assert lines[lines.index("promote:") - 1] == "# When a challenger wins."
    assert lines[lines.index("    learning_rate: 0.002") - 1].startswith("    # ")
    for number, line in enumerate(lines):
        if line and not line.lstrip().startswith("#") and line.strip() not in ("user_id: who", "track_id: what"):
            assert lines[number - 1].lstrip().startswith("#"), f"without a word on it: {line}"


@pytest.mark.parametrize("kind", MODELS)
def test_every_field_of_a_model_is_described_those_of_its_base_too(kind: str) -> None:
    config = MODELS[kind].settings
    words = field_docstrings(config)
    assert [field.name for field in fields(config) if not words.get(field.name)] == []
    if kind == "jodie":  # has a default of its own for a field of the base
        assert words["decoder_hidden"].endswith("as in the paper.") and "L:" in words["history"]
