"""The agent as the service runs it, on kept results: its plan, its second looks, what it withholds and what it costs.

What a tool says of a file does not depend on who asks, so the policy is run over what was kept: the very
`agent.planning`, `agent.probes` and `agent.stability` decide, and only the second looks that they ask for are made. It
is held against the best single tool and against running everything, on the same files.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

import numpy as np

from agent import planning, probes
from agent.calibration import Calibration
from agent.planning import Standing
from agent.stability import STEP, margins, settle
from agent.state import Shown
from agent.verdict import ImageFacts, PlanStep, Stability, Verdict
from evals import figures, metrics
from evals.figures import COVERAGE, Array, Rows, Table
from evals.kept import code_of
from evals.results import Compared, Examination, Figure, Flips, Rival, Withheld, number
from evals.scoring import Scorer, Spoken
from tools.contract import Budget, Conditional, Detector, Evidence, Tool
from tools.image import SourceImage
from tools.views import DEGRADATIONS, Degradation, View, show

BAR = 0.02
"""The agent may be this much worse than a rival and still count as not inferior."""
MOST_ROUNDS = 8


@dataclass(frozen=True, slots=True)
class Case:
    """What the agent made of one file.

    Attributes:
        cautious: The probability that its most cautious look allows: where any look speaks against the first, one half.
        units: Cost units that its plan took.
        everything: Cost units of every tool, and of every second look of every tool with weight.
        tools: Cost units of each tool together with the context that calibration needs.
    """

    verdict: Verdict
    stability: Stability
    plan: tuple[PlanStep, ...]
    cautious: float
    units: float
    everything: float
    tools: Mapping[str, float]


class Examiner:
    """Runs the agent's policy over what tools said.

    Args:
        tools: The catalogue.
        budget: Of the suite.
        calibration: In force.
        prior: Before any evidence.
        kept: Folder of what tools said before; None keeps nothing.
    """

    def __init__(
        self, tools: Mapping[str, Detector], budget: Budget, calibration: Calibration, prior: float, kept: Path | None
    ) -> None:
        self.tools, self.budget, self.calibration, self.prior = dict(tools), budget, calibration, prior
        self._kept = kept
        self._scorers: dict[tuple[str, Degradation], Scorer] = {}

    def examine(self, data: bytes, said: Mapping[str, Spoken]) -> Case:
        """The agent's case of one file, from what each tool said of it."""
        with_size = SourceImage.open(data)
        image = ImageFacts(
            path="scored", sha256=with_size.sha256, bytes=len(data), width=with_size.width, height=with_size.height,
            format=with_size.format, mode=with_size.mode,
        )  # fmt: skip
        plan: tuple[PlanStep, ...] = ()
        evidence: dict[str, Evidence] = {}
        shown: list[Shown] = []
        settled = None
        for _ in range(MOST_ROUNDS):
            at = Standing(
                tools=self.tools, image=image, budget=self.budget, calibration=self.calibration, prior=self.prior,
                verdict=settled.fused.verdict if settled else None,
                contributions=settled.fused.contributions if settled else (), evidence=tuple(evidence.values()),
                plan=plan,
            )  # fmt: skip
            steps = (*planning.next_steps(at), *probes.next_steps(at))
            if not steps:
                break
            plan = (*plan, *steps)
            for step in steps:
                if step.run and step.kind == "tool":
                    evidence[step.tool] = said[step.tool].evidence
                elif step.run and step.tool.startswith(STEP):
                    shown += [
                        Shown(kind=kind, tool=name, evidence=self._again(name, kind, data))
                        for kind in DEGRADATIONS
                        for name in step.on
                    ]
            settled = settle(
                tuple(evidence.values()), shown, image=image, prior=self.prior, calibration=self.calibration, plan=plan
            )
        if settled is None:
            raise ValueError("the plan of a case has no step")
        fused, stability = settled
        return Case(
            verdict=fused.verdict, stability=stability, plan=plan,
            cautious=_cautious(fused.verdict, margins(fused, stability).get("generated", 0.0)),
            units=planning.spent(plan), everything=self._everything(image), tools=self._alone(image),
        )  # fmt: skip

    def close(self) -> None:
        """Closes the files of what is kept."""
        for scorer in self._scorers.values():
            scorer.close()

    def _again(self, name: str, kind: Degradation, data: bytes) -> Evidence:
        scorer = self._scorers.get((name, kind))
        if scorer is None:
            looking = second_look(self.tools[name], kind, probes.look_budget(self.tools[name], self.budget))
            scorer = Scorer({looking.name: looking}, self.budget, self._kept)
            self._scorers[name, kind] = scorer
        (spoken,) = scorer.examine(data).values()
        return spoken.evidence.model_copy(update={"id": name, "detector": name, "version": self.tools[name].version})

    def _alone(self, image: ImageFacts) -> dict[str, float]:
        costs = {name: planning.cost_of(tool, image, self.budget) for name, tool in self.tools.items()}
        context = sum(costs[name] for name, tool in self.tools.items() if tool.target == "context")
        return {name: cost + context for name, cost in costs.items()}

    def _everything(self, image: ImageFacts) -> float:
        total = 0.0
        for tool in self.tools.values():
            if isinstance(tool, Conditional) and tool.missing() is not None:
                continue
            total += planning.cost_of(tool, image, self.budget)
            if tool.name in self.calibration.weighted:
                total += probes.look_cost(tool, image, self.budget)
        return round(total, 1)


