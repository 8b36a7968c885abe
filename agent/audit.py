"""The audit trail as a hash chain: pure functions, no database.

Each row's hash is the sha256 of the canonical JSON of its other six fields, one of which is the hash of the row
before; the first row follows `GENESIS`. A head (last number, last hash) is kept beside the rows, so that a tail that
was cut off is seen too. Anyone can check a row with `json` and `sha256` alone.

What a chain cannot show: somebody who may write to the whole database can also write the whole chain anew. Whoever
needs more keeps the head somewhere else from time to time; a chain that was rewritten no longer leads to it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal, TypeAlias

from tools.errors import IntegrityError

GENESIS = "0" * 64
Action: TypeAlias = Literal[
    "case_begun",
    "case_finished",
    "case_failed",
    "case_purged",
    "case_replayed",
    "message_added",
    "report_revised",
    "review_added",
]
REMEDY = "Keep a copy of the database as it is, and compare it with a backup from before the change."


@dataclass(frozen=True, slots=True)
class Entry:
    """One row of the trail.

    Attributes:
        seq: 1 for the first row, then without a gap.
        at: When, as ISO 8601 in UTC with microseconds; text, so that what is hashed is what is stored.
        action: What happened; one of `Action`.
        case_id: The case it happened to.
        payload: Canonical JSON of what was recorded, hashes in place of long texts.
        previous: Hash of the row before.
        hash: Hash of this row.
    """

    seq: int
    at: str
    action: str
    case_id: str
    payload: str
    previous: str
    hash: str


@dataclass(frozen=True, slots=True)
class Head:
    """The end of the trail: how many rows there are, and the hash of the last."""

    seq: int
    hash: str


START = Head(0, GENESIS)


def sha256(text: str) -> str:
    """Hexadecimal sha256 of `text` in UTF-8."""
    return hashlib.sha256(text.encode()).hexdigest()


def canonical(value: object) -> str:
    """JSON with sorted keys, no spaces, ASCII only and no NaN: one text for one value."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)


def digest(entry: Entry) -> str:
    """The hash that a row must carry.

    Raises:
        TypeError: where a field holds something that is no JSON (bytes in an altered SQLite file).
    """
    fields = {name: getattr(entry, name) for name in ("seq", "at", "action", "case_id", "payload", "previous")}
    return sha256(canonical(fields))


def seal(head: Head, action: Action, case_id: str, payload: Mapping[str, object], at: datetime) -> Entry:
    """The row that follows `head`. `at` must know its time zone."""
    moment = at.astimezone(UTC).isoformat(timespec="microseconds")
    entry = Entry(head.seq + 1, moment, action, case_id, canonical(payload), head.hash, "")
    return Entry(entry.seq, entry.at, entry.action, entry.case_id, entry.payload, entry.previous, digest(entry))


def step(head: Head, entry: Entry) -> Head:
    """Checks that `entry` follows `head`, and returns the head after it.

    Raises:
        IntegrityError: naming the first row that does not hold, and what happened to it.
    """
    expected = head.seq + 1
    if entry.seq != expected:
        if not isinstance(entry.seq, int) or entry.seq < expected:
            raise broken(f"Audit row {expected} was altered: its number reads {entry.seq!r}.")
        gone = f"row {expected} is" if entry.seq == expected + 1 else f"rows {expected} to {entry.seq - 1} are"
        raise broken(f"Audit {gone} missing: the next row that is there is {entry.seq}.")
    try:
        holds = digest(entry) == entry.hash
    except TypeError:
        holds = False
    if not holds:
        raise broken(f"Audit row {entry.seq} was altered: its content does not match its hash.")
    if entry.previous != head.hash:
        before = f"row {head.seq}" if head.seq else "the start of the trail"
        raise broken(
            f"Audit row {head.seq or entry.seq} was altered and hashed anew: "
            f"row {entry.seq} carries another hash for {before}."
        )
    return Head(entry.seq, entry.hash)


def end(reached: Head, head: Head | None) -> None:
    """Checks that the walk ended where the stored head says.

    Raises:
        IntegrityError: where rows are missing at the end, were added by other hands, or the last was altered.
    """
    if head is None:
        raise broken(f"The head of the audit trail is missing, so nothing says that row {reached.seq} is the last.")
    if reached.seq < head.seq:
        first, last = reached.seq + 1, head.seq
        gone = f"row {last} is" if first == last else f"rows {first} to {last} are"
        raise broken(f"The audit trail was cut: {gone} missing at its end.")
    if reached.seq > head.seq:
        raise broken(
            f"Audit row {head.seq + 1} is not known to the head of the trail, which ends at row {head.seq}: "
            "rows were added by other hands, or the head was altered."
        )
    if reached.hash != head.hash:
        raise broken(f"Audit row {reached.seq} was altered and hashed anew: the head carries another hash for it.")


def broken(message: str) -> IntegrityError:
    """The error for a trail, or a record it speaks of, that does not hold."""
    return IntegrityError(message, remedy=REMEDY, code="audit_broken")
