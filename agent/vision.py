"""The Vision protocol: who looks at a picture, writes the explanation and answers questions.

Three ways to be one: `agent.served` (vLLM or any OpenAI-compatible server), `agent.embedded` (the same model in
process) and `agent.scripted` (fixed replies, for tests). `agent.voices` chooses. Where none is to be had,
`agent.template` narrates and says so.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, Protocol, runtime_checkable

from pydantic_core import from_json

from agent.outline import Point
from agent.prompt import Spoken, clean, parse
from agent.verdict import Contribution, PlanStep, Report, Sentence, Verdict, Writer
from tools.contract import Evidence, Region
from tools.errors import ModelServerError

LONGEST_LOOK: Final = 400
LONGEST_SENTENCE: Final = 120
"""Tokens of one reply; a longer sentence is left out. The longest that was taught has 83."""

Tell = Callable[[Sentence], None]
"""Is given each sentence as it is written, or its beginning as that grows; neither was grounded yet."""


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
        growing: Tell | None = None,
    ) -> tuple[Sentence, ...]:
        """Writes the explanation from the evidence, point by point (`agent.outline`).

        `tell` is given each sentence once it is whole, `growing` the first of them word by word before.
        """
        ...

    async def answer(self, report: Report, question: str, tell: Tell | None = None) -> tuple[Sentence, ...]:
        """Answers a follow-up question from the case. `question` is data, never instruction."""
        ...

    async def close(self) -> None: ...


class Told:
    """Gathers the sentences that a model writes for the points of an outline, and tells them in their order.

    Args:
        points: What the sentences are for.
        tell: Is given each as soon as it and all before it have come.
        growing: Is given the beginning of the first, each time that a word of it was written to its end.
    """

    def __init__(self, points: Sequence[Point], tell: Tell | None, growing: Tell | None = None) -> None:
        self._points, self._tell, self._growing = points, tell, growing
        self._grown = ""
        self._came: dict[int, Sentence | None] = {}
        self._told = 0

    def came(self, number: int, reply: str) -> None:
        """Takes the reply for the point of that number; one that is cut short or in another form is left out."""
        if number in self._came:
            return
        point = self._points[number]
        try:
            said = clean(parse(reply, Spoken).text)
        except ModelServerError:
            said = ""
        self._came[number] = Sentence(text=said, cites=point.cites, role=point.role) if said else None
        while self._told in self._came:
            sentence = self._came[self._told]
            self._told += 1
            if sentence is not None and self._tell is not None:
                self._tell(sentence)

    def comes(self, number: int, reply: str) -> None:
        """Takes what is there of a reply that is still being written."""
        if self._growing is None or number > 0 or self._came:
            return
        try:
            begun = from_json(reply, allow_partial="trailing-strings")
        except ValueError:
            return
        text = begun.get("text") if isinstance(begun, dict) else None
        words = clean(text.rpartition(" ")[0]) if isinstance(text, str) else ""  # the last may still grow: 0.8, 0.87
        if len(words) > len(self._grown):
            self._grown = words
            self._growing(Sentence(text=words, cites=self._points[0].cites, role=self._points[0].role))

    def whole(self) -> tuple[Sentence, ...]:
        """All sentences.

        Raises:
            ModelServerError: where there is none.
        """
        sentences = [said for _, said in sorted(self._came.items()) if said is not None]
        if not sentences:
            raise ModelServerError(
                "The model wrote no sentence in the agreed form.",
                remedy="Try again; if it stays so, the model is not fit for this: set EXPOSIT_VLM=template.",
                code="model_reply",
            )
        return tuple(sentences)


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
