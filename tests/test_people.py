"""Programs as people bring them run with only the class exchanged, and give the numbers that they gave.

Each program takes the class `Value`. `Theirs` is such a class as the lectures and the short scalar GPTs
have it: grads that start at 0, children and closures, recursion. It shares nothing with this package.
"""

import itertools
import math
import random
import threading
import warnings

import numpy as np
import pytest

from microgradlike import Value, constant, operation, vectorize
from microgradlike import sum as sum_of


class Theirs:
    def __init__(self, data, children=(), op="", slopes=(), label=""):
        self.data, self.grad, self.label = data, 0, label
        self._prev, self._op, self._inputs, self._slopes = set(children), op, children, slopes

    def _backward(self):
        for child, slope in zip(self._inputs, self._slopes, strict=True):
            child.grad += slope * self.grad

    @staticmethod
    def _of(x):
        return x if isinstance(x, Theirs) else Theirs(x)

    def __add__(self, other):
        other = self._of(other)
        return Theirs(self.data + other.data, (self, other), "+", (1, 1))

    def __mul__(self, other):
        other = self._of(other)
        return Theirs(self.data * other.data, (self, other), "*", (other.data, self.data))

    def __pow__(self, n):
        return Theirs(self.data**n, (self,), f"**{n}", (n * self.data ** (n - 1),))

    def exp(self):
        return Theirs(math.exp(self.data), (self,), "exp", (math.exp(self.data),))

    def log(self):
        return Theirs(math.log(self.data), (self,), "log", (1 / self.data,))

    def tanh(self):
        t = math.tanh(self.data)
        return Theirs(t, (self,), "tanh", (1 - t * t,))

    def relu(self):
        return Theirs(max(0, self.data), (self,), "ReLU", (float(self.data > 0),))

    def __neg__(self):
        return self * -1

    def __sub__(self, other):
        return self + (-other)

    def __rsub__(self, other):
        return other + (-self)

    def __truediv__(self, other):
        return self * other**-1

    def __rtruediv__(self, other):
        return other * self**-1

    __radd__, __rmul__ = __add__, __mul__

    def backward(self):
        topo, seen = [], set()

        def build(v):
            if v not in seen:
                seen.add(v)
                for child in v._prev:
                    build(child)
                topo.append(v)

        build(self)
        self.grad = 1
        for v in reversed(topo):
            v._backward()


# ── A scalar GPT, its variants, and Adam written inline ────────────────────────────────────────

DOCUMENTS = ["ada", "bea", "dab", "cede"]
LETTERS = sorted(set("".join(DOCUMENTS)))
END = len(LETTERS)
EMBEDDING, HEADS, LENGTH = 4, 2, 5


def gelu(x):
    u = 0.79788456 * (x + 0.044715 * x**3)
    return 0.5 * x * (1 + u.tanh())


def linear(x, w):
    return [sum(wi * xi for wi, xi in zip(row, x, strict=True)) for row in w]


def softmax(logits):
    top = max(v.data for v in logits)
    exps = [(v - top).exp() for v in logits]
    total = sum(exps)
    return [e / total for e in exps]


def rmsnorm(x):
    scale = (sum(xi * xi for xi in x) / len(x) + 1e-5) ** -0.5
    return [xi * scale for xi in x]


def rotate(x, position):
    """RoPE: pairs are turned by the position."""
    turned = []
    for i in range(0, len(x), 2):
        c, s = math.cos(position / 10**i), math.sin(position / 10**i)
        turned += [x[i] * c - x[i + 1] * s, x[i] * s + x[i + 1] * c]
    return turned


