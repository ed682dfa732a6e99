"""Value: a number that remembers how it was computed, and backward(), which applies the chain rule.

Every operation on Values records a node: its result, its inputs and its local derivatives, the
numbers ∂result/∂input at this very point. `loss.backward()` visits the nodes from the loss down
to the leaves and multiplies along the edges: ∂L/∂input += ∂L/∂node · ∂node/∂input. That is all.
"""

from __future__ import annotations

from itertools import count
from operator import attrgetter
from threading import RLock
from typing import Any

from microgradlike import ops
from microgradlike.ieee import ieee, to_float
from microgradlike.ops import Operation

_new = object.__new__
_next_number = count(1).__next__
_one_thread_at_a_time = RLock()


class Value:
    """A node of the computation graph: a number, and how it came about.

    `data` is the number; `op` the operation that made it, `inputs` what it was applied to, in order
    (`x * x` has two), and `local_grads` the local derivatives ∂self/∂input, parallel to `inputs`.
    A leaf has no inputs, and op None. `grad` is ∂L/∂self after `L.backward()`, and None before; what
    you assign to it is added to as it is, so that a NumPy float32 would add up in float32.

    `==`, `<` and their like compare the numbers, hashing goes by identity, as in PyTorch.
    Raises TypeError for data that is no real number, and a label that is no text.
    """

    # One input or two stand in slots of their own, more (or none) as a tuple in the first: a node
    # without containers is half the memory, and gives the garbage collector next to nothing to do.
    __slots__ = ("_a", "_b", "_da", "_data", "_db", "_number", "_visit", "grad", "label", "op")
    __array_ufunc__ = None  # NumPy leaves `array * value` to us, which says what to do

    op: Operation | None
    grad: Any  # a float, or None: not computed yet
    label: str
    _a: Any
    _b: Any
    _da: Any
    _db: Any
    _visit: object

    def __init__(self, data: Any, label: str = "") -> None:
        if not isinstance(label, str):
            raise TypeError(f"a label is a text, as in Value(2.0, 'w'): got {label!r:.60}")
        self._data = to_float(data)
        self._number = _next_number()
        self.label = label
        self.op = self.grad = self._b = self._db = self._visit = None
        self._a = self._da = ()

    @property
    def data(self) -> float:
        """The number. Assigning it changes nothing that was already computed from it."""
        return self._data

    @data.setter
    def data(self, number: Any) -> None:
        self._data = to_float(number)

    @property
    def inputs(self) -> tuple[Value, ...]:
        """What the operation was applied to, in order."""
        a, b = self._a, self._b
        return a if type(a) is tuple else (a,) if b is None else (a, b)

    @property
    def local_grads(self) -> tuple[float, ...]:
        """∂self/∂input for each of `inputs`, as of the moment when the operation ran."""
        da, db = self._da, self._db
        return da if type(da) is tuple else (da,) if db is None else (da, db)

    def backward(self, seed: float = 1.0) -> None:
        """Compute seed · ∂self/∂v into `v.grad`, for every v that self was computed from.

        The gradient of a leaf adds up over calls until you set it to 0; that of any other node is
        the last call's.
        """
        seed = to_float(seed)
        with _one_thread_at_a_time:
            order = topological_order(self)
            for node in order:
                if node.op is not None or node.grad is None:
                    node.grad = 0.0
            self.grad += seed
            for node in reversed(order):
                upstream = node.grad
                if type(node._a) is tuple:
                    for input, local_grad in zip(node._a, node._da):
                        input.grad += upstream * local_grad
                else:  # the same for one input or two, without a loop
                    node._a.grad += upstream * node._da
                    if node._b is not None:
                        node._b.grad += upstream * node._db

    # fmt: off
    def __add__(self, other: Any) -> Value: return _binary(ops.ADD, self, other)
    def __radd__(self, other: Any) -> Value: return _binary(ops.ADD, other, self)
    def __sub__(self, other: Any) -> Value: return _binary(ops.SUB, self, other)
    def __rsub__(self, other: Any) -> Value: return _binary(ops.SUB, other, self)
    def __mul__(self, other: Any) -> Value: return _binary(ops.MUL, self, other)
    def __rmul__(self, other: Any) -> Value: return _binary(ops.MUL, other, self)
    def __truediv__(self, other: Any) -> Value: return _binary(ops.DIV, self, other)
    def __rtruediv__(self, other: Any) -> Value: return _binary(ops.DIV, other, self)
    def __pow__(self, other: Any) -> Value: return _binary(ops.POW, self, other)
    def __rpow__(self, other: Any) -> Value: return _binary(ops.POW, other, self)
    def __neg__(self) -> Value: return _unary(ops.NEG, self)
    def __pos__(self) -> Value: return self
    def __abs__(self) -> Value: return _unary(ops.ABS, self)
    def exp(self) -> Value: return _unary(ops.EXP, self)
    def log(self) -> Value: return _unary(ops.LOG, self)
    def sqrt(self) -> Value: return _unary(ops.SQRT, self)
    def sin(self) -> Value: return _unary(ops.SIN, self)
    def cos(self) -> Value: return _unary(ops.COS, self)
    def tanh(self) -> Value: return _unary(ops.TANH, self)
    def sigmoid(self) -> Value: return _unary(ops.SIGMOID, self)
    def softplus(self) -> Value: return _unary(ops.SOFTPLUS, self)
    def relu(self) -> Value: return _unary(ops.RELU, self)
    def leaky_relu(self, slope: float = 0.1) -> Value: return _unary(ops.leaky_relu(to_float(slope)), self)
    def elu(self, alpha: float = 1.0) -> Value: return _unary(ops.elu(to_float(alpha)), self)

    def __lt__(self, other: Any) -> bool: return self._data < _as_float(other)
    def __le__(self, other: Any) -> bool: return self._data <= _as_float(other)
    def __gt__(self, other: Any) -> bool: return self._data > _as_float(other)
    def __ge__(self, other: Any) -> bool: return self._data >= _as_float(other)
    def __bool__(self) -> bool: return self._data != 0.0
    __hash__ = object.__hash__
    # fmt: on

    def __eq__(self, other: object) -> bool:
        if getattr(other, "shape", ()):
            return self._data == to_float(other)  # an array: the error says what to do
        return bool(self._data == (other._data if isinstance(other, Value) else other))

    def __float__(self) -> float:
        raise TypeError(
            "float(value), math.exp(value) and their like would lose the graph without a word: "
            "use value.data for the number alone, value.exp() and its like to stay in the graph"
        )

    def __repr__(self) -> str:
        grad = "–" if self.grad is None else self.grad
        return f"Value(data={self._data}, grad={grad}" + (f", label={self.label!r})" if self.label else ")")

    def __format__(self, spec: str) -> str:
        return format(self._data, spec) if spec else str(self)

    def __reduce__(self) -> tuple[Any, ...]:
        if self.inputs:
            raise TypeError(
                f"only leaves can be copied or pickled, and this Value was computed by {self.op}: "
                "save the leaves it was computed from, or Value(v.data), the number without its graph"
            )
        return _restore, (self._data, self.label, self.grad, self.op is not None)


