"""Is the gradient right? Calculus by brute force: move a number a little and see what the result does.

`finite_differences` is the lecture's way to get a gradient without the chain rule: exact to half the
digits, at one or two forward passes for every parameter. `check_gradients` uses it to check
`backward()`, and goes on to ask each operation of the graph for what it knows best, its own value:
a local derivative that does not follow from the operation's value rule is named, with the line of
your program that recorded it.
"""

from __future__ import annotations

import linecache
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from math import hypot, inf, isfinite, nan
from types import FrameType
from typing import Any, Literal

from microgradlike import formula
from microgradlike.digits import digits
from microgradlike.graph import names
from microgradlike.ieee import ieee
from microgradlike.ops import Operation
from microgradlike.value import Value, topological_order

UNIT = 2.0**-53  # the relative error of one rounding
_TINY = 2.0**-1022  # below it floats lose their digits one by one

Places = dict[Value, tuple[str, int]]  # the file and the line that recorded a node
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

    Each value is set to v ± ε and back, also where f raises. Raises ValueError where f returns
    a Value that it had recorded earlier, for that cannot depend on ε, or for an ε that vanishes in v.
    """
    if method not in ("central", "forward"):
        raise ValueError(f"method is 'central' or 'forward', got {method!r}")
    if eps is not None and not (isfinite(eps) and eps > 0):
        raise ValueError(f"eps is the step ε, a positive number: got {eps!r}")
    values = _leaves(values)
    forward_pass = ForwardPass(f)
    relative = UNIT ** (1 / 2 if method == "forward" else 1 / 3) * 2**0.5
    here = forward_pass() if method == "forward" else nan
    gradients, steps = [], []
    for v in values:
        x = v.data
        h = eps if eps is not None else relative * max(abs(x), 1.0)
        right, left = x + h, x - h if method == "central" else x
        if right == left:
            raise ValueError(f"the step ε = {h:g} vanishes beside the value {x:g}: choose a larger eps")
        with moved(v):
            upper = forward_pass(v, right)
            lower = forward_pass(v, left) if method == "central" else here
        gradients.append((upper - lower) / (right - left))  # the step as floats have it, not as it was meant
        steps.append(h)
    return FiniteDifferences(gradients, forward_pass.count, steps, method)


class ForwardPass:
    """f as a function of one value's data, which counts its calls."""

    def __init__(self, f: Callable[[], Any]) -> None:
        self.f = f
        self.count = 0
        self.last: Value | None = None

    def __call__(self, v: Value | None = None, data: float = nan) -> float:
        """C, after setting v.data to `data`."""
        if v is not None:
            v.data = data
        self.count += 1
        result = self.f()
        if not isinstance(result, Value):
            return float(result)
        if result is self.last and result.inputs:
            raise ValueError(
                "f returned a Value that it had recorded before, which no change of the values can reach: "
                "record the loss inside f, as in check_gradients(lambda: loss(model(x), y), parameters)"
            )
        self.last = result
        return result.data


@contextmanager
def moved(v: Value) -> Iterator[None]:
    """While inside, v.data may be set to anything; afterwards it is what it was."""
    before = v.data
    try:
        yield
    finally:
        v.data = before


def _leaves(values: Iterable[Value]) -> list[Value]:
    if isinstance(values, Value):
        raise TypeError("values is a list of Values: write [v] for a single one")
    values = list(values)
    for v in values:
        if not isinstance(v, Value):
            raise TypeError(f"values is a list of Values, and one of them is a {type(v).__name__}: {v!r:.60}")
    return values


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
    """The derivative of f at x from central differences with smaller and smaller steps.

    Each step is a 16th of the one before. Central differences have an error that falls with step²,
    so two of them tell how large it is and extrapolate (Richardson); f's own rounding error,
    `noise`, counts as noise/step. The best of the tries is returned. Where the slopes on the left
    and on the right differ and do not approach each other, down to the smallest step, it is a kink.
    """
    here = f(x)
    best, previous = UNDEFINED, None
    for _ in range(tries):
        right, left = x + step, x - step
        if right == x or left == x:
            break
        upper, lower = f(right), f(left)
        central = (upper - lower) / (right - left)
        on_left, on_right = (here - lower) / (x - left), (upper - here) / (right - x)
        gap = abs(on_right - on_left)
        rounding = 4 * noise / step
        if previous is not None and abs(gap) < inf and abs(previous[0]) < inf:
            change = central - previous[0]
            kink = bool(gap > previous[1] / 2 and gap > 4 * rounding and gap > abs(central) * 1e-6)
            found = Slope(central + change / 255, abs(change) / 16 + rounding, on_left, on_right, kink)
            if best.kink:  # is it here, or only so near that larger steps reached across it?
                better = kink or abs(best.right - best.left) > 4 * rounding
            else:
                better = kink or found.error < best.error
            if better:
                best = found
            if not kink and (abs(change) <= rounding or found.error <= 1e-7 * abs(found.estimate)):
                break
        previous = central, gap
        step = step / 16
    return best


