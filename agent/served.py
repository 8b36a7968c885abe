"""`ServedVision`: a model behind any server that speaks the OpenAI chat API (vLLM, llama.cpp, a hosted one).

What comes back is asked for as JSON by `response_format` and validated all the same. Numbers are never taken from
prose: the probability of a look is read from the log-probabilities of its answer word, or the look abstains.
"""

from __future__ import annotations

import asyncio
import base64
import io
import math
import time
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from agent.prompt import (
    PROMPT_VERSION,
    Look,
    Message,
    Narration,
    R,
    Reply,
    answer_messages,
    look_messages,
    narrate_messages,
    parse,
    response_format,
)
from agent.proposing import LONGEST_PROPOSAL, proposal_messages, proposal_of
from agent.verdict import Contribution, PlanStep, Report, Sentence, Verdict, Writer
from tools.contract import Evidence, Finding, Region
from tools.errors import ConfigurationError, ModelServerError
from tools.image import SourceImage

if TYPE_CHECKING:
    from openai import AsyncOpenAI
    from PIL import Image

VIEW = 768
"""Longest side, in pixels, at which the whole picture is shown."""
CROP = 448
"""Side of the native crops, in pixels."""
_CELLS = {
    "top left": (0, 0), "top": (1, 0), "top right": (2, 0), "left": (0, 1), "centre": (1, 1), "right": (2, 1),
    "bottom left": (0, 2), "bottom": (1, 2), "bottom right": (2, 2),
}  # fmt: skip


