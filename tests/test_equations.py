"""The printed equations: whoever computes them line by line gets the numbers of the scalar engine."""

import builtins
import contextlib
import functools
import itertools
import random
import re

import numpy as np
import pytest
from graphs import flat, leaves, random_graph, random_network
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from matplotlib import mathtext
from programs import PATTERNS, pattern, random_program, record

from microgradlike import (
    Value,
    affine,
    constant,
    dot,
    gradient,
    log_softmax,
    logsumexp,
    maximum,
    maxout,
    minimum,
    nn,
    operation,
    ops,
    recording,
    softmax,
    topological_order,
)
from microgradlike import sum as sum_
from microgradlike.ieee import Namespace
from microgradlike.matrix import vectorize
from microgradlike.primitive import Operation
from microgradlike.value import apply

pytestmark = pytest.mark.filterwarnings("ignore:cross_entropy takes logits .* are those of sigmoid")

# ── Whoever reads a line ───────────────────────────────────────────────────────────────────────
# Numbers have shape (), vectors are columns of shape (n,), their transposes rows of shape (1, n). Nothing is
# broadcast: + − ⊙ / take equal shapes, or a number beside an array.

LETTERS = dict(zip("ᵢⱼₖₗₘₙᵣₛₜᵤᵥₕₚₐₑₒ", "ijklmnrstuvhpaeo", strict=True))
DIGITS = str.maketrans("⁻⁰¹²³⁴⁵⁶⁷⁸⁹", "-0123456789")
FUNCTIONS = {
    op.symbol: op
    for op in (
        *(ops.SIGMOID, ops.TANH, ops.SOFTPLUS, ops.RELU, ops.leaky_relu(0.1), ops.elu(1.0), ops.SIN, ops.COS, ops.ABS),
        *(ops.EXP, ops.EXPM1, ops.LOG, ops.LOG1P, ops.SQRT),
    )
}
CUBE = operation("cube", lambda xp, x: x * x * x, lambda xp, y, x: 3.0 * x * x)
HYPERBOLA = operation(
    "hyperbola",
    lambda xp, a, b: xp.divide(a, 1.0 + b * b),
    lambda xp, y, a, b: (xp.divide(1.0, 1.0 + b * b), -xp.divide(2.0 * a * b, (1.0 + b * b) * (1.0 + b * b))),
)
TIMES = operation("times", lambda xp, a, b: a * b, lambda xp, y, a, b: (b, a))
MIXED = operation("mixed", lambda xp, a, b: a - a * b * b, lambda xp, y, a, b: (1.0 - b * b, -2.0 * a * b))
KNOWN = {*FUNCTIONS.values(), *(op for op in (vars(ops) | vars(recording)).values() if isinstance(op, Operation))}


class LeftOut(Exception):
    """A table has no position there: the sum around leaves the term out."""


def fitting(a, b):
    assert a.shape == b.shape or () in (a.shape, b.shape), f"{a.shape} meets {b.shape}"
    return a, b


