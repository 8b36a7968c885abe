"""Which weights the agent's own models need, whether they are here, and the composition of the vision-language model.

The model is of the LLaVA architecture: the image tower of CLIP (`agent.tower`), our projector, and SmolLM2 as language
model. `compose` writes it once as an ordinary transformers checkpoint, which vLLM serves and transformers loads. Our
LoRA adapter stays apart, as peft writes it; `merge` writes the checkpoint with the adapter in it, for servers on CPUs.
Projector and adapter lie in `agent/vlm`, pinned by hash in its card.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from agent import tower
from agent.prompt import CHAT_TEMPLATE, IMAGE_TOKEN, PROMPT_VERSION
from tools import weights
from tools.contract import Frozen
from tools.errors import IntegrityError, MissingWeightError

LANGUAGE_MODEL = "SmolLM2-135M-Instruct"
"""The language model of the embedded narrator, by its name at its makers."""
ADAPTER = "exposit"
"""Name of our adapter, in front of its revision: `exposit@<revision>`."""
COMPOSED = "vlm"
"""Name of the composed model among the weights."""
MERGED = "+"
"""Stands between the names of the composed model and of the adapter that was merged into it."""
FOLDER = Path(__file__).parent / "vlm"
FEATURE_LAYERS = (4, 6, 8)
"""Outputs of the tower that the projector reads side by side, counted in blocks; later blocks are left out."""
IMAGE_TOKENS = (tower.SIDE // tower.PATCH) ** 2
"""Tokens that one view takes in a prompt."""
_LANGUAGE_WEIGHT, _TOWER_WEIGHT = "smollm2", "clip"
_VOCABULARY, _PADDING = 49152, 64
"""Words of the language model, and rows added for the token of a picture (vLLM wants a multiple of 64)."""
_RECIPE = "1"
"""Version of how `compose` puts the parts together."""
_MANIFEST = "composed.json"
_CHECKPOINT = "model.safetensors"
Progress = Callable[[str], None]


class WeightState(Frozen):
    """One pinned weight as it stands on this machine.

    Attributes:
        state: `ready`, `missing`, or `damaged` (not the file that is pinned).
        note: What to do, where it is not ready.
    """

    name: str
    file: str
    size: int
    licence: str
    source: str
    state: Literal["ready", "missing", "damaged"]
    note: str = ""


class Pin(Frozen):
    """A file of `agent/vlm` and its hash."""

    file: str
    sha256: str
    size: int


class Card(Frozen):
    """What `agent/vlm/card.json` says of projector and adapter.

    Attributes:
        projector: The projector's pin.
        adapter: The adapter's pin; None before one was trained.
        prompt_version: Of `agent.prompt`, at training: another version at serving is an error.
        reserve: Added to the logits of tokens, by their number, while the model looks: what ends the list of things
            that it sees. So it claims something only where it is sure enough (`evals.planted`).
        training: Recipe, seed, data and figures of the training, for readers.
    """

    projector: Pin
    adapter: Pin | None
    prompt_version: str
    reserve: dict[int, float] = Field(default_factory=dict)
    training: dict[str, Any]


class Adapter(Frozen):
    """The trained adapter: a folder as peft writes it.

    Attributes:
        revision: The first 12 hex digits of its sha256.
        reserve: See `Card`.
    """

    folder: Path
    name: str
    revision: str
    reserve: dict[int, float] = Field(default_factory=dict)


def language_model_file(cache: Path) -> tuple[Path, str]:
    """The file of the language model, checked, and its sha256.

    Raises:
        MissingWeightError: if it is not in the cache.
        IntegrityError: if it is not the file that is pinned.
    """
    return weights.verify(_LANGUAGE_WEIGHT, cache), weights.weight(_LANGUAGE_WEIGHT).sha256


def card(folder: Path = FOLDER) -> Card:
    """The card of projector and adapter.

    Raises:
        MissingWeightError: if there is none.
    """
    file = folder / "card.json"
    if not file.is_file():
        raise MissingWeightError(f"The model's card {file.name} is missing.", remedy="Install Exposit again.")
    return Card.model_validate_json(file.read_bytes())


def adapter(folder: Path = FOLDER) -> Adapter | None:
    """The trained adapter, checked against its pin; None where the card names none.

    Raises:
        MissingWeightError: if the card names one that is not there.
        IntegrityError: if it is not the one that is pinned, or was trained for another prompt than `agent.prompt`'s.
    """
    known = card(folder)
    if known.adapter is None:
        return None
    if known.prompt_version != PROMPT_VERSION:
        raise IntegrityError(
            f"The adapter was trained for prompt version {known.prompt_version}, this is {PROMPT_VERSION}: a model "
            "tuned on one wording answers another differently.",
            remedy="Install Exposit again, or train the adapter anew (finetune/sft.py).",
        )
    file = _pinned(known.adapter, folder)
    return Adapter(folder=file.parent, name=ADAPTER, revision=known.adapter.sha256[:12], reserve=known.reserve)


def revision(folder: Path = FOLDER) -> str:
    """The name of the composed model: 12 hex digits over everything it is made from."""
    parts = {
        "tower": weights.weight(_TOWER_WEIGHT).sha256,
        "language": weights.weight(_LANGUAGE_WEIGHT).sha256,
        "projector": card(folder).projector.sha256,
        "template": hashlib.sha256(CHAT_TEMPLATE.encode()).hexdigest(),
        "layers": FEATURE_LAYERS,
        "recipe": _RECIPE,
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:12]


def composed_folder(cache: Path, folder: Path = FOLDER) -> Path:
    """Where the composed model lies, or will."""
    return cache / f"{COMPOSED}-{revision(folder)}"


def compose(cache: Path, *, folder: Path = FOLDER, progress: Progress = lambda line: None) -> Path:
    """The composed model's checkpoint folder, written where it is not there yet and checked by hash where it is.

    It appears under its name only once it is whole. Two processes that compose at once both succeed.

    Raises:
        MissingWeightError: if a part is not here; names the command that gets it.
        IntegrityError: if a part, or what was composed before, is not what is pinned.
    """
    target = composed_folder(cache, folder)
    if target.is_dir():
        _check_composed(target)
        return target
    clip = weights.verify(_TOWER_WEIGHT, cache)
    language, _ = language_model_file(cache)
    projector = _pinned(card(folder).projector, folder)
    progress(f"vlm: composing {target.name} from {_TOWER_WEIGHT}, {_LANGUAGE_WEIGHT} and {projector.name}")
    _written_once(target, lambda part: _write(part, clip, language, projector))
    progress(f"vlm: ready at {target}")
    return target


def merge(cache: Path, tuned: Adapter, *, folder: Path = FOLDER) -> Path:
    """The composed model with the adapter's low-rank products added to its weights; written and checked as `compose`.

    On a CPU vLLM gathers an adapter's weights anew for each token, which takes three times as long as the model
    itself. Where the products are in the weights, as the model in process has them, that cost is gone. The folder is
    named `<composed model>+<adapter>@<revision>`.

    Raises:
        MissingWeightError, IntegrityError: as `compose`.
    """
    base = compose(cache, folder=folder)
    target = base.with_name(f"{base.name}{MERGED}{tuned.name}@{tuned.revision}")
    if target.is_dir():
        _check_composed(target)
    else:
        _written_once(target, lambda part: _write_merged(part, base, tuned.folder))
    return target


def _written_once(target: Path, write: Callable[[Path], None]) -> None:
    """`target` with what `write` puts there and a list of its hashes; another process may write the same meanwhile."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".compose-") as made:
        part = Path(made) / target.name
        write(part)
        hashes = {file.name: _sha256(file) for file in sorted(part.iterdir())}
        (part / _MANIFEST).write_text(json.dumps(hashes, indent=1) + "\n", encoding="utf-8")
        try:
            os.replace(part, target)
        except OSError:
            if not target.is_dir():
                raise
            shutil.rmtree(part)  # another process was quicker
            _check_composed(target)


