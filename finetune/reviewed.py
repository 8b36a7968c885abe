"""Reviewed cases as a labelled set: score files in the form of finetune/oof, for `finetune.calibrate --reviewed`.

    python -m finetune.reviewed --out DIR     reads the log that EXPOSIT_HOME or EXPOSIT_DATABASE_URL names

A row is a picture whose newest review says what it is (`generated` or `photograph`, given by an override or confirmed),
with the raw score that a tool gave it in the report the reviewer read. They are rows of the kind `matched`: generated
pictures against photographs of other things. Left out are cases left open, labels that only say that nothing was found,
second looks, pictures whose JPEG quality or size was not measured, scores of other versions, and tools that speak to
`edited`: an edit has to stand beside its own untouched photograph.

Reviewed pictures are chosen by people, and the machine's verdict may have swayed them: look before leaning on them.
"""

from __future__ import annotations

import argparse
import asyncio
import csv
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final

from agent.afterwards import Review
from agent.calibration import conditions
from agent.service import Explainer
from agent.settings import Settings
from agent.verdict import Report
from evals.reviewers import reviewed
from finetune.scores import COLUMNS
from tools.catalogue import detectors
from tools.errors import ExpositError

LABELS: Final = {"generated": "generated", "photograph": "real", "authentic": "real"}
"""What a person says, and the label of a row; everything else labels nothing."""
SOURCE: Final = "reviewed"
Row = tuple[str | int | float, ...]


def rows(reviews: Iterable[tuple[Review, Report]], installed: Mapping[str, str]) -> dict[str, list[Row]]:
    """Rows of score files by tool, in order of picture; a picture reviewed again has its newest label.

    Args:
        reviews: Each review with its report, oldest first.
        installed: Version of each tool; scores of another version are left out.
    """
    newest: dict[str, tuple[str, Report]] = {}
    for review, report in reviews:
        label = LABELS.get(review.label or "")
        newest.pop(report.image.sha256, None)
        if label is not None:
            newest[report.image.sha256] = (label, report)
    found: dict[str, list[Row]] = {}
    for sha256 in sorted(newest):
        label, report = newest[sha256]
        known = next((each for item in report.evidence if (each := conditions(item.measurements)) is not None), None)
        if known is None:
            continue
        quality, side = known
        # nobody knows what made it: each stands for a generator of its own, so that the bootstrap draws it alone
        generator = f"unknown {sha256}" if label == "generated" else ""
        for item in report.evidence:
            if item.target != "generated" or item.claims or item.score is None or item.id != item.detector:
                continue
            if installed.get(item.detector) != item.version:
                continue
            about = (f"{SOURCE}/{sha256}", label, generator, "", SOURCE, "none", "matched", 0)
            found.setdefault(item.detector, []).append((*about, round(quality), round(side), f"{item.score:.5f}"))
    return found


def write(found: dict[str, list[Row]], out: Path) -> list[str]:
    """Writes a score file a tool, and says what was written."""
    out.mkdir(parents=True, exist_ok=True)
    told = []
    for name in sorted(found):
        with (out / f"{name}.csv").open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(COLUMNS)
            writer.writerows(found[name])
        kinds = [row[1] for row in found[name]]
        told.append(f"{name}: {kinds.count('generated')} generated, {kinds.count('real')} photographs.")
    return told


async def _read(settings: Settings) -> list[tuple[Review, Report]]:
    async with Explainer(settings, warm=False, eager=False) as explainer:
        return await reviewed(explainer)


def main(arguments: Sequence[str] | None = None) -> int:
    """Writes the score files of the reviewed cases."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder of <tool>.csv")
    options = parser.parse_args(arguments)
    try:
        versions = {name: tool.version for name, tool in detectors().items()}
        found = rows(asyncio.run(_read(Settings(vlm="template", log_level="warning"))), versions)
    except ExpositError as error:
        print(error, file=sys.stderr)
        return 3
    for line in write(found, options.out) or ["No reviewed case labels a picture yet."]:
        print(line)
    return 0


if __name__ == "__main__":
    sys.exit(main())
