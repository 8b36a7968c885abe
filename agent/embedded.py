"""`EmbeddedVision`: the vision-language model in this process, where no server is to be had.

It is the same model as the server's (`agent.models`), with the same adapter, prompts and form of reply; all sentences
but the answer are written in 8 bits (`agent.llava`). Decoding is greedy, so the same case gives the same reply on the
same machine. One call runs at a time: the others wait.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from agent import models, outline, seeing
from agent.forms import form_of
from agent.outline import Point
from agent.prompt import (
    PROMPT_VERSION,
    Look,
    Message,
    Spoken,
    look_messages,
    parse,
    sentence_messages,
)
from agent.seeing import Looked
from agent.verdict import Contribution, Report, Sentence, Verdict, Writer
from agent.views import View, views
from agent.vision import LONGEST_LOOK, LONGEST_SENTENCE, Tell, Told
from tools.contract import Evidence, Region
from tools.errors import ModelServerError
from tools.image import DEFAULT_LIMITS, Limits

if TYPE_CHECKING:
    from agent.llava import Llava, Written

_T = TypeVar("_T")


def version_of(folder: Path, adapter: models.Adapter | None) -> str:
    """Version of the looks of a composed model with an adapter, or without one."""
    tuned = f"/{adapter.name}@{adapter.revision}" if adapter else ""
    return f"{folder.name}{tuned}/prompt-{PROMPT_VERSION}"


def looked(
    model: Llava,
    adapter: models.Adapter | None,
    shown: Sequence[View],
    *,
    timeout_s: float,
    halted: threading.Event | None = None,
) -> list[Looked]:
    """What the model says of each view, looked at side by side.

    Raises:
        ModelServerError: if a reply does not end in time.
    """
    # The picture is handed over beside the prompt; the address stands where a server would be given its bytes.
    written = model.write(
        [look_messages("view:", seeing.shown_as(view)) for view in shown],
        form_of(Look),
        pictures=[view.pixels for view in shown],
        watch=seeing.ANSWER,
        bias=adapter.reserve if adapter else {},
        max_new_tokens=LONGEST_LOOK,
        timeout_s=timeout_s,
        halted=halted,
    )
    if any(each.cut for each in written):
        raise ModelServerError("The model's reply was cut off before its end.", remedy="Try again.", code="model_reply")
    return [Looked(parse(each.text, Look), each.p) for each in written]


class EmbeddedVision:
    """The composed model run by transformers in a thread.

    Args:
        folder: The composed checkpoint (`agent.models.compose`).
        adapter: The trained adapter; without one the bare model replies, and says so.
        limits: Of decoding.
        timeout_s: Seconds that decoding one reply may take; loading comes before.
        light: Whether sentences other than the answer are written in 8 bits (`agent.llava`).
    """

    def __init__(
        self,
        folder: Path,
        adapter: models.Adapter | None = None,
        *,
        limits: Limits = DEFAULT_LIMITS,
        timeout_s: float = 30.0,
        light: bool = True,
    ) -> None:
        self._folder, self._adapter, self._light = folder, adapter, light
        self._limits, self._timeout_s = limits, timeout_s
        self._made: Llava | None = None
        self._turn = asyncio.Lock()
        self._loading: asyncio.Task[object] | None = None

    @classmethod
    def from_cache(cls, cache: Path, *, limits: Limits = DEFAULT_LIMITS, timeout_s: float = 30.0) -> EmbeddedVision:
        """The composed model, written to the cache where it is not there yet; and the adapter that is shipped.

        Raises:
            MissingWeightError: if a part is not in the cache; names the command that gets it.
            IntegrityError: if a part is not the one that is pinned.
        """
        return cls(models.compose(cache), models.adapter(), limits=limits, timeout_s=timeout_s)

    @property
    def can_look(self) -> bool:
        """Always."""
        return True

    def warm_up(self) -> None:
        """Begins to load the model, so that the first case need not wait for it."""
        if self._loading is None:
            self._loading = asyncio.create_task(
                asyncio.to_thread(self._model.load, light=self._light), name="load-model"
            )

    async def until_ready(self) -> None:
        """Returns once a load that was begun (`warm_up`) has ended; `writer` says how."""
        if self._loading is not None:
            await asyncio.wait({self._loading})

    async def writer(self) -> Writer:
        """Who this is.

        Raises:
            ModelServerError: while the model is being loaded ahead (`warm_up`).
            ExpositError: where that failed.
        """
        if self._loading is not None:
            if not self._loading.done():
                raise ModelServerError(
                    "The model is being loaded.", remedy="Try again in a moment.", code="model_starting"
                )
            self._loading.result()
        tuned = self._adapter is not None
        return Writer(
            kind="embedded",
            model=self._folder.name,
            adapter=self._adapter.name if self._adapter else None,
            revision=self._adapter.revision if self._adapter else None,
            prompt_version=PROMPT_VERSION,
            note="" if tuned else "The model has no adapter: it was not tuned for this work.",
        )

    async def look(self, original: bytes) -> Evidence:
        """Looks at the whole picture and at a fixed grid of native crops, blind to all other evidence."""
        begun = time.perf_counter()
        shown = await asyncio.to_thread(lambda: views(seeing.decoded(original, self._limits)))
        looked = await self._looked(shown)
        ms = (time.perf_counter() - begun) * 1000
        return seeing.evidence_of(shown, looked, version=self._version, weights=self._weights, ms=ms)

    async def point(self, original: bytes, region: Region) -> Evidence:
        """Looks at one part of the picture that a tool or a person pointed at; its evidence is not blind."""
        begun = time.perf_counter()
        view = await asyncio.to_thread(lambda: seeing.part(seeing.decoded(original, self._limits), region))
        (looked,) = await self._looked([view])
        ms = (time.perf_counter() - begun) * 1000
        return seeing.evidence_of_part(view, looked, version=self._version, weights=self._weights, ms=ms)

    async def narrate(
        self,
        verdict: Verdict,
        evidence: tuple[Evidence, ...],
        contributions: tuple[Contribution, ...] = (),
        tell: Tell | None = None,
        growing: Tell | None = None,
    ) -> tuple[Sentence, ...]:
        """Writes the explanation; `tell` is given each sentence as it ends, `growing` the first as it is written."""
        return await self._sentences(outline.explanation(verdict, evidence, contributions), None, tell, growing)

    async def answer(self, report: Report, question: str, tell: Tell | None = None) -> tuple[Sentence, ...]:
        """Answers a question from the case."""
        points = outline.reply(report.verdict, report.evidence, report.contributions, question)
        return await self._sentences(points, question, tell)

    async def close(self) -> None:
        """Lets the model go."""
        if self._loading is not None:
            await asyncio.gather(self._loading, return_exceptions=True)
            self._loading = None
        if self._made is not None:
            await asyncio.to_thread(self._made.drop)

    @property
    def _model(self) -> Llava:
        if self._made is None:
            from agent.llava import Llava

            self._made = Llava(self._folder, self._adapter.folder if self._adapter else None)
        return self._made

    @property
    def _version(self) -> str:
        return version_of(self._folder, self._adapter)

    @property
    def _weights(self) -> dict[str, str]:
        return {"vlm": self._folder.name} | ({"adapter": self._adapter.revision} if self._adapter else {})

    async def _looked(self, shown: list[View]) -> list[Looked]:
        return await self._in_thread(
            lambda halted: looked(self._model, self._adapter, shown, timeout_s=self._timeout_s, halted=halted)
        )

    async def _sentences(
        self, points: Sequence[Point], question: str | None, tell: Tell | None, growing: Tell | None = None
    ) -> tuple[Sentence, ...]:
        told = Told(points, tell, growing)
        for first, some in outline.turns(points):
            asked = [sentence_messages(point.line, point.manner, question) for point in some]
            # The answer is what a reader takes along, and without one that holds nothing is told.
            light = self._light and all(point.role != "answer" for point in some)
            for number, each in enumerate(await self._spoken(asked, first, told, light), first):
                told.came(number, each.text)
        return told.whole()

    async def _spoken(self, asked: list[list[Message]], first: int, told: Told, light: bool) -> list[Written]:
        """Replies with a sentence each, numbered from `first` on; `told` hears of every one as it grows and ends."""
        loop = asyncio.get_running_loop()

        def heard(number: int, text: str) -> None:
            loop.call_soon_threadsafe(told.came, first + number, text)

        def growing(number: int, text: str) -> None:
            loop.call_soon_threadsafe(told.comes, first + number, text)

        return await self._in_thread(
            lambda halted: self._model.write(
                asked,
                form_of(Spoken),
                max_new_tokens=LONGEST_SENTENCE,
                timeout_s=self._timeout_s,
                tell=heard,
                growing=growing,
                halted=halted,
                light=light,
            )
        )

    async def _in_thread(self, work: Callable[[threading.Event], list[_T]]) -> list[_T]:
        """Runs `work` off the event loop; where the caller is cancelled, the model stops at its next token."""
        halted = threading.Event()
        async with self._turn:  # who waits holds no thread, of which there are few
            try:
                return await asyncio.to_thread(work, halted)
            except asyncio.CancelledError:
                halted.set()
                raise
