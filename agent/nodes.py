"""The nodes of the graph: one small function each. What they tell on the way leaves by the stream writer."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from langgraph.errors import NodeError, NodeTimeoutError
from langgraph.graph import END
from langgraph.runtime import Runtime
from langgraph.types import Command, Send

from agent import grounding, planning, probes
from agent.planning import Standing
from agent.review import asks_for_review
from agent.stability import WORDS, as_evidence, settle
from agent.state import Context, Shown, State, Task
from agent.telemetry import log, step
from agent.verdict import Artifact, PlanStep, Report, Sentence
from agent.vision import Points, Proposes, Vision
from agent.workers import abstention
from tools.contract import Detector, Evidence
from tools.errors import ExpositError, ModelServerError, TryAgainError

Run = Runtime[Context]
ASKED = f"{planning.LOOK}@{probes.QUESTION}"
"""Id of what a model answered about one place."""
PROPOSE_S = 10.0
"""Seconds that a model may take to propose probes."""
WORDS_OF: Final[Mapping[str, str]] = {"zoom": "one part by itself"} | dict(WORDS.items())


def _tell(run: Run, kind: str, text: str, **data: Any) -> None:
    run.stream_writer({"kind": kind, "text": text, "data": data})


async def plan(state: State, runtime: Run) -> State:
    """Decides what is looked at next, and why; without a further step the verdict stands."""
    given = runtime.context
    timings: dict[str, float] = {}
    known = state.get("plan", ())
    with step(f"plan:{max((each.round for each in known), default=0) + 1}", timings):
        at = _standing(state, given)
        at = replace(at, proposed=await _proposed(at, runtime))
        steps = (*planning.next_steps(at), *probes.next_steps(at))
    if steps:
        run = sum(each.run for each in steps)
        text = f"{run} of {len(steps)} possible steps will be taken."
        _tell(runtime, "step", text, step="plan", plan=[each.model_dump(mode="json") for each in steps])
    elif "verdict" in state:
        text = "The evidence was weighed."
        if at.decided:
            text = "A trusted signature decides; what the tools found in the pixels is shown beside it."
        _tell(runtime, "verdict", text, verdict=state["verdict"].model_dump(mode="json"))
    return {"plan": (*known, *steps), "timings": timings}


def _standing(state: State, given: Context) -> Standing:
    return Standing(
        tools=given.tools,
        image=state["image"],
        budget=given.budget,
        calibration=given.calibration,
        prior=given.prior,
        can_look=given.vision is not None and given.vision.can_look,
        can_point=isinstance(given.vision, Points) and given.vision.can_look,
        verdict=state.get("verdict"),
        contributions=state.get("contributions", ()),
        evidence=state.get("evidence", ()),
        plan=state.get("plan", ()),
    )


async def _proposed(at: Standing, runtime: Run) -> tuple[PlanStep, ...]:
    """What the model at hand would do beyond the policy, from a closed list; nothing where it fails."""
    model = runtime.context.vision
    offered = probes.options(at) if isinstance(model, Proposes) else ()
    if not offered or not isinstance(model, Proposes) or at.verdict is None:
        return ()
    try:
        async with asyncio.timeout(PROPOSE_S):
            names = await model.propose(at.verdict, at.evidence, offered)
    except (ExpositError, TimeoutError) as error:
        log.warning("model_proposed_nothing", error=str(error))
        return ()
    return probes.accepted(offered, names)


def send(state: State) -> list[Send] | str:
    """Sends each step of the round off, the dearest first, so that the workers end together."""
    last = max((each.round for each in state["plan"]), default=0)
    steps = [each for each in state["plan"] if each.round == last]
    if not steps or ("verdict" in state and last == state.get("weighed")):
        return "narrate" if "verdict" in state else "fuse"
    todo = sorted((each for each in steps if each.run), key=lambda each: (-each.cost, each.tool))
    whole = {item.id: item for item in state.get("evidence", ())}
    sent = []
    for each in todo:
        for task in probes.tasks(each):
            more = Task(image=state["image"], whole=whole.get(task["tool"]))
            sent.append(Send(_node_of(each), Task(**task, **more)))
    return sent or "fuse"


def _node_of(step: PlanStep) -> str:
    if step.kind == "tool":
        return "examine"
    return {planning.LOOK: "look", probes.SIMILAR: "recall", probes.QUESTION: "ask"}.get(step.tool, "probe")


async def examine(task: Task, runtime: Run) -> State:
    """Runs one tool in a worker process."""
    given, name = runtime.context, task["tool"]
    timings: dict[str, float] = {}
    _tell(runtime, "step", f"Running {name}.", step=name)
    with step(f"tool:{name}", timings, tool=name):
        evidence, maps = await given.workers.examine(given.tools[name], given.original, given.budget)
        for png in maps.values():
            await asyncio.to_thread(given.maps.put, png)
    return _heard(evidence, timings, runtime)


async def could_not_examine(task: Task, runtime: Run, error: NodeError) -> Command[str]:
    """No worker runs: the tool abstains. The edges of a node that failed are not followed, so handlers say where to."""
    log.error("tool_not_run", tool=task["tool"], error=str(error.error))
    if not isinstance(error.error, ExpositError):
        raise error.error
    tool = runtime.context.tools[task["tool"]]
    evidence = abstention(tool, f"The tool could not be run: {error.error}")
    return Command(update=_heard(evidence, {}, runtime), goto="fuse")


async def look(task: Task, runtime: Run) -> State:
    """Has the model look at the picture, blind to the tools."""
    given = runtime.context
    timings: dict[str, float] = {}
    _tell(runtime, "step", "A model looks at the picture.", step=task["tool"])
    with step("look", timings):
        original = await asyncio.to_thread(given.originals.get, given.original.sha256)
        evidence = await _model(given).look(original)
    return _heard(evidence, timings, runtime)


async def could_not_look(task: Task, runtime: Run, error: NodeError) -> Command[str]:
    """The model failed or took too long: it abstains."""
    silent = _silent_model(task["tool"], f"The model that looks at pictures gave no answer: {_why(error)}")
    return Command(update=_heard(silent, {}, runtime), goto="fuse")


def _silent_model(name: str, because: str) -> Evidence:
    return Evidence(id=name, detector=planning.LOOK, version="none", target="generated", abstained_because=because)


async def probe(task: Task, runtime: Run) -> State:
    """Has one tool look again: at a degraded copy, or at one part of the picture."""
    given, tool, view = runtime.context, runtime.context.tools[task["tool"]], task["view"]
    timings: dict[str, float] = {}
    degraded = view.kind != "zoom"
    _tell(runtime, "step", f"{tool.name} looks again ({WORDS_OF[view.kind]}).", step=f"{tool.name}@{view.kind}")
    with step(f"probe:{tool.name}:{view.kind}", timings, tool=tool.name):
        budget = probes.look_budget(tool, given.budget) if degraded else given.budget
        evidence, _ = await given.workers.examine(tool, given.original, budget, view)
    return _seen_again(task, tool, evidence, timings, runtime)


async def could_not_probe(task: Task, runtime: Run, error: NodeError) -> Command[str]:
    """No worker runs: the second look tells nothing, and stability says so."""
    if not isinstance(error.error, ExpositError):
        raise error.error
    tool = runtime.context.tools[task["tool"]]
    silent = abstention(tool, f"The tool could not be run: {error.error}")
    return Command(update=_seen_again(task, tool, silent, {}, runtime), goto="fuse")


def _seen_again(task: Task, tool: Detector, evidence: Evidence, timings: dict[str, float], runtime: Run) -> State:
    view = task["view"]
    if view.kind == "zoom":
        return _heard(probes.zoomed(tool, evidence, task["whole"], view, task["image"]), timings, runtime)
    slim = evidence.model_copy(update={"findings": (), "regions": (), "maps": ()})
    return {"shown": (Shown(kind=view.kind, tool=tool.name, evidence=slim),), "timings": timings}


async def ask(task: Task, runtime: Run) -> State:
    """Asks the model one thing about one place. It knows where to look, so that its answer lends no weight."""
    given, view = runtime.context, task["view"]
    timings: dict[str, float] = {}
    _tell(runtime, "step", "A model is asked about one place.", step=task["tool"])
    if not isinstance(given.vision, Points) or view.region is None:
        raise ModelServerError("There is no model that can be asked about a place.")
    with step("ask", timings):
        original = await asyncio.to_thread(given.originals.get, given.original.sha256)
        seen = await given.vision.point(original, view.region)
    evidence = seen.model_copy(update={"id": ASKED, "blind": False})
    return _heard(evidence, timings, runtime)


async def could_not_ask(task: Task, runtime: Run, error: NodeError) -> Command[str]:
    """The model failed or took too long: what it was asked stays unanswered, and the report says so."""
    silent = _silent_model(ASKED, f"The model that was asked about a place gave no answer: {_why(error)}")
    return Command(update=_heard(silent, {}, runtime), goto="fuse")


async def recall(task: Task, runtime: Run) -> State:
    """Looks for the same picture among earlier cases. A note beside the verdict: nothing of it is weighed."""
    given, image = runtime.context, task["image"]
    timings: dict[str, float] = {}
    with step("recall", timings):
        found = await given.store.earlier(given.case_id, image.sha256, image.pdq)
    return {"similar": found, "timings": timings}


async def could_not_recall(task: Task, runtime: Run, error: NodeError) -> Command[str]:
    """The log does not answer: the report says that earlier cases were not looked through."""
    why = str(error.error) if isinstance(error.error, ExpositError) else "The log of cases did not answer in time."
    log.warning("earlier_cases_not_read", error=str(error.error))
    return Command(update={"similar_because": why}, goto="fuse")


async def fuse(state: State, runtime: Run) -> State:
    """Weighs the evidence into a verdict, and holds it against the second looks."""
    given = runtime.context
    timings: dict[str, float] = {}
    plan = state["plan"]
    last = max((each.round for each in plan), default=0)
    with step("fuse", timings):
        fused, stability = settle(
            state.get("evidence", ()),
            state.get("shown", ()),
            image=state["image"],
            prior=given.prior,
            calibration=given.calibration,
            plan=plan,
        )
    steadiness = as_evidence(stability)
    return {
        "evidence": () if steadiness is None else (steadiness,),
        "verdict": fused.verdict, "contributions": fused.contributions, "stability": stability, "weighed": last,
        "timings": timings,
    }  # fmt: skip


async def narrate(state: State, runtime: Run) -> State:
    """Has the model write the explanation from the evidence."""
    given = runtime.context
    timings: dict[str, float] = {}
    _tell(runtime, "step", "Writing the explanation.", step="narrate")
    with step("narrate", timings):
        if given.vision is None:
            return {**_plainly(state, runtime, given.voice_because), "timings": timings}
        aloud = _Aloud(state, runtime)
        try:
            drafted = await given.vision.narrate(
                state["verdict"], state.get("evidence", ()), state["contributions"], aloud.tell, aloud.growing
            )
            writer = await given.vision.writer()
        finally:
            aloud.over = True
    if not writer.note:
        writer = writer.model_copy(update={"note": given.voice_because})
    return {"drafted": drafted, "streamed": tuple(aloud.told), "explained_by": writer, "timings": timings}


class _Aloud:
    """Tells sentences while the model still writes: those that hold, from the answer on, as the report will have them.

    Before an answer has held nothing is told, since the template writes where none does.
    """

    def __init__(self, state: State, runtime: Run) -> None:
        self._state, self._runtime = state, runtime
        self._waiting: list[Sentence] = []
        self.told: list[Sentence] = []
        self.over = False

    def growing(self, begun: Sentence) -> None:
        """Shows the answer as far as it is written, if that much by itself holds."""
        shown = begun.model_copy(update={"text": begun.text.rstrip(" ,;:(")})
        if begun.role == "answer" and not self.told and not self.over and _grounded(self._state, (shown,))[0]:
            _tell(self._runtime, "writing", f"{shown.text} …")

    def tell(self, sentence: Sentence) -> None:
        """Shows a sentence that holds."""
        if self.over:  # it came from a thread that had not heard yet
            return
        kept, _ = _grounded(self._state, (sentence,))
        self._waiting += kept
        if self.told or any(each.role == "answer" for each in kept):
            for each in self._waiting:
                _say(each, self._runtime)
            self.told += self._waiting
            self._waiting.clear()


async def narrate_plainly(state: State, runtime: Run, error: NodeError) -> Command[str]:
    """The model failed or took too long: the plain template writes, and says why."""
    _tell(runtime, "step", "The plain template writes the explanation.", step="narrate")  # what was told is withdrawn
    drafted = _plainly(state, runtime, f"The language model gave no explanation: {_why(error)}")
    return Command(update=drafted, goto="ground")


def _plainly(state: State, runtime: Run, note: str) -> State:
    template = runtime.context.template
    drafted = template.narrate(state["verdict"], state.get("evidence", ()), state["contributions"])
    return {"drafted": drafted, "explained_by": template.writer(note)}


def _model(given: Context) -> Vision:
    if given.vision is None:
        raise ModelServerError("There is no model.")
    return given.vision


async def ground(state: State, runtime: Run) -> State:
    """Drops what the evidence does not support; where no answer is left, the template writes one."""
    timings: dict[str, float] = {}
    with step("ground", timings):
        writer = state["explained_by"]
        kept, dropped = _grounded(state, state["drafted"])
        if writer.kind != "template" and not any(sentence.role == "answer" for sentence in kept):
            note = f"What the language model wrote held no answer that the evidence supports: {len(dropped)} of "
            plain = _plainly(state, runtime, f"{note}{len(state['drafted'])} sentences were dropped.")
            writer = plain["explained_by"]
            kept, refused = _grounded(state, plain["drafted"])
            dropped += refused
    streamed = state.get("streamed", ())
    for sentence in kept:
        if sentence not in streamed:
            _say(sentence, runtime)
    return {"explanation": kept, "dropped": dropped, "explained_by": writer, "timings": timings}


def _say(sentence: Sentence, runtime: Run) -> None:
    _tell(runtime, "sentence", sentence.text, sentence=sentence.model_dump(mode="json"))


def _grounded(state: State, drafted: tuple[Sentence, ...]) -> tuple[Any, Any]:
    found = grounding.ground(drafted, state["verdict"], state["contributions"], state.get("evidence", ()))
    return found.kept, found.dropped


async def record(state: State, runtime: Run) -> State:
    """Makes the report and stores it, in one transaction. Storing it twice changes nothing."""
    report = _report(state, runtime.context)
    await runtime.context.store.finish_case(report)
    return {"report": report}


async def could_not_record(state: State, runtime: Run, error: NodeError) -> Command[str]:
    """The log stays locked: the person gets the report all the same, and it says that the log may lack it."""
    if not isinstance(error.error, TryAgainError):
        raise error.error
    log.error("report_not_recorded", error=str(error.error))
    why = f"The log of cases did not take this report, so that it may not be found again: {error.error}"
    return Command(update={"report": _report(state, runtime.context).model_copy(update={"unrecorded": why})}, goto=END)


def _report(state: State, given: Context) -> Report:
    evidence = state.get("evidence", ())
    return Report(
        case_id=given.case_id,
        created_at=given.created_at,
        budget=given.budget.level,
        image=state["image"],
        verdict=state["verdict"],
        evidence=evidence,
        contributions=state["contributions"],
        artifacts=artifacts(evidence),
        explanation=state["explanation"],
        dropped=state["dropped"],
        explained_by=state["explained_by"],
        plan=state["plan"],
        stability=state.get("stability"),
        similar=state.get("similar", ()),
        similar_because=state.get("similar_because", ""),
        versions=dict(given.versions),
        timings={"inspect": given.inspect_ms} | state["timings"],
        review_asked=asks_for_review(given.review_policy, given.stakes, state["verdict"]),
        claim=given.claim,
    )


def artifacts(evidence: tuple[Evidence, ...]) -> tuple[Artifact, ...]:
    """What was seen at a place: the findings that have a region, named for the tool that saw it; no second looks."""
    return tuple(
        Artifact(
            kind=item.detector,
            text=finding.text,
            region=finding.region,
            severity=finding.severity,
            evidence_id=item.id,
        )
        for item in evidence
        for finding in item.findings
        if finding.region is not None and not item.id.endswith(f"@{probes.ZOOM}")
    )


def _heard(evidence: Evidence, timings: dict[str, float], runtime: Run) -> State:
    said = "has spoken" if evidence.score is not None else f"abstains: {evidence.abstained_because}"
    _tell(runtime, "evidence", f"{evidence.id} {said}", evidence=evidence.model_dump(mode="json"))
    return {"evidence": (evidence,), "timings": timings}


def _why(error: NodeError) -> str:
    """The failure of a model in words."""
    if isinstance(error.error, NodeTimeoutError):
        return f"it did not answer within {error.error.timeout:g} s."
    if isinstance(error.error, ExpositError):
        return str(error.error)
    log.error("model_raised", node=error.node, error=type(error.error).__name__)
    return f"it failed ({type(error.error).__name__})."
