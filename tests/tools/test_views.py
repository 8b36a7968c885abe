"""Views of a picture: what is done to it, what is kept, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest
from pydantic import ValidationError

from tests.conftest import encoded, picture
from tools.contract import Budget, Region
from tools.detectors.compression import compression
from tools.errors import ImageError
from tools.image import SourceImage
from tools.views import DEGRADATIONS, LEAST_SIDE, View, conditions, show, zoom_box


def opened(width: int = 512, height: int = 400, **options: object) -> SourceImage:
    return SourceImage.open(encoded(picture(width, height), **options))


def test_a_view_keeps_the_seed_and_changes_the_pixels_as_said() -> None:
    image = opened(fmt="PNG")
    sizes = {}
    for kind in DEGRADATIONS:
        view = show(image, View(kind=kind))
        assert view.seed == image.seed
        assert not view.rgb.flags.writeable
        assert view.rgb.shape == (view.height, view.width, 3)
        sizes[kind] = (view.width, view.height)
        assert (show(image, View(kind=kind)).rgb == view.rgb).all(), "the same each time"
    assert sizes == {"jpeg70": (512, 400), "half": (297, 232), "crop": (474, 362)}
    big = show(opened(1000, 800, fmt="PNG"), View(kind="half"))
    assert (big.width, big.height) == (500, 400)
    saved = np.abs(show(image, View(kind="jpeg70")).rgb.astype(int) - image.rgb.astype(int))
    assert 0 < saved.mean() < 8
    left, top = 19, 19
    np.testing.assert_array_equal(show(image, View(kind="crop")).rgb, image.rgb[top:-top, left:-left])


def test_what_a_view_is_said_to_have_is_what_the_compression_tool_would_measure() -> None:
    image = opened(fmt="JPEG", quality=92)
    known = compression.examine(image, Budget()).measurements
    for kind in ("jpeg70", "half"):
        view = show(image, View(kind=kind))
        again = SourceImage.open(encoded(picture_of(view), "PNG"))
        measured = compression.examine(again, Budget()).measurements
        told = conditions(kind, known, (image.width, image.height))
        assert told["short_side_px"] == measured["short_side_px"]
        assert told["jpeg_quality_effective"] == pytest.approx(measured["jpeg_quality_effective"], abs=4), kind


def picture_of(view: SourceImage):  # type: ignore[no-untyped-def]
    from PIL import Image

    return Image.fromarray(np.asarray(view.rgb))


def test_a_picture_that_is_too_small_is_refused_with_the_reason() -> None:
    small = opened(240, 240, fmt="PNG")
    assert min(small.width, small.height) - 2 * 11 < LEAST_SIDE
    for kind in ("half", "crop"):
        with pytest.raises(ImageError) as caught:
            show(small, View(kind=kind))
        assert caught.value.code == "too_small"
    assert show(small, View(kind="jpeg70")).width == 240


def test_a_zoom_shows_the_region_at_native_size_on_the_grid() -> None:
    image = opened(1200, 900, fmt="PNG")
    corner = Region(x0=0.9, y0=0.9, x1=1.0, y1=1.0)
    left, top, right, bottom = zoom_box(corner, (1200, 900))
    assert (left % 8, top % 8) == (0, 0)
    assert right <= 1200
    assert bottom <= 900
    assert left <= 0.9 * 1200 < right
    view = show(image, View(kind="zoom", region=corner))
    np.testing.assert_array_equal(view.rgb, image.rgb[top:bottom, left:right])
    assert min(view.width, view.height) == 448
    wide = show(image, View(kind="zoom", region=Region(x0=0, y0=0.2, x1=1, y1=0.9)))
    assert (wide.width, wide.height) == (1200, 630)
    with pytest.raises(ValidationError):
        View(kind="zoom")
    with pytest.raises(ValidationError):
        View(kind="half", region=corner)
