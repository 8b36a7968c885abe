"""Jobs in the log: put in line with their case, taken, handed back, told of.

A job is its case: the id is fixed when the picture is handed in, the original lies stored, the case is in the log, and
the place in the queue comes in the same transaction. A case that has ended is not examined again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Literal

from pydantic import ConfigDict, Field
from sqlalchemy import delete, exists, func, select
from sqlalchemy.ext.asyncio import AsyncSession

from agent.afterwards import case_row
from agent.database import Database
from agent.history import state_of
from agent.jobrows import BatchItemRow, EventRow, JobRow
from agent.queueing import Queue
from agent.state import Level, Stakes
from agent.stated import StatedClaim
from agent.store import NewCase, open_cases
from agent.tables import CaseRow
from agent.trail import Trail
from agent.verdict import CaseSummary, Report, State
from tools.contract import Frozen
from tools.errors import CallerError, NotFoundError, TryAgainError

ATTEMPTS: Final = 5
"""So often an examination is begun; a file that ended every process that took it is given up."""
END: Final = "end"
"""The kind of what is written after the last step of a case."""
Subject = Literal["case", "batch"]
_SOON: Final = timedelta(seconds=5)


_EXAMPLE: Final[dict[str, Any]] = {
    "case_id": "5f0c2a9d7e1b4c3a8d6e",
    "state": "queued",
    "created_at": "2026-11-21T09:30:00Z",
    "finished_at": None,
    "name": "photo.jpg",
    "sha256": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
    "batch_id": None,
    "attempts": 0,
    "problem": None,
    "purged": False,
    "report": None,
}


class Problem(Frozen):
    """Why a case has no report: the stable name of the cause, and the sentence for people."""

    code: str
    message: str


class CaseState(Frozen):
    """How a case stands, with its report once there is one.

    Attributes:
        state: `queued`, `running`, `done` or `failed`.
        problem: Why it failed.
        attempts: How often its examination was begun in the background; 0 where it was not examined there.
        report: The newest report, when it is done.
    """

    model_config = ConfigDict(json_schema_extra={"examples": [_EXAMPLE]})

    case_id: str
    state: State
    created_at: datetime
    finished_at: datetime | None = None
    name: str
    sha256: str
    batch_id: str | None = None
    attempts: int = 0
    problem: Problem | None = None
    purged: bool = Field(default=False, description="Whether the file and the maps were deleted; the report stays.")
    report: Report | None = None


class Step(Frozen):
    """A step of an examination as it was written down."""

    position: int
    kind: str
    text: str
    data: dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Order:
    """A case to be opened and examined in the background. Its original is stored already.

    Attributes:
        rank: Its rank in the queue: 0 for a picture by itself; in a batch its place from 1, so that batches that were
            handed in together share the workers, and a single picture waits for none of them.
    """

    case_id: str
    name: str
    origin: str
    sha256: str
    bytes: int
    claim: StatedClaim | None
    level: Level
    stakes: Stakes
    callback_url: str | None = None
    batch_id: str | None = None
    rank: int = 0


@dataclass(frozen=True, kw_only=True)
class Taken:
    """A job that this process examines now."""

    case_id: str
    created_at: datetime
    name: str
    sha256: str
    level: Level
    stakes: Stakes
    claim: StatedClaim | None
    attempts: int


class JobLog:
    """What the log says of jobs."""

    def __init__(self, database: Database, queue: Queue) -> None:
        self._database, self._queue = database, queue

    async def place(self, order: Order, *, most: int) -> None:
        """Opens the case and puts it in line, all or nothing. The same order twice is one case.

        Args:
            order: The case.
            most: So many cases may wait.

        Raises:
            TryAgainError: `queue_full`.
            CallerError: if a case of that id is about another file.
        """
        await self._queue.open()

        async def work(session: AsyncSession) -> None:
            log = await Trail.locked(session)
            known = await session.get(CaseRow, order.case_id)
            if known is not None:
                if known.image_sha256 != order.sha256:
                    raise CallerError(f"A case {order.case_id} exists already.", code="case_exists")
                return
            await room(session, 1, most)
            await placed(session, log, self._queue, [order], datetime.now(UTC))

        await self._database.write(work)

    async def take(self, case_id: str) -> Taken | None:
        """Begins a job; None where the case has ended. Whoever calls has got the job from the queue.

        Raises:
            NotFoundError: if there is no such case.
            CallerError: `gave_up`, where it was begun too often.
        """

        async def work(session: AsyncSession) -> Taken | None:
            case = await case_row(session, case_id)
            job = await session.get(JobRow, case_id, with_for_update=True)
            if job is None or case.status != "running":
                return None
            if job.attempts >= ATTEMPTS:
                raise CallerError(
                    f"The examination was begun {ATTEMPTS} times, and each time the process that ran it ended.",
                    remedy="Look at the file on a machine that may fail.", code="gave_up",
                )  # fmt: skip
            job.attempts += 1
            job.started_at = datetime.now(UTC)
            return Taken(
                case_id=case.id, created_at=case.created_at, name=case.name, sha256=case.image_sha256,
                level=_level(case.budget), stakes="high" if job.stakes == "high" else "ordinary",
                claim=None if case.claim is None else StatedClaim.model_validate(case.claim), attempts=job.attempts,
            )  # fmt: skip

        return await self._database.write(work)

    async def hand_back(self, case_id: str) -> None:
        """Notes that a job waits again: the process that had it was stopped in order, which is no failed attempt."""

        async def work(session: AsyncSession) -> None:
            job = await session.get(JobRow, case_id, with_for_update=True)
            if job is not None and job.started_at is not None:
                job.started_at, job.attempts = None, max(job.attempts - 1, 0)

        await self._database.write(work)

    async def job(self, case_id: str) -> JobRow | None:
        """The row of a job."""
        return await self._database.read(lambda session: session.get(JobRow, case_id))

    async def state(self, summary: CaseSummary, report: Report | None) -> CaseState:
        """How a case stands, of what the history says of it."""

        async def work(session: AsyncSession) -> tuple[datetime | None, JobRow | None]:
            ended = await session.scalar(select(CaseRow.finished_at).where(CaseRow.id == summary.case_id))
            return ended, await session.get(JobRow, summary.case_id)

        finished_at, job = await self._database.read(work)
        problem = None
        if summary.status == "failed":
            problem = Problem(code=summary.error_code or "internal", message=summary.error or "")
        return CaseState(
            case_id=summary.case_id, state=summary.status, created_at=summary.created_at, finished_at=finished_at,
            name=summary.name, sha256=summary.sha256, batch_id=job.batch_id if job else None,
            attempts=job.attempts if job else 0, problem=problem, purged=summary.purged, report=report,
        )  # fmt: skip

    async def unopened(self, case_id: str) -> CaseState | None:
        """The state of a case of a batch whose file has not been fetched yet, or could not be."""

        async def work(session: AsyncSession) -> CaseState | None:
            item = await session.scalar(select(BatchItemRow).where(BatchItemRow.case_id == case_id))
            if item is None:
                return None
            from agent.jobrows import BatchRow

            batch = await session.get_one(BatchRow, item.batch_id)
            failed = item.error_code is not None
            return CaseState(
                case_id=case_id, state="failed" if failed else "queued", created_at=batch.created_at, name=item.name,
                sha256="", batch_id=batch.id,
                problem=Problem(code=item.error_code or "", message=item.error_message or "") if failed else None,
            )  # fmt: skip

        return await self._database.read(work)

    async def counts(self) -> dict[str, int]:
        """How many pictures of the queue are `queued`, and how many `running`."""
        begun = select(func.count()).select_from(CaseRow).join(JobRow, JobRow.case_id == CaseRow.id)
        begun = begun.where(state_of() == "running")

        async def work(session: AsyncSession) -> dict[str, int]:
            return {"queued": await _waiting(session), "running": await session.scalar(begun) or 0}

        return await self._database.read(work)

    # -- steps -----------------------------------------------------------------------------------------------------

    async def tell(self, case_id: str, steps: Sequence[tuple[str, str, dict[str, Any]]]) -> None:
        """Writes down steps of a running examination: kind, text, data."""

        async def work(session: AsyncSession) -> None:
            newest = select(func.max(EventRow.position)).where(EventRow.case_id == case_id)
            last, now = await session.scalar(newest) or 0, datetime.now(UTC)
            session.add_all(
                EventRow(case_id=case_id, position=position, at=now, kind=kind, text=text, data=data)
                for position, (kind, text, data) in enumerate(steps, last + 1)
            )

        await self._database.write(work)

    async def told(self, case_id: str, after: int) -> tuple[list[Step], bool]:
        """The steps after that number, and whether there can be no more: the case has ended, and so has its telling."""
        newer = select(EventRow).where(EventRow.case_id == case_id, EventRow.position > after)

        async def work(session: AsyncSession) -> tuple[list[Step], bool]:
            case, job = await session.get(CaseRow, case_id), await session.get(JobRow, case_id)
            ended = case is not None and case.status != "running"
            if ended and job is not None and case is not None and case.finished_at is not None:
                told = exists().where(EventRow.case_id == case_id, EventRow.kind == END)
                late = case.finished_at < datetime.now(UTC) - _SOON  # its steps went by now, or who told them died
                ended = late or bool(await session.scalar(select(told)))
            if case is None:
                failed = exists().where(BatchItemRow.case_id == case_id, BatchItemRow.error_code.is_not(None))
                ended = bool(await session.scalar(select(failed)))
            rows = (await session.scalars(newer.order_by(EventRow.position))).all()
            steps = [{name: getattr(row, name) for name in Step.model_fields} for row in rows if row.kind != END]
            return [Step.model_validate(each) for each in steps], ended

        return await self._database.read(work)

    async def forget(self, before: datetime) -> None:
        """Drops steps that were written down before that moment."""

        async def work(session: AsyncSession) -> None:
            await session.execute(delete(EventRow).where(EventRow.at < before))

        await self._database.write(work)


async def placed(session: AsyncSession, log: Trail, queue: Queue, orders: Sequence[Order], now: datetime) -> None:
    """Opens the cases of orders and puts them in line, within a transaction that holds the trail.

    Their times are a microsecond apart, so that the history keeps their order.
    """
    new = [
        NewCase(
            case_id=order.case_id, name=order.name, origin=order.origin, budget=order.level, sha256=order.sha256,
            bytes=order.bytes, created_at=now + timedelta(microseconds=number), claim=order.claim,
        )
        for number, order in enumerate(orders)
    ]  # fmt: skip
    await open_cases(session, log, new)
    session.add_all(
        JobRow(
            case_id=order.case_id, queued_at=now, attempts=0, stakes=order.stakes, callback_url=order.callback_url,
            batch_id=order.batch_id,
        )
        for order in orders
    )  # fmt: skip
    await session.flush()
    jobs = [(f"case-{order.case_id}", (order.case_id,), order.rank) for order in orders]
    await queue.put_all(session, "examine", jobs)


async def room(session: AsyncSession, more: int, most: int) -> None:
    """Refuses what would make the line too long. Raises TryAgainError `queue_full`."""
    waiting = await _waiting(session)
    if waiting + more > most:
        raise TryAgainError(
            f"{waiting} pictures wait already, and no more than {most} may.",
            remedy="Try again later; whoever runs the service can add workers, or raise EXPOSIT_MAX_QUEUE.",
            code="queue_full",
        )


async def _waiting(session: AsyncSession) -> int:
    """Cases in line, and addresses of batches that have not been fetched."""
    cases = select(func.count()).select_from(CaseRow).join(JobRow, JobRow.case_id == CaseRow.id)
    cases = cases.where(state_of() == "queued")
    links = select(func.count()).select_from(BatchItemRow).outerjoin(CaseRow, CaseRow.id == BatchItemRow.case_id)
    links = links.where(BatchItemRow.url.is_not(None), BatchItemRow.error_code.is_(None), CaseRow.id.is_(None))
    return (await session.scalar(cases) or 0) + (await session.scalar(links) or 0)


def _level(text: str) -> Level:
    levels: tuple[Level, ...] = ("quick", "standard", "thorough")
    for level in levels:
        if level == text:
            return level
    raise NotFoundError(f"No examination has the budget {text!r}.")
