"""What is intermediate in the array program can be printed: sums, colours, arrays, lines."""

import random
import re
from itertools import pairwise

import numpy as np
import pytest
from graphs import leaves, random_graph

from microgradlike import Value, affine, constant, dot, logsumexp, maxout, nn, ops, vectorize
from microgradlike import sum as sum_
from microgradlike.matrix import passes
from microgradlike.matrix.arrays import Apply
from microgradlike.matrix.guards import Guard, Notes

PASSES = """\
sums:
z = w₁·x₁ + b + w₂·x₂
a = tanh(z)
C = pow(a, 2)

colours:
constant: 2
leaf: x₁, x₂
leaf: w₁, w₂
leaf: b
sum: z
tanh: a
pow: C

arrays:
x (2,) ~ batch
w (2,) parameter
b (1,) parameter
z (1,) ~ = w(2) · x(2) + b
a (1,) ~ = tanh(z)
C (1,) ~ = a ^ 2

lines:
def run(x0):
    # z (1,) ~ = w(2) · x(2) + b
    dot(x0, a1, a2)
    add(a2, a3, a4)
    # a (1,) ~ = tanh(z)
    tanh(a4, a5)
    # C (1,) ~ = a ^ 2
    multiply(a5, a5, a6)
"""


def test_each_pass_shows_what_it_makes_of_a_neuron():
    w, x, b = ([Value(0.5 * i, f"{name}{'₁₂'[i - 1]}") for i in (1, 2)] for name in "wxb")
    z = w[0] * x[0] + b[0] + w[1] * x[1]
    b[0].label, z.label = "b", "z"
    a = z.tanh()
    a.label = "a"
    loss = a**2
    loss.label = "C"
    made = passes(loss, [x])
    assert str(made).startswith(PASSES)
    assert [name for name, *_ in (block.split(":") for block in str(made).split("\n\n"))] == list(made._fields)
    assert made.lines == vectorize(loss, [x]).source
    assert str(made.arrays) == str(vectorize(loss, [x]).found)


@pytest.fixture
def layer():
    x, y = [Value(0.1, f"x{i}") for i in "₁₂₃₄"], [Value(0.2, f"y{i}") for i in "₁₂₃"]
    return vectorize(nn.losses.quadratic(nn.MLP(4, [3], "tanh", seed=0)(x), y), [x, y])


def test_arrays_print_one_a_line(layer):
    assert str(layer.arrays).splitlines() == [
        "x (4,) ~ batch",
        "y (3,) ~ batch",
        "W¹ (3, 4) parameter",
        "b¹ (3,) parameter",
        "z¹ (3,) ~ = b¹ + W¹(3×4) · x(4)",
        "v₁ (3,) ~ = z¹ − y",
        "v₂ (1,) ~ = v₁(3) · v₁(3)",
        "C (1,) ~ = 0.5 · v₂",
    ]
    assert repr(layer.arrays[4]) == str(layer.arrays).splitlines()[4]


def computed(loss, batch=()):
    return [str(array) for array in vectorize(loss, batch).arrays if array.instruction]


def labelled(name, n):
    return [Value(0.5 + i, f"{name}{i}") for i in range(n)]


def test_what_is_read_of_an_array_is_printed():
    x, w = labelled("x", 6), labelled("w", 6)
    some = computed(dot(w[:3], x[2:5]).tanh() + x[1] * w[5], [x])
    assert some[0] == "v₁ (1,) ~ = w(3) · x[2:5](3)"
    assert some[-1] == "C (1,) ~ = x[1] · w5 + v₂"  # w₅ is another array, for it is used otherwise
    rows = computed(sum_([(w[i] * x[j]).tanh() for i, j in ((0, 3), (1, 1), (2, 0), (0, 5))]), [x])
    assert rows[0] == "v₁ (4,) ~ = x[0, 1, 3, 5] · w[0, 1, 2, 2]"
    many = computed(sum_([(w[i % 5] + x[i % 6]).tanh() for i in range(30)]), [x])
    assert many[0] == "v₁ (6, 5) ~ = w[0, 1, 2, 3, 4, 1, 2, 3, …] + x[0, 0, 0, 0, 0, 1, 1, 1, …]"


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda x: x[0] / x[1], "x[0] ÷ x[1]"),
        (lambda x: x[0] ** 2.5, "x[0] ^ 2.5"),
        (lambda x: x[0].elu(0.5), "ELU(x[0], alpha=0.5)"),
        (lambda x: x[0].sigmoid(), "σ(x[0])"),
        (lambda x: logsumexp(x), "logsumexp x(4)"),
        (lambda x: logsumexp(x[1:3]), "logsumexp x[1, 2](2)"),
        (lambda x: x[0] - 2.0, "x[0] − 2"),
        (lambda x: -x[0], "− x[0]"),
        (lambda x: sum_(x), "Σ x(4)"),
        (lambda x: dot([0.5, 1.5], x[:2]), "[0.5, 1.5](2) · x[0, 1](2)"),
        (lambda x: dot(x, x), "x(4) · x(4)"),
        (lambda x: dot(x[:2], [1.0, 1.0]), "1(2) · x[0, 1](2)"),
        (lambda x: sum_([x[0] * x[1], x[2] * x[3]]), "x[0, 2](2) · x[1, 3](2)"),
    ],
)
def test_instructions_print_what_they_compute(make, text):
    x = labelled("x", 4)
    assert computed(make(x), [x])[-1].partition("= ")[2] == text


def test_segments_print_where_they_begin():
    x = labelled("x", 6)
    text = computed(maxout(x[:2]) * maxout(x[2:5]) + maxout(x[5:] + x[:3]), [x])[0]
    assert text == "v₁ (3,) ~ = max x[0, 1, 2, 3, 4, 0, 1, 2, …](9) from 0, 2, 5"


