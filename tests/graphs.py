"""Random scalar graphs and networks, for what must hold for every graph: `(loss, batch leaves)` from a `random.Random`."""

import builtins
import functools
import operator

from microgradlike import (
    Value,
    affine,
    constant,
    dot,
    logsumexp,
    maxout,
    nn,
    operation,
    ops,
    softmax,
    topological_order,
)
from microgradlike import sum as sum_
from microgradlike.value import apply


def leaves(rng, *shape):
    """Leaves with random numbers, in nested lists."""
    if not shape:
        return Value(rng.gauss(0, 0.5))
    return [leaves(rng, *shape[1:]) for _ in range(shape[0])]


def flat(values):
    return [values] if isinstance(values, Value) else [v for inner in values for v in flat(inner)]


def used_twice():
    """(a·b)·(a + b): both leaves are used twice, and get their second product in the last step."""
    a, b = Value(-2.0, "a"), Value(3.0, "b")
    d, e = a * b, a + b
    d.label, e.label = "d", "e"
    f = d * e
    f.label = "f"
    return f


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


# ── Networks of `nn`, for pictures ────────────────────────────────────────────────────────────


def network(*sizes, activation="sigmoid", output="sigmoid", samples=1):
    model = nn.MLP(sizes[0], sizes[1:], activation, output, seed=1)
    losses = []
    for s in range(samples):
        a = model([0.3 * i - 0.1 * s for i in range(sizes[0])])
        losses.append(nn.quadratic(a, [0.0] * sizes[-1] if sizes[-1] > 1 else 0.0))
    loss = sum_(losses) if samples > 1 else losses[0]
    loss.backward()
    return loss


def residual():
    model = nn.MLP(2, [2, 2, 2], "tanh", "tanh", seed=0)
    x = [Value(1.0, "x₁"), Value(2.0, "x₂")]
    (_, a), (_, _), (_, c) = model.feedforward(x)
    return nn.quadratic([p + q + r for p, q, r in zip(a, c, x, strict=True)], [0.0, 1.0])


def twice():
    layers = nn.MLP(2, [2, 1], "tanh", seed=0).layers
    return nn.quadratic(layers[1](layers[0](layers[0]([Value(1.0, "x₁"), Value(2.0, "x₂")]))), 1.0)


SHAPES = {
    "2-3-1": lambda: network(2, 3, 1),
    "4-4-4-1": lambda: network(4, 4, 4, 1),
    "10-16-10": lambda: network(10, 16, 10),
    "64-16-10": lambda: network(64, 16, 10),
    "softmax": lambda: network(3, 3, 3, activation="tanh", output="softmax"),
    "maxout": lambda: network(2, 2, 1, activation="maxout", output="linear"),
    "written out": lambda: network(2, 2, 1, activation=lambda z: z / (1 + (-z).exp()), output="linear"),
    "a minibatch": lambda: network(2, 3, 1, samples=4),
    "ten samples": lambda: network(2, 3, 1, samples=10),
    "residual": residual,
    "a layer used twice": twice,
}


# ── What is hard to find ───────────────────────────────────────────────────────────────────────


def split(rng, columns):
    """Leaves in 1 to 6 arguments at random, in any order, some of them nested."""
    columns = rng.sample(columns, len(columns))
    arguments = [[] for _ in range(rng.randint(1, 6))]
    for v in columns:
        rng.choice(arguments).append(v)
    return [[a[:2], [a[2:]]] if rng.random() < 0.5 else a for a in arguments if a]


def several_reductions(rng, x, w):
    """Logsumexps and maxouts of two kinds of operands, in different numbers of either."""
    a, b = [v.tanh() for v in w], [(v * x[0]).exp() for v in w]
    return [
        f([*a[:i], *b[:j]]) for f in (logsumexp, maxout) for i, j in ((1, 2), (2, 1), (2, 2), (1, 3), (3, 0), (0, 2))
    ]


def signs_and_products(rng, x, w):
    """tanh p₁ − tanh p₂ beside tanh p₃ + tanh p₄, and products."""
    t = [v.tanh() for v in w]
    return [t[0] - t[1], t[2] + t[3], t[1] - t[0], t[0] * t[1], t[0] * t[1] - t[2], t[1] * t[2] + t[3], -(t[0] + t[1])]