def gpt(Value, activation="relu", experts=0, rope=False, lora=0, steps=5):
    """The losses of a few steps of training, and each parameter afterwards."""
    rng = random.Random(7)

    def matrix(rows, columns):
        return [[Value(rng.gauss(0, 0.2)) for _ in range(columns)] for _ in range(rows)]

    n = EMBEDDING
    state = {"wte": matrix(END + 1, n), "wpe": matrix(LENGTH, n), "head": matrix(END + 1, n)}
    state |= {name: matrix(n, n) for name in ("wq", "wk", "wv", "wo")}
    for e in range(max(1, experts)):
        state |= {f"up{e}": matrix(4 * n, n), f"down{e}": matrix(n, 4 * n)}
    if experts:
        state["router"] = matrix(experts, n)
    if lora:
        state |= {"lora_a": matrix(lora, n), "lora_b": matrix(n, lora)}
    params = [p for table in state.values() for row in table for p in row]
    if lora:  # the rest is frozen
        params = [p for name in ("lora_a", "lora_b") for row in state[name] for p in row]
    act = {"relu": lambda x: x.relu(), "squared": lambda x: x.relu() ** 2, "gelu": gelu}[activation]

    def mlp(x, e):
        return linear([act(h) for h in linear(x, state[f"up{e}"])], state[f"down{e}"])

    def forward(token, position, keys, values):
        x = state["wte"][token]
        x = x if rope else [t + p for t, p in zip(x, state["wpe"][position], strict=True)]
        x = rmsnorm(x)
        q, k, v = (linear(x, state[name]) for name in ("wq", "wk", "wv"))
        if lora:
            q = [a + b for a, b in zip(q, linear(linear(x, state["lora_a"]), state["lora_b"]), strict=True)]
        if rope:
            q, k = rotate(q, position), rotate(k, position)
        keys.append(k)
        values.append(v)
        mixed, size = [], n // HEADS
        for h in range(HEADS):
            here = slice(h * size, (h + 1) * size)
            scores = [sum(a * b for a, b in zip(q[here], k[here], strict=True)) / size**0.5 for k in keys]
            weights = softmax(scores)
            mixed += [sum(w * v[here][j] for w, v in zip(weights, values, strict=True)) for j in range(size)]
        x = [a + b for a, b in zip(x, linear(mixed, state["wo"]), strict=True)]
        if experts:
            gates = softmax(linear(x, state["router"]))
            best = max(range(experts), key=lambda e: gates[e].data)
            y = [gates[best] * h for h in mlp(x, best)]
        else:
            y = mlp(x, 0)
        return linear([a + b for a, b in zip(x, y, strict=True)], state["head"])

    m, v = [0.0] * len(params), [0.0] * len(params)
    losses = []
    for step in range(steps):
        tokens = [END, *map(LETTERS.index, DOCUMENTS[step % len(DOCUMENTS)]), END]
        keys, values, terms = [], [], []
        for position in range(min(LENGTH, len(tokens) - 1)):
            probabilities = softmax(forward(tokens[position], position, keys, values))
            terms.append(-probabilities[tokens[position + 1]].log())
        loss = (1 / len(terms)) * sum(terms)
        loss.backward()
        rate = 0.05 * (1 - step / steps)
        for i, p in enumerate(params):  # also those that no gradient has reached yet
            m[i] = 0.85 * m[i] + 0.15 * p.grad
            v[i] = 0.99 * v[i] + 0.01 * p.grad**2
            p.data -= rate * (m[i] / (1 - 0.85 ** (step + 1))) / ((v[i] / (1 - 0.99 ** (step + 1))) ** 0.5 + 1e-8)
            p.grad = 0
        losses.append(loss.data)
    return losses, [p.data for p in params]


# ── Others ─────────────────────────────────────────────────────────────────────────────────────


def bigrams(Value):
    """Rows of weights picked by letter, exponentials as counts, the loss with a mean of squares."""
    rng = random.Random(3)
    w = [[Value(rng.uniform(-1, 1)) for _ in range(END + 1)] for _ in range(END + 1)]
    pairs = [
        (a, b)
        for d in DOCUMENTS
        for a, b in zip([END, *map(LETTERS.index, d)], [*map(LETTERS.index, d), END], strict=True)
    ]
    losses = []
    for _ in range(6):
        loss = 0
        for a, b in pairs:
            counts = [logit.exp() for logit in w[a]]
            loss += -(counts[b] / sum(counts)).log()
        flat = [p for row in w for p in row]
        loss = loss / len(pairs) + 0.01 * sum(p**2 for p in flat) / len(flat)
        for p in flat:
            p.grad = 0.0
        loss.backward()
        for p in flat:
            p.data += -5.0 * p.grad
        losses.append(loss.data)
    return losses, [p.data for p in flat]


def recurrent(Value):
    """A tiny RNN over the letters, gradients clipped, momentum in a dictionary of parameters."""
    rng = random.Random(5)
    size = 3
    wx, wh, wy = (
        [[Value(rng.uniform(-0.5, 0.5)) for _ in range(n)] for _ in range(m)]
        for m, n in [(size, END + 1), (size, size), (END + 1, size)]
    )
    b = [Value(0.0) for _ in range(size)]
    params = [p for table in (wx, wh, wy) for row in table for p in row] + b
    momentum = dict.fromkeys(params, 0.0)
    losses = []
    for step in range(5):
        h = [Value(0.0) for _ in range(size)]
        letters = [*map(LETTERS.index, DOCUMENTS[step % 4])]
        loss = Value(0.0)
        for this, following in zip([END, *letters], [*letters, END], strict=True):
            h = [(wx[i][this] + sum(w * hj for w, hj in zip(wh[i], h, strict=True)) + b[i]).tanh() for i in range(size)]
            loss = loss - softmax(linear(h, wy))[following].log()
        loss.backward()
        for p in params:
            clipped = max(-1.0, min(1.0, p.grad))
            momentum[p] = 0.9 * momentum[p] + clipped
            p.data -= 0.1 * momentum[p]
            p.grad = 0.0
        losses.append(loss.data)
    return losses, [p.data for p in params]


