"""Is the gradient right? And if not, which derivative of which operation, recorded where, is wrong by how much?

`check_gradients` compares `backward()` with finite differences, and then asks each operation of the
graph for what it knows best, its own value: a local derivative that does not follow from the
operation's value rule is named, with the line of your program that recorded it.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from math import inf, isfinite
from typing import Any, Literal, TypeVar

from microgradlike import ops
from microgradlike.check.differences import (
    UNDEFINED,
    FiniteDifferences,
    ForwardPass,
    Slope,
    Status,
    check_function,
    finite_differences,
    judge,
    local_slope,
    rounding_error,
    value_slope,
)
from microgradlike.check.watch import Watcher, unwatched, watched
from microgradlike.graph import as_value_list, jvp
from microgradlike.ieee import NOT_COMPUTED, check_class
from microgradlike.notation import formula
from microgradlike.notation.names import node_names
from microgradlike.support.exchange import with_undo
from microgradlike.support.places import Place, place_outside, place_text
from microgradlike.value import Value, topological_order
from microgradlike.view.table import Row, Table, clean

__all__ = ["FiniteDifferences", "GradientReport", "check_gradients", "finite_differences"]

T = TypeVar("T")
SHOWN = 5  # wrong entries in a report
Cause = Literal["", "outside", "before", "backward"]
CAUSES = {
    "outside": "f() also depends on {} outside the graph, for example through .data.",
    "before": "some of what is computed from {} was recorded before f() was called: record all of it inside f.",
    "backward": "backward() does not add up those of {} as forward mode does.",
}


@dataclass(frozen=True, slots=True)
class GradientEntry:
    """∂C/∂v as `backward()` has it, and as differences have it, give or take `error`."""

    value: Value
    name: str
    backward: float
    difference: float
    error: float
    status: Status
    cause: Cause = ""


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


@dataclass(frozen=True, slots=True, repr=False)
class GradientReport:
    """What `check_gradients` found. `ok` says it in a word, `print` in all; in a notebook it is a table."""

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
    def undefined(self) -> list[GradientEntry | LocalEntry]:
        """The local derivatives and gradients that cannot be compared: the function is not defined around them."""
        entries: list[GradientEntry | LocalEntry] = [*self.local_grads, *self.gradients]
        return [entry for entry in entries if entry.status == "undefined"]

    @property
    def ok(self) -> bool:
        """True if nothing is wrong, and the loss is a finite number."""
        return not self.wrong and isfinite(self.loss)

    def __str__(self) -> str:
        return _report(self)

    def __repr__(self) -> str:
        local_grads = _tally("local derivatives", self.local_grads)
        return f"<GradientReport: {_tally('gradients', self.gradients)}; {local_grads}>"

    def table(self) -> Table:
        """Return the table that notebooks show."""
        return Table(_table(self))

    def _repr_html_(self) -> str:
        return self.table()._repr_html_()


def check_gradients(f: Callable[[], Value], values: Iterable[Value], rtol: float = 1e-5) -> GradientReport:
    """Check ∂f()/∂v for every value, and every local derivative of the graph that f records.

    f() records the loss anew, from the values: `check_gradients(lambda: loss(model(x), y), model.parameters())`.
    It is called about six times for each value. `data` and `grad` of everything are left as they were.

    1. `backward()` is compared with central differences of f. It is wrong where it is off by more
       than `rtol` relative and more than the error that the differences themselves may have.
    2. Each local derivative that the graph recorded is compared with differences of the operation's
       value rule at the same point, to `rtol`.

    At a kink (ReLU at 0) there is no derivative to compare with, nor where the function is not
    defined on both sides (√ at 0) or not finite; such entries are counted and listed in the report, not
    failed, if what the slopes on the two sides of each kink can add up to explains the difference.
    Derivatives by a constant, as the 2 in x**2, are left out where they are not defined.

    Where all local derivatives are right and a gradient is wrong, forward mode tells the cause: `backward()`
    does not add them up, or f depends on the value in a way that the graph does not show, as through `.data`.

    Raises TypeError for an f that is no function without arguments or does not return a Value, ValueError
    if it returns another number each time, and for a constant among the values, which has no gradient.
    """
    check_function(f)
    forward_pass = ForwardPass(f)
    values = as_value_list(values)
    for v in values:
        if v.op is ops.CONSTANT:
            raise ValueError(f"{v!r} is a constant, which has no gradient: make it a leaf, Value({v.data:g})")
    places, first = _Places(), Value(0.0)  # what f records is numbered from here on
    loss = watched(f, places)
    if not isinstance(loss, Value):
        check_class(loss)
        raise TypeError(f"f returns the loss, a Value: got a {type(loss).__name__}")
    order = topological_order(loss)
    names = node_names(order)
    local_grads = list(_local_entries(order, names, places.of, rtol))
    backward = backward_gradients(loss)
    noise = rounding_error(backward)
    possible = _possible_gradients(loss, local_grads)
    gradients = []
    for i, v in enumerate(values, 1):
        found = value_slope(forward_pass, v, noise, loss.data)
        grad = backward.get(v, 0.0)
        status = judge(grad, found, rtol)
        if status == "wrong" and v in possible and _explains(possible[v], found, rtol):
            status = "kink"
        name = names.get(v) or v.label or f"value {i}"
        gradients.append(GradientEntry(v, name, grad, found.estimate, found.error, status))
    if all(entry.status in ("agrees", "kink") for entry in local_grads):
        reused: set[Value] = set()  # what goes into nodes that were recorded before
        for node in reversed(order):
            if node in reused or node._number < first._number:
                reused.update(node.inputs)
        gradients = [replace(e, cause=_cause(e, loss, reused)) if e.status == "wrong" else e for e in gradients]
    return GradientReport(loss.data, gradients, local_grads, forward_pass.count + 1)


def backward_gradients(loss: Value) -> dict[Value, float]:
    """Return ∂loss/∂v for all nodes v, as `loss.backward()` computes it; their `grad` is left as it was."""
    order = topological_order(loss)

    def body() -> dict[Value, float]:
        for v in order:
            v.grad = NOT_COMPUTED
        unwatched(loss.backward)
        return {v: v.grad for v in order}

    return keep_grads(order, body)


def keep_grads(values: Iterable[Any], body: Callable[[], T]) -> T:
    """Return body(), which may change the `grad` of the values; afterwards each is what it was."""
    before = [(v, v.grad) for v in values]

    def undo() -> None:
        for v, grad in before:
            v.grad = grad

    return with_undo(body, undo)


def _local_entries(
    order: list[Value], names: dict[Value, str], places: dict[Value, Place], rtol: float
) -> Iterator[LocalEntry]:
    for node in order:
        if not node.inputs:
            continue
        data = [v.data for v in node.inputs]
        where = place_text(places[node]) if node in places else ""
        for i, recorded in enumerate(node.local_grads):
            found = local_slope(node.op, data, i, recorded, rtol) if all(map(isfinite, data)) else UNDEFINED
            status = judge(recorded, found, rtol)
            if status == "undefined" and node.inputs[i].op is ops.CONSTANT:
                continue  # nobody asks for it
            sides = (found.left, found.right) if status == "kink" else (recorded, recorded)
            yield LocalEntry(node, i, names, recorded, found.estimate, status, where, sides)


def _possible_gradients(loss: Value, entries: list[LocalEntry]) -> dict[Value, tuple[float, float]]:
    """Return the bounds of ∂loss/∂v for the nodes v below a kink: the chain rule, on intervals.

    There each local derivative is anything from the slope on the left to the one on the right.
    """
    bounds, below = {loss: (1.0, 1.0)}, set()
    for entry in reversed(entries):
        node, input = entry.node, entry.node.inputs[entry.position]
        if node in below or entry.status == "kink":
            below.add(input)
        products = [upstream * local for upstream in bounds[node] for local in entry.sides]
        if any(product != product for product in products):
            products = [-inf, inf]
        low, high = bounds.get(input, (0.0, 0.0))
        bounds[input] = low + min(products), high + max(products)
    return {v: bounds[v] for v in below}


def _explains(possible: tuple[float, float], found: Slope, rtol: float) -> bool:
    """Return whether the slopes that were found are among those that the kinks make possible."""
    slopes = (found.left, found.right) if found.kink else (found.estimate,)
    margin = rtol * max(map(abs, slopes)) + found.error
    return bool(possible[0] - margin <= min(slopes) and max(slopes) <= possible[1] + margin)


def _cause(entry: GradientEntry, loss: Value, reused: set[Value]) -> Cause:
    """Return why a gradient is wrong although all local derivatives are right."""
    forward = jvp(loss, {entry.value: 1.0})
    if not isfinite(forward):
        return ""
    if abs(forward - entry.backward) > 1e-9 * abs(forward):
        return "backward"
    return "before" if entry.value in reused else "outside"


class _Places(Watcher):
    """Notes, for each node that is recorded, the line outside this package that asked for it."""

    def __init__(self) -> None:
        self.of: dict[Value, Place] = {}

    def recorded(self, node: Value) -> None:
        if place := place_outside(sys._getframe()):
            self.of[node] = place


# ── The report in words, and as a table ────────────────────────────────────────────────────────

Block = tuple[str, list[tuple[str, str]]]  # a title, and lines of two columns


def _report(report: GradientReport) -> str:
    lines = _summary(report)
    for title, rows in _blocks(report, [e for e in _by_status(report) if e.status in ("wrong", "undefined")], SHOWN):
        longest = max([len(first) for first, second in rows if second], default=0)
        gap = 12 if "local derivative" in title else 3 + longest
        lines += ["", title, *(f"  {first:<{gap}}{second}".rstrip() for first, second in rows)]
    return "\n".join(map(clean, lines))


def _table(report: GradientReport) -> Iterator[Row]:
    yield from ([[(line, "strong")]] for line in _summary(report))
    for title, rows in _blocks(report, _by_status(report), most=16):
        yield []
        yield [[(title, "strong")]]
        yield from ([[(f"  {first}", "local")], *([[(second, "")]] if second else [])] for first, second in rows)


def _by_status(report: GradientReport) -> list[GradientEntry]:
    return sorted(report.gradients, key=lambda entry: ("wrong", "undefined", "kink", "agrees").index(entry.status))


def _summary(report: GradientReport) -> list[str]:
    lines = [
        f"{_tally('backward() and finite differences', report.gradients)} ({report.forward_passes} forward passes)",
        _tally("local derivatives and value rules", report.local_grads),
    ]
    return lines if isfinite(report.loss) else [*lines, f"The loss is {report.loss}: there is nothing to compare."]


def _tally(what: str, entries: list[Any]) -> str:
    count = Counter(e.status for e in entries)
    parts = [f"{count['agrees']} of {len(entries)} agree"]
    words = {"wrong": "WRONG", "kink": "at a kink", "undefined": "where it is not defined"}
    parts += [f"{count[status]} {word}" for status, word in words.items() if count[status]]
    return f"{what}: " + ", ".join(parts)


def _blocks(report: GradientReport, gradients: list[GradientEntry], most: int) -> Iterator[Block]:
    """Describe the local derivatives that are wrong or not defined, these gradients, and why some are wrong.

    What is computed from a nan or an infinity is counted, and not listed: the operation that made it is.
    """
    for status in ("wrong", "undefined"):
        entries = [e for e in report.local_grads if e.status == status and all(isfinite(v.data) for v in e.node.inputs)]
        yield from map(_describe, entries[:SHOWN])
        if len(entries) > SHOWN:
            yield f"… and {len(entries) - SHOWN} more {status} local derivatives: see .{status}", []
    if gradients:
        rows = list(map(_compared, gradients[:most]))
        if len(gradients) > most:
            rows.append((f"… and {len(gradients) - most} more: see .gradients", ""))
        yield "wrong gradients" if gradients[0].status == "wrong" else "gradients", rows
    yield from ((line, []) for line in _causes(report))


def _compared(entry: GradientEntry) -> tuple[str, str]:
    off = by_how_much(entry.backward, entry.difference)
    verdict = {"wrong": off, "undefined": "not defined", "kink": "at a kink", "agrees": ""}[entry.status]
    numbers = f"backward() {entry.backward:<13.6g} differences {entry.difference:<13.6g}"
    return formula.gradient("C", entry.name), f"{numbers} {verdict}".rstrip()


def _describe(entry: LocalEntry) -> Block:
    node, names = entry.node, entry.names
    input = node.inputs[entry.position]
    y, x = names[node], names[input]
    wrong = entry.status == "wrong"
    return f"{node.op.name}: the local derivative {formula.local(y, entry.position)} is {'wrong' if wrong else 'not defined'}", [
        ("input", f"{entry.position + 1} of {len(node.inputs)}: {x} = {input.data:.6g}"),
        *([("recorded in", entry.where)] if entry.where else []),
        ("its rule", f"{entry.formula and entry.formula + ' = '}{entry.recorded:.10g}"),
        *([
            ("should be", f"{entry.expected:.10g}, as {y} = {formula.expression(node, names, depth=1)} changes there"),
            ("off by", by_how_much(entry.recorded, entry.expected)),
        ] if wrong else []),
    ]  # fmt: skip


def _causes(report: GradientReport) -> list[str]:
    return [
        "All local derivatives are right. But " + why.format(", ".join(found[:SHOWN]) + ", …" * (len(found) > SHOWN))
        for cause, why in CAUSES.items()
        if (found := [e.name for e in report.gradients if e.cause == cause])
    ]


def by_how_much(got: float, expected: float) -> str:
    """Return the error in words: absolute, and as a share of what was expected."""
    if not isfinite(got):
        return "not a finite number"
    if got == -expected:
        return "its sign"
    off = got - expected
    return f"{off:+.3g}" + (f" ({100 * off / abs(expected):+.3g} %)" if expected else "")
