"""`patch`: rich against poor texture and the statistics of residuals, tile by tile at native size."""

from __future__ import annotations

from time import perf_counter

import numpy as np
import numpy.typing as npt

from tools import weights
from tools.contract import Budget, Evidence, Finding, Region, Tool, detector
from tools.image import SourceImage
from tools.texture import NAMES, TILE, look
from tools.tiles import Head, Judged

LEAST = 64
"""Shortest side in pixels that is judged."""
GROUPS = {
    "energy": "how strong the finest detail is at each scale and direction",
    "peak": "how evenly the fine detail is spread over its values",
    "neighbours": "how the fine detail repeats from pixel to pixel",
    "channels": "how alike the fine detail of the colour channels is",
    "period": "regular steps in the fine detail, as upsampling leaves them",
    "spectrum": "the balance of fine and coarse detail",
}
"""What each group of features is about, by the part of its name before the slash."""


@detector(name="patch", version=f"1+{weights.weight('patch').sha256[:8]}", target="generated", cost=25.0)
def patch(tool: Tool, image: SourceImage, budget: Budget) -> Evidence:
    """Compares the texture of tiles at native size with photographs and generated pictures seen in training."""
    began = perf_counter()
    if min(image.width, image.height) < LEAST:
        return tool.abstain(
            f"The picture is {image.width}x{image.height} px; texture is compared from {LEAST} px on the shorter side.",
            ms=(perf_counter() - began) * 1000,
        )
    head = Head.of(weights.load("patch"))
    seen = look(image.rgb, most=budget.max_tiles, seed=image.seed)
    if not seen.judged:
        return tool.abstain(
            f"All {seen.flat} tiles that were looked at are nearly flat: they hold no texture to compare.",
            measurements={"tiles_flat": seen.flat},
            ms=(perf_counter() - began) * 1000,
        )
    judged = Judged.of(head, seen, (image.width, image.height))
    suspects = judged.suspects(most=3)
    tile_map = image.maps.add(
        "patch_tiles",
        judged.tile_map,
        "Score of each tile: the brighter, the more its texture is like that of generated pictures in training. "
        "Black tiles were not judged.",
    )
    parts = head.parts(seen.features).mean(axis=0)
    return judged.evidence(
        tool,
        meant=TILE,
        regions=[judged.place(i) for i in suspects],
        measurements={"mean_contrast_grey_levels": round(float(np.mean(seen.contrast)), 3)},
        findings=(
            _overall(judged),
            *([_reason(parts)] if judged.leaning == "generated" else []),
            *(_tile(judged.scores[i], judged.place(i)) for i in suspects),
        ),
        limits=_limits(judged),
        maps=(tile_map,),
        weights={"patch": weights.weight("patch").sha256},
        ms=(perf_counter() - began) * 1000,
    )


def _overall(judged: Judged) -> Finding:
    leaning, alike, tiles = judged.leaning, judged.above, len(judged.scores)
    shown = round(judged.score, 2)
    many = f"{alike} of {tiles} tiles {'lies' if alike == 1 else 'lie'}" if tiles > 1 else "The picture's only tile"
    many += "" if tiles > 1 else " lies" if alike else " does not lie"
    text = f"{many} above the level that {Head.LEVEL} % of photographs held out in training stay under"
    numbers: dict[str, float | int | str | bool] = {
        "tiles_above_level": alike, "tiles": tiles, "level_percent": Head.LEVEL, "score": shown
    }  # fmt: skip
    if leaning == "generated":
        text += f"; so does the mean (score {shown}): the texture is closer to generated pictures. This is a weak sign."
        return Finding(text=text, polarity="generated", severity="weak", numbers=numbers)
    if leaning == "camera":
        text += (
            f"; the mean (score {shown}) lies under the level that as many generated pictures stay above: the texture "
            "is closer to photographs."
        )
        return Finding(text=text, polarity="camera", numbers=numbers)
    return Finding(text=f"{text}; the mean (score {shown}) leans neither way.", numbers=numbers)


def _reason(parts: npt.NDArray[np.float64]) -> Finding:
    """Which group of features speaks most for generated."""
    totals = {group: 0.0 for group in GROUPS}
    for name, part in zip(NAMES, parts, strict=True):
        totals[name.partition("/")[0]] += float(part)
    group = max(totals, key=lambda name: totals[name])
    shown = round(totals[group], 2)
    return Finding(
        text=f"What differs most from photographs in training is {GROUPS[group]} (adds {shown} to the log-odds).",
        polarity="generated",
        numbers={"log_odds": shown, "group": group},
    )


def _tile(score: float, place: Region) -> Finding:
    shown = round(score, 2)
    return Finding(
        text=f"The tile at the {place.place} stands out from the rest: its texture is furthest from that of "
        f"photographs in training (tile score {shown}).",
        polarity="generated",
        severity="weak",
        region=place,
        numbers={"tile_score": shown},
    )


def _limits(judged: Judged) -> tuple[str, ...]:
    limits = [
        "Weak: where a photograph and a generated picture show the same subject, this tool is close to chance "
        "(finetune/RESULTS.md).",
        "It was fitted on pictures saved once more as JPEG of quality 70 to 95; stronger compression, heavy resizing, "
        "filters and drawings lie outside that.",
    ]
    coverage = judged.seen.coverage
    if coverage < 0.995:
        limits.append(f"A sample of tiles drawn by the picture's hash: {coverage:.0%} of the area was looked at.")
    return (*limits, *judged.smaller(TILE))