def lecture(Value):
    """The neuron of the lecture: gradients set by hand, backward node by node, and its drawing code."""
    x1, x2 = Value(2.0, label="x1"), Value(0.0, label="x2")
    w1, w2 = Value(-3.0, label="w1"), Value(1.0, label="w2")
    b = Value(6.8813735870195432, label="b")
    x1w1, x2w2 = x1 * w1, x2 * w2
    x1w1.label, x2w2.label = "x1*w1", "x2*w2"
    both = x1w1 + x2w2
    both.label = "x1*w1 + x2*w2"
    n = both + b
    n.label = "n"
    o = n.tanh()
    o.label = "o"
    before = drawn(o)
    o.grad = 1.0
    for node in (o, n, b, both, x1w1, x2w2):
        node._backward()
    by_hand = [v.grad for v in (x1, w1, x2, w2, b)]
    after = drawn(o)
    for v in (x1, w1, x2, w2, b, n, both, x1w1, x2w2):
        v.grad = 0.0
    topo, visited = [], []

    def build(v):
        if v not in visited:  # a list, as some write it
            visited.append(v)
            for child in v._prev:
                build(child)
            topo.append(v)

    build(o)
    o.grad = 1.0
    for node in reversed(topo):
        node._backward()
    return [o.data, *by_hand, *(v.grad for v in (x1, w1, x2, w2, b)), len(topo)], [before, after]


def drawn(root):
    """What the drawing code of the lectures would give to Graphviz: boxes, operations, edges."""
    nodes, edges = set(), set()

    def build(v):
        if v not in nodes:
            nodes.add(v)
            for child in v._prev:
                edges.add((child, v))
                build(child)

    build(root)
    boxes = sorted(f"{n.label} | data {n.data:.4f} | grad {n.grad:.4f}" for n in nodes)
    operations = sorted(n.label for n in nodes if n._op)
    return boxes, operations, sorted((a.label, b.label) for a, b in edges)


