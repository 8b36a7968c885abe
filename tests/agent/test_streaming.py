"""Sentences that are told while the model still writes are those that the report will have."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from agent import nodes
from agent.grounding import ground
from agent.template import TemplateNarrator
from agent.verdict import Sentence, Writer
from tests.agent.grounding_corpus import world

MADE = world(5)
PLAIN = TemplateNarrator().narrate(MADE.verdict, MADE.evidence, MADE.contributions)
ANSWER = next(each for each in PLAIN if each.role == "answer")
REASON = next(each for each in PLAIN if each.role != "answer")
FALSE = Sentence(text="The picture is certainly a fake.", cites=("verdict",), role="answer")


def heard() -> tuple[list[str], Any, dict[str, Any]]:
    told: list[str] = []
    runtime = SimpleNamespace(stream_writer=lambda part: told.append(part["text"]))
    state = {"verdict": MADE.verdict, "evidence": MADE.evidence, "contributions": MADE.contributions}
    return told, runtime, state


def test_nothing_is_told_before_an_answer_holds_and_nothing_false_ever() -> None:
    told, runtime, state = heard()
    aloud = nodes._Aloud(state, runtime)  # type: ignore[arg-type]
    aloud.tell(FALSE)
    aloud.tell(REASON)
    assert told == []
    aloud.tell(ANSWER)
    assert told == [REASON.text, ANSWER.text]
    aloud.tell(FALSE)
    assert told == [REASON.text, ANSWER.text]
    kept = ground((FALSE, REASON, ANSWER, FALSE), MADE.verdict, MADE.contributions, MADE.evidence).kept
    assert tuple(aloud.told) == kept


async def test_what_was_told_is_not_told_again() -> None:
    told, runtime, state = heard()
    state |= {"drafted": PLAIN, "streamed": PLAIN[:2], "explained_by": Writer(kind="scripted")}
    after = await nodes.ground(state, runtime)  # type: ignore[arg-type]
    assert told == [each.text for each in after["explanation"] if each not in PLAIN[:2]]
    assert len(told) == len(after["explanation"]) - 2
