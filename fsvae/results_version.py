"""The version of the code that results come from: no result of an older version is taken for one of this."""

from __future__ import annotations

RESULTS_VERSION = 1
"""Part of the names of training runs and of the variants of ablation matrices, beside their settings.

To be raised by hand with every change that moves what the same dataset, settings and seed lead to: a model, a baseline,
a loss, the training, the evaluation, the files of a bundle. What was made before stays on disk, and is made anew.
tests/fsvae/models/test_golden.py holds losses and figures to the version, so that a change is noticed.
"""
