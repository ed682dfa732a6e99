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
from microgradlike.ops import Operation, flat

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

    # One input or two stand in slots of their own, any number as a tuple in the first: a node
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
                upstream, a, b = node.grad, node._a, node._b
                if type(a) is tuple:
                    for input, local_grad in zip(a, node._da):
                        input.grad += upstream * local_grad
                else:  # the same for one input or two, without a loop
                    a.grad += upstream * node._da
                    if b is not None:
                        b.grad += upstream * node._db

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
    def sqrt(self) -> Value: return unary(ops.SQRT, self)
    def sin(self) -> Value: return unary(ops.SIN, self)
    def cos(self) -> Value: return unary(ops.COS, self)
    def tanh(self) -> Value: return unary(ops.TANH, self)
    def sigmoid(self) -> Value: return unary(ops.SIGMOID, self)
    def softplus(self) -> Value: return unary(ops.SOFTPLUS, self)
    def relu(self) -> Value: return unary(ops.RELU, self)
    def leaky_relu(self, slope: float = 0.1) -> Value: return unary(ops.leaky_relu(to_float(slope)), self)
    def elu(self, alpha: float = 1.0) -> Value: return unary(ops.elu(to_float(alpha)), self)

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
            node = stack.pop()
            a, b = node._a, node._b
            if type(a) is not tuple:  # one input or two: the same as below, without a loop
                if a._visit is not visit:
                    a._visit = visit
                    found.append(a)
                    stack.append(a)
                if b is not None and b._visit is not visit:
                    b._visit = visit
                    found.append(b)
                    stack.append(b)
                continue
            for input in a:
                if input._visit is not visit:
                    input._visit = visit
                    found.append(input)
                    stack.append(input)
    found.sort(key=attrgetter("_number"))
    return found


def constant(number: Any) -> Value:
    """A leaf that stands for a fixed number, as the 2 in `2 * x` does: no parameter to be trained."""
    node = Value(number)
    node.op = ops.CONSTANT
    node._number = 0
    return node


def unary(op: Operation, a: Any) -> Value:
    """Record the node y = op(a). A plain number becomes a constant."""
    if type(a) is not Value:
        a = _as_value(a)
    y = op.value(ieee, a._data)
    (da,) = op.local_grads(ieee, y, a._data)
    return record(op, y, a, da)


def binary(op: Operation, a: Any, b: Any) -> Value:
    """Record the node y = op(a, b). Plain numbers become constants."""
    if type(a) is not Value:
        a = _as_value(a)
    if type(b) is not Value:
        b = _as_value(b)
    y = op.value(ieee, a._data, b._data)
    da, db = op.local_grads(ieee, y, a._data, b._data)
    return record(op, y, a, da, b, db)


def apply(op: Operation, *inputs: Any) -> Value:
    """Record the node y = op(*inputs), for any number of inputs. Plain numbers become constants."""
    if not op.n_ary and 0 < len(inputs) < 3:
        return unary(op, inputs[0]) if len(inputs) == 1 else binary(op, *inputs)
    try:
        operands = op.grouped([x._data for x in inputs])
    except AttributeError:
        return apply(op, *map(_as_value, inputs))
    y = op.value(ieee, *operands)
    return record(op, y, inputs, flat(op.local_grads(ieee, y, *operands)))


def record(op: Operation, y: float, a: Any, da: Any, b: Any = None, db: Any = None) -> Value:
    """The node y = op(a), y = op(a, b) or, with the tuple of all inputs for a, y = op(*a), and its local derivatives."""
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
