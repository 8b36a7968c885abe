"""Takes the metadata blocks out of a file's bytes, bounded: text chunks, EXIF, XMP, IPTC.

PNG, JPEG and WebP are read here chunk by chunk, so that nothing is decompressed or parsed beyond its bound; for the
other formats Pillow and pi-heif name the blocks. A block that is broken is left out, never an error.
"""

from __future__ import annotations

import io
import struct
import warnings
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from PIL import Image, UnidentifiedImageError

MAX_BLOCK = 4 * 2**20
"""Bytes of one metadata block, decompressed; what goes beyond is dropped and told."""
MAX_BLOCKS = 2000
_MAX_TEXTS = 200

_EXIF, _XMP, _IPTC = b"Exif\0\0", b"http://ns.adobe.com/xap/1.0/\0", b"Photoshop 3.0\0"


@dataclass
class Metadata:
    """Metadata blocks of one file.

    Attributes:
        text: Named texts (PNG text chunks, JPEG and GIF comments under `comment`).
        exif: TIFF-structured EXIF, without the `Exif` preamble.
        xmp: XMP packets.
        iptc: Photoshop image resources that may hold IPTC-IIM.
        dropped: Blocks left out because they were over the bound.
    """

    text: dict[str, str] = field(default_factory=dict)
    exif: list[bytes] = field(default_factory=list)
    xmp: list[bytes] = field(default_factory=list)
    iptc: list[bytes] = field(default_factory=list)
    dropped: int = 0

    def add_text(self, name: str, value: str) -> None:
        """Keeps a text under its name; the first of a name stays."""
        if len(self.text) < _MAX_TEXTS:
            self.text.setdefault(name, value)


def read_metadata(data: bytes, image_format: str) -> Metadata:
    """Reads the metadata blocks of `data`. Never raises for what is in the file."""
    found = Metadata()
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        _png(data, found)
    elif data.startswith(b"\xff\xd8"):
        _jpeg(data, found)
    elif data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        _webp(data, found)
    elif image_format in ("HEIF", "HEIC", "AVIF"):
        _heif(data, found)
    else:
        _pillow(data, found)
    _raw_profiles(found)
    return found


def _png(data: bytes, found: Metadata) -> None:
    at = 8
    for _ in range(MAX_BLOCKS):
        if at + 8 > len(data):
            return
        size, kind = struct.unpack_from(">I4s", data, at)
        body = at + 8
        at = body + size + 4
        if kind in (b"tEXt", b"zTXt", b"iTXt", b"eXIf"):
            if size > MAX_BLOCK:
                found.dropped += 1
                continue
            chunk = data[body : body + size]
            if kind == b"eXIf":
                found.exif.append(chunk.removeprefix(_EXIF))
            else:
                _png_text(kind, chunk, found)
        elif kind == b"IEND":
            return


def _png_text(kind: bytes, chunk: bytes, found: Metadata) -> None:
    name, mark, rest = chunk.partition(b"\0")
    if not mark:
        return
    encoding = "latin-1"
    value: bytes | None = rest
    if kind == b"zTXt":
        value = _inflate(rest[1:], found)
    elif kind == b"iTXt":
        encoding = "utf-8"
        packed, rest = rest[:1] == b"\1", rest[2:]
        rest = rest.partition(b"\0")[2].partition(b"\0")[2]
        value = _inflate(rest, found) if packed else rest
    if value is None:
        return
    key = name.decode("latin-1")
    if key == "XML:com.adobe.xmp":
        found.xmp.append(value)
        return
    # Latin-1 is what the standard says; most generators write UTF-8 all the same.
    found.add_text(key, _decoded(value) if encoding == "latin-1" else value.decode("utf-8", "replace"))


def _decoded(value: bytes) -> str:
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError:
        return value.decode("latin-1")


def _inflate(packed: bytes, found: Metadata) -> bytes | None:
    engine = zlib.decompressobj()
    try:
        value = engine.decompress(packed, MAX_BLOCK)
    except zlib.error:
        return None
    if engine.unconsumed_tail:
        found.dropped += 1
        return None
    return value


