"""How long JAX compiles a found program, for graphs of a thousand to a million scalar nodes.

    python -m benchmarks.jax_compile [--json FILE]

The networks of matrix_lowering: the arrays are always the same number. Each measurement in a process of its own:
processor time to trace and to compile the loss and gradients of 32 samples, after a first small program that loads
what is loaded only when it is used. Beside it, the time in which the arrays are found.
"""

import argparse
import json
import time

from benchmarks import machine
from benchmarks.matrix_lowering import WIDTHS, network


def worker(width):
    import jax
    import numpy as np

    from microgradlike import topological_order
    from microgradlike.matrix import vectorize

    def compile(width):
        loss, x = network(width)
        start = time.process_time()
        program = vectorize(loss, [x], dtype=np.float32)
        found = time.process_time() - start
        parameters, X = {p.name: p.data for p in program.parameters}, np.zeros((32, width), np.float32)
        losses = program.to_jax()
        start = time.process_time()
        jax.jit(jax.value_and_grad(lambda p, X: losses(p, X).mean())).lower(parameters, X).compile()
        return len(topological_order(loss)), len(program.arrays), found, time.process_time() - start

    compile(8)
    print(json.dumps(compile(width)))


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    machine.options(parser)
    parser.add_argument("--worker", type=int)
    options = parser.parse_args()
    if options.worker:
        worker(options.worker)
        return
    print(machine.describe())
    rows = []
    for width in WIDTHS:
        rows.append(machine.in_a_process(__spec__.name, width))
        nodes, arrays, found, compiled = rows[-1]
        print(f"{nodes:10,.0f} nodes  {arrays:3.0f} arrays  found in {found:6.3f} s  compiled in {compiled:6.3f} s")
    machine.save(options.json, rows)


def draw(rows, path):
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(figsize=(6, 4), layout="constrained")
    nodes, arrays, found, compiled = zip(*rows, strict=True)
    axes.loglog(nodes, found, "s--", color="gray", label="to find the arrays, NumPy")
    axes.loglog(nodes, compiled, "o-", label=f"to compile {arrays[0]:.0f} arrays, JAX")
    axes.set(xlabel="scalar nodes", ylabel="seconds of processor time")
    axes.legend()
    figure.savefig(path, dpi=120)


if __name__ == "__main__":
    main()
