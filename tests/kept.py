"""Texts that are kept in `snapshots/`, as they were when somebody looked at them."""

import difflib
import inspect
from pathlib import Path

import pytest

FOLDER = Path(__file__).with_name("snapshots")


def several(texts):
    """Several texts in one, each under its name."""
    return "\n\n".join(f"{name}\n{text}" for name, text in texts.items())


def check(name, make):
    """Fail where the text that `make` gives is no longer the one that is kept."""
    kept, now = (FOLDER / name).read_text(encoding="utf-8"), make() + "\n"
    if kept != now:
        changes = list(difflib.unified_diff(kept.splitlines(), now.splitlines(), "kept", "now", lineterm="", n=0))
        script = Path(inspect.getfile(make)).name
        what_to_do = f"look at it; if it is as it should be, write it anew with `python tests/{script}`"
        pytest.fail("\n".join([f"{name} changed:", *changes[:40], what_to_do]), pytrace=False)


def write(texts):
    """Write what has changed of texts, given by the names of their files as what makes them."""
    for name, make in texts.items():
        path, now = FOLDER / name, make() + "\n"
        if not path.exists() or path.read_text(encoding="utf-8") != now:
            path.write_text(now, encoding="utf-8")
            print(f"{path} is written anew")
