"""The tables, typed.

What counts is the whole report in `cases.report`; the tables beside it are drawn from that report when the case is
finished, so that people can query what was found.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    CheckConstraint,
    DateTime,
    Dialect,
    Float,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    Text,
    TypeDecorator,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")


def storable(text: str) -> str:
    """`text` with NUL and lone surrogates, which UTF-8 text in PostgreSQL cannot hold, replaced by U+FFFD."""
    return _UNSTORABLE.sub("\ufffd", text)


class SafeText(TypeDecorator[str]):
    """Text of any length that both databases take, whatever a file was named or had written in it."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:
        return None if value is None else storable(value)


class UTCDateTime(TypeDecorator[datetime]):
    """A moment in UTC. SQLite has no time zones: there UTC is stored without one and put back on reading."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        if value.utcoffset() is None:
            raise ValueError(f"a stored time must know its time zone, got {value!r}")
        return value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class Base(DeclarativeBase):
    """Root of the tables: one naming convention, so that each constraint can be named in a migration."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    type_annotation_map = {  # noqa: RUF012 (SQLAlchemy reads it as a class attribute)
        str: SafeText(),
        datetime: UTCDateTime(),
        float: Float(53),
        list[str]: JSON(),
        list[dict[str, Any]]: JSON(),
        dict[str, Any]: JSON(none_as_null=True),
    }


class ImageRow(Base):
    """A file that was handed in, once for each content. What decoding found is empty where it did not decode.

    `pdq` is its perceptual hash in hexadecimal digits; empty too where the picture holds too little to be told by.
    """

    __tablename__ = "images"

    sha256: Mapped[str] = mapped_column(primary_key=True)
    bytes: Mapped[int] = mapped_column(BigInteger)
    width: Mapped[int | None]
    height: Mapped[int | None]
    format: Mapped[str | None]
    mode: Mapped[str | None]
    frame: Mapped[int | None]
    frames: Mapped[int | None]
    pdq: Mapped[str | None]
    first_seen_at: Mapped[datetime]


class CaseRow(Base):
    """One examination of one file. `label` and the probabilities are drawn from the report, and audited with it."""

    __tablename__ = "cases"
    __table_args__ = (
        CheckConstraint("status IN ('running', 'done', 'failed')", name="status"),
        CheckConstraint("(status = 'done') = (report IS NOT NULL)", name="report_when_done"),
        Index(None, "label", "created_at"),
    )

    id: Mapped[str] = mapped_column(primary_key=True)
    status: Mapped[str] = mapped_column(index=True)
    created_at: Mapped[datetime] = mapped_column(index=True)
    finished_at: Mapped[datetime | None]
    budget: Mapped[str]
    name: Mapped[str]
    origin: Mapped[str]
    image_sha256: Mapped[str] = mapped_column(ForeignKey("images.sha256"), index=True)
    claim: Mapped[dict[str, Any] | None]
    error_code: Mapped[str | None]
    error_message: Mapped[str | None]
    label: Mapped[str | None]
    p_generated: Mapped[float | None]
    p_edited: Mapped[float | None]
    schema_version: Mapped[str | None]
    report: Mapped[str | None]
    report_sha256: Mapped[str | None]
    review_asked: Mapped[str | None]
    """Why a person should look before the verdict is used, drawn from the report; empty where none was asked for."""


