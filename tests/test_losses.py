import re
from fractions import Fraction
from math import exp, log

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from microgradlike import Value, ops, topological_order
from microgradlike.nn import LOSSES, cross_entropy, hinge, mean_squared_error, quadratic

quarters = st.integers(-64, 64).map(lambda n: n / 4)
vectors = st.integers(1, 5).flatmap(lambda n: st.tuples(*[st.lists(quarters, min_size=n, max_size=n)] * 2))


def record(loss, a, y):
    a = [Value(number) for number in a]
    C = loss(a, y)
    C.backward()
    return C.data, [v.grad for v in a]


def nodes(C):
    return sum(bool(node.inputs) for node in topological_order(C))


@given(vectors)
def test_quadratic_is_half_the_square_of_the_distance(ay):
    a, y = ay
    cost, grads = record(quadratic, a, y)
    assert cost == sum((Fraction(p) - Fraction(q)) ** 2 for p, q in zip(a, y, strict=True)) / 2
    assert grads == [p - q for p, q in zip(a, y, strict=True)]


@given(vectors)
def test_mean_squared_error_is_the_mean_over_the_outputs(ay):
    a, y = ay
    n = len(a)
    cost, grads = record(mean_squared_error, a, y)
    assert cost == float(sum((Fraction(p) - Fraction(q)) ** 2 for p, q in zip(a, y, strict=True)) / n)
    assert grads == pytest.approx([2 * (p - q) / n for p, q in zip(a, y, strict=True)], rel=1e-15)


@given(st.lists(st.floats(-20, 20), min_size=2, max_size=6), st.data())
def test_cross_entropy_of_logits(z, draw):
    k = draw.draw(st.integers(0, len(z) - 1))
    e = [exp(each - max(z)) for each in z]
    p = [each / sum(e) for each in e]
    cost, grads = record(cross_entropy, z, k)
    assert pytest.approx(log(sum(e)) + max(z) - z[k], abs=1e-13) == cost
    assert grads == pytest.approx([pj - (j == k) for j, pj in enumerate(p)], abs=1e-14)

    one_hot = [float(j == k) for j in range(len(z))]
    assert record(cross_entropy, z, one_hot) == (pytest.approx(cost, abs=1e-13), pytest.approx(grads, abs=1e-14))

    cost, grads = record(cross_entropy, z, p)  # of p against itself: its entropy, and no gradient
    assert pytest.approx(-sum(pj * log(pj) for pj in p), abs=1e-12) == cost
    assert grads == pytest.approx([0.0] * len(z), abs=1e-14)


@given(st.floats(-30, 30), st.sampled_from([0, 1, 0.25]))
def test_a_single_logit_is_the_binary_case(z, y):
    sigma = 1 / (1 + exp(-z))
    cost, grads = record(cross_entropy, [z], y)
    assert pytest.approx(log(1 + exp(-abs(z))) + max(z, 0) - y * z, abs=1e-13) == cost
    assert grads == [pytest.approx(sigma - y, abs=1e-15)]
    two = record(cross_entropy, [0.0, z], [1 - y, y])  # the same as two logits, 0 and z
    assert two == (pytest.approx(cost, abs=1e-13), pytest.approx([-grads[0], grads[0]], abs=1e-14))


def test_cross_entropy_stays_finite_for_confident_logits():
    assert record(cross_entropy, [1000.0, -1000.0], 0) == (0.0, [0.0, 0.0])
    assert record(cross_entropy, [1000.0, -1000.0], 1) == (2000.0, [1.0, -1.0])
    assert record(cross_entropy, [1000.0], 0) == (1000.0, [1.0])
    assert record(cross_entropy, [-1000.0], 0) == (0.0, [0.0])


@pytest.mark.parametrize(
    ("score", "y", "C", "grad"),
    [(0.5, 1, 0.5, -1.0), (0.5, -1, 1.5, 1.0), (2.0, 1, 0.0, 0.0), (-2.0, -1, 0.0, 0.0), (1.0, 1, 0.0, 0.0)],
)
def test_hinge_is_flat_outside_the_margin(score, y, C, grad):
    assert record(hinge, [score], y) == (C, [grad])


