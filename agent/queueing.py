"""The durable queue: DBOS over the database of the log. What a job does is `agent.duties`.

A job is put in line in the very transaction that records what it is about, so that neither can be without the other.
Workers take jobs by an update that only one can win. The jobs of a process that died are handed to others once its
lock (`agent.liveness`) is free. DBOS calls nobody outside: that needs a key of its makers, which is never given.
"""

from __future__ import annotations

import asyncio
import functools
import logging
import threading
import uuid
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import CancelledError
from typing import TYPE_CHECKING, Any, Final, Literal

from sqlalchemy import Connection
from sqlalchemy.engine import URL
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncSession

from agent.database import libpq, masked, parse
from agent.liveness import pulse
from agent.telemetry import log
from tools.errors import ConfigurationError, TryAgainError

if TYPE_CHECKING:
    from dbos import DBOSClient

Kind = Literal["examine", "fetch", "call_back"]
_NAME: Final = "exposit"
_VERSION: Final = "1"  # of the three kinds of jobs and their arguments: a process takes no jobs of another version
_QUEUES: Final[dict[Kind, str]] = {"examine": "cases", "fetch": "links", "call_back": "callbacks"}
_POLLS_S: Final[dict[Kind, float]] = {"examine": 0.5, "fetch": 1.0, "call_back": 1.0}
_WATCH_S: Final = 5.0
_DATABASE_PAUSES: Final = (1.0, 5.0, 15.0, 60.0)


class Queue:
    """Puts jobs in line. The library is imported and its tables are made when the first job comes.

    Args:
        url: The database of the log.
    """

    def __init__(self, url: str) -> None:
        self.url = parse(url)
        self._client: DBOSClient | None = None
        self._opening = asyncio.Lock()

    async def open(self) -> None:
        """Makes the tables of the queue where they are missing. To be called before `put`, outside any transaction.

        Raises:
            TryAgainError: where the database does not answer.
        """
        async with self._opening:
            if self._client is None:
                try:
                    self._client = await asyncio.to_thread(_connected, self.url)
                except DBAPIError as error:
                    raise TryAgainError(
                        f"The queue in {masked(self.url)} cannot be opened.",
                        remedy="Try again; if it goes on, see that the database runs and this user may make tables.",
                        code="database_away",
                    ) from error

    async def put(
        self, session: AsyncSession, kind: Kind, job_id: str, *args: str | int, delay_s: float = 0.0, rank: int = 0
    ) -> None:
        """Puts a job in line within the caller's transaction. A job of an id that was ever put is put only once.

        Args:
            session: The transaction.
            kind: What is to be done.
            job_id: The job's own name.
            args: Passed to the job.
            delay_s: Seconds before it may be taken.
            rank: Jobs of a lower rank are taken first, and of one rank the older ones.
        """
        await self.put_all(session, kind, [(job_id, args, rank)], delay_s=delay_s)

    async def put_all(
        self,
        session: AsyncSession,
        kind: Kind,
        jobs: Sequence[tuple[str, tuple[str | int, ...], int]],
        *,
        delay_s: float = 0.0,
    ) -> None:
        """The same for many jobs, each with its id, its arguments and its rank."""
        if self._client is None:
            raise RuntimeError("the queue was not opened")
        client = self._client
        common: dict[str, Any] = {"queue_name": _QUEUES[kind], "workflow_name": kind}
        if delay_s:
            common["delay_seconds"] = delay_s

        def put(plain: Connection) -> None:
            for job_id, args, rank in jobs:
                options: Any = {**common, "workflow_id": job_id} | ({"priority": rank} if rank else {})
                client.enqueue_in_transaction(plain, options, *args)

        await (await session.connection()).run_sync(put)

    async def forget(self, before_ms: int) -> None:
        """Drops what the queue keeps of jobs that ended before that moment (milliseconds since 1970)."""
        from datetime import UTC, datetime

        await self.open()
        client, before = self._client, datetime.fromtimestamp(before_ms / 1000, UTC).isoformat()

        def drop() -> None:
            assert client is not None  # noqa: S101  # `open` has set it
            while ended := client.list_workflows(
                completed_before=before, status=["SUCCESS", "ERROR"], limit=500, load_input=False, load_output=False
            ):
                client.delete_workflows([each.workflow_id for each in ended])

        await asyncio.to_thread(drop)

    async def close(self) -> None:
        """Closes its connections."""
        if self._client is not None:
            await asyncio.to_thread(self._client.destroy)
            self._client = None


