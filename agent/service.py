"""Explainer: the one door of Exposit for every face.

A picture is stored by its hash, its case is opened in the log, and a task of its own examines it: a client that goes
away loses nothing. Whatever ends a case leaves a row that says how.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import datetime
from typing import TYPE_CHECKING, Self

from agent.afterwards import Message, ReportVersion, Review
from agent.answering import Answer
from agent.audit import Entry, Head
from agent.background import Background
from agent.batches import Batch, BatchItem, Link, Unreadable
from agent.calibration import Calibration
from agent.examining import Event, Examinations, Submission
from agent.history import CasePage, Filters
from agent.joblog import CaseState, Problem
from agent.keys import Keys
from agent.outside import Outside
from agent.parts import Parts
from agent.retention import Purged, not_purged
from agent.review import Decision, Reviews
from agent.settings import Settings
from agent.state import Level, Stakes
from agent.telemetry import log
from agent.verdict import CaseSummary, ImageFacts, Label, Report
from agent.vision import Vision, Warms
from tools.contract import Region
from tools.errors import ExpositError, NotFoundError

if TYPE_CHECKING:
    from agent.conversation import Conversations
    from agent.replay import Replay

__all__ = [
    "Answer", "Batch", "BatchItem", "CasePage", "CaseState", "CaseSummary", "Decision", "Event", "Explainer",
    "Filters", "Link", "Message", "Outside", "Problem", "Purged", "ReportVersion", "Review", "Submission",
    "Unreadable",
]  # fmt: skip


class Explainer(Background):
    """Examines pictures, explains, answers, and logs. Use as `async with Explainer(settings) as explainer`.

    Args:
        settings: How this Exposit runs.
        catalogue: `module:function` that gives the detectors by name; workers import it too.
        vision: Who looks and narrates, in place of what `settings.vlm` chooses.
        calibration: In place of the file that ships.
        warm: Have each worker run every tool once at its start, so that the first picture does not wait for weights.
        eager: Start the workers at once. Otherwise they start with the first picture: reading the log needs none.
        outside: The way out, for jobs. With it this process takes jobs from the queue; else it only puts them there.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        catalogue: str = "tools.catalogue:detectors",
        vision: Vision | None = None,
        calibration: Calibration | None = None,
        warm: bool = True,
        eager: bool = True,
        outside: Outside | None = None,
    ) -> None:
        self.settings = settings
        self._catalogue, self._given_vision, self._given_calibration = catalogue, vision, calibration
        self._warm, self._eager, self._outside = warm, eager, outside
        self._talks: Conversations | None = None

    async def __aenter__(self) -> Self:
        """Opens the log and starts the workers in the background.

        Raises:
            OperatorError: where a setting, the database, the catalogue or the calibration will not do.
        """
        self._parts = await Parts.open(
            self.settings,
            catalogue=self._catalogue,
            vision=self._given_vision,
            calibration=self._given_calibration,
            warm=self._warm,
        )
        self._cases = Examinations(self._parts)
        self._reviews = Reviews(self._parts.store, self._parts.threads)
        if self._eager:
            self._parts.start()
        if self._outside is not None:
            self._begin_jobs(self._outside)
        return self

    async def __aexit__(self, *exc: object) -> None:
        """Waits a little for running cases (not after Ctrl-C), notes those that do not end, and stops the workers."""
        if self._talks is not None:
            await self._talks.close()
        hurried = isinstance(exc[1], asyncio.CancelledError | KeyboardInterrupt)
        await asyncio.gather(self._end_jobs(hurried=hurried), self._cases.close(hurried=hurried))
        await self._parts.close()

    # -- examining ---------------------------------------------------------------------------------------------------

    async def explain(
        self, submission: Submission, *, budget: Level | None = None, stakes: Stakes = "ordinary"
    ) -> Report:
        """Examines one picture. Should the caller be cancelled, the examination goes on and is recorded.

        Args:
            submission: The picture.
            budget: What it may cost; the setting's when unset.
            stakes: What hangs on the answer. It has no say in the verdict: where it is high, a person may be asked.

        Raises:
            ImageError: where it cannot be judged; the refusal is recorded as a failed case.
            TryAgainError: where no worker or database answers.
        """
        _, task = self._cases.launch(submission, budget, stakes)
        return await self._with_review(await asyncio.shield(task))

    async def stream(
        self, submission: Submission, *, budget: Level | None = None, stakes: Stakes = "ordinary"
    ) -> AsyncIterator[Event]:
        """The same, as events; the last one is the report. Leaving the stream early does not stop the case."""
        running, task = self._cases.launch(submission, budget, stakes)
        while (event := await running.events.get()) is not None:
            yield event
        report = await self._with_review(await asyncio.shield(task))
        yield Event(
            kind="report",
            case_id=running.case_id,
            text="The report is complete.",
            data={"report": report.model_dump(mode="json")},
        )

    async def ask(
        self, case_id: str, question: str, *, region: Region | None = None, picture: Submission | None = None
    ) -> Answer:
        """Answers a question about a case, and does what it asks for.

        Args:
            case_id: The case.
            question: In plain words; data, never an instruction to change the verdict.
            region: A box that the person drew: the tools examine that part by itself.
            picture: A second picture to compare with.

        Raises:
            NotFoundError: if there is no such case, or it has no report.
            TryAgainError: where a database stays locked; what was examined until then is in the log.
        """
        if self._talks is None:
            from agent.conversation import Conversations  # takes a second to import

            self._talks = Conversations(self._parts, self._beside)
        return await self._talks.ask(case_id, question, region=region, picture=picture)

    async def _beside(self, picture: Submission, report: Report) -> Report:
        """Examines a second picture as a case of its own, under the budget of the first."""
        _, task = self._cases.launch(picture, report.budget)
        return await asyncio.shield(task)

    async def replay(self, case_id: str, *, current: bool = False, dry: bool = False) -> Replay:
        """Examines a stored original again, as its first report did, and says what differs.

        Args:
            case_id: The case.
            current: Use today's versions, whatever made the report.
            dry: Only compare versions; nothing is run.

        Raises:
            NotFoundError: if there is no such case, or it has no report.
            OperatorError: where other versions are installed than made the report, and `current` is not set.
        """
        from agent.replay import replay  # brings in the graph

        return await replay(self._parts, case_id, current=current, dry=dry)

    # -- people ------------------------------------------------------------------------------------------------------

    async def review(self, case_id: str, decision: Decision) -> Review:
        """Records what a person says of a case. The machine's verdict stays as it is.

        Raises:
            NotFoundError: if there is no such case, or it has no such report.
            CallerError: if the decision does not fit the report.
        """
        return await self._reviews.resume(case_id, decision)

    async def reviews(self, case_id: str | None = None) -> list[Review]:
        """What people said of a case, or of all, oldest first. Raises NotFoundError."""
        return await self._parts.store.reviews(case_id)

    async def waits(self, case_id: str) -> str | None:
        """Why that case waits for a person; None where it does not."""
        return await self._reviews.waiting(case_id)

    async def _with_review(self, report: Report) -> Report:
        """Has a thread wait for a person where the report asks for one."""
        if report.review_asked is not None and not report.unrecorded:
            try:
                await self._reviews.ask(report, report.review_asked)
            except ExpositError as error:  # the log says that the case waits, and `review` opens the thread
                log.error("review_thread_not_opened", error=str(error))
        return report

    # -- reading -----------------------------------------------------------------------------------------------------

    async def report(self, case_id: str, revision: int | None = None) -> Report:
        """A stored report, the newest unless told otherwise. Raises NotFoundError."""
        return await self._parts.store.report(case_id, revision)

    async def report_text(self, case_id: str, revision: int | None = None) -> str:
        """The same as the very JSON that was stored, which the audit trail holds the hash of. Raises NotFoundError."""
        return await self._parts.store.report_text(case_id, revision)

    async def audit_of(self, case_id: str) -> tuple[list[Entry], Head]:
        """The rows of the audit trail that tell of a case, oldest first, and the end of the trail."""
        return await self._parts.store.audit_of(case_id)

    async def versions(self, case_id: str) -> list[ReportVersion]:
        """Every report of a case in short, oldest first. Raises NotFoundError."""
        return await self._parts.store.versions(case_id)

    async def messages(self, case_id: str) -> list[Message]:
        """Questions and answers, oldest first. Raises NotFoundError."""
        return await self._parts.store.messages(case_id)

    async def cases(
        self,
        *,
        limit: int = 50,
        before: datetime | None = None,
        sha256: str | None = None,
        label: Label | None = None,
        waiting: bool = False,
    ) -> list[CaseSummary]:
        """The newest cases first, as one list; `history` gives pages, and can be asked for more."""
        return await self._parts.store.cases(limit=limit, before=before, sha256=sha256, label=label, waiting=waiting)

    async def original(self, case_id: str) -> tuple[bytes, ImageFacts]:
        """The stored original. Raises NotFoundError; `purged`, where it was deleted by policy."""
        facts = (await self._parts.store.report(case_id)).image
        await not_purged(self._parts.store.database, case_id)
        return await asyncio.to_thread(self._parts.originals.get, facts.sha256), facts

    async def map_png(self, sha256: str) -> bytes:
        """A map that a tool drew. Raises NotFoundError."""
        if not await self._parts.store.has_map(sha256):
            raise NotFoundError("No case has a map of that name.")
        return await asyncio.to_thread(self._parts.maps.get, sha256)

    @property
    def keys(self) -> Keys:
        """The keys of the API."""
        return self._parts.store.keys

    async def readiness(self) -> dict[str, str]:
        """`ok` (with more said after it, perhaps) or what is wrong, by part."""
        parts = self._parts
        try:
            depth = await self.queue_depth()
            queue = f"ok ({depth['queued']} waiting, {depth['running']} under way)"
            if self._duty is not None and self._duty.done() and self._duty.result() is None:
                queue = "This process takes no jobs: see its log."
            database = "ok"
        except ExpositError as error:
            database = queue = str(error)
        narrator = f"ok (template: {parts.voice_because})"
        if parts.vision is not None:
            try:
                writer = await parts.vision.writer()
                narrator = f"ok ({writer.kind}: {writer.model})"
            except ExpositError as error:
                narrator = str(error)
        weighed = ", ".join(sorted(parts.calibration.weighted)) or "no tool has a weight"
        return {
            "database": database,
            "queue": queue,
            "workers": parts.workers.state,
            "narrator": narrator,
            "calibration": f"ok ({parts.calibration.name}: {weighed})",
        }

    async def until_warm(self) -> None:
        """Returns once every worker and the model are warm, or cannot start (`readiness` says which)."""
        await self._parts.workers.until_warm()
        if isinstance(self._parts.vision, Warms):
            await self._parts.vision.until_ready()
        await self._parts.graph()

    async def verify_audit(self) -> int:
        """Walks the audit chain and returns its length. Raises IntegrityError at the first row that does not hold."""
        return await self._parts.store.verify_audit()
