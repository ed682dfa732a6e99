"""Interpret: what the instructions mean, in any array library.

A pure function of the parameters and the batch, which writes in place nowhere: the definition that the lines
of `emit` are tested against, and what an array library that differentiates functions needs.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import inf
from typing import Any

import numpy as np

from microgradlike.ieee import Namespace
from microgradlike.matrix.arrays import Apply, Array, Reduce, Ref, Sum
from microgradlike.matrix.find import Found
from microgradlike.matrix.indices import Ints, segments


def interpret(found: Found, xp: Any, parameters: Sequence[Any], *batch: Any) -> Any:
    """Return the loss of each of m samples, (m,), computed by the array library `xp`: numpy, jax.numpy.

    `parameters` are arrays in the order of the program's; arguments have the samples on their first axis.
    """
    m = len(batch[0]) if batch else 1
    flat = {array: xp.reshape(x, (m, array.size)) for array, x in zip(found.all_arrays, batch)}
    flat |= {array: xp.reshape(x, (1, array.size)) for array, x in zip(found.trained, parameters, strict=True)}
    flat |= {array: xp.asarray([[v.data for v in found.nodes(array)]]) for array in found.fixed}
    for array in found.arrays:
        if array.instruction is not None:
            flat[array] = xp.broadcast_to(_compute(array, xp, flat), (m if array.varies else 1, array.size))
    loss, position = found.locate(found.loss)
    return xp.broadcast_to(flat[loss][:, position], (m,))


def _compute(array: Array, xp: Any, flat: dict[Array, Any]) -> Any:
    """Return the entries of an array, flat, with the samples on an axis before them."""

    def read(ref: Ref, starts: Ints | None = None, missing: float = 0.0) -> Any:
        """Return what is read, of segments as rows; `missing` where nothing is."""
        index = ref.index if starts is None else segments(ref.index, starts, missing if ref.array is None else -1)
        if ref.array is None:
            return xp.asarray(index, float)[None]
        return xp.where(index < 0, missing, flat[ref.array][:, np.maximum(index, 0)])

    rules: Any = Namespace.of(xp)
    total: Any = 0.0
    match array.instruction:
        case Apply(op, refs):
            return 1.0 * op.evaluate(rules, [read(ref) for ref in refs])  # 1.0 where it is true
        case Reduce(op, operand, starts):  # the rule of a vector, whose only element holds all of it along an axis
            rules.sum = lambda x: xp.sum(x[0], axis=-1, keepdims=True)
            rules.max = lambda x: xp.max(x[0], axis=-1, keepdims=True)
            return op.evaluate(rules, [read(operand, starts, missing=-inf)])[..., 0]
        case Sum(groups):
            for group in groups:
                left, *right = (read(ref, group.starts) for ref in group.refs)
                if group.is_product:
                    product = xp.matmul(*right, xp.swapaxes(left, -1, -2))  # (m, G, C, R)
                    total = total + group.sign * xp.reshape(product, (-1, array.size))
                else:
                    total = total + group.sign * xp.sum(left * right[0] if right else left, axis=-1)
    return total