PROGRAMS = {
    "gpt": gpt,
    "gpt, squared ReLU": lambda Value: gpt(Value, "squared"),
    "gpt, GELU": lambda Value: gpt(Value, "gelu"),
    "gpt, two experts": lambda Value: gpt(Value, experts=2),
    "gpt, GELU, three experts, RoPE": lambda Value: gpt(Value, "gelu", experts=3, rope=True),
    "gpt, LoRA on frozen weights": lambda Value: gpt(Value, lora=2),
    "bigrams": bigrams,
    "recurrent": recurrent,
    "lecture": lecture,
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_with_only_the_class_exchanged_the_numbers_are_the_same(name):
    (theirs, theirs_after), (ours, ours_after) = PROGRAMS[name](Theirs), PROGRAMS[name](Value)
    assert ours == pytest.approx(theirs, rel=1e-12, abs=1e-12)
    if isinstance(theirs_after[0], float):
        assert ours_after == pytest.approx(theirs_after, rel=1e-9, abs=1e-9)
    else:
        assert ours_after == theirs_after
    assert name == "lecture" or theirs[-1] < theirs[0] * 1.2


def test_a_drawing_that_collects_nodes_in_a_list_shows_all_of_them():
    a, b = Value(1.0), Value(1.0)
    root = a * b + a * b  # 1, 1, 1, 1 and 2: as numbers, two different ones
    nodes = []

    def collect(v):
        if v not in nodes:
            nodes.append(v)
            for child in v._prev:
                collect(child)

    collect(root)
    assert len(nodes) == 5


def test_gelu_as_an_operation_of_ones_own():
    k = math.sqrt(2 / math.pi)

    def value(xp, x):
        return 0.5 * x * (1.0 + xp.tanh(k * (x + 0.044715 * x * x * x)))

    def slope(xp, y, x):
        t = xp.tanh(k * (x + 0.044715 * x * x * x))
        return 0.5 * (1.0 + t) + 0.5 * x * (1.0 - t * t) * k * (1.0 + 3 * 0.044715 * x * x)

    own = operation("gelu", value, slope)
    for x in (-3.0, -0.5, 0.0, 1.5):
        a, b = Value(x), Value(x)
        own(a).backward()
        (0.5 * b * (1 + (k * (b + 0.044715 * b**3)).tanh())).backward()
        assert a.grad == pytest.approx(b.grad, rel=1e-12)


# ── The recipes for such programs, in `help(vectorize)` ────────────────────────────────────────


def test_rows_picked_by_token_and_documents_of_different_lengths_as_a_program():
    """Tokens as one-hot batch leaves, weights on the positions: one program for all documents."""
    rng = random.Random(1)
    n, length = 3, 5
    table = [[Value(rng.gauss(0, 1), f"t{i}{j}") for j in range(n)] for i in range(END + 1)]
    head = [[Value(rng.gauss(0, 1), f"h{i}{j}") for j in range(n)] for i in range(END + 1)]

    recorded = []

    def nll(x, target):
        logits = [sum_of(w * xi for w, xi in zip(row, x, strict=True)) for row in head]
        recorded.append(logits)
        return -sum_of(y * (z - sum_of(z.exp() for z in logits).log()) for y, z in zip(target, logits, strict=True))

    inputs, targets = ([[Value(0.0) for _ in range(END + 1)] for _ in range(length)] for _ in range(2))
    weights = [Value(0.0) for _ in range(length)]

    def loss():
        rows = [
            [sum_of(o * row[j] for o, row in zip(onehot, table, strict=True)) for j in range(n)] for onehot in inputs
        ]
        return sum_of(w * nll(x.copy(), y) for w, x, y in zip(weights, rows, targets, strict=True))

    program = vectorize(loss, batch=[inputs, targets, weights])
    batch = np.zeros((3, len(DOCUMENTS), length, END + 1))
    for d, document in enumerate(DOCUMENTS):
        tokens = [END, *map(LETTERS.index, document), END]
        for position in range(len(tokens) - 1):
            batch[0, d, position, tokens[position]] = batch[1, d, position, tokens[position + 1]] = 1
            batch[2, d, position, 0] = 1 / (len(tokens) - 1)
    losses = program(batch[0], batch[1], batch[2, :, :, 0])
    found = program.values(recorded[:length], batch[0], None, None)
    for document, got, logits in zip(DOCUMENTS, losses, found, strict=True):
        tokens = [END, *map(LETTERS.index, document), END]
        terms = []
        for this, following in itertools.pairwise(tokens):
            target = [float(i == following) for i in range(END + 1)]
            terms.append(nll(table[this], target))
        assert got == pytest.approx((sum(terms) / len(terms)).data, rel=1e-12)
        scalar = [[z.data for z in each] for each in recorded[-len(terms) :]]
        np.testing.assert_allclose(logits[: len(terms)], scalar, rtol=1e-12, atol=1e-15)


# ── What a recorded loss freezes is said ───────────────────────────────────────────────────────


def branch(a, b, x):
    return a * x if x.data > 0 else b * x  # HERE


def routed(a, b, x):
    gates = [(a * x).exp(), (b * x).exp()]
    best = max(range(2), key=lambda e: gates[e].data)  # HERE
    return gates[best]


def shifted(a, b, x):
    top = max(v.data for v in (a * x, b * x))  # HERE
    return (a * x - top).exp() + (b * x - top).exp()


def nested(a, b, x):
    return branch(a, b, x) + shifted(a, b, x)


def own_text(a, b, x):
    assert f"{x} {x:.2f} {x!r}"  # to print is no harm
    return a * x + b


def compared(a, b, x):
    return a * x if x > 0 else b * x


def constants(a, b, x):
    return a * x * constant(2.0).data + b


FREEZING = {
    branch: 1,
    routed: 1,
    shifted: 1,
    nested: 2,
    own_text: 0,
    compared: 0,
    constants: 0,
    lambda a, b, x: a + b * x: 0,
}


@pytest.mark.parametrize("f", FREEZING, ids=lambda f: f.__name__)
def test_one_warning_lists_the_lines_that_read_numbers(f):
    a, b, x = Value(2.0, "a"), Value(10.0, "b"), Value(1.0, "x")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        vectorize(lambda: f(a, b, x), batch=[[x]])
    assert len(caught) == min(1, FREEZING[f])
    if caught:
        text = str(caught[0].message)
        assert text.count("# HERE") == FREEZING[f] and text.count("test_people.py:") == FREEZING[f]
        assert caught[0].filename == __file__


def test_reads_in_other_threads_and_of_a_recorded_loss_are_not_reported():
    x = Value(1.0)
    going, seen = threading.Event(), threading.Event()

    def read():
        going.wait(20)
        assert x.data == 1.0
        seen.set()

    def loss():
        going.set()
        assert seen.wait(20)
        return x * x

    thread = threading.Thread(target=read)
    thread.start()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        vectorize(loss, batch=[[x]])
        thread.join()
        if x.data > 0:
            vectorize(x * 2.0, batch=[[x]])
