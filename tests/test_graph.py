"""gradient() and its derivatives, jvp(), and names, against mpmath and against backward()."""

import math
from math import inf, nan

import pytest
from hypothesis import given
from hypothesis import strategies as st
from optional import optional
from oracles import TABLE

from microgradlike import (
    Value,
    affine,
    constant,
    dot,
    gradient,
    jvp,
    log_softmax,
    logsumexp,
    maximum,
    maxout,
    minimum,
    ops,
    recording,
    softmax,
    topological_order,
)
from microgradlike import sum as sum_of
from microgradlike.graph import jvps
from microgradlike.notation.names import node_names
from microgradlike.primitive import Operation
from microgradlike.recording import full_order
from microgradlike.value import apply
from microgradlike.view.changes import change_note, changed_data

mp, mpf = optional("mpmath").mp, optional("mpmath").mpf


def sigmoid(x):
    return 1 / (1 + mp.exp(-x))


SMOOTH = {  # name: (ours, mpmath's, points)
    "neg, add, sub": (lambda x: 3 - (-x + x * 2), lambda x: 3 - x, [0.7]),
    "exp": (Value.exp, mp.exp, [-3.0, 0.0, 2.5]),
    "expm1": (lambda x: apply(ops.EXPM1, x), mp.expm1, [-3.0, 1e-9, 2.5]),
    "log": (Value.log, mp.log, [0.3, 1.0, 8.0]),
    "log1p": (lambda x: apply(ops.LOG1P, x), mp.log1p, [-0.6, 1e-9, 8.0]),
    "sqrt": (Value.sqrt, mp.sqrt, [0.3, 1.0, 8.0]),
    "sin": (Value.sin, mp.sin, [-2.0, 0.0, 0.9]),
    "cos": (Value.cos, mp.cos, [-2.0, 0.0, 0.9]),
    "sigmoid": (Value.sigmoid, sigmoid, [-30.0, -2.0, 0.0, 1.3, 30.0]),
    "tanh": (Value.tanh, mp.tanh, [-12.0, -0.4, 0.0, 1.3, 12.0]),
    "softplus": (Value.softplus, lambda x: mp.log(1 + mp.exp(x)), [-30.0, -2.0, 0.0, 1.3, 30.0]),
    "elu, left": (Value.elu, mp.expm1, [-3.0, -0.1]),
    "elu, right": (lambda x: x.elu(0.3), lambda x: x, [0.1, 3.0]),
    "abs, left": (abs, lambda x: -x, [-3.0]),
    "relu, right": (Value.relu, lambda x: x, [3.0]),
    "leaky_relu, left": (Value.leaky_relu, lambda x: mpf(0.1) * x, [-3.0]),
    "x³": (lambda x: x**3, lambda x: x**3, [-2.0, 0.0, 1.5]),
    "x^−½": (lambda x: x**-0.5, lambda x: x**-0.5, [0.3, 2.0]),
    "2ˣ": (lambda x: 2**x, lambda x: mpf(2) ** x, [-1.0, 0.0, 3.0]),
    "xˣ": (lambda x: x**x, lambda x: x**x, [0.3, 2.0]),
    "1/x": (lambda x: 1 / x, lambda x: 1 / x, [-0.5, 3.0]),
    "x·sin x": (lambda x: x * x.sin(), lambda x: x * mp.sin(x), [-2.0, 0.0, 0.9]),
    "sigmoid of tanh": (lambda x: x.tanh().sigmoid(), lambda x: sigmoid(mp.tanh(x)), [0.4]),
    "logsumexp": (
        lambda x: logsumexp([x, 2 * x, 0.5]),
        lambda x: mp.log(mp.exp(x) + mp.exp(2 * x) + mp.exp(0.5)),
        [-1.0, 0.3],
    ),
    "softmax": (lambda x: softmax([x, 1.0, x * x])[0], lambda x: mp.exp(x) / (mp.exp(x) + mp.e + mp.exp(x * x)), [0.3]),
    "log_softmax": (lambda x: log_softmax([x, 1.0])[0], lambda x: -mp.log(1 + mp.exp(1 - x)), [-2.0, 0.3]),
    "affine": (lambda x: affine([x, x], [x, 3], x), lambda x: x * x + 4 * x, [1.5]),
    "dot": (lambda x: dot([x, x], [x * x, 3]), lambda x: x**3 + 3 * x, [1.5]),
    "sum": (lambda x: sum_of([x, x * x, x**3]), lambda x: x + x * x + x**3, [1.5]),
    "max": (lambda x: maximum(x * x, maxout([x, x**3, 1.0])), lambda x: x**3, [1.5]),
    "min": (lambda x: minimum(x * x, x**3), lambda x: x**2, [1.5]),
}


