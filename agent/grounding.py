"""Grounding: a sentence stays only where what it cites says the same.

Checked of every sentence, against the evidence that it cites and nothing else: the ids exist, and so do the tools it
names; its numbers, with their units and as far as their digits go; its places; the direction in which it says that the
evidence speaks; what it is about; and that its words are no stronger than the number. What fails is dropped with the
reason. The rules are lexical (`agent.wording`, `agent.numerals`): no model judges a model here.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import lru_cache

from agent import wording
from agent.numerals import Known, from_mapping, quantities, same
from agent.verdict import Contribution, DroppedSentence, Sentence, Verdict
from tools.contract import Evidence, Finding, Frozen, Region

VERDICT = "verdict"
"""The id by which a sentence cites the verdict itself: its probabilities, interval, label and what was not examined."""

HOUSE_RULES = (
    "That no sign was found is not proof that the picture is a photograph",
    "The claim is the signer's: it is as good as the signer, and says nothing about what the picture shows",
    "A signature by a signer on the trust list would decide the question, in either direction",
    "A copy of the file that was saved less often, or is larger, could change what the tools see",
    "10 decibans are odds of 10 to 1",
    "This case holds nothing that answers this question",
    "It can be asked about the verdict and its reasons, the places, how sure it is, the tools, what was not examined, "
    "and what would change it",
    "Evidence that is not calibrated carries no weight in the verdict",
)
"""Sentences about how Exposit works: true of every case, and quoted word for word under the id of the verdict."""

_TOOLS = ("frequency", "patch", "inversion", "semantic", "compression", "splice", "provenance", "vision")
_MOST_SEVERE = {"info": 0.55, "weak": 0.65, "moderate": 0.8, "strong": 0.92}
_DENIES_QUOTE = re.compile(
    r"\bnot (?:true|the case|so|right|correct)\b|\buntrue\b|\bfalse(?:ly)?\b|\bwrong(?:ly)?\b|\bcontrary\b", re.I
)
_ABOUT_WEIGHT = re.compile(r"\bdecibans?\b|\bodds\b|\blikel|\bprobab|\bplausib|\blikelihood\b|\bweigh", re.I)
_NEEDS = {
    "weight": _ABOUT_WEIGHT,
    "without": re.compile(r"\bwithout\b|\bleft out\b|\bleaving out\b|\bhad\b.*\bnot\b|\bremov|\bif\b", re.I),
    "prior": re.compile(r"\bprior\b|\bodds\b|\bstart\w*|\bbeforehand\b|\bassum\w+", re.I),
    "interval": re.compile(r"\binterval\b|\bconfiden\w+", re.I),
    "count": re.compile(r"\btools?\b|\bchecks?\b|\bpieces?\b|\bdetectors?\b", re.I),
}
"""Numbers that may be told only in a clause that says what they are."""
_PROBABILITY = re.compile(r"\bprobab|\bchance\b|\bodds\b|\blikelihood\b|\binterval\b|\bprior\b", re.I)
_STOP = frozenset(
    [
        "a",
        "about",
        "above",
        "after",
        "all",
        "almost",
        "also",
        "although",
        "am",
        "an",
        "and",
        "any",
        "are",
        "around",
        "as",
        "at",
        "be",
        "because",
        "been",
        "before",
        "being",
        "below",
        "between",
        "both",
        "but",
        "by",
        "can",
        "come",
        "comes",
        "could",
        "did",
        "do",
        "does",
        "each",
        "either",
        "every",
        "far",
        "few",
        "for",
        "from",
        "further",
        "had",
        "has",
        "have",
        "here",
        "how",
        "however",
        "if",
        "in",
        "into",
        "is",
        "it",
        "its",
        "itself",
        "just",
        "less",
        "lie",
        "lies",
        "like",
        "made",
        "make",
        "makes",
        "may",
        "might",
        "more",
        "most",
        "much",
        "must",
        "nearly",
        "neither",
        "no",
        "nobody",
        "none",
        "nor",
        "not",
        "nothing",
        "of",
        "off",
        "on",
        "once",
        "one",
        "only",
        "or",
        "other",
        "out",
        "over",
        "own",
        "per",
        "put",
        "quite",
        "rather",
        "roughly",
        "same",
        "say",
        "says",
        "see",
        "seen",
        "sees",
        "she",
        "should",
        "since",
        "so",
        "some",
        "such",
        "than",
        "that",
        "the",
        "their",
        "them",
        "then",
        "there",
        "these",
        "they",
        "this",
        "those",
        "though",
        "through",
        "to",
        "together",
        "too",
        "towards",
        "toward",
        "under",
        "until",
        "up",
        "upon",
        "very",
        "was",
        "way",
        "well",
        "were",
        "what",
        "when",
        "where",
        "which",
        "while",
        "who",
        "whose",
        "why",
        "will",
        "with",
        "within",
        "without",
        "would",
        "yet",
        "you",
        "your",
    ]
)
_GLOSSARY = frozenset(
    [
        "picture",
        "image",
        "photo",
        "photograph",
        "file",
        "frame",
        "area",
        "part",
        "region",
        "place",
        "corner",
        "edge",
        "side",
        "left",
        "right",
        "top",
        "bottom",
        "upper",
        "lower",
        "centre",
        "center",
        "middle",
        "hand",
        "evidence",
        "tool",
        "check",
        "test",
        "finding",
        "result",
        "report",
        "explain",
        "examination",
        "analysis",
        "verdict",
        "answer",
        "judge",
        "judgement",
        "score",
        "number",
        "probability",
        "chance",
        "odds",
        "likely",
        "unlikely",
        "likelihood",
        "likelier",
        "plausible",
        "prior",
        "interval",
        "even",
        "given",
        "percent",
        "decibans",
        "deciban",
        "time",
        "fold",
        "pixel",
        "generat",
        "generation",
        "generative",
        "generator",
        "model",
        "ai",
        "synthetic",
        "artificial",
        "origin",
        "camera",
        "capture",
        "taken",
        "edit",
        "alter",
        "manipulat",
        "edited",
        "editing",
        "real",
        "fake",
        "sign",
        "trace",
        "hint",
        "mark",
        "indication",
        "indicate",
        "suggest",
        "point",
        "speak",
        "show",
        "find",
        "found",
        "saw",
        "look",
        "visible",
        "stand",
        "typical",
        "unlike",
        "differ",
        "expect",
        "support",
        "favour",
        "favor",
        "contribute",
        "add",
        "rais",
        "lower",
        "lean",
        "tip",
        "weight",
        "balance",
        "whole",
        "rest",
        "remainder",
        "surrounding",
        "surround",
        "neighbourhood",
        "background",
        "strong",
        "weak",
        "strongest",
        "stronger",
        "slight",
        "somewhat",
        "moderate",
        "certain",
        "proof",
        "prove",
        "guarantee",
        "settle",
        "open",
        "examined",
        "unexamined",
        "examine",
        "cover",
        "remain",
        "limit",
        "reason",
        "conflict",
        "against",
        "metadata",
        "signature",
        "signer",
        "signed",
        "unsigned",
        "claim",
        "state",
        "trust",
        "list",
        "forge",
        "apply",
        "applied",
        "small",
        "large",
        "size",
        "least",
        "fewer",
        "many",
        "lost",
        "fine",
        "high",
        "low",
        "higher",
        "smaller",
        "larger",
        "great",
        "worse",
        "better",
        "back",
        "tend",
        "common",
        "carry",
        "hold",
        "contain",
        "store",
        "inside",
        "text",
        "software",
        "according",
        "possible",
        "possibly",
        "maybe",
        "absence",
        "turn",
    ]
)


class Grounded(Frozen):
    """What stays of an explanation, and what was dropped."""

    kept: tuple[Sentence, ...]
    dropped: tuple[DroppedSentence, ...]


@dataclass
class _Basis:
    """Everything that the cited evidence allows a sentence to say."""

    texts: list[str] = field(default_factory=list)
    numbers: list[Known] = field(default_factory=list)
    regions: list[Region] = field(default_factory=list)
    speaks: set[tuple[str, str]] = field(default_factory=set)
    weighs: set[tuple[str, str]] = field(default_factory=set)
    topics: set[str] = field(default_factory=set)
    level: float = 0.5
    weighed: bool = False
    scored: bool = False
    abstained: bool = False
    everywhere: bool = False
    decided: bool = False
    authentic: bool = False
    undecided: bool = False
    even: set[str] = field(default_factory=set)

    @property
    def text(self) -> str:
        return ". ".join(self.texts)


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
    text = _normal(sentence.text)
    if not text.strip():
        return "The sentence is empty."
    if not sentence.cites:
        return "It cites no evidence."
    by_id = {item.id: item for item in evidence}
    for cite in sentence.cites:
        if cite != VERDICT and cite not in by_id:
            return f"It cites “{cite}”, which is not among the evidence."
    cited = [by_id[cite] for cite in dict.fromkeys(sentence.cites) if cite != VERDICT]
    named = _tools_named(text, evidence)
    for name in sorted(named):
        if not any(name in (item.detector.lower(), item.id.lower()) for item in cited):
            return f"It speaks of the tool “{name}” without citing it."
    basis = _basis(cited, verdict if VERDICT in sentence.cites else None, verdict, contributions)
    said = _without_quotes(text, basis)
    if said is None:
        return "It denies what it quotes."
    for check in (_numbers, _directions, _strength, _where, _subject):
        because = check(said, basis)
        if because:
            return because
    return None


def _normal(text: str) -> str:
    for odd, plain in (("\u00a0", " "), ("\u202f", " "), ("−", "-"), ("’", "'")):
        text = text.replace(odd, plain)
    return re.sub(r"\s+", " ", text)


def _tools_named(text: str, evidence: tuple[Evidence, ...]) -> set[str]:
    names = {name.lower() for item in evidence for name in (item.detector, item.id)} | set(_TOOLS)
    return {name for name in names if _as_tool(name).search(text)}


@lru_cache(maxsize=256)
def _as_tool(name: str) -> re.Pattern[str]:
    word = re.escape(name)
    return re.compile(
        rf"\b{word}\b(?: \w+)?[ -](?:tool|check|detector|evidence|test|examination)\b"
        rf"|\b(?:by|through|from|according to|to|than) {word}\b(?! \w*(?:of|model|at|in)\b)"
        rf"|(?:^|[.;,:] ?|\b(?:what|because|that|and) )(?:the )?{word} (?:abstain|add|contribut|lower|rais|found|find|reports?|speak|make|says?|said|marks?|sees|saw|"
        rf"points?|suggests?|favours?|supports?|did|could|gave|shows?|also)",
        re.IGNORECASE,
    )


def _basis(
    cited: list[Evidence], verdict: Verdict | None, whole: Verdict, contributions: tuple[Contribution, ...]
) -> _Basis:
    basis = _Basis()
    ids = {item.id for item in cited}
    levels = []
    for item in cited:
        levels.append(_take_evidence(basis, item))
    for entry in contributions:
        if entry.evidence_id not in ids:
            continue
        basis.weighed = True
        basis.texts.append(entry.because)
        size = abs(entry.llr)
        basis.numbers += [
            Known(entry.decibans, "db"),
            Known(entry.llr, None, "weight"),
            Known(math.exp(min(size, 50.0)), "times", "weight"),
            Known(_without(entry, whole), "fraction", "without"),
        ]
        if size > 0.005:
            basis.weighs.add((entry.target, "for" if entry.llr > 0 else "against"))
        levels.append(1 / (1 + math.exp(-min(size, 50.0))))
    for conflict in whole.conflicts:
        if ids & set(conflict.evidence_ids) or verdict is not None:
            basis.texts.append(conflict.text)
    if verdict is not None:
        levels = [_take_verdict(basis, verdict)] + (levels if verdict.decided_by == "provenance" else [])
        basis.numbers.append(Known(len(contributions), None, "count"))
    basis.numbers.append(Known(len(ids), None, "count"))
    basis.level = max(levels, default=0.5)
    return basis


def _take_evidence(basis: _Basis, item: Evidence) -> float:
    texts = [finding.text for finding in item.findings] + list(item.limits)
    texts += [ref.caption for ref in item.maps]
    if item.abstained_because is not None:
        basis.abstained = True
        texts.append(item.abstained_because)
    else:
        basis.scored = True
    level = 0.5
    basis.topics |= wording.TOPICS.get(item.detector, set()) | set(wording.subjects(item.detector.replace("_", " ")))
    for claim in item.claims:
        texts += [claim.source, claim.detail, claim.signer or "", claim.generator or "", claim.prompt or ""]
        basis.topics |= {"metadata", "prompt"} if claim.prompt else {"metadata"}
        if claim.rank == "trusted" and claim.depth == 0:
            basis.decided = True
            basis.authentic = basis.authentic or claim.says == "camera"
            level = 0.99
        if claim.rank != "invalid":
            target = {"generated": "generated", "composite": "generated", "edited": "edited", "camera": "camera"}.get(
                claim.says
            )
            if target:
                basis.speaks.add((target, "for"))
    for finding in item.findings:
        basis.numbers += from_mapping(finding.numbers.items(), finding.text)
        _take_polarity(basis, finding)
        level = max(level, _MOST_SEVERE[finding.severity] if finding.polarity != "neutral" else 0.5)
        if finding.region is not None:
            basis.regions.append(finding.region)
    basis.regions += item.regions
    basis.everywhere = basis.everywhere or any(finding.region is None for finding in item.findings)
    basis.numbers += from_mapping(item.measurements.items(), " ".join(texts))
    basis.numbers.append(Known(item.applicability, "fraction"))
    if item.score is not None:
        basis.numbers.append(Known(item.score, "fraction"))
    for text in texts:
        basis.numbers += [Known(quantity.value, quantity.unit) for quantity in quantities(text)]
    basis.texts += [text for text in texts if text]
    basis.texts.append(f"{item.detector} {item.id}")
    return level


def _take_polarity(basis: _Basis, finding: Finding) -> None:
    opposite = {"generated": ("camera", "against"), "camera": ("generated", "against")}
    if finding.polarity != "neutral":
        basis.speaks.add((finding.polarity, "for"))
    if finding.polarity in opposite:
        basis.speaks.add(opposite[finding.polarity])
    if finding.polarity == "camera":
        basis.speaks.add(("edited", "against"))


def _take_verdict(basis: _Basis, verdict: Verdict) -> float:
    basis.numbers += [
        Known(verdict.p_generated, "fraction", "generated"),
        Known(1 - verdict.p_generated, "fraction", "generated", complement=True),
        Known(verdict.prior, "fraction", "prior"),
        Known(0.9, "fraction", "interval"),  # its level, part of the contract
        *(Known(bound, "fraction", "generated") for bound in verdict.interval),
        *(Known(ratio, "times", target) for target, ratio in verdict.likelihood_ratio.items()),
        *(Known(10 * math.log10(r), "db", t) for t, r in verdict.likelihood_ratio.items() if r > 0),
        *(Known(1 / ratio, "times", target) for target, ratio in verdict.likelihood_ratio.items() if ratio > 0),
    ]
    for target, p in (("generated", verdict.p_generated), ("edited", verdict.p_edited)):
        if p is not None and 0.4 <= p <= 0.6:
            basis.even.add(target)
        if p is not None and abs(p - 0.5) > 0.05:
            sign = "for" if p > 0.5 else "against"
            basis.speaks.add((target, sign))
            basis.weighs.add((target, sign))
    if verdict.p_edited is not None:
        basis.numbers.append(Known(verdict.p_edited, "fraction", "edited"))
        basis.numbers.append(Known(1 - verdict.p_edited, "fraction", "edited", complement=True))
        basis.numbers += [Known(bound, "fraction", "edited") for bound in verdict.interval_edited or ()]
    if verdict.label in ("no_evidence", "inconclusive"):
        basis.undecided = True
    if verdict.label == "authentic":
        basis.authentic = True
        basis.speaks |= {("camera", "for"), ("generated", "against")}
    if verdict.label == "laundered":
        basis.speaks |= {("generated", "for"), ("edited", "for"), ("camera", "for")}
    basis.decided = basis.decided or verdict.decided_by == "provenance"
    basis.texts += [verdict.abstained_because or "", *verdict.not_examined, *HOUSE_RULES]
    basis.texts = [text for text in basis.texts if text]
    for text in (verdict.abstained_because or "", *verdict.not_examined):
        basis.numbers += [Known(quantity.value, quantity.unit) for quantity in quantities(text)]
    basis.topics |= {"metadata"} if verdict.decided_by == "provenance" else set()
    p = verdict.p_generated
    if verdict.label == "edited" and verdict.p_edited is not None:
        p = verdict.p_edited
    return 0.99 if verdict.decided_by == "provenance" else max(p, 1 - p)


def _without(entry: Contribution, verdict: Verdict) -> float:
    """The probability of `entry`'s question had this one piece of evidence not been there."""
    ratio = verdict.likelihood_ratio.get(entry.target)
    if not ratio:
        return verdict.p_generated if entry.target == "generated" else verdict.p_edited or 0.0
    odds = math.log(ratio) - entry.llr + math.log(verdict.prior / (1 - verdict.prior))
    return 1 / (1 + math.exp(-max(min(odds, 50.0), -50.0)))


