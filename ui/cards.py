"""Parts of the chat page as HTML. Every text is escaped here: metadata, file names and prompts are other people's."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from typing import Final

from agent.verdict import Label, Report, Sentence, Verdict
from tools.contract import Evidence
from tools.errors import ExpositError
from ui import overlay, words

_SIGN: Final[dict[Label, str]] = {
    "generated": "◆", "edited": "◧", "laundered": "◈", "no_evidence": "○", "authentic": "✓", "inconclusive": "?",
}  # fmt: skip
_ROLES: Final = {"reason": "What speaks for it", "against": "What speaks against it", "limits": "Limits"}
EMPTY: Final = (
    '<div class="ex-card ex-empty"><h2>How it works</h2><ol><li>Hand in a picture as it was found: a screenshot or a '
    "copy that was saved again has lost traces.</li><li>Several independent tools examine it, and what each found is "
    "weighed.</li><li>You read how likely it is that a generative model made or altered it, what that rests on, and "
    "what was not examined. Then you can ask about it.</li></ol><p>Exposit never says that a picture is real: where "
    "it finds nothing, it says only that.</p></div>"
)


def safe(text: object) -> str:
    """Escapes for HTML, and the braces and dollar signs too, which Gradio's page reads as a template."""
    return escape(str(text)).replace("{", "&#123;").replace("}", "&#125;").replace("$", "&#36;").replace("`", "&#96;")


def running(steps: Sequence[str]) -> str:
    """The steps of an examination that is under way."""
    items = "".join(f"<li>{safe(step)}</li>" for step in steps)
    return (
        '<div class="ex-card ex-running" role="status"><h2><span class="ex-spin" aria-hidden="true"></span>'
        f'Examining the picture</h2><ol class="ex-steps">{items}</ol></div>'
    )


def failure(error: ExpositError) -> str:
    """What went wrong and what to do."""
    remedy = f"<p>{safe(error.remedy)}</p>" if error.remedy else ""
    return (
        '<div class="ex-card ex-error" role="alert"><h2>This could not be done</h2>'
        f"<p><strong>{safe(error.message)}</strong></p>{remedy}"
        f'<p class="ex-soft">Code: {safe(error.code)}. Nothing that was shown before is lost.</p></div>'
    )


def verdict(report: Report, steps: Sequence[str] = ()) -> str:
    """The verdict with its probability, interval and prior, and what it does not cover."""
    answer = report.verdict
    parts = [
        f'<section class="ex-card ex-verdict ex-{answer.label}" aria-label="Verdict" tabindex="-1"',
        ' data-evidence="verdict">',
        f'<p class="ex-label"><span aria-hidden="true">{_SIGN[answer.label]}</span> {words.LABELS[answer.label]}</p>',
        f"<h2>{safe(words.headline(answer))}</h2>",
        _scale("Made by a generative model", answer.p_generated, answer.interval, answer.prior),
    ]
    if answer.p_edited is not None:
        parts.append(_scale("Altered in part", answer.p_edited, answer.interval_edited, answer.prior))
    parts.append(f"<p>{safe(words.confidence(answer))} {safe(words.prior(answer))}</p>")
    if answer.p_edited is None:
        parts.append("<p>Whether parts were altered was not examined.</p>")
    if answer.abstained_because:
        parts.append(f"<p><strong>Why it is left open:</strong> {safe(answer.abstained_because)}</p>")
    parts += [f"<p><strong>Conflict:</strong> {safe(conflict.text)}</p>" for conflict in answer.conflicts]
    parts += [f"<p>{safe(told)}</p>" for told in words.standing(report)]
    parts.append(_not_examined(answer))
    parts.append(f'<p class="ex-soft">{safe(words.facts(report))}</p>')
    parts += [f'<p class="ex-soft">{safe(note)}</p>' for note in report.image.notes]
    if steps:
        items = "".join(f"<li>{safe(step)}</li>" for step in steps)
        parts.append(
            f'<details><summary>What was done ({len(steps)} steps)</summary><ol class="ex-steps">{items}</ol></details>'
        )
    return "".join(parts) + "</section>"


def _not_examined(answer: Verdict) -> str:
    if not answer.not_examined:
        return ""
    items = "".join(f"<li>{safe(item)}</li>" for item in answer.not_examined)
    return f"<details><summary>What was not examined ({len(answer.not_examined)})</summary><ul>{items}</ul></details>"


def _scale(what: str, p: float, bounds: tuple[float, float] | None, prior: float) -> str:
    """A probability on a line from 0 to 100, with its interval as a band and the prior as a tick; said in words too."""
    said = f"{what}: {words.chance(p)}" + (f" ({words.interval(bounds)})" if bounds else "")
    band = ""
    if bounds:
        low, high = bounds
        band = f'<i class="ex-band" style="left:{low * 100:.1f}%;width:{max(high - low, 0.005) * 100:.1f}%"></i>'
    return (
        f'<div class="ex-scale"><p>{safe(what)}: <strong>{safe(words.chance(p))}</strong>'
        + (f' <span class="ex-soft">({safe(words.interval(bounds))})</span>' if bounds else "")
        + f'</p><div class="ex-line" role="img" aria-label="{safe(said)}">{band}'
        f'<i class="ex-prior" style="left:{prior * 100:.1f}%"></i>'
        f'<i class="ex-dot" style="left:{p * 100:.1f}%"></i></div>'
        '<div class="ex-ends" aria-hidden="true"><span>0</span><span>50</span><span>100</span></div></div>'
    )


