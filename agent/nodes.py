"""The nodes of the graph: one small function each. What they tell on the way leaves by the stream writer."""

from __future__ import annotations

import asyncio
from typing import Any

from langgraph.errors import NodeError, NodeTimeoutError
from langgraph.runtime import Runtime
from langgraph.types import Command, Send

from agent import fusion, grounding, planning
from agent.review import asks_for_review
from agent.state import Context, State, Task
from agent.telemetry import log, step
from agent.verdict import Artifact, Report, Sentence
from agent.vision import Vision
from agent.workers import abstention
from tools.contract import Evidence
from tools.errors import ExpositError, ModelServerError

Run = Runtime[Context]


def _tell(run: Run, kind: str, text: str, **data: Any) -> None:
    run.stream_writer({"kind": kind, "text": text, "data": data})


async def plan(state: State, runtime: Run) -> State:
    """Decides which tools run."""
    given = runtime.context
    timings: dict[str, float] = {}
    with step("plan", timings):
        steps = planning.plan(
            given.tools,
            state["image"],
            given.budget,
            calibrated=given.calibration.weighted,
            can_look=given.vision is not None and given.vision.can_look,
        )
    run, left = (sum(each.run is wanted for each in steps) for wanted in (True, False))
    text = f"{run} of {run + left} tools will be run."
    _tell(runtime, "step", text, step="plan", plan=[each.model_dump(mode="json") for each in steps])
    return {"plan": steps, "timings": timings}


def send(state: State) -> list[Send] | str:
    """Sends each planned tool off, the dearest first, so that the workers end together."""
    todo = sorted((each for each in state["plan"] if each.run), key=lambda each: (-each.cost, each.tool))
    if not todo:
        return "fuse"
    return [Send("look" if each.tool == planning.LOOK else "examine", Task(tool=each.tool)) for each in todo]


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
    evidence = Evidence(
        id=task["tool"],
        detector=task["tool"],
        version="none",
        target="generated",
        abstained_because=f"The model that looks at pictures gave no answer: {_why(error)}",
    )
    return Command(update=_heard(evidence, {}, runtime), goto="fuse")


async def fuse(state: State, runtime: Run) -> State:
    """Weighs the evidence into a verdict."""
    given = runtime.context
    timings: dict[str, float] = {}
    with step("fuse", timings):
        fused = fusion.fuse(
            state.get("evidence", ()), prior=given.prior, calibration=given.calibration, plan=state["plan"]
        )
    text = "The evidence was weighed."
    if fused.verdict.decided_by == "provenance":
        text = "A trusted signature decides; what the tools found in the pixels is shown beside it."
    _tell(runtime, "verdict", text, verdict=fused.verdict.model_dump(mode="json"))
    return {"verdict": fused.verdict, "contributions": fused.contributions, "timings": timings}


async def narrate(state: State, runtime: Run) -> State:
    """Has the model write the explanation from the evidence."""
    given = runtime.context
    timings: dict[str, float] = {}
    _tell(runtime, "step", "Writing the explanation.", step="narrate")
    with step("narrate", timings):
        if given.vision is None:
            return {**_plainly(state, runtime, given.voice_because), "timings": timings}
        drafted = await given.vision.narrate(state["verdict"], state.get("evidence", ()), state["contributions"])
        writer = await given.vision.writer()
    if not writer.note:
        writer = writer.model_copy(update={"note": given.voice_because})
    return {"drafted": drafted, "explained_by": writer, "timings": timings}


async def narrate_plainly(state: State, runtime: Run, error: NodeError) -> Command[str]:
    """The model failed or took too long: the plain template writes, and says why."""
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
    for sentence in kept:
        _tell(runtime, "sentence", sentence.text, sentence=sentence.model_dump(mode="json"))
    return {"explanation": kept, "dropped": dropped, "explained_by": writer, "timings": timings}


def _grounded(state: State, drafted: tuple[Sentence, ...]) -> tuple[Any, Any]:
    found = grounding.ground(drafted, state["verdict"], state["contributions"], state.get("evidence", ()))
    return found.kept, found.dropped


async def record(state: State, runtime: Run) -> State:
    """Makes the report and stores it, in one transaction. Storing it twice changes nothing."""
    given = runtime.context
    evidence = state.get("evidence", ())
    report = Report(
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
        versions=dict(given.versions),
        timings={"inspect": given.inspect_ms} | state["timings"],
        review_asked=asks_for_review(given.review_policy, given.stakes, state["verdict"]),
        claim=given.claim,
    )
    await given.store.finish_case(report)
    return {"report": report}


def artifacts(evidence: tuple[Evidence, ...]) -> tuple[Artifact, ...]:
    """What was seen at a place: the findings that have a region, named for the tool that saw it."""
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
        if finding.region is not None
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
