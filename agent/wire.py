"""How the service and its worker processes speak: a JSON header, then blobs, over one socket.

JSON and not pickle, since a worker has parsed hostile bytes: what it sends is data, validated, and never run.
"""

from __future__ import annotations

import asyncio
import json
import socket
import struct
from typing import Any, NamedTuple

_LENGTH = struct.Struct("!I")
MAX_HEADER = 16 * 2**20
MAX_BLOBS = 64 * 2**20
"""Most bytes of header, and of blobs together, that a frame may carry; more is taken for a fault of the sender."""


class Frame(NamedTuple):
    """One message: a JSON object, and bytes that go with it (maps)."""

    head: dict[str, Any]
    blobs: tuple[bytes, ...] = ()


class BrokenFrameError(Exception):
    """What arrived is no frame, or is too big."""


def pack(frame: Frame) -> bytes:
    """`frame` as bytes: its header's length in four bytes, the header, the blobs."""
    head = json.dumps(frame.head | {"blobs": [len(blob) for blob in frame.blobs]}).encode()
    return b"".join((_LENGTH.pack(len(head)), head, *frame.blobs))


def _header_length(raw: bytes) -> int:
    length = int(_LENGTH.unpack(raw)[0])
    if length > MAX_HEADER:
        raise BrokenFrameError(f"a header of {length} bytes")
    return length


def _header(raw: bytes) -> tuple[dict[str, Any], list[int]]:
    try:
        head = json.loads(raw)
        sizes = [int(size) for size in head.pop("blobs")]
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise BrokenFrameError("a header that is not in the agreed form") from error
    if min(sizes, default=0) < 0 or sum(sizes) > MAX_BLOBS:
        raise BrokenFrameError(f"{sum(sizes)} bytes of blobs")
    return head, sizes


async def receive(reader: asyncio.StreamReader) -> Frame:
    """Reads a frame in the service.

    Raises:
        BrokenFrameError: for what is no frame.
        asyncio.IncompleteReadError, ConnectionError: when the other side is gone.
    """
    head, sizes = _header(await reader.readexactly(_header_length(await reader.readexactly(_LENGTH.size))))
    return Frame(head, tuple([await reader.readexactly(size) for size in sizes]))


def receive_blocking(connection: socket.socket) -> Frame | None:
    """Reads a frame in a worker; None when the service is gone."""
    with connection.makefile("rb", buffering=0) as file:

        def exactly(size: int) -> bytes:
            got = bytearray()
            while len(got) < size:
                part = file.read(size - len(got))
                if not part:
                    raise EOFError
                got += part
            return bytes(got)

        try:
            head, sizes = _header(exactly(_header_length(exactly(_LENGTH.size))))
            return Frame(head, tuple(exactly(size) for size in sizes))
        except (EOFError, ConnectionError):
            return None
