"""The chat page: hand in a picture, watch, read the verdict and its evidence, ask about it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Final, Literal

import gradio as gr
import structlog
from fastapi import FastAPI
from PIL import Image

from agent.service import Answer, Explainer, Submission
from agent.settings import Settings
from agent.verdict import Report
from tools.errors import CallerError, ExpositError
from ui import cards, intake, overlay
from ui.fetch import FetchRules, fetch
from ui.problems import internal, public
from ui.report import plain

Budget = Literal["quick", "standard", "thorough"]
Updates = dict[Any, Any]

_STATIC: Final = Path(__file__).with_name("static")
_HEAD: Final = (
    '<header class="ex-head"><h1>Exposit</h1><p>Was this picture made or altered by a generative model? '
    'An answer with its evidence, and with what it does not cover.</p><nav><a href="/docs">API</a></nav></header>'
)
_MARKED: Final = "regions"
_PLAIN: Final = "plain"
_BUDGETS: Final = [("Quick", "quick"), ("Standard", "standard"), ("Thorough", "thorough")]

_log = structlog.get_logger("exposit.chat")


def mount(app: FastAPI, settings: Settings, explainer: Explainer, rules: FetchRules) -> None:
    """Mounts the page at `/`. It loads nothing from elsewhere, reports to nobody and keeps nothing in the browser."""
    page = build(settings, explainer, rules)
    # Gradio 6.31 sets both in launch() only, and without them it takes any path of this machine that a caller names for
    # an upload (processing_utils._check_allowed) and marks SVG files as public.
    page.has_launched = page.is_running = True
    gr.mount_gradio_app(
        app, page, path="/", theme=_theme(), css_paths=[_STATIC / "chat.css"],
        js=(_STATIC / "chat.js").read_text(), favicon_path=str(_STATIC / "icon.png"), footer_links=[],
        run_history=False, ssr_mode=False, mcp_server=False, enable_monitoring=False, pwa=False, show_error=False,
        max_file_size=intake.max_bytes(settings),
    )  # fmt: skip


def _theme() -> gr.themes.Base:
    return gr.themes.Default(
        primary_hue=gr.themes.colors.blue, secondary_hue=gr.themes.colors.blue, neutral_hue=gr.themes.colors.slate,
        radius_size=gr.themes.sizes.radius_lg,
        font=["system-ui", "-apple-system", "Segoe UI", "Roboto", "sans-serif"],
        font_mono=["ui-monospace", "Consolas", "monospace"],
    ).set(
        body_background_fill="*neutral_50", body_background_fill_dark="*neutral_950",
        button_primary_background_fill="*primary_700", button_primary_background_fill_dark="*primary_600",
        button_primary_background_fill_hover="*primary_800", button_primary_background_fill_hover_dark="*primary_700",
        button_primary_text_color="white", link_text_color="*primary_700", link_text_color_dark="*primary_300",
        body_text_color_subdued="*neutral_600", body_text_color_subdued_dark="*neutral_300",
    )  # fmt: skip


def build(settings: Settings, explainer: Explainer, rules: FetchRules) -> gr.Blocks:
    """The page. Endpoints for programs: `/examine`, `/view` and `/ask`."""
    with gr.Blocks(title="Exposit", analytics_enabled=False, delete_cache=(600, 3600)) as page:
        gr.HTML(_HEAD)
        with gr.Row(elem_id="layout"):
            with gr.Column(elem_id="hand-in", min_width=280):
                file = gr.File(label="Picture", height=150, elem_id="picture")
                with gr.Row(elem_id="address"):
                    url = gr.Textbox(
                        label="Or its web address", placeholder="https://…/photo.jpg", max_lines=1, scale=4,
                        min_width=150, elem_id="url",
                    )  # fmt: skip
                    budget = gr.Dropdown(
                        _BUDGETS, value=settings.budget, label="Depth", min_width=130, scale=2, filterable=False,
                    )  # fmt: skip
                go = gr.Button("Examine", variant="primary", elem_id="examine")
            with gr.Column(elem_id="look", min_width=280):
                shown = gr.Image(
                    label="The picture", interactive=False, visible=False, buttons=["fullscreen", "download"],
                    format="webp", elem_id="shown",
                )  # fmt: skip
                view = gr.Dropdown([], label="Show", visible=False, filterable=False, elem_id="view")
                legend = gr.HTML(visible=False)
            with gr.Column(elem_id="answer", min_width=280):
                status = gr.HTML(visible=False, elem_id="status")
                verdict = gr.HTML(cards.EMPTY, elem_id="verdict")
                why = gr.HTML(visible=False, elem_id="why")
                with gr.Column(visible=False) as questions:
                    talk = gr.Chatbot(
                        label="Questions about this picture", height=320, latex_delimiters=[], allow_tags=False,
                        feedback_options=None, buttons=["copy"], elem_id="talk",
                        placeholder="Ask about the case: where, how strong, what speaks against it.",
                    )  # fmt: skip
                    with gr.Row():
                        question = gr.Textbox(
                            label="Your question", placeholder="Where is it visible?", max_lines=3, scale=5,
                            elem_id="question",
                        )  # fmt: skip
                        ask = gr.Button("Ask", scale=1, min_width=90, elem_id="ask")
                    with gr.Accordion("A part of the picture, or a second picture", open=False):
                        box = gr.Textbox(
                            label="Box: left, top, right, bottom, each from 0 to 1", placeholder="0.1, 0.2, 0.5, 0.6",
                            max_lines=1, elem_id="box",
                        )  # fmt: skip
                        second = gr.File(label="Second picture, to compare with", height=110, elem_id="second")
                    case = gr.Textbox(label="Case", interactive=False, buttons=["copy"], elem_id="case")
        table = gr.HTML(visible=False, elem_id="evidence")

        async def filled(report: Report, steps: list[str]) -> Updates:
            options = _views(report)
            return {
                status: gr.update(value="", visible=False),
                verdict: cards.verdict(report, steps),
                why: gr.update(value=cards.explanation(report), visible=True),
                table: gr.update(value=cards.evidence(report), visible=True),
                shown: gr.update(
                    value=await _picture(explainer, settings, report, options[0][1]), visible=True,
                    alt_text=overlay.alt_text(report),
                ),
                view: gr.update(choices=options, value=options[0][1], visible=True),
                legend: gr.update(value=f'<div class="ex-card">{cards.legend(report)}</div>', visible=True),
                questions: gr.update(visible=True),
                talk: [],
                case: report.case_id,
            }  # fmt: skip

        async def on_examine(path: str | None, address: str, depth: Budget) -> AsyncIterator[Updates]:
            steps: list[str] = []
            yield {status: gr.update(value=cards.running(steps), visible=True)}
            try:
                given = await _given(path, address, settings, rules)
                async for event in explainer.stream(given, budget=depth):
                    if event.kind == "report":
                        yield await filled(Report.model_validate(event.data["report"]), steps)
                    elif event.kind != "sentence":
                        steps.append(event.text)
                        yield {status: gr.update(value=cards.running(steps), visible=True)}
            except Exception as error:
                yield {status: gr.update(value=cards.failure(_told(error)), visible=True)}

        async def on_view(number: str, chosen: str) -> Image.Image:
            try:
                return await _picture(explainer, settings, await explainer.report(number), chosen)
            except Exception as error:
                raise gr.Error(str(_told(error)), title="This cannot be shown") from error

        async def on_ask(
            number: str, asked: str, history: list[dict[str, Any]], drawn: str | None = None, path: str | None = None
        ) -> AsyncIterator[tuple[list[dict[str, Any]], str]]:
            asked = asked.strip()[:2000] or ("Compare with this picture." if path else "Look here." if drawn else "")
            if not asked:
                yield history, ""
                return
            history = [*history, {"role": "user", "content": plain(asked)}]
            yield [*history, {"role": "assistant", "content": "Reading the evidence …"}], ""
            try:
                region = intake.region(drawn) if drawn and drawn.strip() else None
                other = await _given(path, "", settings, rules) if path else None
                said = _answer(await explainer.ask(number, asked, region=region, picture=other))
            except Exception as error:
                told = _told(error)
                said = f"**This could not be answered.** {plain(str(told))}"
                asked_again = asked  # the question goes back into its box, so that nothing typed is lost
            else:
                asked_again = ""
            yield [*history, {"role": "assistant", "content": said}], asked_again

        async def refreshed(number: str) -> Updates:
            """The verdict and its evidence once more: a question may have brought a new report."""
            report = await explainer.report(number)
            return {
                verdict: cards.verdict(report, []),
                why: gr.update(value=cards.explanation(report), visible=True),
                table: gr.update(value=cards.evidence(report), visible=True),
                box: "", second: None,
            }  # fmt: skip

        async def on_load(request: gr.Request) -> Updates:
            number = request.query_params.get("case")
            if not number:
                return {status: gr.update(visible=False)}
            try:
                return await filled(await explainer.report(number), [])
            except Exception as error:
                return {status: gr.update(value=cards.failure(_told(error)), visible=True)}

        results = [status, verdict, why, table, shown, view, legend, questions, talk, case]
        examined = gr.on(
            [go.click, file.upload, url.submit], on_examine, [file, url, budget], results, api_name="examine",
            concurrency_limit=settings.workers, show_progress="hidden", trigger_mode="once",
        )  # fmt: skip
        examined.then(None, case, None, js=_REMEMBER, api_visibility="private")
        view.input(on_view, [case, view], shown, api_name="view", show_progress="minimal")
        answered = gr.on(
            [ask.click, question.submit], on_ask, [case, question, talk, box, second], [talk, question],
            api_name="ask", show_progress="hidden",
        )  # fmt: skip
        answered.then(refreshed, case, [verdict, why, table, box, second], api_visibility="private",
                      show_progress="hidden")  # fmt: skip
        page.load(on_load, None, results, api_visibility="private", show_progress="hidden")
    return page


_REMEMBER: Final = """(id) => {
  if (id) history.replaceState(null, "", "?case=" + encodeURIComponent(id));
  const card = document.querySelector(".ex-error, .ex-verdict");
  if (card && innerWidth < 768) card.scrollIntoView({ block: "start" });
}"""


async def _given(path: str | None, address: str, settings: Settings, rules: FetchRules) -> Submission:
    if address.strip():
        fetched = await fetch(address, rules)
        return intake.submission(fetched.data, fetched.name, "url", settings)
    if path is None:
        raise CallerError("There is no picture yet.", remedy="Choose a file or give a web address.", code="no_file")
    return await asyncio.to_thread(intake.from_path, Path(path), settings, origin="chat")


async def _picture(explainer: Explainer, settings: Settings, report: Report, chosen: str) -> Image.Image:
    """The picture with its marks, without them, or a map by its hash."""
    if chosen in (_MARKED, _PLAIN):
        data, facts = await explainer.original(report.case_id)
        picture = await asyncio.to_thread(overlay.upright, data, facts.path, intake.limits(settings))
        return overlay.draw(picture, report.artifacts) if chosen == _MARKED else picture
    if chosen not in {reference.sha256 for one in report.evidence for reference in one.maps}:
        raise CallerError("This case has no such map.", code="not_found")
    return await asyncio.to_thread(overlay.enlarged, await explainer.map_png(chosen))


def _views(report: Report) -> list[tuple[str, str]]:
    views = [("The picture with marked regions", _MARKED)] if report.artifacts else []
    views.append(("The picture alone", _PLAIN))
    views += [
        (f"{reference.caption} ({one.id})", reference.sha256) for one in report.evidence for reference in one.maps
    ]
    return views


def _answer(answer: Answer) -> str:
    lines = [
        plain(sentence.text) + "".join(f" \\[{plain(name)}\\]" for name in sentence.cites)
        for sentence in answer.sentences
    ]
    if not lines:
        lines = ["The evidence of this case does not answer that."]
    lines += [plain(text) for text in (*(what.text for what in answer.what_if), *answer.notes)]
    if answer.dropped:
        verb = "sentence was" if answer.dropped == 1 else "sentences were"
        lines.append(f"*{answer.dropped} {verb} left out, because no evidence bears it out.*")
    return "\n\n".join(lines)


def _told(error: Exception) -> ExpositError:
    """What a visitor may be told of an error; the rest goes to the log under an id."""
    if isinstance(error, ExpositError):
        return public(error)
    return internal(error, place="chat")
