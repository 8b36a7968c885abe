"""The history: cases by what is asked for, newest first, a page at a time."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any, cast

from pydantic import Field, ValidationError
from sqlalchemy import ColumnElement, Select, and_, case, exists, or_, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import defer

from agent import audit, similar
from agent.afterwards import (
    case_row,
    newest_label,
    newest_number,
    newest_p_generated,
    newest_review,
    waits_for_review,
)
from agent.database import Database
from agent.jobrows import JobRow, PurgeRow
from agent.tables import CaseRow, ImageRow
from agent.verdict import CaseSummary, Label, Similar, State
from tools.contract import Frozen
from tools.errors import CallerError

PAGE_MAX = 200


class Filters(Frozen):
    """Which cases are asked for. What is unset leaves all through.

    Attributes:
        label: Of the newest report.
        since, before: When the case was opened: not before `since`, and before `before`.
        sha256: Of the file.
        name: Part of the file's name, whatever the case of ASCII letters.
        similar_to: A case: leaves the cases of its file, and of files that look like it.
        looks_like: A perceptual hash (PDQ): leaves the cases of files that look like it, and, beside `sha256`, of that
            very file too.
        claim: Words in what is said of the picture, whatever the case of ASCII letters.
        waiting: Only those that a person should look at and nobody has.
    """

    label: Label | None = None
    state: State | None = None
    since: datetime | None = None
    before: datetime | None = None
    sha256: str | None = None
    name: str | None = None
    similar_to: str | None = None
    looks_like: str | None = None
    claim: str | None = None
    waiting: bool = False


class CasePage(Frozen):
    """A page of the history, newest first."""

    cases: tuple[CaseSummary, ...]
    next_cursor: str | None = Field(description="Pass as `cursor` for the next page; null on the last.")


class History:
    """The part of the store that lists cases. See `agent.store.Store`."""

    _database: Database

    async def cases(self, *, limit: int = 50, **asked: Any) -> list[CaseSummary]:
        """The newest cases first, with the label of their newest report; `asked` are fields of `Filters`.

        Raises:
            CallerError: if `limit` is below 1, or a time has no zone.
            NotFoundError: if there is no case `similar_to`.
        """
        return list((await self.page(Filters(**asked), limit=limit)).cases)

    async def page(self, filters: Filters, *, limit: int = 50, cursor: str | None = None) -> CasePage:
        """One page of the history. Cases that come in meanwhile neither repeat nor hide one that follows.

        Raises:
            CallerError: if `limit` is below 1, a time has no zone, or the cursor is none.
            NotFoundError: if there is no case `similar_to`.
        """
        if limit < 1:
            raise CallerError(f"The history cannot be cut to {limit} cases.", remedy="Ask for 1 or more.")
        for moment in (filters.since, filters.before):
            if moment is not None and moment.utcoffset() is None:
                raise CallerError(f"The time {moment} has no zone.", remedy="Write it as in 2025-01-31T12:00:00Z.")
            if moment is not None and not _in_utc(moment):
                raise CallerError(f"The time {moment} cannot be told in UTC.", remedy="Give a later or earlier one.")
        after = None if cursor is None else _place(cursor)

        async def work(session: AsyncSession) -> list[CaseSummary]:
            wanted = await _narrowed(session, _summaries(), filters)
            if after is not None:
                at, case_id = after
                wanted = wanted.where(
                    or_(CaseRow.created_at < at, and_(CaseRow.created_at == at, CaseRow.id < case_id))
                )
            newest = wanted.order_by(CaseRow.created_at.desc(), CaseRow.id.desc()).limit(limit + 1)
            return [_summary(*row) for row in await session.execute(newest)]

        found = await self._database.read(work)
        more = len(found) > limit
        return CasePage(cases=tuple(found[:limit]), next_cursor=_cursor(found[limit - 1]) if more else None)

    async def every(self, filters: Filters) -> AsyncIterator[CaseSummary]:
        """Every case that is asked for, newest first, without holding them all."""
        cursor = None
        while True:
            page = await self.page(filters, limit=PAGE_MAX, cursor=cursor)
            for each in page.cases:
                yield each
            cursor = page.next_cursor
            if cursor is None:
                return

    async def summary(self, case_id: str) -> CaseSummary:
        """A case as a line of the history. Raises NotFoundError."""

        async def work(session: AsyncSession) -> CaseSummary:
            found = await case_row(session, case_id)
            return _summary(*(await session.execute(_summaries().where(CaseRow.id == found.id))).one())

        return await self._database.read(work)

    async def earlier(self, case_id: str, sha256: str, pdq: str) -> tuple[Similar, ...]:
        """The same picture among earlier cases: see `agent.similar.earlier`."""
        return await self._database.read(lambda session: similar.earlier(session, case_id, sha256, pdq))


def state_of() -> ColumnElement[str]:
    """How a case stands, as a column beside `CaseRow`: `queued` is a case of the queue that nobody has begun."""
    waits = exists().where(JobRow.case_id == CaseRow.id, JobRow.started_at.is_(None)).correlate(CaseRow)
    return case((and_(CaseRow.status == "running", waits), "queued"), else_=CaseRow.status)


def _summaries() -> Select[Any]:
    purged = exists().where(PurgeRow.case_id == CaseRow.id).correlate(CaseRow)
    columns = (newest_label(), newest_p_generated(), newest_number(), newest_review(), state_of(), purged)
    wanted = select(*cast(tuple[Any, ...], (CaseRow, *columns)))
    return wanted.options(defer(CaseRow.report, raiseload=True))


async def _narrowed(session: AsyncSession, wanted: Select[Any], asked: Filters) -> Select[Any]:
    if asked.before is not None:
        wanted = wanted.where(CaseRow.created_at < asked.before)
    if asked.since is not None:
        wanted = wanted.where(CaseRow.created_at >= asked.since)
    if asked.looks_like is not None:
        alike = await similar.files_like(session, asked.sha256 or "", asked.looks_like)
        wanted = wanted.where(CaseRow.image_sha256.in_(list(alike)))
    elif asked.sha256 is not None:
        wanted = wanted.where(CaseRow.image_sha256 == asked.sha256)
    if asked.name is not None:
        wanted = wanted.where(CaseRow.name.icontains(asked.name, autoescape=True))
    if asked.label is not None:
        wanted = wanted.where(newest_label() == asked.label)
    if asked.state is not None:
        wanted = wanted.where(state_of() == asked.state)
    if asked.claim is not None:
        wanted = wanted.where(CaseRow.claim["text"].as_string().icontains(asked.claim, autoescape=True))
    if asked.similar_to is not None:
        sha256 = (await case_row(session, asked.similar_to)).image_sha256
        image = await session.get(ImageRow, sha256)
        alike = await similar.files_like(session, sha256, (image.pdq if image else None) or "")
        wanted = wanted.where(CaseRow.image_sha256.in_(list(alike)))
    if asked.waiting:
        wanted = wanted.where(waits_for_review())
    return wanted


def _summary(
    row: CaseRow, label: str | None, p: float | None, number: int, review: str | None, state: str, purged: bool
) -> CaseSummary:
    if review is None and row.review_asked is not None:
        review = "asked"
    facts = {
        "case_id": row.id, "created_at": row.created_at, "status": state, "name": row.name, "sha256": row.image_sha256,
        "label": label, "p_generated": p, "error": row.error_message, "error_code": row.error_code,
        "revision": number, "review": review, "purged": purged,
    }  # fmt: skip
    try:
        return CaseSummary.model_validate(facts)
    except ValidationError as error:
        raise audit.broken(f"The row of case {row.id} was altered: it holds what Exposit never writes.") from error


def _cursor(last: CaseSummary) -> str:
    text = json.dumps([last.created_at.isoformat(), last.case_id])
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def _in_utc(moment: datetime) -> bool:
    """Whether UTC has that time: the first and the last day of the calendar, in other zones, it has not."""
    try:
        moment.astimezone(UTC)
    except OverflowError:
        return False
    return True


def _place(cursor: str) -> tuple[datetime, str]:
    try:
        text = base64.urlsafe_b64decode(cursor.encode() + b"=" * (-len(cursor) % 4))
        at, case_id = json.loads(text)
        moment = datetime.fromisoformat(at)
        if not isinstance(case_id, str) or moment.utcoffset() is None:
            raise ValueError(cursor)
    except (binascii.Error, ValueError, TypeError) as error:
        raise CallerError(
            "The cursor is none of this history.", remedy="Pass `next_cursor` of the page before as it is.",
            code="bad_cursor",
        ) from error  # fmt: skip
    return moment, case_id
