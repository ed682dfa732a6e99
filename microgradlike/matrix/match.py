"""Match: which entry of which array each operand is.

Each colour becomes an `Array`; its nodes get positions in it. What an instruction reads is then an
array of positions, `Ref.index`, and its structure says what the textbook would write: 0, 1, 2, … is
the whole array, equal steps are a slice, a row, a column or a broadcast, anything else is a gather,
which is always right.
"""

from __future__ import annotations

from collections.abc import Iterable
from math import prod
from typing import Any

import numpy as np

from microgradlike import ops
from microgradlike.matrix.arrays import Apply, Array, Arrays, Group, Reduce, Ref, Sum
from microgradlike.matrix.canonical import Graph, distinct_rows, is_reduction
from microgradlike.matrix.colours import BATCH, CONSTANT, FIXED, Colours
from microgradlike.matrix.indices import Ints, affine, common_dims, ranges
from microgradlike.matrix.products import FEW, Products, Terms

DENSE = 0.25  # a grid with fewer of its entries in use is not worth computing whole


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
        self.data = np.array([*(v.data if op is ops.CONSTANT else 0.0 for v, op in zip(graph.nodes, graph.ops)), 0.0])
        self.identity = np.append(graph.same, -1)  # equal for operands that hold the same
        self.colour = np.append(colour, -1)
        self.array_of, self.position = np.full((2, n + 1), -1)
        self.varies = np.zeros(n + 1, bool)
        self.products = Products(self.identity, self.colour, self.position, self.varies, self.filling)
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
            if len(members) == 1 and self._alone(first.item()):
                continue
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

    def _add(self, array: Array, nodes: Any, positions: Any) -> None:
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
            first = [_along(ref, (np.s_[:], *[0] * (ref.index.ndim - 1))) for ref in read]
            shape = _squeezed(common_dims(len(entries), [x for along in first for x in along]))
        varies = any(ref.array is not None and ref.array.varies for ref in instruction.refs)
        array = Array(
            "computed", varies, entries, shape, instruction, reordered=bool(self.graph.reordered[members].any())
        )
        self._add(array, members, positions)

    def _ref(self, nodes: Ints) -> Ref:
        """Return a reference to nodes of one colour, or −1. Parameters get their positions when they are first read."""
        known = nodes[nodes >= 0]
        if self.colour[known[0]] == CONSTANT:
            return Ref(None, self.data[nodes], self.graph.nodes[known[0]].label)
        array = self.arrays[self.array_of[known[0]]]
        new = known[self.position[known] < 0]
        if len(new):
            new = new[distinct_rows(new[:, None])[1]]
            shape: tuple[int, ...] = (array.size + len(new),)
            if array.size == 0 and nodes.ndim == 3 and new.size == nodes.size:  # a product first reads Aᵀ: A is meant
                recorded = np.sort(new).reshape(-1, nodes.shape[1])
                if np.array_equal(recorded.T, nodes[0]):
                    new, shape = recorded.ravel(), _squeezed(recorded.shape)
            if nodes.ndim == 2 and np.array_equal(np.sort(nodes[:, 0]), np.sort(new)):  # of W + Wᵀ, W is read first
                new = nodes[:, 0]
            self.position[new] = array.size + np.arange(len(new))
            array.entries = np.concatenate([array.entries, new])
            array.shape = shape
        index = self.position[nodes]
        if nodes.ndim > 1 and not array.is_product and index.size == array.size and (regular := affine(index)):
            whole = index.transpose(np.argsort(regular[0])[::-1])  # what is read is the array or its transpose
            if np.array_equal(whole.ravel(), np.arange(array.size)):
                self._shape(array, _squeezed(whole.shape))
        if index.size == 1:  # irregular graphs read little else
            index = self.single.setdefault((index.item(), index.ndim), index)
        return Ref(array, index)

    def _shape(self, array: Array, shape: tuple[int, ...]) -> None:
        """Give an array the axes along which it is read; what it is computed from entry by entry has them, too."""
        if len(shape) > len(array.shape):
            array.shape = shape
            for ref in array.refs:
                below, whole = ref.array, np.arange(array.size)
                if below and not below.is_product and len(ref.index) == below.size == array.size:
                    self._shape(below, shape if np.array_equal(ref.index.reshape(len(whole), -1)[:, 0], whole) else ())

    def _read(self, terms: Terms, filling: float = 1.0) -> tuple[Ref, Ref | None, Ints | None]:
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

    def _alone(self, i: int) -> bool:
        """Add the array of a node that is alone in its colour, if it has one operand of a kind; return whether it has.

        Nearly all nodes of an irregular graph are such nodes: here they go without arrays of one number.
        """
        graph, op = self.graph, self.graph.ops[i]
        instruction: Apply | Sum
        if graph.is_sum[i]:
            terms = range(graph.term_start.item(i), graph.term_start.item(i + 1))
            if len(set(self.term_kind[terms.start : terms.stop].tolist())) < len(terms):
                return False
            sides = self.sides[:, terms.start : terms.stop].T.tolist()
            instruction = Sum([
                Group(graph.sign.item(t), self._one(left, 2), self._one(right, 2) if right >= 0 else None)
                for t, (left, right) in zip(terms, sides)
            ])  # fmt: skip
        elif is_reduction(op):
            return False
        else:
            inputs = graph.edges[graph.start.item(i) : graph.start.item(i + 1)].tolist()
            instruction = Apply(op, [self._one(j, 1) for j in inputs])
        varies = any(ref.array is not None and ref.array.varies for ref in instruction.refs)
        self._add(Array("computed", varies, np.array([i]), (1,), instruction), i, 0)
        return True

    def _one(self, i: int, ndim: int) -> Ref:
        """Return a reference to one node."""
        if self.colour.item(i) == CONSTANT:
            return Ref(None, self.data[i : i + 1].reshape((1,) * ndim), self.graph.nodes[i].label)
        if self.position.item(i) < 0:
            return self._ref(np.full((1,) * ndim, i))
        position = self.position.item(i)
        index = self.single.get((position, ndim))
        if index is None:
            index = self.single[position, ndim] = np.full((1,) * ndim, position)
        return Ref(self.arrays[self.array_of.item(i)], index)

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
        terms = self._terms(1, edges[ranges(start[members], count)][None], count)
        # Where sums may be padded, the missing ends are −∞, which adds exp(−∞) = 0.
        padded = op is ops.LOGSUMEXP and self.colour[terms.sides[0, 0]] != CONSTANT
        ref, _, starts = self._read(terms, self.filling if padded else 1.0)
        self._computed(members, np.arange(len(members)), members.shape, Reduce(op, ref, starts))

    def _sum(self, members: Ints) -> None:
        """Add the array of a sum of products: a matrix product, if the terms of one of its groups are one."""
        groups = self._groups(members)
        grids = (self.products.grid(terms, groups) for terms in sorted(groups, key=lambda g: -int(g.count[0])))
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
            if grid and (product := self.products.on_grid(terms, grid, at)):
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

    def _groups(self, members: Ints) -> list[Terms]:
        """Return the terms of sums, split by sign and colours."""
        graph = self.graph
        count = graph.term_start[members + 1] - graph.term_start[members]
        terms = ranges(graph.term_start[members], count)
        owner = np.repeat(np.arange(len(members)), count)
        kinds, firsts = distinct_rows(self.term_kind[terms, None])
        groups = []
        for kind, first in enumerate(terms[firsts]):
            here = kinds == kind
            sides, n = self.sides[: 1 if graph.right[first] < 0 else 2, terms[here]], np.bincount(owner[here])
            make = Terms if len(sides) == 1 < len(members) and n.max() <= FEW else self._terms  # W + Wᵀ keeps its order
            groups.append(make(int(graph.sign[first]), sides, n))
        return groups

    def _terms(self, sign: int, sides: Ints, count: Ints) -> Terms:
        """Return these terms, with those of every sum in the same order, however it was written."""
        # What has the fewest different nodes is what the sums share: the x of W x.
        keys = self._keys(sides) or sorted((s for s in sides if self.colour[s[0]] != CONSTANT), key=_distinct)
        if keys:
            sides = sides[:, np.lexsort((keys[0], np.repeat(np.arange(len(count)), count)))]
        return Terms(sign, sides, count)


def _distinct(x: Ints) -> int:
    """Return how many different numbers there are."""
    return int(np.count_nonzero(np.bincount(x)))


def _squeezed(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return the shape without its axes of length 1."""
    return tuple(d for d in shape if d > 1) or (1,)


def _along(ref: Ref, part: Any) -> tuple[Ints, ...]:
    """Return where in its array a reference reads, along each of the axes, in a part of its index."""
    if ref.array is None or ref.missing.any():
        return ()
    return np.unravel_index(ref.index[part], ref.array.shape)
