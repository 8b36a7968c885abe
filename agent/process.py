"""One worker process and the socket to it: started, asked, watched and, where it must be, killed.

Nothing is forked: a worker is a fresh interpreter (`agent.worker`), and its parent reads from it data only
(`agent.wire`).
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Self

import tools.errors as errors
from agent.telemetry import log
from agent.wire import BrokenFrameError, Frame, pack, receive
from tools.errors import ConfigurationError, WorkerError
from tools.image import Limits

_POLL_S: Final = 0.05
_START_S: Final = 120.0
_SECRETS: Final = ("EXPOSIT_DATABASE_URL", "EXPOSIT_VLM_API_KEY")
_GONE: Final = (asyncio.IncompleteReadError, ConnectionError, BrokenFrameError)


@dataclass(frozen=True, kw_only=True)
class WorkerOptions:
    """How the workers run.

    Attributes:
        catalogue: `module:function` that gives the detectors by name; each worker imports it itself.
        inversion_model: Models that `inversion_sd` reads, as `tools.borrowed.use_inversion_model` takes them.
        memory_mb: Memory a worker may take beyond what it holds at rest, in MiB.
        timeout_s: Seconds after which a job is stopped.
        weights: Cache of fetched weights.
        cache_pixels: Decoded pixels that a worker keeps between jobs.
        warm: Run each tool once over a made picture, so that its weights are loaded before the first request.
        talkative: Let what tools print to standard error through.
    """

    catalogue: str = "tools.catalogue:detectors"
    workers: int = 2
    inversion_model: str | None = None
    timeout_s: float = 30.0
    memory_mb: int = 2048
    limits: Limits = field(default_factory=Limits)
    trust_list: Path | None = None
    weights: Path | None = None
    cache_pixels: int = 16_000_000
    warm: bool = True
    talkative: bool = False


class StoppedError(Exception):
    """A job ended with its process; `reason` completes a sentence that begins with what was run."""

    def __init__(self, reason: str, ms: float, *, died: bool) -> None:
        super().__init__(reason)
        self.reason, self.ms, self.died = reason, ms, died


class WorkerProcess:
    """A running worker. A read is always pending, so that its end is noticed at once.

    Attributes:
        reply: The frame that is read next; done while no job is under way means that the process has ended.
        cold: Tools that were not run in this process yet, to be warmed up.
        rest_mb: Memory it holds at rest, in MiB.
    """

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
                "inversion_model": options.inversion_model,
                "cache_pixels": options.cache_pixels,
                "trust_list": None if options.trust_list is None else str(options.trust_list),
                "weights": None if options.weights is None else str(options.weights),
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
            raise error_of(frame.head, "A worker could not load the tools")
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


def _spawn(theirs: socket.socket, options: WorkerOptions) -> subprocess.Popen[bytes]:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    threads = str(max(1, cores // options.workers))
    environment = {name: value for name, value in os.environ.items() if name not in _SECRETS}
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):  # torch and NumPy heed them
        environment.setdefault(name, threads)
    # one heap, and large blocks given back: pictures and models come and go, and what is freed must not stay taken
    for name, value in (("ARENA_MAX", "1"), ("MMAP_THRESHOLD_", "16777216"), ("TRIM_THRESHOLD_", "16777216")):
        environment.setdefault(f"MALLOC_{name}", value)
    # the same modules as ours, whatever the working folder holds (-P), and nothing fetched from a hub
    environment |= {"PYTHONPATH": os.pathsep.join(sys.path), "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
    return subprocess.Popen(  # noqa: S603 - our own interpreter and module
        [sys.executable, "-P", "-m", "agent.worker", str(theirs.fileno()), str(os.getpid())],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,  # standard output is the report's
        stderr=None if options.talkative else subprocess.DEVNULL,
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


def error_of(head: dict[str, Any], what: str) -> errors.ExpositError:
    """The error that a worker told of, as the class it had there."""
    refused = head.get("refused")
    if refused is None:
        return WorkerError(f"{what} ({head.get('raised')}).", remedy="The log says more.")
    kind = getattr(errors, str(refused["kind"]), ConfigurationError)
    error: errors.ExpositError = kind(refused["message"], remedy=refused["remedy"], code=refused["code"])
    return error
