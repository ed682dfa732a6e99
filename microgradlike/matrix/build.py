"""Step 4b, forward and backward: the lines that compute the loss and its gradients.

Entry by entry, an operation's value and local derivatives are its rules in `ops.py`. A matrix
product z = W a has the vector–Jacobian products ∂C/∂W = δ aᵀ and ∂C/∂a = Wᵀ δ with δ = ∂C/∂z: BP4
and BP2 of the textbook. What an array's consumers send back is added up: the transpose of a
broadcast is a sum, that of a gather a scatter-add.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from math import prod
from typing import Any

import numpy as np

from microgradlike.matrix.canonical import Ints
from microgradlike.matrix.code import Code, Dims, Symbol, strides_of
from microgradlike.matrix.match import Apply, Array, Group, Reduce, Ref, Sum
from microgradlike.ops import flat


class Builder:
    """Writes the code of arrays and their instructions."""

    def __init__(self, arrays: list[Array], dtype: Any) -> None:
        self.code = Code(dtype)
        self.value: dict[Array, Symbol] = {}  # each flat
        self.saved: dict[Array, Any] = {}  # what the backward pass needs of the forward pass
        self.received: dict[Array, list[tuple[Symbol, Ints]]] = {}  # what consumers sent back, to which positions
        self.products: dict[Array, Symbol] = {}  # a matrix product that reads the whole of an array
        self.padded: list[
            tuple[Symbol, Symbol]
        ] = []  # products of sums of different lengths, and the side that 0 multiplies
        for array in arrays:
            if array.kind != "computed":
                self.value[array] = self.code.new((array.size,), array.varies)

    # ── Forward ────────────────────────────────────────────────────────────────────────────────

    def forward(self, array: Array) -> None:
        """Write the lines that compute an array."""
        y: Any
        match array.instruction:
            case Apply(op, operands):
                dims = common_dims(array.size, [ref.index for ref in operands if ref.constant is None])
                x = op.grouped([self.load(ref, dims) for ref in operands])
                y = op.value(self.code.namespace(), *x)
                self.saved[array] = dims, x, y
            case Reduce(op, operand, starts):
                dims, owner = (array.size,), _owner(operand, starts)
                x = (self._symbol(operand, operand.index.shape, missing=-np.inf),)
                y = op.value(self.code.namespace(starts, owner, stacked=True), x)
                self.saved[array] = owner, x, y
                if starts is not None:
                    y = self.code.take(y, starts)
            case Sum(groups):
                dims = self.saved[array] = _sum_dims(array, groups)
                y = 0.0
                for group in groups:
                    term = self._term(group, dims)
                    if group.sign > 0:
                        y = term if isinstance(y, float) and y == 0.0 else y + term
                    else:
                        y = -term if isinstance(y, float) and y == 0.0 else y - term
        if not (isinstance(y, Symbol) and y.varies == array.varies and prod(y.inner) == prod(dims)):
            y = self._whole(y, dims, array.varies)
        self.value[array] = self._whole(y).reshape(array.size)

    def load(self, ref: Ref, dims: Dims, missing: float = 0.0) -> Any:
        """What a reference reads: a number, a view, or a gather."""
        if ref.constant is not None:
            return ref.constant
        index = ref.index.reshape(dims)
        if ref.array is None:
            return self.code.array(index)
        source = self.value[ref.array]
        view = affine(index)
        if view is None or (index < 0).any():
            return self.code.take(source, index, missing)
        return source.view(index.shape, view[1], view[0])

    def _symbol(self, ref: Ref, dims: Dims, missing: float = 0.0) -> Symbol:
        """What a reference reads, as an array even where it is one number."""
        x = self.load(ref, dims, missing)
        return x if isinstance(x, Symbol) else self.code.array(np.broadcast_to(x, dims))

    def _whole(self, x: Any, inner: Dims | None = None, varies: bool | None = None) -> Symbol:
        """x with exactly these dims, in a buffer of its own unless it is whole already."""
        if isinstance(x, Symbol):
            inner, varies = x.inner if inner is None else inner, x.varies if varies is None else varies
            if x.whole and x.inner == inner and x.varies == varies:
                return x
        assert inner is not None and varies is not None
        whole = self.code.new(inner, varies)
        self.code.copy(x, whole)
        return whole

    def _term(self, group: Group, dims: Dims) -> Any:
        """Σₖ left · right, in dims."""
        code, K = self.code, group.left.index.shape[-1]
        if group.is_product:
            return self._product(group).reshape(*dims)
        shape = (*dims, K) if group.starts is None else group.left.index.shape
        left = self.load(group.left, shape)
        terms = left if group.right is None else left * self.load(group.right, shape)
        if group.starts is not None:
            return code.segments("add", self._whole(terms, shape), group.starts).reshape(*dims)
        return code.reduce("add", terms) if isinstance(terms, Symbol) else terms * K

    def _sides(self, group: Group) -> tuple[Symbol, Symbol]:
        """The operands (R, K) and (C, K) of a matrix product, or (G, R, K) and (G, C, K)."""
        sides = []
        assert group.right is not None
        for ref in (group.left, group.right):
            G, rows, K = ref.index.shape
            side = self._symbol(ref, (G, rows, K) if G > 1 else (rows, K))
            if any(d > 1 and s == 0 for d, s in zip(side.dims, side.strides, strict=True)):
                side = self._whole(side)  # BLAS knows no strides of 0
            sides.append(side)
        return sides[0], sides[1]

    def _product(self, group: Group) -> Symbol:
        """right · leftᵀ, of dims (C, R), for each of the grids."""
        code, (left, right) = self.code, self._sides(group)
        *lead, R, _ = left.inner
        C = right.inner[-2]
        if _side_by_side(group):
            return code.reduce("add", self._whole(left * right))
        out = code.new((*lead, C, R), left.varies or right.varies)
        if right.varies and not left.varies and _has_rows(right):
            code.matmul(right.rows(), left.T, out.rows())
        else:
            code.matmul(right, left.T, out)
        for ref, side in ((group.left, left), (group.right, right)):
            assert ref is not None
            if ref.array is not None and len(np.unique(ref.index[ref.index >= 0])) == ref.array.size:
                self.products.setdefault(ref.array, out)
            if group.is_padded and (ref.index >= 0).all():
                self.padded.append((out, side))
        return out

    # ── Backward ───────────────────────────────────────────────────────────────────────────────

    def backward(
        self, arrays: list[Array], loss: Array, position: int, differentiated: set[Array]
    ) -> tuple[Symbol, dict[Array, Symbol]]:
        """Write the lines that compute Σ seed · ∂loss/∂array over the samples, for the parameters `differentiated`.

        Returns the seed, a number of the caller's, and the gradients.
        """
        needed = dependents(arrays, differentiated)
        self.received = {array: [] for array in needed}
        seed = self.code.new((), False, fill=1.0)
        if loss in self.received:
            self.received[loss].append((seed, np.array([position])))
        gradients: dict[Array, Symbol] = {}
        for array in reversed(needed):
            upstream = self._collect(array)
            if array in differentiated:
                gradients[array] = self._gradient(array, upstream, gradients)
            elif upstream is not None:
                self._send_back(array, upstream)
        return seed, gradients

    def _gradient(self, array: Array, upstream: Symbol | None, others: dict[Array, Symbol]) -> Symbol:
        """The upstream gradient of a parameter, flat and in a buffer that is no other's."""
        if upstream is not None and upstream.inner and all(g.buffer != upstream.buffer for g in others.values()):
            return upstream
        gradient = self.code.new((array.size,), False)
        self.code.copy(0.0 if upstream is None else upstream, gradient)
        return gradient

    def _send_back(self, array: Array, upstream: Symbol) -> None:
        """Give the operands of an instruction their share: upstream · local derivative.

        `upstream` is flat, or has no dims where it is one number for all entries.
        """
        code = self.code
        match array.instruction:
            case Apply(op, operands):
                dims, x, y = self.saved[array]
                upstream = upstream.reshape(*dims) if upstream.inner else upstream
                for ref, local in zip(operands, flat(op.local_grads(code.namespace(), y, *x)), strict=True):
                    self._send(array, ref, ref.index.reshape(dims), upstream, local)
            case Reduce(op, ref, starts):
                owner, x, y = self.saved[array]
                ((local,),) = op.local_grads(code.namespace(starts, owner, stacked=True), y, x)
                self._send(array, ref, ref.index, self._repeated(upstream, (array.size,), owner), local)
            case Sum(groups):
                for group in groups:
                    signed = upstream if group.sign > 0 else -upstream
                    if group.is_product and not _side_by_side(group) and not is_square(group):
                        self._send_back_product(array, group, signed)
                    else:
                        self._send_back_term(array, group, signed)

    def _send(self, sender: Array, ref: Ref, index: Ints, *factors: Any) -> None:
        """Send the product of the factors to the entries that a reference reads, if they are asked for."""
        if ref.array in self.received:
            share = factors[0]
            for factor in factors[1:]:
                share = share * factor
            if sender.varies and not ref.array.varies and not share.varies:
                share = self._whole(share, varies=True)  # every sample sends the same
            self.received[ref.array].append((share, index))

    def _repeated(self, x: Symbol, dims: Dims, owner: Ints | None) -> Symbol:
        """A sum's number for each of its terms: along a last axis, or for the owner of each of them."""
        if not x.inner:
            return x
        return x.view((*dims, 1), (*strides_of(dims), 0)) if owner is None else self.code.take(x, owner)

    def _send_back_term(self, array: Array, group: Group, upstream: Symbol) -> None:
        """To the a and b of Σₖ aₖ bₖ: upstream · bₖ and upstream · aₖ."""
        dims, left, right = self.saved[array], group.left, group.right
        shape = (*dims, left.index.shape[-1]) if group.starts is None else left.index.shape
        share = self._repeated(upstream, dims, _owner(left, group.starts))
        if right is None:
            self._send(array, left, left.index.reshape(shape), share)
        elif is_square(group):
            if left.array in self.received:
                self._send(array, left, left.index.reshape(shape), share * 2.0, self.load(left, shape))
        else:
            for ref, other in ((left, right), (right, left)):
                if ref.array in self.received:
                    self._send(array, ref, ref.index.reshape(shape), share, self.load(other, shape))

    def _send_back_product(self, array: Array, group: Group, upstream: Symbol) -> None:
        """∂C/∂left = δᵀ right and ∂C/∂right = δ left, with δ = upstream of dims (C, R)."""
        code, (left, right) = self.code, self._sides(group)
        assert group.right is not None
        *lead, R, _ = left.inner
        C = right.inner[-2]
        delta = self._whole(upstream, (array.size,), array.varies).reshape(*lead, C, R)
        index = group.left.index.reshape(left.inner)
        if group.left.array in self.received and right.varies and not left.varies and _has_rows(right):
            share = code.new(left.inner, False)
            code.matmul(delta.rows().T, right.rows(), share)  # one product adds up the samples, too
            self.received[group.left.array].append((share, index))
        elif group.left.array in self.received:
            share = code.new(left.inner, delta.varies)
            code.matmul(delta.T, right, share)
            self._send(array, group.left, index, share)
        if group.right.array in self.received:
            share = code.new(right.inner, delta.varies)
            if delta.varies and not left.varies and not lead:
                code.matmul(delta.rows(), left, share.rows())
            else:
                code.matmul(delta, left, share)
            self._send(array, group.right, group.right.index.reshape(right.inner), share)

    # ── Adding up what the consumers send ──────────────────────────────────────────────────────

    def _collect(self, array: Array) -> Symbol | None:
        """The sum of all that an array received: flat, or without dims where it is one number for all entries."""
        code, n = self.code, array.size
        wholes: list[Symbol] = []
        parts: list[tuple[Symbol, Ints]] = []
        for share, index in self.received.pop(array):
            part, positions = self._gathered(array, share, index)
            everywhere = np.array_equal(positions.ravel(), np.arange(n))
            if everywhere and not any(part.strides[part.varies :]):
                wholes.append(part.view((), (), part.offset))
            elif everywhere and part.whole:
                wholes.append(part.reshape(n))
            else:
                parts.append((part, positions))
        total: Any = sum(wholes[1:], wholes[0]) if wholes else 0.0
        if not parts:
            return total if wholes else None
        result = code.new((n,), array.varies)
        used = np.bincount(np.concatenate([positions.ravel() for _, positions in parts]), minlength=n)
        tiled = not wholes and (used == 1).all() and all(affine(positions) for _, positions in parts)
        if not tiled:
            code.copy(total, result)
        for part, positions in parts:
            view = affine(positions)
            if view is None:
                code.put(self._whole(part), positions, result)
            elif tiled:
                code.copy(part, result.view(positions.shape, view[1], view[0]))
            else:
                code.accumulate(part, result.view(positions.shape, view[1], view[0]))
        return result

    def _gathered(self, array: Array, share: Symbol, index: Ints) -> tuple[Symbol, Ints]:
        """The share added up where positions repeat (and over the samples), and the positions, now all different."""
        code = self.code
        over_samples = share.varies and not array.varies
        missing = index.ndim - len(share.inner)
        share = share.view(index.shape, (0,) * missing + share.strides[share.varies :], share.offset)
        view = affine(index) if (index >= 0).all() else None
        if view is not None:
            # Axes along which one entry was read again and again
            repeated = [axis for axis, (d, s) in enumerate(zip(index.shape, view[1], strict=True)) if d > 1 and s == 0]
            once = index[tuple(0 if axis in repeated else slice(None) for axis in range(index.ndim))]
            if len(np.unique(once)) == once.size:
                return code.sum_over(share, repeated, over_samples), once
        share = self._whole(code.sum_over(share, [], over_samples)).reshape(index.size)
        order = np.argsort(index, axis=None, kind="stable")
        order = order[(index < 0).sum() :]  # what was read from nowhere
        positions, starts = np.unique(index.ravel()[order], return_index=True)
        share = code.take(share, order)
        if len(positions) < len(order):
            share = code.segments("add", share, starts)
        return share, positions


