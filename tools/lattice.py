"""Periodic traces: sharp peaks of a residual's spectrum that stand out of their surroundings.

A picture that was upsampled (by a decoder's strides, or by resizing) repeats its error every few pixels, in all of it
at once; that puts peaks into the spectrum of the residual (Marra et al. 2019; Zhang, Karaman, Chang 2019; Corvi et
al. 2023). A pattern that keeps its phase over the picture gains with the area that is transformed at once, content does
not: so blocks of up to 1024x1024 px are transformed whole.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from tools.signal import Plane

BLOCK = 1024
"""Longest side of a block in pixels."""
SIDE_STEP = 32
"""Sides of blocks are multiples of it, so that lattices of 2, 4, 8, 16 and 32 px lie on whole bins."""
LOWEST = 0.05
"""Below this frequency (periods over 20 px) content outweighs any trace, in cycles per pixel."""
_CELL = 16
_AXIS = 2
_APART = 3
_MOST_CANDIDATES = 300
_ANNULUS = np.array([(round(r * np.sin(a)), round(r * np.cos(a))) for r in (5, 8) for a in np.arange(12) * np.pi / 6])
_LINE = np.array([n for step in range(5, 19) for n in (step, -step)])
_SQUARE = np.array([(y, x) for y in range(-4, 5) for x in range(-4, 5) if max(abs(y), abs(x)) >= 2])
_LOG_SPREAD = np.pi / np.sqrt(6)  # standard deviation of the logarithm of exponentially distributed power
_HIGHER_OF_THREE = 0.2
"""How far the highest of three mean levels lies above the true one in noise, in log power."""


@dataclass(frozen=True, slots=True)
class Peak:
    """One peak.

    Attributes:
        fy, fx: Its frequency in cycles per pixel; fx is 0 or more.
        excess_db: Power above its surroundings in decibels.
        sigmas: How unlikely noise alone makes it, in standard deviations of a normal distribution (one bin, one try).
    """

    fy: float
    fx: float
    excess_db: float
    sigmas: float

    @property
    def period(self) -> float:
        """Period in pixels, measured across the pattern."""
        return 1 / float(np.hypot(self.fy, self.fx))


def soften(residual: Plane) -> Plane:
    """Presses a residual into (-1, 1), so that edges and texture weigh no more than noise.

    Point by point, so that it adds no period of its own.
    """
    scale = max(2 * float(np.median(np.abs(residual[::2, ::2]))), 1e-3)
    size = np.abs(residual)
    size += np.float32(scale)
    return np.divide(residual, size, out=size)


def _line_window(length: int) -> Plane:
    line: Plane = (0.5 - 0.5 * np.cos(2 * np.pi * (np.arange(length) + 0.5) / length)).astype(np.float32)
    return line


def block_power(residual: Plane) -> Plane:
    """Power spectrum (rfft2 layout) of a softened residual block of even sides, in any unit."""
    windowed = soften(residual)
    windowed -= windowed.mean()
    windowed *= _line_window(residual.shape[0])[:, None]
    windowed *= _line_window(residual.shape[1])
    spectrum = np.fft.rfft2(windowed)
    squared: Plane = np.square(spectrum.real) + np.square(spectrum.imag)
    return squared


def sigmas_of(ratio: npt.NDArray[np.float64], blocks: int) -> npt.NDArray[np.float64]:
    """Normal deviate of a power ratio averaged over `blocks` spectra of noise (Wilson and Hilferty 1931)."""
    deviate: npt.NDArray[np.float64] = (np.cbrt(ratio) - (1 - 1 / (9 * blocks))) * np.sqrt(9.0 * blocks)
    return deviate


def average_power(blocks: list[Plane]) -> Plane:
    """Mean of `block_power` over residual blocks of one shape."""
    total = block_power(blocks[0])
    for block in blocks[1:]:
        total += block_power(block)
    return total / np.float32(len(blocks))


def lattice_sigmas(spectrum: Plane, width: int, blocks: int, period: int, *, codec: int = 1) -> float:
    """How far the harmonics of a lattice of `period` px in both directions stand out together, in standard deviations.

    Each harmonic is compared with its surroundings and with the lines through it; single ones count no more than
    e^3-fold, so that one streak cannot make a lattice.

    Args:
        spectrum: As in `find_peaks`.
        width: Columns of a block in pixels, a multiple of 32.
        blocks: How many blocks were averaged.
        period: 4, 8, 16 or 32 px.
        codec: Harmonics of a lattice of this period belong to the codec's own blocks and are left out.
    """
    height = spectrum.shape[0]
    ky, kx = _harmonics(period, codec)
    rows, columns = ky * (height // period) + height // 2, kx * (width // period)
    log = np.log(np.fft.fftshift(spectrum, axes=0) + np.float32(1e-12))
    line = np.array([n for n in range(-10, 11) if abs(n) >= 2])
    still = np.zeros_like(line)

    def level(offsets: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
        near = _gather(log, rows[:, None] + offsets[:, 0], columns[:, None] + offsets[:, 1], width)
        mean: npt.NDArray[np.float64] = near.mean(axis=1)
        return mean

    around = level(_SQUARE)
    lines = np.maximum(level(np.stack([line, still], axis=1)), level(np.stack([still, line], axis=1)))
    rise = np.clip(_gather(log, rows, columns, width) - np.maximum(around, lines), -3, 3)
    # With more blocks the spread shrinks, and with it the bias of taking the highest of three levels.
    spread = _LOG_SPREAD / np.sqrt(blocks)
    return float((rise.mean() + _HIGHER_OF_THREE / np.sqrt(blocks)) * np.sqrt(len(rise)) / spread)


@lru_cache(maxsize=16)
def _harmonics(period: int, codec: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """(row, column) multiples of 1 / period, each seen once, that are not multiples of 1 / codec."""
    ky, kx = (grid.ravel() for grid in np.mgrid[-period // 2 : period // 2, 0 : period // 2 + 1])
    keep = ~((ky * codec % period == 0) & (kx * codec % period == 0))
    keep &= ~((kx == 0) & (ky < 0)) & ~((kx == period // 2) & (ky > 0))
    keep &= np.hypot(ky, kx) / period >= LOWEST
    return ky[keep], kx[keep]


def find_peaks(spectrum: Plane, width: int, blocks: int, *, sigmas: float, most: int = 24) -> list[Peak]:
    """Peaks of at least `sigmas`, strongest first, none within 3 bins of a stronger one.

    A peak must stand out of the annulus around it and of the lines it lies on along both axes, so that neither the
    fall of a picture's spectrum nor the streaks of its edges count.

    Args:
        spectrum: Mean of `block_power` over blocks, rfft2 layout.
        width: Columns of a block in pixels.
        blocks: How many blocks were averaged.
        sigmas: Least significance.
        most: The most peaks that are returned.
    """
    height = spectrum.shape[0]
    log = np.log(np.fft.fftshift(spectrum, axes=0) + np.float32(1e-12))  # rows now run from -0.5 to 0.5
    rows, columns = _candidates(log, width)
    still = np.zeros_like(_LINE)
    levels = [
        _mean_level(_gather(log, rows[:, None] + offsets[:, 0], columns[:, None] + offsets[:, 1], width), blocks)
        for offsets in (_ANNULUS, np.stack([still, _LINE], axis=1), np.stack([_LINE, still], axis=1))
    ]
    ratios = np.exp(log[rows, columns] - np.maximum.reduce(levels))
    significance = sigmas_of(ratios, blocks)
    peaks: list[Peak] = []
    taken: list[tuple[int, int]] = []
    for index in np.argsort(-significance, kind="stable"):
        row, column = int(rows[index]), int(columns[index])
        if significance[index] < sigmas or len(peaks) == most:
            break
        if any(_near(row, column, other, height, width) for other in taken):
            continue
        taken.append((row, column))
        fy, fx = _refined(log, row, column, width)
        decibels = round(10 * float(np.log10(ratios[index])), 1)
        peaks.append(Peak((fy - height // 2) / height, fx / width, decibels, round(float(significance[index]), 1)))
    return peaks


def _mean_level(logs: npt.NDArray[np.float64], blocks: int) -> npt.NDArray[np.float64]:
    """Log of the mean power of noise averaged over `blocks`, from the median of samples (a row a bin)."""
    level: npt.NDArray[np.float64] = np.median(logs, axis=1) - 3 * np.log(1 - 1 / (9 * blocks))
    return level


def _candidates(log: Plane, width: int) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
    """The bins that rise most above their cell of 16x16 bins, or, beside an axis, above 16 bins along it."""
    height, half = log.shape
    level = _pooled(log, _CELL, _CELL)
    middle = height // 2
    near_rows = slice(middle - _AXIS, middle + _AXIS + 1)
    level[near_rows] = np.maximum(level[near_rows], _pooled(log[near_rows], 1, _CELL))
    level[:, : _AXIS + 1] = np.maximum(level[:, : _AXIS + 1], _pooled(log[:, : _AXIS + 1], _CELL, 1))
    rise = log - level
    fy = (np.arange(height) - middle)[:, None] / height
    fx = np.arange(half)[None] / width
    rise[np.hypot(fy, fx) < max(LOWEST, 4 / min(height, width))] = -np.inf
    rise[middle + 1 :, 0] = -np.inf  # fx = 0 is seen twice
    if width % 2 == 0:
        rise[middle + 1 :, -1] = -np.inf
    flat = rise.ravel()
    best = np.argpartition(flat, -_MOST_CANDIDATES)[-_MOST_CANDIDATES:]
    best = best[np.isfinite(flat[best]) & (flat[best] > 1.5)]
    best = best[np.lexsort((best, -flat[best]))]
    return best // half, best % half


def _pooled(log: Plane, down: int, across: int) -> Plane:
    """Mean of each cell of the spectrum, spread over the cell again; cells at the far edges may be cut."""
    row_starts, column_starts = np.arange(0, log.shape[0], down), np.arange(0, log.shape[1], across)
    sums = np.add.reduceat(np.add.reduceat(log, row_starts, axis=0), column_starts, axis=1)
    highs = np.diff(np.append(row_starts, log.shape[0]))
    wides = np.diff(np.append(column_starts, log.shape[1]))
    return np.repeat(np.repeat(sums / np.outer(highs, wides), highs, axis=0), wides, axis=1).astype(np.float32)


def _gather(
    log: Plane, rows: npt.NDArray[np.int64], columns: npt.NDArray[np.int64], width: int
) -> npt.NDArray[np.float64]:
    """Values at any whole bins (rows centred, columns from 0), by the symmetry of a real picture's spectrum."""
    height = log.shape[0]
    columns = columns % width
    mirrored = columns > width // 2
    signed = rows - height // 2
    rows = (np.where(mirrored, -signed, signed) + height // 2) % height
    return log[rows, np.where(mirrored, width - columns, columns)].astype(np.float64)


def _near(row: int, column: int, other: tuple[int, int], height: int, width: int) -> bool:
    middle = height // 2
    for sign in (1, -1):
        down = ((row - middle) - sign * (other[0] - middle) + middle) % height - middle
        across = (column - sign * other[1] + width // 2) % width - width // 2
        if max(abs(down), abs(across)) <= _APART:
            return True
    return False


def _refined(log: Plane, row: int, column: int, width: int) -> tuple[float, float]:
    """Place of a peak between bins, by a parabola through log power along each axis."""

    def offset(values: npt.NDArray[np.float64]) -> float:
        bend = values[0] - 2 * values[1] + values[2]
        return 0.0 if bend >= 0 else float(np.clip(0.5 * (values[0] - values[2]) / bend, -0.5, 0.5))

    near = np.array([-1, 0, 1])
    down = offset(_gather(log, row + near, np.full(3, column), width))
    across = offset(_gather(log, np.full(3, row), column + near, width))
    return row + down, column + across
