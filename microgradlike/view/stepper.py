"""The forward and the backward pass in the terminal, one step for each key."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from microgradlike.notation import formula
from microgradlike.notation.digits import format_number
from microgradlike.view.explanation import Explanation
from microgradlike.view.table import Row, Table

FORWARD = {"\r", "\n", " ", "\x1b[C", "\x1b[B", "j", "l", "\xe0M"}  # the arrow keys as Unix and Windows send them
BACK = {"\x1b[D", "\x1b[A", "h", "k", "\xe0K", "\x7f", "\b"}
QUIT = {"q", "\x1b", "\x03", "\x04"}
HELP = "→ forward, ← back, q quit"


def screens(it: Explanation) -> Iterator[Table]:
    """Yield what there is to see at each step: the formula, a headline, the step, and all numbers known by then."""
    known = {step.node: format_number(step.data) for step in it.steps if not step.terms}
    gradients: dict[object, str] = {}
    name, definition = it.names[it.root], formula.expression(it.root, it.names)
    formula_of_root: list[Row] = [[[(name, "strong"), (f" = {definition}", "")]], []] if definition else []

    def screen(headline: str, *rows: Row) -> Table:
        table: list[Row] = [*formula_of_root, [[(headline, "strong")]], *rows, []]
        for step in it.forward:
            if not step.constant:
                gradient = f"{formula.gradient(it.names[it.root], step.name)} = {gradients.get(step.node, '–')}"
                table.append([[(f"{step.name} = {known.get(step.node, '–')}", "")], [(gradient, "upstream")]])
        return Table(table)

    yield screen("Start: the leaves hold their numbers")
    forward = [step for step in it.forward if step.terms]
    for i, step in enumerate(forward, start=1):
        known[step.node] = format_number(step.data)
        row: Row = [[(step.name, "product"), (f" = {step.definition} = ", ""), (known[step.node], "product")]]
        yield screen(f"Forward {i} of {len(forward)}", row)
    gradients[it.root] = format_number(1.0)
    seed: Row = [[(f"{formula.gradient(name, name)} = 1", "upstream")]]
    yield screen("The backward pass begins with the seed", seed)
    backward = [step for step in it.steps if step.terms]
    for i, step in enumerate(backward, start=1):
        gradients |= {term.input: format_number(term.after) for term in step.terms}
        yield screen(f"Backward {i} of {len(backward)}", *it.rows(step))


def step_through(it: Explanation, show: Callable[[Table, str], None], read_key: Callable[[], str]) -> None:
    """Show the screens, moved by keys, until the reader quits; there is nothing beyond the first and the last."""
    tables = list(screens(it))
    at = 0
    while True:
        show(tables[at], f"step {at} of {len(tables) - 1}: {HELP}")
        key = read_key()
        if key in QUIT:
            return
        at = min(max(0, at + (key in FORWARD) - (key in BACK)), len(tables) - 1)
