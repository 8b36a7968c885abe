"""Cases over HTTP: the history and its export, a case, its steps, maps, questions, reviews, its purge."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import aclosing
from datetime import datetime
from typing import Annotated, Any, Final, Literal

from fastapi import APIRouter, Header, Path, Query, Request, Response
from fastapi.responses import StreamingResponse
from pydantic import BaseModel, ConfigDict, Field

from agent.service import Answer, CasePage, CaseState, Decision, Event, Explainer, Filters, Purged, Review
from agent.verdict import Label, State
from tools.contract import Region
from tools.errors import CallerError, NotFoundError
from ui import sheets
from ui.idempotent import PARAMETER, once
from ui.submitting import errors

Case = Annotated[str, Path(max_length=64, pattern=r"^[A-Za-z0-9_-]+$", description="The case's id.")]
Sha256 = Annotated[str, Query(pattern="^[0-9a-f]{64}$")]

EXAMPLE_SHA: Final = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
COLUMNS: Final = (
    "case_id", "created_at", "status", "name", "sha256", "label", "p_generated", "revision", "review", "error_code",
    "error",
)  # fmt: skip
_ALIVE_S: Final = 15.0
_ONCE: Final[dict[str, Any]] = {"parameters": [PARAMETER]}


class Question(BaseModel):
    """A follow-up question about a case."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"question": "Where is it visible?"}]})

    question: str = Field(min_length=1, max_length=2000)
    region: Region | None = Field(default=None, description="A box to examine by itself, in fractions of the picture.")


def router(explainer: Explainer) -> APIRouter:
    """The routes."""
    made = APIRouter(prefix="/v1", tags=["cases"])

    @made.get("/cases", response_model=CasePage, operation_id="list_cases",
              responses=errors(400, 404, 422, 503)
              | {200: {"content": {"text/csv": {}, "application/jsonl": {}}}})  # fmt: skip
    async def cases(
        limit: Annotated[int, Query(ge=1, le=200, description="How many on a page, 1 to 200.")] = 50,
        cursor: Annotated[str | None, Query(max_length=200, description="`next_cursor` of the page before.")] = None,
        label: Annotated[Label | None, Query(description="Only cases with this verdict.")] = None,
        state: Annotated[State | None, Query(description="Only cases that stand so.")] = None,
        since: Annotated[datetime | None, Query(description="Only cases from then on (ISO 8601).")] = None,
        before: Annotated[datetime | None, Query(description="Only cases older than this (ISO 8601).")] = None,
        sha256: Annotated[str | None, Query(pattern="^[0-9a-f]{64}$", description="Only cases of this file.")] = None,
        similar_to: Annotated[
            str | None,
            Query(max_length=64, pattern=r"^[A-Za-z0-9_-]+$",
                  description="A case: only cases of its file, and of files that look like it."),
        ] = None,
        claim: Annotated[str | None, Query(min_length=1, max_length=200, description="Words in the claim.")] = None,
        waiting: Annotated[bool, Query(description="Only cases that wait for a person.")] = False,
        format: Annotated[
            Literal["json", "csv", "jsonl"],
            Query(description="`csv` and `jsonl` give every case that is asked for, whatever the limit."),
        ] = "json",
    ) -> Any:  # fmt: skip
        """The newest cases first, a page at a time, or all of them as a sheet."""
        asked = Filters(
            label=label, state=state, since=since, before=before, sha256=sha256, similar_to=similar_to, claim=claim,
            waiting=waiting,
        )  # fmt: skip
        if format == "json":
            return await explainer.history(asked, limit=limit, cursor=cursor)
        if cursor is not None:
            raise CallerError("A sheet has no pages.", remedy="Leave `cursor` out.", code="bad_cursor")
        await explainer.history(asked, limit=1)  # what is wrong with it is said before the sheet begins

        async def lines() -> AsyncIterator[Mapping[str, Any]]:
            async for each in explainer.every(asked):
                yield each.model_dump(mode="json")

        return sheets.response(format, COLUMNS, lines(), "exposit-cases")

    @made.get("/cases/{case_id}", response_model=CaseState, operation_id="get_case", responses=errors(404, 422, 503))
    async def case(case_id: Case) -> CaseState:
        """How a case stands, and its report as it was given once it is done."""
        return await explainer.case(case_id)

    @made.get(
        "/cases/{case_id}/events", operation_id="watch_case", response_class=StreamingResponse,
        responses=errors(404, 422, 503) | {200: {"content": {"text/event-stream": {"schema": {"type": "string"}}}}},
    )  # fmt: skip
    async def events(
        case_id: Case,
        last_event_id: Annotated[
            str | None, Header(description="The number of the last step that was seen; what follows it is sent.")
        ] = None,
    ) -> StreamingResponse:
        """The steps of an examination in the background, as server-sent events; the last one is `done`.

        Whoever comes late gets the past steps first. `done` tells how the case ended; its report is at
        `/v1/cases/{case_id}`.
        """
        given = last_event_id or ""
        after = int(given) if given.isdecimal() and len(given) < 10 else 0
        await explainer.case(case_id, report=False)  # a case that is not there is told before the stream begins
        stream = sent(explainer.events(case_id, after=after), case_id)
        return StreamingResponse(stream, media_type="text/event-stream", headers={"X-Accel-Buffering": "no"})

    @made.get(
        "/cases/{case_id}/maps/{sha256}.png", operation_id="get_map", response_class=Response,
        responses=errors(404, 410, 422, 503)
        | {200: {"content": {"image/png": {"schema": {"type": "string", "format": "binary"}}}}},
    )  # fmt: skip
    async def map_png(
        case_id: Case,
        sha256: Annotated[str, Path(pattern="^[0-9a-f]{64}$", description="The map's hash.", examples=[EXAMPLE_SHA])],
    ) -> Response:
        """A map that a tool drew of the case's picture; `evidence[].maps[].sha256` names it."""
        report = await explainer.report(case_id)
        if sha256 not in {each.sha256 for item in report.evidence for each in item.maps}:
            raise NotFoundError("The case has no map of that name.", remedy="The evidence of its report names them.")
        await explainer.see_kept(case_id)
        png = await explainer.map_png(sha256)
        return Response(
            png, media_type="image/png",
            headers={"Cache-Control": "private, max-age=31536000, immutable"},
        )  # fmt: skip

    @made.post(
        "/cases/{case_id}/questions", response_model=Answer, operation_id="ask", openapi_extra=_ONCE,
        responses=errors(400, 403, 404, 409, 410, 422, 503),
    )  # fmt: skip
    async def ask(request: Request, case_id: Case, question: Question) -> Response:
        """Ask about a case. Each sentence of the answer cites evidence of that case."""

        async def work(_: str | None) -> Response:
            return _json(await explainer.ask(case_id, question.question, region=question.region))

        return await once(request, explainer, _content(question), work)

    @made.post(
        "/cases/{case_id}/reviews", response_model=Review, operation_id="review", openapi_extra=_ONCE,
        responses=errors(400, 403, 404, 409, 422, 503),
    )  # fmt: skip
    async def review(request: Request, case_id: Case, decision: Decision) -> Response:
        """Confirm, override or annotate a verdict. The machine's verdict stays as it is."""

        async def work(_: str | None) -> Response:
            return _json(await explainer.review(case_id, decision))

        return await once(request, explainer, _content(decision), work)

    @made.get("/cases/{case_id}/reviews", response_model=list[Review], operation_id="list_reviews",
              responses=errors(404, 422, 503))  # fmt: skip
    async def reviews(case_id: Case) -> list[Review]:
        """What people said of a case, oldest first."""
        return await explainer.reviews(case_id)

    @made.post("/cases/{case_id}/purge", response_model=Purged, operation_id="purge_case",
               responses=errors(403, 404, 409, 422, 503))  # fmt: skip
    async def purge(case_id: Case) -> Purged:
        """Delete the original and the maps of a case for good. Its report, hashes and audit rows stay."""
        return await explainer.purge(case_id=case_id)

    return made


