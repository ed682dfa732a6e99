"""BP1–BP4 in matrix form against the scalar graph, and both against oracles that share no code with them."""

import re
from fractions import Fraction

import mpmath
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles import COMPLEX_SIGMA

from microgradlike import nn, ops
from microgradlike.datasets import digits
from microgradlike.nn import deltas
from microgradlike.nn.deltas import arrays, backpropagate
from microgradlike.nn.modules import Activation

EPS = 2.0**-52
OF_SIGMOIDS = pytest.mark.filterwarnings("ignore:cross_entropy takes logits .* are those of sigmoid")


def scalar_graph(model, x, y, loss):
    """C, δ of each layer (z.grad, literally) and the gradients, in the shapes of `backpropagate`."""
    model.zero_grad()
    cost = nn.LOSSES[loss](model(x), y)
    cost.backward()
    delta, grad_w, grad_b = [], [], []
    for layer in model.layers:
        if layer.activation == "maxout":
            delta.append([[z[i].grad for z in layer.z] for i in (0, 1)])
            grad_w.append([[[w.grad for w in neuron.w[i]] for neuron in layer.neurons] for i in (0, 1)])
            grad_b.append([[neuron.b[i].grad for neuron in layer.neurons] for i in (0, 1)])
        else:
            delta.append([z.grad for z in layer.z])
            grad_w.append([[w.grad for w in neuron.w] for neuron in layer.neurons])
            grad_b.append([neuron.b.grad for neuron in layer.neurons])
    return cost.data, delta, grad_w, grad_b


def flat(layers):
    return np.concatenate([np.ravel(layer) for layer in layers])


def assert_close(ours, expected, smallest=0.0):
    """Equal within 256 eps of the largest entry.

    Where a, a − y or Jᵀ∇C cancel, what is left keeps their rounding: then of `smallest`.
    """
    ours, expected = flat(ours), flat(expected)
    assert ours.shape == expected.shape
    np.testing.assert_allclose(ours, expected, rtol=0, atol=256 * EPS * max(np.abs(expected).max(), smallest))


def target(rng, loss, n):
    if loss == "hinge":
        return rng.choice([-1.0, 1.0])
    if loss == "cross_entropy":
        return int(rng.randint(max(n, 2)))
    return list(rng.uniform(-1, 1, n))


def network(rng, sizes, activation, output):
    """A network on inputs of at most 1 whose weighted inputs stay within −3..3."""
    model = nn.MLP(sizes[0], sizes[1:], activation, output, seed=0)
    largest = 1.0
    for layer in model.layers:
        for neuron in layer.neurons:
            for w, b in neuron.pieces():
                b.data = rng.uniform(-1, 1)
                for p in w:
                    p.data = rng.uniform(-2, 2) / largest / layer.nin
        largest = 1.0 if layer.activation in ("sigmoid", "tanh", "softmax") else 3.0
    return model


hidden_sizes = st.lists(st.integers(1, 5), min_size=1, max_size=4)
seeds = st.integers(0, 2**32 - 1)


# ── Any network: the scalar graph, and complex steps ──────────────────────────────────────────


def test_the_equations_know_all_activations_and_losses_of_nn():
    assert list(deltas.SIGMA) == list(nn.ACTIVATIONS)
    assert list(deltas.SIGMA_PRIME) == [name for name, sigma in nn.ACTIVATIONS.items() if not sigma.whole_layer]
    assert list(deltas.LOSSES) == list(nn.LOSSES)


