"""The opened parts of one Exposit: what an examination, a conversation, a review and a replay work with."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Final, Self

from agent import calibration as calibrations
from agent import probes, telemetry, voices
from agent.blobs import BlobStore
from agent.calibration import Calibration
from agent.homelock import HomeLock
from agent.queueing import Queue
from agent.settings import Settings
from agent.store import Store
from agent.telemetry import log
from agent.template import TemplateNarrator
from agent.threads import Threads
from agent.versions import installed
from agent.vision import Vision
from agent.worker import resolve
from agent.workers import WorkerOptions, Workers
from tools.borrowed import use_inversion_model
from tools.contract import Detector
from tools.errors import ConfigurationError
from tools.image import Limits
from tools.provenance.trust import load_trust_list

if TYPE_CHECKING:
    from agent.graph import Graph

_SLOWEST_CASE: Final = timedelta(hours=1)


@dataclass(eq=False, kw_only=True)
class Parts:
    """What is open while an Explainer is entered. Made by `Parts.open`.

    Attributes:
        tools: The catalogue by name.
        versions: Of everything that may speak in a report.
        vision: Who looks and narrates, where there is a model; `voice_because` says why it is this one, or none.
        turn: Lets so many pictures be examined at a time.
    """

    settings: Settings
    tools: Mapping[str, Detector]
    calibration: Calibration
    versions: Mapping[str, str]
    originals: BlobStore
    maps: BlobStore
    store: Store
    threads: Threads
    line: Queue
    workers: Workers
    turn: asyncio.Semaphore
    vision: Vision | None
    voice_because: str
    template: TemplateNarrator = field(default_factory=TemplateNarrator)
    _closes_vision: bool = False
    _lock: HomeLock | None = None
    _graph: asyncio.Task[Graph] | None = None

    @classmethod
    async def open(
        cls,
        settings: Settings,
        *,
        catalogue: str,
        vision: Vision | None,
        calibration: Calibration | None,
        warm: bool,
    ) -> Self:
        """Opens the log and loads what is small; workers are started by `start`.

        Raises:
            OperatorError: where a setting, the database, the catalogue or the calibration will not do.
        """
        telemetry.configure(settings.log_level)
        trusted = load_trust_list(settings.trust_list)
        use_inversion_model(settings.inversion_model)  # planning asks here whether it is there; workers read it
        tools = await asyncio.to_thread(resolve, catalogue)
        weights = calibration or calibrations.load()
        try:
            settings.home.mkdir(mode=0o700, parents=True, exist_ok=True)  # pictures and reports are nobody else's
            originals, maps = BlobStore(settings.home / "originals"), BlobStore(settings.home / "maps")
        except OSError as error:
            raise ConfigurationError(
                f"The folder of originals and maps cannot be used ({error.strerror}).",
                remedy="Set EXPOSIT_HOME to a folder that this user may write to.",
            ) from error
        store = await Store.open(settings.sqlalchemy_url)
        lock = None
        try:
            lock = await _recovered(settings, store)
            because = ""
            if chosen := vision is None:
                vision, because = await voices.choose_vision(settings, serving=warm)
        except BaseException:
            await store.close()
            if lock is not None:
                lock.release()
            raise
        options = WorkerOptions(
            catalogue=catalogue,
            workers=settings.workers,
            inversion_model=settings.inversion_model,
            timeout_s=settings.tool_timeout_s,
            memory_mb=settings.worker_memory_mb,
            limits=Limits(max_bytes=settings.max_upload_mb * 2**20, max_pixels=settings.max_pixels),
            trust_list=settings.trust_list,
            weights=settings.cache,
            warm=warm,
            talkative=settings.log_level == "debug",
        )
        return cls(
            settings=settings,
            tools=tools,
            calibration=weights,
            versions=installed(tools, weights) | {"trust_list": f"{trusted.name}:{trusted.sha256[:12]}"},
            originals=originals,
            maps=maps,
            store=store,
            threads=Threads(settings.sqlalchemy_url),
            line=Queue(settings.sqlalchemy_url),
            workers=Workers(options, tools.values(), probes.loads(tools, weights)),
            # two pictures a worker: one is decoded and planned while the tools of the other run
            turn=asyncio.Semaphore(settings.workers * 2),
            vision=vision,
            voice_because=because,
            _closes_vision=chosen,
            _lock=lock,
        )

    def start(self) -> None:
        """Starts the workers and the making of the graph, both in the background; a second call does nothing."""
        if self._graph is None:
            self.workers.start()
            self._graph = asyncio.create_task(asyncio.to_thread(_graph, self.settings.vlm_timeout_s))

    async def graph(self) -> Graph:
        """The graph of an examination, once it is made."""
        self.start()
        assert self._graph is not None  # noqa: S101  # `start` has set it
        return await asyncio.shield(self._graph)

    async def close(self) -> None:
        """Ends the workers and closes everything that is open."""
        await self.workers.close()
        if self._graph is not None:
            await asyncio.gather(self._graph, return_exceptions=True)
        if self.vision is not None and self._closes_vision:
            await self.vision.close()
        await self.threads.close()
        await self.line.close()
        await self.store.close()
        if self._lock is not None:
            self._lock.release()
            self._lock = None


async def _recovered(settings: Settings, store: Store) -> HomeLock:
    """Marks what a killed process left running, and returns the lock on the home.

    With another process at this home, or a database that other machines share, only those cases are marked that are
    older than any case can be.
    """
    lock = HomeLock(settings.home)
    alone = lock.alone and settings.database_url is None
    found = await store.recover_interrupted(older_than=timedelta(0) if alone else _SLOWEST_CASE)
    if found:
        log.warning("cases_were_interrupted", cases=found)
    await asyncio.to_thread(lock.share)
    return lock


def _graph(model_timeout_s: float) -> Graph:
    from agent.graph import build_graph  # takes a second to import, beside which the workers start

    return build_graph(model_timeout_s=model_timeout_s)
