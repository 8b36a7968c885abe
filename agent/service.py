"""Explainer: the one door of Exposit for every face.

A picture is stored by its hash, its case is opened in the log, and a task of its own examines it: a client that goes
away loses nothing. Whatever ends a case leaves a row that says how.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any, Final, Literal, Self

from pydantic import Field

from agent import answering, planning, telemetry, voices
from agent import calibration as calibrations
from agent.answering import Answer
from agent.audit import Entry, Head
from agent.blobs import BlobStore
from agent.calibration import Calibration
from agent.homelock import HomeLock
from agent.settings import Settings
from agent.state import Context, Level
from agent.stated import StatedClaim
from agent.store import Store
from agent.telemetry import log
from agent.template import TemplateNarrator
from agent.verdict import CaseSummary, ImageFacts, Label, Report
from agent.vision import Vision
from agent.worker import resolve
from agent.workers import Original, WorkerOptions, Workers
from tools.borrowed import use_inversion_model
from tools.contract import Detector, Frozen
from tools.errors import ConfigurationError, ExpositError, NotFoundError, OperatorError
from tools.image import Limits
from tools.provenance.trust import load_trust_list

if TYPE_CHECKING:
    from agent.graph import Graph

__all__ = ["Answer", "CaseSummary", "Event", "Explainer", "Submission"]

_TOLD_PACKAGES: Final = ("langgraph", "numpy", "pillow", "torch", "transformers", "onnxruntime", "c2pa-python")
_CLOSE_S: Final = 20.0
_SLOWEST_CASE: Final = timedelta(hours=1)


class Submission(Frozen):
    """What a face hands in: the bytes, the name they came under, where they came from, and what is said of them."""

    data: bytes
    name: str = "image"
    origin: Literal["upload", "url", "path", "chat"] = "upload"
    claim: StatedClaim | None = None


class Event(Frozen):
    """One step of a running examination; SSE and the chat render the same events.

    Attributes:
        kind: `opened` (case_id known), `step` (a node or tool began), `evidence` (a tool spoke), `verdict`,
            `sentence`, `report` (last; `data["report"]` is the Report as JSON).
        text: What to show, in plain English.
        data: What is behind it, as JSON: `step`, `evidence`, `verdict`, `sentence` or `report`.
    """

    kind: Literal["opened", "step", "evidence", "verdict", "sentence", "report"]
    case_id: str
    text: str
    data: dict[str, Any] = Field(default_factory=dict)


@dataclass(eq=False)
class _Running:
    """A case under examination, and what it has told so far."""

    case_id: str
    created_at: datetime
    level: Level
    name: str
    events: asyncio.Queue[Event | None] = field(default_factory=asyncio.Queue)

    def tell(self, kind: Literal["opened", "step", "evidence", "verdict", "sentence", "report"], text: str,
             data: dict[str, Any]) -> None:  # fmt: skip
        self.events.put_nowait(Event(kind=kind, case_id=self.case_id, text=text, data=data))


class Explainer:
    """Examines pictures, explains, answers, and logs. Use as `async with Explainer(settings) as explainer`.

    Args:
        settings: How this Exposit runs.
        catalogue: `module:function` that gives the detectors by name; workers import it too.
        vision: Who looks and narrates, in place of what `settings.vlm` chooses.
        calibration: In place of the file that ships.
        warm: Have each worker run every tool once at its start, so that the first picture does not wait for weights.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        catalogue: str = "tools.catalogue:detectors",
        vision: Vision | None = None,
        calibration: Calibration | None = None,
        warm: bool = True,
    ) -> None:
        self.settings = settings
        self._catalogue = catalogue
        self._vision, self._given_vision = vision, vision
        self._voice_because = ""
        self._given_calibration = calibration
        self._template = TemplateNarrator()
        self._warm = warm
        self._running: set[asyncio.Task[Report]] = set()
        self._lock: HomeLock | None = None

    async def __aenter__(self) -> Self:
        """Opens the log and starts the workers in the background.

        Raises:
            OperatorError: where a setting, the database, the catalogue or the calibration will not do.
        """
        settings = self.settings
        telemetry.configure(settings.log_level)
        trusted = load_trust_list(settings.trust_list)
        use_inversion_model(settings.inversion_model)  # planning asks here whether it is there; workers read it
        self._tools: Mapping[str, Detector] = await asyncio.to_thread(resolve, self._catalogue)
        self._calibration = self._given_calibration or calibrations.load()
        self._versions = _versions(self._tools, self._calibration) | {
            "trust_list": f"{trusted.name}:{trusted.sha256[:12]}"
        }
        try:
            self._originals = BlobStore(settings.home / "originals")
            self._maps = BlobStore(settings.home / "maps")
        except OSError as error:
            raise ConfigurationError(
                f"The folder of originals and maps cannot be used ({error.strerror}).",
                remedy="Set EXPOSIT_HOME to a folder that this user may write to.",
            ) from error
        self._store = await Store.open(settings.sqlalchemy_url)
        self._workers = Workers(
            WorkerOptions(
                catalogue=self._catalogue,
                workers=settings.workers,
                inversion_model=settings.inversion_model,
                timeout_s=settings.tool_timeout_s,
                memory_mb=settings.worker_memory_mb,
                limits=Limits(max_bytes=settings.max_upload_mb * 2**20, max_pixels=settings.max_pixels),
                trust_list=settings.trust_list,
                weights=settings.cache,
                warm=self._warm,
                talkative=settings.log_level == "debug",
            ),
            self._tools.values(),
        )
        # two pictures a worker: one is decoded and planned while the tools of the other run
        self._turn = asyncio.Semaphore(settings.workers * 2)
        try:
            await self._recover()
            if self._given_vision is None:
                self._vision, self._voice_because = await voices.choose_vision(settings)
        except BaseException:
            await self._store.close()
            if self._lock is not None:
                self._lock.release()
            raise
        self._workers.start()
        self._graph_task = asyncio.create_task(asyncio.to_thread(_graph, settings.vlm_timeout_s))
        return self

    async def __aexit__(self, *exc: object) -> None:
        """Waits a little for running cases (not after Ctrl-C), notes those that do not end, and stops the workers."""
        if self._running:
            hurried = isinstance(exc[1], asyncio.CancelledError | KeyboardInterrupt)
            _, late = await asyncio.wait(self._running, timeout=0 if hurried else _CLOSE_S)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)
        await self._workers.close()
        await asyncio.gather(self._graph_task, return_exceptions=True)
        if self._vision is not None and self._given_vision is None:
            await self._vision.close()
        await self._store.close()
        if self._lock is not None:
            self._lock.release()
            self._lock = None

    async def explain(self, submission: Submission, *, budget: Level | None = None) -> Report:
        """Examines one picture. Should the caller be cancelled, the examination goes on and is recorded.

        Raises:
            ImageError: where it cannot be judged; the refusal is recorded as a failed case.
            TryAgainError: where no worker or database answers.
        """
        _, task = self._launch(submission, budget)
        return await asyncio.shield(task)

    async def stream(self, submission: Submission, *, budget: Level | None = None) -> AsyncIterator[Event]:
        """The same, as events; the last one is the report. Leaving the stream early does not stop the case."""
        running, task = self._launch(submission, budget)
        while (event := await running.events.get()) is not None:
            yield event
        report = await asyncio.shield(task)
        yield Event(
            kind="report",
            case_id=running.case_id,
            text="The report is complete.",
            data={"report": report.model_dump(mode="json")},
        )

    async def ask(self, case_id: str, question: str) -> Answer:
        """Answers a question about a case. Raises NotFoundError."""
        report = await self._store.report(case_id)
        with telemetry.case_context(case_id, report.image.sha256):
            await self._store.add_message(case_id, "user", question)
            answer = await answering.answer(
                report,
                question,
                vision=self._vision,
                voice_because=self._voice_because,
                timeout_s=self.settings.vlm_timeout_s,
            )
            cites = dict.fromkeys(cite for sentence in answer.sentences for cite in sentence.cites)
            text = " ".join(sentence.text for sentence in answer.sentences)
            await self._store.add_message(case_id, "assistant", text, cites, answer.answered_by)
        return answer

    async def report(self, case_id: str) -> Report:
        """The stored report. Raises NotFoundError."""
        return await self._store.report(case_id)

    async def report_text(self, case_id: str) -> str:
        """The stored report as the very JSON that the audit trail holds the hash of. Raises NotFoundError."""
        return await self._store.report_text(case_id)

    async def audit_of(self, case_id: str) -> tuple[list[Entry], Head]:
        """The rows of the audit trail that tell of a case, oldest first, and the end of the trail."""
        return await self._store.audit_of(case_id)

    async def cases(
        self,
        *,
        limit: int = 50,
        before: datetime | None = None,
        sha256: str | None = None,
        label: Label | None = None,
    ) -> list[CaseSummary]:
        """The newest cases first."""
        return await self._store.cases(limit=limit, before=before, sha256=sha256, label=label)

    async def original(self, case_id: str) -> tuple[bytes, ImageFacts]:
        """The stored original. Raises NotFoundError."""
        facts = (await self._store.report(case_id)).image
        return await asyncio.to_thread(self._originals.get, facts.sha256), facts

    async def map_png(self, sha256: str) -> bytes:
        """A map that a tool drew. Raises NotFoundError."""
        if not await self._store.has_map(sha256):
            raise NotFoundError("No case has a map of that name.")
        return await asyncio.to_thread(self._maps.get, sha256)

    async def readiness(self) -> dict[str, str]:
        """`ok` (with more said after it, perhaps) or what is wrong, by part."""
        try:
            await self._store.ping()
            database = "ok"
        except ExpositError as error:
            database = str(error)
        narrator = f"ok (template: {self._voice_because})"
        if self._vision is not None:
            try:
                writer = await self._vision.writer()
                narrator = f"ok ({writer.kind}: {writer.model})"
            except ExpositError as error:
                narrator = str(error)
        weighed = ", ".join(sorted(self._calibration.weighted)) or "no tool has a weight"
        return {
            "database": database,
            "workers": self._workers.state,
            "narrator": narrator,
            "calibration": f"ok ({self._calibration.name}: {weighed})",
        }

    async def until_warm(self) -> None:
        """Returns once every worker is warm, or cannot start (`readiness` says which)."""
        await self._workers.until_warm()
        await asyncio.wait({self._graph_task})

    async def verify_audit(self) -> int:
        """Walks the audit chain and returns its length. Raises IntegrityError at the first row that does not hold."""
        return await self._store.verify_audit()

    async def _recover(self) -> None:
        """Marks what a killed process left running.

        With another process at this home, or a database that other machines share, only those cases are marked that
        are older than any case can be.
        """
        self._lock = HomeLock(self.settings.home)
        alone = self._lock.alone and self.settings.database_url is None
        found = await self._store.recover_interrupted(older_than=timedelta(0) if alone else _SLOWEST_CASE)
        if found:
            log.warning("cases_were_interrupted", cases=found)
        await asyncio.to_thread(self._lock.share)

    # -- one case ------------------------------------------------------------------------------------------------

    def _launch(self, submission: Submission, level: Level | None) -> tuple[_Running, asyncio.Task[Report]]:
        """Starts the task of a case. It belongs to the service, so that no caller's end is its end."""
        running = _Running(
            case_id=uuid.uuid4().hex[:20],
            created_at=datetime.now(UTC),
            level=level or self.settings.budget,
            name=_plain_name(submission.name),
        )
        task = asyncio.create_task(self._run(running, submission), name=f"case-{running.case_id}")
        self._running.add(task)

        def ended(task: asyncio.Task[Report]) -> None:
            self._running.discard(task)
            running.events.put_nowait(None)
            if not task.cancelled():
                task.exception()  # seen, even where the client has gone

        task.add_done_callback(ended)
        return running, task

    async def _run(self, running: _Running, submission: Submission) -> Report:
        """Stores, opens the row before anything is decoded, and examines; the row says how it ended."""
        try:
            sha256 = await asyncio.to_thread(self._originals.put, submission.data)
        except OSError as error:
            raise OperatorError(
                f"The original cannot be stored ({error.strerror}).",
                remedy="Make room in EXPOSIT_HOME.",
                code="storage",
            ) from error
        original = Original(path=self._originals.path(sha256).absolute(), sha256=sha256, name=running.name)
        with telemetry.case_context(running.case_id, sha256):
            await self._store.begin_case(
                running.case_id,
                name=running.name,
                origin=submission.origin,
                budget=running.level,
                sha256=sha256,
                bytes=len(submission.data),
                created_at=running.created_at,
                claim=submission.claim,
            )
            running.tell("opened", "The picture was stored and its case opened.", {"sha256": sha256})
            try:
                async with self._turn:
                    report = await self._examine(running, original, submission.claim)
            except ExpositError as error:
                log.info("case_failed", code=error.code)
                await self._fail(running, error.code, error.message)
                raise
            except asyncio.CancelledError:
                await self._fail(running, "interrupted", "The examination was interrupted: the service was stopped.")
                raise
            except Exception as error:
                log.error("case_broke", error=f"{type(error).__name__}: {error}")
                await self._fail(running, "internal", f"The examination failed ({type(error).__name__}).")
                raise
            log.info("case_done", label=report.verdict.label)
            return report

    async def _fail(self, running: _Running, code: str, message: str) -> None:
        try:
            await self._store.fail_case(running.case_id, code, message)
        except ExpositError as error:  # the next start marks it; the first error is the one to tell
            log.error("failure_not_recorded", error=str(error))

    async def _examine(self, running: _Running, original: Original, claim: StatedClaim | None) -> Report:
        running.tell("step", "Decoding the picture.", {"step": "inspect"})
        began = time.perf_counter()
        facts = await self._workers.inspect(original)
        inspect_ms = round((time.perf_counter() - began) * 1000, 1)
        await self._store.attach_image(running.case_id, facts)
        context = Context(
            case_id=running.case_id,
            created_at=running.created_at,
            original=original,
            budget=planning.budget_of(running.level),
            prior=self.settings.prior,
            tools=self._tools,
            workers=self._workers,
            vision=self._vision,
            voice_because=self._voice_because,
            template=self._template,
            calibration=self._calibration,
            originals=self._originals,
            maps=self._maps,
            store=self._store,
            versions=self._versions,
            inspect_ms=inspect_ms,
            claim=claim,
        )
        graph = await asyncio.shield(self._graph_task)
        last: Any = {}
        told: AsyncIterator[Any] = graph.astream(
            {"image": facts}, context=context, stream_mode=["custom", "values"]
        )  # pairs of mode and part; the library types them by another version
        async for mode, part in told:
            if mode == "custom":
                running.tell(part["kind"], part["text"], part["data"])
            else:
                last = part
        report: Report = last["report"]
        return report


def _plain_name(name: str) -> str:
    """A file's name without its folders, as text that every database and JSON can hold."""
    last = name.replace("\\", "/").rpartition("/")[2]
    return last.encode("utf-8", "replace").decode().replace("\0", "")[-255:] or "image"


def _graph(model_timeout_s: float) -> Graph:
    from agent.graph import build_graph  # takes a second to import, beside which the workers start

    return build_graph(model_timeout_s=model_timeout_s)


def _versions(tools: Mapping[str, Detector], calibration: Calibration) -> dict[str, str]:
    """Versions of everything that may speak in a report."""
    found = {"calibration": calibration.name}
    for package in ("exposit", *_TOLD_PACKAGES):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "not installed"
    return found | {f"tool:{tool.name}": tool.version for tool in tools.values()}
