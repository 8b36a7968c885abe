"""The plain template: verdict and evidence in fixed sentences, each of which a reader can quote.

It writes when there is no model, when a model fails, and in place of an answer that grounding refused. Everything it
says of the picture is a number of the verdict or a finding in the tool's own words; `agent.grounding` passes all of it.
Which sentence is said when stands here; the sentences themselves stand in `agent/languages/`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence

from agent.basis import VERDICT
from agent.language import ENGLISH, Number, Phrase, Quote, Role, Several, Slot, Word, language
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
        """The explanation: the answer, the reasons by strength, what speaks against, what the number means, limits."""
        return _english(narration(verdict, evidence, contributions))

    def answer_first(self, verdict: Verdict, evidence: Sequence[Evidence] = ()) -> Sentence:
        """The answer in one sentence."""
        return answer_phrase(verdict, evidence).sentence(language(ENGLISH))

    def reasons(
        self, verdict: Verdict, evidence: Sequence[Evidence], contributions: Sequence[Contribution]
    ) -> tuple[Sentence, ...]:
        """What speaks for the answer, strongest first; what speaks against it; what was seen but has no weight."""
        return _english(_reasons(verdict, evidence, contributions))

    def limits(self, verdict: Verdict, evidence: Sequence[Evidence], *, every: bool = False) -> tuple[Sentence, ...]:
        """What gave no judgement, what limits the tools that did, and what was not examined (`every` item of it)."""
        return _english(_limits(verdict, evidence, every=every))

    def answer(self, report: Report, question: str) -> tuple[Sentence, ...]:
        """Answers a follow-up from the case; what the case does not hold is said not to be there."""
        asked = question[:2000]
        intent = next((name for name, pattern in _QUESTIONS if pattern.search(asked)), None)
        verdict, evidence, contributions = report.verdict, report.evidence, report.contributions
        first = answer_phrase(verdict, evidence)
        match intent:
            case "why":
                return _english((first, *_reasons(verdict, evidence, contributions)))
            case "where":
                return _english(_places(evidence))
            case "sure":
                return _english((first, *_how_sure(verdict), *_answer_notes(verdict)))
            case "limits":
                return _english(
                    _limits(verdict, evidence, every=True) or (Phrase("limits", "none_listed", (VERDICT,), "limits"),)
                )
            case "tools":
                return _english(_tools(evidence))
            case "change":
                return _english(_what_would_change(verdict, contributions))
            case "verdict":
                return _english((first, *_answer_notes(verdict)))
            case _:
                return _english((_house(5), _house(6)))


def narration(
    verdict: Verdict, evidence: Sequence[Evidence], contributions: Sequence[Contribution] = ()
) -> tuple[Phrase, ...]:
    """The explanation as phrases, for any language: `TemplateNarrator.narrate` gives the English ones."""
    return (
        answer_phrase(verdict, evidence),
        *_answer_notes(verdict),
        *_reasons(verdict, evidence, contributions),
        *_meaning(verdict),
        *_limits(verdict, evidence),
    )


def _english(phrases: Iterable[Phrase]) -> tuple[Sentence, ...]:
    return tuple(phrase.sentence(language(ENGLISH)) for phrase in phrases)


def answer_phrase(verdict: Verdict, evidence: Sequence[Evidence] = ()) -> Phrase:
    """The answer in one phrase."""
    if verdict.decided_by == "provenance" and verdict.label in ("authentic", "edited", "generated"):
        signed = [item.id for item in evidence if any(claim.rank == "trusted" for claim in item.claims)]
        return Phrase("answer", f"signed_{verdict.label}", (VERDICT, *signed), "answer")
    question, p, interval = _question(verdict)
    low, high = (Number(_p(bound)) for bound in interval)
    slots: dict[str, Slot] = {
        "prior": _prior(verdict), "p": Number(_p(p)), "low": low, "high": high,
        "likelihood": Word("likelihood", likelihood_words(p)),
    }  # fmt: skip
    key: str
    match verdict.label:
        case "no_evidence" | "laundered":
            key = verdict.label
        case "inconclusive":
            key = f"nothing_{question}" if interval == (0.0, 1.0) else f"open_{question}"
        case _:
            key = f"label_{question}"
    return Phrase("answer", key, (VERDICT,), "answer", slots)


def _answer_notes(verdict: Verdict) -> Iterable[Phrase]:
    if verdict.decided_by == "provenance":
        yield _house(1)
    if verdict.abstained_because:
        text = _stop(verdict.abstained_because)
        yield Phrase("limits", "left_open", (VERDICT,), "limits", {"text": Quote(text, marked=False)})


def _reasons(
    verdict: Verdict, evidence: Sequence[Evidence], contributions: Sequence[Contribution]
) -> tuple[Phrase, ...]:
    """What speaks for the answer, strongest first; against it; on the other question; and what has no weight."""
    question, p, _ = _question(verdict)
    leans = 1 if p >= 0.5 else -1
    by_id = {item.id: item for item in evidence}
    ranked = sorted(
        (entry for entry in contributions if abs(entry.decibans) >= _LEAST and entry.evidence_id in by_id),
        key=lambda entry: (-abs(entry.decibans), entry.evidence_id),
    )
    spoken: dict[Role, list[Phrase]] = {"reason": [], "against": [], "context": []}
    told: set[str] = set()
    if verdict.decided_by == "provenance":
        for item in evidence:
            if any(claim.rank == "trusted" for claim in item.claims):
                told.add(item.id)
                spoken["reason"] += [said for said in [_unweighed(item, "reason")] if said]
    for entry in ranked:
        item = by_id[entry.evidence_id]
        told.add(item.id)
        if verdict.decided_by == "provenance" and any(claim.rank == "trusted" for claim in item.claims):
            continue  # a signature that decides is told by what it says, not by odds
        role: Role = "context" if entry.target != question else "reason" if entry.llr * leans > 0 else "against"
        spoken[role].append(_weighed(item, entry, role))
    rest = [item for item in evidence if item.id not in told]
    unweighed = [phrase for item in rest if (phrase := _unweighed(item, "context"))]
    conflicts = [
        Phrase("reason", key, (*_known(conflict.evidence_ids, by_id), VERDICT), "against", {"quote": Quote(text)})
        for conflict in verdict.conflicts
        for key, text in (("disagrees", conflict.text), ("disagrees_more", _more(conflict.beyond, conflict.outcome)))
        if text
    ]
    context = [phrase for phrase in unweighed if phrase.role == "context"]
    silent = [phrase for phrase in unweighed if phrase.role != "context"]
    return (*spoken["reason"], *spoken["against"], *conflicts, *spoken["context"], *context, *silent)


def _more(beyond: str, outcome: str) -> str:
    return f"{beyond} {outcome}".strip()


def _limits(verdict: Verdict, evidence: Sequence[Evidence], *, every: bool = False) -> tuple[Phrase, ...]:
    out = []
    for item in evidence:
        if item.abstained_because is not None and item.target != "context":
            slots: dict[str, Slot] = {"tool": _tool(item), "quote": Quote(item.abstained_because)}
            out.append(Phrase("limits", "no_judgement", (item.id,), "limits", slots))
    for item in evidence:
        if item.abstained_because is None and item.limits:
            slots = {"tool_low": _tool(item, "_low"), "quote": Quote(item.limits[0])}
            out.append(Phrase("limits", "limit_of", (item.id,), "limits", slots))
    missing = [Quote(text.rstrip(" ."), marked=False) for text in verdict.not_examined]
    if every:
        out += [_missing("not_examined", (text,)) for text in missing]
    elif missing:
        out.append(_missing("not_examined_more" if len(missing) > _TOLD else "not_examined", missing[:_TOLD]))
    return tuple(out)


def _missing(key: str, items: Sequence[Slot]) -> Phrase:
    return Phrase("limits", key, (VERDICT,), "limits", {"items": Several(tuple(items), "; ")})


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


def _prior(verdict: Verdict) -> Word:
    if verdict.prior == 0.5:
        return Word("prior", "even")
    return Word("prior", "other", {"prior": Number(f"{verdict.prior:g}")})


def _stop(text: str) -> str:
    return text if text.endswith((".", "!", "?")) else f"{text}."


def _house(index: int) -> Phrase:
    return Phrase("house", str(index), (VERDICT,), "limits")


def _tool(item: Evidence, ending: str = "") -> Word:
    if item.detector == "stability":
        return Word("words", f"stability{ending}")
    return Word("words", f"tool{ending}", {"name": item.detector.replace("_", " ")})


def _known(ids: Iterable[str], by_id: dict[str, Evidence]) -> list[str]:
    return [name for name in ids if name in by_id]


def _telling(item: Evidence, wanted: tuple[str, ...]) -> Finding | None:
    """The finding that shows best why the tool speaks as it does."""
    return max(
        item.findings,
        key=lambda finding: (finding.polarity in wanted, finding.polarity != "neutral", _SEVERITY[finding.severity]),
        default=None,
    )


def _weighed(item: Evidence, entry: Contribution, role: Role) -> Phrase:
    factor = math.exp(min(abs(entry.llr), 50.0))
    fold = Number(f"{factor:.1f}" if factor < 100 else f"{factor:,.0f}")
    begin = Word(
        "reason", f"{'raises' if entry.llr > 0 else 'lowers'}_{entry.target}",
        {"tool": _tool(item), "fold": fold, "decibans": Number(f"{abs(entry.decibans):.1f}")},
    )  # fmt: skip
    finding = _telling(item, (entry.target,) if entry.llr > 0 else ("camera",))
    if finding is None:
        return Phrase("reason", "ends", (item.id,), role, {"begin": begin})
    slots: dict[str, Slot] = {"begin": begin, "quote": Quote(finding.text)}
    place = _place(item, finding) if entry.llr > 0 else None
    if place is None:
        return Phrase("reason", "says", (item.id,), role, slots)
    return Phrase("reason", "says_at", (item.id,), role, slots | {"place": place})


def _place(item: Evidence, finding: Finding) -> Word | None:
    """Where a tool that raises the odds saw most: the place of the finding that is told, or else of its strongest."""
    marked = [each for each in item.findings if each.region is not None and each.polarity not in ("neutral", "camera")]
    told = finding if finding in marked else max(marked, key=lambda each: _SEVERITY[each.severity], default=None)
    if told is None or told.region is None or told.region.covers_most:
        return None
    return Word("place", told.region.place)


def _unweighed(item: Evidence, role: Role) -> Phrase | None:
    finding = _telling(item, ("generated", "edited", "camera"))
    if finding is None:
        return None
    slots: dict[str, Slot] = {"tool": _tool(item), "quote": Quote(finding.text)}
    if item.detector == "stability" or item.claims or (item.target == "context" and item.abstained_because is None):
        return Phrase("reason", "reports", (item.id,), role, slots)
    if item.abstained_because is not None:
        if _SEVERITY[finding.severity] == 0 and finding.polarity == "neutral":
            return None
        return Phrase("reason", "reports_silent", (item.id,), "limits", slots)
    if not item.blind:
        return Phrase("reason", "again", (item.id,), role, slots)
    return Phrase("reason", "reports_nothing", (item.id,), "limits", slots)


def _places(evidence: Sequence[Evidence]) -> tuple[Phrase, ...]:
    out = []
    for item in evidence:
        for finding in item.findings:
            if finding.region is not None and not finding.region.covers_most and finding.polarity != "neutral":
                slots: dict[str, Slot] = {
                    "tool": _tool(item), "place": Word("place", finding.region.place), "quote": Quote(finding.text)
                }  # fmt: skip
                out.append((_SEVERITY[finding.severity], Phrase("asked", "marks", (item.id,), "reason", slots)))
    if not out:
        return (Phrase("asked", "no_place", (VERDICT,), "limits"),)
    return tuple(phrase for _, phrase in sorted(out, key=lambda pair: -pair[0])[:6])


def _meaning(verdict: Verdict) -> Iterable[Phrase]:
    """What the number means, in plain words; nothing where nothing was weighed or a signature decided."""
    question, p, interval = _question(verdict)
    if verdict.decided_by == "provenance" or interval == (0.0, 1.0):
        return
    slots: dict[str, Slot] = {"share": _share(p), "prior": Number(f"{verdict.prior:g}")}
    yield Phrase("limits", f"meaning_{question}", (VERDICT,), "limits", slots)
    yield _confidence(verdict)


def _share(p: float) -> Word:
    """A probability as a count: `83 in 100`, `3 in 10,000`."""
    digits = len(_p(p)) - 2
    return Word("words", "share", {"n": Number(f"{round(p * 10**digits):,}"), "of": Number(f"{10**digits:,}")})


def _confidence(verdict: Verdict) -> Phrase:
    graded = Word("words", "quoted", {"word": Word("confidence", verdict.confidence)})
    return Phrase("limits", "confidence", (VERDICT,), "limits", {"quote": graded})


def _how_sure(verdict: Verdict) -> Iterable[Phrase]:
    if verdict.decided_by == "provenance":
        return
    question, p, interval = _question(verdict)
    low, high = (Number(_p(bound)) for bound in interval)
    slots: dict[str, Slot] = {"prior": Number(f"{verdict.prior:g}"), "p": Number(_p(p)), "low": low, "high": high}
    yield Phrase("limits", f"moves_{question}", (VERDICT,), "reason", slots)
    yield _confidence(verdict)


def _tools(evidence: Sequence[Evidence]) -> tuple[Phrase, ...]:
    out = []
    judged = [item for item in evidence if item.abstained_because is None]
    silent = [item for item in evidence if item.abstained_because is not None and item.detector != "stability"]
    for key, items in (("judged", judged), ("silent", silent)):
        if items:
            names = Several(
                tuple(Word("asked", "version", {"tool": item.detector, "version": item.version}) for item in items)
            )
            out.append(Phrase("asked", key, tuple(item.id for item in items), "limits", {"tools": names}))
    return tuple(out) or (Phrase("asked", "no_tool", (VERDICT,), "limits"),)


def _what_would_change(verdict: Verdict, contributions: Sequence[Contribution]) -> tuple[Phrase, ...]:
    question, p, _ = _question(verdict)
    ratio = next((value for name, value in verdict.likelihood_ratio.items() if name == question), None)
    entries = [entry for entry in contributions if entry.target == question and abs(entry.decibans) >= _LEAST]
    out = []
    if ratio and verdict.decided_by == "fusion":
        for entry in sorted(entries, key=lambda each: -abs(each.decibans))[:3]:
            odds = math.log(ratio) - entry.llr + math.log(verdict.prior / (1 - verdict.prior))
            without = 1 / (1 + math.exp(-odds))
            slots: dict[str, Slot] = {"id": entry.evidence_id, "without": Number(_p(without)), "p": Number(_p(p))}
            out.append(Phrase("asked", f"without_{question}", (entry.evidence_id, VERDICT), "reason", slots))
    if verdict.decided_by == "fusion":
        out.append(_house(2))
    out.append(_house(3))
    return tuple(out)
