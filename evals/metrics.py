"""Measures of a detector, and how sure they are. numpy only.

Everywhere `labels` is (n,) with 1 for the positive class (generated) and 0 for the other, `scores` is (n,) and rises
with belief in 1, and `probabilities` is `scores` inside [0, 1]. `weights` are (n,) and not negative. A measure that the
data cannot give (one class only, nothing covered) is NaN, never a number that looks like one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]
Measure = Callable[[Array, Array], float]
"""(labels, scores) → a number."""
_EDGE = 1e-12


@dataclass(frozen=True, slots=True)
class Estimate:
    """A measure with its bootstrap interval.

    Attributes:
        low, high: Percentiles of the bootstrap replicates (5 and 95 at level 0.9).
        groups: Groups that were drawn from.
        lost: Replicates that had no value (a class was missing) and were left out.
    """

    value: float
    low: float
    high: float
    groups: int
    lost: int = 0


def auroc(labels: ArrayLike, scores: ArrayLike, weights: ArrayLike | None = None) -> float:
    """Area under the ROC curve; ties count one half (Mann-Whitney)."""
    negatives, positives, _ = _curve(labels, scores, weights)
    if not len(negatives) or negatives[-1] <= 0 or positives[-1] <= 0:
        return float("nan")
    fpr, tpr = np.concatenate([[0.0], negatives / negatives[-1]]), np.concatenate([[0.0], positives / positives[-1]])
    return float(np.sum(np.diff(fpr) * (tpr[1:] + tpr[:-1]) / 2))


def average_precision(labels: ArrayLike, scores: ArrayLike) -> float:
    """Σ (recall step) · precision over the thresholds, without interpolation."""
    negatives, positives, _ = _curve(labels, scores, None)
    if not len(positives) or positives[-1] <= 0:
        return float("nan")
    steps = np.diff(np.concatenate([[0.0], positives])) / positives[-1]
    return float(np.sum(steps * positives / (positives + negatives)))


def tpr_at_fpr(labels: ArrayLike, scores: ArrayLike, fpr: float) -> float:
    """Largest true positive rate at a threshold (score ≥ t) whose false positive rate is at most `fpr`."""
    negatives, positives, _ = _curve(labels, scores, None)
    if not len(negatives) or negatives[-1] <= 0 or positives[-1] <= 0:
        return float("nan")
    allowed = negatives / negatives[-1] <= fpr + _EDGE
    return float(np.max(np.where(allowed, positives / positives[-1], 0.0)))


def nll(labels: ArrayLike, probabilities: ArrayLike, weights: ArrayLike | None = None) -> float:
    """Mean negative log-likelihood, in nats. A certain and wrong answer costs log(1e12)."""
    y, p = _pair(labels, probabilities)
    p = np.clip(p, _EDGE, 1 - _EDGE)
    return _mean(-(y * np.log(p) + (1 - y) * np.log1p(-p)), weights)


def brier(labels: ArrayLike, probabilities: ArrayLike, weights: ArrayLike | None = None) -> float:
    """Mean squared error of the probability."""
    y, p = _pair(labels, probabilities)
    return _mean((p - y) ** 2, weights)


def balanced_weights(labels: ArrayLike, weights: ArrayLike | None = None) -> Array:
    """Weights under which both classes have a total of 1/2; zero everywhere where a class is missing."""
    y = np.asarray(labels, dtype=np.float64)
    w = np.ones_like(y) if weights is None else np.asarray(weights, dtype=np.float64)
    totals = [float(w[y == label].sum()) for label in (0, 1)]
    if min(totals) <= 0:
        return np.zeros_like(y)
    return np.asarray(np.where(y == 1, w / (2 * totals[1]), w / (2 * totals[0])), dtype=np.float64)


def ece(labels: ArrayLike, probabilities: ArrayLike, bins: int = 15) -> float:
    """Expected calibration error over equal-width bins (Guo et al. 2017): Σ n_b/n · |mean label − mean probability|."""
    y, p = _pair(labels, probabilities)
    if not len(y):
        return float("nan")
    place = np.minimum((p * bins).astype(np.int64), bins - 1)
    gaps = np.bincount(place, weights=y - p, minlength=bins)
    return float(np.sum(np.abs(gaps)) / len(y))


def ece_if_calibrated(probabilities: ArrayLike, *, seed: int, bins: int = 15, draws: int = 1000) -> Estimate:
    """What `ece` would be if these probabilities were exactly right: labels are drawn from them.

    A small set shows some error even for a perfect model; an observed ECE inside this interval is no sign of
    miscalibration.
    """
    p = np.asarray(probabilities, dtype=np.float64)
    rng = np.random.default_rng(seed)
    values = [ece(rng.random(len(p)) < p, p, bins) for _ in range(draws)]
    low, high = np.percentile(values, [5, 95])
    return Estimate(float(np.mean(values)), float(low), float(high), len(p))


def risk_coverage(correct: ArrayLike, confidence: ArrayLike) -> tuple[Array, Array, float]:
    """Error rate among the most confident, as coverage grows (El-Yaniv & Wiener 2010).

    Equal confidences are answered or withheld together.

    Args:
        correct: (n,) whether each answer was right.
        confidence: (n,) how sure it was.

    Returns:
        Coverage (k,), risk (k,), and the area under the curve as a step function of coverage.
    """
    right, sure = _pair(correct, confidence)
    if not len(right):
        return np.empty(0), np.empty(0), float("nan")
    order = np.argsort(-sure, kind="stable")
    ends = np.flatnonzero(np.concatenate([np.diff(sure[order]) != 0, [True]]))
    answered = ends + 1.0
    risk = np.cumsum(1 - right[order])[ends] / answered
    coverage = answered / len(right)
    return coverage, risk, float(np.sum(np.diff(np.concatenate([[0.0], coverage])) * risk))


def grouped_counts(groups: Sequence[Any], *, draws: int, seed: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Bootstrap over groups: how often each group was drawn.

    Returns:
        Index of each row's group (n,), and counts (draws, groups), each row of which sums to the number of groups.
    """
    names, index = np.unique(np.asarray(groups, dtype=str), return_inverse=True)
    rng = np.random.default_rng(seed)
    counts = rng.multinomial(len(names), np.full(len(names), 1 / max(len(names), 1)), size=draws)
    return index.astype(np.int64), counts.astype(np.int64)