@pytest.mark.parametrize(
    ("f", "oracle", "point"),
    [
        pytest.param(f, oracle, point, id=f"{name} at {point}")
        for name, (f, oracle, ps) in SMOOTH.items()
        for point in ps
    ],
)
def test_four_derivatives(f, oracle, point):
    """Each to 12 digits; where its terms cancel, of the derivative before it."""
    with mp.workdps(100):
        exact = [float(mp.diff(oracle, mpf(point), n)) for n in range(5)]
    x = Value(point)
    derivative = f(x)
    for order in range(1, 5):
        (derivative,) = gradient(derivative, [x])
        scale = abs(exact[order]) if order == 1 else max(abs(exact[order]), min(abs(exact[order - 1]), 1.0))
        assert derivative.data == pytest.approx(exact[order], rel=0, abs=1e-12 * scale + 1e-90), f"order {order}"
    assert not x.has_grad


def test_every_operation_is_among_them():
    recorded = {
        recording.WHERE.name,
        ops.LEAF.name,
        ops.CONSTANT.name,
    }  # that of a Choice, for others than the scalar engine
    for f, _, points in SMOOTH.values():
        x = Value(points[0])
        for output in (f(x), *gradient(f(x), [x])):
            recorded |= {node.op.name for node in full_order(output)}
    families = {name for name, value in vars(ops).items() if hasattr(value, "cache_info")}
    assert recorded == families | {
        row.name for row in (vars(ops) | vars(recording)).values() if isinstance(row, Operation)
    }


def test_mixed_partial_derivatives():
    def f(a, b):
        return a**b / (a + b).log() - (a * b).sigmoid()

    def exact(a, b):
        return a**b / mp.log(a + b) - sigmoid(a * b)

    x = [Value(1.3), Value(0.7)]
    with mp.workdps(60):
        for i, first in enumerate(gradient(f(*x), x)):
            for j, second in enumerate(gradient(first, x)):
                orders = [0, 0]
                orders[i] += 1
                orders[j] += 1
                assert second.data == pytest.approx(float(mp.diff(exact, (1.3, 0.7), tuple(orders))), rel=1e-13)


def network():
    """A small graph with shared nodes of many kinds."""
    x = [Value(0.5), Value(-1.25), Value(2.0)]
    h = affine(x, [1.5, x[0], -0.5], x[2]).tanh()
    g = maxout([h, x[1] * h, x[0]]) + logsumexp([x[0], h, x[2]])
    output = (g * h - x[1] / x[2]) ** 2 + minimum(g, x[2]).softplus() + abs(x[1]) * 3
    return x, h, g, output


def test_gradient_and_jvp_equal_backward():
    x, h, g, output = network()
    nodes = [*x, h, g]
    derivatives = [d.data for d in gradient(output, nodes)]
    pushed = [jvp(output, {v: 1.0}) for v in nodes]
    assert all(not v.has_grad for v in topological_order(output))
    output.backward()
    assert derivatives == pytest.approx([v.grad for v in nodes], rel=1e-14)
    assert pushed == pytest.approx([v.grad for v in nodes], rel=1e-14)
    along = jvp(output, dict(zip(nodes, (1.0, -2.0, 0.5, 3, 0), strict=True)))
    assert along == pytest.approx(x[0].grad - 2 * x[1].grad + 0.5 * x[2].grad + 3 * h.grad, rel=1e-14)
    directions = [{v: 1.0} for v in nodes]
    assert jvps(output, directions) == pushed


def test_a_gradient_can_be_differentiated_by_backward():
    x = Value(3.0)
    (slope,) = gradient(x**4, [x])
    slope.backward()
    assert (slope.data, x.grad) == (108.0, 108.0)


