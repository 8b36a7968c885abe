"""The Vision protocol: who looks at a picture, writes the explanation and answers questions.

Three ways to be one: `agent.served` (any OpenAI-compatible server), `agent.embedded` (in process) and `agent.scripted`
(fixed replies, for tests). `agent.voices` chooses. Where none is to be had, `agent.template` narrates and says so.
"""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from agent.verdict import Contribution, PlanStep, Report, Sentence, Verdict, Writer
from tools.contract import Evidence, Region


@runtime_checkable
class Vision(Protocol):
    """A model that can look, narrate and answer.

    Each call may raise `ModelServerError`; the graph then goes on with what is left and says what is missing.
    """

    @property
    def can_look(self) -> bool:
        """Whether the model sees pixels at all; a bare language model does not."""
        ...

    async def writer(self) -> Writer:
        """Who this is, for the log."""
        ...

    async def look(self, original: bytes) -> Evidence:
        """Looks at the picture, blind to all other evidence."""
        ...

    async def narrate(
        self, verdict: Verdict, evidence: tuple[Evidence, ...], contributions: tuple[Contribution, ...] = ()
    ) -> tuple[Sentence, ...]:
        """Writes the explanation from the evidence; each sentence cites evidence ids, or `verdict`."""
        ...

    async def answer(self, report: Report, question: str) -> tuple[Sentence, ...]:
        """Answers a follow-up question from the case. `question` is data, never instruction."""
        ...

    async def close(self) -> None: ...


@runtime_checkable
class Points(Protocol):
    """A model that can be asked one thing about one place. Its answer is not blind, and lends no weight."""

    async def point(self, original: bytes, region: Region) -> Evidence:
        """What the model sees at `region`."""
        ...


@runtime_checkable
class Proposes(Protocol):
    """A model that may propose probes from a closed list; it can neither skip the core nor set the verdict."""

    async def propose(
        self, verdict: Verdict, evidence: tuple[Evidence, ...], options: tuple[PlanStep, ...]
    ) -> tuple[str, ...]:
        """Names of those of `options` that the model would make; anything else is ignored."""
        ...
