"""The store on a real SQLite and a real PostgreSQL; every test runs on both unless it says why not."""

from __future__ import annotations

import asyncio
import dataclasses
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import traceback
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import TypeVar

import pytest
import sqlalchemy
from sqlalchemy import Connection, text
from sqlalchemy.ext.asyncio import create_async_engine

from agent import audit, database
from agent.store import Store
from agent.tables import Base, rows_of
from agent.verdict import Writer
from tests.agent.samples import HASH, MAP, begin, finish, sample
from tests.conftest import ROOT
from tools.errors import (
    CallerError,
    ConfigurationError,
    IntegrityError,
    NotFoundError,
    TryAgainError,
)

T = TypeVar("T")


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """The URL of a PostgreSQL server of our own, on a socket. As root, pgserver runs it as a user `pgserver` that it
    makes, and opens the folders on the way to its programs to that user; what it opened is closed again."""
    pgserver = pytest.importorskip("pgserver", reason="pgserver is not installed (dependency group `test`)")
    folder = Path(tempfile.mkdtemp(prefix="exposit-pg-"))
    ways = [folder, *Path(pgserver.__file__).resolve().parents]
    modes = {way: way.stat().st_mode for way in ways}
    server = pgserver.get_server(folder / "data", cleanup_mode="stop")
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


async def sql(url: str, *statements: str) -> None:
    """Changes the database behind the store's back."""
    engine = create_async_engine(database.parse(url))
    async with engine.begin() as connection:
        for statement in statements:
            await connection.execute(text(statement))
    await engine.dispose()


async def look(url: str, inspect: Callable[[Connection], T]) -> T:
    """Reads the database without the store."""
    engine = create_async_engine(database.parse(url))
    async with engine.connect() as connection:
        found = await connection.run_sync(inspect)
    await engine.dispose()
    return found


async def broken(store: Store) -> str:
    """What the verification finds wrong."""
    with pytest.raises(IntegrityError) as caught:
        await store.verify_audit()
    return caught.value.message


class TestTables:
    async def test_migrations_make_the_tables_of_the_code(self, store: Store, url: str) -> None:
        assert await look(url, database.metadata_differences) == []

    def test_the_revision_in_the_code_is_the_newest(self) -> None:
        from alembic.script import ScriptDirectory

        assert ScriptDirectory.from_config(database.config()).get_current_head() == database.REVISION

    async def test_check_constraints_and_their_names_are_migrated_too(self, store: Store, url: str) -> None:
        # compare_metadata does not look at checks
        def checks(connection: Connection) -> set[str]:
            names = Base.metadata.tables
            return {str(c["name"]) for table in names for c in sqlalchemy.inspect(connection).get_check_constraints(table)}

        wanted = {
            str(c.name)
            for table in Base.metadata.tables.values()
            for c in table.constraints
            if isinstance(c, sqlalchemy.CheckConstraint)
        }
        assert await look(url, checks) == wanted

    async def test_many_may_open_a_new_database_at_once(self, url: str) -> None:
        stores = await asyncio.gather(*(Store.open(url) for _ in range(6)))
        assert [await store.verify_audit() for store in stores] == [0] * 6
        for store in stores:
            await store.close()

    async def test_a_database_of_a_newer_version_is_refused(self, url: str) -> None:
        await (await Store.open(url)).close()
        await sql(url, "UPDATE alembic_version SET version_num = '9999'")
        with pytest.raises(ConfigurationError, match="newer version of Exposit"):
            await Store.open(url)


