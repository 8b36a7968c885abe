"""Measures the tools and the agent by a suite.

    python -m evals.run --suite matched --data DIR [--out runs/matched] [--limit N] [--peer "NAME=COMMAND"]

Writes `result.json`, one HTML page with curves (`page.html`) and the model card of this run (`card.md`). What tools
said is kept under `runs/kept`, so that a run that was broken off goes on where it stopped, and one after a new
calibration only fuses anew. `--warm` asks single tools ahead of time and writes no result:

    python -m evals.run --suite robust --data DIR --warm inversion --warm patch
"""

from __future__ import annotations

import argparse
import hashlib
import platform
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from importlib.metadata import version as version_of
from pathlib import Path
from typing import Literal

from agent.calibration import CalibratedTool, Calibration
from agent.calibration import load as load_calibration
from agent.settings import Settings
from evals import layouts, page, report, suite
from evals.costs import costs_of
from evals.datasets import Item
from evals.examiner import Examiner, examination, withheld
from evals.figures import Table
from evals.measuring import Measured, measure, summarise
from evals.peers import Peer
from evals.protocols import drawn
from evals.results import Best, Examination, Figure, PeerRun, ProtocolResult, RunResult, System, Target
from evals.scoring import Scorer
from evals.suite import Suite, TargetSpec
from tools.catalogue import detectors
from tools.contract import Budget, Detector
from tools.contract import Target as Question
from tools.errors import ConfigurationError, ExpositError, ImageError
from tools.weights import use_cache

INTERVAL = (
    "90 % bootstrap intervals; a pair is drawn as a whole, a photograph by itself, a generator with all its pictures "
    "(where there are fewer than five generators, picture by picture)"
)
_PACKAGES = ("numpy", "pillow", "torch", "onnxruntime", "scikit-learn")


def run(
    plan: Suite,
    data: Path,
    work: Path,
    *,
    tools: Mapping[str, Detector] | None = None,
    calibration: Calibration | None = None,
    limit: int | None = None,
    given: Sequence[Item] = (),
    peers: Sequence[Peer] = (),
    peer_timeout_s: float = 600.0,
    kept: Path | None = None,
    made_by: str = "",
    say: bool = True,
) -> RunResult:
    """Runs a suite.

    Args:
        plan: The suite.
        data: Folder of the data.
        work: Folder for what is made on the way.
        tools: Instead of the catalogue's, and of the vision-language model where the suite asks for it.
        calibration: Instead of the shipped one.
        limit: At most this many pictures a protocol.
        given: Items of a public layout.
        peers: Run beside us on the same files.
        peer_timeout_s: A peer may take this long on one protocol.
        kept: Folder of what tools said before; None keeps nothing.
        made_by: The command, for the record.
        say: Prints progress to standard error.

    Raises:
        ConfigurationError: A tool that the suite names is unknown, or there is nothing to measure.
    """
    calibration = calibration or load_calibration()
    taking_part = _chosen(plan, tools if tools is not None else _catalogue(plan))
    scorer = Scorer(taking_part, _budget(plan), kept)
    examiner = Examiner(taking_part, _budget(plan), calibration, plan.prior, kept) if plan.examiner else None
    best = {spec.question: best_single(calibration, taking_part, spec.question) for spec in plan.protocol}
    protocols: list[ProtocolResult] = []
    tables: dict[str, tuple[Table, list[str]]] = {}
    every: list[Measured] = []
    peer_runs: list[PeerRun] = []
    try:
        for spec in plan.protocol:
            began = time.perf_counter()
            measured = measure(
                spec, plan, data, scorer, calibration, limit=limit, given=given, peers=peers,
                peer_timeout_s=peer_timeout_s, work=work, say=_say if say else _silent,
                examiner=examiner,
            )  # fmt: skip
            result = summarise(measured, plan, best[spec.question].tool, tables)
            tables[spec.name] = (measured.table, measured.pictures)
            protocols.append(result)
            peer_runs += measured.peer_runs
            every.append(measured)
            (_say if say else _silent)(f"{spec.name}: done in {time.perf_counter() - began:.0f} s")
    finally:
        scorer.close()
        if examiner is not None:
            examiner.close()
    return RunResult(
        suite=plan.name, title=plan.title, made_by=made_by, suite_sha256=plan.sha256, seed=plan.seed, limit=limit,
        bootstrap=plan.bootstrap, prior=plan.prior, budget=plan.budget,
        versions={
            "python": platform.python_version(),
            **{name: version_of(name) for name in _PACKAGES},
            **{f"tool {name}": tool.version for name, tool in taking_part.items()},
        },
        weights=dict(sorted({k: v for m in every for k, v in m.weights.items()}.items())),
        calibration=calibration.name, data_sha256=_digest(every), best=best,
        interval=INTERVAL, protocols=tuple(protocols),
        targets=tuple(_judged(target, protocols) for target in plan.target),
        costs=costs_of([cost for m in every for cost in m.costs]), peers=tuple(peer_runs), notes=plan.notes,
        examinations=_examinations(every, protocols, plan, best),
    )  # fmt: skip


