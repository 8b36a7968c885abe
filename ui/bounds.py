"""What a request may weigh and how long it may take to arrive: no body without an end, and none that drips."""

from __future__ import annotations

import asyncio
import re
from typing import Final

import h11
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

from tools.errors import CallerError
from ui import problems

HEAD_S: Final = 20.0
"""Seconds within which the head of a request must be complete, and what is left of a refused body must have come."""
BODY_S: Final = 60.0
"""Seconds that a body may take to arrive, however small it is."""
BYTES_PER_S: Final = 32 * 2**10
"""A larger body may take longer, but must come at this rate."""
PLAIN_BYTES: Final = 2 * 2**20
"""Bytes of a body that brings no picture."""
_PICTURES: Final = re.compile(r"/v1/(explanations|batches)|/gradio_api/upload")
"""What takes pictures, as forms, and bounds them itself: by how many files it takes."""


class BoundedBodies:
    """Pure ASGI middleware, so that streamed answers stay streams."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers one request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        form = _PICTURES.fullmatch(scope["path"]) is not None
        length = Headers(scope=scope).get("content-length", "")
        if not form and length.isdecimal() and int(length) > PLAIN_BYTES:
            await problems.of_error(_too_large())(scope, receive, send)
            return
        body = _Body(receive, None if form else PLAIN_BYTES)
        begun = False

        async def guarded(message: Message) -> None:
            nonlocal begun
            if body.refusal is not None and not begun:
                return  # whatever the route made of a body that broke off: the refusal is the answer
            begun = True
            await send(message)

        try:
            await self.app(scope, body.receive, guarded)
        except CallerError:
            if body.refusal is None or begun:
                raise
        if body.refusal is not None and not begun:
            await problems.of_error(body.refusal)(scope, receive, send)


class _Body:
    """A body on its way.

    Attributes:
        refusal: Why no more of it is read.
    """

    def __init__(self, receive: Receive, most: int | None) -> None:
        self._receive, self._most = receive, most
        self._bytes, self._waited, self._whole = 0, 0.0, False
        self.refusal: CallerError | None = None

    async def receive(self) -> Message:
        """The next part. Raises `refusal`."""
        if self._whole:  # what comes now is the end of the connection, however late
            return await self._receive()
        loop = asyncio.get_running_loop()
        began = loop.time()
        try:
            async with asyncio.timeout(BODY_S + self._bytes / BYTES_PER_S - self._waited):
                message = await self._receive()
        except TimeoutError:
            self.refusal = CallerError(
                f"The upload took longer than {BODY_S:g} seconds.",
                remedy="Try again over a faster connection, or send a smaller file.",
                code="upload_too_slow",
            )
            raise self.refusal from None
        self._waited += loop.time() - began
        self._bytes += len(message.get("body", b""))
        self._whole = message["type"] != "http.request" or not message.get("more_body", False)
        if self._most is not None and self._bytes > self._most:
            self.refusal = _too_large()
            raise self.refusal
        return message


def _too_large() -> CallerError:
    return CallerError(
        f"The body is larger than the {PLAIN_BYTES // 2**20} MiB that are accepted here.",
        remedy="Send pictures as multipart/form-data, and only what /docs names.",
        code="body_too_large",
    )


class BoundedHeads(H11Protocol):
    """uvicorn's protocol, which by itself waits without end for a head that was begun or a body that was refused."""

    _late: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """A connection was opened."""
        super().connection_made(transport)
        self._watch()

    def data_received(self, data: bytes) -> None:
        """Bytes came."""
        super().data_received(data)
        self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is gone."""
        self._unwatch()
        super().connection_lost(exc)

    def _watch(self) -> None:
        if not self._owing():
            self._unwatch()
        elif self._late is None:
            self._late = self.loop.call_later(HEAD_S, self._close)

    def _owing(self) -> bool:
        """Whether the other side has a head to end, or sends on after it was answered."""
        theirs = self.conn.their_state
        return theirs is h11.IDLE or (theirs is h11.SEND_BODY and self.conn.our_state is h11.DONE)

    def _unwatch(self) -> None:
        if self._late is not None:
            self._late.cancel()
            self._late = None

    def _close(self) -> None:
        self._late = None
        if self._owing() and not self.transport.is_closing():
            self.transport.close()
