"""What is added to a case after its first report: questions and answers, later reports, reviews, replays.

Rows are only ever added. Each goes in with its audit row, in one transaction.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Final, Literal, TypeVar

from pydantic import TypeAdapter, ValidationError
from sqlalchemy import ColumnElement, ScalarSelect, exists, func, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import InstrumentedAttribute

from agent import audit, trail
from agent.database import Database
from agent.drawn import maps_of
from agent.tables import CaseRow, MapRow, MessageRow, ReviewRow, RevisionRow, storable
from agent.trail import Trail
from agent.verdict import Label, Report, Writer
from tools.contract import Fraction, Frozen, Number
from tools.errors import CallerError, IntegrityError, NotFoundError, TryAgainError

T = TypeVar("T")
ReviewKind = Literal["confirm", "override", "annotate"]
PersonsLabel = Literal["generated", "edited", "laundered", "photograph", "no_evidence", "authentic", "inconclusive"]
"""What a person may say. `photograph` is a person's word alone: no tool can say that a picture is one."""
_LABEL: Final[TypeAdapter[Label]] = TypeAdapter(Label)


class Message(Frozen):
    """A question about a case, or the answer to one."""

    case_id: str
    at: datetime
    role: Literal["user", "assistant"]
    text: str
    cites: tuple[str, ...]
    writer: Writer | None


class ReportVersion(Frozen):
    """One report of a case.

    Attributes:
        because: What brought it about; for the first, the examination itself.
    """

    revision: int
    at: datetime
    because: str
    label: Label
    p_generated: Fraction
    p_edited: Fraction | None


class Review(Frozen):
    """What a person said of a case. It stands beside the machine's verdict and replaces nothing.

    Attributes:
        label: What the person says the picture is: on `confirm` the machine's label, on `override` another, on
            `annotate` none.
        revision: The report that was before the reviewer, and `machine` its label.
    """

    case_id: str
    at: datetime
    reviewer: str
    kind: ReviewKind
    label: PersonsLabel | None
    reason: str
    revision: int
    machine: Label


