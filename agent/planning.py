"""Which tools are run over a picture, at what cost and why: an explicit policy, with no model in it.

Every detector of the catalogue is core and runs. Left out are those that miss what they need on this machine
(`tools.contract.Conditional`) and, under the `quick` budget, those that cost more than `QUICK_CAP`. What is left out
is named in the plan and in the verdict's `not_examined`.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Final

from agent.state import Level
from agent.verdict import ImageFacts, PlanStep
from tools.contract import Budget, Conditional, Detector

LOOK: Final = "vision"
"""Name of the step in which a model looks at the picture."""
LOOK_COST: Final = 200.0
"""Cost units of a look, whatever the size of the picture: the model sees a fixed number of views."""
QUICK_CAP: Final = 60.0
"""Most cost units that one tool may take under the `quick` budget (a unit is about 10 ms on one core)."""
_MAX_TILES: Final[Mapping[Level, int]] = {"quick": 32, "standard": 96, "thorough": 384}
_TILE_MEGAPIXELS: Final = 0.065536


def budget_of(level: Level) -> Budget:
    """What an examination of that level may cost."""
    return Budget(level=level, max_tiles=_MAX_TILES[level])


def cost_of(tool: Detector, image: ImageFacts, budget: Budget) -> float:
    """Cost units of `tool` on a picture of that size; beyond the budget's tiles a tool samples, and costs no more."""
    megapixels = min(image.width * image.height / 1e6, budget.max_tiles * _TILE_MEGAPIXELS)
    return round(tool.cost * megapixels, 1)


def plan(
    tools: Mapping[str, Detector],
    image: ImageFacts,
    budget: Budget,
    *,
    calibrated: Collection[str],
    can_look: bool,
) -> tuple[PlanStep, ...]:
    """One step for each tool, and one for the look, in the order of names.

    Args:
        tools: The catalogue.
        image: What inspection found.
        budget: What the examination may cost.
        calibrated: Names of the tools whose score has a weight in fusion.
        can_look: Whether the model at hand sees pixels.
    """
    steps = [_step(tool, cost_of(tool, image, budget), budget, tool.name in calibrated) for tool in tools.values()]
    if not can_look:
        steps.append(PlanStep(tool=LOOK, run=False, because="No model that sees pixels is at hand.", cost=LOOK_COST))
    elif budget.level == "quick":
        steps.append(PlanStep(tool=LOOK, run=False, because=_too_dear(LOOK_COST), cost=LOOK_COST))
    else:
        because = "A model looks at the whole picture and at details, blind to the tools."
        steps.append(PlanStep(tool=LOOK, run=True, because=because, cost=LOOK_COST))
    return tuple(sorted(steps, key=lambda step: step.tool))


def _step(tool: Detector, cost: float, budget: Budget, calibrated: bool) -> PlanStep:
    missing = tool.missing() if isinstance(tool, Conditional) else None
    if missing is not None:
        return PlanStep(tool=tool.name, run=False, because=missing, cost=cost)
    if budget.level == "quick" and cost > QUICK_CAP:
        return PlanStep(tool=tool.name, run=False, because=_too_dear(cost), cost=cost)
    if tool.name == "provenance":
        because = "Reads signatures and metadata; a trusted signature decides, and the other tools still run beside it."
    elif tool.target == "context":
        because = "Describes the file, and with it how far the other tools apply; it gives no judgement."
    elif calibrated:
        because = "Calibrated, and of shown use: its score has a weight in the verdict."
    else:
        because = "Of no shown use yet: what it finds is told, with no weight in the verdict."
    return PlanStep(tool=tool.name, run=True, because=because, cost=cost)


def _too_dear(cost: float) -> str:
    return f"It would cost {cost:g} units, more than the {QUICK_CAP:g} that one tool may take under the quick budget."
