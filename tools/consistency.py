"""What each 8x8 cell of a picture tells of its making: the maps that the tool `splice` compares across a picture.

Noise and sharpness from high-pass residuals of the SRM family (Fridrich & Kodovsky 2012); traces of resampling as the
residual's correlation with its neighbours (Popescu & Farid 2005 look for the same with a local predictor); the block
grid by the phase of third differences (Ye, Sun & Chang 2007); JPEG ghosts, what re-saving at several qualities
changes (Farid 2009); double quantisation as a log-likelihood ratio of a block's coefficients between the picture's own
histogram and that of the same picture with the grid shifted, which has lost the first compression (after Lin et al.
2009 and Bianchi & Piva 2012, with Lukáš & Fridrich's calibration).

Cells are those of the JPEG grid: pixels must be in the orientation of the file and begin at its first pixel or at a
multiple of 8 from there. This module owns torch; import it inside functions.
"""

from __future__ import annotations

import io
from functools import lru_cache

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch.nn import functional

from tools.jpeg import Table

Pixels = npt.NDArray[np.uint8]
CELL = 8
"""Side of a cell in pixels."""
GHOSTS = (60, 72, 82, 90)
"""Qualities of the re-saves."""
_EPS = 0.05
_KERNELS: dict[str, list[list[int]]] = {
    "h2": [[1, -2, 1]],
    "v2": [[1], [-2], [1]],
    "d2": [[1, 0, 0], [0, -2, 0], [0, 0, 1]],
    "a2": [[0, 0, 1], [0, -2, 0], [1, 0, 0]],
    "h4": [[1, -4, 6, -4, 1]],
    "v4": [[1], [-4], [6], [-4], [1]],
    "square3": [[-1, 2, -1], [2, -4, 2], [-1, 2, -1]],
    "square5": [[-1, 2, -2, 2, -1], [2, -6, 8, -6, 2], [-2, 8, -12, 8, -2], [2, -6, 8, -6, 2], [-1, 2, -2, 2, -1]],
    "wide": [[-1, 0, 0, 0, -1], [0, 0, 0, 0, 0], [0, 0, 4, 0, 0], [0, 0, 0, 0, 0], [-1, 0, 0, 0, -1]],
}
_LAGS = ((0, 1), (1, 0), (1, 1), (0, 2), (2, 0))
_BANDS = ((1,), (2,), (3,), (4,), (5,), (6,), (7, 8), (9, 10), (11, 12, 13, 14))
"""Bands of DCT coefficients by the sum of their row and column."""
_THIRDS = ((1, 2, 3), (4, 5, 6, 7), tuple(range(8, 15)))
_LOW = ((0, 1), (1, 0), (1, 1), (0, 2), (2, 0))
_MIDDLE = ((1, 2), (2, 1), (2, 2), (0, 3), (3, 0), (1, 3), (3, 1), (0, 4), (4, 0), (3, 3), (2, 3), (3, 2))
_REACH = 40
NAMES: tuple[str, ...] = (
    *(f"noise/{name}" for name in _KERNELS),
    *(f"peak/{name}" for name in ("h2", "v2", "square3", "square5")),
    *(f"resampling/lag_{down}_{right}" for down, right in _LAGS),
    *(f"grid/{axis}_{phase}" for axis in ("column", "row") for phase in range(CELL)),
    *(f"detail/dct_{band[0]}" for band in _BANDS),
    *(f"zeros/{part}" for part in ("low", "middle", "high")),
    *(f"ghost/{quality}" for quality in GHOSTS),
    *(f"colour/{name}" for name in ("blue", "red")),
    *(f"light/{name}" for name in ("mean", "clipped", "contrast")),
    "history/low",
    "history/middle",
)
"""What each map is, in order; the last two, `history`, need the whole picture (`History`)."""
GROUPS = {
    "noise": "how strong its finest detail is",
    "peak": "how evenly its finest detail is spread over its values",
    "resampling": "how its fine detail repeats from pixel to pixel, as scaling or turning leaves it",
    "grid": "where the JPEG block grid lies in it",
    "detail": "its balance of coarse and fine detail",
    "zeros": "how many of its JPEG coefficients are zero",
    "ghost": "how it changes when it is saved again",
    "colour": "the fine detail of its colours",
    "light": "its brightness and contrast",
    "history": "the trace of an earlier JPEG compression",
}


