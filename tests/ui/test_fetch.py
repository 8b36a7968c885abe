"""Every way in which an address may lead somewhere private is refused; no test leaves this machine."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from tools.errors import FetchError
from ui.fetch import Address, FetchRules, fetch, is_public

Reply = Callable[[str, asyncio.StreamWriter], Awaitable[None]]
PUBLIC = "93.184.215.14"


async def never(host: str, port: int) -> list[str]:
    raise AssertionError(f"{host} was looked up, so the address was not refused by itself")


async def code_of(url: str, rules: FetchRules | None = None) -> str:
    with pytest.raises(FetchError) as caught:
        await fetch(url, rules or FetchRules(max_bytes=1000, resolve=never))
    assert caught.value.message
    assert caught.value.remedy
    return caught.value.code


@pytest.mark.parametrize(
    ("url", "code"),
    [
        ("http://127.0.0.1/a.jpg", "address_refused"),
        ("http://0.0.0.0/", "address_refused"),
        ("http://10.1.2.3/", "address_refused"),
        ("http://172.16.0.1/", "address_refused"),
        ("http://192.168.1.1/", "address_refused"),
        ("http://100.64.0.1/", "address_refused"),
        ("http://169.254.169.254/latest/meta-data/", "address_refused"),
        ("http://224.0.0.1/", "address_refused"),
        ("http://240.0.0.1/", "address_refused"),
        ("http://255.255.255.255/", "address_refused"),
        ("http://192.88.99.1/", "address_refused"),
        ("http://[::1]/", "address_refused"),
        ("http://[::]/", "address_refused"),
        ("http://[::ffff:127.0.0.1]/", "address_refused"),
        ("http://[::ffff:8.8.8.8]/", "address_refused"),
        ("http://[::127.0.0.1]/", "address_refused"),
        ("http://[2002:7f00:1::]/", "address_refused"),
        ("http://[2001:0:7f00:1::]/", "address_refused"),
        ("http://[64:ff9b::7f00:1]/", "address_refused"),
        ("http://[64:ff9b:1::7f00:1]/", "address_refused"),
        ("http://[fe80::1]/", "address_refused"),
        ("http://[fc00::1]/", "address_refused"),
        ("http://[fec0::1]/", "address_refused"),
        ("http://[ff02::1]/", "address_refused"),
        ("http://127.0.0.1./", "address_refused"),
        ("http://2130706433/", "url_invalid"),
        ("http://0x7f000001/", "url_invalid"),
        ("http://0x7f.1/", "url_invalid"),
        ("http://0177.0.0.1/", "url_invalid"),
        ("http://127.1/", "url_invalid"),
        ("http://127.0.0.0x1/", "url_invalid"),
        ("http://example.org.0x/", "url_invalid"),
        ("http://\uff11\uff12\uff17.0.0.1/", "url_invalid"),
        ("http://exa mple.org/", "url_invalid"),
        ("http://[::1%25lo]/", "url_invalid"),
        ("http:///a.jpg", "url_invalid"),
        ("", "url_scheme"),
        ("ftp://example.org/a.jpg", "url_scheme"),
        ("file:///etc/passwd", "url_scheme"),
        ("gopher://example.org/", "url_scheme"),
        ("//example.org/a.jpg", "url_scheme"),
        ("http://user@example.org/", "url_credentials"),
        ("http://user:secret@example.org/", "url_credentials"),
        ("http://127.0.0.1\\@example.org/", "url_credentials"),
        ("http://example.org:22/", "url_port"),
        ("https://example.org:8443/", "url_port"),
        ("http://example.org:70000/", "url_port"),
    ],
)
async def test_addresses_that_are_refused_before_any_look_up(url: str, code: str) -> None:
    assert await code_of(url) == code


@pytest.mark.parametrize("address", ["8.8.8.8", PUBLIC, "2606:2800:21f:cb07:6820:80da:af6b:8b2c"])
def test_public_addresses_are_public(address: str) -> None:
    assert is_public(ipaddress.ip_address(address))


def resolver(*answers: list[str]) -> tuple[Callable[[str, int], Awaitable[list[str]]], list[str]]:
    asked: list[str] = []

    async def resolve(host: str, port: int) -> list[str]:
        asked.append(host)
        return answers[min(len(asked), len(answers)) - 1]

    return resolve, asked


@pytest.mark.parametrize("answer", [["127.0.0.1"], [PUBLIC, "10.0.0.1"], ["::ffff:10.0.0.1"], ["fe80::1%lo"]])
async def test_a_name_with_one_private_address_is_refused(answer: list[str]) -> None:
    resolve, _ = resolver(answer)
    assert await code_of("http://example.org/", FetchRules(max_bytes=10, resolve=resolve)) == "address_refused"


async def test_a_name_without_a_server() -> None:
    async def unknown(host: str, port: int) -> list[str]:
        raise OSError("name or service not known")

    assert await code_of("http://nowhere.example/", FetchRules(max_bytes=10, resolve=unknown)) == "host_not_found"


@contextlib.asynccontextmanager
async def served(reply: Reply) -> AsyncIterator[tuple[int, list[str]]]:
    """A server on loopback that answers each request's head by `reply`; yields its port and the heads it saw."""
    heads: list[str] = []
    running: list[asyncio.Task[None]] = []

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            heads.append(head)
            await reply(head, writer)
            await writer.drain()
        with contextlib.suppress(ConnectionError):
            writer.close()
            await writer.wait_closed()

    def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        running.append(asyncio.get_running_loop().create_task(handle(reader, writer)))

    server = await asyncio.start_server(connected, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1], heads
    await asyncio.gather(*running)


