"""Readers of public benchmarks as they lie on the disk of those who have them. Nothing is fetched.

| name | folders | real | generated |
|---|---|---|---|
| genimage | `[generator/]imagenet_*/{train,val}/{ai,nature}/` | `nature` | `ai` |
| aigcdetect | `generator/[class/]{0_real,1_fake}/` | `0_real` | `1_fake` |
| chameleon | `{train,test}/{0_real,1_fake}/` | `0_real` | `1_fake` |
| cifake | `{train,test}/{REAL,FAKE}/` | `REAL` | `FAKE` |
| fakeclue | `data_json/{train,test}.json` with `image`, `label`, `cate`; files in `{train,test}/` | label 1 | label 0 |

Sources: the GenImage, AIGCDetectBenchmark, AIDE (Chameleon), CIFAKE and FakeVLM (FakeClue) repositories and data pages.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

from evals.datasets import Item, Label, Split
from tools.errors import ConfigurationError

SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff"})
FAKECLUE_LABELS: dict[object, Label] = {0: "generated", 1: "real"}


def read(name: str, folder: Path, split: str = "test") -> list[Item]:
    """The items of a public layout in order of path; ids are paths inside `folder`.

    Args:
        name: Of `LAYOUTS`.
        folder: What was unpacked.
        split: `train` or `test`; GenImage calls its test `val`. AIGCDetectBenchmark has one split only.

    Raises:
        ConfigurationError: There is no such layout, or the folder does not have it.
    """
    if name not in LAYOUTS:
        raise ConfigurationError(f"There is no layout {name!r}.", remedy=f"Known: {', '.join(LAYOUTS)}.")
    if split not in ("train", "test"):
        raise ConfigurationError(f"There is no split {split!r}.", remedy="It is train or test.")
    if not folder.is_dir():
        raise ConfigurationError(f"{folder} is not a folder.", remedy="Pass --data with what was unpacked.")
    items = sorted(LAYOUTS[name](folder, split), key=lambda item: item.id)
    found = {item.label for item in items}
    if found != {"real", "generated"}:
        raise ConfigurationError(
            f"{folder} holds {', '.join(sorted(found)) or 'no'} pictures in the layout of {name}; both real and "
            "generated ones are needed.",
            remedy="The table in evals/layouts.py shows the folders of each layout.",
        )
    return items


def _item(folder: Path, path: Path, label: Label, split: str, generator: str, source: str) -> Item:
    known: Split = "train" if split == "train" else "test"
    return Item(
        id=path.relative_to(folder).as_posix(), path=path, split=known, label=label,
        generator=generator if label == "generated" else "", source=source,
    )  # fmt: skip


def _in_folders(folder: Path, names: dict[str, Label]) -> Iterator[tuple[Path, Label, tuple[str, ...]]]:
    """Every picture whose own folder bears one of the names; and the folders above that one."""
    for path in folder.rglob("*"):
        if path.parent.name in names and path.suffix.lower() in SUFFIXES and path.is_file():
            yield path, names[path.parent.name], path.relative_to(folder).parts[:-2]


def _genimage(folder: Path, split: str) -> Iterator[Item]:
    place = "train" if split == "train" else "val"
    for path, label, above in _in_folders(folder, {"ai": "generated", "nature": "real"}):
        if above and above[-1] == place:
            # imagenet_ai_0419_biggan names the generator last; the folder above it may bear a plainer name.
            generator = above[-2].split("_")[-1] if len(above) > 1 else folder.name.split("_")[-1]
            yield _item(folder, path, label, split, generator, "ImageNet")


def _aigcdetect(folder: Path, split: str) -> Iterator[Item]:
    for path, label, above in _in_folders(folder, {"0_real": "real", "1_fake": "generated"}):
        parts = [part for part in above if part not in ("train", "test", "val")]
        generator = parts[0] if parts else folder.name
        yield _item(folder, path, label, split, generator, f"photographs beside {generator}")


def _chameleon(folder: Path, split: str) -> Iterator[Item]:
    for path, label, above in _in_folders(folder, {"0_real": "real", "1_fake": "generated"}):
        if above and above[-1] == split:
            yield _item(folder, path, label, split, "unknown", "Chameleon")


def _cifake(folder: Path, split: str) -> Iterator[Item]:
    for path, label, above in _in_folders(folder, {"REAL": "real", "FAKE": "generated"}):
        if above and above[-1] == split:
            yield _item(folder, path, label, split, "Stable Diffusion 1.4", "CIFAR-10")


def _fakeclue(folder: Path, split: str) -> Iterator[Item]:
    listed = folder / "data_json" / f"{split}.json"
    try:
        rows = json.loads(listed.read_text(encoding="utf-8"))
        pairs = [(str(row["image"]), FAKECLUE_LABELS[row["label"]], str(row.get("cate", ""))) for row in rows]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ConfigurationError(
            f"{listed} cannot be read: {error!r}.", remedy="It must list image and label (0 generated, 1 real)."
        ) from error
    for name, label, kind in pairs:
        # The archive nests its files in a folder of the split's name, which some unpack once more.
        places = [folder / split / name, folder / split / split / name, folder / name]
        path = next((place for place in places if place.is_file()), None)
        if path is None:
            raise ConfigurationError(
                f"{listed.name} lists {name}, which is not in {folder / split}.", remedy=f"Unpack {split}.zip there."
            )
        first = Path(name).parts[0]
        yield _item(folder, path, label, split, f"{first} {kind}".strip(), first)


LAYOUTS: dict[str, Callable[[Path, str], Iterator[Item]]] = {
    "genimage": _genimage,
    "aigcdetect": _aigcdetect,
    "chameleon": _chameleon,
    "cifake": _cifake,
    "fakeclue": _fakeclue,
}
"""By name."""
