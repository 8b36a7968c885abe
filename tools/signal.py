"""Residuals, spectra and tile grids that several tools share. Pure numpy; every array is float32 unless said otherwise.

Frequencies are in cycles per pixel (0 to 0.5 along an axis), sizes in pixels, angles in degrees.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

Plane = npt.NDArray[np.float32]
Pixels = npt.NDArray[Any]


def luma_of(rgb: npt.NDArray[np.uint8]) -> Plane:
    """Luma (BT.601, as in JPEG) of HxWx3 pixels, in 0..255, without a float copy of all three channels."""
    luma = rgb[..., 0] * np.float32(0.299)
    luma += rgb[..., 1] * np.float32(0.587)
    luma += rgb[..., 2] * np.float32(0.114)
    return luma


def as_in_file(upright: Pixels, orientation: int) -> Pixels:
    """Undoes the EXIF orientation (1 to 8) of upright HxW[xC] pixels, as a view.

    A JPEG grid starts at the file's first pixel, so it is looked for in the orientation of the file.
    """
    if orientation in (5, 6, 7, 8):
        upright = upright.swapaxes(0, 1)
    if orientation in (2, 3, 7, 8):
        upright = upright[:, ::-1]
    if orientation in (3, 4, 6, 7):
        upright = upright[::-1]
    return upright


def as_upright(filed: Pixels, orientation: int) -> Pixels:
    """Applies the EXIF orientation to HxW[xC] values in the file's orientation, as a view; undoes `as_in_file`."""
    return as_in_file(filed, {6: 8, 8: 6}.get(orientation, orientation))


@dataclass(frozen=True, slots=True)
class Tiles:
    """Square tiles of one picture.

    Attributes:
        size: Side of a tile in pixels.
        corners: (top, left) of each tile, in reading order.
        whole: How many tiles cover the picture; more than `corners` where a sample was drawn.
    """

    size: int
    corners: tuple[tuple[int, int], ...]
    whole: int

    @property
    def coverage(self) -> float:
        """Share of the tiles that are looked at, in [0, 1]."""
        return len(self.corners) / self.whole


def tile_grid(height: int, width: int, size: int, stride: int, *, cap: int, seed: int, align: int = 1) -> Tiles:
    """Covers a picture with tiles of `size`, the last ones flush with its far edges; samples `cap` of them by `seed`.

    Args:
        height: Rows of the picture; at least `size`.
        width: Columns of the picture; at least `size`.
        size: Side of a tile.
        stride: Step from one tile to the next.
        cap: The most tiles that are returned.
        seed: Seeds the sample, so that the same picture gives the same tiles.
        align: Corners are rounded down to multiples of it (8 keeps a JPEG grid in phase).

    Raises:
        ValueError: where a tile is larger than the picture.
    """
    if min(height, width) < size:
        raise ValueError(f"a tile of {size} px does not fit into {width}x{height} px")

    def starts(length: int) -> list[int]:
        last = (length - size) // align * align
        return sorted({*range(0, last + 1, stride), last})

    rows, columns = starts(height), starts(width)
    whole = len(rows) * len(columns)
    index = np.arange(whole)
    if whole > cap:
        index = np.sort(np.random.default_rng(seed).choice(whole, cap, replace=False))
    corners = tuple((rows[i // len(columns)], columns[i % len(columns)]) for i in index)
    return Tiles(size, corners, whole)


_MEDIAN_OF_9 = (
    (1, 2), (4, 5), (7, 8), (0, 1), (3, 4), (6, 7), (1, 2), (4, 5), (7, 8), (0, 3),
    (5, 8), (4, 7), (3, 6), (1, 4), (2, 5), (4, 7), (4, 2), (6, 4), (4, 2),
)  # fmt: skip


def median3(plane: Plane) -> Plane:
    """3x3 median with mirrored borders, by the exchange network of Paeth (Graphics Gems, 1990)."""
    height, width = plane.shape
    padded = np.pad(plane, 1, mode="symmetric")
    lanes = [padded[dy : dy + height, dx : dx + width] for dy in range(3) for dx in range(3)]
    for low, high in _MEDIAN_OF_9:
        lanes[low], lanes[high] = np.minimum(lanes[low], lanes[high]), np.maximum(lanes[low], lanes[high])
    return lanes[4]


def residual(plane: Plane, kind: Literal["median", "laplace"] = "median") -> Plane:
    """What a small denoiser takes away: the plane less its 3x3 median, or its Laplacian.

    The median leaves edges out, so that noise and periodic traces weigh more than content; the Laplacian is linear and
    keeps every frequency but zero at a known gain.
    """
    if kind == "median":
        return plane - median3(plane)
    padded = np.pad(plane, 1, mode="symmetric")
    around = padded[:-2, 1:-1] + padded[2:, 1:-1]
    around += padded[1:-1, :-2]
    around += padded[1:-1, 2:]
    return plane - around * np.float32(0.25)


def hann(size: int) -> Plane:
    """Periodic Hann window over a square tile, with unit mean square."""
    line = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(size) / size)
    window = np.outer(line, line)
    scaled: Plane = (window / np.sqrt(np.mean(window**2))).astype(np.float32)
    return scaled


def power(tile: Plane, window: Plane) -> Plane:
    """Power spectrum of a windowed square tile: Nx(N/2+1), the layout of rfft2.

    Per pixel, so that white noise of variance v has the value v everywhere.
    """
    spectrum = np.fft.rfft2((tile - tile.mean()) * window)
    squared: Plane = np.square(spectrum.real) + np.square(spectrum.imag)
    squared *= np.float32(1 / tile.size)
    return squared


def frequencies(size: int) -> tuple[Plane, Plane]:
    """(fy, fx) of each bin of `power` of a tile of `size`, in cycles per pixel; fy runs from -0.5 to 0.5."""
    fy, fx = np.meshgrid(np.fft.fftfreq(size), np.fft.rfftfreq(size), indexing="ij")
    return fy.astype(np.float32), fx.astype(np.float32)


def rings(size: int) -> npt.NDArray[np.intp]:
    """Which ring of equal distance from the origin each bin of `power` lies in; ring r is at r / size cycles per px."""
    fy, fx = frequencies(size)
    ring: npt.NDArray[np.intp] = np.rint(np.hypot(fy, fx) * size).astype(np.intp)
    return ring


def radial_profile(values: Plane, size: int) -> Plane:
    """Mean of `values` (in the layout of `power`) over each ring up to 0.5 cycles per px: size/2 + 1 numbers."""
    ring = rings(size).ravel()
    counts = np.bincount(ring)
    profile = np.bincount(ring, weights=values.ravel()) / np.maximum(counts, 1)
    return profile[: size // 2 + 1].astype(np.float32)


def centred(values: Plane, size: int) -> Plane:
    """The full NxN spectrum with zero frequency in the middle, from the half that `power` returns."""
    full = np.empty((size, size), np.float32)
    half = size // 2 + 1
    full[:, :half] = values
    mirrored = np.roll(values[::-1], 1, axis=0)[:, 1 : size - half + 1]
    full[:, half:] = mirrored[:, ::-1]
    return np.fft.fftshift(full)
