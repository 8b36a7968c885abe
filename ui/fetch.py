"""Fetches a picture from the web without letting the address lead anywhere private.

Each hop is vetted before a connection is made: scheme, credentials, port, and every address that the name resolves to.
The name is resolved once and the connection goes to the vetted address (name kept in `Host` and in TLS), so that a
second, different answer of the name server changes nothing. Redirects are followed by hand, each as a new hop.
"""

from __future__ import annotations

import asyncio
import ipaddress
import re
import socket
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final
from urllib.parse import unquote

import httpx

from tools.errors import FetchError
from ui.intake import clean_name

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Resolve = Callable[[str, int], Awaitable[list[str]]]

_NEVER_V4: Final = tuple(
    ipaddress.IPv4Network(net)
    for net in (
        "0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.0.0.0/24",
        "192.0.2.0/24", "192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24",
        "224.0.0.0/4", "240.0.0.0/4",
    )
)  # fmt: skip
_NEVER_V6: Final = tuple(ipaddress.IPv6Network(net) for net in ("2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20"))
_UNICAST_V6: Final = ipaddress.IPv6Network("2000::/3")
_REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})


def is_public(address: Address) -> bool:
    """Whether an address is ordinary public unicast.

    Special ranges of the IANA registries are refused, and so is every IPv6 form that carries an IPv4 address inside
    (mapped, compatible, 6to4, Teredo, NAT64), whatever that address is: only 2000::/3 without 2001::/23 and 2002::/16
    is left.
    """
    if isinstance(address, ipaddress.IPv4Address):
        return address.is_global and not any(address in net for net in _NEVER_V4)
    if address.scope_id is not None or address not in _UNICAST_V6:
        return False
    return address.is_global and not any(address in net for net in _NEVER_V6)


