"""Formulas as people write them: from the Python text in the table of operations.

`write("sigmoid(x) * (1 - sigmoid(x))", {"x": "z"})` is σ(z)·(1 − σ(z)). A minus that is an
operation is written −, the sign of a number as Python prints it: -3.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Any

from microgradlike import ops
from microgradlike.notation import typeset
from microgradlike.notation.digits import format_constant, subscript
from microgradlike.notation.typeset import AND, ATOM, COMPARE, IF, OR, PRODUCT, QUOTIENT, SIGN, SUM, Formula, fill
from microgradlike.primitive import Operation
from microgradlike.value import Value

_NUMBER = re.compile(r"-?\d+(\.\d+)?(e[+-]?\d+)?")
_COMPOUND = re.compile(r"[\s+\-*/^=<>|&%·×÷−]")  # a name that looks like a formula itself
_COMPARISONS = {ast.Gt: ">", ast.Lt: "<", ast.GtE: "≥", ast.LtE: "≤", ast.Eq: "=", ast.NotEq: "≠"}
_FUNCTIONS = {"sigmoid": "σ", "maximum": "max", "minimum": "min"}

Look = Callable[[str], Formula]  # gives what stands for a name


def write(text: str, names: Mapping[str, str | Formula] | None = None) -> Formula:
    """Return the formula that is given in Python syntax, with other names or formulas in place of its names.

    Raises SyntaxError where `text` is no Python expression.
    """
    formula = _written(_parse(text), lambda name: _named((names or {}).get(name) or _pretty(name)))
    if formula.text.startswith("−") and formula.level > SUM:
        return replace(formula, text=formula.text[1:], tex=formula.tex[1:], factor=-1.0)
    return formula


def gradient(of: str, name: str) -> str:
    """Return ∂L/∂v: how `of` changes with `name`, along every path between them."""
    return f"∂{within_quotient(of)}/∂{within_quotient(name)}"


def local(name: str, position: int) -> str:
    """Return ∂₁v: how one operation's result changes with its input at `position` 0, the others held fixed."""
    return f"∂{subscript(position + 1)}{within_quotient(name)}"


def within_quotient(name: str) -> str:
    """Return the name as it stands after ∂: in brackets, unless it is a single symbol."""
    return f"({name})" if _COMPOUND.search(name) or "(" in name else name


def derivative(node: Value, position: int, names: Mapping[Value, str]) -> str:
    """Return the formula of the local derivative by the input at `position`, in the names of the nodes.

    "" where an operation of your own has a rule that cannot be written as a formula.
    """
    inputs = node.inputs
    index, formulas = _row(node.op, len(inputs))
    formula = formulas[position]
    if formula == f"d{list(index)[position]}":
        return ""
    used = {name: names[inputs[index[name]]] for name in _identifiers(formula) if name in index}
    return str(write(formula, {"y": names[node], **parameters(node.op), **used}))


def expression(node: Value, names: Mapping[Value, str] | None = None, *, length: int = 60, depth: int = 12) -> str:
    """Return what the node computes, as written: "tanh(w·x + b)".

    Inputs that have a label stand under it, the others are written out, as deeply as fits `length`
    and `depth`; beyond that stands the node's entry in `names`, or … . A leaf without a name
    stands for its number.
    """
    names = names or {}
    text = str(_expression(node, names, 1))
    for level in range(2, depth + 1):
        longer = str(_expression(node, names, level))
        if longer == text or len(longer) > length:
            break
        text = longer
    return text


def _expression(node: Value, names: Mapping[Value, str], depth: int) -> Formula:
    inputs = node.inputs
    if depth == 0 or not inputs:
        return _named(names.get(node) or node.label or ("…" if inputs else format_constant(node.data)))
    index, _ = _row(node.op, len(inputs))

    def look(name: str) -> Formula:
        if name in index:
            input = inputs[index[name]]
            return _expression(input, names, 0 if input.label else depth - 1)
        return _named(parameters(node.op).get(name, name))

    return _written(_as_written(node.op, len(inputs)), look)


# ── What the table of operations says, looked up once ──────────────────────────────────────────


@lru_cache(maxsize=1024)
def _row(op: Operation, n: int) -> tuple[dict[str, int], tuple[str, ...]]:
    return {name: i for i, name in enumerate(op.operand_names(n))}, op.local_grad_formulas(n)


@lru_cache(maxsize=4096)
def _parse(formula: str) -> ast.expr:
    return ast.parse(formula, mode="eval").body


@lru_cache(maxsize=4096)
def _identifiers(formula: str) -> tuple[str, ...]:
    """Return the names in a formula, without those of functions."""
    nodes = list(ast.walk(_parse(formula)))
    functions = {id(node.func) for node in nodes if isinstance(node, ast.Call)}
    return tuple(node.id for node in nodes if isinstance(node, ast.Name) and id(node) not in functions)


def parameters(op: Operation) -> dict[str, str]:
    """Return the parameters of an operation, as formulas write them."""
    return {name: format_constant(value) for name, value in op.parameters.items()}


