"""Random programs run by JAX: an expression tree of our own, evaluated with jax.numpy, differentiated by jax.grad.

Derivatives inside the loss are jax.grad within jax.grad. Needs JAX, which only the long run uses.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from functools import partial
from itertools import pairwise
from typing import Any

import jax
import jax.numpy as jnp
from programs import Leaf, Program

jax.config.update("jax_enable_x64", True)


class Number:
    """A number to be computed: function(*of)."""

    def __init__(self, function: Any, *of: Any) -> None:
        self.function, self.of = function, of

    def relu(self) -> Number:
        return Number(lambda x: jnp.where(x > 0, x, 0.0), self)

    def leaky_relu(self, slope: float = 0.1) -> Number:
        return Number(lambda x: jnp.where(x > 0, x, slope * x), self)

    def elu(self) -> Number:
        return Number(lambda x: jnp.where(x > 0, x, jnp.expm1(jnp.where(x > 0, 0.0, x))), self)


def _operator(function: Callable[..., Any]) -> Any:
    return lambda *of: Number(function, *of)


for _name in ("add", "sub", "mul", "truediv", "pow"):
    _function = getattr(operator, _name)
    setattr(Number, f"__{_name}__", _operator(_function))
    setattr(Number, f"__r{_name}__", _operator(lambda a, b, f=_function: f(b, a)))
for _name in ("exp", "log", "sqrt", "sin", "cos", "tanh"):
    setattr(Number, _name, _operator(getattr(jnp, _name)))
Number.__neg__, Number.__abs__ = _operator(operator.neg), _operator(jnp.abs)
Number.sigmoid, Number.softplus = _operator(jax.nn.sigmoid), _operator(jax.nn.softplus)


class Gradient:
    """∂output/∂inputs, all at once."""

    def __init__(self, output: Number, inputs: list[Number]) -> None:
        self.output, self.inputs = output, inputs


def gradient(output: Number, inputs: list[Number]) -> list[Number]:
    """The entries of a Gradient with respect to all leaves; and of one for each other, on which the leaves still act."""
    leaves = [v for v in dict.fromkeys(inputs) if not v.of]
    at_once = Gradient(output, leaves)
    entries = {v: Number(operator.itemgetter(i), at_once) for i, v in enumerate(leaves)}
    entries |= {v: Number(operator.itemgetter(0), Gradient(output, [v])) for v in inputs if v.of}
    return [entries[v] for v in inputs]


def evaluate(root: Any, known: dict[Any, Any]) -> Any:
    """The number of `root`, given those of the leaves."""
    numbers, stack = dict(known), [root]
    while stack:
        node = stack[-1]
        if node in numbers:
            stack.pop()
            continue
        needed = node.inputs if isinstance(node, Gradient) else node.of
        missing = [x for x in needed if isinstance(x, Number | Gradient) and x not in numbers]
        if missing:
            stack += missing
        elif isinstance(node, Gradient):
            at = [numbers[x] for x in node.inputs]
            numbers[node] = jax.grad(lambda x, n=node: evaluate(n.output, known | dict(zip(n.inputs, x, strict=True))))(
                at
            )
        else:
            numbers[node] = node.function(*[numbers[x] if isinstance(x, Number | Gradient) else x for x in node.of])
    return numbers[root]


def _dot(w: Any, x: Any, b: Any = 0.0) -> Any:
    return sum((a * c for a, c in zip(w, x, strict=True)), b)


def _logsumexp(x: Any) -> Number:
    return Number(lambda *x: jax.scipy.special.logsumexp(jnp.array(x)), *x)


def _entries(function: Callable[..., Any], x: Any) -> list[Number]:
    """The entries of a function of a vector."""
    x = list(x)
    return [Number(lambda *x, i=i: function(jnp.array(x))[i], *x) for i in range(len(x))]


def _network(parameters: Any, sizes: list[int], activation: str, output: str) -> Callable[..., Any]:
    def call(x: Any) -> Any:
        numbers = iter(parameters)
        for layer, (n, m) in enumerate(pairwise(sizes), start=1):
            sigma = output if layer == len(sizes) - 1 else activation
            z = []
            for _ in range(m):
                weights = [[next(numbers) for _ in range(n)] for _ in range(2 if sigma == "maxout" else 1)]
                biases = [next(numbers) for _ in weights]
                pieces = [_dot(w, x, b) for w, b in zip(weights, biases, strict=True)]
                z.append(Number(jnp.maximum, *pieces) if sigma == "maxout" else pieces[0])
            if sigma == "softmax":
                x = _entries(jax.nn.softmax, z)
            else:
                x = z if sigma in ("linear", "maxout") else [getattr(v, sigma)() for v in z]
        return x[0] if len(x) == 1 else x

    return call


def _squares(a: Any, y: Any) -> Any:
    a, y = ([v] if isinstance(v, Number) else v for v in (a, y))
    return sum((p - q) ** 2 for p, q in zip(a, y, strict=True)), len(a)


JAX: dict[str, Any] = {
    "affine": _dot, "dot": _dot, "sum_": sum, "logsumexp": _logsumexp, "log_softmax": partial(_entries, jax.nn.log_softmax),
    "maxout": lambda x: Number(lambda *x: jnp.max(jnp.array(x)), *x),
    "softmax": partial(_entries, jax.nn.softmax),
    "maximum": _operator(jnp.maximum), "minimum": _operator(jnp.minimum), "gradient": gradient, "network": _network,
    "quadratic": lambda a, y: 0.5 * _squares(a, y)[0],
    "mean_squared_error": lambda a, y: _squares(a, y)[0] / _squares(a, y)[1],
    "cross_entropy": lambda z, k: -_entries(jax.nn.log_softmax, z)[k],
    "cube": lambda x: x**3, "hypot": lambda a, b: (a * a + b * b + 1.0).sqrt(),
    "threshold": _operator(lambda x: jnp.where(x <= 0.25, 0.0, x)),
    "outside": _operator(lambda x: jnp.where((x < -0.5) | (x > 1.0), x * x, 0.0)),
    "inside": _operator(lambda x: jnp.where((x >= -1.0) & (x < 0.5), x, 0.0)),
    "nonzero": _operator(lambda x: jnp.where(x != 0.0, 1.0, 0.0)),
    "second_moment": lambda *x: sum(v * v for v in x) / len(x),
    "gelu": lambda x: 0.5 * x * (1.0 + (0.8 * (x + 0.05 * x**3)).tanh()), "decide": bool,
}  # fmt: skip


def loss_and_gradients(program: Program, number: Callable[[Leaf], float], k: int) -> tuple[float, dict[Leaf, float]]:
    """The k-th loss, and its gradient with respect to every leaf."""
    leaves = {leaf: Number(None) for leaf in program.leaves}
    loss = program.run(JAX, leaves.__getitem__)[k]
    numbers = {leaf: float(number(leaf)) for leaf in leaves}

    def f(x: dict[str, Any]) -> Any:
        return evaluate(loss, {v: x[str(leaf)] for leaf, v in leaves.items()})

    value, gradients = jax.value_and_grad(f)({str(leaf): x for leaf, x in numbers.items()})
    return float(value), {leaf: float(gradients[str(leaf)]) for leaf in leaves}
