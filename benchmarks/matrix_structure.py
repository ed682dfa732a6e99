"""Structure that a human sees: sums of products written in scalars, the program found, and NumPy by hand.

    python -m benchmarks.matrix_structure [--rounds 15] [--equations] [CASE …]

Each case is a loss as people write it in scalars, for 100 samples, with the gradients of all parameters.
The program's losses and gradients must be those of the scalar engine (on three samples) and of NumPy by
hand (on all) before a time is believed. Then both run in turn, within one process, with one thread of
BLAS: processor time, the median of the rounds.
"""

import argparse
import builtins
import math
import os
import statistics
import time

from benchmarks import machine

SAMPLES, N = 100, 40
CASES = {}


def case(function):
    """A case: returns ({parameter: its shape}, {argument: its shape}, loss in scalars, NumPy by hand)."""
    CASES[function.__name__.replace("_", " ")] = function()
    return function


# ── Bilinear and quadratic forms ───────────────────────────────────────────────────────────────


def bilinear_by_hand(x, y, A):
    v = y @ A.T
    return (x * v).sum(axis=1), {"A": x.T @ y / len(x)}


def quadratic_by_hand(x, S):
    return (x * (x @ S.T)).sum(axis=1), {"S": x.T @ x / len(x)}


@case
def bilinear():
    def loss(x, y, A):
        return builtins.sum(x[i] * A[i][j] * y[j] for i in range(N) for j in range(N))

    return {"A": (N, N)}, {"x": (N,), "y": (N,)}, loss, bilinear_by_hand


@case
def bilinear_vectors_first():
    def loss(x, y, A):
        return builtins.sum(x[i] * y[j] * A[i][j] for i in range(N) for j in range(N))

    return {"A": (N, N)}, {"x": (N,), "y": (N,)}, loss, bilinear_by_hand


@case
def bilinear_row_by_row():
    def loss(x, y, A):
        return builtins.sum(builtins.sum(x[i] * A[i][j] * y[j] for j in range(N)) for i in range(N))

    return {"A": (N, N)}, {"x": (N,), "y": (N,)}, loss, bilinear_by_hand


@case
def quadratic():
    def loss(x, S):
        return builtins.sum(x[i] * S[i][j] * x[j] for i in range(N) for j in range(N))

    return {"S": (N, N)}, {"x": (N,)}, loss, quadratic_by_hand


@case
def quadratic_matrix_first():
    def loss(x, S):
        return builtins.sum(S[i][j] * x[i] * x[j] for i in range(N) for j in range(N))

    return {"S": (N, N)}, {"x": (N,)}, loss, quadratic_by_hand


@case
def quadratic_triangle():
    def loss(x, S):
        return builtins.sum(S[i][j] * x[i] * x[j] for i in range(N) for j in range(i + 1))

    def by_hand(x, S):
        import numpy as np

        L = np.tril(S)
        return (x * (x @ L.T)).sum(axis=1), {"S": np.tril(x.T @ x) / len(x)}

    return {"S": (N, N)}, {"x": (N,)}, loss, by_hand


@case
def differences_written_twice():
    def loss(x, m, S):
        return builtins.sum((x[i] - m[i]) * S[i][j] * (x[j] - m[j]) for i in range(N) for j in range(N))

    def by_hand(x, m, S):
        d = x - m
        v = d @ S.T
        return (d * v).sum(axis=1), {"m": -(v + d @ S).mean(axis=0), "S": d.T @ d / len(x)}

    return {"m": (N,), "S": (N, N)}, {"x": (N,)}, loss, by_hand


@case
def squares_of_differences():
    def loss(x, m, s):
        return builtins.sum((x[i] - m[i]) * (x[i] - m[i]) * s[i] for i in range(N))

    def by_hand(x, m, s):
        d = x - m
        q = d * d
        return q @ s, {"m": -2 * s * d.mean(axis=0), "s": q.mean(axis=0)}

    return {"m": (N,), "s": (N,)}, {"x": (N,)}, loss, by_hand


# ── Products ───────────────────────────────────────────────────────────────────────────────────


def through_tanh(z):
    """Σ tanh(z)², in scalars."""
    return builtins.sum(v.tanh() ** 2 for v in z)


def tanh_by_hand(z):
    """(Σ tanh(z)², its gradient by z): both of each sample."""
    import numpy as np

    a = np.tanh(z)
    return (a * a).reshape(len(z), -1).sum(axis=1), 2 * a * (1 - a * a)


@case
def masked_inputs():
    def loss(x, m, w):
        return through_tanh([builtins.sum(w[i][j] * (m[j] * x[j]) for j in range(N)) for i in range(N)])

    def by_hand(x, m, w):
        u = m * x
        losses, d = tanh_by_hand(u @ w.T)
        return losses, {"m": ((d @ w) * x).mean(axis=0), "w": d.T @ u / len(x)}

    return {"m": (N,), "w": (N, N)}, {"x": (N,)}, loss, by_hand


