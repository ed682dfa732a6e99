"""Comparisons made while a graph is recorded: `if v > 0:` takes a branch that the graph does not show.

While `Guards` is active, the comparisons of Values (and `bool(v)`) are noted with their outcome;
a program checks them on every call, and raises where a sample would have taken the other branch.
`if v.data > 0` compares plain numbers, which nobody can see.
"""

from __future__ import annotations

from numbers import Real
from threading import RLock, get_ident
from typing import Any, NamedTuple

from microgradlike.value import Value, constant

FUNCTIONS = {"__lt__": "less", "__le__": "less_equal", "__gt__": "greater", "__ge__": "greater_equal",
             "__eq__": "equal", "__ne__": "not_equal", "__bool__": "not_equal"}  # fmt: skip
SYMBOLS = {"less": "<", "less_equal": "<=", "greater": ">", "greater_equal": ">=", "equal": "==", "not_equal": "!="}


_one_at_a_time = RLock()


class Guard(NamedTuple):
    """left (function) right, and what came out."""

    function: str
    left: Value
    right: Value
    outcome: bool


class Guards:
    """A context in which the comparisons of Values that this thread makes are noted in `seen`.

    The methods of Value are exchanged meanwhile, so that comparing costs nothing extra otherwise.
    Other threads compare as ever, and wait with contexts of their own.
    """

    def __init__(self) -> None:
        self.seen: list[Guard] = []
        self._methods: dict[str, Any] = {}
        self._thread = get_ident()

    def __enter__(self) -> Guards:
        _one_at_a_time.acquire()
        for name, function in FUNCTIONS.items():
            self._methods[name] = Value.__dict__.get(name)
            setattr(Value, name, self._noting(getattr(Value, name), function))
        return self

    def __exit__(self, *error: Any) -> None:
        for name, method in self._methods.items():
            if method is None:
                delattr(Value, name)
            else:
                setattr(Value, name, method)
        _one_at_a_time.release()

    def _noting(self, method: Any, function: str) -> Any:
        def compare(left: Value, *others: Any) -> Any:
            outcome = method(left, *others)
            (right,) = others or (0.0,)  # bool(v) compares with 0
            if isinstance(outcome, bool) and isinstance(right, Value | Real) and get_ident() == self._thread:
                right = right if isinstance(right, Value) else constant(float(right))
                self.seen.append(Guard(function, left, right, outcome))
            return outcome

        return compare
