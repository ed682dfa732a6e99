"""Lines: the array program as straight-line NumPy, every result in a buffer of its own.

The rules of `ops.py` run on symbols once, and each NumPy call they would make becomes a `Line`: function,
arguments, output. A line that is there already is not added again: what a rule needs for its local
derivative and has computed for its value (exp(−|x|) of a sigmoid, say) is shared by itself. Lines are
written as text last, for `program.source` and for Python's compiler.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from itertools import groupby
from math import prod
from types import CodeType
from typing import Any, NamedTuple

import numpy as np

from microgradlike.ieee import FUNCTIONS, Namespace, ieee
from microgradlike.matrix.indices import Dims, Ints, affine, strides_of
from microgradlike.matrix.symbols import Buffer, Symbol, aligned, key_of
from microgradlike.view.table import clean

MODEST = 1e9  # factors up to this, or down to its inverse, are joined: c·(d·x) = (c·d)·x
CHUNK = 1000  # lines of one compiled function

COMPARISONS = {"less", "less_equal", "greater", "greater_equal", "equal", "not_equal",
               "bitwise_and", "bitwise_or", "invert"}  # fmt: skip
ENTRYWISE = {"add", "subtract", "multiply", "divide", "negative", "power", "maximum", "minimum", "abs",
             "exp", "expm1", "log", "log1p", "sqrt", "sin", "cos", "tanh"}  # fmt: skip
FORMS = {  # how lines are written that are not function(arguments, output)
    "where": "copyto({out}, {2})\n    copyto({out}, {1}, where={0})",
    "minimum": "minimum({0}, {1}, out={out})",  # elsewhere the keyword costs time
    "maximum": "maximum({0}, {1}, out={out})",
    "copyto": "copyto({out}, {0})",
    "take": "take({0}, {1}, axis={axis}, mode='clip', out={out})",
    "put": "{out}[..., {0}] = {1}",
    "add at": "{out}[..., {0}] += {1}",
    "parts": "copyto({out}.reshape({axis}, len({0}), -1), {0}.reshape(len({0}), {axis}, -1).swapaxes(0, 1))",
    "add to": "add({out}, {0}, {out})",
}


class Line(NamedTuple):
    """One call, out = function(*args), along an axis if there is one; `part` says of what it is a part."""

    function: str
    args: tuple[Any, ...]  # symbols, numbers, arrays of positions
    out: Symbol
    axis: int | tuple[int, ...] | None
    part: tuple[Any, ...]

    @property
    def reads(self) -> list[Buffer]:
        """The buffers of its arguments."""
        return [buffer for x in self.args if isinstance(x, Symbol) for buffer in x.buffers]

    @property
    def entrywise(self) -> bool:
        """Whether each entry of the output is computed from the same entry of whole arguments."""
        symbols = (x for x in (*self.args, self.out) if isinstance(x, Symbol))
        return self.function in ENTRYWISE and all(x.whole for x in symbols)

    @property
    def overwrites(self) -> list[Buffer]:
        """The buffers of arguments in which the output may lie: of more than one number, or else NumPy is slower."""
        if self.out.buffer.size == 1 or not self.entrywise:
            return []
        alike = (x for x in self.args if isinstance(x, Symbol) and key_of(x)[1:] == key_of(self.out)[1:])
        return [buffer for x in alike for buffer in x.buffers]

    @property
    def writes(self) -> tuple[Buffer, ...]:
        """The buffers of its output."""
        return self.out.buffers


@dataclass
class Code:
    """The lines of a program, and the buffers they write to."""

    dtype: Any
    buffers: list[Buffer] = field(default_factory=list)
    lines: list[Line] = field(default_factory=list)
    part: tuple[Any, ...] = ()  # of what the next lines are a part: words, or an array
    known: dict[Any, Symbol] = field(default_factory=dict)  # call → its result
    made: dict[Any, tuple[Any, ...]] = field(default_factory=dict)  # the result of `call` → its (function, *args)
    views: dict[tuple[Any, ...], str] = field(default_factory=dict)  # view → its name in the text
    constants: dict[Any, tuple[str, Any]] = field(default_factory=dict)  # numbers and index arrays, with their names
    results: dict[str, list[Symbol]] = field(default_factory=dict)  # of each function that is to be compiled
    _compiled: dict[str, list[CodeType]] = field(default_factory=dict)

    # ── Buffers ────────────────────────────────────────────────────────────────────────────────

    def new(self, inner: Dims, varies: bool, **properties: Any) -> Symbol:
        """Return a new array in a buffer of its own."""
        self.buffers.append(Buffer(prod(inner), varies, **properties))
        return Symbol(self, self.buffers[-1], (), (), 0, 0 if varies else None).view(inner, strides_of(inner))

    def array(self, x: Any) -> Symbol:
        """Return the array of numbers that do not change."""
        data = np.asarray(x, bool if x.dtype == bool else self.dtype, order="C")
        key = ("array", *key_of(data))
        if key not in self.known:
            self.known[key] = self.new(data.shape, False, data=data.reshape(-1))
        return self.known[key]

    def filled(self, x: float, inner: Dims, varies: bool) -> Symbol:
        """Return an array of one number again and again."""
        key = ("filled", repr(x), inner, varies)
        if key not in self.known:
            self.known[key] = self.new(inner, varies, fill=x)
        return self.known[key]

    # ── Lines ──────────────────────────────────────────────────────────────────────────────────

    def add(self, function: str, *args: Any, out: Symbol, axis: Any = None) -> None:
        """Add a line."""
        self.lines.append(Line(function, args, out, axis, self.part))

    def once(
        self, inner: Dims, varies: bool, function: str, *args: Any, axis: Any = None, rows: bool = False
    ) -> Symbol:
        """Return the result of a line, in a buffer of its own; the same line is added only once."""
        key = (function, axis, *map(key_of, args))
        if key not in self.known:
            out = self.known[key] = self.new(inner, varies, boolean=function in COMPARISONS)
            self.add(function, *args, out=out.rows() if rows else out, axis=axis)
        return self.known[key]

    def call(self, function: str, *args: Any) -> Any:
        """Return the entry-by-entry function of symbols and numbers, as NumPy broadcasts."""
        symbols = [x for x in args if isinstance(x, Symbol)]
        if not symbols:
            return getattr(ieee, function)(*args)
        if function == "where":
            args = (self._condition(args[0]), *args[1:])
        elif function not in COMPARISONS and all(map(self._is_mask, args)):
            args = tuple(map(self.unmasked, args))
        if function == "multiply" and isinstance(args[0], float):
            args = args[::-1]
        if (simple := self._simplify(function, *args)) is not None:
            return simple
        inner = np.broadcast_shapes(*(x.inner for x in symbols))
        varies = any(x.varies for x in symbols)
        if function in ("minimum", "maximum"):  # NumPy takes three times as long with a single number
            args = tuple(x if isinstance(x, Symbol) else self.filled(x, inner, varies) for x in args)
        result = self.once(inner, varies, function, *(aligned(x, inner) for x in args))
        self.made[key_of(result)] = (function, *args)
        return result

    def unmasked(self, x: Any) -> Any:
        """Return a mask as numbers, 1.0 where it is true, as Python computes; NumPy has rules of its own for True."""
        if isinstance(x, bool):
            return float(x)
        return self.once(x.inner, x.varies, "multiply", x, self.array(np.ones(()))) if self._is_mask(x) else x

    def _is_mask(self, x: Any) -> bool:
        """Return whether it is true or false, and no number."""
        return x.buffer.boolean if isinstance(x, Symbol) else isinstance(x, bool)

    def _condition(self, x: Any) -> Any:
        """Return a number as a mask: whether it is not 0."""
        if isinstance(x, Symbol):
            return x if self._is_mask(x) else self.call("not_equal", x, 0.0)
        return bool(x)

    def _simplify(self, function: str, *args: Any) -> Any:
        """Return the result in the few cases that matter for speed, else None.

        0 + x, x·1, x², c·(d·x) = (c·d)·x, known conditions, masks as numbers.
        """
        made = self.made.get(key_of(args[0]))
        match (made, function, *args):  # patterns test for float first: == of a symbol is one more call to write
            case (_, "add" | "subtract", float(c), x) if c == 0.0:
                return x if function == "add" else -x
            case (_, "multiply" | "power", x, float(c)) if c == 1.0:
                return x
            case (_, "power", x, float(c)) if c == 2.0:
                return x * x
            case (("multiply", y, float(d)), "negative", _):
                return y * -d
            case (("multiply", y, float(d)), "abs", _):
                return self.call("abs", y) * abs(d)
            case (("multiply", y, float(d)), "multiply", _, float(c)) if (
                min(abs(c), abs(d)) >= 1 / MODEST and max(abs(c), abs(d)) <= MODEST
            ):
                return y * (c * d)
            case (_, "bitwise_and", bool(c), x):
                return x if c else False
            case (_, "where", bool(c), a, b):
                return a if c else b
            case (_, "where", mask, float(a), float(b)) if {a, b} == {0.0, 1.0}:
                return 1.0 - mask if b else self.unmasked(mask)
            case (("less_equal", y, float() | int() as a), "where", _, float(b), x) if x is y and a == b == 0:
                return self.call("maximum", x, 0.0)  # of equals NumPy takes the second: never −0
        return None

    def whole(self, x: Any, inner: Dims, varies: bool) -> Symbol:
        """Return x broadcast to these dims, in the order of a buffer: a copy, unless it is so already."""
        if isinstance(x, Symbol) and x.whole and x.inner == inner and x.varies == varies:
            return x
        return self.copy(x, inner, varies)

    def copy(self, x: Any, inner: Dims, varies: bool) -> Symbol:
        """Return x broadcast to these dims, in a buffer of its own."""
        out = self.new(inner, varies)
        self.add("copyto", aligned(x, inner), out=out)
        return out

    def take(self, x: Symbol, index: Ints, missing: float = 0.0) -> Symbol:
        """Return x[index] of a flat x: a view for equal steps, else a gather; where the index is −1, `missing`."""
        if (index < 0).any():
            found = self.take(x, np.maximum(index, 0))
            return self.once(index.shape, x.varies, "where", self.array(index < 0), missing, found)
        if steps := affine(index):
            return x.view(index.shape, *steps)
        return self.once(index.shape, x.varies, "take", x, index, axis=-1)

    def put(self, x: Symbol, index: Ints, out: Symbol, add: bool) -> None:
        """Add out[index] = x, or with `add` out[index] += x, for a flat out and different indices."""
        if steps := affine(index):
            self.add("add to" if add else "copyto", x, out=out.view(index.shape, *steps))
        else:
            self.add("add at" if add else "put", index, x, out=out)

    def reduce(self, function: str, x: Symbol, starts: Ints | None = None) -> Symbol:
        """Return the reduction of the last axis, or of each of its segments."""
        if starts is not None:
            return self.once((len(starts),), x.varies, f"{function}.reduceat", x, starts, axis=-1)
        if x.inner[-1] == 1:
            return x.view(x.inner[:-1], x.strides[x.varies : -1], x.offset)
        return self.once(x.inner[:-1], x.varies, f"{function}.reduce", x, axis=-1)

    def repeat(self, x: Any, starts: Ints | None, size: int) -> Any:
        """Return the transpose of `reduce`: for each term its sum's entry, along a last axis or for all `size` terms."""
        if x is None or not x.inner:
            return x
        if starts is not None:
            return self.take(x.reshape(len(starts)), np.repeat(np.arange(len(starts)), np.diff([*starts, size])))
        return x.view((*x.inner, 1), (*x.strides[x.varies :], 0), x.offset)

    def sum_over(self, x: Symbol, axes: list[int]) -> Symbol:
        """Return the sum over some of the axes, that of the samples included."""
        if not axes:
            return x
        inner = tuple(d for axis, d in enumerate(x.dims) if axis not in axes and axis >= x.varies)
        if x.whole and axes == list(range(len(axes))):
            # of the rows of a matrix: BLAS adds them up faster than add.reduce
            count = prod(x.dims[: len(axes)])
            ones, matrix = self.filled(1.0, (count, 1), x.varies), x.reshape(count, prod(inner))
            total: Symbol = ones.rows().T @ matrix.rows() if x.varies else ones.T @ matrix
            return total.reshape(*inner)
        return self.once(inner, x.varies and 0 not in axes, "add.reduce", x, axis=tuple(axes))

    def matmul(self, a: Symbol, b: Symbol) -> Symbol:
        """Return a @ b for each sample; their sum where samples are the columns of a and the rows of b."""
        varies = (a.varies or b.varies) and a.samples != len(a.dims) - 1
        inner = (*a.inner[:-2], a.dims[-2], b.dims[-1])
        rows = a.varies and not b.varies and a.has_rows  # one product for all samples
        a = a.rows() if rows else a
        # dot has the smaller overhead, but writes zeros to a large result first
        plain = len(a.dims) == len(b.dims) == 2 and (varies or prod(inner) < 4096)
        return self.once(inner, varies, "dot" if plain else "matmul", a, b, rows=rows)

    def namespace(self) -> Any:
        """Return what the rules of `ops` use as xp."""
        return Namespace(**{name: partial(self.call, name) for name in FUNCTIONS})

    def stacked(self, starts: Ints | None) -> Any:
        """Return the same for n-ary rules whose operands are all in one array: a row or a segment for each result."""

        def over(function: str, x: Any) -> Any:
            return self.repeat(self.reduce(function, x[0], starts), starts, x[0].inner[-1])

        xp = self.namespace()
        xp.sum, xp.max = partial(over, "add"), partial(over, "maximum")
        return xp

    # ── Text ───────────────────────────────────────────────────────────────────────────────────

    def needed(self, name: str) -> list[Line]:
        """Return the lines that matter for the results of this name."""
        needed, lines = {x.buffer for x in self.results[name]}, []
        for line in reversed(self.lines):
            if not needed.isdisjoint(line.writes):
                needed.update(line.reads)
                lines.append(line)
        return lines[::-1]

    def finish(self, **results: list[Symbol]) -> None:
        """Leave out the lines that matter for no results.

        Results are listed by the name of a function; the last list has all. An argument of which parts are read
        is copied first.
        """
        self.results = results
        lines = self.needed(list(results)[-1])
        parts = {x.buffer for line in lines for x in line.args if isinstance(x, Symbol) and not x.whole}
        given = [buffer for buffer in self.buffers if buffer.given and buffer in parts]
        wholes = [Symbol(self, x, (), (), 0, 0).view((x.size,), strides_of((x.size,))) for x in given]
        self.lines = [*(Line("copyto", (x,), x, None, ("arguments that are read in parts",)) for x in wholes), *lines]
        self.known.clear()

    def name_all(self) -> None:
        """Name what the lines read and write."""
        for line in self.lines:
            self._names(line)

    def name(self, x: Any, is_output: bool = False) -> str:
        """Return what the text calls an argument or an output."""
        if not isinstance(x, Symbol):
            return self.constants.setdefault(key_of(x), (f"c{len(self.constants) + 1}", x))[0]
        if x.buffer.given and x.whole and not is_output:  # the argument itself
            dims = ", ".join(map(str, (-1, *x.dims[1:])))
            return x.buffer.given if x.dims == (1, x.buffer.size) else f"{x.buffer.given}.reshape({dims})"
        view = x.buffer.place or x.buffer, *key_of(x)[1:]
        return self.views.setdefault(view, f"a{len(self.views) + 1}")

    def _names(self, line: Line) -> tuple[list[str], str]:
        """Return what the text calls the arguments and the output of a line."""
        return list(map(self.name, line.args)), self.name(line.out, is_output=True)

    def _text(self, line: Line) -> str:
        args, out = self._names(line)
        form = FORMS.get(line.function)
        if form is None:
            keywords = "{out}" if line.axis is None else "axis={axis}, out={out}"
            form = f"{line.function}({', '.join(args)}, {keywords})"
        return "    " + form.format(*args, out=out, axis=line.axis)

    def _function(self, name: str, lines: list[str]) -> str:
        arguments = ", ".join(buffer.given for buffer in self.buffers if buffer.given)
        return "\n".join([f"def {name}({arguments}):", *(lines or ["    pass"])]) + "\n"

    def source(self, name: str) -> str:
        """Return a function of the arguments that computes the results; comments say what each part computes."""
        texts = []
        for part, lines in groupby(self.needed(name), lambda line: line.part):
            texts += ["    # " + clean("".join(map(str, part))), *map(self._text, lines)]
        return self._function("run", texts)

    def compiled(self, name: str) -> list[CodeType]:
        """Return the same, compiled: functions to be called in turn, for a long one takes much memory."""
        if name not in self._compiled:
            texts = list(map(self._text, self.needed(name)))
            chunks = [self._function(name, texts[i : i + CHUNK]) for i in range(0, len(texts) or 1, CHUNK)]
            modules = [compile(chunk, "<array program>", "exec") for chunk in chunks]
            self._compiled[name] = [next(c for c in m.co_consts if isinstance(c, CodeType)) for m in modules]
        return self._compiled[name]
