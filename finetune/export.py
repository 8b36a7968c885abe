"""Checks a recipe against what vLLM can serve, before training, and puts a trained model where the service finds it.

    python -m finetune.export --run RUN --data-card BUILT/card.json --out FOLDER
    python -m finetune.silence --data DIR --vlm FOLDER --cache CACHE --out SILENCE.json
    python -m finetune.export --run RUN --data-card BUILT/card.json --curve RUN/curve.json --silence SILENCE.json

The card `agent/vlm/card.json` pins projector and adapter, and keeps the hashes of base and data, the prompt's version,
the recipe, the curves and the figures.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import Field

from agent.models import FOLDER, LANGUAGE_MODEL, Card, Pin
from agent.prompt import PROMPT_VERSION
from tools import weights
from tools.contract import Frozen
from tools.errors import ConfigurationError

ADAPTER_FILE, PROJECTOR_FILE = "adapter_model.safetensors", "projector.safetensors"
RECIPE_FILE = "recipe.json"
"""In a run folder: what `finetune.sft` was told."""
TERMS = (
    "Licence of projector and adapter: Apache-2.0. Weights only: no picture is part of them. The pictures they were "
    "trained on have terms of their own (data.licences), and several sources state none."
)
MOST_BYTES = 20_000_000
"""Of projector and adapter together."""
MOST_RANK = 16
"""`--max-lora-rank` that the service starts vLLM with."""
_TAILS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")

_PLAIN = (
    "use_rslora", "rank_pattern", "alpha_pattern", "trainable_token_indices", "layer_replication", "use_dora",
    "lora_bias", "use_qalora", "use_bdlora", "alora_invocation_tokens",
)  # fmt: skip
"""Settings of LoraConfig that must stay unset."""
_NOT_SERVED = (
    "model.vision_tower.encoder.layers.0.self_attn.q_proj", "model.visual.blocks.0.attn.proj",
    "model.vision_model.encoder.layers.0.mlp.fc1", "model.multi_modal_projector.linear_1", "lm_head",
    "model.language_model.embed_tokens", "model.language_model.norm", "model.language_model.layers.0.input_layernorm",
)  # fmt: skip
"""Modules that are no attention or MLP of the language model, by the names that some architectures give them."""
_INITS = ("gaussian", "eva", "orthogonal", "mica", "lora_ga")
"""Ways to begin an adapter that leave the base's weights as they are."""


class Recipe(Frozen):
    """What an adapter is made of.

    Attributes:
        targets: Regular expression over module names.
        extra: Any other setting of peft's LoraConfig, by its name.
    """

    rank: int
    alpha: int
    targets: str
    extra: dict[str, Any] = Field(default_factory=dict)


def check(recipe: Recipe) -> None:
    """Refuses, before training starts, what vLLM could not serve afterwards.

    Raises:
        ConfigurationError: names every setting that is refused.
    """
    refused = []
    if not 1 <= recipe.rank <= MOST_RANK:
        refused.append(f"rank {recipe.rank} (1 to {MOST_RANK})")
    begun = recipe.extra.get("init_lora_weights")
    if isinstance(begun, str) and begun.lower() not in _INITS:
        refused.append(f"init_lora_weights {begun!r}: it changes the base's weights")
    if recipe.extra.get("bias") not in (None, "none"):
        refused.append(f"bias {recipe.extra['bias']!r}")
    if recipe.extra.get("modules_to_save"):
        refused.append(f"modules_to_save {recipe.extra['modules_to_save']}")
    for name in _PLAIN:
        if recipe.extra.get(name):
            refused.append(name)
    pattern = re.compile(recipe.targets)
    for name in _NOT_SERVED:
        if pattern.fullmatch(name):
            refused.append(
                f"targets that hit {name}: vLLM serves adapters of the language model's attention and MLP only"
            )
    own = [f"model.language_model.layers.0.{part}.{tail}" for tail in _TAILS for part in ("self_attn", "mlp")]
    if not any(pattern.fullmatch(name) for name in own):
        refused.append("targets that hit no layer of a language model")
    if refused:
        raise ConfigurationError(
            f"vLLM cannot serve an adapter with: {'; '.join(refused)}.",
            remedy="Change the recipe before training: plain LoRA on the language model's attention and MLP.",
        )


