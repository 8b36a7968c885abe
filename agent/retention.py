"""Deleting originals and maps by policy, while what was found stays provable.

A purge takes bytes away and nothing else: report, hashes and audit rows stay, and the purge is itself a row of the
trail. Bytes that a case which was not purged is about stay where they are.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from datetime import UTC, datetime

from sqlalchemy import delete, exists, select
from sqlalchemy.ext.asyncio import AsyncSession

from agent import trail
from agent.afterwards import case_row
from agent.blobs import BlobStore
from agent.database import Database
from agent.jobrows import EventRow, PurgeRow
from agent.tables import CaseRow, MapRow, storable
from agent.trail import Trail
from tools.contract import Frozen
from tools.errors import CallerError, NotFoundError


class Purged(Frozen):
    """What a purge did.

    Attributes:
        cases: How many cases were purged.
        files: How many originals and maps were deleted.
        shared: How many originals stay, because another case is about the same file.
    """

    cases: int
    files: int
    shared: int


class Retention:
    """Purges cases."""

    def __init__(self, database: Database, originals: BlobStore, maps: BlobStore) -> None:
        self._database, self._originals, self._maps = database, originals, maps

    async def purge(self, *, before: datetime | None = None, case_id: str | None = None, because: str) -> Purged:
        """Purges one case, or every case that ended and was opened before a moment.

        Raises:
            NotFoundError: if there is no such case.
            CallerError: `case_running`, if that case has not ended.
        """
        chosen = [case_id] if case_id is not None else await self._older(before or datetime.now(UTC))
        done = [one for each in chosen if (one := await self._one(each, because)) is not None]
        shared = {sha256 for _, sha256 in done if sha256 and self._originals.exists(sha256)}
        return Purged(cases=len(done), files=sum(files for files, _ in done), shared=len(shared))

    async def _older(self, before: datetime) -> list[str]:
        purged = exists().where(PurgeRow.case_id == CaseRow.id)
        wanted = select(CaseRow.id).where(CaseRow.status != "running", CaseRow.created_at < before, ~purged)
        wanted = wanted.order_by(CaseRow.created_at)

        async def work(session: AsyncSession) -> list[str]:
            return list(await session.scalars(wanted))

        return await self._database.read(work)

    async def _one(self, case_id: str, because: str) -> tuple[int, str] | None:
        """Files that were deleted, and the original if another case needs it; None where it was purged before.

        The bytes go while the trail is locked, before the transaction is stored: no case about them can come in
        between, and a purge that was cut off is simply done again.
        """

        async def work(session: AsyncSession) -> tuple[int, str] | None:
            log = await Trail.locked(session)
            case = await case_row(session, case_id)
            if case.status == "running":
                raise CallerError(
                    f"Case {case.id} is still under way.", remedy="Purge it when it has ended.", code="case_running"
                )
            if await session.get(PurgeRow, case.id) is not None:
                return None
            shared = await _needed(session, case)
            maps = await _own_maps(session, case)
            row = PurgeRow(
                case_id=case.id, at=datetime.now(UTC), because=storable(because), original_kept=shared, maps=len(maps)
            )
            session.add(row)
            await session.execute(delete(EventRow).where(EventRow.case_id == case.id))
            log.append("case_purged", case.id, trail.purged(row))
            await session.flush()
            gone = await asyncio.to_thread(self._delete, [] if shared else [case.image_sha256], maps)
            return gone, case.image_sha256 if shared else ""

        return await self._database.write(work)

    def _delete(self, originals: Iterable[str], maps: Iterable[str]) -> int:
        return sum(self._originals.remove(each) for each in originals) + sum(self._maps.remove(each) for each in maps)


async def not_purged(database: Database, case_id: str) -> None:
    """Returns where the file of a case is kept. Raises NotFoundError `purged` where it was deleted."""
    row = await database.read(lambda session: session.get(PurgeRow, storable(case_id)))
    if row is not None:
        raise NotFoundError(
            f"The file of case {row.case_id} was deleted on {row.at:%Y-%m-%d}: {row.because}",
            remedy="Its report and its hashes are kept; whoever has the file can have it examined again.",
            code="purged",
        )


async def _needed(session: AsyncSession, case: CaseRow) -> bool:
    """Whether another case that was not purged is about the same file."""
    purged = exists().where(PurgeRow.case_id == CaseRow.id).correlate(CaseRow)
    others = exists().where(CaseRow.image_sha256 == case.image_sha256, CaseRow.id != case.id, ~purged)
    return bool(await session.scalar(select(others)))


async def _own_maps(session: AsyncSession, case: CaseRow) -> list[str]:
    """The maps that no other case needs which was not purged."""
    drawn = set(await session.scalars(select(MapRow.sha256).where(MapRow.case_id == case.id)))
    purged = exists().where(PurgeRow.case_id == MapRow.case_id).correlate(MapRow)
    shared = select(MapRow.sha256).where(MapRow.sha256.in_(drawn), MapRow.case_id != case.id, ~purged)
    return sorted(drawn - set(await session.scalars(shared)))
