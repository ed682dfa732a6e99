"""The array program found in a scalar graph: run it, train with it, ask it which entry is which node.

program = vectorize(loss, batch=[x, y])    from one recorded sample
program(X, Y)                              the losses of a whole batch
program.gradients(X, Y)                    the gradients of their mean
print(program)                             the equations, as the textbook writes them
print(program.source)                      the NumPy calls that run
"""

from __future__ import annotations

import gc
import warnings
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
from microgradlike.ieee import NOT_COMPUTED, Namespace
from microgradlike.matrix.build import Builder, try_rules
from microgradlike.matrix.canonical import canonicalise
from microgradlike.matrix.code import CACHE_LINE, Code, Symbol, aligned
from microgradlike.matrix.colours import BATCH, COMPARED, COMPUTED, CONSTANT, FIXED, PARAMETER
from microgradlike.matrix.equations import Equations
from microgradlike.matrix.guards import SYMBOLS, Guard, record_guarded
from microgradlike.matrix.match import Array, Matcher
from microgradlike.matrix.names import name_arrays
from microgradlike.recording import full_order
from microgradlike.support.locks import renew_in_children
from microgradlike.value import Value, apply

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
    Values is one argument. Each argument is an array of its own: give an image or a sequence as one,
    `[image]`, so that its rows share their matrix products. All other leaves are parameters, shared by
    all samples, and plain numbers are constants. `parameters` names the leaves whose gradients you want (all, by default).

    `loss` may be a function without arguments that records it. Then the comparisons it makes
    (`if v > 0`) are seen, and a call where one of them would come out otherwise raises ValueError; and
    one warning lists the lines that read numbers (`v.data`).

    A recorded loss is one graph, and what Python decided while it was recorded is fixed: branches, how
    often a loop went round, which rows of a table were picked, and every number read as `v.data`. Write
    what shall differ between samples as batch leaves:

    - Rows picked by a token: give the token as a one-hot list of batch leaves o, and take Σᵢ oᵢ · rowᵢ:
      `[sum(o * row[j] for o, row in zip(onehot, table)) for j in range(n)]`.
    - Documents of different length: record the longest, multiply the loss of each position by a batch leaf,
      its weight, and give 0 for positions that a document does not have; 1/length makes the mean.

    `dtype` is float64 or float32.

    Raises TypeError or ValueError for anything else than leaves in `batch` and `parameters`, and for a
    constant loss.
    """
    guards: list[Guard] = []
    if not isinstance(loss, Value):
        if not callable(loss):
            raise TypeError(f"expected the loss, a Value, or a function that records it, got {type(loss).__name__}")
        loss, notes = record_guarded(loss)
        guards = notes.guards
        if text := notes.warning():
            warnings.warn(text, stacklevel=2)
        if not isinstance(loss, Value):
            raise TypeError(f"the function that records the loss must return a Value, got {type(loss).__name__}")
    if loss.op is ops.CONSTANT:
        raise ValueError("the loss is a constant: nothing is to be computed")
    if np.dtype(dtype) not in (np.float64, np.float32):
        raise TypeError(f"dtype must be float64 or float32, got {np.dtype(dtype)}")
    collecting = gc.isenabled()
    gc.disable()  # nothing here is garbage, and looking for it would cost more than all the rest
    try:
        wanted = None if parameters is None else _as_list(parameters)
        with np.errstate(all="ignore"):
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

    xp = Namespace.of(np)  # what optimisers compute with

    def __init__(self, name: str, nodes: list[Value], data: Numbers, gradient: Numbers) -> None:
        self.name, self.nodes, self.label = name, nodes, name
        self.grad: Any = NOT_COMPUTED
        self._data, self._gradient = data, gradient

    @property
    def data(self) -> Numbers:
        """The numbers; to assign is to copy into place."""
        return self._data

    @data.setter
    def data(self, numbers: Any) -> None:
        if numbers is not self._data:
            with np.errstate(all="ignore"):
                self._data[...] = numbers

    @property
    def has_grad(self) -> bool:
        """Whether `grad` was computed or assigned, as of a Value."""
        return self.grad is not None and self.grad is not NOT_COMPUTED

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
        self,
        loss: Value,
        arguments: list[list[Value]],
        wanted: list[Value] | None,
        dtype: Any,
        guards: list[Guard],
        dense: bool = True,
    ) -> None:
        self.loss, self.dtype, self.batch = loss, dtype, arguments
        self._wanted, self._guards = wanted, guards
        compared = [v for guard in guards for v in (guard.left, guard.right)]
        root = apply(ops.MAX, loss, *compared) if compared else loss  # one graph of all that must be computed
        nodes = full_order(root)
        present = set(nodes)
        columns = [v for argument in arguments for v in argument]
        _check_leaves(columns, wanted, present)
        graph = canonicalise([*(v for v in columns if v not in present), *nodes])
        in_loss = set(full_order(loss)) if compared else present
        kinds = [
            PARAMETER if op is ops.LEAF else CONSTANT if op is ops.CONSTANT else COMPUTED if v in in_loss else COMPARED
            for v, op in zip(graph.nodes, graph.ops)
        ]
        kind = np.array(kinds, np.int64)
        if wanted is not None:
            kind[kind == PARAMETER] = FIXED
            kind[[graph.number[v] for v in wanted]] = PARAMETER
        numbers = [np.array([graph.number[v] for v in argument], np.int64) for argument in arguments]
        for argument in numbers:
            kind[argument] = BATCH
        self._dense = dense
        found = Matcher(graph, kind, numbers, dense)
        self._graph, self._array_of, self._position = graph, found.array_of, found.position
        self._all_arrays = found.arrays
        self.arrays = [a for a in found.arrays if a.size and not (compared and graph.number[root] in a.entries)]
        name_arrays(self.arrays, graph.nodes, len(arguments), loss)
        try_rules(self.arrays, dtype)

        # The numbers: those to be trained lie one array after the other, and their gradients alike
        leaves = [a for a in self.arrays if a.kind == "parameter"]
        self._trained = [a for a in leaves if kind[a.entries[0]] == PARAMETER]
        self._data, data = self._allocate(self._trained)
        self._gradient, self._gradients = self._allocate(self._trained)
        _, fixed = self._allocate([a for a in leaves if kind[a.entries[0]] == FIXED])
        self.parameters = Parameters(
            Parameter(a.name, self._values(a), data[a], self._gradients[a]) for a in self._trained
        )
        self._numbers = data | fixed
        self.pull()

        # What runs
        self._compiled: dict[str, list[CodeType]] = {}
        self._frames: dict[int, _Frame] = {}
        self._strict: tuple[Program, list[Any]] | None = None  # and where its parameters are among ours
        self.renew()
        renew_in_children(self)

    def renew(self) -> None:
        """Wait for no thread that is in a call: for the child of a process, where there is none."""
        self._running = False
        self._one_at_a_time = RLock()  # the buffers are those of one call
        context = copy_context()  # in which NumPy follows IEEE arithmetic, as the scalar engine does, without warnings
        context.run(np.seterr, all="ignore")
        self._quietly = context.run

    def _allocate(self, arrays: list[Array]) -> tuple[Numbers, dict[Array, Numbers]]:
        """One stretch of memory for the numbers of several arrays, and its parts, each from a cache line on."""
        step = CACHE_LINE // self.dtype.itemsize
        ends = np.cumsum([-(-array.size // step) * step for array in arrays], dtype=int)
        flat = aligned(int(ends[-1]) if arrays else 0, self.dtype)
        parts = zip(arrays, np.split(flat, ends))
        return flat, {array: part[: array.size].reshape(array.shape) for array, part in parts}

    @cached_property
    def _lines(self) -> _Lines:
        """Forward, guards and backward, written when they are first asked for."""
        build = Builder(self._all_arrays, self.dtype)
        code = build.code
        in_branch = self._graph.in_branch
        build.conditional = {
            a for a in self.arrays if a.kind == "computed" and in_branch[a.entries[a.entries >= 0]].any()
        }
        given = self._all_arrays[: len(self.batch)]
        for number, array in enumerate(given):
            code.buffers[build.value[array].buffer].given = f"x{number}"
        for array in self.arrays:
            if array.instruction is not None:
                build.forward(array)
        entry = self._entry(build, self.loss)
        losses = code.new((), entry.varies)
        code.copy(entry, losses)
        checks = [(guard, self._check(build, guard)) for guard in self._guards]
        loss_array, position = self._found(self.loss)
        seed, gradients = build.backward(self.arrays, loss_array, position, set(self._trained))
        for symbols, numbers in ((build.value, self._numbers), (gradients, self._gradients)):
            for array, x in numbers.items():
                code.buffers[symbols[array].buffer].data = x.reshape(-1)
        products = [build.products.get(array) for array in given]
        watched = [losses, *(symbol for _, symbol in checks), *(p for p in products if p is not None)]
        watched += [symbol for product, sides in build.loose for symbol in (product, *sides)]
        results = {
            "forward": watched,
            "backward": [*watched, *gradients.values()],
            "slope": [*watched[1:], *gradients.values()],
        }
        code.share_memory(results["backward"])
        code.known.clear()
        return _Lines(code, results, losses, seed, checks, products, build.loose)

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
            return self._call("forward", args).losses_of_samples()

    def backward(self, *args: Any) -> Numbers:
        """The losses, as a call gives them; and the gradients of their mean, in `grad` of each of `parameters`.

        An empty batch leaves gradients of 0.
        """
        with self._one_at_a_time:
            frame = self._call("backward", args, 1.0)
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
        the parameters have no `grad` afterwards.
        """
        with self._one_at_a_time:
            for p in self.parameters:
                p.grad = NOT_COMPUTED
            self._call("slope", args, lr)

    def _call(self, name: str, args: tuple[Any, ...], scale: float = 0.0) -> _Frame:
        """Run the function of this name, and its checks, with scale · ∂(mean loss)/∂(loss) as the seed."""
        if self._running:
            raise RuntimeError(
                "this program is in the middle of a call, whose numbers another call from a signal handler or a "
                "finaliser would overwrite: let the handler set a flag, and call the program after it"
            )
        try:
            self._running = True
            return self._quietly(self._checked_run, name, args, scale)
        finally:
            self._running = False

    def _checked_run(self, name: str, args: tuple[Any, ...], scale: float) -> _Frame:
        frame, arrays = self._prepare(args)
        if name != "forward":
            frame.seed(scale)
        if frame.samples:
            self._run(frame, name, arrays)
            if self._dense and frame.loose and not self._is_exact(frame, name):
                self._run_strictly(frame, name, arrays, scale)
            elif frame.checks:
                frame.check_guards()
        elif name != "forward":
            self._gradient[...] = 0.0
        if name == "slope":
            np.subtract(self._data, self._gradient, out=self._data)
        return frame

    def _is_exact(self, frame: _Frame, name: str) -> bool:
        """Whether what the program multiplies by 0, and the scalar engine leaves out, was finite."""
        finite = name == "forward" or isfinite(self._gradient.dot(self._gradient)) or np.isfinite(self._gradient).all()
        for product, sides in frame.loose:
            if not isfinite(product.dot(product)) and not all(np.isfinite(side).all() for side in sides):
                return False
        return bool(finite)

    def _run_strictly(self, frame: _Frame, name: str, arrays: list[Numbers], scale: float) -> None:
        """Run the program without padded products, which computes what the scalar engine computes, but more slowly."""
        if self._strict is None:
            strict = Program(self.loss, self.batch, self._wanted, self.dtype, self._guards, dense=False)
            place = {v: i for i, v in enumerate(v for array in self._numbers for v in self._values(array))}
            self._strict = strict, [np.array([place[v] for v in strict._values(array)]) for array in strict._numbers]
        strict, places = self._strict
        numbers = np.concatenate([x.reshape(-1) for x in self._numbers.values()])
        for x, place in zip(strict._numbers.values(), places):
            x.reshape(-1)[...] = numbers[place]
        run = strict._call("forward" if name == "forward" else "backward", tuple(arrays), scale)
        frame.losses[...] = run.losses
        for p, place in zip(strict.parameters, places):
            numbers[place] = p._gradient.reshape(-1)
        ends = np.cumsum([p._gradient.size for p in self.parameters])
        for p, part in zip(self.parameters, np.split(numbers, ends)):
            p._gradient.reshape(-1)[...] = part

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
        return np.ascontiguousarray(x, self.dtype).reshape(len(x), columns)

    def _expected(self) -> str:
        return ", ".join(f"{_called(leaves)} of shape (m, {len(leaves)})" for leaves in self.batch) or "none"

    def _run(self, frame: _Frame, name: str, arrays: list[Numbers]) -> None:
        functions = frame.functions.get(name)
        if functions is None:
            if name not in self._compiled:
                self._compiled[name] = self._lines.code.compiled(name, self._lines.results[name])
            functions = frame.functions[name] = [FunctionType(code, frame.names) for code in self._compiled[name]]
        for function in functions:
            function(*arrays)
        # What is not finite in an argument shows in a product that reads the whole of it, which is smaller.
        for product, x in zip(frame.products, arrays):
            entries = x.reshape(-1) if product is None else product
            if not isfinite(entries.dot(entries)) and not np.isfinite(x).all():
                raise ValueError("the batch holds numbers that are not finite (inf or nan)")

    # ── Values and arrays ──────────────────────────────────────────────────────────────────────

    def pull(self) -> None:
        """Take the parameters' numbers from the Values, which scalar code has changed."""
        with np.errstate(all="ignore"):
            for array, numbers in self._numbers.items():
                numbers.reshape(-1)[...] = [v.data for v in self._values(array)]

    def push(self) -> None:
        """Write the parameters' numbers, and the gradients if there are any, to the Values."""
        for p in self.parameters:
            for v, data in zip(p.nodes, p._data.reshape(-1).tolist(), strict=True):
                v.data = data
            if p.has_grad:
                for v, grad in zip(p.nodes, np.broadcast_to(p.grad, p.shape).reshape(-1).tolist(), strict=True):
                    v.grad = grad

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
        with self._one_at_a_time:
            return self._lines.code.source("run", self._lines.results["backward"])

    @cached_property
    def equations(self) -> Equations:
        """The forward and backward pass, as equations with shapes."""
        return Equations(self.arrays, *self._found(self.loss), self._trained)

    def __str__(self) -> str:
        return str(self.equations)

    def __repr__(self) -> str:
        return f"<array program: {len(self._graph.nodes)} scalar nodes in {len(self.arrays)} arrays>"

    def _repr_mimebundle_(self, **_: Any) -> dict[str, str]:
        return {"text/plain": str(self.equations), "text/latex": self.equations.latex()}

    def __rich__(self) -> Any:
        return self.equations.__rich__()


