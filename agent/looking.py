"""Looking again because a person asked: tools that were left out, and parts of the picture in a box.

A box is drawn by somebody who has seen the picture, so that what a tool finds in it is not blind evidence: it is told,
and lends no weight. A tool that has not been run yet is run over the whole picture, which nobody chose: that evidence
has the weight that calibration gives it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from agent import planning, probes
from agent.examining import original_of
from agent.parts import Parts
from agent.retention import not_purged
from agent.state import Shown
from agent.verdict import ImageFacts, PlanStep, Report
from agent.vision import Points
from tools.contract import Budget, Conditional, Detector, Evidence, Finding, Region
from tools.errors import ExpositError
from tools.views import DEGRADATIONS, View, zoom_box

_FILE_READERS: Final = frozenset({"provenance"})
"""Tools that judge by the file and not by pixels: a part of the picture says nothing to them."""


BOX: Final = "@box"
"""Between a tool's name and the number of the box, in the id of what the tool found there."""
WEIGHTLESS: Final = "What tools find in a part that a person chose is told, and lends no weight to the verdict."


@dataclass(frozen=True, slots=True)
class Looked:
    """What came of it.

    Attributes:
        evidence: What is new.
        notes: What could not be done, and why; what was done otherwise than asked.
        timings: Milliseconds a tool.
        shown: What tools that are new to the case said of degraded copies.
        known: Ids of evidence that the case held already and that answers what was asked.
        steps: Steps of the plan that were not in it.
    """

    evidence: tuple[Evidence, ...]
    notes: tuple[str, ...]
    timings: Mapping[str, float]
    shown: tuple[Shown, ...] = ()
    known: tuple[str, ...] = ()
    steps: tuple[PlanStep, ...] = ()


async def over_the_whole(parts: Parts, report: Report, names: Iterable[str]) -> Looked:
    """Runs tools over the whole picture; one that has spoken already is not run again."""
    todo, notes = [], []
    for name in names:
        tool = parts.tools[name]
        missing = tool.missing() if isinstance(tool, Conditional) else None
        if missing is not None:
            notes.append(f"{name} cannot be run here: {missing}")
        elif spoke(report, name):
            notes.append(f"{name} has examined this picture already, and the same version says the same of it again.")
        else:
            todo.append(tool)
    began = time.perf_counter()
    found = await asyncio.gather(*(_examine(parts, report, tool, None) for tool in todo))
    known = {item.id: item for item in report.evidence}
    new = []
    for evidence in found:
        before = known.get(evidence.id)
        if before is not None and before.abstained_because == evidence.abstained_because:
            notes.append(f"{evidence.id} gave no answer again: {evidence.abstained_because}")
        else:
            new.append(evidence)
    shown = await _degraded(parts, report, new)
    return Looked(tuple(new), tuple(notes), _timings(new, began), shown)


async def in_a_box(parts: Parts, report: Report, names: Sequence[str], region: Region) -> Looked:
    """Has tools examine a part of the picture by itself; a part that they have examined is not examined again.

    Args:
        parts: What is open.
        report: The newest report of the case.
        names: The tools; all that looked at the whole picture where there are none.
        region: The part.
    """
    size = (report.image.width, report.image.height)
    box = zoom_box(region, size)
    if box == (0, 0, *size):
        note = (
            f"The picture has {size[0]}x{size[1]} pixels: with the surroundings that the tools need, that box is the "
            "whole picture, which they have examined already."
        )
        return Looked((), (note,), {})
    chosen = [name for name in names if _sees_pixels(parts.tools[name])]
    notes = [f"{name} judges by the file, and not by a part of the picture." for name in names if name not in chosen]
    first: Looked | None = None
    if chosen:
        unheard = [name for name in chosen if not spoke(report, name)]
        first = await over_the_whole(parts, report, unheard) if unheard else None
    elif not notes:
        chosen = [name for name in parts.tools if spoke(report, name) and _sees_pixels(parts.tools[name])]
    shown = Region.from_pixels(*box, size)
    there = {item.detector: item.id for item in report.evidence if BOX in item.id and item.regions == (shown,)}
    able = [parts.tools[name] for name in chosen if _missing(parts.tools[name]) is None]
    tools = [tool for tool in able if tool.name not in there]
    if able and not tools:
        notes.append("That part has been examined already, and the same versions say the same of it again.")
    if (box[2] - box[0]) * (box[3] - box[1]) > 1.1 * (region.x1 - region.x0) * (region.y1 - region.y0) * size[0] * size[
        1
    ]:
        notes.append(
            f"The tools were shown {box[2] - box[0]}x{box[3] - box[1]} pixels around the box, because they can tell "
            "nothing in fewer."
        )
    began = time.perf_counter()
    found = await asyncio.gather(*(_examine(parts, report, tool, View(kind="zoom", region=region)) for tool in tools))
    whole = {item.id: item for item in (*report.evidence, *(first.evidence if first else ()))}
    number = 1 + max((int(item.id.rpartition(BOX)[2]) for item in report.evidence if BOX in item.id), default=0)
    boxed = [_boxed(item, whole.get(item.detector), shown, report.image, number) for item in found]
    if not names and boxed:
        boxed += await _pointed(parts, report, region, shown, number, notes)
    if boxed or there:
        notes.append(WEIGHTLESS)
    return Looked(
        (*(first.evidence if first else ()), *boxed),
        (*(first.notes if first else ()), *notes),
        {**(first.timings if first else {}), **_timings(boxed, began)},
        first.shown if first else (),
        tuple(there[tool.name] for tool in able if tool.name in there),
        (_step(report, tools, region, box, number),) if boxed else (),
    )


