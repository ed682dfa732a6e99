"""The checkers are checked: they accept what is right, everywhere, and reject what is wrong by 0.1 %."""

import math
import random
import sys
from dataclasses import replace

import pytest

from microgradlike import Value, affine, dot, logsumexp, maxout, operation, ops
from microgradlike.check import by_how_much, check_gradients, finite_differences
from microgradlike.differences import judge, local_slope, slope
from microgradlike.thousand_digits import thousand_digits
from microgradlike.value import apply

ROWS = [row for row in vars(ops).values() if isinstance(row, ops.Operation) and row is not ops.CONSTANT]
UNARY = [row for row in ROWS if row.operands == ops.ONE] + [ops.leaky_relu(0.1), ops.elu(1.0), ops.elu(0.5)]
BINARY = [row for row in ROWS if row.operands == ops.TWO]
CHOICE = [ops.WHERE]
N_ARY = [row for row in ROWS if row.n_ary]

POINTS = [1e-300, 1e-8, 0.3, 1.0, 2.0, 20.0, 40.0, 700.0, 1e3, 1e16, 1e300]
POINTS = [0.0, 5e-324, *POINTS, *(-x for x in POINTS)]
PAIRS = [(2.0, 3.0), (2.0, 2.0), (0.0, 2.0), (1e300, 1e-5), (1e-300, 3.0), (1e8, -1e-8), (0.5, 1070.0), (1e16, 1.0)]
TUPLES = [
    (0.3, -1.2, 2.0, 0.7), (1e10, 1e-3, -2e-5, 3.0), (0.0, 0.0, 1.0, -2.0), (700.0, -700.0, 1.0, 2.0),
    (1e30, 1.0, 1e-300, -1e30), (1.0, 1.0, 1.0, 0.5), (-50.0, 3.0, 3.0, -1e5),
]  # fmt: skip
CASES = [
    *((op, (x,)) for op in UNARY for x in POINTS),
    *((op, xy) for op in BINARY for xy in PAIRS),
    *((op, (c, a, b)) for op in CHOICE for c in (1.0, -2.0) for a, b in PAIRS),
    *((op, (*xs, 1.5) if op is ops.AFFINE else xs) for op in N_ARY for xs in TUPLES),
]


def test_every_row_of_the_table_is_taken():
    assert len(ROWS) + 3 == len(UNARY + BINARY + CHOICE + N_ARY) >= 32


@pytest.mark.parametrize("op", UNARY + BINARY + CHOICE + N_ARY, ids=repr)
def test_right_derivatives_pass_and_those_wrong_by_a_thousandth_fail(op):
    rejected = 0
    for data in (data for row, data in CASES if row is op):
        recorded = apply(op, *data).local_grads
        for i, number in enumerate(recorded):
            found = local_slope(op, list(data), i, number, 1e-5)
            verdict = judge(number, found, 1e-5)
            assert verdict != "wrong", (data, i, number, found)
            if verdict == "agrees" and math.isfinite(number):
                wrong = number * 1.001 if abs(number) > 1e-300 else 1e-3
                assert judge(wrong, local_slope(op, list(data), i, wrong, 1e-5), 1e-5) == "wrong" or wrong > 1e308
                rejected += 1
    assert rejected >= 3


@pytest.mark.parametrize(
    ("op", "data", "verdict"),
    [
        (ops.RELU, [0.0], "kink"),
        (ops.RELU, [1e-300], "agrees"),
        (ops.ABS, [0.0], "kink"),
        (ops.MAXIMUM, [2.0, 2.0], "kink"),
        (ops.MAXIMUM, [2.0, 2.0 + 2**-51], "agrees"),
        (ops.MAX, [1.0, 1.0, 0.0], "kink"),
        (ops.elu(1.0), [0.0], "agrees"),  # α = 1 has no kink
        (ops.elu(0.5), [0.0], "kink"),
        (ops.POW, [0.0, 2.0], "agrees"),
        (ops.SQRT, [0.0], "undefined"),
        (ops.LOG, [-1.0], "undefined"),
        (ops.SIN, [math.inf], "undefined"),
        (ops.DIV, [1.0, 0.0], "undefined"),
        (ops.EXP, [1e3], "agrees"),  # both are inf
        (ops.SIGMOID, [-1e3], "agrees"),  # both are 0
    ],
)
def test_kinks_edges_and_overflow_are_told_apart(op, data, verdict):
    recorded = apply(op, *data).local_grads[0]
    assert judge(recorded, local_slope(op, data, 0, recorded, 1e-5), 1e-5) == verdict


