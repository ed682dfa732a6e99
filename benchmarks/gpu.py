"""A training step of [784, 512, 512, 10] on a GPU, and on the processor where there is none.

    python -m benchmarks.gpu [--batches 128 1024 8192 65536] [--rounds 5]

The found program on JAX, JAX written by hand, and PyTorch where it is installed, on one device in float32. Each
row says how much of the measured rate of matrix products a step achieves: its multiplications and additions are
counted, 2 for a weight and sample forward, and 4 backward but 2 for the first layer. Needs no network.
"""

import argparse
import statistics
import time
from itertools import pairwise

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


def seconds(step, state, rounds, *batch):
    """(median seconds of a step, least seconds, first loss); the loss is fetched, and so the step is over."""
    state, first = step(state, *batch)
    first, times = float(first), []
    for _ in range(rounds):
        start = time.perf_counter()
        state, loss = step(state, *batch)
        float(loss)
        times.append(time.perf_counter() - start)
    return statistics.median(times), min(times), first


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--batches", type=int, nargs="+", default=[128, 1024, 8192, 65536])
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    import jax
    import numpy as np

    from benchmarks import machine

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
    n = 4096 if device.platform != "cpu" else 1024
    with jax.default_matmul_precision("highest"):
        square = jax.numpy.ones((n, n), np.float32) / n
        product = jax.jit(lambda a, _: (a @ a, (a @ a)[0, 0]))
        rate = 2 * n**3 / seconds(product, square, 4 * options.rounds, square)[1]
        print(f"matrix products of {n} × {n}: {rate / 1e12:.3g} · 10¹² operations a second")
        step, parameters = found()
        hand, layers = by_hand(parameters)
        contestants = {"found": (step, parameters), "JAX by hand": (hand, layers)}
        weights = [a * b for a, b in pairwise(SIZES)]
        rng = np.random.default_rng(0)
        for m in options.batches:
            X, Y = rng.random((m, SIZES[0]), np.float32), np.eye(SIZES[-1], dtype=np.float32)[rng.integers(0, 10, m)]
            work, losses = 6 * m * sum(weights) - 2 * m * weights[0], []
            for name, (step, state) in contestants.items():
                spent, _, loss = seconds(step, state, options.rounds, *map(jax.numpy.asarray, (X, Y)))
                losses.append((name, spent, loss))
            if torch:
                where = "cuda" if device.platform == "gpu" and torch.cuda.is_available() else "cpu"
                step, state = in_torch(layers, torch, where)
                spent, _, loss = seconds(step, state, options.rounds, *(torch.tensor(x, device=where) for x in (X, Y)))
                losses.append((f"PyTorch, {where}", spent, loss))
            for name, spent, loss in losses:
                if abs(loss - losses[0][2]) > 1e-4 * abs(loss):
                    raise SystemExit(f"{name} has the loss {loss}, and the found program {losses[0][2]}")
                print(f"batch {m:6,}  {name:14}  {spent * 1e3:9.3f} ms a step  {work / spent / rate:6.1%} of the rate")


if __name__ == "__main__":
    main()
