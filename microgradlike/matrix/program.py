"""The array program found in a scalar graph: run it, train with it, ask it which entry is which node.

program = vectorize(loss, batch=[x, y])    from one recorded sample
program(X, Y)                              the losses of a whole batch
program.gradients(X, Y)                    the gradients of their mean
print(program)                             the equations, as the textbook writes them
print(program.source)                      the NumPy calls that run
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from contextvars import copy_context
from functools import cached_property
from math import isfinite, prod
from numbers import Real
from threading import RLock
from types import CodeType, FunctionType
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from microgradlike import ops
from microgradlike.matrix.build import Builder
from microgradlike.matrix.canonical import canonicalise
from microgradlike.matrix.code import CACHE_LINE, Symbol, aligned, compiled
from microgradlike.matrix.colours import BATCH, CONSTANT, FIXED, PARAMETER
from microgradlike.matrix.equations import Equations
from microgradlike.matrix.guards import SYMBOLS, Guard, Guards
from microgradlike.matrix.match import Array, Matcher
from microgradlike.matrix.names import name_arrays
from microgradlike.value import Value, apply, topological_order

Numbers = npt.NDArray[Any]
FRAMES = 8  # so many batch sizes keep their buffers


def vectorize(
    loss: Value | Callable[[], Value],
    batch: Sequence[Any] = (),
    *,
    parameters: Iterable[Value] | None = None,
    dtype: Any = np.float64,
) -> Program:
    """Find the arrays and matrix products in the recorded graph of `loss`: an array program that computes it.

    The word is that of `numpy.vectorize` and of compilers: code for one number becomes code for many.

    `batch` lists the leaves that vary from sample to sample, in the order of the program's arguments:
    `[x, y]` with lists x and y of Values (nested as you like) makes `program(X, Y)`; a flat list of
    Values is one argument. All other leaves are parameters, shared by all samples, and plain numbers
    are constants. `parameters` names the leaves whose gradients you want (all, by default).

    `loss` may be a function without arguments that records it. Then the comparisons it makes
    (`if v > 0`) are seen, and a call where one of them would come out otherwise raises ValueError.

    `dtype` is float64 or float32.

    Raises TypeError or ValueError for anything else than leaves in `batch` and `parameters`, and for a
    constant loss.
    """
    guards: list[Guard] = []
    if not isinstance(loss, Value):
        if not callable(loss):
            raise TypeError(f"expected the loss, a Value, or a function that records it, got {type(loss).__name__}")
        with Guards() as seen:
            loss = loss()
        guards = seen.seen
        if not isinstance(loss, Value):
            raise TypeError(f"the function that records the loss must return a Value, got {type(loss).__name__}")
    if loss.op is ops.CONSTANT:
        raise ValueError("the loss is a constant: nothing is to be computed")
    if np.dtype(dtype) not in (np.float64, np.float32):
        raise TypeError(f"dtype must be float64 or float32, got {np.dtype(dtype)}")
    collecting = gc.isenabled()
    gc.disable()  # nothing here is garbage, and looking for it would cost more than all the rest
    try:
        wanted = None if parameters is None else _listed(parameters)
        return Program(loss, _arguments(batch), wanted, np.dtype(dtype), guards)
    finally:
        if collecting:
            gc.enable()


class Place(NamedTuple):
    """Where a scalar node went: the `entry` of the array called `name`."""

    name: str
    entry: tuple[int, ...]

    def __str__(self) -> str:
        return f"{self.name}[{', '.join(map(str, self.entry))}]"


class Parameter:
    """An array of parameters. `nodes` are its Values, in the order of its entries.

    It has `data` and `grad` as a Value has, so that an optimiser can take it for one. The next call
    overwrites the numbers of `grad`: copy them to keep them.
    """

    xp = ops.namespace(np)  # what optimisers compute with

    def __init__(self, name: str, nodes: list[Value], data: Numbers, gradient: Numbers) -> None:
        self.name, self.nodes, self.label = name, nodes, name
        self.grad: Numbers | None = None
        self._data, self._gradient = data, gradient

    @property
    def data(self) -> Numbers:
        """The numbers; to assign is to copy into place."""
        return self._data

    @data.setter
    def data(self, numbers: Any) -> None:
        if numbers is not self._data:
            self._data[...] = numbers

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the array."""
        return self._data.shape

    def __repr__(self) -> str:
        return f"Parameter({self.name}, shape={self.shape})"


