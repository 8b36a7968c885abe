"""Whether a sentence fits the verdict and the weights of the whole case: its kind, who weighs, and what is absent.

Part of `agent.grounding`. What a sentence cites may bear each of its words and the case yet be another one: that
nothing was found, that a signature decides, that a tool has no weight are claims about all of it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from agent import wording
from agent.basis import Basis
from agent.numerals import Known, quantities, same
from agent.outline import LEAST_DECIBANS
from agent.verdict import Contribution, Verdict
from agent.vocabulary import STOP_WORDS
from tools.contract import Evidence

_I = re.IGNORECASE


@dataclass(frozen=True, slots=True)
class Case:
    """What a sentence is held against beside what it cites; `cited` is the evidence that it cites."""

    verdict: Verdict
    contributions: tuple[Contribution, ...]
    evidence: tuple[Evidence, ...]
    cited: tuple[Evidence, ...]

    def weights(self, items: Iterable[Evidence]) -> tuple[Contribution, ...]:
        """The contributions of `items`."""
        ids = {item.id for item in items}
        return tuple(entry for entry in self.contributions if entry.evidence_id in ids)

    def weighs(self, item: Evidence) -> bool:
        """Whether a piece of evidence has a weight that is told."""
        return any(abs(entry.decibans) >= LEAST_DECIBANS for entry in self.weights((item,)))


_SIGNATURE_DECIDES = re.compile(
    r"\bsign(?:ature|er|ed)\b.*\b(?:decid|settl|determin)\w*|\bdecid\w+ by (?:a|the|its)\b.*\bsign", _I
)
_SIGNED = re.compile(r"\bsign(?:ature|atures|er|ers|ed)\b|\bmanifest\b", _I)
_NO_SIGNATURE = re.compile(r"\bno (?:\w+ ){0,2}sign(?:ature|er)s?\b|\b(?:would|could) (?:\w+ )?(?:decide|settle)\b", _I)
_SUPPOSED = re.compile(r"\b(?:no|not|would|could|might|without|if)\b", _I)
_OPEN = re.compile(
    r"\bremains? (?:open|unclear|undecided|unsettled)\b|\bis (?:left )?(?:open|undecided|unclear|inconclusive)\b"
    r"|\bcannot (?:be )?(?:told|tell|say|said|decided?|settled?)\b|\b(?:does|do) not settle\b|\bnot (?:be )?settled\b"
    r"|\bno verdict\b",
    _I,
)
_IS_PRIOR = re.compile(
    r"\b(?:is|stays at|remains(?: at)?|equals) the prior\b|\bprior unchanged\b"
    r"|\bnothing\b(?: \w+){0,3} (?:has|have|carries|bears) (?:any |much )?weight\b|\bnothing\b(?: \w+){0,3} weighs\b"
    r"|\bno (?:tool|check|detector|finding|evidence)s?\b(?: \w+){0,3} (?:has|have|carries|carry|bears?)"
    r" (?:any )?weight\b"
    r"|\bnone of (?:it|them|the \w+) (?:has|have|carries|carry) (?:any )?weight\b",
    _I,
)
_PASSED = re.compile(
    r"\bpass(?:ed|es)? through (?:\w+ ){0,2}(?:model|generator|autoencoder|network|ai)\b|\blaunder\w+", _I
)
_NO_WEIGHTY = re.compile(r"\bno evidence of (?:any )?weight\b|\bnothing of weight\b", _I)
_LABEL = re.compile(
    r"\b(?:label|verdict|conclusion|result|outcome)\b(?: here)? (?:is|was|says|reads|remains)(?: that it is)? "
    r"(?P<no>not )?(?:called |given as |graded )?[“\"']?(?P<label>generated|edited|laundered|no[ _]evidence|authentic"
    r"|inconclusive)\b|\blabell?ed (?:as )?[“\"']?(?P<labelled>generated|edited|laundered|no[ _]evidence|authentic"
    r"|inconclusive)\b",
    _I,
)  # fmt: skip
_SETTLED = {
    "generated": {"generated"}, "edited": {"edited"}, "laundered": {"generated", "edited"},
    "no_evidence": {"generated"}, "authentic": {"generated", "edited", "camera"},
}  # fmt: skip
"""The questions that a label answers, so that they do not remain open."""


def kind(text: str, basis: Basis, case: Case) -> str | None:
    """Why `text` fits another kind of verdict than that of the case; None where it fits."""
    verdict = case.verdict
    if _SIGNATURE_DECIDES.search(text) and not _NO_SIGNATURE.search(text) and not _signed(text, verdict):
        return "It lets a signature decide what no signature decided."
    if basis.verdict_cited and _leaves_open(text) & _SETTLED.get(verdict.label, set()):
        return "It leaves open what the verdict answers."
    if _SIGNED.search(text) and not case.cited and verdict.decided_by != "provenance" and not _SUPPOSED.search(text):
        return "It speaks of a signature, and what it cites rests on none."
    questions = set[str](wording.targets(text)) - {"camera"}
    if _IS_PRIOR.search(text) and any(
        _interval(verdict, each) != (0.0, 1.0) for each in questions or {basis.asked or "generated"}
    ):
        return "It says that nothing has weight, and something has."
    reported = any(_PASSED.search(finding.text) for item in case.cited for finding in item.findings)
    if _PASSED.search(text) and verdict.label != "laundered" and not reported:
        return "It says that the picture passed through a model, and the verdict does not."
    if _NO_WEIGHTY.search(text) and verdict.label != "no_evidence":
        return "It says that there is no evidence of weight, and the verdict does not."
    for match in _LABEL.finditer(text):
        label = (match["label"] or match["labelled"]).lower().replace(" ", "_")
        if (label == verdict.label) == bool(match["no"]):
            return "It gives the verdict another label than it has."
    return None


def _signed(text: str, verdict: Verdict) -> bool:
    """Whether a signature decided, and what the sentence says it states is what the label says."""
    stated: set[str] = {claim.target for claim in wording.claims(text) if claim.sign == "for"}
    label: str = {"authentic": "camera"}.get(verdict.label, verdict.label)
    return verdict.decided_by == "provenance" and stated <= {label}


def _leaves_open(text: str) -> set[str]:
    """The questions that `text` says are open."""
    found: set[str] = set()
    last: set[str] = set()
    for clause in wording.clauses(text):
        last = set(wording.targets(clause)) or last
        if _OPEN.search(clause):
            found |= last or {"generated", "edited"}
    return found


def _interval(verdict: Verdict, question: str) -> tuple[float, float] | None:
    return verdict.interval_edited or (0.0, 1.0) if question == "edited" else verdict.interval


_NO_WEIGHT = re.compile(
    r"\b(?:no|without(?: any)?|zero|little|not any|never any) (?:\w+ )?weight\b|\bnext to nothing\b|\bweightless\b"
    r"|\bnothing to the verdict\b|\bno (?:say|bearing|influence|part|effect) (?:in|on) the verdict\b"
    r"|\b(?:does|do|did|is|are|was|were) not (?:weigh(?:ed)?|counted?|matter|carry (?:any |much )?weight)\b",
    _I,
)
_WEIGHT = re.compile(
    r"\b(?:carr(?:y|ies|ied)|has|have|had|bears?|gets?) (?:\w+ ){0,2}weight\b|\bweight (?:\w+ ){0,4}is carried\b"
    r"|\bweigh(?:s|ed)?\b|\bwith weight\b",
    _I,
)
_ODDS = re.compile(r"\bodds\b|\bdecibans?\b", _I)
_UP = re.compile(
    r"\b(?:plus|rise|rises|rose|risen|rais\w+|increas\w+|adds?|added|higher|gains?|gained|grows?|favou?rs?|in favou?r"
    r"|towards?|supports?)\b",
    _I,
)
_DOWN = re.compile(
    r"\b(?:minus|fall|falls|fell|fallen|lower\w*|reduc\w+|decreas\w+|drops?|dropped|against|away from|weaken\w*"
    r"|sinks?|sank|loses?|takes? away)\b",
    _I,
)


def weight(text: str, basis: Basis, case: Case) -> str | None:
    """Why `text` gives a cited piece of evidence a weight that it has not, or denies one that it has."""
    if not case.cited:
        return None
    denies = bool(_NO_WEIGHT.search(text))
    if denies and any(case.weighs(item) for item in case.cited):
        return "It says that something has no weight, and it has."
    if not denies and _WEIGHT.search(text) and not all(case.weighs(item) for item in case.cited):
        return "It gives weight to what has none."
    for claim in wording.claims(text) if not basis.verdict_cited else ():
        both = re.search(r"\bfor\b.*\bagainst\b|\bagainst\b.*\bfor\b", claim.clause, _I)
        named = [item for item in case.cited if _names(item, claim.clause) and not both]
        for entry in case.weights(named) if len(named) > 1 else ():
            if entry.target == claim.target and any(
                entry.decibans * side <= -LEAST_DECIBANS for side in _side(claim.sign)
            ):
                return f"It puts “{entry.evidence_id}” on the other side."
    known = case.weights(case.cited)
    if _ODDS.search(text) and not known and not basis.verdict_cited:
        return "It gives weight to what has none."
    for clause in wording.clauses(text):
        up, down = bool(_UP.search(clause)), bool(_DOWN.search(clause))
        if wording.targets(clause) or up == down:
            continue  # a clause with a question is checked with its direction
        for said in quantities(clause):
            if said.unit != "db":
                continue
            signs = {entry.llr > 0 for entry in known if same(said, Known(entry.decibans, "db"))}
            if signs and (up == (said.value >= 0)) not in signs:
                return "It turns the side of a weight round."
    return None


_ALL = re.compile(
    r"\bno (?:tool|check|detector|test)s?\b|\bnone of the (?:tools|checks|detectors|tests)\b|\bnobody\b"
    r"|\bthe (?:tools|checks|detectors|tests|evidence) (?:found|find|saw|see|show|showed|holds?|contains?|marked) n",
    _I,
)
_NO_PLACE = re.compile(
    r"\bno (?:tool|check|detector|finding)s?\b[^,;.]*\b(?:places?|parts?|areas?|regions?|spots?)\b"
    r"|\b(?:no|not any|not one) (?:places?|parts?|areas?|regions?|spots?)\b[^,;.]*\b(?:mark|found|named|stand|stood)\w*"
    r"|\bnothing\b[^,;.]*\bmarked\b|\bmarked (?:nothing|no (?:places?|parts?|areas?|regions?))\b",
    _I,
)
_AGREED = re.compile(
    r"\b(?:all|every|each|both)(?: of)?(?: the)? (?:\w+ )?(?:signs?|tools?|findings?|evidence|checks?|detectors?)\b"
    r"(?! together)"
    r"|\b(?:evidence|tools|findings|checks|signs) (?:all )?agrees?\b|\bunanimous\w*|\beverything\b",
    _I,
)
_EVIDENCE_SPEAKS = re.compile(
    r"\b(?:evidence|tools|findings|checks|everything|all)\b(?: \w+){0,4} (?:speaks?|points?|leans?|tips?|weighs?"
    r"|argues?|suggests?|stands?|counts?)\b",
    _I,
)


def absence(text: str, basis: Basis, case: Case) -> str | None:
    """Why `text` may not say of the whole case that nothing speaks for a claim, or that all of it speaks one way."""
    whole = basis.verdict_cited or bool(_ALL.search(text))
    if not whole:
        return None
    if _NO_PLACE.search(text) and any(_marked(item) for item in case.evidence):
        return "It says that no place was marked, and one was."
    for claim in wording.claims(text):
        if claim.target == "camera":
            continue
        entries = [entry for entry in case.contributions if entry.target == claim.target]
        total = sum(entry.decibans for entry in entries)
        if claim.sign == "absent" and not (claim.target == "generated" and basis.none_found):
            if claim.target in _spoken_for(case):
                return f"It says that nothing speaks for {wording.NAMED[claim.target]}, and something does."
        elif _AGREED.search(claim.clause) and not quantities(claim.clause):
            if any(entry.decibans * side <= -LEAST_DECIBANS for entry in entries for side in _side(claim.sign)):
                return "It says that all agree, and one does not."
        elif _EVIDENCE_SPEAKS.search(claim.clause) and not quantities(claim.clause):
            wrong = {"for": total < -LEAST_DECIBANS, "against": total > LEAST_DECIBANS}
            if wrong.get(claim.sign, False):
                return "It says that the evidence speaks one way, and its weights speak the other."
    return None


def _side(sign: str) -> tuple[int, ...]:
    return {"for": (1,), "against": (-1,)}.get(sign, ())


def _spoken_for(case: Case) -> Iterator[str]:
    """The questions for which some evidence of the case speaks, by its weight or by a finding."""
    for entry in case.contributions:
        if entry.decibans >= LEAST_DECIBANS:
            yield entry.target
    for item in case.evidence:
        for finding in item.findings:
            yield finding.polarity


def _marked(item: Evidence) -> bool:
    return any(
        each.region is not None and not each.region.covers_most and each.polarity != "neutral" for each in item.findings
    )


_SIDES = re.compile(
    r"(?P<names>(?:(?!speak|point|argu|\bfor\b|\bagainst\b)[\w ,])+?) (?:speaks? |points? |argues? |is |are )?"
    r"(?P<side>for|against) (?:it|this|that)\b",
    _I,
)


def _names(item: Evidence, text: str) -> bool:
    return re.search(rf"\b{re.escape(item.id).replace('_', '[_ ]')}\b", text, _I) is not None


def sides(text: str, case: Case) -> str | None:
    """Why `text` may not say who speaks for and who against: “frequency speaks for it and patch against it”."""
    question: set[str] = set()
    for clause in wording.clauses(text):
        question = set(wording.targets(clause)) or question
        for match in _SIDES.finditer(clause):
            names = match["names"]
            for item in case.evidence:
                if not _names(item, names):
                    continue
                known = [entry for entry in case.weights((item,)) if not question or entry.target in question]
                if known and not any((entry.llr > 0) == (match["side"].lower() == "for") for entry in known):
                    return f"It puts “{item.id}” on the other side."
    return None


_REPORT = r"(?:report|find|found|see|show|mark|note|detect|say|state|notice)"
_NOT_REPORTED = re.compile(
    rf"\b(?:does|do|did|could|can)(?: not|n't) {_REPORT}\w*\b(?P<what>[^,;.:“]*)"
    rf"|\b(?:{_REPORT}\w*|saw) no\b(?P<none>[^,;.:“]*)"
    r"|\b(?:no|without(?: any)?)\b(?P<there>[^,;.:“]*?)\b(?:was|were|is|are)"
    r" (?:reported|found|seen|shown|marked|detected)"
    r"|(?P<those>[^,;.:“]*?)\b(?:was|were|is|are)(?: not|n't) (?:reported|found|seen|shown|marked|detected)\b"
    r"|\bthat (?P<gone>[^,;.:“]*?)\b(?:was|were|is|are) (?:absent|missing|lacking)\b",
    _I,
)


def denial(text: str, case: Case) -> str | None:
    """Why `text` may not say that something was not reported: a cited tool reports just that as a sign."""
    for match in _NOT_REPORTED.finditer(text):
        what = next((each for each in match.groups() if each), "")
        words = {word for word in re.findall(r"[a-z]{4,}", what.lower()) if word not in STOP_WORDS | _OF_NOTHING}
        for item in case.cited:
            for finding in item.findings:
                if finding.polarity == "neutral" or _NEGATED.search(finding.text):
                    continue
                if words and words <= set(re.findall(r"[a-z]{4,}", finding.text.lower())):
                    return "It says that something was not reported, and it was."
    return None


_OF_NOTHING = frozenset({"picture", "image", "this", "that", "place", "tool"})
_NEGATED = re.compile(r"\b(?:no|not|nothing|never|without)\b", _I)
