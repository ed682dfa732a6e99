"""Write: the array program as straight-line NumPy, every result into a buffer of its own.

A `Symbol` stands for an array. The rules of `ops.py` run on symbols once, when the program is
made, and each NumPy call they would make is written down as a line `multiply(a1, a2, a3)`.
A line that was written before is not written again: what a rule needs for its local derivative
and has computed for its value (exp(−|x|) of a sigmoid, say) is shared by itself.

A symbol is a view into a buffer: dims, strides, offset. Where it varies, one axis is that of the
samples: its entry in `dims` is the rows of one sample (mostly 1), multiplied by the number of
samples when memory is made (`frame`). A stride of 0 is a broadcast.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import lru_cache, partial
from math import prod
from textwrap import indent
from types import CodeType
from typing import Any

import numpy as np
from numpy.lib.mixins import NDArrayOperatorsMixin

from microgradlike.ieee import FUNCTIONS, Namespace, ieee
from microgradlike.matrix.canonical import Ints

Dims = tuple[int, ...]
COLUMNS = 64  # from so many samples on, they lie side by side, one row an entry: BLAS and NumPy like long rows
MODEST = 1e9  # factors up to this, or down to its inverse, are joined: c·(d·x) = (c·d)·x
CHUNK = 1000  # lines of one compiled function

CACHE_LINE = 64  # bytes of a cache line: a register of AVX-512


@dataclass(eq=False, slots=True)
class Symbol(NDArrayOperatorsMixin):
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
    def whole(self) -> bool:
        """Whether the view is the whole buffer, in its order."""
        in_order = not self.samples and self.strides[self.varies :] == strides_of(self.inner)
        return in_order and prod(self.dims) == self.code.buffers[self.buffer].size

    @property
    def has_rows(self) -> bool:
        """Whether the rows of all samples form one matrix."""
        return len(self.inner) == 2 and (self.inner[0] == 1 or self.whole)

    def view(self, inner: Dims, strides: Dims, offset: int = 0) -> Symbol:
        """Another view of the same buffer; for one that varies, inner and strides are those beside the samples."""
        if not self.varies:
            return Symbol(self.code, self.buffer, inner, strides, offset)
        size = self.code.buffers[self.buffer].size
        return Symbol(self.code, self.buffer, _put_first(1, inner), _put_first(size, strides), offset, 0)

    def reshape(self, *inner: int) -> Symbol:
        """The same entries in other dims; the view must be whole."""
        assert self.whole
        return self.view(inner, strides_of(inner))

    def broadcast(self, inner: Dims) -> Symbol:
        """The same entries repeated, as NumPy broadcasts them for each sample."""
        missing = (0,) * (len(inner) - len(self.inner))
        return self.view(inner, missing + self.strides[self.varies :], self.offset)

    def rows(self) -> Symbol:
        """The matrix whose rows are those of all samples: (samples · C, K) from inner dims (C, K)."""
        assert self.has_rows
        _, C, K = self.dims
        return replace(self, dims=(C, K), strides=(self.strides[0] // C, self.strides[2]))

    @property
    def T(self) -> Symbol:
        """The last two axes exchanged."""
        *lead, i, j = range(len(self.dims))
        axes = (*lead, j, i)
        dims, strides = (tuple(x[axis] for axis in axes) for x in (self.dims, self.strides))
        samples = None if self.samples is None else axes.index(self.samples)
        return replace(self, dims=dims, strides=strides, samples=samples)

    def __array_ufunc__(self, function: Any, method: str, *args: Any, **settings: Any) -> Any:
        """What the operators do: a line instead of the function of NumPy."""
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


@dataclass(slots=True)
class Buffer:
    """Memory for `size` numbers, for each sample if it `varies`."""

    size: int
    varies: bool
    boolean: bool = False
    given: str = ""  # the argument of the program that it holds
    data: Any = None  # numbers that live outside the program: parameters, gradients, constants
    fill: float | None = None  # one and the same number everywhere
    made: tuple[Any, ...] = ()  # the (function, *args) whose result it is
    place: int | None = None  # the buffer in whose memory it lies


@dataclass(slots=True)
class Line:
    """One call: the buffer it writes, those it reads, and its text."""

    writes: int
    reads: tuple[int, ...]
    text: str


COMPARISONS = {"less", "less_equal", "greater", "greater_equal", "equal", "not_equal",
               "bitwise_and", "bitwise_or", "invert"}  # fmt: skip
FORMS = {
    "multiply": "multiply({}, {}, {out})",
    "where": "copyto({out}, {2})\ncopyto({out}, {1}, where={0})",
    "minimum": "minimum({}, {}, out={out})",  # elsewhere the keyword costs time
    "maximum": "maximum({}, {}, out={out})",
}


@dataclass
class Code:
    """The lines of a program, and the buffers they write to."""

    dtype: Any
    buffers: list[Buffer] = field(default_factory=list)
    lines: list[Line] = field(default_factory=list)
    views: dict[tuple[Any, ...], str] = field(default_factory=dict)  # view → its name in the lines
    constants: dict[Any, tuple[str, Any]] = field(default_factory=dict)  # numbers and index arrays, with their names
    known: dict[Any, Symbol] = field(default_factory=dict)  # call → its result

    # ── Writing ────────────────────────────────────────────────────────────────────────────────

    def new(self, inner: Dims, varies: bool, **properties: Any) -> Symbol:
        """A new array in a buffer of its own."""
        self.buffers.append(Buffer(prod(inner), varies, **properties))
        return Symbol(self, len(self.buffers) - 1, (), (), 0, 0 if varies else None).view(inner, strides_of(inner))

    def array(self, values: Any) -> Symbol:
        """Numbers that do not change."""
        data = np.asarray(values, bool if values.dtype == bool else self.dtype, order="C")
        key = ("array", *_key(data))
        if key not in self.known:
            self.known[key] = self.new(data.shape, False, data=data.reshape(-1))
        return self.known[key]

    def filled(self, x: float, inner: Dims, varies: bool) -> Symbol:
        """One number again and again."""
        key = ("filled", repr(x), inner, varies)
        if key not in self.known:
            self.known[key] = self.new(inner, varies, fill=x)
        return self.known[key]

    def name(self, x: Any) -> str:
        """What a line calls an argument."""
        if not isinstance(x, Symbol):
            return self.constants.setdefault(_key(x), (f"c{len(self.constants) + 1}", x))[0]
        buffer = self.buffers[x.buffer]
        if buffer.given and x.whole:  # the argument itself
            dims = ", ".join(map(str, (-1, *x.dims[1:])))
            return buffer.given if x.dims == (1, buffer.size) else f"{buffer.given}.reshape({dims})"
        return self.views.setdefault(_key(x), f"a{len(self.views) + 1}")

    def write(self, form: str, *args: Any, out: Symbol) -> None:
        """A line such as "multiply({}, {}, {out})", with the names of args and out."""
        reads = tuple(x.buffer for x in args if isinstance(x, Symbol))
        self.lines.append(Line(out.buffer, reads, form.format(*map(self.name, args), out=self.name(out))))

    def once(self, inner: Dims, varies: bool, form: str, *args: Any, rows: bool = False) -> Symbol:
        """The result of a line, in a buffer of its own; the same line is written only once."""
        key = form.format(*map(self.name, args), out="")
        if key not in self.known:
            out = self.known[key] = self.new(inner, varies, boolean=form.partition("(")[0] in COMPARISONS)
            self.write(form, *args, out=out.rows() if rows else out)
        return self.known[key]

    def call(self, function: str, *args: Any) -> Any:
        """The entry-by-entry function of symbols and numbers, as NumPy broadcasts."""
        symbols = [x for x in args if isinstance(x, Symbol)]
        if not symbols:
            return getattr(ieee, function)(*args)
        if function == "where":
            args = (self._condition(args[0]), *args[1:])
        elif function not in COMPARISONS and all(map(self._is_mask, args)):
            args = tuple(map(self.number, args))
        if function == "multiply" and isinstance(args[0], float):
            args = args[::-1]
        simple = self._simplify(function, *args)
        if simple is not None:
            return simple
        inner = np.broadcast_shapes(*(x.inner for x in symbols))
        varies = any(x.varies for x in symbols)
        if function in ("minimum", "maximum"):  # NumPy takes three times as long with a single number
            args = tuple(x if isinstance(x, Symbol) else self.filled(x, inner, varies) for x in args)
        form = FORMS.get(function, f"{function}({'{}, ' * len(args)}{{out}})")
        result = self.once(inner, varies, form, *(_aligned(x, inner) for x in args))
        self.buffers[result.buffer].made = (function, *args)
        return result

    def number(self, x: Any) -> Any:
        """A mask as a number, 1.0 where it is true, as in Python; NumPy would compute with True in its own way."""
        if not self._is_mask(x):
            return x
        if isinstance(x, bool):
            return float(x)
        return self.once(x.inner, x.varies, FORMS["multiply"], x, self.array(np.ones(())))

    def _is_mask(self, x: Any) -> bool:
        """Whether it is true or false, and no number."""
        return self.buffers[x.buffer].boolean if isinstance(x, Symbol) else isinstance(x, bool)

    def _condition(self, x: Any) -> Any:
        """A number as a mask: whether it is not 0."""
        if isinstance(x, Symbol):
            return x if self._is_mask(x) else self.call("not_equal", x, 0.0)
        return bool(x)

    def _simplify(self, function: str, *args: Any) -> Any:
        """The few cases that matter for speed: 0 + x, x·1, x², c·(d·x) = (c·d)·x, known conditions, masks as numbers."""
        made = self.buffers[args[0].buffer].made if isinstance(args[0], Symbol) and args[0].whole else ()
        match (made, function, *args):  # patterns test for float first: == of a symbol is one more call to write
            case (_, "add" | "subtract", float(c), x) if c == 0.0:
                return x if function == "add" else -x
            case (_, "multiply" | "power", x, float(c)) if c == 1.0:
                return x
            case (_, "power", x, float(c)) if c == 2.0:
                return x * x
            case (("multiply", y, float(d)), "multiply", x, float(c)) if y.inner == x.inner and (
                min(abs(c), abs(d)) >= 1 / MODEST and max(abs(c), abs(d)) <= MODEST
            ):
                return y * (c * d)
            case (_, "bitwise_and", bool(c), x):
                return x if c else False
            case (_, "where", bool(c), a, b):
                return a if c else b
            case (_, "where", mask, float(a), float(b)) if {a, b} == {0.0, 1.0}:
                return 1.0 - mask if b else self.number(mask)
            case (("less_equal", y, float() | int() as a), "where", _, float(b), x) if x is y and a == b == 0:
                return self.call("maximum", x, 0.0)  # of equals NumPy takes the second: never −0
        return None

    def whole(self, x: Any, inner: Dims, varies: bool) -> Symbol:
        """x broadcast to these dims, in the order of a buffer: a copy, unless it is so already."""
        if isinstance(x, Symbol) and x.whole and x.inner == inner and x.varies == varies:
            return x
        out = self.new(inner, varies)
        self.copy(x, out)
        return out

    def copy(self, x: Any, out: Symbol) -> None:
        """out[…] = x."""
        self.write("copyto({out}, {})", _aligned(x, out.inner), out=out)

    def take(self, x: Symbol, index: Ints, missing: float = 0.0) -> Symbol:
        """x[index] of a flat x: a view where index has equal steps, else a gather; where it is −1, `missing`."""
        if (index < 0).any():
            found = self.take(x, np.maximum(index, 0))
            return self.once(index.shape, x.varies, FORMS["where"], self.array(index < 0), missing, found)
        steps = affine(index)
        if steps is not None:
            return x.view(index.shape, *steps)
        return self.once(index.shape, x.varies, "take({}, {}, axis=-1, mode='clip', out={out})", x, index)

    def put(self, x: Symbol, index: Ints, out: Symbol, add: bool) -> None:
        """out[index] = x, or with `add` out[index] += x, for a flat out and different indices."""
        steps = affine(index)
        if steps is None:
            self.write("{out}[..., {}] += {}" if add else "{out}[..., {}] = {}", index, x, out=out)
        else:
            self.write("add({out}, {}, {out})" if add else "copyto({out}, {})", x, out=out.view(index.shape, *steps))

    def reduce(self, function: str, x: Symbol, starts: Ints | None = None) -> Symbol:
        """Over the last axis, or over each of its segments."""
        if starts is not None:
            inner = (len(starts),)
            return self.once(inner, x.varies, f"{function}.reduceat({{}}, {{}}, axis=-1, out={{out}})", x, starts)
        if x.inner[-1] == 1:
            return x.view(x.inner[:-1], x.strides[x.varies : -1], x.offset)
        return self.once(x.inner[:-1], x.varies, f"{function}.reduce({{}}, axis=-1, out={{out}})", x)

    def repeat(self, x: Symbol, starts: Ints | None, size: int) -> Symbol:
        """The transpose of `reduce`: for each term its sum's number, along a last axis or for all `size` terms."""
        if not x.inner:
            return x
        if starts is not None:
            return self.take(x.reshape(len(starts)), np.repeat(np.arange(len(starts)), np.diff([*starts, size])))
        return x.view((*x.inner, 1), (*x.strides[x.varies :], 0), x.offset)

    def sum_over(self, x: Symbol, axes: list[int]) -> Symbol:
        """Over some of the axes, that of the samples included."""
        if not axes:
            return x
        inner = tuple(d for axis, d in enumerate(x.dims) if axis not in axes and axis >= x.varies)
        if x.whole and axes == list(range(len(axes))):
            # of the rows of a matrix: BLAS adds them up faster than add.reduce
            count = prod(x.dims[: len(axes)])
            ones, matrix = self.filled(1.0, (count, 1), x.varies), x.reshape(count, prod(inner))
            total: Symbol = ones.rows().T @ matrix.rows() if x.varies else ones.T @ matrix
            return total.reshape(*inner)
        return self.once(inner, x.varies and 0 not in axes, f"add.reduce({{}}, axis={tuple(axes)}, out={{out}})", x)

    def matmul(self, a: Symbol, b: Symbol) -> Symbol:
        """a @ b for each sample; added up over the samples where they are the columns of a and the rows of b."""
        added = a.samples == len(a.dims) - 1
        varies = (a.varies or b.varies) and not added
        inner = (*a.inner[:-2], a.dims[-2], b.dims[-1])
        rows = a.varies and not b.varies and a.has_rows  # one product for all samples
        a = a.rows() if rows else a
        # dot has the smaller overhead, but writes zeros to a large result first
        plain = len(a.dims) == len(b.dims) == 2 and (varies or prod(inner) < 4096)
        form = "dot({}, {}, {out})" if plain else "matmul({}, {}, {out})"
        return self.once(inner, varies, form, a, b, rows=rows)

    def namespace(self) -> Any:
        """What the rules of `ops` use as xp."""
        return Namespace(**{name: partial(self.call, name) for name in FUNCTIONS})

    def stacked(self, starts: Ints | None) -> Any:
        """The same for n-ary rules whose operands are all in one array: those of each result, or of each segment."""

        def over(function: str, x: Any) -> Symbol:
            (only,) = x
            return self.repeat(self.reduce(function, only, starts), starts, only.inner[-1])

        xp = self.namespace()
        xp.sum, xp.max = partial(over, "add"), partial(over, "maximum")
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
        return _function(name, self._given, self._body(results))

    def compiled(self, name: str, results: list[Symbol]) -> list[CodeType]:
        """The same, compiled: functions to be called one after the other, for a long one takes much memory."""
        body, given = self._body(results), self._given
        return [compiled(_function(name, given, body[i : i + CHUNK])) for i in range(0, len(body) or 1, CHUNK)]

    @property
    def _given(self) -> list[tuple[int, str]]:
        """The buffers of arguments, and what these are called."""
        return [(number, buffer.given) for number, buffer in enumerate(self.buffers) if buffer.given]

    def _body(self, results: list[Symbol]) -> list[str]:
        lines = self.needed(results)
        viewed = {key[0] for key in self.views} & {number for line in lines for number in line.reads}
        copied = [f"copyto({x}_here, {x})" for number, x in self._given if number in viewed]
        return copied + [line.text for line in lines]

    def share_memory(self, results: list[Symbol]) -> None:
        """Let buffers lie where others lay whose last use is over: what is used soon again stays in the cache."""
        lines = self.needed(results)
        last = {number: i for i, line in enumerate(lines) for number in (line.writes, *line.reads)}
        last.update((x.buffer, len(lines)) for x in results)
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
            size, kind = buffer.size * (samples if buffer.varies else 1), bool if buffer.boolean else self.dtype
            if buffer.data is not None:
                memory.append(buffer.data)
            elif buffer.place is not None and buffer.place < number:  # if the place is allocated by now
                memory.append(memory[buffer.place])
            else:
                memory.append(aligned(size, kind, buffer.fill or 0.0))
        columns = samples >= COLUMNS and self.dtype == np.float64  # with float32, BLAS is faster row by row
        columns &= not any(axis is not None and dims[axis] > 1 for _, dims, _, _, axis in self.views)
        names: dict[str, Any] = dict(vars(np))
        if columns:
            names["dot"] = np.matmul  # dot wants its result row by row
        for name, x in self.constants.values():
            names[name] = x if isinstance(x, np.ndarray) else np.asarray(x, bool if isinstance(x, bool) else self.dtype)
        for (number, dims, strides, offset, axis), name in self.views.items():
            base, given = memory[number], self.buffers[number].given
            shape = tuple(d * samples if a == axis else d for a, d in enumerate(dims))
            if columns and axis is not None and not given:  # an entry's samples are neighbours
                offset *= samples
                strides = tuple(1 if a == axis else s * samples for a, s in enumerate(strides))
            steps = tuple(s * base.itemsize for s in strides)
            names[name] = np.ndarray(shape, base.dtype, base, offset * base.itemsize, steps)
            if given:
                names[f"{given}_here"] = base.reshape(samples, self.buffers[number].size)
        return names, memory


