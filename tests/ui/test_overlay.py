from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from tests.conftest import encoded
from tests.ui.fakes import MAP, report
from tools.errors import ExpositError
from tools.image import Limits, SourceImage
from ui import overlay


def grey(width: int, height: int) -> Image.Image:
    return Image.new("RGB", (width, height), (128, 128, 128))


def test_each_box_is_drawn_where_it_belongs_in_its_own_colour() -> None:
    artifacts = report(SourceImage.open(encoded(grey(400, 300)))).artifacts
    picture = grey(400, 300)
    marked = np.asarray(overlay.draw(picture, artifacts)).astype(int)
    assert np.all(np.asarray(picture) == 128)
    for artifact in artifacts:
        wanted = np.array([int(overlay.colour(artifact.severity)[i : i + 2], 16) for i in (1, 3, 5)])
        rows, columns = np.nonzero(np.abs(marked - wanted).sum(axis=2) < 6)
        region = artifact.region
        assert abs(columns.min() / 400 - region.x0) < 0.03
        assert abs(columns.max() / 400 - region.x1) < 0.03
        assert abs(rows.min() / 300 - region.y0) < 0.03
        assert abs(rows.max() / 300 - region.y1) < 0.03
    assert np.all(marked[5:40, 5:40] == 128)


def test_a_picture_is_shown_upright_and_small() -> None:
    turned = Image.new("RGB", (3000, 1000))
    exif = Image.Exif()
    exif[0x0112] = 6
    shown = overlay.upright(encoded(turned, exif=exif), "a.jpg", Limits())
    assert shown.size == (467, 1400)


def test_what_may_not_be_decoded_is_not() -> None:
    with pytest.raises(ExpositError):
        overlay.upright(encoded(grey(300, 300)), "a.jpg", Limits(max_pixels=1000))


def test_the_alternative_text_names_each_mark() -> None:
    made = report(SourceImage.open(encoded(grey(400, 300)), "a.jpg"))
    said = overlay.alt_text(made)
    assert "2 marked regions" in said
    assert "1: moderate, centre, Residual noise" in said
    assert "2: weak, bottom right, The spectrum" in said
    assert "No tool marked" in overlay.alt_text(made.model_copy(update={"artifacts": ()}))


def test_maps_are_enlarged_without_smoothing() -> None:
    drawn = overlay.enlarged(MAP)
    assert drawn.size == (640, 480)
    with Image.open(io.BytesIO(MAP)) as small:
        assert {colour for _, colour in drawn.getcolors(10**6)} == {
            colour for _, colour in small.convert("RGB").getcolors(10**6)
        }