class RevisionRow(Base):
    """A later report of a case, made because new evidence came. The first one stays in `cases`; all are kept."""

    __tablename__ = "revisions"
    __table_args__ = (CheckConstraint("number > 1", name="number"),)

    case_id: Mapped[str] = mapped_column(ForeignKey("cases.id"), primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    at: Mapped[datetime]
    because: Mapped[str]
    label: Mapped[str]
    p_generated: Mapped[float]
    p_edited: Mapped[float | None]
    schema_version: Mapped[str]
    report: Mapped[str]
    report_sha256: Mapped[str]


class _OfCase:
    """A numbered row that belongs to a case."""

    case_id: Mapped[str] = mapped_column(ForeignKey("cases.id"), primary_key=True, sort_order=-2)
    position: Mapped[int] = mapped_column(primary_key=True, sort_order=-1)


class EvidenceRow(_OfCase, Base):
    """What one tool found."""

    __tablename__ = "evidence"

    evidence_id: Mapped[str]
    detector: Mapped[str] = mapped_column(index=True)
    version: Mapped[str]
    target: Mapped[str]
    score: Mapped[float | None]
    abstained_because: Mapped[str | None]
    applicability: Mapped[float]
    blind: Mapped[bool]
    findings: Mapped[list[dict[str, Any]]]
    measurements: Mapped[dict[str, Any]]
    ms: Mapped[float]


class ContributionRow(_OfCase, Base):
    """What a piece of evidence added to the verdict."""

    __tablename__ = "contributions"

    evidence_id: Mapped[str]
    target: Mapped[str]
    llr: Mapped[float]
    decibans: Mapped[float]
    bucket: Mapped[str]
    because: Mapped[str]


class VerdictRow(Base):
    """The answer of a case, and how sure it is."""

    __tablename__ = "verdicts"

    case_id: Mapped[str] = mapped_column(ForeignKey("cases.id"), primary_key=True)
    label: Mapped[str]
    p_generated: Mapped[float]
    p_edited: Mapped[float | None]
    prior: Mapped[float]
    low: Mapped[float]
    high: Mapped[float]
    low_edited: Mapped[float | None]
    high_edited: Mapped[float | None]
    confidence: Mapped[str]
    decided_by: Mapped[str]
    abstained_because: Mapped[str | None]
    calibration: Mapped[str]


class ExplanationRow(Base):
    """Who wrote the explanation of a case."""

    __tablename__ = "explanations"

    case_id: Mapped[str] = mapped_column(ForeignKey("cases.id"), primary_key=True)
    kind: Mapped[str]
    model: Mapped[str | None]
    adapter: Mapped[str | None]
    revision: Mapped[str | None]
    prompt_version: Mapped[str | None]
    note: Mapped[str]


class SentenceRow(_OfCase, Base):
    """A sentence of the explanation; `dropped_because` is set on one that grounding refused."""

    __tablename__ = "sentences"

    role: Mapped[str | None]
    text: Mapped[str]
    cites: Mapped[list[str]]
    dropped_because: Mapped[str | None]


class ArtifactRow(_OfCase, Base):
    """Something seen at a place, in fractions of the upright image."""

    __tablename__ = "artifacts"

    evidence_id: Mapped[str]
    kind: Mapped[str]
    text: Mapped[str]
    severity: Mapped[str]
    x0: Mapped[float]
    y0: Mapped[float]
    x1: Mapped[float]
    y1: Mapped[float]


class MapRow(_OfCase, Base):
    """A map that a tool drew; its pixels lie beside the database, under this hash."""

    __tablename__ = "maps"

    evidence_id: Mapped[str]
    name: Mapped[str]
    sha256: Mapped[str] = mapped_column(index=True)
    caption: Mapped[str]
    width: Mapped[int]
    height: Mapped[int]


class VersionRow(Base):
    """A component that spoke in a case, and its version."""

    __tablename__ = "component_versions"
    __table_args__ = (Index(None, "component", "version"),)

    case_id: Mapped[str] = mapped_column(ForeignKey("cases.id"), primary_key=True)
    component: Mapped[str] = mapped_column(primary_key=True)
    version: Mapped[str]


class MessageRow(Base):
    """A question about a case, or the answer to one."""

    __tablename__ = "messages"
    __table_args__ = (CheckConstraint("role IN ('user', 'assistant')", name="role"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    case_id: Mapped[str] = mapped_column(ForeignKey("cases.id"), index=True)
    at: Mapped[datetime]
    role: Mapped[str]
    text: Mapped[str]
    cites: Mapped[list[str]]
    writer: Mapped[dict[str, Any] | None]


class ReviewRow(Base):
    """What a person said of a verdict. Rows are only ever added; the newest that confirms or overrides counts.

    `kind` and `revision` (the report that was before the reviewer) are empty in rows older than these columns; `label`
    is empty where a person only annotates.
    """

    __tablename__ = "reviews"
    __table_args__ = (CheckConstraint("kind IN ('confirm', 'override', 'annotate')", name="kind"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    case_id: Mapped[str] = mapped_column(ForeignKey("cases.id"), index=True)
    at: Mapped[datetime]
    reviewer: Mapped[str]
    kind: Mapped[str | None]
    revision: Mapped[int | None]
    label: Mapped[str | None]
    note: Mapped[str]


class KeyRow(Base):
    """A key of the API, by the hash of its text."""

    __tablename__ = "api_keys"

    id: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str]
    sha256: Mapped[str]
    scopes: Mapped[list[str]]
    created_at: Mapped[datetime]
    revoked_at: Mapped[datetime | None]


class AuditRow(Base):
    """A row of the audit trail; see `agent.audit`."""

    __tablename__ = "audit"

    seq: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    at: Mapped[str]
    action: Mapped[str]
    case_id: Mapped[str] = mapped_column(index=True)  # no foreign key: the trail outlives what it speaks of
    payload: Mapped[str]
    previous: Mapped[str]
    hash: Mapped[str]


class AuditHeadRow(Base):
    """The end of the audit trail: one row, which each writer locks before it writes anything."""

    __tablename__ = "audit_head"
    __table_args__ = (CheckConstraint("id = 1", name="single"),)

    id: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    seq: Mapped[int] = mapped_column(BigInteger)
    hash: Mapped[str]
