"""The plan: provenance, then the core, then what is worth its cost; every step has a reason."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from agent.planning import CORE_MOST, LOOK, WORTH, Standing, budget_of, cost_of, next_steps, spent
from agent.state import Level
from agent.verdict import ImageFacts, PlanStep
from agent.worth import chance_of_change, spread
from tests.agent.test_fusion import calibration, judge, spoke
from tests.agent.test_fusion import tool as calibrated
from tools.contract import Budget, Detector, Evidence, Target, Tool


def tool(name: str, cost: float, target: Target = "generated") -> Tool:
    def examine(tool: Tool, image: object, budget: Budget) -> Evidence:
        raise AssertionError("planning must not run a tool")

    return Tool(name=name, version="1", target=target, cost=cost, about="", _examine=examine)


TOOLS: Mapping[str, Detector] = {
    each.name: each
    for each in (tool("compression", 10, "context"), tool("patch", 25), tool("provenance", 2), tool("dear", 800))
}
KNOWN = calibration(patch=calibrated())


def facts(width: int = 1000, height: int = 1000) -> ImageFacts:
    return ImageFacts(path="a", sha256="0" * 64, bytes=1, width=width, height=height, format="PNG", mode="RGB")


def walk(level: Level, image: ImageFacts, tools: Mapping[str, Detector] = TOOLS, **more: Any) -> dict[str, PlanStep]:
    """Every step of every round, as if each tool that runs found nothing."""
    at = Standing(
        tools=tools, image=image, budget=budget_of(level), **({"calibration": KNOWN, "can_look": True} | more)
    )
    while steps := next_steps(at):
        assert all(step.because and step.round == at.round for step in steps)
        assert [step.tool for step in steps] == sorted(step.tool for step in steps)
        at = replace(at, plan=(*at.plan, *steps))
    assert len({step.tool for step in at.plan}) == len(at.plan)
    return {step.tool: step for step in at.plan}


def test_provenance_is_read_first_where_it_is_cheap() -> None:
    made = walk("standard", facts())
    assert {name: step.round for name, step in made.items()} == {
        "provenance": 1, "compression": 2, "patch": 2, LOOK: 2, "dear": 3,
    }  # fmt: skip
    slow = walk("standard", facts(), {**TOOLS, "provenance": tool("provenance", 50)})
    assert slow["provenance"].round == slow["patch"].round == 1


@pytest.mark.parametrize("level", ["quick", "standard", "thorough"])
def test_the_core_runs_under_every_budget(level: Level) -> None:
    made = walk(level, facts(9000, 7000))
    assert all(made[name].run for name in ("compression", "patch", "provenance"))
    assert all(TOOLS[name].cost <= CORE_MOST for name in ("compression", "patch", "provenance"))
    assert made[LOOK].run is (level != "quick")


def test_what_is_dear_runs_under_thorough_and_else_where_it_is_worth_its_cost() -> None:
    assert walk("thorough", facts())["dear"].run
    quick = walk("quick", facts())["dear"]
    assert not quick.run
    assert "800 units" in quick.because
    unknown = walk("standard", facts())["dear"]
    assert (unknown.run, unknown.expected) == (False, 0.0)
    assert "not calibrated" in unknown.because
    able = calibration(patch=calibrated(), dear=calibrated(figures={"matched_auroc": 0.95, "aligned_auroc": 0.9}))
    step = walk("standard", facts(500, 500), calibration=able)["dear"]
    assert step.expected is not None
    assert step.run is (step.expected * WORTH["standard"] > step.cost)
    assert step.run
    assert not walk("standard", facts(2000, 3000), calibration=able)["dear"].run, "the same chance at 24 times the cost"


def test_the_chance_of_a_change_follows_what_calibration_measured() -> None:
    weak, strong = (calibrated(figures={"aligned_auroc": auroc, "matched_auroc": 0.95}) for auroc in (0.55, 0.9))
    known = calibration(weak=weak, strong=strong, mute=calibrated(weight=0.0, because="no use"))
    assert spread(strong) == pytest.approx(1.8124, abs=1e-3), "the harder kind counts: √2·Φ⁻¹(.9)"
    assert chance_of_change("mute", None, known) == chance_of_change("unknown", None, known) == 0
    nothing = judge(with_=known).verdict
    assert chance_of_change("weak", nothing, known) < 0.01 < 0.3 < chance_of_change("strong", nothing, known) < 1
    sure = judge(spoke("strong", 0.99), with_=known).verdict
    near = judge(spoke("strong", 0.75), with_=known).verdict
    assert chance_of_change("strong", sure, known) < chance_of_change("strong", near, known)


def test_cost_grows_with_the_picture_up_to_the_tiles_that_the_budget_allows() -> None:
    quick = budget_of("quick")
    assert cost_of(TOOLS["patch"], facts(2000, 1000), quick) == 50
    most = round(25 * quick.max_tiles * 65536 / 1e6, 1)
    assert cost_of(TOOLS["patch"], facts(8000, 8000), quick) == most
    assert cost_of(TOOLS["patch"], facts(8000, 8000), budget_of("standard")) > most
    made = walk("standard", facts())
    assert spent(made.values()) == sum(step.cost for step in made.values() if step.run)


def test_a_model_that_sees_nothing_is_left_out_with_the_reason() -> None:
    step = walk("standard", facts(), can_look=False)[LOOK]
    assert not step.run
    assert "sees pixels" in step.because


def test_the_reason_tells_whether_a_tool_has_a_weight() -> None:
    made = walk("standard", facts(), {**TOOLS, "new": tool("new", 5)})
    assert "its score has a weight" in made["patch"].because
    assert "no weight in the verdict" in made["new"].because
    assert "no judgement" in made["compression"].because


def test_a_tool_that_misses_what_it_needs_is_left_out_and_says_why() -> None:
    class Plain:
        """A detector of a third party that knows nothing of `missing`."""

        name, version, target, cost = "plain", "1", "generated", 1.0

        def examine(self, image: object, budget: Budget) -> Evidence:
            raise AssertionError

    lacking = replace(tool("lacking", 5), _missing=lambda: "The package x is not installed. Run `pip install x`.")
    dear = replace(tool("dear", 900), _missing=lambda: "There is no model.")
    plain = Plain()
    assert isinstance(plain, Detector)
    every: Mapping[str, Detector] = {"lacking": lacking, "dear": dear, "plain": plain}
    made = walk("thorough", facts(), every)
    assert {name: step.run for name, step in made.items() if name != LOOK} == {
        "lacking": False, "dear": False, "plain": True,
    }  # fmt: skip
    assert made["lacking"].because == "The package x is not installed. Run `pip install x`."
    assert made["dear"].because == "There is no model."
