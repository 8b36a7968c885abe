"""A service of one's own to measure: `exposit serve` and `exposit worker` as processes, killed and started again."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path
from typing import Final, Self

import httpx

ROOT: Final = Path(__file__).resolve().parent.parent
_START_S: Final = 120.0


class Service:
    """The processes of one Exposit over one home; use as `with Service(home) as service`.

    Args:
        home: Database, originals and maps.
        workers: Processes of `exposit worker` beside the service.
    """

    def __init__(self, home: Path, *, workers: int = 0) -> None:
        self._home, self._workers = home, workers
        with socket.create_server(("127.0.0.1", 0)) as free:  # the same port after each start: clients keep the address
            self._port = free.getsockname()[1]
        self.url = f"http://127.0.0.1:{self._port}"
        self._app: subprocess.Popen[str] | None = None
        self._beside: list[subprocess.Popen[str]] = []

    def __enter__(self) -> Self:
        self.start_app()
        for _ in range(self._workers):
            self._beside.append(self._run("worker"))
        return self

    def __exit__(self, *exc: object) -> None:
        for process in (*self._beside, self._app):
            if process is not None:
                process.terminate()
        for process in (*self._beside, self._app):
            if process is not None:
                try:
                    process.wait(60)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()

    def start_app(self) -> None:
        """Starts the service and returns once its tools are warm.

        Raises:
            RuntimeError: where it ends or is not ready in time.
        """
        self._app = self._run("serve", "--port", str(self._port))
        assert self._app.stdout is not None  # noqa: S101
        said = self._app.stdout.readline()
        if not said.startswith("Exposit is ready"):
            raise RuntimeError("The service did not start; what it logged stands above.")
        threading.Thread(target=self._app.stdout.read, daemon=True).start()
        ended = threading.Event()
        for _ in range(int(_START_S * 2)):
            if httpx.get(f"{self.url}/readyz", timeout=30).status_code == 200:
                return
            ended.wait(0.5)
        raise RuntimeError(f"The service was not ready within {_START_S:g} s.")

    def kill_app(self) -> None:
        """Ends the service by SIGKILL, as a power cut would."""
        assert self._app is not None  # noqa: S101
        self._app.send_signal(signal.SIGKILL)
        self._app.wait()

    def kill_worker(self) -> str:
        """Ends a worker by SIGKILL and starts another: `exposit worker` where one runs, else a process of the tools."""
        if self._beside:
            gone = self._beside.pop(0)
            gone.send_signal(signal.SIGKILL)
            gone.wait()
            self._beside.append(self._run("worker"))
            return "exposit worker"
        assert self._app is not None  # noqa: S101
        os.kill(_child(self._app.pid, "agent.worker"), signal.SIGKILL)  # the service starts another by itself
        return "a process that runs tools"

    def _run(self, *command: str) -> subprocess.Popen[str]:
        environment = os.environ | {
            "EXPOSIT_HOME": str(self._home), "EXPOSIT_VLM": "template", "EXPOSIT_LOG_LEVEL": "error",
        }  # fmt: skip
        return subprocess.Popen(  # noqa: S603  # our own command
            [sys.executable, "-m", "ui.cli", *command], cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True
        )


def _child(parent: int, module: str) -> int:
    """A process of `python -m module` below `parent` (Linux)."""
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            try:
                status = (entry / "stat").read_text().rpartition(")")[2].split()
                arguments = (entry / "cmdline").read_bytes().split(b"\0")
            except OSError:  # it has ended meanwhile
                continue
            if int(status[1]) == parent and module.encode() in arguments:
                return int(entry.name)
    raise RuntimeError(f"No process of {module} runs.")
