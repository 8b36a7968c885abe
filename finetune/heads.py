"""Fits the heads of `patch`, `frequency`, `inversion` and `semantic`; writes weights, cards and held-out scores.

    python -m finetune.heads [--tool patch|frequency|inversion|semantic] --data DIR --taef2 DIR [--work runs]

Heads are fitted on a mixture: generated pictures and photographs of train/ through the format-matching chain, and
aligned pairs (`finetune.twins`); that of `semantic` on a re-shared copy of each besides (`finetune.resharing`).
`finetune/oof/<tool>.csv` holds held-out scores for calibration: matched ones from heads that knew neither generator,
prompt nor source; aligned ones from heads that knew no passage through the autoencoder at all, since that is their
generator (but see `MET`).
test/ and pairs/ are not opened here (see `finetune.measure`).
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import numpy.typing as npt
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from agent.settings import Settings
from evals import datasets
from evals.perturb import Pixels
from finetune import examples, folds, resharing
from finetune.cards import write_weights
from finetune.examples import Example
from finetune.twins import twins, varied_twins
from tools import clip
from tools.clip import Tower
from tools.tiles import Head, sigmoid
from tools.weights import verify

OOF = Path(__file__).parent / "oof"
COLUMNS = (
    "item", "label", "generator", "prompt", "source", "fold", "kind", "draw", "jpeg_quality", "short_side", "score",
)  # fmt: skip
STRENGTHS = (3e-4, 3e-3, 3e-2)
SHARES = (1.0, 3.0)
FIXED = {"semantic": ((3e-3,), (4.0,))}
"""Strengths and shares that are not searched: with thousands of features per example, a search would only fit noise."""
Table = npt.NDArray[np.float64]
Measure = Callable[[Pixels, int], npt.NDArray[np.float32]]
"""Features of the tiles of a picture that are not flat, TxF; T may be 0. The second argument seeds what is drawn."""


@dataclass(frozen=True, slots=True)
class Measured:
    """An example without its pixels, and the features of its tiles."""

    example: Example
    features: npt.NDArray[np.float32]


def patch_features(rgb: Pixels, seed: int) -> npt.NDArray[np.float32]:
    """The features that `patch` reads."""
    from tools.texture import look

    return look(rgb, most=96, seed=seed).features


def frequency_features(rgb: Pixels, seed: int) -> npt.NDArray[np.float32]:
    """The features that `frequency` reads."""
    from tools.spectra import look

    return look(rgb, most=24, seed=seed).features


def inversion_features(rgb: Pixels, seed: int) -> npt.NDArray[np.float32]:
    """The features that `inversion` reads."""
    from tools.reconstruction import look, shipped

    return look(shipped(), rgb, most=8, seed=seed).features


MET = {"semantic"}
"""Tools whose aligned scores come from heads that knew the autoencoder, though not the photograph's source. A head of
`semantic` that was fitted without passages is another head on another scale: its scores say nothing of this one's."""
RESHARED = {"semantic"}
"""Tools that are fitted on, and scored on, a re-shared copy of every example too (`finetune.resharing`)."""
APART = {"semantic": 100, "frequency": 100}
"""Where a tool's aligned draws are counted from: its twins are other files than those of the same number elsewhere."""


def semantic_features(rgb: Pixels, seed: int) -> npt.NDArray[np.float32]:
    """The features that `semantic` reads."""
    return clip.look(_tower(), rgb, most=9, seed=seed).features


@cache
def _tower() -> Tower:
    return Tower(verify("clip", Settings().cache), threads=1)


MEASURES: dict[str, Measure] = {
    "patch": patch_features,
    "frequency": frequency_features,
    "inversion": inversion_features,
    "semantic": semantic_features,
}
DRAWS = {"patch": 2, "frequency": 2, "inversion": 1, "semantic": 2}
"""Draws of the chain for each picture, by what a tool costs."""
CROPS = {"patch": 2, "frequency": 1, "inversion": 1, "semantic": 1}
"""Crops of each photograph of train/ that twins are made of; `semantic` and `frequency` have two twins of each."""


