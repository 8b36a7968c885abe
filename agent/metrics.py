"""What Prometheus reads of a process: counts and latencies as they happen, states as they are when it asks.

Every label has a bounded set of values: names of tools, nodes, labels and routes, never a name, hash or id that a
caller gives. docs/METRICS.md lists them (`python docs/metrics.py`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final, NamedTuple

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest, start_http_server
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_1_0_0

from tools.errors import ConfigurationError, ExpositError

if TYPE_CHECKING:
    from agent.parts import Parts
    from agent.verdict import Report
    from agent.vision import Vision

Depth = Callable[[], Awaitable[Mapping[str, int]]]

MEDIA_TYPE: Final = CONTENT_TYPE_PLAIN_1_0_0
REGISTRY: Final = CollectorRegistry()
"""Ours alone: what libraries put into the default registry is not told."""
_SECONDS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120)
_MODEL_S: Final = 2.0
"""Seconds within which a model must say who it is, to count as answering."""
METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})

NODE_SECONDS: Final = Histogram(
    "exposit_node_seconds", "Seconds that a node of the graph took, the wait for a worker included.", ["node"],
    buckets=_SECONDS, registry=REGISTRY,
)  # fmt: skip
TOOL_SECONDS: Final = Histogram(
    "exposit_tool_seconds", "Seconds that a tool took over one picture, without the wait for a worker.", ["tool"],
    buckets=_SECONDS, registry=REGISTRY,
)  # fmt: skip
CASE_SECONDS: Final = Histogram(
    "exposit_case_seconds", "Seconds from the begin of an examination to its end, by how it ended.", ["outcome"],
    buckets=_SECONDS, registry=REGISTRY,
)  # fmt: skip
EVIDENCE: Final = Counter(
    "exposit_evidence", "Pieces of evidence, by tool and by whether it spoke or abstained.", ["tool", "outcome"],
    registry=REGISTRY,
)  # fmt: skip
WORKER_RESTARTS: Final = Counter(
    "exposit_tool_worker_restarts", "Worker processes of tools that were started in the place of one that ended.",
    registry=REGISTRY,
)  # fmt: skip
HTTP_REQUESTS: Final = Counter(
    "exposit_http_requests", "Requests, by method, template of the route and status.", ["method", "route", "status"],
    registry=REGISTRY,
)  # fmt: skip
HTTP_SECONDS: Final = Histogram(
    "exposit_http_request_seconds", "Seconds from a request to the end of its answer.", ["method", "route"],
    buckets=_SECONDS, registry=REGISTRY,
)  # fmt: skip
CASES: Final = Gauge(
    "exposit_cases", "Cases in the log, by state and by the label of the newest report (empty where there is none).",
    ["state", "label"], registry=REGISTRY,
)  # fmt: skip
QUEUE: Final = Gauge("exposit_queue_jobs", "Jobs in the queue, by state.", ["state"], registry=REGISTRY)
WORKERS: Final = Gauge("exposit_tool_workers", "Worker processes of tools that are ready.", registry=REGISTRY)
MODEL_UP: Final = Gauge(
    "exposit_model_up", "Whether the language model answers. Absent where the plain template was chosen.", ["kind"],
    registry=REGISTRY,
)  # fmt: skip
MODEL_STARTS: Final = Counter(
    "exposit_model_server_starts", "How often this service started its model server.", registry=REGISTRY
)
DATABASE_UP: Final = Gauge("exposit_database_up", "Whether the database answers.", registry=REGISTRY)
INFO: Final = Gauge("exposit_info", "The version that runs.", ["version"], registry=REGISTRY)


def examined(report: Report, seconds: float) -> None:
    """Counts a case that came to its report, and what each tool did in it."""
    CASE_SECONDS.labels("done").observe(seconds)
    for item in report.evidence:
        if item.target == "context" and not item.ms:
            continue  # drawn from other evidence: nothing ran
        spoke = "abstained" if item.abstained_because and item.target != "context" else "spoke"
        EVIDENCE.labels(item.detector, spoke).inc()
        TOOL_SECONDS.labels(item.detector).observe(item.ms / 1000)


def failed(seconds: float) -> None:
    """Counts a case that ended without a report."""
    CASE_SECONDS.labels("failed").observe(seconds)


async def exposition(parts: Parts, depth: Depth | None = None) -> bytes:
    """Everything in Prometheus' text format, states as they are now. A part that does not answer is told as down.

    Args:
        parts: What is open.
        depth: Counts the jobs of the queue by state; None where there is no queue.
    """
    CASES.clear()
    QUEUE.clear()
    try:
        for state, label, number in await parts.store.tally():
            CASES.labels(state, label or "").set(number)
        if depth is not None:
            for state, number in (await depth()).items():
                QUEUE.labels(state).set(number)
        DATABASE_UP.set(1)
    except ExpositError:
        DATABASE_UP.set(0)
    WORKERS.set(parts.workers.ready)
    MODEL_UP.clear()
    if parts.vision is not None:
        MODEL_UP.labels(_kind(parts.vision)).set(await _answers(parts.vision))
    INFO.clear()
    INFO.labels(parts.versions["exposit"]).set(1)
    return generate_latest(REGISTRY)


@contextmanager
def listening(address: str | None) -> Iterator[None]:
    """Tells counts and seconds of this process at `host:port`, from a thread, while it is entered; None: nowhere.

    Raises:
        ConfigurationError: where that address cannot be listened on.
    """
    if address is None:
        yield
        return
    host, _, port = address.rpartition(":")
    try:
        server, thread = start_http_server(int(port), host, REGISTRY)
    except (OSError, OverflowError) as error:
        raise ConfigurationError(
            f"{address} cannot be listened on: {error}.", remedy="Correct or unset EXPOSIT_METRICS_ADDRESS."
        ) from error
    try:
        yield
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def _kind(vision: Vision) -> str:
    from agent.embedded import EmbeddedVision
    from agent.served import ServedVision

    return "served" if isinstance(vision, ServedVision) else "embedded" if isinstance(vision, EmbeddedVision) else "own"


async def _answers(vision: Vision) -> bool:
    try:
        async with asyncio.timeout(_MODEL_S):
            await vision.writer()
    except (ExpositError, TimeoutError):
        return False
    return True


class Family(NamedTuple):
    """One metric as it is documented."""

    name: str
    kind: str
    labels: tuple[str, ...]
    about: str


def families() -> list[Family]:
    """Every metric that this module makes, by name."""
    made = [each for each in globals().values() if isinstance(each, Counter | Gauge | Histogram)]
    told = [
        Family(
            each._name + ("_total" if isinstance(each, Counter) else ""), each._type, tuple(each._labelnames),
            each._documentation,
        )
        for each in made
    ]  # fmt: skip
    return sorted(told)
