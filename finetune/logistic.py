"""Logistic calibration, its bootstrap and its cross-fit, for one tool's rows."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from agent.calibration import ALL, Array, Bucket, Logistic
from agent.calibration import logit as logit_of
from evals import metrics
from finetune.scores import Rows

LEAST_PICTURES = 40
"""A bucket needs so many independent pictures of each class in each kind, else a wider bucket serves."""
FOLDS = 5
DIGITS = 4
"""Decimals that are kept of what is written to the file."""
_RIDGE = 1.0
Ints = NDArray[np.int64]


def fit_logistic(x: Array, y: Array, weights: Array, start: tuple[float, float] = (0.0, 0.5)) -> tuple[float, float]:
    """Balanced logistic regression of y on x with a slope that is not negative.

    Newton's method on the weighted log-loss plus a ridge of one pseudo-observation on the standardised slope, so that
    separable rows stay finite. Both classes get the same total weight, so that the fit is a log-likelihood ratio.

    Args:
        x: (n,) logits of raw scores.
        y: (n,) 1 for the target class.
        weights: (n,) how often each row was drawn.
        start: Where to begin.

    Returns:
        Intercept and slope; (0, 0), which says nothing, where a class is missing or the slope would be negative.
    """
    balanced = metrics.balanced_weights(y, weights)
    if not balanced.any():
        return 0.0, 0.0
    balanced = balanced * weights.sum()
    spread = max(float(np.sqrt(np.cov(x, aweights=balanced))) if len(x) > 1 else 0.0, 1e-3)
    design = np.stack([np.ones_like(x), x], axis=1)
    penalty = np.array([0.0, _RIDGE * spread**2])
    beta = np.array(start, dtype=np.float64)
    loss = log_loss(design @ beta, y, balanced) + float(penalty @ beta**2) / 2
    for _ in range(60):
        p = 1 / (1 + np.exp(-np.clip(design @ beta, -500, 500)))
        gradient = design.T @ (balanced * (p - y)) + penalty * beta
        hessian = (design * (balanced * p * (1 - p))[:, None]).T @ design + np.diag(penalty + 1e-9)
        step = np.linalg.solve(hessian, gradient)
        scale = 1.0
        while scale > 1e-6:
            trial = beta - scale * step
            after = log_loss(design @ trial, y, balanced) + float(penalty @ trial**2) / 2
            if after <= loss + 1e-12:
                break
            scale /= 2
        beta, gained, loss = trial, loss - after, after
        if abs(gained) < 1e-9 * max(1.0, abs(loss)):
            break
    return (float(beta[0]), float(beta[1])) if beta[1] > 0 else (0.0, 0.0)


def log_loss(z: Array, y: Array, weights: Array) -> float:
    """Weighted sum of the logistic loss of log odds `z`, in nats."""
    return float(np.sum(weights * (np.logaddexp(0, z) - y * z)))


@dataclass(frozen=True, slots=True)
class Plan:
    """What every tool shares: how often each group is drawn in each replicate, and in which fold it is."""

    counts: Mapping[str, Ints]
    fold: Mapping[str, int]

    @classmethod
    def of(cls, tools: Iterable[Rows], draws: int, seed: int) -> Plan:
        strata: dict[str, set[str]] = {}
        for rows in tools:
            for stratum, group in zip(rows.stratum, rows.group, strict=True):
                strata.setdefault(stratum, set()).add(group)
        counts: dict[str, Ints] = {}
        fold: dict[str, int] = {}
        for stratum in sorted(strata):
            names = sorted(strata[stratum])
            own = int.from_bytes(hashlib.sha256(stratum.encode()).digest()[:4], "big")
            rng = np.random.default_rng([seed, own])
            drawn = rng.multinomial(len(names), np.full(len(names), 1 / len(names)), size=draws)
            counts |= {name: drawn[:, place].astype(np.int64) for place, name in enumerate(names)}
            order = sorted(names, key=lambda name: hashlib.sha256(f"{seed}/{name}".encode()).digest())
            fold |= {name: place % FOLDS for place, name in enumerate(order)}
        return cls(counts, fold)

    def folds(self, rows: Rows) -> Ints:
        """Fold of each row. A photograph is in the same one in all kinds."""
        return np.array([self.fold[group] for group in rows.group], dtype=np.int64)

    def drawn(self, rows: Rows) -> Array:
        """(draws, n): how often each replicate drew each row's group."""
        return np.stack([self.counts[group] for group in rows.group], axis=1).astype(np.float64)


