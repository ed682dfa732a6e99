"""Walk: the graph node by node in Python's floats, one sample after the other.

Where nearly every node is an array of its own, a line of NumPy for one number takes longer than the scalar
engine. Without recording anything, the rows of `ops` are faster than either: each node's value and local
derivatives are one call, of a function with the rules of its row written out. Then the chain rule, as
`Value.backward` has it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from math import nan
from typing import Any

import numpy as np

from microgradlike import ops
from microgradlike.ieee import NOT_COMPUTED
from microgradlike.matrix.find import Found
from microgradlike.matrix.memory import Frame
from microgradlike.primitive import Operation
from microgradlike.recording import WHERE
from microgradlike.support.compiled import on_floats
from microgradlike.value import Value

ONE, SEVERAL = -1, -2  # how many inputs a step has that has not two


class Walk(Frame):
    """The nodes in topological order, each with what computes it, and their numbers for one sample."""

    def __init__(self, found: Found, offsets: Mapping[Value, int], numbers: Any, gradient: Any) -> None:
        """Take the places of the parameters in `numbers` and `gradient`; those to be trained come first."""
        graph = found.graph
        self.samples, self.checks, self.loose, self.factors = -1, [], [], []
        self.products = [None] * len(found.batch)
        self._numbers, self._gradient, self._seed = numbers, gradient, np.ones(())
        self._parameters = [graph.index_of[v] for v in offsets]
        self._trained = self._parameters[: sum(array.size for array in found.trained)]
        self._offsets = np.array([*offsets.values()], int)
        self._given = [graph.index_of[v] for argument in found.batch for v in argument]
        self._outputs = [graph.index_of[v] for v in found.outputs]
        self._guards = found.guards
        self._sides = [[graph.index_of[v] for v in side] for side in zip(*((g.left, g.right) for g in found.guards))]
        self._data = [v.data if op is ops.CONSTANT else 0.0 for v, op in zip(graph.nodes, graph.ops)]
        start, edges = graph.start.tolist(), found.edges.tolist()
        joined = {len(start) - 2} - {*self._outputs}  # by which `find` makes one graph of several
        self._steps = [
            _step(i, op, edges[start[i] : start[i + 1]])
            for i, op in enumerate(graph.ops)
            if start[i] < start[i + 1] and i not in joined
        ]

    def take(self, samples: int) -> None:
        """Have room for the results of so many samples."""
        if samples != self.samples:
            self.samples, self._scale = samples, nan  # it is to be divided by another number
            self.outputs = np.zeros((max(samples, 1), len(self._outputs)), self._numbers.dtype)
            self.losses = self.outputs[:, 0]

    def run(self, name: str, arrays: list[Any]) -> None:
        """Compute what the function of this name computes."""
        data = self._data
        for i, x in zip(self._parameters, self._numbers[self._offsets].tolist()):
            data[i] = x
        rows = np.hstack(arrays).tolist() if arrays else [()]
        compared = np.empty((2, len(self._guards), len(rows)))
        total = np.zeros(len(self._trained))
        for sample, row in enumerate(rows):
            for i, x in zip(self._given, row):
                data[i] = x
            firsts, seconds = self._forward()
            self.outputs[sample] = [data[i] for i in self._outputs]
            for side, nodes in zip(compared, self._sides):
                side[:, sample] = [data[i] for i in nodes]
            if name != "forward":
                gradient = self._backward(firsts, seconds)
                total += [gradient[i] for i in self._trained]
        self.checks = [
            (guard, getattr(np, guard.function)(*sides) == guard.outcome)
            for guard, *sides in zip(self._guards, *compared)
        ]
        if name != "forward":
            self._gradient[self._offsets[: len(total)]] = total

    def _forward(self) -> tuple[list[Any], list[float]]:
        """Compute all nodes; return the local derivatives by the first and by the second input."""
        data = self._data
        firsts: list[Any] = [0.0] * len(data)
        seconds = [0.0] * len(data)
        for i, compute, a, b in self._steps:
            if b >= 0:
                data[i], firsts[i], seconds[i] = compute(data[a], data[b])
            elif b == ONE:
                data[i], firsts[i] = compute(data[a])
            else:
                data[i], firsts[i] = compute(data)
        return firsts, seconds

    def _backward(self, firsts: list[Any], seconds: list[float]) -> list[float]:
        """Return the gradient of all nodes: the chain rule.

        A node that nothing has reached sends nothing, not even 0 · inf = nan: it is of a branch that was not taken.
        """
        gradient: list[float] = [NOT_COMPUTED] * len(firsts)
        gradient[self._outputs[0]] = self._seed.item()
        for i, _, a, b in reversed(self._steps):
            upstream = gradient[i]
            if upstream is NOT_COMPUTED:
                continue
            if b >= 0:
                gradient[a] += upstream * firsts[i]
                gradient[b] += upstream * seconds[i]
            elif b == ONE:
                gradient[a] += upstream * firsts[i]
            else:
                for input, local_grad in firsts[i]:
                    gradient[input] += upstream * local_grad
        return gradient


Step = tuple[int, Callable[..., Any], int, int]
Computed = tuple[float, Iterable[tuple[int, float]]]  # the value, and the local derivative by each input


def _step(i: int, op: Operation, inputs: list[int]) -> Step:
    """Return (node, what computes it and its local derivatives, first input, second input)."""
    if op is WHERE:
        return i, _choice(*inputs), SEVERAL, SEVERAL
    compute = on_floats(op, len(inputs))
    match inputs:
        case [a, b]:
            return i, compute, a, b
        case [a]:
            return i, compute, a, ONE
    return i, _of_several(compute, inputs), SEVERAL, SEVERAL


def _of_several(compute: Callable[..., tuple[float, ...]], inputs: list[int]) -> Callable[[list[float]], Computed]:
    def of_all(data: list[float]) -> Computed:
        y, *local_grads = compute(*[data[j] for j in inputs])
        return y, zip(inputs, local_grads)

    return of_all


def _choice(condition: int, if_true: int, if_false: int) -> Callable[[list[float]], Computed]:
    """Return what computes a choice, which only the branch taken has a part in."""

    def choose(data: list[float]) -> Computed:
        taken = if_true if data[condition] else if_false
        return data[taken], [(taken, 1.0)]

    return choose
