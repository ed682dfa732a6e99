"""`program.values`: the numbers of any recorded nodes for a batch, against the scalar engine."""

import functools
import random
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from graphs import MODELS, RANDOM, flat, leaves, split
from hypothesis import given, settings
from hypothesis import strategies as st

from microgradlike import Value, constant, dot, gradient, nn, softmax, topological_order, vectorize
from microgradlike import sum as sum_
from microgradlike.ieee import ieee
from microgradlike.matrix.memory import COLUMNS
from microgradlike.matrix.program import FRAMES


def replay(order, numbers):
    """The number of every node, with these numbers of the leaves."""
    data = {}
    for node in order:
        inputs = [data[i] for i in node.inputs]
        data[node] = node.op.evaluate(ieee, inputs) if inputs else numbers.get(node, node.data)
    return data


def check(loss, batch, rng, samples):
    """The numbers of some nodes, of all of them, and of each array, are those of the scalar engine."""
    program = vectorize(loss, batch)
    arrays = [np.array([[rng.uniform(0.3, 2) for _ in flat(a)] for _ in range(samples)]).reshape(samples, -1)
              for a in batch]  # fmt: skip
    columns = [v for argument in batch for v in flat(argument)]
    order = [*topological_order(loss), *columns]  # some may be no part of the loss
    rows = [
        replay(order, dict(zip(columns, row, strict=True)))
        for row in np.hstack([np.empty((len(arrays[0]) if batch else 1, 0)), *arrays]).tolist()
    ]
    largest = max(abs(x) for data in rows for x in data.values() if x == x)
    one = program.nodes(rng.choice(program.arrays).name)
    for nodes in (rng.sample(order, rng.randint(0, len(order))), order, one):
        got = program.values(nodes, *arrays)
        listed = np.array([None, *np.ravel(nodes)], object)[1:]
        want = np.array([[np.nan if v is None else data[v] for v in listed] for data in rows])
        np.testing.assert_allclose(got, want.reshape(got.shape), rtol=1e-13, atol=1e-14 * largest)
    np.testing.assert_allclose(program.values(loss, *arrays), program(*arrays), rtol=1e-13, atol=1e-14 * largest)


@settings(max_examples=20, deadline=None)
@given(
    st.integers(0, 10**9),
    st.sampled_from(RANDOM),
    st.sampled_from([1, 3, COLUMNS]),
)
def test_random_graphs(seed, make, samples):
    rng = random.Random(seed)
    loss, batch = make(rng)
    check(loss, split(rng, flat(batch)), rng, samples)


@pytest.mark.parametrize("model", MODELS)
def test_models_of_several_arguments(model):
    rng = random.Random(1)
    check(*model(rng), rng, samples=3)


@pytest.fixture
def network():
    model = nn.MLP(3, [4, 2], "tanh", output="softmax", seed=13)
    x, y = [Value(0.1, f"x[{i}]") for i in range(3)], [Value(i, f"y[{i}]") for i in range(2)]
    output = model(x)
    return model, x, y, output, vectorize(nn.cross_entropy(output, y), [x, y])


RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(5, 3)), np.eye(2)[[0, 1, 1, 0, 1]]


def outputs(model, rows=X):
    return np.array([[p.data for p in model(row.tolist())] for row in rows])


@pytest.mark.parametrize(
    ("shape", "nodes"),
    [
        ((), lambda output, x: output[0]),
        ((2,), lambda output, x: output),
        ((2,), lambda output, x: tuple(output)),
        ((2,), lambda output, x: iter(output)),
        ((2,), lambda output, x: np.array(output)),
        ((1, 2), lambda output, x: [output]),
        ((2, 1), lambda output, x: [[v] for v in output]),
        ((3, 2), lambda output, x: np.array([[a, b] for a in x for b in output[:1]])),
        ((2, 2, 2), lambda output, x: [[output, output[::-1]], [output[:1] * 2, x[:2]]]),
        ((0,), lambda output, x: []),
        ((2, 0), lambda output, x: [[], []]),
        ((2,), lambda output, x: [None, output[0]]),
        ((2,), lambda output, x: [constant(2.0), constant(3.0)]),
        ((2,), lambda output, x: [Value(0.0).data * output[0] + 1.0, output[0] * output[1]]),
    ],
)
def test_numbers_have_the_shape_of_the_nodes(network, shape, nodes):
    _, x, _, output, program = network
    for samples in (X, X[:1], X[:0], np.repeat(X, 30, axis=0)):
        got = program.values(nodes(output, x), samples, None)
        assert got.shape == (len(samples), *shape)
        assert got.dtype == np.float64
        assert got.flags.owndata or got.base.flags.owndata
        got[...] = 0.0  # it is the caller's own


