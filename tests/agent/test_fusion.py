from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent import claims, fusion
from agent.calibration import ALL, SHIPPED, Bucket, CalibratedTool, Calibration, Logistic, Threshold, bucket_names, load
from agent.fusion import Fused, fuse
from agent.verdict import PlanStep
from tools.contract import Claim, Evidence, Finding
from tools.errors import ConfigurationError

DRAWS = 60
ROOT = Path(__file__).resolve().parents[2]


def logistic(slope: float, spread: float = 0.1, seed: int = 0) -> Logistic:
    rng = np.random.default_rng(seed)
    return Logistic(
        intercept=0.0,
        slope=slope,
        draws=tuple((float(a), max(float(b), 0.0)) for a, b in zip(
            rng.normal(0, spread, DRAWS), rng.normal(slope, spread, DRAWS), strict=True)),
    )  # fmt: skip


def tool(
    slope: float = 1.0, *, weight: float = 1.0, spread: float = 0.1, n: int = 200, **fields: object
) -> CalibratedTool:
    fits = {kind: logistic(slope, spread, seed) for seed, kind in enumerate(("matched", "aligned"))}
    return CalibratedTool.model_validate(
        {
            "version": "1", "target": "generated", "weight": weight, "weight_draws": (weight,) * DRAWS,
            "because": "use shown out of fold", "least_quality": 70, "least_short_side": 224,
            "buckets": {ALL: Bucket(fits=fits, n=n)},
        }
        | fields
    )  # fmt: skip


def calibration(bar: float = math.log(4), **tools: CalibratedTool) -> Calibration:
    return Calibration(
        made_by="test",
        draws=DRAWS,
        tools=tools,
        generated=Threshold(llr=bar, because="test"),
        edited=Threshold(llr=math.log(4), because="test"),
        no_evidence=Threshold(llr=-math.log(2), because="test"),
    )


def spoke(name: str = "patch", score: float | None = 0.9, **fields: object) -> Evidence:
    silent = {"abstained_because": "too flat"} if score is None else {}
    return Evidence.model_validate(
        {"id": name, "detector": name, "version": "1", "target": "generated", "score": score} | silent | fields
    )


def said(says: str, rank: str, depth: int = 0, **more: object) -> Evidence:
    claim = Claim.model_validate({"source": "c2pa", "says": says, "rank": rank, "depth": depth} | more)
    return Evidence(
        id="provenance", detector="provenance", version="1", target="context",
        abstained_because="It reports and does not score.", claims=(claim,),
    )  # fmt: skip


def both(*parts: Evidence) -> Evidence:
    return parts[0].model_copy(update={"claims": tuple(claim for part in parts for claim in part.claims)})


def measured(quality: float, side: float) -> Evidence:
    return Evidence(
        id="compression", detector="compression", version="1", target="context", abstained_because="It does not judge.",
        measurements={"jpeg_quality_effective": quality, "short_side_px": side},
    )  # fmt: skip


def judge(*evidence: Evidence, prior: float = 0.5, with_: Calibration | None = None) -> Fused:
    return fuse(evidence, prior=prior, calibration=with_ or calibration(patch=tool(), frequency=tool(0.5)))


# What weighs nothing


@pytest.mark.parametrize(
    ("evidence", "reason"),
    [
        (spoke("new"), "not calibrated yet: weight zero"),
        (spoke(version="2"), "calibrated for another version (1, this is 2): weight zero"),
        (spoke(score=None), "abstained: too flat"),
        (spoke(blind=False), "not blind"),
        (spoke(id="patch:half"), "second look"),
        (spoke("weak"), "its use is not shown"),
    ],
)
def test_what_may_not_speak_weighs_nothing_and_says_why(evidence, reason):
    known = calibration(patch=tool(), weak=tool(weight=0.0, because="its use is not shown: weight zero"))
    for prior in (0.5, 0.03):
        verdict, (only,) = judge(evidence, prior=prior, with_=known)
        assert (only.llr, only.decibans) == (0.0, 0.0)
        assert reason in only.because
        assert verdict.p_generated == prior
        assert verdict.interval == (0.0, 1.0)
        assert (verdict.label, verdict.confidence) == ("inconclusive", "none")
        assert verdict.abstained_because is not None
        assert "What would help" in verdict.abstained_because
        assert verdict.p_edited is None
        assert verdict.interval_edited is None
        assert verdict.likelihood_ratio == {}