class Reader:
    """Reads the right side of a line. What it returns is a function of the values of the indices."""

    def __init__(self, numbers, tables, operations=()):
        self.numbers, self.tables = numbers, tables
        self.operations = FUNCTIONS | {op.symbol: op for op in operations}
        names = [(op, i, name) for op in operations for i, name in enumerate(op.operands)]
        self.slopes = {f"∂{op.symbol}/∂{name}": (op, i) for op, i, name in names}
        names = sorted((*numbers, *tables), key=len, reverse=True)
        words = sorted((*self.operations, *self.slopes, "max", "min", "logsumexp", "softmax"), key=len, reverse=True)
        alternatives = [rf"{re.escape(n)}(?![A-Za-z])" for n in names] + [
            rf"{re.escape(w)}(?=['(ᵢ-ₜₐ-ₜⱼ])" for w in words
        ]
        self.token = re.compile(rf"\s*(if|else|and|or|{'|'.join(alternatives)}|\d+(?:\.\d+)?(?:e[+-]?\d+)?|‖²|\[→|\S)")
        self.sizes = {}  # of the axes at which a letter stands alone

    def __call__(self, left, text, shape):
        """The numbers of the array of this shape that the line `left = text` defines; left has indices or none."""
        axes = re.search(r"\[(.*)\]$", left)
        axes = (
            axes[1] if axes else ", ".join(LETTERS[letter] for letter in re.search(f"[{''.join(LETTERS)}]*$", left)[0])
        )
        letters = sorted(set(re.findall(r"(?<![^\W\d])[a-z](?![₀-₉])", axes)))
        self.text, self.shape, self.at, self.sizes = f"{axes}]", shape, 0, {letter: [] for letter in letters}
        positions = self.parts(shape)
        ranges = {
            letter: size[0] if (size := self.sizes[letter]) else self.range(letter, axes, shape) for letter in letters
        }
        self.text, self.at = text, 0
        value = self.cases()
        assert self.peek() == "", f"{text}: {text[self.at :]} is left"
        with np.errstate(all="ignore"):
            if not axes:
                return value({})
            result = np.full(shape, np.nan)
            for at in itertools.product(*(range(1, ranges[letter] + 1) for letter in letters)):
                env = {("sizes", letter): n for letter, n in ranges.items()} | dict(zip(letters, at, strict=True))
                place = tuple(int(position(env)) - 1 for position in positions)
                assert np.isnan(result[place]) and min(place) >= 0, f"{left} = {text} says {place} twice"
                result[place] = value(env)
            return result

    @staticmethod
    def range(letter, axes, shape):
        """How far i and j of x[3i + j − 3] go: j to 3, and i so far that all of x is meant."""
        for axis, size in zip(axes.split(", "), shape, strict=True):
            steps = {name: int(step or 1) for step, name in re.findall(r"(\d*)([a-z])(?![₀-₉])", axis)}
            if letter in steps:
                return min([step for step in steps.values() if step > steps[letter]], default=size) // steps[letter]
        raise AssertionError(axes)

    def peek(self):
        match = self.token.match(self.text, self.at)
        return match[1] if match else ""

    def take(self, *tokens):
        token = self.peek()
        if token not in tokens if tokens else not token:
            return None
        self.at = self.token.match(self.text, self.at).end()
        return token

    def expect(self, token):
        assert self.take(token), f"{self.text}: expected {token} at {self.text[self.at :]!r}"

    # ── Expressions ──

    def cases(self):
        value = self.total()
        if not self.take("if"):
            return value
        condition = self.condition()
        self.expect("else")
        other = self.cases()

        def either(env):
            yes, a, b = condition(env), value(env), other(env)
            for x in (a, b):
                fitting(yes, x)
            return np.where(yes, a, b)

        return either

    def condition(self):
        first = self.total()
        sign = self.take(">", "<", "=", "≥", "≤", "≠")
        second = self.total()
        compare = {
            ">": np.greater,
            "<": np.less,
            "=": np.equal,
            "≥": np.greater_equal,
            "≤": np.less_equal,
            "≠": np.not_equal,
        }[sign]
        value = lambda env: compare(*fitting(first(env), second(env)))  # noqa: E731
        if word := self.take("and", "or"):
            other = self.condition()
            return lambda env: (np.logical_and if word == "and" else np.logical_or)(*fitting(value(env), other(env)))
        return value

    def total(self):
        value = self.product()
        while sign := self.take("+", "−"):
            value = self.combined(np.add if sign == "+" else np.subtract, value, self.product())
        return value

    @staticmethod
    def combined(function, a, b):
        return lambda env: function(*fitting(a(env), b(env)))

    def product(self):
        if self.take("−", "-"):
            value = self.product()
            return lambda env: -value(env)
        value = self.factor()
        while (token := self.peek()) not in (
            "",
            "+",
            "−",
            ")",
            "]",
            ",",
            "‖²",
            "|",
            "if",
            "else",
            "and",
            "or",
            *"=<>≥≤≠",
        ):
            sign = self.take("⊙", "·", "/")
            other = self.factor()
            if sign == "⊙":
                value = self.combined(np.multiply, value, other)
            elif sign == "/":
                value = self.combined(np.divide, value, other)
            else:
                value = self.side_by_side(value, other, sign, token)
        return value

    @staticmethod
    def side_by_side(a, b, sign, token):
        def value(env):
            x, y = a(env), b(env)
            if () in (x.shape, y.shape):
                return x * y
            if sign:
                assert x.shape == y.shape and x.ndim == 1, f"{x.shape} · {y.shape}"
                return np.array(x @ y)
            if x.ndim == 1:
                assert y.ndim == 2 and len(y) == 1, f"{x.shape} {y.shape}"
                return x[:, None] * y
            assert x.ndim == 2 and len(x) > 1 and x.shape[1] == len(y) and y.ndim < 3, f"{x.shape} {y.shape}"
            return x @ y

        return value

    def factor(self):
        start = self.at
        token = self.take()
        assert token, f"{self.text}: ends too early"
        if token in self.numbers:
            value = self.array(token)
        elif token in self.operations or token in (*self.slopes, "max", "min", "logsumexp", "softmax"):
            value = self.function(token)
        elif token == "(":
            value = self.cases()
            self.expect(")")
        elif token == "[":
            value = self.condition()
            self.expect("]")
            value = (lambda inner: lambda env: inner(env).astype(float))(value)
        elif token == "‖":
            inner = self.total()
            self.expect("‖²")
            value = lambda env: np.array((inner(env) ** 2).sum())  # noqa: E731
        elif token == "|":
            inner = self.total()
            self.expect("|")
            value = lambda env: abs(inner(env))  # noqa: E731
        elif token == "Σ":
            return self.over("Σ")
        elif token in "½¼":
            value = lambda env: np.array({"½": 0.5, "¼": 0.25}[token])  # noqa: E731
        elif re.fullmatch(r"\d.*", token):
            value = lambda env: np.array(float(token))  # noqa: E731
        elif token in self.sizes:  # [2i + j = k]
            return lambda env: np.array(float(env[token]))
        elif token in self.tables:
            entry = self.table_entry(token)
            return lambda env: np.array(float(entry(env)))
        else:
            raise AssertionError(f"{self.text}: what is {self.text[start:]!r}?")
        return self.raised(value)

    def raised(self, value):
        """Powers, transposes, parts and places after a factor."""
        while True:
            above = re.match("[⁻⁰¹²³⁴-⁹]+", self.text[self.at :])
            if above:
                self.at += above.end()
                exponent = int(above[0].translate(DIGITS))
                value = (lambda x, n: lambda env: np.power(x(env), float(n)))(value, exponent)
            elif self.text.startswith("^", self.at):
                self.take("^")
                value = self.combined(np.power, value, self.exponent())
            elif self.text.startswith("ᵀ", self.at):
                self.take("ᵀ")
                value = (lambda x: lambda env: transposed(x(env)))(value)
            elif self.text.startswith("[→", self.at):
                self.take("[→")
                value = self.put(value, self.parts())
            else:
                return value

    def exponent(self):
        if self.take("−", "-"):
            value = self.factor()
            return lambda env: -value(env)
        return self.factor()

    # ── Arrays and their entries ──

    def array(self, name):
        x = self.numbers[name]
        letters = re.match(f"[{''.join(LETTERS)}]*", self.text[self.at :])[0]
        self.at += len(letters)
        if not letters:
            if self.text.startswith("[", self.at) and not self.text.startswith("[→", self.at):
                self.take("[")
                parts = self.parts(x.shape)
                return lambda env: self.read(x, parts, env)
            return lambda env: x
        letters = [LETTERS[letter] for letter in letters]
        assert len(letters) == x.ndim, f"{self.text}: {name} of shape {x.shape} has {letters}"
        for letter, size in zip(letters, x.shape, strict=True):
            self.sizes[letter].append(size)
        return lambda env: self.entry(x, [env[letter] for letter in letters])

    @staticmethod
    def entry(x, at):
        at = [np.asarray(i).item() for i in at]
        assert all(1 <= i <= n for i, n in zip(at, x.shape, strict=True)), (at, x.shape)
        return x[tuple(i - 1 for i in at)]

    def parts(self, shape=None):
        """What stands between square brackets: a function to positions, for each axis; None for all."""
        parts = []
        while not self.take("]"):
            self.take(",")
            if self.take(":"):
                parts.append(None)
                continue
            size = shape[len(parts)] if shape is not None and len(parts) < len(shape) else None
            first = self.position(size)
            if self.take(":"):
                last = self.position(None)
                step = self.position(None) if self.take(":") else lambda env: 1
                parts.append(
                    (lambda a, b, s: lambda env: np.arange(a(env), b(env) + np.sign(s(env)), s(env)))(first, last, step)
                )
            else:
                parts.append(first)
        return parts

    def position(self, size):
        """2i + j − 2; a letter on its own, or the entries of a table."""
        terms, alone = [], []
        sign = -1 if self.take("−") else 1
        while True:
            token = self.take()
            step = 1
            if token.isdigit():
                step, token = (
                    int(token),
                    (self.take(*"ijklmnrstuvhpaeo") or self.take(*self.tables))
                    if re.match(r"[^\W\d]", self.text[self.at :])
                    else None,
                )
            if token is None:
                terms.append(lambda env, step=sign * step: step)
            elif token in self.tables:
                entry = self.table_entry(token)
                terms.append(lambda env, step=sign * step, entry=entry: step * entry(env))
            else:
                assert token in self.sizes, f"{self.text}: what is {token}?"
                alone.append(token if step == sign == 1 else None)
                terms.append(lambda env, step=sign * step, letter=token: step * env[letter])
            if not self.take("+", "−"):
                break
            sign = 1 if self.text[self.at - 1] == "+" else -1
        if len(terms) == 1 and alone and alone[0] and size is not None:
            self.sizes[alone[0]].append(size)
        return lambda env: builtins.sum(term(env) for term in terms)

    def table_entry(self, name):
        table = self.tables[name]
        if not self.text.startswith("[", self.at):
            return lambda env: table
        self.take("[")
        at = self.parts(table.shape)
        return lambda env: looked_up(table, [i(env) for i in at])

    def read(self, x, parts, env):
        at = [None if part is None else part(env) for part in parts]
        if x.ndim == 1 and len(at) > 1:  # x[1, 4, 2]
            at = [np.array(at)]
        assert len(at) == x.ndim, f"{self.text}: {len(at)} positions for the shape {x.shape}"
        for i, n in zip(at, x.shape, strict=True):
            assert i is None or (np.min(i) >= 0 and np.max(i) <= n), f"{self.text}: {i} of {n}"
        if all(i is not None and np.ndim(i) == 0 for i in at):
            return np.asarray(self.entry(x, at))
        axes = [np.arange(n) if i is None else np.asarray(i) - 1 for i, n in zip(at, x.shape, strict=True)]
        for axis in reversed(range(x.ndim)):  # a matrix has zeros where its table has
            here = (axes[axis] >= 0).reshape(axes[axis].shape + (1,) * (x.ndim - axis - 1))
            x = np.where(here, np.take(x, axes[axis], axis), 0.0)
        return x

    def put(self, value, parts):
        def placed(env):
            x, result = value(env), np.zeros(self.shape)
            at = [None if part is None else part(env) for part in parts]
            if len(self.shape) == 1 and len(at) > 1:
                at = [np.array(at)]
            axes = [np.arange(n) if i is None else np.asarray(i) - 1 for i, n in zip(at, self.shape, strict=True)]
            assert x.shape == builtins.sum((axis.shape for axis in axes), ()), (x.shape, at)
            if len(axes) == 1:
                np.add.at(result, axes[0][axes[0] >= 0], x[axes[0] >= 0])
            else:
                np.add.at(result, np.ix_(*map(np.atleast_1d, axes)), x.reshape([a.size for a in axes]))
            return result

        return placed

    # ── Functions and sums ──

    def over(self, kind):
        """Σᵢⱼ x, Σᵢ₌₁³ x, maxᵢ(x): for all values of the letters. Without letters, Σ of all entries."""
        letters, known = [], {}
        while match := re.match(f"([{''.join(LETTERS)}])(?:₌₁([⁰¹²³⁴-⁹]+))?", self.text[self.at :]):
            self.at += match.end()
            letter = LETTERS[match[1]]
            letters.append(letter)
            if match[2]:
                known[letter] = int(match[2].translate(DIGITS))
        if not letters:
            inner = self.factor()
            return lambda env: np.array(self.whole(inner(env)).sum())
        around = {letter: self.sizes.get(letter) for letter in letters}
        assert not any(around.values()) or all(v is None for v in around.values()), (
            f"{self.text}: {letters} stand for two things"
        )
        self.sizes.update({letter: [] for letter in letters})
        if kind == "Σ":
            inner = self.product()
        else:
            self.expect("(")
            inner = self.cases()
            self.expect(")")
        for letter in letters:
            sizes = set(self.sizes.pop(letter))
            if letter not in known:
                assert len(sizes) == 1, f"{self.text}: {letter} goes to one of {sizes}"
                (known[letter],) = sizes

        def terms(env):
            env = {**env, **{("sizes", letter): known[letter] for letter in letters}}
            for at in itertools.product(*(range(1, known[letter] + 1) for letter in letters)):
                with contextlib.suppress(LeftOut):
                    yield inner({**env, **dict(zip(letters, at, strict=True))})

        return lambda env: {"Σ": builtins.sum, "max": np.max, "logsumexp": log_sum_exp}[kind](list(terms(env)))

    def whole(self, x):
        assert x.shape, f"{self.text}: a sum of one number"
        return x

    def function(self, name):
        slope = self.text.startswith("'", self.at) and self.take("'")
        below = re.match(f"[{''.join(LETTERS)}]+", self.text[self.at :])
        if below and name in ("max", "logsumexp"):
            return self.over(name)
        if below:
            assert name == "softmax"
            letters = [LETTERS[letter] for letter in below[0]]
            self.at += below.end()
            self.expect("(")
            inner = self.cases()
            self.expect(")")

            def share(env):
                every = []
                for at in itertools.product(*(range(1, env["sizes", letter] + 1) for letter in letters)):
                    with contextlib.suppress(LeftOut):
                        every.append(inner({**env, **dict(zip(letters, at, strict=True))}))
                return np.exp(inner(env) - log_sum_exp(every))

            return share
        self.expect("(")
        arguments = [self.cases()]
        while self.take(","):
            arguments.append(self.cases())
        self.expect(")")
        xp = Namespace.of(np)
        if name in ("leaky ReLU", "ELU") and len(arguments) == 2:
            row = {"leaky ReLU": ops.leaky_relu, "ELU": ops.elu}[name](float(arguments.pop()({})))
        else:
            row = self.slopes[name][0] if name in self.slopes else self.operations.get(name)
        if row is not None:

            def applied(env):
                x = [argument(env) for argument in arguments]
                for a, b in itertools.combinations(x, 2):
                    fitting(a, b)
                shape = max((a.shape for a in x), key=len)
                y = row.evaluate(xp, x)
                if slope or name in self.slopes:
                    y = row.differentiate(xp, y, x)[0 if slope else self.slopes[name][1]]
                return np.broadcast_to(y, shape)

            return applied
        assert not slope
        if len(arguments) > 1:
            function = {"max": np.maximum, "min": np.minimum, "logsumexp": np.logaddexp}[name]
            value = arguments[0]
            for argument in arguments[1:]:
                value = self.combined(function, value, argument)
            return value
        (x,) = arguments
        if name == "softmax":
            return lambda env: np.exp(x(env) - log_sum_exp(self.whole(x(env)).ravel()))
        return lambda env: {"max": np.max, "min": np.min, "logsumexp": log_sum_exp}[name](self.whole(x(env)).ravel())


