from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from agent.settings import Settings
from tools.errors import CallerError
from ui import intake

SETTINGS = Settings(max_upload_mb=1)


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("photo.jpg", "photo.jpg"),
        ("../../etc/passwd", "passwd"),
        ("C:\\Users\\me\\a.png", "a.png"),
        ("a\x00b\n\x1b[31m.jpg", "ab[31m.jpg"),
        ("gpj\u202e.exe", "gpj.exe"),
        ("  .hidden. ", "hidden"),
        ("cafe\u0301.jpg", "caf\u00e9.jpg"),
        ("x" * 300 + ".jpeg", "x" * 115 + ".jpeg"),
        ("folder/", "image"),
        ("..", "image"),
        ("", "image"),
        (None, "image"),
    ],
)
def test_names_carry_nothing_but_a_name(given: str | None, kept: str) -> None:
    assert intake.clean_name(given) == kept


async def test_a_stream_is_not_read_beyond_its_bound() -> None:
    asked = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal asked
        while True:
            asked += 1
            yield b"x" * 10

    with pytest.raises(CallerError) as caught:
        await intake.read_bounded(endless(), 35, intake.too_large(35))
    assert caught.value.code == "file_too_large"
    assert asked == 4


def test_files_of_this_machine(tmp_path: Path) -> None:
    good = tmp_path / "a.jpg"
    good.write_bytes(b"data")
    assert intake.from_path(good, SETTINGS).name == "a.jpg"
    empty, big = tmp_path / "empty.jpg", tmp_path / "big.jpg"
    empty.touch()
    big.write_bytes(b"x" * (2**20 + 1))
    for path, code in (
        (tmp_path / "none.jpg", "no_such_file"), (tmp_path, "not_a_file"), (empty, "empty_file"),
        (big, "file_too_large"),
    ):  # fmt: skip
        with pytest.raises(CallerError) as caught:
            intake.from_path(path, SETTINGS)
        assert caught.value.code == code
        assert str(tmp_path) not in str(caught.value)