def value_slope(forward_pass: ForwardPass, v: Value, noise: float) -> Slope:
    """∂C/∂v by moving v.data: `slope` for whole graphs. It takes five forward passes or a few more."""
    with moved(v):
        x = v.data
        return slope(lambda data: forward_pass(v, data), x, 2.0**-10 * max(abs(x), 1.0), noise, tries=6)


def backward_gradients(loss: Value) -> dict[Value, float]:
    """∂loss/∂v as `loss.backward()` computes it, for all nodes v, whose `grad` is then again what it was."""
    order = topological_order(loss)
    before = [v.grad for v in order]
    try:
        for v in order:
            v.grad = None
        loss.backward()
        return {v: v.grad for v in order}
    finally:
        for v, grad in zip(order, before, strict=True):
            v.grad = grad


def rounding_error(gradients: dict[Value, float]) -> float:
    """How far rounding has moved the result of a recorded graph, most likely.

    Every operation rounds its result, an error of about UNIT·|node|, and ∂C/∂node carries it on to C.
    """
    total = 0.0
    for node, grad in gradients.items():
        if node.inputs:
            terms = [d * v.data for d, v in zip(node.local_grads, node.inputs, strict=True)]
            share = grad * hypot(node.data, *terms)
            total = hypot(total, share if isfinite(share) else 0.0)
    return UNIT * total


# ── The local derivatives of an operation, from its value rule ─────────────────────────────────


def local_slope(op: Operation, data: list[float], position: int, recorded: float, rtol: float) -> Slope:
    """∂y/∂input at this position by differences of `op.value`: in floats, which is fast, and where that
    does not settle whether `recorded` is right, with a thousand digits, which settles everything.

    A rule that only floats can follow (one that calls `math.exp`) is judged by floats.
    """
    x = data[position]

    def y(x: float) -> float:
        try:
            return op.value(ieee, *data[:position], x, *data[position + 1 :])  # type: ignore[no-any-return]
        except (ArithmeticError, ValueError):  # a custom rule outside its domain
            return nan

    in_floats = slope(y, x, 2.0**-13 * (abs(x) or 1.0), UNIT * abs(y(x)), tries=2)
    if not in_floats.kink and abs(in_floats.estimate - recorded) + in_floats.error <= rtol * abs(recorded):
        return in_floats
    xp = digits()
    exact_data = [xp.number(x) for x in data]
    exact_rule = xp.real(lambda *inputs: op.value(xp, *inputs))

    def exact_y(x: Any) -> Any:
        return exact_rule(*exact_data[:position], x, *exact_data[position + 1 :])

    x = exact_data[position]
    try:
        exact = slope(
            exact_y, x, min(max(abs(x), 2.0**-1074), 1) / xp.number(10) ** 20, abs(exact_y(x)) / 10**990, tries=2
        )
    except TypeError:  # a rule for floats only
        return in_floats
    error = exact.error if exact.error == inf else min(exact.error, 2.0**1023)  # as large as floats can say
    return replace(
        exact,
        **{name: xp.to_float(getattr(exact, name)) for name in ("estimate", "left", "right")},
        error=xp.to_float(error),
    )


# ── The whole check ────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class GradientEntry:
    """∂C/∂v as `backward()` has it, and as differences have it, give or take `error`."""

    value: Value
    name: str
    backward: float
    difference: float
    error: float
    status: Status


@dataclass(frozen=True, slots=True)
class LocalEntry:
    """∂y/∂x for one input of one node: recorded, and as it follows from the operation's value rule."""

    node: Value
    position: int
    names: dict[Value, str] = field(repr=False)
    recorded: float
    expected: float
    status: Status
    where: str  # the line of the user's program, or ""

    @property
    def formula(self) -> str:
        """The operation's rule for this derivative in the names of the nodes; "" if it has no formula."""
        return formula.derivative(self.node, self.position, self.names)


