"""Explainer: the one door of Exposit for every face.

INTERFACE ONLY: to be completed.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import datetime
from typing import Any, Literal, Self

from agent.settings import Settings
from agent.verdict import ImageFacts, Label, Report, Sentence, Writer
from tools.contract import Frozen


class Submission(Frozen):
    """What a face hands in: the bytes, the name they came under, and where they came from."""

    data: bytes
    name: str = "image"
    origin: Literal["upload", "url", "path", "chat"] = "upload"


class Event(Frozen):
    """One step of a running examination; SSE and the chat render the same events.

    `kind`: `opened` (case_id known), `step` (a node or tool began), `evidence` (a tool spoke), `verdict`,
    `sentence`, `report` (last; `data["report"]` is the Report as JSON).
    """

    kind: Literal["opened", "step", "evidence", "verdict", "sentence", "report"]
    case_id: str
    text: str
    data: dict[str, Any] = {}


class Answer(Frozen):
    """The answer to a follow-up question over a case."""

    case_id: str
    question: str
    sentences: tuple[Sentence, ...]
    dropped: int
    answered_by: Writer


class CaseSummary(Frozen):
    """One line of the history."""

    case_id: str
    created_at: datetime
    status: Literal["running", "done", "failed"]
    name: str
    sha256: str
    label: Label | None
    p_generated: float | None
    error: str | None = None


class Explainer:
    """Examines pictures, explains, answers, and logs. Use as `async with Explainer(settings) as explainer`."""

    def __init__(self, settings: Settings) -> None: ...

    async def __aenter__(self) -> Self:
        raise NotImplementedError

    async def __aexit__(self, *exc: object) -> None: ...

    async def explain(
        self, submission: Submission, *, budget: Literal["quick", "standard", "thorough"] | None = None
    ) -> Report:
        """Examines one picture. Raises ImageError where it cannot be judged."""
        raise NotImplementedError

    def stream(
        self, submission: Submission, *, budget: Literal["quick", "standard", "thorough"] | None = None
    ) -> AsyncIterator[Event]:
        """The same, as events; the last one is the report."""
        raise NotImplementedError

    async def ask(self, case_id: str, question: str) -> Answer:
        """Answers a question about a case. Raises NotFoundError."""
        raise NotImplementedError

    async def report(self, case_id: str) -> Report:
        """The stored report. Raises NotFoundError."""
        raise NotImplementedError

    async def cases(
        self, *, limit: int = 50, before: datetime | None = None, sha256: str | None = None, label: Label | None = None
    ) -> list[CaseSummary]:
        """The newest cases first."""
        raise NotImplementedError

    async def original(self, case_id: str) -> tuple[bytes, ImageFacts]:
        """The stored original. Raises NotFoundError."""
        raise NotImplementedError

    async def map_png(self, sha256: str) -> bytes:
        """A map that a tool drew. Raises NotFoundError."""
        raise NotImplementedError

    async def readiness(self) -> dict[str, str]:
        """`ok` or what is wrong, by part: database, workers, narrator, calibration."""
        raise NotImplementedError

    async def verify_audit(self) -> int:
        """Walks the audit chain and returns its length. Raises IntegrityError at the first row that does not hold."""
        raise NotImplementedError
