"""The whole service over quick detectors: `python -m tests.ui.desk.serve [keys]`. Nothing else of it is faked.

With `keys` it asks for a key, and first prints two: one that opens everything, one that only reads.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Mapping

from agent import telemetry
from agent.service import Explainer
from agent.settings import Settings
from tests.conftest import encoded, picture
from tests.ui.desk.tools import calibration
from tools.errors import FetchError
from ui.server import serve


class Nowhere:
    """The way out, without one: the only picture of the web is made here."""

    async def fetch(self, url: str) -> tuple[bytes, str]:
        if "missing" in url:
            raise FetchError("The server answers 404.", remedy="Check the address.", code="fetch_status")
        return encoded(picture(320, 240, seed=9)), "from-the-web.jpg"

    async def post(self, url: str, body: bytes, headers: Mapping[str, str]) -> int:
        raise NotImplementedError


def say(text: str) -> None:
    print(text, flush=True)  # noqa: T201


async def main(guarded: bool) -> None:
    settings = Settings(vlm="template", workers=1, keys="on" if guarded else "off", review="always")
    telemetry.configure("error")
    catalogue = "tests.ui.desk.tools:catalogue"
    async with Explainer(
        settings, catalogue=catalogue, calibration=calibration(), warm=False, outside=Nowhere()
    ) as explainer:
        if guarded:
            _, everything = await explainer.keys.create("Ann Ames", ["read", "submit", "review"])
            _, reading = await explainer.keys.create("Ben Boon", ["read"])
            say(f"{everything} {reading}")
        await serve(settings, explainer, "127.0.0.1", 0, say=say)


if __name__ == "__main__":
    asyncio.run(main("keys" in sys.argv))
