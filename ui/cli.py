"""The command `exposit`. What is heavy is imported by the command that needs it, so that `--help` answers at once.

Exit codes: 0 done; 2 the request must change; 3 whoever runs Exposit must act; 4 try again.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Coroutine
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar

import typer

from ui import commands, followup, running, working
from ui.running import Depth, Stakes

if TYPE_CHECKING:
    from agent.service import Explainer, Submission
    from agent.settings import Settings
    from agent.stated import StatedClaim
    from agent.verdict import Report

T = TypeVar("T")

app = typer.Typer(
    name="exposit", no_args_is_help=True, add_completion=True, pretty_exceptions_enable=False,
    help="Examines a picture and explains, with evidence, whether a generative model made or altered it.",
    epilog="Exit codes: 0 done, 2 the request must change, 3 the installation must change, 4 try again. "
    "Completion of the shell: --install-completion.",
)  # fmt: skip
models_app = typer.Typer(invoke_without_command=True, help="The weights that the tools and the language model need.")
audit_app = typer.Typer(no_args_is_help=True, help="The audit trail.")
app.add_typer(models_app, name="models")
app.add_typer(audit_app, name="audit")


Budget = Annotated[Depth | None, typer.Option(help="What an examination may cost; EXPOSIT_BUDGET when unset.")]
Vlm = Annotated[
    str | None,
    typer.Option(
        help="Who looks and narrates: auto, served, embedded, template, or a model server's URL (EXPOSIT_VLM)."
    ),
]


@app.command()
def explain(
    image: Annotated[str, typer.Argument(help="A picture's file, or its web address (http or https).")],
    json: Annotated[bool, typer.Option("--json", help="Print the report as JSON, and nothing else.")] = False,
    short: Annotated[bool, typer.Option("--short", help="Print the explanation alone, in a few sentences.")] = False,
    language: Annotated[
        str | None, typer.Option(help="Print the explanation alone, in this language: en, de.", metavar="CODE")
    ] = None,
    budget: Budget = None,
    vlm: Vlm = None,
    stakes: Annotated[
        Stakes, typer.Option(help="What hangs on the answer; at high stakes a person may be asked (EXPOSIT_REVIEW).")
    ] = Stakes.ordinary,
    claim: Annotated[
        str | None, typer.Option(help="What is said of the picture. Kept with the case; nothing judges it.")
    ] = None,
    claimant: Annotated[str | None, typer.Option(help="Who says so.")] = None,
    claim_date: Annotated[str | None, typer.Option(help="The day it was said: 2026-01-31.")] = None,
    claim_seen: Annotated[str | None, typer.Option(help="Where it was seen, in words.")] = None,
    claim_url: Annotated[str | None, typer.Option(help="Where it can be read (http or https).")] = None,
    exit_code: Annotated[
        bool,
        typer.Option(
            "--exit-code",
            help="End with the verdict: 10 generated, 11 edited, 12 laundered, 13 no evidence, 14 authentic, "
            "15 inconclusive. Never 0: no verdict says that a picture is real.",
        ),
    ] = False,
) -> None:
    """Examine one picture and explain the verdict."""
    if language is not None:
        from agent import language as languages

        running.guarded(lambda: languages.language(language))  # a code without a file is refused before anything starts
    settings = running.settings(vlm, budget)
    told = {
        "claim": claim, "claimant": claimant, "claim_date": claim_date, "claim_seen": claim_seen,
        "claim_url": claim_url,
    }  # fmt: skip
    stated = running.guarded(lambda: _stated(told))
    submission = running.guarded(lambda: asyncio.run(_submission(image, settings, stated)))
    report = running.with_explainer(settings, lambda explainer: _watched(explainer, submission, stakes.value))
    if json:
        sys.stdout.write(report.model_dump_json() + "\n")
    elif short or language is not None:
        from agent.explanation import render

        sys.stdout.write(
            running.guarded(lambda: render(report, form="short" if short else "full", code=language or "en"))
        )
    else:
        from ui.report import show

        show(report, running.console())
    if exit_code:
        from ui import words

        raise typer.Exit(words.EXIT_CODES[report.verdict.label])


@app.command()
def batch(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Every file in it and below is examined.")],
    out: Annotated[Path, typer.Option(help="JSON Lines: one report, or one error, a line.")],
    resume: Annotated[
        bool, typer.Option(help="Skip what stands in the out file already; --no-resume starts it anew.")
    ] = True,
    budget: Budget = None,
    vlm: Vlm = None,
    json: Annotated[bool, typer.Option("--json", help="Print how many were examined as JSON.")] = False,
) -> None:
    """Examine a folder; goes on past bad files, and goes on where it was broken off."""
    settings = running.settings(vlm, budget)

    async def work(explainer: Explainer) -> None:
        from ui.batch import run

        done = await run(explainer, settings, folder, out, resume=resume, console=running.console(stderr=True))
        if json:
            running.say_json(asdict(done))
        else:
            running.console(stderr=True).print(done.sentence(), highlight=False, markup=False)

    running.with_explainer(settings, work)


@app.command()
def serve(
    host: Annotated[
        str, typer.Option(help="Address to listen on. Anything but loopback asks for a key (EXPOSIT_KEYS).")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes a free one.")] = 7860,
    vlm: Vlm = None,
) -> None:
    """Serve the chat page, the API (/v1) and its description (/docs)."""
    settings = running.settings(vlm)

    async def work(explainer: Explainer) -> None:
        from ui.server import serve as listen

        await listen(settings, explainer, host, port, say=running.say)

    running.with_explainer(settings, work, serving=True, jobs=settings.work_jobs)


@app.command()
def history(
    limit: Annotated[int, typer.Option(min=1, max=1000, help="How many cases.")] = 20,
    json: Annotated[bool, typer.Option("--json", help="One case a line, as JSON.")] = False,
) -> None:
    """List the newest cases."""
    found = running.with_explainer(running.settings(), lambda explainer: explainer.cases(limit=limit), eager=False)
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
    running.console().print(table if found else "No case is recorded yet.")


@models_app.callback()
def models(context: typer.Context) -> None:
    """The weights that the tools and the language model need: what each is, and whether it is here."""
    if context.invoked_subcommand is None:
        models_list()


@models_app.command("list")
def models_list(
    json: Annotated[bool, typer.Option("--json", help="One weight a line, as JSON.")] = False,
) -> None:
    """List the weights, and whether each is here."""
    if json:
        for line in running.guarded(lambda: _models().facts(running.settings())):
            running.say_json(line)
        return
    running.guarded(lambda: _models().show(running.settings(), running.console()))


@models_app.command("pull")
def models_pull(
    names: Annotated[list[str] | None, typer.Argument(help="Which; all that are missing when none is named.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Then list the weights, one a line, as JSON.")] = False,
) -> None:
    """Fetch weights and check each against its pinned hash."""
    running.guarded(lambda: _models().pull(running.settings(), names or [], running.console(stderr=True)))
    if json:
        models_list(json=True)


@audit_app.command("verify")
def audit_verify(
    json: Annotated[bool, typer.Option("--json", help="Print the number of rows as JSON.")] = False,
) -> None:
    """Walk the audit trail and check that each row holds the hash of the one before."""
    length = running.with_explainer(running.settings(), lambda explainer: explainer.verify_audit(), eager=False)
    if json:
        running.say_json({"holds": True, "rows": length})
        return
    running.say(f"The audit trail holds: {length} rows.")


@app.command()
def doctor(
    json: Annotated[bool, typer.Option("--json", help="One part a line, as JSON.")] = False,
    deep: Annotated[
        bool, typer.Option("--deep", help="Also start every tool and the language model, and wait until they answer.")
    ] = False,
) -> None:
    """Say what is wrong with this installation, and how to mend it."""
    from ui.doctor import examine

    found = running.guarded(lambda: asyncio.run(examine(running.settings(), deep=deep)))
    console = running.console()
    for check in found:
        if json:
            running.say_json(asdict(check))
            continue
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
def version(
    json: Annotated[bool, typer.Option("--json", help="Print it as JSON.")] = False,
) -> None:
    """Print the version."""
    from ui import version as installed

    if json:
        running.say_json({"version": installed()})
        return
    running.say(installed())


def _stated(told: dict[str, str | None]) -> StatedClaim | None:
    from pydantic import ValidationError

    from ui import claiming

    try:
        return claiming.stated(told)
    except ValidationError as error:
        raise claiming.refusal(error) from error


async def _submission(image: str, settings: Settings, claim: StatedClaim | None) -> Submission:
    from ui import intake

    if image.startswith(("http://", "https://")):
        from ui.fetch import FetchRules, fetch

        fetched = await fetch(image, FetchRules(max_bytes=intake.max_bytes(settings)))
        given = intake.submission(fetched.data, fetched.name, "url", settings)
    else:
        given = await asyncio.to_thread(intake.from_path, Path(image), settings)
    return given.model_copy(update={"claim": claim})


async def _watched(explainer: Explainer, submission: Submission, stakes: Literal["ordinary", "high"]) -> Report:
    """Explains, and shows each step where somebody watches."""
    console = running.console(stderr=True)
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


def _models() -> Any:
    from ui import models

    return models


def _over_cases(work: Callable[[Explainer], Coroutine[Any, Any, T]]) -> T:
    return running.with_explainer(running.settings(), work, eager=False)


followup.add(app, _over_cases)
commands.add(app)
working.add(app)


def main() -> None:
    """Entry point of the command."""
    app()


if __name__ == "__main__":
    main()
