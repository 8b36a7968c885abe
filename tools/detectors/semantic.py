"""`semantic`: what the middle of CLIP's image tower makes of tiles at native size.

A linear head over the class tokens of four middle blocks (`tools.clip`), fitted on photographs against their own
passage through an autoencoder and on generated pictures against photographs. The last block, which knows what a
picture shows, is not read; nor is any tile resized, since that would remove the traces. A picture that is smaller than
a tile is continued by its own mirror image, and judged by a head of its own that was fitted on such views.
"""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path
from time import perf_counter

import numpy as np

from tools import weights
from tools.clip import LEAST, SIDE, UNIT, Tower, look
from tools.contract import Budget, Evidence, Finding, Region, Tool, detector
from tools.errors import IntegrityError, MissingWeightError
from tools.image import SourceImage
from tools.tiles import Head, Look, canvas, sigmoid

MOST = {"quick": 4, "standard": 9, "thorough": 36}
"""Tiles that are looked at, by the level of the budget."""
HEADS = ("semantic", "semantic_small")
"""Weights of the head of whole tiles and of that of pictures smaller than one."""
_VERSION = "2+" + ".".join(weights.weight(name).sha256[:8] for name in HEADS)


@detector(name="semantic", version=_VERSION, target="generated", cost=45.0)
def semantic(tool: Tool, image: SourceImage, budget: Budget) -> Evidence:
    """Judges tiles by what the middle blocks of CLIP's image tower make of them."""
    began = perf_counter()
    if min(image.width, image.height) < LEAST:
        return tool.abstain(
            f"The picture is {image.width}x{image.height} px; under {LEAST} px on the shorter side too little is left "
            "to look at, and enlarging the picture would add traces of its own.",
            ms=(perf_counter() - began) * 1000,
        )
    try:
        tower = _tower(weights.path("clip"))
    except (MissingWeightError, IntegrityError) as error:
        return tool.abstain(str(error), ms=(perf_counter() - began) * 1000)
    small = min(image.width, image.height) < SIDE
    name = HEADS[small]
    head = Head.of(weights.load(name))
    seen = look(tower, image.rgb, most=min(MOST[budget.level], budget.max_tiles), seed=image.seed)
    if not seen.judged:
        return tool.abstain(
            f"All {seen.flat} tiles that were looked at are nearly flat: they show nothing to judge.",
            measurements={"tiles_flat": seen.flat},
            ms=(perf_counter() - began) * 1000,
        )
    logits = head.logits(seen.features)
    mean = float(logits.mean())
    score = round(sigmoid(mean), 6)
    scores = [sigmoid(float(logit)) for logit in logits]
    size = (image.width, image.height)
    places = [Region.from_pixels(left, top, left + SIDE, top + SIDE, size) for left, top in seen.judged]
    suspects = head.suspects(logits, most=2)
    drawn = np.nan_to_num(canvas(seen.judged, scores, SIDE, size), nan=0.0)
    return tool.evidence(
        score=score,
        findings=(
            _overall(head.leaning(mean), score, int((logits >= head.high).sum()), len(scores)),
            *(_tile(scores[i], places[i]) for i in suspects),
        ),
        regions=[places[i] for i in suspects],
        measurements={
            "mean_log_odds": round(mean, 4),
            "tiles_judged": len(scores),
            "tiles_flat": seen.flat,
            "tiles_possible": seen.possible,
            "tile_side_px": SIDE,
            "coverage": round(seen.coverage, 4),
            "spread_log_odds": round(float(logits.std()), 4),
        },
        applicability=round(len(scores) / (len(scores) + seen.flat), 4),
        limits=_limits(seen, len(scores), small),
        maps=(image.maps.add("semantic_tiles", drawn, _CAPTION),),
        weights={used: weights.weight(used).sha256 for used in ("clip", name)},
        ms=(perf_counter() - began) * 1000,
    )


_CAPTION = (
    "Score of each tile that was looked at: the brighter, the more the tower sees in it what it sees in generated "
    "pictures. Black areas were not looked at."
)


@cache
def _tower(file: Path) -> Tower:
    """The tower, checked against its pin and built once a process."""
    weights.verify("clip")
    return Tower(file, threads=int(os.environ.get("OMP_NUM_THREADS") or os.cpu_count() or 1))


def _overall(leaning: str, score: float, alike: int, judged: int) -> Finding:
    shown = round(score, 2)
    numbers: dict[str, float | int | str | bool] = {
        "tiles_above_level": alike, "tiles": judged, "level_percent": Head.LEVEL, "score": shown
    }  # fmt: skip
    what = f"{alike} of {judged} tiles" if judged > 1 else f"{alike} of 1 tile"
    text = f"To the middle of an image encoder, {what} {'looks' if alike == 1 else 'look'} more like generated "
    text += f"pictures than {Head.LEVEL} % of photographs held out in training"
    if leaning == "generated":
        text += f", and so does their mean (score {shown}). This is a sign, not a proof."
        return Finding(text=text, polarity="generated", severity="moderate", numbers=numbers)
    if leaning == "camera":
        text += f"; the mean (score {shown}) lies where photographs lie and few generated pictures do."
        return Finding(text=text, polarity="camera", numbers=numbers)
    return Finding(text=f"{text}; the mean (score {shown}) leans neither way.", numbers=numbers)


def _tile(score: float, place: Region) -> Finding:
    shown = round(score, 2)
    return Finding(
        text=f"The tile at the {place.place} stands out from the rest (tile score {shown}).",
        polarity="generated",
        severity="weak",
        region=place,
        numbers={"tile_score": shown},
    )


def _limits(seen: Look, judged: int, small: bool) -> tuple[str, ...]:
    limits = [
        "It cannot say what in a tile it goes by; part of it may be the subject or the style. How far it holds where "
        "subjects match is measured in finetune/RESULTS.md.",
        "It was fitted on pictures saved once more as JPEG of quality 70 to 95, and on copies of them that were "
        "shrunk, sharpened, blurred or made noisy a little and saved again; stronger compression, heavy resizing, "
        "filters and drawings lie outside that.",
    ]
    if small:
        limits.append(
            f"The shorter side has fewer than the {SIDE} px of one tile: the picture was continued by its own mirror "
            "image, not enlarged, and judged by a head of its own, fitted on views of 128 to 208 px."
        )
    if judged + seen.flat < seen.possible:
        limits.append(
            f"{judged} of {seen.possible} tiles, drawn by the picture's hash, were judged: {seen.coverage:.0%} of the "
            "area was looked at."
        )
    elif seen.coverage < 0.995:
        limits.append(
            f"Its tiles begin at multiples of {UNIT} px, as a JPEG's units do: {seen.coverage:.0%} of the area was "
            "looked at."
        )
    return tuple(limits)
