"""The HTTP API (`/v1`), with the chat page mounted at `/`. A route is intake, one call of the Explainer, a model."""

from __future__ import annotations

import asyncio
from datetime import datetime
from typing import Annotated, Any, Final, Literal

from fastapi import APIRouter, FastAPI, Path, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, JSONResponse
from fastapi.routing import APIRoute
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError
from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException
from starlette.formparsers import MultiPartException
from starlette.types import Message

from agent.service import Answer, CaseSummary, Decision, Explainer, Review, Submission
from agent.settings import Settings
from agent.stated import StatedClaim
from agent.verdict import Label, Report
from tools.contract import Region
from tools.errors import CallerError
from ui import docs, exports, intake, problems, version
from ui.claiming import in_form, stated
from ui.fetch import FetchRules, fetch
from ui.headers import SecurityHeaders
from ui.keys import KeyGuard
from ui.problems import Problem

Budget = Literal["quick", "standard", "thorough"]
Case = Annotated[str, Path(max_length=64, pattern=r"^[A-Za-z0-9_-]+$", description="The case's id.")]

_UPLOAD_SECONDS: Final = 60.0
_FORM_SLACK: Final = 64 * 2**10  # boundaries, headers and the fields beside the file
_BUDGET: Final[TypeAdapter[Budget]] = TypeAdapter(Budget)
_EXAMPLE_SHA: Final = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"


class UrlRequest(BaseModel):
    """A picture by its web address."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{"url": "https://example.org/photo.jpg"}]}
    )

    url: str = Field(min_length=1, max_length=2048, description="http or https; must lead to the public internet.")
    budget: Budget | None = Field(default=None, description="What the examination may cost; the server's when unset.")
    claim: StatedClaim | None = Field(
        default=None, description="The claim made about the picture; kept with the case, and judged by nothing."
    )


class Question(BaseModel):
    """A follow-up question about a case."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"question": "Where is it visible?"}]})

    question: str = Field(min_length=1, max_length=2000)
    region: Region | None = Field(default=None, description="A box to examine by itself, in fractions of the picture.")


class CasePage(BaseModel):
    """A page of the history, newest first."""

    cases: list[CaseSummary]
    next_before: datetime | None = Field(description="Pass as `before` for the next page; null on the last.")


class Alive(BaseModel):
    """The process answers."""

    status: Literal["alive"] = "alive"


class Readiness(BaseModel):
    """Whether pictures can be examined, part by part: `ok`, or what is wrong."""

    status: Literal["ready", "not_ready"]
    parts: dict[str, str]


def _errors(*codes: int) -> dict[int | str, dict[str, Any]]:
    return {code: {"model": Problem, "content": {problems.MEDIA_TYPE: {}}} for code in (*codes, 500)}


def _inlined(schema: dict[str, Any]) -> dict[str, Any]:
    """The schema with its claim in place: references of a part do not resolve in the whole description."""
    claim = schema.pop("$defs")["StatedClaim"]
    schema["properties"]["claim"] = {"anyOf": [claim, {"type": "null"}], "default": None}
    return schema