class TestCases:
    async def test_a_report_comes_back_as_it_went_in(self, store: Store) -> None:
        report = await finish(store, "c1")
        again = await store.report("c1")
        assert again == report
        assert again.model_dump_json() == report.model_dump_json()  # order of keys too

    async def test_tables_drawn_from_the_report_can_be_queried(self, store: Store, url: str) -> None:
        await finish(store, "c1")

        def counts(connection: Connection) -> dict[str, int]:
            tables = Base.metadata.tables
            return {name: connection.scalar(text(f"SELECT count(*) FROM {name}")) or 0 for name in tables}

        found = await look(url, counts)
        assert found == {
            "images": 1, "cases": 1, "evidence": 2, "contributions": 1, "verdicts": 1, "explanations": 1,
            "sentences": 2, "artifacts": 1, "maps": 1, "component_versions": 2, "messages": 0, "reviews": 0,
            "audit": 2, "audit_head": 1,
        }  # fmt: skip
        row = await look(url, lambda c: c.execute(text("SELECT width, format, frames FROM images")).one())
        assert tuple(row) == (64, "JPEG", 1)

    async def test_finishing_twice_changes_nothing(self, store: Store) -> None:
        report = await finish(store, "c1")
        before = await store.audit_head()
        await store.finish_case(report)
        assert await store.audit_head() == before
        with pytest.raises(IntegrityError, match="another report already"):
            await store.finish_case(report.model_copy(update={"budget": "quick"}))
        assert await store.report("c1") == report

    async def test_a_finish_that_fails_half_way_leaves_nothing(self, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
        await begin(store, "c1")
        twice = sample("c1")
        with monkeypatch.context() as patched:
            patched.setattr("agent.store.rows_of", lambda report: [*rows_of(report), *rows_of(report)])
            with pytest.raises(sqlalchemy.exc.IntegrityError):
                await store.finish_case(twice)
        assert (await store.cases())[0].status == "running"
        assert await store.verify_audit() == 1
        await store.finish_case(twice)
        assert await store.verify_audit() == 2

    async def test_a_report_about_another_file_is_refused(self, store: Store) -> None:
        await begin(store, "c1")
        with pytest.raises(IntegrityError, match="is about the file"):
            await store.finish_case(sample("c1", sha256=MAP))
        with pytest.raises(IntegrityError, match="is about the file"):
            await store.attach_image("c1", sample("c1", sha256=MAP).image)

    async def test_unknown_ids(self, store: Store) -> None:
        for odd in ("nope", "nul\x00", "'; DROP TABLE cases;--", "\udcff", "x" * 5000):
            for call in (
                store.report(odd), store.messages(odd), store.fail_case(odd, "a", "b"),
                store.add_message(odd, "user", "?"), store.add_review(odd, reviewer="a", label="edited"),
                store.finish_case(sample("nope")), store.attach_image(odd, sample("c").image),
            ):  # fmt: skip
                with pytest.raises(NotFoundError):
                    await call
        for odd in (HASH, "../../etc/passwd", "\x00"):
            assert not await store.has_map(odd)
            with pytest.raises(NotFoundError):
                await store.case_of_map(odd)
        assert await store.verify_audit() == 0

    async def test_an_id_is_used_once(self, store: Store) -> None:
        await begin(store, "c1")
        with pytest.raises(CallerError, match="exists already"):
            await begin(store, "c1")

    async def test_text_is_stored_as_it_is(self, store: Store) -> None:
        awkward = ["'); DROP TABLE cases;--", '"; --', "%s {x} :name $1 ?", "\u202egpj.exe", "\U0001f98a\n\t\\", "x" * 10000]
        for at, name in enumerate(awkward):
            await finish(store, f"c{at}", name=name)
            await store.add_message(f"c{at}", "user", name)
        found = {case.case_id: case.name for case in await store.cases()}
        assert [found[f"c{at}"] for at in range(len(awkward))] == awkward
        assert [(await store.messages(f"c{at}"))[0].text for at in range(len(awkward))] == awkward
        await begin(store, "nul", name="a\x00b\udcff")  # no text of UTF-8 databases
        assert (await store.cases(limit=1))[0].name == "a\ufffdb\ufffd"
        assert await store.verify_audit() == len(awkward) * 3 + 1

    async def test_history(self, store: Store) -> None:
        start = datetime(2025, 5, 1, tzinfo=timezone(timedelta(hours=2)))
        for at in range(5):
            await store.begin_case(
                f"c{at}", name="n", origin="url", budget="quick", sha256=HASH if at % 2 else MAP, bytes=9,
                created_at=start + timedelta(microseconds=at),
            )  # fmt: skip
        await store.finish_case(sample("c1", label="laundered"))
        await store.fail_case("c2", "not_an_image", "This is not an image.")
        newest = await store.cases(limit=2)
        assert [case.case_id for case in newest] == ["c4", "c3"]
        rest = await store.cases(before=newest[-1].created_at)
        assert [(case.case_id, case.status, case.label, case.p_generated, case.error) for case in rest] == [
            ("c2", "failed", None, None, "This is not an image."),
            ("c1", "done", "laundered", 0.9, None),
            ("c0", "running", None, None, None),
        ]
        assert [case.case_id for case in await store.cases(sha256=HASH)] == ["c3", "c1"]
        assert [case.case_id for case in await store.cases(label="laundered")] == ["c1"]
        assert newest[0].created_at == start + timedelta(microseconds=4)
        assert newest[0].created_at.tzinfo is UTC
        assert await store.verify_audit() == 7
        with pytest.raises(ValueError, match="time zone"):
            await store.begin_case("c9", name="n", origin="url", budget="q", sha256=HASH, bytes=9, created_at=datetime(2025, 1, 1))  # noqa: DTZ001

    async def test_failing(self, store: Store) -> None:
        await begin(store, "c1")
        with pytest.raises(NotFoundError, match="still being examined"):
            await store.report("c1")
        assert await store.fail_case("c1", "worker", "The worker died.")
        assert not await store.fail_case("c1", "worker", "Again.")
        with pytest.raises(NotFoundError, match=r"it failed: The worker died\."):
            await store.report("c1")
        await finish(store, "c2")
        assert not await store.fail_case("c2", "late", "Too late.")
        assert (await store.report("c2")).case_id == "c2"
        assert await store.verify_audit() == 4

    async def test_interrupted_cases(self, store: Store) -> None:
        for case in ("c1", "c2"):
            await begin(store, case)
        assert await store.recover_interrupted(older_than=timedelta(hours=1)) == 0
        assert await store.recover_interrupted() == 2
        assert await store.recover_interrupted() == 0
        assert {case.status for case in await store.cases()} == {"failed"}
        await store.finish_case(sample("c2"))  # it was only slow
        assert [(row.action, row.case_id) for row in await store.audit(limit=2)] == [
            ("case_finished", "c2"),
            ("case_failed", "c2"),
        ]
        assert await store.verify_audit() == 5

    async def test_maps(self, store: Store) -> None:
        await finish(store, "c1")
        await finish(store, "c2")
        assert await store.has_map(MAP)
        assert await store.case_of_map(MAP) == "c2"

    async def test_messages(self, store: Store) -> None:
        await finish(store, "c1")
        writer = Writer(kind="embedded", model="m", note="n")
        await store.add_message("c1", "user", "Why?")
        await store.add_message("c1", "assistant", "Because.", ["frequency"], writer)
        asked, answered = await store.messages("c1")
        assert (asked.role, asked.text, asked.cites, asked.writer) == ("user", "Why?", (), None)
        assert (answered.text, answered.cites, answered.writer) == ("Because.", ("frequency",), writer)
        assert asked.at.tzinfo is UTC


class TestAudit:
    @pytest.fixture
    async def told(self, store: Store) -> Store:
        """Six rows: a case that is done, one that failed, a message and a review."""
        await finish(store, "c1")
        await begin(store, "c2")
        await store.fail_case("c2", "worker", "The worker died.")
        await store.add_message("c1", "user", "Why?")
        await store.add_review("c1", reviewer="Ann", label="edited", note="a seam")
        assert await store.verify_audit() == 6
        return store

    @pytest.mark.parametrize("field", ["at", "action", "case_id", "payload", "previous", "hash"])
    async def test_an_altered_field_is_found(self, told: Store, url: str, field: str) -> None:
        await sql(url, f"UPDATE audit SET {field} = {field} || ' ' WHERE seq = 3")
        assert await broken(told) == "Audit row 3 was altered: its content does not match its hash."

    async def test_an_altered_number_is_found(self, told: Store, url: str) -> None:
        await sql(url, "UPDATE audit SET seq = 33 WHERE seq = 3")
        assert await broken(told) == "Audit row 3 is missing: the next row that is there is 4."

    async def test_a_row_hashed_anew_is_found(self, told: Store, url: str) -> None:
        for seq in (3, 6):
            entry = next(row for row in await told.audit() if row.seq == seq)
            forged = dataclasses.replace(entry, at="2001-01-01T00:00:00.000000+00:00")
            await sql(url, f"UPDATE audit SET at = '{forged.at}', hash = '{audit.digest(forged)}' WHERE seq = {seq}")
            found = await broken(told)
            assert found.startswith(f"Audit row {seq} was altered and hashed anew")
            await sql(url, f"UPDATE audit SET at = '{entry.at}', hash = '{entry.hash}' WHERE seq = {seq}")
        assert await told.verify_audit() == 6

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ("DELETE FROM audit WHERE seq = 4", "Audit row 4 is missing: the next row that is there is 5."),
            ("DELETE FROM audit WHERE seq IN (1, 2)", "Audit rows 1 to 2 are missing: the next row that is there is 3."),
            ("DELETE FROM audit WHERE seq = 6", "The audit trail was cut: row 6 is missing at its end."),
            ("DELETE FROM audit WHERE seq > 3", "The audit trail was cut: rows 4 to 6 are missing at its end."),
            ("DELETE FROM audit", "The audit trail was cut: rows 1 to 6 are missing at its end."),
            ("DELETE FROM audit_head", "The head of the audit trail is missing, so nothing says that row 6 is the last."),
            ("UPDATE audit_head SET seq = 5", "Audit row 6 is not known to the head of the trail, which ends at row 5: "
             "rows were added by other hands, or the head was altered."),
            ("UPDATE cases SET report = replace(report, '0.9', '0.1') WHERE id = 'c1'",
             "The stored report of case c1 was altered: audit row 2 holds another hash."),
            ("UPDATE cases SET status = 'running', report = NULL WHERE id = 'c1'",
             "The stored report of case c1 was altered: audit row 2 holds another hash."),
            ("UPDATE cases SET label = 'no_evidence' WHERE id = 'c1'",
             "Case c1 was altered: audit row 2 holds another label."),
            ("UPDATE cases SET p_generated = 0.1, p_edited = 0.2 WHERE id = 'c1'",
             "Case c1 was altered: audit row 2 holds another p_edited and another p_generated."),
            ("UPDATE cases SET name = 'other.jpg' WHERE id = 'c2'", "Case c2 was altered: audit row 3 holds another name."),
            ("UPDATE cases SET status = 'running' WHERE id = 'c2'",
             "Case c2 was altered: audit row 4 holds another status."),
            ("UPDATE cases SET status = 'done', report = '{}' WHERE id = 'c2'",
             "Case c2 was altered: it reads 'done', but no audit row of case_finished tells of it."),
            ("UPDATE images SET bytes = 10", "Case c1 was altered: audit row 1 holds another bytes."),
            ("UPDATE messages SET text = 'How?'",
             "Message 1 of case c1 was altered: audit row 5 holds another sha256."),
            ("DELETE FROM messages", "Message 1 of case c1, which audit row 5 tells of, is missing."),
            ("UPDATE reviews SET label = 'generated'",
             "Review 1 of case c1 was altered: audit row 6 holds another sha256."),
            ("INSERT INTO reviews SELECT 7, case_id, at, reviewer, label, note FROM reviews",
             "The table reviews has 2 rows, but the audit trail tells of 1."),
            ("INSERT INTO cases (id, status, created_at, budget, name, origin, image_sha256) "
             "SELECT 'c3', 'running', created_at, budget, name, origin, image_sha256 FROM cases WHERE id = 'c1'",
             "Case c3 was added by other hands: no audit row tells of its beginning."),
        ],
    )  # fmt: skip
    async def test_what_was_changed_is_told(self, told: Store, url: str, change: str, message: str) -> None:
        await sql(url, change)
        assert await broken(told) == message

    async def test_a_missing_case_is_found(self, told: Store, url: str) -> None:
        await sql(url, "DELETE FROM cases WHERE id = 'c2'")
        assert await broken(told) == "Case c2, which audit row 3 tells of, is missing."

    async def test_a_cut_with_a_matching_head_is_found_by_what_is_left(self, told: Store, url: str) -> None:
        before = next(row for row in await told.audit() if row.seq == 5)
        await sql(url, "DELETE FROM audit WHERE seq = 6", f"UPDATE audit_head SET seq = 5, hash = '{before.hash}'")
        assert await broken(told) == "The table reviews has 1 rows, but the audit trail tells of 0."

    async def test_an_altered_report_is_not_shown(self, told: Store, url: str) -> None:
        await sql(url, "UPDATE cases SET report = replace(report, '0.9', '0.1') WHERE id = 'c1'")
        with pytest.raises(IntegrityError, match="The stored report of case c1 was altered"):
            await told.report("c1")

    async def test_a_record_that_cannot_be_read_is_named(self, told: Store, url: str) -> None:
        if url.startswith("postgresql"):
            pytest.skip("PostgreSQL itself refuses such values")
        for change in ("UPDATE cases SET created_at = 'x' WHERE id = 'c2'", "UPDATE messages SET cites = '['"):
            await sql(url, change)
            assert "the stored record cannot be read any more" in await broken(told)
            await sql(url, "UPDATE cases SET created_at = '2025-01-01 00:00:00.000000' WHERE id = 'c2'")
        await sql(url, "UPDATE audit SET payload = x'00ff' WHERE seq = 2")
        assert await broken(told) == "Audit row 2 was altered: its content does not match its hash."


