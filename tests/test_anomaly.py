"""detect_anomaly() names the operation that first makes a nan or an infinity, and no other."""

import math
import random
import sys
import threading
import tracemalloc
from math import inf, isfinite, nan

import pytest

from microgradlike import (
    Value,
    affine,
    check_gradients,
    detect_anomaly,
    explain,
    finite_differences,
    gradient,
    logsumexp,
    maximum,
    maxout,
    nn,
    operation,
    ops,
    softmax,
    topological_order,
    value,
)
from microgradlike import sum as sum_of


def line_of(mark):
    with open(__file__, encoding="utf-8") as file:
        (line,) = (i for i, code in enumerate(file, 1) if code.rstrip().endswith(f"# {mark}"))
    return f"test_anomaly.py:{line}  "


def anomaly(f):
    """The message of the FloatingPointError that f() raises within the context."""
    with detect_anomaly(), pytest.raises(FloatingPointError) as failure:
        f()
    return str(failure.value)


FORWARD = {
    "log": (lambda x: x.log(), 0.0, "-inf"),
    "log of a negative": (lambda x: x.log(), -1.0, "nan"),
    "sqrt": (lambda x: x.sqrt(), -1.0, "nan"),
    "exp": (lambda x: x.exp(), 1e3, "inf"),
    "div": (lambda x: 1.0 / x, 0.0, "inf"),
    "div of zeros": (lambda x: x / x, 0.0, "nan"),
    "pow": (lambda x: x**0.5, -8.0, "nan"),
    "mul": (lambda x: x * x, 1e200, "inf"),
    "add": (lambda x: x + x, 1e308, "inf"),
    "sub": (lambda x: x - (-x), -1e308, "-inf"),
    "sum": (lambda x: sum_of([x, x, x]), 1e308, "inf"),
    "affine": (lambda x: affine([x], [x], 1.0), 1e200, "inf"),
    "mine": (operation("mine", lambda xp, x: xp.log(x), lambda xp, y, x: xp.divide(1.0, x)), 0.0, "-inf"),
}


@pytest.mark.parametrize("case", FORWARD)
def test_an_operation_that_makes_the_first_nan_or_infinity_is_named(case):
    f, number, result = FORWARD[case]
    x = Value(number, "x")
    text = anomaly(lambda: f(x)).splitlines()
    name = case.partition(" ")[0]
    assert text[0] == f"{name} makes {result} of finite inputs"
    assert text[1].startswith("  operation   v") and text[1].endswith(f" = {result}")
    assert f"  input       x = {number:.6g}" in text
    assert text[-1].startswith("  recorded in ")
    assert not isfinite(f(x).data)  # outside, IEEE 754 goes on


def test_the_message_in_full():
    w, x = Value(3.0, "w"), Value(0.0, "x")
    with detect_anomaly(), pytest.raises(FloatingPointError) as failure:
        -(w * x).log()  # FORWARD
    *text, place = str(failure.value).splitlines()
    assert text == [
        "log makes -inf of finite inputs",
        "  operation   v₂ = log(v₁) = -inf",
        "  input       v₁ = w·x = 0",
    ]
    assert place.endswith(f"{line_of('FORWARD')}-(w * x).log()  # FORWARD")
    with detect_anomaly():
        y = (w * x).sqrt()  # BACKWARD
        with pytest.raises(FloatingPointError) as failure:
            (2.0 * y).backward()
    *text, place = str(failure.value).splitlines()
    assert text == [
        "sqrt makes the gradient ∂L/∂v₁ = inf of a finite one",
        "  operation   v₂ = √v₁ = 0",
        "  input       v₁ = w·x = 0",
        "  gradient    ∂L/∂v₂ = 2",
        "  derivative  ∂₁v₂ = 1/(2·√v₁) = inf",
    ]
    assert place.endswith(f"{line_of('BACKWARD')}y = (w * x).sqrt()  # BACKWARD")


def test_the_largest_of_many_inputs_are_shown():
    xs = [Value(1.0, f"x{i}") for i in range(20)]
    xs[13].data = xs[17].data = -1e308
    text = anomaly(lambda: sum_of(xs))
    assert "  input       x13 = -1e+308\n  input       x17 = -1e+308\n  input       x0 = 1" in text
    assert "and 14 more, none of them larger" in text


def test_the_line_of_a_layer_is_that_of_the_user():
    model = nn.MLP(2, [3, 1], seed=0)
    for p in model.parameters():
        p.data = 1e200
    text = anomaly(lambda: model([1e200, 1.0]))  # LAYER
    assert "affine makes inf" in text and "w¹₁₁ = 1e+200" in text and line_of("LAYER") in text


