"""Which processes that work jobs are alive: each holds a lock that the kernel, or PostgreSQL, drops when it dies.

The task library knows which process took a job and can hand the jobs of a dead one to others, but not who is dead.
Beside a SQLite file that is told by locked files; in PostgreSQL, where other machines work too, by advisory locks.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import zlib
from pathlib import Path
from typing import Any, Final, Protocol

from sqlalchemy import text
from sqlalchemy.engine import URL

from agent.database import libpq

_SPACE: Final = 0x4558504F + 2  # beside the locks that `agent.database` and `agent.threads` take
_NAME: Final = re.compile(r"[0-9a-f]{32}")


class Pulse(Protocol):
    """Tells others that this process is alive, and finds out who is not. The calls block."""

    def hold(self, name: str) -> None:
        """Begins to be alive under that name, or sees that it still is."""

    def gone(self, name: str) -> bool:
        """Whether nobody of that name is alive."""

    def release(self) -> None:
        """Ends being alive."""


def pulse(url: URL) -> Pulse:
    """The way that suits the database."""
    return _Files(Path(url.database or "")) if url.get_backend_name() == "sqlite" else _Advisory(url)


class _Files:
    """One locked file a process, in a folder beside the database."""

    def __init__(self, database: Path) -> None:
        self._folder = database.with_name(f"{database.stem}.workers")
        self._held: tuple[int, Path] | None = None

    def hold(self, name: str) -> None:
        if self._held is not None:
            return
        self._folder.mkdir(parents=True, exist_ok=True)
        path = self._folder / name
        file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        fcntl.flock(file, fcntl.LOCK_EX)
        self._held = file, path

    def gone(self, name: str) -> bool:
        if _NAME.fullmatch(name) is None:
            return True  # not one of ours: nothing of that name can hold a lock
        try:
            file = os.open(self._folder / name, os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:
            return True
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        else:
            (self._folder / name).unlink(missing_ok=True)  # names are never used twice
            return True
        finally:
            os.close(file)

    def release(self) -> None:
        if self._held is not None:
            file, path = self._held
            path.unlink(missing_ok=True)
            os.close(file)
            self._held = None


class _Advisory:
    """An advisory lock on a connection that is kept for it."""

    def __init__(self, url: URL) -> None:
        self._url = url
        self._engine: Any = None
        self._connection: Any = None

    def hold(self, name: str) -> None:
        from sqlalchemy import create_engine
        from sqlalchemy.exc import DBAPIError

        if self._connection is not None:
            try:
                self._connection.execute(text("SELECT 1"))
            except DBAPIError:  # the lock went with the connection: taken anew below
                self.release()
            else:
                return
        plain = libpq(self._url).replace("postgresql:", "postgresql+psycopg:", 1)
        self._engine = create_engine(plain, isolation_level="AUTOCOMMIT", pool_size=1, hide_parameters=True)
        self._connection = self._engine.connect()
        self._connection.execute(text("SELECT pg_advisory_lock(:space, :key)"), _key(name))

    def gone(self, name: str) -> bool:
        free = self._connection.scalar(text("SELECT pg_try_advisory_lock(:space, :key)"), _key(name))
        if free:
            self._connection.execute(text("SELECT pg_advisory_unlock(:space, :key)"), _key(name))
        return bool(free)

    def release(self) -> None:
        from sqlalchemy.exc import DBAPIError

        if self._connection is not None:
            with contextlib.suppress(DBAPIError):  # a connection that broke has dropped its locks already
                self._connection.execute(text("SELECT pg_advisory_unlock_all()"))
            self._connection.close()
            self._engine.dispose()
            self._connection = None


def _key(name: str) -> dict[str, int]:
    number = zlib.crc32(name.encode())
    return {"space": _SPACE, "key": number - 2**32 if number >= 2**31 else number}
