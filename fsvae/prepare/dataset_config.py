"""Settings of a prepared dataset, shared by `pipelines.prepare.prepare` and its parts."""

from __future__ import annotations

from dataclasses import dataclass, field

from fsvae.errors import UserError
from fsvae.features.track2vec_config import Track2VecConfig
from fsvae.limits import Count, Share


@dataclass
class DatasetConfig:
    """Settings of a prepared dataset. The split is by time, the same for all users."""

    min_count: Count = 5
    """Least number of listens in the training period for a track to be in the catalogue."""
    train_share: Share = 0.8
    """Share of the listens, by time, that come before the validation period."""
    validation_share: Share = 0.1
    """Share of the listens between the training and the test period."""
    train_until: str = ""
    """End of the training period (ISO time, UTC), instead of train_share; set validation_until too."""
    validation_until: str = ""
    """Begin of the test period (ISO time, UTC), instead of after validation_share."""
    before: str = ""
    """Day (YYYY-MM-DD) before which events are used; empty: all."""
    continue_space: bool = False
    """Continue the track space of the current dataset, so that vectors stay comparable (fsvae daily does); not if its
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
