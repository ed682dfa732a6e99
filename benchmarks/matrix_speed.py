"""One training step: the program found in the scalar graph against NumPy by hand, PyTorch, and scalar engines.

    python -m benchmarks.matrix_speed [--rounds 5] [--threads 1 2] [--json FILE] [CASE …]

Each contestant runs in a process of its own, in turn, for several rounds; the medians are compared. All begin with
the same numbers: what the first step leaves, parameters or gradients, must agree before a time is believed.
OPENBLAS_CORETYPE and OPENBLAS_L2_SIZE are unset: where they are set, they may halve the BLAS.
"""

import argparse
import builtins
import itertools
import json
import os
import random
import statistics
import sys
import time
from importlib.util import find_spec

from benchmarks import machine

SIZES = (784, 30, 10)


def seconds(step, minimum=0.3):
    """The median time of a step: processor time, which others cannot lengthen much, or with several threads the clock's."""
    clock = time.process_time if os.environ["OPENBLAS_NUM_THREADS"] == "1" else time.perf_counter
    for _ in range(3):
        step()
    times, end = [], time.perf_counter() + minimum
    while time.perf_counter() < end or len(times) < 5:
        start = clock()
        step()
        times.append(clock() - start)
    return statistics.median(times)


def agrees(a, b):
    """Whether two contestants computed the same numbers, in whatever order: to rounding of their dtype."""
    scale = max(map(abs, a[:-1]))
    return len(a) == len(b) and all(abs(x - y) <= a[-1] * scale for x, y in zip(a[:-1], b[:-1], strict=True))


def digest(arrays):
    """Return sums over all numbers that tell other numbers, and how far rounding may move them."""
    import numpy as np

    flat = np.concatenate([np.asarray(a).ravel() for a in arrays])
    x = flat.astype("float64")
    sums = [x.sum(), np.abs(x).sum(), *(np.sin(k * x).sum() for k in (1, 10, 100))]
    return [*map(float, sums), 1e-9 if flat.dtype == "float64" else 1e-3]


# Each contestant is a function that returns (a step, the arrays of numbers that it leaves).
# ── Nielsen's network: sigmoid, quadratic cost, one step of gradient descent ───────────────────


def nielsen_data(m, dtype="float64"):
    import numpy as np

    rng = np.random.default_rng(0)
    X, Y = rng.random((m, SIZES[0])), np.eye(SIZES[2])[rng.integers(0, 10, m)]
    weights = [rng.normal(0, n**-0.5, (k, n)) for n, k in itertools.pairwise(SIZES)]
    return [a.astype(dtype) for a in (X, Y, *weights, np.zeros(SIZES[1]), np.zeros(SIZES[2]))]


def nielsen_expression(m, dtype="float64"):
    import numpy as np

    X, Y, W1, W2, b1, b2 = nielsen_data(m, dtype)

    def sigmoid(z):
        return 1 / (1 + np.exp(-z))

    def step():
        nonlocal W1, W2, b1, b2
        a1 = sigmoid(X @ W1.T + b1)
        a2 = sigmoid(a1 @ W2.T + b2)
        d2 = (a2 - Y) * a2 * (1 - a2)
        d1 = (d2 @ W2) * a1 * (1 - a1)
        W2 = W2 - 0.5 / m * (d2.T @ a1)
        b2 = b2 - 0.5 / m * d2.sum(axis=0)
        W1 = W1 - 0.5 / m * (d1.T @ X)
        b1 = b1 - 0.5 / m * d1.sum(axis=0)

    return step, lambda: (W1, W2, b1, b2)


def nielsen_tuned(m, dtype="float64"):
    import numpy as np
    from numpy import add, dot, exp, multiply, negative, reciprocal, subtract

    X, Y, W1, W2, b1, b2 = nielsen_data(m, dtype)
    one, rate, ones = (np.asarray(v, X.dtype) for v in (1.0, 0.5 / m, np.ones(m)))
    a1, d1, t1 = (np.empty((m, SIZES[1]), X.dtype) for _ in range(3))
    a2, d2, t2 = (np.empty((m, SIZES[2]), X.dtype) for _ in range(3))
    g1, g2, gb1, gb2 = (np.empty_like(a) for a in (W1, W2, b1, b2))
    W1T, W2T, d1T, d2T = W1.T, W2.T, d1.T, d2.T

    def step():
        dot(X, W1T, out=a1), add(a1, b1, out=a1), negative(a1, out=a1), exp(a1, out=a1)
        add(a1, one, out=a1), reciprocal(a1, out=a1)
        dot(a1, W2T, out=a2), add(a2, b2, out=a2), negative(a2, out=a2), exp(a2, out=a2)
        add(a2, one, out=a2), reciprocal(a2, out=a2)
        subtract(a2, Y, out=d2), multiply(d2, a2, out=d2), subtract(one, a2, out=t2)
        multiply(t2, rate, out=t2), multiply(d2, t2, out=d2)
        dot(d2, W2, out=d1), multiply(d1, a1, out=d1), subtract(one, a1, out=t1), multiply(d1, t1, out=d1)
        dot(d2T, a1, out=g2), dot(d1T, X, out=g1), dot(ones, d1, out=gb1), dot(ones, d2, out=gb2)
        subtract(W1, g1, out=W1), subtract(W2, g2, out=W2), subtract(b1, gb1, out=b1), subtract(b2, gb2, out=b2)

    return step, lambda: (W1, W2, b1, b2)


