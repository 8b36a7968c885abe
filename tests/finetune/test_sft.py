"""The trainer on tiny random models of two architectures."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from agent.prompt import CHAT_TEMPLATE, look_messages
from finetune.export import Recipe
from finetune.sft import TARGETS, Row, Student, read_rows, save, train, write_rows
from tests.agent import tiny_llava

RECIPE = Recipe(rank=4, alpha=8, targets=TARGETS)
REPLY = '{"observations":[],"answer":"photograph"}'


@pytest.fixture(autouse=True)
def _old_name() -> Any:
    with warnings.catch_warnings():
        # peft asks transformers for a property by its old name
        warnings.filterwarnings("ignore", "`is_gradient_checkpointing`", FutureWarning)
        yield


@pytest.fixture(scope="module")
def llava(tmp_path_factory: pytest.TempPathFactory) -> Path:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "`is_gradient_checkpointing`", FutureWarning)
        return tiny_llava.make(tmp_path_factory.mktemp("llava"))[0]


@pytest.fixture(scope="module")
def idefics3(llava: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random model of SmolVLM's first architecture."""
    import torch
    from transformers import AutoTokenizer, Idefics3Config, Idefics3ForConditionalGeneration, Idefics3Processor
    from transformers.models.idefics3.image_processing_pil_idefics3 import Idefics3ImageProcessorPil

    folder = tmp_path_factory.mktemp("idefics3")
    tokenizer = AutoTokenizer.from_pretrained(llava)
    processor = Idefics3Processor(
        Idefics3ImageProcessorPil(size={"longest_edge": 32}, max_image_size={"longest_edge": 32}),
        tokenizer, image_seq_len=4, chat_template=CHAT_TEMPLATE,
    )  # fmt: skip
    torch.manual_seed(0)
    config = Idefics3Config(
        vision_config={
            "hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 1,
            "image_size": 32, "patch_size": 8,
        },
        text_config={
            "model_type": "llama", "vocab_size": 512, "hidden_size": 64, "intermediate_size": 64,
            "num_hidden_layers": 1, "num_attention_heads": 1, "num_key_value_heads": 1, "pad_token_id": 0,
            "max_position_embeddings": 2048,
        },
        image_token_id=tokenizer.convert_tokens_to_ids("<image>"), scale_factor=2, pad_token_id=0,
    )  # fmt: skip
    Idefics3ForConditionalGeneration(config).save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder


def rows(folder: Path) -> list[Row]:
    picture = folder / "picture.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (32, 32, 3), dtype=np.uint8)).save(picture)
    return [
        Row("look", look_messages("", "the whole picture"), REPLY, picture=str(picture)),
        Row("answer", [{"role": "user", "content": "Is it real?"}], '{"sentences":[]}'),
    ]


