"""Trains and measures `splice`: which part of a picture was made otherwise.

    python -m finetune.splice --data DIR --taef2 DIR [--work runs/splice] [--epochs 9]
    python -m finetune.splice --fuse --data DIR --taef2 DIR [--work runs/splice]
    python -m finetune.splice --measure --data DIR [--taef2 DIR] [--count 240]

Training makes edits in photographs of train/ and photos/ (`finetune.tampering`), fits the network on two thirds of
their hosts, and asks the whole tool about the last third: from those answers come the logistic that joins network and
copies, the levels, and `finetune/oof/splice.csv`. `--fuse` asks anew and fits these alone, with the shipped network.
What a part that occurs twice is worth comes from counts: how often one is found in the held-out edits, against how
often in their untouched sides and in the pictures of train/ as they lie. `--measure` opens what training did not: edits
made in the COCO pictures of test/ with their panoptic segments, and the pictures edited by hand. Nothing is chosen by
it.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import io
import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image
from sklearn.linear_model import LogisticRegression

from evals import datasets, metrics
from evals.edits import KINDS, EditedItem, made_edits
from finetune import tampering
from finetune.cards import write_weights
from finetune.comparer import train
from finetune.heads import OOF
from finetune.scores import COLUMNS
from finetune.tampering import FOLDS, HELD, fold_of, held_out
from tools import copies
from tools.contract import Budget, Evidence
from tools.copies import find
from tools.image import SourceImage
from tools.splicing import PATCH, Comparer, compare, shipped
from tools.suspicion import FLAT, LEVEL, Fusion, octaves, pasted_part, with_copy
from tools.tiles import sigmoid

Heat = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Asked:
    """What network and copies said of one held-out file.

    Attributes:
        pointed: Whether the map's highest place was altered; as `metrics.pointing_accuracy`, and 0 where untouched.
        marks: The 99th percentile of the map.
    """

    item: str
    source: str
    photograph: bool
    kind: str
    draw: int
    jpeg_quality: int
    short_side: int
    network: float
    matches: int
    pointed: float
    marks: float


def spread_out(marks: Heat, shape: tuple[int, ...]) -> Heat:
    """A map of patches as HxW pixels."""
    filled = np.nan_to_num(marks, nan=-1.0)
    return np.kron(filled, np.ones((PATCH, PATCH), np.float32))[: shape[0], : shape[1]]


def asked(network: Comparer, items: Iterable[EditedItem]) -> Iterator[Asked]:
    """Asks `network` and `tools.copies` about each file; those too flat to judge are left out, as the tool does."""
    for item in items:
        image = SourceImage.open(item.data, "made")
        seen, copy = compare(network, image, Budget().max_tiles), find(image.rgb, image.seed)
        if seen.texture < FLAT:
            continue
        marks = seen.marks if copy is None else with_copy(seen.marks, copy, pasted_part(copy, seen.marks, PATCH), PATCH)
        hit = metrics.pointing_accuracy([spread_out(marks, item.mask.shape)], [item.mask]) if item.kind else 0.0
        yield Asked(
            item.host.id, item.host.source, item.host.label == "real", item.kind, item.draw, item.jpeg_quality,
            min(image.width, image.height), seen.logit, copy.matches if copy else 0, hit,
            float(np.nanpercentile(seen.marks, 99)),
        )  # fmt: skip


def fused(rows: list[Asked], false: Found) -> tuple[float, float, float, float]:
    """What `Fusion` needs (network, copies, size, bias), both classes counting the same.

    Args:
        rows: What was asked of edits and their untouched sides.
        false: What `tools.copies` found in pictures that nobody altered.
    """
    alone = [row for row in rows if not row.matches]
    table = np.array([(row.network, octaves(row.short_side)) for row in alone])
    model = LogisticRegression(C=100.0, class_weight="balanced").fit(table, [bool(row.kind) for row in alone])
    network, size = model.coef_[0]
    edits, untouched = ([row for row in rows if bool(row.kind) == kind] for kind in (True, False))
    right = Found(sum(row.matches > 0 for row in edits), len(edits))
    wrong = Found(sum(row.matches > 0 for row in untouched) + false.copies, len(untouched) + false.pictures)
    return float(network), max(0.0, float(np.log(right.rate / wrong.rate))), float(size), float(model.intercept_[0])


@dataclass(frozen=True, slots=True)
class Found:
    """In how many of some pictures a part was found twice."""

    copies: int
    pictures: int

    @property
    def rate(self) -> float:
        """The share, as if half a picture more had one and half a picture more had none."""
        return (self.copies + 0.5) / (self.pictures + 1)


def found_in(items: Iterable[datasets.Item]) -> Found:
    """What `tools.copies` finds in pictures as they lie; grids of pictures are left out, since those may repeat."""
    told = []
    for item in items:
        if item.panes == 1:
            image = SourceImage.open(item.path.read_bytes(), item.path.name)
            told.append(find(image.rgb, image.seed) is not None)
    return Found(sum(told), len(told))


def cross_fused(rows: list[Asked], false: Found) -> npt.NDArray[np.float64]:
    """The logit of each held-out row, by the logistic that was fitted on the other half of the hosts."""
    names = sorted({row.item for row in rows})
    half = {name: place % 2 for place, name in enumerate(names)}
    logits = np.zeros(len(rows))
    for side in (0, 1):
        fusion = Fusion(*fused([row for row in rows if half[row.item] != side], false), high=0.0, mark=0.0)
        for i, row in enumerate(rows):
            if half[row.item] == side:
                logits[i] = fusion.logit(row.network, row.matches, row.short_side)
    return logits


def figures_of(rows: list[Asked], logits: npt.NDArray[np.float64]) -> dict[str, object]:
    """AUROC against the untouched sides and pointing accuracy, for all and by kind."""
    altered = np.array([bool(row.kind) for row in rows])
    found: dict[str, object] = {"held-out pictures": len(rows)}
    for kind in ("all", *KINDS):
        chosen = ~altered | np.array([kind in ("all", row.kind) for row in rows])
        area = metrics.auroc(altered[chosen], logits[chosen])
        hits = [row.pointed for row in rows if row.kind and kind in ("all", row.kind)]
        found[f"{kind}: AUROC altered against untouched, held out"] = round(area, 3)
        found[f"{kind}: pointing accuracy, held out"] = round(float(np.mean(hits)), 3)
    return found


def write_scores(rows: list[Asked], logits: npt.NDArray[np.float64], file: Path) -> None:
    """Held-out scores of photographs, altered and untouched, for `finetune.calibrate`."""
    with file.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(COLUMNS)
        for row, logit in zip(rows, logits, strict=True):
            if row.photograph:
                label = "edited" if row.kind else "real"
                about = (row.item, label, row.kind, "", row.source, f"host{HELD}of{FOLDS}", "aligned", row.draw)
                writer.writerow((*about, row.jpeg_quality, row.short_side, f"{sigmoid(float(logit)):.5f}"))


def fit(data: Path, taef2: Path, work: Path, epochs: int) -> None:
    """Trains, asks about the held-out third, and writes weights, card, pin and scores."""
    tampering.make(data, taef2, work)
    samples = [s for s in tampering.read(data, work) if s.fold != HELD]
    print(f"{len(samples)} samples to train on", flush=True)
    network = train(samples, epochs=epochs, seed=0, kept=work / "checkpoint.pt")
    fuse(network, data, taef2, work, f"python -m finetune.splice --epochs {epochs}")


def fuse(network: Comparer, data: Path, taef2: Path, work: Path, recipe: str) -> None:
    """Asks about the held-out third, joins network and copies, and writes weights, card, pin and scores."""
    work.mkdir(parents=True, exist_ok=True)
    state = b"".join(value.numpy().tobytes() for value in network.state_dict().values())
    state += Path(copies.__file__).read_bytes()
    kept = work / f"held-{hashlib.sha256(state).hexdigest()[:12]}.json"
    rows = [Asked(**row) for row in json.loads(kept.read_text())] if kept.exists() else []
    if not rows:
        rows = list(asked(network, held_out(data, taef2)))
        kept.write_text(json.dumps([asdict(row) for row in rows]))
    false = found_in(datasets.labelled(data, "train"))
    logits = cross_fused(rows, false)
    untouched = [i for i, row in enumerate(rows) if not row.kind and row.photograph]
    whole = [i for i, row in enumerate(rows) if not row.kind and not row.photograph]
    high = float(np.percentile(logits[untouched], LEVEL))
    mark = float(np.percentile([rows[i].marks for i in untouched], LEVEL))
    made = [items for _, items, _ in tampering.chunks(data)]
    told = figures_of(rows, logits) | {
        "hosts": len({item.id for items in made for item in items}),
        "training files": 2 * sum(map(len, made)),
        "pictures of train/ in which a part is found twice": f"{false.copies} of {false.pictures}",
        "what that adds to the log-odds": round(fused(rows, false)[1], 3),
        f"level that {LEVEL} % of held-out untouched photographs stay under (log-odds)": round(high, 3),
        "untouched wholly generated pictures over that level": round(float(np.mean(logits[whole] >= high)), 3),
        f"mark that 99 % of the patches of {LEVEL} % of them stay under": round(mark, 3),
    }  # fmt: skip
    for name, value in told.items():
        print(f"  {name}: {value}", flush=True)
    write_scores(rows, logits, OOF / "splice.csv")
    arrays = {name: value.numpy() for name, value in network.state_dict().items()}
    hosts = [item for group in tampering.hosts(data).values() for item in group]
    write_weights(
        "splice",
        arrays | {"levels": np.array([*fused(rows, false), high, mark])},
        recipe=recipe,
        about="Network of the tool `splice`, which compares each part of a picture with the rest, and its levels.",
        items=[item for item in hosts if fold_of(item.id) != HELD],
        figures=told,
    )


def _heat(evidence: Evidence, image: SourceImage) -> Heat:
    """The map of differences that the tool drew, as HxW pixels."""
    ref = next(ref for ref in evidence.maps if ref.name == "splice_marks")
    with Image.open(io.BytesIO(image.maps.png[ref.sha256])) as file:
        return spread_out(np.asarray(file, dtype=np.float32), image.rgb.shape[:2])


def measure(data: Path, taef2: Path | None, count: int, seed: int) -> None:
    """Prints Markdown tables of the shipped tool on made edits of COCO pictures and on those made by hand."""
    from finetune.taef2 import Taef2
    from tools.detectors.splice import splice

    passage = Taef2(taef2).passage if taef2 is not None else None
    rows: list[tuple[str, str, float, float]] = []  # host, kind, score, pointing
    silent = 0
    for item in made_edits(data, count, seed, passage):
        image = SourceImage.open(item.data, "made")
        evidence = splice.examine(image, Budget())
        if evidence.score is None:
            silent += 1
            continue
        hit = metrics.pointing_accuracy([_heat(evidence, image)], [item.mask]) if item.kind else float("nan")
        rows.append((item.host.id, item.kind, evidence.score, hit))
    untouched = [row for row in rows if not row[1]]
    hosts = len({row[0] for row in rows})
    print(f"{count} made edits of {hosts} COCO pictures and as many untouched; {silent} abstained.")
    print("\n| kind | n | AUROC against untouched | pointing accuracy |\n|---|---|---|---|")
    for kind in ("all", *KINDS):
        chosen = [row for row in rows if row[1] and kind in ("all", row[1])]
        if chosen:
            print(f"| {kind} | {len(chosen)} | {_area(chosen, untouched)} | {_share(chosen)} |")
    level = float(np.mean([row[2] >= sigmoid(Fusion.shipped().high) for row in untouched]))
    print(f"\nUntouched pictures over the level of {LEVEL} %: {level:.3f}")
    measure_by_hand(data)


def measure_by_hand(data: Path) -> None:
    """The same on the pictures edited by hand, beside the photographs of test/ as they lie."""
    from tools.detectors.splice import splice

    made, taken = [], []
    for item in datasets.edited(data):
        image = SourceImage.open(item.path.read_bytes(), item.path.name)
        evidence = splice.examine(image, Budget())
        if evidence.score is not None:
            hit = metrics.pointing_accuracy([_heat(evidence, image)], [item.mask_pixels()])
            made.append((item.id, "hand", evidence.score, hit))
            print(f"{item.id}: score {evidence.score:.3f}, pointing {hit:.2f}")
    for item in datasets.labelled(data, "test"):
        if item.label == "real":
            found = splice.examine(SourceImage.open(item.path.read_bytes(), item.path.name), Budget()).score
            if found is not None:
                taken.append((item.id, "", found, float("nan")))
    print(
        f"by hand: {len(made)} pictures, AUROC against {len(taken)} photographs of test/ as they lie (other sizes and "
        f"formats, so that it says little): {_area(made, taken)}; pointing {_share(made)}"
    )


Row = tuple[str, str, float, float]


def _area(altered: list[Row], untouched: list[Row]) -> str:
    both = [*altered, *untouched]
    found = metrics.bootstrap(
        metrics.auroc, [bool(row[1]) for row in both], [row[2] for row in both], [row[0] for row in both], seed=0
    )
    return f"{found.value:.2f} [{found.low:.2f}, {found.high:.2f}]"


def _share(altered: list[Row]) -> str:
    found = metrics.bootstrap(
        lambda labels, values: float(values.mean()) if len(values) else float("nan"),
        [1] * len(altered), [row[3] for row in altered], [row[0] for row in altered], seed=0,
    )  # fmt: skip
    return f"{found.value:.2f} [{found.low:.2f}, {found.high:.2f}]"


def main() -> None:
    """Trains, or measures with `--measure`."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--taef2", type=Path, help="folder of the TAEF2 weights; needed for training")
    parser.add_argument("--work", type=Path, default=Path("runs/splice"))
    parser.add_argument("--epochs", type=int, default=9)
    parser.add_argument("--fuse", action="store_true", help="keep the shipped network, and join it with copies anew")
    parser.add_argument("--measure", action="store_true")
    parser.add_argument("--count", type=int, default=240, help="made edits to measure on")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    if options.measure:
        measure(options.data, options.taef2, options.count, options.seed)
        return
    if options.taef2 is None:
        parser.error("--taef2 is missing: training needs the autoencoder")
    if options.fuse:
        trained = "python -m finetune.splice --epochs 9"
        fuse(shipped(), options.data, options.taef2, options.work, f"{trained}; then python -m finetune.splice --fuse")
        return
    fit(options.data, options.taef2, options.work, options.epochs)


if __name__ == "__main__":
    main()
