"""Where a person gives the key once: it is kept in a cookie that no script can read, until the browser is closed."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Final

from fastapi import APIRouter, Form, Request
from fastapi.responses import HTMLResponse, RedirectResponse

from agent.keys import Keys
from ui.keys import COOKIE

_TEMPLATES: Final = Path(__file__).parent.with_name("static")
_POLICY: Final = (
    "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
)
_LOCAL: Final = re.compile(r"/(?![/\\])[^\\\s]*")
_LONGEST: Final = 2048


def router(keys: Keys) -> APIRouter:
    """The form, and what takes what it holds."""
    made = APIRouter(include_in_schema=False)

    @made.get("/key")
    async def form(to: str = "/") -> HTMLResponse:
        return _form(to)

    @made.post("/key", response_model=None)
    async def open_with(
        request: Request,
        key: Annotated[str, Form(max_length=200)] = "",
        to: Annotated[str, Form(max_length=_LONGEST)] = "/",
    ) -> HTMLResponse | RedirectResponse:
        text = key.strip()
        found = await keys.find(text) if text else None
        if found is None:
            return _form(to, "There is no such key, or it was revoked.", 401)
        if not found.opens("read"):
            return _form(to, "This key does not open the pages: it lacks the scope read.", 403)
        answer = RedirectResponse(_local(to), 303)
        answer.set_cookie(COOKIE, text, path="/", httponly=True, samesite="lax", secure=request.url.scheme == "https")
        return answer

    @made.post("/key/forget")
    async def forget() -> RedirectResponse:
        answer = RedirectResponse("/key", 303)
        answer.delete_cookie(COOKIE, path="/", httponly=True, samesite="lax")
        return answer

    return made


def _local(to: str) -> str:
    """An address of this service; the first page where `to` leads anywhere else."""
    return to if len(to) <= _LONGEST and _LOCAL.fullmatch(to) else "/"


def _form(to: str, wrong: str = "", status: int = 200) -> HTMLResponse:
    from jinja2 import Environment, FileSystemLoader

    template = Environment(loader=FileSystemLoader(_TEMPLATES), autoescape=True).get_template("key.html")
    headers = {"Content-Security-Policy": _POLICY, "Cache-Control": "no-store"}
    return HTMLResponse(template.render(to=_local(to), wrong=wrong), status, headers)
