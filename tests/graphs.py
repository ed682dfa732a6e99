"""Random scalar graphs and networks, for what must hold for every graph: `(loss, batch leaves)` from a `random.Random`."""

import builtins
import functools
import operator

from microgradlike import Value, affine, constant, dot, logsumexp, maxout, operation, ops, softmax, topological_order
from microgradlike import sum as sum_
from microgradlike.value import apply


def leaves(rng, *shape):
    """Leaves with random numbers, in nested lists."""
    if not shape:
        return Value(rng.gauss(0, 0.5))
    return [leaves(rng, *shape[1:]) for _ in range(shape[0])]


def flat(values):
    return [values] if isinstance(values, Value) else [v for inner in values for v in flat(inner)]


# ── Random graphs ──────────────────────────────────────────────────────────────────────────────

UNARY = [
    ops.NEG,
    ops.ABS,
    ops.SIN,
    ops.COS,
    ops.SIGMOID,
    ops.TANH,
    ops.SOFTPLUS,
    ops.RELU,
    ops.leaky_relu(0.1),
    ops.elu(1.0),
]
BINARY = [ops.ADD, ops.SUB, ops.MUL, ops.ADD, ops.SUB, ops.MUL, ops.DIV, ops.POW, ops.MAXIMUM, ops.MINIMUM]
CUBE = operation("cube", lambda xp, x: x * x * x, lambda xp, y, x: 3.0 * x * x)


def random_graph(rng):
    """A random DAG of all kinds of operations, with layers of shared weights among them: (loss, batch leaves)."""
    batch, parameters = leaves(rng, rng.randint(0, 5)), leaves(rng, rng.randint(1, 5))
    pool = batch + parameters + [constant(rng.choice([0.5, 1.0, 2.0])) for _ in range(2)]
    for _ in range(rng.randint(1, 40)):

        def pick():
            return rng.choice(pool[-12:] if rng.random() < 0.6 else pool)

        kind = rng.random()
        if kind < 0.3:
            a = pick()
            one = rng.choice(UNARY)
            node = rng.choice(
                [apply(one, a), a.tanh().exp(), (abs(a) + 0.5).log(), (abs(a) + 0.5).sqrt(), CUBE(a.tanh())]
            )
        elif kind < 0.7:
            op, a, b = rng.choice(BINARY), pick(), pick()
            if op in (ops.DIV, ops.POW):
                a, b = abs(a) + 0.5, abs(b) + 0.5
            if op is ops.POW:
                b = b.tanh() if rng.random() < 0.5 else constant(rng.choice([2.0, 3.0, 0.5]))
            node = apply(op, a, b)
        elif kind < 0.85:
            n = rng.randint(1, 5)
            op = rng.choice([ops.SUM, ops.MAX, ops.LOGSUMEXP, ops.DOT, ops.AFFINE])
            n = 2 * n + (op is ops.AFFINE) if op in (ops.DOT, ops.AFFINE) else n
            node = apply(op, *(pick() for _ in range(n)))
        else:
            x = [pick() for _ in range(rng.randint(1, 4))]
            rows = [
                [rng.choice(parameters) if rng.random() < 0.3 else leaves(rng) for _ in x]
                for _ in range(rng.randint(1, 4))
            ]
            for row in rows:
                terms = [w * a if rng.random() < 0.5 else a * w for w, a in zip(row, x, strict=True)]
                rng.shuffle(terms)
                node = builtins.sum(terms).tanh()
                pool.append(node)
        pool.append(node.tanh() if abs(node.data) > 20 else node)
    return sum_([rng.choice(pool[-20:]) for _ in range(rng.randint(1, 4))]), batch


# ── Networks, however they are written ─────────────────────────────────────────────────────────


def tree(terms):
    while len(terms) > 1:
        terms = [builtins.sum(terms[i + 1 : i + 2], terms[i]) for i in range(0, len(terms), 2)]
    return terms[0]


def labelled(v, label):
    v.label = label
    return v


