"""Emit: the lines of NumPy that compute the loss and its gradients from the arrays that were found.

Entry by entry, an operation's value and local derivatives are its rules in `ops.py`. A matrix
product z = W a has the vector–Jacobian products ∂C/∂W = δ aᵀ and ∂C/∂a = Wᵀ δ with δ = ∂C/∂z: BP4
and BP2 of the textbook. What an array's consumers send back is added up: the transpose of a
broadcast is a sum, that of a gather a scatter-add.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import prod
from typing import Any

import numpy as np

from microgradlike import ops, recording
from microgradlike.matrix.arrays import Apply, Array, Group, Reduce, Ref, Sum, dependents
from microgradlike.matrix.find import Found
from microgradlike.matrix.indices import Dims, Ints, affine, common_dims
from microgradlike.matrix.lines import Code
from microgradlike.matrix.memory import Emitted, share_memory
from microgradlike.matrix.stacks import stack
from microgradlike.matrix.symbols import Symbol
from microgradlike.value import Value

GRIDS = 64  # so many products at most stand one by one


def emit(
    found: Found, dtype: Any, numbers: Mapping[Array, Any], gradients: Mapping[Array, Any], stacked: bool = False
) -> Emitted:
    """Return the code of what was found: its functions "forward", "backward" and "slope", which computes no loss.

    `numbers` are those of the parameters, `gradients` where theirs are to be put: memory that the code shares.
    Where it is `stacked`, lines that do the same are joined, which pays for few samples.
    """
    emitter = Emitter([array for array in found.all_arrays if array.instruction is None], dtype)
    code, given = emitter.code, found.all_arrays[: len(found.batch)]
    for i, array in enumerate(given):
        emitter.value[array].buffer.given = f"x{i}"
    for array in found.arrays:
        if array.instruction is not None:
            emitter.forward(array)

    code.part = ("the losses",)
    outputs = emitter.gather(found, found.outputs)
    checks = []
    for guard in found.guards:  # true where the outcome is that of the recording
        code.part = ("whether ", guard)
        left, right = (emitter.entry(found, v) for v in (guard.left, guard.right))
        same: Symbol = code.call(guard.function, left, right)
        checks.append((guard, same if guard.outcome else ~same))
    seed, slopes = emitter.backward(found)
    for symbols, memory in ((emitter.value, numbers), (slopes, gradients)):
        for array, x in memory.items():
            symbols[array].buffer.data = x.reshape(-1)
    products = [emitter.products.get(array) for array in given]
    watched = [*(symbol for _, symbol in checks), *(p for p in products if p is not None)]
    factors = [*emitter.factors.values()]
    watched += factors
    watched += [symbol for product, sides in emitter.loose for symbol in (product, *sides)]
    slope = [*watched, *slopes.values()]
    code.finish(forward=[outputs, *watched], slope=slope, backward=[outputs, *slope])
    if stacked:
        stack(code)
    share_memory(code)
    code.name_all()
    return Emitted(code, outputs, seed, checks, products, emitter.loose, factors)


class Emitter:
    """Write the lines of arrays and their instructions."""

    def __init__(self, given: list[Array], dtype: Any) -> None:
        self.code = Code(dtype)
        self.xp = self.code.namespace()
        self.value = {array: self.code.new((array.size,), array.varies) for array in given}  # of each array, flat
        self.saved: dict[Array | Group, Any] = {}  # what the backward pass needs of the forward pass
        self.products: dict[Array, Symbol] = {}  # a matrix product that reads the whole of an array
        # Results with sides that they multiply by 0 though the loss does not: padded products, and those with holes
        self.loose: list[tuple[Symbol, list[Symbol]]] = []
        self.factors: dict[Array, Symbol] = {}  # what is multiplied in another order than recorded

    # ── Forward ────────────────────────────────────────────────────────────────────────────────

    def forward(self, array: Array) -> None:
        """Write the lines that compute an array."""
        code = self.code
        code.part = (array,)
        match array.instruction:
            case Apply(op, operands):
                dims = common_dims(array.size, [ref.index for ref in operands if ref.array is not None])
                x = [self.load(ref, dims) for ref in operands]
                y = code.unmasked(op.evaluate(self.xp, x))
                self.saved[array] = dims, (self.xp, y, x)
            case Reduce(op, operand, starts):
                dims = (array.size, 1) if starts is None else (array.size,)
                xp, x = code.stacked(starts), [self.read(operand, operand.index.shape, missing=-np.inf)]
                y = op.evaluate(xp, x)
                self.saved[array] = dims, (xp, y, x)
                if operand.missing.any():
                    self.loose.append((y, [y]))
                if starts is not None:
                    y = code.take(y, starts)
            case Sum(groups):
                dims = array.shape
                if not array.is_product:
                    sums = [ref for ref in array.refs if ref.array is not None and ref.index.ndim == 2]
                    dims = common_dims(array.size, [ref.index[:, 0] for ref in sums])
                self.saved[array] = dims, ()
                y = 0.0
                for group in sorted(groups, key=_waits):
                    read = [ref.array for ref in group.refs if ref.array is not None]
                    if array.reordered or any(other.reordered for other in read):
                        self.factors |= {other: self.value[other] for other in read if not other.reordered}
                    term = self._term(group, dims)
                    holes = group.is_product and (group.is_padded or (array.entries < 0).any())
                    if holes or any(ref.array is not None and (ref.array.entries < 0).all() for ref in group.refs):
                        self.loose.append((term, [x for x in self.saved[group][1:] if isinstance(x, Symbol)]))
                    y = y + term if group.sign > 0 else y - term
        self.value[array] = code.whole(y, dims, array.varies).reshape(array.size)

    def load(self, ref: Ref, dims: Dims) -> Any:
        """Return what a reference reads: a number, or an array."""
        return self.read(ref, dims) if ref.constant is None else ref.constant

    def read(self, ref: Ref, dims: Dims, missing: float = 0.0) -> Symbol:
        """Return what a reference reads, as an array."""
        index = ref.index.reshape(dims)
        return self.code.array(index) if ref.array is None else self.code.take(self.value[ref.array], index, missing)

    def _term(self, group: Group, dims: Dims) -> Any:
        """Return Σₖ left · right, in dims."""
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
        """Return right · leftᵀ, of dims (C, R), for each of the grids."""
        sides = []
        for ref in group.refs:
            side = self.read(ref, ref.index.shape if len(ref.index) > 1 else ref.index.shape[1:])
            if any(d > 1 and s == 0 for d, s in zip(side.dims, side.strides, strict=True)):
                side = self.code.whole(side, side.inner, side.varies)  # BLAS knows no strides of 0
            sides.append(side)
        left, right = sides
        self.saved[group] = left.inner, left, right
        out: Symbol
        if grids := _one_by_one(left, right):
            out = self.code.new((grids, 1, left.inner[1]), True)
            for g in range(grids):
                self.code.add("matmul", right.grid(g), left.grid(g).T, out=out.grid(g))
        else:
            out = right @ left.T
        for ref in group.refs:
            if ref.array is not None and len(np.unique(ref.index[ref.index >= 0])) == ref.array.size:
                self.products.setdefault(ref.array, out)
        return out

    def entry(self, found: Found, v: Value) -> Symbol:
        """Return the number of a node."""
        if v.op is ops.CONSTANT:
            return self.code.array(np.array(v.data))
        array, position = found.locate(v)
        return self.value[array].view((), (), position)

    def gather(self, found: Found, nodes: list[Value]) -> Symbol:
        """Return the numbers of these nodes, one after the other, in a buffer of their own."""
        places: dict[Array | None, list[int]] = {}
        for i, v in enumerate(nodes):
            places.setdefault(None if v.op is ops.CONSTANT else found.locate(v)[0], []).append(i)
        out = self.code.new((len(nodes),), any(array is not None and array.varies for array in places))
        for array, here in places.items():
            if len(here) == 1:  # arrays without an axis of length 1 are copied faster
                self.code.add("copyto", self.entry(found, nodes[here[0]]), out=out.view((), (), here[0]))
            elif array is None:
                self.code.put(self.code.array(np.array([nodes[i].data for i in here])), np.array(here), out, add=False)
            else:
                positions = np.array([found.locate(nodes[i])[1] for i in here])
                self.code.put(self.code.take(self.value[array], positions), np.array(here), out, add=False)
        return out

    # ── Backward ───────────────────────────────────────────────────────────────────────────────

    def backward(self, found: Found) -> tuple[Symbol, dict[Array, Symbol]]:
        """Write the lines that compute Σ seed · ∂loss/∂array over the samples, for the parameters that are trained.

        Returns the seed, a number of the caller's, and the gradients, flat and each in a buffer of its own.
        """
        code, in_branch = self.code, found.graph.in_branch  # the last node, the loss, is in no branch: nor is entry −1
        needed = dependents(found.arrays, found.trained)
        # What consumers sent back, to which positions
        self.received: dict[Array, list[tuple[Symbol, Ints]]] = {array: [] for array in needed}
        # Of arrays with entries that take part only where a choice takes them: in how many ways consumers took which
        conditional = (array for array in needed if array.instruction and in_branch[array.entries].any())
        self.taken: dict[Array, list[tuple[Any, Ints]]] = {array: [] for array in conditional}
        seed = code.new((), False, fill=1.0)
        if needed:
            loss, position = found.locate(found.loss)
            if loss in self.received:
                self.received[loss].append((seed, np.array([position])))
        gradients: dict[Array, Symbol] = {}
        for array in reversed(needed):
            self._about(array)
            upstream = self._collect(array, self.received.pop(array))
            taken = self._collect(array, self.taken.pop(array)) if array in self.taken else None
            if array in found.trained:
                gradient = code.whole(upstream, (array.size,), False)
                if gradient.buffer in {other.buffer for other in gradients.values()}:
                    gradient = code.copy(upstream, (array.size,), False)
                gradients[array] = gradient
            elif isinstance(upstream, Symbol):
                code.part = ("back through ", array)
                self._send_back(array, upstream, taken)
        return seed, gradients

    def _about(self, array: Array) -> None:
        """Say that the next lines are a part of the gradient of an array."""
        self.code.part = ("∂loss/∂", array.name)

    def _send_back(self, array: Array, upstream: Symbol, taken: Symbol | None) -> None:
        """Hand the operands of an instruction their share: upstream · local derivative.

        `upstream` is flat, or has no dims where it is one number for all entries. Where `taken` is 0, nothing is
        sent, not even 0 · inf = nan: the scalar engine has not recorded a branch that a choice left out.
        """
        dims, saved = self.saved[array]
        upstream, taken = (x.reshape(*dims) if x is not None and x.inner else x for x in (upstream, taken))  # type: ignore[assignment]
        match array.instruction:
            case Apply(recording.WHERE, [_, *branches]):
                _, _, (condition, _, _) = saved
                for ref, mask in zip(branches, (condition != 0, condition == 0), strict=True):
                    here = self.code.unmasked(mask) if taken is None else taken * self.code.unmasked(mask)
                    self._send(array, ref, dims, upstream, taken=here)
            case Apply(op, operands):
                for ref, local in zip(operands, op.differentiate(*saved), strict=True):
                    self._send(array, ref, dims, upstream, local, taken=taken)
            case Reduce(op, ref, starts):
                (local,) = op.differentiate(*saved)
                if starts is not None:
                    upstream, taken = (self.code.repeat(x, starts, ref.index.size) for x in (upstream, taken))
                self._send(array, ref, ref.index.shape, upstream, local, taken=taken)
            case Sum(groups):
                for group in groups:
                    self._send_back_group(array, group, upstream if group.sign > 0 else -upstream, taken)

    def _send_back_group(self, array: Array, group: Group, upstream: Symbol, taken: Symbol | None) -> None:
        """Hand to the a and b of Σₖ aₖ bₖ: upstream · bₖ and upstream · aₖ."""
        shape, left, *right = self.saved[group]
        if _worth_blas(group) and not group.is_square:
            self._send_back_product(array, group, upstream)
            return
        share, taken = (self.code.repeat(x, group.starts, group.left.index.size) for x in (upstream, taken))
        for ref, factors in zip(group.refs, [(2.0, left)] if group.is_square else [right, [left]]):
            self._send(array, ref, shape, share, *factors, taken=taken)

    def _send_back_product(self, array: Array, group: Group, upstream: Symbol) -> None:
        """Hand over ∂C/∂left = δᵀ right and ∂C/∂right = δ left, with δ = upstream of dims (C, R)."""
        _, left, right = self.saved[group]
        delta = self.code.whole(upstream, self.saved[array][0], array.varies).reshape(*right.inner[:-1], left.inner[-2])
        for ref in group.refs:
            if ref.array in self.received:
                self._about(ref.array)
                if grids := _one_by_one(left, right):
                    share = self.code.new(ref.index.shape, ref is group.right)
                    for g in range(grids):
                        a, b = (delta.grid(g), left) if ref is group.right else (delta.grid(g).T, right)
                        self.code.add("matmul", a, b.grid(g), out=share.grid(g))
                elif ref is group.right:
                    share = delta @ left
                elif right.varies and not left.varies and right.has_rows:
                    share = delta.rows().T @ right.rows()  # one product adds up the samples, too
                else:
                    share = delta.T @ right
                self._receive(ref, ref.index.shape, share)

    def _send(self, sender: Array, ref: Ref, dims: Dims, *factors: Any, taken: Symbol | None = None) -> None:
        """Hand the product of the factors to the entries that a reference reads, if they are asked for."""
        if ref.array in self.received:
            self._about(ref.array)
            share = prod(factors[1:], start=factors[0])
            if taken is not None:
                share = self.code.call("where", taken, share, 0.0)
            if sender.varies and not ref.array.varies and not share.varies:
                share = self.code.whole(share, share.inner, True)  # every sample sends the same
            self._receive(ref, dims, share, taken)

    def _receive(self, ref: Ref, dims: Dims, share: Symbol, taken: Symbol | None = None) -> None:
        """Record a share, and which entries a consumer took: by a choice, or else all."""
        assert ref.array is not None
        index = ref.index.reshape(dims)
        self.received[ref.array].append((share, index))
        if ref.array in self.taken:
            self.taken[ref.array].append((self.code.filled(1.0, dims, False) if taken is None else taken, index))

    # ── Adding up what the consumers send ──────────────────────────────────────────────────────

    def _collect(self, array: Array, received: list[tuple[Any, Ints]]) -> Any:
        """Return the sum of all that an array received: flat, or without dims where all entries are one number."""
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
        places = np.concatenate([positions.ravel() for _, positions in parts])
        tiled = isinstance(total, float) and np.array_equal(np.sort(places), np.arange(n))
        result = code.new((n,), array.varies) if tiled else code.copy(total, (n,), array.varies)
        for part, positions in parts:
            code.put(part, positions, result, add=not tiled)
        return result

    def _gathered(self, array: Array, share: Symbol, index: Ints) -> tuple[Symbol, Ints]:
        """Return the share added up where positions repeat (and over samples), and the positions, all different."""
        code = self.code
        share = share.broadcast(index.shape)
        samples = [0] if share.varies and not array.varies else []
        if (index >= 0).all() and (steps := affine(index)):
            # Axes along which one entry was read again and again
            repeated = [axis for axis, (d, s) in enumerate(zip(index.shape, steps[0], strict=True)) if d > 1 and s == 0]
            once = index[tuple(0 if axis in repeated else slice(None) for axis in range(index.ndim))]
            if len(np.unique(once)) == once.size:
                return code.sum_over(share, samples + [axis + share.varies for axis in repeated]), once
        share = code.sum_over(share, samples)
        share = code.whole(share, share.inner, share.varies).reshape(index.size)
        order = np.argsort(index, axis=None, kind="stable")[(index < 0).sum() :]  # without what was read from nowhere
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
        emitter = Emitter([ref.array for ref in array.refs if ref.array is not None], dtype)
        emitter.forward(array)
        op.differentiate(*emitter.saved[array][1])


def _waits(group: Group) -> bool:
    """Return whether a term is added last: others may be computed for all steps of a recurrence at once."""
    return group.sign < 0 or any(ref.array is not None and ref.array.refs for ref in group.refs)


def _one_by_one(left: Symbol, right: Symbol) -> int:
    """Return in how many products, each for all samples, BLAS is faster than in one for each of them; 0 for one."""
    grids = left.inner[0] if len(left.inner) == 3 and right.inner[1] == 1 and right.varies and not left.varies else 0
    return grids if grids <= GRIDS else 0


def _worth_blas(group: Group) -> bool:
    """Return whether BLAS pays: not for per-sample dot products, nor for batches that share no row."""
    if not group.is_product or group.right is None:
        return False
    (G, R, _), (_, C, _) = group.left.index.shape, group.right.index.shape
    both_vary = all(ref.array is not None and ref.array.varies for ref in (group.left, group.right))
    return max(R, C) > 1 or (G == 1 and not both_vary)