def states(cache: Path) -> tuple[WeightState, ...]:
    """Every pinned weight with its state, what was composed of them last; each file that is there is hashed."""
    found = []
    for name, pin in weights.registry().items():
        state, note = _state(lambda name=name: weights.verify(name, cache))  # type: ignore[misc]
        found.append(
            WeightState(
                name=name, file=pin.file, size=pin.size, licence=pin.licence, source=pin.source, state=state, note=note
            )
        )
    own = card()
    for name, mine in (("projector", own.projector), ("adapter", own.adapter)):
        if mine is not None:
            state, note = _state(lambda mine=mine: _pinned(mine, FOLDER))  # type: ignore[misc]
            source = f"trained by Exposit for prompt version {own.prompt_version}; shipped, see agent/vlm/card.json"
            found.append(
                WeightState(
                    name=f"{COMPOSED}-{name}", file=mine.file, size=mine.size, licence="Apache-2.0", source=source,
                    state=state, note=note,
                )
            )  # fmt: skip
    found.append(_composed_state(cache))
    merged = sorted(composed_folder(cache).parent.glob(f"{composed_folder(cache).name}{MERGED}*"))
    return (*found, *(_merged_state(folder) for folder in merged))


def _composed_state(cache: Path) -> WeightState:
    target = composed_folder(cache)
    file = target / _CHECKPOINT
    state: Literal["ready", "missing", "damaged"] = "missing"
    note = "It is composed from clip, smollm2 and vlm-projector: run `exposit models pull`."
    if target.is_dir():
        state, note = _state(lambda: _check_composed(target))
    return WeightState(
        name=COMPOSED, file=f"{target.name}/", size=file.stat().st_size if file.is_file() else 0,
        licence="that of its parts: clip, smollm2, vlm-projector", state=state, note=note,
        source="composed on this machine from clip, smollm2 and vlm-projector",
    )  # fmt: skip


