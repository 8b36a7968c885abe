"""`ServedVision`: a model behind any server that speaks the OpenAI chat API (vLLM, llama.cpp, a hosted one).

What comes back is asked for as JSON by `response_format` and validated all the same. Numbers are never taken from
prose: the probability of a look is read from the log-probabilities of its answer word, or the look abstains.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import time
from collections.abc import AsyncIterator, Awaitable, Coroutine, Iterable, Sequence
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeVar
from urllib.parse import urlsplit

from agent import models, outline, seeing
from agent.outline import Point
from agent.prompt import (
    PROMPT_VERSION,
    Look,
    Message,
    Reply,
    Spoken,
    look_messages,
    parse,
    response_format,
    sentence_messages,
)
from agent.proposing import LONGEST_PROPOSAL, proposal_messages, proposal_of
from agent.seeing import Looked
from agent.verdict import Contribution, PlanStep, Report, Sentence, Verdict, Writer
from agent.views import SIDE, View, views
from agent.vision import LONGEST_LOOK, LONGEST_SENTENCE, Tell, Told
from tools.contract import Evidence, Region
from tools.errors import ConfigurationError, IntegrityError, MissingWeightError, ModelServerError
from tools.image import DEFAULT_LIMITS, Limits

if TYPE_CHECKING:
    from openai import AsyncOpenAI

T = TypeVar("T")
_TOP: Final = 20
"""Log-probabilities that are asked for a token: as many as the API gives."""


class Server(Protocol):
    """A server that this service runs itself (`agent.serving`)."""

    @property
    def socket(self) -> str:
        """The Unix socket that it listens on."""
        ...

    def check(self) -> None:
        """Raises ModelServerError, which says why, while it cannot answer."""
        ...

    async def until_ready(self) -> None:
        """Waits until it can answer. Raises ModelServerError where that takes too long."""
        ...

    async def close(self) -> None:
        """Stops it."""
        ...


class ServedVision:
    """A model on a server.

    Args:
        base_url: Of the API; `/v1` is added where no path is given.
        model: Name to ask for; when None, the first adapter (`name@revision`) that the server lists, else its first.
        timeout_s: Seconds that one call may take, all told.
        limits: Of decoding.
        server: The server itself, where this service runs it: it is asked first whether it can answer, and it is
            stopped with the service.

    Raises:
        ConfigurationError: if `base_url` is not an http(s) URL.
    """

    def __init__(
        self,
        base_url: str,
        *,
        model: str | None = None,
        api_key: str | None = None,
        timeout_s: float = 30.0,
        limits: Limits = DEFAULT_LIMITS,
        server: Server | None = None,
    ) -> None:
        parts = urlsplit(base_url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ConfigurationError(
                f"“{base_url}” is not the address of a model server.",
                remedy="Set EXPOSIT_VLM to auto, served, embedded, template, or a URL such as http://127.0.0.1:8000/v1.",
            )
        self.base_url = base_url.rstrip("/") + ("/v1" if parts.path in ("", "/") else "")
        self._model = model
        self._base: str | None = None
        self._reserve: dict[int, float] = {}
        self._api_key = api_key
        self._timeout_s = timeout_s
        self._limits = limits
        self._server = server
        self._client: AsyncOpenAI | None = None
        self._sees = False
        self._connected = False
        self._connecting = asyncio.Lock()
        self._greeting: asyncio.Task[None] | None = None

    @property
    def can_look(self) -> bool:
        """Whether the server took a picture when it was first reached; False until then."""
        return self._sees

    def warm_up(self) -> None:
        """Connects, in the background, as soon as this service's own server answers."""
        if self._greeting is None:
            self._greeting = asyncio.create_task(self.until_ready(), name="greet-model-server")

    async def until_ready(self) -> None:
        """Returns once the model can reply, or has failed to come up; `writer` then says why."""
        with contextlib.suppress(ModelServerError):
            if self._server is not None:
                await self._server.until_ready()
            await self.connect()

    async def connect(self) -> str:
        """Reaches the server, settles the model's name and tries whether it takes pictures; returns the name.

        Raises:
            ModelServerError: if the server does not answer, or has no such model.
        """
        if self._server is not None:
            self._server.check()
        async with self._connecting:
            if self._connected and self._model is not None:
                return self._model
            parents = await self._guarded(self._list_models())
            listed = list(parents)
            if self._model is None:
                if not listed:
                    raise ModelServerError(f"{self._where} lists no model.", remedy="Start it with a model.")
                self._model = next((name for name in listed if "@" in name), listed[0])
            elif listed and self._model not in listed:
                raise ModelServerError(
                    f"{self._where} has no model named {self._model}.",
                    remedy=f"Set EXPOSIT_VLM_MODEL to one of: {', '.join(listed[:8])}.",
                )
            self._base = parents.get(self._model)
            self._reserve = _reserve_of(self._model)
            self._sees = await self._takes_pictures()
            self._connected = True
            return self._model

    async def writer(self) -> Writer:
        """Who this is.

        Raises:
            ModelServerError: where the server cannot be reached.
        """
        name = await self.connect()
        adapter, at, revision = name.partition("@")
        tuned = bool(at) and self._base is not None
        own = "The model is served by vLLM on this machine." if self._server is not None else ""
        return Writer(
            kind="served",
            model=self._base if tuned else name,
            adapter=adapter if tuned else None,
            revision=revision if tuned else None,
            prompt_version=PROMPT_VERSION,
            note=own or f"The model is served at {self.base_url}.",
        )

    async def look(self, original: bytes) -> Evidence:
        """Looks at the whole picture and at a fixed grid of native crops, blind to all other evidence."""
        begun = time.perf_counter()
        await self.connect()
        shown = await asyncio.to_thread(lambda: views(seeing.decoded(original, self._limits)))
        looked = await self._looked(shown)
        ms = (time.perf_counter() - begun) * 1000
        return seeing.evidence_of(shown, looked, version=self._version, weights={}, ms=ms)

    async def point(self, original: bytes, region: Region) -> Evidence:
        """Looks at one part of the picture that a tool or a person pointed at; its evidence is not blind."""
        begun = time.perf_counter()
        await self.connect()
        view = await asyncio.to_thread(lambda: seeing.part(seeing.decoded(original, self._limits), region))
        (looked,) = await self._looked([view])
        ms = (time.perf_counter() - begun) * 1000
        return seeing.evidence_of_part(view, looked, version=self._version, weights={}, ms=ms)

    async def narrate(
        self,
        verdict: Verdict,
        evidence: tuple[Evidence, ...],
        contributions: tuple[Contribution, ...] = (),
        tell: Tell | None = None,
        growing: Tell | None = None,
    ) -> tuple[Sentence, ...]:
        """Writes the explanation; `tell` is given each sentence as it comes, `growing` the first as it is written."""
        return await self._sentences(outline.explanation(verdict, evidence, contributions), None, tell, growing)

    async def answer(self, report: Report, question: str, tell: Tell | None = None) -> tuple[Sentence, ...]:
        """Answers a question from the case."""
        points = outline.reply(report.verdict, report.evidence, report.contributions, question)
        return await self._sentences(points, question, tell)

    async def propose(
        self, verdict: Verdict, evidence: tuple[Evidence, ...], options: tuple[PlanStep, ...]
    ) -> tuple[str, ...]:
        """Names of those of `options` that the model would make; this service's own was not tuned to propose any."""
        if self._server is not None:
            return ()
        await self.connect()
        shape = proposal_of([step.tool for step in options])
        messages = proposal_messages(verdict, evidence, options)
        choice = await self._guarded(self._complete(messages, shape, LONGEST_PROPOSAL))
        return tuple(parse(choice.message.content or "", shape).probes)

    async def close(self) -> None:
        """Closes the connections, and stops the server where it is this service's own."""
        if self._greeting is not None:
            self._greeting.cancel()
            await asyncio.gather(self._greeting, return_exceptions=True)
            self._greeting = None
        if self._client is not None:
            await self._client.close()
            self._client = None
        if self._server is not None:
            await self._server.close()

    @property
    def _where(self) -> str:
        return "The model server" if self._server is not None else f"The model server at {self.base_url}"

    @property
    def _version(self) -> str:
        base = f"{self._base}/" if self._base else ""
        return f"{base}{self._model}/prompt-{PROMPT_VERSION}"

    async def _looked(self, shown: list[View]) -> list[Looked]:
        return await _together(self._look_at(view) for view in shown)

    async def _look_at(self, view: View) -> Looked:
        messages = look_messages(seeing.data_url(view.pixels), seeing.shown_as(view))
        bias = {str(token): value for token, value in self._reserve.items()}
        more = {"logprobs": True, "top_logprobs": _TOP, "logit_bias": bias}
        choice = await self._guarded(self._complete(messages, Look, LONGEST_LOOK, **more))
        if choice.finish_reason == "length":
            raise ModelServerError(
                "The model's reply was cut off before its end.", remedy="Try again.", code="model_reply"
            )
        return Looked(parse(choice.message.content or "", Look), _probability(choice.logprobs))

    async def _sentences(
        self, points: Sequence[Point], question: str | None, tell: Tell | None, growing: Tell | None = None
    ) -> tuple[Sentence, ...]:
        await self.connect()
        told = Told(points, tell, growing)

        async def write(number: int, point: Point) -> None:
            messages = sentence_messages(point.line, point.manner, question)
            if growing is not None and number == 0:
                said = ""
                async for said in self._streamed(messages, Spoken, LONGEST_SENTENCE):
                    told.comes(number, said)
            else:
                said = (await self._complete(messages, Spoken, LONGEST_SENTENCE)).message.content or ""
            told.came(number, said)

        async def every() -> None:
            for first, some in outline.turns(points):
                await _together(write(number, point) for number, point in enumerate(some, first))

        await self._guarded(every())
        return told.whole()

    async def _complete(self, messages: list[Message], reply: type[Reply] | None, max_tokens: int, **more: Any) -> Any:
        done = await self._open().chat.completions.create(**self._request(messages, reply, max_tokens), **more)
        if not done.choices:
            raise ModelServerError("The model server sent no reply.", remedy="Try again.", code="model_reply")
        return done.choices[0]

    async def _streamed(self, messages: list[Message], reply: type[Reply], max_tokens: int) -> AsyncIterator[str]:
        """What there is of a reply, each time that more of it has come."""
        said = ""
        request = self._request(messages, reply, max_tokens)
        async with await self._open().chat.completions.create(**request, stream=True) as parts:
            async for part in parts:
                more = part.choices[0].delta.content if part.choices else None
                if more:
                    said += more
                    yield said
        if not said:
            raise ModelServerError("The model server sent no reply.", remedy="Try again.", code="model_reply")

    def _request(self, messages: list[Message], reply: type[Reply] | None, max_tokens: int) -> dict[str, Any]:
        form: dict[str, Any] = {"response_format": response_format(reply)} if reply is not None else {}
        return {
            "model": self._model or "", "messages": messages, "temperature": 0.0, "seed": 0, "max_tokens": max_tokens,
        } | form  # fmt: skip

    async def _list_models(self) -> dict[str, str | None]:
        """The models by name, and the base that each adapter belongs to.

        vLLM tells it as `parent`, or where the adapter was merged by the checkpoint's folder (`agent.models.merge`).
        """
        return {model.id: _base_of(model) async for model in self._open().models.list()}

    async def _takes_pictures(self) -> bool:
        import numpy as np

        grey = seeing.data_url(np.full((SIDE, SIDE, 3), 128, dtype=np.uint8))
        try:
            await self._guarded(self._complete(look_messages(grey, "a grey square"), None, 1))
        except ModelServerError as error:
            if error.code == "model_refused":
                return False
            raise
        return True

    def _open(self) -> AsyncOpenAI:
        if self._client is None:
            import httpx
            from openai import AsyncOpenAI

            transport = httpx.AsyncHTTPTransport(uds=self._server.socket) if self._server is not None else None
            # Retries are the graph's business: a client that retries on its own outlives its time limit.
            self._client = AsyncOpenAI(
                base_url=self.base_url,
                api_key=self._api_key or "none",
                max_retries=0,
                http_client=httpx.AsyncClient(transport=transport, timeout=self._timeout_s),
            )
        return self._client

    async def _guarded(self, call: Awaitable[T]) -> T:
        """Awaits `call` for at most the time limit, and turns what may go wrong into `ModelServerError`."""
        import httpx
        import openai

        try:
            async with asyncio.timeout(self._timeout_s):
                return await call
        except (TimeoutError, openai.APITimeoutError) as error:
            raise ModelServerError(
                f"{self._where} did not answer within {self._timeout_s:g} s.",
                remedy="Try again, or raise EXPOSIT_VLM_TIMEOUT_S.",
                code="model_timeout",
            ) from error
        except (openai.APIConnectionError, httpx.TransportError) as error:
            if self._server is not None:
                self._server.check()  # it may know why
            raise ModelServerError(
                f"{self._where} cannot be reached.", remedy="Check that it runs.", code="model_unreachable"
            ) from error
        except openai.APIStatusError as error:
            refused = 400 <= error.status_code < 500 and error.status_code not in (408, 429)
            raise ModelServerError(
                f"{self._where} answered with status {error.status_code}.",
                remedy="Check its log, its key (EXPOSIT_VLM_API_KEY) and model." if refused else "Try again.",
                code="model_refused" if refused else "model_server",
            ) from error
        except (openai.OpenAIError, ValueError) as error:
            raise ModelServerError(
                f"{self._where} sent what is not a reply of this API.", remedy="Check the address.", code="model_reply"
            ) from error


