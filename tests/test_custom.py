"""operation(): a learner's own operation in three lines."""

import math
from importlib import import_module
from math import inf, nan

import pytest
from optional import optional

from microgradlike import Value, check_gradients, custom, gradient, jvp, operation, ops, recording, vectorize
from microgradlike.check.thousand_digits import thousand_digits
from microgradlike.ieee import FUNCTIONS, Namespace, ieee
from microgradlike.primitive import Operation
from microgradlike.value import apply

np = optional("numpy")

cube = operation("cube", lambda xp, x: x * x * x, lambda xp, y, x: 3.0 * x * x)
hypot = operation(
    "hypot", lambda xp, a, b: xp.sqrt(a * a + b * b), lambda xp, y, a, b: (xp.divide(a, y), xp.divide(b, y))
)
swish = operation(
    "swish", lambda xp, x: x * xp.sigmoid(x), lambda xp, y, x: xp.sigmoid(x) + y * xp.sigmoid(-x), symbol="swish₁"
)
clip = operation(
    "clip",
    lambda xp, x, low, high: xp.minimum(xp.maximum(x, low), high),
    lambda xp, y, x, low, high: (
        xp.where((x >= low) & (x <= high), 1.0, 0.0),
        xp.where(x < low, 1.0, 0.0),
        xp.where(x > high, 1.0, 0.0),
    ),
)
product = operation("product", lambda xp, *x: math.prod(x), lambda xp, y, *x: [xp.divide(y, each) for each in x])
square_if = operation(
    "square_if", lambda xp, x: x * x if x > 0 else 0.0 * x, lambda xp, y, x: 2.0 * x if x > 0 else 0.0
)


def test_three_lines():
    x = Value(2.0)
    y = cube(x)
    y.backward()
    assert (y.data, x.grad) == (8.0, 12.0)
    assert (y.op.name, y.op.symbol, y.op.text, repr(y.op)) == ("cube", "cube", "cube(x)", "<operation cube>")
    assert y.inputs[0] is x
    assert cube.__name__ == "cube" and "cube(x)" in cube.__doc__


def test_several_and_any_number_of_inputs():
    a, b = Value(3.0), Value(4.0)
    hypot(a, b).backward()
    assert (a.grad, b.grad) == (0.6, 0.8)
    x = Value(5.0)
    clip(x, 0, 1).backward()
    assert x.grad == 0.0
    p = product(a, 2, x)
    p.backward()
    assert (p.data, p.local_grads, p.op.operand_names(3)) == (30.0, (10.0, 15.0, 6.0), ("x1", "x2", "x3"))
    assert product(a).local_grads == (1.0,)
    assert cube(2).inputs[0].op is ops.CONSTANT


@pytest.mark.parametrize(
    ("f", "formulas"),
    [
        (cube, ("3.0 * x * x",)),
        (hypot, ("a / y", "b / y")),
        (swish, ("sigmoid(x) + y * sigmoid(-x)",)),
        (clip, ("1.0 if x >= low and x <= high else 0.0", "1.0 if x < low else 0.0", "1.0 if x > high else 0.0")),
        (square_if, ("dx",)),  # a Python `if` cannot be read off: the derivative is only named
        (operation("f", lambda xp, x: 2 - x, lambda xp, y, x: -1.0), ("-1.0",)),
        (operation("f", lambda xp, x: 2**x, lambda xp, y, x: xp.power(2, x) * xp.log(2)), ("2 ** x * log(2)",)),
        (operation("f", lambda xp, x: x, lambda xp, y, x: xp.maximum(abs(x), xp.minimum(1, -x)) ** 2 - (1 - x)),
         ("max(abs(x), min(1, -x)) ** 2 - (1 - x)",)),
    ],
)  # fmt: skip
def test_the_formula_is_read_off_the_rule(f, formulas):
    n = len(formulas)
    op = f(*[Value(0.5)] * n).op
    assert op.local_grad_formulas(n) == formulas


def test_the_formulas_of_any_number_of_inputs():
    assert product(1, 2).op.local_grad_formulas(2) == ("y / x1", "y / x2")


def test_one_input_and_then_any_number():
    polynomial = operation(
        "polynomial",
        lambda xp, x, *c: sum(each * x**k for k, each in enumerate(c)),
        lambda xp, y, x, *c: (
            sum(k * each * x ** (k - 1) for k, each in enumerate(c) if k),
            *(x**k for k in range(len(c))),
        ),
    )
    x = Value(2.0)
    y = polynomial(x, 5, 3, 1)
    assert (y.data, y.local_grads) == (15.0, (7.0, 1.0, 2.0, 4.0))
    assert y.op.operand_names(4) == ("x", "c1", "c2", "c3")
    assert y.op.local_grad_formulas(3) == ("0 + 1 * c2 * x ** 0", "x ** 0", "x ** 1")
    (slope,) = gradient(y, [x])
    assert (slope.data, gradient(slope, [x])[0].data) == (7.0, 2.0)
    assert check_gradients(lambda: polynomial(x, 5, 3, 1), [x]).ok


