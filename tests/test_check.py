"""The checkers are checked: they accept what is right, everywhere, and reject what is wrong by 0.1 %."""

import math
import random
import re
import subprocess
import sys
from dataclasses import replace

import pytest

from microgradlike import (
    Value,
    affine,
    constant,
    dot,
    logsumexp,
    maxout,
    nn,
    operation,
    ops,
    recording,
    topological_order,
)
from microgradlike.check.differences import judge, local_slope, slope
from microgradlike.check.gradients import by_how_much, check_gradients, finite_differences
from microgradlike.check.thousand_digits import thousand_digits
from microgradlike.primitive import Operation, flat
from microgradlike.testing import assert_gradients
from microgradlike.value import apply

ROWS = [row for row in (vars(ops) | vars(recording)).values() if isinstance(row, Operation) and row.operands]
UNARY = [row for row in ROWS if row.operands == ops.ONE] + [ops.leaky_relu(0.1), ops.elu(1.0), ops.elu(0.5)]
BINARY = [row for row in ROWS if row.operands == ops.TWO]
CHOICE = [recording.WHERE]
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
        math.exp(thousand_digits().to_exact(1))
    assert thousand_digits().to_float(thousand_digits().to_exact(10) ** 400) == math.inf


def test_slope_of_smooth_functions_and_its_own_error():
    for f, x, exact in [(math.exp, 1.0, math.e), (math.sin, 2.0, math.cos(2.0)), (lambda x: x**3, 0.0, 0.0)]:
        found = slope(f, x, 2.0**-10, 2.0**-53 * abs(f(x)), 6)
        assert abs(found.estimate - exact) <= found.error < 1e-6
        assert not found.kink


@pytest.mark.parametrize("power", [1.0, 1.25, 1.5, 2.0, 2.5, 3.0])
def test_the_error_of_a_slope_covers_derivatives_that_are_not_smooth_themselves(power):
    """The slope of x·|x|ᵖ at 0 is 0, and central differences answer stepᵖ; p = 1 is the worst where no slope jumps."""
    found = slope(lambda x: x * abs(x) ** power, 0.0, 2.0**-4, 0.0, 2)
    assert abs(found.estimate) <= found.error and not found.kink
    assert (found.estimate == 0.0) is (power == 2.0)  # which is extrapolated exactly
    if power == 1.0:
        assert found.error <= abs(found.estimate) * 17 / 16


@pytest.mark.parametrize("noise", [0.0, 2.0**-40, 2.0**-20])
def test_the_error_of_a_slope_counts_how_far_rounding_moves_the_function(noise):
    found = slope(lambda x: 3.0 * x + math.copysign(noise, x), 0.0, 2.0**-4, noise, 2)
    assert abs(found.estimate - 3.0) <= found.error == pytest.approx((4 * 2.0**8 + 16) * noise, rel=1e-6)


def bent(size, curvature=0.0):
    return lambda x: x + max(x, 0.0) * size + curvature * x**3


def jagged(size):
    """A kink that a parabola hides from large steps."""
    return lambda x: x * x + 0.05 * abs(x) + size * x**3


