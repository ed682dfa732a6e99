"""Backward passes take turns, and one that starts within another leaves that one as it was.

Within a pass of the same thread, only a signal handler or a finaliser can start another.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import chain
from typing import Any

from microgradlike.support.locks import new_lock
from microgradlike.support.visits import in_topological_order

one_at_a_time = new_lock()
_going_on: list[list[Any]] = []  # the orders of the passes that are going on, each within the one before


def run_pass(propagate: Callable[[list[Any], float], None], root: Any, seed: float) -> None:
    """Call propagate(order, seed), which sets the gradients of root and all before it, when no other thread does."""
    with one_at_a_time:  # no loop in here: from Python 3.12 on, Ctrl-C in one may skip the `finally`
        order = in_topological_order(root)
        interrupted, depth = _interrupted(order) if _going_on else [], len(_going_on)
        try:
            _going_on.append(order)
            propagate(order, seed)
        finally:
            del _going_on[depth:]
            if interrupted:
                _put_back(interrupted)


def _interrupted(order: list[Any]) -> list[tuple[Any, Any]]:
    """Return the computed nodes of `order` that an outer pass is working on, with their gradients so far."""
    busy = set(chain(*_going_on))
    return [(node, node.grad) for node in order if node in busy and node.inputs]


def _put_back(grads: list[tuple[Any, Any]]) -> None:
    for node, grad in grads:
        node.grad = grad
