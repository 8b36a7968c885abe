"""What the projector of the composed model is given: the image tower's tokens, by the model's own processor."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

BATCH = 8
"""Views that go through the tower at once."""


class TokenMaker:
    """The image tower of a composed model, up to what its projector reads."""

    def __init__(self, base: Path) -> None:
        import torch
        from transformers import AutoImageProcessor, LlavaForConditionalGeneration

        model = LlavaForConditionalGeneration.from_pretrained(base, dtype=torch.float32)
        self._tower = model.model.vision_tower.eval()
        self._layers = list(model.config.vision_feature_layer)
        self._processor = AutoImageProcessor.from_pretrained(base, backend="pil")

    def __call__(self, pixels: Sequence[npt.NDArray[np.uint8]]) -> npt.NDArray[np.float16]:
        """Tokens of views, views x 196 x width, as the projector is given them."""
        import torch
        from PIL import Image

        out = []
        for begin in range(0, len(pixels), BATCH):
            images = [Image.fromarray(each) for each in pixels[begin : begin + BATCH]]
            fed = self._processor(images=images, return_tensors="pt")["pixel_values"]
            with torch.inference_mode():
                states = self._tower(fed, output_hidden_states=True).hidden_states
            tokens = torch.cat([states[layer][:, 1:] for layer in self._layers], dim=-1)
            out.append(tokens.numpy().astype(np.float16))
        return np.concatenate(out)
