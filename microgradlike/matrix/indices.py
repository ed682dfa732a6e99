"""Arrays of positions, and the rules they follow: equal steps along each axis."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import pairwise
from math import prod

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]
Dims = tuple[int, ...]


@lru_cache(4096)
def strides_of(dims: Dims) -> Dims:
    """Return the strides of a whole array of these dims, in its order."""
    return tuple(prod(dims[axis + 1 :]) if d > 1 else 0 for axis, d in enumerate(dims))


def affine(index: Ints) -> tuple[Dims, int] | None:
    """Return (strides, offset) where index[i, j, …] = offset + strides · (i, j, …), else None."""
    offset = int(index.flat[0])
    strides = tuple(int(index.flat[step]) - offset for step in strides_of(index.shape))
    equal = ((np.diff(index, axis=axis) == s).all() for axis, s in enumerate(strides) if index.shape[axis] > 1)
    return (strides, offset) if all(equal) else None


def common_dims(n: int, indices: list[Ints]) -> Dims:
    """Return dims of n entries in which as many of the flat index arrays as possible have equal steps."""
    blocks = [1, n]
    for index in indices:
        union = sorted({*blocks, *_blocks(index)})
        if len(union) <= 5 and all(b % a == 0 for a, b in pairwise(union)):
            blocks = union
    return tuple(b // a for a, b in pairwise(blocks))[::-1] or (1,)


def _blocks(index: Ints) -> Iterator[int]:
    """Yield the lengths after which the steps of a flat index array change, if they do so regularly."""
    size = 1
    while len(index) > 1:
        steps = np.diff(index)
        length = int(np.argmax(steps != steps[0])) + 1
        if length == 1 or len(index) % length:
            return
        rows = index.reshape(-1, length)
        if (np.diff(rows) != steps[0]).any():
            return
        size *= length
        yield size
        index = rows[:, 0]


def shorten(texts: Sequence[str], most: int, separator: str = ", ") -> str:
    """Return the texts in one, the first ones where there are many."""
    return separator.join([*texts[:most], *["…"] * (len(texts) > most)])


def segments(flat: Ints, starts: Ints, missing: float = -1) -> Ints:
    """Return the segments of a last axis, which begin at `starts`, as rows; short ones end in `missing`."""
    counts = np.diff(starts, append=flat.shape[-1])
    here = np.arange(counts.max()) < counts[:, None]
    rows = np.full((*flat.shape[:-1], *here.shape), missing, flat.dtype)
    rows[..., here] = flat
    return rows


def ranges(starts: Ints, counts: Ints) -> Ints:
    """Return start, start + 1, … for each start, as many as its count."""
    return np.repeat(starts + counts - np.cumsum(counts), counts) + np.arange(counts.sum())
