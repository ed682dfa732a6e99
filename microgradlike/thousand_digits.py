"""Numbers with a thousand digits, for rules to run on: differences of such numbers lose none that matter.

`thousand_digits()` is a namespace like `ieee`, and any rule of `ops` runs with it. A thousand digits hold the
sum of the largest float and the smallest (630), with room for a difference between the two.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from types import SimpleNamespace
from typing import Any

from microgradlike.ieee import ieee
from microgradlike.ops import with_reductions


@cache
def thousand_digits() -> SimpleNamespace:
    """The names of `ieee`, and `number(x)`, `to_float(x)` and `real(rule)`.

    `real(rule)` answers nan where the rule leaves the real numbers. Such numbers refuse to become floats
    by themselves: a rule that calls `math.exp` raises TypeError, instead of losing 984 digits unnoticed.
    """
    import mpmath  # type: ignore[import-untyped]

    context = mpmath.MPContext()  # its settings, and its class of numbers, are nobody else's
    context.dps = 1000
    number = context.mpf

    def refuse(x: object) -> float:
        raise TypeError("this rule works on floats only: it would round a thousand digits to sixteen")

    number.__float__ = refuse

    def real(rule: Callable[..., Any]) -> Callable[..., Any]:
        def call(*inputs: Any) -> Any:
            try:
                y = rule(*map(number, inputs))
            except (ArithmeticError, ValueError):
                return context.nan
            return context.nan if isinstance(y, context.mpc) else number(y)

        return call

    functions = ["exp", "expm1", "log", "log1p", "sqrt", "sin", "cos", "tanh"]
    xp = SimpleNamespace(
        **{name: real(getattr(context, name)) for name in functions},
        divide=real(lambda a, b: a / b),
        power=real(lambda a, b: a**b),
        abs=abs,
        where=ieee.where,
        maximum=ieee.maximum,
        minimum=ieee.minimum,
        number=number,
        real=real,
        to_float=lambda x: mpmath.libmp.to_float(number(x)._mpf_),
    )
    return with_reductions(xp)
