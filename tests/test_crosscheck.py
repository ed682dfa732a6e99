"""The table of agreement: exact where arithmetic is exact, within rounding where it is smooth, and able to fail."""

import ast
import inspect
import io
from dataclasses import replace
from fractions import Fraction
from itertools import pairwise
from random import Random

import numpy as np
import pytest
from oracles import broken
from rich.console import Console

import microgradlike.check.crosscheck as module
from microgradlike import Value, operation, topological_order
from microgradlike.check.crosscheck import agreement, random_network
from microgradlike.nn import LOSSES, MLP, Layer, cross_entropy, deltas, modules, quadratic
from microgradlike.primitive import flat
from microgradlike.support import extras

EPS = 2.0**-52
SMOOTH = ["linear", "sigmoid", "tanh", "elu", "softmax"]
ALL = [*SMOOTH, "relu", "leaky_relu", "maxout"]


def agreement_of_random_network(sizes, activation="tanh", loss="quadratic", seed=0, output=None):
    return agreement(loss, *random_network(sizes, activation, loss, seed, output))


# ── Bit for bit against exact rational arithmetic ──────────────────────────────────────────────


class Dual:
    """An exact number and its derivative along one direction: forward mode on fractions."""

    def __init__(self, value, slope=0):
        self.value, self.slope = Fraction(value), Fraction(slope)

    def __add__(self, other):
        return Dual(self.value + other.value, self.slope + other.slope)

    def __sub__(self, other):
        return Dual(self.value - other.value, self.slope - other.slope)

    def __mul__(self, other):
        return Dual(self.value * other.value, self.value * other.slope + self.slope * other.value)


def highest(duals):
    top = max(d.value for d in duals)
    tied = [d.slope for d in duals if d.value == top]
    return Dual(top, Fraction(sum(tied), len(tied)))


def positive(d):
    return d if d.value > 0 else Dual(0)


def exact_gradient(model, x, y, loss, direction):
    """∂C/∂(the node `direction`: a weight, a bias or a weighted input), of the network written out once more."""

    def dual(v):
        return Dual(v.data, v is direction)

    a = [Dual(number) for number in x]
    for layer in model.layers:
        outputs = []
        for neuron in layer.neurons:
            zs = neuron.z if isinstance(neuron.z, tuple) else [neuron.z]
            sums = []
            for (w, b), z in zip(neuron.pieces(), zs, strict=True):
                total = dual(b) + Dual(0, z is direction)
                for wk, ak in zip(w, a, strict=True):
                    total = total + dual(wk) * ak
                sums.append(total)
            outputs.append(
                {"relu": positive, "linear": lambda z: z}[layer.activation](sums[0])
                if len(sums) == 1
                else highest(sums)
            )
        a = outputs
    if loss == "hinge":
        return positive(Dual(1) - Dual(y) * a[0]).slope
    squares = [(aj - Dual(yj)) * (aj - Dual(yj)) for aj, yj in zip(a, y, strict=True)]
    return sum(square.slope for square in squares) * (Fraction(1, 2) if loss == "quadratic" else Fraction(1, len(a)))


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("loss", ["quadratic", "mean_squared_error", "hinge"])
@pytest.mark.parametrize("activation", ["relu", "maxout", "linear"])
def test_half_integer_networks_agree_bit_for_bit(activation, loss, seed):
    rng = Random(seed)
    outputs = 1 if loss == "hinge" else 2
    model = MLP(3, [4, 3, outputs], activation, seed=0)
    for p in model.parameters():
        p.data = rng.randint(-4, 4) / 2
    x = [rng.randint(-4, 4) / 2 for _ in range(3)]
    y = rng.choice([-1, 1]) if loss == "hinge" else [rng.randint(-2, 2) / 2 for _ in range(outputs)]
    table = agreement(loss, model, x, y, max_entries=10)
    assert not table.wrong, str(table)
    assert not any(any(row.gradient) for row in table.undecided), str(table)  # but where it is 0 by cancellation
    for row in table.rows:
        exact = [exact_gradient(model, x, y, loss, node) for node in row.nodes]
        assert row.gradient == exact, row.name
        for way in ("δ equations", "forward mode"):
            column = row.columns[way]
            assert column.gradient == [exact[i] for i in column.entries], (row.name, way)


