"""Second looks: which are made, at what cost and why; and the tasks that make them.

The closed list: `stability` (degrade the picture and look again), `stability of TOOL`, `zoom` (a disputed place by
itself), `question` (a model is asked one thing about that place) and `similar` (the same picture among earlier cases).
A model may propose what is on the list and was not chosen; it can neither strike a step nor add another. Nothing here
lends weight: see `agent.stability`.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from typing import Final

from agent.calibration import Calibration
from agent.planning import LOOK, Standing, core, cost_of
from agent.stability import STEP
from agent.state import Task
from agent.verdict import ImageFacts, PlanStep
from agent.worth import spread
from tools.contract import Budget, Detector, Evidence, Finding, Region
from tools.views import DEGRADATIONS, View, zoom_box

ZOOM: Final = "zoom"
QUESTION: Final = "question"
SIMILAR: Final = "similar"
STABILITY_OF: Final = f"{STEP} of "
SPEAKS: Final = 0.3
"""Spread of a tool's log-likelihood ratio from which its second looks belong to every standard report; a tool that says
less cannot flip a verdict that another carries."""
MATTERS: Final = math.log(2)
"""A tool outside of those is looked at again once what it says is at least 2 to 1."""
TILES: Final = 4
"""Tiles of a second look under the standard budget: enough to tell whether the evidence turns round."""
LOOK_SHARE: Final = 0.45
"""What a second look on `TILES` tiles costs of a first one: 186 of 428 ms for semantic at 1024x1024 px, measured."""
QUESTION_COST: Final = 50.0
PROPOSED_MOST: Final = 150.0
"""Most cost units that a model's proposals may take together."""
_SEVERITY = {"strong": 3, "moderate": 2, "weak": 1, "info": 0}


def next_steps(at: Standing) -> tuple[PlanStep, ...]:
    """The probes of the round that `agent.planning` plans next, those that are left out among them."""
    if not any(step.tool != "provenance" for step in at.plan):
        return () if not at.plan and "provenance" in at.tools else (_similar(at), _stability(at))
    chosen = [step for step in _doubts(at) if step.tool not in at.planned]
    names = {step.tool for step in chosen if step.run}
    proposed = [step for step in at.proposed if step.tool not in at.planned and step.tool not in names]
    kept = {step.tool for step in proposed}
    return tuple(sorted([*(step for step in chosen if step.tool not in kept), *proposed], key=lambda step: step.tool))


def options(at: Standing) -> tuple[PlanStep, ...]:
    """What a model may propose in this round: probes of the list that the policy does not make, within the budget."""
    if at.verdict is None or at.decided or at.budget.level == "quick":
        return ()
    return tuple(step for step in _doubts(at) if not step.run and 0 < step.cost <= PROPOSED_MOST)


def accepted(offered: Sequence[PlanStep], names: Collection[str]) -> tuple[PlanStep, ...]:
    """The steps that a model's proposal stands for: what was not offered, or exceeds the bound, is left out."""
    taken: list[PlanStep] = []
    for step in offered:
        if step.tool in names and sum(each.cost for each in taken) + step.cost <= PROPOSED_MOST:
            because = f"A model proposed it, from the list that the policy offered ({step.because})"
            taken.append(step.model_copy(update={"run": True, "because": because}))
    return tuple(taken)


def tasks(step: PlanStep) -> list[Task]:
    """What is sent to the workers for a step."""
    if step.tool == ZOOM:
        return [Task(tool=name, view=View(kind="zoom", region=step.region)) for name in step.on]
    if step.tool == QUESTION:
        return [Task(tool=QUESTION, view=View(kind="zoom", region=step.region))]
    if step.tool.startswith(STEP):
        return [Task(tool=name, view=View(kind=kind)) for kind in DEGRADATIONS for name in step.on]
    return [Task(tool=step.tool)]


def look_budget(tool: Detector, budget: Budget) -> Budget:
    """What a second look of a tool may cost. One that compares parts of a picture must see all of it."""
    if tool.target == "edited" or budget.level == "thorough":
        return budget
    return Budget(level="quick", max_tiles=min(TILES, budget.max_tiles))


