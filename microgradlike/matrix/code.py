"""Step 4a, write: the array program as straight-line NumPy, every result into its own buffer.

A `Symbol` stands for an array. The rules of `ops.py` run on symbols once, when the program is
made, and each NumPy call they would make is written down as a line `multiply(a1, a2, out=a3)`.
A line that was written before is not written again: what a rule needs for its local derivative
and has computed for its value (exp(−|x|) of a sigmoid, say) is shared by itself.

The first axis of an array that varies is the sample; `dims` and `strides` describe the rest, as a
view into the buffer of `base`. A stride of 0 is a broadcast.
"""

from __future__ import annotations

import itertools
import operator
from collections.abc import Iterator
from dataclasses import dataclass, field
from math import prod
from types import CodeType, SimpleNamespace
from typing import Any

import numpy as np

from microgradlike import ops
from microgradlike.ieee import ieee
from microgradlike.matrix.canonical import Ints

Dims = tuple[int, ...]


@dataclass(frozen=True)
class Seed:
    """factor · ∂(mean loss)/∂(loss of one sample): one number for all samples; or, summed, over them."""

    factor: float
    summed: bool = False

    def __mul__(self, other: Any) -> Any:
        if isinstance(other, Symbol):
            return other * self
        return Seed(self.factor * other, self.summed)


@dataclass(frozen=True)
class Samples:
    """The number of samples."""


@dataclass(frozen=True)
class Ones:
    """A row of ones, `rows` for each sample."""

    rows: int


@dataclass(eq=False, slots=True)
class Symbol:
    """An array in the program: a view (offset, dims, strides) of the buffer of `base`."""

    code: Code
    base: int  # the number of the buffer
    varies: bool
    dims: Dims
    strides: Dims
    offset: int = 0
    merged: int = 1  # this many rows for each sample stand on the first axis, beside the samples
    transposed: bool = False  # of a matrix: the samples are its columns

    def __add__(self, other: Any) -> Any:
        return self.code.call("add", self, other)

    def __radd__(self, other: Any) -> Any:
        return self.code.call("add", other, self)

    def __sub__(self, other: Any) -> Any:
        return self.code.call("subtract", self, other)

    def __rsub__(self, other: Any) -> Any:
        return self.code.call("subtract", other, self)

    def __mul__(self, other: Any) -> Any:
        return self.code.call("multiply", self, other)

    def __rmul__(self, other: Any) -> Any:
        return self.code.call("multiply", other, self)

    def __truediv__(self, other: Any) -> Any:
        return self.code.call("divide", self, other)

    def __rtruediv__(self, other: Any) -> Any:
        return self.code.call("divide", other, self)

    def __pow__(self, other: Any) -> Any:
        return self.code.call("power", self, other)

    def __rpow__(self, other: Any) -> Any:
        return self.code.call("power", other, self)

    def __neg__(self) -> Any:
        return self.code.call("negative", self)

    def __abs__(self) -> Any:
        return self.code.call("absolute", self)

    def __lt__(self, other: Any) -> Any:
        return self.code.call("less", self, other)

    def __le__(self, other: Any) -> Any:
        return self.code.call("less_equal", self, other)

    def __gt__(self, other: Any) -> Any:
        return self.code.call("greater", self, other)

    def __ge__(self, other: Any) -> Any:
        return self.code.call("greater_equal", self, other)

    def __eq__(self, other: Any) -> Any:
        return self.code.call("equal", self, other)

    def __ne__(self, other: Any) -> Any:
        return self.code.call("not_equal", self, other)

    def __and__(self, other: Any) -> Any:
        return self.code.call("logical_and", self, other)

    def __or__(self, other: Any) -> Any:
        return self.code.call("logical_or", self, other)

    __rand__, __ror__ = __and__, __or__

    def __invert__(self) -> Any:
        return self.code.call("logical_not", self)

    __hash__ = object.__hash__

    def __bool__(self) -> bool:
        raise TypeError("a Python `if` in the rule of an operation sees one number only: use xp.where, which sees all")

    @property
    def key(self) -> tuple[Any, ...]:
        """Equal for equal views."""
        return (self.base, self.dims, self.strides, self.offset, self.merged, self.transposed)

    @property
    def contiguous(self) -> bool:
        """Whether the view is the whole buffer, in its order."""
        return (
            self.offset == 0 and self.strides == strides_of(self.dims) and prod(self.dims) == self.code.size[self.base]
        )

    def view(self, dims: Dims, strides: Dims, offset: int = 0) -> Symbol:
        """Another view of the same buffer."""
        return Symbol(self.code, self.base, self.varies, dims, strides, offset)

    def reshape(self, *dims: int) -> Symbol:
        """The same entries in other dims; the view must be whole."""
        assert self.contiguous
        return self.view(dims, strides_of(dims))

    def rows(self) -> Symbol:
        """The matrix whose rows are those of all samples: (samples · C, K) from (C, K)."""
        assert self.varies
        if self.dims[0] == 1:
            return self.view(self.dims[1:], self.strides[1:], self.offset)
        assert self.contiguous
        result = self.view(self.dims[1:], self.strides[1:])
        result.merged = self.dims[0]
        return result

    @property
    def T(self) -> Symbol:
        """The last two axes exchanged."""
        if len(self.dims) == 1:  # a matrix of rows
            result = self.view(self.dims, self.strides, self.offset)
            result.merged, result.transposed = self.merged, not self.transposed
            return result
        *lead, r, c = self.dims
        *lead_strides, sr, sc = self.strides
        return self.view((*lead, c, r), (*lead_strides, sc, sr), self.offset)


