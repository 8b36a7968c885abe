from __future__ import annotations

import socket
from pathlib import Path

import pytest

from agent import models, voices
from agent.embedded import EmbeddedVision
from agent.models import Adapter, states
from agent.scripted import ScriptedVision
from agent.served import ServedVision
from agent.settings import Settings
from agent.verdict import Sentence
from agent.vision import Vision
from agent.voices import choose_vision
from tests.agent.grounding_corpus import world
from tools.errors import ConfigurationError, MissingWeightError, ModelServerError


async def test_the_template_is_chosen_with_the_reason(tmp_path: Path) -> None:
    vision, why = await choose_vision(Settings(vlm="template", cache=tmp_path))
    assert vision is None
    assert "EXPOSIT_VLM=template" in why


async def test_auto_loads_no_model_for_a_single_run(fit: Path) -> None:
    vision, why = await choose_vision(Settings(vlm="auto", cache=fit))
    assert vision is None
    assert "EXPOSIT_VLM=auto chose the plain template" in why
    assert "single run" in why


@pytest.fixture
def fit(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A fit model: its parts are there, as far as the choice looks."""
    adapter = Adapter(folder=tmp_path, name="exposit", revision="abc")
    monkeypatch.setattr(models, "adapter", lambda: adapter)
    monkeypatch.setattr(models, "compose", lambda cache: tmp_path / "vlm-1")
    return tmp_path


@pytest.mark.parametrize(
    ("built", "kind", "because"), [(True, ServedVision, "environment stands"), (False, EmbeddedVision, "make vllm")]
)
async def test_auto_serves_where_it_can_and_says_why(
    fit: Path, monkeypatch: pytest.MonkeyPatch, built: bool, kind: type, because: str
) -> None:
    monkeypatch.setattr(voices, "interpreter", lambda: Path("/bin/false") if built else None)
    monkeypatch.setattr(EmbeddedVision, "warm_up", lambda self: None)
    vision, why = await choose_vision(Settings(vlm="auto", cache=fit, home=fit), serving=True)
    assert isinstance(vision, kind)
    assert because in why
    assert vision is not None
    await vision.close()


async def test_auto_goes_on_without_a_model_whose_parts_are_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fit: Path
) -> None:
    def missing(cache: Path) -> Path:
        raise MissingWeightError("The weight clip is not on this machine.", remedy="Run `exposit models pull clip`.")

    monkeypatch.setattr(models, "compose", missing)
    monkeypatch.setattr(voices, "interpreter", lambda: None)
    vision, why = await choose_vision(Settings(vlm="auto", cache=tmp_path), serving=True)
    assert vision is None
    assert "exposit models pull clip" in why


async def test_a_server_that_was_asked_for_needs_its_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(voices, "interpreter", lambda: None)
    with pytest.raises(ConfigurationError, match="make vllm"):
        await choose_vision(Settings(vlm="served", cache=tmp_path))


async def test_an_embedded_model_that_is_not_here_is_named_with_the_command(tmp_path: Path) -> None:
    with pytest.raises(MissingWeightError) as caught:
        await choose_vision(Settings(vlm="embedded", cache=tmp_path))
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
