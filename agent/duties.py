"""What a job does: examine a case, fetch an address of a batch, call back. Done twice, each has the effect of once."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Final

from sqlalchemy.ext.asyncio import AsyncSession

from agent import callbacks
from agent.batches import BatchLog
from agent.examining import Event, Examinations, Running, kept, plain_name, stored
from agent.joblog import END, CaseState, JobLog, Order, Subject, Taken
from agent.once import Once
from agent.outside import Outside
from agent.parts import Parts
from agent.queueing import Kind
from agent.retention import Retention
from agent.telemetry import log
from agent.verdict import Report
from tools.errors import CallerError, ExpositError, FetchError, TryAgainError

_FLUSH_S: Final = 0.25
_PATIENCE_S: Final = (1.0, 5.0)
_KEPT: Final = timedelta(days=1)
"""How long steps and answers to repeated requests are kept."""


class Duties:
    """The three kinds of jobs, and the upkeep.

    Args:
        parts: What is open.
        cases: Examines.
        state: How a case stands.
        after: Done with each report before anybody is told.
        outside: The way out.

    Attributes:
        closing: Set, no further examination is begun: jobs that wait for their turn are left to others.
    """

    def __init__(
        self,
        parts: Parts,
        cases: Examinations,
        jobs: JobLog,
        batches: BatchLog,
        outside: Outside,
        *,
        state: Callable[[str], Awaitable[CaseState]],
        after: Callable[[Report], Awaitable[Report]],
    ) -> None:
        self._parts, self._cases, self._jobs, self._batches = parts, cases, jobs, batches
        self._outside, self._state, self._after = outside, state, after
        self.closing = False
        # One turn is left to those who wait for an answer.
        self._turn = asyncio.Semaphore(max(1, parts.settings.workers * 2 - 1))

    async def do(self, kind: Kind, *args: str | int) -> None:
        """Does a job.

        Raises:
            TryAgainError: where the log cannot be reached; the job is to be done anew.
        """
        match kind, args:
            case "examine", (str(case_id),):
                await self._examine(case_id)
            case "fetch", (str(batch_id), int(position)):
                await self._fetch(batch_id, position)
            case "call_back", ("case" | "batch" as subject, str(subject_id), int(attempt)):
                await self._call_back(subject, subject_id, attempt)
            case _:
                raise ValueError(f"no job is called {kind} {args}")

    # -- examining -------------------------------------------------------------------------------------------------

    async def _examine(self, case_id: str) -> None:
        async with self._turn:
            if self.closing:
                raise asyncio.CancelledError
            await self._examine_now(case_id)
        await self._jobs.tell(case_id, [(END, "", {})])
        await self._ended(case_id)

    async def _examine_now(self, case_id: str) -> None:
        try:
            taken = await self._jobs.take(case_id)
        except CallerError as error:  # begun too often, or not in the log at all
            log.error("job_given_up", case_id=case_id, code=error.code)
            if error.code == "gave_up":
                await self._parts.store.fail_case(case_id, error.code, error.message)
            taken = None
        if taken is not None:
            try:
                await self._examined(taken)
            except asyncio.CancelledError:
                await self._jobs.hand_back(case_id)
                raise
            summary = await self._parts.store.summary(case_id)
            if summary.status not in ("done", "failed"):
                raise TryAgainError(f"The end of case {case_id} was not recorded.", code="unrecorded")

    async def _examined(self, taken: Taken) -> None:
        self._parts.start()
        pauses = iter(_PATIENCE_S)
        for patience in range(len(_PATIENCE_S), -1, -1):
            running = Running(
                case_id=taken.case_id, created_at=taken.created_at, level=taken.level, stakes=taken.stakes,
                name=taken.name, claim=taken.claim, queued=True, patience=patience,
            )  # fmt: skip
            if taken.attempts > 1:
                running.tell("step", "The examination begins anew: the process that ran it ended.", {"step": "again"})
            telling = asyncio.create_task(self._tell(running))
            try:
                await self._after(await self._cases.examined(running, taken.sha256))
            except TryAgainError as error:
                if not patience:
                    return
                log.warning("job_tried_again", case_id=taken.case_id, code=error.code)
            except Exception as error:  # its row says what was wrong with it
                if not isinstance(error, ExpositError):
                    log.error("job_failed", case_id=taken.case_id, error=type(error).__name__)
                return
            else:
                return
            finally:
                running.events.put_nowait(None)
                await asyncio.shield(telling)
            await asyncio.sleep(next(pauses))

    async def _tell(self, running: Running) -> None:
        """Writes the steps of a case down, some at a time."""
        open_ = True
        while open_:
            steps: list[Event] = []
            event = await running.events.get()
            if event is not None:
                await asyncio.sleep(_FLUSH_S)  # more come in the meantime
                steps.append(event)
            else:
                open_ = False
            while not running.events.empty():
                event = running.events.get_nowait()
                if event is None:
                    open_ = False
                else:
                    steps.append(event)
            try:
                steps = [each for each in steps if each.kind != "writing"]  # old by the time that it is read
                if steps:
                    await self._jobs.tell(running.case_id, [(each.kind, each.text, each.data) for each in steps])
            except ExpositError as error:  # a step that nobody sees spoils no examination
                log.warning("steps_not_written", case_id=running.case_id, code=error.code)

    async def _ended(self, case_id: str) -> None:
        """Has those told who asked for it; said twice, it is told once."""
        job = await self._jobs.job(case_id)
        if job is None:
            return
        if job.callback_url is not None:
            await self._tell_later("case", case_id, 0)
        if job.batch_id is not None:
            await self.batch_ended(job.batch_id)

    async def batch_ended(self, batch_id: str) -> None:
        """Has the end of a batch told, where it has ended and somebody asked for it."""
        if await self._batches.callback_of(batch_id) is None:
            return
        if (await self._batches.batch(batch_id, items=False)).state == "done":
            await self._tell_later("batch", batch_id, 0)

    # -- addresses -------------------------------------------------------------------------------------------------

    async def _fetch(self, batch_id: str, position: int) -> None:
        found = await self._batches.link(batch_id, position)
        if found is not None:
            link, case_id, level = found
            try:
                data, name = await self._outside.fetch(link.url)
                sha256 = await stored(self._parts, data)
                order = Order(
                    case_id=case_id, name=plain_name(name), origin="url", sha256=sha256, bytes=len(data),
                    claim=link.claim, level=level, stakes="ordinary", batch_id=batch_id, rank=1 + position,
                )  # fmt: skip
            except CallerError as error:
                await self._batches.fail_link(batch_id, position, error.code, error.message)
            else:
                await self._batches.open_link(batch_id, position, order)
                await kept(self._parts, sha256, data)
        await self.batch_ended(batch_id)

    # -- calling back ----------------------------------------------------------------------------------------------

    async def _tell_later(self, subject: Subject, subject_id: str, attempt: int) -> None:
        pause = callbacks.PAUSES_S[attempt - 1] if attempt else 0.0
        job = f"callback-{subject}-{subject_id}-{attempt}"
        queue = self._parts.line
        await queue.open()

        async def work(session: AsyncSession) -> None:
            await queue.put(session, "call_back", job, subject, subject_id, attempt, delay_s=pause)

        await self._parts.store.database.write(work)

    async def _call_back(self, subject: Subject, subject_id: str, attempt: int) -> None:
        secret = self._parts.settings.webhook_secret
        if subject == "case":
            job = await self._jobs.job(subject_id)
            url, body = job.callback_url if job else None, callbacks.of_case(await self._state(subject_id))
        else:
            url = await self._batches.callback_of(subject_id)
            body = callbacks.of_batch(await self._batches.batch(subject_id, items=False))
        if url is None or secret is None:
            log.warning("callback_dropped", subject=subject, id=subject_id, secret=secret is not None)
            return
        signed = callbacks.signature(secret.get_secret_value(), body, int(time.time()))
        headers = {"Content-Type": "application/json", callbacks.HEADER: signed, "User-Agent": "Exposit"}
        try:
            status = await self._outside.post(url, body, headers)
            problem = "" if 200 <= status < 300 else f"status_{status}"
        except FetchError as error:
            problem = error.code
        if not problem:
            log.info("callback_delivered", subject=subject, id=subject_id, attempt=attempt)
        elif attempt < len(callbacks.PAUSES_S):
            log.warning("callback_failed", subject=subject, id=subject_id, attempt=attempt, problem=problem)
            await self._tell_later(subject, subject_id, attempt + 1)
        else:
            log.error("callback_given_up", subject=subject, id=subject_id, problem=problem)

    # -- upkeep ----------------------------------------------------------------------------------------------------

    async def upkeep(self) -> None:
        """Forgets steps, answers and ended jobs after a day, and purges cases by the policy."""
        now = datetime.now(UTC)
        await self._jobs.forget(now - _KEPT)
        await Once(self._parts.store.database).forget(now - _KEPT)
        await self._parts.line.forget(int((now - _KEPT).timestamp() * 1000))
        days = self._parts.settings.retention_days
        if days is not None:
            done = await Retention(self._parts.store.database, self._parts.originals, self._parts.maps).purge(
                before=now - timedelta(days=days), because=f"The policy keeps originals and maps for {days} days."
            )
            if done.cases:
                log.info("cases_purged", cases=done.cases, files=done.files)
