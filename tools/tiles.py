"""Tiles at native size, the linear heads that judge them, and the evidence that detectors make of it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
import numpy.typing as npt

from tools.contract import Evidence, Number, Region, Tool

GRID = 8
"""Tiles begin at multiples of this, so that a JPEG's blocks lie in every tile as they lay in training."""
Tile = tuple[int, int]
"""Left and top of a tile, in pixels."""


def tiles(width: int, height: int, side: int) -> list[Tile]:
    """Tiles of `side` px that cover a picture, row by row; neighbours overlap where the side does not divide it.

    Raises:
        ValueError: if the picture is smaller than one tile.
    """
    if min(width, height) < side:
        raise ValueError(f"a {width}x{height} picture holds no tile of {side} px")

    def starts(whole: int) -> list[int]:
        count = math.ceil(whole / side)
        step = (whole - side) / max(count - 1, 1)
        return [int(step * i) // GRID * GRID for i in range(count)]

    return [(left, top) for top in starts(height) for left in starts(width)]


def sample(every: list[Tile], most: int, seed: int) -> list[Tile]:
    """At most `most` of the tiles, drawn by `seed` and kept in order."""
    if len(every) <= most:
        return every
    chosen = np.random.default_rng(seed).choice(len(every), size=most, replace=False)
    return [every[i] for i in sorted(chosen)]


def covered(chosen: list[Tile], side: int, width: int, height: int) -> float:
    """Share of the picture's area that lies in at least one of the tiles, on a grid of GRID px."""
    hit = np.zeros((math.ceil(height / GRID), math.ceil(width / GRID)), dtype=bool)
    for left, top in chosen:
        hit[top // GRID : (top + side) // GRID, left // GRID : (left + side) // GRID] = True
    return float(hit.mean())


@dataclass(frozen=True, slots=True)
class Look:
    """What was looked at in one picture.

    Attributes:
        judged: Tiles that held enough texture to be judged.
        side: Their side in pixels.
        features: One row a judged tile.
        flat: Tiles that were looked at and held too little.
        possible: Tiles that the whole picture holds.
        coverage: Share of the picture's area in tiles that were looked at, flat ones included.
        maps: For each judged tile what a tool wants to draw of it; may be empty.
        contrast: For each judged tile its contrast, in the unit of the tool.
    """

    judged: list[Tile]
    side: int
    features: npt.NDArray[np.float32]
    flat: int
    possible: int
    coverage: float
    contrast: list[float]
    maps: list[npt.NDArray[np.float32]]


def canvas(
    judged: list[Tile], values: Sequence[npt.NDArray[np.float32] | float], side: int, size: tuple[int, int]
) -> npt.NDArray[np.float64]:
    """A small map of per-tile values, at most 256 px a side; where tiles overlap, their mean; NaN outside them.

    Args:
        judged: The tiles.
        values: One number or one side x side array a tile.
        side: Of the tiles, in pixels.
        size: Width and height of the picture in pixels.
    """
    width, height = size
    step = max(GRID, math.ceil(max(width, height) / 256))
    shape = (math.ceil(height / step), math.ceil(width / step))
    total, count = np.zeros(shape), np.zeros(shape)
    rows, columns = np.arange(shape[0]) * step, np.arange(shape[1]) * step
    for (left, top), value in zip(judged, values, strict=True):
        inside_rows = np.flatnonzero((rows + step > top) & (rows < top + side))
        inside_columns = np.flatnonzero((columns + step > left) & (columns < left + side))
        where = np.ix_(inside_rows, inside_columns)
        if isinstance(value, np.ndarray):
            y = np.clip(rows[inside_rows] - top, 0, side - 1)
            x = np.clip(columns[inside_columns] - left, 0, side - 1)
            near = min(step, side)
            coarse = [[value[b : b + near, a : a + near].mean() for a in x] for b in y]
            total[where] += np.array(coarse)
        else:
            total[where] += value
        count[where] += 1
    means = np.full(shape, np.nan)
    np.divide(total, count, out=means, where=count > 0)
    return means


@dataclass(frozen=True, slots=True)
class Head:
    """A logistic head over standardised features.

    Attributes:
        mean, scale, weight: One value a feature.
        bias: The logit of an average tile.
        low: Mean logit that LEVEL percent of held-out generated pictures lay above; below it a tool leans to
            photographs.
        high: Mean logit that LEVEL percent of held-out photographs lay below; above it a tool leans to generated.
    """

    mean: npt.NDArray[np.float64]
    scale: npt.NDArray[np.float64]
    weight: npt.NDArray[np.float64]
    bias: float
    low: float
    high: float

    LEVEL: ClassVar[int] = 90
    """Percent that `low` and `high` stand for."""
    CLIP: ClassVar[float] = 4.0
    """Standard deviations beyond which a feature counts no further, so that one odd value cannot decide."""

    @classmethod
    def of(cls, arrays: Mapping[str, npt.NDArray[np.generic]]) -> Head:
        """The head in a weight file with the arrays `mean`, `scale`, `weight` and `levels` (bias, low, high)."""
        mean, scale, weight = (arrays[name].astype(np.float64) for name in ("mean", "scale", "weight"))
        bias, low, high = arrays["levels"].astype(np.float64).tolist()
        return cls(mean, scale, weight, bias, low, high)

    def leaning(self, mean: float) -> Literal["generated", "camera", "neutral"]:
        """What the mean logit of a picture's tiles speaks for."""
        return "generated" if mean >= self.high else "camera" if mean <= self.low else "neutral"

    def suspects(self, logits: npt.NDArray[np.float64], most: int) -> list[int]:
        """At most `most` tiles of a picture that leans to generated: those that stand out upwards, highest first."""
        if self.leaning(float(logits.mean())) != "generated":
            return []
        line = max(self.high, float(logits.mean() + logits.std()))
        return [int(i) for i in np.argsort(-logits, kind="stable")[:most] if logits[i] > line]

    def parts(self, features: npt.NDArray[np.floating]) -> npt.NDArray[np.float64]:
        """NxF: what each of NxF features adds to the logit of its tile."""
        standard = np.clip((features - self.mean) / self.scale, -self.CLIP, self.CLIP)
        parts: npt.NDArray[np.float64] = standard * self.weight
        return parts

    def logits(self, features: npt.NDArray[np.floating]) -> npt.NDArray[np.float64]:
        """One logit for each of N tiles."""
        logits: npt.NDArray[np.float64] = self.parts(features).sum(axis=1) + self.bias
        return logits


def sigmoid(logit: float) -> float:
    """The logistic function, without overflow."""
    return 1 / (1 + math.exp(-logit)) if logit >= 0 else math.exp(logit) / (1 + math.exp(logit))


@dataclass(frozen=True, slots=True)
class Judged:
    """What a head makes of the tiles of one picture, as every detector of tiles tells it.

    Attributes:
        head: Judges them.
        seen: The tiles; at least one was judged.
        size: Width and height of the picture in pixels.
        logits: One a judged tile.
        mean: Of the logits.
        score: The mean logit as a number in [0, 1].
        scores: The same of each tile.
    """

    head: Head
    seen: Look
    size: tuple[int, int]
    logits: npt.NDArray[np.float64]
    mean: float
    score: float
    scores: list[float]

    @classmethod
    def of(cls, head: Head, seen: Look, size: tuple[int, int]) -> Judged:
        """Asks `head` about the tiles that were seen in a picture of `size`."""
        logits = head.logits(seen.features)
        mean = float(logits.mean())
        return cls(head, seen, size, logits, mean, round(sigmoid(mean), 6), [sigmoid(float(logit)) for logit in logits])

    @property
    def leaning(self) -> Literal["generated", "camera", "neutral"]:
        """What the mean logit speaks for."""
        return self.head.leaning(self.mean)

    @property
    def above(self) -> int:
        """Tiles at or above the level that most held-out photographs lay below."""
        return int((self.logits >= self.head.high).sum())

    @property
    def tile_map(self) -> npt.NDArray[np.float64]:
        """The scores where their tiles lie, as `canvas`; 0 outside them."""
        return np.nan_to_num(canvas(self.seen.judged, self.scores, self.seen.side, self.size), nan=0.0)

    def suspects(self, most: int) -> list[int]:
        """As `Head.suspects`."""
        return self.head.suspects(self.logits, most)

    def place(self, tile: int) -> Region:
        """Where a judged tile lies."""
        left, top = self.seen.judged[tile]
        return Region.from_pixels(left, top, left + self.seen.side, top + self.seen.side, self.size)

    def smaller(self, meant: int) -> list[str]:
        """The limit that is told where tiles are smaller than the `meant` px; empty where they are not."""
        if self.seen.side >= meant:
            return []
        return [f"The picture is small: tiles of {self.seen.side} px were read where {meant} px are meant."]

    def evidence(self, tool: Tool, *, meant: int, measurements: Mapping[str, Number], **fields: object) -> Evidence:
        """Evidence in the name of `tool`, with what every detector of tiles measures.

        Args:
            tool: Whose evidence it is.
            meant: Side in pixels that tiles are meant to have; smaller ones lower the applicability by their area.
            measurements: Of the tool's own.
            fields: Further fields of `Evidence`.
        """
        judged, flat = len(self.scores), self.seen.flat
        return tool.evidence(
            score=self.score,
            measurements={
                "mean_log_odds": round(self.mean, 4),
                "tiles_judged": judged,
                "tiles_flat": flat,
                "tiles_possible": self.seen.possible,
                "tile_side_px": self.seen.side,
                "coverage": round(self.seen.coverage, 4),
                "spread_log_odds": round(float(self.logits.std()), 4),
            }
            | dict(measurements),
            applicability=round((self.seen.side / meant) ** 2 * judged / (judged + flat), 4),
            **fields,
        )
