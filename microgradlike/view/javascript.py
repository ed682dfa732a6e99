"""The rules of `ops` as JavaScript: the page computes by the same rules as `backward()`, and none is written twice.

    >>> print(function_of(ops.SIGMOID, 1))
    a=>{const b=exp(-abs(a)),c=1+b;return[exp(minimum(a,0))/c,b/(c*c)]}

A function takes the inputs, and returns the value and then the local derivatives. What it calls is declared in
`browser/arithmetic.js`, and gives on all numbers, inf and nan included, what `ieee` gives, but for units in the
last place of exp, sin and their like.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator
from itertools import count, islice

from microgradlike.ieee import FUNCTIONS
from microgradlike.primitive import Operation
from microgradlike.support.written import AND, ATOM, CHOICE, Language


def function_of(op: Operation, n: int) -> str:
    """Return the function that computes the operation of n inputs, and its local derivatives.

    Raises TypeError where a rule does something with its numbers that symbols do not write down, as math.exp or
    a Python `if` do.
    """
    names = _names()
    inputs = list(islice(names, n))
    shared, results = JAVASCRIPT.written(op, inputs, names)
    lines = ",".join(f"{name}={text}" for name, text in shared).replace(" ", "")
    arguments, returned = ",".join(inputs), f"[{','.join(results)}]".replace(" ", "")
    arrow = f"{arguments if n == 1 else f'({arguments})'}=>"
    return f"{arrow}{{const {lines};return{returned}}}" if lines else arrow + returned


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
    return f"(-{text})" if str(x)[0] == "-" else text


def _names() -> Iterator[str]:
    """Yield a, b, …, Z, a0, …: never the name of a function, or a word of the language."""
    letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
    yield from letters
    for i in count():
        yield from (f"{letter}{i}" for letter in letters)


_calls = {
    name: (f"{name}({','.join(f'{{{i}}}' for i in range(n))})", ATOM, *[CHOICE] * n)
    for n, names in {
        1: ("exp", "expm1", "log", "log1p", "sqrt", "sin", "cos", "tanh", "abs"), 2: ("power", "maximum", "minimum"),
    }.items()
    for name in names
}  # fmt: skip
JAVASCRIPT = Language(
    lambda x: (number(x), ATOM),
    _calls
    | {
        "and": ("{0}&&{1}", AND, AND, AND),
        "where": ("{0}?{1}:{2}", CHOICE, AND, CHOICE, CHOICE),
        "float": ("+{0}", ATOM, ATOM),
        "true": ("true",),
        "false": ("false",),
    },
)
