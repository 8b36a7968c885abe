"""Hostile addresses, servers, files and uploads at the API: each is refused with its own code, in bounded time."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
import uvicorn

from agent.settings import Settings
from tests.conftest import encoded, picture
from tests.tools.test_image import REFUSED
from tests.ui.fakes import FakeExplainer
from tests.ui.hostile import ADDRESSES, ANSWERS, NAMES, REDIRECTS, SLOW, answer, says, served
from tests.ui.test_api import refused
from tests.ui.test_fetch import local, resolver
from tools.image import REFUSALS
from ui import bounds
from ui.api import create_app
from ui.fetch import FetchRules
from ui.mcp import server
from ui.problems import STATUSES

JPEG = encoded(picture(64, 48))


@contextlib.asynccontextmanager
async def asking(rules: FetchRules, fake: FakeExplainer | None = None) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the API where addresses are fetched by `rules`."""
    app = create_app(Settings(), fake or FakeExplainer(Settings()), chat=False, rules=rules)
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://test", timeout=30) as client:
        yield client


async def refused_url(client: httpx.AsyncClient, url: str, code: str) -> None:
    body = refused(await client.post("/v1/explanations", json={"url": url}), STATUSES.get(code, 422), code)
    assert body["remedy"]
    assert "Traceback" not in str(body)


async def test_hostile_addresses_at_the_api_and_over_mcp() -> None:
    from mcp import Client

    resolve, asked = resolver(["8.8.8.8"])
    fake, rules = FakeExplainer(Settings()), FetchRules(max_bytes=1000, resolve=resolve)
    async with asking(rules, fake) as client, Client(server(fake, Settings(), rules=rules)) as agent:
        for url, code in ADDRESSES:
            await refused_url(client, url, code)
            told = await agent.call_tool("explain", {"url": url})
            assert told.is_error, url
            assert f"(code: {code})" in told.content[0].text, url  # type: ignore[union-attr]
    assert asked == []
    assert fake.seen == []


async def test_names_and_redirects_that_lead_inside() -> None:
    for name, found in NAMES:
        async with asking(FetchRules(max_bytes=1000, resolve=resolver(found)[0])) as client:
            await refused_url(client, f"http://{name}/a.jpg", "address_refused")
    for location, code in REDIRECTS:
        reply = says(answer("302 Found", Location=location))
        async with served(reply) as (port, _), asking(local(port, ports=frozenset({port, 80}))[0]) as client:
            await refused_url(client, f"http://a.example:{port}/", code)


async def test_a_name_server_that_changes_its_mind_changes_nothing() -> None:
    """DNS rebinding: the name is looked up once for each hop, and the address that was vetted is connected to."""
    async with served(says(answer("200 OK", JPEG))) as (port, _):
        rules, asked = local(port, [["127.0.0.1"], ["127.0.0.2"]], max_bytes=2**20)
        async with asking(rules) as client:
            told = await client.post("/v1/explanations", json={"url": f"http://a.example:{port}/a.jpg"})
    assert told.status_code == 200
    assert asked == ["a.example"]


async def test_servers_that_answer_with_something_else_or_never() -> None:
    for _, raw, code in ANSWERS:
        async with served(says(raw)) as (port, _), asking(local(port)[0]) as client:
            await refused_url(client, f"http://a.example:{port}/", code)
    for reply in SLOW.values():
        async with served(reply) as (port, _), asking(local(port, max_seconds=0.2)[0]) as client:
            await refused_url(client, f"http://a.example:{port}/", "fetch_timeout")


async def test_files_that_are_no_picture_or_a_bomb() -> None:
    assert set(REFUSED) == set(REFUSALS)
    async with asking(FetchRules(max_bytes=1000)) as client:
        for code, data in REFUSED.items():
            told = await client.post("/v1/explanations", files={"file": ("a.jpg", data)})
            assert refused(told, STATUSES.get(code, 422), code)["remedy"] == REFUSALS[code]


async def slowly(count: int, begin: bytes = b"") -> AsyncIterator[bytes]:
    """A body that comes a byte at a time."""
    yield begin
    for _ in range(count):
        await asyncio.sleep(0.02)
        yield b"x"


FORM = {"Content-Type": "multipart/form-data; boundary=b"}
PART = b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.jpg"\r\n\r\n'
ASKS = "/v1/cases/case-0001/questions"


@pytest.mark.parametrize(
    ("path", "headers", "begin"),
    [
        ("/v1/explanations", FORM, PART),
        ("/v1/explanations", {"Content-Type": "application/json"}, b'{"url": "'),
        (ASKS, {"Content-Type": "application/json"}, b'{"question": "'),
        (ASKS, FORM, PART),
        ("/v1/cases/case-0001/reviews", {}, b"{"),
    ],
)
async def test_an_upload_that_drips_is_cut_off(
    monkeypatch: pytest.MonkeyPatch, path: str, headers: dict[str, str], begin: bytes
) -> None:
    monkeypatch.setattr(bounds, "BODY_S", 0.2)
    async with asking(FetchRules(max_bytes=1000)) as client:
        began = time.monotonic()
        refused(await client.post(path, content=slowly(200, begin), headers=headers), 408, "upload_too_slow")
    assert time.monotonic() - began < 2