def bootstrap(
    measure: Measure,
    labels: ArrayLike,
    scores: ArrayLike,
    groups: Sequence[Any],
    *,
    seed: int,
    draws: int = 1000,
    level: float = 0.9,
) -> Estimate:
    """A measure with its interval; whole groups (a generator, a source, a pair) are drawn with replacement."""
    y, s = _pair(labels, scores)
    index, counts = grouped_counts(groups, draws=draws, seed=seed)
    values = np.array([measure(*(column[rows] for column in (y, s))) for rows in _drawn(index, counts)])
    return _estimate(measure(y, s), values, counts.shape[1], level)


def paired_bootstrap(
    measure: Measure,
    labels: ArrayLike,
    ours: ArrayLike,
    theirs: ArrayLike,
    groups: Sequence[Any],
    *,
    seed: int,
    draws: int = 1000,
    level: float = 0.9,
) -> Estimate:
    """The difference `measure(ours) − measure(theirs)` on the same rows, each replicate drawing the same for both."""
    y, a = _pair(labels, ours)
    _, b = _pair(labels, theirs)
    index, counts = grouped_counts(groups, draws=draws, seed=seed)
    values = np.array([measure(y[rows], a[rows]) - measure(y[rows], b[rows]) for rows in _drawn(index, counts)])
    return _estimate(measure(y, a) - measure(y, b), values, counts.shape[1], level)


def resampled(
    measure: Callable[[NDArray[np.int64]], Mapping[str, float]],
    groups: Sequence[Any],
    *,
    seed: int,
    draws: int = 1000,
    level: float = 0.9,
) -> dict[str, Estimate]:
    """Many measures at once, on the same replicates: `measure` takes row numbers and gives numbers by name.

    Whole groups are drawn with replacement. A measure that is NaN on all rows is kept, with its value NaN.
    """
    index, counts = grouped_counts(groups, draws=draws, seed=seed)
    point = measure(np.arange(len(index)))
    table = [measure(rows) for rows in _drawn(index, counts)]
    return {
        name: _estimate(value, np.array([row[name] for row in table]), counts.shape[1], level)
        for name, value in point.items()
    }


