"""The graph of a review: a thread that waits for a person at LangGraph's `interrupt`.

```
wait (interrupt) ─ record ─┬─ the end
  └── a note alone ────────┘ waits on, where somebody was asked to judge
```
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypedDict

from langgraph.graph import END, START, StateGraph
from langgraph.runtime import Runtime
from langgraph.types import interrupt

from agent.afterwards import PersonsLabel, ReviewKind
from agent.store import Store

if TYPE_CHECKING:
    from langgraph.checkpoint.base import BaseCheckpointSaver
    from langgraph.graph.state import CompiledStateGraph


class Asked(TypedDict):
    """What a person is shown, and what the thread holds while it waits."""

    case_id: str
    because: str
    label: str
    revision: int
    asked: bool


class Said(TypedDict):
    """A decision as plain values: `label` is the label that counts, whoever gave it."""

    kind: ReviewKind
    reviewer: str
    reason: str
    label: PersonsLabel | None
    revision: int


class Waiting(Asked, total=False):
    """The state of one review."""

    said: Said


@dataclass(frozen=True, kw_only=True)
class Log:
    """Where a review is recorded."""

    store: Store


if TYPE_CHECKING:
    Graph = CompiledStateGraph[Waiting, Log, Asked, Waiting]


def wait(state: Waiting) -> dict[str, Said]:
    """Waits for a person."""
    return {"said": interrupt({name: state[name] for name in Asked.__annotations__})}  # type: ignore[literal-required]


async def record(state: Waiting, runtime: Runtime[Log]) -> dict[str, Said]:
    """Adds the review to the log; the machine's verdict stays."""
    said = state["said"]
    await runtime.context.store.add_review(
        state["case_id"], reviewer=said["reviewer"], kind=said["kind"], label=said["label"], reason=said["reason"],
        revision=said["revision"],
    )  # fmt: skip
    return {"said": said}


def judged(state: Waiting) -> str:
    """Where a review goes from here."""
    return "wait" if state["asked"] and state["said"]["kind"] == "annotate" else END


def build(saver: BaseCheckpointSaver[Any]) -> Graph:
    """The graph over threads that `saver` keeps."""
    graph = StateGraph(Waiting, context_schema=Log, input_schema=Asked)
    graph.add_node("wait", wait)
    graph.add_node("record", record)
    graph.add_edge(START, "wait")
    graph.add_edge("wait", "record")
    graph.add_conditional_edges("record", judged, ["wait", END])
    return graph.compile(checkpointer=saver)
