from __future__ import annotations

import asyncio
import io
import json
import shutil
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from agent.service import Submission
from agent.settings import Settings
from tests.conftest import encoded, picture
from tests.ui.fakes import FakeExplainer
from tests.ui.formats.conftest import Make
from tools.errors import CallerError
from ui.formats.bundle import MANIFEST, Verified, manifest_sha256, verify, write
from ui.formats.dossier import gather

Files = dict[str, bytes]


def unpacked(bundle: bytes) -> Files:
    with zipfile.ZipFile(io.BytesIO(bundle)) as held:
        return {name: held.read(name) for name in held.namelist()}


def packed(files: Files, kind: int = zipfile.ZIP_DEFLATED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", kind) as made:
        for name, data in files.items():
            made.writestr(name, data)
    return buffer.getvalue()


def checked(folder: Path, bundle: bytes) -> Verified:
    path = folder / "bundle.zip"
    path.write_bytes(bundle)
    return verify(path)


def refused(folder: Path, bundle: bytes) -> CallerError:
    with pytest.raises(CallerError) as caught:
        checked(folder, bundle)
    return caught.value


@pytest.fixture(scope="module")
def sound() -> bytes:
    """A bundle that holds."""
    settings = Settings()
    fake = FakeExplainer(settings)

    async def made() -> bytes:
        given = Submission(data=encoded(picture(64, 48)), name="a.jpg")
        return write(await gather(fake, settings, (await fake.explain(given)).case_id))

    return asyncio.run(made())


async def test_a_bundle_holds_and_is_the_same_each_time(make: Make, tmp_path: Path) -> None:
    dossier = await make()
    made = write(dossier)
    assert made == write(await make(fresh=True))
    found = checked(tmp_path, made)
    assert (found.case_id, found.label, found.original) == ("case-0001", "generated", False)
    assert (found.head_seq, found.head_hash) == (12, "c" * 64)
    assert found.manifest_sha256 == manifest_sha256(made)
    whole = write(dossier, original=True)
    assert checked(tmp_path, whole).original
    assert dossier.original in unpacked(whole).values()
    files = unpacked(made)
    assert set(files) >= {"report.json", "report.html", "report.pdf", "claimreview.json", "audit.json", "README.txt"}
    assert files["report.json"].decode() == dossier.report_text
    assert checked(tmp_path, packed(files)) == found  # unpacked and packed anew by a person


def _edit(name: str, old: bytes, new: bytes) -> Callable[[Files], None]:
    def change(files: Files) -> None:
        assert old in files[name]
        files[name] = files[name].replace(old, new)

    return change


def _forged(name: str, old: bytes, new: bytes) -> Callable[[Files], None]:
    """Alters a file, and its entry in the manifest with it."""

    def change(files: Files) -> None:
        import hashlib

        _edit(name, old, new)(files)
        manifest = json.loads(files[MANIFEST])
        for entry in manifest["files"]:
            if entry["path"] == name:
                entry |= {"sha256": hashlib.sha256(files[name]).hexdigest(), "bytes": len(files[name])}
        files[MANIFEST] = json.dumps(manifest).encode()

    return change


def _removed(files: Files) -> None:
    del files["report.pdf"]


def _added(files: Files) -> None:
    files["maps/more.png"] = b"x"


def _no_manifest(files: Files) -> None:
    del files[MANIFEST]


@pytest.mark.parametrize(
    ("change", "code", "said"),
    [
        (_edit("report.html", b"probably", b"probablx"), "bundle_altered", "report.html"),
        (_edit("report.json", b'"generated"', b'"authentic"'), "bundle_altered", "report.json"),
        (_edit("audit.json", b"case_begun", b"case_bagun"), "bundle_altered", "audit.json"),
        (_edit(MANIFEST, b"case-0001", b"case-0002"), "bundle_altered", "different cases"),
        (_forged("report.json", b"0.83", b"0.13"), "bundle_altered", "No audit row"),
        (_forged("audit.json", b"case-0001", b"case-0003"), "bundle_altered", "does not match its hash"),
        (_removed, "bundle_missing", "report.pdf"),
        (_added, "bundle_added", "maps/more.png"),
        (_no_manifest, "bundle_manifest", MANIFEST),
        (_edit(MANIFEST, b'"version": 1', b'"version": 2'), "bundle_manifest", "agreed form"),
    ],
)
def test_what_was_changed_is_found(
    sound: bytes, tmp_path: Path, change: Callable[[Files], None], code: str, said: str
) -> None:
    files = unpacked(sound)
    change(files)
    error = refused(tmp_path, packed(files))
    assert (error.code, said in error.message) == (code, True), error.message


def test_a_flipped_byte_anywhere_in_the_file_is_refused(sound: bytes, tmp_path: Path) -> None:
    for at in range(40, len(sound), len(sound) // 40):
        altered = bytearray(sound)
        altered[at] ^= 0x20
        assert refused(tmp_path, bytes(altered)).code.startswith("bundle_"), at


@pytest.mark.parametrize("name", ["../evil", "/etc/passwd", "maps/../../evil", "a\\b", "C:evil", "maps//x", ".hidden"])
def test_names_that_lead_out_are_refused(sound: bytes, tmp_path: Path, name: str) -> None:
    files = unpacked(sound)
    assert refused(tmp_path, packed(files | {name: b"x"})).code == "bundle_unsafe"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bundle.zip"]


def test_links_doubles_bombs_and_what_is_no_zip_are_refused(
    sound: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = unpacked(sound)
    link = zipfile.ZipInfo("report.pdf")
    link.create_system, link.external_attr = 3, 0o120777 << 16
    buffer = io.BytesIO(packed({name: data for name, data in files.items() if name != "report.pdf"}))
    with zipfile.ZipFile(buffer, "a") as made:
        made.writestr(link, "/etc/passwd")
    assert refused(tmp_path, buffer.getvalue()).code == "bundle_unsafe"

    buffer = io.BytesIO(packed(files))
    with zipfile.ZipFile(buffer, "a") as made, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # zipfile warns of the double that is wanted here
        made.writestr("report.json", files["report.json"])
    assert refused(tmp_path, buffer.getvalue()).code == "bundle_unsafe"

    monkeypatch.setattr("ui.formats.bundle._MAX_BYTES", 5 * 2**20)
    assert refused(tmp_path, packed(files | {"bomb": bytes(5 * 2**20)})).code == "bundle_too_large"
    assert refused(tmp_path, packed(files | {f"f{n}": b"" for n in range(600)})).code == "bundle_too_large"
    assert refused(tmp_path, b"no zip at all").code == "bundle_unreadable"
    assert refused(tmp_path, b"#!/bin/sh\n" + packed(files)).code == "bundle_added"
    shutil.rmtree(tmp_path)
    with pytest.raises(CallerError, match="There is no file"):
        verify(tmp_path / "bundle.zip")


def test_a_header_that_lies_about_its_size_does_not_fill_the_memory(sound: bytes, tmp_path: Path) -> None:
    files = unpacked(sound)
    told = files["README.txt"]
    bundle = packed({**files, "README.txt": told + bytes(50 * 2**20)})
    size, lie = (len(told) + 50 * 2**20).to_bytes(4, "little"), len(told).to_bytes(4, "little")
    assert size in bundle
    assert refused(tmp_path, bundle.replace(size, lie)).code == "bundle_altered"
