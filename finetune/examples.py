"""The pictures that heads are fitted and measured on, each sent through the format-matching chain."""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from PIL import Image

from evals.datasets import Item, Label
from evals.perturb import Chain, Pixels, decode, jpeg, seed_of
from finetune.twins import Twin

MATCHED = Chain()
LARGER = Chain(side=320, rescaled=0.0)
"""A larger crop, of several tiles, for pictures that hold one."""
SMALL = tuple(range(128, 216, 8))
"""Sides of small views, in pixels: under one tile of `semantic`, which mirrors what it lacks."""
SHRUNK_FROM = 256
"""Largest square that a small view is shrunk from: the side of a twin."""


@dataclass(frozen=True, slots=True)
class Example:
    """One file that a tool could be handed.

    Attributes:
        kind: `matched` is a picture of the data through the chain; `aligned` a photograph or its own passage through
            an autoencoder, both through one and the same draw.
        generator: `taef2` for a passage, empty for a photograph.
        short_side: Of the file, in pixels.
        reshared: Whether it was passed on as `finetune.resharing` draws it.
    """

    item: Item
    kind: Literal["matched", "aligned"]
    label: Label
    generator: str
    draw: int
    jpeg_quality: int
    short_side: int
    data: bytes
    reshared: bool = False

    @property
    def row_kind(self) -> str:
        """The kind under which score files hold it."""
        return f"{self.kind}_reshared" if self.reshared else self.kind


def tables_of(items: list[Item]) -> list[dict[int, list[int]]]:
    """The quantisation tables of the JPEGs among `items`, one entry a file."""
    tables = []
    for item in items:
        with Image.open(item.path) as file:
            found = getattr(file, "quantization", None)
        if found:
            tables.append(found)
    return tables


def saved_with(rgb: Pixels, tables: dict[int, list[int]]) -> Pixels:
    """`rgb` saved as a JPEG with these quantisation tables, and decoded."""
    buffer = io.BytesIO()
    Image.fromarray(rgb).save(buffer, "JPEG", qtables=tables, subsampling=2)
    return decode(buffer.getvalue())


def matched(
    items: list[Item], draws: int, chain: Chain = MATCHED, histories: list[dict[int, list[int]]] | None = None
) -> Iterator[Example]:
    """`draws` passages of each item through `chain`; items smaller than its side are left out.

    Args:
        items: The pictures.
        draws: Passages of each.
        chain: What they go through.
        histories: Tables of the generated files. Where given, half the draws of photographs are saved with one of
            them first: the generated files share one quality, and the trace of that first JPEG must not tell the
            classes apart. For training only.
    """
    for item in items:
        rgb = item.pixels()
        if min(rgb.shape[:2]) // item.panes < chain.side:
            continue
        for draw in range(draws):
            seed = seed_of(f"{item.id}/{chain.side}", draw)
            pixels = rgb
            if histories and item.label == "real" and (draw if draws > 1 else seed) % 2:
                pixels = saved_with(rgb, histories[seed % len(histories)])
            data, passage = chain(pixels, seed, item.panes)
            yield Example(item, "matched", item.label, item.generator, draw, passage.quality, passage.side, data)


def aligned(twins: list[Twin], chain: Chain = MATCHED) -> Iterator[Example]:
    """Both sides of each twin, through one and the same draw of `chain`."""
    for twin in twins:
        passage = chain.draw(twin.photograph.shape[1::-1], seed_of(twin.item.id, 2000 + twin.number))
        example = Example(
            twin.item, "aligned", "real", "", twin.number, passage.quality, passage.side, passage.apply(twin.photograph)
        )
        yield example
        yield replace(example, label="generated", generator="taef2", data=passage.apply(twin.passage))


def smaller(rgb: Pixels, seed: int, panes: int = 1) -> tuple[bytes, int, int]:
    """A small view of a picture: the file, its side and its JPEG quality (100 for a PNG).

    Half are small crops through the chain, half larger crops through the chain that are then shrunk by up to a half
    and saved once more, as PNG or JPEG: what becomes of pictures that are passed on as thumbnails.
    """
    rng = np.random.default_rng([seed, 9])
    side = int(rng.choice(SMALL))
    if rng.random() < 0.5:
        data, passage = Chain(side=side)(rgb, seed, panes)
        return data, side, passage.quality
    data, _ = Chain(side=min(2 * side, SHRUNK_FROM))(rgb, seed, panes)
    shrunk = Image.fromarray(decode(data)).resize((side, side), Image.Resampling.BICUBIC)
    if rng.random() < 0.5:
        buffer = io.BytesIO()
        shrunk.save(buffer, "PNG")
        return buffer.getvalue(), side, 100
    quality = int(rng.integers(70, 96))
    return jpeg(np.asarray(shrunk), quality), side, quality


def matched_small(items: list[Item], draws: int, histories: list[dict[int, list[int]]]) -> Iterator[Example]:
    """`draws` small views of each item; arguments as in `matched`. Items under SHRUNK_FROM are left out."""
    for item in items:
        rgb = item.pixels()
        if min(rgb.shape[:2]) // item.panes < SHRUNK_FROM:
            continue
        for draw in range(draws):
            seed = seed_of(f"{item.id}/small", draw)
            pixels = saved_with(rgb, histories[seed % len(histories)]) if item.label == "real" and seed % 2 else rgb
            data, side, quality = smaller(pixels, seed, item.panes)
            yield Example(item, "matched", item.label, item.generator, draw, quality, side, data)


def aligned_small(twins: list[Twin]) -> Iterator[Example]:
    """A small view of both sides of each twin, by one and the same draw."""
    for twin in twins:
        seed = seed_of(twin.item.id, 2000 + twin.number)
        data, side, quality = smaller(twin.photograph, seed)
        example = Example(twin.item, "aligned", "real", "", twin.number, quality, side, data)
        yield example
        yield replace(example, label="generated", generator="taef2", data=smaller(twin.passage, seed)[0])


def pixels_of(example: Example) -> Pixels:
    """HxWx3 pixels of the example's file."""
    return np.ascontiguousarray(decode(example.data))