def test_the_exact_networks_reach_ties_and_kinks():
    """Half-integers make for ties often; a test that never met one would prove little."""
    rng, kinks = Random(1), 0
    for _ in range(10):
        model = MLP(3, [4, 2], "maxout", seed=0)
        for p in model.parameters():
            p.data = rng.randint(-2, 2) / 2
        table = agreement("quadratic", model, [1.0, -0.5, 0.5], [1.0, 0.0])
        kinks += sum(len(row.columns["differences"].kinks) for row in table.rows)
    assert kinks > 10


# ── Smooth networks: within 256 eps ────────────────────────────────────────────────────────────


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("activation", ALL)
def test_all_ways_agree_within_256_eps(activation, loss):
    for seed, sizes in enumerate(([4, 3, 2], [1, 1], [2, 5, 4, 3])):
        table = agreement_of_random_network([*sizes[:-1], 1] if loss == "hinge" else sizes, activation, loss, seed)
        assert not table.wrong, str(table)
        one_probability = activation == "softmax" and len(table.rows[0].nodes) == 1 and loss != "cross_entropy"
        assert table.ok or one_probability, str(table)  # it is always 1, and its gradient rounding alone
        for row in table.rows:
            assert row.relative("δ equations") <= 256 * EPS, str(table)
            assert row.relative("forward mode") <= 256 * EPS, str(table)
            assert row.relative("differences") <= 1e-6, str(table)


def test_softmax_with_the_quadratic_loss_takes_the_whole_jacobian():
    model = MLP(3, [4, 3], "tanh", "softmax", seed=1)
    x, y = [0.5, -1.0, 2.0], [0.0, 1.0, 0.0]
    table = agreement(quadratic, model, x, y)
    assert table.ok, str(table)
    a = np.array([v.data for v in model.layers[-1].a])
    slope = a - np.array(y)
    delta = a * slope - a * (a @ slope)
    diagonal = a * (1 - a) * slope
    got = next(row.gradient for row in table.rows if row.name == "δ²")
    assert np.abs(got - delta).max() <= 4 * EPS
    assert np.abs(diagonal - delta).max() > 0.01


def test_cross_entropy_after_softmax_collapses_to_a_minus_y():
    model = MLP(3, [4, 3], "sigmoid", "softmax", seed=1)
    table = agreement(cross_entropy, model, [0.5, -1.0, 2.0], 2)
    assert table.ok, str(table)
    a = [v.data for v in model.layers[-1].a]
    assert table.rows[0].gradient == pytest.approx([a[0], a[1], a[2] - 1], rel=1e-14)


# ── It is able to fail ─────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("array", ["delta", "grad_b", "grad_w"])
@pytest.mark.parametrize("layer", [1, 2, 3])
def test_one_entry_of_the_equations_wrong_by_a_thousandth_is_found(monkeypatch, layer, array):
    right = module.backpropagate

    def wrong(*args):
        result = right(*args)
        numbers = getattr(result, array)[layer - 1]
        numbers.flat[np.abs(numbers).argmax()] *= 1.001
        return result

    monkeypatch.setattr(module, "backpropagate", wrong)
    table = agreement_of_random_network([3, 4, 3, 2])
    assert not table.ok
    found = [(row.layer, row.letter) for row in table.rows for column in row.columns.values() if column.wrong]
    assert found == [(layer, {"delta": "z", "grad_b": "b", "grad_w": "w"}[array])]
    assert "They disagree: δ equations in" in str(table)
    line = next(line for line in str(table).splitlines() if "✗" in line)
    assert line.split()[4:6] == ["✗", "1.0e-03"]
    assert "off by 1.0e-03" in " ".join(str(table).split())


