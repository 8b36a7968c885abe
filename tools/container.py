"""What a file's outer structure tells before any decoder sees it: its kind, its frames, the weight of its metadata.

Each walk is bounded by the file's own length and by a cap, and never fails: a structure that contradicts itself ends
the walk, and the decoder that follows says what is wrong.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

READ = ("JPEG", "PNG", "WebP", "GIF", "BMP", "TIFF", "AVIF", "HEIC")
"""Kinds that are read here."""

_OTHER = {
    b"%PDF": "a PDF document",
    b"8BPS": "a Photoshop document (PSD)",
    b"\x00\x00\x00\x0cjP  ": "JPEG 2000",
    b"\xff\x4f\xff\x51": "JPEG 2000",
    b"\xff\x0a": "JPEG XL",
    b"\x00\x00\x00\x0cJXL ": "JPEG XL",
    b"\x00\x00\x01\x00": "an icon (ICO)",
    b"\x1aE\xdf\xa3": "a Matroska or WebM video",
    b"PK\x03\x04": "a ZIP archive or office document",
    b"FUJIFILMCCD-RAW": "a camera's raw file",
    b"IIU\x00": "a camera's raw file",
    b"qoif": "QOI",
    b"v/1\x01": "OpenEXR",
}
_HEIC = {b"heic", b"heix", b"hevc", b"hevx", b"heim", b"heis", b"mif1", b"msf1"}
_AVIF = {b"avif", b"avis"}


def sniff(data: bytes) -> str | None:
    """The file's kind by its first bytes: one of `READ`, a description of another known kind, or None."""
    if data.startswith(b"\xff\xd8\xff"):
        return "JPEG"
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        return "PNG"
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "WebP"
    if data[:6] in (b"GIF87a", b"GIF89a"):
        return "GIF"
    if data[:2] == b"BM" and len(data) > 26 and struct.unpack_from("<I", data, 14)[0] in (12, 40, 52, 56, 64, 108, 124):
        return "BMP"
    if data[:4] in (b"II*\x00", b"MM\x00*"):
        return "TIFF"
    if data[4:8] == b"ftyp":
        return _iso_brand(data)
    for magic, name in _OTHER.items():
        if data.startswith(magic):
            return name
    if data[:1024].lstrip()[:5].lower() in (b"<svg ", b"<?xml") and b"<svg" in data[:4096].lower():
        return "an SVG drawing"
    return None


def _iso_brand(data: bytes) -> str:
    length = min(int.from_bytes(data[:4], "big"), 256, len(data))
    brands = {data[8:12]} | {data[at : at + 4] for at in range(16, length, 4)}
    if brands & _AVIF:
        return "AVIF"
    if brands & _HEIC:
        return "HEIC"
    return "a video or another ISO media file"


def looks_like(data: bytes) -> str:
    """What the first bytes of an unknown file look like, in words."""
    head = data[:512]
    if head.lstrip()[:15].lower().startswith((b"<!doctype html", b"<html")):
        return "those of a web page"
    try:
        text = head.decode("utf-8", errors="strict") if len(data) <= 512 else head.decode("utf-8", errors="ignore")
    except UnicodeDecodeError:
        return "of no picture format known here"
    if text and sum(c.isprintable() or c in "\r\n\t" for c in text) / len(text) > 0.95:
        return "those of a text"
    return "of no picture format known here"


def metadata_bytes(data: bytes, kind: str) -> int:
    """Bytes of everything in the container that is not the picture itself; 0 where the kind does not tell."""
    if kind == "JPEG":
        return sum(size for marker, size in jpeg_segments(data) if 0xE0 <= marker <= 0xEF or marker == 0xFE)
    if kind == "PNG":
        drawing = {b"IHDR", b"PLTE", b"IDAT", b"IEND", b"fcTL", b"fdAT", b"acTL", b"tRNS"}
        return sum(size for name, size in png_chunks(data) if name not in drawing)
    if kind == "WebP":
        return sum(size for name, size in _riff_chunks(data) if name in (b"EXIF", b"XMP ", b"ICCP"))
    return 0


def frames(data: bytes, kind: str, cap: int) -> int:
    """Frames or pages, counted up to `cap` + 1; 1 where only the decoder can tell."""
    if kind == "GIF":
        return _gif_frames(data, cap)
    if kind == "TIFF":
        return _tiff_pages(data, cap)
    if kind == "WebP":
        return max(1, sum(name == b"ANMF" for name, _ in _riff_chunks(data)))
    return 1


def jpeg_segments(data: bytes) -> Iterator[tuple[int, int]]:
    """Marker and length in bytes of each segment before the first scan."""
    at = 2
    while at + 4 <= len(data) and data[at] == 0xFF:
        marker = data[at + 1]
        if marker == 0xFF:  # fill byte
            at += 1
            continue
        if marker in (0xDA, 0xD9):
            return
        size = int.from_bytes(data[at + 2 : at + 4], "big")
        if size < 2:
            return
        yield marker, size
        at += 2 + size


def png_chunks(data: bytes) -> Iterator[tuple[bytes, int]]:
    """Name and length in bytes of each chunk."""
    at = 8
    while at + 8 <= len(data):
        size = int.from_bytes(data[at : at + 4], "big")
        yield data[at + 4 : at + 8], min(size, len(data) - at - 8)
        at += 12 + size


def _riff_chunks(data: bytes) -> Iterator[tuple[bytes, int]]:
    at = 12
    while at + 8 <= len(data):
        size = int.from_bytes(data[at + 4 : at + 8], "little")
        yield data[at : at + 4], min(size, len(data) - at - 8)
        at += 8 + size + (size & 1)


def _gif_frames(data: bytes, cap: int) -> int:
    if len(data) < 13:
        return 1
    at = 13 + (3 * 2 ** ((data[10] & 7) + 1) if data[10] & 0x80 else 0)
    count = 0
    while at < len(data) and count <= cap:
        block = data[at]
        if block == 0x2C:  # image descriptor
            if at + 10 > len(data):
                break
            count += 1
            flags = data[at + 9]
            at = _after_sub_blocks(data, at + 11 + (3 * 2 ** ((flags & 7) + 1) if flags & 0x80 else 0))
        elif block == 0x21:  # extension
            at = _after_sub_blocks(data, at + 2)
        else:  # trailer, or a structure that contradicts itself
            break
    return max(1, count)


def _after_sub_blocks(data: bytes, at: int) -> int:
    while at < len(data) and data[at]:
        at += 1 + data[at]
    return at + 1


def _tiff_pages(data: bytes, cap: int) -> int:
    order = "<" if data[:2] == b"II" else ">"
    seen: set[int] = set()
    at = struct.unpack_from(order + "I", data, 4)[0] if len(data) >= 8 else 0
    while at and at not in seen and at + 2 <= len(data) and len(seen) <= cap:
        seen.add(at)
        end = at + 2 + 12 * struct.unpack_from(order + "H", data, at)[0]
        at = struct.unpack_from(order + "I", data, end)[0] if end + 4 <= len(data) else 0
    return max(1, len(seen))
