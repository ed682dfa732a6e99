"""Comparisons made while a graph is recorded: `if v > 0:` takes a branch that the graph does not show.

`record_guarded` notes the comparisons of Values (and `bool(v)`) with their outcome; a program checks
them on every call, and raises where a sample would have taken the other branch. `if v.data > 0`
compares plain numbers, which nobody can see; but that v.data was read can be seen, and is noted.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import wraps
from numbers import Real
from typing import Any, NamedTuple, TypeVar

from microgradlike import ops
from microgradlike.support.exchange import Exchange, with_undo
from microgradlike.support.interop import NumberLike
from microgradlike.support.places import Place, place_outside, place_text
from microgradlike.value import Value, constant
from microgradlike.view.table import clean

T = TypeVar("T")
SHOWN = 8  # lines in a warning
WARNING = """\
the function that records the loss reads numbers, as .data. The program keeps them as they are now, for all
samples and parameters, and a branch that is taken by them. Read in
{}
Nothing is lost where the loss does not depend on them, as on an accuracy that is counted. Otherwise compare
the Values themselves (then every call checks the branch), use maximum and its like, or softmax and
logsumexp in place of a shift by the largest number, which overflows for other samples."""

FUNCTIONS = {"__lt__": "less", "__le__": "less_equal", "__gt__": "greater", "__ge__": "greater_equal",
             "__eq__": "equal", "__bool__": "not_equal"}  # fmt: skip
SYMBOLS = {"less": "<", "less_equal": "<=", "greater": ">", "greater_equal": ">=", "equal": "==", "not_equal": "!="}


class Guard(NamedTuple):
    """left (function) right, and what came out."""

    function: str
    left: Value
    right: Value
    outcome: bool

    def __str__(self) -> str:
        left, right = self.left.label or "a Value", self.right.label or self.right.data
        return clean(f"{left} {SYMBOLS[self.function]} {right}")

    def check(self, held: Any) -> None:
        """Raise ValueError unless the comparison came out for all samples as it did while recording."""
        if not held.all():
            was = "" if self.outcome else "not "
            raise ValueError(
                f"while the loss was recorded, {self} did {was}hold, and Python took that branch; in this "
                "batch it comes out otherwise for some sample: use relu, maximum or another operation "
                "in place of `if`, or stay with the scalar engine"
            )


@dataclass(frozen=True, slots=True)
class Notes:
    """What a function did while it recorded: the comparisons it made, and the lines that read `data` of a Value."""

    guards: list[Guard] = field(default_factory=list)
    reads: dict[Place, Value] = field(default_factory=dict)  # one Value for each line

    def warning(self) -> str:
        """Return what is to be said of the lines that read `data`; "" if there are none."""
        if not self.reads:
            return ""
        lines = [f"  {place_text(place)}" for place in list(self.reads)[:SHOWN]]
        if len(self.reads) > SHOWN:
            lines.append(f"  … and {len(self.reads) - SHOWN} more")
        return WARNING.format("\n".join(lines))


def record_guarded(f: Callable[[], T]) -> tuple[T, Notes]:
    """Return f(), and notes of what it did in this thread, and no other.

    The methods of Value are exchanged meanwhile, so that comparing and reading cost nothing extra otherwise.
    """
    notes = Notes()
    user, outer = object(), _noting.get()

    def body() -> T:
        _noted_methods.enter(user)
        _noting.set((*outer, notes))
        return f()

    def undo() -> None:
        _noting.set(outer)
        _noted_methods.leave(user)

    return with_undo(body, undo), notes


_noting: ContextVar[tuple[Notes, ...]] = ContextVar("the notes that are being taken", default=())


def _noted(method: Any, function: str) -> Any:
    @wraps(method)
    def compare(left: Value, *others: Any) -> Any:
        outcome = method(left, *others)
        (right,) = others or (0.0,)  # bool(v) compares with 0
        if (several := _noting.get()) and isinstance(outcome, bool):
            if isinstance(right, Real):
                right = constant(float(right))
            elif not isinstance(right, Value) or function == "equal":  # two Values are equal if they are one node
                return outcome
            for notes in several:  # where f itself calls record_guarded
                notes.guards.append(Guard(function, left, right, outcome))
        return outcome

    return compare


def _noted_read(node: Value) -> float:
    number = node._data
    if (several := _noting.get()) and node.op is not ops.CONSTANT:
        reader = sys._getframe(1)
        place = place_outside(reader)
        if place == (reader.f_code.co_filename, reader.f_lineno):  # else it is the package that reads
            for notes in several:
                notes.reads.setdefault(place, node)
    return number


_noted_methods = Exchange(
    [
        *((NumberLike, name, _noted(getattr(NumberLike, name), function)) for name, function in FUNCTIONS.items()),
        (Value, "data", property(_noted_read, Value.data.fset, doc=Value.data.__doc__)),  # type: ignore[attr-defined]
    ]
)
