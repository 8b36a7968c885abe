"""The real server process over the fake Explainer: its page in a real browser, its API beside it, its end."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.conftest import ROOT, encoded, picture
from tests.ui.conftest import Served, serving


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with serving(tmp_path_factory.mktemp("served"), str(ROOT / "tests" / "ui" / "serve_fake.py")) as started:
        yield started


def test_the_page_loads_nothing_from_elsewhere_and_names_no_endpoints(served: Served) -> None:
    page = httpx.get(served.address)
    assert page.status_code == 200
    assert "img-src 'self' data: blob:" in page.headers["content-security-policy"]
    named = httpx.get(f"{served.address}/gradio_api/info").json()["named_endpoints"]
    assert named == {}  # programs have /v1
    assert httpx.get(f"{served.address}/v1/nothing").json()["code"] == "not_found"
    assert httpx.get(f"{served.address}/docs").text.startswith("<!doctype html>")


@pytest.mark.parametrize("name", ["private.jpg", "private.svg"])
def test_a_file_of_the_server_is_not_taken_for_an_upload(served: Served, tmp_path: Path, name: str) -> None:
    private = tmp_path / name
    private.write_bytes(encoded(picture(64, 48)))
    file = {"path": str(private), "meta": {"_type": "gradio.FileData"}}
    call = f"{served.address}/gradio_api/call/examine"
    event = httpx.post(call, json={"data": [file, "", "quick", False, "", "", "", "", ""]}).json()["event_id"]
    answer = httpx.get(f"{call}/{event}").text
    assert "event: error" in answer
    assert "event: generating" not in answer
    assert str(tmp_path) not in answer
    assert httpx.get(f"{served.address}/gradio_api/file={private}").status_code == 403
    assert httpx.get(f"{served.address}/v1/cases").json()["cases"] == []


def test_it_ends_in_order(served: Served) -> None:
    """The last test of this file: it stops the server."""
    served.process.send_signal(signal.SIGTERM)
    assert served.process.wait(timeout=20) == 0
    assert served.process.stdout is not None
    assert "the Explainer was closed" in served.process.stdout.read()


def test_a_taken_port_is_said() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        done = subprocess.run(
            [sys.executable, "-c", _SERVE, port], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
        )
    assert done.returncode == 3
    assert "--port" in done.stderr
    assert "Traceback" not in done.stderr


_SERVE = """
import sys, agent.service
from tests.ui.fakes import FakeExplainer
agent.service.Explainer = FakeExplainer
from ui.cli import app
app(["serve", "--port", sys.argv[1]])
"""
