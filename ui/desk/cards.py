"""Cards of a case as HTML: what is being done, what went wrong, the verdict, whether it holds, what to take along."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from agent.service import Review
from agent.verdict import Confidence, Label, Report, SecondLook, Verdict
from tools.errors import ExpositError
from tools.views import Degradation
from ui import words
from ui.desk import pictures
from ui.desk.escape import folded, listed, safe
from ui.formats import content

_SIGN: Final[dict[Label, str]] = {
    "generated": "◆", "edited": "◧", "laundered": "◈", "no_evidence": "○", "authentic": "✓", "inconclusive": "?",
}  # fmt: skip
_PIPS: Final[dict[Confidence, int]] = {"none": 0, "low": 1, "moderate": 2, "high": 3}
_LOOKS: Final[dict[Degradation, tuple[str, str]]] = {
    "jpeg70": ("Saved again", "as JPEG of quality 70"),
    "half": ("Made smaller", "half as wide and high, or as near as its size allows"),
    "crop": ("Cut", "a few percent off each side"),
}
EMPTY: Final = (
    '<section class="ex-card ex-empty" aria-label="How it works"><h2>How it works</h2><ol><li>Hand in a picture as it '
    "was found: a screenshot or a copy that was saved again has lost traces.</li><li>Several independent tools examine "
    "it, and what each found is weighed.</li><li>You read how likely it is that a generative model made or altered it, "
    "what that rests on, and what was not examined. Then you can ask about it.</li></ol><p>Exposit never says that a "
    "picture is real: where it finds nothing, it says only that.</p></section>"
)


def chip(label: Label) -> str:
    """A verdict as a small label: sign and words, so that colour says nothing alone."""
    return (
        f'<span class="ex-label ex-{label}"><span aria-hidden="true">{_SIGN[label]}</span> {words.LABELS[label]}</span>'
    )


def running(steps: Sequence[str], sentences: Sequence[str] = ()) -> str:
    """The steps of an examination that is under way, and the explanation as far as it is written."""
    written = f"<h3>Being written</h3>{listed(sentences)}" if sentences else ""
    return (
        '<div class="ex-card ex-running"><h2><span class="ex-spin" aria-hidden="true"></span>'
        f'Examining the picture</h2><div class="ex-steps">{listed(steps, "ol")}</div>{written}</div>'
    )


def failure(error: ExpositError) -> str:
    """What went wrong and what to do."""
    remedy = f"<p>{safe(error.remedy)}</p>" if error.remedy else ""
    return (
        '<div class="ex-card ex-error" role="alert"><h2>This could not be done</h2>'
        f"<p><strong>{safe(error.message)}</strong></p>{remedy}"
        f'<p class="ex-soft">Code: {safe(error.code)}. Nothing that was shown before is lost.</p></div>'
    )


def notice(text: str) -> str:
    """Something that was done, told once."""
    return f'<div class="ex-card ex-done" role="status"><p>{safe(text)}</p></div>'


def verdict(report: Report, steps: Sequence[str] = (), reviews: Sequence[Review] = ()) -> str:
    """The verdict with its probability, interval and prior, what people said of it, and what it does not cover."""
    answer = report.verdict
    parts = [
        f'<section class="ex-card ex-verdict ex-{answer.label}" aria-label="Verdict" tabindex="-1"',
        ' data-evidence="verdict">',
        f"<p>{chip(answer.label)}</p>",
        f"<h2>{safe(words.headline(answer))}</h2>",
    ]
    parts += [_scale(each) for each in content.scales(report)]
    parts.append(_confidence(answer))
    if answer.p_edited is None:
        parts.append("<p>Whether parts were altered was not examined.</p>")
    if answer.abstained_because:
        parts.append(f"<p><strong>Why it is left open:</strong> {safe(answer.abstained_because)}</p>")
    parts += [f"<p><strong>Conflict:</strong> {safe(conflict.text)}</p>" for conflict in answer.conflicts]
    parts += [f"<p>{safe(line)}</p>" for line in words.standing(report)]
    parts.append(people(reviews))
    parts.append(_quote(report))
    parts += [f"<p>{safe(line)}</p>" for line in _seen_before(report)]
    if answer.not_examined:
        parts.append(folded(f"What was not examined ({len(answer.not_examined)})", listed(answer.not_examined)))
    parts.append(folded("Where to look further", _elsewhere()))
    if steps:
        parts.append(folded(f"What was done ({len(steps)} steps)", listed(steps, "ol")))
    parts.append(_claim(report))
    parts += [f'<p class="ex-soft">{safe(line)}</p>' for line in (words.facts(report), *report.image.notes)]
    return "".join(parts) + "</section>"


def _scale(scale: content.Scale) -> str:
    """A probability on a line from 0 to 100, with its interval as a band and the prior as a tick; said in words too."""
    band = ""
    if scale.bounds:
        low, high = scale.bounds
        band = f'<i class="ex-band" style="left:{low * 100:.1f}%;width:{max(high - low, 0.005) * 100:.1f}%"></i>'
    return (
        f'<div class="ex-scale"><p>{safe(scale.what)}: <strong>{safe(words.chance(scale.p))}</strong>'
        + (f' <span class="ex-soft">({safe(words.interval(scale.bounds))})</span>' if scale.bounds else "")
        + f'</p><div class="ex-line" role="img" aria-label="{safe(scale.what)}: {safe(scale.said)}">{band}'
        f'<i class="ex-prior" style="left:{scale.prior * 100:.1f}%"></i>'
        f'<i class="ex-dot" style="left:{scale.p * 100:.1f}%"></i></div>'
        '<div class="ex-ends" aria-hidden="true"><span>0</span><span>50</span><span>100</span></div></div>'
    )


def _confidence(answer: Verdict) -> str:
    pips = "".join(
        f'<i class="{"ex-on" if number < _PIPS[answer.confidence] else "ex-off"}"></i>' for number in range(3)
    )
    return (
        f'<p><span class="ex-pips" aria-hidden="true">{pips}</span> {safe(words.confidence(answer))} '
        f"{safe(words.prior(answer))}</p>"
    )


def _quote(report: Report) -> str:
    """The one sentence that a reader may take over as it stands."""
    said = next((each.text for each in report.explanation if each.role == "answer"), "")
    if not said:
        return ""
    return (
        f'<figure class="ex-quote"><figcaption>To quote</figcaption><blockquote>{safe(said)}</blockquote>'
        '<button type="button" class="ex-btn" data-do="copy">Copy</button></figure>'
    )


def _seen_before(report: Report) -> list[str]:
    """Earlier cases and what the log lacks; the second looks have a card of their own."""
    steady = report.stability.because if report.stability is not None else None
    return [line for line in words.beside(report) if steady is None or steady not in line]


def _claim(report: Report) -> str:
    rows = "".join(f"<dt>{safe(name)}</dt><dd>{safe(value)}</dd>" for name, value in content.claim(report))
    if not rows:
        return ""
    inside = f'<dl class="ex-numbers">{rows}</dl><p class="ex-soft">{safe(content.NOT_A_JUDGEMENT)}</p>'
    return f"<h3>What is claimed of the picture</h3>{inside}"


def _elsewhere() -> str:
    found = ""
    for what, links in content.ELSEWHERE:
        items = "".join(
            f'<li><a href="{safe(link.url)}" target="_blank" rel="noopener noreferrer">{safe(link.name)}</a>: '
            f"{safe(link.what)}</li>"
            for link in links
        )
        found += f"<h3>{safe(what)}</h3><ul>{items}</ul>"
    return f'{found}<p class="ex-soft">{safe(content.GIVEN_AWAY)}</p>'


def people(reviews: Sequence[Review]) -> str:
    """What people said of the case, beside the machine's verdict; nothing where nobody said anything."""
    if not reviews:
        return ""
    return (
        f'<div class="ex-people"><h3>What people said</h3>{listed(content.people(reviews))}'
        f'<p class="ex-soft">{safe(content.BESIDE)}</p></div>'
    )


