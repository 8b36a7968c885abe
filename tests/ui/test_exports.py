"""Documents over HTTP and by the command line, claims on the way in, and the same answer by every face."""

from __future__ import annotations

import asyncio
import io
import json
import zipfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import jsonschema
import pytest
from mcp import Client
from typer.testing import CliRunner

from agent.service import Explainer
from agent.settings import Settings
from tests.conftest import ROOT, encoded, picture
from tests.ui.fakes import FakeExplainer
from tests.ui.test_api import refused
from ui.api import create_app
from ui.cli import app
from ui.formats import bundle, html
from ui.mcp import server

JPEG = encoded(picture(96, 64))
SETTINGS = Settings(max_upload_mb=1)
CLAIM = {
    "claim": "Taken \u202ein Lisbon\ntoday.",
    "claimant": "@x",
    "claim_date": "2026-11-20",
    "claim_url": "https://x.org/1",
}


@pytest.fixture
def fake() -> FakeExplainer:
    return FakeExplainer(SETTINGS)


@pytest.fixture
async def client(fake: FakeExplainer) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(create_app(SETTINGS, fake, chat=False), raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as made:
        yield made


async def upload(client: httpx.AsyncClient, **fields: str) -> httpx.Response:
    return await client.post("/v1/explanations", files={"file": ("a.jpg", JPEG)}, data=fields)


async def test_a_claim_comes_in_by_form_and_is_shown(client: httpx.AsyncClient) -> None:
    made = (await upload(client, **CLAIM)).json()
    assert made["claim"] == {
        "text": "Taken in Lisbon today.", "claimant": "@x", "date": "2026-11-20", "seen": None, "url": "https://x.org/1",
    }  # fmt: skip
    page = (await client.get(f"/v1/cases/{made['case_id']}/report.html")).text
    assert "Taken in Lisbon today." in page
    assert (await upload(client)).json()["claim"] is None
    assert (await upload(client, claim="", claimant="")).json()["claim"] is None


@pytest.mark.parametrize(
    ("fields", "at"),
    [
        ({"claimant": "who"}, "claim"),
        ({"claim": "x" * 2001}, "claim"),
        ({"claim": "x", "claim_date": "soon"}, "claim_date"),
        ({"claim": "x", "claim_url": "javascript:alert(1)"}, "claim_url"),
        ({"claim": "x", "claim_seen": "y" * 301}, "claim_seen"),
    ],
)
async def test_a_claim_that_does_not_hold_is_refused_by_name(
    client: httpx.AsyncClient, fake: FakeExplainer, fields: dict[str, str], at: str
) -> None:
    body = refused(await upload(client, **fields), 422, "invalid_request")
    assert [entry["field"] for entry in body["errors"]] == [at]
    assert fake.seen == []


async def test_documents_are_served_to_be_shown_or_saved(client: httpx.AsyncClient) -> None:
    case = (await upload(client, **CLAIM)).json()["case_id"]
    page = await client.get(f"/v1/cases/{case}/report.html")
    assert page.headers["content-security-policy"] == html.POLICY  # the API's own would hide the pictures
    assert page.headers["x-content-type-options"] == "nosniff"
    paper = await client.get(f"/v1/cases/{case}/report.pdf")
    assert paper.content.startswith(b"%PDF-")
    assert (paper.headers["content-type"], case in paper.headers["content-disposition"]) == ("application/pdf", True)

    markup = await client.get(f"/v1/cases/{case}/claimreview.json", params={"author": "Checkers"})
    assert markup.headers["content-type"] == "application/ld+json"
    assert markup.json()["author"]["name"] == "Checkers"
    jsonschema.validate(markup.json(), json.loads((ROOT / "schema" / "claimreview.json").read_text()))

    packed = await client.get(f"/v1/cases/{case}/bundle.zip", params={"original": True})
    assert packed.headers["x-manifest-sha256"] == bundle.manifest_sha256(packed.content)
    with zipfile.ZipFile(io.BytesIO(packed.content)) as held:
        (name,) = [each for each in held.namelist() if each.startswith("original/")]
        assert held.read(name) == JPEG

    for each in ("report.html", "report.pdf", "claimreview.json", "bundle.zip"):
        refused(await client.get(f"/v1/cases/none/{each}"), 404, "not_found")
        assert (await client.get(f"/v1/cases/a%20b/{each}")).status_code == 422
    refused(
        await client.get(f"/v1/cases/{case}/claimreview.json", params={"url": "javascript:x"}), 422, "invalid_request"
    )
    assert (await client.post(f"/v1/cases/{case}/report.pdf")).headers["allow"] == "GET"


class _Commands:
    """The command line over explainers of a kind, run outside the test's loop."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.picture = folder / "a.jpg"
        self.picture.write_bytes(JPEG)

    async def __call__(self, *arguments: str, code: int = 0) -> bytes:
        done = await asyncio.to_thread(CliRunner().invoke, app, list(arguments))
        assert done.exit_code == code, done.output
        return done.stdout_bytes


@pytest.fixture
def commands(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> _Commands:
    """Commands that examine with harmless tools, in a home of their own."""
    real = Explainer

    def made(settings: Settings, **options: Any) -> Explainer:
        return real(settings, catalogue="tests.agent.fake_tools:good", **(options | {"warm": False}))

    monkeypatch.setattr("agent.service.Explainer", made)
    for name, value in {"HOME": str(tmp_path / "home"), "WORKERS": "1", "VLM": "template"}.items():
        monkeypatch.setenv(f"EXPOSIT_{name}", value)
    return _Commands(tmp_path)


def judged(report: dict[str, Any]) -> dict[str, Any]:
    """What every face must agree on."""
    evidence = [{**each, "ms": 0} for each in report["evidence"]]
    return {name: report[name] for name in ("verdict", "contributions", "artifacts", "explanation", "versions")} | {
        "evidence": evidence
    }


async def test_the_same_picture_gives_the_same_by_every_face_and_goes_out_in_every_form(commands: _Commands) -> None:
    settings = Settings(home=commands.folder / "home", workers=1, vlm="template")
    claimed = ("--claim", "It burns.", "--claim-date", "2026-11-20")
    by_command = json.loads(await commands("explain", str(commands.picture), "--json", *claimed))
    async with Explainer(settings, catalogue="tests.agent.fake_tools:good", warm=False) as explainer:
        transport = httpx.ASGITransport(create_app(settings, explainer, chat=False))
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            by_api = (await client.post("/v1/explanations", files={"file": ("a.jpg", JPEG)})).json()
        async with Client(server(explainer, settings, roots=[commands.folder])) as client:
            by_mcp = (await client.call_tool("explain", {"path": "a.jpg"})).structured_content
        await explainer.ask(by_command["case_id"], "Why?")
        assert await explainer.verify_audit() > 6
    assert judged(by_command) == judged(by_api) == judged(by_mcp or {})
    assert by_command["claim"]["text"] == "It burns."  # and it changed nothing above
    assert by_api["claim"] is None

    case, out = by_command["case_id"], commands.folder / "out"
    page = await commands("report", case)
    assert page.startswith(b"<!doctype html>")
    assert b"It burns." in page
    await commands("report", case, "--format", "pdf", "-o", str(out))
    assert out.read_bytes().startswith(b"%PDF-")
    assert json.loads(await commands("report", case, "-f", "json")) == by_command
    assert b"It burns" in await commands("report", case, "-f", "md")
    assert json.loads(await commands("claimreview", case))["claimReviewed"] == "It burns."
    told = json.loads(await commands("bundle", case, "-o", str(out), "--original", "--json"))
    held = json.loads(await commands("verify", str(out), "--manifest-sha256", told["manifest_sha256"], "--json"))
    assert (held["holds"], held["case_id"], held["original"]) == (True, case, True)
    await commands("verify", str(out), "--manifest-sha256", "0" * 64, code=2)
    out.write_bytes(out.read_bytes().replace(b"It burns.", b"It sinks."))
    await commands("verify", str(out), code=2)
    await commands("report", "nothing", code=2)


async def test_a_verdict_can_be_the_exit_code(commands: _Commands) -> None:
    assert json.loads(await commands("explain", str(commands.picture), "--json", "--exit-code", code=15))
    await commands("explain", str(commands.picture), "--claim-date", "2026-11-20", code=2)


async def test_keys_are_made_listed_and_closed_by_command(commands: _Commands) -> None:
    made = json.loads(await commands("keys", "create", "CMS", "--scope", "submit", "--scope", "read", "--json"))
    assert made["scopes"] == ["read", "submit"]
    assert made["key"].startswith(f"exk_{made['id']}_")
    listed = (await commands("keys", "list")).decode()
    assert (made["id"] in listed, "open" in listed, made["key"] in listed) == (True, True, False)
    await commands("keys", "revoke", made["id"])
    assert json.loads(await commands("keys", "list", "--json"))["revoked_at"]
    await commands("keys", "revoke", "nothing", code=2)
    await commands("keys", "create", "CMS", "--scope", "everything", code=2)
