"""Handing pictures in over HTTP: one picture, answered at once or in the background."""

from __future__ import annotations

import hashlib
import re
from typing import Any, Final, Literal, TypeVar

from fastapi import APIRouter, Request, Response
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError
from starlette.datastructures import FormData, UploadFile
from starlette.exceptions import HTTPException
from starlette.formparsers import MultiPartException
from starlette.types import Message

from agent.service import CaseState, Explainer, Submission
from agent.settings import Settings
from agent.state import Stakes
from agent.stated import StatedClaim
from agent.verdict import Report
from tools.errors import CallerError
from ui import intake, problems
from ui.claiming import in_form, stated
from ui.fetch import FetchRules, fetch
from ui.idempotent import PARAMETER, once
from ui.problems import Problem
from ui.web import callable_back

Budget = Literal["quick", "standard", "thorough"]
T = TypeVar("T", bound=BaseModel)

FORM_SLACK: Final = 64 * 2**10  # boundaries, headers and the fields beside the file
_BUDGET: Final[TypeAdapter[Budget | None]] = TypeAdapter(Budget | None)
_STAKES: Final[TypeAdapter[Stakes]] = TypeAdapter(Stakes)
_ASYNC: Final = re.compile(r"\s*respond-async\s*(;|$)", re.I)
_POLL_AFTER_S: Final = "2"
STAKES: Final = "What hangs on the answer; where it is high a person may be asked to look. No say in the verdict."
CALLBACK: Final = "Told when it has ended (docs/API.md says how it is signed). http or https, port 80 or 443, public."


class UrlRequest(BaseModel):
    """A picture by its web address."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{"url": "https://example.org/photo.jpg"}]}
    )

    url: str = Field(min_length=1, max_length=2048, description="http or https; must lead to the public internet.")
    budget: Budget | None = Field(default=None, description="What the examination may cost; the server's when unset.")
    stakes: Stakes = Field(default="ordinary", description=STAKES)
    claim: StatedClaim | None = Field(
        default=None, description="The claim made about the picture; kept with the case, and judged by nothing."
    )
    callback_url: str | None = Field(default=None, min_length=1, max_length=2048, description=CALLBACK)


def errors(*codes: int) -> dict[int | str, dict[str, Any]]:
    """The responses of a route that are problems."""
    return {code: {"model": Problem, "content": {problems.MEDIA_TYPE: {}}} for code in (*codes, 429, 500)}


def inlined(schema: dict[str, Any]) -> dict[str, Any]:
    """The schema with its claim in place: references of a part do not resolve in the whole description."""
    claim = schema.pop("$defs")["StatedClaim"]
    schema["properties"]["claim"] = {"anyOf": [claim, {"type": "null"}], "default": None}
    return schema


_PREFER: Final[dict[str, Any]] = {
    "name": "Prefer",
    "in": "header",
    "required": False,
    "description": "`respond-async` (RFC 7240): answer 202 at once and examine in the background.",
    "schema": {"type": "string"},
    "example": "respond-async",
}
_BODY: Final[dict[str, Any]] = {
    "parameters": [_PREFER, PARAMETER],
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
                        "stakes": {"type": "string", "enum": ["ordinary", "high"], "description": STAKES},
                        "callback_url": {"type": "string", "maxLength": 2048, "description": CALLBACK},
                        "claim": {"type": "string", "maxLength": 2000, "description": "What is said of the picture."},
                        "claimant": {"type": "string", "maxLength": 300, "description": "Who says so."},
                        "claim_date": {"type": "string", "description": "The day it was said: 2026-01-31, or empty."},
                        "claim_seen": {"type": "string", "maxLength": 300, "description": "Where it was seen."},
                        "claim_url": {"type": "string", "maxLength": 2048, "description": "Where it can be read."},
                    },
                }
            },
            "application/json": {"schema": inlined(UrlRequest.model_json_schema())},
        },
    },
}
_ACCEPTED: Final[dict[int | str, dict[str, Any]]] = {
    202: {
        "model": CaseState,
        "description": "The picture is stored and stands in line; `Location` says where to ask for it.",
        "headers": {"Location": {"schema": {"type": "string"}, "description": "/v1/cases/{case_id}"}},
    }
}


def router(settings: Settings, explainer: Explainer, rules: FetchRules) -> APIRouter:
    """The route of one picture."""
    made = APIRouter(prefix="/v1", tags=["explanations"])

    @made.post(
        "/explanations", response_model=Report, openapi_extra=_BODY, operation_id="explain",
        responses=errors(400, 403, 408, 409, 413, 415, 422, 502, 503) | _ACCEPTED,
    )  # fmt: skip
    async def explain(request: Request) -> Response:
        """Examine one picture: a file in a form (`file`), or its web address as JSON (`{"url": …}`).

        Answered at once with the report; with 202 and the address of the case where the budget is `thorough`, a
        `callback_url` is given, or the request has `Prefer: respond-async`.
        """
        kind = media(request, "with a file", "with a URL", '`file`, or application/json with {"url": "…"}')
        callback: str | None
        submission: Submission | None
        if kind == "multipart/form-data":
            submission, budget, stakes, callback = await _from_form(request, settings)
            told: str = hashlib.sha256(submission.data).hexdigest()
        else:
            asked = await from_json(request, UrlRequest, FORM_SLACK, "Send only the URL.")
            told, budget, stakes, callback = asked.url, asked.budget, asked.stakes, asked.callback_url
            submission = None if request.headers.get("idempotency-key") else await _fetched(asked)
        if callback is not None:
            callable_back(callback, rules)
        preferred = any(_ASYNC.match(each) for each in request.headers.get("prefer", "").split(","))
        later = preferred or callback is not None or (budget or settings.budget) == "thorough"

        async def content() -> object:
            claim = submission.claim if submission else asked.claim
            return [told, budget, stakes, callback, later, claim.model_dump(mode="json") if claim else None]

        async def work(seed: str | None) -> Response:
            given = submission or await _fetched(asked)  # an address that was answered for is not fetched again
            if not later:
                return _json(await explainer.explain(given, budget=budget, stakes=stakes), 200)
            state = await explainer.enqueue(given, budget=budget, stakes=stakes, callback=callback, seed=seed)
            headers = {"Location": f"/v1/cases/{state.case_id}", "Retry-After": _POLL_AFTER_S}
            if preferred:
                headers["Preference-Applied"] = "respond-async"
            return _json(state, 202, headers)

        return await once(request, explainer, content, work)

    async def _fetched(asked: UrlRequest) -> Submission:
        fetched = await fetch(asked.url, rules)
        given = intake.submission(fetched.data, fetched.name, "url", settings)
        return given.model_copy(update={"claim": asked.claim})

    return made


def _json(model: BaseModel, status: int, headers: dict[str, str] | None = None) -> Response:
    return Response(model.model_dump_json(), status, headers, media_type="application/json")


def media(request: Request, form: str, json: str, what: str) -> str:
    """The kind of a body that may be a form or JSON. Raises CallerError `unsupported_media_type`."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind not in ("multipart/form-data", "application/json"):
        raise CallerError(
            f"The request is neither a form {form} nor JSON {json}.",
            remedy=f"Send multipart/form-data with the field {what}.",
            code="unsupported_media_type",
        )
    return kind