def test_numbers_of_the_outputs_follow_the_parameters(network):
    """As they were recorded, trained on arrays, pulled from the Values, or assigned."""
    model, _, _, output, program = network
    for _ in range(3):
        np.testing.assert_allclose(program.values(output, X, Y), outputs(model), rtol=1e-13)
        program.descend(X, Y, lr=0.5)
        program.push()
    model.layers[0].neurons[0].w[0].data = 7.0
    before = program.values(output, X, None)
    program.pull()
    np.testing.assert_allclose(program.values(output, X, None), outputs(model), rtol=1e-13)
    assert not np.allclose(program.values(output, X, None), before)
    program.parameters[0].data = 0.0
    program.push()
    np.testing.assert_allclose(program.values(output, X, None), outputs(model), rtol=1e-13)
    gradients = program.gradients(X, Y)
    program.values(output, X, None)
    for p in program.parameters:
        np.testing.assert_array_equal(p.grad, gradients[p.name])


def test_shared_leaves_constants_and_what_is_computed_from_them_are_the_same_for_all_samples(network):
    model, x, y, _, program = network
    w = model.layers[0].neurons[0].w[0]
    nodes = [w, w * 2.0, constant(3.0), x[1], y[0], None]
    want = [[w.data, 2 * w.data, 3.0, row[1], target[0], np.nan] for row, target in zip(X, Y, strict=True)]
    np.testing.assert_array_equal(program.values(nodes, X, Y), want)
    np.testing.assert_array_equal(program.values(nodes[:3], X, None), [row[:3] for row in want])
    np.testing.assert_array_equal(vectorize(w * w).values([[w, w * 3.0]]), [[[w.data, 3 * w.data]]])
    np.testing.assert_array_equal(vectorize(w * w).values([]), np.empty((1, 0)))


def test_parameters_that_are_not_asked_for_have_their_numbers():
    x, w, u = Value(2.0), Value(3.0), Value(5.0)
    program = vectorize(w * x + u, [x], parameters=[w])
    program.parameters[0].data = [4.0]
    assert program.values([w, u, w * x, u * x], [[1.0], [2.0]]).tolist() == [[4, 5, 4, 5], [4, 5, 8, 10]]


def test_sums_that_became_one_and_nodes_that_compute_the_same_are_numbers_again():
    a, b, x = Value(2.0), Value(3.0), Value(1.0)
    first, second = a * x, b * x  # terms of one sum
    both = first + second
    twin = a * x
    program = vectorize((both + 1.0) * twin.tanh() + first.tanh(), [x])
    assert program.where(both) is None
    got = program.values([first, second, both, twin], [[1.0], [10.0]])
    np.testing.assert_array_equal(got, [[2.0, 3.0, 5.0, 2.0], [20.0, 30.0, 50.0, 20.0]])


def test_what_was_recorded_after_the_loss_has_numbers(network):
    _, _, _, output, program = network
    entropy = -sum_([p * p.log() for p in output])
    P = program.values(output, X, None)
    np.testing.assert_allclose(program.values(entropy, X, None), -(P * np.log(P)).sum(1), rtol=1e-13)


def test_derivatives_have_numbers(network):
    """The δ of the hidden layer, sample by sample."""
    model, x, y, _, _ = network
    loss = nn.cross_entropy(model(x), y)
    z = [neuron.z for neuron in model.layers[0].neurons]
    slopes = gradient(loss, z)
    got = vectorize(loss, [x, y]).values(slopes, X, Y)
    for row, target, deltas in zip(X, Y, got, strict=True):
        nn.cross_entropy(model(row.tolist()), target.tolist()).backward()
        np.testing.assert_allclose(deltas, [neuron.z.grad for neuron in model.layers[0].neurons], rtol=1e-12)


def test_attention_has_a_matrix_for_each_sample_with_nan_where_nothing_is_attended_to():
    rng = random.Random(0)
    q, k = leaves(rng, 4, 2), leaves(rng, 4, 2)
    weights = [softmax([dot(q[t], k[u]) for u in range(t + 1)]) for t in range(4)]
    program = vectorize(sum_([w * w for row in weights for w in row]), [q, k])
    Q, K = RNG.normal(size=(2, 3, 4, 2))
    scores = np.where(np.tri(4), Q @ K.transpose(0, 2, 1), -np.inf)
    want = np.exp(scores) / np.exp(scores).sum(-1, keepdims=True)
    padded = [row + [None] * (3 - t) for t, row in enumerate(weights)]
    np.testing.assert_allclose(program.values(padded, Q, K), np.where(np.tri(4), want, np.nan), rtol=1e-12)
    with pytest.raises(ValueError, match=r"different lengths: shapes \(1,\) and \(2,\)"):
        program.values(weights, Q, K)


def test_infinities_are_those_of_the_scalar_engine():
    """Of sums of different lengths, short ones do not read what is infinite, though one product computes all."""
    rng = random.Random(11)
    w, V, x = leaves(rng, 5, 5), leaves(rng, 5, 3), Value(0.1)
    values = [[(x * v).exp() for v in row] for row in V]
    rows = [[dot(w[t][: t + 1], [values[u][d] for u in range(t + 1)]) for d in range(3)] for t in range(5)]
    program = vectorize(sum_([v.tanh() for row in rows for v in row]), [[x]])
    big = 800 / max(v.data for row in V[1:] for v in row)
    got = program.values(rows, [[0.2], [big]])
    assert np.isfinite(got[0]).all()
    assert np.isfinite(got[1, 0]).all()
    assert np.isinf(got[1]).any()
    for sample, number in zip(got, (0.2, big), strict=True):
        data = replay(topological_order(program.loss), {x: number})
        np.testing.assert_allclose(sample, [[data[v] for v in row] for row in rows], rtol=1e-12)