def log_sum_exp(terms):
    top = np.max(terms)
    return np.asarray(top + np.log(np.exp(np.asarray(terms) - top).sum()))


def transposed(x):
    assert x.ndim in (1, 2)
    return x[None, :] if x.ndim == 1 else x[0] if len(x) == 1 else x.T


def looked_up(table, at):
    table = table[tuple(int(i) - 1 for i in at)]
    if np.ndim(table) == 0 and table == 0:
        raise LeftOut
    return table


def listed(text):
    """The nested lists of a definition, with its runs 2:4 written out; … is left out."""
    text = re.sub(r"(\d+):(\d+)", lambda m: ", ".join(map(str, range(int(m[1]), int(m[2]) + 1))), text)
    return eval(text.replace(", …", "").replace("−", "-").replace("inf", "1e999"))


def shows(lists, held, only_some):
    """Do these lists show what an array holds, but for zeros at the ends of rows, or only some of it?"""
    if np.ndim(held) == 0:
        return np.isclose(lists, held, rtol=1e-14, atol=0.0)
    more = held[len(lists) :]
    return all(shows(a, b, only_some) for a, b in zip(lists, held)) and (only_some or not more.any())


LEFT = re.compile(rf"(.*?)(?:\[.*\]|[{''.join(LETTERS)}]*)")


def squeezed(shape):
    return tuple(d for d in shape if d > 1)


def differences(array, lines, C, numbers, tables, operations):
    """∂C/∂array of the lines behind it: by common factors, some read it where the graph computed the same once more."""
    slopes = np.zeros(numbers[array].shape)
    for at in np.ndindex(slopes.shape):
        ends = []
        for step in (1e-6, -1e-6):
            x = numbers[array].copy()
            x[at] += step
            changed = numbers | {array: x}
            for line in lines:
                name = LEFT.fullmatch(line.left)[1]
                changed[name] = Reader(changed, tables, operations)(line.left, line.right, squeezed(line.shape))
            ends.append(changed[C])
        slopes[at] = (ends[0] - ends[1]) / 2e-6
    return slopes


def check_lines(loss, batch=(), tolerance=1e-11):
    """Compute the lines of the program one after the other; return how many there were."""
    program = vectorize(loss, list(batch))
    loss = program.loss
    equations = program.equations
    everything = topological_order(loss)
    for node in everything:
        node.grad = 0.0
    loss.backward()
    data, grads, present = {}, {}, {}
    for array in program.arrays:
        nodes = program.nodes(array.name)
        shape = squeezed(nodes.shape)
        data[array.name] = np.array([np.nan if v is None else v.data for v in nodes.ravel()]).reshape(shape)
        present[array.name] = np.array([v is not None for v in nodes.ravel()]).reshape(shape)
        grads[array.name] = np.zeros(nodes.shape)
    for node in everything:
        if place := program.where(node):
            grads[place.name][place.entry] += node.grad
    for array in program.arrays:
        if array.name.startswith("z") and not any(v is not None and v.label for v in program.nodes(array.name).ravel()):
            read = [ref.array for group in array.instruction.groups if group.is_product for ref in group.refs]
            assert any(other and not other.varies for other in read), f"{array} is no weighted input"
    numbers = {a.name: data[a.name] for a in program.arrays if a.instruction is None}
    tables, sizes = {}, [abs(x[p]).max(initial=1e-300) for x, p in zip(data.values(), present.values(), strict=True)]
    slopes = {name: np.abs(g[np.isfinite(g)]).max(initial=1e-300) for name, g in grads.items()}
    operations = {node.op for node in recording.full_order(loss)} - KNOWN  # also of branches not taken
    operations = {op for op in operations if op.name not in ("leaky_relu", "elu")}
    lines = [*equations.forward, *equations.backward]
    place = program.where(loss)
    C = place.name if program.nodes(place.name).size == 1 else "C"
    parameters = [a.name for a in program.arrays if a.kind == "parameter"]
    assert loss.label or C == "C" or any(v is not None and v.label for v in program.nodes("C").ravel())
    data.setdefault(C, np.array(loss.data))
    present.setdefault(C, np.array(True))
    lefts = []
    for line in lines:
        match = LEFT.fullmatch(line.left)
        name = match[1]
        assert name not in lefts, f"{name} is defined twice"
        lefts.append(name)
        if line.right.startswith("[") and name not in data and not name.startswith(("∂", "δ")):
            held = equations.constants[name]
            assert shows(listed(line.right), held, "…" in line.right), f"{line} is {held}"
            (numbers if held.dtype == float else tables)[name] = held
            continue
        array = "z" + name[1:] if name.startswith("δ") else name.removeprefix(f"∂{C}/∂")
        want = data[name] if array == name else grads[array].reshape(data[array].shape)
        assert squeezed(line.shape) == want.shape
        found = Reader(numbers, tables, operations)(line.left, line.right, squeezed(line.shape))
        assert found.shape == want.shape, f"{line}: {found.shape} for {want.shape}"
        largest = max(sizes) if array == name else max(slopes.values())
        if array not in (name, *parameters) and not np.allclose(found, want, tolerance, tolerance * largest):
            later = equations.forward[lefts.index(array) + 1 :]
            want, error = (
                differences(array, later, C, numbers, tables, operations),
                1e-5,
            )  # read elsewhere than recorded
        else:
            error = tolerance
        np.testing.assert_allclose(
            found[present[array]], want[present[array]], rtol=error, atol=error * largest, err_msg=str(line)
        )
        numbers[name] = found
    assert {f"∂{C}/∂{name}" for name in parameters} <= {*lefts}
    assert C in numbers
    for row in filter(None, str(program).splitlines()):
        assert re.search(r"\S {3,}\d+(×\d+)*$", row), row
    return len(lines)


