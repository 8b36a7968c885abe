"""What the tool `splice` makes of a map of marks and of parts that occur twice: one logit, and places. numpy only.

Marks are rows x columns of square patches: the probability that a patch was made otherwise, NaN where nothing was read.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from tools import weights
from tools.contract import Region
from tools.copies import Copy
from tools.signal import Plane

FLAT = 0.2
"""Mean absolute residual in grey levels under which a picture holds too little fine detail to compare."""
LEVEL = 90
"""Percent of held-out untouched photographs under the level from which on the tool leans to altered."""
COPY_MARK = 0.97
"""What the map shows on a part that occurs twice."""
_MOST_REGIONS = 3


@dataclass(frozen=True, slots=True)
class Fusion:
    """How the network's logit and matched key points make one, and the level from which it counts.

    Attributes:
        network, copies, size, bias: z = bias + network · logit + size · `octaves`, and `copies` where a part occurs
            twice: how much more often that is found in made edits than in photographs. More matches add nothing,
            because a few photographs hold the same thing twice, and then as many matches as one likes. The more
            patches a picture has, the higher its highest mark by chance, so that `size` is negative.
        high: z that LEVEL percent of held-out untouched photographs stay under.
        mark: Mark that 99 percent of their patches stay under.
    """

    network: float
    copies: float
    size: float
    bias: float
    high: float
    mark: float

    @classmethod
    def shipped(cls) -> Fusion:
        """As training wrote it beside the network."""
        return cls(*weights.load("splice")["levels"].astype(np.float64).tolist())

    def logit(self, network: float, matches: int, short_side: int) -> float:
        """The logit that a picture of `short_side` px was altered in part."""
        z = self.bias + self.network * network + self.size * octaves(short_side)
        return z + (self.copies if matches else 0.0)


def octaves(short_side: int) -> float:
    """log2 of the shorter side over 256 px; from 512 px on 1, since no larger picture was trained on."""
    return math.log2(min(short_side, 512) / 256)


def pasted_part(copy: Copy, marks: Plane, patch: int) -> bool:
    """Whether the second of two like parts is marked more by the network, so that it may be the copy."""
    first, second = (
        np.nanmean(marks[tuple((points[:, ::-1] // patch).astype(np.intp).T)]) for points in (copy.first, copy.second)
    )
    return bool(second >= first)


def with_copy(marks: Plane, copy: Copy, second: bool, patch: int) -> Plane:
    """The map with the patches about the matched points of one part marked."""
    points = copy.second if second else copy.first
    out = marks.copy()
    rows, columns = (points[:, ::-1] // patch).astype(np.intp).T
    out[rows, columns] = np.fmax(out[rows, columns], COPY_MARK)
    middle = np.median(points, axis=0)
    nearest = int(np.argmin(np.abs(points - middle).sum(axis=1)))
    out[rows[nearest], columns[nearest]] = 1.0
    return out


def drawn(marks: Plane) -> Plane:
    """Brightness of each patch for people: the mark with a third of its log-odds, black where nothing was read.

    Certain marks would all be white otherwise: in 8 bits, a mark of .998 and one of .99999 are the same.
    """
    kept = np.clip(np.nan_to_num(marks, nan=0.0).astype(np.float64), 1e-7, 1 - 1e-7)
    odds = np.cbrt(kept / (1 - kept))
    brightness: Plane = np.where(np.isfinite(marks), odds / (1 + odds), 0.0).astype(np.float32)
    return brightness


def regions(marks: Plane, level: float, patch: int, size: tuple[int, int]) -> list[tuple[Region, float]]:
    """Boxes about the strongest parts of the map above `level` that hang together, with the highest mark in each."""
    open_ = {(int(y), int(x)) for y, x in np.argwhere(np.nan_to_num(marks, nan=0.0) > level)}
    found: list[tuple[float, Region, float]] = []
    while open_:
        part, edge = [], [open_.pop()]
        while edge:
            y, x = edge.pop()
            part.append((y, x))
            for near in ((y + 1, x), (y - 1, x), (y, x + 1), (y, x - 1)):
                if near in open_:
                    open_.remove(near)
                    edge.append(near)
        if len(part) < 3:
            continue
        cells = np.array(part)
        values = marks[cells[:, 0], cells[:, 1]]
        (top, left), (bottom, right) = cells.min(axis=0) * patch, (cells.max(axis=0) + 1) * patch
        found.append((float(values.sum()), Region.from_pixels(left, top, right, bottom, size), float(values.max())))
    found.sort(key=lambda entry: -entry[0])
    return [(region, peak) for _, region, peak in found[:_MOST_REGIONS]]
