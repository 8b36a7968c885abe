"""The graph of one examination.

```
plan ─┬─ examine (one for each tool, in worker processes) ─┬─ fuse ─ plan ... ─ narrate ─ ground ─ record
      ├─ look (where a model sees pixels) ─────────────────┤
      ├─ probe (a tool looks again), ask (the model, once) ┤
      └─ recall (the same picture among earlier cases) ────┘
```

It goes round until the plan adds no step: see `agent.planning` and `agent.probes`.
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

RECALL_S = 5.0
"""Seconds that looking through earlier cases may take."""


def _retry(on: type[Exception], attempts: int = 2) -> RetryPolicy:
    return RetryPolicy(initial_interval=0.2, max_attempts=attempts, retry_on=on)


def build_graph(*, model_timeout_s: float) -> Graph:
    """Builds the graph.

    Args:
        model_timeout_s: Seconds that a look, a question and the writing of an explanation may each take. (A tool's
            time is bounded where it can be killed: in `agent.workers`.)
    """
    graph = StateGraph(State, context_schema=Context)
    graph.add_node("plan", nodes.plan)
    sent = {
        "examine": (nodes.examine, nodes.could_not_examine, WorkerError, None),
        "look": (nodes.look, nodes.could_not_look, ModelServerError, model_timeout_s),
        "probe": (nodes.probe, nodes.could_not_probe, WorkerError, None),
        "ask": (nodes.ask, nodes.could_not_ask, ModelServerError, model_timeout_s),
        "recall": (nodes.recall, nodes.could_not_recall, TryAgainError, RECALL_S),
    }
    for name, (node, handler, again, seconds) in sent.items():
        graph.add_node(  # type: ignore[call-overload]  # its types leave out the NodeError that a handler is given
            name,
            node,
            input_schema=Task,
            retry_policy=_retry(again),
            timeout=seconds,
            error_handler=handler,
        )
        graph.add_edge(name, "fuse")
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
    graph.add_conditional_edges("plan", nodes.send, [*sent, "fuse", "narrate"])
    graph.add_edge("fuse", "plan")
    graph.add_edge("narrate", "ground")
    graph.add_edge("ground", "record")
    graph.add_edge("record", END)
    return graph.compile()
