"""An expression typed by a person, such as "sigmoid(w*x + b)", recorded as a graph; never by eval."""

from __future__ import annotations

import ast
import inspect
import operator
import unicodedata
from collections.abc import Callable, Mapping
from typing import Any

from microgradlike import functions, ops
from microgradlike.value import Value, constant

OPERATORS: dict[type, Callable[..., Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.Pow: operator.pow,
    ast.USub: operator.neg,
    ast.UAdd: operator.pos,
}


def _functions_of(owner: Any, module: str) -> dict[str, Callable[..., Any]]:
    """Return the public functions that a class or a module defines in this module, by name."""
    own = {name: f for name, f in vars(owner).items() if inspect.isfunction(f) and f.__module__ == module}
    return {name: f for name, f in own.items() if not name.startswith("_") and name != "backward"}


METHODS = {"abs": Value.__abs__, **_functions_of(Value, Value.__module__)}  # of one Value
FUNCTIONS = _functions_of(functions, functions.__name__)  # of several


def record(text: str, numbers: Mapping[str, float]) -> Value:
    """Record the graph of an expression: each variable is a labelled leaf, with its number from `numbers`.

    It may hold numbers, variables, + - * / **, the functions of this library by name, lists for
    those that take several values, and `[i]` to pick one of a list.

    As in Python, the names of variables are compared in their NFKC form: the µ of a keyboard
    (U+00B5) is the Greek letter μ.

    Raises ValueError, in one line, for anything else, for a variable without a number and for a
    number without a variable.
    """
    numbers = {variable(name): number for name, number in numbers.items()}
    try:
        tree = ast.parse(text.strip(), mode="eval").body
        called = [node.func for node in ast.walk(tree) if isinstance(node, ast.Call)]
        known = [*METHODS, *FUNCTIONS]
        if unknown := [name for name in dict.fromkeys(map(ast.unparse, called)) if name not in known]:
            raise ValueError(f"unknown function {', '.join(unknown)}; known are {', '.join(known)}")
        found = [node for node in ast.walk(tree) if isinstance(node, ast.Name) and node not in called]
        variables = list(dict.fromkeys(name.id for name in sorted(found, key=lambda n: (n.lineno, n.col_offset))))
        if missing := [name for name in variables if name not in numbers]:
            raise ValueError(f"no number for {', '.join(missing)}: add {' '.join(f'{name}=…' for name in missing)}")
        if unused := [name for name in numbers if name not in variables]:
            raise ValueError(
                f"no {', '.join(unused)} in {text!r:.60}; its variables are {', '.join(variables) or 'none'}"
            )
        result = _Recorder({name: Value(numbers[name], label=name) for name in variables}).visit(tree)
    except SyntaxError as error:
        raise ValueError(f"{text!r:.60} is not an expression: {error.msg}") from None
    except UnicodeEncodeError:
        raise ValueError(f"{text!r:.60} is not an expression: it holds a character that is none") from None
    except (RecursionError, MemoryError):
        raise ValueError("the expression is nested too deeply; a long sum can be written as sum([a, b, …])") from None
    if not isinstance(result, Value):
        raise ValueError(f"{text!r:.60} is a list of {len(result)}: pick one with [0] … [{len(result) - 1}]")
    return result


def takes_lists(name: str) -> bool:
    """Return whether the function of this name takes a list, as sum([a, b]) does."""
    return name in FUNCTIONS and any(_is_list(p) for p in inspect.signature(FUNCTIONS[name]).parameters.values())


def _is_list(parameter: inspect.Parameter) -> bool:
    return "Iterable" in str(parameter.annotation)


def variable(name: str) -> str:
    """Return a variable's name as Python reads it, in NFKC form."""
    return unicodedata.normalize("NFKC", name)


class _Recorder(ast.NodeVisitor):
    """Records a syntax tree: each visit returns a Value, or a list of them."""

    def __init__(self, leaves: Mapping[str, Value]) -> None:
        self.leaves = leaves

    def value(self, node: ast.expr) -> Value:
        result = self.visit(node)
        if not isinstance(result, Value):
            raise ValueError(f"expected one value, got the list {ast.unparse(node)}")
        return result

    def visit_Constant(self, node: ast.Constant) -> Value:
        if type(node.value) not in (int, float):
            raise ValueError(f"expected a real number, got {ast.unparse(node)}")
        return constant(node.value)

    def visit_Name(self, node: ast.Name) -> Value:
        return self.leaves[node.id]

    def visit_BinOp(self, node: ast.BinOp) -> Value:
        operations, first = [node], node.left
        while isinstance(first, ast.BinOp):  # Python nests a + b + c + … to the left: a loop takes any length
            operations.append(first)
            first = first.left
        result = self.value(first)
        for each in reversed(operations):
            result = _operator(each.op)(result, self.value(each.right))
        return result

    def visit_UnaryOp(self, node: ast.UnaryOp) -> Value:
        if isinstance(node.op, ast.USub) and isinstance(node.operand, ast.Constant):
            return constant(-self.value(node.operand).data)  # -1 is a number, as in Python
        return _operator(node.op)(self.value(node.operand))

    def visit_List(self, node: ast.List) -> list[Value]:
        return [self.value(element) for element in node.elts]

    def visit_Subscript(self, node: ast.Subscript) -> Any:
        elements = self.visit(node.value)
        try:
            return elements[operator.index(ast.literal_eval(node.slice))]
        except IndexError as error:
            raise ValueError(f"cannot take {ast.unparse(node)}: {error}") from None
        except (TypeError, ValueError):
            raise ValueError(f"cannot take {ast.unparse(node)}: pick one of a list by its number, as in [0]") from None

    def visit_Call(self, node: ast.Call) -> Any:
        name = ast.unparse(node.func)
        if node.keywords or any(isinstance(argument, ast.Starred) for argument in node.args):
            raise ValueError(f"plain arguments only: {ast.unparse(node)}")
        arguments = [self.visit(argument) for argument in node.args]
        function = FUNCTIONS.get(name) or METHODS[name]
        if usage := _misused(function, arguments):
            raise ValueError(f"cannot take {ast.unparse(node)}: write {name}({usage})")
        try:
            if name in FUNCTIONS:
                return function(*arguments)
            x, *parameters = arguments  # parameters as the slope in leaky_relu(x, 0.2)
            return function(x, *(p.data if p.op is ops.CONSTANT else p for p in parameters))
        except (TypeError, ValueError) as error:
            raise ValueError(f"cannot take {ast.unparse(node)}: {error}") from None

    def generic_visit(self, node: ast.AST) -> Any:
        raise ValueError(f"{ast.unparse(node)!r} is beyond this language of numbers, names, operators and functions")


def _operator(op: ast.AST) -> Callable[..., Value]:
    if isinstance(op, ast.BitXor):
        raise ValueError("^ is no power here: write x**2, as in Python")
    if type(op) not in OPERATORS:
        raise ValueError(f"unknown operator {type(op).__name__}; known are + - * / **")
    return OPERATORS[type(op)]


def _misused(function: Callable[..., Any], arguments: list[Any]) -> str:
    """Return what belongs between the parentheses, if these arguments are too many, too few, or no lists; else ""."""
    parameters = inspect.signature(function).parameters.values()
    lists = list(map(_is_list, parameters))
    needed = sum(p.default is p.empty for p in parameters)
    fit = all(isinstance(argument, list) == is_list for argument, is_list in zip(arguments, lists))
    if fit and needed <= len(arguments) <= len(lists):
        return ""
    names = ["x" if p.name in ("self", "values") else p.name for p in parameters]
    return ", ".join(f"[{name}, …]" if is_list else name for name, is_list in zip(names, lists))
