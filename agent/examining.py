"""One examination from the bytes to the report: stored, opened in the log, run as a task of its own."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final, Literal

from pydantic import Field

from agent import metrics, planning, telemetry
from agent.frames import frames
from agent.parts import Parts
from agent.state import Context, KeepsReports, Level, Stakes
from agent.stated import StatedClaim
from agent.telemetry import log
from agent.verdict import ImageFacts, Report
from agent.workers import Original
from tools.contract import Frozen
from tools.errors import ExpositError, OperatorError, TryAgainError

Kind = Literal["opened", "step", "evidence", "verdict", "writing", "sentence", "report", "failed"]
_CLOSE_S: Final = 20.0


class Submission(Frozen):
    """What a face hands in: the bytes, the name they came under, where they came from, and what is said of them."""

    data: bytes
    name: str = "image"
    origin: Literal["upload", "url", "path", "chat"] = "upload"
    claim: StatedClaim | None = None


class Event(Frozen):
    """One step of a running examination; SSE and the chat render the same events.

    Attributes:
        kind: `opened` (case_id known), `step` (a node or tool began; one named `narrate` begins the explanation anew,
            and sentences that were told before it do not stand), `evidence` (a tool spoke), `verdict`,
            `writing` (the first sentence as far as it is there and holds; the next `writing` or `sentence` takes its
            place), `sentence`, `report` (last; `data["report"]` is the Report as JSON). Whoever watches a case that
            another task or process examines is told its failure as the last event, `failed` (`code` and `message`).
        text: What to show, in plain English.
        data: What is behind it, as JSON: `step`, `evidence`, `verdict`, `sentence` or `report`.
        position: Its number among the steps that were written down; 0 where it was not.
    """

    kind: Kind
    case_id: str
    text: str
    data: dict[str, Any] = Field(default_factory=dict)
    position: int = 0


@dataclass(eq=False)
class Running:
    """A case under examination, and what it has told so far.

    Attributes:
        queued: Whether it is a job of the queue: what cuts it off does not end it then.
        patience: So often what may pass by itself is left to be tried again, and no failure yet.
    """

    case_id: str
    created_at: datetime
    level: Level
    stakes: Stakes
    name: str
    claim: StatedClaim | None = None
    queued: bool = False
    patience: int = 0
    events: asyncio.Queue[Event | None] = field(default_factory=asyncio.Queue)

    def tell(self, kind: Kind, text: str, data: dict[str, Any]) -> None:
        """Adds an event."""
        self.events.put_nowait(Event(kind=kind, case_id=self.case_id, text=text, data=data))


class Examinations:
    """Runs examinations. A task belongs to the service, so that no caller's end is its end."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._running: set[asyncio.Task[Report]] = set()

    async def close(self, *, hurried: bool) -> None:
        """Waits a little for running cases, or not at all if `hurried`, and notes those that do not end."""
        if self._running:
            _, late = await asyncio.wait(self._running, timeout=0 if hurried else _CLOSE_S)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)

    def launch(
        self, submission: Submission, level: Level | None, stakes: Stakes = "ordinary"
    ) -> tuple[Running, asyncio.Task[Report]]:
        """Starts the task of a case."""
        self._parts.start()
        running = Running(
            case_id=new_id(),
            created_at=datetime.now(UTC),
            level=level or self._parts.settings.budget,
            stakes=stakes,
            name=plain_name(submission.name),
            claim=submission.claim,
        )
        task = asyncio.create_task(self._run(running, submission), name=f"case-{running.case_id}")
        self._running.add(task)

        def ended(task: asyncio.Task[Report]) -> None:
            self._running.discard(task)
            running.events.put_nowait(None)
            if not task.cancelled():
                task.exception()  # seen, even where the client has gone

        task.add_done_callback(ended)
        return running, task

    async def _run(self, running: Running, submission: Submission) -> Report:
        """Stores, opens the row before anything is decoded, and examines; the row says how it ended."""
        parts = self._parts
        sha256 = await stored(parts, submission.data)
        await parts.store.begin_case(
            running.case_id,
            name=running.name,
            origin=submission.origin,
            budget=running.level,
            sha256=sha256,
            bytes=len(submission.data),
            created_at=running.created_at,
            claim=running.claim,
        )
        await kept(parts, sha256, submission.data)
        running.tell("opened", "The picture was stored and its case opened.", {"sha256": sha256})
        return await self.examined(running, sha256)

    async def examined(self, running: Running, sha256: str) -> Report:
        """Examines a case that stands in the log, and notes how it ended.

        Raises:
            ExpositError: where it cannot be judged.
            TryAgainError: with `patience` left, nothing was noted; the case is still open.
        """
        parts, began = self._parts, time.perf_counter()
        original = original_of(parts, sha256, running.name)
        with telemetry.case_context(running.case_id, sha256):
            try:
                async with parts.turn:
                    report = await self._examine(running, original)
            except ExpositError as error:
                log.info("case_failed", code=error.code)
                if not (isinstance(error, TryAgainError) and running.patience):
                    metrics.failed(time.perf_counter() - began)
                    await self._fail(running, error.code, error.message)
                raise
            except asyncio.CancelledError:
                if not running.queued:
                    await self._fail(
                        running, "interrupted", "The examination was interrupted: the service was stopped."
                    )
                raise
            except Exception as error:
                metrics.failed(time.perf_counter() - began)
                log.error("case_broke", trace=frames(error))
                await self._fail(running, "internal", f"The examination failed ({type(error).__name__}).")
                raise
            log.info("case_done", label=report.verdict.label)
            metrics.examined(report, time.perf_counter() - began)
            return report

    async def _fail(self, running: Running, code: str, message: str) -> None:
        try:
            await self._parts.store.fail_case(running.case_id, code, message)
        except ExpositError as error:  # the next start marks it; the first error is the one to tell
            log.error("failure_not_recorded", error=str(error))

    async def _examine(self, running: Running, original: Original) -> Report:
        running.tell("step", "Decoding the picture.", {"step": "inspect"})
        began = time.perf_counter()
        facts = await self._parts.workers.inspect(original)
        inspect_ms = round((time.perf_counter() - began) * 1000, 1)
        await self._parts.store.attach_image(running.case_id, facts)
        return await walk(self._parts, running, original, facts, inspect_ms=inspect_ms)