@case
def masked_weights():
    mask = [[float((i * 7 + j * 3) % 5 > 0) for j in range(N)] for i in range(N)]

    def loss(x, w):
        return through_tanh([builtins.sum(w[i][j] * (mask[i][j] * x[j]) for j in range(N)) for i in range(N)])

    def by_hand(x, w):
        import numpy as np

        m = np.array(mask)
        losses, d = tanh_by_hand(x @ (w * m).T)
        return losses, {"w": d.T @ x / len(x) * m}

    return {"w": (N, N)}, {"x": (N,)}, loss, by_hand


@case
def gated_weights():
    def loss(x, m, w):
        return through_tanh([builtins.sum(w[i][j] * (m[i][j] * x[j]) for j in range(N)) for i in range(N)])

    def by_hand(x, m, w):
        losses, d = tanh_by_hand(x @ (w * m).T)
        g = d.T @ x / len(x)
        return losses, {"m": g * w, "w": g * m}

    return {"m": (N, N), "w": (N, N)}, {"x": (N,)}, loss, by_hand


@case
def matrix_and_transpose():
    def loss(x, y, W):
        z = [builtins.sum(W[i][j] * x[j] for j in range(N)) for i in range(N)]
        u = [builtins.sum(W[i][j] * y[i] for i in range(N)) for j in range(N)]
        return through_tanh(z) + through_tanh(u)

    def by_hand(x, y, W):
        a, d = tanh_by_hand(x @ W.T)
        b, e = tanh_by_hand(y @ W)
        return a + b, {"W": (d.T @ x + y.T @ e) / len(x)}

    return {"W": (N, N)}, {"x": (N,), "y": (N,)}, loss, by_hand


@case
def matrix_and_transpose_of_one_vector():
    def loss(x, W):
        z = [builtins.sum(W[i][j] * x[j] for j in range(N)) for i in range(N)]
        u = [builtins.sum(W[i][j] * x[N + i] for i in range(N)) for j in range(N)]
        return through_tanh(z) + through_tanh(u)

    def by_hand(x, W):
        a, d = tanh_by_hand(x[:, :N] @ W.T)
        b, e = tanh_by_hand(x[:, N:] @ W)
        return a + b, {"W": (d.T @ x[:, :N] + x[:, N:].T @ e) / len(x)}

    return {"W": (N, N)}, {"x": (2 * N,)}, loss, by_hand


