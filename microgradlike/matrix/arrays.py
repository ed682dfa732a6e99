"""The intermediate form: arrays, and the instructions that compute them from each other.

    x (4,) ~ batch
    z¹ (3,) ~ = b¹ + W¹(3×4) · x(4)

is how it prints, an array a line: name, shape, ~ where it varies from sample to sample, what it is made of.
What an instruction reads is an array of positions, `Ref.index`: z, z[2:4], z[0, 1, 0, …]; in products and
reductions its dims stand behind it. `interpreter` defines what the instructions mean.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from microgradlike.matrix.indices import Ints, shorten
from microgradlike.notation.digits import format_constant
from microgradlike.primitive import Operation
from microgradlike.view.table import clean

SHOWN = 8  # so many positions or constants are printed


@dataclass(eq=False, repr=False, slots=True)
class Array:
    """The nodes of one colour. `entries[p]` is the number of the node at position p, or −1."""

    kind: str  # "batch", "parameter" or "computed"
    varies: bool  # from sample to sample
    entries: Ints
    shape: tuple[int, ...] = ()
    instruction: Apply | Reduce | Sum | None = None
    name: str = ""
    named: bool = True  # by labels or custom; else a mere number
    reordered: bool = False  # it has products that are a part of products in another order than recorded

    @property
    def size(self) -> int:
        """How many entries there are for one sample."""
        return len(self.entries)

    @property
    def is_product(self) -> bool:
        """Whether a matrix product computes it, which gives it its shape."""
        return isinstance(self.instruction, Sum) and any(group.is_product for group in self.instruction.groups)

    @property
    def refs(self) -> list[Ref]:
        """What the instruction reads."""
        return self.instruction.refs if self.instruction else []

    def __repr__(self) -> str:
        made = self.kind if self.instruction is None else f"= {self.instruction}"
        return f"{clean(self.name)} {self.shape} {'~ ' if self.varies else ''}{made}"


class Arrays(list[Array]):
    """A list of them, which prints one a line."""

    def __repr__(self) -> str:
        return "\n".join(map(repr, self))


@dataclass(eq=False, repr=False, slots=True)
class Ref:
    """What an instruction reads: positions in an array (−1: nothing), or, where `array` is None, constants."""

    array: Array | None
    index: Any
    label: str = ""  # of the first of the constants

    @property
    def constant(self) -> float | None:
        """The number, where all that is read is one and the same constant."""
        if self.array is None and self.index.size:
            first = float(self.index.flat[0])
            if (self.index == first).all() and (first or not np.signbit(self.index).any()):
                return first
        return None

    @property
    def missing(self) -> Any:
        """Where nothing is read, true: never of constants, which may be −1 themselves."""
        return np.zeros_like(self.index, bool) if self.array is None else self.index < 0

    def __repr__(self) -> str:
        if self.constant is not None:
            return format_constant(self.constant)
        index, name = self.index.ravel(), clean(self.array.name) if self.array else ""
        if self.array and np.array_equal(index, np.arange(self.array.size)):
            return name
        if self.array and len(index) > 2 and (np.diff(index) == 1).all():
            return f"{name}[{index[0]}:{index[-1] + 1}]"
        shown = ["none" if self.array and x < 0 else format_constant(x) for x in index[: SHOWN + 1]]
        return f"{name}[{shorten(shown, SHOWN)}]"

    @property
    def with_dims(self) -> str:
        """How it prints in a product or a reduction: the dims of what is read behind it."""
        return f"{self!r}({'×'.join(str(d) for d in self.index.shape if d > 1) or 1})"


@dataclass(eq=False, repr=False, slots=True)
class Apply:
    """y = op(refs), entry by entry."""

    op: Operation
    refs: list[Ref]

    def __repr__(self) -> str:
        if len(self.refs) == 2 and not self.op.symbol[0].isalpha():
            return f" {self.op.symbol} ".join(map(repr, self.refs))
        settings = [f"{name}={format_constant(x)}" for name, x in self.op.parameters.items()]
        return f"{self.op.symbol}({', '.join([*map(repr, self.refs), *settings])})"


@dataclass(eq=False, repr=False, slots=True)
class Reduce:
    """y = op over the last axis: max, logsumexp. With `starts`, segments of a flat index."""

    op: Operation
    operand: Ref
    starts: Ints | None

    @property
    def refs(self) -> list[Ref]:
        """What is read."""
        return [self.operand]

    def __repr__(self) -> str:
        return f"{self.op.symbol} {self.operand.with_dims}{_segments(self.starts)}"


@dataclass(eq=False, repr=False, slots=True)
class Group:
    """The terms of a sum that have the same colours: sign · Σₖ left · right.

    A matrix product has left.index of shape (G, R, K) and right.index (G, C, K), and its result
    is (G, C, R). Else the last axis is k, or `starts` says where in a flat index each sum begins.
    """

    sign: int
    left: Ref
    right: Ref | None
    starts: Ints | None = None
    is_product: bool = False

    @property
    def refs(self) -> list[Ref]:
        """The sides there are."""
        return [self.left] if self.right is None else [self.left, self.right]

    @property
    def is_square(self) -> bool:
        """Whether the terms are squares, aₖ²."""
        left, right = self.left, self.right
        if right is None or left.array is None or left.array is not right.array:
            return False
        return left.index.shape[1:-1] in ((), (1,)) and np.array_equal(left.index, right.index)

    @property
    def is_padded(self) -> bool:
        """Whether the sums of a product may have been made equal by factors of 0."""
        return any((ref.missing if ref.array else ref.index == 0).any() for ref in self.refs)

    def __repr__(self) -> str:
        several = self.is_product or self.starts is not None or self.left.index.shape[-1] > 1
        terms = " · ".join(ref.with_dims if several else repr(ref) for ref in self.refs)
        return f"{'Σ ' if several and not self.is_product else ''}{terms}{_segments(self.starts)}"


@dataclass(eq=False, repr=False, slots=True)
class Sum:
    """y = Σ groups."""

    groups: list[Group]

    @property
    def refs(self) -> list[Ref]:
        """What all groups read."""
        return [ref for group in self.groups for ref in group.refs]

    def __repr__(self) -> str:
        return " ".join(f"{'+' if group.sign > 0 else '−'} {group}" for group in self.groups).removeprefix("+ ")


def dependents(arrays: list[Array], parameters: Iterable[Array]) -> list[Array]:
    """Return the arrays that need a gradient, in order: the parameters and what is computed from them."""
    needed = set(parameters)
    for array in arrays:
        if not needed.isdisjoint(ref.array for ref in array.refs):
            needed.add(array)
    return [array for array in arrays if array in needed]


def _segments(starts: Ints | None) -> str:
    """Return where the segments of a flat index begin, as text; "" where there are rows."""
    return "" if starts is None else f" from {shorten([*map(str, starts)], SHOWN)}"