def test_gradient_of_what_does_not_depend_or_is_itself():
    x, y = Value(3.0), Value(2.0)
    assert [g.data for g in gradient(x * 2, [x, y])] == [2.0, 0.0]
    assert gradient(x, [x])[0].data == 1.0
    assert gradient(constant(5.0), [x])[0].data == 0.0
    assert gradient(x * y, []) == []
    node = x * y
    assert gradient(node, [node, node, x]) == [1.0, 1.0, 2.0]
    assert (jvp(x * 2, {y: 1.0}), jvp(x * 2, {}), jvp(x, {x: 4}), jvp(x * 2, {x: 1, y: 5})) == (0.0, 0.0, 4.0, 2.0)


def test_the_derivative_by_an_exponent_that_is_zero():
    a, b = Value(2.0), Value(0.0)
    by_a, by_b = gradient(a**b, [a, b])
    assert (by_a.data, by_b.data) == (0.0, math.log(2.0))
    assert gradient(by_a, [b])[0].data == gradient(by_b, [a])[0].data == 0.5  # 1/a, in either order


def test_a_constant_in_between_needs_no_derivative():
    x = Value(-3.0)
    y = x**2  # ∂y/∂2 = x² log x does not exist here, and nobody asked
    (first,) = gradient(y, [x])
    (second,) = gradient(first, [x])
    assert (first.data, second.data) == (-6.0, 2.0)
    assert jvp(y, {x: 1.0}) == -6.0


@pytest.mark.parametrize(
    ("f", "before", "after"),
    [
        (lambda x: x * x, 3.0, 4.0),
        (lambda x: x**3, 2.0, -2.0),  # the first derivative is the same: only the value tells
        (lambda x: x.cos(), 2.0, -2.0),  # the value is the same: only the derivative tells
        (lambda x: x.exp() * 2, 1.0, 1.5),
        (lambda x: affine([x, 2], [x, 3], 1), 1.0, 2.0),
        (lambda x: x + 1, 1.0, nan),
        (lambda x: gradient(abs(x), [x])[0], 1.0, -2.0),  # only the choice of a branch tells
    ],
)
def test_gradient_refuses_to_mix_old_numbers_with_new(f, before, after):
    x = Value(before)
    y = f(x)
    x.data = after
    with pytest.raises(ValueError, match=r"data was changed after <operation \w+> was recorded.*record .* again"):
        gradient(y, [x])
    x.data = before
    gradient(y, [x])
    y.data += 1.0
    with pytest.raises(ValueError, match="changed"):
        gradient(y, [x])


def test_infinities_and_nans_are_not_taken_for_changes():
    for number in (inf, nan, 0.0):
        x = Value(number)
        for y in (x.log(), x.sqrt(), x * x, x.exp(), x.sin(), x / x):
            gradient(y, [x])


def test_jvp_takes_numbers_only():
    x = Value(1.0)
    with pytest.raises(TypeError, match="expected a real number"):
        jvp(x * 2, {x: "1"})


def test_deep_graphs_need_no_recursion():
    x = Value(1.0)
    y = x
    for _ in range(20_000):
        y = y * 1.0 + 0.0
    assert jvp(y, {x: 1.0}) == 1.0
    (slope,) = gradient(y, [x])
    assert slope.data == 1.0


def test_names():
    x, w = Value(2.0, label="x"), Value(3.0)
    y = w * x + 0.5
    y.label = "y"
    order = topological_order(y)
    assert [node_names(order)[v] for v in order] == ["0.5", "x", "v₁", "v₂", "y"]
    many = [Value(1.0) for _ in range(12)]
    assert node_names(many)[many[-1]] == "v₁₂"
    assert list(node_names([constant(1 / 3)]).values()) == ["0.333333333333333"]


def test_several_nodes_of_one_label_are_numbered_and_a_taken_name_is_left_out():
    a, b = Value(1.0, "h"), Value(2.0, "h")
    taken, unnamed = Value(3.0, "v₁"), Value(4.0)
    assert list(node_names([a, b, taken, unnamed, unnamed]).values()) == ["h⁽¹⁾", "h⁽²⁾", "v₁", "v₂"]
    assert list(node_names([a, b, Value(0.0, "h⁽¹⁾")]).values()) == ["h⁽²⁾", "h⁽³⁾", "h⁽¹⁾"]
    assert list(node_names([a, b, b + a]).values()) == ["h⁽¹⁾", "h⁽²⁾", "v₁"]  # as given, not as used


