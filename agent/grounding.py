"""Grounding: a sentence stays only where what it cites says the same.

Checked of every sentence, against the evidence that it cites and nothing else: the ids exist, and so do the tools it
names; its numbers, with their units and as far as their digits go; its places; the direction in which it says that the
evidence speaks; what it is about; and that its words are no stronger than the number. What fails is dropped with the
reason. The rules are lexical (`agent.wording`, `agent.numerals`): no model judges a model here.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache

from agent import degrees, standing, wording
from agent import subjects as about
from agent.basis import VERDICT, Basis, basis_of
from agent.numerals import quantities
from agent.probabilities import numbers
from agent.quoting import normal, without_quotes
from agent.verdict import Contribution, DroppedSentence, Sentence, Verdict
from agent.vocabulary import GLOSSARY, STOP_WORDS
from tools.contract import Evidence, Frozen, Region

_TOOLS = (
    "frequency",
    "patch",
    "inversion",
    "inversion_sd",
    "semantic",
    "compression",
    "splice",
    "provenance",
    "vision",
)
_CONFIDENCE = re.compile(
    r"\b(high|moderate|low)\s+confidence\b|\bconfidence\b[^.;]{0,40}\b(high|moderate|low|none)\b", re.IGNORECASE
)
_EVEN = wording.band(0.5)
_AS_GOOD_AS_EVEN = 0.02
"""How far from even a probability may be told as leaning the other way."""
_PROBABILITY = re.compile(r"\bprobab|\bchance\b|\bodds\b|\blikelihood\b|\binterval\b|\bprior\b", re.I)


class Grounded(Frozen):
    """What stays of an explanation, and what was dropped."""

    kept: tuple[Sentence, ...]
    dropped: tuple[DroppedSentence, ...]


def ground(
    sentences: Iterable[Sentence],
    verdict: Verdict,
    contributions: tuple[Contribution, ...],
    evidence: tuple[Evidence, ...],
) -> Grounded:
    """Keeps the sentences that what they cite supports, in their order; drops the others with the reason."""
    kept: list[Sentence] = []
    dropped: list[DroppedSentence] = []
    for sentence in sentences:
        because = objection(sentence, verdict, contributions, evidence)
        if because is None:
            kept.append(sentence)
        else:
            dropped.append(DroppedSentence(text=sentence.text, cites=sentence.cites, because=because))
    return Grounded(kept=tuple(kept), dropped=tuple(dropped))


def objection(
    sentence: Sentence, verdict: Verdict, contributions: tuple[Contribution, ...], evidence: tuple[Evidence, ...]
) -> str | None:
    """Why `sentence` may not stand, in plain English; None where it may."""
    text = normal(sentence.text)
    if len(re.findall(r"\w+", text)) < 4 and not text.lower().startswith("not examined"):
        return "It is not a whole sentence."
    if text.rstrip("”\"' ").endswith("?") and "“" not in text:
        return "It asks, and states nothing."
    if not sentence.cites:
        return "It cites no evidence."
    by_id = {item.id: item for item in evidence}
    for cite in sentence.cites:
        if cite != VERDICT and cite not in by_id:
            return f"It cites “{cite}”, which is not among the evidence."
    cited = [by_id[cite] for cite in dict.fromkeys(sentence.cites) if cite != VERDICT]
    basis = basis_of(cited, verdict if VERDICT in sentence.cites else None, verdict, contributions)
    rest = without_quotes(text, basis)
    if rest.because:
        return rest.because
    said = rest.text
    named = _tools_named(said, evidence)
    for name in sorted(named):
        if not any(name in (item.detector.lower(), item.id.lower()) for item in cited):
            return f"It speaks of the tool “{name}” without citing it."
    case = standing.Case(verdict, contributions, evidence, tuple(cited))
    because = standing.sides(said, case) or standing.denial(said, case)
    for judge in (standing.kind, standing.weight, standing.absence):
        because = because or judge(said, basis, case)
    for check in (numbers, _directions, _strength, _where, _subject):
        because = because or check(said, basis)
    return because


def _tools_named(text: str, evidence: tuple[Evidence, ...]) -> set[str]:
    names = {name.lower() for item in evidence for name in (item.detector, item.id)} | set(_TOOLS)
    found = set()
    for name in sorted(names, key=lambda name: (-len(name), name)):
        if _as_tool(name).search(text):
            found.add(name)
        if "_" in name:  # so that “inversion” is not read out of “inversion sd”
            text = re.sub(rf"\b{_spelt(name)}\b", "it", text, flags=re.IGNORECASE)
    listed = _LISTED.search(text)
    for name in re.split(r", (?:and )?| and ", listed["names"].lower()) if listed else ():
        named = re.sub(r"^the | tools?$| \(.*$|[ .]+$", "", name.strip()).replace(" ", "_")
        found |= {each for each in names if each.replace(" ", "_") == named}
    return found


_LISTED = re.compile(r"\b(?:tools|checks|detectors)\b[^:“]*: (?P<names>[^:“]+)$", re.IGNORECASE)
"""Names of tools after a colon, which no word marks as tools."""


def _spelt(name: str) -> str:
    return re.escape(name).replace("_", "[_ ]")


@lru_cache(maxsize=256)
def _as_tool(name: str) -> re.Pattern[str]:
    word = _spelt(name)
    return re.compile(
        rf"\b{word}\b(?: \w+)?[ -](?:tool|check|detector|evidence|test|examination)\b"
        rf"|\b(?:by|through|from|according to|to|than) {word}\b(?! \w*(?:of|model|at|in)\b)"
        rf"|(?:^|[.;,:] ?|\b(?:what|because|that|and) )(?:the )?{word} (?:abstain|add|contribut|lower|rais|found"
        rf"|find|reports?|speak|make|says?|said|marks?|sees|saw|"
        rf"points?|suggests?|favours?|supports?|did|could|gave|shows?|also)",
        re.IGNORECASE,
    )


def _directions(text: str, basis: Basis) -> str | None:
    if wording.calls_real(text) and not basis.authentic:
        return "It calls the picture real or authentic, and only a trusted signature can say so."
    if about.says_abstained(text) and not basis.abstained and basis.scored:
        return "It says that a tool gave no judgement, and the tool did."
    if basis.abstained and not basis.scored and text.strip(" “”.") and not about.denies_anything(text):
        return "It makes a finding out of a tool that gave no judgement."
    for claim in wording.claims(text):
        if claim.sign == "even" and claim.target not in basis.even:
            return "It says that the question stands even, and the number does not."
        told = bool(_PROBABILITY.search(claim.clause) and quantities(claim.clause) and claim.target != "camera")
        if told and not re.search(r"(?<!even )\bodds\b|\bdeciban", claim.clause, re.I):
            continue  # the number was checked with its side, and is the claim
        allowed = (
            basis.weighs if basis.weighed and wording.ABOUT_WEIGHT.search(claim.clause) else basis.speaks | basis.weighs
        )
        if claim.sign == "even":
            continue
        if claim.sign in ("for", "against"):
            if (claim.target, claim.sign) not in allowed:
                return f"What it cites does not speak {claim.sign} {wording.NAMED[claim.target]}."
        elif basis.abstained and not basis.scored and claim.sign == "absent" and not about.says_abstained(claim.clause):
            return "It makes a finding out of a tool that gave no judgement."
        elif claim.sign == "absent" and claim.target == "generated" and basis.none_found:
            continue
        elif (claim.target, "for") in basis.speaks | basis.weighs and not (
            basis.undecided and claim.sign == "undecided"
        ):
            return f"It says that nothing speaks for {wording.NAMED[claim.target]}, and what it cites does."
    return None


def _strength(text: str, basis: Basis) -> str | None:
    claims = [claim for claim in wording.claims(text) if claim.sign in ("for", "against")]
    for claim, grade in degrees.likelihoods(text):
        chance = basis.chances.get(claim.target)
        if chance is None or basis.decided:
            continue
        told, held = grade - _EVEN, wording.band(chance) - _EVEN
        other_side = told * (chance - 0.5) < 0 and abs(chance - 0.5) > _AS_GOOD_AS_EVEN
        if other_side or told * held < 0 or abs(told - held) > 1:
            return "Its words of likelihood are not those of the number."
    if wording.certain(text):
        return "It claims certainty, which no evidence here gives."
    graded = _CONFIDENCE.search(text)
    if graded and (graded[1] or graded[2]).lower() != basis.confidence:
        return "It gives the verdict another confidence than it has."
    if not claims:
        return None
    if any(claim.flat and basis.level(claim.target, claim.sign) < 0.95 for claim in claims):
        return "It states as a fact what the evidence only makes more or less likely."
    if re.search(r"\b(?:more|less) (?:likely|probable)\b(?! than not)", text, re.I):
        return None
    most = max(basis.level(claim.target, claim.sign) for claim in claims)
    if degrees.least_level(text) > most:
        return "Its words are stronger than the number."
    if degrees.most_level(text) < most and not basis.weighed and not basis.decided:
        return "Its words are weaker than the number."
    return None


def _where(text: str, basis: Basis) -> str | None:
    source = basis.text
    in_words = wording.places(source)
    for place in wording.places(text):
        if place in in_words or any(_inside(region, place) for region in basis.regions):
            continue
        return "What it cites has no finding at that place."
    part_only = basis.regions and not basis.everywhere and not any(region.covers_most for region in basis.regions)
    if part_only and wording.names_whole(text) and not wording.names_whole(source):
        return "It speaks of the whole picture, and what it cites is about a part."
    extra = wording.contents(text) - wording.contents(source)
    if extra:
        return f"What it cites says nothing of “{sorted(extra)[0]}”."
    return None


def _inside(region: Region, place: wording.Place) -> bool:
    if region.covers_most:
        return False
    for band, low, high in ((place.column, region.x0, region.x1), (place.row, region.y0, region.y1)):
        middle = (low + high) / 2
        if band is not None and not band / 3 - 0.04 <= middle <= (band + 1) / 3 + 0.04:
            return False
    return True


def _subject(text: str, basis: Basis) -> str | None:
    source = basis.text
    there = about.subjects(source)
    for name, present in about.subjects(text).items():
        if name not in there and name not in basis.topics:
            return f"What it cites is not about {name}."
        if name == "peaks" and name in there and there[name] != present:
            return "It says of a sign that it is there, or is not, and what it cites says otherwise."
    if {about.relation(text), about.relation(source)} == {"same", "differs"}:
        return "It says that things differ, or are the same, and what it cites says otherwise."
    ours, theirs = about.comparisons(text), about.comparisons(source)
    if ours and theirs and not ours & theirs:
        return "It turns a comparison round."
    for name in _proper_names(text):
        if name.lower() not in source.lower():
            return f"It names “{name}”, which what it cites does not."
    words = [word for word in re.findall(r"[a-z]{3,}", text.lower()) if word not in STOP_WORDS]
    known = {_stem(word) for word in re.findall(r"[a-z]{3,}", source.lower())} | _glossary()
    known |= {stem for name in basis.topics for stem in _topic(name)}
    told = {_stem(word) for word in re.findall(r"[a-z]{3,}", source.lower()) if word not in STOP_WORDS}
    says = wording.claims(text) or quantities(text) or wording.places(text) or about.subjects(text)
    if not says and "“" not in text and not about.says_abstained(text) and not told & {_stem(word) for word in words}:
        return "It says nothing of what it cites."
    strange = [word for word in words if _stem(word) not in known]
    if len(strange) > 1 and len(strange) > 0.5 * len(words):
        return f"It speaks of things that what it cites does not: {', '.join(strange[:3])}."
    return None


_KNOWN_NAMES = frozenset(
    [
        "AI",
        "JPEG",
        "JPG",
        "PNG",
        "EXIF",
        "IPTC",
        "XMP",
        "C2PA",
        "DCT",
        "PX",
        "RGB",
        "I",
        "It",
        "The",
        "GPU",
        "WEBP",
        "HEIC",
        "AVIF",
        "TIFF",
        "GIF",
        "LLM",
    ]
)


def _proper_names(text: str) -> list[str]:
    """Capitalised words inside clauses; the first word of a sentence may be capitalised for that reason alone."""
    names = []
    for match in re.finditer(r"(?<![.!?:“\"] )(?<!^)(?<![“\"'])\b[A-Z][A-Za-z]{2,}\b", text):
        if match[0] not in _KNOWN_NAMES:
            names.append(match[0])
    return names


@lru_cache
def _glossary() -> frozenset[str]:
    return frozenset(_stem(word) for word in GLOSSARY)


@lru_cache
def _topic(name: str) -> frozenset[str]:
    return frozenset(_stem(word) for word in re.findall(r"[a-z]{4,}", about.SUBJECTS[name].pattern))


@lru_cache(maxsize=8192)
def _stem(word: str) -> str:
    for suffix in ("ations", "ation", "ingly", "ings", "ness", "ing", "edly", "ies", "ed", "ly", "es", "s", "e"):
        if word.endswith(suffix) and len(word) - len(suffix) >= 3:
            return word[: -len(suffix)]
    return word
