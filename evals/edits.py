"""Makes pictures that were altered in part, with the mask of the part, beside the untouched picture saved alike.

    python -m evals.edits --data DIR --count 12 --out FOLDER

Five kinds, all drawn from a seed: *pasted* (an object or shape of another picture, with its own scale and JPEG past),
*copied* (a part of the picture itself, half of the time scaled and turned), *inpainted* (`evals.inpaint`: plain
fillings, no learned one), *regenerated* (the part passed through an autoencoder that the caller hands over), and
*retouched* (noise, denoising, blur, sharpening or a JPEG of its own inside the part). The altered and the untouched
picture share their past and one save (JPEG 75 to 95 or PNG), so that the file cannot tell them apart.

`made_edits` makes the measured set, from the COCO pictures of test/ and their panoptic segments, which no training
sees; `training_edits` makes free shapes in other photographs.
"""

from __future__ import annotations

import argparse
import io
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageFilter

from evals import datasets, inpaint
from evals.datasets import Item
from evals.perturb import decode, jpeg, seed_of
from evals.shapes import Mask, fits, free_shape, grown, grown_by_colour, segments, softened

Pixels = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]
Kind = Literal["pasted", "copied", "inpainted", "regenerated", "retouched"]
KINDS: tuple[Kind, ...] = get_args(Kind)
Passage = Callable[[Pixels], Pixels]
"""An autoencoder: HxWx3 with sides that are multiples of 8, passed through it."""
MOST_SIDE = 512
"""Longest side of a picture that training edits are made in; larger ones are cropped."""
LOSSLESS = 100


@dataclass(frozen=True, slots=True)
class EditedItem:
    """One file of a made pair.

    Attributes:
        id: Names the file: the picture it was made of, the draw, and what was done.
        host: The picture it was made of.
        kind: What was done; empty for the untouched side.
        mask: HxW, true where the picture was altered; all false on the untouched side.
        data: The file, JPEG or PNG.
        jpeg_quality: It was saved at; 100 for PNG.
        detail: What exactly was done, in a word or two.
    """

    id: str
    host: Item
    kind: Kind | Literal[""]
    mask: Mask
    data: bytes
    jpeg_quality: int
    draw: int
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Scene:
    """What an edit may draw on: the picture, a region of it, and another picture with a region of it."""

    rgb: Pixels
    region: Mask
    donor: Pixels
    donor_region: Mask
    passage: Passage | None


Done = tuple[Pixels, Mask, str]
"""The altered picture, where it was altered, and what was done."""


def png(rgb: Pixels) -> bytes:
    """`rgb` as a PNG."""
    buffer = io.BytesIO()
    Image.fromarray(rgb).save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()


def _blend(ground: Pixels, over: npt.NDArray[np.floating] | Pixels, weight: Floats) -> Pixels:
    mixed = ground + (over.astype(np.float32) - ground) * weight[..., None]
    pixels: Pixels = np.rint(np.clip(mixed, 0, 255)).astype(np.uint8)
    return pixels


def _box(mask: Mask) -> tuple[slice, slice]:
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return slice(int(rows[0]), int(rows[-1]) + 1), slice(int(columns[0]), int(columns[-1]) + 1)


def _laid(ground: Pixels, part: Pixels, shape: Mask, centre: tuple[float, float], soft: float) -> tuple[Pixels, Mask]:
    """`part`, cut by `shape`, laid on `ground` about `centre` (row, column in fractions); what lies outside is lost."""
    height, width = ground.shape[:2]
    rows, columns = shape.shape
    top = int(np.clip(centre[0] * height - rows / 2, min(0, height - rows), max(0, height - rows)))
    left = int(np.clip(centre[1] * width - columns / 2, min(0, width - columns), max(0, width - columns)))
    mask, over = np.zeros((height, width), bool), ground.copy()
    y = slice(max(top, 0), min(top + rows, height))
    x = slice(max(left, 0), min(left + columns, width))
    inner = (slice(y.start - top, y.stop - top), slice(x.start - left, x.stop - left))
    mask[y, x] = shape[inner]
    over[y, x] = part[inner]
    return _blend(ground, over, np.minimum(softened(mask, soft), grown(mask, 2))), mask


