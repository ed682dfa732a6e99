"""Step 4b, forward and backward: the lines that compute the loss and its gradients.

Entry by entry, an operation's value and local derivatives are its rules in `ops.py`. A matrix
product z = W a has the vector–Jacobian products ∂C/∂W = δ aᵀ and ∂C/∂a = Wᵀ δ with δ = ∂C/∂z: BP4
and BP2 of the textbook. What an array's consumers send back is added up: the transpose of a
broadcast is a sum, that of a gather a scatter-add.
"""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np

from microgradlike.matrix.canonical import Ints
from microgradlike.matrix.code import Code, Dims, Samples, Seed, Symbol, affine, common_dims, strides_of
from microgradlike.matrix.match import Apply, Array, Group, Reduce, Ref, Sum
from microgradlike.ops import flat


class Builder:
    """Writes the code of arrays and their instructions."""

    def __init__(self, arrays: list[Array], dtype: Any) -> None:
        self.code = Code(dtype)
        self.value: dict[Array, Symbol] = {}  # each flat
        self.saved: dict[Array, Any] = {}
        self.cotangents: dict[Array, list[tuple[Any, Ints]]] = {}
        self.needed: set[Array] = set()
        self.products: dict[Array, Symbol] = {}  # a matrix product that reads the whole of an array
        self.constants: dict[tuple[bytes, Dims], Symbol] = {}
        for array in arrays:
            if array.kind != "computed":
                self.value[array] = self.code.buffer((array.size,), array.varies)

    # ── Forward ────────────────────────────────────────────────────────────────────────────────

    def forward(self, array: Array) -> None:
        """Write the lines that compute an array."""
        match array.instruction:
            case Apply(op, operands):
                dims = common_dims(array.size, [ref.index for ref in operands if ref.constant is None])
                x = op.grouped([self.load(ref, dims) for ref in operands])
                y = op.value(self.code.namespace(), *x)
                self.saved[array] = dims, x, y
            case Reduce(op, operand, starts):
                owner = self._owner(operand, starts)
                x = (self._symbol(operand, missing=-np.inf),)
                y = op.value(self.code.namespace(starts, owner, stacked=True), x)
                self.saved[array] = owner, x, y
                if starts is not None:
                    y = self.code.take(y, starts)
                dims = (array.size,)
            case Sum(groups):
                dims = self._sum_dims(array, groups)
                terms = [self._term(group, dims) for group in groups]
                y = 0.0
                for group, term in zip(groups, terms, strict=True):
                    if group.sign > 0:
                        y = term if isinstance(y, float) and y == 0.0 else y + term
                    else:
                        y = -term if isinstance(y, float) and y == 0.0 else y - term
                self.saved[array] = dims
        self.value[array] = self._flat(y, dims, array.varies)

    def load(self, ref: Ref, dims: Dims | None = None, missing: float = 0.0) -> Any:
        """What a reference reads: a number, a view, or a gather."""
        if ref.constant is not None:
            return ref.constant
        index = ref.index if dims is None else ref.index.reshape(dims)
        if ref.array is None:
            key = (index.tobytes(), index.shape)
            if key not in self.constants:
                self.constants[key] = self.code.array(index)
            return self.constants[key]
        source = self.value[ref.array]
        view = affine(index)
        if view is None or (index < 0).any():
            return self.code.take(source, index, missing)
        return source.view(index.shape, view[1], view[0])

    def _symbol(self, ref: Ref, dims: Dims | None = None, missing: float = 0.0) -> Symbol:
        """What a reference reads, as an array even where it is one number."""
        x = self.load(ref, dims, missing)
        return x if isinstance(x, Symbol) else self.code.array(np.broadcast_to(x, dims or ref.index.shape))

    def _flat(self, y: Any, dims: Dims, varies: bool) -> Symbol:
        """y as an array of its own, flat."""
        if not (isinstance(y, Symbol) and y.varies == varies and prod(y.dims) == prod(dims) and y.contiguous):
            same_size = isinstance(y, Symbol) and prod(y.dims) == prod(dims)
            whole = self.code.buffer(y.dims if same_size else dims, varies)
            self.code.copy(y, whole)
            y = whole
        flat: Symbol = y.reshape(prod(dims))
        return flat

    def _owner(self, ref: Ref, starts: Ints | None) -> Ints | None:
        """Which segment each entry of a flat index belongs to."""
        if starts is None:
            return None
        return np.repeat(np.arange(len(starts)), np.diff([*starts, ref.index.size]))

    def _sum_dims(self, array: Array, groups: list[Group]) -> Dims:
        for group in groups:
            if group.is_product and group.right is not None:
                (G, R, _), (_, C, _) = group.left.index.shape, group.right.index.shape
                return (G, C, R) if G > 1 else (C, R)
        refs = [ref for g in groups for ref in (g.left, g.right) if ref is not None and ref.constant is None]
        return common_dims(array.size, [ref.index[:, 0] for ref in refs if ref.index.ndim == 2])

    def _term(self, group: Group, dims: Dims) -> Any:
        """Σₖ left · right, in dims."""
        code = self.code
        if group.is_product:
            return self._product(group)
        if group.starts is not None:
            left = self.load(group.left)
            terms = left if group.right is None else left * self.load(group.right)
            return code.segments("add", self._whole(terms, group.left.index.shape), group.starts).reshape(*dims)
        left = self.load(group.left, self._with_k(group.left, dims))
        if group.right is None:
            if not isinstance(left, Symbol):
                return left * group.left.index.shape[-1]
            return code.reduce("add", left)
        right = self.load(group.right, self._with_k(group.right, dims))
        if not isinstance(left, Symbol) and isinstance(right, Symbol):
            return code.reduce("add", right) * left
        if not isinstance(left, Symbol):
            return left * right * group.left.index.shape[-1]
        return code.reduce("add", left * right)

    def _with_k(self, ref: Ref, dims: Dims) -> Dims:
        return (*dims, ref.index.shape[-1])

    def _whole(self, x: Any, dims: Dims) -> Symbol:
        """x as a symbol with exactly these dims, whole in memory."""
        if isinstance(x, Symbol) and x.dims == dims and x.contiguous:
            return x
        whole = self.code.buffer(dims, isinstance(x, Symbol) and x.varies)
        self.code.copy(x, whole)
        return whole

    def _product_operands(self, group: Group) -> tuple[Symbol, Symbol]:
        assert group.right is not None
        sides = []
        for ref in (group.left, group.right):
            G, rows, K = ref.index.shape
            dims = (G, rows, K) if G > 1 else (rows, K)
            side = self._symbol(ref, dims)
            if any(d > 1 and s == 0 for d, s in zip(dims, side.strides, strict=True)):
                side = self._whole(side, dims)  # BLAS knows no strides of 0
            sides.append(side)
        return sides[0], sides[1]

    def _product(self, group: Group) -> Symbol:
        """right · leftᵀ, of dims (C, R), for each of the grids."""
        code = self.code
        left, right = self._product_operands(group)
        varies = left.varies or right.varies
        R, C = left.dims[-2], right.dims[-2]
        if R == C == 1 and (left.dims[:-2] or (left.varies and right.varies)):  # dot products side by side
            return code.reduce("add", self._whole(left * right, left.dims)).reshape(*left.dims[:-2], 1, 1)
        out = code.buffer((*left.dims[:-2], C, R), varies)
        if right.varies and not left.varies and _has_rows(right):
            code.matmul(right.rows(), left.T, out.rows())
        else:
            code.matmul(right, left.T, out)
        for ref in (group.left, group.right):
            if (
                ref is not None
                and ref.array is not None
                and len(np.unique(ref.index[ref.index >= 0])) == ref.array.size
            ):
                self.products.setdefault(ref.array, out)
        return out

    # ── Backward ───────────────────────────────────────────────────────────────────────────────

    def backward(
        self, arrays: list[Array], loss: Array, position: int, differentiated: set[Array]
    ) -> dict[Array, Symbol]:
        """Write the lines that compute ∂(mean loss)/∂array, for the parameters among `arrays`."""
        self.needed = set(differentiated)
        for array in arrays:
            if array.instruction is not None and any(r.array in self.needed for r in refs(array)):
                self.needed.add(array)
        self.cotangents = {array: [] for array in self.needed}
        if loss in self.needed:
            self.cotangents[loss].append((Seed(1.0, not loss.varies), np.array([position])))
        result = {}
        for array in reversed([a for a in arrays if a in self.needed]):
            contributions = self.cotangents.pop(array)
            upstream = self._collect(array, contributions)
            if array in differentiated:
                if upstream is None:
                    upstream = Seed(0.0)
                result[array] = self._flat_gradient(upstream, array)
            elif upstream is not None:
                self._send_back(array, upstream)
        return result

    def _flat_gradient(self, upstream: Any, array: Array) -> Symbol:
        gradient = self.code.buffer((array.size,), False)
        if isinstance(upstream, Symbol) and upstream.base not in self.code.shared:
            return upstream
        self.code.copy(upstream, gradient)
        return gradient

    def _send_back(self, array: Array, upstream: Any) -> None:
        """Give the operands of an instruction their share: upstream · local derivative."""
        code = self.code
        match array.instruction:
            case Apply(op, operands):
                dims, x, y = self.saved[array]
                if isinstance(upstream, Symbol):
                    upstream = upstream.reshape(*dims)
                for ref, local in zip(operands, flat(op.local_grads(code.namespace(), y, *x)), strict=True):
                    if ref.array in self.needed:
                        self._send(array, ref, ref.index.reshape(dims), upstream * local)
            case Reduce(op, ref, starts):
                owner, x, y = self.saved[array]
                ((local,),) = op.local_grads(code.namespace(starts, owner, stacked=True), y, x)
                if isinstance(upstream, Symbol):
                    if starts is None:
                        upstream = upstream.view((array.size, 1), (strides_of((array.size,))[0], 0))
                    else:
                        assert owner is not None
                        upstream = code.take(upstream, owner)
                self._send(array, ref, ref.index, upstream * local)
            case Sum(groups):
                for group in groups:
                    if group.left.array in self.needed or (group.right and group.right.array in self.needed):
                        self._send_back_term(array, group, upstream if group.sign > 0 else upstream * -1.0)

    def _send_back_term(self, array: Array, group: Group, upstream: Any) -> None:
        dims = self.saved[array]
        left, right = group.left, group.right
        if right is not None and left.array is right.array and np.array_equal(left.index.ravel(), right.index.ravel()):
            # squares: one product with 2 in place of two
            sides: list[tuple[Ref | None, Ref | None, float]] = [(left, left, 2.0)]
        else:
            sides = [(left, right, 1.0), (right, left, 1.0)] if right is not None else [(left, None, 1.0)]
        if (
            group.is_product
            and len(sides) == 2
            and not (left.index.shape[0] > 1 and prod(array.shape) == left.index.shape[0])
        ):
            self._send_back_product(array, group, upstream)
            return
        for ref, other, factor in sides:
            if ref is None or ref.array not in self.needed:
                continue
            index = ref.index
            if group.starts is not None:
                owner = self._owner(ref, group.starts)
                assert owner is not None
                share = self.code.take(upstream, owner) if isinstance(upstream, Symbol) else upstream
                shape = index.shape
            else:
                if group.is_product:  # squares, or dot products side by side: dims (G, 1, K)
                    index = index.reshape(-1, index.shape[-1])
                    shape = index.shape
                    lead: Dims = shape[:1]
                else:
                    shape = (*dims, index.shape[-1])
                    lead = dims
                share = upstream
                if isinstance(upstream, Symbol):
                    share = upstream.view((*lead, 1), (*strides_of(lead), 0))
            if other is not None:
                factor_symbol = other.constant
                if factor_symbol is None:
                    factor_symbol = self.load(Ref(other.array, other.index.reshape(shape)))
                share = (
                    share * factor_symbol * factor
                    if factor == 1.0 or isinstance(share, Symbol)
                    else share * factor * factor_symbol
                )
            self._send(array, ref, index.reshape(shape), share)

    def _send_back_product(self, array: Array, group: Group, upstream: Any) -> None:
        """∂C/∂left = δᵀ right and ∂C/∂right = δ left, with δ = upstream of dims (C, R)."""
        code = self.code
        assert group.right is not None
        left, right = self._product_operands(group)
        lead, R, C = left.dims[:-2], left.dims[-2], right.dims[-2]
        if not isinstance(upstream, Symbol) or upstream.varies != array.varies or not upstream.contiguous:
            delta = code.buffer((*lead, C, R), array.varies)
            code.copy(upstream, delta)
        else:
            delta = upstream.reshape(*lead, C, R)
        if group.left.array in self.needed:
            if right.varies and not left.varies and _has_rows(right) and not lead:
                share = code.matmul(delta.rows().T, right.rows(), code.buffer(left.dims, False))
            else:
                share = code.matmul(delta.T, right, code.buffer(left.dims, delta.varies))
            self.cotangents[group.left.array].append((share, group.left.index.reshape(left.dims)))
        if group.right.array in self.needed:
            out = code.buffer(right.dims, delta.varies)
            if not lead and delta.varies and not left.varies:
                code.matmul(delta.rows(), left, out.rows())
            else:
                code.matmul(delta, left, out)
            self._send(array, group.right, group.right.index.reshape(right.dims), out)

    def _send(self, consumer: Array, ref: Ref, index: Ints, share: Any) -> None:
        assert ref.array is not None
        if consumer.varies and not ref.array.varies and isinstance(share, Symbol) and not share.varies:
            share = share * Samples()  # each sample sends the same
        self.cotangents[ref.array].append((share, index))

    # ── Adding up what the consumers send ──────────────────────────────────────────────────────

    def _collect(self, array: Array, contributions: list[tuple[Any, Ints]]) -> Any:
        """The sum of all contributions: None, one Seed for all entries, or a flat symbol."""
        code, n = self.code, array.size
        numbers = np.zeros(n)
        summed = not array.varies
        wholes: list[Symbol] = []
        parts: list[tuple[Symbol, Ints]] = []
        any_number = False
        for share, index in contributions:
            if isinstance(share, Seed):
                any_number = True
                numbers += np.bincount(index[index >= 0], minlength=n) * share.factor
                continue
            part, positions = self._gathered(array, share, index)
            if part.contiguous and np.array_equal(positions.ravel(), np.arange(n)):
                wholes.append(part.reshape(n))
            else:
                parts.append((part, positions))
        if any_number:
            seed = Seed(float(numbers[0]), summed)
            if (numbers == numbers[0]).all() and not wholes and not parts:
                return seed
            if not (numbers == numbers[0]).all():
                total = code.array(numbers) * Seed(1.0, summed)
                wholes.append(total if not array.varies else self._whole_varying(total, n))
            elif wholes:
                wholes[0] = wholes[0] + seed
            else:
                filled = code.buffer((n,), array.varies)
                code.copy(seed, filled)
                wholes.append(filled)
        if not wholes and not parts:
            return None
        if not parts:
            total = wholes[0]
            for whole in wholes[1:]:
                total = total + whole
            return total
        result = code.buffer((n,), array.varies)
        used = np.bincount(np.concatenate([p.ravel() for _, p in parts]), minlength=n)
        tiled = not wholes and (used == 1).all() and all(affine(p) for _, p in parts)
        if not tiled:
            first = wholes[0] if wholes else 0.0
            for whole in wholes[1:]:
                first = first + whole
            code.copy(first, result)
        for part, positions in parts:
            view = affine(positions)
            if view is None:
                code.put(self._whole(part, part.dims), positions, result)
                continue
            target = result.view(positions.shape, view[1], view[0])
            if tiled:
                code.copy(part, target)
            else:
                code.accumulate(part, target)
        return result

    def _whole_varying(self, x: Any, n: int) -> Symbol:
        whole = self.code.buffer((n,), True)
        self.code.copy(x, whole)
        return whole

    def _gathered(self, array: Array, share: Symbol, index: Ints) -> tuple[Symbol, Ints]:
        """The share added up where positions repeat, and the positions, now all different."""
        code = self.code
        missing = index.ndim - len(share.dims)
        dims = (1,) * missing + share.dims
        strides = (0,) * missing + share.strides
        strides = tuple(0 if d == 1 else s for d, s in zip(dims, strides, strict=True))
        view = affine(index) if (index >= 0).all() else None
        over_samples = share.varies and not array.varies
        if view is not None:
            # Axes along which one entry was read again and again
            repeated = [axis for axis, (d, s) in enumerate(zip(index.shape, view[1], strict=True)) if d > 1 and s == 0]
            kept = index[tuple(0 if axis in repeated else slice(None) for axis in range(index.ndim))]
            if len(np.unique(kept)) == kept.size:
                share = share.view(index.shape, strides, share.offset)
                share = code.sum_axes(share, repeated, over_samples)
                if array.varies and not share.varies:
                    share = self._spread(share)
                return self._squeezed(share, kept)
        share = code.sum_axes(share.view(index.shape, strides, share.offset), [], over_samples)
        if array.varies and not share.varies:
            share = self._spread(share)
        flat = self._whole(share, index.shape).reshape(index.size)
        order = np.argsort(index, axis=None, kind="stable")
        order = order[(index < 0).sum() :]  # what was read from nowhere
        positions, starts = np.unique(index.ravel()[order], return_index=True)
        flat = code.take(flat, order)
        if len(positions) < len(order):
            flat = code.segments("add", flat, starts)
        return flat, positions

    def _spread(self, share: Symbol) -> Symbol:
        out = self.code.buffer(share.dims, True)
        self.code.copy(share, out)
        return out

    def _squeezed(self, share: Symbol, kept: Ints) -> tuple[Symbol, Ints]:
        return share.view(kept.shape, share.strides, share.offset) if share.dims != kept.shape else share, kept


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


def _has_rows(x: Symbol) -> bool:
    return len(x.dims) == 2 and (x.dims[0] == 1 or x.contiguous)
