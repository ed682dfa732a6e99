"""The assertions pass where they should, and where they fail they say what was expected, got, and of which edge."""

import importlib
import importlib.util
import math
import operator
import os
import subprocess
import sys

import pytest
from optional import optional

from microgradlike import Value, affine, check_gradients, finite_differences, nn, operation
from microgradlike.course.engine import FirstValue, as_value, topological_order
from microgradlike.testing import (
    EXPRESSIONS,
    POINTS,
    assert_chain_rule,
    assert_gradients,
    assert_grads,
    assert_local_grads,
    assert_same_gradients,
)


@pytest.fixture
def a():
    return Value(2.0, "a")


@pytest.fixture
def b():
    return Value(3.0, "b")


def message(assertion, *args, **kwargs):
    with pytest.raises(AssertionError) as failure:
        assertion(*args, **kwargs)
    return str(failure.value)


def test_the_example_in_the_docstring(a, b):
    y = a * b
    assert_local_grads(y, [3.0, 2.0])
    y.backward()
    assert_grads({a: 3.0, b: 2.0})
    assert_gradients(lambda: a * b, [a, b])


def test_assert_local_grads_names_the_edge(a, b):
    assert message(assert_local_grads, a * b, [3.0, 2.1]).splitlines() == [
        "the local derivatives of v₁ = a·b are not as expected",
        "           got  expected",
        "  ∂₁v₁  b    3         3",
        "  ∂₂v₁  a    2       2.1  ← off by -0.1 (-4.76 %)",
    ]
    assert_local_grads(a * b, [3.0, 2.1], rel=0.1)
    assert_local_grads(a * b, [3.0, 2.1], abs=0.2)
    assert "∂₄v₁" in message(assert_local_grads, affine([a, 2], [b, -1], 1.5), [3, 2, 1, 0, 1])
    assert "3 local derivatives were expected of a node with 2 inputs" in message(assert_local_grads, a * b, [1, 2, 3])
    assert_local_grads(a, [])


def test_assert_local_grads_knows_nan_and_inf(a):
    assert_local_grads(Value(0.0).log(), [float("inf")])
    assert_local_grads(Value(-8.0) ** 0.5, [float("nan"), float("nan")])
    assert "not a finite number" in message(assert_local_grads, Value(0.0).log(), [1.0])


@pytest.mark.parametrize("got", [math.nan, math.inf, -math.inf, 0.0, 1.0])
@pytest.mark.parametrize("expected", [math.nan, math.inf, -math.inf, 0.0, 1.0])
def test_what_is_not_finite_is_as_expected_only_if_it_is_the_same(a, got, expected):
    a.grad = got
    if repr(got) == repr(expected):
        assert_grads({a: expected})
    else:
        assert "a.grad" in message(assert_grads, {a: expected})


def test_assert_grads_says_what_is_not_computed(a, b):
    y = a * b
    text = message(assert_grads, {a: 3.0, b: 2.0})
    assert text.count("← not computed: call backward() first") == 2
    y.backward()
    assert_grads({a: 3.0, b: 2.0, y: 1.0})
    text = message(assert_grads, {a: 3.0, b: -2.0})
    assert "b.grad    2        -2  ← off by its sign" in text
    assert "a.grad    3         3\n" in text


def test_assert_gradients_shows_the_report(a):
    cube = operation("cube", lambda xp, x: x * x * x, lambda xp, y, x: 3.003 * x * x)
    text = message(assert_gradients, lambda: cube(a), [a])
    for part in ("the gradients are wrong", "cube: the local derivative ∂₁v₁ is wrong", "test_testing.py:", "+0.1 %"):
        assert part in text


def test_assert_same_gradients(a, b):
    a.grad = 5.0
    assert_same_gradients(lambda: (a + b) ** 2, lambda: a * a + 2 * a * b + b * b, [a, b])
    assert a.grad == 5.0 and not b.has_grad
    assert message(assert_same_gradients, lambda: (a - b) ** 2, lambda: a * a + b * b, [a, b]).splitlines() == [
        "f() and g() are not the same",
        "         f()  g()",
        "  value    1   13  ← off by -12 (-92.3 %)",
        "  ∂/∂a    -2    4  ← off by -6 (-150 %)",
        "  ∂/∂b     2    6  ← off by -4 (-66.7 %)",
    ]


def test_under_pytest_the_failure_shows_the_users_line_and_not_ours(tmp_path):
    (tmp_path / "test_mine.py").write_text(
        "from microgradlike import Value\n"
        "from microgradlike.testing import assert_grads, assert_gradients, assert_local_grads\n"
        "def test_product():\n"
        "    a = Value(2.0, 'a')\n"
        "    assert_local_grads(a * a, [2.0, 2.5])\n",
        encoding="utf-8",
    )
    run = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(tmp_path)],
        capture_output=True, text=True, encoding="utf-8", check=False, cwd=tmp_path, env={**os.environ, "PYTHONUTF8": "1"},
    )  # fmt: skip
    assert run.returncode == 1
    assert ">       assert_local_grads(a * a, [2.0, 2.5])" in run.stdout
    assert "∂₂v₁  a    2       2.5  ← off by -0.5 (-20 %)" in run.stdout
    assert "_assert_close" not in run.stdout


