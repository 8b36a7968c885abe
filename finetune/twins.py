"""Aligned pairs: crops of photographs, each beside its own passage through TAEF2.

    python -m finetune.twins --data DIR --taef2 DIR --work DIR [--varied]

The recipe of DDA and B-Free: subject, size and format are the same on both sides, so that only the passage through
the generator's decoder can tell them apart. Crops are 256 px at multiples of 16 (so that the photograph's own JPEG
grid is kept), a third of them rescaled by 0.5-1.7 before; half of the passages are saved again with the photograph's
own JPEG tables. Both sides go through one passage of `evals.perturb.Chain` later on.

Varied twins go further, because one autoencoder alone teaches its own trace only. Each crop has two passages: one as
it is, and one whose latents were disturbed (noise, or smoothing), since a generator's latents never are those of a
photograph. And half of all twins are retouched alike on both sides (shrunk and enlarged, blurred, median-filtered,
sharpened, saved as a poor JPEG), so that neither smoothness nor sharpness tells a photograph.
"""

from __future__ import annotations

import argparse
import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image, ImageFilter
from torch.nn import functional

from evals import datasets
from evals.datasets import Item
from evals.perturb import decode, jpeg, seed_of
from finetune.taef2 import Taef2, psnr

SIDE = 256
Pixels = npt.NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Twin:
    """A crop of a photograph and its passage, both SIDExSIDEx3.

    Attributes:
        item: The photograph.
        number: Of the crop, 0 upwards.
    """

    item: Item
    number: int
    photograph: Pixels
    passage: Pixels