@pytest.mark.parametrize("architecture", ["llava", "idefics3"])
def test_any_model_learns_the_reply_and_only_its_language_model_is_touched(
    architecture: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    student = Student(str(request.getfixturevalue(architecture)), RECIPE)
    trained = [name for name, value in student.model.named_parameters() if value.requires_grad]
    assert trained
    assert all("lora_" in name for name in trained)
    assert not [name for name in trained if "vision" in name or "projector" in name or "connector" in name]
    other = Row("answer", rows(tmp_path)[1].messages, "QXZ 98/76 ~~ WVUQ")
    before = float(student.loss(other)[0].detach())
    curve = train(student, rows(tmp_path), tmp_path / "run", minutes=5, rate=2e-2, gather=2, steps=25, seed=0)
    learnt = curve[0]["loss"] - curve[-1]["loss"]
    assert learnt > 0.3
    assert learnt > before - float(student.loss(other)[0].detach()) + 0.3  # what was taught, and not any text
    config = json.loads((tmp_path / "run" / "adapter" / "adapter_config.json").read_text())
    assert (config["r"], config["bias"], config["use_dora"]) == (4, "none", False)


def test_the_loss_is_on_the_reply_and_its_end_alone(llava: Path, tmp_path: Path) -> None:
    student = Student(str(llava), RECIPE)
    row = rows(tmp_path)[0]
    inputs, labels = student.inputs(row)
    said = labels[labels != -100].tolist()
    assert student.processor.tokenizer.decode(said) == REPLY + "<|im_end|>"
    assert labels.shape == inputs["input_ids"].shape
    assert (inputs["input_ids"] == student.processor.image_token_id).sum() == 16  # 4 x 4 patches


def test_a_template_of_a_hub_that_reads_lists_alone_loses_nothing(llava: Path, tmp_path: Path) -> None:
    student = Student(str(llava), RECIPE)
    student.processor.chat_template = (
        "{% for message in messages %}{{ message['role'].upper() }}: "
        "{% for part in message['content'] %}{% if part['type'] == 'image' %}<image>{% endif %}{% endfor %}"
        "{% for part in message['content'] %}{% if part['type'] == 'text' %}{{ part['text'] }}{% endif %}{% endfor %} "
        "{% endfor %}{% if add_generation_prompt %}ASSISTANT:{% endif %}"
    )  # as LLaVA-1.5 and SmolVLM have it
    look, ask = rows(tmp_path)
    for row, pictures in ((look, 16), (ask, 0)):
        ids = student.inputs(row)[0]["input_ids"]
        assert (ids == student.processor.image_token_id).sum() == pictures
        said = student.processor.tokenizer.decode(ids[0])
        for message in row.messages:
            content = message["content"]
            texts = [content] if isinstance(content, str) else [each["text"] for each in content if "text" in each]
            assert all(text in said for text in texts)


def test_cached_tokens_stand_for_the_picture(llava: Path, tmp_path: Path) -> None:
    import torch

    seen = rows(tmp_path)[0]
    plain = Student(str(llava), RECIPE)
    inputs, _ = plain.inputs(seen)
    inner = plain.model.get_base_model()
    states = inner.model.vision_tower(inputs["pixel_values"], output_hidden_states=True).hidden_states
    tokens = states[inner.config.vision_feature_layer][:, 1:].detach().float().numpy().astype(np.float16)
    plain.tokens = tokens
    cached = Row(seen.task, seen.messages, seen.reply, view=0)
    with torch.inference_mode():
        assert float(plain.loss(seen)[0]) == pytest.approx(float(plain.loss(cached)[0]), rel=0.02)


def test_a_run_goes_on_where_it_was_cut_short(llava: Path, tmp_path: Path) -> None:
    mine = rows(tmp_path)[1:]
    first = Student(str(llava), RECIPE)
    train(first, mine, tmp_path / "run", minutes=5, rate=1e-2, gather=1, steps=10, seed=0)
    again = Student(str(llava), RECIPE, adapter=tmp_path / "run" / "adapter")
    curve = train(again, mine, tmp_path / "run", minutes=5, rate=1e-2, gather=1, steps=13, seed=0, resume=True)
    assert [point["step"] for point in curve] == [*range(1, 14)]
    assert curve[10]["loss"] < curve[0]["loss"]


def test_rows_survive_their_file(tmp_path: Path) -> None:
    mine = rows(tmp_path)
    write_rows(tmp_path / "rows.jsonl", mine)
    assert read_rows(tmp_path / "rows.jsonl") == mine


def test_an_adapter_is_exported_without_a_path_of_the_machine(llava: Path, tmp_path: Path) -> None:
    from safetensors.numpy import save_file

    from agent.models import adapter, card
    from agent.prompt import PROMPT_VERSION
    from finetune.export import export

    student = Student(str(llava), RECIPE)
    save(student, tmp_path / "run", [])
    projector = tmp_path / "projector.safetensors"
    save_file({"linear_1.weight": np.ones((2, 2), np.float32)}, projector)
    export(tmp_path / "run", projector, tmp_path / "out", {"note": "a test"})
    assert str(llava) not in (tmp_path / "out" / "adapter" / "adapter_config.json").read_text()
    assert card(tmp_path / "out").prompt_version == PROMPT_VERSION
    found = adapter(tmp_path / "out")
    assert found is not None
    assert card(tmp_path / "out").adapter.sha256.startswith(found.revision)
