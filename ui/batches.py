"""Batches over HTTP: many files or addresses in one request, their progress, their results as a sheet."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Iterator, Mapping
from typing import Annotated, Any, Final

from fastapi import APIRouter, Path, Query, Request, Response
from fastapi.responses import StreamingResponse
from pydantic import BaseModel, ConfigDict, Field, StringConstraints
from starlette.datastructures import FormData, UploadFile

from agent.batches import ITEMS_MAX
from agent.service import Batch, Explainer, Link, Submission, Unreadable
from agent.settings import Settings
from tools.errors import CallerError, ImageError
from ui import intake, sheets
from ui.fetch import FetchRules
from ui.idempotent import PARAMETER, once
from ui.submitting import CALLBACK, FORM_SLACK, Budget, bounded_form, budget_in, callback_in, errors, from_json, media
from ui.web import callable_back

Id = Annotated[str, Path(max_length=64, pattern=r"^[A-Za-z0-9_-]+$", description="The batch's id.")]
COLUMNS: Final = ("position", "name", "url", "state", "case_id", "label", "p_generated", "code", "message")
_JSON_BYTES: Final = 2 * 2**20
_UPLOAD_S: Final = 900.0
_PIECE: Final = 2**20


class UrlBatch(BaseModel):
    """Many pictures by their web addresses."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"examples": [{"name": "Monday", "urls": ["https://example.org/a.jpg"], "budget": "quick"}]},
    )

    urls: list[Annotated[str, StringConstraints(min_length=1, max_length=2048)]] = Field(
        min_length=1, max_length=ITEMS_MAX, description="http or https; each is fetched when its turn comes."
    )
    name: str = Field(default="", max_length=200, description="What the batch is called.")
    budget: Budget | None = Field(default=None, description="What each examination may cost.")
    callback_url: str | None = Field(default=None, min_length=1, max_length=2048, description=CALLBACK)


class BatchList(BaseModel):
    """The newest batches, without their items."""

    batches: list[Batch]


_BODY: Final[dict[str, Any]] = {
    "parameters": [PARAMETER],
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["files"],
                    "properties": {
                        "files": {
                            "type": "array",
                            "items": {"type": "string", "format": "binary"},
                            "description": f"The pictures' files, at most {ITEMS_MAX}: the field is repeated.",
                        },
                        "name": {"type": "string", "maxLength": 200, "description": "What the batch is called."},
                        "budget": {"type": "string", "enum": ["quick", "standard", "thorough"]},
                        "callback_url": {"type": "string", "maxLength": 2048, "description": CALLBACK},
                    },
                }
            },
            "application/json": {"schema": UrlBatch.model_json_schema()},
        },
    },
}


