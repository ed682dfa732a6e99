"""Random graphs on dyadic rationals must match exact rational arithmetic bit for bit.

The oracle is forward mode on `fractions.Fraction`: every node carries its derivative with respect
to every node before it. It shares no code and no method with `backward`. The root is a weighted
sum of all nodes, so that no node's rule can hide behind a 0. Every sum that backward could form is
a multiple of 2^−bits below a bound that the oracle computes; where both fit into 53 bits, floats
are exact whatever the order, and so must the result be.
"""

from dataclasses import dataclass, field
from fractions import Fraction

import pytest
from hypothesis import HealthCheck, Phase, find, given, settings
from hypothesis import strategies as st
from hypothesis.errors import NoSuchExample
from oracles import mistaken

from microgradlike import Value, affine, dot, gradient, jvp, maximum, maxout, minimum, ops, topological_order
from microgradlike import sum as sum_of

HALF = Fraction(1, 2)

# name: (how we record it, its exact value, its exact local derivatives), each of the operands
# (c: a fixed dyadic number)
UNARY = {
    "neg": (lambda c, x: -x, lambda c, x: -x, lambda c, x: [-1]),
    "abs": (lambda c, x: abs(x), lambda c, x: abs(x), lambda c, x: [(x > 0) - (x < 0)]),
    "relu": (lambda c, x: x.relu(), lambda c, x: max(x, 0), lambda c, x: [int(x > 0)]),
    "leaky_relu ½": (lambda c, x: x.leaky_relu(0.5), lambda c, x: max(x, x / 2), lambda c, x: [1 if x > 0 else HALF]),
    "leaky_relu ¼": (lambda c, x: x.leaky_relu(0.25), lambda c, x: max(x, x / 4), lambda c, x: [1 if x > 0 else HALF / 2]),
    "x + c": (lambda c, x: x + float(c), lambda c, x: x + c, lambda c, x: [1]),
    "c + x": (lambda c, x: float(c) + x, lambda c, x: c + x, lambda c, x: [1]),
    "x − c": (lambda c, x: x - float(c), lambda c, x: x - c, lambda c, x: [1]),
    "c − x": (lambda c, x: float(c) - x, lambda c, x: c - x, lambda c, x: [-1]),
    "c · x": (lambda c, x: float(c) * x, lambda c, x: c * x, lambda c, x: [c]),
    "x · c": (lambda c, x: x * float(c), lambda c, x: x * c, lambda c, x: [c]),
    "x ÷ 4": (lambda c, x: x / 4, lambda c, x: x / 4, lambda c, x: [HALF / 2]),
    "x²": (lambda c, x: x**2, lambda c, x: x * x, lambda c, x: [2 * x]),
    "x³": (lambda c, x: x**3, lambda c, x: x**3, lambda c, x: [3 * x * x]),
    "x⁰": (lambda c, x: x**0, lambda c, x: Fraction(1), lambda c, x: [0]),
    "max(x, c)": (lambda c, x: maximum(x, float(c)), lambda c, x: max(x, c), lambda c, x: wins([x, c], max)[:1]),
}  # fmt: skip


def wins(xs, best):
    """1 for the best, shared equally where several tie."""
    ties = xs.count(best(xs))
    return [Fraction(x == best(xs), ties) for x in xs]


def inner(wx, bias=0):
    n = len(wx) // 2
    return sum((w * x for w, x in zip(wx[:n], wx[n:], strict=False)), bias)


def swap(wx):
    n = len(wx) // 2
    return [*wx[n : 2 * n], *wx[:n]]


