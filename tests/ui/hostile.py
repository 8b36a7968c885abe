"""What must never be fetched: addresses, redirects and answers of servers, each with the code that refuses it."""

from __future__ import annotations

import asyncio
import contextlib
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable

Reply = Callable[[str, asyncio.StreamWriter], Awaitable[None]]

ADDRESSES: list[tuple[str, str]] = [
    # loopback, private, link-local, shared (CGNAT), reserved, multicast
    ("http://127.0.0.1/a.jpg", "address_refused"),
    ("HTTP://127.255.255.254/", "address_refused"),
    ("http://0.0.0.0/", "address_refused"),
    ("http://10.1.2.3/", "address_refused"),
    ("http://172.16.0.1/", "address_refused"),
    ("http://172.31.255.255/", "address_refused"),
    ("http://192.168.1.1/", "address_refused"),
    ("http://100.64.0.1/", "address_refused"),
    ("http://100.127.255.255/", "address_refused"),
    ("http://169.254.169.254/latest/meta-data/", "address_refused"),
    ("http://198.18.0.1/", "address_refused"),
    ("http://192.0.0.8/", "address_refused"),
    ("http://224.0.0.1/", "address_refused"),
    ("http://240.0.0.1/", "address_refused"),
    ("http://255.255.255.255/", "address_refused"),
    ("http://192.88.99.1/", "address_refused"),
    # IPv6, and IPv4 inside it: mapped, compatible, translated, 6to4, Teredo, NAT64
    ("http://[::1]/", "address_refused"),
    ("http://[0:0:0:0:0:0:0:1]/", "address_refused"),
    ("http://[::]/", "address_refused"),
    ("http://[::ffff:127.0.0.1]/", "address_refused"),
    ("http://[::ffff:7f00:1]/", "address_refused"),
    ("http://[0:0:0:0:0:ffff:169.254.169.254]/", "address_refused"),
    ("http://[::ffff:8.8.8.8]/", "address_refused"),
    ("http://[::ffff:0:127.0.0.1]/", "address_refused"),
    ("http://[::127.0.0.1]/", "address_refused"),
    ("http://[2002:7f00::]/", "address_refused"),
    ("http://[2002:7f00:1::]/", "address_refused"),
    ("http://[2001:0:7f00:1::]/", "address_refused"),
    ("http://[64:ff9b::7f00:1]/", "address_refused"),
    ("http://[64:ff9b::169.254.169.254]/", "address_refused"),
    ("http://[64:ff9b:1::7f00:1]/", "address_refused"),
    ("http://[fe80::1]/", "address_refused"),
    ("http://[fc00::1]/", "address_refused"),
    ("http://[fd00:ec2::254]/", "address_refused"),
    ("http://[fec0::1]/", "address_refused"),
    ("http://[ff02::1]/", "address_refused"),
    ("http://[100::1]/", "address_refused"),
    ("http://[2001:db8::1]/", "address_refused"),
    # the same in odd writing: trailing dots, full-width digits and dots, one number, octal, hexadecimal, short forms
    ("http://127.0.0.1./", "address_refused"),
    ("http://127\u30020\u30020\u30021/", "address_refused"),
    ("http://2130706433/", "url_invalid"),
    ("http://0x7f000001/", "url_invalid"),
    ("http://0x7f.1/", "url_invalid"),
    ("http://0x7f.0x0.0x0.0x1/", "url_invalid"),
    ("http://0177.0.0.1/", "url_invalid"),
    ("http://017700000001/", "url_invalid"),
    ("http://127.0.0.01/", "url_invalid"),
    ("http://127.1/", "url_invalid"),
    ("http://127.0.1/", "url_invalid"),
    ("http://127.0.0.0x1/", "url_invalid"),
    ("http://example.org.0x/", "url_invalid"),
    ("http://\uff11\uff12\uff17.0.0.1/", "url_invalid"),
    ("http://\u2460\u2461\u2466.\u24ea.\u24ea.\u2460/", "url_invalid"),
    ("http://\u00ad127.0.0.1/", "url_invalid"),
    ("http://127%2e0%2e0%2e1/", "url_invalid"),
    ("http://%31%32%37.0.0.1/", "url_invalid"),
    ("http://127.0.0.1%00.example.org/", "url_invalid"),
    ("http://127.0.0.1\t/", "url_invalid"),
    ("http://exa mple.org/", "url_invalid"),
    ("http://[::1%25lo]/", "url_invalid"),
    ("http://[127.0.0.1]/", "url_invalid"),
    ("http://[v1.1]/", "url_invalid"),
    ("http:127.0.0.1/", "url_invalid"),
    ("http:/\\127.0.0.1/", "url_invalid"),
    ("http:///a.jpg", "url_invalid"),
    ("http://%", "url_invalid"),
    ("http://example.org:0x50/", "url_invalid"),
    ("http://127.0.0.1:80:80/", "url_invalid"),
    # other schemes
    ("127.0.0.1/a.jpg", "url_scheme"),
    ("ftp://example.org/a.jpg", "url_scheme"),
    ("file:///etc/passwd", "url_scheme"),
    ("gopher://example.org/", "url_scheme"),
    ("dict://127.0.0.1:11211/stat", "url_scheme"),
    ("data:image/png;base64,AAAA", "url_scheme"),
    ("javascript:alert(1)", "url_scheme"),
    ("//example.org/a.jpg", "url_scheme"),
    # names and passwords, and what hides an address behind them
    ("http://user@example.org/", "url_credentials"),
    ("http://user:secret@example.org/", "url_credentials"),
    ("http://127.0.0.1\\@example.org/", "url_credentials"),
    ("http://example.org\\@127.0.0.1/", "url_credentials"),
    ("http://example.org%2f@127.0.0.1/", "url_credentials"),
    ("http://127.0.0.1#@example.org/", "address_refused"),
    # ports
    ("http://example.org:22/", "url_port"),
    ("https://example.org:8443/", "url_port"),
    ("http://example.org:0/", "url_port"),
    ("http://example.org:70000/", "url_port"),
]
"""Refused before any name is looked up."""

