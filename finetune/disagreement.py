"""Measures how far two tools' calibrated ratios lie apart on held-out pictures, for `agent.fusion` to compare with.

    python -m finetune.disagreement

Reads the out-of-fold scores and the calibration that was fitted on them, and writes `agent/disagreement.json`: for each
pair of tools with weight that judged the same files, the difference of their weighted log-likelihood ratios that 99 in
100 files stay below, in the class and kind of rows where they lie furthest apart.
"""

from __future__ import annotations

import argparse
from itertools import combinations
from pathlib import Path

import numpy as np

from agent.calibration import ALL, Array, CalibratedTool
from agent.calibration import load as load_calibration
from agent.disagreement import SHIPPED, Apart, Disagreement
from finetune.scores import Rows, read

SHARE = 0.99
LEAST = 100
"""With fewer files than this, no 99th percentile is told."""


def weighted(rows: Rows, tool: CalibratedTool) -> Array:
    """(n,) what each row's score would add to a verdict."""
    out = np.zeros(len(rows.score))
    for place, names in enumerate(rows.buckets):
        bucket = tool.buckets[next(name for name in (*names, ALL) if name in tool.buckets)]
        out[place] = bucket.llr(float(rows.score[place]))[0] * tool.weight
    return out


def apart(
    names: tuple[tuple[str, str], tuple[str, str]], rows: tuple[Rows, Rows], llrs: tuple[Array, Array]
) -> Apart | None:
    """The pair's row of the file; None where no class and kind holds enough files that both judged."""
    where = {key: place for place, key in enumerate(rows[1].key)}
    both = [(i, where[key]) for i, key in enumerate(rows[0].key) if key in where]
    found: list[tuple[float, int]] = []
    for kind in sorted(set(rows[0].kind)):
        for y in (0.0, 1.0):
            inside = [(i, j) for i, j in both if rows[0].kind[i] == kind and rows[0].y[i] == y]
            if len(inside) < LEAST:
                continue
            gaps = np.abs([llrs[0][i] - llrs[1][j] for i, j in inside])
            found.append((float(np.quantile(gaps, SHARE)), len({str(rows[0].picture[i]) for i, _ in inside})))
    if not found:
        return None
    gap, pictures = max(found)
    return Apart(tools=names, apart=round(max(gap, 1e-4), 4), pictures=pictures)


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scores", type=Path, default=Path("finetune/oof"), help="folder of out-of-fold scores")
    parser.add_argument("--out", type=Path, default=SHIPPED)
    options = parser.parse_args()
    calibration = load_calibration()
    scores, _ = read(options.scores)
    names = sorted(name for name in calibration.weighted if name in scores)
    llrs = {name: weighted(scores[name], calibration.tools[name]) for name in names}
    pairs = []
    for a, b in combinations(names, 2):
        one, other = calibration.tools[a], calibration.tools[b]
        if one.target == other.target:
            pair = apart(((a, one.version), (b, other.version)), (scores[a], scores[b]), (llrs[a], llrs[b]))
            pairs += [pair] if pair is not None else []
    made = Disagreement(made_by="python -m finetune.disagreement", calibration=calibration.name, pairs=tuple(pairs))
    options.out.write_text(made.model_dump_json(indent=1) + "\n", encoding="utf-8")
    for pair in pairs:
        (a, _), (b, _) = pair.tools
        print(f"{a} and {b}: 99 in 100 of {pair.pictures} pictures at most {pair.apart:.3f} apart")


if __name__ == "__main__":
    main()
