"""Batches: many files or addresses handed in together, each a case of its own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from pydantic import ConfigDict
from sqlalchemy import case, func, select
from sqlalchemy.ext.asyncio import AsyncSession

from agent.afterwards import newest_label, newest_p_generated
from agent.database import Database
from agent.history import state_of
from agent.joblog import Order, Problem, placed, room
from agent.jobrows import BatchItemRow, BatchRow
from agent.queueing import Queue
from agent.state import Level
from agent.stated import StatedClaim
from agent.tables import CaseRow, storable
from agent.trail import Trail
from agent.verdict import Label, State
from tools.contract import Fraction, Frozen
from tools.errors import NotFoundError, TryAgainError

ITEMS_MAX: Final = 500
STATES: Final[tuple[State, ...]] = ("queued", "running", "done", "failed")


class Link(Frozen):
    """An address to be fetched and examined, in place of a file."""

    url: str
    name: str = "image"
    claim: StatedClaim | None = None


class Unreadable(Frozen):
    """A file that could not even be taken in: it stands in the batch with its problem."""

    name: str
    code: str
    message: str


class BatchItem(Frozen):
    """One file or address of a batch.

    Attributes:
        position: Its place in the batch, from 0.
        case_id: Its case; None where none could be opened.
        problem: Why it has no verdict.
    """

    position: int
    name: str
    url: str | None = None
    state: State
    case_id: str | None
    label: Label | None = None
    p_generated: Fraction | None = None
    problem: Problem | None = None


_EXAMPLE: Final[dict[str, Any]] = {
    "id": "c1a7f3e05b9d4a2e8f60",
    "name": "Monday",
    "created_at": "2026-11-21T09:30:00Z",
    "budget": "quick",
    "state": "running",
    "total": 2,
    "counts": {"queued": 0, "running": 1, "done": 0, "failed": 1},
    "items": [
        {
            "position": 0, "name": "a.jpg", "url": None, "state": "running", "case_id": "5f0c2a9d7e1b4c3a8d6e",
            "label": None, "p_generated": None, "problem": None,
        },
        {
            "position": 1, "name": "b.jpg", "url": None, "state": "failed", "case_id": "0b7d9c5e2f4a4d1c9b3e",
            "label": None, "p_generated": None,
            "problem": {
                "code": "not_an_image", "message": "The file is not a picture: its first bytes are those of a text.",
            },
        },
    ],
}  # fmt: skip


class Batch(Frozen):
    """A batch and how far it is.

    Attributes:
        state: `running` until every item is done or failed, then `done`.
        counts: Items by state; every state is there.
        items: In the order they were handed in; empty in a list of batches.
    """

    model_config = ConfigDict(json_schema_extra={"examples": [_EXAMPLE]})

    id: str
    name: str
    created_at: datetime
    budget: Level
    state: State
    total: int
    counts: dict[State, int]
    items: tuple[BatchItem, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Item:
    """An item as it is put in: a stored original, an address, or a problem."""

    case_id: str
    name: str
    order: Order | None = None
    link: Link | None = None
    problem: Unreadable | None = None


class BatchLog:
    """Batches in the log."""

    def __init__(self, database: Database, queue: Queue) -> None:
        self._database, self._queue = database, queue

    async def create(
        self,
        batch_id: str,
        name: str,
        level: Level,
        callback_url: str | None,
        items: Sequence[Item],
        *,
        most: int,
        present: Callable[[str], bool],
    ) -> None:
        """Puts a whole batch in line, or nothing of it. A batch of an id that is there is left as it is.

        Raises:
            TryAgainError: `queue_full`; `original_gone`, where a purge took a file in the meantime, as `present` says.
        """
        await self._queue.open()

        async def work(session: AsyncSession) -> None:
            log = await Trail.locked(session)
            if await session.get(BatchRow, batch_id) is not None:
                return
            await room(session, sum(item.problem is None for item in items), most)
            now = datetime.now(UTC)
            session.add(
                BatchRow(id=batch_id, name=storable(name), created_at=now, budget=level, callback_url=callback_url)
            )
            await session.flush()
            orders = [item.order for item in items if item.order is not None]
            if not all(present(order.sha256) for order in orders):  # from here on no purge takes one: it waits for us
                raise TryAgainError(
                    "A file of the batch was just purged.", remedy="Send the batch again.", code="original_gone"
                )
            await placed(session, log, self._queue, orders, now)
            links = [
                (f"link-{batch_id}-{position}", (batch_id, position), 1 + position)
                for position, item in enumerate(items)
                if item.link is not None
            ]
            await self._queue.put_all(session, "fetch", links)
            session.add_all(_row(batch_id, position, item) for position, item in enumerate(items))
            await session.flush()

        await self._database.write(work)

    async def link(self, batch_id: str, position: int) -> tuple[Link, str, Level] | None:
        """An address that waits to be fetched, its case id and budget; None where that is done."""

        async def work(session: AsyncSession) -> tuple[Link, str, Level] | None:
            item = await session.get(BatchItemRow, (batch_id, position))
            if item is None or item.url is None or item.error_code is not None:
                return None
            if await session.get(CaseRow, item.case_id) is not None:
                return None
            batch = await session.get_one(BatchRow, batch_id)
            claim = None if item.claim is None else StatedClaim.model_validate(item.claim)
            level: Any = batch.budget
            return Link(url=item.url, name=item.name, claim=claim), item.case_id, level

        return await self._database.read(work)

    async def open_link(self, batch_id: str, position: int, order: Order) -> None:
        """Opens the case of an address that was fetched, and puts it in line. It had its place in the line before."""

        async def work(session: AsyncSession) -> None:
            log = await Trail.locked(session)
            if await session.get(CaseRow, order.case_id) is None:
                item = await session.get_one(BatchItemRow, (batch_id, position))
                item.name = storable(order.name)
                await placed(session, log, self._queue, [order], datetime.now(UTC))

        await self._database.write(work)

    async def fail_link(self, batch_id: str, position: int, code: str, message: str) -> None:
        """Notes why an address gave no case."""

        async def work(session: AsyncSession) -> None:
            item = await session.get_one(BatchItemRow, (batch_id, position))
            if item.error_code is None:
                item.error_code, item.error_message = code, storable(message)

        await self._database.write(work)

    async def batch(self, batch_id: str, *, items: bool = True) -> Batch:
        """A batch, with its items unless told otherwise. Raises NotFoundError."""

        async def work(session: AsyncSession) -> Batch:
            row = await session.get(BatchRow, storable(batch_id))
            if row is None:
                raise NotFoundError(f"There is no batch {batch_id!r}.", remedy="GET /v1/batches lists the batches.")
            return await _told(session, row, items=items)

        return await self._database.read(work)

    async def batches(self, limit: int) -> list[Batch]:
        """The newest batches first, without their items."""

        async def work(session: AsyncSession) -> list[Batch]:
            newest = select(BatchRow).order_by(BatchRow.created_at.desc(), BatchRow.id).limit(limit)
            return [await _told(session, row, items=False) for row in (await session.scalars(newest)).all()]

        return await self._database.read(work)

    async def callback_of(self, batch_id: str) -> str | None:
        """Where the end of a batch is told."""
        wanted = select(BatchRow.callback_url).where(BatchRow.id == batch_id)
        return await self._database.read(lambda session: session.scalar(wanted))


def _row(batch_id: str, position: int, item: Item) -> BatchItemRow:
    link, problem = item.link, item.problem
    return BatchItemRow(
        batch_id=batch_id, position=position, name=storable(item.name), case_id=item.case_id,
        url=link.url if link else None, claim=link.claim.model_dump(mode="json") if link and link.claim else None,
        error_code=problem.code if problem else None, error_message=problem.message if problem else None,
    )  # fmt: skip


def _state() -> Any:
    """How an item stands, as a column beside `BatchItemRow` and, where there is one, its `CaseRow`."""
    return case((BatchItemRow.error_code.is_not(None), "failed"), (CaseRow.id.is_(None), "queued"), else_=state_of())


async def _told(session: AsyncSession, row: BatchRow, *, items: bool) -> Batch:
    joined = BatchItemRow.case_id == CaseRow.id
    each = select(_state().label("state")).select_from(BatchItemRow).outerjoin(CaseRow, joined)
    states = each.where(BatchItemRow.batch_id == row.id).subquery()
    numbers = select(states.c.state, func.count()).group_by(states.c.state)
    found = {state: number for state, number in await session.execute(numbers)}
    counts: dict[State, int] = {state: found.get(state, 0) for state in STATES}
    listed: list[BatchItem] = []
    if items:
        columns = (BatchItemRow, _state(), newest_label(), newest_p_generated(), CaseRow.error_code,
                   CaseRow.error_message)  # fmt: skip
        wanted = select(*columns).outerjoin(CaseRow, joined).where(BatchItemRow.batch_id == row.id)
        rows = await session.execute(wanted.order_by(BatchItemRow.position))
        for item, state, label, p, code, message in rows:
            problem = None
            if state == "failed":
                code, message = item.error_code or code, item.error_message or message
                problem = Problem(code=code or "internal", message=message or "")
            listed.append(
                BatchItem(
                    position=item.position, name=item.name, url=item.url, state=state,
                    case_id=None if item.error_code else item.case_id, label=label, p_generated=p, problem=problem,
                )
            )  # fmt: skip
    budget: Any = row.budget
    ended = counts["queued"] == counts["running"] == 0
    return Batch(
        id=row.id, name=row.name, created_at=row.created_at, budget=budget, state="done" if ended else "running",
        total=sum(counts.values()), counts=counts, items=tuple(listed),
    )  # fmt: skip