@pytest.mark.parametrize("activation", ["sigmoid", "tanh", "relu", "leaky_relu", "elu", "maxout"])
def test_a_wrong_rule_is_found_by_the_delta_equations_and_by_differences(monkeypatch, activation):
    row = modules.ACTIVATIONS[activation]
    right = row.op.local_grads
    wrong = replace(row.op, local_grads=lambda xp, y, *z: row.op.grouped([1.001 * g for g in flat(right(xp, y, *z))]))
    monkeypatch.setitem(modules.ACTIVATIONS, activation, row._replace(op=wrong))
    table = agreement_of_random_network([3, 4, 2], activation, seed=1)
    assert not table.ok
    ways = {way for row in table.rows for way, column in row.columns.items() if column.wrong}
    assert ways == {"δ equations", "differences"}


@pytest.mark.parametrize("part", ["loss", "delta", "grad_b", "grad_w"])
@pytest.mark.parametrize(("eps", "ok"), [(-250, True), (250, True), (-262, False), (262, False)])
def test_the_loss_and_each_gradient_may_be_256_eps_off_and_no_more(monkeypatch, part, eps, ok):
    right = module.backpropagate

    def off(*args):
        found = right(*args)
        number = getattr(found, part)
        factor = 1.0 + eps * EPS
        return replace(found, **{part: number * factor if part == "loss" else [factor * array for array in number]})

    monkeypatch.setattr(module, "backpropagate", off)
    model = MLP(2, [1], "linear", seed=0)
    for parameter, number in zip(model.parameters(), [0.5, 0.25, 0.125], strict=True):
        parameter.data = number
    table = agreement("quadratic", model, [1.0, 2.0], [-1.0])  # nothing of it rounds
    assert table.ok is ok
    assert table.loss_off == (pytest.approx(262 * EPS, rel=0.01) if part == "loss" and not ok else 0.0)
    assert table.tolerance == 256 * EPS


def test_a_wrong_loss_is_found_where_the_right_one_is_0(monkeypatch):
    right = module.backpropagate
    monkeypatch.setattr(module, "backpropagate", lambda *args: replace(right(*args), loss=right(*args).loss + 0.5))
    model = MLP(1, [1], "linear", seed=0)
    for parameter, number in zip(model.parameters(), [0.5, 0.25], strict=True):
        parameter.data = number
    table = agreement("quadratic", model, [1.0], [0.75])
    assert (table.ok, table.loss_off) == (False, 0.5)


def mixed_network(layer, activation):
    """3-4-3-2 with tanh (or sigmoid), but for one layer."""
    model, x, y = random_network([3, 4, 3, 2], "sigmoid" if activation == "tanh" else "tanh", seed=3)
    model.layers[layer - 1] = Layer([3, 4, 3][layer - 1], [4, 3, 2][layer - 1], activation, seed=1)
    model.layers[layer - 1]._name(layer)
    return model, x, y


def rule(op, name, wrong):
    """A rule of the table changed, for all who use it."""
    right = getattr(op, name)
    return broken(op, **{name: lambda *args: wrong(right(*args))})


def larger(x):
    """By a thousandth."""
    return tuple(map(larger, x)) if isinstance(x, tuple | list) else 1.001 * x


def wrong_by_the_equations(table):
    return [row for row in table.rows if row.columns["δ equations"].wrong]


NETWORKS = [
    *[(3, sigma, sigma, loss) for sigma in ALL for loss in ("quadratic", "mean_squared_error")],
    *[(n, "tanh", "linear", "cross_entropy") for n in (1, 3)],
    (3, "tanh", "softmax", "cross_entropy"),
    (1, "tanh", "sigmoid", "cross_entropy"),
    (1, "tanh", "linear", "hinge"),
]


