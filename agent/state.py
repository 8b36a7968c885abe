"""What the graph carries from node to node, and what each run is given. Hashes and evidence; never pixels or bytes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Literal, Protocol, TypedDict

from agent.blobs import BlobStore
from agent.calibration import Calibration
from agent.settings import ReviewPolicy
from agent.template import TemplateNarrator
from agent.verdict import (
    Contribution,
    DroppedSentence,
    ImageFacts,
    PlanStep,
    Report,
    Sentence,
    Similar,
    Stability,
    Verdict,
    Writer,
)
from agent.vision import Vision
from agent.workers import Examined, Original
from tools.contract import Budget, Detector, Evidence, Frozen
from tools.views import Degradation, View

Level = Literal["quick", "standard", "thorough"]
Stakes = Literal["ordinary", "high"]
"""What hangs on the answer, as the caller says; it never changes the verdict, only whether a person is asked."""


class Shown(Frozen):
    """What one tool said of a degraded view of the picture."""

    kind: Degradation
    tool: str
    evidence: Evidence


def merge_evidence(known: tuple[Evidence, ...], new: tuple[Evidence, ...]) -> tuple[Evidence, ...]:
    """Evidence in the order of ids, whatever order it arrived in; a second word under one id replaces the first."""
    by_id = {item.id: item for item in (*known, *new)}
    return tuple(by_id[each] for each in sorted(by_id))


def merge_shown(known: tuple[Shown, ...], new: tuple[Shown, ...]) -> tuple[Shown, ...]:
    """Second looks by kind and tool, in one order."""
    by_key = {(item.kind, item.tool): item for item in (*known, *new)}
    return tuple(by_key[each] for each in sorted(by_key))


def merge_timings(known: dict[str, float], new: dict[str, float]) -> dict[str, float]:
    """Milliseconds a step, in the order of names."""
    return dict(sorted((known | new).items()))


class State(TypedDict, total=False):
    """The state of one examination.

    Attributes:
        weighed: The round of the plan that the verdict has taken in.
        streamed: Sentences of the draft that were told while the rest was being written; each of them was grounded.
    """

    image: ImageFacts
    plan: tuple[PlanStep, ...]
    evidence: Annotated[tuple[Evidence, ...], merge_evidence]
    shown: Annotated[tuple[Shown, ...], merge_shown]
    stability: Stability
    weighed: int
    similar: tuple[Similar, ...]
    similar_because: str
    timings: Annotated[dict[str, float], merge_timings]
    verdict: Verdict
    contributions: tuple[Contribution, ...]
    drafted: tuple[Sentence, ...]
    streamed: tuple[Sentence, ...]
    explanation: tuple[Sentence, ...]
    dropped: tuple[DroppedSentence, ...]
    explained_by: Writer
    report: Report


class Task(TypedDict, total=False):
    """What is sent to one `examine`, `look`, `recall` or `probe`.

    Attributes:
        tool: Of the tool, or of the step where no tool is asked.
        view: What a probe shows.
        image, whole: Of a zoom: the picture's facts, and what the tool said of the whole of it.
    """

    tool: str
    view: View
    image: ImageFacts
    whole: Evidence | None


class RunsTools(Protocol):
    """What a run needs of `agent.workers.Workers`."""

    async def examine(
        self, tool: Detector, original: Original, budget: Budget, view: View | None = None
    ) -> Examined: ...


class KeepsReports(Protocol):
    """What a run needs of `agent.store.Store`."""

    async def finish_case(self, report: Report) -> None: ...

    async def earlier(self, case_id: str, sha256: str, pdq: str) -> tuple[Similar, ...]: ...


@dataclass(frozen=True, kw_only=True)
class Context:
    """What one run is given: the case, and the parts of the service that work on it."""

    case_id: str
    created_at: datetime
    original: Original
    budget: Budget
    prior: float
    tools: Mapping[str, Detector]
    workers: RunsTools
    vision: Vision | None
    voice_because: str
    template: TemplateNarrator
    calibration: Calibration
    originals: BlobStore
    maps: BlobStore
    store: KeepsReports
    versions: Mapping[str, str]
    inspect_ms: float
    stakes: Stakes = "ordinary"
    review_policy: ReviewPolicy = "inconclusive"