def second_look(tool: Detector, kind: Degradation, budget: Budget) -> Tool:
    """A detector that shows `tool` a degraded view, so that what it says can be kept like any other's word."""

    def examine(own: Tool, image: SourceImage, _: Budget) -> Evidence:
        found = tool.examine(show(image, View(kind=kind)), budget)
        return found.model_copy(update={"id": own.name, "detector": own.name, "version": own.version, "maps": ()})

    version = f"{tool.version}.{code_of(tool)[:12]}.{budget.level}{budget.max_tiles}"
    return Tool(
        name=f"{tool.name}@{kind}", version=version, target=tool.target, cost=tool.cost, about="", _examine=examine
    )


def _cautious(verdict: Verdict, margin: float) -> float:
    sign = 1.0 if verdict.likelihood_ratio.get("generated", 1.0) >= 1 else -1.0
    odds = sign * max(margin, 0.0) + math.log(verdict.prior / (1 - verdict.prior))
    return 1 / (1 + math.exp(-odds))


def examination(
    name: str, table: Table, pictures: Sequence[str], cases: Mapping[tuple[str, int], Case], best: str | None, *,
    seed: int, draws: int,
) -> Examination:  # fmt: skip
    """The agent against its rivals on one undisturbed protocol.

    Args:
        name: Of the protocol.
        table: Its scores; `agent` is the fusion of all tools.
        pictures: Names of its rows.
        cases: By picture and draw.
        best: The best single tool, fixed on training scores.
        seed, draws: Of the bootstrap.
    """
    shape = table.probabilities["agent"].shape
    cautious = np.array(
        [[cases[p, d].cautious if (p, d) in cases else math.nan for d in range(shape[1])] for p in pictures]
    )
    told = np.array(
        [[cases[p, d].verdict.p_generated if (p, d) in cases else math.nan for d in range(shape[1])] for p in pictures]
    )
    fused = table.probabilities["agent"]
    units = float(np.mean([case.units for case in cases.values()]))
    everything = float(np.mean([case.everything for case in cases.values()]))
    rows: dict[str, tuple[Array, Array, float]] = {"agent": (told, cautious, units)}
    if best is not None and best in table.probabilities:
        cost = float(np.mean([case.tools[best] for case in cases.values()]))
        rows[best] = (table.scores[best], table.probabilities[best], cost)
    rows["everything"] = (fused, fused, everything)
    measured = {who: _measured(table, rank, sure) for who, (rank, sure, _) in rows.items()}
    rivals, compared = [], []
    for who, (_, _, cost) in rows.items():
        found = metrics.resampled(measured[who], table.groups, seed=seed, draws=draws)
        rivals.append(
            Rival(name=who, auroc=Figure.of(found["auroc"]), risk=Figure.of(found["risk"]), units=round(cost, 1))
        )
        if who != "agent":
            compared += _compared(table, measured["agent"], measured[who], who, seed=seed, draws=draws)
    opened = [case for case in cases.values() if case.verdict.label == "inconclusive"]
    taken: dict[str, int] = {}
    for case in cases.values():
        for step in case.plan:
            taken[step.tool] = taken.get(step.tool, 0) + step.run
    return Examination(
        protocol=name, pictures=len(pictures), files=len(cases),
        coverage=round(1 - len(opened) / max(len(cases), 1), 6),
        open_for=_reasons(opened), steps=dict(sorted(taken.items())), rivals=tuple(rivals), compared=tuple(compared),
    )  # fmt: skip


