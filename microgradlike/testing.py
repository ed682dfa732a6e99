"""Assertions for your own tests of the chain rule. Under pytest they fail with a table of what was expected.

def test_product_rule():
    a, b = Value(2.0, "a"), Value(3.0, "b")
    y = a * b
    assert_local_grads(y, [3.0, 2.0])
    y.backward()
    assert_grads({a: 3.0, b: 2.0})
    assert_gradients(lambda: a * b, [a, b])
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from math import isclose

from microgradlike import formula
from microgradlike.check import backward_gradients, by_how_much, check_gradients
from microgradlike.graph import listed, names
from microgradlike.ieee import to_float
from microgradlike.value import Value

Row = tuple[str, str, float | None, float]  # of what, by which rule, got, expected


def assert_gradients(f: Callable[[], Value], values: Iterable[Value], rtol: float = 1e-5) -> None:
    """∂f()/∂v agrees with finite differences for all values, and all local derivatives are right.

    The report of `check_gradients(f, values, rtol)` is the message of the AssertionError.
    """
    __tracebackhide__ = True
    report = check_gradients(f, values, rtol)
    if not report.ok:
        raise AssertionError(f"the gradients are wrong\n{report}")


def assert_grads(expected: Mapping[Value, float], rel: float = 1e-12, abs: float = 0.0) -> None:
    """v.grad is what is expected of it, for every v: `assert_grads({a: 3.0, b: 2.0})` after backward().

    `rel` and `abs` are the tolerances of `math.isclose`. Raises AssertionError otherwise, also for
    a grad that no backward pass has computed.
    """
    __tracebackhide__ = True
    name = names(listed(expected))
    _assert_close(
        "the gradients are not as expected",
        [(f"{name[v]}.grad", "", v.grad if v.has_grad else None, to_float(n)) for v, n in expected.items()],
        rel,
        abs,
    )


def assert_local_grads(node: Value, expected: Sequence[float], rel: float = 1e-12, abs: float = 0.0) -> None:
    """The local derivatives ∂node/∂input that the node recorded are as expected, in the order of its inputs."""
    __tracebackhide__ = True
    inputs = node.inputs
    if len(expected) != len(inputs):
        raise AssertionError(f"{len(expected)} local derivatives were expected of a node with {len(inputs)} inputs")
    name = names([*inputs, node])
    rows: list[Row] = [
        (formula.partial(name[node], name[v]), formula.derivative(node, i, name), node.local_grads[i], to_float(number))
        for i, (v, number) in enumerate(zip(inputs, expected, strict=True))
    ]
    y = f"{name[node]} = {formula.expression(node, name, depth=1)}" if inputs else name[node]
    _assert_close(f"the local derivatives of {y} are not as expected", rows, rel, abs)


def assert_same_gradients(
    f: Callable[[], Value], g: Callable[[], Value], values: Iterable[Value], rel: float = 1e-9, abs: float = 1e-12
) -> None:
    """f() and g() have the same value and the same gradient: two ways to write one function.

    The gradients left in the values by earlier backward passes stay as they were.
    """
    __tracebackhide__ = True
    values = list(values)
    name = names(values)
    y, other_y = f(), g()
    grads, other_grads = backward_gradients(y), backward_gradients(other_y)
    rows: list[Row] = [("value", "", y.data, other_y.data)]
    rows += [(f"∂/∂{name[v]}", "", grads.get(v, 0.0), other_grads.get(v, 0.0)) for v in values]
    _assert_close("f() and g() are not the same", rows, rel, abs, "f()", "g()")


def _assert_close(
    what: str,
    rows: list[Row],
    rel: float,
    abs: float,
    got: str = "got",
    expected: str = "expected",
) -> None:
    __tracebackhide__ = True
    right = [_close(a, b, rel, abs) for _, _, a, b in rows]
    if all(right):
        return
    cells = [("", "", got, expected, "")] + [
        (name, rule, "–" if a is None else f"{a:.10g}", f"{b:.10g}", "" if ok else _remark(a, b))
        for (name, rule, a, b), ok in zip(rows, right, strict=True)
    ]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = [
        f"  {name:<{widths[0]}}  {rule:<{widths[1]}}"
        + ((widths[1] and "  ") or "")
        + f"{a:>{widths[2]}}  {b:>{widths[3]}}  {remark}"
        for name, rule, a, b, remark in cells
    ]
    raise AssertionError("\n".join([what, *(line.rstrip() for line in lines)]))


def _close(a: float | None, b: float, rel: float, abs: float) -> bool:
    return a is not None and (a == b or (a != a and b != b) or isclose(a, b, rel_tol=rel, abs_tol=abs))


def _remark(a: float | None, b: float) -> str:
    return "← not computed: call backward() first" if a is None else f"← off by {by_how_much(a, b)}"
