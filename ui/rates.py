"""How often a caller may ask: so many requests in a while, by key, or by address where no keys are asked for.

Each process counts for itself.
"""

from __future__ import annotations

import math
import time
from typing import Final

from limits import parse
from limits.storage import MemoryStorage
from limits.strategies import MovingWindowRateLimiter
from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from ui import problems

_COUNTED: Final = "/v1/"


def caller(scope: Scope) -> str:
    """Who asks: the id of the key, or else the address."""
    key = scope.get("state", {}).get("key")
    if key is not None:
        return f"key:{key.id}"
    client = scope.get("client")
    return f"address:{client[0]}" if client else "address:unknown"


def caller_of(request: Request) -> str:
    """Who sent a request."""
    return caller(request.scope)


class RateLimit:
    """Pure ASGI middleware, so that streamed answers stay streams.

    Args:
        app: What is guarded.
        rate: How often: `600/minute`.
    """

    def __init__(self, app: ASGIApp, rate: str) -> None:
        self.app, self._rate = app, parse(rate)
        self._limiter = MovingWindowRateLimiter(MemoryStorage())

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers one request."""
        if scope["type"] != "http" or not scope["path"].startswith(_COUNTED):
            await self.app(scope, receive, send)
            return
        who = caller(scope)
        if self._limiter.hit(self._rate, who):
            await self.app(scope, receive, send)
            return
        wait = max(1, math.ceil(self._limiter.get_window_stats(self._rate, who).reset_time - time.time()))
        refusal = problems.problem(
            429, "rate_limited", f"More than {self._rate} were asked for.",
            f"Ask again in {wait} seconds; for many pictures send one batch, and have the end told by a callback.",
            headers={"Retry-After": str(wait)},
        )  # fmt: skip
        await refusal(scope, receive, send)