def strip(report: Report) -> str:
    """The picture and its degraded copies side by side, each with what the evidence said there."""
    steady = report.stability
    if steady is None or not steady.looks:
        because = steady.because if steady is not None else "Copies of the picture were not looked at."
        return (
            f'<section class="ex-card" aria-label="Copies"><h2>Does it hold for copies?</h2><p>{safe(because)}</p>'
            "</section>"
        )
    answer = report.verdict
    said = _said(answer.label, answer.p_generated, answer.p_edited)
    first = _frame(report, "small", "As it came", "the file itself", said, "")
    rest = "".join(_look(report, look) for look in steady.looks)
    return (
        '<section class="ex-card" aria-label="Copies"><h2>Does it hold for copies?</h2>'
        f'<p>{safe(steady.because)}</p><ol class="ex-strip">{first}{rest}</ol></section>'
    )


def _look(report: Report, look: SecondLook) -> str:
    name, how = _LOOKS[look.kind]
    if not look.scores:
        silent = next(iter(look.silent.values()), "No tool gave a score.")
        return _frame(report, None, name, how, "Not looked at", f'<p class="ex-soft">{safe(silent)}</p>')
    turned = '<p class="ex-turned"><strong>Points the other way</strong></p>' if look.flips else ""
    return _frame(report, look.kind, name, how, _said(look.label, look.p_generated, look.p_edited), turned)


