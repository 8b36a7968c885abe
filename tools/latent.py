"""Latent diffusion models of others, read through diffusers: DDIM inversion, and passages through autoencoders.

- FakeInversion (Cazenavette et al. 2024, arXiv 2406.08603): the picture x is encoded, its latent inverted to noise by
  text-conditioned DDIM, the noise brought back by DDIM, and both are decoded: [x, D(z_T), D(z_0)].
- AEROBLADE (Ricker et al. 2024, arXiv 2401.17879): the distance between x and D(E(x)), the least over several
  autoencoders, without any training. The paper measures LPIPS; no weights of it are shipped, so that the distances
  here are the root mean square and the structural dissimilarity (1 - SSIM) / 2.

Only safetensors are read, from folders on this machine, and run in fp32; tools run them on the CPU, training where it
is told to. Importing this module imports torch; diffusers is imported when a model is loaded.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from tools.borrowed import Borrowed
from tools.errors import ConfigurationError
from tools.reconstruction import MOMENTS, along, moments

STEPS = 10
"""Steps of the DDIM inversion, and as many back; each is one pass through the denoiser."""
STRIDE = 64
"""Sides of what is encoded are multiples of this: eight pixels a latent, which the denoiser halves three times."""
_AUTOENCODERS = ("AutoencoderKL", "AutoencoderTiny")
_EPS = 1e-6
Passage = Callable[[torch.Tensor], torch.Tensor]
"""Nx3xHxW in [-1, 1], encoded and decoded again."""


@dataclass(frozen=True)
class Denoiser:
    """What DDIM inversion needs beside the autoencoder.

    Attributes:
        up, down: Schedulers from the picture to noise and back, `STEPS` steps each.
    """

    unet: Any
    tokenizer: Any
    text_encoder: Any
    up: Any
    down: Any

    def prompt(self, caption: str) -> torch.Tensor:
        """The conditioning that the text encoder makes of `caption`."""
        found = self.tokenizer(
            caption, padding="max_length", truncation=True, max_length=self.tokenizer.model_max_length,
            return_tensors="pt",
        )  # fmt: skip
        return self.text_encoder(found.input_ids.to(self.text_encoder.device))[0]

    def walk(self, latents: torch.Tensor, scheduler: Any, prompt: torch.Tensor) -> torch.Tensor:
        """Latents after all steps of `scheduler`."""
        prompt = prompt.expand(len(latents), -1, -1)
        for step in scheduler.timesteps:
            predicted = self.unet(latents, step, encoder_hidden_states=prompt).sample
            latents = scheduler.step(predicted, int(step), latents).prev_sample
        return latents


@dataclass(frozen=True)
class Model:
    """A model that was loaded.

    Attributes:
        sha256: Over the names, configurations and weights of all parts.
        files: sha256 of each weight file, by its part.
        denoiser: None where the folder holds no denoiser that can be inverted; `because` then says why.
    """

    name: str
    sha256: str
    files: dict[str, str]
    autoencoder: Any
    denoiser: Denoiser | None
    because: str = ""

    def encode(self, pictures: torch.Tensor) -> torch.Tensor:
        """Latents of Nx3xHxW in [-1, 1], as the denoiser expects them; the mean, nothing is drawn."""
        found = self.autoencoder.encode(pictures)
        latents = found.latent_dist.mode() if hasattr(found, "latent_dist") else found.latents
        return (latents - self._shift) * self.autoencoder.config.scaling_factor

    def decode(self, latents: torch.Tensor) -> torch.Tensor:
        """Nx3xHxW, clipped to [-1, 1]."""
        raw = latents / self.autoencoder.config.scaling_factor + self._shift
        return self.autoencoder.decode(raw).sample.clamp(-1, 1)

    def passage(self, pictures: torch.Tensor) -> torch.Tensor:
        """`pictures` encoded and decoded again."""
        return self.decode(self.encode(pictures))

    @property
    def _shift(self) -> float:
        return getattr(self.autoencoder.config, "shift_factor", None) or 0.0


@cache
def load(borrowed: Borrowed, device: str = "cpu") -> Model:
    """Loads a model onto a torch device, once a process.

    Raises:
        ConfigurationError: if the folder holds no autoencoder that is known here, or weights only as pickles.
    """
    from diffusers import AutoencoderKL, AutoencoderTiny

    folder = borrowed.folder / "vae" if (borrowed.folder / "vae").is_dir() else borrowed.folder
    kinds = dict(zip(_AUTOENCODERS, (AutoencoderKL, AutoencoderTiny), strict=True))
    kind = _config(folder).get("_class_name")
    if kind not in kinds:
        raise ConfigurationError(
            f"{borrowed.name} holds no autoencoder that inversion_sd can read: its class is {kind or 'not stated'}.",
            remedy=f"Name a Stable Diffusion model, or a folder of {' or '.join(_AUTOENCODERS)}.",
        )
    parts = _Parts(device)
    autoencoder = parts.read(kinds[kind], folder, "diffusion_pytorch_model")
    denoiser, because = None, _uninvertible(borrowed.folder)
    if not because:
        denoiser = _denoiser(borrowed.folder, parts)
    return Model(borrowed.name, parts.digest.hexdigest(), parts.files, autoencoder, denoiser, because)


class _Parts:
    """Reads the parts of a model onto a device and hashes what it read."""

    def __init__(self, device: str) -> None:
        self._device = device
        self.digest = hashlib.sha256()
        self.files: dict[str, str] = {}

    def read(self, kind: Any, folder: Path, stem: str) -> Any:
        variant = None if (folder / f"{stem}.safetensors").is_file() else "fp16"
        file = folder / (f"{stem}.safetensors" if variant is None else f"{stem}.fp16.safetensors")
        if not file.is_file():
            raise ConfigurationError(
                f"{folder.parent.name}/{folder.name} holds no {stem}.safetensors.",
                remedy="Get the model's weights as safetensors; pickled weights (.bin, .pth, .ckpt) are not read.",
            )
        with file.open("rb") as stream:
            self.files[folder.name] = hashlib.file_digest(stream, "sha256").hexdigest()
        told = {key: value for key, value in _config(folder).items() if not key.startswith("_")}  # paths, versions
        self.digest.update(f"{stem} {self.files[folder.name]} {json.dumps(told, sort_keys=True)}".encode())
        part = kind.from_pretrained(folder, use_safetensors=True, local_files_only=True, variant=variant)
        return part.eval().requires_grad_(False).float().to(self._device)


def _config(folder: Path, name: str = "config.json") -> dict[str, Any]:
    try:
        found = json.loads((folder / name).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _uninvertible(folder: Path) -> str:
    """Why the model in `folder` cannot be inverted; empty where it can."""
    if not (folder / "unet").is_dir():
        return "it is an autoencoder without a Stable Diffusion denoiser"
    unet, text = _config(folder / "unet"), _config(folder / "text_encoder")
    if unet.get("addition_embed_type") or unet.get("cross_attention_dim") != text.get("hidden_size"):
        return "its denoiser is conditioned otherwise than that of Stable Diffusion 1 and 2"
    if unet.get("in_channels") != unet.get("out_channels"):
        return "its denoiser is made for inpainting or upscaling"
    return ""


def _denoiser(folder: Path, parts: _Parts) -> Denoiser:
    from diffusers import DDIMInverseScheduler, DDIMScheduler, UNet2DConditionModel
    from transformers import CLIPTextModel, CLIPTokenizer

    config = _config(folder / "scheduler", "scheduler_config.json") | {
        "clip_sample": False, "timestep_spacing": "leading",
    }  # fmt: skip
    config.pop("_class_name", None)
    up, down = DDIMInverseScheduler.from_config(config), DDIMScheduler.from_config(config)
    parts.digest.update(json.dumps(config, sort_keys=True).encode())
    for scheduler in (up, down):
        scheduler.set_timesteps(STEPS)
    return Denoiser(
        unet=parts.read(UNet2DConditionModel, folder / "unet", "diffusion_pytorch_model"),
        tokenizer=CLIPTokenizer.from_pretrained(folder / "tokenizer", local_files_only=True),
        text_encoder=parts.read(CLIPTextModel, folder / "text_encoder", "model"),
        up=up,
        down=down,
    )


def tensor(rgb: npt.NDArray[np.uint8]) -> torch.Tensor:
    """HxWx3 as 1x3xHxW in [-1, 1]."""
    return torch.from_numpy(rgb.astype(np.float32) / 127.5 - 1).permute(2, 0, 1)[None]


@dataclass(frozen=True, slots=True)
class Distance:
    """How far a tile lies from its own passage.

    Attributes:
        grey_levels: Root mean square over pixels and channels.
        dissimilarity: (1 - SSIM) / 2 of luma in windows of 7 px, in [0, 1].
    """

    grey_levels: float
    dissimilarity: float


def distance(picture: torch.Tensor, passed: torch.Tensor) -> Distance:
    """AEROBLADE's distance of 1x3xHxW in [-1, 1] from its passage."""
    rms = float(((picture - passed) ** 2).mean().sqrt()) * 127.5
    luma = torch.tensor([0.299, 0.587, 0.114]).to(picture)[:, None, None]
    a, b = (((x + 1) / 2 * luma).sum(dim=1, keepdim=True) for x in (picture, passed))  # SSIM means values from nought

    def mean(x: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.avg_pool2d(x, 7, stride=1)

    ma, mb = mean(a), mean(b)
    va, vb, both = mean(a * a) - ma**2, mean(b * b) - mb**2, mean(a * b) - ma * mb
    c1, c2 = 0.01**2, 0.03**2  # the constants of Wang et al. 2004, for a range of 1
    ssim = (2 * ma * mb + c1) * (2 * both + c2) / ((ma**2 + mb**2 + c1) * (va + vb + c2))
    return Distance(rms, float((1 - ssim.mean()) / 2))


@dataclass(frozen=True, slots=True)
class Reading:
    """What the models say of one tile.

    Attributes:
        distances: For each model, in their order.
        error: HxW, mean absolute error over channels of the passage that comes nearest, in grey levels.
        pictures: 9xHxW in [-1, 1]: FakeInversion's [x, D(z_T), D(z_0)]; None where no model can be inverted.
        features: In the order of `NAMES`; None where no model can be inverted.
    """

    distances: tuple[Distance, ...]
    error: npt.NDArray[np.float32]
    pictures: npt.NDArray[np.float32] | None
    features: npt.NDArray[np.float32] | None


_NOISE = ("strength", "peak", "lag_0_1", "lag_1_0")
NAMES = (
    *(f"{what}/{moment}" for what in ("passage", "returned", "noise_picture") for moment in MOMENTS),
    *(f"noise/{moment}" for moment in _NOISE),
    "passage/to_texture", "returned/to_texture", "returned/along_passage", "passage/dissimilarity",
)  # fmt: skip
"""What a feature is. The paper trains a ResNet-50 on the nine channels; a linear head reads their statistics here."""


def invert(model: Model, picture: torch.Tensor, caption: str = "") -> tuple[torch.Tensor, torch.Tensor]:
    """The latent noise z_T that 1x3xHxW is inverted to, and the latents z_0 that come back from it.

    Raises:
        ValueError: if the model has no denoiser, or a side is no multiple of STRIDE.
    """
    if model.denoiser is None:
        raise ValueError(f"{model.name} cannot be inverted: {model.because}")
    if any(side % STRIDE for side in picture.shape[2:]):
        raise ValueError(f"sides must be multiples of {STRIDE} px, got {tuple(picture.shape[2:])}")
    prompt = model.denoiser.prompt(caption)
    noise = model.denoiser.walk(model.encode(picture), model.denoiser.up, prompt)
    return noise, model.denoiser.walk(noise, model.denoiser.down, prompt)


def read(models: Sequence[Model], rgb: npt.NDArray[np.uint8], caption: str = "") -> Reading:
    """Measures one tile: its distance from its passage through each model, and what the first inverts it to.

    Args:
        models: At least one, all on one device; the first with a denoiser is inverted.
        rgb: HxWx3, sides multiples of STRIDE.
        caption: What the inversion is conditioned on.
    """
    with torch.inference_mode():
        picture = tensor(rgb).to(models[0].autoencoder.device)
        passed = [model.passage(picture) for model in models]
        distances = tuple(distance(picture, each) for each in passed)
        nearest = passed[int(np.argmin([each.grey_levels for each in distances]))]
        error = ((nearest - picture).abs().mean(dim=1)[0] * 127.5).cpu().numpy()
        chosen = inverter(models)
        if chosen is None:
            return Reading(distances, error, None, None)
        noise, back = invert(chosen, picture, caption)
        shown, returned = chosen.decode(noise), chosen.decode(back)
        own = models.index(chosen)
        residuals = (passed[own] - picture, returned - picture, shown)
        features = [float(value) for each in residuals for value in moments(each)]
        features += _noise(noise)
        contrast = float((picture.diff(dim=3) ** 2).mean().sqrt()) + _EPS
        features += [float(np.log(float((r**2).mean().sqrt()) / contrast + _EPS)) for r in residuals[:2]]
        features += [float(along(residuals[1], residuals[0])), distances[own].dissimilarity]
        pictures = torch.cat([picture, shown, returned], dim=1)[0].cpu().numpy()
        return Reading(distances, error, pictures, np.array(features, dtype=np.float32))


def inverter(models: Sequence[Model]) -> Model | None:
    """The model that is inverted: the first that has a denoiser."""
    return next((model for model in models if model.denoiser is not None), None)


def _noise(latents: torch.Tensor) -> list[float]:
    """How Gaussian the inverted noise is: log strength, log peakedness, correlations of neighbours."""
    power = float((latents**2).mean()) + _EPS
    peak = float(latents.abs().mean()) / power**0.5
    right = float((latents[..., 1:] * latents[..., :-1]).mean()) / power
    down = float((latents[..., 1:, :] * latents[..., :-1, :]).mean()) / power
    return [0.5 * float(np.log(power)), float(np.log(peak + _EPS)), right, down]
