"""Exercises that are checked: `check` says whether an answer is right, and what is wrong with it."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Callable, Mapping
from math import inf
from typing import Any

from microgradlike.course.limit import within
from microgradlike.value import Value

Hints = Mapping[Any, str]


def check(
    answer: Any, expected: str | Callable[[Any], Any], hint: str = "", hints: Hints | None = None, seconds: float = 10.0
) -> None:
    """Print whether an answer is right, and if not what is wrong with it and a hint; never the answer.

    `expected` is the `seal` of the right answer, or a function that says of an answer whether it is
    right: True, False, or a text that tells what is wrong. What it raises is reported as what is
    wrong, and what is not done after so many seconds is stopped. The answer `...` counts as none
    yet, and so does the verdict `...`, of a function that is still to be written.

    `hints` has a hint for each wrong answer that one expects, or for a class of exceptions, such as
    TimeoutError; `hint` is for all others:

        check(answer, "e9535f10de", hint="Count the weights.", hints={23860: "That is n; central differences take 2n."})
    """
    if not (isinstance(expected, str) or callable(expected)):
        raise TypeError(f"expected the seal of the right answer, or a function that judges it, got {expected!r:.60}")
    reason: Any = answer  # what the hint answers
    try:
        verdict = _compare(answer, expected) if isinstance(expected, str) else _judge(answer, expected, seconds)
    except (Exception, SystemExit) as error:
        verdict, reason = _explain(error, answer, seconds), error
    if verdict is ...:
        print("· No answer yet: put yours in place of the dots.")
    elif verdict is True:
        print("✓ Right.")
    else:
        hint = _hint_for(reason, hints or {}) or hint
        print(" ".join(["✗ Not yet.", *([verdict] if verdict else []), *([f"Hint: {hint}"] if hint else [])]))


def seal(answer: Any) -> str:
    """Return a fingerprint by which `check` knows an answer, and from which nobody can read it.

    An int must be met exactly, another number (or Value) to three digits, a text apart from case
    and spaces, a list or tuple element by element.
    """
    answer = _plain(answer)
    if isinstance(answer, list):
        return f"[{' '.join(map(seal, answer))}]"
    if isinstance(answer, str):
        text = repr("".join(answer.split()).casefold())
    elif isinstance(answer, int):
        text = str(answer)
    else:
        text = f"about {answer:.2e}"
    return hashlib.sha256(f"microgradlike: {text}".encode()).hexdigest()[:10]


# ── What an answer is compared with ────────────────────────────────────────────────────────────


def _compare(answer: Any, sealed: str) -> Any:
    """Return True, `...` for no answer yet, or what is wrong."""
    answer = _plain(answer)
    seals = sealed.strip("[]").split()
    if answer is ... or (isinstance(answer, list) and any(part is ... for part in answer)):
        return ...
    if sealed[0] != "[":
        return _fits(answer, sealed) or _what_it_is(answer, "one number or one word is asked for")
    if not isinstance(answer, list) or len(answer) != len(seals):
        return _what_it_is(answer, f"{len(seals)} answers are asked for, as in (1, 2)")
    wrong = [i for i, (part, each) in enumerate(zip(answer, seals), start=1) if not _fits(part, each)]
    if len(wrong) in (0, len(seals)):
        return not wrong or _what_it_is(answer[0], "one number or one word is asked for in each place")
    return f"Right but for number {', '.join(map(str, wrong))}."


def _fits(answer: Any, sealed: str) -> bool:
    if isinstance(answer, str | bool):
        return seal(answer) == sealed
    if not isinstance(answer, int | float) or not abs(answer) < 1e308:  # no infinity, no nan
        return False
    number = float(answer)
    nearly = [number, number * 0.9995, number * 1.0005]  # an answer may have been rounded the other way
    whole = [round(number)] if abs(number - round(number)) < 1e-9 * max(1.0, abs(number)) else []
    return sealed in map(seal, [*nearly, *whole])


def _plain(answer: Any) -> Any:
    """Return NumPy's numbers and arrays, Values and tuples as Python's numbers and lists."""
    if isinstance(answer, Value):
        return answer.data
    if hasattr(answer, "tolist") and not isinstance(answer, type):
        return answer.tolist()
    return [_plain(part) for part in answer] if isinstance(answer, list | tuple) else answer


def _what_it_is(answer: Any, asked: str) -> str:
    """Return what a wrong answer is, if it cannot be right for its kind, and else no text."""
    if isinstance(answer, str):
        return "This is a text: write numbers without quotation marks." if _reads_as_number(answer) else ""
    if answer is None:
        return f"This is None, and {asked}: does your code return something?"
    if isinstance(answer, int | float):
        if "answers are" in asked:
            return f"This is one number, and {asked}."
        return "" if abs(answer) < inf else f"This is {answer}: something was too large for a float, or divided by 0."
    return f"This is {_kind(answer)}, and {asked}."


def _reads_as_number(text: str) -> bool:
    try:
        float(text.replace(",", ""))
    except ValueError:
        return False
    return True


def _kind(answer: Any) -> str:
    if isinstance(answer, type) or not callable(answer):
        return f"a list of {len(answer)}" if isinstance(answer, list) else f"of the type {type(answer).__name__}"
    return "a function"


# ── What judges say ────────────────────────────────────────────────────────────────────────────


def _judge(answer: Any, judge: Callable[[Any], Any], seconds: float) -> Any:
    if answer is ...:
        return ...
    verdict = within(seconds, lambda: judge(answer))
    if verdict is ... or isinstance(verdict, str):
        return verdict
    return isinstance(_plain(verdict), bool) and bool(verdict)


def _explain(error: BaseException, answer: Any, seconds: float) -> str:
    """Return what an exception says about an answer."""
    if isinstance(error, TimeoutError):
        return f"It was stopped after {seconds:g} seconds: it never ends, or does the same work again and again."
    if isinstance(error, RecursionError):
        return f"It calls itself too often: Python stops at {sys.getrecursionlimit()} calls within each other."
    if isinstance(error, AssertionError):
        return str(error)
    if not callable(answer) and str(error).endswith("object is not callable"):
        return f"This is {_kind(answer)}, and a function is asked for."
    said = f"{type(error).__name__}: {' '.join(str(error).split()).rstrip('.')}"
    return f"{said}." if callable(answer) else f"This is {_kind(answer)}, which does not fit the question ({said})."


def _hint_for(reason: Any, hints: Hints) -> str:
    for wrong, hint in hints.items():
        if isinstance(wrong, type) and isinstance(reason, wrong):
            return hint
        if (
            not isinstance(wrong, type)
            and not isinstance(reason, BaseException)
            and _compare(reason, seal(wrong)) is True
        ):
            return hint
    return ""
