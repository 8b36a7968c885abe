"""The command `exposit`. What is heavy is imported by the command that needs it, so that `--help` answers at once.

Exit codes: 0 done; 2 the request must change; 3 whoever runs Exposit must act; 4 try again.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Coroutine
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, NoReturn, TypeVar

import typer

from ui import followup

if TYPE_CHECKING:
    from rich.console import Console

    from agent.service import Explainer, Submission
    from agent.settings import Settings
    from agent.verdict import Report
    from tools.errors import ExpositError

T = TypeVar("T")

app = typer.Typer(
    name="exposit", no_args_is_help=True, add_completion=True, pretty_exceptions_enable=False,
    help="Examines a picture and explains, with evidence, whether a generative model made or altered it.",
    epilog="Exit codes: 0 done, 2 the request must change, 3 the installation must change, 4 try again.",
)  # fmt: skip
models_app = typer.Typer(invoke_without_command=True, help="The weights that the tools and the language model need.")
audit_app = typer.Typer(no_args_is_help=True, help="The audit trail.")
app.add_typer(models_app, name="models")
app.add_typer(audit_app, name="audit")


class Depth(StrEnum):
    """Budgets by name."""

    quick = "quick"
    standard = "standard"
    thorough = "thorough"


class Stakes(StrEnum):
    """What hangs on an answer."""

    ordinary = "ordinary"
    high = "high"


Budget = Annotated[Depth | None, typer.Option(help="What an examination may cost; EXPOSIT_BUDGET when unset.")]
Vlm = Annotated[
    str | None,
    typer.Option(help="Who looks and narrates: auto, embedded, template, or a model server's URL (EXPOSIT_VLM)."),
]


@app.command()
def explain(
    image: Annotated[str, typer.Argument(help="A picture's file, or its web address (http or https).")],
    json: Annotated[bool, typer.Option("--json", help="Print the report as JSON, and nothing else.")] = False,
    budget: Budget = None,
    vlm: Vlm = None,
    stakes: Annotated[
        Stakes, typer.Option(help="What hangs on the answer; at high stakes a person may be asked (EXPOSIT_REVIEW).")
    ] = Stakes.ordinary,
) -> None:
    """Examine one picture and explain the verdict."""
    settings = _settings(vlm, budget)
    submission = _guarded(lambda: asyncio.run(_submission(image, settings)))
    report = _with_explainer(settings, lambda explainer: _watched(explainer, submission, stakes.value))
    if json:
        sys.stdout.write(report.model_dump_json() + "\n")
        return
    from ui.report import show

    show(report, _console())


@app.command()
def batch(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Every file in it and below is examined.")],
    out: Annotated[Path, typer.Option(help="JSON Lines: one report, or one error, a line.")],
    resume: Annotated[
        bool, typer.Option(help="Skip what stands in the out file already; --no-resume starts it anew.")
    ] = True,
    budget: Budget = None,
    vlm: Vlm = None,
) -> None:
    """Examine a folder; goes on past bad files, and goes on where it was broken off."""
    settings = _settings(vlm, budget)

    async def work(explainer: Explainer) -> None:
        from ui.batch import run

        done = await run(explainer, settings, folder, out, resume=resume, console=_console(stderr=True))
        _console(stderr=True).print(done.sentence(), highlight=False, markup=False)

    _with_explainer(settings, work)


@app.command()
def serve(
    host: Annotated[
        str, typer.Option(help="Address to listen on. There is no access control: guard anything but loopback.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes a free one.")] = 7860,
    vlm: Vlm = None,
) -> None:
    """Serve the chat page, the API (/v1) and its description (/docs)."""
    settings = _settings(vlm)

    async def work(explainer: Explainer) -> None:
        from ui.server import serve as listen

        await listen(settings, explainer, host, port, say=_say)

    _with_explainer(settings, work, serving=True)


@app.command()
def history(
    limit: Annotated[int, typer.Option(min=1, max=1000, help="How many cases.")] = 20,
    json: Annotated[bool, typer.Option("--json", help="One case a line, as JSON.")] = False,
) -> None:
    """List the newest cases."""
    found = _with_explainer(_settings(), lambda explainer: explainer.cases(limit=limit), eager=False)
    if json:
        for case in found:
            sys.stdout.write(case.model_dump_json() + "\n")
        return
    from rich.table import Table
    from rich.text import Text

    from ui import words

    table = Table("Case", "When (UTC)", "Picture", "Verdict", "Generated", "Review")
    for case in found:
        verdict = words.LABELS[case.label] if case.label else case.error or case.status
        share = f"{words.in_hundred(case.p_generated)} in 100" if case.p_generated is not None else ""
        when = case.created_at.strftime("%Y-%m-%d %H:%M")
        if case.revision > 1:
            verdict += f" (report {case.revision})"
        table.add_row(Text(case.case_id), when, Text(case.name), Text(verdict), share, words.REVIEWS[case.review])
    _console().print(table if found else "No case is recorded yet.")


@models_app.callback()
def models(context: typer.Context) -> None:
    """The weights that the tools and the language model need: what each is, and whether it is here."""
    if context.invoked_subcommand is None:
        models_list()


@models_app.command("list")
def models_list() -> None:
    """List the weights, and whether each is here."""
    _guarded(lambda: _models().show(_settings(), _console()))


@models_app.command("pull")
def models_pull(
    names: Annotated[list[str] | None, typer.Argument(help="Which; all that are missing when none is named.")] = None,
) -> None:
    """Fetch weights and check each against its pinned hash."""
    _guarded(lambda: _models().pull(_settings(), names or [], _console(stderr=True)))


@audit_app.command("verify")
def audit_verify() -> None:
    """Walk the audit trail and check that each row holds the hash of the one before."""
    length = _with_explainer(_settings(), lambda explainer: explainer.verify_audit(), eager=False)
    _say(f"The audit trail holds: {length} rows.")


@app.command()
def doctor() -> None:
    """Say what is wrong with this installation, and how to mend it."""
    from ui.doctor import examine

    found = _guarded(lambda: asyncio.run(examine(_settings())))
    console = _console()
    for check in found:
        mark, style = {"ok": ("ok  ", "green"), "note": ("note", "yellow"), "bad": ("BAD ", "bold red")}[check.state]
        console.print(f"[{style}]{mark}[/] ", end="")
        console.print(f"{check.part}: {check.detail}", highlight=False, markup=False)
        if check.remedy:
            console.print(f"     {check.remedy}", highlight=False, markup=False)
    if any(check.state == "bad" for check in found):
        raise typer.Exit(3)


@app.command()
def schema(
    out: Annotated[Path | None, typer.Option(help="Write it to this file instead of printing it.")] = None,
) -> None:
    """Print the JSON Schema of a report."""
    from ui.schema import report_schema

    if out is None:
        sys.stdout.write(report_schema())
    else:
        out.write_text(report_schema(), encoding="utf-8")


@app.command()
def version() -> None:
    """Print the version."""
    from ui import version as installed

    _say(installed())


def _settings(vlm: str | None = None, budget: Depth | None = None) -> Settings:
    from pydantic import ValidationError

    from agent.settings import Settings
    from tools.errors import ConfigurationError

    given: dict[str, Any] = {"vlm": vlm, "budget": budget.value if budget else None}
    try:
        return Settings(**{name: value for name, value in given.items() if value is not None})
    except ValidationError as error:
        first = error.errors()[0]
        name = "EXPOSIT_" + "_".join(str(part) for part in first["loc"]).upper()
        _stop(ConfigurationError(f"{name} does not hold: {first['msg']}.", remedy=f"Correct or unset {name}."))


async def _submission(image: str, settings: Settings) -> Submission:
    from ui import intake

    if image.startswith(("http://", "https://")):
        from ui.fetch import FetchRules, fetch

        fetched = await fetch(image, FetchRules(max_bytes=intake.max_bytes(settings)))
        return intake.submission(fetched.data, fetched.name, "url", settings)
    return await asyncio.to_thread(intake.from_path, Path(image), settings)


async def _watched(explainer: Explainer, submission: Submission, stakes: Literal["ordinary", "high"]) -> Report:
    """Explains, and shows each step where somebody watches."""
    console = _console(stderr=True)
    if not console.is_terminal:
        return await explainer.explain(submission, stakes=stakes)
    from rich.text import Text

    from agent.verdict import Report

    report: Report | None = None
    with console.status("Examining the picture …") as status:
        async for event in explainer.stream(submission, stakes=stakes):
            if event.kind == "report":
                report = Report.model_validate(event.data["report"])
            else:
                status.update(Text(event.text))
    if report is None:
        raise RuntimeError("the stream of events ended without a report")
    return report


def _with_explainer(
    settings: Settings,
    work: Callable[[Explainer], Coroutine[Any, Any, T]],
    *,
    serving: bool = False,
    eager: bool = True,
) -> T:
    """Runs `work` with an Explainer, closed in the end whatever happens.

    Workers start at once if `eager`, else with the first picture. When `serving`, they are made warm and the log says
    what is usual too; a single command logs from `warning` on.
    """

    async def run() -> T:
        from agent import telemetry
        from agent.service import Explainer

        asked = serving or "log_level" in settings.model_fields_set
        telemetry.configure(settings.log_level if asked else "warning")
        async with Explainer(settings, warm=serving, eager=eager) as explainer:
            return await work(explainer)

    return _guarded(lambda: asyncio.run(run()))


def _guarded(work: Callable[[], T]) -> T:
    """Runs `work`; an error of Exposit ends the command with its sentence and its exit code."""
    from tools.errors import ExpositError

    try:
        return work()
    except ExpositError as error:
        _stop(error)
    except KeyboardInterrupt:
        raise typer.Exit(130) from None


def _stop(error: ExpositError) -> NoReturn:
    from tools.errors import CallerError, TryAgainError

    console = _console(stderr=True)
    console.print("[bold red]Error:[/] ", end="")
    console.print(error.message, highlight=False, markup=False)
    if error.remedy:
        console.print(error.remedy, highlight=False, markup=False)
    console.print(f"[dim]Code: {error.code}[/]", highlight=False)
    raise typer.Exit(2 if isinstance(error, CallerError) else 4 if isinstance(error, TryAgainError) else 3)


def _console(*, stderr: bool = False) -> Console:
    from rich.console import Console

    console = Console(stderr=stderr)
    return console if console.is_terminal else Console(stderr=stderr, width=120)


def _say(text: str) -> None:
    typer.echo(text)


def _models() -> Any:
    from ui import models

    return models


def _over_cases(work: Callable[[Explainer], Coroutine[Any, Any, T]]) -> T:
    return _with_explainer(_settings(), work, eager=False)


followup.add(app, _over_cases)


def main() -> None:
    """Entry point of the command."""
    app()


if __name__ == "__main__":
    main()