# ── Programs ───────────────────────────────────────────────────────────────────────────────────

PROGRAMS = {}


def program(function):
    PROGRAMS[function.__name__.replace("_", " ")] = function
    return function


def squares(values):
    return builtins.sum(v * v for v in values)


def network_program(activation, output, loss, n_out=2):
    def record(rng):
        model = nn.MLP(3, [4, n_out], activation, output, seed=4)
        x, y = leaves(rng, 3), [Value(0.25), Value(0.75)][:n_out]
        return nn.losses.LOSSES[loss](model(x), y), [x, y]

    return record


for _activation in ["linear", "sigmoid", "tanh", "relu", "leaky_relu", "elu", "maxout"]:
    for _output in ["linear", "sigmoid", "softmax"]:
        for _loss in ["quadratic", "mean_squared_error", "cross_entropy"]:
            PROGRAMS[f"{_activation}, {_output}, {_loss}"] = network_program(_activation, _output, _loss)


@program
def pairs(rng):
    x = leaves(rng, 3)
    return builtins.sum((a - b).tanh() for a in x for b in x), []


@program
def pairs_of_two_kinds(rng):
    x, y = leaves(rng, 3), leaves(rng, 2)
    return builtins.sum((a * b + a).tanh() for a in x for b in y), [x]


@program
def weights_times_ones(rng):
    return builtins.sum(dot(row, [1.0, 1.0, 1.0]).tanh() for row in leaves(rng, 2, 3)), []


@program
def weights_times_constants(rng):
    return builtins.sum(dot(row, [1.0, -2.5, 1 / 3]).tanh() for row in leaves(rng, 2, 3)), []


@program
def a_constant_beside_each(rng):
    return builtins.sum(
        (w * c + d).tanh()
        for w, c, d in zip(leaves(rng, 4), [1.0, 2.0, 1e-17, 1e17], [0.1, 0.2, 0.3, 1 / 7], strict=True)
    ), []


@program
def minibatch_unrolled(rng):
    model = nn.MLP(3, [4, 2], "tanh", seed=0)
    return builtins.sum(
        nn.quadratic(model(x), [0.1, 0.3]) for x in ([0.1, 0.2, 0.3], [0.4, 0.5, 0.6], [0.2, 0.4, 0.1])
    ) / 3, []


@program
def minibatch_of_leaves(rng):
    model = nn.MLP(3, [4, 2], "sigmoid", "softmax", seed=0)
    X, Y = leaves(rng, 5, 3), leaves(rng, 5, 2)
    return builtins.sum(nn.quadratic(model(x), y) for x, y in zip(X, Y, strict=True)) / 5 + 1e-3 * squares(
        model.parameters()
    ), [X, Y]


@program
def classes_of_a_minibatch(rng):
    model = nn.MLP(3, [5, 4], "tanh", seed=1)
    return builtins.sum(nn.losses.cross_entropy(model(x), rng.randrange(4)) for x in leaves(rng, 6, 3)) / 6, []


@program
def maxout_of_a_minibatch(rng):
    model = nn.MLP(3, [4, 2], "maxout", seed=0)
    return builtins.sum(squares(model(x)) for x in leaves(rng, 4, 3)), []


@program
def many_constants(rng):
    model = nn.MLP(9, [2, 1], "tanh", seed=0)
    return builtins.sum(model([rng.random() for _ in range(9)]) ** 2 for _ in range(11)), []


@program
def tied_weights(rng):
    W, x = leaves(rng, 4, 3), leaves(rng, 3)
    code = [dot(row, x).tanh() for row in W]
    return builtins.sum(dot(column, code) ** 2 for column in zip(*W, strict=True)), [x]


@program
def shared_layer(rng):
    W, b, x = leaves(rng, 3, 3), leaves(rng, 3), leaves(rng, 3)
    for _ in range(3):
        x = [affine(w, x, c).tanh() for w, c in zip(W, b, strict=True)]
    return squares(x), []


@program
def siamese(rng):
    model = nn.MLP(3, [2], "tanh", seed=3)
    x, y = leaves(rng, 3), leaves(rng, 3)
    return squares(a - b for a, b in zip(model(x), model(y), strict=True)), [[x, y]]


@program
def recurrent_network(rng):
    Wx, Wh, b, h = leaves(rng, 4, 3), leaves(rng, 4, 4), leaves(rng, 4), [constant(0.0)] * 4
    xs = leaves(rng, 3, 3)
    for x in xs:
        h = [(affine(Wx[i], x, b[i]) + dot(Wh[i], h)).tanh() for i in range(4)]
    return squares(h), [xs]


@program
def gated_network(rng):
    W, U, h, xs = leaves(rng, 2, 3), leaves(rng, 2, 3), [constant(0.0)] * 2, leaves(rng, 2, 3)
    for x in xs:
        z = [dot(u, x).sigmoid() for u in U]
        h = [g * a + (1 - g) * dot(w, x).tanh() for g, a, w in zip(z, h, W, strict=True)]
    return squares(h), []


def convolve(rng, pool):
    image, kernels, bias = leaves(rng, 5, 5), leaves(rng, 2, 2, 2), leaves(rng, 2)
    maps = [
        [
            [
                (builtins.sum(k[i][j] * image[p + i][q + j] for i in range(2) for j in range(2)) + b).relu()
                for q in range(4)
            ]
            for p in range(4)
        ]
        for k, b in zip(kernels, bias, strict=True)
    ]
    return builtins.sum(
        pool([m[p][q], m[p + 1][q], m[p][q + 1], m[p + 1][q + 1]]) ** 2 for m in maps for p in (0, 2) for q in (0, 2)
    ), [image]


@program
def convolution_and_maxima(rng):
    return convolve(rng, maxout)


@program
def convolution_and_means(rng):
    return convolve(rng, lambda v: sum_(v) / 4)


@program
def convolution_in_one_dimension(rng):
    kernel, x = leaves(rng, 3), leaves(rng, 8)
    return builtins.sum(dot(kernel, x[i : i + 3]).tanh() for i in range(6)), [x]


@program
def convolution_with_strides(rng):
    kernel, x = leaves(rng, 3), leaves(rng, 9)
    return builtins.sum(dot(kernel, x[i : i + 3]).tanh() for i in range(0, 7, 3)), []


@program
def differences_of_neighbours(rng):
    x = leaves(rng, 6)
    return squares(a - b for a, b in itertools.pairwise(x)), []


@program
def total_variation_of_an_image(rng):
    x = leaves(rng, 3, 4)
    return builtins.sum(abs(x[i][j] - x[i + 1][j]) for i in range(2) for j in range(4)) + builtins.sum(
        abs(x[i][j] - x[i][j + 1]) for i in range(3) for j in range(3)
    ), []


def attend(rng, causal, heads=1):
    T, D = 4, 4
    X, Wq, Wk, Wv, Wo = leaves(rng, T, D), *(leaves(rng, D, D) for _ in range(4))
    q, k, v = ([[dot(w, x) for w in W] for x in X] for W in (Wq, Wk, Wv))
    loss, size = constant(0.0), D // heads
    for t in range(T):
        row, seen = [], range(t + 1 if causal else T)
        for h in range(0, D, size):
            p = softmax([dot(q[t][h : h + size], k[u][h : h + size]) * size**-0.5 for u in seen])
            row += [dot(p, [v[u][h + d] for u in seen]) for d in range(size)]
        loss += builtins.sum((dot(w, row) + x) ** 2 for w, x in zip(Wo, X[t], strict=True))
    return loss, [X]


@program
def attention(rng):
    return attend(rng, False)


