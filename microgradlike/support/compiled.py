"""The operators and methods of Value, each with the rules of its row written out: as fast as if written by hand.

`value.binary` calls the two rules of a row for every node. Here the rules of a row run once, on symbols, and
what they compute becomes the lines of a function. That of `a * b`:

    def __mul__(self, other):
        kind = type(other)
        if kind is not Value:
            if kind is not float and kind is not int:
                return binary(MUL, self, other)
            other = constant(other)
        a, b = self._data, other._data
        try:
            y = a * b
        except (ArithmeticError, ValueError):
            return binary(MUL, self, other)
        return record(MUL, y, self, b, other, a)

The row stays the only source, and what is written in the class the meaning: where Python raises an error, as
for 1/0, and for all operands but floats, ints and Values, it is what runs.
"""

from __future__ import annotations

import linecache
import math
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import update_wrapper
from typing import Any

from microgradlike.ieee import FUNCTIONS, Namespace
from microgradlike.primitive import Operation

SIGNS = {
    "add": "+", "sub": "-", "mul": "*", "truediv": "/", "pow": "**", "and": "and", "or": "or",
    "lt": "<", "le": "<=", "gt": ">", "ge": ">=", "eq": "==", "ne": "!=",
}  # fmt: skip
FILE = "<operators of microgradlike.Value>"


class _Code:
    """A number in the code that is being written: its expression, of texts, numbers and others of its kind."""

    def __init__(self, *parts: Any, call: bool = False) -> None:
        self.parts, self.call = parts, call
        self.text = self.joined(lambda x: x.text)

    def joined(self, write: Callable[[_Code], str]) -> str:
        """Return the expression, with what `write` makes of the others in it; in brackets where there are none."""
        return "".join(part if isinstance(part, str) else self._within(part, write) for part in self.parts)

    def _within(self, part: Any, write: Callable[[_Code], str]) -> str:
        if not isinstance(part, _Code):
            return repr(part)
        text = write(part)
        return text if self.call or part.call or text.isidentifier() else f"({text})"

    def __neg__(self) -> _Code:
        return _Code("-", self)

    def __abs__(self) -> _Code:
        return _call("abs")(self)

    __hash__ = object.__hash__

    def __bool__(self) -> bool:
        raise TypeError("a Python `if` in a rule sees one number only: use xp.where")


def _infix(sign: str) -> Callable[[Any, Any], _Code]:
    return lambda a, b: _Code(a, f" {sign} ", b)


def _swapped(sign: str) -> Callable[[Any, Any], _Code]:
    return lambda a, b: _Code(b, f" {sign} ", a)


for _name, _sign in SIGNS.items():
    setattr(_Code, f"__{_name}__", _infix(_sign))
    setattr(_Code, f"__r{_name}__", _swapped(_sign))


def _call(name: str) -> Callable[..., _Code]:
    return lambda *args: _Code(f"{name}(", *[part for arg in args for part in (", ", arg)][1:], ")", call=True)


def _larger(sign: str) -> Callable[[Any, Any], _Code]:
    return lambda a, b: _Code(a, " if ", (a > b if sign == ">" else a < b) | (a != a), " else ", b)


# What Python computes itself, but for the arguments at which it raises an error. Half of all numbers have no
# logarithm, and x**2 asks for it: an error would take too long.
_writer = Namespace(
    **{name: _call(name) for name in FUNCTIONS}
    | {
        "divide": _infix("/"),
        "power": _call("pow"),
        "log": lambda x: _Code(_call("log")(x), " if ", x > 0, " else ", _call("ieee.log")(x)),
        "where": lambda condition, a, b: _Code(a, " if ", condition, " else ", b),
        "maximum": _larger(">"),
        "minimum": _larger("<"),
    }
)


def compile_rows(value: dict[str, Any]) -> dict[Operation, Callable[..., Any]]:
    """Exchange the methods of Value that record a row; return for each row of vectors the function that records it.

    `value` holds the names of the module `value`. Such a function takes the operands, each vector as a tuple.
    A method whose rules choose by a Python `if` stays as it is written in the class.
    """
    rows = {op.name.upper(): op for op in vars(value["ops"]).values() if isinstance(op, Operation)}
    vectors = {op: f"on_vectors_{op.name}" for op in rows.values() if op.n_ary}
    lines = [line for op, name in vectors.items() for line in _function_of_vectors(name, op)]
    methods = {}
    for op in rows.values():
        for method, swapped in [] if op.n_ary else _methods(value["Value"], op):
            methods[method] = _as_written(value["Value"], method, op)
            with suppress(TypeError):
                lines += _method(method, op, swapped)
    text = "\n".join(lines)
    made: dict[str, Any] = {}
    exec(compile(text, FILE, "exec"), {**vars(math), **value, **rows, "__name__": __name__}, made)
    linecache.cache[FILE] = len(text), None, text.splitlines(keepends=True), FILE  # for tracebacks and debuggers
    for method, written in methods.items():
        setattr(value["Value"], method, update_wrapper(made[method], written) if method in made else written)
    return {op: made[name] for op, name in vectors.items()}


