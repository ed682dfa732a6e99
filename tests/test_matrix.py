"""The array program against the scalar engine: random graphs, networks however written, and the edges of its API."""

import builtins
import functools
import itertools
import math
import operator
import os
import random
import re
import threading
import tracemalloc
import warnings
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from graphs import (
    FORMS,
    MODELS,
    RULES,
    STRUCTURES,
    conditioned,
    flat,
    leaves,
    many_of_one_colour,
    many_products,
    random_graph,
    random_network,
    siamese,
    split,
    tree,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from microgradlike import (
    Value,
    affine,
    constant,
    dot,
    log_softmax,
    logsumexp,
    maximum,
    maxout,
    nn,
    operation,
    softmax,
    topological_order,
)
from microgradlike import sum as sum_
from microgradlike.ieee import ieee
from microgradlike.matrix import canonical, colours, gradients, vectorize
from microgradlike.matrix.lines import CHUNK
from microgradlike.matrix.memory import COLUMNS

pytestmark = pytest.mark.usefixtures("lines")  # the walk has tests of its own


def replay(loss, leaf_data):
    """The loss and ∂loss/∂node of the recorded graph with other numbers in some leaves: an oracle of floats."""
    order = topological_order(loss)
    data = {}
    for node in order:
        if node.inputs:
            data[node] = node.op.evaluate(ieee, [data[i] for i in node.inputs])
        else:
            data[node] = leaf_data.get(node, node.data)
    grads = dict.fromkeys(order, 0.0)
    grads[loss] = 1.0
    for node in reversed(order):
        if node.inputs:
            local_grads = node.op.differentiate(ieee, data[node], [data[i] for i in node.inputs])
            for i, local_grad in zip(node.inputs, local_grads, strict=True):
                grads[i] += grads[node] * local_grad
    return data, grads


def check(loss, batch, rng, samples=3, tolerance=1e-14):
    """The program equals the scalar graph at several samples, to a few ulp of the largest number; return it."""
    program = vectorize(loss, batch)
    program._few = random.Random(len(program.found.graph.nodes)).choice([0, program._few])  # lines alike joined or not
    columns = [flat(argument) for argument in batch]
    arrays = [
        np.array([[rng.uniform(0.3, 2) for _ in c] for _ in range(samples)]).reshape(samples, len(c)) for c in columns
    ]
    samples = samples if columns else 1
    expected, total, largest = [], {}, 0.0
    for row in range(samples):
        numbers = {v: float(a[row, k]) for c, a in zip(columns, arrays, strict=True) for k, v in enumerate(c)}
        data, grads = replay(loss, numbers)
        expected.append(data[loss])
        largest = max(largest, *(abs(v) for v in data.values() if v == v))
        for node, g in grads.items():
            total[node] = total.get(node, 0.0) + g / samples
    losses = program.backward(*arrays)
    assert losses.shape == (samples,)
    np.testing.assert_allclose(losses, expected, rtol=tolerance, atol=tolerance * largest)
    np.testing.assert_array_equal(program(*arrays), losses)
    # Sums are added in another order: what cancels keeps their rounding. (A constant exponent has a nan.)
    largest = max(abs(g) for g in total.values() if g == g)
    for p in program.parameters:
        want = np.array([total.get(v, 0.0) for v in p.nodes]).reshape(p.shape)
        np.testing.assert_allclose(p.grad, want, rtol=tolerance, atol=tolerance * largest)
    return program


def products(program):
    """How many matrix products were found; a mere dot product, such as ‖a − y‖², is none."""
    sums = [a.instruction for a in program.arrays if hasattr(a.instruction, "groups")]
    return builtins.sum(
        g.is_product and g.left.index.size + g.right.index.size > 2 * g.left.index.shape[-1]
        for s in sums
        for g in s.groups
    )


def shapes(program):
    return sorted(p.shape for p in program.parameters)


# ── Random graphs ──────────────────────────────────────────────────────────────────────────────


@settings(max_examples=60, deadline=None)
@given(
    st.integers(0, 10**9), st.sampled_from([1, 3, COLUMNS])
)  # from so many samples on, arrays lie otherwise in memory
def test_random_graphs(seed, samples):
    rng = random.Random(seed)
    loss, batch = random_graph(rng)
    check(loss, split(rng, batch), rng, samples)


# ── Networks, however they are written ─────────────────────────────────────────────────────────


@pytest.mark.parametrize("form", FORMS)
def test_same_matrices_however_written(form):
    rng = random.Random(1)
    x = a = leaves(rng, 3)
    for n_in, n_out in ((3, 4), (4, 2)):
        a = [FORMS[form](w, a, b).tanh() for w, b in zip(leaves(rng, n_out, n_in), leaves(rng, n_out), strict=True)]
    y = leaves(rng, 2)
    program = check(0.5 * builtins.sum((p - q) ** 2 for p, q in zip(a, y, strict=True)), [x, y], rng)
    assert products(program) == 2
    assert shapes(program) == [(2,), (2, 4), (4,), (4, 3)]
    assert "take" not in program.source
    assert str(program).startswith("    z¹ = ")
    assert "δ¹ = (W²ᵀ δ²) ⊙ tanh'(z¹)" in str(program)


@pytest.mark.parametrize("activation", ["linear", "sigmoid", "tanh", "relu", "leaky_relu", "elu", "maxout"])
@pytest.mark.parametrize("loss", ["quadratic", "mean_squared_error", "cross_entropy"])
def test_networks(activation, loss):
    rng = random.Random(2)
    model = nn.MLP(3, [4, 4, 2], activation, seed=3)
    x, y = leaves(rng, 3), [Value(0.25), Value(0.75)]
    program = check(nn.losses.LOSSES[loss](model(x), y), [x, y], rng)
    assert products(program) == 3
    assert {p.name for p in program.parameters} == {"W¹", "b¹", "W²", "b²", "W³", "b³"}


@pytest.mark.parametrize("data", ["constants", "leaves", "parameters"])
def test_unrolled_over_samples_with_weight_decay(data):
    rng = random.Random(4)
    model = nn.MLP(3, [4, 2], "relu", seed=5)
    X, Y = leaves(rng, 7, 3), leaves(rng, 7, 2)
    if data == "constants":
        X, Y = ([[v.data for v in row] for row in rows] for rows in (X, Y))
    loss = builtins.sum(nn.losses.quadratic(model(x), y) for x, y in zip(X, Y, strict=True)) * (1 / 7)
    program = check(
        loss + 1e-4 * builtins.sum(p * p for p in model.parameters()), [X, Y] if data == "leaves" else [], rng
    )
    assert products(program) >= 2
    assert {(4, 3), (2, 4)} <= set(shapes(program))
    assert "take" not in program.source


def test_repeated_samples_share_their_rows():
    model = nn.MLP(2, [4, 1], "tanh", seed=6)
    samples = [(0, 0, -1), (0, 1, 1), (1, 0, 1), (1, 1, -1)] * 3
    program = check(builtins.sum((model([float(a), float(b)]) - y) ** 2 for a, b, y in samples), [], random.Random(0))
    assert [(a.name, a.shape) for a in program.arrays if a.name in ("z¹", "a¹", "z²")] == [
        ("z¹", (4, 4)),
        ("a¹", (4, 4)),
        ("z²", (4,)),
    ]


def test_recurrent_network():
    rng = random.Random(7)
    Wx, Wh, b, Wo, xs, y = (
        leaves(rng, 4, 3),
        leaves(rng, 4, 4),
        leaves(rng, 4),
        leaves(rng, 2, 4),
        leaves(rng, 5, 3),
        leaves(rng, 2),
    )
    h = [constant(0.0)] * 4
    for x in xs:
        h = [(affine(Wx[i], x, b[i]) + dot(Wh[i], h)).tanh() for i in range(4)]
    program = check(builtins.sum((dot(Wo[i], h) - y[i]) ** 2 for i in range(2)), [xs, y], rng)
    assert products(program) == 11  # two at each of 5 steps, and the output
    assert shapes(program) == [(2, 4), (4,), (4, 3), (4, 4)]


def test_convolution_and_pooling():
    rng = random.Random(8)
    image, kernels, bias = leaves(rng, 6, 6), leaves(rng, 2, 3, 3), leaves(rng, 2)
    maps = [
        [
            [
                (builtins.sum(k[i][j] * image[p + i][q + j] for i in range(3) for j in range(3)) + b).relu()
                for q in range(4)
            ]
            for p in range(4)
        ]
        for k, b in zip(kernels, bias, strict=True)
    ]
    pooled = [
        maxout([m[p][q], m[p + 1][q], m[p][q + 1], m[p + 1][q + 1]]) for m in maps for p in (0, 2) for q in (0, 2)
    ]
    program = check(builtins.sum(v * v for v in pooled), [image], rng)
    assert products(program) == 1
    assert shapes(program) == [(2,), (2, 9)]


def test_skip_connections_and_cross_entropy():
    rng = random.Random(9)
    x, W, U, b, y = leaves(rng, 4), leaves(rng, 4, 4), leaves(rng, 4, 4), leaves(rng, 4), leaves(rng, 4)
    h = [affine(w, x, c).relu() for w, c in zip(W, b, strict=True)]
    z = [affine(u, h, skip) for u, skip in zip(U, x, strict=True)]
    program = check(-dot(y, log_softmax(z)), [x, y], rng)
    assert products(program) == 2


def test_class_indices_over_samples():
    rng = random.Random(10)
    model = nn.MLP(3, [5, 4], "tanh", seed=1)
    X = leaves(rng, 9, 3)
    program = check(builtins.sum(nn.losses.cross_entropy(model(x), rng.randrange(4)) for x in X) / 9, [X], rng)
    assert products(program) == 2


@pytest.mark.parametrize("causal", [False, True])
def test_attention(causal):
    rng = random.Random(11)
    T, D, heads, size = 5, 4, 2, 2
    X, Wq, Wk, Wv, Wo = leaves(rng, T, D), *(leaves(rng, D, D) for _ in range(4))
    q, k, v = ([[dot(w, x) for w in W] for x in X] for W in (Wq, Wk, Wv))
    loss = constant(0.0)
    for t in range(T):
        row = []
        for h in range(0, D, size):
            seen = range(t + 1 if causal else T)
            p = softmax([dot(q[t][h : h + size], k[u][h : h + size]) * size**-0.5 for u in seen])
            row += [dot(p, [v[u][h + d] for u in seen]) for d in range(size)]
        loss += builtins.sum((dot(w, row) + x) ** 2 for w, x in zip(Wo, X[t], strict=True))
    program = check(loss, [X], rng)
    assert heads == 2
    assert products(program) >= 4  # W x, the scores, the weighted values, Wo
    assert shapes(program) == [(4, 4), (12, 4)]


def test_rows_with_themselves():
    """A matrix of inner products X Xᵀ is no square of X, though both sides read the same entries."""
    rng = random.Random(3)
    X = leaves(rng, 4, 3)
    gram = [[dot(a, b) for b in X] for a in X]
    check(builtins.sum(((i + 1) * (j + 3) * gram[i][j]).tanh() for i in range(4) for j in range(4)), [], rng)


def against_the_scalar_engine(program, *arrays):
    """Losses and gradients are those of the recorded graph, also where they are inf or nan."""
    total, expected, columns = {}, [], [flat(argument) for argument in program.batch]
    for row in range(len(arrays[0]) if arrays else 1):
        data, grads = replay(
            program.loss, {v: float(a[row, k]) for c, a in zip(columns, arrays, strict=True) for k, v in enumerate(c)}
        )
        expected.append(data[program.loss])
        for node, g in grads.items():
            total[node] = total.get(node, 0.0) + g
    samples = len(expected)
    for losses in (program(*arrays), program.backward(*arrays)):
        np.testing.assert_allclose(losses, expected, rtol=1e-13)
    for p in program.parameters:
        want = [total[v] / samples for v in p.nodes]
        np.testing.assert_allclose(p.grad.ravel(), want, rtol=1e-12, err_msg=p.name)


def test_what_a_padded_product_multiplies_by_zero_need_not_be_finite():
    """0 · inf is nan: where sums of different lengths became one product, what only the long ones read may be inf."""
    rng = random.Random(11)
    w, V = leaves(rng, 5, 5), leaves(rng, 5, 3)
    x = Value(0.1)
    values = [[(x * v).exp() for v in row] for row in V]
    rows = [[dot(w[t][: t + 1], [values[u][d] for u in range(t + 1)]).tanh() for d in range(3)] for t in range(5)]
    program = check(builtins.sum(v for row in rows for v in row), [[x]], rng)
    assert products(program) == 1
    big = 800 / max(v.data for row in V[1:] for v in row)
    numbers = np.array([[0.2], [big], [0.3]])
    against_the_scalar_engine(program, numbers[1:2])
    assert np.isfinite(program(numbers)).all()
    against_the_scalar_engine(program, numbers)
    before = [p.data.copy() for p in program.parameters]
    slopes = [p.grad.copy() for p in program.parameters]
    program.descend(numbers, lr=0.5)
    for p, data, slope in zip(program.parameters, before, slopes, strict=True):
        np.testing.assert_allclose(p.data, data - 0.5 * slope, rtol=1e-13)
    program.pull()
    against_the_scalar_engine(program, numbers[::2])


def test_gradients_that_are_finite_stay_so_beside_an_infinite_one():
    """A grid with holes, and sums of different lengths, whose rows have an infinite gradient or entry."""
    rng = random.Random(5)
    w, a = leaves(rng, 4, 3), [[Value(rng.uniform(0.5, 1.0)) for _ in range(3)] for _ in range(4)]
    holes = [dot(w[i], [v.log() for v in a[j]]) for i in range(4) for j in range(4) if (i, j) not in ((1, 2), (3, 3))]
    program = vectorize(builtins.sum(v * v for v in holes), [])
    assert products(program) == 1
    against_the_scalar_engine(program)
    a[2][1].data = 0.0
    program.pull()
    against_the_scalar_engine(program)

    causal = [dot(row[: t + 1], [a[d][u] for u in range(t + 1)]) for t, row in enumerate(w[:3]) for d in range(3)]
    scales = [Value(1.0) for _ in causal]
    program = vectorize(builtins.sum((s * v * v).sqrt() for s, v in zip(scales, causal, strict=True)))
    assert any(g.is_padded for array in program.arrays for g in getattr(array.instruction, "groups", ()))
    against_the_scalar_engine(program)
    scales[1].data = 0.0  # its root has an infinite slope
    program.pull()
    against_the_scalar_engine(program)


def test_negative_constants_beside_an_infinite_gradient():
    """A constant below 0 is no hole: the program gives what the scalar engine gives, once."""
    rows = [[Value(0.5 + i + k) for k in range(3)] for i in range(4)]
    rows[1][2] = Value(0.0)  # its root has an infinite slope
    sums = [dot([-0.5, 2.0, -1.5], [v.sqrt() for v in row]) for row in rows]
    against_the_scalar_engine(vectorize(sum_([z * z for z in sums])))


# ── Structures that random graphs rarely have ──────────────────────────────────────────────────


@pytest.mark.parametrize("structure", STRUCTURES)
@pytest.mark.parametrize("end", ["sum", "tanh", "dot"])
def test_structures(structure, end):
    for seed in range(3):
        rng = random.Random(seed)
        x, w = leaves(rng, 3), leaves(rng, 4)
        parts = structure(rng, x, w)
        rng.shuffle(parts)
        weights = leaves(rng, len(parts))
        loss = {
            "sum": lambda p=parts: sum_(p),
            "tanh": lambda p=parts: builtins.sum(v.tanh() for v in p),
            "dot": lambda p=parts, q=weights: dot(q, p),
        }[end]()
        check(loss, [[x], split(rng, x)][seed % 2], rng, 1 + 2 * seed, 1e-13)
        check(loss, [], rng, tolerance=1e-13)


def test_the_loss_may_be_a_bare_sum_or_product_of_leaves():
    rng = random.Random(0)
    x, w = leaves(rng, 3), leaves(rng, 3)
    bare = [sum_(w), sum_([*w, *x]), w[0] + w[0], w[0] - x[0], dot(w, x), x[0] * x[0], -w[1], w[0] * 1.0]
    beside = [w[0] + x[0] * x[1], x[0] + x[1] * x[2], x[0] - x[1] * x[2], x[0] + w[0] * x[1], w[0] + w[1] * w[2]]
    for loss in bare + beside:
        for batch in ([], [x], [w, x], [[x[0], w[0]], x[1:]]):
            check(loss, batch, rng)
    assert gradients(sum_([w[0], w[0], w[1]])) == {w[0]: 2.0, w[1]: 1.0}


def test_rows_with_one_hash_are_told_apart(monkeypatch):
    """Whatever the hashes are, the arrays found are the same."""
    rng = random.Random(0)
    model = nn.MLP(3, [4, 2], "tanh", seed=1)
    x, y = leaves(rng, 3), leaves(rng, 2)
    loss = nn.losses.quadratic(model(x), y)
    expected = str(vectorize(loss, [x, y]))
    monkeypatch.setattr(canonical, "hashes", lambda rows: np.zeros(len(rows), np.int64))
    assert str(check(loss, [x, y], rng)) == expected
    rows = np.array([[3, 1], [1, 2], [3, 1], [0, 0], [1, 2]])
    number, first = canonical.distinct_rows(rows)
    assert (number.tolist(), first.tolist()) == ([0, 1, 0, 2, 1], [0, 1, 3])


def test_sets_of_uses_with_one_number_only_join_colours(monkeypatch):
    """Should two different sets of uses have the same hash, arrays are larger, and the numbers right."""
    rng = random.Random(3)
    monkeypatch.setattr(colours, "hashes", lambda rows: np.zeros(len(rows), np.int64))
    for _ in range(20):
        loss, batch = random_network(rng)
        check(loss, batch, rng)


# ── Random networks ────────────────────────────────────────────────────────────────────────────
@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**9), st.sampled_from([1, 3, COLUMNS]))
def test_random_networks(seed, samples):
    rng = random.Random(seed)
    loss, batch = random_network(rng)
    check(loss, batch if rng.random() < 0.5 else split(rng, flat(batch)), rng, samples)


