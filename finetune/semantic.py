"""Fits the head of `semantic` on twins of several decoders, with scores held out by decoder.

    python -m finetune.autoencoders --data DIR --work runs/zoo
    python -m finetune.heads --tool semantic --data DIR --taef2 DIR --work runs

The mixture: generated pictures and photographs of train/ through the format-matching chain, whole tiles and small
views, and varied twins (`finetune.twins`) through TAEF2 and the zoo of `finetune.autoencoders`. Held-out scores of
matched examples come from crossed folds, those of aligned ones from heads that have met neither the decoder nor the
photograph's source (`finetune.lodo`).
"""

from __future__ import annotations

from functools import cache
from itertools import chain
from pathlib import Path

import numpy as np
import numpy.typing as npt
from sklearn.metrics import roc_auc_score

from agent.settings import Settings
from evals import datasets
from evals.datasets import Item
from evals.perturb import Pixels, seed_of
from finetune import examples, heads, lodo
from finetune.autoencoders import served
from finetune.cards import write_weights
from finetune.heads import Measured, Table
from finetune.taef2 import Taef2
from finetune.twins import Decodes, varied_twins
from tools import clip
from tools.clip import Tower
from tools.weights import verify

STRENGTH = 3e-3
SHARE = 4.0
"""What aligned pairs weigh beside matched pictures."""
DRAWS = 2
FOREIGN = ("taef2",)
"""Decoders whose passages serve calibration. The zoo is one family, of one hand and one recipe: a head finds an unseen
member of it far more easily than a decoder from elsewhere, and would be trusted too much."""
PHOTOS = 200
"""Photographs of photos/ that have twins, drawn by hash: every decoder costs a view of each."""
APART = 200
"""Where aligned draws are counted from: these are other files than those of the same number in other tools' scores."""


def features(rgb: Pixels, seed: int) -> npt.NDArray[np.float32]:
    """The features that `semantic` reads, rounded to half precision."""
    found = clip.look(_tower(), rgb, most=9, seed=seed).features
    return found.astype(np.float16).astype(np.float32)


@cache
def _tower() -> Tower:
    return Tower(verify("clip", Settings().cache), threads=1)


def photographs(data: Path) -> list[Item]:
    """Those that twins are made of: all of train/ and PHOTOS of photos/."""
    own = [item for item in datasets.labelled(data, "train") if item.label == "real"]
    return own + sorted(datasets.photos(data), key=lambda item: seed_of(item.id))[:PHOTOS]


def examples_of(data: Path, taef2: Path, work: Path) -> list[Measured]:
    """Every example that the head is fitted on, measured; passages and features are kept under `work`."""
    items = datasets.labelled(data, "train")
    histories = examples.tables_of([item for item in items if item.label == "generated"])
    pictures = chain(
        examples.matched(items, DRAWS, histories=histories), examples.matched_small(items, DRAWS, histories)
    )
    decoders: dict[str, Decodes] = {"taef2": Taef2(taef2), **served(work / "zoo")}
    pairs = varied_twins(photographs(data), decoders, work / "twins")
    return [
        *heads.measured(pictures, features, work / "features" / "semantic_matched.npz"),
        *heads.measured(examples.varied(pairs), features, work / "features" / "semantic_aligned.npz"),
    ]


def unmet_figures(rows: list[Measured], unmet: dict[str, Table]) -> dict[str, float]:
    """AUROC of each decoder's passages against their photographs by heads that had not met it, by size of view."""
    figures = {}
    for view, small in (("tile", False), ("small view", True)):
        for decoder, logits in unmet.items():
            chosen = [
                i
                for i, row in enumerate(rows)
                if np.isfinite(logits[i]) and (row.example.short_side < clip.SIDE) == small
            ]
            labels = [rows[i].example.label == "generated" for i in chosen]
            figures[f"{decoder}, {view}"] = round(float(roc_auc_score(labels, logits[chosen])), 3)
    return figures


def train(data: Path, taef2: Path, work: Path) -> None:
    """Measures every example, fits the head and writes its files."""
    finish(examples_of(data, taef2, work))


def finish(rows: list[Measured]) -> None:
    """Fits the head, prints what was found on the way, and writes weights, card, pin and score file."""
    decoders = lodo.decoders([row.example for row in rows])
    print(f"semantic: {len(rows)} examples, {rows[0].features.shape[1]} features, {', '.join(decoders)}", flush=True)
    generated = np.array([row.example.label == "generated" for row in rows])
    head = heads.fit(heads.means(rows), generated, heads.balance(rows, SHARE), STRENGTH)
    logits = heads.held_out(rows, STRENGTH, SHARE, start=head)
    unmet = heads.by_decoder(rows, STRENGTH, SHARE, start=head)
    small = np.array([row.example.short_side < clip.SIDE for row in rows])
    figures: dict[str, object] = {
        "C": STRENGTH,
        "weight of aligned pairs": SHARE,
        "examples": len(rows),
        "decoders": ", ".join(decoders),
        "held-out AUROC, generated against photographs of train/": round(
            heads.auroc(rows, np.where(small, np.nan, logits), "matched"), 3
        ),
        "the same, small views": round(heads.auroc(rows, np.where(small, logits, np.nan), "matched"), 3),
    }
    figures |= {
        f"AUROC, passages by a decoder not met: {name}": value for name, value in unmet_figures(rows, unmet).items()
    }
    low, high = heads.levels(rows, np.where(small, np.nan, logits))
    figures["level that 90 % of held-out photographs stay under (log-odds)"] = round(high, 3)
    figures["level that 90 % of held-out generated pictures stay above (log-odds)"] = round(low, 3)
    for name, value in figures.items():
        print(f"  {name}: {value}", flush=True)
    foreign = {name: unmet[name] for name in FOREIGN}
    heads.write_scores(rows, logits, heads.OOF / "semantic.csv", foreign, APART)
    write_weights(
        "semantic",
        {"mean": head.mean, "scale": head.scale, "weight": head.weight, "levels": np.array([head.bias, low, high])},
        recipe="python -m finetune.heads --tool semantic",
        about="Linear head of the tool `semantic` over the features of one tile.",
        items=[row.example.item for row in rows],
        figures=figures,
        precision=np.float32,
    )
