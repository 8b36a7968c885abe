"""Draws what was seen where: numbered boxes on the upright picture, told apart by number, line and colour."""

from __future__ import annotations

import io
from typing import Final

from PIL import Image, ImageDraw, ImageFont

from agent.verdict import Artifact, Report
from tools.contract import Severity
from tools.image import Limits, SourceImage
from ui import words

_SIDE: Final = 1400
_COLOURS: Final[dict[Severity, str]] = {
    # Okabe and Ito, "Color Universal Design" (2008): told apart with every common colour blindness.
    "strong": "#D55E00",
    "moderate": "#E69F00",
    "weak": "#56B4E9",
    "info": "#F0F0F0",
}
_DASHED: Final = frozenset({"weak", "info"})


def colour(severity: Severity) -> str:
    """The colour of a severity, as the boxes and their legend use it."""
    return _COLOURS[severity]


def upright(data: bytes, name: str, limits: Limits) -> Image.Image:
    """Decodes within `limits` and shrinks for the screen (longest side at most 1400 px).

    Raises:
        ImageError: as `SourceImage.open`.
    """
    picture = Image.fromarray(SourceImage.open(data, name, limits).rgb)
    picture.thumbnail((_SIDE, _SIDE), Image.Resampling.LANCZOS)
    return picture


def draw(picture: Image.Image, artifacts: tuple[Artifact, ...]) -> Image.Image:
    """A copy of `picture` with a numbered box for each artifact, in the order given, counted from 1."""
    marked = picture.convert("RGB")
    canvas = ImageDraw.Draw(marked)
    unit = max(2, round(max(marked.size) / 230))
    font = ImageFont.load_default(size=max(14, unit * 7))
    for number, artifact in reversed(list(enumerate(artifacts, start=1))):
        region = artifact.region
        box = (
            round(region.x0 * (marked.width - 1)), round(region.y0 * (marked.height - 1)),
            round(region.x1 * (marked.width - 1)), round(region.y1 * (marked.height - 1)),
        )  # fmt: skip
        shade = _COLOURS[artifact.severity]
        rim = max(1, unit // 4)  # a dark rim keeps the box visible on any ground
        _outline(canvas, box, "#000000", unit + 2 * rim, dash=0)
        inner = (box[0] + rim, box[1] + rim, max(box[2] - rim, box[0] + rim), max(box[3] - rim, box[1] + rim))
        _outline(canvas, inner, shade, unit, dash=unit * 6 if artifact.severity in _DASHED else 0)
        _badge(canvas, box, str(number), shade, font, unit)
    return marked


def _outline(canvas: ImageDraw.ImageDraw, box: tuple[int, int, int, int], fill: str, width: int, dash: int) -> None:
    left, top, right, bottom = box
    if not dash:
        canvas.rectangle(box, outline=fill, width=width)
        return
    for x in range(left, right, dash * 2):
        end = min(x + dash, right)
        canvas.rectangle((x, top, end, min(top + width - 1, bottom)), fill=fill)
        canvas.rectangle((x, max(bottom - width + 1, top), end, bottom), fill=fill)
    for y in range(top, bottom, dash * 2):
        end = min(y + dash, bottom)
        canvas.rectangle((left, y, min(left + width - 1, right), end), fill=fill)
        canvas.rectangle((max(right - width + 1, left), y, right, end), fill=fill)


def _badge(
    canvas: ImageDraw.ImageDraw, box: tuple[int, int, int, int], text: str, fill: str,
    font: ImageFont.FreeTypeFont | ImageFont.ImageFont, unit: int,
) -> None:  # fmt: skip
    x0, y0, x1, y1 = canvas.textbbox((0, 0), text, font=font)
    width, height = round(x1 - x0) + unit * 5, round(y1 - y0) + unit * 4
    left, top = box[0], box[1]
    canvas.rectangle((left, top, left + width, top + height), fill=fill, outline="#000000", width=max(1, unit // 2))
    canvas.text((left + width / 2, top + height / 2), text, fill="#000000", font=font, anchor="mm")


def alt_text(report: Report) -> str:
    """What the marked picture shows, for those who do not see it."""
    if not report.artifacts:
        return f"The picture {report.image.path}. No tool marked a region."
    marks = " ".join(
        f"{number}: {artifact.severity}, {words.place(artifact.region)}, {artifact.text}"
        for number, artifact in enumerate(report.artifacts, start=1)
    )
    count = len(report.artifacts)
    return f"The picture {report.image.path} with {count} marked region{'s' if count > 1 else ''}. {marks}"


def enlarged(png: bytes) -> Image.Image:
    """A map that a tool drew, enlarged without smoothing, so that each of its cells can be seen."""
    drawn = Image.open(io.BytesIO(png)).convert("RGB")
    factor = max(1, 640 // max(drawn.size))
    return drawn.resize((drawn.width * factor, drawn.height * factor), Image.Resampling.NEAREST)
