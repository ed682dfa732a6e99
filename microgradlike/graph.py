"""Walking a recorded graph: derivatives of derivatives, forward mode, and names for the nodes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import SimpleNamespace
from typing import Any

from microgradlike import ops
from microgradlike.functions import maximum, minimum
from microgradlike.ieee import to_float
from microgradlike.value import Value, apply, constant, topological_order


def gradient(output: Value, inputs: Iterable[Value]) -> list[Value]:
    """[∂output/∂v for v in inputs], as Values that can be differentiated again.

    The same chain rule as `backward()`, with the local derivatives recorded as expressions by the
    rules of `ops`. No `.grad` is touched. An input that output does not depend on gets 0.

    Raises ValueError where a `data` was changed after the graph was recorded: its second
    derivatives would mix the old numbers with the new.
    """
    inputs = list(inputs)
    order = topological_order(output)
    needed = set(inputs)
    for node in order:
        if not needed.isdisjoint(node.inputs):
            needed.add(node)
    grads = {output: constant(1.0)}
    for node in reversed(order):
        if node not in needed or node not in grads or not node.inputs:
            continue
        assert node.op is not None
        local_grads = node.op.local_grads(values, node, *node.inputs)
        for input, local_grad, recorded in zip(node.inputs, local_grads, node.local_grads, strict=True):
            if input in needed:
                _check_unchanged(node, local_grad, recorded)
                product = grads[node] * local_grad
                grads[input] = grads[input] + product if input in grads else product
    return [grads[v] if v in grads else constant(0.0) for v in inputs]


def jvp(output: Value, tangents: Mapping[Value, float]) -> float:
    """Forward mode: Σ ∂output/∂v · tangents[v], the Jacobian–vector product, in one pass.

    The local derivatives are the recorded ones; each node's tangent is the sum over its inputs of
    ∂node/∂input times the input's tangent. Nodes in the middle of the graph may have tangents too.
    """
    return jvps(output, [tangents])[0]


def jvps(output: Value, directions: Iterable[Mapping[Value, float]]) -> list[float]:
    """`jvp` along several directions, ordering the graph only once."""
    order = topological_order(output)
    products = []
    for tangents in directions:
        moving = {v: to_float(t) for v, t in tangents.items()}
        for node in order:
            tangent = moving.get(node, 0.0)
            moves = node in moving
            for input, local_grad in zip(node.inputs, node.local_grads, strict=True):
                if input in moving:
                    tangent += local_grad * moving[input]
                    moves = True
            if moves:
                moving[node] = tangent
        products.append(moving.get(output, 0.0))
    return products


def names(nodes: Iterable[Value]) -> dict[Value, str]:
    """A name for each node: its label; a constant's number; else v₁, v₂, … in the order given."""
    result: dict[Value, str] = {}
    unnamed = 0
    for node in nodes:
        if node.label:
            result[node] = node.label
        elif node.op is ops.CONSTANT:
            result[node] = f"{node.data:.4g}"
        else:
            unnamed += 1
            result[node] = f"v{unnamed}".translate(_SUBSCRIPTS)
    return result


_SUBSCRIPTS = str.maketrans("0123456789", "₀₁₂₃₄₅₆₇₈₉")


def _check_unchanged(node: Value, local_grad: Any, recorded: float) -> None:
    now = local_grad.data if isinstance(local_grad, Value) else local_grad
    if now != recorded and (now == now or recorded == recorded):
        raise ValueError(
            f"the data of an input of {node.op} was changed after the graph was recorded: its local derivative "
            f"was {recorded:.6g} then and would be {now:.6g} now; record the expression again"
        )


def _lift(function: Any) -> Any:
    return lambda x: function(x if isinstance(x, Value) else constant(x))


values = SimpleNamespace(
    divide=lambda a, b: apply(ops.DIV, a, b),
    power=lambda a, b: apply(ops.POW, a, b),
    exp=_lift(Value.exp),
    expm1=lambda x: _lift(Value.exp)(x) - 1.0,
    log=_lift(Value.log),
    log1p=lambda x: _lift(Value.log)(1.0 + x),
    sqrt=_lift(Value.sqrt),
    sin=_lift(Value.sin),
    cos=_lift(Value.cos),
    tanh=_lift(Value.tanh),
    abs=_lift(Value.__abs__),
    sigmoid=_lift(Value.sigmoid),
    where=lambda condition, a, b: a if condition else b,
    maximum=maximum,
    minimum=minimum,
)
"""The namespace of Values: the rules of `ops`, run with it, record their local derivatives."""
