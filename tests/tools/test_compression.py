from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from tests.conftest import encoded, picture
from tools.contract import Budget, Evidence
from tools.detectors.compression import compression
from tools.image import SourceImage


def examine(data: bytes, level: str = "standard") -> Evidence:
    return compression.examine(SourceImage.open(data), Budget.model_validate({"level": level}))


def said(evidence: Evidence) -> str:
    return " ".join(finding.text for finding in evidence.findings)


def never_jpeg(path: Path) -> Image.Image:
    """A photograph shrunk by three quarters: its first compression is no longer in the pixels' grid."""
    with Image.open(path) as photo:
        return photo.convert("RGB").resize((192, 192), Image.Resampling.LANCZOS)


def decoded(data: bytes) -> Image.Image:
    return Image.open(io.BytesIO(data)).convert("RGB")


@pytest.fixture(scope="module")
def photos(shared: Path) -> list[Image.Image]:
    return [never_jpeg(path) for path in sorted((shared / "photos").glob("*.jpg"))[::30]][:12]


@pytest.mark.parametrize("quality", [50, 70, 85, 95])
def test_the_quality_that_pillow_saved_with_is_read_exactly(quality: int) -> None:
    evidence = examine(encoded(picture(), quality=quality))
    assert evidence.score is None
    assert evidence.abstained_because == "This tool describes the file and does not judge."
    assert evidence.measurements["jpeg_quality"] == quality
    assert evidence.measurements["jpeg_quality_effective"] == quality
    assert evidence.measurements["tables_distance_pct"] == 0
    assert f"saved at quality {quality} with the standard tables (baseline, chroma 4:2:0)" in said(evidence)


def test_tables_that_are_not_standard_are_said_to_be_so() -> None:
    tables = [[max(1, 2 * k) for k in range(1, 65)], [9 + k for k in range(64)]]
    evidence = examine(encoded(picture(), qtables=tables, subsampling=0, progressive=True))
    assert "non-standard tables; the nearest standard quality is" in said(evidence)
    assert "(progressive, chroma 4:4:4)" in said(evidence)
    assert float(evidence.measurements["tables_distance_pct"]) > 5


@pytest.mark.parametrize("quality", [60, 85, 92])
def test_a_former_jpeg_is_found_in_png_pixels_with_its_offset_and_quality(quality: int) -> None:
    once = decoded(encoded(picture(320, 240), quality=quality))
    evidence = examine(encoded(once.crop((3, 5, 320, 240)), "PNG"))
    assert (evidence.measurements["grid_x_px"], evidence.measurements["grid_y_px"]) == (5, 3)
    assert abs(int(evidence.measurements["jpeg_quality"]) - quality) <= 1
    assert evidence.measurements["lossless"] is False
    assert "5 px from the left and 3 px from the top" in said(evidence)


def test_pixels_that_were_never_jpeg_are_lossless(photos: list[Image.Image]) -> None:
    for photo in photos:
        evidence = examine(encoded(photo, "PNG"), "quick")
        assert evidence.measurements["lossless"] is True
        assert evidence.measurements["jpeg_quality_effective"] == 100


# What is seen of 12 photographs: (first quality, last quality) and how many must be named within 5.
@pytest.mark.parametrize(("first", "last", "least"), [(60, 90, 10), (75, 95, 10), (50, 75, 10), (80, 85, 9)])
def test_a_double_jpeg_names_its_first_quality(photos: list[Image.Image], first: int, last: int, least: int) -> None:
    named = 0
    for photo in photos:
        evidence = examine(encoded(decoded(encoded(photo, quality=first)), quality=last), "quick")
        if evidence.measurements["double_jpeg"] == "same_grid":
            named += abs(int(evidence.measurements["primary_quality"]) - first) <= 5
            assert evidence.measurements["jpeg_quality_effective"] == evidence.measurements["primary_quality"]
            assert {"primary_quality", "quality"} <= set(evidence.findings[1].numbers)
    assert named >= least


@pytest.mark.parametrize("quality", [60, 85, 95])
def test_a_single_jpeg_is_not_called_double(photos: list[Image.Image], quality: int) -> None:
    flagged = [examine(encoded(photo, quality=quality), "quick").measurements.get("double_jpeg") for photo in photos]
    assert flagged.count("no") >= 11


def test_a_shifted_grid_is_found_under_a_later_one(photos: list[Image.Image]) -> None:
    found = 0
    for photo in photos:
        once = decoded(encoded(photo, quality=60))
        measured = examine(encoded(once.crop((3, 5, 192, 192)), quality=92), "quick").measurements
        found += (measured.get("shifted_x_px"), measured.get("shifted_y_px")) == (5, 3)
    assert found >= 9


def test_the_grid_is_read_in_the_orientation_of_the_file() -> None:
    once = decoded(encoded(picture(320, 240), quality=70)).crop((3, 5, 320, 240))
    plain = SourceImage.open(encoded(once, "PNG"))
    turned = replace(plain, rgb=np.rot90(plain.rgb, -1).copy(), width=plain.height, height=plain.width, orientation=6)
    there, here = (compression.examine(image, Budget()).measurements for image in (plain, turned))
    assert (here["grid_x_px"], here["grid_y_px"]) == (there["grid_x_px"], there["grid_y_px"]) == (5, 3)


def test_the_error_level_map_shows_what_was_never_compressed() -> None:
    soft = np.asarray(decoded(encoded(picture(256, 256), quality=60))).copy()
    soft[64:128, 128:192] = np.random.default_rng(0).integers(0, 255, (64, 64, 3))
    image = SourceImage.open(encoded(Image.fromarray(soft), "PNG"))
    (drawn,) = compression.examine(image, Budget()).maps
    assert "no evidence" in drawn.caption
    levels = np.asarray(Image.open(io.BytesIO(image.maps.png[drawn.sha256])), float)
    assert levels.shape == (32, 32)
    assert levels[8:16, 16:24].mean() > 3 * levels[16:].mean()


def test_a_picture_beyond_the_budget_is_mapped_in_bands() -> None:
    image = SourceImage.open(encoded(picture(640, 512), "PNG"))
    (drawn,) = compression.examine(image, Budget(max_tiles=1)).maps
    assert "one band of 16 rows in 5" in drawn.caption


@settings(max_examples=25, deadline=None)
@given(
    st.integers(16, 300), st.integers(16, 60), st.sampled_from(["PNG", "JPEG", "WEBP", "GIF"]), st.booleans(),
    st.integers(0, 9),
)  # fmt: skip
def test_no_shape_or_content_makes_it_raise(width: int, height: int, fmt: str, flat: bool, seed: int) -> None:
    noise = np.random.default_rng(seed).integers(0, 255, (height, width, 3), np.uint8)
    data = encoded(Image.fromarray(noise if not flat else np.full_like(noise, 25 * seed)), fmt)
    first, second = examine(data), examine(data)
    assert first.model_copy(update={"ms": 0}) == second.model_copy(update={"ms": 0})
    assert first.measurements["short_side_px"] == min(width, height)
    for finding in first.findings:
        for number in finding.numbers.values():
            assert str(number) in finding.text or number == "none"
