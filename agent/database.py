"""The way to the database: engine, transactions with retries, and migrations. What is stored is `agent.store`'s."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, TypeVar

from sqlalchemy import Connection, event, text
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine

from agent import jobrows as _jobrows  # noqa: F401  # its tables are part of the metadata
from agent.tables import Base
from tools.errors import ConfigurationError, TryAgainError

if TYPE_CHECKING:
    from alembic.config import Config

T = TypeVar("T")
MIGRATIONS = Path(__file__).with_name("migrations")
REVISION = "0006"
"""The newest migration, told here so that opening a database that is up to date need not load Alembic."""
_DRIVERS = {
    "sqlite": "sqlite+aiosqlite",
    "sqlite+aiosqlite": "sqlite+aiosqlite",
    "postgres": "postgresql+asyncpg",
    "postgresql": "postgresql+asyncpg",
    "postgresql+asyncpg": "postgresql+asyncpg",
}
_ATTEMPTS = 3
_MIGRATION_LOCK = 0x4558504F  # any number that every Exposit takes
_SQLITE_BUSY = {5, 6}  # SQLITE_BUSY, SQLITE_LOCKED
_SQLITE_DAMAGED = {11, 26}  # SQLITE_CORRUPT, SQLITE_NOTADB
_POSTGRES_BUSY = {"40001", "40P01", "55P03"}  # serialization failure, deadlock, lock not available
_POSTGRES_AWAY = ("08", "53", "57P")  # connection lost, out of resources, shutting down


class Database:
    """An open database whose tables are those of `agent.tables`. Made by `Database.open`.

    SQLite runs in WAL mode with `synchronous=FULL`: one more fsync a commit than NORMAL, without which a power cut
    could take back a verdict that was already handed out. Its writers begin with `BEGIN IMMEDIATE`, so that none finds
    out at the end that another was quicker; those of one process queue here, not in SQLite's busy handler, which
    is unfair. Readers see a snapshot and never wait.
    """

    def __init__(self, url: URL, busy_timeout_s: float) -> None:
        self.name = masked(url)
        self.is_sqlite = url.get_backend_name() == "sqlite"
        options: dict[str, Any] = {"hide_parameters": True}  # names and prompts stay out of error messages
        if self.is_sqlite:
            # The driver must not open transactions by itself: `_begin` does.
            options["connect_args"] = {"isolation_level": None, "timeout": busy_timeout_s}
        else:
            lock_timeout = f"{round(busy_timeout_s * 1000)}ms"
            options["connect_args"] = {"timeout": 10, "server_settings": {"lock_timeout": lock_timeout}}
            options["pool_pre_ping"] = True
        self._engine = create_async_engine(url, **options)
        if self.is_sqlite:
            event.listen(self._engine.sync_engine, "connect", _prepare_sqlite)
            event.listen(self._engine.sync_engine, "begin", _begin_sqlite)
            reading, writing = self._engine, self._engine.execution_options(begin="IMMEDIATE")
        else:
            reading, writing = self._engine.execution_options(isolation_level="REPEATABLE READ"), self._engine
        self._readers = async_sessionmaker(reading, expire_on_commit=False)
        self._writers = async_sessionmaker(writing, expire_on_commit=False)
        self._busy_timeout_s = busy_timeout_s
        self._turn = asyncio.Lock()
        self._running: set[asyncio.Future[Any]] = set()

    @classmethod
    async def open(cls, url: str, *, busy_timeout_s: float) -> Self:
        """Connects, and brings the tables up to date.

        Raises:
            ConfigurationError: where the URL, the folder, the credentials or the database's version will not do.
            TryAgainError: where the database does not answer or stays locked.
        """
        parsed = parse(url)
        try:
            database = cls(parsed, busy_timeout_s)
        except ModuleNotFoundError as error:
            raise ConfigurationError(
                f"The database {masked(parsed)} needs the Python package {error.name}, which is not installed.",
                remedy="Install it with: pip install 'exposit[postgres]'",
            ) from None
        try:
            await database._migrate()
        except BaseException:
            await database.close()
            raise
        return database

    async def close(self) -> None:
        """Closes all connections, once what still runs has ended."""
        await asyncio.gather(*self._running, return_exceptions=True)
        await self._engine.dispose()

    async def read(self, work: Callable[[AsyncSession], Awaitable[T]]) -> T:
        """Runs `work` in a transaction that sees one state of the database throughout."""
        return await self._whole(self._retried(work, self._readers))

    async def write(self, work: Callable[[AsyncSession], Awaitable[T]]) -> T:
        """Runs `work` in one transaction: all of it is stored, or nothing. It may be run more than once.

        Raises:
            TryAgainError: where the database stays locked or does not answer.
        """

        async def in_turn() -> T:
            async with self._one_writer() if self.is_sqlite else nullcontext():
                return await self._retried(work, self._writers)

        return await self._whole(in_turn())

    async def _whole(self, work: Coroutine[Any, Any, T]) -> T:
        """Runs `work` to its end even if the caller is cancelled.

        A driver that is cancelled in the middle of a call leaves a connection of which nobody knows whether it still
        holds a lock.
        """
        task = asyncio.ensure_future(work)
        self._running.add(task)
        task.add_done_callback(self._ended)
        return await asyncio.shield(task)

    def _ended(self, task: asyncio.Future[Any]) -> None:
        self._running.discard(task)
        if not task.cancelled():
            task.exception()  # the caller may be gone; then nobody else takes note of it

    @asynccontextmanager
    async def _one_writer(self) -> AsyncIterator[None]:
        """A place in the queue of writers; no longer in it than the head of the queue may wait for the file."""
        try:
            async with asyncio.timeout(_ATTEMPTS * self._busy_timeout_s):
                await self._turn.acquire()
        except TimeoutError as error:
            raise self._locked() from error
        try:
            yield
        finally:
            self._turn.release()

    async def _retried(
        self, work: Callable[[AsyncSession], Awaitable[T]], sessions: async_sessionmaker[AsyncSession]
    ) -> T:
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                async with sessions.begin() as session:
                    return await work(session)
            except DBAPIError as error:
                if not _is_busy(error):
                    raise self._translated(error) from error
                if attempt == _ATTEMPTS:
                    raise self._locked() from error
            except (OSError, PoolTimeoutError) as error:
                raise self._away() from error
            await asyncio.sleep(0.05 * 2**attempt)
        raise AssertionError("unreachable: the last attempt returns or raises")

    def _locked(self) -> TryAgainError:
        return TryAgainError(
            f"The database {self.name} stayed locked by another process.",
            remedy="Try again; if it goes on, see which other program holds it open.",
            code="database_locked",
        )

    def _translated(self, error: DBAPIError) -> Exception:
        """`error` in our own tree where somebody can act on it; else as it is, for it is a defect of Exposit."""
        state = getattr(error.orig, "sqlstate", None) or ""
        if error.connection_invalidated or state.startswith(_POSTGRES_AWAY):
            return self._away()
        code = getattr(error.orig, "sqlite_errorcode", 0) & 0xFF
        if self.is_sqlite and (isinstance(error, OperationalError) or code in _SQLITE_DAMAGED):
            return ConfigurationError(
                f"The database {self.name} cannot be used: {error.orig}.",
                remedy="See that the disk has room and that this user may read and write the file and its folder.",
            )
        if state.startswith("28") or state == "3D000":
            return ConfigurationError(
                f"The database {self.name} refuses this user, or does not exist (SQLSTATE {state}).",
                remedy="Check user, password and database name in EXPOSIT_DATABASE_URL.",
            )
        return error

    def _away(self) -> TryAgainError:
        return TryAgainError(
            f"The database {self.name} does not answer.",
            remedy="Try again; if it goes on, see that the database server runs and can be reached.",
            code="database_away",
        )

    async def _migrate(self) -> None:
        """Brings the tables to `REVISION`; of several processes that start at once, one does it and the rest wait."""
        if self.is_sqlite:
            await self.read(_enable_wal)

        async def current(session: AsyncSession) -> str | None:
            connection = await session.connection()
            if not await connection.run_sync(lambda c: c.dialect.has_table(c, "alembic_version")):
                return None
            revision: str | None = await session.scalar(text("SELECT version_num FROM alembic_version"))
            return revision

        async def upgraded(session: AsyncSession) -> None:
            if not self.is_sqlite:  # there, BEGIN IMMEDIATE has already locked out the others
                await session.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _MIGRATION_LOCK})
            await (await session.connection()).run_sync(upgrade)

        if await self.read(current) != REVISION:
            await self.write(upgraded)


def parse(url: str) -> URL:
    """The URL with its asynchronous driver.

    Raises:
        ConfigurationError: for a URL that Exposit cannot use. The message never holds the URL: it may hold a password.
    """
    remedy = "Use sqlite:///path/to/file.db or postgresql://user:password@host/database in EXPOSIT_DATABASE_URL."
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):
        raise ConfigurationError("The database URL cannot be read.", remedy=remedy) from None
    if parsed.drivername not in _DRIVERS:
        raise ConfigurationError(f"Exposit cannot use a database of the kind {parsed.drivername!r}.", remedy=remedy)
    parsed = parsed.set(drivername=_DRIVERS[parsed.drivername])
    if parsed.get_backend_name() == "sqlite":
        if not parsed.database or parsed.database == ":memory:" or parsed.database.startswith("file:"):
            raise ConfigurationError("The SQLite database must be a file, so that the log outlives it.", remedy=remedy)
        folder = Path(parsed.database).parent
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ConfigurationError(
                f"The folder {folder} of the database cannot be made: {error.strerror}.",
                remedy="Choose another with EXPOSIT_HOME or EXPOSIT_DATABASE_URL.",
            ) from None
    return parsed


def libpq(url: URL) -> str:
    """The URL of a PostgreSQL database as libpq reads it, password and all: asyncpg's `ssl` is its `sslmode`."""
    query = {("sslmode" if name == "ssl" else name): value for name, value in url.query.items()}
    return url.set(drivername="postgresql", query=query).render_as_string(hide_password=False)


