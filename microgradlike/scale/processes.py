"""Several processes on one machine that train together, and a launcher that never hangs.

The launcher starts them and watches. Where one ends before its work is done, it ends the others and says so. A
process that stands still is missed by JAX, which ends those that wait for it; a process whose launcher is gone ends
itself.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from contextlib import ExitStack
from typing import IO, Any

PROCESS = "MICROGRADLIKE_PROCESS"  # tells a process its number, how many there are, and where they meet
LOST = 3  # the exit code where a process was lost
MISSED = 10  # seconds after which a process that stands still is missed
MEET = 30  # seconds to wait for the others at the beginning


def launch(arguments: list[str], count: int) -> int:
    """Run the command of these arguments in `count` processes, and return the exit code of all.

    That of bad input is 2. Where a process ends in another way, the rest are ended, a line says which it was, and the
    code is 3: within 5 seconds where it was killed, within 30 where it stands still.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        meeting = f"127.0.0.1:{free.getsockname()[1]}"
    with ExitStack() as stack:
        said = [stack.enter_context(tempfile.TemporaryFile()) for _ in range(count)]
        codes = _run(arguments, meeting, said)
        if codes is None:
            return 130
        return _report(codes, said)


def _run(arguments: list[str], meeting: str, said: Sequence[IO[bytes]]) -> list[int] | None:
    """Return the exit codes of the workers, 0 for those that had to be ended; None after Ctrl-C."""
    workers: list[subprocess.Popen[bytes]] = []
    try:
        for i, errors in enumerate(said):
            workers.append(
                subprocess.Popen(
                    [sys.executable, "-m", "microgradlike", *arguments],
                    env=os.environ | {PROCESS: f"{i} {len(said)} {meeting}"},
                    stdin=subprocess.PIPE,  # its end tells a worker that the launcher is gone
                    stdout=None if i == 0 else subprocess.DEVNULL,
                    stderr=errors,
                    start_new_session=True,  # Ctrl-C reaches the launcher alone
                )
            )
        while None in (codes := [worker.poll() for worker in workers]) and not any(codes):
            time.sleep(0.05)
        time.sleep(0.2 if any(codes) else 0)  # who was killed, and who only noticed?
        return [worker.poll() or 0 for worker in workers]
    except KeyboardInterrupt:
        return None
    finally:
        for worker in workers:
            worker.kill()
            worker.wait()
            assert worker.stdin
            worker.stdin.close()


def _report(codes: list[int], said: Sequence[IO[bytes]]) -> int:
    """Return the exit code of all, and say what went wrong."""
    failed = [i for i, code in enumerate(codes) if code]
    if not failed:
        return 0
    first = min(failed, key=codes.__getitem__)  # a signal, which is negative, before an error
    said[first].seek(0)
    text = said[first].read().decode(errors="replace")
    if codes[first] == 2:
        print(text, end="", file=sys.stderr, flush=True)
        return 2
    how = f"was ended by signal {-codes[first]}" if codes[first] < 0 else f"failed with exit code {codes[first]}"
    if codes[first] == -signal.SIGABRT:  # by JAX
        how = "no longer heard from another"
    last = (text.strip().splitlines() or [""])[-1][:200] if codes[first] > 0 else ""
    print(
        f"Error: process {first + 1} of {len(codes)} {how}{last and f' ({last})'}, and the others were stopped. "
        "With --checkpoint, the same command goes on from the last one.",
        file=sys.stderr,
        flush=True,
    )
    return LOST


def is_worker() -> bool:
    """Return whether a launcher started this process."""
    return PROCESS in os.environ


def join() -> int:
    """Join the other processes, and return the number of this one; 0 where there are no others.

    Call it before JAX is used.
    """
    if not is_worker():
        return 0
    import jax

    number, count, meeting = os.environ[PROCESS].split()
    threading.Thread(target=_end_with_the_launcher, daemon=True).start()
    settings: dict[str, Any] = {"heartbeat_timeout_seconds": MISSED, "initialization_timeout": MEET}
    jax.distributed.initialize(meeting, int(count), int(number), **settings)
    return int(number)


def _end_with_the_launcher() -> None:
    os.read(0, 1)  # nothing is written there: it returns when the pipe is closed
    os._exit(LOST)
