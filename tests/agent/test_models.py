from __future__ import annotations

import hashlib
import json
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from agent import models, tower
from agent.forms import form_of
from agent.llava import Llava
from agent.prompt import PROMPT_VERSION, Spoken
from agent.settings import Settings
from tests.agent import tiny_llava
from tools import weights
from tools.errors import IntegrityError, MissingWeightError


@pytest.fixture
def parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with card and projector, and a composition that costs nothing."""
    folder = tmp_path / "vlm"
    (folder / "adapter").mkdir(parents=True)
    pins = {}
    for name in ("projector.safetensors", "adapter/adapter_model.safetensors"):
        (folder / name).write_bytes(name.encode())
        digest = hashlib.sha256(name.encode()).hexdigest()
        pins[name] = {"file": name, "sha256": digest, "size": len(name)}
    card = {
        "projector": pins["projector.safetensors"], "adapter": pins["adapter/adapter_model.safetensors"],
        "prompt_version": PROMPT_VERSION, "training": {},
    }  # fmt: skip
    (folder / "card.json").write_text(json.dumps(card))

    def write(target: Path, *sources: Path) -> None:
        target.mkdir()
        (target / "model.safetensors").write_bytes(b"weights")

    monkeypatch.setattr(models, "_write", write)
    monkeypatch.setattr(weights, "verify", lambda name, cache: cache / name)
    return folder


def test_a_model_is_composed_once_and_checked_after(
    parts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = tmp_path / "cache"
    made = models.compose(cache, folder=parts)
    assert made == models.composed_folder(cache, parts)
    assert [each.name for each in cache.iterdir()] == [made.name]  # nothing half made is left
    monkeypatch.setattr(models, "_write", lambda *given: pytest.fail("composed twice"))
    assert models.compose(cache, folder=parts) == made
    (made / "model.safetensors").write_bytes(b"other weights")
    with pytest.raises(IntegrityError, match=r"model\.safetensors is not the file that was composed"):
        models.compose(cache, folder=parts)


def test_a_merged_model_says_what_base_and_adapter_say_together(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    base, tuned = tiny_llava.make(tmp_path)
    monkeypatch.setattr(models, "compose", lambda cache, *, folder: base)
    merged = models.merge(tmp_path, tuned)
    assert merged.name == "vlm-tiny+exposit@0123456789ab"
    asked = [[{"role": "user", "content": "What is it?"}]]
    options: dict[str, Any] = {"max_new_tokens": 24, "timeout_s": 60}
    together, alone = Llava(base, tuned.folder), Llava(base)
    assert Llava(merged).write(asked, form_of(Spoken), **options) == together.write(asked, form_of(Spoken), **options)
    assert Llava(merged).write(asked, form_of(Spoken), **options) != alone.write(asked, form_of(Spoken), **options)
    assert models.merge(tmp_path, tuned) == merged
    (merged / "model.safetensors").write_bytes(b"other weights")
    with pytest.raises(IntegrityError):
        models.merge(tmp_path, tuned)


def test_two_that_compose_at_once_both_succeed(parts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write, both = models._write, threading.Barrier(2)

    def slowly(target: Path, *sources: Path) -> None:
        write(target, *sources)
        both.wait(10)

    monkeypatch.setattr(models, "_write", slowly)
    made: list[Path] = []
    threads = [
        threading.Thread(target=lambda: made.append(models.compose(tmp_path / "cache", folder=parts))) for _ in range(2)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert made == [models.composed_folder(tmp_path / "cache", parts)] * 2


def test_another_projector_or_template_is_another_model(parts: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = models.revision(parts)
    monkeypatch.setattr(models, "CHAT_TEMPLATE", models.CHAT_TEMPLATE + " ")
    second = models.revision(parts)
    card = json.loads((parts / "card.json").read_text())
    card["projector"]["sha256"] = "0" * 64
    (parts / "card.json").write_text(json.dumps(card))
    assert len({first, second, models.revision(parts)}) == 3


def test_an_adapter_that_is_not_the_pinned_one_is_refused(parts: Path) -> None:
    found = models.adapter(parts)
    assert found is not None
    assert (found.name, found.revision) == ("exposit", models.card(parts).adapter.sha256[:12])
    (found.folder / "adapter_model.safetensors").write_bytes(b"another")
    with pytest.raises(IntegrityError, match="not the file that is pinned"):
        models.adapter(parts)
    (found.folder / "adapter_model.safetensors").unlink()
    with pytest.raises(MissingWeightError):
        models.adapter(parts)


def test_an_adapter_for_another_prompt_is_refused(parts: Path) -> None:
    card = json.loads((parts / "card.json").read_text()) | {"prompt_version": "0"}
    (parts / "card.json").write_text(json.dumps(card))
    with pytest.raises(IntegrityError, match="prompt version 0"):
        models.adapter(parts)


def test_the_shipped_projector_and_adapter_are_the_pinned_ones() -> None:
    shipped = models.card()
    assert shipped.prompt_version == PROMPT_VERSION
    assert models.adapter() is not None
    assert shipped.adapter is not None
    assert shipped.projector.size + shipped.adapter.size < 20_000_000
    for pin in (shipped.projector, shipped.adapter):
        assert hashlib.sha256((models.FOLDER / pin.file).read_bytes()).hexdigest() == pin.sha256


def test_every_weight_is_listed_with_the_composed_model(tmp_path: Path) -> None:
    found = {each.name: each for each in models.states(tmp_path)}
    assert {"clip", "smollm2", "vlm-projector", "vlm-adapter", "vlm"} <= set(found)
    assert (found["vlm"].state, found["clip"].state) == ("missing", "missing")
    assert "exposit models pull" in found["vlm"].note
    assert found["vlm-adapter"].state == "ready"
    assert "vlm-merged" not in found
    merged = tmp_path / f"{models.composed_folder(tmp_path).name}{models.MERGED}exposit@abc"
    merged.mkdir()
    assert {each.name: each.state for each in models.states(tmp_path)}["vlm-merged"] == "damaged"


def test_the_dequantised_tower_agrees_with_the_int8_one() -> None:
    import torch
    from transformers import CLIPVisionConfig, CLIPVisionModel

    from tools.clip import BLOCKS, Tower

    try:
        file = weights.path("clip", Settings().cache)
    except MissingWeightError as error:
        pytest.skip(str(error))
    config = CLIPVisionConfig(
        hidden_size=tower.WIDTH, intermediate_size=4 * tower.WIDTH, num_hidden_layers=max(BLOCKS),
        num_attention_heads=12, patch_size=tower.PATCH, image_size=tower.SIDE, hidden_act="quick_gelu",
    )  # fmt: skip
    with torch.device("meta"):
        model = CLIPVisionModel(config)
    read = tower.parameters(file, max(BLOCKS))
    model.load_state_dict({name: torch.from_numpy(value) for name, value in read.items()}, assign=True)
    y, x = np.mgrid[0:224, 0:224]
    view = np.stack([x, y, 255 - x], axis=-1).clip(0, 255).astype(np.uint8)
    mean, spread = np.array([0.48145466, 0.4578275, 0.40821073]), np.array([0.26862954, 0.26130258, 0.27577711])
    fed = torch.from_numpy(((view / 255 - mean) / spread).transpose(2, 0, 1)[None]).float()
    model.embeddings.position_ids = torch.arange(197)[None]  # a buffer that is not saved
    with torch.inference_mode():
        states = model.eval()(fed, output_hidden_states=True).hidden_states
    for block, token in zip(BLOCKS, Tower(file, 1).class_tokens(view), strict=True):
        ours = states[block][0, 0].numpy()
        assert ours @ token / np.linalg.norm(ours) / np.linalg.norm(token) > 0.96


def test_a_file_that_is_no_tower_is_refused(tmp_path: Path) -> None:
    import onnx

    empty = onnx.helper.make_model(onnx.helper.make_graph([], "empty", [], []))
    onnx.save(empty, tmp_path / "empty.onnx")
    with pytest.raises(IntegrityError, match="0 of the"):
        tower.parameters(tmp_path / "empty.onnx", 8)
