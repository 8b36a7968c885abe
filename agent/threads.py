"""Where the threads of conversations and reviews are kept between calls: LangGraph's checkpointer.

With SQLite it has a file of its own beside the log, so that neither waits for the other; with PostgreSQL it has its own
tables in the same database. What a thread carries is small and made of plain JSON. The log, not the thread, is the
record: a thread that is lost loses what the last question was about, and no evidence.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy.engine import URL

from agent.database import libpq, masked, parse
from tools.errors import ConfigurationError, TryAgainError

if TYPE_CHECKING:
    from langgraph.checkpoint.base import BaseCheckpointSaver

_WAIT_S: Final = 5.0
_CONNECTIONS: Final = 4
_SETUP_LOCK: Final = 0x4558504F + 1  # beside the one that `agent.database` takes


class Threads:
    """The checkpointer of one database, opened when it is first needed.

    Args:
        url: The database of the log, as in `Settings.sqlalchemy_url`.
        wait_s: Seconds to wait for a lock.
    """

    def __init__(self, url: str, *, wait_s: float = _WAIT_S) -> None:
        self._url = parse(url)
        self._wait_s = wait_s
        self._open = AsyncExitStack()
        self._opening = asyncio.Lock()
        self._saver: BaseCheckpointSaver[Any] | None = None

    @property
    def name(self) -> str:
        """Where the threads lie, for messages; without a password."""
        return str(_file(self._url)) if self._url.get_backend_name() == "sqlite" else masked(self._url)

    @asynccontextmanager
    async def saver(self) -> AsyncIterator[BaseCheckpointSaver[Any]]:
        """The checkpointer, and errors of its database in our own tree.

        Raises:
            TryAgainError: where the database stays locked or does not answer.
            ConfigurationError: where a package that the database needs is not installed, or the file cannot be used.
        """
        with_postgres = self._url.get_backend_name() != "sqlite"
        away: tuple[type[Exception], ...] = (sqlite3.DatabaseError,)
        if with_postgres:
            try:
                import psycopg
                from psycopg_pool import PoolTimeout
            except ImportError as error:
                raise ConfigurationError(
                    f"Questions about a case in {self.name} need the Python package {error.name or 'psycopg'}.",
                    remedy="Install it with: pip install 'exposit[postgres]'",
                ) from None
            away = (psycopg.OperationalError, PoolTimeout)
        try:
            async with self._opening:
                if self._saver is None:
                    self._saver = await (self._postgres() if with_postgres else self._sqlite())
            yield self._saver
        except away as error:
            raise self._translated(error) from error

    async def close(self) -> None:
        """Closes all connections."""
        async with self._opening:
            self._saver = None
            await self._open.aclose()

    async def _sqlite(self) -> BaseCheckpointSaver[Any]:
        import aiosqlite
        from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver

        async with AsyncExitStack() as stack:
            connection = await stack.enter_async_context(aiosqlite.connect(_file(self._url), timeout=self._wait_s))
            saver = AsyncSqliteSaver(connection, serde=_plain())
            await saver.setup()
            self._open = stack.pop_all()
        return saver

    async def _postgres(self) -> BaseCheckpointSaver[Any]:
        from langgraph.checkpoint.postgres.aio import AsyncPostgresSaver
        from psycopg.rows import dict_row
        from psycopg_pool import AsyncConnectionPool

        pool: AsyncConnectionPool[Any] = AsyncConnectionPool(
            libpq(self._url), min_size=1, max_size=_CONNECTIONS, timeout=self._wait_s, open=False,
            kwargs={"autocommit": True, "prepare_threshold": 0, "row_factory": dict_row},
            check=AsyncConnectionPool.check_connection,
        )  # fmt: skip
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(pool)
            saver = AsyncPostgresSaver(pool, serde=_plain())
            async with pool.connection() as connection:  # of several processes that start at once, one makes the tables
                await connection.execute("SELECT pg_advisory_lock(%s)", (_SETUP_LOCK,))
                try:
                    await saver.setup()
                finally:
                    await connection.execute("SELECT pg_advisory_unlock(%s)", (_SETUP_LOCK,))
            self._open = stack.pop_all()
        return saver

    def _translated(self, error: Exception) -> Exception:
        code = getattr(error, "sqlite_errorcode", None)
        if isinstance(error, sqlite3.DatabaseError) and (code is None or code & 0xFF not in (5, 6)):
            return ConfigurationError(
                f"The threads of conversations in {self.name} cannot be used: {error}.",
                remedy="See that the disk has room and that this user may write the file; or move it away: it holds "
                "what the last question of each case was about, and no evidence.",
            )
        locked = isinstance(error, sqlite3.DatabaseError)
        return TryAgainError(
            f"The threads of conversations in {self.name} "
            + ("stayed locked by another process." if locked else "do not answer."),
            remedy="Try again; what was examined until then is in the log.",
            code="database_locked" if locked else "database_away",
        )


def _file(url: URL) -> Path:
    path = Path(url.database or "")
    return path.with_name(f"{path.stem}.threads.db")


def _plain() -> Any:
    """A serializer that brings back plain values only, whatever hands wrote into the database."""
    from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer

    return JsonPlusSerializer(allowed_msgpack_modules=None)