def measured(stream: Iterable[Example], measure: Measure, kept: Path | None = None) -> list[Measured]:
    """Features of each example; those without a tile to judge are left out. Read from `kept` where it was written."""
    everything = list(stream)
    digest = hashlib.sha256(b"".join(hashlib.sha256(e.data).digest() for e in everything)).hexdigest()
    if kept is not None and kept.exists():
        with np.load(kept) as file:
            if str(file["digest"]) == digest:
                found = np.split(file["features"], np.cumsum(file["counts"])[:-1])
                return [Measured(e, f) for e, f in zip(everything, found, strict=True) if len(f)]
    found = []
    for number, example in enumerate(everything):
        seed = int(hashlib.sha256(example.data).hexdigest()[:8], 16)
        found.append(measure(examples.pixels_of(example), seed))
        if (number + 1) % 250 == 0:
            print(f"  {number + 1}/{len(everything)} examples measured", flush=True)
    if kept is not None:
        kept.parent.mkdir(parents=True, exist_ok=True)
        np.savez(kept, digest=digest, counts=[len(f) for f in found], features=np.concatenate(found))
    return [Measured(e, f) for e, f in zip(everything, found, strict=True) if len(f)]


def means(rows: list[Measured]) -> Table:
    """NxF: the mean features of each example's tiles."""
    return np.stack([row.features.mean(axis=0, dtype=np.float64) for row in rows])


def fit(
    features: Table, generated: npt.NDArray[np.bool_], weights: Table, strength: float, quick: bool = False
) -> Head:
    """An L2 logistic head over standardised, clipped features; its levels are still open.

    Args:
        features: NxF, one row an example.
        generated: N, whether each was generated.
        weights: N, what each example counts.
        strength: scikit-learn's C, per unit of total weight 1000.
        quick: In single precision and to a looser end, which takes a tenth of the time with thousands of features.
    """
    mean = np.average(features, axis=0, weights=weights)
    scale = np.sqrt(np.average((features - mean) ** 2, axis=0, weights=weights)) + 1e-4
    standard = np.clip((features - mean) / scale, -Head.CLIP, Head.CLIP)
    if quick:
        standard = standard.astype(np.float32)
    model = LogisticRegression(C=strength, max_iter=2000, tol=1e-4 if quick else 1e-5)
    model.fit(standard, generated, sample_weight=weights * 1000 / weights.sum())
    return Head(mean, scale, model.coef_[0].astype(np.float64), float(model.intercept_[0]), -math.inf, math.inf)


def levels(rows: list[Measured], logits: Table) -> tuple[float, float]:
    """`Head.low` and `Head.high`, from the held-out logits of the matched examples."""
    made, taken = (
        [v for r, v in zip(rows, logits, strict=True) if (r.example.kind, r.example.label) == ("matched", label)]
        for label in ("generated", "real")
    )
    return float(np.nanpercentile(made, 100 - Head.LEVEL)), float(np.nanpercentile(taken, Head.LEVEL))


def balance(rows: list[Measured], share: float) -> Table:
    """Weights under which both labels of a kind count the same, and aligned pairs `share` times the matched ones."""
    groups = [(row.example.kind, row.example.label) for row in rows]
    counts = {group: groups.count(group) for group in set(groups)}
    return np.array([(share if kind == "aligned" else 1.0) / counts[kind, label] for kind, label in groups])


def logit(head: Head, row: Measured) -> float:
    """The mean logit over an example's tiles, as the detectors take it."""
    return float(head.logits(row.features).mean())


