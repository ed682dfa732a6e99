"""The rules of `ops` as JavaScript: run once on symbols, which write down what a rule does with them.

A rule takes its functions as an argument, so JavaScript is one more kind of number to it. The page thus
computes by the same rules as `backward()`, and none is written a second time:

    >>> print(function_of(ops.SIGMOID, 1))
    a=>{const b=exp(-abs(a)),c=1+b;return[exp(minimum(a,0))/c,b/(c*c)]}

A function takes the inputs, and returns the value and then the local derivatives. What it calls is declared in
`browser/arithmetic.js`, and gives on all numbers, inf and nan included, what `ieee` gives, but for units in the
last place of exp, sin and their like.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Iterator
from itertools import count
from typing import Any

from microgradlike.ieee import FUNCTIONS, Namespace, ieee
from microgradlike.primitive import Operation

# How strongly an operator binds: an operand that binds less stands in brackets. A minus before an operand counts as
# an addition, for in JavaScript a−−b would be something else.
CHOICE, AND, COMPARE, SUM, PRODUCT, ATOM = range(6)


class _Symbol:
    """A number in a rule: a text with places for its operands. Equal symbols of one function are one object."""

    __slots__ = ("boolean", "levels", "operands", "template", "written")

    def __init__(
        self, written: dict[Any, _Symbol], template: str, operands: tuple[Any, ...], levels: tuple[int, ...]
    ) -> None:
        self.written, self.template, self.operands, self.levels = written, template, operands, levels
        self.boolean = levels[0] in (AND, COMPARE)

    __hash__ = None  # type: ignore[assignment]

    def __bool__(self) -> bool:
        raise TypeError("a Python `if` sees one number only: use xp.where")

    def __pos__(self) -> _Symbol:
        return self

    def __and__(self, other: Any) -> Any:
        return _both(self, other)

    __rand__ = __and__


def function_of(op: Operation, n: int) -> str:
    """Return the function that computes the operation of n inputs, and its local derivatives.

    Raises TypeError where a rule does something with its numbers that symbols do not write down, as math.exp or
    a Python `if` do.
    """
    written: dict[Any, _Symbol] = {}
    names = _names()
    inputs = [_Symbol(written, next(names), (), (ATOM,)) for _ in range(n)]
    y = op.evaluate(xp, inputs)
    results = [x if isinstance(x, _Symbol) else float(x) for x in (y, *op.differentiate(xp, y, inputs))]
    uses: dict[int, int] = {}
    order: list[_Symbol] = []  # each after its operands
    stack: list[tuple[Any, bool]] = [(result, False) for result in reversed(results)]
    while stack:
        x, ready = stack.pop()
        if not isinstance(x, _Symbol):
            continue
        if ready:
            order.append(x)
            continue
        uses[id(x)] = uses.get(id(x), 0) + 1
        if uses[id(x)] == 1:
            stack.append((x, True))
            stack += [(operand, False) for operand in reversed(x.operands)]
    texts = {id(x): (x.template, ATOM) for x in inputs}
    lines = []
    for x in order:
        if not x.operands:
            continue
        text = x.template.format(*(_within(texts, *each) for each in zip(x.operands, x.levels[1:], strict=True)))
        texts[id(x)] = text, x.levels[0]
        if uses[id(x)] > 1:
            texts[id(x)] = next(names), ATOM
            lines.append(f"{texts[id(x)][0]}={text}")
    values = ",".join(("+" if getattr(x, "boolean", False) else "") + _within(texts, x, CHOICE) for x in results)
    arguments = ",".join(x.template for x in inputs)
    arrow = f"{arguments if n == 1 else f'({arguments})'}=>"
    return f"{arrow}{{const {','.join(lines)};return[{values}]}}" if lines else f"{arrow}[{values}]"


def script(functions: Iterable[str]) -> str:
    """Return an array of these functions, with what they call at hand."""
    functions = list(functions)
    called = [name for name in FUNCTIONS if any(re.search(rf"\b{name}\(", function) for function in functions)]
    return f"(({{{','.join(called)}}})=>[{','.join(functions)}])(arithmetic())"


def is_exact(function: str) -> bool:
    """Return whether the function gives the same bits as Python: whether it calls nothing that rounds as it likes."""
    return not re.search(r"\b(exp|expm1|log|log1p|sin|cos|tanh|power)\(", function)


def number(x: float) -> str:
    """Return the literal of a number: 0.1, 1e-05, Infinity."""
    text = "NaN" if math.isnan(x) else "Infinity" if math.isinf(x) else repr(abs(x)).removesuffix(".0")
    return f"(-{text})" if math.copysign(1.0, x) < 0 and x == x else text


def _names() -> Iterator[str]:
    """Yield a, b, …, Z, a0, …: never the name of a function, or a word of the language."""
    letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
    yield from letters
    for i in count():
        yield from (f"{letter}{i}" for letter in letters)


def _within(texts: dict[int, tuple[str, int]], x: Any, level: int) -> str:
    if not isinstance(x, _Symbol):
        return str(x).lower() if isinstance(x, bool) else number(x)
    text, own = texts[id(x)]
    return text if own >= level else f"({text})"


def _write(template: str, *levels: int) -> Callable[..., Any]:
    """Return the function that fills the template: levels are that of the result, and those that the operands need."""

    def written(*operands: Any) -> _Symbol:
        symbols = [x for x in operands if isinstance(x, _Symbol)]
        operands = tuple(x if isinstance(x, (_Symbol, bool)) else float(x) for x in operands)
        key = template, *(id(x) if isinstance(x, _Symbol) else repr(x) for x in operands)
        known = symbols[0].written
        if key not in known:
            known[key] = _Symbol(known, template, operands, levels)
        return known[key]

    return written


def _function(name: str) -> Callable[..., Any]:
    """Return the function of this name: of plain numbers it is computed, of others written."""
    write: dict[int, Callable[..., Any]] = {}

    def function(*operands: Any) -> Any:
        if not any(isinstance(x, _Symbol) for x in operands):
            return getattr(ieee, name)(*operands)
        n = len(operands)
        template = "{}/{}" if name == "divide" else f"{name}({','.join(['{}'] * n)})"
        levels = (PRODUCT, PRODUCT, ATOM) if name == "divide" else (ATOM, *[CHOICE] * n)
        return write.setdefault(n, _write(template, *levels))(*operands)

    return function


def _where(condition: Any, a: Any, b: Any) -> Any:
    if not isinstance(condition, _Symbol):
        return a if condition else b
    if not condition.boolean:
        condition = _operators["ne"](condition, 0.0)  # in JavaScript nan is false
    return _chosen(condition, a, b)


def _both(a: Any, b: Any) -> Any:
    for one, other in ((a, b), (b, a)):
        if isinstance(one, bool):
            return other if one else False
        if not getattr(one, "boolean", False):
            return NotImplemented
    return _and(a, b)


_and = _write("{}&&{}", AND, AND, AND)
_chosen = _write("{}?{}:{}", CHOICE, AND, CHOICE, CHOICE)

_operators: dict[str, Callable[..., Any]] = {
    "add": _write("{}+{}", SUM, SUM, PRODUCT),
    "sub": _write("{}-{}", SUM, SUM, PRODUCT),
    "mul": _write("{}*{}", PRODUCT, PRODUCT, ATOM),
    "truediv": _function("divide"),
    "pow": _function("power"),
    "neg": _write("-{}", SUM, ATOM),
    "abs": _function("abs"),
    "lt": _write("{}<{}", COMPARE, SUM, SUM),
    "gt": _write("{}>{}", COMPARE, SUM, SUM),
    "le": _write("{}<={}", COMPARE, SUM, SUM),
    "ge": _write("{}>={}", COMPARE, SUM, SUM),
    "eq": _write("{}=={}", COMPARE, SUM, SUM),
    "ne": _write("{}!={}", COMPARE, SUM, SUM),
}
for _name, _method in _operators.items():
    setattr(_Symbol, f"__{_name}__", _method)
for _name in ("add", "sub", "mul", "truediv", "pow"):
    setattr(_Symbol, f"__r{_name}__", lambda self, other, write=_operators[_name]: write(other, self))

xp = Namespace(**{name: _function(name) for name in FUNCTIONS if name != "where"}, where=_where)
"""The namespace of symbols: what its functions compute is written as JavaScript."""