def rules_in_use(C, parameters):
    """(operation, number of an operand) for each local derivative through which a gradient flows."""
    depends, rules = set(parameters), set()
    for node in topological_order(C):
        for k, operand in enumerate(node.op.grouped(node.inputs) if node.inputs else ()):
            if not depends.isdisjoint(operand if isinstance(operand, tuple) else [operand]):
                rules.add((node.op, k))
                depends.add(node)
    return sorted(rules, key=lambda each: (each[0].name, each[1]))


@pytest.mark.parametrize(("n", "activation", "output", "loss"), NETWORKS)
def test_every_rule_that_nn_uses_is_checked_by_the_delta_equations(n, activation, output, loss):
    """Each local derivative and each value rule, wrong by a thousandth, one after the other."""
    model, x, y = random_network([3, 4, 3, n], activation, loss, 6, output)
    rules = rules_in_use(LOSSES[loss](model(x), y), model.parameters())
    assert len(rules) >= 5
    for op, k in rules:
        with rule(op, "local_grads", lambda grads, k=k: (*grads[:k], larger(grads[k]), *grads[k + 1 :])):
            table = agreement(loss, model, x, y)
        assert wrong_by_the_equations(table), (op, op.operands[k])
        assert not table.ok
    for op in {op for op, _ in rules}:
        with rule(op, "value", larger):
            table = agreement(loss, model, x, y)
        assert table.loss_off or wrong_by_the_equations(table), op
        assert not table.ok
        assert "They disagree: δ equations in" in str(table)
    assert agreement(loss, model, x, y).ok


@pytest.mark.parametrize("layer", [1, 2, 3])
@pytest.mark.parametrize("activation", ["sigmoid", "tanh", "relu", "leaky_relu", "elu", "maxout"])
def test_the_layer_with_a_wrong_derivative_is_named(activation, layer):
    model, x, y = mixed_network(layer, activation)
    assert agreement("quadratic", model, x, y).ok
    with rule(modules.ACTIVATIONS[activation].op, "local_grads", larger):
        table = agreement("quadratic", model, x, y)
    assert max(row.layer for row in wrong_by_the_equations(table)) == layer
    assert f"They disagree: δ equations in δ{'¹²³'[layer - 1]} (" in str(table)


# Every line of the steps 2 to 5 of `backpropagate`, and another in its place.
BP = {
    "for wl, bl, activation in zip(w, b, activations": "for bl, wl, activation in zip(b, [1.001 * v for v in w], activations",
    "_matrix(wl).T + bl.ravel()": "_matrix(wl).T - bl.ravel()",
    "a.append(SIGMA[activation](z[-1]))": "a.append(z[-1])",
    "C, gradient = LOSSES[loss](a[-1], y)": "C, gradient = LOSSES[loss](z[-1], y)",
    "delta_L = _transposed_jacobian(activations[-1], z[-1], a[-1], gradient)": "delta_L = gradient",
    "delta = [delta_L]": "delta = [1.001 * delta_L]",
    "for i in reversed(range(len(w) - 1)):": "for i in range(len(w) - 1):",
    "@ _matrix(w[i + 1])": "@ _matrix(w[i + 1]).T",
    "delta.insert(0, _transposed_jacobian(activations[i], z[i], a[i + 1], upstream))": "delta.insert(0, upstream)",
    "grad_b = [d.mean(axis=0) for d in delta]": "grad_b = [d.mean(axis=0) for d in delta[::-1]]",
    "a_in / m": "a_in * 1.001",
    "zip(delta, a[:-1], w": "zip(delta, a[1:], w",
}
OF_CROSS_ENTROPY = {
    'if loss == "cross_entropy" and': 'if loss == "cross_entropy" and not',
    "C, delta_L = LOSSES[loss](z[-1], y)": "C, delta_L = LOSSES[loss](a[-1], y)",
}


