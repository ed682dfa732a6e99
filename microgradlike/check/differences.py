"""Calculus by brute force: move a number a little and see what the result does.

`finite_differences` is the lecture's way to a gradient without the chain rule: right to half the
digits or two thirds, at one or two forward passes for every parameter. `slope` is the careful form
that the checks use: it knows its own error, and a kink when it stands on one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import partial
from inspect import signature
from math import hypot, inf, isfinite, nan
from typing import Any, Literal, TypeVar

from microgradlike.check.thousand_digits import thousand_digits
from microgradlike.check.watch import unwatched
from microgradlike.graph import as_value_list
from microgradlike.ieee import ieee
from microgradlike.primitive import Operation
from microgradlike.support.exchange import with_undo
from microgradlike.value import Value

UNIT = 2.0**-53  # the relative error of one rounding
_TINY = 2.0**-1022  # below it floats lose their digits one by one

T = TypeVar("T")
Status = Literal["agrees", "wrong", "kink", "undefined"]


# ── The lecture's finite differences ───────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class FiniteDifferences:
    """Approximate gradients, and what they cost: `steps[i]` is the ε by which the i-th value was moved."""

    gradients: list[float]
    forward_passes: int
    steps: list[float]
    method: str


def finite_differences(
    f: Callable[[], Any],
    values: Iterable[Value],
    eps: float | None = None,
    method: Literal["central", "forward"] = "central",
) -> FiniteDifferences:
    """Approximate ∂C/∂vᵢ for every value, where f() records (or just computes) C from the values anew.

        forward:  (C(v + εeᵢ) − C(v)) / ε           n + 1 forward passes, error about ε·C''/2
        central:  (C(v + εeᵢ) − C(v − εeᵢ)) / 2ε    2n forward passes,    error about ε²·C'''/6

    Rounding adds an error of about 10⁻¹⁶·C/ε, so there is a best ε: by default max(|v|, 1) times
    1.5·10⁻⁸ (forward) or 7·10⁻⁶ (central). An ε of your own is used as it is.

    Each value is set to v ± ε and back, also where f raises or Ctrl-C stops it. Raises TypeError where
    f is no function without arguments, and ValueError where it returns a Value that it had recorded
    earlier, for that cannot depend on ε, or for an ε that vanishes in v.
    """
    if method not in ("central", "forward"):
        raise ValueError(f"method is 'central' or 'forward', got {method!r}")
    if eps is not None and not (isfinite(eps) and eps > 0):
        raise ValueError(f"eps is the step ε, a positive number: got {eps!r}")
    check_function(f, "finite_differences({}, values)")
    forward_pass = ForwardPass(f)
    values = as_value_list(values)
    relative = UNIT ** (1 / 2 if method == "forward" else 1 / 3) * 2**0.5
    here = forward_pass() if method == "forward" else nan
    gradients, steps = [], []
    for v in values:
        x = v.data
        h = eps if eps is not None else relative * max(abs(x), 1.0)
        right, left = x + h, x - h if method == "central" else x
        if right == left:
            raise ValueError(f"the step ε = {h:g} vanishes beside the value {x:g}: choose a larger eps")
        upper = keep_data(v, partial(forward_pass, v, right))
        lower = keep_data(v, partial(forward_pass, v, left)) if method == "central" else here
        gradients.append((upper - lower) / (right - left))  # the step as floats have it, not as it was meant
        steps.append(h)
    return FiniteDifferences(gradients, forward_pass.count, steps, method)


def check_function(f: Callable[[], Any], call: str = "check_gradients({}, values)") -> None:
    """Raise TypeError for an f that cannot be called without arguments, and say how to write the call."""
    if not callable(f):
        raise TypeError(
            "the loss is recorded anew for every step, by a function: write "
            f"{call.format('lambda: loss(model(x), y)')}, got {type(f).__name__}: {f!r:.60}"
        )
    try:
        signature(f).bind()
    except TypeError as error:
        raise TypeError(
            f"f is called without arguments, and this one cannot be ({error}): "
            f"write {call.format('lambda: f(x)')} for an f of x"
        ) from None
    except ValueError:  # some functions written in C have no signature
        pass


class ForwardPass:
    """f as a function of one value's data, which counts its calls."""

    def __init__(self, f: Callable[[], Any]) -> None:
        self.f = f
        self.count = 0
        self.last: Value | None = None

    def __call__(self, v: Value | None = None, data: float = nan) -> float:
        """Set v.data to `data`, and return C."""
        if v is not None:
            v.data = data
        self.count += 1
        result = unwatched(self.f)  # an anomaly there is none of the user's loss
        if not isinstance(result, Value):
            return float(result.data if hasattr(result, "backward") else result)  # of another class: testing.py
        if result is self.last and result.inputs:
            raise ValueError(
                "f returned a Value that it had recorded before, which no change of the values can reach: "
                "record the loss inside f, as in check_gradients(lambda: loss(model(x), y), parameters)"
            )
        self.last = result
        return result.data


def keep_data(v: Value, body: Callable[[], T]) -> T:
    """Return body(), which may set v.data to anything; afterwards it is what it was, also after an interrupt."""
    return with_undo(body, partial(setattr, v, "data", v.data))


# ── A slope that knows how far to trust itself ─────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class Slope:
    """A derivative from differences: `estimate` ± `error`; `kink` if the slopes `left` and `right` differ.

    The error is inf where there is no derivative at all: no finite value here, or on one of the sides.
    """

    estimate: Any
    error: Any
    left: Any = nan
    right: Any = nan
    kink: bool = False


UNDEFINED = Slope(nan, inf)


def slope(f: Callable[[Any], Any], x: Any, step: Any, noise: Any, tries: int) -> Slope:
    """Compute the derivative of f at x from central differences with smaller and smaller steps.

    Each step is a 16th of the one before. Central differences have an error that falls with step²,
    so two of them tell how large it is and extrapolate (Richardson); f's own rounding error,
    `noise`, counts as noise/step. The best of the tries is returned. Where the slopes on the left
    and on the right differ and do not approach each other, down to the smallest step, it is a kink.
    """
    here = f(x)
    best, previous, previous_gap = UNDEFINED, nan, inf
    for _ in range(tries):
        right, left = x + step, x - step
        if right == x or left == x:
            return best
        upper, lower = f(right), f(left)
        central = (upper - lower) / (right - left)
        on_left, on_right = (here - lower) / (x - left), (upper - here) / (right - x)
        gap = abs(on_right - on_left)
        rounding = 4 * noise / step
        if gap < inf and previous_gap < inf:
            change = central - previous
            kink = bool(gap > previous_gap / 2 and gap > 4 * rounding and gap > abs(central) * 1e-6)
            # Where f″ jumps, errors fall only with step, and central is off by change/15
            found = Slope(central + change / 255, abs(change) / 15 + rounding, on_left, on_right, kink)
            # If the best has a kink: is it here, or only so near that larger steps reached across it?
            better = abs(best.right - best.left) > 4 * rounding if best.kink else found.error < best.error
            if kink or better:
                best = found
            if not kink and (abs(change) <= rounding or found.error <= 1e-7 * abs(found.estimate)):
                return best
        previous, previous_gap, step = central, gap, step / 16
    return best


def value_slope(forward_pass: ForwardPass, v: Value, noise: float, recorded: float) -> Slope:
    """Compute ∂C/∂v by moving v.data: `slope` for whole graphs, in five forward passes or a few more.

    Raises ValueError where C at v itself is not what was `recorded` there.
    """
    x = v.data

    def C(data: float) -> float:
        result = forward_pass(v, data)
        if data == x and result != recorded and (result == result or recorded == recorded):
            raise ValueError(
                f"f gives a different result each time, {recorded!r} and then {result!r} from the same values: "
                "what is random in it must begin with the same seed in each call, so set the seed inside f"
            )
        return result

    return keep_data(v, lambda: slope(C, x, 2.0**-10 * max(abs(x), 1.0), noise, tries=6))


def rounding_error(gradients: dict[Value, float]) -> float:
    """Estimate how far rounding has moved the result of a recorded graph.

    Every operation rounds its result, an error of about UNIT·|node|, and ∂C/∂node carries it on to C.
    """
    total = 0.0
    for node, grad in gradients.items():
        if node.inputs:
            terms = [d * v.data for d, v in zip(node.local_grads, node.inputs, strict=True)]
            share = grad * hypot(node.data, *terms)
            total = hypot(total, share if isfinite(share) else 0.0)
    return UNIT * total


def judge(grad: float, found: Slope, rtol: float) -> Status:
    """Return whether `grad` is the slope that was found, to `rtol` and within the slope's own error."""
    if found.kink:  # every slope from the one on the left to the one on the right is a fair answer
        low, high = sorted((found.left, found.right))
        margin = rtol * max(abs(low), abs(high))
        return "kink" if low - margin <= grad <= high + margin else "wrong"
    if not found.error < inf:
        return "undefined"
    near = abs(grad - found.estimate) <= rtol * abs(found.estimate) + found.error + _TINY
    return "agrees" if grad == found.estimate or near else "wrong"


# ── The local derivatives of an operation, from its value rule ─────────────────────────────────


def local_slope(op: Operation, data: list[float], position: int, recorded: float, rtol: float) -> Slope:
    """Compute the local derivative by the input at `position` by differences of `op.value`.

    Floats come first, which are fast. Where they do not settle whether `recorded` is right, a thousand digits do.

    A rule that only floats can follow (one that calls `math.exp`) is judged by floats.
    """
    x = data[position]

    def y(x: float) -> float:
        try:
            return op.evaluate(ieee, [*data[:position], x, *data[position + 1 :]])  # type: ignore[no-any-return]
        except (ArithmeticError, ValueError):  # a custom rule outside its domain
            return nan

    in_floats = slope(y, x, 2.0**-13 * (abs(x) or 1.0), UNIT * abs(y(x)), tries=2)
    if not in_floats.kink and abs(in_floats.estimate - recorded) + in_floats.error <= rtol * abs(recorded):
        return in_floats
    digits = thousand_digits()
    exact_data = [digits.to_exact(x) for x in data]
    exact_y = digits.real(lambda x: op.evaluate(digits.xp, [*exact_data[:position], x, *exact_data[position + 1 :]]))
    x = exact_data[position]
    step = min(max(abs(x), 2.0**-1074), 1) / digits.to_exact(10) ** 20
    try:
        exact = slope(exact_y, x, step, abs(exact_y(x)) / 10**990, tries=2)
    except TypeError:  # a rule for floats only
        return in_floats
    error = exact.error if exact.error == inf else min(exact.error, 2.0**1023)  # as large as floats can say
    slopes = {name: digits.to_float(getattr(exact, name)) for name in ("estimate", "left", "right")}
    return replace(exact, **slopes, error=digits.to_float(error))
