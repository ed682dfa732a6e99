"""Walking a recorded graph: derivatives of derivatives, and forward mode."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from microgradlike import ops
from microgradlike.ieee import check_class, ieee, to_float
from microgradlike.recording import Choice, all_inputs, choose, full_order, recorded_local_grads
from microgradlike.value import Value, apply, constant, topological_order


def gradient(output: Value, inputs: Iterable[Value]) -> list[Value]:
    """Return [∂output/∂v for v in inputs], as Values that can be differentiated again.

    This is the chain rule of `backward()`, with the local derivatives recorded as expressions by the
    rules of `ops`. It touches no `.grad`. An input that output does not depend on gets 0.

    Raises TypeError where `inputs` are not all Values, and ValueError where a `data` was changed
    after the graph was recorded: the result would mix the old numbers with the new.
    """
    inputs = as_value_list(inputs)
    order = full_order(output)
    needed = set(inputs)
    for node in order:
        if not needed.isdisjoint(all_inputs(node)):
            needed.add(node)
    grads = {output: constant(1.0)}
    counts: dict[Value, Value | None] = {output: None}  # the condition under which a node takes part; None: always
    for node in reversed(order):
        if node not in needed or not node.inputs:
            continue
        _check_unchanged(node)
        if node not in grads:  # what is only compared
            continue
        for input, local_grad, taken in _edges(node):
            if input in needed:
                product = grads[node] if local_grad is None else grads[node] * local_grad
                when = _both(counts[node], taken)
                if when is not None:
                    product = choose(when, product, 0.0)
                grads[input] = grads[input] + product if input in grads else product
                counts[input] = _either(counts[input], when) if input in counts else when
    return [grads[v] if v in grads else constant(0.0) for v in inputs]


def _edges(node: Value) -> list[tuple[Value, Any, Value | None]]:
    """Return the inputs of a node, with their local derivatives (None for 1) and the condition under which each counts."""
    if isinstance(node, Choice):
        return [(node.if_true, None, node.condition), (node.if_false, None, 1.0 - node.condition)]
    return [(input, d, None) for input, d in zip(node.inputs, recorded_local_grads(node), strict=True)]


def _both(a: Value | None, b: Value | None) -> Value | None:
    return a if b is None else b if a is None else a * b


def _either(a: Value | None, b: Value | None) -> Value | None:
    return None if a is None or b is None else apply(ops.MAXIMUM, a, b)


def jvp(output: Value, tangents: Mapping[Value, float]) -> float:
    """Return Σ ∂output/∂v · tangents[v], the Jacobian–vector product, by one pass in forward mode.

    `tangents` maps Values to real numbers, as in `jvp(loss, {w: 1.0})`; all others have the tangent 0. Each
    node's tangent is the sum over k of ∂ₖnode, as recorded, times its k-th input's tangent. Nodes
    in the middle of the graph may have tangents too.

    Raises TypeError where tangents do not map Values to real numbers, and for an output that is no Value.
    """
    return jvps(output, [tangents])[0]


def jvps(output: Value, directions: Iterable[Mapping[Value, float]]) -> list[float]:
    """Return `jvp(output, tangents)` for each of these directions; the graph is ordered only once."""
    order = topological_order(output)
    products = []
    for tangents in directions:
        if not isinstance(tangents, Mapping):
            raise TypeError(f"tangents has a number for each Value that moves, as in {{x: 1.0}}: got {tangents!r:.60}")
        as_value_list(tangents)
        moving = {v: to_float(t) for v, t in tangents.items()}
        for node in order:
            for input, local_grad in zip(node.inputs, node.local_grads, strict=True):
                if input in moving:
                    moving[node] = moving.get(node, 0.0) + local_grad * moving[input]
        products.append(moving.get(output, 0.0))
    return products


def record_again(loss: Value, numbers: Mapping[Value, float]) -> Value:
    """Return the expression, recorded again with other numbers in its leaves, by the operations that were recorded."""
    again: dict[Value, Value] = {}
    for node in full_order(loss):
        if isinstance(node, Choice):
            again[node] = choose(*(again[each] for each in all_inputs(node)))
        elif node.inputs:
            again[node] = apply(node.op, *(again[input] for input in node.inputs))
        else:
            again[node] = constant(node.data) if node.op is ops.CONSTANT else Value(numbers.get(node, node.data))
        again[node].label = node.label
    return again[loss]


def as_value_list(values: Iterable[Value]) -> list[Value]:
    """Return the list of these Values. Raises TypeError for a single one, and for anything else among them."""
    values = as_list(values)
    for v in values:
        if not isinstance(v, Value):
            check_class(v)
            raise TypeError(f"Values are expected, and one of these is a {type(v).__name__}: {v!r:.60}")
    return values


def as_list(values: Iterable[Any]) -> list[Any]:
    """Return the list of these. Raises TypeError for a single Value, of whatever class, and for a network."""
    if hasattr(values, "backward"):
        raise TypeError("a list of Values is expected: write [v] for a single one")
    if callable(getattr(values, "parameters", None)):
        raise TypeError(f"a list of Values is expected: write .parameters() behind the {type(values).__name__}")
    return list(values)


def recorded_numbers(node: Value) -> tuple[float, ...]:
    """Return a node's value and local derivatives, as they were recorded."""
    return node.data, *node.local_grads


def computed_numbers(node: Value, data: list[float]) -> tuple[float, ...]:
    """Return what a node's value and local derivatives would be if its inputs were these numbers."""
    y = node.op.evaluate(ieee, data)
    return y, *node.op.differentiate(ieee, y, data)


def same_numbers(a: tuple[float, ...], b: tuple[float, ...]) -> bool:
    """Return whether the numbers are equal, nan to nan."""
    return a == b or all(x == y or (x != x and y != y) for x, y in zip(a, b, strict=True))


def _check_unchanged(node: Value) -> None:
    then, now = recorded_numbers(node), computed_numbers(node, [x.data for x in node.inputs])
    if not same_numbers(then, now):
        raise ValueError(
            f"data was changed after {node.op} was recorded: its value and local derivatives were {then} "
            f"and would be {now} now; record the expression again"
        )