NAMES: list[tuple[str, list[str]]] = [
    ("localhost", ["127.0.0.1"]),
    ("localhost", ["::1"]),
    ("metadata.example", ["169.254.169.254"]),
    ("inside.example", ["192.168.0.10"]),
    ("carrier.example", ["100.64.0.1"]),
    ("mixed.example", ["93.184.215.14", "10.0.0.1"]),
    ("mixed.example", ["2606:2800:21f:cb07:6820:80da:af6b:8b2c", "::ffff:10.0.0.1"]),
    ("scoped.example", ["fe80::1%lo"]),
    ("nat64.example", ["64:ff9b::7f00:1"]),
]
"""Names whose answers hold an address that is not public: `address_refused`."""

REDIRECTS: list[tuple[str, str]] = [
    ("http://169.254.169.254/latest/", "address_refused"),
    ("http://10.0.0.1/", "address_refused"),
    ("//192.168.0.1/a.jpg", "address_refused"),
    ("http://[::ffff:169.254.169.254]/", "address_refused"),
    ("https://127.0.0.2/", "url_port"),
    ("http://a.example:22/", "url_port"),
    ("file:///etc/passwd", "url_scheme"),
    ("gopher://a.example/", "url_scheme"),
    ("http://u:p@a.example/", "url_credentials"),
    ("http://2130706433/", "url_invalid"),
    ("http://127%2e0%2e0%2e1/", "url_invalid"),
    ("", "too_many_redirects"),
    ("/again", "too_many_redirects"),
    ("?n=1", "too_many_redirects"),
]
"""Where a server that may be fetched from redirects to. Ports 80 and the server's own are open."""


def answer(status: str, body: bytes = b"", **headers: str) -> bytes:
    """The answer of a server as bytes; its length is told right unless `content_length` says otherwise."""
    lines = [f"HTTP/1.1 {status}", *(f"{name.replace('_', '-')}: {value}" for name, value in headers.items())]
    if "content_length" not in {name.lower() for name in headers} | {
        "content_length" for name in headers if name.lower() == "transfer_encoding"
    }:
        lines.append(f"Content-Length: {len(body)}")
    return ("\r\n".join(lines) + "\r\nConnection: close\r\n\r\n").encode() + body


