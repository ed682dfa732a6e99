"""Formulas as people write them: from the Python text in the table of operations.

`plain("sigmoid(x) * (1 - sigmoid(x))", {"x": "z"})` is "σ(z)·(1 − σ(z))", `latex` the same for
typesetting. Each part of a formula is written as a text with a level, how tightly it binds;
what binds too loosely for its place gets parentheses. A minus that is an operation is written −,
the sign of a number as Python prints it: -3.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Mapping, Sequence
from functools import cache, lru_cache
from typing import Any

from microgradlike import ops
from microgradlike.notation.digits import format_constant, plain_digits, subscript, superscript
from microgradlike.primitive import Operation
from microgradlike.value import Value

IF, OR, AND, COMPARE, SUM, QUOTIENT, PRODUCT, SIGN, POWER, ATOM = range(10)

Written = tuple[str, int]  # a text, and how tightly it binds

_NUMBER = re.compile(r"-?\d+(\.\d+)?(e[+-]?\d+)?")
_COMPOUND = re.compile(r"[\s+\-*/^=<>|&%·×÷−]")  # a name that looks like a formula itself
_COMPARISONS = {ast.Gt: ">", ast.Lt: "<", ast.GtE: "≥", ast.LtE: "≤", ast.Eq: "=", ast.NotEq: "≠"}


def plain(formula: str, names: Mapping[str, str] | None = None) -> str:
    """A formula in Python syntax as plain text, its names replaced by those given.

    Raises SyntaxError where `formula` is no Python expression.
    """
    return _Plain().formula(formula, names or {})


def latex(formula: str, names: Mapping[str, str] | None = None) -> str:
    """The same as LaTeX, within what MathJax, KaTeX and matplotlib understand."""
    return _Latex().formula(formula, names or {})


def partial(y: str, x: str) -> str:
    """∂y/∂x."""
    return "/".join(f"∂({name})" if _COMPOUND.search(name) else f"∂{name}" for name in (y, x))


def derivative(
    node: Value, position: int, names: Mapping[Value, str], write: Callable[[str, Mapping[str, str]], str] = plain
) -> str:
    """The formula of ∂node/∂input for the input at `position`, in the names of the nodes.

    "" where an operation of your own has a rule that cannot be written as a formula.
    """
    inputs = node.inputs
    index, formulas = _row(node.op, len(inputs))
    formula = formulas[position]
    if formula == f"d{list(index)[position]}":
        return ""
    used = {name: names[inputs[index[name]]] for name in _identifiers(formula) if name in index}
    return write(formula, {"y": names[node], **_parameters(node.op), **used})


def expression(node: Value, names: Mapping[Value, str] | None = None, *, length: int = 60, depth: int = 12) -> str:
    """What the node computes, as written: "tanh(w·x + b)".

    Inputs that have a label stand under it, the others are written out, as deeply as fits `length`
    and `depth`; beyond that stands the node's entry in `names`, or … . A leaf without a name
    stands for its number.
    """
    names = names or {}
    text = _expression(node, names, 1)[0]
    for level in range(2, depth + 1):
        longer = _expression(node, names, level)[0]
        if longer == text or len(longer) > length:
            break
        text = longer
    return text


def _expression(node: Value, names: Mapping[Value, str], depth: int) -> Written:
    writer, inputs = _Plain(), node.inputs
    if depth == 0 or not inputs:
        return writer.name(_stands_for(node, names))
    index, _ = _row(node.op, len(inputs))
    parameters = _parameters(node.op)

    def look(name: str) -> Written:
        if name in index:
            input = inputs[index[name]]
            return _expression(input, names, 0 if input.label else depth - 1)
        return writer.name(parameters.get(name, name))

    return writer.write(_as_written(node.op, len(inputs)), look)


def _stands_for(node: Value, names: Mapping[Value, str]) -> str:
    return names.get(node) or node.label or ("…" if node.inputs else format_constant(node.data))


# ── What the table of operations says, looked up once ──────────────────────────────────────────


@lru_cache(maxsize=1024)
def _row(op: Operation, n: int) -> tuple[dict[str, int], tuple[str, ...]]:
    return {name: i for i, name in enumerate(op.operand_names(n))}, op.local_grad_formulas(n)


@lru_cache(maxsize=4096)
def _parse(formula: str) -> ast.expr:
    return ast.parse(formula, mode="eval").body


@lru_cache(maxsize=4096)
def _identifiers(formula: str) -> tuple[str, ...]:
    """The names in a formula, without those of functions."""
    nodes = list(ast.walk(_parse(formula)))
    functions = {id(node.func) for node in nodes if isinstance(node, ast.Call)}
    return tuple(node.id for node in nodes if isinstance(node, ast.Name) and id(node) not in functions)


def _parameters(op: Operation) -> dict[str, str]:
    return {name: format_constant(value) for name, value in op.parameters.items()}


@lru_cache(maxsize=1024)
def _as_written(op: Operation, n: int) -> ast.expr:
    """The operation on its n operands as a program writes it: σ(x), a + b, x1 + x2 + ... + x64."""
    index, _ = _row(op, n)
    if n == 1 and op.operands == ("x",) and op is not ops.NEG:
        return ast.Call(ast.Name(op.symbol if op.symbol.isidentifier() else op.name), [ast.Name("x")], [])
    try:
        text = ast.parse(op.text, mode="eval")
    except SyntaxError:  # an operation of the user's own, with a name that is none in Python
        return ast.Call(
            ast.Name(op.name), [ast.Constant(...) if i is ... else ast.Name(list(index)[i - 1]) for i in _shown(n)], []
        )

    class WriteOut(ast.NodeTransformer):
        def visit_Call(self, call: ast.Call) -> ast.AST:
            name, arguments = ast.unparse(call.func), " * ".join(map(ast.unparse, call.args))
            vectors = [x for x in _identifiers(ast.unparse(call)) if x not in index and x not in op.parameters]
            summed = name in ("sum", "dot")
            if not vectors or not (summed or any(isinstance(x, ast.Name) and x.id in vectors for x in call.args)):
                return self.generic_visit(call)
            size = sum(bool(re.fullmatch(vectors[0] + r"\d+", x)) for x in index)
            elements = [
                "..." if i is ... else re.sub(rf"\b({'|'.join(vectors)})\b", rf"\g<1>{i}", arguments)
                for i in _shown(size)
            ]
            return _parse(" + ".join(elements) or "0" if summed else f"{name}({', '.join(elements)})")

    return WriteOut().visit(text).body  # type: ignore[no-any-return]


def _shown(n: int) -> Sequence[Any]:
    """Which of n terms are written out."""
    return range(1, n + 1) if n <= 4 else (1, 2, ..., n)


# ── Writing ────────────────────────────────────────────────────────────────────────────────────


class _Plain:
    minus = "−"
    functions: Mapping[str, str] = {"sigmoid": "σ", "maximum": "max", "minimum": "min"}
    words: Mapping[str, str] = {"if": " if ", "else": " else ", "and": " and ", "or": " or "}
    comparisons: Mapping[str, str] = {}

    def formula(self, formula: str, names: Mapping[str, str]) -> str:
        return self.write(_parse(formula), lambda x: self.name(names.get(x) or _pretty(x)))[0]

    def write(self, tree: ast.expr, look: Callable[[str], Written]) -> Written:
        def at(level: int, part: ast.expr) -> str:
            return self.at(level, self.write(part, look))

        match tree:
            case ast.Constant(float() | int() as value):
                return self.name(f"{value:.15g}")
            case ast.Constant(value) if value is ...:
                return self.name("…")
            case ast.Name(name):
                return look(name)
            case ast.UnaryOp(ast.USub(), ast.Constant(float() | int() as value)):
                return self.name(f"{-value:.15g}")
            case ast.UnaryOp(ast.USub(), x):
                text, level = self.write(x, look)
                return self.minus + self.at(QUOTIENT, (text, level), unsigned=True), SIGN if level < QUOTIENT else min(
                    level, SIGN
                )
            case ast.BinOp(a, ast.Add() | ast.Sub() as op, b):
                sign = "+" if isinstance(op, ast.Add) else self.minus
                return f"{at(SUM, a)} {sign} {self.at(SUM + 1, self.write(b, look), unsigned=True)}", SUM
            case ast.BinOp(a, ast.Mult(), b):
                return self.product(at(PRODUCT, a), self.at(SIGN, self.write(b, look), unsigned=True))
            case ast.BinOp(a, ast.Div(), b):
                return self.quotient(self.write(a, look), self.write(b, look))
            case ast.BinOp(a, ast.Pow(), ast.BinOp(b, ast.Sub(), c)) if (n := _difference(look, b, c)) is not None:
                return self.write(a, look) if n == "1" else self.power(self.write(a, look), self.name(n))
            case ast.BinOp(a, ast.Pow(), b):
                return self.power(self.write(a, look), self.write(b, look))
            case ast.Compare(first, operators, others):
                text = at(SUM, first)
                for operator, other in zip(operators, others, strict=True):
                    sign = _COMPARISONS[type(operator)]
                    text += f" {self.comparisons.get(sign, sign)} {at(SUM, other)}"
                return text, COMPARE
            case ast.BoolOp(op, parts):
                word, level = ("or", OR) if isinstance(op, ast.Or) else ("and", AND)
                return self.words[word].join(at(level + 1, part) for part in parts), level
            case ast.IfExp(test, a, b):
                return f"{at(OR, a)}{self.words['if']}{at(OR, test)}{self.words['else']}{at(IF, b)}", IF
            case ast.Call(ast.Name("sqrt"), [x]):
                return self.root(self.write(x, look))
            case ast.Call(ast.Name("abs"), [x]):
                return self.absolute(at(IF, x))
            case ast.Call(ast.Name("dot"), [a, b]):
                return self.product(at(PRODUCT, a), at(SIGN, b))
            case ast.Call(ast.Name(name), arguments):
                return self.call(name, ", ".join(at(IF, x) for x in arguments)), ATOM
        return ast.unparse(tree), IF  # something else in an operation of the user's own: as it is

    def at(self, level: int, written: Written, unsigned: bool = False) -> str:
        """The text, in parentheses if it binds less tightly than its place asks."""
        text, own = written
        return f"({text})" if own < level or (unsigned and text[:1] in "-−") else text

    def name(self, text: str) -> Written:
        if _NUMBER.fullmatch(text):
            return text, SIGN if text[0] == "-" else ATOM
        return text, IF if _COMPOUND.search(text) else ATOM

    def product(self, a: str, b: str) -> Written:
        return f"{a}·{b}", PRODUCT

    def quotient(self, a: Written, b: Written) -> Written:
        return f"{self.at(PRODUCT, a)}/{self.at(SIGN, b, unsigned=True)}", QUOTIENT

    def power(self, a: Written, b: Written) -> Written:
        unclear = re.search(r"[⁻⁰¹²³⁴⁵⁶⁷⁸⁹][^)]*$|e[+-]", a[0])  # (w²₁₃)², but tanh(z²)²
        base = a[0] if a[1] == ATOM and not unclear else f"({a[0]})"
        if re.fullmatch(r"-?\d+", b[0]):
            return base + superscript(b[0]), POWER
        return f"{base}^{self.at(ATOM, b)}", POWER

    def root(self, x: Written) -> Written:
        return (f"√{x[0]}" if x[1] == ATOM and "(" not in x[0] else f"√({x[0]})"), POWER

    def absolute(self, x: str) -> Written:
        return f"abs({x})" if "|" in x else f"|{x}|", ATOM

    def call(self, name: str, arguments: str) -> str:
        return f"{self.functions.get(name, name)}({arguments})"


class _Latex(_Plain):
    minus = "-"
    functions: Mapping[str, str] = {
        "sigmoid": r"\sigma", "maximum": r"\max", "minimum": r"\min", "max": r"\max", "min": r"\min",
        "exp": r"\exp", "log": r"\log", "sin": r"\sin", "cos": r"\cos", "tanh": r"\tanh",
    }  # fmt: skip
    words: Mapping[str, str] = {word: rf"\ \mathrm{{{word}}}\ " for word in ("if", "else", "and", "or")}
    comparisons: Mapping[str, str] = {"≥": r"\geq", "≤": r"\leq", "≠": r"\neq"}

    def at(self, level: int, written: Written, unsigned: bool = False) -> str:
        text, own = written
        return rf"\left({text}\right)" if own < level or (unsigned and text[:1] == "-") else text

    def name(self, text: str) -> Written:
        return _latex_name(text), super().name(text)[1]

    def product(self, a: str, b: str) -> Written:
        return rf"{a} \cdot {b}", PRODUCT

    def quotient(self, a: Written, b: Written) -> Written:
        if a[0].startswith("-") and a[1] >= QUOTIENT:  # −a/b: the sign stands before the fraction
            return rf"-\frac{{{a[0][1:]}}}{{{b[0]}}}", SIGN
        return rf"\frac{{{a[0]}}}{{{b[0]}}}", POWER

    def power(self, a: Written, b: Written) -> Written:
        return f"{{{self.at(ATOM, a)}}}^{{{b[0]}}}", POWER

    def root(self, x: Written) -> Written:
        return rf"\sqrt{{{x[0]}}}", ATOM

    def absolute(self, x: str) -> Written:
        return rf"\left|{x}\right|", ATOM

    def call(self, name: str, arguments: str) -> str:
        return rf"{self.functions.get(name) or _latex_name(name)}\left({arguments}\right)"


def _difference(look: Callable[[str], Written], b: ast.expr, c: ast.expr) -> str | None:
    """The exponent b − 1, where b is a number: x² has the derivative 2·x, not 2·x^(2 − 1)."""
    if not isinstance(b, ast.Name) or not isinstance(c, ast.Constant) or not _NUMBER.fullmatch(look(b.id)[0]):
        return None
    return f"{float(look(b.id)[0]) - c.value:.15g}"  # type: ignore[operator]


def _pretty(name: str) -> str:
    """An operand's name in the table of operations, as it is read: x1 is x₁, alpha is α."""
    if name == "alpha":
        return "α"
    letters = name.rstrip("0123456789")
    return letters + subscript(name[len(letters) :])


