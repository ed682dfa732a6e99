"""Where does the nan come from? `detect_anomaly` stops at the operation that first makes one."""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from math import isfinite

from microgradlike import ops
from microgradlike.check.watch import Watcher, in_gradient, watching
from microgradlike.ieee import to_float
from microgradlike.notation import formula
from microgradlike.notation.names import node_names
from microgradlike.support.places import Place, place_outside, place_text
from microgradlike.value import Value, topological_order

SHOWN = 6  # inputs of an operation
LONGEST_MEMORY = 100_000  # stretches of nodes that one line recorded in a row


@contextmanager
def detect_anomaly() -> Iterator[None]:
    """Raise FloatingPointError at the operation that first makes a nan or an infinity.

        with detect_anomaly():
            loss = -(model(x) - 1.0).log()
            loss.backward()

    It raises where finite numbers give one that is not finite:

    - forward, where an operation is recorded: log(0), exp(1000), 0/0;
    - in `backward()`, before any gradient is changed, and in `gradient()`, where a finite gradient ∂L/∂node
      times ∂ₖnode, added to what has arrived, is not finite: the local derivative of √x at 0 is
      infinite, although √0 is not. Gradients with respect to constants, which nobody asks for, do not count.

    The message names the operation, its inputs, and the line that recorded it if that was within the
    context, which holds for this thread (or task). The graph may have been recorded outside. Infinities
    and nans that you put in yourself, such as −inf for a masked score, are no anomalies.

    As in PyTorch, this is for debugging: recording and backward passes take three to six times as long within.
    Outside, it costs nothing.
    """
    watch, unwatch = watching(_Detector())
    try:
        try:
            watch()
            yield
        finally:
            unwatch()
    finally:  # again: an interrupt may have come within the first
        unwatch()


class _Detector(Watcher):
    def __init__(self) -> None:
        # Nodes are numbered as they are recorded. To keep them, or a line for each, would fill the memory.
        self._lines: deque[tuple[list[int], Place]] = deque(maxlen=LONGEST_MEMORY)

    def recorded(self, node: Value) -> None:
        place = place_outside(sys._getframe())
        if place:
            created, (stretch, last_place) = node._number, self._lines[-1] if self._lines else ([0, 0], None)
            if place == last_place and created == stretch[1] + 1:
                stretch[1] = created
            else:
                self._lines.append(([created, created], place))
        # A rule that gradient() runs may compute what is not used: before_backward() knows what is.
        if not isfinite(node.data) and node.inputs and _all_finite(node.inputs) and not in_gradient.get():
            names = node_names([*(x for v in node.inputs for x in v.inputs), *node.inputs, node])
            raise self._error(node, names, f"{node.data} of finite inputs")

    def before_backward(self, root: Value, seed: float, wanted: list[Value] | None) -> None:
        order = topological_order(root)
        needed = {v for v in order if v.op is not ops.CONSTANT} if wanted is None else set(wanted)
        for node in order:
            if not needed.isdisjoint(node.inputs):
                needed.add(node)
        grads = {root: to_float(seed)}
        for node in reversed(order):
            if node not in grads:
                continue
            upstream = grads[node]
            for i, (input, local_grad) in enumerate(zip(node.inputs, node.local_grads)):
                if input not in needed:
                    continue
                arrived = grads.get(input, 0.0 if input.inputs or wanted is not None else input.grad or 0.0)
                grads[input] = arrived + upstream * local_grad
                if isfinite(grads[input]) or not (isfinite(upstream) and isfinite(arrived)):
                    continue
                if isfinite(local_grad) or _all_finite(node.inputs):
                    names = node_names(order, root)
                    gradient = f"the gradient {formula.gradient(names[root], names[input])} = {grads[input]}"
                    terms = _terms(node, i, upstream, arrived, names, root)
                    raise self._error(node, names, f"{gradient} of a finite one", *terms)

    def _error(self, node: Value, names: Mapping[Value, str], made: str, *terms: str) -> FloatingPointError:
        lines = [f"{node.op.name} makes {made}", f"  operation   {_equation(node, names)}", *_inputs(node, names)]
        where = [place_text(place) for (first, last), place in self._lines if first <= node._number <= last]
        lines += [*terms, *(f"  recorded in {place}" for place in where)]
        return FloatingPointError("\n".join(lines))


def _all_finite(values: tuple[Value, ...]) -> bool:
    return all(isfinite(v.data) for v in values)


def _terms(
    node: Value, i: int, upstream: float, arrived: float, names: Mapping[Value, str], root: Value
) -> Iterator[str]:
    """Describe the product that made a gradient infinite or nan, and what it was added to."""
    rule = formula.derivative(node, i, names)
    local = formula.local(names[node], i)
    yield f"  gradient    {formula.gradient(names[root], names[node])} = {upstream:.6g}"
    yield f"  derivative  {local} = {rule and rule + ' = '}{node.local_grads[i]:.6g}"
    if arrived:
        yield f"  added to    {arrived:.6g}"


def _equation(node: Value, names: Mapping[Value, str]) -> str:
    definition = f"{formula.expression(node, names, depth=1)} = " if node.inputs else ""
    return f"{names[node]} = {definition}{node.data:.6g}"


def _inputs(node: Value, names: Mapping[Value, str]) -> list[str]:
    """Describe the inputs and what they were computed from, a line each; of many, only the largest."""
    inputs = [v for v in dict.fromkeys(node.inputs) if v.op is not ops.CONSTANT or v.label]
    if len(inputs) > SHOWN:
        inputs.sort(key=lambda v: -abs(v.data))
    lines = [f"  input       {_equation(v, names)}" for v in inputs[:SHOWN]]
    left_out = len(inputs) - SHOWN
    return lines + ([f"              and {left_out} more, none of them larger"] if left_out > 0 else [])
