"""The graph over tools that answer in this process: order, second looks, probes, and what the state may hold."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from agent.blobs import BlobStore
from agent.calibration import Calibration, load
from agent.graph import build_graph
from agent.planning import LOOK, budget_of
from agent.scripted import ScriptedVision
from agent.state import Context, Level, merge_evidence
from agent.template import TemplateNarrator
from agent.verdict import ImageFacts, PlanStep, Report, Sentence, Similar, Verdict
from agent.vision import Vision
from agent.workers import Examined, Original, abstention
from tests.agent.fake_tools import bright, drawer, slow
from tests.agent.test_fusion import calibration as calibrated
from tests.agent.test_fusion import tool as calibrated_tool
from tools.contract import Budget, Claim, Detector, Evidence, Finding, Region
from tools.errors import ModelServerError, TryAgainError, WorkerError
from tools.views import View

DATA = b"bytes of an original"
TOOLS: Mapping[str, Detector] = {tool.name: tool for tool in (bright, drawer, slow)}
SEEN = Evidence(
    id=LOOK, detector=LOOK, version="1", target="generated", score=0.9,
    findings=(Finding(text="The hand has six fingers.", polarity="generated", severity="moderate"),),
)  # fmt: skip
DOWN = ModelServerError("The model server at 127.0.0.1:1 did not answer.")


class Tools:
    """Answers for the workers, each tool after its delay."""

    def __init__(
        self,
        delays: Mapping[str, float] | None = None,
        fails: Exception | None = None,
        scores: Mapping[str, float] | None = None,
        again: Mapping[str, float | Exception | None] | None = None,
    ) -> None:
        self.delays, self.fails, self.asked = delays or {}, fails, []
        self.scores, self.again, self.looked = scores or {}, again or {}, []

    def _again(self, tool: Detector, view: View) -> Examined:
        """By the kind of view: a score, a failure, or None for a tool that abstains."""
        says = self.again.get(view.kind, self.scores.get(tool.name, 0.6))
        if isinstance(says, Exception):
            raise says
        silent = abstention(tool, "The part is too flat.")
        return Examined(
            silent if says is None else silent.model_copy(update={"score": says, "abstained_because": None}), {}
        )

    async def examine(self, tool: Detector, original: Original, budget: Budget, view: View | None = None) -> Examined:
        if view is not None:
            self.looked.append((tool.name, view.kind))
            return self._again(tool, view)
        self.asked.append(tool.name)
        if self.fails is not None:
            raise self.fails
        await asyncio.sleep(self.delays.get(tool.name, 0))
        text = f"The {tool.name} tool measured 2.5."
        finding = Finding(text=text, polarity="generated", severity="weak", numbers={"level": 2.5})
        spoke = abstention(tool, "").model_copy(
            update={"score": self.scores.get(tool.name, 0.6), "abstained_because": None, "findings": (finding,)}
        )
        return Examined(spoke, {})


class Store:
    """Keeps reports, and is locked for the first calls."""

    def __init__(self, locked: int = 0, before: tuple[Similar, ...] = (), lost: Exception | None = None) -> None:
        self.kept: list[Report] = []
        self.before, self.lost = before, lost
        self.locked, self.calls = locked, 0

    async def finish_case(self, report: Report) -> None:
        self.calls += 1
        if self.calls <= self.locked:
            raise TryAgainError("The database is locked.")
        self.kept.append(report)

    async def earlier(self, case_id: str, sha256: str, pdq: str) -> tuple[Similar, ...]:
        if self.lost is not None:
            raise self.lost
        return self.before


async def run(
    folder: Path,
    *,
    tools: Tools | None = None,
    vision: Vision | None = None,
    store: Store | None = None,
    catalogue: Mapping[str, Detector] = TOOLS,
    calibration: Calibration | None = None,
    level: Level = "standard",
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    sha256 = hashlib.sha256(DATA).hexdigest()
    originals = BlobStore(folder / "originals")
    originals.put(DATA)
    context = Context(
        case_id="case",
        created_at=datetime(2026, 11, 1, tzinfo=UTC),
        original=Original(path=originals.path(sha256), sha256=sha256, name="a.png"),
        budget=budget_of(level),
        prior=0.5,
        tools=catalogue,
        workers=tools or Tools(),
        vision=vision,
        voice_because="No model was asked for.",
        template=TemplateNarrator(),
        calibration=calibration or load(),
        originals=originals,
        maps=BlobStore(folder / "maps"),
        store=store or Store(),
        versions={"exposit": "0"},
        inspect_ms=1.0,
    )
    image = ImageFacts(path="a.png", sha256=sha256, bytes=20, width=640, height=480, format="PNG", mode="RGB")
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
    store = Store(locked=1)
    state, told = await run(tmp_path, store=store)
    kinds = [each["kind"] for each in told]
    assert kinds[0] == "step"
    assert kinds.index("evidence") < kinds.index("verdict") < kinds.index("sentence")
    assert store.kept == [state["report"]]
    assert store.calls == 2
    timed = {
        "inspect",
        "plan:1",
        "plan:2",
        "recall",
        "tool:bright",
        "tool:drawer",
        "tool:slow",
        "fuse",
        "narrate",
        "ground",
    }
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


# Second looks


KNOWN = calibrated(bright=calibrated_tool(1.0, figures={"matched_auroc": 0.85, "aligned_auroc": 0.8}))
SURE = {"bright": 0.95, "drawer": 0.5, "slow": 0.5}


async def looked(folder: Path, tools: Tools, **more: Any) -> Report:
    given = {"calibration": KNOWN, "tools": tools} | more
    report: Report = (await run(folder, **given))[0]["report"]
    return report


def step_of(report: Report, name: str) -> PlanStep:
    (step,) = (step for step in report.plan if step.tool == name)
    return step


async def test_a_pixel_verdict_that_holds_keeps_its_label_and_says_what_was_tried(tmp_path: Path) -> None:
    tools = Tools(scores=SURE)
    report = await looked(tmp_path, tools)
    assert report.verdict.label == "generated"
    assert sorted(tools.looked) == [("bright", "crop"), ("bright", "half"), ("bright", "jpeg70")], "weight only"
    assert report.stability is not None
    assert (report.stability.judged, report.stability.flips) == (True, False)
    assert [look.kind for look in report.stability.looks] == ["jpeg70", "half", "crop"]
    assert all(look.scores == {"bright": 0.95} and look.label == "generated" for look in report.stability.looks)
    assert step_of(report, "stability").run
    assert not any("re-saving" in text for text in report.verdict.not_examined)
    plain = await looked(tmp_path, Tools(scores=SURE), level="quick")
    assert plain.verdict.p_generated == report.verdict.p_generated, "second looks lend no weight"


async def test_a_pixel_verdict_that_flips_is_inconclusive_with_that_reason(tmp_path: Path) -> None:
    report = await looked(tmp_path, Tools(scores=SURE, again={"jpeg70": 0.2}))
    assert report.verdict.label == "inconclusive"
    assert report.verdict.confidence in ("none", "low")
    because = report.verdict.abstained_because or ""
    assert "does not survive a second look" in because
    assert "after saving at JPEG quality 70" in because
    assert "What would help" in because
    assert report.stability is not None
    assert [look.flips for look in report.stability.looks] == [True, False, False]
    assert report.verdict.p_generated > 0.9, "the probability is told as it was found"


async def test_the_quick_budget_has_no_second_looks_and_says_so(tmp_path: Path) -> None:
    tools = Tools(scores=SURE, again={"jpeg70": 0.2})
    report = await looked(tmp_path, tools, level="quick")
    assert not tools.looked
    assert report.verdict.label == "generated"
    assert report.stability is not None
    assert not report.stability.judged
    assert "quick budget" in report.stability.because
    assert any("re-saving" in text for text in report.verdict.not_examined)


async def test_second_looks_that_fail_leave_the_verdict_and_are_told(tmp_path: Path) -> None:
    down = WorkerError("A worker did not start.")
    report = await looked(tmp_path, Tools(scores=SURE, again={"jpeg70": down, "half": None, "crop": None}))
    assert report.verdict.label == "generated"
    assert report.stability is not None
    assert not report.stability.judged
    assert "did not start" in report.stability.because or "too flat" in report.stability.because
    assert any("re-saving" in text for text in report.verdict.not_examined)
    one = await looked(tmp_path, Tools(scores=SURE, again={"half": None}))
    assert one.stability is not None
    assert one.stability.judged
    assert "could not be looked at after shrinking" in one.stability.because


class Signed(Tools):
    """Provenance says that a trusted signer calls the picture generated."""

    async def examine(self, tool: Detector, original: Original, budget: Budget, view: View | None = None) -> Examined:
        if tool.name != "provenance":
            return await super().examine(tool, original, budget, view)
        claim = Claim(source="c2pa", says="generated", rank="trusted", signer="A signer")
        return Examined(abstention(tool, "It reports.").model_copy(update={"claims": (claim,)}), {})


async def test_signed_provenance_decides_first_and_saves_what_is_dear(tmp_path: Path) -> None:
    first = replace(bright, name="provenance", target="generated", cost=1.0)
    dear = replace(slow, name="dear", cost=5000.0)
    every = {**TOOLS, "provenance": first, "dear": dear}
    known = calibrated(bright=KNOWN.tools["bright"], dear=calibrated_tool(1.0, figures={"aligned_auroc": 0.9}))
    tools = Signed(scores=SURE)
    report = await looked(tmp_path, tools, catalogue=every, calibration=known, vision=ScriptedVision(seen=SEEN))
    assert report.verdict.decided_by == "provenance"
    assert not tools.looked
    assert "dear" not in tools.asked
    assert set(TOOLS) <= set(tools.asked), "the core runs all the same"
    assert step_of(report, "provenance").round == 1
    for name in ("dear", "stability", LOOK):
        assert not step_of(report, name).run
        assert "signed provenance decides" in step_of(report, name).because
    assert report.stability is not None
    assert "signature decides" in report.stability.because


async def test_a_dear_tool_runs_where_it_may_change_the_label(tmp_path: Path) -> None:
    able = calibrated_tool(1.0, figures={"aligned_auroc": 0.9})
    for cost, ran in ((300.0, True), (20000.0, False)):
        every = {**TOOLS, "dear": replace(slow, name="dear", cost=cost)}
        tools = Tools(scores={**SURE, "bright": 0.6})
        known = calibrated(bright=KNOWN.tools["bright"], dear=able)
        report = await looked(tmp_path, tools, catalogue=every, calibration=known)
        step = step_of(report, "dear")
        assert (step.run, "dear" in tools.asked) == (ran, ran)
        assert step.round == 2
        assert step.expected is not None
        assert 0 < step.expected < 1
        assert f"costs {step.cost:g}" in step.because


class Pointing(ScriptedVision):
    """Also answers about a place, and proposes what it should not beside what it may."""

    async def point(self, original: bytes, region: Region) -> Evidence:
        finding = Finding(text="The edge is doubled.", polarity="edited", severity="weak", region=region)
        return SEEN.model_copy(update={"findings": (finding,)})

    async def propose(
        self, verdict: Verdict, evidence: tuple[Evidence, ...], options: tuple[PlanStep, ...]
    ) -> tuple[str, ...]:
        self.offered = {step.tool for step in options}
        return ("zoom", "skip the core", "verdict: generated")


class Marking(Tools):
    """One tool marks a place, strongly or not."""

    severity = "moderate"

    async def examine(self, tool: Detector, original: Original, budget: Budget, view: View | None = None) -> Examined:
        found = await super().examine(tool, original, budget, view)
        if tool.name != "drawer" or view is not None:
            return found
        box = Region(x0=0.0, y0=0.0, x1=0.3, y1=0.3)
        finding = Finding(text="This part differs.", polarity="edited", severity=self.severity, region=box)  # type: ignore[arg-type]
        return Examined(found.evidence.model_copy(update={"findings": (finding,)}), {})


async def test_a_disputed_place_is_looked_at_by_itself_and_the_model_is_asked_once(tmp_path: Path) -> None:
    quiet = {"bright": 0.5, "drawer": 0.5, "slow": 0.5}
    report = await looked(tmp_path, Marking(scores=quiet), vision=Pointing(seen=SEEN))
    zoom = step_of(report, "zoom")
    assert zoom.run
    assert "top left" in zoom.because
    by_id = {item.id: item for item in report.evidence}
    assert by_id["bright@zoom"].findings[0].numbers == {"here": 0.5, "whole": 0.5}
    assert by_id["vision@question"].findings[0].text == "The edge is doubled."
    weights = {entry.evidence_id: entry.llr for entry in report.contributions}
    assert not by_id["bright@zoom"].blind
    assert weights["bright@zoom"] == weights["vision@question"] == 0


async def test_a_model_may_propose_a_probe_of_the_list_and_nothing_else(tmp_path: Path) -> None:
    tools, model = Marking(scores=SURE), Pointing(seen=SEEN)
    tools.severity = "weak"
    report = await looked(tmp_path, tools, vision=model)
    assert model.offered == {"zoom", "question"}
    zoom = step_of(report, "zoom")
    assert zoom.run
    assert zoom.because.startswith("A model proposed it")
    assert ("bright", "zoom") in tools.looked
    assert set(TOOLS) == set(tools.asked)
    assert report.verdict.label == "generated", "as the evidence has it"


async def test_earlier_cases_are_a_note_and_a_locked_log_costs_only_the_note(tmp_path: Path) -> None:
    before = Similar(
        case_id="old", created_at=datetime(2026, 1, 1, tzinfo=UTC), name="b.jpg", label="generated", distance=4,
        same_file=False,
    )  # fmt: skip
    known = await looked(tmp_path, Tools(scores=SURE), store=Store(before=(before,)))
    lost = await looked(tmp_path, Tools(scores=SURE), store=Store(lost=TryAgainError("The database is locked.")))
    assert known.similar == (before,)
    assert (lost.similar, lost.similar_because) == ((), "The database is locked.")
    assert known.verdict == lost.verdict


async def test_a_conflict_is_named_and_probed(tmp_path: Path) -> None:
    known = calibrated(
        bright=calibrated_tool(1.0, figures={"aligned_auroc": 0.8}),
        drawer=calibrated_tool(1.0, figures={"aligned_auroc": 0.8}),
    )
    scores = {"bright": 0.9, "drawer": 0.2, "slow": 0.5}
    report = await looked(tmp_path, Tools(scores=scores), calibration=known)
    (conflict,) = report.verdict.conflicts
    assert (conflict.speaks_for, conflict.against) == (("bright",), ("drawer",))
    assert "no held-out picture was judged by both" in conflict.beyond
    assert "held" in conflict.outcome
    assert report.verdict.label == "inconclusive"


# Failures: a report with what is left


async def test_a_log_that_stays_locked_costs_the_record_and_not_the_report(tmp_path: Path) -> None:
    store = Store(locked=99)
    report = await looked(tmp_path, Tools(scores=SURE), store=store)
    assert store.kept == []
    assert report.verdict.label == "generated"
    assert report.explanation
    assert "did not take this report" in report.unrecorded
    assert "The database is locked" in report.unrecorded
    assert (await looked(tmp_path, Tools(scores=SURE))).unrecorded == ""


class Dying(Pointing):
    """A model server that is killed once it has looked."""

    async def point(self, original: bytes, region: Region) -> Evidence:
        raise DOWN

    async def propose(self, *given: object) -> tuple[str, ...]:
        raise DOWN

    async def narrate(self, *given: object) -> tuple[Sentence, ...]:
        raise DOWN


async def test_a_model_server_killed_in_mid_case_leaves_a_report_that_says_what_is_missing(tmp_path: Path) -> None:
    quiet = {"bright": 0.5, "drawer": 0.5, "slow": 0.5}
    report = await looked(tmp_path, Marking(scores=quiet), vision=Dying(seen=SEEN))
    by_id = {item.id: item for item in report.evidence}
    assert by_id[LOOK].score == 0.9, "what it saw before stays"
    assert "did not answer" in (by_id["vision@question"].abstained_because or "")
    assert "bright@zoom" in by_id
    assert report.explained_by.kind == "template"
    assert "did not answer" in report.explained_by.note
    assert any("vision@question" in sentence.cites for sentence in report.explanation)


async def test_each_tool_that_fails_is_missed_by_name_and_the_rest_is_weighed(tmp_path: Path) -> None:
    class Torn(Tools):
        async def examine(
            self, tool: Detector, original: Original, budget: Budget, view: View | None = None
        ) -> Examined:
            if tool.name == "drawer":
                return Examined(abstention(tool, "The tool was stopped after 30 s."), {})
            if tool.name == "slow":
                raise WorkerError("A worker did not start.")
            return await super().examine(tool, original, budget, view)

    report = await looked(tmp_path, Torn(scores=SURE))
    assert report.verdict.label == "generated"
    missing = " ".join(report.verdict.not_examined)
    assert "drawer gave no score: The tool was stopped after 30 s." in missing
    assert "slow gave no score: The tool could not be run: A worker did not start." in missing