_BODY: Final[dict[str, Any]] = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["file"],
                    "properties": {
                        "file": {"type": "string", "format": "binary", "description": "The picture's file, as it is."},
                        "budget": {"type": "string", "enum": ["quick", "standard", "thorough"]},
                        "claim": {"type": "string", "maxLength": 2000, "description": "What is said of the picture."},
                        "claimant": {"type": "string", "maxLength": 300, "description": "Who says so."},
                        "claim_date": {"type": "string", "description": "The day it was said: 2026-01-31, or empty."},
                        "claim_seen": {"type": "string", "maxLength": 300, "description": "Where it was seen."},
                        "claim_url": {"type": "string", "maxLength": 2048, "description": "Where it can be read."},
                    },
                }
            },
            "application/json": {"schema": _inlined(UrlRequest.model_json_schema())},
        },
    }
}


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
        summary="Examines a picture and explains, with evidence, whether it was made or altered by a generative model.",
        description=(
            "A verdict is a probability with an interval, never a yes or no, and no label says that a picture is real. "
            "Errors are problem details (RFC 9457) with a stable `code` and a `remedy`."
        ),
    )  # fmt: skip
    problems.register(app)
    fetch_rules = rules or FetchRules(max_bytes=intake.max_bytes(settings))
    routers = (
        _explanations(settings, explainer, fetch_rules),
        _cases(explainer),
        exports.router(settings, explainer),
        _health(explainer),
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
    if guarded:
        app.add_middleware(KeyGuard, keys=explainer.keys)
    app.add_middleware(SecurityHeaders)
    return app


def _explanations(settings: Settings, explainer: Explainer, rules: FetchRules) -> APIRouter:
    router = APIRouter(prefix="/v1", tags=["explanations"])

    @router.post(
        "/explanations", response_model=Report, openapi_extra=_BODY, operation_id="explain",
        responses=_errors(400, 403, 408, 413, 415, 422, 502, 503),
    )  # fmt: skip
    async def explain(request: Request) -> Report:
        """Examine one picture: a file in a form (`file`), or its web address as JSON (`{"url": …}`)."""
        kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind not in ("multipart/form-data", "application/json"):
            raise CallerError(
                "The request is neither a form with a file nor JSON with a URL.",
                remedy='Send multipart/form-data with the field `file`, or application/json with {"url": "…"}.',
                code="unsupported_media_type",
            )
        try:
            async with asyncio.timeout(_UPLOAD_SECONDS):
                if kind == "multipart/form-data":
                    submission, budget = await _from_form(request, settings)
                else:
                    asked = await _from_json(request)
                    fetched = await fetch(asked.url, rules)
                    submission = intake.submission(fetched.data, fetched.name, "url", settings)
                    submission = submission.model_copy(update={"claim": asked.claim})
                    budget = asked.budget
        except TimeoutError as error:
            raise CallerError(
                f"The upload took longer than {_UPLOAD_SECONDS:g} seconds.",
                remedy="Try again over a faster connection, or send a smaller file.", code="upload_too_slow",
            ) from error  # fmt: skip
        return await explainer.explain(submission, budget=budget)

    return router


async def _from_form(request: Request, settings: Settings) -> tuple[Submission, Budget | None]:
    """Reads the form; stops as soon as more bytes came than may come, so that nothing large is spooled."""
    bound = intake.max_bytes(settings)
    length = request.headers.get("content-length", "")
    if length.isdecimal() and int(length) > bound + _FORM_SLACK:
        raise intake.too_large(bound)
    received = 0

    async def receive() -> Message:
        nonlocal received
        message = await request.receive()
        received += len(message.get("body", b""))
        if received > bound + _FORM_SLACK:
            raise intake.too_large(bound)
        return message

    try:
        form = await Request(request.scope, receive).form(max_files=1, max_fields=8)
    except (MultiPartException, HTTPException) as error:
        raise CallerError(
            "The form cannot be read.", remedy="Send multipart/form-data with one field `file`.", code="bad_form"
        ) from error
    try:
        file = form.get("file")
        if not isinstance(file, UploadFile):
            raise CallerError(
                "The form has no file in the field `file`.", remedy="Attach the picture as `file`.", code="no_file"
            )
        budget = form.get("budget")
        try:
            chosen = _BUDGET.validate_python(budget) if budget else None
        except ValidationError as error:
            raise RequestValidationError([entry | {"loc": ("budget",)} for entry in error.errors()]) from error
        try:
            claim = stated({name: value for name, value in form.items() if isinstance(value, str)})
        except ValidationError as error:
            raise RequestValidationError(in_form(error)) from error
        submission = intake.submission(await file.read(), file.filename, "upload", settings)
        return submission.model_copy(update={"claim": claim}), chosen
    finally:
        await form.close()


async def _from_json(request: Request) -> UrlRequest:
    too_large = CallerError(
        f"The JSON is larger than {_FORM_SLACK // 2**10} KiB.", remedy="Send only the URL.", code="body_too_large"
    )
    try:
        return UrlRequest.model_validate_json(await intake.read_bounded(request.stream(), _FORM_SLACK, too_large))
    except ValidationError as error:
        raise RequestValidationError(error.errors()) from error


def _cases(explainer: Explainer) -> APIRouter:
    router = APIRouter(prefix="/v1", tags=["cases"])

    @router.get("/cases", response_model=CasePage, operation_id="list_cases", responses=_errors(422, 503))
    async def cases(
        limit: Annotated[int, Query(ge=1, le=200, description="How many, 1 to 200.")] = 50,
        before: Annotated[datetime | None, Query(description="Only cases older than this (ISO 8601).")] = None,
        sha256: Annotated[str | None, Query(pattern="^[0-9a-f]{64}$", description="Only cases of this file.")] = None,
        label: Annotated[Label | None, Query(description="Only cases with this verdict.")] = None,
    ) -> CasePage:
        """The newest cases first, a page at a time."""
        found = await explainer.cases(limit=limit, before=before, sha256=sha256, label=label)
        return CasePage(cases=found, next_before=found[-1].created_at if len(found) == limit else None)

    @router.get("/cases/{case_id}", response_model=Report, operation_id="get_case", responses=_errors(404, 422, 503))
    async def case(case_id: Case) -> Report:
        """The report of a case, as it was given."""
        return await explainer.report(case_id)

    @router.post(
        "/cases/{case_id}/questions", response_model=Answer, operation_id="ask",
        responses=_errors(400, 403, 404, 422, 503),
    )  # fmt: skip
    async def ask(case_id: Case, question: Question) -> Answer:
        """Ask about a case. Each sentence of the answer cites evidence of that case."""
        return await explainer.ask(case_id, question.question, region=question.region)

    @router.post(
        "/cases/{case_id}/reviews", response_model=Review, operation_id="review",
        responses=_errors(400, 403, 404, 422, 503),
    )  # fmt: skip
    async def review(case_id: Case, decision: Decision) -> Review:
        """Confirm, override or annotate a verdict. The machine's verdict stays as it is."""
        return await explainer.review(case_id, decision)

    @router.get("/cases/{case_id}/reviews", response_model=list[Review], operation_id="list_reviews",
                responses=_errors(404, 422, 503))  # fmt: skip
    async def reviews(case_id: Case) -> list[Review]:
        """What people said of a case, oldest first."""
        return await explainer.reviews(case_id)

    @router.get(
        "/maps/{sha256}.png", operation_id="get_map", response_class=Response,
        responses=_errors(404, 422, 503) | {200: {"content": {"image/png": {}}}},
    )  # fmt: skip
    async def map_png(
        sha256: Annotated[str, Path(pattern="^[0-9a-f]{64}$", description="The map's hash.", examples=[_EXAMPLE_SHA])],
    ) -> Response:
        """A map that a tool drew; `evidence[].maps[].sha256` names it."""
        return Response(
            await explainer.map_png(sha256), media_type="image/png",
            headers={"Cache-Control": "private, max-age=31536000, immutable"},
        )  # fmt: skip

    return router


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
