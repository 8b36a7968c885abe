"""The tables of what waits and of what was given away: jobs, batches, their events, repeated requests, purges.

The queue itself is the task library's, in tables of its own; these rows say what a job is about.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import CheckConstraint, ForeignKey, Index
from sqlalchemy.orm import Mapped, mapped_column

from agent.tables import Base


class BatchRow(Base):
    """Many files or addresses that were handed in together."""

    __tablename__ = "batches"

    id: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str]
    created_at: Mapped[datetime] = mapped_column(index=True)
    budget: Mapped[str]
    callback_url: Mapped[str | None]


class BatchItemRow(Base):
    """One file or address of a batch. `case_id` is fixed when it is handed in; the case itself may come later.

    `error_code` is set only where no case could be opened: a file that could not be read, an address that led nowhere.
    """

    __tablename__ = "batch_items"
    __table_args__ = (Index(None, "case_id", unique=True),)

    batch_id: Mapped[str] = mapped_column(ForeignKey("batches.id"), primary_key=True)
    position: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    name: Mapped[str]
    url: Mapped[str | None]
    claim: Mapped[dict[str, Any] | None]
    case_id: Mapped[str]
    error_code: Mapped[str | None]
    error_message: Mapped[str | None]


class JobRow(Base):
    """A case that is examined in the background. How it ended stands in its case.

    `started_at` is empty while it waits; `attempts` counts how often an examination was begun.
    """

    __tablename__ = "jobs"

    case_id: Mapped[str] = mapped_column(ForeignKey("cases.id"), primary_key=True)
    queued_at: Mapped[datetime]
    started_at: Mapped[datetime | None]
    attempts: Mapped[int]
    stakes: Mapped[str]
    callback_url: Mapped[str | None]
    batch_id: Mapped[str | None] = mapped_column(ForeignKey("batches.id"), index=True)


class EventRow(Base):
    """A step of a background examination, for whoever watches from another process. Kept for a day."""

    __tablename__ = "events"

    case_id: Mapped[str] = mapped_column(ForeignKey("cases.id"), primary_key=True)
    position: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    at: Mapped[datetime] = mapped_column(index=True)
    kind: Mapped[str]
    text: Mapped[str]
    data: Mapped[dict[str, Any]]


class OnceRow(Base):
    """A request that carried an idempotency key, and the answer it got. Kept for a day.

    `key_sha256` is of the caller and the key; `nonce` seeds the case id, so that a request that is repeated after a
    crash finds the case it opened.
    """

    __tablename__ = "once"

    key_sha256: Mapped[str] = mapped_column(primary_key=True)
    request_sha256: Mapped[str]
    nonce: Mapped[str]
    at: Mapped[datetime] = mapped_column(index=True)
    status: Mapped[int | None]
    headers: Mapped[dict[str, Any] | None]
    body: Mapped[str | None]


class PurgeRow(Base):
    """A case whose original and maps were deleted. Its report, its hashes and its audit rows stay."""

    __tablename__ = "purges"
    __table_args__ = (CheckConstraint("maps >= 0", name="maps"),)

    case_id: Mapped[str] = mapped_column(ForeignKey("cases.id"), primary_key=True)
    at: Mapped[datetime]
    because: Mapped[str]
    original_kept: Mapped[bool]
    """Whether the bytes stay because a case that was not purged is about the same file."""
    maps: Mapped[int]
