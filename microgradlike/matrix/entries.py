"""Arrays entry by entry: zᵢ = Σₖ Wᵢₖ xₖ + bᵢ, as expressions with indices.

An instruction of the program says of every entry what it is computed from. In an expression, each axis
has a `Var`, and what is read stands at an `Index`: a sum of multiples of such variables, or what a
`Table` holds where there is no such rule. What is put in place of a variable is put into the indices
alone, so that an array can be written where it is used, and a share of a gradient be bound to the
entries that it goes to, by substitution.

Indices count from 0 here, and from 1 in what is printed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from math import prod

from microgradlike.matrix.indices import Ints
from microgradlike.matrix.text import Text


@dataclass(eq=False)
class Var:
    """An index: it runs over 0, 1, …, size − 1."""

    size: int


@dataclass(eq=False)
class Table:
    """Positions that follow no rule. −1: there is none, and a sum leaves that term out."""

    name: str
    numbers: Ints


@dataclass(frozen=True)
class Lookup:
    """table[at]."""

    table: Table
    at: tuple[Index, ...]


@dataclass(frozen=True)
class Index:
    """offset + Σ step · (a variable, or what stands in a table)."""

    terms: tuple[tuple[int, Var | Lookup], ...] = ()
    offset: int = 0

    @classmethod
    def of(cls, part: Var | Lookup) -> Index:
        """The variable, or what the table holds, as it is."""
        return cls(((1, part),))

    @property
    def var(self) -> Var | None:
        """The variable, where the index is nothing else."""
        match self:
            case Index(((1, Var() as var),), 0):
                return var
        return None

    @cached_property
    def free(self) -> frozenset[Var]:
        """The variables in it."""
        return frozenset().union(*({part} if isinstance(part, Var) else _free(part.at) for _, part in self.terms))

    def put(self, new: Mapping[Var, Index]) -> Index:
        """With other indices in place of variables."""
        steps: dict[Var | Lookup, int] = {}
        offset = self.offset
        for step, part in self.terms:
            if isinstance(part, Lookup):
                index = Index.of(Lookup(part.table, tuple(at.put(new) for at in part.at)))
            else:
                index = new.get(part) or Index.of(part)
            offset += step * index.offset
            for inner, atom in index.terms:
                steps[atom] = steps.get(atom, 0) + step * inner
        return Index(tuple((step, atom) for atom, step in steps.items() if step), offset)


class Expr:
    """The entries of an array, in the variables `free`; `parts` are the expressions in it."""

    parts: tuple[Expr, ...]

    @cached_property
    def free(self) -> frozenset[Var]:
        """The variables in it that no sum binds."""
        return _free(self.parts)

    def put(self, new: Mapping[Var, Index]) -> Expr:
        """With other indices in place of variables; what sums bind is renamed."""
        return replace(self, parts=tuple(part.put(new) for part in self.parts))  # type: ignore[type-var]

    def indices(self) -> Iterator[tuple[Index, int]]:
        """All indices in it, each with the size of the axis that it stands at."""
        for part in self.parts:
            yield from part.indices()


@dataclass(eq=False)
class Entry(Expr):
    """An entry of the array called `name`: an index for each of its axes, of these sizes."""

    name: str
    at: tuple[Index, ...]
    sizes: tuple[int, ...]

    @cached_property
    def free(self) -> frozenset[Var]:
        return _free(self.at)

    def put(self, new: Mapping[Var, Index]) -> Expr:
        return Entry(self.name, tuple(index.put(new) for index in self.at), self.sizes)

    def indices(self) -> Iterator[tuple[Index, int]]:
        return _indices(self.at, self.sizes)


@dataclass(eq=False)
class Each(Expr):
    """A function of entries; `write` makes its text of those of its operands."""

    write: Callable[[Sequence[Text]], Text]
    parts: tuple[Expr, ...]
    kind: str = ""  # "square", or "scalar" where the text is no notation for arrays


@dataclass(eq=False)
class Add(Expr):
    """The sum of the terms."""

    parts: tuple[Expr, ...]


@dataclass(eq=False)
class Product(Expr):
    """A number, times the factors."""

    number: float
    parts: tuple[Expr, ...] = ()


@dataclass(eq=False)
class Over(Expr):
    """Σ, max or logsumexp of its part for all values of the variables."""

    kind: str
    vars: tuple[Var, ...]
    parts: tuple[Expr]

    @cached_property
    def free(self) -> frozenset[Var]:
        return _free(self.parts).difference(self.vars)

    def put(self, new: Mapping[Var, Index]) -> Expr:
        renamed = tuple(Var(var.size) for var in self.vars)
        new = {**new, **{old: Index.of(var) for old, var in zip(self.vars, renamed, strict=True)}}
        return Over(self.kind, renamed, (self.parts[0].put(new),))


@dataclass(eq=False)
class Softmax(Expr):
    """exp of its part, divided by the sum of that over all values of the variables."""

    vars: tuple[Var, ...]
    parts: tuple[Expr]

    def put(self, new: Mapping[Var, Index]) -> Expr:
        vars = tuple(var for old in self.vars if (var := new.get(old, Index.of(old)).var))
        return Softmax(vars, (self.parts[0].put(new),))


@dataclass(eq=False)
class Put(Expr):
    """The adjoint of reading: the entry `to` is the sum of the part for all values of `vars` with at = to.

    `once` tells whether each entry was read once.
    """

    parts: tuple[Expr]
    vars: tuple[Var, ...]
    at: tuple[Index, ...]
    to: tuple[Var, ...]
    once: bool

    @cached_property
    def free(self) -> frozenset[Var]:
        return _free(self.parts).difference(self.vars).union(self.to)

    def indices(self) -> Iterator[tuple[Index, int]]:
        yield from super().indices()
        for index in self.at:
            yield from _tables(index)


def factors_of(x: Expr) -> tuple[float, tuple[Expr, ...]]:
    """The number in front, and the factors."""
    return (x.number, x.parts) if isinstance(x, Product) else (1.0, (x,))


def product(*factors: Expr) -> Expr:
    """The product, with its numbers in one."""
    number = prod(factors_of(x)[0] for x in factors)
    parts = tuple(part for x in factors for part in factors_of(x)[1])
    return parts[0] if number == 1.0 and len(parts) == 1 else Product(number, parts)


def add(terms: Sequence[Expr]) -> Expr:
    """The sum, without what is multiplied by 0."""
    terms = [x for x in terms if factors_of(x)[0]]
    return terms[0] if len(terms) == 1 else Add(tuple(terms)) if terms else Product(0.0)


def total(vars: Sequence[Var], x: Expr) -> Expr:
    """Σ x over all values of the variables; what they do not change stands outside, and repeated terms are counted."""
    number, factors = factors_of(x)
    inside = [factor for factor in factors if not factor.free.isdisjoint(vars)]
    outside = [factor for factor in factors if factor.free.isdisjoint(vars)]
    bound = tuple(var for var in vars if any(var in factor.free for factor in inside))
    number *= prod(var.size for var in vars if var not in bound)
    if inside:
        inner = product(*inside)
        if isinstance(inner, Over) and inner.kind == "Σ":
            bound, inner = (*bound, *inner.vars), inner.parts[0]
        outside.append(Over("Σ", bound, (inner,)))
    return product(Product(number), *outside)


def _free(parts: Iterable[Expr | Index]) -> frozenset[Var]:
    return frozenset().union(*(part.free for part in parts))


def _indices(at: Sequence[Index], sizes: Sequence[int]) -> Iterator[tuple[Index, int]]:
    for index, size in zip(at, sizes, strict=True):
        yield index, size
        yield from _tables(index)


def _tables(index: Index) -> Iterator[tuple[Index, int]]:
    """The indices at which the tables in an index are read."""
    for _, part in index.terms:
        if isinstance(part, Lookup):
            yield from _indices(part.at, part.table.numbers.shape)
