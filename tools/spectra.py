"""The shape of a tile's residual spectrum, its fall from coarse to fine taken out.

Decoders that build a picture by repeated doubling leave their traces at whole fractions of a cycle and along the axes
of the spectrum (Durall et al. 2020; Corvi et al. 2023), while how fast the spectrum falls mostly tells what a picture
shows and how often it was resized. So each frequency is set against the others at the same distance from the middle,
or against its neighbours; energy, exposure and sharpness do not enter. numpy only.
"""

from __future__ import annotations

from functools import cache

import numpy as np
import numpy.typing as npt

from tools.signal import Plane, hann, luma_of, residual
from tools.tiles import Look, covered, sample, tiles

TILE = 224
"""Side of a tile in pixels."""
WINDOW = 64
"""Side of the windows whose power is averaged over a tile; they overlap by half."""
FLAT = 0.25
"""Mean absolute Laplacian in grey levels under which a tile is called flat."""
_HALF = WINDOW // 2 + 1
_EVERY = 4
_NEAR = 5
_FLOOR = 1e-2
GROUPS = {
    "peak": "narrow peaks at whole fractions of a cycle",
    "axis": "detail along the rows, the columns and the diagonal",
    "shape": "how evenly detail is spread over its directions",
}
"""What each group of features is about, by the part of its name before the slash."""
NAMES = (
    *(f"peak/{y}_{x}" for y in range(0, _HALF, _EVERY) for x in range(0, _HALF, _EVERY)),
    *(f"axis/{line}_{i}" for line in ("row", "column", "diagonal", "last_row", "last_column") for i in range(_HALF)),
    *(f"shape/{y}_{x}" for y in range(_HALF // 2) for x in range(_HALF // 2)),
)
"""Names of the features; the numbers are frequencies in steps of 1/64 cycle per px (pairs of steps for `shape`)."""


def look(rgb: npt.NDArray[np.uint8], *, most: int, seed: int) -> Look:
    """Features of at most `most` tiles at native size, drawn by `seed` where the picture holds more.

    Args:
        rgb: HxWx3, at least WINDOW px a side. Where it is smaller than a tile, tiles are as large as it allows.
        most: Cap on tiles.
        seed: Of the sample.
    """
    height, width = rgb.shape[:2]
    side = min(TILE, min(width, height) // 8 * 8)
    every = tiles(width, height, side)
    chosen = sample(every, most, seed)
    judged, rows, contrast = [], [], []
    for left, top in chosen:
        noise = residual(luma_of(rgb[top : top + side, left : left + side]), "laplace")
        strength = float(np.abs(noise).mean())
        if strength >= FLAT:
            judged.append((left, top))
            rows.append(features(noise))
            contrast.append(strength)
    return Look(
        judged=judged, side=side, features=np.array(rows, dtype=np.float32).reshape(-1, len(NAMES)),
        flat=len(chosen) - len(judged), possible=len(every), coverage=covered(chosen, side, width, height),
        contrast=contrast, maps=[],
    )  # fmt: skip


def features(noise: Plane) -> npt.NDArray[np.float32]:
    """len(NAMES) numbers of one residual of at least WINDOW px a side."""
    views = np.lib.stride_tricks.sliding_window_view(noise, (WINDOW, WINDOW))[:: WINDOW // 2, :: WINDOW // 2]
    windows = views.reshape(-1, WINDOW, WINDOW)
    windows = (windows - windows.mean(axis=(1, 2), keepdims=True)) * hann(WINDOW)
    spectrum = np.fft.rfft2(windows)
    power = (np.square(spectrum.real) + np.square(spectrum.imag)).mean(axis=0) / WINDOW**2
    # Vertical frequencies of either sign are taken together: neither up nor down may count.
    log = np.log((power[:_HALF] + power[-np.arange(_HALF)]) / 2 + _FLOOR)
    ring, count = _rings()
    even = log - (np.bincount(ring.ravel(), log.ravel()) / count)[ring]
    wide = np.pad(log, _NEAR // 2, mode="symmetric")
    near = np.lib.stride_tricks.sliding_window_view(wide, (_NEAR, _NEAR))[::_EVERY, ::_EVERY]
    peaks = log[::_EVERY, ::_EVERY] - np.median(near, axis=(2, 3))
    axes = (even[0], even[:, 0], np.diagonal(even), even[-1], even[:, -1])
    half = _HALF // 2
    shape = even[1:, 1:].reshape(half, 2, half, 2).mean(axis=(1, 3))
    return np.concatenate([peaks.ravel(), *axes, shape.ravel()]).astype(np.float32)


@cache
def _rings() -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
    """Which ring each frequency of the folded spectrum lies on, and how many lie on each ring."""
    y, x = np.mgrid[:_HALF, :_HALF]
    ring = np.rint(np.hypot(y, x)).astype(np.intp)
    return ring, np.bincount(ring.ravel())
