"""Colour refinement: nodes that play the same part get the same colour, and form one array.

The forward colour of a node is its operation and the colours of its inputs (Weisfeiler and Leman's
refinement, on a directed acyclic graph). Leaves start out as constant, batch leaf or parameter. The
batch leaves of each argument of the program have a colour of their own, for they are an array that
is given: nodes of one colour are always in one array. Once their consumers have colours, the
parameters split by who consumes them, and the weights of one layer part from those of the next.
Two rounds usually suffice.

A sum is coloured by the *set* of colours of its terms, not by their number: the 3rd and the 16th
row of causal attention play the same part. A colour fixes the longest way down to a leaf, so that
the graph of colours has no cycles either.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from microgradlike.matrix.canonical import MULTIPLIER, SHOWN, Graph, distinct_rows, hashes, is_reduction
from microgradlike.matrix.indices import Ints, shorten

# What a node is: a leaf (FIXED are parameters not to be trained), computed, or computed for a comparison only.
CONSTANT, BATCH, FIXED, PARAMETER, COMPUTED, COMPARED = 0, 1, 2, 3, -1, -2
ROUNDS = 8  # then it stops: coarser colours are right as well, what reads their arrays only takes parts of them


@dataclass(frozen=True, repr=False)
class Colours:
    """The colour of every live node of a graph, and its depth: the longest way down to a leaf."""

    graph: Graph
    colour: Ints
    depth: Ints

    def __repr__(self) -> str:
        """Return the nodes of each colour, a colour a line, those of leaves first."""
        graph, names = self.graph, self.graph.names
        classes: dict[tuple[int, int], list[int]] = {}
        for i in graph.live.nonzero()[0].tolist():
            classes.setdefault((self.depth[i], self.colour[i]), []).append(i)
        lines = []
        for _, members in sorted(classes.items()):
            kind = "sum" if graph.is_sum[members[0]] else graph.ops[members[0]].name
            lines.append(f"{kind}: {shorten([names[i] for i in members], SHOWN)}")
        return shorten(lines, SHOWN, "\n")


def refine(graph: Graph, kind: Ints, arguments: list[Ints]) -> Colours:
    """Return the colours of the live nodes, given what each node is, and the batch leaves of each argument.

    Colours are numbered in order of appearance. Stops when a round splits no parameters.
    """
    start = kind + 2 * graph.part * np.sign(kind)
    for number, columns in enumerate(arguments):
        start[columns] = BATCH + number
    parameters = (kind >= FIXED).nonzero()[0]
    start[parameters] += len(arguments)
    classes = len(np.unique(start[parameters]))
    for _ in range(ROUNDS):
        colour, depth = _forward(graph, start.tolist())
        part, first = distinct_rows(np.stack([start[parameters], _uses(graph, colour, parameters)], axis=1))
        if len(first) == classes:
            break
        classes = len(first)
        start[parameters] = BATCH + len(arguments) + part
    return Colours(graph, colour, depth)


def _forward(graph: Graph, colour: list[int]) -> tuple[Ints, Ints]:
    """Return the colours and the depths of the live nodes, by one pass over them."""
    numbers: dict[object, int] = {}
    fresh = max(colour, default=0) + 1
    colour.append(-1)  # of node −1, which means: none
    depth = [0] * len(colour)
    start, edges = graph.start.tolist(), graph.edges.tolist()
    term_start, sign = graph.term_start.tolist(), graph.sign.tolist()
    left, right = graph.left.tolist(), graph.right.tolist()
    is_sum, operations = graph.is_sum.tolist(), graph.ops
    for i in (graph.live & (np.diff(graph.start) > 0)).nonzero()[0].tolist():
        below = 0
        if is_sum[i]:
            here = slice(term_start[i], term_start[i + 1])
            terms = set()
            last_a = last_b = last_sign = -2
            for a, b, plus in zip(left[here], right[here], sign[here], strict=True):
                ca, cb = colour[a], colour[b]
                if ca == last_a and cb == last_b and plus == last_sign:
                    continue  # a set does not change by what it has
                last_a, last_b, last_sign = ca, cb, plus
                below = max(below, depth[a], depth[b])
                terms.add((ca, cb, plus) if b < 0 or ca <= cb else (cb, ca, plus))
            key: object = (colour[i], frozenset(terms))
        else:
            inputs = edges[start[i] : start[i + 1]]
            colours = [colour[a] for a in inputs]
            below = max([depth[a] for a in inputs])
            if is_reduction(operations[i]):
                colours = sorted(colours) if len(set(colours)) > 1 else colours[:1]
            key = (colour[i], operations[i], *colours)
        colour[i] = numbers.setdefault(key, fresh + len(numbers))
        depth[i] = below + 1
    return np.array(colour[:-1]), np.array(depth[:-1])


def _uses(graph: Graph, colour: Ints, parameters: Ints) -> Ints:
    """Return a number for the set of uses of each parameter: a use is who consumes it, where, and with what.

    Equal sets have equal numbers. The sum of their members' hashes is such a number; should two sets have the
    same sum, a colour is coarser than it might be, which does no harm.
    """
    n = len(graph.nodes)
    colour = np.append(colour, -1)
    wanted = np.zeros(n + 1, bool)
    wanted[parameters] = True
    consumer = np.repeat(np.arange(n), np.diff(graph.start))
    slot = np.arange(len(graph.edges)) - graph.start[consumer]
    slot[np.fromiter(map(is_reduction, graph.ops), bool, n)[consumer]] = 0
    applied = wanted[graph.edges] & graph.live[consumer] & ~graph.is_sum[consumer]
    uses = []
    for side, other in ((graph.left, graph.right), (graph.right, graph.left)):
        here = wanted[side]
        uses.append((side[here], colour[graph.owner[here]], colour[other[here]], graph.sign[here]))
    uses.append((graph.edges[applied], colour[consumer[applied]], slot[applied], np.zeros(applied.sum(), np.int64)))
    node, *use = map(np.concatenate, zip(*uses, strict=True))
    number = hashes(np.stack(use, axis=1))
    number = (number ^ (number >> 32)) * MULTIPLIER  # so that the sum of two is not the sum of two others
    result = np.zeros(n, np.int64)
    result[node] = number  # of each parameter, the last use: mostly there is no other
    differ = np.zeros(n, bool)
    differ[node[result[node] != number]] = True
    result[differ] = 0
    several = differ[node]
    node, number = node[several], number[several]
    _, once = distinct_rows(np.stack([node, number], axis=1))
    np.add.at(result, node[once], number[once])
    return result[parameters]
