"""The array program that was found in a scalar graph: run it, train it, ask it which entry is which node."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from types import FunctionType
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from microgradlike import ops
from microgradlike.matrix.build import Builder
from microgradlike.matrix.canonical import canonicalise
from microgradlike.matrix.code import compiled
from microgradlike.matrix.colours import BATCH, CONSTANT, PARAMETER
from microgradlike.matrix.match import Array, Matcher
from microgradlike.value import Value, topological_order

FloatArray = npt.NDArray[Any]


def vectorize(
    loss: Value,
    batch: Sequence[Any] = (),
    *,
    parameters: Iterable[Value] | None = None,
    dtype: Any = np.float64,
) -> Program:
    """Find the arrays in the recorded graph of `loss`, and return the program that computes it with them.

    The leaves in `batch` vary from sample to sample; all other leaves are parameters, except plain
    numbers, which stay constants.
    """
    return Program(loss, batch, parameters, dtype)


class Place(NamedTuple):
    """Where a scalar node went: the entry `index` of an array."""

    array: Array
    index: tuple[int, ...]


class Parameter:
    """An array of parameters, with its gradient after `program.backward`; optimisers take it for a Value."""

    def __init__(self, name: str, nodes: list[Value], data: FloatArray, grad: FloatArray) -> None:
        self.name, self.nodes, self._data, self._grad = name, nodes, data, grad
        self.grad: FloatArray | None = None

    @property
    def data(self) -> FloatArray:
        """The numbers. Assigning copies into place."""
        return self._data

    @data.setter
    def data(self, numbers: Any) -> None:
        if numbers is not self._data:
            self._data[...] = numbers


class Program:
    """What `vectorize` returns."""

    def __init__(self, loss: Value, batch: Sequence[Any], parameters: Any, dtype: Any) -> None:
        self.loss = loss
        self.dtype = np.dtype(dtype)
        self.arguments = _arguments(batch)
        nodes = topological_order(loss)
        present = set(nodes)
        extra = [v for argument in self.arguments for v in argument if v not in present]
        graph = canonicalise([*extra, *nodes])
        leaf = np.array(
            [PARAMETER if op is None else CONSTANT if op is ops.CONSTANT else -1 for op in graph.ops], np.int64
        )
        columns = [np.array([graph.number[v] for v in a], np.int64) for a in self.arguments]
        for numbers in columns:
            leaf[numbers] = BATCH
        matcher = Matcher(graph, leaf, columns)
        self.graph, self.arrays = graph, matcher.arrays
        self._matcher = matcher
        builder = self._builder = Builder(self.arrays, self.dtype)
        code = builder.code
        for i in range(len(columns)):
            code.given[builder.value[self.arrays[i]].base] = f"x{i}"
        number = graph.number[loss]
        self._loss_array = self.arrays[matcher.array_of[number]]
        self._loss_position = int(matcher.position[number])
        self._parameters = [a for a in self.arrays if a.kind == "parameter"]
        for array in self._parameters:
            code.shared[builder.value[array].base] = np.array([graph.nodes[i].data for i in array.entries], self.dtype)
        for array in self.arrays:
            if array.instruction is not None:
                builder.forward(array)
        losses = builder.value[self._loss_array]
        if losses.base in code.given or losses.base in code.shared:  # the loss is a leaf
            leaf_value, losses = losses, code.buffer(losses.dims, losses.varies)
            code.copy(leaf_value, losses)
        gradients = builder.backward(self.arrays, self._loss_array, self._loss_position, set(self._parameters))
        self.parameters = []
        for i, array in enumerate(self._parameters, 1):
            base = gradients[array].base
            code.shared.setdefault(base, np.zeros(array.size, self.dtype))
            self.parameters.append(
                Parameter(
                    array.name or f"p{i}",
                    [graph.nodes[i] for i in array.entries],
                    code.shared[builder.value[array].base].reshape(array.shape),
                    code.shared[base].reshape(array.shape),
                )
            )
        self._result = code.name(losses)
        names = [f"x{i}" for i in range(len(columns))]
        self._forward = compiled(code.source(names, [losses]))
        self.source = code.source(names, [losses, *gradients.values()])
        self._backward = compiled(self.source)
        self._frames: dict[int, tuple[Any, Any, FloatArray]] = {}

    def _frame(self, samples: int) -> tuple[Any, Any, FloatArray]:
        if samples not in self._frames:
            names = self._builder.code.frame(samples, 1.0 / samples if samples else 0.0)
            self._frames[samples] = FunctionType(self._forward, names), FunctionType(self._backward, names), names[self._result]
        return self._frames[samples]

    def _inputs(self, args: tuple[Any, ...]) -> tuple[int, list[FloatArray]]:
        arrays = [np.ascontiguousarray(a, self.dtype) for a in args]
        samples = len(arrays[0]) if arrays else 1
        return samples, [a.reshape(samples, -1) for a in arrays]

    def __call__(self, *args: Any) -> FloatArray:
        samples, arrays = self._inputs(args)
        forward, _, losses = self._frame(samples)
        forward(*arrays)
        return np.broadcast_to(losses[..., self._loss_position], samples).copy()

    def backward(self, *args: Any) -> FloatArray:
        samples, arrays = self._inputs(args)
        _, backward, losses = self._frame(samples)
        backward(*arrays)
        for p in self.parameters:
            p.grad = p._grad
        return np.broadcast_to(losses[..., self._loss_position], samples)

    def gradients(self, *args: Any) -> dict[str, FloatArray]:
        self.backward(*args)
        return {p.name: p._grad.copy() for p in self.parameters}


def _arguments(batch: Sequence[Any]) -> list[list[Value]]:
    if all(isinstance(v, Value) for v in batch):
        return [list(batch)] if len(batch) else []
    return [[v] if isinstance(v, Value) else _flat(v) for v in batch]


def _flat(values: Any) -> list[Value]:
    return [values] if isinstance(values, Value) else [v for inner in values for v in _flat(inner)]
