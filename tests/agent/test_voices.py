from __future__ import annotations

import socket
from pathlib import Path

import pytest

from agent.models import states
from agent.scripted import ScriptedVision
from agent.settings import Settings
from agent.verdict import Sentence
from agent.vision import Vision
from agent.voices import choose_vision
from tests.agent.grounding_corpus import world
from tools.errors import ConfigurationError, MissingWeightError, ModelServerError


@pytest.mark.parametrize("vlm", ["auto", "template"])
async def test_the_template_is_chosen_with_the_reason(vlm: str, tmp_path: Path) -> None:
    vision, why = await choose_vision(Settings(vlm=vlm, cache=tmp_path))
    assert vision is None
    assert f"EXPOSIT_VLM={vlm}" in why
    assert "template" in why


async def test_an_embedded_model_that_is_not_here_is_named_with_the_command(tmp_path: Path) -> None:
    with pytest.raises(MissingWeightError) as caught:
        await choose_vision(Settings(vlm="embedded", cache=tmp_path))
    assert "SmolLM2-135M-Instruct.Q4_1.gguf" in str(caught.value)
    assert "exposit models pull" in str(caught.value)


async def test_a_server_that_does_not_answer_is_kept_and_said(tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}/v1"
        vision, why = await choose_vision(Settings(vlm=url, cache=tmp_path, vlm_timeout_s=5))
    assert isinstance(vision, Vision)
    assert not vision.can_look
    assert "cannot be reached" in why
    await vision.close()


async def test_a_word_that_is_no_choice_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError):
        await choose_vision(Settings(vlm="vllm", cache=tmp_path))


def test_weights_are_listed_with_their_state(tmp_path: Path) -> None:
    found = {item.name: item for item in states(tmp_path)}
    assert found["smollm2"].state == "missing"
    assert "pull" in found["smollm2"].note
    damaged = tmp_path / "weights" / found["smollm2"].file
    damaged.parent.mkdir()
    damaged.write_bytes(b"not the model")
    assert {item.name: item for item in states(tmp_path)}["smollm2"].state == "damaged"


async def test_a_scripted_model_says_what_it_was_told() -> None:
    made = world(1)
    line = Sentence(text="It is so.", cites=("verdict",))
    vision = ScriptedVision((line,))
    assert isinstance(vision, Vision)
    assert await vision.narrate(made.verdict, made.evidence) == (line,)
    assert not vision.can_look
    with pytest.raises(ModelServerError):
        await ScriptedVision(fails=ModelServerError("It is down.")).narrate(made.verdict, made.evidence)
