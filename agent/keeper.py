"""Keeps one program running no longer than the service that started it.

Started as `python keeper.py PROGRAM ARGUMENT...`, of the standard library alone, with the reading end of a pipe as
standard input. When the pipe closes (the service asked for it, or was killed, however hard) the program and all its
descendants are ended; when the program ends, so do they and the keeper, with the program's exit status. Descendants
that lose their parent become the keeper's own children (a "subreaper", Linux), so that none can slip away.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER = 1, 36
_GRACE_S, _LATER_S = 10.0, 2.0
_POLL_S = 0.1


def _prctl(option: int, value: int) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(option, value, 0, 0, 0)


def _close_pipe(*_: object) -> None:
    with contextlib.suppress(OSError):
        os.close(0)


def descendants(root: int) -> list[int]:
    """Every living process below `root`."""
    found, queue = [], [root]
    while queue:
        with contextlib.suppress(OSError):  # it ended meanwhile
            for file in Path(f"/proc/{queue.pop()}/task").glob("*/children"):
                children = [int(pid) for pid in file.read_text().split()]
                found += children
                queue += children
    return found


def _end(program: subprocess.Popen[bytes]) -> None:
    """Asks the program to end, then what it leaves behind, and then asks no more."""
    if program.poll() is None:
        program.terminate()
    until = time.monotonic() + _GRACE_S
    while program.poll() is None and time.monotonic() < until:
        time.sleep(_POLL_S)
    _send(signal.SIGTERM)
    until = min(until, time.monotonic() + _LATER_S)
    while _living() and time.monotonic() < until:
        time.sleep(_POLL_S)
    while _living():
        _send(signal.SIGKILL)
        time.sleep(_POLL_S / 10)


def _send(number: signal.Signals) -> None:
    for pid in descendants(os.getpid()):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)


def _living() -> bool:
    """Whether a descendant lives, once those are collected that do not."""
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    return bool(descendants(os.getpid()))


def main() -> None:
    """Runs the program."""
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _close_pipe)
    # Should the keeper itself be killed, the program is told by the kernel; the keeper has one thread, so that forking
    # with a function of Python's in between is safe.
    program = subprocess.Popen(  # noqa: S603 - the service's own command line
        sys.argv[1:], stdin=subprocess.DEVNULL, preexec_fn=lambda: _prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    )
    while program.poll() is None:
        try:
            closed, _, _ = select.select([0], [], [], 1.0)
        except (OSError, ValueError):  # closed by a signal
            break
        if closed and not os.read(0, 1):
            break
    _end(program)
    status = program.returncode if program.returncode is not None else 0
    sys.exit(status if status >= 0 else 128 - status)


if __name__ == "__main__":
    main()
