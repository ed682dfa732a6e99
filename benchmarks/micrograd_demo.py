"""One training step of micrograd's demo notebook: micrograd against microgradlike.

MLP(2, [16, 16, 1]) with ReLU on 100 moons, hinge loss + 1e-4 · Σp², timed from recording the loss
to its gradients, and until the graph is let go. micrograd runs its own code; ours runs (a) with
`nn`, one affine node for a neuron's weighted input, and (b) the same network written out by hand
with + and *, as many nodes as micrograd has.

Each engine runs in a process of its own, taking turns; a process gives the median of its steps, a
round the ratio micrograd / ours, and the table the median of the rounds (and the range). All
engines must give the same loss and the same 337 gradients, or the benchmark fails.

The cyclic garbage collector is
  on       as users have it. micrograd's nodes form cycles, which only the collector can free;
  off      gc.disable() for the whole process. micrograd's graphs then fill the memory, and each
           step pays for fresh pages;
  between  off during the step, and run by hand between steps, outside the clock: what the
           engines cost without collecting and without fresh pages.

    python -m benchmarks.micrograd_demo [--rounds 5] [--json FILE]
"""

import argparse
import gc
import json
import math
import random
import statistics
from collections.abc import Callable
from itertools import pairwise
from time import perf_counter
from typing import Any

from benchmarks import machine

ENGINES = {"micrograd": "micrograd", "nn": "microgradlike, nn", "by hand": "microgradlike, by hand"}
COLLECTOR = ("on", "off", "between")
SIZES = [2, 16, 16, 1]


def in_micrograds_style(Value: Any, model: Callable[[list[Any]], Any], parameters: list[Any]) -> Callable[..., Any]:
    def loss(X: list[list[float]], y: list[int]) -> Any:
        inputs = [list(map(Value, xrow)) for xrow in X]
        scores = list(map(model, inputs))
        losses = [(1 + -yi * scorei).relu() for yi, scorei in zip(y, scores, strict=True)]
        return sum(losses) * (1.0 / len(losses)) + 1e-4 * sum(p * p for p in parameters)

    return loss


def micrograd() -> tuple[Callable[..., Any], list[Any]]:
    from micrograd.engine import Value
    from micrograd.nn import MLP

    model = MLP(SIZES[0], SIZES[1:])
    return in_micrograds_style(Value, model, model.parameters()), model.parameters()


def by_hand() -> tuple[Callable[..., Any], list[Any]]:
    from microgradlike import Value

    layers = [
        [([Value(random.uniform(-1, 1)) for _ in range(n_in)], Value(0.0)) for _ in range(n_out)]
        for n_in, n_out in pairwise(SIZES)
    ]

    def model(a: list[Any]) -> Any:
        for layer in layers:
            z = [sum((wi * ai for wi, ai in zip(w, a, strict=True)), b) for w, b in layer]
            a = z if layer is layers[-1] else [zi.relu() for zi in z]
        return a[0]

    parameters = [p for layer in layers for w, b in layer for p in (*w, b)]
    return in_micrograds_style(Value, model, parameters), parameters


def with_nn() -> tuple[Callable[..., Any], list[Any]]:
    from microgradlike import Value, dot, nn
    from microgradlike import sum as total

    model = nn.MLP(SIZES[0], SIZES[1:])
    parameters = model.parameters()

    def loss(X: list[list[float]], y: list[int]) -> Any:
        scores = [model([Value(x) for x in row]) for row in X]
        losses = [(1 - yi * score).relu() for score, yi in zip(scores, y, strict=True)]
        return total(losses) / len(losses) + 1e-4 * dot(parameters, parameters)

    return loss, parameters


def measure(engine: str, collector: str) -> None:
    """Run some steps in this process; print the median time, the loss and the gradients as JSON."""
    from microgradlike.datasets import moons

    X, classes = moons(100, noise=0.1)
    y = [2 * c - 1 for c in classes]
    random.seed(1337)
    loss, parameters = {"micrograd": micrograd, "nn": with_nn, "by hand": by_hand}[engine]()
    if collector != "on":
        gc.disable()
    times = []
    for _ in range(4 if engine == "micrograd" else 9):
        for p in parameters:
            p.grad = 0.0
        start = perf_counter()
        total = loss(X, y)
        total.backward()
        number = total.data
        del total
        times.append(perf_counter() - start)
        if collector == "between":
            gc.collect()
    print(json.dumps([statistics.median(times[1:]), number, [p.grad for p in parameters]]))


def run(engine: str, collector: str) -> tuple[float, float, list[float]]:
    seconds, loss, grads = machine.in_a_process(__spec__.name, engine, collector)
    return seconds, loss, grads


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--worker", nargs=2, metavar=("ENGINE", "COLLECTOR"))
    machine.options(parser)
    options = parser.parse_args()
    if options.worker:
        measure(*options.worker)
        return
    rounds, figures = options.rounds, []
    print(f"{__doc__.splitlines()[0]}\n{machine.describe()}; {rounds} rounds\n")
    print(f"{'collector':10} {'engine':24} {'ms a step':>10} {'times faster than micrograd':>30}")
    for collector in COLLECTOR:
        seconds: dict[str, list[float]] = {engine: [] for engine in ENGINES}
        for _ in range(rounds):
            results = {engine: run(engine, collector) for engine in ENGINES}
            _, expected_loss, expected = results["micrograd"]
            scale = max(map(abs, expected))
            for engine, (time, loss, grads) in results.items():
                seconds[engine].append(time)
                assert math.isclose(loss, expected_loss, rel_tol=1e-12), f"{engine}: loss {loss}, not {expected_loss}"
                assert max(abs(g - e) for g, e in zip(grads, expected, strict=True)) <= 1e-12 * scale, engine
        for engine, name in ENGINES.items():
            ratios = sorted(m / s for m, s in zip(seconds["micrograd"], seconds[engine], strict=True))
            faster = f"{statistics.median(ratios):8.1f}   ({ratios[0]:.1f} to {ratios[-1]:.1f})"
            figures.append({"collector": collector, "engine": engine, "seconds": seconds[engine], "ratios": ratios})
            print(
                f"{collector:10} {name:24} {1e3 * statistics.median(seconds[engine]):10.1f} "
                f"{'' if engine == 'micrograd' else faster:>30}",
                flush=True,
            )
        print()
    print("Every engine gave the same loss and the same 337 gradients (to 1e-12 of the largest).")
    machine.save(options.json, figures)


if __name__ == "__main__":
    main()
