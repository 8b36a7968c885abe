"""The same picture among earlier cases: the very file, or one whose perceptual hash is near. A note, never evidence."""

from __future__ import annotations

from typing import Final

from pydantic import ValidationError
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from agent import audit
from agent.tables import CaseRow, ImageRow
from agent.verdict import Similar
from tools.perceptual import SAME_WITHIN, distance

LOOKED_THROUGH: Final = 100_000
"""The newest so many pictures are compared; more would take longer than an examination."""
TOLD: Final = 5


async def files_like(session: AsyncSession, sha256: str, pdq: str) -> dict[str, int]:
    """The file itself and those that look like it, by hash, each with the bits of 256 by which they differ."""
    near: dict[str, int] = {sha256: 0}
    if pdq:
        hashes = select(ImageRow.sha256, ImageRow.pdq).where(ImageRow.pdq.is_not(None))
        newest = hashes.order_by(ImageRow.first_seen_at.desc()).limit(LOOKED_THROUGH)
        for other, its in await session.execute(newest):
            bits = distance(pdq, its or "")
            if other != sha256 and bits is not None and bits <= SAME_WITHIN:
                near[other] = bits
    return near


async def earlier(session: AsyncSession, case_id: str, sha256: str, pdq: str) -> tuple[Similar, ...]:
    """The nearest finished cases before this one, at most `TOLD`: the same file first, then by distance and age.

    Args:
        session: Of the log.
        case_id: The case that asks; it is not its own predecessor.
        sha256: Of its file.
        pdq: Its perceptual hash; empty where it has none, and then only the same file is found.

    Raises:
        IntegrityError: A row holds what Exposit never writes.
    """
    near = await files_like(session, sha256, pdq)
    nearest = sorted(near, key=lambda name: (name != sha256, near[name], name))[: TOLD * 4]
    columns = (CaseRow.id, CaseRow.created_at, CaseRow.name, CaseRow.label, CaseRow.image_sha256)
    wanted = select(*columns).where(CaseRow.image_sha256.in_(nearest), CaseRow.status == "done", CaseRow.id != case_id)
    rows = (await session.execute(wanted.order_by(CaseRow.created_at.desc()).limit(TOLD * 20))).all()
    try:
        found = [
            Similar(
                case_id=row.id, created_at=row.created_at, name=row.name, label=row.label,
                distance=near[row.image_sha256], same_file=row.image_sha256 == sha256,
            )
            for row in rows
        ]  # fmt: skip
    except ValidationError as error:
        raise audit.broken("The row of an earlier case was altered: it holds what Exposit never writes.") from error
    return tuple(sorted(found, key=lambda each: (not each.same_file, each.distance))[:TOLD])
