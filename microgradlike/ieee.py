"""Numbers: what counts as one, and the functions that rules compute with, by IEEE 754 where Python's own differ.

Python raises an error for 1/0, exp(1000) and log(0), and answers (-8)**0.5 with a complex number.
NumPy and PyTorch follow IEEE 754: inf, -inf and nan. So do we.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from functools import reduce
from math import inf, nan
from numbers import Complex, Real
from typing import Any


class _NotComputed(float):
    """A zero that knows that it is none: arithmetic sees 0, a reader sees –."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "–"

    def __reduce__(self) -> str:
        return "NOT_COMPUTED"  # its copy is itself


NOT_COMPUTED = _NotComputed()


def to_float(x: object) -> float:
    """Return x as a Python float: an int, a float, a fraction or a NumPy real scalar of any precision.

    Raises TypeError for everything else, and says what to do instead.
    """
    if type(x) is float:
        return x
    if type(x) is int or (isinstance(x, Real) and not isinstance(x, bool)):
        try:
            return float(x)
        except OverflowError:  # an int beyond the largest float
            return inf if x > 0 else -inf  # type: ignore[operator]
    if type(x).__module__ == "numpy" and getattr(x, "shape", None) == () and x.dtype.kind in "iuf":  # type: ignore[attr-defined]
        return float(x)  # type: ignore[arg-type]  # NumPy's scalars become arrays without dimensions on the way
    check_class(x)
    kind = type(x).__name__
    known = "complex" if isinstance(x, Complex) and not isinstance(x, Real) else kind
    advice = _ADVICE.get(known) or ("use single numbers: x.item(), or a list of Values" if hasattr(x, "shape") else "")
    raise TypeError(
        f"expected a real number (int, float or NumPy scalar), got {kind}: {x!r:.60}" + (advice and f"; {advice}")
    )


def check_class(x: object) -> None:
    """Raise TypeError where x is a Value of another class than ours, whose graph would end here."""
    ours = getattr(sys.modules.get("microgradlike.value"), "Value", ())
    if hasattr(x, "backward") and hasattr(x, "grad") and not hasattr(x, "shape") and not isinstance(x, ours):
        kind = type(x)
        raise TypeError(
            f"{kind.__qualname__} of the module {kind.__module__} is another class than microgradlike's Value: "
            "two graphs cannot be joined. Make both with one class; where microgradlike was reloaded, restart "
            "Python (in a notebook: the kernel) and run from the top"
        )


_ADVICE = {
    "bool": "write 1.0 or 0.0",
    "complex": "derivatives here are of real functions: use x.real, x.imag or abs(x)",
    "str": "convert it first: float(x)",
    "NoneType": "did a function forget its return?",
    "Decimal": "convert it first, and accept the rounding: float(x)",
    "Value": "write x.data for its number; no Value needs another around it",
    "list": "use one Value for each number: [Value(x) for x in numbers]",
    "tuple": "use one Value for each number: [Value(x) for x in numbers]",
}


FUNCTIONS = (
    "divide", "power", "exp", "expm1", "log", "log1p", "sqrt", "sin", "cos", "tanh", "abs", "where", "maximum", "minimum",
)  # fmt: skip


class Namespace:
    """The functions that a rule may take from `xp`, for one kind of number: floats, arrays, Values, symbols.

        divide(a, b), power(a, b)       a / b and aᵇ as IEEE 754 has them: 1/0 is inf, (−8)^½ is nan
        exp(x), expm1(x), log(x), log1p(x), sqrt(x), sin(x), cos(x), tanh(x)
        abs(x)                          |x|, for rules that are smooth at 0: on Values it has no kink
        maximum(a, b), minimum(a, b)    nan where one is nan
        where(condition, a, b)          a where the condition holds, b elsewhere
        sigmoid(x)                      1 / (1 + e⁻ˣ), without overflow
        sum(x), max(x)                  of the numbers x₁, x₂, … of a vector

    The last three are made of the others, unless they are given. `dir(xp)` lists these names.
    Raises AttributeError for any other name, and says which are near.
    """

    def __init__(self, **functions: Callable[..., Any]) -> None:
        vars(self).update(functions)

    @classmethod
    def of(cls, library: Any) -> Namespace:
        """Return the namespace of an array library: `Namespace.of(numpy)`, `Namespace.of(jax.numpy)`."""
        return cls(**{name: getattr(library, name) for name in FUNCTIONS})

    def sigmoid(self, x: Any) -> Any:
        """Return σ(x) = 1 / (1 + e⁻ˣ)."""
        e = self.exp(-self.abs(x))  # never overflows
        return self.divide(self.exp(self.minimum(x, 0.0)), 1.0 + e)

    def sum(self, x: Any) -> Any:
        """Return x₁ + x₂ + …, added from left to right: the built-in sum rounds otherwise from Python 3.12 on."""
        total = 0.0
        for term in x:
            total = total + term
        return total

    def max(self, x: Any) -> Any:
        """Return the largest of x₁, x₂, …"""
        return reduce(self.maximum, x)

    def __getattr__(self, name: str) -> Any:
        from difflib import get_close_matches

        near = " or ".join(get_close_matches(name, dir(self)))
        raise AttributeError(f"xp has no {name}{near and f' (did you mean {near}?)'}; it has {', '.join(dir(self))}")

    def __dir__(self) -> list[str]:
        return sorted([*FUNCTIONS, "sigmoid", "sum", "max"])

    def __repr__(self) -> str:
        return f"<xp: {', '.join(dir(self))}>"


def _divide(a: float, b: float) -> float:
    try:
        return a / b
    except ZeroDivisionError:
        return a * math.copysign(inf, b)  # 0/0 and nan/0 come out as nan


def _power(a: float, b: float) -> float:
    try:
        return math.pow(a, b)
    except OverflowError:
        return -inf if a < 0 and b % 2 == 1 else inf
    except ValueError:  # a fractional power of a negative number, or a pole at zero
        return nan if a else math.copysign(inf, a) if b % 2 == 1 else inf


def _or_inf(function: Callable[[float], float]) -> Callable[[float], float]:
    def exponential(x: float) -> float:
        try:
            return function(x)
        except OverflowError:
            return inf

    return exponential


ieee = Namespace(
    divide=_divide,
    power=_power,
    exp=_or_inf(math.exp),
    expm1=_or_inf(math.expm1),
    log=lambda x: math.log(x) if x > 0 else -inf if x == 0 else nan,
    log1p=lambda x: math.log1p(x) if x > -1 else -inf if x == -1 else nan,
    sqrt=lambda x: math.sqrt(x) if x >= 0 else nan,
    sin=lambda x: math.sin(x) if math.isfinite(x) else nan,
    cos=lambda x: math.cos(x) if math.isfinite(x) else nan,
    tanh=math.tanh,
    abs=abs,
    where=lambda condition, a, b: a if condition else b,
    maximum=lambda a, b: a if a > b or a != a else b,  # nan wins, as in NumPy
    minimum=lambda a, b: a if a < b or a != a else b,
)
"""The namespace of Python floats."""
