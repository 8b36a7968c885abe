"""The API behind keys: which scope a request needs, and who is turned away."""

from __future__ import annotations

import base64
import binascii
import ipaddress
from typing import Final

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from agent.keys import Keys
from agent.keys import Scope as Right
from agent.settings import Settings
from ui import problems, scopes

_OPEN: Final = frozenset({"/healthz", "/readyz", "/docs", "/openapi.json"})
_PAGE: Final[tuple[Right, ...]] = ("read", "submit", "review")
"""What the chat page can do, and so what a key must open to get at it."""


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


def presented(authorization: str) -> str | None:
    """The key in the header: `Bearer KEY`, or `Basic` with the key as password, as a browser sends it."""
    kind, _, value = authorization.strip().partition(" ")
    if kind.lower() == "bearer":
        return value.strip()
    if kind.lower() == "basic":
        try:
            return base64.b64decode(value.strip(), validate=True).decode().partition(":")[2]
        except (binascii.Error, UnicodeDecodeError):
            return None
    return None


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
        text = presented(Headers(scope=scope).get("authorization", ""))
        key = await self._keys.find(text) if text else None
        if key is not None and key.opens(*rights):
            scope.setdefault("state", {})["key"] = key
            await self.app(scope, receive, send)
            return
        if key is not None:
            refusal = problems.problem(
                403, "key_scope", f"This key does not open that: {' and '.join(rights)} is needed.",
                "Ask whoever runs the service for a key with that scope.",
            )  # fmt: skip
        else:
            kind = "Bearer" if scope["path"].startswith(("/v1/", "/metrics")) else "Basic"
            refusal = problems.problem(
                401, "key_needed" if not text else "key_unknown",
                "This service needs a key." if not text else "There is no such key, or it was revoked.",
                "Send it as `Authorization: Bearer KEY`; in a browser it is the password, under any name.",
                headers={"WWW-Authenticate": f'{kind} realm="Exposit"'},
            )  # fmt: skip
        await refusal(scope, receive, send)
