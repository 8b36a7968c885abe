"""The agent's own plan over kept results: what it asks for, what it withholds, what it costs beside its rivals."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from evals import report
from evals.run import run
from tests.evals.fakes import calibration, made_data, suite
from tools.contract import Budget, Evidence, detector

AS_IS = {"name": "as-is", "title": "As is", "data": ["given"]}
WEBP = {"name": "webp", "title": "WebP", "data": ["given"], "perturb": ["webp60"], "against": "as-is"}
ASKED: list[str] = []


@detector(name="light", version="1", target="generated", cost=20.0)
def light(tool, image, budget: Budget) -> Evidence:
    """Goes by brightness, which survives everything."""
    ASKED.append("light")
    return tool.evidence(score=0.9 if image.rgb.mean() > 128 else 0.1)


@detector(name="grain", version="1", target="generated", cost=20.0)
def grain(tool, image, budget: Budget) -> Evidence:
    """Goes by grain, which any codec takes away: surely generated before, surely not afterwards."""
    ASKED.append("grain")
    luma = image.luma.astype(np.float64)
    return tool.evidence(score=0.95 if np.abs(np.diff(luma, axis=1)).mean() > 1.0 else 0.05)


@pytest.fixture(scope="module")
def items(tmp_path_factory: pytest.TempPathFactory):
    return made_data(tmp_path_factory.mktemp("made"), 24, sizes=((300, 300), (300, 300)))


def examined(items, folder: Path, tool, kept: Path | None = None):
    known = calibration({tool.name: 1.0}, {tool.name: (0.9, 0.9)})
    return run(
        suite(AS_IS, WEBP, examiner=True), folder, folder, tools={tool.name: tool}, calibration=known, given=items,
        kept=kept, say=False,
    )  # fmt: skip


def test_what_holds_is_told_and_compared_at_its_cost(items, tmp_path: Path) -> None:
    result = examined(items, tmp_path, light)
    (made,) = result.examinations
    assert (made.protocol, made.pictures, made.files, made.coverage) == ("as-is", 24, 24, 1.0)
    assert made.steps == {"light": 24, "similar": 24, "stability": 24, "vision": 0}
    by_name = {rival.name: rival for rival in made.rivals}
    assert set(by_name) == {"agent", "light", "everything"}
    assert by_name["light"].units < by_name["agent"].units <= by_name["everything"].units + 1
    assert {(c.theirs, c.measure): c.outcome for c in made.compared} == {
        (who, measure): "not inferior" for who in ("light", "everything") for measure in ("auroc", "risk")
    }
    (held,) = made.withheld
    assert (held.flips.flipped, held.share, held.at_coverage) == (0, None, None)


def test_what_a_codec_turns_round_was_left_open_before_it_came(items, tmp_path: Path) -> None:
    ASKED.clear()
    result = examined(items, tmp_path, grain, tmp_path / "kept")
    (made,) = result.examinations
    assert made.coverage == 0.0
    assert made.open_for["second looks turned it round"] == 24
    (held,) = made.withheld
    assert held.flips.flipped == 24
    assert held.flips.withheld == 24, "WebP is not what the agent looks at itself"
    assert held.share == 1.0
    before = len(ASKED)
    assert before == 24 * 2 + 24 * 3, "the file, the disturbed file, and three second looks"
    again = examined(items, tmp_path, grain, tmp_path / "kept")
    assert len(ASKED) == before, "kept"
    assert again.examinations == result.examinations
    card = report.card([result])
    assert "The agent against its rivals" in card
    assert "| WebP | 24 of 24 | 100% |" in card


def test_a_suite_that_does_not_ask_for_it_runs_fusion_alone(items, tmp_path: Path) -> None:
    known = calibration({"light": 1.0}, {"light": (0.9, 0.9)})
    result = run(suite(AS_IS), tmp_path, tmp_path, tools={"light": light}, calibration=known, given=items, say=False)
    assert result.examinations == ()
    assert "against its rivals" not in report.card([result])
