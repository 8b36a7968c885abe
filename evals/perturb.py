"""What is done to pictures before they are judged: the format-matching chain, and named perturbations.

The labels of the shared data can be read off file format and size (its README says how). `Chain` takes that away:
every picture, whatever its label, goes through one distribution of native crop, rescale and JPEG, and leaves with one
fixed size. Everything is drawn from a seed made of the item's id and the number of the draw.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageFilter

Pixels = npt.NDArray[np.uint8]
SUBSAMPLING_420 = 2
"""Pillow's name for 4:2:0."""


def seed_of(name: str, draw: int = 0) -> int:
    """A 64-bit seed for the `draw`-th draw on the item `name`."""
    return int.from_bytes(hashlib.sha256(f"{name}#{draw}".encode()).digest()[:8], "big")


def jpeg(rgb: Pixels, quality: int) -> bytes:
    """`rgb` as a JPEG with 4:2:0 chroma."""
    buffer = io.BytesIO()
    Image.fromarray(rgb).save(buffer, "JPEG", quality=quality, subsampling=SUBSAMPLING_420)
    return buffer.getvalue()


def decode(data: bytes) -> Pixels:
    """HxWx3 pixels of an encoded RGB picture that this module made."""
    with Image.open(io.BytesIO(data)) as file:
        return np.asarray(file.convert("RGB"))


@dataclass(frozen=True, slots=True)
class Passage:
    """One draw of the chain for a picture of a given size: where it is cropped, and how it is saved.

    Attributes:
        left, top, crop: The square that is cut out, in pixels of the picture.
        side: Its side once rescaled.
        quality: JPEG quality it is saved at.
    """

    left: int
    top: int
    crop: int
    side: int
    quality: int

    def apply(self, rgb: Pixels) -> bytes:
        """The JPEG that leaves the chain."""
        square = rgb[self.top : self.top + self.crop, self.left : self.left + self.crop]
        if self.crop != self.side:
            square = np.asarray(Image.fromarray(square).resize((self.side, self.side), Image.Resampling.LANCZOS))
        return jpeg(np.ascontiguousarray(square), self.quality)


@dataclass(frozen=True, slots=True)
class Chain:
    """The format-matching chain: native crop, optional rescale, JPEG, one fixed output size.

    Attributes:
        side: Side of every output, in pixels. The shortest side in the shared data is 250, so that 224 leaves room to
            shrink by 0.875 almost everywhere.
        rescaled: Share of draws that are rescaled.
        scales: Range of the rescale factor, output over input.
        qualities: Range of the JPEG quality, both ends included.
    """

    side: int = 224
    rescaled: float = 0.5
    scales: tuple[float, float] = (0.875, 1.25)
    qualities: tuple[int, int] = (70, 95)

    def draw(self, size: tuple[int, int], seed: int, panes: int = 1) -> Passage:
        """One passage for a picture of `size` (width, height).

        The random numbers do not depend on the size. A picture too small for the crop that was drawn gives its largest
        square instead.

        Args:
            size: Of the file, in pixels.
            seed: As `seed_of` makes it.
            panes: Pictures a side that the file holds; the crop stays inside one of them.
        """
        width, height = size[0] // panes, size[1] // panes
        turn, where_scale, x, y, which_x, which_y = np.random.default_rng([seed, 1]).random(6)
        quality = int(np.random.default_rng([seed, 2]).integers(self.qualities[0], self.qualities[1] + 1))
        scale = self.scales[0] + where_scale * (self.scales[1] - self.scales[0]) if turn < self.rescaled else 1.0
        crop = min(round(self.side / scale), width, height)
        left = int(x * (width - crop + 1)) + int(which_x * panes) * width
        top = int(y * (height - crop + 1)) + int(which_y * panes) * height
        return Passage(left=left, top=top, crop=crop, side=self.side, quality=quality)

    def __call__(self, rgb: Pixels, seed: int, panes: int = 1) -> tuple[bytes, Passage]:
        """A picture sent through the chain, and the draw it met."""
        passage = self.draw((rgb.shape[1], rgb.shape[0]), seed, panes)
        return passage.apply(rgb), passage


def png(rgb: Pixels) -> bytes:
    """`rgb` as a PNG."""
    buffer = io.BytesIO()
    Image.fromarray(rgb).save(buffer, "PNG")
    return buffer.getvalue()


def _resized(rgb: Pixels, factor: float, how: Image.Resampling = Image.Resampling.BICUBIC) -> Pixels:
    height, width = rgb.shape[:2]
    return np.asarray(Image.fromarray(rgb).resize((max(1, round(width * factor)), max(1, round(height * factor))), how))


def _saved(quality: int) -> Callable[[Pixels, int], bytes]:
    return lambda rgb, seed: jpeg(rgb, quality)


def _blur(rgb: Pixels, seed: int) -> bytes:
    return png(np.asarray(Image.fromarray(rgb).filter(ImageFilter.GaussianBlur(1.0))))


def _noise(rgb: Pixels, seed: int) -> bytes:
    noisy = rgb + np.random.default_rng(seed).normal(0.0, 4.0, rgb.shape)
    return png(np.rint(np.clip(noisy, 0, 255)).astype(np.uint8))


def _webp(rgb: Pixels, seed: int) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(rgb).save(buffer, "WEBP", quality=60)
    return buffer.getvalue()


def _screenshot(rgb: Pixels, seed: int) -> bytes:
    """Shown at a size that is not its own and captured: bilinear by 0.8-1.2, gamma rounding, lossless."""
    factor = float(np.random.default_rng(seed).uniform(0.8, 1.2))
    shown = _resized(rgb, factor, Image.Resampling.BILINEAR)
    lut = np.rint(255 * (np.arange(256) / 255) ** 0.97).astype(np.uint8)
    return png(lut[shown])


def _social(rgb: Pixels, seed: int) -> bytes:
    """Two platforms one after the other: shrunk and saved at 80, then sharpened a little and saved at 72."""
    first = decode(jpeg(_resized(rgb, 0.8, Image.Resampling.LANCZOS), 80))
    sharper = Image.fromarray(first).filter(ImageFilter.UnsharpMask(radius=1.0, percent=40, threshold=2))
    return jpeg(np.asarray(sharper), 72)


PERTURBATIONS: dict[str, Callable[[Pixels, int], bytes]] = {
    "jpeg90": _saved(90),
    "jpeg70": _saved(70),
    "jpeg50": _saved(50),
    "half": lambda rgb, seed: png(_resized(rgb, 0.5)),
    "x1.5": lambda rgb, seed: png(_resized(rgb, 1.5)),
    "blur": _blur,
    "noise": _noise,
    "webp60": _webp,
    "screenshot": _screenshot,
    "social": _social,
}
"""By name: what is done to pixels, giving the bytes of a file. Where no lossy format is meant, the file is PNG."""


def perturb(rgb: Pixels, names: tuple[str, ...], seed: int) -> bytes:
    """`rgb` through the perturbations `names`, one after the other; the last one's file.

    Raises:
        KeyError: for a name that is not in `PERTURBATIONS`.
    """
    if not names:
        raise ValueError("perturb needs at least one name of PERTURBATIONS")
    data = b""
    for number, name in enumerate(names):
        data = PERTURBATIONS[name](decode(data) if data else rgb, seed + number)
    return data
