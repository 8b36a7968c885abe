"""What an English sentence of an explanation is about, and how it relates things: subjects, sameness, comparisons.

The other half of `agent.wording`, under the same rules: lexical, and erring towards refusing.
"""

from __future__ import annotations

import re
from functools import lru_cache

from agent.wording import ABSENT, clauses

_I = re.IGNORECASE

SUBJECTS: dict[str, re.Pattern[str]] = {
    name: re.compile(pattern, _I)
    for name, pattern in {
        "spectrum": r"\bspectr\w+|\bfrequenc\w+|\bfourier\b",
        "peaks": r"\bpeaks?\b|\bperiodic\w*|\blattices?\b|\bperiods?\b|\brepeat\w*",
        "jpeg": r"\bjpe?g\b|\bcompress\w+|\bquantis\w+|\bquantiz\w+|\bre-?sav\w+",
        "quality": r"\bquality\b",
        "texture": r"\btextur\w*|\btiles?\b",
        "reconstruction": r"\breconstruct\w*|\brebuil\w+|\binver(?:t|ted|sion)\b|\bdiffusion\b",
        "signature": r"\bsign(?:ed|ature|atures|er|ers)\b|\bmanifests?\b|\bc2pa\b|\bcredentials?\b|\bcertificates?\b",
        "metadata": r"\bmetadata\b|\bexif\b|\biptc\b|\bxmp\b|\bworkflows?\b|\bpng text\b|\btags?\b",
        "noise": r"\bnoise\b|\bresiduals?\b|\bgrain\b",
        "copy": r"\bcopy-move\b|\bcloned?\b|\bduplicat\w+",
        "prompt": r"\bprompts?\b",
        "watermark": r"\bwatermarks?\b|\bsynthid\b",
        "lens": r"\blens\b|\bvignett\w+|\bchromatic\b|\bdemosaic\w*|\bbayer\b|\bcfa\b",
        "maker": r"\bmidjourney\b|\bdall[-· ]?e\b|\bstable diffusion\b|\bfirefly\b"
        r"|\bflux\b|\bsora\b|\bimagen\b|\bgemini\b|\bgpt\b|\bchatgpt\b",
    }.items()
}
"""What a sentence may be about, and the words that show it."""

TOPICS: dict[str, set[str]] = {
    "frequency": {"spectrum", "noise"}, "patch": {"texture", "noise"}, "inversion": {"reconstruction"},
    "inversion_sd": {"reconstruction"},
    "compression": {"jpeg", "quality"}, "splice": {"noise"}, "provenance": {"metadata", "signature"},
}  # fmt: skip
"""What each tool of the house is about, whatever it found."""

_SAME = re.compile(
    r"\bsame\b|\balike\b|\bmatch(?:es|ing)?\b|\bconsistent with the rest\b|\bidentical\b|\bagrees?\b", _I
)
_DIFFERS = re.compile(r"\bdiffer\w*|\bunlike\b|\bmismatch\w*|\binconsisten\w+|\bdeviat\w+", _I)
_THAN = re.compile(r"\b(lower|smaller|less|fewer|higher|larger|greater|more|bigger)\b(?: \w+)? than\b(?! not)", _I)
_GAVE_NOTHING = re.compile(
    r"\babstain\w*|\bgave no (?:answer|score|verdict|judgement)|\bdid not (?:judge|score|answer|examine|speak)"
    r"|\bcould not (?:judge|be (?:judged|applied|used)|score|examine|run)"
    r"|\bnothing can be (?:said|told)\b|\bwas not (?:judged|scored)|\bwithout (?:a )?(?:score|judgement)"
    r"|\btoo (?:small|large|big|short)\b|\bnot applicable\b"
    r"|\bneeds? at least\b|\bhas no say\b",
    _I,
)


def relation(text: str) -> str | None:
    """`same` or `differs` where `text` compares things, with its negation taken in."""
    for clause in clauses(text):
        same, differs = bool(_SAME.search(clause)), bool(_DIFFERS.search(clause))
        if same != differs:
            # "unlike" is itself counted as a negation
            flipped = len(re.findall(r"\b(?:not|no|never|nothing)\b|n't\b", clause, _I)) % 2 == 1
            return "same" if same != flipped else "differs"
    return None


def comparisons(text: str) -> set[str]:
    """`below` and `above`, for each "lower than", "more than" of `text`."""
    return {
        "below" if match[1].lower() in ("lower", "smaller", "less", "fewer") else "above"
        for match in _THAN.finditer(text)
    }


def says_abstained(text: str) -> bool:
    """Whether `text` says that a tool gave no judgement."""
    return bool(_GAVE_NOTHING.search(text))


def denies_anything(text: str) -> bool:
    """Whether `text` holds a denial of any kind, or says that a tool gave no judgement."""
    return says_abstained(text) or bool(
        re.search(r"\b(?:no|not|nothing|none|never|cannot|without|un\w+ed)\b|n't\b", text, _I)
    )


@lru_cache(maxsize=4096)
def _subjects(text: str) -> tuple[tuple[str, bool], ...]:
    found: dict[str, bool] = {}
    for clause in clauses(text):
        denied = bool(ABSENT.search(clause)) or bool(re.search(r"\b(?:no|without|any|nothing)\b", clause, _I))
        for name, pattern in SUBJECTS.items():
            if pattern.search(clause):
                found[name] = found.get(name, False) or not denied
    return tuple(found.items())


def subjects(text: str) -> dict[str, bool]:
    """What `text` is about; the value tells whether it is said to be there (True) or not to be (False)."""
    return dict(_subjects(text))
