"""Examining a stored original again: whether the same versions say the same, and what today's versions say."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence

from agent import telemetry
from agent.examining import Running, original_of, walk
from agent.parts import Parts
from agent.retention import not_purged
from agent.verdict import Contribution, Report, Similar, Verdict
from agent.versions import differences
from tools.contract import Evidence, Frozen
from tools.errors import OperatorError

_SAME = 1e-9


class Replay(Frozen):
    """What came of it.

    Attributes:
        versions: Versions that are not those of the report, one sentence each.
        differs: What the new examination says otherwise, one sentence each; empty where nothing.
        before: The verdict of the first report.
        now: The verdict of the new examination; None where nothing was run.
    """

    case_id: str
    current: bool
    dry: bool
    versions: tuple[str, ...]
    differs: tuple[str, ...]
    before: Verdict
    now: Verdict | None

    @property
    def sentence(self) -> str:
        """What came of it in one sentence."""
        if self.dry:
            if self.versions:
                return f"Case {self.case_id} cannot be replayed as it was: {' '.join(self.versions)}"
            return f"Case {self.case_id} can be replayed: the versions are those that made its report."
        if not self.differs:
            return f"Case {self.case_id} was examined again: evidence and verdict are the same."
        if self.now is not None and self.now.label != self.before.label:
            return (
                f"Case {self.case_id} was examined again: the verdict was “{self.before.label}” and would now be "
                f"“{self.now.label}”."
            )
        return (
            f"Case {self.case_id} was examined again: the label is the same, “{self.before.label}”, and this differs."
        )


class _Unkept:
    """Takes the place of the log: a replay is no case."""

    async def finish_case(self, report: Report) -> None:
        """Keeps nothing."""

    async def earlier(self, case_id: str, sha256: str, pdq: str) -> tuple[Similar, ...]:
        """Looks nothing up: earlier cases are a note, and no part of what is compared."""
        return ()


async def replay(parts: Parts, case_id: str, *, current: bool, dry: bool) -> Replay:
    """Examines the stored original of a case again, with the budget and the prior of its first report.

    Args:
        parts: What is open.
        case_id: The case.
        current: Whether other versions than those of the report may speak.
        dry: Whether only the versions are compared.

    Raises:
        NotFoundError: if there is no such case, it has no report, or its original is gone.
        IntegrityError: if the original was altered.
        OperatorError: where the versions differ, and neither `current` nor `dry` is set.
    """
    first = await parts.store.report(case_id, 1)
    other = differences(first.versions, parts.versions)
    if dry:
        return Replay(
            case_id=case_id, current=current, dry=True, versions=other, differs=(), before=first.verdict, now=None
        )
    if other and not current:
        raise OperatorError(
            f"Case {case_id} was examined by other versions. {' '.join(other)}",
            remedy="Install those, or ask what today's versions say: `exposit replay CASE --current`.",
            code="versions_differ",
        )
    await not_purged(parts.store.database, case_id)
    await asyncio.to_thread(parts.originals.get, first.image.sha256)  # there, and unaltered
    with telemetry.case_context(case_id, first.image.sha256):
        parts.start()
        original = original_of(parts, first.image.sha256, first.image.path)
        running = Running(
            case_id=case_id, created_at=first.created_at, level=first.budget, stakes="ordinary", name=first.image.path
        )
        async with parts.turn:
            began = time.perf_counter()
            facts = await parts.workers.inspect(original)
            inspect_ms = round((time.perf_counter() - began) * 1000, 1)
            again = await walk(
                parts, running, original, facts, inspect_ms=inspect_ms, store=_Unkept(), prior=first.verdict.prior
            )
    found = compared(first, again)
    await parts.store.note_replay(
        case_id, {"current": current, "differences": len(found), "label": again.verdict.label, "versions": len(other)}
    )
    return Replay(
        case_id=case_id,
        current=current,
        dry=False,
        versions=other,
        differs=found,
        before=first.verdict,
        now=again.verdict,
    )


def compared(first: Report, again: Report) -> tuple[str, ...]:
    """What a second report of one file says otherwise than the first, one sentence each. Times are not compared."""
    found = []
    if first.image != again.image:
        found.append("Decoding finds another picture in the file than it did.")
    before, now = ({item.id: item for item in report.evidence} for report in (first, again))
    for name in sorted(before.keys() | now.keys()):
        found += _evidence(name, before.get(name), now.get(name))
    found += _contributions(first.contributions, again.contributions)
    return (*found, *_verdicts(first.verdict, again.verdict))


def _evidence(name: str, before: Evidence | None, now: Evidence | None) -> list[str]:
    if before is None or now is None:
        return [f"{name} {'speaks now, and did not then' if before is None else 'spoke then, and does not now'}."]
    if before.score != now.score:
        return [f"{name}: the score was {_score(before)} and is now {_score(now)}."]
    changed = sorted(
        field
        for field in Evidence.model_fields
        if field not in ("id", "score", "ms") and getattr(before, field) != getattr(now, field)
    )
    return [f"{name}: the score is the same, and its {', '.join(changed)} differ."] if changed else []


def _score(item: Evidence) -> str:
    return "none" if item.score is None else f"{item.score:.6g}"


def _contributions(before: Sequence[Contribution], now: Sequence[Contribution]) -> list[str]:
    def weights(entries: Sequence[Contribution]) -> dict[tuple[str, str], float]:
        return {(entry.evidence_id, entry.target): entry.decibans for entry in entries}

    then, there = weights(before), weights(now)
    return [
        f"{name} weighed {then.get((name, target), 0.0):+.2f} decibans for {target} and weighs "
        f"{there.get((name, target), 0.0):+.2f} now."
        for name, target in sorted(then.keys() | there.keys())
        if abs(then.get((name, target), 0.0) - there.get((name, target), 0.0)) > _SAME
    ]


def _verdicts(before: Verdict, now: Verdict) -> list[str]:
    found = []
    if before.label != now.label:
        found.append(f"The verdict was “{before.label}” and is now “{now.label}”.")
    for name in ("p_generated", "p_edited"):
        then, there = getattr(before, name), getattr(now, name)
        if then != there and (then is None or there is None or abs(then - there) > _SAME):
            found.append(f"{name} was {_p(then)} and is now {_p(there)}.")
    return found


def _p(value: float | None) -> str:
    return "empty" if value is None else f"{value:.4f}"
