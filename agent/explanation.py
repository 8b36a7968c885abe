"""A report as an explanation to read: short or full, as plain text or Markdown, in any language there is a file for.

The answer comes first, in one sentence that can be quoted. In English the stored sentences are shown, whoever wrote
them. In another language the plain template writes: each sentence is made from the same phrase as its English twin, and
is told only where `agent.grounding` passed the twin.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final, Literal

from agent.grounding import objection
from agent.language import ENGLISH, Language, Phrase, Quote, language
from agent.template import narration
from agent.verdict import Report, Sentence

Form = Literal["short", "full"]
Markup = Literal["plain", "markdown"]
_STABILITY: Final = "stability"
_ALWAYS: Final = ("left_open", "meaning_generated", "meaning_edited", "confidence")
_SPECIAL = re.compile(r"([\\`*_{}\[\]()<>#+\-.!|~])")


def render(report: Report, *, form: Form = "full", markup: Markup = "plain", code: str = ENGLISH) -> str:
    """The explanation of a report.

    Args:
        report: The case.
        form: `short` is the answer, the strongest reason each way and what the number means; `full` is everything.
        markup: Plain text, or Markdown in which nothing that a file says can become a link or markup.
        code: Of the language.

    Raises:
        CallerError: There is no file for the language.
    """
    spoken = language(code)
    phrases = narration(report.verdict, report.evidence, report.contributions)
    if code == ENGLISH and report.explanation:
        sections = _stored(report)
    else:
        grounded = [phrase for phrase in phrases if _stands(phrase, report)]
        sections = [(phrase.role, phrase.key, phrase.sentence(spoken)) for phrase in grounded]
    write = _Page(markup)
    answer = next((sentence for role, _, sentence in sections if role == "answer"), None)
    if answer is not None:
        write.lead(answer.text)
    if form == "short":
        _short(write, sections)
    else:
        _full(write, sections, report, spoken)
    note = {"case": report.case_id, "name": report.image.path, "date": f"{report.created_at:%Y-%m-%d}"}
    if spoken.tables["note"]["original"]:
        write.line(spoken.say("note", "original"))
    if code != ENGLISH or report.explained_by.kind == "template":
        write.line(spoken.say("note", "case", note))
    return write.text()


Section = tuple[str, str, Sentence]
"""Role, key of the phrase (empty where a model wrote) and the sentence."""


def _stored(report: Report) -> list[Section]:
    """The stored sentences, each with the key of the phrase that says the same."""
    english = language(ENGLISH)
    keys = {
        phrase.sentence(english).text: phrase.key
        for phrase in narration(report.verdict, report.evidence, report.contributions)
    }
    return [(sentence.role, keys.get(sentence.text, ""), sentence) for sentence in report.explanation]


def _stands(phrase: Phrase, report: Report) -> bool:
    """Whether grounding passes the English twin of a phrase."""
    twin = phrase.sentence(language(ENGLISH))
    return objection(twin, report.verdict, report.contributions, report.evidence) is None


def _short(write: _Page, sections: Sequence[Section]) -> None:
    told = [next((text for each, _, text in sections if each == role), None) for role in ("reason", "against")]
    told += [text for _, key, text in sections if key == "left_open"]
    told += [text for _, key, text in sections if key in _ALWAYS and key != "left_open"]
    for sentence in told:
        if sentence is not None:
            write.line(_cited(sentence))


def _full(write: _Page, sections: Sequence[Section], report: Report, spoken: Language) -> None:
    open_for = [text for _, key, text in sections if key == "left_open"]
    for sentence in open_for:
        write.line(_cited(sentence))
    for role in ("reason", "against", "context"):
        kept = [text for each, _, text in sections if each == role and text.cites != (_STABILITY,)]
        write.section(spoken.say("heading", role), [_cited(sentence) for sentence in kept])
    steady = [text for _, _, text in sections if text.cites == (_STABILITY,)]
    write.section(spoken.say("heading", "stability"), [_cited(sentence) for sentence in steady])
    write.section(spoken.say("heading", "similar"), _before(report, spoken))
    sure = [text for _, key, text in sections if key in _ALWAYS and key != "left_open"]
    write.section(spoken.say("heading", "sure"), [_cited(sentence) for sentence in sure])
    shown = ("not_examined", "not_examined_more", *_ALWAYS)
    limits = [text for role, key, text in sections if role == "limits" and key not in shown]
    write.section(spoken.say("heading", "limits"), [_cited(sentence) for sentence in limits])
    missing = [spoken.quoted(Quote(text, marked=False)) for text in report.verdict.not_examined]
    write.section(spoken.say("heading", "not_examined"), missing)


def _before(report: Report, spoken: Language) -> list[str]:
    """What is known of the same picture from earlier cases: beside the verdict, and no part of it."""
    lines = [
        spoken.say(
            "note", "same_file" if each.same_file else "near",
            {
                "case": each.case_id, "date": f"{each.created_at:%Y-%m-%d}", "bits": str(each.distance),
                "label": spoken.say("label", each.label or "none"),
            },
        )
        for each in report.similar
    ]  # fmt: skip
    if report.similar_because:
        lines.append(spoken.say("note", "not_looked", {"why": report.similar_because}))
    return lines


def _cited(sentence: Sentence) -> str:
    return sentence.text + "".join(f" [{name}]" for name in sentence.cites)


class _Page:
    """Lines and sections in one of the two markups."""

    def __init__(self, markup: Markup) -> None:
        self._markdown = markup == "markdown"
        self._parts: list[str] = []

    def lead(self, text: str) -> None:
        self._parts.append(f"**{self._safe(text)}**" if self._markdown else text)

    def line(self, text: str) -> None:
        self._parts.append(self._safe(text))

    def section(self, heading: str, lines: Sequence[str]) -> None:
        """A section; nothing at all where it has no lines."""
        if lines:
            head = f"## {heading}" if self._markdown else heading
            rows = [f"- {self._safe(line)}" if self._markdown else f"  {line}" for line in lines]
            self._parts.append("\n".join([head, *([""] if self._markdown else []), *rows]))

    def text(self) -> str:
        return "\n\n".join(self._parts) + "\n"

    def _safe(self, text: str) -> str:
        flat = " ".join(text.split())
        return _SPECIAL.sub(r"\\\1", flat) if self._markdown else flat
