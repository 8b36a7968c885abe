"""Reads the recipe that NovelAI and some web interfaces hide in the lowest bit of the alpha channel.

Layout as those programs write it: alpha's lowest bits, column by column from the left; 15 bytes of name
(`stealth_pnginfo`, or `stealth_pngcomp` for gzip), 32 bits of length in bits, then the text.
"""

from __future__ import annotations

import io
import warnings
import zlib

import numpy as np
import numpy.typing as npt
from PIL import Image

MAX_PIXELS = 16_000_000
"""Pixels of a picture whose alpha channel is searched; the programs that hide texts there make smaller ones."""
_MAX_TEXT = 2**20
_HEADER = 8 * (15 + 4)


def hidden_text(data: bytes, mode: str, pixels: int) -> str | None:
    """The hidden text of an RGBA picture, or None. Never raises for what is in the file."""
    if mode not in ("RGBA", "LA") or pixels > MAX_PIXELS:
        return None
    try:
        with warnings.catch_warnings(), Image.open(io.BytesIO(data)) as image:
            warnings.simplefilter("ignore")  # of broken tags; the file was decoded before
            if "A" not in image.getbands():
                return None
            alpha = np.asarray(image.getchannel("A"))
    except (OSError, ValueError, SyntaxError, RuntimeError, MemoryError, Image.DecompressionBombError):
        return None
    header = _bytes(alpha, 0, _HEADER)
    name = header[:15]
    if name not in (b"stealth_pnginfo", b"stealth_pngcomp"):
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


def _bytes(alpha: npt.NDArray[np.uint8], start: int, count: int) -> bytes:
    """`count` bits from bit `start` on, packed; only the columns that hold them are touched."""
    height = alpha.shape[0]
    first, last = start // height, -(-(start + count) // height)
    bits = (alpha[:, first:last].T.reshape(-1) & 1)[start - first * height :][:count]
    return np.packbits(bits).tobytes()
