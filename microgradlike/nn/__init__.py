"""Neural networks as scalar graphs (`modules`, `losses`, `optim`), and their δ equations (`deltas`, on NumPy)."""

from microgradlike.nn.losses import LOSSES, cross_entropy, hinge, mean_squared_error, quadratic
from microgradlike.nn.modules import ACTIVATIONS, MLP, Layer, Module, Neuron
from microgradlike.nn.optim import SGD, Adam

__all__ = [
    "ACTIVATIONS",
    "LOSSES",
    "MLP",
    "SGD",
    "Adam",
    "Layer",
    "Module",
    "Neuron",
    "cross_entropy",
    "hinge",
    "mean_squared_error",
    "quadratic",
]
