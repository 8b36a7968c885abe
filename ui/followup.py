"""Commands over cases that are done: ask about them, review them, examine them again."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Coroutine
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Protocol, TypeVar

import typer

if TYPE_CHECKING:
    from agent.service import Answer, Explainer

T = TypeVar("T")
Case = Annotated[str, typer.Argument(metavar="CASE", help="The case's id; `exposit history` lists them.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print it as JSON, and nothing else.")]


class Runs(Protocol):
    """Runs something with an Explainer whose workers start only when a picture is examined."""

    def __call__(self, work: Callable[[Explainer], Coroutine[Any, Any, T]]) -> T: ...


class PersonsLabel(StrEnum):
    """What a person may say a picture is."""

    generated = "generated"
    edited = "edited"
    laundered = "laundered"
    photograph = "photograph"
    inconclusive = "inconclusive"


def add(app: typer.Typer, run: Runs) -> None:
    """Adds the commands to `app`."""

    @app.command()
    def ask(
        case: Case,
        question: Annotated[str, typer.Argument(help="In plain words: why, where, how sure, run a tool, …")] = "",
        box: Annotated[
            str | None,
            typer.Option(help="Left, top, right, bottom in fractions of the picture: 0.1,0.2,0.5,0.6."),
        ] = None,
        picture: Annotated[Path | None, typer.Option("--with", help="A second picture to compare with.")] = None,
        json: AsJson = False,
    ) -> None:
        """Ask about a case; what the question brings to light becomes its next report."""

        async def work(explainer: Explainer) -> Answer:
            from ui import intake

            other = await asyncio.to_thread(intake.from_path, picture, explainer.settings) if picture else None
            return await explainer.ask(case, question, region=intake.region(box) if box else None, picture=other)

        answer = run(work)
        if json:
            _say(answer.model_dump_json())
            return
        for sentence in answer.sentences:
            _say(f"{sentence.text} [{', '.join(sentence.cites)}]")
        for line in (*(what.text for what in answer.what_if), *answer.notes):
            _say(f"- {line}")

    @app.command()
    def review(
        case: Case,
        name: Annotated[str, typer.Option(help="Who reviews; kept in the audit trail.")],
        reason: Annotated[str, typer.Option(help="Why; kept in the audit trail.")],
        confirm: Annotated[bool, typer.Option("--confirm", help="The machine's label holds.")] = False,
        override: Annotated[PersonsLabel | None, typer.Option(help="Another label holds.")] = None,
        annotate: Annotated[bool, typer.Option("--annotate", help="Only add a note.")] = False,
        json: AsJson = False,
    ) -> None:
        """Confirm, override or annotate a verdict. The machine's verdict stays beside it."""
        from tools.errors import CallerError

        async def work(explainer: Explainer) -> str:
            from agent.service import Decision

            if confirm + annotate + (override is not None) != 1:
                raise CallerError("A review is one of three.", remedy="Give --confirm, --override LABEL or --annotate.")
            kind = "confirm" if confirm else "annotate" if annotate else "override"
            label = override.value if override else None
            said = await explainer.review(
                case, Decision.model_validate({"kind": kind, "reviewer": name, "reason": reason, "label": label})
            )
            if json:
                return said.model_dump_json()
            told = f" as “{said.label}”" if said.label else ""
            return (
                f"Recorded: {said.reviewer}, {said.kind}{told}. Report {said.revision} says “{said.machine}” as before."
            )

        _say(run(work))

    @app.command()
    def waiting(json: AsJson = False) -> None:
        """List the cases that a person should look at before their verdict is used."""
        for found in run(lambda explainer: explainer.cases(limit=1000, waiting=True)):
            when = found.created_at.strftime("%Y-%m-%d %H:%M")
            _say(found.model_dump_json() if json else f"{found.case_id}  {when}  {found.label}  {found.name}")

    @app.command()
    def replay(
        case: Case,
        current: Annotated[bool, typer.Option("--current", help="Let today's versions speak.")] = False,
        dry: Annotated[bool, typer.Option("--dry", help="Only compare versions.")] = False,
        json: AsJson = False,
    ) -> None:
        """Examine a stored picture again by the versions of its report, and say what differs."""
        found = run(lambda explainer: explainer.replay(case, current=current, dry=dry))
        if json:
            _say(found.model_dump_json())
            return
        _say(found.sentence)
        for line in (*(() if found.dry else found.versions), *found.differs):
            _say(f"- {line}")


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
