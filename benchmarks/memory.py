"""Memory of a chain of a million operations: micrograd against microgradlike, in bytes an operation.

The chain alternates v = v * x and v = v + x. `recorded` is what the graph holds, `backward` the
peak while gradients are computed: once as Python counts its own allocations (tracemalloc), once
as the operating system sees the process (resident set; POSIX only). Each figure is taken in a
process of its own. `left` is what stays in the process after the graph is let go with the cyclic
collector switched off, and `cycles` the objects that the collector then finds.

micrograd's backward() recurses and fails on a chain of about a thousand, so here its steps (a
topological list, a set of visited nodes, each node's _backward) are taken by a loop instead. The
frames of the recursion would come on top of its figure.

    python -m benchmarks.memory [--operations 1000000] [--json FILE]
"""

import argparse
import gc
import json
import tracemalloc
from typing import Any

from benchmarks import machine

ENGINES = ("micrograd", "microgradlike")


def chain(Value: Any, n: int) -> Any:
    x = Value(1.0000001)
    v = x
    for i in range(n):
        v = v * x if i % 2 == 0 else v + x
    return v


def backward_of_micrograd(root: Any) -> None:
    """What its backward() does, with a stack of its own (good enough for a chain) instead of recursion."""
    topo, visited, stack = [], {root}, [root]
    while stack:
        node = stack.pop()
        topo.append(node)
        for child in node._prev:
            if child not in visited:
                visited.add(child)
                stack.append(child)
    root.grad = 1
    for node in topo:
        node._backward()


def resident(key: str) -> int:
    """Bytes of the process in memory: now (VmRSS) or at most so far (VmHWM). 0 where Linux's /proc is missing."""
    try:
        with open("/proc/self/status", encoding="utf-8") as status:
            return next(int(line.split()[1]) * 1024 for line in status if line.startswith(key))
    except FileNotFoundError:
        return 0


def measure(engine: str, how: str, n: int) -> None:
    """Print [recorded, peak of backward, left, cycles], in bytes an operation (cycles: in objects)."""
    if engine == "micrograd":
        from micrograd.engine import Value

        backward = backward_of_micrograd
    else:
        from microgradlike import Value

        backward = Value.backward
    traced = how == "tracemalloc"
    gc.collect()
    gc.disable()
    if traced:
        tracemalloc.start()
    now = (lambda: tracemalloc.get_traced_memory()[0]) if traced else (lambda: resident("VmRSS"))
    peak = (lambda: tracemalloc.get_traced_memory()[1]) if traced else (lambda: resident("VmHWM"))
    start = now()
    root = chain(Value, n)
    recorded = now()
    backward(root)
    highest = peak()
    assert root.grad == 1
    del root
    left = now()
    print(json.dumps([(recorded - start) / n, (highest - start) / n, (left - start) / n, gc.collect()]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--operations", type=int, default=1_000_000)
    parser.add_argument("--worker", nargs=2, metavar=("ENGINE", "HOW"))
    machine.options(parser)
    options = parser.parse_args()
    n, figures = options.operations, []
    if options.worker:
        measure(*options.worker, n)
        return
    print(f"{__doc__.splitlines()[0]}\n{machine.describe()}; a chain of {n:,} operations\n")
    print(f"{'engine':14} {'measured by':12} {'recorded':>9} {'backward':>9} {'left':>6} {'cycles':>11}")
    for engine in ENGINES:
        for how in ("tracemalloc", "resident set"):
            recorded, peak, left, cycles = machine.in_a_process(__spec__.name, engine, how, "--operations", n)
            print(f"{engine:14} {how:12} {recorded:9.0f} {peak:9.0f} {left:6.0f} {cycles:11,}", flush=True)
            figures.append({"engine": engine, "how": how, "recorded": recorded, "backward": peak, "cycles": cycles})
    machine.save(options.json, figures)


if __name__ == "__main__":
    main()
