"""An app or a worker over fake tools, as a program: `python tests/ui/serve_jobs.py app|worker`; EXPOSIT_HOME is set."""

from __future__ import annotations

import asyncio
import signal
import socket
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent))

import uvicorn

from agent.service import Explainer
from agent.settings import Settings
from ui.api import create_app
from ui.server import _Server
from ui.web import Web


async def main(role: str) -> None:
    settings = Settings(workers=1, vlm="template")
    catalogue = "tests.agent.fake_tools:unhurried"
    async with Explainer(settings, catalogue=catalogue, warm=False, outside=Web(settings)) as explainer:
        if role == "worker":
            told = asyncio.Event()
            asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, told.set)
            assert await explainer.until_on_duty()
            print("works", flush=True)  # noqa: T201
            await told.wait()
            return
        with socket.create_server(("127.0.0.1", 0)) as listening:
            config = uvicorn.Config(create_app(settings, explainer, chat=False), log_config=None)
            address = f"http://127.0.0.1:{listening.getsockname()[1]}"
            await _Server(config, lambda: print(address, flush=True)).serve([listening])  # noqa: T201


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
