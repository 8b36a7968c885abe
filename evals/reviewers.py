"""The machine against the people who reviewed it: what was confirmed and what was overridden, and how far both agree.

A review is compared with the label of the report that the reviewer read; of several reviews of one picture the newest
counts. Agreement and Cohen's kappa are over the pictures to which the machine gave an answer and the person a finding:
`inconclusive` on either side is counted apart. Here `no_evidence` and `authentic` stand beside a person's `photograph`,
and `laundered` beside `generated`: for agreement only, since no_evidence claims less. Reviewed pictures are those that
somebody cared to review, often the doubtful ones: these figures are not those of all pictures.

    python -m evals.reviewers [--out FILE.json]      reads the log that EXPOSIT_HOME or EXPOSIT_DATABASE_URL names

Kappa: Cohen, "A coefficient of agreement for nominal scales" (1960); interval: percentile bootstrap over pictures.
"""

from __future__ import annotations

import argparse
import asyncio
import math
import sys
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from agent.afterwards import Review
from agent.service import Explainer
from agent.settings import Settings
from agent.verdict import Report
from evals import metrics
from tools.contract import Frozen
from tools.errors import ExpositError

CLASSES: Final = ("generated", "edited", "photograph")
_AS: Final[Mapping[str, str]] = {
    "generated": "generated", "laundered": "generated", "edited": "edited", "photograph": "photograph",
    "no_evidence": "photograph", "authentic": "photograph",
}  # fmt: skip
DRAWS: Final = 2000


class Judged(Frozen):
    """One picture with what the machine and the newest reviewer say of it."""

    sha256: str
    case_id: str
    machine: str
    person: str
    reviewer: str
    kind: str


class Agreement(Frozen):
    """How far machine and reviewers agree.

    Attributes:
        pictures: That were reviewed with a label; `annotated` only got a note.
        confusion: Machine label, then person's label, then how many.
        decided: Pictures to which both gave an answer.
        agree: Share of those on which both say the same, with its 90 % Wilson interval; None where there are none.
        kappa: Cohen's, with its 90 % bootstrap interval; None where it is not defined.
    """

    pictures: int
    annotated: int
    confusion: dict[str, dict[str, int]]
    machine_open: int
    person_open: int
    decided: int
    agree: float | None
    agree_interval: tuple[float, float] | None
    kappa: float | None
    kappa_interval: tuple[float, float] | None


async def reviewed(explainer: Explainer) -> list[tuple[Review, Report]]:
    """Every review of the log that gives a label, with the report that it is about, oldest first."""
    return [
        (review, await explainer.report(review.case_id, review.revision))
        for review in await explainer.reviews()
        if review.label is not None
    ]


def judged(reviews: Iterable[tuple[Review, Report]]) -> list[Judged]:
    """One row a picture: its newest review."""
    newest: dict[str, Judged] = {}
    for review, report in reviews:
        if review.label is not None:
            newest[report.image.sha256] = Judged(
                sha256=report.image.sha256, case_id=review.case_id, machine=review.machine, person=review.label,
                reviewer=review.reviewer, kind=review.kind,
            )  # fmt: skip
    return [newest[name] for name in sorted(newest)]


def agreement(rows: Sequence[Judged], *, annotated: int = 0, seed: int = 0) -> Agreement:
    """The figures over `rows`; the same rows and seed give the same figures."""
    confusion: dict[str, dict[str, int]] = {}
    for (machine, person), count in sorted(Counter((row.machine, row.person) for row in rows).items()):
        confusion.setdefault(machine, {})[person] = count
    both = [(_AS[row.machine], _AS[row.person]) for row in rows if row.machine in _AS and row.person in _AS]
    table = np.array([(CLASSES.index(m), CLASSES.index(p)) for m, p in both], dtype=np.int64).reshape(-1, 2)
    n = len(table)
    same = int(np.sum(table[:, 0] == table[:, 1]))
    point = kappa(table)
    rng = np.random.default_rng(seed)
    drawn = [kappa(table[rng.integers(0, n, n)]) for _ in range(DRAWS)] if point is not None else []
    known = [value for value in drawn if value is not None]
    low, high = metrics.wilson(same, n) if n else (math.nan, math.nan)
    return Agreement(
        pictures=len(rows),
        annotated=annotated,
        confusion=confusion,
        machine_open=sum(row.machine not in _AS for row in rows),
        person_open=sum(row.person not in _AS for row in rows),
        decided=n,
        agree=same / n if n else None,
        agree_interval=(low, high) if n else None,
        kappa=point,
        kappa_interval=(float(np.percentile(known, 5)), float(np.percentile(known, 95))) if known else None,
    )


def kappa(table: NDArray[np.int64]) -> float | None:
    """Cohen's kappa of pairs of classes, (n, 2); None where chance alone would agree always, or there are no pairs."""
    if not len(table):
        return None
    shares = [np.bincount(table[:, side], minlength=len(CLASSES)) / len(table) for side in (0, 1)]
    chance = float(shares[0] @ shares[1])
    if chance >= 1:
        return None
    return float((np.mean(table[:, 0] == table[:, 1]) - chance) / (1 - chance))


def told(found: Agreement) -> str:
    """The figures as Markdown."""
    people = sorted({person for row in found.confusion.values() for person in row})
    lines = [f"{found.pictures} reviewed pictures, {found.annotated} more with a note only.", ""]
    if found.confusion:
        lines += [f"| machine \\ person | {' | '.join(people)} |", "|---" * (len(people) + 1) + "|"]
        lines += [
            f"| {machine} | {' | '.join(str(row.get(person, 0)) for person in people)} |"
            for machine, row in found.confusion.items()
        ]
        lines.append("")
    lines.append(
        f"The machine left {found.machine_open} open and the reviewers {found.person_open}; both answered on "
        f"{found.decided}."
    )
    if found.agree is not None and found.agree_interval is not None:
        low, high = found.agree_interval
        lines.append(f"Agreement {found.agree:.2f} [{low:.2f}, {high:.2f}].")
    if found.kappa is not None and found.kappa_interval is not None:
        low, high = found.kappa_interval
        lines.append(f"Cohen's kappa {found.kappa:.2f} [{low:.2f}, {high:.2f}].")
    else:
        lines.append("Cohen's kappa is not defined: too little was reviewed, or all of one kind.")
    return "\n".join(lines)


async def measure(settings: Settings) -> Agreement:
    """The figures of the log that `settings` name."""
    async with Explainer(settings, warm=False, eager=False) as explainer:
        everything = await explainer.reviews()
        rows = judged(await reviewed(explainer))
    noted = {review.case_id for review in everything} - {
        review.case_id for review in everything if review.label is not None
    }
    return agreement(rows, annotated=len(noted))


def main(arguments: Sequence[str] | None = None) -> int:
    """Prints the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, help="write them as JSON too")
    options = parser.parse_args(arguments)
    try:
        found = asyncio.run(measure(Settings(vlm="template", log_level="warning")))
    except ExpositError as error:
        print(error, file=sys.stderr)
        return 3
    print(told(found))
    if options.out is not None:
        options.out.write_text(found.model_dump_json(indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
