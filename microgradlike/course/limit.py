"""A time limit for a call, in any thread and on any system where CPython has threads.

A second thread waits, and then has Python raise an exception in the first one. Python does so between two steps of a
program. A single long call into C, such as `time.sleep`, can only be interrupted by hand, and that is printed.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from itertools import count
from threading import Event, Lock, Thread, get_ident
from typing import TypeVar

T = TypeVar("T")
AGAIN = 0.25  # seconds until the exception is raised again, in a program that has caught it or is in a long call
PATIENCE = 8  # so often, before a person is asked


class _OutOfTime(BaseException):
    """What ends the call; no Exception, so that `except Exception` in it does not catch it."""


def within(seconds: float, call: Callable[[], T]) -> T:
    """Return call(). Raises TimeoutError if it takes longer than so many seconds.

    Where Python has no threads or cannot raise in one (in a browser, on PyPy), there is no limit; it says so first.
    """
    thread, ended, turn = get_ident(), Event(), Lock()

    def watch() -> None:
        pause = seconds
        for attempt in count():
            if ended.wait(pause):
                return
            if attempt == PATIENCE:
                print("It is in a long call that cannot be stopped from here: interrupt it.", flush=True)
            with turn:
                if not ended.is_set():
                    _raise_in(thread, _OutOfTime)
            pause = AGAIN

    def end() -> None:
        with turn:
            ended.set()
        _raise_in(thread, None)  # takes back what has not come yet

    try:
        _raise_in(thread, None)
        Thread(target=watch, daemon=True).start()
    except (AttributeError, RuntimeError):
        print("There is no time limit here: if it does not end, interrupt it.")
        return call()
    try:
        try:
            return call()
        finally:
            end()
    except _OutOfTime:
        end()  # it may have come while `end` was at work
        raise TimeoutError(f"not done after {seconds:g} s") from None


def _raise_in(thread: int, error: type[BaseException] | None) -> None:
    """Have Python raise an exception in a thread, at its next step; None takes it back."""
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread), error and ctypes.py_object(error))