@OF_SIGMOIDS
@pytest.mark.parametrize("loss", nn.LOSSES)
@pytest.mark.parametrize("activation", nn.ACTIVATIONS)
@settings(max_examples=12, deadline=None)
@given(sizes=hidden_sizes, n=st.integers(1, 4), seed=seeds, output=st.sampled_from(list(nn.ACTIVATIONS)))
def test_the_scalar_graph_and_the_delta_equations_agree(loss, activation, sizes, n, seed, output):
    rng = np.random.RandomState(seed)
    n += loss == "cross_entropy" and output == "softmax"  # a softmax of one is refused
    sizes = [*sizes, 1 if loss == "hinge" else n]
    model = network(rng, sizes, activation, output)
    x, y = rng.uniform(-1, 1, sizes[0]), target(rng, loss, sizes[-1])
    cost, delta, grad_w, grad_b = scalar_graph(model, x, y, loss)
    matrix = backpropagate(*arrays(model), x, y, loss)
    assert max(abs(flat(matrix.z))) <= 3
    assert_close(flat([[p.data for p in layer.a] for layer in model.layers]), flat(matrix.a), smallest=1 / 16)
    assert matrix.loss == pytest.approx(cost, abs=16 * EPS * max(1, abs(cost)))
    assert_close(matrix.delta, delta, smallest=1 / 16)
    assert_close(matrix.grad_w + matrix.grad_b, grad_w + grad_b, smallest=1 / 16)


def complex_cost(w, b, activations, x, y, loss):
    """C from definitions that serve complex numbers: no rule of the package has a part in it."""
    a = np.asarray(x, complex)
    for wl, bl, activation in zip(w, b, activations, strict=True):
        z = np.einsum("...jk,k->...j", wl, a) + bl
        a = COMPLEX_SIGMA[activation](z)
    if loss == "quadratic":
        return ((a - y) ** 2).sum() / 2
    if loss == "mean_squared_error":
        return ((a - y) ** 2).sum() / len(a)
    if loss == "hinge":
        return np.where((1 - y * a).real > 0, 1 - y * a, 0)[0]
    if len(a) == 1:
        p = 1 / (1 + np.exp(-a[0]))
        return -np.log(p if y else 1 - p)
    return -np.log((a if activations[-1] == "softmax" else np.exp(a) / np.exp(a).sum())[y])


@pytest.mark.parametrize("loss", nn.LOSSES)
@pytest.mark.parametrize("output", nn.ACTIVATIONS)
@pytest.mark.parametrize("activation", nn.ACTIVATIONS)
def test_the_delta_equations_and_complex_steps_agree(activation, output, loss):
    """∂C/∂p = Im C(p + ih) / h, without the rounding of a difference."""
    rng = np.random.RandomState(11)
    n = 1 if loss == "hinge" else 3
    model = network(rng, [3, 4, 2, n], activation, output)
    x, y = rng.uniform(-1, 1, 3), target(rng, loss, n)
    w, b, activations = arrays(model)
    matrix = backpropagate(w, b, activations, x, y, loss)
    w, b = [each.astype(complex) for each in w], [each.astype(complex) for each in b]
    assert matrix.loss == pytest.approx(complex_cost(w, b, activations, x, y, loss).real, rel=1e-14)
    expected = []
    for array in w + b:
        slopes = np.empty(array.shape)
        for i in np.ndindex(array.shape):
            array[i] += 1e-200j
            slopes[i] = complex_cost(w, b, activations, x, y, loss).imag / 1e-200
            array[i] -= 1e-200j
        expected.append(slopes)
    assert_close(matrix.grad_w + matrix.grad_b, expected)


# ── Piecewise-linear networks on half-integers: bit for bit, against exact dual numbers ──────────


class Dual:
    """v + d·ε with ε² = 0, in exact fractions: forward mode, where both of ours are reverse."""

    def __init__(self, v, d=0):
        self.v, self.d = Fraction(v), Fraction(d)

    def __add__(self, other):
        return Dual(self.v + other.v, self.d + other.d)

    def __mul__(self, other):
        return Dual(self.v * other.v, self.v * other.d + self.d * other.v)


HALF, ZERO = Dual(Fraction(1, 2)), Dual(0)


def larger(p, q):
    return HALF * (p + q) if p.v == q.v else p if p.v > q.v else q  # ties share


