"""The array program as equations: z¹ = W¹ x + b¹, a¹ = σ(z¹), …, and backward δ¹ = (W²ᵀ δ²) ⊙ σ'(z¹).

Nothing here knows a layer. Forward, there is an equation for every array that was found: on the left
its name, which is what its nodes' labels have in common (w²₁₃, w²₁₄, … is W²), on the right its
instruction. Backward, an instruction sends each of its operands a share, upstream · local derivative,
and the gradient of an array is the sum of the shares that it received: its equation is ∂C/∂W = …, or
δ = … for the weighted input z of a layer. An array without a name that is used once is written
where it is used, unless it is long.

Whoever computes the lines one after the other gets the numbers of the program. For that, each is found
entry by entry (`reading`, `entries`), and written in matrix notation only where that says the same
(`writing`). Elsewhere it has indices:

    v[i, j] = …       for all i and j                Σᵢⱼ, maxⱼ(…)     over all that the indexed arrays have
    x[2:4], x[1, 4]   these entries, from 1          Σᵢ₌₁³            from 1 to 3
    y[→ 2:4]          y at these entries, else 0;    p₁ = [[1, 2], [0, 4], [5]]   positions; a sum leaves out those
                      added up where they repeat                      that are 0 or missing, here p₁[2, 1], p₁[3, 2]
    w[p₁]             these entries as a matrix,     c₁ = [0.5, 2]    constants, and I, the identity; `constants`
                      0 where there is none                           has all of them and of the positions
    [a = b]           1 if a = b, else 0
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt

from microgradlike import ops, recording
from microgradlike.matrix.arrays import Apply, Array, Group, Reduce, Sum, dependents
from microgradlike.matrix.entries import Add, Each, Entry, Expr, Index, Over, Product, Put, Softmax, Var, add, total
from microgradlike.matrix.names import is_weighted_input, stem
from microgradlike.matrix.reading import Reading, Side, Vars
from microgradlike.matrix.writing import Writer
from microgradlike.notation import formula
from microgradlike.notation.typeset import ATOM, IF, QUOTIENT, SUM, Formula, call, fill, power, to_latex, verbatim
from microgradlike.primitive import Operation
from microgradlike.view.table import clean

LONG = 60  # what has more characters than this stands on a line of its own


@dataclass
class Equation:
    """One line: the array on the left, what it equals, its shape for one sample, and the LaTeX of both sides."""

    left: str
    right: str
    shape: tuple[int, ...]
    latex: str = field(repr=False)

    @classmethod
    def of(cls, left: Formula, right: Formula, shape: tuple[int, ...]) -> Equation:
        """Return the line left = right; names in it are a user's labels, and may hold what is not printed."""
        return cls(clean(str(left)), clean(str(right)), shape, clean(f"{left.latex} &= {right.latex}"))

    @property
    def dims(self) -> str:
        """Return the shape as text: 3×4."""
        return "×".join(map(str, self.shape))

    def __str__(self) -> str:
        return f"{self.left} = {self.right}"


