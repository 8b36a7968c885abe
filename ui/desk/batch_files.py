"""A batch to take along: a table as CSV, and one HTML page that stands alone with a row for each picture."""

from __future__ import annotations

import base64
import csv
import hashlib
import io
from pathlib import Path as FilePath
from typing import Annotated, Final

from fastapi import APIRouter, Path, Response
from fastapi.responses import HTMLResponse

from agent.service import Batch, BatchItem, Explainer
from tools.errors import NotFoundError
from ui import words
from ui.desk.pictures import Pictures
from ui.formats import content, html

WITH_PICTURES: Final = 200
"""Rows of the page that show their picture: each may have to be decoded first."""
COLUMNS: Final = (
    "position", "name", "url", "state", "case_id", "label", "verdict", "p_generated", "error_code", "error",
)  # fmt: skip
_TEMPLATES: Final = FilePath(__file__).parent.with_name("static")
_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r")

Number = Annotated[str, Path(max_length=64, pattern=r"^[A-Za-z0-9_-]+$")]


def router(explainer: Explainer, pictures: Pictures) -> APIRouter:
    """The routes, for the page alone."""
    made = APIRouter(include_in_schema=False)

    @made.get("/batches/{number}.csv")
    async def as_csv(number: Number) -> Response:
        found = await explainer.batch(number)
        return Response(table(found).encode("utf-8-sig"), media_type="text/csv", headers=_attached(found, "csv"))

    @made.get("/batches/{number}.html")
    async def as_html(number: Number) -> HTMLResponse:
        found = await explainer.batch(number)
        small: dict[int, str] = {}
        for item in found.items:
            if item.state == "done" and item.case_id and len(small) < WITH_PICTURES:
                try:
                    small[item.position] = base64.b64encode(await pictures.get(item.case_id, "small")).decode()
                except NotFoundError:  # its file was deleted by policy
                    continue
        headers = _attached(found, "html") | {"Content-Security-Policy": html.POLICY}
        return HTMLResponse(page(found, small), headers=headers)

    return made


def table(batch: Batch) -> str:
    """The batch as CSV. A text that a spreadsheet would take for a formula gets an apostrophe before it."""
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow(COLUMNS)
    writer.writerows([_plain(value) for value in _row(item)] for item in batch.items)
    return out.getvalue()


def _row(item: BatchItem) -> tuple[str, ...]:
    return (
        str(item.position + 1), item.name, item.url or "", item.state, item.case_id or "", item.label or "",
        words.LABELS[item.label] if item.label else "",
        "" if item.p_generated is None else f"{item.p_generated:.4f}",
        item.problem.code if item.problem else "", item.problem.message if item.problem else "",
    )  # fmt: skip


def _plain(text: str) -> str:
    return f"'{text}" if text.startswith(_FORMULA) else text


def page(batch: Batch, small: dict[int, str]) -> str:
    """The batch as one page.

    Args:
        batch: With its items.
        small: Pictures as base64 of WebP, by position.
    """
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from markupsafe import Markup

    style = (_TEMPLATES / "batch.css").read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    engine = Environment(
        loader=FileSystemLoader(_TEMPLATES), autoescape=True, undefined=StrictUndefined, trim_blocks=True,
        lstrip_blocks=True,
    )  # fmt: skip
    return engine.get_template("batch.html").render(
        batch=batch, content=content, most=WITH_PICTURES, small=small, style=Markup(style),  # noqa: S704 (our file)
        style_hash=f"sha256-{digest}", words=words,
    )  # fmt: skip


def _attached(batch: Batch, suffix: str) -> dict[str, str]:
    return {"Content-Disposition": f'attachment; filename="exposit-batch-{batch.id}.{suffix}"'}
