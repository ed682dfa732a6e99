"""Losses that contain derivatives, found once and run on whole batches: right on every side of every kink.

The oracle is the scalar engine, which records anew for each sample, and so takes its own branches; its
derivatives are checked against exact ones in test_graph.py. What both share is the rows of `ops`.
"""

import math
from itertools import product
from math import isnan

import pytest
from optional import optional
from oracles import TABLE

from microgradlike import Value, draw, explain, gradient, nn, operation, recording, vectorize
from microgradlike import sum as sum_of
from microgradlike.recording import Choice, full_order
from microgradlike.value import apply

np = optional("numpy")

FAR = [(x,) for x in (-1e300, -800.0, -40.0, -1.0, -1e-9, -0.0, 0.0, 1e-9, 0.3, 1.0, 40.0, 800.0, 1e300)]
NOT_BY_THEMSELVES = {"less", "less_equal", "equal", "where", "chosen"}  # what rules record, and nobody else
ROWS = [row for row in TABLE if row.op.name not in NOT_BY_THEMSELVES]


def points_of(row):
    """Samples on all sides of the kinks, at them and far out: as many operands as the row's first point has."""
    n = len(row.points[0])
    points = [*row.points, *(point for point, _ in row.kinks), *(FAR if n == 1 else [])]
    if n == 2:
        points += [(a, b) for a in (-2.0, -0.0, 0.0, 2.0) for b in (-1.0, 0.0, 0.5, 2.0)]
    return [point for point in points if len(point) == n and all(map(math.isfinite, point))]


def same(a, b):
    """Equal to 11 digits (or, where terms of the size 1 may cancel, to 14 of theirs), both nan, or equal infinities."""
    return (isnan(a) and isnan(b)) or a == b or abs(a - b) <= 1e-11 * max(abs(a), abs(b)) + 1e-14


def check_batch(record, leaves, parameters, points, recorded_at):
    """The program of record(), found at one of the points, against the scalar engine at all of them."""

    def set_to(point):
        for leaf, x in zip(leaves, point, strict=True):
            leaf.data = x

    for as_function, walkable in product((False, True), (0, math.inf)):
        set_to(recorded_at)
        program = vectorize(record if as_function else record(), batch=[leaves])
        program._walkable = walkable  # so many samples go node by node, more of them by lines of NumPy
        losses = program(np.array(points))
        for point, loss in zip(points, losses, strict=True):
            set_to(point)
            for p in parameters:
                p.grad = 0.0
            expected = record()
            expected.backward()
            assert same(loss, expected.data), f"{point}, recorded at {recorded_at}: {loss} for {expected.data}"
            program.backward(np.array([point]))
            for array in program.parameters:
                for v, got in zip(array.nodes, array.grad.reshape(-1), strict=True):
                    assert same(got, v.grad), f"∂/∂{v.label} at {point}, recorded at {recorded_at}: {got} for {v.grad}"


