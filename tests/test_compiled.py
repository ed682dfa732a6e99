"""The methods of Value with a row's rules written out: the same as those in the class, and made of the row alone."""

import inspect
import linecache
import math
import random
import traceback
from itertools import product

import pytest
from oracles import broken, compiled_anew

import microgradlike
from microgradlike import Value, affine, dot, logsumexp, maxout, ops, value
from microgradlike.ieee import ieee
from microgradlike.primitive import Operation
from microgradlike.support import compiled

METHODS = [name for name, method in vars(Value).items() if hasattr(method, "__wrapped__")]
BINARY = [name for name in METHODS if len(inspect.signature(getattr(Value, name)).parameters) == 2]
EDGES = [
    0.0, -0.0, 0.5, -0.5, 1.0, -1.0, 2.0, 3.0, -8.0, 1 / 3, 1e-320, -1e-300, 1e-17, 30.0, -40.0, 709.0, 710.0, -746.0,
    1e16, -1e200, 1e308, math.inf, -math.inf, math.nan,
]  # fmt: skip


def recorded(node):
    """All that a node holds, to the bit."""
    numbers = (node.data, *node.local_grads)
    return node.op, [(type(x), str(x)) for x in numbers], [(x.op, str(x.data)) for x in node.inputs], node.label


def test_every_row_of_one_operand_or_two_that_has_a_method_is_written_out():
    plain = [
        name
        for name, method in vars(Value).items()
        if inspect.isfunction(method) and {"unary", "binary"} & set(method.__code__.co_names) and name not in METHODS
    ]
    assert plain == ["leaky_relu", "elu"]  # whose rows have a parameter
    assert len(METHODS) == 23


@pytest.mark.parametrize("name", METHODS)
def test_a_method_records_what_the_one_in_the_class_does(name):
    method, written = getattr(Value, name), getattr(Value, name).__wrapped__
    rng = random.Random(name)
    numbers = EDGES + [rng.gauss(0.0, 10.0 ** rng.randint(-3, 3)) for _ in range(30)]
    if name not in BINARY:
        for x in numbers:
            assert recorded(method(Value(x))) == recorded(written(Value(x)))
        return
    for x, y in product(numbers, repeat=2):
        a, b = Value(x), Value(y)
        assert recorded(method(a, b)) == recorded(written(a, b))
        assert recorded(method(a, y)) == recorded(written(a, y))
    for y in (0, 1, 2, -3, 10**400, -(10**400), True, "2", None, [1.0], 1j):
        results = []
        for each in (method, written):
            try:
                results.append(recorded(each(Value(0.3), y)))
            except TypeError as error:
                results.append(str(error))
        assert results[0] == results[1]


@pytest.mark.parametrize("name", BINARY)
def test_the_same_node_twice_a_subclass_and_a_node_of_another_operation_are_operands(name):
    class Parameter(Value):
        pass

    method, a = getattr(Value, name), Value(0.7)
    for x, y in (a, a), (a, Parameter(0.2)), (Parameter(0.2), a), (a * a, a.exp()):
        node = method(x, y)
        assert recorded(node) == recorded(method.__wrapped__(x, y))
        assert sorted(map(id, node.inputs)) == sorted(map(id, (x, y)))


@pytest.mark.parametrize("name", METHODS)
def test_a_row_that_changes_changes_the_method(name):
    def result():
        return getattr(Value, name)(Value(0.3), *[Value(0.4)] * (name in BINARY))

    right = result()
    op, value_rule, grads_rule = right.op, right.op.value, right.op.local_grads
    with broken(op, value=lambda xp, *x: 2.0 * value_rule(xp, *x)):
        assert result().data == 2.0 * right.data
    with broken(op, local_grads=lambda xp, y, *x: tuple(3.0 * d for d in grads_rule(xp, y, *x))):
        assert result().local_grads == tuple(3.0 * d for d in right.local_grads)
    assert recorded(result()) == recorded(right)


def test_a_rule_that_chooses_by_a_python_if_runs_as_it_is_written():
    def bent(xp, x):
        return x if x > 0 else 0.5 * x

    with broken(ops.RELU, value=bent):
        assert (Value(2.0).relu().data, Value(-2.0).relu().data) == (2.0, -1.0)
        assert not hasattr(Value.relu, "__wrapped__")
    assert hasattr(Value.relu, "__wrapped__")


