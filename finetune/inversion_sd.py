"""Fits the head of `inversion_sd` for one Stable Diffusion model, and writes its weights and card.

    python -m finetune.inversion_sd --data DIR --model NAME [--device cuda] [--work runs]

The head belongs to the very model it was fitted on: its name holds the model's hash, and the tool reads it for no
other. Generated pictures and photographs of train/ go through the format-matching chain to 320 px; figures are held
out by generator, prompt and source. test/ and pairs/ are not opened here. No scores for calibration are written:
the tool has no weight in a verdict until it was calibrated for the model that a service is given.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import numpy.typing as npt

from evals import datasets
from evals.perturb import Pixels
from finetune import examples, heads
from finetune.cards import write_weights
from finetune.examples import LARGER
from tools.borrowed import inversion_models, use_inversion_model
from tools.detectors.inversion_sd import head_name
from tools.errors import ConfigurationError
from tools.latent import NAMES, STRIDE, inverter, load, read

STRENGTH = 3e-3
"""Fixed, as for the other heads of this size; the figures of its card are not the best of a search."""


def train(data: Path, model: str, device: str, work: Path) -> str:
    """Fits the head, prints what was found on the way, and returns the name of the weight that was written.

    Raises:
        ConfigurationError: if the model cannot be inverted.
    """
    use_inversion_model(model)
    models = tuple(load(each, device) for each in inversion_models())
    chosen = inverter(models)
    if chosen is None:
        raise ConfigurationError(f"{models[0].name} cannot be inverted: {models[0].because}.")

    def measure(rgb: Pixels, seed: int) -> npt.NDArray[np.float32]:
        side = min(rgb.shape[:2]) // STRIDE * STRIDE
        features = read([chosen], rgb[:side, :side]).features
        return np.zeros((0, len(NAMES)), np.float32) if features is None else features[None]

    items = datasets.labelled(data, "train")
    histories = examples.tables_of([item for item in items if item.label == "generated"])
    name = head_name(chosen.sha256)
    stream = examples.matched(items, 1, LARGER, histories)
    rows = heads.measured(stream, measure, work / "features" / f"{name}.npz")
    logits = heads.held_out(rows, STRENGTH, 1.0)
    low, high = heads.levels(rows, logits)
    figures = {
        "model": chosen.name,
        "sha256 over the model's parts": chosen.sha256,
        "C": STRENGTH,
        "examples": len(rows),
        "held-out AUROC, generated against photographs of train/": round(heads.auroc(rows, logits, "matched"), 3),
        "level that 90 % of held-out photographs stay under (log-odds)": round(high, 3),
        "level that 90 % of held-out generated pictures stay above (log-odds)": round(low, 3),
    }
    for label, value in figures.items():
        print(f"  {label}: {value}", flush=True)
    generated = np.array([row.example.label == "generated" for row in rows])
    head = heads.fit(heads.means(rows), generated, heads.balance(rows, 1.0), STRENGTH)
    write_weights(
        name,
        {"mean": head.mean, "scale": head.scale, "weight": head.weight, "levels": np.array([head.bias, low, high])},
        recipe=f"python -m finetune.inversion_sd --model {chosen.name}",
        about=f"Linear head of the tool `inversion_sd` over the features of one tile, for {chosen.name} only.",
        items=[row.example.item for row in rows],
        figures=figures,
        precision=np.float32,
    )
    return name


def main() -> None:
    """Fits the head for the model that is named."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--model", required=True)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--work", type=Path, default=Path("runs"))
    options = parser.parse_args()
    print(train(options.data, options.model, options.device, options.work))


if __name__ == "__main__":
    main()
