"""The supervision of the model server, over a small program in vLLM's place; `test_vllm.py` runs the real one."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from agent.examining import Event
from agent.served import ServedVision
from agent.service import Explainer, Submission
from agent.serving import Model, ModelServer, _environment, command, interpreter
from agent.settings import Settings
from tests.agent.grounding_corpus import world
from tests.conftest import ROOT, encoded, picture
from tools.errors import MissingWeightError, ModelServerError

FAKE = Path(__file__).with_name("fake_server.py")
MADE = world(5)


def fake(folder: Path) -> ModelServer:
    return ModelServer(
        Path(sys.executable),
        lambda: Model(folder, {}),
        home=folder,
        make=lambda python, model, socket: [str(python), str(FAKE), str(socket), str(folder)],
        backoff_s=(0.2, 1.0),
    )


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[ModelServer]:
    made = fake(tmp_path)
    made.start()
    yield made
    await made.close()


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def pids(folder: Path) -> list[int]:
    return [int(each) for each in (folder / "pids").read_text().split()]


def gone(folder: Path, within_s: float = 15) -> bool:
    until = time.monotonic() + within_s
    while any(map(alive, pids(folder))):
        if time.monotonic() > until:
            return False
        time.sleep(0.05)
    return True


async def test_it_says_that_it_starts_and_then_answers(server: ModelServer, tmp_path: Path) -> None:
    vision = ServedVision("http://localhost", server=server)
    with pytest.raises(ModelServerError) as caught:
        await vision.narrate(MADE.verdict, MADE.evidence)
    assert caught.value.code == "model_starting"
    assert "starting" in str(caught.value)
    await server.until_ready(30)
    sentence, *_ = await vision.narrate(MADE.verdict, MADE.evidence)
    assert sentence.cites == ("verdict",)
    writer = await vision.writer()
    assert (writer.model, writer.adapter, writer.revision) == ("vlm-1", "exposit", "abc")
    await vision.close()
    assert await asyncio.to_thread(gone, tmp_path)


async def test_a_server_that_dies_is_started_again_and_leaves_nothing(server: ModelServer, tmp_path: Path) -> None:
    await server.until_ready(30)
    first = pids(tmp_path)
    os.kill(first[0], signal.SIGKILL)
    why = ""
    async with asyncio.timeout(10):
        while not why:
            try:
                server.check()
            except ModelServerError as error:
                why = str(error)
            await asyncio.sleep(0.02)
    assert "SIGKILL" in why
    await server.until_ready(30)
    assert server.starts == 2
    assert not any(map(alive, first))
    assert pids(tmp_path) != first


async def test_one_that_cannot_start_is_tried_less_and_less_often_and_says_why(tmp_path: Path) -> None:
    def missing() -> Model:
        raise MissingWeightError("The weight clip is not on this machine.", remedy="Run `exposit models pull clip`.")

    made = ModelServer(Path(sys.executable), missing, home=tmp_path, backoff_s=(0.1, 10.0))
    made.start()
    await asyncio.sleep(1.0)
    with pytest.raises(ModelServerError) as caught:
        made.check()
    assert "exposit models pull clip" in str(caught.value)
    await made.close()


async def test_a_defect_while_it_is_started_does_not_end_its_supervision(tmp_path: Path) -> None:
    calls: list[int] = []

    def defective() -> Model:
        calls.append(1)
        raise ValueError("half a file")

    made = ModelServer(Path(sys.executable), defective, home=tmp_path, backoff_s=(0.05, 0.1))
    made.start()
    async with asyncio.timeout(10):
        while len(calls) < 3:  # noqa: ASYNC110
            await asyncio.sleep(0.02)
    with pytest.raises(ModelServerError, match="half a file"):
        made.check()
    await made.close()


def test_the_server_is_told_no_setting_of_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EXPOSIT_WEBHOOK_SECRET", "hush")
    monkeypatch.setenv("VLLM_CPU_KVCACHE_SPACE", "2")
    given = _environment()
    assert not [name for name in given if name.startswith("EXPOSIT_")]
    assert given["VLLM_CPU_KVCACHE_SPACE"] == "2"


PARENT = """
import asyncio, sys
from pathlib import Path
sys.path.insert(0, {root!r})
from tests.agent.test_serving import fake

async def main():
    server = fake(Path({folder!r}))
    server.start()
    await server.until_ready(60)
    print("ready", flush=True)
    await asyncio.sleep(300)

asyncio.run(main())
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel's help is Linux's")
def test_no_orphan_is_left_when_the_service_is_killed_hard(tmp_path: Path) -> None:
    code = PARENT.format(root=str(ROOT), folder=str(tmp_path))
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, cwd=ROOT) as parent:
        assert parent.stdout is not None
        try:
            assert any(line.strip() == "ready" for line in parent.stdout)
        finally:
            parent.kill()
    assert gone(tmp_path)


async def test_a_case_goes_on_when_the_server_is_killed_in_its_middle(server: ModelServer, tmp_path: Path) -> None:
    (tmp_path / "slow").touch()
    await server.until_ready(30)
    vision = ServedVision("http://localhost", server=server, timeout_s=20)
    settings = Settings(home=tmp_path / "home", workers=1, vlm="template", vlm_timeout_s=25)
    async with Explainer(settings, catalogue="tests.agent.fake_tools:good", vision=vision, warm=False) as explainer:
        told: list[Event] = []
        starts = 0
        async for event in explainer.stream(Submission(data=encoded(picture()), name="a.jpg")):
            told.append(event)
            if event.data.get("step") == "narrate" and starts == 0:
                starts = 1
                asyncio.get_running_loop().call_later(0.5, os.kill, pids(tmp_path)[0], signal.SIGKILL)
        report = told[-1].data["report"]
        assert report["explained_by"]["kind"] == "template"
        assert "model server" in report["explained_by"]["note"]
        assert any(sentence["role"] == "answer" for sentence in report["explanation"])
        (tmp_path / "slow").unlink()
        async with asyncio.timeout(30):  # its end is noticed a moment after the case has gone on
            while server.starts < 2:  # noqa: ASYNC110
                await asyncio.sleep(0.05)
        await server.until_ready(30)
        again = await explainer.explain(Submission(data=encoded(picture(seed=3)), name="b.jpg"))
    await vision.close()
    assert again.explained_by.kind == "served"
    assert again.explained_by.revision == "abc"


def test_the_environment_counts_only_when_it_was_built_to_the_end(tmp_path: Path) -> None:
    python = tmp_path / "bin" / "python"
    python.parent.mkdir()
    python.touch()
    assert interpreter(tmp_path) is None
    (tmp_path / ".ready").touch()
    assert interpreter(tmp_path) == python


def test_the_command_line_follows_what_is_installed(tmp_path: Path) -> None:
    python = tmp_path / "bin" / "python"
    model = Model(tmp_path / "vlm-1", {"exposit@abc": tmp_path / "adapter"})
    made = command(python, model, tmp_path / "socket")
    assert made[made.index("--dtype") + 1] == "bfloat16"
    (tmp_path / "lib/python3.11/site-packages/vllm_cpu-1.dist-info").mkdir(parents=True)
    made = command(python, model, tmp_path / "socket")
    assert made[made.index("--dtype") + 1] == "float32"
    assert f"exposit@abc={tmp_path / 'adapter'}" in made
    made = command(python, Model(tmp_path / "vlm-1+exposit@abc"), tmp_path / "socket")
    assert made[made.index("--served-model-name") + 1] == "exposit@abc"
    assert "--enable-lora" not in made
    assert json.loads(made[made.index("--structured-outputs-config") + 1])["disable_any_whitespace"] is True
