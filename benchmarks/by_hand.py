"""Programs written out with + and ×: microgradlike against an engine of sixty lines that keeps tuples.

`Tuples` below is the engine that short scalar programs bring along: each node holds its inputs and its
local derivatives in two tuples, and a recursive search orders the nodes. It does the least that such an
engine can do: no IEEE arithmetic (1/0 raises an error), no graph deeper than Python's stack.

Three steps of training, each from recording the loss to its gradients, until the graph is let go:

  demo   micrograd's demo, 2-16-16-1 with ReLU on 100 moons
  digit  64-16-10 with tanh and cross-entropy, one handwritten digit
  gpt    the little GPT of one layer, 16 dimensions and 4 heads, one name

and single operations. Each engine runs in a process of its own, taking turns, and takes its processor
time; a process gives the median of its steps, a round the ratio tuples / ours, and the table the median
of the rounds (and the range). Both must give the same loss and gradients, or the benchmark fails.

    python -m benchmarks.by_hand [--rounds 5] [--json FILE]
"""

import argparse
import gc
import json
import math
import random
import statistics
import sys
from collections.abc import Callable
from functools import partial
from itertools import pairwise
from time import process_time
from typing import Any

from benchmarks import machine

ENGINES = ("tuples", "microgradlike")
COLLECTOR = ("on", "off")


class Tuples:
    __slots__ = ("data", "grad", "inputs", "local_grads")

    def __init__(self, data: float, inputs: tuple = (), local_grads: tuple = ()) -> None:
        self.data, self.grad, self.inputs, self.local_grads = data, 0.0, inputs, local_grads

    def __add__(self, other: Any) -> "Tuples":
        other = other if isinstance(other, Tuples) else Tuples(other)
        return Tuples(self.data + other.data, (self, other), (1.0, 1.0))

    def __mul__(self, other: Any) -> "Tuples":
        other = other if isinstance(other, Tuples) else Tuples(other)
        return Tuples(self.data * other.data, (self, other), (other.data, self.data))

    def __pow__(self, n: float) -> "Tuples":
        return Tuples(self.data**n, (self,), (n * self.data ** (n - 1),))

    def log(self) -> "Tuples":
        return Tuples(math.log(self.data), (self,), (1.0 / self.data,))

    def exp(self) -> "Tuples":
        e = math.exp(self.data)
        return Tuples(e, (self,), (e,))

    def tanh(self) -> "Tuples":
        t = math.tanh(self.data)
        return Tuples(t, (self,), (1.0 - t * t,))

    def relu(self) -> "Tuples":
        return Tuples(max(0.0, self.data), (self,), (float(self.data > 0),))

    def __neg__(self) -> "Tuples":
        return self * -1.0

    def __sub__(self, other: Any) -> "Tuples":
        return self + -other

    def __rsub__(self, other: Any) -> "Tuples":
        return -self + other

    def __truediv__(self, other: Any) -> "Tuples":
        return self * other**-1

    def __rtruediv__(self, other: Any) -> "Tuples":
        return self**-1 * other

    __radd__, __rmul__ = __add__, __mul__

    def backward(self) -> None:
        order, seen = [], set()

        def visit(v: Tuples) -> None:
            if v not in seen:
                seen.add(v)
                for input in v.inputs:
                    visit(input)
                order.append(v)

        visit(self)
        self.grad = 1.0
        for v in reversed(order):
            for input, local_grad in zip(v.inputs, v.local_grads):
                input.grad += local_grad * v.grad


# ── The programs ───────────────────────────────────────────────────────────────────────────────

Step = tuple[Callable[[], Any], list[Any]]  # what records the loss, and the parameters


def matrix(Value: Any, rows: int, columns: int, deviation: float) -> list[list[Any]]:
    return [[Value(random.gauss(0.0, deviation)) for _ in range(columns)] for _ in range(rows)]


def times(W: list[list[Any]], x: list[Any]) -> list[Any]:
    return [sum(wi * xi for wi, xi in zip(row, x, strict=True)) for row in W]


