"""Be told of every node that is recorded, and of every backward pass, at no cost while nobody wants to know.

Whatever records a node calls `value.record`. Its code is exchanged while somebody watches, so that all
who have imported the function are reached; likewise that of `Value.backward`.
"""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar
from types import FunctionType
from typing import Any, Protocol, TypeVar

from microgradlike.exchange import Exchange, with_undo
from microgradlike.value import Value, record

T = TypeVar("T")


class Watcher(Protocol):
    """What it raises comes out of the operation, or out of `backward()` before any gradient has changed."""

    def recorded(self, node: Value) -> None:
        """Be told of a node that was just recorded."""

    def backward(self, root: Value, seed: Any = 1.0) -> None:
        """Be told of a backward pass that is about to begin."""


watchers: ContextVar[tuple[Watcher, ...]] = ContextVar("who watches, in this thread or task", default=())


def watched(f: Callable[[], T], watcher: Watcher) -> T:
    """Return f(), and tell the watcher meanwhile what this thread does; it watches no longer, whatever happens."""
    user, others = object(), watchers.get()

    def body() -> T:
        functions.enter(user)
        watchers.set((*others, watcher))
        return f()

    def undo() -> None:
        watchers.set(others)
        functions.leave(user)

    return with_undo(body, undo)


# ── The code that stands in for the two. It runs with the names of value.py: hence the imports ────────────────


def _record_and_tell(*args: Any) -> Any:
    from microgradlike.watch import original_record, watchers

    node = original_record(*args)
    for watcher in watchers.get():
        watcher.recorded(node)
    return node


def _tell_and_go_backward(*args: Any, **kwargs: Any) -> None:
    from microgradlike.watch import original_backward, watchers

    for watcher in watchers.get():
        watcher.backward(*args, **kwargs)
    original_backward(*args, **kwargs)


def _copy(function: Any) -> Any:
    return FunctionType(function.__code__, function.__globals__, function.__name__, function.__defaults__)


original_record, original_backward = _copy(record), _copy(Value.backward)
functions = Exchange(
    [(record, "__code__", _record_and_tell.__code__), (Value.backward, "__code__", _tell_and_go_backward.__code__)]
)
