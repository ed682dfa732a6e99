# Each target does its own set-up: once, and again when what is to be installed has changed.
PYTHON ?= python3
VENV := .venv
CONSTRAINTS := constraints.txt
DEV := --editable '.[dev,jax]'
WITHOUT_JAX := --editable '.[dev]'
PIP_INSTALL = $(VENV)/bin/python -m pip install --quiet --disable-pip-version-check --constraint $(CONSTRAINTS)

.PHONY: demo test test-oldest test-python test-bare lint docs notebooks check-notebooks edition grade fuzz mutants \
	bench measured help clean

demo: $(VENV)/installed          ## the main job, on handwritten digits
	$(VENV)/bin/microgradlike demo

test: $(VENV)/installed-dev      ## all tests
	$(VENV)/bin/python -m pytest $(TESTS)

test-oldest:                     ## with the oldest dependencies, on Python 3.11 or 3.12; no browser, no JAX
	$(MAKE) test VENV=.venv-oldest CONSTRAINTS=constraints-oldest.txt DEV="$(WITHOUT_JAX)" TESTS='-m "not browser"'

test-python:                     ## on another Python, PYTHON=python3.13; no browser, no JAX
	$(MAKE) test VENV=.venv-$(notdir $(PYTHON)) DEV="$(WITHOUT_JAX)" TESTS='-m "not browser"'

test-bare:                       ## those that need no extra, in an installation without extras
	$(MAKE) test VENV=.venv-bare DEV='--editable . pytest hypothesis' TESTS='-m "not browser"'

lint: $(VENV)/installed-dev      ## style, types, and who may import whom
	$(VENV)/bin/ruff check
	$(VENV)/bin/ruff format --check
	$(VENV)/bin/mypy
	$(VENV)/bin/lint-imports

docs: $(VENV)/installed-dev      ## write docs/edges.md, from what the tests run
	$(VENV)/bin/python tests/test_edges.py

notebooks: $(VENV)/installed-dev  ## execute the course again; write only what came out otherwise
	$(VENV)/bin/python notebooks/run.py

check-notebooks: $(VENV)/installed-dev  ## execute it, and fail where a committed output is out of date
	$(VENV)/bin/python notebooks/run.py --check

edition: $(VENV)/installed-dev   ## of the course, for lecturers: student, solutions and slides, in build/edition
	$(VENV)/bin/python notebooks/edition.py

grade: $(VENV)/installed-dev     ## points of handed-in notebooks as CSV: FOLDER=handed_in
	@test -n "$(FOLDER)" || { echo "which folder? make grade FOLDER=handed_in" >&2; exit 2; }
	@$(VENV)/bin/python notebooks/grade.py "$(FOLDER)"

fuzz: $(VENV)/installed-dev      ## random programs against the scalar engine, and JAX if installed: MINUTES=10
	$(VENV)/bin/python tests/fuzz.py --minutes $(or $(MINUTES),10)

mutants: $(VENV)/installed-dev   ## 1,000 small mistakes: does a test fail for each? Takes hours
	$(VENV)/bin/python tests/mutants.py

bench:                           ## every published figure anew, beside PyTorch and JAX: some thirty minutes
	mkdir -p build && grep -v '^mpmath=' constraints.txt >build/constraints.txt  # PyTorch asks for an older one
	$(MAKE) measured VENV=.venv-bench CONSTRAINTS=build/constraints.txt DEV="--editable '.[bench]'"

measured: $(VENV)/installed-dev  ## the same, with what is installed; or some: NAMES="memory page"
	$(VENV)/bin/python -m benchmarks $(NAMES)

help:                            ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-17s %s\n", $$1, $$2 }' Makefile

clean:                           ## start anew
	rm -rf .venv .venv-*

$(VENV)/installed: $(VENV)/bin/python pyproject.toml $(CONSTRAINTS)
	$(PIP_INSTALL) --editable '.[draw,matrix,cli,check,plots]'
	touch $@

$(VENV)/installed-dev: $(VENV)/bin/python pyproject.toml $(CONSTRAINTS)
	$(PIP_INSTALL) $(DEV)
	touch $(VENV)/installed $@

# Some Linux distributions leave out ensurepip: then the pip they do have installs one.
$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV) || { $(PYTHON) -m venv --clear --without-pip $(VENV) && \
	$(PYTHON) -m pip --python $(VENV)/bin/python install --quiet pip; }
