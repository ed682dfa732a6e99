"""Where a Value meets other people's code: NumPy, `math`, programs that build nodes by hand, another class called Value.

What would lose the graph without a word raises TypeError, and says what to write instead.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any, NoReturn

from microgradlike.ieee import to_float

LOSES_THE_GRAPH = (
    "float(value), math.exp(value) and their like would lose the graph without a word: "
    "use value.data for the number alone, value.exp() and its like to stay in the graph"
)

BY_HAND = """\
a Value that records an operation is made by the operation itself, not from inputs and local derivatives. \
Write your own in two lines, here that of x³, with the functions of xp in place of math's:
    cube = microgradlike.operation("cube", lambda xp, x: x * x * x, lambda xp, y, x: 3.0 * x * x)
    out = cube(x)"""

_OPERATORS: dict[str, Callable[..., Any]] = {
    "add": operator.add, "subtract": operator.sub, "multiply": operator.mul, "divide": operator.truediv,
    "power": operator.pow, "float_power": operator.pow, "negative": operator.neg, "positive": operator.pos,
    "absolute": operator.abs, "less": operator.lt, "less_equal": operator.le, "greater": operator.gt,
    "greater_equal": operator.ge, "equal": operator.eq, "not_equal": operator.ne,
}  # fmt: skip


def refuse(*_: Any) -> NoReturn:
    """Stand for the methods that would turn a Value into a plain number."""
    raise TypeError(LOSES_THE_GRAPH)


def check_label(label: object, *made_of: object, **more: object) -> None:
    """Raise TypeError for a label that is no text, and where a program means the inputs of a node by it."""
    if made_of or more or isinstance(label, (tuple, list, set)):
        raise TypeError(BY_HAND)
    if not isinstance(label, str):
        raise TypeError(f"a label is a text, as in Value(2.0, 'w'): got {label!r:.60}")


def is_object_array(x: Any) -> bool:
    """Return whether x is a NumPy array of Python objects, such as Values."""
    return getattr(x, "shape", ()) != () and getattr(getattr(x, "dtype", None), "kind", "") == "O"


def numpy_function(function: Any, method: str, *inputs: Any, **settings: Any) -> Any:
    """Compute what NumPy was asked to do with a Value: its operators, for each entry of an array of objects.

    Raises TypeError for functions (`np.exp(v)`), and for arrays of numbers.
    """
    apply = _OPERATORS.get(function.__name__)
    if apply is None or method != "__call__":
        refuse()
    if any(map(is_object_array, inputs)):
        import numpy as np

        entries = [x if hasattr(x, "shape") else _as_array(x) for x in inputs]
        entry_by_entry: Any = np.frompyfunc(apply, len(inputs), 1)
        return entry_by_entry(*entries, **settings)
    return apply(*(to_float(x[()]) if hasattr(x, "shape") else x for x in inputs))


def _as_array(x: Any) -> Any:
    import numpy as np

    array = np.empty((), object)
    array[()] = x
    return array