@program
def causal_attention(rng):
    return attend(rng, True)


@program
def attention_with_heads(rng):
    return attend(rng, False, 2)


@program
def causal_attention_with_heads(rng):
    return attend(rng, True, 2)


@program
def layer_norm(rng):
    x, g, b = leaves(rng, 4), leaves(rng, 4), leaves(rng, 4)
    mean = sum_(x) / 4
    scale = (squares(v - mean for v in x) / 4 + 1e-5) ** -0.5
    return builtins.sum(((v - mean) * scale * w + c).tanh() for v, w, c in zip(x, g, b, strict=True)), [x]


@program
def rms_norm_of_rows(rng):
    X, g = leaves(rng, 3, 4), leaves(rng, 4)
    return builtins.sum(
        (v * w * (dot(x, x) / 4 + 1e-3) ** -0.5).tanh() for x in X for v, w in zip(x, g, strict=True)
    ), []


@program
def cosine(rng):
    x, y = leaves(rng, 3), leaves(rng, 3)
    return 1 - dot(x, y) / (dot(x, x) * dot(y, y)).sqrt(), []


@program
def gram_matrix(rng):
    X = leaves(rng, 4, 3)
    return builtins.sum(((i + 1) * (j + 3) * dot(X[i], X[j])).tanh() for i in range(4) for j in range(4)), []


@program
def distances_of_all_pairs(rng):
    X, Y = leaves(rng, 3, 2), leaves(rng, 4, 2)
    return builtins.sum((-squares(a - b for a, b in zip(x, y, strict=True))).exp() for x in X for y in Y), []


@program
def outer_sums(rng):
    x, y = leaves(rng, 3), leaves(rng, 4)
    return logsumexp([(a + b).tanh() for a in x for b in y]), []


@program
def sums_of_rows(rng):
    return builtins.sum(sum_(row).tanh() for row in leaves(rng, 3, 4)), []


@program
def sums_of_columns(rng):
    return builtins.sum(sum_(column).tanh() for column in zip(*leaves(rng, 3, 4), strict=True)), []


@program
def maxima_of_rows(rng):
    return builtins.sum(apply(ops.MAX, *row) ** 2 for row in leaves(rng, 3, 4)), []


@program
def logsumexp_of_columns(rng):
    return builtins.sum(logsumexp(list(column)) ** 2 for column in zip(*leaves(rng, 3, 4), strict=True)), []


@program
def softmax_of_rows(rng):
    return builtins.sum(squares(softmax(row)) for row in leaves(rng, 3, 4)), []


@program
def log_softmax_of_a_vector(rng):
    x, y = leaves(rng, 4), leaves(rng, 4)
    return -dot(y, log_softmax(x)), [y]


@program
def sums_of_different_lengths(rng):
    x = leaves(rng, 6)
    return builtins.sum(sum_(x[:n]).tanh() for n in range(1, 7)), []


@program
def maxima_of_different_lengths(rng):
    x = leaves(rng, 5)
    return builtins.sum(apply(ops.MAX, *x[n:]) ** 2 for n in range(4)), []


@program
def products_of_different_lengths(rng):
    x, y = leaves(rng, 5), leaves(rng, 5)
    return builtins.sum(dot(x[:n], y[:n]).tanh() for n in range(2, 6)), []


@program
def a_polynomial(rng):
    c, x = leaves(rng, 4), Value(0.7)
    return builtins.sum(a * x**i for i, a in enumerate(c)), [[x]]


@program
def ties_in_a_maximum(rng):
    a, b, c = Value(1.0), Value(1.0), Value(0.5)
    return apply(ops.MAX, a, b, c).tanh(), []


@program
def ties_in_rows(rng):
    x = [[Value(1.0), Value(1.0), Value(0.0)], [Value(2.0), Value(2.0), Value(2.0)]]
    return builtins.sum(apply(ops.MAX, *row) ** 2 for row in x), []


@program
def ties_of_two(rng):
    x, y = [Value(1.0), Value(2.0), Value(0.0)], [Value(1.0), Value(1.0), Value(3.0)]
    return builtins.sum(maximum(a, b).tanh() + minimum(a, b) ** 2 for a, b in zip(x, y, strict=True)), []


@program
def ties_of_different_kinds(rng):
    x, w = Value(1.0), Value(1.0)
    return (apply(ops.MAX, x * 1.0, w.tanh(), w.tanh(), x.exp()) + apply(ops.MAX, x * w, x, w)) * w, []


@program
def kinks(rng):
    x = [Value(0.0), Value(-1.0), Value(2.0)]
    return builtins.sum(v.relu() + abs(v) + v.leaky_relu(0.3) + v.elu(0.5) + v.leaky_relu() for v in x), []


@program
def an_entry_again_and_again(rng):
    a, b = leaves(rng, 2)
    return sum_([a, a, b]) ** 2 + dot([a, b], [b, a]).tanh() + logsumexp([a, b, a]), []


@program
def the_other_way_round(rng):
    w, x = leaves(rng, 3), leaves(rng, 3)
    return dot(w, x) + builtins.sum((p * q).tanh() for p, q in zip(w, x[::-1], strict=True)), [x]


@program
def parts_of_a_vector(rng):
    w = leaves(rng, 4)
    return dot(w[:2], w[2:]).exp(), []


@program
def one_in_three(rng):
    x = leaves(rng, 9)
    return builtins.sum(v.tanh() for v in x[1::3]) + builtins.sum(v.sin() for v in x[::2]) + x[4] ** 3, [x]


@program
def in_any_order(rng):
    x = leaves(rng, 12)
    y, z = x[:], x[:]
    rng.shuffle(y)
    rng.shuffle(z)
    return builtins.sum((a * b).tanh() for a, b in zip(y[:10], z[:10], strict=True)), [x]


@program
def in_any_order_twice(rng):
    x, w = leaves(rng, 5), leaves(rng, 5)
    return builtins.sum((rng.choice(x) - rng.choice(x)).sin() * rng.choice(w) for _ in range(14)), [x]


@program
def the_diagonal(rng):
    W = leaves(rng, 3, 3)
    return builtins.sum(dot(row, [1.0, 2.0, 3.0]).tanh() for row in W) + builtins.sum(
        W[i][i].exp() for i in range(3)
    ), []


@program
def rows_and_columns(rng):
    W, x = leaves(rng, 3, 4), leaves(rng, 4)
    z = [dot(row, x).tanh() for row in W]
    return squares(z) + dot(W[1], x).exp() + sum_([row[2] for row in W]).tanh() + W[0][3].sin(), [x]


@program
def trace_of_a_product(rng):
    A, B = leaves(rng, 3, 3), leaves(rng, 3, 3)
    return builtins.sum(dot(A[i], [row[i] for row in B]) for i in range(3)), []


@program
def bilinear_form(rng):
    x, A, y = leaves(rng, 3), leaves(rng, 3, 2), leaves(rng, 2)
    return builtins.sum(x[i] * A[i][j] * y[j] for i in range(3) for j in range(2)).tanh(), [x]


@program
def bilinear_forms(rng):
    x, A, y = leaves(rng, 3), leaves(rng, 2, 3, 2), leaves(rng, 2)
    return builtins.sum(builtins.sum(x[i] * M[i][j] * y[j] for i in range(3) for j in range(2)).tanh() for M in A), []


@program
def product_of_three_matrices(rng):
    A, B, C, x = leaves(rng, 2, 3), leaves(rng, 3, 3), leaves(rng, 3, 2), leaves(rng, 2)
    for M in (C, B, A):
        x = [dot(row, x) for row in M]
    return squares(x), []


@program
def a_scalar_for_all(rng):
    t, x, w = Value(0.3, "t"), leaves(rng, 3), leaves(rng, 3)
    return builtins.sum((t * a + b).tanh() for a, b in zip(x, w, strict=True)) * t / 3, [x]


@program
def temperature(rng):
    t, x = Value(0.7, "T"), leaves(rng, 4)
    return logsumexp([v / t for v in x]) * t, []


@program
def quotients(rng):
    a, b = leaves(rng, 3), [Value(1.5), Value(-2.5), Value(3.0)]
    return builtins.sum((p / q).tanh() + q / 40 + 2 / q for p, q in zip(a, b, strict=True)), []


