"""Measures the shipped `patch` and `inversion` on test/ and pairs/, through the format-matching chain.

    python -m finetune.measure --data DIR [--tool patch|inversion] [--draws 3] [--sides 224 320]

Runs the detectors themselves on encoded files and prints a Markdown table for RESULTS.md. The interval is a
bootstrap over items (over pairs for pairs/) of the AUROC that is averaged over the draws. Nothing is chosen by it.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from sklearn.metrics import roc_auc_score

from agent.settings import Settings
from evals import datasets
from evals.datasets import Item
from finetune.examples import LARGER, MATCHED, matched
from tools import weights
from tools.contract import Budget, Detector
from tools.image import SourceImage
from tools.tiles import Head, sigmoid

CHAINS = {chain.side: chain for chain in (MATCHED, LARGER)}
Scores = dict[str, tuple[Item, list[float]]]


def scores(tool: Detector, items: list[Item], draws: int, side: int) -> tuple[Scores, int]:
    """The score of each draw of each item, and how many files the tool abstained on."""
    found: dict[str, tuple[Item, list[float]]] = {}
    abstained = 0
    for example in matched(items, draws, CHAINS[side]):
        evidence = tool.examine(SourceImage.open(example.data, "example.jpg"), Budget())
        if evidence.score is None:
            abstained += 1
            continue
        found.setdefault(example.item.id, (example.item, []))[1].append(evidence.score)
    return {name: entry for name, entry in found.items() if len(entry[1]) == draws}, abstained


def auroc(found: Sequence[tuple[Item, list[float]]]) -> float:
    """AUROC, averaged over the draws."""
    labels = [item.label == "generated" for item, _ in found]
    table = np.array([values for _, values in found])
    return float(np.mean([roc_auc_score(labels, column) for column in table.T]))


def interval(found: list[tuple[Item, list[float]]], rounds: int = 400) -> tuple[float, float]:
    """The 95 % bootstrap interval of `auroc`, over items or, where there are pairs, over pairs."""
    groups: dict[str, list[tuple[Item, list[float]]]] = defaultdict(list)
    for entry in found:
        groups[entry[0].pair or entry[0].id].append(entry)
    names = sorted(groups)
    rng = np.random.default_rng(0)
    values: list[float] = []
    while len(values) < rounds:
        drawn = [entry for i in rng.integers(0, len(names), len(names)) for entry in groups[names[i]]]
        if len({entry[0].label for entry in drawn}) == 2:
            values.append(auroc(drawn))
    low, high = np.quantile(np.array(values), [0.025, 0.975])
    return float(low), float(high)


def rates(found: list[tuple[Item, list[float]]], line: float) -> tuple[float, float]:
    """Share of photographs and of generated pictures that score `line` or more."""

    def share(label: str) -> float:
        values: npt.NDArray[np.float64] = np.array([v for item, values in found if item.label == label for v in values])
        return float((values >= line).mean())

    return share("real"), share("generated")


def main() -> None:
    """Prints the table."""
    from tools.detectors.inversion import inversion
    from tools.detectors.patch import patch

    every: dict[str, Detector] = {"patch": patch, "inversion": inversion}
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--tool", choices=sorted(every))
    parser.add_argument("--draws", type=int, default=3)
    parser.add_argument("--sides", type=int, nargs="+", choices=list(CHAINS), default=list(CHAINS))
    options = parser.parse_args()
    weights.use_cache(Settings().cache)
    print(
        "| tool | version | data | side | items | AUROC [95 %] | photographs leaning | generated leaning | abstained |"
    )
    print("|---|---|---|---|---|---|---|---|---|")
    for name in [options.tool] if options.tool else every:
        tool = every[name]
        for title, items in (
            ("pairs", datasets.pairs(options.data)),
            ("test", datasets.labelled(options.data, "test")),
        ):
            for side in options.sides:
                table, abstained = scores(tool, items, options.draws, side)
                found = list(table.values())
                low, high = interval(found)
                wrong, right = rates(found, sigmoid(Head.of(weights.load(name)).high))
                print(
                    f"| {name} | {tool.version} | {title} | {side} | {len(found)} | {auroc(found):.3f} "
                    f"[{low:.2f}, {high:.2f}] | {wrong:.0%} | {right:.0%} | {abstained} |",
                    flush=True,
                )


if __name__ == "__main__":
    main()
