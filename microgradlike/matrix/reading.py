"""What the instructions of a program read, as indices: xᵢ, x[i + 1], or x[p₁[i]] where no rule says which entry.

`match` has found positions: arrays of numbers, one for each entry that is computed (and for each k of
a sum). Here they become sums of multiples of the variables of these axes, if they follow such a rule.
"""

from __future__ import annotations

import re
from dataclasses import replace
from math import prod
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from microgradlike.matrix.arrays import Array, Group, Ref
from microgradlike.matrix.entries import Entry, Expr, Index, Lookup, Product, Table, Var
from microgradlike.matrix.indices import Ints, affine, common_dims, segments, shorten
from microgradlike.notation.digits import format_constant, subscript

SHOWN = 8  # so many rows, and so many constants or runs of positions of a row are printed
FEW = 4  # so many terms of a sum may stand one by one

Numbers = npt.NDArray[Any]
Vars = tuple[Var, ...]


class Side(NamedTuple):
    """A reference, and a variable for each axis along which it reads."""

    ref: Ref
    at: Vars


class Reading:
    """The indices of a program; the tables and the arrays of constants that they need get names.

    `vars` are the variables of every array: one for each axis that has more than one entry.
    """

    def __init__(self, arrays: list[Array]) -> None:
        self.vars = {array: _vars(array.shape) for array in arrays}
        self.tables: dict[str, Table] = {}
        self.constants: dict[str, Numbers] = {}
        self._names: dict[tuple[Any, ...], str] = {}  # of tables and constants, by what they hold
        self._taken = {array.name for array in arrays}

    # ── Which entries ──────────────────────────────────────────────────────────────────────────

    def rows(self, refs: list[Ref], starts: Ints | None, array: Array, missing: float = 0.0) -> tuple[Vars, list[Side]]:
        """Return k, for the axis that is reduced, and the references that have a row for each entry of the array."""
        if starts is not None:
            refs = [replace(ref, index=segments(ref.index, starts, -1 if ref.array else missing)) for ref in refs]
        return self._with_k([Side(ref, self.vars[array]) for ref in refs])

    def sides(self, group: Group, array: Array) -> tuple[Vars, list[Side]]:
        """Return k, and the sides of the terms of a sum."""
        if not group.is_product:
            return self.rows(group.refs, group.starts, array)
        left, right = group.refs
        (G, R, K), C = left.index.shape, right.index.shape[1]
        rest, parts = list(self.vars[array]), []
        for size in (G, C, R):
            part: Vars = ()
            while rest and _size(part) < size:
                part = (*part, rest.pop(0))
            parts.append(part)
        g, c, r = parts
        if (_size(g), _size(c), _size(r)) == (G, C, R):
            return self._with_k([Side(left, (*g, *r)), Side(right, (*g, *c))])
        # The array has a shape of its own
        grids = np.broadcast_arrays(left.index[:, None], right.index[:, :, None])
        return self.rows([replace(ref, index=x.reshape(-1, K)) for ref, x in zip(group.refs, grids)], None, array)

    def one_by_one(self, group: Group, array: Array) -> list[Group]:
        """Return the terms of a sum one by one, if they are few and follow rules only so: xᵢ + xⱼ."""
        K, dims = group.left.index.shape[-1], [var.size for var in self.vars[array]]
        several = group.starts is None and not group.is_product and array.size > 1 and 1 < K <= FEW
        indices = [ref.index for ref in group.refs if ref.array is not None]
        if not several or not indices or all(affine(index.reshape(*dims, K)) for index in indices):
            return [group]
        if not all(affine(index[..., k].reshape(dims)) for index in indices for k in range(K)):
            return [group]
        terms = [[replace(ref, index=ref.index[..., k : k + 1]) for ref in group.refs] for k in range(K)]
        return [Group(group.sign, left, right[0] if right else None) for left, *right in terms]

    def _with_k(self, sides: list[Side]) -> tuple[Vars, list[Side]]:
        """Return k, one variable, or several where what is read follows rules only so; and the sides with it."""
        size = sides[0].ref.index.shape[-1]
        first = [x.reshape(-1, size)[0] for ref, _ in sides for x in self._along(ref)]
        for dims in ((size,), common_dims(size, first), (size,)):
            k = _vars(dims)
            with_k = [Side(ref, (*at, *k)) for ref, at in sides]
            if all(affine(_shaped(x, at)) for ref, at in with_k for x in self._along(ref)):
                break
        return k, with_k

    def _along(self, ref: Ref) -> list[Ints]:
        """Return where in its array a reference reads, along each of the axes; −1 where it reads nothing."""
        shape = [] if ref.array is None else [var.size for var in self.vars[ref.array]]
        along = np.unravel_index(np.maximum(ref.index, 0), shape) if shape else ()
        return [np.where(ref.index < 0, -1, x) for x in along]

    # ── As indices ─────────────────────────────────────────────────────────────────────────────

    def positions(self, side: Side) -> tuple[Index, ...]:
        """Return where in its array a reference reads, for all values of the variables: along each axis an index."""
        return tuple(self._index(_shaped(x, side.at), side.at) for x in self._along(side.ref))

    def _index(self, numbers: Ints, at: Vars) -> Index:
        if numbers.min() >= 0 and (regular := affine(numbers)):  # −1, where nothing is read, is no position
            steps, offset = regular
            return Index(tuple((step, var) for step, var in zip(steps, at, strict=True) if step), offset)
        numbers, at = _reduced(numbers, at)
        name = self._named("p" + subscript(len(self.tables) + 1), numbers)
        table = self.tables.setdefault(name, Table(name, numbers))
        return Index.of(Lookup(table, tuple(map(Index.of, at))))

    def constant(self, numbers: Numbers, at: Vars, label: str = "") -> Expr:
        """Return a number, or the entry of an array of constants."""
        if (numbers == numbers.flat[0]).all():
            return Product(float(numbers.flat[0]))
        numbers, at = _reduced(_shaped(numbers.astype(float), at), at)
        is_identity = numbers.shape == (len(numbers),) * 2 and np.array_equal(numbers, np.eye(len(numbers)))
        name = self._named(label or ("I" if is_identity else "c" + subscript(len(self.constants) + 1)), numbers)
        self.constants.setdefault(name, numbers)
        return Entry(name, tuple(map(Index.of, at)), numbers.shape)

    def _named(self, name: str, numbers: Numbers) -> str:
        """Return the name that these numbers have, or else this one, made different from all others."""
        key = (numbers.dtype.str, numbers.shape, numbers.tobytes())
        while key not in self._names and name in self._taken:
            name += "′"
        self._taken.add(name)
        return self._names.setdefault(key, name)

    def definitions(self, lines: str) -> list[tuple[str, str, tuple[int, ...]]]:
        """Return name, text and shape of the tables and constants that these lines name."""
        texts = [(name, _rules(table.numbers), table.numbers.shape) for name, table in self.tables.items()]
        texts += [(name, _list(numbers), numbers.shape) for name, numbers in self.constants.items()]
        factor = r"(?<!\w)(?:[\d.]+|[½¼])?"  # a number in front is no part of the name
        return [text for text in texts if re.search(rf"{factor}{re.escape(text[0])}(?![₀-₉′])", lines)]


