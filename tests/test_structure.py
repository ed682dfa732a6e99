"""Structure that a human sees: what is written repeatedly, common factors, and sums of different lengths."""

import builtins
import math
from itertools import product

import numpy as np
import pytest

from microgradlike import Value, vectorize
from microgradlike.matrix.indices import affine, common_dims
from microgradlike.notation.digits import subscript
from microgradlike.recording import WHERE
from microgradlike.value import apply

N = range(4)
DIMS = [dims for n in (1, 2, 3) for dims in product((2, 3, 4, 5), repeat=n)]
NEAR = [[0, 1], [0, 1, 2], [1, 2, 3], [3]]


def vector(name, n=4):
    return [Value(0.3 * i - 0.5, name + subscript(i + 1)) for i in range(n)]


def matrix(name, n=4, m=4):
    return [
        [Value(0.1 * (i + 2 * j) - 0.3, name + subscript(i + 1) + subscript(j + 1)) for j in range(m)] for i in range(n)
    ]


def total(terms):
    return builtins.sum(terms)


def squashed(terms):
    return total(v.tanh() for v in terms)


WRITTEN = {
    "total(x[i] * A[i][j] * y[j] for i in N for j in N)": """
   z¹ = Aᵀ x     4
    C = y · z¹   1

∂C/∂A = x yᵀ     4×4""",
    "total(x[i] * y[j] * A[i][j] for i in N for j in N)": """
   z¹ = Aᵀ x     4
    C = y · z¹   1

∂C/∂A = x yᵀ     4×4""",
    "total((x[i] - m[i]) * A[i][j] * (x[j] - m[j]) for i in N for j in N)": """
   v₁ = x − m          4
   z¹ = Aᵀ v₁          4
    C = v₁ · z¹        1

∂C/∂m = −(z¹ + A v₁)   4
∂C/∂A = v₁ v₁ᵀ         4×4""",
    "total(A[i][j] * x[i] * x[j] for i in N for j in range(i + 1))": """
   p₁ = [[1:4], [0, 5:7], [0, 0, 8, 9], [0, 0, 0, 10]]   4×4
   z¹ = A[p₁] x                                          4
    C = x · z¹                                           1

∂C/∂A = (x xᵀ)[→ p₁]                                     10""",
    "total((x[i] - m[i]) * (x[i] - m[i]) for i in N)": """
    C = ‖x − m‖²     1

∂C/∂m = −2 (x − m)   4""",
    "squashed(total(A[i][j] * (float((i + j) % 3 > 0) * x[j]) for j in N) for i in N)": """
   c₁ = [[0, 1, 1, 0], [1, 1, 0, 1], [1, 0, 1, 1], [0, 1, 1, 0]]   4×4
   z¹ = (c₁ ⊙ A) x                                                 4
   a¹ = tanh(z¹)                                                   4
    C = Σ a¹                                                       1

   δ¹ = tanh'(z¹)                                                  4
∂C/∂A = c₁ ⊙ (δ¹ xᵀ)                                               4×4""",
    "squashed(total(A[i][j] * (m[j] * x[j]) for j in N) for i in N)": """
   z¹ = A (x ⊙ m)     4
   a¹ = tanh(z¹)      4
    C = Σ a¹          1

   δ¹ = tanh'(z¹)     4
∂C/∂m = (Aᵀ δ¹) ⊙ x   4
∂C/∂A = δ¹ (x ⊙ m)ᵀ   4×4""",
    "squashed([total(A[i][j] * x[j] for j in N) for i in N] + [total(A[i][j] * y[i] for i in N) for j in N])": """
   z¹ = A x             4
   z² = Aᵀ y            4
   a¹ = tanh(z¹)        4
   a² = tanh(z²)        4
    C = Σ a¹ + Σ a²     1

   δ² = tanh'(z²)       4
   δ¹ = tanh'(z¹)       4
∂C/∂A = y δ²ᵀ + δ¹ xᵀ   4×4""",
    "squashed(total(A[i][j] * x[j] for j in N if abs(i - j) < 2) for i in N)": """
   p₁ = [[1, 2], [3:5], [0, 6:8], [0, 0, 9, 10]]   4×4
   z¹ = A[p₁] x                                    4
   a¹ = tanh(z¹)                                   4
    C = Σ a¹                                       1

   δ¹ = tanh'(z¹)                                  4
∂C/∂A = (δ¹ xᵀ)[→ p₁]                              10""",
    "squashed(total(W[k][f] * H[j][f] for j in NEAR[i] for f in range(2)) for i in N for k in range(3))": """
   c₁ = [[1, 1, 0, 0], [1, 1, 1, 0], [0, 1, 1, 1], [0, 0, 0, 1]]   4×4
   z¹ = (c₁ H) Wᵀ                                                  4×3
   a¹ = tanh(z¹)                                                   4×3
    C = Σ a¹                                                       1

   δ¹ = tanh'(z¹)                                                  4×3
∂C/∂W = δ¹ᵀ (c₁ H)                                                 3×2""",
    "squashed(total(k[i] * x[p + i - 1] for i in range(3) if 0 <= p + i - 1 < 4) for p in N)": """
   p₁ = [[0, 1, 2], [1:3], [2:4], [3, 4]]   4×3
   z¹ = x[p₁] k                             4
   a¹ = tanh(z¹)                            4
    C = Σ a¹                                1

   δ¹ = tanh'(z¹)                           4
∂C/∂k = x[p₁]ᵀ δ¹                           3""",
    "squashed(total((A[i][j] + m[0] if i == j else A[i][j]) * x[j] for j in N) for i in N)": """
    z¹ = A x + m₁ x   4
    a¹ = tanh(z¹)     4
     C = Σ a¹         1

    δ¹ = tanh'(z¹)    4
∂C/∂m₁ = δ¹ · x       1
 ∂C/∂A = δ¹ xᵀ        4×4""",
    "squashed(total(x[i] * (A[i][j] + m[i] if i == j else A[i][j]) for i in N) for j in N)": """
   z¹ = Aᵀ x + x ⊙ m   4
   a¹ = tanh(z¹)       4
    C = Σ a¹           1

   δ¹ = tanh'(z¹)      4
∂C/∂m = δ¹ ⊙ x         4
∂C/∂A = x δ¹ᵀ          4×4""",
    "squashed(total((A[i][j] + m[0] if i == j < 2 else A[i][j]) * x[j] for j in N) for i in N)": """
    z¹ = A x + m₁ x[1:2]   2
    z² = A′ x              2
    a¹ = tanh(z¹)          2
    a² = tanh(z²)          2
     C = Σ a¹ + Σ a²       1

    δ² = tanh'(z²)         2
    δ¹ = tanh'(z¹)         2
∂C/∂m₁ = δ¹ · x[1:2]       1
∂C/∂A′ = δ² xᵀ             2×4
 ∂C/∂A = δ¹ xᵀ             2×4""",
    "squashed(total(A[i][j] * x[j] for j in N) + m[0] * x[i] for i in N)": """
    z¹ = A x + m₁ x   4
    a¹ = tanh(z¹)     4
     C = Σ a¹         1

    δ¹ = tanh'(z¹)    4
∂C/∂m₁ = δ¹ · x       1
 ∂C/∂A = δ¹ xᵀ        4×4""",
    "squashed(total((A[i][j] + m[0] * float(i == j)) * x[j] for j in N) for i in N)": """
     I = [[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]   4×4
    z¹ = (m₁ I + A) x                                               4
    a¹ = tanh(z¹)                                                   4
     C = Σ a¹                                                       1

    δ¹ = tanh'(z¹)                                                  4
∂C/∂m₁ = Σ (I ⊙ (δ¹ xᵀ))                                            1
 ∂C/∂A = δ¹ xᵀ                                                      4×4""",
    "squashed([total(A[i][j] * x[j] for j in N) for i in N] + [total(A[i][j] * x[i] for i in N) for j in N])": """
   z¹ = A x             4
   z² = Aᵀ x            4
   a¹ = tanh(z¹)        4
   a² = tanh(z²)        4
    C = Σ a¹ + Σ a²     1

   δ² = tanh'(z²)       4
   δ¹ = tanh'(z¹)       4
∂C/∂A = x δ²ᵀ + δ¹ xᵀ   4×4""",
    "squashed([total(W[i][j] * x[j + 2] for j in range(2)) for i in range(3)]"
    " + [total(W[i][j] * x[i] for i in range(3)) for j in range(2)])": """
   z¹ = W x[3:4]                  3
   z² = Wᵀ x[1:3]                 2
   a¹ = tanh(z¹)                  3
   a² = tanh(z²)                  2
    C = Σ a¹ + Σ a²               1

   δ² = tanh'(z²)                 2
   δ¹ = tanh'(z¹)                 3
∂C/∂W = x[1:3] δ²ᵀ + δ¹ x[3:4]ᵀ   3×2""",
    "squashed(total(A[i][j] * x[j] for j in N) + total(A[j][i] * x[j] for j in N) for i in N)": """
   z¹ = (A + Aᵀ) x      4
   a¹ = tanh(z¹)        4
    C = Σ a¹            1

   δ¹ = tanh'(z¹)       4
∂C/∂A = δ¹ xᵀ + x δ¹ᵀ   4×4""",
    "squashed(total(A[i][j] * (B[i][j] * x[j]) for j in N) for i in N)": """
   z¹ = (B ⊙ A) x     4
   a¹ = tanh(z¹)      4
    C = Σ a¹          1

   δ¹ = tanh'(z¹)     4
∂C/∂A = B ⊙ (δ¹ xᵀ)   4×4
∂C/∂B = A ⊙ (δ¹ xᵀ)   4×4""",
    "total(a * b for a in x for b in m)": """
     C = (Σ m) (Σ x)   1

∂C/∂mᵢ = Σ x           4""",
    "total(x[i] + 0.5 * m[i] for i in N)": """
     C = Σ x + ½Σ m   1

∂C/∂mᵢ = ½            4""",
    "total(x[i] - 0.5 * m[i] for i in N)": """
     C = Σ (x − ½m)   1

∂C/∂mᵢ = −½           4""",
    "total(x[i] - m[i] - A[0][i] - A[1][i] for i in N)": """
      C = Σᵢ (xᵢ − mᵢ − Σⱼ Aᵢⱼ)   1

 ∂C/∂mᵢ = −1                      4
∂C/∂Aᵢⱼ = −1                      4×2""",
    "total(x[i] - (m[i] - (y[i] - A[0][i])) for i in N)": """
     C = Σ (y − A) + Σ x − Σ m   1

∂C/∂mᵢ = −1                      4
∂C/∂Aᵢ = −1                      4""",
}


