"""The views of a picture that the vision-language model is shown, the same at training and at serving.

The whole picture is squeezed to a square, so that a place in the view is the same place in the picture; a picture
longer than LONGEST times its width is cut into squares first. Native crops are shown as they are: their pixels were
never resized.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tools.contract import Region

SIDE = 224
"""Side of a view in pixels: what the image tower takes."""
LONGEST = 2.0
"""Long side over short side above which a picture is cut into several whole views."""
MOST_TILES = 4
"""Whole views of one long picture; of a longer one these are spread evenly."""
_GRID = ((0.25, 0.25), (0.75, 0.25), (0.5, 0.5), (0.25, 0.75), (0.75, 0.75))
Pixels = npt.NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class View:
    """One view.

    Attributes:
        pixels: SIDE x SIDE x 3, sRGB.
        region: What part of the picture it shows; None for the whole.
        native: Whether its pixels are the picture's own, not resized.
    """

    pixels: Pixels
    region: Region | None
    native: bool


def views(rgb: Pixels, crops: int = len(_GRID)) -> list[View]:
    """The whole picture (in squares where it is long), then at most `crops` native crops of a fixed grid.

    Args:
        rgb: The upright picture, height x width x 3.
        crops: 0 to 5. A picture under two views on its shorter side has none.
    """
    height, width = rgb.shape[:2]
    found = []
    for left, top, right, bottom in _squares(width, height):
        whole = (left, top, right, bottom) == (0, 0, width, height)
        region = None if whole else Region.from_pixels(left, top, right, bottom, size=(width, height))
        found.append(View(squeeze(rgb[top:bottom, left:right]), region, native=False))
    if min(width, height) >= 2 * SIDE:
        for fx, fy in _GRID[:crops]:
            left, top = int(fx * width - SIDE / 2), int(fy * height - SIDE / 2)
            region = Region.from_pixels(left, top, left + SIDE, top + SIDE, size=(width, height))
            found.append(View(rgb[top : top + SIDE, left : left + SIDE], region, native=True))
    return found


def squeeze(rgb: Pixels) -> Pixels:
    """`rgb` resized to SIDE x SIDE, each side by its own factor."""
    from PIL import Image

    return np.asarray(Image.fromarray(rgb).resize((SIDE, SIDE), Image.Resampling.BICUBIC), dtype=np.uint8)


def _squares(width: int, height: int) -> list[tuple[int, int, int, int]]:
    long, short = max(width, height), min(width, height)
    if long <= LONGEST * short:
        return [(0, 0, width, height)]
    count = min(-(-long // short), MOST_TILES)
    side = min(short, long)
    starts = [round(index * (long - side) / (count - 1)) for index in range(count)]
    if width >= height:
        return [(start, 0, start + side, height) for start in starts]
    return [(0, start, width, start + side) for start in starts]