def test_the_keys_are_values():
    with pytest.raises(TypeError, match=r"one of these is a float: 3\.0"):
        assert_grads({3.0: 1})


# ── Values of another class ────────────────────────────────────────────────────────────────────


class Mine:
    """An engine of one's own: products and sums, and a fault that can be switched on."""

    factor = 1.0

    def __init__(self, data, edges=()):
        self.data, self.grad, self.edges = data, 0.0, edges

    def __add__(self, other):
        return Mine(self.data + other.data, [(self, 1.0), (other, 1.0)])

    def __mul__(self, other):
        return Mine(self.data * other.data, [(self, other.data * self.factor), (other, self.data)])

    def backward(self, upstream=1.0):
        self.grad += upstream
        for input, local_grad in self.edges:
            input.backward(upstream * local_grad)


def reloaded():
    """microgradlike.value as a second run of its file makes it, as after a reload in a notebook."""
    spec = importlib.util.find_spec("microgradlike.value")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.Value


@pytest.mark.parametrize("make", [Mine, optional("micrograd.engine").Value, reloaded()])
def test_the_assertions_accept_any_class_with_data_grad_and_backward(make, monkeypatch):
    a, b = make(2.0), make(-3.0)
    a.grad = 7.0
    assert_gradients(lambda: a * b + a * a, [a, b])
    assert_same_gradients(lambda: (a + b) * (a + b), lambda: a * a + a * b + a * b + b * b, [a, b])
    assert (a.data, b.data, a.grad, float(b.grad)) == (2.0, -3.0, 7.0, 0.0)
    a.grad = 0.0
    (a * b).backward()
    assert_grads({a: -3.0, b: 2.0})
    text = message(assert_grads, {a: -3.0, b: 2.5})
    assert "v₁.grad   -3        -3\n" in text and "v₂.grad    2       2.5  ← off by -0.5 (-20 %)" in text
    a.label = "a"
    assert "∂/∂a" in message(assert_same_gradients, lambda: a * b, lambda: a + b, [a, b])
    for factor, offset in ((1e-3, 1e9), (1e-12, 0.0), (1e9, 0.0), (1.0, 1e12)):
        assert_gradients(lambda f=factor, o=offset: make(f) * a * a + make(o), [a])  # rounding grows with the sum
    c, old = make(a.data), a * b
    text = message(assert_gradients, lambda: a * b + old, [a, b])  # only a part of it is recorded anew
    assert "the gradients are wrong\n" in text and "backward()  differences" in text and "∂C/∂a" in text
    assert_gradients(lambda: c * c, [c])
    if make is Mine:
        monkeypatch.setattr(Mine, "factor", 1.001)
        assert message(assert_gradients, lambda: a * b, [a, b]).count("← off by") == 1
    with pytest.raises(TypeError, match="one of these is a float"):
        assert_gradients(lambda: a * b, [a, 1.0])


@pytest.mark.parametrize("text", [text for text in EXPRESSIONS if "where" not in text])
def test_the_expressions_of_assert_chain_rule_are_what_they_say(text):
    for a, b in POINTS:
        a = Value(abs(a) if "log" in text or "0.5" in text else a)
        assert EXPRESSIONS[text](a, Value(b)).data == eval(text, {"a": a, "b": Value(b)}).data


@pytest.mark.parametrize(
    "fail",
    [
        lambda a: assert_grads({a: 7.0}),
        lambda a: assert_local_grads(a * a, [1.0, 2.0]),
        lambda a: assert_same_gradients(lambda: a * 2.0, lambda: a * 3.0, [a]),
        lambda a: assert_gradients(lambda: a * a.data, [a]),
        lambda a: assert_chain_rule(Mine, ["a + b", "a / b"]),
    ],
)
def test_where_an_assertion_fails_pytest_shows_the_line_of_the_test(fail, a):
    with pytest.raises(AssertionError) as failed:
        fail(a)
    assert str(failed.traceback.filter(failed)[-1].path) == __file__


@pytest.mark.parametrize("compare", [operator.lt, operator.le, operator.gt, operator.ge])
def test_values_of_two_runs_of_the_module_are_not_compared(compare):
    a, b = Value(2.0), reloaded()(3.0)
    for pair in ((a, b), (b, a)):
        with pytest.raises(TypeError, match="another class than microgradlike's Value"):
            compare(*pair)

    class Kind(Value):
        pass

    assert compare(Value(1.0), Kind(2.0)) is compare(Kind(1.0), Value(2.0)) is compare(1.0, 2.0)