class Duty:
    """Takes jobs and does them, in this process. There is one a process, as the library has it.

    Args:
        queue: Where jobs stand in line.
        work: Does one job; cancelled, it leaves the job for somebody else.
        at_once: How many cases at a time.
        upkeep: Called once an hour.
    """

    def __init__(
        self,
        queue: Queue,
        work: Callable[..., Awaitable[None]],
        *,
        at_once: int,
        upkeep: Callable[[], Awaitable[None]],
        upkeep_s: float = 3600.0,
    ) -> None:
        self._queue, self._work, self._at_once = queue, work, at_once
        self._upkeep, self._upkeep_s = upkeep, upkeep_s
        self._pulse = pulse(queue.url)
        self._tasks: set[asyncio.Task[None]] = set()
        self._watch: asyncio.Task[None] | None = None
        self.name = uuid.uuid4().hex
        self.loop = asyncio.get_running_loop()
        self.ending = threading.Event()

    async def begin(self) -> None:
        """Begins to take jobs.

        Raises:
            ConfigurationError: where another Explainer of this process does so already.
            TryAgainError: where the database does not answer.
        """
        global _on_duty
        if _on_duty is not None:
            raise ConfigurationError(
                "Another Explainer of this process works jobs.", remedy="Open the second without `jobs`."
            )
        _on_duty = self
        try:
            await self._queue.open()
            await asyncio.to_thread(self._pulse.hold, self.name)
            await asyncio.to_thread(self._launch)
        except BaseException:
            _on_duty = None
            raise
        self._watch = asyncio.create_task(self._watching())

    async def end(self, grace_s: float) -> None:
        """Takes no more jobs, waits a little for those under way, and leaves the rest to others."""
        global _on_duty
        from dbos import DBOS

        self.ending.set()
        if self._watch is not None:
            self._watch.cancel()
            await asyncio.gather(self._watch, return_exceptions=True)
        leaving = asyncio.create_task(asyncio.to_thread(DBOS.destroy, workflow_completion_timeout_sec=60))
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=grace_s)
        for task in list(self._tasks):
            task.cancel()
        await leaving
        await asyncio.to_thread(self._pulse.release)
        _on_duty = None

    def _launch(self) -> None:
        from dbos import DBOS, DBOSConfig

        _register()
        config: DBOSConfig = {
            "name": _NAME,
            "system_database_url": _plain(self._queue.url),
            "application_version": _VERSION,
            "executor_id": self.name,
            "serializer": _json(),
            "log_level": "WARNING",
            "use_listen_notify": False,
            "enable_otlp": False,
            "run_migrations": False,  # `Queue.open` did
        }
        DBOS(config=config)
        _hush()
        DBOS.launch()
        bounds: dict[Kind, int] = {"examine": self._at_once, "fetch": 4, "call_back": 8}
        for kind, bound in bounds.items():
            DBOS.register_queue(
                _QUEUES[kind], worker_concurrency=bound, polling_interval_sec=_POLLS_S[kind],
                on_conflict="always_update",
            )  # fmt: skip

    async def do(self, kind: Kind, args: tuple[Any, ...]) -> None:
        """Does a job on the loop of the service."""
        task = asyncio.current_task()
        assert task is not None  # noqa: S101  # a coroutine runs in a task
        self._tasks.add(task)
        try:
            if self.ending.is_set():
                raise asyncio.CancelledError
            await self._work(kind, *args)
        finally:
            self._tasks.discard(task)

    async def _watching(self) -> None:
        """Hands on the jobs of processes that died, now and again."""
        next_upkeep = self.loop.time() + min(60.0, self._upkeep_s)
        while True:
            try:
                await asyncio.to_thread(self._rescue)
                if self.loop.time() >= next_upkeep:
                    next_upkeep = self.loop.time() + self._upkeep_s
                    await self._upkeep()
            except Exception as error:
                log.warning("queue_watch_failed", error=type(error).__name__)
            await asyncio.sleep(_WATCH_S)

    def _rescue(self) -> None:
        from dbos import DBOS

        self._pulse.hold(self.name)
        taken = DBOS.list_workflows(status="PENDING", load_input=False, load_output=False)
        for other in sorted({str(each.executor_id) for each in taken} - {self.name}):
            if self._pulse.gone(other):
                log.warning("jobs_of_a_dead_process_are_handed_on", process=other)
                DBOS._recover_pending_workflows([other])


