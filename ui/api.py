"""The HTTP API (`/v1`), with the chat page mounted at `/`. A route is intake, one call of the Explainer, a model."""

from __future__ import annotations

from typing import Literal

from fastapi import APIRouter, FastAPI, Request
from fastapi.responses import HTMLResponse, JSONResponse
from fastapi.routing import APIRoute
from pydantic import BaseModel
from starlette.exceptions import HTTPException

from agent.service import Explainer
from agent.settings import Settings
from ui import batches, cases, docs, exports, intake, metering, problems, submitting, version
from ui.bounds import BoundedBodies
from ui.fetch import FetchRules
from ui.headers import SecurityHeaders
from ui.keys import KeyGuard
from ui.metering import Metered
from ui.rates import RateLimit


class Alive(BaseModel):
    """The process answers."""

    status: Literal["alive"] = "alive"


class Readiness(BaseModel):
    """Whether pictures can be examined, part by part: `ok`, or what is wrong."""

    status: Literal["ready", "not_ready"]
    parts: dict[str, str]


def create_app(
    settings: Settings,
    explainer: Explainer,
    *,
    chat: bool = True,
    rules: FetchRules | None = None,
    guarded: bool = False,
) -> FastAPI:
    """Makes the application.

    Args:
        settings: Bounds of uploads and fetches.
        explainer: Entered already; whoever made it closes it.
        chat: Whether the chat page is mounted at `/`.
        rules: Where a URL may lead; public addresses only when unset.
        guarded: Whether a key is asked for (`exposit keys`).
    """
    app = FastAPI(
        title="Exposit", version=version(), docs_url=None, redoc_url=None,
        telemetry={"tracing": False, "metrics": False, "logs": False},  # it tells addresses whole; see ui.metering
        summary="Examines a picture and explains, with evidence, whether it was made or altered by a generative model.",
        description=(
            "A verdict is a probability with an interval, never a yes or no, and no label says that a picture is real. "
            "Errors are problem details (RFC 9457) with a stable `code` and a `remedy`."
        ),
    )  # fmt: skip
    problems.register(app)
    fetch_rules = rules or FetchRules(max_bytes=intake.max_bytes(settings))
    routers = (
        submitting.router(settings, explainer, fetch_rules),
        cases.router(explainer),
        batches.router(settings, explainer, fetch_rules),
        exports.router(settings, explainer),
        _health(explainer),
        metering.router(explainer),
    )
    for router in routers:
        app.include_router(router)

    @app.get("/docs", include_in_schema=False)
    async def _docs(request: Request) -> HTMLResponse:
        return HTMLResponse(docs.page(app.openapi(), str(request.base_url).rstrip("/")))

    @app.api_route("/v1/{rest:path}", methods=["GET", "POST", "PUT", "PATCH", "DELETE"], include_in_schema=False)
    async def _unknown(request: Request) -> None:
        # The chat at `/` takes every path, so what is wrong under /v1 has to be said here.
        allowed = {
            method
            for router in routers
            for route in router.routes
            if isinstance(route, APIRoute) and route.path_regex.match(request.url.path)
            for method in route.methods or ()
        }
        if allowed:
            raise HTTPException(405, headers={"Allow": ", ".join(sorted(allowed))})
        raise HTTPException(404, "There is nothing under this address.")

    if chat:
        from ui.desk.site import mount

        mount(app, settings, explainer, fetch_rules, guarded=guarded)
    app.add_middleware(RateLimit, rate=settings.rate)
    if guarded:
        app.add_middleware(KeyGuard, keys=explainer.keys)
    app.add_middleware(BoundedBodies)
    app.add_middleware(SecurityHeaders)
    app.add_middleware(Metered)
    return app


def _health(explainer: Explainer) -> APIRouter:
    router = APIRouter(tags=["health"])

    @router.get("/healthz", response_model=Alive, operation_id="alive")
    async def alive() -> Alive:
        """The process answers."""
        return Alive()

    @router.get(
        "/readyz", response_model=Readiness, operation_id="ready",
        responses={503: {"model": Readiness, "description": "A part is not ready."}},
    )  # fmt: skip
    async def ready() -> JSONResponse:
        """Whether pictures can be examined, part by part."""
        parts = await explainer.readiness()
        ok = all(state == "ok" or state.startswith("ok ") for state in parts.values())
        body = Readiness(status="ready" if ok else "not_ready", parts=parts)
        return JSONResponse(body.model_dump(), 200 if ok else 503)

    return router
