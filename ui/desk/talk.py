"""Questions and answers about a case, as HTML: each sentence of an answer opens like those of the explanation."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from agent.service import Answer, Message
from agent.verdict import Report
from tools.errors import ExpositError
from ui import words
from ui.desk.escape import listed, safe
from ui.desk.sentences import sentence

MOST = 60
"""Turns that a page shows; the log keeps all."""


def page(turns: Sequence[str]) -> str:
    """The conversation as far as it went."""
    inside = "".join(turns[-MOST:]) or (
        '<p class="ex-soft">Ask why, where, how sure, what speaks against it, or what would change the verdict. Draw a '
        "box on the picture to have that part examined by itself.</p>"
    )
    return (
        f'<section class="ex-card ex-talk" aria-label="Questions and answers"><h2>Ask about it</h2>{inside}</section>'
    )


def asked(question: str, box: str = "", second: str = "") -> str:
    """What the person asked."""
    beside = [f"about the box {box}" if box else "", f"beside {second}" if second else ""]
    more = "".join(f' <span class="ex-soft">({safe(each)})</span>' for each in beside if each)
    return f'<div class="ex-turn ex-mine"><h3 class="ex-sr">You asked</h3><p>{safe(question)}{more}</p></div>'


def waiting() -> str:
    """Stands where the answer will be."""
    return (
        '<div class="ex-turn ex-steps"><ul class="ex-bare-list"><li><span class="ex-spin" aria-hidden="true"></span>'
        "Reading the evidence, and looking again where that is asked for …</li></ul></div>"
    )


def answered(report: Report, answer: Answer, number: int) -> str:
    """What the case says to it.

    Args:
        report: The report that the answer rests on.
        answer: The answer.
        number: Of the turn, unique in the page.
    """
    parts = [sentence(report, each, f"turn-{number}-{at}") for at, each in enumerate(answer.sentences)]
    if not parts:
        parts = ["<p>The evidence of this case does not answer that.</p>"]
    parts.append(listed([*(each.text for each in answer.what_if), *answer.notes]))
    if answer.before is not None:
        parts.append(
            f"<p>Before this question the case said “{words.LABELS[answer.before.label]}” "
            f"({words.chance(answer.before.p_generated)} generated); now it says "
            f"“{words.LABELS[report.verdict.label]}” ({words.chance(report.verdict.p_generated)} generated).</p>"
        )
    if answer.comparison is not None:
        other = safe(answer.comparison.case_id)
        parts.append(f'<p><a href="/?case={other}">Open the case of the second picture</a></p>')
    if answer.dropped:
        verb = "sentence was" if answer.dropped == 1 else "sentences were"
        parts.append(f'<p class="ex-soft">{answer.dropped} {verb} left out, because no evidence bears it out.</p>')
    return _turn("".join(parts))


def failed(error: ExpositError) -> str:
    """Why there is no answer."""
    return _turn(f"<p><strong>This could not be answered.</strong> {safe(error)}</p>")


def remembered(messages: Iterable[Message]) -> list[str]:
    """Earlier questions and answers of a case, from the log."""
    found = []
    for each in messages:
        if each.role == "user":
            found.append(asked(each.text))
        else:
            cites = "".join(
                f' <button type="button" class="ex-cite" data-cite="{safe(name)}" '
                f'aria-label="Show the evidence {safe(name)}">{safe(name)}</button>'
                for name in each.cites
            )
            found.append(_turn(f"<p>{safe(each.text)}{cites}</p>"))
    return found


def _turn(inside: str) -> str:
    return f'<div class="ex-turn ex-theirs"><h3 class="ex-sr">Exposit answered</h3>{inside}</div>'