@lru_cache(maxsize=1024)
def _as_written(op: Operation, n: int) -> ast.expr:
    """Return the operation on its n operands as a program writes it: σ(x), a + b, x1 + x2 + ... + x64."""
    names = op.operand_names(n)
    if n == 1 and op.operands == ("x",) and op is not ops.NEG:
        return ast.Call(ast.Name(op.symbol if op.symbol.isidentifier() else op.name), [ast.Name("x")], [])
    try:
        text = ast.parse(op.text, mode="eval")
    except SyntaxError:  # an operation of the user's own, with a name that is none in Python
        shown: list[ast.expr] = [ast.Constant(...) if i is ... else ast.Name(names[i - 1]) for i in _shown(n)]
        return ast.Call(ast.Name(op.name), shown, [])

    class WriteOut(ast.NodeTransformer):
        def visit_Call(self, call: ast.Call) -> ast.AST:
            name, arguments = ast.unparse(call.func), " * ".join(map(ast.unparse, call.args))
            vectors = [x for x in _identifiers(ast.unparse(call)) if x not in names and x not in op.parameters]
            summed = name in ("sum", "dot")
            if not vectors or not (summed or any(isinstance(x, ast.Name) and x.id in vectors for x in call.args)):
                return self.generic_visit(call)
            size = sum(bool(re.fullmatch(vectors[0] + r"\d+", x)) for x in names)
            elements = [
                "..." if i is ... else re.sub(rf"\b({'|'.join(vectors)})\b", rf"\g<1>{i}", arguments)
                for i in _shown(size)
            ]
            return _parse(" + ".join(elements) or "0" if summed else f"{name}({', '.join(elements)})")

    return WriteOut().visit(text).body  # type: ignore[no-any-return]


def _shown(n: int) -> Sequence[Any]:
    """Return which of n terms are written out."""
    return range(1, n + 1) if n <= 4 else (1, 2, ..., n)


# ── Writing ────────────────────────────────────────────────────────────────────────────────────


def _written(tree: ast.expr, look: Look) -> Formula:
    def part(x: ast.expr, level: int = IF, unsigned: bool = False) -> Formula:
        return _written(x, look).within(level, unsigned)

    match tree:
        case ast.Constant(float() | int() as value):
            return _named(format_constant(value))
        case ast.Constant(value) if value is ...:
            return typeset.verbatim("…")
        case ast.Name(name):
            return look(name)
        case ast.UnaryOp(ast.USub(), ast.Constant(float() | int() as value)):
            return _named(format_constant(-value))
        case ast.UnaryOp(ast.USub(), x):
            inner = part(x, QUOTIENT, unsigned=True)
            return fill("−{}", inner, level=min(inner.level, SIGN))
        case ast.BinOp(a, ast.Add() | ast.Sub() as op, b):
            sign = "+" if isinstance(op, ast.Add) else "−"
            return fill(f"{{}} {sign} {{}}", part(a, SUM), part(b, SUM + 1, unsigned=True), level=SUM)
        case ast.BinOp(a, ast.Mult(), b) | ast.Call(ast.Name("dot"), [a, b]):
            return fill("{}·{}", part(a, PRODUCT), part(b, SIGN, unsigned=True), level=PRODUCT)
        case ast.BinOp(a, ast.Div(), b):
            return fill("{}/{}", part(a, PRODUCT), part(b, SIGN, unsigned=True), level=QUOTIENT)
        case ast.BinOp(a, ast.Pow(), ast.BinOp(b, ast.Sub(), c)) if (n := _difference(look, b, c)) is not None:
            return part(a) if n == "1" else typeset.power(part(a), _named(n))
        case ast.BinOp(a, ast.Pow(), b):
            return typeset.power(part(a), part(b))
        case ast.Compare(first, operators, others):
            signs = "".join(f" {_COMPARISONS[type(operator)]} {{}}" for operator in operators)
            return fill("{}" + signs, *(part(x, SUM) for x in (first, *others)), level=COMPARE)
        case ast.BoolOp(op, parts):
            word, level = (" or ", OR) if isinstance(op, ast.Or) else (" and ", AND)
            return fill(word.join(["{}"] * len(parts)), *(part(x, level + 1) for x in parts), level=level)
        case ast.IfExp(test, a, b):
            return fill("{} if {} else {}", part(a, OR), part(test, OR), part(b), level=IF)
        case ast.Call(ast.Name("sqrt"), [x]):
            return typeset.root(part(x))
        case ast.Call(ast.Name("abs"), [x]):
            inner = part(x)
            return fill("abs({})" if "|" in inner.text else "|{}|", inner)
        case ast.Call(ast.Name(name), arguments):
            return typeset.call(_FUNCTIONS.get(name, name), *map(part, arguments))
    return typeset.verbatim(ast.unparse(tree), IF)  # something else in an operation of the user's own: as it is


def _named(given: str | Formula) -> Formula:
    """Return what stands for a name: a number, another formula, or a name that looks like one."""
    text, level = str(given), ATOM
    if _NUMBER.fullmatch(text):
        level = SIGN if text[0] == "-" else ATOM
    elif _COMPOUND.search(text):
        level = IF
    if isinstance(given, str):
        return typeset.verbatim(text, level)
    return replace(given.written, level=level) if level < ATOM else given.within(ATOM)


def _difference(look: Look, b: ast.expr, c: ast.expr) -> str | None:
    """Return the exponent b − 1, where b is a number: x² has the derivative 2·x, not 2·x^(2 − 1)."""
    if not isinstance(b, ast.Name) or not isinstance(c, ast.Constant) or not _NUMBER.fullmatch(text := str(look(b.id))):
        return None
    return format_constant(float(text) - c.value)  # type: ignore[operator, arg-type]


def _pretty(name: str) -> str:
    """Return an operand's name in the table of operations as it is read: x₁ for x1, α for alpha."""
    if name == "alpha":
        return "α"
    letters = name.rstrip("0123456789")
    return letters + subscript(name[len(letters) :])
