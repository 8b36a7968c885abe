"""One self-contained HTML page of some runs: tables and curves, nothing loaded from elsewhere."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from evals.charts import Bar, Line, forest, plot
from evals.report import HEADS, leak_words, shown
from evals.results import LEAK_BAR, Curve, ProtocolResult, RunResult, System

_STYLE = """
:root{color-scheme:light dark;--ground:#fff;--ink:#1d2329;--soft:#5b6670;--grid:#e3e7eb;--panel:#f6f7f9;--bad:#a3260f;
--c0:#0b5fad;--c1:#c25a00;--c2:#2c7a3f;--c3:#8a3ab0;--c4:#b0203a;--c5:#00788a;--c6:#7a6200;--c7:#5b6670}
@media(prefers-color-scheme:dark){:root{--ground:#14181c;--ink:#e6eaee;--soft:#9aa6b2;--grid:#2c343c;--panel:#1c2228;
--bad:#ff8a70;--c0:#6db3f8;--c1:#f5a15a;--c2:#7fcf93;--c3:#cf9bf0;--c4:#ff8b9c;--c5:#5fd0e0;--c6:#dcc45a;--c7:#9aa6b2}}
body{margin:0 auto;max-width:70rem;padding:1.5rem;background:var(--ground);color:var(--ink);
font:16px/1.5 system-ui,sans-serif}
h1,h2,h3{line-height:1.2}h2{margin-top:2.5rem;border-top:1px solid var(--grid);padding-top:1rem}
p.audit{background:var(--panel);padding:.6rem .8rem;border-radius:6px}p.leaks{border-left:4px solid var(--bad)}
.scroll{overflow-x:auto}table{border-collapse:collapse;font-variant-numeric:tabular-nums;font-size:.85rem}
th,td{padding:.25rem .7rem;border-bottom:1px solid var(--grid);text-align:left;white-space:nowrap}
.charts{display:flex;flex-wrap:wrap;gap:1rem}figure{margin:0}figcaption{font-weight:600;font-size:.9rem}
svg.plot{width:260px}svg.forest{width:100%;max-width:640px;font-size:12px}svg text{fill:var(--ink)}
.wide{flex-basis:100%}.frame{fill:none;stroke:var(--soft)}.grid{stroke:var(--grid)}
.chance{stroke:var(--soft);stroke-dasharray:4 3}svg .tick,svg .axis{fill:var(--soft);font-size:11px}
.strong{font-weight:700}.line{fill:none;stroke-width:2}.whisker{stroke:var(--soft);stroke-width:3}
ul.legend{list-style:none;margin:0;padding:0;font-size:.8rem;display:flex;flex-wrap:wrap;gap:.2rem .8rem;
max-width:260px}
.key{display:inline-block;width:.8rem;height:.8rem;border-radius:2px;margin-right:.3rem;vertical-align:-1px}
"""
_COLOURS = "".join(
    f".line.c{n}{{stroke:var(--c{n})}}.dot.c{n}{{fill:var(--c{n})}}.key.c{n}{{background:var(--c{n})}}"
    for n in range(8)
)


def html(results: Sequence[RunResult]) -> str:
    """The page of some runs."""
    body = "".join(_run(result) for result in results)
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1"><title>Exposit: what was measured</title>'
        f"<style>{_STYLE}{_COLOURS}</style></head><body><h1>Exposit: what was measured</h1>{body}</body></html>\n"
    )


def _run(result: RunResult) -> str:
    limit = "" if result.limit is None else f" Only {result.limit} pictures a protocol were measured."
    head = (
        f"<h2>{escape(result.title)}</h2><p>{escape(result.made_by)}; calibration {escape(result.calibration)}, prior "
        f"{result.prior:g}, seed {result.seed}. Intervals are {escape(result.interval)}.{limit}</p>"
    )
    notes = "".join(f"<p>{escape(note)}</p>" for note in result.notes)
    return (
        head + notes + _targets(result) + _leaks(result) + "".join(map(_protocol, result.protocols)) + _losses(result)
    )


def _targets(result: RunResult) -> str:
    if not result.targets:
        return ""
    rows = [
        [
            target.text, target.system, f"{target.rule} {target.bar:g}", shown(target.figure),
            target.outcome + ("" if target.certain or target.outcome == "no figure" else " (interval holds the bar)"),
        ]
        for target in result.targets
    ]  # fmt: skip
    return "<h3>What was aimed at</h3>" + _table(["aim", "who", "bar", "measured", "outcome"], rows)


def _leaks(result: RunResult) -> str:
    bars = [
        Bar(f"{protocol.name}: {leak.features}", leak.auroc, strong=leak.verdict == "leaks")
        for protocol in result.protocols
        for leak in protocol.leaks
        if protocol.against is None
    ]
    if not bars:
        return ""
    return forest(
        "Leak audit: what a classifier that sees no pixel ranks", bars, low=0.4, high=1.0, marks=(0.5, LEAK_BAR),
        words="AUROC",
    )  # fmt: skip


def _protocol(protocol: ProtocolResult) -> str:
    leaking = any(leak.verdict == "leaks" and leak.features == "format" for leak in protocol.leaks)
    audit = leak_words(protocol).replace("**", "")
    shown_systems = [system for system in protocol.systems if system.kind != "without"]
    measures = [
        "auroc",
        "auroc_even",
        "ap",
        "tpr_at_1",
        "tpr_at_5",
        "nll",
        "brier",
        "ece",
        "risk_at_60",
        "pointing",
        "iou",
    ]
    measures = [name for name in measures if any(name in system.figures for system in shown_systems)]
    rows = [
        [system.name, f"{system.answered} of {system.files}", *(shown(system.figures.get(name)) for name in measures)]
        for system in shown_systems
    ]
    parts = [
        f"<h3>{escape(protocol.title)}</h3><p>{escape(protocol.about)}</p>",
        f'<p class="audit{" leaks" if leaking else ""}">{escape(audit)}</p>',
        _table(["who", "answered", *(HEADS[name] for name in measures)], rows),
        '<div class="charts">',
        forest(
            "AUROC, 90 % interval", [Bar(s.name, s.figures["auroc"], s.kind == "agent") for s in shown_systems],
            low=0.3, high=1.0, marks=(0.5, 1.0), words="AUROC",
        ),
        plot("ROC", "false alarms", "found", _lines(shown_systems, "roc"), diagonal=True),
        plot("Risk by coverage", "coverage", "error rate", _lines(shown_systems, "risk"), diagonal=False, top=0.6),
        plot(
            "Reliability", "mean probability", "share of positives", _lines(shown_systems, "reliability", dots=True),
            diagonal=True,
        ),
    ]  # fmt: skip
    if protocol.groups:
        first = next(iter(protocol.groups[0].auroc))
        parts.append(
            forest(
                f"By generator against all photographs ({first}), weakest first",
                [Bar(f"{group.name} ({group.pictures})", group.auroc[first]) for group in protocol.groups],
                low=0.0, high=1.0, marks=(0.5, 1.0), words="AUROC",
            )
        )  # fmt: skip
    parts.append("</div>")
    return "".join(parts)


def _lines(systems: Sequence[System], which: str, dots: bool = False) -> list[Line]:
    found = []
    for system in systems:
        line: Curve | None = getattr(system, which)
        if line is not None:
            found.append(Line(system.name, line, dots=dots))
    return found


def _losses(result: RunResult) -> str:
    names = list(dict.fromkeys(loss.ours for protocol in result.protocols for loss in protocol.losses))
    parts = []
    for name in names:
        bars = [
            Bar(protocol.title, loss.difference)
            for protocol in result.protocols
            for loss in protocol.losses
            if loss.ours == name
        ]
        parts.append(
            forest(
                f"{name}: AUROC gained or lost by each disturbance", bars, low=-0.3, high=0.3, marks=(-0.05, 0.0),
                words="paired difference",
            )
        )  # fmt: skip
    return "<h3>What disturbing the files costs</h3>" + "".join(parts) if parts else ""


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    top = "".join(f"<th>{escape(head)}</th>" for head in heads)
    body = "".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    return f'<div class="scroll"><table><tr>{top}</tr>{body}</table></div>'
