"""`inversion_sd`: how a Stable Diffusion model that is configured reconstructs the picture; the dearer `inversion`.

Without a model (`EXPOSIT_INVERSION_MODEL`) or the extra `[inversion]` it abstains, and planning leaves it out.
`tools.latent` holds what is measured, and from which papers.
"""

from __future__ import annotations

from time import perf_counter
from typing import TYPE_CHECKING

import numpy as np

from tools import weights
from tools.borrowed import inversion_models, missing
from tools.contract import Budget, Evidence, Finding, Tool, detector
from tools.errors import OperatorError
from tools.image import SourceImage
from tools.tiles import Head, Tile, canvas, covered, sigmoid, tiles

if TYPE_CHECKING:
    from tools.latent import Model, Reading

LEAST = 128
"""Shortest side in pixels that is judged."""
SIDE = 512
"""Side of a tile in pixels: what Stable Diffusion was trained at."""
MOST = {"quick": 1, "standard": 1, "thorough": 4}
"""Tiles that are read, by the level of the budget; each costs twenty passes through the denoiser."""


def head_name(sha256: str) -> str:
    """The weight that holds the head for the model of that hash; `finetune.inversion_sd` writes it."""
    return f"inversion_sd_{sha256[:12]}"


@detector(name="inversion_sd", version="1", target="generated", cost=20000.0, missing=missing)
def inversion_sd(tool: Tool, image: SourceImage, budget: Budget) -> Evidence:
    """Inverts tiles with a Stable Diffusion model and measures how near autoencoders bring them back."""
    began = perf_counter()
    if min(image.width, image.height) < LEAST:
        return tool.abstain(
            f"The picture is {image.width}x{image.height} px; inversion needs {LEAST} px on the shorter side.",
            ms=(perf_counter() - began) * 1000,
        )
    try:
        borrowed = inversion_models()
        from tools.latent import inverter, load, read

        models = tuple(load(each) for each in borrowed)
    except (OperatorError, OSError) as error:  # transformers and diffusers raise OSError for a file that is missing
        return tool.abstain(_sentence(error), ms=(perf_counter() - began) * 1000)
    judged, side, flat = places(image, min(MOST[budget.level], budget.max_tiles))
    if not judged:
        return tool.abstain(
            f"All {flat} tiles that were tried are nearly flat: there is nothing to reconstruct.",
            measurements={"tiles_flat": flat},
            ms=(perf_counter() - began) * 1000,
        )
    readings = [read(models, image.rgb[top : top + side, left : left + side]) for left, top in judged]
    chosen, size = inverter(models), (image.width, image.height)
    error_map = np.nan_to_num(canvas(judged, [r.error for r in readings], side, size), nan=0.0)
    known = chosen is not None and head_name(chosen.sha256) in weights.registry()
    head = Head.of(weights.load(head_name(chosen.sha256))) if chosen is not None and known else None
    used = {f"{model.name}/{part}": sha for model in models for part, sha in model.files.items()}
    fields: dict[str, object] = {
        "measurements": _measurements(models, readings, chosen) | {
            "tiles_judged": len(judged), "tiles_flat": flat, "tile_side_px": side,
            "coverage": round(covered(judged, side, *size), 4),
        },
        "applicability": round((side / SIDE) ** 2, 4),
        "limits": _limits(models, chosen, covered(judged, side, *size)),
        "maps": (image.maps.add("inversion_sd_error", error_map / max(float(error_map.max()), 1e-6), _CAPTION),),
    }  # fmt: skip
    if head is None or chosen is None:
        because = (
            "no head is trained for this model yet (python -m finetune.inversion_sd trains one), and no distance is "
            "known at which it would speak for either side."
            if chosen is not None
            else "an autoencoder alone gives distances, and none is known at which it would speak for either side."
        )
        return tool.abstain(
            f"What was measured gives no score: {because}",
            findings=(_distances(readings),),
            weights=used,
            ms=(perf_counter() - began) * 1000,
            **fields,
        )
    logits = head.logits(np.stack([r.features for r in readings if r.features is not None]))
    score = round(sigmoid(float(logits.mean())), 6)
    name = head_name(chosen.sha256)
    return tool.evidence(
        score=score,
        findings=(_judged(head, float(logits.mean()), score), _distances(readings)),
        weights=used | {name: weights.weight(name).sha256},
        ms=(perf_counter() - began) * 1000,
        **fields,
    )


_CAPTION = (
    "Error of the tiles that were passed through the nearest autoencoder, relative to the largest: the brighter, the "
    "further the tile lies from its passage. Black areas were not read. Texture is bright everywhere."
)


