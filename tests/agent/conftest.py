"""Real databases for the store's tests: SQLite and PostgreSQL."""

from __future__ import annotations

import asyncio
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


async def _migrate(url: str) -> None:
    await (await Store.open(url)).close()


async def _create_database(server: str, template: str) -> str:
    name = f"t{uuid.uuid4().hex}"
    engine = create_async_engine(database.parse(server), isolation_level="AUTOCOMMIT")
    async with engine.connect() as connection:
        await connection.execute(text(f"CREATE DATABASE {name} TEMPLATE {template}"))
    await engine.dispose()
    return server.replace("/postgres?", f"/{name}?")


@pytest.fixture(scope="session")
def migrated_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A SQLite database with the tables in it, to copy: faster than making them anew."""
    path = tmp_path_factory.mktemp("migrated") / "log.db"
    asyncio.run(_migrate(f"sqlite:///{path}"))
    return path


@pytest.fixture(scope="session")
def migrated_template(postgres: str) -> str:
    """The same in PostgreSQL: the name of a database to copy."""
    url = asyncio.run(_create_database(postgres, "template1"))
    asyncio.run(_migrate(url))
    return url.split("?")[0].split("/")[-1]


@pytest.fixture(params=["sqlite", "postgresql"])
def empty_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A database without tables."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'log.db'}"
    return asyncio.run(_create_database(request.getfixturevalue("postgres"), "template1"))


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A database with the tables, and nothing in them."""
    if request.param == "sqlite":
        shutil.copy(request.getfixturevalue("migrated_file"), tmp_path / "log.db")
        return f"sqlite:///{tmp_path / 'log.db'}"
    template = request.getfixturevalue("migrated_template")
    return asyncio.run(_create_database(request.getfixturevalue("postgres"), template))


@pytest.fixture
async def store(url: str) -> AsyncIterator[Store]:
    opened = await Store.open(url)
    yield opened
    await opened.close()
