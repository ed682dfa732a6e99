"""Canonicalise: every chain of additions and multiplications becomes one sum of products.

    z = w₁x₁ + w₂x₂ + b,   z = affine(w, x, b),   z = b + (x₂w₂ + x₁w₁),   z = sum(…)

are all the same sum of the terms (w₁, x₁), (w₂, x₂), (b). A sum or product dissolves into the sum
that adds it, if nothing else consumes it; a sum with a label stays. What is left are *live* nodes:
leaves, sums of products, and all other operations. Whole arrays of node numbers are worked on at
once: a graph has a million nodes, NumPy a few calls.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from math import nan
from typing import Any

import numpy as np
import numpy.typing as npt

from microgradlike import ops
from microgradlike.matrix.indices import Ints, shorten
from microgradlike.notation.names import node_names
from microgradlike.primitive import Operation
from microgradlike.recording import CHOSEN, WHERE, all_inputs
from microgradlike.value import Value
from microgradlike.view.table import clean

MULTIPLIER = -0x61C8864680B583EB  # odd, by the golden ratio: its powers have their bits all over the place

SHOWN = 60  # so many lines of a pass are printed

ADDITIVE = (ops.ADD, ops.SUB, ops.NEG, ops.SUM, ops.DOT, ops.AFFINE)


@dataclass(slots=True, repr=False)
class Graph:
    """A recorded graph as arrays. Nodes are numbered in topological order.

    The inputs of node i are `edges[start[i]:start[i + 1]]`. The terms of the live sum i stand at
    `term_start[i]:term_start[i + 1]` of `sign`, `left` and `right`: sign · left · right, and right
    is −1 where the term is a single node; `maker` is the product or sum that dissolved into it, or −1.
    `in_branch` are the nodes that a choice may have left out.

    Nodes with one number in `same` hold the same. `factored` are sums that nobody recorded (`common`), and
    `reordered` are sums whose products are taken in another order. What plays one role by symmetry alone, and is
    several arrays for people, has different numbers in `part`.
    """

    nodes: list[Value]
    index_of: dict[Value, int]
    ops: list[Operation]
    start: Ints
    edges: Ints
    live: npt.NDArray[np.bool_]
    in_branch: npt.NDArray[np.bool_]
    is_sum: npt.NDArray[np.bool_]
    root: Ints
    term_start: Ints
    sign: Ints
    left: Ints
    right: Ints
    maker: Ints
    same: Ints
    factored: npt.NDArray[np.bool_]
    reordered: npt.NDArray[np.bool_]
    part: Ints

    @property
    def owner(self) -> Ints:
        """The sum of each term."""
        return np.repeat(np.arange(len(self.nodes)), np.diff(self.term_start))

    @property
    def names(self) -> list[str]:
        """What the nodes are called when they are printed."""
        return [clean(name) for name in node_names(self.nodes).values()]

    def __repr__(self) -> str:
        """Return the live nodes that are computed, a line each: z = w₁·x₁ + w₂·x₂ + b."""
        names = [*self.names, ""]

        def text(i: int) -> str:
            if not self.is_sum[i]:
                inputs = self.edges[self.start[i] : self.start[i + 1]]
                return f"{self.ops[i].name}({', '.join(names[j] for j in inputs)})"
            here = slice(self.term_start[i], self.term_start[i + 1])
            terms = zip(*(x[here].tolist() for x in (self.sign, self.left, self.right)), strict=True)
            words = (f"{'+' if sign > 0 else '−'} {names[a]}{'·' * (b >= 0)}{names[b]}" for sign, a, b in terms)
            return " ".join(words).removeprefix("+ ")

        computed = (self.live & (np.diff(self.start) > 0)).nonzero()[0]
        return shorten([f"{names[i]} = {text(i)}" for i in computed[: SHOWN + 1]], SHOWN, "\n")


def canonicalise(nodes: Sequence[Value]) -> Graph:
    """Return the graph of `nodes`, which stand in topological order, with its sums of products."""
    nodes = list(nodes)
    n = len(nodes)
    index_of = dict(zip(nodes, range(n), strict=True))
    inputs = list(map(all_inputs, nodes))
    counts = np.fromiter(map(len, inputs), np.int64, n)
    start = np.concatenate([[0], np.cumsum(counts)])
    edges = np.fromiter(map(index_of.__getitem__, chain.from_iterable(inputs)), np.int64, start[-1])
    operations = [WHERE if node.op is CHOSEN else node.op for node in nodes]
    kinds = {op: kind for kind, op in enumerate((*ADDITIVE, ops.MUL))}
    kind = np.fromiter((kinds.get(op, -1) for op in operations), np.int64, n)
    ADD, SUB, NEG, _SUM, DOT, AFFINE, MUL = range(7)

    consumer = np.repeat(np.arange(n), counts)
    slot = np.arange(len(edges)) - start[consumer]
    half = counts[consumer] // 2
    by = kind[consumer]
    in_pair = (by == DOT) | ((by == AFFINE) & (slot < 2 * half))  # the w and x of a dot product
    added = (by >= ADD) & (by <= AFFINE) & ~in_pair
    sign = np.where(((by == SUB) & (slot == 1)) | (by == NEG), -1, 1)

    constant = np.array([node.data if op is ops.CONSTANT else nan for node, op in zip(nodes, operations, strict=True)])

    # What dissolves: sums and products with one consumer, which adds them; but no sum that has a name.
    dissolves = (kind >= ADD) & (np.bincount(edges, minlength=n) == 1) & (np.bincount(edges[added], minlength=n) == 1)
    dissolves &= np.fromiter((node.label == "" for node in nodes), bool, n) | (kind == NEG) | (kind == MUL)

    # Nor a difference that a sum adds: Σ(a − b) keeps the digits that Σa − Σb loses. But ((s − a) − b) − … and
    # a − (b − (c − …)) are one sum each. (a + (−b) and a + (−1)·b are differences, too.)
    negative = kind == NEG
    product = (kind == MUL).nonzero()[0]
    for factor in (edges[start[product]], edges[start[product] + 1]):
        negative[product] |= constant[factor] < 0
    binary = ((kind == ADD) | (kind == SUB)).nonzero()[0]
    is_sub = kind[binary] == SUB
    first, second = edges[start[binary]], edges[start[binary] + 1]
    extends = np.zeros(n, bool)  # a sum that is its first operand
    extends[binary] = dissolves[first] & ((kind[first] == ADD) | (kind[first] == SUB))
    one_sum = np.where(is_sub, (dissolves & (kind == SUB))[second], extends[binary] | (constant[first] == 0))
    difference = np.zeros(n, bool)
    difference[binary] = (negative[first] != (negative[second] ^ is_sub)) & ~one_sum
    in_chain = extends[edges] & (slot == 0) & ((by == ADD) | (by == SUB))
    dissolves[edges[added & difference[edges] & ~in_chain]] = False

    root, sign_to_root = np.arange(n), np.ones(n, np.int64)
    up = dissolves[edges]
    root[edges[up]], sign_to_root[edges[up]] = consumer[up], sign[up]
    while not np.array_equal(above := root[root], root):  # each round doubles the distance looked ahead
        sign_to_root *= sign_to_root[root]
        root = above

    # The terms: what is added and does not dissolve, and the pairs of every product.
    single = added & ~dissolves[edges]
    pairs = (in_pair & (slot < half)).nonzero()[0]
    owner = np.concatenate([consumer[single], product, consumer[pairs]])
    own_sign = np.concatenate([sign[single], np.ones(len(product) + len(pairs), np.int64)])
    left = np.concatenate([edges[single], edges[start[product]], edges[pairs]])
    right = np.concatenate([np.full(single.sum(), -1), edges[start[product] + 1], edges[pairs + half[pairs]]])
    # Python's sum() starts with a 0, which is no term.
    keep = right >= 0
    keep[right < 0] = ~((by == ADD) & (slot == 0) & (constant[edges] == 0))[single]
    keep |= np.bincount(root[owner], keep, n)[root[owner]] == 0
    kept = keep.nonzero()[0]
    order = kept[np.lexsort((owner[kept], root[owner[kept]]))]
    owner, own_sign, left, right = owner[order], own_sign[order], left[order], right[order]
    live = ~dissolves
    return Graph(
        nodes, index_of, operations, start, edges, live, _in_branch(operations, start, edges), live & (kind >= 0), root,
        np.concatenate([[0], np.cumsum(np.bincount(root[owner], minlength=n))]),
        own_sign * sign_to_root[owner], left, right, np.where(dissolves, np.arange(n), -1)[owner], _same_constants(constant), np.zeros(n, bool), np.zeros(n, bool),
        np.zeros(n, np.int64),
    )  # fmt: skip


def _in_branch(operations: Sequence[Operation], start: Ints, edges: Ints) -> npt.NDArray[np.bool_]:
    """Return which nodes are branches of choices, or what these are computed from."""
    marked = np.zeros(len(operations), bool)
    if WHERE in operations:
        for i in reversed(range(len(operations))):
            marked[edges[start[i] + (operations[i] is WHERE) : start[i + 1]]] |= marked[i] or operations[i] is WHERE
    return marked


def _same_constants(numbers: npt.NDArray[np.float64]) -> Ints:
    """Return for each node its number, and for constants of the same bits one number."""
    same = np.arange(len(numbers))
    constants = (numbers == numbers).nonzero()[0]
    bits, first = distinct_rows(numbers[constants].view(np.int64)[:, None])
    same[constants] = constants[first[bits]]
    return same


def is_reduction(op: Any) -> bool:
    """Return whether an operation treats any number of operands alike, so that their order is no matter."""
    return op is ops.MAX or op is ops.LOGSUMEXP


def hashes(rows: Ints) -> Ints:
    """Return a hash of each row."""
    return rows @ (MULTIPLIER ** np.arange(rows.shape[1]))


def hashes_of_runs(rows: Ints, starts: Ints) -> Ints:
    """Return a hash of the rows from each start to the next, whatever their order."""
    number = hashes(rows)
    return np.add.reduceat((number ^ (number >> 32)) * MULTIPLIER, starts)  # wraps around


def distinct_rows(rows: Ints) -> tuple[Ints, Ints]:
    """Return (number of each row, index of the first row with each number), numbered by first appearance."""
    if len(rows) == 1:
        return np.zeros(1, np.int64), np.zeros(1, np.int64)
    _, first, number = np.unique(hashes(rows), return_index=True, return_inverse=True)
    if not np.array_equal(rows[first][number], rows):  # two rows with one hash
        _, first, number = np.unique(rows, axis=0, return_index=True, return_inverse=True)
        number = number.ravel()  # NumPy 2.0.0 returns a column
    order = np.argsort(first)
    return np.argsort(order)[number], first[order]