@pytest.mark.parametrize("line", [*BP, *OF_CROSS_ENTROPY])
def test_every_line_of_the_delta_equations_is_checked_by_the_scalar_graph(monkeypatch, line):
    source, namespace = inspect.getsource(deltas.backpropagate), dict(vars(deltas))
    assert source.count(line) == 1
    exec("from __future__ import annotations\n" + source.replace(line, (BP | OF_CROSS_ENTROPY)[line]), namespace)
    loss = "quadratic" if line in BP else "cross_entropy"
    network = random_network([3, 3, 3, 3], "tanh", loss, 1, "softmax" if line in OF_CROSS_ENTROPY else "tanh")
    assert agreement(loss, *network).ok
    monkeypatch.setattr(module, "backpropagate", namespace["backpropagate"])
    table = agreement(loss, *network)
    assert wrong_by_the_equations(table) and not table.ok
    assert "They disagree: δ equations in" in str(table)


def test_no_line_of_the_delta_equations_is_left_out_of_that():
    source = inspect.getsource(deltas.backpropagate)
    steps = source[source.index("# 2.") : source.index("if one_sample:\n        z, a")].splitlines()
    code = [line.strip() for line in steps if line.strip() and not line.strip().startswith("#")]
    unchanged = [line for line in code if not any(old in line for old in BP | OF_CROSS_ENTROPY)]
    assert unchanged == ["z = []", "else:", "grad_w = [", "]"]


@pytest.mark.parametrize("sigma", deltas.SIGMA)
@pytest.mark.parametrize("table", ["SIGMA", "SIGMA_PRIME"])
def test_every_activation_of_the_delta_equations_is_checked_by_the_scalar_graph(monkeypatch, table, sigma):
    if sigma == "softmax" and table == "SIGMA_PRIME":
        sigma = "linear"  # softmax has no σ′, but a Jacobian: below
    right = getattr(deltas, table)[sigma]
    monkeypatch.setitem(getattr(deltas, table), sigma, lambda z: 1.001 * right(z))
    for layer in (1, 2, 3):
        found = agreement("quadratic", *mixed_network(layer, sigma))
        assert not found.ok
        if table == "SIGMA_PRIME":
            assert max(row.layer for row in wrong_by_the_equations(found)) == layer


def test_the_jacobian_of_the_delta_equations_is_checked_by_the_scalar_graph(monkeypatch):
    monkeypatch.setattr(
        deltas.np, "einsum", lambda _, jacobian, upstream: jacobian.diagonal(axis1=1, axis2=2) * upstream
    )
    for layer in (1, 2, 3):
        found = agreement("quadratic", *mixed_network(layer, "softmax"))
        assert max(row.layer for row in wrong_by_the_equations(found)) == layer


@pytest.mark.parametrize("part", [0, 1])
@pytest.mark.parametrize(("n", "loss"), [(2, "quadratic"), (2, "mean_squared_error"), (1, "cross_entropy"), (3, "cross_entropy"), (1, "hinge")])  # fmt: skip
def test_every_loss_of_the_delta_equations_is_checked_by_the_scalar_graph(monkeypatch, loss, n, part):
    right = deltas.LOSSES[loss]

    def wrong(a, y):
        both = list(right(a, y))
        both[part] = 1.001 * both[part]
        return both

    network = random_network([3, 4, n], "tanh", loss, 6)
    monkeypatch.setitem(deltas.LOSSES, loss, wrong)
    table = agreement(loss, *network)
    assert not table.ok
    assert [row.name for row in wrong_by_the_equations(table)][:1] == ["δ²"] * part
    assert ("They disagree: δ equations in C (off by 1.0e-03)." in str(table)) == (part == 0)