class _Lines(NamedTuple):
    """What runs: the code, its results in each mode, and the arrays that are looked at after a call."""

    code: Code
    results: dict[str, list[Symbol]]
    losses: Symbol
    seed: Symbol
    checks: list[tuple[Guard, Symbol]]
    products: list[Symbol | None]  # for each argument one that reads the whole of it
    loose: list[tuple[Symbol, list[Symbol]]]


class _Frame:
    """Buffers, and the functions that use them, for one number of samples."""

    def __init__(self, program: Program, samples: int) -> None:
        lines = program._lines
        self.samples = samples
        self.names, memory = lines.code.frame(max(samples, 1))
        self.functions: dict[str, list[FunctionType]] = {}
        self.losses, self._seed = memory[lines.losses.buffer], memory[lines.seed.buffer]
        self.checks = [(guard, memory[symbol.buffer]) for guard, symbol in lines.checks]
        self.products = [None if product is None else memory[product.buffer] for product in lines.products]
        self.loose = [(memory[out.buffer], [memory[side.buffer] for side in sides]) for out, sides in lines.loose]
        self._scale = 1.0
        self.seed(0.0)

    def losses_of_samples(self) -> Numbers:
        """One loss for each sample, where the loss varies or not."""
        return self.losses.copy() if len(self.losses) == self.samples else np.full(self.samples, self.losses[0])

    def check_guards(self) -> None:
        """Raise ValueError where a comparison made while recording came out otherwise."""
        for guard, held in self.checks:
            if not held.all():
                was = "" if guard.outcome else "not "
                raise ValueError(
                    f"while the loss was recorded, {guard.left.label or 'a Value'} {SYMBOLS[guard.function]} "
                    f"{guard.right.label or guard.right.data} did {was}hold, and Python took that branch; in this "
                    "batch it comes out otherwise for some sample: use relu, maximum or another operation "
                    "in place of `if`, or stay with the scalar engine"
                )

    def seed(self, scale: float) -> None:
        """Start the backward pass from scale · ∂(mean loss)/∂(loss of one sample), which is scale / m."""
        if scale != self._scale:
            if not isinstance(scale, Real) or not isfinite(scale):
                raise ValueError(f"the learning rate must be a finite number, got {scale!r}")
            self._seed[...] = scale / max(len(self.losses), 1)
            self._scale = scale


