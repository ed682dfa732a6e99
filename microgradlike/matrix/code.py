"""Step 4a, write: the array program as straight-line NumPy, every result into a buffer of its own.

A `Symbol` stands for an array. The rules of `ops.py` run on symbols once, when the program is
made, and each NumPy call they would make is written down as a line `multiply(a1, a2, a3)`.
A line that was written before is not written again: what a rule needs for its local derivative
and has computed for its value (exp(−|x|) of a sigmoid, say) is shared by itself.

A symbol is a view into a buffer. In one that varies from sample to sample, one axis has the
samples: its `dims` count the entries for one sample, and it is as many times longer as there are
samples. A stride of 0 is a broadcast.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from math import prod
from types import CodeType, SimpleNamespace
from typing import Any

import numpy as np

from microgradlike import ops
from microgradlike.ieee import ieee
from microgradlike.matrix.canonical import Ints

Dims = tuple[int, ...]
COLUMNS = 64  # from so many samples on, they lie side by side, one row an entry: BLAS and NumPy like long rows


def _operator(function: str) -> Any:
    return lambda self, *other: self.code.call(function, self, *other)


def _reflected(function: str) -> Any:
    return lambda self, other: self.code.call(function, other, self)


@dataclass(eq=False, slots=True)
class Symbol:
    """An array in the program: the view (offset, dims, strides) of a buffer.

    `samples` is the axis of the samples, or None. Elsewhere than in a matrix product it is the
    first; `dims` has 1 there, or, where several rows of each sample stand below each other, their number.
    """

    code: Code
    buffer: int
    dims: Dims
    strides: Dims
    offset: int = 0
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
    def key(self) -> tuple[Any, ...]:
        """Equal for equal views."""
        return (self.buffer, self.dims, self.strides, self.offset, self.samples)

    @property
    def whole(self) -> bool:
        """Whether the view is the whole buffer, in its order."""
        size = self.code.buffers[self.buffer].size
        return (self.samples or 0, self.strides[self.varies :]) == (0, strides_of(self.inner)) and prod(
            self.dims
        ) == size

    def view(self, inner: Dims, strides: Dims, offset: int = 0) -> Symbol:
        """Another view of the same buffer; for one that varies, inner and strides are those beside the samples."""
        if not self.varies:
            return Symbol(self.code, self.buffer, inner, strides, offset)
        size = self.code.buffers[self.buffer].size
        return Symbol(self.code, self.buffer, (1, *inner), (size, *strides), offset, 0)

    def reshape(self, *inner: int) -> Symbol:
        """The same entries in other dims; the view must be whole."""
        assert self.whole
        return self.view(inner, strides_of(inner))

    def rows(self) -> Symbol:
        """The matrix whose rows are those of all samples: (samples · C, K) from inner dims (C, K)."""
        _, C, K = self.dims
        assert C == 1 or self.whole
        return Symbol(self.code, self.buffer, (C, K), (self.strides[0] // C, self.strides[2]), self.offset, 0)

    @property
    def T(self) -> Symbol:
        """The last two axes exchanged."""

        def turned(axes: Any) -> Any:
            return (*axes[:-2], axes[-1], axes[-2])

        samples = turned(range(len(self.dims))).index(self.samples) if self.varies else None
        return Symbol(self.code, self.buffer, turned(self.dims), turned(self.strides), self.offset, samples)

    __add__, __radd__ = _operator("add"), _reflected("add")
    __sub__, __rsub__ = _operator("subtract"), _reflected("subtract")
    __mul__, __rmul__ = _operator("multiply"), _reflected("multiply")
    __truediv__, __rtruediv__ = _operator("divide"), _reflected("divide")
    __pow__, __rpow__ = _operator("power"), _reflected("power")
    __and__, __rand__ = _operator("logical_and"), _reflected("logical_and")
    __or__, __ror__ = _operator("logical_or"), _reflected("logical_or")
    __lt__, __le__, __gt__, __ge__ = map(_operator, ("less", "less_equal", "greater", "greater_equal"))
    __eq__, __ne__ = map(_operator, ("equal", "not_equal"))
    __neg__, __abs__, __invert__ = map(_operator, ("negative", "abs", "logical_not"))
    __hash__ = object.__hash__

    def __bool__(self) -> bool:
        raise TypeError("a Python `if` in the rule of an operation sees one number only: use xp.where, which sees all")


@dataclass(slots=True)
class Buffer:
    """Memory for `size` numbers, for each sample if it `varies`."""

    size: int
    varies: bool
    boolean: bool = False
    given: str = ""  # the argument of the program that it holds
    data: Any = None  # numbers that live outside the program: parameters, gradients, constants
    fill: float | None = None  # one and the same number everywhere
    place: int | None = None  # the buffer in whose memory it lies


@dataclass(slots=True)
class Line:
    """One call: the buffer it writes, those it reads, and its text."""

    writes: int
    reads: tuple[int, ...]
    text: str


COMPARISONS = {"less", "less_equal", "greater", "greater_equal", "equal", "not_equal",
               "logical_and", "logical_or", "logical_not"}  # fmt: skip


@dataclass
class Code:
    """The lines of a program, and the buffers they write to."""

    dtype: Any
    buffers: list[Buffer] = field(default_factory=list)
    lines: list[Line] = field(default_factory=list)
    views: dict[tuple[Any, ...], str] = field(default_factory=dict)  # view → its name in the lines
    constants: dict[Any, tuple[str, Any]] = field(default_factory=dict)  # numbers and index arrays, with their names
    known: dict[tuple[Any, ...], Symbol] = field(default_factory=dict)  # call → its result
    made_by: dict[int, tuple[Any, ...]] = field(default_factory=dict)  # buffer → (function, *args)
    functions: set[str] = field(default_factory=set)  # of NumPy

    # ── Writing ────────────────────────────────────────────────────────────────────────────────

    def new(self, inner: Dims, varies: bool, **properties: Any) -> Symbol:
        """A new array in a buffer of its own."""
        self.buffers.append(Buffer(prod(inner), varies, **properties))
        return Symbol(self, len(self.buffers) - 1, (), (), 0, 0 if varies else None).view(inner, strides_of(inner))

    def array(self, values: Any) -> Symbol:
        """Numbers that do not change."""
        data = np.ascontiguousarray(values, bool if values.dtype == bool else self.dtype)
        key = ("array", *_key(data))
        if key not in self.known:
            self.known[key] = self.new(data.shape, False, data=data.reshape(-1))
        return self.known[key]

    def name(self, x: Any) -> str:
        """What a line calls an argument."""
        if isinstance(x, Symbol):
            return self._argument(x) or self.views.setdefault(x.key, f"a{len(self.views) + 1}")
        return self.constants.setdefault(_key(x), (f"c{len(self.constants) + 1}", x))[0]

    def _argument(self, x: Symbol) -> str:
        """For the whole of an argument of the program: the argument itself."""
        given, size = self.buffers[x.buffer].given, self.buffers[x.buffer].size
        if given and x.whole:
            return given if x.dims == (1, size) else f"{given}.reshape({', '.join(map(str, (-1, *x.dims[1:])))})"
        return f"{self._argument(x.T)}.T" if given and x.samples == 1 and x.T.whole else ""

    def write(self, function: str, *args: Any, out: Symbol, **options: Any) -> None:
        """The line function(*args, out), or with options function(*args, …, out=out)."""
        given = [self.name(x) for x in args]
        if function in ("minimum", "maximum") or (options and function != "copyto"):  # elsewhere the keyword costs time
            options["out"] = out
        else:
            given.insert(0 if function == "copyto" else len(given), self.name(out))
        given += [f"{key}={x if isinstance(x, str | int | tuple) else self.name(x)}" for key, x in options.items()]
        self.functions.add(function.partition(".")[0])
        reads = tuple(x.buffer for x in (*args, *options.values()) if isinstance(x, Symbol))
        self.lines.append(Line(out.buffer, reads, f"{function}({', '.join(given)})"))

    def once(self, inner: Dims, varies: bool, function: str, *args: Any, **options: Any) -> Symbol:
        """The result of a call, in a buffer of its own; the same call is written only once."""
        key = (function, *map(_key, args), *options.values())
        if key not in self.known:
            out = self.known[key] = self.new(inner, varies, boolean=function in COMPARISONS)
            self.made_by[out.buffer] = (function, *args)
            if function == "where":
                condition, a, b = args
                self.write("copyto", b, out=out)
                self.write("copyto", a, out=out, where=condition)
            else:
                self.write(function, *args, out=out, **options)
        return self.known[key]

    def call(self, function: str, *args: Any) -> Any:
        """The entry-by-entry function of symbols and numbers, as NumPy broadcasts."""
        symbols = [x for x in args if isinstance(x, Symbol)]
        if not symbols:
            return _folded(function, *args)
        simple = self._simplify(function, *args)
        if simple is not None:
            return simple
        inner = np.broadcast_shapes(*(x.inner for x in symbols))
        varies = any(x.varies for x in symbols)
        if function in ("minimum", "maximum"):  # which NumPy takes three times as long for with a single number
            args = tuple(x if isinstance(x, Symbol) else self._filled(x, inner, varies) for x in args)
        return self.once(inner, varies, function, *(self._align(x, len(inner)) for x in args))

    def _align(self, x: Any, ndim: int) -> Any:
        """Dims of 1 between the samples and the rest, where NumPy would put them before."""
        if not (isinstance(x, Symbol) and x.varies and len(x.inner) < ndim):
            return x
        missing = ndim - len(x.inner)
        return x.view((1,) * missing + x.inner, (0,) * missing + x.strides[1:], x.offset)

    def _simplify(self, function: str, *args: Any) -> Any:
        """The few cases that matter for speed: x·1 = x, c·(d·x) = (c·d)·x, x² = x·x, and masks as numbers."""
        if function == "multiply" and isinstance(args[0], float):
            args = args[::-1]
        made = self.made_by.get(args[0].buffer, ()) if isinstance(args[0], Symbol) and args[0].whole else ()
        one = np.ones(())
        match (function, *args):  # patterns test for float first: == of a symbol is one more call to write
            case ("multiply" | "power", x, float(c)) if c == 1.0:
                return x
            case ("power", x, float(c)) if c == 2.0:
                return x * x
            case ("multiply", x, float(c)):
                match made:
                    case ("multiply", Symbol() as inner, float(d)) | ("multiply", float(d), Symbol() as inner):
                        if inner.inner == x.inner and 1e-100 < abs(c * d) < 1e100:
                            return inner * (c * d)
            case ("where", mask, float(yes), float(no)) if (yes, no) == (1.0, 0.0):
                return mask * self.array(one)
            case ("where", mask, float(yes), float(no)) if (yes, no) == (0.0, 1.0):
                return self.array(one) - mask
            case ("where", _, float(yes), Symbol() as x) if yes == 0.0:
                match made:
                    case ("less_equal", compared, float() | int() as limit) if compared is x and limit == 0:
                        return self.call("maximum", x, 0.0)  # of equals NumPy takes the second: never −0
        return None

    def reduce(self, function: str, x: Symbol, keep: bool = False) -> Symbol:
        """Over the last axis."""
        if x.dims[-1] == 1:
            return x if keep else x.view(x.inner[:-1], x.strides[x.varies : -1], x.offset)
        out = self.once(x.inner[:-1], x.varies, f"{function}.reduce", x, axis=-1)
        return out.reshape(*out.inner, 1) if keep else out

    def sum_over(self, x: Symbol, axes: list[int], samples: bool) -> Symbol:
        """Over some of the inner axes, and over the samples."""
        if not axes and not samples:
            return x
        inner = tuple(d for axis, d in enumerate(x.inner) if axis not in axes)
        if samples and axes == list(range(len(axes))) and inner and x.whole:
            # the rows of a matrix: BLAS adds them up faster than add.reduce
            rows = x.reshape(prod(x.inner[: len(axes)]), prod(inner)).rows()
            ones = self._filled(1.0, (rows.dims[0], 1), True).rows()
            ones = Symbol(self, ones.buffer, rows.dims[:1], ones.strides[:1], 0, 0)
            total = self.once((prod(inner),), False, "dot", ones, rows)
            return total.reshape(*inner)
        over = tuple([0] * samples + [axis + x.varies for axis in axes])
        return self.once(inner, x.varies and not samples, "add.reduce", x, axis=over)

    def _filled(self, x: float, inner: Dims, varies: bool) -> Symbol:
        """One number again and again."""
        key = ("filled", repr(x), inner, varies)
        if key not in self.known:
            self.known[key] = self.new(inner, varies, fill=x)
        return self.known[key]

    def segments(self, function: str, x: Symbol, starts: Ints) -> Symbol:
        """Over each segment of the last axis."""
        return self.once((len(starts),), x.varies, f"{function}.reduceat", x, starts, axis=-1)

    def take(self, x: Symbol, index: Ints, missing: float = 0.0) -> Symbol:
        """The gather x[index], for a flat x; where the index is −1, `missing`."""
        if (index < 0).any():
            found = self.once(index.shape, x.varies, "take", x, np.maximum(index, 0), axis=-1, mode="'clip'")
            return self.once(index.shape, x.varies, "where", self.array(index < 0), missing, found)
        return self.once(index.shape, x.varies, "take", x, index, axis=-1, mode="'clip'")

    def matmul(self, a: Symbol, b: Symbol, out: Symbol) -> None:
        """out = a @ b."""
        # dot has the smaller overhead, but writes zeros to a large result first
        plain = all(len(x.dims) == 2 for x in (a, b, out)) and (out.varies or prod(out.dims) < 4096)
        self.write("dot" if plain and out.strides[-1] != 0 else "matmul", a, b, out=out)

    def copy(self, x: Any, out: Symbol) -> None:
        """out[…] = x."""
        self.write("copyto", self._align(x, len(out.inner)), out=out)

    def accumulate(self, x: Any, out: Symbol) -> None:
        """out[…] += x."""
        self.write("add", out, self._align(x, len(out.inner)), out=out)

    def put(self, x: Symbol, index: Ints, out: Symbol) -> None:
        """out[index] += x, for different indices."""
        text = f"{self.name(out)}[..., {self.name(index)}] += {self.name(x)}"
        self.lines.append(Line(out.buffer, (x.buffer,), text))

    def namespace(self, starts: Ints | None = None, owner: Ints | None = None, stacked: bool = False) -> Any:
        """What the rules of `ops` use as xp. Stacked: all operands of an n-ary rule are one array."""
        functions = {name: lambda *x, name=name: self.call(name, *x) for name in ops.FUNCTIONS}
        xp = ops.namespace(SimpleNamespace(**functions))
        if stacked:

            def over(function: str, x: Any) -> Any:
                (only,) = x
                if starts is None:
                    return self.reduce(function, only, keep=True)
                assert owner is not None
                return self.take(self.segments(function, only, starts), owner)

            xp.sum = lambda x: over("add", x)
            xp.max = lambda x: over("maximum", x)
        return xp

    # ── Running ────────────────────────────────────────────────────────────────────────────────

    def needed(self, results: list[Symbol]) -> list[Line]:
        """The lines that matter for the results."""
        needed, lines = {x.buffer for x in results}, []
        for line in reversed(self.lines):
            if line.writes in needed:
                needed.update(line.reads)
                lines.append(line)
        return lines[::-1]

    def source(self, name: str, results: list[Symbol]) -> str:
        """A function of the arguments that computes the results."""
        lines = self.needed(results)
        viewed = {key[0] for key in self.views} & {number for line in lines for number in line.reads}
        given = [b.given for b in self.buffers if b.given]
        copied = [f"copyto({b.given}_here, {b.given})" for n, b in enumerate(self.buffers) if b.given and n in viewed]
        body = [*copied, *(line.text for line in lines)] or ["pass"]
        return f"def {name}({', '.join(given)}):\n    " + "\n    ".join(body) + "\n"

    def share_memory(self, results: list[Symbol]) -> None:
        """Let buffers lie where others lay whose last use is over: what is used soon again stays in the cache."""
        lines, last = self.needed(results), {x.buffer: len(self.lines) for x in results}
        for i, line in enumerate(lines):
            for number in (line.writes, *line.reads):
                last[number] = max(i, last.get(number, 0))
        free: dict[Any, list[int]] = {}
        for i, line in enumerate(lines):
            for number in dict.fromkeys((line.writes, *line.reads)):
                buffer = self.buffers[number]
                if buffer.given or buffer.data is not None or buffer.fill is not None:
                    continue
                places = free.setdefault((buffer.size, buffer.varies, buffer.boolean), [])
                if buffer.place is None:
                    buffer.place = places.pop() if places else number
                if last[number] == i:
                    places.append(buffer.place)

    def frame(self, samples: int) -> tuple[dict[str, Any], list[Any]]:
        """For this many samples, all that the lines name (views of buffers, constants, functions); and the buffers."""
        memory: list[Any] = []
        for number, buffer in enumerate(self.buffers):
            place = number if buffer.place is None else buffer.place
            memory.append(memory[place] if place < number else self._memory(buffer, samples))
        columns = samples >= COLUMNS and self.dtype == np.float64  # with float32, BLAS is faster row by row
        columns &= not any(axis is not None and dims[axis] > 1 for _, dims, _, _, axis in self.views)
        names: dict[str, Any] = {name: getattr(np, name) for name in self.functions}
        if columns:
            names["dot"] = np.matmul  # dot wants its result row by row
        for name, x in self.constants.values():
            names[name] = x if isinstance(x, np.ndarray) else np.asarray(x, self.dtype)
        for (number, dims, strides, offset, axis), name in self.views.items():
            base, given = memory[number], self.buffers[number].given
            shape = tuple(d * samples if a == axis else d for a, d in enumerate(dims))
            if columns and axis is not None and not given:
                offset, strides = (
                    offset * samples,
                    tuple(1 if a == axis else s * samples for a, s in enumerate(strides)),
                )
            steps = tuple(s * base.itemsize for s in strides)
            names[name] = np.lib.stride_tricks.as_strided(base[offset:], shape, steps)
            if given:
                names[f"{given}_here"] = base.reshape(samples, -1)
        return names, memory

    def _memory(self, buffer: Buffer, samples: int) -> Any:
        if buffer.data is not None:
            return buffer.data
        size = buffer.size * (samples if buffer.varies else 1)
        kind = bool if buffer.boolean else self.dtype
        return np.empty(size, kind) if buffer.fill is None else np.full(size, buffer.fill, kind)


def compiled(source: str) -> CodeType:
    """The code of the one function in the source."""
    return next(c for c in compile(source, "<array program>", "exec").co_consts if isinstance(c, CodeType))


def strides_of(dims: Dims) -> Dims:
    """The strides of a whole array of these dims, in its order."""
    strides, step = [], 1
    for d in reversed(dims):
        strides.append(step if d > 1 else 0)
        step *= d
    return tuple(reversed(strides))


def _key(x: Any) -> Any:
    """Equal for arguments that are the same: views, arrays, numbers (0 is not −0)."""
    if isinstance(x, Symbol):
        return x.key
    return (x.dtype.str, x.shape, x.tobytes()) if isinstance(x, np.ndarray) else repr(x)


def _folded(function: str, *args: float) -> Any:
    """A function of plain numbers, computed now."""
    operators = {"add": float.__add__, "subtract": float.__sub__, "multiply": float.__mul__, "negative": float.__neg__,
                 "abs": abs}  # fmt: skip
    rule: Any = operators.get(function) or getattr(ieee, function)
    return rule(*args)
