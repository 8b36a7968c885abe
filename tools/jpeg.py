"""What JPEG leaves in pixels: tables and their quality, the 8x8 grid, and the steps of an earlier compression.

Everything works on luma in the orientation of the file. A coefficient that was quantised lies near a multiple of its
step; how much more likely that is than a smooth spread is the one statistic used throughout (in nats a coefficient):
Fan and de Queiroz 2003 for pixels that were JPEG once, Lukáš and Fridrich 2003 (calibration by a shifted crop)
for JPEG that was compressed twice.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, cast

import numpy as np
import numpy.typing as npt
from PIL import Image, JpegImagePlugin

from tools.signal import Plane, as_in_file, luma_of, tile_grid

if TYPE_CHECKING:
    from tools.image import SourceImage

Table = npt.NDArray[np.int64]

# ITU-T T.81, tables K.1 and K.2.
_LUMA = np.array(
    [16, 11, 10, 16, 24, 40, 51, 61, 12, 12, 14, 19, 26, 58, 60, 55, 14, 13, 16, 24, 40, 57, 69, 56, 14, 17, 22, 29,
     51, 87, 80, 62, 18, 22, 37, 56, 68, 109, 103, 77, 24, 35, 55, 64, 81, 104, 113, 92, 49, 64, 78, 87, 103, 121, 120,
     101, 72, 92, 95, 98, 112, 100, 103, 99]
).reshape(8, 8)  # fmt: skip
_CHROMA = np.full((8, 8), 99)
_CHROMA[:4, :4] = [[17, 18, 24, 47], [18, 21, 26, 66], [24, 26, 56, 99], [47, 66, 99, 99]]

FREQUENCIES = (
    (0, 1), (1, 0), (1, 1), (0, 2), (2, 0), (1, 2), (2, 1), (2, 2), (0, 3), (3, 0), (1, 3), (3, 1), (0, 4), (4, 0),
    (3, 3), (2, 4),
)  # fmt: skip
"""(row, column) of the low AC coefficients that are examined: those that natural pictures fill."""
_GRID_FREQUENCIES = ((0, 1), (1, 0), (1, 1), (0, 2), (0, 4), (4, 0), (3, 3))
_BIN = 0.25
_REACH = 160
_EDGES = int(_REACH / _BIN) + 1
_CENTRES = (np.arange(_EDGES) * _BIN).astype(np.float32)  # of coefficients' absolute values
_MAX_STEP = 80
GRID_NATS = 0.03
"""From here on a grid counts as found, in nats a coefficient; uncompressed photographs stay well under it."""
_LEAST_TELLING = 200
"""With fewer coefficients apart from zero than this, nothing is said."""
_ROUNDING = 0.4
"""Standard deviation that rounding pixels to whole numbers (in RGB, then luma) adds to a coefficient."""
_LOGISTIC = 1.702  # the logistic curve at this slope lies within 0.01 of the normal distribution
_EARLIER = range(20, 100)


def standard_table(quality: int, *, chroma: bool = False) -> Table:
    """The 8x8 table that libjpeg makes for `quality` (1 to 100)."""
    scale = 5000 // quality if quality < 50 else 200 - 2 * quality
    table: Table = np.clip(((_CHROMA if chroma else _LUMA) * scale + 50) // 100, 1, 255).astype(np.int64)
    return table


@dataclass(frozen=True, slots=True)
class TableFit:
    """The libjpeg quality whose tables lie nearest to a file's.

    Attributes:
        quality: 1 to 100.
        distance: Mean relative difference of the steps, in percent; 0 where the tables are libjpeg's own.
    """

    quality: int
    distance: float


def fit_tables(tables: list[Table]) -> TableFit:
    """Finds the quality for a file's tables (luma first, 8x8, natural order)."""

    def distance(quality: int) -> float:
        parts = []
        for index, table in enumerate(tables[:2]):
            model = standard_table(quality, chroma=index == 1)
            parts.append(np.abs(table - model) / model)
        return float(np.mean(parts) * 100)

    distances = [distance(quality) for quality in range(1, 101)]
    best = int(np.argmin(distances))
    return TableFit(best + 1, distances[best])


@lru_cache(maxsize=1)
def _basis() -> Plane:
    """Orthonormal 8-point DCT-II, a row a frequency."""
    k, n = np.mgrid[0:8, 0:8]
    basis = np.sqrt(0.25) * np.cos((2 * n + 1) * k * np.pi / 16)
    basis[0] /= np.sqrt(2)
    scaled: Plane = basis.astype(np.float32)
    return scaled


