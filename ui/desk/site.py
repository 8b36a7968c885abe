"""All pages in one Gradio application, mounted at `/`."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Final

import gradio as gr
from fastapi import FastAPI

from agent.service import Explainer
from agent.settings import Settings
from ui import intake
from ui.desk import batch, batch_files, chat, history, login, pictures, review
from ui.desk.shared import PAGES, Desk
from ui.fetch import FetchRules

_STATIC: Final = Path(__file__).parent.with_name("static")
_AT_ONCE: Final = 16
"""Visitors that one handler serves at a time."""
_SCRIPTS: Final = ("desk.js", "stage.js")


def mount(app: FastAPI, settings: Settings, explainer: Explainer, rules: FetchRules, *, guarded: bool = False) -> None:
    """Mounts the pages. They load nothing from elsewhere, report to nobody, and the browser keeps a key at most."""
    shown = pictures.Pictures(explainer, intake.limits(settings))
    app.include_router(pictures.router(shown))
    app.include_router(batch_files.router(explainer, shown))
    if guarded:
        app.include_router(login.router(explainer.keys))
    page = build(Desk(settings, explainer, rules, guarded))
    # Gradio 6.31 sets both in launch() only, and without them it takes any path of this machine that a caller names for
    # an upload (processing_utils._check_allowed) and marks SVG files as public.
    page.has_launched = page.is_running = True
    with warnings.catch_warnings():
        # told of any application of several pages, even where server-side rendering is not asked for
        warnings.filterwarnings("ignore", message="SSR mode is not supported", category=UserWarning)
        gr.mount_gradio_app(
            app, page, path="/", theme=_theme(), css_paths=[_STATIC / "desk.css"], js=_script(),
            favicon_path=str(_STATIC / "icon.png"), footer_links=[],
            run_history=False, ssr_mode=False, mcp_server=False, enable_monitoring=False, pwa=False, show_error=False,
            max_file_size=intake.max_bytes(settings),
        )  # fmt: skip


def build(desk: Desk) -> gr.Blocks:
    """The application with its pages."""
    with gr.Blocks(title="Exposit", analytics_enabled=False, delete_cache=(600, 3600)) as page:
        chat.build(desk, page)
    for path, module in (("history", history), ("review", review), ("batch", batch)):
        with page.route(PAGES[path], f"/{path}", show_in_navbar=False):
            module.build(desk, page)
    # unless told otherwise, Gradio lets one visitor at a time into each handler, and tells the others nothing
    page.queue(default_concurrency_limit=_AT_ONCE)
    return page


def _script() -> str:
    """The scripts of the pages as the one function that Gradio calls when a page is there."""
    return "() => {\n" + "\n".join((_STATIC / name).read_text(encoding="utf-8") for name in _SCRIPTS) + "\n}"


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