def test_the_delta_equations_import_nothing_of_the_scalar_graph():
    def imports_of_ours(module):
        lines = ast.parse(inspect.getsource(module)).body
        lines = [line for each in lines for line in (each.body if isinstance(each, ast.With) else [each])]
        imported = {line.module or "" for line in lines if isinstance(line, ast.ImportFrom)}
        imported |= {each.name for line in lines if isinstance(line, ast.Import) for each in line.names}
        return [name for name in imported if name.startswith("microgradlike")]

    # What says how to install NumPy is no mathematics, and imports nothing of ours itself.
    assert imports_of_ours(deltas) == ["microgradlike.support.extras"] and not imports_of_ours(extras)
    assert not [
        name for name, each in vars(deltas).items() if getattr(each, "__module__", "").startswith("microgradlike.ops")
    ]


swish = operation(
    "swish", lambda xp, x: x * xp.sigmoid(x), lambda xp, y, x: xp.sigmoid(x) + y * xp.sigmoid(-x), symbol="swish₁"
)


def test_an_activation_of_your_own_leaves_the_delta_equations_out_and_says_why():
    model = MLP(3, [4, 2], swish, "tanh", seed=1)
    table = agreement("quadratic", model, [0.5, -1.0, 2.0], [0.1, -0.3])
    assert table.ok, str(table)
    assert all(set(row.columns) == {"array form", "forward mode", "differences"} for row in table.rows)
    text = " ".join(str(table).split())
    assert "loss of a 3-4-2 network (swish, tanh)" in text
    assert "The δ equations are left out: unknown activation of your own, swish; known are linear, sigmoid" in text
    assert "All agree" in text


def test_agreement_looks_at_its_own_call_of_the_network():
    class Watched(MLP):
        def feedforward(self, x):
            result = super().feedforward(x)
            super().feedforward([1.0, 2.0, 3.0])  # as another thread may, meanwhile
            return result

    model, x, y = random_network([3, 4, 2], seed=1)
    expected = str(agreement("quadratic", model, x, y))
    model.__class__ = Watched
    assert str(agreement("quadratic", model, x, y)) == expected


def test_a_wrong_forward_mode_is_found(monkeypatch):
    right = module.jvps
    monkeypatch.setattr(module, "jvps", lambda *args: [1.001 * d for d in right(*args)])
    table = agreement_of_random_network([3, 4, 2])
    assert not table.ok
    assert all(row.columns["forward mode"].wrong for row in table.rows)


# ── What it shows, and what it leaves alone ────────────────────────────────────────────────────


def test_the_table():
    text = str(agreement_of_random_network([4, 3, 2], "tanh", "quadratic", 0))
    lines = text.splitlines()
    assert lines[0] == "The quadratic loss of a 4-3-2 network (tanh, tanh): C = 0.57867873"
    assert lines[2].split() == ["scalar", "graph", "δ", "equations", "array", "form", "forward", "mode", "differences"]
    assert [line for line in lines if line.startswith("layer")] == ["layer 2", "layer 1"]
    first = lines[lines.index("layer 2") + 1]
    assert first.split() == ["δ²₂", "-0.96088", "-0.96088", "–", "-0.96088", "-0.96088"]
    bias = lines[lines.index("layer 2") + 3]
    assert bias.split() == ["∂C/∂b²₂", *["-0.96088"] * 5]
    assert "All agree: each within 5.7e-14 (256 eps)" in text
    assert max(map(len, lines)) <= 80
    assert text == str(agreement_of_random_network([4, 3, 2], "tanh", "quadratic", 0))


def test_rich_and_html_show_the_same_table():
    table = agreement_of_random_network([3, 2, 1], "relu", "hinge")
    console = Console(file=io.StringIO(), width=100)
    console.print(table)
    assert [line.rstrip() for line in console.file.getvalue().splitlines()] == str(table).splitlines()
    assert "δ equations" in table._repr_html_()