EXACT_SIGMA = {
    "linear": lambda z: z,
    "relu": lambda z: z if z.v > 0 else ZERO,
    "leaky_relu": lambda z: z if z.v > 0 else HALF * z,  # its slope is set to ½
}


def exact_cost(w, b, activations, x, y, loss):
    a = [Dual(number) for number in x]
    for wl, bl, activation in zip(w, b, activations, strict=True):
        z = [[sum((p * q for p, q in zip(row, a, strict=True)), start=bias) for row, bias in zip(*piece, strict=True)]
             for piece in zip(wl, bl, strict=True)]  # fmt: skip
        if activation == "maxout":
            a = [larger(*pair) for pair in zip(*z, strict=True)]
        else:
            a = [EXACT_SIGMA[activation](zj) for zj in z[0]]
    if loss == "hinge":
        margin = Dual(1) + Dual(-y) * a[0]
        return margin if margin.v > 0 else ZERO
    squares = sum(((aj + Dual(-yj)) * (aj + Dual(-yj)) for aj, yj in zip(a, y, strict=True)), start=ZERO)
    return squares * Dual(Fraction(1, 2) if loss == "quadratic" else Fraction(1, len(a)))


def exact_gradients(model, x, y, loss):
    """∂C/∂w and ∂C/∂b (which is δ), one exact forward pass for each parameter."""
    parameters = [[neuron.pieces() for neuron in layer.neurons] for layer in model.layers]
    duals = {p: Dual(p.data) for p in model.parameters()}
    pieces = [range(len(layer[0])) for layer in parameters]
    w = [
        [[[duals[p] for p in each[i][0]] for each in layer] for i in n]
        for layer, n in zip(parameters, pieces, strict=True)
    ]
    b = [[[duals[each[i][1]] for each in layer] for i in n] for layer, n in zip(parameters, pieces, strict=True)]
    activations = [layer.activation for layer in model.layers]
    grads = {}
    for p, dual in duals.items():
        dual.d = Fraction(1)
        grads[p] = exact_cost(w, b, activations, x, y, loss).d
        dual.d = Fraction(0)
    return exact_cost(w, b, activations, x, y, loss).v, grads


halves = st.integers(-5, 5).map(lambda n: n / 2)


@pytest.mark.parametrize("loss", ["quadratic", "mean_squared_error", "hinge"])
@pytest.mark.parametrize("activation", ["linear", "relu", "leaky_relu", "maxout"])
@settings(max_examples=15, deadline=None)
@given(sizes=st.lists(st.integers(1, 3), min_size=1, max_size=3), draw=st.data())
def test_half_integer_networks_are_right_to_the_last_bit(loss, activation, sizes, draw):
    sizes = [*sizes, 1 if loss == "hinge" else draw.draw(st.sampled_from([1, 2, 4]))]
    output = draw.draw(st.sampled_from(["linear", "relu", "leaky_relu", "maxout"]))
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(nn.ACTIVATIONS, "leaky_relu", Activation(ops.leaky_relu(0.5)))
        patch.setitem(deltas.SIGMA, "leaky_relu", lambda z: np.maximum(0.5 * z, z))
        patch.setitem(deltas.SIGMA_PRIME, "leaky_relu", lambda z: np.where(z > 0, 1.0, 0.5))
        model = nn.MLP(sizes[0], sizes[1:], activation, output, seed=0)
        numbers = draw.draw(st.lists(halves, min_size=(k := len(model.parameters())), max_size=k))
        for p, number in zip(model.parameters(), numbers, strict=True):
            p.data = number
        x = draw.draw(st.lists(halves, min_size=sizes[0], max_size=sizes[0]))
        n = sizes[-1]
        y = draw.draw(st.sampled_from([-1, 1]) if loss == "hinge" else st.lists(halves, min_size=n, max_size=n))
        exact, grads = exact_gradients(model, x, y, loss)
        cost, delta, _, _ = scalar_graph(model, x, y, loss)
        matrix = backpropagate(*arrays(model), x, y, loss)
    assert cost == matrix.loss == exact
    assert {p: p.grad for p in grads} == grads
    for i, layer in enumerate(model.layers):
        for j, neuron in enumerate(layer.neurons):
            for k, (w, b) in enumerate(neuron.pieces()):
                at = (k, j) if layer.activation == "maxout" else (j,)
                assert list(matrix.grad_w[i][at]) == [grads[p] for p in w]
                assert matrix.grad_b[i][at] == matrix.delta[i][at] == grads[b]
        assert matrix.delta[i].tolist() == delta[i]  # δ is z.grad


