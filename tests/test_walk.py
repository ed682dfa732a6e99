"""One sample of an irregular graph, node by node: the numbers of the scalar engine, bit for bit."""

import math
import random
import tracemalloc
import warnings

import numpy as np
import programs
import pytest
from graphs import RANDOM, flat, leaves
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from microgradlike import Value, gradient, nn, operation, ops, topological_order, vectorize
from microgradlike import sum as sum_
from microgradlike.graph import record_again
from microgradlike.matrix import IrregularGraph
from microgradlike.recording import choose, full_order


def walking(loss, batch, **settings):
    """The program, which walks whatever the graph is."""
    program = vectorize(loss, batch, **settings)
    program._walkable = math.inf
    return program


def walks(program):
    """Whether its last call for one sample went node by node."""
    return "_walk" in vars(program) and not program._frames


def chain(steps):
    """A recurrence with shared parameters: (loss, batch leaves, parameters)."""
    x, w, b = Value(0.5), Value(0.9), Value(0.1)
    h = x
    for _ in range(steps):
        h = (w * h + b).tanh()
    return h, [x], [w, b]


def check(loss, batch, rng):
    """Losses, gradients and numbers of nodes are to the bit those of the expression recorded anew."""
    columns = flat(batch)
    program = walking(loss, [columns])
    for _ in range(2):
        numbers = {v: rng.choice([rng.uniform(-2, 2), rng.uniform(0.3, 2), 0.0, 1.0]) for v in columns}
        again = record_again(loss, numbers)
        again.backward()
        row = np.array([[numbers[v] for v in columns]])
        np.testing.assert_array_equal(program.backward(row), [again.data])
        assert walks(program)
        # the leaves of both graphs, one beside the other
        pairs = zip(full_order(loss), full_order(again), strict=True)
        grads = {v: w.grad for v, w in pairs if v.op is ops.LEAF}
        for p in program.parameters:
            want = [float(grads[v] or 0.0) if v in grads else 0.0 for v in p.nodes]
            np.testing.assert_array_equal(p.grad.ravel(), want)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**9), st.sampled_from(RANDOM))
def test_random_graphs(seed, make):
    rng = random.Random(seed)
    check(*make(rng), rng)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**9))
def test_random_programs_with_derivatives_and_choices_in_the_loss(seed):
    rng = random.Random(seed)
    program = programs.random_program(rng, derivatives=0.6)
    numbers = {}
    named, (loss, *_) = programs.record(
        program, lambda leaf: numbers.setdefault(leaf, rng.uniform(0.3, 2)), decide=bool
    )
    assume(loss.op is not ops.CONSTANT)
    check(loss, [v for leaf, v in named.items() if leaf[0][0] == "x"], rng)


def test_what_walks_and_what_does_not():
    loss, x, _ = chain(20)
    irregular = vectorize(loss, [x])
    irregular(np.array([[0.3]]))
    assert walks(irregular)
    y = [Value(0.1) for _ in range(4)]
    network = vectorize(nn.MLP(4, [4, 1], "tanh", seed=1)(y), [y])
    network(np.zeros((1, 4)))
    assert not walks(network)


@pytest.mark.parametrize(
    ("walkable", "samples", "expected"),
    [(0.9, 0, False), (0.9, 1, False), (1.0, 0, True), (1.0, 1, True), (1.9, 1, True), (1.9, 2, False), (2.0, 2, True)],
)
def test_so_many_samples_walk_as_are_through_before_the_lines_are(walkable, samples, expected):
    loss, x, _ = chain(20)
    program = vectorize(loss, [x])
    program._walkable = walkable
    program(np.zeros((samples, 1)))
    assert walks(program) is expected


def test_for_several_samples_lines_of_numpy_run_and_give_the_same():
    loss, x, _ = chain(20)
    program, walked = vectorize(loss, [x]), walking(loss, [x])
    for samples in (40, 7, 1, 40, 0):
        X = np.linspace(-1, 1, 40)[:samples, None]
        program._frames.clear()
        grads = program.gradients(X)
        assert bool(program._frames) == (samples > 2)
        for name, want in walked.gradients(X).items():
            np.testing.assert_allclose(grads[name], want, rtol=1e-12)
        np.testing.assert_allclose(program(X), walked(X), rtol=1e-13)
        before = program._flat.copy()
        program.descend(X, lr=0.1)
        walked.descend(X, lr=0.1)
        np.testing.assert_allclose(program._flat, walked._flat, rtol=1e-13)
        assert np.array_equal(program._flat, before) == (samples == 0)


def test_an_empty_batch():
    loss, x, _ = chain(20)
    program = walking(loss, [x])
    assert program.backward(np.empty((0, 1))).shape == (0,)
    assert not any(p.grad.any() for p in program.parameters)
    assert program.values([x[0], loss], np.empty((0, 1))).shape == (0, 2)


