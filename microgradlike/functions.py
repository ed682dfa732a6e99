"""Functions of several Values: each records one node, except the softmaxes, which are made of others.

Every argument may be a plain number instead of a Value; `values` is any iterable of them. All raise
TypeError for what is no real number.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from microgradlike import ops
from microgradlike.value import Value, apply, constant, on_vectors

_sum, _dot, _affine, _max, _logsumexp = (
    on_vectors[op] for op in (ops.SUM, ops.DOT, ops.AFFINE, ops.MAX, ops.LOGSUMEXP)
)


def maximum(a: Any, b: Any) -> Value:
    """Return max(a, b). Where they tie, each takes half of the gradient. Raises TypeError for what is no number."""
    return apply(ops.MAXIMUM, a, b)


def minimum(a: Any, b: Any) -> Value:
    """Return min(a, b). Where they tie, each takes half of the gradient. Raises TypeError for what is no number."""
    return apply(ops.MINIMUM, a, b)


def maxout(values: Iterable[Any]) -> Value:
    """Return max zᵢ, the maxout activation of the weighted inputs zᵢ. Those that tie share the gradient.

    Source: Goodfellow et al., Maxout Networks (2013). Raises ValueError for no values at all, and TypeError
    for what is no number.
    """
    values = tuple(values)
    if not values:
        raise ValueError("maxout of no values: give at least one")
    return _max(values)


def sum(values: Iterable[Any]) -> Value:
    """Return x₁ + … + xₙ as one node, added from left to right; 0 for no values. Raises TypeError for what is no number."""
    values = tuple(values)
    return _sum(values) if values else constant(0.0)


def dot(w: Iterable[Any], x: Iterable[Any]) -> Value:
    """Return w·x = Σ wᵢxᵢ as one node. Raises ValueError where the lengths differ, TypeError for what is no number."""
    w, x = tuple(w), tuple(x)
    if len(w) != len(x):
        raise _unequal(w, x)
    return _dot(w, x) if w else constant(0.0)


def affine(w: Iterable[Any], x: Iterable[Any], b: Any) -> Value:
    """Return the weighted input z = w·x + b as one node, summed as ((b + w₁x₁) + w₂x₂) + …

    Raises ValueError where the lengths of w and x differ, and TypeError for what is no number.
    """
    w, x = tuple(w), tuple(x)
    if len(w) != len(x):
        raise _unequal(w, x)
    return _affine(w, x, b)


def logsumexp(values: Iterable[Any]) -> Value:
    """Return log Σ exp xᵢ, without overflow and without losing small terms; −inf for no values.

    Raises TypeError for what is no number.
    """
    values = tuple(values)
    return _logsumexp(values) if values else constant(float("-inf"))


def softmax(values: Iterable[Any]) -> list[Value]:
    """Return [exp(xᵢ) / Σⱼ exp(xⱼ)], one Value for each xᵢ, as exp of `log_softmax`. They add up to 1.

    Raises TypeError for what is no number.
    """
    return [log_p.exp() for log_p in log_softmax(values)]


def log_softmax(values: Iterable[Any]) -> list[Value]:
    """Return [xᵢ − log Σⱼ exp(xⱼ)], one Value for each xᵢ. Raises TypeError for what is no number."""
    # Twice: for large xᵢ the first difference is rounded, but alike for all, and the second removes that. To
    # subtract max xᵢ first would do the same, but max has a kink where two xᵢ tie.
    return _less_logsumexp(_less_logsumexp(values))


def _less_logsumexp(values: Iterable[Any]) -> list[Value]:
    values = tuple(values)
    total = logsumexp(values)
    return [x - total for x in values]


def _unequal(w: tuple[Any, ...], x: tuple[Any, ...]) -> ValueError:
    return ValueError(f"w·x needs as many weights as inputs, got {len(w)} weights and {len(x)} inputs")