def refs(array: Array) -> list[Ref]:
    """What the instruction of an array reads."""
    match array.instruction:
        case Apply(_, operands):
            return operands
        case Reduce(_, operand, _):
            return [operand]
        case Sum(groups):
            return [ref for group in groups for ref in (group.left, group.right) if ref is not None]
    return []


def dependents(arrays: list[Array], parameters: Iterable[Array]) -> list[Array]:
    """The arrays that need a gradient, in order: the parameters and what is computed from them."""
    needed = set(parameters)
    for array in arrays:
        if not needed.isdisjoint(ref.array for ref in refs(array)):
            needed.add(array)
    return [array for array in arrays if array in needed]


def is_square(group: Group) -> bool:
    """Whether the terms are squares, aₖ²."""
    left, right = group.left, group.right
    return (
        right is not None
        and left.array is not None
        and left.array is right.array
        and left.index.shape[1:-1] in ((), (1,))
        and np.array_equal(left.index, right.index)
    )


def _side_by_side(group: Group) -> bool:
    """Whether a product is one dot product of what varies, or several without a row in common."""
    assert group.right is not None
    (G, R, _), (_, C, _) = group.left.index.shape, group.right.index.shape
    both_vary = all(ref.array is not None and ref.array.varies for ref in (group.left, group.right))
    return R == C == 1 and (G > 1 or both_vary)


