"""Functions of several Values: each records one node, except the softmaxes, which are made of others.

Every argument may be a plain number instead of a Value; `values` is any iterable of them.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from microgradlike import ops
from microgradlike.value import Value, apply, constant


def maximum(a: Any, b: Any) -> Value:
    """max(a, b). Where they tie, each takes half of the gradient."""
    return apply(ops.MAXIMUM, a, b)


def minimum(a: Any, b: Any) -> Value:
    """min(a, b). Where they tie, each takes half of the gradient."""
    return apply(ops.MINIMUM, a, b)


def maxout(values: Iterable[Any]) -> Value:
    """max zᵢ, the maxout activation of the weighted inputs zᵢ. Those that tie share the gradient.

    Raises ValueError for no values at all.
    """
    values = tuple(values)
    if not values:
        raise ValueError("maxout of no values: give at least one")
    return apply(ops.MAX, *values)


def sum(values: Iterable[Any]) -> Value:
    """x₁ + … + xₙ as one node, added from left to right; 0 for no values."""
    values = tuple(values)
    return apply(ops.SUM, *values) if values else constant(0.0)


def dot(w: Iterable[Any], x: Iterable[Any]) -> Value:
    """w·x = Σ wᵢxᵢ as one node. Raises ValueError where the lengths differ."""
    w, x = _pair(w, x)
    return apply(ops.DOT, *w, *x) if w else constant(0.0)


def affine(w: Iterable[Any], x: Iterable[Any], b: Any) -> Value:
    """The weighted input z = w·x + b as one node, summed as ((b + w₁x₁) + w₂x₂) + …

    Raises ValueError where the lengths of w and x differ.
    """
    w, x = _pair(w, x)
    return apply(ops.AFFINE, *w, *x, b)


def logsumexp(values: Iterable[Any]) -> Value:
    """log Σ exp xᵢ, without overflow and without losing small terms; −inf for no values."""
    values = tuple(values)
    return apply(ops.LOGSUMEXP, *values) if values else constant(float("-inf"))


def softmax(values: Iterable[Any]) -> list[Value]:
    """[exp(xᵢ) / Σⱼ exp(xⱼ)], as exp of `log_softmax`."""
    return [log_p.exp() for log_p in log_softmax(values)]


def log_softmax(values: Iterable[Any]) -> list[Value]:
    """[xᵢ − log Σⱼ exp(xⱼ)].

    It is subtracted twice. For large xᵢ the first difference is rounded, but the same for all, and the
    second one removes that, as subtracting max x would first; but where two xᵢ tie, max has a kink.
    """
    return _less_logsumexp(_less_logsumexp(values))


def _less_logsumexp(values: Iterable[Any]) -> list[Value]:
    values = tuple(values)
    total = logsumexp(values)
    return [x - total for x in values]


def _pair(w: Iterable[Any], x: Iterable[Any]) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
    w, x = tuple(w), tuple(x)
    if len(w) != len(x):
        raise ValueError(f"w·x needs as many weights as inputs, got {len(w)} weights and {len(x)} inputs")
    return w, x
