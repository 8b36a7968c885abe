"""A case to hand on, over HTTP: report as HTML and PDF, ClaimReview markup, evidence bundle."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Annotated, Any, Final

from fastapi import APIRouter, Path, Query, Response
from fastapi.responses import HTMLResponse

from agent.service import Explainer
from agent.settings import Settings
from ui.formats import claimreview
from ui.formats.claimreview import Publisher
from ui.submitting import errors

if TYPE_CHECKING:
    from ui.formats.dossier import Dossier

Case = Annotated[str, Path(max_length=64, pattern=r"^[A-Za-z0-9_-]+$", description="The case's id.")]
_AT_ONCE: Final = 2
"""Documents that are made at a time: each holds a decoded picture."""


def _media(kind: str) -> dict[int | str, dict[str, Any]]:
    return {200: {"content": {kind: {"schema": {"type": "string", "format": "binary"}}}}}


class LinkedData(Response):
    """JSON-LD."""

    media_type = "application/ld+json"


def router(settings: Settings, explainer: Explainer) -> APIRouter:
    """The routes."""
    made = APIRouter(prefix="/v1", tags=["documents"])
    turn = asyncio.Semaphore(_AT_ONCE)

    async def dossier(case_id: str) -> Dossier:
        from ui.formats.dossier import gather

        return await gather(explainer, settings, case_id)

    def attached(case_id: str, suffix: str) -> dict[str, str]:
        return {"Content-Disposition": f'attachment; filename="exposit-{case_id}.{suffix}"'}

    @made.get(
        "/cases/{case_id}/report.html", operation_id="get_report_html", response_class=HTMLResponse,
        responses=errors(404, 409, 422, 503),
    )  # fmt: skip
    async def report_html(case_id: Case) -> HTMLResponse:
        """The report as one HTML file that stands alone: pictures inside, no script, nothing loaded."""
        from ui.formats import html

        async with turn:
            page = await asyncio.to_thread(html.render, await dossier(case_id))
        return HTMLResponse(page, headers={"Content-Security-Policy": html.POLICY})

    @made.get(
        "/cases/{case_id}/report.pdf", operation_id="get_report_pdf", response_class=Response,
        responses=errors(404, 409, 422, 503) | _media("application/pdf"),
    )  # fmt: skip
    async def report_pdf(case_id: Case) -> Response:
        """The report as a PDF that stands alone."""
        from ui.formats import pdf

        async with turn:
            data = await asyncio.to_thread(pdf.render, await dossier(case_id))
        return Response(data, media_type="application/pdf", headers=attached(case_id, "pdf"))

    @made.get(
        "/cases/{case_id}/claimreview.json", operation_id="get_claimreview", response_class=LinkedData,
        responses=errors(404, 409, 422, 503)
        | {200: {"content": {"application/ld+json": {"schema": {"type": "object"}}}}},
    )  # fmt: skip
    async def claim_review(case_id: Case, publisher: Annotated[Publisher, Query()]) -> LinkedData:
        """A draft of schema.org markup: ClaimReview with MediaReview, or MediaReview where no claim was given.

        `no_evidence` and `inconclusive` give no media authenticity category; `reviewBody` says why.
        """
        return LinkedData(claimreview.text(await explainer.report(case_id), publisher))

    @made.get(
        "/cases/{case_id}/bundle.zip", operation_id="get_bundle", response_class=Response,
        responses=errors(400, 404, 409, 422, 503) | _media("application/zip"),
    )  # fmt: skip
    async def bundle_zip(
        case_id: Case,
        original: Annotated[bool, Query(description="Whether the examined file goes in.")] = False,
    ) -> Response:
        """The evidence bundle: report, maps, documents and audit rows with a manifest of SHA-256.

        `exposit verify` checks it without a network. Note `X-Manifest-SHA256`: it tells this bundle from one that
        was made anew.
        """
        from ui.formats import bundle

        async with turn:
            found = await dossier(case_id)
            data = await asyncio.to_thread(lambda: bundle.write(found, original=original))
        noted = {"X-Manifest-SHA256": bundle.manifest_sha256(data)}
        return Response(data, media_type="application/zip", headers=attached(case_id, "zip") | noted)

    return made
