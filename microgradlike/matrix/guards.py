"""Comparisons made while a graph is recorded: `if v > 0:` takes a branch that the graph does not show.

While `Guards` is active, the comparisons of Values (and `bool(v)`) are noted with their outcome;
a program checks them on every call, and raises where a sample would have taken the other branch.
`if v.data > 0` compares plain numbers, which nobody can see.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from microgradlike.value import Value, constant

FUNCTIONS = {"__lt__": "less", "__le__": "less_equal", "__gt__": "greater", "__ge__": "greater_equal",
             "__eq__": "equal", "__ne__": "not_equal", "__bool__": "not_equal"}  # fmt: skip
SYMBOLS = {"less": "<", "less_equal": "<=", "greater": ">", "greater_equal": ">=", "equal": "==", "not_equal": "!="}


class Guard(NamedTuple):
    """left (function) right, and what came out."""

    function: str
    left: Value
    right: Value
    outcome: bool


class Guards:
    """A context in which comparisons of Values are noted in `seen`.

    The methods of Value are exchanged meanwhile, so that comparing costs nothing extra otherwise.
    """

    def __init__(self) -> None:
        self.seen: list[Guard] = []
        self._methods: dict[str, Any] = {}

    def __enter__(self) -> Guards:
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

    def _noting(self, method: Any, function: str) -> Any:
        def compare(left: Value, right: Any = 0.0) -> Any:
            outcome = method(left) if function == "not_equal" and method.__name__ == "__bool__" else method(left, right)
            if isinstance(outcome, bool):
                self.seen.append(Guard(function, left, right if isinstance(right, Value) else constant(right), outcome))
            return outcome

        return compare
