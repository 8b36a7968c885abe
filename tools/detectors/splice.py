"""`splice`: whether a part of the picture was made otherwise than the rest, and which.

A map of each 16 px patch against the rest of the picture (`tools.splicing`), and parts that occur twice
(`tools.copies`). The score is a logistic of both, fitted on made edits that neither had seen.
"""

from __future__ import annotations

from time import perf_counter
from typing import TYPE_CHECKING

import numpy as np

from tools import weights
from tools.contract import Budget, Evidence, Finding, Region, Tool, detector
from tools.copies import LEAST as LEAST_MATCHES
from tools.copies import Copy, find
from tools.image import SourceImage
from tools.signal import Plane, as_upright
from tools.suspicion import FLAT, LEVEL, Fusion, drawn, pasted_part, regions, with_copy
from tools.tiles import sigmoid

if TYPE_CHECKING:
    from tools.splicing import Compared

LEAST = 128
"""Shortest side in pixels that is judged."""
_CERTAIN_MATCHES = 24
"""Matches from which on a copy is more than a weak sign."""


@detector(name="splice", version=f"1.2+{weights.weight('splice').sha256[:8]}", target="edited", cost=50.0)
def splice(tool: Tool, image: SourceImage, budget: Budget) -> Evidence:
    """Compares each part of the picture with the rest: noise, sharpness, JPEG traces, and parts that occur twice."""
    began = perf_counter()
    if min(image.width, image.height) < LEAST:
        return tool.abstain(
            f"The picture is {image.width}x{image.height} px; parts are compared from {LEAST} px on the shorter side.",
            ms=(perf_counter() - began) * 1000,
        )
    from tools.splicing import PATCH, compare, shipped

    seen = compare(shipped(), image, budget.max_tiles)
    if seen.texture < FLAT:
        return tool.abstain(
            "The picture is nearly flat: it holds too little fine detail to compare one part with another.",
            measurements={"texture_grey_levels": round(seen.texture, 3)},
            ms=(perf_counter() - began) * 1000,
        )
    fusion = Fusion.shipped()
    copy = find(image.rgb, image.seed)
    matches = copy.matches if copy else 0
    logit = fusion.logit(seen.logit, matches, min(image.width, image.height))
    score = round(sigmoid(logit), 6)
    marks, trust = (np.ascontiguousarray(as_upright(plane, image.orientation)) for plane in (seen.marks, seen.trust))
    size = (image.width, image.height)
    coverage = float(np.isfinite(marks).mean())
    leans = logit >= fusion.high
    places = regions(marks, max(fusion.mark, 0.5), PATCH, size) if leans else []
    found = [_overall(score, leans, marks, fusion.mark)]
    if leans and places:
        found += [_reason(seen), *(_place(place, peak) for place, peak in places)]
    whole: list[Region] = [place for place, _ in places]
    if copy is not None:
        which = pasted_part(copy, marks, PATCH)
        pair = [Region.from_pixels(*copy.box(second, 8.0), size) for second in (which, not which)]
        found.append(_twice(copy, pair))
        whole = pair + whole
        marks = with_copy(marks, copy, which, PATCH)
    return tool.evidence(
        score=score,
        findings=found,
        regions=whole,
        measurements={
            "log_odds": round(logit, 4),
            "network_log_odds": round(seen.logit, 4),
            "matched_points": matches,
            "highest_mark": round(float(np.nanmax(marks)), 4),
            "marked_share": round(float((marks[np.isfinite(marks)] > max(fusion.mark, 0.5)).mean()), 4),
            "coverage": round(coverage, 4),
            "texture_grey_levels": round(seen.texture, 3),
        },
        applicability=round(coverage, 4),
        limits=_limits(coverage),
        maps=(
            image.maps.add(
                "splice_marks",
                drawn(marks),
                "The brighter, the more a part differs in its making from the rest, as far as this tool sees. "
                "Parts that were not read are black.",
            ),
            image.maps.add(
                "splice_trust",
                np.nan_to_num(trust, nan=0.0),
                "How far the map of differences is to be believed at each place: bright is more. It was learnt on made "
                "edits.",
            ),
        ),
        weights={"splice": weights.weight("splice").sha256},
        ms=(perf_counter() - began) * 1000,
    )


def _overall(score: float, leans: bool, marks: Plane, level: float) -> Finding:
    shown = round(score, 2)
    share = round(100 * float((marks[np.isfinite(marks)] > max(level, 0.5)).mean()), 1)
    if leans:
        return Finding(
            text=f"Parts of the picture differ in their making more than in {LEVEL} % of untouched photographs held "
            f"out in training (score {shown}; {share} % of what was read is marked). This is a weak sign that the "
            "picture was altered in part.",
            polarity="edited",
            severity="weak",
            numbers={"score": shown, "level_percent": LEVEL, "marked_percent": share},
        )
    return Finding(
        text=f"No part stands out from the rest more than in untouched photographs (score {shown}). An alteration "
        "that was made with care, or saved again at low quality, would not be seen.",
        numbers={"score": shown},
    )


def _reason(seen: Compared) -> Finding:
    """The group of traces in which the most marked part is furthest from the rest."""
    from tools.consistency import GROUPS

    by_group: dict[str, list[float]] = {}
    for name, value in seen.apart.items():
        by_group.setdefault(name.partition("/")[0], []).append(abs(value))
    group = max(by_group, key=lambda name: float(np.mean(by_group[name])))
    shown = round(float(np.mean(by_group[group])), 1)
    return Finding(
        text=f"What sets the most marked twentieth of the picture apart from the rest is {GROUPS[group]} ({shown} "
        "standard deviations on average). Differences of content, focus and light do the same.",
        numbers={"standard_deviations": shown, "group": group},
    )


def _place(place: Region, peak: float) -> Finding:
    shown = round(peak, 2)
    where = "of most of the picture" if place.covers_most else f"at the {place.place}"
    return Finding(
        text=f"The part {where} is marked as made otherwise (highest mark {shown}).",
        polarity="edited",
        severity="weak",
        region=place,
        numbers={"highest_mark": shown},
    )


def _twice(copy: Copy, pair: list[Region]) -> Finding:
    scale, turned = round(copy.scale, 2), round(abs(copy.turned))
    return Finding(
        text=f"{copy.matches} points of the part at the {pair[0].place} match the part at the {pair[1].place} under "
        f"one scaling by {scale} and turn of {turned} degrees: one may be a copy of the other. Things that repeat in "
        "the scene, such as windows or prints, match too.",
        polarity="edited",
        severity="moderate" if copy.matches >= _CERTAIN_MATCHES else "weak",
        region=pair[0],
        numbers={"matched_points": copy.matches, "scale": scale, "turned_degrees": turned},
    )


def _limits(coverage: float) -> tuple[str, ...]:
    limits = [
        "It was fitted on edits made by program (pasted, copied, filled, passed through an autoencoder, retouched) and "
        "saved once at JPEG quality 75 or above; finetune/RESULTS.md says how far it finds each kind, and how few "
        "edits by hand it was tried on.",
        f"Copies are told from {LEAST_MATCHES} matching points on; smooth or small copies have fewer.",
        "A strongly blurred background, overlaid text or a collage of photographs look like alterations to it.",
    ]
    if coverage < 0.995:
        limits.append(f"Windows drawn by the picture's hash: {coverage:.0%} of the area was read.")
    return tuple(limits)