async def sent(events: AsyncIterator[Event], case_id: str) -> AsyncIterator[str]:
    """Steps as server-sent events; a comment now and then keeps the connection open."""
    async with aclosing(events) as stream:  # type: ignore[type-var]
        coming = asyncio.ensure_future(anext(stream, None))
        try:
            while True:
                done, _ = await asyncio.wait({coming}, timeout=_ALIVE_S)
                if not done:
                    yield ": still at it\n\n"
                    continue
                event = coming.result()
                if event is None:
                    return
                if event.kind in ("report", "failed"):
                    yield _framed("done", _end(event, case_id))
                    return
                body = {"case_id": case_id, "text": event.text, "data": event.data}
                yield _framed(event.kind, body, event.position)
                coming = asyncio.ensure_future(anext(stream, None))
        finally:
            coming.cancel()
            await asyncio.gather(coming, return_exceptions=True)


def _end(event: Event, case_id: str) -> dict[str, Any]:
    done = event.kind == "report"
    return {
        "case_id": case_id,
        "state": "done" if done else "failed",
        "label": event.data["report"]["verdict"]["label"] if done else None,
        "problem": None if done else event.data,
        "url": f"/v1/cases/{case_id}",
    }


def _framed(kind: str, body: Mapping[str, Any], number: int | None = None) -> str:
    named = f"id: {number}\n" if number else ""
    return f"{named}event: {kind}\ndata: {json.dumps(body, ensure_ascii=True)}\n\n"


def _json(model: BaseModel) -> Response:
    return Response(model.model_dump_json(), media_type="application/json")


def _content(model: BaseModel) -> Any:
    async def content() -> object:
        return model.model_dump(mode="json")

    return content
