"""Stack: lines that do the same to different arrays, none of them waiting for another, become one line.

The local derivatives of a recurrence, for one, need nothing but its states: of 20 steps with 8 lines each, 8 lines
are left, on arrays in which those of the 20 steps lie one behind the other. It is for few samples, where a line
takes as long for ten numbers as for a thousand; of many, small arrays stay in the cache.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import product
from math import prod
from typing import Any

from microgradlike.matrix.arrays import Apply, Array
from microgradlike.matrix.indices import strides_of
from microgradlike.matrix.lines import Code, Line
from microgradlike.matrix.symbols import Buffer, Symbol, key_of

ENTRYWISE = {"add", "subtract", "multiply", "divide", "negative", "power", "maximum", "minimum", "abs",
             "exp", "expm1", "log", "log1p", "sqrt", "sin", "cos", "tanh"}  # fmt: skip


def stack(code: Code) -> None:
    """Join the lines of a program, as far as it goes."""
    while _join(code):
        pass
    _join_products(code)


# ── Lines that work entry by entry ─────────────────────────────────────────────────────────────


def _join(code: Code) -> bool:
    """Join lines whose arguments lie in the same stacks, or in none yet; return whether there were any."""
    lines, joined, left_out = code.lines, dict[int, Line](), set[int]()
    for group in sorted(_groups(lines), key=len, reverse=True):
        first = min(group)
        alike = [lines[i] for i in group]
        sides = [[x.buffer for x in side] for side in zip(*map(_symbols, alike))]
        place = {
            buffer: i for stack in {side[0].stack for side in sides} if stack for i, buffer in enumerate(stack.parts)
        }
        alike.sort(key=lambda line: [place.get(x.buffer, -1) for x in _symbols(line)])
        sides = [[x.buffer for x in side] for side in zip(*map(_symbols, alike))]
        if _may_be_stacked(sides):
            whole = {side[0]: _stacked(code, side) for side in sides}
            args = tuple(whole[x.buffer] if isinstance(x, Symbol) else x for x in alike[0].args)
            joined[first] = lines[first]._replace(args=args, out=whole[alike[0].out.buffer])
            left_out.update(set(group) - {first})
    code.lines = [joined.get(i, line) for i, line in enumerate(lines) if i not in left_out]
    return bool(joined)


def _groups(lines: Sequence[Line]) -> list[list[int]]:
    """Return groups of lines that do the same to other arrays, which are all there before the first of them."""
    written = Counter(buffer for line in lines for buffer in line.writes)
    when = {buffer: i for i, line in enumerate(lines) for buffer in line.writes}
    groups: list[list[int]] = []
    growing: dict[Any, list[int]] = {}  # the last group of each kind
    for i, line in enumerate(lines):
        symbols = _symbols(line)
        buffers, out = [x.buffer for x in symbols], line.out.buffer
        like_out = all((b.size, b.varies, b.boolean, written[b]) == (out.size, out.varies, False, 1) for b in buffers)
        elsewhere = out.stack or any(b.given or b.data is not None for b in buffers)
        if line.function not in ENTRYWISE or not like_out or elsewhere or not all(x.whole for x in symbols):
            continue
        arguments = [(x.buffer.stack, buffers.index(x.buffer)) if isinstance(x, Symbol) else repr(x) for x in line.args]
        kind = line.function, out.size, out.varies, *_origin(line), *arguments
        group = growing.get(kind)
        if group and all(when[buffer] < group[0] for buffer in line.reads):
            group.append(i)
        else:
            growing[kind] = [i]
            groups.append(growing[kind])
    return [group for group in groups if len(group) > 1]


def _origin(line: Line) -> list[Any]:
    """Return what a line is a part of: an operation, or the way back through it. Others would be in the way later."""
    arrays = [x.instruction for x in line.part if isinstance(x, Array)]
    return [x.op if isinstance(x, Apply) else type(x) for x in arrays] + [
        x for x in line.part[:1] if isinstance(x, str)
    ]


def _symbols(line: Line) -> list[Symbol]:
    return [x for x in (*line.args, line.out) if isinstance(x, Symbol)]


def _may_be_stacked(sides: list[list[Buffer]]) -> bool:
    """Return whether each side is a stack, in its order, or buffers that lie in none, each there once."""
    free = [side for side in {side[0]: side for side in sides}.values() if not side[0].stack]
    buffers = [buffer for side in free for buffer in side]
    return (
        all(side == list(side[0].stack.parts) for side in sides if side[0].stack)
        and len(set(buffers)) == len(buffers)
        and not any(buffer.stack for buffer in buffers)
    )


def _stacked(code: Code, buffers: list[Buffer]) -> Symbol:
    """Return the array of all these buffers, one behind the other."""
    first = buffers[0]
    inner = (first.size * len(buffers),)
    if first.stack is None:
        whole = code.new(inner, first.varies).buffer
        whole.parts = tuple(buffers)
        for buffer in buffers:
            buffer.stack = whole
    return Symbol(code, first.stack, (), (), 0, 0 if first.varies else None).view(inner, strides_of(inner))  # type: ignore[arg-type]


# ── Products that are added up ─────────────────────────────────────────────────────────────────


def _join_products(code: Code) -> None:
    """Join the products that a sum adds, Σₜ δₜᵀ aₜ, where each adds up the samples of a step: one adds up all."""
    lines = code.lines
    written = Counter(buffer for line in lines for buffer in line.writes)
    read = Counter(
        [*(b for line in lines for b in line.reads), *(x.buffer for xs in code.results.values() for x in xs)]
    )
    maker = {line.out.buffer: i for i, line in enumerate(lines) if written[line.out.buffer] == 1}
    sums = {
        i for i, line in enumerate(lines) if line.function == "add" and all(map(_is_shared, (*line.args, line.out)))
    }
    within = {x.buffer for i in sums for x in lines[i].args if read[x.buffer] == 1 and maker.get(x.buffer) in sums}
    left_out: set[int] = set()
    instead: dict[int, list[Line]] = {}
    ends = [i for i in sorted(sums) if lines[i].out.buffer not in within]
    for of_rows, end in product((False, True), ends):  # those of two arrays have the choice of the order
        adds, terms = [end], []
        for i in adds:  # which grows
            for x in lines[i].args:
                adds.extend([maker[x.buffer]] if x.buffer in within else [])
                terms.extend([] if x.buffer in within else [x])
        products: dict[Any, list[int]] = {}
        for x in terms:
            i = maker.get(x.buffer, -1)
            if i >= 0 and read[x.buffer] == 1 and (kind := _kind_of_product(code, lines[i], written)):
                products.setdefault(kind, []).append(i)
        joined = []
        for (function, K, C, J, *_), group in products.items():
            sides = [[x.buffer for x in side] for side in zip(*(lines[i].args for i in group))]
            sides = [side for side in sides if side[0].fill is None]
            place = {b: i for stack in {side[0].stack for side in sides} if stack for i, b in enumerate(stack.parts)}
            order = sorted(range(len(group)), key=lambda i: [place.get(side[i], -1) for side in sides])
            sides = [[side[i] for i in order] for side in sides]
            if len(group) > 1 and (len(sides) == 1) == of_rows and _may_be_stacked(sides):
                count = len(group) * C
                *left, right = (_stacked(code, side).buffer for side in sides)
                a = _rows(code, left[0], count, K) if left else code.filled(1.0, (count, 1), True).rows()
                joined.append(
                    Line(function, (a.T, _rows(code, right, count, J)), code.new((K, J), False), None, lines[end].part)
                )
                left_out.update(group)
                terms = [x for x in terms if maker.get(x.buffer) not in group]
        if joined:
            left_out.update(adds)
            if len(joined) == 1 and not terms:
                joined = [joined[0]._replace(out=lines[end].out.reshape(*joined[0].out.inner))]
            instead[end] = joined + _sum_of(code, [*terms, *(line.out for line in joined)], lines[end])
    code.lines = [new for i, line in enumerate(lines) for new in instead.get(i, [] if i in left_out else [line])]


def _is_shared(x: Any) -> bool:
    """Return whether it is a whole array that is the same for all samples."""
    return isinstance(x, Symbol) and x.whole and not x.varies


def _kind_of_product(code: Code, line: Line, written: Counter[Buffer]) -> tuple[Any, ...] | None:
    """Return what products that may be joined have in common: δᵀ a, of the rows of all samples in both; else None."""
    match line:
        case Line("dot" | "matmul", (Symbol(samples=1) as a, Symbol(samples=0) as b), axis=None) if len(a.dims) == 2:
            (K, C), (_, J) = a.dims, b.dims
            for x, rows in (a, (C, K)), (b, (C, J)):
                usual = _rows(code, x.buffer, *rows) if prod(rows) == x.buffer.size else None
                if usual is None or key_of(x) != key_of(usual.T if x is a else usual):
                    return None
                if x.buffer.given or x.buffer.data is not None or written[x.buffer] != (x.buffer.fill is None):
                    return None
            return line.function, K, C, J, a.buffer.stack, a.buffer.fill, b.buffer.stack
    return None


def _rows(code: Code, buffer: Buffer, count: int, size: int) -> Symbol:
    """Return the matrix of the rows of all samples, so many of each."""
    inner = count, size
    return Symbol(code, buffer, (), (), 0, 0).view(inner, strides_of(inner)).rows()


def _sum_of(code: Code, terms: list[Symbol], end: Line) -> list[Line]:
    """Return the lines that add these up, to where the line `end` put its result."""
    total, *others = (x.reshape(*end.out.inner) for x in terms)
    lines = []
    for i, x in enumerate(others, start=1):
        out = end.out if i == len(others) else code.new(end.out.inner, False)
        lines.append(end._replace(args=(total, x), out=out))
        total = out
    return lines