def places(image: SourceImage, most: int) -> tuple[list[Tile], int, int]:
    """At most `most` tiles that are not flat, their side, and how many flat ones were passed over.

    They are taken in an order drawn by the picture's hash; no more than four times `most` are tried.
    """
    from tools.latent import STRIDE
    from tools.reconstruction import FLAT, contrast_of

    side = min(SIDE, min(image.width, image.height) // STRIDE * STRIDE)
    every = tiles(image.width, image.height, side)
    judged: list[Tile] = []
    flat = 0
    for index in np.random.default_rng(image.seed).permutation(len(every))[: 4 * most]:
        left, top = every[index]
        if contrast_of(image.rgb[top : top + side, left : left + side]) < FLAT:
            flat += 1
            continue
        judged.append((left, top))
        if len(judged) == most:
            break
    return sorted(judged, key=lambda tile: (tile[1], tile[0])), side, flat


def _sentence(error: Exception) -> str:
    if isinstance(error, OperatorError):
        return str(error)
    return "A part of the model that EXPOSIT_INVERSION_MODEL names is missing or cannot be read; get it again."


def _nearest(readings: list[Reading], what: str) -> float:
    """AEROBLADE's statistic: the least distance over the autoencoders, as a mean over tiles."""
    return float(np.mean([min(getattr(each, what) for each in reading.distances) for reading in readings]))


def _measurements(models: tuple[Model, ...], readings: list[Reading], chosen: Model | None) -> dict[str, float | str]:
    found: dict[str, float | str] = {
        "nearest_grey_levels": round(_nearest(readings, "grey_levels"), 4),
        "nearest_dissimilarity": round(_nearest(readings, "dissimilarity"), 6),
    }
    for number, model in enumerate(models):
        found[f"{model.name}/model_sha256"] = model.sha256
        of_model = [reading.distances[number] for reading in readings]
        found[f"{model.name}/grey_levels"] = round(float(np.mean([each.grey_levels for each in of_model])), 4)
        found[f"{model.name}/dissimilarity"] = round(float(np.mean([each.dissimilarity for each in of_model])), 6)
    features = [reading.features for reading in readings if reading.features is not None]
    if chosen is not None and features:
        from tools.latent import NAMES

        found |= {name: round(float(value), 4) for name, value in zip(NAMES, np.mean(features, axis=0), strict=True)}
    return found


def _distances(readings: list[Reading]) -> Finding:
    count, grey = len(readings), round(_nearest(readings, "grey_levels"), 2)
    unlike = round(_nearest(readings, "dissimilarity"), 4)
    tiles_of = f"{count} {'tile comes' if count == 1 else 'tiles come'}"
    return Finding(
        text=f"{tiles_of} back from the nearest autoencoder with a distance of {grey} grey levels (root mean square) "
        f"and a structural dissimilarity of {unlike}. Smooth pictures come back nearer than textured ones, whoever "
        "made them, so the distance by itself speaks for neither side.",
        numbers={"tiles": count, "distance_grey_levels": grey, "dissimilarity": unlike},
    )


def _judged(head: Head, mean: float, score: float) -> Finding:
    shown = round(score, 2)
    leaning = head.leaning(mean)
    if leaning == "neutral":
        return Finding(text=f"What the inversion gives (score {shown}) leans neither way.", numbers={"score": shown})
    side = "photographs" if leaning == "generated" else "generated pictures"
    where = "above the level that {} % of {} held out in training stay under" if leaning == "generated" else (
        "under the level that {} % of {} held out in training stay above"
    )  # fmt: skip
    return Finding(
        text=f"What the inversion gives (score {shown}) lies {where.format(Head.LEVEL, side)}. This is a weak sign.",
        polarity=leaning,
        severity="weak" if leaning == "generated" else "info",
        numbers={"score": shown, "level_percent": Head.LEVEL},
    )


def _limits(models: tuple[Model, ...], chosen: Model | None, coverage: float) -> tuple[str, ...]:
    names = ", ".join(f"“{model.name}”" for model in models)
    limits = [f"It was read with {names}; pictures by other generators may look to it as photographs do."]
    limits += [f"“{model.name}” was not inverted: {model.because}." for model in models if model.denoiser is None]
    if chosen is not None:
        limits.append(
            "The inversion was conditioned on an empty prompt, where the published method has a captioner describe "
            "the picture first."
        )
    limits.append(
        "The published method measures distances by a network of perception (LPIPS); here they are root mean square "
        "and structural dissimilarity."
    )
    if coverage < 0.995:
        limits.append(f"Tiles were drawn by the picture's hash: {coverage:.0%} of the area was read.")
    return tuple(limits)
