"""Which nodes of a graph to draw, and which edges: all, or those near the result, or those on some ways to it."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping
from functools import lru_cache
from itertools import accumulate

from microgradlike import ops
from microgradlike.primitive import Operation
from microgradlike.value import Value
from microgradlike.view.grid import Path

BoxOf = Callable[[Value], Path | None]  # the closed group that a node is in


class TooManyNodes(ValueError):
    """So many `nodes` and closed boxes are too many; the nodes up to `depth` edges away from the result are not."""

    def __init__(self, message: str, nodes: int, depth: int) -> None:
        super().__init__(message)
        self.nodes, self.depth = nodes, depth


def choose(
    v: Value, depth: int | None, part: set[Value] | None, max_terms: int, box_of: BoxOf
) -> tuple[dict[Value, list[int]], list[int]]:
    """Choose the nodes to draw, and for each the positions among its inputs of those to draw an edge from.

    Also return how many nodes are at most 0, 1, 2, … edges away from v. Of terms from closed groups there may be any
    number, for one edge stands for all.
    """

    def terms(node: Value) -> list[int]:
        if part is not None:
            return [k for k, input in enumerate(node.inputs) if input in part]
        first = _terms(node, max_terms)
        if len(first) == len(node.inputs):
            return first
        return sorted({*first, *(k for k, input in enumerate(node.inputs) if box_of(input))})

    levels, edges = [[v]], {v: terms(v)}
    while levels[-1] and (depth is None or len(levels) <= depth):
        inputs = dict.fromkeys(node.inputs[k] for node in levels[-1] for k in edges[node])
        levels.append([input for input in inputs if input not in edges])
        edges |= {input: terms(input) for input in levels[-1]}
    chosen = {node: [k for k in positions if node.inputs[k] in edges] for node, positions in edges.items()}
    return chosen, list(accumulate(map(len, levels)))


def refuse_more(max_nodes: float, nodes: int, nearest: list[int]) -> None:
    """Raise TooManyNodes where that many nodes and closed boxes are too many; `nearest` as `choose` returns it."""
    if nodes > max_nodes:
        depth, near = [(d, n) for d, n in enumerate(nearest) if n <= max_nodes][-1]
        raise TooManyNodes(
            f"{nodes:,} nodes to draw, and max_nodes={max_nodes}: draw the {near} nearest to the result, "
            f"draw(v, depth={depth}); or what lies between some nodes and it, draw(v, only=[w]); or its parts as boxes, "
            f"draw(v, clusters=part_of, closed=True); or all, draw(v, max_nodes={nodes})",
            nodes,
            depth,
        )


def leaves_inside(edges: Mapping[Value, list[int]], rows: set[Value], box_of: BoxOf) -> dict[Value, Path]:
    """Return the closed group of each row, and each unnamed constant, that this group alone uses."""
    users: dict[Value, set[Path | None]] = {}
    for node, positions in edges.items():
        for leaf in (node.inputs[k] for k in positions):
            if leaf in rows or (leaf.op is ops.CONSTANT and not leaf.label):
                users.setdefault(leaf, set()).add(box_of(node))
    return {leaf: box for leaf, (box, *others) in users.items() if box and not others}


def _terms(node: Value, max_terms: int) -> list[int]:
    """Return the positions of the inputs in the first max_terms terms; an operand's index tells its term."""
    if len(node.inputs) <= max_terms:
        return list(range(len(node.inputs)))
    term = [int(digits[0]) if (digits := re.search(r"\d+$", operand)) else 0 for operand in operands(node)]
    last = max_terms if max(term, default=0) > max_terms + 1 else len(term)  # "1 more" would save no room
    return [k for k, i in enumerate(term) if i <= last]


def weights_and_biases(edges: dict[Value, list[int]], box_of: BoxOf) -> set[Value]:
    """Return the weights and biases that one w·x + b alone uses, and that are in no closed group of their own."""
    uses = Counter(node.inputs[k] for node, positions in edges.items() for k in positions)
    rows: set[Value] = set()
    for node, positions in edges.items():
        if node.op in (ops.DOT, ops.AFFINE):
            leaves = [node.inputs[k] for k in positions if operands(node)[k][0] in "wb"]
            alone = [leaf for leaf in leaves if leaf.op is ops.LEAF and uses[leaf] == 1]
            rows.update(leaf for leaf in alone if box_of(leaf) in (None, box_of(node)))
    return rows


def operands(node: Value) -> tuple[str, ...]:
    return _operand_names(node.op, len(node.inputs))


@lru_cache(256)
def _operand_names(op: Operation, n: int) -> tuple[str, ...]:
    return op.operand_names(n)
