"""What a run of a suite found, as the JSON that `evals.report` and `evals.page` are made from.

A figure that the data cannot give is null, never a number that looks like one.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal, Self

from evals.metrics import Estimate
from tools.contract import Frozen

Kind = Literal["agent", "tool", "without", "peer"]
LEAK_BAR = 0.55
"""A protocol leaks where format alone ranks the classes better than this."""


class Figure(Frozen):
    """A measure and its bootstrap interval.

    Attributes:
        value, low, high: null where the data cannot give them.
        lost: Bootstrap replicates that had no value.
    """

    value: float | None
    low: float | None = None
    high: float | None = None
    lost: int = 0

    @classmethod
    def of(cls, found: Estimate) -> Self:
        """A figure from an estimate, rounded to six digits."""
        return cls(value=number(found.value), low=number(found.low), high=number(found.high), lost=found.lost)


def number(value: float) -> float | None:
    """The number, rounded to six digits; None where it is not finite."""
    return round(float(value), 6) if math.isfinite(value) else None


class Curve(Frozen):
    """Points of a line, in order."""

    x: tuple[float, ...]
    y: tuple[float, ...]


class Leak(Frozen):
    """How well a classifier tells the classes apart without looking at a pixel.

    Attributes:
        features: `format` is width, height, mode, container and JPEG tables; `bytes` the length of the file alone;
            `all` both together.
        learner: Which of the two classifiers did better; its figure is told.
        verdict: `clean` at or below `LEAK_BAR`; `leaks` above it with the whole interval above one half; else `unsure`.
    """

    features: Literal["format", "bytes", "all"]
    learner: str
    auroc: Figure
    verdict: Literal["clean", "leaks", "unsure"]


class System(Frozen):
    """Anything that gives pictures a score: the agent, one tool, the agent without one tool, a peer.

    Attributes:
        answered: Files it gave a score, of `files`. Ranking measures are over these.
        figures: Measures by name; the names are explained in `evals.figures.MEASURES`.
        ece_if_calibrated: What ECE exactly right probabilities would show at this number of pictures.
    """

    name: str
    kind: Kind
    version: str = ""
    answered: int
    files: int
    figures: dict[str, Figure]
    ece_if_calibrated: Figure | None = None
    roc: Curve | None = None
    risk: Curve | None = None
    reliability: Curve | None = None


class Group(Frozen):
    """The pictures of one generator against all photographs of the protocol, by system."""

    name: str
    pictures: int
    auroc: dict[str, Figure]


class Labels(Frozen):
    """What the agent called the files of one class.

    Attributes:
        flagged: Share called generated, edited or laundered, over all files; an abstention is not flagged.
        decided: Share that was not inconclusive (the coverage).
        both: with 90 % intervals over pictures.
    """

    pictures: int
    files: int
    counts: dict[str, int]
    flagged: Figure
    decided: Figure


class Source(Frozen):
    """What share of one collection's photographs the agent flagged."""

    name: str
    pictures: int
    files: int
    flagged: int


class Difference(Frozen):
    """Paired difference of one measure on the same pictures, `ours` minus `theirs`."""

    ours: str
    theirs: str
    measure: str
    pictures: int
    difference: Figure


class Flips(Frozen):
    """Files on which a disturbance moved the agent's probability to the other side of the prior.

    Attributes:
        files: Files that were compared.
        flipped: Of these, on how many it crossed.
        withheld: Of the flipped, on how many the undisturbed verdict had been inconclusive.
    """

    files: int
    flipped: int
    withheld: int


class Rival(Frozen):
    """One of the three that are compared, on the same files.

    Attributes:
        units: Mean cost units a file.
        risk: Error rate on the surest `evals.figures.COVERAGE` of files; the agent is as sure as its most cautious
            look.
    """

    name: str
    auroc: Figure
    risk: Figure
    units: float


class Compared(Difference):
    """The agent against a rival, with what follows for the bar that was set before."""

    bar: float
    outcome: Literal["not inferior", "inferior", "open"]


class Withheld(Frozen):
    """Files whose verdict a disturbance that is not probed turned round, and whether the agent had left them open.

    Attributes:
        at_coverage: Share of the flipped that are not among the surest `evals.figures.COVERAGE` of files.
    """

    protocol: str
    flips: Flips
    share: float | None
    at_coverage: float | None