def _without_quotes(text: str, basis: _Basis) -> str | None:
    """`text` with what it quotes word for word taken out; None where it denies the quotation."""
    rest = text
    whole = [_normal(item) for item in basis.texts]
    parts = [part for item in whole for part in re.split(r"(?<=[.!?]) ", item)]
    for quote in sorted({item.strip(" .") for item in (*whole, *parts)}, key=len, reverse=True):
        if len(quote) < 12:
            continue
        position = rest.lower().find(quote.lower())
        if position >= 0:
            rest = f"{rest[:position]} “” {rest[position + len(quote) :]}"
    if rest != text and _DENIES_QUOTE.search(rest):
        return None
    return rest


def _numbers(text: str, basis: _Basis) -> str | None:
    for clause in wording.clauses(text):
        claims = wording.claims(clause)
        targets = {claim.target for claim in claims}
        turned = any(claim.sign in ("against", "absent") or claim.target == "camera" for claim in claims)
        for said in quantities(clause):
            matches = [
                known
                for known in basis.numbers
                if same(said, known) and (known.about not in _NEEDS or _NEEDS[known.about].search(clause))
            ]
            if not matches:
                shown = clause[said.start : said.start + 12].strip()
                return f"The number at “{shown}” is not in what it cites."
            if not _PROBABILITY.search(clause) or not targets:
                continue
            if all(known.about in ("generated", "edited") and known.about not in targets for known in matches):
                return "It gives the probability of one question as that of another."
            sides = {known.complement for known in matches if known.about in targets}
            if len(sides) == 1 and turned not in sides and len(matches) == sum(k.about in targets for k in matches):
                return "It turns a probability into that of the opposite."
    return None


