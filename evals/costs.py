"""What the tools cost a file, in milliseconds and MiB."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from evals.results import Cost


@dataclass(frozen=True, slots=True)
class Call:
    """One call of one tool; `side` is the square root of the pixels it saw."""

    tool: str
    side: float
    ms: float
    mb: float | None
    failed: bool


def costs_of(calls: Sequence[Call]) -> dict[str, Cost]:
    """Cost by tool."""
    by_tool: dict[str, list[Call]] = defaultdict(list)
    for call in calls:
        by_tool[call.tool].append(call)
    found = {}
    for name, own in sorted(by_tool.items()):
        ms = np.array([call.ms for call in own])
        mb = np.array([call.mb for call in own if call.mb is not None])
        found[name] = Cost(
            files=len(own), side=round(float(np.median([call.side for call in own]))),
            ms_median=round(float(np.median(ms)), 1), ms_p90=round(float(np.percentile(ms, 90)), 1),
            mb_p90=round(float(np.percentile(mb, 90)), 1) if len(mb) else None,
            mb_max=round(float(mb.max()), 1) if len(mb) else None, failures=sum(call.failed for call in own),
        )  # fmt: skip
    return found
