"""Re-shared copies of training rows: what one or two platforms do to a picture that is passed on.

A head and a calibration that met only files saved once do not know how a score moves when a picture is shrunk,
sharpened and saved again. Each training row therefore has a re-shared copy beside it. What happens to it is drawn from
its own seed by one distribution for both classes, and alike for both sides of an aligned pair. The distribution is wide
on purpose and was written down before it was tried: it is not the `social` of `evals.perturb`, which measures.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from PIL import Image, ImageFilter

from evals.datasets import Item
from evals.perturb import Chain, Pixels, decode, jpeg, png, seed_of
from finetune.examples import MATCHED, SHRUNK_FROM, SMALL, Example, saved_with
from finetune.twins import SIDE, Twin

ROOM = 320
"""Largest square that a copy of a picture of train/ is shrunk from: nearly every one holds it, so that how far it can
be shrunk tells nothing of its class."""
_FILTERS = (Image.Resampling.LANCZOS,) * 3 + (Image.Resampling.BICUBIC, Image.Resampling.BILINEAR)
"""Most services shrink with Lanczos' filter, so that it is drawn three times in five."""
LOSSLESS = 100
"""Stands for the quality of a PNG."""
Touch = Literal["none", "sharpen", "blur", "noise"]


@dataclass(frozen=True, slots=True)
class Platform:
    """What one platform does: shrink, retouch, save.

    Attributes:
        scale: Output side over input side, at most 1.
        resampling: By which it is shrunk.
        touch: What is done next.
        radius: In pixels, of an unsharp mask or a blur.
        amount: Percent of an unsharp mask, or standard deviation of noise in grey levels.
        quality: JPEG quality it is saved at; LOSSLESS for a PNG.
    """

    scale: float
    resampling: Image.Resampling
    touch: Touch
    radius: float
    amount: float
    quality: int


@dataclass(frozen=True, slots=True)
class Resharing:
    """One draw of what happens to a picture.

    Attributes:
        side: Of the square that comes out, in pixels.
        seed: Of the noise.
        platforms: One or two, in order.
    """

    side: int
    seed: int
    platforms: tuple[Platform, ...]

    @classmethod
    def draw(cls, side: int, room: int, seed: int) -> Resharing:
        """One or two platforms that make a square of `side` px of one of at most `room` px.

        Each shrinks by .6-.95 in two cases of three (less where `room` does not allow for it), then sharpens (two in
        five: radius .6-1.5, up to 150 %), blurs (.3-.8 px), adds noise (up to 5 grey levels) or does nothing, and
        saves: the first of two at quality 60 to 90, the last at 70 to 92 or, one in four, as PNG.
        """
        rng = np.random.default_rng([seed, 11])
        count = int(rng.integers(1, 3))
        scales = [float(rng.uniform(0.6, 0.95)) if rng.random() < 2 / 3 else 1.0 for _ in range(count)]
        total, least = math.prod(scales), side / room
        power = math.log(least) / math.log(total) if total < least else 1.0
        made = []
        for number, scale in enumerate(scales):
            touch: Touch = ("none", "sharpen", "sharpen", "blur", "noise")[int(rng.integers(5))]
            radius = float(rng.uniform(0.3, 0.8) if touch == "blur" else rng.uniform(0.6, 1.5))
            amount = float(rng.uniform(0, 5) if touch == "noise" else rng.uniform(0, 150))
            quality = int(rng.integers(70, 93) if number == count - 1 else rng.integers(60, 91))
            if number == count - 1 and rng.random() < 1 / 4:
                quality = LOSSLESS
            made.append(Platform(scale**power, _FILTERS[int(rng.integers(5))], touch, radius, amount, quality))
        return cls(side, seed, tuple(made))

    @property
    def enters(self) -> int:
        """Side of the square that it takes, in pixels."""
        return round(self.side / math.prod(platform.scale for platform in self.platforms))

    @property
    def quality(self) -> int:
        """JPEG quality of the file that comes out; LOSSLESS for a PNG."""
        return self.platforms[-1].quality

    def apply(self, rgb: Pixels) -> bytes:
        """The file that comes out, of a square of `enters` px."""
        data = b""
        for number, platform in enumerate(self.platforms):
            last = number == len(self.platforms) - 1
            side = self.side if last else round(rgb.shape[0] * platform.scale)
            picture = Image.fromarray(rgb)
            if side != rgb.shape[0]:
                picture = picture.resize((side, side), platform.resampling)
            if platform.touch == "sharpen":
                picture = picture.filter(ImageFilter.UnsharpMask(platform.radius, round(platform.amount), threshold=2))
            elif platform.touch == "blur":
                picture = picture.filter(ImageFilter.GaussianBlur(platform.radius))
            rgb = np.asarray(picture)
            if platform.touch == "noise":
                noise = np.random.default_rng([self.seed, 12, number]).normal(0.0, platform.amount, rgb.shape)
                rgb = np.rint(np.clip(rgb + noise, 0, 255)).astype(np.uint8)
            data = png(rgb) if platform.quality == LOSSLESS else jpeg(rgb, platform.quality)
            rgb = decode(data)
        return data


def _first(resharing: Resharing) -> Chain:
    """The chain that a picture meets before it is passed on. It does not shrink: that is left to the platforms."""
    return replace(MATCHED, side=resharing.enters, scales=(1.0, MATCHED.scales[1]))


def matched_reshared(
    items: list[Item], draws: int, histories: list[dict[int, list[int]]], small: bool = False
) -> Iterator[Example]:
    """A re-shared copy of each row that `examples.matched`, or with `small` `examples.matched_small`, makes.

    Args:
        items: The pictures.
        draws: Copies of each.
        histories: As in `examples.matched`.
        small: Whether the copies are small views.
    """
    least, room = (SHRUNK_FROM, SHRUNK_FROM) if small else (MATCHED.side, ROOM)
    for item in items:
        rgb = item.pixels()
        if min(rgb.shape[:2]) // item.panes < least:
            continue
        for draw in range(draws):
            seed = seed_of(f"{item.id}/{'small' if small else MATCHED.side}/reshared", draw)
            pixels = rgb
            if item.label == "real" and (draw if draws > 1 else seed) % 2:
                pixels = saved_with(rgb, histories[seed % len(histories)])
            resharing = Resharing.draw(_side(seed, small), room, seed)
            data, _ = _first(resharing)(pixels, seed, item.panes)
            yield Example(
                item, "matched", item.label, item.generator, draw, resharing.quality, resharing.side,
                resharing.apply(decode(data)), reshared=True,
            )  # fmt: skip


def aligned_reshared(twins: list[Twin], small: bool = False) -> Iterator[Example]:
    """A re-shared copy of both sides of each twin, by one and the same draw; with `small` as small views."""
    for twin in twins:
        seed = seed_of(f"{twin.item.id}/{'small' if small else MATCHED.side}/reshared", 2000 + twin.number)
        resharing = Resharing.draw(_side(seed, small), SIDE, seed)
        passage = _first(resharing).draw(twin.photograph.shape[1::-1], seed)
        sides = [resharing.apply(decode(passage.apply(rgb))) for rgb in (twin.photograph, twin.passage)]
        example = Example(
            twin.item, "aligned", "real", "", twin.number, resharing.quality, resharing.side, sides[0], reshared=True
        )
        yield example
        yield replace(example, label="generated", generator="taef2", data=sides[1])


def _side(seed: int, small: bool) -> int:
    return int(np.random.default_rng([seed, 13]).choice(SMALL)) if small else MATCHED.side