# ── Several batch arguments ────────────────────────────────────────────────────────────────────
# Leaves that play one role may stand in several arguments: the towers of a siamese network, the rows of an image.


@pytest.mark.parametrize("model", MODELS)
def test_batch_leaves_may_stand_in_any_arguments(model):
    for seed in range(6):
        rng = random.Random(seed)
        loss, batch = model(rng)
        check(loss, batch, rng, rng.choice([1, 3, COLUMNS]), 1e-13)
        check(loss, split(rng, flat(batch)), rng, rng.choice([1, 3, COLUMNS]), 1e-13)
        some = [v for v in flat(batch) if rng.random() < 0.7]
        check(loss, split(rng, some), rng, 2, 1e-13)  # the others are parameters


def test_each_argument_is_an_array_of_its_own():
    """What plays one role in several arguments is told apart in the equations."""
    x, y, w, u = (Value(0.5 + i, label) for i, label in enumerate("xywu"))
    program = vectorize(x * x + y * y, [[x], [y]])
    assert str(program).split("\n")[0].split("  ")[0] == "C = x² + y²"
    np.testing.assert_array_equal(program(np.array([[3.0]]), np.array([[4.0]])), [25.0])
    program = vectorize(w * x + u * y, [[x], [y]])
    assert [e.right for e in program.equations.backward] == ["y", "x"]
    rng = random.Random(0)
    program = vectorize(*siamese(rng))
    assert products(program) == 4
    assert [str(e) for e in program.equations.forward][:2] == ["z¹ = W¹ x + b¹", "z² = W¹ y + b¹"]
    program = vectorize(*conditioned(rng))
    assert str(program.equations.forward[0]) == "z¹ = W¹ x₁ + W¹′ x₂"


