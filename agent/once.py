"""Requests that are made once however often they are sent: an idempotency key, the request it came with, the answer."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from sqlalchemy import delete
from sqlalchemy.ext.asyncio import AsyncSession

from agent import audit
from agent.database import Database
from agent.jobrows import OnceRow
from tools.errors import CallerError, TryAgainError

_STALE: Final = timedelta(minutes=10)
"""A request without an answer for so long was cut off; whoever sends it again goes on with it."""
_KEPT: Final = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Kept:
    """An answer that was given."""

    status: int
    headers: Mapping[str, str]
    body: str


@dataclass(frozen=True, slots=True)
class Claimed:
    """A request that is to be done now; `nonce` is the same each time it is tried, and seeds the id of its case."""

    key_sha256: str
    nonce: str


class Once:
    """What is known of repeated requests."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def claim(self, caller: str, key: str, request_sha256: str) -> Claimed | Kept:
        """The answer that this request got before, or leave to do it.

        Args:
            caller: Who asks: keys of different callers never meet.
            key: What the caller chose.
            request_sha256: Hash of what is asked for.

        Raises:
            CallerError: `idempotency_reused`, where the key came with another request.
            TryAgainError: `idempotency_in_flight`, where the first one is still being done.
        """
        name, now = audit.sha256(audit.canonical([caller, key])), datetime.now(UTC)

        async def work(session: AsyncSession) -> Claimed | Kept:
            row = await session.get(OnceRow, name, with_for_update=True)
            if row is not None and row.at < now - _KEPT:
                await session.delete(row)
                await session.flush()
                row = None
            if row is None:
                fresh = OnceRow(key_sha256=name, request_sha256=request_sha256, nonce=uuid.uuid4().hex, at=now)
                session.add(fresh)
                await session.flush()
                return Claimed(name, fresh.nonce)
            if row.request_sha256 != request_sha256:
                raise CallerError(
                    "This idempotency key came with another request.",
                    remedy="Choose a new key for each new request.", code="idempotency_reused",
                )  # fmt: skip
            if row.status is not None:
                return Kept(row.status, row.headers or {}, row.body or "")
            if row.at > now - _STALE:
                raise TryAgainError(
                    "The first request with this idempotency key is still being done.",
                    remedy="Wait for its answer, or send this one again a little later.", code="idempotency_in_flight",
                )  # fmt: skip
            row.at = now
            return Claimed(name, row.nonce)

        return await self._database.write(work)

    async def keep(self, claimed: Claimed, answer: Kept) -> None:
        """Keeps the answer for whoever asks again."""

        async def work(session: AsyncSession) -> None:
            row = await session.get(OnceRow, claimed.key_sha256)
            if row is not None and row.nonce == claimed.nonce:
                row.status, row.headers, row.body = answer.status, dict(answer.headers), answer.body

        await self._database.write(work)

    async def release(self, claimed: Claimed) -> None:
        """Forgets a request that came to nothing, so that it can be made again."""

        async def work(session: AsyncSession) -> None:
            row = await session.get(OnceRow, claimed.key_sha256)
            if row is not None and row.nonce == claimed.nonce and row.status is None:
                await session.delete(row)

        await self._database.write(work)

    async def forget(self, before: datetime) -> None:
        """Drops what came before that moment."""

        async def work(session: AsyncSession) -> None:
            await session.execute(delete(OnceRow).where(OnceRow.at < before))

        await self._database.write(work)