def _step(
    report: Report, tools: Sequence[Detector], region: Region, box: tuple[int, int, int, int], number: int
) -> PlanStep:
    """A look into a box, as a step of the plan."""
    part = report.image.model_copy(update={"width": box[2] - box[0], "height": box[3] - box[1]})
    cost = round(sum(planning.cost_of(tool, part, _budget(report)) for tool in tools), 1)
    return PlanStep(
        tool=f"box{number}", run=True, because="Asked for in a question; it lends no weight.", cost=cost, kind="probe",
        round=1 + max((step.round for step in report.plan), default=0), on=tuple(tool.name for tool in tools),
        region=region,
    )  # fmt: skip


async def _pointed(
    parts: Parts, report: Report, region: Region, shown: Region, number: int, notes: list[str]
) -> list[Evidence]:
    """What a model that can be asked about a place sees there; a note where it fails."""
    if not isinstance(parts.vision, Points) or not parts.vision.can_look:
        return []
    original = await asyncio.to_thread(parts.originals.get, report.image.sha256)
    try:
        async with asyncio.timeout(parts.settings.vlm_timeout_s):
            seen = await parts.vision.point(original, region)
    except (ExpositError, TimeoutError) as error:
        notes.append(f"The model that looks at pictures gave no answer about that part: {error or 'it took too long.'}")
        return []
    return [seen.model_copy(update={"id": f"{seen.detector}{BOX}{number}", "blind": False, "regions": (shown,)})]


async def _degraded(parts: Parts, report: Report, new: Iterable[Evidence]) -> tuple[Shown, ...]:
    """Second looks of tools that have weight: a verdict that they change must survive re-saving as any other."""
    wanted = [
        (kind, parts.tools[item.id])
        for item in new
        if item.score is not None and item.id in parts.calibration.weighted and _sees_pixels(parts.tools[item.id])
        for kind in DEGRADATIONS
    ]
    found = await asyncio.gather(*(_examine(parts, report, tool, View(kind=kind)) for kind, tool in wanted))
    return tuple(
        Shown(kind=kind, tool=tool.name, evidence=item.model_copy(update={"findings": (), "regions": (), "maps": ()}))
        for (kind, tool), item in zip(wanted, found, strict=True)
    )


def left_out(parts: Parts, report: Report) -> tuple[str, ...]:
    """Tools of the catalogue that have not examined the whole picture."""
    return tuple(name for name in parts.tools if not spoke(report, name))


def spoke(report: Report, name: str) -> bool:
    """Whether a tool has given a score, or a word on the file, over the whole picture."""
    return any(
        item.id == name and (item.score is not None or item.claims or name in _FILE_READERS) for item in report.evidence
    )


def _missing(tool: Detector) -> str | None:
    return tool.missing() if isinstance(tool, Conditional) else None


def _sees_pixels(tool: Detector) -> bool:
    return tool.target != "context" and tool.name not in _FILE_READERS


async def _examine(parts: Parts, report: Report, tool: Detector, view: View | None) -> Evidence:
    await not_purged(parts.store.database, report.case_id)
    original = original_of(parts, report.image.sha256, report.image.path)
    budget = _budget(report)
    if view is not None and view.region is None:
        budget = probes.look_budget(tool, budget)
    evidence, maps = await parts.workers.examine(tool, original, budget, view)
    if view is None:
        for png in maps.values():
            await asyncio.to_thread(parts.maps.put, png)
    return evidence


def _budget(report: Report) -> Budget:
    """Who asks for a look has at least a standard one."""
    return planning.budget_of("standard" if report.budget == "quick" else report.budget)


def _timings(evidence: Iterable[Evidence], began: float) -> dict[str, float]:
    found = {f"tool:{item.id}": item.ms for item in evidence}
    return found | {"question": round((time.perf_counter() - began) * 1000, 1)} if found else {}


def _boxed(found: Evidence, whole: Evidence | None, shown: Region, image: ImageFacts, number: int) -> Evidence:
    """What a tool says of a part, with its places in fractions of the whole picture. Maps of a part are not kept."""
    ours = {
        "id": f"{found.detector}{BOX}{number}", "blind": False, "maps": (), "regions": (shown,),
    }  # fmt: skip
    if found.score is None:
        return found.model_copy(update=ours | {"findings": (), "measurements": {}})
    here = round(found.score, 2)
    numbers: dict[str, float | int | str | bool] = {"here": here}
    text = f"Looked at by itself, the part at the {shown.place} has the raw score {here:.2f}"
    if whole is not None and whole.score is not None:
        numbers["whole"] = round(whole.score, 2)
        text += f", and the whole picture {numbers['whole']:.2f}"
    own = tuple(
        finding.model_copy(
            update={"text": f"Within that part: {finding.text}", "region": _outside(finding.region, shown)}
        )
        for finding in found.findings
        if finding.polarity != "neutral"
    )
    score = Finding(text=f"{text}.", region=shown, numbers=numbers)
    limit = (
        f"Only {round((shown.x1 - shown.x0) * image.width)}x{round((shown.y1 - shown.y0) * image.height)} pixels were "
        "examined, chosen by a person who has seen the picture: this lends no weight."
    )
    return found.model_copy(update=ours | {"findings": (score, *own), "limits": (limit, *found.limits)})


def _outside(region: Region | None, shown: Region) -> Region:
    """A region of the part as one of the whole picture."""
    if region is None:
        return shown
    wide, high = shown.x1 - shown.x0, shown.y1 - shown.y0
    return Region(
        x0=shown.x0 + region.x0 * wide,
        y0=shown.y0 + region.y0 * high,
        x1=min(shown.x0 + region.x1 * wide, 1.0),
        y1=min(shown.y0 + region.y1 * high, 1.0),
    )