class Afterwards:
    """The part of the store for what comes after a first report. See `agent.store.Store`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    # -- questions and answers -----------------------------------------------------------------------------------

    async def add_message(
        self,
        case_id: str,
        role: Literal["user", "assistant"],
        text: str,
        cites: Iterable[str] = (),
        writer: Writer | None = None,
    ) -> None:
        """Adds a question about a case, or an answer.

        Raises:
            NotFoundError: if there is no such case.
        """
        row = {
            "role": role,
            "text": storable(text),
            "cites": list(cites),
            "writer": None if writer is None else writer.model_dump(mode="json"),
        }

        async def work(session: AsyncSession) -> None:
            log = await Trail.locked(session)
            message = MessageRow(case_id=(await case_row(session, case_id)).id, at=datetime.now(UTC), **row)
            session.add(message)
            await session.flush()
            log.append("message_added", case_id, trail.said(message))

        await self._database.write(work)

    async def messages(self, case_id: str) -> list[Message]:
        """The messages of a case, oldest first.

        Raises:
            NotFoundError: if there is no such case.
        """

        async def work(session: AsyncSession) -> list[Message]:
            await case_row(session, case_id)
            rows = await session.scalars(
                select(MessageRow).where(MessageRow.case_id == case_id).order_by(MessageRow.id)
            )
            return [Message.model_validate({name: getattr(row, name) for name in Message.model_fields}) for row in rows]

        return await self._database.read(work)

    # -- reports ---------------------------------------------------------------------------------------------------

    async def report(self, case_id: str, revision: int | None = None) -> Report:
        """A report of a finished case, the newest unless told otherwise, checked against the hash it was stored with.

        Raises:
            NotFoundError: if there is no such case, or it has no such report.
            IntegrityError: if the stored report was altered, or cannot be read by this version.
        """
        return _read(case_id, await self._row(case_id, revision))

    async def report_text(self, case_id: str, revision: int | None = None) -> str:
        """The same as the very JSON that was stored, which the audit trail holds the hash of.

        Raises:
            NotFoundError: if there is no such case, or it has no such report.
            IntegrityError: if the stored report was altered.
        """
        return _text(case_id, await self._row(case_id, revision))

    async def _row(self, case_id: str, revision: int | None) -> CaseRow | RevisionRow:
        """The row that a report stands in."""

        async def work(session: AsyncSession) -> tuple[CaseRow, RevisionRow | None]:
            case = await case_row(session, case_id)
            if revision == 1:
                return case, None
            later = select(RevisionRow).where(RevisionRow.case_id == case.id).order_by(RevisionRow.number.desc())
            if revision is not None:
                later = later.where(RevisionRow.number == revision)
            return case, await session.scalar(later.limit(1))

        case, later = await self._database.read(work)
        if case.report is None:
            why = f"it failed: {case.error_message}" if case.status == "failed" else "it is still being examined."
            raise NotFoundError(f"Case {case_id} has no report: {why}", code=f"case_{case.status}")
        if later is None and revision not in (None, 1):
            raise NotFoundError(f"Case {case_id} has no report number {revision}.", remedy="Ask for its newest.")
        return case if later is None else later

    async def revise_case(self, report: Report, because: str) -> None:
        """Stores a later report of a case; the earlier ones stay.

        Args:
            report: Its `revision` is one more than that of the newest report.
            because: What brought the new evidence, in plain English.

        Raises:
            NotFoundError: if there is no such case, or it has no report yet.
            TryAgainError: if another report was stored in the meantime.
        """
        text, digest = encoded(report)

        async def work(session: AsyncSession) -> None:
            log = await Trail.locked(session)
            case = await case_row(session, report.case_id)
            if case.status != "done":
                raise NotFoundError(f"Case {case.id} has no report yet.", code=f"case_{case.status}")
            numbers = select(func.max(RevisionRow.number)).where(RevisionRow.case_id == case.id)
            newest = await session.scalar(numbers) or 1
            if report.revision != newest + 1:
                raise TryAgainError(
                    f"Case {case.id} has got report number {newest} in the meantime.",
                    remedy="Ask again: the answer will then rest on the newest report.",
                    code="report_superseded",
                )
            row = RevisionRow(
                case_id=case.id, number=report.revision, at=datetime.now(UTC), because=storable(because),
                label=report.verdict.label, p_generated=report.verdict.p_generated, p_edited=report.verdict.p_edited,
                schema_version=report.schema_version, report=text, report_sha256=digest,
            )  # fmt: skip
            maps = (
                await session.execute(select(MapRow.sha256, MapRow.position).where(MapRow.case_id == case.id))
            ).all()
            known, last = {each.sha256 for each in maps}, max((each.position for each in maps), default=-1)
            session.add(row)
            session.add_all(maps_of(report, known=known, start=last + 1))
            log.append("report_revised", case.id, trail.revised(row))

        await self._database.write(work)

    async def versions(self, case_id: str) -> list[ReportVersion]:
        """Every report of a case in short, oldest first.

        Raises:
            NotFoundError: if there is no such case, or it has no report.
        """
        first = await self.report(case_id, 1)

        async def work(session: AsyncSession) -> list[ReportVersion]:
            rows = await session.scalars(
                select(RevisionRow).where(RevisionRow.case_id == case_id).order_by(RevisionRow.number)
            )
            return [
                ReportVersion(
                    revision=row.number, at=row.at, because=row.because, label=_known_label(row),
                    p_generated=row.p_generated, p_edited=row.p_edited,
                )
                for row in rows
            ]  # fmt: skip

        verdict = first.verdict
        return [
            ReportVersion(
                revision=1, at=first.created_at, because="The examination.", label=verdict.label,
                p_generated=verdict.p_generated, p_edited=verdict.p_edited,
            ),
            *await self._database.read(work),
        ]  # fmt: skip

    async def note_replay(self, case_id: str, outcome: Mapping[str, Number]) -> None:
        """Notes in the audit trail that a case was examined again, and what came of it."""

        async def work(session: AsyncSession) -> None:
            log = await Trail.locked(session)
            log.append("case_replayed", (await case_row(session, case_id)).id, outcome)

        await self._database.write(work)

    # -- people ----------------------------------------------------------------------------------------------------

    async def add_review(
        self, case_id: str, *, reviewer: str, kind: ReviewKind, label: PersonsLabel | None, reason: str, revision: int
    ) -> None:
        """Adds what a person says of a report. Nothing is replaced: each review stays.

        Raises:
            NotFoundError: if there is no such case.
            CallerError: if the kind and the label do not go together, or name or reason is missing.
        """
        if (label is None) != (kind == "annotate"):
            raise CallerError("A label is given by who confirms or overrides, and by nobody else.", code="bad_review")
        row = {"reviewer": _told(reviewer, "name"), "note": _told(reason, "reason")}

        async def work(session: AsyncSession) -> None:
            log = await Trail.locked(session)
            case = await case_row(session, case_id)
            review = ReviewRow(case_id=case.id, at=datetime.now(UTC), kind=kind, label=label, revision=revision, **row)
            session.add(review)
            await session.flush()
            log.append("review_added", case_id, trail.reviewed(review))

        await self._database.write(work)

    async def reviews(self, case_id: str | None = None) -> list[Review]:
        """The reviews of a case, or of all, oldest first, each with the label of the report that it is about.

        Raises:
            NotFoundError: if there is no such case.
        """
        wanted = (
            select(ReviewRow, func.coalesce(RevisionRow.label, CaseRow.label))
            .join(CaseRow, CaseRow.id == ReviewRow.case_id)
            .outerjoin(
                RevisionRow,
                (RevisionRow.case_id == ReviewRow.case_id) & (RevisionRow.number == ReviewRow.revision),
            )
            .where(ReviewRow.kind.is_not(None))
            .order_by(ReviewRow.id)
        )

        async def work(session: AsyncSession) -> list[Review]:
            found = wanted
            if case_id is not None:
                found = wanted.where(ReviewRow.case_id == (await case_row(session, case_id)).id)
            return [_review(row, machine) for row, machine in await session.execute(found)]

        return await self._database.read(work)


def newest_label() -> ColumnElement[str | None]:
    """The label of a case's newest report, as a column beside `CaseRow`."""
    return func.coalesce(_newest(RevisionRow.label), CaseRow.label)