def recorded(text):
    """The loss written so, and the batch leaves and parameters by name."""
    given = {"x": vector("x"), "y": vector("y"), "H": matrix("H", 4, 2)}
    parameters = {"A": matrix("A"), "B": matrix("B"), "m": vector("m"), "k": vector("k", 3), "W": matrix("W", 3, 2)}
    names = {"N": N, "NEAR": NEAR, "total": total, "squashed": squashed}
    loss = eval(text, names | given | parameters)
    return loss, {k: v for k, v in given.items() if f"{k}[" in text or f"in {k}" in text}, parameters


@pytest.mark.parametrize("text", WRITTEN)
def test_the_equation_is_the_one_that_one_would_write(text):
    loss, given, _ = recorded(text)
    assert str(vectorize(loss, list(given.values()))) == WRITTEN[text].removeprefix("\n")


def flat(values):
    return [v for inner in values for v in flat(inner)] if isinstance(values, list) else [values]


def check_numbers(text, varies=False, **numbers):
    """Loss and gradients are those of the scalar engine, also where the leaves have these numbers."""
    loss, given, parameters = recorded(text)
    batch = list(given.values()) if varies else []  # numbers of a batch must be finite
    program = vectorize(loss, batch)
    for leaves in (given, parameters):
        for name, values in leaves.items():
            for v, x in zip(flat(values), np.ravel(numbers.get(name, [v.data for v in flat(values)])), strict=True):
                v.data = float(x)
    program.pull()
    got = program.backward(*([[v.data for v in flat(values)]] for values in batch))
    again = eval(text, {"N": N, "NEAR": NEAR, "total": total, "squashed": squashed} | given | parameters)
    again.backward()
    np.testing.assert_allclose(got[0], again.data, rtol=1e-13)
    for p in program.parameters:
        np.testing.assert_allclose(p.grad.ravel(), [v.grad for v in p.nodes], rtol=1e-12, err_msg=p.name)