def _merged_state(folder: Path) -> WeightState:
    """One checkpoint that was written for a server on a CPU (`merge`), at its first start."""
    state, note = _state(lambda: _check_composed(folder))
    file = folder / _CHECKPOINT
    return WeightState(
        name=f"{COMPOSED}-merged", file=f"{folder.name}/", size=file.stat().st_size if file.is_file() else 0,
        licence="that of its parts: vlm, vlm-adapter", state=state, note=note,
        source="merged on this machine from vlm and vlm-adapter",
    )  # fmt: skip


def _state(check: Callable[[], object]) -> tuple[Literal["ready", "missing", "damaged"], str]:
    try:
        check()
    except MissingWeightError as error:
        return "missing", error.remedy
    except IntegrityError as error:
        return "damaged", str(error)
    return "ready", ""


def _sha256(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _pinned(pin: Pin, folder: Path) -> Path:
    file = folder / pin.file
    again = "Install Exposit again."
    if not file.is_file():
        raise MissingWeightError(f"The file {pin.file} of the model is not on this machine.", remedy=again)
    digest = _sha256(file)
    if digest != pin.sha256:
        raise IntegrityError(f"{pin.file} is not the file that is pinned: sha256 {digest}, expected {pin.sha256}.")
    return file


def _check_composed(target: Path) -> None:
    again = f"Delete {target} and run `exposit models pull`."
    try:
        hashes: dict[str, str] = json.loads((target / _MANIFEST).read_bytes())
    except (OSError, ValueError) as error:
        raise IntegrityError(f"{target.name} is not a composed model.", remedy=again) from error
    for name, digest in hashes.items():
        if not (target / name).is_file() or _sha256(target / name) != digest:
            raise IntegrityError(f"{target.name}/{name} is not the file that was composed.", remedy=again)


def _write(target: Path, clip: Path, language: Path, projector: Path) -> None:
    """Puts the parts together and saves them in bfloat16, the type that vLLM serves them in."""
    import torch
    from safetensors.torch import load_file
    from transformers import (
        AutoModelForCausalLM,
        AutoTokenizer,
        CLIPVisionConfig,
        GenerationConfig,
        LlavaConfig,
        LlavaForConditionalGeneration,
        LlavaProcessor,
    )
    from transformers.models.clip import CLIPImageProcessorPil
    from transformers.utils import logging

    logging.disable_progress_bar()
    where = {"gguf_file": language.name, "local_files_only": True}
    tokenizer = AutoTokenizer.from_pretrained(str(language.parent), **where)
    tokenizer.add_special_tokens({"additional_special_tokens": [IMAGE_TOKEN]})
    tokenizer.chat_template = CHAT_TEMPLATE
    image_token = int(tokenizer.convert_tokens_to_ids(IMAGE_TOKEN))
    words = AutoModelForCausalLM.from_pretrained(str(language.parent), dtype=torch.float32, **where)
    words.resize_token_embeddings(_VOCABULARY + _PADDING, mean_resizing=False)
    with torch.no_grad():
        words.get_input_embeddings().weight[_VOCABULARY:] = 0.0  # no token that the model may write
    text = words.config
    del text.quantization_config
    text.name_or_path, text.dtype = "", torch.bfloat16
    vision = CLIPVisionConfig(
        hidden_size=tower.WIDTH, intermediate_size=4 * tower.WIDTH, num_hidden_layers=max(FEATURE_LAYERS),
        num_attention_heads=12, patch_size=tower.PATCH, image_size=tower.SIDE, hidden_act="quick_gelu",
    )  # fmt: skip
    config = LlavaConfig(
        vision_config=vision, text_config=text, image_token_index=image_token, image_seq_length=IMAGE_TOKENS,
        projector_hidden_act="gelu", vision_feature_select_strategy="default",
        vision_feature_layer=list(FEATURE_LAYERS), tie_word_embeddings=True,
    )  # fmt: skip
    model = LlavaForConditionalGeneration(config)
    seen = {name: torch.from_numpy(value) for name, value in tower.parameters(clip, max(FEATURE_LAYERS)).items()}
    model.model.vision_tower.load_state_dict(seen)
    model.model.language_model.load_state_dict(words.model.state_dict())
    ours = {name: value.float() for name, value in load_file(str(projector)).items()}
    model.model.multi_modal_projector.load_state_dict(ours)
    model.tie_weights()
    ends = {"eos_token_id": tokenizer.eos_token_id, "pad_token_id": tokenizer.pad_token_id}
    model.generation_config = GenerationConfig(bos_token_id=tokenizer.bos_token_id, do_sample=False, **ends)
    model.to(torch.bfloat16).save_pretrained(target)
    LlavaProcessor(
        image_processor=CLIPImageProcessorPil(), tokenizer=tokenizer, patch_size=tower.PATCH,
        vision_feature_select_strategy="default", num_additional_image_tokens=1, image_token=IMAGE_TOKEN,
        chat_template=CHAT_TEMPLATE,
    ).save_pretrained(target)  # fmt: skip


def _write_merged(target: Path, base: Path, adapter: Path) -> None:
    """Saves in float16, which holds sums of bfloat16 weights and low-rank products to 11 bits where bfloat16 has 8."""
    import torch
    from peft import PeftModel
    from transformers import LlavaForConditionalGeneration
    from transformers.utils import logging

    logging.disable_progress_bar()
    model = LlavaForConditionalGeneration.from_pretrained(str(base), dtype=torch.float32, local_files_only=True)
    with warnings.catch_warnings():
        # peft asks transformers for a property by its old name
        warnings.filterwarnings("ignore", "`is_gradient_checkpointing`", FutureWarning)
        merged = PeftModel.from_pretrained(model, str(adapter)).merge_and_unload()
    shutil.copytree(base, target, ignore=shutil.ignore_patterns(_CHECKPOINT, _MANIFEST))
    merged.to(torch.float16).save_pretrained(target)
