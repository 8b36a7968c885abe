"""One protocol from end to end: files are drawn, scored, audited and summed up."""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from agent.calibration import Calibration
from agent.verdict import Verdict
from evals import breakdown, figures, leaks, metrics, scoring
from evals.costs import Call
from evals.datasets import Item
from evals.examiner import Case, Examiner
from evals.figures import Array, Table
from evals.peers import Handout, Peer, ask
from evals.protocols import Drawn, Sample, drawn
from evals.results import Difference, Flips, Kind, Leak, PeerRun, ProtocolResult
from evals.scoring import Scorer, Spoken
from evals.suite import ProtocolSpec, Suite
from tools.contract import Target
from tools.errors import ImageError

FEWEST_GENERATORS = 5
"""With fewer generators than this, drawing whole generators would tell nothing; pictures are drawn instead."""
EVERY_S = 10.0
"""Seconds between two lines of progress."""


@dataclass(slots=True)
class Measured:
    """What was found on the files of one protocol, before it is summed up.

    Attributes:
        pictures: Names, in the order of the table's rows.
        hashes: SHA-256 of each picture's first file as it was scored, by name and protocol.
        cases: What the agent's own plan made of undisturbed files, by picture and draw; empty where it was not run.
    """

    spec: ProtocolSpec
    source: Drawn
    table: Table
    pictures: list[str]
    leaks: tuple[Leak, ...]
    peer_runs: list[PeerRun]
    costs: list[Call]
    weights: dict[str, str]
    hashes: dict[str, str]
    files: int
    cases: dict[tuple[str, int], Case] = field(default_factory=dict)


@dataclass(slots=True)
class _Pile:
    """Scores as they come, by system, picture and draw."""

    scores: dict[str, dict[tuple[str, int], float]] = field(default_factory=dict)
    probabilities: dict[str, dict[tuple[str, int], float]] = field(default_factory=dict)
    kinds: dict[str, Kind] = field(default_factory=dict)

    def add(self, system: str, kind: Kind, key: tuple[str, int], score: float | None, p: float | None) -> None:
        self.kinds.setdefault(system, kind)
        self.scores.setdefault(system, {})[key] = math.nan if score is None else score
        if p is not None:
            self.probabilities.setdefault(system, {})[key] = p


def measure(
    spec: ProtocolSpec,
    plan: Suite,
    data: Path,
    scorer: Scorer,
    calibration: Calibration,
    *,
    limit: int | None,
    given: Sequence[Item],
    peers: Sequence[Peer],
    peer_timeout_s: float,
    work: Path,
    say: Callable[[str], None],
    examiner: Examiner | None = None,
) -> Measured:
    """Scores every file of a protocol with every system; see `evals.run.run` for the arguments."""
    source = drawn(spec, data, limit=limit, seed=plan.seed, given=given, work=work)
    pile, samples = _Pile(), list[Sample]()
    calls: dict[tuple[str, int], str] = {}
    lengths: dict[tuple[str, int], float] = {}
    rows: list[tuple[float, ...]] = []
    costs: list[Call] = []
    weights: dict[str, str] = {}
    hashes: dict[str, str] = {}
    maps: dict[str, dict[str, tuple[float, float]]] = {}
    cases: dict[tuple[str, int], Case] = {}
    handout = Handout(plan.seed) if peers else None
    handed: dict[str, tuple[str, int]] = {}
    last = time.perf_counter()
    for sample in source:
        try:
            said = scorer.examine(sample.data)
        except ImageError as error:
            source.broken[sample.picture] = str(error)
            continue
        key = (sample.picture, sample.draw)
        try:
            rows.append(leaks.features(sample.data))
        except OSError:  # Pillow alone cannot open it (HEIC); the tools could
            rows.append((-1.0,) * len(leaks.FEATURES))
        judged = scoring.verdict(said.values(), plan.prior, calibration)
        if examiner is not None and spec.against is None:
            cases[key] = examiner.examine(sample.data, said)
        calls[key] = cases[key].verdict.label if key in cases else judged.label
        lengths[key] = float(len(sample.data))
        pile.add("agent", "agent", key, _asked(judged, spec.question), _asked(judged, spec.question))
        _tools(pile, key, said, spec, plan, calibration)
        for name, spoken in said.items():
            costs.append(Call(name, math.sqrt(rows[-1][0] * rows[-1][1]), spoken.ms, spoken.mb, bool(spoken.failed)))
            weights |= spoken.evidence.weights
            if sample.mask is not None and spoken.heat is not None:
                maps.setdefault(name, {})[sample.picture] = placed(spoken.heat, sample.mask)
        if sample.draw == 0:
            hashes[f"{spec.name} {sample.picture}"] = hashlib.sha256(sample.data).hexdigest()
        if handout is not None:
            handed[handout.add(sample.data)] = key
        samples.append(_light(sample))
        if time.perf_counter() - last > EVERY_S:
            last = time.perf_counter()
            say(f"{spec.name}: {len(samples)} files, {scorer.fresh} calls of tools so far in this run")
    peer_runs = []
    if handout is not None:
        for peer in peers:
            say(f"{spec.name}: asking {peer.name}")
            found, told = ask(peer, spec.name, handout.folder, peer_timeout_s)
            peer_runs.append(told)
            unit = all(0 <= score <= 1 for score in found.values())
            for name, key in handed.items():
                value = found.get(name)
                pile.add(peer.name, "peer", key, value, value if unit else None)
        handout.close()
    table, pictures = _table(samples, pile, calls, plan.prior, maps, lengths)
    table.versions = {name: tool.version for name, tool in scorer.tools.items()}
    labels = [int(sample.positive) for sample in samples]
    audited = leaks.audit(
        np.array(rows).reshape(-1, len(leaks.FEATURES)), labels, [s.pair or s.picture for s in samples],
        seed=plan.seed, draws=plan.bootstrap,
    )  # fmt: skip
    return Measured(spec, source, table, pictures, audited, peer_runs, costs, weights, hashes, len(samples), cases)