@case
def tied_weights():
    def loss(x, W):
        h = [builtins.sum(W[i][j] * x[j] for j in range(N)).tanh() for i in range(N // 2)]
        y = [builtins.sum(W[i][j] * h[i] for i in range(N // 2)) for j in range(N)]
        return builtins.sum((a - b) ** 2 for a, b in zip(x, y, strict=True))

    def by_hand(x, W):
        import numpy as np

        h = np.tanh(x @ W.T)
        r = x - h @ W
        d = -2 * r
        return (r * r).sum(axis=1), {"W": (((d @ W.T) * (1 - h * h)).T @ x + h.T @ d) / len(x)}

    return {"W": (N // 2, N)}, {"x": (N,)}, loss, by_hand


@case
def tridiagonal():
    def loss(x, a, b, c):
        z = []
        for i in range(N):
            s = b[i] * x[i]
            if i > 0:
                s = s + a[i] * x[i - 1]
            if i < N - 1:
                s = s + c[i] * x[i + 1]
            z.append(s)
        return through_tanh(z)

    def by_hand(x, a, b, c):
        import numpy as np

        z = b * x
        z[:, 1:] += a[1:] * x[:, :-1]
        z[:, :-1] += c[:-1] * x[:, 1:]
        losses, d = tanh_by_hand(z)
        ga, gc = np.zeros(N), np.zeros(N)
        ga[1:], gc[:-1] = (d[:, 1:] * x[:, :-1]).mean(axis=0), (d[:, :-1] * x[:, 1:]).mean(axis=0)
        return losses, {"a": ga, "b": (d * x).mean(axis=0), "c": gc}

    return {"a": (N,), "b": (N,), "c": (N,)}, {"x": (N,)}, loss, by_hand


@case
def band_of_a_matrix():
    def loss(x, A):
        return through_tanh(
            [builtins.sum(A[i][j] * x[j] for j in range(max(i - 1, 0), min(i + 2, N))) for i in range(N)]
        )

    def by_hand(x, A):
        import numpy as np

        band = np.tril(np.triu(np.ones((N, N)), -1), 1)
        losses, d = tanh_by_hand(x @ (A * band).T)
        return losses, {"A": d.T @ x * band / len(x)}

    return {"A": (N, N)}, {"x": (N,)}, loss, by_hand


@case
def diagonal_of_P_plus_qI():
    def loss(x, P, q):
        return through_tanh(
            [builtins.sum((P[i][j] + q if i == j else P[i][j]) * x[j] for j in range(N)) for i in range(N)]
        )

    def by_hand(x, P, q):
        import numpy as np

        losses, d = tanh_by_hand(x @ (P + q * np.eye(N)).T)
        g = d.T @ x / len(x)
        return losses, {"P": g, "q": np.trace(g)}

    return {"P": (N, N), "q": ()}, {"x": (N,)}, loss, by_hand


# ── Graphs and images ──────────────────────────────────────────────────────────────────────────

NODES, FEATURES, HIDDEN = 20, 8, 8


def neighbours():
    import random

    rng = random.Random(1)
    near = [{i, (i + 1) % NODES, (i - 1) % NODES} for i in range(NODES)]
    for _ in range(NODES):
        i, j = rng.sample(range(NODES), 2)
        near[i].add(j), near[j].add(i)
    return [sorted(js) for js in near]


def graph_by_hand(weights):
    """tanh(A H Wᵀ), with the adjacency matrix A of these weights."""

    def by_hand(h, W):
        import numpy as np

        A = np.zeros((NODES, NODES))
        for i, js in enumerate(neighbours()):
            for j in js:
                A[i, j] = weights(i, j)
        H = A @ h.reshape(-1, NODES, FEATURES)
        losses, d = tanh_by_hand(H @ W.T)
        return losses, {"W": d.reshape(-1, HIDDEN).T @ H.reshape(-1, FEATURES) / len(h)}

    return by_hand


@case
def graph_convolution():
    near = neighbours()

    def loss(h, W):
        z = []
        for i in range(NODES):
            mean = [builtins.sum(h[j][f] for j in near[i]) for f in range(FEATURES)]
            z += [builtins.sum(W[k][f] * mean[f] for f in range(FEATURES)) for k in range(HIDDEN)]
        return through_tanh(z)

    return {"W": (HIDDEN, FEATURES)}, {"h": (NODES, FEATURES)}, loss, graph_by_hand(lambda i, j: 1.0)


@case
def graph_convolution_normalised():
    near = neighbours()
    weight = [[1 / math.sqrt(len(near[i]) * len(near[j])) for j in range(NODES)] for i in range(NODES)]

    def loss(h, W):
        g = [[builtins.sum(W[k][f] * h[j][f] for f in range(FEATURES)) for k in range(HIDDEN)] for j in range(NODES)]
        return through_tanh(
            [builtins.sum(weight[i][j] * g[j][k] for j in near[i]) for i in range(NODES) for k in range(HIDDEN)]
        )

    by_hand = graph_by_hand(lambda i, j: weight[i][j])
    return {"W": (HIDDEN, FEATURES)}, {"h": (NODES, FEATURES)}, loss, by_hand


@case
def graph_convolution_edge_by_edge():
    near = neighbours()

    def loss(h, W):
        return through_tanh([
            builtins.sum(builtins.sum(W[k][f] * h[j][f] for f in range(FEATURES)) for j in near[i])
            for i in range(NODES) for k in range(HIDDEN)
        ])  # fmt: skip

    return {"W": (HIDDEN, FEATURES)}, {"h": (NODES, FEATURES)}, loss, graph_by_hand(lambda i, j: 1.0)


@case
def graph_convolution_of_dot_products():
    near = neighbours()

    def loss(h, W):
        from microgradlike import dot

        return through_tanh([builtins.sum(dot(w, h[j]) for j in near[i]) for i in range(NODES) for w in W])

    return {"W": (HIDDEN, FEATURES)}, {"h": (NODES, FEATURES)}, loss, graph_by_hand(lambda i, j: 1.0)


SIDE, FILTERS = 14, 4


@case
def padded_convolution():
    def loss(x, k):
        z = []
        for f in range(FILTERS):
            for p in range(SIDE):
                for q in range(SIDE):
                    s = 0.0
                    for i in range(3):
                        for j in range(3):
                            if 0 <= p + i - 1 < SIDE and 0 <= q + j - 1 < SIDE:
                                s = s + k[f][i][j] * x[p + i - 1][q + j - 1]
                    z.append(s)
        return through_tanh(z)

    def by_hand(x, k):
        import numpy as np

        padded = np.pad(x.reshape(-1, SIDE, SIDE), ((0, 0), (1, 1), (1, 1)))
        patches = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(1, 2)).reshape(-1, 9)
        losses, d = tanh_by_hand((patches @ k.reshape(FILTERS, 9).T).reshape(len(x), -1, FILTERS))
        return losses, {"k": d.reshape(-1, FILTERS).T @ patches / len(x)}

    return {"k": (FILTERS, 3, 3)}, {"x": (SIDE, SIDE)}, loss, by_hand


@case
def padded_convolution_of_a_sequence():
    def loss(x, k):
        return through_tanh(
            [builtins.sum(k[i] * x[p + i - 2] for i in range(5) if 0 <= p + i - 2 < N) for p in range(N)]
        )

    def by_hand(x, k):
        import numpy as np

        patches = np.lib.stride_tricks.sliding_window_view(np.pad(x, ((0, 0), (2, 2))), 5, axis=1)
        losses, d = tanh_by_hand(patches @ k)
        return losses, {"k": np.tensordot(d, patches, 2) / len(x)}

    return {"k": (5,)}, {"x": (N,)}, loss, by_hand


# ── Agreement, and time ────────────────────────────────────────────────────────────────────────


def nested(shape, make, path=()):
    """What stands for an array in scalars: lists of what `make` returns for each position."""
    if len(path) == len(shape):
        return make(path)
    return [nested(shape, make, (*path, i)) for i in range(shape[len(path)])]


def flat(values):
    return [v for inner in values for v in flat(inner)] if isinstance(values, list) else [values]


def agree(what, a, b):
    import numpy as np

    if not np.allclose(a, b, rtol=1e-9, atol=1e-9 * np.abs(b).max()):
        raise SystemExit(f"{what} differ by up to {np.abs(a - b).max()}")


def prepare(name):
    """(program, a step of the program, a step by hand) of a case, once all three engines agree."""
    import numpy as np

    from microgradlike import Value, vectorize

    parameters, arguments, loss, by_hand = CASES[name]
    rng = np.random.default_rng(0)
    data = {k: rng.normal(0, 0.5, shape) for k, shape in parameters.items()}
    batch = {k: rng.normal(0, 0.5, (SAMPLES, *shape)) for k, shape in arguments.items()}

    def record(sample):
        leaves = {k: nested(x.shape, lambda at, x=x: Value(float(x[at]))) for k, x in data.items()}
        leaves |= {k: nested(x.shape[1:], lambda at, x=x: Value(float(x[sample][at]))) for k, x in batch.items()}
        return loss(**leaves), leaves

    recorded, leaves = record(0)
    program = vectorize(recorded, [leaves[k] for k in arguments])
    X = [x.reshape(SAMPLES, -1) for x in batch.values()]

    def step():
        return program.backward(*X)

    def step_by_hand():
        return by_hand(**dict(zip(arguments, X, strict=True)), **data)

    losses, gradients = step_by_hand()
    agree(f"{name}: losses", step(), losses)
    program.push()
    for k, gradient in gradients.items():
        agree(f"{name}: ∂/∂{k}", np.array([v.grad for v in flat(leaves[k])]), np.ravel(gradient))
    few = by_hand(**{k: x[:3].reshape(3, -1) for k, x in batch.items()}, **data)
    total = dict.fromkeys(parameters, 0.0)
    for sample in range(3):
        scalar, its = record(sample)
        scalar.backward()
        agree(f"{name}: loss of the scalar engine", scalar.data, few[0][sample])
        for k in parameters:
            total[k] = total[k] + np.array([v.grad for v in flat(its[k])])
    for k in parameters:
        agree(f"{name}: ∂/∂{k} of the scalar engine", total[k] / 3, np.ravel(few[1][k]))
    return program, step, step_by_hand


def seconds(function, count):
    start = time.process_time()
    for _ in range(count):
        function()
    return (time.process_time() - start) / count


def compare(steps, rounds):
    """The median time of each of several functions, which run in turn."""
    counts = [max(1, int(0.01 / max(seconds(f, 3), 1e-6))) for f in steps]
    times = [[seconds(f, count) for f, count in zip(steps, counts, strict=True)] for _ in range(rounds)]
    return [statistics.median(column) for column in zip(*times, strict=True)]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cases", nargs="*", default=list(CASES), metavar="CASE")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--equations", action="store_true", help="print the equations of each program")
    machine.options(parser)
    options = parser.parse_args()
    os.environ |= {f"{name}_NUM_THREADS": "1" for name in ("OPENBLAS", "OMP", "MKL")}  # before NumPy is loaded
    print(machine.describe())
    figures = []
    for name in options.cases:
        program, *steps = prepare(name)
        found, by_hand = compare(steps, options.rounds)
        figures.append({"case": name, "found": found, "by_hand": by_hand})
        print(
            f"{name:34} {found * 1e6:9.0f} µs, NumPy by hand {by_hand * 1e6:7.0f} µs: {found / by_hand:6.1f} times",
            flush=True,
        )
        if options.equations:
            print(program, end="\n\n")
    machine.save(options.json, figures)


if __name__ == "__main__":
    main()
