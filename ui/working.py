"""Commands around the queue: worker, purge."""

from __future__ import annotations

import asyncio
import signal
from typing import TYPE_CHECKING, Annotated

import typer

from ui import running

if TYPE_CHECKING:
    from agent.service import Explainer


def add(app: typer.Typer) -> None:
    """Gives the commands to `app`."""
    for command in (worker, purge):
        app.command()(command)


def worker() -> None:
    """Examine queued cases, without page and API, until told to stop. Any number may run on one database."""
    settings = running.settings()

    async def work(explainer: Explainer) -> None:
        from agent import metrics
        from tools.errors import TryAgainError

        told = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, told.set)
        if not await explainer.until_on_duty():
            raise TryAgainError("This worker cannot take jobs.", remedy="Its log says why.", code="queue")
        with metrics.listening(settings.metrics_address):
            running.say("Exposit works jobs.")
            await told.wait()

    running.with_explainer(settings, work, serving=True, jobs=True)


def purge(
    older_than: Annotated[
        float | None, typer.Option(min=0, help="Days; EXPOSIT_RETENTION_DAYS when unset.", metavar="DAYS")
    ] = None,
    case: Annotated[str | None, typer.Option(help="Only this case.", metavar="ID")] = None,
    json: Annotated[bool, typer.Option("--json", help="Tell the outcome as JSON.")] = False,
) -> None:
    """Delete the originals and maps of old cases for good; reports, hashes and the audit trail stay."""
    done = running.with_explainer(
        running.settings(), lambda explainer: explainer.purge(older_than_days=older_than, case_id=case), eager=False
    )
    if json:
        running.say(done.model_dump_json())
        return
    kept = f" {done.shared} originals stay: other cases need them." if done.shared else ""
    running.say(f"{done.cases} cases purged, {done.files} files deleted.{kept}")
