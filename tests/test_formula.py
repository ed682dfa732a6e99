"""Formulas keep their meaning, in plain text and in LaTeX, and read as people write them."""

import ast
import math
import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from optional import optional

from microgradlike import Value, affine, dot, explain, logsumexp, maximum, maxout, operation, ops, recording
from microgradlike import sum as sum_of
from microgradlike.ieee import ieee
from microgradlike.notation import formula, typeset
from microgradlike.notation.digits import format_number, plain_digits
from microgradlike.primitive import Operation

ROWS = [row for row in (vars(ops) | vars(recording)).values() if isinstance(row, Operation)] + [
    ops.leaky_relu(0.1),
    ops.elu(0.7),
]
TEXTS = sorted(
    {row.text for row in ROWS if row}
    | {text for row in ROWS for text in row.local_grad_formulas(5 if row.n_ary else len(row.operands))}
)


@pytest.mark.parametrize(
    ("python", "expected"),
    [
        ("sigmoid(x) * (1 - sigmoid(x))", "σ(x)·(1 − σ(x))"),
        ("1 / (2 * sqrt(x))", "1/(2·√x)"),
        ("-a / b**2", "−a/b²"),
        ("1 if x > 0 else 0", "1 if x > 0 else 0"),
        ("1 if x > 0 else -1 if x < 0 else 0", "1 if x > 0 else -1 if x < 0 else 0"),
        ("1 if a > b else 1 / 2 if a == b else 0", "1 if a > b else 1/2 if a = b else 0"),
        ("x1", "x₁"),
        ("exp(x12 - y)", "exp(x₁₂ − y)"),
        ("max(0, x)", "max(0, x)"),
        ("1 - tanh(x)**2", "1 − tanh(x)²"),
        ("b * a**(b - 1)", "b·a^(b − 1)"),
        ("a**b * log(a)", "a^b·log(a)"),
        ("alpha * exp(x)", "α·exp(x)"),
        ("abs(x)", "|x|"),
        ("abs(abs(x) - 1)", "abs(|x| − 1)"),
        ("dot(w, x) + b", "w·x + b"),
        ("-x", "−x"),
        ("-1", "-1"),
        ("a - (b - c)", "a − (b − c)"),
        ("a - b - c", "a − b − c"),
        ("a / b / c", "(a/b)/c"),
        ("a / b * c", "(a/b)·c"),
        ("a * b / c", "a·b/c"),
        ("a * (b / c)", "a·(b/c)"),
        ("a * -b", "a·(−b)"),
        ("a - -b", "a − (−b)"),
        ("-(-a)", "−(−a)"),
        ("-(a + b)", "−(a + b)"),
        ("(-a) ** 2", "(−a)²"),
        ("-(a ** 2)", "−a²"),
        ("(a ** b) ** c", "(a^b)^c"),
        ("a ** b ** c", "a^(b^c)"),
        ("x ** -2", "x⁻²"),
        ("x ** 0.5", "x^0.5"),
        ("sqrt(x) ** 2", "(√x)²"),
        ("sqrt(x + 1)", "√(x + 1)"),
        ("3.0 * x * x", "3·x·x"),
        ("(x > 0 and x < 1) or x == 3", "x > 0 and x < 1 or x = 3"),
        ("[1, 'two']", "[1, 'two']"),
    ],
)
def test_plain(python, expected):
    assert str(formula.write(python)) == expected


@pytest.mark.parametrize(
    ("python", "names", "expected"),
    [
        ("sigmoid(x)", {"x": "z"}, "σ(z)"),
        ("-a / b**2", {"a": "w²₁₃", "b": "w²₁₄"}, "−w²₁₃/(w²₁₄)²"),
        ("1 - tanh(x)**2", {"x": "z¹₂"}, "1 − tanh(z¹₂)²"),
        ("a * b", {"a": "-3", "b": "x"}, "-3·x"),
        ("a * b", {"a": "x", "b": "-3"}, "x·(-3)"),
        ("a - b", {"a": "x", "b": "-3"}, "x − (-3)"),
        ("-x", {"x": "-3"}, "−(-3)"),
        ("a**b", {"a": "-3", "b": "2"}, "(-3)²"),
        ("a**b", {"a": "1e-05", "b": "2"}, "(1e-05)²"),
        ("a * b", {"a": "p + q", "b": "learning rate"}, "(p + q)·(learning rate)"),
        ("exp(x)", {"x": "p + q"}, "exp(p + q)"),
        ("-x", {"x": "p + q"}, "−(p + q)"),
        ("sqrt(x)", {"x": "p + q"}, "√(p + q)"),
        ("b * a**(b - 1)", {"a": "x", "b": "2"}, "2·x"),
        ("b * a**(b - 1)", {"a": "x", "b": "3"}, "3·x²"),
        ("b * a**(b - 1)", {"a": "x", "b": "-1"}, "-1·x⁻²"),
        ("b * a**(b - 1)", {"a": "x", "b": "0.5"}, "0.5·x^(-0.5)"),
        ("a + b", {"a": "2", "b": "3"}, "2 + 3"),
        ("x1 * x2", {"x1": "x1"}, "x1·x₂"),  # a label stays as its owner wrote it
        ("exp(x)", {"x": "nan"}, "exp(nan)"),
    ],
)
def test_plain_in_the_names_of_nodes(python, names, expected):
    assert str(formula.write(python, names)) == expected