def test_at_a_kink_only_what_lies_between_the_sides_is_accepted():
    for number, verdict in [(0.0, "kink"), (0.5, "kink"), (1.0, "kink"), (1.01, "wrong"), (-0.1, "wrong")]:
        assert judge(number, local_slope(ops.RELU, [0.0], 0, number, 1e-5), 1e-5) == verdict


def test_saturated_derivatives_are_known_to_many_digits():
    """1 − y² is 0 in floats at 20; the slope of tanh there is 1.7e-17."""
    found = local_slope(ops.TANH, [20.0], 0, 0.0, 1e-5)
    assert found.estimate == pytest.approx(4 * math.exp(-40), rel=1e-14)
    assert judge(0.0, found, 1e-5) == "wrong"


def test_a_thousand_digits_refuse_to_become_floats():
    with pytest.raises(TypeError, match="floats only"):
        math.exp(thousand_digits().number(1))
    assert thousand_digits().to_float(thousand_digits().number(10) ** 400) == math.inf


def test_slope_of_smooth_functions_and_its_own_error():
    for f, x, exact in [(math.exp, 1.0, math.e), (math.sin, 2.0, math.cos(2.0)), (lambda x: x**3, 0.0, 0.0)]:
        found = slope(f, x, 2.0**-10, 2.0**-53 * abs(f(x)), 6)
        assert abs(found.estimate - exact) <= found.error < 1e-6
        assert not found.kink


# ── finite_differences ─────────────────────────────────────────────────────────────────────────


@pytest.fixture
def values():
    return [Value(1.5, "a"), Value(-2.0, "b"), Value(0.25, "c")]


def loss_of(values):
    a, b, c = values
    return (a * b + c).tanh() * a + c.exp()


@pytest.mark.parametrize(("method", "passes", "accuracy"), [("forward", 4, 1e-6), ("central", 6, 1e-9)])
def test_finite_differences_and_their_cost(values, method, passes, accuracy):
    calls = 0

    def f():
        nonlocal calls
        calls += 1
        return loss_of(values)

    found = finite_differences(f, values, method=method)
    f().backward()
    assert found.gradients == pytest.approx([v.grad for v in values], rel=accuracy)
    assert found.forward_passes == passes == calls - 1
    assert found.method == method
    assert [v.data for v in values] == [1.5, -2.0, 0.25]


def test_the_lectures_formula_with_an_epsilon_of_ones_own():
    w = Value(3.0)
    found = finite_differences(lambda: w * w, [w], eps=0.5, method="forward")
    assert found.gradients == [6.5]  # ((w + ε)² − w²) / ε = 2w + ε
    assert finite_differences(lambda: w * w, [w], eps=0.5).gradients == [6.0]
    assert found.steps == [0.5]


def test_the_step_is_the_one_that_floats_can_take():
    w = Value(1.0)
    assert finite_differences(lambda: 3.0 * w, [w], eps=1e-15, method="forward").gradients == [pytest.approx(3.0, 0.25)]
    w = Value(1e6)
    assert finite_differences(lambda: w.data, [w], eps=1e-9).gradients == [1.0]  # (x+h) − (x−h) cancels exactly


def test_data_is_restored_when_f_raises(values):
    def f():
        if values[1].data != -2.0:
            raise RuntimeError("stop")
        return loss_of(values)

    for check in (finite_differences, check_gradients):
        with pytest.raises(RuntimeError):
            check(f, values)
        assert [v.data for v in values] == [1.5, -2.0, 0.25]
        assert sys.getprofile() is None


