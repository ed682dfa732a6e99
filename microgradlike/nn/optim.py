"""Optimisers: they change the parameters' data, against the gradients that `backward()` left in `grad`.

A parameter that no gradient has reached yet stays as it is, as in PyTorch. A step in which that is so for
all of them warns. A parameter that is listed more than once, as those of a shared layer are, takes one step.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from math import inf
from typing import Any

from microgradlike.ieee import ieee
from microgradlike.value import Value


class Optimizer:
    """What the optimisers share: the `parameters`, and the learning rate `lr`, which may be reassigned.

    Raises TypeError for anything else than a list of Values, and ValueError for a learning rate that is none.
    """

    def __init__(self, parameters: Iterable[Value], lr: float = 0.001) -> None:
        self.parameters = _parameters(parameters)
        if not 0 <= lr < inf:
            raise ValueError(f"the learning rate must be a finite number, and not negative: got {lr}")
        self.lr = lr

    def zero_grad(self) -> None:
        """Set every gradient to 0, as is due before each `backward()`."""
        for p in self.parameters:
            p.grad = 0.0

    def step(self) -> None:
        """Change every parameter by one step."""
        raise NotImplementedError(f"{type(self).__name__}.step: change p.data for every p of self.reached()")

    def reached(self) -> list[tuple[int, Value]]:
        """Return the parameters that have a gradient, each with its index. Warns if none has."""
        found = [(i, p) for i, p in enumerate(self.parameters) if p.has_grad]
        if not found:
            call = "program.backward(…)" if hasattr(self.parameters[0], "xp") else "loss.backward()"
            warnings.warn(f"no parameter has a gradient, so this step changes nothing: call {call} first", stacklevel=3)
        return found


class SGD(Optimizer):
    """Stochastic gradient descent, w → w − η ∂C/∂w with the learning rate η = `lr` (Nielsen, ch. 1, eq. 20).

    Raises TypeError for anything else than a list of Values, and ValueError for a learning rate that is none.
    """

    def step(self) -> None:
        """Change every parameter that has a gradient by −η ∂C/∂w."""
        for _, p in self.reached():
            p.data -= self.lr * p.grad


class Adam(Optimizer):
    """Adam (Kingma and Ba 2015, algorithm 1). With g = ∂C/∂w in step t, and m₀ = v₀ = 0:

        mₜ = β₁ mₜ₋₁ + (1 − β₁) g,    m̂ = mₜ / (1 − β₁ᵗ)
        vₜ = β₂ vₜ₋₁ + (1 − β₂) g²,   v̂ = vₜ / (1 − β₂ᵗ)
        w → w − lr m̂ / (√v̂ + ε)

    Each parameter counts its own steps: those in which it had a gradient.

    Raises TypeError for anything else than a list of Values, and ValueError for a learning rate, betas or an eps
    that are none.
    """

    def __init__(
        self,
        parameters: Iterable[Value],
        lr: float = 0.001,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
    ) -> None:
        super().__init__(parameters, lr)
        if not all(0 <= beta < 1 for beta in betas):
            raise ValueError(f"betas must lie from 0 to below 1, got {betas}")
        if not eps >= 0:
            raise ValueError(f"eps must not be negative, got {eps}")
        self.betas = betas
        self.eps = eps
        self._state = [(0, 0.0, 0.0)] * len(self.parameters)  # t, m and v of each parameter

    def step(self) -> None:
        """Change every parameter that has a gradient by one step of the algorithm."""
        beta1, beta2 = self.betas
        for i, p in self.reached():
            t, m, v = self._state[i]
            t += 1
            m = beta1 * m + (1 - beta1) * p.grad
            v = beta2 * v + (1 - beta2) * p.grad * p.grad
            self._state[i] = t, m, v
            xp = getattr(p, "xp", ieee)  # the parameters of an array program bring NumPy's functions
            p.data -= self.lr * xp.divide(m / (1 - beta1**t), xp.sqrt(v / (1 - beta2**t)) + self.eps)


def _parameters(given: Any) -> list[Value]:
    """Return the list of these parameters, each of them once."""
    if hasattr(given, "parameters"):
        raise TypeError(f"an optimiser takes the parameters, not the {type(given).__name__} itself: add .parameters()")
    if callable(given) and not isinstance(given, list):
        raise TypeError("an optimiser needs the list of parameters, got a function: call it, model.parameters()")
    found: list[Any] = list(given) if isinstance(given, Iterable) else [None]
    if not found or not all(hasattr(p, "data") and hasattr(p, "has_grad") for p in found):
        raise TypeError(
            "an optimiser needs the list of Values to change, as model.parameters() gives it, or [w, b]: "
            f"got {given!r:.60}"
        )
    return list({id(p): p for p in found}.values())
