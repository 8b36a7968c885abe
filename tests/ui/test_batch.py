from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from agent.settings import Settings
from tests.conftest import encoded, picture
from tests.ui.fakes import FakeExplainer
from tools import errors
from tools.errors import CallerError
from ui.batch import Tally, run

SETTINGS = Settings(max_upload_mb=1, workers=3)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    pictures = tmp_path / "pictures"
    (pictures / "below").mkdir(parents=True)
    for number in range(4):
        (pictures / f"{number}.jpg").write_bytes(encoded(picture(64, 48, number)))
    (pictures / "below" / "0.jpg").write_bytes(encoded(picture(64, 48, 9)))
    (pictures / "2.jpg").write_bytes(b"")
    (pictures / ".hidden").write_bytes(b"x")
    return pictures


async def batch(folder: Path, fake: FakeExplainer | None = None, *, resume: bool = True) -> tuple[Tally, list[Any]]:
    out = folder / "out.jsonl"
    explainer = fake or FakeExplainer(SETTINGS)
    tally = await run(explainer, SETTINGS, folder, out, resume=resume, console=Console(quiet=True))
    return tally, [json.loads(line) for line in out.read_text().splitlines()]


async def test_every_file_has_its_line_in_order_and_a_bad_one_does_not_stop_it(folder: Path) -> None:
    tally, lines = await batch(folder)
    assert [line["path"] for line in lines] == ["0.jpg", "1.jpg", "2.jpg", "3.jpg", "below/0.jpg"]
    assert tally == Tally(examined=4, failed=1)
    bad = lines.pop(2)
    assert bad["error"]["code"] == "empty_file"
    assert bad["error"]["message"]
    assert bad["error"]["remedy"]
    assert "verdict" not in bad
    for line in lines:
        assert line["verdict"]["p_generated"] is not None
        assert line["image"]["sha256"] == line["sha256"]


async def test_a_batch_that_was_killed_goes_on_where_it_was(folder: Path) -> None:
    _, lines = await batch(folder)
    out = folder / "out.jsonl"
    whole = out.read_bytes()
    out.write_bytes(whole[: len(whole) - 300])  # the last line is cut off
    (folder / "1.jpg").write_bytes(encoded(picture(64, 48, 20)))  # another picture under a known name
    fake = FakeExplainer(SETTINGS)
    tally, again = await batch(folder, fake)
    assert tally == Tally(examined=2, skipped=3)
    assert [seen.name for seen in fake.seen] == ["1.jpg", "0.jpg"]
    assert [line["path"] for line in again] == ["0.jpg", "1.jpg", "2.jpg", "3.jpg", "1.jpg", "below/0.jpg"]
    assert again[:4] == lines[:4]


@pytest.mark.parametrize("cut", [1, 20])
async def test_a_first_line_that_was_cut_off_is_written_again(folder: Path, cut: int) -> None:
    await batch(folder)
    out = folder / "out.jsonl"
    out.write_bytes(out.read_bytes().splitlines()[0][:-cut])
    tally, lines = await batch(folder)
    assert (tally.skipped, len(lines)) == (0, 5)


async def test_what_may_be_tried_again_is(folder: Path) -> None:
    fake = FakeExplainer(SETTINGS)
    fake.fails = errors.WorkerError("A worker died.", remedy="Try again.")
    tally, lines = await batch(folder, fake)
    assert tally.failed == 5
    assert lines[0]["error"] == {
        "code": "worker", "message": "A worker died.", "remedy": "Try again.", "retry": True,
    }  # fmt: skip
    tally, _ = await batch(folder)
    assert tally == Tally(examined=4, skipped=1)  # the empty file stays refused


async def test_an_unforeseen_error_is_one_line(folder: Path) -> None:
    fake = FakeExplainer(SETTINGS)
    fake.fails = RuntimeError("/secret")
    _, lines = await batch(folder, fake)
    assert lines[0]["error"]["code"] == "internal"
    assert "secret" not in json.dumps(lines)


async def test_an_operators_error_ends_it(folder: Path) -> None:
    fake = FakeExplainer(SETTINGS)
    fake.fails = errors.ConfigurationError("The database is gone.")
    with pytest.raises(errors.ConfigurationError):
        await batch(folder, fake)


@pytest.mark.parametrize("held", [b"\xff\xd8\xff\xe0 a photograph", b"a,b\n1,2\n", b'{"a": 1}\n', b"[]\n"])
async def test_a_file_that_is_something_else_is_not_touched(folder: Path, held: bytes) -> None:
    out = folder / "out.jsonl"
    out.write_bytes(held)
    with pytest.raises(CallerError) as caught:
        await batch(folder)
    assert caught.value.code == "out_not_a_batch"
    assert out.read_bytes() == held


async def test_starting_anew(folder: Path) -> None:
    await batch(folder)
    tally, lines = await batch(folder, resume=False)
    assert (tally.skipped, len(lines)) == (0, 5)
