"""Backpropagation in matrix form: the five steps and the four equations BP1–BP4 of the textbook, in NumPy.

    BP1   δᴸ = Jᵀ ∇ₐC, where J = ∂aᴸ/∂zᴸ;  = ∇ₐC ⊙ σ'(zᴸ) where σ acts on each neuron by itself
    BP2   δˡ = ((wˡ⁺¹)ᵀ δˡ⁺¹) ⊙ σ'(zˡ)
    BP3   ∂C/∂bˡⱼ = δˡⱼ
    BP4   ∂C/∂wˡⱼₖ = aˡ⁻¹ₖ δˡⱼ

Nothing here is shared with the scalar graph: σ, σ' and ∇ₐC are written out below in NumPy, and the
chain rule is in the equations. Where the two agree, both are right, or wrong independently in the same way.

A minibatch stands row below row, so wa is written a wᵀ, and wᵀδ is written δ w.
A maxout layer of n neurons has two weight sets, (2, n, n_in), and weighted inputs (2, n).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from microgradlike.support.extras import needed_for

with needed_for("the matrix form of backpropagation"):
    import numpy as np
    from numpy.typing import ArrayLike, NDArray

if TYPE_CHECKING:
    from microgradlike.nn.modules import MLP

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Backpropagation:
    """What `backpropagate` computes: lists with one array for each layer, the first being layer 1.

    `z`, `a` and `delta` have the shape (n_l,), or (m, n_l) for a minibatch of m samples; for maxout
    z and delta have (2, n_l) and (m, 2, n_l). `delta` is each sample's own ∂C/∂z. `grad_w` and
    `grad_b` have the shapes of the weights and biases. For a minibatch they, and `loss`, are the
    means over its samples.
    """

    z: list[Array]
    a: list[Array]
    delta: list[Array]
    grad_w: list[Array]
    grad_b: list[Array]
    loss: float


def backpropagate(
    weights: Sequence[ArrayLike],
    biases: Sequence[ArrayLike],
    activations: Sequence[str],
    x: ArrayLike,
    y: ArrayLike,
    loss: str = "quadratic",
) -> Backpropagation:
    """Compute the gradient of C with respect to all weights and biases, by the five-step algorithm (Nielsen, ch. 2).

    `weights[i]` (n_l, n_{l−1}), `biases[i]` (n_l,) and `activations[i]` are those of layer l = i + 1;
    `arrays(model)` gives them. `x` is one sample, (n_0,), or a minibatch, (m, n_0); `y` is its
    target, (n_L,) or (m, n_L), or for cross-entropy the class, () or (m,).
    `loss` is "quadratic", "mean_squared_error", "cross_entropy" (of the outputs as logits; after a
    softmax layer, or a single sigmoid neuron, of its z) or "hinge".

    Raises ValueError where shapes or names do not fit, for an activation that is none of `SIGMA`, and
    for the cross-entropy of a softmax of one.
    """
    w, b = _checked(weights, biases, activations, loss)
    one_sample = np.ndim(x) == 1
    with np.errstate(all="ignore"):  # inf and nan come and go as IEEE 754 has it, as in the scalar graph
        # 1. Input: a⁰ = x.
        a = [_rows(x, w[0].shape[-1])]
        m = len(a[0])
        y = _targets(y, m, w[-1].shape[-2], loss)

        # 2. Feedforward: zˡ = wˡ aˡ⁻¹ + bˡ, aˡ = σ(zˡ), for l = 1, …, L.
        z = []
        for wl, bl, activation in zip(w, b, activations, strict=True):
            z.append((a[-1] @ _matrix(wl).T + bl.ravel()).reshape(m, *bl.shape))
            a.append(SIGMA[activation](z[-1]))

        # 3. Output error (BP1): δᴸ = Jᵀ ∇ₐC. After softmax, ∇ₐ of the cross-entropy is −y/a, and all of
        #    Jᵀ∇ₐC collapses to a − y, the gradient with respect to the logits z; likewise after a single σ.
        if loss == "cross_entropy" and activations[-1] == ("softmax" if w[-1].shape[-2] > 1 else "sigmoid"):
            C, delta_L = LOSSES[loss](z[-1], y)
        else:
            C, gradient = LOSSES[loss](a[-1], y)
            delta_L = _transposed_jacobian(activations[-1], z[-1], a[-1], gradient)

        # 4. Backpropagate the error (BP2): δˡ = Jᵀ ((wˡ⁺¹)ᵀ δˡ⁺¹), for l = L−1, …, 1.
        delta = [delta_L]
        for i in reversed(range(len(w) - 1)):
            upstream = delta[0].reshape(m, -1) @ _matrix(w[i + 1])
            delta.insert(0, _transposed_jacobian(activations[i], z[i], a[i + 1], upstream))

        # 5. Output (BP3, BP4): ∂C/∂bˡ = δˡ and ∂C/∂wˡ = δˡ (aˡ⁻¹)ᵀ, averaged over the minibatch.
        grad_b = [d.mean(axis=0) for d in delta]
        grad_w = [
            (d.reshape(m, -1).T @ a_in / m).reshape(wl.shape) for d, a_in, wl in zip(delta, a[:-1], w, strict=True)
        ]
    if one_sample:
        z, a, delta = ([rows[0] for rows in layers] for layers in (z, a, delta))
    return Backpropagation(z, a[1:], delta, grad_w, grad_b, float(C.mean()))


def arrays(model: MLP) -> tuple[list[Array], list[Array], list[Any]]:
    """Return the (weights, biases, activations) of a network, as `backpropagate` takes them."""
    weights, biases = [], []
    for layer in model.layers:
        sets = list(zip(*(neuron.pieces() for neuron in layer.neurons), strict=True))
        w = np.array([[[p.data for p in w] for w, _ in each] for each in sets])
        b = np.array([[b.data for _, b in each] for each in sets])
        weights.append(w if len(sets) > 1 else w[0])
        biases.append(b if len(sets) > 1 else b[0])
    return weights, biases, [layer.activation for layer in model.layers]


# ── σ and σ', as the textbook has them; arrays hold one sample in each row ───────────────────────


def _sigmoid(z: Array) -> Array:
    """Compute 1 / (1 + e⁻ᶻ) = eᶻ / (1 + eᶻ): whichever does not overflow."""
    return np.where(z > 0, 1 / (1 + np.exp(-z)), np.exp(z) / (1 + np.exp(z)))


def _softmax(z: Array) -> Array:
    """Compute eᶻⱼ / Σₖ eᶻₖ, which is the same for z less its maximum."""
    e = np.exp(z - z.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)  # type: ignore[no-any-return]


def _maxout_shares(z: Array) -> Array:
    """Return 1 for the larger of z′ and z″ and 0 for the other; ½ each where they tie."""
    at_top = z == z.max(axis=1, keepdims=True)
    return at_top / at_top.sum(axis=1, keepdims=True)  # type: ignore[no-any-return]


SIGMA: dict[str, Callable[[Array], Array]] = {
    "linear": lambda z: z,
    "sigmoid": _sigmoid,
    "tanh": np.tanh,
    "relu": lambda z: np.maximum(0.0, z),
    "leaky_relu": lambda z: np.maximum(0.1 * z, z),
    "elu": lambda z: np.where(z > 0, z, np.expm1(z)),
    "maxout": lambda z: z.max(axis=1),
    "softmax": _softmax,
}

# σ'(z) of each weighted input; softmax has none, but a Jacobian. σ(−z) is 1 − σ(z) with all its digits, and
# 1/cosh² z is 1 − tanh² z.
SIGMA_PRIME: dict[str, Callable[[Array], Array]] = {
    "linear": np.ones_like,
    "sigmoid": lambda z: _sigmoid(z) * _sigmoid(-z),
    "tanh": lambda z: (1 / np.cosh(z)) ** 2,
    "relu": lambda z: np.where(z > 0, 1.0, 0.0),
    "leaky_relu": lambda z: np.where(z > 0, 1.0, 0.1),
    "elu": lambda z: np.where(z > 0, 1.0, np.exp(z)),
    "maxout": _maxout_shares,
}


def _transposed_jacobian(activation: str, z: Array, a: Array, upstream: Array) -> Array:
    """Compute Jᵀ·upstream, J = ∂a/∂z. Where σ acts on each neuron by itself, that is upstream ⊙ σ'(z)."""
    if activation == "softmax":  # ∂aᵢ/∂zⱼ = aᵢ (1 − aⱼ) for i = j, else −aᵢ aⱼ
        jacobian = a[:, :, None] * (np.eye(a.shape[1]) - a[:, None, :])
        return np.einsum("sij,si->sj", jacobian, upstream)  # type: ignore[no-any-return]
    if activation == "maxout":  # each a comes from two z
        upstream = upstream[:, None]
    return upstream * SIGMA_PRIME[activation](z)


