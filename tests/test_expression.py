import math

import pytest

from microgradlike import Value, explain
from microgradlike.cli.expression import FUNCTIONS, METHODS, record


@pytest.mark.parametrize(
    ("text", "numbers", "expected"),
    [
        ("sigmoid(w*x + b)", {"w": 2, "x": -1, "b": 0.5}, 1 / (1 + math.exp(1.5))),
        ("-x**2 + 3", {"x": 2}, -1.0),
        ("(-x)**2 / 8 - 1", {"x": 2}, -0.5),
        ("2 ** -1", {}, 0.5),
        ("+x", {"x": 7}, 7.0),
        ("leaky_relu(x, 0.25)", {"x": -4}, -1.0),
        ("elu(x, -2)", {"x": -800}, 2.0),
        ("maximum(a, 3) * minimum(a, 3)", {"a": 5}, 15.0),
        ("dot([a, 2], [3, a])", {"a": 5}, 25.0),
        ("affine([a, 2], [3, a], -1)", {"a": 5}, 24.0),
        ("sum([a, a, 1]) + maxout([a, -a])", {"a": -2}, -1.0),
        ("softmax([a, a])[0] + log_softmax([a])[-1]", {"a": 3}, 0.5),
        (" abs(σ) ", {"σ": -2}, 2.0),
        ("9**9**9", {}, math.inf),
        ("exp(exp)", {"exp": 0}, 1.0),
    ],
)
def test_an_expression_has_pythons_meaning(text, numbers, expected):
    assert record(text, numbers).data == pytest.approx(expected, rel=1e-15)


def test_every_method_of_one_value_is_known_by_its_name():
    public = {name for name in vars(Value) if not name.startswith("_")}
    assert set(METHODS) - {"abs"} == {name for name in public if name not in ("as_integer_ratio", "backward", "data", "inputs", "local_grads", "op", "grad", "has_grad", "label")}  # fmt: skip
    for name, method in METHODS.items():
        assert record(f"{name}(x)", {"x": 0.5}).data == method(Value(0.5)).data


def test_the_graph_is_that_of_the_program():
    y = record("x*x + b", {"x": 3, "b": 1})
    product, b = y.inputs
    x, again = product.inputs
    assert x is again
    assert (x.label, b.label, product.op.name, y.op.name) == ("x", "b", "mul", "add")
    y.backward()
    assert (x.grad, b.grad) == (6.0, 1.0)