class TestManyAtOnce:
    async def test_fifty_at_once(self, store: Store) -> None:
        await asyncio.gather(*(finish(store, f"c{at}") for at in range(50)))
        assert await store.verify_audit() == 100
        assert {case.status for case in await store.cases(limit=100)} == {"done"}

    async def test_two_stores_and_repeated_finishes(self, store: Store, url: str) -> None:
        other = await Store.open(url)
        await begin(store, "same")
        report = sample("same")
        await asyncio.gather(
            *(finish(turn, f"c{at}") for at, turn in enumerate([store, other] * 8)),
            *(turn.finish_case(report) for turn in [store, other] * 4),
        )
        await other.close()
        assert await store.verify_audit() == 16 * 2 + 2

    async def test_calls_that_are_cancelled_leave_nothing_half_done(self, store: Store) -> None:
        tasks = [asyncio.create_task(finish(store, f"c{at}")) for at in range(30)]
        for at, task in enumerate(tasks):
            await asyncio.sleep(0.002)
            if at % 2:
                tasks[at - 1].cancel()
                task.cancel() if at % 3 else None
        await asyncio.gather(*tasks, return_exceptions=True)
        await finish(store, "after")
        assert await store.verify_audit() == len(await store.audit(limit=1000)) > 2

    @pytest.mark.parametrize("url", ["sqlite", "postgresql"], indirect=True)
    async def test_killing_the_writer_loses_no_recorded_case(self, url: str) -> None:
        recorded: list[str] = []
        for rounds in range(2):
            writer = subprocess.Popen(  # noqa: ASYNC220
                [sys.executable, "-m", "tests.agent.samples", url], cwd=ROOT, stdout=subprocess.PIPE, text=True
            )
            with writer:
                assert writer.stdout is not None
                recorded += [writer.stdout.readline().strip() for _ in range(15 + 8 * rounds)]
                writer.send_signal(signal.SIGKILL)
                recorded += [line.strip() for line in writer.stdout if line.endswith("\n")]
            assert writer.returncode == -signal.SIGKILL
            store = await Store.open(url)
            await store.recover_interrupted()
            assert await store.verify_audit() >= 2 * len(recorded)
            for case in recorded:
                assert await store.report(case) == sample(case)
            assert {case.status for case in await store.cases(limit=1000)} <= {"done", "failed"}
            await store.close()


