"""What a question about a case asks for: one of a closed set of intents, by explicit rules.

A question is data. The rules look for what may be done with a case, and for nothing else: no wording reaches the
verdict, which only evidence can change.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Literal

from agent import wording
from tools.contract import Region

Intent = Literal[
    "why", "where", "sure", "limits", "tools", "change", "verdict", "earlier",  # told from the case
    "look", "box", "run", "why_not", "compare", "no_picture",  # something is done, or asked for
    "pressure", "other",
]  # fmt: skip

MOST: Final = 2000
"""Characters of a question that are read."""
_I = re.IGNORECASE


@dataclass(frozen=True, slots=True)
class Understood:
    """A question in terms of what can be done.

    Attributes:
        tools: Tools that it names, in the order of the catalogue; for `run` without a name all that were left out.
        things: What in the scene it speaks of ("hand"), where it asks to look at something.
        region: The part of the picture that is meant.
        pressed: Whether it tries to have the verdict changed by words.
    """

    intent: Intent
    tools: tuple[str, ...] = ()
    things: tuple[str, ...] = ()
    region: Region | None = None
    pressed: bool = False


_PRESSURE: Final = re.compile(
    r"\b(?:ignore|disregard|forget|override|bypass|drop)\b.{0,40}\b(?:instructions?|rules?|evidence|tools?|previous"
    r"|prior|above|everything|guidelines|prompt|policy|calibration|verdict)\b"
    r"|\b(?:change|set|make|switch|flip|update|adjust|alter|mark|label|declare|certify|rule|call|record|report|raise"
    r"|lower|put)\b.{0,30}\b(?:verdict|label|answer|conclusion|probability|p_generated|confidence|prior|case|it|this)\b"
    r".{0,30}\b(?:to|as|is|be|at|real|fake|authentic|genuine|generated|edited|\d)"
    r"|\b(?:say|state|write|answer|reply|respond|output|print|repeat|confirm|admit|agree|conclude|declare)\b.{0,40}"
    r"\b(?:that )?(?:it|this|the (?:picture|image|photo\w*|verdict))\b.{0,20}\b(?:is|was|as)\b"
    r"|\b(?:just|only|simply) (?:say|answer|reply|write|output|confirm|admit)\b"
    r"|\byou (?:must|have to|need to|should|will|shall|are (?:now|no longer|wrong|mistaken|required|ordered))\b"
    r"|\b(?:you'?re|you are) (?:wrong|mistaken|a |an |the )"
    r"|\bi(?:'m| am) (?:the |an? |your )?(?:\w+ ){0,3}(?:admin\w*|developer|owner|photographer|author|expert|editor"
    r"|professor|police|judge|journalist|engineer|boss|ceo|creator|operator|reviewer|researcher|scientist)\b"
    r"|\bas (?:the |an? |your )(?:\w+ ){0,2}(?:admin\w*|developer|owner|photographer|author|expert|editor|professor"
    r"|police|judge|boss|ceo|creator|operator|reviewer)\b"
    r"|\b(?:pretend|role-?play|imagine you|act as|play the|let'?s (?:say|assume|pretend)|suppose you)\b"
    r"|\b(?:system|assistant|developer|admin\w*)\s*(?:prompt|message|note|override|mode)?\s*[:>\]]"
    r"|<\|?/?(?:system|assistant|im_start|im_end|tool|verdict)\b|\bdan\b.{0,20}\bmode\b|\bjailbreak"
    r"|\bi (?:took|shot|photographed|made|generated|know|swear|promise|guarantee|saw)\b.{0,60}"
    r"|\b(?:everyone|everybody|all (?:experts|the experts|other tools)|my boss|the court|other (?:ai|detectors?))\b"
    r".{0,40}\b(?:says?|agrees?|knows?|found|wants?|needs?|told|decided|ruled)\b"
    r"|\btrust me\b|\bbelieve me\b|\bhow many times\b|\bfor the last time\b|\bcome on\b|\bi insist\b|\badmit it\b"
    r"|\b(?:stop|quit) (?:hedging|being|saying)\b|\bi order you\b|\bfinal (?:answer|verdict) ?:",
    _I | re.DOTALL,
)
_COMPARE: Final = re.compile(
    r"\bcompar\w+|\bsame (?:picture|image|photo\w*|file) as\b|\b(?:second|other|another) (?:picture|image|photo)", _I
)
_RUN: Final = re.compile(
    r"\b(?:re-?run|run|use|try|apply|start|launch|execute|perform|call|invoke|do|redo|repeat)\b", _I
)
_NOT_AN_ORDER: Final = re.compile(
    r"\b(?:why|how|when|what|which|who|did(?:n't)?|do(?:es)?(?:n't)? you|don'?t|do not|does|not|never|without|if|was"
    r"|were|has|have|had|is it|before|after)\b",
    _I,
)
_LEFT_OUT: Final = re.compile(
    r"\b(?:all|every(?:thing)?|the rest|the others?|remaining|skipped|left out|missing|more)\b.{0,30}"
    r"\b(?:tools?|detectors?|checks?|tests?)?\b",
    _I,
)
_WHY_NOT: Final = re.compile(
    r"\bwhy\b.{0,40}\b(?:not|n't|never|skip\w*|left out|leave out|without)\b"
    r"|\b(?:did(?:n't)?|was|were|have|has)\b.{0,40}\b(?:run|used?|skipped|left out|examine\w*|tried)\b",
    _I,
)
_LOOK: Final = re.compile(
    r"\b(?:look|zoom|focus|check|examine|inspect|see|show|concentrate|re-?check|analy[sz]e|study|scan|consider|view)\b"
    r"|\bwhat about\b|\bhow about\b|\bclose[r]?\b(?: look)?|\bmagnif\w+|\benlarge\b",
    _I,
)
_AGAIN: Final = re.compile(
    r"\b(?:there|here|in (?:that|the|this) (?:box|part|area|region|place|spot)|same (?:box|part|area|region|place|spot)"
    r"|that (?:box|part|area|region|place|spot)|the box)\b",
    _I,
)
_EARLIER: Final = re.compile(
    r"\b(?:earlier|previous(?:ly)?|first|original(?:ly)?|before|initial(?:ly)?|last time|history)\b.{0,40}"
    r"\b(?:verdict|answer|say|said|report|label|conclusion)\b"
    r"|\b(?:verdict|answer|label|conclusion)s?\b.{0,40}\b(?:change[ds]?|earlier|before|previous|first)\b"
    r"|\bwhat (?:has )?changed\b|\bdid you change\b|\bhave you changed\b",
    _I,
)
_SOUGHT: Final[tuple[tuple[Intent, str], ...]] = (
        ("limits", r"\b(?:not|n't|un)\s?(?:\w+ )?(?:examin|look|check|cover|test)\w*|\blimit|\bmiss(?:ed|ing)?\b"
                   r"|\bleft out\b|\bblind spot|\bskipped\b"),
        ("change", r"\bchange\b.*\b(?:mind|verdict|answer|result|conclusion|opinion)|\bconvince\b|\bwhat if\b"
                   r"|\bdepends? on\b|\bovertur|\bwhat would (?:it take|make you|you need)|\bwithout the\b"),
        ("where", r"\bwhere\b|\b(?:which|what) (?:part|place|area|region)|\blocation\b|\bwhereabouts\b"),
        ("tools", r"\b(?:which|what|list)\b.*\b(?:tools?|checks?|methods?|detectors?|tests?)\b"
                  r"|\bhow (?:did|do) you (?:check|test|examine|work)"),
        ("sure", r"\bhow (?:sure|certain|confident|likely|reliable|probable|strong)|\bconfiden|\bprobab|\binterval\b"
                 r"|\bprior\b|\bcertain(?:ty)?\b|\bsure\b|\bodds\b|\bchance\b"),
        ("why", r"\bwhy\b|\breasons?\b|\bevidence\b|\bbecause\b|\bhow come\b|\bhow do you know\b|\bbased on\b"
                r"|\bexplain\b|\bsigns?\b|\bspeaks? (?:for|against)\b"),
        ("verdict", r"\b(?:is|was) (?:it|this|that|the (?:picture|image|photo\w*))\b.*\b(?:real|fake|ai|generated"
                    r"|edited|altered|photo\w*|authentic|genuine|manipulated|synthetic)\b"
                    r"|\b(?:verdict|conclusion|result|summary)\b|^\s*(?:so|well|and)\s*\??\s*$"),
)  # fmt: skip
_TOLD: Final = tuple((name, re.compile(pattern, _I)) for name, pattern in _SOUGHT)


def understand(
    question: str,
    *,
    tools: Iterable[str],
    region: Region | None = None,
    picture: bool = False,
    last_region: Region | None = None,
    awaits_box: bool = False,
) -> Understood:
    """What `question` asks for.

    Args:
        question: Data, never an instruction.
        tools: Names of the catalogue.
        region: The box that the person drew with it.
        picture: Whether a second picture came with it.
        last_region: The box of an earlier question of this thread.
        awaits_box: Whether the last answer asked for a box.
    """
    asked = " ".join(question[:MOST].split())
    named = _named(asked, tools)
    pressed = bool(_PRESSURE.search(asked))
    things = tuple(sorted(wording.contents(asked)))
    order = _orders(asked)
    if picture:
        return Understood("compare", pressed=pressed)
    if region is not None:
        return Understood("box", named, things, region, pressed)
    if last_region is not None and _AGAIN.search(asked) and (order or _LOOK.search(asked)):
        return Understood("box", named, things, last_region, pressed)
    if _EARLIER.search(asked) and not pressed:
        return Understood("earlier")
    if order and named:
        return Understood("run", named, pressed=pressed)
    if order and re.search(r"\b(?:tools?|detectors?|checks?|tests?|everything|the rest|skipped)\b", asked, _I):
        if _LEFT_OUT.search(asked):
            return Understood("run", (), pressed=pressed)
        if not pressed:
            return Understood("tools")
    if named and _WHY_NOT.search(asked):
        return Understood("why_not", named, pressed=pressed)
    if _COMPARE.search(asked) and not pressed:
        return Understood("no_picture")
    place = _place(asked)
    if _LOOK.search(asked) and place is not None and not things:
        return Understood("box", named, (), place, pressed)
    if things and not pressed:
        return Understood("look", named, things)
    if re.search(r"\b(?:zoom|look closer|closer look|magnif\w+|enlarge)\b", asked, _I):
        return Understood("look", named, things, pressed=pressed)
    if pressed and not asked.endswith("?"):
        return Understood("pressure", named, pressed=True)
    told = next((name for name, pattern in _TOLD if pattern.search(asked)), None)
    if pressed:
        return Understood(told if told in ("change", "why", "where", "sure") else "pressure", named, pressed=True)
    if told is not None:
        return Understood(told, named)
    return Understood("look" if awaits_box and _LOOK.search(asked) else "other", named)


def _named(asked: str, tools: Iterable[str]) -> tuple[str, ...]:
    """The tools that are named, the longer name first, so that `inversion` is not read out of `inversion_sd`."""
    rest, found = asked, set()
    for name in sorted(tools, key=lambda name: (-len(name), name)):
        pattern = re.compile(rf"\b{re.escape(name).replace('_', '[_ -]')}\b", _I)
        if pattern.search(rest):
            found.add(name)
            rest = pattern.sub(" ", rest)
    return tuple(name for name in sorted(tools) if name in found)


def _orders(asked: str) -> bool:
    """Whether some clause orders something to be run, and does not only speak of it."""
    for clause in re.split(r"[.;!]|\bthen\b|\band (?=run|use|try)|, (?=run|use|try|please)", asked, flags=_I):
        verb = _RUN.search(clause)
        if verb and not _NOT_AN_ORDER.search(
            re.sub(r"^\W*(?:why not|what if you|how about you)\b", "", clause[: verb.start()])
        ):
            return True
    return False


def _place(asked: str) -> Region | None:
    """The part of a 3x3 grid that words name, as a box; None where they name none, or several."""
    found = wording.places(asked)
    if len(found) != 1:
        return None
    (place,) = found
    (top, bottom), (left, right) = ((0, 3) if at is None else (at, at + 1) for at in (place.row, place.column))
    return Region(x0=left / 3, y0=top / 3, x1=right / 3, y1=bottom / 3)
