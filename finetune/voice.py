"""Scores the vision-language model's own probability on a sample of the pictures that tools are calibrated on.

    python -m finetune.voice --data DIR --taef2 DIR --seen BUILT/views.json --out finetune/oof/voice

It writes `vision.csv` in the form of `finetune.scores`, in a folder of its own, which `finetune.calibrate` reads only
where it is told to (`--beside`). A look costs seconds, hence a sample: `--count` aligned pairs (photographs beside
their own passage through TAEF2) and as many generated pictures and photographs, spread over generators and sources.

What the adapter knew: generated pictures that it was trained on (`--seen`, written by `finetune.data`) are left out of
the matched rows. But it was trained on views of all these photographs, untouched and planted, and on other pictures of
the same generators, so that its matched rows are told on the favourable side. No passage of an autoencoder was shown.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING

from agent import models
from agent.settings import Settings
from evals import datasets
from evals.datasets import Item
from evals.perturb import decode, seed_of
from evals.voice import AT_ONCE, Voice
from finetune import examples
from finetune.data import read_truths
from finetune.examples import Example
from finetune.scores import COLUMNS
from finetune.twins import twins

if TYPE_CHECKING:
    from collections.abc import Callable

Row = tuple[str, ...]


def spread(items: Iterable[Item], by: Callable[[Item], str]) -> list[Item]:
    """All items, a turn for each group and in a fixed random order: any beginning is spread over the groups."""
    groups: dict[str, list[Item]] = defaultdict(list)
    for item in sorted(items, key=lambda item: hashlib.sha256(item.id.encode()).digest()):
        groups[by(item)].append(item)
    turns = zip_longest(*(groups[name] for name in sorted(groups)))
    return [item for turn in turns for item in turn if item is not None]


def pictures_seen(views: Path) -> set[str]:
    """Names of the generated pictures that the adapter was trained on, from the `views.json` of `finetune.data`."""
    return {truth.id.rsplit("#", 1)[0] for truth in read_truths(views) if truth.made}


def sample(data: Path, taef2: Path, work: Path, seen: set[str], count: int) -> Iterator[Example]:
    """`count` aligned pairs, and as many generated pictures and photographs; in turns, so that it may be broken off.

    Of the two draws of a picture on which other tools were scored one is taken, by its name.
    """
    items = datasets.labelled(data, "train")
    generated = [item for item in items if item.label == "generated"]
    photographs = [item for item in items if item.label == "real"]
    histories = examples.tables_of(generated)

    def matched(some: list[Item]) -> Iterator[Example]:
        for e in examples.matched(some, 2, histories=histories):
            if e.draw == seed_of(e.item.id, 5000) % 2:
                yield e

    unseen = [item for item in generated if item.id not in seen]
    made = matched(spread(unseen, lambda item: item.generator))
    taken = matched(spread(photographs, lambda item: item.source))
    whole = spread(photographs + datasets.photos(data), lambda item: item.source)[:count]
    pairs = (twin for item in whole for twin in twins([item], taef2, work, 1))
    for _ in range(count):
        yield from (e for stream in (made, taken) if (e := next(stream, None)) is not None)
        yield from examples.aligned([twin for twin in (next(pairs, None),) if twin is not None])


def row_of(e: Example, score: float) -> Row:
    """A row of the score file; `fold` tells whether the adapter was trained on views of the very picture."""
    fold = "unseen" if e.item.label == "generated" else "seen"
    about = (e.item.id, e.label, e.generator, e.item.prompt, e.item.source, fold, e.kind, str(e.draw))
    return (*about, str(e.jpeg_quality), str(e.short_side), f"{score:.5f}")


def score(stream: Iterable[Example], voice: Voice, part: Path) -> Iterator[Row]:
    """A row for each example that the model gives a number for. Rows are kept in `part`, and not scored twice."""
    known: dict[Row, Row] = {}
    if part.is_file():
        with part.open(newline="", encoding="utf-8") as file:
            known = {tuple(row[:-1]): tuple(row) for row in csv.reader(file) if len(row) == len(COLUMNS)}
    part.parent.mkdir(parents=True, exist_ok=True)
    with part.open("a", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        waiting: list[Example] = []

        def asked() -> Iterator[Row]:
            for e, said in zip(waiting, voice.many(decode(e.data) for e in waiting), strict=True):
                if said.score is not None:
                    writer.writerow(row := row_of(e, said.score))
                    yield row
            file.flush()
            waiting.clear()

        for e in stream:
            about = row_of(e, 0.0)[:-1]
            if about in known:
                yield known[about]
                continue
            waiting.append(e)
            if len(waiting) == AT_ONCE:
                yield from asked()
        yield from asked()


def main(arguments: Sequence[str] | None = None) -> None:
    """Writes the score file."""
    import torch

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--taef2", type=Path, required=True, help="folder of the TAEF2 weights")
    parser.add_argument("--seen", type=Path, required=True, help="views.json of the adapter's training")
    parser.add_argument("--out", type=Path, default=Path("finetune/oof/voice"))
    parser.add_argument("--work", type=Path, default=Path("runs"), help="where twins and rows are kept")
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args(arguments)
    torch.set_num_threads(options.threads)
    pinned = models.card().training["data"]["sha256"]["views.json"]
    if hashlib.sha256(options.seen.read_bytes()).hexdigest() != pinned:
        print(f"{options.seen.name} is not the file that the model's card names: views of another training.")
    voice = Voice.from_cache(Settings().cache)
    part = options.work / f"voice-{re.sub('[^A-Za-z0-9.-]', '_', voice.version)}.csv"
    stream = sample(options.data, options.taef2, options.work / "twins", pictures_seen(options.seen), options.count)
    rows = []
    for row in score(stream, voice, part):
        rows.append(row)
        if len(rows) % (10 * AT_ONCE) == 0:
            print(f"{len(rows)} rows", flush=True)
    options.out.mkdir(parents=True, exist_ok=True)
    with (options.out / f"{voice.name}.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        writer.writerows(rows)
    print(f"{voice.version}: {len(rows)} rows written.")


if __name__ == "__main__":
    main()
