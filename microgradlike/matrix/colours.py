"""Colour refinement: nodes that play the same part get the same colour, and form one array.

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

CONSTANT, BATCH, FIXED, PARAMETER = 0, 1, 2, 3  # the colours that leaves start with; FIXED are not to be trained
ROUNDS = 8  # then it stops: coarser colours are right as well, what reads their arrays only takes parts of them


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


def refine(graph: Graph, leaf: Ints) -> tuple[Ints, Ints]:
    """(colour, depth) of every live node, given CONSTANT, BATCH, FIXED or PARAMETER for each leaf.

    Colours are numbered in order of appearance. Stops when a round splits no parameters.
    """
    colour, depth, consumers = _forward(graph, leaf.tolist())
    parameters = (leaf >= FIXED).nonzero()[0]
    classes = len(np.unique(leaf[parameters]))
    for _ in range(ROUNDS):
        split: dict[tuple[int, int], int] = {}
        refined = leaf.copy()
        refined[parameters] = [
            split.setdefault((consumers[i], before), FIXED + len(split))
            for i, before in zip(parameters.tolist(), leaf[parameters].tolist(), strict=True)
        ]
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
    known_terms = term_sets.added
    for i in graph.live.nonzero()[0].tolist():
        op = operations[i]
        if op is None or op is ops.CONSTANT:
            continue
        key: object
        below = 0
        if is_sum[i]:
            here = slice(term_start[i], term_start[i + 1])
            terms = list(zip(left[here], right[here], sign[here], strict=True))
            state, last = 0, (-2, -2, 0)
            for a, b, plus in terms:
                ca, cb = colour[a], colour[b] if b >= 0 else -1
                if ca == last[0] and cb == last[1] and plus == last[2]:
                    continue  # a set does not change by what it has
                last = (ca, cb, plus)
                below = max(below, depth[a], depth[b] if b >= 0 else 0)
                term = (ca, cb, plus) if b < 0 or ca <= cb else (cb, ca, plus)
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
            for side, other in ((left[here], right[here]), (right[here], left[here])):
                before = beside = sense = after = -2
                for a, b, plus in zip(side, other, sign[here], strict=True):
                    if a >= 0 and not depth[a]:
                        cb = colour[b] if b >= 0 else -1
                        if uses[a] != before or cb != beside or plus != sense:
                            before, beside, sense = uses[a], cb, plus
                            after = use_sets.add(before, (mine, cb, plus))
                        uses[a] = after
        else:
            for slot, a in enumerate(inputs):
                if not depth[a]:
                    uses[a] = use_sets.add(uses[a], (mine, 0 if is_reduction(op) else slot, 0))
    return colour, depth, uses
