"""Operation: what a row of the table in `ops` holds, and how it is run on a list of inputs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, eq=False, slots=True, repr=False)
class Operation:
    """A row of the table: y = value(xp, *operands), with the local derivatives ∂y/∂operand.

    An operand is a number or, where it is called "x{i}", the vector of x1, x2, … of any length; its
    derivative then is a vector as well. The *inputs* are the numbers of all operands, one by one:
    those of w·x + b are w1, w2, x1, x2, b.

    `text` and `formulas` are Python expressions in the operands' names, the result `y` and the
    parameters; for an operation of your own, `formulas` is a function of the inputs' names.
    """

    name: str
    symbol: str
    operands: tuple[str, ...]
    text: str
    value: Callable[..., Any]
    formulas: tuple[str, ...] | Callable[[tuple[str, ...]], tuple[str, ...]]
    local_grads: Callable[..., tuple[Any, ...]]
    parameters: dict[str, float] = field(default_factory=dict)
    vectors: tuple[bool, ...] = field(init=False)  # which of the operands are vectors

    def __post_init__(self) -> None:
        object.__setattr__(self, "vectors", tuple("{i}" in name for name in self.operands))

    @property
    def n_ary(self) -> bool:
        """Whether there may be any number of inputs."""
        return True in self.vectors

    def __bool__(self) -> bool:
        """Return whether there is one: `if v.op` is false for a leaf."""
        return self.text != ""

    def evaluate(self, xp: Any, inputs: Sequence[Any]) -> Any:
        """Return y for these inputs."""
        return self.value(xp, *self.grouped(inputs))

    def differentiate(self, xp: Any, y: Any, inputs: Sequence[Any]) -> tuple[Any, ...]:
        """Return the local derivatives ∂₁y, ∂₂y, … at these inputs, of which y is the value."""
        return flat(self.local_grads(xp, y, *self.grouped(inputs)))

    def grouped(self, inputs: Sequence[Any]) -> tuple[Any, ...]:
        """Return the operands that these inputs make: ((w1, w2), (x1, x2), b) from (w1, w2, x1, x2, b)."""
        if not self.n_ary:
            return tuple(inputs)
        length = (len(inputs) - len(self.vectors)) // self.vectors.count(True) + 1
        operands, start = [], 0
        for vector in self.vectors:
            operands.append(inputs[start : start + length] if vector else inputs[start])
            start += length if vector else 1
        return tuple(operands)

    def operand_names(self, n: int) -> tuple[str, ...]:
        """Return what `text` and `formulas` call the n inputs."""
        return self._for_each_input(self.operands, n)

    def local_grad_formulas(self, n: int) -> tuple[str, ...]:
        """Return the texts of the n local derivatives, parallel to the inputs."""
        if callable(self.formulas):
            return self.formulas(self.operand_names(n))
        return self._for_each_input(self.formulas, n)

    def _for_each_input(self, texts: tuple[str, ...], n: int) -> tuple[str, ...]:
        return flat(
            [text.format(i=i) for i, _ in enumerate(operand, start=1)] if vector else text
            for text, vector, operand in zip(texts, self.vectors, self.grouped(range(n)))
        )

    def __repr__(self) -> str:
        settings = "".join(f", {name}={value:g}" for name, value in self.parameters.items())
        return f"<operation {self.name}{settings}>"


def flat(operands: Iterable[Any]) -> tuple[Any, ...]:
    """Return the inputs of operands, or their derivatives, one by one: the inverse of `grouped`."""
    inputs: list[Any] = []
    for operand in operands:
        inputs += operand if isinstance(operand, (tuple, list)) else (operand,)
    return tuple(inputs)
