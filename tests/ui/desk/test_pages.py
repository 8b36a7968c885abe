"""The pages in a real browser over the real service with quick detectors: what a person sees, presses and is told."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image
from selenium.webdriver import ActionChains
from selenium.webdriver.common.keys import Keys

from tests.conftest import encoded, picture
from tests.ui.conftest import Page, Served

pytestmark = pytest.mark.browser

NAME = "<b>photo<b> {{7*7}}.jpg"
# Gradio's own parts that no page of ours can mend, by rule and the selector that they lie under.
NOT_OURS: dict[str, tuple[str, ...]] = {}


def bright() -> bytes:
    return encoded(picture(640, 480), quality=92)


def dark(seed: int = 2) -> bytes:
    return encoded(Image.eval(picture(640, 480, seed=seed), lambda value: value // 3), quality=92)


def scene(seed: int) -> Image.Image:
    """Rings: a perceptual hash still knows them when they were made smaller."""
    y, x = np.mgrid[0:480, 0:640]
    rings = 127 + 100 * np.sin(np.hypot(x - 200 * seed, y - 100 * seed) / (20 + 7 * seed))
    return Image.fromarray(np.stack([rings] * 3, axis=2).astype(np.uint8))


def put(folder: Path, name: str, data: bytes) -> Path:
    path = folder / name
    path.write_bytes(data)
    return path


def opened(page: Page, address: str, dark_mode: bool = False) -> None:
    scheme = {"features": [{"name": "prefers-color-scheme", "value": "dark" if dark_mode else "light"}]}
    page.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", scheme)  # type: ignore[attr-defined]
    page.driver.get(address)


def wrong(page: Page) -> list[str]:
    """What axe finds serious or critical, with the elements."""
    axe = pytest.importorskip("axe_core_python", reason="axe-core-python is not installed (dependency group `test`)")
    script = Path(axe.__file__).with_name("axe.min.js").read_text(encoding="utf-8")
    page.driver.execute_script(script)
    found: dict[str, Any] = page.driver.execute_async_script(
        "const done = arguments[0]; axe.run(document, {resultTypes: ['violations']}).then(done)"
    )
    told = []
    for rule in found["violations"]:
        if rule["impact"] not in ("serious", "critical"):
            continue
        for node in rule["nodes"]:
            target = " ".join(map(str, node["target"]))
            if not any(part in target for part in NOT_OURS.get(rule["id"], ())):
                told.append(f"{rule['id']}: {target}: {node['html'][:120]}")
    return told


def kept(page: Page, name: str) -> None:
    """Screenshots for a desk, for a phone and in the dark; nothing may scroll sideways."""
    for suffix, width in (("", 1280), ("-phone", 390)):
        page.driver.set_window_size(width, 1400)
        wide = page.driver.execute_script("return document.documentElement.scrollWidth")
        assert wide <= page.driver.execute_script("return innerWidth"), f"{name} scrolls sideways at {width} px"
        height = page.driver.execute_script("return document.documentElement.scrollHeight")
        page.save(f"{name}{suffix}.png", width, min(height + 150, 5000))
    page.driver.set_window_size(1280, 1400)


def severe(page: Page) -> Sequence[str]:
    return [entry["message"] for entry in page.driver.get_log("browser") if entry["level"] == "SEVERE"]  # type: ignore[attr-defined]


def box_of(page: Page) -> list[float]:
    text = page.first("#box textarea, #box input").get_attribute("value") or ""
    return [float(part) for part in text.split(",")] if text else []


def test_a_picture_is_examined_looked_at_and_asked_about(desk: Served, browser: Page, tmp_path: Path) -> None:
    page = browser
    opened(page, desk.address)
    page.see("#verdict", "How it works")
    page.upload(put(tmp_path, NAME, bright()))
    card = page.see(".ex-verdict", "This picture was")
    assert "about 90 in 100 (90 % interval: 88 to 91 in 100)" in card
    assert "It is likely that the picture was generated" in card
    assert page.driver.title == "Exposit"  # no text of a file or a tool became markup
    assert "{{7*7}}" in page.see("#evidence", "No seam was found.")
    assert page.all("#evidence img, #evidence b, #verdict b") == []
    assert "There is no face in the picture." in page.see("#evidence", "Abstained")

    strip = page.see("#copies", "As it came")
    assert all(name in strip for name in ("Saved again", "Made smaller", "Cut"))
    page.wait.until(lambda d: d.execute_script(
        "return [...document.querySelectorAll('#copies img')].map(i => { i.loading = 'eager'; return i.naturalWidth })"
    ) == [320, 320, 320, 320])  # fmt: skip

    # a sentence lights its place up and shows its numbers, by mouse and by keyboard
    said = next(one for one in page.all("#why .ex-say") if "The grain at the left" in one.text)
    said.find_element("css selector", ".ex-text").click()
    assert "0.41" in page.see("#why .ex-behind", "ratio")
    assert [one.get_attribute("data-mark") for one in page.all(".ex-mark.ex-lit")] == ["1"]
    more = said.find_element("css selector", ".ex-more")
    more.send_keys(Keys.ENTER)
    assert page.all(".ex-mark.ex-lit") == []
    more.send_keys(Keys.SPACE)
    assert more.get_attribute("aria-expanded") == "true"
    assert len(page.all(".ex-mark.ex-lit")) == 1

    # a tool's map is laid over the picture, as strongly as is wanted
    page.driver.execute_script(
        "const s = document.querySelector('[data-do=map]'); s.selectedIndex = 1;"
        "s.dispatchEvent(new Event('change', {bubbles: true}))"
    )
    page.wait.until(lambda d: d.execute_script("return document.querySelector('.ex-map').naturalWidth") == 40)
    slider = page.first("[data-do=opacity]")
    slider.send_keys(Keys.HOME)
    assert page.first(".ex-map").value_of_css_property("opacity") == "0"
    slider.send_keys(Keys.END)
    assert page.first(".ex-map").value_of_css_property("opacity") == "1"
    assert "The brighter, the stronger the grain." in page.see(".ex-caption")

    assert wrong(page) == []
    kept(page, "desk-chat")
    page.wait.until(lambda d: re.search(r"\?case=[0-9a-f]{20}$", d.current_url))
    case = page.driver.current_url.partition("=")[2]
    with httpx.Client(base_url=desk.address) as client:
        for name, kind in (("report.pdf", "application/pdf"), ("report.html", "text/html"),
                           ("claimreview.json", "application/ld+json"), ("bundle.zip", "application/zip")):  # fmt: skip
            link = page.first(f"#take a[href$='{name}']").get_attribute("href") or ""
            answer = client.get(link)
            assert answer.status_code == 200
            assert answer.headers["content-type"].startswith(kind)
        assert client.get(f"/pictures/{case}/half.webp").headers["content-type"] == "image/webp"
        assert client.get(f"/pictures/{case}/other.webp").status_code == 422
        assert client.get("/pictures/none/shown.webp").status_code == 404
    assert severe(page) == []


def test_a_person_draws_a_box_and_asks_about_it(desk: Served, browser: Page, tmp_path: Path) -> None:
    page = browser
    opened(page, desk.address)
    page.upload(put(tmp_path, "a.jpg", bright()))
    page.see(".ex-verdict", "a.jpg")
    stage = page.first("[data-stage]")
    page.driver.execute_script("arguments[0].scrollIntoView({block: 'center'})", stage)
    page.first("[data-do=draw]").click()
    wide, high = stage.size["width"], stage.size["height"]
    drag = ActionChains(page.driver).move_to_element_with_offset(stage, -wide // 4, -high // 4).click_and_hold()
    drag.move_by_offset(wide // 2, high // 2).release().perform()
    assert box_of(page) == pytest.approx([0.25, 0.25, 0.75, 0.75], abs=0.02)
    assert "Ask about it below" in page.see(".ex-hint", "The box reaches")

    page.first("[data-do=draw]").click()  # two taps do it too
    ActionChains(page.driver).move_to_element_with_offset(stage, -wide // 3, -high // 3).click().perform()
    ActionChains(page.driver).move_to_element_with_offset(stage, 0, 0).click().perform()
    assert box_of(page) == pytest.approx([0.167, 0.167, 0.5, 0.5], abs=0.02)

    page.first("[data-do=draw]").send_keys(Keys.ENTER)  # and so do the keys
    ActionChains(page.driver).send_keys(Keys.ARROW_RIGHT).key_down(Keys.SHIFT).send_keys(Keys.ARROW_DOWN).key_up(
        Keys.SHIFT
    ).send_keys(Keys.ENTER).perform()
    assert box_of(page) == pytest.approx([0.187, 0.167, 0.52, 0.52], abs=0.02)

    page.first("[data-do=undraw]").click()
    assert box_of(page) == []
    page.first("#box textarea, #box input").send_keys("0.5, 0.5, 1, 1")  # what is written is drawn
    drawn = page.first(".ex-drawn")
    assert drawn.is_displayed()
    assert drawn.size["width"] == pytest.approx(wide / 2, abs=3)

    page.ask("What is here? <i>x</i> ![x](http://elsewhere.example/x.png)")
    page.see("#talk .ex-theirs", "bottom right")
    mine = page.see("#talk .ex-mine", "What is here?")
    assert "<i>x</i>" in mine
    assert "0.5, 0.5, 1, 1" in mine
    assert page.all("#talk img:not(.ex-inset img)") == []
    page.wait.until(lambda _: box_of(page) == [])
    page.ask("What speaks against it?")
    page.wait.until(lambda _: len(page.all("#talk .ex-theirs")) == 2)
    page.driver.refresh()
    page.see(".ex-verdict", "a.jpg")
    page.wait.until(lambda _: len(page.all("#talk .ex-theirs")) == 2)  # the log remembers what was said
    assert severe(page) == []


def test_the_history_is_searched(desk: Served, browser: Page, tmp_path: Path) -> None:
    page = browser
    small = io.BytesIO()
    scene(1).resize((480, 360)).save(small, "JPEG", quality=70)
    with httpx.Client(base_url=desk.address, timeout=60) as client:
        cases = {
            name: client.post("/v1/explanations", files={"file": (name, data)}).json()["case_id"]
            for name, data in (
                ("harbour.jpg", encoded(scene(1))), ("harbour-copy.jpg", small.getvalue()),
                ("street.jpg", encoded(scene(2))),
            )
        }  # fmt: skip
    opened(page, f"{desk.address}/history")

    def names(*wanted: str) -> None:
        page.wait.until(lambda _: sorted(one.text for one in page.all("#found-cases .ex-what a")) == sorted(wanted))

    page.see("#found-cases", "street.jpg")
    assert wrong(page) == []
    page.first("#text textarea, #text input").send_keys("HARBOUR")
    page.first("#search").click()
    names("harbour.jpg", "harbour-copy.jpg")
    page.first("#clear").click()
    page.see("#found-cases", "street.jpg")
    page.upload(put(tmp_path, "found-elsewhere.png", encoded(scene(1), "PNG")))
    names("harbour.jpg", "harbour-copy.jpg")
    assert "perceptual hash" in page.see("#found-cases")
    kept(page, "desk-history")
    page.first("#text textarea, #text input").send_keys("street")
    page.first("#search").click()
    page.see("#found-cases", "No case was found.")

    opened(page, f"{desk.address}/history?similar={cases['harbour-copy.jpg']}", dark_mode=True)
    names("harbour.jpg", "harbour-copy.jpg")
    assert wrong(page) == []
    page.all("#found-cases .ex-what a")[0].click()
    page.see(".ex-verdict", "harbour")
    assert wrong(page) == []
    opened(page, f"{desk.address}/history")
    page.first("#since textarea, #since input").send_keys("yesterday", Keys.ENTER)
    assert "2026-01-31" in page.see(".ex-error", "is no day")
    assert severe(page) == []


def test_a_person_reviews_what_waits(desk: Served, browser: Page, tmp_path: Path) -> None:
    page = browser
    opened(page, desk.address)
    page.first("#high input").click()
    page.upload(put(tmp_path, "night.jpg", dark()))
    page.see(".ex-verdict", "a person should look")
    opened(page, f"{desk.address}/review")
    page.see("#queue", "Waiting (1)")
    page.all("#queue a")[0].click()
    page.see(".ex-verdict", "Inconclusive")
    assert wrong(page) == []
    page.first("#record").click()
    assert "your name" in page.see(".ex-error", "The form is not complete")
    page.all("#kind input")[1].click()
    page.first("#label input").click()
    page.wait.until(lambda _: any("photograph" in one.text for one in page.all("[role=option]")))
    next(one for one in page.all("[role=option]") if "photograph" in one.text).click()
    page.first("#reason textarea").send_keys("The photographer sent the negative.")
    page.first("#reviewer textarea, #reviewer input").send_keys("Ann Ames")
    kept(page, "desk-review")
    page.first("#record").click()
    page.see("#status", "was overridden by Ann Ames. Nothing else waits.")
    card = page.see(".ex-verdict", "Ann Ames overrides (Photograph): The photographer sent the negative.")
    assert "Inconclusive" in card  # the machine's verdict stays beside it
    page.see("#queue", "No case waits for a person.")
    assert severe(page) == []


def test_many_pictures_are_watched_and_taken_along(desk: Served, browser: Page, tmp_path: Path) -> None:
    page = browser
    opened(page, f"{desk.address}/batch")
    page.see("#batch-shown", "How it works")
    assert wrong(page) == []
    folder = tmp_path / "pictures"
    folder.mkdir()
    put(folder, "one.jpg", bright())
    put(folder, "two.jpg", dark(seed=11))
    put(folder, "=broken.jpg", b"no picture at all")
    page.first("input[webkitdirectory]").send_keys(str(folder))
    page.see("#picture", "broken")
    page.first("#urls textarea").send_keys("https://web.example/picture.jpg\nhttps://web.example/missing.jpg")
    page.first("#batch-name textarea, #batch-name input").send_keys("Forty <b>pictures</b>")
    page.first("#examine-all").click()
    page.see("#batch-shown", "All 5 are done: 3 examined, 2 could not be judged.")
    rows = page.see("#batch-shown")
    assert "Forty <b>pictures</b>" in rows
    assert "The server answers 404." in rows
    assert page.first("#batch-shown progress").get_attribute("value") == "5"
    assert wrong(page) == []
    kept(page, "desk-batch")
    with httpx.Client(base_url=desk.address) as client:
        table = client.get(page.first("#batch-shown a[href$='.csv']").get_attribute("href") or "").text
        report = client.get(page.first("#batch-shown a[href$='.html']").get_attribute("href") or "")
    assert table.count("\n") == 6
    assert "'=broken.jpg" in table
    assert report.text.count("data:image/webp") == 3
    assert "Forty &lt;b&gt;pictures" in report.text
    assert "default-src 'none'" in report.headers["content-security-policy"]
    page.driver.refresh()  # the page's address leads back to the batch
    page.see("#batch-shown", "All 5 are done")
    page.all("#batch-shown .ex-what a")[0].click()
    page.see(".ex-verdict", ".jpg")
    assert severe(page) == []


def test_nothing_is_loaded_from_elsewhere(desk: Served, browser: Page) -> None:
    """The last test of this file that uses the open service: it reads what the browser asked for in all of them."""
    asked = [
        json.loads(entry["message"])["message"]["params"]["request"]["url"]
        for entry in browser.driver.get_log("performance")  # type: ignore[attr-defined]
        if '"Network.requestWillBeSent"' in entry["message"]
    ]
    foreign = [url for url in asked if not url.startswith((desk.address, "data:", "blob:", "chrome:"))]
    assert len(asked) > 20
    assert foreign == []
