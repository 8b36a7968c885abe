"""What every page needs: the door, the heading, who is there, and how an error is told."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import gradio as gr

from agent.keys import Key
from agent.keys import Scope as Right
from agent.service import Explainer, Submission
from agent.settings import Settings
from tools.errors import CallerError, ExpositError
from ui import intake
from ui.desk.escape import safe
from ui.fetch import FetchRules, fetch
from ui.problems import internal, public

Updates = dict[Any, Any]
PAGES: Final = {"": "Examine", "history": "History", "review": "Review", "batch": "Batch"}
"""The pages by their path, as the heading lists them."""
_LEADS: Final = {
    "": "Was this picture made or altered by a generative model? An answer with its evidence, and with what it does "
    "not cover.",
    "history": "Every picture that was examined here.",
    "review": "Cases whose verdict a person should look at before it is used.",
    "batch": "Many pictures at once.",
}
# Colours for the maps, dark to bright (after matplotlib's inferno): the eye tells more steps of it than of grey.
_HEAT: Final = (
    '<svg class="ex-sr" aria-hidden="true"><filter id="ex-heat" color-interpolation-filters="sRGB">'
    '<feComponentTransfer><feFuncR type="table" tableValues="0 .34 .73 .98 .99"></feFuncR>'
    '<feFuncG type="table" tableValues="0 .06 .22 .56 1"></feFuncG>'
    '<feFuncB type="table" tableValues=".02 .43 .33 .04 .64"></feFuncB></feComponentTransfer></filter></svg>'
)


@dataclass(frozen=True, slots=True)
class Desk:
    """What the pages are made over.

    Attributes:
        rules: Where a web address may lead.
        guarded: Whether a key is asked for.
    """

    settings: Settings
    explainer: Explainer
    rules: FetchRules
    guarded: bool


def heading(current: str, key: Key | None = None) -> str:
    """The head of a page: its name, the way to the others, and whose key opened it."""
    links = "".join(
        f'<a href="/{path}"{" aria-current=page" if path == current else ""}>{name}</a>' for path, name in PAGES.items()
    )
    who = ""
    if key is not None:
        who = (
            f'<form class="ex-who" method="post" action="/key/forget"><span>{safe(key.name)} '
            f'<span class="ex-soft">({safe(", ".join(key.scopes))})</span></span> '
            '<button type="submit" class="ex-btn">Forget this key</button></form>'
        )
    return (
        '<header class="ex-head"><a class="ex-name" href="/">Exposit</a>'
        f'<nav aria-label="Pages">{links}<a href="/docs">API</a></nav>{who}</header><div class="ex-top">'
        f"<h1>{PAGES[current]}</h1><p>{_LEADS[current]}</p></div>{_HEAT}"
    )


def key_of(request: gr.Request) -> Key | None:
    """The key that a request came with, as `ui.keys.KeyGuard` found it; None where none is asked for."""
    # Gradio's own request is a wrapper; what the guard noted is in the state of the one inside
    found = getattr(request.request.state, "key", None) if request.request is not None else None
    return found if isinstance(found, Key) else None


def needs(desk: Desk, request: gr.Request, *rights: Right) -> None:
    """Returns where the key opens `rights`, or none is asked for.

    Raises:
        CallerError: `key_scope`.
    """
    key = key_of(request)
    if desk.guarded and (key is None or not key.opens(*rights)):
        raise CallerError(
            f"Your key does not open that: {' and '.join(rights)} is needed.",
            remedy="Ask whoever runs the service for a key with that scope.",
            code="key_scope",
        )


async def given(desk: Desk, path: str | None, address: str) -> Submission:
    """The picture that was handed in: fetched where there is an address, else read.

    Raises:
        CallerError: where there is neither, or it cannot be taken.
    """
    if address.strip():
        fetched = await fetch(address.strip(), desk.rules)
        return intake.submission(fetched.data, fetched.name, "url", desk.settings)
    if path is None:
        raise CallerError("There is no picture yet.", remedy="Choose a file or give a web address.", code="no_file")
    return await asyncio.to_thread(intake.from_path, Path(path), desk.settings, origin="chat")


def told(error: Exception) -> ExpositError:
    """What a visitor may be told of an error; the rest goes to the log under an id."""
    if isinstance(error, ExpositError):
        return public(error)
    return internal(error, place="desk")