class Examination(Frozen):
    """The agent's row in the model card.

    Attributes:
        coverage: Share of files with a label.
        open_for: Why the others were left open, by number of files.
        steps: How often each step was taken, by name; of `files`.
    """

    protocol: str
    pictures: int
    files: int
    coverage: float
    open_for: dict[str, int]
    steps: dict[str, int]
    rivals: tuple[Rival, ...]
    compared: tuple[Compared, ...]
    withheld: tuple[Withheld, ...] = ()


class ProtocolResult(Frozen):
    """One protocol.

    Attributes:
        matched: Whether all files left one chain at one size.
        left_out: Pictures that were too small for the chain, by class.
        broken: Pictures that could not be judged, and why.
        losses: Paired difference to the protocol that this one is a disturbance of.
        flips: The same comparison of the agent's verdicts.
        without_effect: Tools without which the agent said exactly the same.
    """

    name: str
    title: str
    question: Literal["generated", "edited"]
    about: str
    matched: bool
    against: str | None
    pictures: dict[str, int]
    files: int
    draws: int
    left_out: dict[str, int]
    broken: dict[str, str]
    leaks: tuple[Leak, ...]
    systems: tuple[System, ...]
    groups: tuple[Group, ...]
    labels: dict[str, Labels]
    sources: tuple[Source, ...]
    differences: tuple[Difference, ...]
    losses: tuple[Difference, ...] = ()
    flips: Flips | None = None
    without_effect: tuple[str, ...] = ()

    def system(self, name: str) -> System | None:
        """The system of that name."""
        return next((system for system in self.systems if system.name == name), None)


class Target(Frozen):
    """A bar that was set before, and whether it was reached.

    Attributes:
        outcome: `reached` and `missed` are about the value; `no figure` where there is none.
        certain: Whether the whole interval lies on that side of the bar.
    """

    text: str
    protocol: str
    system: str
    measure: str
    bar: float
    rule: Literal["at least", "at most", "above"]
    figure: Figure
    outcome: Literal["reached", "missed", "no figure"]
    certain: bool


class Cost(Frozen):
    """What one file cost a tool, over the files of this run (kept measurements included).

    Attributes:
        ms_median, ms_p90: Wall-clock milliseconds, on the machine of the run and under its load.
        mb_p90, mb_max: Memory that the call took beyond what the process held, in MiB; null where not known.
    """

    files: int
    side: int
    ms_median: float
    ms_p90: float
    mb_p90: float | None
    mb_max: float | None
    failures: int


class PeerRun(Frozen):
    """How a peer's run on one protocol went."""

    name: str
    protocol: str
    outcome: Literal["ok", "timeout", "failed"]
    seconds: float
    scored: int
    missing: int
    junk: int
    message: str = ""


class Best(Frozen):
    """The best single tool for a question, and why it is taken for that; None where there is none."""

    tool: str | None
    because: str


class RunResult(Frozen):
    """A whole run.

    Attributes:
        versions: Of everything that spoke: tools, packages, Python.
        data_sha256: Over the ids and contents of all pictures that took part.
        best: By question, the best single tool, fixed on training scores.
        interval: What the intervals mean.
    """

    format: Literal[1] = 1
    suite: str
    title: str
    made_by: str
    suite_sha256: str
    seed: int
    limit: int | None
    bootstrap: int
    prior: float
    budget: str
    versions: dict[str, str]
    weights: dict[str, str]
    calibration: str
    data_sha256: str
    best: dict[str, Best]
    interval: str
    protocols: tuple[ProtocolResult, ...]
    targets: tuple[Target, ...]
    costs: dict[str, Cost]
    peers: tuple[PeerRun, ...]
    notes: tuple[str, ...]
    examinations: tuple[Examination, ...] = ()


def curve(x: Sequence[float], y: Sequence[float], most: int = 80) -> Curve:
    """A curve thinned to at most `most` points, its ends kept, rounded to four digits."""
    step = max(1, math.ceil(len(x) / most))
    kept = sorted({*range(0, len(x), step), len(x) - 1}) if len(x) else []
    return Curve(x=tuple(round(float(x[i]), 4) for i in kept), y=tuple(round(float(y[i]), 4) for i in kept))
