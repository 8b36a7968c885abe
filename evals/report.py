"""The model card, in Markdown, made from the JSON of runs.

    python -m evals.report runs/matched/result.json [runs/robust/result.json ...] --out docs/MODEL_CARD.md

Every number is taken from the JSON; nothing is typed in by hand.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from pydantic import ValidationError

from evals import rivals
from evals.figures import MEASURES
from evals.results import LEAK_BAR, Figure, Leak, ProtocolResult, RunResult, System
from tools.errors import ConfigurationError

NONE = "n/a"
_RANKED = ("auroc", "auroc_even", "ap", "tpr_at_1", "tpr_at_5")
_STATED = ("nll", "nll_gain", "brier", "brier_gain", "ece")
HEADS = {
    "auroc": "AUROC",
    "auroc_even": "AUROC at equal length",
    "ap": "AP",
    "tpr_at_1": "TPR at 1 % FPR",
    "tpr_at_5": "TPR at 5 % FPR",
    "nll": "NLL",
    "nll_gain": "NLL gain on base rate",
    "brier": "Brier",
    "brier_gain": "Brier gain",
    "ece": "ECE",
    "risk_at_60": "risk at 60 %",
    "aurc": "AURC",
    "pointing": "pointing",
    "iou": "IoU",
}
"""Measures by name, as tables head them; `evals.figures.MEASURES` explains them."""
_FEATURES = {
    "format": "format (size, mode, tables)", "bytes": "length of the file", "all": "both together",
}  # fmt: skip


def shown(figure: Figure | None, digits: int = 3, signed: bool = False) -> str:
    """`0.612 [0.53, 0.70]`; `n/a` where there is no figure."""
    if figure is None or figure.value is None:
        return NONE
    sign = "+" if signed else ""
    text = f"{figure.value:{sign}.{digits}f}"
    if figure.low is not None and figure.high is not None:
        text += f" [{figure.low:{sign}.{digits - 1}f}, {figure.high:{sign}.{digits - 1}f}]"
    return text


def table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


def leak_words(protocol: ProtocolResult) -> str:
    """The audit of a protocol in a line, to stand beside its figures."""
    leaks = protocol.leaks
    if not leaks:
        return "Leak audit: too few pictures of one class to tell."
    told = [f"{_FEATURES[leak.features]} {shown(leak.auroc)} ({leak.verdict})" for leak in leaks]
    bar = f"Leak audit, AUROC of a classifier that sees no pixel (bar {LEAK_BAR:.2f})"
    return f"{bar}: {'; '.join(told)}. {_meaning(leaks, protocol.matched)}"


def _meaning(leaks: Sequence[Leak], matched: bool) -> str:
    verdicts = {leak.features: leak.verdict for leak in leaks}
    length = {verdicts["bytes"], verdicts["all"]}
    if verdicts["format"] == "leaks":
        return "**The format tells the classes apart: no figure below proves that a pixel was looked at.**"
    if verdicts["format"] == "unsure":
        return "Whether the format tells the classes apart cannot be said at this number of pictures."
    if "leaks" in length and matched:
        return (
            "The format tells nothing; the length of the file does, because at one size and one distribution of "
            "qualities it measures how detailed the picture is. A detector could use the same."
        )
    if "leaks" in length:
        return "**The length of the file tells the classes apart: no figure below proves that a pixel was looked at.**"
    if "unsure" in length:
        return "The format tells nothing; whether the length of the file does cannot be said at this number."
    return "Neither format nor length tells the classes apart."


def summary(result: RunResult) -> str:
    """A few lines for the terminal."""
    lines = [f"{result.title}: {len(result.protocols)} protocols"]
    for protocol in result.protocols:
        lines.append(f"{protocol.name} ({_sizes(protocol)})")
        lines.append(f"  {leak_words(protocol)}")
        for system in protocol.systems:
            if system.kind != "without":
                auroc = shown(system.figures.get("auroc"))
                lines.append(f"  {system.name:<16} AUROC {auroc}, answered {system.answered} of {system.files}")
    lines += [
        f"peer {peer.name} on {peer.protocol}: {peer.outcome}, {peer.missing} missing, {peer.junk} lines of junk. "
        f"{peer.message}".strip()
        for peer in result.peers
    ]
    return "\n".join(lines)


def _sizes(protocol: ProtocolResult) -> str:
    positive, negative = ("edited", "untouched") if protocol.question == "edited" else ("generated", "photographs")
    files = f", {protocol.files} files" if protocol.draws > 1 else ""
    return f"{protocol.pictures['positive']} {positive}, {protocol.pictures['negative']} {negative}{files}"


def _protocol(protocol: ProtocolResult) -> list[str]:
    parts = [f"### {protocol.title}", f"{protocol.about} {_sizes(protocol)}.{_missing(protocol)}"]
    parts.append(leak_words(protocol))
    kept = [s for s in protocol.systems if s.kind != "without"]
    measures = [m for m in (*_RANKED, "pointing", "iou") if any(m in s.figures for s in kept)]
    parts.append(
        table(
            ["who", "answered", *(HEADS[m] for m in measures)],
            [[_who(s), _answered(s), *(shown(s.figures.get(m)) for m in measures)] for s in kept],
        )
    )
    stated = [s for s in kept if any(m in s.figures for m in _STATED)]
    if stated:
        heads = ["who", *(HEADS[m] for m in _STATED), "ECE if calibrated", HEADS["risk_at_60"], HEADS["aurc"]]
        parts.append(
            table(
                heads,
                [
                    [
                        _who(s),
                        *(shown(s.figures.get(m), signed=m.endswith("gain")) for m in _STATED),
                        shown(s.ece_if_calibrated),
                        shown(s.figures.get("risk_at_60")),
                        shown(s.figures.get("aurc")),
                    ]
                    for s in stated
                ],
            )
        )
    parts += _labels(protocol)
    if protocol.groups:
        names = list(protocol.groups[0].auroc)
        parts.append("By generator, against all photographs of the protocol, the agent's weakest first (AUROC):")
        parts.append(
            table(
                ["generator", "pictures", *names],
                [[g.name, str(g.pictures), *(shown(g.auroc[n]) for n in names)] for g in protocol.groups],
            )
        )
    parts += _differences(protocol)
    return parts


def _missing(protocol: ProtocolResult) -> str:
    words = [f"{count} {label}" for label, count in protocol.left_out.items()]
    text = f" Left out: {', '.join(words)}." if words else ""
    if protocol.broken:
        text += f" Could not be judged: {', '.join(sorted(protocol.broken))}."
    return text


def _who(system: System) -> str:
    return {"agent": "**agent**", "peer": f"{system.name} (peer)"}.get(system.kind, system.name)


def _answered(system: System) -> str:
    return f"{system.answered} of {system.files}"


def _labels(protocol: ProtocolResult) -> list[str]:
    if not protocol.labels:
        return []
    names = sorted({name for labels in protocol.labels.values() for name in labels.counts})
    positive, negative = ("edited", "untouched") if protocol.question == "edited" else ("generated", "photographs")
    rows = [
        [
            positive if which == "positive" else negative, str(labels.files),
            *(str(labels.counts.get(name, 0)) for name in names), shown(labels.flagged), shown(labels.decided),
        ]
        for which, labels in protocol.labels.items()
    ]  # fmt: skip
    parts = [
        "What the agent called them. Flagged means called generated, edited or laundered, over all files: an "
        "abstention is not flagged. Decided means anything but `inconclusive` (coverage).",
        table(["of these", "files", *names, "flagged", "decided"], rows),
    ]
    flagged = [source for source in protocol.sources if source.flagged]
    if flagged:
        words = [f"{source.name} {source.flagged} of {source.files}" for source in flagged]
        parts.append(f"False alarms by collection: {'; '.join(words)}.")
    return parts


def _differences(protocol: ProtocolResult) -> list[str]:
    parts = []
    if protocol.differences:
        parts.append("The agent against others on the same files (paired bootstrap; AUROC up is better, risk down is):")
        parts.append(
            table(
                ["agent minus", "measure", "pictures", "difference"],
                [
                    [d.theirs, HEADS[d.measure], str(d.pictures), shown(d.difference, signed=True)]
                    for d in protocol.differences
                ],
            )
        )
    if protocol.without_effect:
        parts.append(
            f"Without {', '.join(protocol.without_effect)} the agent says exactly the same: "
            f"{'it has' if len(protocol.without_effect) == 1 else 'they have'} no weight here."
        )
    return parts


def _losses(result: RunResult) -> list[str]:
    disturbed = [protocol for protocol in result.protocols if protocol.against is not None]
    if not disturbed:
        return []
    names = list(dict.fromkeys(loss.ours for protocol in disturbed for loss in protocol.losses))
    rows = []
    for protocol in disturbed:
        by_name = {loss.ours: loss for loss in protocol.losses}
        cells = [shown(by_name[name].difference, signed=True) if name in by_name else NONE for name in names]
        rows.append([protocol.title, str(protocol.against), *cells])
    return [
        "### What disturbing the files costs",
        "AUROC minus that on the same pictures undisturbed, paired bootstrap; below 0 is a loss.",
        table(["disturbance", "against", *names], rows),
        "The agent under each disturbance. Crossed: files on which its probability moved to the other side of the "
        "prior, and on how many of these the undisturbed verdict had been `inconclusive`. The leak audit of each "
        "stands in the last columns.",
        table(
            [
                "disturbance", "AUROC", "NLL gain", "Brier gain", "ECE", "ECE if calibrated", "false alarms",
                "decided (photographs)", "crossed", "audit: format", "audit: length",
            ],
            [_disturbed(protocol) for protocol in disturbed],
        ),
    ]  # fmt: skip


def _disturbed(protocol: ProtocolResult) -> list[str]:
    agent, negative, flips = protocol.system("agent"), protocol.labels.get("negative"), protocol.flips
    figures = agent.figures if agent is not None else {}
    leaks = {leak.features: f"{shown(leak.auroc)} ({leak.verdict})" for leak in protocol.leaks}
    return [
        protocol.title,
        shown(figures.get("auroc")),
        shown(figures.get("nll_gain"), signed=True),
        shown(figures.get("brier_gain"), signed=True),
        shown(figures.get("ece")),
        shown(agent.ece_if_calibrated if agent is not None else None),
        shown(negative.flagged if negative is not None else None),
        shown(negative.decided if negative is not None else None),
        NONE if flips is None else f"{flips.flipped} of {flips.files}, {flips.withheld} of them inconclusive",
        leaks.get("format", NONE),
        leaks.get("bytes", NONE),
    ]


def _targets(result: RunResult) -> list[str]:
    if not result.targets:
        return []
    rows = []
    for target in result.targets:
        bar = f"{target.rule} {target.bar:g}"
        outcome: str = target.outcome
        if outcome != "no figure" and not target.certain:
            outcome += " (the interval holds the bar)"
        rows.append([target.text, target.system, bar, shown(target.figure), outcome])
    reached = sum(target.outcome == "reached" for target in result.targets)
    told = f"{reached} of {len(rows)} aims were reached."
    return ["### What was aimed at", told, table(["aim", "who", "bar", "measured", "outcome"], rows)]


def _run(result: RunResult) -> list[str]:
    limit = "" if result.limit is None else f" **Only {result.limit} pictures a protocol were measured.**"
    parts = [
        f"## {result.title}",
        f"`{result.made_by}`; calibration `{result.calibration}`, prior {result.prior:g}, budget {result.budget}, seed "
        f"{result.seed}, {result.bootstrap} replicates. Intervals are {result.interval}.{limit}",
        *result.notes,
        *(
            f"Best single tool for `{question}`, fixed on training scores: {best.tool or 'none'}: {best.because}."
            for question, best in result.best.items()
        ),
        *_targets(result),
        *rivals.markdown(result, table, shown),
    ]
    for protocol in result.protocols:
        if protocol.against is None:
            parts += _protocol(protocol)
    parts += _losses(result)
    rows = [
        [
            name, str(c.files), f"{c.side}", f"{c.ms_median:.0f}", f"{c.ms_p90:.0f}",
            NONE if c.mb_p90 is None else f"{c.mb_p90:.1f}", NONE if c.mb_max is None else f"{c.mb_max:.0f}",
            str(c.failures),
        ]
        for name, c in result.costs.items()
    ]  # fmt: skip
    parts += [
        "### Cost of a file",
        "Wall clock on the machine of the run and under its load, in one process; MB is what a call took at its peak "
        "beyond what the process held (the first call of a tool loads its weights). Side is the square root of the "
        "median number of pixels.",
        table(["tool", "files", "side", "ms median", "ms p90", "MB p90", "MB most", "failures"], rows),
    ]
    if result.peers:
        parts += [
            "### Peers",
            table(
                ["peer", "protocol", "outcome", "s", "scored", "missing", "junk lines", "message"],
                [
                    [p.name, p.protocol, p.outcome, f"{p.seconds:g}", str(p.scored), str(p.missing), str(p.junk),
                     p.message.replace("\n", " ")]
                    for p in result.peers
                ],
            ),
        ]  # fmt: skip
    parts.append("Versions: " + ", ".join(f"{name} {version}" for name, version in result.versions.items()) + ".")
    return parts


def card(results: Sequence[RunResult]) -> str:
    """The model card of some runs."""
    parts = [
        "# Model card",
        "What Exposit's tools and their fusion were measured to do. This file is made by `python -m evals.report` from "
        "the JSON of `python -m evals.run`; no number in it was typed by hand. What the labels and probabilities mean "
        "stands in [VERDICTS.md](VERDICTS.md).",
        "How to read it: figures are value [low, high]. A ranking measure is over the files that a system answered; "
        "`answered` says how many those are. Each tool alone is ranked by its raw score; its probability is what "
        "fusion makes of that tool alone. Probabilities are restated at each set's own share of positives, because "
        "the prior is the reader's choice. *Agent* is the fusion of all tools, as the service does it.",
        *(part for result in results for part in _run(result)),
        "## Measures",
        table(["measure", "meaning"], [[HEADS[name], meaning] for name, meaning in MEASURES.items()]),
    ]
    return "\n\n".join(parts) + "\n"


def load(path: Path) -> RunResult:
    """A run from its JSON.

    Raises:
        ConfigurationError: It is missing or not in the agreed form.
    """
    try:
        return RunResult.model_validate_json(path.read_bytes())
    except (OSError, ValidationError) as error:
        raise ConfigurationError(
            f"{path} cannot be read as the result of a run: {error}.", remedy="Write it with python -m evals.run."
        ) from error


def main(argv: Sequence[str] | None = None) -> None:
    """The command."""
    from evals import page

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", nargs="+", type=Path, help="result.json of one or more runs")
    parser.add_argument("--out", type=Path, required=True, help="Markdown file to write")
    parser.add_argument("--page", type=Path, help="HTML page to write as well")
    options = parser.parse_args(argv)
    try:
        results = [load(path) for path in options.results]
    except ConfigurationError as error:
        raise SystemExit(str(error)) from error
    options.out.write_text(card(results), encoding="utf-8")
    if options.page:
        options.page.write_text(page.html(results), encoding="utf-8")


if __name__ == "__main__":
    main()
