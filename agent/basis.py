"""What the evidence that a sentence cites allows it to say: numbers, places, directions, subjects, strength."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace

from agent import subjects as about
from agent.numerals import Known, from_mapping, quantities
from agent.verdict import Contribution, Verdict
from tools.contract import Evidence, Finding, Region

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

_MOST_SEVERE = {"info": 0.55, "weak": 0.65, "moderate": 0.8, "strong": 0.92}


@dataclass
class Basis:
    """Everything that the cited evidence allows a sentence to say."""

    texts: list[str] = field(default_factory=list)
    written: list[str] = field(default_factory=list)
    """What a file or a person wrote: a prompt, a signer's name."""
    silences: set[str] = field(default_factory=set)
    """Those of the texts that say why a tool gave no judgement."""
    missing: set[str] = field(default_factory=set)
    """Those that say what was not examined."""
    numbers: list[Known] = field(default_factory=list)
    regions: list[Region] = field(default_factory=list)
    speaks: set[tuple[str, str]] = field(default_factory=set)
    weighs: set[tuple[str, str]] = field(default_factory=set)
    topics: set[str] = field(default_factory=set)
    levels: dict[tuple[str, str], float] = field(default_factory=dict)
    """How likely, at most, each claim may be told to be, by its target and sign."""
    weighed: bool = False
    scored: bool = False
    abstained: bool = False
    everywhere: bool = False
    decided: bool = False
    authentic: bool = False
    undecided: bool = False
    none_found: bool = False
    confidence: str = ""
    verdict_cited: bool = False
    asked: str = ""
    chances: dict[str, float] = field(default_factory=dict)
    even: set[str] = field(default_factory=set)

    def allow(self, target: str, sign: str, level: float) -> None:
        """Lets the claim be told as likely as `level`, or as whatever allows more."""
        self.levels[target, sign] = max(level, self.levels.get((target, sign), 0.0))

    def level(self, target: str, sign: str) -> float:
        """How likely the claim may be told to be: 0.5 where nothing is known of it."""
        return self.levels.get((target, sign), 0.5)

    @property
    def text(self) -> str:
        return ". ".join((*self.texts, *self.written))


def basis_of(
    cited: list[Evidence], verdict: Verdict | None, whole: Verdict, contributions: tuple[Contribution, ...]
) -> Basis:
    """The basis that `cited` gives, with `verdict` where it is cited itself; `whole` is the case's verdict."""
    basis = Basis()
    ids = {item.id for item in cited}
    weights = [entry for entry in contributions if entry.evidence_id in ids]
    for item in cited:
        _take_evidence(basis, item, weighed=any(entry.evidence_id == item.id for entry in weights))
    for entry in weights:
        basis.weighed = True
        basis.texts.append(entry.because)
        size = abs(entry.llr)
        basis.numbers += [
            Known(entry.decibans, "db"),
            Known(entry.llr, None, "weight"),
            Known(math.exp(min(size, 50.0)), "times", "weight"),
            Known(_without(entry, whole), "fraction", entry.target, "without"),
        ]
        sign = "for" if entry.llr > 0 else "against"
        if size > 0.005:
            basis.weighs.add((entry.target, sign))
        level = 1 / (1 + math.exp(-min(size, 50.0)))
        basis.allow(entry.target, sign, level)
        if entry.target == "generated":
            basis.allow("camera", "against" if entry.llr > 0 else "for", level)
    for conflict in whole.conflicts:
        if ids & set(conflict.evidence_ids) or verdict is not None:
            basis.texts += [text for text in (conflict.text, conflict.beyond, conflict.outcome) if text]
    if verdict is not None:
        if verdict.decided_by != "provenance":
            basis.levels.clear()  # what is said of the verdict is as likely as the verdict says
        _take_verdict(basis, verdict)
        basis.numbers.append(Known(len(contributions), None, "count"))
    basis.numbers.append(Known(len(ids), None, "count"))
    return basis


def _take_evidence(basis: Basis, item: Evidence, *, weighed: bool) -> None:
    """Takes in what a tool says; where it is `weighed`, its weight tells how likely it makes things, not its words."""
    before = len(basis.numbers)
    texts = [finding.text for finding in item.findings] + list(item.limits)
    texts += [ref.caption for ref in item.maps]
    if item.abstained_because is not None:
        basis.abstained = True
        basis.scored = basis.scored or (item.target == "context" and bool(item.findings))  # it tells, without judging
        texts.append(item.abstained_because)
        basis.silences.add(item.abstained_because)
    else:
        basis.scored = True
    basis.topics |= about.TOPICS.get(item.detector, set()) | set(about.subjects(item.detector.replace("_", " ")))
    for claim in item.claims:
        wrote = (claim.source, claim.detail, claim.signer, claim.generator, claim.prompt)
        basis.written += [text for text in wrote if text]
        basis.topics |= {"metadata", "prompt"} if claim.prompt else {"metadata"}
        if claim.rank == "trusted" and claim.depth == 0:
            basis.decided = True
            basis.authentic = basis.authentic or claim.says == "camera"
            decides = {"composite": "generated", "other": "camera"}.get(claim.says, claim.says)
            basis.allow(decides, "for", 0.99)
        if claim.rank != "invalid":
            target = {"generated": "generated", "composite": "generated", "edited": "edited", "camera": "camera"}.get(
                claim.says
            )
            if target:
                basis.speaks.add((target, "for"))
    for finding in item.findings:
        basis.numbers += from_mapping(finding.numbers.items(), finding.text)
        _take_polarity(basis, finding, 0.5 if weighed else _MOST_SEVERE[finding.severity])
        if finding.region is not None:
            basis.regions.append(finding.region)
    basis.regions += item.regions
    basis.everywhere = basis.everywhere or any(finding.region is None for finding in item.findings)
    basis.numbers += from_mapping(item.measurements.items(), " ".join(texts))
    basis.numbers.append(Known(item.applicability, "fraction"))
    basis.numbers += [Known(quantity.value, quantity.unit, "version") for quantity in quantities(item.version)]
    if item.score is not None:
        basis.numbers.append(Known(item.score, "fraction", "score"))
    for text in (*texts, *basis.written):
        basis.numbers += [Known(quantity.value, quantity.unit) for quantity in quantities(text)]
    if item.score is not None:  # told as the score alone, wherever the tool wrote it: it is no weight
        basis.numbers[before:] = [
            replace(each, about="score") if each.about is None and _is(item.score, each) else each
            for each in basis.numbers[before:]
        ]
    basis.texts += [text for text in texts if text]
    basis.texts.append(f"{item.detector} {item.id}")


