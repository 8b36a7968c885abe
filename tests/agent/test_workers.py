"""Tools that misbehave are stopped, told of and cost the others nothing; nothing outlives the service."""

from __future__ import annotations

import asyncio
import dataclasses
import hashlib
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from agent.worker import Images, resolve
from agent.workers import Original, WorkerOptions, Workers, _homes
from tests.conftest import ROOT, encoded, picture
from tools.contract import Budget, Region
from tools.errors import ConfigurationError, ImageError, WorkerError
from tools.image import Limits
from tools.views import View

FAKES = "tests.agent.fake_tools:"


def stored(folder: Path, data: bytes, name: str = "a.png") -> Original:
    sha256 = hashlib.sha256(data).hexdigest()
    (folder / sha256).write_bytes(data)
    return Original(path=folder / sha256, sha256=sha256, name=name)


@pytest.fixture
def original(tmp_path: Path) -> Original:
    return stored(tmp_path, encoded(picture(), "PNG"))


@asynccontextmanager
async def pool(catalogue: str, **options: Any) -> AsyncIterator[Workers]:
    given = {"workers": 1, "timeout_s": 20.0, "warm": False} | options
    workers = Workers(WorkerOptions(catalogue=FAKES + catalogue, **given))
    workers.start()
    try:
        yield workers
    finally:
        await workers.close()


def children() -> set[int]:
    """Pids of worker processes of this test process, dead ones that were not waited for included."""
    found = set()
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            parent = int(re.search(r"\nPPid:\t(\d+)", (folder / "status").read_text())[1])  # type: ignore[index]
            command = (folder / "cmdline").read_bytes()
        except (FileNotFoundError, ProcessLookupError):
            continue
        if parent == os.getpid() and (b"agent.worker" in command or not command):
            found.add(int(folder.name))
    return found


async def test_each_way_to_misbehave_becomes_an_abstention_with_its_reason(original: Original) -> None:
    expected = {
        "sleeper": r"The tool was stopped after 3 s\.",
        "quitter": r"The tool ended unexpectedly \(exit status 3\)\.",
        "crasher": r"The tool ended unexpectedly \(signal SIGSEGV\)\.",
        "eater": r"The tool was stopped because it took more than 60 MiB of memory\.",
        "raiser": r"The tool failed \(ValueError\)\.",
        "no_evidence_at_all": r"The tool's answer cannot be used: it returned dict and not Evidence\.",
        "impostor": r"The tool's answer cannot be used: it speaks in the name of 'bright'.*",
        "not_a_number": r"The tool's answer cannot be used: its evidence is not in the agreed form\.",
        "weightless": r"heads\.safetensors \(3 MB, Apache-2\.0\) is not here\. Run `exposit models pull`\.",
    }
    tools = resolve(FAKES + "bad")
    assert set(expected) == set(tools) - {"bright"}
    async with pool("bad", workers=2, timeout_s=3.0, memory_mb=60) as workers:
        began = time.monotonic()
        examined = await asyncio.gather(*(workers.examine(tool, original, Budget()) for tool in tools.values()))
        took = time.monotonic() - began
        for evidence, maps in examined:
            assert not maps
            if evidence.id == "bright":
                assert evidence.score is not None
                continue
            assert evidence.score is None
            assert evidence.abstained_because is not None
            assert re.fullmatch(expected[evidence.id], evidence.abstained_because), evidence.abstained_because
            assert (evidence.detector, evidence.version) == (evidence.id, "1")
        assert took < 20
        assert (await workers.examine(tools["bright"], original, Budget())).evidence.score is not None
    assert children() == set()


async def test_a_tool_that_hangs_holds_up_only_the_tools_of_its_own_worker(original: Original) -> None:
    tools = resolve(FAKES + "hanging")
    given = WorkerOptions(catalogue=FAKES + "hanging", workers=2, timeout_s=30.0, warm=False)
    workers = Workers(given, tools.values())
    workers.start()
    try:
        hanging = asyncio.create_task(workers.examine(tools["sleeper"], original, Budget()))
        await asyncio.sleep(0.1)
        for _ in range(3):
            found = await asyncio.wait_for(workers.examine(tools["bright"], original, Budget()), timeout=20)
            assert found.evidence.score is not None
        assert not hanging.done()
        hanging.cancel()
    finally:
        await workers.close()


