"""Runs the application under uvicorn, says when it listens, and ends in order."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
from collections.abc import Callable, Iterator

import uvicorn

from agent.service import Explainer
from agent.settings import Settings
from tools.errors import ConfigurationError
from ui import keys
from ui.api import create_app
from ui.bounds import BoundedHeads


class _Server(uvicorn.Server):
    """A server that says when it is ready and leaves the process to its caller when it is told to stop."""

    def __init__(self, config: uvicorn.Config, ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._ready = ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            self._ready()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        # uvicorn's own raises the signal once more in the end, which would kill the process before the Explainer is
        # closed.
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self.handle_exit, number, None)
        try:
            yield
        finally:
            for number in (signal.SIGINT, signal.SIGTERM):
                loop.remove_signal_handler(number)


async def serve(settings: Settings, explainer: Explainer, host: str, port: int, *, say: Callable[[str], None]) -> None:
    """Serves until SIGINT or SIGTERM. `say` is told the address once it listens.

    Raises:
        ConfigurationError: where the port is taken, the address is not this machine's, or keys are asked for and there
            is none.
    """
    guarded = keys.required(settings, host)
    if guarded and all(key.revoked_at for key in await explainer.keys.list()):
        raise ConfigurationError(
            f"Whoever reaches {host} could use this service: it asks for a key there, and none has been made.",
            remedy="Make one with `exposit keys create NAME --scope submit --scope read`, or set EXPOSIT_KEYS=off "
            "where something else guards it.",
        )
    listening = _listen(host, port)
    shown = "127.0.0.1" if host == "0.0.0.0" else f"[{host}]" if ":" in host else host  # noqa: S104
    address = f"http://{shown}:{listening.getsockname()[1]}"
    app = create_app(settings, explainer, guarded=guarded)
    config = uvicorn.Config(
        app, http=BoundedHeads, log_config=None, log_level=settings.log_level, access_log=False,
        server_header=False, timeout_graceful_shutdown=5, timeout_keep_alive=15, lifespan="on",
    )  # fmt: skip
    with listening:
        await _Server(config, lambda: say(f"Exposit is ready: {address}")).serve([listening])


def _listen(host: str, port: int) -> socket.socket:
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        return socket.create_server((host, port), family=family, backlog=128)
    except OSError as error:
        raise ConfigurationError(
            f"{host} port {port} cannot be listened on: {error.strerror or error}.",
            remedy="Choose another with --port (0 takes a free one), or stop what uses it.",
        ) from error