FORMS = {
    "affine": affine,
    "dot": lambda w, x, b: dot(w, x) + b,
    "sum first": lambda w, x, b: builtins.sum(a * c for a, c in zip(w, x, strict=True)) + b,
    "bias first": lambda w, x, b: builtins.sum((a * c for a, c in zip(w, x, strict=True)), b),
    "x * w": lambda w, x, b: builtins.sum((c * a for a, c in zip(w, x, strict=True)), b),
    "tree": lambda w, x, b: tree([a * c for a, c in zip(w, x, strict=True)] + [b]),
    "backwards": lambda w, x, b: functools.reduce(operator.add, [b, *[a * c for a, c in zip(w, x, strict=True)][::-1]]),
    "one sum": lambda w, x, b: sum_([a * c for a, c in zip(w, x, strict=True)] + [b]),
    "minus": lambda w, x, b: b - builtins.sum(-(a * c) for a, c in zip(w, x, strict=True)),
    "labelled products": lambda w, x, b: builtins.sum((labelled(a * c, "w·x") for a, c in zip(w, x, strict=True)), b),
    "labelled, minus": lambda w, x, b: b - builtins.sum(labelled(-(a * c), "−w·x") for a, c in zip(w, x, strict=True)),
}


# ── Random networks ────────────────────────────────────────────────────────────────────────────
# A layer makes vectors from vectors, one for each step of a sequence, with weights of its own.

ACTIVATIONS = [
    Value.tanh,
    Value.relu,
    Value.sigmoid,
    Value.leaky_relu,
    Value.elu,
    lambda z: z,
    lambda z: z * z * 0.3,
]


def dense(rng, rows):
    W, b = leaves(rng, rng.randint(1, 4), len(rows[0])), leaves(rng, 4)
    form, f = rng.choice(list(FORMS.values())), rng.choice(ACTIVATIONS)
    return [[f(form(w, x, c)) for w, c in zip(W, b, strict=False)] for x in rows]


def skip(rng, rows):
    n = len(rows[0])
    W, b, f = leaves(rng, n, n), leaves(rng, n), rng.choice(ACTIVATIONS)
    return [[f(affine(w, x, c)) + v for w, c, v in zip(W, b, x, strict=True)] for x in rows]


def recurrent(rng, rows):
    m = rng.randint(1, 3)
    Wx, Wh, b = leaves(rng, m, len(rows[0])), leaves(rng, m, m), leaves(rng, m)
    h, states = [constant(0.0)] * m, []
    for x in rows:
        h = [(affine(Wx[i], x, b[i]) + dot(Wh[i], h)).tanh() for i in range(m)]
        states.append(h)
    return states


def attention(rng, rows):
    m, causal = rng.randint(1, 3), rng.random() < 0.5
    q, k, v = ([[dot(w, x) for w in W] for x in rows] for W in (leaves(rng, m, len(rows[0])) for _ in range(3)))
    result = []
    for t in range(len(rows)):
        seen = range(t + 1 if causal else len(rows))
        p = softmax([dot(q[t], k[u]) * 0.5 for u in seen])
        result.append([dot(p, [v[u][d] for u in seen]) for d in range(m)])
    return result


def maxout_layer(rng, rows):
    m = rng.randint(1, 3)
    pieces = [(leaves(rng, m, len(rows[0])), leaves(rng, m)) for _ in range(2)]
    return [[maxout([affine(W[i], x, b[i]) for W, b in pieces]) for i in range(m)] for x in rows]


def convolution(rng, rows):
    kernel = leaves(rng, rng.randint(1, len(rows[0])))
    return [[dot(kernel, x[i : i + len(kernel)]) for i in range(len(x) - len(kernel) + 1)] for x in rows]


def mixing(rng, rows):
    M = leaves(rng, len(rows), len(rows))
    return [[dot(weights, column) for column in zip(*rows, strict=True)] for weights in M]


def norm(rng, rows):
    return [[v * (dot(x, x) / len(x) + 1e-3) ** -0.5 for v in x] for x in rows]


def random_network(rng):
    """A network of random layers for a sequence of 1 to 4 vectors: (loss, batch leaves)."""
    X = rows = leaves(rng, rng.choice([1, 1, 2, 4]), rng.randint(1, 4))
    layers = [dense, dense, skip, recurrent, attention, maxout_layer, convolution, mixing, norm]
    for _ in range(rng.randint(1, 4)):
        rows = rng.choice(layers)(rng, rows)
    loss = rng.choice(
        [
            lambda: builtins.sum(v * v for v in flat(rows)),
            lambda: builtins.sum(logsumexp(row) - row[0] for row in rows),
            lambda: sum_(flat(rows)) / len(flat(rows)),
        ]
    )()
    if rng.random() < 0.4:
        loss += 1e-2 * builtins.sum(v * v for v in topological_order(loss) if v.op is ops.LEAF and v not in flat(X))
    return loss, rng.choice([[X], [X], [X[0]], []])