def test_large_networks_take_a_sample_and_say_so():
    table = agreement_of_random_network([20, 12, 10], "sigmoid", "cross_entropy", 1)
    assert table.ok
    rows = {row.name: row for row in table.rows}
    w1 = rows["∂C/∂w¹"]
    assert len(w1.columns["δ equations"].entries) == 240
    for way in ("forward mode", "differences"):
        entries = w1.columns[way].entries
        assert 32 <= len(entries) <= 33
        assert w1.largest in entries
        assert max(b - a for a, b in pairwise(entries)) <= 8
    text = " ".join(str(table).split())
    assert "Forward mode and differences took, evenly spaced, 32 of the 120 of ∂C/∂w²" in text.replace("33", "32")
    assert "of the 240 of ∂C/∂w¹" in text


@pytest.mark.parametrize("activation", ["relu", "leaky_relu"])  # whose gradient at the kink is 0, and is not
def test_kinks_are_marked_and_named(activation):
    model = MLP(2, [2, 1], activation, seed=0)
    table = agreement("quadratic", model, [0.0, 0.0], [1.0])  # every z¹ is 0
    assert table.ok
    assert "kink" in str(table)
    assert "At a kink, where differences have no answer: δ¹₁, δ¹₂, ∂C/∂b¹₁, ∂C/∂b¹₂." in str(table)
    assert ["∂C/∂w²₁₁", *"00000"] in map(str.split, str(table).splitlines())  # no "0.000"


def test_what_is_not_finite_is_reported():
    model = MLP(2, [2, 1], "tanh", seed=0)
    model.layers[0].neurons[0].b.data = float("nan")
    table = agreement("quadratic", model, [0.5, 0.5], [1.0])
    assert not table.ok
    assert "C is nan: there is nothing to compare." in str(table)


def test_saturated_and_nearly_fitted_networks_still_agree():
    model = MLP(2, [3, 2], "sigmoid", "sigmoid", seed=2)
    for p in model.parameters():
        p.data *= 20.0
    assert agreement("quadratic", model, [1.0, -0.7], [1.0, 0.0]).ok
    model = MLP(2, [3, 2], "tanh", seed=2)
    y = [a.data * (1 + 1e-9) for a in model([1.0, -0.7])]
    table = agreement("quadratic", model, [1.0, -0.7], y)  # a − y cancels nine digits
    assert table.ok, str(table)
    assert "(256 eps)" not in str(table)


def overfitted():
    """A network that says 1 − 10⁻¹⁵ where its target is 1: of a − y, rounding leaves not one digit."""
    model = MLP(2, [3, 1], "tanh", "tanh", seed=2)
    for p in model.layers[-1].parameters():
        p.data = abs(p.data)
    z = model([1.0, -0.7]) and model.layers[-1].neurons[0].z.data
    model.layers[-1].neurons[0].b.data += 17.5 - z
    return model, [1.0, -0.7], 1.0


def test_a_gradient_that_rounding_hides_is_undecided(monkeypatch):
    for model, x, y in (overfitted(), (MLP(3, [4, 3, 3], "relu", "softmax", seed=1), [0.1, -0.7, 0.4], [0.3] * 3)):
        table = agreement("quadratic", model, x, y)
        assert not table.wrong, str(table)
        assert not table.ok
        assert table.undecided
        text = " ".join(str(table).split())
        assert f"Undecided: {', '.join(row.name for row in table.undecided)}. Rounding may hide" in text
        assert "All agree" not in text
    model, x, y = overfitted()
    for p in model.layers[-1].parameters():
        p.data /= 4.0
    assert agreement("quadratic", model, x, y).ok
    tanh = modules.ACTIVATIONS["tanh"]
    rule = tanh.op.local_grads
    wrong = replace(tanh.op, local_grads=lambda xp, y, z: (1.001 * rule(xp, y, z)[0],))
    monkeypatch.setitem(modules.ACTIVATIONS, "tanh", tanh._replace(op=wrong))
    assert agreement("quadratic", model, x, y).wrong


