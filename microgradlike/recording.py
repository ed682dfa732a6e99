"""The rules of `ops` run on Values: what they compute is recorded, and so is what they choose.

A rule that says `xp.where(x > 0, 1.0, slope)` compares numbers. Run on Values, the comparison and the choice
become nodes, so that a graph which contains derivatives holds for other numbers, too: `matrix` runs it on
whole batches.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

from microgradlike import ops
from microgradlike.ieee import Namespace, ieee
from microgradlike.primitive import Operation
from microgradlike.support import interop
from microgradlike.value import Value, apply, constant, topological_order

# fmt: off
# What a rule compares and chooses: 1 is true, and 0 false.
LESS = Operation("less", "<", ("a", "b"),
    "1 if a < b else 0",    lambda xp, a, b: xp.where(a < b, 1.0, 0.0),
    ("0", "0"),             lambda xp, y, a, b: (0.0, 0.0))
LESS_EQUAL = Operation("less_equal", "≤", ("a", "b"),
    "1 if a <= b else 0",   lambda xp, a, b: xp.where(a <= b, 1.0, 0.0),
    ("0", "0"),             lambda xp, y, a, b: (0.0, 0.0))
EQUAL = Operation("equal", "=", ("a", "b"),
    "1 if a == b else 0",   lambda xp, a, b: xp.where(a == b, 1.0, 0.0),
    ("0", "0"),             lambda xp, y, a, b: (0.0, 0.0))
WHERE = Operation("where", "where", ("c", "a", "b"),
    "a if c != 0 else b",   lambda xp, c, a, b: xp.where(c != 0, a, b),
    ("0", "1 if c != 0 else 0", "0 if c != 0 else 1"),
                            lambda xp, y, c, a, b: (0.0, xp.where(c != 0, 1.0, 0.0), xp.where(c != 0, 0.0, 1.0)))
CHOSEN = Operation("chosen", "where", ("x",),
    "x",                    lambda xp, x: x,
    ("1",),                 lambda xp, y, x: (1.0,))
MAGNITUDE = Operation("magnitude", "abs", ("x",),
    "abs(x)",               lambda xp, x: abs(x),
    ("1 if x >= 0 else -1",),
                            lambda xp, y, x: (xp.where(x >= 0, 1.0, -1.0),))
# fmt: on


class Choice(Value):
    """What where(condition, if_true, if_false) chose, by a `condition` that is 1 or 0.

    Its only input is the branch that was taken. A backward pass thus knows nothing of the other, and no inf
    or nan can leak from there; `all_inputs` has it for those who run the graph with other numbers.
    """

    __slots__ = ("condition", "if_false", "if_true")

    condition: Value
    if_true: Value
    if_false: Value


def choose(condition: Value, a: Any, b: Any) -> Value:
    """Record a where the condition is 1, b where it is 0."""
    a, b = (x if isinstance(x, Value) else constant(x) for x in (a, b))
    if a is b or (a.op is b.op is ops.CONSTANT and repr(a.data) == repr(b.data)):
        return a  # type: ignore[no-any-return]
    taken = a if condition.data else b
    node = Choice(taken.data)
    node.condition, node.if_true, node.if_false = condition, a, b
    node.op, node._a, node._da = CHOSEN, taken, 1.0
    return node


def all_inputs(node: Value) -> tuple[Value, ...]:
    """Return what a node depends on: its inputs, and of a choice the condition and both branches."""
    return (node.condition, node.if_true, node.if_false) if isinstance(node, Choice) else node.inputs


def full_order(root: Value) -> list[Value]:
    """Return the topological order of root with all that choices depend on."""
    order = topological_order(root)
    if not any(node.op is CHOSEN for node in order):
        return order
    found, stack = {root: None}, [root]
    while stack:
        for input in all_inputs(stack.pop()):
            if input not in found:
                found[input] = None
                stack.append(input)
    return sorted(found, key=operator.attrgetter("_number"))


def recorded_local_grads(node: Value) -> list[Any]:
    """Return ∂₁node, ∂₂node, …, as Values recorded by the rule of the node's operation, or as numbers."""
    branches: list[Value] = []
    inputs = [_Number(v, branches) for v in node.inputs]
    results = list(map(_node, node.op.differentiate(value_namespace, _Number(node, branches), inputs)))
    for holds in branches:  # of a Python `if` in the rule: numbers that take the other branch have no answer
        results = [choose(holds, grad, float("nan")) for grad in results]
    return results


