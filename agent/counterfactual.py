"""What would change a verdict: the same fusion over the same evidence with one thing different. Pure.

For each tool that has weight: the nearest score, borne out by second looks, at which the label would be another. For
each kind of document: the label if the file carried it. Nothing here is evidence, and nothing of it is kept.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from agent.answering import WhatIf
from agent.calibration import Calibration
from agent.claims import Question
from agent.reweighing import weighed
from agent.verdict import Report, Verdict
from tools.contract import Claim, Evidence

_STEPS: Final = 100
"""Scores that are tried, from 0 to 1 in steps of a hundredth."""
_PROVENANCE: Final = "provenance"
_DOCUMENTS: Final[tuple[tuple[str, Claim], ...]] = (
    (
        "a signature on the trust list that says camera capture",
        Claim(source="c2pa", says="camera", rank="trusted", detail="supposed"),
    ),
    (
        "a signature on the trust list that says a model made it",
        Claim(source="c2pa", says="generated", rank="trusted", detail="supposed"),
    ),
    (
        "unsigned metadata that names a generator",
        Claim(source="iptc", says="generated", rank="unsigned", detail="supposed"),
    ),
)


def what_would_change(report: Report, calibration: Calibration) -> tuple[WhatIf, ...]:
    """What would give this case another label, the tools first, by how little of a change would do.

    Empty where the verdict cannot be had again from the report's evidence, because another calibration made it.
    """
    now = _verdict(report, report.evidence, calibration)
    if now.label != report.verdict.label or report.verdict.calibration != calibration.name:
        return ()
    tools = [] if now.decided_by == "provenance" else _scores(report, now, calibration)
    return (*tools, *_without_signature(report, now, calibration), *_documents(report, now, calibration))


def _verdict(
    report: Report, evidence: Sequence[Evidence], calibration: Calibration, supposed: Mapping[str, float] | None = None
) -> Verdict:
    return weighed(report, tuple(evidence), calibration, supposed=supposed).fused.verdict


def _scores(report: Report, now: Verdict, calibration: Calibration) -> list[WhatIf]:
    speaking = {entry.evidence_id for entry in report.contributions if entry.bucket != "none"}
    found = []
    for item in report.evidence:
        if item.score is None or item.claims or item.id not in speaking:
            continue
        change = _nearest(report, item, now, calibration)
        found.append(_no_score(item, now) if change is None else change)
    return sorted(found, key=lambda each: (each.needed is None, _far(each), each.evidence_id))


def _far(what: WhatIf) -> float:
    return abs((what.needed or 0.0) - (what.score or 0.0))


def _nearest(report: Report, item: Evidence, now: Verdict, calibration: Calibration) -> WhatIf | None:
    """The score nearest to a tool's own that gives another label."""
    score = item.score
    if score is None:
        return None
    grid = sorted((step / _STEPS for step in range(_STEPS + 1)), key=lambda value: (abs(value - score), value))
    others = [each for each in report.evidence if each.id != item.id]
    for value in grid:
        then = _verdict(report, [*others, item.model_copy(update={"score": value})], calibration, {item.id: value})
        if then.label != now.label:
            side = "at or above" if value > score else "at or below"
            text = (
                f"With a score of {item.id} {side} {value:.2f} (it is {score:.2f}) and all else as it is, the "
                f"verdict would be “{then.label}” ({_chance(then)})."
            )
            return WhatIf(
                kind="score", evidence_id=item.id, score=score, needed=value, label=then.label,
                p_generated=then.p_generated, p_edited=then.p_edited, text=text,
            )  # fmt: skip
    return None


def _no_score(item: Evidence, now: Verdict) -> WhatIf:
    text = f"No score of {item.id} alone would change the verdict from “{now.label}”; its score is {item.score:.2f}."
    return WhatIf(kind="score", evidence_id=item.id, score=item.score, text=text)


def _without_signature(report: Report, now: Verdict, calibration: Calibration) -> list[WhatIf]:
    """What the rest would say were the statements of origin not there."""
    stating = [item for item in report.evidence if item.claims]
    if not stating:
        return []
    then = _verdict(report, [item for item in report.evidence if not item.claims], calibration)
    if then.label == now.label:
        return []
    names = " and ".join(item.id for item in stating)
    text = f"Without what {names} read in the file, the verdict would be “{then.label}” ({_chance(then)})."
    return [
        WhatIf(
            kind="without", evidence_id=stating[0].id, label=then.label, p_generated=then.p_generated,
            p_edited=then.p_edited, text=text,
        )
    ]  # fmt: skip


def _documents(report: Report, now: Verdict, calibration: Calibration) -> list[WhatIf]:
    """The verdict if the file carried a document that it does not carry."""
    rest = [item for item in report.evidence if not item.claims and item.detector != _PROVENANCE]
    found = []
    for what, claim in _DOCUMENTS:
        supposed = Evidence(
            id=_PROVENANCE, detector=_PROVENANCE, version="supposed", target="context",
            abstained_because="It is supposed.", claims=(claim,),
        )  # fmt: skip
        then = _verdict(report, [*rest, supposed], calibration)
        if then.label != now.label:
            text = f"With {what} in the file, the verdict would be “{then.label}” ({_chance(then)})."
            found.append(
                WhatIf(
                    kind="document", label=then.label, p_generated=then.p_generated, p_edited=then.p_edited, text=text
                )
            )
    return found


def _chance(verdict: Verdict) -> str:
    question: Question = "edited" if verdict.label == "edited" else "generated"
    p = verdict.p_edited if question == "edited" and verdict.p_edited is not None else verdict.p_generated
    return f"probability of {question} {p:.3g}" if 0.001 <= p <= 0.999 else f"probability of {question} near {p:.0f}"