@dataclass(frozen=True, slots=True)
class GradientReport:
    """What `check_gradients` found. `str()` says it in words, `ok` in one."""

    loss: float
    gradients: list[GradientEntry]
    local_grads: list[LocalEntry]
    forward_passes: int

    @property
    def wrong(self) -> list[GradientEntry | LocalEntry]:
        """The local derivatives and gradients that are wrong, in this order."""
        entries: list[GradientEntry | LocalEntry] = [*self.local_grads, *self.gradients]
        return [entry for entry in entries if entry.status == "wrong"]

    @property
    def ok(self) -> bool:
        """True if nothing is wrong, and the loss is a finite number."""
        return not self.wrong and isfinite(self.loss)

    def __str__(self) -> str:
        return _report(self)


def check_gradients(f: Callable[[], Value], values: Iterable[Value], rtol: float = 1e-5) -> GradientReport:
    """Check ∂f()/∂v for every value, and every local derivative of the graph that f records.

    f() records the loss anew, from the values: `check_gradients(lambda: loss(model(x), y), model.parameters())`.
    It is called about six times for each value. `data` and `grad` of everything are left as they were.

    1. `backward()` is compared with central differences of f. It is wrong where it is off by more
       than `rtol` relative and more than the error that the differences themselves may have.
    2. Each local derivative that the graph recorded is compared with differences of the operation's
       value rule at the same point, to `rtol`.

    At a kink (ReLU at 0) there is no derivative to compare with, nor where the function is not
    defined on both sides (√ at 0) or not finite; such entries are counted in the report, not failed.
    Raises TypeError if f does not return a Value.
    """
    values = _leaves(values)
    with _recording_places() as places:
        loss = f()
    if not isinstance(loss, Value):
        raise TypeError(f"f returns the loss, a Value: got a {type(loss).__name__}")
    order = topological_order(loss)
    name = names(order)
    local_grads = list(_local_entries(order, name, places, rtol))
    backward = backward_gradients(loss)
    noise = rounding_error(backward)
    near_kinks = _inputs_of((e.node for e in local_grads if e.status == "kink"), order)
    forward_pass = ForwardPass(f)
    gradients = []
    for i, v in enumerate(values, 1):
        found = value_slope(forward_pass, v, noise)
        grad = backward.get(v, 0.0)
        status = "kink" if found.kink else judge(grad, found, rtol)
        if status == "wrong" and v in near_kinks:
            status = "kink"
        gradients.append(
            GradientEntry(v, name.get(v) or v.label or f"value {i}", grad, found.estimate, found.error, status)
        )
    return GradientReport(loss.data, gradients, local_grads, forward_pass.count + 1)


def check_local_grads(node: Value, rtol: float = 1e-5) -> list[LocalEntry]:
    """Step 2 of `check_gradients` for a single node."""
    return list(_local_entries([node], names([*node.inputs, node]), {}, rtol))


def _local_entries(order: list[Value], name: dict[Value, str], places: Places, rtol: float) -> Iterator[LocalEntry]:
    for node in order:
        if not node.inputs:
            continue
        assert node.op is not None
        data = [v.data for v in node.inputs]
        where = _where(*places[node]) if node in places else ""
        for i, recorded in enumerate(node.local_grads):
            found = local_slope(node.op, data, i, recorded, rtol) if all(map(isfinite, data)) else UNDEFINED
            status = judge(recorded, found, rtol)
            yield LocalEntry(node, i, name, recorded, found.estimate, status, where)


def _inputs_of(nodes: Iterable[Value], order: list[Value]) -> set[Value]:
    """All that these nodes were computed from, and they."""
    found = set(nodes)
    for node in reversed(order):
        if node in found:
            found.update(node.inputs)
    return found


def judge(grad: float, found: Slope, rtol: float) -> Status:
    """Is `grad` the slope that was found, to `rtol` and within the slope's own error?"""
    if found.kink:  # every slope from the one on the left to the one on the right is a fair answer
        low, high = sorted((found.left, found.right))
        margin = rtol * max(abs(low), abs(high))
        return "kink" if low - margin <= grad <= high + margin else "wrong"
    if not found.error < inf:
        return "undefined"
    if grad == found.estimate or abs(grad - found.estimate) <= rtol * abs(found.estimate) + found.error + _TINY:
        return "agrees"
    return "wrong"


