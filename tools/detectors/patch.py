"""`patch`: rich against poor texture and the statistics of residuals, tile by tile at native size."""

from __future__ import annotations

from time import perf_counter

import numpy as np

from tools import weights
from tools.contract import Budget, Evidence, Finding, Region, Tool, detector
from tools.image import SourceImage
from tools.texture import NAMES, TILE, look
from tools.tiles import Head, canvas, sigmoid

LEAST = 64
"""Shortest side in pixels that is judged."""
LEANS = 0.6
"""Score from which the evidence is said to lean towards generated; below 1 - LEANS, towards photographs."""
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
    logits = head.logits(seen.features)
    mean = float(logits.mean())
    score = round(sigmoid(mean), 6)
    scores = [sigmoid(float(logit)) for logit in logits]
    drawn = np.nan_to_num(canvas(seen.judged, scores, seen.side, (image.width, image.height)), nan=0.0)
    tile_map = image.maps.add(
        "patch_tiles",
        drawn,
        "Score of each tile: the brighter, the more its texture is like that of generated pictures in training. "
        "Black tiles were not judged.",
    )
    places = [
        Region.from_pixels(left, top, left + seen.side, top + seen.side, (image.width, image.height))
        for left, top in seen.judged
    ]
    suspects = _suspects(scores) if score >= LEANS else []
    parts = head.parts(seen.features).mean(axis=0)
    return tool.evidence(
        score=score,
        findings=(
            _overall(score, scores),
            *([_reason(parts)] if score >= LEANS else []),
            *(_tile(scores[i], places[i]) for i in suspects),
        ),
        regions=[places[i] for i in suspects],
        measurements={
            "mean_log_odds": round(mean, 4),
            "tiles_judged": len(scores),
            "tiles_flat": seen.flat,
            "tiles_possible": seen.possible,
            "tile_side_px": seen.side,
            "coverage": round(seen.coverage, 4),
            "spread_log_odds": round(float(logits.std()), 4),
            "mean_contrast_grey_levels": round(float(np.mean(seen.contrast)), 3),
        },
        applicability=round((seen.side / TILE) ** 2 * len(scores) / (len(scores) + seen.flat), 4),
        limits=_limits(seen.coverage, seen.side),
        maps=(tile_map,),
        weights={"patch": weights.weight("patch").sha256},
        ms=(perf_counter() - began) * 1000,
    )


def _suspects(scores: list[float]) -> list[int]:
    """At most three tiles, those that stand out upwards; none where all tiles are alike."""
    line = max(LEANS, float(np.mean(scores)) + float(np.std(scores)))
    order = np.argsort(scores)[::-1][:3]
    return [int(i) for i in order if scores[i] > line]


def _overall(score: float, scores: list[float]) -> Finding:
    alike, tiles, shown = sum(s >= 0.5 for s in scores), len(scores), round(score, 2)
    numbers: dict[str, float | int | str | bool] = {"score": shown, "tiles_like_generated": alike, "tiles": tiles}
    count = f"{alike} of {tiles} tiles" if tiles > 1 else "The picture's only tile" if alike else "0 of 1 tiles"
    verb = "is" if tiles == 1 and alike else "are"
    if score >= LEANS:
        return Finding(
            text=f"{count} {verb} closer in texture to generated pictures than to photographs in training "
            f"(score {shown}); this is a weak sign.",
            polarity="generated",
            severity="weak",
            numbers=numbers,
        )
    if score <= 1 - LEANS:
        return Finding(
            text=f"{count} {verb} closer in texture to generated pictures than to photographs in training "
            f"(score {shown}): the texture is that of photographs, as far as this tool can tell.",
            polarity="camera",
            numbers=numbers,
        )
    return Finding(
        text=f"{count} {verb} closer in texture to generated pictures than to photographs in training "
        f"(score {shown}): this leans neither way.",
        numbers=numbers,
    )


def _reason(parts: np.ndarray) -> Finding:
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


def _limits(coverage: float, side: int) -> tuple[str, ...]:
    limits = [
        "Weak: where a photograph and a generated picture show the same subject, this tool is close to chance "
        "(finetune/RESULTS.md).",
        "It was fitted on pictures saved once more as JPEG of quality 70 to 95; stronger compression, heavy resizing, "
        "filters and drawings lie outside that.",
    ]
    if coverage < 0.995:
        limits.append(f"A sample of tiles drawn by the picture's hash: {coverage:.0%} of the area was looked at.")
    if side < TILE:
        limits.append(f"The picture is small: tiles of {side} px were read where {TILE} px are meant.")
    return tuple(limits)