class ServedVision:
    """A model on a server.

    Args:
        base_url: Of the API; `/v1` is added where no path is given.
        model: Name to ask for; the first that the server lists when None.
        timeout_s: Seconds that one call may take, all told.

    Raises:
        ConfigurationError: if `base_url` is not an http(s) URL.
    """

    def __init__(
        self, base_url: str, *, model: str | None = None, api_key: str | None = None, timeout_s: float = 30.0
    ) -> None:
        parts = urlsplit(base_url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ConfigurationError(
                f"“{base_url}” is not the address of a model server.",
                remedy="Set EXPOSIT_VLM to auto, embedded, template, or a URL such as http://127.0.0.1:8000/v1.",
            )
        self.base_url = base_url.rstrip("/") + ("/v1" if parts.path in ("", "/") else "")
        self._model = model
        self._api_key = api_key
        self._timeout_s = timeout_s
        self._client: AsyncOpenAI | None = None
        self._sees = False
        self._connected = False
        self._connecting = asyncio.Lock()

    @property
    def can_look(self) -> bool:
        """Whether the server took a picture when it was first reached; False until then."""
        return self._sees

    async def connect(self) -> str:
        """Reaches the server, settles the model's name and tries whether it takes pictures; returns the name.

        Raises:
            ModelServerError: if the server does not answer, or has no such model.
        """
        async with self._connecting:
            if self._connected and self._model is not None:
                return self._model
            listed = await self._guarded(self._list_models())
            if self._model is None:
                if not listed:
                    raise ModelServerError(
                        f"The model server at {self.base_url} lists no model.", remedy="Start it with a model."
                    )
                self._model = listed[0]
            elif listed and self._model not in listed:
                raise ModelServerError(
                    f"The model server at {self.base_url} has no model named {self._model}.",
                    remedy=f"Set EXPOSIT_VLM_MODEL to one of: {', '.join(listed[:8])}.",
                )
            self._sees = await self._takes_pictures()
            self._connected = True
            return self._model

    async def writer(self) -> Writer:
        """Who this is. Names the model once the server was reached."""
        return Writer(
            kind="served",
            model=self._model,
            prompt_version=PROMPT_VERSION,
            note=f"The model is served at {self.base_url}.",
        )

    async def look(self, original: bytes) -> Evidence:
        """Looks at the whole picture and at a fixed grid of native crops, blind to all other evidence."""
        begun = time.perf_counter()
        model = await self.connect()
        views = await asyncio.to_thread(_views, original)
        replies = await asyncio.gather(*(self._look_at(url, name) for name, url, _ in views))
        findings = []
        for (name, _, region), (reply, _) in zip(views, replies, strict=True):
            for seen in reply.observations:
                where = region if region is not None else _cell(seen.place)
                place = f" at the {where.place}" if where is not None else ""
                findings.append(
                    Finding(
                        text=f"The vision model reports {seen.kind}{place} ({name}).",
                        polarity="edited" if seen.kind == "pasted region" else "generated",
                        severity=seen.strength,
                        region=where,
                    )
                )
        whole = replies[0][1]
        fields: dict[str, Any] = {
            "id": "vision", "detector": "vision", "version": f"{model}/prompt-{PROMPT_VERSION}", "target": "generated",
            "findings": tuple(findings), "ms": (time.perf_counter() - begun) * 1000,
            "limits": ("A vision model can name what is not there; its observations are not calibrated.",),
        }  # fmt: skip
        if whole is None:
            return Evidence(
                abstained_because="The model server gives no log-probabilities, and a number in prose is not trusted.",
                **fields,
            )
        crops = [p for _, p in replies[1:] if p is not None]
        measured = {f"p_crop_{index}": round(p, 6) for index, p in enumerate(crops)}
        return Evidence(score=round(whole, 6), measurements=measured, **fields)

    async def narrate(
        self, verdict: Verdict, evidence: tuple[Evidence, ...], contributions: tuple[Contribution, ...] = ()
    ) -> tuple[Sentence, ...]:
        """Writes the explanation."""
        reply, _ = await self._ask(narrate_messages(verdict, evidence, contributions), Narration, 900)
        return reply.as_sentences()

    async def answer(self, report: Report, question: str) -> tuple[Sentence, ...]:
        """Answers a question from the case."""
        messages = answer_messages(report.verdict, report.evidence, report.contributions, question)
        reply, _ = await self._ask(messages, Narration, 500)
        return reply.as_sentences()

    async def propose(
        self, verdict: Verdict, evidence: tuple[Evidence, ...], options: tuple[PlanStep, ...]
    ) -> tuple[str, ...]:
        """Names of those of `options` that the model would make."""
        await self.connect()
        shape = proposal_of([step.tool for step in options])
        messages = proposal_messages(verdict, evidence, options)
        choice = await self._guarded(self._complete(messages, shape, LONGEST_PROPOSAL, False))
        return tuple(parse(choice.message.content or "", shape).probes)

    async def close(self) -> None:
        """Closes the connections."""
        if self._client is not None:
            await self._client.close()
            self._client = None

    async def _look_at(self, url: str, name: str) -> tuple[Look, float | None]:
        reply, logprobs = await self._ask(look_messages(url, name), Look, 400, logprobs=True)
        return reply, _probability(logprobs)

    async def _ask(
        self, messages: list[Message], reply: type[R], max_tokens: int, *, logprobs: bool = False
    ) -> tuple[R, Any]:
        await self.connect()
        choice = await self._guarded(self._complete(messages, reply, max_tokens, logprobs))
        if choice.finish_reason == "length":
            raise ModelServerError(
                "The model's reply was cut off before its end.", remedy="Try again.", code="model_reply"
            )
        return parse(choice.message.content or "", reply), choice.logprobs

    async def _complete(
        self, messages: list[Message], reply: type[Reply] | None, max_tokens: int, logprobs: bool
    ) -> Any:
        more: dict[str, Any] = {"response_format": response_format(reply)} if reply is not None else {}
        if logprobs:
            more |= {"logprobs": True, "top_logprobs": 20}
        done = await self._open().chat.completions.create(
            model=self._model or "", messages=messages, temperature=0.0, seed=0, max_tokens=max_tokens, **more
        )
        if not done.choices:
            raise ModelServerError("The model server sent no reply.", remedy="Try again.", code="model_reply")
        return done.choices[0]

    async def _list_models(self) -> list[str]:
        return [model.id async for model in self._open().models.list()]

    async def _takes_pictures(self) -> bool:
        try:
            await self._guarded(self._complete(look_messages(_grey_square(), "a grey square"), None, 1, False))
        except ModelServerError as error:
            if error.code == "model_refused":
                return False
            raise
        return True

    def _open(self) -> AsyncOpenAI:
        if self._client is None:
            from openai import AsyncOpenAI

            # Retries are the graph's business: a client that retries on its own outlives its time limit.
            self._client = AsyncOpenAI(
                base_url=self.base_url, api_key=self._api_key or "none", timeout=self._timeout_s, max_retries=0
            )
        return self._client

    async def _guarded(self, call: Any) -> Any:
        """Awaits `call` for at most the time limit, and turns what may go wrong into `ModelServerError`."""
        import openai

        where = f"The model server at {self.base_url}"
        try:
            async with asyncio.timeout(self._timeout_s):
                return await call
        except (TimeoutError, openai.APITimeoutError) as error:
            raise ModelServerError(
                f"{where} did not answer within {self._timeout_s:g} s.",
                remedy="Try again, or raise EXPOSIT_VLM_TIMEOUT_S.",
                code="model_timeout",
            ) from error
        except openai.APIConnectionError as error:
            raise ModelServerError(
                f"{where} cannot be reached.", remedy="Check that it runs.", code="model_unreachable"
            ) from error
        except openai.APIStatusError as error:
            refused = 400 <= error.status_code < 500 and error.status_code not in (408, 429)
            raise ModelServerError(
                f"{where} answered with status {error.status_code}.",
                remedy="Check its log, its key (EXPOSIT_VLM_API_KEY) and model." if refused else "Try again.",
                code="model_refused" if refused else "model_server",
            ) from error
        except (openai.OpenAIError, ValueError) as error:
            raise ModelServerError(
                f"{where} sent what is not a reply of this API.", remedy="Check the address.", code="model_reply"
            ) from error


def _views(original: bytes) -> list[tuple[str, str, Region | None]]:
    """(name, data URL, region) of the whole picture and, where it is large enough, of five native crops."""
    from PIL import Image

    picture = Image.fromarray(SourceImage.open(original).rgb)
    width, height = picture.size
    small = picture.copy()
    small.thumbnail((VIEW, VIEW))
    views: list[tuple[str, str, Region | None]] = [("the whole picture", _data_url(small), None)]
    if min(width, height) >= 2 * CROP:
        for fx, fy in ((0.25, 0.25), (0.75, 0.25), (0.5, 0.5), (0.25, 0.75), (0.75, 0.75)):
            left, top = int(fx * width - CROP / 2), int(fy * height - CROP / 2)
            box = (left, top, left + CROP, top + CROP)
            region = Region.from_pixels(*box, size=picture.size)
            views.append((f"a native crop at the {region.place}", _data_url(picture.crop(box)), region))
    return views


def _data_url(picture: Image.Image) -> str:
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()


def _grey_square() -> str:
    from PIL import Image

    return _data_url(Image.new("RGB", (32, 32), (128, 128, 128)))


def _cell(place: str) -> Region | None:
    if place not in _CELLS:
        return None
    column, row = _CELLS[place]
    return Region(
        x0=round(column / 3, 6), y0=round(row / 3, 6), x1=round((column + 1) / 3, 6), y1=round((row + 1) / 3, 6)
    )


def _probability(logprobs: Any) -> float | None:
    """The probability of `generated` against `photograph`, from the token with which the answer's value begins."""
    tokens = getattr(logprobs, "content", None)
    if not tokens:
        return None
    text = ""
    for token in tokens:
        key = text.rfind('"answer"')
        begun = text[key + len('"answer"') :].lstrip().removeprefix(":").lstrip() if key >= 0 else None
        text += token.token
        if begun not in ('"', ""):
            continue
        mass = {"generated": 0.0, "photograph": 0.0}
        for other in token.top_logprobs:
            said = other.token.strip().lstrip('"').lower()
            for word in mass:
                if said and word.startswith(said):
                    mass[word] += math.exp(other.logprob)
        total = sum(mass.values())
        if total > 0:
            return mass["generated"] / total
    return None
