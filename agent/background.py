"""The part of the Explainer for what is examined in the background: jobs, batches, their steps; and the history."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterable, AsyncIterator, Iterable
from datetime import UTC, datetime, timedelta
from typing import Final

from agent.batches import ITEMS_MAX, Batch, BatchLog, Item, Link, Unreadable
from agent.callbacks import no_secret
from agent.duties import Duties
from agent.examining import Event, Examinations, Submission, kept, new_id, plain_name, stored
from agent.history import CasePage, Filters
from agent.joblog import CaseState, JobLog, Order
from agent.once import Once
from agent.outside import Outside
from agent.parts import Parts
from agent.queueing import Duty
from agent.retention import Purged, Retention, not_purged
from agent.settings import Settings
from agent.state import Level, Stakes
from agent.telemetry import log
from agent.verdict import CaseSummary, Report
from tools.errors import CallerError, ExpositError, NotFoundError

_POLL_S: Final = 0.3
_CLOSE_S: Final = 20.0


class Background:
    """See `agent.service.Explainer`."""

    settings: Settings
    _parts: Parts
    _cases: Examinations
    _outside: Outside | None
    _duty: asyncio.Task[Duty | None] | None = None
    _duties: Duties | None = None

    async def _with_review(self, report: Report) -> Report:
        raise NotImplementedError

    # -- jobs ------------------------------------------------------------------------------------------------------

    async def enqueue(
        self,
        submission: Submission,
        *,
        budget: Level | None = None,
        stakes: Stakes = "ordinary",
        callback: str | None = None,
        seed: str | None = None,
    ) -> CaseState:
        """Puts a picture in line to be examined, here or by another process. Once this returns, nothing loses it.

        Args:
            submission: The picture.
            budget: What it may cost; the setting's when unset.
            stakes: What hangs on the answer.
            callback: An address that is told when the case has ended.
            seed: The same seed gives the same case, however often it is handed in.

        Raises:
            TryAgainError: `queue_full`, or where the database does not answer.
            CallerError: `callback_unsigned`.
        """
        self._may_call(callback)
        sha256 = await stored(self._parts, submission.data)
        order = self._order(submission, sha256, _id(seed), self._level(budget), stakes, callback)
        await self._jobs.place(order, most=self.settings.max_queue)
        await kept(self._parts, sha256, submission.data)
        return await self.case(order.case_id, report=False)

    async def case(self, case_id: str, *, report: bool = True) -> CaseState:
        """How a case stands, with its newest report once it is done. Raises NotFoundError."""
        try:
            summary = await self._parts.store.summary(case_id)
        except NotFoundError:
            unopened = await self._jobs.unopened(case_id)
            if unopened is None:
                raise
            return unopened
        done = report and summary.status == "done"
        return await self._jobs.state(summary, await self._parts.store.report(case_id) if done else None)

    async def events(self, case_id: str, *, after: int = 0) -> AsyncIterator[Event]:
        """The steps of a case that is examined in the background, past ones first, whichever process is at it.

        The last event is `report` or `failed`. Steps are kept for a day; of a case that was not examined in the
        background there are none, and only its end is told.

        Args:
            case_id: The case.
            after: Leaves out the steps up to that position.

        Raises:
            NotFoundError: if there is no such case.
        """
        await self.case(case_id, report=False)
        while True:
            steps, ended = await self._jobs.told(case_id, after)
            for step in steps:
                after = step.position
                yield Event.model_validate(step.model_dump() | {"case_id": case_id})
            if ended:
                break
            await asyncio.sleep(_POLL_S)
        state = await self.case(case_id)
        if state.report is not None:
            told = {"report": state.report.model_dump(mode="json")}
            yield Event(kind="report", case_id=case_id, text="The report is complete.", data=told)
        elif state.problem is not None:
            yield Event(kind="failed", case_id=case_id, text=state.problem.message, data=state.problem.model_dump())

    async def queue_depth(self) -> dict[str, int]:
        """How many pictures of the queue are `queued`, and how many `running`."""
        return await self._jobs.counts()

    # -- batches ---------------------------------------------------------------------------------------------------

    async def create_batch(
        self,
        submissions: Iterable[Submission | Link | Unreadable] | AsyncIterable[Submission | Link | Unreadable],
        *,
        name: str = "",
        budget: Level | None = None,
        callback: str | None = None,
        seed: str | None = None,
    ) -> Batch:
        """Puts many pictures in line, all of them or none; each is a case of its own.

        Args:
            submissions: Files, addresses, or why one could not be taken in; taken one by one, never all held at once.
            name: What the batch is called.
            budget: What each examination may cost.
            callback: An address that is told when every item has ended.
            seed: The same seed gives the same batch, however often it is handed in.

        Raises:
            CallerError: `empty_batch`, `batch_too_long` or `callback_unsigned`.
            TryAgainError: `queue_full`, or where the database does not answer.
        """
        self._may_call(callback)
        batch_id, level = _id(seed), self._level(budget)
        items: list[Item] = []
        async for given in _each(submissions):
            if len(items) == ITEMS_MAX:
                raise CallerError(
                    f"The batch has more than {ITEMS_MAX} items.", remedy="Send several batches.", code="batch_too_long"
                )
            case_id = _id(f"{batch_id}/{len(items)}")
            if isinstance(given, Submission):
                sha256 = await stored(self._parts, given.data)
                order = self._order(given, sha256, case_id, level, "ordinary", None, batch_id, 1 + len(items))
                items.append(Item(case_id=case_id, name=order.name, order=order))
            elif isinstance(given, Link):
                items.append(Item(case_id=case_id, name=plain_name(given.name), link=given))
            else:
                items.append(Item(case_id=case_id, name=plain_name(given.name), problem=given))
        if not items:
            raise CallerError("The batch is empty.", remedy="Send at least one file or address.", code="empty_batch")
        await self._batches.create(
            batch_id, name, level, callback, items, most=self.settings.max_queue, present=self._parts.originals.exists
        )
        return await self.batch(batch_id)

    async def batch(self, batch_id: str) -> Batch:
        """A batch with its items and how far each is. Raises NotFoundError."""
        return await self._batches.batch(batch_id)

    async def batches(self, *, limit: int = 50) -> list[Batch]:
        """The newest batches first, without their items."""
        return await self._batches.batches(limit)

    # -- history ---------------------------------------------------------------------------------------------------

    async def history(self, asked: Filters | None = None, *, limit: int = 50, cursor: str | None = None) -> CasePage:
        """A page of the cases that are asked for, newest first.

        Raises:
            CallerError: if `limit` is below 1, a time has no zone, or the cursor is none.
            NotFoundError: if there is no case `similar_to`.
        """
        return await self._parts.store.page(asked or Filters(), limit=limit, cursor=cursor)

    def every(self, asked: Filters) -> AsyncIterator[CaseSummary]:
        """Every case that is asked for, newest first, without holding them all. Raises as `history` does."""
        return self._parts.store.every(asked)

    # -- keeping ---------------------------------------------------------------------------------------------------

    async def purge(self, *, older_than_days: float | None = None, case_id: str | None = None) -> Purged:
        """Deletes originals and maps of one case, or of all that are older; reports, hashes and audit rows stay.

        Raises:
            NotFoundError: if there is no such case.
            CallerError: `case_running`; `nothing_to_purge`, where neither a case nor an age is given and no policy set.
        """
        retention = Retention(self._parts.store.database, self._parts.originals, self._parts.maps)
        if case_id is not None:
            return await retention.purge(case_id=case_id, because="Somebody asked for it.")
        days = self.settings.retention_days if older_than_days is None else older_than_days
        if days is None:
            raise CallerError(
                "Nothing says what to delete.",
                remedy="Name a case or an age in days, or set EXPOSIT_RETENTION_DAYS.", code="nothing_to_purge",
            )  # fmt: skip
        return await retention.purge(
            before=datetime.now(UTC) - timedelta(days=days), because=f"It was older than {days:g} days."
        )

    async def see_kept(self, case_id: str) -> None:
        """Returns where the file and the maps of a case were not deleted. Raises NotFoundError `purged`."""
        await not_purged(self._parts.store.database, case_id)

    @property
    def once(self) -> Once:
        """What is known of repeated requests."""
        return Once(self._parts.store.database)

    # -- inside ----------------------------------------------------------------------------------------------------

    @property
    def _jobs(self) -> JobLog:
        return JobLog(self._parts.store.database, self._parts.line)

    @property
    def _batches(self) -> BatchLog:
        return BatchLog(self._parts.store.database, self._parts.line)

    def _level(self, budget: Level | None) -> Level:
        return budget or self.settings.budget

    def _may_call(self, callback: str | None) -> None:
        if callback is not None and self.settings.webhook_secret is None:
            raise no_secret()

    def _order(
        self,
        given: Submission,
        sha256: str,
        case_id: str,
        level: Level,
        stakes: Stakes,
        callback: str | None,
        batch_id: str | None = None,
        rank: int = 0,
    ) -> Order:
        return Order(
            case_id=case_id, name=plain_name(given.name), origin=given.origin, sha256=sha256, bytes=len(given.data),
            claim=given.claim, level=level, stakes=stakes, callback_url=callback, batch_id=batch_id,
            rank=rank,
        )  # fmt: skip

    def _begin_jobs(self, outside: Outside) -> None:
        """Begins to take jobs, beside everything else: the queue's library takes a second to import."""

        async def begin() -> Duty | None:
            self._duties = duties = Duties(
                self._parts, self._cases, self._jobs, self._batches, outside, state=self.case, after=self._with_review
            )
            duty = Duty(
                self._parts.line, duties.do, at_once=self.settings.workers * 2 + 2, upkeep=duties.upkeep
            )  # some more than can be examined at once, so that none waits until the queue is looked at again
            try:
                await duty.begin()
            except ExpositError as error:
                log.error("jobs_are_not_worked", code=error.code, error=error.message)
                return None
            return duty

        self._duty = asyncio.create_task(begin())

    async def until_on_duty(self) -> bool:
        """Whether this process takes jobs, once that is known."""
        return self._duty is not None and await asyncio.shield(self._duty) is not None

    async def _end_jobs(self, *, hurried: bool) -> None:
        """Takes no more jobs; those that do not end soon wait for another process, or the next start."""
        if self._duty is not None:
            duty = await self._duty
            if duty is not None and self._duties is not None:
                self._duties.closing = True
                await duty.end(0 if hurried else _CLOSE_S)


def _id(seed: str | None) -> str:
    return new_id() if seed is None else hashlib.sha256(seed.encode()).hexdigest()[:20]


async def _each(
    given: Iterable[Submission | Link | Unreadable] | AsyncIterable[Submission | Link | Unreadable],
) -> AsyncIterator[Submission | Link | Unreadable]:
    if isinstance(given, AsyncIterable):
        async for each in given:
            yield each
    else:
        for each in given:
            yield each
