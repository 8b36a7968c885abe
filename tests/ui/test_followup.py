"""The commands and routes over cases that are done, on the real service with tools that answer at once."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
from typer.testing import CliRunner, Result

from agent import service
from agent.service import Explainer, Submission
from agent.settings import Settings
from tests.agent.talk_tools import weights
from tests.agent.test_conversation import WIDE, opened
from tests.conftest import encoded, picture
from ui.api import create_app
from ui.cli import app


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, list(arguments))


@pytest.fixture
def case(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A case that waits for a person, in the home that the commands read."""

    class Made(Explainer):
        def __init__(self, settings: Settings, *, warm: bool = True, eager: bool = True) -> None:
            super().__init__(
                settings, catalogue="tests.agent.talk_tools:catalogue", calibration=weights(), warm=warm, eager=eager
            )

    async def examined() -> str:
        async with opened(tmp_path / "home") as explainer:
            return (await explainer.explain(Submission(data=WIDE, name="wide.jpg"), stakes="high")).case_id

    for name, value in (("HOME", str(tmp_path / "home")), ("VLM", "template"), ("WORKERS", "1")):
        monkeypatch.setenv(f"EXPOSIT_{name}", value)
    made = asyncio.run(examined())
    monkeypatch.setattr(service, "Explainer", Made)
    return made


def test_the_commands(case: str, tmp_path: Path) -> None:
    assert case in run("waiting").stdout
    asked = run("ask", case, "run late")
    assert asked.exit_code == 0, asked.output
    assert "The verdict has changed." in asked.stdout
    answer = json.loads(run("ask", case, "look here", "--box", "0.1,0.1,0.4,0.4", "--json").stdout)
    assert answer["ran"] == ["faint@box1", "late@box1"]
    other = tmp_path / "other.png"
    other.write_bytes(encoded(picture(640, 480, seed=4), "PNG"))
    assert "The files differ" in run("ask", case, "--with", str(other)).stdout
    bad = run("ask", case, "here", "--box", "0.4,0.1,0.1,0.4")
    assert (bad.exit_code, "is no box" in bad.stderr) == (2, True)
    assert run("review", case, "--name", "Ann", "--reason", "seen").exit_code == 2
    done = run("review", case, "--override", "photograph", "--name", "Ann", "--reason", "I have the negative.")
    assert "Report 3 says “generated” as before." in done.stdout
    assert run("waiting").stdout == ""
    assert "can be replayed" in run("replay", case, "--dry").stdout
    assert "are the same" in run("replay", case).stdout
    listed = json.loads(next(line for line in run("history", "--json").stdout.splitlines() if case in line))
    assert (listed["label"], listed["revision"], listed["review"]) == ("generated", 3, "override")
    assert "The audit trail holds" in run("audit", "verify").stdout


@pytest.fixture
async def client(tmp_path: Path) -> AsyncIterator[httpx.AsyncClient]:
    async with opened(tmp_path) as explainer:
        transport = httpx.ASGITransport(app=create_app(explainer.settings, explainer, chat=False))
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as made:
            yield made


async def test_the_routes(client: httpx.AsyncClient) -> None:
    report = (await client.post("/v1/explanations", files={"file": ("a.jpg", WIDE)})).json()
    place = f"/v1/cases/{report['case_id']}"
    box = {"x0": 0.1, "y0": 0.1, "x1": 0.4, "y1": 0.4}
    answer = (await client.post(f"{place}/questions", json={"question": "look here", "region": box})).json()
    assert (answer["intent"], answer["ran"], answer["revision"]) == ("box", ["faint@box1"], 2)
    assert (await client.get(place)).json()["report"]["earlier"][0]["revision"] == 1
    said = {"kind": "override", "label": "photograph", "reviewer": "Ann", "reason": "I took it."}
    assert (await client.post(f"{place}/reviews", json=said)).json()["machine"] == report["verdict"]["label"]
    assert [each["reviewer"] for each in (await client.get(f"{place}/reviews")).json()] == ["Ann"]
    wrong = await client.post(f"{place}/reviews", json=said | {"kind": "confirm"})
    assert wrong.status_code == 422
    assert (await client.post("/v1/cases/none/reviews", json=said)).status_code == 404
