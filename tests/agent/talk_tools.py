"""Detectors for the tests of conversations: two that are left out at first, and a calibration in which they weigh."""

from __future__ import annotations

import math

from agent.calibration import ALL, Bucket, CalibratedTool, Calibration, Logistic, Threshold
from tools.contract import Budget, Detector, Evidence, Finding, Tool, detector
from tools.image import SourceImage

DRAWS = 20


@detector(name="faint", version="1", target="generated", cost=2.0)
def faint(tool: Tool, image: SourceImage, budget: Budget) -> Evidence:
    """Says a little, and says nothing of a picture without pixels to judge."""
    return tool.evidence(score=0.7, findings=(Finding(text="The texture is a little too even.", polarity="generated"),))


@detector(name="late", version="1", target="generated", cost=1000.0)
def late(tool: Tool, image: SourceImage, budget: Budget) -> Evidence:
    """Dear, and says much."""
    finding = Finding(text="The texture repeats.", polarity="generated", severity="strong")
    return tool.evidence(score=0.99, findings=(finding,))


@detector(name="fickle", version="1", target="generated", cost=1000.0)
def fickle(tool: Tool, image: SourceImage, budget: Budget) -> Evidence:
    """Dear, and says the opposite of every copy."""
    return tool.evidence(score=0.02 if image.format == "view" else 0.99)


def catalogue() -> dict[str, Detector]:
    return {tool.name: tool for tool in (faint, fickle, late)}


def newer() -> dict[str, Detector]:
    """The same with another version of one."""

    @detector(name="faint", version="2", target="generated", cost=2.0)
    def changed(tool: Tool, image: SourceImage, budget: Budget) -> Evidence:
        """Says something else."""
        return tool.evidence(score=0.3)

    return catalogue() | {"faint": changed}


def weights() -> Calibration:
    """Each tool's score is its probability; the label needs more than four to one."""
    fit = Logistic(intercept=0.0, slope=1.0, draws=((0.0, 1.0),) * DRAWS)
    tool = {
        "version": "1", "target": "generated", "weight": 1.0, "weight_draws": (1.0,) * DRAWS, "because": "made up",
        "least_quality": 1, "least_short_side": 1, "buckets": {ALL: Bucket(fits={"matched": fit}, n=200)},
    }  # fmt: skip
    return Calibration(
        made_by="test",
        draws=DRAWS,
        tools={name: CalibratedTool.model_validate(tool) for name in catalogue()},
        generated=Threshold(llr=math.log(4), because="test"),
        edited=Threshold(llr=math.log(4), because="test"),
        no_evidence=Threshold(llr=-math.log(2), because="test"),
    )