def quotients(rng, x, w):
    """p/q beside q/p, and powers alike."""
    a, b = [v.tanh() + 2 for v in w], [v * x[0] + 3 for v in w]
    return [a[0] / b[0], b[1] / a[1], a[0] / a[1], a[1] / a[0], a[2] ** b[2], b[2] ** a[2], a[0] - b[0], b[1] - a[1]]


def ragged_sums(rng, x, w):
    """Sums of different lengths that do not begin alike: no padded product."""
    t = [(v * x[0]).tanh() for v in w]
    return [dot(w[i : i + n], t[i : i + n]) for i, n in ((0, 3), (1, 2), (2, 2), (1, 3), (3, 1))]


def product_beside_another(rng, x, w):
    """W x, and a product whose left side differs from sample to sample."""
    W, S = leaves(rng, 3, 3), [[v * w[i] for v in x] for i in range(3)]
    return [dot(W[i], x) + dot(S[i], [v.tanh() for v in x]) for i in range(3)]


def grid_with_hole_and_double(rng, x, w):
    """Products of rows with columns, one of them missing and one there twice."""
    A, B = leaves(rng, 3, 2), leaves(rng, 3, 2)
    places = [(i, j) for i in range(3) for j in range(3) if (i, j) != (1, 1)] + [(0, 2)]
    return [dot(A[i], B[j]).tanh() * (k + 1) for k, (i, j) in enumerate(places)]


def double_with_other_terms(rng, x, w):
    """Two sums with the same matrix product, but other terms beside it."""
    A = leaves(rng, 2, 3)
    return [dot(A[i], x) + w[k] for k, i in enumerate((0, 1, 1, 0))]


def short_reductions(rng, x, w):
    """Sums and logsumexps of 1, 2, 3 and 4 operands, and of constants."""
    c = [constant(v) for v in (0.5, 1.5, -1.0, 2.0)]
    return [f(o[:n]) * w[0] for f in (sum_, logsumexp, maxout) for o in (w, x * 2, c) for n in (1, 2, 3, 4)]