INF = math.inf
FORMS = ["x[i] * A[i][j] * y[j]", "x[i] * y[j] * A[i][j]", "A[i][j] * (x[i] * y[j])", "x[i] * (A[i][j] * y[j])"]


@pytest.mark.parametrize("form", [f"total({form} for i in N for j in N)" for form in FORMS])
@pytest.mark.parametrize(
    ("x", "A", "y"),
    [
        (1e300, 1e8, 1e-200),
        (1e-300, 1e200, 1e200),
        (1e200, 1e-200, 1e-200),
        (1e-200, 1e-200, 1e300),
        (1e-320, 1.0, 1e300),
        (1.0, 1.7e308, 1e-10),  # the sums of x·A overflow, those of (x·A)·y do not
        (1.0, INF, 1.0),
        (1.0, INF, 0.0),
        (1.0, 1.0, INF),
        ([1.0, -1.0, 1.0, -1.0], 1.0, INF),  # Σ x·A is 0
        ([2.0, -1.0, 0.0, 0.0], 1.0, INF),  # inf − inf, though Σ x·A is not 0
        (1.0, [INF] + 15 * [1.0], 1.0),
    ],
)
def test_products_of_three_neither_overflow_nor_underflow_where_the_scalar_engine_does_not(form, x, A, y):
    check_numbers(form, x=np.broadcast_to(x, 4), A=np.broadcast_to(A, 16), y=np.broadcast_to(y, 4))


