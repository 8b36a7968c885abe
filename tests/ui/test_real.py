"""Nothing faked: `exposit serve` as a person starts it, its chat in a real browser, its API beside it."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest
from PIL.PngImagePlugin import PngInfo

from tests.conftest import encoded, picture
from tests.ui.conftest import Page, serving

RECIPE = (
    "a lighthouse\nNegative prompt: blurry\n"
    "Steps: 20, Sampler: Euler a, CFG scale: 7, Seed: 7, Size: 512x384, Model: v1-5"
)


@pytest.mark.browser
def test_a_picture_with_its_recipe_inside(page: Page, tmp_path: Path) -> None:
    said = PngInfo()
    said.add_text("parameters", RECIPE)
    made = tmp_path / "lighthouse.png"
    made.write_bytes(encoded(picture(512, 384), "PNG", pnginfo=said))
    with serving(tmp_path / "home", "-m", "ui.cli", "serve", "--port", "0", "--vlm", "template") as served:
        page.driver.get(served.address)
        page.upload(made)
        card = page.see(".ex-verdict", "made by a generative model")
        assert "Generated" in card
        assert "lighthouse.png" in card
        assert "Nobody signed this" in page.see("#evidence", "Provenance")
        page.ask("Why?")
        page.see("#talk", "a lighthouse")
        page.save("chat-real.png", 1280, 2400)
        case = page.first("#case-number").text

        with httpx.Client(base_url=served.address, timeout=60) as client:
            by_chat = client.get(f"/v1/cases/{case}").json()["report"]
            answer = client.post("/v1/explanations", files={"file": ("lighthouse.png", made.read_bytes())})
            by_api = answer.json()
            assert answer.status_code == 200
            assert by_api["verdict"] == by_chat["verdict"]
            assert [one["score"] for one in by_api["evidence"]] == [one["score"] for one in by_chat["evidence"]]
            assert client.get("/readyz").json()["parts"]["database"] == "ok"
