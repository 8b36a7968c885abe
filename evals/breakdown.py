"""A protocol's figures broken down: by generator, by source, by what the agent called the pictures, by what flipped."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

import numpy as np

from evals import metrics
from evals.figures import Array, Rows, Table, over_draws
from evals.metrics import Estimate
from evals.results import Figure, Flips, Group, Labels, Source

FLAGS = ("generated", "edited", "laundered")


def flips(table: Table, before: Table, pictures: Rows) -> Flips | None:
    """How often the agent's probability crosses the prior, and whether the undisturbed verdict was withheld there."""
    ours, theirs = table.probabilities.get("agent"), before.probabilities.get("agent")
    if ours is None or theirs is None or before.calls is None:
        return None
    draws = ours.shape[1]
    theirs, calls = theirs[pictures][:, :draws], before.calls[pictures][:, :draws]
    both = np.isfinite(ours) & np.isfinite(theirs)
    crossed = both & ((ours - table.prior) * (theirs - table.prior) < 0)
    withheld = crossed & (calls == "inconclusive")
    return Flips(files=int(both.sum()), flipped=int(crossed.sum()), withheld=int(withheld.sum()))


def groups(table: Table, names: Sequence[str], *, seed: int, draws: int) -> tuple[Group, ...]:
    """Each generator against all photographs, the one that the first system ranks worst first."""
    negatives = np.flatnonzero(table.labels == 0)
    found = []
    for generator in sorted({g for g, y in zip(table.generators, table.labels, strict=True) if y == 1 and g}):
        inside = np.flatnonzero([g == generator for g in table.generators])
        rows = np.concatenate([inside[table.labels[inside] == 1], negatives])
        by_picture = [f"{table.groups[row]} {row}" if table.labels[row] else table.groups[row] for row in rows]
        figures = {}
        for name in names:
            of = over_draws(lambda y, s: {"auroc": metrics.auroc(y, s)}, table.labels[rows], table.scores[name][rows])
            figures[name] = Figure.of(metrics.resampled(of, by_picture, seed=seed, draws=draws)["auroc"])
        found.append(Group(name=generator, pictures=len(rows) - len(negatives), auroc=figures))
    first = names[0]

    def worst(group: Group) -> tuple[float, str]:
        value = group.auroc[first].value
        return (math.inf if value is None else value, group.name)

    return tuple(sorted(found, key=worst))


def labels(table: Table, *, seed: int, draws: int) -> dict[str, Labels]:
    """What the agent called the pictures of each class."""
    if table.calls is None:
        return {}
    found = {}
    for word, label in (("positive", 1), ("negative", 0)):
        inside = np.flatnonzero(table.labels == label)
        calls = table.calls[inside]
        if not calls.size:
            continue
        flagged, decided = np.isin(calls, FLAGS).mean(axis=1), (calls != "inconclusive").mean(axis=1)

        def shares(rows: Rows, flagged: Array = flagged, decided: Array = decided) -> dict[str, float]:
            return {"flagged": float(flagged[rows].mean()), "decided": float(decided[rows].mean())}

        estimates = metrics.resampled(shares, [table.groups[i] for i in inside], seed=seed, draws=draws)
        found[word] = Labels(
            pictures=len(inside), files=calls.size, counts=dict(sorted(Counter(calls.ravel().tolist()).items())),
            flagged=_widened(estimates["flagged"], len(inside)), decided=_widened(estimates["decided"], len(inside)),
        )  # fmt: skip
    return found


def _widened(found: Estimate, pictures: int) -> Figure:
    """A share's interval, never narrower than Wilson's: none flagged of n does not mean that none ever will be."""
    low, high = metrics.wilson(round(found.value * pictures), pictures)
    return Figure.of(Estimate(found.value, min(low, found.low), max(high, found.high), found.groups, found.lost))


def sources(table: Table) -> tuple[Source, ...]:
    """Share of photographs flagged, by collection, the worst first."""
    if table.calls is None:
        return ()
    found = []
    for name in sorted({s for s, y in zip(table.sources, table.labels, strict=True) if y == 0}):
        inside = [i for i, (s, y) in enumerate(zip(table.sources, table.labels, strict=True)) if s == name and y == 0]
        calls = table.calls[inside]
        flagged = int(np.isin(calls, FLAGS).sum())
        found.append(Source(name=name, pictures=len(inside), files=calls.size, flagged=flagged))
    return tuple(sorted(found, key=lambda source: (-source.flagged / source.files, source.name)))
