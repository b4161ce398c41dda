"""How a lake becomes a prepared dataset: the config that `pipelines.prepare.prepare` and what it calls share."""

from __future__ import annotations

from dataclasses import dataclass, field

from fsvae.errors import UserError
from fsvae.features.track2vec_config import Track2VecConfig
from fsvae.limits import Count, Share


@dataclass
class DatasetConfig:
    """How events become a dataset. The split is by time, the same for all users."""

    min_count: Count = 5
    """A track needs this many listens in the training period to be in the catalogue."""
    train_share: Share = 0.8
    """Share of the listens, by time, that come before the validation period."""
    validation_share: Share = 0.1
    """Share of the listens between the training and the test period."""
    train_until: str = ""
    """Where the training period ends (ISO time, UTC) instead of at train_share; set validation_until too."""
    validation_until: str = ""
    """Where the test period begins, instead of after validation_share."""
    before: str = ""
    """Use only events before this day (YYYY-MM-DD); empty: all."""
    continue_space: bool = False
    """Go on from the track space of the current dataset, so that vectors stay comparable (fsvae daily does); not if its
    training period ends later than the new one's."""
    keep: Count = 3
    """Number of prepared datasets that are kept in the folder, the newest ones."""
    track2vec: Track2VecConfig = field(default_factory=Track2VecConfig)

    def __post_init__(self) -> None:
        """Check shares together.

        Raises:
            UserError: nothing is left to test on.
        """
        shares = self.train_share + self.validation_share
        if not self.train_until and shares >= 1:
            raise UserError(
                f"dataset.train_share + dataset.validation_share is {shares:g}: nothing is left to test on."
            )