def test_no_evidence_at_all_gives_the_prior():
    verdict, contributions = judge(prior=0.2)
    assert verdict.p_generated == 0.2
    assert contributions == ()
    assert verdict.label == "inconclusive"


def test_harsher_conditions_than_calibrated_weigh_nothing():
    for conditions, reason in ((measured(50, 900), "quality 50"), (measured(90, 128), "128 px")):
        verdict, contributions = judge(spoke(), conditions)
        assert [c.llr for c in contributions] == [0.0]
        assert reason in contributions[0].because
        assert verdict.p_generated == 0.5
    assert "less compressed than this copy (JPEG quality 50)" in str(judge(spoke(), measured(50, 900))[0])


def test_prior_must_be_inside():
    for prior in (0.0, 1.0, -1.0, math.nan):
        with pytest.raises(ConfigurationError, match="prior"):
            judge(spoke(), prior=prior)


# How scores weigh


def test_a_score_becomes_a_ratio_by_hand():
    verdict, (only,) = judge(spoke(score=0.8))
    assert only.llr == pytest.approx(math.log(4))
    assert only.decibans == pytest.approx(10 * math.log10(4))
    assert verdict.p_generated == pytest.approx(0.8)
    assert verdict.likelihood_ratio == {"generated": pytest.approx(4)}
    low_prior, _ = judge(spoke(score=0.8), prior=0.1)
    assert low_prior.p_generated == pytest.approx(4 / 13)
    assert verdict.interval[0] < 0.8 < verdict.interval[1]


def test_applicability_shrinks():
    _, (half,) = judge(spoke(score=0.8, applicability=0.5))
    assert half.llr == pytest.approx(math.log(4) / 2)
    assert "applies to this picture by 0.50" in half.because


def test_a_ratio_stays_within_what_its_rows_support():
    few = calibration(patch=tool(3.0, n=4))
    _, (only,) = judge(spoke(score=1.0), with_=few)
    assert only.llr == pytest.approx(math.log(5))


def test_kinds_that_disagree_cancel():
    disagree = tool(buckets={ALL: Bucket(
        fits={"matched": logistic(1.0), "aligned": Logistic(intercept=-3.0, slope=1.0, draws=((-3.0, 1.0),) * DRAWS)},
        n=99,
    )})  # fmt: skip
    _, (only,) = judge(spoke(score=0.8), with_=calibration(patch=disagree))
    assert only.llr == 0.0
    _, (below,) = judge(spoke(score=0.2), with_=calibration(patch=disagree))
    assert below.llr == pytest.approx(-math.log(4)), "where both are negative the smaller one counts"


def test_the_bucket_of_the_picture_is_used():
    weak = tool(0.25).buckets[ALL]
    known = calibration(patch=tool(buckets={ALL: tool().buckets[ALL], "q70-84": weak}))
    assert bucket_names(80, 900) == ("q70-84 s768+", "q70-84", ALL)
    _, (only,) = judge(spoke(score=0.8), measured(80, 900), with_=known)
    assert (only.bucket, only.llr) == ("q70-84", pytest.approx(math.log(4) / 4))
    _, (other,) = judge(spoke(score=0.8), measured(99, 900), with_=known)
    assert (other.bucket, other.llr) == (ALL, pytest.approx(math.log(4)))


def test_pixel_tools_alone_never_become_certain():
    many = {f"tool{i}": tool(2.0) for i in range(6)}
    evidence = [spoke(name, 1.0) for name in many]
    verdict, contributions = judge(*evidence, with_=calibration(**many))
    assert sum(c.llr for c in contributions) == pytest.approx(math.log(10))
    assert verdict.p_generated == pytest.approx(10 / 11)
    assert verdict.confidence == "moderate"
    assert all("ten decibans" in c.because for c in contributions)
    low, _ = judge(*(spoke(name, 0.0) for name in many), with_=calibration(**many))
    assert low.p_generated == pytest.approx(1 / 11)
    assert low.label == "no_evidence"