_LATEX = {
    "\\": r"\backslash ", "{": r"\{", "}": r"\}", "$": r"\$", "&": "＆", "#": r"\#", "_": r"\_", "%": r"\%",
    "^": r"\wedge ", "~": r"\sim ", " ": r"\ ", "…": r"\ldots ", "α": r"\alpha ", "δ": r"\delta ", "σ": r"\sigma ",
}  # fmt: skip


@cache
def _scripts() -> Any:
    return re.compile("(?P<letters>[^⁰¹²³⁴-⁹₀-₉]+)(?P<above>[⁰¹²³⁴-⁹]*)(?P<below>(?:[₀-₉]+(?:,[₀-₉]+)*)?)")


def _latex_name(text: str) -> str:
    """A node's name: w²₁₃ is w^{2}_{13}, several letters stand upright, nothing is a command."""
    match = _scripts().fullmatch(text)
    letters, above, below = match.groups() if match else (text, "", "")
    upright = len(letters) > 1 and not _NUMBER.fullmatch(letters)
    result = "".join(_LATEX.get(c, c) for c in letters)
    if upright:
        result = rf"\mathrm{{{result}}}"
    for script, mark in ((above, "^"), (below, "_")):
        result += f"{mark}{{{plain_digits(script)}}}" if script else ""
    return result