def _arguments(batch: Any) -> list[list[Value]]:
    """The leaves of each argument of the program."""
    batch = _as_list(batch)
    if all(isinstance(v, Value) for v in batch):
        return [batch] if batch else []
    return [_flat(v) for v in batch]


def _flat(values: Any) -> list[Value]:
    return [values] if isinstance(values, Value) else [v for inner in _as_list(values) for v in _flat(inner)]


def _as_list(values: Any) -> list[Any]:
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
        if v.op is not ops.LEAF:
            what = "a constant" if v.op is ops.CONSTANT else f"the result of {v.op}"
            raise ValueError(f"batch and parameters must be leaves, Value(…), but {v!r} is {what}")
    varying = set(columns)
    if len(varying) < len(columns):
        raise ValueError("batch lists the same Value twice")
    for v in wanted or ():
        if v not in present:
            raise ValueError(f"the loss does not depend on the parameter {v!r}")
        if v in varying:
            raise ValueError(
                f"{v!r} stands in batch and in parameters: gradients are with respect to what all samples share; "
                "for ∂loss/∂x of single samples leave it out of batch, or take backward() of the scalar engine"
            )


def _called(leaves: list[Value]) -> str:
    labels = [v.label for v in leaves if v.label]
    return f"{labels[0]} … {labels[-1]}" if len(labels) > 1 else labels[0] if labels else "an array"


def gradients(loss: Value) -> dict[Value, float]:
    """∂loss/∂leaf of every leaf that is no constant, computed by the array program found in the graph of loss."""
    program = vectorize(loss)
    program.backward()
    return {v: g for p in program.parameters for v, g in zip(p.nodes, p._gradient.reshape(-1).tolist(), strict=True)}
