"""Expressions for the entries of arrays: zᵢ = Σₖ Wᵢₖ xₖ + bᵢ, as trees with indices.

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
from itertools import chain
from math import prod

from microgradlike.matrix.indices import Ints
from microgradlike.notation.typeset import Formula


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
        """Return the index that is this variable, or what the table holds."""
        return cls(((1, part),))

    @property
    def var(self) -> Var | None:
        """Return the variable, where the index is nothing else."""
        match self:
            case Index(((1, Var() as var),), 0):
                return var
        return None

    @cached_property
    def free(self) -> frozenset[Var]:
        """Return the variables in it."""
        return frozenset().union(*({part} if isinstance(part, Var) else _free(part.at) for _, part in self.terms))

    def put(self, new: Mapping[Var, Index]) -> Index:
        """Return the index with other indices in place of variables."""
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
    """The entries of an array, in the variables `free`; `parts` are the expressions in it.

    It is its `number` times its `factors`: 1 times itself, unless it is a product.
    """

    parts: tuple[Expr, ...]
    number: float = 1.0

    @property
    def factors(self) -> tuple[Expr, ...]:
        """Return what its number multiplies."""
        return (self,)

    def __mul__(self, other: Expr) -> Expr:
        number, factors = self.number * other.number, self.factors + other.factors
        return factors[0] if number == 1.0 and len(factors) == 1 else Product(number, factors)

    def __rmul__(self, number: float) -> Expr:
        return Product(number) * self

    @cached_property
    def free(self) -> frozenset[Var]:
        """Return the variables in it that no sum binds."""
        return _free(self.parts)

    def put(self, new: Mapping[Var, Index]) -> Expr:
        """Return the expression with other indices in place of variables; what sums bind is renamed."""
        return replace(self, parts=tuple(part.put(new) for part in self.parts))  # type: ignore[type-var]

    def indices(self) -> Iterator[tuple[Index, int]]:
        """Yield all indices in it, each with the size of the axis that it stands at."""
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

    write: Callable[[Sequence[Formula]], Formula]
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

    @property
    def factors(self) -> tuple[Expr, ...]:
        return self.parts


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
        yield from _tables(self.at)


def add(terms: Sequence[Expr]) -> Expr:
    """Return the sum, without what is multiplied by 0."""
    terms = [x for x in terms if x.number]
    return terms[0] if len(terms) == 1 else Add(tuple(terms)) if terms else Product(0.0)


def total(vars: Sequence[Var], x: Expr) -> Expr:
    """Return Σ x over all values of the variables: what they do not change stands outside, repeated terms are counted."""
    inside = [factor for factor in x.factors if not factor.free.isdisjoint(vars)]
    outside = [factor for factor in x.factors if factor.free.isdisjoint(vars)]
    bound = tuple(var for var in vars if any(var in factor.free for factor in inside))
    number = x.number * prod(var.size for var in vars if var not in bound)
    if inside:
        inner = prod(inside, start=Product(1.0))
        if isinstance(inner, Over) and inner.kind == "Σ":
            bound, inner = (*bound, *inner.vars), inner.parts[0]
        outside.append(Over("Σ", bound, (inner,)))
    return prod(outside, start=Product(number))


def _free(parts: Iterable[Expr | Index]) -> frozenset[Var]:
    return frozenset().union(*(part.free for part in parts))


def _indices(at: Sequence[Index], sizes: Sequence[int]) -> Iterator[tuple[Index, int]]:
    yield from zip(at, sizes, strict=True)
    yield from _tables(at)


def _tables(at: Sequence[Index]) -> Iterator[tuple[Index, int]]:
    """Yield the indices at which the tables in these indices are read."""
    for _, part in chain.from_iterable(index.terms for index in at):
        if isinstance(part, Lookup):
            yield from _indices(part.at, part.table.numbers.shape)
