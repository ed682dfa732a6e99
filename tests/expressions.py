"""The examples of other people, which are text: plain arithmetic and functions by name, on Values."""

import ast
import operator

from microgradlike import Value, maximum

OPERATORS = {
    ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.Div: operator.truediv,
    ast.Pow: operator.pow, ast.USub: operator.neg,
}  # fmt: skip
FUNCTIONS = {name: getattr(Value, name) for name in ("exp", "log", "sin", "sigmoid", "tanh", "relu")} | {
    "maximum": maximum
}


def evaluate(node, names, functions=FUNCTIONS):
    match node:
        case ast.Constant(value=number):
            return number
        case ast.Name(id=name):
            return names[name]
        case ast.BinOp(left, op, right):
            return OPERATORS[type(op)](evaluate(left, names, functions), evaluate(right, names, functions))
        case ast.UnaryOp(op, operand):
            return OPERATORS[type(op)](evaluate(operand, names, functions))
        case ast.Call(ast.Name(id=name), args):
            return functions[name](*(evaluate(arg, names, functions) for arg in args))
    raise AssertionError(f"the examples use plain arithmetic only, not {ast.dump(node)}")
