"""Losses C(a, y), each in a few nodes: quadratic, mean squared error, cross-entropy, hinge.

`a` is what the network puts out, `y` the target: lists of Values or numbers, or a single one
alone. Numbers in `y` become constants labelled y₁, y₂, …; the loss is labelled C.
All raise ValueError where a and y do not fit together.
"""

from __future__ import annotations

from collections.abc import Callable
from math import inf
from numbers import Integral
from typing import Any

from microgradlike import ops
from microgradlike.functions import dot, logsumexp
from microgradlike.nn.logits import logits
from microgradlike.nn.modules import as_labelled_values
from microgradlike.value import Value


def quadratic(a: Any, y: Any) -> Value:
    """Return C = ½ ‖a − y‖², the quadratic cost of one sample (Nielsen, ch. 1, eq. 6); ∂C/∂a = a − y.

    `a` and `y` are lists of n_L entries each, or single ones. Raises ValueError where they do not fit together.
    """
    difference = [aj - yj for aj, yj in _pairs(a, y)]
    return _labelled(0.5 * dot(difference, difference))


def mean_squared_error(a: Any, y: Any) -> Value:
    """Return C = ‖a − y‖² / n, the mean over the n outputs, as PyTorch's `MSELoss`; ∂C/∂a = 2 (a − y) / n.

    `a` and `y` are lists of n entries each, or single ones. Raises ValueError where they do not fit together.
    """
    difference = [aj - yj for aj, yj in _pairs(a, y)]
    return _labelled(dot(difference, difference) / len(difference))


def cross_entropy(z: Any, y: Any) -> Value:
    """Return C = −Σⱼ yⱼ log softmax(z)ⱼ = logsumexp(z) − y·z from the logits z; ∂C/∂z = softmax(z) − y.

    `y` is the index of the class (from 0), or the classes' probabilities, which sum to 1; a one-hot
    list is such (Nielsen, ch. 3, eq. 80). A single logit is the binary case, with the probability σ(z) of class 1 and a
    y from 0 to 1: C = softplus(z) − y z; ∂C/∂z = σ(z) − y (there eq. 57).

    The logits are weighted inputs, hence the outputs of a "linear" last layer. Of the outputs of a "softmax"
    layer, and of a single "sigmoid" neuron, the logits are found in the graph and taken; likewise where
    softmax or σ is written by hand, as exp(z) / Σ exp(z) or 1 / (1 + exp(−z)).

    A class, and plain numbers for y, are recorded as differences of logits, log Σⱼ exp(zⱼ − z_y): these keep all
    digits, of 10¹⁵ as of e⁻⁴⁰. Targets that are Values, as batches need them, are recorded as the formulas above.

    Raises ValueError where z and y do not fit together, and for probabilities whose logits cannot be
    had: some outputs of a softmax, or several of σ. Warns where computed outputs sum to 1.
    """
    z = logits(as_labelled_values(z, "z"))
    if len(z) > 1 and isinstance(y, Integral) and not isinstance(y, bool):
        if not 0 <= int(y) < len(z):
            raise ValueError(f"the class index y must be from 0 to {len(z) - 1} for {len(z)} logits, got {y}")
        return _labelled(_of_class(z, int(y)))
    p = [yj for _, yj in _pairs(z, y, "; y is a class index (an int), or one probability for each logit")]
    targets = [pj._data for pj in p]
    if not (all(0 <= pj <= 1 for pj in targets) and (len(p) == 1 or abs(sum(targets) - 1) < 1e-6)):
        expected = "a number from 0 to 1 for a single logit" if len(p) == 1 else "probabilities that sum to 1"
        raise ValueError(f"y must be {expected}, got {targets}")
    if not all(pj.op is ops.CONSTANT for pj in p):
        return _labelled(logsumexp(z) - dot(p, z) if len(z) > 1 else z[0].softplus() - p[0] * z[0])
    if len(z) == 1:
        return _labelled(_binary(z[0], targets[0]))
    if 1.0 in targets:
        return _labelled(_of_class(z, targets.index(1.0)))
    mean = dot(*zip(*[(pj, zj) for pj, zj in zip(p, z, strict=True) if pj._data], strict=True))
    return _labelled(logsumexp([zj - mean for zj in z]))


def _of_class(z: list[Value], k: int) -> Value:
    """Return log Σⱼ exp(zⱼ − zₖ).

    zₖ − zₖ, which backward() visits first as it is recorded last, adds pₖ − pₖ to ∂C/∂zₖ before all else: what
    follows, −Σ pⱼ for j ≠ k, loses no digits.
    """
    differences = [zj - z[k] for j, zj in enumerate(z) if j != k]
    return logsumexp([*differences[:k], z[k] - z[k] if z[k]._data > -inf else 0.0, *differences[k:]])


def _binary(z: Value, y: float) -> Value:
    """Return −y log σ(z) − (1 − y) log σ(−z): no digits cancel."""
    if y in (0.0, 1.0):
        return (-z if y else z).softplus()
    return dot([y, 1.0 - y], [(-z).softplus(), z.softplus()])


def hinge(score: Any, y: Any) -> Value:
    """Return C = max(0, 1 − y·score) for a class y = +1 or −1; ∂C/∂score = −y within the margin, else 0.

    It is the loss of a support vector machine (Cortes and Vapnik 1995). Raises ValueError for several scores, and
    for another y.
    """
    pairs = _pairs(score, y)
    if len(pairs) != 1 or abs(pairs[0][1].data) != 1:
        raise ValueError(f"hinge expects one score and one y, +1 or −1, got y = {[yj.data for _, yj in pairs]}")
    s, target = pairs[0]
    return _labelled((1.0 - target * s).relu())


class Losses(dict[str, Callable[[Any, Any], Value]]):
    """The losses C(a, y) by name: "quadratic", "mean_squared_error", "cross_entropy" and "hinge". A dict."""


LOSSES = Losses({loss.__name__: loss for loss in (quadratic, mean_squared_error, cross_entropy, hinge)})


def _pairs(a: Any, y: Any, advice: str = "") -> list[tuple[Value, Value]]:
    a, y = as_labelled_values(a, "a"), as_labelled_values(y, "y")
    if not a or len(a) != len(y):
        raise ValueError(
            f"the loss needs as many targets as outputs, got {len(a)} outputs and {len(y)} targets{advice}"
        )
    return list(zip(a, y, strict=True))


def _labelled(loss: Value) -> Value:
    loss.label = "C"
    return loss
