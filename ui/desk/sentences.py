"""Sentences that can be opened: each lights up its regions in the picture and shows the numbers that it rests on."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from agent.verdict import Report, Sentence
from tools.contract import Evidence
from ui import words
from ui.desk import pictures
from ui.desk.escape import folded, listed, safe
from ui.formats import content

_OPEN: Final = (("reason", "Reasons"), ("against", "What speaks against it"), ("context", "Beside the question"))
_SAYS: Final = {"generated": "generated?", "edited": "altered?", "context": "describes only"}


def explanation(report: Report) -> str:
    """The explanation, by what each sentence does; limits are folded, with their count told."""
    parts = [
        '<section class="ex-card" aria-label="Explanation"><h2>Why</h2><p class="ex-soft">Choose a sentence: its '
        "places light up in the picture, and the numbers behind it are shown.</p>"
    ]
    number = 0
    for role, heading in _OPEN:
        said = [each for each in report.explanation if each.role == role]
        if not said:
            continue
        items = ""
        for each in said:
            number += 1
            items += f"<li>{sentence(report, each, f'why-{number}')}</li>"
        parts.append(f'<h3>{heading}</h3><ul class="ex-said">{items}</ul>')
    limits = [each for each in report.explanation if each.role == "limits"]
    items = "".join(f"<li>{sentence(report, each, f'limit-{at}')}</li>" for at, each in enumerate(limits))
    if items:
        parts.append(folded(f"Limits ({len(limits)})", f'<ul class="ex-said">{items}</ul>'))
    parts.append(f'<p class="ex-soft">{safe(words.wrote(report.explained_by))}</p>')
    if report.dropped:
        told = listed(f"{entry.text} ({entry.because})" for entry in report.dropped)
        parts.append(folded(f"Left out, because no evidence bears it out ({len(report.dropped)})", told))
    return "".join(parts) + "</section>"


def sentence(report: Report, said: Sentence, key: str) -> str:
    """A sentence, the button that opens it, and its numbers, hidden until it is opened.

    Args:
        report: The case that it is about.
        said: The sentence.
        key: Unique in the page; made of letters, digits and dashes.
    """
    marks = marks_of(report, said)
    names = ", ".join(_name(report, cite) for cite in said.cites) or "no evidence"
    pins = "".join(f'<span class="ex-pin">{number}</span>' for number in marks)
    where = f" and region{'s' if len(marks) > 1 else ''} {', '.join(map(str, marks))}" if marks else ""
    return (
        f'<div class="ex-say" data-marks="{" ".join(map(str, marks))}"><span class="ex-text">{safe(said.text)}</span> '
        f'<button type="button" class="ex-more" data-do="open" aria-expanded="false" aria-controls="{key}" '
        f'aria-label="Show the numbers of {safe(names)}{where}">{safe(names)}{pins}</button>'
        f'<div class="ex-behind" id="{key}" hidden>{_inset(report, marks)}{_behind(report, said)}</div></div>'
    )


def marks_of(report: Report, said: Sentence) -> list[int]:
    """Numbers of the regions that a sentence speaks of: those whose words it quotes, or else all of its tools'."""
    cited = [(at, each) for at, each in enumerate(report.artifacts, start=1) if each.evidence_id in said.cites]
    quoted = [at for at, each in cited if each.text.rstrip(".") in said.text]
    return quoted or [at for at, _ in cited]


def _name(report: Report, cite: str) -> str:
    found = next((one for one in report.evidence if one.id == cite), None)
    return words.title(found.detector if found is not None else cite)


def _behind(report: Report, said: Sentence) -> str:
    parts = []
    for cite in said.cites:
        found = next((one for one in report.evidence if one.id == cite), None)
        parts.append(_of_the_verdict(report) if found is None else _of_a_tool(report, found, said))
    return "".join(parts)


def _of_the_verdict(report: Report) -> str:
    rows = [(each.what, each.said) for each in content.scales(report)]
    rows += [("Assumed before the picture was looked at", words.chance(report.verdict.prior))]
    return f"<h4>Verdict</h4>{_rows(rows)}"


def _of_a_tool(report: Report, one: Evidence, said: Sentence) -> str:
    findings = [each for each in one.findings if each.text.rstrip(".") in said.text] or list(one.findings)
    rows = [
        (name.replace("_", " "), content.number(value)) for each in findings for name, value in each.numbers.items()
    ]
    if one.score is not None:
        rows = [row for row in rows if row[0] != "score"]
        rows.insert(0, ("raw score, 0 to 1, not a probability", f"{one.score:.3f}"))
    rows.append(("weight", "; ".join(words.weights(report, one))))
    return (
        f'<h4>{safe(words.title(one.detector))} <span class="ex-soft">{_SAYS[one.target]}</span></h4>{_rows(rows)}'
        f'<button type="button" class="ex-cite" data-cite="{safe(one.id)}">Its row in the table of evidence</button>'
    )


def _rows(rows: Iterable[tuple[str, str]]) -> str:
    told = "".join(f"<dt>{safe(name)}</dt><dd>{safe(value)}</dd>" for name, value in dict.fromkeys(rows))
    return f'<dl class="ex-numbers">{told}</dl>'


def _inset(report: Report, marks: Iterable[int]) -> str:
    """The picture once more, small, with the regions of the sentence: on a phone the large one is out of sight."""
    boxes = ""
    for number in marks:
        region = report.artifacts[number - 1].region
        boxes += (
            f'<rect x="{region.x0 * 1000:.0f}" y="{region.y0 * 1000:.0f}" width="{(region.x1 - region.x0) * 1000:.0f}" '
            f'height="{(region.y1 - region.y0) * 1000:.0f}"></rect>'
        )
    if not boxes:
        return ""
    return (
        f'<div class="ex-inset" aria-hidden="true"><img src="{safe(pictures.address(report.case_id, "small"))}" alt="" '
        f'loading="lazy"><svg viewBox="0 0 1000 1000" preserveAspectRatio="none">{boxes}</svg></div>'
    )
