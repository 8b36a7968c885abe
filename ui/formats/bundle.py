"""The evidence bundle: a zip of everything about a case with a manifest of SHA-256, and its check without the log.

A bundle that holds is whole and agrees with itself. Who made it is not shown by that: whoever can make one anew can
make every hash in it anew. For that, note the hash of the manifest when the bundle is made (`exposit bundle` prints
it), or ask whoever runs the log whether the audit rows stand in it.
"""

from __future__ import annotations

import hashlib
import io
import json
import re
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any, Final, Literal

from pydantic import ValidationError

from agent import audit
from agent.audit import Entry
from agent.verdict import Report
from tools.contract import Frozen
from tools.errors import CallerError, IntegrityError
from ui.formats import claimreview, html, pdf
from ui.formats.dossier import Dossier

MANIFEST: Final = "manifest.json"
FORMAT: Final = "exposit-bundle"
_MAX_FILES: Final = 500
_MAX_BYTES: Final = 600 * 2**20
_MAX_TEXT: Final = 32 * 2**20
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*(/[A-Za-z0-9][A-Za-z0-9._-]*)*")
_KINDS: Final = {"JPEG": "jpg", "PNG": "png", "WEBP": "webp", "GIF": "gif", "TIFF": "tif", "HEIF": "heic"}
_README: Final = """An evidence bundle of Exposit.

report.json       the report as it was stored; this is what counts
report.html       the same for people, with pictures; stands alone
report.pdf        the same for print
claimreview.json  draft of schema.org markup
audit.json        the rows of the audit trail that tell of this case, and the end of the trail when this was made
maps/             what the tools drew, each named by its SHA-256
original/         the file that was examined, byte for byte, named by its SHA-256 (only where it was asked for)
manifest.json     SHA-256 and size of every other file

Check it without a network and without the log:  exposit verify BUNDLE
Without Exposit: compare the SHA-256 of each file with manifest.json, and that of report.json with "report_sha256" in
an audit row "case_finished" or "report_revised"; each row's hash is the SHA-256 of its other six fields as JSON with
sorted keys, no spaces and ASCII only.

This shows that the bundle is whole and agrees with itself. It does not show who made it.
"""


class ManifestFile(Frozen):
    """A file of the bundle."""

    path: str
    sha256: str
    bytes: int


class Manifest(Frozen):
    """What is in the bundle. `manifest.json` is not in its own list."""

    format: Literal["exposit-bundle"] = FORMAT
    version: Literal[1] = 1
    case_id: str
    examined_at: datetime
    image_sha256: str
    files: tuple[ManifestFile, ...]


@dataclass(frozen=True, slots=True)
class Verified:
    """What the check of a bundle found to hold.

    Attributes:
        manifest_sha256: To compare with what was noted when the bundle was made.
        original: Whether the examined file is inside.
        head: Number and hash of the end of the audit trail when the bundle was made.
    """

    case_id: str
    label: str
    files: int
    original: bool
    image_sha256: str
    manifest_sha256: str
    head_seq: int
    head_hash: str


def write(dossier: Dossier, *, original: bool = False) -> bytes:
    """The bundle. The same case, with the same audit trail, gives the same bytes.

    Args:
        dossier: The case.
        original: Whether the examined file goes in.

    Raises:
        CallerError: where the original is asked for and no longer kept.
    """
    report = dossier.report
    trail = {"rows": [asdict(row) for row in dossier.audit], "head": asdict(dossier.head)}
    files: dict[str, bytes] = {
        "README.txt": _README.encode(),
        "report.json": dossier.report_text.encode(),
        "report.html": html.render(dossier).encode(),
        "report.pdf": pdf.render(dossier),
        "claimreview.json": claimreview.text(report).encode(),
        "audit.json": _json(trail),
    }
    files |= {f"maps/{each.sha256}.png": each.png for each in dossier.drawings}
    if original:
        if dossier.original is None:
            raise CallerError(
                "The original is no longer kept, so it cannot go into the bundle.",
                remedy="Make the bundle without it.", code="original_gone",
            )  # fmt: skip
        files[_original_name(report)] = dossier.original
    manifest = Manifest(
        case_id=report.case_id, examined_at=report.created_at, image_sha256=report.image.sha256,
        files=tuple(
            ManifestFile(path=path, sha256=hashlib.sha256(data).hexdigest(), bytes=len(data))
            for path, data in sorted(files.items())
        ),
    )  # fmt: skip
    files[MANIFEST] = _json(manifest.model_dump(mode="json"))
    return _zip(files, report.created_at)


