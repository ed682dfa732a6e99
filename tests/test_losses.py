import builtins
import math
import re
import warnings
from fractions import Fraction
from math import exp, log

import pytest
from hypothesis import given
from hypothesis import strategies as st
from optional import optional

from microgradlike import Value, dot, log_softmax, logsumexp, maxout, ops, softmax, topological_order, vectorize
from microgradlike import sum as sum_node
from microgradlike.nn import LOSSES, MLP, SGD, cross_entropy, hinge, mean_squared_error, quadratic

mpmath = optional("mpmath")
np = optional("numpy")

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
    assert nodes(cross_entropy(a, 3)) == nodes(cross_entropy(a, one_hot)) == 11  # 10 differences, logsumexp
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


# ── No digits are lost, at an offset of 10¹⁵ as at a probability of 1 − 10⁻¹⁸ ─────────────────────


def exact_cross_entropy(z, y):
    """C and ∂C/∂z with 60 digits, from the definitions."""
    with mpmath.workdps(60):
        e = [mpmath.exp(mpmath.mpf(each) - max(z)) for each in z]
        p = [each / mpmath.fsum(e) for each in e]
        C = -mpmath.fsum(yj * mpmath.log(pj) for pj, yj in zip(p, y, strict=True))
        return float(C), [float(pj - yj) for pj, yj in zip(p, y, strict=True)]


@given(st.sampled_from([0.0, 1e6, -1e15]), st.lists(st.integers(-300, 300), min_size=2, max_size=5), st.data())
def test_cross_entropy_keeps_its_digits(offset, eighths, draw):
    z = [offset + each / 8 for each in eighths]
    k = draw.draw(st.integers(0, len(z) - 1))
    one_hot = [float(j == k) for j in range(len(z))]
    C, grads = exact_cross_entropy(z, one_hot)
    for y in (k, one_hot):
        assert record(cross_entropy, z, y) == (pytest.approx(C, rel=1e-13), pytest.approx(grads, rel=1e-13))
    soft = [1 / len(z)] * len(z)
    C, grads = exact_cross_entropy(z, soft)
    small = 1e-14 * max(map(abs, [offset, *z]))  # the mean of the logits is rounded
    assert record(cross_entropy, z, soft) == (pytest.approx(C, rel=1e-13, abs=small), pytest.approx(grads, abs=1e-13))


@given(st.integers(-300, 300).map(lambda n: n / 8), st.sampled_from([0.0, 1.0, 0.25]))
def test_the_cross_entropy_of_a_single_logit_keeps_its_digits(z, y):
    C, (_, grad) = exact_cross_entropy([0.0, z], [1 - y, y])
    assert record(cross_entropy, [z], y) == (
        pytest.approx(C, rel=1e-14),
        [pytest.approx(grad, rel=1e-14, abs=1e-17 * (0 < y < 1))],
    )


def test_published_numbers_of_cross_entropy():
    assert record(cross_entropy, [1e15, 1e15 - 1], 0)[0] == pytest.approx(0.3132616875182228, rel=1e-15)
    assert record(cross_entropy, [40.0], 1) == (4.248354255291589e-18, [-4.248354255291589e-18])
    assert record(cross_entropy, [40.0, 0.0], 0) == (
        4.248354255291589e-18,
        [-4.248354255291589e-18, 4.248354255291589e-18],
    )
    assert record(cross_entropy, [0.0, -math.inf], 0) == (0.0, [0.0, 0.0])
    assert record(cross_entropy, [0.0, -math.inf], 1)[0] == math.inf
    assert math.isnan(record(cross_entropy, [0.0, math.inf], 1)[0])  # as in PyTorch
    assert record(cross_entropy, [0.0, -math.inf], [1.0, 0.0]) == (0.0, [0.0, 0.0])


# ── Probabilities: their logits stand in the graph ─────────────────────────────────────────────


def shares(e):
    total = builtins.sum(e)
    return [each / total for each in e]


