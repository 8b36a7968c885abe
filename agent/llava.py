"""The composed vision-language model in this process: transformers loads it, peft adds the adapter.

It decodes greedily and is kept to the form of the reply (`agent.forms`). It looks in float32, as the server does on a
CPU, so that both give the same probabilities. Where it is told to (`light`) it writes with weights and activations in
8 bits (dynamic quantisation: Jacob et al. 2018, arXiv:1712.05877; a scale a row of each weight, one for the
activations of a step), which takes half the time on two cores and words a third of the sentences otherwise.
"""

from __future__ import annotations

import copy
import os
import threading
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

from agent.forms import Form, Vocabulary
from agent.prompt import Message
from agent.seeing import share
from agent.views import Pixels
from tools.errors import ModelServerError

if TYPE_CHECKING:
    import torch

LONGEST_PROMPT = 1536
"""Tokens of a prompt, those of the picture included; the server reads as many."""


class Written(NamedTuple):
    """A reply.

    Attributes:
        text: Whole JSON in the form, unless it was cut.
        p: What the model held of the answer's word (`agent.seeing.share`); None where the form has no such word.
        cut: Whether the limit of tokens or of time came before the end.
    """

    text: str
    p: float | None
    cut: bool


class Llava:
    """The model, loaded at its first use, one call at a time.

    Args:
        folder: The checkpoint with its processor and chat template.
        adapter: Folder of a LoRA adapter as peft writes it.
    """

    def __init__(self, folder: Path, adapter: Path | None = None) -> None:
        self._folder, self._adapter = folder, adapter
        self._lock = threading.Lock()
        self._loaded: Loaded | None = None
        self._light: Any = None
        self._begun: dict[tuple[str, bool], Any] = {}

    @property
    def loaded(self) -> bool:
        """Whether the model is in memory."""
        return self._loaded is not None

    def load(self, *, light: bool = False) -> Loaded:
        """The model; it is loaded, if it is not, and with `light` made ready to write in 8 bits as well."""
        with self._lock:
            loaded = self._open()
            if light:
                self._writer(light)
            return loaded

    def drop(self) -> None:
        """Lets the model go."""
        with self._lock:
            self._loaded = self._light = None
            self._begun.clear()

    def write(
        self,
        asked: Sequence[list[Message]],
        form: Form,
        *,
        pictures: Sequence[Pixels] = (),
        watch: str | None = None,
        bias: Mapping[int, float] = MappingProxyType({}),
        max_new_tokens: int,
        timeout_s: float,
        tell: Callable[[int, str], None] = lambda number, text: None,
        growing: Callable[[int, str], None] = lambda number, text: None,
        halted: threading.Event | None = None,
        light: bool = False,
    ) -> list[Written]:
        """Replies to each of several requests, decoded side by side.

        Args:
            asked: Messages as `agent.prompt` renders them, one list a request.
            form: What every reply is kept to.
            pictures: One for each request, SIDE x SIDE x 3, or none at all.
            watch: Name of the field whose value's probability is read.
            bias: Added to the logits of tokens, by their number.
            max_new_tokens: Longest reply, in tokens.
            timeout_s: Seconds that decoding may take.
            tell: Is told the number of each request and its reply, as soon as that is whole.
            growing: Is told the same of replies that are still being written, after each token.
            halted: Ends the work early once it is set.
            light: Writes in 8 bits; not with pictures.

        Raises:
            ModelServerError: for a request that is too long.
        """
        with self._lock:
            model, processor, vocabulary = self._open()
            texts = [processor.apply_chat_template(each, add_generation_prompt=True, tokenize=False) for each in asked]
            given = {"images": list(pictures)} if pictures else {}
            inputs = dict(processor(text=texts, return_tensors="pt", padding=True, add_special_tokens=False, **given))
            length = int(inputs["input_ids"].shape[1])
            if length > LONGEST_PROMPT:
                raise ModelServerError(
                    f"The case is too long for the model: {length} tokens, at most {LONGEST_PROMPT}.",
                    remedy="Serve a model with a longer context, or set EXPOSIT_VLM=template.",
                    code="too_long",
                )
            if not pictures:
                model = self._writer(light)
                opening = str(processor.apply_chat_template(asked[0][:1], tokenize=False))
                inputs = self._resumed(inputs, opening, light)
            end = int(processor.tokenizer.eos_token_id)
            course = _Course(form, vocabulary, watch, bias, length, len(texts), end)
            ends = time.monotonic() + timeout_s

            def said(row: torch.Tensor) -> str:
                return str(processor.tokenizer.decode(row[length:], skip_special_tokens=True))

            def over(ids: torch.Tensor, scores: object, **more: object) -> torch.Tensor:
                import torch

                for number in course.ended(ids):
                    tell(number, said(ids[number]))
                for number in course.open:
                    growing(number, said(ids[number]))
                late = time.monotonic() > ends or (halted is not None and halted.is_set())
                return torch.full((len(ids),), late, dtype=torch.bool)

            output = _generate(model, inputs, course, over, max_new_tokens)
            return [
                Written(said(row), p, cut=state != form.end)
                for row, p, state in zip(output, course.p, course.final(output), strict=True)
            ]

    def _writer(self, light: bool) -> Any:
        """The model as it writes without a picture."""
        if not light:
            return self._open().model
        if self._light is None:
            self._light = _in_8_bits(self._open().model)
        return self._light

    def _resumed(self, inputs: dict[str, Any], opening: str, light: bool) -> dict[str, Any]:
        """`inputs` with what the model made of `opening`, where every request begins with it; else as they are.

        Requests for sentences share their instruction, half of what there is to read: it is read once and kept.
        """
        import torch
        from transformers import DynamicCache

        writer, processor = self._writer(light), self._open().processor
        ids = processor.tokenizer(opening, return_tensors="pt", add_special_tokens=False)["input_ids"]
        size, mask = int(ids.shape[1]), inputs["attention_mask"]
        rows = [row[kept.bool()] for row, kept in zip(inputs["input_ids"], mask, strict=True)]
        if not all(len(row) > size and torch.equal(row[:size], ids[0]) for row in rows):
            return inputs
        if (opening, light) not in self._begun:
            cache = DynamicCache(config=writer.config.get_text_config())
            with torch.inference_mode():
                writer(input_ids=ids, past_key_values=cache, use_cache=True, logits_to_keep=1)
            self._begun = {key: kept for key, kept in self._begun.items() if key[0] == opening}  # the newest alone
            self._begun[opening, light] = cache
        cache = copy.deepcopy(self._begun[opening, light])
        cache.batch_repeat_interleave(len(rows))
        # The opening moves to the front of each row, so that the padding stands between it and the rest.
        moved, kept = inputs["input_ids"].clone(), torch.zeros_like(mask)
        for place, row in enumerate(rows):
            rest = len(row) - size
            moved[place, :-rest] = processor.tokenizer.pad_token_id
            moved[place, :size] = ids[0]
            kept[place, :size] = kept[place, -rest:] = 1
        return {"input_ids": moved, "attention_mask": kept, "past_key_values": cache}

    def _open(self) -> Loaded:
        if self._loaded is None:
            # Threads that wait for work by spinning starve the tools' workers, and are starved by them: three times
            # slower beside others, no faster alone. It is read when torch is first loaded.
            os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
            import torch
            from transformers import LlavaForConditionalGeneration, LlavaProcessor
            from transformers.utils import logging

            logging.disable_progress_bar()
            where: dict[str, Any] = {"local_files_only": True}
            processor = LlavaProcessor.from_pretrained(str(self._folder), **where)
            processor.tokenizer.padding_side = "left"
            model = LlavaForConditionalGeneration.from_pretrained(str(self._folder), dtype=torch.float32, **where)
            if self._adapter is not None:
                from peft import PeftModel

                with warnings.catch_warnings():
                    # peft asks transformers for a property by its old name
                    warnings.filterwarnings("ignore", "`is_gradient_checkpointing`", FutureWarning)
                    model = PeftModel.from_pretrained(model, str(self._adapter)).merge_and_unload()
            size = int(model.get_output_embeddings().weight.shape[0])
            self._loaded = Loaded(model.eval(), processor, Vocabulary(processor.tokenizer, size))
        return self._loaded