@pytest.mark.parametrize("mask", ["float((i + j) % 3 > 0)", "(0.25 + (i + j) % 3)", "A[j][i]"])
@pytest.mark.parametrize("A", [1.0, 1e300, 1e-310, [INF] + 15 * [1.0], [1.0] + 15 * [INF]])
def test_masks_are_moved_to_the_weights_where_that_changes_nothing(mask, A):
    text = f"squashed(total(A[i][j] * ({mask} * x[j]) for j in N) for i in N)"
    for x in (1.0, 1e-300, 1e300):
        check_numbers(text, varies=True, x=np.full(4, x), A=np.broadcast_to(A, 16))


@pytest.mark.parametrize(("A", "m", "x"), [(1.7e308, -1.7e308, 10.0), (1.7e308, 1.7e308, 1e-10), (INF, 1.0, 0.0)])
def test_a_multiple_of_the_identity_overflows_where_it_does_as_recorded(A, m, x):
    for places in ("i == j", "True"):
        text = f"squashed(total((A[i][j] + m[0] if {places} else A[i][j]) * x[j] for j in N) for i in N)"
        check_numbers(text, varies=x != 0.0, A=np.full(16, A), m=np.full(4, m), x=np.full(4, x))


def test_float32_takes_products_as_recorded_where_others_overflow():
    loss, given, _ = recorded("total(x[i] * y[j] * A[i][j] for i in N for j in N)")
    program = vectorize(loss, [given["x"], given["y"]], dtype=np.float32)
    parameter, numbers = program.parameters[0], np.full((1, 4), 1e-15, np.float32)
    parameter.data = 1e32
    np.testing.assert_allclose(program(numbers, numbers), 16 * 1e32 * 1e-30, rtol=1e-5)
    parameter.data = 1e-32
    np.testing.assert_allclose(program(numbers * 1e30, numbers), 16e-32, rtol=1e-5)
    parameter.data = 1e30
    np.testing.assert_allclose(program(numbers, np.full((1, 4), 1e15, np.float32)), 16e30, rtol=1e-5)


@pytest.mark.parametrize("text", [text for text in WRITTEN if "NEAR" in text or "if " in text or "range(i" in text])
def test_an_infinite_number_reaches_only_the_sums_that_read_it(text):
    x = [0.5, 1.0, INF, 2.0]
    check_numbers(text, x=x, H=np.repeat(x, 2))


