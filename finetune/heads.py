"""Fits the heads of `patch`, `frequency`, `inversion` and `semantic`; writes weights, cards and held-out scores.

    python -m finetune.heads [--tool patch|frequency|inversion|semantic] --data DIR --taef2 DIR [--work runs]

Heads are fitted on a mixture: generated pictures and photographs of train/ through the format-matching chain, and
aligned pairs (`finetune.twins`). `finetune/oof/<tool>.csv` holds held-out scores for calibration: matched ones from
heads that knew neither generator, prompt nor source; aligned ones from heads that knew no passage through the
autoencoder at all, since that is their generator. `semantic`, whose twins come from several decoders, is fitted by
`finetune.semantic`.
test/ and pairs/ are not opened here (see `finetune.measure`).
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from evals import datasets
from evals.perturb import Pixels, seed_of
from finetune import examples, folds, lodo
from finetune.cards import write_weights
from finetune.examples import Example
from finetune.taef2 import Taef2
from finetune.twins import VARIED, twins, varied_twins
from tools.tiles import Head, sigmoid

OOF = Path(__file__).parent / "oof"
COLUMNS = (
    "item", "label", "generator", "prompt", "source", "fold", "kind", "draw", "jpeg_quality", "short_side", "score",
)  # fmt: skip
STRENGTHS = (3e-4, 3e-3, 3e-2)
SHARES = (1.0, 3.0)
WIDE = 1000
"""Features above which a head is fitted in single precision, to a looser end: it takes a tenth of the time."""
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


APART = {"frequency": 100}
"""Tools that learn from varied twins. Their aligned draws are counted from here: their twins are other files than
those of the same number elsewhere."""


MEASURES: dict[str, Measure] = {
    "patch": patch_features,
    "frequency": frequency_features,
    "inversion": inversion_features,
}
TOOLS = (*MEASURES, "semantic")
"""Every tool whose head is fitted by `main`."""
DRAWS = {"patch": 2, "frequency": 2, "inversion": 1}
"""Draws of the chain for each picture, by what a tool costs."""
CROPS = {"patch": 2, "inversion": 1}
"""Crops of each photograph of train/ that plain twins are made of."""


def measured(stream: Iterable[Example], measure: Measure, kept: Path | None = None) -> list[Measured]:
    """Features of each example; those without a tile to judge are left out.

    Args:
        stream: The examples.
        measure: What measures them.
        kept: Where features are kept by the hash of the file they were measured on; what is there is not measured
            again. Write it under another name where `measure` changes.
    """
    everything = list(stream)
    names = [hashlib.sha256(e.data).hexdigest() for e in everything]
    known = _kept(kept)
    found = []
    for number, (example, name) in enumerate(zip(everything, names, strict=True)):
        if name not in known:
            known[name] = measure(examples.pixels_of(example), int(name[:8], 16))
        found.append(known[name])
        if (number + 1) % 1000 == 0:
            print(f"  {number + 1}/{len(everything)} examples measured", flush=True)
    if kept is not None:
        kept.parent.mkdir(parents=True, exist_ok=True)
        own = dict(zip(names, found, strict=True))
        np.savez(kept, names=list(own), counts=[len(f) for f in own.values()], features=np.concatenate([*own.values()]))
    return [Measured(e, f) for e, f in zip(everything, found, strict=True) if len(f)]


def _kept(file: Path | None) -> dict[str, npt.NDArray[np.float32]]:
    if file is None or not file.exists():
        return {}
    with np.load(file) as stored:
        parts = np.split(stored["features"], np.cumsum(stored["counts"])[:-1])
        return dict(zip(stored["names"].tolist(), parts, strict=True))


def means(rows: list[Measured]) -> Table:
    """NxF: the mean features of each example's tiles."""
    return np.stack([row.features.mean(axis=0, dtype=np.float64) for row in rows])


def fit(
    features: Table, generated: npt.NDArray[np.bool_], weights: Table, strength: float, start: Head | None = None
) -> Head:
    """An L2 logistic head over standardised, clipped features; its levels are still open.

    Args:
        features: NxF, one row an example.
        generated: N, whether each was generated.
        weights: N, what each example counts.
        strength: scikit-learn's C, per unit of total weight 1000.
        start: A head fitted on much the same, to begin from; it saves time and changes nothing else.
    """
    mean = np.average(features, axis=0, weights=weights)
    scale = np.sqrt(np.average((features - mean) ** 2, axis=0, weights=weights)) + 1e-4
    standard = np.clip((features - mean) / scale, -Head.CLIP, Head.CLIP)
    wide = features.shape[1] > WIDE
    if wide:
        standard = standard.astype(np.float32)
    model = LogisticRegression(C=strength, max_iter=2000, tol=1e-4 if wide else 1e-5, warm_start=start is not None)
    if start is not None:
        coefficients = start.weight * scale / start.scale
        model.coef_ = coefficients[None]
        model.intercept_ = np.array([start.bias + float(((mean - start.mean) / start.scale) @ start.weight)])
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
    rows: list[Measured], strength: float, share: float, with_aligned: bool = True, start: Head | None = None
) -> Table:
    """The held-out logit of each example by crossed folds; NaN where no head could score it.

    Args:
        rows: All examples.
        strength: As in `fit`.
        share: As in `balance`.
        with_aligned: Whether heads are fitted on aligned pairs too.
        start: As in `fit`.
    """
    key = _keys(rows)
    features, generated = means(rows), np.array([r.example.label == "generated" for r in rows])
    usable = np.array([with_aligned or r.example.kind == "matched" for r in rows])
    total, count = np.zeros(len(rows)), np.zeros(len(rows))
    for fitted, scored in folds.crossed(key):
        chosen = np.flatnonzero(fitted & usable)
        weights = balance([rows[i] for i in chosen], share)
        head = fit(features[chosen], generated[chosen], weights, strength, start)
        for i in np.flatnonzero(scored):
            total[i] += logit(head, rows[i])
            count[i] += 1
    means_of = np.full(len(rows), np.nan)
    np.divide(total, count, out=means_of, where=count > 0)
    return means_of