scores = st.floats(0, 1, allow_nan=False)


@given(a=scores, b=scores, other=scores, prior=st.floats(0.01, 0.99))
def test_no_probability_falls_when_a_score_rises(a, b, other, prior):
    lower, higher = sorted((a, b))
    before, _ = judge(spoke(score=lower), spoke("frequency", other), prior=prior)
    after, _ = judge(spoke(score=higher), spoke("frequency", other), prior=prior)
    assert after.p_generated >= before.p_generated - 1e-12
    assert after.interval[0] >= before.interval[0] - 1e-12
    assert after.interval[1] >= before.interval[1] - 1e-12
    assert after.interval[0] <= after.p_generated <= after.interval[1]


@given(order=st.permutations(range(5)), score=scores)
def test_the_order_of_evidence_does_not_matter(order, score):
    evidence = [spoke(score=score), spoke("frequency", 0.3), said("generated", "unsigned"), measured(90, 500),
                spoke("new", None)]  # fmt: skip
    assert judge(*evidence) == judge(*(evidence[i] for i in order))


@given(
    score=scores,
    rank=st.sampled_from(["trusted", "valid_unknown_signer", "invalid", "unsigned"]),
    says=st.sampled_from(["generated", "composite", "edited", "camera", "other"]),
    depth=st.integers(0, 2),
)
def test_the_sums_hold_together(score, rank, says, depth):
    verdict, contributions = judge(spoke(score=score), said(says, rank, depth), prior=0.3)
    for question, p in (("generated", verdict.p_generated), ("edited", verdict.p_edited)):
        total = sum(c.llr for c in contributions if c.target == question)
        assert (p is None) == (question == "edited" and question not in verdict.likelihood_ratio)
        if p is not None:
            assert p == pytest.approx(1 / (1 + math.exp(-(total + math.log(3 / 7)))))
            assert verdict.likelihood_ratio.get(question, 1.0) == pytest.approx(math.exp(total))
    assert (verdict.label == "inconclusive") == (verdict.abstained_because is not None)
    assert verdict.label != "laundered"
    assert (verdict.label == "authentic") == (says == "camera" and rank == "trusted" and depth == 0)


# Statements of origin


@pytest.mark.parametrize(
    ("evidence", "label", "decided_by", "p_generated", "p_edited"),
    [
        (said("generated", "trusted"), "generated", "provenance", 1000 / 1001, None),
        (said("generated", "trusted", 2), "generated", "provenance", 1000 / 1001, None),
        (said("composite", "trusted"), "edited", "provenance", 0.5, 1000 / 1001),
        (said("edited", "trusted", 1), "edited", "provenance", 0.5, 1000 / 1001),
        (said("camera", "trusted"), "authentic", "provenance", 1 / 1001, 1 / 1001),
        (said("camera", "trusted", 1), "no_evidence", "fusion", 1 / 11, None),
        (said("other", "trusted"), "inconclusive", "fusion", 0.5, None),
        (said("generated", "valid_unknown_signer"), "generated", "fusion", 50 / 51, None),
        (said("camera", "valid_unknown_signer"), "inconclusive", "fusion", 0.5, None),
        (said("generated", "invalid"), "inconclusive", "fusion", 0.5, None),
        (said("camera", "invalid"), "inconclusive", "fusion", 0.5, None),
        (said("generated", "unsigned"), "generated", "fusion", 20 / 21, None),
        (said("edited", "unsigned"), "edited", "fusion", 0.5, 20 / 21),
        (said("composite", "unsigned"), "edited", "fusion", 0.5, 20 / 21),
        (said("camera", "unsigned"), "inconclusive", "fusion", 0.5, None),
        (both(said("camera", "trusted"), said("composite", "trusted")), "edited", "provenance", 1 / 1001, 1000 / 1001),
        (both(said("camera", "trusted"), said("other", "trusted")), "no_evidence", "fusion", 1 / 1001, 1 / 1001),
        (both(said("camera", "trusted"), said("generated", "invalid")), "authentic", "provenance", 1 / 1001, 1 / 1001),
        (both(said("camera", "trusted"), said("generated", "unsigned")), "inconclusive", "fusion", 20 / 1020, 1 / 1001),
    ],
)  # fmt: skip
def test_what_statements_of_origin_decide(evidence, label, decided_by, p_generated, p_edited):
    verdict, contributions = judge(evidence)
    assert (verdict.label, verdict.decided_by) == (label, decided_by)
    assert verdict.p_generated == pytest.approx(p_generated)
    assert verdict.p_edited == (None if p_edited is None else pytest.approx(p_edited))
    assert contributions, "what was said is listed even where it weighs nothing"
    for contribution in contributions:
        assert ("expert judgement" in contribution.because) == (contribution.llr != 0)


