"""The hash chain by itself."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from datetime import UTC, datetime, timedelta, timezone

import pytest

from agent import audit
from tools.errors import IntegrityError

NOON = datetime(2025, 6, 1, 12, tzinfo=UTC)


def chain(length: int) -> list[audit.Entry]:
    head, rows = audit.START, []
    for at in range(length):
        rows.append(audit.seal(head, "case_begun", f"c{at}", {"name": "\u00e9\x00", "n": 0.1}, NOON))
        head = audit.step(head, rows[-1])
    return rows


def walk(rows: list[audit.Entry], head: audit.Head) -> None:
    reached = audit.START
    for row in rows:
        reached = audit.step(reached, row)
    audit.end(reached, head)


def head_of(rows: list[audit.Entry]) -> audit.Head:
    return audit.Head(rows[-1].seq, rows[-1].hash)


def test_a_row_can_be_checked_with_json_and_sha256_alone() -> None:
    row = dataclasses.asdict(chain(2)[1])
    stored = row.pop("hash")
    assert hashlib.sha256(json.dumps(row, sort_keys=True, separators=(",", ":")).encode()).hexdigest() == stored


def test_the_hash_does_not_depend_on_the_order_of_keys_or_the_time_zone() -> None:
    east = NOON.astimezone(timezone(timedelta(hours=5)))
    one = audit.seal(audit.START, "case_failed", "c", {"a": 1, "b": 2}, NOON)
    assert one == audit.seal(audit.START, "case_failed", "c", {"b": 2, "a": 1}, east)


def test_a_whole_chain_holds() -> None:
    rows = chain(5)
    walk(rows, head_of(rows))
    walk([], audit.START)


@pytest.mark.parametrize("field", [f.name for f in dataclasses.fields(audit.Entry)])
@pytest.mark.parametrize("at", [0, 2, 4])
def test_every_altered_field_is_found(field: str, at: int) -> None:
    rows = chain(5)
    head = head_of(rows)
    value = getattr(rows[at], field)
    other = value + 1 if field == "seq" else value[:-1] + "#"
    rows[at] = dataclasses.replace(rows[at], **{field: other})
    with pytest.raises(IntegrityError, match=rf"row {at + 1} (was altered|is missing)"):
        walk(rows, head)


@pytest.mark.parametrize("at", range(5))
def test_every_row_hashed_anew_is_found(at: int) -> None:
    rows = chain(5)
    head = head_of(rows)
    forged = dataclasses.replace(rows[at], case_id="other")
    rows[at] = dataclasses.replace(forged, hash=audit.digest(forged))
    with pytest.raises(IntegrityError, match=rf"row {at + 1} was altered and hashed anew"):
        walk(rows, head)


@pytest.mark.parametrize(("first", "last"), [(0, 0), (1, 2), (4, 4), (2, 4), (0, 4)])
def test_missing_rows_are_found(first: int, last: int) -> None:
    rows = chain(5)
    head = head_of(rows)
    del rows[first : last + 1]
    named = f"row {first + 1} is" if first == last else f"rows {first + 1} to {last + 1} are"
    with pytest.raises(IntegrityError, match=named):
        walk(rows, head)


def test_rows_of_another_chain_do_not_fit() -> None:
    first = audit.seal(audit.Head(0, "1" * 64), "case_begun", "c", {}, NOON)
    with pytest.raises(IntegrityError, match="row 1 was altered and hashed anew"):
        audit.step(audit.START, first)


def test_repeated_and_swapped_rows_are_found() -> None:
    rows = chain(4)
    with pytest.raises(IntegrityError, match="row 3 was altered: its number reads 2"):
        walk([rows[0], rows[1], rows[1]], head_of(rows))
    with pytest.raises(IntegrityError, match="row 2 is missing"):
        walk([rows[0], rows[2], rows[1]], head_of(rows))


def test_what_is_no_json_is_an_altered_row_not_a_crash() -> None:
    row = dataclasses.replace(chain(1)[0], payload=b"\x00")  # type: ignore[arg-type]
    with pytest.raises(IntegrityError, match="row 1 was altered"):
        audit.step(audit.START, row)


def test_numbers_that_are_none_are_refused() -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        audit.seal(audit.START, "case_begun", "c", {"n": float("nan")}, NOON)
