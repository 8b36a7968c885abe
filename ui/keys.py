"""API and pages behind keys: which scope a request needs, and who is turned away."""

from __future__ import annotations

import ipaddress
from typing import Final
from urllib.parse import quote

from starlette.datastructures import Headers
from starlette.requests import cookie_parser
from starlette.responses import RedirectResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from agent.keys import Keys
from agent.keys import Scope as Right
from agent.settings import Settings
from ui import problems, scopes

COOKIE: Final = "exposit_key"
"""Where a browser keeps the key that its user gave on the page `/key`."""
_OPEN: Final = frozenset(
    {"/healthz", "/readyz", "/docs", "/openapi.json", "/key", "/key/forget", "/manifest.json"}
)  # a browser asks for the manifest without its cookies; only the title stands in it
_PAGE: Final[tuple[Right, ...]] = ("read",)
"""What a key must open to see a page at all. What a page does asks for more (`ui.desk.shared.needs`)."""


def required(settings: Settings, host: str) -> bool:
    """Whether keys are asked for: `EXPOSIT_KEYS`, which by default spares only what listens on loopback."""
    if settings.keys != "auto":
        return settings.keys == "on"
    try:
        return not ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host != "localhost"


def needed(method: str, path: str) -> tuple[Right, ...]:
    """The scopes that a request needs; none for health and the description of the API. What is not known needs most."""
    if path in _OPEN:
        return ()
    if path == "/metrics":
        return ("read",)
    if not path.startswith("/v1/"):
        return _PAGE
    return (scopes.right(method, path),)


def presented(headers: Headers) -> str | None:
    """The key that a request brings: `Authorization: Bearer KEY`, or else the cookie of a browser."""
    kind, _, value = headers.get("authorization", "").strip().partition(" ")
    if kind:
        return value.strip() if kind.lower() == "bearer" else None
    return cookie_parser(headers.get("cookie", "")).get(COOKIE) or None


class KeyGuard:
    """Pure ASGI middleware, so that streamed answers stay streams. It notes the key in the state of the request."""

    def __init__(self, app: ASGIApp, keys: Keys) -> None:
        self.app, self._keys = app, keys

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers one request."""
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
            return
        rights = needed(scope["method"], scope["path"]) if scope["type"] == "http" else ()
        if not rights:
            await self.app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        text = presented(headers)
        key = await self._keys.find(text) if text else None
        if key is not None and key.opens(*rights):
            scope.setdefault("state", {})["key"] = key
            await self.app(scope, receive, send)
            return
        refusal: Response
        if key is None and _a_person_looks(scope, headers):
            to = scope["path"] + (f"?{scope['query_string'].decode('latin-1')}" if scope["query_string"] else "")
            refusal = RedirectResponse(f"/key?to={quote(to, safe='')}", 303)
        elif key is not None:
            refusal = problems.problem(
                403, "key_scope", f"This key does not open that: {' and '.join(rights)} is needed.",
                "Ask whoever runs the service for a key with that scope.",
            )  # fmt: skip
        else:
            refusal = problems.problem(
                401, "key_needed" if not text else "key_unknown",
                "This service needs a key." if not text else "There is no such key, or it was revoked.",
                "Send it as `Authorization: Bearer KEY`; a browser asks for it on the page /key.",
                headers={"WWW-Authenticate": 'Bearer realm="Exposit"'},
            )  # fmt: skip
        await refusal(scope, receive, send)


def _a_person_looks(scope: Scope, headers: Headers) -> bool:
    """Whether a browser asks for a page or a document, and not a program or a script."""
    return scope["method"] in ("GET", "HEAD") and "text/html" in headers.get("accept", "")
