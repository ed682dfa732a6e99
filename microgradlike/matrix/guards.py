"""Comparisons made while a graph is recorded: `if v > 0:` takes a branch that the graph does not show.

`record_guarded` notes the comparisons of Values (and `bool(v)`) with their outcome; a program checks
them on every call, and raises where a sample would have taken the other branch. `if v.data > 0`
compares plain numbers, which nobody can see.
"""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar
from functools import wraps
from numbers import Real
from typing import Any, NamedTuple, TypeVar

from microgradlike.exchange import Exchange, with_undo
from microgradlike.value import Value, constant

T = TypeVar("T")

FUNCTIONS = {"__lt__": "less", "__le__": "less_equal", "__gt__": "greater", "__ge__": "greater_equal",
             "__eq__": "equal", "__bool__": "not_equal"}  # fmt: skip
SYMBOLS = {"less": "<", "less_equal": "<=", "greater": ">", "greater_equal": ">=", "equal": "==", "not_equal": "!="}


class Guard(NamedTuple):
    """left (function) right, and what came out."""

    function: str
    left: Value
    right: Value
    outcome: bool


def record_guarded(f: Callable[[], T]) -> tuple[T, list[Guard]]:
    """Return f(), and the comparisons of Values that it makes: those of this thread, and of no other.

    The methods of Value are exchanged meanwhile, so that comparing costs nothing extra otherwise.
    """
    guards: list[Guard] = []
    user, outer = object(), _noting.get()

    def body() -> T:
        _comparisons.enter(user)
        _noting.set((*outer, guards))
        return f()

    def undo() -> None:
        _noting.set(outer)
        _comparisons.leave(user)

    return with_undo(body, undo), guards


_noting: ContextVar[tuple[list[Guard], ...]] = ContextVar("the guards that are being noted", default=())


def _noted(method: Any, function: str) -> Any:
    @wraps(method)
    def compare(left: Value, *others: Any) -> Any:
        outcome = method(left, *others)
        (right,) = others or (0.0,)  # bool(v) compares with 0
        if (lists := _noting.get()) and isinstance(outcome, bool):
            if isinstance(right, Real):
                right = constant(float(right))
            elif not isinstance(right, Value) or function == "equal":  # two Values are equal if they are one node
                return outcome
            for guards in lists:  # several where f itself calls record_guarded
                guards.append(Guard(function, left, right, outcome))
        return outcome

    return compare


_comparisons = Exchange((Value, name, _noted(getattr(Value, name), function)) for name, function in FUNCTIONS.items())
