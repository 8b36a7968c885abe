"""The table of evidence: each tool, what it says, and what that weighs, as a bar and in words. The heaviest first."""

from __future__ import annotations

from agent.verdict import Contribution, Report
from tools.contract import Evidence
from ui import words
from ui.desk.escape import folded, listed, safe
from ui.formats import content

_FULL = 20.0
"""Decibans that fill half a bar: odds of 100 to 1."""


def evidence(report: Report) -> str:
    """The table of a case."""
    rows = "".join(_row(report, one) for one in sorted(report.evidence, key=lambda one: _order(report, one)))
    left_out = content.left_out(report)
    return (
        '<section class="ex-card" aria-label="Evidence"><h2>Evidence</h2><p class="ex-soft">A bar to the right speaks '
        "for “generated” or “altered”, a bar to the left against it; the longer, the heavier. 10 decibans (dB) "
        "multiply the odds by ten, 3 dB about double them. A tool without weight only describes.</p>"
        '<table class="ex-table"><thead><tr><th scope="col">Tool</th><th scope="col">What it says</th>'
        f'<th scope="col">Weight</th></tr></thead><tbody>{rows}</tbody></table>'
        + folded(f"Tools that were left out ({len(left_out)})", listed(left_out))
        + "</section>"
    )


def _order(report: Report, one: Evidence) -> tuple[int, float, str]:
    """What weighs first, then what only describes, then who abstained."""
    heaviest = max((abs(entry.decibans) for entry in _weighed(report, one)), default=0.0)
    last = 2 if one.abstained_because is not None and one.target != "context" else 1 if one.target == "context" else 0
    return last, -heaviest, one.id


def _weighed(report: Report, one: Evidence) -> list[Contribution]:
    return [entry for entry in report.contributions if entry.evidence_id == one.id]


def _row(report: Report, one: Evidence) -> str:
    limits = folded(f"Limits ({len(one.limits)})", listed(one.limits))
    weighed = "".join(f"<div>{safe(line)}</div>" for line in words.weights(report, one))
    bars = "".join(_bar(entry) for entry in _weighed(report, one) if abs(entry.decibans) >= 0.05)
    if one.abstained_because is not None and one.target != "context":
        bars, weighed = "", "<div><strong>Abstained</strong></div><div>no weight</div>"
    return (
        f'<tr tabindex="-1" data-evidence="{safe(one.id)}" class="ex-row"><th scope="row">'
        f'{safe(words.title(one.detector))}<span class="ex-soft"> {safe(one.version)}<br>{safe(one.id)} · '
        f'{one.ms:.0f} ms</span></th><td data-name="What it says">{listed(words.saw(one))}{limits}</td>'
        f'<td data-name="Weight">{bars}{weighed}</td></tr>'
    )


def _bar(entry: Contribution) -> str:
    width = min(abs(entry.decibans) / _FULL, 1) * 50
    towards = entry.decibans > 0
    side = f"left:50%;width:{width:.1f}%" if towards else f"left:{50 - width:.1f}%;width:{width:.1f}%"
    kind = "for" if towards else "against"
    return f'<div class="ex-bar" aria-hidden="true"><i class="ex-{kind}" style="{side}"></i></div>'