def _is(score: float, known: Known) -> bool:
    return known.unit in (None, "fraction") and round(known.value, 2) == round(score, 2)


def _take_polarity(basis: Basis, finding: Finding, level: float) -> None:
    opposite = {"generated": "camera", "camera": "generated"}
    if finding.polarity == "neutral":
        return
    said: list[tuple[str, str]] = [(finding.polarity, "for")]
    if finding.polarity in opposite:
        said.append((opposite[finding.polarity], "against"))
    if finding.polarity == "camera":
        said.append(("edited", "against"))
    basis.speaks.update(said)
    for target, sign in said:
        basis.allow(target, sign, level)


def _take_verdict(basis: Basis, verdict: Verdict) -> None:
    basis.verdict_cited, basis.asked = True, "edited" if verdict.label == "edited" else "generated"
    sides = [("generated", verdict.p_generated, verdict.interval)]
    if verdict.p_edited is not None:
        sides.append(("edited", verdict.p_edited, verdict.interval_edited or (0.0, 1.0)))
    for target, p, (low, high) in sides:
        basis.chances[target] = p
        basis.allow(target, "for", p)
        basis.allow(target, "against", 1 - p)
        basis.numbers += [
            Known(p, "fraction", target, "p"),
            Known(1 - p, "fraction", target, "p", complement=True),
            Known(low, "fraction", target, "low"),
            Known(high, "fraction", target, "high"),
        ]
        if 0.4 <= p <= 0.6:
            basis.even.add(target)
        if abs(p - 0.5) > 0.05:
            sign = "for" if p > 0.5 else "against"
            basis.speaks.add((target, sign))
            basis.weighs.add((target, sign))
    basis.numbers += [Known(verdict.prior, "fraction", "prior", "prior"), Known(0.9, "fraction", "interval", "level")]
    for name, ratio in verdict.likelihood_ratio.items():
        basis.numbers.append(Known(ratio, "times", name, "ratio"))
        if ratio > 0:
            basis.numbers.append(Known(1 / ratio, "times", name, "ratio", complement=True))
            basis.numbers.append(Known(10 * math.log10(ratio), "db", name))
    if verdict.label in ("no_evidence", "inconclusive"):
        basis.undecided = True
    basis.none_found = verdict.label == "no_evidence"
    if verdict.label == "authentic":
        basis.authentic = True
        basis.speaks |= {("camera", "for"), ("generated", "against")}
    if verdict.label == "laundered":
        basis.speaks |= {("generated", "for"), ("edited", "for"), ("camera", "for")}
    if verdict.decided_by == "provenance":
        basis.decided = True
        says = {"laundered": ("generated", "edited"), "authentic": ("camera",)}
        for target in says.get(verdict.label, (verdict.label,)):
            basis.allow(target, "for", 0.99)
        if verdict.label in ("generated", "edited"):
            basis.speaks.add((verdict.label, "for"))
    basis.confidence = verdict.confidence
    basis.texts.append(f"The label is {verdict.label.replace('_', ' ')}")
    basis.texts.append(f"Confidence in this verdict is graded “{verdict.confidence}”")
    basis.texts += [verdict.abstained_because or "", *verdict.not_examined, *HOUSE_RULES]
    basis.missing |= {text for text in verdict.not_examined if text}
    basis.texts = [text for text in basis.texts if text]
    for text in (verdict.abstained_because or "", *verdict.not_examined):
        basis.numbers += [Known(quantity.value, quantity.unit) for quantity in quantities(text)]
    basis.topics |= {"metadata"} if verdict.decided_by == "provenance" else set()


def _without(entry: Contribution, verdict: Verdict) -> float:
    """The probability of `entry`'s question had this one piece of evidence not been there."""
    ratio = verdict.likelihood_ratio.get(entry.target)
    if not ratio:
        return verdict.p_generated if entry.target == "generated" else verdict.p_edited or 0.0
    odds = math.log(ratio) - entry.llr + math.log(verdict.prior / (1 - verdict.prior))
    return 1 / (1 + math.exp(-max(min(odds, 50.0), -50.0)))
