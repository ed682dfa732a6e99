"""What a course in notebooks needs beside the engine: checked exercises, a progress bar, one style of plots.

A teacher runs `seal(6)` once and puts what it returns into the exercise; the answer itself then
stands nowhere in the notebook:

    answer = ...
    check(answer, "74616d48e0", hint="Multiply along each path, then add up the paths.")

`plt.style.use("microgradlike.course")` gives plots the course's look.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator, Sequence
from html import escape
from importlib import import_module
from typing import Any, TypeVar

from microgradlike.value import Value

T = TypeVar("T")


def check(answer: Any, expected: str | Callable[[Any], Any], hint: str = "") -> None:
    """Print whether an answer is right, and if not a hint; never the answer.

    `expected` is the `seal` of the right answer, or a function that says of an answer whether it is
    right: True, False, or a text that tells what is wrong. What it raises is reported, as what is
    wrong with the answer. The answer `...` counts as none yet, and so does the verdict `...`, of a
    function that is still to be written.
    """
    verdict: Any
    try:
        verdict = answer if answer is ... else expected(answer) if callable(expected) else _fits(answer, expected)
    except Exception as error:
        verdict = f"{type(error).__name__}: {error}."
    if verdict is ...:
        print("· No answer yet: put yours in place of the dots.")
    elif verdict is True:
        print("✓ Right.")
    else:
        print(" ".join(["✗ Not yet.", *([verdict] if verdict else []), *([f"Hint: {hint}"] if hint else [])]))


def seal(answer: Any) -> str:
    """Return a fingerprint by which `check` knows an answer, and from which nobody can read it.

    An int must be met exactly, another number (or Value) to three digits, a text apart from case
    and spaces, a list or tuple element by element.
    """
    if isinstance(answer, list | tuple):
        return f"[{' '.join(map(seal, answer))}]"
    if isinstance(answer, str):
        text = repr("".join(answer.split()).casefold())
    elif isinstance(answer, int):
        text = str(int(answer))
    else:
        text = f"about {_as_number(answer):.2e}"
    return hashlib.sha256(f"microgradlike: {text}".encode()).hexdigest()[:10]


def _as_number(answer: Any) -> Any:
    return answer.data if isinstance(answer, Value) else answer  # NumPy's scalars have a `data` too


def _fits(answer: Any, sealed: str) -> bool:
    if isinstance(answer, list | tuple):
        seals = sealed.strip("[]").split()
        return sealed[0] == "[" and len(seals) == len(answer) and all(map(_fits, answer, seals))
    if isinstance(answer, str):
        return seal(answer) == sealed
    number = float(_as_number(answer))
    nearly = [number, number * 0.9995, number * 1.0005]  # an answer may have been rounded the other way
    whole = [round(number)] if abs(number - round(number)) < 1e-9 * max(1.0, abs(number)) else []
    return sealed in map(seal, [*nearly, *whole])


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
