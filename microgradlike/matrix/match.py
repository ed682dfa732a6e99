"""Step 3, match: which entry of which array each operand is, and which sums are matrix products.

Each colour becomes an `Array`; its nodes get positions in it. What an instruction reads is then an
array of positions, `Ref.index`, and its structure says what the textbook would write: 0, 1, 2, … is
the whole array, equal steps are a slice, a row, a column or a broadcast (see `views.py`), anything
else is a gather, which is always right.

A sum of products Σₖ aₖbₖ is a matrix product when its rows factor: give every distinct row of
operands a number on either side; if each left row meets each right row once, the nodes form the
grid left × right. The same test finds W x for one sample, W X for many written out one by one,
the heads of attention (several grids, a batch of products) and a convolution (rows are filters,
columns are patches).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from microgradlike import ops
from microgradlike.matrix.canonical import Graph, Ints, is_reduction
from microgradlike.matrix.colours import BATCH, CONSTANT, PARAMETER, refine
from microgradlike.ops import Operation

DENSE = 0.25  # a grid with fewer of its entries in use is not worth computing whole


@dataclass(eq=False, repr=False)
class Array:
    """The nodes of one colour. `entries[p]` is the number of the node at position p, or −1."""

    kind: str  # "batch", "parameter" or "computed"
    varies: bool  # from sample to sample
    entries: Ints
    shape: tuple[int, ...] = ()
    instruction: Apply | Reduce | Sum | None = None
    name: str = ""
    named: bool = True  # by labels or custom; else a mere number

    @property
    def size(self) -> int:
        """How many entries there are for one sample."""
        return len(self.entries)


@dataclass(eq=False, repr=False)
class Ref:
    """What an instruction reads: positions in an array (−1: nothing), or, where `array` is None, constants."""

    array: Array | None
    index: Any
    label: str = ""  # of the first of the constants

    @property
    def constant(self) -> float | None:
        """The number, where all that is read is one and the same constant."""
        if self.array is None and self.index.size:
            first = float(self.index.flat[0])
            if (self.index == first).all() and (first or not np.signbit(self.index).any()):
                return first
        return None


@dataclass(eq=False, repr=False)
class Apply:
    """y = op(operands), entry by entry."""

    op: Operation
    operands: list[Ref]


@dataclass(eq=False, repr=False)
class Reduce:
    """y = op over the last axis: max, logsumexp. With `starts`, segments of a flat index."""

    op: Operation
    operand: Ref
    starts: Ints | None


@dataclass(eq=False, repr=False)
class Group:
    """The terms of a sum that have the same colours: sign · Σₖ left · right.

    A matrix product has left.index of shape (G, R, K) and right.index (G, C, K), and its result
    is (G, C, R). Else the last axis is k, or `starts` says where in a flat index each sum begins.
    """

    sign: int
    left: Ref
    right: Ref | None
    starts: Ints | None = None
    is_product: bool = False

    @property
    def is_padded(self) -> bool:
        """Whether sums of different lengths were made equal by factors of 0."""
        return self.is_product and bool((self.left.index < 0).any() or (self.right and (self.right.index < 0).any()))


@dataclass(eq=False, repr=False)
class Sum:
    """y = Σ groups."""

    groups: list[Group]


@dataclass
class _Terms:
    """One group of terms before the positions of its sums are known; all parallel to `owner`."""

    sign: int
    owner: Ints  # which of the class's members
    left: Ints
    right: Ints | None
    count: Ints  # terms for each member


@dataclass
class Matcher:
    """Turns a canonical graph into arrays with instructions, in the order they run."""

    graph: Graph
    leaf: Ints
    arguments: list[Ints]
    arrays: list[Array] = field(default_factory=list)

    def __post_init__(self) -> None:
        graph = self.graph
        self.colour, depth = refine(graph, self.leaf)
        n = len(graph.nodes)
        self.position = np.full(n, -1)
        self.array_of = np.full(n, -1)
        self.data = np.array([node.data if op is ops.CONSTANT else 0.0 for node, op in zip(graph.nodes, graph.ops)])
        for columns in self.arguments:
            self._place(self._new(Array("batch", True, columns)), columns, np.arange(len(columns)))
        live = (graph.live & (self.leaf != CONSTANT) & (self.leaf != BATCH)).nonzero()[0]
        live = live[np.argsort(self.colour[live], kind="stable")]
        colours = self.colour[live]
        classes = np.split(live, (colours[1:] != colours[:-1]).nonzero()[0] + 1) if len(live) else []
        for members in classes:
            if self.leaf[members[0]] >= PARAMETER:
                array = self._new(Array("parameter", False, np.empty(0, np.int64)))
                self.array_of[members] = self.arrays.index(array)
        computed = [members for members in classes if self.leaf[members[0]] < 0]
        computed.sort(key=lambda m: (depth[m[0]], not graph.is_sum[m[0]], m[0]))
        for members in computed:
            op: Any = graph.ops[members[0]]
            array = Array("computed", False, members)
            if graph.is_sum[members[0]]:
                self._sum(array, members)
            elif is_reduction(op) and self._one_colour(members[0]):
                self._reduce(array, members, op)
            else:
                self._apply(array, members, op)
        for members in classes:  # leaves that nothing reads: the loss itself, or a side of a comparison
            if self.leaf[members[0]] >= PARAMETER:
                self._ref(members)

    # ── Arrays, positions, references ──────────────────────────────────────────────────────────

    def _new(self, array: Array) -> Array:
        self.arrays.append(array)
        return array

    def _place(self, array: Array, nodes: Ints, positions: Ints) -> None:
        self.array_of[nodes] = self.arrays.index(array) if array.instruction is None else len(self.arrays) - 1
        self.position[nodes] = positions

    def _finish(self, array: Array, members: Ints, positions: Ints, size: int, instruction: Any, refs: Any) -> None:
        array.entries = np.full(size, -1)
        array.entries[positions[::-1]] = members[::-1]
        array.instruction = instruction
        array.varies = any(ref is not None and ref.array is not None and ref.array.varies for ref in refs)
        array.shape = array.shape or (size,)
        self._new(array)
        self._place(array, members, positions)

    def _ref(self, nodes: Ints) -> Ref:
        """A reference to nodes of one colour. Parameters are placed in the order of their first use."""
        if not nodes.size or self.colour[nodes.flat[0]] == CONSTANT:
            return Ref(None, self.data[nodes], self.graph.nodes[nodes.flat[0]].label if nodes.size else "")
        missing = nodes < 0
        if missing.any():
            known = self._ref(nodes[~missing])
            index = np.full(nodes.shape, -1)
            index[~missing] = known.index
            return Ref(known.array, index)
        array = self.arrays[self.array_of[nodes.flat[0]]]
        if array.kind == "parameter":
            flat = nodes.ravel()
            unseen = flat[self.position[flat] < 0]
            if len(unseen):
                _, first = np.unique(unseen, return_index=True)
                new = unseen[np.sort(first)]
                self.position[new] = array.size + np.arange(len(new))
                array.entries = np.concatenate([array.entries, new])
                array.shape = (array.size,)
            if nodes.ndim == 3 and nodes.size == array.size and (self.position[flat] == np.arange(array.size)).all():
                matrix = tuple(d for d in nodes.shape if d > 1)
                if len(matrix) > len(array.shape):
                    array.shape = matrix
        return Ref(array, self.position[nodes])

    def _one_colour(self, node: int) -> bool:
        inputs = self.graph.edges[self.graph.start[node] : self.graph.start[node + 1]]
        return bool((self.colour[inputs] == self.colour[inputs[0]]).all())

    def _identity(self, nodes: Ints) -> Ints:
        """Numbers that are equal where the operands are: constants by their bits."""
        return np.where(self.colour[nodes] == CONSTANT, self.data[nodes].view(np.int64), nodes)

    def _order(self, members: Ints, operands: list[Ints]) -> Ints:
        """The order of the members: that of the operand that differs most between them, where it has one."""
        keys = [self.position[o] for o in operands if self.colour[o[0]] != CONSTANT]
        keys = [key for key in keys if (key >= 0).all()]
        keys.sort(key=lambda key: len(np.unique(key)))
        return np.lexsort((members, *keys))

    # ── One class at a time ────────────────────────────────────────────────────────────────────

    def _apply(self, array: Array, members: Ints, op: Operation) -> None:
        """An operation of operands that each have a colour."""
        graph = self.graph
        first = graph.start[members]
        n_inputs = int(graph.start[members[0] + 1] - first[0])
        operands = graph.edges[first[:, None] + np.arange(n_inputs)]
        if is_reduction(op):
            operands = np.take_along_axis(operands, np.argsort(self.colour[operands], axis=1, kind="stable"), axis=1)
        order = self._order(members, list(operands.T))
        members, operands = members[order], operands[order]
        number, representative = _rows(self._identity(operands))  # nodes that compute the same share an entry
        refs = [self._ref(column[representative]) for column in operands.T]
        self._finish(array, members, number, len(representative), Apply(op, refs), refs)

    def _reduce(self, array: Array, members: Ints, op: Operation) -> None:
        """An operation of any number of operands, all of one colour."""
        graph = self.graph
        order = self._order(members, [graph.edges[graph.start[members]]])
        members = members[order]
        count = graph.start[members + 1] - graph.start[members]
        nodes = graph.edges[_ranges(graph.start[members], count)]
        owner = np.repeat(np.arange(len(members)), count)
        if self.colour[nodes[0]] != CONSTANT:
            placed = bool((self.position[nodes] >= 0).all())
            nodes = nodes[np.lexsort((self.position[nodes] if placed else nodes, owner))]
        K = int(count.max())
        if op is ops.LOGSUMEXP and len(nodes) >= DENSE * len(members) * K and self.colour[nodes[0]] != CONSTANT:
            rows = np.full((len(members), K), -1)  # the missing ends are −∞, which adds exp(−∞) = 0
            rows[np.arange(K) < count[:, None]] = nodes
            ref, starts = self._ref(rows), None
        else:
            ref, starts = self._rectangle(nodes, count)
        self._finish(array, members, np.arange(len(members)), len(members), Reduce(op, ref, starts), [ref])

    def _rectangle(self, nodes: Ints, count: Ints) -> tuple[Ref, Ints | None]:
        if (count == count[0]).all():
            return self._ref(nodes.reshape(len(count), count[0])), None
        return self._ref(nodes), np.cumsum(count) - count

    def _sum(self, array: Array, members: Ints) -> None:
        graph = self.graph
        count = graph.term_start[members + 1] - graph.term_start[members]
        owner = np.repeat(np.arange(len(members)), count)
        terms = _ranges(graph.term_start[members], count)
        groups = self._groups(owner, graph.sign[terms], graph.left[terms], graph.right[terms], len(members))
        n = len(members)
        grid = None
        for candidate in sorted(groups, key=lambda g: -int(g.count[0])):
            grid = self._grid(candidate)
            if grid is not None and self._same(groups, candidate, grid[0]):
                break
            grid = None
        if grid is not None:
            chosen, positions, (G, C, R), left, right = candidate, *grid
            size = G * C * R
        else:
            firsts = [
                side[np.cumsum(g.count) - g.count] for g in groups for side in (g.left, g.right) if side is not None
            ]
            order = self._order(members, firsts)
            chosen, positions, size = None, np.argsort(order), n
        at = np.zeros(size, np.int64)  # the member at each position; holes and doubles do no harm
        at[positions[::-1]] = np.arange(n)[::-1]
        result = []
        for group in groups:
            if group is chosen:
                result.append(Group(group.sign, self._ref(left), self._ref(right), is_product=True))
                continue
            starts = (np.cumsum(group.count) - group.count)[at]
            count = group.count[at]
            t = _ranges(starts, count)
            if chosen is not None and group.right is not None:
                rows = self._same_grid((G, C, R), group.left[t], group.right[t], count)
                if rows is not None:
                    result.append(Group(group.sign, self._ref(rows[0]), self._ref(rows[1]), is_product=True))
                    continue
            left_ref, segment = self._rectangle(group.left[t], count)
            right_ref = None if group.right is None else self._rectangle(group.right[t], count)[0]
            result.append(Group(group.sign, left_ref, right_ref, segment))
        if chosen is not None:
            array.shape = tuple(d for d in (G, C, R) if d > 1) or (1,)
        refs = [ref for group in result for ref in (group.left, group.right)]
        self._finish(array, members, positions, size, Sum(result), refs)

    def _same_grid(self, grid: tuple[int, int, int], left: Ints, right: Ints, count: Ints) -> tuple[Ints, Ints] | None:
        """(left rows, right rows) where these terms are a product of the same grid as the others."""
        K = int(count[0])
        if K < 2 or (count != K).any():
            return None
        left, right = left.reshape(*grid, K), right.reshape(*grid, K)
        for a, b in ((left, right), (right, left)):
            rows_a, rows_b = self._identity(a), self._identity(b)
            if (rows_a == rows_a[:, :1]).all() and (rows_b == rows_b[:, :, :1]).all():
                return a[:, 0], b[:, :, 0]
        return None

    def _same(self, groups: list[_Terms], product: _Terms, positions: Ints) -> bool:
        """Whether the sums that share a place in the grid also agree in their other groups."""
        _, first, number = np.unique(positions, return_index=True, return_inverse=True)
        if len(first) == len(positions):
            return True
        member = first[number]
        for group in groups:
            if group is not product:
                count, starts = group.count, np.cumsum(group.count) - group.count
                if not np.array_equal(count, count[member]):
                    return False
                here, there = _ranges(starts, count), _ranges(starts[member], count)
                for side in (group.left, group.right):
                    if side is not None and not np.array_equal(self._identity(side[here]), self._identity(side[there])):
                        return False
        return True

    def _groups(self, owner: Ints, sign: Ints, left: Ints, right: Ints, n: int) -> list[_Terms]:
        """Split the terms by sign and colours; in each group, sort every sum's terms alike."""
        c_left, c_right = self.colour[left], np.where(right < 0, -1, self.colour[right])
        swap = (right >= 0) & (c_left > c_right)
        left, right = np.where(swap, right, left), np.where(swap, left, right)
        c_left, c_right = np.where(swap, c_right, c_left), np.where(swap, c_left, c_right)
        key = (c_left * (int(self.colour.max()) + 2) + c_right + 1) * 2 + (sign < 0)
        kinds, first, group_of = np.unique(key, return_index=True, return_inverse=True)
        result = []
        for kind in np.argsort(first):
            here = (group_of == kind).nonzero()[0] if len(kinds) > 1 else np.arange(len(key))
            is_pair = right[here[0]] >= 0
            sides = [left[here], right[here]] if is_pair else [left[here]]
            ranks: list[tuple[bool, int, int, Ints]] = []
            for side in sides:
                if self.colour[side[0]] != CONSTANT:
                    placed = self.position[side[0]] >= 0 and bool((self.position[side] >= 0).all())
                    distinct = int(np.count_nonzero(np.bincount(side)))
                    ranks.append((not placed, distinct, len(ranks), self.position[side] if placed else side))
            rank = min(ranks, key=lambda r: r[:3])[3] if ranks else np.arange(len(here))
            here = here[np.lexsort((rank, owner[here]))]
            result.append(
                _Terms(
                    int(sign[here[0]]),
                    owner[here],
                    left[here],
                    right[here] if is_pair else None,
                    np.bincount(owner[here], minlength=n),
                )
            )
        return result

    def _grid(self, terms: _Terms) -> tuple[Ints, tuple[int, int, int], Ints, Ints] | None:
        """(position of each member, (G, C, R), left rows, right rows) where the terms are a matrix product."""
        rows = self._padded(terms)
        if rows is None:
            return None
        left, right = rows
        left_row, left_first = _rows(self._identity(left))
        right_row, right_first = _rows(self._identity(right))
        N = len(left)
        left_varies, right_varies = self._varies(left), self._varies(right)
        swap = left_varies  # the rows of the weights run fastest: z of one sample lies together
        if left_varies == right_varies:
            swap = N > 1 and bool(left_row[0] == left_row[1])  # as recorded: what changes first runs fastest
        if swap:
            left, left_row, left_first, right, right_row, right_first = (
                right, right_row, right_first, left, left_row, left_first,
            )  # fmt: skip
        left_row, left_first = self._rank(left, left_row, left_first)
        right_row, right_first = self._rank(right, right_row, right_first)
        R, C = len(left_first), len(right_first)
        pairs = len(np.unique(left_row * C + right_row))
        part, of_right = np.zeros(R, np.int64), np.zeros(C, np.int64)
        if pairs != R * C:  # several grids side by side: the connected parts of the graph of left and right rows
            part, of_right = _parts(left_row, right_row, R, C)
        G = int(part.max()) + 1
        n_left, n_right = np.bincount(part), np.bincount(of_right)
        if (n_left != n_left[0]).any() or (n_right != n_right[0]).any():
            G, part, of_right = 1, part * 0, of_right * 0
        R, C = R // G, C // G
        if pairs < DENSE * G * R * C or (pairs < N and pairs != G * R * C):
            return None
        left_order, right_order = np.argsort(part, kind="stable"), np.argsort(of_right, kind="stable")
        left_local, right_local = np.argsort(left_order) % R, np.argsort(right_order) % C
        positions = (part[left_row] * C + right_local[right_row]) * R + left_local[left_row]
        K = left.shape[1]
        return (
            positions,
            (G, C, R),
            left[left_first[left_order]].reshape(G, R, K),
            right[right_first[right_order]].reshape(G, C, K),
        )

    def _padded(self, terms: _Terms) -> tuple[Ints, Ints] | None:
        """The rows of either side, (N, K). Where sums differ in length, one side gets −1 for its missing ends.

        On the other side, the short rows must begin like a long one (as the values that a causal
        attention sums over do), which stands for them: what it adds is multiplied by 0.
        """
        K = int(terms.count.max())
        if terms.right is None or K < 2:
            return None
        if (terms.count == K).all():
            return terms.left.reshape(-1, K), terms.right.reshape(-1, K)
        N = len(terms.count)
        if len(terms.owner) < DENSE * N * K or (terms.count == 0).any():
            return None
        here = np.arange(K) < terms.count[:, None]
        sides = [np.full((N, K), -1), np.full((N, K), -1)]
        sides[0][here], sides[1][here] = terms.left, terms.right
        for long, _short in ((1, 0), (0, 1)):
            if CONSTANT in self.colour[[terms.left[0], terms.right[0]]]:
                break
            by_length = np.argsort(-terms.count, kind="stable")
            _, first, number = np.unique(sides[long][by_length, 0], return_index=True, return_inverse=True)
            longest = np.empty((N, K), np.int64)
            longest[by_length] = sides[long][by_length][first][number]
            if (longest >= 0).all() and (longest == sides[long])[here].all():
                sides[long] = longest
                return sides[0], sides[1]
        return None

    def _varies(self, nodes: Ints) -> bool:
        return bool(self.colour[nodes.flat[0]] != CONSTANT) and self.arrays[self.array_of[nodes.flat[0]]].varies

    def _rank(self, rows: Ints, row: Ints, first: Ints) -> tuple[Ints, Ints]:
        """Number the rows in the order of the array they come from, or of their first use."""
        lead = rows[first, 0]
        placed = self.colour[lead[0]] != CONSTANT and bool((self.position[lead] >= 0).all())
        order = np.lexsort((first, self.position[lead])) if placed else np.argsort(first)
        return np.argsort(order)[row], first[order]


