"""A random model of the composed model's architecture, small enough to be made in a test."""

from __future__ import annotations

import warnings
from pathlib import Path

from agent.models import Adapter
from agent.prompt import CHAT_TEMPLATE, IMAGE_TOKEN
from agent.views import SIDE

PATCH = 56


def make(folder: Path, seed: int = 0) -> tuple[Path, Adapter]:
    """Writes checkpoint and adapter below `folder`."""
    import torch
    from peft import LoraConfig, get_peft_model
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import (
        CLIPVisionConfig,
        LlamaConfig,
        LlavaConfig,
        LlavaForConditionalGeneration,
        LlavaProcessor,
        PreTrainedTokenizerFast,
    )
    from transformers.models.clip import CLIPImageProcessorPil
    from transformers.utils import logging

    logging.disable_progress_bar()
    base = folder / "vlm-tiny"
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    raw = Tokenizer(models.BPE(vocab={char: index for index, char in enumerate(alphabet)}, merges=[]))
    raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    raw.decoder = decoders.ByteLevel()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=raw, eos_token="<|im_end|>", pad_token="<|pad|>",
        additional_special_tokens=["<|im_start|>", IMAGE_TOKEN],
    )  # fmt: skip
    torch.manual_seed(seed)
    vision = CLIPVisionConfig(
        hidden_size=64, intermediate_size=64, num_hidden_layers=2, num_attention_heads=1, image_size=SIDE,
        patch_size=PATCH, projection_dim=32,
    )  # fmt: skip
    text = LlamaConfig(
        vocab_size=320, hidden_size=128, intermediate_size=128, num_hidden_layers=2, num_attention_heads=2,
        num_key_value_heads=1, eos_token_id=tokenizer.eos_token_id, bos_token_id=None,
        pad_token_id=tokenizer.pad_token_id, max_position_embeddings=4096, tie_word_embeddings=False,
    )  # fmt: skip
    config = LlavaConfig(
        vision_config=vision, text_config=text, image_token_index=tokenizer.convert_tokens_to_ids(IMAGE_TOKEN),
        vision_feature_layer=-2, vision_feature_select_strategy="default", image_seq_length=(SIDE // PATCH) ** 2,
        tie_word_embeddings=False,
    )  # fmt: skip
    model = LlavaForConditionalGeneration(config)
    model.save_pretrained(base)
    LlavaProcessor(
        image_processor=CLIPImageProcessorPil(), tokenizer=tokenizer, patch_size=PATCH, image_token=IMAGE_TOKEN,
        vision_feature_select_strategy="default", num_additional_image_tokens=1, chat_template=CHAT_TEMPLATE,
    ).save_pretrained(base)  # fmt: skip
    lora = LoraConfig(
        r=4, lora_alpha=8, init_lora_weights=False,
        target_modules=r".*language_model.*\.(q|k|v|o|gate|up|down)_proj",
    )  # fmt: skip
    adapter = folder / "adapter"
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "`is_gradient_checkpointing`", FutureWarning)
        get_peft_model(model, lora).save_pretrained(adapter)
    return base, Adapter(folder=adapter, name="exposit", revision="0123456789ab")