def topological_order(root: Value) -> list[Value]:
    """All that root was computed from, and root: inputs before what is computed from them.

    A node is created after its inputs, so to sort by creation is to sort topologically.
    """
    if not isinstance(root, Value):
        raise TypeError(f"expected the Value to start from, such as a loss, got {type(root).__name__}: {root!r:.60}")
    with _one_thread_at_a_time:
        visit = root._visit = object()  # a mark that no earlier visit has left
        found, stack = [root], [root]
        while stack:
            for node in stack.pop().inputs:
                if node._visit is not visit:
                    node._visit = visit
                    found.append(node)
                    stack.append(node)
    return sorted(found, key=attrgetter("_number"))


def constant(number: Any) -> Value:
    """A leaf that stands for a fixed number, as the 2 in `2 * x` does: no parameter to be trained."""
    node = Value(number)
    node.op = ops.CONSTANT
    node._number = 0
    return node


def apply(op: Operation, *inputs: Any) -> Value:
    """Record the node y = op(*inputs). Plain numbers among the inputs become constants."""
    if len(inputs) == 1:
        (x,) = inputs
        return _unary(op, x if type(x) is Value else _as_value(x))
    return _binary(op, *inputs) if len(inputs) == 2 else apply_to_all(op, inputs)


def apply_to_all(op: Operation, inputs: tuple[Any, ...]) -> Value:
    """`apply` for a tuple of three inputs or more, or none."""
    try:
        data = [x._data for x in inputs]
    except AttributeError:
        return apply_to_all(op, tuple(map(_as_value, inputs)))
    y = op.value(ieee, *data)
    return _record(op, y, inputs, None, op.local_grads(ieee, y, *data), None)


def _unary(op: Operation, a: Value) -> Value:
    y = op.value(ieee, a._data)
    (da,) = op.local_grads(ieee, y, a._data)
    return _record(op, y, a, None, da, None)


def _binary(op: Operation, a: Any, b: Any) -> Value:
    if type(a) is not Value:
        a = _as_value(a)
    if type(b) is not Value:
        b = _as_value(b)
    y = op.value(ieee, a._data, b._data)
    da, db = op.local_grads(ieee, y, a._data, b._data)
    return _record(op, y, a, b, da, db)


def _record(op: Operation, y: float, a: Any, b: Any, da: Any, db: Any) -> Value:
    node = _new(Value)
    node._data = y
    node.op = op
    node._a = a
    node._b = b
    node._da = da
    node._db = db
    node._visit = node.grad = None
    node.label = ""
    node._number = _next_number()
    return node


def _as_value(x: Any) -> Value:
    return x if isinstance(x, Value) else constant(x)


def _as_float(x: Any) -> float:
    return x._data if isinstance(x, Value) else to_float(x)


def _restore(data: float, label: str, grad: float | None, is_constant: bool) -> Value:
    leaf = constant(data) if is_constant else Value(data)
    leaf.label, leaf.grad = label, grad
    return leaf