# ── The plain text, read back, means the same ──────────────────────────────────────────────────

BACK = {"−": "-", "·": "*", "^": "**", "=": "==", "≥": ">=", "≤": "<=", "≠": "!=", "σ": "sigmoid", "α": "alpha"}
SUPERSCRIPTS = str.maketrans("⁻⁰¹²³⁴⁵⁶⁷⁸⁹", "-0123456789")
SUBSCRIPTS = str.maketrans("₀₁₂₃₄₅₆₇₈₉", "0123456789")


def read_back(text):
    text = re.sub("[⁻⁰¹²³⁴⁵⁶⁷⁸⁹]+", lambda digits: f"**({digits[0].translate(SUPERSCRIPTS)})", text)
    text = re.sub(r"\|([^|]*)\|", r"abs(\1)", text.translate(SUBSCRIPTS))
    text = re.sub(r"√((?!abs\()[\w.]+)", r"sqrt(\1)", text)  # those within others first
    text = re.sub(r"√(abs\((?:[^()]|\([^()]*\))*\))", r"sqrt(\1)", text).replace("√", "sqrt")
    return "".join(BACK.get(character, character) for character in text)


class Divide(ast.NodeTransformer):
    """Evaluate with IEEE division and powers, so that every input has a value."""

    def visit_BinOp(self, node):
        self.generic_visit(node)
        name = {ast.Div: "divide", ast.Pow: "power"}.get(type(node.op))
        return ast.Call(ast.Name(name, ast.Load()), [node.left, node.right], []) if name else node


def evaluate(text, **values):
    tree = ast.fix_missing_locations(Divide().visit(ast.parse(text, mode="eval")))
    functions = {**vars(ieee), "sigmoid": ieee.sigmoid, "abs": abs, "max": max, "min": min}
    return eval(compile(tree, text, "eval"), {"__builtins__": {}}, {**functions, **values})


def operators():
    unary = st.sampled_from(["-({})", "exp({})", "sqrt({})", "abs({})", "sigmoid({})", "({})**2", "({})**-3"])
    binary = st.sampled_from(["({}) + ({})", "({}) - ({})", "({}) * ({})", "({}) / ({})", "({})**({})", "max({}, {})"])
    choice = st.sampled_from(["({}) if ({}) > ({}) else ({})", "({}) if ({}) <= 0 or ({}) == 1 else ({})"])
    leaves = st.sampled_from(["a", "b", "x1", "2", "0.5", "-3", "1"])
    return st.recursive(
        leaves,
        lambda inner: st.one_of(
            st.builds(str.format, unary, inner),
            st.builds(str.format, binary, inner, inner),
            st.builds(str.format, choice, inner, inner, inner, inner),
        ),
        max_leaves=8,
    )


@example("sqrt(abs(sqrt(x1)))", 1.0, 1.0, 2.0)
@given(operators(), *[st.sampled_from([-2.5, -1.0, 0.3, 1.0, 2.0, 7.25])] * 3)
def test_plain_text_keeps_its_meaning(text, a, b, x):
    values = {"a": a, "b": b, "x1": x}
    assert repr(evaluate(text, **values)) == repr(evaluate(read_back(str(formula.write(text))), **values))


