"""The interpreter defines what the instructions of an array program mean; the emitted lines compute the same."""

import math
import random
from types import SimpleNamespace

import numpy as np
import programs
import pytest
from graphs import MODELS, RANDOM, RULES, STRUCTURES, flat, leaves, split
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from microgradlike import Value, operation, ops, recording, topological_order, vectorize
from microgradlike import sum as sum_
from microgradlike.ieee import FUNCTIONS
from microgradlike.matrix.interpreter import Interpreter

pytestmark = pytest.mark.usefixtures("lines")

TWO = ("divide", "power", "maximum", "minimum")


def of_values(name):
    """A function of `xp` on arrays of Values, which records it for each entry."""
    return np.frompyfunc(getattr(recording.value_namespace, name), 2 if name in TWO else 1, 1)


# An array library whose numbers are Values: what it computes is a scalar graph again.
VALUES = SimpleNamespace(**{
    **{name: getattr(np, name) for name in ("asarray", "broadcast_to", "reshape", "swapaxes", "matmul", "sum", "where")},
    **{name: of_values(name) for name in FUNCTIONS if name != "where"},
    "max": lambda x, axis, keepdims: of_values("maximum").reduce(x, axis=axis, keepdims=keepdims),
})  # fmt: skip


def compare(loss, batch, rng, samples=2):
    """Losses are those of the interpreter, and gradients those of the graph that it records when it runs on Values."""
    program = vectorize(loss, batch)
    program._few = rng.choice([0, program._few])  # lines alike joined or not
    arguments = [
        np.array([[rng.uniform(0.3, 2) for _ in flat(a)] for _ in range(samples)]).reshape(samples, -1) for a in batch
    ]
    samples = samples if batch else 1
    losses = program.backward(*arguments)
    with np.errstate(all="ignore"):
        want = Interpreter(program.found, np).losses([p.data for p in program.parameters], *arguments)
        numbers = [
            np.array([recording._Number(Value(x), []) for x in p.data.ravel()], object).reshape(p.shape)
            for p in program.parameters
        ]
        recorded = Interpreter(program.found, VALUES).losses(numbers, *arguments)
    assert want.shape == (samples,)
    mean = recording._node(sum(recorded.tolist()) / samples)
    if not isinstance(mean, Value):  # the loss depends on no parameter
        np.testing.assert_allclose(losses, want, rtol=1e-12)
        return
    mean.backward()
    order = topological_order(mean)  # what cancels keeps the rounding of the largest
    largest, steepest = (max(filter(math.isfinite, map(abs, x))) for x in zip(*((v.data, v.grad) for v in order)))
    np.testing.assert_allclose(losses, want, rtol=1e-12, atol=1e-13 * largest)
    np.testing.assert_allclose(mean.data, np.mean(want), rtol=1e-12, atol=1e-13 * largest)
    for p, x in zip(program.parameters, numbers, strict=True):
        grads = np.array([v.node.grad for v in x.ravel()]).reshape(p.shape)
        np.testing.assert_allclose(p.grad, grads, rtol=1e-12, atol=1e-12 * steepest, err_msg=p.name)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**9), st.sampled_from(RANDOM))
def test_random_graphs_are_emitted_as_they_are_defined(seed, make):
    rng = random.Random(seed)
    loss, batch = make(rng)
    compare(loss, split(rng, flat(batch)), rng)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**9))
def test_random_programs_with_derivatives_in_the_loss_are_emitted_as_they_are_defined(seed):
    rng = random.Random(seed)
    program = programs.random_program(rng, derivatives=0.5)
    numbers = {}
    named, losses = programs.record(program, lambda leaf: numbers.setdefault(leaf, rng.uniform(0.3, 2)), decide=bool)
    loss = losses[0]
    largest = max(abs(v.data) for v in topological_order(loss))
    assume(loss.op is not ops.CONSTANT and largest < 1e6)
    program = vectorize(loss, [[v for leaf, v in named.items() if leaf[0][0] == "x"]])
    data = [p.data for p in program.parameters]
    arguments = [np.array([[v.data for v in argument]]) for argument in program.batch]
    with np.errstate(all="ignore"):
        want = Interpreter(program.found, np).losses(data, *arguments)
    np.testing.assert_allclose(program(*arguments), want, rtol=1e-9, atol=1e-9 * largest)


@pytest.mark.parametrize("structure", STRUCTURES)
def test_structures_are_emitted_as_they_are_defined(structure):
    rng = random.Random(0)
    x, w = leaves(rng, 3), leaves(rng, 4)
    compare(sum_([v.tanh() for v in structure(rng, x, w)]), [x], rng)


@pytest.mark.parametrize("model", MODELS)
def test_models_of_several_arguments_are_emitted_as_they_are_defined(model):
    rng = random.Random(1)
    compare(*model(rng), rng)


# In NumPy, masks are no numbers: True + True is True.
MASKS = {"a count", "a negative mask", "functions of a mask", "the larger of two masks", "masks multiplied"}


@pytest.mark.parametrize("rule", [*filter(lambda rule: rule not in MASKS, RULES)])
def test_rules_that_compare_and_choose_are_emitted_as_they_are_defined(rule):
    record = operation("rule", RULES[rule], lambda xp, y, x: 1.0 + 0.0 * x)
    x, w = [Value(0.9), Value(0.3)], [Value(1.0), Value(0.8)]
    program = vectorize(sum_([record(a) * record(b) for a, b in zip(w, x, strict=True)]), [x])
    numbers = np.array([[0.0, -0.0], [1.0, 0.3], [0.8, 0.9], [1.4, 0.6]])
    with np.errstate(all="ignore"):
        want = Interpreter(program.found, np).losses([p.data for p in program.parameters], numbers)
    np.testing.assert_allclose(program(numbers), want, rtol=1e-14)


def test_parameters_that_are_not_asked_for_keep_the_numbers_of_their_values():
    x, w, frozen = Value(2.0), Value(3.0), Value(4.0)
    program = vectorize(w * x + frozen, [x], parameters=[w])
    losses = Interpreter(program.found, np).losses([np.array([5.0])], np.array([[1.0], [2.0]]))
    assert losses.tolist() == [9.0, 14.0]
    with pytest.raises(ValueError, match="argument"):
        Interpreter(program.found, np).losses([np.array([5.0]), np.array([4.0])], np.array([[1.0]]))
