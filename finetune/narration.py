# ruff: noqa: E501 - wordings are read best on one line
"""What a good explanation or answer says of a case, in varied wording: the replies that the narrator is trained on.

The wording follows the evidence (the tool, the side, the size of its weight), so that a model can learn when to say
what. Every sentence goes through `agent.grounding.ground`; where a wording does not pass for a case, the next one is
taken, and a sentence of which no wording passes is left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from agent.basis import HOUSE_RULES, VERDICT
from agent.grounding import objection
from agent.prompt import Narration, ReplySentence, brief, shown, told_first
from agent.verdict import Contribution, Sentence, Verdict
from agent.wording import likelihood_words
from finetune.cases import Case
from tools.contract import Evidence, Finding

Role = Literal["answer", "reason", "against", "limits"]
MOST, MOST_FOR = 4, 3
"""Reasons that an explanation gives, and those of them on one side."""

_ANSWERS: dict[str, tuple[str, ...]] = {
    "lean": (
        "It is {words} that the picture was {asked}: the probability is {p} ({low} to {high}), from a prior of {prior}.",
        "With a probability of {p} it is {words} that the picture was {asked}; the 90 % interval is {low} to {high}.",
        "That the picture was {asked} is {words}: the probability is {p}, with a 90 % interval of {low} to {high}.",
        "The probability that the picture was {asked} is {p} ({low} to {high}), which is {words}.",
        "From a prior of {prior} the evidence leads to a probability of {p} that the picture was {asked}: {words}.",
    ),
    "inconclusive": (
        "Whether the picture was {asked} remains open: the probability is {p} ({low} to {high}).",
        "The evidence does not settle whether the picture was {asked}; the probability is {p}, {words}.",
        "It cannot be told whether the picture was {asked}: the probability is {p}, with a 90 % interval of {low} to {high}.",
    ),
    "prior": (
        "The evidence does not settle whether the picture was {asked}: nothing here has weight, and the probability is the prior, {p}.",
    ),
    "no_evidence": (
        "No evidence of weight was found that the picture was generated: the probability is {p} ({low} to {high}).",
        "No evidence of weight was found that the picture was generated, and its probability is {p}, {words}.",
    ),
    "laundered": (
        "The evidence fits a picture that passed through a generative model after it was taken: the probability that it was generated is {p}.",
    ),
    "authentic": (
        "A signer on the trust list states that a camera captured the picture, and this signature decides the verdict.",
    ),
    "signed": (
        "A signer on the trust list states that the picture was {asked}, and this signature decides the verdict.",
    ),
}  # fmt: skip
_FOR: tuple[tuple[str, ...], ...] = (
    ("{Tool} adds {db} decibans for {asked}: {fact}.", "Slightly in favour, by {db} decibans, {tool} reports: {fact}."),
    ("{Tool} raises the odds that the picture was {asked} by {db} decibans: {fact}.",
     "{Tool} speaks for {asked} with {db} decibans: {fact}."),
    ("{Fact}, and {tool} adds {db} decibans for {asked}.", "{Tool} lends {db} decibans to {asked}: {fact}."),
    ("The odds that the picture was {asked} rise by {db} decibans through {tool}: {fact}.",
     "{Tool} weighs most with {db} decibans for {asked}: {fact}."),
)  # fmt: skip
"""By the band of decibans; within a band by the tool's name."""
_AGAINST: tuple[tuple[str, ...], ...] = (
    ("{Tool} takes {db} decibans off {asked}: {fact}.", "{Tool} speaks slightly against {asked}, by {db} decibans: {fact}."),
    ("{Tool} lowers the odds that the picture was {asked} by {db} decibans: {fact}.",
     "Against {asked} speaks {tool} with {db} decibans: {fact}."),
    ("{Tool} speaks against {asked} with {db} decibans: {fact}.", "{Fact}, and {tool} lowers the odds of {asked} by {db} decibans."),
    ("The odds that the picture was {asked} fall by {db} decibans through {tool}: {fact}.",
     "{Tool} weighs against {asked} with {db} decibans: {fact}."),
)  # fmt: skip
_SIGN = ("{Tool} carries no weight in the verdict, and reports: {fact}.",)
_STATED = ("{Tool} reports: {fact}.", "By {tool}: {fact}.")
_SILENT = ("{Tool} gave no judgement: {fact}.",)
_BANDS = (1.5, 4.0, 8.0)
_SMALL = frozenset({"A", "An", "The", "No", "Of", "In", "To", "Parts", "Detail", "All", "What", "Nothing"})


