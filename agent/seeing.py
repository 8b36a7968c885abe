"""What a look amounts to: from views, replies and probabilities to Evidence, the same for every way to run the model.

A probability is that of the answer's word, read from the model's own distribution over tokens; no number is taken from
prose. A look that gives none abstains.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple, get_args

import numpy as np

from agent.prompt import Look
from agent.views import SIDE, Pixels, View, squeeze
from tools.contract import Evidence, Finding, Region
from tools.image import Limits, SourceImage

ANSWER: Final = "answer"
"""The field of `Look` whose probability is read."""
GENERATED: Final = "generated"
WORDS: Final[tuple[str, ...]] = get_args(Look.model_fields[ANSWER].annotation)
_CELLS: Final = {
    "top left": (0, 0), "top": (1, 0), "top right": (2, 0), "left": (0, 1), "centre": (1, 1), "right": (2, 1),
    "bottom left": (0, 2), "bottom": (1, 2), "bottom right": (2, 2),
}  # fmt: skip
_LIMIT: Final = "A vision model can name what is not there, and it sees neither noise nor traces of compression."
_NO_NUMBER: Final = "The model gave no probability that can be read, and a number in prose is not trusted."

_NOT_BLIND: Final = (
    "This part was chosen for what others had found there: what the model says of it is no independent evidence."
)


class Looked(NamedTuple):
    """What the model said of one view, and the probability of `generated`; None where there is none to read."""

    reply: Look
    p: float | None


def decoded(original: bytes, limits: Limits) -> Pixels:
    """The upright picture, within `limits`; a worker decoded the same bytes before (`Workers.inspect`).

    Raises:
        ImageError: where it cannot be judged.
    """
    return SourceImage.open(original, limits=limits).rgb


def data_url(pixels: Pixels) -> str:
    """Pixels as a PNG in a data URL."""
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()


def shown_as(view: View) -> str:
    """What a view is called in the prompt: one of the two names that the adapter was trained on (`finetune.data`)."""
    return "a native crop" if view.native else "the whole picture"


def name_of(view: View) -> str:
    """What a view shows, as findings say it."""
    if view.region is None:
        return "the whole picture"
    return f"{'a detail' if view.native else 'a part'} of the picture at the {view.region.place}"


def part(rgb: Pixels, region: Region) -> View:
    """The smallest square of a picture that holds `region`, as a view: native where that is no larger than one."""
    height, width = rgb.shape[:2]
    wanted = max((region.x1 - region.x0) * width, (region.y1 - region.y0) * height, SIDE)
    side = int(min(np.ceil(wanted), width, height))
    left = int(min(max((region.x0 + region.x1) / 2 * width - side / 2, 0), width - side))
    top = int(min(max((region.y0 + region.y1) / 2 * height - side / 2, 0), height - side))
    shown = Region.from_pixels(left, top, left + side, top + side, size=(width, height))
    pixels = rgb[top : top + side, left : left + side]
    return View(pixels if side == SIDE else squeeze(pixels), shown, native=side == SIDE)


def where(view: View, place: str) -> Region | None:
    """A place in a view, by its name in a grid of 3 x 3, as a region of the picture; None for all of it.

    A native crop is so small a part that its own place is all that is told.
    """
    if view.native or place not in _CELLS:
        return view.region
    column, row = _CELLS[place]
    box = view.region or Region(x0=0, y0=0, x1=1, y1=1)
    width, height = (box.x1 - box.x0) / 3, (box.y1 - box.y0) / 3
    left, top = box.x0 + column * width, box.y0 + row * height
    return Region.from_pixels(left, top, left + width, top + height, size=(1, 1))


def share(masses: Mapping[str, float] | Iterable[tuple[str, float]]) -> float | None:
    """The probability of GENERATED against the other answers, from the masses of tokens with which an answer begins.

    Args:
        masses: Text of a token (as it stands after the quotation mark) and its probability.
    """
    mass = dict.fromkeys(WORDS, 0.0)
    for text, probability in masses.items() if isinstance(masses, Mapping) else masses:
        for word in WORDS:
            if text and word.startswith(text):
                mass[word] += probability
    total = sum(mass.values())
    return mass[GENERATED] / total if total > 0 else None


def evidence_of(
    views: Sequence[View], looked: Sequence[Looked], *, version: str, weights: Mapping[str, str], ms: float
) -> Evidence:
    """The evidence of a look, blind to all else: its score is the mean over the views that show the whole picture."""
    findings = [finding for view, each in zip(views, looked, strict=True) for finding in _findings(view, each.reply)]
    whole = [each.p for view, each in zip(views, looked, strict=True) if not view.native]
    crops = [each.p for view, each in zip(views, looked, strict=True) if view.native]
    fields: dict[str, Any] = {
        "id": "vision", "detector": "vision", "version": version, "target": "generated", "weights": dict(weights),
        "findings": tuple(findings), "limits": (_LIMIT,), "ms": round(ms, 1),
    }  # fmt: skip
    told = [p for p in whole if p is not None]
    if not told or len(told) < len(whole):
        return Evidence(abstained_because=_NO_NUMBER, **fields)
    measured = {f"p_crop_{index}": round(p, 6) for index, p in enumerate(crops) if p is not None}
    return Evidence(score=round(sum(told) / len(told), 6), measurements=measured, **fields)


def evidence_of_part(view: View, looked: Looked, *, version: str, weights: Mapping[str, str], ms: float) -> Evidence:
    """The evidence of a part that a tool or a person pointed at. It is not blind, so fusion gives it no weight."""
    place = view.region.place.replace(" ", "-") if view.region is not None else "whole"
    fields: dict[str, Any] = {
        "id": f"vision-{place}", "detector": "vision", "version": version, "target": "generated", "blind": False,
        "weights": dict(weights), "findings": tuple(_findings(view, looked.reply)), "ms": round(ms, 1),
        "limits": (_NOT_BLIND, _LIMIT), "regions": () if view.region is None else (view.region,),
    }  # fmt: skip
    if looked.p is None:
        return Evidence(abstained_because=_NO_NUMBER, **fields)
    return Evidence(score=round(looked.p, 6), **fields)


def _findings(view: View, reply: Look) -> list[Finding]:
    found = []
    for seen in reply.observations:
        region = where(view, seen.place)
        place = f" at the {region.place}" if region is not None else ""
        found.append(
            Finding(
                text=f"The vision model reports {seen.kind}{place} ({name_of(view)}).",
                polarity="edited" if seen.kind == "pasted region" else "generated",
                severity=seen.strength,
                region=region,
            )
        )
    return found
