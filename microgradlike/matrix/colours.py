"""Step 2, colour refinement: nodes that play the same part get the same colour, and form one array.

The forward colour of a node is its operation and the colours of its inputs (Weisfeiler and Leman's
refinement, on a directed acyclic graph). Leaves start out as data, parameter or constant; once
their consumers have colours, the parameters split by who consumes them, and the weights of one
layer part from those of the next. Two rounds usually suffice.

A sum is coloured by the *set* of colours of its terms, not by their number: the 3rd and the 16th
row of causal attention play the same part. A colour fixes the longest way down to a leaf, so that
the graph of colours has no cycles either.
"""

from __future__ import annotations

import numpy as np

from microgradlike import ops
from microgradlike.matrix.canonical import Graph, Ints, is_reduction

CONSTANT, BATCH, PARAMETER = 0, 1, 2  # the colours that leaves start with


class _Sets:
    """Sets of colours, each with a number: adding a member is one look-up."""

    def __init__(self) -> None:
        self.members: list[frozenset[object]] = [frozenset()]
        self.numbers: dict[frozenset[object], int] = {frozenset(): 0}
        self.added: dict[tuple[int, object], int] = {}

    def add(self, set_number: int, member: object) -> int:
        found = self.added.get((set_number, member))
        if found is None:
            union = self.members[set_number] | {member}
            found = self.numbers.setdefault(union, len(self.members))
            if found == len(self.members):
                self.members.append(union)
            self.added[set_number, member] = found
        return found


def refine(graph: Graph, leaf: Ints, rounds: int = 8) -> tuple[Ints, Ints]:
    """(colour, depth) of every live node, given CONSTANT, BATCH or PARAMETER for each leaf.

    Colours are numbered in order of appearance. Stops when a round splits no parameters.
    """
    colour, depth, consumers = _forward(graph, leaf.tolist())
    parameters = (leaf == PARAMETER).nonzero()[0]
    classes = 1
    for _ in range(rounds):
        split: dict[tuple[int, int], int] = {}
        refined = leaf.copy()
        for i in parameters.tolist():
            refined[i] = split.setdefault((consumers[i], int(leaf[i])), PARAMETER + len(split))
        if len(split) == classes:
            break
        classes, leaf = len(split), refined
        colour, depth, consumers = _forward(graph, leaf.tolist())
    return np.array(colour), np.array(depth)


def _forward(graph: Graph, colour: list[int]) -> tuple[list[int], list[int], list[int]]:
    """One pass over the live nodes: their colours, their depths, and the set of uses of each leaf."""
    numbers: dict[object, int] = {}
    fresh = max(colour, default=0) + 1
    term_sets, use_sets = _Sets(), _Sets()
    depth = [0] * len(colour)
    uses = [0] * len(colour)
    start, edges = graph.start.tolist(), graph.edges.tolist()
    term_start, sign = graph.term_start.tolist(), graph.sign.tolist()
    left, right = graph.left.tolist(), graph.right.tolist()
    is_sum, operations = graph.is_sum.tolist(), graph.ops
    known_terms, known_uses = term_sets.added, use_sets.added
    for i in graph.live.nonzero()[0].tolist():
        op = operations[i]
        if op is None or op is ops.CONSTANT:
            continue
        key: object
        below = 0
        if is_sum[i]:
            terms = range(term_start[i], term_start[i + 1])
            state = 0
            for t in terms:
                a, b = left[t], right[t]
                if b < 0:
                    term = (colour[a], -1, sign[t])
                    if depth[a] > below:
                        below = depth[a]
                else:
                    ca, cb = colour[a], colour[b]
                    term = (ca, cb, sign[t]) if ca <= cb else (cb, ca, sign[t])
                    if depth[a] > below:
                        below = depth[a]
                    if depth[b] > below:
                        below = depth[b]
                known = known_terms.get((state, term))
                state = term_sets.add(state, term) if known is None else known
            key = (None, state)
        else:
            inputs = edges[start[i] : start[i + 1]]
            colours = [colour[a] for a in inputs]
            below = max([depth[a] for a in inputs])
            if is_reduction(op):
                several = set(colours)
                key = (op, *(several if len(several) == 1 else sorted(colours)))
            else:
                key = (op, *colours)
        mine = colour[i] = numbers.setdefault(key, fresh + len(numbers))
        depth[i] = below + 1
        if is_sum[i]:
            for t in terms:
                a, b = left[t], right[t]
                if not depth[a]:
                    use = (mine, colour[b] if b >= 0 else -1, sign[t])
                    known = known_uses.get((uses[a], use))
                    uses[a] = use_sets.add(uses[a], use) if known is None else known
                if b >= 0 and not depth[b]:
                    use = (mine, colour[a], sign[t])
                    known = known_uses.get((uses[b], use))
                    uses[b] = use_sets.add(uses[b], use) if known is None else known
        else:
            for slot, a in enumerate(inputs):
                if not depth[a]:
                    uses[a] = use_sets.add(uses[a], (mine, 0 if is_reduction(op) else slot, 0))
    return colour, depth, uses