def nielsen_program(m, dtype="float64"):
    from microgradlike import Value, nn
    from microgradlike.matrix import vectorize

    X, Y, W1, W2, b1, b2 = nielsen_data(m, dtype)
    model = nn.MLP(SIZES[0], SIZES[1:], "sigmoid", output="sigmoid", seed=1)
    numbers = [float(x) for W, b in ((W1, b1), (W2, b2)) for row, bias in zip(W, b, strict=True) for x in (*row, bias)]
    for p, number in zip(model.parameters(), numbers, strict=True):
        p.data = number
    x, y = [Value(0.5) for _ in range(SIZES[0])], [Value(0.5) for _ in range(SIZES[2])]
    program = vectorize(nn.losses.quadratic(model(x), y), [x, y], dtype=dtype)
    return lambda: program.descend(X, Y, lr=0.5), lambda: [p.data for p in program.parameters]


def nielsen_torch(m, dtype="float64"):
    import torch

    X, Y, W1, W2, b1, b2 = (torch.tensor(a) for a in nielsen_data(m, dtype))
    parameters = [p.requires_grad_() for p in (W1, W2, b1, b2)]
    optimizer = torch.optim.SGD(parameters, lr=0.5)

    def step():
        optimizer.zero_grad()
        a1 = torch.sigmoid(torch.nn.functional.linear(X, W1, b1))
        a2 = torch.sigmoid(torch.nn.functional.linear(a1, W2, b2))
        (0.5 / m * ((a2 - Y) ** 2).sum()).backward()
        optimizer.step()

    return step, lambda: [p.detach().numpy() for p in parameters]


# ── micrograd's demo: 100 moons, 2-16-16-1, hinge loss with weight decay ───────────────────────


def moons():
    from microgradlike import datasets

    X, classes = datasets.moons(100, noise=0.1)
    return X, [2 * c - 1 for c in classes]


def demo_loss(model, X, Y, value):
    scores = [model(list(map(value, x))) for x in X]
    losses = [(1 + -y * s).relu() for y, s in zip(Y, scores, strict=True)]
    return builtins.sum(losses) * (1.0 / len(losses)) + 1e-4 * builtins.sum(p * p for p in model.parameters())


def demo_step(Value, MLP):
    """The same program for both scalar engines."""
    random.seed(1337)
    model, (X, Y) = MLP(2, [16, 16, 1]), moons()

    def step():
        loss = demo_loss(model, X, Y, Value)
        model.zero_grad()
        loss.backward()
        for p in model.parameters():
            p.data -= 0.05 * p.grad

    return step, lambda: [[p.data for p in model.parameters()]]


def demo_micrograd(collect=True):
    import gc

    from micrograd.engine import Value
    from micrograd.nn import MLP

    if not collect:
        gc.disable()
    return demo_step(Value, MLP)


def demo_scalar():
    from microgradlike import Value, nn

    return demo_step(Value, nn.MLP)


def demo_program():
    from microgradlike import nn
    from microgradlike.matrix import vectorize

    random.seed(1337)
    model, (X, Y) = nn.MLP(2, [16, 16, 1]), moons()
    program = vectorize(demo_loss(model, X, Y, float))
    return lambda: program.descend(lr=0.05), lambda: [p.data for p in program.parameters]


def demo_torch():
    import torch

    random.seed(1337)  # and the numbers in the order in which micrograd takes them
    (X, Y) = (torch.tensor(a, dtype=torch.float64) for a in moons())
    shapes = [(16, 2), (16, 16), (1, 16)]
    numbers = [[[random.uniform(-1, 1) for _ in range(columns)] for _ in range(rows)] for rows, columns in shapes]
    W = [torch.tensor(w, dtype=torch.float64).requires_grad_() for w in numbers]
    b = [torch.zeros(s[0], dtype=torch.float64).requires_grad_() for s in shapes]
    optimizer = torch.optim.SGD([*W, *b], lr=0.05)

    def step():
        optimizer.zero_grad()
        a = X
        for i in range(3):
            a = torch.nn.functional.linear(a, W[i], b[i])
            a = a.relu() if i < 2 else a
        loss = (1 - Y * a[:, 0]).relu().mean() + 1e-4 * builtins.sum((p * p).sum() for p in (*W, *b))
        loss.backward()
        optimizer.step()

    return step, lambda: [p.detach().numpy() for p in (*W, *b)]