@pytest.mark.parametrize(
    ("f", "noise", "kink", "calls"),
    [
        # Smooth: until the error is 1e-7 of the slope, or the change is what rounding may be
        (lambda x: x, 0.0, False, 1 + 4),
        (lambda x: x + x**3, 0.0, False, 1 + 8),
        (lambda x: x + 6e-4 * x**3, 0.0, False, 1 + 6),
        (lambda x: x + 3.6e-4 * x**3, 0.0, False, 1 + 4),
        (lambda x: x + x**3, 2.0**-18 - 2.0**-26, False, 1 + 4),
        (lambda x: x + x**3, 0.9 * 2.0**-18, False, 1 + 6),
        # A kink is looked at to the end. The sides must differ by more than a millionth, and by more than rounding
        (abs, 0.0, True, 1 + 8),
        (bent(1.1e-6), 0.0, True, 1 + 8),
        (bent(0.9e-6), 0.0, False, 1 + 4),
        (lambda x: x + 8.0 * 2.0**-20 * (x != 0), 2.0**-20, False, 1 + 4),
        (lambda x: x + 8.5 * 2.0**-20 * (x != 0), 2.0**-20, True, 1 + 8),
        # Sides that approach each other by more than half with each step meet
        (lambda x: x + abs(x) ** 1.2, 0.0, True, 1 + 8),
        (lambda x: x + abs(x) ** 1.25, 0.0, False, 1 + 4),
        (lambda x: x + abs(x) ** 1.3, 0.0, False, 1 + 4),
        # A kink that only larger steps reach across, unless rounding hides whether they do
        (lambda x: abs(x + 2.0**-12), 0.0, False, 1 + 8),
        (lambda x: abs(x + 2.0**-12), 1.8 * 2.0**-16, False, 1 + 8),
        (lambda x: abs(x + 2.0**-12), 1.875 * 2.0**-16, True, 1 + 8),
        # One that only smaller steps see
        (jagged(2.56), 4.9e-7, True, 1 + 8),
    ],
)
def test_kinks_are_told_from_curves_and_from_rounding_in_as_many_steps_as_that_takes(f, noise, kink, calls):
    called = []
    found = slope(lambda x: called.append(x) or f(x), 0.0, 2.0**-4, noise, 4)
    assert (found.kink, len(called)) == (kink, calls)


@pytest.mark.parametrize(
    ("f", "x", "calls"),
    [
        (lambda x: x, math.inf, 1),
        (lambda x: x, -math.inf, 1),
        (lambda x: x, 5e-324, 1),
        (lambda x: math.inf, 1.0, 1 + 8),
        (lambda x: math.nan, 1.0, 1 + 8),
        (lambda x: 1 / abs(x) if x else math.inf, 0.0, 1 + 8),
        (lambda x: math.inf if 0 < x < 0.01 else x, 0.0, 1 + 8),
        (lambda x: math.sqrt(x) if x >= 0 else math.nan, 0.0, 1 + 8),
    ],
)
def test_where_no_step_can_be_taken_or_nothing_is_finite_there_is_no_slope(f, x, calls):
    called = []
    found = slope(lambda x: called.append(x) or f(x), x, 2.0**-4 * (abs(x) or 1.0), 0.0, 4)
    assert math.isnan(found.estimate) and found.error == math.inf and not found.kink
    assert len(called) == calls


def test_a_slope_is_found_below_what_larger_steps_run_into():
    for beyond in (math.inf, math.nan):
        assert slope(lambda x: beyond if x > 0.01 else 2.0 * x, 0.0, 2.0**-4, 0.0, 3).estimate == 2.0  # noqa: B023


def test_floats_suffice_for_right_rules_at_ordinary_points(monkeypatch):
    monkeypatch.setattr("microgradlike.check.differences.thousand_digits", None)
    for op, data in [
        (ops.TANH, [0.5]),
        (ops.EXP, [-1.0]),
        (ops.MUL, [3.0, 1e8]),
        (ops.LOG, [1e-30]),
        (ops.DIV, [1.0, 3.0]),
    ]:
        for i, number in enumerate(apply(op, *data).local_grads):
            assert judge(number, local_slope(op, data, i, number, 1e-5), 1e-5) == "agrees"


@pytest.mark.parametrize("step", [3e-6, 1.0])
def test_a_kink_that_floats_see_nearby_is_none_of_the_local_derivative(step):
    """Also where its sides differ by less than the tolerance."""

    def slope_of(xp, y, x):
        return 1.0 + xp.where(x > 1, step, 0.0)

    op = operation("bent", lambda xp, x: x + xp.maximum(x, 1.0) * step, slope_of)(Value(0.0)).op
    for x, number in [(1.0 - 1e-6, 1.0), (1.0 + 1e-6, 1.0 + step)]:
        found = local_slope(op, [x], 0, number, 1e-5)
        assert judge(number, found, 1e-5) == "agrees" and found.estimate == number


