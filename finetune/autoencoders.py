"""A zoo of small latent autoencoders of our own, to make aligned twins that no single decoder's trace explains.

    python -m finetune.autoencoders --data DIR [--work runs/zoo] [--only NAME] [--seconds 420]

Generators decode their latents by networks of a few families; the zoo holds one small autoencoder of each: nearest
upsampling and convolution (Stable Diffusion's), pixel shuffle behind a quantised bottleneck (VQGAN's kin; finite scalar
quantisation, Mentzer et al. 2024), transposed convolution (GANs), stride 16 with many channels (DC-AE, FLUX.2),
bilinear resizing, and a patch decoder without any upsampling layer (ViT decoders). Each is trained on 64 px crops of
photos/ alone, for a fixed CPU time on one thread. What it makes of photographs of train/, which it has not seen, is
measured in dB; one under `LEAST_DB` is told to be left out. The weights stay in `--work`. No head that is shipped was
fitted on their passages: what came of that is told in finetune/RESULTS.md.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import math
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import nn
from torch.nn import functional

from evals import datasets
from finetune.taef2 import psnr
from tools.errors import ConfigurationError

SIDE = 64
"""Side of a training crop."""
BATCH = 16
LEAST_DB = 28.0
"""PSNR on photographs it has not seen under which an autoencoder is not used."""
Pixels = npt.NDArray[np.uint8]
Up = Literal["nearest", "shuffle", "transposed", "bilinear", "patch"]


@dataclass(frozen=True, slots=True)
class Design:
    """One autoencoder.

    Attributes:
        stride: Pixels a latent, each way.
        channels: Of the latents.
        up: How the decoder grows what it holds.
        levels: Steps that each latent is rounded to; 0 for a variational bottleneck.
        act: Activation between convolutions.
    """

    stride: int
    channels: int
    up: Up
    levels: int = 0
    act: type[nn.Module] = nn.SiLU


ZOO = {
    "nearest": Design(8, 32, "nearest"),
    "shuffle": Design(4, 16, "shuffle", levels=15, act=nn.ReLU),
    "transposed": Design(4, 12, "transposed", act=nn.LeakyReLU),
    "deep": Design(16, 128, "shuffle"),
    "bilinear": Design(8, 24, "bilinear", act=nn.GELU),
    "patch": Design(8, 32, "patch", act=nn.GELU),
}
_WIDTHS = {16: 192, 8: 128, 4: 64, 2: 32, 1: 16}
"""Channels of the decoder at each scale."""


class _Block(nn.Module):  # type: ignore[misc]
    """x plus two convolutions of it; the second one starts at nought, so that depth costs no speed at first."""

    def __init__(self, width: int, act: type[nn.Module]) -> None:
        super().__init__()
        self.first, self.second, self.act = nn.Conv2d(width, width, 3, 1, 1), nn.Conv2d(width, width, 3, 1, 1), act()
        nn.init.zeros_(self.second.weight)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.second(self.act(self.first(self.act(x))))


class _Mixer(nn.Module):  # type: ignore[misc]
    """A ConvNeXt block (Liu et al. 2022): a wide depthwise convolution, then a perceptron at each place."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.mix = nn.Conv2d(width, width, 5, 1, 2, groups=width)
        self.norm = nn.GroupNorm(1, width)
        self.grow, self.shrink = nn.Conv2d(width, 3 * width, 1), nn.Conv2d(3 * width, width, 1)
        nn.init.zeros_(self.shrink.weight)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.shrink(functional.gelu(self.grow(self.norm(self.mix(x)))))


def _grown(up: Up, before: int, after: int) -> nn.Module:
    """One doubling of the scale."""
    if up == "transposed":
        return nn.ConvTranspose2d(before, after, 4, 2, 1)
    if up == "shuffle":
        return nn.Sequential(nn.Conv2d(before, 4 * after, 3, 1, 1), nn.PixelShuffle(2))
    mode = "nearest" if up == "nearest" else "bilinear"
    return nn.Sequential(nn.Upsample(scale_factor=2, mode=mode), nn.Conv2d(before, after, 3, 1, 1))


def _decoder(design: Design) -> nn.Sequential:
    scale = design.stride
    width = 256 if design.up == "patch" else _WIDTHS[scale]
    layers: list[nn.Module] = [nn.Conv2d(design.channels, width, 3, 1, 1)]
    if design.up == "patch":
        layers += [_Mixer(width) for _ in range(6)]
        return nn.Sequential(*layers, nn.Conv2d(width, 3 * scale**2, 1), nn.PixelShuffle(scale))
    layers += [_Block(width, design.act) for _ in range(2)]
    while scale > 1:
        scale //= 2
        layers.append(_grown(design.up, width, _WIDTHS[scale]))
        width = _WIDTHS[scale]
        layers.append(_Block(width, design.act))
    return nn.Sequential(*layers, design.act(), nn.Conv2d(width, 3, 3, 1, 1))


