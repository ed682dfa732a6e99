"""Match: which entry of which array each operand is, and which sums are matrix products.

Each colour becomes an `Array`; its nodes get positions in it. What an instruction reads is then an
array of positions, `Ref.index`, and its structure says what the textbook would write: 0, 1, 2, … is
the whole array, equal steps are a slice, a row, a column or a broadcast, anything else is a gather,
which is always right.

A sum of products Σₖ aₖbₖ is a matrix product when its rows factor: give every distinct row of
operands a number on either side; if each left row meets each right row once, the nodes form the
grid left × right. The same test finds W x for one sample, W X for many written out one by one,
the heads of attention (several grids, a batch of products) and a convolution (rows are filters,
columns are patches).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np

from microgradlike import ops
from microgradlike.matrix.arrays import Apply, Array, Arrays, Group, Reduce, Ref, Sum
from microgradlike.matrix.canonical import Graph, distinct_rows, is_reduction
from microgradlike.matrix.colours import BATCH, CONSTANT, FIXED, Colours
from microgradlike.matrix.indices import Ints, common_dims, segments

DENSE = 0.25  # a grid with fewer of its entries in use is not worth computing whole


@dataclass
class _Terms:
    """The terms of several sums, one sum after the other: all of one sign, and of one colour on each side."""

    sign: int
    sides: Ints  # (2, number of terms): left and right operands; (1, …) where the terms are single nodes
    count: Ints  # how many terms each sum has

    @property
    def starts(self) -> Ints:
        """Where each sum begins."""
        return np.cumsum(self.count) - self.count

    @property
    def filling(self) -> float:
        """How much of `rows` is terms: 1 where all sums have the same length."""
        return float(self.sides.shape[1] / (len(self.count) * self.count.max()))

    @property
    def rows(self) -> Ints:
        """The sides, a row for each sum: (sides, sums, K). The rows of shorter sums end in −1."""
        if self.filling == 1:
            return self.sides.reshape(len(self.sides), len(self.count), -1)
        return segments(self.sides, self.starts)

    def of(self, sums: Ints) -> _Terms:
        """Return the terms of these sums, in this order."""
        count = self.count[sums]
        return _Terms(self.sign, self.sides[:, _ranges(self.starts[sums], count)], count)


@dataclass
class _Grid:
    """Sums whose `terms` are a matrix product."""

    terms: _Terms
    left: Ints  # (G, R, K)
    right: Ints  # (G, C, K)
    dims: tuple[int, int, int]  # (G, C, R)
    positions: Ints  # of the sums, in the flat grid


class Matcher:
    """Turns a canonical graph into arrays with instructions, in the order they run.

    What is known of the nodes stands in arrays. Their last entry is for node −1, which means: none.
    Unless it is `dense`, nothing is padded, and grids have no holes: what 0 multiplies need not be finite.
    """

    def __init__(self, graph: Graph, colours: Colours, kind: Ints, arguments: list[Ints], dense: bool) -> None:
        self.graph = graph
        self.filling = DENSE if dense else 1.0  # the least that a grid or rows of sums may have
        self.arrays = Arrays()
        self.single: dict[tuple[int, int], Ints] = {}  # the positions of single entries
        colour, depth = colours.colour, colours.depth
        n = len(graph.nodes)
        self.data = np.array([node.data if op is ops.CONSTANT else 0.0 for node, op in zip(graph.nodes, graph.ops)])
        same_bits, _ = distinct_rows(self.data.view(np.int64)[:, None])
        # Equal for operands, of one colour, that hold the same: the same node, or constants of the same bits
        self.identity = np.append(np.where(kind == CONSTANT, same_bits, np.arange(n)), -1)
        self.colour = np.append(colour, -1)
        self.array_of, self.position = np.full((2, n + 1), -1)
        self.varies = np.zeros(n + 1, bool)
        # The terms, with the lower colour on the left, and a number for their sign and colours
        sides = np.stack([graph.left, graph.right])
        swap = (self.colour[graph.left] > self.colour[graph.right]) & (graph.right >= 0)
        self.sides = np.where(swap, sides[::-1], sides)
        self.term_kind, _ = distinct_rows(np.stack([graph.sign, *self.colour[self.sides]], axis=1))

        for columns in arguments:
            self._add(Array("batch", True, columns, columns.shape), columns, np.arange(len(columns)))
        live = (graph.live & (kind != CONSTANT) & (kind != BATCH)).nonzero()[0]
        live = live[np.argsort(colour[live], kind="stable")]
        classes = np.split(live, np.diff(colour[live]).nonzero()[0] + 1) if len(live) else []
        parameters = [members for members in classes if kind[members[0]] >= FIXED]
        for members in parameters:
            self._add(Array("parameter", False, np.empty(0, np.int64)), members, -1)
        computed = [members for members in classes if kind[members[0]] < 0]
        for members in sorted(computed, key=lambda m: (depth[m[0]], not graph.is_sum[m[0]], m[0])):
            first = members[0]
            inputs = graph.edges[graph.start[first] : graph.start[first + 1]]
            if graph.is_sum[first]:
                self._sum(members)
            elif is_reduction(graph.ops[first]) and np.ptp(colour[inputs]) == 0:
                self._reduce(members, graph.ops[first])
            else:
                self._apply(members, graph.ops[first])
        for members in parameters:  # those that nothing reads: the loss itself, or a side of a comparison
            self._ref(members)

    # ── Arrays, references, orders ─────────────────────────────────────────────────────────────

    def _add(self, array: Array, nodes: Ints, positions: Any) -> None:
        self.array_of[nodes] = len(self.arrays)
        self.position[nodes] = positions
        self.varies[nodes] = array.varies
        self.arrays.append(array)

    def _computed(self, members: Ints, positions: Ints, shape: tuple[int, ...], instruction: Any) -> None:
        """Add the array of what an instruction computes. Where members share a position, the first stands for all."""
        entries = np.full(prod(shape), -1)
        entries[positions[::-1]] = members[::-1]
        self.identity[members] = entries[positions]
        whole = (ref for ref in instruction.refs if ref.array is not None and ref.index.size == len(entries))
        for ref in whole:  # what is computed entry by entry from a matrix is one
            if len(ref.array.shape) > len(shape) and np.array_equal(ref.index.ravel(), np.arange(ref.array.size)):
                shape = ref.array.shape
        if len(shape) == 1 and len(entries) > 3 and positions.size == len(entries):  # who meets in pairs is a matrix
            read = [ref for ref in instruction.refs if len(ref.index) == len(entries)]
            first = [_along(ref, np.s_[:] if ref.index.ndim == 1 else np.s_[:, 0]) for ref in read]
            shape = _squeezed(common_dims(len(entries), [x for along in first for x in along]))
        varies = any(ref.array is not None and ref.array.varies for ref in instruction.refs)
        self._add(Array("computed", varies, entries, shape, instruction), members, positions)

    def _ref(self, nodes: Ints) -> Ref:
        """Return a reference to nodes of one colour, or −1. Parameters get their positions when they are first read."""
        known = nodes[nodes >= 0]
        if self.colour[known[0]] == CONSTANT:
            return Ref(None, self.data[nodes], self.graph.nodes[known[0]].label)
        array = self.arrays[self.array_of[known[0]]]
        new = known[self.position[known] < 0]
        if len(new):
            new = new[distinct_rows(new[:, None])[1]]
            self.position[new] = array.size + np.arange(len(new))
            array.entries = np.concatenate([array.entries, new])
            array.shape = (array.size,)
        index = self.position[nodes]
        if nodes.ndim > 1 and not array.is_product and np.array_equal(index.ravel(), np.arange(array.size)):
            array.shape = max(array.shape, _squeezed(nodes.shape), key=len)
        if index.size == 1:  # irregular graphs read little else
            index = self.single.setdefault((index.item(), index.ndim), index)
        return Ref(array, index)

    def _read(self, terms: _Terms, filling: float = 1.0) -> tuple[Ref, Ref | None, Ints | None]:
        """Return (left, right, None), as rows if so much of them is filled; else flat, and where each sum starts."""
        sides, starts = (terms.rows, None) if terms.filling >= filling else (terms.sides, terms.starts)
        left, *right = map(self._ref, sides)
        return left, right[0] if right else None, starts

    def _keys(self, operands: Iterable[Ints]) -> list[Ints]:
        """Return the positions of the operands that all have one, those with the fewest different ones first."""
        keys = [self.position[nodes] for nodes in operands]
        return sorted((key for key in keys if key.min() >= 0), key=_distinct)

    def _order(self, members: Ints, operands: Iterable[Ints]) -> Ints:
        """Return the order of the members: that of the operand that differs most between them, where it has one."""
        return np.lexsort((members, *self._keys(operands))) if len(members) > 1 else np.zeros(1, np.int64)

    # ── One class at a time ────────────────────────────────────────────────────────────────────

    def _apply(self, members: Ints, op: Any) -> None:
        """Add the array of an operation of operands that each have a colour."""
        start, edges = self.graph.start, self.graph.edges
        n_inputs = start[members[0] + 1] - start[members[0]]
        operands = edges[start[members] + np.arange(n_inputs)[:, None]]
        if is_reduction(op):
            operands = np.take_along_axis(operands, np.argsort(self.colour[operands], axis=0, kind="stable"), axis=0)
        order = self._order(members, operands)
        operands = operands[:, order]
        number, first = distinct_rows(self.identity[operands].T)  # nodes that compute the same share an entry
        refs = [self._ref(nodes) for nodes in operands[:, first]]
        self._computed(members[order], number, first.shape, Apply(op, refs))

    def _reduce(self, members: Ints, op: Any) -> None:
        """Add the array of an operation of any number of operands, all of one colour."""
        start, edges = self.graph.start, self.graph.edges
        members = members[self._order(members, [edges[start[members]]])]
        count = start[members + 1] - start[members]
        terms = self._terms(1, edges[_ranges(start[members], count)][None], count)
        # Where sums may be padded, the missing ends are −∞, which adds exp(−∞) = 0.
        padded = op is ops.LOGSUMEXP and self.colour[terms.sides[0, 0]] != CONSTANT
        ref, _, starts = self._read(terms, self.filling if padded else 1.0)
        self._computed(members, np.arange(len(members)), members.shape, Reduce(op, ref, starts))

    def _sum(self, members: Ints) -> None:
        """Add the array of a sum of products: a matrix product, if the terms of one of its groups are one."""
        groups = self._groups(members)
        grids = (self._grid(terms, groups) for terms in sorted(groups, key=lambda g: -int(g.count[0])))
        grid = None if self.graph.in_branch[members].any() else next(filter(None, grids), None)
        if grid:
            positions, shape = grid.positions, _squeezed(grid.dims)
        else:
            order = self._order(members, [side[g.starts] for g in groups for side in g.sides])
            positions, shape = np.argsort(order), members.shape
        at = np.zeros(prod(shape), np.int64)  # the member at each position; holes and doubles do no harm
        at[positions[::-1]] = np.arange(len(members))[::-1]
        result = []
        for terms in groups:
            if grid and (product := self._on_grid(terms, grid, at)):
                left, right = map(self._ref, product)
                result.append(Group(terms.sign, left, right, is_product=True))
            else:
                result.append(Group(terms.sign, *self._read(terms.of(at))))
        if grid:  # rows that are read in a regular way have a shape themselves: those of an image's patches
            left, right = next(group for group in result if group.is_product).refs
            G, C, R = grid.dims
            of_grids = common_dims(G, [*_along(left, np.s_[:, 0, 0]), *_along(right, np.s_[:, 0, 0])])
            of_rows = common_dims(C, [*_along(right, np.s_[0, :, 0])]), common_dims(R, [*_along(left, np.s_[0, :, 0])])
            shape = _squeezed((*of_grids, *of_rows[0], *of_rows[1]))
        self._computed(members, positions, shape, Sum(result))

    def _groups(self, members: Ints) -> list[_Terms]:
        """Return the terms of sums, split by sign and colours."""
        graph = self.graph
        count = graph.term_start[members + 1] - graph.term_start[members]
        terms = _ranges(graph.term_start[members], count)
        owner = np.repeat(np.arange(len(members)), count)
        kinds, firsts = distinct_rows(self.term_kind[terms, None])
        groups = []
        for kind, first in enumerate(terms[firsts]):
            here = kinds == kind
            sides = self.sides[: 1 if graph.right[first] < 0 else 2, terms[here]]
            groups.append(self._terms(int(graph.sign[first]), sides, np.bincount(owner[here])))
        return groups

    def _terms(self, sign: int, sides: Ints, count: Ints) -> _Terms:
        """Return these terms, with those of every sum in the same order, however it was written."""
        # What has the fewest different nodes is what the sums share: the x of W x.
        keys = self._keys(sides) or sorted((s for s in sides if self.colour[s[0]] != CONSTANT), key=_distinct)
        if keys:
            sides = sides[:, np.lexsort((keys[0], np.repeat(np.arange(len(count)), count)))]
        return _Terms(sign, sides, count)

    # ── Matrix products ────────────────────────────────────────────────────────────────────────

    def _grid(self, terms: _Terms, groups: list[_Terms]) -> _Grid | None:
        """Return the grid that the sums of these groups form, if `terms`, one of the groups, is a matrix product."""
        sides = self._padded(terms)
        if sides is None:
            return None
        # Left are the weights, so that z of one sample lies together; else what changes first, as recorded.
        sides.sort(key=lambda side: (self.varies[side[0, 0]], self._same(side[:2], side[:1])))
        numbered = [distinct_rows(self.identity[side]) for side in sides]
        part = _parts(*(number for number, _ in numbered))
        if any(np.ptp(np.bincount(part[first])) for _, first in numbered):
            part = np.zeros_like(part)  # grids of different sizes are taken for one with holes
        operands, places = [], []
        for side, (number, first) in zip(sides, numbered, strict=True):
            order = np.lexsort((self.position[side[first, 0]], part[first]))
            operands.append(side[first[order]].reshape(part.max() + 1, -1, side.shape[1]))
            places.append(np.argsort(order)[number])
        left, right = operands
        (G, R, _), (_, C, _) = left.shape, right.shape
        # Left row r of grid g has the number g·R + r, right row c has g·C + c; their sum stands at (g·C + c)·R + r.
        positions = places[1] * R + places[0] % R
        shared, first = distinct_rows(positions[:, None])
        used, size = len(first), G * C * R
        # Holes, or sums that share a position, but not both
        if used < self.filling * size or used < min(size, len(part)):
            return None
        if used < len(part):  # sums that share a position must be the same in all their groups
            pairs = [(g, g.of(first[shared])) for g in groups]
            if not all(np.array_equal(a.count, b.count) and self._same(a.sides, b.sides) for a, b in pairs):
                return None
        return _Grid(terms, left, right, (G, C, R), positions)

    def _padded(self, terms: _Terms) -> list[Ints] | None:
        """Return the rows of either side, (N, K). Where sums differ in length, one side gets −1 for its missing ends.

        On the other side, the short rows must begin like a long one (as the values that a causal
        attention sums over do), which stands for them: what it adds is multiplied by 0.
        """
        if len(terms.sides) < 2 or terms.count.max() < 2 or terms.filling < self.filling:
            return None
        rows = terms.rows
        if terms.filling == 1:
            return list(rows)
        if CONSTANT in self.colour[terms.sides[:, 0]]:
            return None
        for side in rows[::-1]:
            order = np.lexsort((terms.count, side[:, 0]))  # the longest of those that begin alike is their last
            longest = side[order[np.searchsorted(side[:, 0], side[:, 0], "right", sorter=order) - 1]]
            if (longest >= 0).all() and ((side == longest) | (side < 0)).all():
                side[:] = longest
                return list(rows)
        return None

    def _on_grid(self, terms: _Terms, grid: _Grid, at: Ints) -> tuple[Ints, Ints] | None:
        """Return (left, right) where these terms, too, are a product on the grid; `at` says which sum is where."""
        if terms is grid.terms:
            return grid.left, grid.right
        terms = terms.of(at)
        if len(terms.sides) < 2 or terms.count[0] < 2 or terms.filling < 1:
            return None
        sides = terms.rows.reshape(2, *grid.dims, -1)
        for left, right in (sides, sides[::-1]):
            if self._same(left, left[:, :1]) and self._same(right, right[:, :, :1]):
                return left[:, 0], right[:, :, 0]
        return None

    def _same(self, a: Ints, b: Ints) -> bool:
        """Return whether operands are the same."""
        return bool((self.identity[a] == self.identity[b]).all())


def _parts(left: Ints, right: Ints) -> Ints:
    """Return for each edge from left[i] to right[i] the connected part of the graph that it is in."""
    part = left  # a part's number is one of its left ends, and in the end the least
    while True:
        before = part
        for ends in (right, left):
            least = np.full(ends.max() + 1, len(left))
            np.minimum.at(least, ends, part)
            part = least[ends]
        part = least[part]  # look further ahead
        if np.array_equal(part, before):
            return np.unique(part, return_inverse=True)[1]


def _ranges(starts: Ints, counts: Ints) -> Ints:
    """Return start, start + 1, … for each start, as many as its count."""
    return np.repeat(starts + counts - np.cumsum(counts), counts) + np.arange(counts.sum())


def _distinct(x: Ints) -> int:
    """Return how many different numbers there are."""
    return int(np.count_nonzero(np.bincount(x)))


def _squeezed(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return the shape without its axes of length 1."""
    return tuple(d for d in shape if d > 1) or (1,)


def _along(ref: Ref, part: Any) -> tuple[Ints, ...]:
    """Return where in its array a reference reads, along each of the axes, in a part of its index."""
    if ref.array is None or (ref.index < 0).any():
        return ()
    return np.unravel_index(ref.index[part], ref.array.shape)