def test_a_trusted_signature_silences_pixels_and_the_conflict_is_told():
    loud = spoke(score=0.95)
    verdict, contributions = judge(said("camera", "trusted"), loud)
    assert verdict.label == "authentic"
    assert verdict.p_generated == pytest.approx(1 / 1001)
    assert verdict.confidence == "moderate", "a conflict lowers it"
    assert {c.evidence_id: c.llr for c in contributions if c.target == "generated"}["patch"] == 0.0
    assert (
        "alone it would have added +10.0 decibans" in next(c for c in contributions if c.evidence_id == "patch").because
    )
    (conflict,) = verdict.conflicts
    assert set(conflict.evidence_ids) == {"patch", "provenance"}
    assert "photograph a screen" in conflict.text
    calm, _ = judge(said("camera", "trusted"), spoke(score=0.4))
    assert (calm.conflicts, calm.confidence) == ((), "high")


def test_recorded_edits_withhold_authentic():
    def recorded(actions: str, depth: int = 0) -> Evidence:
        finding = Finding(text="The manifest records actions.", numbers={"actions": actions, "depth": depth})
        return said("camera", "trusted").model_copy(update={"findings": (finding,)})

    assert judge(recorded("created, converted, resized"))[0].label == "authentic"
    assert judge(recorded("drawing", depth=1))[0].label == "authentic"
    for edit in ("created, drawing", "cropped", "color_adjustments, created"):
        verdict, _ = judge(recorded(edit))
        assert (verdict.label, verdict.decided_by) == ("no_evidence", "fusion")


def test_statements_of_one_file_are_not_added_up():
    once, _ = judge(said("generated", "unsigned"))
    twice, _ = judge(both(said("generated", "unsigned"), said("generated", "unsigned", source="iptc")))
    assert twice.p_generated == once.p_generated
    strongest, _ = judge(both(said("generated", "unsigned"), said("generated", "valid_unknown_signer")))
    assert strongest.p_generated == pytest.approx(50 / 51)


def test_signed_words_weigh_no_less_than_the_same_words_unsigned():
    for says in ("generated", "composite", "edited"):
        weights = []
        for rank in ("invalid", "unsigned", "valid_unknown_signer", "trusted"):
            weights.append(max(w.llr for w in claims.weigh(said(says, rank))))
        assert weights == sorted(weights)
        assert weights[0] == 0


# Labels, conflicts, abstention


def test_the_label_needs_more_than_the_calibrated_threshold():
    known = calibration(bar=2.0, patch=tool(spread=0.01))

    def sigmoid(llr: float) -> float:
        return 1 / (1 + math.exp(-llr))

    assert judge(spoke(score=sigmoid(2.05)), with_=known)[0].label == "generated"
    below, _ = judge(spoke(score=sigmoid(1.95)), with_=known)
    assert below.label == "inconclusive"
    assert "'generated' needs one above 7.39" in str(below.abstained_because)
    floor = calibration(bar=0.1, patch=tool(spread=0.01))
    assert judge(spoke(score=0.79), with_=floor)[0].label == "inconclusive", "the floor of 4 : 1 holds"


def test_a_high_prior_alone_never_makes_the_label():
    verdict, _ = judge(spoke(score=0.6), prior=0.95)
    assert verdict.p_generated > 0.95
    assert verdict.label == "inconclusive"


