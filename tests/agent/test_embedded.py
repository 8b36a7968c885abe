from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any

import pytest

from agent.embedded import EmbeddedVision
from agent.grounding import ground
from agent.models import language_model_file
from agent.settings import Settings
from agent.vision import Vision
from tests.agent.grounding_corpus import world
from tests.agent.test_template import report_of
from tools.errors import MissingWeightError, ModelServerError

MADE = world(5)
GOOD = {"text": "It remains open whether the picture was generated.", "cites": ["verdict"], "role": "answer"}


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random Llama of a few thousand parameters with a byte tokenizer, as an ordinary checkpoint."""
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    folder = tmp_path_factory.mktemp("tiny")
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {char: index for index, char in enumerate([*alphabet, "<|end|>"])}
    raw = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    raw.decoder = decoders.ByteLevel()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=raw, eos_token="<|end|>")
    tokenizer.chat_template = "{% for m in messages %}{{ m['role'] + ': ' + m['content'][:120] + '\n' }}{% endfor %}"
    tokenizer.save_pretrained(folder)
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(vocabulary), hidden_size=16, intermediate_size=32, num_hidden_layers=1, num_attention_heads=2,
        num_key_value_heads=1, eos_token_id=vocabulary["<|end|>"], bos_token_id=None, pad_token_id=None,
    )  # fmt: skip
    LlamaForCausalLM(config).save_pretrained(folder)
    return folder


async def test_what_a_model_that_babbles_writes_never_passes(tiny: Path) -> None:
    vision = EmbeddedVision(tiny, model="tiny", max_new_tokens=24)
    try:
        drafted = await vision.narrate(MADE.verdict, MADE.evidence, MADE.contributions)
    except ModelServerError as error:
        if error.code != "model_reply":
            raise
    else:
        assert not ground(drafted, MADE.verdict, MADE.contributions, MADE.evidence).kept
    await vision.close()


async def test_the_form_is_written_for_the_model(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    vision = EmbeddedVision(tiny, model="tiny", max_new_tokens=24)
    _, tokenizer = vision._load()
    said = iter(['The picture is "fake".', 'The spectrum shows peaks."', "cut sho", 'Noise."}]'])

    class Model:
        """Writes what it is told, after what it is given."""

        def generate(self, input_ids: Any, **_: Any) -> Any:
            import torch

            more = tokenizer(next(said), return_tensors="pt")["input_ids"]
            return torch.cat([input_ids, more], dim=1)

    monkeypatch.setattr(vision, "_loaded", (Model(), tokenizer))
    found = await vision.narrate(MADE.verdict, MADE.evidence, MADE.contributions)
    # up to its first quotation mark each; a sentence that was cut off is left out
    assert [each.text for each in found] == ["The picture is", "The spectrum shows peaks.", "Noise."]
    assert found[0].cites == ("verdict",)
    assert found[0].role == "answer"
    assert len({each.cites for each in found}) == 3


async def test_the_same_case_gives_the_same_text_off_the_event_loop(
    tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    vision = EmbeddedVision(tiny, model="tiny", max_new_tokens=24)
    written: list[tuple[str, int]] = []
    write = vision._write

    def watched(messages: Any, slots: Any) -> str:
        written.append((write(messages, slots), threading.get_ident()))
        return json.dumps({"sentences": [GOOD]})

    monkeypatch.setattr(vision, "_write", watched)
    for _ in range(2):
        sentences = await vision.narrate(MADE.verdict, MADE.evidence, MADE.contributions)
    assert [each.text for each in sentences] == [GOOD["text"]]
    assert written[0][0] == written[1][0]
    assert all(thread != threading.get_ident() for _, thread in written)
    assert isinstance(vision, Vision)
    assert vision.can_look is False
    writer = await vision.writer()
    assert (writer.kind, writer.model) == ("embedded", "tiny")
    with pytest.raises(ModelServerError):
        await vision.look(b"")


async def test_a_case_longer_than_the_model_reads_is_refused(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agent.embedded._LONGEST_PROMPT", 100)
    with pytest.raises(ModelServerError) as caught:
        await EmbeddedVision(tiny).narrate(MADE.verdict, MADE.evidence)
    assert caught.value.code == "too_long"


async def test_the_pinned_model_loads_and_its_sentences_go_through_grounding() -> None:
    settings = Settings()
    try:
        language_model_file(settings.cache)
    except MissingWeightError as error:
        pytest.skip(str(error))
    vision = EmbeddedVision.from_cache(settings.cache, timeout_s=60)
    report = report_of(MADE)
    try:
        drafted = await vision.answer(report, "Is it generated?")
    except ModelServerError as error:
        # the bare model need not keep to the form; that it says so is all that is asked of it
        if error.code not in ("model_reply", "model_timeout"):
            raise
        return
    found = ground(drafted, report.verdict, report.contributions, report.evidence)
    assert len(found.kept) + len(found.dropped) == len(drafted)
