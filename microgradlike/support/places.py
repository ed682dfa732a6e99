"""Where in the user's program something happens: the file, the line and its text."""

from __future__ import annotations

import linecache
import os
import re
from types import FrameType

Place = tuple[str, int]  # a file and a line of it
PACKAGE = __name__.partition(".")[0]


def place_outside(frame: FrameType | None) -> Place | None:
    """Return the line that runs in the innermost frame outside this package, from `frame` outwards."""
    while frame and frame.f_globals.get("__name__", "").partition(".")[0] == PACKAGE:
        frame = frame.f_back
    return (frame.f_code.co_filename, frame.f_lineno) if frame else None


def place_text(place: Place) -> str:
    """Say which line it is: "train.py:12  loss = model(x)"."""
    path, line = place
    code = linecache.getline(path, line).strip()
    if re.search(r"[/\\]ipykernel_\d+[/\\]", path):
        path = "notebook cell"  # the kernel's temporary file says nothing to anybody
    return f"{path.removeprefix(os.path.join(os.getcwd(), ''))}:{line}" + (code and f"  {code}")
