"""A training step of [784, 512, 512, 10] on a GPU, and on the processor where there is none.

    python -m benchmarks.gpu [--batches 128 1024 8192 65536] [--rounds 7] [--json figures.json]

The found program on JAX, JAX written by hand, and PyTorch where it is installed, on one device in float32. Each
row says how much of the measured rate of matrix products a step achieves: its multiplications and additions are
counted, 2 for a weight and sample forward, and 4 backward but 2 for the first layer. Needs no network.

The contestants alternate. In each round each takes as many steps as fill a tenth of a second on the device, and then
its last loss is fetched, as training does it: the processor calls the next step while the device computes this one.
"""

import argparse
import statistics
import time
from itertools import pairwise

from benchmarks import machine

SIZES = (784, 512, 512, 10)
RATE = 0.1


def found():
    """(step, parameters) of the program that is found in the scalar graph of one sample."""
    import jax
    import numpy as np

    from microgradlike import Value, nn, vectorize

    model = nn.MLP(SIZES[0], SIZES[1:], "tanh", output="linear", seed=0, init="xavier")
    x, y = [Value(0.0) for _ in range(SIZES[0])], [Value(float(k == 0)) for k in range(SIZES[-1])]
    program = vectorize(nn.cross_entropy(model(x), y), batch=[x, y], dtype=np.float32)
    losses = program.to_jax()

    @jax.jit
    def step(parameters, X, Y):
        loss, slopes = jax.value_and_grad(lambda p: losses(p, X, Y).mean())(parameters)
        return {name: w - RATE * slopes[name] for name, w in parameters.items()}, loss

    return step, {p.name: jax.numpy.array(p.data) for p in program.parameters}


def by_hand(parameters):
    """(step, parameters) of the same network, with its numbers, written for JAX by a person."""
    import jax

    weights, biases = ([x for name, x in parameters.items() if name[0] == letter] for letter in "Wb")
    layers = [*zip(weights, biases, strict=True)]

    def loss(layers, X, Y):
        for w, b in layers[:-1]:
            X = jax.numpy.tanh(X @ w.T + b)
        w, b = layers[-1]
        return -(Y * jax.nn.log_softmax(X @ w.T + b)).sum(axis=1).mean()

    @jax.jit
    def step(layers, X, Y):
        value, slopes = jax.value_and_grad(loss)(layers, X, Y)
        return jax.tree.map(lambda w, slope: w - RATE * slope, layers, slopes), value

    return step, layers


def in_torch(layers, torch, device):
    """(step, parameters) in PyTorch."""
    import numpy as np

    tensors = [torch.tensor(np.array(x), device=device, requires_grad=True) for layer in layers for x in layer]

    def step(tensors, X, Y):
        for w, b in zip(tensors[:-2:2], tensors[1:-2:2], strict=True):
            X = torch.tanh(X @ w.T + b)
        loss = -(Y * torch.log_softmax(X @ tensors[-2].T + tensors[-1], 1)).sum(1).mean()
        with torch.no_grad():
            for w, slope in zip(tensors, torch.autograd.grad(loss, tensors), strict=True):
                w -= RATE * slope
        return tensors, loss.detach()

    return step, tensors


class Contestant:
    """One way to take a step, with what it goes on from."""

    def __init__(self, name, step, state, *batch):
        self.name, self.step, self.state, self.batch = name, step, state, batch
        self.state, loss = step(state, *batch)  # compiles
        self.first_loss, self.times = float(loss), []
        self.measure(3)
        self.steps = max(3, round(0.1 / self.times.pop()))

    def measure(self, steps=None):
        steps = steps or self.steps
        start = time.perf_counter()
        for _ in range(steps):
            self.state, loss = self.step(self.state, *self.batch)
        float(loss)
        self.times.append((time.perf_counter() - start) / steps)

    @property
    def seconds(self):
        return statistics.median(self.times)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--batches", type=int, nargs="+", default=[128, 1024, 8192, 65536])
    parser.add_argument("--rounds", type=int, default=7)
    machine.options(parser)
    options = parser.parse_args()
    import jax
    import numpy as np

    device = jax.devices()[0]
    print(machine.describe())
    if device.platform == "cpu":
        print("There is no GPU here that JAX can use: these are figures of the processor.")
    print(f"device: {device.device_kind}; JAX {jax.__version__}; float32, matrix products in full precision")
    try:
        import torch
    except ModuleNotFoundError:
        torch = None
        print("PyTorch is not installed here: it is left out")
    figures = []
    n = 4096 if device.platform != "cpu" else 1024
    with jax.default_matmul_precision("highest"):
        square = jax.numpy.ones((n, n), np.float32) / n
        product = Contestant("product", jax.jit(lambda a, b: (a @ b, a[0, 0])), square, square)
        step, parameters = found()
        hand, layers = by_hand(parameters)
        weights = [a * b for a, b in pairwise(SIZES)]
        rng = np.random.default_rng(0)
        for m in options.batches:
            X, Y = rng.random((m, SIZES[0]), np.float32), np.eye(SIZES[-1], dtype=np.float32)[rng.integers(0, 10, m)]
            batch = [*map(jax.numpy.asarray, (X, Y))]
            contestants = [
                Contestant("found", step, parameters, *batch), Contestant("JAX by hand", hand, layers, *batch)
            ]  # fmt: skip
            if torch:
                where = "cuda" if device.platform == "gpu" and torch.cuda.is_available() else "cpu"
                batch = [torch.tensor(x, device=where) for x in (X, Y)]
                contestants.append(Contestant(f"PyTorch, {where}", *in_torch(layers, torch, where), *batch))
            for each in contestants:
                if abs(each.first_loss - contestants[0].first_loss) > 1e-4 * abs(each.first_loss):
                    raise SystemExit(
                        f"{each.name} has the loss {each.first_loss}, the found program {contestants[0].first_loss}"
                    )
            for _ in range(options.rounds):
                for each in (product, *contestants):
                    each.measure()
            rate = 2 * n**3 / min(product.times)
            print(f"matrix products of {n} × {n}: {rate / 1e12:.3g} · 10¹² operations a second")
            work = 6 * m * sum(weights) - 2 * m * weights[0]
            for each in contestants:
                share = work / each.seconds / rate
                print(f"batch {m:6,}  {each.name:14}  {each.seconds * 1e3:9.3f} ms a step  {share:6.1%} of the rate")
                figures.append({"batch": m, "engine": each.name, "ms": each.seconds * 1e3, "share": share})
    machine.save(options.json, {"device": device.device_kind, "rate": rate, "steps": figures})


if __name__ == "__main__":
    main()
