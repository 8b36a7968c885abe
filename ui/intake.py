"""What comes in at the door: bytes within a bound, a harmless name, a `Submission`."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import AsyncIterable
from pathlib import Path
from typing import Final, Literal

from agent.service import Submission
from agent.settings import Settings
from tools.contract import Region
from tools.errors import CallerError, ImageError
from tools.image import Limits, refusal

_MAX_NAME: Final = 120


def limits(settings: Settings) -> Limits:
    """The bounds within which a face may decode a picture."""
    return Limits(max_bytes=max_bytes(settings), max_pixels=settings.max_pixels)


def max_bytes(settings: Settings) -> int:
    """Largest file that is accepted, in bytes."""
    return settings.max_upload_mb * 2**20


def clean_name(name: str | None) -> str:
    """A name without folders, control characters or direction marks, of at most 120 characters.

    `image` where nothing is left. Both kinds of slash separate folders. The suffix is kept when a long name is cut.
    """
    last = re.split(r"[/\\]", name or "")[-1]
    kept = "".join(c for c in unicodedata.normalize("NFC", last) if unicodedata.category(c)[0] != "C")
    kept = " ".join(kept.split()).strip(". ")
    if len(kept) > _MAX_NAME:
        stem, dot, suffix = kept.rpartition(".")
        kept = f"{stem[: _MAX_NAME - len(suffix) - 1]}.{suffix}" if dot and len(suffix) <= 10 else kept[:_MAX_NAME]
    return kept or "image"


def too_large(bound: int) -> ImageError:
    """The refusal of a file of more than `bound` bytes."""
    return refusal("file_too_large", f"The file is larger than the {bound / 2**20:g} MiB that are accepted.")


async def read_bounded(chunks: AsyncIterable[bytes], bound: int, refusal: CallerError) -> bytes:
    """Joins a stream; raises `refusal` as soon as it is longer than `bound` bytes."""
    held = bytearray()
    async for chunk in chunks:
        held += chunk
        if len(held) > bound:
            raise refusal
    return bytes(held)


def region(text: str) -> Region:
    """The box that `text` gives: left, top, right, bottom in fractions of the picture.

    Raises:
        CallerError: `bad_box`.
    """
    try:
        x0, y0, x1, y1 = (float(part) for part in re.split(r"[,;\s]+", text.strip()))
        return Region(x0=x0, y0=y0, x1=x1, y1=y1)
    except ValueError as error:  # of float, of the number of parts, and of the region itself
        raise CallerError(
            f"“{text.strip()[:60]}” is no box.",
            remedy="Give left, top, right, bottom between 0 and 1: 0.1, 0.2, 0.5, 0.6.",
            code="bad_box",
        ) from error  # fmt: skip


def submission(
    data: bytes, name: str | None, origin: Literal["upload", "url", "path", "chat"], settings: Settings
) -> Submission:
    """Makes a submission of bytes that have been read.

    Raises:
        ImageError: `empty_file` or `file_too_large`.
    """
    if not data:
        raise refusal("empty_file", "The file is empty (0 bytes).")
    if len(data) > max_bytes(settings):
        raise too_large(max_bytes(settings))
    return Submission(data=data, name=clean_name(name), origin=origin)


def from_path(
    path: Path, settings: Settings, *, origin: Literal["path", "chat"] = "path", name: str | None = None
) -> Submission:
    """Reads a file of this machine, without reading more than the bound.

    Raises:
        CallerError: `no_such_file`, `not_a_file` or `unreadable_file`.
        ImageError: `empty_file` or `file_too_large`.
    """
    shown = clean_name(name or path.name)
    if not path.exists():
        raise CallerError(f"There is no file {shown}.", remedy="Check the path.", code="no_such_file")
    if not path.is_file():
        raise CallerError(f"{shown} is not a file.", remedy="For a folder, use `exposit batch`.", code="not_a_file")
    bound = max_bytes(settings)
    try:
        with path.open("rb") as file:
            data = file.read(bound + 1)
    except OSError as error:
        raise CallerError(
            f"{shown} cannot be read: {error.strerror or 'the system refused'}.",
            remedy="Check that the file may be read.",
            code="unreadable_file",
        ) from error
    return submission(data, shown, origin, settings)
