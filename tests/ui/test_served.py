"""The real server process over the fake Explainer: its page in a real browser, its API beside it, its end."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.conftest import ROOT, encoded, picture
from tests.ui.conftest import Page, Served, serving


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with serving(tmp_path_factory.mktemp("served"), str(ROOT / "tests" / "ui" / "serve_fake.py")) as started:
        yield started


def test_the_page_loads_nothing_from_elsewhere_and_its_endpoints_have_names(served: Served) -> None:
    page = httpx.get(served.address)
    assert page.status_code == 200
    assert "img-src 'self' data: blob:" in page.headers["content-security-policy"]
    named = httpx.get(f"{served.address}/gradio_api/info").json()["named_endpoints"]
    assert set(named) == {"/examine", "/view", "/ask"}
    assert httpx.get(f"{served.address}/v1/nothing").json()["code"] == "not_found"
    assert httpx.get(f"{served.address}/docs").text.startswith("<!doctype html>")


@pytest.mark.parametrize("name", ["private.jpg", "private.svg"])
def test_a_file_of_the_server_is_not_taken_for_an_upload(served: Served, tmp_path: Path, name: str) -> None:
    private = tmp_path / name
    private.write_bytes(encoded(picture(64, 48)))
    file = {"path": str(private), "meta": {"_type": "gradio.FileData"}}
    call = f"{served.address}/gradio_api/call/examine"
    event = httpx.post(call, json={"data": [file, "", "quick"]}).json()["event_id"]
    answer = httpx.get(f"{call}/{event}").text
    assert "event: error" in answer
    assert "event: generating" not in answer
    assert str(tmp_path) not in answer
    assert httpx.get(f"{served.address}/gradio_api/file={private}").status_code == 403
    assert httpx.get(f"{served.address}/v1/cases").json()["cases"] == []


@pytest.mark.browser
def test_a_person_uploads_reads_the_verdict_and_asks(served: Served, page: Page, tmp_path: Path) -> None:
    browser = page.driver
    photo = tmp_path / "photo.jpg"
    photo.write_bytes(encoded(picture(800, 600)))
    browser.get(served.address)
    page.wait.until(lambda d: d.title == "Exposit")
    page.upload(photo)
    card = page.see(".ex-verdict", "This picture was probably made by a generative model.")
    assert "about 83 in 100 (90 % interval: 70 to 91 in 100)" in card
    assert "photo.jpg" in card
    assert "multiplies the odds by 4.3" in page.see("#evidence", "Patch")
    shown = page.first("#shown img")
    assert "2 marked regions" in (shown.get_attribute("alt") or "")
    page.wait.until(lambda d: d.execute_script("return arguments[0].naturalWidth", shown) == 800)
    page.first("#view input").click()
    views = ["The picture with marked regions", "The picture alone", "Where the residual noise is too even (patch)"]

    def offered(_: object) -> bool:  # options are in the page a moment before their text can be seen
        options = page.all("[role=listbox] [role=option]")
        return [(one.get_attribute("textContent") or "").replace("✓", "").strip() for one in options] == views

    page.wait.until(offered)
    page.all("[role=listbox] [role=option]")[2].click()
    page.wait.until(lambda d: d.execute_script("return document.querySelector('#shown img').naturalWidth") == 640)

    page.ask("Where? ![x](http://elsewhere.example/x.png)")
    page.see("#talk", "The residual noise in the centre is too even. [patch]")
    assert page.all("#talk .message img") == []

    page.first("#why .ex-cite").click()
    page.see(".ex-row.ex-lit", "Patch")
    page.save("chat.png", 1280, 2400)
    page.save("chat-phone.png", 390, 2400)
    width = browser.execute_script("return document.documentElement.scrollWidth")
    assert width <= browser.execute_script("return innerWidth"), "the page scrolls sideways on a phone"

    page.wait.until(lambda d: "?case=" in d.current_url)
    browser.refresh()
    page.see(".ex-verdict", "photo.jpg")  # the case is found again by its address

    page.first("#url textarea, #url input").send_keys("http://127.0.0.1/a.jpg")
    page.first("#examine").click()
    assert "not on the public internet" in page.see(".ex-error", "This could not be done")
    page.see(".ex-verdict", "photo.jpg")  # and an error loses nothing

    asked = [
        json.loads(entry["message"])["message"]["params"]["request"]["url"]
        for entry in browser.get_log("performance")
        if '"Network.requestWillBeSent"' in entry["message"]
    ]
    foreign = [url for url in asked if not url.startswith((served.address, "data:", "blob:", "chrome:"))]
    assert asked
    assert foreign == []
    assert [entry["message"] for entry in browser.get_log("browser") if entry["level"] == "SEVERE"] == []


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
