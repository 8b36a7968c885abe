"""From scores to figures: every measure of a protocol, with its interval.

Everything is laid out as pictures × draws. A measure is taken on each draw by itself and then averaged, as one who
receives one file of each picture would see it; averaging the scores first would flatter. The bootstrap draws groups:
a pair as a whole, a generator with all its pictures, a photograph by itself.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from evals import metrics
from evals.metrics import Estimate
from evals.results import Curve, Difference, Figure, Kind, System, curve

Array = npt.NDArray[np.float64]
Rows = npt.NDArray[np.int64]
COVERAGE = 0.6
"""Share of files at which risks are compared."""
BINS = 10
LENGTHS = 5
"""Bins of file length."""

MEASURES: dict[str, str] = {
    "auroc": "Area under the ROC curve: how often a positive picture ranks above a negative one; .5 is chance.",
    "auroc_even": "AUROC among files of about equal length (five bins), weighted by pairs: what is left of the ranking "
    "where the length of the file, which tells how detailed a picture is, cannot help.",
    "ap": "Average precision.",
    "tpr_at_1": "Share of positives found at 1 % false alarms.",
    "tpr_at_5": "Share of positives found at 5 % false alarms.",
    "nll": "Negative log-likelihood in nats; the base rate gives .69 where classes are even.",
    "nll_gain": "By how much the likelihood beats the base rate; below 0 is worse than knowing nothing.",
    "brier": "Mean squared error of the probability; the base rate gives .25 where classes are even.",
    "brier_gain": "By how much the squared error beats the base rate.",
    "ece": "Expected calibration error, 15 bins.",
    "risk_at_60": "Error rate on the 60 % of files with the surest probabilities.",
    "aurc": "Area under the risk-coverage curve; lower is better.",
    "pointing": "Share of edited pictures whose map is highest inside the edit.",
    "iou": "Overlap of map above one half and edit, intersection over union.",
}


@dataclass(slots=True)
class Table:
    """The scores of one protocol.

    Attributes:
        labels: (pictures,) 1 where the answer is yes.
        groups: (pictures,) what the bootstrap draws as one.
        scores: By system, (pictures, draws): ranks pictures; NaN where it did not answer.
        probabilities: The same as probability at `prior`; a system may have none.
        kinds, versions: By system.
        lengths: (pictures, draws) bytes of each file; NaN where there is none.
        calls: (pictures, draws) the agent's labels.
        pointing, iou: By system, (pictures,), NaN where there is no map or no mask.
    """

    labels: npt.NDArray[np.int64]
    groups: list[str]
    generators: list[str]
    sources: list[str]
    prior: float
    lengths: Array
    scores: dict[str, Array] = field(default_factory=dict)
    probabilities: dict[str, Array] = field(default_factory=dict)
    kinds: dict[str, Kind] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)
    calls: npt.NDArray[np.str_] | None = None
    pointing: dict[str, Array] = field(default_factory=dict)
    iou: dict[str, Array] = field(default_factory=dict)

    @property
    def share(self) -> float:
        """Share of positives among the pictures."""
        return float(self.labels.mean()) if len(self.labels) else 0.0


def ranking(y: Array, s: Array) -> dict[str, float]:
    """The measures that only rank."""
    return {
        "auroc": metrics.auroc(y, s),
        "ap": metrics.average_precision(y, s),
        "tpr_at_1": metrics.tpr_at_fpr(y, s, 0.01),
        "tpr_at_5": metrics.tpr_at_fpr(y, s, 0.05),
    }


def probability(prior: float) -> Callable[[Array, Array], dict[str, float]]:
    """The measures of probabilities that are meant at `prior`.

    They are restated at the share of positives among the pictures at hand (in the bootstrap: among those drawn), which
    is also what the base rate answers; so a system that always says the prior gains exactly nothing.
    """

    def measured(y: Array, p: Array) -> dict[str, float]:
        share = float(y.mean()) if len(y) else math.nan
        p = at_share(p, share, prior)
        base = np.full(len(y), share)
        risk, area = _risk(y, p)
        nll, brier = metrics.nll(y, p), metrics.brier(y, p)
        return {
            "nll": nll,
            "nll_gain": metrics.nll(y, base) - nll,
            "brier": brier,
            "brier_gain": metrics.brier(y, base) - brier,
            "ece": metrics.ece(y, p),
            "risk_at_60": risk,
            "aurc": area,
        }

    return measured


def risks(y: Array, p: Array) -> tuple[Array, Array]:
    """Coverage and error rate among the surest; equal confidences are answered together, and one half is half wrong."""
    sure = np.abs(p - 0.5)
    right = np.where(sure == 0, 0.5, (p > 0.5) == (y == 1))
    order = np.argsort(-sure, kind="stable")
    ends = np.flatnonzero(np.concatenate([np.diff(sure[order]) != 0, [True]]))
    return (ends + 1) / len(y), np.cumsum(1 - right[order])[ends] / (ends + 1)


def _risk(y: Array, p: Array) -> tuple[float, float]:
    """Risk at `COVERAGE` (or the next coverage that confidences allow), and the area as a step function."""
    if not len(y):
        return math.nan, math.nan
    coverage, risk = risks(y, p)
    area = float(np.sum(np.diff(np.concatenate([[0.0], coverage])) * risk))
    return float(risk[int(np.argmax(coverage >= COVERAGE - 1e-9))]), area


def at_share(p: Array, share: float, prior: float) -> Array:
    """Probabilities meant at `prior`, restated at another share of positives (the likelihood ratio stays).

    Where all are of one class there is nothing to restate to, and they stay.
    """
    if not 0 < share < 1:
        return p
    kept = np.clip(p, 1e-9, 1 - 1e-9)
    odds = np.log(kept) - np.log1p(-kept) + math.log(share / (1 - share)) - math.log(prior / (1 - prior))
    return np.asarray(1 / (1 + np.exp(-odds)), dtype=np.float64)


def over_draws(
    measure: Callable[[Array, Array], Mapping[str, float]], labels: npt.NDArray[np.int64], values: Array
) -> Callable[[Rows], dict[str, float]]:
    """`measure` on the answered rows of each draw, averaged over the draws."""
    y = labels.astype(np.float64)

    def measured(rows: Rows) -> dict[str, float]:
        found: dict[str, list[float]] = defaultdict(list)
        for column in values.T:
            kept = rows[np.isfinite(column[rows])]
            for name, value in measure(y[kept], column[kept]).items():
                found[name].append(value)
        return {name: _mean(column) for name, column in found.items()}

    return measured


def _mean(values: Sequence[float]) -> float:
    kept = [value for value in values if math.isfinite(value)]
    return float(np.mean(kept)) if kept else math.nan


def even(y: Array, s: Array, bins: npt.NDArray[np.int64]) -> float:
    """AUROC within bins, weighted by the pairs of positives and negatives that each holds."""
    total = weight = 0.0
    for place in range(LENGTHS):
        inside = bins == place
        positives = float(y[inside].sum())
        pairs = positives * (int(inside.sum()) - positives)
        if pairs:
            total += pairs * metrics.auroc(y[inside], s[inside])
            weight += pairs
    return total / weight if weight else math.nan


def _even(table: Table, scores: Array) -> Callable[[Rows], dict[str, float]]:
    """`even` on the answered rows of each draw, bins by the draw's own lengths, averaged over the draws."""
    y = table.labels.astype(np.float64)
    edges = np.nanquantile(table.lengths, np.arange(1, LENGTHS) / LENGTHS, axis=0)
    bins = np.stack([np.searchsorted(edges[:, d], table.lengths[:, d]) for d in range(scores.shape[1])], axis=1)

    def measured(rows: Rows) -> dict[str, float]:
        found = []
        for column, places in zip(scores.T, bins.T, strict=True):
            kept = rows[np.isfinite(column[rows])]
            found.append(even(y[kept], column[kept], places[kept]))
        return {"auroc_even": _mean(found)}

    return measured


