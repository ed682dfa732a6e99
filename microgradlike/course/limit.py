"""A time limit for a call, in any thread and on any system where CPython has threads.

A second thread waits, and then has Python raise an exception in the first one. Python does so between two steps of a
program. A single long call into C, such as `time.sleep`, can only be interrupted by hand, and that is printed.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from contextlib import suppress
from itertools import count
from threading import Event, Lock, Thread, get_ident
from time import process_time
from typing import TypeVar

T = TypeVar("T")
WAITING = 10  # so many times the limit may pass while others compute, or while the call waits for something
AGAIN = 0.25  # seconds until the exception is raised again, in a program that has caught it or is in a long call
PATIENCE = 4  # so often, each time after twice the pause, before a person is asked


class _OutOfTime(BaseException):
    """What ends the call; no Exception, so that `except Exception` in it does not catch it."""


def within(seconds: float, call: Callable[[], T]) -> T:
    """Return call(). Raises TimeoutError if it computes for longer than so many seconds, or waits ten times as long.

    The time is that of the processor, so that an answer is judged alike where others compute on the same machine.
    Where Python has no threads or cannot raise in one (in a browser, on PyPy), there is no limit; it says so first.
    """
    thread, begun, raised, ended, turn = get_ident(), Event(), Event(), Event(), Lock()

    def watch() -> None:
        begun.wait()
        start = process_time()
        for _ in range(WAITING):
            if ended.wait(seconds):
                return
            if process_time() - start > 0.9 * seconds:
                break
        for attempt in count():
            if attempt and ended.wait(AGAIN * 2**attempt):
                return
            if attempt == PATIENCE:
                print("It is in a long call that cannot be stopped from here: interrupt it.", flush=True)
            with turn:
                if not ended.is_set():
                    raised.set()
                    _raise_in(thread)

    def end() -> None:
        with turn:
            ended.set()
        if raised.is_set():  # and may not have come yet
            with suppress(_OutOfTime):
                _raise_in(thread)  # in place of that one
                while True:
                    pass

    try:
        ctypes.pythonapi.PyThreadState_SetAsyncExc  # noqa: B018 — is there such a thing?
        Thread(target=watch, daemon=True).start()
    except (AttributeError, RuntimeError):
        print("There is no time limit here: if it does not end, interrupt it.")
        return call()
    try:
        try:
            begun.set()
            return call()
        finally:
            end()
    except _OutOfTime:
        while not ended.is_set():  # it came while `end` was at work
            with suppress(_OutOfTime):
                end()
        raise TimeoutError(f"not done after {seconds:g} s") from None


def _raise_in(thread: int) -> None:
    """Have Python raise an exception in a thread, at its next step.

    What is raised must come. To take it back by NULL leaves Python looking for it before every step, and one that
    traces instructions at the same place for ever.
    """
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread), ctypes.py_object(_OutOfTime))
