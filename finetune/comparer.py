"""Trains the network of `splice` on made edits, in folds by host.

Each step takes pairs: an altered picture and the same one untouched, saved alike. The map is asked to mark the altered
cells and nothing in the untouched picture; the picture's logit to tell the two apart, and to rank them within the
pair. Whole groups of features are left out at random, so that no single trace carries the decision.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch.nn import functional

from finetune.tampering import Sample
from tools.consistency import NAMES
from tools.splicing import Comparer, median_of

BATCH = 6
PEAK = 2e-3
_GROUPS = [name.partition("/")[0] for name in NAMES]


@dataclass(frozen=True, slots=True)
class Answer:
    """What a network said of one sample.

    Attributes:
        logit: That the picture was altered.
        marks: r x c probabilities of 16 px patches, smoothed as the tool does.
    """

    logit: float
    marks: npt.NDArray[np.float32]


def spread(samples: list[Sample]) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean and standard deviation of each feature over the cells of `samples`."""
    means = np.stack([s.maps.astype(np.float32).mean(axis=(1, 2)) for s in samples])
    squares = np.stack([np.square(s.maps.astype(np.float32)).mean(axis=(1, 2)) for s in samples])
    mean = means.mean(axis=0)
    return torch.from_numpy(mean), torch.from_numpy(np.sqrt(np.maximum(squares.mean(axis=0) - mean**2, 1e-6)))


def inputs(network: Comparer, samples: list[Sample]) -> tuple[torch.Tensor, torch.Tensor]:
    """Standardised maps and medians of samples of one size."""
    standard = network.standard(torch.from_numpy(np.stack([s.maps for s in samples]).astype(np.float32)))
    return standard, torch.cat([median_of([one]) for one in standard])


def loss_of(network: Comparer, altered: Sample, untouched: Sample, rng: np.random.Generator) -> torch.Tensor:
    """The loss on one pair."""
    standard, median = inputs(network, [altered, untouched])
    dropped = {str(name) for name in rng.choice(sorted(set(_GROUPS)), int(rng.integers(0, 3)), replace=False)}
    keep = torch.tensor([float(group not in dropped) for group in _GROUPS])
    logits, trust, verdicts = network(standard * keep[:, None, None], median * keep)
    share = torch.from_numpy(altered.share.astype(np.float32))
    truth = functional.avg_pool2d(share[None], 2, ceil_mode=True)[0]
    inside, outside = logits[0][truth > 0.5], logits[0][truth < 0.1]
    marks = 0.5 * functional.softplus(logits[1]).mean() + 0.5 * functional.softplus(outside).mean()
    if len(inside):
        marks = marks + 0.5 * functional.softplus(-inside).mean()
    whole = 0.5 * (functional.softplus(-verdicts[0]) + functional.softplus(verdicts[1]))
    ranked = functional.softplus(verdicts[1] - verdicts[0])
    both = torch.stack([truth, torch.zeros_like(truth)])
    said = torch.sigmoid(logits.detach())
    right = said * both + (1 - said) * (1 - both)
    trusted = (torch.sigmoid(trust) - right).square().mean()
    return marks + 0.6 * whole + 0.3 * ranked + trusted


def train(samples: list[Sample], *, epochs: int, seed: int, kept: Path) -> Comparer:
    """Trains on pairs (each altered sample is followed by its untouched one). Resumes from `kept` where it can."""
    torch.manual_seed(seed)
    torch.set_num_threads(1)
    network = Comparer()
    mean, scale = spread(samples)
    network.mean.data.copy_(mean)
    network.scale.data.copy_(scale)
    pairs = list(zip(samples[::2], samples[1::2], strict=True))
    steps = epochs * (len(pairs) // BATCH)
    learnt = [p for p in network.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(learnt, lr=PEAK, weight_decay=1e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, PEAK, total_steps=steps, pct_start=0.1)
    start = 0
    if kept.exists():
        state = torch.load(kept, weights_only=True)
        network.load_state_dict(state["network"])
        optimizer.load_state_dict(state["optimizer"])
        schedule.load_state_dict(state["schedule"])
        start = state["step"]
        print(f"resumed at step {start}", flush=True)
    began, running = time.process_time(), []
    for step in range(start, steps):
        epoch, place = divmod(step, len(pairs) // BATCH)
        order = np.random.default_rng([seed, epoch]).permutation(len(pairs))
        rng = np.random.default_rng([seed, epoch, place])
        optimizer.zero_grad(set_to_none=True)
        total = 0.0
        for i in order[place * BATCH : (place + 1) * BATCH]:
            altered, untouched = pairs[i]
            loss = loss_of(network, altered, untouched, rng) / BATCH
            loss.backward()
            total += loss.item()
        torch.nn.utils.clip_grad_norm_(learnt, 1.0)
        optimizer.step()
        schedule.step()
        running.append(total)
        if (step + 1) % 50 == 0 or step + 1 == steps:
            used = time.process_time() - began
            print(f"  step {step + 1}/{steps} loss {np.mean(running):.4f} cpu {used:.0f}s", flush=True)
            running = []
            part = kept.with_suffix(".part")
            torch.save(
                {"network": network.state_dict(), "optimizer": optimizer.state_dict(), "step": step + 1}
                | {"schedule": schedule.state_dict()},
                part,
            )
            part.replace(kept)
    network.eval()
    return network


def ask(network: Comparer, sample: Sample) -> Answer:
    """What `network` says of `sample`."""
    with torch.inference_mode():
        standard, median = inputs(network, [sample])
        logits, _, verdict = network(standard, median)
        smooth = functional.avg_pool2d(logits, 3, 1, 1, count_include_pad=False)
    return Answer(float(verdict[0]), torch.sigmoid(smooth[0]).numpy())


def pointed(answer: Answer, sample: Sample) -> bool:
    """Whether the map's peak lies in a patch that was altered by half or more."""
    truth = functional.avg_pool2d(torch.from_numpy(sample.share.astype(np.float32))[None], 2, ceil_mode=True)[0]
    peak = np.unravel_index(int(answer.marks.argmax()), answer.marks.shape)
    return bool(truth[peak] >= 0.5)
