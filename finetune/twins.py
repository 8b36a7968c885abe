"""Aligned pairs: crops of photographs, each beside its own passage through an autoencoder.

    python -m finetune.twins --data DIR --taef2 DIR --work DIR [--zoo DIR]

The recipe of DDA and B-Free: subject, size and format are the same on both sides, so that only the passage through
the generator's decoder can tell them apart. Crops are 256 px at multiples of 16 (so that the photograph's own JPEG
grid is kept), a third of them rescaled by 0.5-1.7 before; half of the passages are saved again with the photograph's
own JPEG tables. Both sides go through one passage of `evals.perturb.Chain` later on.

Varied twins go further, because one autoencoder alone teaches its own trace only. Each crop has two passages: one as
it is, and one whose latents were disturbed (noise, or smoothing), since a generator's latents never are those of a
photograph. And half of all twins are retouched alike on both sides (shrunk and enlarged, blurred, median-filtered,
sharpened, saved as a poor JPEG), so that neither smoothness nor sharpness tells a photograph. And they pass through
several decoders: TAEF2 and those of `finetune.autoencoders`. One crop is treated alike whatever decodes it, so that all
its passages share one photograph.
"""

from __future__ import annotations

import argparse
import io
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image, ImageFilter
from scipy import fft
from torch.nn import functional

from evals import datasets
from evals.datasets import Item
from evals.perturb import decode, jpeg, seed_of
from finetune.autoencoders import served
from finetune.taef2 import Taef2, psnr

SIDE = 256
Pixels = npt.NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Twin:
    """A crop of a photograph and its passage, both SIDExSIDEx3.

    Attributes:
        item: The photograph.
        number: Of the crop and what was done to both sides, 0 upwards.
        decoder: Through what the passage went.
    """

    item: Item
    number: int
    photograph: Pixels
    passage: Pixels
    decoder: str = "taef2"


class Decodes(Protocol):
    """An autoencoder of photographs."""

    def latents(self, rgb: Pixels) -> torch.Tensor: ...

    def decoded(self, latents: torch.Tensor) -> Pixels: ...


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


BANDS = 32
"""Rings of frequency that a passage is levelled in."""


def levelled(passage: Pixels, photograph: Pixels) -> Pixels:
    """`passage` with the photograph's energy in each ring of frequencies and each channel.

    A small decoder loses fine detail, so that a head learns to find blur, and calls sharp pictures photographs. Rings
    are those of the discrete cosine transform; no ring is raised more than eightfold or lowered by more than half.
    """
    rows, columns = np.meshgrid(*(np.arange(side) / side for side in passage.shape[:2]), indexing="ij")
    radius = np.hypot(rows, columns) * BANDS
    ring = np.minimum(radius.astype(np.int64), BANDS - 1)
    sides = [fft.dctn(rgb.astype(np.float32), axes=(0, 1), norm="ortho") for rgb in (passage, photograph)]
    for channel in range(3):
        own, meant = (np.bincount(ring.ravel(), np.square(side[..., channel]).ravel(), BANDS) for side in sides)
        gain = np.clip(np.sqrt((meant + 1e-6) / (own + 1e-6)), 0.5, 8.0)
        gain[0] = 1.0  # brightness and broad shapes stay
        sides[0][..., channel] *= np.interp(radius, np.arange(BANDS) + 0.5, gain)
    made: Pixels = np.rint(np.clip(fft.idctn(sides[0], axes=(0, 1), norm="ortho"), 0, 255)).astype(np.uint8)
    return made


SHARP = frozenset({"taef2"})
"""Decoders that were trained to keep fine detail, so that their passages need no levelling."""
VARIED = 3
"""Twins of one crop through one decoder: plain, disturbed, and either of them, which is meant for small views."""


def varied_twins(items: list[Item], decoders: Mapping[str, Decodes], work: Path) -> list[Twin]:
    """VARIED twins of one crop of each photograph and each decoder, about half of them retouched on both sides.

    Passages are kept under `work`, by the name of the decoder, and not made twice. Photographs with a side under SIDE
    are left out. Twins of one number share one photograph side.
    """
    work.mkdir(parents=True, exist_ok=True)
    made = []
    for item in items:
        rgb: Pixels | None = None
        seed = seed_of(item.id, 1000)
        for name, decoder in decoders.items():
            kept = work / f"{seed:016x}-{name}.npz"
            if not kept.exists():
                rgb = item.pixels() if rgb is None else rgb
                if min(rgb.shape[:2]) < SIDE:
                    break
                photograph = crop_of(rgb, seed)
                latents = decoder.latents(photograph)
                own = seed if name == "taef2" else seed_of(f"{item.id}/{name}", 1000)
                passages = [decoder.decoded(latents), decoder.decoded(disturbed(latents, own))]
                if name not in SHARP:
                    passages = [levelled(passage, photograph) for passage in passages]
                if seed % 2:
                    passages = [saved_alike(passage, item.path) for passage in passages]
                _keep(kept, photograph=photograph, plain=passages[0], disturbed=passages[1])
            with np.load(kept) as stored:
                photograph, passages = stored["photograph"], [stored["plain"], stored["disturbed"]]
            for number, passage in enumerate([*passages, passages[seed // 2 % 2]]):
                touch, shown = seed_of(item.id, 4000 + number), photograph
                if touch % 2:
                    shown, passage = retouched(photograph, touch), retouched(passage, touch)
                made.append(Twin(item, number, shown, passage, name))
    return made


def _keep(file: Path, **arrays: Pixels) -> None:
    part = file.with_suffix(".part")
    with part.open("wb") as stream:
        np.savez_compressed(stream, **arrays)  # type: ignore[arg-type]
    part.replace(file)


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
                _keep(kept, photograph=photograph, passage=passage)
            with np.load(kept) as both:
                made.append(Twin(item, number, both["photograph"], both["passage"]))
    return made


def main() -> None:
    """Makes all twins that `finetune.heads` trains on."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--taef2", type=Path, required=True)
    parser.add_argument("--work", type=Path, default=Path("runs/twins"))
    parser.add_argument("--zoo", type=Path, help="folder of finetune.autoencoders: semantic's twins")
    options = parser.parse_args()
    reals = [item for item in datasets.labelled(options.data, "train") if item.label == "real"]
    for name, items, crops in (("train", reals, 2), ("photos", datasets.photos(options.data), 1)):
        if options.zoo is None:
            made = twins(items, options.taef2, options.work, crops)
        else:
            made = varied_twins(items, {"taef2": Taef2(options.taef2), **served(options.zoo)}, options.work)
        for decoder in sorted({twin.decoder for twin in made}):
            own = [twin for twin in made if twin.decoder == decoder]
            quality = psnr((twin.photograph, twin.passage) for twin in own)
            print(f"{name}, {decoder}: {len(own)} twins of {len(items)} photographs, {quality:.1f} dB", flush=True)


if __name__ == "__main__":
    main()
