"""Trains the small diffusion model behind `inversion`, on photographs only.

    python -m finetune.inverter --data DIR [--steps 4000] [--work runs/inverter]

Every photograph of `photos/` takes part, and none of `train/`, `test/` or `pairs/`: the head that reads this model's
errors is fitted on train/, where the model must not have seen the photographs. Crops go through rescale and JPEG as
the format-matching chain does, so that the model knows photographs as they travel. Runs on one thread, deterministic
by seed; a checkpoint is written every 100 steps and picked up again.
"""

from __future__ import annotations

import argparse
import math
import time
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image

from evals import datasets
from evals.perturb import decode, jpeg
from finetune.cards import write_weights
from tools.diffusion import SIGMAS, Denoiser, preconditioning

SIDE = 64
Pixels = npt.NDArray[np.uint8]


def crop_for_training(photograph: Pixels, rng: np.random.Generator) -> Pixels:
    """A SIDExSIDE crop: half are rescaled by 0.875-1.25, three quarters saved as JPEG 70-95, half mirrored."""
    factor = rng.uniform(0.875, 1.25) if rng.random() < 0.5 else 1.0
    around = 40 + math.ceil(SIDE / factor)
    top, left = (int(rng.integers(0, whole - around + 1)) for whole in photograph.shape[:2])
    crop = photograph[top : top + around, left : left + around]
    if factor != 1.0:
        side = max(SIDE, round(around * factor))
        crop = np.asarray(Image.fromarray(crop).resize((side, side), Image.Resampling.LANCZOS))
    if rng.random() < 0.75:
        crop = decode(jpeg(np.ascontiguousarray(crop), int(rng.integers(70, 96))))
    top, left = (int(rng.integers(0, whole - SIDE + 1)) for whole in crop.shape[:2])
    crop = crop[top : top + SIDE, left : left + SIDE]
    return crop[:, ::-1] if rng.random() < 0.5 else crop


def batch_of(photographs: list[Pixels], size: int, seed: int, step: int) -> torch.Tensor:
    """`size` training crops as size x3xSIDExSIDE in [-1, 1]; the same for the same seed and step."""
    rng = np.random.default_rng([seed, step])
    crops = [crop_for_training(photographs[int(rng.integers(len(photographs)))], rng) for _ in range(size)]
    stacked = np.stack(crops).astype(np.float32) / 127.5 - 1
    return torch.from_numpy(stacked).permute(0, 3, 1, 2).contiguous()


def loss_of(network: Denoiser, clean: torch.Tensor, sigma: torch.Tensor, noise: torch.Tensor) -> torch.Tensor:
    """EDM's weighted denoising loss, a number near 1 for a network that has learnt nothing."""
    noisy = clean + sigma[:, None, None, None] * noise
    skip, out, scale = preconditioning(sigma)
    target = (clean - skip * noisy) / out
    return ((network.raw(noisy * scale, sigma.log() / 4) - target) ** 2).mean()


def train(
    photographs: list[Pixels], *, steps: int, work: Path, seed: int = 0, size: int = 16, peak: float = 1.5e-3,
    report: int = 100,
) -> Denoiser:  # fmt: skip
    """Trains for `steps` and returns the exponential average of the weights. Resumes from `work` where it can."""
    torch.manual_seed(seed)
    torch.set_num_threads(1)
    work.mkdir(parents=True, exist_ok=True)
    kept = work / "checkpoint.pt"
    network, average = Denoiser(), Denoiser()
    average.load_state_dict(network.state_dict())
    optimizer = torch.optim.AdamW(network.parameters(), lr=peak, weight_decay=1e-4)
    start, spent = 0, 0.0
    if kept.exists():
        state = torch.load(kept, weights_only=True)
        network.load_state_dict(state["network"])
        average.load_state_dict(state["average"])
        optimizer.load_state_dict(state["optimizer"])
        start, spent = state["step"], state["spent"]
        print(f"resumed at step {start}", flush=True)
    began, running = time.process_time() - spent, []
    for step in range(start, steps):
        rate = peak * min(1.0, (step + 1) / 100) * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * step / steps)))
        for group in optimizer.param_groups:
            group["lr"] = rate
        clean = batch_of(photographs, size, seed, step)
        generator = torch.Generator().manual_seed(seed * 1_000_003 + step)
        low, high = (math.log(s) for s in SIGMAS)
        sigma = torch.exp(low + (high - low) * torch.rand(size, generator=generator))
        loss = loss_of(network, clean, sigma, torch.randn(clean.shape, generator=generator))
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        decay = min(0.998, (step + 1) / (step + 10))
        with torch.no_grad():
            for ours, theirs in zip(average.parameters(), network.parameters(), strict=True):
                ours.lerp_(theirs, 1 - decay)
        running.append(loss.item())
        if (step + 1) % report == 0 or step + 1 == steps:
            used = time.process_time() - began
            print(f"step {step + 1}/{steps} loss {np.mean(running):.4f} cpu {used:.0f}s", flush=True)
            running = []
            part = kept.with_suffix(".part")
            torch.save(
                {"network": network.state_dict(), "average": average.state_dict(), "step": step + 1, "spent": used}
                | {"optimizer": optimizer.state_dict()},
                part,
            )
            part.replace(kept)
    average.eval()
    return average


def psnr_at(network: Denoiser, photographs: list[Pixels], sigma: float, seed: int = 1) -> tuple[float, float]:
    """Mean PSNR in dB of noisy and of denoised crops of `photographs` at noise level `sigma`."""
    clean = batch_of(photographs, 64, seed, 0)
    noise = torch.randn(clean.shape, generator=torch.Generator().manual_seed(seed))
    noisy = clean + sigma * noise
    with torch.inference_mode():
        restored = network(noisy, torch.full((len(clean),), sigma))
    noisy_db, restored_db = (
        float((10 * torch.log10(4 / ((x - clean) ** 2).mean(dim=(1, 2, 3)))).mean()) for x in (noisy, restored)
    )
    return noisy_db, restored_db


def main() -> None:
    """Trains, prints what the model can do, and writes its weights."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--work", type=Path, default=Path("runs/inverter"))
    parser.add_argument("--steps", type=int, default=4000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    items = datasets.photos(options.data)
    photographs = [item.pixels() for item in items]
    network = train(photographs, steps=options.steps, work=options.work, seed=options.seed)
    unseen = [item.pixels() for item in datasets.labelled(options.data, "train") if item.label == "real"]
    figures = {"photographs": len(items), "steps": options.steps, "seed": options.seed}
    for sigma in (0.05, 0.1, 0.3):
        for name, pictures in (("seen", photographs), ("unseen", unseen)):
            noisy, restored = psnr_at(network, pictures, sigma)
            figures[f"psnr_{name}_{sigma}"] = round(restored, 2)
            print(f"sigma {sigma} {name}: noisy {noisy:.2f} dB, denoised {restored:.2f} dB", flush=True)
    write_weights(
        "inverter",
        {name: value.numpy() for name, value in network.state_dict().items()},
        recipe=f"python -m finetune.inverter --steps {options.steps} --seed {options.seed}",
        about="Denoising diffusion model of photographs behind the tool `inversion`.",
        items=items,
        figures=figures,
    )


if __name__ == "__main__":
    main()