def _directions(text: str, basis: _Basis) -> str | None:
    if wording.calls_real(text) and not basis.authentic:
        return "It calls the picture real or authentic, and only a trusted signature can say so."
    if wording.says_abstained(text) and not basis.abstained and basis.scored:
        return "It says that a tool gave no judgement, and the tool did."
    if basis.abstained and not basis.scored and text.strip(" “”.") and not wording.denies_anything(text):
        return "It makes a finding out of a tool that gave no judgement."
    for claim in wording.claims(text):
        told = bool(_PROBABILITY.search(claim.clause) and quantities(claim.clause) and claim.target != "camera")
        if told and not re.search(r"(?<!even )\bodds\b|\bdeciban", claim.clause, re.I):
            continue  # the number was checked with its side, and is the claim
        allowed = basis.weighs if basis.weighed and _ABOUT_WEIGHT.search(claim.clause) else basis.speaks | basis.weighs
        if claim.sign == "even":
            if claim.target not in basis.even:
                return "It says that the question stands even, and the number does not."
        elif claim.sign in ("for", "against"):
            if (claim.target, claim.sign) not in allowed:
                return f"What it cites does not speak {claim.sign} {_named(claim.target)}."
        elif (
            basis.abstained and not basis.scored and claim.sign == "absent" and not wording.says_abstained(claim.clause)
        ):
            return "It makes a finding out of a tool that gave no judgement."
        elif (claim.target, "for") in basis.speaks | basis.weighs and not (
            basis.undecided and claim.sign == "undecided"
        ):
            return f"It says that nothing speaks for {_named(claim.target)}, and what it cites does."
    return None