def newest_p_generated() -> ColumnElement[float | None]:
    """The probability of a case's newest report, as a column beside `CaseRow`."""
    return func.coalesce(_newest(RevisionRow.p_generated), CaseRow.p_generated)


def newest_number() -> ColumnElement[int]:
    """The number of a case's newest report, as a column beside `CaseRow`."""
    return func.coalesce(_newest(RevisionRow.number), 1)


def _newest(column: ColumnElement[T] | InstrumentedAttribute[T]) -> ScalarSelect[T]:
    return (
        select(column)
        .where(RevisionRow.case_id == CaseRow.id)
        .order_by(RevisionRow.number.desc())
        .limit(1)
        .correlate(CaseRow)
        .scalar_subquery()
    )


def newest_review() -> ScalarSelect[str | None]:
    """The kind of a case's newest review that confirms or overrides, as a column beside `CaseRow`."""
    return (
        select(ReviewRow.kind)
        .where(ReviewRow.case_id == CaseRow.id, ReviewRow.kind != "annotate")
        .order_by(ReviewRow.id.desc())
        .limit(1)
        .correlate(CaseRow)
        .scalar_subquery()
    )


def waits_for_review() -> ColumnElement[bool]:
    """Whether a person should look at a case and nobody has, as a condition on `CaseRow`."""
    looked = exists().where(ReviewRow.case_id == CaseRow.id, ReviewRow.kind != "annotate")
    return CaseRow.review_asked.is_not(None) & ~looked


def encoded(report: Report) -> tuple[str, str]:
    """A report as it is stored, and the hash of that."""
    text = json.dumps(report.model_dump(mode="json"), ensure_ascii=True, separators=(",", ":"), allow_nan=False)
    return text, audit.sha256(text)


async def case_row(session: AsyncSession, case_id: str) -> CaseRow:
    """The row of a case.

    Raises:
        NotFoundError: if there is no such case.
    """
    case = await session.get(CaseRow, storable(case_id))
    if case is None:
        raise NotFoundError(f"There is no case {case_id!r}.", remedy="`exposit history` lists the cases.")
    return case


def _text(case_id: str, row: CaseRow | RevisionRow) -> str:
    text = row.report or ""
    if audit.sha256(text) != row.report_sha256:
        raise audit.broken(f"The stored report of case {case_id} was altered: it does not match its hash.")
    return text


def _read(case_id: str, row: CaseRow | RevisionRow) -> Report:
    text = _text(case_id, row)
    try:
        return Report.model_validate_json(text)
    except ValidationError as error:
        raise IntegrityError(
            f"The report of case {case_id} has the schema {row.schema_version}, which this version cannot read.",
            remedy="Run the version of Exposit that wrote it.",
            code="report_schema",
        ) from error


def _told(text: str, what: str) -> str:
    """`text` with its ends trimmed; a review without a name or a reason is refused."""
    kept = storable(text).strip()
    if not kept:
        raise CallerError(
            f"The review has no {what}.", remedy=f"Give the reviewer's {what}: the audit trail keeps it.",
            code="bad_review",
        )  # fmt: skip
    return kept


def _known_label(row: RevisionRow) -> Label:
    try:
        return _LABEL.validate_python(row.label)
    except ValidationError as error:
        raise audit.broken(f"The row of report {row.number} of case {row.case_id} was altered.") from error


def _review(row: ReviewRow, machine: str | None) -> Review:
    told = {name: getattr(row, name) for name in ("case_id", "at", "reviewer", "kind", "label", "revision")}
    try:
        return Review.model_validate(told | {"reason": row.note, "machine": machine})
    except ValidationError as error:
        raise audit.broken(f"Review {row.id} of case {row.case_id} was altered.") from error
