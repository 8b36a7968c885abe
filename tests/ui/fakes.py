"""An Explainer without tools: real decoding, a fixed and realistic report, everything in memory."""

from __future__ import annotations

import asyncio
import hashlib
import io
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Self

from PIL import Image

from agent import audit
from agent.audit import Entry, Head
from agent.outside import Outside
from agent.service import (
    Answer,
    CasePage,
    CaseState,
    CaseSummary,
    Event,
    Explainer,
    Filters,
    Review,
    Submission,
)
from agent.settings import Settings
from agent.verdict import (
    Artifact,
    Conflict,
    Contribution,
    DroppedSentence,
    ImageFacts,
    Label,
    PlanStep,
    Report,
    Sentence,
    Verdict,
    Writer,
)
from tools.contract import Claim, Evidence, Finding, MapRef, Region
from tools.errors import NotFoundError
from tools.image import SourceImage

_START = datetime(2026, 11, 21, 9, 30, tzinfo=UTC)
_FACE = Region(x0=0.32, y0=0.18, x1=0.66, y1=0.58)
_CORNER = Region(x0=0.68, y0=0.66, x1=0.97, y1=0.95)


def heat_map() -> bytes:
    """A small grey picture, as a tool draws them."""
    buffer = io.BytesIO()
    Image.radial_gradient("L").resize((64, 48)).save(buffer, "PNG")
    return buffer.getvalue()


MAP = heat_map()
MAP_SHA = hashlib.sha256(MAP).hexdigest()


def report(
    image: SourceImage, case_id: str = "case-0001", label: Label = "generated", created_at: datetime = _START
) -> Report:
    """A report that has one of everything, over `image`."""
    heat = MapRef(name="patch_map", sha256=MAP_SHA, caption="Where the residual noise is too even", width=64, height=48)
    patch = Finding(
        text="Residual noise in the centre is 0.41 times as strong as in the rest of the picture.",
        polarity="generated", severity="moderate", region=_FACE, numbers={"ratio": 0.41},
    )  # fmt: skip
    peak = Finding(
        text="The spectrum has a periodic peak with a period of 8.0 pixels.",
        polarity="generated", severity="weak", region=_CORNER, numbers={"period_px": 8.0},
    )  # fmt: skip
    evidence = (
        Evidence(
            id="provenance", detector="provenance", version="1.0", target="generated", score=None,
            abstained_because="The file carries no signature, no metadata of a generator and no camera EXIF.",
            limits=("Metadata is lost when a picture is saved again by most platforms.",), ms=12.4,
        ),
        Evidence(
            id="compression", detector="compression", version="1.0", target="context", score=None,
            abstained_because="This tool describes the file and does not judge.",
            findings=(Finding(text="Saved once as JPEG with quality 85.", numbers={"quality": 85}),), ms=41.0,
        ),
        Evidence(
            id="frequency", detector="frequency", version="1.2", target="generated", score=0.71, findings=(peak,),
            regions=(_CORNER,), limits=("Resizing moves or removes periodic peaks.",), ms=88.2,
        ),
        Evidence(
            id="patch", detector="patch", version="0.9", target="generated", score=0.93, findings=(patch,),
            regions=(_FACE,), maps=(heat,), ms=231.9, weights={"patch": "0" * 64},
        ),
        Evidence(
            id="splice", detector="splice", version="0.3", target="edited", score=0.31, ms=120.0,
            findings=(Finding(text="The block grid is the same in all parts.", polarity="camera"),),
            claims=(Claim(source="exif", says="other", rank="unsigned", detail="<script>alert(1)</script>"),),
        ),
    )  # fmt: skip
    contributions = (
        Contribution(evidence_id="frequency", target="generated", llr=0.62, decibans=2.7, bucket="jpeg80-90"),
        Contribution(evidence_id="patch", target="generated", llr=1.45, decibans=6.3, bucket="jpeg80-90"),
        Contribution(evidence_id="splice", target="edited", llr=-0.74, decibans=-3.2, bucket="jpeg80-90"),
        Contribution(
            evidence_id="compression", target="generated", llr=0, decibans=0, bucket="jpeg80-90",
            because="describes the file and never judges",
        ),
    )  # fmt: skip
    shares = {"generated": 0.83, "edited": 0.12, "laundered": 0.71, "no_evidence": 0.22, "authentic": 0.004}
    p = shares.get(label, 0.52)
    signed = label == "authentic"
    return Report(
        case_id=case_id, created_at=created_at, budget="standard",
        image=ImageFacts(
            path=image.name, sha256=image.sha256, bytes=len(image.data), width=image.width, height=image.height,
            format=image.format, mode=image.mode, notes=image.notes,
        ),
        verdict=Verdict(
            label=label, p_generated=p, p_edited=0.12,
            likelihood_ratio={"generated": p / (1 - p), "edited": 0.14}, prior=0.5,
            interval=(max(p - 0.13, 0), min(p + 0.08, 1)), interval_edited=(0.05, 0.3),
            confidence="high" if signed else "moderate", decided_by="provenance" if signed else "fusion",
            abstained_because="Two tools disagree." if label == "inconclusive" else None,
            conflicts=(Conflict(evidence_ids=("patch", "splice"), text="The texture and the block grid disagree."),),
            not_examined=("whether the picture appeared elsewhere before (reverse search)", "vendor watermarks"),
            calibration="2026-11-20 sha256:ab12",
        ),
        evidence=evidence, contributions=contributions,
        artifacts=(
            Artifact(kind="texture", text=patch.text, region=_FACE, severity="moderate", evidence_id="patch"),
            Artifact(kind="peak", text=peak.text, region=_CORNER, severity="weak", evidence_id="frequency"),
        ),
        explanation=(
            Sentence(text="The picture was probably made by a generative model.", cites=("patch",), role="answer"),
            Sentence(text=patch.text, cites=("patch",)),
            Sentence(text=peak.text, cites=("frequency",)),
            Sentence(text="The block grid is the same in all parts.", cites=("splice",), role="against"),
            Sentence(text="Resizing moves or removes periodic peaks.", cites=("frequency",), role="limits"),
        ),
        dropped=(DroppedSentence(text="The hands have six fingers.", cites=(), because="cites nothing"),),
        explained_by=Writer(kind="template", note="No model server is configured."),
        plan=(
            PlanStep(tool="patch", run=True, because="always runs", cost=20),
            PlanStep(tool="inversion", run=False, because="would not change the verdict", cost=90),
        ),
        versions={"exposit": "0.1.0", "patch": "0.9"}, timings={"total": 512.0},
    )  # fmt: skip


