"""Who looks and narrates: the choice that `EXPOSIT_VLM` makes, and why it fell as it did."""

from __future__ import annotations

import asyncio

from agent.embedded import EmbeddedVision
from agent.served import ServedVision
from agent.settings import Settings
from agent.vision import Vision
from tools.errors import ModelServerError


async def choose_vision(settings: Settings) -> tuple[Vision | None, str]:
    """The model that `settings.vlm` names, or None for the plain template; and why, in plain English.

    `auto` takes the template: the embedded language model is not tuned for this work, and a template whose every
    sentence is grounded serves a reader better. A configured server that does not answer yet is kept: it is asked
    again at each case, and until it answers the template writes.

    Raises:
        ConfigurationError: if `settings.vlm` is neither a known word nor a URL.
        MissingWeightError: if the embedded model was asked for and its weights are not here.
        IntegrityError: if they are not the ones that are pinned.
    """
    match settings.vlm.strip():
        case "template":
            return None, "EXPOSIT_VLM=template: the plain template was asked for, and no model is used."
        case "auto" | "":
            return None, (
                "EXPOSIT_VLM=auto chose the plain template: no model server is configured, and the embedded language "
                "model is not tuned to write from evidence (EXPOSIT_VLM=embedded uses it all the same)."
            )
        case "embedded":
            embedded = await asyncio.to_thread(
                EmbeddedVision.from_cache, settings.cache, timeout_s=settings.vlm_timeout_s
            )
            return embedded, (
                "EXPOSIT_VLM=embedded: a bare language model in this process writes from the evidence; sentences that "
                "the evidence does not support are dropped. It cannot look at pictures."
            )
        case url:
            key = settings.vlm_api_key
            served = ServedVision(
                url,
                model=settings.vlm_model,
                api_key=key.get_secret_value() if key else None,
                timeout_s=settings.vlm_timeout_s,
            )
            try:
                model = await served.connect()
            except ModelServerError as error:
                return served, f"{error} It is asked again at each case; until it answers, the plain template writes."
            sees = "looks at pictures and writes" if served.can_look else "writes, and takes no pictures"
            return served, f"The model {model} served at {served.base_url} {sees}."
