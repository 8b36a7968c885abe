"""What a question about a case asks for: one of a closed set of intents, by explicit rules.

A question is data. The rules look for what may be done with a case, and for nothing else: no wording reaches the
verdict, which only evidence can change.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Final, Literal

from agent import wording
from tools.contract import Region

Intent = Literal[
    "why", "where", "sure", "limits", "tools", "change", "verdict", "earlier",  # told from the case
    "tool",  # told of the tools that are named
    "look", "box", "run", "compare", "no_picture",  # something is done, or asked for
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
    r".{0,30}\b(?:to|as|is|be|at|real|fake|authentic|genuine|generated|edited|high|low|\d)"
    r"|\b(?:translate|rewrite|reword|rephrase|convert|correct|revise|fix)\b.{0,30}\b(?:verdict|answer|label|conclusion)\b"
    r"|\b(?:debug|developer|god|admin\w*|maintenance|test) mode\b|\bi (?:disagree|don'?t (?:agree|believe))\b"
    r"|\b(?:clearly|obviously|plainly|definitely|certainly|undoubtedly)\b.{0,20}\b(?:real|fake|genuine|authentic|ai|generated"
    r"|edited|a photo\w*)\b|\bthis is (?:the|your|an?) (?:\w+ )?(?:developer|admin\w*|owner|operator|police|court)\b"
    r"|\b(?:say|state|write|answer|reply|respond|output|print|repeat|confirm|admit|agree|conclude|declare)\b.{0,40}"
    r"\b(?:that )?(?:it|this|the (?:picture|image|photo\w*|verdict))\b.{0,20}\b(?:is|was|as)\b"
    r"|\b(?:just|only|simply) (?:say|answer|reply|write|output|confirm|admit)\b"
    r"|\byou (?:must|have to|should|will|shall|are (?:now|no longer|wrong|mistaken|required|ordered))\b"
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
    r"\bcompar\w+|\bsame (?:picture|image|photo\w*|file) as\b"
    r"|\b(?:two|both) (?:pictures|images|photo\w*|files)\b|\b(?:second|other|another) (?:picture|image|photo)",
    _I,
)
_RUN: Final = re.compile(
    r"\b(?:re-?run|run|use|try|apply|start|launch|execute|perform|call|invoke|do(?! not\b|n't)|redo|repeat)\b", _I
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
_KNOWN_AS: Final[dict[str, re.Pattern[str]]] = {
    name: re.compile(pattern, _I)
    for name, pattern in (
        ("provenance", r"\bmeta-?data\b|\bexif\b|\bc2pa\b|\bcontent credentials?\b|\bsigned\b|\bsignatures?\b"
                       r"|\borigin\b"
                       r"|\b(?:which|what) (?:model|generator|ai|software|camera)\b|\bmidjourney\b|\bdall"
                       r"|\bstable diffusion\b"
                       r"|\bfirefly\b|\bflux\b|\bgemini\b"),
        ("compression", r"\bcompressed\b|\bjpe?g quality\b|\bre-?saved\b"),
        ("splice", r"\bspliced\b|\bpasted\b"),
        ("frequency", r"\bspectrum\b|\bfrequencies\b"),
    )
}  # fmt: skip
"""What tools are about, where a question names what they look at."""
_LOOK: Final = re.compile(
    r"\b(?:look|zoom|focus|check|examine|inspect|see|show|concentrate|re-?check|analy[sz]e|study|scan|consider|view)\b"
    r"|\bwhat about\b|\bhow about\b|\bclose[r]?\b(?: look)?|\bmagnif\w+|\benlarge\b",
    _I,
)
_LOOK_ORDER: Final = re.compile(
    r"^\W*(?:(?:please|now|then|and|can you|could you|would you|will you|also|go|just)\W+)*"
    r"(?:look|zoom|focus|check|examine|inspect|magnif\w+|enlarge)\b",
    _I,
)
_AT: Final = re.compile(
    r"\b(?:in|at|on|to|into|near|of) (?:the |its )?(?:very )?"
    r"(?:top|bottom|upper|lower|left|right|middle|centre|center)\b"
    r"(?![- ](?:hand|eye|ear|arm|leg|foot|cheek)\b)",
    _I,
)
_PLEASE: Final = re.compile(r"\bplease\b|\btoo\W*$", _I)
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
        ("limits", r"(?:\bnot|n't"
                   r"|\bun)\s?(?:\w+ ){0,2}(?:examin|look|check|cover|test|run\b|telling|saying|consider)\w*"
                   r"|\blimit|\bmiss(?:ed|ing)?\b"
                   r"|\bleft out\b|\bblind spot|\bskipped\b"),
        ("change", r"\bchange\b.*\b(?:mind|verdict|answer|result|conclusion|opinion)|\bconvince\b|\bwhat if\b"
                   r"|\bdepends? on\b|\bovertur|\bflip\b|\bcircumstances\b"
                   r"|\bwhat would (?:it take|make you|you need)|\bwithout the\b"),
        ("where", r"\bwhere\b|\b(?:show|mark|highlight|list)\b.*\b(?:parts?|places?|areas?|regions?|spots?)\b"
                  r"|\b(?:which|what) (?:part|place|area|region)|\blocation\b|\bwhereabouts\b"),
        ("tools", r"\b(?:which|what|list)\b.*\b(?:tools?|checks?|methods?|detectors?|tests?)\b"
                  r"|\bhow (?:did|do) you (?:check|test|examine|work)"),
        ("sure", r"\bhow (?:sure|certain|confident|likely|reliable|probable|strong)|\bconfiden|\bprobab|\binterval\b"
                 r"|\bprior\b|\bcertain(?:ty)?\b|\bsure\b|\bodds\b|\bchance\b|\bdecibans?\b"),
        ("why", r"\bwhy\b|\breasons?\b|\bevidence\b|\bbecause\b|\bhow come\b|\bhow do you know\b|\bbased on\b"
                r"|\bexplain\b|\bsigns? of\b|\bwhat signs\b|\bsumm?ar\w+|\bfindings?\b|\boverview\b"
                r"|\bspeaks? (?:for|against)\b"),
        ("verdict", r"\b(?:is|was) (?:it|this|that|the (?:picture|image|photo\w*))\b.*\b(?:real|fake|ai|generated"
                    r"|edited|altered|photo\w*|authentic|genuine|manipulated|synthetic)\b"
                    r"|\b(?:verdict|conclusion|result)s?\b|^\s*(?:so|well|and)\s*\??\s*$"),
)  # fmt: skip
_TOLD: Final = tuple((name, re.compile(pattern, _I)) for name, pattern in _SOUGHT)


def understand(
    question: str,
    *,
    tools: Collection[str],
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
    place = _place(asked)
    if order and named:
        if place is not None:
            return Understood("box", named, things, place, pressed)
        return Understood("run", named, pressed=pressed)
    if order and re.search(r"\b(?:tools?|detectors?|checks?|tests?|everything|the rest|skipped)\b", asked, _I):
        if _LEFT_OUT.search(asked):
            return Understood("run", (), pressed=pressed)
        if not pressed:
            return Understood("tools")
    told = next((name for name, pattern in _TOLD if pattern.search(asked)), None)
    if named and not pressed and told != "change":
        wants = _PLEASE.search(asked) and not asked.endswith("?") and not _NOT_AN_ORDER.search(asked)
        return Understood("run" if wants else "tool", named)
    if _COMPARE.search(asked) and not pressed:
        return Understood("no_picture")
    if place is not None and _LOOK.search(asked):
        return Understood("box", named, things, place, pressed)
    if things and not pressed:
        return Understood("look", named, things)
    if re.search(r"\b(?:zoom|look closer|closer look|magnif\w+|enlarge)\b", asked, _I):
        return Understood("look", named, things, pressed=pressed)
    if pressed and not asked.endswith("?"):
        return Understood("pressure", named, pressed=True)
    if pressed:
        return Understood(told if told in ("change", "why", "where", "sure") else "pressure", named, pressed=True)
    spoken = tuple(name for name in tools if name in _KNOWN_AS and _KNOWN_AS[name].search(asked))
    if spoken and told in (None, "verdict"):
        return Understood("tool", spoken)
    if told is not None:
        return Understood(told, named)
    if _LOOK_ORDER.search(asked) or (awaits_box and _LOOK.search(asked)):
        return Understood("look", named)
    return Understood("other", named)


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
    if not _AT.search(asked):
        return None
    found = wording.places(asked)
    if len(found) != 1:
        return None
    (place,) = found
    (top, bottom), (left, right) = ((0, 3) if at is None else (at, at + 1) for at in (place.row, place.column))
    return Region(x0=left / 3, y0=top / 3, x1=right / 3, y1=bottom / 3)
