"""The table of primitive operations: one row each, one rule for every kind of number.

A row states what an operation computes and its local derivatives, and nothing else. The chain
rule that joins them stands in one other place, `Value.backward`.

A rule takes the numeric namespace as its first argument (`xp`, the custom of the array API), so
the same rule runs on Python floats (`ieee`, below), on NumPy or JAX arrays (`namespace(numpy)`)
and, for local derivatives, on `Value`s themselves, which gives derivatives of derivatives.
Beside each rule stands its formula as text. A test evaluates the text against the rule with
50 digits, so that an explanation cannot lie.

Where a function has a kink, the local derivative is PyTorch's: 0 for relu and abs at 0, the slope
for leaky_relu, equal shares for the operands that tie in a maximum. Where PyTorch loses digits, we
keep them: σ′ at large x, softplus above 20, the derivatives of logsumexp. elu′(nan) is nan, and
there is no norm: sqrt(x·x + y·y) has the derivative nan at 0. tests/test_edges.py lists every case.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import cache, partial
from typing import Any

from microgradlike.ieee import Namespace, ieee


@dataclass(frozen=True, eq=False, slots=True, repr=False)
class Operation:
    """A row of the table: y = value(xp, *operands), with the local derivatives ∂y/∂operand.

    An operand is a number or, where it is called "x{i}", the vector of x1, x2, … of any length; its
    derivative then is a vector as well. The *inputs* are the numbers of all operands, one by one.

    `text` and `formulas` are Python expressions in the operands' names, the result `y` and the
    parameters; for an operation of your own, `formulas` is a function of the inputs' names.
    """

    name: str
    symbol: str
    operands: tuple[str, ...]
    text: str
    value: Callable[..., Any]
    formulas: tuple[str, ...] | Callable[[tuple[str, ...]], tuple[str, ...]]
    local_grads: Callable[..., tuple[Any, ...]]
    parameters: dict[str, float] = field(default_factory=dict)
    vectors: tuple[bool, ...] = field(init=False)  # which of the operands are vectors

    def __post_init__(self) -> None:
        object.__setattr__(self, "vectors", tuple("{i}" in name for name in self.operands))

    @property
    def n_ary(self) -> bool:
        """Whether there may be any number of inputs."""
        return True in self.vectors

    def grouped(self, inputs: Sequence[Any]) -> tuple[Any, ...]:
        """The operands that all these inputs make: ((w1, w2), (x1, x2), b) from (w1, w2, x1, x2, b)."""
        if not self.n_ary:
            return tuple(inputs)
        length = (len(inputs) - len(self.vectors)) // self.vectors.count(True) + 1
        operands, start = [], 0
        for vector in self.vectors:
            operands.append(inputs[start : start + length] if vector else inputs[start])
            start += length if vector else 1
        return tuple(operands)

    def operand_names(self, n: int) -> tuple[str, ...]:
        """What `text` and `formulas` call the n inputs."""
        return self._for_each_input(self.operands, n)

    def local_grad_formulas(self, n: int) -> tuple[str, ...]:
        """The text of the n local derivatives, parallel to the inputs."""
        if callable(self.formulas):
            return self.formulas(self.operand_names(n))
        return self._for_each_input(self.formulas, n)

    def _for_each_input(self, texts: tuple[str, ...], n: int) -> tuple[str, ...]:
        return flat(
            [text.format(i=i) for i, _ in enumerate(operand, start=1)] if vector else text
            for text, vector, operand in zip(texts, self.vectors, self.grouped(range(n)))
        )

    def __repr__(self) -> str:
        settings = "".join(f", {name}={value:g}" for name, value in self.parameters.items())
        return f"<operation {self.name}{settings}>"


def flat(operands: Iterable[Any]) -> tuple[Any, ...]:
    """The inputs of operands, and likewise their derivatives, one by one: what `Operation.grouped` makes undone."""
    inputs: list[Any] = []
    for operand in operands:
        inputs += operand if isinstance(operand, (tuple, list)) else (operand,)
    return tuple(inputs)


def namespace(library: Any) -> Namespace:
    """The names of `ieee`, from an array library: `namespace(numpy)`, `namespace(jax.numpy)`."""
    return with_reductions(Namespace(**{name: getattr(library, name) for name in FUNCTIONS}))


def with_reductions(xp: Namespace) -> Namespace:
    """xp with what is made of its other functions: the sigmoid, and sum and max of a sequence.

    The rules of vectors take these two from `xp`, and otherwise treat one element after another. An
    array program can so pass all elements as one array, the vector's only one, and reduce along an axis.
    """
    xp.sigmoid, xp.sum, xp.max = partial(_sigmoid, xp), _sum, partial(_max, xp)
    return xp


# fmt: off
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

# Within a rule |x| is xp.abs(x), which on Values records MAGNITUDE, for the result is smooth at 0. abs(x) would record
# ABS, whose derivative 0 at its kink would make σ‴(0) 0 too: it is −1/8.

def _sigmoid(xp: Any, x: Any) -> Any:
    e = xp.exp(-xp.abs(x))  # never overflows
    return xp.divide(xp.exp(xp.minimum(x, 0.0)), 1.0 + e)

def _sigmoid_slope(xp: Any, x: Any) -> Any:
    e = xp.exp(-xp.abs(x))  # σ(x)·σ(−x), and the same for x and −x
    return xp.divide(e, (1.0 + e) * (1.0 + e))

SIGMOID = Operation("sigmoid", "σ", ONE,
    "1 / (1 + exp(-x))",    _sigmoid,
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

# What a rule compares and chooses, when it is run on Values (`recording`): 1 is true, and 0 false.
LESS = Operation("less", "<", TWO,
    "1 if a < b else 0",    lambda xp, a, b: xp.where(a < b, 1.0, 0.0),
    ("0", "0"),             lambda xp, y, a, b: (0.0, 0.0))
LESS_EQUAL = Operation("less_equal", "≤", TWO,
    "1 if a <= b else 0",   lambda xp, a, b: xp.where(a <= b, 1.0, 0.0),
    ("0", "0"),             lambda xp, y, a, b: (0.0, 0.0))
EQUAL = Operation("equal", "=", TWO,
    "1 if a == b else 0",   lambda xp, a, b: xp.where(a == b, 1.0, 0.0),
    ("0", "0"),             lambda xp, y, a, b: (0.0, 0.0))
WHERE = Operation("where", "where", ("c", "a", "b"),
    "a if c != 0 else b",   lambda xp, c, a, b: xp.where(c != 0, a, b),
    ("0", "1 if c != 0 else 0", "0 if c != 0 else 1"),
                            lambda xp, y, c, a, b: (0.0, xp.where(c != 0, 1.0, 0.0), xp.where(c != 0, 0.0, 1.0)))
CHOSEN = Operation("chosen", "where", ONE,
    "x",                    lambda xp, x: x,
    ("1",),                 lambda xp, y, x: (1.0,))
MAGNITUDE = Operation("magnitude", "abs", ONE,
    "abs(x)",               lambda xp, x: abs(x),
    ("1 if x >= 0 else -1",),
                            lambda xp, y, x: (xp.where(x >= 0, 1.0, -1.0),))

def _slope_in_base(xp: Any, a: Any, b: Any) -> Any:
    """b·a^(b−1); where b = 0 meets an infinite power, 0: a⁰ is 1 for every a."""
    slope = b * xp.power(a, b - 1.0)
    return xp.where((b == 0) & (slope != 0), 0.0, slope)

def _wins(xp: Any, a: Any, b: Any) -> Any:
    """1 where a > b, ½ where they tie, 0 where a < b; and 1 beside a nan, so that nan spreads."""
    return xp.where(a < b, 0.0, xp.where(a == b, 0.5, 1.0))


# ── Vectors: y = x₁ + … + xₙ,  w·x,  w·x + b,  max xᵢ,  log Σ exp xᵢ ────────────────────────────

def _affine(xp: Any, w: Any, x: Any, b: Any) -> Any:
    total = b
    for wi, xi in zip(w, x):
        total = total + wi * xi
    return total

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
    "log(sum(exp(x)))",     lambda xp, x: _logsumexp(xp, x),
    ("exp(x{i} - y)",),     lambda xp, y, x: (_softmax(xp, y, x),))
# fmt: on


def _sum(terms: Any) -> Any:
    total = 0.0
    for term in terms:  # left to right: the built-in sum rounds otherwise from Python 3.12 on
        total = total + term
    return total


def _max(xp: Any, x: tuple[Any, ...]) -> Any:
    top = x[0]
    for other in x[1:]:
        top = xp.maximum(top, other)
    return top


def _shares(xp: Any, y: Any, x: tuple[Any, ...]) -> tuple[Any, ...]:
    """∂max/∂xᵢ: 1, shared equally where several operands tie."""
    at_top = [xp.where(each == y, 1.0, 0.0) for each in x]
    ties = xp.sum(at_top)
    return tuple(xp.divide(share, ties) for share in at_top)


def _logsumexp(xp: Any, x: tuple[Any, ...]) -> Any:
    """max xᵢ + log1p(Σ exp(xᵢ − max xᵢ) − 1): exact also where one xᵢ dwarfs the rest."""
    top = xp.max(x)
    ties = xp.sum([xp.where(each == top, 1.0, 0.0) for each in x])
    rest = xp.sum([xp.where(each == top, 0.0, xp.exp(each - top)) for each in x])
    return top + xp.log1p(ties - 1.0 + rest)


def _softmax(xp: Any, y: Any, x: tuple[Any, ...]) -> tuple[Any, ...]:
    """∂logsumexp/∂xᵢ = exp(xᵢ − y), normalised: dividing by the sum removes the rounding of y.

    An infinite xᵢ gives nan for itself, and 0 for what is finite, as in PyTorch.
    """
    e = [xp.exp(each - y) for each in x]
    total = xp.sum(e)
    total = xp.where(total > 0, total, 1.0)  # nan is not: it stays with its xᵢ
    return tuple(xp.divide(each, total) for each in e)


FUNCTIONS = tuple(vars(ieee))
with_reductions(ieee)