class FakeExplainer(Explainer):
    """Answers as the real one would. Set `fails` to make each call raise it; `pause` to slow the steps down."""

    def __init__(
        self,
        settings: Settings,
        label: Label = "generated",
        *,
        warm: bool = True,
        eager: bool = True,
        outside: Outside | None = None,
    ) -> None:
        self.settings = settings
        self.label: Label = label
        self.fails: Exception | None = None
        self.pause = 0.0
        self.parts = {"database": "ok", "workers": "ok", "narrator": "ok", "calibration": "ok"}
        self.held: dict[str, tuple[Report, bytes]] = {}
        self.seen: list[Submission] = []
        self.stakes: list[str] = []
        self.said: list[Review] = []
        self.closed = False

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None:
        self.closed = True

    async def explain(  # type: ignore[override]
        self, submission: Submission, *, budget: str | None = None, stakes: str = "ordinary"
    ) -> Report:
        self.seen.append(submission)
        self.stakes.append(stakes)
        if self.fails is not None:
            raise self.fails
        image = SourceImage.open(submission.data, submission.name)
        number = len(self.held) + 1
        made = report(image, f"case-{number:04d}", self.label, _START + timedelta(minutes=number))
        made = made.model_copy(update={"claim": submission.claim})
        if budget is not None:
            made = made.model_copy(update={"budget": budget})
        self.held[made.case_id] = (made, submission.data)
        return made

    async def stream(  # type: ignore[override]
        self, submission: Submission, *, budget: str | None = None, stakes: str = "ordinary"
    ) -> AsyncIterator[Event]:
        made = await self.explain(submission, budget=budget)
        case = made.case_id
        yield Event(kind="opened", case_id=case, text="The picture was stored.")
        for one in made.evidence:
            await asyncio.sleep(self.pause)
            yield Event(kind="step", case_id=case, text=f"Running {one.detector}.")
            yield Event(kind="evidence", case_id=case, text=f"{one.detector} has spoken.")
        yield Event(kind="verdict", case_id=case, text="The evidence was weighed.")
        for sentence in made.explanation:
            yield Event(kind="sentence", case_id=case, text=sentence.text)
        yield Event(kind="report", case_id=case, text="Done.", data={"report": made.model_dump(mode="json")})

    async def ask(
        self, case_id: str, question: str, *, region: Region | None = None, picture: Submission | None = None
    ) -> Answer:
        made = await self.report(case_id)
        sentence = Sentence(text="The residual noise in the centre is too even.", cites=("patch",))
        return Answer(
            case_id=case_id, question=question, sentences=(sentence,), dropped=1, answered_by=made.explained_by
        )

    async def report(self, case_id: str, revision: int | None = None) -> Report:
        return self._case(case_id)[0]

    async def report_text(self, case_id: str, revision: int | None = None) -> str:
        return self._case(case_id)[0].model_dump_json()

    async def reviews(self, case_id: str | None = None) -> list[Review]:
        return self.said

    async def audit_of(self, case_id: str) -> tuple[list[Entry], Head]:
        made = self._case(case_id)[0]
        begun = {"image_sha256": made.image.sha256}
        finished = {"report_sha256": audit.sha256(await self.report_text(case_id))}
        first = audit.seal(Head(4, "4" * 64), "case_begun", case_id, begun, made.created_at)
        last = audit.seal(Head(9, "9" * 64), "case_finished", case_id, finished, made.created_at)
        return [first, last], Head(12, "c" * 64)

    async def original(self, case_id: str) -> tuple[bytes, ImageFacts]:
        made, data = self._case(case_id)
        return data, made.image

    def _case(self, case_id: str) -> tuple[Report, bytes]:
        if self.fails is not None:
            raise self.fails
        if case_id not in self.held:
            raise NotFoundError("There is no such case.", remedy="Look it up with `exposit history`.")
        return self.held[case_id]

    async def cases(
        self,
        *,
        limit: int = 50,
        before: datetime | None = None,
        sha256: str | None = None,
        label: Label | None = None,
        waiting: bool = False,
    ) -> list[CaseSummary]:
        found = [
            CaseSummary(
                case_id=made.case_id, created_at=made.created_at, status="done", name=made.image.path,
                sha256=made.image.sha256, label=made.verdict.label, p_generated=made.verdict.p_generated,
            )
            for made, _ in reversed(self.held.values())
            if (before is None or made.created_at < before)
            and (sha256 is None or made.image.sha256 == sha256)
            and (label is None or made.verdict.label == label)
        ]  # fmt: skip
        return found[:limit]

    async def case(self, case_id: str, *, report: bool = True) -> CaseState:
        made, _ = self._case(case_id)
        return CaseState(
            case_id=case_id, state="done", created_at=made.created_at, name=made.image.path, sha256=made.image.sha256,
            report=made if report else None,
        )  # fmt: skip

    async def history(self, asked: Filters | None = None, *, limit: int = 50, cursor: str | None = None) -> CasePage:
        wanted = asked or Filters()
        found = await self.cases(limit=1000, before=wanted.before, sha256=wanted.sha256, label=wanted.label)
        at = int(cursor or 0)
        more = len(found) > at + limit
        return CasePage(cases=tuple(found[at : at + limit]), next_cursor=str(at + limit) if more else None)

    async def see_kept(self, case_id: str) -> None:
        return

    async def map_png(self, sha256: str) -> bytes:
        if sha256 != MAP_SHA:
            raise NotFoundError("There is no such map.")
        return MAP

    async def readiness(self) -> dict[str, str]:
        return self.parts

    async def until_warm(self) -> None:
        return

    async def verify_audit(self) -> int:
        if self.fails is not None:
            raise self.fails
        return 7
