"""Requests counted for Prometheus, and `/metrics`, where it reads."""

from __future__ import annotations

import time

from fastapi import APIRouter, Response
from fastapi.routing import APIRoute
from opentelemetry import propagate
from opentelemetry.trace import SpanKind
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from agent import metrics, telemetry
from agent.service import Explainer


class Metered:
    """Pure ASGI middleware around everything else, so that refusals are counted too."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers one request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        began, status = time.perf_counter(), 500
        # Spans of FastAPI itself tell addresses with their queries, and what exceptions say. Ours makes none; this
        # keeps Gradio's, which is mounted in it, from making some.
        scope["fastapi.telemetry"] = None

        async def noted(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        method = scope["method"] if scope["method"] in metrics.METHODS else "other"
        with telemetry.span(method, kind=SpanKind.SERVER, context=propagate.extract(Headers(scope=scope))) as span:
            try:
                await self.app(scope, receive, noted)
            finally:
                route = template(scope)
                metrics.HTTP_REQUESTS.labels(method, route, str(status)).inc()
                metrics.HTTP_SECONDS.labels(method, route).observe(time.perf_counter() - began)
                span.update_name(f"{method} {route}")
                span.set_attributes(
                    {"http.request.method": method, "http.route": route, "http.response.status_code": status}
                )


def template(scope: Scope) -> str:
    """The route as it is described (`/v1/cases/{case_id}`), never the path as it was asked for.

    What no route of the API took is `page` (the chat and its files), `unknown` below `/v1`, or `refused` where a
    request did not come as far as a route.
    """
    route = scope.get("route")
    if isinstance(route, APIRoute) and route.include_in_schema:
        return route.path
    if scope["path"].startswith("/v1/"):
        return "unknown" if route is not None else "refused"
    return scope["path"] if scope["path"] in ("/docs", "/openapi.json") else "page"


def router(explainer: Explainer) -> APIRouter:
    """The route."""
    made = APIRouter(tags=["health"])

    @made.get(
        "/metrics", operation_id="metrics", response_class=Response,
        responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}}},
    )  # fmt: skip
    async def read() -> Response:
        """Counts, latencies and states in the text format of Prometheus; docs/METRICS.md lists them."""
        return Response(await explainer.metrics(), headers={"Content-Type": metrics.MEDIA_TYPE})

    return made