def test_training_by_descent_is_that_of_the_scalar_engine():
    loss, _, parameters = chain(5)
    program = walking(loss, [])
    for _ in range(3):
        again = record_again(loss, {})
        again.backward()
        program.descend(lr=0.1)
        fresh = [v for v in topological_order(again) if v.op is ops.LEAF]
        for v, w in zip((v for v in topological_order(loss) if v.op is ops.LEAF), fresh, strict=True):
            v.data -= 0.1 * w.grad
        held = {v: x for p in program.parameters for v, x in zip(p.nodes, p.data.ravel(), strict=True)}
        np.testing.assert_allclose([held[v] for v in parameters], [v.data for v in parameters], rtol=1e-15)


def test_a_branch_that_is_not_taken_sends_nothing_even_where_its_derivative_is_infinite():
    x, w = Value(0.25), Value(1.0, "w")
    loss = choose((w * x).relu(), (w * x).sqrt(), 3.0 * w)
    program = walking(loss, [x])
    assert program.gradients(np.array([[0.25]]))["w"] == pytest.approx(0.25)
    assert program.gradients(np.array([[0.0]]))["w"] == 3.0
    assert program(np.array([[0.0]])) == 3.0


def test_comparisons_are_checked():
    x, w = Value(0.5, "x"), Value(2.0, "w")
    program = vectorize(lambda: w * x if x > 0 else x, [x])
    program._walkable = math.inf
    assert program(np.array([[2.0]])) == [4.0]
    with pytest.raises(ValueError, match=r"x > 0.0 did hold"):
        program(np.array([[-2.0]]))
    with pytest.raises(ValueError, match="not finite"):
        program(np.array([[np.inf]]))


def test_numbers_of_nodes_are_those_of_the_walk():
    loss, x, _ = chain(20)
    program = vectorize(loss, [x])
    nodes = topological_order(loss)
    np.testing.assert_array_equal(program.values(nodes, np.array([[0.5]])), [[v.data for v in nodes]])


def test_single_precision_rounds_the_results():
    loss, x, _ = chain(20)
    single, double = (vectorize(loss, [x], dtype=dtype) for dtype in (np.float32, np.float64))
    got, want = (program.backward(np.array([[0.5]], program.dtype)) for program in (single, double))
    assert got.dtype == np.float32 and walks(single)
    np.testing.assert_allclose(got, want, rtol=1e-6)


def test_a_rule_that_raises_leaves_a_program_that_runs():
    pole = operation("pole", lambda xp, x: 1.0 / x, lambda xp, y, x: -y / x)
    x, w = Value(0.5), Value(2.0)
    program = walking(pole(w * x), [x])
    with pytest.raises(ValueError, match="operation 'pole': its value rule raised ZeroDivisionError"):
        program(np.array([[0.0]]))
    assert program(np.array([[0.5]])) == [1.0]


def test_the_first_call_takes_little_memory():
    """Below 1 KB a node: nothing is compiled."""
    loss, x, _ = chain(1000)
    program = vectorize(loss, [x])
    program_of_one, x_of_one, _ = chain(1)
    walking(program_of_one, [x_of_one]).backward(np.array([[0.5]]))  # compiles the rows
    tracemalloc.start()
    program.backward(np.array([[0.5]]))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert walks(program)
    assert peak / len(topological_order(loss)) < 1000


def test_derivatives_of_derivatives_walk():
    rng = random.Random(0)
    x, w = leaves(rng, 3), leaves(rng, 3)
    y = sum_([(a * b).tanh().exp() / (a * a + 1.0) for a, b in zip(x, w, strict=True)])
    loss = sum_([g * g for g in gradient(y, x)])
    check(loss, x, rng)


def test_what_takes_long_is_said_before(monkeypatch):
    monkeypatch.setattr("microgradlike.matrix.find.PATIENCE", 1e-3)
    loss, x, _ = chain(100)
    with pytest.warns(IrregularGraph, match=r"finding its arrays will take some 0 seconds; loss\.backward\(\)") as said:
        program = vectorize(loss, [x])
    assert [w.filename for w in said] == [__file__]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for _ in range(3):
            program(np.array([[0.5]]))
        y = [Value(0.1) for _ in range(4)]
        vectorize(nn.MLP(4, [4, 1], "tanh", seed=1)(y), [y])(np.zeros((100, 4)))
    with pytest.warns(IrregularGraph, match="lines of NumPy .* calls with one sample at a time need none") as said:
        program(np.zeros((10_000, 1)))
    assert [w.filename for w in said] == [__file__]