class Loaded(NamedTuple):
    """The model, its processor and its tokens."""

    model: Any
    processor: Any
    vocabulary: Vocabulary


def _in_8_bits(model: Any) -> Any:
    """`model` with its language model quantised; all else is shared with it. The model itself where the CPU cannot."""
    import torch

    if "fbgemm" not in torch.backends.quantized.supported_engines:
        return model
    with warnings.catch_warnings():
        # torch would have torchao instead, which is as fast only where it may compile
        warnings.filterwarnings("ignore", ".*torch.ao.quantization", DeprecationWarning)
        warnings.filterwarnings("ignore", "torch.quantize_per", UserWarning)
        from torch.ao.quantization import per_channel_dynamic_qconfig, quantize_dynamic

        how = {torch.nn.Linear: per_channel_dynamic_qconfig}
        language = quantize_dynamic(model.model.language_model, how)
        head = quantize_dynamic(torch.nn.Sequential(model.lm_head), how)[0]
    writer, inner = copy.copy(model), copy.copy(model.model)
    writer._modules, inner._modules = dict(model._modules), dict(model.model._modules)
    inner.language_model, writer.model, writer.lm_head = language, inner, head
    return writer


class _Course:
    """Where each reply stands in its form; called by transformers before each token."""

    def __init__(
        self, form: Form, vocabulary: Vocabulary, watch: str | None, bias: Mapping[int, float], length: int, rows: int,
        end_token: int,
    ) -> None:  # fmt: skip
        self._form, self._vocabulary = form, vocabulary
        self._watched = form.words.get(watch, set()) if watch is not None else set()
        self._bias, self._end_token = bias, end_token
        self._states = [form.start] * rows
        self._ended: set[int] = set()
        self._read = length
        self.p: list[float | None] = [None] * rows

    def __call__(self, ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        import torch

        self._follow(ids)
        if self._bias:
            scores = scores.clone()
            scores[:, list(self._bias)] += torch.tensor(list(self._bias.values()), dtype=scores.dtype)
        kept = torch.full_like(scores, float("-inf"))
        for row, state in enumerate(self._states):
            if state == self._form.end:
                kept[row, self._end_token] = 0.0
                continue
            allowed = torch.from_numpy((self._vocabulary.onward(self._form, state) >= 0).nonzero()[0])
            kept[row, allowed] = scores[row, allowed]
            if state in self._watched:
                chances = torch.softmax(kept[row, allowed].double(), dim=0)
                spelt = (self._vocabulary.spelling(int(token)).decode("ascii") for token in allowed)
                self.p[row] = share(zip(spelt, chances.tolist(), strict=True))
        return kept

    @property
    def open(self) -> list[int]:
        """Numbers of the replies that were not whole when they were last followed."""
        return [row for row, state in enumerate(self._states) if state != self._form.end]

    def ended(self, ids: torch.Tensor) -> list[int]:
        """Numbers of the replies that became whole since this was last asked."""
        self._follow(ids)
        new = [row for row, state in enumerate(self._states) if state == self._form.end and row not in self._ended]
        self._ended.update(new)
        return new

    def final(self, ids: torch.Tensor) -> list[int]:
        """The states after all tokens of `ids`."""
        self._follow(ids)
        return self._states

    def _follow(self, ids: torch.Tensor) -> None:
        for column in range(self._read, ids.shape[1]):
            for row, state in enumerate(self._states):
                if state != self._form.end:
                    self._states[row] = int(self._vocabulary.onward(self._form, state)[int(ids[row, column])])
        self._read = int(ids.shape[1])


def _generate(model: Any, inputs: Any, course: _Course, over: Any, max_new_tokens: int) -> Any:
    import torch
    from transformers import LogitsProcessorList, StoppingCriteriaList

    with torch.inference_mode():
        return model.generate(
            **inputs,
            do_sample=False,
            max_new_tokens=max_new_tokens,
            logits_processor=LogitsProcessorList([course]),
            stopping_criteria=StoppingCriteriaList([over]),
        )