def manifest_sha256(bundle: bytes) -> str:
    """Hash of the manifest of a bundle that was just made."""
    with zipfile.ZipFile(io.BytesIO(bundle)) as held:
        return hashlib.sha256(held.read(MANIFEST)).hexdigest()


def _original_name(report: Report) -> str:
    return f"original/{report.image.sha256}.{_KINDS.get(report.image.format, 'bin')}"


def _json(value: Mapping[str, Any]) -> bytes:
    return (json.dumps(value, ensure_ascii=False, indent=1) + "\n").encode()


def _zip(files: Mapping[str, bytes], moment: datetime) -> bytes:
    """Stored, not compressed: what zlib makes of the same bytes differs between its versions."""
    when = max(moment.astimezone(UTC), datetime(1980, 1, 1, tzinfo=UTC))
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as made:
        for path in (MANIFEST, *sorted(files.keys() - {MANIFEST})):
            entry = zipfile.ZipInfo(path, when.timetuple()[:6])
            entry.create_system, entry.external_attr = 3, 0o100644 << 16
            made.writestr(entry, files[path])
    return buffer.getvalue()


def verify(path: Path) -> Verified:
    """Checks a bundle. Nothing is unpacked to disk, and no more is read than the manifest tells of.

    Raises:
        CallerError: naming what does not hold: `bundle_unreadable`, `bundle_unsafe`, `bundle_too_large`,
            `bundle_manifest`, `bundle_missing`, `bundle_added` or `bundle_altered`.
    """
    try:
        with path.open("rb") as file:
            return _verify(file)
    except FileNotFoundError:
        raise CallerError(f"There is no file {path}.", remedy="Check the path.", code="no_such_file") from None
    except (zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError, EOFError, OSError) as error:
        raise _fault("bundle_unreadable", f"It cannot be read as a zip file ({type(error).__name__}).") from error


def _fault(code: str, what: str) -> CallerError:
    return CallerError(
        f"The bundle does not hold. {what}", remedy="Do not rely on it; ask for it again from whoever made it.",
        code=code,
    )  # fmt: skip


def _verify(file: IO[bytes]) -> Verified:
    with zipfile.ZipFile(file) as held:
        entries = _safe_entries(held)
        if MANIFEST not in entries:
            raise _fault("bundle_manifest", f"It has no {MANIFEST}.")
        raw = _read(held, entries[MANIFEST], _MAX_TEXT)
        try:
            manifest = Manifest.model_validate_json(raw)
        except ValidationError as error:
            raise _fault("bundle_manifest", f"Its {MANIFEST} does not have the agreed form.") from error
        told = {entry.path: entry for entry in manifest.files}
        if len(told) != len(manifest.files):
            raise _fault("bundle_manifest", f"Its {MANIFEST} names a file twice.")
        for path in sorted(told.keys() - entries.keys()):
            raise _fault("bundle_missing", f"The file {path} is missing.")
        for path in sorted(entries.keys() - told.keys() - {MANIFEST}):
            raise _fault("bundle_added", f"The file {path} is not in the manifest: it was added.")
        kept: dict[str, bytes] = {}
        for path, entry in told.items():
            found = _digest(held, entries[path], entry.bytes)
            if found != entry.sha256:
                raise _fault("bundle_altered", f"The file {path} was altered: its SHA-256 is {found}.")
            if path in ("report.json", "audit.json"):
                kept[path] = _read(held, entries[path], _MAX_TEXT)
    head = _agrees(manifest, told, kept)
    report = _report(kept)
    return Verified(
        case_id=manifest.case_id, label=report.verdict.label, files=len(told), original=_original_name(report) in told,
        image_sha256=manifest.image_sha256, manifest_sha256=hashlib.sha256(raw).hexdigest(), head_seq=head.seq,
        head_hash=head.hash,
    )  # fmt: skip


def _safe_entries(held: zipfile.ZipFile) -> dict[str, zipfile.ZipInfo]:
    """The entries by name, refused where a program that unpacks them could be led astray or filled up."""
    listed = held.infolist()
    if len(listed) > _MAX_FILES:
        raise _fault("bundle_too_large", f"It has more than {_MAX_FILES} files.")
    if sum(entry.file_size for entry in listed) > _MAX_BYTES:
        raise _fault("bundle_too_large", f"Unpacked it is larger than {_MAX_BYTES // 2**20} MiB.")
    if held.comment or min((entry.header_offset for entry in listed), default=0):
        raise _fault("bundle_added", "Something was added around its files.")
    entries: dict[str, zipfile.ZipInfo] = {}
    for entry in listed:
        name = entry.orig_filename
        kind = (entry.external_attr >> 16) & 0o170000
        if not _NAME.fullmatch(name) or kind not in (0, 0o100000):
            raise _fault("bundle_unsafe", f"It holds {name!r}, which is not the name of a plain file inside it.")
        if entry.flag_bits & 1 or entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise _fault("bundle_unsafe", f"The file {name} is encrypted, or packed in an unusual way.")
        if name in entries:
            raise _fault("bundle_unsafe", f"It holds two files named {name}.")
        entries[name] = entry
    return entries