@program
def powers(rng):
    a, b = [Value(1.5), Value(2.5)], [Value(0.5), Value(3.0)]
    return builtins.sum(p**q + p**-1.5 + 2**q + p**3 for p, q in zip(a, b, strict=True)) + (a[0] ** b[0]) ** b[1], []


@program
def all_functions_of_one(rng):
    x = [Value(0.5), Value(1.5)]
    return builtins.sum(
        v.exp() + v.log() + v.sqrt() + v.sin() + v.cos() + apply(ops.SOFTPLUS, v) + v.sigmoid() - v for v in x
    ), [x]


@program
def operations_of_ones_own(rng):
    a, b = leaves(rng, 3), leaves(rng, 3)
    return builtins.sum(3 * HYPERBOLA(p, q) - 2 * MIXED(q, p) for p, q in zip(a, b, strict=True)).tanh(), [a]


@program
def a_product_of_ones_own(rng):
    a, b = leaves(rng, 2)
    return TIMES(a - b, 3 * b).tanh(), []


@program
def an_operation_of_ones_own(rng):
    return builtins.sum(CUBE(v).tanh() * CUBE(v) for v in leaves(rng, 3)), []


@program
def a_sum_of_many_kinds(rng):
    a, b, c = leaves(rng, 3), leaves(rng, 3), Value(0.3, "c")
    return (dot(a, b) - 2 * dot(a, a) - c + 3 * sum_(b) - 0.1 + c * c).tanh(), []


@program
def a_long_chain(rng):
    x, w = leaves(rng), leaves(rng)
    for _ in range(60):
        x = (0.5 * x).tanh() + w * x
    return x, []


@program
def skip_connections(rng):
    x, W, U, b = leaves(rng, 4), leaves(rng, 4, 4), leaves(rng, 4, 4), leaves(rng, 4)
    h = [affine(w, x, c).relu() for w, c in zip(W, b, strict=True)]
    z = [affine(u, h, v) for u, v in zip(U, x, strict=True)]
    return logsumexp(z) - z[1], [x]


@program
def mixture_of_experts(rng):
    x, gate, experts = leaves(rng, 3), leaves(rng, 2, 3), leaves(rng, 2, 3, 3)
    g = softmax([dot(w, x) for w in gate])
    y = [builtins.sum(p * dot(W[i], x).tanh() for p, W in zip(g, experts, strict=True)) for i in range(3)]
    return squares(y), [x]


@program
def triplet(rng):
    W = leaves(rng, 2, 3)
    a, p, n = leaves(rng, 3, 3)
    fa, fp, fn = ([dot(w, x).tanh() for w in W] for x in (a, p, n))
    return (
        squares(u - v for u, v in zip(fa, fp, strict=True)) - squares(u - v for u, v in zip(fa, fn, strict=True)) + 1
    ).relu(), [[a, p, n]]


@program
def bigrams(rng):
    W = leaves(rng, 4, 4)
    return builtins.sum(logsumexp(W[i]) - W[i][j] for i, j in ((0, 1), (1, 3), (3, 3), (3, 0), (0, 1), (2, 2))) / 6, []


@program
def a_table_of_vectors(rng):
    E, W = leaves(rng, 4, 3), leaves(rng, 2, 3)
    return builtins.sum(squares(dot(w, E[i]).tanh() for w in W) for i in (2, 0, 2, 3)), []


def repeated_program(reduce, order, inner):
    def record(rng):
        a, b = (inner(v) for v in leaves(rng, 2))
        return reduce([(a, b)[i] for i in order]) ** 2, []

    return record


for _name, _reduce in {"logsumexp": logsumexp, "max": maxout, "softmax": lambda z: softmax(z)[0]}.items():
    for _order in [(0, 0, 1, 0, 1, 1), (0, 1, 1, 0), (0, 1, 0, 1), (0, 0, 1), (1, 1, 1), (0, 1, 0, 1, 1, 0, 1, 0)]:
        for _inner in (lambda v: sum_([v]), lambda v: v * v, lambda v: v):
            PROGRAMS[f"{_name} of {_order}, {len(PROGRAMS)}"] = repeated_program(_reduce, _order, _inner)


def again_and_again(seed):
    """One to three numbers, in sums of products, maxima and softmaxes that read them differently often."""

    def record(rng):
        rng = random.Random(seed)
        x = [v.tanh() for v in leaves(rng, rng.randint(1, 3))]
        terms = [lambda: rng.choice(x), lambda: rng.choice(x) * rng.choice(x), lambda: rng.choice(x) * 3.0]
        reduce = rng.choice([builtins.sum, sum_, logsumexp, maxout])
        kinds = [rng.choice(terms)] if rng.random() < 0.6 else terms
        sign = rng.choice([lambda v: v, lambda v: -v])
        rows = [[rng.choice(kinds)() for _ in range(rng.randint(1, 4))] for _ in range(rng.randint(2, 4))]
        return builtins.sum(sign(reduce(row)).sin() for row in rows), []

    return record


for _seed in (*range(60), 459, 552, 585, 638):
    PROGRAMS[f"again and again {_seed}"] = again_and_again(_seed)


def products(M, x):
    return [builtins.sum(a * b for a, b in zip(row, x, strict=True)) for row in M]


def a_multiple_of_the_identity(seed):
    """P + qI, or what is like it: q a number, or one for each row; in all of P or a part; on either side of P and x."""

    def record(rng):
        rng = random.Random(seed)
        n, m = rng.choice([(4, 4), (3, 3), (3, 5), (4, 2)])
        P, x, y = leaves(rng, n, m), leaves(rng, m), leaves(rng, n)
        if rng.random() < 0.3:
            for i, j in itertools.product(range(n), range(m)):
                P[i][j].label = f"A{i}{j}"
        q = rng.choice([[Value(0.7, "q")] * n, [Value(-0.3)] * n, leaves(rng, n), [constant(1.0)] * n])
        scale = rng.choice([lambda v: v, lambda v: v, lambda v: 2.0 * v, lambda v: v * v, lambda v: v.exp()])
        places = rng.choice([lambda i, j: i == j] * 3 + [lambda i, j: abs(i - j) < 2, lambda i, j: i == j < 2])
        added = rng.choice([lambda p, c: p + c, lambda p, c: c + p, lambda p, c: p - c])
        M = [[added(p, scale(q[i])) if places(i, j) else p for j, p in enumerate(row)] for i, row in enumerate(P)]
        if rng.random() < 0.2:  # P x + q x written out
            z = [v + scale(c) * u for v, c, u in zip(products(P, x), q, [*x, *x], strict=False)]
        else:
            z = products(M, x) if rng.random() < 0.5 else [builtins.sum(u * w for w, u in zip(r, x)) for r in M]
        loss = squares(v.tanh() for v in z)
        if rng.random() < 0.3:
            loss = loss + squares(v.sin() for v in products(zip(*M, strict=True), y))
        if rng.random() < 0.3:
            loss = loss + builtins.sum(y[i] * M[i][j] * x[j] for i in range(n) for j in range(m))
        return loss, rng.choice([[x, y], [x], []])

    return record


def a_matrix_and_its_transpose(seed):
    """W and Wᵀ, of one vector, its parts or several; next to each other, in one sum, in a quadratic form."""

    def record(rng):
        rng = random.Random(seed)
        n, m = rng.choice([(4, 4), (3, 3), (2, 2), (3, 5), (4, 1)])
        W, x = leaves(rng, n, m), leaves(rng, n + m)
        T = list(zip(*W, strict=True))
        u, v = rng.choice([(x[:m], x[m:]), (x[n:], x[:n]), (x[:m], x[:n])])
        if rng.random() < 0.3:
            u, v, x = v[: len(u)] if n == m else u, leaves(rng, n), [*u, *v]
        terms = [lambda: squares(z.tanh() for z in products(W, u)), lambda: squares(z.tanh() for z in products(T, v))]
        if n == m:
            pairs = [(a + b) * c for a, b, c in zip(products(W, u), products(T, u), v, strict=True)]
            both = [builtins.sum((T[i][j] + W[i][j]) * u[j] for j in range(n)) for i in range(n)]
            terms.append(lambda: squares(z.sin() for z in pairs))
            terms.append(lambda: squares(z.tanh() for z in both))
            terms.append(lambda: builtins.sum(u[i] * W[i][j] * u[j] for i in range(n) for j in range(n)))
        if rng.random() < 0.3:
            terms.append(lambda: squares(z.tanh() for z in products(W, leaves(rng, m))))
        rng.shuffle(terms)
        loss = builtins.sum(term() for term in terms[: rng.randint(2, 3)])
        present = set(topological_order(loss))
        return loss, [[a for a in dict.fromkeys([*u, *v]) if a in present]] if rng.random() < 0.6 else []

    return record