async def test_tools_are_dealt_out_by_cost_and_held_in_one_worker_each(original: Original) -> None:
    tools = resolve(FAKES + "good") | resolve(FAKES + "unhurried")
    costs = {name: tool.cost for name, tool in tools.items()}
    assert costs == {"bright": 2.0, "drawer": 30.0, "slow": 90.0}
    assert _homes(tools.values(), 2, {}) == {"slow": 0, "drawer": 1, "bright": 1}
    assert _homes(tools.values(), 2, {"drawer": 80.0}) == {"slow": 0, "drawer": 1, "bright": 1}
    assert _homes(tools.values(), 2, {"drawer": 95.0}) == {"drawer": 0, "slow": 1, "bright": 1}
    assert set(_homes(tools.values(), 1, {}).values()) == {0}
    absent = dataclasses.replace(tools["slow"], name="absent", cost=9000.0, _missing=lambda: "It is not installed.")
    assert _homes([absent, *tools.values()], 2, {}) == _homes(tools.values(), 2, {})


async def test_inspection_evidence_and_maps_come_back_whole(original: Original) -> None:
    tools = resolve(FAKES + "good")
    async with pool("good") as workers:
        facts = await workers.inspect(original)
        assert (facts.path, facts.sha256, facts.width, facts.height) == ("a.png", original.sha256, 256, 192)
        assert (facts.format, facts.bytes) == ("PNG", original.path.stat().st_size)
        evidence, maps = await workers.examine(tools["drawer"], original, Budget())
        assert [hashlib.sha256(png).hexdigest() for png in maps.values()] == [evidence.maps[0].sha256] == list(maps)
        assert evidence.ms > 0
        again, _ = await workers.examine(tools["drawer"], original, Budget())
        assert again.model_copy(update={"ms": evidence.ms}) == evidence


async def test_a_refusal_keeps_its_class_and_code(tmp_path: Path) -> None:
    async with pool("good") as workers:
        with pytest.raises(ImageError) as caught:
            await workers.inspect(stored(tmp_path, b"This is no picture."))
        assert caught.value.code in ("not_an_image", "unsupported_format")
        assert caught.value.remedy


async def test_a_file_that_kills_or_hangs_the_decoder_is_refused(tmp_path: Path, original: Original) -> None:
    async with pool("deadly_decoder", timeout_s=1.0) as workers:
        for data, why in ((b"DIE", "ended unexpectedly"), (b"HANG", "was stopped after 1 s")):
            with pytest.raises(ImageError, match=why) as caught:
                await workers.inspect(stored(tmp_path, data))
            assert caught.value.code == "decoding_stopped"
        assert (await workers.inspect(original)).width == 256


def test_workers_do_not_outlive_a_killed_service(tmp_path: Path, original: Original) -> None:
    script = (
        "import asyncio, sys\n"
        "from tests.agent.test_workers import *\n"
        "async def main():\n"
        "    async with pool('hanging', workers=2) as workers:\n"
        "        given = stored(Path(sys.argv[1]), Path(sys.argv[2]).read_bytes())\n"
        "        await workers.inspect(given)\n"
        "        busy = asyncio.create_task(workers.examine(resolve(FAKES + 'hanging')['sleeper'], given, Budget()))\n"
        "        await asyncio.sleep(0.3)\n"
        "        print(*children(), flush=True)\n"
        "        await busy\n"
        "asyncio.run(main())\n"
    )
    service = subprocess.Popen(
        [sys.executable, "-c", script, str(tmp_path), str(original.path)], stdout=subprocess.PIPE, text=True, cwd=ROOT
    )
    assert service.stdout is not None
    pids = [int(pid) for pid in service.stdout.readline().split()]
    assert len(pids) == 2
    service.send_signal(signal.SIGKILL)
    service.wait()
    service.stdout.close()
    deadline = time.monotonic() + 5
    while (left := [pid for pid in pids if running(pid)]) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not left


