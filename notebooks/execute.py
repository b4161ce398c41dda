"""Executes notebooks in place, each in its own folder: python notebooks/execute.py [FILE]... (by default, all here).

What depends on the day or the machine is not kept: when a cell ran, and on which Python.
"""

from __future__ import annotations

import sys
from pathlib import Path

import nbformat
from nbclient import NotebookClient


def execute(path: Path) -> None:
    """Execute a notebook and write it with its outputs; a cell that fails is an error, and then nothing is written."""
    notebook = nbformat.read(path, as_version=4)
    language = notebook.metadata.get("language_info")
    resources = {"metadata": {"path": str(path.parent)}}
    NotebookClient(notebook, resources=resources, timeout=600, record_timing=False).execute()
    notebook.metadata["language_info"] = language
    nbformat.write(notebook, path)


for file in map(Path, sys.argv[1:]) if sys.argv[1:] else sorted(Path(__file__).parent.glob("*.ipynb")):
    execute(file)
