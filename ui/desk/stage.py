"""The picture of a case with its regions and maps on it: what a person looks at, points at and draws on."""

from __future__ import annotations

from typing import Final

from agent.verdict import Artifact, Report
from ui import overlay, words
from ui.desk import pictures
from ui.desk.escape import safe

_NOT_OF_PLACES: Final = frozenset({"spectrum"})
"""Maps that are no map of the picture: they are shown by themselves and not laid over it."""


def stage(report: Report, *, draws: bool = True, purged: bool = False) -> str:
    """The picture, its controls and the list of its regions.

    Args:
        report: The case.
        draws: Whether a box may be drawn on it, to ask about.
        purged: Whether the file and its maps were deleted by policy.
    """
    if purged:
        return (
            '<section class="ex-card ex-look" aria-label="The picture"><p>The picture and the maps of this case were '
            f"deleted, by the rules of this service or on demand. The report stays.</p>{_legend(report)}</section>"
        )
    marks = "".join(_mark(number, each) for number, each in enumerate(report.artifacts, start=1))
    badges = "".join(_badge(number, each) for number, each in enumerate(report.artifacts, start=1))
    image = report.image
    return (
        '<section class="ex-card ex-look" aria-label="The picture"><div class="ex-stage" data-stage '
        f'style="--ratio:{image.width}/{image.height};--wide:{image.width / image.height:.4f}">'
        f'<img class="ex-photo" src="{safe(pictures.address(report.case_id))}" alt="{safe(overlay.alt_text(report))}">'
        '<img class="ex-map" alt="" hidden>'
        f'<svg class="ex-marks" viewBox="0 0 1000 1000" preserveAspectRatio="none" aria-hidden="true">{marks}</svg>'
        f'{badges}<div class="ex-drawn" hidden></div></div>{_tools(report, draws=draws)}{_legend(report)}</section>'
    )


def _mark(number: int, artifact: Artifact) -> str:
    region = artifact.region
    box = (
        f'x="{region.x0 * 1000:.1f}" y="{region.y0 * 1000:.1f}" width="{(region.x1 - region.x0) * 1000:.1f}" '
        f'height="{(region.y1 - region.y0) * 1000:.1f}"'
    )
    return (
        f'<g data-mark="{number}" class="ex-mark ex-{artifact.severity}"><rect class="ex-rim" {box}></rect>'
        f'<rect class="ex-edge" stroke="{overlay.colour(artifact.severity)}" {box}></rect></g>'
    )


def _badge(number: int, artifact: Artifact) -> str:
    region = artifact.region
    said = f"Region {number}, {words.place(region)}, {artifact.severity}: {artifact.text}"
    return (
        f'<button type="button" class="ex-badge" data-do="mark" data-mark="{number}" aria-pressed="false" '
        f'aria-label="{safe(said)}" style="left:{region.x0 * 100:.2f}%;top:{region.y0 * 100:.2f}%;'
        f'background:{overlay.colour(artifact.severity)}">{number}</button>'
    )


def _tools(report: Report, *, draws: bool) -> str:
    options = "".join(
        f'<option value="/v1/cases/{safe(report.case_id)}/maps/{safe(each.sha256)}.png" '
        f'data-caption="{safe(each.caption)}" data-places="{"no" if each.name in _NOT_OF_PLACES else "yes"}">'
        f"{safe(words.title(one.detector))}: "
        f"{safe(each.name.replace('_', ' '))}</option>"
        for one in report.evidence
        for each in one.maps
    )
    parts = ['<div class="ex-tools" role="group" aria-label="How the picture is shown">']
    if draws:
        parts.append(
            '<button type="button" class="ex-btn" data-do="draw" aria-pressed="false">Draw a box</button>'
            '<button type="button" class="ex-btn" data-do="undraw" hidden>Remove the box</button>'
        )
    if report.artifacts:
        parts.append('<label><input type="checkbox" data-do="marks" checked> Marked regions</label>')
    if options:
        parts.append(
            f'<label>Map <select data-do="map"><option value="">none</option>{options}</select></label>'
            '<label class="ex-opacity" hidden>Strength of the map <input type="range" min="0" max="100" value="65" '
            'data-do="opacity"></label>'
        )
    parts.append("</div>")
    if options:
        parts.append(
            '<div class="ex-caption" hidden><p></p><div class="ex-ramp" aria-hidden="true"><span>low</span><i></i>'
            "<span>high</span></div></div>"
        )
    if draws:
        parts.append('<p class="ex-hint ex-soft" role="status"></p>')
    return "".join(parts)


def _legend(report: Report) -> str:
    """The numbers in the picture and what each stands for."""
    if not report.artifacts:
        return '<p class="ex-soft">No tool marked a place in this picture.</p>'
    items = "".join(
        f'<li data-mark="{number}"><span class="ex-swatch" style="background:{overlay.colour(mark.severity)}">{number}'
        f"</span> <span><strong>{safe(words.place(mark.region))}</strong> ({mark.severity}): {safe(mark.text)} "
        f'<button type="button" class="ex-cite" data-cite="{safe(mark.evidence_id)}" '
        f'aria-label="Show the evidence {safe(mark.evidence_id)}">{safe(mark.evidence_id)}</button></span></li>'
        for number, mark in enumerate(report.artifacts, start=1)
    )
    return f'<ol class="ex-legend" aria-label="Marked regions">{items}</ol>'