# ── Softmax: σ acts on the whole layer ─────────────────────────────────────────────────────────


def softmax_network():
    rng = np.random.RandomState(2)
    w, b = [rng.uniform(-1, 1, (4, 3)), rng.uniform(-1, 1, (3, 4))], [rng.uniform(-1, 1, 4), rng.uniform(-1, 1, 3)]
    return w, b, ["tanh", "softmax"], np.array([0.5, -1.0, 2.0]), np.array([0.0, 1.0, 0.0])


def test_softmax_under_the_quadratic_cost_needs_the_full_jacobian():
    w, b, activations, x, y = softmax_network()
    matrix = backpropagate(w, b, activations, x, y)
    a = matrix.a[-1]
    jacobian = np.array([[a[i] * ((i == j) - a[j]) for j in range(3)] for i in range(3)])
    np.testing.assert_allclose(matrix.delta[-1], jacobian.T @ (a - y), rtol=1e-13)
    hadamard = (a - y) * a * (1 - a)  # what ⊙ σ' with the diagonal alone would give
    assert np.abs(matrix.delta[-1] - hadamard).max() > 0.1 * np.abs(matrix.delta[-1]).max()


def test_softmax_under_cross_entropy_collapses():
    w, b, activations, x, y = softmax_network()
    matrix = backpropagate(w, b, activations, x, 1, "cross_entropy")
    a = matrix.a[-1]
    np.testing.assert_allclose(matrix.delta[-1], a - y, rtol=4 * EPS)  # δ keeps digits that a − 1 cancels
    jacobian = np.diag(a) - np.outer(a, a)
    np.testing.assert_allclose(jacobian.T @ (-y / a), a - y, rtol=1e-13)
    assert matrix.loss == pytest.approx(-np.log(a[1]), rel=1e-13)
    from_logits = backpropagate(w, b, ["tanh", "linear"], x, y, "cross_entropy")
    assert_close(from_logits.grad_w, matrix.grad_w)
    assert from_logits.loss == matrix.loss


def test_a_single_sigmoid_under_cross_entropy_collapses_too():
    w, b, x = [[[1.0, -2.0]]], [[0.5]], [[0.5, 1.0], [60.0, -1.0], [-400.0, 200.0]]
    matrix = backpropagate(w, b, ["sigmoid"], x, [0.25, 1.0, 0.0], "cross_entropy")
    z = np.array(x) @ [1.0, -2.0] + 0.5
    exact = [1 / (1 + np.exp(-z[0])) - 0.25, -np.exp(-z[1]), np.exp(z[2])]
    np.testing.assert_allclose(matrix.delta[0][:, 0], exact, rtol=4 * EPS)
    losses = [np.log1p(np.exp(z[0])) - 0.25 * z[0], np.exp(-z[1]), np.exp(z[2])]
    assert matrix.loss == pytest.approx(np.mean(losses), rel=1e-15)


