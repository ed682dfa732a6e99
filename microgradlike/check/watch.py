"""Tell watchers what is recorded and differentiated; it costs nothing while there are none.

Whatever records a node calls `value.record`. The code of that function is exchanged while somebody
watches, so that all who have imported it are reached; likewise for `Value.backward` and `gradient`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextvars import ContextVar
from functools import partial
from types import FunctionType
from typing import Any, TypeVar

from microgradlike.graph import as_value_list, gradient
from microgradlike.support.exchange import Exchange, with_undo
from microgradlike.value import Value, record

T = TypeVar("T")


class Watcher:
    """Is told of what its thread (or task) does. What it raises comes out of there."""

    def recorded(self, node: Value) -> None:
        """Be told of a node that was just recorded, or of a constant."""

    def before_backward(self, root: Value, seed: float, wanted: list[Value] | None) -> None:
        """Be told of a backward pass before it begins; of `gradient` with the inputs that are wanted."""


watchers: ContextVar[tuple[Watcher, ...]] = ContextVar("who watches", default=())
in_gradient: ContextVar[bool] = ContextVar("whether gradient() is what records", default=False)


def watched(f: Callable[[], T], watcher: Watcher) -> T:
    """Return f(), and tell the watcher what happens meanwhile; afterwards, whatever happened, nobody is told."""
    watch, unwatch = watching(watcher)

    def body() -> T:
        watch()
        return f()

    return with_undo(body, unwatch)


def unwatched(f: Callable[[], T]) -> T:
    """Return f(), and tell nobody what happens meanwhile."""
    others = watchers.get()

    def body() -> T:
        watchers.set(())
        return f()

    return with_undo(body, partial(watchers.set, others))


def watching(watcher: Watcher) -> tuple[Callable[[], None], Callable[[], None]]:
    """Return the functions that begin to watch, and end it: the second may be called twice."""
    user, others = object(), watchers.get()

    def watch() -> None:
        _functions.enter(user)
        watchers.set((*others, watcher))

    def unwatch() -> None:
        watchers.set(others)
        _functions.leave(user)

    return watch, unwatch


# ── What stands in for the three functions. Their code runs with the names of another module: hence the imports ──


def _record(*args: Any) -> Any:
    from microgradlike.check import watch

    node = watch.originals.record(*args)
    for watcher in watch.watchers.get():
        watcher.recorded(node)
    return node


def _backward(self: Value, seed: float = 1.0) -> None:
    from microgradlike.check import watch

    for watcher in watch.watchers.get():
        watcher.before_backward(self, seed, None)
    watch.originals.backward(self, seed)


def _gradient(output: Value, inputs: Iterable[Value]) -> list[Value]:
    from microgradlike.check import watch

    return watch.watched_gradient(output, inputs)


def watched_gradient(output: Value, inputs: Iterable[Value]) -> list[Value]:
    """Tell the watchers, then return gradient(output, inputs)."""
    inputs, before = as_value_list(inputs), in_gradient.get()
    for watcher in watchers.get():
        watcher.before_backward(output, 1.0, inputs)

    def body() -> list[Value]:
        in_gradient.set(True)
        return originals.gradient(output, inputs)  # type: ignore[no-any-return]

    return with_undo(body, partial(in_gradient.set, before))


def _copy(function: Any) -> Any:
    return staticmethod(FunctionType(function.__code__, function.__globals__, function.__name__, function.__defaults__))


class originals:
    """The three functions as they are written."""

    record, backward, gradient = _copy(record), _copy(Value.backward), _copy(gradient)


_stand_ins = [(record, _record), (Value.backward, _backward), (gradient, _gradient)]
_functions = Exchange((function, "__code__", stand_in.__code__) for function, stand_in in _stand_ins)
