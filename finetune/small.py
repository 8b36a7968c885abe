"""Fits the head by which `semantic` judges pictures that are smaller than one of its tiles.

    python -m finetune.small --data DIR --taef2 DIR [--work runs]

The mixture is that of `finetune.heads`: generated pictures and photographs of train/, varied twins through TAEF2, and
re-shared copies of both.
All of them are small views (`finetune.examples.smaller`) that `tools.clip` continues by their mirror image. The head of
whole tiles is not touched: a view that holds a mirror image is another thing, and so is its scale. Held-out scores take
the place of the small views' lines in `finetune/oof/semantic.csv`, by the folds and rules of `finetune.heads`.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import numpy.typing as npt

from evals import datasets
from evals.perturb import Pixels, seed_of
from finetune import examples, heads, resharing
from finetune.cards import write_weights
from finetune.twins import varied_twins

NAME = "semantic_small"
STRENGTH, SHARE = 3e-3, 4.0
"""As for whole tiles; not searched."""
DRAWS = 2
PHOTOS = 200
"""Photographs of photos/ that have twins, drawn by hash."""


def features(rgb: Pixels, seed: int) -> npt.NDArray[np.float32]:
    """The features that `semantic` reads, rounded to half precision, which halves what is kept of them."""
    return heads.semantic_features(rgb, seed).astype(np.float16).astype(np.float32)


def measured(data: Path, taef2: Path, work: Path) -> list[heads.Measured]:
    """Every small view that the head is fitted on; twins and features are kept under `work`."""
    items = datasets.labelled(data, "train")
    photographs = [item for item in items if item.label == "real"]
    histories = examples.tables_of([item for item in items if item.label == "generated"])
    photographs += sorted(datasets.photos(data), key=lambda item: seed_of(item.id))[:PHOTOS]
    pairs = varied_twins(photographs, taef2, work / "twins", 1, small=True)
    streams = {
        "matched": examples.matched_small(items, DRAWS, histories),
        "aligned": examples.aligned_small(pairs),
        "matched_reshared": resharing.matched_reshared(items, DRAWS, histories, small=True),
        "aligned_reshared": resharing.aligned_reshared(pairs, small=True),
    }
    return [
        row
        for kind, stream in streams.items()
        for row in heads.measured(stream, features, work / "features" / f"{NAME}_{kind}.npz")
    ]


def train(data: Path, taef2: Path, work: Path) -> None:
    """Fits the head, prints what was found on the way, and writes weights, card, pin and scores."""
    rows = measured(data, taef2, work)
    print(f"{NAME}: {len(rows)} small views, {rows[0].features.shape[1]} features", flush=True)
    logits = heads.held_out(rows, STRENGTH, SHARE, quick=True)
    low, high = heads.levels(rows, logits)
    figures = {
        "C": STRENGTH,
        "weight of aligned pairs": SHARE,
        "small views": len(rows),
        "held-out AUROC, generated against photographs of train/": round(heads.auroc(rows, logits, "matched"), 3),
        "AUROC, passages through TAEF2 of photographs from unseen sources": round(
            heads.auroc(rows, logits, "aligned"), 3
        ),
        "level that 90 % of held-out photographs stay under (log-odds)": round(high, 3),
        "level that 90 % of held-out generated pictures stay above (log-odds)": round(low, 3),
        **heads.reshared_figures(rows, logits),
    }
    for name, value in figures.items():
        print(f"  {name}: {value}", flush=True)
    heads.write_scores(rows, logits, heads.OOF / "semantic.csv", heads.APART["semantic"], "met")
    generated = np.array([row.example.label == "generated" for row in rows])
    head = heads.fit(heads.means(rows), generated, heads.balance(rows, SHARE), STRENGTH, quick=True)
    write_weights(
        NAME,
        {"mean": head.mean, "scale": head.scale, "weight": head.weight, "levels": np.array([head.bias, low, high])},
        recipe="python -m finetune.small",
        about="Linear head of the tool `semantic` for pictures of 128 to 223 px on the shorter side.",
        items=[row.example.item for row in rows],
        figures=figures,
        precision=np.float32,
    )


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--taef2", type=Path, required=True)
    parser.add_argument("--work", type=Path, default=Path("runs"))
    options = parser.parse_args()
    train(options.data, options.taef2, options.work)


if __name__ == "__main__":
    main()
