"""What was changed since the recording: the numbers that a picture shows are those of then."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from microgradlike.graph import computed_numbers, recorded_numbers, same_numbers
from microgradlike.notation.digits import format_number
from microgradlike.ops import LEAF
from microgradlike.value import Value


def changed_data(nodes: Iterable[Value]) -> dict[Value, float | None]:
    """Return the inputs of these nodes whose `data` was changed after the recording, with what it was then.

    Many local derivatives are an input's number, as ∂(w·x)/∂w is x, and so have kept it. Where none
    has, the number is None.
    """
    then: dict[Value, float | None] = {}
    suspects: list[Value] = []
    for node in nodes:
        recorded = recorded_numbers(node)
        if not node.inputs or same_numbers(recorded, computed_numbers(node, [x.data for x in node.inputs])):
            continue
        place = {name: i for i, name in enumerate(node.op.operand_names(len(node.inputs)))}
        formulas = node.op.local_grad_formulas(len(node.inputs))
        kept = {place[f]: d for f, d in zip(formulas, node.local_grads, strict=True) if f in place}
        data = [kept.get(i, x.data) for i, x in enumerate(node.inputs)]
        then |= {x: old for x, old in zip(node.inputs, data, strict=True) if not same_numbers((x.data,), (old,))}
        if not same_numbers(recorded, computed_numbers(node, data)):
            unknown = [x for i, x in enumerate(node.inputs) if i not in kept]
            suspects += [x for x in unknown if x.op is LEAF] or [node]
    return {**dict.fromkeys(suspects), **then}


def recorded_data(node: Value, changed: Mapping[Value, float | None]) -> float:
    """Return the node's data as recorded, where `changed_data` knows it."""
    then = changed.get(node)
    return node.data if then is None else then


def change_note(then: Mapping[Value, float | None], names: Mapping[Value, str]) -> str:
    """Say what `changed_data` found; "" for nothing."""
    if not then:
        return ""
    several = [
        f"{names[v]} " + ("" if old is None else f"was {format_number(old)} and ") + f"is {format_number(v.data)} now"
        for v, old in sorted(then.items(), key=lambda item: item[1] is None)
    ]
    if len(several) > 4:
        several[3:] = [f"and {len(several) - 3} more"]
    lost = [names[v] for v, old in then.items() if old is None]
    but = f", but for that of {', '.join(lost[:4])}{' …' * (len(lost) > 4)}, which it has not kept" if lost else ""
    return f"{', '.join(several)}: the numbers here are those of the recording{but}."