class Parameters(list[Parameter]):
    """A list of them. To call it, as one calls a model's `parameters()`, gives it as well."""

    def __call__(self) -> Parameters:
        return self


class Program:
    """A loss as a short list of array instructions, with its gradients. `vectorize` makes it.

    `arrays` are the arrays that were found, in the order they are computed; `parameters` those of
    the shared leaves. Gradients are of the mean loss over the samples.
    """

    def __init__(
        self, loss: Value, arguments: list[list[Value]], wanted: list[Value] | None, dtype: Any, guards: list[Guard]
    ) -> None:
        self.loss, self.dtype, self.batch = loss, dtype, arguments
        compared = [v for guard in guards for v in (guard.left, guard.right)]
        root = apply(ops.MAX, loss, *compared) if compared else loss  # one graph of all that must be computed
        nodes = topological_order(root)
        present = set(nodes)
        columns = [v for argument in arguments for v in argument]
        _check_leaves(columns, wanted, present)
        graph = canonicalise([*(v for v in columns if v not in present), *nodes])
        kinds = [PARAMETER if op is None else CONSTANT if op is ops.CONSTANT else -1 for op in graph.ops]
        leaf = np.array(kinds, np.int64)
        if wanted is not None:
            leaf[leaf == PARAMETER] = FIXED
            leaf[[graph.number[v] for v in wanted]] = PARAMETER
        numbers = [np.array([graph.number[v] for v in argument], np.int64) for argument in arguments]
        for argument in numbers:
            leaf[argument] = BATCH
        found = Matcher(graph, leaf, numbers)
        self._graph, self._array_of, self._position = graph, found.array_of, found.position
        self._all_arrays, given = found.arrays, found.arrays[: len(arguments)]
        self.arrays = [a for a in found.arrays if a.size and not (compared and graph.number[root] in a.entries)]
        name_arrays(self.arrays, graph.nodes, len(arguments), loss)

        # Forward, guards, backward
        build = Builder(found.arrays, dtype)
        code = self._code = build.code
        for number, array in enumerate(given):
            code.buffers[build.value[array].buffer].given = f"x{number}"
        for array in self.arrays:
            if array.instruction is not None:
                build.forward(array)
        entry = self._entry(build, loss)
        losses = code.new((), entry.varies)
        code.copy(entry, losses)
        checks = [(guard, self._check(build, guard)) for guard in guards]
        trained = self._trained = [a for a in self.arrays if a.kind == "parameter" and leaf[a.entries[0]] == PARAMETER]
        self._loss_array, position = self._found(loss)
        seed, gradients = build.backward(self.arrays, self._loss_array, position, set(trained))

        # The numbers: those to be trained lie one array after the other, and their gradients alike
        self._data, data = self._allocate(trained, build.value)
        self._gradient, gradient = self._allocate(trained, gradients)
        _, fixed = self._allocate([a for a in self.arrays if a.kind == "parameter" and a not in trained], build.value)
        self.parameters = Parameters(Parameter(a.name, self._values(a), data[a], gradient[a]) for a in trained)
        self._numbers = data | fixed
        self.pull()

        # What runs
        products = [build.products.get(array) for array in given]
        watched = [losses, *(symbol for _, symbol in checks), *(p for p in products if p is not None)]
        watched += [symbol for pair in build.padded for symbol in pair]
        self._results = {
            "forward": watched,
            "backward": [*watched, *gradients.values()],
            "slope": [*watched[1:], *gradients.values()],
        }
        code.share_memory(self._results["backward"])
        self._watched = losses.buffer, seed.buffer, checks, products, build.padded
        self._compiled: dict[str, CodeType] = {}
        self._frames: dict[int, _Frame] = {}
        self._one_at_a_time = RLock()  # the buffers are those of one call

    def _allocate(self, arrays: list[Array], symbols: dict[Array, Symbol]) -> tuple[Numbers, dict[Array, Numbers]]:
        """One stretch of memory for the numbers of several arrays, and its parts, each from a cache line on."""
        step = CACHE_LINE // self.dtype.itemsize
        ends = np.cumsum([-(-array.size // step) * step for array in arrays], dtype=int)
        flat, parts = aligned(int(ends[-1]) if arrays else 0, self.dtype), {}
        for array, part in zip(arrays, np.split(flat, ends)):
            self._code.buffers[symbols[array].buffer].data = part[: array.size]
            parts[array] = part[: array.size].reshape(array.shape)
        return flat, parts

    def _values(self, array: Array) -> list[Any]:
        """The nodes of an array, None where an entry has none."""
        return [None if i < 0 else self._graph.nodes[i] for i in array.entries]

    def _found(self, v: Value) -> tuple[Array, int]:
        """The array of a node, and its position there."""
        number = self._graph.number[v]
        return self._all_arrays[self._array_of[number]], int(self._position[number])

    def _entry(self, build: Builder, v: Value) -> Symbol:
        """The symbol of a single node."""
        if v.op is ops.CONSTANT:
            return build.code.array(np.array(v.data))
        array, position = self._found(v)
        return build.value[array].view((), (), position)

    def _check(self, build: Builder, guard: Guard) -> Symbol:
        """The lines that compare again; true where the outcome is that of the recording."""
        compared = guard.left, guard.right
        symbol: Symbol = build.code.call(guard.function, *(self._entry(build, v) for v in compared))
        return symbol if guard.outcome else ~symbol

    # ── Running ────────────────────────────────────────────────────────────────────────────────

    def __call__(self, *args: Any) -> Numbers:
        """The loss of each sample, of shape (m,). Each argument has the samples on its first axis.

        Without batch leaves there is one sample. Raises TypeError for what is no array of real
        numbers, and ValueError for shapes that do not fit, for numbers that are not finite, and
        where a comparison made while recording would come out otherwise.
        """
        with self._one_at_a_time:
            frame, arrays = self._prepare(args)
            self._run(frame, "forward", arrays)
            return frame.losses_of_samples()

    def backward(self, *args: Any) -> Numbers:
        """The losses, as a call gives them; and the gradients of their mean, in `grad` of each of `parameters`.

        An empty batch leaves gradients of 0.
        """
        with self._one_at_a_time:
            frame, arrays = self._prepare(args)
            frame.seed(1.0)
            if frame.samples:
                self._run(frame, "backward", arrays)
            else:
                self._gradient[...] = 0.0
            for p in self.parameters:
                p.grad = p._gradient
            return frame.losses_of_samples()

    def gradients(self, *args: Any) -> dict[str, Numbers]:
        """∂(mean loss)/∂parameter by the name of the parameter."""
        with self._one_at_a_time:
            self.backward(*args)
            return {p.name: p._gradient.copy() for p in self.parameters}

    def descend(self, *args: Any, lr: float) -> None:
        """One step of gradient descent, w → w − lr · ∂(mean loss)/∂w, as fast as it goes.

        The learning rate is folded into the seed of the backward pass, no loss is computed, and
        `grad` of the parameters is None afterwards.
        """
        with self._one_at_a_time:
            frame, arrays = self._prepare(args)
            for p in self.parameters:
                p.grad = None
            if frame.samples:
                frame.seed(lr)
                self._run(frame, "slope", arrays)
                np.subtract(self._data, self._gradient, out=self._data)

    def _prepare(self, args: tuple[Any, ...]) -> tuple[_Frame, list[Numbers]]:
        if len(args) != len(self.batch):
            raise TypeError(f"expected {len(self.batch)} arrays ({self._expected()}), got {len(args)}")
        arrays = []
        for x, leaves in zip(args, self.batch):
            if not (type(x) is np.ndarray and x.ndim == 2 and x.dtype is self.dtype and x.flags.c_contiguous):
                x = self._converted(x)
            arrays.append(x)
            if x.shape[1] != len(leaves) or len(x) != len(arrays[0]):
                raise ValueError(
                    f"expected arrays of one number of samples m, {self._expected()}, "
                    f"got {', '.join(str(np.shape(a)) for a in args)}"
                )
        samples = len(arrays[0]) if arrays else 1
        frame = self._frames.get(samples)
        if frame is None:
            if len(self._frames) >= FRAMES:
                del self._frames[next(iter(self._frames))]
            frame = self._frames[samples] = _Frame(self, samples)
        return frame, arrays

    def _converted(self, x: Any) -> Numbers:
        if isinstance(x, np.ma.MaskedArray):
            raise TypeError("expected an array of numbers, got a masked array: fill it or leave out its samples first")
        x = np.asarray(x)
        if x.dtype.kind not in "iuf":
            raise TypeError(f"expected an array of real numbers, got one of {x.dtype}: convert it first")
        if x.ndim == 0:
            raise ValueError(f"expected arrays with the samples on the first axis ({self._expected()}), got a number")
        columns = prod(x.shape[1:])
        with np.errstate(over="ignore"):  # what is too large for float32 is inf, which _run reports
            return np.ascontiguousarray(x, self.dtype).reshape(len(x), columns)

    def _expected(self) -> str:
        return ", ".join(f"{_called(leaves)} of shape (m, {len(leaves)})" for leaves in self.batch) or "none"

    def _run(self, frame: _Frame, name: str, arrays: list[Numbers]) -> None:
        function = frame.functions.get(name)
        if function is None:
            if name not in self._compiled:
                self._compiled[name] = compiled(self._code.source(name, self._results[name]))
            function = frame.functions[name] = FunctionType(self._compiled[name], frame.names)
        frame.quietly(function, *arrays)
        # What is not finite in an argument shows in a product that reads the whole of it, which is smaller.
        for product, x in zip(frame.products, arrays):
            entries = x.reshape(-1) if product is None else product
            if not isfinite(entries.dot(entries)) and not np.isfinite(x).all():
                raise ValueError("the batch holds numbers that are not finite (inf or nan)")
        for product, side in frame.padded:
            if not isfinite(product.dot(product)) and not np.isfinite(side).all():
                raise ValueError(
                    "an intermediate result is not finite (inf or nan), and this program multiplies by 0 what the "
                    "shorter of some sums leave out: stay with the scalar engine for such numbers"
                )
        for guard, held in frame.checks:
            if not held.all():
                was = "" if guard.outcome else "not "
                raise ValueError(
                    f"while the loss was recorded, {guard.left.label or 'a Value'} {SYMBOLS[guard.function]} "
                    f"{guard.right.label or guard.right.data} did {was}hold, and Python took that branch; in this "
                    "batch it comes out otherwise for some sample: use relu, maximum or another operation "
                    "in place of `if`, or stay with the scalar engine"
                )

    # ── Values and arrays ──────────────────────────────────────────────────────────────────────

    def pull(self) -> None:
        """Take the parameters' numbers from the Values, which scalar code has changed."""
        for array, numbers in self._numbers.items():
            numbers.reshape(-1)[...] = [v.data for v in self._values(array)]

    def push(self) -> None:
        """Write the parameters' numbers, and the gradients if there are any, to the Values."""
        for p in self.parameters:
            grads = [None] * p._data.size if p.grad is None else p.grad.reshape(-1).tolist()
            for v, data, grad in zip(p.nodes, p._data.reshape(-1).tolist(), grads, strict=True):
                v.data, v.grad = data, grad

    def where(self, node: Value) -> Place | None:
        """Which entry of which array a scalar node is. None for constants, and for products and sums that dissolved.

        Raises KeyError for a node that is not part of the loss.
        """
        if node not in self._graph.number:
            raise KeyError(f"{node!r} is not part of the graph that this program was found in")
        number = self._graph.number[node]
        if self._array_of[number] < 0 or not self._graph.live[number]:
            return None
        array, position = self._found(node)
        return Place(array.name, tuple(map(int, np.unravel_index(position, array.shape))))

    def nodes(self, name: str) -> npt.NDArray[np.object_]:
        """The scalar nodes of the array with this name, in its shape (None where an entry has no node)."""
        for array in self.arrays:
            if array.name == name:
                return np.array(self._values(array), object).reshape(array.shape)
        raise KeyError(f"no array is called {name!r}; there are {', '.join(a.name for a in self.arrays)}")

    def name_of(self, node: Value) -> str | None:
        """The name of the array that a node belongs to (of a part of a sum, that of the sum): a `color_by` for `draw`."""
        number = self._graph.number.get(node)
        if number is None:
            return None
        array = self._array_of[self._graph.root[number]]
        return self._all_arrays[array].name if array >= 0 else None

    # ── Reading ────────────────────────────────────────────────────────────────────────────────

    @property
    def source(self) -> str:
        """The NumPy calls of the forward and backward pass, as a Python function."""
        return self._code.source("run", self._results["backward"])

    @cached_property
    def equations(self) -> Equations:
        """The forward and backward pass, as equations with shapes."""
        return Equations(self.arrays, self._loss_array, self._trained)

    def __str__(self) -> str:
        return str(self.equations)

    def __repr__(self) -> str:
        return f"<array program: {len(self._graph.nodes)} scalar nodes in {len(self.arrays)} arrays>"

    def _repr_mimebundle_(self, **_: Any) -> dict[str, str]:
        return {"text/plain": str(self.equations), "text/latex": self.equations.latex()}

    def __rich__(self) -> Any:
        return self.equations.__rich__()


class _Frame:
    """Buffers, and the functions that use them, for one number of samples."""

    def __init__(self, program: Program, samples: int) -> None:
        losses, seed, checks, products, padded = program._watched
        self.samples = samples
        self.names, memory = program._code.frame(samples)
        self.functions: dict[str, FunctionType] = {}
        context = copy_context()  # in which NumPy follows IEEE arithmetic, as the scalar engine does, without warnings
        context.run(np.seterr, all="ignore")
        self.quietly = context.run
        self.losses, self._seed = memory[losses], memory[seed]
        self.checks = [(guard, memory[symbol.buffer]) for guard, symbol in checks]
        self.products = [None if product is None else memory[product.buffer] for product in products]
        self.padded = [(memory[product.buffer], memory[side.buffer]) for product, side in padded]
        self._scale = 1.0
        self.seed(0.0)

    def losses_of_samples(self) -> Numbers:
        """One loss for each sample, where the loss varies or not."""
        return self.losses.copy() if len(self.losses) == self.samples else np.full(self.samples, self.losses[0])

    def seed(self, scale: float) -> None:
        """Start the backward pass from scale · ∂(mean loss)/∂(loss of one sample), which is scale / m."""
        if scale != self._scale:
            if not isinstance(scale, Real) or not isfinite(scale):
                raise ValueError(f"the learning rate must be a finite number, got {scale!r}")
            self._seed[...] = scale / max(len(self.losses), 1)
            self._scale = scale


def _arguments(batch: Any) -> list[list[Value]]:
    """The leaves of each argument of the program."""
    batch = _listed(batch)
    if all(isinstance(v, Value) for v in batch):
        return [batch] if batch else []
    return [_flat(v) for v in batch]


def _flat(values: Any) -> list[Value]:
    return [values] if isinstance(values, Value) else [v for inner in _listed(values) for v in _flat(inner)]


def _listed(values: Any) -> list[Any]:
    if isinstance(values, Value):
        return [values]
    if not isinstance(values, Iterable) or isinstance(values, str | Mapping | Set):
        raise TypeError(
            f"batch and parameters list leaves, Values in lists, got {type(values).__name__}: {values!r:.40}"
        )
    return list(values)


def _check_leaves(columns: list[Value], wanted: list[Value] | None, present: set[Value]) -> None:
    for v in (*columns, *(wanted or ())):
        if not isinstance(v, Value):
            raise TypeError(f"expected Values, got {type(v).__name__}: {v!r:.40}")
        if v.op is not None:
            what = "a constant" if v.op is ops.CONSTANT else f"the result of {v.op}"
            raise ValueError(f"batch and parameters must be leaves, Value(…), but {v!r} is {what}")
    if len(set(columns)) < len(columns):
        raise ValueError("batch lists the same Value twice")
    for v in wanted or ():
        if v not in present:
            raise ValueError(f"the loss does not depend on the parameter {v!r}")


def _called(leaves: list[Value]) -> str:
    labels = [v.label for v in leaves if v.label]
    return f"{labels[0]} … {labels[-1]}" if len(labels) > 1 else labels[0] if labels else "an array"


def gradients(loss: Value) -> dict[Value, float]:
    """∂loss/∂leaf of every leaf that is no constant, computed by the array program found in the graph of loss."""
    program = vectorize(loss)
    program.backward()
    return {v: g for p in program.parameters for v, g in zip(p.nodes, p._gradient.reshape(-1).tolist(), strict=True)}