SOFTMAX = {
    "softmax": softmax,
    "exp of log_softmax": lambda z: [v.exp() for v in log_softmax(z)],
    "e / sum": lambda z: shares([v.exp() for v in z]),
    "e / sum, each written anew": lambda z: [v.exp() / builtins.sum(u.exp() for u in z) for v in z],
    "e / Σ": lambda z: [v.exp() / sum_node([u.exp() for u in z]) for v in z],
    "e · (1 / sum)": lambda z: [v.exp() * (1 / builtins.sum(u.exp() for u in z)) for v in z],
    "sum⁻¹ · e": lambda z: [builtins.sum(u.exp() for u in z) ** -1 * v.exp() for v in z],
    "exp(z − logsumexp)": lambda z: [(v - logsumexp(z)).exp() for v in z],
    "exp(z − log sum)": lambda z: [(v - builtins.sum(u.exp() for u in z).log()).exp() for v in z],
    "math.e ** z": lambda z: shares([math.e**v for v in z]),
    "less max(data)": lambda z: shares([(v - max(u.data for u in z)).exp() for v in z]),
    "less maxout": lambda z: shares([(v - t).exp() for t in [maxout(z)] for v in z]),
    "less another Value": lambda z: shares([(v - t).exp() for t in [Value(1e3)] for v in z]),
}
SIGMA = {
    "sigmoid": lambda z: z.sigmoid(),
    "1 / (1 + exp(−z))": lambda z: 1 / (1 + (-z).exp()),
    "(1 + exp(−z))⁻¹": lambda z: (1 + (-z).exp()) ** -1,
    "exp(z) / (1 + exp(z))": lambda z: z.exp() / (1 + z.exp()),
    "1 / (1 + e ** −z)": lambda z: 1 / (1 + math.e**-z),
    "1 − σ(−z)": lambda z: 1 - (-z).sigmoid(),
    "3 / (3 + exp(log 3 − z))": lambda z: 3.0 / (3.0 + (math.log(3.0) - z).exp()),
    "3 / (3 + exp(−(z − log 3)))": lambda z: 3.0 / (3.0 + (-(z - math.log(3.0))).exp()),
    "softmax of 0 and z": lambda z: softmax([0.0, z])[1],
    "softmax of two Values": lambda z: softmax([(z - 0.75) / 2, -((z + 0.75) / 2)])[0],
    "softmax of z and 2, a shifted": lambda z: softmax([z + 2, 2.0])[0],
}


@pytest.mark.parametrize("written", SOFTMAX)
@pytest.mark.parametrize("z", [[0.5, -1.0], [0.5, -1.0, 2.0], [0.25, 0.25, 0.25, 0.25], [700.0, -700.0]])
def test_the_cross_entropy_of_a_softmax_is_that_of_its_logits(written, z):
    for y in (1, [1.0 / len(z)] * len(z)):
        C, grads = record(lambda z, y: cross_entropy(SOFTMAX[written](z), y), z, y)
        assert (C, grads) == (
            pytest.approx(record(cross_entropy, z, y)[0], rel=1e-14),
            pytest.approx(record(cross_entropy, z, y)[1], rel=1e-14, abs=1e-16),
        )


@pytest.mark.parametrize("order", [(1, 0), (2, 0, 1)])
def test_the_outputs_of_a_softmax_may_come_in_any_order(order):
    z = [Value(each) for each in (0.5, -1.0, 2.0)[: len(order)]]
    p = softmax(z)
    assert cross_entropy([p[i] for i in order], 0).data == cross_entropy(z, order[0]).data


@pytest.mark.parametrize("written", SIGMA)
@pytest.mark.parametrize("y", [0.0, 1.0, 0.25])
def test_the_cross_entropy_of_a_sigmoid_is_that_of_its_logit(written, y):
    C, grads = record(lambda z, y: cross_entropy(SIGMA[written](z[0]), y), [0.75], y)
    assert pytest.approx(record(cross_entropy, [0.75], y)[0], rel=1e-14) == C
    assert grads == pytest.approx(record(cross_entropy, [0.75], y)[1], rel=1e-14)