def _turned(part: Pixels, shape: Mask, scale: float, angle: float) -> tuple[Pixels, Mask]:
    if scale == 1.0 and angle == 0.0:
        return part, shape
    size = (max(8, round(part.shape[1] * scale)), max(8, round(part.shape[0] * scale)))
    pixels = Image.fromarray(part).resize(size, Image.Resampling.BICUBIC)
    cut = Image.fromarray(shape.astype(np.uint8) * 255).resize(size)
    if angle:
        pixels = pixels.rotate(angle, Image.Resampling.BICUBIC, expand=True)
        cut = cut.rotate(angle, expand=True)
    return np.asarray(pixels), np.asarray(cut) > 127


def pasted(scene: Scene, rng: np.random.Generator) -> Done:
    """A region of the donor, brought to a fitting size, with a JPEG past of its own more often than not."""
    donor, detail = scene.donor, []
    height, width = scene.rgb.shape[:2]
    box = _box(scene.donor_region)
    part, shape = donor[box], scene.donor_region[box]
    aim = float(np.exp(rng.uniform(np.log(0.03), np.log(0.2))))
    scale = float(np.clip(np.sqrt(aim * height * width / max(shape.sum(), 1)), 0.4, 1.8))
    if 0.85 < scale < 1.18 or rng.random() < 0.25:
        scale = 1.0
    scale = min(scale, 0.9 * height / shape.shape[0], 0.9 * width / shape.shape[1])
    part, shape = _turned(part, shape, scale, 0.0)
    detail.append(f"scale {scale:.2f}")
    if rng.random() < 0.6:
        quality = int(rng.integers(55, 96))
        part = decode(jpeg(np.ascontiguousarray(part), quality))
        detail.append(f"jpeg {quality}")
    if rng.random() < 0.5:  # matched in mean colour to what it is laid on
        shift = (scene.rgb.mean(axis=(0, 1)) - part[shape].mean(axis=0)) * rng.uniform(0.2, 0.6)
        part = np.rint(np.clip(part + shift, 0, 255)).astype(np.uint8)
        detail.append("colour")
    centre = (float(rng.random()), float(rng.random()))
    out, mask = _laid(scene.rgb, part, shape, centre, float(rng.choice([0.0, 0.7, 1.5])))
    return out, mask, ", ".join(detail)


def copied(scene: Scene, rng: np.random.Generator) -> Done:
    """The region laid elsewhere in the same picture; half of the time scaled by 0.75-1.35 and turned up to 30°."""
    box = _box(scene.region)
    scale, angle = (float(rng.uniform(0.75, 1.35)), float(rng.uniform(-30, 30))) if rng.random() < 0.5 else (1.0, 0.0)
    part, shape = _turned(scene.rgb[box], scene.region[box], scale, angle)
    height, width = scene.rgb.shape[:2]
    own = np.array([(box[0].start + box[0].stop) / 2 / height, (box[1].start + box[1].stop) / 2 / width])
    places = rng.random((24, 2))
    away = np.abs(places - own) * (height, width) / (box[0].stop - box[0].start, box[1].stop - box[1].start)
    centre = places[int(np.argmax(away.max(axis=1) > 1.0) if (away.max(axis=1) > 1.0).any() else away.max(1).argmax())]
    out, mask = _laid(scene.rgb, part, shape, (float(centre[0]), float(centre[1])), float(rng.choice([0.0, 0.7, 1.5])))
    return out, mask, f"scale {scale:.2f}, turned {angle:.0f}"


def inpainted(scene: Scene, rng: np.random.Generator) -> Done:
    """The region filled from its surroundings: three quarters by quilting, the rest smoothly."""
    hole = grown(scene.region, 2)
    if rng.random() < 0.75:
        return inpaint.quilted(scene.rgb, hole, rng), hole, "quilted"
    return inpaint.smooth(scene.rgb, hole), hole, "smooth"