def systems(table: Table, *, seed: int, draws: int) -> tuple[System, ...]:
    """Every system's figures and curves: the agent, the tools, the agent without each, the peers."""
    found = []
    for name, scores in table.scores.items():
        estimates = metrics.resampled(over_draws(ranking, table.labels, scores), table.groups, seed=seed, draws=draws)
        estimates |= metrics.resampled(_even(table, scores), table.groups, seed=seed, draws=draws)
        p, raw = stated(table, name), table.probabilities.get(name)
        floor = None
        if p is not None and raw is not None:
            estimates |= metrics.resampled(
                over_draws(probability(table.prior), table.labels, raw), table.groups, seed=seed, draws=draws
            )
            floor = _floor(p, seed)
        for measure, values in (("pointing", table.pointing.get(name)), ("iou", table.iou.get(name))):
            if values is not None and np.isfinite(values).any():
                estimates |= _shown(measure, values, table.groups, seed, draws)
        found.append(
            System(
                name=name, kind=table.kinds[name], version=table.versions.get(name, ""),
                answered=int(np.isfinite(scores).sum()), files=scores.size,
                figures={measure: Figure.of(estimate) for measure, estimate in estimates.items()},
                ece_if_calibrated=floor, roc=_roc(table.labels, scores),
                risk=None if p is None else _risk_curve(table.labels, p),
                reliability=None if p is None else _reliability(table.labels, p),
            )
        )  # fmt: skip
    return tuple(found)


def stated(table: Table, name: str) -> Array | None:
    """A system's probabilities at the set's own share of positives; None where it gives none."""
    p = table.probabilities.get(name)
    share = table.share
    if p is None or not 0 < share < 1 or not np.isfinite(p).any():
        return None
    return np.asarray(np.where(np.isfinite(p), at_share(np.nan_to_num(p, nan=0.5), share, table.prior), np.nan))