@pytest.mark.parametrize(
    ("f", "derivatives"),
    [
        (cube, [12.0, 12.0, 6.0, 0.0]),
        (lambda x: product(x, x, x), [12.0, 12.0, 6.0, 0.0]),
        (square_if, [4.0, 2.0, 0.0, 0.0]),
    ],
)
def test_higher_derivatives(f, derivatives):
    x = Value(2.0)
    y = f(x)
    for exact in derivatives:
        assert jvp(y, {x: 1.0}) == exact
        (y,) = gradient(y, [x])
        assert y.data == exact


@pytest.mark.parametrize("name", ["expm1", "log1p"])
@pytest.mark.parametrize("point", [0.1, 1e-20])
def test_functions_without_a_method_keep_their_digits_on_values(name, point):
    f = operation("f", lambda xp, x: x, lambda xp, y, x: getattr(xp, name)(x))  # differentiated once more: exact
    x = Value(point)
    (slope,) = gradient(f(x), [x])
    assert slope.data == getattr(math, name)(point)
    (second,) = gradient(slope, [x])
    assert second.data == pytest.approx(math.exp(point) if name == "expm1" else 1 / (1 + point), rel=1e-15)


def test_rules_run_on_arrays():
    xp = Namespace.of(np)
    op = hypot(1, 1).op
    a, b = np.array([3.0, 5.0]), np.array([4.0, 12.0])
    y = op.value(xp, a, b)
    np.testing.assert_array_equal(y, [5.0, 13.0])
    np.testing.assert_array_equal(op.local_grads(xp, y, a, b), [[0.6, 5 / 13], [0.8, 12 / 13]])


def test_ieee_results():
    invert = operation("invert", lambda xp, x: xp.divide(1.0, x), lambda xp, y, x: -y * y)
    y = invert(Value(0.0))
    assert (y.data, y.local_grads) == (inf, (-inf,))
    assert math.isnan(cube(Value(nan)).data)


def test_whole_numbers_and_numpy_scalars_become_floats():
    f = operation("f", lambda xp, x: np.float32(x), lambda xp, y, x: [1])
    y = f(Value(0.1))
    assert (type(y.data), type(y.local_grads[0])) == (float, float)


@pytest.mark.parametrize(
    ("value", "local_grads", "message"),
    [
        (lambda xp, x: 1 / x, lambda xp, y, x: 1.0, r"'bad': its value rule raised ZeroDivisionError .*xp\.divide"),
        (lambda xp, x: x, lambda xp, y, x: 1 / x, "'bad': its local_grads rule raised ZeroDivisionError"),
        (lambda xp, x: math.log(x), lambda xp, y, x: 1.0, "'bad': its value rule raised ValueError"),
        (lambda xp, x: math.exp(1000 + x), lambda xp, y, x: 1.0, "OverflowError"),
        (lambda xp, x: (x - 1) ** 0.5, lambda xp, y, x: 1.0, "value rule returned .*expected a real number"),
        (lambda xp, x: np.complex128(x), lambda xp, y, x: 1.0, "value rule returned .*expected a real number"),
        (lambda xp, x: np.complex64(1j), lambda xp, y, x: 1.0, "value rule returned .*expected a real number"),
        (lambda xp, x: x, lambda xp, y, x: np.complex128(1.0), "local_grads rule returned .*expected a real number"),
        (lambda xp, x: None, lambda xp, y, x: 1.0, "value rule returned None"),
        (lambda xp, x: "1", lambda xp, y, x: 1.0, "value rule returned '1'"),
        (lambda xp, x: x, lambda xp, y, x: None, "local_grads rule returned None"),
        (
            lambda xp, x: x,
            lambda xp, y, x: (1.0, 2.0),
            "local_grads returned 2 derivatives for 1 inputs; return a tuple",
        ),
        (lambda xp, x: x, lambda xp, y, x: (), "local_grads returned 0 derivatives for 1 inputs"),
    ],
)
def test_a_rule_that_fails_is_named(value, local_grads, message):
    bad = operation("bad", value, local_grads)
    with pytest.raises(ValueError, match=message):
        bad(Value(0.0))


