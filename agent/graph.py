"""The graph of one examination.

```
plan ─┬─ examine (one for each tool, in worker processes) ─┬─ fuse ─ narrate ─ ground ─ record
      └─ look (where a model sees pixels) ─────────────────┘
```
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from langgraph.graph import END, START, StateGraph
from langgraph.types import RetryPolicy

from agent import nodes
from agent.state import Context, State, Task
from tools.errors import ModelServerError, TryAgainError, WorkerError

if TYPE_CHECKING:
    from langgraph.graph.state import CompiledStateGraph

    Graph = CompiledStateGraph[State, Context, State, State]


def _retry(on: type[Exception], attempts: int = 2) -> RetryPolicy:
    return RetryPolicy(initial_interval=0.2, max_attempts=attempts, retry_on=on)


def build_graph(*, model_timeout_s: float) -> Graph:
    """Builds the graph.

    Args:
        model_timeout_s: Seconds that a look, and the writing of an explanation, may take. (A tool's time is
            bounded where it can be killed: in `agent.workers`.)
    """
    graph = StateGraph(State, context_schema=Context)
    graph.add_node("plan", nodes.plan)
    graph.add_node(  # type: ignore[call-overload]  # its types leave out the NodeError that a handler is given
        "examine",
        nodes.examine,
        input_schema=Task,
        retry_policy=_retry(WorkerError),
        error_handler=nodes.could_not_examine,
    )
    graph.add_node(  # type: ignore[call-overload]
        "look",
        nodes.look,
        input_schema=Task,
        retry_policy=_retry(ModelServerError),
        timeout=model_timeout_s,
        error_handler=nodes.could_not_look,
    )
    graph.add_node("fuse", nodes.fuse)
    graph.add_node(
        "narrate",
        nodes.narrate,
        retry_policy=_retry(ModelServerError),
        timeout=model_timeout_s,
        error_handler=nodes.narrate_plainly,
    )
    graph.add_node("ground", nodes.ground)
    graph.add_node("record", nodes.record, retry_policy=_retry(TryAgainError, attempts=4))

    graph.add_edge(START, "plan")
    graph.add_conditional_edges("plan", nodes.send, ["examine", "look", "fuse"])
    graph.add_edge("examine", "fuse")
    graph.add_edge("look", "fuse")
    graph.add_edge("fuse", "narrate")
    graph.add_edge("narrate", "ground")
    graph.add_edge("ground", "record")
    graph.add_edge("record", END)
    return graph.compile()