def test_numbers_are_float32_where_the_program_is():
    x, w = Value(2.0), Value(1 / 3)
    got = vectorize(w * x, [x], dtype=np.float32).values([w * x, w], [[3.0]])
    assert got.dtype == np.float32
    np.testing.assert_array_equal(got, [[np.float32(1 / 3) * np.float32(3), np.float32(1 / 3)]])


@pytest.mark.parametrize(
    ("nodes", "args", "error", "message"),
    [
        (lambda output, x: 3.0, (X, Y), TypeError, "nodes are Values in lists, got float"),
        (lambda output, x: [output[0], 1.0], (X, Y), TypeError, "nodes are Values in lists, got float"),
        (lambda output, x: "output", (X, Y), TypeError, "got str"),
        (lambda output, x: {0: output[0]}, (X, Y), TypeError, "got dict"),
        (lambda output, x: [output, x], (X, Y), ValueError, r"different lengths: shapes \(2,\) and \(3,\)"),
        (lambda output, x: [output, output[0]], (X, Y), ValueError, r"different lengths: shapes \(2,\) and \(\)"),
        (lambda output, x: output[0] * Value(4.0, "u"), (X, Y), ValueError, "label='u'.*neither a batch leaf nor"),
        (lambda output, x: Value(4.0, "u"), (X, Y), ValueError, "label='u'.*neither a batch leaf nor"),
        (lambda output, x: output, (X,), TypeError, "expected 2 arrays"),
        (lambda output, x: output, (None,), TypeError, "expected 2 arrays"),
        (lambda output, x: output, (None, Y), TypeError, r"None in place of x\[0\] … x\[2\].*depend on it"),
        (lambda output, x: [], (None, None), TypeError, "None in place of x.*number of samples is not known"),
        (lambda output, x: output, (X, Y[:3]), ValueError, "one number of samples"),
        (lambda output, x: output, (X[:, :2], None), ValueError, r"shape \(m, 3\)"),
        (lambda output, x: output, (3.0, None), ValueError, "got a number"),
        (lambda output, x: output, (np.where(X > 1, np.nan, X), None), ValueError, "not finite"),
    ],
)  # fmt: skip
def test_bad_input(network, nodes, args, error, message):
    _, x, _, output, program = network
    with pytest.raises(error, match=message):
        program.values(nodes(output, x), *args)
    assert program.values(output, X, None).shape == (5, 2)


def test_branches_taken_while_recording_are_guarded():
    x, y, w = Value(2.0, "x"), Value(1.0, "y"), Value(3.0)
    nodes = []

    def record():
        nodes.append(w * x)
        return nodes[0] * y if x > 1.0 else -y

    program = vectorize(record, [[x], [y]])
    assert program.values(nodes, [[2.0], [5.0]], None).tolist() == [[6.0], [15.0]]
    with pytest.raises(ValueError, match=r"x > 1\.0 did hold"):
        program.values(nodes, [[2.0], [0.5]], None)
    with pytest.raises(ValueError, match=r"x > 1\.0 did hold"):
        program.values([], [[0.5]], None)
    with pytest.raises(TypeError, match=r"None in place of x.*or a comparison does"):
        program.values([y], None, [[0.5]])


def test_programs_of_the_last_lists_of_nodes_are_kept(network, monkeypatch):
    _, _, _, output, program = network
    kept = program._others
    for i in range(2 * FRAMES):
        program.values([output[0]] * i, X, None)
        assert len(kept) == min(i + 1, FRAMES)
    monkeypatch.setattr(program, "_borrower", None)  # nothing is found anew
    for i in range(FRAMES, 2 * FRAMES):
        np.testing.assert_array_equal(program.values([output[0]] * i, X, None), program.values(
            np.array([output[0]] * i, object), X, None))  # fmt: skip


def test_threads_take_turns(network):
    """Each asks for the outputs of its own samples, while another trains nothing but with a rate of 0."""
    _, _, _, output, program = network
    batches = RNG.normal(size=(4, 40, 3))
    want = [program.values(output, batch, None) for batch in batches]
    stop = threading.Event()

    def train():
        while not stop.is_set():
            program.descend(batches[0], np.full((40, 2), 0.5), lr=0.0)

    def work(i):
        for _ in range(100):
            np.testing.assert_array_equal(program.values(output, batches[i], None), want[i])

    trainer = threading.Thread(target=train)
    trainer.start()
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(work, range(4)))
    stop.set()
    trainer.join()


def test_a_call_within_a_call_is_refused(network):
    _, _, _, output, program = network
    run, refused = program._run, []

    def interrupted_run(*args):
        for call in (functools.partial(program.values, output, X, Y), functools.partial(program.values, [], X, Y)):
            with pytest.raises(RuntimeError, match="in the middle of a call"):
                call()
            refused.append(call)
        run(*args)

    program._run = interrupted_run
    program(X, Y)
    assert len(refused) == 2
