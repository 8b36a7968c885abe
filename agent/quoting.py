"""What a sentence quotes word for word: taken out before its own words are checked, where it is told as what it is.

Part of `agent.grounding`. A finding may be told in the tool's words without marks; what a file or a person wrote is
told between quotation marks and ascribed; and nothing quoted may be denied.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from agent import wording
from agent.basis import HOUSE_RULES, Basis

_I = re.IGNORECASE
_LEAST = 12
"""Characters from which words count as a quotation."""
_Kind = Literal["finding", "silence", "missing", "house", "written"]
GAP = " “” "
"""Stands where a quotation was."""
_FIRST_MARK = 0xE000
"""Of the characters for private use, one of which stands for each quotation while the sentence is read."""

_DENIES_ALL = re.compile(
    r"\bnot (?:true|the case|so|right|correct)\b|\buntrue\b|\bfalse(?:ly)?\b|\bwrong(?:ly)?\b|\bcontrary\b", _I
)
_DENIES = re.compile(
    r"\b(?:not|no|never|nothing|none|nobody|neither|nor|hardly|scarcely|cannot|without|absence|opposite|contrary"
    r"|den(?:y|ies|ied|ying)|doubt\w*|refut\w+|contradict\w*|disput\w+|reject\w*|exclud\w+|fail\w*|lacks?|lacking"
    r"|disagrees? that|rul(?:e|es|ed|ing) out|untrue|false\w*|wrong\w*|retract\w*|unlike\w*"
    r"|few|errors?|erroneous\w*|mistak\w+|if|whether|would|could|might|may|should)\b|n't\b",
    _I,
)
_DENIES_NOTHING = re.compile(
    r"\b(?:carr(?:y|ies)|has|have|of|with) no weight\b|\bwithout weight\b|\bno weight in\b"
    r"|\bgave no (?:judgement|score)\b|\bno judgement\b|\bnext to nothing\b",
    _I,
)
"""Denials that tell the weight of what is quoted after them, or that a tool did not judge."""
_DENIED_AFTER = re.compile(
    r"\s*,?\s*(?:(?:and |but )?(?:which|this|that|it) )?"
    r"(?:is|was|are|were|does|do|did|has|had|could|can|holds?|no|tool)\b[^,.;:“]*",
    _I,
)
_LEFT_OUT = re.compile(
    r"\b(?:not|no|never|nothing|nobody|none|without)\b|n't\b|\bun(?:examined|checked|tested|seen|covered)\b"
    r"|\bomit\w*|\bleft out\b|\bmiss(?:ed|ing|es)\b|\bskip\w*|\boutside\b",
    _I,
)
_ASCRIBED = re.compile(
    r"\bprompts?\b|\bmetadata\b|\bfile\b|\bmanifests?\b|\bsign\w*|\bfields?\b|\btags?\b|\bcaption\b|\btext chunk\b"
    r"|\bpng text\b|\bworkflows?\b|\bclaims?\b|\brecipe\b|\bcredentials?\b",
    _I,
)


@dataclass(frozen=True, slots=True)
class Rest:
    """The words of a sentence without what they quote, or why they may not quote it so."""

    text: str
    because: str | None = None


def without_quotes(text: str, basis: Basis) -> Rest:
    """`text` with what it quotes word for word taken out."""
    rest, taken = text, list[tuple[str, _Kind]]()
    for quote, kind in _quotable(basis):
        position = rest.lower().find(quote.lower())
        while position >= 0 and kind == "written" and not _marked(rest, position, len(quote)):
            position = rest.lower().find(quote.lower(), position + 1)
        if position >= 0:
            rest = f"{rest[:position]}{chr(_FIRST_MARK + len(taken))}{rest[position + len(quote) :]}"
            taken.append((quote, kind))
    because = None
    for number, (quote, kind) in enumerate(taken):  # once all are out: what one denies is no denial of the next
        before, _, after = rest.partition(chr(_FIRST_MARK + number))
        because = because or _objection(before, after, quote, kind)
    rest = re.sub(f"[{chr(_FIRST_MARK)}-{chr(_FIRST_MARK + len(taken))}]", GAP, rest)
    if because:
        return Rest(rest, because)
    if taken and _DENIES_ALL.search(rest):
        return Rest(rest, "It denies what it quotes.")
    if basis.missing and any(_holds(text, each) for each in basis.missing) and not _LEFT_OUT.search(_bare(text, basis)):
        return Rest(rest, "It tells as examined what was not.")
    return Rest(rest)


def _objection(before: str, after: str, quote: str, kind: _Kind) -> str | None:
    if kind in ("silence", "missing"):
        return None  # what was not done may be said with “not”
    front = _DENIES_NOTHING.sub(" ", before)
    if kind == "house":
        front = re.split(r"[;:,]", front)[-1]
    behind = _DENIED_AFTER.match(after)
    if _DENIES.search(front) or (behind and _DENIES.search(behind[0])):
        return "It denies what it quotes."
    claims = wording.calls_real(quote) or wording.claims(quote)
    if kind == "written" and claims and not _ASCRIBED.search(f"{before} {after}"):
        return "It takes over what a file or a person says, and does not say who."
    return None


def _quotable(basis: Basis) -> Iterator[tuple[str, _Kind]]:
    """Every text that may be quoted, and each sentence of it, the longest first."""
    kinds: dict[str, _Kind] = {}
    written = [normal(each).lower() for each in basis.written]
    for text in basis.texts:
        whole = normal(text)
        kind: _Kind = "missing" if text in basis.missing else "silence" if text in basis.silences else "finding"
        kind = "house" if text in HOUSE_RULES else kind
        kinds.setdefault(whole.strip(" ."), kind)
        for part in _sentences(whole):
            if not any(part.lower() in each for each in written):
                kinds.setdefault(part, kind)
    for each in basis.written:
        kinds.setdefault(normal(each).strip(" ."), "written")
    for quote in sorted(kinds, key=len, reverse=True):
        if len(quote) >= _LEAST:
            yield quote, kinds[quote]


def _sentences(text: str) -> Iterator[str]:
    """The sentences of `text` that begin outside quotation marks: those are the tool's own words."""
    begin = 0
    for match in (*re.finditer(r"(?<=[.!?]) ", text), None):
        part = text[begin : match.start() if match else len(text)].strip(" .")
        if text.count("“", 0, begin) <= text.count("”", 0, begin):
            yield part
        begin = match.end() if match else len(text)


def _marked(text: str, position: int, length: int) -> bool:
    """Whether quotation marks enclose that part of `text`."""
    before, after = text[:position], text[position + length :]
    curly = before.count("“") > before.count("”") and "”" in after
    return curly or (before.count('"') % 2 == 1 and '"' in after)


def _holds(text: str, item: str) -> bool:
    return re.search(rf"(?<!\w){re.escape(normal(item).strip(' .'))}(?!\w)", text, _I) is not None


def _bare(text: str, basis: Basis) -> str:
    for item in sorted(basis.missing, key=len, reverse=True):
        text = re.sub(re.escape(normal(item).strip(" .")), " ", text, flags=_I)
    return text


def normal(text: str) -> str:
    """`text` with plain spaces, hyphens and apostrophes, one space between words."""
    for odd, plain in (("\u00a0", " "), ("\u202f", " "), ("\u2212", "-"), ("\u2019", "'")):
        text = text.replace(odd, plain)
    return re.sub(r"\s+", " ", text)
