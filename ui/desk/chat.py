"""The first page: hand in a picture, watch, read the verdict and its evidence, look at it, ask about it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Final, Literal

import gradio as gr
from pydantic import ValidationError

from agent.settings import ReviewPolicy
from agent.stated import StatedClaim
from agent.verdict import Report
from ui import claiming, intake
from ui.desk import cards, sentences, table, talk
from ui.desk.shared import Desk, Updates, given, heading, key_of, needs, told
from ui.desk.stage import stage

Budget = Literal["quick", "standard", "thorough"]
_ASKED: Final[dict[ReviewPolicy, str]] = {
    "never": "", "inconclusive": "ask a person to look where the verdict is inconclusive",
    "always": "ask a person to look before the verdict is used",
}  # fmt: skip
_BUDGETS: Final = [("Quick", "quick"), ("Standard", "standard"), ("Thorough", "thorough")]


def build(desk: Desk, page: gr.Blocks) -> None:
    """Adds the page to the Blocks that are open. Endpoints for programs: none, they have `/v1`."""
    settings, explainer = desk.settings, desk.explainer
    head = gr.HTML(heading(""))
    with gr.Row(elem_id="layout"):
        with gr.Column(elem_id="hand-in", min_width=280):
            file = gr.File(label="Picture: drop, paste or choose a file", height=132, elem_id="picture")
            with gr.Row(elem_id="address"):
                url = gr.Textbox(
                    label="Or its web address", placeholder="https://…/photo.jpg", max_lines=1, scale=4,
                    min_width=150, elem_id="url",
                )  # fmt: skip
                budget = gr.Dropdown(
                    _BUDGETS, value=settings.budget, label="Depth", min_width=130, scale=2, filterable=False,
                )  # fmt: skip
            with gr.Accordion("What is claimed of it (optional)", open=False, elem_id="claim"):
                claim = [
                    gr.Textbox(label="The claim", max_lines=3, placeholder="In the words it was made in"),
                    gr.Textbox(label="Who claims it", max_lines=1),
                    gr.Textbox(label="Day it was claimed", max_lines=1, placeholder="2026-01-31"),
                    gr.Textbox(label="Where it was seen", max_lines=1),
                    gr.Textbox(label="Its web address", max_lines=1),
                ]
            high = gr.Checkbox(label="High stakes: " + _ASKED[settings.review], visible=settings.review != "never",
                               elem_id="high")  # fmt: skip
            go = gr.Button("Examine", variant="primary", elem_id="examine")
        with gr.Column(elem_id="found", min_width=280):
            status = gr.HTML(visible=False, elem_id="status")
            verdict = gr.HTML(cards.EMPTY, elem_id="verdict")
        with gr.Column(elem_id="look", min_width=280):
            look = gr.HTML(visible=False)
        with gr.Column(elem_id="answer", min_width=280):
            strip = gr.HTML(visible=False, elem_id="copies")
            why = gr.HTML(visible=False, elem_id="why")
            with gr.Column(visible=False, elem_id="questions") as questions:
                conversation = gr.HTML(talk.page([]), elem_id="talk")
                with gr.Row(elem_id="asking"):
                    question = gr.Textbox(
                        label="Your question", placeholder="Where is it visible?", max_lines=3, scale=5,
                        elem_id="question",
                    )  # fmt: skip
                    ask = gr.Button("Ask", scale=1, min_width=90, elem_id="ask")
                box = gr.Textbox(
                    label="Box on the picture: left, top, right, bottom, each from 0 to 1",
                    placeholder="Draw it on the picture, or write 0.1, 0.2, 0.5, 0.6", max_lines=1, elem_id="box",
                )  # fmt: skip
                with gr.Accordion("Compare with a second picture", open=False, elem_id="compare"):
                    second = gr.File(label="Second picture", height=110, elem_id="second")
            take = gr.HTML(visible=False, elem_id="take")
    evidence = gr.HTML(visible=False, elem_id="evidence")
    case, turns = gr.State(""), gr.State([])
    opened = [case, verdict, strip, why, look, evidence, take]

    async def filled(report: Report, steps: Sequence[str] = ()) -> Updates:
        state = await explainer.case(report.case_id, report=False)
        return {
            case: report.case_id,
            verdict: cards.verdict(report, steps, await explainer.reviews(report.case_id)),
            strip: gr.update(value=cards.strip(report), visible=True),
            why: gr.update(value=sentences.explanation(report), visible=True),
            look: gr.update(value=stage(report, purged=state.purged), visible=True),
            evidence: gr.update(value=table.evidence(report), visible=True),
            take: gr.update(value=cards.downloads(report), visible=True),
        }

    async def on_examine(
        request: gr.Request, path: str | None, address: str, depth: Budget, stakes: bool, *stated: str | None
    ) -> AsyncIterator[Updates]:
        steps: list[str] = []
        written: list[str] = []
        yield {status: gr.update(value=cards.running(steps), visible=True)}
        try:
            needs(desk, request, "submit")
            picture = (await given(desk, path, address)).model_copy(update={"claim": _claim(stated)})
            async for event in explainer.stream(picture, budget=depth, stakes="high" if stakes else "ordinary"):
                if event.kind == "report":
                    report = Report.model_validate(event.data["report"])
                    shown = await filled(report, steps)
                    hidden = {status: gr.update(value="", visible=False), questions: gr.update(visible=True)}
                    yield shown | hidden | {conversation: talk.page([]), turns: [], box: "", url: ""}
                    continue
                if event.data.get("step") == "narrate":
                    written.clear()  # another attempt, or the template in the model's place
                if event.kind != "writing":
                    (written if event.kind == "sentence" else steps).append(event.text)
                begun = [event.text] if event.kind == "writing" else []
                yield {status: gr.update(value=cards.running(steps, [*written, *begun]), visible=True)}
        except Exception as error:
            yield {status: gr.update(value=cards.failure(told(error)), visible=True)}

    async def on_ask(
        request: gr.Request, number: str, asked: str, before: list[str], drawn: str, path: str | None
    ) -> AsyncIterator[Updates]:
        asked = asked.strip()[:2000] or (
            "Compare with this picture." if path else "Look here." if drawn.strip() else ""
        )
        if not asked:
            yield {question: ""}
            return
        turn = talk.asked(asked, drawn.strip(), intake.clean_name(Path(path).name) if path else "")
        yield {conversation: talk.page([*before, turn, talk.waiting()]), question: ""}
        changed: Updates = {}
        try:
            needs(desk, request, "submit")
            region = intake.region(drawn) if drawn.strip() else None
            other = await given(desk, path, "") if path else None
            answer = await explainer.ask(number, asked, region=region, picture=other)
            report = await explainer.report(number)
            said = talk.answered(report, answer, len(before))
            changed = {box: "", second: None}
            if answer.ran or answer.revision > 1:
                changed |= await filled(report)
        except Exception as error:
            said = talk.failed(told(error))
            changed = {question: asked}  # the question goes back into its box, so that nothing typed is lost
        after = [*before, turn, said][-talk.MOST :]
        yield {conversation: talk.page(after), turns: after} | changed

    async def on_load(request: gr.Request) -> Updates:
        named: Updates = {head: heading("", key_of(request)), status: gr.update(visible=False)}
        number = request.query_params.get("case")
        if not number:
            return named
        try:
            report = await explainer.report(number)
            earlier = talk.remembered(await explainer.messages(number))
            shown = await filled(report)
        except Exception as error:
            return named | {status: gr.update(value=cards.failure(told(error)), visible=True)}
        return named | shown | {questions: gr.update(visible=True), conversation: talk.page(earlier), turns: earlier}

    examined = gr.on(
        [go.click, file.upload, url.submit], on_examine, [file, url, budget, high, *claim],
        [status, *opened, questions, conversation, turns, box, url], api_name="examine", api_visibility="undocumented",
        show_progress="hidden", trigger_mode="once",
    )  # fmt: skip
    examined.then(None, None, None, js=_BRING, api_visibility="private")
    gr.on(
        [ask.click, question.submit, box.submit], on_ask, [case, question, turns, box, second],
        [conversation, question, turns, box, second, *opened], api_visibility="private", show_progress="hidden",
        trigger_mode="once",
    )  # fmt: skip
    page.load(
        on_load, None, [head, status, *opened, questions, conversation, turns], api_visibility="private",
        show_progress="hidden",
    )  # fmt: skip


_BRING: Final = """() => {
  const card = document.querySelector(".ex-error, .ex-verdict");
  if (card && innerWidth < 821) card.scrollIntoView({ block: "start" });
}"""


def _claim(fields: Sequence[str | None]) -> StatedClaim | None:
    """The claim as the fields give it; None where all are empty.

    Raises:
        CallerError: `claim_invalid`.
    """
    try:
        return claiming.stated(dict(zip(claiming.FIELDS, ((each or "").strip() for each in fields), strict=True)))
    except ValidationError as error:
        raise claiming.refusal(error) from error
