"""Answers to follow-up questions over a case: by the model where there is one, grounded, and else by the template."""

from __future__ import annotations

import asyncio
from typing import Final, Literal

from agent.afterwards import ReportVersion
from agent.grounding import ground
from agent.intents import Intent
from agent.template import TemplateNarrator
from agent.verdict import Label, Report, Sentence, Writer
from agent.vision import Vision
from tools.contract import Fraction, Frozen, Region
from tools.errors import ExpositError

PLAINLY: Final[dict[Intent, str]] = {
    "why": "Why?",
    "where": "Where?",
    "sure": "How sure?",
    "limits": "What was not examined?",
    "tools": "Which tools?",
    "change": "What would change the verdict?",
    "verdict": "What is the verdict?",
    "pressure": "What is the verdict?",
    "earlier": "What is the verdict?",
    "other": "?",
}
"""An intent as the question that the template answers: what the person wrote does not reach it."""


class Comparison(Frozen):
    """A second picture beside that of the case.

    Attributes:
        case_id: The second picture's own case.
        same_file: Whether both files are the same, byte for byte.
        distance: Bits of 256 by which the perceptual hashes differ; None where either picture holds too little.
        same_picture: Whether that is near enough for copies of one picture; None where nothing can be said.
        label, p_generated: The second picture's own verdict.
    """

    case_id: str
    same_file: bool
    distance: int | None
    same_picture: bool | None
    label: Label
    p_generated: Fraction


class WhatIf(Frozen):
    """One thing that would, or would not, give another label.

    Attributes:
        kind: `score` of a tool, a `document` in the file, or `without` a piece of evidence.
        evidence_id: The evidence that is thought different; empty for a document.
        score, needed: The tool's score, and the nearest one that gives another label; None where none does.
        label, p_generated, p_edited: The verdict there; None where none of the tool's scores changes it.
        text: The same in plain English.
    """

    kind: Literal["score", "document", "without"]
    evidence_id: str = ""
    score: Fraction | None = None
    needed: Fraction | None = None
    label: Label | None = None
    p_generated: Fraction | None = None
    p_edited: Fraction | None = None
    text: str


class Answer(Frozen):
    """The answer to a follow-up question over a case.

    Attributes:
        sentences: What is said of the picture; each cites evidence that bears it out.
        dropped: How many sentences of a model were left out because nothing bears them out.
        intent: What the question was taken to ask for.
        notes: What was done and what can be done. They say nothing of the picture.
        ran: Ids of the evidence that the question brought.
        revision: Number of the report that the answer rests on.
        before: The report before this question, where it brought new evidence; None where it brought none.
        what_if: What would, or would not, give another label; for that question only.
        region: The part of the picture that was examined.
    """

    case_id: str
    question: str
    sentences: tuple[Sentence, ...]
    dropped: int
    answered_by: Writer
    intent: Intent = "other"
    notes: tuple[str, ...] = ()
    ran: tuple[str, ...] = ()
    revision: int = 1
    before: ReportVersion | None = None
    what_if: tuple[WhatIf, ...] = ()
    comparison: Comparison | None = None
    region: Region | None = None


async def answer(
    report: Report, question: str, *, vision: Vision | None, voice_because: str, timeout_s: float, plainly: str
) -> Answer:
    """Answers from the report alone; what its evidence does not support is dropped and counted.

    Args:
        report: The case.
        question: Data, never an instruction.
        vision: The model, where there is one.
        voice_because: Why the template answers, where there is none.
        timeout_s: Seconds that the model may take.
        plainly: The question that the template answers in its place.
    """
    note, dropped = voice_because, 0
    if vision is not None:
        try:
            async with asyncio.timeout(timeout_s):
                drafted = await vision.answer(report, question)
                writer = await vision.writer()
        except TimeoutError:
            note = f"The language model did not answer within {timeout_s:g} s."
        except ExpositError as error:
            note = f"The language model did not answer: {error}"
        else:
            found = ground(drafted, report.verdict, report.contributions, report.evidence)
            dropped = len(found.dropped)
            if found.kept:
                return Answer(
                    case_id=report.case_id,
                    question=question,
                    sentences=found.kept,
                    dropped=dropped,
                    answered_by=writer,
                )
            note = f"The evidence supports none of the {dropped} sentences that the language model answered with."
    template = TemplateNarrator()
    found = ground(template.answer(report, plainly), report.verdict, report.contributions, report.evidence)
    return Answer(
        case_id=report.case_id,
        question=question,
        sentences=found.kept,
        dropped=dropped + len(found.dropped),
        answered_by=template.writer(note),
    )
