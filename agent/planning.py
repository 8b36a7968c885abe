"""What is looked at next, at what cost and why: an explicit policy, with no model in it.

Provenance comes first, where reading it is cheap. Then every core tool runs, whatever the budget. What is dear, or a
second look, runs where what it may change is worth its cost: `agent.worth` computes the chance that a tool changes the
label from what calibration measured of it, and `WORTH` says how many cost units a sure change is worth under each
budget. Every choice, either way, is a step of the plan with its reason; `agent.probes` plans the second looks.

Cost is counted in units and never in seconds, so that the same picture is examined alike on any machine.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from agent.calibration import Calibration
from agent.state import Level
from agent.verdict import Contribution, ImageFacts, PlanStep, Verdict
from agent.worth import chance_of_change
from tools.contract import Budget, Conditional, Detector, Evidence

LOOK: Final = "vision"
"""Name of the step in which a model looks at the picture."""
LOOK_COST: Final = 200.0
"""Cost units of a look, whatever the size of the picture: the model sees a fixed number of views."""
FIRST: Final = "provenance"
FIRST_CAP: Final = 10.0
"""Most cost units at which provenance is read before anything else is begun."""
CORE_MOST: Final = 60.0
"""Most cost units a megapixel of a core tool; a dearer one must be worth its cost."""
WORTH: Final[Mapping[Level, float]] = {"quick": 0.0, "standard": 1000.0, "thorough": float("inf")}
"""Cost units that a sure change of the label is worth (1000 are about ten seconds on one core)."""
_MAX_TILES: Final[Mapping[Level, int]] = {"quick": 32, "standard": 96, "thorough": 384}
_TILE_MEGAPIXELS: Final = 0.065536


@dataclass(frozen=True, kw_only=True)
class Standing:
    """A case as planning sees it: what is at hand, and what is known so far.

    Attributes:
        can_look: Whether the model at hand sees pixels.
        can_point: Whether it can be asked about one place.
        verdict: What the evidence so far amounts to; None before any was weighed.
        plan: The steps so far.
        proposed: Probes that a model proposed, from the closed list.
    """

    tools: Mapping[str, Detector]
    image: ImageFacts
    budget: Budget
    calibration: Calibration
    prior: float = 0.5
    can_look: bool = False
    can_point: bool = False
    verdict: Verdict | None = None
    contributions: tuple[Contribution, ...] = ()
    evidence: tuple[Evidence, ...] = ()
    plan: tuple[PlanStep, ...] = ()
    proposed: tuple[PlanStep, ...] = field(default=())

    @property
    def planned(self) -> frozenset[str]:
        """Names of what has a step already."""
        return frozenset(step.tool for step in self.plan)

    @property
    def decided(self) -> bool:
        """Whether a trusted signature decides."""
        return self.verdict is not None and self.verdict.decided_by == "provenance"

    @property
    def round(self) -> int:
        """The round that is being planned."""
        return max((step.round for step in self.plan), default=0) + 1


def budget_of(level: Level) -> Budget:
    """What an examination of that level may cost."""
    return Budget(level=level, max_tiles=_MAX_TILES[level])


def cost_of(tool: Detector, image: ImageFacts, budget: Budget) -> float:
    """Cost units of `tool` on a picture of that size; beyond the budget's tiles a tool samples, and costs no more."""
    megapixels = min(image.width * image.height / 1e6, budget.max_tiles * _TILE_MEGAPIXELS)
    return round(tool.cost * megapixels, 1)


def next_steps(at: Standing) -> tuple[PlanStep, ...]:
    """The steps of the next round, those that are left out among them; none where everything has its step.

    Round 1 is provenance alone; then the core, the model's blind look and the second looks that belong to every
    standard report; then what is dear, and probes of what is in doubt.
    """
    if not at.plan and _comes_first(at):
        return (_core(at, at.tools[FIRST], 1),)
    if not any(step.tool != FIRST for step in at.plan):
        cores = [_core(at, tool, at.round) for tool in at.tools.values() if tool.name not in at.planned and core(tool)]
        return _sorted([*cores, _look(at)])
    dear = [_dear(at, tool) for tool in at.tools.values() if tool.name not in at.planned]
    return _sorted(dear)


