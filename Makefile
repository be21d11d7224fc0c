# The only entry. `make help` lists what there is. Needs: make, and Python 3.11 or later with venv.
#
# Everything is kept inside the project: .venv (the environment), .tools (uv and all caches).

SHELL := /bin/bash
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

UV_VERSION := 0.13.9
BIN := .venv/bin
UV := .tools/uv/bin/uv
DONE := .venv/.dncsync-installed
SEEDS ?= 500
FIRST ?= 1
# A third one works while tests of the others wait for daemons.
WORKERS ?= 3
TREES := src connectors tests

export UV_CACHE_DIR := $(CURDIR)/.tools/cache/uv
export UV_PROJECT_ENVIRONMENT := $(CURDIR)/.venv
export UV_PYTHON_DOWNLOADS := never
export UV_SYSTEM_CERTS := 1
export PIP_CACHE_DIR := $(CURDIR)/.tools/cache/pip
export PIP_DISABLE_PIP_VERSION_CHECK := 1
export MYPY_CACHE_DIR := $(CURDIR)/.tools/cache/mypy
export RUFF_CACHE_DIR := $(CURDIR)/.tools/cache/ruff
# A virtual environment or library path of the caller's must not reach into ours.
unexport VIRTUAL_ENV PYTHONPATH PYTHONHOME

# The first Python that is new enough and can make a virtual environment.
PYTHON ?= $(shell for python in python3 python3.13 python3.12 python3.11 /usr/bin/python3 /usr/local/bin/python3; do \
	"$$python" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null \
	&& "$$python" -c 'import sys; print(sys.executable)' && break; done)

.PHONY: help install demo test test-long test-pythons lint format types bench simulate mutants example check clean

help: ## this list
	@sed -n 's/^\([a-z][a-z-]*\):.*## \(.*\)/  \1\t\2/p' $(MAKEFILE_LIST) | expand -t 18

install: $(DONE) ## everything into .venv, from the lock file

$(UV):
	@test -n "$(PYTHON)" || { echo "make: no Python 3.11 or later with venv found; on Debian: apt-get install python3 python3-venv"; exit 1; }
	@mkdir -p .tools && echo '*' > .tools/.gitignore
	"$(PYTHON)" -m venv .tools/uv
	.tools/uv/bin/python -m pip install --quiet uv==$(UV_VERSION)

$(DONE): $(UV) pyproject.toml uv.lock
	@test -n "$(PYTHON)" || { echo "make: no Python 3.11 or later with venv found"; exit 1; }
	$(UV) sync --frozen --quiet --python "$(PYTHON)"
	@touch $@

demo: $(DONE) ## the story in a minute: real daemon, real SDKs, four sandboxes
	$(BIN)/python -m dncsync.testing.demo

test: $(DONE) ## the whole suite, below ten minutes
	$(BIN)/python -m pytest -q -n $(WORKERS) -m "not slow"

test-long: $(DONE) ## the longer suites
	$(BIN)/python -m pytest -q -n $(WORKERS) -m slow || test $$? -eq 5

test-pythons: $(DONE) ## the core of the suite with the other Pythons that are here
	UV=$(UV) WORKERS=$(WORKERS) .ci/test-pythons tests/unit tests/migration tests/integration/ledger tests/integration/sync

lint: $(DONE) ## ruff, and whether everything is formatted
	$(BIN)/ruff check $(TREES)
	$(BIN)/ruff format --check $(TREES)

format: $(DONE) ## puts code into its form
	$(BIN)/ruff check --fix --quiet $(TREES) || true
	$(BIN)/ruff format $(TREES)

types: $(DONE) ## mypy, strict
	$(BIN)/mypy

bench: $(DONE) ## each figure with its ratio, and bench-results.json
	$(BIN)/python tests/benchmarks/run.py --json bench-results.json

simulate: $(DONE) ## SEEDS=n FIRST=s: n simulated worlds from seed s on
	$(BIN)/python tests/simulation/run.py --seeds $(SEEDS) --first $(FIRST)

mutants: $(DONE) ## planted faults, each of which the simulation must catch
	$(BIN)/python tests/simulation/mutants.py

example: $(DONE) ## writes config/dncsync.example.toml anew from the settings classes
	$(BIN)/python -m dncsync.settings_template > config/.example.tmp
	mv config/.example.tmp config/dncsync.example.toml

check: lint types test-long simulate mutants test ## all that CI does

clean: ## removes the environment, tools, caches and results
	rm -rf .venv .tools .mypy_cache .ruff_cache .pytest_cache .hypothesis .demo dist build bench-results.json
	find $(TREES) -name __pycache__ -type d -prune -exec rm -rf {} +
