"""The smallest FS-VAE that tests begin with: no softmax, no memory."""

from __future__ import annotations

from typing import Any

PLAIN: dict[str, Any] = {
    "softmax_weight": 0.0,
    "track_table": "frozen",
    "fast_layers": 2,
    "slow_memory": False,
    "fast_memory": False,
    "shared_memory": False,
    "slow_dropout": 0.1,
}
