"""Every row of the table against arithmetic with hundreds of digits: values, local derivatives, and the text of both.

The chain of evidence: an independent closed form (mpmath) gives the value, and its numerical
derivative the local derivatives; the rule on floats must agree with both to a few units in the
last place, and so must the formula that an explanation shows. The meta-test at the end shows
that each of these comparisons can fail.
"""

import math
from itertools import product
from math import inf, nan

import pytest
from optional import optional
from oracles import DIGITS, TABLE, broken, mistaken, sigmoid

from microgradlike import Value, ops, recording
from microgradlike.ieee import FUNCTIONS, Namespace, ieee
from microgradlike.primitive import Operation, flat
from microgradlike.value import apply

mpmath = optional("mpmath")
mp, mpf = mpmath.mp, mpmath.mpf
np = optional("numpy")

ULPS = 4  # the largest error, in units in the last place of the exact result
CASES = [pytest.param(row, id=str(row)) for row in TABLE]
NOT_RULES = {"LEAF", "CONSTANT"}  # nothing is computed


def test_every_row_is_in_this_table():
    rows = {
        value.name: name
        for name, value in (vars(ops) | vars(recording)).items()
        if isinstance(value, Operation) and name not in NOT_RULES
    }
    families = {name for name, value in vars(ops).items() if hasattr(value, "cache_info")}
    assert set(rows) | families == {row.op.name for row in TABLE}


# ── Comparing a float with an exact number ─────────────────────────────────────────────────────


def error_in_ulps(got, exact):
    """|got − exact| in units in the last place of exact; infinite where the one is a number and the other not."""
    if math.isnan(got):
        return 0 if mpmath.isnan(exact) else inf
    rounded = float(exact)
    if math.isinf(got) or math.isinf(rounded) or mpmath.isnan(exact):
        return 0 if got == rounded else inf
    return float(abs(mpf(got) - exact) / mpf(math.ulp(rounded)))


def slope(function, operands, i):
    """∂function/∂operand i, numerically, with steps that are small beside the operand."""
    unit = abs(operands[i]) or 1

    def along(t):
        return function(*operands[:i], operands[i] + t * unit, *operands[i + 1 :])

    return mp.diff(along, 0) / unit


ENVIRONMENT = {
    "abs": abs, "sin": mp.sin, "cos": mp.cos, "tanh": mp.tanh, "sqrt": mp.sqrt, "log": mp.log, "sigmoid": sigmoid,
    "exp": lambda x: [mp.exp(each) for each in x] if isinstance(x, list) else mp.exp(x),
    "sum": mpmath.fsum, "dot": mpmath.fdot, "max": max, "min": min, "__builtins__": {},
}  # fmt: skip


def value(op, xp, inputs):
    return op.evaluate(xp, inputs)


def local_grads(op, xp, y, inputs):
    return op.differentiate(xp, y, inputs)


def evaluate(text, op, operands, y=None):
    """A formula's text, with DIGITS digits."""
    operand_names = op.operand_names(len(operands))
    names = dict(zip(operand_names, operands, strict=True))
    for letter in "wx":  # the n-ary texts speak of whole vectors
        names.setdefault(letter, [x for name, x in names.items() if name.startswith(letter)])
    if y is not None:
        names |= {"y": y, "ties": operands.count(y)}
    parameters = {name: mpf(value) for name, value in op.parameters.items()}
    return mpf(eval(text, ENVIRONMENT | names | parameters))


def check_rule(row):
    for point in row.points:
        operands = tuple(map(mpf, point))
        y = value(row.op, ieee, point)
        bound = ULPS * row.magnification(*operands)
        assert error_in_ulps(y, row.oracle(*operands)) <= bound, f"{row} value at {point}"
        for i, local_grad in enumerate(local_grads(row.op, ieee, y, point)):
            exact = slope(row.oracle, operands, i)
            assert error_in_ulps(local_grad, exact) <= bound, f"{row} derivative {i} at {point}: {float(exact)}"


def check_text(row):
    for point in [*row.points, *(point for point, _ in row.kinks)]:
        operands = tuple(map(mpf, point))
        y = value(row.op, ieee, point)
        formulas = row.op.local_grad_formulas(len(point))
        assert len(formulas) == len(point)
        if any(not math.isfinite(x) or (x <= 0 and row.op is ops.POW) for x in (*point, y)):
            continue  # the exceptional values: the rule says what, the text need not
        bound = ULPS * row.magnification(*operands)
        exact = evaluate(row.op.text, row.op, operands)
        assert error_in_ulps(y, exact) <= bound, f"{row}: {row.op.text} at {point}"
        for formula, local_grad in zip(formulas, local_grads(row.op, ieee, y, point), strict=True):
            shown = evaluate(formula, row.op, operands, exact)
            assert error_in_ulps(local_grad, shown) <= bound, f"{row}: {formula} at {point}"


@pytest.fixture(autouse=True)
def many_digits():
    with mp.workdps(DIGITS):
        yield


@pytest.mark.parametrize("row", CASES)
def test_value_and_local_derivatives(row):
    check_rule(row)


@pytest.mark.parametrize("row", CASES)
def test_the_text_says_what_the_rule_does(row):
    check_text(row)


@pytest.mark.parametrize(
    ("row", "point", "chosen"),
    [pytest.param(row, *kink, id=f"{row}{kink[0]}") for row in TABLE for kink in row.kinks],
)
def test_local_derivatives_at_a_kink(row, point, chosen):
    y = value(row.op, ieee, point)
    assert local_grads(row.op, ieee, y, point) == pytest.approx(chosen, rel=0, abs=0, nan_ok=True)


