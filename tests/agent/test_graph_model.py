"""The graph with a model that writes, is down, is slow, breaks off or invents: its words, never the case."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from agent.planning import LOOK
from agent.scripted import ScriptedVision
from agent.verdict import Sentence, Writer
from tests.agent.test_graph import DOWN, SEEN, run
from tools.contract import Evidence
from tools.errors import ModelServerError


class Slow(ScriptedVision):
    """Never answers."""

    async def narrate(self, *given: object) -> tuple[Sentence, ...]:
        await asyncio.sleep(60)
        raise AssertionError


class Broken(ScriptedVision):
    """Has a defect of its own."""

    async def look(self, original: bytes) -> Evidence:
        raise KeyError("choices")


async def test_the_answer_is_seen_while_it_is_written(tmp_path: Path) -> None:
    state, _ = await run(tmp_path)
    plain = next(each for each in state["report"].explanation if each.role == "answer")
    state, told = await run(tmp_path, vision=ScriptedVision((plain,)))
    kinds = [each["kind"] for each in told]
    assert kinds.index("verdict") < kinds.index("writing") < kinds.index("sentence")
    begun = [each["text"] for each in told if each["kind"] == "writing"]
    assert all(plain.text.startswith(text.removesuffix(" …")) for text in begun)
    assert state["report"].explanation == (plain,)


async def test_without_a_model_the_template_writes_and_says_why(tmp_path: Path) -> None:
    report = (await run(tmp_path))[0]["report"]
    assert report.explained_by == Writer(kind="template", note="No model was asked for.")
    assert any(sentence.role == "answer" for sentence in report.explanation)
    assert not report.dropped
    assert any(step.tool == LOOK and not step.run for step in report.plan)


@pytest.mark.parametrize(
    ("vision", "why"),
    [(ScriptedVision(seen=SEEN, fails=DOWN), "did not answer"), (Slow(), "within 0.5 s")],
    ids=["down", "slow"],
)
async def test_a_model_that_fails_costs_its_words_and_not_the_case(
    tmp_path: Path, vision: ScriptedVision, why: str
) -> None:
    report = (await run(tmp_path, vision=vision))[0]["report"]
    assert report.explained_by.kind == "template"
    assert why in report.explained_by.note
    assert any(sentence.role == "answer" for sentence in report.explanation)
    if vision.can_look:
        (look,) = (item for item in report.evidence if item.id == LOOK)
        assert "did not answer" in (look.abstained_because or "")


class BreaksOff(ScriptedVision):
    """Tells an answer that holds, and breaks off; once it is over it goes on speaking."""

    def __init__(self, answer: Sentence) -> None:
        super().__init__((answer,))
        self.late: list[Any] = []

    async def narrate(self, *given: Any) -> tuple[Sentence, ...]:
        (sentence,) = self._narration
        given[3](sentence)
        self.late.append(given[3])
        raise ModelServerError("It broke off.")


async def test_what_was_told_before_a_model_broke_off_is_withdrawn(tmp_path: Path) -> None:
    plain = next(each for each in (await run(tmp_path))[0]["report"].explanation if each.role == "answer")
    vision = BreaksOff(plain)
    state, told = await run(tmp_path, vision=vision)
    begun = [index for index, each in enumerate(told) if each["data"].get("step") == "narrate"]
    assert len(begun) == 3  # two attempts, and the template
    assert [each["text"] for each in told[begun[0] : begun[1]] if each["kind"] == "sentence"] == [plain.text]
    report = state["report"]
    assert report.explained_by.kind == "template"
    standing = [each["text"] for each in told[begun[-1] :] if each["kind"] == "sentence"]
    assert standing == [each.text for each in report.explanation]
    count = len(told)
    vision.late[0](plain)
    assert len(told) == count


async def test_a_defect_in_looking_becomes_an_abstention(tmp_path: Path) -> None:
    report = (await run(tmp_path, vision=Broken(seen=SEEN)))[0]["report"]
    (look,) = (item for item in report.evidence if item.id == LOOK)
    assert look.abstained_because == "The model that looks at pictures gave no answer: it failed (KeyError)."


async def test_what_the_model_invents_is_dropped_and_the_template_answers(tmp_path: Path) -> None:
    lie = Sentence(text="The bright tool measured 9.7.", cites=("bright",), role="answer")
    report = (await run(tmp_path, vision=ScriptedVision((lie,))))[0]["report"]
    assert [each.text for each in report.dropped] == [lie.text]
    assert report.explained_by.kind == "template"
    assert "1 of 1 sentences were dropped" in report.explained_by.note
    assert all("9.7" not in sentence.text for sentence in report.explanation)
