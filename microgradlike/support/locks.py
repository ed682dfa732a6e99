"""Locks that survive a fork: the child of a process never inherits one that another thread holds."""

from __future__ import annotations

import os
from itertools import count
from threading import RLock
from typing import Any, Protocol
from weakref import WeakSet, WeakValueDictionary

_locks: WeakValueDictionary[int, Any] = WeakValueDictionary()
_ages = count()
_held: list[Any] = []


def new_lock() -> Any:
    """Return a lock for one thread at a time, which that thread may take again. A fork waits until it is free.

    Of two locks that one thread holds at once, the older must be taken last: a fork takes them in that order.
    """
    lock = RLock()
    _locks[next(_ages)] = lock
    return lock


class Renewable(Protocol):
    """Something with a lock of its own, as an array program has for its buffers."""

    def renew(self) -> None:
        """Begin anew, with a lock that nobody holds."""


_renewed: WeakSet[Renewable] = WeakSet()


def renew_in_children(owner: Renewable) -> None:
    """Have owner.renew() called in every child that is forked: the threads that were busy with it are not there."""
    _renewed.add(owner)


def _before_fork() -> None:
    for _, lock in sorted(_locks.items(), reverse=True):
        lock.acquire()
        _held.append(lock)


def _after_fork() -> None:
    while _held:
        _held.pop().release()


def _after_fork_in_child() -> None:
    _after_fork()
    for owner in list(_renewed):
        owner.renew()


if hasattr(os, "register_at_fork"):  # not on Windows, which does not fork
    os.register_at_fork(before=_before_fork, after_in_parent=_after_fork, after_in_child=_after_fork_in_child)
