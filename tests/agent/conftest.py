"""Real databases for the store's tests: SQLite and PostgreSQL."""

from __future__ import annotations

import shutil
import tempfile
import uuid
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine

from agent import database
from agent.store import Store


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """The URL of a PostgreSQL server of our own, on a socket. As root, pgserver runs it as a user `pgserver` that it
    makes, and opens the folders on the way to its programs to that user; what it opened is closed again."""
    pgserver = pytest.importorskip("pgserver", reason="pgserver is not installed (dependency group `test`)")
    folder = Path(tempfile.mkdtemp(prefix="exposit-pg-"))
    ways = [folder, *Path(pgserver.__file__).resolve().parents]
    modes = {way: way.stat().st_mode for way in ways}
    server = pgserver.get_server(folder / "data", cleanup_mode="stop")
    server.psql("ALTER SYSTEM SET fsync = off;\nSELECT pg_reload_conf();")  # nobody pulls the plug on a test
    try:
        yield server.get_uri()
    finally:
        server.cleanup()
        shutil.rmtree(folder, ignore_errors=False)
        for way, mode in modes.items():
            if way.exists() and way.stat().st_mode != mode:
                way.chmod(mode)


@pytest.fixture(params=["sqlite", "postgresql"])
async def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty database."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'log.db'}"
    server: str = request.getfixturevalue("postgres")
    name = f"t{uuid.uuid4().hex}"
    engine = create_async_engine(database.parse(server), isolation_level="AUTOCOMMIT")
    async with engine.connect() as connection:
        await connection.execute(text(f"CREATE DATABASE {name}"))
    await engine.dispose()
    return server.replace("/postgres?", f"/{name}?")


@pytest.fixture
async def store(url: str) -> AsyncIterator[Store]:
    opened = await Store.open(url)
    yield opened
    await opened.close()
