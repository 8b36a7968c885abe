"""The history: every case by file, verdict, day and likeness, newest first; each opens on the first page."""

from __future__ import annotations

import asyncio
import hashlib
import re
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Final

import gradio as gr

from agent.service import CasePage, Filters
from tools.errors import CallerError
from tools.image import Limits, SourceImage
from tools.perceptual import SAME_WITHIN, perceptual_hash
from ui import intake, words
from ui.desk import cards
from ui.desk.escape import safe
from ui.desk.listing import rows
from ui.desk.shared import Desk, Updates, heading, key_of, needs, told

_AT_ONCE: Final = 25
_SHA256: Final = re.compile(r"[0-9a-f]{64}")
_ANY: Final = "any"


def build(desk: Desk, page: gr.Blocks) -> None:
    """Adds the page to the Blocks that are open."""
    explainer = desk.explainer
    head = gr.HTML(heading("history"))
    with gr.Row(elem_id="history"):
        with gr.Column(scale=2, min_width=280, elem_id="filters"):
            text = gr.Textbox(label="File name, or SHA-256", max_lines=1, elem_id="text")
            label = gr.Dropdown(
                [("Any verdict", _ANY), *((name, each) for each, name in words.LABELS.items())], value=_ANY,
                label="Verdict", filterable=False, elem_id="verdict-is",
            )  # fmt: skip
            with gr.Row():
                since = gr.Textbox(
                    label="From day", placeholder="2026-01-31", max_lines=1, min_width=120, elem_id="since"
                )
                until = gr.Textbox(
                    label="To day", placeholder="2026-01-31", max_lines=1, min_width=120, elem_id="until"
                )
            file = gr.File(label="Looks like this picture: drop, paste or choose", height=132, elem_id="picture")
            like = gr.Textbox(label="Or like the picture of this case", max_lines=1, elem_id="like")
            with gr.Row():
                search = gr.Button("Search", variant="primary", min_width=120, elem_id="search")
                clear = gr.Button("Clear", min_width=90, elem_id="clear")
        with gr.Column(scale=5, min_width=280):
            status = gr.HTML(visible=False, elem_id="status")
            found = gr.HTML(elem_id="found-cases")
            with gr.Row():
                newer = gr.Button("Newer", interactive=False, min_width=90, elem_id="newer")
                older = gr.Button("Older", interactive=False, min_width=90, elem_id="older")
    asked, cursors = gr.State(Filters().model_dump(mode="json")), gr.State([])
    shown = [status, found, newer, older, asked, cursors]
    fields = [text, label, since, until, file, like]

    async def paged(filters: Filters, before: list[str]) -> Updates:
        got = await explainer.history(filters, limit=_AT_ONCE, cursor=before[-1] if before else None)
        return {
            status: gr.update(value="", visible=False),
            found: _results(got, filters, len(before)),
            newer: gr.update(interactive=bool(before)),
            older: gr.update(interactive=got.next_cursor is not None),
            asked: filters.model_dump(mode="json") | {"next": got.next_cursor},
            cursors: before,
        }

    async def on_search(
        request: gr.Request, name: str, verdict: str, first: str, last: str, path: str | None, number: str
    ) -> Updates:
        try:
            needs(desk, request, "read")
            limits = intake.limits(desk.settings)
            filters = await asyncio.to_thread(_filters, name, verdict, first, last, path, number, limits)
            return await paged(filters, [])
        except Exception as error:
            return {status: gr.update(value=cards.failure(told(error)), visible=True)}

    async def turn(request: gr.Request, held: dict[str, str], before: list[str], step: int) -> Updates:
        try:
            needs(desk, request, "read")
            following = held.pop("next", None)
            gone = [*before, following] if step > 0 and following else before[:-1]
            return await paged(Filters.model_validate(held), gone)
        except Exception as error:
            return {status: gr.update(value=cards.failure(told(error)), visible=True)}

    async def on_older(request: gr.Request, held: dict[str, str], before: list[str]) -> Updates:
        return await turn(request, held, before, 1)

    async def on_newer(request: gr.Request, held: dict[str, str], before: list[str]) -> Updates:
        return await turn(request, held, before, -1)

    async def on_clear() -> Updates:
        emptied: Updates = {text: "", label: _ANY, since: "", until: "", file: None, like: ""}
        return emptied | await paged(Filters(), [])

    async def on_load(request: gr.Request) -> Updates:
        given: Updates = {head: heading("history", key_of(request))}
        number, sha256 = (request.query_params.get(name, "") for name in ("similar", "sha256"))
        given |= {like: number, text: sha256}
        return given | await on_search(request, sha256, _ANY, "", "", None, number)

    quiet = {"api_visibility": "private", "show_progress": "minimal"}
    gr.on([search.click, text.submit, like.submit, since.submit, until.submit, file.upload], on_search, fields, shown,
          **quiet)  # fmt: skip
    older.click(on_older, [asked, cursors], shown, **quiet)
    newer.click(on_newer, [asked, cursors], shown, **quiet)
    clear.click(on_clear, None, [*fields, *shown], **quiet)
    page.load(on_load, None, [head, text, like, *shown], **quiet)


def _filters(name: str, verdict: str, first: str, last: str, path: str | None, number: str, limits: Limits) -> Filters:
    """What the form asks for.

    Raises:
        CallerError: where a day is none.
        ImageError: where the picture cannot be read.
    """
    name, sha256, pdq = name.strip(), None, None
    if _SHA256.fullmatch(name.lower()):
        name, sha256 = "", name.lower()
    if path is not None:
        data = Path(path).read_bytes()
        image = SourceImage.open(data, intake.clean_name(Path(path).name), limits)
        sha256, pdq = hashlib.sha256(data).hexdigest(), perceptual_hash(image.rgb)
    since, until = _day(first), _day(last)
    return Filters.model_validate(
        {
            "name": name or None, "sha256": sha256, "looks_like": pdq, "similar_to": number.strip() or None,
            "label": None if verdict == _ANY else verdict,
            "since": since, "before": None if until is None else until + timedelta(days=1),
        }
    )  # fmt: skip


def _day(text: str) -> datetime | None:
    if not text.strip():
        return None
    try:
        return datetime.combine(date.fromisoformat(text.strip()), datetime.min.time(), UTC)
    except ValueError as error:
        raise CallerError(
            f"“{text.strip()[:40]}” is no day.", remedy="Write it as in 2026-01-31.", code="bad_day"
        ) from error


def _results(got: CasePage, filters: Filters, page: int) -> str:
    """A page of cases, and what was asked for where that may surprise."""
    said = ""
    if filters.looks_like == "" and filters.sha256:
        said = "The picture holds too little to tell it by its looks: only the very same file was searched for."
    elif filters.looks_like or filters.similar_to:
        said = (
            f"The same file, and pictures whose perceptual hash differs in at most {SAME_WITHIN} of 256 bits: copies "
            "that were saved again or resized are found so, cropped or mirrored ones are not."
        )
    inside = rows(got.cases, "/?case=") if got.cases else "<p>No case was found.</p>"
    note = f'<p class="ex-soft">{safe(said)}</p>' if said else ""
    where = f"Cases, page {page + 1}" if page or got.next_cursor else f"Cases ({len(got.cases)})"
    return f'<section class="ex-card" aria-label="Cases"><h2>{where}</h2>{note}{inside}</section>'
