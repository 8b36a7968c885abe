"""The plain template: verdict and evidence in fixed sentences, each of which a reader can quote.

It writes when there is no model, when a model fails, and in place of an answer that grounding refused. Everything it
says of the picture is a number of the verdict or a finding in the tool's own words; `agent.grounding` passes all of it.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence

from agent.basis import HOUSE_RULES, VERDICT
from agent.verdict import Contribution, Report, Sentence, Verdict, Writer
from agent.wording import likelihood_words
from tools.contract import Evidence, Finding

_LEAST = 0.5
"""Decibans below which a contribution is not told as a reason."""
_TOLD = 4
"""Things not examined that an explanation lists; a question about them lists them all."""
_SEVERITY = {"strong": 3, "moderate": 2, "weak": 1, "info": 0}
_QUESTIONS: tuple[tuple[str, re.Pattern[str]], ...] = tuple(
    (name, re.compile(pattern, re.IGNORECASE))
    for name, pattern in (
        ("limits",
            r"\b(?:not|n't|un)\s?(?:\w+ )?(?:examin|look|check|cover|test)\w*|\blimit|\bmiss(?:ed|ing)?\b"
            r"|\bleft out\b|\bblind spot"),
        ("change",
            r"\bchange\b.*\b(?:mind|verdict|answer|result)|\bconvince\b|\bwhat if\b|\bwithout\b|\bdepends? on\b"
            r"|\bovertur"),
        ("where",
            r"\bwhere\b|\bwhich (?:part|place|area|region)|\bwhat (?:part|place|area|region)|\blocation\b"),
        ("tools",
            r"\b(?:which|what|list)\b.*\b(?:tools?|checks?|methods?|detectors?|tests?)\b|\bhow (?:did"
            r"|do) you (?:check|test|examine|work)"),
        ("sure",
            r"\bhow (?:sure|certain|confident|likely|reliable|probable)|\bconfiden|\bprobab|\binterval\b|\bprior\b"
            r"|\bcertain(?:ty)?\b|\bsure\b"),
        ("why",
            r"\bwhy\b|\breasons?\b|\bevidence\b|\bbecause\b|\bhow come\b|\bhow do you know\b|\bbased on\b"
            r"|\bexplain\b|\bsigns?\b"),
        ("verdict",
            r"\b(?:is|was) (?:it|this|that|the (?:picture|image|photo\w*))\b.*\b(?:real|fake|ai|generated|edited"
            r"|altered|photo\w*|authentic|genuine|manipulated|synthetic)\b|\b(?:verdict|conclusion|result)\b"),
    )
)  # fmt: skip


class TemplateNarrator:
    """Narrates and answers by a fixed template. Pure: the same case gives the same sentences."""

    def writer(self, note: str = "") -> Writer:
        """Who this is, for the log; `note` says why the template and no model."""
        return Writer(kind="template", note=note)

    def narrate(
        self, verdict: Verdict, evidence: Sequence[Evidence], contributions: Sequence[Contribution] = ()
    ) -> tuple[Sentence, ...]:
        """The explanation: the answer, the reasons by strength, what speaks against, and the limits."""
        return (
            self.answer_first(verdict, evidence),
            *self._answer_notes(verdict),
            *self.reasons(verdict, evidence, contributions),
            *self.limits(verdict, evidence),
        )

    def answer_first(self, verdict: Verdict, evidence: Sequence[Evidence] = ()) -> Sentence:
        """The answer in one sentence."""
        if verdict.decided_by == "provenance" and verdict.label in ("authentic", "edited", "generated"):
            says = {"authentic": "that a camera captured the picture", "edited": "that the picture was edited"}.get(
                verdict.label, "that the picture was generated"
            )
            signed = [item.id for item in evidence if any(c.rank == "trusted" for c in item.claims)]
            text = f"A signer on the trust list states {says}, and this signature decides the verdict."
            return Sentence(text=text, cites=(VERDICT, *signed), role="answer")
        question, p, interval = _question(verdict)
        prior = _prior(verdict)
        low, high = (_p(bound) for bound in interval)
        told = f"{prior} the probability is {_p(p)} (90 % interval {low} to {high})"
        match verdict.label:
            case "no_evidence":
                text = f"No evidence of weight was found that the picture was generated: {told}. {HOUSE_RULES[0]}."
            case "inconclusive" if interval == (0.0, 1.0):
                text = (
                    f"The evidence does not settle whether the picture was {question}: nothing found here has any "
                    f"weight, and the probability is the prior unchanged, {_p(p)}."
                )
            case "inconclusive":
                text = (
                    f"The evidence does not settle whether the picture was {question}: {told}, which is "
                    f"{likelihood_words(p)}."
                )
            case "laundered":
                text = (
                    f"The evidence fits a picture that passed through a generative model after it was taken: "
                    f"{told} that it was generated."
                )
            case _:
                text = f"It is {likelihood_words(p)} that the picture was {question}: {told}."
        return Sentence(text=text, cites=(VERDICT,), role="answer")

    def _answer_notes(self, verdict: Verdict) -> Iterable[Sentence]:
        if verdict.decided_by == "provenance":
            yield _house(1)
        if verdict.abstained_because:
            yield Sentence(text=_stop(verdict.abstained_because), cites=(VERDICT,), role="limits")

    def reasons(
        self, verdict: Verdict, evidence: Sequence[Evidence], contributions: Sequence[Contribution]
    ) -> tuple[Sentence, ...]:
        """What speaks for the answer, strongest first; what speaks against it; what was seen but has no weight."""
        question, p, _ = _question(verdict)
        leans = 1 if p >= 0.5 else -1
        by_id = {item.id: item for item in evidence}
        ranked = sorted(
            (entry for entry in contributions if abs(entry.decibans) >= _LEAST and entry.evidence_id in by_id),
            key=lambda entry: (entry.target != question, -abs(entry.decibans), entry.evidence_id),
        )
        spoken: dict[bool, list[Sentence]] = {True: [], False: []}
        told: set[str] = set()
        if verdict.decided_by == "provenance":
            for item in evidence:
                if any(claim.rank == "trusted" for claim in item.claims):
                    told.add(item.id)
                    spoken[True] += [said for said in [_unweighed(item)] if said]
        for entry in ranked:
            item = by_id[entry.evidence_id]
            told.add(item.id)
            if verdict.decided_by == "provenance" and any(claim.rank == "trusted" for claim in item.claims):
                continue  # a signature that decides is told by what it says, not by odds
            with_it = entry.target != question or entry.llr * leans > 0
            spoken[with_it].append(_weighed(item, entry, "reason" if with_it else "against"))
        rest = [item for item in evidence if item.id not in told]
        unweighed = [sentence for item in rest if (sentence := _unweighed(item))]
        conflicts = [
            Sentence(
                text=f"The evidence disagrees: “{conflict.text}”",
                cites=(*_known(conflict.evidence_ids, by_id), VERDICT),
                role="against",
            )
            for conflict in verdict.conflicts
        ]
        context = [sentence for sentence in unweighed if sentence.role == "reason"]
        silent = [sentence for sentence in unweighed if sentence.role != "reason"]
        return (*spoken[True], *spoken[False], *conflicts, *context, *silent)

    def limits(self, verdict: Verdict, evidence: Sequence[Evidence], *, every: bool = False) -> tuple[Sentence, ...]:
        """What gave no judgement, what limits the tools that did, and what was not examined (`every` item of it)."""
        out = []
        for item in evidence:
            if item.abstained_because is not None and item.target != "context":
                out.append(_limit(f"{_tool(item)} gave no judgement: “{item.abstained_because}”", item.id))
        for item in evidence:
            if item.abstained_because is None and item.limits:
                out.append(_limit(f"A limit of {_tool(item).lower()}: “{item.limits[0]}”", item.id))
        missing = [text.rstrip(" .") for text in verdict.not_examined]
        if every:
            out += [_limit(f"Not examined: {text}.", VERDICT) for text in missing]
        elif missing:
            more = "; and more, which the verdict lists" if len(missing) > _TOLD else ""
            out.append(_limit(f"Not examined: {'; '.join(missing[:_TOLD])}{more}.", VERDICT))
        return tuple(out)

    def answer(self, report: Report, question: str) -> tuple[Sentence, ...]:
        """Answers a follow-up from the case; what the case does not hold is said not to be there."""
        asked = question[:2000]
        intent = next((name for name, pattern in _QUESTIONS if pattern.search(asked)), None)
        verdict, evidence, contributions = report.verdict, report.evidence, report.contributions
        first = self.answer_first(verdict, evidence)
        match intent:
            case "why":
                return (first, *self.reasons(verdict, evidence, contributions))
            case "where":
                return _places(evidence)
            case "sure":
                return (first, *_how_sure(verdict), *self._answer_notes(verdict))
            case "limits":
                return self.limits(verdict, evidence, every=True) or (
                    _limit("The case lists nothing that was not examined.", VERDICT),
                )
            case "tools":
                return _tools(evidence)
            case "change":
                return _what_would_change(verdict, contributions)
            case "verdict":
                return (first, *self._answer_notes(verdict))
            case _:
                return (_house(5), _house(6))


def _question(verdict: Verdict) -> tuple[str, float, tuple[float, float]]:
    if verdict.label == "edited" and verdict.p_edited is not None:
        return "edited", verdict.p_edited, verdict.interval_edited or (0.0, 1.0)
    return "generated", verdict.p_generated, verdict.interval


def _p(value: float) -> str:
    """A probability with two decimals, and more where two would say 0 or 1."""
    for digits in range(2, 7):
        if 0 < round(value, digits) < 1:
            return f"{value:.{digits}f}"
    return f"{value:.2f}"


def _prior(verdict: Verdict) -> str:
    return "given a 50:50 prior," if verdict.prior == 0.5 else f"given a prior of {verdict.prior:g},"


def _stop(text: str) -> str:
    return text if text.endswith((".", "!", "?")) else f"{text}."


def _house(index: int) -> Sentence:
    return Sentence(text=f"{HOUSE_RULES[index]}.", cites=(VERDICT,), role="limits")


def _limit(text: str, cite: str) -> Sentence:
    return Sentence(text=text, cites=(cite,), role="limits")


def _tool(item: Evidence) -> str:
    return f"The {item.detector.replace('_', ' ')} tool"


def _known(ids: Iterable[str], by_id: dict[str, Evidence]) -> list[str]:
    return [name for name in ids if name in by_id]


def _telling(item: Evidence, wanted: tuple[str, ...]) -> Finding | None:
    """The finding that shows best why the tool speaks as it does."""
    return max(
        item.findings,
        key=lambda finding: (finding.polarity in wanted, finding.polarity != "neutral", _SEVERITY[finding.severity]),
        default=None,
    )


def _weighed(item: Evidence, entry: Contribution, role: str) -> Sentence:
    factor = math.exp(min(abs(entry.llr), 50.0))
    fold = f"{factor:.1f}" if factor < 100 else f"{factor:,.0f}"
    raises = "raises" if entry.llr > 0 else "lowers"
    size = f"{fold}-fold ({abs(entry.decibans):.1f} decibans)"
    text = f"{_tool(item)} {raises} the odds that the picture was {entry.target} {size}"
    finding = _telling(item, (entry.target,) if entry.llr > 0 else ("camera",))
    text += f": “{finding.text}”" if finding else "."
    return Sentence.model_validate({"text": text, "cites": (item.id,), "role": role})


def _unweighed(item: Evidence) -> Sentence | None:
    finding = _telling(item, ("generated", "edited", "camera"))
    if finding is None:
        return None
    if item.abstained_because is not None:
        if _SEVERITY[finding.severity] == 0 and finding.polarity == "neutral":
            return None
        text = f"{_tool(item)} gave no judgement, and reports: “{finding.text}”"
        return Sentence(text=text, cites=(item.id,), role="limits")
    if item.target == "context" or item.claims:
        text = f"{_tool(item)} reports: “{finding.text}”"
        return Sentence(text=text, cites=(item.id,), role="reason")
    text = f"{_tool(item)} adds next to nothing to the verdict, and reports: “{finding.text}”"
    return Sentence(text=text, cites=(item.id,), role="limits")


def _places(evidence: Sequence[Evidence]) -> tuple[Sentence, ...]:
    out = []
    for item in evidence:
        for finding in item.findings:
            if finding.region is not None and not finding.region.covers_most and finding.polarity != "neutral":
                text = f"{_tool(item)} marks a place at the {finding.region.place}: “{finding.text}”"
                out.append((_SEVERITY[finding.severity], Sentence(text=text, cites=(item.id,))))
    if not out:
        return (_limit("No tool marked a place in this picture.", VERDICT),)
    return tuple(sentence for _, sentence in sorted(out, key=lambda pair: -pair[0])[:6])


def _how_sure(verdict: Verdict) -> Iterable[Sentence]:
    if verdict.decided_by == "provenance":
        return
    question, p, interval = _question(verdict)
    low, high = (_p(bound) for bound in interval)
    text = (
        f"Before any evidence the probability that the picture was {question} was set to a prior of {verdict.prior:g}; "
        f"the evidence moves it to {_p(p)}, and the 90 % interval runs from {low} to {high}."
    )
    yield Sentence(text=text, cites=(VERDICT,))
    yield Sentence(
        text=f"Confidence in this verdict is graded “{verdict.confidence}”.", cites=(VERDICT,), role="limits"
    )


def _tools(evidence: Sequence[Evidence]) -> tuple[Sentence, ...]:
    out = []
    judged = [item for item in evidence if item.abstained_because is None]
    silent = [item for item in evidence if item.abstained_because is not None]
    for items, told in ((judged, "These tools reported on the picture"), (silent, "These tools gave no judgement")):
        if items:
            names = ", ".join(f"{item.detector} (version {item.version})" for item in items)
            out.append(Sentence(text=f"{told}: {names}.", cites=tuple(item.id for item in items), role="limits"))
    return tuple(out) or (_limit("No tool reported on this picture.", VERDICT),)


def _what_would_change(verdict: Verdict, contributions: Sequence[Contribution]) -> tuple[Sentence, ...]:
    question, p, _ = _question(verdict)
    ratio = next((value for name, value in verdict.likelihood_ratio.items() if name == question), None)
    entries = [entry for entry in contributions if entry.target == question and abs(entry.decibans) >= _LEAST]
    out = []
    if ratio and verdict.decided_by == "fusion":
        for entry in sorted(entries, key=lambda each: -abs(each.decibans))[:3]:
            odds = math.log(ratio) - entry.llr + math.log(verdict.prior / (1 - verdict.prior))
            without = 1 / (1 + math.exp(-odds))
            text = (
                f"Without the {entry.evidence_id} evidence the probability that the picture was {question} would be "
                f"{_p(without)}; with it, the probability is {_p(p)}."
            )
            out.append(Sentence(text=text, cites=(entry.evidence_id, VERDICT)))
    if verdict.decided_by == "fusion":
        out.append(_house(2))
    out.append(_house(3))
    return tuple(out)
