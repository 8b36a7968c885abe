"""Originals and maps on disk, named by their sha256."""

from __future__ import annotations

import hashlib
import os
import re
import tempfile
import time
from pathlib import Path

from tools.errors import IntegrityError, NotFoundError

_SHA256 = re.compile(r"[0-9a-f]{64}")
_LEFTOVER_S = 3600.0


def is_sha256(text: str) -> bool:
    """Whether `text` is a sha256 in lower-case hexadecimal, and so safe as a file name."""
    return _SHA256.fullmatch(text) is not None


class BlobStore:
    """Files that are written once, under `root/ab/cd/abcd…`. Safe for several processes at a time.

    The calls block; from a coroutine use `asyncio.to_thread`.

    Args:
        root: Folder of the files; made where it is missing. Half-written files of a process that was killed
            more than an hour ago are removed.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self._partial = root / "partial"
        self._partial.mkdir(parents=True, exist_ok=True)
        for leftover in self._partial.iterdir():
            try:
                if time.time() - leftover.stat().st_mtime > _LEFTOVER_S:
                    leftover.unlink()
            except FileNotFoundError:  # its writer was only slow, and has just finished
                continue

    def path(self, sha256: str) -> Path:
        """Where the bytes of that hash lie, or would lie.

        Raises:
            NotFoundError: if `sha256` is no hash; nothing else is ever made part of a path.
        """
        if not is_sha256(sha256):
            raise NotFoundError(
                "That is not the name of a stored file.", remedy="A name is a sha256: 64 characters, 0-9 and a-f."
            )
        return self.root / sha256[:2] / sha256[2:4] / sha256

    def exists(self, sha256: str) -> bool:
        """Whether bytes are stored under that hash."""
        return self.path(sha256).is_file()

    def put(self, data: bytes) -> str:
        """Stores `data` and returns its sha256. When this returns, the bytes survive a power cut.

        A file that was damaged on disk is put right.
        """
        sha256 = hashlib.sha256(data).hexdigest()
        target = self.path(sha256)
        if target.is_file() and target.stat().st_size == len(data) and target.read_bytes() == data:
            return sha256
        made = [folder for folder in (target.parent.parent, target.parent) if not folder.exists()]
        target.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=self._partial)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            os.replace(name, target)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise
        for folder in (target.parent, *(folder.parent for folder in made)):
            _sync_folder(folder)
        return sha256

    def get(self, sha256: str) -> bytes:
        """The bytes of that hash.

        Raises:
            NotFoundError: if nothing is stored under it.
            IntegrityError: if the file no longer has that hash.
        """
        path = self.path(sha256)
        try:
            data = path.read_bytes()
        except FileNotFoundError:
            raise NotFoundError(f"No file is stored under the hash {sha256}.") from None
        found = hashlib.sha256(data).hexdigest()
        if found != sha256:
            raise IntegrityError(
                f"The stored file {sha256} was altered or damaged: its bytes now have the hash {found}.",
                remedy="Restore it from a backup.",
                code="blob_altered",
            )
        return data

    def remove(self, sha256: str) -> bool:
        """Deletes the bytes of that hash for good. Returns whether there were any."""
        path = self.path(sha256)
        try:
            path.unlink()
        except FileNotFoundError:
            return False
        _sync_folder(path.parent)
        return True


def _sync_folder(folder: Path) -> None:
    """Makes new names in `folder` survive a power cut."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
