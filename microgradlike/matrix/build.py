"""Forward and backward: the lines that compute the loss and its gradients.

Entry by entry, an operation's value and local derivatives are its rules in `ops.py`. A matrix
product z = W a has the vector–Jacobian products ∂C/∂W = δ aᵀ and ∂C/∂a = Wᵀ δ with δ = ∂C/∂z: BP4
and BP2 of the textbook. What an array's consumers send back is added up: the transpose of a
broadcast is a sum, that of a gather a scatter-add.
"""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np

from microgradlike import recording
from microgradlike.matrix.canonical import Ints
from microgradlike.matrix.code import Code, Dims, Symbol, affine
from microgradlike.matrix.match import Apply, Array, Group, Reduce, Ref, Sum, common_dims, dependents
from microgradlike.primitive import flat


class Builder:
    """Writes the code of arrays and their instructions."""

    def __init__(self, arrays: list[Array], dtype: Any) -> None:
        self.code = Code(dtype)
        self.xp = self.code.namespace()
        self.value: dict[Array, Symbol] = {}  # each flat
        self.saved: dict[Array | Group, Any] = {}  # what the backward pass needs of the forward pass
        self.received: dict[Array, list[tuple[Symbol, Ints]]] = {}  # what consumers sent back, to which positions
        self.conditional: set[Array] = set()  # with entries that take part only where a choice takes them
        self.taken: dict[Array, list[tuple[Any, Ints]]] = {}  # for those: in how many ways consumers took which entries
        self.products: dict[Array, Symbol] = {}  # a matrix product that reads the whole of an array
        # Results with sides that they multiply by 0 though the loss does not: padded products, and those with holes
        self.loose: list[tuple[Symbol, list[Symbol]]] = []
        for array in arrays:
            if array.kind != "computed":
                self.value[array] = self.code.new((array.size,), array.varies)

    # ── Forward ────────────────────────────────────────────────────────────────────────────────

    def forward(self, array: Array) -> None:
        """Write the lines that compute an array."""
        code = self.code
        y: Any
        match array.instruction:
            case Apply(op, operands):
                dims = common_dims(array.size, [ref.index for ref in operands if ref.constant is None])
                x = op.grouped([self.load(ref, dims) for ref in operands])
                y = code.number(op.value(self.xp, *x))
                self.saved[array] = dims, (self.xp, y, *x)
            case Reduce(op, operand, starts):
                dims = (array.size, 1) if starts is None else (array.size,)
                xp, x = code.stacked(starts), (self.read(operand, operand.index.shape, missing=-np.inf),)
                y = op.value(xp, x)
                self.saved[array] = dims, (xp, y, x)
                if (operand.index < 0).any():
                    self.loose.append((y, [y]))
                if starts is not None:
                    y = code.take(y, starts)
            case Sum(groups):
                dims = array.shape
                if not any(group.is_product for group in groups):
                    read = [ref for ref in array.refs if ref.constant is None and ref.index.ndim == 2]
                    dims = common_dims(array.size, [ref.index[:, 0] for ref in read])
                self.saved[array] = dims, ()
                y = 0.0
                for group in groups:
                    term = self._term(group, dims)
                    if group.is_product and (group.is_padded or (array.entries < 0).any()):
                        self.loose.append((term, [x for x in self.saved[group][1:] if isinstance(x, Symbol)]))
                    y = y + term if group.sign > 0 else y - term
        self.value[array] = code.whole(y, dims, array.varies).reshape(array.size)

    def load(self, ref: Ref, dims: Dims) -> Any:
        """What a reference reads: a number, or an array."""
        return self.read(ref, dims) if ref.constant is None else ref.constant

    def read(self, ref: Ref, dims: Dims, missing: float = 0.0) -> Symbol:
        """What a reference reads, as an array."""
        index = ref.index.reshape(dims)
        return self.code.array(index) if ref.array is None else self.code.take(self.value[ref.array], index, missing)

    def _term(self, group: Group, dims: Dims) -> Any:
        """Σₖ left · right, in dims."""
        code, K = self.code, group.left.index.shape[-1]
        if _worth_blas(group):
            return self._product(group).reshape(*dims)
        shape = (*dims, K) if group.starts is None else group.left.index.shape
        left, *right = (self.load(ref, shape) for ref in group.refs)
        self.saved[group] = shape, left, *right
        terms = left * right[0] if right else left
        if group.starts is None:
            return code.reduce("add", terms) if isinstance(terms, Symbol) else terms * K
        terms = terms if isinstance(terms, Symbol) else code.filled(terms, shape, False)
        return code.reduce("add", terms, group.starts).reshape(*dims)

    def _product(self, group: Group) -> Symbol:
        """right · leftᵀ, of dims (C, R), for each of the grids."""
        assert group.right is not None
        sides = []
        for ref in (group.left, group.right):
            side = self.read(ref, ref.index.shape if len(ref.index) > 1 else ref.index.shape[1:])
            if any(d > 1 and s == 0 for d, s in zip(side.dims, side.strides, strict=True)):
                side = self.code.whole(side, side.inner, side.varies)  # BLAS knows no strides of 0
            sides.append(side)
        left, right = sides
        self.saved[group] = left.inner, left, right
        out: Symbol = right @ left.T
        for ref in (group.left, group.right):
            if ref.array is not None and len(np.unique(ref.index[ref.index >= 0])) == ref.array.size:
                self.products.setdefault(ref.array, out)
        return out

    # ── Backward ───────────────────────────────────────────────────────────────────────────────

    def backward(
        self, arrays: list[Array], loss: Array, position: int, differentiated: set[Array]
    ) -> tuple[Symbol, dict[Array, Symbol]]:
        """Write the lines that compute Σ seed · ∂loss/∂array over the samples, for the parameters `differentiated`.

        Returns the seed, a number of the caller's, and the gradients, flat and each in a buffer of its own.
        """
        code = self.code
        needed = dependents(arrays, differentiated)
        self.received = {array: [] for array in needed}
        self.taken = {array: [] for array in needed if array in self.conditional}
        seed = code.new((), False, fill=1.0)
        if loss in self.received:
            self.received[loss].append((seed, np.array([position])))
        gradients: dict[Array, Symbol] = {}
        for array in reversed(needed):
            upstream = self._collect(array, self.received.pop(array))
            taken = self._collect(array, self.taken.pop(array)) if array in self.taken else None
            if array in differentiated:
                gradient = code.whole(upstream, (array.size,), False)
                if gradient.buffer in {other.buffer for other in gradients.values()}:
                    gradient = code.new((array.size,), False)
                    code.copy(upstream, gradient)
                gradients[array] = gradient
            elif isinstance(upstream, Symbol):
                self._send_back(array, upstream, taken)
        return seed, gradients

    def _send_back(self, array: Array, upstream: Symbol, taken: Symbol | None) -> None:
        """Give the operands of an instruction their share: upstream · local derivative.

        `upstream` is flat, or has no dims where it is one number for all entries. Where `taken` is 0, nothing is
        sent, not even 0 · inf = nan: the scalar engine has not recorded a branch that a choice left out.
        """
        dims, saved = self.saved[array]
        upstream, taken = (x.reshape(*dims) if x is not None and x.inner else x for x in (upstream, taken))  # type: ignore[assignment]
        match array.instruction:
            case Apply(recording.WHERE, [_, *branches]):
                _, _, condition, _, _ = saved
                for ref, mask in zip(branches, (condition != 0, condition == 0), strict=True):
                    here = self.code.number(mask) if taken is None else taken * self.code.number(mask)
                    self._send(array, ref, dims, upstream, taken=here)
            case Apply(op, operands):
                for ref, local in zip(operands, flat(op.local_grads(*saved)), strict=True):
                    self._send(array, ref, dims, upstream, local, taken=taken)
            case Reduce(op, ref, starts):
                ((local,),) = op.local_grads(*saved)
                if starts is not None:
                    upstream = self.code.repeat(upstream, starts, ref.index.size)
                    taken = None if taken is None else self.code.repeat(taken, starts, ref.index.size)
                self._send(array, ref, ref.index.shape, upstream, local, taken=taken)
            case Sum(groups):
                for group in groups:
                    self._send_back_group(array, group, upstream if group.sign > 0 else -upstream, taken)

    def _send_back_group(self, array: Array, group: Group, upstream: Symbol, taken: Symbol | None) -> None:
        """To the a and b of Σₖ aₖ bₖ: upstream · bₖ and upstream · aₖ."""
        shape, left, *right = self.saved[group]
        if _worth_blas(group) and not group.is_square:
            self._send_back_product(array, group, upstream)
            return
        share = self.code.repeat(upstream, group.starts, group.left.index.size)
        if taken is not None:
            taken = self.code.repeat(taken, group.starts, group.left.index.size)
        if group.right is None:
            self._send(array, group.left, shape, share, taken=taken)
        elif group.is_square:
            self._send(array, group.left, shape, share, 2.0, left, taken=taken)
        else:
            self._send(array, group.left, shape, share, *right, taken=taken)
            self._send(array, group.right, shape, share, left, taken=taken)

    def _send_back_product(self, array: Array, group: Group, upstream: Symbol) -> None:
        """∂C/∂left = δᵀ right and ∂C/∂right = δ left, with δ = upstream of dims (C, R)."""
        assert group.right is not None
        _, left, right = self.saved[group]
        delta = self.code.whole(upstream, self.saved[array][0], array.varies).reshape(*right.inner[:-1], left.inner[-2])
        if group.left.array in self.received:
            once = right.varies and not left.varies and right.has_rows  # one product adds up the samples, too
            share = delta.rows().T @ right.rows() if once else delta.T @ right
            self.received[group.left.array].append((share, group.left.index))
            self._take(group.left, group.left.index.shape)
        if group.right.array in self.received:
            self.received[group.right.array].append((delta @ left, group.right.index))
            self._take(group.right, group.right.index.shape)

    def _send(self, sender: Array, ref: Ref, dims: Dims, *factors: Any, taken: Symbol | None = None) -> None:
        """Send the product of the factors to the entries that a reference reads, if they are asked for."""
        if ref.array in self.received:
            share = prod(factors[1:], start=factors[0])
            if taken is not None:
                share = self.code.call("where", taken, share, 0.0)
            if sender.varies and not ref.array.varies and not share.varies:
                share = self.code.whole(share, share.inner, True)  # every sample sends the same
            self.received[ref.array].append((share, ref.index.reshape(dims)))
            self._take(ref, dims, taken)

    def _take(self, ref: Ref, dims: Dims, taken: Symbol | None = None) -> None:
        """Note which entries a consumer took: by a choice, or else all."""
        if ref.array in self.taken:
            taken = self.code.filled(1.0, dims, False) if taken is None else taken
            self.taken[ref.array].append((taken, ref.index.reshape(dims)))

    # ── Adding up what the consumers send ──────────────────────────────────────────────────────

    def _collect(self, array: Array, received: list[tuple[Any, Ints]]) -> Any:
        """The sum of all that an array received: flat, or without dims where it is one number for all entries."""
        code, n = self.code, array.size
        total: Any = 0.0
        parts: list[tuple[Symbol, Ints]] = []
        for share, index in received:
            part, positions = self._gathered(array, share, index)
            if not np.array_equal(positions.ravel(), np.arange(n)):
                parts.append((part, positions))
            elif any(part.strides[part.varies :]):
                total = total + code.whole(part, part.inner, part.varies).reshape(n)
            else:
                total = total + part.view((), (), part.offset)
        if not parts:
            return total
        result = code.new((n,), array.varies)
        places = np.concatenate([positions.ravel() for _, positions in parts])
        tiled = isinstance(total, float) and np.array_equal(np.sort(places), np.arange(n))
        if not tiled:
            code.copy(total, result)
        for part, positions in parts:
            code.put(part, positions, result, add=not tiled)
        return result

    def _gathered(self, array: Array, share: Symbol, index: Ints) -> tuple[Symbol, Ints]:
        """The share added up where positions repeat (and over the samples), and the positions, now all different."""
        code = self.code
        share = share.broadcast(index.shape)
        samples = [0] if share.varies and not array.varies else []
        steps = affine(index) if (index >= 0).all() else None
        if steps is not None:
            # Axes along which one entry was read again and again
            repeated = [axis for axis, (d, s) in enumerate(zip(index.shape, steps[0], strict=True)) if d > 1 and s == 0]
            once = index[tuple(0 if axis in repeated else slice(None) for axis in range(index.ndim))]
            if len(np.unique(once)) == once.size:
                return code.sum_over(share, samples + [axis + share.varies for axis in repeated]), once
        share = code.sum_over(share, samples)
        share = code.whole(share, share.inner, share.varies).reshape(index.size)
        order = np.argsort(index, axis=None, kind="stable")
        order = order[(index < 0).sum() :]  # what was read from nowhere
        positions, starts = np.unique(index.ravel()[order], return_index=True)
        share = code.take(share, order)
        return (code.reduce("add", share, starts) if len(starts) < len(order) else share), positions


def try_rules(arrays: list[Array], dtype: Any) -> None:
    """Run the rules of every operation once, so that what they raise is raised when the program is made."""
    first: dict[Any, Array] = {}
    for array in arrays:
        if isinstance(array.instruction, Apply | Reduce):
            first.setdefault(array.instruction.op, array)
    for op, array in first.items():
        read = [ref.array for ref in array.refs if ref.array is not None]
        build = Builder([], dtype)
        build.value = {a: build.code.new((a.size,), a.varies) for a in read}
        build.forward(array)
        op.local_grads(*build.saved[array][1])


def _worth_blas(group: Group) -> bool:
    """Whether a product is worth BLAS: no dot product of what varies, nor several without a row in common."""
    if not group.is_product or group.right is None:
        return False
    (G, R, _), (_, C, _) = group.left.index.shape, group.right.index.shape
    both_vary = all(ref.array is not None and ref.array.varies for ref in (group.left, group.right))
    return max(R, C) > 1 or (G == 1 and not both_vary)
