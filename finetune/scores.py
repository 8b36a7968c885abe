"""Score files: one line for each picture that a tool scored without having known it, `finetune/oof/<tool>.csv`."""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, fields
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from agent.calibration import SMALL_SIDE, Array, bucket_names
from tools.errors import ConfigurationError

if TYPE_CHECKING:
    from finetune.examples import Example

COLUMNS = (
    "item", "label", "generator", "prompt", "source", "fold", "kind", "draw", "jpeg_quality", "short_side", "score",
)  # fmt: skip
Texts = NDArray[np.str_]


@dataclass(frozen=True)
class Rows:
    """One tool's score file, by column, each (n,).

    Attributes:
        key: Names the very file that was scored, the same in every tool's scores.
        picture: The picture it was cut from: rows of one picture are not independent.
        group: What the bootstrap draws and the cross-fit holds out as one: the generator of a generated picture, else
            the photograph. Both sides of an aligned pair share their photograph's.
        stratum: Groups are drawn among those of one stratum.
        met: Whether aligned rows were scored by heads that knew what made their passages.
        y: 1 for the target class, 0 for photographs.
    """

    key: Texts
    picture: Texts
    group: Texts
    stratum: Texts
    kind: Texts
    source: Texts
    y: Array
    jpeg_quality: Array
    short_side: Array
    score: Array
    met: bool = False

    @property
    def kinds(self) -> tuple[str, ...]:
        """The kinds that hold both classes, in order of name."""
        return tuple(k for k in sorted(set(self.kind)) if len(set(self.y[self.kind == k])) == 2)

    @property
    def small(self) -> NDArray[np.bool_]:
        """(n,) whether a row is a small view."""
        return self.short_side < SMALL_SIDE

    def where(self, chosen: NDArray[np.bool_]) -> Rows:
        """The chosen rows."""
        columns = {f.name: getattr(self, f.name)[chosen] for f in fields(self) if f.name != "met"}
        return Rows(**columns, met=self.met)

    @cached_property
    def buckets(self) -> list[tuple[str, str, str]]:
        """The reliability buckets of each row, narrowest first."""
        return [bucket_names(q, s) for q, s in zip(self.jpeg_quality, self.short_side, strict=True)]

    @classmethod
    def of(cls, lines: Iterable[dict[str, str]], where: str) -> Rows:
        """Rows from the lines of a score file.

        Raises:
            ConfigurationError: A column is missing or holds what it must not.
        """
        columns: dict[str, list[str]] = {name: [] for name in ("key", "picture", "group", "stratum", "kind", "source")}
        numbers: list[tuple[float, float, float, float]] = []
        met = False
        for place, line in enumerate(lines, start=2):
            try:
                photograph = line["label"] == "real"
                met |= line.get("fold") == "met"
                own = photograph or line["kind"].startswith("aligned")
                score = float(line["score"])
                if line["label"] not in ("real", "generated", "edited") or not 0 <= score <= 1:
                    raise ValueError("label must be real, generated or edited, and score inside [0, 1]")
                key = "|".join((line["kind"], line["item"], line.get("draw", "0"), line["label"], line["short_side"]))
                numbers.append((float(not photograph), float(line["jpeg_quality"]), float(line["short_side"]), score))
            except (KeyError, TypeError, ValueError) as error:
                raise ConfigurationError(
                    f"{where}, line {place}, cannot be read: {error!r}.",
                    remedy=f"A score file has the columns {', '.join(COLUMNS)}.",
                ) from error
            columns["key"].append(key)
            columns["picture"].append(line["item"])
            columns["group"].append(f"photograph {line['item']}" if own else f"generator {line['generator']}")
            columns["stratum"].append("photographs" if own else "generators")
            columns["kind"].append(line["kind"])
            columns["source"].append(line["source"])
        if not numbers:
            raise ConfigurationError(f"{where} holds no scores.", remedy="Write it again, or remove it.")
        y, quality, side, scores = np.array(numbers, dtype=np.float64).T
        texts = {name: np.array(values, dtype=np.str_) for name, values in columns.items()}
        if len(set(texts["key"])) < len(texts["key"]):
            raise ConfigurationError(f"{where} scores one file twice.", remedy="Write it again.")
        return cls(**texts, y=y, jpeg_quality=quality, short_side=side, score=scores, met=met)


def read(folder: Path, reviewed: Path | None = None) -> tuple[dict[str, Rows], str]:
    """Every score file of a folder by tool, and the SHA-256 over their names and sorted contents.

    Rows of `reviewed`, a folder that `finetune.reviewed` wrote, are added to those of the same tool.

    Raises:
        ConfigurationError: A file is not in the agreed form.
    """
    found: dict[str, Rows] = {}
    digest = hashlib.sha256()
    for path in sorted(folder.glob("*.csv")):
        lines = path.read_text(encoding="utf-8").splitlines()
        more = reviewed / path.name if reviewed is not None else None
        if more is not None and more.is_file():
            lines += more.read_text(encoding="utf-8").splitlines()[1:]
        digest.update("\n".join([path.name, *sorted(lines)]).encode())
        found[path.stem] = Rows.of(csv.DictReader(lines), path.name)
    return found, digest.hexdigest() if found else ""


def score(name: str, data: Path, taef2: Path, work: Path, out: Path) -> str:
    """Scores a hand-made tool on the same files that heads are measured on, and writes its score file.

    A tool that was fitted on nothing has no folds to respect; tools with a head get theirs from `finetune.heads`.

    Returns:
        What was written, in a sentence.

    Raises:
        ConfigurationError: There is no such detector, or it carries trained weights.
    """
    from evals import datasets
    from finetune import examples
    from finetune.heads import MEASURES
    from finetune.twins import twins
    from tools.catalogue import detectors
    from tools.contract import Budget
    from tools.image import SourceImage

    if name in MEASURES:
        raise ConfigurationError(
            f"{name} has a trained head, so that its own scores would be of pictures it knows.",
            remedy=f"Run: python -m finetune.heads --tool {name}",
        )
    if name not in detectors():
        raise ConfigurationError(f"There is no detector {name!r}.", remedy=f"Known: {', '.join(detectors())}.")
    tool = detectors()[name]
    items = datasets.labelled(data, "train")
    photographs = [item for item in items if item.label == "real"]
    histories = examples.tables_of([item for item in items if item.label == "generated"])
    pairs = twins(photographs, taef2, work, 2) + twins(datasets.photos(data), taef2, work, 1)
    stream: Iterator[Example] = chain(examples.matched(items, 2, histories=histories), examples.aligned(pairs))
    written = silent = 0
    out.mkdir(parents=True, exist_ok=True)
    with (out / f"{name}.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        for e in stream:
            found = tool.examine(SourceImage.open(e.data, "scored.jpg"), Budget()).score
            if found is None:
                silent += 1
                continue
            written += 1
            about = (e.item.id, e.label, e.generator, e.item.prompt, e.item.source, "none", e.kind, e.draw)
            writer.writerow((*about, e.jpeg_quality, e.short_side, f"{found:.5f}"))
    return f"{name} {tool.version}: {written} scores written, {silent} abstentions left out."
