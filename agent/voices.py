"""Who looks and narrates: the choice that `EXPOSIT_VLM` makes, and why it fell as it did."""

from __future__ import annotations

import asyncio

from agent import models
from agent.embedded import EmbeddedVision
from agent.served import ServedVision
from agent.serving import ModelServer, interpreter, shipped
from agent.settings import Settings
from agent.telemetry import log
from agent.vision import Vision
from tools.errors import ConfigurationError, ExpositError, ModelServerError
from tools.image import Limits


async def choose_vision(settings: Settings, *, serving: bool = False) -> tuple[Vision | None, str]:
    """The model that `settings.vlm` names, or None for the plain template; and why, in plain English.

    Args:
        settings: How this Exposit runs.
        serving: Whether it goes on to serve. For a single run `auto` takes the plain template: a model server takes a
            minute to start, and the model in process ten seconds, before the first picture.

    Raises:
        ConfigurationError: if `settings.vlm` is neither a known word nor a URL, or names what was not set up.
        MissingWeightError: if the model was asked for and a part of it is not here.
        IntegrityError: if a part is not the one that is pinned.
    """
    vision, why = await _chosen(settings, serving)
    log.info("narrator_chosen", why=why)
    return vision, why


async def _chosen(settings: Settings, serving: bool) -> tuple[Vision | None, str]:
    match settings.vlm.strip():
        case "template":
            return None, "EXPOSIT_VLM=template: the plain template was asked for, and no model is used."
        case "auto" | "":
            return await _auto(settings, serving)
        case "embedded":
            return await _embedded(settings, serving), (
                "EXPOSIT_VLM=embedded: the vision-language model runs in this process; sentences that the evidence "
                "does not support are dropped."
            )
        case "served":
            return await _served(settings), (
                "EXPOSIT_VLM=served: the vision-language model runs in a vLLM server that this service starts; until "
                "it answers, the plain template writes."
            )
        case url:
            return await _at(url, settings)


async def _auto(settings: Settings, serving: bool) -> tuple[Vision | None, str]:
    """A vLLM server where its environment stands, else the model in process; the template where neither will do."""
    try:
        if models.adapter() is None:
            return None, "EXPOSIT_VLM=auto chose the plain template: the vision-language model has no adapter."
        if not serving:
            return None, (
                "EXPOSIT_VLM=auto chose the plain template: for a single run no model is loaded (EXPOSIT_VLM=embedded "
                "does)."
            )
        if interpreter() is not None:
            return await _served(settings), (
                "EXPOSIT_VLM=auto chose a vLLM server, since its environment stands; until it answers, the plain "
                "template writes."
            )
        return await _embedded(settings, serving), (
            "EXPOSIT_VLM=auto chose the model in this process: the environment of a vLLM server was not built here "
            "(`make vllm`)."
        )
    except ExpositError as error:
        return None, f"EXPOSIT_VLM=auto chose the plain template: {error}"


async def _embedded(settings: Settings, serving: bool) -> EmbeddedVision:
    vision = await asyncio.to_thread(
        EmbeddedVision.from_cache, settings.cache, limits=_limits(settings), timeout_s=settings.vlm_timeout_s
    )
    if serving:
        vision.warm_up()
    return vision


async def _served(settings: Settings) -> ServedVision:
    python = interpreter()
    if python is None:
        raise ConfigurationError(
            "The environment of the vLLM server was not built here.",
            remedy="Run `make vllm`, or set EXPOSIT_VLM to embedded or template.",
        )
    server = ModelServer(python, lambda: shipped(python, settings.cache), home=settings.home)
    server.start()
    return ServedVision("http://localhost", timeout_s=settings.vlm_timeout_s, limits=_limits(settings), server=server)


async def _at(url: str, settings: Settings) -> tuple[ServedVision, str]:
    """A server that somebody else runs. One that does not answer yet is kept: it is asked again at each case."""
    key = settings.vlm_api_key
    served = ServedVision(
        url,
        model=settings.vlm_model,
        api_key=key.get_secret_value() if key else None,
        timeout_s=settings.vlm_timeout_s,
        limits=_limits(settings),
    )
    try:
        model = await served.connect()
    except ModelServerError as error:
        return served, f"{error} It is asked again at each case; until it answers, the plain template writes."
    sees = "looks at pictures and writes" if served.can_look else "writes, and takes no pictures"
    return served, f"The model {model} served at {served.base_url} {sees}."


def _limits(settings: Settings) -> Limits:
    return Limits(max_bytes=settings.max_upload_mb * 2**20, max_pixels=settings.max_pixels)
