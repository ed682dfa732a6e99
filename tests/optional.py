"""Packages that tests compute with, and what stands for them in an installation that lacks them.

A test that computes with one of them by itself is skipped there; for what a test calls in microgradlike, see conftest.py.
"""

import os
from importlib import import_module

import pytest


class NotInstalled:
    """A package that is not installed, and whatever is taken or made from it."""

    def __init__(self, package):
        self.package = package

    def __repr__(self):
        return f"<of {self.package}, which is not installed>"

    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
        return self()

    def __call__(self, *_, **__):
        if "PYTEST_CURRENT_TEST" in os.environ:
            pytest.skip(f"{self.package} is not installed")
        return self


def optional(package):
    """The package, or what stands for it."""
    try:
        return import_module(package)
    except ModuleNotFoundError as error:
        if error.name != package.partition(".")[0]:
            raise
        return NotInstalled(package)
