"""A progress bar for notebooks."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from html import escape
from importlib import import_module
from typing import TypeVar

T = TypeVar("T")


def progress(items: Sequence[T], what: str = "") -> Iterator[T]:
    """Yield the items one by one, with a progress bar in a notebook that goes away at the end."""
    display = import_module("IPython.display").display
    bar = display({"text/html": ""}, raw=True, display_id=True)
    shown = 0.0
    for done, item in enumerate(items):
        if bar and time.monotonic() > shown + 0.1:
            meter = f'{escape(what)} <progress value="{done}" max="{len(items)}"></progress> {done} of {len(items)}'
            bar.update({"text/html": meter}, raw=True)
            shown = time.monotonic()
        yield item
    if bar:
        bar.update({"text/html": ""}, raw=True)
