"""A conversation about a case: a thread that LangGraph's checkpointer keeps, one turn of this graph a question.

```
understand ─┬─ look again (a box, or a tool by name) ─┬─ answer
            ├─ compare (a second picture) ────────────┤
            └─────────────────────────────────────────┘
```

A question is data. It chooses what is looked at and what is told; the verdict follows from evidence alone, so that no
wording of a question can change it. What a question brings to light is recorded as the next report of the case.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypedDict
from weakref import WeakValueDictionary

from langgraph.graph import END, START, StateGraph
from langgraph.runtime import Runtime

from agent import answering, looking, replying, telemetry
from agent.answering import Answer, Comparison
from agent.examining import Submission
from agent.intents import Understood, understand
from agent.parts import Parts
from agent.replying import Done
from agent.reweighing import revised
from agent.telemetry import log
from agent.verdict import Report
from agent.versions import differences
from tools import perceptual
from tools.contract import Region
from tools.errors import ImageError

if TYPE_CHECKING:
    from langgraph.checkpoint.base import BaseCheckpointSaver
    from langgraph.graph.state import CompiledStateGraph

TURNS: Final = 20
"""Turns that a thread remembers."""


class Asked(TypedDict):
    """What comes in with a question; `done` and `answer` are emptied."""

    question: str
    region: dict[str, float] | None
    done: dict[str, Any]
    answer: dict[str, Any]


class Turn(TypedDict):
    """One turn, as the thread remembers it."""

    question: str
    intent: str
    revision: int


class Talk(Asked, total=False):
    """What a thread carries: plain JSON, and no evidence.

    Attributes:
        meant: The question as it was understood.
        last_region: The last box that was examined.
        awaits_box: Whether the last answer asked for a box.
    """

    meant: dict[str, Any]
    last_region: dict[str, float] | None
    awaits_box: bool
    turns: list[Turn]


@dataclass(frozen=True, kw_only=True)
class Case:
    """What a turn is given: the case, what is open, and the second picture where one came."""

    case_id: str
    parts: Parts
    picture: Submission | None
    examine: Callable[[Submission, Report], Awaitable[Report]]


Run = Runtime[Case]


if TYPE_CHECKING:
    Graph = CompiledStateGraph[Talk, Case, Asked, Talk]


class Conversations:
    """The threads of an Exposit, one a case.

    Args:
        parts: What is open.
        examine: Examines a second picture as a case of its own, under the budget of the first.
    """

    def __init__(self, parts: Parts, examine: Callable[[Submission, Report], Awaitable[Report]]) -> None:
        self._parts, self._examine = parts, examine
        self._turns: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    async def ask(
        self, case_id: str, question: str, *, region: Region | None = None, picture: Submission | None = None
    ) -> Answer:
        """Takes one turn; turns of one case wait for each other. Question and answer are logged.

        Raises:
            NotFoundError: if there is no such case, or it has no report.
            TryAgainError: where a database stays locked; what was examined until then is in the log.
        """
        parts = self._parts
        report = await parts.store.report(case_id)
        lock = self._turns.setdefault(case_id, asyncio.Lock())
        with telemetry.case_context(case_id, report.image.sha256):
            async with lock, parts.threads.saver() as saver:
                await parts.store.add_message(case_id, "user", _as_logged(question, region, picture))
                given = Case(case_id=case_id, parts=parts, picture=picture, examine=self._examine)
                asked = Asked(
                    question=question, region=region.model_dump() if region else None, done={}, answer={}
                )  # fmt: skip
                thread: Any = {"configurable": {"thread_id": f"case:{case_id}"}}
                state = await build(saver).ainvoke(asked, thread, context=given, durability="exit")
            answer = Answer.model_validate(state["answer"])
            cites = dict.fromkeys(cite for sentence in answer.sentences for cite in sentence.cites)
            told = " ".join([*(sentence.text for sentence in answer.sentences), *answer.notes])
            await parts.store.add_message(case_id, "assistant", told, cites, answer.answered_by)
        return answer


def build(saver: BaseCheckpointSaver[Any]) -> Graph:
    """The graph over threads that `saver` keeps."""
    graph = StateGraph(Talk, context_schema=Case, input_schema=Asked)
    graph.add_node("understand", read)
    graph.add_node("look_again", look_again)
    graph.add_node("compare", compare)
    graph.add_node("answer", reply)
    graph.add_edge(START, "understand")
    graph.add_conditional_edges("understand", act, ["look_again", "compare", "answer"])
    graph.add_edge("look_again", "answer")
    graph.add_edge("compare", "answer")
    graph.add_edge("answer", END)
    return graph.compile(checkpointer=saver)


def act(state: Talk) -> str:
    """What has to be done before the question can be answered."""
    intent = state["meant"]["intent"]
    return "look_again" if intent in ("box", "run") else "compare" if intent == "compare" else "answer"


async def read(state: Talk, runtime: Run) -> dict[str, Any]:
    """Puts the question into one of a closed set of intents."""
    given = runtime.context
    drawn, last = state["region"], state.get("last_region")
    meant = understand(
        state["question"],
        tools=given.parts.tools,
        region=Region.model_validate(drawn) if drawn else None,
        picture=given.picture is not None,
        last_region=Region.model_validate(last) if last else None,
        awaits_box=state.get("awaits_box", False),
    )
    log.info("question", intent=meant.intent, tools=list(meant.tools), pressed=meant.pressed)
    return {"meant": _plain(meant)}


async def look_again(state: Talk, runtime: Run) -> dict[str, Any]:
    """Runs what was asked for, and makes the next report of the case from what it found."""
    given, meant = runtime.context, _meant(state)
    parts, report = given.parts, await given.parts.store.report(given.case_id)
    other = differences(report.versions, parts.versions)
    if other:
        note = (
            f"Nothing was run: this case was examined by other versions ({' '.join(other[:3])}) Evidence of two "
            "versions is not weighed together. `exposit replay CASE --current` says what today's versions find."
        )
        return {"done": Done(notes=(note,)).model_dump(mode="json")}
    parts.start()
    if meant.intent == "box" and meant.region is not None:
        looked = await looking.in_a_box(parts, report, meant.tools, meant.region)
        what = f"the part at the {meant.region.place} was examined by itself"
    else:
        names = meant.tools or looking.left_out(parts, report)
        looked = await looking.over_the_whole(parts, report, names)
        what = f"{', '.join(item.id for item in looked.evidence)} examined the picture"
    kept = {} if meant.region is None else {"last_region": meant.region.model_dump()}
    done = Done(notes=looked.notes, region=meant.region, known=looked.known)
    if looked.evidence:
        after = revised(
            report, looked.evidence, parts.calibration, because=f"Asked for in a question: {what}.",
            timings=looked.timings, shown=looked.shown,
        )  # fmt: skip
        await parts.store.revise_case(after, after.earlier[-1].because)
        done = done.model_copy(update={"ran": tuple(item.id for item in looked.evidence)})
    return {"done": done.model_dump(mode="json"), **kept}


async def compare(state: Talk, runtime: Run) -> dict[str, Any]:
    """Examines the second picture as a case of its own, and lays both side by side."""
    given = runtime.context
    report = await given.parts.store.report(given.case_id)
    if given.picture is None:
        raise RuntimeError("a comparison was understood without a second picture")
    try:
        other = await given.examine(given.picture, report)
    except ImageError as error:
        note = f"The second picture cannot be judged: {error}"
        return {"done": Done(notes=(note,)).model_dump(mode="json")}
    far = perceptual.distance(report.image.pdq, other.image.pdq)
    same_file = report.image.sha256 == other.image.sha256
    found = Comparison(
        case_id=other.case_id,
        same_file=same_file,
        distance=0 if same_file else far,
        same_picture=True if same_file else replying.same_picture(far),
        label=other.verdict.label,
        p_generated=other.verdict.p_generated,
    )
    return {"done": Done(comparison=found).model_dump(mode="json")}


async def reply(state: Talk, runtime: Run) -> dict[str, Any]:
    """Answers from the newest report."""
    given, meant = runtime.context, _meant(state)
    parts = given.parts
    report = await parts.store.report(given.case_id)
    done = Done.model_validate(state["done"])
    plainly = answering.PLAINLY.get(meant.intent)
    if plainly is not None:
        # what tries to talk the case into a verdict is not shown to a model either
        answered = await answering.answer(
            report,
            state["question"],
            vision=None if meant.pressed else parts.vision,
            voice_because=parts.voice_because,
            timeout_s=parts.settings.vlm_timeout_s,
            plainly=plainly,
        )
    else:
        answered = replying.plainly(report, state["question"], meant, done)
    versions = await parts.store.versions(given.case_id) if done.ran or meant.intent == "earlier" else []
    full = await asyncio.to_thread(replying.complete, answered, report, meant, done, versions, parts.calibration)
    turn = Turn(question=state["question"], intent=meant.intent, revision=report.revision)
    return {
        "answer": full.model_dump(mode="json"),
        "awaits_box": meant.intent == "look",
        "turns": [*state.get("turns", []), turn][-TURNS:],
    }


def _plain(meant: Understood) -> dict[str, Any]:
    return {
        "intent": meant.intent, "tools": list(meant.tools), "things": list(meant.things), "pressed": meant.pressed,
        "region": meant.region.model_dump() if meant.region else None,
    }  # fmt: skip


def _meant(state: Talk) -> Understood:
    meant = state["meant"]
    region = meant["region"]
    return Understood(
        intent=meant["intent"], tools=tuple(meant["tools"]), things=tuple(meant["things"]), pressed=meant["pressed"],
        region=Region.model_validate(region) if region else None,
    )  # fmt: skip


def _as_logged(question: str, region: Region | None, picture: Submission | None) -> str:
    """The question with what came along with it, in words."""
    more = []
    if region is not None:
        more.append(f"[box: {region.x0:.3f}, {region.y0:.3f}, {region.x1:.3f}, {region.y1:.3f}]")
    if picture is not None:
        more.append("[with a second picture]")
    return " ".join([question, *more]).strip()