@pytest.mark.parametrize("x", [1e-300, 1e-30, 1e-10, 0.1, 1.0, 1e3, 1e10, 1e22, 1e300])
def test_a_thousand_digits_give_a_local_derivative_at_every_magnitude(x):
    for op, data in [(ops.SIN, [x]), (ops.LOG, [x]), (ops.SQRT, [x]), (ops.DIV, [3.0, x]), (ops.MUL, [x, 2.0])]:
        for i, number in enumerate(apply(op, *data).local_grads):
            found = local_slope(op, data, i, math.nan, 1e-5)
            assert found.estimate == pytest.approx(number, rel=1e-14) and not found.kink


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
    for check in (finite_differences, check_gradients, assert_gradients):
        for f, kind in [(loss, "Value"), (2.0, "float"), (None, "NoneType"), ([loss], "list")]:
            with pytest.raises(TypeError, match=rf"write \w+\(lambda: loss\(model\(x\), y\), values\), got {kind}"):
                check(f, values)
        with pytest.raises(TypeError, match=r"without arguments.*'x'\): write \w+\(lambda: f\(x\), values\)"):
            check(lambda x: x * x, values)
    assert finite_differences(iter([1.0] * 6).__next__, values).gradients == [0.0] * 3  # written in C
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
        right = flat(op.local_grads(xp, y, *operands))
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
        "cube: the local derivative ∂₁v₁ is wrong",
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
    report = check_gradients(lambda: wrong(x * x), [x])
    assert not report.ok and "as v₃ = bell(v₂) changes there" in str(report)


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
    assert report.gradients[0].cause == ""  # the rule is


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


# ── What the report says ───────────────────────────────────────────────────────────────────────


def line_of(mark):
    with open(__file__, encoding="utf-8") as file:
        (line,) = (i for i, code in enumerate(file, 1) if code.rstrip().endswith(f"# {mark}"))
    return f"test_check.py:{line}  "


def test_a_report_of_what_is_right_lists_nothing_wrong(values):
    report = check_gradients(lambda: loss_of(values), values)
    assert (report.ok, report.wrong, report.undefined) == (True, [], [])
    assert [e.cause for e in report.gradients] == ["", "", ""]
    assert str(report).count("\n") == 1


def test_derivatives_that_are_not_defined_are_listed_with_their_line():
    x, y = Value(0.0, "x"), Value(2.0, "y")

    def f():
        root = x.sqrt()  # SQRT
        return root * y + y

    report = check_gradients(f, [x, y])
    assert [type(e).__name__ for e in report.undefined] == ["LocalEntry", "GradientEntry"]
    text = str(report)
    for part in (
        "1 where it is not defined",
        "sqrt: the local derivative ∂₁v₁ is not defined",
        "1 of 1: x = 0",
        f"{line_of('SQRT')}root = x.sqrt()  # SQRT",
        "1/(2·√x) = inf",
        "gradients\n  ∂C/∂x   backward() inf",
        "not defined",
    ):
        assert part in text
    assert report.ok and "should be" not in text and "WRONG" not in text
    x.data = -1.0  # then neither is the loss
    many = check_gradients(lambda: sum((x.sqrt() for _ in range(8)), y), [x])
    assert "… and 3 more undefined local derivatives: see .undefined" in str(many)
    assert str(many).count("sqrt: the local derivative") == 5  # and none of the sums that hand the nan on


def test_nobody_asks_for_the_derivative_by_a_constant_exponent():
    x, n = Value(-1.5, "x"), Value(2.0, "n")
    report = check_gradients(lambda: x**2 + 1.0 / x**-3, [x])
    assert report.ok and report.undefined == [] and "not defined" not in str(report)
    assert [e.status for e in check_gradients(lambda: x**n, [x, n]).local_grads] == ["agrees", "undefined"]
    wrong = wrong_by(ops.MUL, 1)  # but a wrong rule is found, also where only constants would see it
    assert not check_gradients(lambda: apply(wrong, x, 3.0), [x]).ok