class TestTrouble:
    async def test_a_locked_database_is_waited_for_and_then_told(self, tmp_path: Path) -> None:
        path = tmp_path / "log.db"
        store = await Store.open(f"sqlite:///{path}", busy_timeout_s=0.1)
        holder = sqlite3.connect(path, isolation_level=None)
        holder.execute("BEGIN IMMEDIATE")
        with pytest.raises(TryAgainError, match="stayed locked") as caught:
            await begin(store, "c1")
        assert caught.value.code == "database_locked"
        assert await store.cases() == []  # readers do not wait
        soon = asyncio.create_task(begin(store, "c1"))
        await asyncio.sleep(0.15)  # longer than one attempt waits
        holder.execute("COMMIT")
        holder.close()
        await soon
        assert await store.verify_audit() == 1
        await store.close()

    async def test_postgres_row_lock(self, postgres: str) -> None:
        store = await Store.open(postgres, busy_timeout_s=0.1)
        engine = create_async_engine(database.parse(postgres))
        async with engine.begin() as connection:
            await connection.execute(text("SELECT * FROM audit_head FOR UPDATE"))
            with pytest.raises(TryAgainError, match="stayed locked"):
                await begin(store, "c1")
        await engine.dispose()
        await store.close()

    async def test_the_password_is_in_no_message(self, postgres: str) -> None:
        gone = "postgresql://me:s3cret@127.0.0.1:1/db?ssl=disable&password=s3cret"
        missing = postgres.replace("/postgres?", "/nowhere?").replace("postgres:@", "postgres:s3cret@")
        wrong = ["mysql://me:s3cret@h/db", "s3cret", "postgresql://me:s3cret@h:port/db", gone, missing]
        kinds = []
        for url in wrong:
            with pytest.raises((ConfigurationError, TryAgainError)) as caught:
                await Store.open(url)
            assert "s3cret" not in "".join(traceback.format_exception(caught.value))
            kinds.append(type(caught.value))
        assert kinds == [ConfigurationError] * 3 + [TryAgainError, ConfigurationError]

    async def test_a_server_that_stops(self, store: Store, monkeypatch: pytest.MonkeyPatch, url: str) -> None:
        if url.startswith("sqlite"):
            pytest.skip("there is no server")
        await store.ping()
        name = url.split("/")[-1].split("?")[0]
        await sql(url.replace(name, "postgres"), f"ALTER DATABASE {name} ALLOW_CONNECTIONS false",
                  f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'")  # fmt: skip
        with pytest.raises((TryAgainError, ConfigurationError)):
            await store.ping()

    @pytest.mark.parametrize("url", ["sqlite://", "sqlite:///:memory:", "sqlite:////proc/nowhere/log.db"])
    async def test_sqlite_that_would_not_last(self, url: str) -> None:
        with pytest.raises(ConfigurationError):
            await Store.open(url)

    async def test_a_file_that_is_no_database(self, tmp_path: Path) -> None:
        (tmp_path / "log.db").write_bytes(b"not a database" * 100)
        with pytest.raises(ConfigurationError, match="cannot be used"):
            await Store.open(f"sqlite:///{tmp_path / 'log.db'}")
