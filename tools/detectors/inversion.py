"""`inversion`: how a small diffusion model of photographs reconstructs the picture.

The model is Exposit's own, trained on a few hundred photographs; it is not Stable Diffusion, and its size is said in
the limits. `tools.reconstruction` holds what is measured, and from which papers.
"""

from __future__ import annotations

from time import perf_counter

import numpy as np
import numpy.typing as npt

from tools import weights
from tools.contract import Budget, Evidence, Finding, Region, Tool, detector
from tools.image import SourceImage
from tools.tiles import Head, Look, canvas, sigmoid

LEAST = 64
"""Shortest side in pixels that is judged."""
MOST = {"quick": 4, "standard": 8, "thorough": 24}
"""Tiles that are reconstructed, by the level of the budget; each costs six passes through the model."""
PHOTOGRAPHS = 378
"""Photographs that the model was trained on; its card says the same, and a test holds the two together."""


@detector(
    name="inversion",
    version=f"1+{weights.weight('inverter').sha256[:8]}.{weights.weight('inversion').sha256[:8]}",
    target="generated",
    cost=35.0,
)
def inversion(tool: Tool, image: SourceImage, budget: Budget) -> Evidence:
    """Reconstructs tiles with a small diffusion model of photographs and judges the error."""
    began = perf_counter()
    if min(image.width, image.height) < LEAST:
        return tool.abstain(
            f"The picture is {image.width}x{image.height} px; reconstruction needs {LEAST} px on the shorter side.",
            ms=(perf_counter() - began) * 1000,
        )
    from tools.reconstruction import TILE, look, shipped

    head = Head.of(weights.load("inversion"))
    seen = look(shipped(), image.rgb, most=min(MOST[budget.level], budget.max_tiles), seed=image.seed)
    if not seen.judged:
        return tool.abstain(
            f"All {seen.flat} tiles that were tried are nearly flat: there is nothing to reconstruct.",
            measurements={"tiles_flat": seen.flat},
            ms=(perf_counter() - began) * 1000,
        )
    logits = head.logits(seen.features)
    mean = float(logits.mean())
    score = round(sigmoid(mean), 6)
    scores = [sigmoid(float(logit)) for logit in logits]
    errors = [float(error.mean()) for error in seen.maps]
    size = (image.width, image.height)
    places = [Region.from_pixels(left, top, left + seen.side, top + seen.side, size) for left, top in seen.judged]
    suspects = head.suspects(logits, most=2)
    return tool.evidence(
        score=score,
        findings=(
            _overall(head.leaning(mean), score, errors),
            *(_tile(scores[i], errors[i], places[i]) for i in suspects),
        ),
        regions=[places[i] for i in suspects],
        measurements={
            "mean_log_odds": round(mean, 4),
            "mean_error_grey_levels": round(float(np.mean(errors)), 3),
            "tiles_judged": len(scores),
            "tiles_flat": seen.flat,
            "tiles_possible": seen.possible,
            "tile_side_px": seen.side,
            "coverage": round(seen.coverage, 4),
            "spread_log_odds": round(float(logits.std()), 4),
        },
        applicability=round((seen.side / TILE) ** 2 * len(scores) / (len(scores) + seen.flat), 4),
        limits=_limits(seen, len(scores), TILE),
        maps=(image.maps.add("inversion_error", _error_map(seen, size), _CAPTION),),
        weights={name: weights.weight(name).sha256 for name in ("inverter", "inversion")},
        ms=(perf_counter() - began) * 1000,
    )


_CAPTION = (
    "Reconstruction error of the tiles that were tried, relative to the largest: the brighter, the further the small "
    "model's reconstruction lies from the picture. Black areas were not reconstructed. Texture is bright everywhere."
)


def _error_map(seen: Look, size: tuple[int, int]) -> npt.NDArray[np.float64]:
    error = np.nan_to_num(canvas(seen.judged, seen.maps, seen.side, size), nan=0.0)
    return np.asarray(error / max(float(error.max()), 1e-6))


def _overall(leaning: str, score: float, errors: list[float]) -> Finding:
    shown, tiles, error = round(score, 2), len(errors), round(float(np.mean(errors)), 2)
    numbers: dict[str, float | int | str | bool] = {"tiles": tiles, "mean_error": error, "score": shown}
    text = (
        f"A small model of photographs reconstructs {tiles} {'tile' if tiles == 1 else 'tiles'} with a mean error of "
        f"{error} grey levels; "
    )
    if leaning == "generated":
        text += (
            f"the pattern of the errors (score {shown}) lies above the level that {Head.LEVEL} % of photographs held "
            "out in training stay under. This is a weak sign."
        )
        numbers["level_percent"] = Head.LEVEL
        return Finding(text=text, polarity="generated", severity="weak", numbers=numbers)
    if leaning == "camera":
        text += (
            f"the pattern of the errors (score {shown}) lies under the level that {Head.LEVEL} % of generated pictures "
            "held out in training stay above."
        )
        numbers["level_percent"] = Head.LEVEL
        return Finding(text=text, polarity="camera", numbers=numbers)
    return Finding(text=text + f"the pattern of the errors (score {shown}) leans neither way.", numbers=numbers)


def _tile(score: float, error: float, place: Region) -> Finding:
    shown, grey = round(score, 2), round(error, 2)
    return Finding(
        text=f"The tile at the {place.place} stands out from the others tried: tile score {shown}, mean error {grey} "
        "grey levels.",
        polarity="generated",
        severity="weak",
        region=place,
        numbers={"tile_score": shown, "mean_error": grey},
    )


def _limits(seen: Look, judged: int, meant: int) -> tuple[str, ...]:
    limits = [
        f"The model behind it is small and Exposit's own, trained on {PHOTOGRAPHS} photographs; it is not the model "
        "that made any generated picture.",
        "Weak: where a photograph and a generated picture show the same subject, this tool is close to chance "
        "(finetune/RESULTS.md).",
    ]
    if seen.coverage < 0.995:
        limits.append(
            f"{judged} of {seen.possible} tiles, drawn by the picture's hash, were reconstructed: "
            f"{seen.coverage:.0%} of the area was looked at."
        )
    if seen.side < meant:
        limits.append(f"The picture is small: tiles of {seen.side} px were read where {meant} px are meant.")
    return tuple(limits)