# ── A character GPT in scalars: one layer, 16 dimensions, 4 heads, context 16 ──────────────────

VOCABULARY, T, D, HEADS = 27, 16, 16, 4


class GPT:
    """Token and position embeddings, causal attention, a ReLU layer four times as wide; RMS norms."""

    def __init__(self, make):
        rng = random.Random(42)

        def matrix(rows, columns):
            return [[make(rng.gauss(0, 0.08)) for _ in range(columns)] for _ in range(rows)]

        self.wte, self.wpe, self.head = matrix(VOCABULARY, D), matrix(T, D), matrix(VOCABULARY, D)
        self.wq, self.wk, self.wv, self.wo = (matrix(D, D) for _ in range(4))
        self.up, self.down = matrix(4 * D, D), matrix(D, 4 * D)

    def matrices(self):
        return self.wte, self.wpe, self.head, self.wq, self.wk, self.wv, self.wo, self.up, self.down

    def parameters(self):
        return [p for m in self.matrices() for row in m for p in row]

    def loss(self, onehot, target):
        """The mean cross-entropy of T tokens; the tokens and what follows them enter as one-hot rows."""
        from microgradlike import dot, logsumexp, softmax
        from microgradlike import sum as sum_

        def linear(x, w):
            return [dot(row, x) for row in w]

        def norm(x):
            scale = (dot(x, x) / D + 1e-5) ** -0.5
            return [v * scale for v in x]

        columns = list(zip(*self.wte, strict=True))
        x = [
            [dot(hot, c) + p for c, p in zip(columns, pos, strict=True)]
            for hot, pos in zip(onehot, self.wpe, strict=True)
        ]
        x = [norm(v) for v in x]
        y = [norm(v) for v in x]
        q, k, v = ([linear(row, w) for row in y] for w in (self.wq, self.wk, self.wv))
        size = D // HEADS
        for t in range(T):
            heads = []
            for h in range(0, D, size):
                p = softmax([dot(q[t][h : h + size], k[u][h : h + size]) * size**-0.5 for u in range(t + 1)])
                heads += [dot(p, [v[u][h + d] for u in range(t + 1)]) for d in range(size)]
            x[t] = [a + b for a, b in zip(linear(heads, self.wo), x[t], strict=True)]
        hidden = [[a.relu() for a in linear(norm(row), self.up)] for row in x]
        x = [[a + b for a, b in zip(linear(h, self.down), row, strict=True)] for h, row in zip(hidden, x, strict=True)]
        logits = [linear(row, self.head) for row in x]
        return sum_([logsumexp(z) - dot(y, z) for z, y in zip(logits, target, strict=True)]) / T


