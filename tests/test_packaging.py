"""What the package tells pip and type checkers."""

import re
import tomllib
from importlib.resources import files
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def pins(file):
    """{name: release} of a file of constraints."""
    return dict(re.findall(r"(?m)^([\w-]+)==([\d.]+)$", (ROOT / file).read_text(encoding="utf-8")))


def numbers(release):
    """(2, 0, 0) for 2, 2.0 and 2.0.0."""
    return tuple([*map(int, release.split(".")), 0, 0][:3])


@pytest.mark.parametrize("requirement", [*PROJECT["dependencies"], *PROJECT["optional-dependencies"]["widget"]])
def test_the_oldest_releases_that_we_allow_are_those_that_ci_tests(requirement):
    name, oldest = requirement.split(">=")
    assert numbers(pins("constraints-oldest.txt")[name]) == numbers(oldest) <= numbers(pins("constraints.txt")[name])


def test_type_checkers_are_told_to_read_our_annotations():
    assert (files("microgradlike") / "py.typed").is_file()
