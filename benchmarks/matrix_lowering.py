"""How long it takes to find the matrix form, for graphs of a thousand to a million scalar nodes.

    python -m benchmarks.matrix_lowering [--json FILE] [--rounds 3]

Networks n-n/4-10 written out with * and +. Each measurement in a process of its own; medians of the
processor time and of the peak memory beyond what the graph itself takes. A first small
program comes before the clock starts: it loads what is loaded only when it is used.
"""

import argparse
import builtins
import json
import random
import resource
import statistics
import time

from benchmarks import machine

WIDTHS = (40, 80, 160, 320, 640, 1160)


def network(width):
    """(loss, x) of a network with so many inputs."""
    from microgradlike import Value

    rng = random.Random(0)
    x = a = [Value(rng.random()) for _ in range(width)]
    for n in (width // 4, 10):
        rows = [[Value(rng.uniform(-1, 1)) for _ in a] for _ in range(n)]
        a = [builtins.sum((w * v for w, v in zip(row, a, strict=True)), Value(0.0)).tanh() for row in rows]
    return builtins.sum(v * v for v in a), x


def worker(width):
    import gc

    from microgradlike import topological_order
    from microgradlike.matrix import vectorize

    loss, x = network(8)
    vectorize(loss, [x])
    gc.disable()
    loss, x = network(width)
    nodes = len(topological_order(loss))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start = time.thread_time()  # not that of BLAS threads, which spin
    vectorize(loss, [x])
    spent = time.thread_time() - start
    print(json.dumps([nodes, spent, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024]))


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    machine.options(parser)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--worker", type=int)
    options = parser.parse_args()
    if options.worker:
        worker(options.worker)
        return
    print(machine.describe())
    rows = []
    for width in WIDTHS:
        runs = [machine.in_a_process(__spec__.name, width) for _ in range(options.rounds)]
        rows.append([statistics.median(column) for column in zip(*runs, strict=True)])
        nodes, spent, memory = rows[-1]
        print(
            f"{nodes:10,.0f} nodes  {spent:8.3f} s  {spent / nodes * 1e6:5.2f} µs a node  {memory / nodes:6.0f} bytes a node"
        )
    machine.save(options.json, rows)


def draw(rows, path):
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(figsize=(6, 4), layout="constrained")
    nodes = [r[0] for r in rows]
    axes.loglog(nodes, [r[1] for r in rows], "o-", label="measured")
    axes.loglog(nodes, [5e-6 * n for n in nodes], ":", color="gray", label="5 µs a node")
    axes.set(xlabel="scalar nodes", ylabel="seconds to find the matrix form")
    axes.legend()
    figure.savefig(path, dpi=120)


if __name__ == "__main__":
    main()
