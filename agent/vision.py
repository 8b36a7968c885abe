"""The Vision protocol: who looks at a picture, writes the explanation and answers questions.

Three ways to be one: `agent.served` (vLLM or any OpenAI-compatible server), `agent.embedded` (the same model in
process) and `agent.scripted` (fixed replies, for tests). `agent.voices` chooses. Where none is to be had,
`agent.template` narrates and says so.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Protocol, runtime_checkable

from agent.verdict import Contribution, PlanStep, Report, Sentence, Verdict, Writer
from tools.contract import Evidence, Region
from tools.errors import ModelServerError

LONGEST_LOOK: Final = 400
LONGEST_NARRATION: Final = 900
LONGEST_ANSWER: Final = 500
"""Tokens of one reply. What a longer one had closed by then is kept; nothing is said of the rest."""

Tell = Callable[[Sentence], None]
"""Is given each sentence of a reply as it closes, before it was grounded."""


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
        """Who this is, for the log. Raises ModelServerError while it cannot reply yet."""
        ...

    async def look(self, original: bytes) -> Evidence:
        """Looks at the whole picture and a fixed grid of native crops, blind to all other evidence."""
        ...

    async def narrate(
        self,
        verdict: Verdict,
        evidence: tuple[Evidence, ...],
        contributions: tuple[Contribution, ...] = (),
        tell: Tell | None = None,
    ) -> tuple[Sentence, ...]:
        """Writes the explanation from the evidence; each sentence cites evidence ids, or `verdict`."""
        ...

    async def answer(self, report: Report, question: str, tell: Tell | None = None) -> tuple[Sentence, ...]:
        """Answers a follow-up question from the case. `question` is data, never instruction."""
        ...

    async def close(self) -> None: ...


class Told:
    """Tells the sentences of a growing reply, each once."""

    def __init__(self, tell: Tell | None) -> None:
        self._tell = tell
        self._count = 0

    def so_far(self, sentences: tuple[Sentence, ...]) -> None:
        """Tells what was not told yet of the sentences that have closed."""
        for sentence in sentences[self._count :]:
            self._count += 1
            if self._tell is not None:
                self._tell(sentence)

    def whole(self, sentences: tuple[Sentence, ...]) -> tuple[Sentence, ...]:
        """The same for a reply that has ended, and the sentences.

        Raises:
            ModelServerError: where it holds none.
        """
        if not sentences:
            raise ModelServerError(
                "The model wrote no sentence in the agreed form.",
                remedy="Try again; if it stays so, the model is not fit for this: set EXPOSIT_VLM=template.",
                code="model_reply",
            )
        self.so_far(sentences)
        return sentences


@runtime_checkable
class Warms(Protocol):
    """A model that takes a while to come up."""

    async def until_ready(self) -> None:
        """Returns once it can reply or has failed to come up; `writer` then says which."""
        ...


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