class Autoencoder(nn.Module):  # type: ignore[misc]
    """Encoder, bottleneck and decoder; pictures are Nx3xHxW in [-1, 1], sides multiples of the stride.

    The encoder is a linear map of patches, begun at their principal components, and a small network beside it that
    begins at nought: the time goes into the decoder, whose trace it is all about.
    """

    def __init__(self, design: Design) -> None:
        super().__init__()
        self.design = design
        stride, channels = design.stride, design.channels
        self.linear = nn.Conv2d(3, channels, stride, stride)
        stem: list[nn.Module] = [nn.Conv2d(3, 64, 4, 4), _Block(64, design.act)]
        for _ in range(int(math.log2(stride // 4))):
            stem += [nn.Conv2d(64, 64, 3, 2, 1), _Block(64, design.act)]
        self.network = nn.Sequential(*stem, design.act(), nn.Conv2d(64, channels, 3, 1, 1))
        nn.init.zeros_(self.network[-1].weight)
        self.spread = nn.Parameter(torch.full((1, channels, 1, 1), -3.0))
        self.decoder = _decoder(design)

    def start(self, photographs: list[Pixels]) -> None:
        """Sets the linear map to the principal components of the photographs' patches, partly whitened."""
        stride = self.design.stride
        patches = [
            functional.unfold(_tensor(photograph)[:, :, :256, :256], stride, stride=stride)[0].T.double()
            for photograph in photographs
        ]
        every = torch.cat(patches)
        mean = every.mean(dim=0)
        covariance = (every - mean).T @ (every - mean) / len(every)
        values, vectors = torch.linalg.eigh(covariance)
        values, vectors = values.flip(0)[: self.design.channels], vectors.flip(1)[:, : self.design.channels]
        scaled = (vectors / values.clamp_min(1e-8) ** (0.5 if self.design.levels else 0.35)).T
        with torch.no_grad():
            self.linear.weight.copy_(scaled.reshape(self.linear.weight.shape).float())
            self.linear.bias.copy_(-(scaled @ mean).float())

    def latents(self, pictures: torch.Tensor) -> torch.Tensor:
        """NxCxH/stride xW/stride: what the encoder finds, before the bottleneck."""
        found: torch.Tensor = self.linear(pictures) + self.network(pictures)
        return found

    def decoded(self, latents: torch.Tensor) -> torch.Tensor:
        """Pictures of latents; a quantised bottleneck rounds them first, by a straight-through gradient."""
        if self.design.levels:
            half = (self.design.levels - 1) / 2
            bound = 2.5 * torch.tanh(latents / 2.5) * half / 2.5
            latents = (bound + (bound.round() - bound).detach()) * 2.5 / half
        found: torch.Tensor = self.decoder(latents)
        return found

    def loss(self, pictures: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        """Absolute error of pixels and of their differences, and where it is variational a little KL divergence."""
        latents, rate = self.latents(pictures), torch.zeros(())
        if not self.design.levels:
            drawn = torch.randn(latents.shape, generator=generator)
            rate = 1e-6 * (latents.pow(2) + self.spread.exp().pow(2) - 2 * self.spread).mean()
            latents = latents + self.spread.exp() * drawn
        made = self.decoded(latents)
        error = functional.l1_loss(made, pictures)
        for axis in (2, 3):
            error = error + 0.5 * functional.l1_loss(made.diff(dim=axis), pictures.diff(dim=axis))
        return error + rate


def _tensor(rgb: Pixels) -> torch.Tensor:
    return torch.from_numpy(rgb.astype(np.float32) / 127.5 - 1).permute(2, 0, 1)[None]


def _batch(photographs: list[Pixels], rng: np.random.Generator) -> torch.Tensor:
    """BATCH crops, half of them of a photograph shrunk by 0.5-1, half mirrored."""
    crops = []
    for _ in range(BATCH):
        rgb = photographs[int(rng.integers(len(photographs)))]
        around = SIDE if rng.random() < 0.5 else int(rng.integers(SIDE, 2 * SIDE + 1))
        top, left = (int(rng.integers(0, whole - around + 1)) for whole in rgb.shape[:2])
        crop = rgb[top : top + around, left : left + around]
        if around != SIDE:
            crop = np.asarray(Image.fromarray(crop).resize((SIDE, SIDE), Image.Resampling.LANCZOS))
        crops.append(crop[:, ::-1] if rng.random() < 0.5 else crop)
    return torch.cat([_tensor(np.ascontiguousarray(crop)) for crop in crops])


def train(design: Design, photographs: list[Pixels], seconds: float, seed: int, peak: float = 2e-3) -> Autoencoder:
    """Trains for `seconds` of CPU time on one thread; the rate falls to nought with what is left of it.

    The number of steps depends on the machine, so that weights are not the same bit by bit elsewhere.
    """
    torch.manual_seed(seed)
    torch.set_num_threads(1)
    network = Autoencoder(design)
    network.start(photographs)
    network.to(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(network.parameters(), lr=peak, betas=(0.9, 0.98), weight_decay=1e-4)
    generator, rng = torch.Generator().manual_seed(seed), np.random.default_rng(seed)
    began, step, running = time.process_time(), 0, 0.0
    while (used := time.process_time() - began) < seconds:
        for group in optimizer.param_groups:
            group["lr"] = peak * min(1.0, (step + 1) / 50) * (0.01 + 0.99 * (1 - used / seconds) ** 1.2)
        batch = _batch(photographs, rng).to(memory_format=torch.channels_last)
        with torch.autocast("cpu", torch.bfloat16):
            loss = network.loss(batch, generator)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), 0.5)
        optimizer.step()
        step, running = step + 1, running + loss.item()
        if step % 100 == 0:
            print(f"  step {step}, loss {running / 100:.4f}, {used:.0f} s of CPU", flush=True)
            running = 0.0
    network.eval()
    return network


class Decoder:
    """A trained autoencoder of the zoo, with the methods of `finetune.taef2.Taef2`.

    Args:
        file: As `main` keeps it.

    Raises:
        ConfigurationError: if it is missing.
    """

    def __init__(self, file: Path) -> None:
        if not file.is_file():
            raise ConfigurationError(
                f"{file} is missing.", remedy=f"Run: python -m finetune.autoencoders --data DIR --work {file.parent}"
            )
        self._network = Autoencoder(ZOO[file.stem]).eval()
        self._network.load_state_dict(torch.load(file, map_location="cpu", weights_only=True))
        self._network = self._network.to(memory_format=torch.channels_last)

    def latents(self, rgb: Pixels) -> torch.Tensor:
        """Latents of `rgb` (HxWx3, sides multiples of the stride)."""
        with torch.inference_mode():
            return self._network.latents(_tensor(rgb))

    def decoded(self, latents: torch.Tensor) -> Pixels:
        """HxWx3 picture of `latents`."""
        with torch.inference_mode():
            made = self._network.decoded(latents)[0].permute(1, 2, 0).clamp(-1, 1)
        found: Pixels = np.rint((made.numpy() + 1) * 127.5).astype(np.uint8)
        return found

    def passage(self, rgb: Pixels) -> Pixels:
        """`rgb` encoded and decoded again."""
        return self.decoded(self.latents(rgb))


def held_out(decoder: Decoder, photographs: list[Pixels], side: int = 256) -> float:
    """Mean PSNR of the middle `side` px of photographs, in dB."""
    middles = []
    for rgb in photographs:
        top, left = ((whole - side) // 2 for whole in rgb.shape[:2])
        middles.append(np.ascontiguousarray(rgb[top : top + side, left : left + side]))
    return psnr((middle, decoder.passage(middle)) for middle in middles)


def main() -> None:
    """Trains what is asked for and not yet there, and prints how well each does on photographs it has not seen."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--work", type=Path, default=Path("runs/zoo"))
    parser.add_argument("--only", choices=ZOO, nargs="+", default=list(ZOO))
    parser.add_argument("--seconds", type=float, default=420.0)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    options.work.mkdir(parents=True, exist_ok=True)
    photographs = [item.pixels() for item in datasets.photos(options.data)]
    unseen = [item.pixels() for item in datasets.labelled(options.data, "train") if item.label == "real"]
    unseen = [rgb for rgb in unseen if min(rgb.shape[:2]) >= 256][:100]
    for name in options.only:
        file = options.work / f"{name}.pt"
        if not file.exists():
            print(name, flush=True)
            network = train(ZOO[name], photographs, options.seconds, options.seed)
            torch.save(network.state_dict(), file)
        decoder = Decoder(file)
        figures = {
            "psnr_unseen": round(held_out(decoder, unseen), 2),
            "psnr_seen": round(held_out(decoder, photographs[:100]), 2),
            "seconds": options.seconds,
            "sha256": hashlib.sha256(file.read_bytes()).hexdigest(),
        }
        file.with_suffix(".json").write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
        told = "serves" if figures["psnr_unseen"] >= LEAST_DB else f"is left out, under {LEAST_DB:g} dB"
        print(f"{name}: {figures['psnr_unseen']} dB unseen, {figures['psnr_seen']} dB seen; it {told}", flush=True)


if __name__ == "__main__":
    main()
