"""The benchmarks start, and none is forgotten. What they measure is nobody's business here."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SCRIPTS = {path.stem for path in (ROOT / "benchmarks").glob("*.py")} - {"__init__", "machine"}


def run(*arguments):
    command = [sys.executable, *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, encoding="utf-8", check=True).stdout


def test_all_are_described_and_reachable_from_the_makefile():
    page = (ROOT / "benchmarks" / "README.md").read_text(encoding="utf-8")
    assert set(re.findall(r"^\| `(\w+)` \|", page, re.MULTILINE)) == SCRIPTS
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert set(re.findall(r"-m benchmarks\.(\w+)", makefile)) == SCRIPTS


def test_all_are_modules_of_one_package():
    pytest.importorskip("numpy")
    run("-c", "import " + ", ".join(f"benchmarks.{name}" for name in sorted(SCRIPTS)))


def test_one_starts_its_workers_and_reads_what_they_measured():
    pytest.importorskip("micrograd")
    lines = run("-m", "benchmarks.memory", "1000").splitlines()[-4:]
    assert [line.split()[0] for line in lines] == ["micrograd", "micrograd", "microgradlike", "microgradlike"]
    assert [line.split()[-1] for line in lines[2:]] == ["0", "0"]  # objects in cycles
