"""What `vectorize` finds in programs, the equations it prints and the code it writes, as when somebody looked at them.

Elsewhere the numbers of such programs are compared with those of the scalar engine. This tells what numbers do not: a
matrix that falls apart into its entries, a copy that nobody needs. Where it is meant to change, look at it, then write
the files of `snapshots/` anew by `python tests/test_program_snapshots.py`, and look at their diff.
"""

import builtins
import random
from itertools import combinations

from graphs import (
    MODELS,
    STRUCTURES,
    dot,
    double_with_other_terms,
    flat,
    leaves,
    many_of_one_colour,
    network,
    random_graph,
    random_network,
    signs_and_products,
    sum_,
    sum_beside_a_grid,
)
from kept import check, several, write

from microgradlike import constant
from microgradlike.matrix import vectorize


def structure(make, end=sum_):
    """One of STRUCTURES, its parts added up."""
    rng = random.Random(0)
    x, w = leaves(rng, 3), leaves(rng, 4)
    parts = make(rng, x, w)
    rng.shuffle(parts)
    return end(parts), [x]


def of_tanh(parts):
    return builtins.sum(v.tanh() for v in parts)


def sums_of(rows, weighted):
    """Σ tanh z, and each z a sum of some x, with a weight for each or without."""
    rng = random.Random(0)
    x = leaves(rng, 1 + max(map(max, rows)))
    z = [sum_([leaves(rng) * x[i] if weighted else x[i] for i in row]) for row in rows]
    return of_tanh(z), [x]


def recurrent(steps, turned=False):
    """Steps of h = tanh(W h + U x + b); where it is turned, W and U are stored by columns."""
    rng = random.Random(0)
    W, U, b, x = leaves(rng, 3, 3), leaves(rng, *((2, 3) if turned else (3, 2))), leaves(rng, 3), leaves(rng, steps, 2)
    W, U = ([*zip(*M, strict=True)] if turned else M for M in (W, U))
    h = [constant(0.0)] * 3
    for row in x:
        h = [(dot(w, h) + dot(u, row) + c).tanh() for w, u, c in zip(W, U, b, strict=True)]
    return dot(h, h), [flat(x)]


def both_ways():
    """Σ tanh(A x) + Σ tanh(Aᵀ x)."""
    rng = random.Random(0)
    A, x = leaves(rng, 4, 4), leaves(rng, 4)
    return of_tanh([dot(row, x) for M in (A, zip(*A, strict=True)) for row in M]), [x]


def with_penalty():
    """A sum over entries that lie side by side, beside those of parameters."""
    rng = random.Random(0)
    x, m = leaves(rng, 4), leaves(rng, 4)
    return sum_([a + 0.5 * b for a, b in zip(x, m, strict=True)]), [x]


SEEDS = {random_network: (9, 29, 32, 55, 63), random_graph: (61, 135), many_of_one_colour: (31, 72)}
PROGRAMS = {
    **{make.__name__: (lambda make=make: make(random.Random(0))) for make in MODELS},
    **{make.__name__: (lambda make=make: structure(make, of_tanh)) for make in STRUCTURES},
    "double_with_other_terms, added up": lambda: structure(double_with_other_terms),
    "sums of three of four": lambda: sums_of([*combinations(range(4), 3)], weighted=False),
    "two sums of different lengths": lambda: sums_of([(0, 1, 2, 3, 4), (1, 2, 3, 5)], weighted=True),
    "recurrent": lambda: recurrent(3),
    "recurrent, by columns": lambda: recurrent(3, turned=True),
    **{
        f"{make.__name__} {seed}": (lambda make=make, seed=seed: make(random.Random(seed)))
        for make, seeds in SEEDS.items()
        for seed in seeds
    },
}
CODE = {
    "with_penalty": with_penalty,
    "both ways": both_ways,
    "recurrent": lambda: recurrent(3),
    "signs_and_products": lambda: structure(signs_and_products),
    "sum_beside_a_grid": lambda: structure(sum_beside_a_grid),
    "a network with maxout": lambda: (network(2, 3, 1, activation="maxout"), []),
}


def programs():
    found = {name: vectorize(*make()) for name, make in PROGRAMS.items()}
    return several({name: f"{program.found}\n\n{program}\n" for name, program in found.items()})


def code():
    found = {name: vectorize(*make()) for name, make in CODE.items()}
    few = {f"{name}, for few samples": program._stacked.code.source("backward") for name, program in found.items()}
    return several({name: program.source for name, program in found.items()} | few)


SNAPSHOTS = {"programs.txt": programs, "code.txt": code}


def test_programs_are_found_and_printed_as_they_were():
    check("programs.txt", programs)


def test_the_code_of_programs_is_as_it_was():
    check("code.txt", code)


if __name__ == "__main__":
    write(SNAPSHOTS)
