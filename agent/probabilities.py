"""Which number of a verdict a sentence tells: its probability, a bound, the prior; of which question, and which way.

Part of `agent.grounding`: a number that stands where a probability stands must be the probability, however true it is
of something else.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from agent import degrees, wording
from agent.basis import Basis
from agent.numerals import Known, Quantity, quantities, same

_I = re.IGNORECASE
_NEEDS = {
    "weight": wording.ABOUT_WEIGHT,
    "score": re.compile(r"\bscor\w+", _I),
    "version": re.compile(r"\bversions?\b", _I),
    "count": re.compile(r"\btools?\b|\bchecks?\b|\bpieces?\b|\bdetectors?\b", _I),
}
"""Numbers that may be told only in a clause that says what they are."""
_PROBABILITY = re.compile(r"\bprobab|\bchances?\b|\bodds\b|\blikelihood\b|\binterval\b|\bprior\b|likely\b", _I)
_SAYS_PROBABILITY = re.compile(r"\bprobabilit|\bprobable\b|\bchances?\b|\blikelihood\b|\binterval\b|\bprior\b", _I)
_LIKELY_NEXT = re.compile(r"\s*(?:likely|probable)\b", _I)
_ROUGHLY = r"(?:about |around |roughly |some |approximately )?"
_BETWEEN = re.compile(rf"\s*(?:(?:up )?to|through|until|and|[-\u2013\u2014])\s*{_ROUGHLY}$", _I)
_LEVEL_NEXT = re.compile(r"[\s-]*(?:bootstrap |confidence |credible )?interval\b", _I)
_PRIOR_NEXT = re.compile(r"\s*prior\b", _I)
_PRIOR = re.compile(
    r"(?:\bprior\b(?: \w+)?(?: (?:of|is|was|at|to))?[,:]?|\b(?:start\w*|beforehand|assum\w+)\b[^,;]{0,25}) ?"
    rf"{_ROUGHLY}$",
    _I,
)
_UNMOVED = re.compile(rf"\b(?:is|stays at|remains(?: at)?) the prior(?: unchanged)?[,:]? ?{_ROUGHLY}$", _I)
_RATIO = re.compile(r"\bratio\b[^,;()]{0,30}$", _I)
_BOUND = re.compile(
    r"\b(?:interval|range)\b(?: \w+){0,4} ?$|\b(?:lower|upper|low|high) (?:bound|end|limit)\b(?: \w+){0,3} ?$", _I
)
_AT_LEAST = re.compile(r"\b(?:at least|more than|over|above|no less than) ?$", _I)
_AT_MOST = re.compile(r"\b(?:at most|less than|under|below|up to|no more than) ?$", _I)
_LOW = re.compile(r"\b(?:lower|low|down to|from|begins?|starts?)\b", _I)
_HIGH = re.compile(r"\b(?:upper|high|up to|ends? at)\b", _I)
_WHETHER_NOT = re.compile(r"\bwhether\b(?! or not)[^,;]*\bnot\b", _I)
_LEFT_OUT = re.compile(r"\bwithout\b|\bleft out\b|\bleaving out\b|\bhad\b.*\bnot\b|\bremov\w+", _I)


@dataclass(frozen=True, slots=True)
class _Asked:
    """The questions that a clause speaks of, whether it speaks of their opposite, and whether what follows does too."""

    targets: frozenset[str]
    turned: bool
    after: bool = False


def numbers(text: str, basis: Basis) -> str | None:
    """Why the numbers of `text` may not stand, in plain English; None where they may."""
    last = _Asked(frozenset({basis.asked} if basis.asked else ()), turned=False)
    for clause in wording.clauses(text):
        here = _asked(clause)
        last = here if here.targets else last
        found = quantities(clause)
        for index, said in enumerate(found):
            part = _part(clause, found, index, basis, bool(last.targets))
            if part is None:
                because = _plain(clause, said, basis, here.targets)
            else:
                because = _of_verdict(clause, said, part, basis, here if here.targets else _carried(last))
            if because:
                return because
    return None


def _asked(clause: str) -> _Asked:
    targets = wording.targets(clause)
    signs = {claim.sign for claim in wording.claims(clause)}
    turned = "camera" in targets and len(targets) > 1
    after = turned or ("against" in signs and degrees.denied(clause))
    if "undecided" in signs:
        turned = after = bool(_WHETHER_NOT.search(clause))
    elif signs and "even" not in signs:
        turned = turned or "absent" in signs or degrees.denied(clause)
    return _Asked(frozenset(targets), turned, after)


def _carried(last: _Asked) -> _Asked:
    """What a clause without a question of its own speaks of: “no sign of it was found: the probability is …”."""
    return _Asked(last.targets - {"camera"} or last.targets, last.after)


def _part(clause: str, found: Sequence[Quantity], index: int, basis: Basis, asked: bool) -> str | None:
    """What a number is told as: a part of the verdict (`Known.part`), or None where it is told as no part of one."""
    said = found[index]
    if not _fraction(said):
        return None
    before, after = clause[: said.start], clause[said.end :]
    if _LEVEL_NEXT.match(after):
        return "level"
    if _UNMOVED.search(before):
        return "unmoved"
    if _PRIOR_NEXT.match(after) or _PRIOR.search(before):
        return "prior"
    if _RATIO.search(before):
        return "ratio"
    says = bool(_SAYS_PROBABILITY.search(clause) or _LIKELY_NEXT.match(after))
    if basis.verdict_cited:
        says = says or asked or bool(_PROBABILITY.search(clause))
    if not says:
        return None
    if index + 1 < len(found) and _fraction(found[index + 1]) and _joined(clause, said, found[index + 1]):
        return "low"
    if index and _fraction(found[index - 1]) and _joined(clause, found[index - 1], said):
        return "high"
    if _AT_LEAST.search(before):
        return "low"
    if _AT_MOST.search(before):
        return "high"
    bound = _BOUND.search(before)
    if bound:
        near = before[-50:]
        return "low" if _LOW.search(near) else "high" if _HIGH.search(near) else "bound"
    return "without" if _LEFT_OUT.search(clause) else "p"


def _fraction(said: Quantity) -> bool:
    return said.unit in (None, "fraction") and 0 <= said.value <= 1


def _joined(clause: str, first: Quantity, second: Quantity) -> bool:
    """Whether two numbers are the ends of a range."""
    between = clause[first.end : second.start]
    if not _BETWEEN.fullmatch(between):
        return False
    return "and" not in between or bool(re.search(r"\bbetween\b", clause[: first.start], _I))


def _of_verdict(clause: str, said: Quantity, part: str, basis: Basis, asked: _Asked) -> str | None:
    """Why `said` may not be told as this part of the verdict."""
    if asked.targets == {"camera"} and part not in ("prior", "level"):
        return "It gives a probability that the picture is a photograph, and the verdict has none."
    parts = {"unmoved": ("p", "prior")}.get(part, (part,))
    questions = asked.targets - {"camera"}
    if len(questions) > 1 and part not in ("prior", "level"):
        return "It gives one probability for two questions."
    known = [each for each in basis.numbers if _tells(said, each, part)]
    if not known:
        return f"The number at “{_shown(clause, said)}” is not in what it cites."
    known = [each for each in known if each.part in parts]
    if not known:
        return "It tells a number as something that it is not."
    if part in ("prior", "level") or any(each.part == "prior" for each in known):
        return None
    known = [each for each in known if each.about in questions]
    if not known:
        return "It gives the probability of one question as that of another."
    turned = degrees.denied(_LEFT_OUT.sub(" ", clause)) if part == "without" else asked.turned
    if part in ("low", "high", "bound") and turned:
        return "It gives an interval for the opposite of what the verdict asks."
    if not any(each.complement == turned for each in known):
        return "It turns a probability into that of the opposite."
    return None


def _tells(said: Quantity, known: Known, part: str) -> bool:
    if part == "ratio":
        return abs(said.value - known.value) <= said.slack * 1.001 + 1e-9
    return known.unit in (None, "fraction") and same(said, known)


def _plain(clause: str, said: Quantity, basis: Basis, targets: frozenset[str]) -> str | None:
    """Why `said` may not stand, told as no part of the verdict."""
    known = [
        each
        for each in basis.numbers
        if each.part in (None, "ratio")
        and same(said, each)
        and (each.about not in _NEEDS or _NEEDS[each.about].search(clause))
    ]
    if not known:
        return f"The number at “{_shown(clause, said)}” is not in what it cites."
    if _PROBABILITY.search(clause) and targets:
        if all(each.about in ("generated", "edited") and each.about not in targets for each in known):
            return "It gives the probability of one question as that of another."
        if all(each.complement for each in known) and not _asked(clause).turned:
            return "It turns a probability into that of the opposite."
    return None


def _shown(clause: str, said: Quantity) -> str:
    return clause[said.start : said.start + 12].strip()