@dataclass(slots=True)
class Line:
    """One call: the buffer it writes, those it reads, and its text."""

    writes: int
    reads: tuple[int, ...]
    text: str


COMPARISONS = {"less", "less_equal", "greater", "greater_equal", "equal", "not_equal",
               "logical_and", "logical_or", "logical_not"}  # fmt: skip
FUNCTIONS = {"abs": "absolute"}


@dataclass
class Code:
    """The lines of a program, and the buffers they write to."""

    dtype: Any
    size: list[int] = field(default_factory=list)  # of each buffer, for one sample
    varying: list[bool] = field(default_factory=list)
    boolean: list[bool] = field(default_factory=list)
    lines: list[Line] = field(default_factory=list)
    views: dict[tuple[Any, ...], str] = field(default_factory=dict)  # view → its name in the lines
    known: dict[tuple[Any, ...], Symbol] = field(default_factory=dict)
    made_by: dict[int, tuple[Any, ...]] = field(default_factory=dict)  # buffer → (function, *args)
    constants: dict[str, Any] = field(default_factory=dict)  # index arrays, numbers
    given: dict[int, str] = field(default_factory=dict)  # buffers that the caller passes
    shared: dict[int, Any] = field(default_factory=dict)  # buffers that live outside: parameters, constants

    # ── Writing ────────────────────────────────────────────────────────────────────────────────

    def buffer(self, dims: Dims, varies: bool, boolean: bool = False) -> Symbol:
        """A new array of its own."""
        self.size.append(prod(dims))
        self.varying.append(varies)
        self.boolean.append(boolean)
        return Symbol(self, len(self.size) - 1, varies, dims, strides_of(dims))

    def name(self, x: Any) -> str:
        """What a line calls an argument."""
        if isinstance(x, Symbol):
            known = self.views.get(x.key)
            if known is None:
                name = self.given.get(x.base, "")
                if not (name and x.contiguous and len(x.dims) == 1):
                    name = f"a{len(self.views) + 1}"
                elif x.transposed:
                    name += ".T"
                self.views[x.key] = known = name
            return known
        return self.constant(x if isinstance(x, Seed | Samples | Ones | np.ndarray) else float(x))

    def constant(self, x: Any) -> str:
        """A name for a number or an index array."""
        for name, known in self.constants.items():
            if known is x or (
                type(known) is type(x) and isinstance(x, Seed | Samples | Ones | float) and repr(known) == repr(x)
            ):
                return name
        name = f"c{len(self.constants) + 1}"
        self.constants[name] = x
        return name

    def array(self, values: Any) -> Symbol:
        """Numbers that do not change."""
        result = self.buffer(values.shape, False)
        self.shared[result.base] = np.ascontiguousarray(values, self.dtype).reshape(-1)
        return result

    def write(self, function: str, *args: Any, out: Symbol, **options: Any) -> None:
        """The line function(*args, out=out)."""
        given = [self.name(x) for x in args]
        if function == "copyto":
            given.insert(0, self.name(out))
        else:
            options["out"] = out
        given += [f"{key}={x if isinstance(x, str | int | tuple) else self.name(x)}" for key, x in options.items()]
        reads = tuple(x.base for x in (*args, *options.values()) if isinstance(x, Symbol))
        self.lines.append(Line(out.base, reads, f"{function}({', '.join(given)})"))

    def call(self, function: str, *args: Any) -> Any:
        """The entry-by-entry function of symbols and numbers, as NumPy broadcasts."""
        symbols = [x for x in args if isinstance(x, Symbol)]
        if not symbols:
            if function == "multiply" and any(isinstance(x, Seed) for x in args):
                seed, factor = args if isinstance(args[0], Seed) else args[::-1]
                return seed * factor
            assert not any(isinstance(x, Seed) for x in args)
            return _fold(function, *args)
        simple = self._simplify(function, args)
        if simple is not None:
            return simple
        key = (function, *(x.key if isinstance(x, Symbol) else repr(x) for x in args))
        if key not in self.known:
            dims = np.broadcast_shapes(*(x.dims for x in symbols))
            varies = any(x.varies for x in symbols)
            wide = [self._align(x, len(dims)) if isinstance(x, Symbol) else x for x in args]
            out = self.known[key] = self.buffer(dims, varies, function in COMPARISONS)
            if function == "where":
                condition, a, b = wide
                self.write("copyto", b, out=out)
                self.write("copyto", a, out=out, where=condition)
            else:
                self.write(function, *wide, out=out)
                self.made_by[out.base] = (function, *args)
        return self.known[key]

    def _align(self, x: Symbol, ndim: int) -> Symbol:
        """Dims of 1 in front, between the samples and the rest, where NumPy would put them before."""
        missing = ndim - len(x.dims)
        return x.view((1,) * missing + x.dims, (0,) * missing + x.strides, x.offset) if missing and x.varies else x

    def _simplify(self, function: str, args: tuple[Any, ...]) -> Any:
        """x·1 = x, x² = x·x, and max(x, 0) as NumPy has it: the few cases that matter for speed."""
        match function, args:
            case "multiply", (x, float(one)) | (float(one), x) if one == 1.0:
                return x
            case "multiply", (x, float(minus)) | (float(minus), x) if minus == -1.0 and isinstance(x, Symbol):
                return -x
            case "multiply", (x, Seed(one)) | (Seed(one), x) if one == 0.0:
                return Seed(0.0)
            case (("negative" | "absolute"), (Symbol() as x,)) if self.made_by.get(x.base, ("",))[0] == "negative":
                inner = self.made_by[x.base][1]
                if x.contiguous and isinstance(inner, Symbol) and inner.dims == x.dims:
                    return inner if function == "negative" else abs(inner)
            case "power", (x, float(two)) if two == 2.0:
                return x * x
            case "power", (x, float(one)) if one == 1.0:
                return x
            case "where", (Symbol() as condition, float(one), float(zero)) if (one, zero) == (1.0, 0.0):
                return self.call("multiply", condition, self._one)
            case "where", (Symbol() as condition, float(zero), float(one)) if (zero, one) == (0.0, 1.0):
                return self.call("subtract", self._one, condition)
            case "where", (Symbol() as condition, float(zero), Symbol() as x) if zero == 0.0:
                made = self.made_by.get(condition.base, ("",))
                if made[0] == "less_equal" and made[1] is x and made[2] == 0.0:
                    return self.call("maximum", x, 0.0)
            case "where", (bool(condition), a, b):
                return a if condition else b
        return None

    @property
    def _one(self) -> Symbol:
        if ("one",) not in self.known:
            self.known["one",] = self.array(np.ones(()))
        return self.known["one",]

    def reduce(self, function: str, x: Symbol, keep: bool = False) -> Symbol:
        """Over the last axis."""
        if x.dims[-1] == 1:
            return x if keep else x.view(x.dims[:-1], x.strides[:-1], x.offset)
        key = (function, "reduce", x.key)
        if key not in self.known:
            out = self.known[key] = self.buffer(x.dims[:-1], x.varies)
            self.write(f"{function}.reduce", x, out=out, axis=-1)
        out = self.known[key]
        return out.view((*out.dims, 1), (*out.strides, 0)) if keep else out

    def sum_axes(self, x: Symbol, axes: list[int], samples: bool) -> Symbol:
        """Over some dims, and over the samples."""
        if not axes and not samples:
            return x
        key = ("sum", x.key, tuple(axes), samples)
        if key not in self.known:
            dims = tuple(d for axis, d in enumerate(x.dims) if axis not in axes)
            out = self.known[key] = self.buffer(dims, x.varies and not samples)
            leading = axes == list(range(len(axes)))
            if samples and leading and len(axes) < len(x.dims) and x.contiguous:
                # the rows of a matrix: BLAS adds them up faster than add.reduce
                rows = x.reshape(prod(x.dims[: len(axes)]), prod(dims)).rows()
                self.write("dot", Ones(rows.merged), rows, out=out.view((prod(dims),), strides_of((prod(dims),))))
            else:
                over = tuple([0] * samples + [axis + x.varies for axis in axes])
                self.write("add.reduce", x, out=out, axis=over[0] if len(over) == 1 else over)
        return self.known[key]

    def segments(self, function: str, x: Symbol, starts: Ints) -> Symbol:
        """Over each segment of the last axis."""
        key = (function, x.key, starts.tobytes())
        if key not in self.known:
            out = self.known[key] = self.buffer((len(starts),), x.varies)
            self.write(f"{function}.reduceat", x, starts, out=out, axis=-1)
        return self.known[key]

    def take(self, x: Symbol, index: Ints, missing: float = 0.0) -> Symbol:
        """The gather x[index], for a flat x; where the index is −1, `missing`."""
        key = ("take", x.key, index.shape, index.tobytes(), missing)
        if key not in self.known:
            out = self.known[key] = self.buffer(index.shape, x.varies)
            self.write("take", x, index, out=out, axis=-1, mode="'clip'")
            if (index < 0).any():
                self.write("copyto", missing, out=out, where=index < 0)
        return self.known[key]

    def matmul(self, a: Symbol, b: Symbol, out: Symbol) -> Symbol:
        """out = a @ b."""
        # dot has the smaller overhead, but writes zeros to a large result first
        flat = all(len(x.dims) + x.varies == 2 for x in (a, b, out))
        small = out.varies or prod(out.dims) < 4096
        self.write("dot" if flat and small and out.strides[-1:] != (0,) else "matmul", a, b, out=out)
        return out

    def copy(self, x: Any, out: Symbol) -> None:
        """out[…] = x."""
        self.write("copyto", x, out=out)

    def accumulate(self, x: Any, out: Symbol) -> None:
        """out[…] += x."""
        self.write("add", out, x, out=out)

    def put(self, x: Symbol, index: Ints, out: Symbol) -> None:
        """out[index] += x, for different indices."""
        text = f"{self.name(out)}[..., {self.constant(index)}] += {self.name(x)}"
        self.lines.append(Line(out.base, (x.base,), text))

    # ── Rules on symbols ───────────────────────────────────────────────────────────────────────

    def namespace(
        self, starts: Ints | None = None, owner: Ints | None = None, stacked: bool = False
    ) -> SimpleNamespace:
        """What the rules of `ops` use as xp. Stacked: all operands of an n-ary rule are one array."""
        functions = SimpleNamespace()
        for name in ops.FUNCTIONS:
            function = FUNCTIONS.get(name, name)
            setattr(functions, name, lambda *args, function=function: self.call(function, *args))
        xp = ops.namespace(functions)
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

    def source(self, name: str, arguments: list[str], results: list[Symbol]) -> str:
        """A function that computes the results: the lines that matter for them."""
        needed, lines = {x.base for x in results}, []
        for line in reversed(self.lines):
            if line.writes in needed:
                needed.update(line.reads)
                lines.append(line.text)
        for number, given in self.given.items():
            if number in needed and any(k[0] == number and not v.startswith(given) for k, v in self.views.items()):
                lines.append(f"copyto({given}_here, {given})")
        return _function(name, arguments, lines[::-1])

    def update(self, pairs: list[tuple[Symbol, Symbol]]) -> str:
        """A function that computes w −= g for each pair (w, g)."""
        return _function(
            "update", [], [f"subtract({self.name(w)}, {self.name(g)}, out={self.name(w)})" for w, g in pairs]
        )

    def frame(self, samples: int) -> tuple[dict[str, Any], list[tuple[Any, Seed]]]:
        """All that the lines name, for this many samples: buffers, views of them, constants, functions.

        Also the arrays that hold seeds, to be filled.
        """
        seeds = []
        bases: dict[int, Any] = {}
        names: dict[str, Any] = {name: getattr(np, name) for name in _USED}
        for name, x in self.constants.items():
            if isinstance(x, Seed):
                names[name] = np.zeros((), self.dtype)
                seeds.append((names[name], x))
                continue
            if isinstance(x, Samples):
                x = samples
            elif isinstance(x, Ones):
                x = np.ones(samples * x.rows, self.dtype)
            names[name] = x if isinstance(x, np.ndarray) else np.asarray(x, self.dtype)
        for key, name in self.views.items():
            number, dims, strides, offset, merged, transposed = key
            given = self.given.get(number)
            if given and name.startswith(given):
                continue
            base = bases.get(number)
            if base is None:
                size, varies = self.size[number], self.varying[number]
                base = self.shared.get(number)
                if base is None:
                    base = np.zeros((samples if varies else 1) * size, bool if self.boolean[number] else self.dtype)
                bases[number] = base
            step = base.itemsize
            shape, byte_strides = dims, tuple(s * step for s in strides)
            if self.varying[number]:
                shape = (samples * merged, *dims)
                byte_strides = (self.size[number] // merged * step, *byte_strides)
            view = np.lib.stride_tricks.as_strided(base[offset:], shape, byte_strides)
            names[name] = view.T if transposed else view
            if given:
                names[f"{given}_here"] = base.reshape(samples, self.size[number])
        return names, seeds


_USED = (
    "add", "subtract", "multiply", "divide", "power", "negative", "absolute", "less", "less_equal", "greater",
    "greater_equal", "equal", "not_equal", "logical_and", "logical_or", "logical_not", "exp", "expm1", "log", "log1p",
    "sqrt", "sin", "cos", "tanh", "maximum", "minimum", "matmul", "dot", "take", "copyto",
)  # fmt: skip


def _function(name: str, arguments: list[str], lines: list[str]) -> str:
    return f"def {name}({', '.join(arguments)}):\n    " + "\n    ".join(lines or ["pass"]) + "\n"


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


def _fold(function: str, *args: Any) -> Any:
    """A function of plain numbers, computed now."""
    simple: dict[str, Any] = {"add": operator.add, "subtract": operator.sub, "multiply": operator.mul, "negative": operator.neg,
              "absolute": abs}  # fmt: skip
    return (simple.get(function) or getattr(ieee, function))(*args)


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
