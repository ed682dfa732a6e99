"""Writing of expressions as formulas: in matrix notation where there is one, else entry by entry.

Matrix notation knows products W x and X Wᵀ, w · x, ⊙ for arrays of one shape, Σ over all entries, and
numbers beside arrays. An array that meets one of another shape, or is summed along one of its axes, has
none: then the line is written with indices, vᵢⱼ = tanh(xᵢ − xⱼ).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import suppress
from itertools import permutations

from microgradlike.matrix.entries import Add, Each, Entry, Expr, Index, Lookup, Over, Product, Put, Softmax, Var, total
from microgradlike.notation.digits import INDEX_LETTERS, subscript, superscript
from microgradlike.notation.typeset import (
    ATOM,
    MATRIX,
    POWER,
    PRODUCT,
    Formula,
    add,
    call,
    fill,
    multiply,
    transpose,
    verbatim,
)

INDICES = [letter + prime for prime in ("", "′") for letter in INDEX_LETTERS]
LIST = 8  # so many positions that follow no rule stand in a list


class NoNotation(Exception):
    """There is no matrix notation for an expression."""


class Writer:
    """Writes expressions with letters for the indices that no array is named like."""

    def __init__(self, names: Iterable[str]) -> None:
        taken = set(names)
        self.letters = [letter for letter in INDICES if letter not in taken]

    def line(self, name: str, vars: Sequence[Var], x: Expr) -> tuple[Formula, Formula]:
        """Return both sides of the equation of the array with these variables."""
        with suppress(NoNotation):
            return verbatim(name), self._whole(x, vars)
        at = tuple(map(Index.of, vars))
        if len(x.factors) == 1 and isinstance(put := x.factors[0], Put) and put.once:  # δ[2i + j − 2] = …
            at, vars = put.at, [var for var in (*put.to, *put.vars) if any(var in index.free for index in put.at)]
            x = x.number * total([var for var in put.vars if var not in vars], put.parts[0])
        scope = self._scope({}, vars)
        return _indexed(name, at, scope), self.entry(x, scope)

    def text(self, x: Expr, vars: Sequence[Var]) -> Formula:
        """Return the right side alone."""
        with suppress(NoNotation):
            return self._whole(x, vars)
        return self.entry(x, self._scope({}, vars))

    # ── Matrix notation ────────────────────────────────────────────────────────────────────────

    def _whole(self, x: Expr, axes: Sequence[Var]) -> Formula:
        """Write the array with these axes, and no number in its place."""
        if x.free != set(axes):
            raise NoNotation
        return self.matrix(x, axes)

    def matrix(self, x: Expr, axes: Sequence[Var]) -> Formula:
        """Write the array with these axes, or a number, which has none. Raises NoNotation for another shape."""
        if not x.free:
            axes = ()
        elif len(x.free) != len(axes) or x.free != set(axes):
            raise NoNotation
        match x:
            case Entry():
                return self._array(x, axes)
            case Each(write, operands, kind) if kind != "scalar" or not axes:
                return write([self.matrix(y, axes) for y in operands])
            case Add(terms):
                return add([self.matrix(y, axes) for y in terms])
            case Product(number, factors):
                return self._product(number, factors, axes)
            case Over("Σ", vars, (inner,)):
                return self._sum(vars, inner, axes)
            case Over(kind, vars, (inner,)) if not axes:
                return call(kind, self.matrix(inner, vars))
            case Softmax(vars, (inner,)) if set(axes) == set(vars):
                return call("softmax", self.matrix(inner, axes))
            case Put() if tuple(axes) == x.to:
                return self._put(x)
        raise NoNotation

    def _array(self, x: Entry, axes: Sequence[Var], holes: bool = False) -> Formula:
        """Write the whole of an array, its transpose, or a part; with holes, where 0 may stand for what is left out."""
        parts, order = self._parts(x.at, x.sizes, holes)
        text = verbatim(x.name if set(parts) <= {":"} else f"{x.name}[{', '.join(parts)}]")
        if order == list(axes):
            return text
        if len(axes) == 2 and order == [axes[1], axes[0]]:
            return transpose(text)
        raise NoNotation

    def _parts(self, at: Sequence[Index], sizes: Sequence[int], holes: bool) -> tuple[list[str], list[Var]]:
        """Return what is read along each axis, and the variables of what is read."""
        read = [_part(index, size, len(at) == 1, holes) for index, size in zip(at, sizes, strict=True)]
        order = [var for _, vars in read for var in vars]
        if len(set(order)) < len(order):  # a diagonal
            raise NoNotation
        return [part for part, _ in read], order

    def _product(self, number: float, factors: Sequence[Expr], axes: Sequence[Var]) -> Formula:
        """Write numbers beside ⊙ of arrays of one shape; of two axes, also outer products a bᵀ."""
        texts = [self.matrix(x, ()) for x in factors if not x.free]
        arrays = [x for x in factors if x.free]
        columns = [x for x in arrays if len(axes) == 2 and x.free == {axes[0]}]
        rows = [x for x in arrays if len(axes) == 2 and x.free == {axes[1]}]
        same = [self.matrix(x, axes) for x in arrays if x not in columns and x not in rows]
        if columns or rows:
            if not (columns and rows):
                raise NoNotation
            same.append(multiply([self._hadamard(columns, axes[:1]), transpose(self._hadamard(rows, axes[1:]))], " "))
        return multiply([*texts, multiply(same)], " ").times(number)

    def _hadamard(self, factors: Sequence[Expr], axes: Sequence[Var], holes: bool = False) -> Formula:
        return multiply(
            [self._array(x, axes, holes) if isinstance(x, Entry) else self.matrix(x, axes) for x in factors]
        )

    def _sum(self, vars: tuple[Var, ...], inner: Expr, axes: Sequence[Var]) -> Formula:
        """Write ‖x‖², w · x, W x, X Wᵀ, or Σ of all entries."""
        factors = inner.factors
        if not axes:
            if isinstance(inner, Each) and inner.kind == "square":
                return fill("‖{}‖²", self._in_some_order(inner.parts[0], vars))
            if len(vars) == 1 and len(factors) == 2:
                return multiply([self.matrix(x, vars).within(PRODUCT) for x in factors], " · ")
            terms = self._in_some_order(inner, vars)
            is_sum = terms.level == MATRIX and terms.text.startswith("Σ ")
            return terms if is_sum else fill("Σ {}", terms.within(POWER), level=MATRIX)
        sides = [(axes[0], vars[0]), (vars[0], *axes[1:])]
        groups = [[x for x in factors if x.free == set(side)] for side in sides]
        if len(axes) > 2 or not all(groups) or sum(map(len, groups)) < len(factors):
            raise NoNotation
        return multiply([self._hadamard(group, side, True) for group, side in zip(groups, sides, strict=True)], " ")

    def _in_some_order(self, x: Expr, vars: tuple[Var, ...]) -> Formula:
        """Write the array with its axes in an order in which it can be written; best without ᵀ."""
        texts = []
        for order in permutations(vars) if len(vars) < 4 else ():
            with suppress(NoNotation):
                texts.append(self.matrix(x, order))
        if not texts:
            raise NoNotation
        return min(texts, key=lambda text: text.text.count("ᵀ"))

    def _put(self, x: Put) -> Formula:
        """Write x[→ 2:4]: the entries of x at these places, added up where a place is named repeatedly."""
        parts, order = self._parts(x.at, [var.size for var in x.to], holes=True)
        inner = self._whole(total([var for var in x.vars if var not in order], x.parts[0]), order)
        return fill(f"{{}}[→ {', '.join(parts)}]", inner.within(ATOM))

    # ── Entry by entry ─────────────────────────────────────────────────────────────────────────

    def entry(self, x: Expr, scope: dict[Var, str]) -> Formula:
        """Write one entry, for the values of the variables in scope, each with its letter."""
        if not x.free:
            with suppress(NoNotation):
                return self.matrix(x, ())
        match x:
            case Entry(name, at, _):
                return _indexed(name, at, scope)
            case Each(write, operands, _):
                return write([self.entry(y, scope) for y in operands])
            case Add(terms):
                return add([self.entry(y, scope) for y in terms])
            case Product(number, factors):
                return multiply([self.entry(y, scope) for y in factors], " ").times(number)
            case Over(kind, vars, (inner,)):
                scope = self._scope(scope, vars)
                return _over(kind, vars, inner, scope, self.entry(inner, scope))
            case Softmax(vars, (inner,)):
                return call("softmax" + subscript("".join(scope[var] for var in vars)), self.entry(inner, scope))
            case Put((inner,), vars, at, to, _):
                scope = self._scope(scope, vars)
                where = [(index, var) for index, var in zip(at, to, strict=True) if index.var is not var]
                fits = [verbatim(f"[{_position(index, scope)} = {scope[var]}]") for index, var in where]
                text = multiply([*(self.entry(y, scope) for y in inner.factors), *fits], " ")
                return _over("Σ", vars, x, scope, text) if vars else text
        raise AssertionError(x)

    def _scope(self, scope: dict[Var, str], vars: Sequence[Var]) -> dict[Var, str]:
        """Return the scope with letters for these variables too: the first that are free."""
        free = [letter for letter in self.letters if letter not in scope.values()]
        return {**scope, **dict(zip(vars, free, strict=False))}


def _part(index: Index, size: int, alone: bool, holes: bool) -> tuple[str, list[Var]]:
    """Return what is read along an axis of this size, ":" (all), "2", "1:4", "3, 1, 2" or a table, and its variables."""
    match index.terms:
        case ():
            return str(index.offset + 1), []
        case ((step, Var() as var),):
            first, last = index.offset + 1, index.offset + 1 + step * (var.size - 1)
            if (first, last, step) == (1, size, 1):
                return ":", [var]
            return f"{first}:{last}" + (f":{step}".replace("-", "−") if step != 1 else ""), [var]
        case ((1, Lookup(table, at)),) if index.offset == 0:
            vars = [i.var for i in at if i.var is not None]
            whole = table.numbers.min() >= 0
            if [var.size for var in vars] == list(table.numbers.shape) and (holes or whole):
                if alone and len(vars) == 1 and vars[0].size <= LIST and whole:
                    return ", ".join(map(str, table.numbers + 1)), vars
                if alone or len(vars) == 1:
                    return table.name, vars
    raise NoNotation


def _over(kind: str, vars: Sequence[Var], x: Expr, scope: dict[Var, str], text: Formula) -> Formula:
    """Write Σᵢⱼ text where what is indexed in x shows how far they go, else Σᵢ₌₁³ text; likewise maxᵢ(text)."""
    indices = list(x.indices())
    signs: list[str] = []
    for var in vars:
        letter = subscript(scope[var])
        if {size for index, size in indices if index.var is var} != {var.size}:
            signs.append(f"{kind}{letter}₌₁{superscript(var.size)}")
        elif signs and not signs[-1].endswith(tuple("⁰¹²³⁴⁵⁶⁷⁸⁹")):
            signs[-1] += letter
        else:
            signs.append(kind + letter)
    if kind == "Σ":
        return fill(" ".join(signs) + " {}", text.within(MATRIX), level=MATRIX)
    for sign in reversed(signs):
        text = call(sign, text)
    return text


def _position(index: Index, scope: dict[Var, str]) -> str:
    """Write 2i + j − 2, counted from 1."""
    text, rest = "", index.offset + 1
    for step, part in index.terms:
        if isinstance(part, Var):
            name = scope[part]
        else:
            name = f"{part.table.name}[{', '.join(_position(at, scope) for at in part.at)}]"
        sign = ("−" if step < 0 else "") if not text else " − " if step < 0 else " + "
        text += sign + (str(abs(step)) if abs(step) != 1 else "") + name
        rest -= step
    if not text or rest == 0:
        return text or str(rest)
    return f"{text} {'−' if rest < 0 else '+'} {abs(rest)}"


def _indexed(name: str, at: Sequence[Index], scope: dict[Var, str]) -> Formula:
    """Write xᵢ for mere letters, else x[i + 1]."""
    positions = [_position(index, scope) for index in at]
    mere = set(positions) <= set(INDICES) and name.rstrip("′")[-1:] not in subscript(f"0123456789{INDEX_LETTERS}")
    if mere or not positions:
        return fill("{}" + subscript("".join(positions)), verbatim(name))
    return fill("{}[{}]", verbatim(name), verbatim(", ".join(positions)))