def test_losses_take_one_output_alone():
    for name, y in [("quadratic", 1.0), ("mean_squared_error", 1.0), ("cross_entropy", 1), ("hinge", 1)]:
        a = Value(0.5)
        assert LOSSES[name](a, y).data == LOSSES[name]([a], [y]).data == LOSSES[name]([a], np.array([y])).data


def test_losses_are_few_nodes():
    a = [Value(float(i)) for i in range(10)]
    one_hot = [1.0] + [0.0] * 9
    assert nodes(quadratic(a, one_hot)) == 12  # 10 differences, dot, half
    assert nodes(mean_squared_error(a, one_hot)) == 12
    assert nodes(cross_entropy(a, 3)) == nodes(cross_entropy(a, one_hot)) == 10  # 9 differences, logsumexp
    assert nodes(cross_entropy(a, [0.1] * 10)) == 12  # the mean, 10 differences, logsumexp
    assert nodes(cross_entropy(a, [Value(p) for p in one_hot])) == 3
    assert nodes(cross_entropy(a[:1], 1)) == 2
    assert nodes(cross_entropy(a[:1], 0)) == 1
    assert nodes(cross_entropy(a[:1], Value(1.0))) == 3
    assert nodes(hinge(a[0], 1)) == 3


def test_targets_are_labelled_constants_and_values_stay():
    y = Value(0.5, "target")
    C = quadratic([Value(1.0, "a"), Value(2.0, "b")], [y, 3])
    leaves = {v.label: v for v in topological_order(C) if not v.inputs}
    assert C.label == "C"
    assert leaves["target"] is y
    assert leaves["y₂"].op is ops.CONSTANT
    C.backward()
    assert y.grad == -0.5


def test_a_class_may_be_a_numpy_integer():
    z = [Value(1.0), Value(2.0)]
    assert cross_entropy(z, np.int64(1)).data == cross_entropy(z, 1).data == cross_entropy(z, np.array([0, 1])).data


@pytest.mark.parametrize(
    ("loss", "a", "y", "error", "message"),
    [
        (quadratic, [1.0, 2.0], [1.0], ValueError, "got 2 outputs and 1 targets"),
        (mean_squared_error, [], [], ValueError, "got 0 outputs and 0 targets"),
        (cross_entropy, [1.0, 2.0], 2, ValueError, "the class index y must be from 0 to 1 for 2 logits, got 2"),
        (cross_entropy, [1.0, 2.0], -1, ValueError, "got -1"),
        (cross_entropy, [1.0, 2.0], 1.0, ValueError, "y is a class index (an int), or one probability for each logit"),
        (cross_entropy, [1.0, 2.0], True, TypeError, "write 1.0 or 0.0"),
        (cross_entropy, [1.0, 2.0], [0.5, 0.6], ValueError, "probabilities that sum to 1, got [0.5, 0.6]"),
        (cross_entropy, [1.0, 2.0], [-0.5, 1.5], ValueError, "probabilities that sum to 1"),
        (cross_entropy, [1.0, 2.0], [float("nan"), 1.0], ValueError, "probabilities that sum to 1"),
        (cross_entropy, [1.0], 2, ValueError, "a number from 0 to 1 for a single logit, got [2.0]"),
        (hinge, [1.0], 0, ValueError, "hinge expects one score and one y, +1 or −1, got y = [0.0]"),
        (hinge, [1.0, 2.0], [1, -1], ValueError, "hinge expects one score"),
        (hinge, [1.0, 2.0], 1, ValueError, "got 2 outputs and 1 targets"),
        (quadratic, [1.0], "1", TypeError, "expected a real number"),
    ],
)
def test_mistakes_are_explained(loss, a, y, error, message):
    with pytest.raises(error, match=re.escape(message)):
        loss([Value(number) for number in a], y)
