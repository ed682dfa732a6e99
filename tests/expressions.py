"""The examples of other people, which are text: plain arithmetic and functions by name, on Values."""

import ast
import operator

from microgradlike import Value, constant, log_softmax, logsumexp, maximum, maxout, minimum, softmax

OPERATORS = {
    ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.Div: operator.truediv,
    ast.Pow: operator.pow, ast.USub: operator.neg,
}  # fmt: skip
FUNCTIONS = {name: getattr(Value, name) for name in ("exp", "log", "sin", "sigmoid", "tanh", "relu")} | {
    "maximum": maximum
}

MORE_FUNCTIONS = FUNCTIONS | {
    "abs": abs,
    "const": constant,
    "cos": Value.cos,
    "elu": Value.elu,
    "expm1": Value.expm1,
    "leaky_relu": Value.leaky_relu,
    "log1p": Value.log1p,
    "logsigmoid": lambda x: -(-x).softplus(),
    "logsoftmax0": lambda *x: log_softmax(x)[0],
    "logsumexp": lambda *x: logsumexp(x),
    "maxred": lambda *x: maxout(x),
    "minimum": minimum,
    "norm": lambda x, y: (x * x + y * y).sqrt(),
    "pow": lambda x, y: x**y,
    "softmax0": lambda *x: softmax(x)[0],
    "softplus": Value.softplus,
    "sqrt": Value.sqrt,
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
