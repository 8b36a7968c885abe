"""The plan: every tool has a step and a reason, and only a stated cap leaves one out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pytest

from agent.planning import LOOK, LOOK_COST, QUICK_CAP, budget_of, cost_of, plan
from agent.state import Level
from agent.verdict import ImageFacts, PlanStep
from tools.contract import Budget, Detector, Evidence, Target, Tool


def tool(name: str, cost: float, target: Target = "generated") -> Tool:
    def examine(tool: Tool, image: object, budget: Budget) -> Evidence:
        raise AssertionError("planning must not run a tool")

    return Tool(name=name, version="1", target=target, cost=cost, about="", _examine=examine)


TOOLS: Mapping[str, Detector] = {
    each.name: each
    for each in (tool("compression", 10, "context"), tool("patch", 25), tool("provenance", 2), tool("zoom", 80))
}


def facts(width: int = 1000, height: int = 1000) -> ImageFacts:
    return ImageFacts(path="a", sha256="0" * 64, bytes=1, width=width, height=height, format="PNG", mode="RGB")


def steps(level: Level, image: ImageFacts, *, can_look: bool = True) -> dict[str, PlanStep]:
    made = plan(TOOLS, image, budget_of(level), calibrated={"patch"}, can_look=can_look)
    assert [step.tool for step in made] == sorted(step.tool for step in made)
    assert all(step.because for step in made)
    return {step.tool: step for step in made}


@pytest.mark.parametrize("level", ["standard", "thorough"])
def test_every_tool_of_the_catalogue_runs(level: Level) -> None:
    made = steps(level, facts(9000, 7000))
    assert set(made) == {*TOOLS, LOOK}
    assert all(step.run for step in made.values())


def test_quick_leaves_out_what_costs_more_than_the_cap_and_names_both_figures() -> None:
    made = steps("quick", facts())
    assert {name for name, step in made.items() if not step.run} == {"zoom", LOOK}
    assert made["zoom"].cost == 80 > QUICK_CAP
    assert "80 units" in made["zoom"].because
    assert f"{QUICK_CAP:g}" in made["zoom"].because
    small = steps("quick", facts(500, 500))
    assert small["zoom"].run
    assert small["zoom"].cost == 20
    assert not small[LOOK].run
    assert small[LOOK].cost == LOOK_COST


def test_cost_grows_with_the_picture_up_to_the_tiles_that_the_budget_allows() -> None:
    quick = budget_of("quick")
    assert cost_of(TOOLS["patch"], facts(2000, 1000), quick) == 50
    most = round(25 * quick.max_tiles * 65536 / 1e6, 1)
    assert cost_of(TOOLS["patch"], facts(8000, 8000), quick) == most
    assert cost_of(TOOLS["patch"], facts(8000, 8000), budget_of("standard")) > most


def test_a_model_that_sees_nothing_is_left_out_with_the_reason() -> None:
    step = steps("standard", facts(), can_look=False)[LOOK]
    assert not step.run
    assert "sees pixels" in step.because


def test_the_reason_tells_whether_a_tool_has_a_weight() -> None:
    made = steps("standard", facts())
    assert made["patch"].because.startswith("Calibrated")
    assert "no weight in the verdict" in made["zoom"].because
    assert "no judgement" in made["compression"].because


def test_a_tool_that_misses_what_it_needs_is_left_out_and_says_why() -> None:
    class Plain:
        """A detector of a third party that knows nothing of `missing`."""

        name, version, target, cost = "plain", "1", "generated", 1.0

        def examine(self, image: object, budget: Budget) -> Evidence:
            raise AssertionError

    lacking = replace(tool("lacking", 5), _missing=lambda: "The package x is not installed. Run `pip install x`.")
    having = replace(tool("having", 5), _missing=lambda: None)
    plain = Plain()
    assert isinstance(plain, Detector)
    every: Mapping[str, Detector] = {"lacking": lacking, "having": having, "plain": plain}
    made = {
        step.tool: step for step in plan(every, facts(), budget_of("standard"), calibrated={"lacking"}, can_look=True)
    }
    assert {name: step.run for name, step in made.items() if name != LOOK} == {
        "lacking": False, "having": True, "plain": True,
    }  # fmt: skip
    assert made["lacking"].because == "The package x is not installed. Run `pip install x`."
