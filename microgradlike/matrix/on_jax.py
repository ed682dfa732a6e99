"""The found program as a pure function that JAX transforms: `jit`, `grad`, `vmap`, and what else it has.

The interpreter runs with jax.numpy. JAX differentiates matrix products, sums and indexing by itself; what is
computed entry by entry has the local derivatives of its row in `ops`. JAX's own are those of the lines in which a
value is computed, and wrong at ordinary points: exp(−|x|) would give σ′(0) = ½ for ¼.

A row's local derivatives are made of operations with rows themselves, as in `recording`: so derivatives of any
order are right.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np

from microgradlike import ops, recording
from microgradlike.ieee import FUNCTIONS, Namespace
from microgradlike.matrix.arrays import Array, Reduce
from microgradlike.matrix.indices import Ints, affine
from microgradlike.matrix.interpreter import Interpreter
from microgradlike.primitive import Operation
from microgradlike.support.extras import needed_for

with needed_for("to_jax"):
    import jax
    import jax.numpy as jnp
    from jax.custom_derivatives import SymbolicZero
    from jax.extend.core import Primitive
    from jax.interpreters import ad, batching, mlir

if TYPE_CHECKING:
    from microgradlike.matrix.program import Program

DTYPES = ("float64", "float32", "bfloat16")


def losses_on_jax(program: Program, dtype: Any) -> Callable[..., Any]:
    """Return the function that `Program.to_jax` describes."""
    dtype = np.dtype(program.dtype if dtype is None else dtype)
    if dtype.name not in DTYPES:
        raise TypeError(f"dtype must be {', '.join(DTYPES[:-1])} or {DTYPES[-1]}, got {dtype}")
    _check_precision(dtype)
    shapes = {p.name: p.shape for p in program.parameters}
    interpreter = JaxInterpreter(program.found, dtype)

    def losses(parameters: Mapping[str, Any], *batch: Any) -> Any:
        """Return the loss of each of m samples, (m,): `parameters` by name, each argument of shape (m, …)."""
        _check_precision(dtype)
        _check_parameters(parameters, shapes)
        arrays = [_as_real(x) for x in batch]
        program.check_shapes([x.shape for x in arrays])
        numbers = [_as_real(parameters[name]).astype(dtype) for name in shapes]
        return interpreter.guarded_losses(numbers, *(x.astype(dtype) for x in arrays))

    return losses


def _check_precision(dtype: Any) -> None:
    if jax.dtypes.canonicalize_dtype(dtype) != dtype:
        raise ValueError(
            "JAX computes in float32 unless it is told otherwise: call jax.config.update('jax_enable_x64', True) "
            "before anything else of JAX, or program.to_jax(dtype='float32')"
        )


def _check_parameters(parameters: Any, shapes: dict[str, tuple[int, ...]]) -> None:
    if not isinstance(parameters, Mapping):
        raise TypeError(
            f"expected the parameters by name, {{p.name: p.data for p in program.parameters}}, "
            f"got {type(parameters).__name__}"
        )
    if parameters.keys() != shapes.keys():
        raise ValueError(
            f"expected the parameters {', '.join(shapes)}, got {', '.join(map(str, parameters)) or 'none'}"
        )
    for name, shape in shapes.items():
        if np.shape(parameters[name]) != shape:
            raise ValueError(f"expected the parameter {name} of shape {shape}, got {np.shape(parameters[name])}")


def _as_real(x: Any) -> Any:
    x = jnp.asarray(x)
    if not (jnp.issubdtype(x.dtype, jnp.floating) or jnp.issubdtype(x.dtype, jnp.integer)):
        raise TypeError(f"expected an array of real numbers, got one of {x.dtype}: convert it first")
    return x


class JaxInterpreter(Interpreter):
    """The interpreter in one dtype, with the rows' derivatives, and without gathers where slices do."""

    def __init__(self, found: Any, dtype: Any) -> None:
        functions = {name: getattr(jnp, name) for name in (*FUNCTIONS, "reshape", "broadcast_to", "swapaxes", "matmul")}
        functions |= {name: getattr(jnp, name) for name in ("sum", "max")}
        super().__init__(found, SimpleNamespace(asarray=lambda x, _: jnp.asarray(x, dtype), **functions))

    def guarded_losses(self, parameters: list[Any], *batch: Any) -> Any:
        """Return the losses; nan, with nan for a gradient, where a comparison comes out otherwise than recorded."""
        found, m = self.found, len(batch[0]) if batch else 1
        numbers = self.arrays(parameters, *batch)
        losses = self.entry(numbers, found.locate(found.loss), m)
        for guard in found.guards:
            left, right = (
                v.data if v.op is ops.CONSTANT else self.entry(numbers, found.locate(v), m)
                for v in (guard.left, guard.right)
            )
            held = getattr(jnp, guard.function)(left, right) == guard.outcome
            losses = losses * jnp.where(held, 1.0, jnp.nan)
        return losses

    def evaluate(self, op: Operation, xp: Namespace, x: list[Any], array: Array) -> Any:
        """Return y = op(x), with the derivatives of its row."""
        if op is recording.WHERE:
            condition, a, b = x
            return jnp.where(condition != 0, a, b)
        return with_derivatives(op, along_axis=isinstance(array.instruction, Reduce))(*x)

    def take(self, flat: Any, index: Ints) -> Any:
        """Return the entries at these positions, by a slice where they have equal steps that nest."""
        strides, start = affine(index) or ((-1,), 0)
        axes = sorted((axis for axis, stride in enumerate(strides) if stride), key=lambda axis: -strides[axis])
        step = size = 1
        for axis in reversed(axes):  # from the innermost: each begins where the one before has come round
            step = strides[axis] if size == 1 else step
            if strides[axis] != step * size or step < 0:
                return flat[:, index]
            size *= index.shape[axis]
        part = flat[:, start : start + step * (size - 1) + 1 : step]
        part = jnp.reshape(part, (-1, *(index.shape[axis] for axis in axes)))
        part = jnp.transpose(part, (0, *(1 + axes.index(axis) for axis in sorted(axes))))
        part = jnp.reshape(part, (-1, *(d if s else 1 for d, s in zip(index.shape, strides))))
        return jnp.broadcast_to(part, (part.shape[0], *index.shape))


