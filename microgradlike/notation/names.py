"""Names for the nodes of a graph."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from itertools import count

from microgradlike import ops
from microgradlike.notation.digits import format_constant, subscript, superscript
from microgradlike.value import Value


def node_names(nodes: Iterable[Value], root: Value | None = None) -> dict[Value, str]:
    """Return a name for each node: its label; a constant's number; else v₁, v₂, … in the order given.

    Of several nodes with one label each gets its number in that order, as samples do: z²₁⁽¹⁾, z²₁⁽²⁾.
    A `root` without a label is L, if no other node is called so.
    """
    nodes = list(dict.fromkeys(nodes))
    uses = Counter(node.label for node in nodes)
    taken = set(uses)
    numbers: dict[str, Iterator[int]] = {}

    def numbered(what: str, name: Callable[[int], str]) -> str:
        """Return the next of name(1), name(2), … that is not taken."""
        found = next(each for each in map(name, numbers.setdefault(what, count(1))) if each not in taken)
        taken.add(found)
        return found

    # A constant stands before all else in an order of nodes: its turn is when it is first used.
    used = [v for node in nodes for v in node.inputs if v.op is ops.CONSTANT and v.label]
    result: dict[Value, str] = {}
    for node in dict.fromkeys([*filter(set(nodes).__contains__, used), *nodes]):
        label = node.label
        if label and uses[label] > 1:
            result[node] = numbered(label, lambda i, of=label: f"{of}⁽{superscript(i)}⁾")  # type: ignore[misc]
        elif label:
            result[node] = label
        elif node.op is ops.CONSTANT:
            result[node] = format_constant(node.data)
        else:
            result[node] = numbered("", lambda i: "v" + subscript(i))
    if root is not None and not root.label and "L" not in taken:
        result[root] = "L"
    return {node: result[node] for node in nodes}