async def stored(parts: Parts, data: bytes) -> str:
    """Stores an original and returns its hash. Raises OperatorError `storage`."""
    try:
        return await asyncio.to_thread(parts.originals.put, data)
    except OSError as error:
        raise OperatorError(
            f"The original cannot be stored ({error.strerror}).",
            remedy="Make room in EXPOSIT_HOME.",
            code="storage",
        ) from error


async def kept(parts: Parts, sha256: str, data: bytes) -> None:
    """Sees that the original is there once its case is open: from now on no purge of another case takes it."""
    if not await asyncio.to_thread(parts.originals.exists, sha256):
        await stored(parts, data)


async def walk(
    parts: Parts,
    running: Running,
    original: Original,
    facts: ImageFacts,
    *,
    inspect_ms: float,
    store: KeepsReports | None = None,
    prior: float | None = None,
) -> Report:
    """Walks the graph over one decoded picture.

    Args:
        parts: What is open.
        running: The case; it is told each step.
        original: The stored original.
        facts: What decoding found.
        inspect_ms: What decoding cost.
        store: Who keeps the report, in place of the log.
        prior: In place of the prior of the settings.
    """
    context = Context(
        case_id=running.case_id,
        created_at=running.created_at,
        original=original,
        budget=planning.budget_of(running.level),
        stakes=running.stakes,
        review_policy=parts.settings.review,
        prior=parts.settings.prior if prior is None else prior,
        tools=parts.tools,
        workers=parts.workers,
        vision=parts.vision,
        voice_because=parts.voice_because,
        template=parts.template,
        calibration=parts.calibration,
        originals=parts.originals,
        maps=parts.maps,
        store=parts.store if store is None else store,
        versions=parts.versions,
        inspect_ms=inspect_ms,
        claim=running.claim,
    )
    graph = await parts.graph()
    last: Any = {}
    told: AsyncIterator[Any] = graph.astream(
        {"image": facts}, context=context, stream_mode=["custom", "values"]
    )  # pairs of mode and part; the library types them by another version
    async for mode, part in told:
        if mode == "custom":
            running.tell(part["kind"], part["text"], part["data"])
        else:
            last = part
    report: Report = last["report"]
    return report


def original_of(parts: Parts, sha256: str, name: str) -> Original:
    """A stored original, as a worker is told of it."""
    return Original(path=parts.originals.path(sha256).absolute(), sha256=sha256, name=name)


def new_id() -> str:
    """An id for a case or a batch: 80 random bits."""
    return uuid.uuid4().hex[:20]


def plain_name(name: str) -> str:
    """A file's name without its folders, as text that every database and JSON can hold."""
    last = name.replace("\\", "/").rpartition("/")[2]
    return last.encode("utf-8", "replace").decode().replace("\0", "")[-255:] or "image"
