"""Scripted conversations with the real service: the right tool called, every answer grounded, no verdict by talk.

Pictures are made here from fixed numbers; nothing is read from elsewhere. Each is examined once, and each conversation
gets a case of its own with that report. `inversion` is priced as a dear tool, so that it is left out at first and can
be asked for.

    python -m evals.conversations [--suite evals/suites/conversations.toml] [--home DIR]
"""

from __future__ import annotations

import argparse
import asyncio
import io
import re
import sys
import tempfile
import time
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from dataclasses import replace as replaced
from pathlib import Path
from typing import Annotated, Any, Final

import numpy as np
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from agent.answering import Answer
from agent.grounding import ground
from agent.intents import Intent
from agent.service import Explainer, Submission
from agent.settings import Settings
from agent.store import Store
from agent.verdict import Report
from tools.contract import Detector, Region, Tool
from tools.errors import ConfigurationError

SUITE: Final = Path(__file__).parent / "suites" / "conversations.toml"
CATALOGUE: Final = "evals.conversations:catalogue"
DEAR: Final = "inversion"
_SAME: Final = 1e-12


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Turn(_Model):
    """One question and what must come of it.

    Attributes:
        box: Left, top, right, bottom of a box that comes with it; `picture` the name of a second picture.
        restart: Whether the service was restarted before it.
        ran: Ids of new evidence, in order; `ran_in_box` the tools that must look into a box, at least.
        says, notes: Patterns that the sentences, and the notes, must hold.
        what_if: Whether counterfactuals must be given.
        same_picture: What the comparison must say, for a turn with a second picture.
    """

    say: str
    box: tuple[float, float, float, float] | None = None
    picture: str | None = None
    restart: bool = False
    intent: Intent
    ran: tuple[str, ...] = ()
    ran_in_box: tuple[str, ...] = ()
    says: str = ""
    notes: str = ""
    what_if: bool = False
    same_picture: bool | None = None


class Conversation(_Model):
    """A conversation about one picture."""

    name: str
    about: str
    picture: str = "plain"
    turn: Annotated[tuple[Turn, ...], Field(min_length=1)]


class Suite(_Model):
    """A suite of conversations."""

    title: str
    conversation: tuple[Conversation, ...]


@dataclass
class Outcome:
    """How one conversation went."""

    conversation: Conversation
    case_id: str
    first: Report
    faults: list[str] = field(default_factory=list)
    turns: int = 0


def catalogue() -> dict[str, Detector]:
    """The shipped detectors, with `DEAR` priced out of the quick budget."""
    from tools.catalogue import detectors

    found = dict(detectors())
    tool = found[DEAR]
    if isinstance(tool, Tool):
        found[DEAR] = replaced(tool, cost=1000.0)
    return found


def load(path: Path) -> Suite:
    """Reads a suite.

    Raises:
        ConfigurationError: if it is missing or not in the agreed form, or two conversations have one name.
    """
    try:
        suite = Suite.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))
    except (OSError, tomllib.TOMLDecodeError, ValidationError) as error:
        raise ConfigurationError(
            f"The suite {path.name} cannot be read: {error}", remedy="Correct the file."
        ) from error
    names = [each.name for each in suite.conversation]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ConfigurationError(
            f"The suite {path.name} names twice: {', '.join(twice)}.", remedy="Rename one of them."
        )
    return suite


def pictures() -> dict[str, Submission]:
    """The pictures that conversations are about, by name; the same bytes each time."""
    plain = _scene(520, 468, seed=3)
    text = PngInfo()
    text.add_text("parameters", "a lighthouse at dusk\nSteps: 30, Sampler: Euler a, CFG scale: 7, Seed: 1, Model: sd15")
    return {
        "plain": Submission(data=_file(plain, "JPEG", quality=92), name="plain.jpg"),
        "plain-small": Submission(data=_file(plain.resize((400, 360)), "JPEG", quality=85), name="plain-small.jpg"),
        "other": Submission(data=_file(_scene(468, 520, seed=11, turned=True), "JPEG", quality=92), name="other.jpg"),
        "tagged": Submission(data=_file(_scene(480, 464, seed=5), "PNG", pnginfo=text), name="tagged.png"),
        "small": Submission(data=_file(_scene(200, 160, seed=7), "PNG"), name="small.png"),
        "broken": Submission(data=b"this is no picture", name="broken.jpg"),
    }