def regenerated(scene: Scene, rng: np.random.Generator) -> Done:
    """The region passed through the autoencoder, with 16 px around it for context, blended by a soft mask."""
    if scene.passage is None:
        raise ValueError("a regenerated region needs an autoencoder")
    height, width = scene.region.shape
    box = _box(scene.region)
    top, left = max(box[0].start - 16, 0), max(box[1].start - 16, 0)
    bottom, right = min(box[0].stop + 16, height), min(box[1].stop + 16, width)
    part = scene.rgb[top:bottom, left:right]
    padded = np.pad(part, ((0, -part.shape[0] % 8), (0, -part.shape[1] % 8), (0, 0)), mode="edge")
    over = scene.rgb.copy()
    over[top:bottom, left:right] = scene.passage(padded)[: part.shape[0], : part.shape[1]]
    soft = float(rng.uniform(0.5, 4.0))
    return _blend(scene.rgb, over, softened(scene.region, soft)), scene.region, f"soft {soft:.1f}"


def retouched(scene: Scene, rng: np.random.Generator) -> Done:
    """The region given noise, denoised, blurred, sharpened, or saved as a JPEG of its own."""
    how = str(rng.choice(["noise", "median", "blur", "sharpen", "jpeg"]))
    picture = Image.fromarray(scene.rgb)
    strength = float(rng.random())
    over: npt.NDArray[np.float64] | Pixels
    if how == "noise":
        over = scene.rgb + rng.normal(0, 2.5 + 6 * strength, scene.rgb.shape)
    elif how == "median":
        over = np.asarray(picture.filter(ImageFilter.MedianFilter(3 if strength < 0.6 else 5)))
    elif how == "blur":
        over = np.asarray(picture.filter(ImageFilter.GaussianBlur(0.7 + 1.8 * strength)))
    elif how == "sharpen":
        over = np.asarray(picture.filter(ImageFilter.UnsharpMask(1.2, round(80 + 120 * strength), 0)))
    else:
        over = decode(jpeg(scene.rgb, round(40 + 35 * strength)))
    return _blend(scene.rgb, over, softened(scene.region, float(rng.uniform(0, 3)))), scene.region, how


EDITS: dict[Kind, Callable[[Scene, np.random.Generator], Done]] = {
    "pasted": pasted, "copied": copied, "inpainted": inpainted, "regenerated": regenerated, "retouched": retouched,
}  # fmt: skip


def pair_of(host: Item, scene: Scene, kind: Kind, draw: int, rng: np.random.Generator) -> tuple[EditedItem, EditedItem]:
    """The altered picture and the untouched one, through one save."""
    out, mask, detail = EDITS[kind](scene, rng)
    quality = LOSSLESS if rng.random() < 0.2 else int(rng.integers(75, 96))

    def item(rgb: Pixels, said: Kind | Literal[""], where: Mask, what: str) -> EditedItem:
        data = png(rgb) if quality == LOSSLESS else jpeg(np.ascontiguousarray(rgb), quality)
        name = f"{host.id}#{draw}.{said or 'untouched'}"
        return EditedItem(name, host, said, where, data, quality, draw, what)

    return item(out, kind, mask, detail), item(scene.rgb, "", np.zeros_like(mask), "")


def kinds_with(passage: Passage | None) -> tuple[Kind, ...]:
    """The kinds that can be made: all, or without an autoencoder all but `regenerated`."""
    return KINDS if passage is not None else tuple(kind for kind in KINDS if kind != "regenerated")