@given(st.lists(st.sampled_from(["", "", "L", "v₁", "w", "w⁽¹⁾", "L⁽¹⁾"]), min_size=1, max_size=8), st.data())
def test_each_node_has_a_name_of_its_own(labels, data):
    nodes = [Value(0.0, label) for label in labels]
    root = data.draw(st.sampled_from(nodes))
    found = node_names(nodes, root)
    assert list(found) == nodes and len(set(found.values())) == len(nodes)
    assert [v for v in nodes if labels.count(v.label) == 1 and v.label] == [v for v in nodes if found[v] == v.label]
    called = [v for v in nodes if found[v] == "L"]
    assert called == ([v for v in nodes if v.label == "L"] or [root] * (not root.label))[: labels.count("L") < 2]


def kept(node):
    """The inputs whose number is one of the local derivatives, by their text."""
    place = dict(zip(node.op.operand_names(len(node.inputs)), node.inputs, strict=True))
    return [place[text] for text in node.op.local_grad_formulas(len(node.inputs)) if text in place]


@pytest.mark.parametrize("row", TABLE, ids=str)
@pytest.mark.parametrize(
    "others", [Value, constant, lambda x: Value(x) + 0.0], ids=["leaves", "constants", "inner nodes"]
)
def test_a_number_changed_after_the_recording_is_found_with_what_it_was(row, others):
    for point in [*row.points[:20], *(point for point, _ in row.kinks)]:
        for i, old in enumerate(point):
            inputs = list(map(others, point))
            inner = bool(inputs[i].inputs)
            x = inputs[i] = inputs[i] if inner else Value(old)
            node = apply(row.op, *inputs)
            assert changed_data([node]) == {}
            for new in (nan, inf, -3.5, 0.0):
                x.data = new
                now = apply(row.op, *inputs)
                found = changed_data([node])
                if (now.data, *now.local_grads) == pytest.approx(
                    (node.data, *node.local_grads), rel=0, abs=0, nan_ok=True
                ):
                    assert found == {}  # its own numbers are what they were
                elif x in kept(node):
                    assert found == {x: old}
                elif inner:
                    assert found == {node: None}
                else:
                    leaves = [v for v in inputs if v.op is ops.LEAF and v not in kept(node)]
                    assert found == dict.fromkeys([*leaves, x])


@pytest.mark.parametrize("n", [1, 2, 3, 4, 5, 6])
def test_a_note_names_four_changed_numbers_or_three_and_how_many_more(n):
    values = [Value(float(i), f"x{i}") for i in range(n)]
    note = change_note(dict.fromkeys(values, 7.0), node_names(values))
    assert note.count(" was 7 and is ") == (n if n <= 4 else 3)
    assert (f"and {n - 3} more: " in note) == (n > 4) and "not kept" not in note
    lost = change_note(dict.fromkeys(values), node_names(values))
    assert " was " not in lost and lost.count(" is ") == (n if n <= 4 else 3)
    listed = ", ".join(f"x{i}" for i in range(min(n, 4))) + " …" * (n > 4)
    assert lost.endswith(f", but for that of {listed}, which it has not kept.")
    assert change_note({}, {}) == ""


def test_topological_order_of_a_graph_with_many_paths():
    *_, output = network()
    order = topological_order(output)
    place = {v: i for i, v in enumerate(order)}
    assert len(place) == len(order) and order[-1] is output
    assert all(place[input] < place[v] for v in order for input in v.inputs)
    assert [v.data for v in topological_order(network()[-1])] == [v.data for v in order]  # the same every time
    assert math.isfinite(output.data)


x, y = Value(2.0, "x"), Value(3.0, "y")


@pytest.mark.parametrize(
    ("mistake", "message"),
    [
        (lambda: gradient(x * y, x), r"a list of Values is expected: write \[v\]"),
        (lambda: gradient(x * y, [3.0]), "one of these is a float: 3.0"),
        (lambda: gradient(3.0, [x]), "expected the Value to start from, such as a loss, got float: 3.0"),
        (lambda: topological_order([x]), "expected the Value to start from, such as a loss, got list"),
        (lambda: jvp(3.0, {}), "expected the Value to start from"),
        (lambda: jvp(x * y, {2.0: 1.0}), "one of these is a float: 2.0"),
        (lambda: jvp(x * y, [1.0, 0.0]), "a number for each Value that moves, as in {x: 1.0}"),
        (lambda: jvp(x * y, {x: y}), "write x.data for its number"),
    ],
)
def test_mistakes_are_explained(mistake, message):
    with pytest.raises(TypeError, match=message):
        mistake()
