"""The way out for jobs: pictures are fetched and callbacks posted by the same rules, wherever they lead."""

from __future__ import annotations

import asyncio
import ipaddress
from collections.abc import Mapping
from typing import Final

import httpx

from agent.settings import Settings
from tools.errors import FetchError
from tools.image import refusal
from ui import intake
from ui.fetch import FetchRules, fetch, parsed, port_of, vetted

_CALL_S: Final = 10.0


class Web:
    """Fetches and posts within `rules`; see `agent.outside.Outside`."""

    def __init__(self, settings: Settings, rules: FetchRules | None = None) -> None:
        self.rules = rules or FetchRules(max_bytes=intake.max_bytes(settings))

    async def fetch(self, url: str) -> tuple[bytes, str]:
        """The bytes under an address, and the name that it ends in. Raises FetchError or ImageError."""
        fetched = await fetch(url, self.rules)
        if not fetched.data:
            raise refusal("empty_file", "The address gives an empty file (0 bytes).")
        return fetched.data, fetched.name

    async def post(self, url: str, body: bytes, headers: Mapping[str, str]) -> int:
        """Posts `body` to the vetted address and returns the status; what else is answered is not read.

        Raises:
            FetchError: as `ui.fetch.fetch`.
        """
        try:
            async with asyncio.timeout(_CALL_S), _client() as client:
                target = parsed(url)
                address = await vetted(target, self.rules)
                request = client.build_request(
                    "POST",
                    target.copy_with(host=str(address), fragment=None),
                    content=body,
                    headers={**headers, "Host": target.netloc.decode("ascii")},
                    extensions={"sni_hostname": target.raw_host.decode("ascii")},
                )
                response = await client.send(request, stream=True)
                await response.aclose()
                return response.status_code
        except (TimeoutError, httpx.TimeoutException) as error:
            raise FetchError(
                f"The receiver did not answer within {_CALL_S:g} seconds.",
                remedy="Answer at once, and work afterwards.",
                code="fetch_timeout",
            ) from error
        except (httpx.HTTPError, httpx.InvalidURL, OSError) as error:
            raise FetchError(
                "The receiver could not be reached, or broke off.",
                remedy="Check the address.",
                code="fetch_unreachable",
            ) from error


def callable_back(url: str, rules: FetchRules) -> None:
    """Refuses an address that could never be called, before anything is examined; names are resolved when it is called.

    Raises:
        FetchError: `url_invalid`, `url_scheme`, `url_credentials`, `url_port` or `address_refused`.
    """
    target = parsed(url)
    port = port_of(target)
    if port not in rules.ports:
        raise FetchError(
            f"Port {port} is not called, only {' and '.join(map(str, sorted(rules.ports)))}.",
            remedy="Have the callback received on one of those.",
            code="url_port",
        )
    try:
        literal = ipaddress.ip_address(target.host.strip("[]"))
    except ValueError:
        return
    if not rules.allowed(literal):
        raise FetchError(
            f"{target.host} is not on the public internet, so it is not called back.",
            remedy="Give a public address.",
            code="address_refused",
        )


def _client() -> httpx.AsyncClient:
    return httpx.AsyncClient(trust_env=False, follow_redirects=False, timeout=httpx.Timeout(_CALL_S, connect=5.0))
