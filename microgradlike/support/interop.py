"""Where a Value meets other people's code: NumPy, `math`, programs that build nodes by hand.

What would lose the graph without a word raises TypeError, and says what to write instead.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any, NoReturn

from microgradlike.ieee import NOT_COMPUTED, check_class, to_float
from microgradlike.ops import CONSTANT

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
    """Raise TypeError, for the methods that would turn a Value into a plain number."""
    raise TypeError(LOSES_THE_GRAPH)


class NumberLike:
    """What a Value is to other code: it compares and prints as its number, and refuses to become one.

    Also what programs written for micrograd read of it, and how a leaf is copied.
    """

    __slots__ = ()
    _data: float
    _label: str

    @property
    def label(self) -> str:
        """The name of the node in pictures and tables; "" for none."""
        return self._label

    @label.setter
    def label(self: Any, text: str) -> None:
        check_label(text)
        self._label = text

    # fmt: off

    def __lt__(self, other: Any) -> bool: return self._data < _compared(self, other)
    def __le__(self, other: Any) -> bool: return self._data <= _compared(self, other)
    def __gt__(self, other: Any) -> bool: return self._data > _compared(self, other)
    def __ge__(self, other: Any) -> bool: return self._data >= _compared(self, other)
    def __bool__(self) -> bool: return self._data != 0.0
    __hash__ = object.__hash__
    # fmt: on

    def __eq__(self, other: object) -> bool:
        if isinstance(other, NumberLike):
            return self is other
        if getattr(other, "shape", ()):
            return self._data == to_float(other)  # an array: the error says what to do
        return bool(self._data == other)

    __float__ = __int__ = __complex__ = __round__ = __trunc__ = __floor__ = __ceil__ = refuse
    __floordiv__ = __rfloordiv__ = __mod__ = __rmod__ = __divmod__ = __rdivmod__ = refuse
    as_integer_ratio = refuse  # what `statistics` asks for

    def __array_ufunc__(self, function: Any, method: str, *inputs: Any, **settings: Any) -> Any:
        """Compute what NumPy was asked to do with a Value: its operators, for each entry of an array of objects.

        Raises TypeError for functions (`np.exp(v)`), and for arrays of numbers.
        """
        apply = _OPERATORS.get(function.__name__)
        if apply is None or method != "__call__":
            refuse()
        if any(map(is_object_array, inputs)):
            import numpy as np

            entries = [x if hasattr(x, "shape") else _as_array(x) for x in inputs]
            return np.frompyfunc(apply, len(inputs), 1)(*entries, **settings)
        return apply(*(to_float(x[()]) if hasattr(x, "shape") else x for x in inputs))

    @property
    def _prev(self: Any) -> set[Any]:
        return set(self.inputs)

    @property
    def _op(self: Any) -> str:
        return str(self.op.symbol)

    def __repr__(self: Any) -> str:
        grad = self.grad if self.has_grad else NOT_COMPUTED
        return f"Value(data={self._data}, grad={grad}" + (f", label={self._label!r})" if self._label else ")")

    def __format__(self, spec: str) -> str:
        return format(self._data, spec) if spec else str(self)

    def __reduce__(self: Any) -> tuple[Any, ...]:
        if self.inputs:
            raise TypeError(
                f"only leaves can be copied or pickled, and this Value was computed by {self.op}: "
                "save the leaves it was computed from, or Value(v.data), the number without its graph"
            )
        kind = type(self)
        made = _restored, (kind, self._data, self._label, self.grad, self.op is CONSTANT)
        added = kind.__mro__[: kind.__mro__.index(_value_class(kind))]  # by subclasses: slots and attributes
        if not added:
            return made
        names = [name for each in added for name in each.__dict__.get("__slots__", ())]
        slots = {name: getattr(self, name) for name in names if hasattr(self, name)}
        return *made, (getattr(self, "__dict__", None), slots)


def _compared(v: NumberLike, other: Any) -> float:
    """Return the number that v is compared with. Raises TypeError where either is a Value of another class than ours."""
    if not isinstance(other, NumberLike):
        return to_float(other)
    if type(other) is not type(v):  # a subclass, or the Value of before a reload
        check_class(v)
        check_class(other)
    return other._data


def _value_class(kind: type) -> Any:
    """Return Value, of which `kind` is a subclass: `value` imports this module."""
    return next(each for each in kind.__mro__ if NumberLike in each.__bases__)


def _restored(kind: type, data: float, label: str, grad: Any, is_constant: bool) -> Any:
    leaf: Any = object.__new__(kind)
    _value_class(kind).__init__(leaf, data, label)
    leaf.grad = grad
    if is_constant:
        leaf.op, leaf._number = CONSTANT, 0
    return leaf


def check_label(label: object, *made_of: object, **more: object) -> None:
    """Raise TypeError for a label that is no text, and where a program means the inputs of a node by it."""
    if made_of or more or isinstance(label, (tuple, list, set)):
        raise TypeError(BY_HAND)
    if not isinstance(label, str):
        raise TypeError(f"a label is a text, as in Value(2.0, 'w'): got {label!r:.60}")


def is_object_array(x: Any) -> bool:
    """Return whether x is a NumPy array of Python objects, such as Values."""
    return getattr(x, "shape", ()) != () and getattr(getattr(x, "dtype", None), "kind", "") == "O"


def left_to_numpy(operand: Any) -> Any:
    """Return NotImplemented for an array of Values, over which NumPy goes; else raise the current exception."""
    if is_object_array(operand):
        return NotImplemented
    raise


def _as_array(x: Any) -> Any:
    import numpy as np

    array = np.empty((), object)
    array[()] = x
    return array