def _has_rows(x: Symbol) -> bool:
    """Whether the rows of all samples form one matrix."""
    return len(x.inner) == 2 and (x.inner[0] == 1 or x.whole)


def _owner(ref: Ref, starts: Ints | None) -> Ints | None:
    """Which segment each entry of a flat index belongs to."""
    return None if starts is None else np.repeat(np.arange(len(starts)), np.diff([*starts, ref.index.size]))


def _sum_dims(array: Array, groups: list[Group]) -> Dims:
    for group in groups:
        if group.is_product and group.right is not None:
            (G, R, _), (_, C, _) = group.left.index.shape, group.right.index.shape
            return tuple(d for d in (G, C, R) if d > 1) or (1,)
    read = [ref for g in groups for ref in (g.left, g.right) if ref is not None and ref.constant is None]
    return common_dims(array.size, [ref.index[:, 0] for ref in read if ref.index.ndim == 2])


# ── Which positions are a view ─────────────────────────────────────────────────────────────────


def affine(index: Ints) -> tuple[int, Dims] | None:
    """(offset, strides) where index[i, j, …] = offset + strides · (i, j, …), else None."""
    offset = int(index.flat[0])
    corner = (0,) * index.ndim
    strides = tuple(
        int(index[(*corner[:axis], 1, *corner[axis + 1 :])]) - offset if d > 1 else 0
        for axis, d in enumerate(index.shape)
    )
    expected: Any = offset
    for axis, (d, s) in enumerate(zip(index.shape, strides, strict=True)):
        expected = expected + s * np.arange(d).reshape((-1,) + (1,) * (index.ndim - axis - 1))
    return (offset, strides) if (index == expected).all() else None


def common_dims(n: int, indices: list[Ints]) -> Dims:
    """Dims of n entries in which as many of the flat index arrays as possible have equal steps."""
    blocks = {n}
    for index in indices:
        found = set(_blocks(index))
        union = sorted(blocks | found)
        if all(b % a == 0 for a, b in itertools.pairwise(union)) and len(union) <= 4:
            blocks |= found
    sizes = [1, *sorted(blocks - {1})]
    return tuple(b // a for a, b in itertools.pairwise(sizes))[::-1] or (1,)


def _blocks(index: Ints) -> Iterator[int]:
    """The lengths after which the steps of a flat index array change, if they do so regularly."""
    size = 1
    for _ in range(4):
        if len(index) < 2:
            return
        steps = np.diff(index)
        breaks = (steps != steps[0]).nonzero()[0]
        if not len(breaks):
            return
        length = int(breaks[0]) + 1
        if len(index) % length or not (np.diff(index.reshape(-1, length)) == steps[0]).all():
            return
        size *= length
        yield size
        index = index.reshape(-1, length)[:, 0]
