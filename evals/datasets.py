"""Readers of the data that tools are trained and measured on, as typed items.

The folder is the one that `README.md` beside the data describes: `manifest.csv` over `train/` and `test/`, and a
manifest of its own in each of `pairs/`, `photos/` and `edited/`. Nothing here decides how items are used; the folds
that keep generators, prompts and sources apart are made in `finetune.folds`.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, cast

import numpy as np
import numpy.typing as npt
from PIL import Image

from tools.errors import ConfigurationError
from tools.image import SourceImage

Label = Literal["real", "generated", "edited"]
Split = Literal["train", "test", "pairs", "photos", "edited"]
PIXEL_ARRAY = npt.NDArray[np.uint8]
_TWO_BY_TWO = "SD1.x-2x2-grid"


@dataclass(frozen=True, slots=True)
class Item:
    """One picture of the data.

    Attributes:
        id: Path inside the data folder, with forward slashes; names the item in every score file.
        generator: Name of the model that made it; empty for a photograph.
        prompt: Text it was made from, where that is known; pictures of one prompt share their subject.
        source: Collection it comes from. Photographs of one camera collection share theirs.
        pair: Name of the content-matched pair it belongs to; empty outside `pairs/`.
        panes: Pictures a side: 2 for a file that holds a 2x2 grid of pictures. A crop must stay inside one pane.
        mask: Mask of the edited part, for `edited/`.
    """

    id: str
    path: Path
    split: Split
    label: Label
    generator: str = ""
    family: str = ""
    prompt: str = ""
    source: str = ""
    licence: str = ""
    pair: str = ""
    panes: int = 1
    mask: Path | None = None

    def pixels(self) -> PIXEL_ARRAY:
        """HxWx3 upright sRGB pixels, decoded as the service decodes them."""
        return SourceImage.open(self.path.read_bytes(), self.path.name).rgb

    def mask_pixels(self) -> npt.NDArray[np.bool_]:
        """HxW, true where the picture was altered.

        Raises:
            ConfigurationError: if the item has no mask.
        """
        if self.mask is None:
            raise ConfigurationError(f"{self.id} has no mask.", remedy="Only items of edited/ have one.")
        with Image.open(self.mask) as file:
            return np.asarray(file.convert("L")) > 127


def _rows(manifest: Path) -> list[dict[str, str]]:
    if not manifest.is_file():
        raise ConfigurationError(
            f"{manifest} is missing.", remedy="Pass --data with the folder that holds manifest.csv, train/ and test/."
        )
    with manifest.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def _label(value: str, where: str) -> Label:
    if value not in ("real", "generated"):
        raise ConfigurationError(f"{where} has the label {value!r}.", remedy="It must be real or generated.")
    return cast(Label, value)


def labelled(data: Path, split: Literal["train", "test"]) -> list[Item]:
    """Items of `train/` or `test/`, in the order of the manifest."""
    items = []
    for row in _rows(data / "manifest.csv"):
        if not row["path"].startswith(split + "/"):
            continue
        generator = "" if row["generator"] == "-" else row["generator"]
        items.append(
            Item(
                id=row["path"], path=data / row["path"], split=split, label=_label(row["label"], row["path"]),
                generator=generator, family=row["family"], prompt=row["prompt"], source=row["source"],
                licence=row["licence"], panes=2 if generator == _TWO_BY_TWO else 1,
            )
        )  # fmt: skip
    return items


def pairs(data: Path) -> list[Item]:
    """The content-matched pairs: two items share each `pair`, one real and one generated."""
    return [
        Item(
            id=f"pairs/{row['path']}", path=data / "pairs" / row["path"], split="pairs",
            label=_label(row["label"], row["path"]), pair=row["pair"], source="pairs",
            generator="unknown" if row["label"] == "generated" else "",
        )
        for row in _rows(data / "pairs" / "manifest.csv")
    ]  # fmt: skip


def photos(data: Path) -> list[Item]:
    """Lossless 256 px crops of photographs, for training only."""
    return [
        Item(
            id=f"photos/{row['path']}", path=data / "photos" / row["path"], split="photos", label="real",
            source=row["source"],
        )
        for row in _rows(data / "photos" / "manifest.csv")
    ]  # fmt: skip


def edited(data: Path) -> list[Item]:
    """Pictures altered by hand, each with the mask of what was altered."""
    folder = data / "edited"
    return [
        Item(
            id=f"edited/{row['path']}", path=folder / row["path"], split="edited", label="edited",
            source=row["source"], mask=folder / row["mask"],
        )
        for row in _rows(folder / "manifest.csv")
    ]  # fmt: skip