async def test_an_upload_that_comes_at_a_fair_rate_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounds, "BODY_S", 0.2)

    async def fairly() -> AsyncIterator[bytes]:
        yield PART + JPEG
        for _ in range(10):
            await asyncio.sleep(0.05)
            yield bytes(2**14)
        yield b"\r\n--b--\r\n"

    async with asking(FetchRules(max_bytes=1000)) as client:
        assert (await client.post("/v1/explanations", content=fairly(), headers=FORM)).status_code == 200


@pytest.mark.parametrize("told", [True, False])
@pytest.mark.parametrize("headers", [{"Content-Type": "application/json"}, FORM, {}])
async def test_a_body_without_an_end_is_cut_off_where_no_picture_is_taken(told: bool, headers: dict[str, str]) -> None:
    sent = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal sent
        while sent < 200:
            sent += 1
            yield bytes(2**16)

    more = {"Content-Length": str(200 * 2**16)} if told else {}
    async with asking(FetchRules(max_bytes=1000)) as client:
        refused(await client.post(ASKS, content=endless(), headers=headers | more), 413, "body_too_large")
    assert sent == 0 if told else sent < 40


# -- at the socket ---------------------------------------------------------------------------------------------------


@pytest.fixture
async def port(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> AsyncIterator[int]:
    """A real server whose patience with heads is short."""
    monkeypatch.setattr(bounds, "HEAD_S", 0.3)
    monkeypatch.setattr(bounds, "BODY_S", 0.3)
    app = create_app(Settings(max_upload_mb=1), FakeExplainer(Settings(max_upload_mb=1)), chat=False)
    config = uvicorn.Config(app, http=bounds.BoundedHeads, log_config=None, port=0, host="127.0.0.1", lifespan="off")
    running = uvicorn.Server(config)
    running.capture_signals = contextlib.nullcontext  # type: ignore[method-assign, assignment]
    task = asyncio.create_task(running.serve())
    while not running.started:  # noqa: ASYNC110
        await asyncio.sleep(0.01)
    yield running.servers[0].sockets[0].getsockname()[1]
    running.should_exit = True
    await task


async def until_closed(port: int, *parts: bytes, pause: float = 0.05) -> tuple[bytes, float]:
    """Sends `parts`, the last one again and again, until the other side closes; what it said and after how long."""
    began = time.monotonic()
    reader, writer = await asyncio.open_connection("127.0.0.1", port)

    async def sending() -> None:
        with contextlib.suppress(ConnectionError):
            for part in parts:
                writer.write(part)
            while True:
                await asyncio.sleep(pause)
                writer.write(parts[-1])
                await writer.drain()

    task = asyncio.create_task(sending())
    said = b""
    with contextlib.suppress(ConnectionError):
        async with asyncio.timeout(5):
            while part := await reader.read(2**16):
                said += part
    task.cancel()
    writer.close()
    with contextlib.suppress(ConnectionError):
        await writer.wait_closed()
    return said, time.monotonic() - began


async def test_a_head_that_drips_is_cut_off(port: int) -> None:
    said, seconds = await until_closed(port, b"GET /healthz HTTP/1.1\r\n", b"X-More: x\r\n")
    assert said == b""
    assert 0.2 < seconds < 2
    said, seconds = await until_closed(port, b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n", b"G", pause=0.05)
    assert said.startswith(b"HTTP/1.1 200 OK")  # the second request of a connection is bounded as well
    assert seconds < 2


async def test_a_refused_body_is_answered_and_the_rest_of_it_is_not_waited_for(port: int) -> None:
    head = b"POST /v1/explanations HTTP/1.1\r\nHost: a\r\nContent-Type: multipart/form-data; boundary=b\r\n"
    said, seconds = await until_closed(port, head + b"Content-Length: 9999999\r\n\r\n", b"x" * 1000, pause=0.01)
    assert said.startswith(b"HTTP/1.1 413")
    assert b"file_too_large" in said
    assert seconds < 2
    said, seconds = await until_closed(port, head + b"Content-Length: 9999\r\n\r\n" + PART, b"x")
    assert said.startswith(b"HTTP/1.1 408")
    assert seconds < 2


async def test_a_connection_in_order_is_kept(port: int) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    for _ in range(3):  # requests with pauses longer than a head may take, on one connection
        writer.write(b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n")
        assert (await reader.readuntil(b"}")).startswith(b"HTTP/1.1 200")
        await asyncio.sleep(0.1)
    writer.close()
    await writer.wait_closed()