BACKWARD = [
    (lambda x: x.sqrt(), 0.0, "sqrt", "inf"),
    (lambda x: 0.0 * x.sqrt(), 0.0, "sqrt", "nan"),  # 0 · inf
    (lambda x: x**0.5, 0.0, "pow", "inf"),
    (lambda x: 1e200 * x.log(), 1e-200, "log", "inf"),
    (lambda x: 1e300 * (1e300 * (x * 1e-300)), 1.0, "mul", "inf"),
    (lambda x: x * 1e308 + x * 1e308, 0.5, "mul", "inf"),  # each of the two is finite
]


@pytest.mark.parametrize("recorded", ["within", "outside"])
@pytest.mark.parametrize(("f", "number", "name", "result"), BACKWARD)
def test_the_edge_that_makes_the_first_gradient_that_is_not_finite_is_named(f, number, name, result, recorded):
    x, before = Value(number, "x"), Value(number, "x")
    before.grad = 5.0
    with detect_anomaly():
        y = f(x)
    if recorded == "outside":
        y = f(x)
    for go in (y.backward, lambda: gradient(y, [x]), lambda: gradient(y, (v for v in [x]))):
        text = anomaly(go)
        assert text.startswith(f"{name} makes the gradient ∂L/∂") and f" = {result} of a finite one" in text
    assert all(not v.grad for v in topological_order(y))  # nothing was changed
    assert "recorded in" not in text  # another context's, or nobody's
    y.backward()
    assert not isfinite(x.grad)


def test_what_a_leaf_has_received_before_counts():
    x = Value(3.0, "x")
    x.grad = 1e308
    y = x * 1e308
    assert "  added to    1.5e+308" in anomaly(lambda: (0.5 * x * 1e308).backward() or y.backward())
    x.grad = 0.0
    with detect_anomaly():
        y = 0.25 * x
        y.backward(1e308)
        gradient(y, [x])
    assert x.grad == 0.25e308


def test_infinities_of_ones_own_are_no_anomalies():
    x, mask = Value(0.3, "x"), Value(-inf, "mask")
    with detect_anomaly():
        p = softmax([x, x + mask, x + -inf])
        (p[0].log() + mask * 2.0 + maximum(nan, x)).data  # noqa: B018
        loss = logsumexp([x, x + mask]) * 3.0
        loss.backward()
        assert x.grad == 3.0
        (Value(inf) * x).backward()
        (x * x).backward(inf)


def test_nobody_asks_for_the_derivative_by_a_constant():
    x, unused = Value(-1.5, "x"), Value(2.0, "exponent")
    with detect_anomaly():
        (x**2).backward()  # ∂/∂2 is (−1.5)² log(−1.5), nan
        gradient(x**unused, [x])
        with pytest.raises(FloatingPointError, match="∂L/∂exponent = nan"):
            (x**unused).backward()
        with pytest.raises(FloatingPointError, match="∂L/∂exponent = nan"):
            gradient(x**unused, [x, unused])


def test_a_branch_that_a_rule_computes_and_does_not_use_is_none():
    x = Value(800.0, "x")
    with detect_anomaly():
        for f in (Value.elu, Value.relu, Value.sigmoid, Value.tanh, Value.softplus, abs):
            for number in (800.0, -800.0):
                x.data = number
                (slope,) = gradient(f(x), [x])
                if slope.inputs:
                    (second,) = gradient(slope, [x])
                    assert isfinite(second.data)


def test_gradients_of_gradients_are_watched_as_well():
    x = Value(0.0, "x")
    with detect_anomaly():
        (slope,) = gradient(x**1.5, [x])  # 1.5·√x, whose slope is infinite
        with pytest.raises(FloatingPointError, match="makes the gradient"):
            slope.backward()
        with pytest.raises(TypeError, match="write \\[v\\]"):
            gradient(x * x, x)
        with pytest.raises(TypeError, match="real number"):
            (x * x).backward("1")


def test_it_goes_on_after_an_anomaly_that_was_caught_and_ends_with_the_context():
    x = Value(0.0, "x")
    with detect_anomaly():
        for _ in range(3):
            with pytest.raises(FloatingPointError):
                x.log()
        with detect_anomaly(), pytest.raises(FloatingPointError):
            x.log()
        with pytest.raises(FloatingPointError):
            x.log()
    assert x.log().data == -inf
    with pytest.raises(ZeroDivisionError), detect_anomaly():
        1 / 0  # noqa: B018
    assert x.log().data == -inf

    @detect_anomaly()
    def loss():
        return x.log()

    for _ in range(2):
        with pytest.raises(FloatingPointError):
            loss()


def test_a_check_goes_beyond_the_domain_on_purpose():
    x = Value(0.0, "x")
    with detect_anomaly():
        assert check_gradients(lambda: x.sqrt(), [x]).gradients[0].status == "undefined"
        assert math.isnan(finite_differences(lambda: x.sqrt(), [x]).gradients[0])
        with pytest.raises(FloatingPointError):  # but the loss itself is the user's
            check_gradients(lambda: x.log(), [x])
        with pytest.raises(FloatingPointError):
            x.log()


