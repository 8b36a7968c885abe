"""Evidence → contributions → probability, interval, label. Pure: no model, no clock, no chance at run time.

Each calibrated tool turns its score into a log-likelihood ratio (`agent.calibration`), shrunk by how far it applies to
the picture; tools that look at pixels are summed with stacking weights that calibration fitted, because they see the
same traces, and their sum is capped. Statements of origin weigh what `agent.claims` says. The sum meets the prior:
log odds = log prior odds + Σ llr. The interval is the 5th to 95th percentile of the same sum over the bootstrap draws
that the calibration file holds. The label follows from a fixed table, docs/VERDICTS.md.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np

from agent.calibration import ALL, Array, Calibration, bucket_names, conditions
from agent.claims import Question, Statements, statements, weigh
from agent.conflicts import CONFLICT, DECIBANS, QUESTIONS, Voice, find_conflicts
from agent.verdict import Confidence, Contribution, Interval, Label, PlanStep, Verdict
from tools.contract import Evidence
from tools.errors import ConfigurationError

PIXEL_CAP = math.log(10)
"""Largest |Σ llr| of pixel tools for one question: ten decibans. They are weak where subjects match, so that however
many agree, they alone move even odds no further than 10 to 1."""
LABEL_FLOOR = math.log(4)
"""No sum at or below this gives `generated` or `edited`, whatever calibration found."""
NO_EVIDENCE_CEILING = -math.log(2)
"""No sum above this gives `no_evidence`."""
BLOCKING = 0.5
"""A conflict withholds the label where the weaker side is at least this share of the stronger."""
JUDGEMENT_SPREAD = (0.5, 1.5)
"""Factor on the log-likelihood ratio of a statement of origin over the draws: our doubt about our own judgement."""
_GOLDEN = (math.sqrt(5) - 1) / 2

NEVER_EXAMINED = (
    "Whether the picture appeared elsewhere before (no reverse image search is made).",
    "Invisible vendor watermarks such as SynthID (their readers are not public).",
    "Whether a real picture was passed through a generator's autoencoder (`laundered`): no tool here tells.",
    "Whether caption, place, date or context are true.",
)
UNTRIED = "Whether the evidence survives re-saving and resizing."
_EXAMINED_BY: dict[str, tuple[str, ...]] = {
    "Content credentials and metadata about the picture's origin.": ("provenance",),
    "Splices and local edits (no calibrated tool looked for them).": ("splice",),
    "What a vision model sees in the picture, such as anatomy, lettering or light.": ("look", "vision"),
}
_READERS = frozenset({"provenance"})
"""Tools that have examined the file even where they abstain: no statement of origin is an answer."""


class Fused(NamedTuple):
    """What fusion returns."""

    verdict: Verdict
    contributions: tuple[Contribution, ...]


@dataclass(frozen=True, slots=True)
class _Answer:
    """One question answered."""

    examined: bool
    llr: float
    p: float
    interval: Interval


def bars(calibration: Calibration) -> dict[Literal["generated", "edited", "no_evidence"], float]:
    """The sums of log-likelihood ratios above which a label may be given; for `no_evidence`, at or below which."""
    return {
        "generated": max(LABEL_FLOOR, calibration.generated.llr),
        "edited": max(LABEL_FLOOR, calibration.edited.llr),
        "no_evidence": min(NO_EVIDENCE_CEILING, calibration.no_evidence.llr),
    }


def fuse(
    evidence: Sequence[Evidence],
    *,
    prior: float,
    calibration: Calibration,
    plan: Sequence[PlanStep] = (),
    unsteady: Collection[str] = (),
) -> Fused:
    """Turns evidence into a verdict.

    The order of `evidence` does not matter; no probability falls when a score for it rises; abstaining adds 0.

    Args:
        evidence: Everything that the tools gave for one picture.
        prior: Probability before any evidence that a picture was generated, and that it was edited; inside (0, 1).
        calibration: From `agent.calibration.load`.
        plan: What was run and left out; what was left out is named in `not_examined`.
        unsteady: Evidence that second looks did not bear out. It counts in full, for or against, but it alone no
            longer withholds a label from a stronger side that they did bear out.

    Raises:
        ConfigurationError: `prior` is not inside (0, 1).
    """
    if not 0 < prior < 1:
        raise ConfigurationError(f"The prior is {prior}.", remedy="Set EXPOSIT_PRIOR between 0 and 1, both excluded.")
    evidence = sorted(evidence, key=lambda item: (item.id, item.model_dump_json()))
    origin = statements(evidence)
    decided = origin.decided
    voices = [voice for item in evidence for voice in _voices(item, evidence, calibration)]
    for question in QUESTIONS:
        _cap([voice for voice in voices if voice.question == question and voice.pixel])
    conflicts = find_conflicts(voices, origin, evidence)
    if decided is not None:
        _set_aside(voices)
    answers = {question: _answer(question, voices, prior) for question in QUESTIONS}
    generated, edited = answers["generated"], answers["edited"]
    label, withheld = _label(answers, voices, origin, calibration, prior, frozenset(unsteady))
    return Fused(
        Verdict(
            label=label,
            p_generated=generated.p,
            p_edited=edited.p if edited.examined else None,
            likelihood_ratio={name: math.exp(answers[name].llr) for name in QUESTIONS if answers[name].examined},
            prior=prior,
            interval=generated.interval,
            interval_edited=edited.interval if edited.examined else None,
            confidence=_confidence(label, answers, voices, bool(conflicts)),
            decided_by="fusion" if decided is None else "provenance",
            abstained_because=_why_not(withheld, evidence) if withheld else None,
            conflicts=conflicts,
            not_examined=_not_examined(evidence, plan, edited.examined),
            calibration=calibration.name,
        ),
        tuple(
            Contribution(
                evidence_id=voice.evidence_id,
                target=voice.question,
                llr=voice.point,
                decibans=voice.point * DECIBANS,
                bucket=voice.bucket,
                because=voice.because,
            )
            for voice in voices
        ),
    )


def _voices(item: Evidence, evidence: Sequence[Evidence], calibration: Calibration) -> list[Voice]:
    if item.claims:
        spread = _judgement_spread(calibration.draws)
        return [
            Voice(w.evidence_id, w.question, w.llr * spread, "statements of origin",
                   f"{w.because} (expert judgement)" if w.llr else w.because, False, w.llr != 0)
            for w in weigh(item)
        ]  # fmt: skip
    if item.target == "context":
        return []
    return [_pixel_voice(item, evidence, calibration)]


def _judgement_spread(draws: int) -> Array:
    """1 for the point value, then a low-discrepancy sequence over the spread, unrelated to the order of draws."""
    low, high = JUDGEMENT_SPREAD
    steps = (np.arange(1, draws + 1) * _GOLDEN) % 1.0
    return np.concatenate([[1.0], low + (high - low) * steps])


def _pixel_voice(item: Evidence, evidence: Sequence[Evidence], calibration: Calibration) -> Voice:
    """The calibrated voice of one score; silent, with the reason, where it may not speak."""
    question: Question = "edited" if item.target == "edited" else "generated"

    def silent(because: str, bucket: str = "none") -> Voice:
        return Voice(item.id, question, np.zeros(1 + calibration.draws), bucket, because, True, False)

    if item.score is None:
        return silent(f"abstained: {item.abstained_because}")
    if not item.blind:
        return silent("this look was not blind to other evidence, so it is not independent: weight zero")
    if item.id != item.detector:
        return silent("a second look by the same tool is not independent evidence: weight zero")
    tool = calibration.tools.get(item.detector)
    if tool is None:
        return silent("not calibrated yet: weight zero")
    if tool.version != item.version:
        return silent(f"calibrated for another version ({tool.version}, this is {item.version}): weight zero")
    if tool.target != question:
        return silent(f"calibrated for another question ({tool.target}): weight zero")
    if tool.weight == 0:
        return silent(tool.because)
    name = ALL
    known = next((found for other in evidence if (found := conditions(other.measurements)) is not None), None)
    if known is not None:
        quality, side = known
        if quality < tool.least_quality:
            return silent(
                f"saved at JPEG quality {quality:.0f}, harsher than anything it was calibrated on "
                f"({tool.least_quality:.0f}): weight zero"
            )
        if side < tool.least_short_side:
            return silent(
                f"{side:.0f} px at its shorter side, smaller than anything it was calibrated on "
                f"({tool.least_short_side:.0f} px): weight zero"
            )
        name = next(name for name in bucket_names(quality, side) if name in tool.buckets)
    bucket = tool.buckets[name]
    llr = bucket.llr(item.score) * tool.weights * item.applicability
    because = f"calibrated on at least {bucket.n} pictures of each class; {tool.because}"
    if item.applicability < 1:
        because += f"; it applies to this picture by {item.applicability:.2f}, and its weight shrinks with that"
    return Voice(item.id, question, llr, name, because, True, True)


def _cap(voices: Sequence[Voice]) -> None:
    """Scales the pixel voices of one question so that their sum stays within the cap, point and draws apart."""
    if not voices:
        return
    total = np.sum([voice.llr for voice in voices], axis=0)
    factor = np.minimum(1.0, PIXEL_CAP / np.maximum(np.abs(total), 1e-12))
    for voice in voices:
        voice.llr = voice.llr * factor
        if factor[0] < 1 and voice.weighted:
            voice.because += "; scaled down because pixel evidence together may not exceed ten decibans"


def _set_aside(voices: Sequence[Voice]) -> None:
    """Silences what a trusted signature overrules; what it would have added is kept in words."""
    for voice in voices:
        if voice.pixel and voice.weighted:
            voice.because = (
                f"not counted, because a trusted signature decides; alone it would have added "
                f"{voice.point * DECIBANS:+.1f} decibans ({voice.because})"
            )
            voice.llr = np.zeros_like(voice.llr)
            voice.weighted = False


def _answer(question: Question, voices: Sequence[Voice], prior: float) -> _Answer:
    """Sums the voices. Where none has weight the probability is the prior and the interval says nothing: (0, 1)."""
    speaking = [voice for voice in voices if voice.question == question and voice.weighted]
    if not speaking:
        return _Answer(False, 0.0, prior, (0.0, 1.0))
    llr = np.sum([voice.llr for voice in speaking], axis=0)
    p = 1 / (1 + np.exp(-np.clip(llr + math.log(prior / (1 - prior)), -700, 700)))
    low, high = np.percentile(p[1:], [5, 95])
    point = float(p[0])
    return _Answer(True, float(llr[0]), point, (min(float(low), point), max(float(high), point)))


def _blocked(question: Question, voices: Sequence[Voice], unsteady: frozenset[str]) -> bool:
    points = [(voice.point, voice.evidence_id) for voice in voices if voice.question == question]
    speak_for, against = (sum(max(sign * point, 0.0) for point, _ in points) for sign in (1, -1))
    weaker, stronger = sorted((speak_for, against))
    if weaker < CONFLICT or weaker < BLOCKING * stronger:
        return False
    sign = 1 if speak_for == weaker else -1
    minor = {name for point, name in points if sign * point > 0}
    major = {name for point, name in points if sign * point < 0}
    return speak_for == against or not minor <= unsteady or bool(major & unsteady)


def _label(
    answers: dict[Question, _Answer],
    voices: Sequence[Voice],
    origin: Statements,
    calibration: Calibration,
    prior: float,
    unsteady: frozenset[str],
) -> tuple[Label, str | None]:
    """The table of docs/VERDICTS.md, from the top; and why no label could be given."""
    if origin.decided is not None:
        return origin.decided, None
    if origin.any("camera", ingredient=False) and origin.admit_ai:
        return "inconclusive", "Statements of origin contradict each other: a trusted camera signature, and AI."
    for question in QUESTIONS:
        if _blocked(question, voices, unsteady):
            return "inconclusive", f"The evidence on whether the picture was {question} is in conflict."
    at = bars(calibration)
    passed = [
        question
        for question in QUESTIONS
        if answers[question].llr > at[question] and answers[question].interval[0] > 0.5
    ]
    if passed:
        return max(passed, key=lambda question: answers[question].p), None
    generated, edited = answers["generated"], answers["edited"]
    if not generated.examined and not edited.examined:
        return "inconclusive", "No evidence has any weight here, so that the probability is the prior unchanged."
    floor = at["no_evidence"]
    quiet = generated.llr <= floor and generated.interval[1] < 0.5
    if generated.examined and quiet and (not edited.examined or edited.llr <= 0):
        return "no_evidence", None
    examined = [name for name in QUESTIONS if answers[name].examined]
    question = max(examined, key=lambda name: answers[name].llr)
    if answers[question].llr > at[question]:
        return "inconclusive", (
            f"The likelihood ratio for '{question}' is {math.exp(answers[question].llr):.2f}, but at the prior of "
            f"{prior:g} the 90 % interval of the probability reaches down to {answers[question].interval[0]:.2f}; it "
            "must stay above one half."
        )
    found = " and ".join(
        f"for '{name}' {math.exp(answers[name].llr):.2f} (90 % interval of the probability "
        f"{answers[name].interval[0]:.2f} to {answers[name].interval[1]:.2f})"
        for name in examined
    )
    needed = ", ".join(f"'{name}' needs one above {math.exp(at[name]):.2f}" for name in examined)
    return "inconclusive", (
        f"The evidence is too weak for a label. Its likelihood ratio is {found}; {needed}, and 'no_evidence' one of at "
        f"most {math.exp(floor):.2f} for 'generated'."
    )


def _why_not(withheld: str, evidence: Sequence[Evidence]) -> str:
    return f"{withheld} {helps(evidence)}"


def helps(evidence: Sequence[Evidence]) -> str:
    """What would help to settle a case that was left open, in one sentence."""
    known = next((found for item in evidence if (found := conditions(item.measurements)) is not None), None)
    helpful = "the file as it was first published or taken, with its metadata, and not a screenshot of it"
    if known is not None and known[0] < 85:
        helpful += f", less compressed than this copy (JPEG quality {known[0]:.0f})"
    if known is not None and known[1] < 512:
        helpful += f", larger than this copy ({known[1]:.0f} px at its shorter side)"
    return f"What would help: {helpful}; and a reverse image search for earlier copies."


def _confidence(label: Label, answers: dict[Question, _Answer], voices: Sequence[Voice], conflict: bool) -> Confidence:
    """The interval in a word, by docs/VERDICTS.md; pixel evidence alone never earns `high`."""
    question: Question = "edited" if label == "edited" else "generated"
    low, high = answers[question].interval
    away = max(low, 1 - high)
    if away <= 0.5:
        return "none"
    if label == "inconclusive" or away < 0.7:
        return "low"
    origin_spoke = any(voice.weighted and not voice.pixel and voice.question == question for voice in voices)
    return "high" if away >= 0.9 and origin_spoke and not conflict else "moderate"


def _not_examined(evidence: Sequence[Evidence], plan: Sequence[PlanStep], edited: bool) -> tuple[str, ...]:
    """What nothing looked at: the fixed list less what spoke, then the tools that abstained or were left out."""
    spoke = {item.detector for item in evidence if item.score is not None or item.claims}
    read = {item.detector for item in evidence}
    missing = []
    for what, tools in _EXAMINED_BY.items():
        done = read if _READERS.issuperset(tools) else spoke
        if not done.intersection(tools):
            missing.append(what)
    if not edited:
        missing.append("Whether the picture was altered in part: `p_edited` is therefore empty.")
    silent = [
        f"{item.id} gave no score: {item.abstained_because}"
        for item in evidence
        if item.score is None and item.target != "context" and item.detector not in _READERS
    ]
    left = [f"{step.tool} was left out: {step.because}" for step in plan if not step.run and step.kind != "probe"]
    return (*NEVER_EXAMINED, UNTRIED, *missing, *silent, *left)
