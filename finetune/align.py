"""Trains the projector before the language model is run at all.

    python -m finetune.align --data BUILT --base COMPOSED --out projector.safetensors

LLaVA aligns its projector by training on captions through the language model, which on a CPU is what costs. Here the
truth of every patch is known, so the projector is trained by itself: each patch's output is scored against directions
of the language model's own input space, one for each kind of artifact, one for each of the nine places, and two for
the making of the picture. A direction is the mean input embedding of the words that the reply will use, made
orthogonal to the others. What the projector gives is a sum of such words, as long as a word's embedding usually is:
"lettering", "left", "generated", or little where there is nothing to see. The language model then reads words.

The projector's first layer is scaled for inputs that were standardised over the training views, and the scaling is
folded into its weights, so that what is saved takes the tower's tokens as they are.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from evals.artifacts import PLACES
from finetune.data import CELLS, SEEN, Truth, read_truths

Floats = npt.NDArray[np.float32]
MADE = ("photograph", "generated")
_IGNORED = -1
_PATCHES = 72
"""Patches of a view that one step looks at."""
_INSIDE, _OUTSIDE = 0.5, 0.02
"""Shares of a patch that was altered above which it shows the artifact, and under which it does not."""


def cell_of_patch() -> npt.NDArray[np.int64]:
    """The cell of the 3x3 grid of each patch, row by row."""
    index = np.arange(CELLS**2)
    return (index // CELLS * 3 // CELLS) * 3 + index % CELLS * 3 // CELLS


def labels_of(truths: Sequence[Truth]) -> npt.NDArray[np.int64]:
    """Labels, views x patches: 0 for nothing, 1 + the kind's number, or -1 at the edge of an artifact."""
    out = np.zeros((len(truths), CELLS**2), dtype=np.int64)
    for row, truth in zip(out, truths, strict=True):
        if truth.kind is not None:
            share = np.asarray(truth.share)
            row[share > _OUTSIDE] = _IGNORED
            row[share > _INSIDE] = 1 + SEEN.index(truth.kind)
    return out


def directions(tokenizer: Any, embeddings: Floats) -> Floats:
    """Unit vectors in the language model's input space: the kinds, the places, the two makings, in this order."""
    rows = []
    for words in (*SEEN, *PLACES, *MADE):
        ids = tokenizer(words, add_special_tokens=False)["input_ids"]
        rows.append(embeddings[ids].mean(axis=0) - embeddings.mean(axis=0))
    matrix = np.stack(rows)
    # Words of one family are alike ("top left", "top right"), so they are turned apart: the nearest orthonormal rows.
    left, _, right = np.linalg.svd(matrix / np.linalg.norm(matrix, axis=1, keepdims=True), full_matrices=False)
    return np.asarray(left @ right, dtype=np.float32)


