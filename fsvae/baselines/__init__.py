"""The baselines that FS-VAE is compared with, behind the same protocol. `fsvae.baselines.registry` names all models."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fsvae.baselines.item_knn import ItemKNN as ItemKNN
    from fsvae.baselines.markov import MarkovBlended as MarkovBlended
    from fsvae.baselines.markov import MarkovGlobal as MarkovGlobal
    from fsvae.baselines.mean_vector import AggregateSequence as AggregateSequence
    from fsvae.baselines.mean_vector import Average as Average
    from fsvae.baselines.mean_vector import LastTrack as LastTrack
    from fsvae.baselines.neural import JODIE as JODIE
    from fsvae.baselines.neural import GRU4Rec as GRU4Rec
    from fsvae.baselines.neural import LatentCross as LatentCross
    from fsvae.baselines.neural import MultVAE as MultVAE
    from fsvae.baselines.neural import SASRec as SASRec
    from fsvae.baselines.popularity import Popularity as Popularity
    from fsvae.baselines.popularity import RecentPopularity as RecentPopularity
    from fsvae.baselines.vsknn import VSKNN as VSKNN


def __getattr__(name: str) -> Any:
    """Import a model on first use: a configuration needs none of them."""
    if name.islower():  # a module, which Python looks for next
        raise AttributeError(name)
    from importlib import import_module

    from fsvae.baselines.registry import MODELS

    modules = {entry.path.split(":")[0]: None for entry in MODELS.values() if not entry.neural}
    for module in ("fsvae.baselines.neural", *modules):
        if hasattr(found := import_module(module), name):
            return getattr(found, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