def blocks_of(luma: Plane) -> Plane:
    """DCT coefficients of each whole 8x8 block: (rows, columns, 8, 8), as JPEG scales them."""
    rows, columns = luma.shape[0] // 8, luma.shape[1] // 8
    blocks = luma[: rows * 8, : columns * 8].reshape(rows, 8, columns, 8).transpose(0, 2, 1, 3) - np.float32(128)
    basis = _basis()
    coefficients: Plane = basis @ blocks @ basis.T
    return coefficients


def _histogram(values: Plane) -> Plane:
    index = np.rint(np.minimum(np.abs(values.ravel()), _REACH) / _BIN).astype(np.int32)
    return np.bincount(index, minlength=_EDGES).astype(np.float32)


def _untold(noise: float) -> npt.NDArray[np.bool_]:
    untold: npt.NDArray[np.bool_] = max(1.5, 3 * noise) > _CENTRES
    return untold


@lru_cache(maxsize=1)
def _steps_by_quality() -> npt.NDArray[np.int64]:
    """(100, 8, 8): the luma steps of each quality, cut at _MAX_STEP."""
    return np.stack([standard_table(quality) for quality in range(1, 101)]).clip(max=_MAX_STEP)


@lru_cache(maxsize=4)
def _step_scores(noise: float) -> Plane:
    """Log-likelihood ratio of each histogram bin for each step 1.._MAX_STEP; shape (_MAX_STEP + 1, bins), row 0 unused.

    Quantised with rounding noise of standard deviation `noise`, against spread evenly between multiples. Bins next to
    zero say nothing: a smooth picture has them too.
    """
    scores = np.zeros((_MAX_STEP + 1, _EDGES), np.float32)
    for step in range(1, _MAX_STEP + 1):
        away = _CENTRES - step * np.rint(_CENTRES / step)
        offsets = np.arange(-3, 4) * step
        bell = np.exp(-((away[:, None] + offsets) ** 2) / (2 * noise**2)).sum(axis=1) / (noise * np.sqrt(2 * np.pi))
        # One coefficient in ten is let fall anywhere: clipping at black and white breaks the lattice.
        scores[step] = np.log(0.9 * step * bell + 0.1)
    scores[:, _untold(noise)] = 0.0
    scores[:, -1] = 0.0  # what lies beyond reach
    return scores


def _nats(
    histograms: Plane, noise: float, frequencies: tuple[tuple[int, int], ...]
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int64]]:
    """Nats a telling coefficient for each quality, and the number of those coefficients.

    Args:
        histograms: (..., frequency, bin).
        noise: As in `_step_scores`.
        frequencies: Which coefficients the histograms are of.

    Returns:
        (..., 100), where index 0 is quality 1, and (...).
    """
    by_step = histograms @ _step_scores(noise).T
    telling = histograms[..., ~_untold(noise)][..., :-1].sum(axis=(-1, -2))
    v, u = np.array(frequencies).T
    nats = by_step[..., np.arange(len(frequencies)), _steps_by_quality()[:, v, u]].sum(axis=-1)
    return nats.astype(np.float64) / np.maximum(telling, 1)[..., None], telling.astype(np.int64)


@dataclass(frozen=True, slots=True)
class Grid:
    """The 8x8 grid of an earlier JPEG that pixels show.

    Attributes:
        x, y: Offset of the grid's first whole block from the plane's first pixel, 0 to 7.
        quality: libjpeg quality whose luma steps fit best.
        nats: How much likelier those steps are than no quantisation, in nats a coefficient.
        margin: The same, above the best other offset.
        coefficients: How many coefficients told.
    """

    x: int
    y: int
    quality: int
    nats: float
    margin: float
    coefficients: int

    def stands_out(self, nats: float) -> bool:
        """Whether it reaches `nats`, most of which every other offset lacks."""
        return self.nats >= nats and self.margin >= 0.7 * self.nats


