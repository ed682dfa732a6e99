"""Products: which sums are matrix products.

A sum of products Σₖ aₖbₖ is a matrix product when its rows factor: give every distinct row of
operands a number on either side; if each left row meets each right row once, the nodes form the
grid left × right. The same test finds W x for one sample, W X for many written out one by one,
the heads of attention (several grids, a batch of products) and a convolution (rows are filters,
columns are patches).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from microgradlike.matrix.canonical import distinct_rows
from microgradlike.matrix.indices import Ints, affine, ranges, segments

FEW = 8  # fewer terms are as fast one by one
SHORT, SHORTER = 64, 4  # rows up to this length may be so much emptier than others: BLAS is through with them at once


@dataclass
class Terms:
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

    def of(self, sums: Ints) -> Terms:
        """Return the terms of these sums, in this order."""
        count = self.count[sums]
        return Terms(self.sign, self.sides[:, ranges(self.starts[sums], count)], count)


@dataclass
class Grid:
    """Sums whose `terms` are a matrix product."""

    terms: Terms
    left: Ints  # (G, R, K)
    right: Ints  # (G, C, K)
    dims: tuple[int, int, int]  # (G, C, R)
    positions: Ints  # of the sums, in the flat grid


@dataclass
class Products:
    """Finds the matrix products among sums, by what the matcher knows of the nodes so far."""

    identity: Ints
    colour: Ints
    position: Ints
    varies: Ints
    filling: float

    def grid(self, terms: Terms, groups: list[Terms]) -> Grid | None:
        """Return the grid that the sums of these groups form, if `terms`, one of the groups, is a matrix product."""
        grid = None
        if len(terms.sides) == 2 and terms.count.max() > 1 and terms.filling == 1:
            grid = self._grid(terms, list(terms.rows), groups, self.filling)
        if (grid and max(grid.dims[1:]) > 1) or self.filling == 1 or len(terms.count) < 2:
            return grid
        padded = (self._grid(terms, rows, groups, filling=1.0) for rows in self._aligned(terms))
        return next(filter(None, padded), grid)

    def _grid(self, terms: Terms, sides: list[Ints], groups: list[Terms], filling: float) -> Grid | None:
        """Return the grid of the sums whose rows of operands these are, (N, K) on either side, if it has few holes."""
        # Left are the weights, so that z of one sample lies together; else what changes first, as recorded.
        sides.sort(key=lambda side: (self.varies[side.max()], self._same(side[:2], side[:1])))
        numbered = [distinct_rows(self.identity[side]) for side in sides]
        part = connected(*(number for number, _ in numbered))
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
        if used < filling * size or used < min(size, len(part)):
            return None
        if used < len(part):  # sums that share a position must be the same in all their groups
            pairs = [(g, g.of(first[shared])) for g in groups]
            if not all(np.array_equal(a.count, b.count) and self._same(a.sides, b.sides) for a, b in pairs):
                return None
        return Grid(terms, left, right, (G, C, R), positions)

    def _aligned(self, terms: Terms) -> Iterator[list[Ints]]:
        """Yield the rows of either side, (N, K), with columns for the operands that the sums share on one side.

        On the other side −1 is where a sum has no such term: what would be there is multiplied by 0.
        """
        N, T, sides = len(terms.count), terms.sides.shape[1], terms.sides
        if T < FEW or terms.count.max() < 2:
            return
        if len(sides) < 2:  # Σ x is Σ 1·x, if it is not read in equal steps
            if terms.filling == 1 and affine(self.position[terms.rows[0]]):
                return
            sides = np.stack([np.zeros_like(sides[0]), sides[0]])  # node 0 is 1
        owner = np.repeat(np.arange(N), terms.count)
        for other, shared in (sides, sides[::-1]):
            nodes, number = np.unique(shared, return_inverse=True)
            if len(nodes) == T or self.filling * N * terms.count.max() > T * SHORTER:
                continue
            part = connected(owner, number)
            part_of = np.zeros(len(nodes), np.int64)
            part_of[number] = part
            sizes = np.bincount(part_of)
            K = int(sizes[0])
            if (sizes != K).any() or T * (SHORTER if K <= SHORT else 1) < self.filling * N * K:
                continue
            order = np.lexsort((nodes, self.position[nodes], part_of))
            column = np.argsort(order)[number] % K
            rows = np.full((N, K), -1)
            rows[owner, column] = other
            if np.count_nonzero(rows >= 0) == T:  # no sum has several terms for one operand
                yield [rows, nodes[order].reshape(-1, K)[part[terms.starts]]]

    def on_grid(self, terms: Terms, grid: Grid, at: Ints) -> tuple[Ints, Ints] | None:
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


def connected(left: Ints, right: Ints) -> Ints:
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