for _seed in range(30):
    PROGRAMS[f"a multiple of the identity {_seed}"] = a_multiple_of_the_identity(_seed)
    PROGRAMS[f"a matrix and its transpose {_seed}"] = a_matrix_and_its_transpose(_seed)


@program
def reductions_of_constants(rng):
    w, c = leaves(rng), [constant(x) for x in (-0.1, -0.2, -0.3)]
    return builtins.sum((f(some) * w).sin() for f in (logsumexp, maxout) for some in (c, c[1:], c[2:])), []


def a_share_of_some(factor):
    """Of some entries only: the gradient is a number times an array of constants, written without a space, as ½c₁ or 3c₁."""

    def record(rng):
        v = (leaves(rng) * 3.0).tanh()
        z = [v.tanh() - v.tanh() for _ in range(3)]
        return (z[0] + z[2] + z[1].softplus() - z[1]) * factor, []

    return record


for _factor in (0.1, 0.25, 1 / 3, 0.5, 2.0, 1e-7, -0.25, -3.0):
    PROGRAMS[f"a share of some: {_factor:g}"] = a_share_of_some(_factor)


@program
def labels_that_are_letters(rng):
    i, j, p, e = Value(0.5, "i"), Value(0.7, "j"), Value(0.3, "p₁"), Value(0.2, "e")
    x = leaves(rng, 3)
    return builtins.sum((a - b).tanh() * i for a in x for b in x) + j * p * e + (e - p).exp(), []


@program
def labels_of_constants(rng):
    c = [constant(v) for v in (0.5, 1.5, 2.5)]
    for n, v in enumerate(c):
        v.label = f"x{n}"
    return dot(leaves(rng, 3), c).tanh() + builtins.sum(
        (w + v).sin() for w, v in zip(leaves(rng, 3), c, strict=True)
    ), []


@program
def a_formula(rng):
    m, g, h, v = Value(2.0, "m"), Value(9.81, "g"), Value(0.4, "h"), Value(3.0, "v")
    return m * g * h + 0.5 * m * v**2 - (2 * g * h).sqrt() / v, []


@program
def a_gradient_penalty(rng):
    W, b, x = leaves(rng, 3, 2), leaves(rng, 3), leaves(rng, 2)
    y = sum_([affine(w, x, c).tanh() for w, c in zip(W, b, strict=True)])
    return y * y + squares(gradient(y, x)), [x]


@program
def derivatives_of_kinks(rng):
    w, x = leaves(rng, 3), leaves(rng, 3)
    z = [a * b for a, b in zip(w, x, strict=True)]
    y = sum_([a.relu() * b + abs(a) * b + a.leaky_relu(0.2) ** 2 + a.elu() * b for a, b in zip(z, x, strict=True)])
    return squares(gradient(y, x)), [x]


@program
def derivatives_of_maxima(rng):
    w, x = leaves(rng, 3), leaves(rng, 3)
    y = apply(ops.MAX, *(a * b for a, b in zip(w, x, strict=True))) + logsumexp(
        [a * b for a, b in zip(w, x, strict=True)]
    )
    y = y + sum_([maximum(a, b) * a + minimum(a, b) * b for a, b in zip(w, x, strict=True)])
    return squares(gradient(y, w)), []


@program
def derivatives_of_sigmoid_and_softplus(rng):
    x = leaves(rng, 3)
    return squares(gradient(sum_([v.sigmoid() + apply(ops.SOFTPLUS, v) + v**3 for v in x]), x)), [x]


@program
def two_arguments_of_one_role(rng):
    w, x, y = leaves(rng, 2), leaves(rng, 2), leaves(rng, 2)
    return (w[0] * x[0] + w[1] * y[0]).tanh() + x[1] * x[1] + y[1] * y[1], [[x[0]], [y[0]], [x[1]], [y[1]]]


@program
def two_towers(rng):
    W, U, x, y = leaves(rng, 3, 2), leaves(rng, 3, 4), leaves(rng, 2), leaves(rng, 4)
    return dot([dot(w, x).tanh() for w in W], [dot(u, y).tanh() for u in U]) ** 2, [x, y]


@program
def an_image_given_as_rows(rng):
    image, kernel = leaves(rng, 4, 4), leaves(rng, 3, 3)
    z = [
        [builtins.sum(kernel[i][j] * image[p + i][q + j] for i in range(3) for j in range(3)) for q in range(2)]
        for p in range(2)
    ]
    return squares(v.tanh() for v in flat(z)), image


@program
def cross_attention(rng):
    X, Y, Wq, Wk, Wv = leaves(rng, 3, 2), leaves(rng, 4, 2), *(leaves(rng, 2, 2) for _ in range(3))
    q, k, v = (
        [[dot(w, x) for w in Wq] for x in X],
        [[dot(w, y) for w in Wk] for y in Y],
        [[dot(w, y) for w in Wv] for y in Y],
    )
    p = [softmax([dot(a, b) for b in k]) for a in q]
    return squares(dot(row, column) for row in p for column in zip(*v, strict=True)), [X, Y]


@program
def a_node_like_the_loss(rng):
    w, x = leaves(rng, 2), leaves(rng, 2)

    def record():
        return w[0].exp() * x[0] if w[1].exp() * x[1] < 10 else w[0]

    return record, [x]


@program
def the_loss_is_a_leaf(rng):
    return Value(3.0), []


@program
def the_loss_is_a_product(rng):
    return Value(3.0) * Value(2.0), []


def arguments(batch, rng):
    """The leaves of a batch, split at random into the arguments of a program."""
    columns = flat(list(batch))
    rng.shuffle(columns)
    cuts = sorted(rng.sample(range(len(columns) + 1), min(rng.randint(0, 3), len(columns) + 1)))
    parts = [columns[a:b] for a, b in itertools.pairwise([0, *cuts, len(columns)])]
    return [part for part in parts if part]


def recorded(text, rng):
    """A program that is text: its loss at random numbers, whole ones among them, and some of its leaves as a batch."""
    leaves, losses = record(text, lambda leaf: rng.choice([rng.uniform(-1.5, 1.5), float(rng.randint(-1, 2))]))
    present = set(topological_order(losses[0]))
    return losses[0], arguments([v for v in leaves.values() if v in present and rng.random() < 0.4], rng)


for _name in PATTERNS:
    PROGRAMS[_name] = functools.partial(recorded, pattern(_name))


@pytest.mark.parametrize("name", PROGRAMS)
def test_printed_equations_are_the_computation(name):
    loss, batch = PROGRAMS[name](random.Random(3))
    assert check_lines(loss, batch) >= 1


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**9), st.booleans())
def test_printed_equations_of_random_graphs(seed, split):
    rng = random.Random(seed)
    loss, batch = random_graph(rng)
    check_lines(loss, arguments(batch, rng) if split else [batch] if batch else [])


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**9), st.booleans())
@example(5710, True)  # every entry is read for each of several others, in another order
def test_printed_equations_of_random_networks(seed, split):
    rng = random.Random(seed)
    loss, batch = random_network(rng)
    check_lines(loss, arguments(batch, rng) if split else batch)


@settings(max_examples=25, deadline=None)
@example(2839)
@example(5000141)
@example(38197)  # a node called z whose number is 0
@example(1993)  # a product taken in another order stands beside what it was recorded as
@given(st.integers(0, 10**9))
def test_printed_equations_of_random_programs(seed):
    rng = random.Random(seed)
    loss, batch = recorded(random_program(rng, derivatives=0.4), rng)
    assume(loss.op is not ops.CONSTANT and all(abs(v.data) < 1e6 for v in topological_order(loss)))
    check_lines(loss, batch, 1e-9)


# ── How they read ──────────────────────────────────────────────────────────────────────────────