def _said(label: Label, p: float, p_edited: float | None) -> str:
    altered = f", {words.chance(p_edited)} altered" if p_edited is not None else ""
    return f"{words.LABELS[label]}: {words.chance(p)} generated{altered}"


def _frame(report: Report, kind: pictures.Kind | None, name: str, how: str, said: str, more: str) -> str:
    shown = '<div class="ex-none" aria-hidden="true">-</div>'
    if kind is not None:
        alt = f"The picture {report.image.path}, {name.lower()}"
        shown = f'<img src="{safe(pictures.address(report.case_id, kind))}" alt="{safe(alt)}" loading="lazy">'
    frame = f'<div class="ex-frame ex-frame-{kind or "none"}">{shown}</div>'
    return (
        f'<li>{frame}<p><strong>{safe(name)}</strong> <span class="ex-soft">{safe(how)}</span></p>'
        f"<p>{safe(said)}</p>{more}</li>"
    )


def downloads(report: Report) -> str:
    """The case to take along, and its number."""
    base = f"/v1/cases/{report.case_id}"
    links = (
        (f"{base}/report.pdf", "PDF", "the report as a document"),
        (f"{base}/report.html", "HTML", "the report as one page that stands alone"),
        (f"{base}/claimreview.json", "ClaimReview", "a draft of the mark-up for search engines"),
        (
            f"{base}/bundle.zip",
            "Evidence bundle",
            "all files with their checksums; “exposit verify” checks it",
        ),
    )
    items = "".join(
        f'<li><a href="{safe(url)}" download>{safe(name)}</a> <span class="ex-soft">{safe(what)}</span></li>'
        for url, name, what in links
    )
    alike = f"/history?similar={report.case_id}"
    return (
        '<section class="ex-card" aria-label="Take it along"><h2>Take it along</h2>'
        f'<ul class="ex-files">{items}</ul><p class="ex-soft">Case <span id="case-number">{safe(report.case_id)}</span>'
        f' · <a href="/?case={safe(report.case_id)}">link to this case</a> · '
        f'<a href="{safe(alike)}">similar pictures in the history</a> · '
        f'<a href="/review?case={safe(report.case_id)}">review it</a></p></section>'
    )
