"""`Idempotency-Key`: a request that is sent again gets the answer it got before, and nothing is done twice."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from typing import Any, Final

from fastapi import Request, Response

from agent import audit
from agent.once import Kept
from agent.service import Explainer
from tools.errors import CallerError
from ui.rates import caller_of

HEADER: Final = "Idempotency-Key"
_KEY: Final = re.compile(r"[\x21-\x7e]{1,200}")
_KEPT: Final = ("location", "preference-applied", "content-type", "retry-after")

PARAMETER: Final[dict[str, Any]] = {
    "name": HEADER,
    "in": "header",
    "required": False,
    "description": "A name of the caller's own for this request. Sent again within a day with the same name and the "
    "same content, it gets the same answer; with other content it is refused.",
    "schema": {"type": "string", "pattern": "^[!-~]{1,200}$"},
    "example": "3f2c9a52-7d0e-4a34-8a3f-5f3d4f0f6c11",
}


async def once(
    request: Request,
    explainer: Explainer,
    content: Callable[[], Awaitable[object]],
    work: Callable[[str | None], Awaitable[Response]],
) -> Response:
    """Does `work` once for each key of a caller.

    Args:
        request: What was asked.
        explainer: Keeps what was answered.
        content: What the request says, as JSON, hashes in place of files; asked for only if there is a key.
        work: Gives the answer; it is passed a seed that is the same however often this request is tried.

    Raises:
        CallerError: `idempotency_invalid` or `idempotency_reused`.
        TryAgainError: `idempotency_in_flight`.
    """
    key = request.headers.get(HEADER)
    if key is None:
        return await work(None)
    if _KEY.fullmatch(key) is None:
        raise CallerError(
            "The idempotency key is none.", remedy="Use 1 to 200 visible ASCII characters, such as a UUID.",
            code="idempotency_invalid",
        )  # fmt: skip
    asked = audit.sha256(audit.canonical([request.method, request.url.path, await content()]))
    claimed = await explainer.once.claim(caller_of(request), key, asked)
    if isinstance(claimed, Kept):
        return Response(claimed.body, claimed.status, {**claimed.headers, "Idempotency-Replayed": "true"})
    try:
        answer = await work(claimed.nonce)
    except BaseException:
        await explainer.once.release(claimed)
        raise
    headers = {name: answer.headers[name] for name in _KEPT if name in answer.headers}
    await explainer.once.keep(claimed, Kept(answer.status_code, headers, bytes(answer.body).decode()))
    return answer