@pytest.mark.parametrize(
    ("text", "numbers", "message"),
    [
        ("w*x + b", {"x": 1}, "no number for w, b: add w=… b=…"),
        ("x", {"x": 1, "y": 2}, "no y in 'x'; its variables are x"),
        ("sigmod(x)", {}, "unknown function sigmod; known are abs, exp, .*sigmoid.*log_softmax"),
        ("x^2", {"x": 1}, r"write x\*\*2"),
        ("softmax([x^2, 1])[0]", {"x": 1}, r"write x\*\*2"),
        ("x // 2", {"x": 1}, "unknown operator FloorDiv; known are"),
        ("~x", {"x": 1}, "unknown operator Invert"),
        ("x +* 2", {}, "is not an expression"),
        ("", {}, "is not an expression"),
        ("x = 1", {}, "is not an expression"),
        ("x > 1", {"x": 1}, "'x > 1' is beyond this language"),
        ("x if x else 1", {"x": 1}, "beyond this language"),
        ("x.data", {"x": 1}, "beyond this language"),
        ("lambda: 1", {}, "beyond this language"),
        ("[i for i in x]", {"x": 1, "i": 1}, "beyond this language"),
        ("__import__('os').system('true')", {}, "unknown function"),
        ("(1).__class__", {}, "beyond this language"),
        ("'text'", {}, "expected a real number, got 'text'"),
        ("True", {}, "expected a real number, got True"),
        ("1j", {}, "expected a real number, got 1j"),
        ("softmax([x, 1])", {"x": 1}, r"is a list of 2: pick one with \[0\] … \[1\]"),
        ("softmax([x, 1])[2]", {"x": 1}, "index out of range"),
        ("softmax([x, 1])[0:1]", {"x": 1}, r"pick one of a list by its number, as in \[0\]"),
        ("[x] + 1", {"x": 1}, "expected one value, got the list"),
        ("relu([x])", {"x": 1}, r"write relu\(x\)"),
        ("relu(x, 1)", {"x": 1}, r"cannot take relu\(x, 1\): write relu\(x\)"),
        ("relu()", {}, r"cannot take relu\(\): write relu\(x\)"),
        ("maximum(x)", {"x": 1}, r"write maximum\(a, b\)"),
        ("dot(x, x)", {"x": 1}, r"write dot\(\[w, …\], \[x, …\]\)"),
        ("leaky_relu(x, x)", {"x": 1}, "expected a real number"),
        ("sum(x)", {"x": 1}, r"write sum\(\[x, …\]\)"),
        ("dot([x], [1, 2])", {"x": 1}, "as many weights as inputs"),
        ("relu(*[x])", {"x": 1}, "plain arguments only"),
        ("leaky_relu(x, slope=1)", {"x": 1}, "plain arguments only"),
        ("x[0]", {"x": 1}, "cannot take x"),
        ("(" * 500 + "x" + ")" * 500, {"x": 1}, "too (many nested|deeply)"),
        ("+".join("x" * 100_000), {"x": 1}, "nested too deeply"),
        ("x\0", {}, "null bytes"),
    ],
)
def test_everything_else_is_refused_in_one_line(text, numbers, message):
    with pytest.raises(ValueError, match=message) as refusal:
        record(text, numbers)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("terms", [332, 333, 334, 1000, 2000, 2900, 10_000, 100_000])
@pytest.mark.parametrize("operator", ["+", "-", "*", "/"])
def test_a_long_sum_or_product_is_recorded_or_refused_in_words(terms, operator):
    text = operator.join(["x"] * terms)
    try:
        assert record(text, {"x": 1.0}).data == {"+": terms, "-": 2 - terms, "*": 1.0, "/": 1.0}[operator]
    except ValueError as error:
        assert terms > 900 and "a long sum can be written as sum([a, b, …])" in str(error)
    assert record(f"sum([{', '.join(['x'] * terms)}])", {"x": 1.0}).data == terms


@pytest.mark.parametrize(
    "text", ["-" * 5000 + "x", "x" + "**x" * 5000, "relu(" * 5000 + "x" + ")" * 5000, "[" * 5000 + "]" * 5000]
)
def test_what_is_nested_too_deeply_is_refused_in_words(text):
    with pytest.raises(ValueError, match=r"nested too deeply|too many nested|is not an expression"):
        record(text, {"x": 1.0})


def test_the_order_in_a_long_sum_is_pythons():
    x = {name: float(i) for i, name in enumerate("abcde", start=2)}
    text = "a - b - c * d / e - a + b / c / d"
    assert record(text, x).data == eval(text, {}, x)


@pytest.mark.parametrize(
    ("typed", "given"),
    [("µ", "μ"), ("μ", "µ"), ("ﬁ", "fi"), ("fi", "ﬁ"), ("ｘ", "x"), ("é", "e\u0301"), ("ℋ", "H"), ("ſ", "s")],
)
def test_letters_of_another_form_are_the_same_name(typed, given):
    y = record(f"{typed} * {typed}", {given: 3.0})
    assert y.data == 9.0 and y.inputs[0] is y.inputs[1]


def test_a_character_that_is_none_is_refused():
    with pytest.raises(ValueError, match=r"^'x\+\\udcff' is not an expression"):
        record("x+\udcff", {"x": 1.0})


def test_functions_of_the_table_can_be_explained():
    assert "∂" in str(explain(record("logsumexp([x, 2*x])", {"x": 1})))
    assert set(FUNCTIONS) == {
        "maximum", "minimum", "maxout", "sum", "dot", "affine", "logsumexp", "softmax", "log_softmax",
    }  # fmt: skip