def _methods(Value: type, op: Operation) -> Iterator[tuple[str, bool]]:
    """Yield the methods that record this row, each with whether its operands are swapped."""
    name = "truediv" if op.name == "div" else op.name
    for method, swapped in (name, False), (f"__{name}__", False), (f"__r{name}__", True):
        if method in vars(Value):
            yield method, swapped


def _as_written(Value: type, method: str, op: Operation) -> Any:
    """Return the method as it stands in the class; those with a name, such as exp, get a docstring."""
    function = getattr(Value, method)
    function = getattr(function, "__wrapped__", function)
    if method == op.name:
        function.__doc__ = f"Return {op.text} of this Value x; the local derivative is {op.local_grad_formulas(1)[0]}."
    return function


def _method(method: str, op: Operation, swapped: bool) -> Iterator[str]:
    """Yield the lines of a method with the row's rules in them. Raises TypeError for a Python `if` in a rule."""
    computation = _computation(op)
    row = op.name.upper()
    if len(op.operands) == 1:
        yield f"def {method}(self):"
        yield "    a = self._data"
        record, otherwise = f"record({row}, y, self, da)", f"unary({row}, self)"
    else:
        left, right = ("other", "self") if swapped else ("self", "other")
        record, otherwise = f"record({row}, y, {left}, da, {right}, db)", f"binary({row}, {left}, {right})"
        yield f"def {method}(self, other):"
        yield "    kind = type(other)"
        yield "    if kind is not Value:"
        yield "        if kind is not float and kind is not int:"
        yield f"            return {otherwise}"
        yield "        other = constant(other)"
        yield f"    a, b = {left}._data, {right}._data"
    yield "    try:"
    yield from (f"        {line}" for line in computation)
    yield "    except (ArithmeticError, ValueError):"
    yield f"        return {otherwise}"
    yield f"    return {record}"
    yield ""


def _function_of_vectors(name: str, op: Operation) -> Iterator[str]:
    """Yield the lines of a function that calls the row's rules on the operands, without taking them apart first."""
    row, operands = op.name.upper(), [operand.removesuffix("{i}") for operand in op.operands]
    vectors = dict(zip(operands, op.vectors))
    data = ", ".join(f"{x}_data" for x in operands)
    yield f"def {name}({', '.join(operands)}):"
    yield "    try:"
    for x in operands:
        yield f"        {x}_data = " + (f"[v._data for v in {x}]" if vectors[x] else f"{x}._data")
    yield "    except AttributeError:"
    yield f"        return apply({row}, {', '.join('*' * vectors[x] + x for x in operands)})"
    yield f"    y = {row}.value(ieee, {data})"
    grads, all_inputs, all_grads = (
        ", ".join(star * vectors[x] + d + x for x in operands) + "," * (len(operands) == 1)
        for star, d in (("", "d"), ("*", ""), ("*", "d"))
    )
    yield f"    {grads} = {row}.local_grads(ieee, y, {data})"
    yield f"    return record({row}, y, ({all_inputs}), ({all_grads}))"
    yield ""


def _computation(op: Operation) -> list[str]:
    """Return lines that compute y and its derivatives da, db from a and b: what the rules do, run on symbols."""
    operands = [_Code(name) for name in "ab"[: len(op.operands)]]
    grads = op.local_grads(_writer, _Code("y"), *operands)
    results = {"y": op.value(_writer, *operands)} | {f"d{x.text}": grad for x, grad in zip(operands, grads)}
    uses: Counter[str] = Counter()
    lines: list[str] = []
    names: dict[str, str] = {}  # of what is used more than once

    def count(x: Any) -> None:
        if isinstance(x, _Code):
            uses[x.text] += 1
            if uses[x.text] == 1:
                for part in x.parts:
                    count(part)

    def write(x: Any) -> str:
        if not isinstance(x, _Code) or x.text.isidentifier():
            return repr(x) if not isinstance(x, _Code) else x.text
        if uses[x.text] == 1:
            return x.joined(write)
        if x.text not in names:
            text = x.joined(write)
            names[x.text] = f"t{len(names) + 1}"
            lines.append(f"{names[x.text]} = {text}")
        return names[x.text]

    for result in results.values():
        count(result)
    for name, result in results.items():
        lines.append(f"{name} = {write(result)}")
    return lines
