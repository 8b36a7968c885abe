from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from tests.conftest import encoded, picture
from tools.contract import Budget, Evidence
from tools.detectors.frequency import frequency
from tools.image import SourceImage


def examine(data: bytes) -> Evidence:
    return frequency.examine(SourceImage.open(data), Budget())


def planted(
    period: float, angle: str, *, amplitude: float = 2.0, box: tuple[int, int, int, int] | None = None
) -> bytes:
    """A noisy picture as PNG, with a wave of `period` planted in all of it or in a box."""
    base = np.asarray(picture(512, 448), np.float32)
    y, x = np.mgrid[0:448, 0:512]
    along = {"horizontally": x, "vertically": y, "diagonally": (x + y) / np.sqrt(2)}[angle]
    wave = amplitude * np.cos(2 * np.pi * along / period)
    if box is not None:
        wave *= (x >= box[0]) & (y >= box[1]) & (x < box[2]) & (y < box[3])
    return encoded(Image.fromarray((base + wave[..., None]).clip(0, 255).round().astype(np.uint8)), "PNG")


@pytest.mark.parametrize("period", [4.0, 8.0, 16 / 3])
@pytest.mark.parametrize("angle", ["horizontally", "vertically", "diagonally"])
def test_a_planted_wave_is_found_with_its_period_and_direction(period: float, angle: str) -> None:
    evidence = examine(planted(period, angle))
    finding = evidence.findings[0]
    assert float(finding.numbers["period_px"]) == pytest.approx(period, rel=0.03)
    assert f"every {finding.numbers['period_px']} px {angle}" in finding.text
    whole_stride = angle != "diagonally" and period in (4.0, 8.0)
    assert finding.polarity == ("generated" if whole_stride else "neutral")
    assert evidence.score is not None
    assert (evidence.score > 0.7) == whole_stride


def test_clean_noise_shows_no_pattern() -> None:
    for seed in range(4):
        noise = np.random.default_rng(seed).normal(128, 12, (320, 384, 3)).clip(0, 255).astype(np.uint8)
        evidence = examine(encoded(Image.fromarray(noise), "PNG"))
        assert [finding.polarity for finding in evidence.findings] == ["neutral"]
        assert "repeats" not in evidence.findings[0].text
        assert all(abs(float(evidence.measurements[f"lattice_{p}px_sigmas"])) < 4 for p in (8, 16, 32))
        assert evidence.score is not None
        assert evidence.score < 0.3


@pytest.mark.parametrize("stride", [8, 16])
def test_a_faint_lattice_is_found_that_no_single_peak_shows(stride: int) -> None:
    base = np.asarray(picture(512, 512), np.float32)
    cell = np.random.default_rng(5).normal(0, 1.2, (stride, stride))
    faint = base + np.tile(cell, (512 // stride, 512 // stride))[..., None]
    evidence = examine(encoded(Image.fromarray(faint.clip(0, 255).round().astype(np.uint8)), "PNG"))
    assert evidence.findings[0].numbers["period_px"] == stride
    assert evidence.findings[0].polarity == "generated"
    assert "horizontally and vertically" in evidence.findings[0].text


def test_the_codecs_own_grid_is_left_out_and_said_so() -> None:
    low = encoded(picture(512, 512), quality=30)
    for data in (low, encoded(Image.open(io.BytesIO(low)), "PNG")):
        evidence = examine(data)
        assert not [finding for finding in evidence.findings if finding.polarity == "generated"]
        assert evidence.measurements["codec_period_px"] == 8
        assert "lattice_8px_sigmas" not in evidence.measurements
        assert any("were left out, for the codec makes them: 8 px" in limit for limit in evidence.limits)


def test_a_pattern_in_a_part_is_placed_and_speaks_for_nothing() -> None:
    finding = examine(planted(5.0, "horizontally", amplitude=12, box=(256, 256, 512, 448))).findings[0]
    assert finding.region is not None
    assert finding.region.place == "bottom right"
    assert "bottom right" in finding.text
    assert finding.polarity == "neutral"


def test_photographs_are_rarely_said_to_hold_a_lattice(shared: Path) -> None:
    scores = []
    for path in sorted((shared / "photos").glob("*.jpg"))[::10]:
        evidence = examine(path.read_bytes())
        scores.append(evidence.score)
        assert not [finding for finding in evidence.findings if finding.severity == "moderate"]
    told = [score for score in scores if score is not None]
    assert len(told) >= 30
    assert sum(score > 0.5 for score in told) <= 1


def test_small_flat_and_drawn_pictures_abstain_with_a_reason() -> None:
    drawing = np.full((128, 128, 3), 250, np.uint8)
    drawing[40:60, 20:100] = 0
    noise = np.random.default_rng(0).integers(0, 255, (128, 63, 3), np.uint8)
    for pixels, because in (
        (noise, "too small: its shorter side has 63 px"),
        (np.full((128, 128, 3), 90, np.uint8), "flat"),
        (drawing, "drawings and screenshots"),
    ):
        evidence = examine(encoded(Image.fromarray(pixels), "PNG"))
        assert evidence.score is None
        assert because in str(evidence.abstained_because)


def test_the_spectrum_is_drawn_with_a_planted_wave_as_its_brightest_dots() -> None:
    image = SourceImage.open(planted(4.0, "horizontally", amplitude=8))
    (drawn,) = frequency.examine(image, Budget()).maps
    spectrum = np.asarray(Image.open(io.BytesIO(image.maps.png[drawn.sha256])), int)
    size = drawn.width
    assert spectrum.shape == (size, size)
    assert spectrum[size // 2, size // 4] > spectrum[size // 2 - 9 : size // 2 - 4, size // 4].max() + 30
    assert spectrum[size // 2, 3 * size // 4] == pytest.approx(spectrum[size // 2, size // 4], abs=3)


@settings(max_examples=30, deadline=None)
@given(
    st.integers(16, 300), st.integers(40, 150), st.sampled_from(["PNG", "JPEG", "WEBP", "GIF"]), st.booleans(),
    st.integers(0, 9),
)  # fmt: skip
def test_no_shape_or_content_makes_it_raise(width: int, height: int, fmt: str, flat: bool, seed: int) -> None:
    noise = np.random.default_rng(seed).integers(0, 255, (height, width, 3), np.uint8)
    data = encoded(Image.fromarray(noise if not flat else np.full_like(noise, 25 * seed)), fmt)
    first, second = examine(data), examine(data)
    assert first.model_copy(update={"ms": 0}) == second.model_copy(update={"ms": 0})
    for finding in first.findings:
        for number in finding.numbers.values():
            assert str(number) in finding.text
