"""A trial: a random program, vectorised in a random way and called in a random order, against the scalar engine.

The scalar engine records the program anew for every sample, so that branches, kinks and derivatives
inside the loss are those of that sample. How far two right answers may differ is measured: every
number of the graph is disturbed by a relative NOISE, and what that does to a result, scaled down to
rounding, is the unit in which errors are counted here. A result that hangs on a rounding (a kink
that is hit only nearly) has a large unit by itself; one that is hit exactly has not.
"""

from __future__ import annotations

import math
import random
import threading
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import programs
from programs import Leaf, Program, record

from microgradlike import Value, ops, topological_order, vectorize
from microgradlike.ieee import ieee
from microgradlike.recording import full_order

NOISE = 2.0**-32
LIMIT = 64.0  # so many units are taken for rounding
EXACT = {"add", "sub", "mul", "neg", "sum", "dot", "affine", "relu", "abs", "maximum", "minimum", "max", "chosen"}
COMPARISONS = {"less", "less_equal", "equal"}  # 1 or 0, whatever is compared


class Wrong(AssertionError):
    """An answer is not the scalar engine's."""


@dataclass
class Answer:
    """The loss of one sample and ∂loss/∂leaf, and how far a relative error of 1 everywhere would move each."""

    loss: float
    loss_unit: float
    grads: dict[Leaf, float]
    units: dict[Leaf, float]
    decisions: tuple[bool, ...]
    largest: float  # of all numbers of the graph; inf where one is not finite
    at_the_brink: bool  # a number is so large that a sum may overflow in another order, as help(matrix) says

    @property
    def finite(self) -> bool:
        """Whether all numbers of the graph are, and of a size that products survive."""
        return self.largest < 1e100

    @property
    def defined(self) -> bool:
        """Whether loss and gradients are finite."""
        return all(map(math.isfinite, (self.loss, *self.grads.values())))


def _short(x: float) -> bool:
    """Whether sums and products of such numbers are exact."""
    return abs(x) < 2**12 and (x * 2**10).is_integer()


def _pass(
    order: list[Value], noise: Callable[[bool], float]
) -> tuple[dict[Value, float], dict[Value, float], list[float]]:
    """The forward and the backward pass through a recorded graph, with noise on what is not exact; all numbers."""
    data = _forward(order, noise)
    numbers = [*map(abs, data.values())]
    grads = dict.fromkeys(order, 0.0)
    grads[order[-1]] = 1.0
    for node in reversed(order):
        if node.inputs:
            local_grads = node.op.differentiate(ieee, data[node], [data[i] for i in node.inputs])
            for i, local_grad in zip(node.inputs, local_grads, strict=True):
                share = grads[node] * float(local_grad)
                grads[i] += share * noise(False)
                numbers.append(abs(share))
    return data, grads, numbers


def _forward(order: list[Value], noise: Callable[[bool], float]) -> dict[Value, float]:
    """The forward pass through a recorded graph, with noise on what is not exact."""
    data, exact = {}, {}
    for node in order:
        if node.inputs:
            y = float(node.op.evaluate(ieee, [data[i] for i in node.inputs]))
            is_exact = node.op.name in EXACT and all(exact[i] for i in node.inputs) and _short(y)
            is_exact |= node.op.name in COMPARISONS
        else:
            y, is_exact = node.data, node.op is ops.CONSTANT or _short(node.data)
        data[node], exact[node] = y * noise(is_exact), is_exact
    return data


def answers(program: Program, number: Callable[[Leaf], float]) -> list[Answer]:
    """What the scalar engine says of this sample, for each of the losses."""
    return [_answer(program, number, k) for k in range(len(program.losses))]