def crop_of(rgb: Pixels, seed: int) -> Pixels:
    """A SIDExSIDE crop at multiples of 16; a third is rescaled by 0.5-1.7 first where the picture is large enough."""
    rng = np.random.default_rng(seed)
    turn, factor = rng.random(), rng.uniform(0.5, 1.7)
    factor = max(factor, SIDE / min(rgb.shape[:2]))
    if turn < 1 / 3 and min(rgb.shape[:2]) > SIDE:
        size = (max(SIDE, round(rgb.shape[1] * factor)), max(SIDE, round(rgb.shape[0] * factor)))
        rgb = np.asarray(Image.fromarray(rgb).resize(size, Image.Resampling.LANCZOS))
    top, left = (16 * int(rng.integers(0, (whole - SIDE) // 16 + 1)) for whole in rgb.shape[:2])
    return np.ascontiguousarray(rgb[top : top + SIDE, left : left + SIDE])


def saved_alike(passage: Pixels, photograph: Path) -> Pixels:
    """`passage` saved with the JPEG tables of the file `photograph`, and decoded; unchanged where that is no JPEG."""
    with Image.open(photograph) as file:
        tables = getattr(file, "quantization", None)
    if not tables:
        return passage
    buffer = io.BytesIO()
    Image.fromarray(passage).save(buffer, "JPEG", qtables=tables, subsampling=2)
    return decode(buffer.getvalue())


def disturbed(latents: torch.Tensor, seed: int) -> torch.Tensor:
    """`latents` with noise of 0.1-0.6 of their spread, or drawn by 0.3-0.9 towards their 3x3 mean."""
    rng = np.random.default_rng([seed, 3])
    if rng.random() < 0.5:
        noise = torch.from_numpy(rng.standard_normal(tuple(latents.shape)).astype(np.float32))
        return latents + noise * latents.std() * float(rng.uniform(0.1, 0.6))
    smooth = functional.avg_pool2d(functional.pad(latents, (1, 1, 1, 1), mode="reflect"), 3, 1)
    return latents + (smooth - latents) * float(rng.uniform(0.3, 0.9))


def retouched(rgb: Pixels, seed: int) -> Pixels:
    """`rgb` after one of five things that people and programs do to pictures of any origin."""
    rng = np.random.default_rng([seed, 4])
    picture, side = Image.fromarray(rgb), rgb.shape[0]
    match int(rng.integers(5)):
        case 0:
            small = round(side * float(rng.uniform(0.5, 0.9)))
            picture = picture.resize((small, small), Image.Resampling.LANCZOS)
            picture = picture.resize((side, side), Image.Resampling.BICUBIC)
        case 1:
            picture = picture.filter(ImageFilter.GaussianBlur(float(rng.uniform(0.4, 0.9))))
        case 2:
            picture = picture.filter(ImageFilter.MedianFilter(3))
        case 3:
            radius, percent = float(rng.uniform(0.6, 1.5)), int(rng.integers(50, 151))
            picture = picture.filter(ImageFilter.UnsharpMask(radius, percent, threshold=2))
        case _:
            return decode(jpeg(rgb, int(rng.integers(30, 71))))
    return np.asarray(picture)


def twins(items: list[Item], taef2: Path, work: Path, crops: int) -> list[Twin]:
    """`crops` aligned pairs of each photograph; passages are kept under `work` and not made twice.

    Photographs with a side under SIDE are left out.
    """

    def passed(network: Taef2, photograph: Pixels, _seed: int) -> dict[str, Pixels]:
        return {"passage": network.passage(photograph)}

    return [
        Twin(item, number, sides["photograph"], sides["passage"])
        for item, number, _seed, sides in _passages(items, taef2, work, crops, "", passed)
    ]


def varied_twins(items: list[Item], taef2: Path, work: Path, crops: int, small: bool = False) -> list[Twin]:
    """Two twins for each of `crops` crops of each photograph: a plain passage and a disturbed one, half retouched.

    With `small`, one twin a crop instead, plain or disturbed by its seed, and retouched by a draw of its own: those
    that small views are made of. Kept under `work` as in `twins`. Photographs with a side under SIDE are left out.
    """
    names = ("plain", "disturbed")

    def passed(network: Taef2, photograph: Pixels, seed: int) -> dict[str, Pixels]:
        latents = network.latents(photograph)
        return {"plain": network.decoded(latents), "disturbed": network.decoded(disturbed(latents, seed))}

    made = []
    for item, number, seed, stored in _passages(items, taef2, work, crops, "-varied", passed):
        for place, name in [(2, names[seed // 2 % 2])] if small else enumerate(names):
            sides = stored["photograph"], stored[name]
            touch = seed_of(item.id, 4000 + 2 * number + place)
            if touch % 2:
                sides = retouched(sides[0], touch), retouched(sides[1], touch)
            made.append(Twin(item, 2 * number + place, *sides))
    return made


def _passages(
    items: list[Item],
    taef2: Path,
    work: Path,
    crops: int,
    suffix: str,
    passed: Callable[[Taef2, Pixels, int], dict[str, Pixels]],
) -> Iterator[tuple[Item, int, int, dict[str, Pixels]]]:
    """Crops and their passages, as (photograph, number of the crop, its seed, what is kept of it by name)."""
    work.mkdir(parents=True, exist_ok=True)
    network: Taef2 | None = None
    for item in items:
        rgb: Pixels | None = None
        for number in range(crops):
            seed = seed_of(item.id, 1000 + number)
            kept = work / f"{seed:016x}{suffix}.npz"
            if not kept.exists():
                rgb = item.pixels() if rgb is None else rgb
                if min(rgb.shape[:2]) < SIDE:
                    break
                network = network or Taef2(taef2)
                photograph = crop_of(rgb, seed)
                passages = passed(network, photograph, seed)
                if seed % 2:
                    passages = {name: saved_alike(passage, item.path) for name, passage in passages.items()}
                _keep(kept, photograph=photograph, **passages)
            with np.load(kept) as stored:
                yield item, number, seed, dict(stored)


def _keep(file: Path, **arrays: Pixels) -> None:
    part = file.with_suffix(".part")
    with part.open("wb") as stream:
        np.savez_compressed(stream, **arrays)  # type: ignore[arg-type]
    part.replace(file)


def main() -> None:
    """Makes all twins that `finetune.heads` trains on."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--taef2", type=Path, required=True)
    parser.add_argument("--work", type=Path, default=Path("runs/twins"))
    parser.add_argument("--varied", action="store_true", help="the twins that semantic is fitted on")
    options = parser.parse_args()
    make = varied_twins if options.varied else twins
    reals = [item for item in datasets.labelled(options.data, "train") if item.label == "real"]
    for name, items, crops in (
        ("train", reals, 1 if options.varied else 2),
        ("photos", datasets.photos(options.data), 1),
    ):
        made = make(items, options.taef2, options.work, crops)
        quality = psnr((twin.photograph, twin.passage) for twin in made)
        print(f"{name}: {len(made)} twins of {len(items)} photographs, {quality:.1f} dB", flush=True)


if __name__ == "__main__":
    main()
