"""The store on a real SQLite and a real PostgreSQL; every test runs on both unless it says why not."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sqlite3
import subprocess
import sys
import traceback
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import TypeVar

import pytest
import sqlalchemy
from sqlalchemy import Connection, text
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine

from agent import database
from agent.drawn import rows_of
from agent.store import Store
from agent.tables import Base
from agent.verdict import Writer
from tests.agent.samples import HASH, MAP, begin, finish, sample, sql
from tests.conftest import ROOT
from tools.errors import (
    CallerError,
    ConfigurationError,
    IntegrityError,
    NotFoundError,
    TryAgainError,
)

T = TypeVar("T")


async def look(url: str, inspect: Callable[[Connection], T]) -> T:
    """Reads the database without the store."""
    engine = create_async_engine(database.parse(url))
    async with engine.connect() as connection:
        found = await connection.run_sync(inspect)
    await engine.dispose()
    return found


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
            return {
                str(c["name"]) for table in names for c in sqlalchemy.inspect(connection).get_check_constraints(table)
            }

        wanted = {
            str(c.name)
            for table in Base.metadata.tables.values()
            for c in table.constraints
            if isinstance(c, sqlalchemy.CheckConstraint)
        }
        assert await look(url, checks) == wanted

    async def test_many_may_open_a_new_database_at_once(self, empty_url: str) -> None:
        stores = await asyncio.gather(*(Store.open(empty_url) for _ in range(6)))
        assert [await store.verify_audit() for store in stores] == [0] * 6
        for store in stores:
            await store.close()

    async def test_a_database_of_a_newer_version_is_refused(self, url: str) -> None:
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
            "revisions": 0, "api_keys": 0, "jobs": 0, "batches": 0, "batch_items": 0, "events": 0, "once": 0,
            "purges": 0,
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

    async def test_a_finish_that_fails_half_way_leaves_nothing(
        self, store: Store, monkeypatch: pytest.MonkeyPatch
    ) -> None:
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
                store.add_message(odd, "user", "?"), 
                store.add_review(odd, reviewer="a", kind="override", label="edited", reason="b", revision=1),
                store.reviews(odd), store.versions(odd),
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
        awkward = [
            "'); DROP TABLE cases;--",
            '"; --',
            "%s {x} :name $1 ?",
            "\u202egpj.exe",
            "\U0001f98a\n\t\\",
            "x" * 10000,
        ]
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
        for wrong in ({"limit": 0}, {"before": datetime(2025, 1, 1)}):
            with pytest.raises(CallerError):
                await store.cases(**wrong)  # type: ignore[arg-type]
        with pytest.raises(ValueError, match="time zone"):
            await store.begin_case(
                "c9", name="n", origin="url", budget="q", sha256=HASH, bytes=9, created_at=datetime(2025, 1, 1)
            )

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
    async def test_each_sqlite_connection_keeps_what_it_promises(self, tmp_path: Path) -> None:
        store = await Store.open(f"sqlite:///{tmp_path / 'log.db'}")

        async def pragmas(session: AsyncSession) -> list[object]:
            names = ("foreign_keys", "journal_mode", "synchronous", "busy_timeout")
            return [await session.scalar(text(f"PRAGMA {name}")) for name in names]

        together = await asyncio.gather(*(store._database.read(pragmas) for _ in range(8)))
        assert together == [[1, "wal", 2, 5000]] * 8
        await store.close()

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

    async def test_a_writer_locks_before_it_reads(self, tmp_path: Path) -> None:
        store = await Store.open(f"sqlite:///{tmp_path / 'log.db'}")

        async def work(session: AsyncSession) -> None:
            await session.scalar(text("SELECT count(*) FROM cases"))
            other = sqlite3.connect(tmp_path / "log.db", timeout=0)
            with contextlib.closing(other), pytest.raises(sqlite3.OperationalError, match="locked"):
                other.execute("BEGIN IMMEDIATE")

        await store._database.write(work)
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

    async def test_connections_that_were_cut_are_made_anew(self, postgres: str) -> None:
        store = await Store.open(postgres)
        await sql(postgres, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid() "
                  "AND datname = 'postgres'")  # fmt: skip
        await store.ping()
        await store.close()

    @pytest.mark.parametrize("url", ["sqlite://", "sqlite:///:memory:", "sqlite:////proc/nowhere/log.db"])
    async def test_sqlite_that_would_not_last(self, url: str) -> None:
        with pytest.raises(ConfigurationError):
            await Store.open(url)

    async def test_a_file_that_is_no_database(self, tmp_path: Path) -> None:
        (tmp_path / "log.db").write_bytes(b"not a database" * 100)
        with pytest.raises(ConfigurationError, match="cannot be used"):
            await Store.open(f"sqlite:///{tmp_path / 'log.db'}")