@pytest.mark.parametrize("order", [1, 2])
@pytest.mark.parametrize("row", [pytest.param(row, id=str(row)) for row in ROWS])
def test_derivatives_of_every_operation_hold_for_other_samples(row, order):
    points = points_of(row)
    x = [Value(0.0, f"x{i}") for i in range(len(points[0]))]
    w = Value(1.0, "w")

    def record():
        output = apply(row.op, *x)
        for _ in range(order):
            output = sum_of(d * (i + 1.0) for i, d in enumerate(gradient(output, x)))
        return w * output

    for recorded_at in points[:: max(1, len(points) // 4)]:
        check_batch(record, x, [w], points, recorded_at)


def hard_swish(xp, x):
    return xp.where((x > -3) & (x < 3), x * (x + 3) / 6, xp.where((x <= -3) | (x != x), 0.0 * x, x))


CUSTOM = {
    "and, or, not equal": operation(
        "hard_swish",
        hard_swish,
        lambda xp, y, x: xp.where((x > -3) & (x < 3), x / 3 + 0.5, xp.where((x <= -3) | (x != x), 0.0, 1.0)),
    ),
    "a branch that overflows": operation(
        "capped",
        lambda xp, x: xp.where(x < 5, xp.exp(x), 1 + x),
        lambda xp, y, x: xp.where(x < 5, xp.exp(x * x) / xp.exp(x * x - x), 1.0),
    ),
    "a branch that divides by 0": operation(
        "sinc",
        lambda xp, x: xp.where(x == 0, 1.0, xp.divide(xp.sin(x), x)),
        lambda xp, y, x: xp.where(x == 0, 0.0, xp.divide(xp.cos(x), x) - xp.divide(xp.sin(x), x * x)),
    ),
    "a number as the condition": operation(
        "nonzero", lambda xp, x: xp.where(x, x * x, 1.0), lambda xp, y, x: xp.where(x, 2.0 * x, 0.0) * x
    ),
    "nested": operation(
        "nested",
        lambda xp, x: xp.where(x > 0, xp.where(x > 1, xp.log(x), x - 1), xp.abs(x) * x),
        lambda xp, y, x: xp.where(x > 0, xp.where(x > 1, xp.divide(1.0, xp.sqrt(x * x)), x * x), -2.0 * x * x),
    ),
    "the other way round, numbers on the left": operation(
        "reversed", lambda xp, x: xp.where(x > 0, 2 / (1 + x), 2 - x), lambda xp, y, x: xp.where(x <= 0, -xp.exp(-x), 3 - x**3)
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CUSTOM)
def test_choices_in_rules_of_ones_own_hold_for_other_samples(name):
    x, w = Value(0.0, "x"), Value(1.5, "w")

    def record():
        (d,) = gradient(CUSTOM[name](w * x), [x])
        return d * d + d

    points = [(p,) for p in (-800.0, -4.0, -3.0, -2.0, -0.5, 0.0, 0.25, 2 / 3, 1.0, 2.0, 5.0, 30.0)]
    for recorded_at in points[::3]:
        check_batch(record, [x], [w], points, recorded_at)


IF_TRUE, IF_FALSE = [-3, 0, 1], [1, 2, 0, 1]  # x² − 3 and x³ + 2x + 1
CONDITIONS = {
    "a comparison": lambda x: x > 0,
    "a number": lambda x: x,
    "and": lambda x: (x > -2) & (x < 2),
    "or": lambda x: (x < -2) | (x >= 2),
    "not equal": lambda x: x != 1,
}


def composed(p, q):
    """The coefficients of p(q(x)), multiplied out."""
    result = [0]
    for c in reversed(p):
        product = [0] * (len(result) + len(q) - 1)
        for i, a in enumerate(result):
            for j, b in enumerate(q):
                product[i + j] += a * b
        result = [product[0] + c, *product[1:]]
    return result


def polynomial(p, x):
    return sum(c * x**i for i, c in enumerate(p))


@pytest.mark.parametrize("condition", CONDITIONS.values(), ids=CONDITIONS)
def test_choices_within_choices_have_the_derivatives_of_the_polynomials_that_are_chosen(condition):
    f = operation(
        "f",
        lambda xp, x: xp.where(condition(x), x * x - 3, x * x * x + 2 * x + 1),
        lambda xp, y, x: xp.where(condition(x), 2 * x, 3 * x * x + 2),
    )
    points, found, expected = range(-3, 4), [], []
    for point in points:
        y = x = Value(point)
        chosen = [0, 1]
        for _ in range(2):
            p = IF_TRUE if condition(polynomial(chosen, point)) else IF_FALSE
            y, chosen = f(y), composed(p, chosen)
        for order in range(4):
            assert y.data == polynomial(chosen, point), f"the derivative of order {order} at {point}"
            third, (y,) = y, gradient(y, [x])
            last, chosen = chosen, [i * c for i, c in enumerate(chosen)][1:]
        expected.append(polynomial(last, point))
        found.append(vectorize(third, batch=[[x]])([[float(each)] for each in points]).tolist())
    assert found == [expected] * len(points)


ACTIVATIONS = [name for name, activation in nn.ACTIVATIONS.items() if not activation.whole_layer]


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_gradient_penalties_of_networks(activation):
    """‖∂f/∂x‖² beside the loss, as in gradient penalties; of the output's sum, so that all layers take part."""
    model = nn.MLP(2, [4, 3, 1], activation=activation, output="linear", seed=3)
    x = [Value(0.4, "x1"), Value(-0.2, "x2")]

    def record():
        f = model(x)
        return (f - 1.0) ** 2 + 0.3 * sum_of(d * d for d in gradient(f, x))

    rng = np.random.default_rng(0)
    points = [tuple(p) for p in rng.normal(0, 2, (12, 2))] + [(0.0, 0.0), (60.0, -60.0)]
    for recorded_at in points[::5]:
        check_batch(record, x, model.parameters(), points, recorded_at)


def test_a_physics_informed_network_trains_as_a_program():
    """u″ = −u by the residual on a batch of points: the same steps as the scalar engine takes."""
    model = nn.MLP(1, [6, 1], activation="tanh", output="linear", seed=1)
    x = Value(0.3, "x")

    def record():
        u = model([x])
        (first,) = gradient(u, [x])
        (second,) = gradient(first, [x])
        return (second + u) ** 2

    program = vectorize(record, batch=[[x]])
    points = np.linspace(-2, 2, 9)
    for _ in range(3):
        program.descend(points[:, None], lr=0.01)
    for _ in range(3):
        for p in model.parameters():
            p.grad = 0.0
        for point in points:
            x.data = float(point)
            (record() / 9).backward()
        for p in model.parameters():
            p.data -= 0.01 * p.grad
    for array in program.parameters:
        assert array.data.reshape(-1) == pytest.approx([v.data for v in array.nodes], rel=1e-11)


def test_what_a_branch_not_taken_computes_does_not_reach_the_gradient():
    x = Value(1000.0)
    (slope,) = gradient(x.elu(), [x])  # eˣ, which is inf, stands in the other branch
    assert [type(node) for node in full_order(slope)].count(Choice) == 1
    (second,) = gradient(slope, [x])
    slope.backward()
    assert (slope.data, second.data, x.grad) == (1.0, 0.0, 0.0)


@pytest.mark.parametrize("condition", CONDITIONS.values(), ids=CONDITIONS)
def test_a_python_if_in_a_rule_answers_only_for_the_branch_it_took(condition):
    rule = operation("rule", lambda xp, x: x * x, lambda xp, y, x: 2.0 * x if condition(x) else 3.0 * x)
    points = [-3.0, -1.0, -0.0, 0.5, 1.0, 2.0, 3.0]
    for point in points:
        x = Value(point)
        (slope,) = gradient(rule(x), [x])
        factor = 2.0 if condition(point) else 3.0
        assert (slope.data, gradient(slope, [x])[0].data) == (factor * point, factor)
        answers = vectorize(slope, batch=[[x]])([[each] for each in points])
        expected = [factor * each if bool(condition(each)) is bool(condition(point)) else math.nan for each in points]
        np.testing.assert_array_equal(answers, expected)


def test_a_changed_comparison_is_noticed():
    x = Value(2.0, "x")
    (slope,) = gradient((x * 3).relu(), [x])
    x.data = -2.0
    with pytest.raises(ValueError, match="data was changed after"):
        gradient(slope, [x])


def test_choices_between_constants_are_made_for_good():
    x = Value(2.0)
    (slope,) = gradient(x**2, [x])  # the rule compares the exponent with 0
    assert not any(isinstance(node, Choice) for node in full_order(slope))
    assert recording.CHOSEN not in [node.op for node in full_order(gradient(slope, [x])[0])]


def test_choices_are_explained_and_bring_no_cycles():
    x = Value(0.5, "x")
    (slope,) = gradient(x.elu(2.0), [x])
    assert "where(" in str(explain(slope)) and "where" in draw(slope).source
