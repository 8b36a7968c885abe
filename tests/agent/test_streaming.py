"""Sentences that are told while the model still writes are those that the report will have."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

from agent import nodes
from agent.grounding import ground, objection
from agent.outline import explanation
from agent.template import TemplateNarrator
from agent.verdict import Sentence, Writer
from agent.vision import Told
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


def test_the_answer_is_shown_as_it_grows_as_far_as_it_holds() -> None:
    told, runtime, state = heard()
    aloud = nodes._Aloud(state, runtime)  # type: ignore[arg-type]
    words = ANSWER.text.split()
    begun = [ANSWER.model_copy(update={"text": " ".join(words[:count])}) for count in range(1, len(words))]
    for each in begun:
        aloud.growing(each)
    assert told
    assert len(told) < len(begun)
    for shown in told:
        part = ANSWER.model_copy(update={"text": shown.removesuffix(" …")})
        assert ANSWER.text.startswith(part.text)
        assert objection(part, MADE.verdict, MADE.contributions, MADE.evidence) is None
    before = len(told)
    aloud.growing(FALSE)
    aloud.growing(REASON)
    assert len(told) == before
    aloud.tell(ANSWER)
    aloud.growing(begun[-1])
    assert told[before:] == [ANSWER.text]


def test_a_beginning_is_told_in_whole_words() -> None:
    heard: list[str] = []
    points = explanation(MADE.verdict, MADE.evidence, MADE.contributions)
    gathered = Told(points, None, lambda each: heard.append(each.text))
    reply = json.dumps({"text": "It is “open” at 0.48."})
    for end in range(len(reply) + 1):
        gathered.comes(0, reply[:end])
        gathered.comes(1, reply[:end])
    assert heard == ["It", "It is", "It is “open”", "It is “open” at"]
    gathered.comes(0, "[1, 2")
    gathered.came(0, reply)
    gathered.comes(0, reply)
    assert len(heard) == 4


async def test_what_was_told_is_not_told_again() -> None:
    told, runtime, state = heard()
    state |= {"drafted": PLAIN, "streamed": PLAIN[:2], "explained_by": Writer(kind="scripted")}
    after = await nodes.ground(state, runtime)  # type: ignore[arg-type]
    assert told == [each.text for each in after["explanation"] if each not in PLAIN[:2]]
    assert len(told) == len(after["explanation"]) - 2