def explanation(case: Case) -> Narration:
    """The explanation of a case: the answer, reasons on both sides, conflicts, and limits."""
    out = [answer(case)]
    told = told_first(case.evidence, case.contributions)
    counts = {"reason": 0, "against": 0}
    rest: list[ReplySentence | None] = []
    for item, weight, finding in told:
        if weight is not None and finding is not None:
            said = _weighed(case, item, weight, finding)
            role = said.role if said else "reason"
            if said and sum(counts.values()) < MOST and counts[role] < MOST_FOR:
                counts[role] += 1
                out.append(said)
        elif finding is not None and (item.claims or finding.polarity != "neutral") and len(rest) < 1:
            role_: Role = "reason" if item.claims else "limits"
            rest.append(_first(case, _STATED if item.claims else _SIGN, item, role_, {"fact": finding.text}))
    out.sort(key=lambda said: ("answer", "reason", "against").index(said.role))
    for conflict in case.verdict.conflicts[:1]:
        ids = [name for name in conflict.evidence_ids if any(item.id == name for item in case.evidence)]
        out.append(_said(f"The evidence disagrees: {_low(brief(conflict.text))}.", [*ids, VERDICT][:8], "against"))
    out += [said for said in rest if said]
    out += _limits(case, told)
    return Narration(sentences=[said for said in out if not _objection(case, said)][:12])


def answer(case: Case) -> ReplySentence:
    """The verdict in one sentence."""
    verdict = case.verdict
    asked, p, (low, high) = _asked(verdict)
    if verdict.decided_by == "provenance":
        kind = "authentic" if verdict.label == "authentic" else "signed"
    elif verdict.label == "inconclusive":
        kind = "prior" if (low, high) == (0.0, 1.0) else "inconclusive"
    else:
        kind = verdict.label if verdict.label in _ANSWERS else "lean"
    slots = {
        "asked": asked, "p": shown(p), "low": shown(low), "high": shown(high), "prior": f"{verdict.prior:g}",
        "words": likelihood_words(p),
    }  # fmt: skip
    cites = [VERDICT]
    if verdict.decided_by == "provenance":
        cites += [item.id for item in case.evidence if any(claim.rank == "trusted" for claim in item.claims)]
    wordings = _ANSWERS[kind]
    # The words for the probability choose the wording: what a model can read off the line.
    turn = len(slots["words"]) + {"none": 0, "low": 1, "moderate": 2, "high": 3}[verdict.confidence]
    for step in range(len(wordings)):
        said = _said(wordings[(turn + step) % len(wordings)].format(**slots), cites, "answer")
        if not _objection(case, said):
            return said
    raise ValueError(f"no wording of the answer is grounded: {slots}")


def reply_to(case: Case, intent: str) -> Narration:
    """The answer to a question of one kind (`finetune.questions`)."""
    out: list[ReplySentence] = []
    if intent in ("verdict", "attack"):
        out = [answer(case)]
    elif intent == "why":
        out = [said for said in explanation(case).sentences if said.role != "limits"][:4]
    elif intent == "where":
        out = _places(case)
    elif intent == "sure":
        grade = f"Confidence in this verdict is graded “{case.verdict.confidence}”."
        out = [answer(case), _said(grade, [VERDICT], "limits")]
    elif intent == "limits":
        out = [
            _said(f"Not examined: {_low(brief(text))}.", [VERDICT], "limits") for text in case.verdict.not_examined[:1]
        ]
        out += _silent(case)
    elif intent == "tools":
        out = _tools(case)
    elif intent == "change":
        out = [_said(f"{HOUSE_RULES[index]}.", [VERDICT], "limits") for index in (3, 2)]
    elif intent == "beyond":
        out = [_said(f"{HOUSE_RULES[5]}.", [VERDICT], "limits")]
    kept = [said for said in out if not _objection(case, said)]
    return Narration(sentences=kept or [_said(f"{HOUSE_RULES[5]}.", [VERDICT], "limits")])


def objections(case: Case, narration: Narration) -> list[str]:
    """Why sentences of a reply may not stand; empty where all may."""
    return [because for said in narration.sentences if (because := _objection(case, said))]


def _asked(verdict: Verdict) -> tuple[str, float, tuple[float, float]]:
    if verdict.label == "edited" and verdict.p_edited is not None:
        return "edited", verdict.p_edited, verdict.interval_edited or (0.0, 1.0)
    return "generated" if verdict.label != "edited" else "edited", verdict.p_generated, verdict.interval