def _digest(held: zipfile.ZipFile, entry: zipfile.ZipInfo, told: int) -> str:
    """SHA-256 of an entry; reading stops where it is longer than the manifest tells, whatever its header says."""
    digest, left = hashlib.sha256(), told
    try:
        with held.open(entry) as stream:
            while chunk := stream.read(min(1 << 20, left + 1)):
                left -= len(chunk)
                if left < 0:
                    break
                digest.update(chunk)
    except (zipfile.BadZipFile, zlib.error) as error:
        raise _fault("bundle_altered", f"The file {entry.filename} was altered or damaged.") from error
    if left:
        size = "larger" if left < 0 else "smaller"
        raise _fault("bundle_altered", f"The file {entry.filename} was altered: it is {size} than the manifest tells.")
    return digest.hexdigest()


def _read(held: zipfile.ZipFile, entry: zipfile.ZipInfo, bound: int) -> bytes:
    with held.open(entry) as stream:
        data = stream.read(bound + 1)
    if len(data) > bound:
        raise _fault("bundle_too_large", f"The file {entry.filename} is larger than {bound // 2**20} MiB.")
    return data


def _report(kept: Mapping[str, bytes]) -> Report:
    if "report.json" not in kept or "audit.json" not in kept:
        raise _fault("bundle_manifest", "It has no report.json or no audit.json.")
    try:
        return Report.model_validate_json(kept["report.json"])
    except ValidationError as error:
        raise _fault("bundle_manifest", "Its report.json is no report that this version can read.") from error


def _agrees(manifest: Manifest, told: Mapping[str, ManifestFile], kept: Mapping[str, bytes]) -> audit.Head:
    """Checks that report, pictures and audit rows speak of each other. Returns the end of the trail."""
    report = _report(kept)
    if report.case_id != manifest.case_id or report.image.sha256 != manifest.image_sha256:
        raise _fault("bundle_altered", "Manifest and report speak of different cases.")
    drawn = {f"maps/{each.sha256}.png" for item in report.evidence for each in item.maps}
    for path, entry in told.items():
        folder, _, name = path.rpartition("/")
        if folder and (entry.sha256 != name.partition(".")[0] or path not in drawn | {_original_name(report)}):
            raise _fault("bundle_altered", f"The file {path} is not one that the report tells of.")
    rows, head = _trail(kept["audit.json"])
    _check_rows(rows, head, manifest.case_id)
    begun = [json.loads(row.payload) for row in rows if row.action == "case_begun"]
    reports = [json.loads(row.payload) for row in rows if row.action in ("case_finished", "report_revised")]
    if told["report.json"].sha256 not in [each.get("report_sha256") for each in reports]:
        raise _fault("bundle_altered", "No audit row of the case holds the hash of its report.json.")
    if len(begun) != 1 or begun[0].get("image_sha256") != report.image.sha256:
        raise _fault("bundle_altered", "The audit row of the case's beginning holds the hash of another picture.")
    return head


def _trail(raw: bytes) -> tuple[list[Entry], audit.Head]:
    try:
        told = json.loads(raw)
        rows = [Entry(**row) for row in told["rows"]]
        head = audit.Head(**told["head"])
        ordered = all(isinstance(row.seq, int) for row in rows) and isinstance(head.seq, int)
    except (ValueError, TypeError, KeyError) as error:
        raise _fault("bundle_manifest", "Its audit.json does not have the agreed form.") from error
    if not ordered:
        raise _fault("bundle_manifest", "Its audit.json does not have the agreed form.")
    return rows, head


def _check_rows(rows: list[Entry], head: audit.Head, case_id: str) -> None:
    before: Entry | None = None
    for row in rows:
        reached = audit.Head(row.seq - 1, row.previous)
        if before is not None and before.seq == row.seq - 1:
            reached = audit.Head(before.seq, before.hash)
        try:
            audit.step(reached, row)
        except IntegrityError as error:
            raise _fault("bundle_altered", error.message) from error
        if row.case_id != case_id or (before is not None and row.seq <= before.seq) or row.seq > head.seq:
            raise _fault("bundle_altered", f"Audit row {row.seq} is not of this case, or not in its place.")
        if row.seq == head.seq and row.hash != head.hash:
            raise _fault("bundle_altered", "The end of the audit trail carries another hash than its last row.")
        before = row