class Equations:
    """The equations of a program: `forward` and `backward`, lists of `Equation`.

    `constants` has the numbers of the arrays of constants and positions by name, which may be too many for a line.
    """

    def __init__(self, arrays: list[Array], loss: Array, position: int, parameters: list[Array]) -> None:
        self._arrays, self._loss, self._position = arrays, loss, position
        self._C = loss.name if loss.size == 1 else "C"
        self._reading = Reading(arrays)
        self.constants = self._reading.constants
        self._writer = Writer(array.name for array in arrays)
        needed = dependents(arrays, parameters)
        self._lines: set[Array] = set()  # those whose gradients have lines, and so have they
        before = -1
        while before < len(self._lines):
            before = len(self._lines)
            self.forward, self.backward = self._values(), self._gradients(needed)
        lines = " ".join(map(str, (*self.forward, *self.backward)))
        definitions = self._reading.definitions(lines)
        self.forward[:0] = [Equation.of(verbatim(left), verbatim(right), shape) for left, right, shape in definitions]
        self.constants |= {name: table.numbers + 1 for name, table in self._reading.tables.items()}

    # ── Forward ────────────────────────────────────────────────────────────────────────────────

    def _values(self) -> list[Equation]:
        """Write the forward pass: a line for each array that is computed and not written where it is used."""
        uses = Counter(used for array in self._arrays for used in {ref.array for ref in array.refs})
        self._value: dict[Array, Expr] = {array: self._named(array.name, array) for array in self._arrays}
        equations = []
        for array in self._arrays:
            if array.instruction is None:
                continue
            value = self._computed(array)
            once = not array.named and uses[array] == 1 and array not in self._lines
            if once and len(str(self._writer.text(value, self._reading.vars[array]))) <= LONG:
                self._value[array] = value
            else:
                equations.append(self._equation(array.name, array, value))
        if self._loss.size > 1:
            at = np.unravel_index(self._position, self._loss.shape)
            entry = verbatim(f"{self._loss.name}[{', '.join(str(i + 1) for i in at)}]")
            equations.append(Equation.of(verbatim(self._C), entry, (1,)))
        return equations

    def _computed(self, array: Array) -> Expr:
        """Return what an instruction computes."""
        match array.instruction:
            case Apply(op, refs):
                return _applied(op, [self._read(Side(ref, self._reading.vars[array])) for ref in refs])
            case Reduce(op, operand, starts):
                k, [side] = self._reading.rows([operand], starts, array, -np.inf)
                x = self._read(side)
                if not x.free.isdisjoint(k):
                    return Over(op.symbol, k, (x,))
                return add([x, self._constant(np.log(_times([side])), array)]) if op is ops.LOGSUMEXP else x
            case Sum(groups):
                ordered = sorted(groups, key=lambda g: (not g.is_product, g.right is None and g.left.array is None))
                return add([self._terms(part, array) for part in self._parts(ordered, array)])
        raise AssertionError(array)

    def _terms(self, group: Group, array: Array) -> Expr:
        """Return sign · Σₖ left · right."""
        k, sides = self._reading.sides(group, array)
        left, *right = map(self._read, sides)
        terms = _applied(ops.POW, [left, Product(2.0)], "square") if group.is_square else prod(right, start=left)
        if not group.is_product and terms.free.isdisjoint(k):
            return group.sign * terms * self._constant(_times(sides), array)
        return group.sign * total(k, terms * self._there(sides))

    def _constant(self, numbers: npt.NDArray[Any], array: Array) -> Expr:
        """Return the one of these numbers that belongs to an entry of the array."""
        return self._reading.constant(numbers, self._reading.vars[array])

    def _there(self, sides: list[Side], to: Side | None = None) -> Expr:
        """Return 1 where all the sides read something and 0 elsewhere, unless an index in their text tells.

        The index of the side that a share is sent `to` tells if its array has axes.
        """

        def tells(side: Side) -> bool:
            array = side.ref.array
            return array is None or bool(self._reading.vars[array] if side is to else self._value[array].free)

        there: Expr = Product(1.0)
        told: list[npt.NDArray[np.bool_]] = []
        for side in sorted(sides, key=tells, reverse=True):
            missing = side.ref.missing
            if missing.any() and not any(np.array_equal(missing, other) for other in told):
                told.append(missing)
                there = there if tells(side) else there * self._reading.constant(~missing, side.at)
        return there

    def _parts(self, groups: list[Group], array: Array) -> list[Group]:
        return [part for group in groups for part in self._reading.one_by_one(group, array)]

    def _read(self, side: Side) -> Expr:
        """Return the entry that is read, or the constant."""
        if side.ref.array is None:
            return self._reading.constant(side.ref.index, side.at, stem(side.ref.label))
        vars = self._reading.vars[side.ref.array]
        return self._value[side.ref.array].put(dict(zip(vars, self._reading.positions(side), strict=True)))

    # ── Backward ───────────────────────────────────────────────────────────────────────────────

    def _gradients(self, needed: list[Array]) -> list[Equation]:
        """Write the backward pass: arrays add up what they received, and send their operands their shares."""
        self._received: dict[Array, list[Expr]] = {array: [] for array in needed}
        if self._loss in self._received:
            is_loss = np.arange(self._loss.size) == self._position
            self._received[self._loss].append(self._constant(is_loss, self._loss))
        equations = []
        for array in reversed(needed):
            upstream = add(self._received[array])
            if self._has_equation(array, upstream):
                left = "δ" + array.name[1:] if is_weighted_input(array) else f"∂{self._C}/∂{array.name}"
                equations.append(self._equation(left, array, upstream))
                self._lines.add(array)
                upstream = self._named(left, array)
            match array.instruction:
                case Apply(op, refs):
                    sides = [Side(ref, self._reading.vars[array]) for ref in refs]
                    for i, side in enumerate(sides):
                        self._send(side, upstream * self._slope(op, i, sides, array))
                case Reduce(op, operand, starts):
                    k, [side] = self._reading.rows([operand], starts, array, -np.inf)
                    self._send(side, upstream * self._share(op, k, side, array) * self._there([side], side))
                case Sum(groups):
                    for group in self._parts(groups, array):
                        self._send_group(group, array, group.sign * upstream)
        return equations

    def _has_equation(self, array: Array, upstream: Expr) -> bool:
        """Return whether a gradient is named: of a parameter, of a weighted input, or one that is used repeatedly."""
        if array.instruction is None or array in self._lines:
            return True
        text = self._writer.text(upstream, self._reading.vars[array])
        terms = upstream.parts if isinstance(upstream, Add) else (upstream,)
        if len(str(text)) > LONG or any(isinstance(x, Put) for term in terms for x in term.factors):
            return True
        if not isinstance(self._value[array], Entry) or isinstance(upstream, Entry) or text.is_number:
            return False
        return array.is_product or (text.level < ATOM and sum(ref.array in self._received for ref in array.refs) > 1)

    def _send_group(self, group: Group, array: Array, upstream: Expr) -> None:
        """Send upstream · b and upstream · a to a and b of Σₖ aₖ bₖ: δ xᵀ and Wᵀ δ to W and x of W x (BP4 and BP2)."""
        k, sides = self._reading.sides(group, array)
        read, vars = [self._read(side) for side in sides], (*self._reading.vars[array], *k)
        if group.is_square:
            self._send(sides[0], 2.0 * upstream * read[0] * self._there(sides[:1], sides[0]), vars)
            return
        for side, others in zip(sides, (read[1:], read[:1]), strict=False):
            self._send(side, prod(others, start=upstream) * self._there(sides, side), vars)

    def _send(self, side: Side, share: Expr, vars: Vars = ()) -> None:
        """Send a share, one for all values of the variables, to the entries that were read: the adjoint of reading."""
        array, index, vars = side.ref.array, side.ref.index, vars or side.at
        if array not in self._received:
            return
        positions, to = self._reading.positions(side), self._reading.vars[array]
        bound: dict[Var, Index] = {}
        for position, var in zip(positions, to, strict=True):
            if position.var is not None and position.var.size == var.size:
                bound.setdefault(position.var, Index.of(var))
        share = share.put(bound)
        number, share = share.number, prod(share.factors, start=Product(1.0))
        rest = tuple(var for var in vars if var not in bound)
        used = frozenset().union(*(position.free for position in positions))
        if len(bound) == len(to):
            share = total(rest, share)
        elif used and share.free.isdisjoint((*used, *to)):  # an entry receives the same again and again: so many times
            others = [var for var in vars if var not in used]  # `total` counts how often these read it
            times = np.bincount(index[index >= 0].ravel(), minlength=array.size) // prod(var.size for var in others)
            share = total(others, share) * self._reading.constant(times, to)
        else:
            once = index.min() >= 0 and len(np.unique(index)) == index.size == array.size
            share = Put((share,), rest, tuple(position.put(bound) for position in positions), to, once)
        self._received[array].append(number * share)

    def _share(self, op: Operation, k: Vars, side: Side, array: Array) -> Expr:
        """Return ∂/∂xₖ of logsumexp, the softmax; of max, an equal share for each of the greatest."""
        x = self._read(side)
        if x.free.isdisjoint(k):
            return self._constant(1.0 / _times([side]), array)
        if op is ops.LOGSUMEXP:
            read = tuple(var for var in k if var in x.free)
            repeats = prod(var.size for var in k if var not in x.free)  # each of them gets its part
            return 1.0 / repeats * Softmax(read, (x,))
        greatest = _applied(recording.EQUAL, [x, self._value[array]])
        return _applied(ops.DIV, [greatest, total(k, greatest)])

    def _slope(self, op: Operation, i: int, sides: list[Side], array: Array) -> Expr:
        """Return the local derivative for operand i: σ'(z) for a function of one operand, else its formula."""
        x, y = [self._read(side) for side in sides], self._value[array]
        rule, names = op.local_grad_formulas(len(x))[i], (*op.operand_names(len(x)), "y")
        if re.fullmatch(r"-?\d+", rule):
            return Product(float(rule))
        if op is ops.EXP:
            return y
        if len(x) == 1 and op not in (ops.ABS, recording.MAGNITUDE):
            return Each(lambda t: call(op.symbol + "'", *_arguments(op, t)), tuple(x))
        number = x[-1].number if isinstance(x[-1], Product) and not x[-1].parts else None
        if op is ops.POW and i == 0 and number is not None:
            base = x[0] if number == 2.0 else _applied(op, [x[0], Product(number - 1.0)])
            return number * base
        if op is ops.DIV and i == 0 and number:
            return Product(1.0 / number)
        if op is ops.MAX:
            greatest = [_applied(recording.EQUAL, [each, y]) for each in x]
            return _applied(ops.DIV, [greatest[i], add(greatest)])
        if rule == f"d{names[i]}":  # an operation of the user's own, with a rule that is no formula
            return Each(lambda t: call(f"∂{op.symbol}/∂{names[i]}", *_arguments(op, t)), tuple(x))
        used = {name: operand for name, operand in zip(names, (*x, y), strict=True) if re.search(rf"\b{name}\b", rule)}

        def write(t: Sequence[Formula]) -> Formula:
            return formula.write(rule, {**formula.parameters(op), **dict(zip(used, t, strict=True))})

        return Each(write, tuple(used.values()), "scalar" if "*" in rule else "")

    # ── Lines ──────────────────────────────────────────────────────────────────────────────────

    def _named(self, text: str, array: Array) -> Entry:
        vars = self._reading.vars[array]
        return Entry(text, tuple(map(Index.of, vars)), tuple(var.size for var in vars))

    def _equation(self, left: str, array: Array, x: Expr) -> Equation:
        return Equation.of(*self._writer.line(left, self._reading.vars[array], x), array.shape)

    # ── Showing ────────────────────────────────────────────────────────────────────────────────

    def __str__(self) -> str:
        lines = [*self.forward, *self.backward]
        left = max((len(e.left) for e in lines), default=0)
        width = left + 3 + max((len(e.right) for e in lines if len(e.right) <= 2 * LONG), default=0)
        rows = [f"{f'{e.left:>{left}} = {e.right}':{width}}   {e.dims}" for e in lines]
        rows.insert(len(self.forward), "")
        return "\n".join(row.rstrip() for row in rows)

    def latex(self) -> str:
        """Return the equations in a LaTeX `aligned` environment."""
        rows = [f"{e.latex} && {to_latex(e.dims)}" for e in (*self.forward, *self.backward)]
        return "$$\\begin{aligned}\n" + " \\\\\n".join(rows) + "\n\\end{aligned}$$"

    def __rich__(self) -> Any:
        from rich.table import Table
        from rich.text import Text

        table = Table(box=None, show_header=False, pad_edge=False)
        table.add_column(justify="right", style="bold")
        table.add_column()
        table.add_column(style="dim", justify="right")
        for e in (*self.forward, None, *self.backward):
            table.add_row(*((Text(e.left), Text(f"= {e.right}"), e.dims) if e else ()))
        return table


