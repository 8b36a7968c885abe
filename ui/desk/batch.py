"""Many pictures at once: drop files or a folder, name addresses, watch, take the list along."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Final, Literal

import gradio as gr

from agent.service import Batch, BatchItem, Link, Submission, Unreadable
from tools.errors import CallerError
from ui import intake, words
from ui.desk import cards, listing
from ui.desk.escape import safe
from ui.desk.shared import Desk, Updates, heading, key_of, needs, told

Budget = Literal["quick", "standard", "thorough"]
_BUDGETS: Final = [("Quick", "quick"), ("Standard", "standard"), ("Thorough", "thorough")]
_SHOWN: Final = 300
"""Rows that the page shows; the list that is taken along has all."""
_EVERY_S: Final = 2.0
_EMPTY: Final = (
    '<section class="ex-card ex-empty" aria-label="How it works"><h2>How it works</h2><ol><li>Hand in many pictures: '
    "files, a folder, web addresses, or all of them.</li><li>They are examined one after the other. You may close this "
    "page and come back: nothing is lost.</li><li>Open any picture that is done, or take the whole list along.</li>"
    "</ol><p>A file that cannot be judged is listed with the reason, and stops nothing.</p></section>"
)


def build(desk: Desk, page: gr.Blocks) -> None:
    """Adds the page to the Blocks that are open."""
    explainer = desk.explainer
    head = gr.HTML(heading("batch"))
    with gr.Row(elem_id="batch"):
        with gr.Column(scale=2, min_width=280, elem_id="hand-in-many"):
            files = gr.File(
                label="Pictures: drop files or a folder, or choose files", file_count="multiple", height=180,
                elem_id="picture",
            )  # fmt: skip
            folder = gr.UploadButton("Choose a folder", file_count="directory", elem_id="folder")
            urls = gr.Textbox(
                label="Web addresses, one a line", lines=3, max_lines=12, placeholder="https://…/photo.jpg",
                elem_id="urls",
            )  # fmt: skip
            name = gr.Textbox(label="What to call it (optional)", max_lines=1, elem_id="batch-name")
            budget = gr.Dropdown(_BUDGETS, value=desk.settings.budget, label="Depth", filterable=False)
            go = gr.Button("Examine all", variant="primary", elem_id="examine-all")
        with gr.Column(scale=5, min_width=280):
            status = gr.HTML(visible=False, elem_id="status")
            shown = gr.HTML(_EMPTY, elem_id="batch-shown")
            before = gr.HTML(elem_id="batches")
    number, clock = gr.State(""), gr.Timer(_EVERY_S, active=False)
    outputs = [status, shown, before, number, clock]

    async def opened(found: Batch) -> Updates:
        return {
            status: gr.update(value="", visible=False),
            shown: progress(found),
            before: listed(await explainer.batches(limit=20), found.id),
            number: found.id,
            clock: gr.Timer(_EVERY_S, active=found.state != "done"),
        }

    async def on_examine(
        request: gr.Request, chosen: list[str] | None, lines: str, called: str, depth: Budget
    ) -> Updates:
        try:
            needs(desk, request, "submit")
            made = await explainer.create_batch(
                _taken(desk, chosen or (), lines), name=called.strip()[:200], budget=depth
            )
            return await opened(await explainer.batch(made.id)) | {files: None, urls: "", name: ""}
        except Exception as error:
            return {status: gr.update(value=cards.failure(told(error)), visible=True)}

    async def on_tick(request: gr.Request, which: str) -> Updates:
        try:
            needs(desk, request, "read")
            return await opened(await explainer.batch(which))
        except Exception as error:
            failed = gr.update(value=cards.failure(told(error)), visible=True)
            return {status: failed, clock: gr.Timer(_EVERY_S, active=False)}

    async def on_load(request: gr.Request) -> Updates:
        named: Updates = {head: heading("batch", key_of(request)), status: gr.update(visible=False)}
        try:
            which = request.query_params.get("id")
            if which:
                return named | await opened(await explainer.batch(which))
            return named | {before: listed(await explainer.batches(limit=20), "")}
        except Exception as error:
            return named | {status: gr.update(value=cards.failure(told(error)), visible=True)}

    quiet = {"api_visibility": "private", "show_progress": "hidden"}
    go.click(
        on_examine, [files, urls, name, budget], [*outputs, files, urls, name], trigger_mode="once",
        api_visibility="private", show_progress="minimal",
    )  # fmt: skip
    folder.upload(lambda held, chosen: [*(chosen or ()), *held], [folder, files], files, **quiet)
    clock.tick(on_tick, number, outputs, **quiet)
    page.load(on_load, None, [head, *outputs], **quiet)


async def _taken(desk: Desk, paths: Sequence[str], lines: str) -> AsyncIterator[Submission | Link | Unreadable]:
    """What was handed in, one by one. A file that cannot be taken stands in the batch with its reason."""
    for path in sorted(map(Path, paths), key=lambda each: each.name):
        if path.name.startswith("."):
            continue
        try:
            yield await asyncio.to_thread(intake.from_path, path, desk.settings, origin="chat")
        except CallerError as error:
            yield Unreadable(name=intake.clean_name(path.name), code=error.code, message=error.message)
    for line in lines.splitlines():
        if line.strip():
            yield Link(url=line.strip()[:2048], name=intake.clean_name(line.strip().partition("?")[0]))


def progress(batch: Batch) -> str:
    """How far a batch is, what was found, and a row for each picture."""
    done = batch.counts["done"] + batch.counts["failed"]
    title = batch.name or f"Batch {batch.id}"
    table, report = f"/v1/batches/{batch.id}/results.csv", f"/batches/{batch.id}.html"
    return (
        f'<section class="ex-card" aria-label="Batch" data-batch="{safe(batch.id)}"><h2>{safe(title)}</h2>'
        f'<p class="ex-steps-said" role="status">{safe(sentence(batch))}</p>'
        f'<progress class="ex-progress" max="{batch.total}" value="{done}" aria-label="Pictures that are done">'
        f"{done} of {batch.total}</progress>{_tally(batch)}"
        f'<p class="ex-files"><a href="{safe(table)}" download>CSV</a> <span class="ex-soft">a table, one row a '
        f'picture</span> · <a href="{safe(report)}" download>Report</a> <span class="ex-soft">one page with every '
        f"picture</span></p>{_items(batch)}</section>"
    )


def sentence(batch: Batch) -> str:
    """How far it is, in words."""
    counts = batch.counts
    if batch.state == "done":
        failed = f", {counts['failed']} could not be judged" if counts["failed"] else ""
        return f"All {batch.total} are done: {counts['done']} examined{failed}."
    return (
        f"{counts['done']} of {batch.total} examined, {counts['running']} under way, {counts['queued']} in line, "
        f"{counts['failed']} could not be judged."
    )


def _tally(batch: Batch) -> str:
    """How many of each verdict."""
    found = [(label, sum(item.label == label for item in batch.items)) for label in words.LABELS]
    chips = "".join(f"<li>{cards.chip(label)} {count}</li>" for label, count in found if count)
    return f'<ul class="ex-tally">{chips}</ul>' if chips else ""


def _items(batch: Batch) -> str:
    rows = "".join(_row(item) for item in batch.items[:_SHOWN])
    more = ""
    if len(batch.items) > _SHOWN:
        said = f"The first {_SHOWN} of {len(batch.items)} are shown; the CSV and the report have all."
        more = f'<p class="ex-soft">{said}</p>'
    return f'<ul class="ex-cases">{rows}</ul>{more}'


def _row(item: BatchItem) -> str:
    name, picture = safe(item.name), None
    if item.state == "done" and item.case_id:
        name, picture = f'<a href="/?case={safe(item.case_id)}">{name}</a>', item.case_id
    beside = f'<span class="ex-soft">{safe(item.url)}</span>' if item.url else ""
    return listing.entry(picture, name + beside, _said(item))


def _said(item: BatchItem) -> str:
    if item.state in listing.WAITING:
        return listing.WAITING[item.state]
    if item.problem is not None:
        return f'<strong>Failed</strong> <span class="ex-soft">{safe(item.problem.message)}</span>'
    if item.label is None or item.p_generated is None:
        return "No verdict"
    return f'{cards.chip(item.label)} <span class="ex-soft">{words.chance(item.p_generated)} generated</span>'


def listed(batches: Sequence[Batch], current: str) -> str:
    """Earlier batches."""
    if not batches:
        return ""
    rows = "".join(
        f'<li><span class="ex-what"><a href="/batch?id={safe(each.id)}"{_here(each.id == current)}>'
        f'{safe(each.name or f"Batch {each.id}")}</a><span class="ex-soft">{each.created_at:%Y-%m-%d %H:%M} UTC</span>'
        f'</span><span class="ex-how">{safe(sentence(each))}</span></li>'
        for each in batches
    )
    return f'<section class="ex-card" aria-label="Batches"><h2>Batches</h2><ul class="ex-cases">{rows}</ul></section>'


def _here(current: bool) -> str:
    return ' aria-current="true"' if current else ""