def zoomed(tool: Detector, there: Evidence, whole: Evidence | None, view: View, image: ImageFacts) -> Evidence:
    """The evidence of a zoom: what the tool says of the place by itself, beside what it said of the whole picture."""
    if view.region is None:
        raise ValueError("a zoom has a region")
    box = zoom_box(view.region, (image.width, image.height))
    region = Region.from_pixels(*box, (image.width, image.height))
    fields = {
        "id": f"{tool.name}@{ZOOM}", "detector": tool.name, "version": tool.version, "target": tool.target,
        "blind": False, "ms": there.ms, "weights": there.weights, "regions": (region,),
    }  # fmt: skip
    if there.score is None:
        return Evidence.model_validate(fields | {"abstained_because": there.abstained_because})
    here = round(there.score, 2)
    text = f"Looked at by itself, the part at the {region.place} has the raw score {here:.2f}"
    numbers: dict[str, float | int | str | bool] = {"here": here}
    if whole is not None and whole.score is not None:
        numbers["whole"] = round(whole.score, 2)
        text += f", and the whole picture {numbers['whole']:.2f}"
    finding = Finding(text=f"{text}.", region=region, numbers=numbers)
    return Evidence.model_validate(fields | {"score": there.score, "findings": (finding,)})


def look_cost(tool: Detector, image: ImageFacts, budget: Budget) -> float:
    """Cost units of all second looks of a tool at its degraded copies."""
    share = 1.0 if look_budget(tool, budget) == budget else LOOK_SHARE
    return round(len(DEGRADATIONS) * share * cost_of(tool, image, budget), 1)


def loads(tools: Mapping[str, Detector], calibration: Calibration) -> dict[str, float]:
    """Units a megapixel of each tool that looks again in every standard report, its second looks included."""
    return {tool.name: tool.cost * (1 + len(DEGRADATIONS) * LOOK_SHARE) for tool in _steady(tools, calibration)}


def _steady(tools: Mapping[str, Detector], calibration: Calibration) -> list[Detector]:
    """The tools whose second looks belong to every standard report."""
    return [
        tool
        for tool in tools.values()
        if core(tool)
        and (known := calibration.tools.get(tool.name)) is not None
        and known.version == tool.version
        and known.target == "generated"
        and spread(known) >= SPEAKS
    ]


def _similar(at: Standing) -> PlanStep:
    because = "Looks for the same picture among earlier cases; a note beside the verdict, with no part in it."
    return PlanStep(tool=SIMILAR, run=True, because=because, cost=1.0, kind="probe", round=at.round)


def _stability(at: Standing) -> PlanStep:
    steady = _steady(at.tools, at.calibration)

    def step(run: bool, because: str, cost: float) -> PlanStep:
        on = tuple(sorted(tool.name for tool in steady))
        return PlanStep(tool=STEP, run=run, because=because, cost=cost, kind="probe", round=at.round, on=on)

    cost = round(sum(look_cost(tool, at.image, at.budget) for tool in steady), 1)
    if at.decided:
        return step(False, "Skipped: signed provenance decides, and re-saving has no say over it.", cost)
    if not steady:
        return step(False, "No tool has enough weight for its second look to tell anything.", 0.0)
    if at.budget.level == "quick":
        return step(False, f"It would cost {cost:g} units, and the quick budget has no second looks.", cost)
    names = " and ".join(tool.name for tool in steady)
    return step(
        True, f"Belongs to every report of this budget: {names} looks again at the picture saved at JPEG 70, made "
        "smaller, and cropped.", cost
    )  # fmt: skip


def _doubts(at: Standing) -> list[PlanStep]:
    """Every probe that what is known so far could call for."""
    return [*_more_stability(at), *_zoom(at)]


