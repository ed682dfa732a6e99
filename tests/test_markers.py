"""A test that opens a browser says so, or fails: `-m "not browser"` then leaves out all that need one, and no other."""

import subprocess
import sys
from pathlib import Path

TESTS = """
import pytest

@pytest.mark.browser
def test_marked(chromium_of_a_page):
    pass

def test_not_marked(chromium_of_a_page):
    pass

@pytest.mark.browser
def test_marked_for_nothing():
    pass

def test_without():
    pass

@pytest.fixture
def chromium_of_a_page(chromium):
    pass

@pytest.fixture(scope="module")
def chromium():
    pass
"""


def test_the_mark_and_the_browser_belong_together(tmp_path):
    (tmp_path / "test_browsing.py").write_text(TESTS, encoding="utf-8")
    ran = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "conftest", "-o", "markers=browser", "-q", "-rA", tmp_path],
        cwd=Path(__file__).parent,
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=False,
    )
    ends = dict(
        line.split(" ")[:2][::-1] for line in ran.stdout.splitlines() if line.startswith(("PASSED", "FAILED", "ERROR"))
    )
    assert {name.split("::")[1]: end for name, end in ends.items()} == {
        "test_marked": "PASSED",
        "test_not_marked": "ERROR",
        "test_marked_for_nothing": "ERROR",
        "test_without": "PASSED",
    }, ran.stdout