def warm(plan: Suite, data: Path, work: Path, names: Sequence[str], kept: Path, *, limit: int | None = None) -> int:
    """Asks the tools `names` about every file of a suite and keeps what they say, so that a later run need not.

    Returns:
        How many calls of tools it took.

    Raises:
        ConfigurationError: A tool is unknown, or there is nothing to measure.
    """
    scorer = Scorer(_chosen(plan.model_copy(update={"tools": tuple(names)}), _catalogue(plan)), _budget(plan), kept)
    try:
        for spec in plan.protocol:
            began, files = time.perf_counter(), 0
            for sample in drawn(spec, data, limit=limit, seed=plan.seed, work=work):
                with suppress(ImageError):  # the run itself counts those that cannot be judged
                    scorer.examine(sample.data)
                files += 1
            _say(f"{spec.name}: {files} files in {time.perf_counter() - began:.0f} s, {scorer.fresh} calls so far")
    finally:
        scorer.close()
    return scorer.fresh


def _budget(plan: Suite) -> Budget:
    return Budget(level=plan.budget, max_tiles=plan.max_tiles)


def _examinations(
    every: Sequence[Measured],
    protocols: Sequence[ProtocolResult],
    plan: Suite,
    best: Mapping[Literal["generated", "edited"], Best],
) -> tuple[Examination, ...]:
    """The agent's own plan against its rivals, for each protocol on which it was run."""
    found = []
    for measured in (m for m in every if m.cases):
        made = examination(
            measured.spec.name, measured.table, measured.pictures, measured.cases,
            best[measured.spec.question].tool, seed=plan.seed, draws=plan.bootstrap,
        )  # fmt: skip
        turned = [
            withheld(result.flips, measured, other.spec.name, other.table, other.pictures, plan.prior)
            for other, result in zip(every, protocols, strict=True)
            if other.spec.against == measured.spec.name and result.flips is not None
        ]
        found.append(made.model_copy(update={"withheld": tuple(turned)}))
    return tuple(found)


def _catalogue(plan: Suite) -> dict[str, Detector]:
    """The detectors that ship; and the vision-language model, where the suite asks for it."""
    if not plan.voice:
        return dict(detectors())
    from evals.voice import Voice

    made = Voice.from_cache(Settings().cache)
    return {**detectors(), made.name: made}


def _chosen(plan: Suite, tools: Mapping[str, Detector]) -> dict[str, Detector]:
    unknown = [name for name in plan.tools if name not in tools]
    if unknown:
        raise ConfigurationError(
            f"The suite {plan.name} names tools that are not there: {', '.join(unknown)}.",
            remedy=f"Known: {', '.join(tools)}.",
        )
    return {name: tool for name, tool in tools.items() if not plan.tools or name in plan.tools}


def best_single(calibration: Calibration, tools: Mapping[str, Detector], question: Question) -> Best:
    """The best single tool by out-of-fold training scores, and why; test and pairs have no say.

    It is the one whose *smaller* AUROC over the kinds of training rows is largest: a tool that is good on one kind for
    the wrong reason must not be taken for good.
    """

    def worst(tool: CalibratedTool) -> float:
        found = [
            float(value)
            for name, value in tool.figures.items()
            if name.endswith("_auroc") and isinstance(value, int | float)
        ]
        return min(found, default=0.0)

    rated = {
        name: worst(tool)
        for name, tool in calibration.tools.items()
        if name in tools and tool.target == question and tool.version == tools[name].version
    }
    if not rated:
        return Best(tool=None, because="no tool that takes part was calibrated for it in its present version")
    best = max(sorted(rated), key=lambda name: rated[name])
    because = (
        f"its AUROC on the harder kind of out-of-fold training rows, {rated[best]:.3f}, is the largest "
        f"({', '.join(f'{name} {value:.3f}' for name, value in sorted(rated.items()))})"
    )
    return Best(tool=best, because=because)