def masked(url: URL) -> str:
    """`url` without password and options, for messages."""
    return url.set(query={}).render_as_string(hide_password=True)


def config() -> Config:
    """Alembic's configuration for the migrations that are shipped in the package."""
    from alembic.config import Config

    made = Config()
    made.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    return made


def upgrade(connection: Connection) -> None:
    """Runs the migrations that are missing, inside the transaction of `connection`.

    Raises:
        ConfigurationError: if a newer Exposit has been at this database.
    """
    from alembic import command
    from alembic.util import CommandError

    settings = config()
    settings.attributes["connection"] = connection
    try:
        command.upgrade(settings, "head")
    except CommandError as error:
        raise ConfigurationError(
            f"The tables of the database {masked(connection.engine.url)} were made by a newer version of Exposit.",
            remedy="Run that version, or restore a backup from before it.",
        ) from error


def metadata_differences(connection: Connection) -> list[Any]:
    """What Alembic would change to make the tables of `connection` those of `agent.tables`; empty if nothing."""
    from alembic.autogenerate import compare_metadata
    from alembic.migration import MigrationContext

    context = MigrationContext.configure(connection, opts={"compare_type": True, "compare_server_default": True})
    return list(compare_metadata(context, Base.metadata))


def _is_busy(error: DBAPIError) -> bool:
    code = getattr(error.orig, "sqlite_errorcode", None)
    if code is not None:
        return code & 0xFF in _SQLITE_BUSY
    return getattr(error.orig, "sqlstate", None) in _POSTGRES_BUSY


def _prepare_sqlite(connection: Any, _record: object) -> None:
    cursor = connection.cursor()
    cursor.execute("PRAGMA foreign_keys=ON")
    cursor.execute("PRAGMA synchronous=FULL")
    cursor.close()


def _begin_sqlite(connection: Connection) -> None:
    mode = connection.get_execution_options().get("begin", "DEFERRED")
    connection.exec_driver_sql(f"BEGIN {mode}")


async def _enable_wal(session: AsyncSession) -> None:
    """WAL is a property of the file and cannot be set inside a transaction, so the one just begun is ended first."""
    connection = await session.connection()
    mode = await connection.exec_driver_sql("PRAGMA journal_mode")
    if mode.scalar_one() != "wal":
        await connection.exec_driver_sql("COMMIT")
        await connection.exec_driver_sql("PRAGMA journal_mode=WAL")
