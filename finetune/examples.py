"""The pictures that heads are fitted and measured on, each sent through the format-matching chain."""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from PIL import Image

from evals.datasets import Item, Label
from evals.perturb import Chain, Pixels, decode, seed_of
from finetune.twins import Twin

MATCHED = Chain()
LARGER = Chain(side=320, rescaled=0.0)
"""A larger crop, of several tiles, for pictures that hold one."""


@dataclass(frozen=True, slots=True)
class Example:
    """One file that a tool could be handed.

    Attributes:
        kind: `matched` is a picture of the data through the chain; `aligned` a photograph or its own passage through
            an autoencoder, both through one and the same draw.
        generator: `taef2` for a passage, empty for a photograph.
        short_side: Of the file, in pixels.
    """

    item: Item
    kind: Literal["matched", "aligned"]
    label: Label
    generator: str
    draw: int
    jpeg_quality: int
    short_side: int
    data: bytes


def tables_of(items: list[Item]) -> list[dict[int, list[int]]]:
    """The quantisation tables of the JPEGs among `items`, one entry a file."""
    tables = []
    for item in items:
        with Image.open(item.path) as file:
            found = getattr(file, "quantization", None)
        if found:
            tables.append(found)
    return tables


def _saved_with(rgb: Pixels, tables: dict[int, list[int]]) -> Pixels:
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
                pixels = _saved_with(rgb, histories[seed % len(histories)])
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


def pixels_of(example: Example) -> Pixels:
    """HxWx3 pixels of the example's file."""
    return np.ascontiguousarray(decode(example.data))