def aligned(size: int, dtype: Any, fill: float = 0.0) -> Any:
    """An array that begins at a cache line."""
    dtype = np.dtype(dtype)
    memory = np.full(size + CACHE_LINE // dtype.itemsize, fill, dtype)
    start = -memory.ctypes.data % CACHE_LINE // dtype.itemsize
    return memory[start : start + size]


def _function(name: str, given: list[tuple[int, str]], body: list[str]) -> str:
    """The source of a function."""
    arguments = ", ".join(x for _, x in given)
    return f"def {name}({arguments}):\n" + indent("\n".join(body or ["pass"]), "    ") + "\n"


def compiled(source: str) -> CodeType:
    """The code of the one function in the source."""
    return next(c for c in compile(source, "<array program>", "exec").co_consts if isinstance(c, CodeType))


@lru_cache(4096)
def _put_first(first: int, dims: Dims) -> Dims:
    """(first, *dims); cached, for a program holds many equal ones."""
    return first, *dims


@lru_cache(4096)
def strides_of(dims: Dims) -> Dims:
    """The strides of a whole array of these dims, in its order."""
    return tuple(prod(dims[axis + 1 :]) if d > 1 else 0 for axis, d in enumerate(dims))


def affine(index: Ints) -> tuple[Dims, int] | None:
    """(strides, offset) where index[i, j, …] = offset + strides · (i, j, …), else None."""
    offset = int(index.flat[0])
    strides = tuple(int(index.flat[step]) - offset for step in strides_of(index.shape))
    equal = ((np.diff(index, axis=axis) == s).all() for axis, s in enumerate(strides) if index.shape[axis] > 1)
    return (strides, offset) if all(equal) else None


def _aligned(x: Any, inner: Dims) -> Any:
    """x, with the axes between the samples and the rest that NumPy would put before the samples."""
    broadcasts = isinstance(x, Symbol) and x.varies and len(x.inner) < len(inner)
    return x.broadcast(inner) if broadcasts else x


def _key(x: Any) -> Any:
    """Equal for arguments that are the same: views, arrays, numbers (0 is not −0)."""
    if isinstance(x, Symbol):
        return (x.buffer, x.dims, x.strides, x.offset, x.samples)
    return (x.dtype.str, x.shape, x.tobytes()) if isinstance(x, np.ndarray) else repr(x)
