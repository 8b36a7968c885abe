"""Weighing a case again when evidence was added to it. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from agent.calibration import Calibration
from agent.grounding import ground
from agent.nodes import artifacts
from agent.stability import Settled, settle
from agent.state import Shown, merge_evidence
from agent.template import TemplateNarrator
from agent.verdict import EarlierVerdict, PlanStep, Report
from tools.contract import Evidence


def weighed(
    report: Report,
    evidence: tuple[Evidence, ...],
    calibration: Calibration,
    *,
    shown: Sequence[Shown] = (),
    supposed: Mapping[str, float] | None = None,
) -> Settled:
    """The verdict of a case on other evidence: its own prior, plan and second looks, and the calibration at hand.

    Args:
        report: The case.
        evidence: In place of that of the report.
        calibration: The one at hand.
        shown: Second looks beside those of the report.
        supposed: Scores, by tool, that second looks are supposed to bear out.
    """
    return settle(
        evidence,
        [*_second_looks(report, evidence, supposed or {}), *shown],
        image=report.image,
        prior=report.verdict.prior,
        calibration=calibration,
        plan=report.plan,
    )


def _second_looks(report: Report, evidence: tuple[Evidence, ...], supposed: Mapping[str, float]) -> list[Shown]:
    """The second looks that the report tells of, as they were weighed: by their scores."""
    first = {item.id: item for item in (*report.evidence, *evidence)}
    found = []
    for look in report.stability.looks if report.stability is not None else ():
        for tool in sorted(look.scores.keys() & first.keys()):
            if first[tool].score is None:
                continue
            score = supposed.get(tool, look.scores[tool])
            again = first[tool].model_copy(update={"score": score, "findings": (), "regions": (), "maps": ()})
            found.append(Shown(kind=look.kind, tool=tool, evidence=again))
    return found


def revised(
    report: Report,
    new: tuple[Evidence, ...],
    calibration: Calibration,
    *,
    because: str,
    timings: Mapping[str, float],
    shown: Sequence[Shown] = (),
) -> Report:
    """The next report of a case, with `new` evidence beside the old.

    Evidence under a new id is added; under a known id it takes the place of an abstention. The explanation is written
    anew by the plain template; what the case said before stands in `earlier`.

    Args:
        report: The newest report of the case.
        new: What was found since.
        calibration: The one that the report was made with.
        because: What brought the new evidence, in plain English.
        timings: Milliseconds of the new steps.
        shown: What new tools said of degraded copies.
    """
    ran = {item.id for item in new if item.id == item.detector}
    steps = [each for each in report.plan if each.tool not in ran]
    asked = [each.model_copy(update={"run": True, "because": because}) for each in report.plan if each.tool in ran]
    unplanned = ran - {each.tool for each in report.plan}
    asked += [PlanStep(tool=name, run=True, because=because, cost=0.0) for name in unplanned]
    with_plan = report.model_copy(update={"plan": tuple(sorted([*steps, *asked], key=lambda each: each.tool))})
    evidence = merge_evidence(report.evidence, new)
    fused, stability = weighed(with_plan, evidence, calibration, shown=shown)
    template = TemplateNarrator()
    said = ground(
        template.narrate(fused.verdict, evidence, fused.contributions), fused.verdict, fused.contributions, evidence
    )
    before = EarlierVerdict(
        revision=report.revision,
        label=report.verdict.label,
        p_generated=report.verdict.p_generated,
        p_edited=report.verdict.p_edited,
        because=because,
    )
    return with_plan.model_copy(
        update={
            "revision": report.revision + 1,
            "earlier": (*report.earlier, before),
            "verdict": fused.verdict,
            "evidence": evidence,
            "contributions": fused.contributions,
            "stability": stability if report.stability is not None or shown else None,
            "artifacts": artifacts(evidence),
            "explanation": said.kept,
            "dropped": said.dropped,
            "explained_by": template.writer("New evidence came after the first report: the plain template wrote anew."),
            "timings": dict(sorted((report.timings | dict(timings)).items())),
        }
    )
