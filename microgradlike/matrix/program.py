"""The array program found in a scalar graph: run it, train with it, ask it which entry is which node.

program = vectorize(loss, batch=[x, y])    from one recorded sample
program(X, Y)                              the losses of a whole batch
program.gradients(X, Y)                    the gradients of their mean
program.values(nodes, X, Y)                the numbers of any recorded nodes, such as the outputs
print(program)                             the equations, as the textbook writes them
print(program.arrays)                      the arrays, and what each is made of
print(program.source)                      the NumPy calls that run
print(passes(loss, batch=[x, y]))          what each pass makes of the graph, for a small example
"""

from __future__ import annotations

import gc
import warnings
from collections.abc import Callable, Iterable, Sequence
from contextvars import copy_context
from functools import cached_property
from itertools import accumulate
from math import isfinite, nan, prod
from operator import attrgetter
from threading import RLock
from typing import Any, NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt

from microgradlike import ops
from microgradlike.ieee import NOT_COMPUTED, Namespace
from microgradlike.matrix.arrays import Array, Arrays
from microgradlike.matrix.canonical import Graph
from microgradlike.matrix.colours import Colours
from microgradlike.matrix.emit import emit, try_rules
from microgradlike.matrix.equations import Equations
from microgradlike.matrix.find import Found, IrregularGraph, as_arguments, as_list, find
from microgradlike.matrix.guards import Notes, record_guarded
from microgradlike.matrix.indices import Ints
from microgradlike.matrix.memory import CACHE_LINE, Emitted, Frame, cache_aligned
from microgradlike.matrix.walk import Walk
from microgradlike.support.locks import renew_in_children
from microgradlike.value import Value, constant