def _answer(program: Program, number: Callable[[Leaf], float], k: int) -> Answer:
    decisions: list[bool] = []
    leaves, losses = record(program, number, decide=deciding(decisions))
    loss = losses[k]
    loss.backward()
    order = topological_order(loss)
    present = set(map(id, order))
    grads = {leaf: float(v.grad) for leaf, v in leaves.items() if id(v) in present}
    numbers = _pass(order, lambda exact: 1.0)[2]
    largest = max(numbers) if all(x == x for x in numbers) else math.inf
    rng, moved, changes = random.Random(0), 0.0, dict.fromkeys(grads, 0.0)
    for _ in range(2):
        data, disturbed, _ = _pass(order, lambda exact: 1.0 if exact else 1.0 + NOISE * rng.uniform(-1, 1))
        moved = max(moved, _distance(data[loss], loss.data))
        changes = {leaf: max(c, _distance(disturbed[leaves[leaf]], grads[leaf])) for leaf, c in changes.items()}
    least = max(changes.values(), default=0.0) / 128  # by accident one may have moved little
    units = {leaf: max(c, least) / NOISE + abs(grads[leaf]) for leaf, c in changes.items()}
    unit = moved / NOISE + abs(loss.data)
    brink = any(1e290 < x < math.inf for x in numbers)
    return Answer(loss.data, unit, grads, units, tuple(decisions), largest, brink)


Numbers = dict[str, list[tuple[float, float]]]


def numbers_of(program: Program, number: Callable[[Leaf], float]) -> tuple[Numbers, bool]:
    """What the scalar engine says of each variable, with units of error; whether a sum may overflow in another order."""
    leaves = {leaf: Value(number(leaf)) for leaf in program.leaves}
    held = {name: values_in(x) for name, x in program.variables(programs.VALUES, leaves.__getitem__).items()}
    order = list(dict.fromkeys(v for nodes in held.values() for w in nodes for v in topological_order(w)))
    brink = any(1e290 < abs(x) < math.inf for x in _forward(order, lambda exact: 1.0).values())
    rng, moved = random.Random(0), dict.fromkeys(order, 0.0)
    for _ in range(2):
        disturbed = _forward(order, lambda exact: 1.0 if exact else 1.0 + NOISE * rng.uniform(-1, 1))
        moved = {v: max(m, _distance(disturbed[v], v.data)) for v, m in moved.items()}
    return {name: [(v.data, moved[v] / NOISE + abs(v.data)) for v in nodes] for name, nodes in held.items()}, brink


def values_in(x: Any) -> list[Value]:
    """The Values in nested lists, one after the other; an empty list where there is anything else."""
    if isinstance(x, Value):
        return [x]
    parts = [values_in(part) for part in x] if isinstance(x, list | tuple) else []
    return [v for part in parts for v in part] if all(parts) else []


def shape_of(x: Any) -> tuple[int, ...] | None:
    """The shape of nested lists; None where they have different lengths."""
    if isinstance(x, Value):
        return ()
    shapes = {shape_of(part) for part in x}
    return None if len(shapes) > 1 or None in shapes else (len(x), *(shapes.pop() or ()))


def deciding(decisions: list[bool]) -> Callable[[Any], bool]:
    """What a program calls for its branches: it notes how they were decided."""

    def decide(condition: Any) -> bool:
        decisions.append(bool(condition))
        return decisions[-1]

    return decide


def _distance(a: float, b: float) -> float:
    """How far the noise has moved a number b; inf where it has moved so far that nothing can be concluded, as in sin(1e15)."""
    if not math.isfinite(a - b):
        return 0.0 if a == b else math.inf
    return abs(a - b) if abs(a - b) < 1e-3 * abs(b) or abs(a - b) < 1e-6 else math.inf


# ── The plan: who varies, which arguments, which numbers, which calls ──────────────────────────

CALLS = [
    "values",
    "loss",
    "loss",
    "backward",
    "gradients",
    "gradients",
    "descend",
    "push",
    "pull",
    "empty",
    "wild",
    "set",
    "assign",
]
EXACT_NUMBERS = [0.0, 0.5, -0.5, 1.0, -1.0, 1.5, 2.0, -2.0, 0.25, 3.0]


def draw(*key: Any) -> random.Random:
    """A generator that depends on the key alone: a leaf's draws stay when others are left out of a program."""
    return random.Random(repr(key))


