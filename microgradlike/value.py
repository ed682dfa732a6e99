"""Value: a number that remembers how it was computed, and backward(), which applies the chain rule.

Every operation on Values records a node: its result, its inputs and its local derivatives ∂₁node,
∂₂node, …: by the first input, …, the others held fixed. `loss.backward()` goes from the
loss down to the leaves: ∂L/∂input += ∂L/∂node · ∂ₖnode for each node's k-th input.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import count
from typing import Any

from microgradlike import ops
from microgradlike.ieee import NOT_COMPUTED, check_class, ieee, to_float
from microgradlike.primitive import Operation, flat
from microgradlike.support.compiled import compile_rows
from microgradlike.support.interop import NumberLike, check_label, left_to_numpy
from microgradlike.support.passes import one_at_a_time, run_pass
from microgradlike.support.visits import in_topological_order

_new = object.__new__
_next_number = count(1).__next__


class Value(NumberLike):
    """A node of the computation graph: a number, and how it came about.

    `data` is the number; `op` the operation that made it, `inputs` what it was applied to, in order
    (`x * x` has two), and `local_grads` the local derivatives ∂₁self, ∂₂self, …, parallel to `inputs`.
    A leaf has no inputs, and the op LEAF.

    `grad` is ∂L/∂self after `L.backward()`. Before, and for plain numbers always, it is not computed:
    `has_grad` is False then, it prints as –, and arithmetic with it is arithmetic with 0. Assigned
    gradients are kept as they are: a NumPy float32 accumulates in float32.

    Two Values are equal only if they are the same node; with plain numbers, and by `<`, a Value compares
    as its number. It has no room for attributes of your own; `class Parameter(Value): pass` has.
    Raises TypeError for data that is no real number, and a label that is no text.
    """

    # One input or two have slots of their own, any number stand in the first as a tuple: without
    # containers, a node is half the memory and next to no work for the garbage collector.
    __slots__ = ("_a", "_b", "_da", "_data", "_db", "_label", "_number", "_visit", "grad", "op")

    _a: Any
    _b: Any
    _da: Any
    _db: Any
    _visit: object
    op: Operation
    grad: Any  # a float, NOT_COMPUTED, or what was assigned

    def __init__(self, data: Any, label: str = "", *made_of: Any, **more: Any) -> None:
        if type(label) is not str or made_of or more:
            check_label(label, *made_of, **more)
        self._label = label
        self._data = data if type(data) is float else to_float(data)
        self._number = _next_number()
        self.grad = NOT_COMPUTED
        self.op = ops.LEAF
        self._b = self._db = self._visit = None
        self._a = self._da = ()

    def backward(self, seed: float = 1.0) -> None:
        """Compute seed · ∂self/∂v into `v.grad`, for every v that self was computed from.

        From self down, each node hands its gradient on to its inputs, as `_backward` does. The gradient
        of a leaf adds up over calls until you set it to 0; that of any other node is the last call's.
        Constants get none. Raises TypeError for a seed that is no real number.
        """
        run_pass(_propagate, self, to_float(seed))

    def _backward(self) -> None:
        """Hand this node's gradient on to its inputs: the chain rule."""
        for input, local_grad in zip(self.inputs, self.local_grads):
            input.grad += self.grad * local_grad
        for input in self.inputs:
            if input.op is ops.CONSTANT:
                input.grad = NOT_COMPUTED

    @property
    def inputs(self) -> tuple[Value, ...]:
        """What the operation was applied to, in order."""
        a, b = self._a, self._b
        return a if type(a) is tuple else (a,) if b is None else (a, b)

    @property
    def local_grads(self) -> tuple[float, ...]:
        """∂₁self, ∂₂self, …: one for each of `inputs`, as of when the operation ran."""
        da, db = self._da, self._db
        return da if type(da) is tuple else (da,) if db is None else (da, db)

    @property
    def has_grad(self) -> bool:
        """Whether `grad` was computed or assigned."""
        return self.grad is not None and self.grad is not NOT_COMPUTED

    @property
    def data(self) -> float:
        """The number. Assigning it changes nothing that was already computed from it."""
        return self._data

    @data.setter
    def data(self, number: Any) -> None:
        self._data = to_float(number)

    # fmt: off

    def __add__(self, other: Any) -> Value: return binary(ops.ADD, self, other)
    def __radd__(self, other: Any) -> Value: return binary(ops.ADD, other, self)
    def __sub__(self, other: Any) -> Value: return binary(ops.SUB, self, other)
    def __rsub__(self, other: Any) -> Value: return binary(ops.SUB, other, self)
    def __mul__(self, other: Any) -> Value: return binary(ops.MUL, self, other)
    def __rmul__(self, other: Any) -> Value: return binary(ops.MUL, other, self)
    def __truediv__(self, other: Any) -> Value: return binary(ops.DIV, self, other)
    def __rtruediv__(self, other: Any) -> Value: return binary(ops.DIV, other, self)
    def __pow__(self, other: Any) -> Value: return binary(ops.POW, self, other)
    def __rpow__(self, other: Any) -> Value: return binary(ops.POW, other, self)
    def __neg__(self) -> Value: return unary(ops.NEG, self)
    def __pos__(self) -> Value: return self
    def __abs__(self) -> Value: return unary(ops.ABS, self)
    def exp(self) -> Value: return unary(ops.EXP, self)
    def log(self) -> Value: return unary(ops.LOG, self)
    def expm1(self) -> Value: return unary(ops.EXPM1, self)
    def log1p(self) -> Value: return unary(ops.LOG1P, self)
    def sqrt(self) -> Value: return unary(ops.SQRT, self)
    def sin(self) -> Value: return unary(ops.SIN, self)
    def cos(self) -> Value: return unary(ops.COS, self)
    def tanh(self) -> Value: return unary(ops.TANH, self)
    def sigmoid(self) -> Value: return unary(ops.SIGMOID, self)
    def softplus(self) -> Value: return unary(ops.SOFTPLUS, self)
    def relu(self) -> Value: return unary(ops.RELU, self)
    # fmt: on

    def leaky_relu(self, slope: float = 0.1) -> Value:
        """Return x if x > 0 else slope·x of this Value x; at 0 the local derivative is the slope."""
        return unary(ops.leaky_relu(to_float(slope)), self)

    def elu(self, alpha: float = 1.0) -> Value:
        """Return x if x > 0 else α(eˣ − 1) of this Value x; at 0 the local derivative is α."""
        return unary(ops.elu(to_float(alpha)), self)


