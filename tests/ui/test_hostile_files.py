"""Strange, broken and signed files through the real API: an honest answer or a distinct refusal, never a 500."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio

from agent.service import Explainer
from agent.settings import Settings
from tests.conftest import encoded, picture
from tests.tools.test_provenance_shared import TABLE
from tools.image import REFUSALS
from ui.api import create_app

STATE_OF_PROVENANCE = {name: row[0] for name, row in TABLE.items()}

# file: label it must have, labels that nothing may give it
DECIDES: dict[str, tuple[str, ...]] = {
    # No signer here is on the trust list: nothing is decided by a signature, and no camera claim counts.
    **dict.fromkeys(TABLE, ("no_evidence", "inconclusive", "generated", "edited")),
    # Unsigned recipes of a generator are strong, so that the picture is called what they say.
    "comfyui-lora.png": ("generated",),
    "comfyui-lora_multiple.png": ("generated",),
    "comfyui-inpaint_example.png": ("edited",),
}


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def client(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[httpx.AsyncClient]:
    settings = Settings(home=tmp_path_factory.mktemp("home"), vlm="template", log_level="error")
    async with Explainer(settings) as explainer:
        transport = httpx.ASGITransport(app=create_app(settings, explainer, chat=False), raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://test", timeout=120) as http:
            yield http


async def explain(client: httpx.AsyncClient, data: bytes, name: str, budget: str = "standard") -> httpx.Response:
    return await client.post("/v1/explanations", files={"file": (name, data)}, data={"budget": budget})


def check(response: httpx.Response) -> str:
    """The label, or the code of the refusal; asserts that it is one or the other and complete."""
    body: dict[str, Any] = response.json()
    if response.status_code == 200:
        assert body["verdict"]["p_generated"] is not None
        assert body["explanation"], "a verdict comes with its explanation"
        return str(body["verdict"]["label"])
    assert response.status_code in (413, 415, 422), body
    assert response.headers["content-type"] == "application/problem+json"
    assert body["code"] in REFUSALS
    assert body["remedy"] == REFUSALS[body["code"]]
    assert "verdict" not in body
    return str(body["code"])


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.timeout(600)
async def test_every_shared_odd_and_signed_file(client: httpx.AsyncClient, shared: Path) -> None:
    files = [*sorted((shared / "odd").iterdir()), *sorted((shared / "provenance").iterdir())]
    assert len(files) >= 30
    for path in files:
        response = await explain(client, path.read_bytes(), path.name)
        label = check(response)
        assert response.status_code == 200, f"{path.name}: {label}"
        report = response.json()
        provenance = next(item for item in report["evidence"] if item["detector"] == "provenance")
        if path.parent.name == "provenance":
            assert provenance["measurements"]["c2pa_state"] == STATE_OF_PROVENANCE[path.name], path.name
            assert label in DECIDES[path.name], path.name
        assert label != "authentic", path.name
        assert report["verdict"]["decided_by"] == "fusion", path.name


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.timeout(600)
async def test_two_hundred_fuzzed_files(client: httpx.AsyncClient) -> None:
    """Truncated, flipped and spliced files of each format; those that still decode may be judged, the rest may not."""
    rng = random.Random(7)
    small = picture(96, 64)
    seeds = [
        (fmt, encoded(small, fmt, **options))
        for fmt, options in (
            ("JPEG", {"quality": 90}), ("PNG", {}), ("WEBP", {}), ("GIF", {}), ("BMP", {}), ("TIFF", {}), ("AVIF", {}),
        )
    ]  # fmt: skip
    outcomes: dict[str, int] = {}
    for number in range(200):
        fmt, seed = seeds[number % len(seeds)]
        data = bytearray(seed)
        for _ in range(rng.randrange(1, 12)):
            at = rng.randrange(len(data))
            data[at : at + rng.randrange(1, 5)] = rng.randbytes(rng.randrange(1, 5))
        if number % 3 == 0:
            data = data[: rng.randrange(1, len(data))]
        response = await explain(client, bytes(data), f"fuzz-{number}.{fmt.lower()}", "quick")
        outcome = check(response)
        outcomes[outcome] = outcomes.get(outcome, 0) + 1
    assert sum(outcomes.values()) == 200
    assert len(outcomes) >= 4, outcomes


@pytest.mark.asyncio(loop_scope="module")
async def test_the_same_bytes_give_the_same_report(client: httpx.AsyncClient) -> None:
    data = encoded(picture(512, 384), quality=88)
    first, second = await asyncio.gather(*(explain(client, data, "twice.jpg") for _ in range(2)))
    bodies = [response.json() for response in (first, second)]
    assert bodies[0]["case_id"] != bodies[1]["case_id"]
    for body in bodies:
        for key in ("case_id", "created_at", "timings"):
            del body[key]
        for item in body["evidence"]:
            del item["ms"]
    assert bodies[0] == bodies[1]