def _weighed(case: Case, item: Evidence, weight: Contribution, finding: Finding) -> ReplySentence | None:
    db = abs(weight.decibans)
    band = sum(db >= limit for limit in _BANDS)
    asked, p, _ = _asked(case.verdict)
    leans = 1 if p >= 0.5 else -1
    role: Role = "reason" if weight.target != asked or weight.llr * leans > 0 else "against"
    slots = {"db": f"{db:.1f}", "asked": f"“{weight.target}”", "fact": finding.text}
    table = _FOR if weight.llr > 0 else _AGAINST
    wordings = (*table[band], *table[1])
    if finding.polarity == "neutral":
        wordings = tuple(wording for wording in wordings if "{Fact}" not in wording)
    turn = len(item.detector) % 2
    wordings = (*wordings[turn : turn + 1], *wordings)
    return _first(case, wordings, item, role, slots)


def _first(
    case: Case, wordings: Sequence[str], item: Evidence, role: Role, slots: dict[str, str]
) -> ReplySentence | None:
    """The first of `wordings` that is grounded."""
    name = f"the {item.detector.replace('_', ' ')} tool"
    fact = brief(slots["fact"])
    filled = slots | {
        "tool": name, "Tool": name[0].upper() + name[1:], "fact": _low(fact), "Fact": fact[0].upper() + fact[1:]
    }  # fmt: skip
    for wording in wordings:
        text = wording.format(**filled).replace("“generated”", "a generated picture").replace("“edited”", "an edit")
        text = text.replace("the picture was a generated picture", "the picture was generated")
        text = text.replace("the picture was an edit", "the picture was edited")
        said = _said(text, [item.id], role)
        if not _objection(case, said):
            return said
    return None


def _limits(case: Case, told: list[tuple[Evidence, Contribution | None, Finding | None]]) -> list[ReplySentence]:
    out: list[ReplySentence] = []
    plain = [item for item, weight, _ in told if weight is None and item.score is not None and item.target != "context"]
    quiet = [item for item in plain if not any(each.polarity != "neutral" for each in item.findings)][:4]
    if quiet:
        names = _listed([item.detector.replace("_", " ") for item in quiet])
        many = f"The {names} tools carry" if len(quiet) > 1 else f"The {names} tool carries"
        out.append(_said(f"{many} no weight in the verdict.", [item.id for item in quiet], "limits"))
    out += _silent(case)[:1]
    if case.verdict.not_examined:
        out.append(_said(f"Not examined: {_low(brief(case.verdict.not_examined[0]))}.", [VERDICT], "limits"))
    return out


def _silent(case: Case) -> list[ReplySentence]:
    out = []
    for item in case.evidence:
        if item.abstained_because is not None and item.target != "context":
            said = _first(case, _SILENT, item, "limits", {"fact": item.abstained_because})
            if said:
                out.append(said)
    return out[:3]


def _places(case: Case) -> list[ReplySentence]:
    out = []
    for item, _, finding in told_first(case.evidence, case.contributions):
        if finding is not None and finding.region is not None and not finding.region.covers_most:
            wording = ("{Tool} marks a place at the " + finding.region.place + ": {fact}.",)
            said = _first(case, wording, item, "reason", {"fact": finding.text})
            if said:
                out.append(said)
    return out or [_said("No tool marked a place in this picture.", [VERDICT], "limits")]


def _tools(case: Case) -> list[ReplySentence]:
    out = []
    judged = [item for item in case.evidence if item.abstained_because is None][:8]
    silent = [item for item in case.evidence if item.abstained_because is not None][:8]
    for items, told in ((judged, "These tools reported on the picture"), (silent, "These tools gave no judgement")):
        if items:
            names = _listed([item.detector.replace("_", " ") for item in items])
            out.append(_said(f"{told}: {names}.", [item.id for item in items], "limits"))
    return out


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def _said(text: str, cites: list[str], role: Role) -> ReplySentence:
    return ReplySentence(text=text, cites=cites, role=role)


def _low(text: str) -> str:
    """`text` as it goes on after a colon: its first letter small where it is capital for opening a sentence alone."""
    return text[0].lower() + text[1:] if text.split(maxsplit=1)[0] in _SMALL or text[1:2] == " " else text


def _objection(case: Case, said: ReplySentence) -> str | None:
    sentence = Sentence(text=said.text, cites=tuple(dict.fromkeys(said.cites)), role=said.role)
    return objection(sentence, case.verdict, case.contributions, case.evidence)