def explanation(report: Report) -> str:
    """The explanation, by what each sentence does; each citation leads to its row of the evidence."""
    parts = ['<section class="ex-card" aria-label="Explanation"><h2>Why</h2>']
    parts += [f"<p>{_cited(sentence)}</p>" for sentence in report.explanation if sentence.role == "answer"]
    for role, heading in _ROLES.items():
        said = [sentence for sentence in report.explanation if sentence.role == role]
        if not said:
            continue
        items = "".join(f"<li>{_cited(sentence)}</li>" for sentence in said)
        parts.append(f"<h3>{heading}</h3><ul>{items}</ul>")
    parts.append(f'<p class="ex-soft">{safe(words.wrote(report.explained_by))}</p>')
    if report.dropped:
        items = "".join(f"<li>{safe(entry.text)} <em>({safe(entry.because)})</em></li>" for entry in report.dropped)
        parts.append(
            f"<details><summary>Sentences that were left out ({len(report.dropped)}), because no evidence bears them"
            f"</summary><ul>{items}</ul></details>"
        )
    return "".join(parts) + "</section>"


def _cited(sentence: Sentence) -> str:
    return safe(sentence.text) + _cites(sentence.cites)


def _cites(cites: Iterable[str]) -> str:
    return "".join(
        f' <button type="button" class="ex-cite" data-cite="{safe(name)}" aria-label="Show the evidence {safe(name)}">'
        f"{safe(name)}</button>"
        for name in cites
    )


def evidence(report: Report) -> str:
    """The table of evidence: each tool, what it says, what that adds."""
    rows = "".join(_row(report, one) for one in report.evidence)
    skipped = [step for step in report.plan if not step.run]
    left_out = ""
    if skipped:
        items = "".join(f"<li>{safe(words.title(step.tool))}: {safe(step.because)}</li>" for step in skipped)
        left_out = f"<details><summary>Tools that were left out ({len(skipped)})</summary><ul>{items}</ul></details>"
    return (
        '<section class="ex-card" aria-label="Evidence"><h2>Evidence</h2><p class="ex-soft">10 decibans (dB) multiply '
        "the odds by ten, 3 dB about double them. A tool without weight only describes.</p>"
        '<table class="ex-table"><thead><tr><th scope="col">Tool</th><th scope="col">What it says</th>'
        f'<th scope="col">Weight</th></tr></thead><tbody>{rows}</tbody></table>{left_out}</section>'
    )


def _row(report: Report, one: Evidence) -> str:
    said = "".join(f"<li>{safe(line)}</li>" for line in words.saw(one))
    limits = ""
    if one.limits:
        items = "".join(f"<li>{safe(limit)}</li>" for limit in one.limits)
        limits = f'<details class="ex-soft"><summary>Limits ({len(one.limits)})</summary><ul>{items}</ul></details>'
    weighed = "".join(f"<div>{safe(line)}</div>" for line in words.weights(report, one))
    bars = "".join(
        _bar(entry.decibans) for entry in report.contributions if entry.evidence_id == one.id and entry.decibans
    )
    return (
        f'<tr tabindex="-1" data-evidence="{safe(one.id)}" class="ex-row"><th scope="row">'
        f'{safe(words.title(one.detector))}<span class="ex-soft"> {safe(one.version)}<br>{safe(one.id)} · '
        f'{one.ms:.0f} ms</span></th><td data-name="What it says"><ul>{said}</ul>{limits}</td>'
        f'<td data-name="Weight">{bars}{weighed}</td></tr>'
    )


def _bar(decibans: float) -> str:
    width = min(abs(decibans) / 20, 1) * 50
    side = f"left:50%;width:{width:.1f}%" if decibans > 0 else f"left:{50 - width:.1f}%;width:{width:.1f}%"
    kind = "for" if decibans > 0 else "against"
    return f'<div class="ex-bar" aria-hidden="true"><i class="ex-{kind}" style="{side}"></i></div>'


def legend(report: Report) -> str:
    """The numbers in the marked picture and what each stands for."""
    if not report.artifacts:
        return '<p class="ex-soft">No tool marked a place in this picture.</p>'
    items = "".join(
        f'<li><span class="ex-swatch" style="background:{overlay.colour(mark.severity)}">{number}</span> '
        f"<span><strong>{safe('most of the picture' if mark.region.covers_most else mark.region.place)}</strong> "
        f"({mark.severity}): {safe(mark.text)}{_cites((mark.evidence_id,))}</span></li>"
        for number, mark in enumerate(report.artifacts, start=1)
    )
    return f'<ol class="ex-legend" aria-label="Marked regions">{items}</ol>'
