"""The audit trail in the database: adding to it, and finding what was changed behind Exposit's back.

What a row of each kind holds of its record is said here once, for writing and for checking. Not covered are the tables
drawn from a report (`evidence`, `verdicts`, ...): nothing is judged or shown by them, and the report itself is covered.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Self

from sqlalchemy import exists, func, select
from sqlalchemy.ext.asyncio import AsyncSession

from agent import audit
from agent.audit import Action, Entry, Head, broken
from agent.jobrows import PurgeRow
from agent.tables import AuditHeadRow, AuditRow, CaseRow, ImageRow, MessageRow, ReviewRow, RevisionRow
from tools.errors import IntegrityError

_FIELDS = ("seq", "at", "action", "case_id", "payload", "previous", "hash")
_BATCH = 200  # rows a step: with their reports, some megabytes
_PROOF: dict[str, Action] = {"done": "case_finished", "failed": "case_failed"}
Facts = dict[str, Any]


class Trail:
    """The end of the trail within one transaction, locked against other writers until that ends."""

    def __init__(self, session: AsyncSession, row: AuditHeadRow) -> None:
        self._session, self._row = session, row

    @classmethod
    async def locked(cls, session: AsyncSession) -> Self:
        """Waits for the lock. Taken before all else in a transaction, so that two can never wait for each other."""
        row = await session.get(AuditHeadRow, 1, with_for_update=True)
        if row is None:
            raise broken("The head of the audit trail is missing, so nothing can be added to it.")
        return cls(session, row)

    def append(self, action: Action, case_id: str, payload: Mapping[str, Any]) -> None:
        """Adds a row about that case."""
        sealed = audit.seal(Head(self._row.seq, self._row.hash), action, case_id, payload, datetime.now(UTC))
        self._session.add(AuditRow(**{name: getattr(sealed, name) for name in _FIELDS}))
        self._row.seq, self._row.hash = sealed.seq, sealed.hash


def begun(case: CaseRow, image: ImageRow) -> Facts:
    """What the trail holds of a case that begins."""
    facts = _some(case, "name", "origin", "budget", "image_sha256", "created_at") | {"bytes": image.bytes}
    if case.claim is not None:  # rows from before claims were kept stay as they were hashed
        facts["claim"] = audit.sha256(audit.canonical(case.claim))
    return facts


def finished(case: CaseRow) -> Facts:
    """What the trail holds of a case that is done."""
    facts = _some(case, "status", "finished_at", "label", "p_generated", "p_edited", "schema_version", "report_sha256")
    return facts | {"report": audit.sha256(str(case.report))}


def failed(case: CaseRow) -> Facts:
    """What the trail holds of a case that failed."""
    return _some(case, "status", "finished_at", "error_code", "error_message")


def said(message: MessageRow) -> Facts:
    """What the trail holds of a message: its number, and the hash of the rest."""
    content = _some(message, "case_id", "at", "role", "text", "cites", "writer")
    return {"id": message.id, "sha256": audit.sha256(audit.canonical(content))}


def reviewed(review: ReviewRow) -> Facts:
    """What the trail holds of a review: its number, and the hash of the rest."""
    content = _some(review, "case_id", "at", "reviewer", "label", "note")
    if review.kind is not None:  # rows older than these columns are told without them
        content |= _some(review, "kind", "revision")
    return {"id": review.id, "sha256": audit.sha256(audit.canonical(content))}


def revised(revision: RevisionRow) -> Facts:
    """What the trail holds of a later report of a case."""
    facts = _some(revision, "number", "at", "because", "label", "p_generated", "p_edited", "schema_version")
    return facts | _some(revision, "report_sha256") | {"report": audit.sha256(revision.report)}


def purged(purge: PurgeRow) -> Facts:
    """What the trail holds of a purge."""
    return _some(purge, "at", "because", "original_kept", "maps")


def _some(row: object, *names: str) -> Facts:
    values = {name: getattr(row, name) for name in names}
    return {name: v.isoformat() if isinstance(v, datetime) else v for name, v in values.items()}


def entry(row: AuditRow) -> Entry:
    """The row as a plain value."""
    return Entry(*(getattr(row, name) for name in _FIELDS))


async def stored_head(session: AsyncSession) -> Head | None:
    """The end of the trail as it is stored."""
    row = await session.get(AuditHeadRow, 1)
    return None if row is None else Head(row.seq, row.hash)


async def verify(session: AsyncSession) -> int:
    """Walks the trail and what it speaks of, in one snapshot of the database. Returns the number of rows.

    Raises:
        IntegrityError: naming the first row that does not hold, and what was changed.
    """
    reached = audit.START
    while True:
        after = select(AuditRow).where(AuditRow.seq > reached.seq).order_by(AuditRow.seq).limit(_BATCH)
        rows = (await session.scalars(after)).all()
        if not rows:
            break
        sound, fault = [], None
        for row in rows:
            try:
                reached = audit.step(reached, entry(row))
            except IntegrityError as error:
                fault = error
                break
            sound.append(row)
        await _check(session, sound)
        if fault is not None:
            raise fault
        session.expunge_all()
    audit.end(reached, await stored_head(session))
    await _all_is_told(session)
    return reached.seq


async def _check(session: AsyncSession, rows: Sequence[AuditRow]) -> None:
    """Compares what `rows`, whose hashes hold, tell with the records as they are now."""
    try:
        records = await _Records.of(session, rows)
        for row in rows:
            records.check(row)
    except (ValueError, TypeError):  # somewhere no time, text or JSON is left: find out where
        if len(rows) != 1:
            for row in rows:
                await _check(session, [row])
            raise
        (row,) = rows
        what = f"What audit row {row.seq} tells of case {row.case_id} was altered"
        raise broken(f"{what}: the stored record cannot be read any more.") from None


@dataclass(frozen=True)
class _Records:
    """What some audit rows speak of, by key."""

    cases: dict[str, CaseRow]
    images: dict[str, ImageRow]
    messages: dict[int, MessageRow] = field(default_factory=dict)
    reviews: dict[int, ReviewRow] = field(default_factory=dict)
    revisions: dict[tuple[str, int], RevisionRow] = field(default_factory=dict)
    purges: dict[str, PurgeRow] = field(default_factory=dict)

    @classmethod
    async def of(cls, session: AsyncSession, rows: Sequence[AuditRow]) -> Self:
        ids = {row.case_id for row in rows}
        cases = {c.id: c for c in await session.scalars(select(CaseRow).where(CaseRow.id.in_(ids)))}
        hashes = {case.image_sha256 for case in cases.values()}
        images = {i.sha256: i for i in await session.scalars(select(ImageRow).where(ImageRow.sha256.in_(hashes)))}
        said, reviewed = (_numbers(rows, action) for action in ("message_added", "review_added"))
        messages, reviews = {}, {}
        if said:
            messages = {m.id: m for m in await session.scalars(select(MessageRow).where(MessageRow.id.in_(said)))}
        if reviewed:
            reviews = {r.id: r for r in await session.scalars(select(ReviewRow).where(ReviewRow.id.in_(reviewed)))}
        revisions: dict[tuple[str, int], RevisionRow] = {}
        if any(row.action == "report_revised" for row in rows):
            later = await session.scalars(select(RevisionRow).where(RevisionRow.case_id.in_(ids)))
            revisions = {(each.case_id, each.number): each for each in later}
        purges: dict[str, PurgeRow] = {}
        if any(row.action == "case_purged" for row in rows):
            found = await session.scalars(select(PurgeRow).where(PurgeRow.case_id.in_(ids)))
            purges = {each.case_id: each for each in found}
        return cls(cases, images, messages, reviews, revisions, purges)

    def check(self, row: AuditRow) -> None:
        """Compares what `row` holds with the record as it is now."""
        told: Facts = json.loads(row.payload)
        case = self.cases.get(row.case_id)
        if case is None:
            raise broken(f"Case {row.case_id}, which audit row {row.seq} tells of, is missing.")
        if row.action == "case_begun":
            image = self.images.get(case.image_sha256)
            if image is None:
                raise broken(
                    f"The image of case {case.id}, which audit row {row.seq} tells of, was altered or is missing."
                )
            _compare(row, told, begun(case, image), f"Case {case.id}")
        elif row.action == "case_finished":
            if told["report"] != audit.sha256(str(case.report)):
                raise broken(
                    f"The stored report of case {case.id} was altered: audit row {row.seq} holds another hash."
                )
            _compare(row, told, finished(case), f"Case {case.id}")
        elif row.action == "case_failed" and case.status != "done":  # done: `_all_is_told` asks for the proof
            _compare(row, told, failed(case), f"Case {case.id}")
        elif row.action == "message_added":
            message = self.messages.get(told["id"])
            _compare(row, told, said(message) if message else None, f"Message {told['id']} of case {case.id}")
        elif row.action == "review_added":
            review = self.reviews.get(told["id"])
            _compare(row, told, reviewed(review) if review else None, f"Review {told['id']} of case {case.id}")
        elif row.action == "case_purged":
            purge = self.purges.get(case.id)
            _compare(row, told, purged(purge) if purge else None, f"The purge of case {case.id}")
        elif row.action == "report_revised":
            revision = self.revisions.get((case.id, told["number"]))
            found = revised(revision) if revision else None
            _compare(row, told, found, f"Report {told['number']} of case {case.id}")


def _numbers(rows: Sequence[AuditRow], action: Action) -> list[int]:
    return [json.loads(row.payload)["id"] for row in rows if row.action == action]


def _compare(row: AuditRow, told: Facts, found: Facts | None, what: str) -> None:
    if found is None:
        raise broken(f"{what}, which audit row {row.seq} tells of, is missing.")
    changed = sorted(name for name in told.keys() | found.keys() if told.get(name) != found.get(name))
    if changed:
        raise broken(f"{what} was altered: audit row {row.seq} holds another {' and another '.join(changed)}.")


async def _all_is_told(session: AsyncSession) -> None:
    """Checks that nothing was put in without an audit row."""

    def untold(action: Action) -> Any:
        told = exists().where(AuditRow.case_id == CaseRow.id, AuditRow.action == action)
        return select(CaseRow.id).where(~told).order_by(CaseRow.id).limit(1)

    stranger = await session.scalar(untold("case_begun"))
    if stranger is not None:
        raise broken(f"Case {stranger} was added by other hands: no audit row tells of its beginning.")
    for status, action in _PROOF.items():
        stranger = await session.scalar(untold(action).where(CaseRow.status == status))
        if stranger is not None:
            raise broken(f"Case {stranger} was altered: it reads {status!r}, but no audit row of {action} tells of it.")
    tables: tuple[tuple[type[MessageRow | ReviewRow | RevisionRow | PurgeRow], Action], ...] = (
        (MessageRow, "message_added"),
        (ReviewRow, "review_added"),
        (RevisionRow, "report_revised"),
        (PurgeRow, "case_purged"),
    )
    for table, action in tables:
        stored = await session.scalar(select(func.count()).select_from(table)) or 0
        known = await session.scalar(select(func.count()).select_from(AuditRow).where(AuditRow.action == action)) or 0
        if stored != known:
            raise broken(f"The table {table.__tablename__} has {stored} rows, but the audit trail tells of {known}.")