def fit_buckets(rows: Rows, use: NDArray[np.bool_], drawn: Array | None) -> dict[str, Bucket]:
    """The bucket of all rows and each narrower one that has rows enough in every kind.

    Rows of small views are not among all rows, unless a tool has no others.

    Args:
        rows: One tool's scores.
        use: (n,) rows to fit on.
        drawn: (draws, n) counts of the bootstrap; None fits no draws.
    """
    x, names = logit_of(rows.score), rows.buckets
    found: dict[str, Bucket] = {}
    wider = {three[0]: three[1] for three in names} | {three[1]: three[2] for three in names}
    members = {name: use & np.array([name in three for three in names]) for name in sorted({*wider, ALL})}
    if not rows.small.all():
        members[ALL] &= ~rows.small
    for name, inside in members.items():
        if name in wider and np.array_equal(inside, members[wider[name]]):
            continue  # the wider bucket holds the same rows
        pictures = [
            len({rows.picture[i] for i in np.flatnonzero(inside & (rows.kind == kind) & (rows.y == y))})
            for kind in rows.kinds
            for y in (0, 1)
        ]
        least = min(pictures)
        if least < (1 if name == ALL else LEAST_PICTURES):
            continue
        fits = {}
        for kind in rows.kinds:
            i = np.flatnonzero(inside & (rows.kind == kind))
            point = fit_logistic(x[i], rows.y[i], np.ones(len(i)))
            draws = [] if drawn is None else [fit_logistic(x[i], rows.y[i], c, point) for c in drawn[:, i]]
            fits[kind] = Logistic(
                intercept=round(point[0], DIGITS),
                slope=round(point[1], DIGITS),
                draws=tuple((round(a, DIGITS), round(b, DIGITS)) for a, b in draws),
            )
        found[name] = Bucket(fits=fits, n=least)
    return found


def llrs_of(rows: Rows, buckets: Mapping[str, Bucket], use: NDArray[np.bool_]) -> Array:
    """(1 + draws, n) log-likelihood ratios of the rows in `use`, NaN elsewhere; as `agent.fusion` would give them."""
    width = 1 + len(next(iter(next(iter(buckets.values())).fits.values())).draws)
    out = np.full((width, len(rows.score)), np.nan)
    names = np.array([next(name for name in three if name in buckets) for three in rows.buckets])
    for name, bucket in buckets.items():
        inside = use & (names == name)
        out[:, inside] = bucket.llr(rows.score[inside])
    return out


def cross_fitted(rows: Rows, plan: Plan) -> Array:
    """(n,) log-likelihood ratios, each from rows of other groups."""
    folds, out = plan.folds(rows), np.full(len(rows.score), np.nan)
    if not rows.kinds:
        return out
    for fold in range(FOLDS):
        held = folds == fold
        if held.any() and all(((rows.kind == k) & (rows.y == y) & ~held).any() for k in rows.kinds for y in (0, 1)):
            out[held] = llrs_of(rows, fit_buckets(rows, ~held, None), held)[0, held]
    return out


def gain(llr: Array, y: Array, counts: Array | None = None) -> float:
    """Bits a picture that the ratios save against even odds, both classes counting the same."""
    known = np.isfinite(llr)
    weights = metrics.balanced_weights(y[known], None if counts is None else counts[known])
    if not weights.any():
        return float("nan")
    z = llr[known]
    return 1 - log_loss(z, y[known], weights) / math.log(2)


def conformal_above(values: Array, share: float) -> float:
    """What at most `share` of new values like these exceed: rank ⌈(n+1)(1-share)⌉; inf where n is too small."""
    rank = math.ceil((len(values) + 1) * (1 - share))
    return float(np.sort(values)[rank - 1]) if rank <= len(values) else math.inf
