"""A batch to take along as one HTML page that stands alone, with a row for each picture."""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path as FilePath
from typing import Annotated, Final

from fastapi import APIRouter, Path
from fastapi.responses import HTMLResponse

from agent.service import Batch, Explainer
from tools.errors import NotFoundError
from ui import words
from ui.desk.pictures import Pictures
from ui.formats import content, html

WITH_PICTURES: Final = 200
"""Rows of the page that show their picture: each may have to be decoded first."""
_TEMPLATES: Final = FilePath(__file__).parent.with_name("static")

Number = Annotated[str, Path(max_length=64, pattern=r"^[A-Za-z0-9_-]+$")]


def router(explainer: Explainer, pictures: Pictures) -> APIRouter:
    """The route, for the page alone."""
    made = APIRouter(include_in_schema=False)

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
        name = f'attachment; filename="exposit-batch-{found.id}.html"'
        headers = {"Content-Disposition": name, "Content-Security-Policy": html.POLICY}
        return HTMLResponse(page(found, small), headers=headers)

    return made


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
