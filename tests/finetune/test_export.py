from __future__ import annotations

from typing import Any

import pytest

from finetune.export import Recipe, check
from finetune.sft import TARGETS
from tools.errors import ConfigurationError


def test_the_committed_recipe_passes() -> None:
    check(Recipe(rank=16, alpha=32, targets=TARGETS))


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"rank": 32}, "rank 32"),
        ({"rank": 0}, "rank 0"),
        ({"extra": {"use_dora": True}}, "use_dora"),
        ({"extra": {"bias": "all"}}, "bias 'all'"),
        ({"extra": {"modules_to_save": ["lm_head"]}}, "modules_to_save"),
        ({"extra": {"rank_pattern": {"q_proj": 4}}}, "rank_pattern"),
        ({"targets": r".*\.(q_proj|v_proj)"}, "vision_tower"),  # a list of suffixes hits the image tower
        ({"targets": r".*linear_1"}, "multi_modal_projector"),
        ({"targets": r"model\.nothing"}, "no layer of a language model"),
    ],
)
def test_what_vllm_cannot_serve_is_refused_by_name(change: dict[str, Any], named: str) -> None:
    with pytest.raises(ConfigurationError, match="vLLM cannot serve") as caught:
        check(Recipe(**({"rank": 16, "alpha": 32, "targets": TARGETS} | change)))
    assert named in str(caught.value)
