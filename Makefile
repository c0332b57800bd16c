# Everything a developer or a fresh machine needs: Python 3.11 or newer with venv, and make.
#   PYTHON=python3.12 make test      another interpreter (run `make clean` first if .venv exists)
#   make run ARGS="--help"           ARGS go to the command behind the target

PYTHON ?= python3
VENV ?= .venv
ARGS ?=

BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --quiet --disable-pip-version-check
# The lock is the whole list, so pip has nothing to resolve: what is not in the lock is not installed.
INSTALL := $(PIP) install --require-hashes --no-deps --requirement
COMPILE := $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --fork-strategy fewest --generate-hashes \
	--no-header --no-annotate --no-emit-index-url --no-emit-find-links --group build

.DEFAULT_GOAL := help
.PHONY: help setup setup-dev run test live bench lint types floors check studio format lock clean

help: ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(firstword $(MAKEFILE_LIST))

setup: $(VENV)/.runtime ## install what a run needs into .venv

setup-dev: $(VENV)/.dev ## install everything: tests, linters and all extras

run: setup ## run Edgewise on the embedded digital twin
	@$(BIN)/python -m runner $(ARGS)

test: setup-dev ## unit tests
	@$(BIN)/python -m runner compile
	@$(BIN)/python -m pytest -n 2 $(ARGS)

live: setup-dev ## tests that take long or ask real servers on loopback (no such test is no failure)
	@$(BIN)/python -m pytest -m live $(ARGS) || test $$? -eq 5

bench: setup-dev ## measure speed: the twin beside SimPy, the graph beside an empty one, the memory, and single calls
	@$(BIN)/python -m benchmarks.twin_speed --long
	@$(BIN)/python -m benchmarks.graph_overhead --long
	@$(BIN)/python -m benchmarks.memory
	@$(BIN)/python -m pytest -m bench -s $(ARGS)

lint: setup-dev ## formatting and style
	@$(BIN)/ruff format --check --quiet . || { echo "Not formatted: run make format"; exit 1; }
	@$(BIN)/ruff check --quiet .

types: setup-dev ## mypy --strict
	@$(BIN)/mypy

floors: setup-dev ## who may import whom
	@$(BIN)/lint-imports --no-logo

check: lint types floors test ## all of the above that needs no server

format: setup-dev ## rewrite the code in the house style
	@$(BIN)/ruff format --quiet .
	@$(BIN)/ruff check --fix --quiet .

studio: setup-dev ## serve the slot graph to LangGraph Studio, on this machine alone
	@LANGSMITH_TRACING=$${LANGSMITH_TRACING:-false} $(BIN)/langgraph dev --host 127.0.0.1 --no-browser $(ARGS)

lock: $(BIN)/python ## pin all requirements anew, after a change of pyproject.toml (ARGS=--upgrade for new versions)
	@$(PIP) install uv
	@$(COMPILE) $(ARGS) --all-extras pyproject.toml --output-file requirements-dev.lock
	@$(COMPILE) --constraint requirements-dev.lock pyproject.toml --output-file requirements.lock

clean: ## remove .venv and every cache
	@rm -rf $(VENV) build *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache .langgraph_api
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit("Edgewise needs Python 3.11 or newer: PYTHON=python3.12 make ...")'
	@$(PYTHON) -m venv $(VENV)

$(VENV)/.runtime: requirements.lock pyproject.toml | $(BIN)/python
	@echo "Installing the requirements into $(VENV) (a few minutes, once)"
	@$(INSTALL) requirements.lock
	@$(PIP) install --no-deps --no-build-isolation --editable .
	@touch $@

$(VENV)/.dev: requirements-dev.lock pyproject.toml | $(BIN)/python
	@echo "Installing the requirements and the development tools into $(VENV) (a few minutes, once)"
	@$(INSTALL) requirements-dev.lock
	@$(PIP) install --no-deps --no-build-isolation --editable .
	@touch $@ $(VENV)/.runtime
