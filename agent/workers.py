"""Supervises the worker processes that decode pictures and run the tools.

A tool runs in a process, since a thread cannot be killed. A process that hangs, dies or takes too much memory is
killed and replaced; its job becomes an abstention with the reason, and the other jobs go on. Nothing is forked: each
worker is a fresh interpreter (`agent.worker`), and its parent reads from it data only (`agent.wire`).
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections import deque
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, NamedTuple, Self

from pydantic import ValidationError

import tools.errors as errors
from agent.telemetry import log
from agent.verdict import ImageFacts
from agent.wire import BrokenFrameError, Frame, pack, receive
from tools.contract import Budget, Detector, Evidence, Frozen
from tools.errors import ConfigurationError, ImageError, WorkerError
from tools.image import Limits

_POLL_S: Final = 0.05
_START_S: Final = 120.0
_BACKOFF_S: Final = (0.5, 30.0)
_SECRETS: Final = ("EXPOSIT_DATABASE_URL", "EXPOSIT_VLM_API_KEY")
_PNG: Final = b"\x89PNG\r\n\x1a\n"
_GONE: Final = (asyncio.IncompleteReadError, ConnectionError, BrokenFrameError)


class Original(Frozen):
    """A stored original, as a worker is told of it."""

    path: Path
    sha256: str
    name: str


class Examined(NamedTuple):
    """What a tool gave: its evidence, and the PNGs of its maps by sha256."""

    evidence: Evidence
    maps: dict[str, bytes]


@dataclass(frozen=True, kw_only=True)
class WorkerOptions:
    """How the workers run.

    Attributes:
        catalogue: `module:function` that gives the detectors by name; each worker imports it itself.
        memory_mb: Memory a worker may take beyond what it holds at rest, in MiB.
        timeout_s: Seconds after which a job is stopped.
        cache_pixels: Decoded pixels that a worker keeps between jobs.
        warm: Run each tool once over a made picture, so that its weights are loaded before the first request.
    """

    catalogue: str = "tools.catalogue:detectors"
    workers: int = 2
    timeout_s: float = 30.0
    memory_mb: int = 2048
    limits: Limits = field(default_factory=Limits)
    trust_list: Path | None = None
    cache_pixels: int = 16_000_000
    warm: bool = True


def abstention(tool: Detector, because: str, ms: float = 0.0) -> Evidence:
    """Evidence in the name of a tool that could not speak for itself."""
    return Evidence(
        id=tool.name, detector=tool.name, version=tool.version, target=tool.target, abstained_because=because, ms=ms
    )


class StoppedError(Exception):
    """A job ended with its process; `reason` completes a sentence that begins with what was run."""

    def __init__(self, reason: str, ms: float, *, died: bool) -> None:
        super().__init__(reason)
        self.reason, self.ms, self.died = reason, ms, died


@dataclass(eq=False)
class _Job:
    head: dict[str, Any]
    reply: asyncio.Future[Frame]


class _Process:
    """One worker process and the socket to it. A read is always pending, so that its end is noticed at once."""

    def __init__(self, popen: subprocess.Popen[bytes], streams: tuple[asyncio.StreamReader, asyncio.StreamWriter]):
        self._popen = popen
        self._reader, self._writer = streams
        self.reply = asyncio.create_task(receive(self._reader))
        self.cold: list[str] = []
        self.rest_mb = 0.0

    @classmethod
    async def start(cls, options: WorkerOptions) -> Self:
        """Starts a worker and waits until it has loaded the catalogue.

        Raises:
            ConfigurationError: where it says what is wrong; WorkerError: where it ends without a word.
        """
        ours, theirs = socket.socketpair()
        with theirs:
            popen = _spawn(theirs, options)
        try:
            process = cls(popen, await asyncio.open_unix_connection(sock=ours))
        except BaseException:  # cancelled: the service is closing
            ours.close()
            popen.kill()
            await asyncio.shield(asyncio.to_thread(popen.wait))
            raise
        try:
            start = {
                "catalogue": options.catalogue, "limits": options.limits.model_dump(),
                "cache_pixels": options.cache_pixels,
                "trust_list": None if options.trust_list is None else str(options.trust_list),
            }  # fmt: skip
            frame = await process.ask(start, timeout_s=_START_S, memory_mb=None)
        except BaseException as error:
            await process.stop()
            if isinstance(error, StoppedError):
                raise WorkerError(f"A worker did not start: {error.reason}.") from error
            raise
        if "ready" not in frame.head:
            await process.stop()
            log.error("worker_refused_to_start", detail=frame.head.get("detail"))
            raise _error_of(frame.head, "A worker could not load the tools")
        process.cold = list(frame.head["ready"]) if options.warm else []
        process.rest_mb = process.memory_mb()
        return process

    @property
    def alive(self) -> bool:
        """Whether it can take a job."""
        return not self.reply.done()

    def memory_mb(self) -> float:
        """Resident memory in MiB; 0 where the kernel does not tell (no /proc) or the process has ended."""
        try:
            with open(f"/proc/{self._popen.pid}/statm", "rb") as file:
                return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20
        except (OSError, IndexError):
            return 0.0

    async def ask(self, head: dict[str, Any], *, timeout_s: float, memory_mb: float | None) -> Frame:
        """Sends a job and waits for the answer. After `StoppedError` the process is dead.

        Args:
            head: The job.
            timeout_s: Seconds it may take.
            memory_mb: MiB of resident memory the process may hold; None for no bound.
        """
        began = time.monotonic()
        reason, died = "", False
        try:
            self._writer.write(pack(Frame(head)))
            while not reason:
                left = timeout_s - (time.monotonic() - began)
                await asyncio.wait({self.reply}, timeout=max(min(_POLL_S, left), 0))
                if self.reply.done():
                    frame = self.reply.result()
                    self.reply = asyncio.create_task(receive(self._reader))
                    return frame
                if left <= 0:
                    reason = f"was stopped after {timeout_s:g} s"
                elif memory_mb is not None and self.memory_mb() > memory_mb:
                    reason = f"was stopped because it took more than {memory_mb - self.rest_mb:.0f} MiB of memory"
        except _GONE as error:
            await self.stop()
            reason, died = f"ended unexpectedly ({_ending(self._popen.returncode, error)})", True
        await self.stop()
        raise StoppedError(reason, round((time.monotonic() - began) * 1000, 1), died=died)

    async def stop(self) -> None:
        """Ends the process, if it still lives, and leaves no zombie. A worker holds nothing that could be lost."""
        if self._popen.returncode is None:
            if not self.reply.done() or self.reply.cancelled() or isinstance(self.reply.exception(), BrokenFrameError):
                self._popen.kill()
            try:
                await asyncio.to_thread(self._popen.wait, 1.0)  # it closed its socket: its own status tells why
            except subprocess.TimeoutExpired:
                self._popen.kill()
                await asyncio.to_thread(self._popen.wait)
        self.reply.cancel()
        await asyncio.wait({self.reply})
        if not self.reply.cancelled():
            self.reply.exception()  # was told already
        self._writer.close()
        try:
            await self._writer.wait_closed()
        except ConnectionError:
            log.debug("worker_socket_was_gone")


class Workers:
    """A pool of worker processes. `start` returns at once: they come up in the background."""

    def __init__(self, options: WorkerOptions) -> None:
        self.options = options
        self._jobs: deque[_Job] = deque()
        self._work = asyncio.Event()
        self._slots: list[asyncio.Task[None]] = []
        self._trouble: dict[int, errors.ExpositError] = {}
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
        """`ok` when every worker is warm, else what is wrong or still under way."""
        if self._trouble:
            return str(next(iter(self._trouble.values())))
        if len(self._warm) < self.options.workers:
            return f"starting: {len(self._ready)} of {self.options.workers} workers ready, {len(self._warm)} warm"
        return "ok"

    async def until_warm(self) -> None:
        """Returns once every worker is warm, or one cannot start (`state` says which)."""
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
        raise _error_of(frame.head, "The picture could not be decoded")

    async def examine(self, tool: Detector, original: Original, budget: Budget) -> Examined:
        """Runs one tool over one picture. Whatever the tool does, there is evidence: at worst an abstention.

        Raises:
            WorkerError, ConfigurationError: where no worker runs.
        """
        head = {"do": "examine", "tool": tool.name, "budget": budget.model_dump(), **original.model_dump(mode="json")}
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
        self._jobs.append(job)
        self._work.set()
        return await job.reply

    async def _slot(self, number: int) -> None:
        """Keeps one process going for as long as the pool lives."""
        pause = _BACKOFF_S[0]
        while True:
            try:
                process = await _Process.start(self.options)
            except errors.ExpositError as error:
                log.error("worker_start_failed", worker=number, error=str(error))
                self._trouble[number] = error
                self._changed.set()
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
                self._warm.discard(number)
                await process.stop()

    async def _serve(self, number: int, process: _Process) -> None:
        """Gives jobs to a process until it ends or has grown too much."""
        most = process.rest_mb + self.options.memory_mb
        while (job := await self._next(number, process)) is not None:
            if isinstance(job, str):
                most = await self._warm_up(process, job)
                continue
            try:
                frame = await process.ask(job.head, timeout_s=self.options.timeout_s, memory_mb=most)
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

    async def _next(self, number: int, process: _Process) -> _Job | str | None:
        """The next job, the name of a tool to warm up when there is none, or None when the process has ended."""
        while process.alive:
            while self._jobs:
                job = self._jobs.popleft()
                if not job.reply.done():  # else nobody waits for it any more
                    return job
            self._work.clear()
            process.cold = [name for name in process.cold if name not in self._never_warm]
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

    async def _warm_up(self, process: _Process, tool: str) -> float:
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

    def _fail_waiting(self, error: Exception) -> None:
        while self._jobs:
            _settle(self._jobs.popleft().reply, error)


def _settle(reply: asyncio.Future[Frame], outcome: Frame | Exception) -> None:
    if reply.done():  # cancelled: nobody waits
        return
    if isinstance(outcome, Exception):
        reply.set_exception(outcome)
    else:
        reply.set_result(outcome)


def _spawn(theirs: socket.socket, options: WorkerOptions) -> subprocess.Popen[bytes]:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    threads = str(max(1, cores // options.workers))
    environment = {name: value for name, value in os.environ.items() if name not in _SECRETS}
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):  # torch and NumPy heed them
        environment.setdefault(name, threads)
    # the same modules as ours, whatever the working folder holds (-P), and nothing fetched from a hub
    environment |= {"PYTHONPATH": os.pathsep.join(sys.path), "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
    return subprocess.Popen(  # noqa: S603 - our own interpreter and module
        [sys.executable, "-P", "-m", "agent.worker", str(theirs.fileno()), str(os.getpid())],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,  # standard output is the report's
        stderr=None if os.environ.get("EXPOSIT_LOG_LEVEL") == "debug" else subprocess.DEVNULL,
        pass_fds=[theirs.fileno()],
        env=environment,
        start_new_session=True,  # Ctrl-C is the service's to handle
    )


def _ending(status: int | None, error: BaseException) -> str:
    if isinstance(error, BrokenFrameError):
        return f"it sent {error}"
    if status is not None and status < 0:
        return f"signal {signal.Signals(-status).name}"
    return f"exit status {status}"


def _error_of(head: dict[str, Any], what: str) -> errors.ExpositError:
    """The error that a worker told of, as the class it had there."""
    refused = head.get("refused")
    if refused is None:
        return WorkerError(f"{what} ({head.get('raised')}).", remedy="The log says more.")
    kind = getattr(errors, str(refused["kind"]), ConfigurationError)
    error: errors.ExpositError = kind(refused["message"], remedy=refused["remedy"], code=refused["code"])
    return error


def _examined(tool: Detector, frame: Frame) -> Examined:
    """The evidence in a worker's answer, checked; an abstention where the answer is none."""
    head = frame.head
    if "refused" in head:
        return Examined(abstention(tool, str(_error_of(head, ""))), {})
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
            log.error("tool_spoke_nonsense", tool=tool.name, detail=str(error)[:2000])
        else:
            maps = {hashlib.sha256(png).hexdigest(): png for png in frame.blobs}
            nonsense = _objection(tool, evidence, maps)
            if nonsense is None:
                return Examined(evidence, maps)
    return Examined(abstention(tool, f"The tool's answer cannot be used: {nonsense}."), {})


def _objection(tool: Detector, evidence: Evidence, maps: dict[str, bytes]) -> str | None:
    spoke = (evidence.detector, evidence.version, evidence.target)
    if spoke != (tool.name, tool.version, tool.target) or not evidence.id.startswith(tool.name):
        return f"it speaks in the name of {evidence.id!r} ({evidence.detector} {evidence.version}, {evidence.target})"
    if {each.sha256 for each in evidence.maps} != set(maps) or not all(png.startswith(_PNG) for png in maps.values()):
        return "its maps are not the pictures that it refers to"
    return None
