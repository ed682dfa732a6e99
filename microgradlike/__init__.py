"""A scalar autodiff engine you can read in ten minutes: see `value.py` first, then `ops.py`."""

from microgradlike.custom import operation
from microgradlike.functions import (
    affine,
    dot,
    log_softmax,
    logsumexp,
    maximum,
    maxout,
    minimum,
    softmax,
    sum,
)
from microgradlike.graph import gradient, jvp
from microgradlike.value import Value, constant, topological_order

__version__ = "0.1.0"
__all__ = [
    "Value",
    "affine",
    "constant",
    "dot",
    "gradient",
    "jvp",
    "log_softmax",
    "logsumexp",
    "maximum",
    "maxout",
    "minimum",
    "operation",
    "softmax",
    "sum",
    "topological_order",
]
