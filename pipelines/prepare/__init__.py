"""Prepare: the lake → a prepared dataset."""