@dataclass
class Trial:
    """All that is random about a trial follows from the seed; a shortened program keeps the rest."""

    seed: int
    program: Program
    arguments_mode: str = ""
    samples: int = 0
    from_function: bool = False
    calls: int = 6
    threads: bool = False
    dtype: Any = np.float64
    figures: Figures = field(default_factory=lambda: Figures())

    def number(self, leaf: Leaf, sample: int) -> float:
        """The number of a leaf in a sample; sample −1 is the recorded one."""
        r = draw(self.seed, "number", leaf, sample)
        kind = draw(self.seed, "size", sample).choice(["any", "any", "any", "exact", "exact", "far", "huge"])
        if sample < 0:
            kind = draw(self.seed, "size").choice(["any", "any", "exact"])
        if kind == "exact":
            return r.choice(EXACT_NUMBERS)
        if kind == "huge" and r.random() < 0.2:
            return r.choice([1e15, -1e15, 1e154, -1e200, 1e300, 800.0, -800.0])
        return r.gauss(0, 1) * (10 ** r.uniform(0, 2.5) if kind == "far" else 1)

    def argument_of(self, leaf: Leaf) -> int | None:
        """Which argument a leaf belongs to; None for parameters."""
        mode = self.arguments_mode
        r = draw(self.seed, "argument", leaf)
        if mode == "none":
            return None
        if mode == "natural":  # inputs vary, and each is an argument
            names = list(self.program.shapes)
            return names.index(leaf[0]) if leaf[0][0] in "xy" else None
        if mode == "names":
            return draw(leaf[0]).randrange(5) if draw(self.seed, "varies", leaf[0]).random() < 0.5 else None
        if r.random() < 0.4:
            return None
        return 0 if mode == "one" else r.randrange(4)

    def run(self) -> None:
        """Raise Wrong where an answer is."""
        Run(self).run()


@dataclass
class Figures:
    """What was done, and how far off the answers were, in units."""

    programs: int = 0
    nodes: int = 0
    samples: int = 0
    calls: int = 0
    refused: int = 0
    wild: int = 0
    numbers: int = 0
    undecided: int = 0
    against_jax: int = 0
    largest: float = 0.0

    def __iadd__(self, other: Figures) -> Figures:
        for name, x in vars(other).items():
            setattr(self, name, max(x, self.largest) if name == "largest" else getattr(self, name) + x)
        return self

    def __str__(self) -> str:
        return (
            f"{self.programs} programs, {self.nodes} nodes, {self.samples} samples ({self.wild} with infinities), "
            f"{self.calls} calls ({self.refused} refused), {self.numbers} numbers compared ({self.undecided} that hang on a "
            f"rounding), {self.against_jax} programs compared with JAX; "
            f"largest error {self.largest:.3g} units of rounding"
        )


