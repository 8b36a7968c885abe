"""`EmbeddedVision`: a language model in this process, where no server is to be had.

For now it is the bare SmolLM2-135M-Instruct, which sees no pixels and was not tuned for this work: it writes from the
text of the evidence, and what grounding refuses of it is dropped. It cannot keep to a form by itself, so the form is
written for it: for the verdict and for each of the weightiest tools it fills in one sentence, whose citation is given.
Decoding is greedy, so the same case gives the same sentences on the same machine.
"""

from __future__ import annotations

import asyncio
import json
import threading
import time
from pathlib import Path
from typing import Any

from agent.basis import VERDICT
from agent.models import LANGUAGE_MODEL, language_model_file
from agent.prompt import PROMPT_VERSION, Message, answer_messages, clean, narrate_messages, salvage
from agent.verdict import Contribution, Report, Sentence, Verdict, Writer
from tools.contract import Evidence
from tools.errors import ModelServerError

_Slot = tuple[str, str]
_MOST_SLOTS = 4
"""Sentences of one reply: each costs another reading of the case."""
_LONGEST_PROMPT = 1536


class EmbeddedVision:
    """A language model run by transformers in a thread, one reply at a time.

    Args:
        folder: Holds the model: a checkpoint, or the GGUF file named by `gguf`.
        gguf: Name of a GGUF file in `folder`; None for an ordinary checkpoint.
        model: Its name, for the log.
        revision: sha256 of the weights, for the log.
        timeout_s: Seconds that writing one reply may take; loading comes before.
        max_new_tokens: Longest sentence, in tokens.
    """

    def __init__(
        self,
        folder: Path,
        *,
        gguf: str | None = None,
        model: str = LANGUAGE_MODEL,
        revision: str | None = None,
        timeout_s: float = 30.0,
        max_new_tokens: int = 60,
    ) -> None:
        self._folder, self._gguf = folder, gguf
        self._name, self._revision = model, revision
        self._timeout_s, self._max_new_tokens = timeout_s, max_new_tokens
        self._loaded: tuple[Any, Any] | None = None
        self._lock = threading.Lock()

    @classmethod
    def from_cache(cls, cache: Path, *, timeout_s: float = 30.0) -> EmbeddedVision:
        """The pinned language model, checked by its hash.

        Raises:
            MissingWeightError: if it is not in the cache; names the command that gets it.
            IntegrityError: if the file is not the one that is pinned.
        """
        file, sha256 = language_model_file(cache)
        return cls(file.parent, gguf=file.name, revision=sha256, timeout_s=timeout_s)

    @property
    def can_look(self) -> bool:
        """Never: this is a language model alone."""
        return False

    async def writer(self) -> Writer:
        """Who this is."""
        return Writer(
            kind="embedded",
            model=self._name,
            revision=self._revision,
            prompt_version=PROMPT_VERSION,
            note="A language model in this process, not tuned for this work; it reads the evidence, not the picture.",
        )

    async def look(self, original: bytes) -> Evidence:
        """Raises ModelServerError: this model sees no pixels."""
        raise ModelServerError(
            "The embedded language model cannot look at pictures.", remedy="Serve a vision model.", code="cannot_look"
        )

    async def narrate(
        self, verdict: Verdict, evidence: tuple[Evidence, ...], contributions: tuple[Contribution, ...] = ()
    ) -> tuple[Sentence, ...]:
        """Writes the explanation from the text of the evidence."""
        slots = _slots(evidence, contributions)
        return await self._reply(narrate_messages(verdict, evidence, contributions), slots)

    async def answer(self, report: Report, question: str) -> tuple[Sentence, ...]:
        """Answers a question from the text of the evidence."""
        messages = answer_messages(report.verdict, report.evidence, report.contributions, question)
        return await self._reply(messages, _slots(report.evidence, report.contributions)[:2])

    async def close(self) -> None:
        """Lets the model go."""
        self._loaded = None

    async def _reply(self, messages: list[Message], slots: list[_Slot]) -> tuple[Sentence, ...]:
        sentences = salvage(await asyncio.to_thread(self._write, messages, slots))
        if not sentences:
            raise ModelServerError(
                "The embedded model wrote no sentence in the agreed form.", remedy="Set EXPOSIT_VLM=template.",
                code="model_reply",
            )  # fmt: skip
        return sentences

    def _write(self, messages: list[Message], slots: list[_Slot]) -> str:
        """The reply as JSON: the model writes each sentence up to the quotation mark that ends it."""
        import torch

        with self._lock:
            model, tokenizer = self._load()
            prompt = tokenizer.apply_chat_template(messages, add_generation_prompt=True, tokenize=False)
            ends = time.monotonic() + self._timeout_s
            reply = '{"sentences": ['
            for cite, role in slots:
                opened = reply + '{"text": "'
                inputs = tokenizer(prompt + opened, return_tensors="pt", add_special_tokens=False)
                length = inputs["input_ids"].shape[1]
                if length > _LONGEST_PROMPT:
                    raise ModelServerError(
                        f"The case is too long for the embedded model: {length} tokens, at most {_LONGEST_PROMPT}.",
                        remedy="Serve a model with a longer context, or set EXPOSIT_VLM=template.",
                        code="too_long",
                    )
                left = ends - time.monotonic()
                if left <= 0:
                    break
                with torch.inference_mode():
                    output = model.generate(
                        **inputs,
                        do_sample=False,
                        max_new_tokens=self._max_new_tokens,
                        max_time=left,
                        repetition_penalty=1.1,
                        stop_strings=['"'],
                        tokenizer=tokenizer,
                        pad_token_id=tokenizer.eos_token_id,
                    )
                text, closed, _ = str(tokenizer.decode(output[0, length:], skip_special_tokens=True)).partition('"')
                if closed and text.strip():
                    filled = {"text": clean(text), "cites": [cite], "role": role}
                    reply += json.dumps(filled, ensure_ascii=False) + ", "
            return reply.removesuffix(", ") + "]}"

    def _load(self) -> tuple[Any, Any]:
        if self._loaded is None:
            from transformers import AutoModelForCausalLM, AutoTokenizer
            from transformers.utils import logging

            logging.disable_progress_bar()
            where: dict[str, Any] = {"local_files_only": True}
            if self._gguf is not None:
                where["gguf_file"] = self._gguf
            tokenizer = AutoTokenizer.from_pretrained(str(self._folder), **where)
            model = AutoModelForCausalLM.from_pretrained(str(self._folder), **where).eval()
            self._loaded = (model, tokenizer)
        return self._loaded


def _slots(evidence: tuple[Evidence, ...], contributions: tuple[Contribution, ...]) -> list[_Slot]:
    """What each sentence is to rest on, and its role: the verdict, then the tools by weight."""
    weights = {entry.evidence_id: entry.decibans for entry in contributions}
    told = [item for item in evidence if item.findings]
    told.sort(key=lambda item: -abs(weights.get(item.id, 0.0)))
    slots: list[_Slot] = [(VERDICT, "answer")]
    slots += [(item.id, "reason") for item in told]
    return slots[:_MOST_SLOTS]