def router(settings: Settings, explainer: Explainer, rules: FetchRules) -> APIRouter:
    """The routes."""
    made = APIRouter(prefix="/v1", tags=["batches"])

    @made.post(
        "/batches", status_code=202, response_model=Batch, openapi_extra=_BODY, operation_id="create_batch",
        responses=errors(400, 403, 408, 409, 413, 415, 422, 503),
    )  # fmt: skip
    async def create(request: Request) -> Response:
        """Hand in many pictures: files in a form (`files`, repeated), or web addresses as JSON (`{"urls": […]}`).

        Each is a case of its own. A file that cannot be judged is an item with its problem, never the end of the batch.
        """
        kind = media(request, "with files", "with URLs", '`files`, or application/json with {"urls": ["…"]}')
        if kind == "application/json":
            asked = await from_json(request, UrlBatch, _JSON_BYTES, "Send several batches.")
            links = [Link(url=url, name=_name(url)) for url in asked.urls]

            async def told() -> object:
                return asked.model_dump(mode="json")

            async def put(seed: str | None) -> Response:
                batch = await explainer.create_batch(
                    links, name=asked.name, budget=asked.budget, callback=asked.callback_url, seed=seed
                )
                return _accepted(batch)

            if asked.callback_url is not None:
                callable_back(asked.callback_url, rules)
            return await once(request, explainer, told, put)
        form = await _form(request, settings)
        try:
            files = [each for each in form.getlist("files") if isinstance(each, UploadFile)]
            if not files:
                raise CallerError(
                    "The form has no file in the field `files`.", remedy="Attach each picture as `files`.",
                    code="no_file",
                )  # fmt: skip
            name, budget, callback = str(form.get("name") or "")[:200], budget_in(form), callback_in(form)
            if callback is not None:
                callable_back(callback, rules)

            async def content() -> object:
                return [[[file.filename, await _hash(file)] for file in files], name, budget, callback]

            async def work(seed: str | None) -> Response:
                return _accepted(
                    await explainer.create_batch(
                        _submissions(files, settings), name=name, budget=budget, callback=callback, seed=seed
                    )
                )

            return await once(request, explainer, content, work)
        finally:
            await form.close()

    @made.get("/batches", response_model=BatchList, operation_id="list_batches", responses=errors(422, 503))
    async def batches(
        limit: Annotated[int, Query(ge=1, le=200, description="How many, 1 to 200.")] = 50,
    ) -> BatchList:
        """The newest batches first, without their items."""
        return BatchList(batches=await explainer.batches(limit=limit))

    @made.get("/batches/{batch_id}", response_model=Batch, operation_id="get_batch", responses=errors(404, 422, 503))
    async def batch(batch_id: Id) -> Batch:
        """A batch: how far it is, and each item with its case, label or problem."""
        return await explainer.batch(batch_id)

    async def results(batch_id: str, kind: sheets.Kind) -> StreamingResponse:
        found = await explainer.batch(batch_id)

        async def lines() -> AsyncIterator[Mapping[str, Any]]:
            for line in _lines(found):
                yield line

        return sheets.response(kind, COLUMNS, lines(), f"exposit-batch-{found.id}")

    @made.get(
        "/batches/{batch_id}/results.csv", operation_id="get_batch_csv", response_class=StreamingResponse,
        responses=errors(404, 422, 503) | {200: {"content": {"text/csv": {"schema": {"type": "string"}}}}},
    )  # fmt: skip
    async def results_csv(batch_id: Id) -> StreamingResponse:
        """The items of a batch, one a line, as CSV; what is not done yet says so."""
        return await results(batch_id, "csv")

    @made.get(
        "/batches/{batch_id}/results.jsonl", operation_id="get_batch_jsonl", response_class=StreamingResponse,
        responses=errors(404, 422, 503) | {200: {"content": {"application/jsonl": {"schema": {"type": "string"}}}}},
    )  # fmt: skip
    async def results_jsonl(batch_id: Id) -> StreamingResponse:
        """The same as JSON Lines."""
        return await results(batch_id, "jsonl")

    return made


async def _form(request: Request, settings: Settings) -> FormData:
    bound = settings.max_batch_mb * 2**20
    too_large = CallerError(
        f"The batch is larger than the {settings.max_batch_mb} MiB that are accepted at once.",
        remedy="Send several batches.", code="batch_too_large",
    )  # fmt: skip
    try:
        async with asyncio.timeout(_UPLOAD_S):
            return await bounded_form(request, bound + FORM_SLACK, too_large, files=ITEMS_MAX + 1, fields=8)
    except TimeoutError as error:
        raise CallerError(
            f"The upload took longer than {_UPLOAD_S:g} seconds.",
            remedy="Try again over a faster connection, or send several batches.", code="upload_too_slow",
        ) from error  # fmt: skip


async def _submissions(files: list[UploadFile], settings: Settings) -> AsyncIterator[Submission | Unreadable]:
    """The files, one in memory at a time."""
    for file in files:
        await file.seek(0)
        data = await file.read(intake.max_bytes(settings) + 1)
        try:
            yield intake.submission(data, file.filename, "upload", settings)
        except ImageError as error:
            yield Unreadable(name=intake.clean_name(file.filename), code=error.code, message=error.message)


async def _hash(file: UploadFile) -> str:
    digest = hashlib.sha256()
    await file.seek(0)
    while piece := await file.read(_PIECE):
        digest.update(piece)
    return digest.hexdigest()


def _lines(batch: Batch) -> Iterator[dict[str, Any]]:
    for item in batch.items:
        line = item.model_dump(mode="json", exclude={"problem"})
        problem = item.problem
        yield line | {"code": problem.code if problem else None, "message": problem.message if problem else None}


def _accepted(batch: Batch) -> Response:
    headers = {"Location": f"/v1/batches/{batch.id}", "Retry-After": "2"}
    return Response(batch.model_dump_json(), 202, headers, media_type="application/json")


def _name(url: str) -> str:
    return intake.clean_name(url.partition("?")[0].partition("#")[0].rstrip("/").rpartition("/")[2])
