"""Aligned pairs: crops of photographs, each beside its own passage through TAEF2.

    python -m finetune.twins --data DIR --taef2 DIR --work DIR

The recipe of DDA and B-Free: subject, size and format are the same on both sides, so that only the passage through
the generator's decoder can tell them apart. Crops are 256 px at multiples of 16 (so that the photograph's own JPEG
grid is kept), a third of them rescaled by 0.5-1.7 before; half of the passages are saved again with the photograph's
own JPEG tables. Both sides go through one passage of `evals.perturb.Chain` later on.
"""

from __future__ import annotations

import argparse
import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from evals import datasets
from evals.datasets import Item
from evals.perturb import decode, seed_of
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


def twins(items: list[Item], taef2: Path, work: Path, crops: int) -> list[Twin]:
    """`crops` aligned pairs of each photograph; passages are kept under `work` and not made twice.

    Photographs with a side under SIDE are left out.
    """
    work.mkdir(parents=True, exist_ok=True)
    network: Taef2 | None = None
    made = []
    for item in items:
        rgb: Pixels | None = None
        for number in range(crops):
            seed = seed_of(item.id, 1000 + number)
            kept = work / f"{seed:016x}.npz"
            if not kept.exists():
                rgb = item.pixels() if rgb is None else rgb
                if min(rgb.shape[:2]) < SIDE:
                    break
                network = network or Taef2(taef2)
                photograph = crop_of(rgb, seed)
                passage = network.passage(photograph)
                if seed % 2:
                    passage = saved_alike(passage, item.path)
                part = kept.with_suffix(".part")
                with part.open("wb") as file:
                    np.savez_compressed(file, photograph=photograph, passage=passage)
                part.replace(kept)
            with np.load(kept) as both:
                made.append(Twin(item, number, both["photograph"], both["passage"]))
    return made


def main() -> None:
    """Makes all twins that `finetune.heads` trains on."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--taef2", type=Path, required=True)
    parser.add_argument("--work", type=Path, default=Path("runs/twins"))
    options = parser.parse_args()
    reals = [item for item in datasets.labelled(options.data, "train") if item.label == "real"]
    for name, items, crops in (("train", reals, 2), ("photos", datasets.photos(options.data), 1)):
        made = twins(items, options.taef2, options.work, crops)
        quality = psnr((twin.photograph, twin.passage) for twin in made)
        print(f"{name}: {len(made)} twins of {len(items)} photographs, {quality:.1f} dB", flush=True)


if __name__ == "__main__":
    main()
