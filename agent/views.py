"""What a vision model is shown of a picture: the whole of it and a fixed grid of native crops, each 224 x 224 pixels.

A view leaves here at exactly the size that the model's tower reads, so that no library resizes it once more in its own
way: training, the server and the model in process see the same pixels. Bytes are decoded by `tools.image`, within the
limits of the service, and only after a worker decoded the same bytes without harm (`Workers.inspect`).
"""

from __future__ import annotations

import base64
import io
import math
from dataclasses import dataclass, field

from PIL import Image

from tools.contract import Region
from tools.image import DEFAULT_LIMITS, Limits, SourceImage

SIDE = 224
"""Side of a view in pixels."""
LONGEST = 2.0
"""Ratio of the sides up to which the whole picture is one view; a longer one is shown in tiles along its long side."""
MOST_TILES = 6
_CENTRES = ((0.25, 0.25), (0.75, 0.25), (0.5, 0.5), (0.25, 0.75), (0.75, 0.75))
_CELLS = {
    "top left": (0, 0), "top": (1, 0), "top right": (2, 0), "left": (0, 1), "centre": (1, 1), "right": (2, 1),
    "bottom left": (0, 2), "bottom": (1, 2), "bottom right": (2, 2),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class View:
    """One view of a picture.

    Attributes:
        name: What it shows, as the prompt says it.
        picture: SIDE x SIDE pixels, RGB.
        region: Where it lies in the picture; None for the whole.
        native: Whether its pixels are the picture's own, not resized.
    """

    name: str
    picture: Image.Image = field(repr=False)
    region: Region | None = None
    native: bool = False

    @property
    def data_url(self) -> str:
        """The view as a PNG in a data URL."""
        buffer = io.BytesIO()
        self.picture.save(buffer, "PNG")
        return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()

    def where(self, place: str) -> Region | None:
        """A place in this view (a cell of a 3 x 3 grid, by its name) as a region of the picture; None for all of it.

        A native crop is so small a part that its own place is all that is told.
        """
        if self.native or place not in _CELLS:
            return self.region
        column, row = _CELLS[place]
        box = self.region or Region(x0=0, y0=0, x1=1, y1=1)
        width, height = (box.x1 - box.x0) / 3, (box.y1 - box.y0) / 3
        left, top = box.x0 + column * width, box.y0 + row * height
        return Region.from_pixels(left, top, left + width, top + height, size=(1, 1))


def views(original: bytes, limits: Limits = DEFAULT_LIMITS) -> list[View]:
    """The views of a look: the whole picture (tiles of it where it is long), then the native crops.

    Raises:
        ImageError: where the bytes cannot be decoded within `limits`.
    """
    picture = _decoded(original, limits)
    return [*whole(picture), *crops(picture)]


def view_of(original: bytes, region: Region, limits: Limits = DEFAULT_LIMITS) -> View:
    """One part of a picture, for a probe: its smallest square of at least SIDE pixels, resized where it is larger.

    Raises:
        ImageError: where the bytes cannot be decoded within `limits`.
    """
    picture = _decoded(original, limits)
    width, height = picture.size
    wanted = max((region.x1 - region.x0) * width, (region.y1 - region.y0) * height, SIDE)
    side = int(min(math.ceil(wanted), width, height))
    left = _inside((region.x0 + region.x1) / 2 * width, side, width)
    top = _inside((region.y0 + region.y1) / 2 * height, side, height)
    box = (left, top, left + side, top + side)
    shown = Region.from_pixels(*box, size=picture.size)
    return View(f"a part of the picture at the {shown.place}", _fitted(picture.crop(box)), shown, side == SIDE)


def whole(picture: Image.Image) -> list[View]:
    """The whole of an RGB picture: one view, or tiles along the long side."""
    width, height = picture.size
    ratio = max(width, height) / min(width, height)
    if ratio <= LONGEST:
        return [View("the whole picture", _fitted(picture))]
    number = min(math.ceil(ratio), MOST_TILES)
    long = max(width, height)
    side = max(min(width, height), math.ceil(long / number))
    found = []
    for index in range(number):
        start = round(index * (long - side) / (number - 1))
        box = (start, 0, start + side, height) if width > height else (0, start, width, start + side)
        region = Region.from_pixels(*box, size=picture.size)
        found.append(View(f"part {index + 1} of {number} of a long picture", _fitted(picture.crop(box)), region))
    return found


def crops(picture: Image.Image) -> list[View]:
    """Five native crops of an RGB picture, at its quarters and its centre; none where it is smaller than two views."""
    width, height = picture.size
    if min(width, height) < 2 * SIDE:
        return []
    found = []
    for x, y in _CENTRES:
        left, top = _inside(x * width, SIDE, width), _inside(y * height, SIDE, height)
        box = (left, top, left + SIDE, top + SIDE)
        region = Region.from_pixels(*box, size=picture.size)
        found.append(View(f"a detail at the {region.place}", picture.crop(box), region, native=True))
    return found


def _decoded(original: bytes, limits: Limits) -> Image.Image:
    return Image.fromarray(SourceImage.open(original, limits=limits).rgb)


def _inside(centre: float, side: int, whole: int) -> int:
    return int(min(max(centre - side / 2, 0), whole - side))


def _fitted(picture: Image.Image) -> Image.Image:
    if picture.size == (SIDE, SIDE):
        return picture.copy()
    return picture.resize((SIDE, SIDE), Image.Resampling.BICUBIC)
