# Each target does its own set-up: once, and again when what is to be installed has changed.
PYTHON ?= python3
PIP_INSTALL := .venv/bin/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt

.PHONY: demo test fuzz lint notebooks check-notebooks benchmarks clean

demo: .venv/installed            ## the main job, on handwritten digits
	.venv/bin/microgradlike demo

test: .venv/installed-dev        ## all tests
	.venv/bin/python -m pytest

fuzz: .venv/installed-dev        ## random programs against the scalar engine, and JAX where it is installed: MINUTES=10
	.venv/bin/python tests/fuzz.py --minutes $(or $(MINUTES),10)

lint: .venv/installed-dev        ## style, types, and who may import whom
	.venv/bin/ruff check
	.venv/bin/ruff format --check
	.venv/bin/mypy
	.venv/bin/lint-imports

notebooks: .venv/installed-dev   ## execute the course again; only what came out otherwise is written
	.venv/bin/python notebooks/run.py

check-notebooks: .venv/installed-dev  ## execute it, and fail where a committed output is out of date
	.venv/bin/python notebooks/run.py --check

benchmarks: .venv/installed-dev  ## the published measurements, a few minutes
	.venv/bin/python benchmarks/micrograd_demo.py
	.venv/bin/python benchmarks/memory.py

clean:                           ## start anew
	rm -rf .venv

.venv/installed: .venv/bin/python pyproject.toml constraints.txt
	$(PIP_INSTALL) --editable .
	touch $@

.venv/installed-dev: .venv/bin/python pyproject.toml constraints.txt
	$(PIP_INSTALL) --editable '.[dev]'
	touch .venv/installed $@

# Some Linux distributions leave out ensurepip: then the pip they do have installs one.
.venv/bin/python:
	$(PYTHON) -m venv .venv || { $(PYTHON) -m venv --clear --without-pip .venv && \
	$(PYTHON) -m pip --python .venv/bin/python install --quiet pip; }