def test_bad_arguments_say_what_to_do(values):
    loss = loss_of(values)
    for check in (finite_differences, check_gradients):
        with pytest.raises(ValueError, match="record the loss inside f"):
            check(lambda: loss, values)
        with pytest.raises(TypeError, match=r"write \[v\]"):
            check(lambda: loss_of(values), values[0])
        with pytest.raises(TypeError, match="one of these is a float"):
            check(lambda: loss_of(values), [1.0])
    with pytest.raises(ValueError, match="'central' or 'forward'"):
        finite_differences(lambda: loss, values, method="backward")
    with pytest.raises(ValueError, match="a positive number"):
        finite_differences(lambda: loss, values, eps=0.0)
    with pytest.raises(ValueError, match="choose a larger eps"):
        finite_differences(lambda: loss_of(values), values, eps=1e-30)
    with pytest.raises(TypeError, match="got a float"):
        check_gradients(lambda: 1.0, values)


# ── check_gradients ────────────────────────────────────────────────────────────────────────────


def test_a_right_graph_passes_and_nothing_is_touched(values):
    values[0].grad = 7.0
    report = check_gradients(lambda: loss_of(values), values)
    assert report.ok, str(report)
    assert [e.status for e in report.gradients] == ["agrees"] * 3
    assert len(report.local_grads) == 10
    assert values[0].grad == 7.0
    assert not values[1].has_grad
    assert "3 of 3 agree" in str(report)
    assert "10 of 10 agree" in str(report)


def wrong_by(op, position, factor=1.001):
    def local_grads(xp, y, *operands):
        right = ops.flat(op.local_grads(xp, y, *operands))
        return op.grouped([g * factor or 1e-3 if i == position else g for i, g in enumerate(right)])

    return replace(op, local_grads=local_grads)


@pytest.mark.parametrize("op", UNARY + BINARY + CHOICE + N_ARY, ids=repr)
def test_check_gradients_rejects_every_operation_that_is_wrong_by_a_thousandth(op):
    n = 1 if op in UNARY else 2 if op in BINARY else 3 if op in CHOICE else 5 if op is ops.AFFINE else 4
    xs = [Value(x, f"x{i}") for i, x in enumerate([1.7, 0.6, 2.5, -0.8, 0.9][:n])]
    assert check_gradients(lambda: apply(op, *xs), xs).ok
    for position in range(n):
        wrong = wrong_by(op, position)
        report = check_gradients(lambda wrong=wrong: apply(wrong, *xs), xs)
        assert not report.ok
        local, total = report.wrong
        assert (local.position, local.names[local.node.inputs[local.position]]) == (position, f"x{position}")
        assert local.recorded == pytest.approx(1.001 * local.expected or 1e-3, rel=1e-9)
        assert total.name == f"x{position}"


def test_a_wrong_derivative_is_named_with_the_line_that_recorded_it(values):
    cube = operation("cube", lambda xp, x: x * x * x, lambda xp, y, x: 3.003 * x * x)
    a, b, _ = values

    def loss():
        y = cube(a) * b  # HERE
        return y.tanh()

    text = str(check_gradients(loss, [a, b]))
    with open(__file__, encoding="utf-8") as file:
        line = next(i for i, code in enumerate(file, 1) if code.rstrip().endswith("# HERE"))
    for part in (
        "1 WRONG",
        "cube: the local derivative ∂v₁/∂a is wrong",
        "1 of 1: a = 1.5",
        f"test_check.py:{line}  y = cube(a) * b  # HERE",
        "3.003·a·a = 6.75675",
        "should be   6.75",
        "(+0.1 %)",
        "∂C/∂a",
    ):
        assert part in text


def test_a_rule_that_only_floats_can_follow_is_checked_with_floats():
    right = operation("bell", lambda xp, x: math.exp(-x * x), lambda xp, y, x: -2 * x * y)
    wrong = operation("bell", lambda xp, x: math.exp(-x * x), lambda xp, y, x: -2.002 * x * y)
    for x in (Value(0.7), Value(0.0), Value(-3.0), Value(30.0)):
        assert check_gradients(lambda x=x: right(x), [x]).ok
    x = Value(0.7)
    assert not check_gradients(lambda: wrong(x), [x]).ok


def test_a_wrong_number_of_any_kind_is_described():
    assert by_how_much(2.0, -2.0) == "its sign"
    assert by_how_much(math.nan, 1.0) == "not a finite number"
    assert by_how_much(1.1, 1.0) == "+0.1 (+10 %)"
    assert by_how_much(0.5, 0.0) == "+0.5"