def _more_stability(at: Standing) -> list[PlanStep]:
    """Second looks of tools that stood aside at first, where what they say turns out to matter."""
    if at.verdict is None:
        return []
    done = {name for step in at.plan if step.tool.startswith(STEP) and step.run for name in step.on}
    # That nothing speaks for an edit gives no label, so that only what speaks for one is worth a dear second look.
    loud = {
        entry.evidence_id: abs(entry.llr)
        for entry in at.contributions
        if abs(entry.llr) >= MATTERS and (entry.target != "edited" or entry.llr > 0)
    }
    found = []
    for name, size in sorted(loud.items()):
        tool = at.tools.get(name)
        if tool is None or name in done or tool.target == "context" or name == "provenance":
            continue
        cost = look_cost(tool, at.image, at.budget)
        odds = f"what it says is {math.exp(size):.1f} to 1"
        run = at.budget.level != "quick" and not at.decided
        because = (
            f"{name} looks again, because {odds}."
            if run
            else ("Skipped: signed provenance decides." if at.decided else "The quick budget has no second looks.")
        )
        found.append(
            PlanStep(
                tool=f"{STABILITY_OF}{name}", run=run, because=because, cost=cost, kind="probe", round=at.round,
                on=(name,),
            )
        )  # fmt: skip
    return found


def _zoom(at: Standing) -> list[PlanStep]:
    """The place in dispute, by itself; and the question about it."""
    if at.verdict is None:
        return []
    place = _place(at)
    if place is None:
        return []
    finding, owner = place
    region = finding.region
    if region is None:
        return []
    able = sorted(
        (tool for tool in at.tools.values()
         if core(tool) and tool.target == "generated" and tool.name in at.calibration.weighted and tool.name != owner),
        key=lambda tool: (-spread(at.calibration.tools[tool.name]), tool.name),
    )[:2]  # fmt: skip
    able = able or [at.tools[owner]] if owner in at.tools else able
    box = zoom_box(region, (at.image.width, at.image.height))
    part = at.image.model_copy(update={"width": box[2] - box[0], "height": box[3] - box[1]})
    cost = round(sum(cost_of(tool, part, at.budget) for tool in able), 1)
    disputed = _dispute(at, finding, owner)
    run, because = True, disputed or f"Looks closer at the {region.place}, which {owner} marks."
    if at.decided:
        run, because = False, "Skipped: signed provenance decides."
    elif at.budget.level == "quick":
        run, because = False, "The quick budget has no second looks."
    elif not disputed and at.budget.level == "standard":
        run, because = False, f"The place at the {region.place} that {owner} marks is not in dispute."
    step = PlanStep(
        tool=ZOOM, run=run and bool(able), because=because, cost=cost, kind="probe", round=at.round,
        on=tuple(sorted(tool.name for tool in able)), region=region,
    )  # fmt: skip
    asks = PlanStep(
        tool=QUESTION, run=run and at.can_point, kind="probe", round=at.round, region=region, cost=QUESTION_COST,
        because=f"A model is asked what it sees at the {region.place}." if run else because,
    )  # fmt: skip
    return [step, asks] if at.can_point else [step]


def _place(at: Standing) -> tuple[Finding, str] | None:
    """The finding with a place that speaks loudest, and whose it is; of first looks only."""
    found = [
        (finding, item.id)
        for item in at.evidence
        if item.blind and item.id != LOOK
        for finding in item.findings
        if finding.region is not None and not finding.region.covers_most and finding.polarity in ("generated", "edited")
    ]
    return max(found, key=lambda each: (_SEVERITY[each[0].severity], each[1]), default=None)


def _dispute(at: Standing, finding: Finding, owner: str) -> str:
    """Why the place of a finding is in dispute, as a sentence; empty where it is not."""
    if at.verdict is None or finding.region is None:
        return ""
    where = finding.region.place
    for conflict in at.verdict.conflicts:
        if owner in conflict.evidence_ids:
            others = [name for name in conflict.evidence_ids if name != owner]
            return f"Zooms on the {where}: {owner} and {' and '.join(others)} disagree." if others else ""
    loud = _SEVERITY[finding.severity] >= _SEVERITY["moderate"]
    if loud and at.verdict.label in ("no_evidence", "inconclusive"):
        return f"Zooms on the {where}: {owner} marks it, and the evidence as a whole does not say so."
    return ""