def softmax(z: list[Any]) -> list[Any]:
    top = max(each.data for each in z)
    e = [(each - top).exp() for each in z]
    total = sum(e)
    return [each / total for each in e]


def rmsnorm(x: list[Any]) -> list[Any]:
    scale = (sum(each * each for each in x) / len(x) + 1e-5) ** -0.5
    return [each * scale for each in x]


def demo(Value: Any) -> Step:
    from benchmarks.micrograd_demo import SIZES, in_micrograds_style
    from microgradlike.datasets import moons

    layers = [(matrix(Value, m, n, 1.0), [Value(0.0) for _ in range(m)]) for n, m in pairwise(SIZES)]

    def model(a: list[Any]) -> Any:
        for W, b in layers:
            z = [z + bi for z, bi in zip(times(W, a), b, strict=True)]
            a = [zi.relu() for zi in z] if len(z) > 1 else z
        return a[0]

    X, classes = moons(100, noise=0.1)
    parameters = [p for W, b in layers for p in (*(w for row in W for w in row), *b)]
    return partial(in_micrograds_style(Value, model, parameters), X, [2 * c - 1 for c in classes]), parameters


def digit(Value: Any) -> Step:
    from microgradlike.datasets import digits

    images, classes = digits()
    W1, W2 = matrix(Value, 16, 64, 0.2), matrix(Value, 10, 16, 0.2)
    b1, b2 = [Value(0.1) for _ in range(16)], [Value(0.1) for _ in range(10)]

    def loss() -> Any:
        x = [Value(each) for each in images[0]]
        a = [(z + b).tanh() for z, b in zip(times(W1, x), b1, strict=True)]
        z = [z + b for z, b in zip(times(W2, a), b2, strict=True)]
        return -softmax(z)[classes[0]].log()

    return loss, [*(w for W in (W1, W2) for row in W for w in row), *b1, *b2]


def gpt(Value: Any) -> Step:
    n, heads, length, letters = 16, 4, 8, 27
    size = n // heads
    shapes = {
        "wte": (letters, n), "wpe": (length, n), "head": (letters, n), "q": (n, n), "k": (n, n), "v": (n, n),
        "o": (n, n), "up": (4 * n, n), "down": (n, 4 * n),
    }  # fmt: skip
    W = {name: matrix(Value, *shape, 0.08) for name, shape in shapes.items()}
    tokens = [0, 5, 13, 13, 1, 0]  # "emma", between two ends

    def loss() -> Any:
        keys: list[Any] = []
        values: list[Any] = []
        losses = []
        for position, (token, target) in enumerate(pairwise(tokens)):
            x = rmsnorm([t + p for t, p in zip(W["wte"][token], W["wpe"][position], strict=True)])
            normed = rmsnorm(x)
            q = times(W["q"], normed)
            keys.append(times(W["k"], normed))
            values.append(times(W["v"], normed))
            joined = []
            for h in range(0, n, size):
                scores = [sum(q[h + j] * k[h + j] for j in range(size)) / size**0.5 for k in keys]
                shares = softmax(scores)
                joined += [sum(s * v[h + j] for s, v in zip(shares, values, strict=True)) for j in range(size)]
            x = [a + b for a, b in zip(x, times(W["o"], joined), strict=True)]
            hidden = [z.relu() for z in times(W["up"], rmsnorm(x))]
            x = [a + b for a, b in zip(x, times(W["down"], hidden), strict=True)]
            losses.append(-softmax(times(W["head"], x))[target].log())
        return sum(losses) / len(losses)

    return loss, [w for rows in W.values() for row in rows for w in row]


PROGRAMS: dict[str, Callable[[Any], Step]] = {"demo": demo, "digit": digit, "gpt": gpt}
OPERATIONS: dict[str, Callable[[Any, Any], Any]] = {
    "a * b": lambda a, b: a * b,
    "a + b": lambda a, b: a + b,
    "a * 2.0": lambda a, b: a * 2.0,
    "a ** 2": lambda a, b: a**2,
    "a.tanh()": lambda a, b: a.tanh(),
    "(a * b).backward()": lambda a, b: (a * b).backward(),
}


