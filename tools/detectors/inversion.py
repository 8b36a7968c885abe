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
from tools.tiles import Head, Judged, canvas

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
    judged = Judged.of(head, seen, (image.width, image.height))
    errors = [float(error.mean()) for error in seen.maps]
    suspects = judged.suspects(most=2)
    return judged.evidence(
        tool,
        meant=TILE,
        regions=[judged.place(i) for i in suspects],
        measurements={"mean_error_grey_levels": round(float(np.mean(errors)), 3)},
        findings=(
            _overall(judged, errors),
            *(_tile(judged.scores[i], errors[i], judged.place(i)) for i in suspects),
        ),
        limits=_limits(judged, TILE),
        maps=(image.maps.add("inversion_error", _error_map(judged), _CAPTION),),
        weights={name: weights.weight(name).sha256 for name in ("inverter", "inversion")},
        ms=(perf_counter() - began) * 1000,
    )


_CAPTION = (
    "Reconstruction error of the tiles that were tried, relative to the largest: the brighter, the further the small "
    "model's reconstruction lies from the picture. Black areas were not reconstructed. Texture is bright everywhere."
)


def _error_map(judged: Judged) -> npt.NDArray[np.float64]:
    seen = judged.seen
    error = np.nan_to_num(canvas(seen.judged, seen.maps, seen.side, judged.size), nan=0.0)
    return np.asarray(error / max(float(error.max()), 1e-6))


def _overall(judged: Judged, errors: list[float]) -> Finding:
    leaning = judged.leaning
    shown, tiles, error = round(judged.score, 2), len(errors), round(float(np.mean(errors)), 2)
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


def _limits(judged: Judged, meant: int) -> tuple[str, ...]:
    seen = judged.seen
    limits = [
        f"The model behind it is small and Exposit's own, trained on {PHOTOGRAPHS} photographs; it is not the model "
        "that made any generated picture.",
        "Weak: where a photograph and a generated picture show the same subject, this tool is close to chance "
        "(finetune/RESULTS.md).",
    ]
    if seen.coverage < 0.995:
        limits.append(
            f"{len(judged.scores)} of {seen.possible} tiles, drawn by the picture's hash, were reconstructed: "
            f"{seen.coverage:.0%} of the area was looked at."
        )
    return (*limits, *judged.smaller(meant))