def made_edits(data: Path, count: int, seed: int, passage: Passage | None = None) -> Iterator[EditedItem]:
    """The measured set: `count` altered pictures, each followed by the untouched one that was saved alike.

    The pictures are the COCO photographs of test/ as they lie, the regions their panoptic segments. Kinds take turns,
    pictures take turns; nothing here may be trained on.

    Args:
        data: Folder of shared data.
        count: Altered pictures.
        seed: Of everything that is drawn.
        passage: The autoencoder for `regenerated`; without one that kind is left out.
    """
    known = {
        item.id: item for item in datasets.labelled(data, "test")
        if item.label == "real" and (data / "coco_panoptic" / f"{item.path.stem}.png").is_file()
    }  # fmt: skip
    regions = {name: segments(data / "coco_panoptic" / f"{item.path.stem}.png") for name, item in known.items()}
    hosts = [name for name in sorted(known) if regions[name]]
    kinds = kinds_with(passage)
    for number in range(count):
        name = hosts[number % len(hosts)]
        # The kind moves on by one each round, so that every picture meets every kind.
        kind = kinds[(number + number // len(hosts)) % len(kinds)]
        rng = np.random.default_rng([seed, number])
        other = hosts[(number + int(rng.integers(1, len(hosts)))) % len(hosts)]
        own, theirs = (regions[n][int(rng.integers(len(regions[n])))] for n in (name, other))
        scene = Scene(known[name].pixels(), own, known[other].pixels(), theirs, passage)
        yield from pair_of(known[name], scene, kind, number, rng)


def _past(rgb: Pixels, rng: np.random.Generator) -> Pixels:
    """A crop of at most MOST_SIDE px, a third of them rescaled and half of them saved as JPEG before."""
    if rng.random() < 1 / 3:
        scale = max(float(rng.uniform(0.6, 1.2)), 232 / min(rgb.shape[:2]))
        size = (round(rgb.shape[1] * scale), round(rgb.shape[0] * scale))
        rgb = np.asarray(Image.fromarray(rgb).resize(size, Image.Resampling.LANCZOS))
    spare = [max(0, whole - MOST_SIDE) for whole in rgb.shape[:2]]
    top, left = (int(rng.integers(0, s + 1)) for s in spare)
    rgb = rgb[top : top + MOST_SIDE, left : left + MOST_SIDE]
    if rng.random() < 0.5:
        rgb = decode(jpeg(np.ascontiguousarray(rgb), int(rng.integers(65, 99))))
    return rgb


def _region(rgb: Pixels, rng: np.random.Generator) -> Mask:
    found = grown_by_colour(rgb, rng) if rng.random() < 0.5 else None
    while found is None:
        shape = free_shape((rgb.shape[0], rgb.shape[1]), rng)
        found = shape if fits(shape) else None
    return found


def training_edits(
    hosts: Sequence[Item], draws: Iterable[int], seed: int, passage: Passage | None = None
) -> Iterator[EditedItem]:
    """One made pair for each of `hosts` and each of the numbers `draws`, with free shapes and regions grown by colour.

    Donors are among `hosts`. Where `passage` is given, every fifth pair is regenerated.
    """
    kinds = kinds_with(passage)
    for number, host in enumerate(hosts):
        for draw in draws:
            rng = np.random.default_rng([seed, seed_of(host.id, draw)])
            other = hosts[int(rng.integers(len(hosts)))]
            rgb, donor = (_past(_pane(item, rng), rng) for item in (host, other))
            scene = Scene(rgb, _region(rgb, rng), donor, _region(donor, rng), passage)
            yield from pair_of(host, scene, kinds[(number + draw) % len(kinds)], draw, rng)


def _pane(item: Item, rng: np.random.Generator) -> Pixels:
    rgb = item.pixels()
    if item.panes == 1:
        return rgb
    height, width = (whole // item.panes for whole in rgb.shape[:2])
    top, left = int(rng.integers(item.panes)) * height, int(rng.integers(item.panes)) * width
    return rgb[top : top + height, left : left + width]


def main() -> None:
    """Writes made pairs and their masks into a folder, for people to look at."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--count", type=int, default=12)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    for item in made_edits(options.data, options.count, options.seed):
        name = f"{item.draw:03d}_{item.kind or 'untouched'}"
        (options.out / f"{name}.{'png' if item.jpeg_quality == LOSSLESS else 'jpg'}").write_bytes(item.data)
        if item.kind:
            Image.fromarray(item.mask.astype(np.uint8) * 255).save(options.out / f"{name}_mask.png")
            print(f"{name}: {item.id}, {item.detail}, share {item.mask.mean():.3f}", flush=True)


if __name__ == "__main__":
    main()
