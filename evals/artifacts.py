"""The artifact lab: plants artifacts of named kinds at known places of photographs.

What a model says it sees can then be marked right or wrong.

    python -m evals.artifacts --data DIR --split test --count 200 --out FOLDER

Each view is SIDE x SIDE pixels, what the image tower takes: a native crop, or a larger square of the photograph
squeezed. One artifact lies in it, at one cell of a 3x3 grid, or none. Kind, place and strength are true by
construction. Half of the views, planted or not, are then saved once as JPEG, so that the save tells nothing.

Held out in two ways: `Split` "test" draws on the photographs of test/ only, and on strengths that "train" never uses
(`STRENGTHS`). "choice" has the strengths of "train" and photographs of its folders that "train" leaves out: what is
set after a training, such as a threshold, is set there.

An artifact that changes its region by less than LEAST_CHANGE grey levels cannot be seen and is planted again elsewhere.
"""

from __future__ import annotations

import argparse
import json
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFilter

from agent.views import SIDE, squeeze
from evals import datasets
from evals.datasets import Item
from evals.edits import Passage
from evals.perturb import decode, jpeg, seed_of
from evals.shapes import Mask, softened

Pixels = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]
Split = Literal["train", "choice", "test"]
Planted = Literal[
    "over-smooth texture", "repeated texture", "broken lettering", "warped lines", "duplicated part",
    "wrong light direction", "colour fringes", "coarse lattice", "pasted region", "regenerated region",
]  # fmt: skip
KINDS: tuple[Planted, ...] = get_args(Planted)
"""Everything the lab can plant; `agent.prompt.Kind` holds those of them that the model is taught. Which of them the
tokens of the image tower show at all is measured by `finetune.visible`."""
PLACES = ("top left", "top", "top right", "left", "centre", "right", "bottom left", "bottom", "bottom right")
"""Cells of the grid, row by row."""
STRENGTHS: dict[Split, tuple[tuple[float, float], ...]] = {
    "train": ((0.15, 0.30), (0.40, 0.60), (0.70, 1.0)),
    "choice": ((0.15, 0.30), (0.40, 0.60), (0.70, 1.0)),
    "test": ((0.30, 0.40), (0.60, 0.70)),
}
"""Bands of strength, 0 the least and 1 the most that the lab plants; training and testing share none."""
LEAST_CHANGE = 5.0
_WORDS = ((0.36, "weak"), (0.66, "moderate"), (1.01, "strong"))
_TRIES = 12
_CHOSEN = 10


@dataclass(frozen=True, slots=True)
class Planting:
    """What was planted in a view.

    Attributes:
        strength: 0 to 1 on the lab's own scale.
        mask: SIDE x SIDE, true where the view was altered.
    """

    kind: Planted
    place: str
    strength: float
    mask: Mask

    @property
    def word(self) -> Literal["weak", "moderate", "strong"]:
        """The strength as a model tells it."""
        word: Literal["weak", "moderate", "strong"] = next(name for limit, name in _WORDS if self.strength < limit)  # type: ignore[misc]
        return word


@dataclass(frozen=True, slots=True)
class Sample:
    """One view and what is true of it.

    Attributes:
        id: Names the photograph and the draw.
        planting: None where nothing was planted.
        native: Whether the view is a native crop.
    """

    id: str
    pixels: Pixels
    planting: Planting | None
    native: bool


@dataclass(frozen=True, slots=True)
class _Spot:
    """Where an artifact is planted: bounds of its box in the view, its soft weights, and what else it may draw on."""

    x0: int
    y0: int
    x1: int
    y1: int
    weights: Floats
    donor: Pixels
    passage: Passage | None = None


def _over_smooth(view: Floats, spot: _Spot, t: float, rng: np.random.Generator) -> Floats:
    """A waxy surface: detail below the radius is gone, edges are rounded, and a soft sheen is left."""
    size = 2 * round(2 + 3 * t) + 1
    image = Image.fromarray(view.astype(np.uint8)).filter(ImageFilter.MedianFilter(size))
    return np.asarray(image.filter(ImageFilter.GaussianBlur(1.0 + 2.5 * t)), dtype=np.float32)