def find_grid(crops: list[Plane], *, noise: float = _ROUNDING, skip_origin: bool = False) -> Grid | None:
    """Finds the likeliest grid in crops that start at multiples of 8 px of the same plane.

    Args:
        crops: Luma crops, each at least 24x24 px.
        noise: Standard deviation of rounding (or of a later compression) a coefficient.
        skip_origin: Leaves the offset (0, 0) out: the file's own grid.

    Returns:
        The best grid, however weak (the caller sets the threshold), or None where hardly any coefficient tells.
    """
    histograms = np.zeros((64, len(_GRID_FREQUENCIES), _EDGES), np.float32)
    basis = _basis()
    for crop in crops:
        high, wide = crop.shape[0] - 7, crop.shape[1] - 7
        phase = (np.arange(high)[:, None] % 8 * 8 + np.arange(wide) % 8).astype(np.int32) * _EDGES
        for index, (v, u) in enumerate(_GRID_FREQUENCIES):
            across = basis[u, 0] * crop[:, :wide]
            for n in range(1, 8):
                across += basis[u, n] * crop[:, n : n + wide]
            values = basis[v, 0] * across[:high]
            for n in range(1, 8):
                values += basis[v, n] * across[n : n + high]
            cells = np.rint(np.minimum(np.abs(values), _REACH) / _BIN).astype(np.int32) + phase
            histograms[:, index] += np.bincount(cells.ravel(), minlength=64 * _EDGES).reshape(64, _EDGES)
    nats, telling = _nats(histograms, noise, _GRID_FREQUENCIES)
    peak = nats.max(axis=1)
    if skip_origin:
        peak[0] = -np.inf
    best = int(peak.argmax())
    if telling[best] < _LEAST_TELLING:
        return None
    margin = float(peak[best] - np.delete(peak, best).max())
    return Grid(best % 8, best // 8, int(nats[best].argmax()) + 1, float(peak[best]), margin, int(telling[best]))


def former_grid(crops: list[Plane]) -> Grid | None:
    """The grid of a former JPEG in pixels of a file of another format, where there is one beyond doubt."""
    grid = find_grid(crops) if crops else None
    return grid if grid is not None and grid.stands_out(GRID_NATS) else None


def fit_quality(crops: list[Plane], x: int, y: int, *, noise: float = _ROUNDING) -> tuple[int, float]:
    """The quality whose steps fit best at a known grid offset, from all low coefficients, and its nats each."""
    histograms = np.zeros((len(FREQUENCIES), _EDGES), np.float32)
    for crop in crops:
        coefficients = blocks_of(crop[y:, x:])
        for index, (v, u) in enumerate(FREQUENCIES):
            histograms[index] += _histogram(coefficients[..., v, u])
    nats, _ = _nats(histograms, noise, FREQUENCIES)
    return int(nats.argmax()) + 1, float(nats.max())


def noise_after(table: Table) -> float:
    """Noise that a last compression with `table` adds to a coefficient of another grid, to one decimal.

    A block of another grid mixes the neighbouring frequencies, so the low steps count together.
    """
    return round(float(np.sqrt(_ROUNDING**2 + np.mean(table[:5, :5].astype(np.float64) ** 2) / 12)), 1)


@dataclass(frozen=True, slots=True)
class Earlier:
    """An earlier compression on the same grid.

    Attributes:
        quality: libjpeg quality whose luma steps explain the coefficients best.
        nats: How much likelier they are under it than under the file's own compression alone, a coefficient.
        margin: The same, above the best quality more than 5 away.
    """

    quality: int
    nats: float
    margin: float


def find_earlier(crops: list[Plane], table: Table, *, reach: int = 24) -> Earlier | None:
    """Looks for an earlier compression on the same grid as a JPEG's last one.

    The crop shifted by 4 px forgets the grid, so its coefficients stand for the picture before compression; passed
    through a candidate's steps and then through the file's own, they predict the histogram that is really seen.

    Args:
        crops: Luma crops of the decoded file that start at multiples of 8 px.
        table: The file's luma table.
        reach: Largest absolute quantised value that is compared.

    Returns:
        The best candidate, however weak (the caller sets the threshold), or None where hardly any coefficient tells.
    """
    seen = [blocks_of(crop) for crop in crops]
    before = [blocks_of(crop[4:, 4:]) for crop in crops]
    steps = _steps_by_quality()[_EARLIER[0] - 1 : _EARLIER[-1]]
    gains = np.zeros((len(_EARLIER), len(FREQUENCIES)))
    total = 0.0
    for index, (v, u) in enumerate(FREQUENCIES):
        last = int(table[v, u])
        levels = np.rint(np.concatenate([c[..., v, u].ravel() for c in seen]) / last).astype(np.int64)
        original = np.concatenate([c[..., v, u].ravel() for c in before])
        observed = np.bincount(levels[np.abs(levels) <= reach] + reach, minlength=2 * reach + 1).astype(np.float64)
        observed[reach] = 0.0  # only levels apart from zero tell; zeros swell with any compression
        if observed.sum() < 50:
            continue
        total += float(observed.sum())
        alone = np.log(_expected(original, 1, last, reach))
        distinct, where = np.unique(steps[:, v, u], return_inverse=True)
        gain = [float(observed @ (np.log(_expected(original, int(step), last, reach)) - alone)) for step in distinct]
        gains[:, index] = np.array(gain)[where]
    if total < _LEAST_TELLING:
        return None
    by_quality = gains.sum(axis=1) / total
    best = int(by_quality.argmax())
    far = by_quality[np.abs(np.arange(len(_EARLIER)) - best) > 5]
    return Earlier(_EARLIER[best], float(by_quality[best]), float(by_quality[best] - far.max()))


def _expected(original: Plane, step: int, last: int, reach: int) -> npt.NDArray[np.float64]:
    """Probability of each quantised value from -reach to reach, save 0, after `step` and then `last`."""
    first = np.rint(original / step).astype(np.int64)
    limit = (reach + 2) * last // step + 2
    counts = np.bincount(np.clip(first, -limit, limit) + limit, minlength=2 * limit + 1)[1:-1].astype(np.float64)
    centres = np.arange(1 - limit, limit) * step
    edges = (np.arange(-reach, reach + 2) - 0.5) * last
    # Between the two compressions pixels are rounded to whole numbers: a logistic curve stands in for that noise.
    below = 1 / (1 + np.exp(-np.clip(_LOGISTIC / _ROUNDING * (edges[:, None] - centres), -50, 50)))
    expected: npt.NDArray[np.float64] = np.diff(below @ counts)
    expected[reach] = 0.0
    expected *= 0.95 / max(float(expected.sum()), 1.0)
    expected += 0.05 / len(expected)
    expected /= expected.sum()
    return expected


_SAMPLING = {0: "4:4:4", 1: "4:2:2", 2: "4:2:0"}
_DECODED_PIXELS = 16_000_000
_CROP = 256
_FEWEST_PIXELS = 24


@contextmanager
def _reopened(data: bytes) -> Iterator[JpegImagePlugin.JpegImageFile]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of odd metadata; `tools.image` has decoded these bytes within its limits
        with Image.open(io.BytesIO(data), formats=("JPEG", "MPO")) as file:
            yield cast(JpegImagePlugin.JpegImageFile, file)


@dataclass(frozen=True, slots=True)
class JpegFile:
    """What a JPEG file says of its own compression.

    Attributes:
        tables: Luma first, 8x8 in natural order.
        chroma: `4:4:4`, `4:2:2`, `4:2:0`, `other`, or `none` for grey.
        progressive: Whether the file is progressive.
        is_ycc: Whether its first channel is luma, so that luma coefficients can be had from its pixels.
        has_profile: Whether a colour profile lies in the file, so that its pixels may have been converted.
    """

    tables: tuple[Table, ...]
    chroma: str
    progressive: bool
    is_ycc: bool
    has_profile: bool

    @classmethod
    def read(cls, image: SourceImage) -> JpegFile | None:
        """Reads the header; None where the file is no JPEG."""
        if image.format not in ("JPEG", "MPO"):
            return None
        with _reopened(image.data) as file:
            tables = tuple(np.array(file.quantization[key]).reshape(8, 8) for key in sorted(file.quantization))
            sampling = JpegImagePlugin.get_sampling(file)
            return cls(
                tables=tables,
                chroma="none" if file.mode == "L" else _SAMPLING.get(sampling, "other"),
                progressive=bool(file.info.get("progressive")),
                is_ycc=file.mode == "L" or (file.mode == "RGB" and file.info.get("adobe_transform", 1) != 0),
                has_profile="icc_profile" in file.info,
            )


def luma_crops(image: SourceImage, *, count: int, jpeg: JpegFile | None = None) -> list[Plane]:
    """Seeded luma crops of up to 256 px in the orientation of the file, from multiples of 8 px.

    A JPEG of up to 16 megapixels is decoded once more, to luma alone: free of chroma and colour profile. Others are
    cropped from the pixels that are judged, so that no float copy of a large picture is made.

    Returns:
        No crop where the picture is under 24 px in a side.
    """
    height, width = image.rgb.shape[:2]
    if min(height, width) < _FEWEST_PIXELS:
        return []
    pixels = as_in_file(image.rgb, image.orientation)
    if jpeg is not None and jpeg.is_ycc and height * width <= _DECODED_PIXELS:
        with _reopened(image.data) as file:
            file.draft("L", file.size)
            pixels = np.asarray(file.convert("L"))
    size = min(_CROP, min(pixels.shape[:2]))
    tiles = tile_grid(
        pixels.shape[0], pixels.shape[1], size, max(size // 8 * 8, 8), cap=count, seed=image.seed, align=8
    )
    crops = [pixels[top : top + size, left : left + size] for top, left in tiles.corners]
    return [crop.astype(np.float32) if crop.ndim == 2 else luma_of(crop) for crop in crops]
