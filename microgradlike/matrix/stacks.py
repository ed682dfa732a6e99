"""Stack: lines that do the same to different arrays, none of them waiting for another, become one line.

The local derivatives of a recurrence, for one, need nothing but its states: of 20 steps with 8 lines each, 8 lines
are left, on arrays in which those of the 20 steps lie one behind the other. So are the products of its inputs with
their weights, and the biases that are added to them. It is for few samples, where a line takes as long for ten
numbers as for a thousand; of many, small arrays stay in the cache.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from itertools import product
from math import prod
from typing import Any

from microgradlike.matrix.arrays import Apply, Array
from microgradlike.matrix.indices import Dims, strides_of
from microgradlike.matrix.lines import ENTRYWISE, Code, Line
from microgradlike.matrix.symbols import Buffer, Symbol, key_of


def stack(code: Code) -> None:
    """Join the lines of a program, as far as it goes."""
    _part_arguments(code)
    while _join(code):
        pass
    _join_products(code)


def _part_arguments(code: Code) -> None:
    """Let the rows of an argument that are read one by one, as those of a sequence, lie one behind the other."""
    for i, copy in enumerate(code.lines):
        given = copy.out.buffer
        if not given.given:
            break
        read = [x for line in code.lines[i + 1 :] for x in line.args if isinstance(x, Symbol) and x.buffer is given]
        size = max(prod(x.dims) for x in read)
        if given.size % size or any(x.offset % size or not _is_row(x, size) for x in read):
            continue
        parts = [code.new((size,), True).buffer for _ in range(given.size // size)]
        part = {}
        for x in read:
            buffer = parts[x.offset // size]
            part[key_of(x)] = Symbol(code, buffer, *_row(buffer, size), 0, 0)
        code.lines = [line._replace(args=tuple(part.get(key_of(x), x) for x in line.args)) for line in code.lines]
        rows = _rows(_stacked(code, parts), len(parts), size)
        code.lines[i] = copy._replace(function="parts", out=rows, axis=len(parts))


# ── Lines that work entry by entry, or row by row ──────────────────────────────────────────────


def _join(code: Code) -> bool:
    """Join lines whose arguments lie in the same stacks, or in none yet; return whether there were any."""
    lines, joined, left_out = code.lines, dict[int, Line](), set[int]()
    for group in sorted(_groups(lines), key=len, reverse=True):
        first = min(group)
        alike = [lines[i] for i in group]
        sides = [[x.buffer for x in side] for side in zip(*map(_own, alike))]
        place = {
            buffer: i for stack in {side[0].stack for side in sides} if stack for i, buffer in enumerate(stack.parts)
        }
        alike.sort(key=lambda line: [place.get(x.buffer, -1) for x in _own(line)])
        sides = [[x.buffer for x in side] for side in zip(*map(_own, alike))]
        if _may_be_stacked(sides):
            whole = {side[0]: _stacked(code, side) for side in sides}
            if _shared(alike[0]):
                whole = {buffer: _rows(x, len(group), buffer.size) for buffer, x in whole.items()}
            args = tuple(whole.get(x.buffer, x) if isinstance(x, Symbol) else x for x in alike[0].args)
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
        buffers = [x.buffer for x in _own(line)]
        if line.out.buffer.stack or not (_works_by_rows(line) if _shared(line) else _works_by_entries(line)):
            continue
        if any(b.boolean or b.given or b.data is not None or written[b] != 1 for b in buffers):
            continue
        arguments = [
            (x.buffer.size, x.buffer.stack, buffers.index(x.buffer)) if isinstance(x, Symbol) and x.buffer in buffers
            else key_of(x) for x in line.args
        ]  # fmt: skip
        kind = line.function, line.out.buffer.size, line.out.varies, *_origin(line), *arguments
        group = growing.get(kind)
        if group and all(when.get(buffer, -1) < group[0] for buffer in line.reads):
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


def _own(line: Line) -> list[Symbol]:
    """Return what such lines have each for itself."""
    return [x for x in (*line.args, line.out) if isinstance(x, Symbol) and x.varies == line.out.varies]


def _shared(line: Line) -> list[Symbol]:
    """Return what such lines have in common: a matrix or a bias, the same for all samples."""
    return [x for x in line.args if isinstance(x, Symbol) and x.varies != line.out.varies]


def _works_by_entries(line: Line) -> bool:
    return line.entrywise and all(x.buffer.size == line.out.buffer.size for x in _own(line))


def _works_by_rows(line: Line) -> bool:
    """Return whether it is x Wᵀ, or entry by entry x and b: of one row for each sample."""
    if line.function in ENTRYWISE:
        fits = all(x.dims == line.out.dims[1:] for x in _shared(line)) and len(_own(line)) > 1
    else:
        fits = line.function in ("dot", "matmul") and line.args[0].varies
    return fits and all(_is_row(x, x.buffer.size) for x in _own(line))


def _is_row(x: Symbol, size: int) -> bool:
    return x.varies and (x.dims, x.strides) == _row(x.buffer, size)


def _row(buffer: Buffer, size: int) -> tuple[Dims, Dims]:
    """Return dims and strides of so many numbers of a buffer, a row for each sample."""
    return (1, size), (buffer.size, int(size > 1))


def _may_be_stacked(sides: list[list[Buffer]]) -> bool:
    """Return whether each side is a run of a stack, in its order, or buffers that lie in none, each there once."""
    free = [side for side in {side[0]: side for side in sides}.values() if not side[0].stack]
    buffers = [buffer for side in free for buffer in side]
    return (
        all(side == list(side[0].stack.parts[_place(side[0]) :][: len(side)]) for side in sides if side[0].stack)
        and len(set(buffers)) == len(buffers)
        and not any(buffer.stack for buffer in buffers)
    )


def _stacked(code: Code, buffers: list[Buffer]) -> Symbol:
    """Return the array of all these buffers, one behind the other."""
    first = buffers[0]
    size = first.size * len(buffers)
    if first.stack is None:
        whole = code.new((size,), first.varies).buffer
        whole.parts = tuple(buffers)
        for buffer in buffers:
            buffer.stack = whole
    assert first.stack is not None
    x = Symbol(code, first.stack, (size,), (1,), _place(first) * first.size)
    return replace(x, dims=(1, size), strides=(size, 1), samples=0) if first.varies else x


def _place(buffer: Buffer) -> int:
    """Return which part of its stack it is."""
    assert buffer.stack is not None
    return buffer.stack.parts.index(buffer)


def _rows(x: Symbol, count: int, size: int) -> Symbol:
    """Return a flat array as the matrix of the rows of all samples, so many of each."""
    return replace(x, dims=(count, size), strides=(size, *strides_of((size,))))


# ── Products that are added up ─────────────────────────────────────────────────────────────────


def _join_products(code: Code) -> None:
    """Join the products that a sum adds, Σₜ δₜᵀ aₜ, where each adds up the samples of a step: one adds up all."""
    lines = code.lines
    written = Counter(buffer for line in lines for buffer in line.writes)
    read = Counter(
        [*(b for line in lines for b in line.reads), *(x.buffer for xs in code.results.values() for x in xs)]
    )
    maker = {line.out.buffer: i for i, line in enumerate(lines) if written[line.out.buffer] == 1}
    sums = {i for i, line in enumerate(lines) if line.function == "add" and _adds_alike(line)}
    within = {x.buffer for i in sums for x in lines[i].args if read[x.buffer] == 1 and maker.get(x.buffer) in sums}
    left_out: set[int] = set()
    instead: dict[int, list[Line]] = {}
    whole: list[tuple[int, list[int], list[Symbol], list[Line]]] = []  # (last line, lines, terms, what joins some)
    for end in sorted(sums):
        if lines[end].out.buffer not in within:
            adds, terms = [end], []
            for i in adds:  # which grows
                for x in lines[i].args:
                    adds.extend([maker[x.buffer]] if x.buffer in within else [])
                    terms.extend([] if x.buffer in within else [x])
            whole.append((end, adds, terms, []))
    for of_rows, (end, _, terms, joined) in product((False, True), whole):  # those of two arrays choose the order
        products: dict[Any, list[int]] = {}
        for x in terms:
            at = maker.get(x.buffer)
            if at is not None and read[x.buffer] == 1 and (kind := _kind_of_product(lines[at], written)):
                products.setdefault(kind, []).append(at)
        for (function, K, C, J, *_), group in products.items():
            sides = [[x.buffer for x in side] for side in zip(*(lines[i].args for i in group))]
            sides = [side for side in sides if side[0].fill is None]
            place = {b: i for stack in {side[0].stack for side in sides} if stack for i, b in enumerate(stack.parts)}
            made = [maker.get(buffer, -1) for buffer in sides[-1]]  # in this order, as the parts of an argument
            order = sorted(range(len(group)), key=lambda i: [*(place.get(side[i], -1) for side in sides), made[i]])
            sides = [[side[i] for i in order] for side in sides]
            if len(group) > 1 and (len(sides) == 1) == of_rows and _may_be_stacked(sides):
                count = len(group) * C
                *left, right = (_stacked(code, side) for side in sides)
                a = _rows(left[0], count, K) if left else code.filled(1.0, (count, 1), True).rows()
                joined.append(
                    Line(function, (a.T, _rows(right, count, J)), code.new((K, J), False), None, lines[end].part)
                )
                left_out.update(group)
                terms[:] = [x for x in terms if maker.get(x.buffer) not in group]
    for end, adds, terms, joined in whole:
        if joined:
            left_out.update(adds)
            if len(joined) == 1 and not terms:
                joined = [joined[0]._replace(out=lines[end].out.reshape(*joined[0].out.inner))]
            instead[end] = joined + _sum_of(code, [*terms, *(line.out for line in joined)], lines[end])
    code.lines = [new for i, line in enumerate(lines) for new in instead.get(i, [] if i in left_out else [line])]


def _adds_alike(line: Line) -> bool:
    """Return whether it adds whole arrays of one size, the same for all samples."""
    alike = (isinstance(x, Symbol) and x.whole and not x.varies for x in (*line.args, line.out))
    return all(alike) and all(x.buffer.size == line.out.buffer.size for x in line.args)


def _kind_of_product(line: Line, written: Counter[Buffer]) -> tuple[Any, ...] | None:
    """Return what products that may be joined have in common: δᵀ a, of the rows of all samples in both; else None."""
    match line:
        case Line("dot" | "matmul", (Symbol(samples=1) as a, Symbol(samples=0) as b), axis=None) if len(a.dims) == 2:
            (K, C), (_, J) = a.dims, b.dims
            for x, rows in (a, (C, K)), (b, (C, J)):
                if prod(rows) != x.buffer.size:
                    return None
                usual = x.view(rows, strides_of(rows)).rows()
                if key_of(x) != key_of(usual.T if x is a else usual):
                    return None
                if x.buffer.given or x.buffer.data is not None or written[x.buffer] != (x.buffer.fill is None):
                    return None
            return line.function, K, C, J, a.buffer.stack, a.buffer.fill, b.buffer.stack
    return None


def _sum_of(code: Code, terms: list[Symbol], end: Line) -> list[Line]:
    """Return the lines that add these up, to where the line `end` put its result."""
    total, *others = (x.reshape(*end.out.inner) for x in terms)
    lines = []
    for i, x in enumerate(others, start=1):
        out = end.out if i == len(others) else code.new(end.out.inner, False)
        lines.append(end._replace(args=(total, x), out=out))
        total = out
    return lines
