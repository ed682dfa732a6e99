"""Products: which sums are matrix products.

A sum of products Σₖ aₖbₖ is a matrix product when its rows factor: give every distinct row of
operands a number on either side; if each left row meets each right row once, the nodes form the
grid left × right. The same test finds W x for one sample, W X for many written out one by one,
the heads of attention (several grids, a batch of products) and a convolution (rows are filters,
columns are patches).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from microgradlike.matrix.canonical import distinct_rows
from microgradlike.matrix.colours import CONSTANT
from microgradlike.matrix.indices import Ints, segments


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
        return Grid(terms, left, right, (G, C, R), positions)

    def _padded(self, terms: Terms) -> list[Ints] | None:
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


def ranges(starts: Ints, counts: Ints) -> Ints:
    """Return start, start + 1, … for each start, as many as its count."""
    return np.repeat(starts + counts - np.cumsum(counts), counts) + np.arange(counts.sum())
