"""Lines that do the same to different arrays become one: the same numbers from fewer lines."""

import math
import random
from collections import Counter

import numpy as np
import pytest
from graphs import RANDOM, flat, leaves
from hypothesis import given, settings
from hypothesis import strategies as st

from microgradlike import constant, dot, vectorize
from microgradlike import sum as sum_
from microgradlike.graph import record_again
from microgradlike.matrix.memory import COLUMNS


def calls(emitted):
    """How often each function is called for the gradients."""
    return Counter(line.function for line in emitted.code.needed("backward"))


def recurrent(steps, f):
    """A recurrent network, h = f(U x + W h), over so many steps: (loss, batch leaves)."""
    rng = random.Random(0)
    X, U, W = leaves(rng, steps, 2), leaves(rng, 3, 2), leaves(rng, 3, 3)
    h = [constant(0.0)] * 3
    for x in X:
        h = [f(dot(u, x) + dot(w, h)) for u, w in zip(U, W, strict=True)]
    return sum_([v * v for v in h]), [X]


def both(loss, batch, samples, rng):
    """The same program with joined lines and without, after a call with random samples, which gave the same."""
    joined, plain = vectorize(loss, batch), vectorize(loss, batch)
    joined._few, plain._few = 10**9, 0
    joined._walkable = plain._walkable = 0
    X = [np.array([[rng.uniform(0.3, 2) for _ in flat(a)] for _ in range(samples)]).reshape(samples, -1) for a in batch]
    np.testing.assert_allclose(joined.backward(*X), plain.backward(*X), rtol=1e-13)
    for p, q in zip(joined.parameters, plain.parameters, strict=True):
        size = np.abs(q.grad).max(initial=1.0)  # the backward pass begins with 1: of that size are terms that cancel
        np.testing.assert_allclose(p.grad, q.grad, rtol=1e-12, atol=1e-13 * size)
    return joined, plain


@settings(max_examples=40, deadline=None)
@given(
    st.integers(0, 10**9),
    st.sampled_from(RANDOM),
    st.sampled_from([1, 3, COLUMNS]),
)
def test_random_graphs(seed, make, samples):
    rng = random.Random(seed)
    loss, batch = make(rng)
    both(loss, [batch] if flat(batch) else [], samples, rng)


@pytest.mark.parametrize(
    ("name", "function", "times"),
    [("tanh", "abs", 1), ("sin", "cos", 1), ("exp", "exp", 6), ("sigmoid", "divide", 7)],  # σ(z) itself is one of them
)
@pytest.mark.parametrize("samples", [1, 5, COLUMNS])
def test_the_local_derivatives_of_all_steps_and_the_gradients_of_what_they_share_are_computed_at_once(
    name, function, times, samples
):
    joined, plain = both(*recurrent(6, lambda v: getattr(v, name)()), samples, random.Random(0))
    ours, theirs = calls(joined._stacked), calls(plain._emitted)
    assert ours[function] == times
    assert theirs[function] >= 6
    # One product instead of so many more: U xₜ of all steps; ∂loss/∂W = Σₜ δₜ hₜ₋₁ᵀ; ∂loss/∂U, but for the first step
    assert theirs["dot"] - ours["dot"] == 5 + 4 + 4
    assert all(ours[f] <= n for f, n in theirs.items())


@settings(max_examples=100, deadline=None)
@given(st.data(), st.sampled_from([1, 3, COLUMNS]))
def test_recurrences_that_read_parts_of_an_argument_in_any_order(data, samples):
    """All of them or not, some of them twice or beside their places, with what the steps share and without."""
    n, k, steps = (data.draw(st.integers(1, 3)) for _ in range(3))
    rng = random.Random(data.draw(st.integers(0, 10**9)))
    x, U, W, b = leaves(rng, k * steps), leaves(rng, n, k), leaves(rng, n, n), leaves(rng, n)
    starts = st.one_of(st.integers(0, steps - 1).map(lambda t: k * t), st.integers(0, k * (steps - 1)))
    join = {
        "U x": lambda a, c, v: a,
        "U x + b": lambda a, c, v: a + c,
        "b U x": lambda a, c, v: c * a,
        "b x": lambda a, c, v: c * v,
    }
    h = None
    for start in data.draw(st.lists(starts, min_size=1, max_size=6)):
        z = [dot(u, x[start : start + k]) for u in U]
        how = join[data.draw(st.sampled_from([*join]))]
        z = [how(a, c, x[start]) for a, c in zip(z, b, strict=True)]
        h = [(a if h is None else a + dot(w, h)).tanh() for a, w in zip(z, W, strict=True)]
    both(sum_([v * v for v in h]), [x], samples, rng)


def test_what_waits_for_another_stays_apart():
    """Each step of a chain needs the last one, however alike they are."""
    (x,) = leaves(random.Random(0), 1)
    v = x
    for _ in range(5):
        v = v.sin()
    joined, _ = both(v, [[x]], 2, random.Random(0))
    assert calls(joined._stacked)["sin"] == 5


def test_for_many_samples_lines_stay_apart():
    program = vectorize(*recurrent(6, lambda v: v.tanh()))
    program(np.zeros((2, 12)))
    assert "_emitted" not in vars(program)
    program(np.zeros((2000, 12)))
    assert "_emitted" in vars(program)


def test_a_zero_that_was_recorded_may_meet_an_overflow():
    """It looks like padding, and where numbers overflow, the program runs once more, but only once."""
    loss, batch = recurrent(6, lambda v: v.exp())
    program, numbers = vectorize(loss, batch), np.full((3, 12), 2.0)
    want = record_again(loss, dict.fromkeys(flat(batch), 2.0)).data
    assert not math.isfinite(want)
    np.testing.assert_array_equal(program.backward(numbers), [want] * 3)
