"""Masks of regions: free shapes drawn from a seed, regions grown by colour, and segments of panoptic masks.

Masks are HxW booleans, true inside the region. Nothing here is a model of objects: free shapes are blobs, ellipses
and polygons; a grown region follows the edges of the picture only as far as its colours do.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFilter

Mask = npt.NDArray[np.bool_]
Soft = npt.NDArray[np.float32]
Pixels = npt.NDArray[np.uint8]
SHARES = (0.015, 0.30)
"""Least and greatest share of the picture that a region takes."""


def fits(mask: Mask) -> bool:
    """Whether the region's share of the picture lies inside `SHARES`."""
    return SHARES[0] <= float(mask.mean()) <= SHARES[1]


def softened(mask: Mask, radius: float) -> Soft:
    """The mask as weights in [0, 1], its edge a Gaussian ramp of `radius` px; 0 keeps it hard."""
    if radius <= 0:
        return mask.astype(np.float32)
    grey = Image.fromarray(mask.astype(np.uint8) * 255).filter(ImageFilter.GaussianBlur(radius))
    return np.asarray(grey, dtype=np.float32) / np.float32(255)


def grown(mask: Mask, by: int) -> Mask:
    """The mask dilated by a square of `by` px in every direction."""
    return np.asarray(Image.fromarray(mask.astype(np.uint8) * 255).filter(ImageFilter.MaxFilter(2 * by + 1))) > 127


def free_shape(size: tuple[int, int], rng: np.random.Generator) -> Mask:
    """A blob, an ellipse or a polygon in `size` (height, width), its share of it log-uniform inside `SHARES`."""
    height, width = size
    share = float(np.exp(rng.uniform(np.log(SHARES[0] * 1.3), np.log(SHARES[1] * 0.8))))
    side = np.sqrt(share * height * width)
    stretch = float(np.exp(rng.uniform(-0.6, 0.6)))
    half_y, half_x = min(side * stretch * 0.62, height * 0.48), min(side / stretch * 0.62, width * 0.48)
    y0, x0 = rng.uniform(half_y, height - half_y), rng.uniform(half_x, width - half_x)
    turn = rng.uniform(0, np.pi)
    angles = np.linspace(0, 2 * np.pi, int(rng.choice([5, 8, 40])), endpoint=False) + turn
    radius = np.ones_like(angles)
    if len(angles) < 40:  # a polygon
        radius = rng.uniform(0.75, 1.3, len(angles))
    elif rng.random() < 0.7:  # a blob: a few harmonics
        for k in range(2, 6):
            radius += rng.normal(0, 0.35 / k) * np.cos(k * angles + rng.uniform(0, 2 * np.pi))
        radius = np.clip(radius, 0.4, 1.6)
    outline = [
        (float(x0 + half_x * r * np.cos(a)), float(y0 + half_y * r * np.sin(a)))
        for a, r in zip(angles, radius, strict=True)
    ]
    canvas = Image.new("L", (width, height))
    ImageDraw.Draw(canvas).polygon(outline, fill=255)
    return np.asarray(canvas) > 127


def grown_by_colour(rgb: Pixels, rng: np.random.Generator) -> Mask | None:
    """A region around a random point whose blurred colours are like the point's; None where none fits `SHARES`."""
    height, width = rgb.shape[:2]
    step = max(1, round(max(height, width) / 96))
    small = Image.fromarray(rgb).filter(ImageFilter.GaussianBlur(step)).resize((width // step, height // step))
    colours = np.asarray(small, dtype=np.float32)
    for _ in range(4):
        y, x = int(rng.integers(colours.shape[0])), int(rng.integers(colours.shape[1]))
        near = np.abs(colours - colours[y, x]).max(axis=2) < rng.uniform(18, 45)
        # Flooding from the point keeps the part of `near` that hangs together with it.
        canvas = Image.fromarray(near.astype(np.uint8) * 127).copy()  # a view of numpy's memory would stay as it is
        ImageDraw.floodfill(canvas, (x, y), 255)
        part = Image.fromarray((np.asarray(canvas) == 255).astype(np.uint8) * 255)
        part = part.resize((width, height)).filter(ImageFilter.GaussianBlur(1.5 * step))
        mask = np.asarray(part) > 127
        if fits(mask):
            return mask
    return None


def segments(panoptic: Path) -> list[Mask]:
    """The segments of a panoptic mask file (24-bit ids as R, G, B) that fit `SHARES`, largest first."""
    with Image.open(panoptic) as file:
        coded = np.asarray(file.convert("RGB")).astype(np.int64)
    ids = coded[..., 0] + 256 * coded[..., 1] + 65536 * coded[..., 2]
    names, counts = np.unique(ids, return_counts=True)
    order = sorted((-int(n), int(name)) for name, n in zip(names, counts, strict=True) if name)
    return [mask for mask in (ids == name for _, name in order) if fits(mask)]
