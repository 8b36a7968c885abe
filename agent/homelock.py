"""Who works on a home: so that a start can tell a case that was cut off from one that another process is at."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path


class HomeLock:
    """A shared lock on a home, held for as long as this process works there; the kernel drops it when it dies.

    Args:
        home: The folder; `in-use.lock` is made in it.

    Attributes:
        alone: Whether nobody else held it when it was taken. Until `share` is called, nobody else can then take it.
    """

    def __init__(self, home: Path) -> None:
        self._file = os.open(home / "in-use.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self.alone = True
        except BlockingIOError:
            self.alone = False

    def share(self) -> None:
        """Lets others take it too. Waits while another that found itself alone has not shared yet."""
        fcntl.flock(self._file, fcntl.LOCK_SH)

    def release(self) -> None:
        """Gives it up."""
        os.close(self._file)
