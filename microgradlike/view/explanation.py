"""The backward pass as data: what every node hands to its inputs, and how it adds up there.

`explain(loss)` repeats what `loss.backward()` does and writes it down: a Step for each node, with a
Term ∂L/∂input += ∂L/∂node · ∂ₖnode for its k-th input. Every table, picture and page is
drawn from this one list. It only reads the recorded graph: no `.grad` is touched.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from textwrap import wrap
from typing import Any

from microgradlike import ops
from microgradlike.notation import formula
from microgradlike.notation.digits import format_number
from microgradlike.notation.names import node_names
from microgradlike.value import Value, topological_order
from microgradlike.view.changes import change_note, changed_data, recorded_data
from microgradlike.view.part import ways
from microgradlike.view.table import WIDTH, Piece, Row, Table


@dataclass(frozen=True, slots=True, eq=False)
class Term:
    """One product of the chain rule: ∂L/∂input += ∂L/∂node · ∂ₖnode, where ∂ₖnode is the local derivative.

    `position` tells which of node's inputs this is; `before` and `after` are the sum of what has
    arrived at the input so far, without this product (None: it is the first) and with it.
    """

    node: Value
    input: Value
    position: int
    upstream: float
    local_grad: float
    product: float
    before: float | None
    after: float
    names: Mapping[Value, str] = field(repr=False)

    @property
    def name(self) -> str:
        """The input's name."""
        return self.names[self.input]

    @property
    def formula(self) -> str:
        """The local derivative ∂ₖnode in the names of the nodes: "1 − tanh(z)²"."""
        return formula.derivative(self.node, self.position, self.names)

    @property
    def constant(self) -> bool:
        """Whether the input is a constant, whose gradient nobody asks for."""
        return self.input.op is ops.CONSTANT


@dataclass(frozen=True, slots=True, eq=False)
class Step:
    """What the backward pass does at one node: it multiplies `upstream`, the node's gradient with
    every contribution in, by the local derivative for each input. A leaf has no terms, nor has a node
    where a part that was asked for begins.
    """

    node: Value
    data: float
    upstream: float
    terms: tuple[Term, ...]
    names: Mapping[Value, str] = field(repr=False)

    @property
    def name(self) -> str:
        """The node's name."""
        return self.names[self.node]

    @property
    def definition(self) -> str:
        """How the node was computed from its inputs: "w·x + b"; "" for a leaf."""
        return formula.expression(self.node, self.names, depth=1) if self.node.inputs else ""

    @property
    def constant(self) -> bool:
        """Whether the node is a constant."""
        return self.node.op is ops.CONSTANT


@dataclass(frozen=True, eq=False, repr=False)
class Explanation:
    """The backward pass from `root`, or a part of it. Printed, it is a table; in a notebook, a formatted one.

    `steps` has every node of it once, in the order of the backward pass: root first, each node after all
    that were computed from it. `names` has a name for each. A table of a long pass leaves out the
    steps in the middle, unless `full`, and says that `how_to_see_all` shows them. `note` says what was
    changed after the recording, if anything.
    """

    root: Value
    steps: tuple[Step, ...]
    names: Mapping[Value, str]
    full: bool = False
    how_to_see_all: str = "explain(…, full=True)"
    note: str = ""

    @property
    def forward(self) -> tuple[Step, ...]:
        """The steps in the order of the forward pass: inputs before what is computed from them."""
        return self.steps[::-1]

    @property
    def leaves(self) -> list[Step]:
        """The steps of the leaves, constants left out: their `upstream` is what `backward()` yields."""
        return [step for step in self.forward if not step.node.inputs and not step.constant]

    @cached_property
    def ledger(self) -> dict[Value, list[Term]]:
        """For each node the contributions to its gradient, in order of arrival."""
        arrivals: dict[Value, list[Term]] = {step.node: [] for step in self.steps}
        for step in self.steps:
            for term in step.terms:
                arrivals[term.input].append(term)
        return arrivals

    def chain_rule(self, term: Term) -> list[Piece]:
        """Write ∂L/∂w += ∂L/∂z · ∂₁z = 0.5 × 2 = 1, in pieces with their roles."""
        of, node = self.names[self.root], self.names[term.node]
        return [
            (formula.gradient(of, term.name), "product"), (" += ", ""),
            (formula.gradient(of, node), "upstream"), (" · ", ""), (formula.local(node, term.position), "local"), (" = ", ""),
            *self.numbers(term),
        ]  # fmt: skip

    def numbers(self, term: Term) -> list[Piece]:
        """Write 0.5 × 2 = 1: upstream × local derivative = product."""
        return [
            (format_number(term.upstream), "upstream"), (" × ", ""), (format_number(term.local_grad), "local"), (" = ", ""),
            (format_number(term.product), "product"),
        ]  # fmt: skip

    def gradient(self, step: Step, role: str = "upstream") -> list[Piece]:
        """Write ∂L/∂z = 0.5."""
        quotient = formula.gradient(self.names[self.root], step.name)
        return [(quotient, role), (" = ", ""), (format_number(step.upstream), role)]

    def running_sum(self, term: Term) -> list[Piece]:
        """Write ∂L/∂w  = 3 + 1 = 4, where 3 had arrived before; nothing for the first contribution."""
        if term.before is None:
            return []
        return [
            (formula.gradient(self.names[self.root], term.name), "product"), ("  = ", ""),
            (format_number(term.before), ""), (" + ", ""), (format_number(term.product), ""), (" = ", ""),
            (format_number(term.after), "product"),
        ]  # fmt: skip

    def table(self) -> Table:
        """Return the table that `print` and notebooks show."""
        return Table(_table(self))

    def rows(self, step: Step, number: str = "") -> list[Row]:
        """Return the rows of the table for one step, its constants left out: make a `Table` of them."""
        return list(_step_rows(self, step, number))

    def __str__(self) -> str:
        return str(self.table())

    __repr__ = __str__

    def __rich__(self) -> Table:
        return self.table()

    def _repr_html_(self) -> str:
        return self.table()._repr_html_()