def test_the_delta_equations_keep_their_digits():
    """σ′ far out, and a confident softmax: against 60 digits."""
    with mpmath.workdps(60):
        for z in (-700.0, -300.0, -40.0, -1e-3, 0.0, 2.0, 40.0, 340.0, 700.0):
            s = 1 / (1 + mpmath.exp(-mpmath.mpf(z)))
            slope = deltas.SIGMA_PRIME["sigmoid"](np.array([z]))[0]
            assert slope == pytest.approx(float(s * (1 - s)), rel=4 * EPS)
            slope = deltas.SIGMA_PRIME["tanh"](np.array([z / 2]))[0]
            assert slope == pytest.approx(float(mpmath.sech(mpmath.mpf(z) / 2) ** 2), rel=4 * EPS)
    C, gradient = deltas.LOSSES["cross_entropy"](np.array([[40.0, 0.0]]), np.array([[1.0, 0.0]]))
    assert (C.item(), gradient.tolist()) == (4.248354255291589e-18, [[-4.248354255291589e-18, 4.248354255291589e-18]])
    C, _ = deltas.LOSSES["cross_entropy"](np.array([[1e15, 1e15 - 1]]), np.array([[1.0, 0.0]]))
    assert C.item() == pytest.approx(0.3132616875182228, rel=1e-15)


def test_infinite_logits_give_what_pytorch_gives():
    with np.errstate(all="ignore"):
        for z, a in (
            ([np.inf, 0], [np.nan] * 2),
            ([-np.inf] * 2, [np.nan] * 2),
            ([0, -np.inf], [1, 0]),
            ([-np.inf], [np.nan]),
        ):
            np.testing.assert_array_equal(deltas.SIGMA["softmax"](np.array([z], float)), [a])
        C, gradient = deltas.LOSSES["cross_entropy"](np.array([[0.0, -np.inf]]), np.array([[1.0, 0.0]]))
    assert (C.tolist(), gradient.tolist()) == ([0.0], [[0.0, 0.0]])


# ── Minibatches ────────────────────────────────────────────────────────────────────────────────


@OF_SIGMOIDS
@pytest.mark.parametrize("loss", nn.LOSSES)
@pytest.mark.parametrize("activation", nn.ACTIVATIONS)
def test_a_minibatch_is_the_mean_of_its_samples(activation, loss):
    rng = np.random.RandomState(5)
    n = 1 if loss == "hinge" else 3
    model = network(rng, [2, 4, 3, n], activation, "linear" if n == 1 else activation)
    x, y = rng.uniform(-1, 1, (5, 2)), [target(rng, loss, n) for _ in range(5)]
    batch = backpropagate(*arrays(model), x, y, loss)
    samples = [backpropagate(*arrays(model), xi, yi, loss) for xi, yi in zip(x, y, strict=True)]
    for i in range(3):
        for name in ("z", "a", "delta"):
            assert_close([getattr(batch, name)[i]], [np.stack([getattr(each, name)[i] for each in samples])])
        for name in ("grad_w", "grad_b"):
            assert_close([getattr(batch, name)[i]], [np.mean([getattr(each, name)[i] for each in samples], axis=0)])
    assert batch.loss == pytest.approx(np.mean([each.loss for each in samples]), rel=1e-14)
    costs = [scalar_graph(model, xi, yi, loss) for xi, yi in zip(x, y, strict=True)]
    assert_close(
        batch.grad_w, [np.mean(layer, axis=0) for layer in zip(*(grad_w for _, _, grad_w, _ in costs), strict=True)]
    )


@pytest.mark.parametrize("m", [None, 1, 3])
def test_shapes(m):
    model = nn.MLP(2, [4, 3], "maxout", "tanh", seed=0)
    rows = () if m is None else (m,)
    matrix = backpropagate(*arrays(model), np.zeros((*rows, 2)), np.zeros((*rows, 3)))
    assert [each.shape for each in matrix.z] == [each.shape for each in matrix.delta] == [(*rows, 2, 4), (*rows, 3)]
    assert [each.shape for each in matrix.a] == [(*rows, 4), (*rows, 3)]
    assert [each.shape for each in matrix.grad_w] == [(2, 4, 2), (3, 4)]
    assert [each.shape for each in matrix.grad_b] == [(2, 4), (3,)]
    assert type(matrix.loss) is float


