"""Every answer has its security headers: API, documents, page, Gradio's own routes, refusals and failures."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest

from agent.settings import Settings
from tests.ui.fakes import FakeExplainer
from ui.api import create_app
from ui.headers import _ALWAYS

GRADIO = [
    "/",
    "/config",
    "/theme.css",
    "/gradio_api/info",
    "/gradio_api/nothing",
    "/gradio_api/file=/etc/passwd",
    "/x.js",
]


async def test_every_route_answers_with_its_headers(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path))
    fake = FakeExplainer(Settings(home=tmp_path))
    app = create_app(fake.settings, fake)
    named = {"case_id": "none", "sha256": "0" * 64, "batch_id": "none"}
    api = [path.format(**named) for path, methods in app.openapi()["paths"].items() if "get" in methods]
    assert len(api) > 10
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        for path in (*api, *GRADIO, "/docs", "/openapi.json", "/v1/none"):
            answer = await client.get(path)
            assert {name: answer.headers.get(name) for name in _ALWAYS} == dict(_ALWAYS), path
            policy = answer.headers["content-security-policy"]
            assert "frame-ancestors 'none'" in policy, path
            assert ("default-src 'none'" in policy) is (path not in GRADIO), path
            assert "server" not in answer.headers

        fake.fails = RuntimeError("inside")
        failed = await client.post("/v1/explanations", files={"file": ("a.jpg", b"x")})
        assert failed.status_code == 500
        assert failed.headers["x-content-type-options"] == "nosniff"
