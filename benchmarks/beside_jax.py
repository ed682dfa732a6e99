"""One training step of programs found, beside JAX written by hand and compiled, and beside the products alone.

    python -m benchmarks.beside_jax [--rounds 5] [--threads 1 2] [--json FILE] [CASE …]

  recurrent   h ← tanh(U xₜ + W h + b) over 20 steps of 8 inputs, in float64, and (v · h − y)² at the end
  wide        784 inputs, 30 or 100 hidden neurons, ten outputs, in float32

JAX adds up the steps of a recurrence in a loop of Python's, which it unrolls, or by `lax.scan`. The products alone
are those of both passes, in NumPy, into arrays that are there already: what a step takes at least with that BLAS.
Contestants run as those of `matrix_speed`, and must leave the same parameters.
"""

import os
from itertools import pairwise

from benchmarks import matrix_speed

STEPS, INPUTS, RATE = 20, 8, 0.1


def descent(loss, parameters, *batch):
    """(a step, what it leaves) of JAX, with as many processors as BLAS has threads."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: int(os.environ["OPENBLAS_NUM_THREADS"])])
    import jax

    jax.config.update("jax_enable_x64", True)
    parameters, batch = jax.tree.map(jax.numpy.asarray, (parameters, batch))

    def descend(parameters, *batch):
        return jax.tree.map(lambda w, slope: w - RATE * slope, parameters, jax.grad(loss)(parameters, *batch))

    compiled = jax.jit(descend, donate_argnums=0)

    def step():
        nonlocal parameters
        parameters = jax.block_until_ready(compiled(parameters, *batch))

    return step, lambda: parameters


def found(loss, leaves, numbers, X, Y):
    """(a step, what it leaves) of the program of a loss in batch leaves x and y, with numbers for its parameters."""
    from microgradlike.matrix import vectorize

    x, y, parameters = leaves
    for p, number in zip(parameters, numbers, strict=True):
        p.data = float(number)
    program = vectorize(loss, [x, y], dtype=X.dtype)
    return lambda: program.descend(X, Y, lr=RATE), lambda: [p.data for p in program.parameters]


# ── Recurrent networks ─────────────────────────────────────────────────────────────────────────


def recurrent_data(n, m):
    import numpy as np

    rng = np.random.default_rng(0)
    U, W, v = (rng.normal(0, shape[-1] ** -0.5, shape) for shape in ((n, INPUTS), (n, n), (n,)))
    return rng.normal(size=(m, STEPS, INPUTS)), rng.normal(size=m), (U, W, v, rng.normal(0, 0.1, n))


def recurrent_program(n, m):
    import numpy as np

    from microgradlike import Value, dot

    X, Y, arrays = recurrent_data(n, m)
    U, W, (v,), (b,) = ([[Value(0.0) for _ in row] for row in np.atleast_2d(a)] for a in arrays)
    x, y = [[Value(0.5) for _ in range(INPUTS)] for _ in range(STEPS)], Value(0.5)
    h = [(dot(u, x[0]) + c).tanh() for u, c in zip(U, b, strict=True)]
    for each in x[1:]:
        h = [(dot(u, each) + dot(w, h) + c).tanh() for u, w, c in zip(U, W, b, strict=True)]
    parameters = [p for rows in (U, W, [v], [b]) for row in rows for p in row]
    numbers = np.concatenate([a.ravel() for a in arrays])
    return found((dot(v, h) - y) ** 2, (x, [y], parameters), numbers, X.reshape(m, -1), Y.reshape(m, 1))


def recurrent_jax(n, m, scan=False):
    import jax
    from jax.numpy import tanh

    X, Y, parameters = recurrent_data(n, m)

    def loss(parameters, X, Y):
        U, W, v, b = parameters
        h = tanh(X[0] @ U.T + b)
        if scan:
            h, _ = jax.lax.scan(lambda h, x: (tanh(x @ U.T + h @ W.T + b), None), h, X[1:])
        else:
            for x in X[1:]:
                h = tanh(x @ U.T + h @ W.T + b)
        return ((h @ v - Y) ** 2).mean()

    return descent(loss, parameters, X.transpose(1, 0, 2).copy(), Y)


def recurrent_products(n, m):
    import numpy as np

    X, _, (U, W, v, _) = recurrent_data(n, m)
    rows, states, slopes = X.reshape(-1, INPUTS), *(np.ones((STEPS, m, n)) for _ in range(2))
    flat, before, after = slopes.reshape(-1, n), states[:-1].reshape(-1, n), slopes[1:].reshape(-1, n)
    z, gU, gW, out = np.ones((m, n)), np.ones_like(U), np.ones_like(W), np.ones(m)

    def step():
        np.dot(rows, U.T, flat)
        for h in states[:-1]:
            np.dot(h, W.T, z)
        np.dot(states[-1], v, out), np.dot(out, states[-1])
        for delta in slopes[1:]:
            np.dot(delta, W, z)
        np.dot(flat.T, rows, gU), np.dot(after.T, before, gW)

    return step, None


# ── Wide inputs ────────────────────────────────────────────────────────────────────────────────


def wide_data(n, m):
    import numpy as np

    rng, sizes = np.random.default_rng(0), (784, n, 10)
    X, Y = rng.random((m, 784)), np.eye(10)[rng.integers(0, 10, m)]
    weights = [rng.normal(0, inputs**-0.5, (outputs, inputs)) for inputs, outputs in pairwise(sizes)]
    return [a.astype("float32") for a in (X, Y, *weights, np.zeros(n), np.zeros(10))]


def wide_program(n, m, activation, loss):
    from microgradlike import Value, nn

    X, Y, W1, W2, b1, b2 = wide_data(n, m)
    model = nn.MLP(784, [n, 10], activation, output="linear" if loss == "cross_entropy" else activation, seed=1)
    x, y = [Value(0.5) for _ in range(784)], [Value(0.1) for _ in range(10)]
    numbers = [p for W, b in ((W1, b1), (W2, b2)) for row, c in zip(W, b, strict=True) for p in (*row, c)]
    return found(getattr(nn, loss)(model(x), y), (x, y, model.parameters()), numbers, X, Y)


def wide_jax(n, m, activation, loss):
    import jax

    X, Y, *parameters = wide_data(n, m)
    f = {"sigmoid": jax.nn.sigmoid, "tanh": jax.numpy.tanh, "relu": jax.nn.relu}[activation]

    def cost(parameters, X, Y):
        W1, W2, b1, b2 = parameters
        z = f(X @ W1.T + b1) @ W2.T + b2
        if loss == "quadratic":
            return 0.5 * ((f(z) - Y) ** 2).sum(axis=1).mean()
        return -(Y * jax.nn.log_softmax(z)).sum(axis=1).mean()

    return descent(cost, parameters, X, Y)


def wide_products(n, m):
    import numpy as np

    X, d2, W1, W2, *_ = wide_data(n, m)
    z1, d1 = (np.ones((m, n), "float32") for _ in range(2))
    z2, g1, g2 = map(np.empty_like, (d2, W1, W2))

    def step():
        np.matmul(X, W1.T, z1), np.matmul(z1, W2.T, z2)
        np.matmul(d2, W2, d1), np.matmul(d2.T, z1, g2), np.matmul(d1.T, X, g1)

    return step, None


CASES = {
    **{
        f"recurrent, {n} neurons, {m} samples".replace("1 samples", "1 sample"): {
            "found program": f"recurrent_program({n}, {m})", "JAX": f"recurrent_jax({n}, {m})",
            "JAX, scan": f"recurrent_jax({n}, {m}, scan=True)", "products": f"recurrent_products({n}, {m})",
        }
        for n in (16, 32)
        for m in (1, 32)
    },
    **{
        f"784-{n}-10, {what}, {m:,} samples": {
            "found program": f"wide_program({n}, {m}, {how})", "JAX": f"wide_jax({n}, {m}, {how})",
            "products": f"wide_products({n}, {m})",
        }
        for what, how in (
            ("σ, quadratic", "'sigmoid', 'quadratic'"), ("tanh, cross-entropy", "'tanh', 'cross_entropy'"),
            ("ReLU, cross-entropy", "'relu', 'cross_entropy'"),
        )
        for n in (30, 100)
        for m in (100, 1000)
    },
}  # fmt: skip

if __name__ == "__main__":
    matrix_speed.main(CASES, __doc__)
