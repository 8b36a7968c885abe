"""What compression a picture has been through: context for the other tools, never a judgement.

Measurements, for fusion and for other tools:

| key | meaning |
|---|---|
| `jpeg_quality_effective` | lowest libjpeg quality (1..100) that the pixels show signs of; 100 without a sign |
| `short_side_px` | shorter side of the picture |
| `jpeg_quality` | quality of the last JPEG: the file's, or what another format's pixels show; 100 without a sign |
| `jpeg_signs` | whether the file is a JPEG or its pixels were one |
| `lossless` | no sign of JPEG, in a format that loses nothing (PNG, BMP, TIFF, lossless WebP) |
| `other_lossy_codec` | the format loses something of its own (WebP, AVIF, HEIC, GIF), which is not measured |
| `tables_distance_pct` | JPEG files: how far the tables lie from libjpeg's at `jpeg_quality`, 0 where equal |
| `chroma`, `progressive` | JPEG files: chroma subsampling, and whether progressive |
| `grid_x_px`, `grid_y_px` | offset of the block grid that another format's pixels show |
| `double_jpeg` | an earlier compression: `no`, `same_grid`, `shifted_grid`; absent where not looked for |
| `primary_quality`, `primary_nats` | quality of that earlier compression, and its log-likelihood ratio a coefficient |
| `shifted_x_px`, `shifted_y_px` | offset of its grid where it was shifted |

The thresholds below are set so that photographs compressed once stay under them; `tests/tools/test_compression.py`
measures both sides on photographs.
"""

from __future__ import annotations

import io
import math
import time

import numpy as np
import numpy.typing as npt
from PIL import Image

from tools.contract import Budget, Evidence, Finding, MapRef, Number, Tool, detector
from tools.image import SourceImage
from tools.jpeg import (
    GRID_NATS,
    Earlier,
    Grid,
    JpegFile,
    Table,
    find_earlier,
    find_grid,
    fit_quality,
    fit_tables,
    luma_crops,
    noise_after,
    standard_table,
)
from tools.signal import Plane, as_in_file, as_upright, luma_of

_CROPS = {"quick": 3, "standard": 6, "thorough": 16}
_SAME_GRID_NATS = 0.03
_SHIFTED_GRID_NATS = 0.06
_LEVEL_QUALITY = 90
_MAP_SIDE = 512
_JPEG_SIDE = 65_500
_LOSSY = ("WebP", "AVIF", "HEIC", "GIF")

_JUDGES_NOT = "This tool describes the file and does not judge."
_LIMIT_EARLIER = (
    "An earlier compression leaves a trace mostly where its quality was lower than the last one's; finding none does "
    "not mean that the file was saved only once."
)
_LIMIT_ORDINARY = "Messengers, websites and photo programs re-save pictures; a second compression is ordinary."


@detector(name="compression", version="1.0", target="context", cost=9.0)
def compression(tool: Tool, image: SourceImage, budget: Budget) -> Evidence:
    """Reads how the picture was compressed: JPEG quality, earlier compressions, the block grid, an error level map."""
    began = time.perf_counter()
    story = _Story(image)
    jpeg = JpegFile.read(image)
    crops = luma_crops(image, count=_CROPS[budget.level], jpeg=jpeg)
    if jpeg is not None:
        story.tell_file(jpeg)
        if not jpeg.is_ycc or not jpeg.tables:
            story.limits.append("Earlier compressions are looked for only in JPEG files that store luma and chroma.")
        elif jpeg.has_profile and image.width * image.height > 16_000_000:
            story.limits.append("Earlier compressions were not looked for: the colour profile changed the pixels.")
        elif story.has_enough(crops):
            story.tell_earlier(find_earlier(crops, jpeg.tables[0]), _shifted(crops, jpeg.tables[0]))
    elif story.has_enough(crops):
        grid = find_grid(crops)
        if grid is not None and grid.stands_out(GRID_NATS):
            quality, _ = fit_quality(crops, grid.x, grid.y)
            story.tell_grid(grid, quality)
            table = standard_table(quality)
            crops = [crop[grid.y :, grid.x :] for crop in crops]
            story.tell_earlier(find_earlier(crops, table), _shifted(crops, table))
        else:
            story.tell_nothing(too_flat=grid is None)
    maps = _error_levels(image, budget, story.limits)
    return tool.abstain(
        _JUDGES_NOT,
        findings=tuple(story.findings),
        measurements=story.measurements,
        limits=tuple(story.limits),
        maps=maps,
        ms=(time.perf_counter() - began) * 1000,
    )