def test_a_low_prior_withholds_it():
    verdict, _ = judge(said("generated", "unsigned"), prior=0.01)
    assert verdict.label == "inconclusive"
    assert "prior of 0.01" in str(verdict.abstained_because)


def test_a_wide_interval_withholds_it():
    known = calibration(patch=tool(spread=1.5))
    verdict, _ = judge(spoke(score=0.85), with_=known)
    assert verdict.interval[0] <= 0.5
    assert verdict.p_generated > 0.8
    assert verdict.label == "inconclusive"
    assert verdict.confidence == "none"


def test_conflict_withholds_the_label():
    known = calibration(one=tool(), two=tool())
    verdict, _ = judge(spoke("one", 0.9), spoke("two", 0.1), with_=known)
    assert verdict.label == "inconclusive"
    assert "in conflict" in str(verdict.abstained_because)
    assert verdict.conflicts[0].evidence_ids == ("one", "two")
    # Metadata that weighs far more than what speaks against it is not withheld, but the conflict is told.
    outweighed, _ = judge(said("generated", "unsigned"), spoke("two", 0.3), with_=known)
    assert outweighed.label == "generated"
    assert outweighed.conflicts


def test_edited_tools_answer_their_own_question():
    known = calibration(splice=tool(target="edited"))
    verdict, contributions = judge(spoke("splice", 0.95, target="edited"), with_=known)
    assert [c.target for c in contributions] == ["edited"]
    assert verdict.label == "edited"
    assert verdict.p_generated == 0.5
    assert verdict.p_edited == pytest.approx(10 / 11)
    assert verdict.interval_edited is not None
    assert not any("Splices" in line for line in verdict.not_examined)


def test_what_was_not_examined_is_named():
    bare, _ = judge()
    joined = " ".join(bare.not_examined)
    for words in ("reverse image search", "SynthID", "laundered", "Content credentials", "Splices", "re-saving",
                  "vision model", "p_edited"):  # fmt: skip
        assert words in joined
    steps = (PlanStep(tool="inversion", run=False, because="the budget is quick", cost=30.0),)
    fuller, _ = fuse(
        [said("other", "unsigned"), spoke("look", 0.5), spoke(score=None)],
        prior=0.5, calibration=calibration(), plan=steps,
    )  # fmt: skip
    joined = " ".join(fuller.not_examined)
    assert "Content credentials" not in joined
    assert "vision model" not in joined
    assert "inversion was left out: the budget is quick" in joined
    assert "patch gave no score: too flat" in joined
    assert "SynthID" in joined


# Files


def test_the_shipped_calibration_holds():
    shipped = load()
    assert shipped.digest
    assert shipped.made_by.startswith("python -m finetune.calibrate")
    assert bool(shipped.tools) == bool(shipped.data_sha256)
    for found in shipped.tools.values():
        assert found.because
    verdict, _ = fuse([], prior=0.5, calibration=shipped)
    assert verdict.calibration == f"1:{shipped.digest[:12]}"


def test_a_calibration_that_does_not_hold_is_refused(tmp_path):
    with pytest.raises(ConfigurationError, match="cannot be read"):
        load(tmp_path / "none.json")
    broken = tmp_path / "broken.json"
    broken.write_text("{}")
    with pytest.raises(ConfigurationError, match="made_by"):
        load(broken)
    short = calibration(patch=tool()).model_dump(mode="json")
    short["tools"]["patch"]["weight_draws"] = [1.0]
    broken.write_text(json.dumps(short))
    with pytest.raises(ConfigurationError, match="expected 60 draws"):
        load(broken)
    assert SHIPPED.exists()


def test_the_published_tables_are_those_of_the_code():
    text = (ROOT / "docs" / "VERDICTS.md").read_text()
    assert claims.markdown() in text
    for number in (fusion.PIXEL_CAP, fusion.LABEL_FLOOR, -fusion.NO_EVIDENCE_CEILING, fusion.CONFLICT):
        assert f"{math.exp(number):.0f} : 1" in text