class Run:
    """One trial, running."""

    def __init__(self, trial: Trial) -> None:
        self.trial, self.program = trial, trial.program
        t = trial
        decisions: list[bool] = []
        decide, r = deciding(decisions), draw(t.seed, "vectorize")
        self.leaves = {leaf: Value(t.number(leaf, -1)) for leaf in self.program.leaves}
        held = self.program.variables(programs.VALUES | {"decide": decide}, self.leaves.__getitem__)
        losses = [held[name] for name in self.program.losses]
        self.variables = {name: x for name, x in held.items() if values_in(x)}
        taken = tuple(decisions)
        labels = r.choice([[], [], ["w"], ["", "w", "W", "x", "y", "C", "z¹", "W¹", "W1", "a b", "δ¹"]])
        for leaf, v in self.leaves.items() if labels else ():
            v.label = draw(t.seed, "label", leaf).choice(labels)
        self.arguments: list[list[Leaf]] = []
        by_number: dict[int, list[Leaf]] = {}
        for leaf in self.program.leaves:
            if (number := t.argument_of(leaf)) is not None:
                by_number.setdefault(number, []).append(leaf)
        for number, leaves in sorted(by_number.items()):
            if t.arguments_mode != "natural":
                draw(t.seed, "order", number).shuffle(leaves)
            self.arguments.append(leaves)
        batch: Any = [self._nested([self.leaves[leaf] for leaf in a], r) for a in self.arguments]
        if all(isinstance(argument, Value) for argument in batch):  # a flat list would be one argument
            batch = [[argument] for argument in batch]
        if len(batch) == 1 and r.random() < 0.3:
            batch = [self.leaves[leaf] for leaf in self.arguments[0]]
        varying = {leaf for a in self.arguments for leaf in a}
        self.programs = []
        for k, loss in enumerate(losses):
            if loss.op is ops.CONSTANT:
                continue
            present = set(map(id, topological_order(loss)))
            free = [leaf for leaf in self.program.leaves if leaf not in varying and id(self.leaves[leaf]) in present]
            wanted = free
            settings: dict[str, Any] = {"dtype": t.dtype}
            if free and r.random() < 0.2:
                wanted = [leaf for leaf in free if draw(t.seed, "wanted", leaf).random() < 0.5] or free[:1]
                settings["parameters"] = [self.leaves[leaf] for leaf in wanted]
            if t.from_function:
                found = vectorize(lambda k=k: self._again(k, decide), batch, **settings)
            else:
                found = vectorize(loss, batch, **settings)
            if (walks := draw(t.seed, "walks").choice([None, math.inf, 0])) is not None:
                found._walkable = walks  # by the walk or by the lines, whatever the graph is
            found._few = draw(t.seed, "few").choice([0, found._few])  # lines alike joined or not
            self.programs.append(_Vectorised(self, k, found, wanted, taken))
            t.figures.nodes += len(present)
        t.figures.programs += 1
        self.cache: dict[Any, list[Answer]] = {}
        self.seen: dict[Any, tuple[Numbers, bool]] = {}

    def _again(self, k: int, decide: Callable[[Any], bool]) -> Value:
        """The loss, recorded on the same leaves."""
        return self.program.run(programs.VALUES | {"decide": decide}, self.leaves.__getitem__)[k]

    def _nested(self, values: list[Value], r: random.Random) -> Any:
        """The same leaves in nested lists, or a single one as it is."""
        if len(values) == 1 and r.random() < 0.3:
            return values[0]
        if len(values) > 1 and r.random() < 0.3:
            cut = r.randint(1, len(values) - 1)
            return [self._nested(values[:cut], r), self._nested(values[cut:], r)]
        return values

    def answer(self, k: int, sample: int, numbers: dict[Leaf, float], version: Any) -> Answer:
        """The scalar engine's, for these numbers of the parameters."""
        key = sample, version
        if key not in self.cache:
            self.cache[key] = answers(self.program, self.number(sample, numbers))
            self.trial.figures.samples += 1
        return self.cache[key][k]

    def numbers(self, sample: int, numbers: dict[Leaf, float], version: Any) -> tuple[Numbers, bool]:
        """Those of the variables, likewise."""
        key = sample, version
        if key not in self.seen:
            self.seen[key] = numbers_of(self.program, self.number(sample, numbers))
        return self.seen[key]

    def number(self, sample: int, numbers: dict[Leaf, float]) -> Callable[[Leaf], float]:
        """The number of each leaf, in a sample or as a parameter."""
        varying = {leaf for a in self.arguments for leaf in a}
        return lambda leaf: self.trial.number(leaf, sample) if leaf in varying else numbers[leaf]

    def run(self) -> None:
        r = draw(self.trial.seed, "calls")
        for _ in range(self.trial.calls):
            for each in self.programs:
                if self.trial.threads:
                    continue
                each.call(r)
        for each in self.programs:
            each.finish(r)


def _leaves_below(nodes: list[Value]) -> set[Value]:
    """The leaves that nodes depend on."""
    return {v for node in nodes for v in full_order(node) if v.op is ops.LEAF}