def _shifted(crops: list[Plane], table: Table) -> Grid | None:
    """An earlier grid at another offset than the last one's, where it stands out."""
    grid = find_grid(crops, noise=noise_after(table), skip_origin=True)
    return grid if grid is not None and grid.stands_out(_SHIFTED_GRID_NATS) else None


class _Story:
    """Collects findings, measurements and limits while the file is read."""

    def __init__(self, image: SourceImage) -> None:
        self.image = image
        self.findings: list[Finding] = []
        self.limits: list[str] = []
        other = image.format in _LOSSY and not _is_lossless_webp(image.data)
        self.measurements: dict[str, Number] = {
            "short_side_px": min(image.width, image.height),
            "jpeg_quality": 100,
            "jpeg_quality_effective": 100,
            "jpeg_signs": False,
            "lossless": False,
            "other_lossy_codec": other,
        }
        if other:
            self.limits.append(f"The losses of {image.format} itself are not measured, only those of an earlier JPEG.")

    def has_enough(self, crops: list[Plane]) -> bool:
        if not crops:
            self.limits.append("The picture is too small to look for traces of JPEG in its pixels.")
        return bool(crops)

    def say(self, text: str, **numbers: Number) -> None:
        self.findings.append(Finding(text=text, numbers=numbers))

    def went_through(self, quality: int) -> None:
        before = int(self.measurements["jpeg_quality_effective"])
        self.measurements |= {"jpeg_quality_effective": min(before, quality), "jpeg_signs": True}

    def tell_file(self, jpeg: JpegFile) -> None:
        order = "progressive" if jpeg.progressive else "baseline"
        chroma = {"none": "no colour", "other": "an unusual chroma layout"}.get(jpeg.chroma, f"chroma {jpeg.chroma}")
        self.measurements |= {"chroma": jpeg.chroma, "progressive": jpeg.progressive}
        if not jpeg.tables:
            self.limits.append("The JPEG file states no quantisation tables that could be read.")
            return
        fit = fit_tables(list(jpeg.tables))
        off = round(fit.distance, 1)
        self.measurements |= {"jpeg_quality": fit.quality, "tables_distance_pct": off}
        self.went_through(fit.quality)
        ending = f"({order}, {chroma})."
        if fit.distance == 0:
            text = f"The file is a JPEG saved at quality {fit.quality} with the standard tables {ending}"
            self.say(text, quality=fit.quality, chroma=jpeg.chroma)
        else:
            self.say(
                f"The file is a JPEG with non-standard tables; the nearest standard quality is {fit.quality}, from "
                f"which the steps differ by {off} % on average {ending}",
                quality=fit.quality, difference_pct=off, chroma=jpeg.chroma,
            )  # fmt: skip

    def tell_grid(self, grid: Grid, quality: int) -> None:
        self.measurements |= {"jpeg_quality": quality, "grid_x_px": grid.x, "grid_y_px": grid.y}
        self.went_through(quality)
        aligned = grid.x == 0 and grid.y == 0
        where = (
            "the grid of blocks starts at the corner of the picture"
            if aligned
            else f"the grid of blocks starts {grid.x} px from the left and {grid.y} px from the top, "
            "so the picture was cropped or moved since"
        )
        self.say(
            f"The {self.image.format} file holds pixels that were a JPEG before, of a quality near {quality}; {where}.",
            quality=quality, **({} if aligned else {"offset_x_px": grid.x, "offset_y_px": grid.y}),
        )  # fmt: skip

    def tell_nothing(self, *, too_flat: bool) -> None:
        self.measurements["lossless"] = self.image.format in ("PNG", "BMP", "TIFF") or _is_lossless_webp(
            self.image.data
        )
        if too_flat:
            self.limits.append("The picture is too flat or too small to tell whether its pixels were a JPEG before.")
            return
        self.say(f"The pixels of the {self.image.format} file show no trace of an earlier JPEG compression.")
        self.limits.append(
            "A JPEG of very high quality, or one that was resized since, leaves no trace that this tool sees."
        )

    def tell_earlier(self, same: Earlier | None, shifted: Grid | None) -> None:
        if same is None:
            self.limits.append("Too little detail to look for an earlier JPEG compression.")
            return
        self.limits.append(_LIMIT_EARLIER)
        last = int(self.measurements["jpeg_quality"])
        found = "no"
        if same.nats >= _SAME_GRID_NATS:
            found, quality, nats = "same_grid", same.quality, same.nats
            self.say(
                f"The picture was a JPEG of a quality near {quality} before it was saved at {last}: "
                "its values leave the gaps of two compressions on one grid.",
                primary_quality=quality, quality=last,
            )  # fmt: skip
        elif shifted is not None:
            found, quality, nats = "shifted_grid", shifted.quality, shifted.nats
            self.measurements |= {"shifted_x_px": shifted.x, "shifted_y_px": shifted.y}
            self.say(
                f"The picture was a JPEG of a quality near {quality} before it was saved at {last}, on a grid that lay "
                f"{shifted.x} px further right and {shifted.y} px further down: it was cropped or moved in between.",
                primary_quality=quality, quality=last, offset_x_px=shifted.x, offset_y_px=shifted.y,
            )  # fmt: skip
        self.measurements["double_jpeg"] = found
        if found == "no":
            self.say("No earlier JPEG compression was found under the last one.")
            return
        self.measurements |= {"primary_quality": quality, "primary_nats": round(nats, 4)}
        self.went_through(quality)
        self.limits.append(_LIMIT_ORDINARY)