def test_sigma_and_its_complement_are_two_probabilities():
    z = Value(0.75)
    assert cross_entropy([1 - z.sigmoid(), z.sigmoid()], 1).data == pytest.approx(cross_entropy(z, 1).data, rel=1e-15)
    assert cross_entropy([z.sigmoid(), 1 - z.sigmoid()], 1).data == pytest.approx(cross_entropy(z, 0).data, rel=1e-15)


@pytest.mark.parametrize(
    "logits",
    [
        lambda a, b: [a.exp(), b.exp()],  # two exponentials that are no softmax
        lambda a, b: [a.exp() / b.exp(), b.exp() / a.exp()],
        lambda a, b: [a.exp() / (a.exp() + b), b.exp() / (a.exp() + b)],
        lambda a, b: [(a - b.exp()).exp(), (b - b.exp()).exp()],
        lambda a, b: [softmax([a, b])[0], b],
        lambda a, b: [a / (a + b) * 2, b / (a + b) * 2],
        lambda a, b: [0.0 / (1 + a.exp()), b],
        lambda a, b: [v.exp() * (2 / (a.exp() + b.exp())) for v in (a, b)],
        lambda a, b: [dot([a], [b]), a * b],
        lambda a, b: [Value(0.25), Value(0.75)],
        lambda a, b: [0.25, 0.75],
    ],
)
def test_other_outputs_are_logits(logits):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        z = [v if isinstance(v, Value) else Value(v) for v in logits(Value(0.5), Value(1.5))]
        assert cross_entropy(z, 0).data == pytest.approx(log(sum(exp(v.data) for v in z)) - z[0].data, rel=1e-14)


@pytest.mark.parametrize(
    "some",
    [
        lambda z: softmax(z)[:2],
        lambda z: softmax(z)[:1],
        lambda z: [softmax(z)[0]] * 3,
        lambda z: [*softmax(z[:2]), softmax(z)[2]],
        lambda z: softmax(z[:1]),
    ],
)
def test_probabilities_without_logits_of_their_own_are_refused(some):
    with pytest.raises(ValueError, match="give it all outputs of one softmax"):
        cross_entropy(some([Value(0.5), Value(1.0), Value(1.5)]), 0)


def test_what_seems_to_be_probabilities_is_warned_of_where_it_is_written():
    z, w = Value(0.5), Value(0.25)
    for outputs in (
        [z.sigmoid(), w.sigmoid()],
        [v.exp() / (v.exp() + 1) for v in (z, w)],
        [z * w, 1 - z * w],
        [z.relu() / (z + w), w.relu() / (z + w)],
    ):
        with pytest.warns(UserWarning, match=r"takes logits and applies softmax .* take -p\[y\]\.log\(\)") as seen:
            cross_entropy(outputs, 0)
        assert seen[0].filename == __file__


def test_a_network_with_a_softmax_output_trains_as_one_would_write_it():
    model = MLP(2, [4, 2], "tanh", "softmax", seed=1)
    optimizer = SGD(model.parameters(), lr=0.5)
    for _ in range(150):
        C = builtins.sum(cross_entropy(model([a, b]), int(a != b)) for a in (0, 1) for b in (0, 1))
        optimizer.zero_grad()
        C.backward()
        optimizer.step()
    assert C.data < 0.1
    x, y = [Value(0.0), Value(1.0)], [Value(0.0), Value(1.0)]
    program = vectorize(cross_entropy(model(x), y), batch=[x, y])
    expected = [cross_entropy(model([a, b]), int(a != b)).data for a in (0, 1) for b in (0, 1)]
    assert program([[0, 0], [0, 1], [1, 0], [1, 1]], [[1, 0], [0, 1], [0, 1], [1, 0]]) == pytest.approx(
        expected, rel=1e-12
    )