def _repeated(view: Floats, spot: _Spot, t: float, rng: np.random.Generator) -> Floats:
    """A small piece of the region laid side by side."""
    side = int(rng.integers(14, 27))
    y, x = int(rng.integers(spot.y0, spot.y1 - side)), int(rng.integers(spot.x0, spot.x1 - side))
    piece = view[y : y + side, x : x + side]
    count = -(-SIDE // side) + 1
    tiled = np.roll(np.tile(piece, (count, count, 1)), (y % side, x % side), axis=(0, 1))[:SIDE, :SIDE]
    return view + (tiled - view) * np.float32(0.55 + 0.45 * t)


def _lettering(view: Floats, spot: _Spot, t: float, rng: np.random.Generator) -> Floats:
    """Rows of strokes that look like letters and are none."""
    image = Image.fromarray(view.astype(np.uint8))
    draw = ImageDraw.Draw(image)
    region = view[spot.y0 : spot.y1, spot.x0 : spot.x1]
    dark = float(region.mean()) > 127
    ink = tuple(int(v) for v in (rng.uniform(0, 60, 3) if dark else rng.uniform(195, 255, 3)))
    if rng.random() < 0.5:  # on a plate of one colour
        plate = tuple(int(v) for v in (rng.uniform(190, 250, 3) if dark else rng.uniform(5, 65, 3)))
        draw.rectangle((spot.x0, spot.y0, spot.x1, spot.y1), fill=plate)
    high = int(rng.integers(9, 17))
    for top in range(spot.y0 + 2, spot.y1 - high, high + int(rng.integers(3, 7))):
        x = spot.x0 + 2.0
        while x < spot.x1 - high:
            wide = float(rng.uniform(0.45, 0.8)) * high
            for _ in range(int(rng.integers(2, 5))):
                a, b = rng.uniform((x, top), (x + wide, top + high), (2, 2)).tolist()
                if rng.random() < 0.4:
                    box = (min(a[0], b[0]), min(a[1], b[1]), max(a[0], b[0]) + 2, max(a[1], b[1]) + 2)
                    draw.arc(box, float(rng.uniform(0, 180)), float(rng.uniform(200, 360)), fill=ink, width=2)
                else:
                    draw.line((*a, *b), fill=ink, width=2)
            x += wide * float(rng.uniform(1.1, 1.6))
    drawn = np.asarray(image.filter(ImageFilter.GaussianBlur(0.6)), dtype=np.float32)
    return view + (drawn - view) * np.float32(0.5 + 0.5 * t)


def _moved(view: Floats, dx: Floats, dy: Floats) -> Floats:
    """`view` sampled at (x + dx, y + dy), bilinear."""
    ys, xs = np.mgrid[0:SIDE, 0:SIDE].astype(np.float32)
    xs, ys = np.clip(xs + dx, 0, SIDE - 1.001), np.clip(ys + dy, 0, SIDE - 1.001)
    x0, y0 = xs.astype(int), ys.astype(int)
    fx, fy = (xs - x0)[..., None], (ys - y0)[..., None]
    top = view[y0, x0] * (1 - fx) + view[y0, x0 + 1] * fx
    bottom = view[y0 + 1, x0] * (1 - fx) + view[y0 + 1, x0 + 1] * fx
    moved: Floats = top * (1 - fy) + bottom * fy
    return moved


def _warped(view: Floats, spot: _Spot, t: float, rng: np.random.Generator) -> Floats:
    """Lines that were straight run in waves."""
    ys, xs = np.mgrid[0:SIDE, 0:SIDE].astype(np.float32)
    period, size = float(rng.uniform(16, 30)), 2.5 + 5.5 * t
    turn = rng.uniform(0, 2 * np.pi, 2)
    dx = size * np.sin(2 * np.pi * ys / period + turn[0]) * spot.weights
    dy = size * np.sin(2 * np.pi * xs / period + turn[1]) * spot.weights
    return _moved(view, dx.astype(np.float32), dy.astype(np.float32))


def _duplicated(view: Floats, spot: _Spot, t: float, rng: np.random.Generator) -> Floats:
    """A part from elsewhere in the view, fused into the region as a ghost of itself."""
    down = int(rng.integers(40, 100)) * (1 if spot.y0 + spot.y1 < SIDE else -1)
    right = int(rng.integers(40, 100)) * (1 if spot.x0 + spot.x1 < SIDE else -1)
    shifted = np.roll(view, (-down, -right), axis=(0, 1))
    return view + (shifted - view) * np.float32(0.5 + 0.5 * t)


def _light(view: Floats, spot: _Spot, t: float, rng: np.random.Generator) -> Floats:
    """A slope of brightness across the region, as if a lamp of its own shone on it."""
    ys, xs = np.mgrid[0:SIDE, 0:SIDE].astype(np.float32)
    angle = rng.uniform(0, 2 * np.pi)
    along = (xs - (spot.x0 + spot.x1) / 2) * np.cos(angle) + (ys - (spot.y0 + spot.y1) / 2) * np.sin(angle)
    slope = np.clip(along / (0.5 * max(spot.x1 - spot.x0, spot.y1 - spot.y0)), -1, 1)
    lit: Floats = np.clip(view * np.exp((0.45 + 0.75 * t) * slope)[..., None], 0, 255).astype(np.float32)
    return lit


def _fringes(view: Floats, spot: _Spot, t: float, rng: np.random.Generator) -> Floats:
    """Red and blue moved apart."""
    angle, size = rng.uniform(0, 2 * np.pi), 2.0 + 4.0 * t
    dx, dy = round(size * np.cos(angle)), round(size * np.sin(angle))
    out = view.copy()
    out[..., 0] = np.roll(view[..., 0], (dy, dx), axis=(0, 1))
    out[..., 2] = np.roll(view[..., 2], (-dy, -dx), axis=(0, 1))
    return out


def _lattice(view: Floats, spot: _Spot, t: float, rng: np.random.Generator) -> Floats:
    """A regular grid of light and dark."""
    ys, xs = np.mgrid[0:SIDE, 0:SIDE].astype(np.float32)
    period = float(rng.choice([4, 5, 6, 8]))
    wave = np.cos(2 * np.pi * xs / period) + np.cos(2 * np.pi * ys / period)
    lit: Floats = np.clip(view + (8 + 20 * t) * wave[..., None].astype(np.float32), 0, 255)
    return lit


def _pasted(view: Floats, spot: _Spot, t: float, rng: np.random.Generator) -> Floats:
    """A part of another photograph, with its own brightness."""
    donor = spot.donor.astype(np.float32) * np.float32(rng.uniform(0.85, 1.15))
    pasted: Floats = view + (np.clip(donor, 0, 255) - view) * np.float32(0.7 + 0.3 * t)
    return pasted


def _regenerated(view: Floats, spot: _Spot, t: float, rng: np.random.Generator) -> Floats:
    """What an autoencoder makes of the view, passed through it up to three times."""
    if spot.passage is None:
        raise ValueError("a regenerated region needs an autoencoder")
    over = np.rint(np.clip(view, 0, 255)).astype(np.uint8)
    for _ in range(1 + round(2 * t)):
        over = spot.passage(over)
    return over.astype(np.float32)


_PLANT: dict[Planted, Callable[[Floats, _Spot, float, np.random.Generator], Floats]] = {
    "over-smooth texture": _over_smooth, "repeated texture": _repeated, "broken lettering": _lettering,
    "warped lines": _warped, "duplicated part": _duplicated, "wrong light direction": _light,
    "colour fringes": _fringes, "coarse lattice": _lattice, "pasted region": _pasted,
    "regenerated region": _regenerated,
}  # fmt: skip
_SOFT = {"duplicated part": 3.0, "wrong light direction": 1.0, "over-smooth texture": 2.0}
"""Width of the seam in pixels, where it is not drawn: most kinds have a hard or a soft one."""


def kinds_with(passage: Passage | None) -> tuple[Planted, ...]:
    """The kinds that can be planted: all, or without an autoencoder all but the regenerated region."""
    return KINDS if passage is not None else tuple(kind for kind in KINDS if kind != "regenerated region")


def _spot(
    cell: int, donor: Pixels, kind: Planted, rng: np.random.Generator, passage: Passage | None
) -> tuple[_Spot, Mask]:
    """A box or an ellipse whose centre lies well inside the cell."""
    row, column = divmod(cell, 3)
    half_x, half_y = rng.uniform(26, 46), rng.uniform(26, 46)
    third = SIDE / 3
    cx, cy = (column + rng.uniform(0.3, 0.7)) * third, (row + rng.uniform(0.3, 0.7)) * third
    x0, x1 = max(0, round(cx - half_x)), min(SIDE, round(cx + half_x))
    y0, y1 = max(0, round(cy - half_y)), min(SIDE, round(cy + half_y))
    canvas = Image.new("L", (SIDE, SIDE))
    draw = ImageDraw.Draw(canvas)
    if rng.random() < 0.5:
        draw.rectangle((x0, y0, x1 - 1, y1 - 1), fill=255)
    else:
        draw.ellipse((x0, y0, x1 - 1, y1 - 1), fill=255)
    mask = np.asarray(canvas) > 127
    soft = _SOFT.get(kind, float(rng.choice([0.0, 1.5])))
    return _Spot(x0, y0, x1, y1, softened(mask, soft), donor, passage), mask


def plant(
    view: Pixels, kind: Planted, cell: int, strength: float, donor: Pixels, rng: np.random.Generator,
    passage: Passage | None = None,
) -> tuple[Pixels, Mask] | None:  # fmt: skip
    """`view` with one artifact in `cell` (0 to 8, row by row) and its mask; None where it would not be seen there."""
    spot, mask = _spot(cell, donor, kind, rng, passage)
    ground = view.astype(np.float32)
    over = _PLANT[kind](ground, spot, strength, rng)
    weights = np.ones_like(spot.weights) if kind == "warped lines" else spot.weights  # its shifts carry them already
    mixed = np.rint(np.clip(ground + (over - ground) * weights[..., None], 0, 255)).astype(np.uint8)
    change = np.abs(mixed.astype(np.float32) - ground)[mask].mean()
    return None if change < LEAST_CHANGE else (mixed, mask)


def photographs(data: Path, split: Split) -> list[Item]:
    """The photographs of a split: those of test/, or of photos/ and train/, where one in _CHOSEN is for "choice"."""
    if split == "test":
        return [item for item in datasets.labelled(data, "test") if item.label == "real"]
    both = [*datasets.photos(data), *(item for item in datasets.labelled(data, "train") if item.label == "real")]
    return [item for item in both if (zlib.crc32(item.id.encode()) % _CHOSEN == 0) == (split == "choice")]


def view_of(rgb: Pixels, rng: np.random.Generator) -> tuple[Pixels, bool]:
    """A view of a picture and whether it is native: half of the time a native crop, else a larger part squeezed."""
    height, width = rgb.shape[:2]
    if rng.random() < 0.5:
        top, left = int(rng.integers(0, height - SIDE + 1)), int(rng.integers(0, width - SIDE + 1))
        return rgb[top : top + SIDE, left : left + SIDE], True
    share = rng.uniform(0.8, 1.0)
    high, wide = round(height * share), round(width * share)
    if max(high, wide) > 2 * min(high, wide):
        high, wide = min(high, 2 * wide), min(wide, 2 * high)
    top, left = int(rng.integers(0, height - high + 1)), int(rng.integers(0, width - wide + 1))
    return squeeze(rgb[top : top + high, left : left + wide]), False


def sample(
    item: Item, other: Item, draw: int, split: Split, *, kind: Planted | None, cell: int,
    pixels: _Reader | None = None, passage: Passage | None = None,
) -> Sample:  # fmt: skip
    """One view of `item` with `kind` planted in `cell`, or with nothing where `kind` is None.

    Args:
        other: Where a pasted part comes from.
        draw: With the item's id the seed of everything.
        pixels: Reads the pixels of an item; its own method where left out.
        passage: The autoencoder of a regenerated region.
    """
    read = pixels or _Reader()
    rng = np.random.default_rng(seed_of(f"artifacts/{split}/{item.id}/{kind}", draw))
    view, native = view_of(read(item), rng)
    planting = None
    if kind is not None:
        for _ in range(_TRIES):
            low, high = STRENGTHS[split][int(rng.integers(len(STRENGTHS[split])))]
            strength = float(rng.uniform(low, high))
            donor, _native = view_of(read(other), rng)
            done = plant(view, kind, cell, strength, donor, rng, passage)
            if done is not None:
                view, mask = done
                planting = Planting(kind, PLACES[cell], round(strength, 3), mask)
                break
            view, native = view_of(read(item), rng)
    if rng.random() < 0.5:
        view = decode(jpeg(view, int(rng.integers(75, 97))))
    return Sample(f"{item.id}#{draw}", view, planting, native)


class _Reader:
    """Reads pictures and keeps the last few hundred small ones."""

    def __init__(self) -> None:
        self._kept: dict[str, Pixels] = {}

    def __call__(self, item: Item) -> Pixels:
        if item.id not in self._kept:
            rgb = item.pixels()
            longest = max(rgb.shape[:2])
            if longest > 1600:  # a view is small: what lies beyond this is only slow to read
                rgb = rgb[(rgb.shape[0] - 1600) // 2 :][:1600] if rgb.shape[0] > 1600 else rgb
                rgb = rgb[:, (rgb.shape[1] - 1600) // 2 :][:, :1600] if rgb.shape[1] > 1600 else rgb
            short = min(rgb.shape[:2])
            if short < SIDE:
                factor = SIDE / short
                size = (max(SIDE, round(rgb.shape[1] * factor)), max(SIDE, round(rgb.shape[0] * factor)))
                rgb = np.asarray(Image.fromarray(rgb).resize(size, Image.Resampling.BICUBIC))
            self._kept[item.id] = rgb
        return self._kept[item.id]


def samples(
    items: Sequence[Item],
    split: Split,
    count: int,
    *,
    untouched: float,
    kinds: Sequence[Planted] = (),
    seed: int = 0,
    passage: Passage | None = None,
) -> Iterator[Sample]:
    """`count` views, a share `untouched` of them without artifact, kinds in turn, in an order drawn by `seed`.

    Where no `kinds` are named, all that can be planted (`kinds_with`) are. A planted view in which the artifact could
    not be made to show is left out, so that fewer may come.
    """
    kinds = kinds or kinds_with(passage)
    rng = np.random.default_rng(seed_of(f"artifacts/{split}", seed))
    read, planted = _Reader(), 0
    for draw in range(count):
        item, other = (items[int(index)] for index in rng.choice(len(items), 2, replace=False))
        kind: Planted | None = None
        cell = int(rng.integers(9))
        if rng.random() >= untouched:
            kind, planted = kinds[planted % len(kinds)], planted + 1
        made = sample(item, other, seed * 1_000_003 + draw, split, kind=kind, cell=cell, pixels=read, passage=passage)
        if kind is None or made.planting is not None:
            yield made


def main(argv: Sequence[str] | None = None) -> None:
    """Writes views as PNG with a list of what was planted, for people to look at."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--split", choices=get_args(Split), default="test")
    parser.add_argument("--count", type=int, default=90)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args(argv)
    args.out.mkdir(parents=True, exist_ok=True)
    rows = []
    for index, made in enumerate(samples(photographs(args.data, args.split), args.split, args.count, untouched=0.1)):
        Image.fromarray(made.pixels).save(args.out / f"{index:04}.png")
        seen = made.planting
        told = {"kind": seen.kind, "place": seen.place, "strength": seen.strength} if seen else None
        rows.append({"file": f"{index:04}.png", "id": made.id, "native": made.native, "planted": told})
    (args.out / "planted.json").write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
    print(f"{len(rows)} views in {args.out}")


if __name__ == "__main__":
    main()
