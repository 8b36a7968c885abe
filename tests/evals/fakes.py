"""Detectors that know the answer in a set measure, and the data they are asked about."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from agent.calibration import Bucket, CalibratedTool, Calibration, Logistic, Threshold
from evals.datasets import Item
from evals.suite import Suite
from tests.conftest import picture
from tools.contract import Budget, Detector, Evidence, detector
from tools.image import SourceImage

DRAWS = 20


def made_data(
    folder: Path, count: int, *, sizes: tuple[tuple[int, int], tuple[int, int]] = ((80, 80), (80, 80))
) -> list[Item]:
    """`count` pictures, every other one generated; a generated one is light, a real one dark. Sizes by class."""
    folder.mkdir(parents=True, exist_ok=True)
    items = []
    for number in range(count):
        generated = number % 2 == 1
        # Shading and noise of its own, in a light or a dark half of the scale.
        image = picture(*sizes[generated], seed=number).point([v // 2 + 127 * generated for v in range(256)] * 3)
        path = folder / f"{number:04d}.png"
        image.save(path)
        items.append(
            Item(
                id=path.name, path=path, split="test", label="generated" if generated else "real",
                generator=f"maker {number // 2 % 8}" if generated else "", source="" if generated else "camera",
            )
        )  # fmt: skip
    return items


def knowing(name: str = "knowing", gap: float = 1.0, silent: float = 0.0) -> Detector:
    """Scores log odds of N(±gap/2, 1) by how light the picture is, and abstains on a share of pictures; by the hash."""

    @detector(name=name, version="1", target="generated", cost=1.0)
    def examine(tool, image: SourceImage, budget: Budget) -> Evidence:
        """Knows."""
        rng = np.random.default_rng([image.seed, len(name), ord(name[0])])
        if rng.random() < silent:
            return tool.abstain("it would rather not")
        generated = image.rgb.mean() > 128
        z = rng.normal(gap / 2 if generated else -gap / 2, 1.0)
        return tool.evidence(score=float(1 / (1 + np.exp(-(gap or 1.0) * z))))  # exactly calibrated: llr = gap·z

    return examine


def calibration(weights: dict[str, float], aurocs: dict[str, tuple[float, float]] | None = None) -> Calibration:
    """A calibration that takes scores for what they are, so that the sum of independent tools is right."""
    fit = Logistic(intercept=0, slope=1, draws=((0.0, 1.0),) * DRAWS)
    tools = {
        name: CalibratedTool(
            version="1", target="generated", weight=weight, weight_draws=(weight,) * DRAWS, because="made",
            least_quality=1, least_short_side=1, buckets={"all": Bucket(fits={"matched": fit}, n=10000)},
            figures=dict(zip(("aligned_auroc", "matched_auroc"), (aurocs or {}).get(name, (0.6, 0.6)), strict=True)),
        )
        for name, weight in weights.items()
    }  # fmt: skip
    return Calibration(
        made_by="a test", draws=DRAWS, tools=tools, generated=Threshold(llr=1.4, because="made"),
        edited=Threshold(llr=1.4, because="made"), no_evidence=Threshold(llr=-0.7, because="made"),
    )  # fmt: skip


def suite(*protocols: dict[str, object], targets: Sequence[dict[str, object]] = (), **fields: object) -> Suite:
    """A suite in memory."""
    return Suite.model_validate(
        {"name": "test", "title": "A test", "bootstrap": 40, "protocol": protocols, "target": targets} | fields
    )
