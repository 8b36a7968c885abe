"""Reads fields out of metadata blocks: EXIF through Pillow, XMP through defusedxml, IPTC-IIM by hand."""

from __future__ import annotations

import struct
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from PIL import Image

_GPS, _SUB = 0x8825, 0x8769
_EXIF_NAMES = {
    0x000B: "ProcessingSoftware",
    0x010E: "ImageDescription",
    0x010F: "Make",
    0x0110: "Model",
    0x0131: "Software",
    0x013B: "Artist",
    0x013C: "HostComputer",
    0x9C9B: "XPTitle",
    0x9C9C: "XPComment",
}
_SUB_NAMES = {
    0x829A: "ExposureTime",
    0x829D: "FNumber",
    0x8827: "ISO",
    0x9003: "DateTimeOriginal",
    0x920A: "FocalLength",
    0x927C: "MakerNote",
    0x9286: "UserComment",
    0xA434: "LensModel",
}
_MAX_XMP = 2 * 2**20
_MAX_NODES = 20_000


@dataclass
class Exif:
    """Fields of an EXIF block, by name; `gps` says only that a position is present."""

    fields: dict[str, str] = field(default_factory=dict)
    gps: bool = False


def read_exif(block: bytes) -> Exif:
    """Reads the fields that speak of provenance. Never raises; a broken block gives what could be read."""
    found = Exif()
    exif = Image.Exif()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow warns of broken tags
            exif.load(b"Exif\0\0" + block)
            little = block[:2] == b"II"
            _take(dict(exif), _EXIF_NAMES, found, little)
            _take(dict(exif.get_ifd(_SUB)), _SUB_NAMES, found, little)
            gps = dict(exif.get_ifd(_GPS))
            found.gps = any(gps.get(tag) for tag in (2, 4))  # latitude or longitude
    except Exception:  # noqa: S110
        # Pillow's tag parsers raise whatever their arithmetic meets (struct.error, KeyError, ZeroDivisionError, …);
        # which ones is not documented, and what was read before stands.
        pass
    return found


def _take(tags: dict[int, Any], names: dict[int, str], found: Exif, little: bool) -> None:
    for tag, name in names.items():
        value = tags.get(tag)
        if value is None:
            continue
        if name == "UserComment":
            text = user_comment(value, little) if isinstance(value, bytes) else str(value)
        elif name.startswith("XP"):
            raw = bytes(value) if isinstance(value, bytes | tuple) else str(value).encode()
            text = raw.decode("utf-16-le", "replace")
        elif isinstance(value, bytes):
            text = "" if name == "MakerNote" and not _readable(value) else value.decode("utf-8", "replace")
        else:
            text = _mended(str(value))
        if text := text.strip("\0 \t\r\n"):
            found.fields[name] = text


def _mended(text: str) -> str:
    """Pillow reads EXIF text as Latin-1, as the standard has it in spirit; most programs write UTF-8."""
    try:
        return text.encode("latin-1").decode("utf-8")
    except UnicodeError:
        return text


def _readable(value: bytes) -> bool:
    return len(value) < 200 and value.strip(b"\0").isascii() and value.strip(b"\0").decode("ascii").isprintable()


def user_comment(value: bytes, little: bool = False) -> str:
    """Decodes an EXIF UserComment by its 8-byte character code (ASCII, UNICODE, JIS, undefined).

    UNICODE should follow the byte order of the file, yet most writers of generation parameters use big-endian in
    every file; so the order that gives more ASCII is taken.
    """
    code, body = value[:8], value[8:]
    if code == b"UNICODE\0":
        if body[:2] in (b"\xff\xfe", b"\xfe\xff"):
            return body.decode("utf-16", "replace")
        orders = ("utf-16-le", "utf-16-be") if little else ("utf-16-be", "utf-16-le")
        return max((body.decode(order, "replace") for order in orders), key=lambda t: sum(c.isascii() for c in t))
    if code == b"JIS\0\0\0\0\0":
        for name in ("iso2022_jp", "euc_jp", "shift_jis"):
            try:
                return body.decode(name)
            except UnicodeDecodeError:
                continue
        return body.decode("ascii", "replace")
    if code in (b"ASCII\0\0\0", b"\0" * 8):
        return body.decode("utf-8", "replace")
    return value.decode("utf-8", "replace")


def read_xmp(packet: bytes) -> list[tuple[str, str]]:
    """Reads an XMP packet as (local name, value) pairs, in order: attributes and leaf texts alike.

    A packet that is too big, malformed, or uses a DTD or entities gives nothing.
    """
    import defusedxml.ElementTree
    from defusedxml import DefusedXmlException

    if len(packet) > _MAX_XMP:
        return []
    start, end = packet.find(b"<"), packet.rfind(b">")
    try:
        root = defusedxml.ElementTree.fromstring(packet[start : end + 1], forbid_dtd=True)
    except (DefusedXmlException, SyntaxError, ValueError, LookupError, RecursionError):
        return []
    pairs: list[tuple[str, str]] = []
    waiting: list[tuple[str, Any]] = [("", root)]
    for _ in range(_MAX_NODES):
        if not waiting:
            break
        name, node = waiting.pop()
        local = str(node.tag).rpartition("}")[2]
        # Values stand in rdf:Alt, rdf:Bag, rdf:li and rdf:value, and are named by what holds those.
        named = name if local in ("Alt", "Bag", "Seq", "li", "value", "Description") and name else local
        for key, value in node.attrib.items():
            attribute = str(key).rpartition("}")[2]
            pairs.append((named if attribute == "resource" else attribute, str(value)))
        if len(node) == 0 and node.text and node.text.strip():
            pairs.append((named, node.text.strip()))
        waiting.extend((named, child) for child in reversed(list(node)))
    return pairs


_IIM = {65: "program", 80: "byline", 110: "credit", 115: "source", 120: "caption"}


def read_iptc(resources: bytes) -> dict[str, str]:
    """Reads IPTC-IIM record 2 out of Photoshop image resources (resource 0x0404), or out of bare IIM."""
    iim = next(_iim_blocks(resources), resources if resources[:2] == b"\x1c\x02" else b"")
    found: dict[str, str] = {}
    at = 0
    while at + 5 <= len(iim) and iim[at] == 0x1C and len(found) < 50:
        record, dataset, size = struct.unpack_from(">BBH", iim, at + 1)
        at += 5
        if size & 0x8000:
            return found  # extended datasets hold objects, not text
        if record == 2 and dataset in _IIM:
            value = iim[at : at + size]
            found.setdefault(_IIM[dataset], value.decode("utf-8", "replace").strip("\0 "))
        at += size
    return found


def _iim_blocks(resources: bytes) -> Iterator[bytes]:
    at = 0
    while resources[at : at + 4] == b"8BIM" and at + 12 <= len(resources):
        number = int.from_bytes(resources[at + 4 : at + 6], "big")
        at += 6
        at += (resources[at] + 2) & ~1 if at < len(resources) else 2  # a Pascal string, padded to even
        size = int.from_bytes(resources[at : at + 4], "big")
        at += 4
        if number == 0x0404:
            yield resources[at : at + size]
        at += (size + 1) & ~1
