"""Value: a number that remembers how it was computed, and backward(), which applies the chain rule.

Every operation on Values records a node: its result, its inputs and its local derivatives, the
numbers ∂result/∂input at this very point. `loss.backward()` visits the nodes from the loss down
to the leaves and multiplies along the edges: ∂L/∂input += ∂L/∂node · ∂node/∂input. That is all.
"""

from __future__ import annotations

from itertools import chain, count
from operator import attrgetter
from typing import Any

from microgradlike import ops
from microgradlike.ieee import check_class, ieee, to_float
from microgradlike.ops import Operation, flat
from microgradlike.support import interop
from microgradlike.support.locks import new_lock

_new = object.__new__
_next_number = count(1).__next__
_one_thread_at_a_time = new_lock()
_passes: list[list[Value]] = []  # the orders of the backward passes that are going on, each within the one before


class _NotComputed(float):
    """A zero that knows that it is none: arithmetic sees 0, a reader sees –."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "–"

    def __reduce__(self) -> str:
        return "NOT_COMPUTED"  # its copy is itself


NOT_COMPUTED = _NotComputed()


class Value:
    """A node of the computation graph: a number, and how it came about.

    `data` is the number; `op` the operation that made it, `inputs` what it was applied to, in order
    (`x * x` has two), and `local_grads` the local derivatives ∂self/∂input, parallel to `inputs`.
    A leaf has no inputs, and op None.

    `grad` is ∂L/∂self after `L.backward()`. Before, and for plain numbers always, it is not computed:
    `has_grad` is False then, it prints as –, and arithmetic with it is arithmetic with 0. Assigned
    gradients are kept as they are: a NumPy float32 accumulates in float32.

    A Value equals another only if it is the same node, so that lists and sets find that very node. With
    a plain number it compares by number, and `<` and its like always do. `Value(0.0)` is false.

    A Value has no room for attributes of your own; `class Parameter(Value): pass` makes one that has.
    Raises TypeError for data that is no real number, and a label that is no text.
    """

    # One input or two stand in slots of their own, any number as a tuple in the first: a node
    # without containers is half the memory, and gives the garbage collector next to nothing to do.
    __slots__ = ("_a", "_b", "_da", "_data", "_db", "_label", "_number", "_visit", "grad", "op")

    op: Operation | None
    grad: Any  # a float, NOT_COMPUTED, or what was assigned
    _label: str
    _a: Any
    _b: Any
    _da: Any
    _db: Any
    _visit: object

    def __init__(self, data: Any, label: str = "", *made_of: Any, **more: Any) -> None:
        if type(label) is not str or made_of or more:
            interop.check_label(label, *made_of, **more)
        self._label = label
        self._data = data if type(data) is float else to_float(data)
        self._number = _next_number()
        self.grad = NOT_COMPUTED
        self.op = self._b = self._db = self._visit = None
        self._a = self._da = ()

    @property
    def data(self) -> float:
        """The number. Assigning it changes nothing that was already computed from it."""
        return self._data

    @data.setter
    def data(self, number: Any) -> None:
        self._data = to_float(number)

    @property
    def label(self) -> str:
        """The name of the node in pictures and tables; "" for none."""
        return self._label

    @label.setter
    def label(self, text: str) -> None:
        interop.check_label(text)
        self._label = text

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

    @property
    def has_grad(self) -> bool:
        """Whether `grad` was computed or assigned."""
        return self.grad is not None and self.grad is not NOT_COMPUTED

    def backward(self, seed: float = 1.0) -> None:
        """Compute seed · ∂self/∂v into `v.grad`, for every v that self was computed from.

        The gradient of a leaf adds up over calls until you set it to 0; that of any other node is
        the last call's. Constants get none. Raises TypeError for a seed that is no real number.
        """
        seed = to_float(seed)
        order = topological_order(self)
        with _one_thread_at_a_time:  # no loop in here: from Python 3.12 on, Ctrl-C in one may skip the `finally`
            interrupted, depth = _of_interrupted_passes(order) if _passes else [], len(_passes)
            try:
                _passes.append(order)
                _propagate(order, seed)
            finally:
                del _passes[depth:]
                if interrupted:
                    _put_back(interrupted)

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
        if isinstance(other, Value):
            return self is other
        if getattr(other, "shape", ()):
            return self._data == to_float(other)  # an array: the error says what to do
        return bool(self._data == other)

    __float__ = __int__ = __complex__ = __round__ = __trunc__ = __floor__ = __ceil__ = interop.refuse
    __floordiv__ = __rfloordiv__ = __mod__ = __rmod__ = __divmod__ = __rdivmod__ = interop.refuse
    as_integer_ratio = interop.refuse  # what `statistics` asks for

    def __array_ufunc__(self, function: Any, method: str, *inputs: Any, **settings: Any) -> Any:
        return interop.numpy_function(function, method, *inputs, **settings)

    # What programs written for micrograd read
    @property
    def _prev(self) -> set[Value]:
        return set(self.inputs)

    @property
    def _op(self) -> str:
        return self.op.symbol if self.op else ""

    def _backward(self) -> None:
        """Hand this node's gradient on to its inputs: the chain rule, one node of it."""
        for input, local_grad in zip(self.inputs, self.local_grads):
            if input.op is not ops.CONSTANT:
                input.grad += self.grad * local_grad

    def __repr__(self) -> str:
        grad = self.grad if self.has_grad else NOT_COMPUTED
        return f"Value(data={self._data}, grad={grad}" + (f", label={self.label!r})" if self.label else ")")

    def __format__(self, spec: str) -> str:
        return format(self._data, spec) if spec else str(self)

    def __reduce__(self) -> tuple[Any, ...]:
        if self.inputs:
            raise TypeError(
                f"only leaves can be copied or pickled, and this Value was computed by {self.op}: "
                "save the leaves it was computed from, or Value(v.data), the number without its graph"
            )
        mine = (self._data, self._label, self.grad, self.op is not None)
        if type(self) is Value:
            return _restore, (Value, *mine)
        attributes = getattr(self, "__dict__", None)
        slots = {name: getattr(self, name) for name in _slots(type(self)) if hasattr(self, name)}
        return _restore, (type(self), *mine), (attributes, slots)