def test_what_nobody_recorded_is_no_node_and_what_dissolved_is_nowhere():
    x, y, A = vector("x"), vector("y"), matrix("A")
    products = [[x[i] * A[i][j] for j in N] for i in N]
    loss = total(products[i][j] * y[j] for i in N for j in N)
    program = vectorize(loss, [x, y])
    (array,) = (array for array in program.arrays if array.kind == "computed" and array.size == 4)
    assert set(program.nodes(array.name)) == {None}
    for v in flat(products):
        assert program.where(v) is None
        assert program.name_of(v) == array.name
    X, Y = np.array([[1.0, 2.0, 3.0, 4.0]]), np.ones((1, 4))
    want = [X[0, i] * A[i][j].data for i in N for j in N]
    np.testing.assert_array_equal(program.values(flat(products), X, Y)[0], want)


def test_nodes_that_compute_the_same_are_one_entry_unless_they_have_a_name():
    x, m = vector("x"), vector("m")
    first, second, third = ([a - b for a, b in zip(x, m, strict=True)] for _ in range(3))
    for v in third:
        v.label = "third"
    program = vectorize(total(a * b * c for a, b, c in zip(first, second, third, strict=True)), [x])
    for v, same, named in zip(first, second, third, strict=True):
        place = program.where(v)
        assert place == program.where(same) != program.where(named)
        assert program.nodes(place.name)[place.entry] in (v, same)
        assert program.nodes("third")[program.where(named).entry] is named


def test_what_a_choice_may_leave_out_stays_as_it_was_recorded():
    x, w = vector("x"), matrix("w")
    rows = [total(x[i] * w[i][j] * x[j] for j in N) for i in N]
    loss = total(apply(WHERE, x[i], rows[i], x[i] - x[i]) for i in N)
    loss.backward()
    program = vectorize(loss, [x])
    program.backward([[v.data for v in x]])
    for p in program.parameters:
        np.testing.assert_allclose(p.grad.ravel(), [v.grad for v in p.nodes], rtol=1e-13)


@pytest.mark.parametrize("dims", DIMS, ids=str)
def test_positions_with_equal_steps_along_axes_are_given_these_axes(dims):
    """Whatever the steps are, also where one goes on with the step of another, or stands still."""
    for steps in product((-7, 0, 1, 11), repeat=len(dims)):
        index = np.tensordot(steps, np.indices(dims), 1).ravel()
        found = common_dims(index.size, [index])
        assert affine(index.reshape(found)) and len(found) <= len(dims)
        assert math.prod(found) == index.size


@pytest.mark.parametrize("dims", [(1,), (3,), (2, 2), (1, 3), (3, 1), (2, 3), (3, 2), (2, 1, 2), (1, 1)], ids=str)
def test_positions_follow_a_rule_if_and_only_if_steps_give_them_all(dims):
    for numbers in product(range(3), repeat=math.prod(dims)):
        index = np.array(numbers).reshape(dims)
        second = np.eye(len(dims), dtype=int) % dims  # along each axis; the first again where it is the only one
        steps = tuple(index[tuple(at)] - index.flat[0] for at in second)
        follows = np.array_equal(index, index.flat[0] + np.tensordot(steps, np.indices(dims), 1))
        assert affine(index) == ((steps, index.flat[0]) if follows else None)


@pytest.mark.parametrize(
    ("n", "positions", "dims"),
    [
        (12, [lambda i: i % 2, lambda i: i % 6], (2, 3, 2)),
        (12, [lambda i: i % 2, lambda i: i % 3], (6, 2)),  # the first that fit
        (12, [lambda i: i * i, lambda i: i // 4], (3, 4)),
        (12, [lambda i: i], (12,)),
        (1, [lambda i: i], (1,)),
        (2, [lambda i: i], (2,)),
        (16, [lambda i: i + 3 * (i // 2) + 5 * (i // 4) + 7 * (i // 8)], (2, 2, 2, 2)),
        (32, [lambda i: i + 3 * (i // 2) + 5 * (i // 4) + 7 * (i // 8) + 9 * (i // 16)], (32,)),  # four axes at most
    ],
)
def test_axes_are_those_that_as_many_as_possible_follow(n, positions, dims):
    assert common_dims(n, [np.array([f(i) for i in range(n)]) for f in positions]) == dims