def text(step):
    """(one-hot tokens, one-hot next tokens) of a training step."""
    rng = random.Random(step)
    tokens = [rng.randrange(VOCABULARY) for _ in range(T // 2)] * 3
    hot = [[1.0 if v == token else 0.0 for v in range(VOCABULARY)] for token in tokens]
    return hot[:T], hot[1 : T + 1]


def gpt_scalar(optimize=False):
    from microgradlike import Value, nn

    model = GPT(Value)
    optimizer = nn.Adam(model.parameters(), lr=0.01)
    count = iter(range(10**9))

    def step():
        loss = model.loss(*text(next(count)))
        optimizer.zero_grad()
        loss.backward()
        if optimize:
            optimizer.step()
        return loss.data

    return step, lambda: [[p.grad for p in model.parameters()]]


def gpt_found():
    from microgradlike import Value
    from microgradlike.matrix import vectorize

    model = GPT(Value)
    hot, target = ([list(map(Value, row)) for row in rows] for rows in text(0))
    return vectorize(model.loss(hot, target), [hot, target])


def gpt_program(optimize=False):
    import numpy as np

    from microgradlike import nn

    program = gpt_found()
    optimizer = nn.Adam(program.parameters, lr=0.01)
    data = [[np.array([a]) for a in text(i)] for i in range(100)]
    count = iter(range(10**9))

    def step():
        X, Y = data[next(count) % 100]
        loss = program.backward(X, Y)[0]
        if optimize:
            optimizer.step()
        return loss

    return step, lambda: [p.grad for p in program.parameters]


def gpt_torch():
    """Loss and gradients on the same shapes, the text in one-hot rows as well."""
    import torch
    import torch.nn.functional as F

    matrices = [torch.tensor(m, dtype=torch.float64) for m in GPT(float).matrices()]
    parameters = wte, wpe, head, wqkv, wo, up, down = [
        m.requires_grad_() for m in (*matrices[:3], torch.cat(matrices[3:6]), *matrices[6:])
    ]
    hot, target = (torch.tensor(a, dtype=torch.float64) for a in text(0))
    index = target.argmax(dim=1)

    def norm(x):
        return x * ((x * x).mean(dim=1, keepdim=True) + 1e-5) ** -0.5

    def step():
        for p in parameters:
            p.grad = None
        x = norm(hot @ wte + wpe)
        q, k, v = (a.view(T, HEADS, -1).transpose(0, 1) for a in F.linear(norm(x), wqkv).split(D, dim=1))
        a = F.scaled_dot_product_attention(q, k, v, is_causal=True).transpose(0, 1).reshape(T, D)
        x = x + F.linear(a, wo)
        x = x + F.linear(F.linear(norm(x), up).relu(), down)
        loss = F.cross_entropy(F.linear(x, head), index)
        loss.backward()

    return step, lambda: [p.grad.numpy() for p in parameters]


CASES = {
    "minibatch 10": {"NumPy, expressions": "nielsen_expression(10)", "NumPy, tuned": "nielsen_tuned(10)",
                     "found program": "nielsen_program(10)", "PyTorch": "nielsen_torch(10)"},
    "minibatch 100": {"NumPy, expressions": "nielsen_expression(100)", "NumPy, tuned": "nielsen_tuned(100)",
                      "found program": "nielsen_program(100)", "PyTorch": "nielsen_torch(100)"},
    "minibatch 10, float32": {"NumPy, tuned": "nielsen_tuned(10, 'float32')",
                              "found program": "nielsen_program(10, 'float32')",
                              "PyTorch": "nielsen_torch(10, 'float32')"},
    "minibatch 100, float32": {"NumPy, tuned": "nielsen_tuned(100, 'float32')",
                               "found program": "nielsen_program(100, 'float32')",
                               "PyTorch": "nielsen_torch(100, 'float32')"},
    "demo": {"micrograd": "demo_micrograd()", "micrograd, no collector": "demo_micrograd(False)",
             "scalar engine": "demo_scalar()", "found program": "demo_program()", "PyTorch": "demo_torch()"},
    "GPT": {"scalar engine": "gpt_scalar()", "found program": "gpt_program()", "PyTorch": "gpt_torch()"},
}  # fmt: skip


def measure(contestant):
    """(seconds of a step, what the first one left, if it leaves numbers)."""
    step, numbers = eval(contestant, vars(sys.modules["__main__"]))
    step()
    left = numbers and digest(numbers())
    return seconds(step), left


def compare(contestants, options, environment):
    """The median time of each contestant, who run in turn."""
    packages = {"PyTorch": "torch", "JAX": "jax"}
    times = {name: [] for name in contestants if find_spec(packages.get(name.partition(",")[0], "numpy"))}
    for _ in range(options.rounds):
        first = None
        for name in times:
            module = sys.modules["__main__"].__spec__.name
            spent, left = machine.in_a_process(module, contestants[name], env=environment)
            first = first or left
            if left and not agrees(left, first):
                raise SystemExit(f"{name} computes other numbers than {next(iter(times))}: {left}, not {first}")
            times[name].append(spent)
    return {name: statistics.median(t) for name, t in times.items()}


def main(cases, about):
    """Run the contestants of these cases, which functions of the module that was started make."""
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cases", nargs="*", default=list(cases))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", nargs="*", default=["1"], help="how many threads BLAS may use, one run for each")
    parser.add_argument("--worker")
    machine.options(parser)
    options = parser.parse_args()
    if options.worker:
        print(json.dumps(measure(options.worker)))
        return
    print(machine.describe(), machine.versions())
    results = {}
    for threads in options.threads:
        environment = os.environ | {f"{name}_NUM_THREADS": threads for name in ("OPENBLAS", "OMP", "MKL")}
        for name in ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE"):
            environment.pop(name, None)
        for case in options.cases:
            found = compare(cases[case], options, environment)
            results.setdefault(threads, {})[case] = found
            print(f"\n{case}, threads: {threads}")
            for name, t in found.items():
                print(
                    f"  {name:25} {t * 1e6:12.1f} µs   {t / found['found program']:9.2f} × the found program",
                    flush=True,
                )
    machine.save(options.json, results)


if __name__ == "__main__":
    main(CASES, __doc__)