def withheld(
    flips: Flips, before: Undisturbed, name: str, after: Table, pictures: Sequence[str], prior: float
) -> Withheld:
    """What became of the files that one disturbance turned round.

    Args:
        flips: As `evals.breakdown.flips` counts them.
        before: The undisturbed protocol, with the agent's cases.
        name: Of the disturbed protocol.
        after: Its scores.
        pictures: Names of their rows.
        prior: Before any evidence.
    """
    rows = {picture: row for row, picture in enumerate(before.pictures)}
    ours, first, sure = [], [], []
    for row, picture in enumerate(pictures):
        for draw in range(after.probabilities["agent"].shape[1]):
            if (picture, draw) not in before.cases:
                continue
            ours.append(after.probabilities["agent"][row, draw])
            first.append(before.table.probabilities["agent"][rows[picture], draw])
            sure.append(before.cases[picture, draw].cautious)
    disturbed, undisturbed = np.array(ours), np.array(first)
    away = np.abs(np.array(sure) - prior)
    known = np.isfinite(disturbed) & np.isfinite(undisturbed)
    turned = known & ((disturbed - prior) * (undisturbed - prior) < 0)
    # those that would get an answer if exactly the surest share of files did
    answered = np.argsort(-away, kind="stable")[: math.floor(COVERAGE * len(away))]
    open_ = np.ones(len(away), dtype=bool)
    open_[answered] = False
    return Withheld(
        protocol=name, flips=flips, share=number(flips.withheld / flips.flipped) if flips.flipped else None,
        at_coverage=number(float((turned & open_).sum() / turned.sum())) if turned.any() else None,
    )  # fmt: skip


class Undisturbed(Protocol):
    """What `withheld` reads of a protocol that was measured (`evals.measuring.Measured`)."""

    @property
    def table(self) -> Table: ...
    @property
    def pictures(self) -> list[str]: ...
    @property
    def cases(self) -> dict[tuple[str, int], Case]: ...


def _measured(table: Table, rank: Array, sure: Array) -> Callable[[Rows], dict[str, float]]:
    ranking = figures.over_draws(lambda y, s: {"auroc": metrics.auroc(y, s)}, table.labels, rank)
    stated = figures.over_draws(
        lambda y, p: {"risk": figures.probability(table.prior)(y, p)["risk_at_60"]}, table.labels, sure
    )
    return lambda rows: {**ranking(rows), **stated(rows)}


def _compared(
    table: Table, ours: Callable[[Rows], dict[str, float]], theirs: Callable[[Rows], dict[str, float]], who: str, *,
    seed: int, draws: int,
) -> list[Compared]:  # fmt: skip
    def differences(rows: Rows) -> dict[str, float]:
        mine, other = ours(rows), theirs(rows)
        return {measure: mine[measure] - other[measure] for measure in ("auroc", "risk")}

    found = metrics.resampled(differences, table.groups, seed=seed, draws=draws)
    out = []
    for measure, estimate in found.items():
        low, high = (estimate.low, estimate.high) if measure == "auroc" else (-estimate.high, -estimate.low)
        outcome: Literal["not inferior", "inferior", "open"] = "open"
        if low >= -BAR:
            outcome = "not inferior"
        elif high < -BAR:
            outcome = "inferior"
        out.append(
            Compared(
                ours="agent", theirs=who, measure=measure, pictures=len(table.labels),
                difference=Figure.of(estimate), bar=BAR, outcome=outcome,
            )
        )  # fmt: skip
    return out


def _reasons(opened: Sequence[Case]) -> dict[str, int]:
    words = {
        "second looks turned it round": "does not survive",
        "the evidence conflicts": "in conflict",
        "nothing had weight": "has any weight",
    }
    out = dict.fromkeys([*words, "the evidence is too weak"], 0)
    for case in opened:
        because = case.verdict.abstained_because or ""
        out[next((name for name, part in words.items() if part in because), "the evidence is too weak")] += 1
    return out