def _propagate(order: list[Value], seed: float) -> None:
    """Hand the gradient from the last node of `order` down: the chain rule, node by node."""
    for node in order:
        if node.op is not None or node.grad is None:
            node.grad = 0.0
    order[-1].grad += seed
    for node in reversed(order):
        upstream, a, b = node.grad, node._a, node._b
        if type(a) is tuple:
            for input, local_grad in zip(a, node._da):
                input.grad += upstream * local_grad
        else:  # the same for one input or two, without a loop
            a.grad += upstream * node._da
            if b is not None:
                b.grad += upstream * node._db
    for node in order:
        if node.op is not ops.CONSTANT:
            break
        node.grad = NOT_COMPUTED


def _of_interrupted_passes(order: list[Value]) -> list[tuple[Value, Any]]:
    """Return the nodes of `order` that a pass which this one interrupts is working on, with their gradients so far.

    Only a signal handler or a finaliser can run within a pass.
    """
    busy = set(chain(*_passes))
    return [(node, node.grad) for node in order if node in busy and node.op is not None]


def _put_back(grads: list[tuple[Value, Any]]) -> None:
    for node, grad in grads:
        node.grad = grad


def topological_order(root: Value) -> list[Value]:
    """Return every node that root depends on, and root, each after its inputs; constants first.

    A node is created after its inputs, so to sort by creation is to sort topologically.
    Raises TypeError for a root that is no Value.
    """
    if not isinstance(root, Value):
        check_class(root)
        raise TypeError(f"expected the Value to start from, such as a loss, got {type(root).__name__}: {root!r:.60}")
    with _one_thread_at_a_time:
        found = _visited(root)
    found.sort(key=attrgetter("_number"))
    return found


_latest_visit: object = None


def _visited(root: Value) -> list[Value]:
    """Return root and every node that it depends on, in the order in which they are met."""
    global _latest_visit
    while True:
        visit = root._visit = _latest_visit = object()  # a mark that no earlier visit has left
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
        if _latest_visit is visit:
            return found
        # else a signal handler or a finaliser has walked in between, over our marks: again


def constant(number: Any) -> Value:
    """A leaf that stands for a fixed number, as the 2 in `2 * x` does: no parameter to be trained."""
    node = record(ops.CONSTANT, to_float(number), (), ())
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
    """Record the node y = op(a, b). Plain numbers become constants. NumPy is left an array of Values, and goes over it."""
    try:
        if type(a) is not Value:
            a = _as_value(a)
        if type(b) is not Value:
            b = _as_value(b)
    except TypeError:
        if interop.is_object_array(a) or interop.is_object_array(b):
            return NotImplemented  # type: ignore[no-any-return]
        raise
    y = op.value(ieee, a._data, b._data)
    da, db = op.local_grads(ieee, y, a._data, b._data)
    return record(op, y, a, da, b, db)


def apply(op: Operation, *inputs: Any) -> Value:
    """Record the node y = op(*inputs), for any number of inputs. Plain numbers become constants."""
    if not op.n_ary and len(inputs) == 1:
        return unary(op, inputs[0])
    if not op.n_ary and len(inputs) == 2:
        return binary(op, *map(_as_value, inputs))
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
    node._visit = None
    node.grad = NOT_COMPUTED
    node._label = ""
    node._number = _next_number()
    return node


def _as_value(x: Any) -> Value:
    return x if isinstance(x, Value) else constant(x)


def _as_float(x: Any) -> float:
    return x._data if isinstance(x, Value) else to_float(x)


def _restore(kind: type[Value], data: float, label: str, grad: Any, is_constant: bool) -> Value:
    leaf = _new(kind)
    Value.__init__(leaf, data, label)
    leaf.grad = grad
    if is_constant:
        leaf.op, leaf._number = ops.CONSTANT, 0
    return leaf


def _slots(kind: type) -> list[str]:
    """The slots that subclasses of Value have added."""
    classes = kind.__mro__[: kind.__mro__.index(Value)]
    return [name for each in classes for name in each.__dict__.get("__slots__", ())]
