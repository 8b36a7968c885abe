"""Cases in a list: small picture, name, day, verdict, and what a person made of it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from agent.service import CaseSummary
from ui import words
from ui.desk import pictures
from ui.desk.cards import chip
from ui.desk.escape import safe


def rows(cases: Iterable[CaseSummary], link: str, current: str = "") -> str:
    """A list of cases, each a link.

    Args:
        cases: In their order.
        link: What the case's number is put behind.
        current: The case that is open.
    """
    return f'<ul class="ex-cases">{"".join(_row(each, link, current) for each in cases)}</ul>'


WAITING: Final = {"queued": "Waits in line", "running": "Being examined"}
"""How a picture stands that has no verdict yet."""


def entry(picture: str | None, what: str, how: str) -> str:
    """One line of a list: a small picture where `picture` is a case that has one, and two texts, escaped already."""
    small = '<span class="ex-none" aria-hidden="true">-</span>'
    if picture is not None:
        small = f'<img src="{safe(pictures.address(picture, "small"))}" alt="" loading="lazy">'
    return (
        f'<li><span class="ex-thumb">{small}</span><span class="ex-what">{what}</span>'
        f'<span class="ex-how">{how}</span></li>'
    )


def _row(case: CaseSummary, link: str, current: str) -> str:
    done = case.status == "done"
    here = ' aria-current="true"' if case.case_id == current else ""
    name = f'<a href="{safe(link + case.case_id)}"{here}>{safe(case.name)}</a>' if done else safe(case.name)
    beside = f'<span class="ex-soft">{case.created_at:%Y-%m-%d %H:%M} UTC · {safe(case.case_id)}</span>'
    return entry(case.case_id if done and not case.purged else None, name + beside, said(case))


def said(case: CaseSummary) -> str:
    """The verdict of a case, or how it stands."""
    if case.status in WAITING:
        return WAITING[case.status]
    if case.status == "failed" or case.label is None:
        return f'<strong>Failed</strong> <span class="ex-soft">{safe(case.error or "No reason was kept.")}</span>'
    p = (
        f' <span class="ex-soft">{words.chance(case.p_generated)} generated</span>'
        if case.p_generated is not None
        else ""
    )
    person = {"asked": "waits for a person", "confirm": "confirmed by a person", "override": "overridden by a person"}
    review = f' <span class="ex-soft">· {person[case.review]}</span>' if case.review else ""
    return f"{chip(case.label)}{p}{review}"
