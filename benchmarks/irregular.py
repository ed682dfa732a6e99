"""Graphs that are no plain networks: what finding their form costs, and calls beside the scalar engine's step.

    python -m benchmarks.irregular [--rounds 3] [--json FILE] [GRAPH …]

  random-N         N operations, +, −, ×, tanh and σ, of what was computed before
  kalman           a Kalman filter of two states written out, 100 observations: its log-likelihood
  tanh             a chain of 1,000 tanh with shared parameters
  rnn              a recurrent network of 8 neurons over 20 steps, written with + and ×
  lorenz           500 steps of Euler's method
  formula          one long formula of random functions, and of its results
  second           the gradient of such a formula in the loss: derivatives of derivatives

Each graph in a process of its own, in processor time. A step of the scalar engine records the graph for one
sample and runs `backward`; it takes turns with the program's `backward` for one sample and for 32, of which
the ratio to 32 steps is given. The first call with 32 samples writes lines of NumPy. Each time is the median
of several; a table the median of the rounds. Before anything is timed, both have computed the same losses and
gradients.
"""

import argparse
import builtins
import gc
import json
import math
import random
import statistics
from collections.abc import Callable
from time import thread_time
from typing import Any

from benchmarks import machine
from microgradlike import Value, gradient, topological_order
from microgradlike.matrix import vectorize

SAMPLES = 32

# What records the loss; the batch leaves; the parameters
Graph = tuple[Callable[[], Value], list[Value], list[Value]]


def leaves(rng: random.Random, n: int, deviation: float = 0.5) -> list[Value]:
    return [Value(rng.gauss(0, deviation)) for _ in range(n)]


def random_graph(steps: int) -> Graph:
    rng = random.Random(0)
    plan = [(rng.choice("++**-tσ"), rng.randint(1, 200), rng.random()) for _ in range(steps)]
    given = leaves(rng, 200)

    def record() -> Value:
        pool = list(given)
        for kind, near, far in plan:
            a, b = pool[-near], pool[int(far * len(pool))]
            pool.append(
                a + b if kind == "+" else a * b if kind == "*" else a - b if kind == "-"
                else a.tanh() if kind == "t" else a.sigmoid()
            )  # fmt: skip
        return builtins.sum(pool[-200:]) * 1e-3

    return record, given[:10], given[10:]


def kalman() -> Graph:
    rng = random.Random(0)
    F, q, r = [Value(x) for x in (1.0, 0.1, -0.1, 0.95)], Value(0.1), Value(0.5)
    observed = leaves(rng, 100)

    def record() -> Value:
        x, P = [Value(0.0), Value(0.0)], [Value(1.0), Value(0.0), Value(0.0), Value(1.0)]
        loss = 0.0
        for z in observed:
            x = [F[0] * x[0] + F[1] * x[1], F[2] * x[0] + F[3] * x[1]]
            A = [F[2 * i] * P[j] + F[2 * i + 1] * P[2 + j] for i in (0, 1) for j in (0, 1)]
            P = [A[2 * i] * F[2 * j] + A[2 * i + 1] * F[2 * j + 1] for i in (0, 1) for j in (0, 1)]
            P = [P[0] + q, P[1], P[2], P[3] + q]
            S, e = P[0] + r, z - x[0]
            K = [P[0] / S, P[2] / S]
            x = [x[0] + K[0] * e, x[1] + K[1] * e]
            P = [P[2 * i + j] - K[i] * P[j] for i in (0, 1) for j in (0, 1)]
            loss = loss + S.log() + e * e / S
        return loss

    return record, observed, [*F, q, r]


def tanh() -> Graph:
    rng = random.Random(0)
    w, u, b, x = Value(0.9), Value(0.3), Value(0.1), leaves(rng, 1)

    def record() -> Value:
        h = x[0]
        for _ in range(1000):
            h = (w * h + u * x[0] + b).tanh()
        return h * h

    return record, x, [w, u, b]


def rnn() -> Graph:
    rng, n = random.Random(0), 8
    W, U, b = ([leaves(rng, n) for _ in range(n)] for _ in range(2)), leaves(rng, n), leaves(rng, 40)
    (W, U), b, x = W, U, b
    x = [x[i : i + 2] for i in range(0, 40, 2)]

    def record() -> Value:
        h = [Value(0.0) for _ in range(n)]
        for each in x:
            h = [
                (
                    builtins.sum(w * v for w, v in zip(W[i], h, strict=True))
                    + builtins.sum(u * v for u, v in zip(U[i], each, strict=False))
                    + b[i]
                ).tanh()
                for i in range(n)
            ]
        return builtins.sum(v * v for v in h)

    return (
        record,
        [v for each in x for v in each],
        [*(w for row in W for w in row), *(u for row in U for u in row[:2]), *b],
    )


def lorenz() -> Graph:
    s, r, b, start = Value(10.0), Value(28.0), Value(8 / 3), [Value(1.0), Value(1.0), Value(1.0)]

    def record() -> Value:
        x, y, z = start
        for _ in range(500):
            x, y, z = x + 0.001 * (s * (y - x)), y + 0.001 * (x * (r - z) - y), z + 0.001 * (x * y - b * z)
        return x * x + y * y + z * z

    return record, start, [s, r, b]


