"""Checks a recipe against what vLLM can serve, before training, and puts a trained model where the service finds it.

    python -m finetune.export --run RUN --projector PROJECTOR.safetensors --note note.json
"""

from __future__ import annotations

import re
from typing import Any

from tools.contract import Frozen
from tools.errors import ConfigurationError

MOST_RANK = 16
"""`--max-lora-rank` that the service starts vLLM with."""
_TAILS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")


class Recipe(Frozen):
    """What an adapter is made of.

    Attributes:
        targets: Regular expression over module names.
        extra: Any other setting of peft's LoraConfig, by its name.
    """

    rank: int
    alpha: int
    targets: str
    extra: dict[str, Any] = {}


def check(recipe: Recipe) -> None:
    """Refuses, before training starts, what vLLM could not serve afterwards.

    Raises:
        ConfigurationError: names every setting that is refused.
    """
    refused = []
    if not 1 <= recipe.rank <= MOST_RANK:
        refused.append(f"rank {recipe.rank} (1 to {MOST_RANK})")
    if recipe.extra.get("use_dora"):
        refused.append("use_dora")
    if recipe.extra.get("bias", "none") != "none":
        refused.append(f"bias {recipe.extra['bias']!r}")
    if recipe.extra.get("modules_to_save"):
        refused.append(f"modules_to_save {recipe.extra['modules_to_save']}")
    for name in ("rank_pattern", "alpha_pattern", "trainable_token_indices", "layer_replication"):
        if recipe.extra.get(name):
            refused.append(name)
    pattern = re.compile(recipe.targets)
    tower = ("model.vision_tower.encoder.layers.0.self_attn.q_proj", "model.visual.blocks.0.attn.proj",
             "model.vision_model.encoder.layers.0.mlp.fc1", "model.multi_modal_projector.linear_1", "lm_head")  # fmt: skip
    for name in tower:
        if pattern.fullmatch(name):
            refused.append(f"targets that hit {name}: vLLM serves adapters of the language model only")
    own = [f"model.language_model.layers.0.{part}.{tail}" for tail in _TAILS for part in ("self_attn", "mlp")]
    if not any(pattern.fullmatch(name) for name in own):
        refused.append("targets that hit no layer of a language model")
    if refused:
        raise ConfigurationError(
            f"vLLM cannot serve an adapter with: {'; '.join(refused)}.",
            remedy="Change the recipe before training: plain LoRA on the language model's attention and MLP.",
        )
