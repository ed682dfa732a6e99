"""Random programs, written as users write them: Python text that any engine can run, at any numbers.

A program is text, so that the same program is recorded anew for every sample, run by another engine
(`fuzz.py` has one for JAX), shortened line by line until only the fault is left, and printed. Nothing
here knows how `vectorize` works; it knows what people write: loops, nested lists, `sum`, networks,
the same weights in several places, derivatives inside the loss.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise, product
from types import CodeType
from typing import Any

from microgradlike import (
    Value,
    affine,
    dot,
    gradient,
    log_softmax,
    logsumexp,
    maximum,
    maxout,
    minimum,
    nn,
    operation,
    softmax,
)
from microgradlike import sum as sum_

Leaf = tuple[str, tuple[int, ...]]  # ("W", (0, 2)) is W[0][2]


@dataclass(frozen=True)
class Program:
    """`text` computes the variables `losses` from its leaves: `shapes` has a number, vector or matrix for each name."""

    text: str
    shapes: dict[str, tuple[int, ...]]
    losses: tuple[str, ...] = ("loss",)

    @cached_property
    def code(self) -> CodeType:
        return compile(self.text, "<random program>", "exec")

    @property
    def leaves(self) -> list[Leaf]:
        return [(name, path) for name, shape in self.shapes.items() for path in product(*map(range, shape))]

    def run(self, engine: dict[str, Any], leaf: Callable[[Leaf], Any]) -> list[Any]:
        """The losses, as an engine computes them from these leaves."""
        names = self.variables(engine, leaf)
        return [names[loss] for loss in self.losses]

    def variables(self, engine: dict[str, Any], leaf: Callable[[Leaf], Any]) -> dict[str, Any]:
        """What the program's variables hold at its end, and the engine."""
        names = {name: self.nested(name, leaf) for name in self.shapes} | engine
        exec(self.code, names)
        return names

    def nested(self, name: str, leaf: Callable[[Leaf], Any], path: tuple[int, ...] = ()) -> Any:
        """What a name stands for: a leaf, or lists of leaves."""
        shape = self.shapes[name]
        if len(path) == len(shape):
            return leaf((name, path))
        return [self.nested(name, leaf, (*path, i)) for i in range(shape[len(path)])]

    def listing(self, number: Callable[[Leaf], float]) -> str:
        """The program as a file that runs in the folder of this module."""
        header = ["from programs import VALUES, Value", "globals().update(VALUES)"]
        header += [f"{name} = {self.nested(name, lambda v: _Text(f'Value({number(v)!r})'))}" for name in self.shapes]
        return "\n".join([*header, self.text])


class _Text(str):
    __repr__ = str.__str__


# ── The engine of the programs: this library ───────────────────────────────────────────────────

cube = operation("cube", lambda xp, x: x * x * x, lambda xp, y, x: 3.0 * x * x)
threshold = operation(
    "threshold", lambda xp, x: xp.where(x <= 0.25, 0.0, x), lambda xp, y, x: xp.where(x <= 0.25, 0.0, 1.0)
)
outside = operation(
    "outside",
    lambda xp, x: xp.where((x < -0.5) | (x > 1.0), x * x, 0.0),
    lambda xp, y, x: xp.where((x < -0.5) | (x > 1.0), 2.0 * x, 0.0),
)
hypot = operation(
    "hypot",
    lambda xp, a, b: xp.sqrt(a * a + b * b + 1.0),
    lambda xp, y, a, b: (xp.divide(a, y), xp.divide(b, y)),
)
second_moment = operation(
    "second_moment",
    lambda xp, *x: xp.sum([v * v for v in x]) / len(x),
    lambda xp, y, *x: tuple(2.0 * v / len(x) for v in x),
)
inside = operation(
    "inside",
    lambda xp, x: xp.where((x >= -1.0) & (x < 0.5), x, 0.0),
    lambda xp, y, x: xp.where((x >= -1.0) & (x < 0.5), 1.0, 0.0),
)
nonzero = operation("nonzero", lambda xp, x: xp.where(x, 1.0, 0.0), lambda xp, y, x: 0.0)


def _bent(xp: Any, x: Any) -> Any:
    return xp.tanh(0.8 * (x + 0.05 * x * x * x))


gelu = operation(
    "gelu",
    lambda xp, x: 0.5 * x * (1.0 + _bent(xp, x)),
    lambda xp, y, x: 0.5 * (1.0 + _bent(xp, x)) + 0.4 * x * (1.0 - xp.power(_bent(xp, x), 2.0)) * (1.0 + 0.15 * x * x),
)
CUSTOM = ["cube", "threshold", "outside", "inside", "nonzero", "gelu"]


def network(parameters: Iterable[Value], sizes: list[int], activation: str, output: str) -> nn.MLP:
    """An MLP whose weights and biases are these leaves."""
    model, numbers = nn.MLP(sizes[0], sizes[1:], activation, output, seed=0), iter(parameters)
    for layer in model.layers:
        for neuron in layer.neurons:
            if isinstance(neuron.b, list):
                neuron.w = [[next(numbers) for _ in w] for w in neuron.w]
                neuron.b = [next(numbers) for _ in neuron.b]
            else:
                neuron.w, neuron.b = [next(numbers) for _ in neuron.w], next(numbers)
    return model


VALUES: dict[str, Any] = {
    "affine": affine, "dot": dot, "sum_": sum_, "logsumexp": logsumexp, "maxout": maxout, "maximum": maximum,
    "minimum": minimum, "softmax": softmax, "log_softmax": log_softmax, "gradient": gradient, "network": network,
    "quadratic": nn.quadratic, "mean_squared_error": nn.mean_squared_error, "cross_entropy": nn.cross_entropy,
    "cube": cube, "threshold": threshold, "outside": outside, "hypot": hypot, "second_moment": second_moment,
    "inside": inside, "nonzero": nonzero, "gelu": gelu, "decide": bool,
}  # fmt: skip


