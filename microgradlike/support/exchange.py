"""Change something for a while, and change it back whatever happens, also where Ctrl-C comes at the worst moment.

Python delivers an interrupt between any two steps, within a `finally` too. What is undone twice is
undone completely: one interrupt spoils one of the two.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from microgradlike.support.locks import new_lock

T = TypeVar("T")


def with_undo(body: Callable[[], T], undo: Callable[[], object]) -> T:
    """Return body(), then run undo() twice: it must do no harm the second time, nor where body has not begun."""
    try:
        try:
            return body()
        finally:
            undo()
    finally:
        undo()


class Exchange:
    """Attributes (owner, name, new) that are exchanged while at least one user is in, in whatever thread.

    What is put in their place decides by itself whether its caller is one of the users.
    """

    def __init__(self, attributes: Iterable[tuple[Any, str, Any]]) -> None:
        self._attributes = list(attributes)
        self._before: list[Any] = []
        self._users: set[object] = set()
        self._lock = new_lock()  # held for a moment only: users do not wait for each other

    def enter(self, user: object) -> None:
        """Exchange the attributes, if no other user has."""
        self._users.add(user)
        with self._lock:
            if not self._before:
                self._before = [getattr(owner, name) for owner, name, _ in self._attributes]
            for owner, name, new in self._attributes:
                setattr(owner, name, new)

    def leave(self, user: object) -> None:
        """Restore the attributes, if no other user is left."""
        self._users.discard(user)
        with self._lock:
            if not self._users and self._before:
                for (owner, name, _), before in zip(self._attributes, self._before, strict=True):
                    setattr(owner, name, before)
                self._before = []
