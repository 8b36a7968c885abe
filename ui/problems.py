"""Errors as RFC 9457 problem details: one shape, one status for each cause, and nothing of the server's inside."""

from __future__ import annotations

import traceback
import uuid
from http import HTTPStatus
from typing import Any, Final

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException

from tools.errors import (
    CallerError,
    ExpositError,
    FetchError,
    ImageError,
    NotFoundError,
    TryAgainError,
)

MEDIA_TYPE: Final = "application/problem+json"
RETRY_AFTER_S: Final = 5

_STATUS: Final[dict[str, int]] = {
    "file_too_large": 413,
    "body_too_large": 413,
    "too_many_pixels": 413,
    "decompression_bomb": 413,
    "unsupported_format": 415,
    "unsupported_media_type": 415,
    "not_an_image": 415,
    "upload_too_slow": 408,
    "cross_site": 403,
    "url_invalid": 400,
    "url_scheme": 400,
    "url_credentials": 400,
    "url_port": 400,
    "fetch_timeout": 502,
    "fetch_unreachable": 502,
    "fetch_status": 502,
    "fetch_encoded": 502,
    "idempotency_reused": 422,
    "idempotency_in_flight": 409,
    "case_running": 409,
    "purged": 410,
    "batch_too_large": 413,
    "batch_too_long": 413,
}

_log = structlog.get_logger("exposit.api")


class FieldProblem(BaseModel):
    """One field of a request that does not hold."""

    field: str
    message: str


class Problem(BaseModel):
    """What went wrong and what to do about it (RFC 9457)."""

    type: str = Field(description="`urn:exposit:problem:` and the code.")
    title: str = Field(description="The status in words.")
    status: int
    detail: str = Field(description="What is wrong, in one sentence.")
    code: str = Field(description="Stable name of the cause.")
    remedy: str = Field(description="What to do about it.")
    id: str | None = Field(default=None, description="To be quoted to whoever runs the service; stands in its log.")
    errors: list[FieldProblem] | None = Field(default=None, description="The fields at fault, where there are any.")


def status_of(error: ExpositError) -> int:
    """The HTTP status of an error."""
    if isinstance(error, CallerError | TryAgainError) and error.code in _STATUS:
        return _STATUS[error.code]
    if isinstance(error, NotFoundError):
        return 404
    if isinstance(error, ImageError | FetchError):
        return 422
    if isinstance(error, CallerError):
        return 400
    return 503 if isinstance(error, TryAgainError) else 500


def problem(
    status: int, code: str, detail: str, remedy: str = "", *, headers: dict[str, str] | None = None, **more: Any
) -> JSONResponse:
    """A problem as a response."""
    body = Problem(
        type=f"urn:exposit:problem:{code}",
        title=HTTPStatus(status).phrase,
        status=status,
        detail=detail,
        code=code,
        remedy=remedy,
        **more,
    )
    return JSONResponse(
        body.model_dump(exclude_none=True),
        status,
        media_type=MEDIA_TYPE,
        headers={"Cache-Control": "no-store"} | (headers or {}),
    )


def public(error: ExpositError) -> ExpositError:
    """What the caller may be told of an error: what only the operator may know goes to the log, under an id."""
    if isinstance(error, PublicError) or status_of(error) != 500:
        return error
    number = uuid.uuid4().hex
    _log.error("operator error", id=number, code=error.code, message=error.message, remedy=error.remedy)
    return PublicError("The service is not set up as it should be, so this could not be done.", number, code=error.code)


def internal(error: Exception, place: str) -> ExpositError:
    """What the caller may be told of an error that nobody foresaw; the log has it whole."""
    number = uuid.uuid4().hex
    trace = "".join(traceback.format_exception(error))
    _log.error("unforeseen error", id=number, place=place, trace=trace)
    return PublicError("Something went wrong inside the service.", number, code="internal")


class PublicError(ExpositError):
    """Stands for an error that stays in the log."""

    def __init__(self, message: str, number: str, *, code: str) -> None:
        super().__init__(message, remedy=f"Tell whoever runs the service this id: {number}.", code=code)
        self.number = number


def of_error(error: ExpositError) -> JSONResponse:
    """The response to an error of Exposit's tree."""
    told = public(error)
    if isinstance(told, PublicError):
        return problem(500, told.code, told.message, told.remedy, id=told.number)
    status = status_of(error)
    headers = {"Retry-After": str(RETRY_AFTER_S)} if isinstance(error, TryAgainError) else None
    return problem(status, error.code, error.message, error.remedy, headers=headers)


def register(app: FastAPI) -> None:
    """Makes every error of `app` leave as a problem."""

    @app.exception_handler(ExpositError)
    async def _exposit(_: Request, error: ExpositError) -> JSONResponse:
        return of_error(error)

    @app.exception_handler(RequestValidationError)
    async def _validation(_: Request, error: RequestValidationError) -> JSONResponse:
        return invalid_fields(error.errors())

    @app.exception_handler(HTTPException)
    async def _http(_: Request, error: HTTPException) -> JSONResponse:
        phrase = HTTPStatus(error.status_code).phrase
        code = phrase.lower().replace(" ", "_").replace("-", "_")
        detail = error.detail if isinstance(error.detail, str) and error.detail != phrase else f"{phrase}."
        return problem(
            error.status_code,
            code,
            detail,
            "See /docs for what the service answers to.",
            headers=dict(error.headers or {}),
        )

    @app.exception_handler(Exception)
    async def _unknown(request: Request, error: Exception) -> JSONResponse:
        return of_error(internal(error, place=request.url.path))


def invalid_fields(errors: Any) -> JSONResponse:
    """The response to fields that do not hold, from pydantic's list of errors; what was sent is not repeated."""
    fields = [
        FieldProblem(field=".".join(str(part) for part in entry["loc"]), message=entry["msg"]) for entry in errors
    ]
    return problem(
        422,
        "invalid_request",
        "The request does not have the agreed form.",
        "Mend the fields named under `errors`; /docs shows the form.",
        errors=fields,
    )
