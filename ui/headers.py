"""Security headers on every answer, and no form posted from another site."""

from __future__ import annotations

from typing import Final

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ui import problems
from ui.metering import template

_ALWAYS: Final = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
}
_API_POLICY: Final = "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'; base-uri 'none'"
# Gradio's page needs inline scripts and builds templates with `new Function`. Everything comes from this server, so a
# picture or script that hostile metadata points at elsewhere is not loaded.
_PAGE_POLICY: Final = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; font-src 'self' data:; connect-src 'self' data: blob:; worker-src 'self' blob:; "
    "object-src 'none'; frame-ancestors 'none'; base-uri 'self'; form-action 'self'"
)
_API: Final = ("/v1/", "/healthz", "/readyz", "/docs", "/openapi.json", "/metrics")


class SecurityHeaders:
    """Pure ASGI middleware, so that streamed answers stay streams."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers one request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        api = scope["path"].startswith(_API)
        begun = False

        async def guarded(message: Message) -> None:
            nonlocal begun
            begun = True
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _ALWAYS.items():
                    headers[name] = value
                # a document that shows pictures brings its own, as strict as it can be
                headers.setdefault("Content-Security-Policy", _API_POLICY if api else _PAGE_POLICY)
                if api:
                    headers.setdefault("Cache-Control", "no-store")
            await send(message)

        if scope["method"] == "POST" and Headers(scope=scope).get("sec-fetch-site") == "cross-site":
            refusal = problems.problem(
                403, "cross_site", "A page of another site sent this request.",
                "Call the service from its own page, or from a program.",
            )  # fmt: skip
            await refusal(scope, receive, guarded)
            return
        try:
            await self.app(scope, receive, guarded)
        except Exception as error:
            if begun:
                raise  # the server breaks the answer off, so that nobody takes it for whole
            # said here and not further out, so that this answer has its headers too
            await problems.of_error(problems.internal(error, place=template(scope)))(scope, receive, guarded)