def wilson(successes: int, n: int, z: float = 1.6449) -> tuple[float, float]:
    """Wilson's score interval of a rate (90 % at the default `z`); (0, 1) where n is 0."""
    if n == 0:
        return 0.0, 1.0
    rate, extra = successes / n, z * z / n
    centre = (rate + extra / 2) / (1 + extra)
    half = z / (1 + extra) * float(np.sqrt(rate * (1 - rate) / n + extra / (4 * n)))
    return max(0.0, centre - half), min(1.0, centre + half)


def mask_iou(predicted: ArrayLike, truth: ArrayLike) -> float:
    """Intersection over union of two (h, w) boolean masks; NaN where both are empty."""
    a, b = np.asarray(predicted, dtype=bool), np.asarray(truth, dtype=bool)
    if a.shape != b.shape:
        raise ValueError(f"masks must have the same shape, not {a.shape} and {b.shape}")
    union = int(np.sum(a | b))
    return float(np.sum(a & b) / union) if union else float("nan")


def pointing_accuracy(maps: Sequence[ArrayLike], truths: Sequence[ArrayLike]) -> float:
    """Share of (h, w) maps whose highest point lies in the truth mask (Zhang et al. 2016, the pointing game).

    Where several points are equally high, the share of them that lie inside counts; a flat map earns what chance would.
    """
    if len(maps) != len(truths):
        raise ValueError(f"{len(maps)} maps for {len(truths)} masks")
    hits = []
    for heat, truth in zip(maps, truths, strict=True):
        h, t = np.asarray(heat, dtype=np.float64), np.asarray(truth, dtype=bool)
        if h.shape != t.shape:
            raise ValueError(f"map and mask must have the same shape, not {h.shape} and {t.shape}")
        hits.append(float(np.mean(t[h == h.max()])))
    return float(np.mean(hits)) if hits else float("nan")


def _pair(labels: ArrayLike, scores: ArrayLike) -> tuple[Array, Array]:
    y, s = np.asarray(labels, dtype=np.float64), np.asarray(scores, dtype=np.float64)
    if y.ndim != 1 or y.shape != s.shape:
        raise ValueError(f"labels and scores must be (n,) alike, not {y.shape} and {s.shape}")
    if not np.isin(y, (0, 1)).all():
        raise ValueError("labels must be 0 or 1")
    return y, s


def _mean(values: Array, weights: ArrayLike | None) -> float:
    w = np.ones_like(values) if weights is None else np.asarray(weights, dtype=np.float64)
    return float(np.sum(values * w) / w.sum()) if w.sum() > 0 else float("nan")


def _curve(labels: ArrayLike, scores: ArrayLike, weights: ArrayLike | None) -> tuple[Array, Array, Array]:
    """Weight of negatives and positives at or above each distinct score, highest first; and those scores."""
    y, s = _pair(labels, scores)
    w = np.ones_like(y) if weights is None else np.asarray(weights, dtype=np.float64)
    order = np.argsort(-s, kind="stable")
    y, s, w = y[order], s[order], w[order]
    ends = np.flatnonzero(np.concatenate([np.diff(s) != 0, [True]])) if len(s) else np.empty(0, dtype=np.int64)
    return np.cumsum(w * (1 - y))[ends], np.cumsum(w * y)[ends], s[ends]


def _drawn(index: NDArray[np.int64], counts: NDArray[np.int64]) -> list[NDArray[np.int64]]:
    return [np.repeat(np.arange(len(index)), count[index]) for count in counts]


def _estimate(value: float, values: Array, groups: int, level: float) -> Estimate:
    kept = values[np.isfinite(values)]
    if not len(kept):
        return Estimate(value, float("nan"), float("nan"), groups, len(values))
    low, high = np.percentile(kept, [50 * (1 - level), 50 * (1 + level)])
    return Estimate(value, float(low), float(high), groups, len(values) - len(kept))