# ── Local derivatives, from the table ──────────────────────────────────────────────────────────


@cache
def with_derivatives(op: Operation, along_axis: bool = False) -> Any:
    """Return the function y = op(*x) of arrays, whose derivatives are those of the row.

    `along_axis`: the only operand is a vector, which lies along the last axis, as y does with one entry.
    """
    values = _numbers(lambda op: lambda *x: op.evaluate(Namespace.of(jnp), x), along_axis)
    slopes = _numbers(with_derivatives, along_axis)

    def value(*x: Any) -> Any:
        y = _raw(op.evaluate(values.namespace, [values(each) for each in x]))
        return jnp.asarray(y, jnp.result_type(*x))

    value.__name__ = op.name  # which JAX prints
    function: Any = jax.custom_jvp(value)

    def push(x: Any, tangents: Any) -> Any:
        y = function(*x)
        total = jnp.zeros_like(y)
        local_grads = op.differentiate(slopes.namespace, slopes(y), [slopes(each) for each in x])
        for slope, t in zip(local_grads, tangents, strict=True):
            if not isinstance(t, SymbolicZero):  # else 0 · nan would be nan: the exponent of (−2)³ is fixed
                shape = jnp.broadcast_shapes(jnp.shape(y), jnp.shape(t))
                slope, t = (jnp.broadcast_to(jnp.asarray(each, y.dtype), shape) for each in (_raw(slope), t))
                share = _share.bind(slope, t)
                total = total + (jnp.sum(share, axis=-1, keepdims=True) if along_axis else share)
        return y, total

    function.defjvp(push, symbolic_zeros=True)
    return function


def _raw(x: Any) -> Any:
    return x.array if isinstance(x, _Number) else x


