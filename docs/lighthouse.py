"""Draws the picture of the README's example: a lighthouse, with a generator's recipe written into the file.

    python docs/lighthouse.py lighthouse.png

The picture is drawn by arithmetic and no model ever touched it. What the file says of itself is made up, so that the
example shows what Exposit makes of a statement that anybody can write.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFilter
from PIL.PngImagePlugin import PngInfo

WIDTH, HEIGHT, HORIZON = 960, 720, 490
RECIPE = (
    "a lighthouse at dusk, waves, volumetric light\nNegative prompt: blurry, text\n"
    "Steps: 30, Sampler: DPM++ 2M Karras, CFG scale: 6, Seed: 1066, Size: 960x720, Model: sd_xl_base_1.0"
)


def clouds(rng: np.random.Generator, stretch: float) -> npt.NDArray[np.float64]:
    """Noise whose amplitude falls as 1/f, drawn out sideways; mean 0, standard deviation 1."""
    down, across = np.fft.fftfreq(HEIGHT)[:, None] * stretch, np.fft.rfftfreq(WIDTH)[None, :]
    frequency = np.hypot(down, across)
    frequency[0, 0] = 1
    spectrum = (rng.normal(size=frequency.shape) + 1j * rng.normal(size=frequency.shape)) / frequency**1.6
    plane = np.fft.irfft2(spectrum, s=(HEIGHT, WIDTH))
    return np.asarray((plane - plane.mean()) / plane.std())


def drawn(seed: int = 1066) -> Image.Image:
    """The picture."""
    rng = np.random.default_rng(seed)
    down = np.linspace(0, 1, HEIGHT)[:, None, None]
    high, low = np.array([52, 78, 118]), np.array([232, 160, 92])
    sky = high + (low - high) * np.clip(down * HEIGHT / HORIZON, 0, 1) ** 1.8 + 14 * clouds(rng, 0.35)[:, :, None]
    sea = np.array([26, 48, 74]) + 12 * clouds(rng, 0.12)[:, :, None]
    rows = np.arange(HEIGHT)[:, None, None]
    sea = sea + 7 * np.sin(rows**1.35 / 7) * np.array([0.8, 1.0, 1.1])
    base = Image.fromarray(np.where(rows < HORIZON, sky, sea).clip(0, 255).astype(np.uint8))
    large = base.resize((2 * WIDTH, 2 * HEIGHT), Image.Resampling.BICUBIC)
    draw = ImageDraw.Draw(large)
    draw.polygon(
        [(0, 1160), (130, 1080), (330, 1050), (520, 1110), (760, 1300), (880, 1440), (0, 1440)], fill="#1d1a1b"
    )
    for band in range(8):  # the tower narrows upwards
        top, bottom = 250 + band * 102, 250 + (band + 1) * 102
        wide, wider = 50 + band * 5, 50 + (band + 1) * 5
        shape = [(380 - wide / 2, top), (380 + wide / 2, top), (380 + wider / 2, bottom), (380 - wider / 2, bottom)]
        draw.polygon(shape, fill="#b6423f" if band % 2 else "#ece4d6")
    draw.rectangle((346, 236, 414, 252), fill="#2a2a30")
    draw.rectangle((358, 190, 402, 236), fill="#ffe7a3")
    draw.polygon([(350, 190), (410, 190), (380, 150)], fill="#7c2d2c")
    picture = np.asarray(large.resize((WIDTH, HEIGHT), Image.Resampling.LANCZOS).filter(ImageFilter.GaussianBlur(0.4)))
    grain = rng.normal(0, 3.0, picture.shape)
    return Image.fromarray((picture + grain).clip(0, 255).astype(np.uint8))


def main() -> None:
    """Writes the file."""
    said = PngInfo()
    said.add_text("parameters", RECIPE)
    drawn().save(Path(sys.argv[1] if len(sys.argv) > 1 else "lighthouse.png"), pnginfo=said)


if __name__ == "__main__":
    main()