def held_out(
    rows: list[Measured],
    strength: float,
    share: float,
    with_aligned: bool = True,
    quick: bool = False,
    with_reshared: bool = True,
) -> Table:
    """The held-out logit of each example by crossed folds; NaN where no head could score it.

    Args:
        rows: All examples.
        strength: As in `fit`.
        share: As in `balance`.
        with_aligned: Whether heads are fitted on aligned pairs too.
        quick: As in `fit`.
        with_reshared: Whether heads are fitted on re-shared copies too. Those of a picture are in its own fold.
    """
    key = folds.keys(
        ["" if r.example.label == "real" else r.example.generator for r in rows],
        [r.example.item.prompt for r in rows],
        [r.example.item.source for r in rows],
    )
    # A passage belongs to its photograph's source, whatever autoencoder made it.
    key = [
        folds.keys([""], [""], [r.example.item.source])[0] if r.example.kind == "aligned" else k
        for r, k in zip(rows, key, strict=True)
    ]
    features, generated = means(rows), np.array([r.example.label == "generated" for r in rows])
    usable = np.array(
        [(with_aligned or r.example.kind == "matched") and (with_reshared or not r.example.reshared) for r in rows]
    )
    total, count = np.zeros(len(rows)), np.zeros(len(rows))
    for fitted, scored in folds.crossed(key):
        chosen = np.flatnonzero(fitted & usable)
        weights = balance([rows[i] for i in chosen], share)
        head = fit(features[chosen], generated[chosen], weights, strength, quick)
        for i in np.flatnonzero(scored):
            total[i] += logit(head, rows[i])
            count[i] += 1
    means_of = np.full(len(rows), np.nan)
    np.divide(total, count, out=means_of, where=count > 0)
    return means_of


def auroc(rows: list[Measured], logits: Table, kind: str) -> float:
    """AUROC of the scored examples of one kind, as `Example.row_kind` tells them apart."""
    chosen = [i for i, r in enumerate(rows) if r.example.row_kind == kind and np.isfinite(logits[i])]
    return float(roc_auc_score([rows[i].example.label == "generated" for i in chosen], logits[chosen]))


def reshared_figures(rows: list[Measured], logits: Table) -> dict[str, float]:
    """AUROC of the re-shared copies among `rows`, for the card; empty where there are none."""
    told = {"matched": "generated against photographs of train/", "aligned": "passages through TAEF2"}
    return {
        f"held-out AUROC of re-shared copies, {words}": round(auroc(rows, logits, f"{kind}_reshared"), 3)
        for kind, words in told.items()
        if any(row.example.row_kind == f"{kind}_reshared" for row in rows)
    }


def write_scores(rows: list[Measured], logits: Table, file: Path, apart: int = 0, passage: str = "taef2") -> None:
    """Held-out scores, one line an example that was scored.

    Whole tiles and small views (`finetune.small`) are scored by heads of their own, in turn: lines of the other size
    that the file holds stay.

    Args:
        rows: The examples.
        logits: Their held-out logits; NaN is left out.
        file: The score file.
        apart: Aligned draws are counted from here.
        passage: Fold of the aligned ones; `met` where the heads that scored them knew the autoencoder.
    """
    key = folds.keys(
        ["" if r.example.label == "real" else r.example.generator for r in rows],
        [r.example.item.prompt for r in rows],
        [r.example.item.source for r in rows],
    )
    file.parent.mkdir(parents=True, exist_ok=True)
    small = rows[0].example.short_side < clip.SIDE
    others: list[list[str]] = []
    if file.exists():
        with file.open(newline="", encoding="utf-8") as stream:
            read = csv.DictReader(stream)
            others = [list(line.values()) for line in read if (int(line["short_side"]) < clip.SIDE) != small]
    with file.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(COLUMNS)
        writer.writerows(others if small else [])
        for row, value, fold in zip(rows, logits, key, strict=True):
            e = row.example
            if np.isfinite(value):
                name, draw = (fold.name, e.draw) if e.kind == "matched" else (passage, e.draw + apart)
                writer.writerow(
                    [
                        *(e.item.id, e.label, e.generator, e.item.prompt, e.item.source, name, e.row_kind, draw),
                        *(e.jpeg_quality, e.short_side, f"{sigmoid(float(value)):.5f}"),
                    ]
                )
        writer.writerows([] if small else others)


