"""Everything that a document about a case is made from, gathered once."""

from __future__ import annotations

import asyncio
import io
from dataclasses import dataclass
from typing import Final

from PIL import Image

from agent.audit import Entry, Head
from agent.service import Explainer, Review
from agent.settings import Settings
from agent.verdict import Report
from tools.errors import ExpositError, NotFoundError
from ui import intake, overlay, words

_PICTURE_SIDE: Final = 1100
"""Longest side of the pictures in a document, in pixels: readable in print, and small enough for an e-mail."""
_JPEG_QUALITY: Final = 85


@dataclass(frozen=True, slots=True)
class Drawing:
    """A map that a tool drew, as it is stored and as it is shown."""

    title: str
    caption: str
    evidence_id: str
    sha256: str
    png: bytes
    shown: bytes
    """Enlarged without smoothing, as PNG."""


@dataclass(frozen=True, slots=True)
class Dossier:
    """A case with its pictures.

    Attributes:
        report_text: The report as the very JSON that was stored.
        original: The bytes that were examined; None where they are no longer kept.
        picture: The upright picture, shrunk, as JPEG; None without an original.
        marked: The same with the regions that tools marked; None where they marked none.
        absent: Why there is no picture, in a sentence.
        missing_maps: Names of maps that are no longer kept.
        reviews: What people said of the verdict, oldest first.
        audit: The rows of the audit trail that tell of the case, and the end of the trail.
    """

    report: Report
    report_text: str
    original: bytes | None
    picture: bytes | None
    marked: bytes | None
    absent: str
    drawings: tuple[Drawing, ...]
    missing_maps: tuple[str, ...]
    reviews: tuple[Review, ...]
    audit: tuple[Entry, ...]
    head: Head


async def gather(explainer: Explainer, settings: Settings, case_id: str) -> Dossier:
    """Reads a case with everything that was kept of it, by its newest report.

    Raises:
        NotFoundError: if there is no such case, or it has no report.
        IntegrityError: where what is stored was altered.
    """
    report = await explainer.report(case_id)
    text = await explainer.report_text(case_id, report.revision)
    reviews = await explainer.reviews(case_id)
    original: bytes | None
    picture = marked = None
    absent = ""
    try:
        original, _ = await explainer.original(case_id)
    except NotFoundError:
        original, absent = None, "The original is no longer kept, so the picture cannot be shown."
    if original is not None:
        try:
            picture, marked = await asyncio.to_thread(_pictures, original, report, settings)
        except ExpositError as error:  # bounds that were lowered since
            absent = f"The picture cannot be shown: {error.message}"
    drawings, missing = await _drawings(explainer, report)
    rows, head = await explainer.audit_of(case_id)
    return Dossier(
        report=report, report_text=text, original=original, picture=picture, marked=marked, absent=absent,
        drawings=drawings, missing_maps=missing, reviews=tuple(reviews), audit=tuple(rows), head=head,
    )  # fmt: skip


def _pictures(original: bytes, report: Report, settings: Settings) -> tuple[bytes, bytes | None]:
    shown = overlay.upright(original, report.image.path, intake.limits(settings))
    shown.thumbnail((_PICTURE_SIDE, _PICTURE_SIDE), Image.Resampling.LANCZOS)
    return _jpeg(shown), _jpeg(overlay.draw(shown, report.artifacts)) if report.artifacts else None


async def _drawings(explainer: Explainer, report: Report) -> tuple[tuple[Drawing, ...], tuple[str, ...]]:
    drawings, missing = [], []
    for item in report.evidence:
        for each in item.maps:
            title = words.title(each.name)
            try:
                png = await explainer.map_png(each.sha256)
            except NotFoundError:
                missing.append(title)
                continue
            shown = await asyncio.to_thread(_png, png)
            drawings.append(Drawing(title, each.caption, item.id, each.sha256, png, shown))
    return tuple(drawings), tuple(missing)


def _jpeg(picture: Image.Image) -> bytes:
    buffer = io.BytesIO()
    picture.convert("RGB").save(buffer, "JPEG", quality=_JPEG_QUALITY, optimize=True)
    return buffer.getvalue()


def _png(stored: bytes) -> bytes:
    buffer = io.BytesIO()
    overlay.enlarged(stored).save(buffer, "PNG", optimize=True)
    return buffer.getvalue()