def test_targets_may_be_classes_or_probabilities_or_a_column_left_out():
    w, b, activations, _, _ = softmax_network()
    x = np.arange(6.0).reshape(2, 3)
    by_class = backpropagate(w, b, activations, x, [2, 0], "cross_entropy")
    by_row = backpropagate(w, b, activations, x, [[0, 0, 1], [1, 0, 0]], "cross_entropy")
    assert flat(by_class.grad_w).tolist() == flat(by_row.grad_w).tolist()
    one = [[[1.0, 2.0]]], [[0.5]], ["linear"], [[1.0, 2.0], [3.0, 4.0]]
    assert backpropagate(*one, [1.0, 2.0]).delta[0].tolist() == backpropagate(*one, [[1.0], [2.0]]).delta[0].tolist()
    assert backpropagate(*one[:3], [1.0, 2.0], 1.0).delta[0].tolist() == [4.5]


def test_arrays_of_a_network():
    model = nn.MLP(2, [3, 1], "maxout", "linear", seed=0)
    weights, biases, activations = arrays(model)
    assert [w.shape for w in weights] == [(2, 3, 2), (1, 3)]
    assert [b.shape for b in biases] == [(2, 3), (1,)]
    assert activations == ["maxout", "linear"]
    assert weights[0][1, 2, 0] == model.layers[0].neurons[2].w[1][0].data
    assert weights[1][0, 2] == model.layers[1].neurons[0].w[2].data


@OF_SIGMOIDS
def test_saturated_and_huge_networks_give_no_warnings():
    for activation in ("sigmoid", "tanh", "elu", "softmax", "maxout"):
        model = nn.MLP(1, [2, 2], activation, activation, seed=1)
        for p in model.parameters():
            p.data *= 1e4
        for y, loss in (([0.5, 0.5], "quadratic"), (1, "cross_entropy")):
            cost, _, grad_w, _ = scalar_graph(model, [1.0], y, loss)
            matrix = backpropagate(*arrays(model), [1.0], y, loss)
            assert matrix.loss == pytest.approx(cost, rel=1e-15)
            assert_close(matrix.grad_w, grad_w)


# ── Known numbers, real data, mistakes ─────────────────────────────────────────────────────────


def test_mazurs_step_by_step_example():
    """The published digits of mattmazur.com, "A Step by Step Backpropagation Example" (2015)."""
    w = [[[0.15, 0.2], [0.25, 0.3]], [[0.4, 0.45], [0.5, 0.55]]]
    b = [[0.35, 0.35], [0.6, 0.6]]
    matrix = backpropagate(w, b, ["sigmoid", "sigmoid"], [0.05, 0.1], [0.01, 0.99])
    assert matrix.loss == pytest.approx(0.298371109, abs=1e-9)
    assert matrix.a[1] == pytest.approx([0.75136507, 0.772928465], abs=1e-8)
    assert matrix.grad_w[1][0, 0] == pytest.approx(0.082167041, abs=1e-9)
    assert matrix.grad_w[0][0, 0] == pytest.approx(0.000438568, abs=1e-9)
    stepped = [np.array(wl) - 0.5 * grad for wl, grad in zip(w, matrix.grad_w, strict=True)]
    assert stepped[0] == pytest.approx(np.array([[0.149780716, 0.19956143], [0.24975114, 0.29950229]]), abs=1e-8)
    assert stepped[1] == pytest.approx(np.array([[0.35891648, 0.408666186], [0.511301270, 0.561370121]]), abs=1e-8)


def test_minibatch_descent_by_the_delta_equations_learns_the_digits():
    images, classes = map(np.array, digits())
    w, b, activations = arrays(nn.MLP(64, [16, 10], "tanh", "softmax", seed=0, init="xavier"))
    order = np.random.RandomState(0)
    for _ in range(6):
        for batch in order.permutation(1500).reshape(-1, 10):
            matrix = backpropagate(w, b, activations, images[batch], classes[batch], "cross_entropy")
            w = [wl - 0.2 * grad for wl, grad in zip(w, matrix.grad_w, strict=True)]
            b = [bl - 0.2 * grad for bl, grad in zip(b, matrix.grad_b, strict=True)]
    unseen = backpropagate(w, b, activations, images[1500:], classes[1500:], "cross_entropy")
    assert (unseen.a[-1].argmax(axis=1) == classes[1500:]).mean() > 0.88