def _asked(verdict: Verdict, question: Target) -> float | None:
    return verdict.p_edited if question == "edited" else verdict.p_generated


def _tools(
    pile: _Pile, key: tuple[str, int], said: Mapping[str, Spoken], spec: ProtocolSpec, plan: Suite,
    calibration: Calibration,
) -> None:  # fmt: skip
    """Each tool of the question alone, and the agent without it."""
    for name, spoken in said.items():
        evidence = spoken.evidence
        if evidence.target != spec.question:
            continue
        by_itself = scoring.verdict(scoring.alone(said, name), plan.prior, calibration)
        pile.add(name, "tool", key, evidence.score, _asked(by_itself, spec.question))
        rest = _asked(scoring.verdict(scoring.without(said, name), plan.prior, calibration), spec.question)
        pile.add(f"without {name}", "without", key, rest, rest)


def placed(heat: Array, mask: npt.NDArray[np.bool_]) -> tuple[float, float]:
    """Pointing and overlap of a map with the edit, at the size of the mask."""
    whole = Image.fromarray((heat * 255).astype(np.uint8)).resize(mask.shape[::-1], Image.Resampling.BILINEAR)
    drawn_map = np.asarray(whole, dtype=np.float64) / 255
    return metrics.pointing_accuracy([drawn_map], [mask]), metrics.mask_iou(drawn_map > 0.5, mask)


def _light(sample: Sample) -> Sample:
    return Sample(sample.picture, sample.draw, b"", sample.positive, sample.generator, sample.source, sample.pair)


def _table(
    samples: Sequence[Sample], pile: _Pile, calls: Mapping[tuple[str, int], str], prior: float,
    maps: Mapping[str, Mapping[str, tuple[float, float]]], lengths: Mapping[tuple[str, int], float],
) -> tuple[Table, list[str]]:  # fmt: skip
    first = {sample.picture: sample for sample in reversed(samples)}
    pictures = list(dict.fromkeys(sample.picture for sample in samples))
    draws = max((sample.draw for sample in samples), default=0) + 1

    def grid(values: Mapping[tuple[str, int], float]) -> Array:
        return np.array(
            [[values.get((picture, draw), math.nan) for draw in range(draws)] for picture in pictures]
        ).reshape(len(pictures), draws)

    table = Table(
        labels=np.array([int(first[picture].positive) for picture in pictures], dtype=np.int64),
        groups=_groups([first[picture] for picture in pictures]),
        generators=[first[picture].generator for picture in pictures],
        sources=[first[picture].source for picture in pictures],
        prior=prior,
        lengths=grid(lengths),
        scores={name: grid(values) for name, values in pile.scores.items()},
        probabilities={name: grid(values) for name, values in pile.probabilities.items()},
        kinds=pile.kinds,
        calls=np.array([[calls.get((picture, draw), "inconclusive") for draw in range(draws)] for picture in pictures]),
    )
    for name, found in maps.items():
        both = np.array([found.get(picture, (math.nan, math.nan)) for picture in pictures])
        table.pointing[name], table.iou[name] = both[:, 0], both[:, 1]
    return table, pictures


