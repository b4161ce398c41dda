"""The version of the code that results come from, so that results of older versions are not reused."""

from __future__ import annotations

RESULTS_VERSION = 5
"""Version that is part of the names of training runs and of the variants of ablation matrices.

Raise it by hand with every change to the results of the same dataset, settings and seed: in a model, a baseline, a
loss, the training, the evaluation, the files of a bundle. Older results stay on disk, and are computed anew.
tests/fsvae/models/test_golden.py fixes losses and figures of the version, so that a change is noticed.
"""
