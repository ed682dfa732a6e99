"""Random programs through `vectorize`, called in random orders, against the scalar engine; and what must not change."""

import ast
import random
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import islice

import numpy as np
import programs
import pytest
from fuzz import failure, shortened
from programs import PATTERNS, Program, pattern, random_program, record
from trials import LIMIT, answers, random_trial

from microgradlike import operation, vectorize
from microgradlike.ieee import ieee
from microgradlike.matrix import canonical, colours


def check(trial):
    """Run a trial; where it fails, say which, and show the program."""
    try:
        trial.run()
    except Exception as error:
        listing = trial.program.listing(lambda leaf: trial.number(leaf, -1))
        error.add_note(
            f"trial {trial.seed}, {trial.arguments_mode} arguments; fuzz.shortened makes it short\n{listing}"
        )
        raise


@pytest.mark.parametrize("arguments", ["natural", "names", "random", "one", "none"])
@pytest.mark.parametrize("kind", programs.KINDS)
def test_random_programs(kind, arguments):
    for seed in range(12):
        check(random_trial(100 * len(arguments) + seed, kind=kind, arguments_mode=arguments, derivatives=0.0))


@pytest.mark.parametrize("kind", programs.KINDS)
def test_random_programs_with_derivatives_in_the_loss(kind):
    for seed in range(20):
        check(random_trial(seed, kind=kind, derivatives=1.0))


@pytest.mark.parametrize("name", PATTERNS)
def test_patterns(name):
    for seed, arguments in enumerate(["natural", "one", "random", "random", "names", "none"]):
        check(random_trial(seed, program=pattern(name), arguments_mode=arguments))


def test_batched_products_of_several_rows_whose_order_is_their_own():
    for seed in (10, 11):
        check(
            random_trial(
                seed, program=pattern("each row of weights with differences of its own"), arguments_mode="names"
            )
        )


@pytest.mark.parametrize("name", PATTERNS)
def test_patterns_where_hashes_collide(name, monkeypatch):
    """Nothing hangs on the hashes of rows: here each is the row's first entry, and all uses of parameters have one."""
    for module in (canonical, colours):
        monkeypatch.setattr(module, "MULTIPLIER", 0)
    check(random_trial(1, program=pattern(name), arguments_mode="natural", calls=2))


def test_one_program_called_by_several_threads():
    for seed in range(3):
        check(random_trial(seed, threads=True, arguments_mode="natural", derivatives=0.0, samples=4))


def test_trials_in_several_threads():
    """Several threads record, vectorise and call programs of their own."""
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda seed: check(random_trial(seed, calls=3)), range(24)))


def test_a_wrong_answer_is_found_and_shortened(monkeypatch):
    """With a rule that is another one on arrays, trials fail, and what is left of them is short."""
    lie = operation("cube", lambda xp, x: x * x * x if xp is ieee else x * x, lambda xp, y, x: 3.0 * x * x)
    monkeypatch.setitem(programs.VALUES, "cube", lie)
    trials = (random_trial(seed, kind="formulas", derivatives=0.0, arguments_mode="one") for seed in range(300))
    failing = (t for t in trials if "cube(" in t.program.text and failure(t).startswith("Wrong"))
    found = [shortened(trial) for trial in islice(failing, 3)]
    assert len(found) == 3
    for trial in found:
        assert "cube(" in trial.program.text
        assert len(trial.program.text) < 120
        assert compile(trial.program.listing(lambda leaf: 1.0), "listing", "exec")


# ── What must not change ───────────────────────────────────────────────────────────────────────


def numbers_of(program, samples, seed=0):
    """Numbers for every leaf: those of `samples` differ from one another where the name is x or y."""
    rng = random.Random(seed)
    fixed = {leaf: rng.gauss(0, 1) for leaf in program.leaves}
    return [fixed | {leaf: rng.gauss(0, 1) for leaf in program.leaves if leaf[0][0] in "xy"} for _ in range(samples)]


