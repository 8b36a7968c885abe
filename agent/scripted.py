"""`ScriptedVision`: fixed replies in place of a model, so that no test needs one."""

from __future__ import annotations

from agent.verdict import Contribution, Report, Sentence, Verdict, Writer
from agent.vision import Tell
from tools.contract import Evidence
from tools.errors import ModelServerError


class ScriptedVision:
    """Says what it was told to say.

    Args:
        narration: What `narrate` returns.
        reply: What `answer` returns.
        seen: What `look` returns; without it the model cannot look.
        fails: Raised by every call, where given.

    Attributes:
        asked: The questions that came, in order.
        closed: Whether `close` was called.
    """

    def __init__(
        self,
        narration: tuple[Sentence, ...] = (),
        reply: tuple[Sentence, ...] = (),
        *,
        seen: Evidence | None = None,
        fails: ModelServerError | None = None,
    ) -> None:
        self._narration, self._reply, self._seen, self._fails = narration, reply, seen, fails
        self.asked: list[str] = []
        self.closed = False

    @property
    def can_look(self) -> bool:
        """Whether there is something to be seen."""
        return self._seen is not None

    async def writer(self) -> Writer:
        """Who this is."""
        return Writer(kind="scripted", note="Fixed replies, for tests.")

    async def look(self, original: bytes) -> Evidence:
        """What it was told to see."""
        self._fail()
        if self._seen is None:
            raise ModelServerError("This model cannot look at pictures.", code="cannot_look")
        return self._seen

    async def narrate(
        self,
        verdict: Verdict,
        evidence: tuple[Evidence, ...],
        contributions: tuple[Contribution, ...] = (),
        tell: Tell | None = None,
        growing: Tell | None = None,
    ) -> tuple[Sentence, ...]:
        """What it was told to write."""
        self._fail()
        return _told(self._narration, tell, growing)

    async def answer(self, report: Report, question: str, tell: Tell | None = None) -> tuple[Sentence, ...]:
        """What it was told to answer."""
        self.asked.append(question)
        self._fail()
        return _told(self._reply, tell, None)

    async def close(self) -> None:
        """Notes that it was closed."""
        self.closed = True

    def _fail(self) -> None:
        if self._fails is not None:
            raise self._fails


def _told(sentences: tuple[Sentence, ...], tell: Tell | None, growing: Tell | None) -> tuple[Sentence, ...]:
    if not sentences:
        raise ModelServerError("There is nothing to say.", code="model_reply")
    words = sentences[0].text.split()
    for count in range(1, len(words)):
        if growing is not None:
            growing(sentences[0].model_copy(update={"text": " ".join(words[:count])}))
    for each in sentences:
        if tell is not None:
            tell(each)
    return sentences