@pytest.mark.parametrize("text", [text for text in TEXTS if not re.search(r"dot|sum|max\(x\)|^c$", text)])
def test_every_row_keeps_its_meaning(text):
    values = {
        name: 0.3 + 0.45 * i
        for i, name in enumerate(["a", "b", "x", "y", "w1", "w2", "x1", "x2", "x3", "x4", "x5", "c"])
    }
    values |= {"slope": 0.1, "alpha": 0.7, "ties": 2.0}
    assert evaluate(text, **values) == evaluate(read_back(str(formula.write(text))), **values)


# ── LaTeX ──────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("python", "names", "expected"),
    [
        ("-a / b**2", {"a": "w¹₂"}, "-w^{1}_{2}/b^{2}"),
        ("sigmoid(x) * (1 - sigmoid(x))", {"x": "z¹₂"}, r"\sigma(z^{1}_{2})\cdot (1 - \sigma(z^{1}_{2}))"),
        ("1 / (2 * sqrt(x))", {}, r"1/(2\cdot \surd x)"),
        ("a + b", {"a": "w²₁₃", "b": "w¹₁₂,₃"}, "w^{2}_{13} + w^{1}_{12,3}"),
        ("a**b", {"a": "loss", "b": "-1"}, r"\operatorname{loss}^{-1}"),
        ("a**b", {"a": "-2", "b": "x"}, "(-2)^{x}"),
        ("a**(b + tanh(a))", {}, r"a^{(b + \operatorname{tanh}(a))}"),
        ("a**b", {"a": "w²₁₃", "b": "0.5"}, "(w^{2}_{13})^{0.5}"),
        ("a**b", {"a": "w′", "b": "2"}, r"{w^{\prime}}^{2}"),
        ("a * b", {"a": "a_b", "b": r"\href{x}"}, r"a\_b\cdot \backslash \operatorname{href}\{x\}"),
        ("a * b", {"a": "σx", "b": "loss_total"}, r"\sigma x\cdot \operatorname{loss\_total}"),
        ("x if x >= 0 else 0", {}, r"x \operatorname{if} x \geq  0 \operatorname{else} 0"),
    ],
)  # fmt: skip
def test_latex(python, names, expected):
    assert formula.write(python, names).latex == expected


MATHTEXT = optional("matplotlib.mathtext").MathTextParser("path")


def parse(latex):
    """Raises ValueError where matplotlib finds that it is not well-formed; it does not know all of these signs."""
    if latex.strip():  # older releases of matplotlib know no empty formula
        MATHTEXT.parse("$" + re.sub(r"\\[&#]", "+", latex.replace(r"\surd", r"\Psi")) + "$")


@pytest.mark.parametrize("text", TEXTS)
def test_latex_of_every_row_typesets(text):
    names = {"x": "w²₁₃", "a": "{#_%&$~^\\} rate", "y": "loss", "b": "-3", "x1": "w¹₁₂,₃"}
    parse(formula.write(text).latex)
    parse(formula.write(text, names).latex)


@given(operators())
def test_latex_braces_match(text):
    result = formula.write(text).latex
    assert result.count("{") == result.count("}")
    parse(result)


@given(
    st.text("abXY δσα√ _^~$&#%{}\\'[]", min_size=1),
    st.text("⁰¹²⁻", max_size=2),
    st.text("′", max_size=2),
    st.text("₁₂ᵢⱼ"),
)
def test_latex_of_any_name_typesets_and_so_do_its_power_and_transpose(letters, above, primes, below):
    name = typeset.verbatim(letters + above + primes + below)
    two, b = typeset.verbatim("2"), typeset.verbatim("b²")
    for x in (name, typeset.transpose(name), typeset.power(name, two), typeset.power(typeset.transpose(name), b)):
        parse(x.latex)


# ── What a node stands for ─────────────────────────────────────────────────────────────────────

w, x, b = Value(2.0, "w"), Value(-1.0, "x"), Value(0.5, "b")
odd = operation("x³ & more", lambda xp, a: a * a * a, lambda xp, y, a: 3.0 * a * a)
silent = operation("silent", lambda xp, a, b: a + b, lambda xp, y, a, b: (1.0 if a > 0 else 0.5, 1.0))
spread = operation("spread", lambda xp, *x: x[0] - x[1], lambda xp, y, *x: (1.0, -1.0) + (0.0,) * (len(x) - 2))


def labelled(node, label):
    node.label = label
    return node