def test_a_gradient_of_zero_is_certain_behind_a_dead_relu_only():
    model = MLP(2, [2, 1], "relu", seed=0)
    for neuron in model.layers[0].neurons:
        neuron.b.data = -9.0
    table = agreement("quadratic", model, [0.3, 0.4], [1.0])
    assert table.ok, str(table)
    table = agreement("quadratic", model, [0.3, 0.4], [model([0.3, 0.4]).data])
    assert table.ok, str(table)  # a = y = b = 0, exactly
    model.layers[1].neurons[0].b.data = 0.1
    table = agreement("quadratic", model, [0.3, 0.4], [0.1])
    assert [row.name for row in table.undecided] == ["δ²", "∂C/∂b²"]


def test_the_bound_of_rounding_holds_and_is_not_far_above_what_it_does():
    for activation in SMOOTH:
        for seed in range(3):
            table = agreement_of_random_network([3, 4, 4, 2], activation, seed=seed, output=activation)
            for row in table.rows:
                assert row.columns["δ equations"].largest <= row.rounding <= 2000 * EPS * max(row.scale, 1.0), (
                    activation
                )


def test_nothing_of_the_model_is_changed():
    model = MLP(3, [2, 2], "maxout", seed=4)
    for p in model.parameters():
        p.grad = 1.25
    before = [p.data for p in model.parameters()]
    agreement("mean_squared_error", model, [Value(1.0), 2.0, np.float32(0.5)], [Value(0.0), 1.0])
    assert [p.grad for p in model.parameters()] == [1.25] * len(before)
    assert [p.data for p in model.parameters()] == before


def test_bad_arguments_say_what_to_do():
    model = MLP(2, [2], seed=0)
    with pytest.raises(ValueError, match="quadratic, mean_squared_error, cross_entropy, hinge: got 'l2'"):
        agreement("l2", model, [1, 2], [1, 2])
    with pytest.raises(ValueError, match="expects 2 inputs, got 3"):
        agreement("quadratic", model, [1, 2, 3], [1, 2])
    with pytest.raises(ValueError, match="at least the sizes of its input and of one layer"):
        agreement_of_random_network([3])
    with pytest.raises(ValueError, match="let the sizes end with 1"):
        agreement_of_random_network([3, 2], "relu", "hinge")


def test_a_wrong_array_program_is_noticed(monkeypatch):
    right = module.matrix.gradients

    def wrong(loss):
        gradients = right(loss)
        last = max(gradients, key=lambda v: abs(gradients[v]))
        return gradients | {last: 1.001 * gradients[last]}

    monkeypatch.setattr(module.matrix, "gradients", wrong)
    table = agreement_of_random_network([3, 4, 2])
    assert not table.ok
    assert [way for row in table.rows for way, column in row.columns.items() if column.wrong] == ["array form"]


def test_a_layer_alone_is_refused():
    with pytest.raises(TypeError, match=r"agreement takes a whole network, such as nn.MLP\(2, \[3, 1\]\): got Layer"):
        agreement("quadratic", Layer(2, 1), [1, 2], 1)


@pytest.mark.parametrize("width", [40, 60])
def test_in_a_narrow_terminal_the_ways_stand_below_each_other(width):
    table = agreement("quadratic", *random_network([4, 3, 2], "tanh"))
    screen = io.StringIO()
    Console(file=screen, width=width).print(table)
    lines = screen.getvalue().splitlines()
    assert max(map(len, lines)) <= width
    assert [line.split()[-1] for line in lines if line.startswith("  differences")] == [
        line.split()[-1] for line in str(table).splitlines() if line.startswith("  of ")
    ]
    shown = [line.split() for line in lines if line.startswith("  scalar graph")]
    assert [line[2] for line in shown] == [
        line.split()[1] for line in str(table).splitlines() if line.startswith(("δ", "∂"))
    ]
