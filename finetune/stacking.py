"""Several tools' calibrated ratios side by side: how much of its own each one keeps."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from agent.calibration import Array, Bucket
from agent.fusion import PIXEL_CAP
from evals import metrics
from finetune.logistic import FOLDS, Ints, Plan, fit_buckets, llrs_of
from finetune.scores import Rows


def fit_stack(llrs: Array, y: Array, weights: Array) -> Array:
    """Weights w in [0, 1] under which Σ w·llr has the least log-loss; no intercept.

    Projected Newton-like descent: the loss is convex, and the bound ¼·λ_max of its curvature gives the step.

    Args:
        llrs: (n, tools).
        y: (n,).
        weights: (n,) with the total that each row should have.
    """
    total = float(weights.sum())
    w = np.full(llrs.shape[1], 1.0 / max(llrs.shape[1], 1))
    if total <= 0 or not llrs.shape[1]:
        return np.zeros(llrs.shape[1])
    curvature = (llrs * (weights / total)[:, None]).T @ llrs / 4
    reach = float(np.linalg.eigvalsh(curvature)[-1])
    if reach < 1e-12:
        return np.zeros(llrs.shape[1])
    ahead, momentum = w, 1.0
    for _ in range(400):  # accelerated (FISTA)
        p = 1 / (1 + np.exp(-np.clip(llrs @ ahead, -500, 500)))
        after = np.clip(ahead - llrs.T @ (weights / total * (p - y)) / reach, 0.0, 1.0)
        grown = (1 + math.sqrt(1 + 4 * momentum**2)) / 2
        ahead = after + (momentum - 1) / grown * (after - w)
        if float(np.abs(after - w).max()) < 1e-7:
            return np.asarray(after, dtype=np.float64)
        w, momentum = after, grown
    return np.asarray(w, dtype=np.float64)


@dataclass(frozen=True, slots=True)
class Joined:
    """Rows of several tools side by side; a tool that has no score for a row lends 0.

    Attributes:
        small: Rows of small views. Few tools judge them, so that they say nothing of how tools share their weight.
    """

    keys: tuple[str, ...]
    y: Array
    kind: NDArray[np.str_]
    source: NDArray[np.str_]
    small: NDArray[np.bool_]
    places: tuple[Ints, ...]
    drawn: Array
    fold: Ints

    @classmethod
    def of(cls, tools: Sequence[Rows], plan: Plan) -> Joined:
        first: dict[str, tuple[int, int]] = {}
        for number, rows in enumerate(tools):
            for i, key in enumerate(rows.key):
                first.setdefault(key, (number, i))
        keys = tuple(sorted(first))

        def column(name: str) -> list[object]:
            return [getattr(tools[first[key][0]], name)[first[key][1]] for key in keys]

        index = [{key: i for i, key in enumerate(rows.key)} for rows in tools]
        drawn = [plan.drawn(rows) for rows in tools]
        folds = [plan.folds(rows) for rows in tools]
        return cls(
            keys=keys,
            y=np.array(column("y"), dtype=np.float64),
            kind=np.array(column("kind"), dtype=np.str_),
            source=np.array(column("source"), dtype=np.str_),
            small=np.array(column("small"), dtype=np.bool_),
            places=tuple(np.array([own.get(key, -1) for key in keys], dtype=np.int64) for own in index),
            drawn=np.stack([drawn[t][:, i] for t, i in (first[key] for key in keys)], axis=1),
            fold=np.array([folds[t][i] for t, i in (first[key] for key in keys)], dtype=np.int64),
        )

    def gather(self, columns: Sequence[Array]) -> Array:
        """(n, tools) from one (rows,) array a tool."""
        out = [np.where(place >= 0, column[place], 0.0) for column, place in zip(columns, self.places, strict=True)]
        return np.asarray(np.nan_to_num(np.stack(out, axis=1), nan=0.0), dtype=np.float64)

    def weights(self, use: NDArray[np.bool_], counts: Array | None = None) -> Array:
        """(n,) all kinds and both classes in them at equal totals; small views do not count beside larger ones."""
        out = np.zeros(len(self.y))
        use = use if self.small.all() else use & ~self.small
        for kind in sorted(set(self.kind)):
            inside = np.flatnonzero(use & (self.kind == kind))
            out[inside] = metrics.balanced_weights(self.y[inside], None if counts is None else counts[inside])
        return out


def stack(
    joined: Joined, tools: Sequence[Rows], buckets: Sequence[Mapping[str, Bucket]], draws: int
) -> tuple[Array, Array]:
    """Stacking weights (tools,) and their draws (draws, tools)."""
    everything = [
        llrs_of(rows, own, np.ones(len(rows.score), dtype=bool)) for rows, own in zip(tools, buckets, strict=True)
    ]
    all_rows = np.ones(len(joined.y), dtype=bool)
    point = fit_stack(joined.gather([own[0] for own in everything]), joined.y, joined.weights(all_rows))
    drawn = [
        fit_stack(
            joined.gather([own[1 + d] for own in everything]), joined.y, joined.weights(all_rows, joined.drawn[d])
        )
        for d in range(draws)
    ]
    return point, np.stack(drawn)


def cross_fitted_sums(joined: Joined, tools: Sequence[Rows], plan: Plan) -> Array:
    """(n,) capped sums as fusion would give them, each from rows of other groups."""
    sums = np.full(len(joined.y), np.nan)
    for fold in range(FOLDS):
        held = joined.fold == fold
        columns = []
        for rows in tools:
            outside = plan.folds(rows) != fold
            columns.append(llrs_of(rows, fit_buckets(rows, outside, None), np.ones(len(rows.score), dtype=bool))[0])
        side = joined.gather(columns)
        w = fit_stack(side, joined.y, joined.weights(~held))
        sums[held] = np.clip(side[held] @ w, -PIXEL_CAP, PIXEL_CAP)
    return sums