def _floor(p: Array, seed: int) -> Figure:
    column = p[:, 0]
    return Figure.of(metrics.ece_if_calibrated(column[np.isfinite(column)], seed=seed, draws=300))


def _shown(measure: str, values: Array, groups: Sequence[str], seed: int, draws: int) -> dict[str, Estimate]:
    kept = np.flatnonzero(np.isfinite(values))
    return metrics.resampled(
        lambda rows: {measure: float(values[kept[rows]].mean())}, [groups[int(i)] for i in kept], seed=seed, draws=draws
    )


def _roc(labels: npt.NDArray[np.int64], scores: Array) -> Curve | None:
    """The ROC curve over the files of all draws."""
    y = np.repeat(labels, scores.shape[1])
    s = scores.ravel()
    y, s = y[np.isfinite(s)], s[np.isfinite(s)]
    if len(set(y.tolist())) < 2:
        return None
    order = np.argsort(-s, kind="stable")
    ends = np.flatnonzero(np.concatenate([np.diff(s[order]) != 0, [True]]))
    tpr = np.cumsum(y[order])[ends] / y.sum()
    fpr = np.cumsum(1 - y[order])[ends] / (1 - y).sum()
    return curve([0.0, *fpr], [0.0, *tpr])


def _risk_curve(labels: npt.NDArray[np.int64], p: Array) -> Curve | None:
    y = np.repeat(labels, p.shape[1]).astype(np.float64)
    flat = p.ravel()
    y, flat = y[np.isfinite(flat)], flat[np.isfinite(flat)]
    coverage, risk = risks(y, flat)
    return curve(coverage.tolist(), risk.tolist())


def _reliability(labels: npt.NDArray[np.int64], p: Array) -> Curve | None:
    """Share of positives by mean probability, in up to ten bins of about equal count; equal probabilities share one."""
    y = np.repeat(labels, p.shape[1])
    flat = p.ravel()
    y, flat = y[np.isfinite(flat)], flat[np.isfinite(flat)]
    if len(flat) < BINS:
        return None
    edges = np.unique(np.quantile(flat, np.arange(1, BINS) / BINS))
    place = np.searchsorted(edges, flat)
    bins = [place == number for number in np.unique(place)]
    return curve([float(flat[inside].mean()) for inside in bins], [float(y[inside].mean()) for inside in bins])


def difference(
    table: Table, ours: Array, theirs: Array, measure: str, names: tuple[str, str], *, seed: int, draws: int,
    of: Callable[[Array, Array], Mapping[str, float]] = ranking,
) -> Difference:  # fmt: skip
    """The paired difference of one measure, on files that both answered."""
    both = np.isfinite(ours) & np.isfinite(theirs)
    a, b = np.where(both, ours, np.nan), np.where(both, theirs, np.nan)
    of_a, of_b = (over_draws(of, table.labels, values) for values in (a, b))
    found = metrics.resampled(
        lambda rows: {measure: of_a(rows)[measure] - of_b(rows)[measure]}, table.groups, seed=seed, draws=draws
    )
    return Difference(
        ours=names[0], theirs=names[1], measure=measure, pictures=int(both.any(axis=1).sum()),
        difference=Figure.of(found[measure]),
    )  # fmt: skip


def differences(table: Table, best: str | None, *, seed: int, draws: int) -> tuple[Difference, ...]:
    """The agent against the best single tool, and against itself without each tool."""
    ours = table.scores.get("agent")
    if ours is None:
        return ()
    by_share = probability(table.prior)
    rivals = [name for name, kind in table.kinds.items() if kind in ("without", "peer")]
    if best is not None and best in table.scores:
        rivals.insert(0, best)
    found = []
    for rival in rivals:
        found.append(difference(table, ours, table.scores[rival], "auroc", ("agent", rival), seed=seed, draws=draws))
        p, q = table.probabilities.get("agent"), table.probabilities.get(rival)
        if p is not None and q is not None:
            found.append(difference(table, p, q, "risk_at_60", ("agent", rival), seed=seed, draws=draws, of=by_share))
    return tuple(found)


def losses(table: Table, before: Table, pictures: Rows, *, names: tuple[str, str], seed: int, draws: int) -> tuple[
    Difference, ...
]:  # fmt: skip
    """AUROC of this protocol minus that of `before`, by system, on the same pictures.

    Args:
        table: The disturbed protocol.
        before: The undisturbed one.
        pictures: Where each row of `table` stands in `before`.
        names: Of the two protocols.
        seed: Of the bootstrap.
        draws: Bootstrap replicates.
    """
    found = []
    for name, scores in table.scores.items():
        if name in before.scores and table.kinds[name] != "without":
            other = before.scores[name][pictures][:, : scores.shape[1]]  # draws are numbered alike
            told = difference(table, scores, other, "auroc", (name, name), seed=seed, draws=draws)
            found.append(told.model_copy(update={"theirs": f"{name} on {names[1]}"}))
    return tuple(found)