# ── Measuring ──────────────────────────────────────────────────────────────────────────────────


def measure(engine: str, collector: str, what: str) -> None:
    """Run one program in this process; print the median time, the loss and the gradients as JSON."""
    import microgradlike

    random.seed(1337)
    sys.setrecursionlimit(100_000)
    Value = {"tuples": Tuples, "microgradlike": microgradlike.Value}[engine]
    if collector == "off":
        gc.disable()
    if what == "operations":
        a, b = Value(0.3), Value(0.4)
        print(json.dumps([{name: seconds(lambda f=f: f(a, b)) for name, f in OPERATIONS.items()}, 0.0, []]))  # type: ignore[misc]
        return
    loss, parameters = PROGRAMS[what](Value)
    taken = []
    for _ in range({"demo": 9, "digit": 60, "gpt": 15}[what]):
        for p in parameters:
            p.grad = 0.0
        start = process_time()
        total = loss()
        total.backward()
        number = total.data
        del total
        taken.append(process_time() - start)
    print(json.dumps([statistics.median(taken[1:]), number, [p.grad for p in parameters]]))


def seconds(f: Callable[[], Any], n: int = 20_000) -> float:
    """Return the time of f(), the median of several loops, without that of the loop."""

    def loop(f: Callable[[], Any]) -> float:
        start = process_time()
        for _ in range(n):
            f()
        return (process_time() - start) / n

    return statistics.median(loop(f) for _ in range(7)) - statistics.median(loop(lambda: None) for _ in range(7))


def run(engine: str, collector: str, what: str) -> tuple[Any, float, list[float]]:
    seconds, loss, grads = machine.in_a_process(__spec__.name, engine, collector, what)
    return seconds, loss, grads


def row(name: str, unit: str, scale: float, ours: list[float], theirs: list[float]) -> dict[str, Any]:
    ratios = sorted(t / o for t, o in zip(theirs, ours, strict=True))
    print(
        f"{name:24} {scale * statistics.median(theirs):8.1f} {scale * statistics.median(ours):8.1f} {unit}"
        f"{statistics.median(ratios):8.2f}   ({ratios[0]:.2f} to {ratios[-1]:.2f})",
        flush=True,
    )
    return {"what": name, "seconds": ours, "ratios": ratios}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--worker", nargs=3, metavar=("ENGINE", "COLLECTOR", "PROGRAM"))
    machine.options(parser)
    options = parser.parse_args()
    if options.worker:
        measure(*options.worker)
        return
    rounds, figures = options.rounds, []
    print(f"{__doc__.splitlines()[0]}\n{machine.describe()}; {rounds} rounds\n")
    print(f"{'':24} {'tuples':>8} {'ours':>8}    tuples / ours")
    for what in PROGRAMS:
        for collector in COLLECTOR:
            taken: dict[str, list[float]] = {engine: [] for engine in ENGINES}
            for _ in range(rounds):
                (a, loss, grads), (b, expected_loss, expected) = (run(e, collector, what) for e in ENGINES)
                assert math.isclose(loss, expected_loss, rel_tol=1e-12), f"{what}: loss {loss}, not {expected_loss}"
                off = max(abs(g - e) for g, e in zip(grads, expected, strict=True))
                assert off <= 1e-11 * max(map(abs, expected)), f"{what}: gradients differ by {off}"
                taken["tuples"].append(a)
                taken["microgradlike"].append(b)
            name = f"{what}, collector {collector}"
            figures.append(row(name, "ms", 1e3, taken["microgradlike"], taken["tuples"]))
    each = [[run(engine, "on", "operations")[0] for engine in ENGINES] for _ in range(rounds)]
    for name in OPERATIONS:
        ours, theirs = ([times[engine][name] for times in each] for engine in (1, 0))
        figures.append(row(name, "ns", 1e9, ours, theirs))
    machine.save(options.json, figures)


if __name__ == "__main__":
    main()