def test_a_derivative_that_is_nan_where_there_is_one_is_wrong():
    op = operation("square", lambda xp, x: x * x, lambda xp, y, x: y / x * 2.0 if x else math.nan)
    x = Value(0.0)
    report = check_gradients(lambda: op(x), [x])
    assert [e.status for e in report.wrong] == ["wrong", "wrong"]
    assert "not a finite number" in str(report)


def test_kinks_are_marked_and_not_failed():
    x = Value(0.0, "x")
    report = check_gradients(lambda: x.relu() * 3.0 + x, [x])
    assert report.ok
    assert report.gradients[0].status == "kink"
    assert "1 at a kink" in str(report)
    report = check_gradients(lambda: x.relu() - (-x).relu(), [x])  # it is x, and yet its gradient is 0 at 0
    assert report.ok
    assert report.gradients[0].status == "kink"


def test_a_kink_excuses_only_what_its_two_sides_explain():
    w = Value(3.0, "w")
    report = check_gradients(lambda: (w - 3.0).relu() + Value(w.data) * 2.0, [w])  # 0, where 2 to 3 is right
    assert [e.status for e in report.gradients] == ["wrong"]
    report = check_gradients(lambda: (w - 3.0).relu() - (3.0 - w).relu() + Value(w.data), [w])  # 0 to 2, where 2 is
    assert report.ok  # a wrong rule that the kinks may explain
    x = Value(0.0, "x")
    for f in (
        lambda: abs(x) * 2.0 - maxout([x, -x, 3.0 * x]),
        lambda: (x.relu() * 2.0 - 1.0).tanh() * (x.exp() - (-x).relu()),
        lambda: maxout([x, x * x, 2.0 * x]) * x.leaky_relu() + x.elu(0.5),
    ):
        assert check_gradients(f, [x]).ok, str(check_gradients(f, [x]))


def test_an_f_that_is_random_is_refused():
    w, rng = Value(3.0), random.Random(0)
    with pytest.raises(ValueError, match="set the seed inside f"):
        check_gradients(lambda: Value(w.data) * w * (1.0 + 1e-3 * rng.random()), [w])
    assert w.data == 3.0
    assert check_gradients(lambda: w * w * random.Random(0).random(), [w]).ok


def test_a_kink_nearby_is_no_kink_here():
    for distance in (1e-3, -1e-3, 1e-5, -1e-6):
        x = Value(distance)
        report = check_gradients(lambda x=x: x.relu() * 3.0 + x * x, [x])
        assert [e.status for e in report.gradients] == ["agrees"], report


def test_losses_that_are_not_finite_are_reported():
    x = Value(-1.0, "x")
    report = check_gradients(lambda: x.log(), [x])
    assert not report.ok
    assert "The loss is nan" in str(report)


def test_small_scales_cancellation_and_unused_values():
    tiny, unused = Value(1e-6), Value(1.0, "unused")
    report = check_gradients(lambda: tiny.log() + tiny.sqrt() + ((tiny + 1e6) - 1e6), [tiny, unused])
    assert report.ok, str(report)
    assert report.gradients[1].backward == 0.0


def test_n_ary_operations_and_shared_inputs():
    w = [Value(0.1 * i - 0.3, f"w{i}") for i in range(8)]
    x = [Value(float(i % 3)) for i in range(8)]
    report = check_gradients(lambda: logsumexp([affine(w, x, 0.5), dot(w, w), maxout(w)]) * w[0], [*w, *x])
    assert report.ok, str(report)


def test_long_reports_are_abbreviated():
    bad = operation("bad", lambda xp, x: x, lambda xp, y, x: 2.0)
    x = Value(1.0, "x")

    def f():
        y = x
        for _ in range(9):
            y = bad(y)
        return y

    text = str(check_gradients(f, [x]))
    assert "9 WRONG" in text
    assert "… and 4 more" in text
    assert max(map(len, text.splitlines())) <= 100


def test_a_line_in_a_notebook_is_named_without_the_kernels_temporary_file():
    source = "node = wrong(Value(2.0))"
    cell = compile(source, "/somewhere/ipykernel_4711/123.py", "exec")
    wrong = operation("wrong", lambda xp, x: x * x, lambda xp, y, x: x)

    def loss():
        scope = {"wrong": wrong, "Value": Value}
        exec(cell, scope)
        return scope["node"]

    report = check_gradients(loss, [])
    assert report.local_grads[0].where == "notebook cell:1"