# ── C and ∇ₐC, one row for each sample ─────────────────────────────────────────────────────────


def _quadratic(a: Array, y: Array) -> tuple[Array, Array]:
    return 0.5 * ((a - y) ** 2).sum(axis=1), a - y


def _mean_squared_error(a: Array, y: Array) -> tuple[Array, Array]:
    return ((a - y) ** 2).mean(axis=1), 2.0 * (a - y) / a.shape[1]


def _cross_entropy(z: Array, y: Array) -> tuple[Array, Array]:
    """Compute C = −y·log a and ∇C = a − y, a = softmax(z) or, for a single z, σ(z), without cancelling digits."""
    if z.shape[1] == 1:  # −y log σ(z) − (1 − y) log σ(−z)
        C = y * np.logaddexp(0, -z) + (1 - y) * np.logaddexp(0, z)
        return C[:, 0], (1 - y) * _sigmoid(z) - y * _sigmoid(-z)
    a = _softmax(z)
    others = a @ (1 - np.eye(z.shape[1]))  # 1 − aⱼ
    d = z - np.where(y == 0, 0.0, y * z).sum(axis=1, keepdims=True)
    return np.logaddexp.reduce(d, axis=1), (1 - y) * a - y * others


def _hinge(score: Array, y: Array) -> tuple[Array, Array]:
    margin = 1.0 - y * score
    return np.maximum(0.0, margin)[:, 0], np.where(margin > 0, -y, 0.0)


