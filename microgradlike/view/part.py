"""Which part of a graph is asked for: what `only` means in `explain`, `draw` and `steps`."""

from __future__ import annotations

from collections.abc import Iterable

from microgradlike.value import Value


def ways(order: list[Value], only: Iterable[Value]) -> set[Value]:
    """Return the nodes on the ways from those in `only` to the last one of a topological order.

    Whatever is computed from one of them and leads to the last node is one of them, too. So the
    gradients of these nodes come from these nodes alone.

    Raises ValueError where `only` has anything that is not in the order.
    """
    found = set(only)
    if strangers := found.difference(order):
        raise ValueError(f"{strangers.pop()!r} is not in the graph: `only` takes nodes that the result depends on")
    for node in order:
        if not found.isdisjoint(node.inputs):
            found.add(node)
    return found