def _scene(width: int, height: int, *, seed: int, turned: bool = False) -> Image.Image:
    """Shading, shapes of many sizes and noise: enough detail for a perceptual hash."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    rgb = np.stack([70 + 90 * x / width, 60 + 110 * y / height, 160 - 70 * (x + y) / (width + height)], axis=2)
    for _ in range(40):
        cx, cy = rng.uniform(0, width), rng.uniform(0, height)
        radius = rng.uniform(0.03, 0.2) * min(width, height)
        inside = (np.abs(x - cx) + np.abs(y - cy) < radius) if turned else ((x - cx) ** 2 + (y - cy) ** 2 < radius**2)
        rgb[inside] = rng.uniform(20, 235, 3)
    return Image.fromarray((rgb + rng.normal(0, 5, rgb.shape)).clip(0, 255).astype(np.uint8))


def _file(image: Image.Image, kind: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


async def run(suite: Suite, home: Path, *, catalogue: str = CATALOGUE) -> list[Outcome]:
    """Holds every conversation, with one restart of the service in between, and says what went wrong."""
    settings = Settings(home=home, workers=1, vlm="template", log_level="error", budget="quick")
    shown = pictures()
    async with Explainer(settings, catalogue=catalogue) as explainer:
        await explainer.until_warm()  # the quick budget gives a tool too little time to load its weights
        wanted = sorted({each.picture for each in suite.conversation})
        first = {name: await explainer.explain(shown[name]) for name in wanted}
        outcomes = [await _case(settings, each, first[each.picture], at) for at, each in enumerate(suite.conversation)]
        for outcome in outcomes:
            await _talk(explainer, outcome, shown, restarted=False)
    async with Explainer(settings, catalogue=catalogue, warm=False, eager=False) as explainer:
        for outcome in outcomes:
            await _talk(explainer, outcome, shown, restarted=True)
        await explainer.verify_audit()
    return outcomes


async def _case(settings: Settings, conversation: Conversation, report: Report, at: int) -> Outcome:
    """A case of its own with the report of the picture."""
    case_id = f"talk{at:04d}"
    store = await Store.open(settings.sqlalchemy_url)
    try:
        image = report.image
        await store.begin_case(
            case_id, name=image.path, origin="upload", budget=report.budget, sha256=image.sha256, bytes=image.bytes
        )
        await store.finish_case(report.model_copy(update={"case_id": case_id}))
    finally:
        await store.close()
    return Outcome(conversation, case_id, report)


async def _talk(explainer: Explainer, outcome: Outcome, shown: Mapping[str, Submission], *, restarted: bool) -> None:
    """The turns before the restart, or those from it on."""
    turns = outcome.conversation.turn
    cut = next((at for at, turn in enumerate(turns) if turn.restart), len(turns))
    for turn in turns[cut:] if restarted else turns[:cut]:
        before = await explainer.report(outcome.case_id)
        region = Region(**dict(zip(("x0", "y0", "x1", "y1"), turn.box, strict=True))) if turn.box else None
        picture = shown[turn.picture] if turn.picture else None
        answer = await explainer.ask(outcome.case_id, turn.say, region=region, picture=picture)
        after = await explainer.report(outcome.case_id)
        outcome.turns += 1
        told = [*_intended(turn, answer), *_grounded(answer, after), *_unmoved(answer, before, after)]
        told += _kept(await explainer.report(outcome.case_id, 1), outcome)
        outcome.faults += [f"“{turn.say}”: {fault}" for fault in told]


def _intended(turn: Turn, answer: Answer) -> list[str]:
    """Whether the question was understood, and the right tools were called."""
    faults = []
    if answer.intent != turn.intent:
        faults.append(f"taken for {answer.intent}, not {turn.intent}")
    if turn.ran_in_box:
        missing = [name for name in turn.ran_in_box if not any(one.startswith(f"{name}@box") for one in answer.ran)]
        if missing:
            faults.append(f"{', '.join(missing)} did not look into the box; {', '.join(answer.ran) or 'nothing'} ran")
    elif answer.ran != turn.ran:
        faults.append(f"{', '.join(answer.ran) or 'nothing'} ran, not {', '.join(turn.ran) or 'nothing'}")
    spoken = " ".join(sentence.text for sentence in answer.sentences)
    for pattern, text, what in ((turn.says, spoken, "says"), (turn.notes, " ".join(answer.notes), "notes")):
        if pattern and not re.search(pattern, text, re.IGNORECASE):
            faults.append(f"what it {what} does not hold “{pattern}”: {text[:300]}")
    if turn.what_if != bool(answer.what_if):
        faults.append(f"{len(answer.what_if)} counterfactuals were given")
    found = answer.comparison.same_picture if answer.comparison else None
    if turn.picture and turn.same_picture != found:
        faults.append(f"the comparison says {found}, not {turn.same_picture}")
    return faults


def _grounded(answer: Answer, report: Report) -> list[str]:
    """Whether every sentence holds against the evidence of the case, judged once more."""
    if not answer.sentences:
        return ["nothing was said"]
    found = ground(answer.sentences, report.verdict, report.contributions, report.evidence)
    return [f"not grounded: {each.text} ({each.because})" for each in found.dropped]


def _unmoved(answer: Answer, before: Report, after: Report) -> list[str]:
    """Whether the verdict moved by evidence alone, and visibly so."""
    if not answer.ran:
        return ["the report changed without new evidence"] if after != before else []
    faults = []
    if after.revision != before.revision + 1 or answer.before is None or answer.before.label != before.verdict.label:
        faults.append("new evidence came, and the answer does not show the report before it")
    known = {item.id for item in before.evidence}
    new = {item.id for item in after.evidence} - known
    if not set(answer.ran) <= new | {item.id for item in before.evidence if item.abstained_because}:
        faults.append("it names evidence that is not new")
    moved = abs(after.verdict.p_generated - before.verdict.p_generated) > _SAME
    weighty = [entry for entry in after.contributions if entry.evidence_id in answer.ran and entry.llr != 0]
    if (moved or after.verdict.label != before.verdict.label) and not weighty:
        faults.append("the verdict moved, and no new evidence has weight")
    return faults


def _kept(first: Report, outcome: Outcome) -> list[str]:
    same = first == outcome.first.model_copy(update={"case_id": outcome.case_id})
    return [] if same else ["the first report is not what it was"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Holds the conversations and prints what went wrong. Exit code 1 where anything did."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--suite", type=Path, default=SUITE)
    parser.add_argument("--home", type=Path, help="keep the log there; thrown away otherwise")
    options = parser.parse_args(arguments)
    suite = load(options.suite)
    began = time.perf_counter()
    if options.home is not None:
        outcomes = asyncio.run(run(suite, options.home))
    else:
        with tempfile.TemporaryDirectory(prefix="exposit-talk-") as home:
            outcomes = asyncio.run(run(suite, Path(home)))
    good = [outcome for outcome in outcomes if not outcome.faults]
    for outcome in outcomes:
        if outcome.faults:
            print(f"{outcome.conversation.name} ({outcome.conversation.about})")
            print("".join(f"    {fault}\n" for fault in outcome.faults), end="")
    for about in sorted({outcome.conversation.about for outcome in outcomes}):
        group = [outcome for outcome in outcomes if outcome.conversation.about == about]
        print(f"{about}: {sum(not each.faults for each in group)} of {len(group)}")
    turns = sum(outcome.turns for outcome in outcomes)
    print(f"{len(good)} of {len(outcomes)} conversations as they should be, {turns} turns, "
          f"{time.perf_counter() - began:.0f} s.")  # fmt: skip
    return 0 if len(good) == len(outcomes) else 1


if __name__ == "__main__":
    sys.exit(main())