def unsummed_backward(self, seed=1.0):
    """The commonest fault in an engine of one's own: = for +=."""
    for node in topological_order(self):
        node.grad = 0.0
    self.grad = seed
    for node in reversed(topological_order(self)):
        for input, local_grad in zip(node.inputs, node.local_grads, strict=True):
            input.grad = node.grad * local_grad


CAUSES = {
    "outside": "All local derivatives are right. But f() also depends on w outside the graph, for example through .data.",
    "before": "But some of what is computed from w was recorded before f() was called: record all of it inside f.",
    "backward": "But backward() does not add up those of w as forward mode does.",
}


@pytest.mark.parametrize(
    ("f", "cause"),
    [
        (lambda w, b, old: w * w.data + b, "outside"),
        (lambda w, b, old: w * b + math.sin(w.data), "outside"),
        (lambda w, b, old: Value(w.data) * 2.0 + b, "outside"),  # not in the graph at all
        (lambda w, b, old: (w - 3.0).relu() + Value(w.data) * 2.0 + b, "outside"),  # and a kink
        (lambda w, b, old: old * w + b, "before"),
        (lambda w, b, old: (old + b).tanh(), "before"),
        (lambda w, b, old: w * w + b, "backward"),
        (lambda w, b, old: w * 2.0 + b * 2.0, ""),
    ],
)
def test_a_wrong_sum_of_right_rules_says_where_the_rest_is(f, cause, monkeypatch):
    w, b = Value(3.0, "w"), Value(0.5, "b")
    old = w * 1.5
    if cause == "backward":
        monkeypatch.setattr(Value, "backward", unsummed_backward)
    report = check_gradients(lambda: f(w, b, old), [w, b])
    assert {e.name: e.cause for e in report.gradients} == {"w": cause, "b": ""}
    assert report.ok is (cause == "")
    for each, text in CAUSES.items():
        assert (text in str(report)) is (text in report.table()._repr_html_()) is (each == cause)


def test_a_backward_of_ones_own_may_be_put_in_place_before_anything_else():
    """As in a lesson that breaks the engine: the check is loaded only after that, and detect_anomaly() outlives it."""
    code = """
from microgradlike import Value, check_gradients, detect_anomaly

def break_it(factor):
    written = Value.backward
    def backward(self, seed=1.0):
        written(self, factor * seed)
    Value.backward = backward
    return written

x = Value(0.0, "x")
written = break_it(2.0)
print(check_gradients(lambda: x * 3.0, [x]).gradients[0].cause)
with detect_anomaly():
    for _ in range(2):
        try:
            x.sqrt().backward()
        except FloatingPointError:
            print("found")
        Value.backward = written
print(x.sqrt().backward())
"""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.splitlines() == ["backward", "found", "found", "None"]


def test_a_wrong_rule_is_cause_enough():
    w = Value(3.0, "w")
    report = check_gradients(lambda: apply(wrong_by(ops.TANH, 0), w) + math.sin(w.data), [w])
    assert [e.cause for e in report.gradients] == [""] and "But f()" not in str(report)
    x = Value(0.0, "x")
    report = check_gradients(lambda: (x * w).sqrt() + w, [w])  # nan, where √ at 0 is not defined
    assert [e.cause for e in report.gradients] == [""] and not report.ok


def test_where_the_forward_pass_overflows_it_tells_no_cause():
    """Forward, a derivative of 2e308 meets one of 0; backward, the 0 comes first."""
    x = Value(0.5, "x")
    report = check_gradients(lambda: (x * 1e200 * 2e108).tanh() + constant(x.data * 2), [x])
    assert [(e.status, e.backward, e.cause) for e in report.gradients] == [("wrong", 0.0, "")]