def explain(root: Value, *, full: bool = False, only: Iterable[Value] | None = None) -> Explanation:
    """Explain the backward pass from `root`, with seed 1, as data and as a table.

    - full: whether the table of a long pass leaves nothing out.
    - only: explain only the nodes on the ways from these to `root`. Their gradients are complete.

    All numbers are those of the recording, also where the `data` of a leaf was changed since then, as
    an optimizer does; a note says so.

    Raises TypeError for anything but a Value, and ValueError where `only` has a Value that `root` does not depend on.
    """
    order = topological_order(root)
    names = {node: _shorten(name) if node.label else name for node, name in node_names(order, root).items()}
    part = set(order) if only is None else ways(order, only) | {root}
    order = [node for node in order if node in part]
    changed = changed_data(order)
    grads = {root: 1.0}
    steps = []
    for node in reversed(order):
        upstream = grads[node]
        terms = []
        for position, (input, local_grad) in enumerate(zip(node.inputs, node.local_grads, strict=True)):
            if input not in part:
                continue
            product = upstream * local_grad
            before = grads.get(input)
            grads[input] = after = (0.0 if before is None else before) + product
            terms.append(Term(node, input, position, upstream, local_grad, product, before, after, names))
        steps.append(Step(node, recorded_data(node, changed), upstream, tuple(terms), names))
    return Explanation(root, tuple(steps), names, full, note=change_note(changed, names))


def _shorten(name: str) -> str:
    return name if len(name) <= LONGEST_NAME else f"{name[: LONGEST_NAME // 2]}…{name[1 - LONGEST_NAME // 2 :]}"


# ── The table ──────────────────────────────────────────────────────────────────────────────────

LONGEST_NAME = 20
MOST_STEPS, MOST_TERMS, MOST_LEAVES = 16, 8, 12  # beyond these, only the first and the last are shown
ENDS = 5, 3  # so many of them


def _table(it: Explanation) -> Iterator[Row]:
    steps = [(f"{i:,}", step) for i, step in enumerate((s for s in it.steps if s.node.inputs), start=1)]
    margin = _margin(it)
    definition = formula.expression(it.root, it.names) if steps else ""
    yield [_equation(it.names[it.root], definition, it.steps[0].data, "strong")]
    yield from ([[(line, "local")]] for line in wrap(it.note, WIDTH))
    if steps:
        yield []
        yield [[(f"{margin}gradient, and what it hands on", "dim")], [("function, local derivative", "dim")]]
    for item in abbreviated(steps, MOST_STEPS, it.full):
        if isinstance(item, range):
            yield _left_out(it, f"steps {item[0] + 1:,} to {item[-1] + 1:,} of {len(steps):,} left out")
        else:
            yield from _step_rows(it, item[1], item[0])
    leaves = it.leaves
    if leaves or not it.steps[-1].node.inputs:  # otherwise a part was asked for that begins within the graph
        yield []
        yield [[("Leaves" if leaves else "No leaf but constants: nothing to compute a gradient for", "dim")]]
    for leaf in abbreviated(leaves, MOST_LEAVES, it.full):
        if isinstance(leaf, range):
            yield _left_out(it, f"{len(leaf):,} more leaves")
        else:
            yield [[(margin, ""), *it.gradient(leaf, "product")], _equation(leaf.name, "", leaf.data)]


def _left_out(it: Explanation, what: str) -> Row:
    return [[(f"{_margin(it)}… {what}", "dim"), (f" ({it.how_to_see_all} shows them all)", "dim")]]


def _margin(it: Explanation) -> str:
    """Return as many spaces as the longest number of a step takes."""
    return " " * (len(f"{len(it.steps):,}") + 2)


def _step_rows(it: Explanation, step: Step, number: str) -> Iterator[Row]:
    margin = _margin(it)
    left = [(f"{number:>{len(margin) - 1}} ", "dim"), *it.gradient(step)]
    yield [left, _equation(step.name, step.definition, step.data)]
    terms = [term for term in step.terms if not term.constant]
    for term in abbreviated(terms, MOST_TERMS, it.full):
        if isinstance(term, range):
            yield _left_out(it, f"{len(term):,} more inputs")
        else:
            yield from _term_rows(it, step, term)


def _term_rows(it: Explanation, step: Step, term: Term) -> Iterator[Row]:
    margin = (_margin(it), "")
    local = [(formula.local(step.name, term.position), "local"), (f" = {term.formula}" if term.formula else "", "")]
    yield [[margin, *it.chain_rule(term)], local]
    if term.before is not None:
        yield [[margin, *it.running_sum(term)], [("running sum", "dim")]]


def _equation(name: str, definition: str, data: float, role: str = "") -> list[Piece]:
    return [(name, role), (f" = {definition}" if definition else "", role), (f" = {format_number(data)}", role)]


def abbreviated(items: list[Any], most: int, full: bool = False, ends: tuple[int, int] = ENDS) -> Iterator[Any]:
    """Yield the items; where they are too many, the first, the range of those left out, and the last."""
    if full or len(items) <= most:
        yield from items
        return
    first, last = ends
    yield from [*items[:first], range(first, len(items) - last), *items[-last:]]
