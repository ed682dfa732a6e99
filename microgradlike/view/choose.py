"""Which nodes of a graph to draw, and which edges: all, or those near the result, or those on some ways to it."""

from __future__ import annotations

import re
from collections import Counter
from functools import lru_cache
from itertools import accumulate

from microgradlike import ops
from microgradlike.primitive import Operation
from microgradlike.value import Value


class TooManyNodes(ValueError):
    """So many `nodes` are too many for a picture; those up to `depth` edges away from the result are not."""

    def __init__(self, message: str, nodes: int, depth: int) -> None:
        super().__init__(message)
        self.nodes, self.depth = nodes, depth


def choose(
    v: Value, depth: int | None, part: set[Value] | None, max_terms: int, max_nodes: float
) -> dict[Value, list[int]]:
    """Choose the nodes to draw, and for each the positions among its inputs of those to draw an edge from."""

    def terms(node: Value) -> list[int]:
        if part is not None:
            return [k for k, input in enumerate(node.inputs) if input in part]
        return _terms(node, max_terms)

    levels, edges = [[v]], {v: terms(v)}
    while levels[-1] and (depth is None or len(levels) <= depth):
        inputs = dict.fromkeys(node.inputs[k] for node in levels[-1] for k in edges[node])
        levels.append([input for input in inputs if input not in edges])
        edges |= {input: terms(input) for input in levels[-1]}
    if len(edges) > max_nodes:
        depth, nearest = [(d, n) for d, n in enumerate(accumulate(map(len, levels))) if n <= max_nodes][-1]
        raise TooManyNodes(
            f"{len(edges):,} nodes to draw, and max_nodes={max_nodes}: draw the {nearest} nearest to the result, "
            f"draw(v, depth={depth}); or draw a node within the graph; or all, draw(v, max_nodes={len(edges)})",
            len(edges),
            depth,
        )
    return {node: [k for k in positions if node.inputs[k] in edges] for node, positions in edges.items()}


def _terms(node: Value, max_terms: int) -> list[int]:
    """Return the positions of the inputs in the first max_terms terms; an operand's index tells its term."""
    term = [int(digits[0]) if (digits := re.search(r"\d+$", operand)) else 0 for operand in operands(node)]
    last = max_terms if max(term, default=0) > max_terms + 1 else len(term)  # "1 more" would save no room
    return [k for k, i in enumerate(term) if i <= last]


def weights_and_biases(edges: dict[Value, list[int]]) -> set[Value]:
    """Return the weights and biases that one w·x + b alone uses."""
    uses = Counter(node.inputs[k] for node, positions in edges.items() for k in positions)
    rows: set[Value] = set()
    for node, positions in edges.items():
        if node.op in (ops.DOT, ops.AFFINE):
            leaves = [node.inputs[k] for k in positions if operands(node)[k][0] in "wb"]
            rows.update(leaf for leaf in leaves if leaf.op is ops.LEAF and uses[leaf] == 1)
    return rows


def operands(node: Value) -> tuple[str, ...]:
    return _operand_names(node.op, len(node.inputs))


@lru_cache(256)
def _operand_names(op: Operation, n: int) -> tuple[str, ...]:
    return op.operand_names(n)
