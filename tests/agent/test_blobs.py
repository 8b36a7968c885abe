"""Files by hash."""

from __future__ import annotations

import hashlib
import os
import threading
import time
from pathlib import Path

import pytest

from agent.blobs import BlobStore
from tools.errors import IntegrityError, NotFoundError


@pytest.fixture
def blobs(tmp_path: Path) -> BlobStore:
    return BlobStore(tmp_path / "blobs")


def files(blobs: BlobStore) -> list[Path]:
    return [path for path in blobs.root.rglob("*") if path.is_file()]


def test_round_trip(blobs: BlobStore) -> None:
    data = os.urandom(100_000)
    sha256 = blobs.put(data)
    assert sha256 == hashlib.sha256(data).hexdigest()
    assert blobs.path(sha256) == blobs.root / sha256[:2] / sha256[2:4] / sha256
    assert blobs.exists(sha256)
    assert blobs.put(data) == sha256
    assert BlobStore(blobs.root).get(sha256) == data
    assert files(blobs) == [blobs.path(sha256)]
    assert blobs.get(blobs.put(b"")) == b""


def test_damage_is_told_and_put_right_by_storing_again(blobs: BlobStore) -> None:
    sha256 = blobs.put(b"original")
    blobs.path(sha256).write_bytes(b"0riginal")
    with pytest.raises(IntegrityError, match=f"{sha256} was altered or damaged"):
        blobs.get(sha256)
    blobs.put(b"original")
    assert blobs.get(sha256) == b"original"


@pytest.mark.parametrize(
    "name", ["", "../../etc/passwd", "A" * 64, "a" * 63, "a" * 65, "a" * 64 + "\n", "/" * 64, "\x00" * 64]
)
def test_no_other_name_reaches_the_disk(blobs: BlobStore, name: str) -> None:
    for call in (blobs.get, blobs.path, blobs.exists):
        with pytest.raises(NotFoundError):
            call(name)


def test_nothing_there(blobs: BlobStore) -> None:
    assert not blobs.exists("a" * 64)
    with pytest.raises(NotFoundError, match="a" * 64):
        blobs.get("a" * 64)


def test_a_write_that_fails_leaves_nothing(blobs: BlobStore, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_handle: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", full)
        with pytest.raises(OSError, match="No space left"):
            blobs.put(b"data")
    assert files(blobs) == []


def test_readers_never_see_half_a_file(blobs: BlobStore) -> None:
    data = os.urandom(4_000_000)
    path, seen, done = blobs.path(hashlib.sha256(data).hexdigest()), set(), threading.Event()

    def watch() -> None:
        while not done.is_set():
            if path.exists():
                seen.add(path.stat().st_size)

    watcher = threading.Thread(target=watch)
    watcher.start()
    writers = [threading.Thread(target=blobs.put, args=(data,)) for _ in range(4)]
    for thread in writers:
        thread.start()
    for thread in writers:
        thread.join()
    done.set()
    watcher.join()
    assert seen <= {len(data)}
    assert files(blobs) == [path]


def test_old_leftovers_are_removed_and_young_ones_kept(blobs: BlobStore) -> None:
    old, young = blobs.root / "partial" / "old", blobs.root / "partial" / "young"
    for path in (old, young):
        path.write_bytes(b"half")
    hours_ago = time.time() - 7200
    os.utime(old, (hours_ago, hours_ago))
    BlobStore(blobs.root)
    assert files(blobs) == [young]