class _Vectorised:
    """A program that vectorize found, and what we know of its state."""

    def __init__(self, run: Run, k: int, found: Any, wanted: list[Leaf], decisions: tuple[bool, ...]) -> None:
        self.run, self.k, self.found, self.decisions = run, k, found, decisions
        name = {id(v): leaf for leaf, v in run.leaves.items()}
        self.entries = [[name[id(v)] for v in p.nodes] for p in found.parameters]
        got = sorted(leaf for entries in self.entries for leaf in entries)
        more = set(got) - set(wanted)  # what was only compared has a gradient as well: 0
        may_have_more = decisions or "gradient(" in run.program.text
        if len(set(got)) < len(got) or not set(got) >= set(wanted) or (more and not may_have_more):
            raise Wrong(f"the parameters are {got}, expected {sorted(wanted)}")
        self.values = {leaf: run.trial.number(leaf, -1) for leaf in run.program.leaves}  # in the Values
        self.arrays = self.rounded()  # in the program
        self.version = 0
        self.kept: list[tuple[Any, Any]] = []
        self.read()

    def read(self) -> None:
        """What the program says of itself: texts, and the place of every leaf."""
        texts = [self.found.source, repr(self.found)]
        if self.found.loss.inputs:  # of a loss that is itself a leaf nothing is computed
            texts += [str(self.found), self.found.equations.latex()]
        if not all(texts):
            raise Wrong("nothing is printed")
        for p, entries in zip(self.found.parameters, self.entries, strict=True):
            if p.data.ravel().tolist() != [self.arrays[leaf] for leaf in entries]:
                raise Wrong(f"{p.name} does not hold the numbers of its Values")
            for v, leaf in zip(p.nodes, entries, strict=True):
                name, entry = self.found.where(v)
                if name != p.name or self.found.nodes(name)[entry] is not v:
                    raise Wrong(f"{leaf} is said to be {name}{list(entry)}, which it is not")
        for node in topological_order(self.found.loss):
            place, name = self.found.where(node), self.found.name_of(node)
            if place is not None:
                there = self.found.nodes(place.name)[place.entry]
                if name != place.name or abs(there.data - node.data) > 1e-9 * (1.0 + abs(node.data)):
                    raise Wrong(f"a node is said to be {place}, which it is not")

    # ── Calls ──

    def call(self, r: random.Random) -> None:
        """One call of the program, and what must come out."""
        self.run.trial.figures.calls += 1
        kind = r.choice(CALLS)
        samples = self.samples(r, wild=kind == "wild" or (kind == "values" and r.random() < 0.3))
        if samples is None:
            return
        if kind in ("loss", "wild"):
            self.expect_losses(self.attempt(lambda: self.found(*self.arrays_of(samples, r)), samples), samples, kind)
        elif kind in ("backward", "gradients"):
            self.expect_gradients(samples, r, kind)
        elif kind == "values":
            self.expect_values(samples, r)
        elif kind == "descend":
            self.descend(samples, r)
        elif kind == "push":
            for each in self.run.programs:  # Values are shared by the programs of several losses
                each.values |= {leaf: self.arrays[leaf] for entries in self.entries for leaf in entries}
            before = {leaf: v.grad for leaf, v in self.run.leaves.items()}
            self.found.push()
            for p, entries in zip(self.found.parameters, self.entries, strict=True):
                if p.has_grad:
                    before |= dict(zip(entries, p.grad.ravel().tolist(), strict=True))
            for leaf, v in self.run.leaves.items():
                if v.data != self.values[leaf] or repr(v.grad) != repr(before[leaf]):
                    got = f"{v.data} with gradient {v.grad}"
                    raise Wrong(f"after push, {leaf} is {got}, not {self.values[leaf]} with {before[leaf]}")
        elif kind == "set":  # somebody changes the Values; the program knows it from the next pull on
            for leaf in r.sample(self.run.program.leaves, min(2, len(self.run.program.leaves))):
                self.run.leaves[leaf].data = number = r.gauss(0, 1)
                for each in self.run.programs:
                    each.values[leaf] = number
        elif kind == "assign" and self.entries:  # somebody changes the arrays
            p, entries = r.choice(list(zip(self.found.parameters, self.entries, strict=True)))
            p.data = p.data * 0.5 if r.random() < 0.5 else np.full(p.shape, r.choice(EXACT_NUMBERS))
            self.arrays |= dict(zip(entries, p.data.ravel().tolist(), strict=True))
            self.version += 1
        elif kind == "pull":
            self.found.pull()
            self.version += self.arrays != self.rounded()
            self.arrays = self.rounded()
        elif kind == "empty" and self.run.arguments:
            empty = [np.zeros((0, len(a))) for a in self.run.arguments]
            if self.found(*empty).shape != (0,) or any(g.any() for g in self.found.gradients(*empty).values()):
                raise Wrong("an empty batch has losses or gradients")

    def rounded(self) -> dict[Leaf, float]:
        """The numbers of the Values as the program holds them."""
        with np.errstate(over="ignore"):
            return {leaf: float(self.run.trial.dtype(x)) for leaf, x in self.values.items()}

    def finish(self, r: random.Random) -> None:
        """The gradients of all samples, and of each alone; what threads get."""
        count = self.run.trial.samples
        for samples in ([s] for s in range(count)):
            if self.fine(samples):
                self.expect_gradients(samples, r, "backward")
            elif (
                all(self.answer(s).defined and not self.answer(s).at_the_brink for s in samples)
                and self.run.trial.dtype == np.float64
            ):
                self.expect_gradients(samples, r, "gradients")  # something overflows, but no result does
        fine = [s for s in range(count) if self.fine([s])]
        if fine:
            self.expect_gradients(fine, r, "gradients")
            self.expect_gradients((fine * 70)[: 65 + len(fine)], r, "backward")
        if fine and self.run.trial.threads:
            self.in_threads(fine if self.run.arguments else fine[:1], r)

    def in_threads(self, fine: list[int], r: random.Random) -> None:
        """Several threads call one program."""
        failures: list[BaseException] = []

        def work(seed: int) -> None:
            own = random.Random(seed)
            try:
                for _ in range(8):
                    samples = own.choices(fine, k=own.choice([1, 2, 3, 70])) if self.run.arguments else fine
                    if own.random() < 0.5:
                        self.expect_losses(self.found(*self.arrays_of(samples, own)), samples, "loss")
                    else:
                        self.expect_gradients(samples, own, "gradients")
            except BaseException as error:
                failures.append(error)

        threads = [threading.Thread(target=work, args=(r.random(),)) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if failures:
            raise failures[0]

    def attempt(self, call: Callable[[], Any], samples: list[int]) -> Any:
        """What the call returns; None where it refuses, as it must or may for these samples."""
        other_branch = any(self.answer(s).decisions != self.decisions for s in samples)
        try:
            with np.errstate(all="raise" if len(samples) % 3 == 1 else "warn"):  # the caller's settings are no matter
                result = call()
            self.check_kept()
        except ValueError as error:
            if "came out otherwise" in str(error) or "comes out otherwise" in str(error):
                if not other_branch:
                    raise Wrong(f"refused, though every comparison comes out as recorded: {error}") from error
            elif self.fine(samples):
                raise Wrong(f"refused, though all numbers are finite: {error}") from error
            self.run.trial.figures.refused += 1
            for p, entries in zip(self.found.parameters, self.entries, strict=True):
                if p.data.ravel().tolist() != [self.arrays[leaf] for leaf in entries]:
                    raise Wrong(f"a call that was refused has changed {p.name}") from error
            return None
        if other_branch and self.run.trial.from_function:
            raise Wrong("answered, though a comparison comes out otherwise for some sample")
        return result

    def check_kept(self) -> None:
        """A call changes neither what it was given nor what earlier calls have returned."""
        if not all(np.array_equal(x, before, equal_nan=True) for x, before in self.kept):
            raise Wrong("a call has changed its arguments or an earlier result")

    def keep(self, x: Any) -> None:
        """Remember an array that must not change."""
        self.kept = [*self.kept[-20:], (x, np.array(x))]

    def descend(self, samples: list[int], r: random.Random) -> None:
        """A step of gradient descent."""
        lr = r.choice([0.5, 0.25, 1e-3])
        want, unit = self.mean(samples)
        arrays = self.arrays_of(samples, r)
        self.attempt(lambda: self.found.descend(*arrays, lr=lr), samples)
        self.version += 1
        for p, entries in zip(self.found.parameters, self.entries, strict=True):
            if p.has_grad:
                raise Wrong("after a descent there is a gradient")
            for leaf, new in zip(entries, p.data.ravel().tolist(), strict=True):
                old, self.arrays[leaf] = self.arrays[leaf], new
                self.compare(f"value {leaf} after a descent", new, old - lr * want[leaf], lr * unit[leaf] + abs(old))

    # ── What is expected ──

    @property
    def key(self) -> Any:
        """What is equal where the parameters have the same numbers."""
        return id(self) if self.version else "recorded", self.version

    def answer(self, sample: int) -> Answer:
        """The scalar engine's, at the present numbers."""
        return self.run.answer(self.k, sample, self.arrays, self.key)

    def fine(self, samples: list[int]) -> bool:
        """Whether the program must answer for these samples."""
        answers = [self.answer(s) for s in samples]
        if not self.run.trial.from_function:  # branches are not seen then: a documented limit
            answers = [a if a.decisions == self.decisions else replace(a, largest=math.inf) for a in answers]
        if self.run.trial.dtype == np.float32:
            columns = [leaf for a in self.run.arguments for leaf in a]
            if any(abs(self.run.trial.number(leaf, s)) > 1e10 for leaf in columns for s in samples):
                return False
        limit = 1e100 if self.run.trial.dtype == np.float64 else 1e10
        return all(a.largest < limit and a.defined and a.decisions == self.decisions for a in answers)

    def samples(self, r: random.Random, wild: bool) -> list[int] | None:
        """Some samples, fine ones or any."""
        pool = [s for s in range(self.run.trial.samples) if wild or self.fine([s])]
        if not wild and not pool:
            return None
        if not self.run.trial.from_function:
            pool = [s for s in pool if self.answer(s).decisions == self.decisions]
        if not pool:
            return None
        return r.choices(pool, k=r.choice([1, 1, 2, 3, 4, 5, 6, 7, 8, 9, 64, 100])) if self.run.arguments else pool[:1]

    def arrays_of(self, samples: list[int], r: random.Random) -> list[Any]:
        """The arguments, as arrays of one kind or other."""
        arrays = []
        for leaves in self.run.arguments:
            x = np.array([[self.run.trial.number(leaf, s) for leaf in leaves] for s in samples])
            kind = r.random()
            if kind < 0.1:
                x = x.tolist()
            elif kind < 0.2:
                x = np.asfortranarray(x)
            elif kind < 0.3:
                x = np.repeat(x, 2, axis=1)[:, ::2]
            elif kind < 0.4:
                x = x.reshape(len(samples), 1, len(leaves))
            elif kind < 0.5:
                x = x[::-1].copy()[::-1]
                x.flags.writeable = False
            elif kind < 0.6 and all(abs(v) < 1e9 and v.is_integer() for v in x.ravel().tolist()):
                x = x.astype(int)
            arrays.append(x)
            self.keep(x)
        return arrays

    def mean(self, samples: list[int]) -> tuple[dict[Leaf, float], dict[Leaf, float]]:
        """The mean of the gradients, and its unit of error."""
        answers = [self.answer(s) for s in samples]
        leaves = [leaf for entries in self.entries for leaf in entries]
        n = len(samples)
        want = {leaf: math.fsum(a.grads.get(leaf, 0.0) for a in answers) / n for leaf in leaves}
        unit = {leaf: sum(a.units.get(leaf, 0.0) for a in answers) / n for leaf in leaves}
        return want, unit

    def expect_losses(self, got: Any, samples: list[int], kind: str) -> None:
        """Compare losses."""
        if got is None:
            return
        n = len(samples) if self.run.arguments else 1
        self.keep(got)
        if got.shape != (n,):
            raise Wrong(f"losses of shape {got.shape} for {n} samples")
        for s, loss in zip(samples, got.tolist(), strict=True):
            answer = self.answer(s)
            if not answer.finite:
                self.run.trial.figures.wild += 1
            overflows = answer.at_the_brink or self.run.trial.dtype == np.float32
            if self.fine([s]) or (math.isfinite(answer.loss) and not overflows):
                self.compare(f"the loss of sample {s} ({kind})", loss, answer.loss, answer.loss_unit)

    def expect_gradients(self, samples: list[int], r: random.Random, kind: str) -> None:
        """Compare the gradients of these samples."""
        arrays = self.arrays_of(samples, r)
        if kind == "backward":
            losses = self.attempt(lambda: self.found.backward(*arrays), samples)
            self.expect_losses(losses, samples if self.run.arguments else samples[:1], "backward")
            found = None if losses is None else [p.grad for p in self.found.parameters]
        else:
            named = self.attempt(lambda: self.found.gradients(*arrays), samples)
            found = None if named is None else [named[p.name] for p in self.found.parameters]
            for g in found or ():
                self.keep(g)
        if found is None:
            return
        want, unit = self.mean(samples if self.run.arguments else samples[:1])
        for entries, numbers in zip(self.entries, found, strict=True):
            for leaf, g in zip(entries, np.ravel(numbers).tolist(), strict=True):
                self.compare(f"the gradient of {leaf} over {len(samples)} samples", g, want[leaf], unit[leaf])

    def expect_values(self, samples: list[int], r: random.Random) -> None:
        """Compare the numbers of some of the program's variables."""
        variables = self.run.variables
        known = {v for v in self.run.leaves.values() if v in self.found.found.graph.index_of}
        fit = [name for name, x in variables.items() if _leaves_below(values_in(x)) <= known]
        key = r.random()
        chosen = [name for name in fit if draw(key, name).random() < 0.15]
        flat = [v for name in chosen for v in values_in(variables[name])]
        nodes, shape = flat, (len(flat),)
        if len(chosen) == 1 and r.random() < 0.8:
            nested = shape_of(variables[chosen[0]])
            nodes, shape = (flat, shape) if nested is None else (variables[chosen[0]], nested)
        if r.random() < 0.2:
            nodes = np.array(nodes, object)
        arrays, below = self.arrays_of(samples, r), _leaves_below(flat)
        if not self.run.trial.from_function:  # else comparisons may depend on an argument
            arrays = [x if i == 0 or below & set(self.found.batch[i]) else None for i, x in enumerate(arrays)]
        got = self.attempt(lambda: self.found.values(nodes, *arrays), samples)
        if got is None:
            return
        samples = samples if self.run.arguments else samples[:1]
        self.keep(got)
        if got.shape != (len(samples), *shape) or got.dtype != self.run.trial.dtype:
            raise Wrong(f"values of shape {got.shape} and {got.dtype} for {len(samples)} samples of shape {shape}")
        for s, row in zip(samples, got.reshape(len(samples), len(flat)).tolist(), strict=True):
            numbers, brink = self.run.numbers(s, self.arrays, self.key)
            want = [number for name in chosen for number in numbers[name]]
            for i, (x, (expected, unit)) in enumerate(zip(row, want, strict=True)):
                if self.fine([s]) or (math.isfinite(expected) and not brink and self.run.trial.dtype == np.float64):
                    self.compare(f"what a variable holds, number {i} of {chosen} in sample {s},", x, expected, unit)

    def compare(self, what: str, got: float, want: float, unit: float) -> None:
        """Raise Wrong where two numbers differ by more than rounding."""
        self.run.trial.figures.numbers += 1
        if got == want or (got != got and want != want):
            return
        precision = np.finfo(self.run.trial.dtype)
        error, unit = abs(got - want), float(precision.eps) * unit + 64 * float(precision.tiny)
        if not (error <= LIMIT * unit or unit == math.inf):  # then rounding decides whether it is a number at all
            shown = math.nan if not unit else error / unit
            raise Wrong(f"{what} is {got!r}, expected {want!r} ({shown:.3g} units of rounding)")
        self.run.trial.figures.undecided += LIMIT * unit > math.sqrt(precision.eps) * (1.0 + abs(want))
        if 0.0 < unit < math.inf:
            self.run.trial.figures.largest = max(self.run.trial.figures.largest, error / unit)


def random_trial(seed: int, **settings: Any) -> Trial:
    """The trial of a seed."""
    r = draw(seed)
    branches = r.random() < 0.1
    derivatives = settings.pop("derivatives", 0.2)
    program = settings.pop("program", None) or programs.random_program(
        draw(seed, "program"), settings.pop("kind", ""), derivatives=derivatives, branches=branches
    )
    settings = {
        "arguments_mode": r.choice(["natural", "natural", "names", "random", "random", "one", "none"]),
        "samples": r.randint(1, 5),
        "from_function": branches or r.random() < 0.3,
        "calls": r.randint(2, 7),
        "threads": r.random() < 0.04,
        "dtype": np.float32 if r.random() < 0.1 else np.float64,
    } | settings
    return Trial(seed, program, **settings)
