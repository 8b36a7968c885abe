"""Conflicts: who says what, and whether held-out pictures would have one expect it."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from agent import disagreement
from agent.calibration import load
from agent.disagreement import Apart, Disagreement
from tests.agent.test_fusion import calibration, judge, measured, said, spoke, tool
from tools.errors import ConfigurationError

KNOWN = calibration(patch=tool(), frequency=tool())


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch):  # type: ignore[no-untyped-def]
    """Sets what held-out pictures showed of patch and frequency, in their version 1."""

    def set_(apart: float, version: str = "1") -> None:
        pair = Apart(tools=(("frequency", version), ("patch", "1")), apart=apart, pictures=500)
        table = Disagreement(made_by="test", calibration="test", pairs=(pair,))
        monkeypatch.setattr(disagreement, "load", lambda: table)

    return set_


def test_a_difference_beyond_99_in_100_held_out_pictures_is_a_conflict(seen) -> None:  # type: ignore[no-untyped-def]
    seen(1.0)
    near = [spoke(score=0.6), spoke("frequency", 0.45)]
    assert judge(*near, with_=KNOWN).verdict.conflicts == ()
    apart = [spoke(score=0.75), spoke("frequency", 0.4)]
    (conflict,) = judge(*apart, with_=KNOWN).verdict.conflicts
    assert (conflict.speaks_for, conflict.against) == (("patch",), ("frequency",))
    gap = (math.log(3) + math.log(1.5)) * 10 / math.log(10)
    assert f"at most 4.3 decibans apart; here it is {gap:.1f}" in conflict.beyond
    assert "500 held-out pictures" in conflict.beyond


def test_what_is_not_known_of_these_versions_is_said(seen) -> None:  # type: ignore[no-untyped-def]
    seen(0.1, version="0")
    assert judge(spoke(score=0.75), spoke("frequency", 0.4), with_=KNOWN).verdict.conflicts == ()
    (conflict,) = judge(spoke(score=0.9), spoke("frequency", 0.1), with_=KNOWN).verdict.conflicts
    assert "no held-out picture was judged by both" in conflict.beyond


def test_what_could_reconcile_them_follows_from_the_file(seen) -> None:  # type: ignore[no-untyped-def]
    seen(1.0)
    torn = [spoke(score=0.9), spoke("frequency", 0.1)]
    (plain,) = judge(*torn, measured(95, 800), with_=KNOWN).verdict.conflicts
    (heavy,) = judge(*torn, measured(71, 800), with_=KNOWN).verdict.conflicts
    assert "heavy compression" not in plain.reconcile
    assert "heavy compression (JPEG quality 71)" in heavy.reconcile
    assert "composite" in plain.reconcile
    assert "screenshot" in plain.reconcile
    (origin,) = judge(said("generated", "unsigned"), spoke(score=0.1), with_=KNOWN).verdict.conflicts
    assert origin.speaks_for == ("provenance",)
    assert "photograph a screen" in origin.reconcile


def test_the_shipped_table_is_of_the_shipped_calibration() -> None:
    shipped, known = disagreement.load(), load()
    assert shipped.calibration == known.name, "run: python -m finetune.disagreement"
    for pair in shipped.pairs:
        for name, version in pair.tools:
            assert known.tools[name].version == version
            assert name in known.weighted


def test_a_broken_table_says_how_to_mend_it(tmp_path: Path) -> None:
    path = tmp_path / "disagreement.json"
    path.write_text("{}")
    with pytest.raises(ConfigurationError, match=r"finetune\.disagreement"):
        disagreement.load(path)