async def bounded_form(request: Request, bound: int, too_large: CallerError, *, files: int, fields: int) -> FormData:
    """Reads a form; stops as soon as more bytes came than may come, so that nothing larger is spooled.

    Raises:
        CallerError: `too_large`, or `bad_form`.
    """
    length = request.headers.get("content-length", "")
    if length.isdecimal() and int(length) > bound:
        raise too_large
    received = 0

    async def receive() -> Message:
        nonlocal received
        message = await request.receive()
        received += len(message.get("body", b""))
        if received > bound:
            raise too_large
        return message

    try:
        return await Request(request.scope, receive).form(max_files=files, max_fields=fields)
    except (MultiPartException, HTTPException) as error:
        raise CallerError(
            "The form cannot be read.", remedy="Send multipart/form-data as /docs shows it.", code="bad_form"
        ) from error


def budget_in(form: FormData) -> Budget | None:
    """The budget that a form asks for. Raises RequestValidationError."""
    try:
        return _BUDGET.validate_python(form.get("budget") or None)
    except ValidationError as error:
        raise RequestValidationError([entry | {"loc": ("budget",)} for entry in error.errors()]) from error


def _stakes_in(form: FormData) -> Stakes:
    try:
        return _STAKES.validate_python(form.get("stakes") or "ordinary")
    except ValidationError as error:
        raise RequestValidationError([entry | {"loc": ("stakes",)} for entry in error.errors()]) from error


def callback_in(form: FormData) -> str | None:
    """The callback that a form asks for."""
    given = form.get("callback_url")
    if isinstance(given, str) and len(given) > 2048:
        raise CallerError("The callback's address is too long.", remedy="Use at most 2048 characters.")
    return given or None if isinstance(given, str) else None


async def _from_form(request: Request, settings: Settings) -> tuple[Submission, Budget | None, Stakes, str | None]:
    bound = intake.max_bytes(settings)
    form = await bounded_form(request, bound + FORM_SLACK, intake.too_large(bound), files=1, fields=9)
    try:
        file = form.get("file")
        if not isinstance(file, UploadFile):
            raise CallerError(
                "The form has no file in the field `file`.", remedy="Attach the picture as `file`.", code="no_file"
            )
        budget = budget_in(form)
        try:
            claim = stated({name: value for name, value in form.items() if isinstance(value, str)})
        except ValidationError as error:
            raise RequestValidationError(in_form(error)) from error
        submission = intake.submission(await file.read(), file.filename, "upload", settings)
        return submission.model_copy(update={"claim": claim}), budget, _stakes_in(form), callback_in(form)
    finally:
        await form.close()


async def from_json(request: Request, model: type[T], bound: int, remedy: str) -> T:
    """A body of JSON as a model. Raises CallerError `body_too_large`, or RequestValidationError."""
    too_large = CallerError(f"The JSON is larger than {bound // 2**10} KiB.", remedy=remedy, code="body_too_large")
    try:
        return model.model_validate_json(await intake.read_bounded(request.stream(), bound, too_large))
    except ValidationError as error:
        raise RequestValidationError(error.errors()) from error
