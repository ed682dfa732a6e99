"""The same gradient computed in independent ways, side by side: they must agree.

    scalar graph    `backward()`, one product for each edge; δ is z.grad of a weighted input z
    δ equations     the textbook's BP1–BP4 in matrix form (`nn.deltas`)
    array form      the matrix products that `matrix` finds in the scalar graph, run by NumPy
    forward mode    the same local derivatives pushed the other way, one pass for each entry
    differences     calculus by brute force, two passes or more for each entry

What two ways share, their agreement does not prove. The δ equations share nothing with the others: their
σ, σ′ and ∇C are their own. The array form runs the rules of `ops` on the recorded graph; forward mode
takes the local derivatives that were recorded; differences use the value rules only.

`print(agreement("quadratic", model, x, y))` shows, layer by layer as the backward pass visits them,
the largest entry of each gradient (or one that is wrong), and under it the largest difference of
any entry from the scalar graph's, relative to the largest entry.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from math import inf, isfinite
from random import Random
from textwrap import wrap
from typing import Any

from microgradlike import matrix
from microgradlike.check.differences import UNIT, ForwardPass, judge, rounding_error, value_slope
from microgradlike.check.gradients import backward_gradients
from microgradlike.graph import jvps
from microgradlike.ieee import ieee
from microgradlike.nn import LOSSES, MLP, Layer
from microgradlike.nn.deltas import SIGMA, arrays, backpropagate, unknown
from microgradlike.nn.modules import as_labelled_values
from microgradlike.notation.digits import superscript
from microgradlike.recording import recorded_local_grads
from microgradlike.value import Value, apply, topological_order
from microgradlike.view.table import WIDTH, Piece, Table

EPS = 2.0**-52
CLOSE = 256 * EPS  # of the largest entry: so far apart may ways be that differ in the order of their roundings
FINE = 1e-4  # of the largest entry: where rounding hides more than this, agreement would mean nothing


@dataclass(frozen=True, slots=True)
class Column:
    """What one way computed of one gradient: `gradient[i]` is the entry with the index `entries[i]`.

    `wrong` and `kinks` are the entries that differ from the scalar graph's by more than they may, and
    those at a kink, where differences have no answer. `largest` is the largest difference of the rest;
    `error` is how far this way itself may be off by rounding, where it tells.
    """

    entries: list[int]
    gradient: list[float]
    largest: float
    wrong: list[int] = field(default_factory=list)
    kinks: list[int] = field(default_factory=list)
    error: float = 0.0


@dataclass(frozen=True, slots=True)
class GradientRow:
    """One gradient: δˡ = ∂C/∂zˡ, ∂C/∂bˡ or ∂C/∂wˡ, with a column for each way but the scalar graph.

    `nodes` and `gradient` are the scalar graph's, in the order of the array of this `shape`. Rounding
    may move an entry by `rounding`, at most.
    """

    letter: str  # z, b or w
    layer: int
    shape: tuple[int, ...]
    nodes: list[Value]
    gradient: list[float]
    rounding: float
    columns: dict[str, Column]

    @property
    def name(self) -> str:
        """The name of the whole array: δ², ∂C/∂w²."""
        layer = superscript(self.layer)
        return f"δ{layer}" if self.letter == "z" else f"∂C/∂{self.letter}{layer}"

    def entry_name(self, i: int) -> str:
        """Return the name of one entry: δ²₁, ∂C/∂w²₁₃."""
        label = self.nodes[i].label
        return f"δ{label[1:]}" if self.letter == "z" else f"∂C/∂{label}"

    @property
    def largest(self) -> int:
        """The index of the entry of largest magnitude."""
        return max(range(len(self.gradient)), key=lambda i: abs(self.gradient[i]))

    @property
    def scale(self) -> float:
        """The magnitude of the largest entry."""
        return abs(self.gradient[self.largest])

    @property
    def allowed(self) -> float:
        """How far off rounding alone may be: 256 eps of the largest entry, or what the roundings add up to."""
        return max(CLOSE * self.scale, self.rounding)

    @property
    def wrong(self) -> bool:
        """Whether some way disagrees with the scalar graph."""
        return any(column.wrong for column in self.columns.values())

    @property
    def undecided(self) -> bool:
        """Whether rounding, or the error of the differences, is so large that agreement would mean nothing."""
        if not self.scale:  # a gradient of 0 behind a dead ReLU is 0 for certain, another may have been rounded to it
            return self.rounding > 0
        return not max(self.allowed, *(column.error for column in self.columns.values())) <= FINE * self.scale

    def relative(self, way: str) -> float:
        """Return the largest difference of this way from the scalar graph, relative to the largest entry."""
        difference = self.columns[way].largest
        return difference / self.scale if difference and self.scale else difference


@dataclass(frozen=True, slots=True, repr=False)
class Agreement:
    """The table of `agreement`: `str()` for 80 columns, in colour through rich, as HTML in a notebook."""

    title: str
    loss: float
    rows: list[GradientRow]
    forward_passes: int
    loss_off: float = 0.0  # how far C by the δ equations is from C, relative to it, if rounding does not explain it
    left_out: str = ""  # the reason why the δ equations are

    @property
    def ok(self) -> bool:
        """True if all ways agree in C and in every entry they took, and rounding is small enough to tell."""
        return isfinite(self.loss) and not self.loss_off and not self.wrong and not self.undecided

    @property
    def wrong(self) -> list[GradientRow]:
        """The rows in which some way disagrees with the scalar graph."""
        return [row for row in self.rows if row.wrong]

    @property
    def undecided(self) -> list[GradientRow]:
        """The rows in which no way is seen to disagree, and rounding is too large to call it agreement."""
        return [row for row in self.rows if row.undecided and not row.wrong]

    @property
    def tolerance(self) -> float:
        """How far apart ways may be that differ by rounding only, relative to the largest entry of a gradient."""
        return max((row.allowed / row.scale for row in self.rows if row.scale and not row.undecided), default=CLOSE)

    def table(self, width: int = WIDTH) -> Table:
        """Return the table in pieces of text, each with its role; the ways stand below each other where it is narrow."""
        return Table([line] if line else [] for line in _lines(self, min(width, WIDTH)))

    def __str__(self) -> str:
        return str(self.table())

    __repr__ = __str__

    def __rich_console__(self, console: Any, options: Any) -> Iterator[Any]:
        return self.table(options.max_width).__rich_console__(console, options)

    def _repr_html_(self) -> str:
        return self.table()._repr_html_()


def agreement(
    loss: str | Callable[[Any, Any], Value], model: MLP, x: Iterable[Any], y: Any, max_entries: int = 32
) -> Agreement:
    """Compute the gradient of C = loss(model(x), y) in all the ways there are, and compare.

    `loss` is one of `nn.LOSSES` or its name; x is one sample, y its target. The `grad` of no parameter
    is touched. Where an activation is a function of your own, the δ equations do not know it, and their
    column is left out.

    The δ equations, the array form and forward mode differ from the scalar graph in nothing but the
    order of their roundings: they must agree to 256 eps of the gradient's largest entry, or a multiple of it that the
    table states, where roundings may add up to more: where weighted inputs are large, or the output so
    close to its target that a − y cancels. Finite differences must agree within 10⁻⁶ and their own
    error estimate; at a kink they have no answer, which is marked, and not failed. Where rounding
    may hide more than 10⁻⁴ of the largest entry, the row is undecided, and `ok` is False.

    Forward mode and differences need passes for each entry. They take at most `max_entries` of an
    array, evenly spaced, and the largest.

    Raises TypeError for a model that is no `nn.MLP`, ValueError for a loss that is none of `nn.LOSSES`, and where
    shapes do not fit.
    """
    if not isinstance(model, MLP):
        raise TypeError(f"agreement takes a whole network, such as nn.MLP(2, [3, 1]): got {model!r:.60}")
    name = _loss_name(loss)
    layers = model.feedforward(x := as_labelled_values(x, "x"))
    C = LOSSES[name](layers[-1][1], y)
    gradients = backward_gradients(C)
    rounding, C_rounding = _rounding(C, gradients)
    weights, biases, activations = arrays(model)
    left_out = next((unknown(activation) for activation in activations if activation not in SIGMA), "")
    loss_off, equations = 0.0, None
    if not left_out:
        equations = backpropagate(weights, biases, activations, _data_of(x), _data_of(y), name)
        off = _difference(equations.loss, C.data)
        loss_off = 0.0 if off <= max(CLOSE * abs(C.data), C_rounding) else off / abs(C.data or 1.0)
    found = matrix.gradients(C)
    noise = rounding_error(gradients)
    passes = 0
    rows = []
    for i in reversed(range(len(model.layers))):
        for letter, shape in (("z", biases[i].shape), ("b", biases[i].shape), ("w", weights[i].shape)):
            nodes = _pieces(model.layers[i], layers[i][0], letter)
            gradient, moved = ([each.get(v, 0.0) for v in nodes] for each in (gradients, rounding))
            row = GradientRow(letter, i + 1, shape, nodes, gradient, max(moved), {})
            rows.append(row)
            some = _evenly(len(nodes), max_entries, row.largest)
            taken = [nodes[i] for i in some]
            if equations:
                array = {"z": equations.delta, "b": equations.grad_b, "w": equations.grad_w}[letter][i]
                row.columns["δ equations"] = _exact(row, dict(zip(nodes, array.ravel().tolist(), strict=True)))
            row.columns["array form"] = _exact(row, found)
            slopes = jvps(C, [{v: 1.0} for v in taken])
            row.columns["forward mode"] = _exact(row, dict(zip(taken, slopes, strict=True)))
            forward_pass = ForwardPass(_recompute(C, nodes))
            row.columns["differences"] = _by_differences(row, some, forward_pass, noise, C.data)
            passes += forward_pass.count
    sizes = "-".join(map(str, [model.layers[0].nin, *(len(layer.neurons) for layer in model.layers)]))
    sigmas = ", ".join(getattr(activation, "__name__", activation) for activation in activations)
    title = f"The {name.replace('_', ' ')} loss of a {sizes} network ({sigmas}): C = {C.data:.9g}"
    return Agreement(title, C.data, rows, passes, loss_off, left_out)


def random_network(
    sizes: Sequence[int],
    activation: str = "tanh",
    loss: str = "quadratic",
    seed: int = 0,
    output: str | None = None,
) -> tuple[MLP, list[float], list[float]]:
    """Return a network of the sizes n₀ to n_L, an input x and a target y: weights, biases and numbers from `seed`.

    Unless `output` says otherwise, the last layer is like the others for a quadratic loss of sigmoid,
    tanh or softmax, and else linear. For cross-entropy y is one-hot (0 or 1 of a single output), for the
    hinge loss ±1. Raises ValueError for sizes that make no network.
    """
    if len(sizes) < 2:
        raise ValueError(f"a network has at least the sizes of its input and of one layer: got {list(sizes)}")
    if loss == "hinge" and sizes[-1] != 1:
        raise ValueError(f"the hinge loss is of a single output: let the sizes end with 1, not {sizes[-1]}")
    of_scores = loss in ("cross_entropy", "hinge")
    rng = Random(seed)
    last = activation if activation in ("sigmoid", "tanh", "softmax") and not of_scores else "linear"
    model = MLP(sizes[0], sizes[1:], activation, output or last, rng, init="xavier")
    for b in (b for layer in model.layers for neuron in layer.neurons for _, b in neuron.pieces()):
        b.data = rng.uniform(-1, 1)
    x = [rng.uniform(-1, 1) for _ in range(sizes[0])]
    if not of_scores:
        return model, x, [rng.uniform(0, 1) for _ in range(sizes[-1])]
    right = rng.randrange(max(2, sizes[-1]))
    if sizes[-1] > 1:
        return model, x, [float(k == right) for k in range(sizes[-1])]
    return model, x, [float(right) if loss == "cross_entropy" else 2.0 * right - 1.0]


# ── The columns ────────────────────────────────────────────────────────────────────────────────


def _exact(row: GradientRow, found: Mapping[Value, float]) -> Column:
    """Return the column of a way that differs from the scalar graph by rounding only."""
    off = {i: _difference(found[v], row.gradient[i]) for i, v in enumerate(row.nodes) if v in found}
    wrong = [i for i, d in off.items() if not d <= row.allowed]
    return Column(list(off), [found[row.nodes[i]] for i in off], max(off.values(), default=0.0), wrong)


def _by_differences(row: GradientRow, entries: list[int], forward_pass: ForwardPass, noise: float, C: float) -> Column:
    slopes = {i: value_slope(forward_pass, row.nodes[i], noise, C) for i in entries}
    numbers = [found.estimate for found in slopes.values()]
    kinks = [i for i, found in slopes.items() if found.kink]
    smooth = {i: found for i, found in slopes.items() if not found.kink}
    off = [_difference(found.estimate, row.gradient[i]) for i, found in smooth.items()]
    wrong = [i for i, found in smooth.items() if judge(row.gradient[i], found, 1e-6) != "agrees"]
    error = max((found.error for found in smooth.values() if found.error < inf), default=0.0)
    return Column(entries, numbers, max(off, default=0.0), wrong, kinks, error)


def _recompute(C: Value, given: Iterable[Value]) -> Callable[[], float]:
    """Return a function that computes C anew, from the data that its leaves and `given` have when it is called."""
    fixed = set(given)
    steps = [node for node in topological_order(C) if node.inputs and node not in fixed]

    def forward() -> float:
        data: dict[Value, float] = {}
        for node in steps:
            data[node] = node.op.evaluate(ieee, [data.get(v, v.data) for v in node.inputs])
        return data[C]

    return forward


def _difference(a: float, b: float) -> float:
    return 0.0 if a == b else abs(a - b)


def _rounding(C: Value, gradients: dict[Value, float]) -> tuple[dict[Value, float], float]:
    """Bound, to first order, how far rounding can have moved each ∂C/∂v, and C.

    Forwards: a node is off by its own rounding, and by ∂ₖnode times what its k-th input is off by.
    Backwards: a product upstream · local is off by what either factor is off by, times the other; and
    a local derivative by its derivatives (the second ones of the operation) times what the inputs are.
    """
    order = topological_order(C)
    data_off = dict.fromkeys(order, 0.0)
    for node in order:
        for v, d in zip(node.inputs, node.local_grads, strict=True):
            data_off[node] += abs(d) * (data_off[v] + UNIT * abs(v.data))
        data_off[node] += UNIT * abs(node.data) if node.inputs else 0.0
    off = dict.fromkeys(order, 0.0)
    for node in reversed(order):
        if node.inputs and (off[node] or gradients[node]):
            local_off = _local_grads_off(node, data_off)
            for v, d, d_off in zip(node.inputs, node.local_grads, local_off, strict=True):
                off[v] += off[node] * abs(d) + abs(gradients[node]) * (d_off + 2 * UNIT * abs(d))
    return off, data_off[C]


def _local_grads_off(node: Value, data_off: dict[Value, float]) -> list[float]:
    """Bound how far each local derivative is off where each input is off by its `data_off`."""
    input_off = {Value(v.data): data_off[v] for v in node.inputs}
    local_grads = recorded_local_grads(apply(node.op, *input_off))
    second = [backward_gradients(d) if isinstance(d, Value) else {} for d in local_grads]
    return [sum(abs(slope) * input_off.get(v, 0.0) for v, slope in slopes.items()) for slopes in second]


def _evenly(n: int, most: int, and_this: int) -> list[int]:
    """Return the indices of all n entries, or of `most` of them, evenly spaced, and of `and_this`."""
    most = min(most, n)
    return sorted({*(i * n // most for i in range(most)), and_this})


def _pieces(layer: Layer, z: list[Any], letter: str) -> list[Value]:
    """Return all z, b or w of a layer as `nn.deltas` orders them: maxout's second set after its first."""
    neurons = [
        [{"z": [z_j], "b": [b], "w": w}[letter] for (w, b), z_j in zip(neuron.pieces(), _as_tuple(zs), strict=True)]
        for neuron, zs in zip(layer.neurons, z, strict=True)
    ]
    return [v for piece in zip(*neurons, strict=True) for vs in piece for v in vs]


