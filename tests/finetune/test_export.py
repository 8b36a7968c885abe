from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from agent import models
from finetune.export import RECIPE_FILE, Recipe, check, main
from finetune.sft import TARGETS
from tests.agent import tiny_llava
from tools.errors import ConfigurationError


def test_the_committed_recipe_passes() -> None:
    check(Recipe(rank=16, alpha=32, targets=TARGETS))
    check(Recipe(rank=16, alpha=32, targets=TARGETS, extra={"init_lora_weights": "gaussian", "bias": "none"}))


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"rank": 32}, "rank 32"),
        ({"rank": 0}, "rank 0"),
        ({"extra": {"use_dora": True}}, "use_dora"),
        ({"extra": {"bias": "all"}}, "bias 'all'"),
        ({"extra": {"modules_to_save": ["lm_head"]}}, "modules_to_save"),
        ({"extra": {"rank_pattern": {"q_proj": 4}}}, "rank_pattern"),
        ({"extra": {"lora_bias": True}}, "lora_bias"),
        ({"extra": {"use_qalora": True}}, "use_qalora"),
        ({"extra": {"alora_invocation_tokens": [1]}}, "alora_invocation_tokens"),
        ({"extra": {"init_lora_weights": "pissa"}}, "init_lora_weights 'pissa'"),
        ({"targets": r".*language_model.*"}, "embed_tokens"),
        ({"targets": r".*\.(q_proj|v_proj)"}, "vision_tower"),  # a list of suffixes hits the image tower
        ({"targets": r".*linear_1"}, "multi_modal_projector"),
        ({"targets": r"model\.nothing"}, "no layer of a language model"),
    ],
)
def test_what_vllm_cannot_serve_is_refused_by_name(change: dict[str, Any], named: str) -> None:
    with pytest.raises(ConfigurationError, match="vLLM cannot serve") as caught:
        check(Recipe(**({"rank": 16, "alpha": 32, "targets": TARGETS} | change)))
    assert named in str(caught.value)


def test_what_is_exported_is_what_the_service_finds_with_its_recipe_and_reserve(tmp_path: Path) -> None:
    tiny_llava.make(tmp_path / "run")
    run, out, told = tmp_path / "run", tmp_path / "vlm", tmp_path / "told.json"
    save_file({"linear_1.weight": torch.ones(2, 2)}, run / "projector.safetensors")
    (run / RECIPE_FILE).write_text(json.dumps({"rank": 4, "steps": 640}))
    told.write_text(json.dumps({"seed": 0}))
    main(["--run", str(run), "--data-card", str(told), "--out", str(out)])
    first = models.adapter(out)
    assert first is not None
    assert first.reserve == {}
    told.write_text(json.dumps({"reserve": {"77": 2.5}}))
    main(["--run", str(run), "--data-card", str(told), "--silence", str(told), "--out", str(out)])
    again, card = models.adapter(out), models.card(out)
    assert again is not None
    assert (again.revision, again.reserve) == (first.revision, {77: 2.5})
    assert card.training["recipe"] == {"rank": 4, "steps": 640}
    assert str(tmp_path) not in (out / "card.json").read_text() + (out / "adapter/adapter_config.json").read_text()
