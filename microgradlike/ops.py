"""The table of primitive operations: one row each, one rule for every kind of number.

A row states what an operation computes and its local derivatives, each as text and as a rule; a test
evaluates the text with 50 digits. The chain rule that joins them is in `value.py`. To add an operation,
add its row, and the function or method that records it.

A rule takes its functions from its first argument, the namespace `xp` (`Namespace` lists them). So
it runs on floats, on arrays and, for derivatives of derivatives, on Values.

At a kink the local derivative is PyTorch's: docs/edges.md lists every case.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from microgradlike.ieee import Namespace
from microgradlike.primitive import Operation

# fmt: off
LEAF = Operation("leaf", "", (), "", lambda xp: None, (), lambda xp, y: ())
CONSTANT = Operation("constant", "", (), "c", lambda xp: None, (), lambda xp, y: ())

# ── One operand ────────────────────────────────────────────────────────────────────────────────

ONE = ("x",)

NEG = Operation("neg", "−", ONE,
    "-x",                   lambda xp, x: -x,
    ("-1",),                lambda xp, y, x: (-1.0,))
ABS = Operation("abs", "abs", ONE,
    "abs(x)",               lambda xp, x: abs(x),
    ("1 if x > 0 else -1 if x < 0 else 0",),
                            lambda xp, y, x: (xp.where(x > 0, 1.0, xp.where(x < 0, -1.0, 0.0)),))
EXP = Operation("exp", "exp", ONE,
    "exp(x)",               lambda xp, x: xp.exp(x),
    ("exp(x)",),            lambda xp, y, x: (y,))
EXPM1 = Operation("expm1", "expm1", ONE,
    "exp(x) - 1",           lambda xp, x: xp.expm1(x),
    ("exp(x)",),            lambda xp, y, x: (xp.exp(x),))
LOG = Operation("log", "log", ONE,
    "log(x)",               lambda xp, x: xp.log(x),
    ("1 / x",),             lambda xp, y, x: (xp.divide(1.0, x),))
LOG1P = Operation("log1p", "log1p", ONE,
    "log(1 + x)",           lambda xp, x: xp.log1p(x),
    ("1 / (1 + x)",),       lambda xp, y, x: (xp.divide(1.0, 1.0 + x),))
SQRT = Operation("sqrt", "√", ONE,
    "sqrt(x)",              lambda xp, x: xp.sqrt(x),
    ("1 / (2 * sqrt(x))",), lambda xp, y, x: (xp.divide(0.5, y),))
SIN = Operation("sin", "sin", ONE,
    "sin(x)",               lambda xp, x: xp.sin(x),
    ("cos(x)",),            lambda xp, y, x: (xp.cos(x),))
COS = Operation("cos", "cos", ONE,
    "cos(x)",               lambda xp, x: xp.cos(x),
    ("-sin(x)",),           lambda xp, y, x: (-xp.sin(x),))


# ── Activation functions. σ(−x) stands for 1 − σ(x), which would lose every digit at x = 40 ──────

# xp.abs has no kink. With that of abs(x), σ‴(0) would come out as 0; it is −1/8.

def _sigmoid_slope(xp: Any, x: Any) -> Any:
    e = xp.exp(-xp.abs(x))  # σ(x)·σ(−x), and the same for x and −x
    return xp.divide(e, (1.0 + e) * (1.0 + e))

SIGMOID = Operation("sigmoid", "σ", ONE,
    "1 / (1 + exp(-x))",    Namespace.sigmoid,
    ("sigmoid(x) * (1 - sigmoid(x))",),
                            lambda xp, y, x: (_sigmoid_slope(xp, x),))
TANH = Operation("tanh", "tanh", ONE,
    "tanh(x)",              lambda xp, x: xp.tanh(x),
    ("1 - tanh(x)**2",),    lambda xp, y, x: (4.0 * _sigmoid_slope(xp, 2.0 * x),))
SOFTPLUS = Operation("softplus", "softplus", ONE,
    "log(1 + exp(x))",      lambda xp, x: xp.maximum(x, 0.0) + xp.log1p(xp.exp(-xp.abs(x))),
    ("sigmoid(x)",),        lambda xp, y, x: (xp.sigmoid(x),))
RELU = Operation("relu", "ReLU", ONE,
    "max(0, x)",            lambda xp, x: xp.where(x <= 0, 0.0, x),
    ("1 if x > 0 else 0",), lambda xp, y, x: (xp.where(x <= 0, 0.0, 1.0),))

@cache
def leaky_relu(slope: float) -> Operation:
    """The row of max(slope·x, x), for a slope up to 1."""
    return Operation("leaky_relu", "leaky ReLU", ONE,
        "x if x > 0 else slope * x",        lambda xp, x: xp.where(x > 0, x, slope * x),
        ("1 if x > 0 else slope",),         lambda xp, y, x: (xp.where(x > 0, 1.0, slope),),
        {"slope": slope})

@cache
def elu(alpha: float) -> Operation:
    """The row of x for x > 0, else α(eˣ − 1)."""
    return Operation("elu", "ELU", ONE,
        "x if x > 0 else alpha * (exp(x) - 1)",
                                            lambda xp, x: xp.where(x > 0, x, alpha * xp.expm1(x)),
        ("1 if x > 0 else alpha * exp(x)",),
                                            lambda xp, y, x: (xp.where(x > 0, 1.0, alpha * xp.exp(x)),),
        {"alpha": alpha})


# ── Two operands ───────────────────────────────────────────────────────────────────────────────

TWO = ("a", "b")

ADD = Operation("add", "+", TWO,
    "a + b",                lambda xp, a, b: a + b,
    ("1", "1"),             lambda xp, y, a, b: (1.0, 1.0))
SUB = Operation("sub", "−", TWO,
    "a - b",                lambda xp, a, b: a - b,
    ("1", "-1"),            lambda xp, y, a, b: (1.0, -1.0))
MUL = Operation("mul", "×", TWO,
    "a * b",                lambda xp, a, b: a * b,
    ("b", "a"),             lambda xp, y, a, b: (b, a))
DIV = Operation("div", "÷", TWO,
    "a / b",                lambda xp, a, b: xp.divide(a, b),
    ("1 / b", "-a / b**2"), lambda xp, y, a, b: (xp.divide(1.0, b), -xp.divide(y, b)))
POW = Operation("pow", "^", TWO,
    "a**b",                 lambda xp, a, b: xp.power(a, b),
    ("b * a**(b - 1)", "a**b * log(a)"),
                            lambda xp, y, a, b: (_slope_in_base(xp, a, b),
                                                 xp.where((a == 0) & (b >= 0), 0.0, y * xp.log(a))))
MAXIMUM = Operation("maximum", "max", TWO,
    "max(a, b)",            lambda xp, a, b: xp.maximum(a, b),
    ("1 if a > b else 1 / 2 if a == b else 0", "1 if b > a else 1 / 2 if a == b else 0"),
                            lambda xp, y, a, b: (_wins(xp, a, b), _wins(xp, b, a)))
MINIMUM = Operation("minimum", "min", TWO,
    "min(a, b)",            lambda xp, a, b: xp.minimum(a, b),
    ("1 if a < b else 1 / 2 if a == b else 0", "1 if b < a else 1 / 2 if a == b else 0"),
                            lambda xp, y, a, b: (_wins(xp, b, a), _wins(xp, a, b)))

def _slope_in_base(xp: Any, a: Any, b: Any) -> Any:
    """b·a^(b−1); where b = 0 meets an infinite power, 0: a⁰ is 1 for every a."""
    slope = b * xp.power(a, b - 1.0)
    return xp.where((b == 0) & (slope != 0), 0.0, slope)

def _wins(xp: Any, a: Any, b: Any) -> Any:
    """1 where a > b, ½ where they tie, 0 where a < b; and 1 beside a nan, so that nan spreads."""
    return xp.where(a < b, 0.0, xp.where(a == b, 0.5, 1.0))


# ── Vectors ────────────────────────────────────────────────────────────────────────────────────

def _affine(xp: Any, w: Any, x: Any, b: Any) -> Any:
    total = b
    for wi, xi in zip(w, x):
        total = total + wi * xi
    return total

def _shares(xp: Any, y: Any, x: Any) -> Any:
    """∂max/∂xᵢ: 1, shared equally where several operands tie."""
    at_top = [xp.where(each == y, 1.0, 0.0) for each in x]
    ties = xp.sum(at_top)
    return tuple(xp.divide(share, ties) for share in at_top)

def _logsumexp(xp: Any, x: Any) -> Any:
    """max xᵢ + log1p(Σ exp(xᵢ − max xᵢ) − 1): exact also where one xᵢ dwarfs the rest."""
    top = xp.max(x)
    ties = xp.sum([xp.where(each == top, 1.0, 0.0) for each in x])
    rest = xp.sum([xp.where(each == top, 0.0, xp.exp(each - top)) for each in x])
    return top + xp.log1p(ties - 1.0 + rest)

def _softmax(xp: Any, y: Any, x: Any) -> Any:
    """∂logsumexp/∂xᵢ = exp(xᵢ − y), divided by its sum, which removes the rounding of y."""
    e = [xp.exp(each - y) for each in x]
    total = xp.sum(e)
    total = xp.where(total > 0, total, 1.0)  # nan is not, and stays with its xᵢ
    return tuple(xp.divide(each, total) for each in e)

SUM = Operation("sum", "Σ", ("x{i}",),
    "sum(x)",               lambda xp, x: xp.sum(x),
    ("1",),                 lambda xp, y, x: ((1.0,) * len(x),))
DOT = Operation("dot", "w·x", ("w{i}", "x{i}"),
    "dot(w, x)",            lambda xp, w, x: _affine(xp, w, x, 0.0),
    ("x{i}", "w{i}"),       lambda xp, y, w, x: (x, w))
AFFINE = Operation("affine", "w·x + b", ("w{i}", "x{i}", "b"),
    "dot(w, x) + b",        _affine,
    ("x{i}", "w{i}", "1"),  lambda xp, y, w, x, b: (x, w, 1.0))
MAX = Operation("max", "max", ("x{i}",),
    "max(x)",               lambda xp, x: xp.max(x),
    ("1 / ties if x{i} == y else 0",),
                            lambda xp, y, x: (_shares(xp, y, x),))
LOGSUMEXP = Operation("logsumexp", "logsumexp", ("x{i}",),
    "log(sum(exp(x)))",     _logsumexp,
    ("exp(x{i} - y)",),     lambda xp, y, x: (_softmax(xp, y, x),))
# fmt: on