@pytest.mark.parametrize(
    ("name", "x", "value", "local_grad"),  # digits from tables of the functions, not from any program here
    [
        ("sigmoid", 40.0, 1.0, 4.2483542552915889953e-18),
        ("tanh", 20.0, 1.0, 1.6993417021166355980e-17),
        ("softplus", 30.0, 30.000000000000093576, 0.99999999999990642377),
        ("softplus", -40.0, 4.2483542552915889862e-18, 4.2483542552915889862e-18),
    ],
)
def test_derivatives_are_accurate_where_functions_saturate(name, x, value, local_grad):
    v = getattr(Value(x), name)()
    assert abs(v.data - value) <= math.ulp(value)
    assert abs(v.local_grads[0] - local_grad) <= 2 * math.ulp(local_grad)


# ── The same rule on every kind of number ──────────────────────────────────────────────────────


# Far out and special; 309, 400 and −1075: odd and even powers that overflow. NumPy follows IEEE 754 by itself.
EXCEPTIONAL = (0.0, -0.0, 1.0, -1.0, -2.0, 3.0, -10.0, 0.5, 309.0, 400.0, -1075.0, inf, -inf, nan)


@pytest.mark.parametrize("row", CASES)
def test_rules_on_arrays_equal_the_rules_on_floats(row):
    xp = Namespace.of(np)
    for n in {len(point) for point in row.points}:
        exceptional = product(EXCEPTIONAL, repeat=n) if n < 3 else [(x,) * n for x in (0.0, -0.0, inf, -inf, nan)]
        points = [*(p for p in (*row.points, *(point for point, _ in row.kinks)) if len(p) == n), *exceptional]
        columns = [np.array(column) for column in zip(*points, strict=True)]
        with np.errstate(all="ignore"):
            y = value(row.op, xp, columns)
            slopes = [np.broadcast_to(g, y.shape) for g in local_grads(row.op, xp, y, columns)]
        for k, point in enumerate(points):
            expected = value(row.op, ieee, point)
            expected = (expected, *local_grads(row.op, ieee, expected, point))
            got = (float(y[k]), *(float(g[k]) for g in slopes))
            for one, other in zip(got, expected, strict=True):  # NumPy has its own exp, sin, …
                assert error_in_ulps(one, mpf(other)) <= ULPS, f"{row} at {point}"


def test_every_namespace_offers_the_names_that_a_rule_may_use():
    for xp in (ieee, Namespace.of(np), recording.value_namespace):
        assert set(FUNCTIONS) <= set(vars(xp)) <= set(dir(ieee))
        assert all(callable(getattr(xp, name)) for name in dir(ieee))
        assert all(f"{name}(" in Namespace.__doc__ for name in dir(xp))


@pytest.mark.parametrize("row", CASES)
def test_rules_on_values_equal_the_rules_on_floats(row):
    for point in [*row.points, *(point for point, _ in row.kinks)]:
        node = apply(row.op, *map(Value, point))
        recorded = recording.recorded_local_grads(node)
        now = [g.data if isinstance(g, Value) else g for g in recorded]
        assert now == pytest.approx(node.local_grads, rel=0, abs=0, nan_ok=True)


def test_the_inputs_are_the_numbers_of_all_operands_one_by_one():
    assert ops.AFFINE.grouped((1, 2, 3, 4, 5)) == ((1, 2), (3, 4), 5)
    assert ops.AFFINE.operand_names(5) == ("w1", "w2", "x1", "x2", "b")
    assert ops.AFFINE.local_grad_formulas(5) == ("x1", "x2", "w1", "w2", "1")
    assert ops.AFFINE.grouped((5,)) == ((), (), 5)
    assert ops.SUM.grouped((1, 2)) == ((1, 2),) and ops.SUM.local_grad_formulas(2) == ("1", "1")
    assert ops.SUB.grouped((1, 2)) == (1, 2) and ops.SUB.local_grad_formulas(2) == ("1", "-1")
    for row in TABLE:
        for point in row.points:
            assert flat(row.op.grouped(point)) == point
            assert len(row.op.operand_names(len(point))) == len(point)


def test_rows_print_what_they_are():
    assert repr(ops.MUL) == "<operation mul>"
    assert repr(ops.leaky_relu(0.1)) == "<operation leaky_relu, slope=0.1>"
    assert ops.leaky_relu(0.1) is ops.leaky_relu(0.1)


# ── The checks above can fail ──────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("row", CASES)
@pytest.mark.parametrize("factor", [-1.0, 2.0, 1.001, 1 + 1e-12], ids=["sign", "factor", "0.1 %", "1e-12"])
def test_a_wrong_local_derivative_is_rejected(row, factor):
    with mistaken(row.op, lambda grads: [factor * g or factor - 1.0 for g in grads]):
        with pytest.raises(AssertionError):
            check_rule(row)
        with pytest.raises(AssertionError):
            check_text(row)


@pytest.mark.parametrize("row", [case for case in CASES if case.values[0].op.operands == ("a", "b")])
def test_swapped_operands_are_rejected(row):
    op = row.op
    if len(set(op.formulas)) == 1:
        return  # its two derivatives are the same
    with mistaken(op, lambda grads: grads[::-1]), pytest.raises(AssertionError):
        check_rule(row)
    with broken(op, formulas=op.formulas[::-1]), pytest.raises(AssertionError):
        check_text(row)


@pytest.mark.parametrize("row", CASES)
def test_a_formula_that_lies_is_rejected(row):
    lies = tuple(f"1.001 * ({text}) or 0.001" for text in row.op.formulas)
    with broken(row.op, formulas=lies), pytest.raises(AssertionError):
        check_text(row)
    with broken(row.op, text=f"1.001 * ({row.op.text})"), pytest.raises(AssertionError):
        check_text(row)
