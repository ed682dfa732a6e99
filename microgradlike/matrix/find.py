"""Find: the arrays of a scalar graph and the instructions that compute them, pass by pass.

    canonicalise   chains of + and × become sums of products   `Graph`
    refine         nodes that play the same part get a colour  `Colours`
    match          colours become arrays with instructions     `Arrays`

Each of these prints what it is; `passes` shows all of them, and the lines that are emitted.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterable, Mapping, Set
from dataclasses import dataclass
from typing import Any

import numpy as np

from microgradlike import ops
from microgradlike.matrix.arrays import Array, Arrays
from microgradlike.matrix.canonical import Graph, canonicalise
from microgradlike.matrix.colours import BATCH, COMPARED, COMPUTED, CONSTANT, FIXED, PARAMETER, Colours, refine
from microgradlike.matrix.common import ROUNDS, rewritten, unify
from microgradlike.matrix.guards import Guard
from microgradlike.matrix.indices import Ints
from microgradlike.matrix.match import Matcher
from microgradlike.matrix.names import name_arrays
from microgradlike.recording import full_order
from microgradlike.support.places import place_outside
from microgradlike.value import Value, apply, constant

ONE = constant(1.0)  # node 0: the factor of what is added as it is
FINDING = 25e-6  # seconds that an array takes to be found
PATIENCE = 60.0  # seconds; what takes longer is said before


class IrregularGraph(UserWarning):
    """What a graph of nearly as many arrays as nodes will take, before it is spent."""

    @classmethod
    def warn(cls, seconds: float, what: str, remedy: str) -> None:
        """Say so if this will take long, as a warning at the user's line that runs."""
        if seconds > PATIENCE:
            file, line = place_outside(sys._getframe()) or ("<unknown>", 0)
            text = (
                f"nearly every node of this graph plays a part of its own: {what} will take some {seconds:.0f} seconds"
            )
            warnings.warn_explicit(f"{text}; {remedy}", cls, file, line)


@dataclass(frozen=True, eq=False, repr=False)
class Found:
    """What was found in the graph of a loss: it prints its arrays."""

    outputs: list[Value]  # what is to be computed: the loss, or the nodes whose numbers are asked for
    batch: list[list[Value]]  # the leaves of each argument
    needed: list[bool]  # whether what is to be computed depends on the argument
    wanted: list[Value] | None  # the parameters that were asked for; None for all
    guards: list[Guard]
    edges: Ints  # of the graph as it was recorded
    graph: Graph
    colours: Colours
    all_arrays: Arrays  # also those of no entries
    arrays: Arrays
    trained: list[Array]  # parameters whose gradients are computed
    fixed: list[Array]  # and the others
    array_of: Ints  # which of `all_arrays` a node is in, and where
    position: Ints

    @property
    def loss(self) -> Value:
        """The first of the outputs: mostly there is no other."""
        return self.outputs[0]

    def nodes(self, array: Array) -> list[Any]:
        """Return the nodes of an array, None where an entry has none."""
        return [None if i < 0 else self.graph.nodes[i] for i in array.entries]

    def locate(self, v: Value) -> tuple[Array, int]:
        """Return the array of a node, and its position there."""
        graph = self.graph
        i = graph.index_of[v]
        at = graph.same[i]
        return self.all_arrays[self.array_of[at]], -1 if graph.factored[i] else int(self.position[at])

    def __repr__(self) -> str:
        return repr(self.arrays)