def _vars(shape: tuple[int, ...]) -> Vars:
    return tuple(Var(d) for d in shape if d > 1)


def _size(vars: Vars) -> int:
    return prod(var.size for var in vars)


def _shaped(numbers: Numbers, at: Vars) -> Numbers:
    return numbers.reshape([var.size for var in at])


def _reduced(numbers: Numbers, at: Vars) -> tuple[Numbers, Vars]:
    """Drop the axes along which all is the same."""
    keep = [axis for axis in range(numbers.ndim) if (numbers != numbers.take([0], axis)).any()]
    numbers = numbers[tuple(slice(None) if axis in keep else 0 for axis in range(numbers.ndim))]
    return numbers, tuple(at[axis] for axis in keep)


def _list(numbers: Numbers) -> str:
    """Write [0.5, 1]; only the first numbers where there are many."""
    return f"[{shorten([_list(x) if numbers.ndim > 1 else format_constant(x) for x in numbers[: SHOWN + 1]], SHOWN)}]"


def _rules(numbers: Ints) -> str:
    """Write [1:4, 7]: positions counted from 1, and 0 where there is none; those at the end are left out."""
    if numbers.ndim > 1:
        return f"[{shorten([*map(_rules, numbers[: SHOWN + 1])], SHOWN)}]"
    numbers = numbers[: np.flatnonzero(numbers >= 0).max(initial=-1) + 1] + 1
    runs = np.split(numbers, ((np.diff(numbers) != 1) | (numbers[:-1] == 0)).nonzero()[0] + 1)
    texts = [f"{run[0]}:{run[-1]}" if len(run) > 2 else ", ".join(map(str, run)) for run in runs]
    return f"[{shorten(texts, SHOWN)}]"
