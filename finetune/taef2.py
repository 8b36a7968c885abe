"""Passages of photographs through TAEF2, the tiny autoencoder of FLUX.2's latents, to make aligned twins.

Network after madebyollin/taesd (MIT): stride 8, 32 latent channels, blocks with a pooled branch at the lowest
resolution. Its weights are pickled state dicts, read with `weights_only=True` and for training only: no part of them
reaches the service.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from tools.errors import ConfigurationError


class _Clamp(nn.Module):  # type: ignore[misc]
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.tanh(x / 3) * 3


class _Block(nn.Module):  # type: ignore[misc]
    def __init__(self, pooled: bool = False) -> None:
        super().__init__()
        self.conv = nn.Sequential(_conv(64, 64), nn.ReLU(), _conv(64, 64), nn.ReLU(), _conv(64, 64))
        self.pool = (
            nn.Sequential(
                nn.Conv2d(64, 256, 1, bias=False), nn.GroupNorm(4, 256), nn.ReLU(), nn.Conv2d(256, 64, 1, bias=False)
            )
            if pooled
            else None
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.pool is not None:
            x = x + self.pool(x)
        return torch.relu(self.conv(x) + x)


def _conv(inputs: int, outputs: int, **options: Any) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, 3, padding=1, **options)


def _encoder() -> nn.Sequential:
    layers: list[nn.Module] = [_conv(3, 64), _Block()]
    for stage in range(3):
        layers += [_conv(64, 64, stride=2, bias=False), *(_Block(pooled=stage == 2) for _ in range(3))]
    return nn.Sequential(*layers, _conv(64, 32))


def _decoder() -> nn.Sequential:
    layers: list[nn.Module] = [_Clamp(), _conv(32, 64), nn.ReLU()]
    for stage in range(3):
        layers += [*(_Block(pooled=stage == 0) for _ in range(3)), nn.Upsample(scale_factor=2)]
        layers.append(_conv(64, 64, bias=False))
    return nn.Sequential(*layers, _Block(), _conv(64, 3))


class Taef2:
    """The autoencoder, in fp32 on the CPU.

    Args:
        folder: Holds `taef2_encoder.pth` and `taef2_decoder.pth`.

    Raises:
        ConfigurationError: if one of them is missing.
    """

    def __init__(self, folder: Path) -> None:
        self._parts = []
        for name, part in (("encoder", _encoder()), ("decoder", _decoder())):
            file = folder / f"taef2_{name}.pth"
            if not file.is_file():
                raise ConfigurationError(f"{file} is missing.", remedy="Pass --taef2 with the folder that holds it.")
            part.load_state_dict(torch.load(file, map_location="cpu", weights_only=True))
            self._parts.append(part.eval())

    def latents(self, rgb: npt.NDArray[np.uint8]) -> torch.Tensor:
        """1x32xH/8xW/8 latents of `rgb` (HxWx3, sides multiples of 8)."""
        x = torch.from_numpy(rgb.astype(np.float32) / 255).permute(2, 0, 1)[None]
        with torch.inference_mode():
            found: torch.Tensor = self._parts[0](x)
        return found

    def decoded(self, latents: torch.Tensor) -> npt.NDArray[np.uint8]:
        """HxWx3 picture of `latents`."""
        with torch.inference_mode():
            x = self._parts[1](latents)
        decoded: npt.NDArray[np.float32] = x[0].permute(1, 2, 0).clamp(0, 1).numpy()
        return np.rint(decoded * 255).astype(np.uint8)

    def passage(self, rgb: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
        """`rgb` (HxWx3, sides multiples of 8) encoded and decoded again."""
        return self.decoded(self.latents(rgb))


def psnr(pairs: Iterable[tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8]]]) -> float:
    """Mean peak signal-to-noise ratio of pairs of pictures, in dB."""
    errors = [float(np.mean((a.astype(np.float64) - b.astype(np.float64)) ** 2)) for a, b in pairs]
    return float(np.mean([10 * np.log10(255**2 / max(e, 1e-9)) for e in errors]))