def test_a_new_row_with_a_method_is_written_out(monkeypatch):
    silu = Operation(
        "silu", "SiLU", ("x",), "x / (1 + exp(-x))", lambda xp, x: x * xp.sigmoid(x), ("…",),
        lambda xp, y, x: (xp.sigmoid(x) * (1.0 + x - y),),
    )  # fmt: skip
    monkeypatch.setattr(ops, "SILU", silu, raising=False)
    monkeypatch.setattr(Value, "silu", lambda self: value.unary(ops.SILU, self), raising=False)
    with compiled_anew():
        node = Value(0.3).silu()
        assert hasattr(Value.silu, "__wrapped__")
        assert recorded(node) == recorded(Value.silu.__wrapped__(Value(0.3)))


def test_a_traceback_and_a_debugger_show_the_lines():
    lines, first = inspect.getsourcelines(Value.__mul__.__code__)
    assert lines[0] == "def __mul__(self, other):\n" and "    y = a * b" in "".join(lines)
    assert linecache.getline(compiled.FILE, first) == lines[0]
    try:
        Value(1.0) * "2"
    except TypeError as error:
        text = "".join(traceback.format_tb(error.__traceback__))
    assert "return binary(MUL, self, other)" in text


def test_a_method_keeps_its_name_its_docstring_and_its_signature():
    assert Value.tanh.__doc__ == "Return tanh(x) of this Value x; the local derivative is 1 - tanh(x)**2."
    for name in METHODS:
        method = getattr(Value, name)
        assert (method.__name__, method.__module__) == (name, "microgradlike.value")
        assert str(inspect.signature(method)).startswith("(self")


VECTORS = {
    "sum": lambda w, x, b: microgradlike.sum([*w, *x, b]),
    "dot": lambda w, x, b: dot(w, x),
    "affine": affine,
    "maxout": lambda w, x, b: maxout([*w, *x, b]),
    "logsumexp": lambda w, x, b: logsumexp([*w, *x, b]),
}


@pytest.mark.parametrize("name", VECTORS)
def test_functions_of_vectors_record_what_apply_does(name):
    rng = random.Random(name)
    for n in (1, 2, 3, 7):
        for _ in range(30):
            w, x = ([Value(rng.choice([*EDGES, rng.gauss(0, 1)])) for _ in range(n)] for _ in range(2))
            b = Value(rng.gauss(0, 1))
            node = VECTORS[name](w, x, b)
            assert recorded(node) == recorded(value.apply(node.op, *node.inputs))
            mixed = VECTORS[name]([2.0, *w[1:]], [x[0].data, *x[1:]], 3)  # numbers among them become constants
            assert recorded(mixed) == recorded(value.apply(mixed.op, *mixed.inputs))


ROWS = [op for op in vars(ops).values() if isinstance(op, Operation) and op.operands]


@pytest.mark.parametrize("op", [*ROWS, ops.leaky_relu(0.1), ops.elu(2.0)], ids=lambda op: op.name)
def test_a_row_on_floats_computes_what_its_rules_do(op):
    rng = random.Random(op.name)
    for n in (1, 2, 3, 5, 16, 17) if op.n_ary else (len(op.operands),):
        n += op is ops.DOT and n % 2
        n += op is ops.AFFINE and n % 2 == 0
        for inputs in [(x,) * n for x in EDGES] + [tuple(rng.choices(EDGES, k=n)) for _ in range(200)]:
            y = op.evaluate(ieee, inputs)
            got = compiled.on_floats(op, n)(*inputs)
            assert [str(x) for x in got] == [str(float(x)) for x in (y, *op.differentiate(ieee, y, inputs))]
            assert all(type(x) is float for x in got)


def test_a_row_on_floats_that_changes_is_written_anew():
    assert compiled.on_floats(ops.SIN, 1)(0.0) == (0.0, 1.0)
    with broken(ops.SIN, value=lambda xp, x: x + 7.0):
        assert compiled.on_floats(ops.SIN, 1)(0.0) == (7.0, 1.0)
    assert compiled.on_floats(ops.SIN, 1)(0.0) == (0.0, 1.0)
