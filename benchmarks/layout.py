"""How long a picture takes, whatever the shape of its graph: at 100 nodes within 1 second, at 500 within 3.

    python -m benchmarks.layout [nodes ...] [--rounds 3]

From the recorded graph to the SVG, so with Graphviz, which runs in a process of its own. Medians of the seconds
on the clock, and of the processor time of both processes.
"""

import argparse
import os
import random
import statistics
import time

import microgradlike
from benchmarks import machine
from microgradlike import Value, draw, nn


def chain(size):
    v = Value(0.5, "x")
    for _ in range(size - 1):
        v = v.tanh()
    return v


def recurrence(size):
    """A chain that uses four leaves over and over."""
    h, *leaves = [Value(0.1 * i + 0.3, f"p{i}") for i in range(4)]
    for i in range((size - 4) // 3):
        h = (h * leaves[0] + leaves[1 + i % 2]).tanh()
    return h


def fibonacci(size):
    """Each node is the sum of the two before it."""
    before, last = Value(1.0, "one"), Value(1.0, "two")
    for _ in range(size - 2):
        before, last = last, before + last
    return last


def tree(size):
    level = [Value(0.1 * i) for i in range((size + 1) // 2)]
    while len(level) > 1:
        level = [a * b for a, b in zip(level[::2], level[1::2], strict=False)] + level[len(level) & ~1 :]
    return level[0]


def sums(size, inputs=3):
    """Sums of random ones of the nodes so far."""
    choose = random.Random(2)
    nodes = [Value(0.1 * i) for i in range(inputs + 1)]
    while len(nodes) < size - 1:
        nodes.append(microgradlike.sum(choose.sample(nodes, inputs)))
    return microgradlike.sum(nodes)


def sums_of_eight(size):
    return sums(size, inputs=8)


def fan(size):
    return microgradlike.sum([Value(0.1 * i) for i in range(size - 1)])


def network(size):
    """One hidden layer with a weight for every third node or so."""
    model = nn.MLP(4, [max(2, (size - 10) // 9), 1], "tanh", seed=1)
    return nn.quadratic(model([0.1, 0.2, 0.3, 0.4]), 1.0)


SHAPES = [chain, recurrence, fibonacci, tree, sums, sums_of_eight, fan, network]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("nodes", nargs="*", type=int, default=[100, 500])
    parser.add_argument("--rounds", type=int, default=3)
    machine.options(parser)
    options, rows = parser.parse_args(), []
    print(f"{machine.describe()}\n\n{'shape':<16}{'nodes':>6}{'wall s':>8}{'CPU s':>8}")
    draw(Value(1.0) + 1).svg()  # loads what is loaded only when it is used
    for size in options.nodes:
        for make in SHAPES:
            root, wall, processor = make(size), [], []
            for _ in range(options.rounds):
                start, used = time.perf_counter(), sum(os.times()[:4])
                draw(root, max_nodes=2 * size, max_terms=size).svg()
                wall.append(time.perf_counter() - start)
                processor.append(sum(os.times()[:4]) - used)
            figures = statistics.median(wall), statistics.median(processor)
            print(f"{make.__name__:<16}{size:>6}{figures[0]:>8.2f}{figures[1]:>8.2f}", flush=True)
            rows.append((make.__name__, size, *figures))
    machine.save(options.json, rows)


if __name__ == "__main__":
    main()