T = TypeVar("T")
Numbers = npt.NDArray[Any]
FRAMES = 8  # so many batch sizes keep their buffers, and so many lists of nodes their programs
LARGE = {8: 1e30, 4: 1e9}  # factors up to this, or down to its inverse, may be multiplied in any order; by bytes
INPUTS = 3  # a walk goes past so many inputs of nodes while NumPy reads or computes one array
LINES = 200e-6  # seconds that writing them takes, for an array or what it reads
NOTHING = constant(nan)  # what `values` gives for an entry without a node


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

    Warns with `matrix.IrregularGraph` before it spends more than a minute on a graph that is no few arrays.

    A recorded loss is one graph, and what Python decided while it was recorded is fixed: branches, how
    often a loop went round, which rows of a table were picked, and every number read as `v.data`. Write
    what shall differ between samples as batch leaves:

    - Rows picked by a token: give the token as a one-hot list of batch leaves o, and take Σᵢ oᵢ · rowᵢ:
      `[sum(o * row[j] for o, row in zip(onehot, table)) for j in range(n)]`.
    - Documents of different length: record the longest, multiply the loss of each position by a batch leaf,
      its weight, and give 0 for positions that a document does not have; 1/length makes the mean.

    A program gives the numbers of other recorded nodes, too: `program.values(outputs, X, None)`.

    `dtype` is float64 or float32.

    Raises TypeError or ValueError for anything else than leaves in `batch` and `parameters`, and for a
    constant loss.
    """
    notes = Notes()
    if not isinstance(loss, Value):
        if not callable(loss):
            raise TypeError(f"expected the loss, a Value, or a function that records it, got {type(loss).__name__}")
        loss, notes = record_guarded(loss)
        if text := notes.warning():
            warnings.warn(text, stacklevel=2)
        if not isinstance(loss, Value):
            raise TypeError(f"the function that records the loss must return a Value, got {type(loss).__name__}")
    if loss.op is ops.CONSTANT:
        raise ValueError("the loss is a constant: nothing is to be computed")
    if np.dtype(dtype) not in (np.float64, np.float32):
        raise TypeError(f"dtype must be float64 or float32, got {np.dtype(dtype)}")
    wanted = None if parameters is None else as_list(parameters)
    return _program(np.dtype(dtype), [loss], as_arguments(batch), wanted, notes.guards)


def _program(dtype: Any, *arguments: Any, **settings: Any) -> Program:
    """Return the program of what is found; the arguments are those of `find`."""
    collecting = gc.isenabled()
    gc.disable()  # nothing here is garbage, and looking for it would cost more than all the rest
    try:
        with np.errstate(all="ignore"):
            return Program(find(*arguments, **settings), dtype)
    finally:
        if collecting:
            gc.enable()


def passes(loss: Value | Callable[[], Value], batch: Sequence[Any] = (), **settings: Any) -> Passes:
    """Return what each pass makes of a loss, which prints itself; the arguments are those of `vectorize`."""
    program = vectorize(loss, batch, **settings)
    return Passes(program.found.graph, program.found.colours, program.arrays, program.source)


class Passes(NamedTuple):
    """What each pass made of a graph: sums of products, nodes of one colour, arrays with instructions, lines."""

    sums: Graph
    colours: Colours
    arrays: Arrays
    lines: str

    def __repr__(self) -> str:
        return "\n\n".join(f"{title}:\n{getattr(self, title)!s}".rstrip() for title in self._fields)


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

    `arrays` are the arrays that were found, in the order they are computed (print them); `parameters` those
    of the shared leaves. Gradients are of the mean loss over the samples.
    """

    _is_dense = True  # whether it may multiply by 0 what the scalar engine leaves out
    _few = 3 * 2**17  # so many bytes of computed arrays, of all samples together, stay in the cache

    def __init__(self, found: Found, dtype: Any) -> None:
        self.found, self.dtype = found, dtype
        self.loss, self.batch, self.arrays = found.loss, found.batch, found.arrays
        try_rules(self.arrays, dtype)
        # Numbers that are to be trained lie one array after the other, and their gradients alike
        self._flat, self._numbers = self._allocate([*found.trained, *found.fixed])
        self._gradient, self._gradients = self._allocate(found.trained)
        self._data = self._flat[: len(self._gradient)]
        self.parameters = Parameters(
            Parameter(array.name, found.nodes(array), self._numbers[array], gradient)
            for array, gradient in self._gradients.items()
        )
        self.pull()
        self._frames: dict[int, Frame] = {}
        self._others: dict[tuple[Value, ...], Borrower] = {}
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
        """Return one stretch of memory for the numbers of several arrays, and its parts, each from a cache line on."""
        starts = self._starts(arrays)
        flat = cache_aligned(starts.pop(), self.dtype)
        return flat, {a: flat[i : i + a.size].reshape(a.shape) for a, i in zip(arrays, starts, strict=True)}

    def _starts(self, arrays: Iterable[Array]) -> list[int]:
        """Return where in one stretch of memory each array begins, and where the last one ends."""
        step = CACHE_LINE // self.dtype.itemsize
        return list(accumulate((-(-array.size // step) * step for array in arrays), initial=0))

    @cached_property
    def _emitted(self) -> Emitted:
        """Forward, comparisons and backward, emitted when they are first asked for."""
        return emit(self.found, self.dtype, self._numbers, self._gradients)

    @cached_property
    def _stacked(self) -> Emitted:
        """The same for few samples."""
        return emit(self.found, self.dtype, self._numbers, self._gradients, stacked=True)

    @cached_property
    def _offsets(self) -> dict[Value, int]:
        """Where the number of each leaf that is no batch leaf stands in `_flat`."""
        arrays = zip(self._numbers, self._starts(self._numbers))
        return {v: i for array, start in arrays for i, v in enumerate(self.found.nodes(array), start)}

    # ── Running ────────────────────────────────────────────────────────────────────────────────

    def __call__(self, *args: Any) -> Numbers:
        """Return the loss of each of m samples, an array of shape (m,). Each argument has shape (m, …).

        Without batch leaves there is one sample. Raises TypeError for a wrong number of arguments and for what is no
        array of real numbers; ValueError for shapes that do not fit, for numbers that are not finite, and where a
        comparison made while recording would come out otherwise for a sample; RuntimeError within another call.
        """
        with self._one_at_a_time:
            return self._call("forward", args).losses_of_samples()

    def backward(self, *args: Any) -> Numbers:
        """Return the losses, (m,), and leave the gradients of their mean in `grad` of each of `parameters`.

        A gradient has the shape of its parameter; an empty batch leaves gradients of 0.
        Arguments and errors are those of a call.
        """
        with self._one_at_a_time:
            frame = self._call("backward", args, 1.0)
            for p in self.parameters:
                p.grad = p._gradient
            return frame.losses_of_samples()

    def gradients(self, *args: Any) -> dict[str, Numbers]:
        """Return ∂(mean loss)/∂parameter by the name of the parameter, each in its shape, as arrays of your own.

        Arguments and errors are those of a call; `grad` of the parameters is set as by `backward`.
        """
        with self._one_at_a_time:
            self.backward(*args)
            return {p.name: p._gradient.copy() for p in self.parameters}

    def to_jax(self, dtype: Any = None) -> Callable[..., Any]:
        """Return f(parameters, *batch), the losses of m samples, (m,), as a pure function for JAX to transform.

            f = program.to_jax()
            parameters = {p.name: p.data for p in program.parameters}
            mean = lambda parameters, *batch: f(parameters, *batch).mean()
            jax.jit(jax.value_and_grad(mean))(parameters, X, Y)

        It composes with `jit`, `vmap`, `grad` and `hessian`. The local derivatives are those of the table of
        operations, to any order, not JAX's own of the lines that compute a value.

        `dtype`, the program's by default, is what it computes in: float64, float32 or bfloat16. The parameters and
        the batch are converted, and a gradient has the dtype of its parameter: with float32 parameters, bfloat16
        is mixed precision. (For matrix products in full float32 on a GPU, `jax.default_matmul_precision("highest")`.)

        A compiled function cannot raise what depends on numbers. Where a comparison made while recording would come
        out otherwise, or the batch is not finite, losses and gradients are nan or inf; a call of the program says why.
        So they are where a sum that was padded with zeros meets an inf that the scalar engine leaves out, or where a
        product that is taken in another order than recorded, as help(microgradlike.matrix) says, overflows.

        Raises MissingPackage without JAX, TypeError for another dtype, and ValueError for float64 where JAX is not
        told to use it. The function raises TypeError for a wrong number of arguments and for no real numbers,
        ValueError for parameters of other names or shapes, and for a batch whose shapes do not fit.
        """
        from microgradlike.matrix.on_jax import losses_on_jax

        return losses_on_jax(self, dtype)

    def descend(self, *args: Any, lr: float) -> None:
        """Take one step of gradient descent, w → w − lr · ∂(mean loss)/∂w, as fast as it goes.

        The learning rate is folded into the seed of the backward pass, no loss is computed, and the parameters
        have no `grad` afterwards. Raises ValueError for an `lr` that is no finite number; arguments and other
        errors are those of a call. After an error, the parameters are as before.
        """
        with self._one_at_a_time:
            for p in self.parameters:
                p.grad = NOT_COMPUTED
            self._call("slope", args, lr)

    def values(self, nodes: Any, *args: Any) -> Numbers:
        """Return the numbers of recorded nodes for each of m samples, such as the outputs of a network.

        `nodes` is a Value, or Values in lists, nested as you like, or what `nodes()` returns: the result has shape
        (m, *shape of nodes), and nan where there is no node (None). They are computed with the program's numbers of
        the parameters, and need not be part of the loss, but may depend on no other leaves than the loss and the batch.

        Arguments are those of a call. One that the nodes do not depend on, nor any comparison made while recording,
        may be None, such as the targets y: `program.values(output, X, None)`.

        The first call with these nodes finds their program, and a further one costs about what their losses cost.
        Raises TypeError for what is no Value, ValueError for lists of different lengths and for nodes that depend on
        other leaves; other errors are those of a call.
        """
        listed, shape = _nested(nodes)
        with self._one_at_a_time:
            numbers: Numbers = self._alone(self._values, tuple(listed), args)
            return numbers.reshape(len(numbers), *shape)

    def _values(self, nodes: tuple[Value, ...], args: tuple[Any, ...]) -> Numbers:
        """Return the numbers of these nodes, (m, n)."""
        if nodes not in self._others:
            if len(self._others) >= FRAMES:
                del self._others[next(iter(self._others))]
            found = self.found
            self._others[nodes] = self._borrower([*nodes] or [NOTHING], found.batch, [], found.guards)
        other = self._others[nodes]
        frame = other.call(self, "forward", other.program._without_none(args))
        return frame.outputs_of_samples()[:, : len(nodes)]

    def _without_none(self, args: Sequence[Any]) -> Sequence[Any]:
        """Return the arguments with zeros for those that are None, on which nothing may depend."""
        given = [x for x in args if x is not None]
        if len(given) == len(args) or len(args) != len(self.batch):
            return args
        for x, leaves, needed in zip(args, self.batch, self.found.needed):
            if x is None and (needed or not given):
                why = "the nodes depend on it, or a comparison does" if needed else "the number of samples is not known"
                raise TypeError(f"got None in place of {_called(leaves)} of shape (m, {len(leaves)}): {why}")
        samples = len(given[0]) if np.ndim(given[0]) else 1
        return [np.zeros((samples, len(leaves))) if x is None else x for x, leaves in zip(args, self.batch)]

    def _borrower(self, *arguments: Any, **settings: Any) -> Borrower:
        """Return another program of the same leaves; the arguments are those of `find`."""
        program = _program(self.dtype, *arguments, **settings)
        for v in program._offsets:
            if v not in self._offsets:
                raise ValueError(
                    f"the nodes depend on {v!r}, which is neither a batch leaf nor a parameter of this program, nor "
                    "part of its loss"
                )
        here = [self._offsets[v] for v in program._offsets]
        return Borrower(program, np.array([*program._offsets.values()], int), np.array(here, int))

    def _call(self, name: str, args: tuple[Any, ...], scale: float = 0.0) -> Frame:
        """Run the function of this name, and its checks, with scale · ∂(mean loss)/∂(loss) as the seed."""
        return self._alone(self._checked_run, name, args, scale)

    def _alone(self, function: Callable[..., T], *args: Any) -> T:
        """Return function(*args), which nothing else that this thread is called for may interrupt."""
        if self._running:
            raise RuntimeError(
                "this program is in the middle of a call, whose numbers another call from a signal handler or a "
                "finaliser would overwrite: let the handler set a flag, and call the program after it"
            )
        try:
            self._running = True
            return self._quietly(function, *args)
        finally:
            self._running = False

    def _checked_run(self, name: str, args: tuple[Any, ...], scale: float) -> Frame:
        frame, arrays = self._prepare(args)
        if name != "forward":
            frame.seed(scale)
        if frame.samples:
            self._run(frame, name, arrays)
            if self._is_dense and not (self._is_exact(frame, name) and self._is_moderate(frame, arrays)):
                self._run_exactly(frame, name, arrays, scale)
            else:
                for guard, held in frame.checks:
                    guard.check(held)
        elif name != "forward":
            self._gradient[...] = 0.0
        if name == "slope":
            np.subtract(self._data, self._gradient, out=self._data)
        return frame

    def _is_exact(self, frame: Frame, name: str) -> bool:
        """Return whether what the program multiplies by 0, and the scalar engine leaves out, was finite."""
        if not frame.loose:
            return True
        finite = name == "forward" or isfinite(self._gradient.dot(self._gradient)) or np.isfinite(self._gradient).all()
        return bool(finite) and all(
            isfinite(product.dot(product)) or all(np.isfinite(side).all() for side in sides)
            for product, sides in frame.loose
        )

    def _is_moderate(self, frame: Frame, arrays: list[Numbers]) -> bool:
        """Return whether products of the factors that are taken in another order than recorded are the same in both."""
        large = LARGE[self.dtype.itemsize]
        for x in frame.factors:
            numbers = (arrays[x] if isinstance(x, int) else x).reshape(-1)
            if not numbers.dot(numbers) <= large * large:
                return False
            fit = np.count_nonzero(np.abs(numbers) >= 1 / large)
            if fit < numbers.size and fit < np.count_nonzero(numbers):
                return False
        return True

    @cached_property
    def _exact(self) -> Borrower:
        """The same program without padded products."""
        found = self.found
        exact = self._borrower(found.outputs, found.batch, found.wanted, found.guards, dense=False)
        exact.program._is_dense = False  # a 0 that was recorded looks like padding
        return exact

    def _run_exactly(self, frame: Frame, name: str, arrays: list[Numbers], scale: float) -> None:
        """Run the program without padded products, which computes what the scalar engine computes, but more slowly."""
        exact = self._exact.program
        frame.outputs[...] = self._exact.call(
            self, "forward" if name == "forward" else "backward", arrays, scale
        ).outputs
        self._fill(self._gradients, exact._entries(exact._gradients).__getitem__)

    def _entries(self, numbers: dict[Array, Numbers]) -> dict[Value, float]:
        """Return the numbers of these arrays by node."""
        return {v: x for a, xs in numbers.items() for v, x in zip(self.found.nodes(a), xs.reshape(-1).tolist())}

    def _fill(self, numbers: dict[Array, Numbers], number_of: Callable[[Any], float]) -> None:
        """Set the numbers of these arrays, entry by entry."""
        for array, x in numbers.items():
            x.reshape(-1)[...] = [number_of(v) for v in self.found.nodes(array)]

    def _prepare(self, args: tuple[Any, ...]) -> tuple[Frame, list[Numbers]]:
        if len(args) != len(self.batch):
            self.check_shapes([np.shape(a) for a in args])
        arrays = []
        for x, leaves in zip(args, self.batch):
            if not (type(x) is np.ndarray and x.ndim == 2 and x.dtype is self.dtype and x.flags.c_contiguous):
                x = self._converted(x)
            arrays.append(x)
            if x.shape[1] != len(leaves) or len(x) != len(arrays[0]):
                self.check_shapes([np.shape(a) for a in args])
        return self._frame(len(arrays[0]) if arrays else 1), arrays

    def _frame(self, samples: int) -> Frame:
        """Return what runs the program for so many samples: the walk, or lines with buffers."""
        if max(samples, 1) <= self._walkable:
            self._walk.take(samples)
            return self._walk
        if self._walkable >= 1 and "_emitted" not in vars(self):
            IrregularGraph.warn(
                LINES * self._reads,
                "writing lines of NumPy for many samples at once",
                "calls with one sample at a time need none, nor does loss.backward() of the scalar engine",
            )
        if samples not in self._frames:
            if len(self._frames) >= FRAMES:
                del self._frames[next(iter(self._frames))]
            entries = samples * sum(array.size for array in self.arrays if array.instruction)
            few = entries * self.dtype.itemsize <= self._few
            self._frames[samples] = Frame(self._stacked if few else self._emitted, samples)
        return self._frames[samples]

    @cached_property
    def _walkable(self) -> float:
        """How many samples a walk goes through while the lines run once: below 1, but where the graph is irregular."""
        return INPUTS * self._reads / max(len(self.found.edges), 1)

    @cached_property
    def _reads(self) -> int:
        """How many arrays are computed and read."""
        return sum(1 + len(array.refs) for array in self.arrays)

    @cached_property
    def _walk(self) -> Walk:
        return Walk(self.found, self._offsets, self._flat, self._gradient)

    def _converted(self, x: Any) -> Numbers:
        if isinstance(x, np.ma.MaskedArray):
            raise TypeError("expected an array of numbers, got a masked array: fill it or leave out its samples first")
        x = np.asarray(x)
        if x.dtype.kind not in "iuf":
            raise TypeError(f"expected an array of real numbers, got one of {x.dtype}: convert it first")
        if x.ndim == 0:
            self.check_shapes([()] * len(self.batch))
        return np.ascontiguousarray(x, self.dtype).reshape(len(x), prod(x.shape[1:]))

    def check_shapes(self, shapes: Sequence[tuple[int, ...]]) -> None:
        """Raise TypeError unless there is one shape for each argument, ValueError unless all are (m, …) and fit."""
        expected = ", ".join(f"{_called(leaves)} of shape (m, {len(leaves)})" for leaves in self.batch) or "none"
        if len(shapes) != len(self.batch):
            raise TypeError(f"expected {len(self.batch)} arrays ({expected}), got {len(shapes)}")
        if () in shapes:
            raise ValueError(f"expected arrays with the samples on the first axis ({expected}), got a number")
        for shape, leaves in zip(shapes, self.batch):
            if prod(shape[1:]) != len(leaves) or shape[0] != shapes[0][0]:
                raise ValueError(
                    f"expected arrays of one number of samples m, {expected}, got {', '.join(map(str, shapes))}"
                )

    def _run(self, frame: Frame, name: str, arrays: list[Numbers]) -> None:
        frame.run(name, arrays)
        # What is not finite in an argument shows in a product that reads the whole of it, which is smaller.
        for product, x in zip(frame.products, arrays):
            entries = x.reshape(-1) if product is None else product
            if not isfinite(entries.dot(entries)) and not np.isfinite(x).all():
                raise ValueError("the batch holds numbers that are not finite (inf or nan)")

    # ── Values and arrays ──────────────────────────────────────────────────────────────────────

    def pull(self) -> None:
        """Take the parameters' numbers from the Values, which scalar code has changed."""
        with np.errstate(all="ignore"):
            self._fill(self._numbers, attrgetter("data"))

    def push(self) -> None:
        """Write the parameters' numbers, and the gradients if there are any, to the Values."""
        for p in self.parameters:
            for v, data in zip(p.nodes, p._data.reshape(-1).tolist(), strict=True):
                v.data = data
            if p.has_grad:
                for v, grad in zip(p.nodes, np.broadcast_to(p.grad, p.shape).reshape(-1).tolist(), strict=True):
                    v.grad = grad

    def where(self, node: Value) -> Place | None:
        """Return which entry of which array a scalar node is; None for constants and for sums that dissolved.

        Raises KeyError for a node that is not part of the loss.
        """
        if node not in self.found.graph.index_of:
            raise KeyError(f"{node!r} is not part of the graph that this program was found in")
        array, position = self.found.locate(node)
        if position < 0:
            return None
        return Place(array.name, tuple(map(int, np.unravel_index(position, array.shape))))

    def nodes(self, name: str) -> npt.NDArray[np.object_]:
        """Return the scalar nodes of the array with this name, in its shape (None where an entry has no node).

        Raises KeyError for a name that no array has.
        """
        for array in self.arrays:
            if array.name == name:
                return np.array(self.found.nodes(array), object).reshape(array.shape)
        raise KeyError(f"no array is called {name!r}; there are {', '.join(a.name for a in self.arrays)}")

    def name_of(self, node: Value) -> str | None:
        """Return the name of the array that a node belongs to: a `color_by` for `draw`.

        A part of a sum belongs to the array of the sum; None for a node that is not part of the loss, and constants.
        """
        found = self.found
        i = found.graph.index_of.get(node)
        array = -1 if i is None else found.array_of[found.graph.same[found.graph.root[i]]]
        return found.all_arrays[array].name if array >= 0 else None

    # ── Reading ────────────────────────────────────────────────────────────────────────────────

    @property
    def source(self) -> str:
        """The NumPy calls of the forward and backward pass, as a Python function; comments say what each computes."""
        with self._one_at_a_time:
            return self._emitted.code.source("backward")

    @cached_property
    def equations(self) -> Equations:
        """The forward and backward pass, as equations with shapes."""
        return Equations(self.arrays, *self.found.locate(self.loss), self.found.trained)

    def __str__(self) -> str:
        return str(self.equations)

    def __repr__(self) -> str:
        return f"<array program: {len(self.found.graph.nodes)} scalar nodes in {len(self.arrays)} arrays>"

    def _repr_mimebundle_(self, **_: Any) -> dict[str, str]:
        return {"text/plain": str(self.equations), "text/latex": self.equations.latex()}

    def __rich__(self) -> Any:
        return self.equations.__rich__()


class Borrower(NamedTuple):
    """A program that takes its numbers from another one: `there` in its memory lie those that lie `here` in the other."""

    program: Program
    there: Ints
    here: Ints

    def call(self, owner: Program, name: str, args: Sequence[Any], scale: float = 0.0) -> Frame:
        """Call the program with the numbers of the other one."""
        self.program._flat[self.there] = owner._flat[self.here]
        return self.program._call(name, tuple(args), scale)


def _nested(nodes: Any) -> tuple[list[Value], tuple[int, ...]]:
    """Return Values in nested lists one after the other, and the shape of the lists."""
    if isinstance(nodes, Value):
        return [nodes], ()
    if nodes is None:
        return [NOTHING], ()
    if isinstance(nodes, np.ndarray):
        return _nested(nodes.tolist())
    parts = [_nested(x) for x in as_list(nodes, "nodes are Values")]
    shapes = list(dict.fromkeys(shape for _, shape in parts))
    if len(shapes) > 1:
        raise ValueError(f"the lists of nodes have different lengths: shapes {shapes[0]} and {shapes[1]} side by side")
    return [v for part, _ in parts for v in part], (len(parts), *(shapes[0] if shapes else ()))


def _called(leaves: list[Value]) -> str:
    labels = [v.label for v in leaves if v.label]
    return f"{labels[0]} … {labels[-1]}" if len(labels) > 1 else labels[0] if labels else "an array"


def gradients(loss: Value) -> dict[Value, float]:
    """Return ∂loss/∂leaf of every leaf that is no constant, computed by the array program of the loss."""
    program = vectorize(loss)
    program.backward()
    return program._entries(program._gradients)