class _Left(BaseException):
    """Ends a job without an outcome: it stays taken by this process, and is handed on when that is gone.

    No `Exception`: the library would record one as the job's outcome.
    """


_on_duty: Duty | None = None


def _do(kind: Kind, *args: Any) -> None:
    """Runs in a thread of the library."""
    pauses = iter(_DATABASE_PAUSES)
    while True:
        duty = _on_duty
        if duty is None or duty.ending.is_set():
            raise _Left
        try:
            asyncio.run_coroutine_threadsafe(duty.do(kind, args), duty.loop).result()
        except CancelledError:
            raise _Left from None
        except TryAgainError as error:  # of the log itself: how an examination ends is no error here
            log.warning("job_waits_for_the_database", kind=kind, code=error.code)
            duty.ending.wait(next(pauses, _DATABASE_PAUSES[-1]))
        except Exception as error:
            log.error("job_broke", kind=kind, error=f"{type(error).__name__}: {error}")
            raise
        else:
            return


@functools.cache
def _register() -> None:
    """Makes the jobs known to the library, once a process."""
    from dbos import DBOS

    @DBOS.workflow(name="examine")
    def examine(case_id: str) -> None:
        _do("examine", case_id)

    @DBOS.workflow(name="fetch")
    def fetch(batch_id: str, position: int) -> None:
        _do("fetch", batch_id, position)

    @DBOS.workflow(name="call_back")
    def call_back(subject: str, subject_id: str, attempt: int) -> None:
        _do("call_back", subject, subject_id, attempt)


def _connected(url: URL) -> DBOSClient:
    from dbos import DBOS, DBOSClient

    _hush()
    DBOS.migrate(_plain(url))
    return DBOSClient(
        system_database_url=_plain(url), serializer=_json(), application_name=_NAME, retry_connection_errors=False
    )


def _plain(url: URL) -> str:
    if url.get_backend_name() == "sqlite":
        return url.set(drivername="sqlite", query={}).render_as_string(hide_password=False)
    return libpq(url)


def _json() -> Any:
    """Plain JSON in the queue's tables: nothing that is read from a database is ever unpickled."""
    from dbos import DBOSPortableJSONSerializer

    return DBOSPortableJSONSerializer()


class _ToOurLog(logging.Handler):
    """What the library has to say, as a line of our log; its arguments may hold addresses, so it is kept short."""

    def emit(self, record: logging.LogRecord) -> None:
        """Writes one line."""
        error = record.exc_info[0].__name__ if record.exc_info and record.exc_info[0] else None
        log.warning("queue", text=record.getMessage()[:300], error=error)


def _hush() -> None:
    """Leads the library's log into ours."""
    logger = logging.getLogger("dbos")
    logger.propagate = False
    logger.setLevel(logging.WARNING)
    if not any(isinstance(handler, _ToOurLog) for handler in logger.handlers):
        logger.handlers = [_ToOurLog()]
