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
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from functools import lru_cache, update_wrapper
from itertools import count
from typing import Any

from microgradlike.ieee import ieee
from microgradlike.primitive import Operation
from microgradlike.support.written import AND, ATOM, CHOICE, COMPARE, SUM, Language

FILE = "<operators of microgradlike.Value>"
LONG = 16  # for more inputs than these, rules are not written out


def _number(x: float) -> tuple[str, int]:
    return repr(x), SUM if math.copysign(1.0, x) < 0 else ATOM


# What Python computes itself, but for the numbers at which it raises an error. Half of all numbers have no
# logarithm, and x**2 asks for it: an error would take too long. nan wins, as in NumPy.
PYTHON = Language(
    _number,
    {name: (f"{name}({{0}})", ATOM, CHOICE) for name in ("exp", "expm1", "log1p", "sqrt", "sin", "cos", "tanh", "abs")}
    | {
        "log": ("log({0}) if {0} > 0 else ieee.log({0})", CHOICE, SUM),
        "power": ("pow({0}, {1})", ATOM, CHOICE, CHOICE),
        "maximum": ("{0} if {0} > {1} or {0} != {0} else {1}", CHOICE, SUM, SUM),
        "minimum": ("{0} if {0} < {1} or {0} != {0} else {1}", CHOICE, SUM, SUM),
        "and": ("{0} and {1}", AND, COMPARE, COMPARE),
        "where": ("{1} if {0} else {2}", CHOICE, AND, AND, CHOICE),
        "float": ("float({0})", ATOM, CHOICE),
        "true": ("True",),
        "false": ("False",),
    },
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


def on_floats(op: Operation, n: int) -> Callable[..., tuple[float, ...]]:
    """Return the function of n floats that computes a row's value and local derivatives: f(a, b) = (y, ∂₁y, ∂₂y)."""
    return _on_floats(n, op, op.value, op.local_grads)


@lru_cache(1000)
def _on_floats(n: int, op: Operation, *_rules: Any) -> Callable[..., tuple[float, ...]]:
    """Return the same; the row's rules are arguments so that what is cached holds for them alone."""

    def as_written(*inputs: float) -> tuple[float, ...]:
        y = op.evaluate(ieee, inputs)
        return (y, *op.differentiate(ieee, y, inputs))

    if n > LONG:
        return as_written
    inputs = [f"x{i}" for i in range(1, n + 1)]
    try:
        computation = _computation(op, inputs)
    except (TypeError, ValueError):  # a rule of the user's may raise either
        return as_written
    lines = [
        f"def f({', '.join(inputs)}):",
        "    try:",
        *(f"        {line}" for line in computation),
        f"        return y, {', '.join(f'd{x}' for x in inputs)}",
        "    except (ArithmeticError, ValueError):",
        f"        return as_written({', '.join(inputs)})",
    ]
    made: dict[str, Any] = {}
    namespace = {**vars(math), "ieee": ieee, "as_written": as_written}
    exec(compile("\n".join(lines), f"<{op.name!a} of floats>", "exec"), namespace, made)
    return made["f"]  # type: ignore[no-any-return]


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
    computation = _computation(op, "ab"[: len(op.operands)])
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
    all_inputs = " + ".join(x if vectors[x] else f"({x},)" for x in operands)
    grads, all_grads = (
        ", ".join(star * vectors[x] + d + x for x in operands) + "," * (len(operands) == 1)
        for star, d in (("", "d"), ("*", "d"))
    )
    yield f"    {grads} = {row}.local_grads(ieee, y, {data})"
    yield f"    return record({row}, y, {all_inputs}, ({all_grads}))"
    yield ""


def _computation(op: Operation, inputs: Sequence[str]) -> list[str]:
    """Return the lines that compute y and its local derivatives, da and db by the inputs a and b."""
    shared, results = PYTHON.written(op, inputs, (f"t{i}" for i in count(1)))
    names = ("y", *(f"d{x}" for x in inputs))
    return [f"{name} = {text}" for name, text in (*shared, *zip(names, results))]