def gzipped(size: int) -> bytes:
    """`size` zeros, packed a thousandfold."""
    packer = zlib.compressobj(9, wbits=31)
    return packer.compress(bytes(size)) + packer.flush()


BOMB = gzipped(10 * 2**20)
ANSWERS: list[tuple[str, bytes, str]] = [
    ("larger than it may be, and says so", answer("200 OK", content_length="5000"), "fetch_too_large"),
    ("larger, and does not say so", b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" + b"x" * 5000, "fetch_too_large"),
    (
        "larger, in chunks",
        answer("200 OK", b"3e8\r\n" + b"x" * 1000 + b"\r\n3e8\r\n" + b"x" * 1000, transfer_encoding="chunked"),
        "fetch_too_large",
    ),
    ("an absurd length", answer("200 OK", b"x", content_length="9" * 30), "fetch_unreachable"),
    ("a length below nothing", answer("200 OK", b"x", content_length="-1"), "fetch_unreachable"),
    ("two lengths", answer("200 OK", b"x", content_length="1", Content_Length="2"), "fetch_unreachable"),
    ("a length that is not kept", answer("200 OK", b"x", content_length="50"), "fetch_unreachable"),
    ("a bomb in gzip", answer("200 OK", BOMB[:900], Content_Encoding="gzip"), "fetch_encoded"),
    ("a bomb in two coats", answer("200 OK", BOMB[:900], Content_Encoding="GZIP, br"), "fetch_encoded"),
    ("deflate", answer("200 OK", b"x", Content_Encoding="deflate"), "fetch_encoded"),
    ("a packed transfer", answer("200 OK", b"x", transfer_encoding="gzip, chunked"), "fetch_unreachable"),
    ("a page", answer("200 OK", b"<html>", Content_Type="Text/HTML; charset=utf-8"), "fetch_web_page"),
    ("nothing there", answer("404 Not Found", b"x"), "fetch_status"),
    ("no content", answer("204 No Content"), "fetch_status"),
    ("a part of it", answer("206 Partial Content", b"x"), "fetch_status"),
    ("a head without an end", b"HTTP/1.1 200 OK\r\nX: " + b"x" * 200_000, "fetch_unreachable"),
    ("another protocol", b"220 ftp.example ready\r\n\r\n", "fetch_unreachable"),
    ("nothing at all", b"", "fetch_unreachable"),
]
"""What a server answers where at most 1000 bytes are fetched."""


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


def says(raw: bytes) -> Reply:
    """A reply of these bytes."""

    async def reply(head: str, writer: asyncio.StreamWriter) -> None:
        writer.write(raw)

    return reply


async def drips(head: str, writer: asyncio.StreamWriter) -> None:
    """A body of which a byte comes now and then (slowloris)."""
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n")
    await _slowly(writer, b"x")


async def drips_its_head(head: str, writer: asyncio.StreamWriter) -> None:
    """A head that never ends, a header at a time."""
    writer.write(b"HTTP/1.1 200 OK\r\n")
    await _slowly(writer, b"X-More: x\r\n")


async def says_wait(head: str, writer: asyncio.StreamWriter) -> None:
    """Informational answers and never the real one."""
    await _slowly(writer, b"HTTP/1.1 100 Continue\r\n\r\n")


async def is_silent(head: str, writer: asyncio.StreamWriter) -> None:
    """Takes the request and says nothing."""
    await asyncio.sleep(1)


async def _slowly(writer: asyncio.StreamWriter, part: bytes) -> None:
    for _ in range(20):
        writer.write(part)
        await writer.drain()
        await asyncio.sleep(0.05)


SLOW: dict[str, Reply] = {
    "drips": drips, "drips its head": drips_its_head, "says wait": says_wait, "is silent": is_silent,
}  # fmt: skip
"""Servers that would hold a fetch for ever."""
