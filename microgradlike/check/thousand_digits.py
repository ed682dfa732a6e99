"""Numbers with a thousand digits, for rules to run on: differences of such numbers lose none that matter.

Any rule of `ops` runs with the namespace `thousand_digits().xp`. A thousand digits hold the sum of the largest
float and the smallest (630), with room for a difference between the two.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple

from microgradlike.ieee import Namespace, ieee
from microgradlike.support.extras import needed_for


class ThousandDigits(NamedTuple):
    """The namespace `xp` of such numbers, how one is made and unmade, and `real(rule)`.

    `real(rule)` answers nan where the rule leaves the real numbers.
    """

    xp: Namespace
    to_exact: Callable[[Any], Any]
    to_float: Callable[[Any], Any]
    real: Callable[[Callable[..., Any]], Callable[..., Any]]


@cache
def thousand_digits() -> ThousandDigits:
    """Return what computes with a thousand digits.

    Its numbers refuse to become floats by themselves: a rule that calls `math.exp` raises TypeError, instead
    of losing 984 digits unnoticed.
    """
    with needed_for("to judge a derivative that floats leave in doubt, check_gradients"):
        import mpmath  # type: ignore[import-untyped]

    context = mpmath.MPContext()  # its settings, and its class of numbers, are nobody else's
    context.dps = 1000
    to_exact = context.mpf

    def refuse(x: object) -> float:
        raise TypeError("this rule works on floats only: it would round a thousand digits to sixteen")

    to_exact.__float__ = refuse

    def real(rule: Callable[..., Any]) -> Callable[..., Any]:
        def call(*inputs: Any) -> Any:
            try:
                y = rule(*map(to_exact, inputs))
            except (ArithmeticError, ValueError):
                return context.nan
            return context.nan if isinstance(y, context.mpc) else to_exact(y)

        return call

    functions = ["exp", "expm1", "log", "log1p", "sqrt", "sin", "cos", "tanh"]
    xp = Namespace(
        **{name: real(getattr(context, name)) for name in functions},
        divide=real(lambda a, b: a / b),
        power=real(lambda a, b: a**b),
        **{name: getattr(ieee, name) for name in ("abs", "where", "maximum", "minimum")},
    )
    return ThousandDigits(xp, to_exact, lambda x: mpmath.libmp.to_float(to_exact(x)._mpf_), real)