class _Number:
    """An array within a rule; a subclass says what its operators do. Comparisons are 1 where they hold, and 0."""

    namespace: Namespace

    def __init__(self, array: Any) -> None:
        self.array = array


def _numbers(function_of: Callable[[Operation], Callable[..., Any]], along_axis: bool) -> type[_Number]:
    """Return the class of the arrays of a rule, whose operators and functions compute by `function_of(row)`."""

    class Number(_Number):
        __slots__ = ("array",)

    def run(op: Operation) -> Callable[..., Any]:
        return lambda *x: Number(function_of(op)(*map(_raw, x)))

    def compare(op: Operation) -> Callable[..., Any]:
        return lambda *x: Number(op.evaluate(Namespace.of(jnp), [*map(_raw, x)]))

    def swapped(function: Callable[..., Any]) -> Callable[..., Any]:
        return lambda a, b: function(b, a)

    def negated(a: Any) -> Any:
        return 1.0 - a

    def where(condition: Any, a: Any, b: Any) -> Any:
        return Number(jnp.where(_raw(condition) != 0, _raw(a), _raw(b)))

    for name, op in {"add": ops.ADD, "sub": ops.SUB, "mul": ops.MUL, "truediv": ops.DIV, "pow": ops.POW}.items():
        setattr(Number, f"__{name}__", run(op))
        setattr(Number, f"__r{name}__", swapped(run(op)))
    less, at_most, equal = map(compare, (recording.LESS, recording.LESS_EQUAL, recording.EQUAL))
    for name, method in {
        "neg": run(ops.NEG), "pos": lambda a: a, "abs": run(ops.ABS),
        "lt": less, "gt": swapped(less), "le": at_most, "ge": swapped(at_most),
        "eq": equal, "ne": lambda a, b: negated(equal(a, b)), "invert": negated,
        "and": run(ops.MUL), "or": lambda a, b: negated(negated(a) * negated(b)),
    }.items():  # fmt: skip
        setattr(Number, f"__{name}__", method)
    rows = {name: getattr(ops, name.upper()) for name in FUNCTIONS if hasattr(ops, name.upper())}
    rows |= {"sigmoid": ops.SIGMOID, "divide": ops.DIV, "power": ops.POW, "abs": recording.MAGNITUDE}
    functions = {name: run(op) for name, op in rows.items()}
    if along_axis:
        of_all = {name: getattr(jnp, name) for name in ("sum", "max")}
        functions |= {name: lambda x, f=f: Number(f(_raw(x[0]), axis=-1, keepdims=True)) for name, f in of_all.items()}
    else:
        functions["max"] = lambda x: run(ops.MAX)(*x)
    Number.namespace = Namespace(**functions, where=where)
    return Number


# ── slope · t, and 0 where t is 0, whatever the slope ─────────────────────────────────────────────


def _product(slope: Any, t: Any) -> Any:
    return jnp.where(t == 0, jnp.zeros_like(t), slope * t)


_share = Primitive("share")  # linear in t, and so is its transpose: what comes back as 0 goes on as 0
_share.def_impl(_product)
_share.def_abstract_eval(lambda slope, t: t)
mlir.register_lowering(_share, mlir.lower_fun(_product, multiple_results=False))
ad.defjvp(_share, lambda change, slope, t: _share.bind(t, change), lambda change, slope, t: _share.bind(slope, change))


def _batched(args: Any, axes: Any) -> Any:
    shape = next(jnp.moveaxis(x, axis, 0).shape for x, axis in zip(args, axes) if axis is not None)
    args = (x if axis is None else jnp.moveaxis(x, axis, 0) for x, axis in zip(args, axes))
    return _share.bind(*(jnp.broadcast_to(x, shape) for x in args)), 0


batching.primitive_batchers[_share] = _batched


def _send_back(upstream: Any, slope: Any, t: Any) -> Any:
    return None, upstream if type(upstream) is ad.Zero else _share.bind(slope, upstream)


ad.primitive_transposes[_share] = _send_back
