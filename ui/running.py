"""What every command shares: settings, an Explainer that is closed in the end, errors as exit codes, the console."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Callable, Coroutine, Mapping
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

import typer

if TYPE_CHECKING:
    from rich.console import Console

    from agent.service import Explainer
    from agent.settings import Settings
    from tools.errors import ExpositError

T = TypeVar("T")


class Stakes(StrEnum):
    """What hangs on an answer."""

    ordinary = "ordinary"
    high = "high"


class Depth(StrEnum):
    """Budgets by name."""

    quick = "quick"
    standard = "standard"
    thorough = "thorough"


def settings(vlm: str | None = None, budget: Depth | None = None) -> Settings:
    """The settings, with what the command line says in their place. One that does not hold ends the command."""
    from pydantic import ValidationError

    from agent.settings import Settings
    from tools.errors import ConfigurationError

    given: dict[str, Any] = {"vlm": vlm, "budget": budget.value if budget else None}
    try:
        return Settings(**{name: value for name, value in given.items() if value is not None})
    except ValidationError as error:
        first = error.errors()[0]
        name = "EXPOSIT_" + "_".join(str(part) for part in first["loc"]).upper()
        stop(ConfigurationError(f"{name} does not hold: {first['msg']}.", remedy=f"Correct or unset {name}."))


def with_explainer(
    settings: Settings,
    work: Callable[[Explainer], Coroutine[Any, Any, T]],
    *,
    serving: bool = False,
    eager: bool = True,
    jobs: bool = False,
) -> T:
    """Runs `work` with an Explainer, closed in the end whatever happens.

    Workers start at once if `eager`, else with the first picture. When `serving`, they are made warm and the log says
    what is usual too; a single command logs from `warning` on. With `jobs`, cases of the queue are examined too.
    """

    async def run() -> T:
        from agent import telemetry
        from agent.service import Explainer

        asked = serving or "log_level" in settings.model_fields_set
        telemetry.configure(settings.log_level if asked else "warning")
        options: dict[str, Any] = {"warm": serving, "eager": eager}
        if jobs:
            from ui.web import Web

            options["outside"] = Web(settings)
        async with Explainer(settings, **options) as explainer:
            return await work(explainer)

    return guarded(lambda: asyncio.run(run()))


def guarded(work: Callable[[], T]) -> T:
    """Runs `work`; an error of Exposit ends the command with its sentence and its exit code."""
    from tools.errors import ExpositError

    try:
        return work()
    except ExpositError as error:
        stop(error)
    except KeyboardInterrupt:
        raise typer.Exit(130) from None


def stop(error: ExpositError) -> NoReturn:
    """Ends the command: what is wrong, what to do about it, and the exit code that says who must act."""
    from tools.errors import CallerError, TryAgainError

    told = console(stderr=True)
    told.print("[bold red]Error:[/] ", end="")
    told.print(error.message, highlight=False, markup=False)
    if error.remedy:
        told.print(error.remedy, highlight=False, markup=False)
    told.print(f"[dim]Code: {error.code}[/]", highlight=False)
    raise typer.Exit(2 if isinstance(error, CallerError) else 4 if isinstance(error, TryAgainError) else 3)


def console(*, stderr: bool = False) -> Console:
    """The console: colours and movement on a terminal only, and 120 columns where there is none."""
    from rich.console import Console

    made = Console(stderr=stderr)
    return made if made.is_terminal else Console(stderr=stderr, width=120)


def say(text: str) -> None:
    """Prints a line for people."""
    typer.echo(text)


def say_json(value: Mapping[str, Any] | list[Any]) -> None:
    """Prints a value as one line of JSON, for programs."""
    typer.echo(json.dumps(value, ensure_ascii=False))


def save(data: bytes, out: Path | None, suggestion: str) -> None:
    """Writes to a file, or to where the output of the command is led; bytes are not poured into a terminal.

    Raises:
        CallerError: where the file cannot be written, or nobody said where to.
    """
    from tools.errors import CallerError

    if out is not None and str(out) != "-":
        try:
            out.write_bytes(data)
        except OSError as error:
            raise CallerError(
                f"{out} cannot be written: {error.strerror}.", remedy="Give another --output.", code="out_unwritable"
            ) from error
        return
    if sys.stdout.isatty() and b"\0" in data[:4096]:
        raise CallerError(
            "This is no text, and would spoil the terminal.", remedy=f"Name a file: -o {suggestion}", code="no_output"
        )
    sys.stdout.buffer.write(data)
    sys.stdout.buffer.flush()
