"""A small diffusion model of photographs, and what it says of a picture: the network of the `inversion` detector.

The network is a denoiser D(x, sigma) in the preconditioned form of EDM (Karras et al. 2022, arXiv 2206.00364): pixels
in [-1, 1], noise levels `SIGMAS`. It works on 2x2 pixels at a time, at three scales. This module owns torch; import it
inside functions. Training lies in `finetune.inverter`.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from torch import nn
from torch.nn import functional

SIGMAS = (0.02, 0.5)
"""Least and greatest noise level that the model is trained at, pixels being in [-1, 1]."""
SIGMA_DATA = 0.4
MULTIPLE = 8
"""Sides of an input must be multiples of this."""


class _Block(nn.Module):  # type: ignore[misc]
    """Two 3x3 convolutions with the noise level let in between, added to what came in."""

    def __init__(self, width: int, condition: int) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(8, width)
        self.first = nn.Conv2d(width, width, 3, padding=1)
        self.film = nn.Linear(condition, 2 * width)
        self.second = nn.Conv2d(width, width, 3, padding=1)

    def forward(self, x: torch.Tensor, condition: torch.Tensor) -> torch.Tensor:
        scale, shift = self.film(condition)[:, :, None, None].chunk(2, dim=1)
        h = self.first(functional.silu(self.norm(x)))
        return x + self.second(functional.silu(h * (1 + scale) + shift))


class Denoiser(nn.Module):  # type: ignore[misc]
    """Predicts the photograph under Gaussian noise of known level.

    Args:
        widths: Channels at half, quarter and eighth resolution.
        condition: Width of the embedding of the noise level.
    """

    def __init__(self, widths: tuple[int, int, int] = (32, 64, 96), condition: int = 64) -> None:
        super().__init__()
        high, middle, low = widths
        self.embed = nn.Sequential(nn.Linear(16, condition), nn.SiLU(), nn.Linear(condition, condition), nn.SiLU())
        self.enter = nn.Conv2d(12, high, 3, padding=1)
        self.down1 = _Block(high, condition)
        self.to2 = nn.Conv2d(high, middle, 3, stride=2, padding=1)
        self.down2 = _Block(middle, condition)
        self.to3 = nn.Conv2d(middle, low, 3, stride=2, padding=1)
        self.deep1 = _Block(low, condition)
        self.deep2 = _Block(low, condition)
        self.from3 = nn.Conv2d(low, middle, 1)
        self.up2 = _Block(middle, condition)
        self.from2 = nn.Conv2d(middle, high, 1)
        self.up1 = _Block(high, condition)
        self.leave = nn.Conv2d(high, 12, 3, padding=1)
        nn.init.zeros_(self.leave.weight)
        nn.init.zeros_(self.leave.bias)

    def raw(self, x: torch.Tensor, log_sigma: torch.Tensor) -> torch.Tensor:
        """The network itself, before preconditioning. `x` is Nx3xHxW, `log_sigma` N."""
        turns = log_sigma[:, None] * 2.0 ** torch.arange(-2, 6, dtype=x.dtype)
        c = self.embed(torch.cat([turns.sin(), turns.cos()], dim=1))
        one = self.down1(self.enter(functional.pixel_unshuffle(x, 2)), c)
        two = self.down2(self.to2(one), c)
        three = self.deep2(self.deep1(self.to3(two), c), c)
        two = self.up2(two + functional.interpolate(self.from3(three), scale_factor=2.0), c)
        one = self.up1(one + functional.interpolate(self.from2(two), scale_factor=2.0), c)
        return functional.pixel_shuffle(self.leave(functional.silu(one)), 2)

    def forward(self, noisy: torch.Tensor, sigma: torch.Tensor) -> torch.Tensor:
        """The photograph under `noisy` (Nx3xHxW, sides multiples of MULTIPLE) at noise levels `sigma` (N)."""
        skip, out, scale = preconditioning(sigma)
        return skip * noisy + out * self.raw(noisy * scale, sigma.log() / 4)


def preconditioning(sigma: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """EDM's c_skip, c_out and c_in for noise levels `sigma` (N), each Nx1x1x1."""
    s = sigma[:, None, None, None]
    total = s**2 + SIGMA_DATA**2
    return SIGMA_DATA**2 / total, s * SIGMA_DATA / total.sqrt(), 1 / total.sqrt()


def denoiser(weights: dict[str, npt.NDArray[np.generic]]) -> Denoiser:
    """The network with `weights`, ready to examine."""
    network = Denoiser()
    network.load_state_dict({name: torch.from_numpy(value.astype(np.float32)) for name, value in weights.items()})
    network.eval()
    return network.to(memory_format=torch.channels_last)  # type: ignore[no-any-return]