def test_two_classes_in_one_check_are_told_apart(a):
    other = Mine(2.0)
    for check in (check_gradients, finite_differences):
        with pytest.raises(TypeError, match=r"Mine of the module .* is another class than microgradlike's Value"):
            check(lambda: other * other, [other])
    with pytest.raises(TypeError, match=r"Mine of the module .* is another class"):
        check_gradients(lambda: other * other, [a])


def test_a_loss_in_place_of_a_function(a, b):
    for f, g in [(a * b, lambda: a), (lambda: a, a * b)]:
        with pytest.raises(
            TypeError, match=r"write assert_same_gradients\(lambda: .*, lambda: .*, values\), got Value"
        ):
            assert_same_gradients(f, g, [a])
    with pytest.raises(TypeError, match=r"write assert_gradients\(lambda: loss\(model\(x\), y\), values\), got Value"):
        assert_gradients(a * b, [a])


def test_a_network_in_place_of_its_parameters():
    model = nn.MLP(1, [1], seed=0)
    with pytest.raises(TypeError, match=r"write \.parameters\(\) behind the MLP"):
        assert_gradients(lambda: model([1.0]), model)


# ── A class as a whole ─────────────────────────────────────────────────────────────────────────


def made(value, inputs, local_grads):
    return FirstValue(value, inputs, local_grads)


def backward_by(hand_on, order=topological_order):
    """FirstValue.backward with another way to add, or another order."""

    def backward(self):
        nodes = order(self)
        for node in nodes:
            node.grad = 0.0 if node.inputs else node.grad
        self.grad += 1.0
        for node in reversed(nodes):
            for input, local_grad in zip(node.inputs, node.local_grads):
                input.grad = hand_on(input.grad, node.grad * local_grad)

    return backward


def as_met(root, seen=None):
    """The nodes as one meets them first, which is no topological order."""
    seen = seen or [root]
    for input in root.inputs:
        if input not in seen:
            seen.append(input)
            as_met(input, seen)
    return [*reversed(seen)] if seen[0] is root else seen


FAULTS = {  # a method of an engine, a wrong one in its place, what is said of it
    "a forgotten operand": ("__add__", lambda a, b: made(a.data + as_value(b).data, (a,), (1.0,)),
        "a + b, at a = 2, b = -3: backward() gives b the gradient 0, and it should be 1: off by -1 (-100 %)."),
    "a wrong value": ("__mul__", lambda a, b: made(a.data + as_value(b).data, (a,), (1.0,)),
        "a * b, at a = 2, b = -3: its value is -1, and should be -6."),
    "swapped factors": ("__mul__", lambda a, b: made(a.data * as_value(b).data, (a, as_value(b)), (a.data, as_value(b).data)),
        "a * b, at a = 2, b = -3: backward() gives a the gradient 2, and it should be -3: off by +5 (+167 %)."),
    "reflected minus is minus": ("__rsub__", FirstValue.__sub__,
        "2 - a, at a = 2: backward() gives a the gradient 1, and it should be -1: off by its sign."),
    "reflected division is division": ("__rtruediv__", FirstValue.__truediv__,
        "2 / a, at a = 2: backward() gives a the gradient 0.5, and it should be -0.5: off by its sign."),
    "no reflected operator": ("__rtruediv__", lambda a, b: NotImplemented,
        "2 / a raises TypeError: unsupported operand type(s) for /: 'int' and 'FirstValue'. "
        "Python asks the number first, which knows no FirstValue, and then a.__rtruediv__."),
    "no plain numbers": ("__add__", lambda a, b: made(a.data + b.data, (a, b), (1.0, 1.0)),
        "a + 2 raises AttributeError: 'int' object has no attribute 'data'. An operand may be a plain number, such as 2."),
    "a float": ("__neg__", lambda a: -a.data, "-a gives float: -2.0, which has no backward()."),
    "a missing return": ("__neg__", lambda a: None, "-a gives NoneType: None, which has no backward()."),
    "a power without its factor": ("__pow__", lambda a, n: made(a.data**n, (a,), (a.data ** (n - 1),)),
        "a ** 2, at a = 2: backward() gives a the gradient 2, and it should be 4: off by -2 (-50 %)."),
    "a power that is a square": ("__pow__", lambda a, n: made(a.data**n, (a,), (2 * a.data,)),
        "a ** 3, at a = 2: backward() gives a the gradient 4, and it should be 12: off by -8 (-66.7 %)."),
    "tanh of x in place of y": ("tanh", lambda a: made(math.tanh(a.data), (a,), (1 - a.data**2,)),
        "a.tanh(), at a = 2: backward() gives a the gradient -3, and it should be 0.0706508: off by -3.07 (-4.35e+03 %)."),
    "relu on one side only": ("relu", lambda a: made(a.data, (a,), (1.0,)),
        "a.relu(), at a = -0.5: its value is -0.5, and should be 0."),
    "relu that lets all pass": ("relu", lambda a: made(max(a.data, 0), (a,), (1.0,)),
        "a.relu(), at a = -0.5: backward() gives a the gradient 1, and it should be 0: off by +1."),
    "= for +=": ("backward", backward_by(lambda old, new: new),
        "a + a, at a = 2: backward() gives a the gradient 1, and it should be 2: off by -1 (-50 %). "
        "a is used twice, and both parts add up: +=, not =."),
    "another order": ("backward", backward_by(lambda old, new: old + new, as_met),
        "c + c * 2, where c = a * b, at a = 2, b = -3: backward() gives a the gradient -3, and it should be -9: off by +6 (+66.7 %). "
        "c is used twice: it may hand on its gradient only when both parts have arrived."),
    "the seed is forgotten": ("backward", lambda self: None,
        "a + b, at a = 2, b = -3: backward() gives a the gradient 0, and it should be 1: off by -1 (-100 %)."),
    "no gradient": ("backward", lambda self: [setattr(node, "grad", None) for node in topological_order(self)],
        "a + b, at a = 2, b = -3: backward() gives a no gradient, and it should be 1."),
}  # fmt: skip


