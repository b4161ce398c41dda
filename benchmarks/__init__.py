"""Measurements, each of which prints ratios taken side by side in one run."""
