"""The way out of the service, for jobs: fetching pictures and calling back. A face provides it, with its own rules."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol


class Outside(Protocol):
    """What a job may do outside. Every address is vetted each time: where a name leads may change."""

    async def fetch(self, url: str) -> tuple[bytes, str]:
        """The bytes under an address, and the name that it ends in.

        Raises:
            CallerError: where it may not be fetched, or gives no picture.
        """

    async def post(self, url: str, body: bytes, headers: Mapping[str, str]) -> int:
        """Posts `body` and returns the status of the answer; redirects are not followed.

        Raises:
            FetchError: where the address may not be called, or does not answer.
        """
