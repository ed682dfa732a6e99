"""Memory: where the buffers of a program lie, and what its lines name, for one number of samples."""

from __future__ import annotations

from math import isfinite
from numbers import Real
from types import FunctionType
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from microgradlike.matrix.guards import Guard
from microgradlike.matrix.lines import Code
from microgradlike.matrix.symbols import Buffer, Symbol

CACHE_LINE = 64  # bytes of a cache line: a register of AVX-512
NARROW = {*range(2, 17)}  # with float32, BLAS is faster row by row, but reductions of rows as short as this are slow
COLUMNS = 64  # from so many samples on, they lie side by side, one row an entry: BLAS and NumPy like long rows


def cache_aligned(size: int, dtype: Any, fill: float = 0.0) -> Any:
    """Return an array that begins at a cache line."""
    dtype = np.dtype(dtype)
    memory = np.full(size + CACHE_LINE // dtype.itemsize, fill, dtype)
    start = -memory.ctypes.data % CACHE_LINE // dtype.itemsize
    return memory[start : start + size]


class Emitted(NamedTuple):
    """What runs: the code, and the arrays that are looked at after a call."""

    code: Code
    outputs: Symbol
    seed: Symbol
    checks: list[tuple[Guard, Symbol]]
    products: list[Symbol | None]  # for each argument one that reads the whole of it
    loose: list[tuple[Symbol, list[Symbol]]]
    factors: list[Symbol]  # of products that are taken in another order than recorded


def share_memory(code: Code) -> None:
    """Let buffers lie where others lay whose last use is over: what is used soon again stays in the cache."""
    last = {buffer: i for i, line in enumerate(code.lines) for buffer in (*line.writes, *line.reads)}
    last.update((x.buffer, len(code.lines)) for results in code.results.values() for x in results)
    free: dict[Any, list[Buffer]] = {}
    for i, line in enumerate(code.lines):
        for buffer in dict.fromkeys((*line.overwrites, *line.writes, *line.reads)):
            if buffer.given or buffer.data is not None or buffer.fill is not None or buffer.stack:
                continue
            places = free.setdefault((buffer.size, buffer.varies, buffer.boolean), [])
            buffer.place = buffer.place or (places.pop() if places else buffer)
            if last[buffer] == i:
                places.append(buffer.place)


class Frame:
    """Buffers, and the functions that use them, for one number of samples."""

    def __init__(self, emitted: Emitted, samples: int) -> None:
        self._code, self.samples = emitted.code, samples
        outputs = self._code.name(emitted.outputs, is_output=True)
        memory = _allocate(self._code, max(samples, 1))
        self._names = _names(self._code, memory, max(samples, 1))
        self.outputs = self._names[outputs]  # (m, n), or (n,) where they are the same for all samples
        self.losses, self._seed = memory[emitted.outputs.buffer], memory[emitted.seed.buffer]
        self.checks = [(guard, memory[symbol.buffer]) for guard, symbol in emitted.checks]
        self.products = [None if product is None else memory[product.buffer] for product in emitted.products]
        self.loose = [(memory[out.buffer], [memory[side.buffer] for side in sides]) for out, sides in emitted.loose]
        # Arguments are looked at themselves: where the whole of one is read, there is no copy of it
        self.factors = [int(x.buffer.given[1:]) if x.buffer.given else memory[x.buffer] for x in emitted.factors]
        self._scale = 1.0
        self.seed(0.0)

    def run(self, name: str, arrays: list[Any]) -> None:
        """Call the functions of this name with the arguments."""
        for function in self._code.compiled(name):
            FunctionType(function, self._names)(*arrays)

    def losses_of_samples(self) -> npt.NDArray[Any]:
        """Return one loss for each sample, where the loss varies or not."""
        return self.losses.copy() if len(self.losses) == self.samples else np.full(self.samples, self.losses[0])

    def outputs_of_samples(self) -> npt.NDArray[Any]:
        """Return the n outputs for each sample, (m, n), where they vary or not."""
        shape = max(self.samples, 1), self.outputs.shape[-1]
        return np.array(np.broadcast_to(self.outputs, shape)[: self.samples], order="C")

    def seed(self, scale: float) -> None:
        """Let the backward pass start from scale · ∂(mean loss)/∂(loss of one sample), which is scale / m."""
        if scale != self._scale:
            if not isinstance(scale, Real) or not isfinite(scale):
                raise ValueError(f"the learning rate must be a finite number, got {scale!r}")
            self._seed[...] = scale / max(len(self.losses), 1)
            self._scale = scale


def _allocate(code: Code, samples: int) -> dict[Buffer | None, Any]:
    """Return the numbers of all buffers."""
    memory: dict[Buffer | None, Any] = {}
    for buffer in code.buffers:
        place = memory.get(buffer.place)  # if the place is allocated by now
        if place is None and buffer.data is None and buffer.stack is None:
            size = buffer.size * (samples if buffer.varies else 1)
            place = cache_aligned(size, bool if buffer.boolean else code.dtype, buffer.fill or 0.0)
        memory[buffer] = place if buffer.data is None else buffer.data
    for buffer in code.buffers:
        memory.update(zip(buffer.parts, np.split(memory[buffer], len(buffer.parts))) if buffer.parts else ())
    return memory


def _names(code: Code, memory: dict[Buffer | None, Any], samples: int) -> dict[str, Any]:
    """Return all that the lines name: views of the buffers, constants, functions."""
    columns: set[int] = set()  # the sizes of arrays whose samples lie side by side
    if samples >= COLUMNS and not any(axis is not None and dims[axis] > 1 for _, dims, _, _, axis in code.views):
        reduced = {x.args[0].buffer.size for x in code.needed("slope") if x.function.endswith(".reduce")}
        columns = {x.size for x in code.buffers} if code.dtype == np.float64 else reduced & NARROW
    names: dict[str, Any] = dict(vars(np))
    if columns:
        names["dot"] = np.matmul  # dot wants its result row by row
    for name, x in code.constants.values():
        names[name] = x if isinstance(x, np.ndarray) else np.asarray(x, bool if isinstance(x, bool) else code.dtype)
    for (buffer, dims, strides, offset, axis), name in code.views.items():
        base = memory[buffer]
        shape = tuple(d * samples if a == axis else d for a, d in enumerate(dims))
        if buffer.size in columns and axis is not None and not buffer.given:  # an entry's samples are neighbours
            offset *= samples
            strides = tuple(1 if a == axis else s * samples for a, s in enumerate(strides))
        elif buffer.parts and axis is not None:  # the parts lie one behind the other
            offset *= samples
        steps = tuple(s * base.itemsize for s in strides)
        names[name] = np.ndarray(shape, base.dtype, base, offset * base.itemsize, steps)
    return names
