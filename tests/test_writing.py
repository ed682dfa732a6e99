"""Entries of arrays are written in matrix notation where there is one, and with indices where there is none."""

import numpy as np
import pytest

from microgradlike.matrix.entries import Add, Each, Entry, Index, Lookup, Over, Put, Softmax, Table, Var
from microgradlike.matrix.writing import LIST, Writer
from microgradlike.notation.typeset import call

i, j, k = Var(2), Var(3), Var(4)
many = Var(LIST + 1)
EVERY_OTHER = Index(((2, j),), 1)
PERMUTED, SOME, PAIRS = (
    Table("at", np.array([2, 0, 1])),
    Table("at", np.array([0, -1, 2])),
    Table("at", np.eye(2, 3, dtype=int)),
)


def entry(name, *at, sizes=()):
    """The entry of an array at variables, or at other indices of axes of these sizes."""
    at = tuple(Index.of(each) if isinstance(each, Var) else each for each in at)
    return Entry(name, at, tuple(sizes) or tuple(index.var.size for index in at))


def f(*operands, kind="scalar"):
    return Each(lambda texts: call("f", *texts), operands, kind)


def read(table, *at):
    return Index.of(Lookup(table, tuple(map(Index.of, at))))


def total(vars, x, kind="Σ"):
    return Over(kind, vars, (x,))


W, A, B, u, v, w = (
    entry("W", i, j), entry("A", i, k), entry("B", k, j), entry("u", i), entry("v", j), entry("w", k)
)  # fmt: skip
part = entry("x", EVERY_OTHER, sizes=[7])


@pytest.mark.parametrize(
    "x, vars, line",
    [
        (total([j], W * v), [i], "y = W v"),
        (total([i], W * u), [j], "y = Wᵀ u"),
        (total([k], A * B), [i, j], "y = A B"),
        (total([k], A * entry("B", j, k)), [i, j], "y = A Bᵀ"),
        (total([k], A * B * w), [i, j], "yᵢⱼ = Σₖ Aᵢₖ Bₖⱼ wₖ"),
        (total([j], v * entry("x", j)), [], "y = v · x"),
        (u * v, [i, j], "y = u vᵀ"),
        (W * u * v, [i, j], "y = W ⊙ (u vᵀ)"),
        (W * u, [i, j], "yᵢⱼ = Wᵢⱼ uᵢ"),
        (W * v, [i, j], "yᵢⱼ = Wᵢⱼ vⱼ"),
        (total([i], Add((total([k, j], B), u))), [], "y = Σ (Σ B + u)"),
        (f(u, v, total([k], w * w)), [i, j], "yᵢⱼ = f(uᵢ, vⱼ, w · w)"),
        (2.0 * v * v, [j], "y = 2v ⊙ v"),
        (total([i, j], W), [], "y = Σ W"),
        (total([i, j], f(W, kind="square")), [], "y = ‖W‖²"),
        (total([j], W), [i], "yᵢ = Σⱼ Wᵢⱼ"),
        (total([i, j], f(u, v)), [], "y = Σᵢⱼ f(uᵢ, vⱼ)"),
        (total([j, k], f(part, w)), [], "y = Σᵢ₌₁³ Σⱼ f(x[2i], wⱼ)"),
        (total([k, j], f(part, w)), [], "y = Σᵢ Σⱼ₌₁³ f(x[2j], wᵢ)"),
        (total([k, j], f(part, w), "max"), [], "y = maxᵢ(maxⱼ₌₁³(f(x[2j], wᵢ)))"),
        (total([j], v, "max"), [], "y = max(v)"),
        (Softmax((j,), (v,)), [j], "y = softmax(v)"),
        (f(u, v), [i, j], "yᵢⱼ = f(uᵢ, vⱼ)"),
        (f(u, total([j], f(u, v))), [i], "yᵢ = f(uᵢ, Σⱼ f(uᵢ, vⱼ))"),
        (f(entry("x₁", j), entry("x′", j)), [j], "yᵢ = f(x₁[i], x′ᵢ)"),
        (f(part, entry("x", Index(((1, j), (-2, k)), 3), sizes=[9])), [j, k], "yᵢⱼ = f(x[2i], x[i − 2j + 5])"),
        (part, [j], "y = x[2:6:2]"),
        (entry("x", Index(((1, j),), 1), sizes=[5]), [j], "y = x[2:4]"),
        (entry("x", Index(((-1, j),), 2), sizes=[3]), [j], "y = x[3:1:−1]"),
        (entry("W", Index((), 1), j, sizes=[2, 3]), [j], "y = W[2, :]"),
        (entry("W", j, j), [j], "yᵢ = Wᵢᵢ"),
        (entry("x", read(PERMUTED, j), sizes=[3]), [j], "y = x[3, 1, 2]"),
        (entry("x", read(SOME, j), sizes=[3]), [j], "yᵢ = x[at[i]]"),
        (entry("x", read(Table("at", np.arange(LIST)[::-1]), each := Var(LIST)), sizes=[LIST]), [each],
         f"y = x[{', '.join(map(str, range(LIST, 0, -1)))}]"),
        (entry("x", read(Table("at", np.arange(LIST + 1)), many), sizes=[LIST + 1]), [many], "y = x[at]"),
        (entry("x", read(PAIRS, i, j), sizes=[3]), [i, j], "y = x[at]"),
        (entry("W", i, read(PERMUTED, j), sizes=[2, 3]), [i, j], "y = W[:, at]"),
        (entry("x", read(PERMUTED, i), sizes=[3]), [i], "yᵢ = x[at[i]]"),
        (Put((v,), (j,), (EVERY_OTHER,), (many,), False), [many], "y = v[→ 2:6:2]"),
        (Put((f(v, total([i], f(u, v))),), (j,), (EVERY_OTHER,), (many,), True), [many],
         "y[2i] = f(vᵢ, Σⱼ f(uⱼ, vᵢ))"),
    ],
)  # fmt: skip
def test_lines(x, vars, line):
    assert " = ".join(map(str, Writer([]).line("y", vars, x))) == line


def test_no_index_has_the_name_of_an_array():
    assert " = ".join(map(str, Writer(["i", "y"]).line("y", [i, j], f(u, v)))) == "yⱼₖ = f(uⱼ, vₖ)"
