"""Stability: what flips, what is only told, and that nothing of it lends weight."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.fusion import UNTRIED, fuse
from agent.stability import as_evidence, margins, settle
from agent.state import Shown
from agent.verdict import ImageFacts
from tests.agent.test_fusion import calibration, measured, said, spoke, tool
from tools.contract import Evidence

IMAGE = ImageFacts(path="a", sha256="0" * 64, bytes=1, width=1000, height=800, format="PNG", mode="RGB")
KNOWN = calibration(patch=tool(), frequency=tool(0.5), splice=tool(1.0, target="edited"))


def shown(kind: str, score: float | None, name: str = "patch", **fields: object) -> Shown:
    return Shown(kind=kind, tool=name, evidence=spoke(name, score, **fields))  # type: ignore[arg-type]


def settled(evidence: list[Evidence], *looks: Shown):  # type: ignore[no-untyped-def]
    return settle(evidence, looks, image=IMAGE, prior=0.5, calibration=KNOWN)


@pytest.mark.parametrize(
    ("first", "again", "label"),
    [
        (0.95, 0.6, "generated"),
        (0.95, 0.5, "inconclusive"),
        (0.95, 0.1, "inconclusive"),
        (0.05, 0.3, "no_evidence"),
        (0.05, 0.6, "inconclusive"),
        (0.65, 0.1, "inconclusive"),
    ],
)
def test_a_label_stays_only_where_every_look_stays_on_its_side(first: float, again: float, label: str) -> None:
    evidence = [spoke(score=first), measured(95, 800)]
    before = fuse(evidence, prior=0.5, calibration=KNOWN)
    (verdict, contributions), stability = settled(evidence, shown("jpeg70", again), shown("crop", first))
    assert verdict.label == label
    assert (verdict.p_generated, verdict.interval) == (before.verdict.p_generated, before.verdict.interval)
    assert contributions == before.contributions
    assert stability.flips is (label != before.verdict.label or first == 0.65)
    assert UNTRIED not in verdict.not_examined
    assert UNTRIED in before.verdict.not_examined


@settings(max_examples=80, deadline=None)
@given(first=st.floats(0.01, 0.99), again=st.lists(st.floats(0.01, 0.99), min_size=1, max_size=3))
def test_second_looks_never_make_a_verdict_surer(first: float, again: list[float]) -> None:
    evidence = [spoke(score=first)]
    before = fuse(evidence, prior=0.5, calibration=KNOWN).verdict
    looks = [shown(kind, score) for kind, score in zip(("jpeg70", "half", "crop"), again, strict=False)]
    (after, _), stability = settled(evidence, *looks)
    assert after.label in (before.label, "inconclusive")
    assert after.p_generated == before.p_generated
    assert margins(settled(evidence, *looks)[0], stability)["generated"] <= abs(
        math.log(before.likelihood_ratio["generated"])
    ) + 1e-9  # fmt: skip


def test_a_look_is_weighed_under_its_own_conditions() -> None:
    bound = calibration(patch=tool(least_quality=75))
    looks = [shown("jpeg70", 0.95), shown("crop", 0.95)]
    _, stability = settle([spoke(score=0.95), measured(95, 800)], looks, image=IMAGE, prior=0.5, calibration=bound)
    by_kind = {look.kind: look for look in stability.looks}
    assert by_kind["jpeg70"].likelihood_ratio.get("generated", 1.0) == 1.0, "70 is harsher than it was calibrated on"
    assert by_kind["crop"].likelihood_ratio["generated"] > 4


def test_an_edited_verdict_is_judged_by_its_own_tool() -> None:
    evidence = [spoke("splice", 0.95, target="edited"), spoke(score=0.5)]
    (verdict, _), _ = settled(evidence, shown("half", 0.5))
    assert verdict.label == "edited", "the other tool's second look says nothing of it"
    (verdict, _), stability = settled(evidence, shown("half", 0.2, "splice", target="edited"))
    assert verdict.label == "inconclusive"
    assert stability.flips
    assert "'edited'" in (verdict.abstained_because or "")


def test_a_signature_is_not_judged_by_it() -> None:
    evidence = [said("generated", "trusted"), spoke(score=0.9)]
    (verdict, _), stability = settled(evidence, shown("jpeg70", 0.1))
    assert (verdict.label, verdict.decided_by) == ("generated", "provenance")
    assert (stability.judged, stability.flips) == (False, False)
    assert "signature decides" in stability.because


def test_unsigned_recipes_hold_their_own_through_second_looks() -> None:
    evidence = [said("generated", "unsigned"), spoke(score=0.6)]
    (verdict, _), stability = settled(evidence, shown("jpeg70", 0.3))
    assert verdict.label == "generated", "what the file says of itself is not in the pixels"
    assert not stability.flips


def test_the_side_of_a_conflict_that_does_not_hold_no_longer_blocks() -> None:
    evidence = [spoke(score=0.97), spoke("frequency", 0.05)]
    both = calibration(patch=tool(), frequency=tool(0.7))
    before = fuse(evidence, prior=0.5, calibration=both).verdict
    assert (before.label, len(before.conflicts)) == ("inconclusive", 1)
    assert "in conflict" in (before.abstained_because or "")
    fallen = [shown(kind, score, "frequency") for kind, score in (("jpeg70", 0.7), ("half", 0.8), ("crop", 0.3))]
    steady = [shown(kind, 0.97) for kind in ("jpeg70", "half", "crop")]
    (verdict, _), _ = settle(evidence, [*steady, *fallen], image=IMAGE, prior=0.5, calibration=both)
    assert verdict.p_generated == before.p_generated, "it still counts in full"
    assert "in conflict" not in (verdict.abstained_because or "")
    assert "frequency did not hold and patch did" in verdict.conflicts[0].outcome
    (open_, _), _ = settle(
        evidence, [*fallen, *(shown("half", 0.1) for _ in range(1)), shown("crop", 0.1)], image=IMAGE, prior=0.5,
        calibration=both,
    )  # fmt: skip
    assert open_.label == "inconclusive", "the stronger side fell too"


def test_what_was_seen_can_be_cited_and_weighs_nothing() -> None:
    evidence = [spoke(score=0.95)]
    (verdict, _), stability = settled(evidence, shown("jpeg70", 0.1))
    told = as_evidence(stability)
    assert told is not None
    assert told.findings[0].text == stability.because
    again = fuse([*evidence, told], prior=0.5, calibration=KNOWN)
    assert again.verdict.p_generated == verdict.p_generated
    assert {each.evidence_id for each in again.contributions} == {"patch"}
    assert as_evidence(settled(evidence)[1]) is None