def _groups(samples: Sequence[Sample]) -> list[str]:
    """What the bootstrap draws as one: a pair, a generator where there are enough of them, else the picture."""
    generators = {sample.generator for sample in samples if sample.generator and not sample.pair}
    by_generator = len(generators) >= FEWEST_GENERATORS
    return [
        sample.pair or (sample.generator if by_generator and sample.generator else sample.picture) for sample in samples
    ]


def summarise(
    measured: Measured, plan: Suite, best: str | None, before: Mapping[str, tuple[Table, list[str]]]
) -> ProtocolResult:
    """The figures of one protocol.

    Args:
        measured: What was found.
        plan: The suite.
        best: The best single tool, fixed on training scores.
        before: The tables of earlier protocols, by name.
    """
    table, spec = measured.table, measured.spec
    at = {"seed": plan.seed, "draws": plan.bootstrap}
    needless = _needless(table)
    losses: tuple[Difference, ...] = ()
    flips: Flips | None = None
    if spec.against is not None:
        other, names = before[spec.against]
        where = {name: place for place, name in enumerate(names)}
        kept = [row for row, name in enumerate(measured.pictures) if name in where]
        places = np.array([where[measured.pictures[row]] for row in kept], dtype=np.int64)
        both = _rows(table, np.array(kept, dtype=np.int64))
        losses = figures.losses(both, other, places, names=(spec.name, spec.against), **at)
        flips = breakdown.flips(both, other, places)
    ranked = ["agent", *([best] if best in table.scores and best is not None else [])]
    return ProtocolResult(
        name=spec.name, title=spec.title, question=spec.question, about=about(spec),
        matched=spec.chain is not None, against=spec.against,
        pictures={"positive": int(table.labels.sum()), "negative": int((1 - table.labels).sum())},
        files=measured.files, draws=spec.draws, left_out=dict(sorted(measured.source.left_out.items())),
        broken=measured.source.broken, leaks=measured.leaks, systems=figures.systems(table, **at),
        groups=breakdown.groups(table, ranked, **at), labels=breakdown.labels(table, **at),
        sources=breakdown.sources(table), differences=figures.differences(table, best, **at), losses=losses,
        flips=flips, without_effect=needless,
    )  # fmt: skip


def _needless(table: Table) -> tuple[str, ...]:
    """Takes out the agent without a tool that changed nothing, and names those tools."""
    same = [
        name
        for name, kind in table.kinds.items()
        if kind == "without" and np.array_equal(table.scores[name], table.scores["agent"], equal_nan=True)
    ]
    for name in same:
        del table.kinds[name], table.scores[name]
        table.probabilities.pop(name, None)
    return tuple(name.removeprefix("without ") for name in same)


def _rows(table: Table, rows: npt.NDArray[np.int64]) -> Table:
    return Table(
        labels=table.labels[rows], groups=[table.groups[i] for i in rows], generators=[], sources=[],
        prior=table.prior, lengths=table.lengths[rows],
        scores={name: values[rows] for name, values in table.scores.items()}, kinds=table.kinds,
        probabilities={name: values[rows] for name, values in table.probabilities.items()},
    )  # fmt: skip


def about(spec: ProtocolSpec) -> str:
    """What is done to the files, in a sentence."""
    chain = spec.chain
    if chain is None:
        words = "Files as they lie"
    else:
        scaled = f", {chain.rescaled:.0%} of them rescaled by {chain.scales[0]:g} to {chain.scales[1]:g}"
        words = (
            f"Native crops{scaled if chain.rescaled else ''}, all {chain.side}x{chain.side} px, JPEG "
            f"{chain.qualities[0]} to {chain.qualities[1]} (4:2:0), "
            f"{spec.draws} {'draw' if spec.draws == 1 else 'draws'} a picture"
        )
        words += "; smaller pictures are " + ("left out" if chain.small == "leave_out" else "enlarged")
    if spec.perturb:
        words += f"; then {', then '.join(spec.perturb)}"
    return words + "."