@pytest.mark.parametrize(("method", "wrong", "said"), FAULTS.values(), ids=FAULTS)
def test_assert_chain_rule_names_the_operation_and_the_input(method, wrong, said, monkeypatch):
    assert_chain_rule(FirstValue)
    monkeypatch.setattr(FirstValue, method, wrong)
    if method in ("__add__", "__mul__"):
        monkeypatch.setattr(FirstValue, "__r" + method[2:], wrong)
    assert message(assert_chain_rule, FirstValue) == said


@pytest.mark.parametrize(
    "fault", ["a power without its factor", "tanh of x in place of y", "= for +=", "swapped factors"]
)
def test_assert_gradients_names_the_operation_of_another_class(fault, monkeypatch):
    x = FirstValue(2.0)
    assert_gradients(lambda: (x**2).tanh() / 9 + x * x, [x])
    method, wrong, said = FAULTS[fault]
    monkeypatch.setattr(FirstValue, method, wrong)
    text = message(assert_gradients, lambda: (x**3 / 9).tanh() * x + x * x, [x])
    assert text.splitlines()[0] == "the gradients are wrong"
    assert text.splitlines()[-1] == said


@pytest.mark.parametrize("part", ["value", "gradient"])
@pytest.mark.parametrize("off", [0.9e-9, -0.9e-9, 1.1e-9, -1.1e-9])
def test_assert_chain_rule_allows_a_billionth(part, off, monkeypatch):
    def times(a, b):
        at, near = (1.0 + off, 1.0) if part == "value" else (1.0, 1.0 + off)
        return made(a.data * b.data * at, (a, b), (b.data * near, a.data * near))

    monkeypatch.setattr(FirstValue, "__mul__", times)
    if abs(off) < 1e-9:
        assert_chain_rule(FirstValue, ["a * b"])
    else:
        assert "a * b, at a = 2, b = -3" in message(assert_chain_rule, FirstValue, ["a * b"])


@pytest.mark.parametrize("make", [Value, FirstValue, optional("micrograd.engine").Value, reloaded()])
def test_assert_chain_rule_accepts_what_is_right(make):
    assert_chain_rule(make)
    assert_chain_rule(make, ["a + a", "2 - a"])


def test_of_a_class_that_is_not_whole_the_rest_is_judged():
    assert_chain_rule(Mine, ["a + b", "a * b", "a * a", "a * b + a"])
    assert "2 - a raises TypeError" in message(assert_chain_rule, Mine, ["2 - a"])
    with pytest.raises(ValueError, match=r"expected some of a \+ b, a \+ 2, .*; got a % b"):
        assert_chain_rule(Mine, ["a % b"])


def test_where_each_operation_is_right_a_failure_lists_them(monkeypatch):
    a, b = Mine(2.0), Mine(3.0)
    old = a * b
    text = message(assert_gradients, lambda: a * b + old, [a, b])
    assert text.splitlines()[-1].startswith("Right by themselves: a + b; a * b; a + a; a * a; a * b + a; ")


def test_assert_local_grads_of_another_class():
    a, b = FirstValue(2.0), FirstValue(3.0)
    assert_local_grads(a * b, [3.0, 2.0])
    assert message(assert_local_grads, a * b, [2.0, 2.0]).splitlines() == [
        "the local derivatives of v₁ are not as expected",
        "        got  expected",
        "  ∂₁v₁    3         2  ← off by +1 (+50 %)",
        "  ∂₂v₁    2         2",
    ]
