"""Two plain ways to fill a hole, so that removals can be made anywhere: smooth interpolation and patch quilting.

Neither is a learned inpainter, and neither is as good as one: `smooth` leaves a blurred patch (harmonic interpolation,
as in Pérez et al. 2003 without a source), `quilted` copies square patches of the picture into the hole from its edge
inwards (after Efros & Freeman 2001 and Criminisi et al. 2004, without their seam cuts and priorities).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from PIL import Image

from evals.shapes import Mask, grown, softened

Pixels = npt.NDArray[np.uint8]


def smooth(rgb: Pixels, hole: Mask) -> Pixels:
    """The hole filled by its border's colours, coarse to fine; a few grey levels' worth of structure is left out."""
    height, width = hole.shape
    values = rgb.astype(np.float32) * ~hole[..., None]
    known = (~hole).astype(np.float32)[..., None]
    levels = [(values, known)]
    while min(levels[-1][0].shape[:2]) > 2:
        v, k = levels[-1]
        v, k = (np.pad(a, ((0, a.shape[0] % 2), (0, a.shape[1] % 2), (0, 0))) for a in (v, k))
        v = v[::2, ::2] + v[1::2, ::2] + v[::2, 1::2] + v[1::2, 1::2]
        k = k[::2, ::2] + k[1::2, ::2] + k[::2, 1::2] + k[1::2, 1::2]
        levels.append((np.where(k > 0, v / np.maximum(k, 1), 0), (k > 0).astype(np.float32)))
    filled = levels[-1][0]
    for v, k in reversed(levels[:-1]):
        larger = np.kron(filled, np.ones((2, 2, 1), dtype=np.float32))[: v.shape[0], : v.shape[1]]
        for _ in range(6):
            padded = np.pad(larger, ((1, 1), (1, 1), (0, 0)), mode="edge")
            mean = (padded[:-2, 1:-1] + padded[2:, 1:-1] + padded[1:-1, :-2] + padded[1:-1, 2:]) / 4
            larger = np.where(k > 0, v, mean)
        filled = larger
    return np.rint(np.clip(filled, 0, 255)).astype(np.uint8).reshape(height, width, 3)


def quilted(rgb: Pixels, hole: Mask, rng: np.random.Generator, side: int = 20, tries: int = 160) -> Pixels:
    """The hole filled by patches of the picture, each the best of `tries` on what surrounds its place.

    Where the picture holds no patch outside the hole, the smooth filling stays.
    """
    height, width = hole.shape
    out = smooth(rgb, hole).astype(np.float32)
    whole = Image.fromarray(hole.astype(np.uint8) * 255).resize((max(1, width // 4), max(1, height // 4)))
    free = ~grown(np.asarray(whole) > 0, side // 4)
    free[max(height // 4 - side // 4, 0) :] = False
    free[:, max(width // 4 - side // 4, 0) :] = False
    corners = np.argwhere(free) * 4
    if not len(corners):
        return np.rint(out).astype(np.uint8)
    open_ = hole.copy()
    window = softened(np.pad(np.ones((side - 8, side - 8), bool), 4), 2.0)[..., None]
    source = rgb.astype(np.float32)
    reach = np.arange(side)
    while open_.any():
        # The next place is the open pixel with the most known neighbours, a cheap onion peel.
        rows, columns = np.nonzero(open_)
        around = ~np.pad(open_, side // 2, constant_values=True)
        sums = np.pad(around.cumsum(0).cumsum(1), ((1, 0), (1, 0)))
        many = (
            sums[rows + side, columns + side] - sums[rows, columns + side]
            - sums[rows + side, columns] + sums[rows, columns]
        )  # fmt: skip
        i = int(np.argmax(many))
        top = int(np.clip(rows[i] - side // 2, 0, height - side))
        left = int(np.clip(columns[i] - side // 2, 0, width - side))
        place = (slice(top, top + side), slice(left, left + side))
        known = (~open_[place]).astype(np.float32)[..., None] + 0.05
        drawn = corners[rng.integers(0, len(corners), tries)]
        patches = source[drawn[:, 0, None, None] + reach[:, None], drawn[:, 1, None, None] + reach]
        cost = (((patches - out[place]) ** 2) * known).sum(axis=(1, 2, 3))
        best = patches[int(np.argmin(cost))]
        weight = np.where(open_[place][..., None], 1.0, window * hole[place][..., None])
        out[place] = out[place] * (1 - weight) + best * weight
        open_[place] = False
    return np.rint(np.clip(out, 0, 255)).astype(np.uint8)