def test_the_last_line_of_a_notebook_cell_shows_a_table_and_the_repr_is_a_line():
    model = nn.MLP(3, [4, 2], activation="tanh", seed=0)
    report = check_gradients(lambda: nn.quadratic(model([0.1, -0.3, 0.2]), [0.0, 1.0]), model.parameters())
    assert repr(report) == "<GradientReport: gradients: 26 of 26 agree; local derivatives: 60 of 60 agree>"
    html = report._repr_html_()
    assert html.count("<table") == 1 and len(re.sub("<.*?>", "", html)) < 1500
    rows = re.findall(r"<tr.*?</tr>", html)
    assert len([row for row in rows if "∂C/∂" in row]) == 16 and "and 10 more: see .gradients" in html
    bad = operation("b<d", lambda xp, x: x, lambda xp, y, x: 2.0)
    x, y = Value(1.0, "<x>"), Value(2.0, "y")
    report = check_gradients(lambda: bad(x) + y, [y, x])
    assert repr(report) == (
        "<GradientReport: gradients: 1 of 2 agree, 1 WRONG; local derivatives: 2 of 3 agree, 1 WRONG>"
    )
    html = report._repr_html_()
    assert "<x>" not in html and "b&lt;d: the local derivative ∂₁v₁ is wrong" in html
    assert html.index("∂C/∂(&lt;x&gt;)") < html.index("∂C/∂y")  # what is wrong comes first


def test_a_constant_among_the_values_is_refused():
    with pytest.raises(ValueError, match=r"is a constant, which has no gradient: make it a leaf, Value\(2\)"):
        check_gradients(lambda: Value(1.0) * 2.0, [constant(2.0)])


def test_many_wrong_gradients_are_abbreviated_and_stand_before_those_that_are_not_defined():
    w = [Value(0.0, "x"), *(Value(1.0, f"w{i}") for i in range(7))]
    lines = str(check_gradients(lambda: w[0].sqrt() + math.fsum(v.data for v in w), w)).splitlines()
    start = lines.index("wrong gradients")
    assert [line.split()[0] for line in lines[start + 1 : start + 7]] == [*(f"∂C/∂w{i}" for i in range(5)), "…"]
    assert lines[start + 6] == "  … and 3 more: see .gradients"


# ── Holes that a mutation run found ────────────────────────────────────────────────────────────


@pytest.mark.parametrize(("method", "relative"), [("forward", 2.0**-26), ("central", 2 ** (0.5 - 53 / 3))])
@pytest.mark.parametrize("number", [0.0, 0.25, -1.0, 100.0, -100.0, 1e6, 3e6])
def test_the_default_step_is_relative_to_values_above_one(method, relative, number):
    """√(2·2⁻⁵³) and the cube root of 2⁻⁵³ times √2, times max(|v|, 1)."""
    v, calls = Value(number), []

    def f():
        calls.append(v.data)
        return v * 3.0

    found = finite_differences(f, [v], method=method)
    step = relative * max(abs(number), 1.0)
    assert found.steps == [pytest.approx(step, rel=1e-12)]
    here = [number] if method == "forward" else []
    assert calls == [*here, number + found.steps[0], *([number - found.steps[0]] if method == "central" else [])]
    assert found.gradients == [pytest.approx(3.0, rel=1e-6)]
    assert v.data == number


@pytest.mark.parametrize("number", [0.0, 1e-3, 100.0, 1e6, -3e6, 1e100])
def test_large_values_are_moved_far_enough_to_find_a_gradient_that_is_wrong_by_a_thousandth(number):
    v, w = Value(number, "v"), Value(3.0, "w")
    assert check_gradients(lambda: v * w, [v]).gradients[0].error < 1e-8
    report = check_gradients(lambda: apply(wrong_by(ops.MUL, 0), v, w), [v])
    assert [e.status for e in report.gradients] == ["wrong"]