def _jpeg(data: bytes, found: Metadata) -> None:
    resources: list[bytes] = []
    for marker, body in jpeg_segments(data):
        if marker == 0xE1 and body.startswith(_EXIF):
            found.exif.append(body[len(_EXIF) :])
        elif marker == 0xE1 and body.startswith(_XMP):
            found.xmp.append(body[len(_XMP) :])
        elif marker == 0xED and body.startswith(_IPTC):
            resources.append(body[len(_IPTC) :])
        elif marker == 0xFE:
            found.add_text("comment", _decoded(body))
    if resources:
        found.iptc.append(b"".join(resources))  # one resource block may span segments


def jpeg_segments(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Marker and body of each segment of a JPEG before its image data; stops at the first that is broken."""
    at = 2
    for _ in range(MAX_BLOCKS):
        if at + 4 > len(data) or data[at] != 0xFF:
            return
        marker = data[at + 1]
        if marker == 0xFF:  # fill byte
            at += 1
            continue
        if marker in (0xDA, 0xD9):  # image data begins, or the file ends
            return
        if marker == 0x01 or 0xD0 <= marker <= 0xD8:  # markers without a body
            at += 2
            continue
        size = int.from_bytes(data[at + 2 : at + 4], "big")
        yield marker, data[at + 4 : at + 2 + max(size, 2)]
        at += 2 + max(size, 2)


def _webp(data: bytes, found: Metadata) -> None:
    at = 12
    for _ in range(MAX_BLOCKS):
        if at + 8 > len(data):
            return
        kind, size = struct.unpack_from("<4sI", data, at)
        if kind in (b"EXIF", b"XMP "):
            if size > MAX_BLOCK:
                found.dropped += 1
            else:
                body = data[at + 8 : at + 8 + size]
                (found.exif if kind == b"EXIF" else found.xmp).append(body.removeprefix(_EXIF))
        at += 8 + size + (size & 1)


def _heif(data: bytes, found: Metadata) -> None:
    import pi_heif

    try:
        info = pi_heif.open_heif(data, convert_hdr_to_8bit=False).info
    except (ValueError, OSError, EOFError, SyntaxError, RuntimeError, MemoryError):
        return _pillow(data, found)
    _blocks(info, found)
    return None


def _pillow(data: bytes, found: Metadata) -> None:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow warns of broken tags; the file was decoded before
            with Image.open(io.BytesIO(data)) as image:
                exif = image.getexif().tobytes() if image.format == "TIFF" else None
                info = dict(image.info)
                tags = getattr(image, "tag_v2", {})
                for tag, kept in ((700, found.xmp), (34377, found.iptc)):
                    value = tags.get(tag) if tags else None
                    if isinstance(value, bytes) and len(value) <= MAX_BLOCK:
                        kept.append(value)
    except (UnidentifiedImageError, Image.DecompressionBombError, ValueError, OSError, SyntaxError, RuntimeError):
        return
    except (KeyError, TypeError, IndexError, struct.error, OverflowError, MemoryError):
        return  # Pillow's parsers of tags raise these on strange values
    if exif:
        found.exif.append(exif.removeprefix(_EXIF))
    _blocks(info, found)


def _blocks(info: Mapping[Any, Any], found: Metadata) -> None:
    for name, value in info.items():
        if isinstance(value, str):
            value = value.encode("utf-8", "replace")
        if not isinstance(value, bytes) or name in ("icc_profile", "icc"):
            continue
        if len(value) > MAX_BLOCK:
            found.dropped += 1
        elif name == "exif":
            found.exif.append(value.removeprefix(_EXIF))
        elif name in ("xmp", "XML:com.adobe.xmp"):
            found.xmp.append(value)
        elif name == "comment":
            found.add_text("comment", _decoded(value))


def _raw_profiles(found: Metadata) -> None:
    """ImageMagick keeps EXIF, IPTC and XMP in PNG texts named `Raw profile type …`: a name, a length, then hex."""
    for name, value in found.text.items():
        kind = name.removeprefix("Raw profile type ").strip().lower()
        if kind == name.lower() or len(value) > 2 * MAX_BLOCK:
            continue
        lines = value.strip().split("\n")
        try:
            raw = bytes.fromhex("".join(lines[2:]))
        except ValueError:
            continue
        if kind in ("exif", "app1"):
            if raw.startswith(_XMP):
                found.xmp.append(raw[len(_XMP) :])
            else:
                found.exif.append(raw.removeprefix(_EXIF))
        elif kind == "xmp":
            found.xmp.append(raw)
        elif kind in ("iptc", "8bim"):
            found.iptc.append(raw.removeprefix(_IPTC))
