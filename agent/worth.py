"""What one more tool may change: the chance that its evidence moves the label, from what calibration measured of it.

Calibrated log-likelihood ratios of a tool that ranks with AUROC a are taken for normal with variance
σ² = 2·Φ⁻¹(a)², mean +σ²/2 where the answer is yes and −σ²/2 where it is no: the one normal family whose ratio is its
own log-likelihood ratio (Green & Swets 1966; van Leeuwen & Brümmer, "The distribution of calibrated likelihood-ratios",
2013). `a` is the smaller AUROC over the kinds of held-out rows, and a tool keeps the share of its ratio that stacking
left it.
"""

from __future__ import annotations

import math
from statistics import NormalDist
from typing import Literal

from agent.calibration import CalibratedTool, Calibration
from agent.fusion import PIXEL_CAP, bars
from agent.verdict import Verdict

_STEPS = 81
_UNIT = NormalDist()


def spread(tool: CalibratedTool) -> float:
    """Standard deviation of a tool's weighted log-likelihood ratio within one class; 0 where it has no weight."""
    aurocs = [
        float(value)
        for name, value in tool.figures.items()
        if name.endswith("_auroc") and isinstance(value, int | float) and 0.5 < value < 1
    ]
    if not aurocs or tool.weight == 0:
        return 0.0
    return tool.weight * math.sqrt(2) * _UNIT.inv_cdf(min(aurocs))


def chance_of_change(name: str, verdict: Verdict | None, calibration: Calibration) -> float:
    """The chance, 0 to 1, that a look of the tool `name` changes the side of a threshold that its question is on.

    Before anything is known the ratio is 1. No sum leaves the cap on pixel evidence.
    """
    tool = calibration.tools.get(name)
    sigma = 0.0 if tool is None else spread(tool)
    if tool is None or sigma == 0:
        return 0.0
    ratio = 1.0 if verdict is None else verdict.likelihood_ratio.get(tool.target, 1.0)
    now = math.log(ratio)
    prior = 0.5 if verdict is None else verdict.prior
    yes = 1 / (1 + math.exp(-(now + math.log(prior / (1 - prior)))))
    high, low = bars(calibration)[tool.target], bars(calibration)["no_evidence"]
    side = _side(now, high, low, tool.target)
    # weighted ratios keep mean ±σ_full·σ/2: the weight shrinks ratio and spread alike, not the class distance
    mean = sigma * (sigma / tool.weight) / 2
    total = 0.0
    for share, sign in ((yes, 1.0), (1 - yes, -1.0)):
        dist = NormalDist(sign * mean, sigma)
        changed = 0
        for step in range(_STEPS):
            after = now + dist.inv_cdf((step + 0.5) / _STEPS)
            after = max(min(after, max(PIXEL_CAP, now)), min(-PIXEL_CAP, now))
            changed += _side(after, high, low, tool.target) != side
        total += share * changed / _STEPS
    return total


def _side(llr: float, high: float, low: float, question: Literal["generated", "edited"]) -> int:
    if llr > high:
        return 1
    return -1 if question == "generated" and llr <= low else 0