def test_other_threads_are_left_alone():
    x, found = Value(0.0, "x"), []
    with detect_anomaly():
        thread = threading.Thread(target=lambda: found.append(x.log().data))
        thread.start()
        thread.join()
        with pytest.raises(FloatingPointError):
            x.log()
    assert found == [-inf]


def test_it_costs_nothing_outside_and_keeps_no_node():
    code = value.record.__code__, Value.backward.__code__, gradient.__code__
    x = Value(1.0)
    with detect_anomaly():
        assert value.record.__code__ is not code[0]
        for _ in range(1000):
            (x * x).tanh()
        tracemalloc.start()
        for _ in range(20_000):
            (x * x).tanh()
        kept = tracemalloc.get_traced_memory()[0]
        tracemalloc.stop()
    assert kept < 10_000
    assert code == (value.record.__code__, Value.backward.__code__, gradient.__code__)
    assert sys.getprofile() is None


NUMBERS = [0.0, -0.0, 1.0, -1.0, 0.5, 3.0, 5e-324, 1e-300, 1e200, -1e200, 1e308, 700.0, -700.0]
UNARY = [
    Value.exp,
    Value.log,
    Value.sqrt,
    Value.sqrt,
    Value.sqrt,
    Value.sqrt,
    Value.sin,
    Value.tanh,
    Value.sigmoid,
    Value.relu,
    Value.__neg__,
    abs,
]
BINARY = [Value.__add__, Value.__sub__, Value.__mul__, Value.__truediv__, Value.__pow__, maximum]
N_ARY = [sum_of, logsumexp, maxout, lambda xs: affine(xs, xs[::-1], xs[0])]


def random_leaves(seed, numbers):
    rng = random.Random(f"leaves {seed}")
    return [Value(rng.choice(numbers), f"x{i}") for i in range(3)]


def random_graph(rng, leaves):
    """The nodes one after the other, from the same leaves and the same rng always the same."""
    nodes = list(leaves)
    for _ in range(rng.randrange(1, 12)):
        f = rng.choice(rng.choice([UNARY, BINARY, N_ARY]))
        xs = [rng.choice([*nodes, *nodes, rng.choice(NUMBERS)]) for _ in range(1 if f in UNARY else rng.choice([2, 3]))]
        if f in UNARY or f in BINARY:
            xs[0] = rng.choice(nodes)
        node = f(xs[0]) if f in UNARY else f(*xs[:2]) if f in BINARY else f(xs)
        nodes.append(node)
        yield node


@pytest.mark.parametrize("seed", range(300))
def test_random_graphs_stop_where_a_look_at_every_number_says(seed):
    leaves = random_leaves(seed, [*NUMBERS, inf, nan] if seed % 4 == 0 else NUMBERS)
    nodes = list(random_graph(random.Random(seed), leaves))

    def finite(v):
        return all(isfinite(x.data) for x in v.inputs)

    forward = next((i for i, v in enumerate(nodes) if finite(v) and not isfinite(v.data)), None)
    watched = []
    with detect_anomaly():
        try:
            for node in random_graph(random.Random(seed), leaves):
                watched.append(node)
            assert forward is None
        except FloatingPointError as error:
            assert len(watched) == forward
            assert str(error).startswith(f"{nodes[forward].op.name} makes {nodes[forward].data} of finite inputs")

    root = nodes[-1]
    terms = [term for step in explain(root).steps for term in step.terms if not term.constant]
    edge = next(
        (
            t for t in terms
            if isfinite(t.upstream) and isfinite(t.before or 0.0) and not isfinite(t.after)
            and (isfinite(t.local_grad) or finite(t.node))
        ),
        None,
    )  # fmt: skip
    with detect_anomaly():
        try:
            root.backward()
            assert edge is None
        except FloatingPointError as error:
            assert f"{edge.node.op.name} makes the gradient" in str(error)
            assert f" = {edge.after} of a finite one" in str(error)
    if forward is None and edge is None and seed % 4:
        assert all(isfinite(v.data) for v in nodes)
        assert all(isfinite(v.grad) for v in topological_order(root) if v.op is not ops.CONSTANT)


def test_the_random_graphs_have_anomalies_of_all_kinds():
    kinds = {"forward": 0, "backward": 0, "none": 0}
    for seed in range(300):
        leaves = random_leaves(seed, NUMBERS)
        with detect_anomaly():
            try:
                *_, root = random_graph(random.Random(seed), leaves)
            except FloatingPointError:
                kinds["forward"] += 1
                continue
            try:
                root.backward()
                kinds["none"] += 1
            except FloatingPointError:
                kinds["backward"] += 1
    assert min(kinds.values()) >= 10, kinds
    assert math.fsum(kinds.values()) == 300
