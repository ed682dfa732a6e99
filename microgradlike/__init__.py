"""A scalar autodiff engine you can read in ten minutes: `value.py` first, then `ops.py`."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from microgradlike.check import watch as watch  # at once, before anybody puts a backward() of their own in place
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
)
from microgradlike.functions import sum as sum  # not in __all__: a star import must not replace the built-in one
from microgradlike.graph import gradient, jvp
from microgradlike.support.extras import MissingPackage, needed_for
from microgradlike.value import Value, constant, topological_order
from microgradlike.view.explanation import explain

if TYPE_CHECKING:
    from microgradlike.check.anomaly import detect_anomaly
    from microgradlike.check.crosscheck import agreement
    from microgradlike.check.gradients import check_gradients, finite_differences
    from microgradlike.matrix import vectorize
    from microgradlike.view.dot import draw
    from microgradlike.view.page import steps

__version__ = "0.1.0"
__all__ = [
    "Value",
    "affine",
    "agreement",
    "check_gradients",
    "constant",
    "detect_anomaly",
    "dot",
    "draw",
    "explain",
    "finite_differences",
    "gradient",
    "jvp",
    "log_softmax",
    "logsumexp",
    "maximum",
    "maxout",
    "minimum",
    "operation",
    "softmax",
    "steps",
    "topological_order",
    "vectorize",
]

_loaded_when_used = {
    "agreement": "microgradlike.check.crosscheck",
    "check_gradients": "microgradlike.check.gradients",
    "detect_anomaly": "microgradlike.check.anomaly",
    "draw": "microgradlike.view.dot",
    "finite_differences": "microgradlike.check.gradients",
    "nn": "microgradlike.nn",
    "steps": "microgradlike.view.page",
    "testing": "microgradlike.testing",
    "vectorize": "microgradlike.matrix",
}


def __getattr__(name: str) -> Any:
    """Import what is not needed for the engine itself (NumPy, Graphviz, …) only when it is used."""
    if name not in _loaded_when_used:
        raise AttributeError(f"module 'microgradlike' has no attribute {name!r}")
    try:
        with needed_for(name):
            module = import_module(_loaded_when_used[name])
    except MissingPackage as missing:
        return missing  # whoever calls it is told
    return module if name in ("nn", "testing") else getattr(module, name)
