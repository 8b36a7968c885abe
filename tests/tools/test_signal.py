from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps

from tools import signal


@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_is_undone_as_pillow_applies_it(orientation: int) -> None:
    filed = np.random.default_rng(0).integers(0, 255, (5, 7, 3), np.uint8)
    image = Image.fromarray(filed)
    image.getexif()[0x0112] = orientation
    upright = np.asarray(ImageOps.exif_transpose(image))
    assert np.array_equal(signal.as_in_file(upright, orientation), filed)
    assert np.array_equal(signal.as_upright(filed, orientation), upright)


def test_median_is_the_median() -> None:
    plane = np.random.default_rng(1).normal(0, 9, (17, 23)).astype(np.float32)
    windows = np.lib.stride_tricks.sliding_window_view(np.pad(plane, 1, mode="symmetric"), (3, 3))
    assert np.allclose(signal.median3(plane), np.median(windows, axis=(2, 3)))


def test_power_of_white_noise_is_its_variance_at_every_radius() -> None:
    noise = np.random.default_rng(2).normal(0, 3, (64, 128, 128)).astype(np.float32)
    mean = np.mean([signal.power(tile, signal.hann(128)) for tile in noise], axis=0)
    profile = signal.radial_profile(mean, 128)
    assert profile[3:] == pytest.approx(np.full(62, 9.0), rel=0.1)


def test_centred_is_the_whole_spectrum() -> None:
    tile = np.random.default_rng(3).normal(0, 3, (64, 64)).astype(np.float32)
    whole = np.abs(np.fft.fftshift(np.fft.fft2((tile - tile.mean()) * signal.hann(64)))) ** 2 / tile.size
    assert np.allclose(signal.centred(signal.power(tile, signal.hann(64)), 64), whole, rtol=1e-2, atol=1e-3)


@settings(max_examples=40, deadline=None)
@given(st.integers(16, 300), st.integers(16, 300), st.sampled_from([8, 16]), st.integers(1, 60))
def test_tiles_lie_inside_cover_the_picture_and_keep_the_cap(height: int, width: int, size: int, cap: int) -> None:
    grid = signal.tile_grid(height, width, size, size, cap=cap, seed=7)
    seen = np.zeros((height, width), bool)
    for top, left in grid.corners:
        assert top + size <= height
        assert left + size <= width
        seen[top : top + size, left : left + size] = True
    assert len(grid.corners) == min(cap, grid.whole)
    assert grid.corners == signal.tile_grid(height, width, size, size, cap=cap, seed=7).corners
    if grid.whole <= cap:
        assert seen.all()
        assert grid.coverage == 1


def test_a_tile_that_does_not_fit_is_refused_with_both_sizes() -> None:
    with pytest.raises(ValueError, match="64 px does not fit into 100x30 px"):
        signal.tile_grid(30, 100, 64, 64, cap=9, seed=0)
