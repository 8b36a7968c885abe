"""The log of everything Exposit did: cases, reports, messages, reviews, and the audit trail that holds them together.

Each change is one transaction with its audit row in it. Texts come back as they were given, whatever is in them;
statements are built by SQLAlchemy with bound parameters only.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Self

from sqlalchemy import exists, func, select
from sqlalchemy.ext.asyncio import AsyncSession

from agent import audit, trail
from agent.afterwards import (
    Afterwards,
    case_row,
    encoded,
    newest_label,
)
from agent.audit import Entry, Head
from agent.blobs import is_sha256
from agent.database import Database
from agent.drawn import rows_of
from agent.history import History
from agent.jobrows import JobRow
from agent.keys import Keys
from agent.stated import StatedClaim
from agent.tables import AuditRow, CaseRow, ImageRow, MapRow, storable
from agent.trail import Trail
from agent.verdict import ImageFacts, Report
from tools.errors import CallerError, IntegrityError, NotFoundError


class Store(Afterwards, History):
    """The repository. Made by `await Store.open(url)`; safe for many coroutines of one loop, and for many processes.

    A call that was begun runs to its end even if the caller is cancelled; `close` waits for it.
    Every call may raise `TryAgainError` where the database stays locked or does not answer.
    """

    @classmethod
    async def open(cls, url: str, *, busy_timeout_s: float = 5.0) -> Self:
        """Opens the database and brings its tables up to date.

        Args:
            url: `sqlite:///file.db` or `postgresql://user:password@host/database`.
            busy_timeout_s: Seconds that one of three attempts waits for a lock.

        Raises:
            ConfigurationError: where the URL, the folder, the credentials or the database's version will not do.
        """
        return cls(await Database.open(url, busy_timeout_s=busy_timeout_s))

    async def close(self) -> None:
        """Closes all connections."""
        await self._database.close()

    @property
    def database(self) -> Database:
        """The database, for what has a module of its own."""
        return self._database

    @property
    def keys(self) -> Keys:
        """The keys of the API."""
        return Keys(self._database)

    async def ping(self) -> None:
        """Returns if the database answers; else raises what the other calls would."""
        await self._database.read(lambda session: session.scalar(select(1)))

    async def tally(self) -> list[tuple[str, str | None, int]]:
        """How many cases there are of each state and of each label of the newest report."""
        label = newest_label()
        wanted = select(CaseRow.status, label, func.count()).group_by(CaseRow.status, label)

        async def work(session: AsyncSession) -> list[tuple[str, str | None, int]]:
            return [(state, said, number) for state, said, number in await session.execute(wanted)]

        return await self._database.read(work)

    async def begin_case(
        self,
        case_id: str,
        *,
        name: str,
        origin: str,
        budget: str,
        sha256: str,
        bytes: int,
        created_at: datetime | None = None,
        claim: StatedClaim | None = None,
    ) -> None:
        """Opens the row of a case, before the file is decoded.

        `sha256` and `bytes` are of the original; `created_at` is now when unset, and must know its time zone; `claim`
        is what somebody says of the picture.

        Raises:
            CallerError: if a case of that id exists.
        """
        now = datetime.now(UTC) if created_at is None else created_at
        if now.utcoffset() is None:
            raise ValueError(f"created_at must know its time zone, got {now!r}")
        new = NewCase(
            case_id=case_id, name=name, origin=origin, budget=budget, sha256=sha256, bytes=bytes, created_at=now,
            claim=claim,
        )  # fmt: skip

        async def work(session: AsyncSession) -> None:
            await open_cases(session, await Trail.locked(session), [new])

        await self._database.write(work)

    async def attach_image(self, case_id: str, facts: ImageFacts) -> None:
        """Notes what decoding found.

        Raises:
            NotFoundError: if there is no such case.
            IntegrityError: if the facts are of another file.
        """

        async def work(session: AsyncSession) -> None:
            await _describe_image(session, await case_row(session, case_id), facts)

        await self._database.write(work)

    async def finish_case(self, report: Report) -> None:
        """Stores the report with everything that is drawn from it. Storing the same report again changes nothing.

        A case that was taken for interrupted, but was only slow, is finished all the same; the trail shows both.

        Raises:
            NotFoundError: if the case was never begun.
            IntegrityError: if it has another report already, or the report is about another file.
        """
        text, digest = encoded(report)

        async def work(session: AsyncSession) -> None:
            log = await Trail.locked(session)
            case = await case_row(session, report.case_id)
            if case.report_sha256 == digest:
                return
            if case.status == "done":
                raise IntegrityError(
                    f"Case {case.id} has another report already, and a report is never replaced.",
                    remedy="Examine the picture again under a new case.",
                    code="report_exists",
                )
            await _describe_image(session, case, report.image)
            case.status, case.finished_at = "done", datetime.now(UTC)
            case.error_code = case.error_message = None
            case.label = report.verdict.label
            case.p_generated, case.p_edited = report.verdict.p_generated, report.verdict.p_edited
            case.schema_version, case.report, case.report_sha256 = report.schema_version, text, digest
            case.review_asked = None if report.review_asked is None else storable(report.review_asked)
            session.add_all(rows_of(report))
            log.append("case_finished", case.id, trail.finished(case))

        await self._database.write(work)

    async def fail_case(self, case_id: str, code: str, message: str) -> bool:
        """Marks a running case as failed. Returns False, and changes nothing, if it is not running any more.

        Raises:
            NotFoundError: if there is no such case.
        """

        async def work(session: AsyncSession) -> bool:
            log = await Trail.locked(session)
            case = await case_row(session, case_id)
            if case.status != "running":
                return False
            _fail(log, case, code, message)
            return True

        return await self._database.write(work)

    async def recover_interrupted(self, *, older_than: timedelta = timedelta(0)) -> int:
        """Marks cases that a process left running when it died as failed. Returns how many.

        Args:
            older_than: Spares cases begun since, which another process on the same database may still be at.
        """
        before = datetime.now(UTC) - older_than

        async def work(session: AsyncSession) -> int:
            log = await Trail.locked(session)
            queued = exists().where(JobRow.case_id == CaseRow.id)  # the queue hands those to another process
            left = select(CaseRow).where(CaseRow.status == "running", CaseRow.created_at <= before, ~queued)
            cases = (await session.scalars(left.order_by(CaseRow.created_at, CaseRow.id))).all()
            for case in cases:
                _fail(log, case, "interrupted", "The examination was interrupted: the process that ran it ended.")
            return len(cases)

        return await self._database.write(work)

    async def case_of_map(self, sha256: str) -> str:
        """The id of the newest case in which a tool drew that map.

        Raises:
            NotFoundError: if none did.
        """
        newest = select(MapRow.case_id).join(CaseRow, CaseRow.id == MapRow.case_id).where(MapRow.sha256 == sha256)
        newest = newest.order_by(CaseRow.created_at.desc()).limit(1)
        found = await self._database.read(lambda session: session.scalar(newest)) if is_sha256(sha256) else None
        if found is None:
            raise NotFoundError("No case has a map of that name.")
        return found

    async def has_map(self, sha256: str) -> bool:
        """Whether any case has that map."""
        known = select(exists().where(MapRow.sha256 == sha256))
        return bool(await self._database.read(lambda session: session.scalar(known)))

    async def audit(self, limit: int = 50) -> list[Entry]:
        """The newest rows of the audit trail, newest first."""
        newest = select(AuditRow).order_by(AuditRow.seq.desc()).limit(limit)

        async def work(session: AsyncSession) -> list[Entry]:
            return [trail.entry(row) for row in await session.scalars(newest)]

        return await self._database.read(work)

    async def audit_of(self, case_id: str) -> tuple[list[Entry], Head]:
        """The rows of the audit trail that tell of a case, oldest first, and the end of the trail, in one snapshot."""
        told = select(AuditRow).where(AuditRow.case_id == storable(case_id)).order_by(AuditRow.seq)

        async def work(session: AsyncSession) -> tuple[list[Entry], Head]:
            rows = [trail.entry(row) for row in await session.scalars(told)]
            return rows, await trail.stored_head(session) or audit.START

        return await self._database.read(work)

    async def audit_head(self) -> Head:
        """Number and hash of the last audit row: what to write down elsewhere, to prove later that none was changed."""

        async def work(session: AsyncSession) -> Head:
            return await trail.stored_head(session) or audit.START

        return await self._database.read(work)

    async def verify_audit(self) -> int:
        """Walks the whole trail, comparing each row with the one before and with what it speaks of.

        Returns:
            The number of rows.

        Raises:
            IntegrityError: naming the first row that does not hold, and what was changed.
        """
        return await self._database.read(trail.verify)


def _fail(log: Trail, case: CaseRow, code: str, message: str) -> None:
    case.status, case.finished_at = "failed", datetime.now(UTC)
    case.error_code, case.error_message = storable(code), storable(message)
    log.append("case_failed", case.id, trail.failed(case))


@dataclass(frozen=True, kw_only=True)
class NewCase:
    """A case that is to be opened. `sha256` and `bytes` are of the original; `created_at` knows its time zone."""

    case_id: str
    name: str
    origin: str
    budget: str
    sha256: str
    bytes: int
    created_at: datetime
    claim: StatedClaim | None


async def open_cases(session: AsyncSession, log: Trail, new: Sequence[NewCase]) -> None:
    """Opens cases within a transaction, in few statements however many they are.

    Raises:
        CallerError: if a case of one of the ids exists.
    """
    ids, hashes = [each.case_id for each in new], {each.sha256 for each in new}
    known = await session.scalar(select(CaseRow.id).where(CaseRow.id.in_(ids)).limit(1))
    if known is not None:
        raise CallerError(f"A case {known} exists already.", remedy="Take a new id.", code="case_exists")
    found = await session.scalars(select(ImageRow).where(ImageRow.sha256.in_(hashes)))
    images = {image.sha256: image for image in found}
    for each in new:
        if each.sha256 not in images:
            images[each.sha256] = ImageRow(sha256=each.sha256, bytes=each.bytes, first_seen_at=each.created_at)
            session.add(images[each.sha256])
    await session.flush()  # before the cases that refer to them
    for each in new:
        case = CaseRow(
            id=each.case_id,
            status="running",
            created_at=each.created_at.astimezone(UTC),
            budget=each.budget,
            name=storable(each.name),
            origin=each.origin,
            image_sha256=each.sha256,
            claim=None if each.claim is None else each.claim.model_dump(mode="json"),
        )
        session.add(case)
        log.append("case_begun", each.case_id, trail.begun(case, images[each.sha256]))
    await session.flush()


async def _describe_image(session: AsyncSession, case: CaseRow, facts: ImageFacts) -> None:
    if facts.sha256 != case.image_sha256:
        raise IntegrityError(
            f"Case {case.id} is about the file {case.image_sha256}, not {facts.sha256}.",
            remedy="This is a defect of Exposit: please report it.",
            code="wrong_image",
        )
    image = await session.get(ImageRow, facts.sha256)
    if image is None:
        raise audit.broken(f"The image row of case {case.id} is missing.")
    image.width, image.height, image.format, image.mode = facts.width, facts.height, facts.format, facts.mode
    image.frame, image.frames = facts.frame, facts.frames
    image.pdq = facts.pdq or None