def answer(status: str, body: bytes = b"", **headers: str) -> bytes:
    lines = [f"HTTP/1.1 {status}", *(f"{name.replace('_', '-')}: {value}" for name, value in headers.items())]
    if "content_length" not in headers:
        lines.append(f"Content-Length: {len(body)}")
    return ("\r\n".join(lines) + "\r\nConnection: close\r\n\r\n").encode() + body


def says(raw: bytes) -> Reply:
    async def reply(head: str, writer: asyncio.StreamWriter) -> None:
        writer.write(raw)

    return reply


def only_loopback_one(address: Address) -> bool:
    """Stands for `is public` in these tests: 127.0.0.1 is, everything else is not."""
    return str(address) == "127.0.0.1"


def local(port: int, answers: list[list[str]] | None = None, **changes: object) -> tuple[FetchRules, list[str]]:
    resolve, asked = resolver(*(answers or [["127.0.0.1"]]))
    fields = {"max_bytes": 1000, "ports": frozenset({port}), "allowed": only_loopback_one, "resolve": resolve}
    return FetchRules(**(fields | changes)), asked  # type: ignore[arg-type]


async def test_the_vetted_address_is_the_one_connected_to() -> None:
    async with served(says(answer("200 OK", b"picture"))) as (port, heads):
        rules, asked = local(port, [["127.0.0.1"], ["127.0.0.2"]])  # a name server that changes its mind
        got = await fetch(f"http://pictures.example:{port}/a/b%20c.jpg?x=1#frag", rules)
    assert (got.data, got.name) == (b"picture", "b c.jpg")
    assert asked == ["pictures.example"]
    assert heads[0].startswith("GET /a/b%20c.jpg?x=1 HTTP/1.1\r\n")
    assert f"host: pictures.example:{port}\r\n" in heads[0].lower()
    assert "accept-encoding: identity\r\n" in heads[0].lower()


async def test_proxies_of_the_environment_are_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:9")
    async with served(says(answer("200 OK", b"picture"))) as (port, _):
        rules, _ = local(port)
        assert (await fetch(f"http://pictures.example:{port}/", rules)).data == b"picture"


async def test_a_redirect_is_followed_and_vetted_again() -> None:
    async def reply(head: str, writer: asyncio.StreamWriter) -> None:
        writer.write(
            answer("200 OK", b"there") if head.startswith("GET /there") else answer("302 Found", Location="/there")
        )

    async with served(reply) as (port, _):
        rules, asked = local(port)
        assert (await fetch(f"http://a.example:{port}/", rules)).data == b"there"
        assert asked == ["a.example", "a.example"]
        rules, _ = local(port, [["127.0.0.1"], ["127.0.0.2"]])
        assert await code_of(f"http://a.example:{port}/", rules) == "address_refused"


@pytest.mark.parametrize(
    ("location", "code"),
    [
        ("http://169.254.169.254/latest/", "address_refused"),
        ("http://[::1]/", "url_port"),
        ("file:///etc/passwd", "url_scheme"),
        ("http://u:p@a.example/", "url_credentials"),
        ("http://2130706433/", "url_invalid"),
        ("/again", "too_many_redirects"),
    ],
)
async def test_redirects_that_lead_astray(location: str, code: str) -> None:
    async with served(says(answer("301 Moved Permanently", Location=location))) as (port, heads):
        ports = frozenset({port, 80}) if "169" in location else frozenset({port})
        rules, _ = local(port, ports=ports)
        assert await code_of(f"http://a.example:{port}/", rules) == code
    assert len(heads) == (4 if code == "too_many_redirects" else 1)


@pytest.mark.parametrize(
    ("raw", "code"),
    [
        (answer("200 OK", content_length="5000"), "fetch_too_large"),
        (b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" + b"x" * 5000, "fetch_too_large"),
        (answer("200 OK", b"x", Content_Encoding="gzip"), "fetch_encoded"),
        (answer("200 OK", b"<html>", Content_Type="text/html; charset=utf-8"), "fetch_web_page"),
        (answer("404 Not Found", b"x"), "fetch_status"),
        (answer("204 No Content"), "fetch_status"),
        (answer("200 OK", b"x", content_length="50"), "fetch_unreachable"),
        (b"not http at all\r\n\r\n", "fetch_unreachable"),
    ],
)
async def test_answers_that_are_no_picture(raw: bytes, code: str) -> None:
    async with served(says(raw)) as (port, _):
        rules, _ = local(port)
        assert await code_of(f"http://a.example:{port}/", rules) == code


async def test_a_server_that_drips_is_cut_off() -> None:
    async def drip(head: str, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n")
        for _ in range(20):
            writer.write(b"x")
            await writer.drain()
            await asyncio.sleep(0.05)

    async with served(drip) as (port, _):
        rules, _ = local(port, max_seconds=0.3)
        loop = asyncio.get_running_loop()
        began = loop.time()
        assert await code_of(f"http://a.example:{port}/", rules) == "fetch_timeout"
        assert loop.time() - began < 2


async def test_nobody_listens() -> None:
    async with served(says(b"")) as (port, _):
        pass
    rules, _ = local(port)
    assert await code_of(f"http://a.example:{port}/", rules) == "fetch_unreachable"
