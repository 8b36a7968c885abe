"""Supervises the worker processes that decode pictures and run the tools.

A tool runs in a process, since a thread cannot be killed. A process that hangs, dies or takes too much memory is
killed and replaced; its job becomes an abstention with the reason, and the other jobs go on.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NamedTuple

from pydantic import ValidationError

from agent import metrics
from agent.process import StoppedError, WorkerOptions, WorkerProcess, error_of
from agent.telemetry import log
from agent.verdict import ImageFacts
from agent.wire import Frame
from tools.contract import Budget, Conditional, Detector, Evidence, Frozen
from tools.errors import ExpositError, ImageError, WorkerError
from tools.views import View

__all__ = ["Examined", "Original", "WorkerOptions", "Workers", "abstention"]

QUICK_TIMEOUT_S: Final = 5.0
"""Seconds after which a tool is killed under the quick budget, where the setting allows more."""
_BACKOFF_S: Final = (0.5, 30.0)
_PNG: Final = b"\x89PNG\r\n\x1a\n"


class Original(Frozen):
    """A stored original, as a worker is told of it."""

    path: Path
    sha256: str
    name: str


class Examined(NamedTuple):
    """What a tool gave: its evidence, and the PNGs of its maps by sha256."""

    evidence: Evidence
    maps: dict[str, bytes]


def abstention(tool: Detector, because: str, ms: float = 0.0) -> Evidence:
    """Evidence in the name of a tool that could not speak for itself."""
    return Evidence(
        id=tool.name, detector=tool.name, version=tool.version, target=tool.target, abstained_because=because, ms=ms
    )


@dataclass(eq=False)
class _Job:
    head: dict[str, Any]
    reply: asyncio.Future[Frame]


class Workers:
    """A pool of worker processes. `start` returns at once: they come up in the background.

    Each tool has a worker of its own, so that what it holds in memory is held once; tools are dealt out by what
    they take (`loads`, or else their cost), the dearest first, to the worker that has the least to do. Decoding,
    and tools that were not dealt out, go to any.
    """

    def __init__(
        self, options: WorkerOptions, tools: Iterable[Detector] = (), loads: Mapping[str, float] | None = None
    ) -> None:
        self.options = options
        self._homes = _homes(tools, options.workers, loads or {})
        self._jobs: deque[_Job] = deque()
        self._own: tuple[deque[_Job], ...] = tuple(deque() for _ in range(options.workers))
        self._work = asyncio.Event()
        self._slots: list[asyncio.Task[None]] = []
        self._trouble: dict[int, ExpositError] = {}
        self._ready: set[int] = set()
        self._warm: set[int] = set()
        self._never_warm: set[str] = set()
        self._changed = asyncio.Event()

    def start(self) -> None:
        """Starts the processes in the background."""
        self._slots = [
            asyncio.create_task(self._slot(number), name=f"worker-{number}") for number in range(self.options.workers)
        ]

    async def close(self) -> None:
        """Ends every process; what still waits gets a WorkerError."""
        for slot in self._slots:
            slot.cancel()
        await asyncio.gather(*self._slots, return_exceptions=True)
        self._slots = []
        self._fail_waiting(WorkerError("The service is closing."))

    @property
    def state(self) -> str:
        """`ok` once every worker was warm; else what is wrong or still under way.

        A worker that was killed for its tool's sake is being replaced while the others go on: that stays `ok`.
        """
        number = self.options.workers
        if self._trouble and (len(self._trouble) == number or len(self._warm) < number):
            return str(next(iter(self._trouble.values())))
        if len(self._warm) < number:
            return f"starting: {len(self._ready)} of {number} workers ready, {len(self._warm)} warm"
        return "ok" if len(self._ready) == number else f"ok ({number - len(self._ready)} of {number} being replaced)"

    @property
    def ready(self) -> int:
        """How many processes can take a job."""
        return len(self._ready)

    async def until_warm(self) -> None:
        """Returns once every worker was warm, or one cannot start (`state` says which)."""
        while len(self._warm) < self.options.workers and not self._trouble:
            self._changed.clear()
            await self._changed.wait()

    async def inspect(self, original: Original) -> ImageFacts:
        """Decodes a picture in a worker.

        Raises:
            ImageError: where it cannot be judged; also where decoding it kills the worker or takes too long.
            WorkerError: where no worker runs.
        """
        head = {"do": "inspect", **original.model_dump(mode="json")}
        try:
            try:
                frame = await self._submit(head)
            except StoppedError as stopped:
                if not stopped.died:
                    raise
                frame = await self._submit(head)  # it may have died for another's sake: once more, in a fresh one
        except StoppedError as stopped:
            raise ImageError(
                f"The file cannot be decoded: decoding {stopped.reason}.",
                remedy="Open it in an image editor, save it as a JPEG or PNG, and send that.",
                code="decoding_stopped",
            ) from stopped
        if "facts" in frame.head:
            return ImageFacts.model_validate(frame.head["facts"])
        if "refused" not in frame.head:
            log.error("decoding_raised", error=frame.head.get("raised"), detail=frame.head.get("detail"))
        raise error_of(frame.head, "The picture could not be decoded")

    async def examine(self, tool: Detector, original: Original, budget: Budget, view: View | None = None) -> Examined:
        """Runs one tool over one picture, or over a view of it. Whatever the tool does, there is evidence.

        Raises:
            WorkerError, ConfigurationError: where no worker runs.
        """
        head = {"do": "examine", "tool": tool.name, "budget": budget.model_dump(), **original.model_dump(mode="json")}
        if view is not None:
            head["view"] = view.model_dump(mode="json")
        try:
            frame = await self._submit(head)
        except StoppedError as stopped:
            log.warning("tool_stopped", tool=tool.name, reason=stopped.reason, ms=stopped.ms)
            return Examined(abstention(tool, f"The tool {stopped.reason}.", stopped.ms), {})
        return _examined(tool, frame)

    async def _submit(self, head: dict[str, Any]) -> Frame:
        if len(self._trouble) == self.options.workers:
            raise next(iter(self._trouble.values()))
        if not self._slots:
            raise WorkerError("No worker runs.", remedy="Start the service first.")
        job = _Job(head, asyncio.get_running_loop().create_future())
        home = self._homes.get(head.get("tool", ""))
        (self._jobs if home is None or home in self._trouble else self._own[home]).append(job)
        self._work.set()
        return await job.reply

    async def _slot(self, number: int) -> None:
        """Keeps one process going for as long as the pool lives."""
        pause, again = _BACKOFF_S[0], False
        while True:
            if again:
                metrics.WORKER_RESTARTS.inc()
            again = True
            try:
                process = await WorkerProcess.start(self.options)
            except ExpositError as error:
                log.error("worker_start_failed", worker=number, error=str(error))
                self._trouble[number] = error
                self._changed.set()
                self._jobs.extend(self._own[number])  # the others do its work meanwhile
                self._own[number].clear()
                self._work.set()
                if len(self._trouble) == self.options.workers:
                    self._fail_waiting(error)
                await asyncio.sleep(pause)
                pause = min(pause * 2, _BACKOFF_S[1])
                continue
            pause = _BACKOFF_S[0]
            self._trouble.pop(number, None)
            self._ready.add(number)
            try:
                await self._serve(number, process)
            finally:
                self._ready.discard(number)
                await process.stop()

    async def _serve(self, number: int, process: WorkerProcess) -> None:
        """Gives jobs to a process until it ends or has grown too much."""
        most = process.rest_mb + self.options.memory_mb
        while (job := await self._next(number, process)) is not None:
            if isinstance(job, str):
                most = await self._warm_up(process, job)
                continue
            try:
                frame = await process.ask(job.head, timeout_s=self._limit(job.head), memory_mb=most)
            except StoppedError as stopped:
                _settle(job.reply, stopped)
                return
            except asyncio.CancelledError:
                _settle(job.reply, WorkerError("The service is closing."))
                raise
            _settle(job.reply, frame)
            if process.memory_mb() > (process.rest_mb + most) / 2:  # else it would be the next tool that pays
                log.info("worker_replaced", reason="it kept too much memory")
                return

    async def _next(self, number: int, process: WorkerProcess) -> _Job | str | None:
        """The next job, the name of a tool to warm up when there is none, or None when the process has ended."""
        while process.alive:
            for queue in (self._jobs, self._own[number]):
                while queue:
                    job = queue.popleft()
                    if not job.reply.done():  # else nobody waits for it any more
                        return job
            self._work.clear()
            process.cold = [
                name
                for name in process.cold
                if name not in self._never_warm and self._homes.get(name, number) == number
            ]
            if process.cold:
                return process.cold.pop(0)
            self._warm.add(number)
            self._changed.set()
            waiting = asyncio.create_task(self._work.wait())
            try:
                await asyncio.wait({waiting, process.reply}, return_when=asyncio.FIRST_COMPLETED)
            finally:
                waiting.cancel()
        return None

    async def _warm_up(self, process: WorkerProcess, tool: str) -> float:
        """Warms one tool and returns the most memory, in MiB, that the process may hold from now on."""
        most = process.rest_mb + self.options.memory_mb
        try:
            await process.ask({"do": "warm", "tool": tool}, timeout_s=self.options.timeout_s, memory_mb=most)
        except StoppedError as stopped:
            self._never_warm.add(tool)
            log.warning("tool_cannot_be_warmed", tool=tool, reason=stopped.reason)
        else:
            process.rest_mb = max(process.memory_mb(), process.rest_mb)
        return process.rest_mb + self.options.memory_mb

    def _limit(self, head: dict[str, Any]) -> float:
        """Seconds that a job may take: under the quick budget a tool that hangs must not hold the report up."""
        quick = "view" not in head and head.get("budget", {}).get("level") == "quick"  # a second look is never quick
        return min(self.options.timeout_s, QUICK_TIMEOUT_S) if quick else self.options.timeout_s

    def _fail_waiting(self, error: Exception) -> None:
        for queue in (self._jobs, *self._own):
            while queue:
                _settle(queue.popleft().reply, error)


def _homes(tools: Iterable[Detector], workers: int, loads: Mapping[str, float]) -> dict[str, int]:
    """The worker of each tool, by name; `loads` are the units that some of them take, second looks included."""
    load = [0.0] * workers
    homes = {}
    runnable = [tool for tool in tools if not isinstance(tool, Conditional) or tool.missing() is None]
    costs = {tool.name: loads.get(tool.name, tool.cost) for tool in runnable}
    for name in sorted(costs, key=lambda name: (-costs[name], name)):
        homes[name] = load.index(min(load))
        load[homes[name]] += costs[name]
    return homes


def _settle(reply: asyncio.Future[Frame], outcome: Frame | Exception) -> None:
    if reply.done():  # cancelled: nobody waits
        return
    if isinstance(outcome, Exception):
        reply.set_exception(outcome)
    else:
        reply.set_result(outcome)


def _examined(tool: Detector, frame: Frame) -> Examined:
    """The evidence in a worker's answer, checked; an abstention where the answer is none."""
    head = frame.head
    if "refused" in head:
        return Examined(abstention(tool, str(error_of(head, ""))), {})
    if "raised" in head:
        log.error("tool_raised", tool=tool.name, error=head["raised"], detail=head.get("detail"))
        what = "It ran out of memory" if head["raised"] == "MemoryError" else f"The tool failed ({head['raised']})"
        return Examined(abstention(tool, f"{what}."), {})
    nonsense = head.get("nonsense")
    if nonsense is None:
        try:
            evidence = Evidence.model_validate_json(head["evidence"])
        except (ValidationError, KeyError) as error:
            nonsense = "its evidence is not in the agreed form"
            log.error("tool_spoke_nonsense", tool=tool.name, detail=_fields(error))
        else:
            maps = {hashlib.sha256(png).hexdigest(): png for png in frame.blobs}
            nonsense = _objection(tool, evidence, maps)
            if nonsense is None:
                return Examined(evidence, maps)
    return Examined(abstention(tool, f"The tool's answer cannot be used: {nonsense}."), {})


def _fields(error: ValidationError | KeyError) -> list[str]:
    """What does not hold in a tool's answer, without what stands there instead."""
    if isinstance(error, KeyError):
        return [str(error)]
    return [f"{'.'.join(map(str, each['loc']))}: {each['type']}" for each in error.errors(include_input=False)][:20]


def _objection(tool: Detector, evidence: Evidence, maps: dict[str, bytes]) -> str | None:
    spoke = (evidence.detector, evidence.version, evidence.target)
    if spoke != (tool.name, tool.version, tool.target) or not evidence.id.startswith(tool.name):
        return f"it speaks in the name of {evidence.id!r} ({evidence.detector} {evidence.version}, {evidence.target})"
    if {each.sha256 for each in evidence.maps} != set(maps) or not all(png.startswith(_PNG) for png in maps.values()):
        return "its maps are not the pictures that it refers to"
    return None
