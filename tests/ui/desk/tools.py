"""Detectors and a calibration for the tests of the pages: quick, and with one of everything a page has to show."""

from __future__ import annotations

import math

import numpy as np

from agent.calibration import ALL, Bucket, CalibratedTool, Calibration, Logistic, Threshold
from tools.contract import Budget, Detector, Evidence, Finding, Region, Tool, detector
from tools.image import SourceImage

HOSTILE = "<img src=x onerror=\"document.title='broken in'\"> {{7*7}} ${7*7}"
_DRAWS = 20


@detector(name="grain", version="1", target="generated", cost=2.0)
def grain(tool: Tool, image: SourceImage, budget: Budget) -> Evidence:
    """Speaks for bright pictures, marks two places and draws a map."""
    boxes = (Region(x0=0.1, y0=0.2, x1=0.4, y1=0.6), Region(x0=0.6, y0=0.55, x1=0.95, y1=0.9))
    findings = tuple(
        Finding(
            text=f"The grain at the {box.place} is {ratio} times as strong as elsewhere.",
            polarity="generated", severity=severity, region=box, numbers={"ratio": ratio},
        )
        for box, ratio, severity in zip(boxes, (0.41, 0.62), ("moderate", "weak"), strict=True)
    )  # fmt: skip
    chart = image.maps.add("grain", np.asarray(image.luma / 255)[::16, ::16], "The brighter, the stronger the grain.")
    score = 0.93 if float(image.luma.mean()) > 128 else 0.55
    return tool.evidence(score=score, findings=findings, regions=boxes, maps=(chart,), limits=("Blur hides grain.",))


@detector(name="edges", version="1", target="generated", cost=1.0)
def edges(tool: Tool, image: SourceImage, budget: Budget) -> Evidence:
    """Speaks against, a little."""
    return tool.evidence(score=0.4, findings=(Finding(text="The edges are those of a lens.", polarity="camera"),))


@detector(name="seams", version="1", target="edited", cost=1.0)
def seams(tool: Tool, image: SourceImage, budget: Budget) -> Evidence:
    """Speaks to the other question, with a text that would break in."""
    return tool.evidence(score=0.35, findings=(Finding(text=f"No seam was found. {HOSTILE}", polarity="camera"),))


@detector(name="shy", version="1", target="generated", cost=1.0)
def shy(tool: Tool, image: SourceImage, budget: Budget) -> Evidence:
    """Never speaks."""
    return tool.abstain("There is no face in the picture.")


def catalogue() -> dict[str, Detector]:
    return {tool.name: tool for tool in (edges, grain, seams, shy)}


def calibration() -> Calibration:
    """Each tool's score is its probability; a label needs four to one."""
    fit = Logistic(intercept=0.0, slope=1.0, draws=tuple((0.0, 0.9 + 0.01 * draw) for draw in range(_DRAWS)))

    def tool(target: str) -> CalibratedTool:
        return CalibratedTool.model_validate(
            {
                "version": "1", "target": target, "weight": 1.0, "weight_draws": (1.0,) * _DRAWS,
                "because": "made up", "least_quality": 1, "least_short_side": 1,
                "buckets": {ALL: Bucket(fits={"matched": fit}, n=200)},
            }
        )  # fmt: skip

    return Calibration(
        made_by="test", draws=_DRAWS,
        tools={one.name: tool(one.target) for one in (edges, grain, seams, shy)},
        generated=Threshold(llr=math.log(4), because="test"),
        edited=Threshold(llr=math.log(4), because="test"),
        no_evidence=Threshold(llr=-math.log(2), because="test"),
    )  # fmt: skip
