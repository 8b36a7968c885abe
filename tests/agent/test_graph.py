"""The graph over tools that answer in this process: order, failures of the model, and what the state may hold."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from agent.blobs import BlobStore
from agent.calibration import load
from agent.graph import build_graph
from agent.planning import LOOK, budget_of
from agent.scripted import ScriptedVision
from agent.state import Context, merge_evidence
from agent.template import TemplateNarrator
from agent.verdict import ImageFacts, Report, Sentence, Writer
from agent.vision import Vision
from agent.workers import Examined, Original, abstention
from tests.agent.fake_tools import bright, drawer, slow
from tools.contract import Budget, Detector, Evidence, Finding
from tools.errors import ModelServerError, TryAgainError, WorkerError

DATA = b"bytes of an original"
TOOLS: Mapping[str, Detector] = {tool.name: tool for tool in (bright, drawer, slow)}
SEEN = Evidence(
    id=LOOK, detector=LOOK, version="1", target="generated", score=0.9,
    findings=(Finding(text="The hand has six fingers.", polarity="generated", severity="moderate"),),
)  # fmt: skip
DOWN = ModelServerError("The model server at 127.0.0.1:1 did not answer.")


class Tools:
    """Answers for the workers, each tool after its delay."""

    def __init__(self, delays: Mapping[str, float] | None = None, fails: Exception | None = None) -> None:
        self.delays, self.fails, self.asked = delays or {}, fails, []

    async def examine(self, tool: Detector, original: Original, budget: Budget) -> Examined:
        self.asked.append(tool.name)
        if self.fails is not None:
            raise self.fails
        await asyncio.sleep(self.delays.get(tool.name, 0))
        text = f"The {tool.name} tool measured 2.5."
        finding = Finding(text=text, polarity="generated", severity="weak", numbers={"level": 2.5})
        spoke = abstention(tool, "").model_copy(
            update={"score": 0.6, "abstained_because": None, "findings": (finding,)}
        )
        return Examined(spoke, {})


class Store:
    """Keeps reports, and is locked for the first calls."""

    def __init__(self, locked: int = 0) -> None:
        self.kept: list[Report] = []
        self.locked, self.calls = locked, 0

    async def finish_case(self, report: Report) -> None:
        self.calls += 1
        if self.calls <= self.locked:
            raise TryAgainError("The database is locked.")
        self.kept.append(report)


class Slow(ScriptedVision):
    """Never answers."""

    async def narrate(self, *given: object) -> tuple[Sentence, ...]:
        await asyncio.sleep(60)
        raise AssertionError


class Broken(ScriptedVision):
    """Has a defect of its own."""

    async def look(self, original: bytes) -> Evidence:
        raise KeyError("choices")


async def run(
    folder: Path, *, tools: Tools | None = None, vision: Vision | None = None, store: Store | None = None
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    sha256 = hashlib.sha256(DATA).hexdigest()
    originals = BlobStore(folder / "originals")
    originals.put(DATA)
    context = Context(
        case_id="case",
        created_at=datetime(2026, 11, 1, tzinfo=UTC),
        original=Original(path=originals.path(sha256), sha256=sha256, name="a.png"),
        budget=budget_of("standard"),
        prior=0.5,
        tools=TOOLS,
        workers=tools or Tools(),
        vision=vision,
        voice_because="No model was asked for.",
        template=TemplateNarrator(),
        calibration=load(),
        originals=originals,
        maps=BlobStore(folder / "maps"),
        store=store or Store(),
        versions={"exposit": "0"},
        inspect_ms=1.0,
    )
    image = ImageFacts(path="a.png", sha256=sha256, bytes=20, width=64, height=48, format="PNG", mode="RGB")
    state: dict[str, Any] = {}
    told = []
    stream = build_graph(model_timeout_s=0.5).astream(
        {"image": image}, context=context, stream_mode=["custom", "values"]
    )
    async for mode, part in stream:
        if mode == "custom":
            told.append(part)
        else:
            state = part  # type: ignore[assignment]
    return state, told  # type: ignore[return-value]


async def test_evidence_stands_in_one_order_whoever_was_first(tmp_path: Path) -> None:
    vision = ScriptedVision(seen=SEEN)
    reports = []
    for delays in ({"bright": 0.1}, {"slow": 0.1, "drawer": 0.05}):
        state, told = await run(tmp_path, tools=Tools(delays), vision=vision)
        reports.append(state["report"].model_copy(update={"timings": {}}))
        arrived = [each["data"]["evidence"]["id"] for each in told if each["kind"] == "evidence"]
        assert sorted(arrived) == ["bright", "drawer", "slow", LOOK]
        assert arrived != sorted(arrived)
    assert reports[0] == reports[1]
    assert [item.id for item in reports[0].evidence] == ["bright", "drawer", "slow", LOOK]


async def test_the_walk_is_told_in_order_and_recorded_once(tmp_path: Path) -> None:
    store = Store(locked=2)
    state, told = await run(tmp_path, store=store)
    kinds = [each["kind"] for each in told]
    assert kinds[0] == "step"
    assert kinds.index("evidence") < kinds.index("verdict") < kinds.index("sentence")
    assert store.kept == [state["report"]]
    assert store.calls == 3
    timed = {"inspect", "plan", "tool:bright", "tool:drawer", "tool:slow", "fuse", "narrate", "ground"}
    assert set(state["report"].timings) == timed
    contributions = {each.evidence_id: each for each in state["report"].contributions}
    assert set(contributions) == set(TOOLS)
    assert all(each.llr == 0 and each.because for each in contributions.values()), "uncalibrated: weight zero, shown"


async def test_the_state_holds_no_bytes(tmp_path: Path) -> None:
    state, told = await run(tmp_path, vision=ScriptedVision(seen=SEEN))

    def walk(value: object) -> None:
        assert not isinstance(value, bytes | bytearray | memoryview)
        if isinstance(value, Mapping):
            walk(list(value.values()))
        elif isinstance(value, list | tuple):
            for each in value:
                walk(each)
        elif hasattr(value, "model_dump"):
            walk(value.model_dump())

    walk(state)
    walk(told)
    assert str(tmp_path) not in f"{state}{told}"


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


async def test_tools_abstain_where_no_worker_runs_and_are_asked_twice(tmp_path: Path) -> None:
    tools = Tools(fails=WorkerError("A worker did not start."))
    report = (await run(tmp_path, tools=tools))[0]["report"]
    assert sorted(tools.asked) == sorted([*TOOLS, *TOOLS])
    for item in report.evidence:
        assert item.abstained_because == "The tool could not be run: A worker did not start."
    assert report.verdict.label == "inconclusive"


def test_a_second_word_under_one_id_replaces_the_first() -> None:
    first, second = abstention(bright, "once"), abstention(bright, "twice")
    assert merge_evidence((first,), (second,)) == (second,)
