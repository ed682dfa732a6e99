"""Interpret: what the instructions mean, in any array library.

A pure function of the parameters and the batch, which writes in place nowhere: the definition that the lines
of `emit` are tested against, and what an array library that differentiates functions needs.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import inf
from typing import Any

import numpy as np

from microgradlike import ops
from microgradlike.ieee import Namespace
from microgradlike.matrix.arrays import Apply, Array, Reduce, Ref, Sum
from microgradlike.matrix.find import Found
from microgradlike.matrix.indices import Ints, segments
from microgradlike.primitive import Operation


class Interpreter:
    """Runs what was found with an array library `xp`: numpy, jax.numpy; `evaluate` and `take` are what a library may do otherwise."""

    def __init__(self, found: Found, xp: Any) -> None:
        self.found, self.xp = found, xp

    def losses(self, parameters: Sequence[Any], *batch: Any) -> Any:
        """Return the loss of each of m samples, (m,).

        `parameters` are arrays in the order of the program's; arguments have the samples on their first axis.
        """
        flat = self.arrays(parameters, *batch)
        return self.entry(flat, self.found.locate(self.found.loss), len(batch[0]) if batch else 1)

    def arrays(self, parameters: Sequence[Any], *batch: Any) -> dict[Array, Any]:
        """Return the entries of every array, flat, with the samples on an axis before them."""
        found, xp = self.found, self.xp
        m = len(batch[0]) if batch else 1
        flat = {array: xp.reshape(x, (m, array.size)) for array, x in zip(found.all_arrays, batch)}
        flat |= {array: xp.reshape(x, (1, array.size)) for array, x in zip(found.trained, parameters, strict=True)}
        flat |= {array: xp.asarray([[v.data for v in found.nodes(array)]], float) for array in found.fixed}
        for array in found.arrays:
            if array.instruction is not None:
                computed = self._compute(array, flat)
                flat[array] = xp.broadcast_to(computed, (m if array.varies else 1, array.size))
        return flat

    def entry(self, flat: dict[Array, Any], place: tuple[Array, int], m: int) -> Any:
        """Return one entry for each of m samples, (m,)."""
        array, position = place
        return self.xp.broadcast_to(flat[array][:, position], (m,))

    def evaluate(self, op: Operation, xp: Namespace, x: list[Any], array: Array) -> Any:
        """Return y = op(x), entry by entry, for a part of what computes `array`."""
        return op.evaluate(xp, x)

    def take(self, flat: Any, index: Ints) -> Any:
        """Return the entries at these positions, for each sample."""
        return flat[:, index]

    def _read(self, ref: Ref, flat: dict[Array, Any], starts: Ints | None = None, missing: float = 0.0) -> Any:
        """Return what is read, of segments as rows; `missing` where nothing is."""
        index = ref.index if starts is None else segments(ref.index, starts, missing if ref.array is None else -1)
        if ref.array is None:
            return self.xp.asarray(index, float)[None]
        taken = self.take(flat[ref.array], np.maximum(index, 0))
        return self.xp.where(index < 0, missing, taken) if (index < 0).any() else taken

    def _compute(self, array: Array, flat: dict[Array, Any]) -> Any:
        """Return the entries of an array, flat, with the samples on an axis before them."""
        xp, rules = self.xp, Namespace.of(self.xp)
        total: Any = 0.0
        match array.instruction:
            case Apply(op, refs):
                y = self.evaluate(op, rules, [self._read(ref, flat) for ref in refs], array)
                return 1.0 * y  # 1.0 where it is true
            case Reduce(op, ref, starts):  # the rule of a vector, whose only element holds all of it along an axis
                vars(rules)["sum"] = lambda x: xp.sum(x[0], axis=-1, keepdims=True)
                vars(rules)["max"] = lambda x: xp.max(x[0], axis=-1, keepdims=True)
                return self.evaluate(op, rules, [self._read(ref, flat, starts, missing=-inf)], array)[..., 0]
            case Sum(groups):
                for group in groups:
                    left, *right = (self._read(ref, flat, group.starts) for ref in group.refs)
                    if group.is_product:
                        product = xp.matmul(*right, xp.swapaxes(left, -1, -2))  # (m, G, C, R)
                        total = total + group.sign * xp.reshape(product, (-1, array.size))
                    else:
                        terms = self.evaluate(ops.MUL, rules, [left, *right], array) if right else left
                        total = total + group.sign * xp.sum(terms, axis=-1)
        return total