def train(tool: str, data: Path, taef2: Path, work: Path) -> None:
    """Fits one tool's head, prints what was found on the way, and writes its files."""
    measure = MEASURES[tool]
    items = datasets.labelled(data, "train")
    photographs = [item for item in items if item.label == "real"]
    histories = examples.tables_of([item for item in items if item.label == "generated"])
    make = varied_twins if tool in APART else twins
    pairs = make(photographs, taef2, work / "twins", CROPS[tool])
    if tool != "inversion":  # the diffusion model behind `inversion` was trained on photos/: its head must not see them
        pairs += make(datasets.photos(data), taef2, work / "twins", 1)
    rows = measured(
        examples.matched(items, DRAWS[tool], histories=histories), measure, work / "features" / f"{tool}_matched.npz"
    ) + measured(examples.aligned(pairs), measure, work / "features" / f"{tool}_aligned.npz")
    if tool in RESHARED:
        copies = {
            "matched_reshared": resharing.matched_reshared(items, DRAWS[tool], histories),
            "aligned_reshared": resharing.aligned_reshared(pairs),
        }
        for name, stream in copies.items():
            rows += measured(stream, measure, work / "features" / f"{tool}_{name}.npz")
    print(f"{tool}: {len(rows)} examples, {rows[0].features.shape[1]} features", flush=True)
    strengths, shares = FIXED.get(tool, (STRENGTHS, SHARES))
    best = (-1.0, strengths[0], shares[0])
    for strength in strengths:
        for share in shares:
            logits = held_out(rows, strength, share)
            on_matched, on_aligned = auroc(rows, logits, "matched"), auroc(rows, logits, "aligned")
            print(f"  C {strength:g} aligned x{share:g}: held out matched {on_matched:.3f}, aligned {on_aligned:.3f}")
            best = max(best, ((on_matched + on_aligned) / 2, strength, share))
    _, strength, share = best
    logits, strict = held_out(rows, strength, share), held_out(rows, strength, share, with_aligned=False)
    figures = {
        "C": strength,
        "weight of aligned pairs": share,
        "examples": len(rows),
        "held-out AUROC, generated against photographs of train/": round(auroc(rows, logits, "matched"), 3),
        "AUROC, passages through TAEF2 of photographs from unseen sources": round(auroc(rows, logits, "aligned"), 3),
        "the same by heads fitted without any passage": round(auroc(rows, strict, "aligned"), 3),
    }
    low, high = levels(rows, logits)
    figures["level that 90 % of held-out photographs stay under (log-odds)"] = round(high, 3)
    figures["level that 90 % of held-out generated pictures stay above (log-odds)"] = round(low, 3)
    figures |= reshared_figures(rows, logits)
    for name, value in figures.items():
        print(f"  {name}: {value}", flush=True)
    aligned = np.array([row.example.kind == "aligned" for row in rows])
    if tool in MET:
        write_scores(rows, logits, OOF / f"{tool}.csv", APART.get(tool, 0), "met")
    else:
        write_scores(rows, np.where(aligned, strict, logits), OOF / f"{tool}.csv", APART.get(tool, 0))
    generated = np.array([row.example.label == "generated" for row in rows])
    head = fit(means(rows), generated, balance(rows, share), strength)
    write_weights(
        tool,
        {"mean": head.mean, "scale": head.scale, "weight": head.weight, "levels": np.array([head.bias, low, high])},
        recipe=f"python -m finetune.heads --tool {tool}",
        about=f"Linear head of the tool `{tool}` over the features of one tile.",
        items=[row.example.item for row in rows],
        figures=figures,
        precision=np.float32,
    )


def main() -> None:
    """Fits the heads that are asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tool", choices=sorted(MEASURES))
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--taef2", type=Path, required=True)
    parser.add_argument("--work", type=Path, default=Path("runs"))
    options = parser.parse_args()
    for tool in [options.tool] if options.tool else MEASURES:
        train(tool, options.data, options.taef2, options.work)


if __name__ == "__main__":
    main()