class _Number:
    """A Value within a rule, whose comparisons are recorded. `branches` collects what a Python `if` has asked."""

    __slots__ = ("branches", "node")

    def __init__(self, node: Value, branches: list[Value]) -> None:
        self.node, self.branches = node, branches

    def __bool__(self) -> bool:
        self.branches.append(_is_not_zero(self.node) if self.node.data else apply(EQUAL, self.node, 0.0))
        return bool(self.node.data)

    __float__ = interop.refuse
    __hash__ = None  # type: ignore[assignment]


def _node(x: Any) -> Any:
    return x.node if isinstance(x, _Number) else x


def _is_not_zero(x: Value) -> Value:
    """Return 1 where x is not 0, and else 0; a comparison is that already."""
    return x if x.op in (LESS, LESS_EQUAL, EQUAL) else 1.0 - apply(EQUAL, x, 0.0)


def _recorded(op: Operation) -> Callable[..., Any]:
    """Return the function that records op; of constants it computes it."""

    def function(*inputs: Any) -> Any:
        nodes = list(map(_node, inputs))
        if not any(isinstance(x, Value) and x.op is not ops.CONSTANT for x in nodes):
            return op.evaluate(ieee, [x.data if isinstance(x, Value) else x for x in nodes])
        return _Number(apply(op, *nodes), next((x.branches for x in inputs if isinstance(x, _Number)), []))

    return function


def _compared(op: Operation) -> Callable[..., Any]:
    """Return the function that records a comparison; between constants it is decided for good."""
    record = _recorded(op)

    def compare(a: Any, b: Any) -> Any:
        condition = record(a, b)
        return condition if isinstance(condition, _Number) else bool(condition)

    return compare


def _swapped(function: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    return lambda a, b: function(b, a)


def _not(condition: Any) -> Any:
    return not condition if isinstance(condition, bool) else 1.0 - condition


def _and(a: Any, b: Any) -> Any:
    return (b if a else False) if isinstance(a, bool) else (a if b else False) if isinstance(b, bool) else a * b


def _or(a: Any, b: Any) -> Any:
    return _not(_and(_not(a), _not(b)))


def _where(condition: Any, a: Any, b: Any) -> Any:
    if not isinstance(condition, _Number):
        return a if condition else b
    return _Number(choose(_is_not_zero(condition.node), _node(a), _node(b)), condition.branches)


for _name, _op in {"add": ops.ADD, "sub": ops.SUB, "mul": ops.MUL, "truediv": ops.DIV, "pow": ops.POW}.items():
    setattr(_Number, f"__{_name}__", _recorded(_op))
    setattr(_Number, f"__r{_name}__", _swapped(_recorded(_op)))
for _name, _method in {
    "neg": _recorded(ops.NEG), "pos": lambda a: a, "abs": _recorded(ops.ABS),
    "lt": _compared(LESS), "gt": _swapped(_compared(LESS)),
    "le": _compared(LESS_EQUAL), "ge": _swapped(_compared(LESS_EQUAL)),
    "eq": _compared(EQUAL), "ne": lambda a, b: _not(a == b),
    "and": _and, "rand": _and, "or": _or, "ror": _or, "invert": _not,
}.items():  # fmt: skip
    setattr(_Number, f"__{_name}__", _method)

_same_name = (
    ops.EXP, ops.EXPM1, ops.LOG, ops.LOG1P, ops.SQRT, ops.SIN, ops.COS, ops.TANH, ops.SIGMOID, ops.MAXIMUM, ops.MINIMUM,
)  # fmt: skip
value_namespace = Namespace(
    **{op.name: _recorded(op) for op in _same_name},
    divide=_recorded(ops.DIV),
    power=_recorded(ops.POW),
    abs=_recorded(MAGNITUDE),  # without a kink: a rule that is smooth at 0 stays so
    where=_where,
    sum=lambda x: _recorded(ops.SUM)(*x),
    max=lambda x: _recorded(ops.MAX)(*x),
)
"""The namespace of Values: what its functions compute is recorded."""
