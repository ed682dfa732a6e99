"""What the found program costs and keeps: gradients, training a GPT, and graphs that have no matrix form.

    python -m benchmarks.matrix_checks [--json FILE]

The cheap gradient principle says a gradient costs a small multiple of its function, however many
parameters there are; finite differences cost one function a parameter. The GPT is trained by the
scalar engine and by the program side by side, and their losses are compared. The graphs without a
matrix form are random ones of +, −, ×, tanh and σ: what finding and running them costs, and what the
scalar engine takes to record and differentiate them anew.
"""

import argparse
import builtins
import random
import time

import numpy as np

from benchmarks import machine
from benchmarks import matrix_speed as speed
from microgradlike import Value, nn, topological_order
from microgradlike.matrix import vectorize


def ratio(name, program, args):
    function = speed.seconds(lambda: program(*args))
    gradient = speed.seconds(lambda: program.backward(*args))
    count = sum(p.data.size for p in program.parameters)
    print(
        f"{name:15} loss {function * 1e6:8.1f} µs, loss and gradient {gradient * 1e6:8.1f} µs: ratio {gradient / function:.2f}; "
        f"finite differences in {count} parameters: {count * function * 1e3:.0f} ms"
    )
    return {"what": name, "loss": function, "gradient": gradient, "parameters": count}


def irregular(steps):
    rng = random.Random(0)
    plan = [(rng.choice("++**-tσ"), rng.randint(1, 200), rng.random()) for _ in range(steps)]
    leaves = [Value(rng.gauss(0, 0.5)) for _ in range(200)]

    def record():
        pool = list(leaves)
        for kind, near, far in plan:
            a, b = pool[-near], pool[int(far * len(pool))]
            pool.append(
                a + b if kind == "+" else a * b if kind == "*" else a - b if kind == "-"
                else a.tanh() if kind == "t" else a.sigmoid()
            )  # fmt: skip
        return builtins.sum(pool[-200:]) * 1e-3

    loss = record()
    nodes = len(topological_order(loss))
    start = time.perf_counter()
    program = vectorize(loss)
    found = time.perf_counter()
    program.backward()
    first = time.perf_counter()
    call = speed.seconds(program.backward)
    anew = speed.seconds(lambda: record().backward())
    print(
        f"irregular, {nodes:,} nodes: found in {(found - start) / nodes * 1e6:.0f} µs a node, first call "
        f"{(first - found) / nodes * 1e6:.0f} µs a node; a call {call * 1e3:.1f} ms, scalar engine {anew * 1e3:.1f} ms"
    )
    return {"nodes": nodes, "finding": found - start, "first": first - found, "call": call, "anew": anew}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    machine.options(parser)
    options = parser.parse_args()
    print(machine.describe())
    X, Y = speed.nielsen_data(100)[:2]
    model = nn.MLP(784, [30, 10], "sigmoid", output="sigmoid", seed=1)
    x, y = [Value(0.5) for _ in range(784)], [Value(0.5) for _ in range(10)]
    network = vectorize(nn.losses.quadratic(model(x), y), [x, y])
    ratios = [
        ratio("minibatch 10", network, (X[:10], Y[:10])),
        ratio("minibatch 100", network, (X, Y)),
        ratio("GPT", speed.gpt_found(), [np.array([a]) for a in speed.text(0)]),
    ]
    without = [irregular(steps) for steps in (1000, 10_000)]

    (scalar, _), (program, _) = speed.gpt_scalar(optimize=True), speed.gpt_program(optimize=True)
    worst, losses = 0.0, []
    for _ in range(100):
        a, b = scalar(), program()
        worst = max(worst, abs(a - b))
        losses.append(b)
    print(
        f"GPT: loss {losses[0]:.4f} → {losses[-1]:.4f} in 100 steps of Adam; the two engines differ by at most {worst:.1e}"
    )
    machine.save(options.json, {"ratios": ratios, "irregular": without, "gpt": losses[-1], "apart": worst})


if __name__ == "__main__":
    main()
