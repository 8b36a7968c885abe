"""Words of likelihood: what an English sentence says of how likely its claim is, and how sure it says it is.

Written for `agent.grounding`, under the rules of `agent.wording`: lexical, and erring towards refusing.
"""

from __future__ import annotations

import re

from agent.wording import Said, claims, clauses, negated

_I = re.IGNORECASE

_STRONG = re.compile(
    r"\b(?:very|highly|extremely) (?:likely|probabl\w+|unlikely|improbable)\b|\bin all (?:likelihood"
    r"|probability)\b|\balmost surely\b"
    r"|\bstrong(?:ly)?\b(?! (?:re-?saved?|compress))|\bcompelling\w*|\bheavily\b|\bhigh (?:probability|confidence"
    r"|likelihood)\b|\bpowerful\w*",
    _I,
)
_LIKELY = re.compile(r"(?<!more )(?<!less )(?<!\bas )(?<!how )\b(?:likely|probabl[ye])\b(?! than not)", _I)
_UNLIKELY = re.compile(r"\bunlikely\b|\bimprobable\b", _I)
_LIKELIHOOD = re.compile(
    r"(?<!how )\b(?P<never>(?:not|hardly|scarcely|never|less than|far from|nowhere near) (?:at all |so |that )?|n't )?"
    r"(?:(?P<strong>very|highly|extremely|most|quite) )?(?:(?P<than>less|as|more) )?"
    r"(?P<un>un|im)?(?:likely|probabl[ey])\b(?P<not> (?:than|as) not\b)?",
    _I,
)
_SAID_OTHERWISE = tuple(
    (re.compile(pattern, _I), step)
    for pattern, step in (
        (r"\bin all (?:likelihood|probability)\b", 3),
        (r"(?<!from )(?<!given )(?<!at )\b(?:even|equal) (?:chances?|odds|probability)\b", 0),
        (r"\btoss[- ]?up\b|\bcoin (?:toss|flip)\b", 0),
    )
)
_HOW_MUCH = {
    "high": 2, "good": 2, "strong": 2, "great": 2, "large": 2, "considerable": 2, "overwhelming": 3, "low": -2,
    "small": -2, "slim": -2, "little": -2, "poor": -2, "remote": -3, "negligible": -3, "tiny": -3, "doubtful": -1,
    "questionable": -1, "even": 0, "moderate": 0,
}  # fmt: skip
"""Steps from even, as many as words of likelihood have, of words that say how large a probability is."""
_SIZE = re.compile(
    rf"(?:(?:^|\b(?:is|are|it|which|that)\b,? |\ba )(?P<never>not )?(?:very |quite |rather |fairly |too |so )*)"
    rf"\b(?P<size>{'|'.join(_HOW_MUCH)})\b(?! (?:prior|interval|bound|end|quality|frequenc\w+|confidence|resolution))",
    _I,
)
_OF_PROBABILITY = re.compile(r"\bprobabilit|\bchances?\b|\bodds\b|\blikelihood\b|\bthat is\b|^(?:is|are|a|an) ", _I)
_SLIGHT = re.compile(
    r"\b(?:slight(?:ly)?|somewhat|a little|weak(?:ly)?|barely|hardly|marginal(?:ly)?|faint(?:ly)?)\b", _I
)


def denied(clause: str) -> bool:
    """Whether `clause` denies its claim (“not generated”); its own “unlikely” grades the claim, and denies nothing."""
    return negated(_LIKELIHOOD.sub(" ", clause))


def likelihoods(text: str) -> list[tuple[Said, int]]:
    """The words of likelihood in `text`, as the number of their `band`, each with the claim that it grades.

    In a clause that claims nothing itself (“, which is likely”) they grade what the sentence claims before, or leaves
    open. What is graded in words that compare (“more likely than before”) is left out.
    """
    found, last = [], None
    for clause in clauses(text):
        own = next((each for each in claims(clause) if each.target != "camera"), None)
        last = own or last
        if last is None or (own is not None and own.sign == "absent"):
            continue
        # That the claim is denied (“not generated”) turns the grade round; that no sign of it was found does not.
        turned = last.sign in ("for", "against") and denied(last.clause)
        found += [(last, 3 - step if turned else 3 + step) for step in _steps(clause)]
    return found


def _steps(clause: str) -> list[int]:
    """Steps above even, -3 to 3, that each grade of `clause` says."""
    steps = []
    for match in _LIKELIHOOD.finditer(clause):
        if match["than"] and not match["not"]:
            continue
        step = {"less": -1, "as": 0, "more": 1}.get((match["than"] or "").lower(), 3 if match["strong"] else 2)
        step = -step if match["un"] else step
        if match["never"]:
            step = {3: -1, -3: 1}.get(step, -step)  # “not very likely” says less than “unlikely”
        steps.append(step)
    steps += [step for pattern, step in _SAID_OTHERWISE if pattern.search(clause)]
    if _OF_PROBABILITY.search(clause):
        for match in _SIZE.finditer(clause):
            step = _HOW_MUCH[match["size"].lower()]
            steps.append(-step if match["never"] else step)
    return steps


def least_level(text: str) -> float:
    """The probability of what is claimed that the strength words of `text` need, 0 where they need none."""
    if _STRONG.search(text) and not re.search(r"\b(?:not|less|no) (?:very |so )?(?:strong|likely)", text, _I):
        return 0.9
    if _LIKELY.search(text) or _UNLIKELY.search(text):
        return 0.75
    return 0.0


def most_level(text: str) -> float:
    """The probability of what is claimed above which the words of `text` would understate it."""
    return 0.9 if _SLIGHT.search(text) else 1.0