def train(
    tokens: npt.NDArray[np.float16], truths: Sequence[Truth], axes: Floats, length: float, *, minutes: float, seed: int,
    held: int, epochs: int = 12,
) -> tuple[dict[str, Any], list[dict[str, float]]]:  # fmt: skip
    """Trains a projector; its parameters as saved, and the curve.

    Args:
        axes: From `directions`.
        length: Usual length of a word's embedding; outputs are held near it.
        held: Views at the end on which the curve is measured.
    """
    import torch
    from torch.nn import functional

    rng = np.random.default_rng(seed)
    torch.manual_seed(seed)
    labels, cells = labels_of(truths), cell_of_patch()
    made = np.array([truth.made for truth in truths], dtype=np.int64)
    fit = np.arange(len(truths) - held)
    some = tokens[rng.choice(fit, min(200, len(fit)), replace=False)].astype(np.float32).reshape(-1, tokens.shape[2])
    mean, spread = some.mean(axis=0), some.std(axis=0) + 1e-3
    width = axes.shape[1]
    first = torch.nn.Linear(tokens.shape[2], width)
    second = torch.nn.Linear(width, width)
    axis = torch.from_numpy(axes)
    with torch.no_grad():
        second.weight *= 0.2
    # A readout of its own gain a family; the projector learns to point along the axes.
    gain = torch.nn.Parameter(torch.tensor([8.0, 8.0, 4.0]) / length)
    bias = torch.nn.Parameter(torch.tensor([3.0]))
    parameters = [*first.parameters(), *second.parameters(), gain, bias]
    optimizer = torch.optim.AdamW(parameters, lr=1e-3, weight_decay=0.03)
    kinds, places = len(SEEN), len(PLACES)
    mean_, spread_ = torch.from_numpy(mean), torch.from_numpy(spread)

    def out(view: npt.NDArray[np.float16], drop: float) -> Any:
        inputs = (torch.from_numpy(view.astype(np.float32)) - mean_) / spread_
        hidden = functional.gelu(first(functional.dropout(inputs, drop / 2)))
        return second(functional.dropout(hidden, drop))

    def losses(index: npt.NDArray[np.int64], drop: float) -> tuple[Any, Any, Any, Any]:
        # Every patch of an artifact, and as many others as make _PATCHES.
        chosen = np.argsort(rng.random((len(index), CELLS**2)) - 2.0 * (labels[index] > 0), axis=1)[:, :_PATCHES]
        given = out(np.take_along_axis(tokens[index], chosen[..., None], axis=1), drop)
        along = given @ axis.T
        wanted = torch.from_numpy(np.take_along_axis(labels[index], chosen, axis=1))
        scores = torch.cat([(bias * 1.0).expand(*along.shape[:2], 1), along[..., :kinds] * gain[0]], dim=-1)
        weights = (wanted >= 0).float()
        each = functional.cross_entropy(scores.flatten(0, 1), wanted.clamp(min=0).flatten(), reduction="none")
        kind = (each * weights.flatten()).sum() / weights.sum()
        # Where an artifact lies the patch also says in which cell; elsewhere it says no place.
        where = torch.from_numpy(cells[chosen])
        shown = along[..., kinds : kinds + places] * gain[1]
        inside = wanted > 0
        place = functional.cross_entropy(shown[inside], where[inside]) if inside.any() else shown.sum() * 0
        quiet = along[..., kinds : kinds + places][wanted == 0].pow(2).mean() / length**2
        both = along[..., kinds + places :].mean(dim=1) * gain[2]
        making = functional.cross_entropy(both, torch.from_numpy(made[index]))
        size = functional.relu(given.norm(dim=-1) / length - 1.0).pow(2).mean()
        return kind, place + quiet, making, size

    curve, clock = [], time.monotonic()
    steps = epochs * len(fit) // 8
    done = 0
    for epoch in range(epochs):
        first.train()
        order = rng.permutation(fit)
        for begin in range(0, len(order) - 7, 8):
            share = max(done / steps, (time.monotonic() - clock) / (60 * minutes))
            if share >= 1:
                break
            for group in optimizer.param_groups:
                group["lr"] = 1e-3 * min(1.0, (done + 1) / 50) * (1 - share)
            kind, place, making, size = losses(np.sort(order[begin : begin + 8]), 0.2)
            loss = kind + 0.5 * place + 0.1 * making + size
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            done += 1
        with torch.inference_mode():
            parts = np.mean(
                [[float(part) for part in losses(np.array([i]), 0.0)] for i in range(len(fit), len(truths))], axis=0
            )
        names = ("kind", "place", "making", "size")
        point = {"epoch": epoch + 1.0, "seconds": round(time.monotonic() - clock, 1)}
        point |= {f"held_{name}": round(float(part), 4) for name, part in zip(names, parts, strict=True)}
        curve.append(point)
        print(json.dumps(point), flush=True)
    with torch.no_grad():  # the standardisation becomes part of the first layer
        weight = first.weight / spread_
        shift = first.bias - weight @ mean_
    saved = {
        "linear_1.weight": weight, "linear_1.bias": shift, "linear_2.weight": second.weight.detach(),
        "linear_2.bias": second.bias.detach(),
    }  # fmt: skip
    return {name: value.detach().to(torch.float32).contiguous() for name, value in saved.items()}, curve


def main(argv: Sequence[str] | None = None) -> None:
    """Command line."""
    import torch
    from safetensors import safe_open
    from safetensors.numpy import load_file
    from safetensors.torch import save_file
    from transformers import AutoTokenizer

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="Folder that finetune.data wrote.")
    parser.add_argument("--base", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--held", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args(argv)
    torch.set_num_threads(args.threads)
    with safe_open(args.base / "model.safetensors", "pt") as file:
        name = next(key for key in file.keys() if key.endswith("embed_tokens.weight"))  # noqa: SIM118 - no mapping
        embeddings = file.get_tensor(name).float().numpy()
    axes = directions(AutoTokenizer.from_pretrained(args.base), embeddings)
    length = float(np.median(np.linalg.norm(embeddings, axis=1)))
    tokens = load_file(args.data / "tokens.safetensors")["tokens"]
    truths = read_truths(args.data / "views.json")
    shuffled = np.random.default_rng(args.seed).permutation(len(truths))  # lab views come first: hold out some of each
    parameters, curve = train(
        tokens[shuffled], [truths[int(i)] for i in shuffled], axes, length, minutes=args.minutes, seed=args.seed,
        held=args.held,
    )  # fmt: skip
    save_file({name: value.to(torch.float16) for name, value in parameters.items()}, args.out)
    told = {"seed": args.seed, "held": args.held, "length": length, "curve": curve}
    args.out.with_suffix(".json").write_text(json.dumps(told, indent=1) + "\n")


if __name__ == "__main__":
    main()