@pytest.mark.parametrize(
    ("node", "expected"),
    [
        (w, "w"),
        (Value(3.0), "3"),
        ((w * x + b).tanh(), "tanh(w·x + b)"),
        (labelled((w * x).tanh(), "L"), "tanh(w·x)"),
        (labelled(w * x + b, "z").sigmoid(), "σ(z)"),
        ((w * x + b).relu() + w.leaky_relu() - x.elu(), "ReLU(w·x + b) + leaky_relu(w) − ELU(x)"),
        ((2 * w) ** 2 / -x, "(2·w)²/(−x)"),
        (w - (x - b), "w − (x − b)"),
        (abs(x).sqrt().exp().log().softplus(), "softplus(log(exp(√|x|)))"),
        (2.0**x + Value(3.0), "2^x + 3"),
        (affine([w, x], [1.0, -2.0], b), "w·1 + x·(-2) + b"),
        (affine([w] * 64, [x] * 64, b).sigmoid(), "σ(w·x + w·x + … + w·x + b)"),
        (affine([], [], b), "0 + b"),
        (dot([w], [x]), "w·x"),
        (sum_of([w, x, b, w * b]), "w + x + b + w·b"),
        (maxout([w, x, b]), "max(w, x, b)"),
        (maxout([w] * 5), "max(w, w, …, w)"),
        (maximum(w, x), "max(w, x)"),
        (logsumexp([w, x + b]), "log(exp(w) + exp(x + b))"),
        (odd(w + x), "x³ & more(w + x)"),
        (silent(w, x), "silent(w, x)"),
        (spread(w, x, b), "spread(w, x, b)"),
        (spread(w, x, b, b, b), "spread(w, x, …, b)"),
        (labelled(w + x, "a+b") * 2, "(a+b)·2"),
    ],
)
def test_expression(node, expected):
    assert formula.expression(node) == expected


def test_expression_is_cut_by_depth_and_by_length():
    node = ((w * x + b).tanh() * w).exp()
    assert formula.expression(node, depth=1) == "exp(…)"
    assert formula.expression(node, depth=2) == "exp(…·w)"
    assert formula.expression(node, {node.inputs[0]: "v₃"}, depth=1) == "exp(v₃)"
    assert formula.expression(node, length=15) == "exp(tanh(…)·w)"
    for _ in range(20):
        node = (node * w + b).exp()
    assert 50 < len(formula.expression(node, depth=30)) <= 60


def test_expression_of_deep_and_of_shared_graphs():
    deep = shared = w
    for _ in range(100_000):
        deep = deep.tanh()
        shared = shared + shared
    assert formula.expression(deep, depth=3) == "tanh(tanh(tanh(…)))"
    assert len(formula.expression(deep)) <= 60
    assert formula.expression(shared, length=20) == "… + … + (… + …)"


# ── Local derivatives in the names of the nodes ────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("node", "expected"),
    [
        (w * x, ["x", "w"]),
        (w / x, ["1/x", "−w/x²"]),
        (w**2, ["2·w", "w²·log(w)"]),
        (labelled(w.exp(), "e^w").log(), ["1/(e^w)"]),
        (w.leaky_relu(0.2), ["1 if w > 0 else 0.2"]),
        (w.elu(0.5), ["1 if w > 0 else 0.5·exp(w)"]),
        (affine([w], [x], b), ["x", "w", "1"]),
        (labelled(logsumexp([w, x]), "s"), ["exp(w − s)", "exp(x − s)"]),
        (odd(w), ["3·w·w"]),
        (silent(w, x), ["", ""]),
    ],
)
def test_derivative(node, expected):
    names = {v: v.label or "2" for v in (node, *node.inputs)}
    assert [formula.derivative(node, i, names) for i in range(len(node.inputs))] == expected


@pytest.mark.parametrize(
    ("x", "expected"),
    [
        (0.19661193, "0.1966"), (-3.0, "-3"), (-0.0, "0"), (1e-5, "1e-05"), (123456.0, "123456"), (12345678.0, "1.235e+07"),
        (float("nan"), "nan"), (float("-inf"), "-inf"),
    ],
)  # fmt: skip
def test_number(x, expected):
    assert format_number(x) == expected


