"""Walking a recorded graph: derivatives of derivatives, forward mode, and names for the nodes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import count
from typing import Any

from microgradlike import notation, ops
from microgradlike.ieee import check_class, ieee, to_float
from microgradlike.notation import number, subscript, superscript
from microgradlike.recording import Choice, all_inputs, choose, full_order, recorded_local_grads
from microgradlike.value import Value, apply, constant, topological_order


def gradient(output: Value, inputs: Iterable[Value]) -> list[Value]:
    """[∂output/∂v for v in inputs], as Values that can be differentiated again.

    The same chain rule as `backward()`, with the local derivatives recorded as expressions by the
    rules of `ops`. No `.grad` is touched. An input that output does not depend on gets 0.

    Raises TypeError where `inputs` are not all Values, and ValueError where a `data` was changed
    after the graph was recorded: the result would mix the old numbers with the new.
    """
    inputs = listed(inputs)
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
    """The inputs of a node with their local derivatives (None for 1) and the condition under which they count."""
    if isinstance(node, Choice):
        return [(node.if_true, None, node.condition), (node.if_false, None, 1.0 - node.condition)]
    return [(input, d, None) for input, d in zip(node.inputs, recorded_local_grads(node), strict=True)]


def _both(a: Value | None, b: Value | None) -> Value | None:
    return a if b is None else b if a is None else a * b


def _either(a: Value | None, b: Value | None) -> Value | None:
    return None if a is None or b is None else apply(ops.MAXIMUM, a, b)


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
        if not isinstance(tangents, Mapping):
            raise TypeError(f"tangents has a number for each Value that moves, as in {{x: 1.0}}: got {tangents!r:.60}")
        listed(tangents)
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


def listed(values: Iterable[Value]) -> list[Value]:
    """The list of these Values. Raises TypeError for a single one, and for anything else among them."""
    values = as_list(values)
    for v in values:
        if not isinstance(v, Value):
            check_class(v)
            raise TypeError(f"Values are expected, and one of these is a {type(v).__name__}: {v!r:.60}")
    return values


def as_list(values: Iterable[Any]) -> list[Any]:
    """The list of these. Raises TypeError for a single Value, of whatever class, and for a network."""
    if hasattr(values, "backward"):
        raise TypeError("a list of Values is expected: write [v] for a single one")
    if callable(getattr(values, "parameters", None)):
        raise TypeError(f"a list of Values is expected: write .parameters() behind the {type(values).__name__}")
    return list(values)


def names(nodes: Iterable[Value], root: Value | None = None) -> dict[Value, str]:
    """A name for each node: its label; a constant's number; else v₁, v₂, … in the order given.

    Of several nodes with one label each gets its number in that order, as samples do: z²₁⁽¹⁾, z²₁⁽²⁾.
    A `root` without a label is L, if no other node is called so.
    """
    nodes = list(dict.fromkeys(nodes))
    uses = Counter(node.label for node in nodes)
    taken = set(uses)
    numbers: dict[str, Iterator[int]] = {}

    def numbered(what: str, name: Callable[[int], str]) -> str:
        """The next of name(1), name(2), … that is not taken."""
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
            result[node] = notation.constant(node.data)
        else:
            result[node] = numbered("", lambda i: "v" + subscript(i))
    if root is not None and not root.label and "L" not in taken:
        result[root] = "L"
    return {node: result[node] for node in nodes}


def changed(nodes: Iterable[Value]) -> dict[Value, float | None]:
    """The inputs of these nodes whose `data` was changed after the recording, with what it was then.

    Many local derivatives are an input's number, as ∂(w·x)/∂w is x, and so have kept it. Where none
    has, the number is None.
    """
    then: dict[Value, float | None] = {}
    suspects: list[Value] = []
    for node in nodes:
        if not node.inputs or _same(_recorded(node), _computed(node, [x.data for x in node.inputs])):
            continue
        assert node.op is not None
        place = {name: i for i, name in enumerate(node.op.operand_names(len(node.inputs)))}
        formulas = node.op.local_grad_formulas(len(node.inputs))
        kept = {place[f]: d for f, d in zip(formulas, node.local_grads, strict=True) if f in place}
        data = [kept.get(i, x.data) for i, x in enumerate(node.inputs)]
        then |= {x: old for x, old in zip(node.inputs, data, strict=True) if not _same((x.data,), (old,))}
        if not _same(_recorded(node), _computed(node, data)):
            unknown = [x for i, x in enumerate(node.inputs) if i not in kept]
            suspects += [x for x in unknown if not x.inputs and x.op is None] or [node]
    return {**dict.fromkeys(suspects), **then}


def change_note(then: Mapping[Value, float | None], names: Mapping[Value, str]) -> str:
    """What `changed` found, in words; "" for nothing."""
    if not then:
        return ""
    several = [
        f"{names[v]} " + ("" if old is None else f"was {number(old)} and ") + f"is {number(v.data)} now"
        for v, old in sorted(then.items(), key=lambda item: item[1] is None)
    ]
    if len(several) > 4:
        several[3:] = [f"and {len(several) - 3} more"]
    lost = [names[v] for v, old in then.items() if old is None]
    but = f", but for that of {', '.join(lost[:4])}{' …' * (len(lost) > 4)}, which it has not kept" if lost else ""
    return f"{', '.join(several)}: the numbers here are those of the recording{but}."


def _recorded(node: Value) -> tuple[float, ...]:
    return node.data, *node.local_grads


def _computed(node: Value, data: list[float]) -> tuple[float, ...]:
    """The node's value and local derivatives, if its inputs were these numbers."""
    assert node.op is not None
    operands = node.op.grouped(data)
    y = node.op.value(ieee, *operands)
    return y, *ops.flat(node.op.local_grads(ieee, y, *operands))


def _same(a: tuple[float, ...], b: tuple[float, ...]) -> bool:
    return a == b or all(x == y or (x != x and y != y) for x, y in zip(a, b, strict=True))


def _check_unchanged(node: Value) -> None:
    recorded, now = _recorded(node), _computed(node, [x.data for x in node.inputs])
    if not _same(recorded, now):
        raise ValueError(
            f"data was changed after {node.op} was recorded: its value and local derivatives were {recorded} "
            f"and would be {now} now; record the expression again"
        )
