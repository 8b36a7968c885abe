"""Alembic's entry.

`agent.database` hands over its connection, inside a transaction that holds the migration lock. The command line
(`alembic revision --autogenerate`, for developers) has none, and compares the database of the settings.
"""

from __future__ import annotations

import asyncio
from typing import Any, Literal

from alembic import context
from sqlalchemy import Connection, TypeDecorator, pool
from sqlalchemy.ext.asyncio import create_async_engine

from agent.database import parse
from agent.settings import Settings
from agent.tables import Base


def rendered(kind: str, item: Any, _context: object) -> str | Literal[False]:
    """Writes our column types as the plain types beneath them: a migration must not change when our code does."""
    return f"sa.{item.impl!r}" if kind == "type" and isinstance(item, TypeDecorator) else False


def migrate(connection: Connection) -> None:
    """Runs what the command asks for on `connection`."""
    context.configure(connection=connection, target_metadata=Base.metadata, render_item=rendered)
    with context.begin_transaction():
        context.run_migrations()


async def connect_and_migrate() -> None:
    """Runs it on the database of the settings."""
    engine = create_async_engine(parse(Settings().sqlalchemy_url), poolclass=pool.NullPool)
    async with engine.begin() as connection:
        await connection.run_sync(migrate)
    await engine.dispose()


given = context.config.attributes.get("connection")
if given is not None:
    migrate(given)
else:
    asyncio.run(connect_and_migrate())