async def system_resolve(host: str, port: int) -> list[str]:
    """All addresses of a name, by the system's resolver."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [str(entry[4][0]) for entry in found]


@dataclass(frozen=True, slots=True)
class FetchRules:
    """What a fetch may cost and where it may go. The last three are replaced in tests only."""

    max_bytes: int
    max_seconds: float = 20.0
    max_redirects: int = 3
    ports: frozenset[int] = frozenset({80, 443})
    allowed: Callable[[Address], bool] = is_public
    resolve: Resolve = system_resolve


@dataclass(frozen=True, slots=True)
class Fetched:
    """The bytes and the name that the address ends in."""

    data: bytes
    name: str


async def fetch(url: str, rules: FetchRules) -> Fetched:
    """Fetches `url` within `rules`.

    Raises:
        FetchError: `url_invalid`, `url_scheme`, `url_credentials`, `url_port`, `address_refused`, `host_not_found`,
            `too_many_redirects`, `fetch_too_large`, `fetch_encoded`, `fetch_web_page`, `fetch_timeout`,
            `fetch_unreachable` or `fetch_status`.
    """
    try:
        async with asyncio.timeout(rules.max_seconds):
            return await _follow(parsed(url), rules)
    except (TimeoutError, httpx.TimeoutException) as error:
        raise FetchError(
            f"The server did not deliver the picture within {rules.max_seconds:g} seconds.",
            remedy="Try again later, or save the picture and send the file.",
            code="fetch_timeout",
        ) from error
    except (httpx.HTTPError, httpx.InvalidURL, OSError) as error:
        raise FetchError(
            "The server could not be reached, or broke off.",
            remedy="Check the address, or save the picture and send the file.",
            code="fetch_unreachable",
        ) from error


async def _follow(url: httpx.URL, rules: FetchRules) -> Fetched:
    timeout = httpx.Timeout(rules.max_seconds, connect=min(5.0, rules.max_seconds))
    async with httpx.AsyncClient(trust_env=False, follow_redirects=False, timeout=timeout) as client:
        for _ in range(rules.max_redirects + 1):
            address = await vetted(url, rules)
            request = client.build_request(
                "GET",
                url.copy_with(host=str(address), fragment=None),
                headers={
                    "Host": url.netloc.decode("ascii"),
                    "Accept": "image/*,*/*;q=0.5",
                    "Accept-Encoding": "identity",
                    "User-Agent": "Exposit",
                },
                extensions={"sni_hostname": url.raw_host.decode("ascii")},
            )
            response = await client.send(request, stream=True)
            try:
                if response.status_code not in _REDIRECTS:
                    return Fetched(await _body(response, rules), clean_name(unquote(url.path)))
                location = response.headers.get("location", "")
            finally:
                await response.aclose()
            url = parsed(location, url)
    raise FetchError(
        f"The address redirects more than {rules.max_redirects} times.",
        remedy="Give the address that the redirects end at.",
        code="too_many_redirects",
    )


def parsed(url: str, base: httpx.URL | None = None) -> httpx.URL:
    """An address in parts, perhaps told from `base`. Raises FetchError, with `url_` codes."""
    try:
        target = base.join(url) if base is not None else httpx.URL(url.strip())
    except (httpx.InvalidURL, ValueError) as error:
        raise _invalid("The address is not a valid URL.") from error
    if target.scheme not in ("http", "https"):
        raise FetchError(
            "Only addresses that begin with http:// or https:// are fetched.",
            remedy="Give the picture's web address, or send the file.",
            code="url_scheme",
        )
    if target.userinfo:
        raise FetchError(
            "The address carries a user name or password.",
            remedy="Leave it out, or send the file itself.",
            code="url_credentials",
        )
    host = target.host.rstrip(".")
    if not host:
        raise _invalid("The address names no host.")
    if ":" not in host and not _is_ipv4(host) and re.fullmatch(r"\d+|0x[0-9a-f]*", host.rpartition(".")[2], re.I):
        raise _invalid("The host is a number in an unusual form.")  # inet_aton reads 2130706433, 0x7f.1 and 0177.1
    if not re.fullmatch(r"[A-Za-z0-9._:-]+", target.raw_host.decode("ascii")):
        raise _invalid("The host has characters that no host name has.")
    return target


def _invalid(message: str) -> FetchError:
    return FetchError(message, remedy="Copy the picture's address from the browser.", code="url_invalid")


def _is_ipv4(host: str) -> bool:
    try:
        ipaddress.IPv4Address(host)
    except ValueError:
        return False
    return True


def port_of(url: httpx.URL) -> int:
    """The port that an address leads to."""
    return url.port if url.port is not None else 443 if url.scheme == "https" else 80


async def vetted(url: httpx.URL, rules: FetchRules) -> Address:
    """Resolves once; the address to connect to. One address that is refused refuses the name. Raises FetchError."""
    port = port_of(url)
    if port not in rules.ports:
        raise FetchError(
            f"Port {port} is not fetched from, only {' and '.join(map(str, sorted(rules.ports)))}.",
            remedy="Save the picture and send the file.",
            code="url_port",
        )
    host = url.raw_host.decode("ascii").strip("[]").rstrip(".")
    try:
        addresses = [ipaddress.ip_address(host)]
    except ValueError:
        try:
            addresses = [ipaddress.ip_address(found) for found in await rules.resolve(host, port)]
        except (OSError, UnicodeError) as error:
            raise _not_found(host) from error
    if not addresses:
        raise _not_found(host)
    if not all(rules.allowed(address) for address in addresses):
        raise FetchError(
            f"{host} leads to an address that is not on the public internet.",
            remedy="Save the picture and send the file.",
            code="address_refused",
        )
    return addresses[0]


def _not_found(host: str) -> FetchError:
    return FetchError(f"No server is known under the name {host}.", remedy="Check the address.", code="host_not_found")


async def _body(response: httpx.Response, rules: FetchRules) -> bytes:
    if response.status_code != 200:
        raise FetchError(
            f"The server answered with status {response.status_code} instead of the picture.",
            remedy="Open the address in a browser to see whether the picture is still there.",
            code="fetch_status",
        )
    if response.headers.get("content-encoding", "identity").lower() != "identity":
        raise FetchError(  # a few kilobytes may unpack to gigabytes, and a picture gains nothing by it
            "The server sent the picture packed, though it was asked not to.",
            remedy="Save the picture and send the file.",
            code="fetch_encoded",
        )
    if response.headers.get("content-type", "").partition(";")[0].strip().lower() == "text/html":
        raise FetchError(
            "The address leads to a web page, not to a picture.",
            remedy="Copy the address of the picture itself (in a browser: right click, copy image address).",
            code="fetch_web_page",
        )
    too_large = FetchError(
        f"The picture is larger than the {rules.max_bytes / 2**20:g} MiB that are fetched.",
        remedy="Give a smaller version.",
        code="fetch_too_large",
    )
    length = response.headers.get("content-length", "")
    if length.isdecimal() and int(length) > rules.max_bytes:
        raise too_large
    held = bytearray()
    async for chunk in response.aiter_raw():
        held += chunk
        if len(held) > rules.max_bytes:
            raise too_large
    return bytes(held)
