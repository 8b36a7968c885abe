"""Numbers in English prose: found with their unit and with the precision they are written in, and compared.

Grounding uses it on both sides: on the sentence and on the findings that the sentence cites.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

_ONES = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen "
    "seventeen eighteen nineteen"
)
_WORDS = {word: value for value, word in enumerate(_ONES.split())}
_TENS = dict(
    zip(["twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"], range(20, 100, 10), strict=True)
)
_NAMED = {
    "half": 0.5, "a third": 1 / 3, "one third": 1 / 3, "two thirds": 2 / 3, "a quarter": 0.25, "one quarter": 0.25,
    "three quarters": 0.75, "a fifth": 0.2, "a tenth": 0.1,
}  # fmt: skip
_TIMES = {"twice": 2.0, "double": 2.0, "doubles": 2.0, "doubled": 2.0, "thrice": 3.0, "triple": 3.0, "triples": 3.0}
_UNITS = tuple(
    (re.compile(rf"[\s-]?(?:{pattern})"), unit)
    for pattern, unit in (
        (r"%|percent\b|per cent\b", "fraction"),
        (r"px\b|pixels?\b", "px"),
        (r"decibans?\b|dB\b", "db"),
        (r"ms\b|milliseconds?\b", "ms"),
        (r"seconds?\b|s\b", "s"),
        (r"times\b|-?fold\b|x\b|\u00d7", "times"),
    )
)
_SUFFIXES = (
    ("_px", "px"), ("_pixels", "px"), ("_db", "db"), ("_decibans", "db"), ("_ms", "ms"), ("_s", "s"),
    ("_pct", "percent"), ("_percent", "percent"), ("_ratio", "times"),
)  # fmt: skip

_WORD = "|".join([*_TENS, *sorted(_WORDS, key=len, reverse=True)])
_SPELLED = rf"(?:(?:{_WORD})(?:[- ](?:{_WORD}))?(?:[- ]hundred)?|(?:a |one )?hundred|a dozen)"
_PLAIN = r"\d{1,3}(?:,\d{3})+(?:\.\d+)?|\d+(?:\.\d+)?|\.\d+"
_NUMBER = re.compile(rf"(?<![\w.])(?P<digits>{_PLAIN})|\b(?P<spelled>{_SPELLED})\b", re.IGNORECASE)
_PAIR = re.compile(rf"(?<![\w.:])({_PLAIN})\s?:\s?({_PLAIN})(?![\w:])")
_ODDS = re.compile(rf"(?<![\w.])({_PLAIN}|{_WORD})\s+to\s+(1|one)\b(?!\.\d)", re.IGNORECASE)
_OUT_OF = re.compile(rf"(?<![\w.])({_PLAIN}|{_WORD})\s+(?:in|out of)\s+({_PLAIN}|{_WORD}|a hundred)\b", re.IGNORECASE)
_ROUGH = re.compile(r"(?:about|around|roughly|approximately|nearly|almost|some|close to|~|≈)\s*$", re.IGNORECASE)
_NAMED_RE = re.compile(
    r"\b(" + "|".join(sorted(_NAMED, key=len, reverse=True)) + r")\b(?! of the (?:tools|evidence))", re.I
)
_TIMES_RE = re.compile(r"\b(" + "|".join(_TIMES) + r")\b(?! (?:jpeg|compression|compressed|save|saving|saved)\b)", re.I)
_AS_PLACE = re.compile(r"(?:left|right|upper|lower|top|bottom|-hand|other)\s+$", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Quantity:
    """A number as it stands in a text.

    Attributes:
        value: Percentages and shares as fractions.
        unit: `fraction`, `px`, `db`, `ms`, `s`, `times`, or None where none is written.
        slack: Half a unit of the last digit written, more where the text says "about".
        start, end: Offsets of its first character, and of what follows it and its unit.
    """

    value: float
    unit: str | None
    slack: float
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Known:
    """A number that may be told.

    Attributes:
        about: The question it answers, `generated` or `edited`; else what a clause that tells it must speak of.
        part: What it is of a verdict: `p`, `low` and `high` (bounds of the interval), `level` (of the interval),
            `prior`, `ratio`, or `without` (the probability had a piece of evidence not been there).
        complement: Whether it is 1 - p.
    """

    value: float
    unit: str | None
    about: str | None = None
    part: str | None = None
    complement: bool = False


@lru_cache(maxsize=4096)
def quantities(text: str) -> tuple[Quantity, ...]:
    """Every number of `text`, in digits or words, in order."""
    found: list[Quantity] = []
    taken = [False] * len(text)

    def take(start: int, end: int, value: float, unit: str | None, slack: float) -> None:
        if any(taken[start:end]):
            return
        taken[start:end] = [True] * (end - start)
        if _ROUGH.search(text[:start]):
            slack = max(slack, 0.06 * abs(value))
        found.append(Quantity(value, unit, slack, start, end))

    for match in _PAIR.finditer(text):
        first, second = _value(match[1]), _value(match[2])
        if abs(first + second - 100) < 1e-6:
            take(*match.span(), first / 100, "fraction", 0.005)
        elif second == 1:
            take(*match.span(), first, "times", _slack(match[1]))
    for match in _ODDS.finditer(text):
        take(*match.span(), _value(match[1]), "times", _slack(match[1]))
    for match in _OUT_OF.finditer(text):
        whole = 100.0 if match[2].lower() == "a hundred" else _value(match[2])
        if whole >= max(_value(match[1]), 1):
            take(*match.span(), _value(match[1]) / whole, "fraction", 0.5 / whole)
    for match in _NAMED_RE.finditer(text):
        if not _AS_PLACE.search(text[: match.start()]):
            take(*match.span(), _NAMED[match[1].lower()], "fraction", 0.02)
    for match in _TIMES_RE.finditer(text):
        take(*match.span(), _TIMES[match[1].lower()], "times", 0.1)
    for match in _NUMBER.finditer(text):
        end, unit = _unit_after(text, match.end())
        if end < len(text) and text[match.end() : match.end() + 1].isalnum() and unit is None:
            continue  # part of a name, as in 3D or 2PA
        word = match[0].lower()
        if word == "one" and unit is None and not re.match(r"\s+(tile|block|region|peak|frame)\b", text[match.end() :]):
            continue  # a pronoun more often than a number
        if (
            match["digits"]
            and text[: match.start()].endswith(("-", "\u2212"))
            and re.search(r"(^|[\s(])[-\u2212]$", text[: match.start()])
        ):
            word = "-" + word
        value, slack = _value(word), _slack(word)
        if unit == "fraction":
            value, slack = value / 100, slack / 100
        take(match.start(), end, value, unit, slack)
    return tuple(sorted(found, key=lambda item: item.start))


def from_mapping(numbers: Iterable[tuple[str, object]], text: str = "") -> list[Known]:
    """The numbers of a finding or of measurements, with the unit that their name, or else `text`, gives them."""
    written = quantities(text)
    known = []
    for name, value in numbers:
        if isinstance(value, bool) or not isinstance(value, int | float):
            known += [Known(item.value, item.unit) for item in quantities(str(value)) if isinstance(value, str)]
            continue
        unit = next((unit for suffix, unit in _SUFFIXES if name.endswith(suffix)), None)
        if unit == "percent":
            known.append(Known(value / 100, "fraction"))
            continue
        if unit is None:
            unit = next((item.unit for item in written if abs(item.value - abs(value)) <= item.slack), None)
        known.append(Known(float(value), unit))
    return known


def same(said: Quantity, known: Known) -> bool:
    """Whether `said` is `known` as far as its digits go, in a unit that does not contradict it."""
    if said.unit is not None and known.unit != said.unit and not (said.unit == "times" and known.unit is None):
        return False
    if said.unit is None and known.unit == "fraction" and said.value > 1:
        return False
    return abs(abs(said.value) - abs(known.value)) <= said.slack * 1.001 + 1e-9


def _unit_after(text: str, position: int) -> tuple[int, str | None]:
    for pattern, unit in _UNITS:
        match = pattern.match(text, position)
        if match:
            return match.end(), unit
    return position, None


def _value(word: str) -> float:
    word = word.lower().replace(",", "")
    try:
        return float(word)
    except ValueError:
        pass
    if word == "a dozen":
        return 12.0
    total = 0
    for part in re.split(r"[- ]", word):
        if part == "hundred":
            total = (total or 1) * 100
        else:
            total += _WORDS.get(part, 0) + _TENS.get(part, 0)
    return float(total)


def _slack(word: str) -> float:
    if not any(char.isdigit() for char in word):
        return 0.5
    return 0.5 * 10.0 ** -len(word.partition(".")[2])