def test_equations_of_less_regular_graphs():
    rng = random.Random(0)

    def right_sides(loss, *batch):
        equations = vectorize(loss, list(batch)).equations
        return {e.left: e.right for e in (*equations.forward, *equations.backward)}

    w, x = leaves(rng, 4), leaves(rng, 3)
    assert right_sides(dot(w[:3], w[1:]).exp())["∂C/∂w₁"] == "(C w₁[2:4])[→ 1:3] + (C w₁[1:3])[→ 2:4]"
    assert right_sides(dot(w[:2], w[2:]).exp()) == {"C": "exp(w₁ · w₂)", "∂C/∂w₂": "C w₁", "∂C/∂w₁": "C w₂"}
    assert right_sides(dot(w[:1] * 3, x).tanh(), x)["∂C/∂w₁"] == "tanh'(w₁ (Σ x)) (Σ x)"
    assert right_sides(dot([constant(0.5)] * 4, w).tanh())["∂C/∂w₁[i]"] == "½tanh'(½Σ w₁)"
    assert right_sides(apply(ops.MAX, *w).tanh())["∂C/∂w₁"] == ("tanh'(max(w₁)) ([w₁ = max(w₁)] / (Σ [w₁ = max(w₁)]))")
    assert right_sides(w[0] / constant(0.0))["∂C/∂w₁"] == "1/0"
    W = leaves(rng, 4, 3)  # coded by W, decoded by its transpose
    code = [dot(row, x).tanh() for row in W]
    found = right_sides(builtins.sum(dot(column, code) ** 2 for column in zip(*W, strict=True)), x)
    assert found == {
        "z¹": "W¹ x", "a¹": "tanh(z¹)", "z²": "W¹ᵀ a¹", "C": "Σ (z²)²",
        "δ²": "2z²", "δ¹": "(W¹ δ²) ⊙ tanh'(z¹)", "∂C/∂W¹": "a¹ δ²ᵀ + δ¹ xᵀ",
    }  # fmt: skip
    assert right_sides(abs(w[0]) * 2 - w[0])["∂C/∂w₁"] == "2(1 if w₁ > 0 else -1 if w₁ < 0 else 0) − 1"
    chain = w[0]
    for _ in range(300):  # what is long stands on a line of its own
        chain = (0.5 * chain).tanh() + chain
    assert max(map(len, right_sides(chain).values())) < 150


def test_only_sums_of_matrix_products_are_weighted_inputs():
    W, V = leaves(random.Random(0), 2, 3), leaves(random.Random(1), 2, 3)
    x = leaves(random.Random(2), 3)
    loss = sum_([(a + b).sin() for rows in zip(W, V, strict=True) for a, b in zip(*rows, strict=True)])
    program = vectorize(loss + sum_([dot(row, x).tanh() for row in W]), [x])
    assert [array.name for array in program.arrays if array.name.startswith("z")] == ["z¹"]
    assert program.where(W[0][0]).name == "W¹"


def test_equations_say_how_entries_are_read():
    """Repeated entries, other orders and parts are no whole arrays."""
    a, b, c, one = (Value(0.5 + i, label) for i, label in enumerate(["a", "b", "c", "1"]))
    w, x = leaves(random.Random(0), 3), leaves(random.Random(1), 3)

    def equations(loss, *batch):
        return [str(e) for found in [vectorize(loss, batch).equations] for e in (*found.forward, *found.backward)]

    assert equations((a + a) * 3) == ["C = 6a", "∂C/∂a = 6"]
    assert equations(dot([a, a], [a, a]).tanh()) == ["C = tanh(2a²)", "∂C/∂a = 4tanh'(2a²) a"]
    assert equations(sum_([a, a, b]) ** 2) == [
        "c₁ = [2, 1]", "C = (Σ w₁[1, 1, 2])²", "∂C/∂w₁ = 2(Σ w₁[1, 1, 2]) c₁",
    ]  # fmt: skip
    assert equations(dot([a, b], [b, a]).tanh())[0] == "C = tanh(w₁ · w₁[2:1:−1])"
    assert equations(logsumexp([a, b, a]))[0] == "C = logsumexp(w₁[1, 1, 2])"
    assert equations(dot(w, x) + sum_([(p * q).tanh() for p, q in zip(w, x[::-1], strict=True)]), x)[0] == (
        "C = w₁[3:1:−1] · x + Σ tanh(x ⊙ w₁)"
    )
    for name, tables in {"in any order": ["p₁", "p₂"], "a constant beside each": ["c₁", "c₂"]}.items():
        loss, batch = PROGRAMS[name](random.Random(3))
        assert [line.split(" = [")[0] for line in equations(loss, *batch) if " = [" in line] == tables
    loss, batch = PROGRAMS["convolution and means"](random.Random(3))
    assert any(line.startswith("∂C/∂W¹[i, 2j + k − 2] = Σₗₘ δ¹ₗₘᵢ x[") for line in equations(loss, *batch))
    assert equations((a**b) ** c)[0] == "C = (a^b)^c"
    assert equations(a ** (b**c))[0] == "C = a^(b^c)"
    assert equations(one * a + one) == ["C = a 1 + 1", "∂C/∂1 = a + 1", "∂C/∂a = 1"]
    assert r"a^{-1} &&" in vectorize(a**-1.0).equations.latex()
    assert r"^{(b^{c})}" in vectorize(a ** (b**c)).equations.latex()
    assert r"\Vert w_{1}^{-\tfrac{1}{2}}\Vert ^{2}" in vectorize(sum_([v**-0.5 * v**-0.5 for v in w])).equations.latex()
    assert r"^{\operatorname{tanh}(b)}" in vectorize(a ** b.tanh()).equations.latex()
    assert r"\operatorname{leaky\ ReLU}(a)" in vectorize(a.leaky_relu()).equations.latex()
    assert r"p\&q\%" in vectorize(Value(1.0, "p&q%") * 2.0).equations.latex()
    chain = a
    for _ in range(1000):
        chain = chain * b
    assert len(str(vectorize(chain))) < 300_000
    powers = sum_([(a * i) ** b for i in range(1, 2000)])
    assert vectorize(powers).equations.latex().count("^{b}") > 1


@pytest.mark.parametrize(
    ("loss", "lines"),
    [
        (lambda v, c: v.exp(), ["C = exp(v)", "∂C/∂b = −C (a/b²)", "∂C/∂a = C (1/b)"]),
        (lambda v, c: v**2, ["C = v²", "∂C/∂b = −2 v (a/b²)", "∂C/∂a = 2v (1/b)"]),
        (
            lambda v, c: (c * v).exp(),
            ["C = exp(c v)", "∂C/∂v = C c", "∂C/∂c = C v", "∂C/∂b = −∂C/∂v (a/b²)", "∂C/∂a = ∂C/∂v (1/b)"],
        ),
    ],
)
def test_a_gradient_that_goes_two_ways_has_a_line_if_it_is_a_product(loss, lines):
    a, b, c = (Value(1.0 + i, "abc"[i]) for i in range(3))
    v = a / b
    v.label = "v"
    found = vectorize(loss(v, c)).equations
    assert [str(e) for e in (*found.forward, *found.backward)] == ["v = a / b", *lines]


@pytest.mark.parametrize("name", PROGRAMS)
def test_the_latex_is_understood(name):
    """By matplotlib, which like TeX takes no two exponents or indices of one thing."""
    loss, batch = PROGRAMS[name](random.Random(3))
    parse = mathtext.MathTextParser("path").parse
    for row in vectorize(loss, list(batch)).equations.latex().splitlines()[1:-1]:
        assert row.isascii()
        for side in row.removesuffix(r" \\").split("&"):
            if side := side.removeprefix("=").strip():
                parse(
                    "$" + side.replace(r"\tfrac", r"\frac").replace(r"\textstyle", "").replace(r"\surd", r"\Psi") + "$"
                )


def test_a_condition_stands_without_brackets_and_an_array_of_single_readings_in_its_order():
    x, w = [Value(i - 0.5) for i in range(3)], [Value(i + 1.0) for i in range(3)]
    slopes = gradient(sum_([abs(a) * b.relu() for a, b in zip(w, x, strict=True)]), w)
    text = str(vectorize(sum_(slopes), batch=[x]))
    assert re.search(r" = 1 if 0 < (\w+) else −1 if \1 < 0 else 0 ", text)
    assert re.search(r" = ReLU\(\w+\)\[→ 3:1:−1\] ", text)
