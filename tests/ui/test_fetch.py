"""Every way in which an address may lead somewhere private is refused; no test leaves this machine."""

from __future__ import annotations

import asyncio
import ipaddress
from collections.abc import Awaitable, Callable

import pytest

from tests.ui.hostile import ADDRESSES, ANSWERS, NAMES, REDIRECTS, SLOW, answer, says, served
from tools.errors import FetchError
from ui.fetch import Address, FetchRules, fetch, is_public

PUBLIC = "93.184.215.14"


async def never(host: str, port: int) -> list[str]:
    raise AssertionError(f"{host} was looked up, so the address was not refused by itself")


async def code_of(url: str, rules: FetchRules | None = None) -> str:
    with pytest.raises(FetchError) as caught:
        await fetch(url, rules or FetchRules(max_bytes=1000, resolve=never))
    assert caught.value.message
    assert caught.value.remedy
    return caught.value.code


@pytest.mark.parametrize(("url", "code"), [*ADDRESSES, ("", "url_scheme")])
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


@pytest.mark.parametrize(("name", "found"), NAMES)
async def test_a_name_with_one_private_address_is_refused(name: str, found: list[str]) -> None:
    resolve, _ = resolver(found)
    assert await code_of(f"http://{name}/", FetchRules(max_bytes=10, resolve=resolve)) == "address_refused"


async def test_a_name_without_a_server() -> None:
    async def unknown(host: str, port: int) -> list[str]:
        raise OSError("name or service not known")

    assert await code_of("http://nowhere.example/", FetchRules(max_bytes=10, resolve=unknown)) == "host_not_found"


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


@pytest.mark.parametrize(("location", "code"), REDIRECTS)
async def test_redirects_that_lead_astray(location: str, code: str) -> None:
    async with served(says(answer("301 Moved Permanently", Location=location))) as (port, heads):
        rules, _ = local(port, ports=frozenset({port, 80}))
        assert await code_of(f"http://a.example:{port}/", rules) == code
    assert len(heads) == (4 if code == "too_many_redirects" else 1)


@pytest.mark.parametrize(("raw", "code"), [each[1:] for each in ANSWERS], ids=[each[0] for each in ANSWERS])
async def test_answers_that_are_no_picture(raw: bytes, code: str) -> None:
    async with served(says(raw)) as (port, _):
        rules, _ = local(port)
        assert await code_of(f"http://a.example:{port}/", rules) == code


@pytest.mark.parametrize("name", SLOW)
async def test_a_server_that_would_hold_us_is_cut_off(name: str) -> None:
    async with served(SLOW[name]) as (port, _):
        rules, _ = local(port, max_seconds=0.3)
        loop = asyncio.get_running_loop()
        began = loop.time()
        assert await code_of(f"http://a.example:{port}/", rules) == "fetch_timeout"
        assert loop.time() - began < 1


async def test_a_body_is_no_longer_than_it_was_said_to_be() -> None:
    async with served(says(answer("200 OK", b"picture and more", content_length="7"))) as (port, _):
        rules, _ = local(port)
        assert (await fetch(f"http://a.example:{port}/", rules)).data == b"picture"


async def test_nobody_listens() -> None:
    async with served(says(b"")) as (port, _):
        pass
    rules, _ = local(port)
    assert await code_of(f"http://a.example:{port}/", rules) == "fetch_unreachable"
