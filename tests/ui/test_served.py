"""The real server process over the fake Explainer: its page in a real browser, its API beside it, its end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from tests.conftest import ROOT, encoded, picture

ARTIFACTS = ROOT / "test-artifacts"
CHROMIUM, DRIVER = Path("/usr/bin/chromium"), Path("/usr/bin/chromedriver")


@dataclass
class Served:
    process: subprocess.Popen[str]
    address: str


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("served")
    environment = os.environ | {"EXPOSIT_HOME": str(folder), "GRADIO_TEMP_DIR": str(folder / "gradio")}
    with subprocess.Popen(
        [sys.executable, str(ROOT / "tests" / "ui" / "serve_fake.py")],
        cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        assert process.stdout is not None
        said = process.stdout.readline()
        assert said.startswith("Exposit is ready: http://127.0.0.1:"), said
        yield Served(process, said.removeprefix("Exposit is ready: ").strip())
        process.kill()


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


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[object]:
    if not (CHROMIUM.exists() and DRIVER.exists()):
        pytest.skip("chromium and chromedriver are not installed (Debian: chromium, chromium-driver)")
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = str(CHROMIUM)
    for flag in (
        "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
        "--disable-background-networking", "--disable-component-update", "--window-size=1280,1400",
        f"--user-data-dir={tmp_path / 'profile'}",
    ):  # fmt: skip
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"performance": "ALL", "browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(str(DRIVER)))
    yield driver
    driver.quit()


@pytest.mark.browser
def test_a_person_uploads_reads_the_verdict_and_asks(served: Served, browser: object, tmp_path: Path) -> None:
    import json

    from selenium.webdriver.common.by import By
    from selenium.webdriver.remote.webdriver import WebDriver
    from selenium.webdriver.support.ui import WebDriverWait

    assert isinstance(browser, WebDriver)
    wait = WebDriverWait(browser, 60)

    def see(selector: str, text: str = "") -> str:
        """Waits for an element that shows `text`, and returns all it shows."""
        wait.until(lambda d: any(text in one.text for one in d.find_elements(By.CSS_SELECTOR, selector)))
        return next(
            one.text for one in browser.find_elements(By.CSS_SELECTOR, selector) if text in one.text
        )  # fmt: skip

    def upload(path: Path) -> None:
        wait.until(lambda d: d.find_elements(By.CSS_SELECTOR, "#picture input[type=file]"))[0].send_keys(str(path))

    photo = tmp_path / "photo.jpg"
    photo.write_bytes(encoded(picture(800, 600)))
    browser.get(served.address)
    wait.until(lambda d: d.title == "Exposit")
    upload(photo)
    card = see(".ex-verdict", "This picture was probably made by a generative model.")
    assert "about 83 in 100 (90 % interval: 70 to 91 in 100)" in card
    assert "photo.jpg" in card
    assert "multiplies the odds by 4.3" in see("#evidence", "Patch")
    shown = wait.until(lambda d: d.find_elements(By.CSS_SELECTOR, "#shown img"))[0]
    assert "2 marked regions" in (shown.get_attribute("alt") or "")
    wait.until(lambda d: d.execute_script("return arguments[0].naturalWidth", shown) == 800)
    browser.find_element(By.CSS_SELECTOR, "#view input").click()
    options = wait.until(lambda d: d.find_elements(By.CSS_SELECTOR, "[role=listbox] [role=option]"))
    assert [option.text.removeprefix("✓").strip() for option in options] == [
        "The picture with marked regions", "The picture alone", "Where the residual noise is too even (patch)",
    ]  # fmt: skip
    options[2].click()
    wait.until(lambda d: d.execute_script("return document.querySelector('#shown img').naturalWidth") == 640)

    browser.find_element(By.CSS_SELECTOR, "#question textarea").send_keys("Where? ![x](http://elsewhere.example/x.png)")
    browser.find_element(By.CSS_SELECTOR, "#ask").click()
    see("#talk", "The residual noise in the centre is too even. [patch]")
    assert browser.find_elements(By.CSS_SELECTOR, "#talk .message img") == []

    browser.find_element(By.CSS_SELECTOR, "#why .ex-cite").click()
    see(".ex-row.ex-lit", "Patch")
    ARTIFACTS.mkdir(exist_ok=True)
    browser.set_window_size(1280, 2400)
    browser.save_screenshot(str(ARTIFACTS / "chat.png"))
    browser.set_window_size(390, 2400)
    width = browser.execute_script("return document.documentElement.scrollWidth")
    assert width <= browser.execute_script("return innerWidth"), "the page scrolls sideways on a phone"
    browser.save_screenshot(str(ARTIFACTS / "chat-phone.png"))

    wait.until(lambda d: "?case=" in d.current_url)
    browser.refresh()
    see(".ex-verdict", "photo.jpg")  # the case is found again by its address

    browser.find_element(By.CSS_SELECTOR, "#url textarea, #url input").send_keys("http://127.0.0.1/a.jpg")
    browser.find_element(By.CSS_SELECTOR, "#examine").click()
    assert "not on the public internet" in see(".ex-error", "This could not be done")
    see(".ex-verdict", "photo.jpg")  # and an error loses nothing

    asked = [
        json.loads(entry["message"])["message"]["params"]["request"]["url"]
        for entry in browser.get_log("performance")
        if '"Network.requestWillBeSent"' in entry["message"]
    ]
    foreign = [url for url in asked if not url.startswith((served.address, "data:", "blob:", "chrome:"))]
    assert asked
    assert foreign == []
    errors = [entry["message"] for entry in browser.get_log("browser") if entry["level"] == "SEVERE"]
    assert errors == []


def test_it_ends_in_order(served: Served) -> None:
    """The last test of this file: it stops the server."""
    served.process.send_signal(signal.SIGTERM)
    assert served.process.wait(timeout=20) == 0
    assert served.process.stdout is not None
    assert "the Explainer was closed" in served.process.stdout.read()


def test_a_taken_port_is_said(served: Served, tmp_path: Path) -> None:
    import socket

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
