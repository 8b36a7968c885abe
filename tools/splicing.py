"""Compares each cell of a picture with the rest of it: the network and the tiling behind the tool `splice`.

`tools.consistency` measures 8x8 cells; the network `Comparer` reads them as they are and relative to the picture's
median, encodes them, sets each code against the mean and spread of all codes of the same picture, and marks 16x16 px
`PATCH`es that were made otherwise. A second map says how far the first is to be believed, trained to predict the
probability that it gives the truth, after TruFor (Guillaro et al. 2023, arXiv 2212.10957). A picture beyond the budget
is read in windows drawn by its hash; they share one median and one set of statistics. This module owns torch.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt
import torch
from torch import nn
from torch.nn import functional

from tools import consistency, weights
from tools.consistency import CELL
from tools.image import SourceImage
from tools.jpeg import JpegFile
from tools.signal import as_in_file, tile_grid

PATCH = 2 * CELL
"""Side in pixels of what the network marks."""
WINDOW = 512
"""Side of a window in pixels, where a picture is too large to be read whole."""
WHOLE = 24
"""Tiles up to which a picture is read whole, so that memory stays bounded."""
TILE_PIXELS = 65_536
"""Pixels of one tile as `Budget.max_tiles` counts them."""
Plane = npt.NDArray[np.float32]


class _Step(nn.Module):  # type: ignore[misc]
    """A 3x3 convolution over a widened neighbourhood, added to what came in."""

    def __init__(self, width: int, reach: int) -> None:
        super().__init__()
        self.mix = nn.Conv2d(width, width, 3, padding=reach, dilation=reach)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + torch.relu(self.mix(x))


class Comparer(nn.Module):  # type: ignore[misc]
    """Marks what was made otherwise than the rest.

    Args:
        features: Maps that go in.
        width: Channels inside.
    """

    def __init__(self, features: int = len(consistency.NAMES), width: int = 48) -> None:
        super().__init__()
        self.mean = nn.Parameter(torch.zeros(features), requires_grad=False)
        self.scale = nn.Parameter(torch.ones(features), requires_grad=False)
        self.enter = nn.Conv2d(2 * features, width, 1)
        self.near = nn.Conv2d(width, width, 3, padding=1)
        self.compare = nn.Conv2d(4 * width, width, 1)
        self.steps = nn.Sequential(*(_Step(width, reach) for reach in (1, 2, 4, 1)))
        self.mark = nn.Conv2d(width, 1, 1)
        self.trust = nn.Sequential(nn.Conv2d(width, 16, 1), nn.ReLU(), nn.Conv2d(16, 1, 1))
        self.differ = nn.Sequential(nn.Linear(width, 12), nn.ReLU(), nn.Linear(12, 1))
        self.judge = nn.Linear(6, 1)

    def standard(self, maps: torch.Tensor) -> torch.Tensor:
        """Maps in units of their spread in training, clipped."""
        return ((maps - self.mean[:, None, None]) / self.scale[:, None, None]).clamp(-6, 6)

    def encode(self, standard: torch.Tensor, median: torch.Tensor) -> torch.Tensor:
        """Codes of patches, NxDxrxc, from standardised maps NxFxRxC and their picture's medians, NxF or 1xF."""
        both = torch.cat([standard, standard - median[:, :, None, None]], dim=1)
        x = torch.relu(self.enter(both))
        x = x + torch.relu(self.near(x))
        return torch.cat(
            [functional.avg_pool2d(x, 2, ceil_mode=True), functional.max_pool2d(x, 2, ceil_mode=True)], dim=1
        )

    def decode(
        self, codes: torch.Tensor, mean: torch.Tensor, spread: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Logits (N x r x c), trust logits (the same) and embeddings (NxDxrxc) of codes, given their picture's."""
        apart = (codes - mean[:, :, None, None]) / (spread[:, :, None, None] + 0.05)
        x = torch.relu(self.compare(torch.cat([codes, apart], dim=1)))
        x = self.steps(x)
        return self.mark(x)[:, 0], self.trust(x.detach())[:, 0], x

    def picture(self, logits: torch.Tensor, embeddings: torch.Tensor) -> torch.Tensor:
        """The logit of a whole picture that it was altered in part, from all its patches: P and D x P."""
        weight = torch.softmax(logits, dim=0)
        apart = embeddings @ weight - embeddings.mean(dim=1)
        ordered = logits.sort(descending=True).values
        tops = [ordered[: max(1, math.ceil(len(ordered) * share))].mean() for share in (0.01, 0.05, 0.2)]
        figures = torch.stack([logits.max(), *tops, logits.mean(), logits.std(correction=0)])
        return self.judge(figures)[0] + self.differ(apart)[0]

    def forward(self, maps: torch.Tensor, median: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """For pictures of one size: logits and trust logits (N x r x c), and a logit for each picture (N).

        Args:
            maps: NxFxRxC, standardised.
            median: NxF, of each picture.
        """
        codes = self.encode(maps, median)
        mean, spread = codes.mean(dim=(2, 3)), codes.std(dim=(2, 3), correction=0)
        logits, trust, embeddings = self.decode(codes, mean, spread)
        smooth = functional.avg_pool2d(logits, 3, 1, 1, count_include_pad=False)
        verdicts = [self.picture(s.flatten(), e.flatten(1)) for s, e in zip(smooth, embeddings, strict=True)]
        return logits, trust, torch.stack(verdicts)


def restored(arrays: Mapping[str, npt.NDArray[np.generic]]) -> Comparer:
    """The network in a weight file, ready to be asked."""
    network = Comparer()
    network.load_state_dict({key: torch.from_numpy(value.astype(np.float32)) for key, value in arrays.items()})
    network.eval()
    return network


@dataclass(frozen=True, slots=True)
class Windows:
    """What of a picture is read, in the orientation of the file.

    Attributes:
        corners: Top and left of each window, multiples of PATCH.
        height, width: Of every window, in pixels, multiples of CELL.
        possible: Windows that would cover the picture.
    """

    corners: tuple[tuple[int, int], ...]
    height: int
    width: int
    possible: int


def windows(height: int, width: int, most: int, seed: int) -> Windows:
    """The whole picture as one window where it holds at most `WHOLE` tiles of 64 kilopixels, else windows over it.

    Where more windows would be needed than `most` tiles allow, a sample is drawn by `seed`.
    """
    held = min(most, WHOLE) * TILE_PIXELS
    if height * width <= held or min(height, width) < WINDOW:
        # A picture so slim that no window fits is cut to what may be read at once.
        longest = max(WINDOW, held // min(height, width))
        rows, columns = (min(side, longest) // CELL * CELL for side in (height, width))
        return Windows(((0, 0),), rows, columns, math.ceil(height * width / (rows * columns)))
    count = max(1, most * TILE_PIXELS // WINDOW**2)
    tiles = tile_grid(height, width, WINDOW, WINDOW, cap=count, seed=seed, align=PATCH)
    return Windows(tiles.corners, WINDOW, WINDOW, tiles.whole)


@dataclass(frozen=True, slots=True)
class Compared:
    """What the network says of one picture, in the orientation of the file.

    Attributes:
        logit: That it was altered in part.
        marks: rows x columns of PATCHes: probability that a patch was altered; NaN where it was not read.
        trust: The same shape: how far a mark is to be believed.
        apart: For each feature map its standardised distance from the picture's median over the marked patches.
        texture: Mean absolute residual of the cells that were read, in grey levels.
    """

    logit: float
    marks: Plane
    trust: Plane
    apart: dict[str, float]
    seen: Windows
    texture: float


def measured(image: SourceImage, most: int = 96) -> tuple[list[torch.Tensor], Windows]:
    """The maps of each window of a picture, and which windows those are."""
    pixels = as_in_file(image.rgb, image.orientation)
    seen = windows(pixels.shape[0], pixels.shape[1], most, image.seed)
    jpeg = JpegFile.read(image)
    table = jpeg.tables[0] if jpeg is not None and jpeg.tables else None
    tiles = [
        np.ascontiguousarray(pixels[top : top + seen.height, left : left + seen.width]) for top, left in seen.corners
    ]
    return consistency.measure(tiles, table), seen


def median_of(standard: list[torch.Tensor]) -> torch.Tensor:
    """1xF: the median of each standardised map over all windows of a picture, from at most 16 thousand cells."""
    flat = torch.cat([window.flatten(1) for window in standard], dim=1)
    step = max(1, flat.shape[1] // 16_384)
    return flat[:, ::step].median(dim=1).values[None]


def compare(network: Comparer, image: SourceImage, most: int) -> Compared:
    """Asks the network about a picture, reading at most `most` tiles of it."""
    maps, seen = measured(image, most)
    with torch.inference_mode():
        texture = float(torch.cat([torch.exp(window[6]).flatten() for window in maps]).mean())
        standard = [network.standard(window) for window in maps]
        median = median_of(standard)
        codes = [network.encode(window[None], median) for window in standard]
        flat = torch.cat([code.flatten(2) for code in codes], dim=2)
        mean, spread = flat.mean(dim=2), flat.std(dim=2, correction=0)
        answers = [network.decode(code, mean, spread) for code in codes]
        smooth = [functional.avg_pool2d(logits, 3, 1, 1, count_include_pad=False) for logits, _, _ in answers]
        logit = network.picture(
            torch.cat([s.flatten() for s in smooth]), torch.cat([e[0].flatten(1) for _, _, e in answers], dim=1)
        )
        height, width = as_in_file(image.rgb, image.orientation).shape[:2]
        shape = (math.ceil(height / PATCH), math.ceil(width / PATCH))
        marks, trust = np.full(shape, np.nan, np.float32), np.full(shape, np.nan, np.float32)
        for (top, left), soft, (_, believed, _) in zip(seen.corners, smooth, answers, strict=True):
            y, x = top // PATCH, left // PATCH
            rows, columns = soft.shape[1:]
            marks[y : y + rows, x : x + columns] = torch.sigmoid(soft[0]).numpy()
            trust[y : y + rows, x : x + columns] = torch.sigmoid(believed[0]).numpy()
        apart = _apart(standard, smooth, median)
    return Compared(float(logit), marks, trust, apart, seen, texture)


def _apart(standard: list[torch.Tensor], smooth: list[torch.Tensor], median: torch.Tensor) -> dict[str, float]:
    """Mean of each standardised map over the highest twentieth of patches, less the picture's median."""
    pooled = torch.cat([functional.avg_pool2d(s, 2, ceil_mode=True).flatten(1) for s in standard], dim=1)
    logits = torch.cat([s.flatten() for s in smooth])
    top = logits.topk(max(1, len(logits) // 20)).indices
    values = pooled[:, top].mean(dim=1) - median[0]
    return dict(zip(consistency.NAMES, values.tolist(), strict=True))


def cells_of(mask: npt.NDArray[np.bool_]) -> Plane:
    """The share of each whole cell that lies inside an HxW mask."""
    rows, columns = (side // CELL for side in mask.shape)
    cut = mask[: rows * CELL, : columns * CELL].reshape(rows, CELL, columns, CELL)
    share: Plane = cut.mean(axis=(1, 3), dtype=np.float32)
    return share


@lru_cache(maxsize=1)
def shipped() -> Comparer:
    """The network that is shipped, loaded once a process."""
    return restored({name: array for name, array in weights.load("splice").items() if name != "levels"})