def _propagate(order: list[Value], seed: float) -> None:
    """Do what `_backward` does, for each node of `order` from the last to the first.

    One input or two go without properties and a loop: that halves the time.
    """
    leaf = ops.LEAF
    for node in order:
        if node.op is not leaf or node.grad is None:
            node.grad = 0.0
    order[-1].grad += seed
    for node in reversed(order):
        upstream, a, b = node.grad, node._a, node._b
        if type(a) is not tuple:
            a.grad += upstream * node._da
            if b is not None:
                b.grad += upstream * node._db
        elif a:
            for input, local_grad in zip(a, node._da):
                input.grad += upstream * local_grad
    for node in order:
        if node.op is not ops.CONSTANT:
            break
        node.grad = NOT_COMPUTED


def topological_order(root: Value) -> list[Value]:
    """Return every node that root depends on, and root, each after its inputs; constants first.

    Raises TypeError for a root that is no Value.
    """
    if not isinstance(root, Value):
        check_class(root)
        raise TypeError(f"expected the Value to start from, such as a loss, got {type(root).__name__}: {root!r:.60}")
    with one_at_a_time:  # a return here may, on Ctrl-C, skip its end
        order = in_topological_order(root)
    return order  # noqa: RET504


def constant(number: Any) -> Value:
    """Return a leaf for a fixed number, as the 2 in `2 * x` is: no parameter to be trained.

    Raises TypeError for what is no real number.
    """
    node = _new(Value)  # not by record: a call less takes a third less time
    node._data = number if type(number) is float else to_float(number)
    node.op = ops.CONSTANT
    node._a = node._da = ()
    node._b = node._db = node._visit = None
    node.grad = NOT_COMPUTED
    node._label = ""
    node._number = 0  # constants come first in the topological order
    return node


def unary(op: Operation, a: Any) -> Value:
    """Record the node y = op(a)."""
    if type(a) is not Value:
        a = _as_value(a)
    y = op.value(ieee, a._data)
    (da,) = op.local_grads(ieee, y, a._data)
    return record(op, y, a, da)


def binary(op: Operation, a: Any, b: Any) -> Value:
    """Record the node y = op(a, b). Plain numbers become constants; an array of Values is left to NumPy."""
    try:
        if type(a) is not Value:
            a = _as_value(a)
        if type(b) is not Value:
            b = _as_value(b)
    except TypeError:
        return left_to_numpy(b)  # type: ignore[no-any-return]
    y = op.value(ieee, a._data, b._data)
    da, db = op.local_grads(ieee, y, a._data, b._data)
    return record(op, y, a, da, b, db)


def apply(op: Operation, *inputs: Any) -> Value:
    """Record the node y = op(*inputs), for any number of inputs."""
    if not op.n_ary and len(inputs) <= 2:
        return (unary if len(inputs) == 1 else binary)(op, *map(_as_value, inputs))
    try:
        operands = op.grouped([x._data for x in inputs])
    except AttributeError:
        return apply(op, *map(_as_value, inputs))
    y = op.value(ieee, *operands)
    return record(op, y, inputs, flat(op.local_grads(ieee, y, *operands)))


def record(op: Operation, y: float, a: Any, da: Any, b: Any = None, db: Any = None) -> Value:
    """Return the node y = op(a) or op(a, b); for any number of inputs, a and da are tuples."""
    node = _new(Value)
    node._data = y
    node.op = op
    node._a = a
    node._b = b
    node._da = da
    node._db = db
    node._visit = None
    node.grad = NOT_COMPUTED
    node._label = ""
    node._number = _next_number()
    return node


def _as_value(x: Any) -> Value:
    return x if isinstance(x, Value) else constant(x)


# methods written out: support/compiled.py
on_vectors: dict[Operation, Callable[..., Value]] = compile_rows(globals())