def by_decoder(rows: list[Measured], strength: float, share: float, start: Head | None = None) -> dict[str, Table]:
    """For each decoder, logits of its passages and their photographs by heads that knew neither (`finetune.lodo`)."""
    features, generated = means(rows), np.array([r.example.label == "generated" for r in rows])

    def fits(chosen: npt.NDArray[np.int64]) -> Callable[[npt.NDArray[np.int64]], Table]:
        head = fit(features[chosen], generated[chosen], balance([rows[i] for i in chosen], share), strength, start)
        return lambda scored: np.array([logit(head, rows[i]) for i in scored])

    return lodo.left_out([row.example for row in rows], fits)


def _keys(rows: list[Measured]) -> list[folds.Key]:
    """The folds of examples. A passage belongs to its photograph's source, whatever autoencoder made it."""
    made_by = [
        "" if r.example.label == "real" else "taef2" if r.example.kind == "aligned" else r.example.generator
        for r in rows
    ]  # all passages under one name, so that the folds of generators are the same however many decoders there are
    found = folds.keys(made_by, [r.example.item.prompt for r in rows], [r.example.item.source for r in rows])
    return [
        folds.keys([""], [""], [r.example.item.source])[0] if r.example.kind == "aligned" else key
        for r, key in zip(rows, found, strict=True)
    ]


def auroc(rows: list[Measured], logits: Table, kind: str) -> float:
    """AUROC of the scored examples of one kind."""
    chosen = [i for i, r in enumerate(rows) if r.example.kind == kind and np.isfinite(logits[i])]
    return float(roc_auc_score([rows[i].example.label == "generated" for i in chosen], logits[chosen]))


def write_scores(
    rows: list[Measured], logits: Table, file: Path, unmet: Mapping[str, Table] | None = None, apart: int = 0
) -> None:
    """Held-out scores, one line an example that was scored.

    Args:
        rows: The examples.
        logits: Their held-out logits; NaN is left out.
        file: The score file.
        unmet: What `by_decoder` found, in place of the logits of aligned examples. One decoder speaks for each
            photograph and number, by turns: more would be the same photographs again.
        apart: Aligned draws are counted from here.
    """
    fold = [key.name for key in _keys(rows)]
    names = sorted(unmet or {})
    lines = []
    for i, (row, value) in enumerate(zip(rows, logits, strict=True)):
        e = row.example
        name, draw, shown = fold[i], e.draw, float(value)
        if e.kind == "aligned":
            name, draw = "taef2", e.draw + apart
            if unmet:
                turn = (seed_of(e.item.id, 5000) + e.draw) % len(names)
                name = f"without {names[turn]}"
                shown = float(unmet[names[turn]][i])
        if math.isfinite(shown):
            about = (e.item.id, e.label, e.generator, e.item.prompt, e.item.source, name, e.kind, draw)
            lines.append((*about, e.jpeg_quality, e.short_side, f"{sigmoid(shown):.5f}"))
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(COLUMNS)
        writer.writerows(lines)


def train(tool: str, data: Path, taef2: Path, work: Path) -> None:
    """Fits one tool's head, prints what was found on the way, and writes its files."""
    measure = MEASURES[tool]
    items = datasets.labelled(data, "train")
    photographs = [item for item in items if item.label == "real"]
    histories = examples.tables_of([item for item in items if item.label == "generated"])
    if tool in APART:
        every = varied_twins(photographs + datasets.photos(data), {"taef2": Taef2(taef2)}, work / "twins")
        pairs = [twin for twin in every if twin.number < VARIED - 1]  # the last is meant for small views
    else:
        pairs = twins(photographs, taef2, work / "twins", CROPS[tool])
        if tool != "inversion":  # the diffusion model behind it was trained on photos/: its head must not see them
            pairs += twins(datasets.photos(data), taef2, work / "twins", 1)
    rows = measured(
        examples.matched(items, DRAWS[tool], histories=histories), measure, work / "features" / f"{tool}_matched.npz"
    ) + measured(examples.aligned(pairs), measure, work / "features" / f"{tool}_aligned.npz")
    print(f"{tool}: {len(rows)} examples, {rows[0].features.shape[1]} features", flush=True)
    best = (-1.0, STRENGTHS[0], SHARES[0])
    for strength in STRENGTHS:
        for share in SHARES:
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
    for name, value in figures.items():
        print(f"  {name}: {value}", flush=True)
    aligned = np.array([row.example.kind == "aligned" for row in rows])
    write_scores(rows, np.where(aligned, strict, logits), OOF / f"{tool}.csv", apart=APART.get(tool, 0))
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
    parser.add_argument("--tool", choices=TOOLS)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--taef2", type=Path, required=True)
    parser.add_argument("--work", type=Path, default=Path("runs"))
    options = parser.parse_args()
    for tool in [options.tool] if options.tool else TOOLS:
        if tool == "semantic":
            from finetune import semantic  # it leans on this module

            semantic.train(options.data, options.taef2, options.work)
        else:
            train(tool, options.data, options.taef2, options.work)


if __name__ == "__main__":
    main()