def both_ways(program, samples, k=0):
    """(losses, mean gradients, units) of the k-th loss, from the scalar engine and from vectorize."""
    each = [answers(program, numbers.__getitem__)[k] for numbers in samples]
    leaves = [leaf for leaf in program.leaves if leaf in each[0].grads and leaf[0][0] not in "xy"]
    n, eps = len(samples), 2.0**-52
    scalar = [a.loss for a in each], {v: sum(a.grads[v] for a in each) / n for v in leaves}
    units = [eps * a.loss_unit for a in each], {v: eps * sum(a.units[v] for a in each) / n for v in leaves}
    values, losses = record(program, samples[0].__getitem__)
    columns = [leaf for leaf in program.leaves if leaf[0][0] in "xy"]
    found = vectorize(losses[k], [values[leaf] for leaf in columns])
    X = [[numbers[leaf] for leaf in columns] for numbers in samples]
    arguments = [np.array(X)] if columns else []
    got = found.backward(*arguments).tolist()
    grads = {id(v): g for p in found.parameters for v, g in zip(p.nodes, p.grad.ravel().tolist(), strict=True)}
    return [(*scalar, *units), (got, {v: grads[id(values[v])] for v in leaves}, *units)]


def assert_close(got, want, unit):
    """Equal to rounding."""
    assert abs(got - want) <= LIMIT * unit, (got, want, unit)


@pytest.mark.parametrize("kind", programs.KINDS)
def test_gradients_are_linear(kind):
    """∇(2 L₁ − ½ L₂) = 2 ∇L₁ − ½ ∇L₂."""
    for seed in range(8):
        first = random_program(random.Random(seed), kind)
        text = f"{first.text}\none = {first.losses[0]}\nother = {' * '.join(first.losses)} / 4 + one.tanh()\nboth = 2 * one - 0.5 * other"
        program = Program(text, first.shapes, ("one", "other", "both"))
        samples = numbers_of(program, 1 if not any(name[0] in "xy" for name in first.shapes) else 3, seed)
        one, other, both = (both_ways(program, samples, k) for k in range(3))
        for (_, g1, _, u1), (_, g2, _, u2), (_, g, _, u) in zip(one, other, both, strict=True):
            for leaf in g:
                parts = 2 * g1.get(leaf, 0.0) - 0.5 * g2.get(leaf, 0.0)
                assert_close(g[leaf], parts, u[leaf] + 2 * u1.get(leaf, 0.0) + 0.5 * u2.get(leaf, 0.0))


def shuffled(program, rng):
    """The same statements in another order in which each still finds what it needs."""
    body = ast.parse(program.text).body
    names = [[n for n in ast.walk(s) if isinstance(n, ast.Name)] for s in body]
    all_names = [{n.id for n in each} for each in names]
    stored = [{n.id for n in each if isinstance(n.ctx, ast.Store)} for each in names]
    left, order = list(range(len(body))), []
    while left:
        ready = [
            i
            for k, i in enumerate(left)
            if not any(all_names[i] & stored[j] or stored[i] & all_names[j] for j in left[:k])
        ]
        order.append(rng.choice(ready))
        left.remove(order[-1])
    return replace(program, text="\n".join(ast.unparse(body[i]) for i in order))


@pytest.mark.parametrize("kind", programs.KINDS)
def test_the_order_of_construction_is_no_matter(kind):
    for seed in range(8):
        program = random_program(random.Random(seed), kind, derivatives=0.2)
        other = shuffled(program, random.Random(seed))
        samples = numbers_of(program, 1 if not any(name[0] in "xy" for name in program.shapes) else 3, seed)
        for a, b in zip(both_ways(program, samples), both_ways(other, samples), strict=True):
            for got, want, unit in zip(a[0], b[0], b[2], strict=True):
                assert_close(got, want, unit)
            for leaf, unit in b[3].items():
                assert_close(a[1][leaf], b[1][leaf], unit)


