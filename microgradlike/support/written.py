"""The rules of `ops` as code: run once on symbols, which write down what a rule does with them.

A rule takes its functions as an argument, so code is one more kind of number to it. A `Language` says how an
operation is written; `support.compiled` does so in Python, `view.javascript` in JavaScript.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

from microgradlike.ieee import FUNCTIONS, Namespace, ieee
from microgradlike.primitive import Operation

# How strongly an operator binds: an operand that binds less stands in brackets. A minus before an operand counts as
# an addition: a−−b would be something else in JavaScript.
CHOICE, AND, COMPARE, SUM, PRODUCT, ATOM = range(6)
OPERATORS: dict[str, tuple[Any, ...]] = {  # that languages write alike
    "add": ("{0} + {1}", SUM, SUM, PRODUCT),
    "sub": ("{0} - {1}", SUM, SUM, PRODUCT),
    "mul": ("{0} * {1}", PRODUCT, PRODUCT, ATOM),
    "divide": ("{0} / {1}", PRODUCT, PRODUCT, ATOM),
    "neg": ("-{0}", SUM, ATOM),
    "lt": ("{0} < {1}", COMPARE, SUM, SUM),
    "gt": ("{0} > {1}", COMPARE, SUM, SUM),
    "le": ("{0} <= {1}", COMPARE, SUM, SUM),
    "ge": ("{0} >= {1}", COMPARE, SUM, SUM),
    "eq": ("{0} == {1}", COMPARE, SUM, SUM),
    "ne": ("{0} != {1}", COMPARE, SUM, SUM),
}


class Symbol:
    """A number in a rule: an operation and its operands. Equal symbols of one rule are one object."""

    __slots__ = ("language", "level", "operands", "operation", "text", "written")

    def __init__(
        self, language: Language, written: dict[Any, Symbol], operation: str, operands: tuple[Any, ...] = ()
    ) -> None:
        self.language, self.written, self.operation, self.operands = language, written, operation, operands
        self.text, self.level = operation, ATOM  # those of an input

    @property
    def boolean(self) -> bool:
        """Whether it is true or false."""
        return bool(self.operands) and self.language.templates[self.operation][1] in (AND, COMPARE)

    __hash__ = None  # type: ignore[assignment]

    def __bool__(self) -> bool:
        raise TypeError("a Python `if` sees one number only: use xp.where")

    def __pos__(self) -> Symbol:
        return self

    def __and__(self, other: Any) -> Any:
        for one, another in ((self, other), (other, self)):
            if isinstance(one, bool):
                return another if one else False
            if not getattr(one, "boolean", False):
                return NotImplemented
        return self.language.write("and", self, other)

    __rand__ = __and__


class Language:
    """How a programming language writes numbers and operations.

    `number` returns the text of a number and how strongly it binds. `templates` has those operations that are not
    in `OPERATORS`: a template with places {0}, {1}, … for the operands, and behind it the level of the result, and
    those that the operands need.
    """

    def __init__(self, number: Callable[[float], tuple[str, int]], templates: dict[str, tuple[Any, ...]]) -> None:
        self.number, self.templates = number, OPERATORS | templates
        functions = {name: partial(self._function, name) for name in FUNCTIONS}
        self.xp = Namespace(**functions | {"where": self._where})

    def write(self, name: str, *operands: Any) -> Symbol:
        """Return the symbol of this operation."""
        operands = tuple(x if isinstance(x, (Symbol, bool)) else float(x) for x in operands)
        known = next(x.written for x in operands if isinstance(x, Symbol))
        key = name, *(id(x) if isinstance(x, Symbol) else repr(x) for x in operands)
        if key not in known:
            known[key] = Symbol(self, known, name, operands)
        return known[key]

    def _function(self, name: str, *operands: Any) -> Any:
        if any(isinstance(x, Symbol) for x in operands):
            return self.write(name, *operands)
        return getattr(ieee, name)(*operands)

    def _where(self, condition: Any, a: Any, b: Any) -> Any:
        if not isinstance(condition, Symbol):
            return a if condition else b
        return self.write("where", condition if condition.boolean else self.write("ne", condition, 0.0), a, b)

    def written(
        self, op: Operation, inputs: Sequence[str], names: Iterator[str]
    ) -> tuple[list[tuple[str, str]], list[str]]:
        """Return what is used more than once, (name, text), and the texts of the value and of the local derivatives.

        Raises TypeError where a rule does something with its numbers that symbols do not write down, as math.exp or
        a Python `if` do.
        """
        written: dict[Any, Symbol] = {}
        operands = [Symbol(self, written, name) for name in inputs]
        y = op.evaluate(self.xp, operands)
        results = [self._as_number(x) for x in (y, *op.differentiate(self.xp, y, operands))]
        uses: Counter[int] = Counter(id(x) for x in results)
        order: list[Symbol] = []  # each after its operands
        stack: list[tuple[Any, bool]] = [(x, False) for x in reversed(results)]
        seen: set[int] = set()
        while stack:
            x, ready = stack.pop()
            if not isinstance(x, Symbol) or not x.operands:
                continue
            if ready:
                order.append(x)
            elif id(x) not in seen:
                seen.add(id(x))
                for i, operand in enumerate(x.operands):
                    uses[id(operand)] += self.templates[x.operation][0].count(f"{{{i}}}")
                stack += [(x, True), *((operand, False) for operand in reversed(x.operands))]
        lines = []
        for x in order:
            template, level, *levels = self.templates[x.operation]
            x.text, x.level = template.format(*map(self._within, x.operands, levels)), level
            if uses[id(x)] > 1:
                name = next(names)
                lines.append((name, x.text))
                x.text, x.level = name, ATOM
        return lines, [self._within(x, CHOICE) for x in results]

    def _as_number(self, x: Any) -> Any:
        if not isinstance(x, Symbol):
            return float(x)
        return self.write("float", x) if x.boolean else x

    def _within(self, x: Any, level: int) -> str:
        if isinstance(x, bool):
            return str(self.templates["true" if x else "false"][0])
        text, own = (x.text, x.level) if isinstance(x, Symbol) else self.number(x)
        return text if own >= level else f"({text})"


def _method(name: str) -> Callable[..., Any]:
    return lambda self, *other: self.language.write(name, self, *other)


def _swapped(name: str) -> Callable[..., Any]:
    return lambda self, other: self.language.write(name, other, self)


for _name, _operation in {
    "add": "add", "sub": "sub", "mul": "mul", "truediv": "divide", "pow": "power",
}.items():  # fmt: skip
    setattr(Symbol, f"__{_name}__", _method(_operation))
    setattr(Symbol, f"__r{_name}__", _swapped(_operation))
for _name in ("neg", "abs", "lt", "gt", "le", "ge", "eq", "ne"):
    setattr(Symbol, f"__{_name}__", _method(_name))
