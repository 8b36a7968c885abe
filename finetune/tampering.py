"""Examples that the head of `splice` is fitted on: the maps of made edits and of the same pictures untouched.

Hosts are photographs of train/ and photos/ and, fewer, generated pictures of train/: a picture that was generated as a
whole is not altered in part, and must not be told so. The COCO pictures lie in test/ and take no part. A host and the
donor of what is pasted into it share a fold, so that held-out scores know neither.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from evals import datasets
from evals.datasets import Item
from evals.edits import EditedItem, training_edits
from finetune.taef2 import Taef2
from tools.errors import ConfigurationError
from tools.image import SourceImage
from tools.splicing import cells_of, measured

FOLDS = 3
HELD = 0
"""The fold that no training sees: scores for calibration are of its hosts."""
SEED = 20
DRAWS = {"train": 4, "photos": 2, "generated": 1}
"""Pairs made of each host, by its group."""
HELD_DRAWS = 2
GENERATED = 180
"""Generated pictures that serve as hosts."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One file as the head sees it.

    Attributes:
        maps: Features x rows x columns, as `tools.consistency.measure` gives them.
        share: rows x columns: the share of each cell that was altered.
    """

    item: str
    source: str
    photograph: bool
    kind: str
    draw: int
    fold: int
    jpeg_quality: int
    short_side: int
    maps: npt.NDArray[np.float16]
    share: npt.NDArray[np.float16]

    @property
    def altered(self) -> bool:
        """Whether the file was altered."""
        return bool(self.kind)


def fold_of(name: str) -> int:
    """The fold of a host by its id."""
    return int(hashlib.sha256(name.encode()).hexdigest(), 16) % FOLDS


def hosts(data: Path) -> dict[str, list[Item]]:
    """The pictures that edits are made in, by the group whose number of draws they share."""
    items = datasets.labelled(data, "train")
    made = sorted((i for i in items if i.label == "generated"), key=lambda i: hashlib.sha256(i.id.encode()).digest())
    return {
        "train": [i for i in items if i.label == "real"],
        "photos": datasets.photos(data),
        "generated": made[:GENERATED],
    }


def sample_of(item: EditedItem) -> Sample:
    """What the head sees of one made file."""
    image = SourceImage.open(item.data, "made")
    (maps,), _ = measured(image)
    return Sample(
        item.host.id, item.host.source, item.host.label == "real", item.kind, item.draw, fold_of(item.host.id),
        item.jpeg_quality, min(image.width, image.height), maps.numpy().astype(np.float16),
        cells_of(item.mask).astype(np.float16),
    )  # fmt: skip


def chunks(data: Path, held: bool = False) -> Iterator[tuple[str, list[Item], int]]:
    """What is made and kept as one file: its name, the hosts, and the number of the draw.

    Args:
        data: Folder of shared data.
        held: The hosts of the fold that no training sees, instead of the others.
    """
    groups = hosts(data)
    for draw in range(HELD_DRAWS if held else max(DRAWS.values())):
        for group, items in groups.items():
            for fold in [HELD] if held else [fold for fold in range(FOLDS) if fold != HELD]:
                chosen = [item for item in items if fold_of(item.id) == fold]
                if draw < DRAWS[group] and chosen:
                    yield f"{group}-{draw}-{fold}", chosen, draw


def held_out(data: Path, taef2: Path) -> Iterator[EditedItem]:
    """The made edits of the fold that no training sees."""
    passage = Taef2(taef2)
    for _, chosen, draw in chunks(data, held=True):
        yield from training_edits(chosen, [draw], SEED, passage.passage)


def make(data: Path, taef2: Path, work: Path) -> None:
    """Makes the chunks that no run has begun; several runs may share the work."""
    passage: Taef2 | None = None
    work.mkdir(parents=True, exist_ok=True)
    for name, chosen, draw in chunks(data):
        done, begun = work / f"{name}.npz", work / f"{name}.begun"
        try:
            os.close(os.open(begun, os.O_CREAT | os.O_EXCL))
        except FileExistsError:
            continue
        passage = passage or Taef2(taef2)
        samples = [sample_of(item) for item in training_edits(chosen, [draw], SEED, passage.passage)]
        part = done.with_suffix(".part")
        with part.open("wb") as file:
            np.savez(file, allow_pickle=False, **_packed(samples))
        part.replace(done)
        print(f"{name}: {len(samples)} samples", flush=True)


_TEXT = ("item", "source", "kind")
_NUMBERS = ("photograph", "draw", "fold", "jpeg_quality", "short_side")


def _packed(samples: list[Sample]) -> dict[str, npt.NDArray[np.generic]]:
    arrays: dict[str, npt.NDArray[np.generic]] = {
        name: np.array([getattr(s, name) for s in samples]) for name in (*_TEXT, *_NUMBERS)
    }
    arrays["shapes"] = np.array([s.share.shape for s in samples])
    arrays["maps"] = np.concatenate([s.maps.reshape(len(s.maps), -1) for s in samples], axis=1)
    arrays["shares"] = np.concatenate([s.share.ravel() for s in samples])
    return arrays


def read(data: Path, work: Path) -> list[Sample]:
    """Every sample to train on, in a fixed order: each altered one is followed by its untouched one.

    Raises:
        ConfigurationError: if a chunk is missing.
    """
    samples = []
    for name, _, _ in chunks(data):
        if not (work / f"{name}.npz").is_file():
            raise ConfigurationError(
                f"{work / name}.npz is missing: a run that began it has not ended.",
                remedy=f"Wait for that run, or delete {name}.begun and start again.",
            )
        with np.load(work / f"{name}.npz") as file:
            held = dict(file)
        ends = np.cumsum([0, *(int(r * c) for r, c in held["shapes"])])
        for i, (rows, columns) in enumerate(held["shapes"]):
            inside = slice(ends[i], ends[i + 1])
            fields = {key: str(held[key][i]) for key in _TEXT} | {key: int(held[key][i]) for key in _NUMBERS}
            samples.append(
                Sample(
                    **fields | {"photograph": bool(held["photograph"][i])},  # type: ignore[arg-type]
                    maps=held["maps"][:, inside].reshape(-1, rows, columns),
                    share=held["shares"][inside].reshape(rows, columns),
                )
            )
    return samples
