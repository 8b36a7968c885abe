"""Chooses how sure the vision-language model must be before it claims to see something.

    python -m finetune.silence --data DIR --vlm FOLDER --cache CACHE --out SILENCE.json

A look names something where the best token that begins an observation lies above the best that ends the list. What is
added to the logits of the latter, the reserve (`agent.models.Card`), makes the model silent more often: it is the least
multiple of _STEP that leaves it silent on `--silent` of the untouched views. These are lab views of the split "choice":
photographs that no training saw and no test measures. What the reserve costs in kinds and places on planted views of
the same photographs is told beside it.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from agent import models
from agent.llava import Llava
from evals.planted import Claim, claims_of, closing, lab_views, marks, said

_STEP = 0.5


def reserve_for(untouched: Sequence[Claim], silent: float) -> float:
    """The least multiple of _STEP by which leans must fall for a share `silent` of them to be 0 or less."""
    lean = float(np.quantile([each.lean for each in untouched], silent, method="higher"))
    return max(0.0, math.ceil(lean / _STEP) * _STEP)


def main(argv: Sequence[str] | None = None) -> None:
    """Command line."""
    import torch

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--vlm", type=Path, default=models.FOLDER, help="Folder that finetune.export wrote.")
    parser.add_argument("--cache", type=Path, required=True)
    parser.add_argument("--silent", type=float, default=0.98)
    parser.add_argument("--count", type=int, default=500, help="Views, half of them untouched.")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args(argv)
    torch.set_num_threads(args.threads)
    adapter = models.adapter(args.vlm)
    model = Llava(models.compose(args.cache, folder=args.vlm), adapter.folder if adapter else None)
    views = lab_views(args.data, "choice", args.count, args.seed, untouched=0.5)
    claims = claims_of(model, views)
    untouched = [claim for view, claim in zip(views, claims, strict=True) if view.planting is None]
    reserve = reserve_for(untouched, args.silent)
    found: dict[str, Any] = {
        "reserve": {str(token): reserve for token in closing(model)},
        "wanted": args.silent,
        "views": len(views),
        "photographs": len({each.id.partition("#")[0] for each in views}),
        "without": marks(views, said(claims)),
        "with": marks(views, said(claims, reserve)),
    }
    args.out.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
