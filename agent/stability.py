"""Whether pixel evidence survives re-saving, resizing and cropping, and what follows for the verdict. Pure.

A second look puts the scores that tools gave of a degraded view in the place of their first ones, under the conditions
that such a view has, and asks fusion what the verdict would be. It never adds weight: all it can do is withhold a
label, or show that one side of a conflict does not hold. A verdict that a signature decided is not judged by it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final, NamedTuple

from agent import fusion
from agent.calibration import Calibration
from agent.conflicts import QUESTIONS
from agent.fusion import UNTRIED, Fused
from agent.state import Shown
from agent.verdict import ImageFacts, Label, PlanStep, SecondLook, Stability
from tools.contract import Evidence
from tools.views import DEGRADATIONS, Degradation, conditions

STEP: Final = "stability"
"""Name of the step of the plan in which the picture is degraded and looked at again."""
WORDS: Final[dict[Degradation, str]] = {
    "jpeg70": "after saving at JPEG quality 70",
    "half": "after shrinking",
    "crop": "after a slight crop",
}


LEANS: Final = 1.5
"""Odds from which evidence without a label is said to lean one way."""
SIGNED: Final = "A trusted signature decides, and re-saving has no say over it."


class Settled(NamedTuple):
    """A verdict with its stability."""

    fused: Fused
    stability: Stability


def settle(
    evidence: Sequence[Evidence],
    shown: Sequence[Shown],
    *,
    image: ImageFacts,
    prior: float,
    calibration: Calibration,
    plan: Sequence[PlanStep] = (),
) -> Settled:
    """The verdict on the evidence, held against the second looks.

    Args:
        evidence: Of the picture as it is.
        shown: Of its degraded views; empty where there were none.
        image: Its facts; the size is read.
        prior, calibration, plan: As `agent.fusion.fuse` takes them.
    """
    first = fusion.fuse(evidence, prior=prior, calibration=calibration, plan=plan)
    if first.verdict.decided_by == "provenance":
        return Settled(
            _tried(first),
            Stability(judged=False, because=SIGNED),
        )
    looks = [_again(kind, evidence, shown, image, prior, calibration) for kind in DEGRADATIONS]
    seen = [look for look in looks if look is not None and look[0].scores]
    if not seen:
        return Settled(first, Stability(judged=False, because=_why_none(shown, plan), tools=_tools(shown)))
    fused = first
    if first.verdict.conflicts:
        unsteady = _unsteady(first, [fused_again for _, fused_again in seen])
        fused = fusion.fuse(evidence, prior=prior, calibration=calibration, plan=plan, unsteady=unsteady)
        fused = _with_outcome(fused, unsteady, _tools(shown))
    marked = tuple(
        look.model_copy(update={"flips": _flips(fused, again)})
        for look, again in ((each[0], each[1]) for each in looks if each is not None)
    )
    against = [look for look in marked if look.scores and look.flips]
    stability = Stability(
        judged=True, because=_told(marked, against), tools=_tools(shown), looks=marked, flips=bool(against)
    )
    return Settled(_tried(_withheld(fused, against, evidence) if against else fused), stability)


def _again(
    kind: Degradation, evidence: Sequence[Evidence], shown: Sequence[Shown], image: ImageFacts, prior: float,
    calibration: Calibration,
) -> tuple[SecondLook, Fused] | None:  # fmt: skip
    mine = {item.tool: item.evidence for item in shown if item.kind == kind}
    if not mine:
        return None
    spoke = {name: item.score for name, item in mine.items() if item.score is not None}
    if not spoke:
        fused = fusion.fuse(evidence, prior=prior, calibration=calibration)
    else:
        size = (image.width, image.height)
        replaced = [
            mine[item.id] if item.id in spoke
            else item.model_copy(update={"measurements": conditions(kind, item.measurements, size)})
            if item.target == "context" and "jpeg_quality_effective" in item.measurements
            else item
            for item in evidence
        ]  # fmt: skip
        fused = fusion.fuse(replaced, prior=prior, calibration=calibration)
    silent = {name: item.abstained_because for name, item in mine.items() if item.abstained_because is not None}
    look = SecondLook(
        kind=kind, scores=spoke, silent=silent, label=fused.verdict.label, p_generated=fused.verdict.p_generated,
        p_edited=fused.verdict.p_edited, likelihood_ratio=fused.verdict.likelihood_ratio, flips=False,
    )  # fmt: skip
    return look, fused


def _flips(first: Fused, again: Fused) -> bool:
    """Whether a second look speaks against what the first was found to be.

    A label flips where the odds of its question fall to the other side of even, or another label would be given.
    Without a label it is the leaning on `generated` that flips.
    """
    label = first.verdict.label
    ratio = again.verdict.likelihood_ratio
    if label == "generated":
        return ratio.get("generated", 1.0) <= 1.0
    if label == "edited":
        return ratio.get("edited", 1.0) <= 1.0
    if label == "no_evidence":
        return ratio.get("generated", 1.0) >= 1.0 or again.verdict.label in ("generated", "edited")
    before = first.verdict.likelihood_ratio.get("generated", 1.0)
    leans = before >= LEANS or before <= 1 / LEANS
    return leans and (before - 1.0) * (ratio.get("generated", 1.0) - 1.0) < 0


def _unsteady(first: Fused, seen: Sequence[Fused]) -> frozenset[str]:
    """Evidence whose own ratio points the other way, or to nothing, in most of the second looks of it."""
    out = set()
    for voice in first.contributions:
        if voice.llr == 0:
            continue
        later = [
            other.llr * voice.llr
            for fused in seen
            for other in fused.contributions
            if (other.evidence_id, other.target) == (voice.evidence_id, voice.target)
        ]
        if later and sum(product <= 0 for product in later) * 2 > len(later):
            out.add(voice.evidence_id)
    return frozenset(out)


def _with_outcome(fused: Fused, unsteady: frozenset[str], asked: Sequence[str]) -> Fused:
    """The conflicts, with what second looks made of them."""
    told = []
    for conflict in fused.verdict.conflicts:
        again = [name for name in conflict.evidence_ids if name in asked]
        fell = [name for name in again if name in unsteady]
        held = [name for name in again if name not in unsteady]
        if not again:
            outcome = ""
        elif fell and held:
            outcome = f"Looked at again in degraded copies, {_and(fell)} did not hold and {_and(held)} did."
        elif fell:
            outcome = f"Looked at again in degraded copies, {_and(fell)} did not hold."
        else:
            outcome = f"Looked at again in degraded copies, {_and(held)} held, so that the conflict stays open."
        told.append(conflict.model_copy(update={"outcome": outcome}))
    return fused._replace(verdict=fused.verdict.model_copy(update={"conflicts": tuple(told)}))


def _withheld(fused: Fused, against: Sequence[SecondLook], evidence: Sequence[Evidence]) -> Fused:
    """Takes a label away that second looks speak against; a case that was open stays open for its own reason."""
    verdict = fused.verdict
    labels: tuple[Label, ...] = ("generated", "edited", "no_evidence", "laundered")
    if verdict.label not in labels:
        return fused
    because = (
        f"The evidence in the pixels does not survive a second look: the picture as it came would have been called "
        f"'{verdict.label}', and {_and([WORDS[look.kind] for look in against])} the evidence points the other way. "
        f"{fusion.helps(evidence)}"
    )
    low = "low" if verdict.confidence in ("moderate", "high") else verdict.confidence
    return fused._replace(
        verdict=verdict.model_copy(update={"label": "inconclusive", "abstained_because": because, "confidence": low})
    )


def _tried(fused: Fused) -> Fused:
    """Strikes stability from what was not examined."""
    left = tuple(text for text in fused.verdict.not_examined if text != UNTRIED)
    return fused._replace(verdict=fused.verdict.model_copy(update={"not_examined": left}))


def _told(looks: Sequence[SecondLook], against: Sequence[SecondLook]) -> str:
    seen = [WORDS[look.kind] for look in looks if look.scores]
    missed = [WORDS[look.kind] for look in looks if not look.scores]
    text = f"The picture was looked at again {_and(seen)}: "
    text += (
        f"the evidence points the other way {_and([WORDS[look.kind] for look in against])}."
        if against
        else ("the evidence points the same way each time.")
    )
    return f"{text} It could not be looked at {_and(missed)}." if missed else text


def _why_none(shown: Sequence[Shown], plan: Sequence[PlanStep]) -> str:
    silent = [item for item in shown if item.evidence.abstained_because is not None]
    if silent:
        first = silent[0]
        return f"No second look gave a score ({first.tool}, {WORDS[first.kind]}: {first.evidence.abstained_because})"
    step = next((step for step in plan if step.tool == STEP), None)
    return step.because if step is not None and not step.run else "No second look was made."


def _tools(shown: Sequence[Shown]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(item.tool for item in shown))


def _and(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def margins(fused: Fused, stability: Stability) -> dict[str, float]:
    """For each question, the smallest log-likelihood ratio in the direction of the first look, over all looks.

    Below 0 some look speaks against the first one.
    """
    out: dict[str, float] = {}
    for question in QUESTIONS:
        ratio = fused.verdict.likelihood_ratio.get(question)
        if ratio is None:
            continue
        sign = 1.0 if ratio >= 1 else -1.0
        looks = [look.likelihood_ratio.get(question, 1.0) for look in stability.looks if look.scores]
        out[question] = min(sign * math.log(value) for value in (ratio, *looks))
    return out
