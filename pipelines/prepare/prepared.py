"""The dataset that `prepare` made, as described by its manifest."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from fsvae.features.clock import utc_text
from fsvae.storage import Folder
from pipelines.reports.words import count
from pipelines.runtime.watch import Summary


@dataclass(frozen=True)
class Prepared(Summary):
    """A prepared dataset in its folder."""

    folder: Folder
    manifest: dict[str, Any]
    reused: bool
    """Whether it existed already."""
    seconds: float
    verb = "prepare"

    def lines(self) -> list[str]:
        """Return its contents as text."""
        counts, space = self.manifest["counts"], self.manifest["track_space"]
        cuts = [utc_text(self.manifest[key]) for key in ("train_until_us", "validation_until_us")]
        found = [
            f"{count(counts['listens'], 'listen')} of {count(counts['users'], 'user')}; {counts['catalogue']:,} of "
            f"{count(counts['tracks'], 'track')} in the catalogue; {count(counts['snapshots'], 'slow snapshot')}, "
            f"{'prepared before' if self.reused else f'{self.seconds:.1f} s'} → {self.folder}",
            f"train until {cuts[0]}, validation until {cuts[1]}, test after (UTC)",
        ]
        imputed = sum(number for origin, number in space["origins"].items() if origin not in ("trained", "none"))
        if imputed:
            found.append(f"{imputed:,} tracks outside the catalogue have an imputed vector (album, artist or audio)")
        if drift := space["drift"]:
            found.append(
                f"goes on from the track space of {self.manifest['continues']}: {drift['shared']:,} shared tracks "
                f"drifted by {drift['mean_after']:.3f} (cosine distance), {drift['neighbour_overlap']:.0%} of their "
                "nearest neighbours are the same"
            )
        elif self.manifest["config"]["continue_space"]:
            found.append("begins a track space: there is none from before the end of this training period")
        return found