def record(program: Program, number: Callable[[Leaf], float], **names: Any) -> tuple[dict[Leaf, Value], list[Value]]:
    """The program's leaves, and its losses recorded at these numbers."""
    leaves = {leaf: Value(number(leaf)) for leaf in program.leaves}
    return leaves, program.run(VALUES | names, leaves.__getitem__)


# ── Writing programs ───────────────────────────────────────────────────────────────────────────

UNARY = ["tanh", "sigmoid", "relu", "leaky_relu", "elu", "softplus", "sin", "cos", "exp", "abs", "neg", "square"]
ACTIVATIONS = ["tanh", "sigmoid", "relu", "leaky_relu", "elu", "softplus", "sin"]


@dataclass
class Writer:
    """Writes the lines of a program; `pool` has the scalars it has so far, as text."""

    rng: random.Random
    lines: list[str] = field(default_factory=list)
    shapes: dict[str, tuple[int, ...]] = field(default_factory=dict)
    pool: list[str] = field(default_factory=list)
    branches: bool = False
    count: int = 0

    def leaf(self, letter: str, *shape: int) -> str:
        """A new leaf, vector or matrix of leaves."""
        self.count += 1
        name = f"{letter}{self.count}"
        self.shapes[name] = shape
        return name

    def let(self, expression: str) -> str:
        """A new variable."""
        self.count += 1
        self.lines.append(f"t{self.count} = {expression}")
        return f"t{self.count}"

    def entries(self, name: str) -> list[str]:
        """The scalars of a leaf, as text."""
        return [name + "".join(f"[{i}]" for i in path) for path in product(*map(range, self.shapes[name]))]

    def pick(self, *from_: str) -> str:
        """One of the scalars, the latest rather than old ones."""
        pool = from_ or self.pool
        return self.rng.choice(pool[-10:] if self.rng.random() < 0.5 else pool)

    def some(self, pool: list[str], low: int, high: int) -> list[str]:
        """So many scalars, in any order, some perhaps again and again."""
        n = self.rng.randint(low, high)
        return self.rng.sample(pool, min(n, len(pool))) if self.rng.random() < 0.6 else self.rng.choices(pool, k=n)

    def number(self) -> str:
        """A plain number, mostly one that a leaf may have as well."""
        return self.rng.choice(["0.5", "2", "2.0", "-1.0", "3", "0.25", "1", "0.1"])

    def unary(self, a: str) -> str:
        """A function of a scalar."""
        match self.rng.choice(UNARY + ["custom"] * 2 + ["guarded"] * 2):
            case "abs":
                return f"abs({a})"
            case "neg":
                return f"-{a}"
            case "square":
                return f"{a}**2"
            case "exp":
                return f"{a}.tanh().exp()"
            case "guarded":
                return self.rng.choice([f"(abs({a}) + 0.5).log()", f"(abs({a}) + 0.5).sqrt()", f"({a}*{a} + 0.5)**-0.5",
                                        f"(abs({a}) + 0.5)**{self.number()}", f"1 / ({a}**2 + 1)"])  # fmt: skip
            case "custom":
                return f"{self.rng.choice(CUSTOM)}({a})"
            case "leaky_relu":
                return f"{a}.leaky_relu({self.rng.choice(['', '0.25', '0.5'])})"
            case name:
                return f"{a}.{name}()"

    def binary(self, a: str, b: str) -> str:
        """A function of two scalars."""
        return self.rng.choice(
            [f"{a} + {b}", f"{a} - {b}", f"{a} * {b}", f"{a} * {b}", f"maximum({a}, {b})", f"minimum({a}, {b})",
             f"{a} / (abs({b}) + 0.5)", f"(abs({a}) + 0.5)**{b}.tanh()", f"hypot({a}, {b})", f"{self.number()} * {a} - {b}",
             f"({a} - {b})**2"]
        )  # fmt: skip

    def several(self, terms: list[str]) -> str:
        """A function of several scalars."""
        listed, half = ", ".join(terms), len(terms) // 2
        first, last = ", ".join(terms[:half]), ", ".join(terms[half : 2 * half])
        forms = [f"sum([{listed}])", f"sum_([{listed}])", f"maxout([{listed}])", f"logsumexp([{listed}])",
                 f"second_moment({listed})", f"softmax([{listed}])[{self.rng.randrange(len(terms))}]",
                 self.signed(terms), " * ".join(terms[:3])]  # fmt: skip
        if half:
            forms += [f"dot([{first}], [{last}])", f"affine([{first}], [{last}], {self.pick(*terms)})"] * 2
        return self.rng.choice(forms)

    def signed(self, terms: list[str]) -> str:
        """A sum with signs, written out by hand."""
        text = terms[0] if self.rng.random() < 0.8 else f"-{terms[0]}"
        for term in terms[1:]:
            times = f"{self.number()} * " if self.rng.random() < 0.15 else ""
            text += f" {self.rng.choice('+-')} {times}{term}"
        return f"({text})"

    def accessed(self, pool: list[str], n: int) -> list[str]:
        """n of the scalars, read in one of the ways in which loops read lists."""
        m, r = len(pool), self.rng
        start, step = r.randrange(m), r.randint(1, 4)
        ways = [
            lambda i: i % m,
            lambda i: (n - 1 - i) % m,
            lambda i: (start + i * step) % m,
            lambda i: i // step % m,
            lambda i: start,
            lambda i: r.randrange(m),
        ]
        return [pool[j] for j in map(r.choice(ways), range(n))]

    def derivatives(self) -> None:
        """Derivatives of something, as scalars to go on with."""
        leaves = [e for name in self.shapes for e in self.entries(name)]
        of = self.pick()
        if of in leaves:
            of = self.let(f"{of}.tanh() * {self.pick()}")
        between = [v for v in self.pool[-6:] if v.isidentifier() and v != of]  # also by what is computed on the way
        by = self.some(leaves + between if self.rng.random() < 0.3 else leaves, 1, 3)
        name = self.let(f"gradient({of}, [{', '.join(by)}])")
        entries = [f"{name}[{i}]" for i in range(len(by))]
        if self.rng.random() < 0.4:
            self.pool.append(self.let(f"sum(g**2 for g in {name})"))
        self.pool += entries

    def program(self) -> Program:
        """The program, its losses made of the last scalars."""
        losses = []
        for _ in range(2 if self.rng.random() < 0.15 else 1):
            terms = self.some(self.pool[-12:], 1, 5)
            text = self.several(terms) if self.rng.random() < 0.9 else self.signed(terms)
            losses.append(self.let(text + self.rng.choice(["", "", " * 1", " / 4", " + 0.0"])))
        for name in self.rng.sample(self.pool, len(self.pool) // 6):
            if name.isidentifier():  # what has a name is kept, and shown under it
                self.lines.append(f"{name}.label = {self.rng.choice(['h', 'z', 'z¹', name])!r}")
        return Program("\n".join(self.lines), dict(self.shapes), tuple(losses))


# ── Kinds of programs ──────────────────────────────────────────────────────────────────────────


def formulas(w: Writer) -> None:
    """Scalars of all kinds, one after the other."""
    for name in ("p", "x", "q")[: w.rng.randint(1, 3)]:
        w.pool += w.entries(w.leaf(name, w.rng.randint(1, 4)))
    for _ in range(w.rng.randint(2, 25)):
        kind = w.rng.random()
        if kind < 0.35:
            w.pool.append(w.let(w.unary(w.pick())))
        elif kind < 0.75:
            w.pool.append(w.let(w.binary(w.pick(), w.pick())))
        elif kind < 0.95:
            w.pool.append(w.let(w.several(w.some(w.pool, 1, 5))))
        elif w.branches:
            a, b = w.pick(), w.pick()
            choice = w.rng.choice(["{a} if decide({a} > {b}) else {b} * 2", "{a} * {b} if decide({a} != 1) else {b}"])
            w.pool.append(w.let(choice.format(a=a, b=b)))


CELLS = [
    "({a} * {b}).tanh()", "{a} * {b}", "{a} - {b}", "{a} / {b}", "{b} / {a}", "{a}.tanh()", "{a}.tanh() - {b}.tanh()",
    "{a} * {b} + {c}", "({a} * {b} + {c}).relu()", "({a} - {b})**2", "-{a}", "{a}.exp()", "maximum({a}, {b})",
    "{a} * {b} - {c} * {d}", "({a} + {b}) * ({c} - {d})", "threshold({a})", "outside({a} - {b})", "inside({a} + {b})", "nonzero({a}) * {b}", "hypot({a}, {b})",
    "{a} * {a}", "{a}**2 * {b}", "abs({a} - {b})", "2 * {a} - {b}", "{a} * 0.5", "{a} * {b} * {c}", "{a} + 1",
    "logsumexp([{a}, {b}])", "maxout([{a}, {b}, {c}])", "dot([{a}, {b}], [{c}, {d}])", "({a} / {b} - {b} / {a}).sin()",
    "maxout([{a}, 0.5])", "logsumexp([{a}, 1.0, {b}])", "sum_([{a}, {b}, {a}])", "sum_([0.5, {a}])", "gelu({a})",
]  # fmt: skip


def cells(w: Writer) -> None:
    """Many nodes of a few kinds, joined with signs, orders and numbers of their own."""
    r = w.rng
    lists = [w.entries(w.leaf(letter, r.randint(2, 5))) for letter in r.sample(["p", "q", "x", "y"], r.randint(1, 3))]
    if r.random() < 0.3:
        lists.append(w.entries(w.leaf("W", r.randint(2, 3), r.randint(2, 4))))
    for _ in range(r.randint(1, 3)):
        made = []
        for cell in r.sample(CELLS, r.randint(1, 3)):
            n = r.choice([1, 2, 3, 4, 4, 6, 12] if r.random() < 0.95 else [24, 40, 64])
            operands = {letter: w.accessed(r.choice(lists), n) for letter in "abcd"}
            made.append([w.let(cell.format(**{key: o[i] for key, o in operands.items()})) for i in range(n)])
        lists += made
        joined = []
        for _ in range(r.randint(0, 5)):
            terms = [term for each in r.choices(made, k=r.randint(1, 3)) for term in w.some(each, 1, 4)]
            r.shuffle(terms)
            joined.append(w.let(r.choice([w.signed(terms), w.several(terms), w.several(terms)])))
        if joined:
            lists.append(joined)
    w.pool = [term for each in lists for term in each]
    if r.random() < 0.5:
        w.pool += [w.let(w.unary(w.pick())) for _ in range(r.randint(1, 4))]


def dense(w: Writer, x: str, n: int) -> tuple[str, int]:
    """A layer on the vector called x, in one of many ways to write it."""
    m, r = w.rng.randint(1, 4), w.rng
    W, b = w.leaf("W", m, n), w.leaf("b", m)
    z = r.choice(
        [f"affine(w, {x}, b)", f"dot(w, {x}) + b", f"sum(wi * xi for wi, xi in zip(w, {x})) + b", f"dot({x}, w) - b",
         f"sum((xi * wi for wi, xi in zip(w, {x})), b)", f"b - sum_([wi * xi for wi, xi in zip(w, {x})])",
         f"sum_([b, *(wi * xi for wi, xi in zip(w[::-1], {x}[::-1]))])", f"b + sum(wi * (xi - b) for wi, xi in zip(w, {x}))"]
    )  # fmt: skip
    return w.let(f"[({z}){activation(w)} for w, b in zip({W}, {b})]"), m


def activation(w: Writer) -> str:
    """`.tanh()` and its like, or nothing."""
    return w.rng.choice([f".{name}()" for name in ACTIVATIONS] + ["", " * 0.5", ".tanh() * 2 - 1", "**2 / 4"])


def networks(w: Writer) -> None:
    """Layers on vectors that come from one or several inputs; weights used twice; sequences; grids."""
    r = w.rng
    n = r.randint(1, 4)
    inputs = [w.leaf("x", n) for _ in range(r.randint(1, 3))]
    vectors = [(x, n) for x in inputs]
    for _ in range(r.randint(1, 4)):
        x, n = r.choice(vectors[-3:])
        same = [v for v, m in vectors if m == n]
        y = r.choice(same)
        match r.choice(["dense", "dense", "two", "siamese", "recurrent", "attention", "convolution", "mixing", "norm",
                        "outer", "pairs", "softmax", "embedding", "tied", "ragged", "mlp", "maxout", "hole"]):  # fmt: skip
            case "dense":
                vectors.append(dense(w, x, n))
            case "two":
                m, W, U = r.randint(1, 3), None, None
                y, k = r.choice(vectors)
                W, U, b = w.leaf("W", m, n), w.leaf("U", m, k), w.leaf("b", m)
                sign = r.choice("+-")
                vectors.append(
                    (
                        w.let(
                            f"[(dot(w, {x}) {sign} dot(u, {y}) + b){activation(w)} for w, u, b in zip({W}, {U}, {b})]"
                        ),
                        m,
                    )
                )
            case "siamese":
                m, act = r.randint(1, 3), activation(w)
                W, b = w.leaf("W", m, n), w.leaf("b", m)
                twins = [w.let(f"[affine(w, {v}, b){act} for w, b in zip({W}, {b})]") for v in same[:3]]
                vectors += [(v, m) for v in twins]
                if len(twins) > 1:
                    w.pool.append(w.let(f"sum((a - b)**2 for a, b in zip({twins[0]}, {twins[1]}))"))
                if len(twins) > 2:
                    w.pool.append(w.let(f"(dot({twins[0]}, {twins[1]}) - dot({twins[0]}, {twins[2]}) + 0.5).relu()"))
            case "recurrent":
                m = r.randint(1, 3)
                W, U, b, h = w.leaf("W", m, n), w.leaf("U", m, m), w.leaf("b", m), f"h{w.count}"
                start = r.choice(["0.0", f"{b}[0]", f"{x}[0]"])
                w.lines += [f"{h} = [{start}] * {m}", f"for x in [{', '.join(same)}]:",
                            f"    {h} = [(affine(w, x, b) + dot(u, {h})){activation(w)} for w, u, b in zip({W}, {U}, {b})]"]  # fmt: skip
                vectors.append((h, m))
            case "attention":
                rows, m, causal = w.let(f"[{', '.join(same)}]"), r.randint(1, 2), r.random() < 0.5
                q, k, v = (w.let(f"[[dot(w, x) for w in {w.leaf(letter, m, n)}] for x in {rows}]") for letter in "QKV")
                seen = "range(t + 1)" if causal else f"range({len(same)})"
                t = w.let(f"[softmax([dot({q}[t], {k}[u]) * 0.5 for u in {seen}]) for t in range({len(same)})]")
                o = w.let(
                    f"[[dot({t}[t], [{v}[u][d] for u in {seen}]) for d in range({m})] for t in range({len(same)})]"
                )
                vectors += [(w.let(f"{o}[{i}]"), m) for i in range(len(same))]
            case "convolution":
                k, act = r.randint(1, n), activation(w)
                kernel = w.leaf("K", k)
                vectors.append((w.let(f"[dot({kernel}, {x}[i:i + {k}]){act} for i in range({n - k + 1})]"), n - k + 1))
            case "mixing":
                M = w.leaf("M", len(same), len(same))
                mixed = w.let(f"[[dot(m, c) for c in zip({', '.join(same)})] for m in {M}]")
                vectors += [(w.let(f"{mixed}[{i}]"), n) for i in range(len(same))]
            case "norm":
                scale = r.choice([f"(dot({x}, {x}) / {n} + 0.1)**-0.5", f"1 / (sum(abs(v) for v in {x}) + 1)"])
                s = w.let(scale)
                vectors.append((w.let(f"[v * {s} for v in {x}]"), n))
            case "outer":
                m = min(n, 3)
                grid = w.let(f"[[(a {r.choice('*+-')} b){activation(w)} for a in {x}] for b in {y}[:{m}]]")
                vectors.append((w.let(f"[sum(row) for row in {grid}]"), m))
                vectors.append((w.let(f"[dot(row, {x}) for row in {grid}]"), m))
                vectors.append((w.let(f"[sum(column) for column in zip(*{grid})]"), n))
            case "pairs":
                terms = w.let(
                    f"[{x}[i] {r.choice('*-+')} {x}[j] for i in range({n}) for j in range({r.choice(['i', 'i + 1', '0'])}, {n})]"
                )
                w.pool.append(w.let(f"sum({r.choice(['t.tanh()', 't', 't * t', 'abs(t)'])} for t in {terms}) + {x}[0]"))
            case "softmax":
                vectors.append(
                    (
                        w.let(
                            f"{r.choice(['softmax', 'log_softmax'])}([{r.choice(['v', 'v * 2', 'v.tanh()'])} for v in {x}])"
                        ),
                        n,
                    )
                )
            case "embedding":
                E = w.leaf("E", n, r.randint(1, 3))
                vectors.append((w.let(f"[dot({x}, column) for column in zip(*{E})]"), w.shapes[E][1]))
            case "tied":
                m = r.randint(1, 3)
                W = w.leaf("W", m, n)
                code = w.let(f"[dot(w, {x}){activation(w)} for w in {W}]")
                vectors.append((w.let(f"[dot(column, {code}){activation(w)} for column in zip(*{W})]"), n))
            case "ragged":
                W = w.leaf("W", 4, max(n, 2))
                lengths = [r.randint(1, n) for _ in range(4)]
                vectors.append(
                    (w.let(f"[dot(w[:k], {x}[{r.choice(['', f'{n} - k'])}:][:k]) for w, k in zip({W}, {lengths})]"), 4)
                )
            case "mlp":
                sizes = [n, *(r.randint(1, 3) for _ in range(r.randint(1, 2)))]
                kind = r.choice(["linear", "sigmoid", "tanh", "relu", "leaky_relu", "elu", "maxout"])
                pieces = 2 if kind == "maxout" else 1
                last = r.choice(["linear", "sigmoid", "tanh", "softmax"])
                *hidden, final = [(a + 1) * b for a, b in pairwise(sizes)]
                P = w.leaf("P", pieces * sum(hidden) + final)
                f = w.let(f"network({P}, {sizes}, {kind!r}, {last!r})")
                outs = [w.let(f"{f}({v})") for v in same[: r.randint(1, 2)]]
                if sizes[-1] == 1:
                    outs = [w.let(f"[{out}]") for out in outs]
                vectors += [(out, sizes[-1]) for out in outs]
            case "maxout":
                m, pieces = r.randint(1, 3), r.randint(1, 3)
                W, b = w.leaf("W", m * pieces, n), w.leaf("b", m * pieces)
                z = w.let(f"[affine(w, {x}, b) for w, b in zip({W}, {b})]")
                vectors.append((w.let(f"[{r.choice(['maxout', 'logsumexp'])}({z}[i::{m}]) for i in range({m})]"), m))
            case "hole":  # a matrix product with an entry left out, and one computed twice
                m = r.randint(2, 3)
                W = w.leaf("W", m, n)
                rows = w.let(f"[dot(w, x) for x in [{', '.join(same)}] for w in {W}]")
                left_out, again = r.randrange(m * len(same)), r.randrange(m * len(same))
                w.pool.append(
                    w.let(
                        f"sum({r.choice(['z.tanh()', 'z * z', 'z'])} for z in {rows}[:{left_out}] + {rows}[{left_out + 1}:])"
                    )
                )
                w.pool.append(w.let(f"dot({W}[{again % m}], {same[again // m]}).tanh()"))
    for x, n in vectors[-4:]:
        w.pool += [f"{x}[{i}]" for i in range(n)]
    x, n = vectors[-1]
    y = w.leaf("y", n)
    w.pool.append(
        w.let(r.choice([f"quadratic({x}, {y})", f"mean_squared_error({x}, {y})", f"cross_entropy([v * 2 - 7 for v in {x}], {r.randrange(n)})" if n > 1 else f"{x}[0]",
                        f"-dot({y}, log_softmax({x}))", f"sum(v * v for v in {x})", f"sum_({x}) / {n}", f"quadratic({x}, {[0.5] * n})"]))
    )  # fmt: skip
    if r.random() < 0.3:
        matrices = [name for name, shape in w.shapes.items() if len(shape) == 2] or [y]
        W = r.choice(matrices)
        w.pool.append(
            w.let(f"0.01 * sum({r.choice(['v * v', 'abs(v)', 'v**2'])} for v in [{', '.join(w.entries(W))}])")
        )
    w.pool = w.pool[-6:]


def algebra(w: Writer) -> None:
    """Quadratic and bilinear forms, bands, masks, graphs and convolutions, their sums written in many ways."""
    r = w.rng
    for _ in range(r.randint(1, 3)):
        n, m = r.randint(2, 6), r.randint(2, 6)
        if r.random() < 0.5:
            m = n
        x, A = w.leaf("x", n), w.leaf("A", n, m)
        y = x if m == n and r.random() < 0.4 else w.leaf("y", m)
        near = [sorted(r.sample(range(m), r.randint(1, m))) for _ in range(n)]
        js = r.choice([f"range({m})", f"range({m})", f"range(min(i + 1, {m}))", f"range(max(min(i, {m}) - 1, 0), min(i + 2, {m}))",
                       f"{near}[i]", f"[j for j in range({m}) if j != i or {m} == 1]"])  # fmt: skip
        a, b, c = (w.leaf("c", n), w.leaf("c", m), w.leaf("c")) if r.random() < 0.5 else (x, y, f"{x}[0]")
        matrix = r.choice(
            [f"{A}[i][j]"] * 4 + [f"({A}[i][j] + {c} if i == j else {A}[i][j])", f"{A}[i][j] * {c}", f"(-{A}[i][j])"]
        )
        row = r.choice([f"{x}[i]"] * 3 + [f"({x}[i] - {a}[i])", f"{x}[i].tanh()", f"({x}[i] * {a}[i])"])
        column = r.choice([f"{y}[j]"] * 3 + [f"({y}[j] - {b}[j])", f"{y}[j].tanh()", f"({b}[j] * {y}[j])"])
        mask = [[r.choice([0.0, 0.0, 1.0, 1.0, -1.0, r.choice([0.5, 3.0])]) for _ in range(m)] for _ in range(n)]
        factors = r.choice(
            [[row, matrix, column]] * 4 + [[row, column], [matrix, f"{mask}[i][j]", column], [row, row, matrix]]
        )
        r.shuffle(factors)
        term = " * ".join(factors) if r.random() < 0.6 else f"{factors[0]} * ({' * '.join(factors[1:])})"
        sum_of, every = r.choice(["sum", "sum", "sum_"]), f"for i in range({n})"

        def total(terms: str, sum_of: str = sum_of) -> str:
            return f"{sum_of}([{terms}])"

        match r.choice(["form", "form", "nested", "rows", "rows", "dots", "graph", "messages", "convolution"]):
            case "form":
                w.pool.append(w.let(total(f"{term} {every} for j in {js}")))
            case "nested":
                w.pool.append(w.let(total(f"{total(f'{term} for j in {js}')} {every}")))
            case "rows":
                z = w.let(f"[{total(f'{term} for j in {js}')} {every}]")
                w.pool += [f"{z}[{i}]{activation(w)}" for i in range(n)]
            case "dots":
                z = w.let(f"[dot([{matrix} for j in {js}], [{column} for j in {js}]) {every}]")
                w.pool += [f"{z}[{i}]{activation(w)}" for i in range(n)]
            case "graph":
                h, k, by = w.leaf("h", m, 2), w.leaf("W", 3, 2), r.choice(["", f"{mask}[i][j] * ", f"{A}[i][j] * "])
                z = w.let(f"[[{total(f'{by}{h}[j][f] for j in {near}[i]')} for f in range(2)] {every}]")
                z = w.let(f"[[dot(k, s){activation(w)} for k in {k}] for s in {z}]")
                w.pool += [f"{z}[{i}][{f}]" for i in range(n) for f in range(3)]
            case "messages":
                h, k = w.leaf("h", m, 2), w.leaf("W", 3, 2)
                each = f"{k}[k][f] * {h}[j][f]" if r.random() < 0.5 else f"{h}[j][f] * {k}[k][f]"
                each = total(f"{each} for j in {near}[i] for f in range(2)")
                if r.random() < 0.4:
                    each = total(f"{r.choice(['', '-', f'{h}[0][0] - '])}dot({k}[k], {h}[j]) for j in {near}[i]")
                z = w.let(f"[[{each} for k in range(3)] {every}]")
                w.pool += [f"{z}[{i}][{f}]{activation(w)}" for i in range(n) for f in range(3)]
            case "convolution":
                n, k = r.randint(4, 9), r.randint(2, 4)
                x, K = w.leaf("x", n), w.leaf("K", r.randint(1, 2), k)
                inside = f"for i in range({k}) if 0 <= p + i - {k // 2} < {n}"
                z = w.let(f"[{total(f'k[i] * {x}[p + i - {k // 2}] {inside}')} for k in {K} for p in range({n})]")
                w.pool += [f"{z}[{i}]{activation(w)}" for i in range(n * w.shapes[K][0])]
    if r.random() < 0.7:
        w.pool = [w.let(f"{r.choice(['sum', 'sum_'])}([{', '.join(w.pool)}])"), *w.pool[-6:]]


KINDS = {"formulas": formulas, "cells": cells, "networks": networks, "algebra": algebra}


def random_program(rng: random.Random, kind: str = "", *, derivatives: float = 0.0, branches: bool = False) -> Program:
    """A program of this kind, or of any, with derivatives inside the loss at this probability."""
    w = Writer(rng, branches=branches)
    KINDS[kind or rng.choice(list(KINDS))](w)
    if rng.random() < derivatives:
        for _ in range(rng.randint(1, 2)):
            w.derivatives()
    return w.program()


# ── Patterns: what has been taken for something else, or may be ────────────────────────────────

PATTERNS: dict[str, tuple[dict[str, tuple[int, ...]], str]] = {
    # name: (shapes, text)
    "two inputs in one role": ({"w": (2,), "x": (), "y": ()}, "loss = w[0]*x + w[1]*y"),
    "squares of two inputs": ({"x": (2,), "y": (2,)}, "loss = x[0]*x[0] + y[0]*y[0] - x[1]*x[1] * y[1]*y[1]"),
    "differences beside sums": (
        {"p": (4,), "q": (4,)},
        "t = [a.tanh() for a in p]\n"
        "s = [(t[0] - t[1]) * q[0], (t[2] + t[3]) * q[1], (t[1] - t[2]) * q[2] * q[3], t[3] - t[0] + t[3]]\n"
        "loss = sum(v.sin() for v in s) + sum_(s)",
    ),
    "quotients both ways round": (
        {"p": (3,), "q": (3,)},
        "a = [abs(v) + 0.5 for v in p]\nb = [abs(v) + 0.5 for v in q]\n"
        "r = [a[0] / b[0], b[1] / a[1], a[2] / b[2], b[0] / a[2], a[1] / a[0]]\n"
        "loss = sum(v.tanh() for v in r) - r[0] * r[1]",
    ),
    "logsumexps and maxouts over two kinds": (
        {"p": (3,), "q": (3,)},
        "u = [a.tanh() for a in p]\nv = [a.sin() for a in q]\n"
        "s = [logsumexp([u[0], v[0], v[1]]), logsumexp([v[2], u[1], u[2]]), logsumexp([u[0], v[2]]), logsumexp([v[0], v[1], u[2]])]\n"
        "m = [maxout([u[0], v[0], v[1]]), maxout([v[2], u[1], u[2]]), maxout([u[0], v[2]]), maxout([v[0], v[1], u[1], u[2]])]\n"
        "loss = dot(s, m) + s[0] * m[2]",
    ),
    "ragged sums that do not begin alike": (
        {"W": (4, 4), "x": (4,)},
        "z = [dot(W[0][:2], x[1:3]), dot(W[1][:3], x[:3]), dot(W[2], x), dot(W[3][1:], x[1:])]\nloss = sum(v.tanh() for v in z)",
    ),
    "ragged sums that begin alike and go on otherwise": (
        {"W": (4, 3), "x": (3,)},
        "z = [dot(W[0], x), dot(W[1][:2], x[::2]), dot(W[2][:2], x[:2]), dot(W[3], x)]\nloss = sum(v.tanh() for v in z)",
    ),
    "causal sums": (
        {"W": (4, 4), "x": (4, 2)},
        "z = [[dot(W[t][:t + 1], [x[u][d] for u in range(t + 1)]) for d in range(2)] for t in range(4)]\n"
        "loss = sum(v.tanh() for row in z for v in row)",
    ),
    "a product whose left side is each sample's own": (
        {"W": (2, 3), "X": (3, 3), "U": (6, 2), "Y": (3, 2)},
        "z = [dot(W[j], X[s]) + dot(U[2 * s + j], Y[s]) for s in range(3) for j in range(2)]\nloss = sum(v.tanh() for v in z)",
    ),
    "each row of weights with differences of its own": (
        {"W": (6, 3), "x": (3,), "b": (6,), "y": (6,)},
        "t = [sum(wi * (xi - b) for wi, xi in zip(w, x)).tanh() for w, b in zip(W, b)]\n"
        "loss = dot([t[0], t[3], t[0]], [mean_squared_error(t, y), t[2], t[1]])",
    ),
    "two products on one grid": (
        {"W": (2, 3), "V": (2, 3), "X": (3, 3)},
        "z = [dot(W[j], X[s]) - dot(V[j], X[s]) + dot(V[j], X[2 - s]) for s in range(3) for j in range(2)]\n"
        "loss = sum(v * v for v in z)",
    ),
    "a grid with a hole and a doubled position": (
        {"W": (3, 3), "X": (3, 3), "y": (10,)},
        "z = [dot(w, x) for w in W for x in X]\nz = z[:4] + z[5:] + [dot(W[2], X[0]), dot(W[0], X[1])]\n"
        "loss = sum((a - b).tanh() for a, b in zip(z, y))",
    ),
    "doubled positions with sums of their own": (
        {"W": (2, 3), "X": (2, 3), "p": (5,)},
        "z = [dot(w, x) + b for (w, x), b in zip([(w, x) for w in W for x in X], p)] + [dot(W[0], X[1]) + p[4]]\n"
        "loss = sum(v.tanh() for v in z)",
    ),
    "reductions of lengths 2, 3, 4": (
        {"p": (6,), "q": (6,)},
        "t = [a * b for a, b in zip(p, q)]\n"
        "loss = logsumexp(t[:2]) * logsumexp(t[1:4]) - logsumexp(t[2:]) + maxout(t[:2]) * maxout(t[3:]) + maxout(t[1:5])",
    ),
    "reductions of constants": (
        {"p": (2,)},
        "loss = (maxout([0.5, 1.0]) + p[0]) * logsumexp([0.25, 2.0, p[1]]) + sum_([0.5, 1.5]) * p[0] + maxout([p[0], 1.0, 0.5])"
        " + logsumexp([1, 2, 3]) * p[1]",
    ),
    "reductions of constants, of several lengths": (
        {"p": (4,)},
        "c = [[0.5, 1.5, 2.5], [-1.0, -2.0, -0.5], [3.0, 1.0], [-2.0, -1.5, -1.0]]\n"
        "loss = sum(p[i] * logsumexp(c[i]) for i in range(4)) + sum(p[i] * maxout(c[i][:i + 2]) for i in range(3)).tanh()",
    ),
    "operands that repeat every 4 and every 6 of 12": (
        {"p": (4,), "q": (6,), "x": (12,)},
        "t = [(p[i % 4] * q[i % 6]).tanh() - (q[i // 2] + p[i // 3]).sin() * x[i] for i in range(12)]\nloss = sum_(t) + t[0] * t[5]",
    ),
    "two arrays of one gradient": (
        {"W": (2, 2), "x": (2,), "b": (2,), "c": (2,)},
        "z = [dot(w, x) + v for w, v in zip(W, b)]\nfor v in z:\n    v.label = 'z'\n"
        "loss = sum((v + u).tanh() for v, u in zip(z, c))",
    ),
    "a bare sum of leaves": ({"p": (3,), "x": (2,)}, "loss = p[0] + x[0] + p[1] - x[1] + p[2]"),
    "a bare sum, each with its number": ({"p": (3,), "x": ()}, "loss = sum_([p[0], p[1], p[1], p[2], x])"),
    "a sum beside a grid product": (
        {"W": (2, 3), "X": (2, 3), "p": (3,)},
        "z = [dot(w, x) + sum_(p) - p[0] for w in W for x in X]\nloss = sum(v.tanh() for v in z) + sum_(p)",
    ),
    "rules with or, and with a threshold": (
        {"p": (4,), "q": (4,)},
        "loss = sum(outside(a - b) * threshold(a + b) for a, b in zip(p, q)) + threshold(p[0]) - outside(q[0])",
    ),
    "constants beside parameters of equal number": (
        {"p": (2,), "x": (2,)},
        "loss = (p[0] * x[0] + 0.5 * x[1]).tanh() + (p[1] * x[1] + 0.5 * x[0]).tanh() + (2.0 * x[0] + 1.0 * x[1]).tanh()",
    ),
    "a triplet loss": (
        {"W": (2, 3), "b": (2,), "x": (3,), "y": (3,), "x0": (3,)},
        "f = [[affine(w, v, c).tanh() for w, c in zip(W, b)] for v in (x, y, x0)]\n"
        "d = [sum((a - c)**2 for a, c in zip(f[0], g)) for g in f[1:]]\nloss = (d[0] - d[1] + 0.5).relu()",
    ),
    "cosine": (
        {"W": (2, 2), "x": (2,), "y": (2,)},
        "a, b = [[dot(w, v) for w in W] for v in (x, y)]\nloss = dot(a, b) / (dot(a, a) * dot(b, b) + 0.5).sqrt()",
    ),
    "all pairs of one vector": ({"x": (3,), "p": (1,)}, "loss = sum((a - b).tanh() * p[0] for a in x for b in x if a is not b)"),
    "an outer sum of two": ({"x": (3,), "y": (3,)}, "loss = sum((a - b).tanh() for a in x for b in y)"),
    "a matrix by its own transpose": (
        {"X": (3, 2)},
        "g = [[dot(a, b) for b in X] for a in X]\nloss = sum(((i + 1) * (j + 3) * g[i][j]).tanh() for i in range(3) for j in range(3))",
    ),
    "two steps of one recurrence": (
        {"W": (2, 2), "U": (2, 2), "b": (2,), "x": (2,), "y": (2,)},
        "h = [0.0, 0.0]\nfor v in (x, y, x):\n    h = [(affine(w, v, c) + dot(u, h)).tanh() for w, u, c in zip(W, U, b)]\n"
        "loss = h[0] - h[1]",
    ),
    "a gradient penalty": (
        {"W": (2, 2), "b": (2,), "v": (2,), "x": (2,)},
        "f = dot(v, [affine(w, x, c).tanh() for w, c in zip(W, b)])\ng = gradient(f, x)\nloss = (sum(d * d for d in g) - 1)**2 + f",
    ),
    "a gradient through kinks": (
        {"p": (3,), "x": (2,)},
        "f = (p[0] * x[0]).relu() * x[1] + (p[1] * x[1]).elu() * x[0] + maxout([x[0], p[2], x[1]])**2 + abs(x[0] - x[1]) * p[0]"
        " + x[1].leaky_relu() * x[0]**2 + minimum(x[0] * p[1], x[1])**2\n"
        "g = gradient(f, [x[0], x[1], p[0]])\nloss = g[0] * g[1] + g[2]**2 + g[0]",
    ),
    "a bilinear form": ({"A": (4, 3), "x": (4,), "y": (3,)}, "loss = sum(x[i] * A[i][j] * y[j] for i in range(4) for j in range(3))"),
    "a triangle of a quadratic form": (
        {"S": (4, 4), "x": (4,)},
        "loss = sum(S[i][j] * x[i] * x[j] for i in range(4) for j in range(i + 1))",
    ),
    "differences written again and again": (
        {"S": (3, 3), "x": (3,), "m": (3,)},
        "loss = sum((x[i] - m[i]) * S[i][j] * (x[j] - m[j]) for i in range(3) for j in range(3)) + sum((a - b) * (a - b) for a, b in zip(x, m))",
    ),
    "a sum of all products of two": ({"x": (3,), "y": (4,)}, "loss = sum(a * b for a in x for b in y).tanh()"),
    "a matrix with a number added on its diagonal": (
        {"P": (4, 4), "q": (), "x": (4,)},
        "z = [sum((P[i][j] + q if i == j else P[i][j]) * x[j] for j in range(4)) for i in range(4)]\nloss = sum(v.tanh() for v in z)",
    ),
    "a band of a matrix": (
        {"A": (5, 5), "x": (5,)},
        "z = [sum(A[i][j] * x[j] for j in range(max(i - 1, 0), min(i + 2, 5))) for i in range(5)]\nloss = sum(v * v for v in z)",
    ),
    "masked weights": (
        {"W": (3, 4), "x": (4,)},
        "z = [sum(W[i][j] * (float((i + j) % 3 > 0) * x[j]) for j in range(4)) for i in range(3)]\nloss = sum(v.tanh() for v in z)",
    ),
    "neighbours in a graph, edge by edge": (
        {"W": (2, 2), "h": (5, 2)},
        "near = [[0, 1], [0, 1, 2, 4], [2], [1, 3, 4], [0, 4]]\n"
        "z = [sum(sum(w[f] * h[j][f] for f in range(2)) for j in near[i]) for i in range(5) for w in W]\nloss = sum(v.tanh() for v in z)",
    ),
    "neighbours in a graph, dot product by dot product": (
        {"W": (3, 2), "h": (4, 2), "b": (3,)},
        "near = [[0, 1], [0, 1, 2], [2, 1, 3], [3]]\n"
        "z = [sum(affine(w, h[j], c) for j in near[i]) - dot(w, h[i]) for i in range(4) for w, c in zip(W, b)]\nloss = sum(v.tanh() for v in z)",
    ),
    "a matrix and its transpose, of parts of one vector": (
        {"W": (3, 3), "x": (6,)},
        "z = [dot(w, x[:3]) for w in W] + [dot(w, x[3:]) for w in zip(*W)]\nloss = sum(v.tanh() for v in z)",
    ),
    "networks side by side": (
        {"W": (3, 4, 2), "x": (3, 2)},
        "z = [dot(w, v) for U, v in zip(W, x) for w in U]\nloss = sum(v.tanh() for v in z) + z[0] * z[5]",
    ),
    "a convolution padded by skipping": (
        {"K": (2, 3), "x": (6,)},
        "z = [sum(k[i] * x[p + i - 1] for i in range(3) if 0 <= p + i - 1 < 6) for k in K for p in range(6)]\nloss = sum(v.relu() for v in z)",
    ),
    "a second derivative": (
        {"p": (2,), "x": ()},
        "u = (p[0] * x).sigmoid() * p[1] + (x * p[1]).softplus()\nd, = gradient(u, [x])\ndd, = gradient(d, [x])\nloss = (dd + u)**2 + d",
    ),
}  # fmt: skip


def pattern(name: str) -> Program:
    """One of PATTERNS."""
    shapes, text = PATTERNS[name]
    return Program(text, shapes)