@pytest.mark.parametrize(
    ("symbol", "text", "latex"),
    [
        (formula.gradient("L", "w²₁₃"), "∂L/∂w²₁₃", r"\partial L/\partial w^{2}_{13}"),
        (
            formula.gradient("my loss", "a+b"),
            "∂(my loss)/∂(a+b)",
            r"\partial (\operatorname{my} \operatorname{loss})/\partial (a+b)",
        ),
        (formula.local("d", 0), "∂₁d", r"\partial _{1}d"),
        (formula.local("z²₁", 128), "∂₁₂₉z²₁", r"\partial _{129}z^{2}_{1}"),
        (formula.local("exp(x)", 0), "∂₁(exp(x))", r"\partial _{1}(\operatorname{exp}(x))"),
        (formula.local("a·b", 1), "∂₂(a·b)", r"\partial _{2}(a\cdot b)"),
    ],
)
def test_the_gradient_and_the_local_derivative_are_written_differently(symbol, text, latex):
    assert symbol == text and typeset.to_latex(symbol) == latex


def read(text):
    """A formula evaluated: as people write it, back in Python."""
    text = re.sub("([⁻⁰¹²³⁴⁵⁶⁷⁸⁹]+)", lambda power: f"**{plain_digits(power[0])}", text)
    return eval(text.replace("·", "*").replace("−", "-").replace("^", "**"), {"x": x0})


x0 = 1.0001


@pytest.mark.parametrize(
    "f",
    [
        lambda x: x**12345, lambda x: x**10001, lambda x: x * 0.999999, lambda x: x * 10001 + 100000,
        lambda x: x / 3.0000001 - 1e-9, lambda x: 1 / 3 * x**-1.00001, lambda x: 1e20 * x, lambda x: x * -0.123456789,
    ],
)  # fmt: skip
def test_constants_in_formulas_are_exact_enough_to_read_back(f):
    y = f(Value(x0, "x"))
    it = explain(y)
    assert read(formula.expression(y, it.names)) == pytest.approx(y.data, rel=1e-14)
    (term,) = [term for step in it.steps for term in step.terms if term.input.label == "x"]
    assert read(term.formula) == pytest.approx(term.local_grad, rel=1e-14)


@pytest.mark.parametrize(
    ("x", "text"),
    [
        (9999999.0, "9999999"), (1e7, "1e+07"), (-1e7, "-1e+07"), (0.0, "0"), (-0.0, "0"), (2.5, "2.5"), (123456.5, "1.235e+05"),
        (1e-9, "1e-09"), (math.inf, "inf"), (math.nan, "nan"),
    ],
)  # fmt: skip
def test_numbers_are_short(x, text):
    assert format_number(x) == text


X, Y, Z = map(typeset.verbatim, "xyz")
NUMBER, QUOTIENT = typeset.Formula(factor=-3.0), typeset.fill("{}/{}", X, Y, level=typeset.QUOTIENT)


@pytest.mark.parametrize(
    "written, text",
    [
        (typeset.add([X, typeset.Formula(factor=0.0)]), "x + 0"),
        (typeset.Formula(factor=1.2345678), "1.2345678"),
        (typeset.Formula(factor=-1 / 3), "−1/3"),
        (typeset.Formula(factor=0.0123456789), "0.0123456789"),
        (typeset.add([X.times(-1.0), NUMBER, Y, Z.times(-2.0)]), "y − x − 2z − 3"),
        (typeset.add([X.times(-1.0), Y.times(-2.0)]), "−x − 2y"),
        (typeset.add([typeset.multiply([X, Y]), Z]), "x ⊙ y + z"),
        (typeset.multiply([typeset.add([X, Y]), Z], " "), "(x + y) z"),
        (typeset.multiply([typeset.add([X, Y]), Z]), "(x + y) ⊙ z"),
        (typeset.multiply([typeset.multiply([X, Y]), Z], " "), "(x ⊙ y) z"),
        (typeset.multiply([typeset.multiply([X, Y], " "), Z]), "(x y) ⊙ z"),
        (typeset.multiply([QUOTIENT, Z]), "x/y ⊙ z"),
        (typeset.multiply([QUOTIENT, Z], " "), "(x/y) z"),
        (typeset.multiply([X.times(-2.0), Y.times(3.0)]), "−6 x ⊙ y"),
        (typeset.multiply([NUMBER, X]), "−3 x"),
        (typeset.power(NUMBER, Z), "(−3)^z"),
        (typeset.power(typeset.Formula(factor=1 / 3), Z), "(1/3)^z"),
        (typeset.power(typeset.Formula(factor=3.0), Z), "3^z"),
        (typeset.power(typeset.multiply([X, Y]), Z), "(x ⊙ y)^z"),
    ],
)
def test_signs_stand_between_terms_and_brackets_where_they_are_needed(written, text):
    assert str(written) == text