@pytest.mark.parametrize(("make", "tolerance"), [(many_of_one_colour, 1e-13), (many_products, 1e-12)])
@settings(max_examples=100, deadline=None)
@given(st.integers(0, 10**9), st.sampled_from([1, 3, COLUMNS]))
def test_many_nodes_of_one_colour_and_many_products_of_one_vector(make, tolerance, seed, samples):
    rng = random.Random(seed)
    loss, batch = make(rng)
    check(loss, split(rng, batch), rng, samples, tolerance)


# ── What rules may do ──────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_rules_compare_and_choose_as_in_python(rule, dtype):
    """The same rule is the value and the local derivative."""
    record = operation("rule", RULES[rule], lambda xp, y, x: RULES[rule](xp, x) + 0.0)
    x, w = [Value(0.9), Value(0.3)], [Value(1.0), Value(0.8)]
    program = vectorize(sum_([record(a) * record(b) for a, b in zip(w, x, strict=True)]), [x], dtype=dtype)
    rng = np.random.default_rng(0)
    numbers = rng.uniform(-0.2, 1.6, (20, 2)).astype(dtype).astype(float)
    numbers[:3] = [[0.0, -0.0], [1.0, 0.3], [0.8, 0.9]]
    if dtype == np.float64:
        against_the_scalar_engine(program, numbers)
    else:
        data = [replay(program.loss, dict(zip(x, map(float, row), strict=True)))[0][program.loss] for row in numbers]
        np.testing.assert_allclose(program(numbers[3:]), data[3:], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("c", "d"), [(1e300, 1e-300), (1e-300, 1e300), (1e200, 1e200), (1e-200, 1e-200), (1e10, 1e-10)]
)
def test_factors_are_joined_only_where_no_overflow_depends_on_it(c, d):
    """x·c·d is (x·c)·d, as recorded."""
    x, w = Value(1.0), Value(1.0)
    numbers = np.array([[1e154], [1e-154], [1.0], [-3e300], [2e-300], [1e299]])
    for loss in (x * c * d * w, w * (d * (c * x)), sum_([x * c * d, w * c * d])):
        against_the_scalar_engine(vectorize(loss, [x]), numbers)
    small = vectorize((2.0 * (0.25 * x)).tanh(), [x])
    assert len(re.findall(r"multiply\(x0", small.source.partition("copyto")[0])) == 1