def formula_of(rng: random.Random, depth: int, given: list[Value]) -> Callable[[], Value]:
    if depth == 0:
        i = rng.randrange(len(given))
        return lambda: given[i]
    a, b = (formula_of(rng, depth - 1, given) for _ in range(2))
    return rng.choice([
        lambda: a() + b(), lambda: a() * b(), lambda: a() - b(), lambda: a() / (1.0 + b() ** 2), lambda: (a() - b()).sin(),
        lambda: (a() * b()).tanh(), lambda: (1.0 + a() * a()).log() * b(), lambda: a().sigmoid() ** b().sigmoid(),
    ])  # fmt: skip


def formula() -> Graph:
    rng = random.Random(0)
    given = leaves(rng, 12)
    return formula_of(rng, 9, given), given[:4], given[4:]


def second() -> Graph:
    rng = random.Random(0)
    given = leaves(rng, 12)
    f = formula_of(rng, 6, given)

    def record() -> Value:
        y = f()
        return builtins.sum(g * g for g in gradient(y, given[:4])) + y

    return record, given[:4], given[4:]


GRAPHS: dict[str, Callable[[], Graph]] = {
    "random-1000": lambda: random_graph(1000),
    "random-10000": lambda: random_graph(10_000),
    "random-100000": lambda: random_graph(100_000),
    "kalman": kalman,
    "tanh": tanh,
    "rnn": rnn,
    "lorenz": lorenz,
    "formula": formula,
    "second": second,
}


def taken(f: Callable[[], Any]) -> float:
    start = thread_time()
    f()
    return thread_time() - start


def measure(name: str) -> dict[str, float]:
    import numpy as np

    vectorize((Value(1.0) * Value(2.0)).tanh()).backward()  # loads what is loaded only when it is used
    record, batch, parameters = GRAPHS[name]()

    def step() -> float:
        loss = record()
        loss.backward()
        return loss.data

    loss = record()
    order = topological_order(loss)
    nodes, present = len(order), set(order)
    del order
    parameters = [v for v in parameters if v in present]
    found: Any = []
    finding = taken(lambda: found.append(vectorize(loss, [batch], parameters=parameters)))
    (program,) = found
    del present
    now = [v.data for v in batch]
    rng = np.random.default_rng(0)
    one, several = np.array([now]), np.array(now) * rng.uniform(0.9, 1.1, (SAMPLES, len(batch)))
    first = taken(lambda: program.backward(one))
    first_of_several = taken(lambda: program.backward(several))

    checked = several[:3]
    losses, grads = program.backward(checked), {v: g for p in program.parameters for v, g in zip(p.nodes, p.grad.flat)}
    for v in parameters:
        v.grad = 0.0
    for numbers, got in zip(checked, losses, strict=True):
        for v, x in zip(batch, numbers, strict=True):
            v.data = x
        expected = step()
        assert math.isclose(got, expected, rel_tol=1e-9), f"{name}: loss {got}, not {expected}"
    off = max(abs(grads.get(v, 0.0) * len(checked) - v.grad) for v in parameters)
    assert off <= 1e-9 * max(abs(v.grad) for v in parameters), f"{name}: gradients differ by {off}"
    for v, x in zip(batch, now, strict=True):
        v.data = x

    steps, calls, calls_of_several = [], [], []
    gc.collect()
    gc.freeze()  # the program's objects are no burden to the scalar engine
    for _ in range(max(5, min(50, 100_000 // nodes))):
        steps.append(taken(step))
        calls.append(taken(lambda: program.backward(one)))
        calls_of_several.append(taken(lambda: program.backward(several)))
    each = statistics.median(steps)
    return {
        "nodes": nodes, "finding": finding / nodes * 1e6, "first": first / nodes * 1e6,
        "first_of_several": first_of_several / nodes * 1e6, "step": each / nodes * 1e6,
        "call": statistics.median(calls) / each, "call_of_several": statistics.median(calls_of_several) / each / SAMPLES,
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("graphs", nargs="*", choices=[*GRAPHS, []], metavar="GRAPH")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--worker")
    machine.options(parser)
    options = parser.parse_args()
    if options.worker:
        print(json.dumps(measure(options.worker)))
        return
    print(f"{machine.describe()}; {options.rounds} rounds\n")
    print(
        f"{'':14} {'nodes':>8} {'finding':>9} {'first call':>12} {'first of 32':>12} {'step':>7}   {'call / step':>12} {'of 32':>7}"
    )
    print(f"{'':14} {'':>8} {'µs a node':>9} {'µs a node':>12} {'µs a node':>12} {'':>7}")
    figures = {}
    for name in options.graphs or GRAPHS:
        runs = [machine.in_a_process(__spec__.name, name) for _ in range(options.rounds)]
        x = figures[name] = {key: statistics.median(run[key] for run in runs) for key in runs[0]}
        print(
            f"{name:14} {x['nodes']:8,.0f} {x['finding']:9.1f} {x['first']:12.1f} {x['first_of_several']:12.1f} "
            f"{x['step']:7.2f}   {x['call']:12.2f} {x['call_of_several']:7.3f}",
            flush=True,
        )
    machine.save(options.json, figures)


if __name__ == "__main__":
    main()
