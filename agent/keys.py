"""Keys of the API: made, revoked, looked up. The log holds their hashes; a key is shown once, when it is made."""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Final, Literal

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from agent.database import Database
from agent.tables import KeyRow, storable
from tools.contract import Frozen
from tools.errors import CallerError, NotFoundError

Scope = Literal["read", "submit", "review", "admin"]
SCOPES: Final[tuple[Scope, ...]] = ("read", "submit", "review", "admin")
_KEY: Final = re.compile(r"exk_([0-9a-f]{12})_([A-Za-z0-9_-]{43})")
_NO_KEY: Final = "0" * 64


class Key(Frozen):
    """A key as it may be shown.

    Attributes:
        scopes: What it opens: `read` cases and documents, `submit` pictures and questions, `review`; `admin` all.
    """

    id: str
    name: str
    scopes: tuple[Scope, ...]
    created_at: datetime
    revoked_at: datetime | None

    def opens(self, *needed: Scope) -> bool:
        """Whether the key has every scope that is needed."""
        return "admin" in self.scopes or set(needed) <= set(self.scopes)


class Keys:
    """The keys in the log."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def create(self, name: str, scopes: Iterable[Scope]) -> tuple[Key, str]:
        """Makes a key. Returns it, and the secret that nobody can read again.

        Raises:
            CallerError: where it has no name or no scope.
        """
        kept, chosen = storable(name).strip()[:200], tuple(each for each in SCOPES if each in set(scopes))
        if not kept or not chosen:
            raise CallerError("A key needs a name and a scope.", remedy="Say whose it is, and what it opens.")
        key_id, secret = secrets.token_hex(6), secrets.token_urlsafe(32)
        text = f"exk_{key_id}_{secret}"
        row = KeyRow(id=key_id, name=kept, sha256=_hash(text), scopes=list(chosen), created_at=datetime.now(UTC))

        async def work(session: AsyncSession) -> None:
            await session.merge(row)

        await self._database.write(work)
        return _key(row), text

    async def revoke(self, key_id: str) -> Key:
        """Closes a key for good. Raises NotFoundError."""

        async def work(session: AsyncSession) -> Key:
            row = await session.get(KeyRow, storable(key_id))
            if row is None:
                raise NotFoundError(f"There is no key {key_id!r}.", remedy="`exposit keys list` lists them.")
            row.revoked_at = row.revoked_at or datetime.now(UTC)
            return _key(row)

        return await self._database.write(work)

    async def list(self) -> list[Key]:
        """All keys, the revoked ones too, oldest first."""

        async def work(session: AsyncSession) -> list[Key]:
            return [_key(row) for row in await session.scalars(select(KeyRow).order_by(KeyRow.created_at, KeyRow.id))]

        return await self._database.read(work)

    async def find(self, text: str) -> Key | None:
        """The key of that text, unless there is none or it was revoked. The hashes are compared in constant time.

        A secret has 256 random bits, so that a plain hash of it cannot be guessed back.
        """
        parts = _KEY.fullmatch(text)
        row = None
        if parts is not None:
            key_id = parts[1]
            row = await self._database.read(lambda session: session.get(KeyRow, key_id))
        same = hmac.compare_digest(_hash(text), row.sha256 if row is not None else _NO_KEY)
        return _key(row) if row is not None and same and row.revoked_at is None else None


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()


def _key(row: KeyRow) -> Key:
    return Key.model_validate({name: getattr(row, name) for name in Key.model_fields})