def test_sums_of_exponentials_that_are_nearly_of_one_length_are_rows_that_end_in_none():
    x = labelled("x", 6)
    text = computed(logsumexp(x[:2]) * logsumexp(x[2:5]) + logsumexp(x[5:] + x[:2]), [x])[0]
    assert text == "v₁ (3,) ~ = logsumexp x[0, 1, none, 2, 3, 4, 0, 1, …](3×3)"


def test_positions_where_nothing_is_read_print_as_none():
    w, a = leaves(random.Random(0), 3, 3), leaves(random.Random(1), 2, 3)
    sums = [dot(row[: t + 1], column[: t + 1]).tanh() for t, row in enumerate(w) for column in a]
    assert "W¹(2×3) · w₁[0, none, none, 1, 2, none, 3, 4, …](3×3)" in str(vectorize(sum_(sums)).arrays)


def test_parameters_print_their_names_and_shapes(layer):
    assert [repr(p) for p in layer.parameters] == ["Parameter(W¹, shape=(3, 4))", "Parameter(b¹, shape=(3,))"]


def test_lines_of_the_source_say_what_they_compute(layer):
    lines = [line.strip() for line in layer.source.splitlines()[1:]]
    comments = [line for line in lines if line.startswith("#")]
    forward = [f"# {array}" for array in layer.arrays if array.instruction]
    assert comments[: len(forward) + 1] == [*forward, "# the losses"]
    assert {"# ∂loss/∂W¹", "# ∂loss/∂b¹"} <= set(comments)
    assert lines[0].startswith("#") and not any(a[0] == b[0] == "#" for a, b in pairwise(lines))


def test_the_source_runs_as_it_is_printed():
    """Whatever the labels hold; comments are not part of what runs."""
    x, w = Value(2.0, "x\n    raise"), Value(3.0, "w")
    program = vectorize((x * w).tanh(), [x])
    names = {}
    exec(program.source, names)
    assert "run" in names
    assert "\n    raise" not in program.source
    assert "x�    raise" in program.source


def test_comparisons_say_in_the_source_what_they_check():
    x = Value(2.0, "x")
    program = vectorize(lambda: x * x if x > 1.0 else -x, [x])
    assert "# whether x > 1.0\n    greater(" in program.source
    assert str(Guard("less_equal", Value(1.0), constant(0.5), True)) == "a Value <= 0.5"


def test_arguments_of_which_parts_are_read_are_copied_first():
    x = labelled("x", 3)
    program = vectorize(x[0].tanh() * x[2], [x])
    assert program.source.splitlines()[1:3] == ["    # arguments that are read in parts", "    copyto(a1, x0)"]
    np.testing.assert_allclose(program(np.array([[0.5, 9.0, 3.0]])), [np.tanh(0.5) * 3.0])


def test_long_passes_are_cut_short():
    w = [Value(0.1) for _ in range(200)]
    made = passes(sum_([(v * 2.0).tanh() for v in w]))
    assert str(made.sums).splitlines()[-1] == "…" and len(str(made.sums).splitlines()) == 61
    lines = str(made.colours).splitlines()
    assert [line.split(":")[0] for line in lines] == ["constant", "leaf", "sum", "tanh", "sum"]
    assert [line.endswith(", …") for line in lines] == [True, True, True, True, False]
    assert {line.count(",") for line in lines} == {60, 0}


def test_random_graphs_print_every_array_and_every_live_node():
    for seed in range(20):
        loss, batch = random_graph(random.Random(seed))
        made = passes(loss, [batch] if batch else [])
        assert len(str(made.arrays).splitlines()) == len(made.arrays)
        graph = made.sums
        live = [v for v, alive in zip(graph.nodes, graph.live, strict=True) if alive]
        computed = [v for v in live if v.inputs and v.op is not ops.CONSTANT]
        assert len(str(graph).splitlines()) == min(len(computed), 61)
        assert len(str(made.colours).splitlines()) == min(len({*made.colours.colour[graph.live]}), 61)
        for name in re.findall(r"^(\S+) \(", str(made.arrays), flags=re.M):
            assert name in {a.name for a in made.arrays}


def test_affine_layers_of_two_heads_print_their_grids():
    rng = random.Random(0)
    X, A = leaves(rng, 2, 3), leaves(rng, 2, 2, 3)
    z = [affine(A[h][i], X[h], Value(0.1)) for h in range(2) for i in range(2)]
    printed = str(vectorize(sum_([v.tanh() for v in z]), [X]).arrays)
    assert "(2×2×3) · x(2×3)" in printed


@pytest.mark.parametrize(
    "op, operands, text",
    [
        (ops.ADD, [1, 2], "1 + 2"),
        (ops.POW, [1, 2], "1 ^ 2"),
        (ops.MAXIMUM, [1, 2], "max(1, 2)"),
        (ops.NEG, [1], "−(1)"),
        (ops.SIGMOID, [1], "σ(1)"),
        (ops.leaky_relu(0.2), [1], "leaky ReLU(1, slope=0.2)"),
    ],
)
def test_an_operation_stands_between_two_operands_or_before_them(op, operands, text):
    assert repr(Apply(op, operands)) == text


@pytest.mark.parametrize("n, more", [(1, ""), (8, ""), (9, "… and 1 more"), (20, "… and 12 more")])
def test_a_warning_names_eight_lines_and_counts_the_others(n, more):
    warning = Notes(reads={("f.py", i): Value(1.0) for i in range(1, n + 1)}).warning()
    assert re.findall(r"f\.py:\d+", warning) == [f"f.py:{i}" for i in range(1, min(n, 8) + 1)]
    assert re.findall("….*more", warning) == [more] * bool(more)