# ── Sums of differences ────────────────────────────────────────────────────────────────────────

ONE = Value(1.0)
DIFFERENCES = {
    "a − b": operator.sub,
    "a + (−b)": lambda a, b: a + (-b),
    "−b + a": lambda a, b: (-b) + a,
    "a + (−1)·b": lambda a, b: a + -1 * b,
    "w·a − b": lambda a, b: ONE * a - b,
    "dot − b": lambda a, b: dot([ONE], [a]) - b,
    "affine − b": lambda a, b: affine([ONE], [a], Value(0.0)) - b,
}
SUMS = {
    "sum()": builtins.sum,
    "one sum": sum_,
    "chain": lambda terms: functools.reduce(operator.add, terms),
    "chain from the right": lambda terms: functools.reduce(lambda total, term: term + total, terms),
    "tree": lambda terms: tree(terms),
    "minus": lambda terms: -functools.reduce(operator.sub, terms, Value(0.0)),
    "minus minus": lambda terms: -sum_([-d for d in terms]),
    "mean": lambda terms: builtins.sum(terms) / len(terms),
}


@pytest.mark.parametrize("difference", DIFFERENCES)
@pytest.mark.parametrize("total", SUMS)
def test_a_sum_of_differences_keeps_their_digits(difference, total):
    """Σa − Σb would be 0 or wrong at an offset of 1e15."""
    rng = random.Random(0)
    a, b = ([Value(1e15 + rng.randint(-5, 5)) for _ in range(31)] for _ in range(2))
    loss = SUMS[total]([DIFFERENCES[difference](p, q) for p, q in zip(a, b, strict=True)])
    assert loss.data != 0
    for batch in ([], [a, b], [a]):
        arrays = [np.array([[v.data for v in argument]]) for argument in batch]
        assert vectorize(loss, batch)(*arrays).tolist() == [pytest.approx(loss.data, rel=1e-15)]


@pytest.mark.parametrize(
    "step",
    [
        lambda s, a, x: s - a * x,
        lambda s, a, x: s + a * x - a,
        lambda s, a, x: a - s,
        lambda s, a, x: -(s - a),
        lambda s, a, x: s + -a,
    ],
)
def test_a_chain_of_differences_is_one_sum(step):
    x, s = Value(2.0), Value(0.0)
    for i in range(100):
        s = step(s, Value(0.01 * i), x)
    program = check(s.tanh(), [[x]], random.Random(0))
    assert len(program.arrays) < 10


# ── Size ───────────────────────────────────────────────────────────────────────────────────────


def chain(steps, label=""):
    """y ← tanh(w·y + b), again and again: every node has a colour of its own."""
    w, b, x = Value(0.9), Value(0.1), Value(0.5)
    y = x
    for _ in range(steps):
        y = (y * w + b).tanh()
        y.label = label
    return y, x


