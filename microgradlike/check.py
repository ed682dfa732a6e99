"""Is the gradient right? And if not, which derivative of which operation, recorded where, is wrong by how much?

`check_gradients` compares `backward()` with finite differences, and then asks each operation of the
graph for what it knows best, its own value: a local derivative that does not follow from the
operation's value rule is named, with the line of your program that recorded it.
"""

from __future__ import annotations

import linecache
import os
import re
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from math import inf, isfinite
from types import FrameType
from typing import Any

from microgradlike import formula
from microgradlike.differences import (
    UNDEFINED,
    FiniteDifferences,
    ForwardPass,
    Slope,
    Status,
    finite_differences,
    judge,
    local_slope,
    rounding_error,
    value_slope,
)
from microgradlike.graph import listed, names
from microgradlike.value import NOT_COMPUTED, Value, topological_order

__all__ = ["FiniteDifferences", "GradientReport", "check_gradients", "finite_differences"]

Places = dict[Value, tuple[str, int]]  # the file and the line that recorded a node
SHOWN = 5  # wrong entries in a report


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
    sides: tuple[float, float]  # what the derivative may be: at a kink from one to the other, else as recorded

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
    defined on both sides (√ at 0) or not finite; such entries are counted in the report, not failed,
    if what the slopes on the two sides of each kink can add up to explains the difference.
    Raises TypeError if f does not return a Value, ValueError if it returns another number each time.
    """
    values = listed(values)
    with _recording_places() as places:
        loss = f()
    if not isinstance(loss, Value):
        raise TypeError(f"f returns the loss, a Value: got a {type(loss).__name__}")
    order = topological_order(loss)
    name = names(order)
    local_grads = list(_local_entries(order, name, places, rtol))
    backward = backward_gradients(loss)
    noise = rounding_error(backward)
    possible = _possible_gradients(loss, order, local_grads)
    forward_pass = ForwardPass(f)
    gradients = []
    for i, v in enumerate(values, 1):
        found = value_slope(forward_pass, v, noise, loss.data)
        grad = backward.get(v, 0.0)
        status = judge(grad, found, rtol)
        if status == "wrong" and v in possible and _explains(possible[v], found, rtol):
            status = "kink"
        gradients.append(
            GradientEntry(v, name.get(v) or v.label or f"value {i}", grad, found.estimate, found.error, status)
        )
    return GradientReport(loss.data, gradients, local_grads, forward_pass.count + 1)


def backward_gradients(loss: Value) -> dict[Value, float]:
    """∂loss/∂v as `loss.backward()` computes it, for all nodes v, whose `grad` is then again what it was."""
    order = topological_order(loss)
    before = [v.grad for v in order]
    try:
        for v in order:
            v.grad = NOT_COMPUTED
        loss.backward()
        return {v: v.grad for v in order}
    finally:
        for v, grad in zip(order, before, strict=True):
            v.grad = grad


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
            sides = (found.left, found.right) if status == "kink" else (recorded, recorded)
            yield LocalEntry(node, i, name, recorded, found.estimate, status, where, sides)


def _possible_gradients(loss: Value, order: list[Value], entries: list[LocalEntry]) -> dict[Value, tuple[float, float]]:
    """Between what ∂loss/∂v may lie for the nodes v below a kink: the chain rule, on intervals.

    There each local derivative is anything from the slope on the left to the one on the right.
    """
    locals_of: dict[Value, list[LocalEntry]] = {}
    for entry in entries:
        locals_of.setdefault(entry.node, []).append(entry)
    bounds, below = {loss: (1.0, 1.0)}, set()
    for node in reversed(order):
        for entry in locals_of.get(node, []):
            input = node.inputs[entry.position]
            if node in below or entry.status == "kink":
                below.add(input)
            products = [upstream * local for upstream in bounds[node] for local in entry.sides]
            if any(product != product for product in products):
                products = [-inf, inf]
            low, high = bounds.get(input, (0.0, 0.0))
            bounds[input] = low + min(products), high + max(products)
    return {v: bounds[v] for v in below}


def _explains(possible: tuple[float, float], found: Slope, rtol: float) -> bool:
    """Whether the slopes that were found are among those that the kinks make possible."""
    slopes = (found.left, found.right) if found.kink else (found.estimate,)
    margin = rtol * max(map(abs, slopes)) + found.error
    return bool(possible[0] - margin <= min(slopes) and max(slopes) <= possible[1] + margin)


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
    if re.search(r"[/\\]ipykernel_\d+[/\\]", path):
        path = "notebook cell"  # the kernel's temporary file says nothing to anybody
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
    for entry in wrong_local[:SHOWN]:
        lines += ["", *_describe(entry)]
    if len(wrong_local) > SHOWN:
        lines += ["", f"… and {len(wrong_local) - SHOWN} more wrong local derivatives: see .wrong"]
    if wrong:
        width = max(len(formula.partial("C", e.name)) for e in wrong[:SHOWN])
        lines += ["", "wrong gradients"]
        lines += [
            f"  {formula.partial('C', e.name):<{width}}   backward() {e.backward:<13.6g} differences {e.difference:<13.6g}"
            f" {by_how_much(e.backward, e.difference)}"
            for e in wrong[:SHOWN]
        ]
    if len(wrong) > SHOWN:
        lines.append(f"  … and {len(wrong) - SHOWN} more: see .wrong")
    return "\n".join(lines)


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
