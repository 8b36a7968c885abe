"""The agent against its rivals, as Markdown for the model card."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from evals.results import Examination, Figure, RunResult

Table = Callable[[Sequence[str], Sequence[Sequence[str]]], str]
Shown = Callable[[Figure | None], str]


def markdown(result: RunResult, table: Table, shown: Shown) -> list[str]:
    """The section; empty where the agent's own plan was not run."""
    parts = ["### The agent against its rivals"] if result.examinations else []
    for made in result.examinations:
        parts += _one(made, result, table, shown)
    return parts


def _one(made: Examination, result: RunResult, table: Table, shown: Shown) -> list[str]:
    title = next(protocol.title for protocol in result.protocols if protocol.name == made.protocol)
    parts = [
        f"**{title}.** The agent as the service runs it: its plan, its second looks, its abstentions. It gave a label "
        f"to {made.coverage:.0%} of {made.files} files. *everything* is every tool, with every second look paid for, "
        "and the fusion of all. Cost is in units, about 10 ms on one core each. The agent is as sure as its most "
        "cautious look.",
        table(
            ["who", "AUROC", "risk at 60 %", "mean units a file"],
            [[rival.name, shown(rival.auroc), shown(rival.risk), f"{rival.units:.1f}"] for rival in made.rivals],
        ),
        table(
            ["agent minus", "measure", "difference", "not worse by more than", "outcome"],
            [
                [
                    c.theirs,
                    {"auroc": "AUROC", "risk": "risk at 60 %"}[c.measure],
                    shown(c.difference),
                    f"{c.bar:g}",
                    c.outcome,
                ]
                for c in made.compared
            ],
        ),
    ]
    open_for = "; ".join(f"{why}: {count}" for why, count in made.open_for.items() if count)
    steps = ", ".join(f"{name} {count}" for name, count in made.steps.items() if count)
    parts.append(f"Left open: {open_for or 'none'}. Steps that were taken, by number of files: {steps}.")
    if made.withheld:
        parts.append(
            "Files that a disturbance turned round which is not probed: how many of them the agent had reported as "
            "`inconclusive`, and how many are not among the surest 60 % of files."
        )
        rows = [
            [
                next(protocol.title for protocol in result.protocols if protocol.name == each.protocol),
                f"{each.flips.flipped} of {each.flips.files}",
                _share(each.share),
                _share(each.at_coverage),
            ]
            for each in made.withheld
        ]
        parts.append(
            table(["disturbance", "turned round", "reported inconclusive", "left open at 60 % coverage"], rows)
        )
    return parts


def _share(value: float | None) -> str:
    return "none turned" if value is None else f"{value:.0%}"
