"""What is changed behind the store's back is found, and named; on SQLite and PostgreSQL."""

from __future__ import annotations

import dataclasses

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from agent import audit, trail
from agent.store import Store
from tests.agent.samples import begin, finish, sql
from tools.errors import IntegrityError

ALTERED = "Audit row 3 was altered: its content does not match its hash."
CHANGES = [
    *((f"UPDATE audit SET {field} = {field} || ' ' WHERE seq = 3", ALTERED)
      for field in ("at", "action", "case_id", "payload", "previous", "hash")),
    ("UPDATE audit SET seq = 33 WHERE seq = 3", "Audit row 3 is missing: the next row that is there is 4."),
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
    ("UPDATE reviews SET kind = 'confirm'", "Review 1 of case c1 was altered: audit row 6 holds another sha256."),
    ("UPDATE reviews SET kind = NULL, revision = NULL",
     "Review 1 of case c1 was altered: audit row 6 holds another sha256."),
    ("UPDATE reviews SET label = 'generated'",
     "Review 1 of case c1 was altered: audit row 6 holds another sha256."),
    ("INSERT INTO reviews (id, case_id, at, reviewer, kind, revision, label, note) "
     "SELECT 7, case_id, at, reviewer, kind, revision, label, note FROM reviews",
     "The table reviews has 2 rows, but the audit trail tells of 1."),
    ("INSERT INTO cases (id, status, created_at, budget, name, origin, image_sha256) "
     "SELECT 'c3', 'running', created_at, budget, name, origin, image_sha256 FROM cases WHERE id = 'c1'",
     "Case c3 was added by other hands: no audit row tells of its beginning."),
    ("UPDATE audit SET payload = '{}' WHERE seq = 5", ALTERED.replace("3", "5")),
    ("UPDATE audit SET action = 'message_added' WHERE seq = 3", ALTERED),
    ("UPDATE cases SET id = 'c4' WHERE id = 'c2'", "Case c2, which audit row 3 tells of, is missing."),
]  # fmt: skip
SQLITE_CHANGES = [  # PostgreSQL itself refuses such values
    ("UPDATE cases SET created_at = 'x' WHERE id = 'c2'",
     "What audit row 3 tells of case c2 was altered: the stored record cannot be read any more."),
    ("UPDATE messages SET cites = '['",
     "What audit row 5 tells of case c1 was altered: the stored record cannot be read any more."),
    ("UPDATE cases SET name = x'00ff' WHERE id = 'c2'", "Case c2 was altered: audit row 3 holds another name."),
    ("UPDATE messages SET text = x'00ff'",
     "What audit row 5 tells of case c1 was altered: the stored record cannot be read any more."),
    ("UPDATE audit SET payload = x'00ff' WHERE seq = 3", ALTERED),
    ("UPDATE audit SET at = 5 WHERE seq = 3", ALTERED),
]  # fmt: skip


async def broken(store: Store) -> str:
    """What the verification finds wrong."""
    with pytest.raises(IntegrityError) as caught:
        await store.verify_audit()
    return caught.value.message


async def after(session: AsyncSession, change: str) -> str:
    """What the verification finds wrong after `change`, which is then taken back."""
    await session.execute(text(change))
    try:
        await trail.verify(session)
    except IntegrityError as error:
        return error.message
    finally:
        await session.rollback()
    return "nothing"


@pytest.fixture
async def told(store: Store) -> Store:
    """Six rows: a case that is done, one that failed, a message and a review."""
    await finish(store, "c1")
    await begin(store, "c2")
    await store.fail_case("c2", "worker", "The worker died.")
    await store.add_message("c1", "user", "Why?")
    await store.add_review("c1", reviewer="Ann", kind="override", label="edited", reason="a seam", revision=1)
    assert await store.verify_audit() == 6
    return store


async def test_a_row_hashed_anew_is_found(told: Store, url: str) -> None:
    for seq in (3, 6):
        entry = next(row for row in await told.audit() if row.seq == seq)
        forged = dataclasses.replace(entry, at="2001-01-01T00:00:00.000000+00:00")
        await sql(url, f"UPDATE audit SET at = '{forged.at}', hash = '{audit.digest(forged)}' WHERE seq = {seq}")
        found = await broken(told)
        assert found.startswith(f"Audit row {seq} was altered and hashed anew")
        await sql(url, f"UPDATE audit SET at = '{entry.at}', hash = '{entry.hash}' WHERE seq = {seq}")
    assert await told.verify_audit() == 6


async def test_what_was_changed_is_told(told: Store, url: str) -> None:
    for change, message in CHANGES + SQLITE_CHANGES * url.startswith("sqlite"):
        found = await told._database.write(lambda session, change=change: after(session, change))  # type: ignore[misc]
        assert (change, found) == (change, message)
    assert await told.verify_audit() == 6


async def test_a_cut_with_a_matching_head_is_found_by_what_is_left(told: Store, url: str) -> None:
    before = next(row for row in await told.audit() if row.seq == 5)
    await sql(url, "DELETE FROM audit WHERE seq = 6", f"UPDATE audit_head SET seq = 5, hash = '{before.hash}'")
    assert await broken(told) == "The table reviews has 1 rows, but the audit trail tells of 0."


async def test_an_altered_report_is_not_shown(told: Store, url: str) -> None:
    await sql(url, "UPDATE cases SET report = replace(report, '0.9', '0.1') WHERE id = 'c1'")
    with pytest.raises(IntegrityError, match="The stored report of case c1 was altered"):
        await told.report("c1")