@pytest.mark.parametrize("x", [0.0, 1.0])
@pytest.mark.parametrize("wrong", [1.0 + 1e-3, 1.0 - 1e-3, -1.0, 0.0])
def test_a_wrong_rule_that_only_floats_can_follow_is_found_at_0_and_1(x, wrong):
    right = operation("grow", lambda xp, x: math.exp(x), lambda xp, y, x: y)
    rule = operation("grow", lambda xp, x: math.exp(x), lambda xp, y, x: wrong * y)
    v = Value(x)
    assert check_gradients(lambda: right(v), [v]).ok
    report = check_gradients(lambda: rule(v), [v])
    assert [type(e).__name__ for e in report.wrong] == ["LocalEntry", "GradientEntry"]
    assert report.wrong[0].expected == pytest.approx(math.exp(x), rel=1e-8)


def test_an_f_that_returns_nan_the_second_time_is_refused():
    w, calls = Value(3.0), []

    def f():
        calls.append(w.data)
        return w * (1.0 if len(calls) == 1 else math.nan)

    with pytest.raises(ValueError, match=r"f gives a different result each time, 3\.0 and then nan"):
        check_gradients(f, [w])
    with pytest.raises(ValueError, match=r"nan and then 3\.0"):
        calls.clear()
        check_gradients(lambda: w * (1.0 if f().data != 3.0 else math.nan), [w])
    x = Value(-1.0)
    assert not check_gradients(lambda: x.log(), [x]).ok  # nan each time is the same result


@pytest.mark.parametrize(
    ("slope", "verdict"),
    [
        (0.0, "kink"),
        (1.0, "kink"),
        (-0.9e-5, "kink"),
        (1.0 + 0.9e-5, "kink"),
        (-1.1e-5, "wrong"),
        (1.0 + 1.1e-5, "wrong"),
    ],
)
def test_at_a_kink_a_gradient_may_lie_just_beyond_the_interval_and_no_further(slope, verdict):
    """By the tolerance, whether it is a local derivative or a gradient."""
    assert judge(slope, local_slope(ops.RELU, [0.0], 0, slope, 1e-5), 1e-5) == verdict
    x = Value(0.0, "x")
    ramp = operation("ramp", lambda xp, x: xp.maximum(x, 0.0), lambda xp, y, x: slope)
    report = check_gradients(lambda: ramp(x), [x])
    assert [e.status for e in (*report.local_grads, *report.gradients)] == [verdict, verdict]


@pytest.mark.parametrize(
    ("rest", "verdict"),
    [(0.0, "agrees"), (2.000018, "kink"), (-2.000018, "kink"), (2.000022, "wrong"), (-2.000022, "wrong")],
)
def test_what_kinks_explain_ends_where_their_slopes_add_up_to(rest, verdict):
    """The gradient through |w| − |w| may be anything from −2 to 2; beside it stands a part that is not in the graph, with this slope."""
    w = Value(0.0, "w")
    report = check_gradients(lambda: abs(w) - abs(w) + Value(rest * w.data), [w])  # smooth, and so no kink itself
    assert [e.status for e in report.gradients] == [verdict]


@pytest.mark.parametrize("number", [0.0, -0.25, 1.0, -100.0, 3e6])
def test_a_gradient_is_checked_by_steps_relative_to_values_above_one_each_a_16th_of_the_one_before(number):
    v, moved = Value(number), []

    def f():
        moved.append(v.data - number)
        return v.exp() if abs(number) < 1 else v * v

    check_gradients(f, [v])
    steps = [2.0**-10 * max(abs(number), 1.0) / 16**i for i in range(2)]
    assert moved[:6] == pytest.approx([0.0, 0.0, steps[0], -steps[0], steps[1], -steps[1]], rel=1e-6)


def test_the_calls_of_f_are_counted():
    a, b = Value(1.5), Value(0.7)
    calls = 0

    def f():
        nonlocal calls
        calls += 1
        return a * b

    report = check_gradients(f, [a, b])
    assert report.forward_passes == calls == 1 + 2 * 5
    assert f"({calls} forward passes)" in str(report)
    calls = 0
    assert check_gradients(f, []).forward_passes == calls == 1