def core(tool: Detector) -> bool:
    """Whether a tool belongs to every examination."""
    return tool.cost <= CORE_MOST


def _comes_first(at: Standing) -> bool:
    tool = at.tools.get(FIRST)
    return tool is not None and cost_of(tool, at.image, at.budget) <= FIRST_CAP


def _missing(tool: Detector) -> str | None:
    return tool.missing() if isinstance(tool, Conditional) else None


def _core(at: Standing, tool: Detector, number: int) -> PlanStep:
    cost, missing = cost_of(tool, at.image, at.budget), _missing(tool)
    if missing is not None:
        return PlanStep(tool=tool.name, run=False, because=missing, cost=cost, round=number)
    if tool.name == FIRST:
        because = (
            "Reads signatures and metadata before anything else: a trusted signature decides, and saves dear tools."
        )
    elif tool.target == "context":
        because = "Describes the file, and with it how far the other tools apply; it gives no judgement."
    elif tool.name in at.calibration.weighted:
        because = "Core, calibrated, and of shown use: its score has a weight in the verdict."
    else:
        because = "Core, but of no shown use yet: what it finds is told, with no weight in the verdict."
    return PlanStep(tool=tool.name, run=True, because=because, cost=cost, round=number)


def _look(at: Standing) -> PlanStep:
    def step(run: bool, because: str) -> PlanStep:
        return PlanStep(tool=LOOK, run=run, because=because, cost=LOOK_COST, kind="look", round=at.round)

    if not at.can_look:
        return step(False, "No model that sees pixels is at hand.")
    if at.budget.level == "quick":
        return step(False, f"It would cost {LOOK_COST:g} units, and the quick budget has core tools only.")
    if at.decided and at.budget.level != "thorough":
        return step(False, "Skipped: signed provenance decides, and a look would cost more than it could change.")
    return step(True, "A model looks at the whole picture and at details, blind to the tools.")


def _dear(at: Standing, tool: Detector) -> PlanStep:
    """A dear tool runs where its chance of changing the label is worth its cost."""
    cost, missing = cost_of(tool, at.image, at.budget), _missing(tool)

    def step(run: bool, because: str, expected: float | None = None) -> PlanStep:
        return PlanStep(tool=tool.name, run=run, because=because, cost=cost, round=at.round, expected=expected)

    if missing is not None:
        return step(False, missing)
    if at.budget.level == "thorough":
        return step(True, "The thorough budget runs every tool that can run.")
    if at.budget.level == "quick":
        return step(False, f"It would cost {cost:g} units, and the quick budget has core tools only.")
    if at.decided:
        return step(False, "Skipped: signed provenance decides.", 0.0)
    if tool.name not in at.calibration.weighted:
        return step(
            False,
            f"Skipped: it is not calibrated, so that it cannot change the verdict, and costs {cost:g} units.",
            0.0,
        )
    expected = round(chance_of_change(tool.name, at.verdict, at.calibration), 4)
    worth = expected * WORTH[at.budget.level]
    told = (
        f"by calibration it would change the label in {expected * 100:.1f} of 100 such cases, which is worth "
        f"{worth:.0f} units, and it costs {cost:g}"
    )
    return step(True, f"Run: {told}.", expected) if worth > cost else step(False, f"Skipped: {told}.", expected)


def _sorted(steps: Sequence[PlanStep]) -> tuple[PlanStep, ...]:
    return tuple(sorted(steps, key=lambda step: step.tool))


def spent(plan: Collection[PlanStep]) -> float:
    """Cost units of everything that was run."""
    return round(sum(step.cost for step in plan if step.run), 1)