def _named(target: str) -> str:
    return {"generated": "a generated picture", "edited": "an edit", "camera": "a camera"}[target]


def _strength(text: str, basis: _Basis) -> str | None:
    claims = [claim for claim in wording.claims(text) if claim.sign in ("for", "against")]
    if wording.certain(text):
        return "It claims certainty, which no evidence here gives."
    if not claims:
        return None
    if any(claim.flat for claim in claims) and not basis.decided and basis.level < 0.95:
        return "It states as a fact what the evidence only makes more or less likely."
    if re.search(r"\b(?:more|less) (?:likely|probable)\b(?! than not)", text, re.I):
        return None
    if wording.least_level(text) > basis.level:
        return "Its words are stronger than the number."
    if wording.most_level(text) < basis.level and not basis.weighed and not basis.decided:
        return "Its words are weaker than the number."
    return None


def _where(text: str, basis: _Basis) -> str | None:
    source = basis.text
    in_words = wording.places(source)
    for place in wording.places(text):
        if place in in_words or any(_inside(region, place) for region in basis.regions):
            continue
        return "What it cites has no finding at that place."
    if wording.names_whole(text) and not basis.everywhere and not any(region.covers_most for region in basis.regions):
        if not wording.names_whole(source) and basis.regions:
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


def _subject(text: str, basis: _Basis) -> str | None:
    source = basis.text
    there = wording.subjects(source)
    for name, present in wording.subjects(text).items():
        if name not in there and name not in basis.topics:
            return f"What it cites is not about {name}."
        if name == "peaks" and name in there and there[name] != present:
            return "It says of a sign that it is there, or is not, and what it cites says otherwise."
    if {wording.relation(text), wording.relation(source)} == {"same", "differs"}:
        return "It says that things differ, or are the same, and what it cites says otherwise."
    ours, theirs = wording.comparisons(text), wording.comparisons(source)
    if ours and theirs and not ours & theirs:
        return "It turns a comparison round."
    for name in _proper_names(text):
        if name.lower() not in source.lower():
            return f"It names “{name}”, which what it cites does not."
    words = [word for word in re.findall(r"[a-z]{3,}", text.lower()) if word not in _STOP]
    known = {_stem(word) for word in re.findall(r"[a-z]{3,}", source.lower())} | _glossary()
    known |= {stem for name in basis.topics for stem in _topic(name)}
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
    return frozenset(_stem(word) for word in _GLOSSARY)


@lru_cache
def _topic(name: str) -> frozenset[str]:
    return frozenset(_stem(word) for word in re.findall(r"[a-z]{4,}", wording.SUBJECTS[name].pattern))


@lru_cache(maxsize=8192)
def _stem(word: str) -> str:
    for suffix in ("ations", "ation", "ingly", "ings", "ness", "ing", "edly", "ies", "ed", "ly", "es", "s", "e"):
        if word.endswith(suffix) and len(word) - len(suffix) >= 3:
            return word[: -len(suffix)]
    return word
