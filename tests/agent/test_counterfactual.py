"""What would change a verdict is what fusion says of the changed evidence, and nothing nearer does."""

from __future__ import annotations

from agent.counterfactual import what_would_change
from agent.reweighing import weighed
from agent.verdict import Report
from tests.agent.samples import sample
from tests.agent.talk_tools import weights
from tests.agent.test_fusion import said, spoke
from tools.contract import Evidence

CALIBRATION = weights()


def case(*evidence: Evidence) -> Report:
    """A report whose verdict is what fusion makes of `evidence`."""
    bare = sample("c1").model_copy(update={"evidence": evidence, "plan": ()})
    fused = weighed(bare, evidence, CALIBRATION).fused
    return bare.model_copy(update={"verdict": fused.verdict, "contributions": fused.contributions})


def test_the_nearest_score_that_changes_the_label() -> None:
    report = case(spoke("faint", 0.7), spoke("late", 0.5))
    assert report.verdict.label == "inconclusive"
    found = {what.evidence_id: what for what in what_would_change(report, CALIBRATION) if what.kind == "score"}
    assert set(found) == {"faint", "late"}
    for name, what in found.items():
        assert what.needed is not None
        assert what.score is not None
        step = 0.01 if what.needed > what.score else -0.01

        def label(score: float, name: str = name) -> str:
            rest = [item for item in report.evidence if item.id != name]
            return weighed(report, (*rest, spoke(name, score)), CALIBRATION).fused.verdict.label

        assert label(what.needed) == what.label != "inconclusive"
        assert label(what.needed - step) == "inconclusive"
        assert f"{what.needed:.2f}" in what.text


def test_documents_and_their_absence() -> None:
    report = case(spoke("faint", 0.7))
    found = [what for what in what_would_change(report, CALIBRATION) if what.kind == "document"]
    assert [what.label for what in found] == ["authentic", "generated", "generated"]
    signed = case(spoke("faint", 0.7), said("camera", "trusted"))
    assert signed.verdict.label == "authentic"
    found = list(what_would_change(signed, CALIBRATION))
    assert found[0].kind == "without"  # no score changes what a signature decides
    assert found[0].label == "inconclusive"


def test_another_calibration_tells_nothing() -> None:
    report = case(spoke("faint", 0.7))
    other = CALIBRATION.model_copy(update={"digest": "f" * 64})
    assert what_would_change(report, other) == ()