def _times(sides: list[Side]) -> npt.NDArray[Any]:
    """Return how many terms each entry has, whose sides are these."""
    return np.logical_and.reduce([~ref.missing for ref, _ in sides]).sum(axis=-1)  # type: ignore[no-any-return]


def _applied(op: Operation, x: Sequence[Expr], kind: str = "") -> Expr:
    """Return op(x), with the signs of arithmetic."""
    if op is ops.NEG:
        return -1.0 * x[0]
    if op is recording.CHOSEN:
        return x[0]

    def write(t: Sequence[Formula]) -> Formula:
        if op is ops.DIV:
            return fill("{} / {}", t[0].within(QUOTIENT), t[1].within(ATOM), level=QUOTIENT)
        if op is ops.POW:
            exponent = str(t[1])
            return power(t[0], verbatim(exponent) if t[1].is_number and "/" not in exponent else t[1], ATOM)
        if op in (recording.LESS, recording.LESS_EQUAL, recording.EQUAL):
            return fill(f"[{{}} {op.symbol} {{}}]", *t)
        if op is recording.WHERE:
            is_bracket = re.fullmatch(r"\[([^\[\]]*)\]", str(t[0]))
            test = Formula(t[0].text[1:-1], t[0].tex[1:-1]) if is_bracket else fill("{} ≠ 0", t[0])
            return fill("{} if {} else {}", t[1].within(SUM), test, t[2], level=IF)
        return call(op.symbol, *_arguments(op, t))

    return Each(write, tuple(x), kind)


def _arguments(op: Operation, t: Sequence[Formula]) -> list[Formula]:
    """Return what stands between the brackets: the operands, and parameters that are not the usual ones."""
    usual = op in (ops.leaky_relu(0.1), ops.elu(1.0))
    return [*t, *(() if usual else map(verbatim, formula.parameters(op).values()))]