def export(
    run: Path, projector: Path, target: Path, training: dict[str, Any], reserve: dict[int, float] | None = None
) -> Card:
    """Writes projector, adapter and card where the service finds them, in half precision; the card.

    The adapter's configuration loses the path of the base that it was trained on, and is checked once more.

    Raises:
        ConfigurationError: if the adapter is not what vLLM can serve.
    """
    from safetensors.torch import load_file, save_file

    raw = json.loads((run / "adapter" / "adapter_config.json").read_text(encoding="utf-8"))
    extra = {name: raw.get(name) for name in (*_PLAIN, "bias", "modules_to_save", "init_lora_weights")}
    check(Recipe(rank=raw["r"], alpha=raw["lora_alpha"], targets=raw["target_modules"], extra=extra))
    raw |= {"base_model_name_or_path": LANGUAGE_MODEL, "inference_mode": True, "revision": None}
    (target / "adapter").mkdir(parents=True, exist_ok=True)
    (target / "adapter" / "adapter_config.json").write_text(json.dumps(raw, indent=1, sort_keys=True) + "\n")
    pins = {}
    for source, name in ((run / "adapter" / ADAPTER_FILE, f"adapter/{ADAPTER_FILE}"), (projector, PROJECTOR_FILE)):
        halved = {key: value.half().contiguous() for key, value in sorted(load_file(source).items())}
        save_file(halved, target / name)
        data = (target / name).read_bytes()
        pins[name] = Pin(file=name, sha256=hashlib.sha256(data).hexdigest(), size=len(data))
    whole = sum(pin.size for pin in pins.values())
    if whole > MOST_BYTES:
        raise ConfigurationError(f"Projector and adapter take {whole} bytes.", remedy="Lower the rank.")
    base = {name: weights.weight(name).sha256 for name in ("clip", "smollm2")}
    card = Card(
        projector=pins[PROJECTOR_FILE], adapter=pins[f"adapter/{ADAPTER_FILE}"], prompt_version=PROMPT_VERSION,
        reserve=reserve or {},
        training={"base": base} | training,
    )  # fmt: skip
    (target / "card.json").write_text(json.dumps(card.model_dump(mode="json"), indent=1) + "\n", encoding="utf-8")
    return card


def thinned(curve: list[dict[str, float]], points: int = 40) -> list[dict[str, float]]:
    """A curve cut to about `points` points, each the mean of those it stands for."""
    step = max(1, len(curve) // points)
    out = []
    for begin in range(0, len(curve), step):
        part = curve[begin : begin + step]
        names = dict.fromkeys(name for each in part for name in each)
        point = {}
        for name in names:
            values = [each[name] for each in part if name in each]
            point[name] = values[-1] if name in ("step", "seconds", "epoch") else round(sum(values) / len(values), 4)
        out.append(point)
    return out


def main(argv: Sequence[str] | None = None) -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", type=Path, required=True, help="Run folder of finetune.sft.")
    parser.add_argument("--projector", type=Path, help="Where the run did not train it along.")
    parser.add_argument("--data-card", type=Path, required=True, help="card.json of finetune.data.")
    parser.add_argument("--curve", type=Path, action="append", default=[], help="Curves of all stages, in order.")
    parser.add_argument("--note", default="", help="How it was trained, in a sentence or two.")
    parser.add_argument("--figures", type=Path, action="append", default=[], help="What evals found of it.")
    parser.add_argument("--silence", type=Path, help="What finetune.silence chose, once it has read a first export.")
    parser.add_argument("--out", type=Path, default=FOLDER)
    args = parser.parse_args(argv)
    training: dict[str, Any] = {
        "note": args.note,
        "terms": TERMS,
        "data": json.loads(args.data_card.read_text(encoding="utf-8")),
    }
    training["recipe"] = json.loads((args.run / RECIPE_FILE).read_text(encoding="utf-8"))
    curves = [json.loads(file.read_text(encoding="utf-8")) for file in args.curve]
    training["curves"] = [thinned(each["curve"] if isinstance(each, dict) else each) for each in curves]
    training["figures"] = {file.stem: json.loads(file.read_text(encoding="utf-8")) for file in args.figures}
    reserve: dict[int, float] = {}
    if args.silence:
        training["silence"] = json.loads(args.silence.read_text(encoding="utf-8"))
        reserve = {int(token): value for token, value in training["silence"]["reserve"].items()}
    card = export(args.run, args.projector or args.run / PROJECTOR_FILE, args.out, training, reserve)
    print(card.model_dump_json(indent=1, exclude={"training"}))


if __name__ == "__main__":
    main()