@pytest.mark.parametrize(
    "record",
    [
        chain,
        lambda steps: chain(steps, "h"),
        lambda steps: (sum_([chain(i % 7 + 1)[0] * chain(1)[0] for i in range(steps // 5)]), Value(0.0)),
        lambda steps: (builtins.sum(chain(40)[0] for _ in range(steps // 40)), Value(0.0)),
    ],
)
def test_memory_of_finding_grows_with_the_graph(record):
    """Below 1 KB a node, however irregular."""
    vectorize(*(lambda loss, x: (loss, [x]))(*chain(3)))
    for steps in (300, 1500):
        loss, x = record(steps)
        nodes = len(topological_order(loss))
        tracemalloc.start()
        program = vectorize(loss, [x])
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert peak / nodes < 1000
    assert program.loss is loss


def test_long_programs_run_in_parts():
    loss, x = chain(CHUNK // 2)
    program = vectorize(loss, [x])
    assert program.source.count("\n") > 2 * CHUNK
    against_the_scalar_engine(program, np.array([[0.5], [-2.0]]))


# ── The program ────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def network():
    rng = random.Random(12)
    model = nn.MLP(3, [4, 2], "tanh", output="sigmoid", seed=13)
    x, y = [Value(0.1 * i, label=f"x{'₀₁₂'[i]}") for i in range(3)], [Value(0.5, label=f"y{'₀₁'[i]}") for i in range(2)]
    loss = nn.losses.quadratic(model(x), y)
    return model, loss, vectorize(loss, [x, y]), rng


def test_reads_like_the_textbook(network):
    equations = [line.split("  ")[0] for line in map(str.strip, str(network[2]).splitlines())]
    assert equations == [
        "z¹ = W¹ x + b¹", "a¹ = tanh(z¹)", "z² = W² a¹ + b²", "a² = σ(z²)", "C = ½‖a² − y‖²", "",
        "δ² = (a² − y) ⊙ σ'(z²)", "δ¹ = (W²ᵀ δ²) ⊙ tanh'(z¹)",
        "∂C/∂b² = δ²", "∂C/∂W² = δ² a¹ᵀ", "∂C/∂b¹ = δ¹", "∂C/∂W¹ = δ¹ xᵀ",
    ]  # fmt: skip
    assert r"\delta^{1} &= (W^{2\top} \delta^{2}) \odot" in network[2].equations.latex()
    assert network[2]._repr_mimebundle_()["text/plain"] == str(network[2])


def test_names_of_layers_and_of_what_only_begins_with_z():
    x, W = leaves(random.Random(0), 2), leaves(random.Random(1), 3, 2)
    zeta = [dot(row, x) for row in W]
    for i, z in enumerate(zeta):
        z.label = f"zeta{i}"
    program = vectorize(builtins.sum(z.tanh() for z in zeta), [x])
    assert str(program).splitlines()[0].split() == ["zeta", "=", "W¹", "x", "3"]
    assert "δ" not in str(program)


def test_where_and_nodes(network):
    model, loss, program, _ = network
    place = program.where(model.layers[1].neurons[1].w[2])
    assert (place.name, place.entry) == ("W²", (1, 2))
    assert str(program.where(model.layers[0].z[3])) == "z¹[3]"
    assert program.nodes("W²")[1, 2] is model.layers[1].neurons[1].w[2]
    assert program.where(loss).name == program.name_of(loss) == "C"
    for array in program.arrays:  # batch leaves as well
        for node in program.nodes(array.name).ravel():
            name, entry = program.where(node)
            assert name == program.name_of(node) == array.name
            assert program.nodes(name)[entry] is node
    with pytest.raises(KeyError, match="not part of"):
        program.where(Value(1.0))
    with pytest.raises(KeyError, match="there are"):
        program.nodes("W⁷")


def test_training_on_arrays_equals_training_on_values(network):
    model, _loss, program, rng = network
    samples = [([rng.random() for _ in range(3)], [rng.random(), rng.random()]) for _ in range(4)]
    X, Y = (np.array(a) for a in zip(*samples, strict=True))
    for optimizer, settings_ in ((nn.SGD, {"lr": 0.3}), (nn.Adam, {"lr": 0.05})):
        scalar, arrays = optimizer(model.parameters(), **settings_), optimizer(program.parameters, **settings_)
        program.pull()
        for _ in range(5):
            program.backward(X, Y)
            arrays.step()
        for _ in range(5):
            scalar.zero_grad()
            total = builtins.sum(nn.losses.quadratic(model(x), y) for x, y in samples) / 4
            total.backward()
            scalar.step()
        for p in program.parameters:
            np.testing.assert_allclose(p.data.ravel(), [v.data for v in p.nodes], rtol=1e-11)
    program.push()
    program.pull()
    before = {p.name: p.data.copy() for p in program.parameters}
    program.descend(X, Y, lr=0.5)
    after = {p.name: p.data.copy() for p in program.parameters}
    program.pull()
    slopes = program.gradients(X, Y)
    for name, data in before.items():
        np.testing.assert_allclose(after[name], data - 0.5 * slopes[name], rtol=1e-12)


@pytest.mark.parametrize("samples", [1, 5, COLUMNS, 3 * COLUMNS])
def test_a_batch_is_the_mean_of_its_samples(network, samples):
    """Whatever was called before, for batches of any size, in any order."""
    _, _, program, rng = network
    X = np.array([[rng.gauss(0, 1) for _ in range(3)] for _ in range(samples)])
    Y = np.array([[rng.random() for _ in range(2)] for _ in range(samples)])
    alone = [program.gradients(X[i : i + 1], Y[i : i + 1]) for i in range(samples)]
    losses = [program(X[i : i + 1], Y[i : i + 1])[0] for i in range(samples)]
    together = program.gradients(X, Y)
    np.testing.assert_allclose(program(X, Y), losses, rtol=1e-12)
    for name, gradient in together.items():
        mean = np.mean([g[name] for g in alone], axis=0)
        np.testing.assert_allclose(gradient, mean, rtol=1e-12, atol=1e-13 * np.abs(mean).max())
    before = [p.data.copy() for p in program.parameters]
    program.descend(X, Y, lr=0.25)
    for p, data in zip(program.parameters, before, strict=True):
        np.testing.assert_allclose(p.data, data - 0.25 * together[p.name], rtol=1e-13)
        assert not p.has_grad
        p.grad = data
        assert p.has_grad
        p.grad = None  # as PyTorch's zero_grad leaves it
        assert not p.has_grad
    np.testing.assert_allclose(program.gradients(X[:0], Y[:0])["b¹"], 0.0)


def test_push_and_pull(network):
    model, _, program, _ = network
    X, Y = np.ones((2, 3)), np.zeros((2, 2))
    program.backward(X, Y)
    program.parameters[0].data += 1.0
    program.push()
    p = program.parameters[0]
    assert [v.data for v in p.nodes] == p.data.ravel().tolist()
    assert [v.grad for v in p.nodes] == p.grad.ravel().tolist()
    model.layers[0].neurons[0].w[0].data = 7.0
    program.pull()
    assert program.parameters[0].data[0, 0] == 7.0


def test_push_before_any_backward_leaves_gradients_as_they_are():
    x, w, u = Value(2.0), Value(3.0), Value(4.0)
    (w * x).backward()
    program = vectorize(w * x + u, [x])
    program.parameters[0].data = [5.0]
    program.push()
    assert (w.data, w.grad, w.has_grad, u.has_grad) == (5.0, 2.0, True, False)
    program.descend(np.ones((1, 1)), lr=1.0)
    program.push()
    assert (w.data, w.grad, w.has_grad, u.has_grad) == (4.0, 2.0, True, False)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_calls_are_quiet_and_the_same_in_any_errstate(dtype):
    """What overflows on the way, or only in a check, is no error and no warning: arithmetic is that of IEEE 754."""
    x, w, rng = leaves(random.Random(0), 3), leaves(random.Random(1), 2, 3), np.random.default_rng(0)
    big = 1e200 if dtype == np.float64 else 1e25
    numbers = np.vstack([rng.normal(size=(4, 3)), np.full((1, 3), big), np.full((1, 3), -big), np.full((1, 3), 1e-300)])

    def results():
        loss = sum_([dot(row, x).exp() * x[0] * 2.0 for row in w]) + (dot(w[0], x) * 1e300).tanh()
        program = vectorize(loss, [x], dtype=dtype)
        found = [program(numbers), program.backward(numbers), *(p.grad.copy() for p in program.parameters)]
        program.descend(numbers[:4], lr=1e-300)
        program.parameters[0].data = np.full(program.parameters[0].shape, 1e300)
        found += [p.data.copy() for p in program.parameters]
        program.pull()
        return [*found, vectorize(x[0] * 2.0, [x], dtype=dtype)(numbers)]

    with np.errstate(all="ignore"):
        expected = results()
    assert np.isfinite(expected[-1]).all()
    with np.errstate(all="raise"), warnings.catch_warnings():
        warnings.simplefilter("error")
        for a, b in zip(results(), expected, strict=True):
            np.testing.assert_array_equal(a, b)


def test_what_is_only_compared_does_not_reach_the_gradients():
    """The logarithm of 0 that a comparison sees has an infinite slope, and shares a rule with that of the loss."""
    x, w = Value(2.0), [Value(0.0), Value(3.0), Value(4.0)]

    def record():
        logs = [(v * x).log() for v in w]
        return logs[1] * logs[2] if logs[0] < logs[1] else logs[0]

    program = vectorize(record, [x])
    program.backward(np.array([[2.0]]))
    data, grads = replay(program.loss, {x: 2.0})
    assert {v: g for p in program.parameters for v, g in zip(p.nodes, p.grad, strict=True) if v is not w[0]} == {
        v: pytest.approx(grads[v], rel=1e-14) for v in w[1:]
    }
    assert program(np.array([[2.0]])).tolist() == [pytest.approx(data[program.loss], rel=1e-14)]


@pytest.mark.parametrize("first", [math.inf, -math.inf, math.nan, 1.5])
def test_infinite_constants_are_read_and_written_without_a_warning(first):
    x, w = ([Value(0.3 * i + 0.1, f"{name}{i}") for i in range(4)] for name in "xw")
    for others in itertools.product((math.inf, -math.inf, math.nan, 1.5), repeat=2):
        constants = [first, *others, first]
        loss = sum_([maximum(v, c) * y for v, c, y in zip(w, constants, x, strict=True)])
        loss = loss + sum_([maximum(v, c).tanh() * y for c in constants for v, y in zip(w, x, strict=True)])
        program = vectorize(loss, [x])
        assert str(program) and program.source
        np.testing.assert_allclose(program(np.array([[v.data for v in x]] * 3)), [loss.data] * 3, rtol=1e-14)


@pytest.mark.parametrize(
    ("reduce", "text"),
    [
        (lambda v: maxout([v] * 3), "C = x w"),
        (lambda v: logsumexp([v] * 3), "C = x w + 1.09861228866811"),
        (lambda v: logsumexp([v] * 2), "C = x w + 0.693147180559945"),
    ],
)
def test_a_reduction_of_one_number_again_and_again(reduce, text):
    x, w = Value(0.5, "x"), Value(0.3, "w")
    program = vectorize(reduce(w * x), [[x]])
    assert [str(e) for e in program.equations.forward] == [text]
    assert [str(e) for e in program.equations.backward] == ["∂C/∂w = x"]
    against_the_scalar_engine(program, np.array([[0.5], [2.0]]))


@pytest.mark.parametrize("lengths", [(1, 2), (2, 1), (1, 2, 3), (3, 2, 1), (2, 3), (1, 3, 2)])
def test_ragged_sums_that_step_evenly_past_their_ends(lengths):
    """The rows [0, none], [1, 0] step evenly, for none counts as −1; so do others, forwards and backwards."""
    rng = random.Random(0)
    x, w = leaves(rng, 1), leaves(rng, 8)
    for down, along in itertools.product((-1, 0, 1, 2), (-1, 1)):
        rows = [[i * down + k * along for k in range(n)] for i, n in enumerate(lengths)]
        least = min(map(min, rows))
        varying = [(v * x[0]).exp() for v in w]
        for sign in (1.0, -1.0):
            sums = [varying[0] + sign * sum_([varying[i - least] for i in row]) for row in rows]
            loss = sum_([z.tanh() for z in sums])
            check(loss, [x], rng, 3)


@pytest.mark.parametrize("hole", range(5))
@pytest.mark.parametrize("full", [0, 1])
def test_a_padded_product_with_one_hole(hole, full):
    """Where the hole is the first entry, −1 for it and the positions of the others step evenly."""
    rng = random.Random(0)
    x = leaves(rng, 5)
    rows = [x[:hole] + x[hole + 1 :], x] if full else [x, x[:hole] + x[hole + 1 :]]
    loss = sum_([sum_([v * w for v, w in zip(row, leaves(rng, len(row)), strict=True)]).tanh() for row in rows])
    assert products(vectorize(loss, [x])) == 1
    check(loss, [x], rng, 3)


def test_what_is_only_compared_has_arrays_of_its_own():
    x, w = Value(0.5, "x"), [Value(0.1 * i, f"w{i}") for i in (1, 2, 3)]

    def record():
        h = [(v * x).tanh() for v in w]
        return h[0] + h[1] if h[2] > 0.0 else h[0] - h[1]

    program = vectorize(record, [[x]])
    assert str(program.equations.forward[-1]) == "C = Σ tanh(x w)"
    assert [p.shape for p in program.parameters if p.name == "w"] == [(2,)]


def test_the_zero_that_a_sum_starts_with_is_no_term():
    """Python's own sum() of one Value is that Value."""
    x, w = Value(0.5, "x"), Value(0.25, "w")
    for loss in (builtins.sum([w * x]), w * x):
        assert str(vectorize(loss, [[x]]).found).splitlines()[-1] == "C (1,) ~ = x · w"
    assert str(vectorize(builtins.sum([w]).tanh() * x, [[x]]).found).splitlines()[2] == "v₁ (1,) = w"


@pytest.mark.parametrize("alone", [lambda v: sum_([v]), lambda v: builtins.sum([v]), lambda v: +v])
def test_a_sum_of_one_parameter_is_no_product(alone):
    """P in w·p is a matrix, also where each of its entries is a sum of that entry alone."""
    W, P = ([[Value(0.1 * i + 0.3 * j, f"{name}{j}{i}") for i in range(3)] for j in range(4)] for name in "WP")

    def equations(f):
        sums = [sum_([w * f(p) for w, p in zip(row, other, strict=True)]) for row, other in zip(W, P, strict=True)]
        return sorted(map(str, vectorize(sum_([z.tanh() for z in sums])).equations.forward))

    assert equations(alone) == equations(lambda v: v) == ["C = Σ a¹", "a¹ = tanh(z¹)", "z¹ᵢ = Σⱼ Wᵢⱼ Pᵢⱼ"]


@pytest.mark.parametrize("others", range(1, 24))
def test_a_sum_is_multiplied_out_for_what_stands_beside_it_alone(others):
    """(p + q) x is p x + q x beside p′ x, wherever in the graph that is; beside p′ x of another sum it is not."""
    x = [Value(0.5 + i, f"x{i}") for i in range(3)]
    p, q = ([Value(0.3 + 0.1 * i, f"{name}{i}") for i in range(4)] for name in "pq")
    first = (p[0] * x[2] + (p[1] + q[0]) * x[2]).tanh()
    between = sum_([Value(0.1 * i, f"f{i}").exp() for i in range(others)]).tanh()
    loss = first * between + ((p[2] + q[1]) * x[0] + q[2]).tanh()
    text = str(vectorize(loss, [[v] for v in x]).equations.forward[-1])
    assert text.startswith("C = tanh(x2 (Σ p) + x2 q0) tanh(") and text.endswith(" + tanh(x0 (Σ w₁) + q2)")


def test_a_loss_may_be_an_entry_of_an_array():
    """A leaf of the batch, or one of two parameters of which the other is compared only."""
    x, w = ([Value(0.5 + i, f"{name}{i}") for i in range(2)] for name in "xw")
    assert [str(e) for e in vectorize(x[1], [x]).equations.forward] == ["C = x[2]"]
    program = vectorize(lambda: w[1] if w[0] < w[1] else w[0])
    assert [(str(e), e.shape) for e in program.equations.forward] == [("c₁ = [0, 1]", (2,)), ("C = w[2]", (1,))]
    assert str(program.equations.backward[0]) == "∂C/∂w = c₁"
    assert (program.backward().tolist(), program.parameters[0].grad.tolist()) == ([1.5], [0.0, 1.0])


def test_kinds_of_arrays(network):
    _, _, program, _rng = network
    X, Y = np.array([[1, 2, 3], [4, 5, 6]]), np.array([[0, 1], [1, 0]])
    want = program(X.astype(float), Y.astype(float))
    np.testing.assert_array_equal(program(X, Y), want)
    np.testing.assert_array_equal(program(X.tolist(), Y.astype(np.float32)), want)
    np.testing.assert_array_equal(program(np.asfortranarray(X, float), np.repeat(Y, 2, axis=1)[:, ::2]), want)
    np.testing.assert_allclose(program(X[:1], Y[:1]), want[:1], rtol=1e-15)
    assert program(X[:0], Y[:0]).shape == (0,)
    program.backward(X[:0], Y[:0])
    assert all((p.grad == 0).all() for p in program.parameters)


def test_float32():
    x = [Value(0.5), Value(1.5)]
    w = [Value(2.0), Value(-1.0)]
    program = vectorize(dot(w, x).sigmoid(), [x], dtype=np.float32)
    assert program(np.ones((3, 2))).dtype == np.float32
    np.testing.assert_allclose(program(np.ones((1, 2))), 1 / (1 + np.exp(-1.0)), rtol=1e-6)
    program.backward(np.ones((1, 2)))
    assert program.parameters[0].grad.dtype == np.float32


@pytest.mark.parametrize("classes", [2, 16, 17])  # short rows that are reduced lie in columns
@pytest.mark.parametrize("samples", [COLUMNS - 1, COLUMNS])
def test_softmax_of_many_samples_in_float32(classes, samples):
    x, y = [Value(0.0) for _ in range(3)], [Value(1 / classes) for _ in range(classes)]
    loss = nn.cross_entropy(nn.MLP(3, [4, classes], "tanh", output="linear", seed=1)(x), y)
    rng = np.random.default_rng(0)
    X, Y = rng.normal(size=(samples, 3)), np.eye(classes)[rng.integers(0, classes, samples)]
    single, double = (vectorize(loss, [x, y], dtype=dtype) for dtype in (np.float32, np.float64))
    np.testing.assert_allclose(single.backward(X, Y), double.backward(X, Y), rtol=1e-5)
    for p, q in zip(single.parameters, double.parameters, strict=True):
        np.testing.assert_allclose(p.grad, q.grad, atol=1e-5 * np.abs(q.grad).max())
    single.descend(X, Y, lr=0.1), double.descend(X, Y, lr=0.1)
    for p, q in zip(single.parameters, double.parameters, strict=True):
        np.testing.assert_allclose(p.data, q.data, atol=1e-5)


@pytest.mark.parametrize(
    ("args", "error", "message"),
    [
        ([np.ones((2, 3))], TypeError, "expected 2 arrays"),
        ([np.ones((2, 4)), np.ones((2, 2))], ValueError, r"shape \(m, 3\)"),
        ([np.ones((2, 3)), np.ones((3, 2))], ValueError, "one number of samples"),
        ([1.0, np.ones((3, 2))], ValueError, "got a number"),
        ([np.ones((2, 3), complex), np.ones((2, 2))], TypeError, "real numbers, got one of complex128"),
        ([np.array([["a"] * 3]), np.ones((1, 2))], TypeError, "real numbers"),
        ([np.ma.masked_array(np.ones((2, 3)), mask=False), np.ones((2, 2))], TypeError, "got a masked array"),
        ([np.full((2, 3), np.nan), np.ones((2, 2))], ValueError, "not finite"),
        ([np.array([[1.0, np.inf, 0.0]]), np.ones((1, 2))], ValueError, "not finite"),
        ([np.ones((1, 3)), np.array([[1.0, -np.inf]])], ValueError, "not finite"),
    ],
)
def test_bad_arrays(network, args, error, message):
    values, descend = functools.partial(network[2].values, network[1]), functools.partial(network[2].descend, lr=0.1)
    for call in (network[2], network[2].backward, values, descend):
        before = [p.data.copy() for p in network[2].parameters]
        with pytest.raises(error, match=message):
            call(*args)
        for p, data in zip(network[2].parameters, before, strict=True):
            np.testing.assert_array_equal(p.data, data)


def test_bad_arguments_of_vectorize():
    x = Value(1.0)
    y = x * 2.0
    with pytest.raises(TypeError, match="expected the loss"):
        vectorize(3.0)
    with pytest.raises(TypeError, match="must return a Value"):
        vectorize(lambda: 3.0)
    with pytest.raises(TypeError, match="Values in lists"):
        vectorize(y, [1.0])
    with pytest.raises(ValueError, match="result of"):
        vectorize(y, [y])
    with pytest.raises(ValueError, match="twice"):
        vectorize(y, [x, x])
    with pytest.raises(ValueError, match="the loss is a constant"):
        vectorize(constant(3.0), [x])
    for nothing in (None, 3, {"x": x}, {x}):
        with pytest.raises(TypeError, match="list leaves, Values in lists"):
            vectorize(y, nothing)
        with pytest.raises(TypeError, match="list leaves, Values in lists"):
            vectorize(y, parameters=nothing or 0)
    with pytest.raises(ValueError, match="stands in batch and in parameters"):
        vectorize(y, [x], parameters=[x])
    assert vectorize(y, iter([x])).batch == vectorize(y, (v for v in [[x]])).batch == [[x]]
    with pytest.raises(ValueError, match="does not depend"):
        vectorize(y, parameters=[Value(1.0)])
    with pytest.raises(TypeError, match="float64 or float32"):
        vectorize(y, dtype=int)


def test_leaves_the_loss_does_not_depend_on():
    x, unused, w = Value(2.0), Value(3.0), Value(5.0)
    program = vectorize(w * 3.0, [[x], [unused]])
    np.testing.assert_array_equal(program(np.ones((4, 1)), np.ones((4, 1))), [15.0] * 4)
    program.backward(np.ones((4, 1)), np.ones((4, 1)))
    np.testing.assert_array_equal(program.parameters[0].grad, [3.0])
    assert vectorize(x * 1.0, [x])(np.array([[7.0]])).tolist() == [7.0]
    assert vectorize(w)().tolist() == [5.0]


def test_only_the_parameters_asked_for():
    x, w, frozen = Value(2.0), Value(3.0), Value(4.0, label="frozen")
    program = vectorize((w * x + frozen).tanh(), [x], parameters=[w])
    assert [p.nodes for p in program.parameters] == [[w]]
    frozen.data = -6.0
    program.pull()
    np.testing.assert_allclose(program(np.array([[2.0]])), [0.0], atol=1e-15)


def test_leaves_that_are_not_asked_for_stay_as_they_are():
    w, x = [Value(float(i), f"w{i}") for i in range(3)], leaves(random.Random(0), 3)
    program = vectorize((dot(w, x) - 1.0) ** 2, [x], parameters=w[:1])
    assert [p.nodes for p in program.parameters] == [w[:1]]
    program.descend(np.ones((1, 3)), lr=0.1)  # ∂/∂w₀ = 2 (0 + 1 + 2 − 1)
    program.push()
    np.testing.assert_allclose([v.data for v in w], [-0.4, 1.0, 2.0], rtol=1e-15)
    assert [e.left for e in program.equations.backward if e.left.startswith("∂C/∂w")] == ["∂C/∂w0"]


@pytest.mark.parametrize("lr", [None, "a", float("nan"), float("inf")])
def test_learning_rates_that_are_none(lr):
    x, w = Value(2.0), Value(3.0)
    program = vectorize(w * x, [x])
    program.backward(np.ones((1, 1)))
    for _ in range(2):
        with pytest.raises(ValueError, match="learning rate must be a finite number"):
            program.descend(np.ones((1, 1)), lr=lr)
    np.testing.assert_array_equal(program.parameters[0].data, [3.0])


def test_an_empty_batch_of_which_parts_are_read():
    x, w = leaves(random.Random(0), 3), Value(3.0)
    program = vectorize(x[0] * w + x[1] ** 2, [x])
    assert program(np.ones((0, 3))).shape == program.backward(np.ones((0, 3))).shape == (0,)
    np.testing.assert_array_equal(program.parameters[0].grad, [0.0])


def test_grad_is_none_after_a_descent():
    x, w = Value(2.0), Value(3.0)
    program = vectorize(w * x, [x])
    for _ in range(2):
        program.parameters[0].grad = np.ones(1)
        program.descend(np.ones((1, 1)), lr=0.5)
        assert not program.parameters[0].has_grad
    np.testing.assert_array_equal(program.parameters[0].data, [2.0])


def test_comparing_with_anything_while_recording():
    x = Value(2.0)
    program = vectorize(lambda: x * 2.0 if x != None and (x == True) is False else x, [x])  # noqa: E711, E712
    np.testing.assert_array_equal(program(np.array([[3.0]])), [6.0])
    with pytest.raises(ValueError, match=r"== 1\.0 did not hold"):
        program(np.array([[1.0]]))


def test_whether_two_values_are_one_node_is_no_comparison_of_numbers():
    x, y = Value(2.0), Value(2.0)
    program = vectorize(lambda: x * y if x in [y, x] and x != y else x, [[x], [y]])
    np.testing.assert_array_equal(program(np.array([[3.0], [4.0]]), np.array([[3.0], [5.0]])), [9.0, 20.0])


def test_branches_taken_while_recording_are_guarded():
    x, w = Value(2.0, label="x"), Value(3.0)

    def record():
        z = w * x
        return z * z if z > 1.0 else -z

    program = vectorize(record, [x])
    np.testing.assert_array_equal(program(np.array([[2.0], [1.0]])), [36.0, 9.0])
    for call in (program, program.backward, functools.partial(program.descend, lr=0.1)):
        with pytest.raises(ValueError, match="took that branch"):
            call(np.array([[2.0], [-1.0]]))
    assert w.data == 3.0
    np.testing.assert_array_equal(program.parameters[0].data, [3.0])
    assert (Value(1.0) < 2.0) is True  # and comparing is as before
    biggest = vectorize(lambda: max([w * x, w + x, x * x]), [x])
    np.testing.assert_array_equal(biggest(np.array([[2.5]])), [7.5])
    with pytest.raises(ValueError, match="took that branch"):
        biggest(np.array([[10.0]]))


def test_other_threads_compare_as_ever_while_comparisons_are_noted():
    x, ready, done = Value(2.0), threading.Event(), threading.Event()
    seen = []

    def record():
        ready.set()
        assert done.wait(10)
        return x * 3.0 if x > 1.0 else -x

    def elsewhere():
        assert ready.wait(10)
        seen.append(Value(5.0) < 4.0)
        done.set()
        seen.append(vectorize(lambda: x * 2.0 if x > 0.0 else x, [x])(np.array([[1.0]])))

    thread = threading.Thread(target=elsewhere)
    thread.start()
    program = vectorize(record, [x])
    thread.join()
    assert seen == [False, [2.0]]
    np.testing.assert_array_equal(program(np.array([[2.0]])), [6.0])
    with pytest.raises(ValueError, match=r"> 1.0 did hold"):
        program(np.array([[0.5]]))
    assert Value.__lt__.__name__ == "__lt__"


def test_threads_take_turns(network):
    _, _, program, _ = network
    X, Y = np.random.default_rng(0).normal(size=(4, 40, 3)), np.full((40, 2), 0.5)
    want = [program.gradients(x, Y) for x in X]

    def work(i):
        for _ in range(200):
            for name, gradient in program.gradients(X[i], Y).items():
                np.testing.assert_array_equal(gradient, want[i][name])

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(work, range(4)))


def test_gradients_of_all_leaves():
    model = nn.MLP(2, [3, 1], "tanh", seed=1)
    loss = nn.losses.quadratic(model([0.5, -1.0]), [0.25])
    found = gradients(loss)
    loss.backward()
    assert set(found) == set(model.parameters())
    np.testing.assert_allclose(list(found.values()), [p.grad for p in found], rtol=1e-13)


def test_no_work_for_scalar_nodes_in_a_call(monkeypatch, network):
    """A call touches arrays alone: it runs with all Values out of reach."""
    program = network[2]
    want = program(np.ones((2, 3)), np.ones((2, 2)))
    monkeypatch.setattr(program, "found", None)
    monkeypatch.setattr(program, "arrays", None)
    np.testing.assert_array_equal(program.backward(np.ones((2, 3)), np.ones((2, 2))), want)


def test_ties_and_kinks_are_as_in_the_scalar_engine():
    x = [Value(1.0), Value(1.0), Value(0.0)]
    loss = maximum(x[0], x[1]) + maxout(x) * 3.0 + x[2].relu() + abs(x[2]) + logsumexp(x)
    found = gradients(loss)
    loss.backward()
    np.testing.assert_allclose([found[v] for v in x], [v.grad for v in x], rtol=1e-15)


def test_relu_is_one_call_and_knows_no_minus_zero():
    x = Value(1.0)
    program = vectorize(1.0 / x.relu(), [x])
    assert "maximum(" in program.source
    np.testing.assert_array_equal(program(np.array([[-0.0], [-2.0], [4.0], [0.0]])), [np.inf, np.inf, 0.25, np.inf])


# ── From where else it is called ───────────────────────────────────────────────────────────────


def test_the_memory_of_a_call_is_two_arrays_for_each_node_of_a_chain():
    """A value, and a few more for what lies between: gradients lie where others lay whose use is over."""
    x, w = Value(0.5), Value(0.7)
    v = x
    for _ in range(30):
        v = (v * w).tanh()
    program, m = vectorize(v, batch=[[x]]), 20_000
    tracemalloc.start()
    program.backward(np.linspace(-1, 1, m)[:, None])
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 2.5 * 60 * 8 * m


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork.*:DeprecationWarning")
def test_a_child_forked_during_a_call_of_another_thread_has_a_program_that_runs(holds_in_children):
    x = [Value(0.0) for _ in range(8)]
    program = vectorize(nn.quadratic(nn.MLP(8, [16, 1], seed=0)(x), 1.0), batch=[x])
    batch = np.linspace(-1, 1, 8 * 400).reshape(400, 8)
    expected = program(batch).sum()
    holds_in_children(lambda: program(batch).sum() == expected, lambda: program.backward(batch), children=10)


def test_a_call_within_a_call_is_refused_and_the_outer_one_is_right():
    x = Value(1.0, "x")
    refused = []

    program = vectorize(x * x, batch=[[x]])
    run = program._run

    def interrupted_run(*args):
        try:
            program([[5.0]])
        except RuntimeError as error:
            refused.append(str(error))
        run(*args)

    program._run = interrupted_run
    assert list(program([[3.0], [4.0]])) == [9.0, 16.0]
    assert "in the middle of a call" in refused[0]
    program._run = run
    assert list(program([[5.0]])) == [25.0]
