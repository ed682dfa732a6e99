"""Symbols: arrays of a program that is being written. What is computed with them becomes lines (`lines`).

A symbol is a view into a buffer: dims, strides, offset. Where it varies, one axis is that of the
samples: its entry in `dims` is the rows of one sample (mostly 1), multiplied by the number of
samples when memory is made (`memory`). A stride of 0 is a broadcast.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import lru_cache
from math import prod
from typing import Any

import numpy as np
from numpy.lib.mixins import NDArrayOperatorsMixin

from microgradlike.matrix.indices import Dims, strides_of


@dataclass(eq=False, slots=True)
class Buffer:
    """Memory for `size` numbers, for each sample if it `varies`."""

    size: int
    varies: bool
    boolean: bool = False
    given: str = ""  # the argument of the program that it holds
    data: Any = None  # numbers that live outside the program: parameters, gradients, constants
    fill: float | None = None  # one and the same number everywhere
    place: Buffer | None = None  # in whose memory it lies
    stack: Buffer | None = None  # of which it is a part
    parts: tuple[Buffer, ...] = ()  # which lie in it, one behind the other


@dataclass(eq=False, slots=True)
class Symbol(NDArrayOperatorsMixin):
    """An array in the program: the view (offset, dims, strides) of a buffer.

    `samples` is the axis of the samples, or None. Elsewhere than in a matrix product it is the
    first; `dims` has 1 there, or, where several rows of each sample stand below each other, their number.
    """

    code: Any = field(repr=False)  # the `Code` that it is a part of
    buffer: Buffer
    dims: Dims
    strides: Dims
    offset: int
    samples: int | None = None

    @property
    def varies(self) -> bool:
        """Whether it differs from sample to sample."""
        return self.samples is not None

    @property
    def inner(self) -> Dims:
        """The dims without the axis of the samples."""
        return self.dims[1:] if self.varies else self.dims

    @property
    def whole(self) -> bool:
        """Whether the view is the whole buffer, in its order."""
        in_order = not self.samples and self.strides[self.varies :] == strides_of(self.inner)
        return in_order and prod(self.dims) == self.buffer.size

    @property
    def buffers(self) -> tuple[Buffer, ...]:
        """The buffer, or the parts of a stack that the view covers."""
        if not self.buffer.parts:
            return (self.buffer,)
        size = self.buffer.parts[0].size
        return self.buffer.parts[self.offset // size :][: prod(self.dims) // size]

    @property
    def has_rows(self) -> bool:
        """Whether the rows of all samples form one matrix."""
        return len(self.inner) == 2 and (self.inner[0] == 1 or self.whole)

    def view(self, inner: Dims, strides: Dims, offset: int = 0) -> Symbol:
        """Return another view of the same buffer; where it varies, inner and strides are those beside the samples."""
        if not self.varies:
            return Symbol(self.code, self.buffer, inner, strides, offset)
        return Symbol(self.code, self.buffer, _put_first(1, inner), _put_first(self.buffer.size, strides), offset, 0)

    def reshape(self, *inner: int) -> Symbol:
        """Return the same entries in other dims; the view must be whole."""
        assert self.whole
        return self.view(inner, strides_of(inner))

    def broadcast(self, inner: Dims) -> Symbol:
        """Return the same entries repeated, as NumPy broadcasts them for each sample."""
        missing = (0,) * (len(inner) - len(self.inner))
        return self.view(inner, missing + self.strides[self.varies :], self.offset)

    def rows(self) -> Symbol:
        """Return the matrix whose rows are those of all samples: (samples · C, K) from inner dims (C, K)."""
        assert self.has_rows
        _, C, K = self.dims
        return replace(self, dims=(C, K), strides=(self.strides[0] // C, self.strides[2]))

    def grid(self, g: int) -> Symbol:
        """Return the g-th matrix; of an array that varies, its only row for all samples, as a matrix."""
        here = self.view(self.inner[1:], self.strides[self.varies + 1 :], self.offset + g * self.strides[self.varies])
        return here.rows() if self.varies else here

    @property
    def T(self) -> Symbol:
        """The last two axes exchanged."""
        *lead, i, j = range(len(self.dims))
        axes = (*lead, j, i)
        dims, strides = (tuple(x[axis] for axis in axes) for x in (self.dims, self.strides))
        samples = None if self.samples is None else axes.index(self.samples)
        return replace(self, dims=dims, strides=strides, samples=samples)

    def __array_ufunc__(self, function: Any, method: str, *args: Any, **settings: Any) -> Any:
        """Add what an operator or a function of NumPy does as a line."""
        if function is np.matmul:
            return self.code.matmul(*args)
        name = "abs" if function is np.abs else function.__name__
        if method != "__call__" or settings or getattr(np, name, None) is not function:
            raise TypeError(f"a program calls NumPy's functions of each entry, as they are: {name} is used otherwise")
        return self.code.call(name, *args)

    __hash__ = object.__hash__

    def __bool__(self) -> bool:
        raise TypeError("a Python `if` in the rule of an operation sees one number only: use xp.where, which sees all")

    def __float__(self) -> float:
        raise TypeError("float(x), math.exp(x) and their like take one number, and here x is an array")


@lru_cache(4096)
def _put_first(first: int, dims: Dims) -> Dims:
    """Return (first, *dims); cached, for a program holds many equal ones."""
    return first, *dims


def aligned(x: Any, inner: Dims) -> Any:
    """Return x with the axes between the samples and the rest that NumPy would put before the samples."""
    broadcasts = isinstance(x, Symbol) and x.varies and len(x.inner) < len(inner)
    return x.broadcast(inner) if broadcasts else x


def key_of(x: Any) -> Any:
    """Return what is equal for arguments that are the same: views, arrays, numbers (0 is not −0)."""
    if isinstance(x, Symbol):
        return (x.buffer, x.dims, x.strides, x.offset, x.samples)
    return (x.dtype.str, x.shape, x.tobytes()) if isinstance(x, np.ndarray) else repr(x)