def _as_tuple(z: Any) -> Any:
    return z if isinstance(z, tuple) else (z,)


def _loss_name(loss: Any) -> str:
    for name, function in LOSSES.items():
        if loss in (name, function):
            return name
    raise ValueError(f"the δ equations know the losses {', '.join(LOSSES)}: got {loss!r}")


def _data_of(x: Any) -> Any:
    if isinstance(x, Value):
        return x.data
    return [_data_of(each) for each in x] if hasattr(x, "__iter__") else x


# ── The table ──────────────────────────────────────────────────────────────────────────────────

_LABEL = 12
_UNDER = {
    "scalar graph": "backward()",
    "δ equations": "BP1 – BP4",
    "array form": "found in C",
    "forward mode": "tangents",
    "differences": "C(v ± ε)",
}


def _lines(a: Agreement, wide: int) -> Iterator[list[Piece]]:
    ways = ["scalar graph", *a.rows[0].columns]
    width = (WIDTH - _LABEL) // len(ways)
    digits = width - 8  # beside them stand a sign, "0.000" or an exponent, and a gap
    yield from ([(line, "strong")] for line in wrap(a.title, wide))
    if wide == WIDTH:
        yield []
        yield [(" " * _LABEL + "".join(f"{way:>{width}}" for way in ways), "strong")]
        yield [(" " * _LABEL + "".join(f"{_UNDER[way]:>{width}}" for way in ways), "dim")]
    for i, row in enumerate(a.rows):
        if i % 3 == 0:
            yield []
            yield [(f"layer {row.layer}", "strong")]
        shown = next((column.wrong[0] for column in row.columns.values() if column.wrong), row.largest)
        numbers: list[Piece] = [(f"{row.entry_name(shown):<{_LABEL}}", "")]
        numbers.append((f"{_format(row.gradient[shown], digits):>{width}}", ""))
        entries = f"{len(row.nodes)} entries" if len(row.nodes) > 1 else "1 entry"
        differences: list[Piece] = [(f"{f'  of {entries}, within':<{_LABEL + width}}", "dim")]
        for way, column in row.columns.items():
            role = "upstream" if column.wrong else ""
            taken = dict(zip(column.entries, column.gradient, strict=True))
            x = "kink" if shown in column.kinks else _format(taken[shown], digits) if shown in taken else "–"
            mark = "✗ " if column.wrong else "? " if row.undecided else ""
            numbers.append((f"{x:>{width}}", role))
            off = mark + _off(row.relative(way)) if taken else ""
            differences.append((f"{off:>{width}}", role or "dim"))
        if wide == WIDTH:
            yield numbers
            yield differences
        else:
            yield [(f"{row.entry_name(shown)} of {entries}", "strong")]
            offs = [("  within", "dim"), *differences[1:]]
            for way, (x, role), (off, dim) in zip(ways, numbers[1:], offs, strict=True):
                yield [(f"  {way:<{_LABEL}}", ""), (x, role), (f"{off:>10}" if off.strip() else "", dim)]
    for text, role in _verdict(a):
        yield []
        yield from ([(line, role)] for line in wrap(text, wide))


