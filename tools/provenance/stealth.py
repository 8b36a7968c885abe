"""Reads the recipe that NovelAI and some web interfaces hide in the lowest bit of the alpha channel.

Layout as those programs write it: alpha's lowest bits, column by column from the left; 15 bytes of name
(`stealth_pnginfo`, or `stealth_pngcomp` for gzip), 32 bits of length in bits, then the text.
"""

from __future__ import annotations

import io
import struct
import warnings
import zlib

import numpy as np
import numpy.typing as npt
from PIL import Image

MAX_PIXELS = 16_000_000
"""Pixels of a picture whose alpha channel is searched; the programs that hide texts there make smaller ones."""
_MAX_TEXT = 2**20
_HEADER = 8 * (15 + 4)
_MAX_ROWS = 16 * 2**20


def hidden_text(data: bytes, mode: str, pixels: int) -> str | None:
    """The hidden text of an RGBA picture, or None. Never raises for what is in the file."""
    if mode not in ("RGBA", "LA") or pixels > MAX_PIXELS:
        return None
    column = _first_png_column(data)
    if column is not None and not _named(column):
        return None  # without decoding the picture once more
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow warns of broken tags; the file was decoded before
            with Image.open(io.BytesIO(data)) as image:
                if "A" not in image.getbands():
                    return None
                alpha = np.asarray(image.getchannel("A"))
    except (OSError, ValueError, SyntaxError, RuntimeError, MemoryError, Image.DecompressionBombError):
        return None
    header = _bytes(alpha, 0, _HEADER)
    name = _named(header)
    if name is None:
        return None
    bits = int.from_bytes(header[15:], "big")
    if bits > 8 * _MAX_TEXT or bits > alpha.size - _HEADER:
        return None
    raw = _bytes(alpha, _HEADER, bits)
    if name == b"stealth_pngcomp":
        try:
            raw = zlib.decompressobj(31).decompress(raw, _MAX_TEXT)
        except zlib.error:
            return None
    return raw.decode("utf-8", "replace")


def _named(header: bytes) -> bytes | None:
    return header[:15] if header[:15] in (b"stealth_pnginfo", b"stealth_pngcomp") else None


def _first_png_column(data: bytes) -> bytes | None:
    """The lowest alpha bits of the first 120 pixels of the first column, packed; None where only decoding tells.

    In the first column a PNG's filters know no left neighbour, so a row's alpha follows from the byte itself and the
    one above: only the first rows are decompressed, and nothing else is undone.
    """
    if not data.startswith(b"\x89PNG\r\n\x1a\n") or len(data) < 33:
        return None
    width, height, depth, colour, _, _, interlaced = struct.unpack_from(">IIBBBBB", data, 16)
    rows, stride = 8 * 15, 1 + 4 * width
    if depth != 8 or colour != 6 or interlaced or height < rows or stride * rows > _MAX_ROWS:
        return None
    engine, raw, at = zlib.decompressobj(), b"", 8
    while len(raw) < stride * rows and at + 8 <= len(data):
        size, kind = struct.unpack_from(">I4s", data, at)
        if kind == b"IDAT":
            try:
                raw += engine.decompress(data[at + 8 : at + 8 + size], stride * rows - len(raw))
            except zlib.error:
                return None
        at += size + 12
    if len(raw) < stride * rows:
        return None
    alpha, bits = 0, []
    for row in range(rows):
        start = row * stride
        above = {0: 0, 1: 0, 2: alpha, 3: alpha // 2, 4: alpha}.get(raw[start], 0)
        alpha = (raw[start + 4] + above) & 255
        bits.append(alpha & 1)
    return np.packbits(np.array(bits, np.uint8)).tobytes()


def _bytes(alpha: npt.NDArray[np.uint8], start: int, count: int) -> bytes:
    """`count` bits from bit `start` on, packed; only the columns that hold them are touched."""
    height = alpha.shape[0]
    first, last = start // height, -(-(start + count) // height)
    bits = (alpha[:, first:last].T.reshape(-1) & 1)[start - first * height :][:count]
    return np.packbits(bits).tobytes()