def periods(rng, x, w):
    """Operands that repeat every 4 and every 6 of 12."""
    p, q = leaves(rng, 4), leaves(rng, 6)
    return [(p[i % 4] * q[i % 6] + p[i // 3]).tanh() for i in range(12)] + [
        p[i % 4] / (q[i // 2] + 4) for i in range(12)
    ]


def one_gradient_for_two(rng, x, w):
    """Two arrays of parameters whose gradients are equal."""
    p, q = leaves(rng, 3), leaves(rng, 3)
    return [(a + b + v).tanh() for a, b, v in zip(p, q, x, strict=True)] + [w[0] + 0.0, w[1] + 0.0]


def two_products_on_one_grid(rng, x, w):
    """W aₙ + U bₙ for several n, and once with another row of U in each."""
    W, U, A, B = leaves(rng, 3, 2), leaves(rng, 3, 2), leaves(rng, 4, 2), leaves(rng, 4, 2)
    A, B = [[v.tanh() for v in row] for row in A], [[v.exp() for v in row] for row in B]
    both = [dot(W[i], A[n]) + dot(U[i], B[n]) for n in range(4) for i in range(3)]
    return both + [(dot(W[i], A[n]) + dot(U[(i + n) % 3], B[n])).tanh() for n in range(4) for i in range(3)]


def sum_beside_a_grid(rng, x, w):
    """W x for all, and a plain sum of other leaves for each."""
    W, extra = leaves(rng, 3, 3), leaves(rng, 3, 2)
    return [dot(row, x) + sum_(more) - x[0] for row, more in zip(W, extra, strict=True)]


STRUCTURES = [several_reductions, signs_and_products, quotients, ragged_sums, product_beside_another,
              grid_with_hole_and_double, double_with_other_terms, short_reductions, periods, one_gradient_for_two,
              sum_beside_a_grid, two_products_on_one_grid]  # fmt: skip


def tower(rng, n_in, widths=(4, 3)):
    layers = []
    for n in widths:
        layers.append((leaves(rng, n, n_in), leaves(rng, n)))
        n_in = n

    def run(x):
        for W, b in layers:
            x = [affine(w, x, c).tanh() for w, c in zip(W, b, strict=True)]
        return x

    return run


def distance(a, b):
    return builtins.sum((p - q) ** 2 for p, q in zip(a, b, strict=True))


def siamese(rng):
    f, x, u = tower(rng, 3), leaves(rng, 3), leaves(rng, 3)
    return distance(f(x), f(u)), [x, u]


def triplet(rng):
    f, x = tower(rng, 3), leaves(rng, 3, 3)
    a, p, n = map(f, x)
    return (distance(a, p) - distance(a, n) + 0.5).softplus(), x


def cosine(rng):
    x, y = leaves(rng, 2, 4)
    return dot(x, y) / (dot(x, x) * dot(y, y)).sqrt(), [x, y]


def conditioned(rng):
    x, c, y = leaves(rng, 3), leaves(rng, 2), leaves(rng, 4)
    W, U = leaves(rng, 4, 3), leaves(rng, 4, 2)
    z = [dot(w, x) + dot(u, c) for w, u in zip(W, U, strict=True)]
    return distance([v.tanh() for v in z], y), [x, c, y]


def cross_attention(rng):
    X, C = leaves(rng, 3, 2), leaves(rng, 4, 3)
    Wq, Wk, Wv = leaves(rng, 2, 2), leaves(rng, 2, 3), leaves(rng, 2, 3)
    q, k, v = ([[dot(w, x) for w in W] for x in rows] for W, rows in ((Wq, X), (Wk, C), (Wv, C)))
    rows = []
    for one in q:
        p = softmax([dot(one, other) for other in k])
        rows += [dot(p, column).tanh() for column in zip(*v, strict=True)]
    return sum_(rows), [X, C]


def self_attention(rng):
    X = leaves(rng, 4, 2)
    return sum_([v.tanh() for row in attention(rng, X) for v in row]), X


def image_rows(rng):
    image, kernels = leaves(rng, 5, 5), leaves(rng, 2, 9)
    maps = [
        dot(k, [image[p + i][q + j] for i in range(3) for j in range(3)]).relu()
        for k in kernels for p in range(3) for q in range(3)
    ]  # fmt: skip
    return builtins.sum(v * v for v in maps), image


def steps_of_a_sequence(rng):
    X, y = leaves(rng, 4, 2), leaves(rng, 3)
    h = recurrent(rng, X)[-1]
    return distance(h, y[: len(h)]), [*X, y]


def pairwise(rng):
    x, y = leaves(rng, 4), leaves(rng, 4)
    return builtins.sum((a - b).tanh() for a in x for b in y) + sum_([abs(a - b) for a in x for b in x]), [x, y]


def perceptron(rng):
    x, y = leaves(rng, 3), leaves(rng, 3)
    return distance(tower(rng, 3)(x), y), [x, y]


MODELS = [
    perceptron,
    siamese,
    triplet,
    cosine,
    conditioned,
    cross_attention,
    self_attention,
    image_rows,
    steps_of_a_sequence,
    pairwise,
]


def many_of_one_colour(rng):
    """Nodes that play the same part, combined with random signs, orders and multiplicities: (loss, batch leaves)."""
    x, p = leaves(rng, rng.randint(1, 4)), leaves(rng, rng.randint(2, 6))
    kinds = [[v.tanh() for v in p], [(v * rng.choice(x)).exp() for v in p], p, x, [constant(0.5), constant(2.0)]]

    def pick(n):
        return [rng.choice(rng.choice(chosen)) for _ in range(n)]

    def signed(terms):
        return functools.reduce(lambda s, t: rng.choice([operator.add, operator.sub])(s, t), terms)

    forms = [
        lambda n: signed(pick(n)),
        lambda n: sum_([rng.choice([1, -1]) * v for v in pick(n)]),
        lambda n: signed([a * b for a, b in zip(pick(n), pick(n), strict=True)]),
        lambda n: dot(pick(n), pick(n)),
        lambda n: logsumexp(pick(n)),
        lambda n: maxout(pick(n)),
        lambda n: operator.truediv(*pick(2)),
        lambda n: operator.sub(*pick(2)),
        lambda n: softmax(pick(n))[0],
    ]
    outputs = []
    for _ in range(rng.randint(1, 3)):
        form, chosen = rng.choice(forms), rng.sample(kinds, rng.randint(1, 2))
        outputs += [form(rng.randint(1, 4)).tanh() for _ in range(rng.randint(1, 6))]
    return sum_([rng.choice(outputs) * rng.choice([1.0, -0.5]) for _ in range(rng.randint(1, 2 * len(outputs)))]), x


def many_products(rng):
    """Vectors in many products each: with what varies from sample to sample, or does not, or is one number for all."""
    n, x, functions = rng.randint(1, 3), leaves(rng, rng.randint(2, 4)), [*ACTIVATIONS[:3], Value.exp, Value.sin]
    vectors, parameters, numbers = leaves(rng, rng.randint(1, 2), n), leaves(rng, 4, n), leaves(rng, 3)
    varying = [[f(rng.choice(x)) for _ in range(n)] for f in functions]
    partners = [
        lambda: rng.choice(varying),
        lambda: rng.choice(parameters),
        lambda: rng.choices(x, k=n),
        lambda: [rng.choice(numbers)] * n,
        lambda: [rng.choice(x)] * n,
        lambda: [rng.choice(rng.choice(varying))] * n,
        lambda: [constant(rng.choice([1.0, 2.0]))] * n,
        lambda: vectors[0],
    ]
    beside = [
        lambda: 0.0,
        lambda: rng.choice(x),
        lambda: rng.choice(x) * rng.choice(numbers),
        lambda: varying[0][0],
        lambda: sum_(vectors[-1]) * rng.choice(x),
        lambda: sum_(vectors[-1]) * rng.choice(numbers),
    ]
    terms = []
    for one in vectors:
        for _ in range(rng.randint(2, 6)):
            terms.append(rng.choice(functions)(dot(one, rng.choice(partners)()) + rng.choice(beside)()))
            if rng.random() < 0.3:
                varying.append([f(terms[-1]) for f in rng.choices(functions, k=n)])
    rng.shuffle(terms)
    return sum_(terms if rng.random() < 0.5 else [v.tanh() for v in terms]), x


RANDOM = [random_graph, random_network, many_of_one_colour, many_products]  # each: rng ↦ (loss, batch leaves)


RULES = {
    "a number as condition": lambda xp, x: xp.where(x, 1.0, 0.0) + xp.where(x - x, x, 3.0),
    "equal or not": lambda xp, x: xp.where(x != 1.0, x, -x) + xp.where(x == 0.3, 2.0, x),
    "one or the other": lambda xp, x: xp.where((x < 0.5) | (x > 1.2), x, x * x),
    "both": lambda xp, x: xp.where((x > 0.5) & (x < 1.2), x, x * x),
    "no maximum with 0": lambda xp, x: xp.where(x <= 0.3, 0.0, x) + xp.where(x <= 0.0, 0.3, x),
    "the branches exchanged": lambda xp, x: xp.where(x > 0.7, 0.0, 1.0) + xp.where(x > 0.7, 1.0, 0.0),
    "a count": lambda xp, x: (x > 0.5) + (x > 0.9) + ((x > 1.3) + 1.0),
    "masks multiplied": lambda xp, x: (x > 0.5) * (x < 1.3) * 3.0,
    "a mask itself": lambda xp, x: x > 0.8,
    "a negative mask": lambda xp, x: -(x > 0.8) - (x > 0.9),
    "functions of a mask": lambda xp, x: xp.exp(x > 0.8) + xp.sigmoid(x < 0.9) + xp.power(x > 0.8, 2.0) + abs(x > 1.0),
    "the larger of two masks": lambda xp, x: xp.maximum(x > 0.8, x > 1.2) - xp.minimum(x > 0.8, x > 1.2),
    "masks compared": lambda xp, x: xp.where((x > 0.5) == (x > 1.0), x, 2.0 * x),
}