def find(
    outputs: list[Value], batch: list[list[Value]], wanted: list[Value] | None, guards: list[Guard], dense: bool = True
) -> Found:
    """Return the arrays and instructions in the graph of the outputs, and of what the guards compare.

    Unless it is `dense`, no product is padded with zeros. Raises as `vectorize` does.
    """
    compared = [v for guard in guards for v in (guard.left, guard.right)]
    root = _joined([*outputs, *compared])  # one graph of all that must be computed
    nodes = full_order(root)
    present = set(nodes)
    columns = [v for argument in batch for v in argument]
    _check_leaves(columns, wanted, present)
    graph = canonicalise([ONE, *(v for v in columns if v not in present), *nodes])
    graph.live[graph.index_of[root]] = root in outputs
    graph.live[0] = False
    asked = set(full_order(_joined(outputs))) if compared else present
    kind = np.array([
        PARAMETER if op is ops.LEAF else CONSTANT if op is ops.CONSTANT else COMPUTED if v in asked else COMPARED
        for v, op in zip(graph.nodes, graph.ops)
    ], np.int64)  # fmt: skip
    if wanted is not None:
        kind[kind == PARAMETER] = FIXED
        kind[[graph.index_of[v] for v in wanted]] = PARAMETER
    arguments = [np.array([graph.index_of[v] for v in argument], np.int64) for argument in batch]
    for argument in arguments:
        kind[argument] = BATCH
    edges = graph.edges
    graph = unify(graph, kind)
    colours = refine(graph, kind, arguments)
    for _ in range(ROUNDS if dense else 0):
        result = next((result for result in rewritten(graph, colours, kind) if result is not graph), None)
        if result is None:
            break
        graph = unify(result, kind)
        colours = refine(graph, kind, arguments)
    IrregularGraph.warn(
        FINDING * len(np.unique(colours.colour[graph.live & (kind < 0)])),
        "finding its arrays",
        "loss.backward() of the scalar engine needs no finding. Where the graph repeats one computation for many "
        "samples, record a single one, and give what varies as `batch`",
    )
    matched = Matcher(graph, colours, kind, arguments, dense)
    arrays = Arrays(a for a in matched.arrays if a.size)
    # The first of the nodes that hold the same, or −1: of what comes out of a sum, none was recorded.
    recorded = np.full(len(graph.nodes) + 1, -1)
    held = (~graph.factored).nonzero()[0][::-1]
    recorded[graph.same[held]] = held
    for array in arrays:
        array.entries = recorded[array.entries]
    name_arrays(arrays, graph.nodes, len(batch), outputs[0])
    trained, fixed = ([a for a in arrays if kind[a.entries[0]] == which] for which in (PARAMETER, FIXED))
    found = matched.arrays, arrays, trained, fixed, matched.array_of, matched.position
    needed = [not present.isdisjoint(argument) for argument in batch]
    return Found(outputs, batch, needed, wanted, guards, edges, graph, colours, *found)


def _joined(nodes: list[Value]) -> Value:
    """Return a node whose graph is that of all these nodes."""
    several = dict.fromkeys(nodes)
    return apply(ops.MAX, *several) if len(several) > 1 else nodes[0]


def as_arguments(batch: Any) -> list[list[Value]]:
    """Return the leaves of each argument of the program, from `batch` as a user writes it."""
    batch = as_list(batch)
    if batch and all(isinstance(v, Value) for v in batch):
        return [batch]
    return [_flat(v) for v in batch]


def _flat(values: Any) -> list[Value]:
    return [values] if isinstance(values, Value) else [v for inner in as_list(values) for v in _flat(inner)]


def as_list(values: Any, what: str = "batch and parameters list leaves, Values") -> list[Any]:
    """Return a list of Values; raise TypeError for what is no list."""
    if isinstance(values, Value):
        return [values]
    if not isinstance(values, Iterable) or isinstance(values, str | Mapping | Set):
        raise TypeError(f"{what} in lists, got {type(values).__name__}: {values!r:.40}")
    return list(values)


def _check_leaves(columns: list[Value], wanted: list[Value] | None, present: set[Value]) -> None:
    for v in (*columns, *(wanted or ())):
        if not isinstance(v, Value):
            raise TypeError(f"expected Values, got {type(v).__name__}: {v!r:.40}")
        if v.op is not ops.LEAF:
            what = "a constant" if v.op is ops.CONSTANT else f"the result of {v.op}"
            raise ValueError(f"batch and parameters must be leaves, Value(…), but {v!r} is {what}")
    varying = set(columns)
    if len(varying) < len(columns):
        raise ValueError("batch lists the same Value twice")
    for v in wanted or ():
        if v not in present:
            raise ValueError(f"the loss does not depend on the parameter {v!r}")
        if v in varying:
            raise ValueError(
                f"{v!r} stands in batch and in parameters: gradients are with respect to what all samples share; "
                "for ∂loss/∂x of single samples leave it out of batch, or take backward() of the scalar engine"
            )