def _judged(spec: TargetSpec, protocols: Sequence[ProtocolResult]) -> Target:
    protocol = next(p for p in protocols if p.name == spec.protocol)
    figure = _figure(spec, protocol)
    rule, bar = spec.rule
    outcome: Literal["reached", "missed", "no figure"] = "no figure"
    certain = False
    if figure.value is not None and figure.low is not None and figure.high is not None:
        value = figure.value
        reached = {
            "at least": value >= bar,
            "at most": value <= bar,
            "above": value > bar,
            "not proven above": figure.low <= bar,
        }[rule]
        outcome = "reached" if reached else "missed"
        certain = not figure.low <= bar <= figure.high
    return Target(
        text=spec.text, protocol=spec.protocol, system=spec.system, measure=spec.measure, bar=bar, rule=rule,
        figure=figure, outcome=outcome, certain=certain,
    )  # fmt: skip


def _figure(spec: TargetSpec, protocol: ProtocolResult) -> Figure:
    """The figure that `TargetSpec.measure` names."""
    nothing = Figure(value=None)
    if spec.measure in ("fpr", "coverage"):
        found = protocol.labels.get("negative")
        if found is None:
            return nothing
        return found.flagged if spec.measure == "fpr" else found.decided
    if spec.measure == "loss":
        return next((loss.difference for loss in protocol.losses if loss.ours == spec.system), nothing)
    system = protocol.system(spec.system)
    if system is None:
        return nothing
    return _excess(system) if spec.measure == "ece_excess" else system.figures.get(spec.measure, nothing)


def _excess(system: System) -> Figure:
    """ECE less what exactly right probabilities would show on average."""
    found, floor = system.figures.get("ece"), system.ece_if_calibrated
    if found is None or floor is None or floor.value is None:
        return Figure(value=None)
    value, low, high = (None if v is None else round(v - floor.value, 6) for v in (found.value, found.low, found.high))
    return Figure(value=value, low=low, high=high, lost=found.lost)


def _digest(every: Sequence[Measured]) -> str:
    lines = sorted({f"{name} {sha}" for m in every for name, sha in m.hashes.items()})
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _silent(text: str) -> None:
    """Says nothing."""


def main(argv: Sequence[str] | None = None) -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--suite", required=True, help="a name in evals/suites/, or a .toml file")
    parser.add_argument("--data", type=Path, required=True, help="folder of the data")
    parser.add_argument("--out", type=Path, help="folder of the results (runs/SUITE unless told)")
    parser.add_argument("--kept", type=Path, default=Path("runs/kept"), help="folder of what tools said before")
    parser.add_argument("--limit", type=int, help="at most so many pictures a protocol")
    parser.add_argument(
        "--protocol", action="append", default=[], help="only this protocol; may be given more than once"
    )
    parser.add_argument("--layout", choices=sorted(layouts.LAYOUTS), help="--data has the layout of this benchmark")
    parser.add_argument("--split", default="test", choices=("train", "test"), help="which part of that benchmark")
    parser.add_argument("--peer", action="append", default=[], help='"NAME=COMMAND"; may be given more than once')
    parser.add_argument("--peer-timeout", type=float, default=600.0, help="seconds a peer may take on one protocol")
    parser.add_argument("--calibration", type=Path, help="instead of the shipped one")
    parser.add_argument(
        "--warm", action="append", default=[], metavar="TOOL", help="only ask this tool, and keep what it says"
    )
    options = parser.parse_args(argv)
    use_cache(Settings().cache)  # tools that read fetched weights find them where the service has them
    try:
        plan = suite.load(options.suite)
        plan = plan.only(options.protocol) if options.protocol else plan
        out = options.out or Path("runs") / plan.name
        if options.warm:
            asked = warm(plan, options.data, out, options.warm, options.kept, limit=options.limit)
            print(f"{asked} calls of {', '.join(options.warm)} kept in {options.kept}")
            return
        given = layouts.read(options.layout, options.data, options.split) if options.layout else ()
        words = [f"--suite {options.suite}", "--data DIR"]
        words += [f"--limit {options.limit}"] if options.limit else []
        words += [f"--protocol {name}" for name in options.protocol]
        words += [f"--layout {options.layout} --split {options.split}"] if options.layout else []
        result = run(
            plan, options.data, out, calibration=load_calibration(options.calibration), limit=options.limit,
            given=given, peers=[Peer.parse(text) for text in options.peer], peer_timeout_s=options.peer_timeout,
            kept=options.kept, made_by=f"python -m evals.run {' '.join(words)}",
        )  # fmt: skip
        out.mkdir(parents=True, exist_ok=True)
        (out / "result.json").write_text(result.model_dump_json(indent=1) + "\n", encoding="utf-8")
        (out / "page.html").write_text(page.html([result]), encoding="utf-8")
        (out / "card.md").write_text(report.card([result]), encoding="utf-8")
    except ExpositError as error:
        raise SystemExit(str(error)) from error
    print(report.summary(result))
    print(f"Written: {out / 'result.json'}, {out / 'page.html'}, {out / 'card.md'}")


if __name__ == "__main__":
    main()
