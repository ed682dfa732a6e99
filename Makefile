# Each target does its own set-up: once, and again when what is to be installed has changed.
PYTHON ?= python3
VENV := .venv
CONSTRAINTS := constraints.txt
PIP_INSTALL = $(VENV)/bin/python -m pip install --quiet --disable-pip-version-check --constraint $(CONSTRAINTS)

.PHONY: demo test test-oldest test-python mutants fuzz docs lint notebooks check-notebooks benchmarks clean

demo: $(VENV)/installed          ## the main job, on handwritten digits
	$(VENV)/bin/microgradlike demo

test: $(VENV)/installed-dev      ## all tests
	$(VENV)/bin/python -m pytest $(TESTS)

test-oldest:                     ## with the oldest dependencies that we allow, on Python 3.11 or 3.12; all but the browser's
	$(MAKE) test VENV=.venv-oldest CONSTRAINTS=constraints-oldest.txt TESTS='-m "not browser"'

fuzz: $(VENV)/installed-dev      ## random programs against the scalar engine, and JAX where it is installed: MINUTES=10
	$(VENV)/bin/python tests/fuzz.py --minutes $(or $(MINUTES),10)

test-python:                     ## on another Python, as in `make test-python PYTHON=python3.13`; all but the browser's
	$(MAKE) test VENV=.venv-$(notdir $(PYTHON)) TESTS='-m "not browser"'

mutants: $(VENV)/installed-dev   ## 1,000 small mistakes in the package: does a test fail for each? Some hours; see tests/mutants.py
	$(VENV)/bin/python tests/mutants.py

docs: $(VENV)/installed-dev      ## docs/edges.md, from what the tests run
	$(VENV)/bin/python tests/test_edges.py

lint: $(VENV)/installed-dev      ## style, types, and who may import whom
	$(VENV)/bin/ruff check
	$(VENV)/bin/ruff format --check
	$(VENV)/bin/mypy
	$(VENV)/bin/lint-imports

notebooks: $(VENV)/installed-dev  ## execute the course again; only what came out otherwise is written
	$(VENV)/bin/python notebooks/run.py

check-notebooks: $(VENV)/installed-dev  ## execute it, and fail where a committed output is out of date
	$(VENV)/bin/python notebooks/run.py --check

benchmarks: $(VENV)/installed-dev  ## the published measurements, a few minutes
	$(VENV)/bin/python benchmarks/micrograd_demo.py
	$(VENV)/bin/python benchmarks/memory.py

clean:                           ## start anew
	rm -rf .venv .venv-*

$(VENV)/installed: $(VENV)/bin/python pyproject.toml $(CONSTRAINTS)
	$(PIP_INSTALL) --editable .
	touch $@

$(VENV)/installed-dev: $(VENV)/bin/python pyproject.toml $(CONSTRAINTS)
	$(PIP_INSTALL) --editable '.[dev]'
	touch $(VENV)/installed $@

# Some Linux distributions leave out ensurepip: then the pip they do have installs one.
$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV) || { $(PYTHON) -m venv --clear --without-pip $(VENV) && \
	$(PYTHON) -m pip --python $(VENV)/bin/python install --quiet pip; }
