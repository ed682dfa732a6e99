"""The benchmarks start, and none is forgotten. What they measure is nobody's business here."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SCRIPTS = {path.stem for path in (ROOT / "benchmarks").glob("*.py")} - {"__init__", "__main__", "machine"}


def run(*arguments):
    command = [sys.executable, *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, encoding="utf-8", check=True).stdout


def test_all_are_described_and_reachable_from_the_makefile():
    page = (ROOT / "benchmarks" / "README.md").read_text(encoding="utf-8")
    assert set(re.findall(r"^\| `(\w+)` \|", page, re.MULTILINE)) == SCRIPTS
    assert set(measured()) == SCRIPTS - {"publish", "matrix_ladder"}


def measured():
    return json.loads((ROOT / "benchmarks" / "figures.json").read_text(encoding="utf-8"))


def test_each_figure_comes_from_a_benchmark_that_all_of_them_includes():
    pytest.importorskip("playwright")
    from benchmarks.__main__ import ALL

    assert set(measured()) == {*ALL, "gpu"}


def test_pages_show_the_figures_that_were_measured():
    pytest.importorskip("numpy")
    from benchmarks import publish

    for page in publish.PAGES:
        text = (ROOT / page).read_text(encoding="utf-8")
        assert "<!-- measured:" in text
        assert publish.with_tables(text, measured()) == text


def test_contestants_who_compute_other_numbers_are_told_apart():
    numpy = pytest.importorskip("numpy")
    from benchmarks.matrix_speed import agrees, digest

    W, b = numpy.random.default_rng(0).normal(size=(30, 784)), numpy.zeros(30)
    rounded = W * (1 + 1e-15)
    assert agrees(digest([b, rounded[::-1]]), digest([W, b]))
    for i in (0, 1000, W.size - 1):
        other = W.copy()
        other.flat[i] += 1e-4
        assert not agrees(digest([other, b]), digest([W, b]))
        assert not agrees(digest([W, b + other.flat[i]]), digest([W, b]))


def test_all_are_modules_of_one_package():
    pytest.importorskip("numpy")
    run("-c", "import " + ", ".join(f"benchmarks.{name}" for name in sorted(SCRIPTS)))


def test_one_starts_its_workers_and_reads_what_they_measured():
    pytest.importorskip("micrograd")
    lines = run("-m", "benchmarks.memory", "--operations", "1000").splitlines()[-4:]
    assert [line.split()[0] for line in lines] == ["micrograd", "micrograd", "microgradlike", "microgradlike"]
    assert [line.split()[-1] for line in lines[2:]] == ["0", "0"]  # objects in cycles