def running(pid: int) -> bool:
    """Whether the process lives; an orphan that nobody has waited for yet does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in ("Z", "X")
    except (FileNotFoundError, ProcessLookupError):
        return False


async def test_a_worker_killed_while_idle_is_replaced(original: Original) -> None:
    async with pool("good") as workers:
        await workers.until_warm()
        (pid,) = children()
        os.kill(pid, signal.SIGKILL)
        assert (await workers.inspect(original)).width == 256
        assert children() != {pid}
        assert workers.state == "ok"


async def test_a_catalogue_that_cannot_be_loaded_is_told_and_keeps_nobody_waiting(original: Original) -> None:
    async with pool("no_such_function") as workers:
        with pytest.raises(WorkerError, match="could not load the tools"):
            await workers.inspect(original)
        assert "could not load the tools" in workers.state


async def test_a_trust_list_that_does_not_read_stops_the_start(tmp_path: Path, original: Original) -> None:
    async with pool("good", trust_list=tmp_path / "missing.pem") as workers:
        with pytest.raises(ConfigurationError, match="trust list"):
            await workers.inspect(original)


async def test_a_worker_is_told_where_weights_and_models_lie(tmp_path: Path, original: Original) -> None:
    model, clip = tmp_path / "some-model", tmp_path / "weights" / "clip_encoder.int8.onnx"
    model.mkdir()
    clip.parent.mkdir()
    clip.touch()
    async with pool("borrowing", weights=tmp_path, inversion_model=str(model)) as workers:
        evidence, _ = await workers.examine(resolve(FAKES + "lacking")["borrower"], original, Budget())
        assert evidence.measurements == {"clip": str(clip), "model": "some-model"}


async def test_warming_passes_over_a_tool_that_hangs(original: Original) -> None:
    async with pool("hanging", workers=2, timeout_s=1.0, warm=True) as workers:
        assert workers.state.startswith("starting")
        await asyncio.wait_for(workers.until_warm(), 15)
        assert workers.state == "ok"


async def test_closing_tells_those_who_wait(original: Original) -> None:
    tool = resolve(FAKES + "hanging")["sleeper"]
    async with pool("hanging") as workers:
        await workers.inspect(original)
        waiting = [asyncio.create_task(workers.examine(tool, original, Budget())) for _ in range(3)]
        await asyncio.sleep(0.1)
    outcome = await asyncio.gather(*waiting, return_exceptions=True)
    assert [type(each) for each in outcome] == [WorkerError] * 3


def test_decoded_pictures_are_kept_within_bounds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    images = Images(Limits(), max_pixels=2 * 256 * 192)
    given = [stored(tmp_path, encoded(picture(seed=seed), "PNG")) for seed in range(3)]
    get: Callable[[int], Any] = lambda number: images.get(str(given[number].path), given[number].sha256, "a.png")  # noqa: E731
    first, second = get(0), get(1)
    assert get(0) is first
    get(2)
    assert get(0) is first
    assert get(1) is not second


async def test_under_the_quick_budget_a_tool_that_hangs_is_stopped_sooner(
    original: Original, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agent.workers.QUICK_TIMEOUT_S", 1.0)
    async with pool("hanging", timeout_s=20.0) as workers:
        tool = resolve(FAKES + "hanging")["sleeper"]
        began = time.monotonic()
        evidence, _ = await workers.examine(tool, original, Budget(level="quick"))
        assert evidence.abstained_because == "The tool was stopped after 1 s."
        assert workers._limit({"budget": {"level": "quick"}, "view": {"kind": "jpeg70"}}) == 20.0
        assert time.monotonic() - began < 15


async def test_a_tool_is_shown_the_view_that_was_asked_for(tmp_path: Path) -> None:
    given = stored(tmp_path, encoded(picture(600, 480), "PNG"))
    tools = resolve(FAKES + "good")
    async with pool("good") as workers:
        facts = await workers.inspect(given)
        assert len(facts.pdq) == 64
        whole = (await workers.examine(tools["bright"], given, Budget())).evidence
        corner = View(kind="zoom", region=Region(x0=0.0, y0=0.0, x1=0.1, y1=0.1))
        part = (await workers.examine(tools["bright"], given, Budget(), corner)).evidence
        saved = (await workers.examine(tools["bright"], given, Budget(), View(kind="jpeg70"))).evidence
        assert part.score != whole.score
        assert saved.score == pytest.approx(whole.score, abs=0.01)
        small = stored(tmp_path, encoded(picture(240, 240), "PNG"))
        silent = (await workers.examine(tools["bright"], small, Budget(), View(kind="half"))).evidence
        assert "too small" in (silent.abstained_because or "")