@pytest.mark.parametrize("activation", ["sigmoid", "tanh", "relu", "leaky_relu", "elu"])
def test_hidden_units_may_be_permuted(activation):
    """Of a network 3-4-2: the loss stays, the gradients are permuted alike."""
    text = (
        "rows = [v for w, d in zip(W, b) for v in (*w, d)] + [v for w, d in zip(V, c) for v in (*w, d)]\n"
        f"loss = quadratic(network(rows, [3, 4, 2], {activation!r}, 'tanh')(x), y)"
    )
    program = Program(text, {"W": (4, 3), "b": (4,), "V": (2, 4), "c": (2,), "x": (3,), "y": (2,)})
    order = [2, 0, 3, 1]
    place = {"W": lambda i, k: (order[i], k), "b": lambda i: (order[i],), "V": lambda j, i: (j, order[i])}
    moved = {leaf: (leaf[0], place[leaf[0]](*leaf[1]) if leaf[0] in place else leaf[1]) for leaf in program.leaves}
    samples = numbers_of(program, 5)
    permuted = [{leaf: numbers[moved[leaf]] for leaf in program.leaves} for numbers in samples]
    for a, b in zip(both_ways(program, samples), both_ways(program, permuted), strict=True):
        for got, want, unit in zip(b[0], a[0], a[2], strict=True):
            assert_close(got, want, unit)
        for leaf, unit in b[3].items():
            assert_close(b[1][leaf], a[1][moved[leaf]], unit)


@pytest.mark.parametrize("activation", ["tanh", "maxout"])
def test_the_gradient_of_a_mean_loss_is_the_mean_of_gradients(activation):
    """Of nn's networks, in one graph of all samples, one by one, and as a batch of the array program."""
    count = 4
    one = f"f = network(P, [3, 4, 2], {activation!r}, 'linear')\nloss = quadratic(f(x), y)"
    size = (2 if activation == "maxout" else 1) * 16 + 10
    program = Program(one, {"P": (size,), "x": (3,), "y": (2,)})
    mean = f"f = network(P, [3, 4, 2], {activation!r}, 'linear')\nloss = sum(quadratic(f(x), y) for x, y in zip(X, Y)) / {count}"
    together = Program(mean, {"P": (size,), "X": (count, 3), "Y": (count, 2)})
    samples = numbers_of(program, count)
    numbers = {leaf: x for leaf, x in samples[0].items() if leaf[0] == "P"}
    for s, sample in enumerate(samples):
        numbers |= {(name.upper(), (s, i)): sample[name, (i,)] for name, n in (("x", 3), ("y", 2)) for i in range(n)}
    results = [both_ways(program, samples)[0], both_ways(program, samples)[1], *both_ways(together, [numbers])]
    want = results[0]
    for got in results[1:]:
        assert_close(np.mean(got[0]), np.mean(want[0]), np.mean(want[2]))
        for leaf, unit in want[3].items():
            assert_close(got[1][leaf], want[1][leaf], unit)


@pytest.mark.parametrize("offset", [2.0**20, -(2.0**45)])
@pytest.mark.parametrize("kind", programs.KINDS)
def test_what_enters_by_differences_may_be_moved(kind, offset):
    """f(a − b, …) at a + c and b + c is f(a − b, …), to the last digit of the differences: nothing is added up before."""
    for seed in range(6):
        inner = random_program(random.Random(seed), kind)
        shapes = {f"{side}_{name}": shape for name, shape in inner.shapes.items() for side in ("x", "p")}
        loops = {0: "{a} - {b}", 1: "[a - b for a, b in zip({a}, {b})]",
                 2: "[[a - b for a, b in zip(u, v)] for u, v in zip({a}, {b})]"}  # fmt: skip
        text = [
            f"{name} = {loops[len(shape)].format(a=f'x_{name}', b=f'p_{name}')}" for name, shape in inner.shapes.items()
        ]
        program = Program("\n".join([*text, inner.text]), shapes, inner.losses)
        rng = random.Random(seed)
        near = [{leaf: rng.randrange(-64, 64) / 32 for leaf in program.leaves} for _ in range(3)]
        near = [sample | {leaf: near[0][leaf] for leaf in program.leaves if leaf[0][0] == "p"} for sample in near]
        far = [{leaf: x + offset for leaf, x in sample.items()} for sample in near]
        want = both_ways(program, near)[0]
        for got in both_ways(program, far):
            for loss, expected, unit in zip(got[0], want[0], want[2], strict=True):
                assert_close(loss, expected, unit)
            for leaf, unit in want[3].items():
                assert_close(got[1][leaf], want[1][leaf], unit)