@pytest.mark.parametrize(("f", "inputs"), [(cube, 0), (cube, 2), (hypot, 1), (hypot, 3), (clip, 2), (product, 0)])
def test_a_wrong_number_of_inputs(f, inputs):
    with pytest.raises(TypeError, match=f"takes .* inputs?, got {inputs}"):
        f(*[Value(1.0)] * inputs)


def test_inputs_that_are_no_numbers():
    with pytest.raises(TypeError, match="expected a real number"):
        cube("2")


def test_a_rule_that_leaves_the_namespace_still_works_once():
    """math.sin knows no Values: the derivative is there, its derivative is an error that says what to do."""
    f = operation("f", lambda xp, x: math.cos(x), lambda xp, y, x: -math.sin(x))
    x = Value(1.0)
    y = f(x)
    y.backward()
    assert x.grad == -math.sin(1.0)
    with pytest.raises(TypeError, match="lose the graph"):
        gradient(y, [x])


FLOATS_ONLY = [
    (lambda x: math.erf(x), "math.exp"),
    (lambda x: float(x), "math.exp"),
    (np.frompyfunc(math.erf, 1, 1), "erf"),  # as SciPy's functions are
    (lambda x: np.add.reduce(x), "add"),
    (lambda x: np.exp(x, dtype=float), "exp"),
    (lambda x: x.hex(), "hex"),
]


@pytest.mark.parametrize(("f", "why"), FLOATS_ONLY)
@pytest.mark.parametrize("rule", ["value", "local_grads"])
def test_a_rule_for_floats_only_is_named_when_it_meets_arrays_and_values(f, why, rule):
    """Whether the value rule or the derivatives, and whether in a program or in a derivative of a derivative."""

    def only(result):
        return lambda xp, *x: result if xp is ieee else f(x[-1])

    def everywhere(result):
        return lambda xp, *x: result

    x = Value(0.5, "x")
    y = operation("mine", *[(only if rule == each else everywhere)(2.0) for each in ("value", "local_grads")])(x)
    with pytest.raises(
        TypeError, match=rf"'mine': its {rule}.* does not run on arrays \(.*{why}.*what xp has: abs, cos"
    ):
        vectorize(y * y)
    if rule == "local_grads" and why != "add":  # the sum of one number is that number
        with pytest.raises(
            TypeError, match=r"'mine': its local_grads rule does not run on Values \(.*xp has: abs, cos"
        ):
            gradient(y, [x])


@pytest.mark.parametrize(
    "namespace",
    [
        lambda: ieee,
        lambda: Namespace.of(np),
        lambda: thousand_digits().xp,
        lambda: recording.value_namespace,
        lambda: import_module("microgradlike.matrix.lines").Code(float).namespace(),
        lambda: custom._symbols,
    ],
    ids=["floats", "arrays", "digits", "Values", "programs", "symbols"],
)
def test_every_namespace_lists_the_same_names_and_knows_what_an_unknown_one_may_mean(namespace):
    xp = namespace()
    assert dir(xp) == dir(ieee) == sorted({*FUNCTIONS, "sigmoid", "sum", "max"})
    assert repr(xp) == f"<xp: {', '.join(dir(xp))}>"
    for name, near in [("pow", "power"), ("log2", "log"), ("sinus", "sin"), ("minimun", "minimum")]:
        with pytest.raises(
            AttributeError, match=rf"xp has no {name} \(did you mean {near}.*\?\); it has abs, cos, divide"
        ):
            getattr(xp, name)
    with pytest.raises(AttributeError, match=r"xp has no erf; it has abs, cos, divide"):
        getattr(xp, "erf")  # noqa: B009


def test_a_custom_row_is_a_row_like_the_others():
    assert isinstance(cube(1).op, Operation)
    assert apply(cube(1).op, 3.0).data == 27.0
    assert swish(1).op.symbol == "swish₁"


@pytest.mark.parametrize(
    ("value", "local_grads", "message"),
    [
        (lambda x: x**3, lambda x: 3 * x**2, "value takes xp and then the inputs, as in lambda xp, x"),
        (lambda a, b: a * b, lambda a, b: (b, a), r"value takes \(xp, b\), so local_grads takes \(xp, y, b\)"),
        (lambda xp, x: x**3, lambda xp, x: 3 * x**2, r"value takes \(xp, x\), so local_grads takes \(xp, y, x\)"),
        (lambda xp, *x: x[0], lambda xp, y: y, r"so local_grads takes \(xp, y, x\)"),
    ],
)
def test_rules_with_a_parameter_forgotten_are_refused_at_once(value, local_grads, message):
    with pytest.raises(TypeError, match=f"operation 'bad': .*{message}"):
        operation("bad", value, local_grads)