@contextmanager
def _recording_places() -> Iterator[Places]:
    """Note for each Value recorded meanwhile the line outside this package that asked for it.

    Python's profiling hook is told of every return; the engine knows nothing of it and pays nothing.
    """
    places: Places = {}

    def on_event(frame: FrameType, event: str, result: object) -> None:
        if event == "return" and type(result) is Value and result.inputs and result not in places:
            caller: FrameType | None = frame
            while caller and caller.f_globals.get("__name__", "").partition(".")[0] == __package__:
                caller = caller.f_back
            if caller and caller is not frame:
                places[result] = caller.f_code.co_filename, caller.f_lineno

    profiler = sys.getprofile()
    sys.setprofile(on_event)
    try:
        yield places
    finally:
        sys.setprofile(profiler)


def _where(path: str, line: int) -> str:
    code = linecache.getline(path, line).strip()
    return f"{path.removeprefix(os.path.join(os.getcwd(), ''))}:{line}" + (code and f"  {code}")


# ── The report in words ────────────────────────────────────────────────────────────────────────


def _report(report: GradientReport) -> str:
    wrong_local = [e for e in report.local_grads if e.status == "wrong"]
    wrong = [e for e in report.gradients if e.status == "wrong"]
    lines = [
        _tally("backward() and finite differences", report.gradients, f"{report.forward_passes} forward passes"),
        _tally("local derivatives and value rules", report.local_grads),
    ]
    if not isfinite(report.loss):
        lines.append(f"The loss is {report.loss}: there is nothing to compare.")
    for entry in wrong_local[:_SHOWN]:
        lines += ["", *_describe(entry)]
    if len(wrong_local) > _SHOWN:
        lines += ["", f"… and {len(wrong_local) - _SHOWN} more wrong local derivatives: see .wrong"]
    if wrong:
        width = max(len(formula.partial("C", e.name)) for e in wrong[:_SHOWN])
        lines += ["", "wrong gradients"]
        lines += [
            f"  {formula.partial('C', e.name):<{width}}   backward() {e.backward:<13.6g} differences {e.difference:<13.6g}"
            f" {by_how_much(e.backward, e.difference)}"
            for e in wrong[:_SHOWN]
        ]
    if len(wrong) > _SHOWN:
        lines.append(f"  … and {len(wrong) - _SHOWN} more: see .wrong")
    return "\n".join(lines)


_SHOWN = 5


def _tally(what: str, entries: list[Any], cost: str = "") -> str:
    count = {status: sum(e.status == status for e in entries) for status in ("agrees", "wrong", "kink", "undefined")}
    parts = [f"{count['agrees']} of {len(entries)} agree"]
    if count["wrong"]:
        parts.append(f"{count['wrong']} WRONG")
    if count["kink"]:
        parts.append(f"{count['kink']} at a kink")
    if count["undefined"]:
        parts.append(f"{count['undefined']} where it is not defined")
    return f"{what}: " + ", ".join(parts) + (f" ({cost})" if cost else "")


def _describe(entry: LocalEntry) -> list[str]:
    node, name = entry.node, entry.names
    assert node.op is not None
    input = node.inputs[entry.position]
    y, x = name[node], name[input]
    return [
        f"{node.op.name}: the local derivative {formula.partial(y, x)} is wrong",
        f"  input       {entry.position + 1} of {len(node.inputs)}: {x} = {input.data:.6g}",
        *([f"  recorded in {entry.where}"] if entry.where else []),
        f"  its rule    {entry.formula and entry.formula + ' = '}{entry.recorded:.10g}",
        f"  should be   {entry.expected:.10g}, as {y} = {formula.expression(node, name, depth=1)} changes there",
        f"  off by      {by_how_much(entry.recorded, entry.expected)}",
    ]


def by_how_much(got: float, expected: float) -> str:
    """The error in words: absolute, and as a share of what was expected."""
    if not isfinite(got):
        return "not a finite number"
    if got == -expected:
        return "its sign"
    off = got - expected
    return f"{off:+.3g}" + (f" ({100 * off / abs(expected):+.3g} %)" if expected else "")
