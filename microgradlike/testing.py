"""Assertions for your own tests of the chain rule. Under pytest they fail with a table of what was expected.

def test_product_rule():
    a, b = Value(2.0, "a"), Value(3.0, "b")
    y = a * b
    assert_local_grads(y, [3.0, 2.0])
    y.backward()
    assert_grads({a: 3.0, b: 2.0})
    assert_gradients(lambda: a * b, [a, b])

All also accept the Values of another class, such as one of your own, that have `data`, `grad` and `backward()`;
`assert_local_grads` needs `inputs` and `local_grads` as well. `assert_chain_rule` is for such a class as a whole.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from math import isclose, isfinite
from typing import Any

from microgradlike.check.differences import UNIT, ForwardPass, check_function, judge, value_slope
from microgradlike.check.gradients import backward_gradients, by_how_much, check_gradients, keep_grads
from microgradlike.graph import as_list, as_value_list
from microgradlike.ieee import to_float
from microgradlike.notation import formula
from microgradlike.notation.digits import subscript
from microgradlike.notation.names import node_names
from microgradlike.value import Value
from microgradlike.view.table import clean

__all__ = [
    "EXPRESSIONS",
    "assert_chain_rule",
    "assert_gradients",
    "assert_grads",
    "assert_local_grads",
    "assert_same_gradients",
]

Entry = tuple[str, str, float | None, float]  # of what, by which rule, got, expected

EXPRESSIONS: dict[str, Callable[[Any, Any], Any]] = {
    "a + b": lambda a, b: a + b,
    "a + 2": lambda a, b: a + 2,
    "2 + a": lambda a, b: 2 + a,
    "a * b": lambda a, b: a * b,
    "a * 2": lambda a, b: a * 2,
    "2 * a": lambda a, b: 2 * a,
    "-a": lambda a, b: -a,
    "a - b": lambda a, b: a - b,
    "a - 2": lambda a, b: a - 2,
    "2 - a": lambda a, b: 2 - a,
    "a / b": lambda a, b: a / b,
    "a / 2": lambda a, b: a / 2,
    "2 / a": lambda a, b: 2 / a,
    "a ** 2": lambda a, b: a**2,
    "a ** 3": lambda a, b: a**3,
    "a ** -1": lambda a, b: a**-1,
    "a ** 0.5": lambda a, b: a**0.5,
    "a.exp()": lambda a, b: a.exp(),
    "a.log()": lambda a, b: a.log(),
    "a.tanh()": lambda a, b: a.tanh(),
    "a.sigmoid()": lambda a, b: a.sigmoid(),
    "a.relu()": lambda a, b: a.relu(),
    "a + a": lambda a, b: a + a,
    "a * a": lambda a, b: a * a,
    "a * b + a": lambda a, b: a * b + a,
    "a + a * b": lambda a, b: a + a * b,
    "c * 2 + c, where c = a * b": lambda a, b: (c := a * b) * 2 + c,
    "c + c * 2, where c = a * b": lambda a, b: (c := a * b) + c * 2,
    "d * c + d, where d = c + a and c = a * b": lambda a, b: (d := (c := a * b) + a) * c + d,
}
POINTS = (2.0, -3.0), (-0.5, 4.0), (0.75, 0.3)  # a and b, unlike each other and not too small


def assert_chain_rule(make: Callable[[float], Any], expressions: Iterable[str] | None = None) -> None:
    """Assert that a class of your own, `make(number)`, computes expressions and their gradients as calculus does.

    The class needs `data`, `grad`, the operators and `backward()`. `expressions` are some of `EXPRESSIONS`; if none
    are named, all of them, but for methods such as `tanh` that the class does not have. Raises AssertionError with the
    first that is wrong, where, and in which gradient; and ValueError for an expression that is not in `EXPRESSIONS`.
    """
    __tracebackhide__ = True
    if expressions is None:
        value = make(1.0)
        expressions = [text for text in EXPRESSIONS if "." not in text or hasattr(value, text[2:-2])]
    for text in expressions:
        if text not in EXPRESSIONS:
            raise ValueError(f"expected some of {', '.join(EXPRESSIONS)}; got {text}")
        if fault := _raised(make, text) or _fault(make, text):
            raise AssertionError(fault)


def _raised(make: Callable[[float], Any], text: str) -> str:
    """Return why an expression cannot be computed, if so, and what may be missing."""
    try:
        y = EXPRESSIONS[text](make(2.0), make(3.0))
        if not hasattr(y, "backward"):
            return f"{text} gives {type(y).__name__}: {y!r:.60}, which has no backward()."
        y.backward()
    except Exception as error:
        said = f"{text} raises {type(error).__name__}: {error}."
        if isinstance(error, TypeError) and text[0] == "2":
            method = {"+": "__radd__", "*": "__rmul__", "-": "__rsub__", "/": "__rtruediv__"}[text[2]]
            said += f" Python asks the number first, which knows no {type(make(2.0)).__name__}, and then a.{method}."
        if isinstance(error, AttributeError) and error.name == "data":
            said += " An operand may be a plain number, such as 2."
        return said
    return ""


def _fault(make: Callable[[float], Any], text: str) -> str:
    """Return what is wrong with the value or a gradient of an expression, if anything."""
    f = EXPRESSIONS[text]
    for a, b in POINTS:
        right, (right_a, right_b) = f(*(inputs := (Value(a), Value(b)))), inputs
        right.backward()
        if not isfinite(right.data):
            continue  # log and powers of a negative number
        y = f(*(mine := (make(a), make(b))))
        used = [(name, v, n) for name, v, n in (("a", right_a, mine[0]), ("b", right_b, mine[1])) if v.has_grad]
        at = f"{text}, at {', '.join(f'{name} = {v.data:g}' for name, v, _ in used)}:"
        if not _near(y.data, right.data):
            return f"{at} its value is {y.data:.6g}, and should be {right.data:.6g}."
        y.backward()
        for name, v, node in used:
            if node.grad is None:
                return f"{at} backward() gives {name} no gradient, and it should be {v.grad:.6g}."
            if not _near(node.grad, v.grad):
                off = by_how_much(float(node.grad), v.grad)
                gets = f"backward() gives {name} the gradient {node.grad:.6g}, and it should be {v.grad:.6g}: off by {off}."
                return f"{at} {gets}{_remark_on(text, name)}"
    return ""


def _remark_on(text: str, name: str) -> str:
    if ", where" in text:
        return " c is used twice: it may hand on its gradient only when both parts have arrived."
    twice = len(re.findall(rf"\b{name}\b", text)) == 2
    return f" {name} is used twice, and both parts add up: +=, not =." if twice else ""


def _near(got: Any, right: float) -> bool:
    return isclose(got, right, rel_tol=1e-9, abs_tol=1e-12)


def assert_gradients(f: Callable[[], Value], values: Iterable[Value], rtol: float = 1e-5) -> None:
    """Assert that ∂f()/∂v agrees with finite differences for all values, and that all local derivatives are right.

    Raises AssertionError with the report of `check_gradients(f, values, rtol)`, and TypeError or ValueError as it does.
    """
    __tracebackhide__ = True
    check_function(f, "assert_gradients({}, values)")
    values = _as_node_list(values)
    if any(not isinstance(v, Value) for v in values):
        _assert_like_differences(f, values, rtol)
    elif not (report := check_gradients(f, values, rtol)).ok:
        raise AssertionError(f"the gradients are wrong\n{report}")


def _assert_like_differences(f: Callable[[], Any], values: list[Any], rtol: float) -> None:
    __tracebackhide__ = True
    forward_pass = ForwardPass(f)
    C, gradients = _gradients(f, values)
    noise = 64 * UNIT * max(abs(C), 1.0)  # how far rounding has moved C: this class does not say
    rows: list[Entry] = []
    right = []
    for v, name, gradient in zip(values, _names_of(values), gradients, strict=True):
        found = value_slope(forward_pass, v, noise, C)
        rows.append((f"∂C/∂{name}", "", gradient, found.estimate))
        right.append(judge(gradient, found, rtol) != "wrong")
    why = "" if all(right) else _diagnosis(type(values[0]))
    _assert_close("the gradients are wrong", rows, right, "backward()", "differences", why)


def _diagnosis(make: Callable[[float], Any]) -> str:
    """Return which operation of a class is wrong, as far as single ones and small graphs can tell."""
    try:
        make(1.0)
    except Exception:  # such Values are made in another way
        return ""
    able = [text for text in EXPRESSIONS if not _raised(make, text)]
    wrong = next(filter(None, (_fault(make, text) for text in able)), "")
    return wrong or f"Right by themselves: {'; '.join(able)}."


def assert_grads(expected: Mapping[Value, float], rel: float = 1e-12, abs: float = 0.0) -> None:
    """Assert that v.grad is as expected, for every v: `assert_grads({a: 3.0, b: 2.0})` after backward().

    `rel` and `abs` are the tolerances of `math.isclose`. Raises AssertionError otherwise, also for
    a grad that no backward pass has computed, and TypeError for a key that has no `data` or no `grad`.
    """
    __tracebackhide__ = True
    values = _as_node_list(expected)
    rows: list[Entry] = [
        (f"{name}.grad", "", None if isinstance(v, Value) and not v.has_grad else v.grad, to_float(number))
        for name, (v, number) in zip(_names_of(values), expected.items(), strict=True)
    ]
    _assert_close("the gradients are not as expected", rows, _close(rows, rel, abs))


def assert_local_grads(node: Value, expected: Sequence[float], rel: float = 1e-12, abs: float = 0.0) -> None:
    """Assert that the local derivatives ∂₁node, ∂₂node, … that a node recorded are as expected, in the order of its inputs.

    `rel` and `abs` are the tolerances of `math.isclose`. Raises AssertionError otherwise.
    """
    __tracebackhide__ = True
    inputs = node.inputs
    if len(expected) != len(inputs):
        raise AssertionError(f"{len(expected)} local derivatives were expected of a node with {len(inputs)} inputs")
    if isinstance(node, Value):
        names = node_names([*inputs, node])
        y = f"{names[node]} = {formula.expression(node, names, depth=1)}" if inputs else names[node]
        edges = [(formula.local(names[node], i), formula.derivative(node, i, names)) for i in range(len(inputs))]
    else:
        (y,) = _names_of([node])
        edges = [(formula.local(y, i), "") for i in range(len(inputs))]
    rows: list[Entry] = [
        (*edge, got, to_float(n)) for edge, got, n in zip(edges, node.local_grads, expected, strict=True)
    ]
    _assert_close(f"the local derivatives of {y} are not as expected", rows, _close(rows, rel, abs))


def assert_same_gradients(
    f: Callable[[], Value], g: Callable[[], Value], values: Iterable[Value], rel: float = 1e-9, abs: float = 1e-12
) -> None:
    """Assert that f() and g(), two ways to write one function, have the same value and the same gradient.

    `rel` and `abs` are the tolerances of `math.isclose`. The gradients left in the values by earlier backward
    passes stay as they were. Raises AssertionError otherwise, and TypeError for an f or g that is no function
    without arguments.
    """
    __tracebackhide__ = True
    for each in (f, g):
        check_function(each, "assert_same_gradients({0}, {0}, values)")
    values = _as_node_list(values)
    (y, grads), (other_y, other_grads) = _gradients(f, values), _gradients(g, values)
    rows: list[Entry] = [("value", "", y, other_y)]
    rows += [(f"∂/∂{name}", "", a, b) for name, a, b in zip(_names_of(values), grads, other_grads, strict=True)]
    _assert_close("f() and g() are not the same", rows, _close(rows, rel, abs), "f()", "g()")


def _as_node_list(values: Iterable[Any]) -> list[Any]:
    """Return the list of these Values, of whatever class. Raises TypeError where one has no `data` or no `grad`."""
    values = as_list(values)
    as_value_list(v for v in values if not (hasattr(v, "data") and hasattr(v, "grad")))
    return values


def _names_of(values: list[Any]) -> list[str]:
    if all(isinstance(v, Value) for v in values):
        names = node_names(values)
        return [names[v] for v in values]
    return [getattr(v, "label", "") or f"v{subscript(i)}" for i, v in enumerate(values, 1)]


def _gradients(f: Callable[[], Any], values: list[Any]) -> tuple[float, list[float]]:
    """Return f() and its gradient. The `grad` of the values is left as it was."""
    y = f()
    if isinstance(y, Value):
        grads = backward_gradients(y)
        return y.data, [grads.get(v, 0.0) for v in values]

    def body() -> list[float]:
        for v in values:
            v.grad = 0.0
        y.backward()
        return [v.grad for v in values]

    return y.data, keep_grads(values, body)


def _close(rows: list[Entry], rel: float, abs: float) -> list[bool]:
    return [
        a is not None and (a == b or (a != a and b != b) or isclose(a, b, rel_tol=rel, abs_tol=abs))
        for _, _, a, b in rows
    ]


def _assert_close(
    what: str, rows: list[Entry], right: list[bool], got: str = "got", expected: str = "expected", why: str = ""
) -> None:
    __tracebackhide__ = True
    if all(right):
        return
    cells = [("", "", got, expected, "")] + [
        (name, rule and f"{rule}  ", "–" if a is None else f"{a:.10g}", f"{b:.10g}", "" if ok else _remark(a, b))
        for (name, rule, a, b), ok in zip(rows, right, strict=True)
    ]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = [
        f"  {name:<{widths[0]}}  {rule:<{widths[1]}}{a:>{widths[2]}}  {b:>{widths[3]}}  {remark}"
        for name, rule, a, b, remark in cells
    ]
    raise AssertionError("\n".join(clean(line.rstrip()) for line in [what, *lines, *([why] if why else [])]))


def _remark(a: float | None, b: float) -> str:
    return "← not computed: call backward() first" if a is None else f"← off by {by_how_much(a, b)}"
