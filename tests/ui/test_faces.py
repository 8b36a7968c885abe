"""The same picture by chat, API, command line and MCP: one verdict, on the same evidence."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest
from mcp import Client, StdioServerParameters

from tests.conftest import ROOT, encoded, picture
from tests.ui.conftest import serving

OURS = {"EXPOSIT_VLM": "template", "EXPOSIT_BUDGET": "quick", "EXPOSIT_WORKERS": "1", "EXPOSIT_LOG_LEVEL": "error"}


def same(report: dict[str, Any]) -> dict[str, Any]:
    """A report without its id, its times and the note on earlier cases of the picture."""
    kept = {key: value for key, value in report.items() if key not in ("case_id", "created_at", "timings", "similar")}
    kept["evidence"] = [{key: value for key, value in item.items() if key != "ms"} for item in report["evidence"]]
    return kept


def by_chat(address: str, photo: Path) -> dict[str, Any]:
    """As the page's own script does it: uploads, calls the handler of the button, and waits for its end."""
    with httpx.Client(base_url=address, timeout=120) as client:
        (stored,) = client.post("/gradio_api/upload", files={"files": (photo.name, photo.read_bytes())}).json()
        file = {"path": stored, "orig_name": photo.name, "meta": {"_type": "gradio.FileData"}}
        event = client.post(
            "/gradio_api/call/examine", json={"data": [file, "", "quick", False, "", "", "", "", ""]}
        ).json()["event_id"]
        said = client.get(f"/gradio_api/call/examine/{event}").text
        assert "event: complete" in said
        (case,) = client.get("/v1/cases").json()["cases"]
        return told(client, case["case_id"])


def told(client: httpx.Client, case_id: str) -> dict[str, Any]:
    report: dict[str, Any] = client.get(f"/v1/cases/{case_id}").json()["report"]
    return report


async def by_mcp(home: Path, photo: Path) -> dict[str, Any]:
    started = StdioServerParameters(
        command=sys.executable, args=["-m", "ui.cli", "mcp", "--root", str(photo.parent), "--no-urls"],
        env=dict(os.environ) | OURS | {"EXPOSIT_HOME": str(home)}, cwd=ROOT,
    )  # fmt: skip
    async with Client(started, read_timeout_seconds=120) as client:
        result = await client.call_tool("explain", {"path": photo.name})
        assert not result.is_error
        assert isinstance(result.structured_content, dict)
        case = result.structured_content["case_id"]
        again = await client.call_tool("explain", {"path": photo.name})
        assert isinstance(again.structured_content, dict)
        found = await client.call_tool("search_similar", {"case_id": case})
        assert isinstance(found.structured_content, dict)
        assert [each["case_id"] for each in found.structured_content["cases"]] == [again.structured_content["case_id"]]
        by_path = await client.call_tool("search_similar", {"path": photo.name})
        assert isinstance(by_path.structured_content, dict)
        assert [each["case_id"] for each in by_path.structured_content["cases"]] == [case]
        assert (await client.call_tool("search_similar", {})).is_error
        return result.structured_content


def by_api(address: str, photo: Path) -> dict[str, Any]:
    sent = {"file": (photo.name, photo.read_bytes())}
    report: dict[str, Any] = httpx.post(f"{address}/v1/explanations", files=sent, timeout=120).json()
    return report


def by_command(home: Path, photo: Path) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, "-m", "ui.cli", "explain", str(photo), "--json"],
        cwd=ROOT, env=dict(os.environ) | {"EXPOSIT_HOME": str(home)}, capture_output=True, check=True,
    )  # fmt: skip
    report: dict[str, Any] = json.loads(done.stdout)
    return report


def test_every_face_gives_the_same_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in OURS.items():
        monkeypatch.setenv(name, value)
    folder = tmp_path / "pictures"
    folder.mkdir()
    photo = folder / "same.jpg"
    photo.write_bytes(encoded(picture(128, 96), quality=88))
    with serving(tmp_path / "served", "-m", "ui.cli", "serve", "--port", "0") as served:
        faces = {"chat": by_chat(served.address, photo), "API": by_api(served.address, photo)}
    faces["command line"] = by_command(tmp_path / "cli", photo)
    faces["MCP"] = asyncio.run(by_mcp(tmp_path / "mcp", photo))
    chat = faces["chat"]
    assert chat["verdict"]["label"]
    assert chat["image"]["path"] == "same.jpg"
    assert len({report["case_id"] for report in faces.values()}) == 4
    for face, report in faces.items():
        assert same(report) == same(chat), face
