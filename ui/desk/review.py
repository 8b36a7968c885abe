"""The review page: the cases that wait for a person, the picture and its report, and what the person says of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, get_args

import gradio as gr
from pydantic import ValidationError

from agent.afterwards import PersonsLabel
from agent.service import CaseSummary, Decision
from agent.verdict import Report
from tools.errors import CallerError
from ui import words
from ui.desk import cards, sentences, table
from ui.desk.listing import rows
from ui.desk.shared import Desk, Updates, heading, key_of, needs, told
from ui.desk.stage import stage

_MOST: Final = 50
_SAYS: Final = {
    "confirm": "The machine's verdict holds",
    "override": "Another verdict holds",
    "annotate": "Only add a note",
}
_DONE: Final = {"confirm": "confirmed", "override": "overridden", "annotate": "noted"}
_EMPTY: Final = (
    '<section class="ex-card ex-empty" aria-label="No case is open"><h2>Choose a case</h2><p>Choose one from the '
    "queue, or open any case from the history and choose “review it” there. The verdict of the machine stays as it is: "
    "what you say stands beside it, with your name, in a log that nobody can change unseen.</p></section>"
)


def labels() -> list[tuple[str, str]]:
    """What a person may say a picture is, in words."""
    return [
        ("A photograph, not altered by a model" if each == "photograph" else words.LABELS[each], each)
        for each in get_args(PersonsLabel)
    ]


def build(desk: Desk, page: gr.Blocks) -> None:
    """Adds the page to the Blocks that are open."""
    explainer = desk.explainer
    head = gr.HTML(heading("review"))
    status = gr.HTML(visible=False, elem_id="status")
    with gr.Row(elem_id="layout"):
        with gr.Column(elem_id="hand-in", min_width=280):
            waiting = gr.HTML(elem_id="queue")
        with gr.Column(elem_id="found", min_width=280):
            verdict = gr.HTML(_EMPTY, elem_id="verdict")
        with gr.Column(elem_id="look", min_width=280):
            look = gr.HTML(visible=False)
        with gr.Column(elem_id="answer", min_width=280):
            with gr.Column(visible=False, elem_id="decision") as form:
                kind = gr.Radio([(says, each) for each, says in _SAYS.items()], label="What you say", elem_id="kind")
                label = gr.Dropdown(
                    labels(), value=None, label="What the picture is", visible=False, filterable=False, elem_id="label"
                )
                reason = gr.Textbox(label="Why", lines=3, max_lines=8, elem_id="reason")
                name = gr.Textbox(label="Your name", max_lines=1, elem_id="reviewer")
                send = gr.Button("Record", variant="primary", elem_id="record")
            strip = gr.HTML(visible=False)
            why = gr.HTML(visible=False, elem_id="why")
    evidence = gr.HTML(visible=False, elem_id="evidence")
    case, revision = gr.State(""), gr.State(0)
    shown = [case, revision, verdict, look, strip, why, evidence, form]

    async def opened(report: Report) -> Updates:
        state = await explainer.case(report.case_id, report=False)
        return {
            case: report.case_id,
            revision: report.revision,
            verdict: cards.verdict(report, (), await explainer.reviews(report.case_id)),
            look: gr.update(value=stage(report, draws=False, purged=state.purged), visible=True),
            strip: gr.update(value=cards.strip(report), visible=True),
            why: gr.update(value=sentences.explanation(report), visible=True),
            evidence: gr.update(value=table.evidence(report), visible=True),
            form: gr.update(visible=True),
        }

    async def on_load(request: gr.Request) -> Updates:
        key = key_of(request)
        found: Updates = {head: heading("review", key), status: gr.update(visible=False)}
        if key is not None:
            found |= {name: gr.update(value=key.name, interactive=False)}
        try:
            number = request.query_params.get("case", "")
            found[waiting] = queue(await explainer.cases(limit=_MOST, waiting=True), number)
            if number:
                found |= await opened(await explainer.report(number))
            needs(desk, request, "review")
        except Exception as error:
            found |= {status: gr.update(value=cards.failure(told(error)), visible=True), send: _off()}
        return found

    async def on_record(
        request: gr.Request, number: str, read: int, says: str | None, other: str | None, because: str, who: str
    ) -> Updates:
        try:
            needs(desk, request, "review")
            key = key_of(request)
            said = _decision(says, other, because, key.name if key is not None else who, read)
            await explainer.review(number, said)
            left = await explainer.cases(limit=_MOST, waiting=True)
            report = await explainer.report(number)
            reviews = await explainer.reviews(number)
        except Exception as error:
            return {status: gr.update(value=cards.failure(told(error)), visible=True)}
        told_of = f"Recorded: case {number} was {_DONE[said.kind]} by {said.reviewer}. {_left(len(left))}"
        return {
            status: gr.update(value=cards.notice(told_of), visible=True),
            waiting: queue(left, number),
            verdict: cards.verdict(report, (), reviews),
            kind: None, label: gr.update(value=None, visible=False), reason: "",
        }  # fmt: skip

    kind.input(
        lambda says: gr.update(visible=says == "override"), kind, label, api_visibility="private",
        show_progress="hidden", queue=False,
    )  # fmt: skip
    send.click(
        on_record, [case, revision, kind, label, reason, name], [status, waiting, verdict, kind, label, reason],
        api_visibility="private", show_progress="minimal", trigger_mode="once",
    )  # fmt: skip
    page.load(
        on_load, None, [head, status, waiting, name, send, *shown], api_visibility="private", show_progress="hidden"
    )


def queue(cases: Sequence[CaseSummary], current: str) -> str:
    """The cases that wait, the newest first; the one that is open is marked."""
    inside = rows(cases, "/review?case=", current) if cases else "<p>No case waits for a person.</p>"
    more = f'<p class="ex-soft">The newest {_MOST} are shown.</p>' if len(cases) == _MOST else ""
    return f'<section class="ex-card" aria-label="Queue"><h2>Waiting ({len(cases)})</h2>{inside}{more}</section>'


def _left(count: int) -> str:
    return f"{count} more {'waits' if count == 1 else 'wait'} in the queue." if count else "Nothing else waits."


def _off() -> Any:
    return gr.update(interactive=False)


def _decision(says: str | None, label: str | None, because: str, who: str, revision: int) -> Decision:
    """What the form holds.

    Raises:
        CallerError: `bad_review`, with what is missing.
    """
    missing = [
        name
        for name, there in (
            ("what you say", says), ("which verdict holds", says != "override" or label), ("why", because.strip()),
            ("your name", who.strip()),
        )
        if not there
    ]  # fmt: skip
    if missing:
        raise CallerError(
            f"The form is not complete: {', '.join(missing)}.", remedy="Fill it in: the log keeps it with the case.",
            code="bad_review",
        )  # fmt: skip
    try:
        return Decision.model_validate(
            {
                "kind": says, "reviewer": who.strip(), "reason": because.strip(), "revision": revision or None,
                "label": label if says == "override" else None,
            }
        )  # fmt: skip
    except ValidationError as error:
        raise CallerError(
            "The form holds something that a review cannot: a name has at most 200 characters, a reason 4000.",
            remedy="Make it shorter.", code="bad_review",
        ) from error  # fmt: skip
