from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from tests.conftest import encoded, picture
from tools import weights
from tools.contract import Budget, Evidence, Finding
from tools.detectors import frequency as module
from tools.detectors.frequency import frequency
from tools.image import SourceImage
from tools.spectra import GROUPS, NAMES, features
from tools.tiles import Head


def examine(data: bytes) -> Evidence:
    return frequency.examine(SourceImage.open(data), Budget())


def traces(evidence: Evidence) -> list[Finding]:
    """The findings but the first, which is the head's."""
    assert evidence.score is None or "score" in evidence.findings[0].numbers
    return list(evidence.findings if evidence.score is None else evidence.findings[1:])


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
    finding = traces(evidence)[0]
    assert float(finding.numbers["period_px"]) == pytest.approx(period, rel=0.03)
    assert f"every {finding.numbers['period_px']} px {angle}" in finding.text
    whole_stride = angle != "diagonally" and period in (4.0, 8.0)
    assert finding.polarity == ("generated" if whole_stride else "neutral")
    assert (float(evidence.measurements["trace_sigmas"]) > 6.5) == whole_stride


def test_clean_noise_shows_no_pattern() -> None:
    for seed in range(4):
        noise = np.random.default_rng(seed).normal(128, 12, (320, 384, 3)).clip(0, 255).astype(np.uint8)
        evidence = examine(encoded(Image.fromarray(noise), "PNG"))
        assert [finding.polarity for finding in traces(evidence)] == ["neutral"]
        assert "repeats" not in traces(evidence)[0].text
        assert all(abs(float(evidence.measurements[f"lattice_{p}px_sigmas"])) < 4 for p in (8, 16, 32))
        assert float(evidence.measurements["trace_sigmas"]) < 4


@pytest.mark.parametrize("stride", [8, 16])
def test_a_faint_lattice_is_found_that_no_single_peak_shows(stride: int) -> None:
    base = np.asarray(picture(512, 512), np.float32)
    cell = np.random.default_rng(5).normal(0, 1.2, (stride, stride))
    faint = base + np.tile(cell, (512 // stride, 512 // stride))[..., None]
    evidence = examine(encoded(Image.fromarray(faint.clip(0, 255).round().astype(np.uint8)), "PNG"))
    lattice = traces(evidence)[0]
    assert (lattice.numbers["period_px"], lattice.polarity) == (stride, "generated")
    assert "horizontally and vertically" in lattice.text


def test_the_codecs_own_grid_is_left_out_and_said_so() -> None:
    low = encoded(picture(512, 512), quality=30)
    for data in (low, encoded(Image.open(io.BytesIO(low)), "PNG")):
        evidence = examine(data)
        assert not [finding for finding in traces(evidence) if finding.polarity == "generated"]
        assert evidence.measurements["codec_period_px"] == 8
        assert "lattice_8px_sigmas" not in evidence.measurements
        assert any("were left out, for the codec makes them: 8 px" in limit for limit in evidence.limits)


def test_a_pattern_in_a_part_is_placed_and_speaks_for_nothing() -> None:
    finding = traces(examine(planted(5.0, "horizontally", amplitude=12, box=(256, 256, 512, 448))))[0]
    assert finding.region is not None
    assert finding.region.place == "bottom right"
    assert "bottom right" in finding.text
    assert finding.polarity == "neutral"


def test_photographs_are_rarely_said_to_hold_a_lattice(shared: Path) -> None:
    told = []
    for path in sorted((shared / "photos").glob("*.jpg"))[::10]:
        evidence = examine(path.read_bytes())
        told += [evidence.measurements["trace_sigmas"]] if evidence.score is not None else []
        assert not [finding for finding in evidence.findings if finding.severity == "moderate"]
    assert len(told) >= 30
    assert sum(float(sigmas) > 5 for sigmas in told) <= 1


@pytest.mark.parametrize("logit", [-3.0, 0.0, 3.0])
def test_the_head_speaks_by_its_levels_and_names_what_differs(monkeypatch: pytest.MonkeyPatch, logit: float) -> None:
    peak = np.char.startswith(NAMES, "peak/").astype(np.float64)
    head = Head(-9 * peak, np.ones(len(NAMES)), 1e-4 * peak, logit, -2.0, 2.0)  # every peak adds a little
    monkeypatch.setattr(module.Head, "of", lambda arrays: head)
    evidence = examine(encoded(picture(500, 300), "PNG"))
    finding = evidence.findings[0]
    assert finding.polarity == {-3.0: "camera", 0.0: "neutral", 3.0: "generated"}[logit]
    assert finding.numbers["tiles"] == evidence.measurements["tiles_judged"] == 6
    assert finding.numbers["tiles_above_level"] == (6 if logit > 2 else 0)
    assert evidence.score == pytest.approx(1 / (1 + np.exp(-logit)), abs=0.05)
    assert (finding.numbers.get("group") == GROUPS["peak"]) == (logit > 2)
    assert evidence.weights == {"frequency": weights.weight("frequency").sha256}


def test_the_shape_of_a_spectrum_shows_strides_and_ignores_exposure() -> None:
    rgb = np.random.default_rng(1).normal(128, 20, (224, 224)).astype(np.float32)
    plain, dark = features(rgb), features(0.5 * rgb)
    np.testing.assert_allclose(plain, dark, atol=0.02)
    waved = features(rgb + 12 * np.cos(2 * np.pi * np.arange(224) / 8).astype(np.float32))
    raised = {NAMES[i] for i in np.flatnonzero(waved - plain > 1)}
    assert "peak/0_8" in raised, "8 px are 8 of 64 steps"
    assert raised == {"peak/0_8", "axis/row_8", "axis/row_7", "axis/row_9"}
    np.testing.assert_allclose(features(rgb[::-1].copy()), plain, atol=0.1)


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