def _format(x: float, digits: int) -> str:
    return f"{x:z.{digits}g}" if x.is_integer() else f"{x:#.{digits}g}"


def _off(difference: float) -> str:
    return f"{difference:.1e}" if difference else "0"


def _verdict(a: Agreement) -> Iterator[Piece]:
    """Say what the numbers mean: agreement or not, kinks, and which entries were left out."""
    if not isfinite(a.loss):
        yield f"C is {a.loss}: there is nothing to compare.", "upstream"
    elif a.wrong or a.loss_off:
        wrong = [f"δ equations in C (off by {_off(a.loss_off)})"] if a.loss_off else []
        wrong += [
            f"{way} in {row.name} ({len(column.wrong)} of {len(column.entries)} entries, off by {_off(row.relative(way))})"
            for row in a.wrong
            for way, column in row.columns.items()
            if column.wrong
        ]
        yield f"They disagree: {', '.join(wrong)}.", "upstream"
    elif len(a.undecided) < len(a.rows):
        yield (
            f"{'The others' if a.undecided else 'All'} agree: each within {a.tolerance:.1e} "
            f"({a.tolerance / EPS:.0f} eps) of the largest entry, "
            f"differences within 1e-06 and their own error, with {a.forward_passes} forward passes.",
            "strong",
        )
    if a.left_out:
        yield f"The δ equations are left out: {a.left_out}.", ""
    if a.undecided and isfinite(a.loss):
        yield (
            f"Undecided: {', '.join(row.name for row in a.undecided)}. Rounding may hide more than "
            f"{FINE:.0e} of the largest entry there, so that nothing would follow if they agreed.",
            "upstream",
        )
    if kinks := [row.entry_name(i) for row in a.rows for column in row.columns.values() for i in column.kinks]:
        more = f" and {len(kinks) - 6} more" if len(kinks) > 6 else ""
        yield f"At a kink, where differences have no answer: {', '.join(kinks[:6])}{more}.", ""
    taken = [(len(row.columns["differences"].entries), len(row.nodes), row.name) for row in a.rows]
    if some := [f"{entries} of the {n} of {name}" for entries, n, name in taken if entries < n]:
        yield f"Forward mode and differences took, evenly spaced, {', '.join(some)}.", "dim"
