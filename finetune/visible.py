"""Which of the lab's artifacts the image tower's tokens show at all: those the model is taught, the rest it is not.

    python -m finetune.visible --data DIR --taef2 DIR --cache CACHE --out visible.json

A linear probe (`evals.planted.LinearProbe`) over the very tokens that the model is given tells every kind that the lab
plants, a regenerated region (TAEF2) among them, on views of the training photographs. Marked are views of the
photographs of "choice": for each kind the share that is named right, at the probe's own threshold of silence.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from agent import models
from evals.artifacts import KINDS, Sample, Split, photographs, samples
from evals.planted import LinearProbe, marks, said
from evals.tokens import TokenMaker
from finetune.data import truth_of
from finetune.taef2 import Taef2


def main(argv: Sequence[str] | None = None) -> None:
    """Command line."""
    import torch

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--taef2", type=Path, required=True, help="folder of the TAEF2 weights")
    parser.add_argument("--cache", type=Path, required=True)
    parser.add_argument("--count", type=int, default=1200, help="views of the training photographs")
    parser.add_argument("--marked", type=int, default=500, help="views that are marked")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args(argv)
    torch.set_num_threads(args.threads)
    passage, tokens = Taef2(args.taef2).passage, TokenMaker(models.compose(args.cache))

    def views(split: Split, count: int) -> list[Sample]:
        items = photographs(args.data, split)
        return list(samples(items, split, count, untouched=0.25, seed=args.seed, passage=passage))

    known = views("train", args.count)
    probe = LinearProbe(
        tokens([each.pixels for each in known]), [asdict(truth_of(each)) for each in known], args.seed, KINDS
    )
    marked = views("choice", args.marked)
    found = marks(marked, said([probe.claim(each) for each in tokens([each.pixels for each in marked])]))
    args.out.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