BINARY = {
    "a + b": (lambda c, a, b: a + b, lambda c, a, b: a + b, lambda c, a, b: [1, 1]),
    "a − b": (lambda c, a, b: a - b, lambda c, a, b: a - b, lambda c, a, b: [1, -1]),
    "a · b": (lambda c, a, b: a * b, lambda c, a, b: a * b, lambda c, a, b: [b, a]),
    "a ÷ b": (lambda c, a, b: a / b, lambda c, a, b: a / b, lambda c, a, b: [1 / b, -a / b**2]),
    "max(a, b)": (lambda c, a, b: maximum(a, b), lambda c, a, b: max(a, b), lambda c, a, b: wins([a, b], max)),
    "min(a, b)": (lambda c, a, b: minimum(a, b), lambda c, a, b: min(a, b), lambda c, a, b: wins([a, b], min)),
}
N_ARY = {
    "sum": (lambda c, *x: sum_of(x), lambda c, *x: sum(x), lambda c, *x: [1] * len(x)),
    "maxout": (lambda c, *x: maxout(x), lambda c, *x: max(x), lambda c, *x: wins(list(x), max)),
    "dot": (
        lambda c, *x: dot(x[: len(x) // 2], x[len(x) // 2 : len(x) // 2 * 2]),
        lambda c, *x: inner(x[: len(x) // 2 * 2]),
        lambda c, *x: [*swap(x), *[0] * (len(x) % 2)],
    ),
    "affine": (
        lambda c, *x: affine(x[: len(x) // 2], x[len(x) // 2 : len(x) // 2 * 2], x[-1] if len(x) % 2 else float(c)),
        lambda c, *x: inner(x, x[-1] if len(x) % 2 else c),
        lambda c, *x: [*swap(x), *[1] * (len(x) % 2)],
    ),
}
OPERATIONS = UNARY | BINARY | N_ARY


# ── Programs: leaves, then instructions (operation, operands by number, the fixed number c) ──────


@dataclass
class Program:
    leaves: list
    instructions: list
    weights: list  # of the root's sum


QUARTERS = st.integers(-8, 8).map(lambda n: Fraction(n, 4))
INTEGERS = st.integers(-2, 2).map(Fraction)


@st.composite
def programs(draw, operations=tuple(OPERATIONS), dyadic=QUARTERS, size=10):
    leaves = draw(st.lists(dyadic, min_size=1, max_size=4))
    instructions = []
    for _ in range(draw(st.integers(1, size))):
        name = draw(st.sampled_from(operations))
        arity = (1, 1) if name in UNARY else (2, 2) if name in BINARY else (2, 5)
        operands = draw(st.lists(st.integers(0, 30), min_size=arity[0], max_size=arity[1]))
        instructions.append((name, operands, draw(dyadic)))
    n = len(leaves) + len(instructions)
    weights = draw(st.lists(st.sampled_from([-3, -2, -1, 1, 2, 3]), min_size=n, max_size=n))
    return Program(leaves, instructions, weights)


# ── The oracle ─────────────────────────────────────────────────────────────────────────────────


def fraction_bits(x):
    """How many bits x has after the point; None for a number that is not dyadic."""
    denominator = Fraction(x).denominator
    return denominator.bit_length() - 1 if denominator & (denominator - 1) == 0 else None


@dataclass
class Dual:
    value: Fraction
    derivatives: dict = field(default_factory=dict)  # ∂self/∂node, for the nodes up to and with itself
    bounds: dict = field(default_factory=dict)  # the same sum over paths, of magnitudes
    bits: int = 0  # every product along a path to here is a multiple of 2^−bits


def apply_exactly(number, value, operands, local_grads):
    """The Dual of a node; None where floats could not be relied on to be exact."""
    node = Dual(value)
    scale = [fraction_bits(value), *map(fraction_bits, local_grads)]
    if None in scale or scale[0] > 12 or abs(value) > 2**12:
        return None
    for operand, local_grad, bits in zip(operands, local_grads, scale[1:], strict=True):
        node.bits = max(node.bits, operand.bits + bits)
        for k, derivative in operand.derivatives.items():
            node.derivatives[k] = node.derivatives.get(k, 0) + local_grad * derivative
            node.bounds[k] = node.bounds.get(k, 0) + abs(local_grad) * operand.bounds[k]
    node.derivatives[number] = node.bounds[number] = Fraction(1)
    return node if all(bound * 2**node.bits <= 2**40 for bound in node.bounds.values()) else None


def run(program):
    """The program's nodes, recorded and exact, and both roots. Instructions too big for floats are left out."""
    recorded = [Value(float(x)) for x in program.leaves]
    exact = [Dual(x, {i: Fraction(1)}, {i: Fraction(1)}) for i, x in enumerate(program.leaves)]
    for name, numbers, c in program.instructions:
        record, value, local_grads = OPERATIONS[name]
        numbers = [n % len(recorded) for n in numbers]
        operands = [exact[n] for n in numbers]
        data = [operand.value for operand in operands]
        if name == "a ÷ b" and data[1] == 0:
            continue
        node = apply_exactly(
            len(exact), Fraction(value(c, *data)), operands, [Fraction(g) for g in local_grads(c, *data)]
        )
        if node is not None:
            exact.append(node)
            recorded.append(record(c, *(recorded[n] for n in numbers)))
    weights = program.weights[: len(exact)]
    root = dot([float(w) for w in weights], recorded)
    total = sum(w * node.value for w, node in zip(weights, exact, strict=True))
    exact_root = Dual(total)
    for k in range(len(exact)):
        exact_root.derivatives[k] = sum(w * node.derivatives.get(k, 0) for w, node in zip(weights, exact, strict=True))
    assert all(float(d) == d for d in exact_root.derivatives.values())  # floats can hold the result
    return recorded, exact, root, exact_root


def check_program(program):
    recorded, exact, root, exact_root = run(program)
    for node, dual in zip(recorded, exact, strict=True):
        assert Fraction(node.data) == dual.value, f"value of {node.op}"
    assert Fraction(root.data) == exact_root.value
    root.backward()
    for k, node in enumerate(recorded):
        assert Fraction(node.grad) == exact_root.derivatives[k], f"gradient of node {k}, {node.op}"


EXACT = settings(max_examples=300, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])


@EXACT
@given(programs())
def test_backward_is_exact(program):
    check_program(program)


@EXACT
@given(programs(), st.lists(st.integers(-3, 3), min_size=4, max_size=4))
def test_gradient_and_jvp_are_exact(program, tangents):
    recorded, _, root, exact_root = run(program)
    for k, derivative in enumerate(gradient(root, recorded)):
        assert Fraction(derivative.data) == exact_root.derivatives[k]
    assert all(not node.has_grad for node in topological_order(root))  # neither touches .grad
    leaves = range(len(program.leaves))
    pushed = jvp(root, {recorded[k]: tangents[k] for k in leaves})
    assert Fraction(pushed) == sum(tangents[k] * exact_root.derivatives[k] for k in leaves)


def test_the_programs_reach_every_operation_and_tie():
    """What the strategy generates is not trivial: every operation is recorded, shares inputs, and meets its kink."""
    for name in OPERATIONS:
        find(programs([name], size=3), lambda p: len(run(p)[1]) > len(p.leaves), settings=FAST)
    find(programs(), lambda p: len(run(p)[1]) == len(p.leaves) + 10, settings=FAST)
    for op in (ops.MAXIMUM, ops.MINIMUM, ops.MAX):
        find(programs(), lambda p, op=op: any(n.op is op and 0.5 in n.local_grads for n in run(p)[0]), settings=FAST)


# ── Second derivatives of polynomials, against polynomials multiplied out ──────────────────────

POLYNOMIAL = ("neg", "x + c", "c − x", "c · x", "x²", "x³", "x⁰", "a + b", "a − b", "a · b", "sum", "dot", "affine")


@dataclass
class Polynomial:
    """{exponents of the leaves: coefficient}: enough arithmetic to run the exact value rules on it."""

    terms: dict

    def __add__(self, other):
        terms = dict(self.terms)
        for exponents, coefficient in lift(other, self).terms.items():
            terms[exponents] = terms.get(exponents, 0) + coefficient
        return Polynomial(terms)

    def __mul__(self, other):
        terms = {}
        for p, a in self.terms.items():
            for q, b in lift(other, self).terms.items():
                exponents = tuple(map(sum, zip(p, q, strict=True)))
                terms[exponents] = terms.get(exponents, 0) + a * b
        return Polynomial(terms)

    def __pow__(self, n):
        return self * self ** (n - 1) if n else lift(1, self)

    def __neg__(self):
        return self * -1

    def __sub__(self, other):
        return self + -lift(other, self)

    def __rsub__(self, other):
        return lift(other, self) - self

    __radd__, __rmul__ = __add__, __mul__

    def derivative(self, i):
        return Polynomial(
            {(*e[:i], e[i] - 1, *e[i + 1 :]): coefficient * e[i] for e, coefficient in self.terms.items() if e[i]}
        )

    def at(self, point):
        total = Fraction(0)
        for exponents, coefficient in self.terms.items():
            for x, e in zip(point, exponents, strict=True):
                coefficient *= Fraction(x) ** e
            total += coefficient
        return total


def lift(x, like):
    if isinstance(x, Polynomial):
        return x
    n = len(next(iter(like.terms)))
    return Polynomial({(0,) * n: Fraction(x)})


def multiply_out(program):
    """The nodes, recorded and as polynomials as long as they stay small: all numbers are integers below 2⁵³."""
    n = len(program.leaves)
    recorded = [Value(float(x)) for x in program.leaves]
    polynomials = [Polynomial({tuple(int(i == k) for i in range(n)): Fraction(1)}) for k in range(n)]
    for name, numbers, c in program.instructions:
        record, value, _ = OPERATIONS[name]
        numbers = [number % len(recorded) for number in numbers]
        result = value(c, *(polynomials[number] for number in numbers))
        result = lift(result, polynomials[0])
        if all(sum(e) <= 8 and abs(coefficient) <= 100 for e, coefficient in result.terms.items()):
            recorded.append(record(c, *(recorded[number] for number in numbers)))
            polynomials.append(result)
    return recorded, polynomials


@EXACT
@given(programs(POLYNOMIAL, INTEGERS, size=7))
def test_second_derivatives_are_exact(program):
    recorded, polynomials = multiply_out(program)
    output, polynomial = recorded[-1], polynomials[-1]
    leaves = recorded[: len(program.leaves)]
    for i, first in enumerate(gradient(output, leaves)):
        assert Fraction(first.data) == polynomial.derivative(i).at(program.leaves)
        for j, second in enumerate(gradient(first, leaves)):
            assert Fraction(second.data) == polynomial.derivative(i).derivative(j).at(program.leaves)


# ── The checks above can fail ──────────────────────────────────────────────────────────────────

FAST = settings(max_examples=2000, deadline=None, derandomize=True, database=None, phases=[Phase.generate])


def fails(check, program):
    try:
        check(program)
    except AssertionError:
        return True
    return False


MISTAKES = {
    "sign": lambda grads: tuple(-g for g in grads),
    "missing factor": lambda grads: tuple(0.5 * g for g in grads),
    "0.1 %": lambda grads: tuple(1.001 * g for g in grads),
    "last operand only": lambda grads: (*grads[:-1], 1.001 * grads[-1]),
    "first operand only": lambda grads: (1.001 * grads[0], *grads[1:]),
}
ROWS = [
    ops.NEG, ops.ABS, ops.RELU, ops.leaky_relu(0.5), ops.leaky_relu(0.25), ops.ADD, ops.SUB, ops.MUL, ops.DIV,
    ops.POW, ops.MAXIMUM, ops.MINIMUM, ops.SUM, ops.DOT, ops.AFFINE, ops.MAX,
]  # fmt: skip


@pytest.mark.parametrize(
    ("op", "mistake"),
    [
        pytest.param(op, mistake, id=f"{op.name}-{mistake}")
        for op in ROWS
        for mistake in MISTAKES
        if (op, mistake) != (ops.POW, "last operand only")  # the exponents are constants here: see test_ops
    ],
)
def test_a_wrong_rule_is_found(op, mistake):
    with mistaken(op, MISTAKES[mistake]):
        find(programs(), lambda p: fails(check_program, p), settings=FAST)


@pytest.mark.parametrize("op", [ops.SUB, ops.MUL, ops.DIV, ops.MAXIMUM, ops.MINIMUM, ops.DOT, ops.MAX], ids=repr)
def test_swapped_operands_are_found(op):
    with mistaken(op, lambda grads: grads[::-1]):
        find(programs(), lambda p: fails(check_program, p), settings=FAST)


@pytest.mark.parametrize("op", [ops.RELU, ops.ABS], ids=repr)
def test_a_wrong_choice_at_the_kink_is_found(op):
    with mistaken(op, lambda grads: tuple(g or 1.0 for g in grads)):
        find(programs(), lambda p: fails(check_program, p), settings=FAST)


def test_nothing_is_found_where_nothing_is_wrong():
    with pytest.raises(NoSuchExample):
        find(programs(), lambda p: fails(check_program, p), settings=settings(FAST, max_examples=100))
