"""What the small diffusion model says of a tile: noise it predicts wrongly, and what DDIM inversion gives back.

Three readings, all with noise drawn by a seed:
- LaRE2 (Luo et al. 2024, arXiv 2403.17465): the squared error of the predicted noise at fixed levels;
- DIRE (Wang et al. 2023, arXiv 2303.09295): the picture inverted to noise by the deterministic ODE and brought back,
  |x - x'|;
- FakeInversion (Cazenavette et al. 2024, arXiv 2406.08603): how Gaussian the inverted noise is.
Importing this module imports torch.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt
import torch

from tools import weights
from tools.diffusion import Denoiser, denoiser
from tools.tiles import GRID, Look, Tile, covered, tiles

Array = npt.NDArray[np.float32]
TILE = 112
"""Side of a tile in pixels."""
NOISES = (0.08, 0.25)
"""Noise levels of the LaRE2 reading, pixels being in [-1, 1]."""
LADDER = (0.03, 0.12, 0.4)
"""Noise levels that the DDIM inversion climbs and descends."""
FLAT = 0.008
"""Root mean square of neighbouring differences, in [-1, 1] pixels, under which a tile is called flat (1 grey level)."""
_EPS = 1e-4
_BATCH = 4


@dataclass(frozen=True, slots=True)
class Reconstruction:
    """What the model says of one tile.

    Attributes:
        features: In the order of `NAMES`.
        error: side x side, mean absolute error of the reconstruction over channels, in grey levels.
    """

    features: Array
    error: Array


def contrast_of(rgb: npt.NDArray[np.uint8]) -> float:
    """Root mean square of neighbouring differences of HxWx3, pixels being in [-1, 1]."""
    values = rgb.astype(np.float32) / 127.5
    return float(np.sqrt((np.diff(values, axis=0) ** 2).mean() / 2 + (np.diff(values, axis=1) ** 2).mean() / 2))


@cache
def shipped() -> Denoiser:
    """The shipped model, built once a process.

    Raises:
        MissingWeightError, IntegrityError: as `tools.weights.load`.
    """
    return denoiser(weights.load("inverter"))


def _at(network: Denoiser, x: torch.Tensor, sigma: float) -> torch.Tensor:
    return network(x, torch.full((len(x),), sigma))


def inverted(network: Denoiser, clean: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """DDIM inversion up `LADDER` and back down.

    Returns:
        The noise direction at the first step, the inverted noise (unit variance for what the model takes for
        noise-free photographs) and the picture that comes back, each like `clean`.
    """
    least, middle, most = LADDER
    first = (clean - _at(network, clean, least)) / least
    x = clean + (middle - least) * first
    x = x + (most - middle) * (x - _at(network, x, middle)) / middle
    top = x
    x = x + (middle - most) * (x - _at(network, x, most)) / most
    x = x + (least - middle) * (x - _at(network, x, middle)) / middle
    return first, (top - clean) / most, x


def moments(values: torch.Tensor) -> list[torch.Tensor]:
    """Log root mean square, log peakedness and correlations of neighbours of Nx3xHxW, each N."""
    power = (values**2).mean(dim=(1, 2, 3))
    out = [0.5 * (power + _EPS**2).log(), (values.abs().mean(dim=(1, 2, 3)) / (power.sqrt() + _EPS) + _EPS).log()]
    for down, right in ((0, 1), (1, 0), (1, 1), (0, 2), (2, 0)):
        h, w = values.shape[2:]
        product = values[..., down:, right:] * values[..., : h - down, : w - right]
        out.append(product.mean(dim=(1, 2, 3)) / (power + _EPS**2))
    red, green, blue = values.unbind(dim=1)
    for one, other in ((red, green), (blue, green)):
        both = (one**2).mean(dim=(1, 2)) * (other**2).mean(dim=(1, 2))
        out.append((one * other).mean(dim=(1, 2)) / (both.sqrt() + _EPS**2))
    return out


MOMENTS = ("strength", "peak", "lag_0_1", "lag_1_0", "lag_1_1", "lag_0_2", "lag_2_0", "red_green", "blue_green")


def _spread(values: torch.Tensor) -> list[torch.Tensor]:
    """How unevenly the energy of Nx3xHxW lies over 14 px cells: log ratio of upper and of lower quartile to median."""
    cells = torch.nn.functional.avg_pool2d((values**2).mean(dim=1, keepdim=True), 14).flatten(1)
    low, middle, high = torch.quantile(cells + _EPS**2, torch.tensor([0.25, 0.5, 0.75]), dim=1)
    return [(high / middle).log(), (low / middle).log()]


def names() -> tuple[str, ...]:
    """What each feature is, in order."""
    out = []
    for sigma in NOISES:
        out += [f"noise_{sigma}/{m}" for m in MOMENTS] + [f"noise_{sigma}/spread_{q}" for q in ("high", "low")]
    for what in ("residual", "inverted", "returned"):
        out += [f"{what}/{m}" for m in MOMENTS] + [f"{what}/spread_{q}" for q in ("high", "low")]
    out += ["residual/to_texture", "returned/to_texture", "noise_0.08/to_texture", "noise_0.25/to_texture"]
    out += ["noise_0.08/along_residual", "noise_0.25/along_residual", "returned/along_residual"]
    return tuple(out)


NAMES = names()


def along(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """Correlation of two Nx3xHxW over everything but N."""
    return (a * b).mean(dim=(1, 2, 3)) / (((a**2).mean(dim=(1, 2, 3)) * (b**2).mean(dim=(1, 2, 3))).sqrt() + _EPS**2)


def _measured(network: Denoiser, batch: npt.NDArray[np.uint8], noises: list[torch.Tensor]) -> list[Reconstruction]:
    clean = torch.from_numpy(batch.astype(np.float32) / 127.5 - 1).permute(0, 3, 1, 2)
    contrast = torch.tensor([contrast_of(tile) for tile in batch])
    features: list[torch.Tensor] = []
    misses = []
    for sigma, noise in zip(NOISES, noises, strict=True):
        noisy = clean + sigma * noise
        misses.append((noisy - _at(network, noisy, sigma)) / sigma - noise)
        features += moments(misses[-1]) + _spread(misses[-1])
    first, top_noise, back = inverted(network, clean)
    returned = back - clean
    residual = first * LADDER[0]
    for reading in (residual, top_noise, returned):
        features += moments(reading) + _spread(reading)
    for reading in (residual, returned, *(m * s for m, s in zip(misses, NOISES, strict=True))):
        features.append(((reading**2).mean(dim=(1, 2, 3)).sqrt() / (contrast + _EPS) + _EPS).log())
    features += [along(misses[0], residual), along(misses[1], residual), along(returned, residual)]
    table = torch.stack(features, dim=1).numpy()
    error = (returned.abs().mean(dim=1) * 127.5).numpy()
    return [Reconstruction(table[row].copy(), error[row].copy()) for row in range(len(batch))]


def measure(
    network: Denoiser, rgb: npt.NDArray[np.uint8], chosen: list[Tile], side: int, seed: int
) -> list[Reconstruction]:
    """What `network` says of each tile of `side` px; the noise is drawn from `seed` and the same for every tile."""
    generator = torch.Generator().manual_seed(seed)
    noises = [torch.randn((1, 3, side, side), generator=generator) for _ in NOISES]
    out: list[Reconstruction] = []
    for start in range(0, len(chosen), _BATCH):
        batch = np.stack([rgb[top : top + side, left : left + side] for left, top in chosen[start : start + _BATCH]])
        with torch.inference_mode():
            out += _measured(network, batch, noises)
    return out


def look(network: Denoiser, rgb: npt.NDArray[np.uint8], most: int, seed: int) -> Look:
    """Measures at most `most` tiles that are not flat, walking the picture's tiles in an order drawn by `seed`.

    No more than four times `most` tiles are tried. A picture with a side under TILE is cut into smaller tiles.

    Raises:
        ValueError: if a side is shorter than 32 px.
    """
    height, width = rgb.shape[:2]
    side = min(TILE, min(width, height) // GRID * GRID)
    if side < 32:
        raise ValueError(f"a tile needs sides of at least 32 px, got {width}x{height}")
    every = tiles(width, height, side)
    order = np.random.default_rng(seed).permutation(len(every))[: 4 * most]
    tried: list[Tile] = []
    kept: list[tuple[Tile, float]] = []
    for index in order:
        left, top = every[index]
        tried.append((left, top))
        contrast = contrast_of(rgb[top : top + side, left : left + side])
        if contrast >= FLAT:
            kept.append(((left, top), contrast))
            if len(kept) == most:
                break
    kept.sort(key=lambda entry: (entry[0][1], entry[0][0]))
    judged = [place for place, _ in kept]
    found = measure(network, rgb, judged, side, seed)
    return Look(
        judged=judged,
        side=side,
        features=np.stack([f.features for f in found]) if found else np.zeros((0, len(NAMES)), dtype=np.float32),
        flat=len(tried) - len(kept),
        possible=len(every),
        coverage=covered(tried, side, width, height),
        contrast=[contrast for _, contrast in kept],
        maps=[f.error for f in found],
    )
