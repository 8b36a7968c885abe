"""Edited pictures with a known mask, made from photographs and the segment masks of their objects.

Three ways to alter a photograph: an object of another one is pasted in (at its own scale, feathered by a pixel), an
object of the picture itself is copied elsewhere, or an object is painted over with its surroundings. Each forgery has a
twin, the same photograph unaltered and saved in the same way, so that neither subject, size nor format tells the two
apart. All is drawn from the item's name; the files are made anew each time and kept nowhere.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageFilter

from evals.datasets import Item
from evals.perturb import Pixels, jpeg, seed_of
from tools.errors import ConfigurationError

Mask = npt.NDArray[np.bool_]
KINDS = ("pasted", "copied", "painted over")
SHARES = (0.01, 0.4)
"""Smallest and largest share of the picture that an edit may cover."""
_TRIES = 20


@dataclass(frozen=True, slots=True)
class Forgery:
    """One edited picture and its twin.

    Attributes:
        edited, twin: Files, both JPEG of one quality.
        mask: HxW, true where the picture was altered.
    """

    item: Item
    kind: str
    edited: bytes
    twin: bytes
    mask: Mask


def segments(path: Path, size: tuple[int, int]) -> list[Mask]:
    """The masks of a COCO panoptic PNG (a colour a segment) that cover a share of `SHARES`, largest first.

    Args:
        path: The PNG.
        size: (width, height) of the photograph; another size of the mask is an error.
    """
    with Image.open(path) as file:
        if file.size != size:
            raise ConfigurationError(
                f"{path.name} is {file.size[0]}x{file.size[1]} px, its photograph {size[0]}x{size[1]} px.",
                remedy="A mask must have the size of its photograph.",
            )
        rgb = np.asarray(file.convert("RGB")).astype(np.uint32)
    ids = rgb[..., 0] + 256 * rgb[..., 1] + 65536 * rgb[..., 2]
    names, counts = np.unique(ids[ids > 0], return_counts=True)
    shares = counts / ids.size
    order = sorted(range(len(names)), key=lambda i: (-counts[i], int(names[i])))
    return [ids == names[i] for i in order if SHARES[0] <= shares[i] <= SHARES[1]]


def forgeries(data: Path, photographs: list[Item], count: int) -> list[tuple[Item, int]]:
    """Which photographs are forged, and the number of each forgery: every one that has masks, in turn."""
    folder = data / "coco_panoptic"
    usable = [item for item in photographs if (folder / f"{item.path.stem}.png").is_file()]
    if len(usable) < 2:
        raise ConfigurationError(
            f"{folder} holds masks for {len(usable)} of the photographs; at least 2 are needed.",
            remedy="Pass --data with the folder that holds coco_panoptic/.",
        )
    return [(usable[n % len(usable)], n // len(usable)) for n in range(count)]


def forge(data: Path, item: Item, number: int, donors: list[Item]) -> Forgery | None:
    """The `number`-th forgery of a photograph; None where its masks allow none.

    Args:
        data: Folder that holds `coco_panoptic/`.
        item: The photograph.
        number: Tells forgeries of one photograph apart.
        donors: Photographs with masks, to paste from.
    """
    rng = np.random.default_rng(seed_of(f"forged {item.id}", number))
    rgb = item.pixels()
    quality = int(rng.integers(75, 96))
    for _ in range(_TRIES):
        kind = KINDS[int(rng.integers(len(KINDS)))]
        donor = donors[int(rng.integers(len(donors)))] if kind == "pasted" else item
        if kind == "pasted" and donor.id == item.id:
            continue
        source = donor.pixels()
        masks = segments(data / "coco_panoptic" / f"{donor.path.stem}.png", (source.shape[1], source.shape[0]))
        if not masks:
            continue
        chosen = masks[int(rng.integers(len(masks)))]
        made = painted_over(rgb, chosen) if kind == "painted over" else _placed(rgb, source, chosen, rng)
        if made is None:
            continue
        edited, mask = made
        share = float(mask.mean())
        if SHARES[0] <= share <= SHARES[1] and np.abs(edited.astype(int) - rgb)[mask].mean() > 2:
            return Forgery(item, kind, jpeg(edited, quality), jpeg(np.ascontiguousarray(rgb), quality), mask)
    return None


def _box(mask: Mask) -> tuple[int, int, int, int]:
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return int(rows[0]), int(rows[-1]) + 1, int(columns[0]), int(columns[-1]) + 1


def _placed(rgb: Pixels, source: Pixels, chosen: Mask, rng: np.random.Generator) -> tuple[Pixels, Mask] | None:
    """The segment laid on `rgb` at a place drawn by `rng`; None where it does not fit or hardly moves."""
    top, bottom, left, right = _box(chosen)
    height, width = bottom - top, right - left
    if height >= rgb.shape[0] or width >= rgb.shape[1]:
        return None
    y, x = int(rng.integers(rgb.shape[0] - height + 1)), int(rng.integers(rgb.shape[1] - width + 1))
    if source is rgb and abs(y - top) + abs(x - left) < 24:
        return None
    piece = chosen[top:bottom, left:right]
    soft = np.asarray(Image.fromarray((piece * 255).astype(np.uint8)).filter(ImageFilter.GaussianBlur(1.0))) / 255.0
    soft = (soft * piece)[..., None]
    out, mask = rgb.copy(), np.zeros(rgb.shape[:2], dtype=bool)
    under = out[y : y + height, x : x + width]
    blend = soft * source[top:bottom, left:right] + (1 - soft) * under
    out[y : y + height, x : x + width] = np.rint(blend).astype(np.uint8)
    mask[y : y + height, x : x + width] = piece
    return out, mask


def painted_over(rgb: Pixels, chosen: Mask) -> tuple[Pixels, Mask]:
    """The segment filled from its surroundings, coarse to fine (a pyramid of normalised averages)."""
    hole = np.asarray(Image.fromarray((chosen * 255).astype(np.uint8)).filter(ImageFilter.MaxFilter(5))) > 127
    known = (~hole).astype(np.float64)
    filled = rgb.astype(np.float64)
    value, weight = filled * known[..., None], known
    levels = [(value, weight)]
    while min(weight.shape) > 1 and (weight == 0).any():
        value, weight = _halved(value), _halved(weight)
        levels.append((value, weight))
    value, weight = levels[-1]
    guess = value / np.maximum(weight, 1e-9)[..., None]
    for value, weight in reversed(levels[:-1]):
        doubled = guess.repeat(2, axis=0).repeat(2, axis=1)[: weight.shape[0], : weight.shape[1]]
        own = value / np.maximum(weight, 1e-9)[..., None]
        guess = np.where((weight > 0)[..., None], own, doubled)
    out = rgb.copy()
    out[hole] = np.rint(guess[hole]).clip(0, 255).astype(np.uint8)
    return out, hole


def _halved(plane: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    padded = np.pad(plane, [(0, plane.shape[0] % 2), (0, plane.shape[1] % 2), *[(0, 0)] * (plane.ndim - 2)])
    summed: npt.NDArray[np.float64] = padded[::2] + padded[1::2]
    return summed[:, ::2] + summed[:, 1::2]
