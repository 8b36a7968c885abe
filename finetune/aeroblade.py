"""Measures AEROBLADE's distance, which needs no training, on pairs/ and test/ through the format-matching chain.

    python -m finetune.aeroblade --data DIR [--taef2 DIR] [--model NAME[,NAME]] [--draws 1] [--pairs N]

A picture is scored by minus the least distance from its own passage over the autoencoders that are named: TAEF2, and
whatever `EXPOSIT_INVERSION_MODEL` could name. Prints a Markdown table for RESULTS.md; the intervals are those of
`finetune.measure`. Nothing is chosen by it.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from evals import datasets
from evals.datasets import Item
from finetune import examples
from finetune.measure import Scores, auroc, interval
from finetune.taef2 import Taef2
from tools.borrowed import inversion_models, use_inversion_model
from tools.latent import Distance, distance, load, tensor

Pass = Callable[[torch.Tensor], torch.Tensor]
"""1x3xHxW in [-1, 1], encoded and decoded again."""
DISTANCES = ("grey_levels", "dissimilarity")


def taef2(folder: Path) -> Pass:
    """The passage through TAEF2, rounded to whole grey levels as a saved picture is."""
    network = Taef2(folder)

    def passage(picture: torch.Tensor) -> torch.Tensor:
        rgb = ((picture[0].permute(1, 2, 0) + 1) * 127.5).round().to(torch.uint8).numpy()
        return tensor(network.passage(np.ascontiguousarray(rgb)))

    return passage


def scores(items: list[Item], passes: list[Pass], draws: int) -> dict[str, Scores]:
    """Minus the least distance of each draw of each item, by the name of the distance."""
    found: dict[str, Scores] = {name: {} for name in DISTANCES}
    for example in examples.matched(items, draws):
        with torch.inference_mode():
            picture = tensor(examples.pixels_of(example))
            every: list[Distance] = [distance(picture, each(picture)) for each in passes]
        for name, table in found.items():
            nearest = min(getattr(each, name) for each in every)
            table.setdefault(example.item.id, (example.item, []))[1].append(-nearest)
    return found


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--taef2", type=Path)
    parser.add_argument("--model")
    parser.add_argument("--draws", type=int, default=1)
    parser.add_argument("--pairs", type=int, help="only the first so many pairs, and no test/: shows that it runs")
    options = parser.parse_args()
    named: dict[str, Pass] = {}
    if options.taef2:
        named["TAEF2"] = taef2(options.taef2)
    if options.model:
        use_inversion_model(options.model)
        named |= {each.name: load(each).passage for each in inversion_models()}
    if not named:
        parser.error("name an autoencoder with --taef2 or --model")
    sets = [("pairs", datasets.pairs(options.data)), ("test", datasets.labelled(options.data, "test"))]
    if options.pairs:
        kept = sorted({item.pair for item in sets[0][1]})[: options.pairs]
        sets = [(f"{len(kept)} pairs", [item for item in sets[0][1] if item.pair in kept])]
    print("| autoencoders | distance | data | items | AUROC [95 %] |")
    print("|---|---|---|---|---|")
    for title, items in sets:
        for name, table in scores(items, list(named.values()), options.draws).items():
            found = list(table.values())
            low, high = interval(found)
            figure = f"{auroc(found):.3f} [{low:.2f}, {high:.2f}]"
            print(f"| {', '.join(named)} | {name} | {title} | {len(found)} | {figure} |", flush=True)


if __name__ == "__main__":
    main()
