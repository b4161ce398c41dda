# One entry for each habit. Each makes its own .venv when it is missing.
PYTHON ?= python3.11
BIN := .venv/bin
export OMP_NUM_THREADS ?= 1
JOBS ?= 2

.PHONY: help install quickstart test check lint docs chaos bench bench-train bench-data bench-eval bench-cli bench-serve bench-peers notebooks wheel clean

.venv/.installed: pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev,ann,tune]'
	touch $@

help:  ## this list
	@sed -n 's/^\([a-z-]*\):.*## /\1: /p' $(MAKEFILE_LIST) | awk -F': ' '{printf "%-12s %s\n", $$1, $$2}'

install: .venv/.installed  ## the virtual environment .venv, with fsvae on its path

quickstart: .venv/.installed  ## simulate, train, serve and ask for one user's next tracks
	$(BIN)/fsvae quickstart

check: lint  ## style, types, documentation and the fast tests
	$(BIN)/pytest -n $(JOBS) -m "not e2e"

lint: .venv/.installed docs  ## style, types, documentation and its examples
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/pytest --doctest-modules fsvae

docs: .venv/.installed  ## the documentation as a site, site/index.html; a broken link is an error
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

test: .venv/.installed  ## every test, the end-to-end ones too
	$(BIN)/pytest -n $(JOBS)

KILLS ?= 20
chaos: .venv/.installed  ## kill what serves at random moments, with both stores, and count what was promised; half an hour
	$(BIN)/pytest tests/e2e/test_swap.py
	$(BIN)/python -m tests.e2e.chaos --kills $(KILLS) --store sqlite
	$(BIN)/python -m tests.e2e.chaos --kills $(KILLS) --store redis

bench: bench-train bench-data bench-eval bench-cli  ## all benchmarks but those of the endpoint and of other libraries

bench-train: .venv/.installed  ## training throughput beside the bare LSTM, in one run
	$(BIN)/python -m benchmarks.training_throughput

EVENTS ?= 10000000
bench-data: .venv/.installed  ## ingest, prepare and the memory beside polars, in one run
	env -u OMP_NUM_THREADS $(BIN)/python -m benchmarks.data_throughput --events $(EVENTS)

bench-eval: .venv/.installed  ## evaluation beside the bare product of queries and tracks
	$(BIN)/python -m benchmarks.evaluation

bench-cli: .venv/.installed  ## CPU seconds of each command up to its first work
	$(BIN)/python -m benchmarks.command_line

bench-serve: .venv/.installed  ## requests a second of the endpoint beside one that does nothing, with wrk
	$(BIN)/python -m benchmarks.serving

LOG ?= ../shared/data/lastfm-fragment/lastfm.csv
bench-peers: .venv/.installed  ## our models beside RecTools and RecBole, in environments of their own, in one run
	$(BIN)/python -m benchmarks.peers $(LOG)

notebooks: .venv/.installed  ## execute the notebooks in place, pictures included
	$(BIN)/python notebooks/execute.py

wheel: .venv/.installed  ## dist/fsvae-*.whl
	$(BIN)/python -m build --wheel

clean:  ## delete what make and the commands have made, work/ included
	rm -rf .venv work dist site .mypy_cache .ruff_cache .pytest_cache .hypothesis
