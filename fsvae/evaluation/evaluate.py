"""Fitted models side by side, as a pandas frame: the evaluation of `fsvae evaluate` and of every matrix."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from fsvae.data.dataset import Dataset
from fsvae.errors import UserError
from fsvae.evaluation.comparison import comparison
from fsvae.evaluation.live import midnights
from fsvae.evaluation.protocol import evaluate_model
from fsvae.evaluation.result import EvaluationResult
from fsvae.evaluation.significance import BootstrapConfig
from fsvae.features.clock import utc_text
from fsvae.recommender import Recommender


def evaluate(
    models: Recommender | Sequence[Recommender],
    dataset: Dataset,
    period: str = "test",
    reference: str | None = None,
    config: BootstrapConfig | None = None,
    live: bool = False,
) -> pd.DataFrame:
    """Return every metric of some fitted models over all listens of a period, with differences from the reference.

    Args:
        models: a fitted model, or several of different names; one fitted on another dataset is evaluated in its own
            track space.
        dataset: dataset whose listens are predicted, each from the listens before it.
        period: ``test`` or ``validation``.
        reference: name of the model that the others are compared with; by default the first one.
        config: settings of the bootstrap of the intervals.
        live: add ``<name>, live`` for each model with a memory: the same model with everybody's part of the memory
            brought up to date at each midnight (UTC) of the period, at most 32 of them. By default it stays as it was
            when the model had learned.

    Returns:
        A row a model, metric and slice of the listens (all; repeat track, new track, ...): `value` is the mean over
        `targets` listens of `users` users; `difference` is that from the reference, `low` and `high` are the ends of
        its interval (95 % by default, paired bootstrap over users), `significant` says that zero is not between them.
        Null where undefined, as for the reference itself.

    Raises:
        UserError: a model has learned from the period, two models have one name, there is no such reference, or the
            models' catalogues differ.

    Examples:
        >>> import fsvae, pandas as pd
        >>> plays = pd.DataFrame({"user_id": "ann", "track_id": ["t1", "t2", "t3"] * 100})
        >>> plays["played_at"] = pd.date_range("2026-01-01", periods=300, freq="1h")
        >>> dataset = fsvae.Dataset.from_pandas(fsvae.read_listens(plays))
        >>> models = [fsvae.baselines.MarkovBlended().fit(dataset), fsvae.baselines.Popularity().fit(dataset)]
        >>> found = fsvae.evaluate(models, dataset)
        >>> found[(found["metric"] == "recall@1") & (found["slice"] == "all")][["model", "targets", "value"]]
                       model  targets  value
        2    Markov, blended       30    1.0
        230       Popularity       30    0.0
    """
    if period not in ("validation", "test"):
        raise UserError(f"period={period!r} is neither 'validation' nor 'test'.")
    models = [models] if isinstance(models, Recommender) else models
    names = [model.name for model in models]
    if not names:
        raise UserError("There is no model to evaluate.")
    for model in models:
        if (learned := model.learned_until(period)) > dataset.period(period)[0]:
            how = ", without the validation period: fit(dataset, refit=False)" if period == "validation" else ""
            raise UserError(
                f"{model.name} has learned from listens up to {utc_text(learned)}, and the {period} period begins "
                f"before, at {utc_text(dataset.period(period)[0])}: its figures would be too good. Fit it on this "
                f"dataset{how}."
            )
    if len(set(names)) < len(names):
        raise UserError(f"Two of the models have one name ({', '.join(names)}): set model.name of one.")
    results: dict[str, list[EvaluationResult]] = {}
    for model in models:
        view = model.view(dataset)
        results[model.name] = [evaluate_model(model, view, period)]
        if live and (refreshed := model.refreshed(midnights(dataset, period))) is not None:
            results[f"{model.name}, live"] = [evaluate_model(refreshed, view, period)]
    table = comparison(results, reference or names[0], dataset, config)
    return table.drop("seed_spread", "seed_margin").to_pandas()