def _is_lossless_webp(data: bytes) -> bool:
    """Whether a WebP file holds its (first) picture in the lossless coding: the chunk `VP8L`."""
    return data[:4] == b"RIFF" and data[8:12] == b"WEBP" and b"VP8L" in data[12:4096] and b"VP8 " not in data[12:4096]


def _error_levels(image: SourceImage, budget: Budget, limits: list[str]) -> tuple[MapRef, ...]:
    """The error level map: what a re-save at quality 90 changes, a value for each 8x8 block, in the upright picture.

    Bands of 16 rows are re-saved and measured; beyond the budget only every k-th band, which the caption says.
    """
    pixels = as_in_file(image.rgb, image.orientation)
    height, width = pixels.shape[0] // 8 * 8, pixels.shape[1] // 8 * 8
    if budget.level == "quick":
        return ()
    if width > _JPEG_SIDE:
        limits.append(f"No error level map: JPEG holds no picture wider than {_JPEG_SIDE} px.")
        return ()
    every = math.ceil(height * width / (budget.max_tiles * 65_536))
    bands = range(0, max(height - 15, 1), 16 * every)
    batch = max(2**20 // (16 * width), 1)
    rows = [
        _levels_of([pixels[top : top + 16, :width] for top in bands[start : start + batch]])
        for start in range(0, len(bands), batch)
    ]
    levels = np.concatenate(rows)
    levels = _pooled(levels, math.ceil(levels.shape[0] / _MAP_SIDE), math.ceil(levels.shape[1] / _MAP_SIDE))
    scale = max(float(np.percentile(levels, 99.5)), 1.0)
    caption = (
        f"Error levels, an illustration and no evidence: how much re-saving at JPEG quality {_LEVEL_QUALITY} changes "
        "each block. Edges and texture are bright in every picture."
    )
    if every > 1:
        caption += f" Drawn from one band of 16 rows in {every}."
    upright = np.ascontiguousarray(as_upright(levels, image.orientation))
    return (image.maps.add("error_levels", upright / scale, caption),)


def _levels_of(bands: list[npt.NDArray[np.uint8]]) -> Plane:
    """Mean absolute luma change of each 8x8 block of stacked bands that a re-save makes."""
    stack = np.concatenate(bands)
    buffer = io.BytesIO()
    Image.fromarray(stack).save(buffer, "JPEG", quality=_LEVEL_QUALITY, subsampling=0)
    with Image.open(buffer) as again:
        change = np.abs(luma_of(stack) - luma_of(np.asarray(again)))
    rows, columns = stack.shape[0] // 8, stack.shape[1] // 8
    levels: Plane = change[: rows * 8].reshape(rows, 8, columns, 8).mean(axis=(1, 3))
    return levels


def _pooled(values: Plane, down: int, across: int) -> Plane:
    """Mean over cells of `down` x `across`; what is left over at the far edges joins the last cell."""
    rows = np.add.reduceat(values, np.arange(0, values.shape[0], down), axis=0)
    cells = np.add.reduceat(rows, np.arange(0, values.shape[1], across), axis=1)
    counts = np.outer(
        np.diff([*range(0, values.shape[0], down), values.shape[0]]),
        np.diff([*range(0, values.shape[1], across), values.shape[1]]),
    )
    pooled: Plane = (cells / counts).astype(np.float32)
    return pooled