LOSSES = {
    "quadratic": _quadratic,
    "mean_squared_error": _mean_squared_error,
    "cross_entropy": _cross_entropy,
    "hinge": _hinge,
}


# ── Shapes ─────────────────────────────────────────────────────────────────────────────────────


def _matrix(w: Array) -> Array:
    """Return the weights as one matrix: a maxout layer's two sets, one under the other."""
    return w.reshape(-1, w.shape[-1])


def _checked(
    weights: Sequence[ArrayLike], biases: Sequence[ArrayLike], activations: Sequence[str], loss: str
) -> tuple[list[Array], list[Array]]:
    """Return the weights and biases as arrays, if they make a network. Raises ValueError otherwise."""
    if not len(weights) == len(biases) == len(activations) > 0:
        raise ValueError(
            "expected weights, biases and an activation for each layer, "
            f"got {len(weights)} weights, {len(biases)} biases and {len(activations)} activations"
        )
    if loss not in LOSSES:
        raise ValueError(f"unknown loss {loss!r}; known are {', '.join(LOSSES)}")
    ws, bs = [np.asarray(w, float) for w in weights], [np.asarray(b, float) for b in biases]
    nin = 0
    for i, (w, b, activation) in enumerate(zip(ws, bs, activations, strict=True), start=1):
        if activation not in SIGMA:
            raise ValueError(f"layer {i}: {unknown(activation)}")
        sets = (2,) if activation == "maxout" else ()
        n, n_in = w.shape[-2:] if w.ndim > 1 else (0, 0)
        nin = nin or n_in
        if not n * nin or w.shape != (*sets, n, nin) or b.shape != (*sets, n):
            of_w, of_b = ("2, n, ", "2, n") if sets else ("n, ", "n,")
            raise ValueError(
                f"layer {i} ({activation}): expected weights of the shape ({of_w}{nin or 'n_in'}) "
                f"and biases of the shape ({of_b}), got {w.shape} and {b.shape}"
            )
        nin = n
    if loss == "cross_entropy" and activations[-1] == "softmax" and nin == 1:
        raise ValueError("softmax of a single output is always 1: use sigmoid")
    return ws, bs


def unknown(activation: Any) -> str:
    """Return the message about an activation that is none of `SIGMA`."""
    name = repr(activation) if isinstance(activation, str) else f"of your own, {getattr(activation, '__name__', '?')}"
    return f"unknown activation {name}; known are {', '.join(SIGMA)}"


def _rows(x: ArrayLike, n: int) -> Array:
    """Return x with the shape (m, n_0)."""
    rows = np.asarray(x, float)
    if rows.ndim not in (1, 2) or rows.shape[-1] != n or not rows.size:
        raise ValueError(f"expected x of the shape ({n},) or (m, {n}), got {rows.shape}")
    return rows.reshape(-1, n)


def _targets(y: ArrayLike, m: int, n: int, loss: str) -> Array:
    """Return y with the shape (m, n_L); a class becomes a one-hot row."""
    given = np.asarray(y)
    if loss == "cross_entropy" and n > 1 and given.dtype.kind in "iu" and given.shape in [(m,), ()][: 1 + (m == 1)]:
        if not ((given >= 0) & (given < n)).all():
            raise ValueError(f"expected classes y from 0 to {n - 1}, got {given}")
        return np.eye(n)[given.reshape(m)]  # type: ignore[no-any-return]
    shapes = [(m, n)] + [(n,)] * (m == 1) + [(m,)] * (n == 1) + [()] * (m == n == 1)
    if given.shape not in shapes:
        raise ValueError(f"expected y of the shape {' or '.join(map(str, dict.fromkeys(shapes)))}, got {given.shape}")
    rows: Array = given.astype(float).reshape(m, n)
    if loss == "hinge" and not (n == 1 and (abs(rows) == 1).all()):
        raise ValueError(f"hinge expects one output, and each y +1 or −1, got {n} outputs and y = {given}")
    if loss == "cross_entropy" and not (
        ((rows >= 0) & (rows <= 1)).all() and (n == 1 or (abs(rows.sum(axis=1) - 1) < 1e-6).all())
    ):
        raise ValueError(f"cross-entropy expects classes, or probabilities that sum to 1, got y = {given}")
    return rows
