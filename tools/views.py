"""Other views of a picture: saved again at low quality, made smaller, cut at its edges, or one part by itself.

They are for second looks: a tool that says something else of such a view was leaning on what re-saving destroys, or on
another part of the picture. A view keeps the hash, and so the seed, of its picture; its bytes are not a file's, so that
only tools that look at pixels may be shown one.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Literal, Self, get_args

import numpy as np
import numpy.typing as npt
from PIL import Image
from pydantic import model_validator

from tools.contract import Frozen, Number, Region
from tools.image import SourceImage, refusal

Degradation = Literal["jpeg70", "half", "crop"]
DEGRADATIONS: tuple[Degradation, ...] = get_args(Degradation)
LEAST_SIDE = 232
"""Pixels that the shorter side of a view keeps: below it the tools that carry weight cannot be calibrated."""
QUALITY = 70
_MOST_SHRUNK, _LEAST_SHRUNK = 0.5, 0.9
_CUT = 0.04
_OFF_GRID = 3
"""A crop begins this many pixels off the 8x8 grid, so that no tool can lean on where the blocks lie."""
_ZOOM = 448
_GRID = 8


class View(Frozen):
    """What is to be shown of a picture.

    Attributes:
        kind: `jpeg70` saved again at JPEG quality 70; `half` half as wide and high; `crop` a few percent cut off each
            side; `zoom` a part at native size.
        region: The part, for `zoom`.
    """

    kind: Literal["jpeg70", "half", "crop", "zoom"]
    region: Region | None = None

    @model_validator(mode="after")
    def _zoom_has_a_region(self) -> Self:
        if (self.kind == "zoom") != (self.region is not None):
            raise ValueError("a zoom needs a region, and nothing else has one")
        return self


def scale_of(width: int, height: int) -> float:
    """The factor by which `half` shrinks: one half, or what leaves `LEAST_SIDE` pixels."""
    return max(_MOST_SHRUNK, LEAST_SIDE / min(width, height))


def show(image: SourceImage, view: View) -> SourceImage:
    """The view of `image`.

    Raises:
        ImageError: where the picture is too small for it (code `too_small`).
    """
    picture = Image.fromarray(np.asarray(image.rgb))
    if view.kind == "jpeg70":
        return _of(image, _saved(picture))
    if view.kind == "half":
        factor = scale_of(image.width, image.height)
        if factor > _LEAST_SHRUNK:
            raise refusal(
                "too_small", f"At {image.width}x{image.height} px the picture is too small to be made smaller."
            )
        size = (round(image.width * factor), round(image.height * factor))
        return _of(image, picture.resize(size, Image.Resampling.LANCZOS))
    if view.region is not None:
        return _of(image, picture.crop(zoom_box(view.region, (image.width, image.height))))
    left, top = (int(whole * _CUT) // _GRID * _GRID + _OFF_GRID for whole in (image.width, image.height))
    box = (left, top, image.width - left, image.height - top)
    if min(box[2] - box[0], box[3] - box[1]) < LEAST_SIDE:
        raise refusal("too_small", f"The picture ({image.width}x{image.height} px) is too small to be cut.")
    return _of(image, picture.crop(box))


def zoom_box(region: Region, size: tuple[int, int]) -> tuple[int, int, int, int]:
    """Left, top, right, bottom of what a zoom shows: the region, widened to what the tools need, on the grid."""
    box = []
    for low, high, whole in ((region.x0, region.x1, size[0]), (region.y0, region.y1, size[1])):
        span = min(max(round((high - low) * whole), _ZOOM), whole)
        begin = min(max(round((low + high) / 2 * whole - span / 2), 0), whole - span) // _GRID * _GRID
        box.append((begin, begin + span))
    return box[0][0], box[1][0], box[0][1], box[1][1]


def conditions(kind: Degradation, measured: Mapping[str, Number], size: tuple[int, int]) -> dict[str, Number]:
    """What the compression tool would measure of such a view, given what it measured of the picture of `size`.

    Saving again at 70 leaves a quality of at most 70; making smaller takes the JPEG grid away (quality 100).
    """
    quality = measured.get("jpeg_quality_effective", 100)
    known = float(quality) if isinstance(quality, int | float) else 100.0
    short = float(min(size))
    if kind == "jpeg70":
        known = min(known, float(QUALITY))
    elif kind == "half":
        known, short = 100.0, round(short * scale_of(*size))
    else:
        short -= 2 * (int(short * _CUT) // _GRID * _GRID + _OFF_GRID)
    return {**measured, "jpeg_quality_effective": known, "short_side_px": short}


def _saved(picture: Image.Image) -> Image.Image:
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=QUALITY, subsampling=2)
    return Image.open(io.BytesIO(buffer.getvalue()), formats=["JPEG"])


def _of(image: SourceImage, picture: Image.Image) -> SourceImage:
    rgb: npt.NDArray[np.uint8] = np.ascontiguousarray(picture.convert("RGB"))
    rgb.setflags(write=False)
    return SourceImage(
        data=b"", name=image.name, sha256=image.sha256, format="view", width=picture.width, height=picture.height,
        mode="RGB", frame=image.frame, frames=image.frames, orientation=1, notes=(), rgb=rgb,
    )  # fmt: skip
