"""What is said back in a conversation, from a report and what was done. Pure.

Sentences about the picture cite evidence and pass `agent.grounding`. Notes say what was done, what was asked for and
what can be done next: they come from here alone, and never from a model or from the question.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from agent import wording
from agent.afterwards import ReportVersion
from agent.answering import PLAINLY, Answer, Comparison
from agent.basis import VERDICT
from agent.calibration import Calibration
from agent.counterfactual import what_would_change
from agent.grounding import ground
from agent.intents import Understood
from agent.template import TemplateNarrator
from agent.verdict import Report, Sentence, Verdict
from tools.contract import Evidence, Frozen, Region
from tools.perceptual import SAME_WITHIN

_TEMPLATE: Final = TemplateNarrator()
UNMOVED: Final = (
    "The verdict follows from evidence alone. What is said in a question cannot change it, whoever says it; new "
    "evidence can (another copy of the file, a tool that was left out), and a person's review is recorded beside it."
)
BOX: Final = (
    "Draw a box around it (left, top, right and bottom as fractions of the picture): the tools will examine that part "
    "by itself, and the answer will say what they find there."
)
BLIND: Final = (
    "No tool here finds things in a picture: the tools measure pixels and read the file, and do not know what is shown."
)
ATTACH: Final = "Send the second picture along with the question, and both will be laid side by side."
MENU: Final = (
    "What can be done: draw a box to have that part examined by itself; run a tool by its name; send a second picture "
    "to compare; ask what would change the verdict."
)


UNLIKE: Final = 90
"""Bits of 256 from which two pictures are called different. Hashes of unrelated pictures differ in 128 on average, with
a standard deviation of 8 for independent bits: this is more than four of them below."""


def same_picture(distance: int | None) -> bool | None:
    """What a distance of perceptual hashes says: copies of one picture, two pictures, or nothing."""
    if distance is None or SAME_WITHIN < distance < UNLIKE:
        return None
    return distance <= SAME_WITHIN


class Done(Frozen):
    """What was done for a question.

    Attributes:
        ran: Ids of the new evidence.
        known: Ids of evidence that answers what was asked, and that the case held already.
        region: The part that was meant.
    """

    notes: tuple[str, ...] = ()
    ran: tuple[str, ...] = ()
    known: tuple[str, ...] = ()
    region: Region | None = None
    comparison: Comparison | None = None


def plainly(report: Report, question: str, meant: Understood, done: Done) -> Answer:
    """The answer to a question that something was done for, by the template."""
    sentences = ground(_drafted(report, meant, done), report.verdict, report.contributions, report.evidence)
    return Answer(
        case_id=report.case_id,
        question=question,
        sentences=sentences.kept,
        dropped=len(sentences.dropped),
        answered_by=_TEMPLATE.writer("Answered by the plain template, because something was done or asked for."),
    )


def complete(
    answer: Answer,
    report: Report,
    meant: Understood,
    done: Done,
    versions: Sequence[ReportVersion],
    calibration: Calibration,
) -> Answer:
    """The answer with its notes, with what changed, and with what would.

    Args:
        answer: The sentences.
        report: The newest report.
        meant: The question as it was understood.
        done: What was done for it.
        versions: Every report of the case, oldest first, where they are told.
        calibration: The one at hand.
    """
    before = versions[-2] if done.ran and len(versions) > 1 else None
    what_if = what_would_change(report, calibration) if meant.intent == "change" else ()
    return answer.model_copy(
        update={
            "intent": meant.intent,
            "notes": tuple(_notes(report, meant, done, before, versions, found=bool(what_if))),
            "ran": done.ran,
            "revision": report.revision,
            "before": before,
            "what_if": what_if,
            "comparison": done.comparison,
            "region": done.region,
        }
    )


def _drafted(report: Report, meant: Understood, done: Done) -> list[Sentence]:
    verdict, evidence = report.verdict, report.evidence
    new = [item for item in evidence if item.id in (*done.ran, *done.known)]
    match meant.intent:
        case "box" | "run" if new:
            return [*(said for item in new for said in _heard(report, item)), _TEMPLATE.answer_first(verdict, evidence)]
        case "run" | "why_not":
            return [*_about(report, meant.tools), _TEMPLATE.answer_first(verdict, evidence)]
        case "look":
            return _seen(report, meant) or list(_TEMPLATE.answer(report, PLAINLY["where"]))
        case _:
            return [_TEMPLATE.answer_first(verdict, evidence)]


def _heard(report: Report, item: Evidence) -> list[Sentence]:
    """What new evidence says: by its weight where it has one, else its first findings."""
    if item.abstained_because is not None:
        text = f"The {item.detector.replace('_', ' ')} tool gave no judgement: “{item.abstained_because}”"
        return [Sentence(text=text, cites=(item.id,), role="limits")]
    if item.blind:
        said = [
            each for each in _TEMPLATE.reasons(report.verdict, (item,), report.contributions) if item.id in each.cites
        ]
        if said:
            return said
    return [
        Sentence(text=f"The {item.detector.replace('_', ' ')} tool reports: “{finding.text}”", cites=(item.id,))
        for finding in item.findings[:3]
    ]


def _about(report: Report, names: Sequence[str]) -> list[Sentence]:
    """What the report holds of some tools: what they said, or why they did not."""
    out = []
    for name in names:
        item = next((each for each in report.evidence if each.id == name), None)
        if item is not None:
            out += _heard(report, item)
            continue
        left = f"{name} was left out:"
        reason = next((text for text in report.verdict.not_examined if text.startswith(left)), None)
        if reason is not None:
            out.append(Sentence(text=f"Not examined: {reason.rstrip(' .')}.", cites=(VERDICT,), role="limits"))
    return out


def _seen(report: Report, meant: Understood) -> list[Sentence]:
    """Findings that speak of the things that the question names."""
    return [
        Sentence(text=f"The {item.detector.replace('_', ' ')} tool reports: “{finding.text}”", cites=(item.id,))
        for item in report.evidence
        for finding in item.findings
        if wording.contents(finding.text) & set(meant.things)
    ]


def _notes(
    report: Report,
    meant: Understood,
    done: Done,
    before: ReportVersion | None,
    versions: Sequence[ReportVersion],
    *,
    found: bool,
) -> list[str]:
    notes = list(done.notes)
    if before is not None:
        notes.append(_changed(before, report))
    if done.comparison is not None:
        notes += _compared(done.comparison, report)
    match meant.intent:
        case "look":
            if not _seen(report, meant):
                notes.append(BLIND)
            notes.append(BOX)
        case "no_picture":
            notes.append(ATTACH)
        case "other":
            notes.append(MENU)
        case "change" if not found:
            notes.append(
                "What a change of each piece of evidence would do cannot be worked out: the report was made with "
                f"another calibration ({report.verdict.calibration})."
            )
        case "earlier":
            notes += _history(versions)
    if meant.pressed or meant.intent == "pressure":
        notes.append(UNMOVED)
    return notes


def _changed(before: ReportVersion, report: Report) -> str:
    """What new evidence did to the verdict, both shown."""
    verdict = report.verdict
    added = "New evidence was added to the case, and every earlier report of it is kept."
    told = f"Report {report.revision} says “{verdict.label}” ({_numbers(verdict)}); report {before.revision} said "
    told += f"“{before.label}” ({_numbers(before)})."
    if verdict.label == before.label:
        return f"{added} The verdict stays. {told}"
    return f"{added} The verdict has changed. {told}"


def _numbers(what: Verdict | ReportVersion) -> str:
    text = f"p_generated {what.p_generated:.2f}"
    return text if what.p_edited is None else f"{text}, p_edited {what.p_edited:.2f}"


def _history(versions: Sequence[ReportVersion]) -> list[str]:
    if len(versions) < 2:
        return ["The case has one report: its verdict has not changed."]
    return [f"Report {each.revision}: “{each.label}” ({_numbers(each)}). {each.because}" for each in versions]


def _compared(found: Comparison, report: Report) -> list[str]:
    """The second picture beside the first, in words."""
    if found.same_file:
        how = "Both files are the same, byte for byte."
    elif found.distance is None:
        how = "The files differ, and one of the pictures holds too little for a perceptual hash to tell more."
    else:
        like = {
            True: "that speaks for copies of one picture",
            False: "that speaks for two different pictures",
            None: "that is too many for copies of one picture and too few for two that have nothing in common",
        }[found.same_picture]
        how = f"The files differ. Their perceptual hashes (PDQ) differ in {found.distance} of 256 bits: {like}."
    both = (
        f"This case says “{report.verdict.label}” (p_generated {report.verdict.p_generated:.2f}); the second picture, "
        f"case {found.case_id}, “{found.label}” (p_generated {found.p_generated:.2f}). Each verdict is of its own file."
    )
    return [how, both]
