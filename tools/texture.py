"""Texture features of one tile: rich against poor texture, and the statistics of its residuals.

After PatchCraft (Zhong et al. 2023, arXiv 2311.12397): cells of 28 px are graded by how much neighbouring pixels
differ, and high-pass residuals of the richest third are contrasted with those of the poorest third. Filters are of
the SRM family (Fridrich & Kodovsky 2012); the periods of upsampling that NPR (Tan et al. 2024) looks for are read off
the spectrum of the residual's row and column profiles. All energies are relative to the tile's own, so that exposure
and contrast do not enter.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tools.tiles import Look, covered, sample, tiles

Array = npt.NDArray[np.float32]
CELL = 28
"""Side of a texture cell in pixels, as PatchCraft has it."""
TILE = 224
"""Side of a tile in pixels: 8x8 cells."""
FLAT = 0.6
"""Mean absolute difference of neighbouring luma values, in grey levels, under which a tile is called flat."""
_EPS = 0.02


def _kernel(*rows: list[int], over: int = 1) -> Array:
    return (np.array(rows, dtype=np.float32) / np.float32(over)).astype(np.float32)


_SQUARE3 = _kernel([-1, 2, -1], [2, -4, 2], [-1, 2, -1], over=4)
_EDGE3 = _kernel([-1, 2, -1], [2, -4, 2], [0, 0, 0], over=4)
_FILTERS: dict[str, Array] = {
    "h1": _kernel([-1, 1]),
    "v1": _kernel([-1], [1]),
    "d1": _kernel([-1, 0], [0, 1]),
    "a1": _kernel([0, -1], [1, 0]),
    "h2": _kernel([1, -2, 1], over=2),
    "v2": _kernel([1], [-2], [1], over=2),
    "h3": _kernel([1, -3, 3, -1], over=3),
    "v3": _kernel([1], [-3], [3], [-1], over=3),
    "edge": _EDGE3,
    "edge_t": np.ascontiguousarray(_EDGE3.T),
    "square3": _SQUARE3,
    "square5": _kernel(
        [-1, 2, -2, 2, -1], [2, -6, 8, -6, 2], [-2, 8, -12, 8, -2], [2, -6, 8, -6, 2], [-1, 2, -2, 2, -1], over=12
    ),
}
_CHROMA_FILTERS = ("h1", "v1", "square3")
_LAGS = ((0, 1), (1, 0), (1, 1), (0, 2), (2, 0), (2, 2), (0, 4), (4, 0), (0, 8), (8, 0))
_RINGS = 16
_PERIODS = 16


@dataclass(frozen=True, slots=True)
class Texture:
    """What one tile's texture is like.

    Attributes:
        features: In the order of `NAMES`.
        contrast: Mean absolute difference of neighbouring luma values, in grey levels.
        poor, rich: The same over the poorest and the richest third of cells.
    """

    features: Array
    contrast: float
    poor: float
    rich: float

    @property
    def flat(self) -> bool:
        """Whether the tile holds too little texture to be judged."""
        return self.contrast < FLAT


def _filtered(plane: Array, kernel: Array) -> Array:
    """Correlation of `plane` with `kernel`, edges repeated, same size."""
    rows, columns = kernel.shape
    padded = np.pad(plane, ((0, rows - 1), (0, columns - 1)), mode="edge")
    out = np.zeros_like(plane)
    for i in range(rows):
        for j in range(columns):
            if kernel[i, j]:
                out += kernel[i, j] * padded[i : i + plane.shape[0], j : j + plane.shape[1]]
    return out


def _cells(values: Array) -> npt.NDArray[np.float64]:
    """Mean of `values` in each cell, flattened."""
    rows, columns = values.shape[0] // CELL, values.shape[1] // CELL
    means: npt.NDArray[np.float64] = values.reshape(rows, CELL, columns, CELL).mean(axis=(1, 3), dtype=np.float64)
    return means.ravel()


def _contrasts(poor: float, rich: float) -> list[float]:
    return [poor, rich, rich - poor]


def _energies(residual: Array, thirds: tuple[npt.NDArray[np.intp], ...], base: tuple[float, ...]) -> list[float]:
    """Relative energy and peakedness of a residual over poor and rich cells, and what differs."""
    size, power = _cells(np.abs(residual)), _cells(residual * residual)
    strength, peaked = [], []
    for cells, reference in zip(thirds, base, strict=True):
        mean, rms = size[cells].mean(), np.sqrt(power[cells].mean())
        strength.append(float(np.log((mean + _EPS) / (reference + _EPS))))
        peaked.append(float(np.log((rms + _EPS) / (mean + _EPS))))
    return _contrasts(*strength) + _contrasts(*peaked)


def _correlations(residual: Array, thirds: tuple[npt.NDArray[np.intp], ...]) -> list[float]:
    """Autocorrelation of a residual at each lag over poor and rich cells, and what differs."""
    power = _cells(residual * residual)
    out = []
    for down, right in _LAGS:
        moved = np.roll(residual, (down, right), axis=(0, 1))
        product = _cells(residual * moved)
        out += _contrasts(*(float(product[c].mean() / (power[c].mean() + _EPS)) for c in thirds))
    return out


def _channels(rgb: Array, thirds: tuple[npt.NDArray[np.intp], ...]) -> list[float]:
    """How alike the residuals of red and green, and of blue and green, are."""
    red, green, blue = (_filtered(np.ascontiguousarray(rgb[..., i]), _SQUARE3) for i in range(3))
    powers = {name: _cells(plane * plane) for name, plane in (("r", red), ("g", green), ("b", blue))}
    out = []
    for name, plane in (("r", red), ("b", blue)):
        product = _cells(plane * green)
        out += _contrasts(
            *(
                float(product[c].mean() / (np.sqrt(powers[name][c].mean() * powers["g"][c].mean()) + _EPS))
                for c in thirds
            )
        )
    return out


def _periods(residual: Array) -> list[float]:
    """Strength of each period 16/k px, k = 1..8, in the residual's row and column profiles, over its neighbourhood."""
    levels = np.zeros(_PERIODS // 2)
    for axis in (0, 1):
        profile = np.log(np.abs(residual).mean(axis=axis, dtype=np.float64) + _EPS)
        profile = profile[: profile.size // _PERIODS * _PERIODS]
        spectrum = np.abs(np.fft.rfft(profile - profile.mean()))
        step = profile.size // _PERIODS
        around = np.median(spectrum[1:]) + 1e-6
        levels += np.log((spectrum[step::step][: _PERIODS // 2] + around) / (2 * around))
    return [float(level / 2) for level in levels]


def _spectrum(plane: Array) -> list[float]:
    """Log power in rings of equal width up to the Nyquist frequency, less their mean.

    Behind them four values of diagonal less axial power in the outer half.
    """
    rows, columns = plane.shape
    window = np.outer(np.hanning(rows), np.hanning(columns)).astype(np.float32)
    power = np.abs(np.fft.rfft2((plane - plane.mean()) * window)) ** 2
    fy, fx = np.abs(np.fft.fftfreq(rows))[:, None], np.fft.rfftfreq(columns)[None, :]
    radius = np.sqrt(fy**2 + fx**2)
    ring = np.minimum((radius * 2 * _RINGS).astype(int), _RINGS)
    total = np.bincount(ring.ravel(), power.ravel(), _RINGS + 1)[:_RINGS]
    count = np.bincount(ring.ravel(), minlength=_RINGS + 1)[:_RINGS]
    log = np.log(total / np.maximum(count, 1) + 1e-3)
    axial = np.minimum(fy, fx) < 0.25 * np.maximum(fy, fx)
    out = []
    for k in range(4):
        band = (radius >= 0.25 + k / 16) & (radius < 0.25 + (k + 1) / 16)
        out.append(float(np.log((power[band & ~axial].mean() + 1e-3) / (power[band & axial].mean() + 1e-3))))
    return [float(value) for value in log - log.mean()] + out


def names() -> tuple[str, ...]:
    """What each feature is, in order."""
    thirds = ("poor", "rich", "contrast")
    out = []
    for plane, filters in (("luma", tuple(_FILTERS)), ("red_green", _CHROMA_FILTERS), ("blue_green", _CHROMA_FILTERS)):
        for kernel in filters:
            out += [f"energy/{plane}_{kernel}_{third}" for third in thirds]
            out += [f"peak/{plane}_{kernel}_{third}" for third in thirds]
    out += [f"neighbours/lag_{down}_{right}_{third}" for down, right in _LAGS for third in thirds]
    out += [f"channels/{name}_green_{third}" for name in ("red", "blue") for third in thirds]
    out += [f"period/{_PERIODS}_over_{k}" for k in range(1, _PERIODS // 2 + 1)]
    for plane in ("luma", "red_green"):
        out += [f"spectrum/{plane}_ring_{k}" for k in range(_RINGS)]
        out += [f"spectrum/{plane}_diagonal_{k}" for k in range(4)]
    return tuple(out)


NAMES = names()


def texture(rgb: npt.NDArray[np.uint8]) -> Texture:
    """Features of one tile.

    Args:
        rgb: HxWx3 with both sides at least 2 cells; only whole cells from the top left are read.

    Raises:
        ValueError: if a side is shorter than 2 cells.
    """
    rows, columns = rgb.shape[0] // CELL * CELL, rgb.shape[1] // CELL * CELL
    if min(rows, columns) < 2 * CELL:
        raise ValueError(f"a tile needs sides of at least {2 * CELL} px, got {rgb.shape[1]}x{rgb.shape[0]}")
    tile = rgb[:rows, :columns].astype(np.float32)
    luma = (tile @ np.array([0.299, 0.587, 0.114], dtype=np.float32)).astype(np.float32)
    residuals = {name: _filtered(luma, kernel) for name, kernel in _FILTERS.items()}
    steps = [_cells(np.abs(residuals[name])) for name in ("h1", "v1", "d1", "a1")]
    grade = np.sum(steps, axis=0)
    order = np.argsort(grade, kind="stable")
    third = max(1, order.size // 3)
    thirds = (order[:third], order[-third:])
    neighbours = (steps[0] + steps[1]) / 2
    base = tuple(float(neighbours[cells].mean()) for cells in thirds)
    values: list[float] = []
    for residual in residuals.values():
        values += _energies(residual, thirds, base)
    for channel in (0, 2):
        for name in _CHROMA_FILTERS:
            values += _energies(_filtered(tile[..., channel] - tile[..., 1], _FILTERS[name]), thirds, base)
    values += _correlations(residuals["square3"], thirds)
    values += _channels(tile, thirds)
    values += _periods(residuals["square3"])
    values += _spectrum(luma) + _spectrum(tile[..., 0] - tile[..., 1])
    return Texture(
        features=np.asarray(values, dtype=np.float32), contrast=float(neighbours.mean()), poor=base[0], rich=base[1]
    )


def look(rgb: npt.NDArray[np.uint8], most: int, seed: int) -> Look:
    """Measures at most `most` tiles of a picture, drawn by `seed` where it holds more.

    A picture with a side under TILE is cut into tiles of the largest whole number of cells.

    Raises:
        ValueError: if a side is shorter than 2 cells.
    """
    height, width = rgb.shape[:2]
    side = min(TILE, min(width, height) // CELL * CELL)
    every = tiles(width, height, side)
    chosen = sample(every, most, seed)
    seen = [(place, texture(rgb[place[1] : place[1] + side, place[0] : place[0] + side])) for place in chosen]
    kept = [(place, found) for place, found in seen if not found.flat]
    rows = [found.features for _, found in kept]
    return Look(
        judged=[place for place, _ in kept],
        side=side,
        features=np.stack(rows) if rows else np.zeros((0, len(NAMES)), dtype=np.float32),
        flat=len(seen) - len(kept),
        possible=len(every),
        coverage=covered(chosen, side, width, height),
        contrast=[found.contrast for _, found in kept],
        maps=[],
    )
