"""Numbers: what counts as one, and the arithmetic of IEEE 754 where Python's own differs.

Python raises an error for 1/0, exp(1000) and log(0), and answers (-8)**0.5 with a complex number.
NumPy and PyTorch follow IEEE 754: inf, -inf and nan. So do we.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from math import inf, nan
from numbers import Complex, Real
from types import SimpleNamespace
from typing import Any


def to_float(x: object) -> float:
    """Return x as a Python float: an int, a float, a fraction or a NumPy real scalar of any precision.

    Raises TypeError for everything else, and says what to do instead.
    """
    if type(x) is float:
        return x
    if isinstance(x, Real) and not isinstance(x, bool):
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


class Namespace(SimpleNamespace):
    """The functions that a rule may take from `xp`: `dir(xp)` lists them, an unknown name says which are near."""

    def __getattr__(self, name: str) -> Any:
        from difflib import get_close_matches

        near = " or ".join(get_close_matches(name, vars(self)))
        raise AttributeError(f"xp has no {name}{near and f' (did you mean {near}?)'}; it has {', '.join(dir(self))}")

    def __dir__(self) -> list[str]:
        return sorted(vars(self))

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
"""The namespace of Python floats. Its names are those that a rule may use of `xp`."""