@lru_cache(maxsize=1)
def _bank() -> torch.Tensor:
    """The kernels, each centred in 5x5 and scaled to unit absolute sum on its positive side."""
    out = np.zeros((len(_KERNELS), 1, 5, 5), np.float32)
    for i, kernel in enumerate(_KERNELS.values()):
        values = np.array(kernel, np.float32)
        rows, columns = values.shape
        top, left = (5 - rows) // 2, (5 - columns) // 2
        out[i, 0, top : top + rows, left : left + columns] = values / np.maximum(values, 0).sum()
    return torch.from_numpy(out)


@lru_cache(maxsize=1)
def _dct() -> torch.Tensor:
    """64x64: flattened 8x8 pixels to flattened coefficients, orthonormal."""
    k, n = np.mgrid[0:8, 0:8]
    basis = np.sqrt(0.25) * np.cos((2 * n + 1) * k * np.pi / 16)
    basis[0] /= np.sqrt(2)
    return torch.from_numpy(np.kron(basis, basis).T.astype(np.float32).copy())


def _cells(plane: torch.Tensor) -> torch.Tensor:
    """Mean over each cell of CxHxW."""
    return functional.avg_pool2d(plane[None], CELL)[0]


def _around(cells: torch.Tensor, side: int = 3) -> torch.Tensor:
    """Mean over `side` x `side` cells about each, fewer at the border."""
    return functional.avg_pool2d(cells[None], side, 1, side // 2, count_include_pad=False)[0]


def _padded(plane: torch.Tensor, by: int) -> torch.Tensor:
    return functional.pad(plane[None, None], (by, by, by, by), mode="reflect")


def _coefficients(luma: torch.Tensor) -> torch.Tensor:
    """DCT coefficients of each whole block: rows x columns x 64."""
    rows, columns = luma.shape[0] // CELL, luma.shape[1] // CELL
    blocks = luma[: rows * CELL, : columns * CELL].reshape(rows, CELL, columns, CELL).transpose(1, 2)
    return blocks.reshape(rows, columns, 64) @ _dct()


@lru_cache(maxsize=2)
def _averaging(bands: tuple[tuple[int, ...], ...]) -> torch.Tensor:
    """64 x bands: takes flattened coefficients to their mean over each band."""
    sums = np.add.outer(np.arange(8), np.arange(8)).ravel()
    table = np.stack([np.isin(sums, band) / np.isin(sums, band).sum() for band in bands], axis=1)
    return torch.from_numpy(table.astype(np.float32))


def _bands(flat: torch.Tensor, bands: tuple[tuple[int, ...], ...]) -> torch.Tensor:
    """Means over each band: bands x rows x columns, from rows x columns x 64."""
    return (flat @ _averaging(bands)).permute(2, 0, 1)


def _neighbours(residual: torch.Tensor) -> torch.Tensor:
    """Mean product of a residual with itself moved by each of `_LAGS`, about each cell."""
    height, width = residual.shape
    wide = functional.pad(residual, (0, 2, 0, 2))
    return _around(torch.cat([_cells((residual * wide[y : y + height, x : x + width])[None]) for y, x in _LAGS]))


def _phases(luma: torch.Tensor, axis: int) -> torch.Tensor:
    """8 x rows x columns: log third difference across the columns (axis 1) or rows (axis 0) at each phase of 8 px."""
    plane = luma if axis else luma.T
    wide = _padded(plane, 2)[0, 0, 2:-2]
    width = plane.shape[1]
    third = (
        wide[:, 1 : 1 + width] - 3 * wide[:, 2 : 2 + width] + 3 * wide[:, 3 : 3 + width] - wide[:, 4 : 4 + width]
    ).abs()
    by_phase = third.reshape(plane.shape[0] // CELL, CELL, width // CELL, CELL).mean(dim=1).permute(2, 0, 1)
    if not axis:
        by_phase = by_phase.transpose(1, 2)
    log = torch.log(_around(by_phase, 5) + _EPS)
    return log - log.mean(dim=0)


def _ghost(luma: npt.NDArray[np.uint8], quality: int) -> torch.Tensor:
    buffer = io.BytesIO()
    Image.fromarray(luma).save(buffer, "JPEG", quality=quality)
    with Image.open(buffer) as again:
        change = torch.from_numpy(np.asarray(again).astype(np.float32) - luma)
    return torch.log(_around(_cells(change.square()[None])) + _EPS)


class History:
    """Histograms of quantised low coefficients over a whole picture, and over it with the grid shifted.

    Args:
        table: Luma quantisation table of the file, 8x8; None where it is no JPEG.
    """

    def __init__(self, table: Table | None) -> None:
        steps = np.ones((8, 8)) if table is None else table
        self._frequencies = (*_LOW, *_MIDDLE)
        self._index = [8 * i + j for i, j in self._frequencies]
        self._steps = torch.tensor([float(steps[i, j]) for i, j in self._frequencies])
        shape = (len(self._frequencies), 2 * _REACH + 1)
        self._own, self._shifted = torch.zeros(shape), torch.zeros(shape)

    def levels(self, coefficients: torch.Tensor) -> torch.Tensor:
        """Quantised levels of the frequencies that are followed, moved to 0..2·reach: rows x columns x F."""
        return (coefficients[..., self._index] / self._steps).round().clamp(-_REACH, _REACH).long() + _REACH

    def add(self, own: torch.Tensor, shifted: torch.Tensor) -> None:
        """Counts the levels of a part of the picture."""
        for counts, levels in ((self._own, own), (self._shifted, shifted)):
            for f in range(len(self._frequencies)):
                counts[f] += torch.bincount(levels[..., f].reshape(-1), minlength=2 * _REACH + 1)

    def ratios(self, own: torch.Tensor) -> torch.Tensor:
        """2 x rows x columns: mean log-likelihood ratio a coefficient, of the picture's past against none."""
        own_p, shifted_p = ((c + 2) / (c.sum(dim=1, keepdim=True) + 2 * c.shape[1]) for c in (self._own, self._shifted))
        ratio = torch.log(own_p / shifted_p)
        each = torch.stack([ratio[f][own[..., f]] for f in range(len(self._frequencies))])
        parts = torch.stack([each[: len(_LOW)].mean(dim=0), each[len(_LOW) :].mean(dim=0)])
        return _around(parts)


def measure(tiles: list[Pixels], table: Table | None) -> list[torch.Tensor]:
    """The maps of each tile of one picture: len(NAMES) x rows x columns, one value a cell.

    Args:
        tiles: HxWx3 each, sides multiples of CELL and at least 4 cells; all of one picture.
        table: As in `History`.
    """
    history = History(table)
    maps, levels = [], []
    with torch.inference_mode():
        for rgb in tiles:
            local, coefficients, shifted = _local(rgb, table)
            own = history.levels(coefficients)
            history.add(own, history.levels(shifted))
            maps.append(local)
            levels.append(own)
        return [torch.cat([local, history.ratios(own)]) for local, own in zip(maps, levels, strict=True)]


def _local(rgb: Pixels, table: Table | None) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """All maps but the last two, the coefficients of each block, and those with the grid shifted by half a block."""
    colour = torch.from_numpy(rgb.astype(np.float32))
    red, green, blue = colour.unbind(dim=2)
    luma = 0.299 * red + 0.587 * green + 0.114 * blue
    residuals = functional.conv2d(_padded(luma, 2), _bank())[0]
    size, power = _cells(residuals.abs()), _cells(residuals.square())
    noise = torch.log(size + _EPS)
    at = [list(_KERNELS).index(name) for name in ("h2", "v2", "square3", "square5")]
    peak = 0.5 * torch.log(_around(power[at]) + _EPS**2) - torch.log(_around(size[at]) + _EPS)
    third = list(_KERNELS).index("square3")
    base = _around(power[third : third + 1])
    lags = _neighbours(residuals[third]) / (base + _EPS)
    coefficients = _coefficients(luma - 128)
    size_of = coefficients.abs()
    steps = torch.ones(64) if table is None else torch.from_numpy(table.reshape(64).astype(np.float32))
    zero = (size_of < 0.5 * steps).float()
    chroma = torch.stack([blue - luma, red - luma])[:, None]
    fine = functional.conv2d(functional.pad(chroma, (2, 2, 2, 2), mode="reflect"), _bank()[third : third + 1])[:, 0]
    mean = _cells(luma[None])
    deviation = (_cells(luma.square()[None]) - mean.square()).clamp_min(0)
    maps = [
        noise,
        peak,
        lags,
        _phases(luma, 1),
        _phases(luma, 0),
        torch.log(_bands(size_of, _BANDS) + _EPS),
        _around(_bands(zero, _THIRDS)),
        *(_ghost(np.rint(luma.numpy()).astype(np.uint8), quality) for quality in GHOSTS),
        torch.log(_cells(fine.abs()) + _EPS),
        mean / 255,
        _cells(((luma < 3) | (luma > 252)).float()[None]),
        0.5 * torch.log(deviation + 0.25),
    ]
    return torch.cat(maps), coefficients, _coefficients(luma[4:, 4:] - 128)
