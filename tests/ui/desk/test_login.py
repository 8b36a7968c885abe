"""The pages behind keys: asked for once, kept where no script reads it, and opening what its scopes say."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.conftest import ROOT, encoded, picture
from tests.ui.conftest import Page
from tests.ui.desk.test_pages import kept, opened, put, severe, wrong

pytestmark = pytest.mark.browser


@pytest.fixture
def guarded(tmp_path: Path) -> Iterator[tuple[str, str, str]]:
    """A service that asks for keys: its address, a key that opens everything, one that only reads."""
    environment = os.environ | {"EXPOSIT_HOME": str(tmp_path), "GRADIO_TEMP_DIR": str(tmp_path / "gradio")}
    with subprocess.Popen(
        [sys.executable, "-m", "tests.ui.desk.serve", "keys"], cwd=ROOT, env=environment, stdout=subprocess.PIPE,
        text=True,
    ) as process:  # fmt: skip
        try:
            assert process.stdout is not None
            everything, reading = process.stdout.readline().split()
            yield process.stdout.readline().removeprefix("Exposit is ready: ").strip(), everything, reading
            process.terminate()
            process.wait(timeout=30)
        finally:
            process.kill()


def test_the_key_is_asked_for_once_and_its_scopes_hold(
    guarded: tuple[str, str, str], browser: Page, tmp_path: Path
) -> None:
    page, (address, everything, reading) = browser, guarded
    with httpx.Client(base_url=address, timeout=60) as client:
        bearer = {"Authorization": f"Bearer {everything}"}
        photo = encoded(picture(640, 480))
        answer = client.post("/v1/explanations", files={"file": ("a.jpg", photo)}, headers=bearer)
        case = answer.json()["case_id"]
        for to in ("https://elsewhere.example/", "//elsewhere.example", "/\\elsewhere.example", "javascript:x"):
            sent = client.post("/key", data={"key": reading, "to": to})
            assert (sent.status_code, sent.headers["location"]) == (303, "/")
        assert client.get(f"/pictures/{case}/small.webp", headers={"Accept": "image/webp"}).status_code == 200
        client.cookies.clear()
        assert client.get(f"/pictures/{case}/small.webp").status_code == 401
        assert client.get("/batches/x.html").status_code == 401

    opened(page, f"{address}/review?case={case}")
    page.see("h1", "Exposit")
    assert wrong(page) == []
    page.first("#key").send_keys("exk_wrong")
    page.first("button").click()
    page.see("[role=alert]", "There is no such key")
    kept(page, "desk-key")
    page.first("#key").send_keys(reading)
    page.first("button").click()
    page.see(".ex-verdict", "a.jpg")  # where the person wanted to go
    assert "Ben Boon (read)" in page.see(".ex-who")
    assert "review is needed" in page.see("#status", "Your key does not open that")
    assert page.first("#record").get_attribute("disabled") is not None
    cookie = next(one for one in page.driver.get_cookies() if one["name"] == "exposit_key")
    assert cookie["httpOnly"] is True
    assert cookie["sameSite"] == "Lax"
    opened(page, address)
    page.upload(put(tmp_path, "b.jpg", photo))
    page.see("#status", "submit is needed")
    page.first(".ex-who button").click()
    page.see("label", "Your key")
    assert page.driver.get_cookies() == []

    opened(page, f"{address}/review?case={case}")
    page.first("#key").send_keys(everything)
    page.first("button").click()
    page.see(".ex-verdict", "a.jpg")
    name = page.first("#reviewer textarea, #reviewer input")
    page.wait.until(lambda _: name.get_attribute("value") == "Ann Ames")
    page.all("#kind input")[0].click()
    page.first("#reason textarea").send_keys("Seen.")
    page.first("#record").click()
    page.see(".ex-verdict", "Ann Ames confirms")
    assert [text for text in severe(page) if " 401 " not in text] == []  # of the key that was wrong