async def _together(calls: Iterable[Coroutine[Any, Any, T]]) -> list[T]:
    """What all of them give; where one fails the others are ended first, so that none still speaks afterwards."""
    tasks = [asyncio.ensure_future(each) for each in calls]
    try:
        return list(await asyncio.gather(*tasks))
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _base_of(model: Any) -> str | None:
    folder, merged, tuned = str(getattr(model, "root", None) or "").rpartition(models.MERGED)
    return getattr(model, "parent", None) or (folder.rpartition("/")[2] if merged and tuned == model.id else None)


def _reserve_of(model: str) -> dict[int, float]:
    """What is added to the logits of the adapter that is shipped; nothing for any other model."""
    with contextlib.suppress(MissingWeightError, IntegrityError):
        ours = models.adapter()
        if ours is not None and f"{ours.name}@{ours.revision}" == model:
            return ours.reserve
    return {}


def _probability(logprobs: Any) -> float | None:
    """The probability of `generated` against `photograph`, from the token with which the answer's value begins."""
    text = ""
    for token in getattr(logprobs, "content", None) or ():
        key = text.rfind(f'"{seeing.ANSWER}"')
        begun = text[key + len(seeing.ANSWER) + 2 :].lstrip().removeprefix(":").lstrip() if key >= 0 else None
        text += token.token
        # Where the quotation mark is a token of its own the value begins with the next.
        if begun == '"' or (begun == "" and token.token.strip().lstrip('"')):
            said = ((other.token.strip().lstrip('"'), math.exp(other.logprob)) for other in token.top_logprobs)
            read = seeing.share(said)
            if read is not None:
                return read
    return None