def _parts(left: Ints, right: Ints, n_left: int, n_right: int) -> tuple[Ints, Ints]:
    """The connected parts of the graph with an edge from left[i] to right[i]: the part of each node."""
    part = np.arange(n_left)
    while True:
        of_right = np.full(n_right, n_left)
        np.minimum.at(of_right, right, part[left])
        smaller = part.copy()
        np.minimum.at(smaller, left, of_right[right])
        smaller = smaller[smaller]  # a part's number is one of its members: look further ahead
        if np.array_equal(smaller, part):
            break
        part = smaller
    part = np.unique(part, return_inverse=True)[1]
    of_right = np.zeros(n_right, np.int64)
    of_right[right] = part[left]
    return part, of_right


def _rows(rows: Ints) -> tuple[Ints, Ints]:
    """(number of each row, index of the first row with each number), numbered by first appearance."""
    if rows.shape[1] == 1:
        hashes = rows[:, 0]
    else:
        hashes = (_scrambled(rows) * (_scrambled(np.arange(rows.shape[1])) | np.uint64(1))).sum(axis=1)
    _, first, number = np.unique(hashes, return_index=True, return_inverse=True)
    if not np.array_equal(rows[first][number], rows):  # two rows with one hash
        _, first, number = np.unique(rows, axis=0, return_index=True, return_inverse=True)
    order = np.argsort(first)
    return np.argsort(order)[number], first[order]


def _scrambled(x: Ints) -> Any:
    """Numbers with the bits of x all over the place (by the golden ratio, and a shift)."""
    product = (x.astype(np.uint64) + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
    return (product >> np.uint64(29)) ^ product


def _ranges(starts: Ints, counts: Ints) -> Ints:
    """start, start + 1, … for each start, as many as its count."""
    ends = np.cumsum(counts)
    ranges: Ints = np.arange(ends[-1] if len(ends) else 0) + np.repeat(starts - (ends - counts), counts)
    return ranges
