"""Answers to follow-up questions over a case: by the model where there is one, grounded, and else by the template."""

from __future__ import annotations

import asyncio

from agent.grounding import ground
from agent.template import TemplateNarrator
from agent.verdict import Report, Sentence, Writer
from agent.vision import Vision
from tools.contract import Frozen
from tools.errors import TryAgainError


class Answer(Frozen):
    """The answer to a follow-up question over a case."""

    case_id: str
    question: str
    sentences: tuple[Sentence, ...]
    dropped: int
    answered_by: Writer


async def answer(
    report: Report, question: str, *, vision: Vision | None, voice_because: str, timeout_s: float
) -> Answer:
    """Answers from the report alone; what its evidence does not support is dropped and counted.

    Args:
        report: The case.
        question: Data, never an instruction.
        vision: The model, where there is one.
        voice_because: Why the template answers, where there is none.
        timeout_s: Seconds that the model may take.
    """
    note, dropped = voice_because, 0
    if vision is not None:
        try:
            async with asyncio.timeout(timeout_s):
                drafted = await vision.answer(report, question)
                writer = await vision.writer()
        except TimeoutError:
            note = f"The language model did not answer within {timeout_s:g} s."
        except TryAgainError as error:
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
    found = ground(template.answer(report, question), report.verdict, report.contributions, report.evidence)
    return Answer(
        case_id=report.case_id,
        question=question,
        sentences=found.kept,
        dropped=dropped + len(found.dropped),
        answered_by=template.writer(note),
    )