LAYER = {
    "weights": [np.ones((2, 3))],
    "biases": [np.ones(2)],
    "activations": ["tanh"],
    "x": np.ones(3),
    "y": np.ones(2),
}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"x": np.ones(2)}, "expected x of the shape (3,) or (m, 3), got (2,)"),
        ({"x": np.ones((0, 3))}, "expected x of the shape (3,) or (m, 3), got (0, 3)"),
        ({"x": 1.0}, "expected x of the shape (3,) or (m, 3), got ()"),
        ({"y": np.ones(3)}, "expected y of the shape (1, 2) or (2,), got (3,)"),
        ({"x": np.ones((4, 3))}, "expected y of the shape (4, 2), got (2,)"),
        ({"biases": []}, "got 1 weights, 0 biases and 1 activations"),
        ({"weights": [], "biases": [], "activations": []}, "got 0 weights"),
        ({"biases": [np.ones(3)]}, "layer 1 (tanh): expected weights of the shape (n, 3) and biases of the shape (n,)"),
        ({"weights": [np.ones(3)]}, "layer 1 (tanh): expected weights of the shape (n, n_in)"),
        ({"activations": ["maxout"]}, "layer 1 (maxout): expected weights of the shape (2, n, 3) and biases of"),
        ({"weights": [np.ones((2, 2, 3))]}, "layer 1 (tanh): expected weights of the shape (n, 3)"),
        (
            {"weights": [np.ones((2, 3)), np.ones((2, 3))], "biases": [np.ones(2)] * 2, "activations": ["relu"] * 2},
            "layer 2 (relu): expected weights of the shape (n, 2) and biases of the shape (n,), got (2, 3) and (2,)",
        ),
        ({"activations": ["rleu"]}, "layer 1: unknown activation 'rleu'; known are linear, sigmoid"),
        ({"loss": "l2"}, "unknown loss 'l2'; known are quadratic, mean_squared_error, cross_entropy, hinge"),
        ({"loss": "hinge"}, "hinge expects one output, and each y +1 or −1, got 2 outputs"),
        ({"loss": "cross_entropy"}, "cross-entropy expects classes, or probabilities that sum to 1"),
        ({"loss": "cross_entropy", "y": 2}, "expected classes y from 0 to 1, got 2"),
        ({"loss": "cross_entropy", "y": -1}, "expected classes y from 0 to 1, got -1"),
        (  # one bad row among good ones
            {"loss": "cross_entropy", "x": np.ones((3, 3)), "y": [[0.5, 0.5], [0.5, 0.6], [1.0, 0.0]]},
            "cross-entropy expects classes, or probabilities that sum to 1",
        ),
        (
            {"loss": "cross_entropy", "x": np.ones((3, 3)), "y": [[0.5, 0.5], [-0.5, 1.5], [1.0, 0.0]]},
            "cross-entropy expects classes, or probabilities that sum to 1",
        ),
        ({"loss": "cross_entropy", "x": np.ones((2, 3)), "y": [0, 2]}, "expected classes y from 0 to 1, got [0 2]"),
        (
            {"x": np.ones((2, 3)), "y": [0, 1]},
            "expected y of the shape (2, 2), got (2,)",
        ),  # classes, but no cross-entropy
        ({"y": 1}, "expected y of the shape (1, 2) or (2,), got ()"),
        (
            {
                "weights": [np.ones((1, 3))],
                "biases": [np.ones(1)],
                "y": 1,
                "activations": ["softmax"],
                "loss": "cross_entropy",
            },
            "softmax of a single output is always 1: use sigmoid",
        ),
    ],
)
def test_mistakes_are_explained(change, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        backpropagate(**{**LAYER, **change})
